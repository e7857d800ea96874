/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Up to OPS messages in one io_uring_enter(2), each on an op socket of its own: an op socket takes no
 * second message before it has given back the first. The two calls of a message are linked.
 */
#include <errno.h>
#include <liburing.h>
#include <stdlib.h>

#include "tests/bench/ways/afalg_op.h"

#define OPS 64U

struct afalg_uring {
	struct afalg_alg alg;
	struct io_uring ring;
	bool has_ring;
	unsigned int n; /* op sockets */
	struct afalg_op ops[OPS];
};

static void uring_close(void *self)
{
	struct afalg_uring *u = self;

	if (u->has_ring)
		io_uring_queue_exit(&u->ring);
	for (unsigned int i = 0; i < u->n; i++)
		afalg_op_close(&u->ops[i]);
	afalg_alg_close(&u->alg);
	free(u);
}

static int uring_prepare(struct afalg_uring *u, const struct load *l)
{
	unsigned int want = l->in_flight < OPS ? l->in_flight : OPS;
	int r;

	r = afalg_alg_open(&u->alg, l);
	if (r == 0)
		r = io_uring_queue_init(2 * OPS, &u->ring, 0);
	u->has_ring = r == 0;
	while (r == 0 && u->n < want)
		r = afalg_op_open(&u->alg, &u->ops[u->n++]);
	return r;
}

static int uring_open(const struct load *l, void **ret)
{
	struct afalg_uring *u = calloc(1, sizeof(*u));
	int r;

	if (!u)
		return -ENOMEM;
	r = uring_prepare(u, l);
	if (r == 0)
		*ret = u;
	else
		uring_close(u);
	return r;
}

static void queue(struct afalg_uring *u, struct afalg_op *op)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);

	io_uring_prep_sendmsg(sqe, op->fd, &op->hdr, 0);
	io_uring_sqe_set_flags(sqe, IOSQE_IO_LINK);
	io_uring_sqe_set_data64(sqe, op->iov.iov_len);
	sqe = io_uring_get_sqe(&u->ring);
	io_uring_prep_recv(sqe, op->fd, op->recv, op->recv_len, 0);
	io_uring_sqe_set_data64(sqe, op->recv_len);
}

/* Each completion must have brought the length that it was asked for. */
static int collect(struct afalg_uring *u, unsigned int n)
{
	struct io_uring_cqe *cqe;
	unsigned int head, seen = 0;
	int r;

	r = io_uring_submit_and_wait(&u->ring, n);
	if (r < 0)
		return r;
	r = 0;
	io_uring_for_each_cqe(&u->ring, head, cqe)
	{
		if (cqe->res < 0 || (uint64_t)cqe->res != io_uring_cqe_get_data64(cqe))
			r = -EIO;
		seen++;
	}
	io_uring_cq_advance(&u->ring, seen);
	return seen == n ? r : -EIO;
}

static int group_do(struct afalg_uring *u, struct message *messages, unsigned int n)
{
	int r;

	for (unsigned int i = 0; i < n; i++) {
		afalg_op_prepare(&u->alg, &u->ops[i], &messages[i]);
		queue(u, &u->ops[i]);
	}
	r = collect(u, 2 * n);
	for (unsigned int i = 0; r == 0 && i < n; i++)
		r = afalg_op_finish(&u->alg, &u->ops[i], &messages[i]);
	return r;
}

static int uring_batch(void *self, struct message *messages)
{
	struct afalg_uring *u = self;
	unsigned int left = u->alg.load->in_flight, n;
	int r = 0;

	for (; r == 0 && left > 0; left -= n, messages += n) {
		n = left < u->n ? left : u->n;
		r = group_do(u, messages, n);
	}
	return r;
}

const struct way way_afalg_uring = { "afalg-uring", uring_open, uring_batch, uring_close };
