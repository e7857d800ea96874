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

int kube_resource_list_path(const struct kube_resource *res, unsigned int limit,
			    const char *continue_token, char *ret, size_t size)
{
	struct path p = { ret, 0, size };
	char number[16];

	snprintf(number, sizeof(number), "%u", limit);
	put_version(&p, res->group, res->version);
	kuberesource_put_text(&p, "/");
	put_encoded(&p, res->name);
	kuberesource_put_text(&p, "?limit=");
	kuberesource_put_text(&p, number);
	if (continue_token && *continue_token) {
		kuberesource_put_text(&p, "&continue=");
		put_encoded(&p, continue_token);
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

	return text ? text : "the cluster gives no reason";
}

static int kuberesource_get(struct kubeapi *api, const char *path, struct kubeapi_answer *ret)
{
	int r = kubeapi_call(api, "GET", path, NULL, false, ret);

	if (r < 0)
		return ctl_fail("%s: %s", path, errno_text(r));
	return 0;
}

int kube_group_version(struct kubeapi *api, const char *group, char *ret, size_t size)
{
	char buf[KUBE_PATH_MAX];
	struct path p = { buf, 0, sizeof(buf) };
	struct kubeapi_answer answer;
	const char *version;
	int r;

	kuberesource_put_text(&p, "/apis/");
	put_encoded(&p, group);
	if (path_end(&p) < 0)
		return ctl_fail("%s: name too long", group);
	r = kuberesource_get(api, buf, &answer);
	if (r != 0)
		return r;
	if (answer.status == 404)
		return -ENOENT;
	version = json_string_value(
		json_object_get(json_object_get(answer.body, "preferredVersion"), "version"));
	if (answer.status != 200 || !version || strlen(version) >= size)
		return ctl_fail("%s: %d: %s", buf, answer.status, kube_answer_text(&answer));
	memcpy(ret, version, strlen(version) + 1);
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

/* The entry of APIResourceList @list, or NULL. */
static const json_t *entry_find(const json_t *list, const char *name)
{
	const json_t *all = json_object_get(list, "resources");

	for (size_t i = 0; i < json_array_size(all); i++) {
		const json_t *entry = json_array_get(all, i);

		if (strcmp(json_string_value(json_object_get(entry, "name")) ?: "", name) == 0)
			return entry;
	}
	return NULL;
}

static int look_up(struct kubeapi *api, const char *text, struct kube_resource *res)
{
	char buf[KUBE_PATH_MAX];
	struct path p = { buf, 0, sizeof(buf) };
	struct kubeapi_answer answer;
	const json_t *entry;
	int r;

	put_version(&p, res->group, res->version);
	if (path_end(&p) < 0)
		return ctl_fail("%s: name too long", text);
	r = kuberesource_get(api, buf, &answer);
	if (r != 0)
		return r;
	if (answer.status != 200)
		return ctl_fail("%s: %d: %s", buf, answer.status, kube_answer_text(&answer));
	entry = entry_find(answer.body, res->name);
	if (!entry)
		return ctl_fail("%s: the cluster has no such resource in %s; write it as in the "
				"EncryptionConfiguration, RESOURCE or RESOURCE.GROUP",
				text, buf);
	if (!has_verb(entry, "list") || !has_verb(entry, "patch"))
		return ctl_fail("%s: cannot be listed and patched", text);
	res->namespaced = json_is_true(json_object_get(entry, "namespaced"));
	return 0;
}

int kube_resource_find(struct kubeapi *api, const char *text, struct kube_resource *ret)
{
	struct kube_resource res = { .version = "v1" };
	size_t name = strcspn(text, ".");
	const char *group = text[name] ? text + name + 1 : "";
	int r;

	if (name == 0 || name >= sizeof(res.name) || strlen(group) >= sizeof(res.group) ||
	    strpbrk(text, "*/"))
		return ctl_fail("%s: not RESOURCE or RESOURCE.GROUP", text);
	memcpy(res.name, text, name);
	memcpy(res.group, group, strlen(group) + 1);
	if (*group) {
		r = kube_group_version(api, group, res.version, sizeof(res.version));
		if (r == -ENOENT)
			return ctl_fail("%s: the cluster has no group %s", text, group);
		if (r != 0)
			return r;
	}
	r = look_up(api, text, &res);
	if (r == 0)
		*ret = res;
	return r;
}
