/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kekd.yaml: the daemon's own configuration.
 *
 * The tables in config.c have its fields, with bounds, defaults and a line of text each: they are
 * what the file is read by and what `kekctl config schema` prints. kekd.yaml(5) explains them, and
 * a test holds it to the tables.
 *
 * Two choices have no default on purpose: who may connect, and where the root key comes from (an
 * ephemeral one makes stored values unreadable after a restart). Parsing reads no file and looks
 * up no user: config_resolve() does, so that a configuration can be checked on another machine.
 */
#ifndef KEKD_CHAIN_CONFIG_H
#define KEKD_CHAIN_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "daemon/base/yaml.h"
#include <kekd/span.h>

#define CONFIG_NODE_NAME_MAX 63

#define CONFIG_SOCKETS_MAX   64
#define CONFIG_PEERS_MAX     64 /* of uids, and of gids */
#define CONFIG_ARGV_MAX      32
#define CONFIG_ENDPOINTS_MAX 16
#define CONFIG_OTHERS_MAX    8
#define CONFIG_PREFIX_MAX    255

enum config_custody { CONFIG_CUSTODY_SERIAL, CONFIG_CUSTODY_VALUE, CONFIG_CUSTODY_HOLDER };
extern const char *const config_custody_names[]; /* NULL-terminated */
enum config_ring { CONFIG_RING_AUTO, CONFIG_RING_IO_URING, CONFIG_RING_EPOLL };
enum config_root {
	CONFIG_ROOT_EPHEMERAL,
	CONFIG_ROOT_COMMAND,
	CONFIG_ROOT_UNSEAL,
	CONFIG_ROOT_TRUSTED,
};
enum config_failure { CONFIG_FAILURE_BLOCK, CONFIG_FAILURE_DROP };
enum config_policy { CONFIG_POLICY_STRICT, CONFIG_POLICY_STANDARD };

/* A user or a group: a name that config_resolve() turns into a number, or the number itself. */
struct config_id {
	bool given;
	bool resolved; /* id holds */
	char *name;    /* NULL when the file has a number */
	uint32_t id;
	uint32_t line, column;
};

struct config_ids {
	struct config_id *v;
	size_t count;
};

struct config_strings {
	char **v; /* with a NULL behind the last */
	size_t count;
};

/* Limits: what one client, or all of them, may hold at once. */
struct config_limits {
	uint32_t connections;   /* of all peers */
	uint32_t streams;       /* calls of one connection */
	uint32_t in_flight;     /* calls of all connections */
	uint32_t message_bytes; /* largest message */
	uint64_t locked_memory; /* bytes for messages and keys */
};

/* The Transform service; socket is NULL without one. */
struct config_transform {
	char *socket;
	struct config_ids uids; /* with gids at least one */
	struct config_ids gids;
};

/* When a key has done enough, and who acts on it. */
struct config_rotation {
	int64_t max_age; /* ns; 0: for ever */
	uint64_t max_encryptions;
	bool automatic;
	int64_t keep_retired; /* ns */
};

struct config_metrics {
	char *listen; /* NULL: none; a path, or what sys/loopback.h takes */
};

/* etcd as what carries the keyset between nodes; no endpoint: it does not. */
struct config_cluster {
	struct config_strings
		endpoints;     /* https://ADDRESS:PORT; http:// with loopback addresses only */
	char *ca, *cert, *key; /* ca: with https; cert and key: both or none */
	char *prefix;          /* of its keys, a path */
};

/*
 * The etcds that kube-apiserver has beside that (--etcd-servers-overrides), without a prefix: where evidence about a key
 * has to be looked for, too.
 */
struct config_others {
	bool said; /* the file has the list, and be it an empty one */
	struct config_cluster *v;
	size_t count;
};

/* Neither journal nor file: no audit. */
struct config_audit {
	bool journal;
	char *file;
	unsigned int failure; /* enum config_failure */
};

/* Everything in it is owned by it. Paths are absolute and have no empty, "." or ".." component. */
struct config {
	char *file;                    /* as given, for later messages */
	struct config_strings sockets; /* at least one; distinct, shorter than sun_path */
	unsigned int socket_mode;      /* of 0666 */
	struct config_id socket_group; /* optional */
	struct config_ids peer_uids;   /* with peer_gids at least one */
	struct config_ids peer_gids;
	char *admin_socket;
	struct config_id
		admin_gid; /* optional: a group that may use the admin socket beside root */
	struct config_transform transform;
	struct config_metrics metrics;
	struct config_audit audit;
	struct config_cluster cluster;
	struct config_others others;
	char *encryption_config;
	unsigned int custody; /* enum config_custody */
	unsigned int ring;    /* enum config_ring */
	uint32_t workers;     /* 1 … KEKD_WORKERS_MAX */
	char *key_store;
	char *node;               /* this machine's name in the keyset; NULL: its host name */
	unsigned int root_source; /* enum config_root */
	struct config_strings root_command; /* argv; argv[0] absolute; empty unless "command" */
	char *root_blob;                    /* what a TPM has sealed; NULL unless "trusted" */
	int64_t root_timeout;               /* of the command, ns */
	struct config_id server_user;       /* never root */
	uint32_t server_gid;                /* its primary group, after config_resolve() */
	struct config_limits limits;
	unsigned int policy;   /* enum config_policy */
	bool plaintext_writes; /* a chain may begin with identity */
	struct config_rotation rotation;
};

/*
 * Parse and check. @text, @file and @err are borrowed. -EINVAL with *err filled; -ENOMEM. Caller
 * frees *ret.
 */
int config_parse(struct span text, const char *file, struct config **ret, struct yaml_error *err);
void config_free(struct config *c);
DEFINE_CLEANUP(struct config *, config_free);

/* Does kekd get the root key by itself, again and again until it has one? Then _from: the command, or the file. Borrowed. */
bool config_root_is_fetched(const struct config *c);
const char *config_root_from(const struct config *c);

/* Is it https://ADDRESS:PORT, or http:// and a loopback address? */
bool config_is_endpoint(const char *s);

/*
 * Look up the users and groups that are given by name, and the server user's primary group (its
 * own number if it has no entry). -EINVAL with *err filled (no such name, or the server user is
 * root), or the error of the name service. Errors leave @c partly resolved.
 */
int config_resolve(struct config *c, struct yaml_error *err);

#endif
