/* SPDX-License-Identifier: Apache-2.0 */
/* One op socket, two system calls a message. */
#include <errno.h>
#include <stdlib.h>

#include "tests/bench/ways/afalg_op.h"

struct afalg_sync {
	struct afalg_alg alg;
	struct afalg_op op;
};

static void sync_close(void *self)
{
	struct afalg_sync *s = self;

	afalg_op_close(&s->op);
	afalg_alg_close(&s->alg);
	free(s);
}

static int sync_open(const struct load *l, void **ret)
{
	struct afalg_sync *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->op.fd = -1;
	r = afalg_alg_open(&s->alg, l);
	if (r == 0)
		r = afalg_op_open(&s->alg, &s->op);
	if (r == 0)
		*ret = s;
	else
		sync_close(s);
	return r;
}

static int message_do(struct afalg_sync *s, struct message *m)
{
	struct afalg_op *op = &s->op;

	afalg_op_prepare(&s->alg, op, m);
	if (sendmsg(op->fd, &op->hdr, 0) != (ssize_t)op->iov.iov_len)
		return -EIO;
	if (recv(op->fd, op->recv, op->recv_len, 0) != (ssize_t)op->recv_len)
		return -EIO;
	return afalg_op_finish(&s->alg, op, m);
}

static int sync_batch(void *self, struct message *messages)
{
	struct afalg_sync *s = self;
	int r = 0;

	for (unsigned int i = 0; r == 0 && i < s->alg.load->in_flight; i++)
		r = message_do(s, &messages[i]);
	return r;
}

const struct way way_afalg_sync = { "afalg-sync", sync_open, sync_batch, sync_close };
