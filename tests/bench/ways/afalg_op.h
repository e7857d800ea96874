/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One AF_ALG operation that is one message: what sendmsg(2) takes and recv(2) gives, on an op socket of
 * its own. gcm(aes) or cbc(aes); ecb(aes) on counter blocks where the kernel refuses the former.
 */
#ifndef KEKD_TESTS_BENCH_AFALG_OP_H
#define KEKD_TESTS_BENCH_AFALG_OP_H

#include <sys/socket.h>

#include "daemon/crypto/ghash.h"
#include "tests/bench/ways/way.h"

/* Bound and keyed once for all op sockets of a way. */
struct afalg_alg {
	const struct load *load;
	int tfm;
	bool blocks; /* ecb(aes): GCM is finished here */
	struct ghash_key h;
};

struct afalg_op {
	int fd;
	struct msghdr hdr;
	struct iovec iov;
	_Alignas(struct cmsghdr) uint8_t control[96];
	uint8_t *blocks; /* alg->blocks: counters, and E_K of them */
	void *recv;
	size_t recv_len;
};

/* As way->open says; afalg_alg_close() in any case. */
int afalg_alg_open(struct afalg_alg *alg, const struct load *l);
void afalg_alg_close(struct afalg_alg *alg);

int afalg_op_open(const struct afalg_alg *alg, struct afalg_op *op);
void afalg_op_close(struct afalg_op *op);

/* Fill op->hdr, op->recv and op->recv_len for @m. */
void afalg_op_prepare(const struct afalg_alg *alg, struct afalg_op *op, struct message *m);
/* After both calls have brought their whole length. -EBADMSG. */
int afalg_op_finish(struct afalg_alg *alg, struct afalg_op *op, struct message *m);

#endif
