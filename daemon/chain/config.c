/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One table a mapping of the file; the rules that join several fields are checked after the tables
 * have been read, in config_read(). Values are never shown in a message, except names of users and
 * groups.
 */
#include "daemon/chain/config.h"

#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/chain/config_private.h"
#include <kekd/limits.h>

#define SECOND 1000000000LL
#define DAY    (24 * 60 * 60 * SECOND)

static const char *const backend_names[] = { "kernel", "openssl", NULL };
static const char *const ring_names[] = { "auto", "io_uring", "epoll", NULL };
static const char *const root_names[] = { "ephemeral", "command", "unseal", "trusted", NULL };
static const char *const policy_names[] = { "strict", "standard", NULL };

/* What the tables fill: the result, and the nodes of fields that have to agree. */
struct draft {
	struct config c;
	const struct yaml_node *socket, *sockets, *peers, *admin, *admin_socket, *root, *command;
	const struct yaml_node *transform, *transform_socket, *transform_peers;
	const struct yaml_node *metrics;
};

static int get_path(const struct yaml_doc *doc, const struct yaml_node *node,
		    const struct yaml_field *field, void *out)
{
	return config_copy_path(doc, node, field->name, PATH_MAX - 1, out);
}

/* "0660": a string, as a plain 0660 is 432 to one YAML reader and 660 to the next. */
static int get_mode(const struct yaml_doc *doc, const struct yaml_node *node,
		    const struct yaml_field *field, void *out)
{
	size_t digits;
	unsigned long mode;
	int r;

	r = yaml_expect(doc, node, YAML_STR, field->name);
	if (r < 0)
		return r;
	digits = strspn(node->text, "01234567");
	if (digits != node->len || digits < 3 || digits > 4)
		return yaml_fail(doc, node, "\"%s\" must be an octal mode like \"0660\"",
				 field->name);
	mode = strtoul(node->text, NULL, 8);
	if (mode & ~0666UL || (mode & 0600) != 0600)
		return yaml_fail(doc, node,
				 "\"%s\" must be made of read and write, with both for the owner",
				 field->name);
	*(unsigned int *)out = (unsigned int)mode;
	return 0;
}

static int id_name(const struct yaml_doc *doc, const struct yaml_node *node, const char *what,
		   char **ret)
{
	if (node->type != YAML_STR)
		return yaml_fail(doc, node, "\"%s\" must be a name or a whole number, not %s", what,
				 yaml_type_name(node->type));
	if (node->len == 0 || node->len > 256 || yaml_has_control(node->text) ||
	    strpbrk(node->text, ":/ "))
		return yaml_fail(doc, node, "\"%s\" is no name of a user or group", what);
	return yaml_dup(node, ret);
}

/* (uid_t)-1 means "leave it" to chown(2) and setresuid(2): never an id. */
static int read_id(const struct yaml_doc *doc, const struct yaml_node *node, const char *what,
		   struct config_id *ret)
{
	struct config_id id = { .given = true, .line = node->line, .column = node->column };
	int64_t v;
	int r;

	if (node->type == YAML_INT) {
		r = yaml_int(doc, node, what, 0, (int64_t)UINT32_MAX - 1, &v);
		if (r < 0)
			return r;
		id.id = (uint32_t)v;
		id.resolved = true;
	} else {
		r = id_name(doc, node, what, &id.name);
		if (r < 0)
			return r;
	}
	free(ret->name);
	*ret = id;
	return 0;
}

static int get_id(const struct yaml_doc *doc, const struct yaml_node *node,
		  const struct yaml_field *field, void *out)
{
	return read_id(doc, node, field->name, out);
}

static int get_user(const struct yaml_doc *doc, const struct yaml_node *node,
		    const struct yaml_field *field, void *out)
{
	if (node->type == YAML_INT && node->i == 0)
		return yaml_fail(doc, node, "\"%s\" must not be root", field->name);
	return read_id(doc, node, field->name, out);
}

static int check_list(const struct yaml_doc *doc, const struct yaml_node *node, const char *what,
		      size_t max)
{
	int r;

	r = yaml_expect(doc, node, YAML_LIST, what);
	if (r < 0)
		return r;
	if (node->count > max)
		return yaml_fail(doc, node, "\"%s\" must have at most %zu elements", what, max);
	return 0;
}

static int get_ids(const struct yaml_doc *doc, const struct yaml_node *node,
		   const struct yaml_field *field, void *out)
{
	struct config_ids *ids = out;
	int r;

	r = check_list(doc, node, field->name, CONFIG_PEERS_MAX);
	if (r < 0)
		return r;
	ids->v = yaml_array(node, sizeof(*ids->v));
	if (!ids->v)
		return -ENOMEM;
	yaml_for_each(n, node)
	{
		r = read_id(doc, n, field->name, &ids->v[ids->count]);
		if (r < 0)
			return r;
		ids->count++;
	}
	return 0;
}

/* argv[0] is a path, as there is no search for it; the rest is any string. */
static int read_argument(const struct yaml_doc *doc, const struct yaml_node *node,
			 struct config_strings *argv)
{
	int r;

	if (argv->count == 0)
		return config_copy_path(doc, node, "command", PATH_MAX - 1, &argv->v[0]);
	r = yaml_expect(doc, node, YAML_STR, "command");
	if (r < 0)
		return r;
	return yaml_dup(node, &argv->v[argv->count]);
}

static int read_argv(const struct yaml_doc *doc, const struct yaml_node *node,
		     struct config_strings *argv)
{
	int r;

	r = check_list(doc, node, "command", CONFIG_ARGV_MAX);
	if (r < 0)
		return r;
	argv->v = yaml_array(node, sizeof(*argv->v));
	if (!argv->v)
		return -ENOMEM;
	yaml_for_each(n, node)
	{
		r = read_argument(doc, n, argv);
		if (r < 0)
			return r;
		argv->count++;
	}
	return 0;
}

static int get_bool(const struct yaml_doc *doc, const struct yaml_node *node,
		    const struct yaml_field *field, void *out)
{
	int r = yaml_expect(doc, node, YAML_BOOL, field->name);

	if (r == 0)
		*(bool *)out = node->b;
	return r;
}

static const struct yaml_field peers_fields[] = {
	{ .name = "uids", .get = get_ids, .offset = offsetof(struct draft, c.peer_uids) },
	{ .name = "gids", .get = get_ids, .offset = offsetof(struct draft, c.peer_gids) },
	{ 0 },
};

static const struct yaml_field transform_fields[] = {
	{ .name = "socket",
	  .get = yaml_get_node,
	  .offset = offsetof(struct draft, transform_socket),
	  .flags = YAML_REQUIRED },
	{ .name = "allowedPeers",
	  .get = yaml_get_node,
	  .offset = offsetof(struct draft, transform_peers),
	  .flags = YAML_REQUIRED },
	{ 0 },
};

static const struct yaml_field transform_peers_fields[] = {
	{ .name = "uids", .get = get_ids, .offset = offsetof(struct draft, c.transform.uids) },
	{ .name = "gids", .get = get_ids, .offset = offsetof(struct draft, c.transform.gids) },
	{ 0 },
};

static const struct yaml_field admin_fields[] = {
	{ .name = "socket", .get = yaml_get_node, .offset = offsetof(struct draft, admin_socket) },
	{ .name = "gid", .get = get_id, .offset = offsetof(struct draft, c.admin_gid) },
	{ 0 },
};

static const struct yaml_field root_fields[] = {
	{ .name = "source",
	  .get = yaml_get_enum,
	  .offset = offsetof(struct draft, c.root_source),
	  .flags = YAML_REQUIRED,
	  .arg = root_names },
	{ .name = "command", .get = yaml_get_node, .offset = offsetof(struct draft, command) },
	{ .name = "timeout",
	  .get = yaml_get_duration,
	  .offset = offsetof(struct draft, c.root_timeout),
	  .min = SECOND,
	  .max = 600 * SECOND },
	{ 0 },
};

static const struct yaml_field server_fields[] = {
	{ .name = "user", .get = get_user, .offset = offsetof(struct draft, c.server_user) },
	{ 0 },
};

static const struct yaml_field rotation_fields[] = {
	{ .name = "maxAge",
	  .get = yaml_get_duration,
	  .offset = offsetof(struct draft, c.rotation.max_age),
	  .max = 36500 * DAY },
	{ .name = "maxEncryptions",
	  .get = yaml_get_u64,
	  .offset = offsetof(struct draft, c.rotation.max_encryptions),
	  .min = 1,
	  .max = 1LL << 32 },
	{ .name = "auto", .get = get_bool, .offset = offsetof(struct draft, c.rotation.automatic) },
	{ .name = "retireAfter",
	  .get = yaml_get_duration,
	  .offset = offsetof(struct draft, c.rotation.retire_after),
	  .max = 36500 * DAY },
	{ 0 },
};

#define LIMIT(field, member, getter, low, high)                                                 \
	{                                                                                       \
		.name = (field), .get = (getter),                                               \
		.offset = offsetof(struct draft, c.limits.member), .min = (low), .max = (high), \
	}

static const struct yaml_field limits_fields[] = {
	LIMIT("connections", connections, yaml_get_u32, 1, 4096),
	LIMIT("streams", streams, yaml_get_u32, 1, 16384),
	LIMIT("inFlight", in_flight, yaml_get_u32, 1, 65536),
	LIMIT("messageBytes", message_bytes, yaml_get_u32, 36 * 1024, KEKD_GRPC_MESSAGE_MAX),
	LIMIT("lockedMemoryBytes", locked_memory, yaml_get_u64, 1 << 20, 1 << 30),
	{ 0 },
};

/* The inner tables fill the same struct draft: their mappings have no struct of their own. */
static const struct yaml_field fields[] = {
	{ .name = "socket", .get = yaml_get_node, .offset = offsetof(struct draft, socket) },
	{ .name = "sockets", .get = yaml_get_node, .offset = offsetof(struct draft, sockets) },
	{ .name = "socketMode", .get = get_mode, .offset = offsetof(struct draft, c.socket_mode) },
	{ .name = "socketGroup", .get = get_id, .offset = offsetof(struct draft, c.socket_group) },
	{ .name = "allowedPeers",
	  .get = yaml_get_node,
	  .offset = offsetof(struct draft, peers),
	  .flags = YAML_REQUIRED },
	{ .name = "admin", .get = yaml_get_map, .arg = admin_fields },
	{ .name = "transform", .get = yaml_get_node, .offset = offsetof(struct draft, transform) },
	{ .name = "metrics", .get = yaml_get_node, .offset = offsetof(struct draft, metrics) },
	{ .name = "audit", .get = config_get_audit, .offset = offsetof(struct draft, c.audit) },
	{ .name = "encryptionConfig",
	  .get = get_path,
	  .offset = offsetof(struct draft, c.encryption_config) },
	{ .name = "backend",
	  .get = yaml_get_enum,
	  .offset = offsetof(struct draft, c.backend),
	  .arg = backend_names },
	{ .name = "ring",
	  .get = yaml_get_enum,
	  .offset = offsetof(struct draft, c.ring),
	  .arg = ring_names },
	{ .name = "workers",
	  .get = yaml_get_u32,
	  .offset = offsetof(struct draft, c.workers),
	  .min = 1,
	  .max = KEKD_WORKERS_MAX },
	{ .name = "keyStore", .get = get_path, .offset = offsetof(struct draft, c.key_store) },
	{ .name = "rootKey",
	  .get = yaml_get_node,
	  .offset = offsetof(struct draft, root),
	  .flags = YAML_REQUIRED },
	{ .name = "server", .get = yaml_get_map, .arg = server_fields },
	{ .name = "limits", .get = yaml_get_map, .arg = limits_fields },
	{ .name = "rotation", .get = yaml_get_map, .arg = rotation_fields },
	{ .name = "policy",
	  .get = yaml_get_enum,
	  .offset = offsetof(struct draft, c.policy),
	  .arg = policy_names },
	{ .name = "allowPlaintextWrites",
	  .get = get_bool,
	  .offset = offsetof(struct draft, c.plaintext_writes) },
	{ 0 },
};

static int default_str(char **s, const char *value)
{
	*s = strdup(value);
	return *s ? 0 : -ENOMEM;
}

static int config_defaults(struct config *c, const char *file)
{
	*c = (struct config){
		.socket_mode = 0600,
		.backend = CONFIG_BACKEND_KERNEL,
		.ring = CONFIG_RING_AUTO,
		.workers = 1,
		.root_timeout = 10 * SECOND,
		.policy = CONFIG_POLICY_STANDARD,
		.rotation = { .max_encryptions = 200000, .retire_after = DAY },
		.server_user = { .given = true },
		.limits = { .connections = 256,
			    .streams = 1024,
			    .in_flight = 8192,
			    .message_bytes = KEKD_GRPC_MESSAGE_MAX,
			    .locked_memory = 32 << 20 },
	};
	if (default_str(&c->file, file) < 0 ||
	    default_str(&c->admin_socket, CONFIG_ADMIN_SOCKET_DEFAULT) < 0 ||
	    default_str(&c->encryption_config, CONFIG_ENCRYPTION_DEFAULT) < 0 ||
	    default_str(&c->key_store, CONFIG_KEY_STORE_DEFAULT) < 0 ||
	    default_str(&c->server_user.name, CONFIG_USER_DEFAULT) < 0)
		return -ENOMEM;
	return 0;
}

static bool contains(const struct config_strings *list, const char *s)
{
	for (size_t i = 0; i < list->count; i++) {
		if (strcmp(list->v[i], s) == 0)
			return true;
	}
	return false;
}

static int add_socket(const struct yaml_doc *doc, const struct yaml_node *node, const char *what,
		      struct config_strings *list)
{
	int r;

	r = config_copy_path(doc, node, what, CONFIG_SOCKET_PATH_MAX, &list->v[list->count]);
	if (r < 0)
		return r;
	list->count++;
	for (size_t i = 0; i + 1 < list->count; i++) {
		if (strcmp(list->v[i], list->v[list->count - 1]) == 0)
			return yaml_fail(doc, node, "two sockets have the same path");
	}
	return 0;
}

static int read_socket_list(const struct yaml_doc *doc, const struct yaml_node *node,
			    struct config_strings *list)
{
	int r;

	r = check_list(doc, node, "sockets", CONFIG_SOCKETS_MAX);
	if (r < 0)
		return r;
	if (node->count == 0)
		return yaml_fail(doc, node, "\"sockets\" must not be empty");
	list->v = yaml_array(node, sizeof(*list->v));
	if (!list->v)
		return -ENOMEM;
	yaml_for_each(n, node)
	{
		r = add_socket(doc, n, "sockets", list);
		if (r < 0)
			return r;
	}
	return 0;
}

static int read_sockets(const struct yaml_doc *doc, struct draft *d)
{
	struct config_strings *list = &d->c.sockets;

	if (d->socket && d->sockets)
		return yaml_fail_key(doc, d->sockets,
				     "\"socket\" and \"sockets\" exclude each other");
	if (d->sockets)
		return read_socket_list(doc, d->sockets, list);
	list->v = calloc(2, sizeof(*list->v));
	if (!list->v)
		return -ENOMEM;
	if (d->socket)
		return add_socket(doc, d->socket, "socket", list);
	list->count = 1;
	return default_str(&list->v[0], CONFIG_SOCKET_DEFAULT);
}

static int read_admin_socket(const struct yaml_doc *doc, struct draft *d)
{
	const struct yaml_node *at = d->admin_socket ?: d->socket ?: d->sockets;
	int r;

	if (d->admin_socket) {
		r = config_copy_path(doc, d->admin_socket, "socket", CONFIG_SOCKET_PATH_MAX,
				     &d->c.admin_socket);
		if (r < 0)
			return r;
	}
	if (contains(&d->c.sockets, d->c.admin_socket))
		return yaml_fail(doc, at, "the admin socket needs a path of its own");
	return 0;
}

static int read_peers(const struct yaml_doc *doc, struct draft *d)
{
	int r;

	r = yaml_read(doc, d->peers, peers_fields, d);
	if (r < 0)
		return r;
	if (d->c.peer_uids.count + d->c.peer_gids.count == 0)
		return yaml_fail_key(doc, d->peers, "\"allowedPeers\" must name at least one");
	return 0;
}

static int read_transform(const struct yaml_doc *doc, struct draft *d)
{
	struct config_transform *t = &d->c.transform;
	int r;

	if (!d->transform)
		return 0;
	r = yaml_read(doc, d->transform, transform_fields, d);
	if (r == 0)
		r = config_copy_path(doc, d->transform_socket, "socket", CONFIG_SOCKET_PATH_MAX,
				     &t->socket);
	if (r == 0)
		r = yaml_read(doc, d->transform_peers, transform_peers_fields, d);
	if (r < 0)
		return r;
	if (contains(&d->c.sockets, t->socket) || strcmp(t->socket, d->c.admin_socket) == 0)
		return yaml_fail(doc, d->transform_socket,
				 "the transform socket needs a path of its own");
	if (t->uids.count + t->gids.count == 0)
		return yaml_fail_key(doc, d->transform_peers,
				     "\"allowedPeers\" must name at least one");
	return 0;
}

static int read_metrics(const struct yaml_doc *doc, struct draft *d)
{
	int r;

	if (!d->metrics)
		return 0;
	r = config_get_metrics(doc, d->metrics, NULL, &d->c.metrics);
	return r < 0 ? r : config_check_metrics(&d->c, doc, d->metrics);
}

static int read_root(const struct yaml_doc *doc, struct draft *d)
{
	int r;

	r = yaml_read(doc, d->root, root_fields, d);
	if (r < 0)
		return r;
	if (d->c.root_source != CONFIG_ROOT_COMMAND)
		return !d->command ? 0
				   : yaml_fail_key(doc, d->command,
						   "\"command\" is for source: command only");
	if (!d->command || (d->command->type == YAML_LIST && d->command->count == 0))
		return yaml_fail(doc, d->command ?: d->root,
				 "source: command needs a \"command\" to run");
	return read_argv(doc, d->command, &d->c.root_command);
}

static int config_read(const struct yaml_doc *doc, struct draft *d)
{
	int r;

	r = yaml_read(doc, yaml_doc_root(doc), fields, d);
	if (r == 0)
		r = read_sockets(doc, d);
	if (r == 0)
		r = read_admin_socket(doc, d);
	if (r == 0)
		r = read_peers(doc, d);
	if (r == 0)
		r = read_transform(doc, d);
	if (r == 0)
		r = read_metrics(doc, d);
	if (r == 0)
		r = read_root(doc, d);
	return r;
}

static void strings_clear(struct config_strings *list)
{
	for (size_t i = 0; list->v && list->v[i]; i++)
		free(list->v[i]);
	free(list->v);
}

static void ids_clear(struct config_ids *ids)
{
	for (size_t i = 0; i < ids->count; i++)
		free(ids->v[i].name);
	free(ids->v);
}

static void config_clear(struct config *c)
{
	free(c->file);
	strings_clear(&c->sockets);
	free(c->socket_group.name);
	ids_clear(&c->peer_uids);
	ids_clear(&c->peer_gids);
	free(c->admin_socket);
	free(c->transform.socket);
	ids_clear(&c->transform.uids);
	ids_clear(&c->transform.gids);
	free(c->metrics.listen);
	free(c->audit.file);
	free(c->admin_gid.name);
	free(c->encryption_config);
	free(c->key_store);
	strings_clear(&c->root_command);
	free(c->server_user.name);
}

static void draft_clear(struct draft *d)
{
	config_clear(&d->c);
}

int config_parse(struct span text, const char *file, struct config **ret, struct yaml_error *err)
{
	_cleanup_(yaml_doc_freep) struct yaml_doc *doc = NULL;
	_cleanup_(draft_clear) struct draft d = { 0 };
	struct config *c;
	int r;

	r = yaml_doc_parse(text, file, err, &doc);
	if (r == 0)
		r = config_defaults(&d.c, file);
	if (r == 0)
		r = config_read(doc, &d);
	if (r < 0)
		return r;
	c = malloc(sizeof(*c));
	if (!c)
		return -ENOMEM;
	*c = d.c;
	d.c = (struct config){ 0 };
	*ret = c;
	return 0;
}

void config_free(struct config *c)
{
	if (!c)
		return;
	config_clear(c);
	free(c);
}
