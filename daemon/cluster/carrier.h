/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The link between kekd-cluster, the process that speaks to etcd, and the keeper, or kekctl where that reads etcd:
 * PROTOCOL.carrier has it in words. Opaque texts go over it; which of them are good is the keeper's to know.
 *
 * Nothing here waits: who uses it polls for what carrier_events() says.
 */
#ifndef KEKD_CLUSTER_CARRIER_H
#define KEKD_CLUSTER_CARRIER_H

#include <stdint.h>

#include "daemon/base/cleanup.h"
#include <kekd/span.h>

#define CARRIER_TEXT_MAX      (512 * 1024)
#define CARRIER_WORDS_MAX     1023
#define CARRIER_RANGE_MAX     (128 * 1024)
#define CARRIER_ANSWER_MAX    (16 * 1024 * 1024)
#define CARRIER_NODE          16
#define CARRIER_ENDPOINTS_MAX 16
#define CARRIER_SETUP_MAX     (64 * 1024)
#define CARRIER_NO_DAYS       INT32_MAX

enum carrier_type {
	CARRIER_SETUP = 1,
	CARRIER_READ,
	CARRIER_PUT,
	CARRIER_ITEM,
	CARRIER_DONE,
	CARRIER_RANGE,
	CARRIER_ANSWER,
	CARRIER_TYPES,
};

enum carrier_kind { CARRIER_KEYSET = 1, CARRIER_ACK };

struct carrier_head {
	uint32_t length;
	uint32_t type; /* enum carrier_type */
	uint64_t revision;
	uint8_t node[CARRIER_NODE];
	uint32_t kind; /* enum carrier_kind */
	int32_t result;
	int32_t days;
	uint32_t endpoint;
	uint64_t cluster;
};
_Static_assert(sizeof(struct carrier_head) == 56, "as on the link");

/* Who has an end; a reader is kekctl. */
enum carrier_side { CARRIER_KEEPER = 1, CARRIER_CLUSTER = 2, CARRIER_READER = 4 };

struct carrier;

/* @fd, one end of a stream, is consumed on success; @side is who uses it. */
int carrier_new(int fd, enum carrier_side side, struct carrier **ret);
/* Closes. @c may be NULL. */
void carrier_free(struct carrier *c);
DEFINE_CLEANUP(struct carrier *, carrier_free);

int carrier_fd(const struct carrier *c);
/* For poll(2). */
short carrier_events(const struct carrier *c);

/* Queue a message; @body is copied and head->length filled in. -ENOMEM. */
int carrier_put(struct carrier *c, const struct carrier_head *head, struct span body);
/* Send what can go now. -errno: the link is at its end. */
int carrier_flush(struct carrier *c);
/*
 * 1: one message of the other side, *ret_body borrowed until the next call. 0: not yet. -ENODATA: it has hung
 * up. -EPROTO: what came is none of its messages.
 */
int carrier_read(struct carrier *c, struct carrier_head *ret, struct span *ret_body);

/* What SETUP brings; all borrowed from its body. */
struct carrier_setup {
	const char *prefix, *ca, *cert, *key;
	const char *endpoints[CARRIER_ENDPOINTS_MAX];
	size_t n_endpoints;
};
/* A body for it; caller frees. -ENOBUFS: too many, or too long. */
int carrier_setup_format(const struct carrier_setup *s, char **ret, size_t *ret_len);
/* -EPROTO. */
int carrier_setup_parse(struct span body, struct carrier_setup *ret);

/*
 * A link to the kekd-cluster whose launcher listens at @control: it gets the other end of a new stream, and SETUP is queued.
 * @side is who uses this end. Errors of socketpair(2), of sending a descriptor, and of carrier_setup_format().
 */
int carrier_start(int control, enum carrier_side side, const struct carrier_setup *s,
		  struct carrier **ret);

#endif
