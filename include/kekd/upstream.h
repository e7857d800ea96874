/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Another KMS plugin, as a `kms` provider of the chain sees it: three calls, answered later.
 * daemon/kms/upstream.c makes them over gRPC; tests put something else behind the same words.
 *
 * Rules
 * - done runs exactly once, unless the call is cancelled, and never from inside call().
 * - Everything in a request is borrowed for the call() itself, everything in an answer for done.
 * - A call ends within its timeout, whatever the plugin does.
 */
#ifndef KEKD_UPSTREAM_H
#define KEKD_UPSTREAM_H

#include <stddef.h>
#include <stdint.h>

#include <kekd/span.h>

/* k8s.io/apiserver, envelope/kmsv2: bytes of a ciphertext and of a key_id, and of all annotations. */
#define UPSTREAM_CIPHERTEXT_MAX  1024
#define UPSTREAM_KEY_ID_MAX      1024
#define UPSTREAM_ANNOTATIONS_MAX (32 * 1024)

/* Key: a DNS name of at least two labels. Value: any bytes. */
struct annotation {
	struct span key, value;
};

struct annotations {
	struct annotation *v;
	size_t n;
};

enum upstream_method { UPSTREAM_STATUS, UPSTREAM_ENCRYPT, UPSTREAM_DECRYPT };

struct upstream_request {
	enum upstream_method method; /* STATUS: v2 only */
	struct span data;            /* plaintext or ciphertext */
	struct span uid;             /* v2 */
	struct span key_id;          /* v2 Decrypt */
	struct annotations annotations;
	uint64_t timeout_ns;
};

struct upstream_answer {
	struct span data;   /* ciphertext or plaintext, in locked memory */
	struct span key_id; /* v2 Status, Encrypt */
	struct span version, healthz;
	struct annotations annotations; /* v2 Encrypt */
};

/*
 * @r: 0; -EHOSTUNREACH no answer (not there, hung, too late); -EPROTO an answer that is none;
 * otherwise what the plugin's status means in <kekd/errors.h>. @text is for the log: printable,
 * never NULL. @answer is NULL unless @r is 0.
 */
typedef void upstream_done_fn(void *ctx, int r, const char *text,
			      const struct upstream_answer *answer);

struct upstream;
struct upstream_call;

struct upstream_ops {
	/* -ENOBUFS: as many calls as may be are open. -ENOMEM. */
	int (*call)(struct upstream *u, const struct upstream_request *req, upstream_done_fn *done,
		    void *ctx, struct upstream_call **ret);
	/* The call is gone; done does not run. */
	void (*cancel)(struct upstream_call *call);
	/* No call may be open. */
	void (*free)(struct upstream *u);
};

/* First member of each implementation's own type. */
struct upstream {
	const struct upstream_ops *ops;
};

/* Where upstreams come from; borrowed by chains. */
struct upstream_source {
	/* @path of a socket, "@NAME" when abstract; @version 1 or 2. Caller frees *@ret. */
	int (*open)(struct upstream_source *source, const char *path, unsigned int version,
		    struct upstream **ret);
};

#endif
