/* SPDX-License-Identifier: Apache-2.0 */
/* `metrics:` and `audit:` of kekd.yaml. Tables of their own, as each fills a struct of its own. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/chain/config.h"
#include "daemon/chain/config_private.h"
#include "daemon/sys/loopback.h"

static const char *const failure_names[] = { "block", "drop", NULL };

/* A path of a socket, or host:port that only this host reaches. */
static int get_listen(const struct yaml_doc *doc, const struct yaml_node *node,
		      const struct yaml_field *field, void *out)
{
	struct sockaddr_storage addr;
	socklen_t len;
	char *s;
	int r;

	r = yaml_expect(doc, node, YAML_STR, field->name);
	if (r < 0)
		return r;
	if (node->text[0] == '/' || node->text[0] == '@')
		return config_copy_path(doc, node, field->name, CONFIG_SOCKET_PATH_MAX, out);
	if (loopback_parse(node->text, &addr, &len) < 0)
		return yaml_fail(doc, node,
				 "\"%s\" must be a path or a loopback address with a port, like "
				 "127.0.0.1:9740 or [::1]:9740",
				 field->name);
	r = yaml_dup(node, &s);
	if (r < 0)
		return r;
	free(*(char **)out);
	*(char **)out = s;
	return 0;
}

/* "journal", or the path of a file. */
static int get_target(const struct yaml_doc *doc, const struct yaml_node *node,
		      const struct yaml_field *field, void *out)
{
	struct config_audit *a = out;
	int r;

	r = yaml_expect(doc, node, YAML_STR, field->name);
	if (r < 0)
		return r;
	a->journal = strcmp(node->text, "journal") == 0;
	return a->journal ? 0 : config_copy_path(doc, node, field->name, PATH_MAX - 1, &a->file);
}

static const struct yaml_field metrics_fields[] = {
	{ .name = "listen",
	  .get = get_listen,
	  .offset = offsetof(struct config_metrics, listen),
	  .flags = YAML_REQUIRED },
	{ 0 },
};

static const struct yaml_field audit_fields[] = {
	{ .name = "to", .get = get_target, .flags = YAML_REQUIRED },
	{ .name = "onFailure",
	  .get = yaml_get_enum,
	  .offset = offsetof(struct config_audit, failure),
	  .flags = YAML_REQUIRED,
	  .arg = failure_names },
	{ 0 },
};

int config_get_metrics(const struct yaml_doc *doc, const struct yaml_node *node,
		       const struct yaml_field *field _unused_, void *out)
{
	return yaml_read(doc, node, metrics_fields, out);
}

int config_get_audit(const struct yaml_doc *doc, const struct yaml_node *node,
		     const struct yaml_field *field _unused_, void *out)
{
	return yaml_read(doc, node, audit_fields, out);
}

int config_check_metrics(const struct config *c, const struct yaml_doc *doc,
			 const struct yaml_node *at)
{
	const char *listen = c->metrics.listen;

	if (!listen)
		return 0;
	for (size_t i = 0; i < c->sockets.count; i++)
		if (strcmp(c->sockets.v[i], listen) == 0)
			return yaml_fail_key(doc, at, "\"metrics\" needs a path of its own");
	if (strcmp(c->admin_socket, listen) == 0 ||
	    (c->transform.socket && strcmp(c->transform.socket, listen) == 0))
		return yaml_fail_key(doc, at, "\"metrics\" needs a path of its own");
	return 0;
}
