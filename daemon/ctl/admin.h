/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The admin protocol: kekctl asks, the keeper answers, over a stream that anything may relay (ssh -L).
 * Both ends are of one machine's kind, so what travels are these structs; PROTOCOL.admin has them byte by
 * byte, with the limits and what changes with a version.
 *
 * A message is a head and as many bytes as it says. A request is a struct admin_request and, behind it,
 * what its verb takes: a text, or a secret, which lies in locked memory on both sides. It is answered by
 * any number of messages and one ADMIN_END.
 */
#ifndef KEKD_CTL_ADMIN_H
#define KEKD_CTL_ADMIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/obs/metrics.h"
#include <kekd/limits.h>
#include <kekd/span.h>

#define ADMIN_VERSION  4
#define ADMIN_BODY_MAX (1U << 20) /* bytes of a message behind its head; a verb may have less */

enum admin_verb {
	ADMIN_STATUS = 1,   /* → STATUS END */
	ADMIN_KEY_LIST,     /* → KEY … END */
	ADMIN_KEY_CREATE,   /* name → KEY END */
	ADMIN_KEY_IMPORT,   /* name, a struct admin_import → KEY END */
	ADMIN_KEY_STAGE,    /* name → KEY END: as create, but not active */
	ADMIN_KEY_ACTIVATE, /* id → KEY END */
	ADMIN_KEY_RETIRE,   /* id → KEY END */
	ADMIN_KEY_REOPEN,   /* id → KEY END: a retired key opens values again */
	ADMIN_KEY_DESTROY,  /* id, name: the key's name once more → KEY END */
	ADMIN_KEY_ROTATE,   /* name → KEY END: stage and activate */
	ADMIN_KEY_ABORT,    /* name → KEY END: give a rotation up */
	ADMIN_KEY_RELOAD,   /* → KEY … END: keys that had died in the kernel */
	ADMIN_UNSEAL,       /* the root key → END */
	ADMIN_KEY_VERIFY,   /* → KEY … END, usable says what was found */
	ADMIN_METRICS,      /* → METRICS END */
	/* Texts of keys/keydoc.h and keys/keyack.h. */
	ADMIN_KEYSET_SHOW, /* → MEMBER … END */
	ADMIN_KEYSET_EXPORT, /* → TEXT END: the keyset and an acknowledgement; with BACKUP the keyset */
	ADMIN_KEYSET_APPLY, /* what export gave → TEXT END: an acknowledgement */
	ADMIN_KEYSET_ACK,   /* acknowledgements → END; nothing → TEXT END: an acknowledgement */
	ADMIN_KEYSET_TAKE,  /* → END: changes come from here */
	ADMIN_KEYSET_MERGE, /* what export gave → END */
	ADMIN_KEYSET_REMOVE, /* name: members, by commas → END */
	ADMIN_BACKUP_VERIFY, /* a backup → KEY … END, usable says what was found */
	ADMIN_RESTORE,       /* a backup → KEY … END */
	ADMIN_VERBS,
};

enum admin_flag {
	ADMIN_DRY_RUN = 1, /* answer as if it had been done */
	ADMIN_FORCE = 2,   /* RETIRE although the key was used of late */
	ADMIN_PROOF = 4,   /* RETIRE, DESTROY: proof_time and proof_revision say why */
	ADMIN_JOIN = 8,    /* KEYSET_ACK: who says it becomes a member */
	ADMIN_DEAD = 16,   /* KEYSET_REMOVE: they and their API servers never start again */
	ADMIN_ALONE = 32,  /* RESTORE: all members of the backup are gone for ever */
	ADMIN_BACKUP = 64, /* KEYSET_EXPORT */
};

enum admin_reply_type {
	ADMIN_KEY = 1,       /* a struct admin_key */
	ADMIN_STATUS_REPLY,  /* a struct admin_status */
	ADMIN_METRICS_REPLY, /* a struct metrics */
	ADMIN_MEMBER,        /* a struct admin_member */
	ADMIN_TEXT,          /* a text of any length up to ADMIN_BODY_MAX */
	ADMIN_END,           /* head.word: 0 or -errno; what to do, UTF-8, for people */
};

/* length and version stay where they are in every version: they are how a difference is seen. */
struct admin_head {
	uint32_t length; /* bytes behind the head */
	uint32_t version;
	uint32_t type; /* enum admin_verb, or of an answer enum admin_reply_type */
	int32_t word;  /* enum admin_flag, or of END 0 or -errno */
};
_Static_assert(sizeof(struct admin_head) == 16, "as on the wire");

/* The head, and what any verb may need. admin_send() fills length in. */
struct admin_request {
	uint32_t length;
	uint32_t version;
	uint32_t verb;
	uint32_t flags;
	uint8_t id[KEKD_KEY_ID];
	int64_t proof_time;      /* seconds since 1970: no value of etcd needed the key then */
	uint64_t proof_revision; /* of etcd */
	char name[KEKD_LABEL_MAX];
};
_Static_assert(offsetof(struct admin_request, verb) == offsetof(struct admin_head, type) &&
		       offsetof(struct admin_request, id) == sizeof(struct admin_head) &&
		       sizeof(struct admin_request) == 304,
	       "as on the wire");

/*
 * A key from outside: the request's name is to be its chain entry, @label what stands in values that it has
 * written. The KEY in the answer may have another name: this very key was imported before.
 */
struct admin_import {
	char label[KEKD_LABEL_MAX];
	uint32_t key_bytes; /* 16, 24, 32 */
	uint32_t secretbox; /* 0: AES */
	uint8_t key[KEKD_AES_KEY_MAX];
};
_Static_assert(sizeof(struct admin_import) == 296, "as on the wire");

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
	uint32_t reserved;                 /* 0 */
	uint64_t created;                  /* seconds since 1970 */
	uint64_t encryptions, decryptions; /* by this keeper's servers */
	uint64_t last_used;                /* seconds since 1970, 0: never; at the latest */
};
_Static_assert(sizeof(struct admin_key) == 664, "as on the wire");

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
	char transform[108];   /* socket of kekd.v1.Transform, or "" */
	uint32_t members;      /* of the keyset */
	uint64_t generation;   /* of the keyset; 0: there is none, and keyset_text says why */
	char node[64];         /* this node's name */
	char keyset_text[320]; /* what is not well with the keyset and what to do, or "" */
};
_Static_assert(sizeof(struct admin_status) == 1016, "as on the wire");

struct admin_member {
	char id[2 * 16 + 1];
	char name[64];
	char state[15];      /* "member", "leaving" */
	uint8_t self, maker; /* this node; the one that changes come from */
	uint8_t answered;    /* it has acknowledged this document since this node took it */
	uint8_t reserved[5]; /* 0 */
	uint64_t generation; /* that it has acknowledged, 0: none since this keeper started */
	uint64_t heard;      /* seconds since 1970 by its own clock, 0: never */
};
_Static_assert(sizeof(struct admin_member) == 136, "as on the wire");

/* One message of an answer, as it came. Zero-initialised is none. */
struct admin_message {
	struct admin_head head;
	char *data; /* head.length bytes and a NUL */
};

void admin_message_clear(struct admin_message *m);

/*
 * kekctl's side; the descriptor does not block, and no call takes longer than @timeout_ns, 0: any time.
 * -ETIMEDOUT: the keeper did not answer within that.
 */
/* -ENOENT, -ECONNREFUSED: no keeper there; -EACCES; -EPROTOTYPE: one of kekd 0.1's first versions. */
int admin_connect(const char *path, uint64_t timeout_ns, int *ret_fd);
/* @blob goes behind the request. -EPIPE: the keeper does not listen any more, but may have answered. */
int admin_send(int fd, uint64_t timeout_ns, const struct admin_request *req, struct span blob);
/*
 * The next message, the caller's to clear. -ENODATA: the keeper hung up; -EPROTO: another version, or too
 * long. What END says of another version's keeper is given out.
 */
int admin_recv(int fd, uint64_t timeout_ns, struct admin_message *ret);

#endif
