/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The `kms` provider: another plugin behind a Unix socket. Defaults from k8s.io/apiserver
 * pkg/apis/apiserver/v1/defaults.go: apiVersion v1, timeout 3 s, cachesize 1000 (version 1 only).
 */
#include "daemon/chain/encconf_kms.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct raw_kms {
	const struct yaml_node *api_version, *name, *cachesize, *endpoint, *timeout;
};

static const struct yaml_field kms_fields[] = {
	YAML_NODE_FIELD("apiVersion", struct raw_kms, api_version, YAML_NULLABLE),
	YAML_NODE_FIELD("name", struct raw_kms, name, YAML_NULLABLE | YAML_REQUIRED),
	YAML_NODE_FIELD("cachesize", struct raw_kms, cachesize, YAML_NULLABLE),
	YAML_NODE_FIELD("endpoint", struct raw_kms, endpoint, YAML_NULLABLE | YAML_REQUIRED),
	YAML_NODE_FIELD("timeout", struct raw_kms, timeout, YAML_NULLABLE),
	{ 0 },
};

int encconf_name_read(const struct yaml_doc *doc, const struct yaml_node *node, char **ret)
{
	int r;

	r = yaml_expect(doc, node, YAML_STR, "name");
	if (r < 0)
		return r;
	if (node->len == 0)
		return yaml_fail(doc, node, "\"name\" must not be empty");
	if (node->len > ENCCONF_NAME_MAX)
		return yaml_fail(doc, node, "\"name\" is longer than %d bytes", ENCCONF_NAME_MAX);
	if (yaml_has_control(node->text))
		return yaml_fail(doc, node, "\"name\" must not contain control characters");
	return yaml_dup(node, ret);
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* RFC 3986 §2.1, in place. A NUL has no place in a path. */
static int percent_decode(char *s)
{
	char *out = s;

	for (; *s; s++) {
		int hi, lo;

		if (*s != '%') {
			*out++ = *s;
			continue;
		}
		hi = hex_value(s[1]);
		lo = hi < 0 ? -1 : hex_value(s[2]);
		if (lo < 0 || (hi | lo) == 0)
			return -EINVAL;
		*out++ = (char)(hi << 4 | lo);
		s += 2;
	}
	*out = 0;
	return 0;
}

/*
 * The apiserver parses the endpoint as a URL and dials its path; a path of "/@NAME" is the abstract
 * socket NAME (k8s.io/kms/pkg/util ParseEndpoint).
 */
static int read_endpoint(const struct yaml_doc *doc, const struct yaml_node *node,
			 struct encconf_kms *kms)
{
	const char *path;
	int r;

	r = yaml_expect(doc, node, YAML_STR, "endpoint");
	if (r < 0)
		return r;
	if (strncasecmp(node->text, "unix:", 5) != 0)
		return yaml_fail(doc, node, "\"endpoint\" must be unix:///PATH");
	path = node->text + strlen("unix:");
	if (strncmp(path, "//", 2) == 0)
		path += 2;
	if (path[0] != '/' || !path[1])
		return yaml_fail(
			doc, node,
			"\"endpoint\" must be unix:///PATH, with three slashes and a path");
	if (strpbrk(path, "?#"))
		return yaml_fail(doc, node,
				 "\"endpoint\" must be a plain path, without \"?\" or \"#\"");
	kms->endpoint = strdup(node->text);
	kms->path = strdup(path);
	if (!kms->endpoint || !kms->path)
		return -ENOMEM;
	if (percent_decode(kms->path) < 0)
		return yaml_fail(doc, node, "\"endpoint\" has an invalid %% escape");
	if (yaml_has_control(kms->path))
		return yaml_fail(doc, node, "\"endpoint\" must not contain control characters");
	kms->abstract = kms->path[1] == '@';
	if (kms->abstract)
		memmove(kms->path, kms->path + 1, strlen(kms->path));
	return 0;
}

static int read_kms_version(const struct yaml_doc *doc, const struct yaml_node *node,
			    unsigned int *ret)
{
	int r;

	*ret = 1;
	if (!node)
		return 0;
	r = yaml_expect(doc, node, YAML_STR, "apiVersion");
	if (r < 0)
		return r;
	if (strcmp(node->text, "v2") == 0)
		*ret = 2;
	else if (node->len > 0 && strcmp(node->text, "v1") != 0)
		return yaml_fail(doc, node, "\"apiVersion\" of kms must be v1 or v2");
	return 0;
}

static bool kms_name_taken(const struct encconf *c, const struct encconf_kms *kms)
{
	for (size_t i = 0; i < c->items_count; i++) {
		for (size_t j = 0; j < c->items[i].providers_count; j++) {
			const struct encconf_provider *p = &c->items[i].providers[j];

			if (p->kind == ENCCONF_KMS && &p->kms != kms && p->kms.name &&
			    strcmp(p->kms.name, kms->name) == 0)
				return true;
		}
	}
	return false;
}

/* Version 1 names may repeat unless the apiserver reloads its configuration by itself. */
static int read_kms_name(const struct yaml_doc *doc, const struct yaml_node *node,
			 const struct encconf *c, struct encconf_kms *kms)
{
	int r;

	r = encconf_name_read(doc, node, &kms->name);
	if (r < 0 || kms->version == 1)
		return r;
	if (strchr(kms->name, ':'))
		return yaml_fail(doc, node, "the name of a kms v2 provider must not contain \":\"");
	if (kms_name_taken(c, kms))
		return yaml_fail(doc, node, "the name of a kms v2 provider must be unique");
	return 0;
}

static int read_cachesize(const struct yaml_doc *doc, const struct yaml_node *node,
			  struct encconf_kms *kms)
{
	int64_t v = 1000;
	int r;

	if (kms->version == 2) {
		kms->cachesize = 0;
		if (node)
			return yaml_fail_key(doc, node, "\"cachesize\" is not supported by kms v2");
		return 0;
	}
	if (node) {
		r = yaml_int(doc, node, "cachesize", INT32_MIN, INT32_MAX, &v);
		if (r < 0)
			return r;
	}
	if (v == 0)
		return yaml_fail(
			doc, node,
			"\"cachesize\" must be positive, or negative to disable the cache");
	kms->cachesize = (int32_t)v;
	return 0;
}

/* metav1.Duration: a string that time.ParseDuration takes. */
static int read_timeout(const struct yaml_doc *doc, const struct yaml_node *node,
			struct encconf_kms *kms)
{
	int r;

	kms->timeout = 3000000000;
	if (!node)
		return 0;
	r = yaml_expect(doc, node, YAML_STR, "timeout");
	if (r < 0)
		return r;
	if (yaml_duration_parse(node->text, &kms->timeout) < 0)
		return yaml_fail(doc, node, "\"timeout\" must be a duration like 3s or 1m30s");
	if (kms->timeout <= 0)
		return yaml_fail(doc, node, "\"timeout\" must be positive");
	return 0;
}

int encconf_kms_read(const struct yaml_doc *doc, const struct yaml_node *node,
		     const struct encconf *c, struct encconf_kms *kms)
{
	struct raw_kms raw = { 0 };
	int r;

	r = yaml_read(doc, node, kms_fields, &raw);
	if (r == 0)
		r = read_kms_version(doc, raw.api_version, &kms->version);
	if (r == 0)
		r = read_kms_name(doc, raw.name, c, kms);
	if (r == 0)
		r = read_timeout(doc, raw.timeout, kms);
	if (r == 0)
		r = read_endpoint(doc, raw.endpoint, kms);
	if (r == 0)
		r = read_cachesize(doc, raw.cachesize, kms);
	return r;
}
