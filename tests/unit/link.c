/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of the link: each message has one sender, its time, and its descriptors. */
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "daemon/server/link.h"
#include "tests/harness/ktest.h"

static int check(uint32_t type, enum link_side from, enum link_when now, unsigned int n_fds)
{
	struct link_msg msg = { .type = type };
	struct link_fds fds = { .n = n_fds };

	return link_check(&msg, &fds, from, now);
}

/* A number of descriptors that the message may come with at some time. */
static bool is_legal(uint32_t type, enum link_side from, enum link_when now)
{
	for (unsigned int n = 0; n <= LINK_FDS; n++)
		if (check(type, from, now, n) == 0)
			return true;
	return false;
}

TEST(each_has_one_sender)
{
	for (uint32_t type = 1; type < LINK_TYPES; type++) {
		bool keeper = is_legal(type, LINK_KEEPER, LINK_STARTING) ||
			      is_legal(type, LINK_KEEPER, LINK_SERVING);
		bool server = is_legal(type, LINK_SERVER, LINK_STARTING) ||
			      is_legal(type, LINK_SERVER, LINK_SERVING);

		EXPECT_NE(keeper, server);
		EXPECT_NE(0, strcmp(link_type_name(type), link_type_name(LINK_TYPES)));
	}
}

TEST(what_is_no_message)
{
	static const uint32_t types[] = { 0, LINK_TYPES, UINT32_MAX };

	for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++)
		for (enum link_when now = LINK_STARTING; now <= LINK_SERVING; now++) {
			EXPECT_FALSE(is_legal(types[i], LINK_KEEPER, now));
			EXPECT_FALSE(is_legal(types[i], LINK_SERVER, now));
		}
}

/* A server passes none, whatever it says. */
TEST(descriptors)
{
	static const struct {
		uint32_t type;
		unsigned int min, max;
	} cases[] = {
		{ LINK_CONFIG, 2, 2 },    { LINK_AUDIT, 1, 1 },    { LINK_KEY, 0, LINK_FDS },
		{ LINK_SEALED, 0, 0 },    { LINK_WITHDRAW, 0, 0 }, { LINK_SOCKET, 1, LINK_FDS },
		{ LINK_CONNECTED, 0, 1 }, { LINK_STOP, 0, 0 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		for (unsigned int n = 0; n <= LINK_FDS; n++)
			EXPECT_ERR(n >= cases[i].min && n <= cases[i].max ? 0 : -EPROTO,
				   check(cases[i].type, LINK_KEEPER, LINK_SERVING, n));
	for (uint32_t type = 1; type < LINK_TYPES; type++)
		for (unsigned int n = 1; n <= LINK_FDS; n++) {
			EXPECT_ERR(-EPROTO, check(type, LINK_SERVER, LINK_STARTING, n));
			EXPECT_ERR(-EPROTO, check(type, LINK_SERVER, LINK_SERVING, n));
		}
}

TEST(times)
{
	EXPECT_OK(check(LINK_GO, LINK_KEEPER, LINK_STARTING, 0));
	EXPECT_ERR(-EPROTO, check(LINK_GO, LINK_KEEPER, LINK_SERVING, 0));
	EXPECT_ERR(-EPROTO, check(LINK_TESTKEY, LINK_KEEPER, LINK_SERVING, 1));
	EXPECT_ERR(-EPROTO, check(LINK_SYNC, LINK_KEEPER, LINK_STARTING, 0));
	EXPECT_OK(check(LINK_READY, LINK_SERVER, LINK_STARTING, 0));
	EXPECT_ERR(-EPROTO, check(LINK_READY, LINK_SERVER, LINK_SERVING, 0));
	EXPECT_ERR(-EPROTO, check(LINK_SYNCED, LINK_SERVER, LINK_STARTING, 0));
}

/* What a message says of a key is of the values that there are, and its texts end. */
TEST(a_key_that_is_none)
{
	const struct link_msg good = { .type = LINK_KEY, .key.state = KEY_STATES - 1 };
	struct link_msg bad[5] = { good, good, good, good, good }, msg;
	struct link_fds none;
	int fds[2];

	bad[0].key.state = KEY_STATES;
	bad[1].key.kind = KEY_KINDS;
	bad[2].key.secretbox = 2;
	memset(bad[3].key.name, 'n', sizeof(bad[3].key.name));
	memset(bad[4].key.label, 'l', sizeof(bad[4].key.label));
	ASSERT_OK(link_pair(fds));
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		ASSERT_OK(link_send(fds[0], &bad[i], NULL));
		EXPECT_ERR(-EPROTO, link_recv(fds[1], &msg, &none));
	}
	ASSERT_OK(link_send(fds[0], &good, NULL));
	EXPECT_OK(link_recv(fds[1], &msg, &none));
	close(fds[0]);
	close(fds[1]);
}

TEST_HARNESS_MAIN
