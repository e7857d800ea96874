/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kekd.yaml: the daemon's own configuration.
 *
 *	socket: /run/kekd/kms.sock      # or sockets: [PATH, …], one an element of `resources` in
 *	                                # the EncryptionConfiguration, in its order
 *	socketMode: "0660"              # octal, quoted
 *	socketGroup: kube               # name or gid
 *	allowedPeers:                   # required: whom SO_PEERCRED lets in; names or numbers
 *	  uids: [0]
 *	  gids: []
 *	admin:
 *	  socket: /run/kekd/admin.sock
 *	  gid: kekd-admin               # beside root
 *	encryptionConfig: /etc/kekd/encryption.yaml
 *	backend: kernel                 # or openssl
 *	ring: auto                      # or io_uring, epoll
 *	workers: 1                      # server processes, up to 16
 *	keyStore: /var/lib/kekd/keys
 *	rootKey:                        # required
 *	  source: command               # or ephemeral, unseal, trusted
 *	  command: [/usr/bin/systemd-creds, decrypt, /etc/kekd/root.cred, "-"]
 *	  timeout: 10s
 *	server:
 *	  user: kekd                    # name or uid, not root
 *	transform:                      # optional: kekd.v1.Transform, for tools
 *	  socket: /run/kekd/transform.sock
 *	  allowedPeers: { uids: [0] }   # they may read every value: a list of its own
 *	metrics:                        # optional: HTTP for monitoring
 *	  listen: 127.0.0.1:9740        # this host only; or a socket's path
 *	audit:                          # optional: a line for each operation
 *	  to: journal                   # or a file's path
 *	  onFailure: block              # or drop: what happens while it cannot be written
 *	limits: { connections: 256, streams: 1024, inFlight: 8192 }
 *	policy: standard                # or strict: no key in a process's memory
 *	allowPlaintextWrites: false     # may a chain begin with identity?
 *	rotation:
 *	  maxAge: 2160h                 # 0s, the default, is for ever
 *	  maxEncryptions: 200000        # of random nonces under one key
 *	  auto: off                     # on: rotate by itself; not where nodes share keys
 *	  retireAfter: 24h              # unused for so long before it may be retired
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

#define CONFIG_SOCKET_DEFAULT       "/run/kekd/kms.sock"
#define CONFIG_ADMIN_SOCKET_DEFAULT "/run/kekd/admin.sock"
#define CONFIG_ENCRYPTION_DEFAULT   "/etc/kekd/encryption.yaml"
#define CONFIG_KEY_STORE_DEFAULT    "/var/lib/kekd/keys"
#define CONFIG_USER_DEFAULT         "kekd"

#define CONFIG_SOCKETS_MAX 64
#define CONFIG_PEERS_MAX   64 /* of uids, and of gids */
#define CONFIG_ARGV_MAX    32

enum config_backend { CONFIG_BACKEND_KERNEL, CONFIG_BACKEND_OPENSSL };
enum config_ring { CONFIG_RING_AUTO, CONFIG_RING_IO_URING, CONFIG_RING_EPOLL };
enum config_root {
	CONFIG_ROOT_EPHEMERAL,
	CONFIG_ROOT_COMMAND,
	CONFIG_ROOT_UNSEAL,
	CONFIG_ROOT_TRUSTED
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
	uint32_t connections;   /* of all peers; 1..4096, default 256 */
	uint32_t streams;       /* calls of one connection; 1..16384, default 1024 */
	uint32_t in_flight;     /* calls of all connections; 1..65536, default 8192 */
	uint32_t message_bytes; /* largest message; 36864..65536, default 65536 */
	uint64_t locked_memory; /* bytes for messages and keys; 1 MiB..1 GiB, default 32 MiB */
};

/* The Transform service; socket is NULL without one. */
struct config_transform {
	char *socket;
	struct config_ids uids; /* with gids at least one */
	struct config_ids gids;
};

/* When a key has done enough, and who acts on it. */
struct config_rotation {
	int64_t max_age;          /* ns; 0: for ever */
	uint64_t max_encryptions; /* 1..2^32, default 200 000 */
	bool automatic;
	int64_t retire_after; /* ns, default 24 h */
};

struct config_metrics {
	char *listen; /* NULL: none; a path, or what sys/loopback.h takes */
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
	unsigned int socket_mode;      /* of 0666; default 0600 */
	struct config_id socket_group; /* optional */
	struct config_ids peer_uids;   /* with peer_gids at least one */
	struct config_ids peer_gids;
	char *admin_socket;
	struct config_id
		admin_gid; /* optional: a group that may use the admin socket beside root */
	struct config_transform transform;
	struct config_metrics metrics;
	struct config_audit audit;
	char *encryption_config;
	unsigned int backend; /* enum config_backend, default kernel */
	unsigned int ring;    /* enum config_ring, default auto */
	uint32_t workers;     /* 1 … KEKD_WORKERS_MAX, default 1 */
	char *key_store;
	unsigned int root_source;           /* enum config_root */
	struct config_strings root_command; /* argv; argv[0] absolute; empty unless "command" */
	int64_t root_timeout;               /* of the command, ns; 1 s..10 min, default 10 s */
	struct config_id server_user;       /* never root */
	uint32_t server_gid;                /* its primary group, after config_resolve() */
	struct config_limits limits;
	unsigned int policy;   /* enum config_policy, default standard */
	bool plaintext_writes; /* a chain may begin with identity; default false */
	struct config_rotation rotation;
};

/*
 * Parse and check. @text, @file and @err are borrowed. -EINVAL with *err filled; -ENOMEM. Caller
 * frees *ret.
 */
int config_parse(struct span text, const char *file, struct config **ret, struct yaml_error *err);
void config_free(struct config *c);
DEFINE_CLEANUP(struct config *, config_free);

/*
 * Look up the users and groups that are given by name, and the server user's primary group (its
 * own number if it has no entry). -EINVAL with *err filled (no such name, or the server user is
 * root), or the error of the name service. Errors leave @c partly resolved.
 */
int config_resolve(struct config *c, struct yaml_error *err);

#endif
