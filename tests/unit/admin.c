/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keeper's side of the admin protocol: requests that come in pieces, too long, of another version, and
 * clients that do not read what they have asked for. The keeper has no server and no key here.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "daemon/keeper/admin_client.h"
#include "daemon/keeper/keeper_private.h"
#include "daemon/keys/secret.h"
#include "tests/harness/ktest.h"

#define HEAD  sizeof(struct admin_head)
#define TURNS 1000 /* more than anything here needs */

FIXTURE(admin)
{
	struct keeper k;
	struct config config;
	struct conf conf;
	struct admin_request req;
	int fd; /* of client 0 */
};

static int connect_client(struct keeper *k)
{
	int fd[2];

	ASSERT_OK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd));
	admin_add(k, fd[0]);
	return fd[1];
}

FIXTURE_SETUP(admin)
{
	self->conf.config = &self->config;
	self->config.root_source = CONFIG_ROOT_UNSEAL;
	self->k.conf = &self->conf;
	self->fd = connect_client(&self->k);
	self->req = (struct admin_request){
		.length = sizeof(self->req) - HEAD,
		.version = ADMIN_VERSION,
		.verb = ADMIN_METRICS,
	};
}

FIXTURE_TEARDOWN(admin)
{
	admin_close(&self->k);
	close(self->fd);
}

/* As the loop does it; how many clients there was something to do for. */
static unsigned int turn(struct keeper *k)
{
	struct pollfd p[ADMIN_CLIENTS];
	unsigned int n = 0;

	admin_poll(k, p);
	ASSERT_LE(0, poll(p, ADMIN_CLIENTS, 0));
	for (size_t i = 0; i < ADMIN_CLIENTS; i++)
		if (p[i].revents) {
			admin_serve(k, i);
			n++;
		}
	return n;
}

static void settle(struct keeper *k)
{
	for (int i = 0; i < TURNS && turn(k) > 0; i++)
		;
}

static void send_bytes(int fd, const void *data, size_t len)
{
	ASSERT_EQ((ssize_t)len, send(fd, data, len, MSG_NOSIGNAL));
}

static bool has_answer(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

static void expect_metrics(int fd)
{
	struct admin_message m;

	ASSERT_OK(admin_recv(fd, 0, &m));
	EXPECT_EQ(ADMIN_METRICS_REPLY, m.head.type);
	EXPECT_EQ(sizeof(struct metrics), m.head.length);
	admin_message_clear(&m);
	ASSERT_OK(admin_recv(fd, 0, &m));
	EXPECT_EQ(ADMIN_END, m.head.type);
	EXPECT_EQ(0, m.head.word);
	admin_message_clear(&m);
}

/* An END that says so; and what is closed while something is unread takes no answer along. */
static void expect_end(int fd, int r, const char *words)
{
	struct admin_message m;

	ASSERT_OK(admin_recv(fd, 0, &m));
	EXPECT_EQ(ADMIN_END, m.head.type);
	EXPECT_ERR(r, m.head.word);
	if (!strstr(m.data, words))
		EXPECT_STREQ(words, m.data);
	admin_message_clear(&m);
}

static void expect_hung_up(struct ktest_data_of_admin *self)
{
	struct admin_message m;
	int r = admin_recv(self->fd, 0, &m);

	EXPECT_TRUE(r == -ENODATA || r == -ECONNRESET);
	EXPECT_NULL(self->k.clients[0]);
}

/* One message that is refused and ends the connection. */
static void expect_refused(struct ktest_data_of_admin *self, const void *data, size_t len, int r,
			   const char *words)
{
	send_bytes(self->fd, data, len);
	settle(&self->k);
	expect_end(self->fd, r, words);
	expect_hung_up(self);
}

TEST_F(admin, request_byte_by_byte)
{
	for (int i = 0; i < 2; i++) {
		for (size_t n = 0; n < sizeof(self->req); n++) {
			EXPECT_FALSE(has_answer(self->fd));
			send_bytes(self->fd, (uint8_t *)&self->req + n, 1);
			EXPECT_EQ(1, turn(&self->k));
		}
		settle(&self->k);
		expect_metrics(self->fd);
	}
}

/* What follows a request stays in the socket until its answer has gone. */
TEST_F(admin, requests_in_one_piece)
{
	struct admin_request both[3] = { self->req, self->req, self->req };

	send_bytes(self->fd, both, sizeof(both));
	settle(&self->k);
	for (int i = 0; i < 3; i++)
		expect_metrics(self->fd);
	EXPECT_FALSE(has_answer(self->fd));
}

TEST_F(admin, request_of_another_version)
{
	self->req.version++;
	expect_refused(self, &self->req, sizeof(self->req), -EPROTO, "different versions");
}

/* It is told so by its head alone: what follows may be anything. */
TEST_F(admin, head_of_another_version)
{
	self->req.version--;
	self->req.verb = ADMIN_KEY_IMPORT;
	self->req.length = UINT32_MAX;
	expect_refused(self, &self->req, HEAD, -EPROTO, "different versions");
}

TEST_F(admin, unknown_verb)
{
	static const uint32_t verbs[] = { 0, ADMIN_VERBS, UINT32_MAX };

	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++) {
		self->req.verb = verbs[i];
		expect_refused(self, &self->req, sizeof(self->req), -EOPNOTSUPP, "does not know");
		close(self->fd);
		self->fd = connect_client(&self->k);
	}
}

TEST_F(admin, request_too_short)
{
	self->req.length--;
	expect_refused(self, &self->req, HEAD, -EPROTO, "too short");
}

/* A verb that takes nothing takes nothing; the largest length of all is no different. */
TEST_F(admin, request_too_long)
{
	static const uint32_t lengths[] = { sizeof(struct admin_request) - HEAD + 1, ADMIN_BODY_MAX,
					    INT32_MAX, UINT32_MAX };

	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		self->req.length = lengths[i];
		expect_refused(self, &self->req, HEAD, -EMSGSIZE, "longer than");
		close(self->fd);
		self->fd = connect_client(&self->k);
	}
}

/* A root key of 1024 bytes is taken, with one more it is not read at all. */
TEST_F(admin, room_of_a_verb)
{
	uint8_t secret[SECRET_MAX + 1] = { 0 };

	self->config.root_source = CONFIG_ROOT_EPHEMERAL;
	self->req.verb = ADMIN_UNSEAL;
	ASSERT_OK(admin_send(self->fd, 0, &self->req, span_of(secret, SECRET_MAX)));
	settle(&self->k);
	expect_end(self->fd, -EOPNOTSUPP, "restart kekd");
	ASSERT_OK(admin_send(self->fd, 0, &self->req, span_of(secret, SECRET_MAX + 1)));
	settle(&self->k);
	expect_end(self->fd, -EMSGSIZE, "longer than");
	expect_hung_up(self);
}

TEST_F(admin, root_key_of_another_length)
{
	uint8_t secret[SECRET_MIN - 1] = { 0 };

	self->k.sealed = -EKEYEXPIRED;
	self->req.verb = ADMIN_UNSEAL;
	for (size_t len = 0; len < SECRET_MIN; len += SECRET_MIN - 1) {
		ASSERT_OK(admin_send(self->fd, 0, &self->req, span_of(secret, len)));
		settle(&self->k);
		expect_end(self->fd, -EINVAL, "32 to 1024 bytes");
	}
}

TEST_F(admin, client_that_ends_in_the_middle)
{
	for (size_t len = 0; len < sizeof(self->req); len += len < 20 ? 1 : 77) {
		if (len > 0)
			send_bytes(self->fd, &self->req, len);
		close(self->fd);
		settle(&self->k);
		EXPECT_NULL(self->k.clients[0]);
		self->fd = connect_client(&self->k);
	}
}

/* One place says which commands need the root key, whatever else is wrong with them. */
TEST_F(admin, sealed)
{
	static const uint32_t verbs[] = {
		ADMIN_KEY_CREATE,  ADMIN_KEY_STAGE,     ADMIN_KEY_ACTIVATE,  ADMIN_KEY_REOPEN,
		ADMIN_KEY_ROTATE,  ADMIN_KEY_ABORT,     ADMIN_KEY_RELOAD,    ADMIN_KEY_VERIFY,
		ADMIN_KEYSET_SHOW, ADMIN_KEYSET_EXPORT, ADMIN_KEYSET_APPLY,  ADMIN_KEYSET_ACK,
		ADMIN_KEYSET_TAKE, ADMIN_KEYSET_MERGE,  ADMIN_KEYSET_REMOVE, ADMIN_BACKUP_VERIFY,
		ADMIN_RESTORE,     ADMIN_KEY_MARK,
	};

	self->k.sealed = -EKEYEXPIRED;
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++) {
		self->req.verb = verbs[i];
		send_bytes(self->fd, &self->req, sizeof(self->req));
		settle(&self->k);
		expect_end(self->fd, -EKEYEXPIRED, "kekctl unseal");
	}
}

/* It is dropped when its time is over; until then it costs one answer and holds nobody up. */
TEST_F(admin, client_that_never_reads)
{
	const struct admin_client *c = self->k.clients[0];
	uint64_t now = now_ns();
	int other, sent = 0;

	while (admin_client_events(c) == POLLIN && sent < TURNS) {
		send_bytes(self->fd, &self->req, sizeof(self->req));
		turn(&self->k);
		sent++;
	}
	ASSERT_LT(sent, TURNS);
	send_bytes(self->fd, &self->req, sizeof(self->req));
	EXPECT_EQ(0, turn(&self->k));

	other = connect_client(&self->k);
	send_bytes(other, &self->req, sizeof(self->req));
	settle(&self->k);
	expect_metrics(other);
	close(other);

	admin_tick(&self->k, now + ADMIN_CLIENT_NS / 2);
	EXPECT_TRUE(self->k.clients[0] == c);
	admin_tick(&self->k, UINT64_MAX / 2);
	EXPECT_NULL(self->k.clients[0]);
}

/* The same client, a little slower than the keeper would like. */
TEST_F(admin, client_that_reads_late)
{
	const struct admin_client *c = self->k.clients[0];
	int sent = 0;

	while (admin_client_events(c) == POLLIN && sent < TURNS) {
		send_bytes(self->fd, &self->req, sizeof(self->req));
		turn(&self->k);
		sent++;
	}
	for (int i = 0; i < sent; i++) {
		settle(&self->k);
		expect_metrics(self->fd);
	}
	EXPECT_EQ(POLLIN, admin_client_events(c));
	EXPECT_FALSE(admin_client_busy(c));
	admin_tick(&self->k, UINT64_MAX / 2);
	EXPECT_TRUE(self->k.clients[0] == c);
}

TEST_F(admin, half_a_request_has_its_time)
{
	send_bytes(self->fd, &self->req, HEAD + 1);
	settle(&self->k);
	admin_tick(&self->k, UINT64_MAX / 2);
	EXPECT_NULL(self->k.clients[0]);
}

/* The flags of the map of @p: proc(5), "dd" not in a core dump. What has it is of secmem's making. */
static bool is_secret(const void *p)
{
	FILE *f = fopen("/proc/self/smaps", "re");
	bool inside = false, secret = false;
	unsigned long from, to;
	char line[512];

	ASSERT_NOT_NULL(f);
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
			inside = (unsigned long)p >= from && (unsigned long)p < to;
		if (inside && strncmp(line, "VmFlags:", 8) == 0)
			secret = strstr(line, " dd") != NULL;
	}
	fclose(f);
	return secret;
}

/* From its first byte on. */
TEST_F(admin, secret_is_received_into_locked_memory)
{
	static const struct {
		uint32_t verb;
		size_t len;
		bool secret;
	} cases[] = {
		{ ADMIN_UNSEAL, SECRET_MIN, true },
		{ ADMIN_KEY_IMPORT, sizeof(struct admin_import), true },
		{ ADMIN_KEYSET_APPLY, 100, false },
		{ ADMIN_RESTORE, 100, false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int fd = connect_client(&self->k);

		self->req.verb = cases[i].verb;
		self->req.length = (uint32_t)(sizeof(self->req) - HEAD + cases[i].len);
		send_bytes(fd, &self->req, sizeof(self->req));
		settle(&self->k);
		ASSERT_NOT_NULL(admin_client_request(self->k.clients[1]));
		EXPECT_EQ(cases[i].secret, is_secret(admin_client_request(self->k.clients[1])));
		close(fd);
		settle(&self->k);
	}
}

static bool is_client(const struct keeper *k, const struct admin_client *c)
{
	for (size_t i = 0; i < ADMIN_CLIENTS; i++)
		if (k->clients[i] == c)
			return true;
	return false;
}

/* The oldest that waits for nothing gives way; of clients that all wait the oldest. */
TEST_F(admin, eight_and_a_ninth)
{
	const struct admin_client *first = self->k.clients[0], *second;
	int fd[ADMIN_CLIENTS];

	for (size_t i = 1; i < ADMIN_CLIENTS; i++)
		fd[i] = connect_client(&self->k);
	second = self->k.clients[1];
	send_bytes(self->fd, &self->req, HEAD);
	settle(&self->k);
	fd[0] = connect_client(&self->k);
	EXPECT_TRUE(is_client(&self->k, first));
	EXPECT_FALSE(is_client(&self->k, second));

	send_bytes(fd[0], &self->req, sizeof(self->req));
	settle(&self->k);
	expect_metrics(fd[0]);
	for (size_t i = 0; i < ADMIN_CLIENTS; i++)
		if (i != 1)
			send_bytes(fd[i], &self->req, HEAD);
	settle(&self->k);
	close(fd[1]);
	fd[1] = connect_client(&self->k);
	EXPECT_FALSE(is_client(&self->k, first));
	send_bytes(fd[1], &self->req, sizeof(self->req));
	settle(&self->k);
	expect_metrics(fd[1]);
	for (size_t i = 0; i < ADMIN_CLIENTS; i++)
		close(fd[i]);
}

TEST_HARNESS_MAIN
