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

/* Wider than loopback_parse() in one thing: zeros and colons in any number before the 1 of ::1. */
#define OCTET "\\.(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
#define PORT                                                           \
	":(?!0+$)([0-5]?[0-9]{1,4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655" \
	"[0-2][0-9]|6553[0-5])"

static const struct yaml_kind kind_listen = {
	.type = "string",
	.pattern = "^(" CONFIG_PATH_PATTERN "|(127(" OCTET "){3}|\\[[0:]*:0{0,3}1\\])" PORT ")$",
	.longest = CONFIG_SOCKET_PATH_MAX,
	.example = "\"127.0.0.1:9740\"",
};

static const struct yaml_kind kind_target = {
	.type = "string",
	.pattern = "^(journal|" CONFIG_PATH_PATTERN ")$",
	.longest = PATH_MAX - 1,
	.example = "\"journal\"",
};

const struct yaml_field config_metrics_fields[] = {
	{ .name = "listen",
	  .get = get_listen,
	  .offset = offsetof(struct config, metrics.listen),
	  .flags = YAML_REQUIRED,
	  .kind = &kind_listen,
	  .help = "a path, or a loopback address with a port" },
	{ 0 },
};

const struct yaml_field config_audit_fields[] = {
	{ .name = "to",
	  .get = get_target,
	  .flags = YAML_REQUIRED,
	  .kind = &kind_target,
	  .help = "journal, or the path of a file" },
	{ .name = "onFailure",
	  .get = yaml_get_enum,
	  .offset = offsetof(struct config_audit, failure),
	  .flags = YAML_REQUIRED,
	  .arg = failure_names,
	  .kind = &yaml_kind_word,
	  .help = "what to do while a line cannot be written" },
	{ 0 },
};

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
