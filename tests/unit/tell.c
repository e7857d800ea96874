/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A server and a keeper that does not read its link: the server is never held up, loses no answer, and counts on.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>

#include "daemon/server/server_private.h"
#include "tests/harness/ktest.h"

#define ANSWERS 500 /* more than a link holds */

FIXTURE(tell)
{
	struct server *s;
	int keeper_fd;
};

FIXTURE_VARIANT(tell)
{
	enum ring_kind ring;
};

FIXTURE_VARIANT_ADD(tell, epoll){
	.ring = RING_EPOLL,
};

FIXTURE_VARIANT_ADD(tell, auto){
	.ring = RING_AUTO,
};

FIXTURE_SETUP(tell)
{
	struct key_info rec = { .state = KEY_ACTIVE, .activation = 1 };
	int fds[2];

	ASSERT_OK(link_pair(fds));
	self->keeper_fd = fds[0];
	ASSERT_EQ(0, fcntl(fds[1], F_SETFL, O_NONBLOCK));
	ASSERT_OK(server_new(fds[1], &self->s));
	ASSERT_OK(ring_new(variant->ring, 8, &self->s->ring));
	ASSERT_OK(keytable_new(&self->s->keys));
	ASSERT_OK(keytable_put(self->s->keys, &rec, NULL));
}

FIXTURE_TEARDOWN(tell)
{
	closep(&self->keeper_fd);
	server_free(self->s);
}

static struct chain_key *the_key(struct server *s)
{
	return list_entry(keytable_list(s->keys)->next, struct chain_key, link);
}

/* Until the link is full, and on. */
static void say_all(struct server *s)
{
	for (uint32_t i = 1; i <= ANSWERS; i++) {
		struct link_msg msg = { .type = LINK_SYNCED, .index = i };

		the_key(s)->encryptions++;
		ASSERT_OK(server_tell(s, &msg));
	}
}

/* All that is there; the server turns its loop when it is not. */
static void hear(struct server *s, int fd, struct link_msg *ret)
{
	struct link_fds fds;
	int r;

	ASSERT_EQ(0, fcntl(fd, F_SETFL, O_NONBLOCK));
	while ((r = link_recv(fd, ret, &fds)) == -EAGAIN)
		ASSERT_OK(ring_turn(s->ring, true));
	ASSERT_OK(r);
}

/* Each answer comes, in its order, and before it what keys were used for until then. */
TEST_F(tell, answers_wait)
{
	uint64_t used = 0;
	struct link_msg msg;

	say_all(self->s);
	EXPECT_GT(self->s->n_unsent, 0);
	for (uint32_t next = 1; next <= ANSWERS;) {
		hear(self->s, self->keeper_fd, &msg);
		if (msg.type == LINK_USED) {
			used += msg.encryptions;
			continue;
		}
		ASSERT_EQ(LINK_SYNCED, msg.type);
		ASSERT_EQ(next, msg.index);
		EXPECT_GE(used, next);
		next++;
	}
	EXPECT_EQ(ANSWERS, used);
	EXPECT_EQ(0, self->s->n_unsent);
	EXPECT_OK(self->s->link_error);
}

/* What is counted is added up until it can be said, and is not said twice. */
TEST_F(tell, uses_are_kept)
{
	struct link_msg msg;
	uint64_t used = 0;
	uint32_t last = 0;

	say_all(self->s);
	the_key(self->s)->encryptions += 7;
	EXPECT_ERR(-EAGAIN, server_tell_used(self->s));
	while (last != ANSWERS) {
		hear(self->s, self->keeper_fd, &msg);
		if (msg.type == LINK_USED)
			used += msg.encryptions;
		else
			last = msg.index;
	}
	EXPECT_EQ(ANSWERS + 7, used);
}

/* The queue has an end; what ends with it is this server. */
TEST_F(tell, without_end)
{
	struct link_msg msg = { .type = LINK_PONG };
	int r = 0;

	for (unsigned int i = 0; i < 100000 && r == 0; i++)
		r = server_tell(self->s, &msg);
	EXPECT_ERR(-ENOBUFS, r);
}

/* A keeper that is gone is no error of saying: it is noticed where it is heard. */
TEST_F(tell, to_nobody)
{
	struct link_msg msg = { .type = LINK_PONG };

	closep(&self->keeper_fd);
	self->keeper_fd = -1;
	EXPECT_OK(server_tell(self->s, &msg));
	EXPECT_EQ(0, self->s->n_unsent);
}

/* It is said once that it stands still, and once that it goes on. */
TEST_F(tell, keeper_stands_still)
{
	const uint64_t second = 1000000000;

	self->s->heard_ns = 100 * second;
	server_keeper_watch(self->s, 109 * second);
	EXPECT_FALSE(self->s->quiet);
	server_keeper_watch(self->s, 110 * second);
	EXPECT_TRUE(self->s->quiet);
	self->s->heard_ns = 111 * second;
	server_keeper_watch(self->s, 112 * second);
	EXPECT_FALSE(self->s->quiet);
}

TEST_HARNESS_MAIN
