/* SPDX-License-Identifier: Apache-2.0 */
/* Which texts are addresses of this host only, and which listeners stand at one. */
#include "daemon/sys/loopback.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>

#include "daemon/base/cleanup.h"
#include "tests/harness/ktest.h"

static int parse(const char *text)
{
	struct sockaddr_storage addr;
	socklen_t len;

	return loopback_parse(text, &addr, &len);
}

TEST(addresses)
{
	struct sockaddr_storage addr;
	socklen_t len;

	ASSERT_OK(loopback_parse("127.0.0.1:9740", &addr, &len));
	EXPECT_EQ(AF_INET, addr.ss_family);
	EXPECT_EQ(sizeof(struct sockaddr_in), len);
	EXPECT_EQ(htons(9740), ((struct sockaddr_in *)&addr)->sin_port);
	ASSERT_OK(loopback_parse("[::1]:65535", &addr, &len));
	EXPECT_EQ(AF_INET6, addr.ss_family);
	EXPECT_EQ(sizeof(struct sockaddr_in6), len);
	EXPECT_OK(parse("127.3.2.1:1"));
}

TEST(not_of_this_host)
{
	static const char *const bad[] = {
		"0.0.0.0:9740",
		"10.0.0.1:9740",
		"[::]:9740",
		"[fe80::1]:9740",
		"localhost:9740",
		":9740",
		"9740",
		"",
		"127.0.0.1",
		"127.0.0.1:",
		"127.0.0.1:0",
		"127.0.0.1:65536",
		"127.0.0.1:97400",
		"127.0.0.1:9740 ",
		"127.0.0.1:-1",
		"127.0.0.1:0x50",
		"::1:9740",
		"[127.0.0.1]:80",
		"[::1:9740",
		"[]:9740",
		"[::1%lo]:9740",
		"127.1:9740",
		"127.0.0.1:97:40",
		"128.0.0.1:80",
		"[::ffff:127.0.0.1]:80",
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (!EXPECT_ERR(-EINVAL, parse(bad[i])))
			ktest_log("%s", bad[i]);
}

/* A free port, as text; another program may take it before it is used, so callers try again. */
static int listen_somewhere(char *ret_text, size_t size)
{
	static in_port_t port = 20000;
	int fd = -1;

	for (int r = -1; r < 0 && port < 60000; port++) {
		snprintf(ret_text, size, "127.0.0.1:%u", port);
		r = loopback_listen(ret_text, &fd);
	}
	return fd;
}

TEST(knows_its_listener)
{
	char text[32], other[32];
	_cleanup_close_ int fd = listen_somewhere(text, sizeof(text));
	_cleanup_close_ int fd2 = listen_somewhere(other, sizeof(other));

	ASSERT_TRUE(fd >= 0 && fd2 >= 0);
	EXPECT_TRUE(loopback_is_at(fd, text));
	EXPECT_FALSE(loopback_is_at(fd, other));
	EXPECT_FALSE(loopback_is_at(fd2, text));
	EXPECT_FALSE(loopback_is_at(fd, "[::1]:9740"));
	EXPECT_TRUE(loopback_is_any(fd));
	EXPECT_ERR(-EADDRINUSE, loopback_listen(text, &fd2));
}

TEST(other_sockets_are_none)
{
	struct sockaddr_in any = { .sin_family = AF_INET };
	_cleanup_close_ int tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	_cleanup_close_ int local = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	EXPECT_FALSE(loopback_is_any(local));
	EXPECT_FALSE(loopback_is_any(tcp)); /* does not listen */
	ASSERT_EQ(0, bind(tcp, (struct sockaddr *)&any, sizeof(any)));
	ASSERT_EQ(0, listen(tcp, 1));
	EXPECT_FALSE(loopback_is_any(tcp)); /* listens to the world */
}

TEST_HARNESS_MAIN
