/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of the ring share: a probe that notes what an operation's callback was told, and a
 * fixture that runs each test on both twins.
 */
#ifndef TESTS_UNIT_RING_PROBE_H
#define TESTS_UNIT_RING_PROBE_H

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/un.h>

#include "daemon/sys/ring.h"
#include "tests/harness/ktest.h"

/* An operation and what its callback was told. */
struct probe {
	struct ring_op op;
	int calls;
	int res;
	unsigned int flags;
	int fds[64]; /* of an accept */
	int n_fds;
	void (*then)(struct probe *p);
	void *arg;
};

static inline void note(struct ring_op *op, int res, unsigned int flags)
{
	struct probe *p = container_of(op, struct probe, op);

	p->calls++;
	p->res = res;
	p->flags = flags;
	if (flags & RING_MORE)
		p->fds[p->n_fds++] = res;
	if (p->then)
		p->then(p);
}

#define PROBE                   \
	{                       \
		.op.done = note \
	}

FIXTURE(ring)
{
	struct ring *ring;
	int stream[2], packet[2];
};
FIXTURE_VARIANT(ring)
{
	enum ring_kind kind;
	const char *name;
};
FIXTURE_VARIANT_ADD(ring, io_uring){ RING_IO_URING, "io_uring" };
FIXTURE_VARIANT_ADD(ring, epoll){ RING_EPOLL, "epoll" };

FIXTURE_SETUP(ring)
{
	int r = ring_new(variant->kind, 64, &self->ring);

	SKIP_UNLESS("io_uring", variant->kind != RING_IO_URING || r == 0, "the kernel refuses it");
	ASSERT_OK(r);
	ASSERT_OK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, self->stream));
	ASSERT_OK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, self->packet));
}

FIXTURE_TEARDOWN(ring)
{
	ring_free(self->ring);
	for (int i = 0; i < 2; i++) {
		closep(&self->stream[i]);
		closep(&self->packet[i]);
	}
}

/* Turn until @p has been called @calls times. The test's time-out is the only limit. */
static inline void turn_until(struct ring *ring, const struct probe *p, int calls)
{
	while (p->calls < calls)
		ASSERT_OK(ring_turn(ring, false));
}

/* All that can happen without anybody else doing anything has happened. */
static inline void settle(struct ring *ring)
{
	for (int i = 0; i < 4; i++)
		ASSERT_OK(ring_turn(ring, true));
}

static inline void set_nonblock(int fd, bool on)
{
	int flags = fcntl(fd, F_GETFL);

	ASSERT_GE(flags, 0);
	ASSERT_OK(fcntl(fd, F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK));
}

/* Write to @fd until the kernel takes no more. */
static inline void fill(int fd)
{
	char block[4096] = { 0 };

	while (send(fd, block, sizeof(block), MSG_DONTWAIT) > 0)
		;
	while (send(fd, block, 1, MSG_DONTWAIT) > 0)
		;
	ASSERT_EQ(EAGAIN, errno);
}

static inline size_t drain(int fd)
{
	char block[65536];
	size_t total = 0;
	ssize_t n;

	while ((n = recv(fd, block, sizeof(block), MSG_DONTWAIT)) > 0)
		total += (size_t)n;
	return total;
}

/* A listener with a name the kernel makes up, and its address. */
static inline int listen_anywhere(struct sockaddr_un *addr, socklen_t *len)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	*addr = (struct sockaddr_un){ .sun_family = AF_UNIX };
	*len = sizeof(*addr);
	ASSERT_GE(fd, 0);
	ASSERT_OK(bind(fd, (struct sockaddr *)addr, sizeof(sa_family_t)));
	ASSERT_OK(listen(fd, 64));
	ASSERT_OK(getsockname(fd, (struct sockaddr *)addr, len));
	return fd;
}

static inline int connect_to(const struct sockaddr_un *addr, socklen_t len)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ASSERT_GE(fd, 0);
	ASSERT_OK(connect(fd, (const struct sockaddr *)addr, len));
	return fd;
}

struct duel {
	struct ring *ring;
	struct probe *victim;
	int fd;
	char *buf;
};

static inline void cancel_victim(struct probe *p)
{
	struct duel *d = p->arg;

	ring_cancel(d->ring, &d->victim->op);
}

#endif
