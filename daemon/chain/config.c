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
#include "daemon/chain/config_schema.h"
#include <kekd/limits.h>

#define SECOND 1000000000LL
#define DAY    (24 * 60 * 60 * SECOND)

#define SOCKET_DEFAULT       "/run/kekd/kms.sock"
#define ADMIN_SOCKET_DEFAULT "/run/kekd/admin.sock"

#define ID_NAME_MAX 256

static const char *const backend_names[] = { "kernel", NULL };
const char *const config_custody_names[] = { "serial", "value", "holder", NULL };
static const char *const ring_names[] = { "auto", "io_uring", "epoll", NULL };
static const char *const root_names[] = { "ephemeral", "command", "unseal", "trusted", NULL };
static const char *const policy_names[] = { "strict", "standard", NULL };

/* One of several words that have to agree with others; node is NULL for a preset, which stands in no line. */
struct choice {
	unsigned int value;
	const struct yaml_node *node;
};

/* What the tables fill: the result, and the nodes of fields that have to agree. */
struct draft {
	struct config c;
	const struct yaml_node *socket, *sockets, *peers, *admin, *admin_socket, *root, *command;
	const struct yaml_node *transform, *transform_socket, *transform_peers;
	const struct yaml_node *metrics, *cluster;
	struct choice custody;
	unsigned int backend; /* there is one */
};

static int get_choice(const struct yaml_doc *doc, const struct yaml_node *node,
		      const struct yaml_field *field, void *out)
{
	struct choice *c = out;
	int r = yaml_get_enum(doc, node, field, &c->value);

	c->node = node->line > 0 ? node : NULL;
	return r;
}

/* kekd once had two. A configuration that names the one that is gone is told what has replaced it. */
static int get_backend(const struct yaml_doc *doc, const struct yaml_node *node,
		       const struct yaml_field *field, void *out)
{
	if (node->type == YAML_STR && strcmp(node->text, "openssl") == 0)
		return yaml_fail(
			doc, node,
			"\"backend: openssl\" is gone, as it put keys into the process that "
			"reads what clients send: write \"custody: holder\" in its place");
	return yaml_get_enum(doc, node, field, out);
}

static int get_path(const struct yaml_doc *doc, const struct yaml_node *node,
		    const struct yaml_field *field, void *out)
{
	return config_copy_path(doc, node, field->name, PATH_MAX - 1, out);
}

static const struct yaml_kind kind_path = {
	.type = "string",
	.pattern = "^" CONFIG_PATH_PATTERN "$",
	.longest = PATH_MAX - 1,
	.example = "\"/etc/kekd/file\"",
};

static const struct yaml_kind kind_socket = {
	.type = "string",
	.pattern = "^" CONFIG_PATH_PATTERN "$",
	.longest = CONFIG_SOCKET_PATH_MAX,
	.example = "\"/run/kekd/a.sock\"",
};

static const struct yaml_kind kind_sockets = {
	.type = "array",
	.low = "minItems",
	.high = "maxItems",
	.item = &kind_socket,
	.rule = "{\"uniqueItems\": true}",
};

static const struct yaml_kind kind_mode = {
	.type = "string",
	.pattern = "^0?6[0246][0246]$",
	.example = "\"0660\"",
};

/* A name as DNS has it, since it stands in texts, in labels of metrics and on command lines. */
static int get_node_name(const struct yaml_doc *doc, const struct yaml_node *node,
			 const struct yaml_field *field, void *out)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-";
	size_t len;
	char *name;
	int r;

	r = yaml_expect(doc, node, YAML_STR, field->name);
	if (r < 0)
		return r;
	len = strspn(node->text, digits);
	if (len == 0 || node->text[len] || len > CONFIG_NODE_NAME_MAX || node->text[0] == '-')
		return yaml_fail(
			doc, node,
			"\"%s\" is 1 to %d letters, digits, '.' and '-', and begins with no '-'",
			field->name, CONFIG_NODE_NAME_MAX);
	name = strdup(node->text);
	if (!name)
		return -ENOMEM;
	free(*(char **)out);
	*(char **)out = name;
	return 0;
}

static const struct yaml_kind kind_node_name = {
	.type = "string",
	.pattern = "^[A-Za-z0-9.][A-Za-z0-9.-]*$",
	.longest = CONFIG_NODE_NAME_MAX,
	.example = "\"cp-1\"",
};

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

#define ID_PATTERN "[^:/ \\x00-\\x1f\\x7f]+$"

/* read_id() has the same greatest id. */
static const struct yaml_kind kind_id = {
	.type = "string integer",
	.pattern = "^" ID_PATTERN,
	.longest = ID_NAME_MAX,
	.example = "1000",
	.rule = "{\"minimum\": 0, \"maximum\": 4294967294}",
};

/* config_resolve() refuses the name. */
static const struct yaml_kind kind_user = {
	.type = "string integer",
	.pattern = "^(?!root$)" ID_PATTERN,
	.longest = ID_NAME_MAX,
	.example = "1000",
	.rule = "{\"minimum\": 1, \"maximum\": 4294967294}",
};

static const struct yaml_kind kind_ids = {
	.type = "array",
	.high = "maxItems",
	.item = &kind_id,
};

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
	} else if (node->type != YAML_STR) {
		return yaml_fail(doc, node, "\"%s\" must be a name or a whole number, not %s", what,
				 yaml_type_name(node->type));
	} else if (node->len == 0 || node->len > ID_NAME_MAX || yaml_has_control(node->text) ||
		   strpbrk(node->text, ":/ ")) {
		return yaml_fail(doc, node, "\"%s\" is no name of a user or group", what);
	} else {
		r = yaml_dup(node, &id.name);
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

static int config_check_list(const struct yaml_doc *doc, const struct yaml_node *node,
			     const char *what, size_t max)
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

	r = config_check_list(doc, node, field->name, (size_t)field->max);
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

static const struct yaml_kind kind_string = { .type = "string" };

static const struct yaml_kind kind_argv = {
	.type = "array",
	.low = "minItems",
	.high = "maxItems",
	.first = &kind_path,
	.item = &kind_string,
	.example = "[\"/bin/true\"]",
};

static int read_argv(const struct yaml_doc *doc, const struct yaml_node *node,
		     struct config_strings *argv)
{
	int r;

	r = config_check_list(doc, node, "command", CONFIG_ARGV_MAX);
	if (r < 0)
		return r;
	argv->v = yaml_array(node, sizeof(*argv->v));
	if (!argv->v)
		return -ENOMEM;
	yaml_for_each(n, node)
	{
		/* argv[0] is a path, as there is no search for it; the rest is any string. */
		if (argv->count == 0) {
			r = config_copy_path(doc, n, "command", PATH_MAX - 1, &argv->v[0]);
		} else {
			r = yaml_expect(doc, n, YAML_STR, "command");
			if (r == 0)
				r = yaml_dup(n, &argv->v[argv->count]);
		}
		if (r < 0)
			return r;
		argv->count++;
	}
	return 0;
}

static const struct yaml_kind kind_bool = { .type = "boolean" };

/* For a reader of YAML 1.2, on and off are words. */
static const struct yaml_kind kind_switch = {
	.type = "boolean string",
	.example = "true",
	.rule = "{\"enum\": [true, false, \"on\", \"off\"]}",
};

static int get_bool(const struct yaml_doc *doc, const struct yaml_node *node,
		    const struct yaml_field *field, void *out)
{
	int r = yaml_expect(doc, node, YAML_BOOL, field->name);

	if (r == 0)
		*(bool *)out = node->b;
	return r;
}

/* read_peers() */
static const struct yaml_kind kind_peers = {
	.type = "object",
	.rule = "{\"anyOf\": ["
		"{\"required\": [\"uids\"], \"properties\": {\"uids\": {\"minItems\": 1}}},"
		"{\"required\": [\"gids\"], \"properties\": {\"gids\": {\"minItems\": 1}}}]}",
};

/* A field that one source needs and no other may have. */
#define NEEDS(SOURCE, FIELD)                                                    \
	"{\"if\": {\"properties\": {\"source\": {\"const\": \"" SOURCE "\"}}}," \
	"\"then\": {\"required\": [\"" FIELD "\"]},"                            \
	"\"else\": {\"not\": {\"required\": [\"" FIELD "\"]}}}"

/* config_read_root() */
static const struct yaml_kind kind_root = {
	.type = "object",
	.rule = "{\"allOf\": [" NEEDS("command", "command") ", " NEEDS("trusted", "blob") "]}",
};

/* For a schema: field A with a value like X excludes field B with a value like Y. */
#define BOTH(A, X, B, Y)                                                                          \
	"{\"required\": [\"" A "\", \"" B "\"], \"properties\": {\"" A "\": " X ", \"" B "\": " Y \
	"}}"
#define WORD(W) "{\"const\": \"" W "\"}"

#define TWO_SOCKETS   BOTH("socket", "{}", "sockets", "{}")
#define STRICT_VALUE  BOTH("custody", WORD("value"), "policy", WORD("strict"))
#define STRICT_HOLDER BOTH("custody", WORD("holder"), "policy", WORD("strict"))
#define TRUSTED_OTHER                                                     \
	BOTH("custody", "{\"enum\": [\"value\", \"holder\"]}", "rootKey", \
	     "{\"properties\": {\"source\": " WORD("trusted") "}, \"required\": [\"source\"]}")

/* read_sockets(), read_custody() */
static const struct yaml_kind kind_file = {
	.type = "object",
	.rule = "{\"not\": {\"anyOf\": [" TWO_SOCKETS ", " STRICT_VALUE ", " STRICT_HOLDER
		", " TRUSTED_OTHER "]}}",
};

#define FIELD(NAME, GET, KIND, MEMBER, ...)                           \
	{                                                             \
		.name = (NAME), .get = (GET), .kind = &(KIND),        \
		.offset = offsetof(struct draft, MEMBER), __VA_ARGS__ \
	}
#define MAP(NAME, TABLE, HELP)                                                               \
	{                                                                                    \
		.name = (NAME), .get = yaml_get_map, .kind = &yaml_kind_map, .arg = (TABLE), \
		.help = (HELP)                                                               \
	}

static const struct yaml_field peers_fields[] = {
	FIELD("uids", get_ids, kind_ids, c.peer_uids, .max = CONFIG_PEERS_MAX, .help = "users"),
	FIELD("gids", get_ids, kind_ids, c.peer_gids, .max = CONFIG_PEERS_MAX, .help = "groups"),
	{ 0 },
};

static const struct yaml_field transform_peers_fields[] = {
	FIELD("uids", get_ids, kind_ids, c.transform.uids, .max = CONFIG_PEERS_MAX,
	      .help = "users"),
	FIELD("gids", get_ids, kind_ids, c.transform.gids, .max = CONFIG_PEERS_MAX,
	      .help = "groups"),
	{ 0 },
};

static const struct yaml_field transform_fields[] = {
	FIELD("socket", yaml_get_node, kind_socket, transform_socket, .flags = YAML_REQUIRED,
	      .help = "path of the service's socket"),
	FIELD("allowedPeers", yaml_get_node, kind_peers, transform_peers, .flags = YAML_REQUIRED,
	      .arg = transform_peers_fields, .help = "peers to serve; they can read every value"),
	{ 0 },
};

static const struct yaml_field admin_fields[] = {
	FIELD("socket", yaml_get_node, kind_socket, admin_socket, .preset = ADMIN_SOCKET_DEFAULT,
	      .help = "path of the admin socket"),
	FIELD("gid", get_id, kind_id, c.admin_gid,
	      .help = "group that may use the admin socket, beside root"),
	{ 0 },
};

static const struct yaml_field root_fields[] = {
	FIELD("source", yaml_get_enum, yaml_kind_word, c.root_source, .flags = YAML_REQUIRED,
	      .arg = root_names, .help = "where the root key comes from"),
	FIELD("command", yaml_get_node, kind_argv, command, .min = 1, .max = CONFIG_ARGV_MAX,
	      .help = "for source: command, the program that prints it and its arguments"),
	FIELD("blob", get_path, kind_path, c.root_blob,
	      .help = "for source: trusted, the file that `kekctl root create --tpm` has made"),
	FIELD("timeout", yaml_get_duration, yaml_kind_duration, c.root_timeout, .preset = "10s",
	      .min = SECOND, .max = 600 * SECOND, .help = "how long the command may take"),
	{ 0 },
};

static const struct yaml_field server_fields[] = {
	FIELD("user", get_user, kind_user, c.server_user, .preset = "kekd",
	      .help = "user that the server process runs as"),
	{ 0 },
};

static const struct yaml_field rotation_fields[] = {
	FIELD("maxAge", yaml_get_duration, yaml_kind_duration, c.rotation.max_age, .preset = "0s",
	      .max = 36500 * DAY, .help = "age at which a key is due for rotation; 0s: never"),
	FIELD("maxEncryptions", yaml_get_u64, yaml_kind_number, c.rotation.max_encryptions,
	      .preset = "200000", .min = 1, .max = 1LL << 32,
	      .help = "number of messages at which a key is due for rotation"),
	FIELD("auto", get_bool, kind_switch, c.rotation.automatic, .preset = "off",
	      .help = "rotate keys that are due automatically"),
	FIELD("keepRetired", yaml_get_duration, yaml_kind_duration, c.rotation.keep_retired,
	      .preset = "720h", .max = 36500 * DAY,
	      .help = "how long a retired key is kept before it may be destroyed"),
	{ 0 },
};

static const struct yaml_field limits_fields[] = {
	FIELD("connections", yaml_get_u32, yaml_kind_number, c.limits.connections, .preset = "256",
	      .min = 1, .max = 4096, .help = "connections of all peers together"),
	FIELD("streams", yaml_get_u32, yaml_kind_number, c.limits.streams, .preset = "1024",
	      .min = 1, .max = 16384, .help = "calls in flight on one connection"),
	FIELD("inFlight", yaml_get_u32, yaml_kind_number, c.limits.in_flight, .preset = "8192",
	      .min = 1, .max = 65536, .help = "calls in flight on all connections together"),
	FIELD("messageBytes", yaml_get_u32, yaml_kind_number, c.limits.message_bytes,
	      .preset = "65536", .min = 36 * 1024, .max = KEKD_GRPC_MESSAGE_MAX,
	      .help = "size of the largest message"),
	FIELD("lockedMemoryBytes", yaml_get_u64, yaml_kind_number, c.limits.locked_memory,
	      .preset = "33554432", .min = 1 << 20, .max = 1 << 30,
	      .help = "locked memory for messages and keys"),
	{ 0 },
};

/* The inner tables fill the same struct draft, whose first member is the struct config. */
static const struct yaml_field fields[] = {
	FIELD("socket", yaml_get_node, kind_socket, socket, .preset = SOCKET_DEFAULT,
	      .help = "path of the KMS socket"),
	FIELD("sockets", yaml_get_node, kind_sockets, sockets, .min = 1, .max = CONFIG_SOCKETS_MAX,
	      .help = "several KMS sockets instead, one for each element of `resources`"),
	FIELD("socketMode", get_mode, kind_mode, c.socket_mode, .preset = "0600",
	      .help = "mode of the KMS sockets, octal and in quotes"),
	FIELD("socketGroup", get_id, kind_id, c.socket_group, .help = "group of the KMS sockets"),
	FIELD("allowedPeers", yaml_get_node, kind_peers, peers, .flags = YAML_REQUIRED,
	      .arg = peers_fields,
	      .help = "peers to serve, by uid or gid of the process that connects"),
	MAP("admin", admin_fields, "socket that kekctl connects to"),
	FIELD("transform", yaml_get_node, yaml_kind_map, transform, .arg = transform_fields,
	      .help = "service that encrypts and decrypts whole values of etcd; off if absent"),
	FIELD("metrics", yaml_get_node, yaml_kind_map, metrics, .arg = config_metrics_fields,
	      .help = "HTTP endpoint for monitoring; off if absent"),
	FIELD("cluster", yaml_get_node, config_kind_cluster, cluster, .arg = config_cluster_fields,
	      .help = "etcd that carries the keyset between nodes; without it nothing does"),
	FIELD("otherEtcds", config_get_others, config_kind_others, c.others,
	      .max = CONFIG_OTHERS_MAX, .arg = config_other_fields,
	      .help = "further etcds of kube-apiserver, as in its --etcd-servers-overrides"),
	FIELD("audit", yaml_get_map, yaml_kind_map, c.audit, .arg = config_audit_fields,
	      .help = "audit log, one line for each operation; off if absent"),
	FIELD("encryptionConfig", get_path, kind_path, c.encryption_config,
	      .preset = "/etc/kekd/encryption.yaml", .help = "path of the EncryptionConfiguration"),
	FIELD("backend", get_backend, yaml_kind_word, backend, .preset = "kernel",
	      .arg = backend_names, .help = "obsolete; use custody"),
	FIELD("custody", get_choice, yaml_kind_word, custody, .preset = "serial",
	      .arg = config_custody_names,
	      .help = "where the bytes of a key are: in the kernel only, "
		      "passing through the keeper, or in a holder process"),
	FIELD("ring", yaml_get_enum, yaml_kind_word, c.ring, .preset = "auto", .arg = ring_names,
	      .help = "the event loop"),
	FIELD("workers", yaml_get_u32, yaml_kind_number, c.workers, .preset = "1", .min = 1,
	      .max = KEKD_WORKERS_MAX, .help = "number of server processes"),
	FIELD("keyStore", get_path, kind_path, c.key_store, .preset = "/var/lib/kekd/keys",
	      .help = "directory of the sealed keys"),
	FIELD("node", get_node_name, kind_node_name, c.node,
	      .help = "this machine's name in the keyset (default: its host name)"),
	FIELD("rootKey", yaml_get_node, kind_root, root, .flags = YAML_REQUIRED, .arg = root_fields,
	      .help = "the key that seals all others"),
	MAP("server", server_fields, "settings of the server processes"),
	MAP("limits", limits_fields, "limits on what clients may use at once"),
	MAP("rotation", rotation_fields,
	    "when keys are due for rotation, and how long retired ones are kept"),
	FIELD("policy", yaml_get_enum, yaml_kind_word, c.policy, .preset = "standard",
	      .arg = policy_names, .help = "strict refuses keys in the daemon's memory"),
	FIELD("allowPlaintextWrites", get_bool, kind_bool, c.plaintext_writes, .preset = "false",
	      .help = "allow identity, which writes plaintext, as the first provider"),
	{ 0 },
};

const struct yaml_field config_schema = {
	.name = "kekd.yaml",
	.kind = &kind_file,
	.arg = fields,
	.help = "Configuration of kekd; kekd.yaml(5) is the full text, and kekd --check the last word.",
};

static int default_str(char **s, const char *value)
{
	*s = strdup(value);
	return *s ? 0 : -ENOMEM;
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

	r = config_check_list(doc, node, "sockets", CONFIG_SOCKETS_MAX);
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
	return default_str(&list->v[0], SOCKET_DEFAULT);
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

static int config_read_root(const struct yaml_doc *doc, struct draft *d)
{
	int r;

	r = yaml_read(doc, d->root, root_fields, d);
	if (r < 0)
		return r;
	if (d->c.root_source != CONFIG_ROOT_TRUSTED && d->c.root_blob)
		return yaml_fail(doc, d->root, "\"blob\" is for source: trusted only");
	if (d->c.root_source == CONFIG_ROOT_TRUSTED && !d->c.root_blob)
		return yaml_fail(
			doc, d->root,
			"source: trusted needs a \"blob\", the file of the sealed root key");
	if (d->c.root_source != CONFIG_ROOT_COMMAND)
		return !d->command ? 0
				   : yaml_fail_key(doc, d->command,
						   "\"command\" is for source: command only");
	if (!d->command || (d->command->type == YAML_LIST && d->command->count == 0))
		return yaml_fail(doc, d->command ?: d->root,
				 "source: command needs a \"command\" to run");
	return read_argv(doc, d->command, &d->c.root_command);
}

/* Nothing weaker than `custody: serial` under a strict policy. */
static int read_custody(const struct yaml_doc *doc, struct draft *d)
{
	d->c.custody = d->custody.value;
	if (d->c.root_source == CONFIG_ROOT_TRUSTED && d->c.custody != CONFIG_CUSTODY_SERIAL)
		return yaml_fail(doc, d->custody.node,
				 "custody %s needs the bytes of the root key, and with \"source: "
				 "trusted\" no process has them",
				 config_custody_names[d->c.custody]);
	if (d->c.policy != CONFIG_POLICY_STRICT)
		return 0;
	if (d->c.custody != CONFIG_CUSTODY_SERIAL)
		return yaml_fail(doc, d->custody.node,
				 "custody %s is refused by \"policy: strict\": keys would %s "
				 "the daemon's memory",
				 config_custody_names[d->c.custody],
				 d->c.custody == CONFIG_CUSTODY_HOLDER ? "be in" : "pass through");
	return 0;
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
	if (r == 0 && d->metrics) {
		r = yaml_read(doc, d->metrics, config_metrics_fields, &d->c);
		if (r == 0)
			r = config_check_metrics(&d->c, doc, d->metrics);
	}
	if (r == 0 && d->cluster) {
		r = yaml_read(doc, d->cluster, config_cluster_fields, &d->c);
		if (r == 0)
			r = config_check_cluster(&d->c, doc, d->cluster);
	}
	if (r == 0)
		r = config_read_root(doc, d);
	if (r == 0)
		r = read_custody(doc, d);
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

static void cluster_clear(struct config_cluster *c)
{
	strings_clear(&c->endpoints);
	free(c->ca);
	free(c->cert);
	free(c->key);
	free(c->prefix);
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
	cluster_clear(&c->cluster);
	for (size_t i = 0; i < c->others.count; i++)
		cluster_clear(&c->others.v[i]);
	free(c->others.v);
	free(c->admin_gid.name);
	free(c->encryption_config);
	free(c->key_store);
	free(c->node);
	strings_clear(&c->root_command);
	free(c->root_blob);
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
		r = default_str(&d.c.file, file);
	if (r == 0)
		r = default_str(&d.c.admin_socket, ADMIN_SOCKET_DEFAULT);
	if (r == 0)
		r = yaml_presets(doc, fields, &d);
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

bool config_root_is_fetched(const struct config *c)
{
	return c->root_source == CONFIG_ROOT_COMMAND || c->root_source == CONFIG_ROOT_TRUSTED;
}

const char *config_root_from(const struct config *c)
{
	return c->root_source == CONFIG_ROOT_TRUSTED ? c->root_blob : c->root_command.v[0];
}

void config_free(struct config *c)
{
	if (!c)
		return;
	config_clear(c);
	free(c);
}
