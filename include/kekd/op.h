/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One operation of one client, on its way through the chain. A service (daemon/kms) makes it from a
 * decoded request: one for a call of the KMS services, one for each value of a Transform call. A provider
 * of the chain answers it: by an engine job, by asking another plugin, or at once, as identity does. Then
 * its done callback lets the service answer the call.
 *
 * Ownership: an op is part of what its service keeps for the call, which must stay in place until done
 * has run. When chain_encrypt() or chain_decrypt() has returned 0 the chain borrows it until then; done
 * runs exactly once and never from inside that call. After an error it does not run.
 */
#ifndef KEKD_OP_H
#define KEKD_OP_H

#include <stdint.h>
#include <sys/types.h>

#include <kekd/engine.h>
#include <kekd/limits.h>
#include <kekd/span.h>

/* What the ciphertext is for. Part of the AAD, so that a value made for one use opens for no other. */
enum op_purpose {
	OP_KMS_V2,  /* AAD: "kekd kms v2" NUL key_id */
	OP_KMS_V1,  /* AAD: "kekd kms v1" NUL id of the KEK */
	OP_STORAGE, /* a value at rest, the apiserver's own bytes; AAD: the etcd key */
};

struct op;

/* What a provider keeps here that does not wait for the engine but for another plugin. */
struct op_wait {
	struct list link;
	struct span body; /* of the value that is opened */
	int result;
};

/* @r: 0 or -errno as in <kekd/errors.h>. */
typedef void op_done_fn(struct op *op, int r);

struct op_peer {
	pid_t pid;
	uid_t uid;
	gid_t gid;
};

struct op {
	/* Set by the service. */
	enum op_purpose purpose;
	struct span in;      /* plaintext to wrap, or chain value to open; borrowed until done */
	struct span context; /* OP_KMS_V2 decrypt: key_id of the request; OP_STORAGE: etcd key */
	uint8_t *out;        /* locked memory of the caller */
	size_t out_cap;      /* bytes there; see chain_overhead() */
	/*
	 * Make @out larger before anything is in it, for a provider that learns late how long a result is.
	 * -ENOBUFS. NULL: it stays as it is.
	 */
	int (*grow)(struct op *op, size_t cap);
	uint64_t deadline_ns; /* CLOCK_MONOTONIC; 0 = none */
	struct op_peer peer;
	op_done_fn *done;

	/* Set by the provider before done(0). */
	size_t out_len;
	const char *provider;              /* static: "aesgcm", … for audit and metrics */
	char key_id[KEKD_KEY_ID_HEX + 12]; /* of the KEK that served, NUL-terminated */
	bool stale;                        /* decrypt: not what the first provider writes today */
	bool doubtful;                     /* decrypt: without a tag, and no object of Kubernetes */

	/* Private to the chain: where it is in its search (OP_STORAGE decrypt). */
	void *chain;
	op_done_fn *outer;
	unsigned int at, nth;             /* provider, and which of its matching keys */
	unsigned int doubt_at, doubt_nth; /* the first that opened it to something doubtful */
	bool doubted, settled;            /* there was one; it will do */
	int verdict;                      /* what to say if no other opens the value */

	/* Private to the provider. */
	union {
		struct engine_job job;
		struct op_wait wait;
	};
	void (*cancel)(struct op *op); /* NULL: the engine has the job */
	void *priv;
	uint8_t aad[32 + KEKD_KEY_ID_HEX + 12];
};

#endif
