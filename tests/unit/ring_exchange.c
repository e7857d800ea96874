/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Exchanges: on socket pairs, and on AF_ALG op sockets where the kernel has them.
 */
#include <linux/if_alg.h>

#include "tests/unit/ring_probe.h"

/* An exchange of four bytes for four; the answer, if any, lies ready. */
static int exchange(struct ring *ring, int fd, const char *out, size_t out_len, void *in,
		    size_t in_len)
{
	struct iovec iov[2] = { { (void *)(uintptr_t)out, out_len / 2 },
				{ (void *)(uintptr_t)(out + out_len / 2), out_len - out_len / 2 } };
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };
	struct probe p = PROBE;

	ring_exchange(ring, &p.op, fd, &msg, in, in_len);
	ring_cancel(ring, &p.op); /* has no effect */
	ASSERT_OK(ring_turn(ring, false));
	turn_until(ring, &p, 1);
	EXPECT_EQ(0, p.flags);
	EXPECT_EQ(1, p.calls);
	return p.res;
}

TEST_F(ring, exchange)
{
	char in[8] = { 0 };

	ASSERT_EQ(4, send(self->packet[1], "pong", 4, 0));
	EXPECT_OK(exchange(self->ring, self->packet[0], "ping", 4, in, 4));
	EXPECT_STREQ("pong", in);
	EXPECT_EQ(4, recv(self->packet[1], in, sizeof(in), MSG_DONTWAIT));
	EXPECT_STREQ("ping", in);
}

TEST_F(ring, exchange_short_answer)
{
	char in[8] = { 0 };

	ASSERT_EQ(3, send(self->packet[1], "pon", 3, 0));
	EXPECT_ERR(-EIO, exchange(self->ring, self->packet[0], "ping", 4, in, 4));
}

/* Nothing hangs when there is no answer, as on an op socket whose send has failed. */
TEST_F(ring, exchange_no_answer)
{
	char in[8] = { 0 };

	EXPECT_ERR(-EAGAIN, exchange(self->ring, self->packet[0], "ping", 4, in, 4));
}

TEST_F(ring, exchange_send_fails)
{
	char in[8] = { 0 };

	ASSERT_EQ(4, send(self->packet[1], "pong", 4, 0));
	close(self->packet[1]);
	self->packet[1] = -1;
	EXPECT_ERR(-EPIPE, exchange(self->ring, self->packet[0], "ping", 4, in, 4));
	EXPECT_ERR(-EBADF, exchange(self->ring, -1, "ping", 4, in, 4));
}

TEST_F(ring, exchange_send_would_wait)
{
	char in[8] = { 0 };

	ASSERT_EQ(4, send(self->packet[1], "pong", 4, 0));
	fill(self->packet[0]);
	EXPECT_ERR(-EAGAIN, exchange(self->ring, self->packet[0], "ping", 4, in, 4));
}

TEST_F(ring, exchange_short_send)
{
	size_t size = 8U << 20;
	_cleanup_free_ char *big = calloc(1, size);
	char in[8] = { 0 };

	ASSERT_NOT_NULL(big);
	ASSERT_EQ(4, send(self->stream[1], "pong", 4, 0));
	EXPECT_ERR(-EIO, exchange(self->ring, self->stream[0], big, size, in, 4));
}

/* Without the loop: the same answers and errors, no operation of the ring. */
static int exchange_now(struct ring *ring, int fd, const char *out, size_t out_len, void *in,
			size_t in_len)
{
	struct iovec iov = { (void *)(uintptr_t)out, out_len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	return ring_exchange_now(ring, fd, &msg, in, in_len);
}

TEST_F(ring, exchange_now)
{
	struct ring_stats before, after;
	char in[8] = { 0 };

	ring_stats(self->ring, &before);
	ASSERT_EQ(4, send(self->packet[1], "pong", 4, 0));
	EXPECT_OK(exchange_now(self->ring, self->packet[0], "ping", 4, in, 4));
	EXPECT_STREQ("pong", in);
	EXPECT_EQ(4, recv(self->packet[1], in, sizeof(in), MSG_DONTWAIT));
	EXPECT_STREQ("ping", in);
	ring_stats(self->ring, &after);
	EXPECT_EQ(1, after.direct - before.direct);
	EXPECT_EQ(0, after.submissions - before.submissions);
	EXPECT_EQ(0, after.enters - before.enters);
}

TEST_F(ring, exchange_now_never_waits)
{
	char in[8] = { 0 };

	EXPECT_ERR(-EAGAIN, exchange_now(self->ring, self->packet[0], "ping", 4, in, 4));
	ASSERT_EQ(3, send(self->packet[1], "pon", 3, 0));
	EXPECT_ERR(-EIO, exchange_now(self->ring, self->packet[0], "ping", 4, in, 4));
	ASSERT_EQ(4, send(self->packet[1], "pong", 4, 0));
	fill(self->packet[0]);
	EXPECT_ERR(-EAGAIN, exchange_now(self->ring, self->packet[0], "ping", 4, in, 4));
	EXPECT_ERR(-EBADF, exchange_now(self->ring, -1, "ping", 4, in, 4));
}

/* A message with something beside its bytes goes whole, by either way. */
TEST_F(ring, exchange_with_control)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct iovec iov = { (void *)(uintptr_t) "ping", 4 };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control.buf,
			      .msg_controllen = sizeof(control.buf) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
	struct msghdr got = { .msg_iov = &iov, .msg_iovlen = 1 };
	char in[8] = { 0 }, passed[64];
	struct probe p = PROBE;

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &self->stream[0], sizeof(int));
	ASSERT_EQ(4, send(self->packet[1], "pong", 4, 0));
	ASSERT_EQ(4, send(self->packet[1], "pong", 4, 0));
	EXPECT_OK(ring_exchange_now(self->ring, self->packet[0], &msg, in, 4));
	ring_exchange(self->ring, &p.op, self->packet[0], &msg, in, 4);
	turn_until(self->ring, &p, 1);
	EXPECT_OK(p.res);
	iov.iov_base = in;
	for (int i = 0; i < 2; i++) {
		got.msg_control = passed;
		got.msg_controllen = sizeof(passed);
		ASSERT_EQ(4, recvmsg(self->packet[1], &got, MSG_DONTWAIT | MSG_CMSG_CLOEXEC));
		ASSERT_NOT_NULL(CMSG_FIRSTHDR(&got));
		EXPECT_EQ(SCM_RIGHTS, CMSG_FIRSTHDR(&got)->cmsg_type);
	}
}

/* What the design is about: one crossing for all operations of a turn. */
TEST_F(ring, one_enter_for_many)
{
	enum { N = 16 };
	struct probe p[N];
	struct iovec iov = { (void *)(uintptr_t) "ping", 4 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct ring_stats before, after;
	int fd[N][2];
	char in[N][4];

	for (int i = 0; i < N; i++) {
		ASSERT_OK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fd[i]));
		ASSERT_EQ(4, send(fd[i][1], "pong", 4, 0));
		p[i] = (struct probe)PROBE;
	}
	ring_stats(self->ring, &before);
	for (int i = 0; i < N; i++)
		ring_exchange(self->ring, &p[i].op, fd[i][0], &msg, in[i], 4);
	ASSERT_OK(ring_turn(self->ring, false));
	ring_stats(self->ring, &after);
	for (int i = 0; i < N; i++) {
		EXPECT_EQ(1, p[i].calls);
		EXPECT_OK(p[i].res);
		EXPECT_MEMEQ("pong", 4, in[i], 4);
		close(fd[i][0]);
		close(fd[i][1]);
	}
	EXPECT_EQ(N, after.submissions - before.submissions);
	EXPECT_EQ(N, after.completions - before.completions);
	EXPECT_EQ(variant->kind == RING_IO_URING ? 1 : 2 * N + 1, after.enters - before.enters);
}

/* FIPS 197, appendix C.3: AES-256. */
static const uint8_t fips_key[32] = { 0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07,
				      0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f,
				      0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17,
				      0x18, 0x19, 0x1a, 0x1b, 0x1c, 0x1d, 0x1e, 0x1f };
static const uint8_t fips_in[16] = { 0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77,
				     0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff };
static const uint8_t fips_out[16] = { 0x8e, 0xa2, 0xb7, 0xca, 0x51, 0x67, 0x45, 0xbf,
				      0xea, 0xfc, 0x49, 0x90, 0x4b, 0x49, 0x60, 0x89 };

/* An op socket of ecb(aes) under the test's key; skips the test where there is no AF_ALG. */
static int afalg_op(int *ret_tfm)
{
	struct sockaddr_alg addr = { .salg_family = AF_ALG,
				     .salg_type = "skcipher",
				     .salg_name = "ecb(aes)" };
	int tfm = socket(AF_ALG, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), op;

	SKIP_UNLESS("afalg", tfm >= 0, "no AF_ALG in this kernel");
	ASSERT_OK(bind(tfm, (struct sockaddr *)&addr, sizeof(addr)));
	ASSERT_OK(setsockopt(tfm, SOL_ALG, ALG_SET_KEY, fips_key, sizeof(fips_key)));
	op = accept4(tfm, NULL, NULL, SOCK_CLOEXEC);
	ASSERT_GE(op, 0);
	*ret_tfm = tfm;
	return op;
}

/* The message of one encryption. */
struct alg_msg {
	struct msghdr hdr;
	struct iovec iov;
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(uint32_t))];
	} control;
};

static void alg_msg_init(struct alg_msg *m, const void *in, size_t len)
{
	uint32_t encrypt = ALG_OP_ENCRYPT;
	struct cmsghdr *c;

	memset(m, 0, sizeof(*m));
	m->iov = (struct iovec){ (void *)(uintptr_t)in, len };
	m->hdr = (struct msghdr){ .msg_iov = &m->iov,
				  .msg_iovlen = 1,
				  .msg_control = &m->control,
				  .msg_controllen = sizeof(m->control) };
	c = CMSG_FIRSTHDR(&m->hdr);
	*c = (struct cmsghdr){ CMSG_LEN(sizeof(encrypt)), SOL_ALG, ALG_SET_OP };
	memcpy(CMSG_DATA(c), &encrypt, sizeof(encrypt));
}

static int afalg_exchange(struct ring *ring, int op_fd, const void *in, size_t in_len, void *out,
			  size_t out_len)
{
	struct probe p = PROBE;
	struct alg_msg m;

	alg_msg_init(&m, in, in_len);
	ring_exchange(ring, &p.op, op_fd, &m.hdr, out, out_len);
	turn_until(ring, &p, 1);
	return p.res;
}

TEST_F(ring, exchange_afalg)
{
	uint8_t out[16] = { 0 };
	int tfm, op = afalg_op(&tfm);

	for (int i = 0; i < 3; i++) {
		memset(out, 0, sizeof(out));
		EXPECT_OK(afalg_exchange(self->ring, op, fips_in, 16, out, 16));
		EXPECT_MEMEQ(fips_out, 16, out, 16);
	}
	close(op);
	close(tfm);
}

TEST_F(ring, exchange_afalg_many_in_one_turn)
{
	enum { N = 24 };
	struct probe p[N];
	struct alg_msg m[N];
	uint8_t out[N][16];
	int tfm, op[N];

	op[0] = afalg_op(&tfm);
	for (int i = 0; i < N; i++) {
		p[i] = (struct probe)PROBE;
		if (i > 0)
			op[i] = accept4(tfm, NULL, NULL, SOCK_CLOEXEC);
		alg_msg_init(&m[i], fips_in, 16);
		ring_exchange(self->ring, &p[i].op, op[i], &m[i].hdr, out[i], 16);
	}
	ASSERT_OK(ring_turn(self->ring, false));
	for (int i = 0; i < N; i++) {
		EXPECT_EQ(1, p[i].calls);
		EXPECT_OK(p[i].res);
		EXPECT_MEMEQ(fips_out, 16, out[i], 16);
		close(op[i]);
	}
	close(tfm);
}

TEST_F(ring, exchange_afalg_largest_run)
{
	enum { BLOCKS = 4096 };
	int tfm, op = afalg_op(&tfm);
	_cleanup_free_ uint8_t *in = calloc(BLOCKS, 16), *out = calloc(BLOCKS, 16);

	ASSERT_TRUE(in && out);
	for (size_t i = 0; i < BLOCKS; i++)
		memcpy(in + 16 * i, fips_in, 16);
	EXPECT_OK(afalg_exchange(self->ring, op, in, BLOCKS * 16, out, BLOCKS * 16));
	for (size_t i = 0; i < BLOCKS; i++)
		ASSERT_MEMEQ(fips_out, 16, out + 16 * i, 16);
	close(op);
	close(tfm);
}

/* A blocking call would wait for ever on each of these (kernel facts, traps). */
TEST_F(ring, exchange_afalg_never_waits)
{
	size_t size = 8U << 20;
	struct probe p = PROBE;
	struct alg_msg m;
	uint8_t out[32];
	int tfm, op = afalg_op(&tfm), r;
	_cleanup_free_ uint8_t *big = calloc(1, size);

	ASSERT_NOT_NULL(big);
	EXPECT_ERR(-EIO, afalg_exchange(self->ring, op, big, size, out, 16)); /* short send */
	close(op);
	op = accept4(tfm, NULL, NULL, SOCK_CLOEXEC);
	EXPECT_ERR(-EIO, afalg_exchange(self->ring, op, fips_in, 16, out, 32)); /* short answer */
	close(op);
	op = accept4(tfm, NULL, NULL, SOCK_CLOEXEC);
	r = afalg_exchange(self->ring, op, fips_in, 15, out, 15); /* no whole block */
	EXPECT_LT(r, 0);
	close(op);
	op = accept4(tfm, NULL, NULL, SOCK_CLOEXEC);
	alg_msg_init(&m, fips_in, 16);
	CMSG_FIRSTHDR(&m.hdr)->cmsg_type = 99; /* the send fails */
	ring_exchange(self->ring, &p.op, op, &m.hdr, out, 16);
	turn_until(self->ring, &p, 1);
	EXPECT_ERR(-EINVAL, p.res);
	close(op);
	close(tfm);
}

TEST_HARNESS_MAIN
