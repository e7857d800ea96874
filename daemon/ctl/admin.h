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

#include "daemon/obs/board.h"
#include <kekd/limits.h>
#include <kekd/span.h>

#define ADMIN_VERSION  7
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
	ADMIN_UNSEAL,       /* the root key; id: its fingerprint, or 0 → END */
	ADMIN_KEY_VERIFY,   /* → KEY … END, usable says what was found */
	ADMIN_METRICS,      /* → METRICS END */
	/* Texts of keys/keydoc.h and keys/keyack.h. */
	ADMIN_KEYSET_SHOW, /* → MEMBER … END */
	ADMIN_KEYSET_EXPORT, /* → TEXT END: the keyset and an acknowledgement; with BARE the keyset */
	ADMIN_KEYSET_APPLY, /* what export gave → TEXT END: an acknowledgement */
	ADMIN_KEYSET_ACK,   /* acknowledgements → END; nothing → TEXT END: an acknowledgement */
	ADMIN_KEYSET_TAKE,  /* → END: changes come from here */
	ADMIN_KEYSET_MERGE, /* what export gave → END */
	ADMIN_KEYSET_REMOVE, /* name: members, by commas → END */
	ADMIN_BACKUP_VERIFY, /* a backup → KEY … END, usable says what was found */
	ADMIN_RESTORE,       /* a backup → KEY … END */
	ADMIN_RELOAD,        /* → END: it is asked for; STATUS tells how it has ended */
	ADMIN_ROOT_VERIFY, /* a proof of keys/escrow.h → END: the root key's shares open the keyset */
	ADMIN_CLUSTER_STATUS, /* → CLUSTER, for each member MEMBER and MEMBER_KEY …, END */
	ADMIN_CLUSTER_CREATE, /* → END: etcd carries the keyset */
	ADMIN_CLUSTER_JOIN,   /* with MERGE or DISCARD → END */
	ADMIN_CLUSTER_SERVE,  /* → END: write with what the disk has */
	ADMIN_WRITES,         /* → TEXT END: for each resource the key that writes it */
	ADMIN_KEY_MARK,       /* id → KEY END: nobody writes with it any more */
	ADMIN_KEY_MARKED,     /* id → MARK END: what evidence about the key has to be of */
	ADMIN_ROOT_NEXT,      /* the root key that is to come → END */
	ADMIN_ROOT_ROTATE, /* "key ID", "blob BLOB" … → END: begin; nothing → END: the old one goes; with DISCARD: it stays */
	ADMIN_VERBS,
};

enum admin_flag {
	ADMIN_DRY_RUN = 1,    /* answer as if it had been done */
	ADMIN_FORCE = 2,      /* RETIRE, DESTROY: an operator stands in for the evidence */
	ADMIN_PROOF = 4,      /* RETIRE, DESTROY: no value needed the key at this mark */
	ADMIN_JOIN = 8,       /* KEYSET_ACK: who says it becomes a member */
	ADMIN_DEAD = 16,      /* KEYSET_REMOVE: they and their API servers never start again */
	ADMIN_ALONE = 32,     /* RESTORE: all members of the backup are gone for ever */
	ADMIN_BARE = 64,      /* KEYSET_EXPORT: the keyset alone */
	ADMIN_PORTABLE = 128, /* KEY_CREATE, KEY_STAGE, KEY_ROTATE: a key of kind sealed */
	ADMIN_MERGE = 256,    /* CLUSTER_JOIN: with this node's keys */
	ADMIN_DISCARD = 512,  /* CLUSTER_JOIN: without them, for ever. ROOT_ROTATE: give it up */
	ADMIN_NEW = 1024,     /* UNSEAL: the first root key of this machine */
	ADMIN_RETRY = 2048,   /* UNSEAL: no root key comes, the configured command is run */
	ADMIN_SEALED = 4096,  /* ROOT_NEXT: what comes is what the TPM has sealed */
	ADMIN_BACKUP = 8192,  /* KEYSET_EXPORT: with what all members have encrypted */
};

enum admin_reply_type {
	ADMIN_KEY = 1,       /* a struct board_key */
	ADMIN_STATUS_REPLY,  /* a struct admin_status */
	ADMIN_METRICS_REPLY, /* a struct metrics */
	ADMIN_MEMBER,        /* a struct admin_member */
	ADMIN_CLUSTER,       /* a struct admin_cluster */
	ADMIN_MEMBER_KEY,    /* a struct admin_member_key, of the MEMBER before it */
	ADMIN_TEXT,          /* a text of any length up to ADMIN_BODY_MAX */
	ADMIN_END,           /* head.word: 0 or -errno; what to do, UTF-8, for people */
	ADMIN_MARK,          /* a struct admin_mark */
};

/* length and version stay where they are in every version: they are how a difference is seen. */
struct admin_head {
	uint32_t length; /* bytes behind the head */
	uint32_t version;
	uint32_t type; /* enum admin_verb, or of an answer enum admin_reply_type */
	int32_t word;  /* enum admin_flag, or of END 0 or -errno */
};
_Static_assert(sizeof(struct admin_head) == 16, "as on the wire");

/*
 * Where evidence about a key begins: the keyset document in which it is marked, and where that lies in etcd. Whatever
 * has this document is of after the mark.
 */
struct admin_mark {
	uint8_t doc[32];     /* SHA-256 of the document's text */
	uint8_t cluster[16]; /* of the keyset */
	uint64_t generation; /* of the document */
	uint64_t marked;     /* of the one that has marked the key; 0: it is not marked */
	uint64_t revision;   /* the document's mod_revision, 0: etcd does not carry it */
	uint64_t etcd;       /* cluster_id of the etcd that does, 0: not known, or it has none */
	uint64_t etcds; /* that kube-apiserver has, by kekd.yaml, and evidence is of; 0: not said */
};
_Static_assert(sizeof(struct admin_mark) == 88, "as on the wire");

/* The head, and what any verb may need. admin_send() fills length in. */
struct admin_request {
	uint32_t length;
	uint32_t version;
	uint32_t verb;
	uint32_t flags;
	uint8_t id[KEKD_KEY_ID];
	struct admin_mark proof;
	char name[KEKD_LABEL_MAX];
};
_Static_assert(offsetof(struct admin_request, verb) == offsetof(struct admin_head, type) &&
		       offsetof(struct admin_request, id) == sizeof(struct admin_head) &&
		       sizeof(struct admin_request) == 376,
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

struct admin_status {
	char version[32];
	char backend[16]; /* "kernel", "holder" */
	char custody[16]; /* "serial", "value", "holder" */
	char ring[192];   /* "io_uring", or "epoll, because …" */
	char root[16];    /* "ephemeral", "command", … */
	int32_t keeper_pid;
	uint32_t workers, workers_serving;     /* that there should be; that said READY and live */
	int32_t server_pids[KEKD_WORKERS_MAX]; /* 0: none */
	uint32_t server_starts;
	uint32_t keys;
	uint32_t sealed; /* the root key is not loaded; sealed_text says why */
	uint64_t started;
	uint64_t escrow_tested;   /* seconds since 1970, 0: not known */
	uint64_t key_limit;       /* encryptions after which a key is to be rotated */
	char key_id[KEY_ID_TEXT]; /* active key of the first chain entry, or "" */
	char socket[108];
	char transform[108];   /* socket of kekd.v1.Transform, or "" */
	uint32_t members;      /* of the keyset */
	uint64_t generation;   /* of the keyset; 0: there is none, and keyset_text says why */
	char node[64];         /* this node's name */
	char keyset_text[320]; /* what is not well with the keyset and what to do, or "" */
	char sealed_text[224];
	char root_id[24];         /* fingerprint of the root key, in hex; "" while there is none */
	char root_second[24];     /* of another that is here, and */
	char root_coming[24];     /* of the one that the keyset is being rotated to; or "" */
	char root_going[24];      /* and of the one that it is being rotated from; or "" */
	char root_type[8];        /* of the one that is here: "user", "trusted"; or "" */
	char root_second_type[8]; /* and of the second */
	struct board_health health;
};
_Static_assert(sizeof(struct admin_status) == 1408, "as on the wire");

struct admin_member {
	char id[2 * 16 + 1];
	char name[64];
	char state[15];      /* "member", "leaving" */
	uint8_t self, maker; /* this node; the one that changes come from */
	uint8_t answered;    /* it has acknowledged this document since this node took it */
	uint8_t mute;        /* CLUSTER_STATUS: it was not heard for ten minutes */
	uint8_t differs; /* its EncryptionConfiguration or its `rotation:` is another than this node's */
	uint8_t reserved[3]; /* 0 */
	uint64_t generation; /* that it has acknowledged, 0: none since this keeper started */
	uint64_t heard;      /* seconds since 1970 by its own clock, 0: never */
	uint64_t age; /* CLUSTER_STATUS: seconds since it was heard to answer, or ADMIN_NEVER */
};
_Static_assert(sizeof(struct admin_member) == 144, "as on the wire");

#define ADMIN_NEVER UINT64_MAX

struct admin_member_key {
	char member[64];
	char label[KEKD_LABEL_MAX];
	int32_t opens; /* 0: all its servers open it; or why not */
	uint8_t quiet, writes;
	uint8_t reserved[2]; /* 0 */
};
_Static_assert(sizeof(struct admin_member_key) == 328, "as on the wire");

struct admin_cluster {
	char node[64], prefix[256];
	uint64_t generation;  /* of this node's keyset, 0: none */
	uint64_t changed;     /* when that was made, by its maker's clock; seconds since 1970 */
	uint64_t answered;    /* seconds since etcd has answered, or ADMIN_NEVER */
	uint64_t pending;     /* seconds since a change is on its way, or ADMIN_NEVER */
	uint64_t republished; /* how often the keyset was put back since the start */
	int32_t days;         /* that the client's certificate has left; INT32_MAX: none */
	uint8_t carried;      /* etcd carries the keyset */
	uint8_t confirmed;    /* it may be written with */
	uint8_t current;      /* etcd has what this node holds */
	uint8_t away;         /* etcd does not answer, or refuses */
	uint8_t alarm;        /* somebody has to do something */
	uint8_t reserved[3];  /* 0 */
	char text[768];       /* what is not well and what to do, or "" */
	char reopened[256];   /* keys that open again as etcd has lost changes, or "" */
};
_Static_assert(sizeof(struct admin_cluster) == 1400, "as on the wire");

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
