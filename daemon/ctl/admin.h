/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The admin protocol: kekctl asks, the keeper answers. SOCK_SEQPACKET, one struct a packet, fixed
 * size, no parsing; the same structs on both sides. A request is answered by any number of
 * ADMIN_KEY packets and then one ADMIN_END. The peer must be root or in the configured group
 * (SO_PEERCRED, checked at accept).
 *
 * No packet carries a key but one: ADMIN_KEY_IMPORT is a struct admin_import, from locked memory to
 * locked memory. Text is UTF-8, NUL-terminated, for people.
 */
#ifndef KEKD_CTL_ADMIN_H
#define KEKD_CTL_ADMIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/obs/metrics.h"
#include <kekd/limits.h>

#define ADMIN_VERSION 3

enum admin_verb {
	ADMIN_STATUS = 1,   /* → END with status */
	ADMIN_KEY_LIST,     /* → KEY … END */
	ADMIN_KEY_CREATE,   /* name → KEY END */
	ADMIN_KEY_IMPORT,   /* a struct admin_import → KEY END */
	ADMIN_KEY_STAGE,    /* name → KEY END: as create, but not active */
	ADMIN_KEY_ACTIVATE, /* id, activation → KEY … END: all keys whose state changes */
	ADMIN_KEY_RETIRE,   /* id → KEY END */
	ADMIN_KEY_REOPEN,   /* id → KEY END: a retired key opens values again */
	ADMIN_KEY_DESTROY,  /* id, name: the key's name once more → KEY END */
	ADMIN_KEY_ROTATE,   /* name → KEY … END: stage and activate */
	ADMIN_KEY_ACCEPT,   /* → KEY … END: a new manifest over what the store holds */
	ADMIN_KEY_RELOAD,   /* → KEY … END: keys that had died in the kernel */
	ADMIN_UNSEAL,       /* with a pipe (SCM_RIGHTS) that holds the root key → END */
	ADMIN_RECORD_GET,   /* id → END with the sealed record */
	ADMIN_RECORD_PUT,   /* with a pipe that holds a sealed record → END */
	ADMIN_PROBE,        /* id, nonce → END with the key's answer (keys/check.h) */
	ADMIN_KEY_VERIFY,   /* → KEY … END, usable says what was found */
	ADMIN_METRICS,      /* → END with metrics */
	ADMIN_VERBS,
};

enum admin_flag {
	ADMIN_DRY_RUN = 1, /* answer as if it had been done */
	ADMIN_FORCE = 2,   /* RETIRE although the key was used of late */
	ADMIN_PROOF = 4,   /* RETIRE, DESTROY: proof_time and proof_revision say why */
};

enum admin_reply_type { ADMIN_KEY = 1, ADMIN_END };

struct admin_request {
	uint32_t version;
	uint32_t verb;
	uint32_t flags;      /* enum admin_flag */
	uint32_t activation; /* ACTIVATE: the number to give it; 0: the next */
	uint8_t id[KEKD_KEY_ID];
	uint8_t nonce[16];
	int64_t proof_time;      /* seconds since 1970: no value of etcd needed the key then */
	uint64_t proof_revision; /* of etcd */
	char name[KEKD_LABEL_MAX];
};

/*
 * A key from outside: @name is to be its chain entry, @label what stands in values that it has
 * written. The KEY in the answer may have another name: this very key was imported before.
 */
struct admin_import {
	struct admin_request req; /* first */
	char label[KEKD_LABEL_MAX];
	uint32_t key_bytes; /* 16, 24, 32 */
	uint32_t secretbox; /* 0: AES */
	uint8_t key[KEKD_AES_KEY_MAX];
};

struct admin_key {
	uint8_t id[KEKD_KEY_ID];
	char name[KEKD_LABEL_MAX];
	char label[KEKD_LABEL_MAX];
	char key_id[KEKD_KEY_ID_HEX + 12];
	char kind[16];  /* "encrypted", "openssl", "imported" */
	char alg[16];   /* "aes-256", … "secretbox" */
	char state[16]; /* "active", … */
	int32_t usable; /* 0, or why not: -EKEYREVOKED, … */
	uint32_t activation;
	uint64_t created;                  /* seconds since 1970 */
	uint64_t encryptions, decryptions; /* by this keeper's servers */
	uint64_t last_used;                /* seconds since 1970, 0: never; at the latest */
};

struct admin_status {
	char version[32];
	char backend[16]; /* "kernel", "openssl" */
	char ring[192];   /* "io_uring", or "epoll, because …" */
	char root[16];    /* "ephemeral", "command", … */
	int32_t keeper_pid;
	uint32_t workers, workers_serving;     /* that there should be; that said READY and live */
	int32_t server_pids[KEKD_WORKERS_MAX]; /* 0: none */
	uint32_t server_starts;
	uint32_t keys;
	uint32_t sealed; /* the root key is not loaded */
	uint64_t started;
	uint64_t key_limit;                /* encryptions after which a key is to be rotated */
	char key_id[KEKD_KEY_ID_HEX + 12]; /* active key of the first chain entry, or "" */
	char socket[108];
	char transform[108]; /* socket of kekd.v1.Transform, or "" */
};

struct admin_reply {
	uint32_t version;
	uint32_t type;
	int32_t r; /* END: 0 or -errno */
	uint32_t reserved;
	union {
		struct admin_key key;
		struct admin_status status;
		char record[2048]; /* ciphertext */
		uint8_t probe[16];
		struct metrics metrics;
	};
	char text[512]; /* END with r < 0: what to do */
};

/* Connected SEQPACKET socket. -ENOENT, -ECONNREFUSED: no keeper there; -EACCES. */
int admin_connect(const char *path, int *ret_fd);
/* One packet each. -ENODATA: the keeper hung up; -EPROTO: another version. */
int admin_send(int fd, const void *packet, size_t size);
/* The same with a descriptor beside it, borrowed. */
int admin_send_fd(int fd, const void *packet, size_t size, int passed);
int admin_recv(int fd, struct admin_reply *ret);

#endif
