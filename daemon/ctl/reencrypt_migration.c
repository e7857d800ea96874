/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cluster's own way: a StorageVersionMigration object, which kube-controller-manager works off if it
 * has the feature. It rewrites everything with an apply patch of the objects' names, which does the same
 * as an empty one. In v1alpha1 the resource is named with its version, since v1beta1 without
 * (k8s.io/api/storagemigration).
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "daemon/base/log.h"
#include "daemon/ctl/reencrypt.h"

#define GROUP "storagemigration.k8s.io"

static int create(struct reencrypt *re, const char *path, const char *body, char *ret, size_t size)
{
	struct kubeapi_answer answer;
	const char *name;
	char *copy;
	int r;

	/* The call wipes the arena that the text is in. */
	copy = strdup(body ? body : "");
	if (!copy || !*copy) {
		free(copy);
		return ctl_fail("out of memory");
	}
	r = kubeapi_call(re->api, &(struct kubeapi_request){ "POST", path, copy, false }, &answer);
	free(copy);
	if (r < 0)
		return ctl_fail("%s: %s", path, errno_text(r));
	name = json_string_value(json_object_get(json_object_get(answer.body, "metadata"), "name"));
	if (answer.status >= 300 || !name || strlen(name) >= size)
		return ctl_fail("%s: %d: %s", path, answer.status, kube_answer_text(&answer));
	memcpy(ret, name, strlen(name) + 1);
	return 0;
}

static bool condition_is(const json_t *object, const char *type)
{
	const json_t *all = json_object_get(json_object_get(object, "status"), "conditions");

	for (size_t i = 0; i < json_array_size(all); i++) {
		const json_t *c = json_array_get(all, i);
		const char *t = json_string_value(json_object_get(c, "type")),
			   *s = json_string_value(json_object_get(c, "status"));

		if (t && s && strcmp(t, type) == 0 && strcmp(s, "True") == 0)
			return true;
	}
	return false;
}

/* The cluster takes its time; a signal ends the wait and not the migration. */
static int migration_await(struct reencrypt *re, const char *path, const char *name)
{
	static const struct timespec second = { .tv_sec = 1 };
	struct kubeapi_answer answer;
	int r;

	while (!*re->stop) {
		r = kubeapi_call(re->api, &(struct kubeapi_request){ "GET", path, NULL, false },
				 &answer);
		if (r < 0)
			return ctl_fail("%s: %s", path, errno_text(r));
		if (answer.status == 404 || condition_is(answer.body, "Failed"))
			return ctl_fail("storageversionmigration %s: failed", name);
		if (condition_is(answer.body, "Succeeded"))
			return 0;
		nanosleep(&second, NULL);
	}
	return ctl_fail("storageversionmigration %s goes on without us", name);
}

int rewrite_by_migration(struct reencrypt *re, struct rewrite *w)
{
	struct kube_resource migrations = { .name = "storageversionmigrations", .group = GROUP };
	char path[KUBE_PATH_MAX], name[KUBE_NAME_MAX + 1], *body;
	json_t *target;
	int r;

	r = kube_group_version(re->api, GROUP, migrations.version, sizeof(migrations.version));
	if (r == -ENOENT)
		r = ctl_fail("the cluster has no StorageVersionMigration (" GROUP
			     "); leave --migration out");
	if (r != 0)
		return r;
	if (re->ctl->dry_run) {
		printf("%s: would make a StorageVersionMigration\n", w->resource);
		return 0;
	}
	if (kube_resource_path(&migrations, path, sizeof(path)) < 0)
		return ctl_fail("%s: name too long", w->resource);
	target = json_pack("{s:s, s:s}", "group", w->res.group, "resource", w->res.name);
	if (strcmp(migrations.version, "v1alpha1") == 0)
		json_object_set_new(target, "version", json_string(w->res.version));
	/* In the arena, until the next call. */
	body = json_dumps(json_pack("{s:s+, s:s, s:{s:s}, s:{s:o}}", "apiVersion", GROUP "/",
				    migrations.version, "kind", "StorageVersionMigration",
				    "metadata", "generateName", "kekd-", "spec", "resource",
				    target),
			  JSON_COMPACT);
	r = create(re, path, body, name, sizeof(name));
	if (r != 0)
		return r;
	printf("%s: storageversionmigration %s\n", w->resource, name);
	fflush(stdout);
	if (kube_resource_object_path(&migrations, "", name, path, sizeof(path)) < 0)
		return ctl_fail("%s: name too long", name);
	r = migration_await(re, path, name);
	w->done = r == 0;
	return r;
}
