/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `cluster:` of kekd.yaml. An endpoint is an address and no name: looking one up takes a resolver's files and network,
 * and in a cluster it may be the cluster that answers. What goes over a network is under TLS.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/chain/config.h"
#include "daemon/chain/config_private.h"
#include "daemon/sys/loopback.h"

#define HTTPS "https://"
#define HTTP  "http://"

bool config_is_endpoint(const char *s)
{
	struct sockaddr_storage addr;
	socklen_t len;

	if (strncmp(s, HTTPS, strlen(HTTPS)) == 0)
		return address_parse(s + strlen(HTTPS), &addr, &len) == 0;
	return strncmp(s, HTTP, strlen(HTTP)) == 0 &&
	       loopback_parse(s + strlen(HTTP), &addr, &len) == 0;
}

static int get_endpoints(const struct yaml_doc *doc, const struct yaml_node *node,
			 const struct yaml_field *field, void *out)
{
	struct config_strings *list = out;
	int r;

	r = yaml_expect(doc, node, YAML_LIST, field->name);
	if (r < 0)
		return r;
	if (node->count == 0 || node->count > CONFIG_ENDPOINTS_MAX)
		return yaml_fail(doc, node, "\"%s\" must have 1 to %d elements", field->name,
				 CONFIG_ENDPOINTS_MAX);
	list->v = yaml_array(node, sizeof(*list->v));
	if (!list->v)
		return -ENOMEM;
	yaml_for_each(n, node)
	{
		r = yaml_expect(doc, n, YAML_STR, NULL);
		if (r < 0)
			return r;
		if (!config_is_endpoint(n->text))
			return yaml_fail(
				doc, n,
				"an endpoint is https://ADDRESS:PORT, an address and no name, like "
				"https://10.0.0.1:2379 or https://[fd00::1]:2379; http:// is for "
				"loopback addresses only");
		r = yaml_dup(n, &list->v[list->count]);
		if (r < 0)
			return r;
		list->count++;
	}
	return 0;
}

static int get_tls_file(const struct yaml_doc *doc, const struct yaml_node *node,
			const struct yaml_field *field, void *out)
{
	return config_copy_path(doc, node, field->name, PATH_MAX - 1, out);
}

static int get_prefix(const struct yaml_doc *doc, const struct yaml_node *node,
		      const struct yaml_field *field, void *out)
{
	return config_copy_path(doc, node, field->name, CONFIG_PREFIX_MAX, out);
}

#define CLUSTER_OCTET "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
#define CLUSTER_PORT                                                   \
	":(?!0+$)([0-5]?[0-9]{1,4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655" \
	"[0-2][0-9]|6553[0-5])"

/* Wider than address_parse() in what is between brackets. */
static const struct yaml_kind kind_endpoint = {
	.type = "string",
	.pattern = "^(https://(" CLUSTER_OCTET "(\\." CLUSTER_OCTET "){3}|\\[[0-9A-Fa-f:.]+\\])|"
		   "http://(127(\\." CLUSTER_OCTET "){3}|\\[[0:]*:0{0,3}1\\]))" CLUSTER_PORT "$",
	.example = "\"https://10.0.0.1:2379\"",
};

static const struct yaml_kind kind_endpoints = {
	.type = "array",
	.low = "minItems",
	.high = "maxItems",
	.item = &kind_endpoint,
};

static const struct yaml_kind kind_tls_file = {
	.type = "string",
	.pattern = "^" CONFIG_PATH_PATTERN "$",
	.longest = PATH_MAX - 1,
	.example = "\"/etc/kekd/etcd/file.pem\"",
};

static const struct yaml_kind kind_prefix = {
	.type = "string",
	.pattern = "^" CONFIG_PATH_PATTERN "$",
	.longest = CONFIG_PREFIX_MAX,
	.example = "\"/kekd\"",
};

/* etcd_check() */
#define KIND_ETCD                                                                                  \
	{                                                                                          \
		.type = "object",                                                                  \
		.rule = "{\"dependentRequired\": {\"cert\": [\"key\"], \"key\": [\"cert\"]},"      \
			"\"anyOf\": [{\"required\": [\"ca\"]}, {\"properties\": {\"endpoints\": {" \
			"\"items\": {\"pattern\": \"^http:\"}}}}]}",                               \
	}

const struct yaml_kind config_kind_cluster = KIND_ETCD;
static const struct yaml_kind kind_etcd = KIND_ETCD;

const struct yaml_kind config_kind_others = {
	.type = "array",
	.high = "maxItems",
	.item = &kind_etcd,
};

/* @BASE: where the struct config_cluster is in what the table fills. */
#define ETCD_FIELD(BASE, NAME, GET, KIND, MEMBER, ...)                                  \
	{                                                                               \
		.name = (NAME), .get = (GET), .kind = &(KIND),                          \
		.offset = (BASE) + offsetof(struct config_cluster, MEMBER), __VA_ARGS__ \
	}

#define ETCD_FIELDS(BASE)                                                                  \
	ETCD_FIELD(BASE, "endpoints", get_endpoints, kind_endpoints, endpoints,            \
		   .flags = YAML_REQUIRED, .min = 1, .max = CONFIG_ENDPOINTS_MAX,          \
		   .help = "client URLs of etcd"),                                         \
		ETCD_FIELD(BASE, "ca", get_tls_file, kind_tls_file, ca,                    \
			   .help = "file with the CA certificate of etcd's certificates"), \
		ETCD_FIELD(BASE, "cert", get_tls_file, kind_tls_file, cert,                \
			   .help = "file with this node's client certificate"),            \
		ETCD_FIELD(BASE, "key", get_tls_file, kind_tls_file, key,                  \
			   .help = "file with the private key of that certificate")

#define IN_CONFIG offsetof(struct config, cluster)

const struct yaml_field config_cluster_fields[] = {
	ETCD_FIELDS(IN_CONFIG),
	ETCD_FIELD(IN_CONFIG, "prefix", get_prefix, kind_prefix, prefix, .preset = "/kekd",
		   .help = "prefix of kekd's keys in etcd; each cluster has its own"),
	{ 0 },
};

const struct yaml_field config_other_fields[] = {
	ETCD_FIELDS(0),
	{ 0 },
};

/* What the fields of one etcd have to do with each other; @what: its name in the file. */
static int etcd_check(const struct config_cluster *e, const char *what, const struct yaml_doc *doc,
		      const struct yaml_node *at)
{
	bool tls = false;
	char why[64];

	for (size_t i = 0; i < e->endpoints.count; i++)
		tls = tls || strncmp(e->endpoints.v[i], HTTPS, strlen(HTTPS)) == 0;
	if (tls && !e->ca)
		snprintf(why, sizeof(why), "\"%s\" needs a \"ca\" for https endpoints", what);
	else if (!e->cert != !e->key)
		snprintf(why, sizeof(why), "\"cert\" and \"key\" of \"%s\" go together", what);
	else
		return 0;
	return at->key ? yaml_fail_key(doc, at, "%s", why) : yaml_fail(doc, at, "%s", why);
}

int config_check_cluster(const struct config *c, const struct yaml_doc *doc,
			 const struct yaml_node *at)
{
	return etcd_check(&c->cluster, "cluster", doc, at);
}

int config_get_others(const struct yaml_doc *doc, const struct yaml_node *node,
		      const struct yaml_field *field, void *out)
{
	struct config_others *o = out;
	int r = yaml_expect(doc, node, YAML_LIST, field->name);

	if (r < 0)
		return r;
	if (node->count > CONFIG_OTHERS_MAX)
		return yaml_fail(doc, node, "\"%s\" has more than %d elements", field->name,
				 CONFIG_OTHERS_MAX);
	o->v = yaml_array(node, sizeof(*o->v));
	if (!o->v)
		return -ENOMEM;
	o->said = true;
	yaml_for_each(n, node)
	{
		struct config_cluster *e = &o->v[o->count++];

		r = yaml_expect(doc, n, YAML_MAP, NULL);
		if (r == 0)
			r = yaml_read(doc, n, config_other_fields, e);
		if (r == 0)
			r = etcd_check(e, field->name, doc, n);
		if (r < 0)
			return r;
	}
	return 0;
}
