/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A key that the keeper hands to a server which serves. When a server has answered SYNC others write with
 * the key, so one that had no memory for it must not be there to answer.
 */
#include <errno.h>
#include <sys/resource.h>
#include <unistd.h>

#include "daemon/keys/softkey.h"
#include "daemon/server/server_private.h"
#include "tests/harness/ktest.h"
#include "tests/support/caps.h"

#define POOL (4U << 20)

FIXTURE(server_keys)
{
	struct server *s;
	int keeper_fd, key_fd;
};

FIXTURE_SETUP(server_keys)
{
	struct engine_config engine = ENGINE_CONFIG_DEFAULT;
	static const uint8_t bytes[KEKD_AES_KEY_MAX] = { 1 };
	struct softkey *key;
	int fds[2];

	engine.now = now_ns;
	ASSERT_OK(link_pair(fds));
	self->keeper_fd = fds[0];
	ASSERT_OK(server_new(fds[1], &self->s));
	ASSERT_OK(ring_new(RING_EPOLL, 8, &self->s->ring));
	ASSERT_OK(secpool_new(POOL, &self->s->pool));
	ASSERT_OK(engine_new(&engine, &self->s->engine));
	ASSERT_OK(keytable_new(&self->s->keys));
	self->s->going = true;
	ASSERT_OK(softkey_from_bytes(span_of(bytes, sizeof(bytes)), &key));
	ASSERT_OK(softkey_export(key, &self->key_fd));
	softkey_free(key);
}

FIXTURE_TEARDOWN(server_keys)
{
	close(self->keeper_fd);
	server_free(self->s);
}

static void send_key(struct ktest_data_of_server_keys *self)
{
	struct link_msg msg = {
		.type = LINK_KEY, .key.secretbox = 1, .key.key_bytes = 32, .key.label = "a"
	};
	_cleanup_(link_fds_close) struct link_fds fds = { .n = 1, .fd = { self->key_fd } };

	msg.key.state = KEY_STAGED;
	ASSERT_OK(link_send(self->keeper_fd, &msg, &fds));
	server_link_listen(self->s);
	ASSERT_OK(ring_turn(self->s->ring, false));
}

TEST_F(server_keys, taken)
{
	static const uint8_t id[KEKD_KEY_ID];
	const struct chain_key *key;

	send_key(self);
	EXPECT_OK(self->s->link_error);
	key = keytable_find(self->s->keys, id);
	ASSERT_TRUE(key != NULL);
	EXPECT_OK(chain_key_opens(key));
}

/* Requests have locked all that they may, as in an overload. */
TEST_F(server_keys, taken_whatever_requests_lock)
{
	static const uint8_t id[KEKD_KEY_ID];
	struct secbuf buf = { 0 };
	const struct chain_key *key;

	for (size_t cap = POOL; cap > 0; cap /= 2)
		while (secpool_get(self->s->pool, cap, &buf) == 0)
			buf = (struct secbuf){ 0 };
	send_key(self);
	EXPECT_OK(self->s->link_error);
	key = keytable_find(self->s->keys, id);
	ASSERT_TRUE(key != NULL);
	EXPECT_OK(chain_key_opens(key));
}

/* From here on nothing can be locked, by root either. */
static void lock_no_more(void)
{
	struct rlimit nothing = { 0 };

	ASSERT_EQ(0, setrlimit(RLIMIT_MEMLOCK, &nothing));
	caps_drop();
}

TEST_F(server_keys, no_memory_ends_the_server)
{
	lock_no_more();
	send_key(self);
	EXPECT_LT(self->s->link_error, 0);
}

TEST_HARNESS_MAIN
