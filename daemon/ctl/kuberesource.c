/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Discovery as every client of the API does it: /api/v1 is the core group, /apis/GROUP names a group's
 * versions, /apis/GROUP/VERSION its resources with their verbs (Kubernetes, API concepts).
 */
#include "daemon/ctl/kuberesource.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "daemon/base/log.h"
#include "daemon/ctl/ctl.h"

/* --- paths ----------------------------------------------------------------------------------- */

/* Text at the end of a path that is being made; len == size once something did not fit. */
struct path {
	char *buf;
	size_t len, size;
};

static void kuberesource_put(struct path *p, char c)
{
	if (p->len < p->size)
		p->buf[p->len++] = c;
}

static void kuberesource_put_text(struct path *p, const char *s)
{
	while (*s)
		kuberesource_put(p, *s++);
}

/* Percent-encoded but for what RFC 3986 §2.3 calls unreserved. */
static void put_encoded(struct path *p, const char *s)
{
	static const char plain[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~";
	static const char hex[] = "0123456789ABCDEF";

	for (; *s; s++) {
		if (strchr(plain, *s)) {
			kuberesource_put(p, *s);
			continue;
		}
		kuberesource_put(p, '%');
		kuberesource_put(p, hex[(unsigned char)*s >> 4]);
		kuberesource_put(p, hex[(unsigned char)*s & 15]);
	}
}

static void put_version(struct path *p, const char *group, const char *version)
{
	kuberesource_put_text(p, *group ? "/apis/" : "/api");
	put_encoded(p, group);
	kuberesource_put_text(p, "/");
	put_encoded(p, version);
}

static int path_end(struct path *p)
{
	kuberesource_put(p, '\0');
	return p->len < p->size || p->buf[p->size - 1] == '\0' ? 0 : -E2BIG;
}

static void put_collection(struct path *p, const struct kube_resource *res)
{
	put_version(p, res->group, res->version);
	kuberesource_put_text(p, "/");
	put_encoded(p, res->name);
}

int kube_resource_path(const struct kube_resource *res, char *ret, size_t size)
{
	struct path p = { ret, 0, size };

	put_collection(&p, res);
	return path_end(&p);
}

int kube_resource_list_path(const struct kube_resource *res, const struct kube_list *list,
			    char *ret, size_t size)
{
	struct path p = { ret, 0, size };
	char number[16];

	snprintf(number, sizeof(number), "%u", list->limit);
	put_collection(&p, res);
	kuberesource_put_text(&p, "?limit=");
	kuberesource_put_text(&p, number);
	if (list->token && *list->token) {
		kuberesource_put_text(&p, "&continue=");
		put_encoded(&p, list->token);
	}
	if (list->not_ns) {
		kuberesource_put_text(&p, "&fieldSelector=metadata.namespace%21%3D");
		put_encoded(&p, list->not_ns);
	}
	return path_end(&p);
}

int kube_resource_object_path(const struct kube_resource *res, const char *ns, const char *name,
			      char *ret, size_t size)
{
	struct path p = { ret, 0, size };

	put_version(&p, res->group, res->version);
	if (res->namespaced) {
		kuberesource_put_text(&p, "/namespaces/");
		put_encoded(&p, ns);
	}
	kuberesource_put_text(&p, "/");
	put_encoded(&p, res->name);
	kuberesource_put_text(&p, "/");
	put_encoded(&p, name);
	return path_end(&p);
}

/* --- discovery ------------------------------------------------------------------------------- */

const char *kube_answer_text(const struct kubeapi_answer *answer)
{
	const char *text = json_string_value(json_object_get(answer->body, "message"));

	if (text)
		return text;
	return answer->body || answer->status < 500
		       ? "the cluster gives no reason"
		       : "kubectl could not ask the cluster, or got no answer; its message is above";
}

static int kuberesource_get(struct kubeapi *api, const char *path, struct kubeapi_answer *ret)
{
	int r = kubeapi_call(api, &(struct kubeapi_request){ "GET", path, NULL, false }, ret);

	if (r < 0)
		return ctl_fail("%s: %s", path, errno_text(r));
	return 0;
}

static bool has_verb(const json_t *resource, const char *verb)
{
	const json_t *verbs = json_object_get(resource, "verbs");

	for (size_t i = 0; i < json_array_size(verbs); i++)
		if (strcmp(json_string_value(json_array_get(verbs, i)) ?: "", verb) == 0)
			return true;
	return false;
}

/* Behind the others, unless it is there already. */
static int resources_add(struct kube_resources *all, const struct kube_resource *res)
{
	struct kube_resource *v;

	for (size_t i = 0; i < all->n; i++)
		if (strcmp(all->v[i].name, res->name) == 0 &&
		    strcmp(all->v[i].group, res->group) == 0)
			return 0;
	v = reallocarray(all->v, all->n + 1, sizeof(*v));
	if (!v)
		return ctl_fail("out of memory");
	v[all->n++] = *res;
	all->v = v;
	return 0;
}

void kube_resources_clear(struct kube_resources *all)
{
	free(all->v);
	*all = (struct kube_resources){ 0 };
}

void kube_resource_text(const struct kube_resource *res, char ret[static KUBE_RESOURCE_TEXT])
{
	snprintf(ret, KUBE_RESOURCE_TEXT, "%s%s%s", res->name, *res->group ? "." : "", res->group);
}

/* What is looked for in the lists of discovery. */
struct wanted {
	const char *text; /* of the command line */
	const char *name; /* NULL: everything that can be rewritten */
	struct kube_resources *all;
	bool found, fit; /* there is one; it can be listed and patched */
};

/*
 * One entry of an APIResourceList. A name with a slash is a part of a resource. Events are stored once, and
 * are in two groups (pkg/kubeapiserver/default_storage_factory_builder.go).
 */
static int resource_entry(struct wanted *w, const json_t *entry, struct kube_resource *res)
{
	const char *name = json_string_value(json_object_get(entry, "name")) ?: "";

	if (w->name ? strcmp(name, w->name) != 0
		    : !*name || strchr(name, '/') || strcmp(res->group, "events.k8s.io") == 0)
		return 0;
	w->found = true;
	if (!has_verb(entry, "list") || !has_verb(entry, "patch") || strlen(name) > KUBE_NAME_MAX)
		return 0;
	w->fit = true;
	strcpy(res->name, name);
	res->namespaced = json_is_true(json_object_get(entry, "namespaced"));
	return resources_add(w->all, res);
}

/* Of one version of a group; @res has both. */
static int look_up(struct kubeapi *api, struct wanted *w, struct kube_resource *res)
{
	char buf[KUBE_PATH_MAX];
	struct path p = { buf, 0, sizeof(buf) };
	struct kubeapi_answer answer;
	const json_t *all;
	int r;

	put_version(&p, res->group, res->version);
	if (path_end(&p) < 0)
		return ctl_fail("%s: name too long", w->text);
	r = kuberesource_get(api, buf, &answer);
	if (r != 0)
		return r;
	if (answer.status != 200)
		return ctl_fail("%s: %d: %s", buf, answer.status, kube_answer_text(&answer));
	all = json_object_get(answer.body, "resources");
	for (size_t i = 0; r == 0 && i < json_array_size(all); i++)
		r = resource_entry(w, json_array_get(all, i), res);
	return r;
}

#define VERSIONS_MAX 16

/* A group's versions, the preferred one first. */
struct versions {
	char v[VERSIONS_MAX][sizeof(((struct kube_resource *)0)->version)];
	size_t n;
};

static void version_put(struct versions *all, const json_t *version)
{
	const char *text = json_string_value(json_object_get(version, "version"));

	if (!text || strlen(text) >= sizeof(all->v[0]) || all->n == VERSIONS_MAX)
		return;
	for (size_t i = 0; i < all->n; i++)
		if (strcmp(all->v[i], text) == 0)
			return;
	strcpy(all->v[all->n++], text);
}

static void versions_of(const json_t *group, struct versions *ret)
{
	const json_t *all = json_object_get(group, "versions");

	version_put(ret, json_object_get(group, "preferredVersion"));
	for (size_t i = 0; i < json_array_size(all); i++)
		version_put(ret, json_array_get(all, i));
}

static int group_get(struct kubeapi *api, const char *group, struct kubeapi_answer *ret)
{
	char buf[KUBE_PATH_MAX];
	struct path p = { buf, 0, sizeof(buf) };
	int r;

	kuberesource_put_text(&p, "/apis/");
	put_encoded(&p, group);
	if (path_end(&p) < 0)
		return ctl_fail("%s: name too long", group);
	r = kuberesource_get(api, buf, ret);
	if (r != 0)
		return r;
	if (ret->status == 404)
		return -ENOENT;
	if (ret->status != 200)
		return ctl_fail("%s: %d: %s", buf, ret->status, kube_answer_text(ret));
	return 0;
}

int kube_group_version(struct kubeapi *api, const char *group, char *ret, size_t size)
{
	struct versions versions = { .n = 0 };
	struct kubeapi_answer answer;
	int r = group_get(api, group, &answer);

	if (r != 0)
		return r;
	versions_of(answer.body, &versions);
	if (versions.n == 0 || strlen(versions.v[0]) >= size)
		return ctl_fail("/apis/%s: names no version", group);
	strcpy(ret, versions.v[0]);
	return 0;
}

static int look_in_group(struct kubeapi *api, struct wanted *w, const char *group)
{
	struct kube_resource res = { .version = "v1" };
	struct versions versions = { .n = 0 };
	struct kubeapi_answer answer;
	int r;

	if (strlen(group) >= sizeof(res.group))
		return ctl_fail("%s: name too long", group);
	strcpy(res.group, group);
	if (!*group)
		return look_up(api, w, &res);
	r = group_get(api, group, &answer);
	if (r == -ENOENT)
		return ctl_fail("%s: the cluster has no group %s", w->text, group);
	if (r == 0)
		versions_of(answer.body, &versions);
	for (size_t i = 0; r == 0 && i < versions.n && !(w->name && w->fit); i++) {
		strcpy(res.version, versions.v[i]);
		r = look_up(api, w, &res);
	}
	return r;
}

/* The names of all groups, one a line; caller frees. */
static int groups_get(struct kubeapi *api, char **ret)
{
	struct kubeapi_answer answer;
	const json_t *all;
	size_t size = 1;
	char *names;
	int r = kuberesource_get(api, "/apis", &answer);

	if (r != 0)
		return r;
	if (answer.status != 200 && answer.status != 404) /* 404: the core group is all */
		return ctl_fail("/apis: %d: %s", answer.status, kube_answer_text(&answer));
	all = json_object_get(answer.body, "groups");
	for (size_t i = 0; i < json_array_size(all); i++)
		size += json_string_length(json_object_get(json_array_get(all, i), "name")) + 1;
	names = calloc(1, size);
	if (!names)
		return ctl_fail("out of memory");
	for (size_t i = 0; i < json_array_size(all); i++) {
		strcat(names,
		       json_string_value(json_object_get(json_array_get(all, i), "name")) ?: "");
		strcat(names, "\n");
	}
	*ret = names;
	return 0;
}

static int look_everywhere(struct kubeapi *api, struct wanted *w)
{
	_cleanup_free_ char *names = NULL;
	char *rest, *group;
	int r = look_in_group(api, w, "");

	if (r == 0)
		r = groups_get(api, &names);
	for (rest = names; r == 0 && (group = strsep(&rest, "\n"));)
		if (*group)
			r = look_in_group(api, w, group);
	return r;
}

/* "*" alone is no resource of an EncryptionConfiguration, and "secrets.*" neither (daemon/chain/encconf.h). */
static bool is_resource(const char *text, size_t name)
{
	bool any = name == 1 && *text == '*';

	if (name == 0 || name > KUBE_NAME_MAX || strchr(text, '/') || (any && !text[name]))
		return false;
	return !strchr(any ? text + 1 : text, '*') || strcmp(text, "*.*") == 0;
}

int kube_resources_find(struct kubeapi *api, const char *text, struct kube_resources *all)
{
	size_t len = strcspn(text, ".");
	const char *group = text[len] ? text + len + 1 : "";
	char name[KUBE_NAME_MAX + 1] = "";
	struct wanted w = { .text = text, .name = *text == '*' ? NULL : name, .all = all };
	int r;

	if (!is_resource(text, len))
		return ctl_fail(
			"%s: not a resource as an EncryptionConfiguration names them: RESOURCE, "
			"RESOURCE.GROUP, *.GROUP, *. or *.*",
			text);
	memcpy(name, text, len);
	r = strcmp(group, "*") == 0 ? look_everywhere(api, &w) : look_in_group(api, &w, group);
	if (r != 0)
		return r;
	if (!w.found)
		return ctl_fail("%s: the cluster has no such resource; write it as in the "
				"EncryptionConfiguration, RESOURCE or RESOURCE.GROUP",
				text);
	if (!w.fit)
		return ctl_fail("%s: cannot be listed and patched", text);
	return 0;
}
