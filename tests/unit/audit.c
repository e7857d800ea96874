/* SPDX-License-Identifier: Apache-2.0 */
/* Lines of the audit: their JSON, and what becomes of them when they cannot be written. */
#include "daemon/obs/audit.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "tests/harness/ktest.h"

static const struct audit_line example = {
	.event = "operation",
	.what = "v2.Encrypt",
	.uid = { (const uint8_t *)"4711", 4 },
	.asked = true,
	.peer_uid = 7,
	.peer_pid = 42,
	.provider = "aesgcm",
	.key = "sha256:00",
	.result = "OK",
	.micros = 12,
};

static struct audit *audit_over(int fd, enum audit_target target, bool drop)
{
	struct audit *a = NULL;

	if (EXPECT_OK(audit_new(target, drop, &a)) && fd >= 0)
		audit_set_fd(a, fd);
	return a;
}

/* The @nth line of the file, as JSON; NULL if there is none or it is not valid. */
static json_t *line_of(int fd, int nth)
{
	_cleanup_free_ char *text = calloc(1, 1 << 16);
	char *line = text, *end;

	if (!text || pread(fd, text, (1 << 16) - 1, 0) < 0)
		return NULL;
	while ((end = strchr(line, '\n')) && nth-- > 0)
		line = end + 1;
	if (!end)
		return NULL;
	*end = '\0';
	return json_loads(line, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
}

static const char *field(const json_t *j, const char *name)
{
	return json_string_value(json_object_get(j, name)) ?: "";
}

static int scratch(void)
{
	return memfd_create("audit", MFD_CLOEXEC);
}

/* Who asks from another pid namespace has no pid here, and a uid all the same. */
TEST(a_peer_without_a_pid)
{
	struct audit_line line = example;
	int fd = scratch();
	struct audit *a = audit_over(dup(fd), AUDIT_FILE, false);
	json_t *j;

	line.peer_pid = 0;
	EXPECT_OK(audit_add(a, &line));
	line.asked = false;
	EXPECT_OK(audit_add(a, &line));
	EXPECT_OK(audit_flush(a));
	j = line_of(fd, 0);
	EXPECT_EQ(7, json_integer_value(json_object_get(j, "peerUid")));
	json_decref(j);
	j = line_of(fd, 1);
	EXPECT_NULL(json_object_get(j, "peerUid"));
	json_decref(j);
	audit_free(a);
	close(fd);
}

TEST(a_line)
{
	struct audit_line line = example;
	int fd = scratch();
	struct audit *a = audit_over(dup(fd), AUDIT_FILE, false);
	json_t *j;

	line.resource = span_str("secrets");
	line.path = span_str("/registry/secrets/a/\"b\"");
	EXPECT_OK(audit_add(a, &line));
	EXPECT_OK(audit_flush(a));
	j = line_of(fd, 0);
	ASSERT_NOT_NULL(j);
	EXPECT_STREQ("secrets", field(j, "resource"));
	EXPECT_STREQ("/registry/secrets/a/\"b\"", field(j, "path"));
	EXPECT_STREQ("operation", field(j, "event"));
	EXPECT_STREQ("v2.Encrypt", field(j, "what"));
	EXPECT_STREQ("4711", field(j, "uid"));
	EXPECT_STREQ("aesgcm", field(j, "provider"));
	EXPECT_STREQ("sha256:00", field(j, "key"));
	EXPECT_STREQ("OK", field(j, "result"));
	EXPECT_EQ(7, json_integer_value(json_object_get(j, "peerUid")));
	EXPECT_EQ(42, json_integer_value(json_object_get(j, "peerPid")));
	EXPECT_EQ(12, json_integer_value(json_object_get(j, "micros")));
	EXPECT_EQ(27U, strlen(field(j, "time")));
	json_decref(j);
	audit_free(a);
	close(fd);
}

/* A turn of the loop may bring more lines than there is room for: they are written meanwhile. */
TEST(more_than_there_is_room_for)
{
	int fd = scratch();
	struct audit *a = audit_over(dup(fd), AUDIT_FILE, false);
	uint64_t lines, dropped;

	for (unsigned int i = 0; i < 20000; i++)
		ASSERT_OK(audit_add(a, &example));
	EXPECT_OK(audit_flush(a));
	audit_counts_take(a, &lines, &dropped);
	EXPECT_EQ(20000, lines);
	EXPECT_EQ(0, dropped);
	audit_free(a);
	close(fd);
}

/* A client writes the uid: it can end neither the string nor the line. */
TEST(uids_are_escaped_and_cut)
{
	static const char evil[] = "\",\"result\":\"OK\"}\n{\"\\\x80\xff";
	char large[200];
	int fd = scratch();
	struct audit *a = audit_over(dup(fd), AUDIT_FILE, false);
	struct audit_line line = example;
	json_t *j;

	memset(large, '\n', sizeof(large));
	line.uid = span_of(evil, sizeof(evil)); /* its NUL too */
	line.result = "EBADMSG";
	EXPECT_OK(audit_add(a, &line));
	line.uid = span_of(large, sizeof(large));
	EXPECT_OK(audit_add(a, &line));
	EXPECT_OK(audit_flush(a));
	j = line_of(fd, 0);
	ASSERT_NOT_NULL(j);
	EXPECT_STREQ("EBADMSG", field(j, "result"));
	json_decref(j);
	j = line_of(fd, 1);
	ASSERT_NOT_NULL(j);
	EXPECT_EQ(64U, strlen(field(j, "uid")));
	json_decref(j);
	audit_free(a);
	close(fd);
}

TEST(what_is_not_known_is_left_out)
{
	int fd = scratch();
	struct audit *a = audit_over(dup(fd), AUDIT_FILE, false);
	json_t *j;

	EXPECT_OK(audit_add(
		a, &(struct audit_line){ .event = "key", .what = "created", .micros = -1 }));
	EXPECT_OK(audit_flush(a));
	j = line_of(fd, 0);
	ASSERT_NOT_NULL(j);
	EXPECT_EQ(3U, json_object_size(j));
	json_decref(j);
	audit_free(a);
	close(fd);
}

/* With block: lines wait, none is lost, and in the end there is no more room. */
TEST(block_keeps_lines)
{
	int fd = scratch(), full = open("/dev/full", O_WRONLY | O_CLOEXEC), n = 0;
	struct audit *a = audit_over(full, AUDIT_FILE, false);
	uint64_t lines, dropped;
	int r;

	do {
		r = audit_add(a, &example);
		n += r == 0;
	} while (r == 0 && n < 100000);
	EXPECT_ERR(-ENOBUFS, r);
	EXPECT_ERR(-ENOSPC, audit_flush(a));
	EXPECT_TRUE(audit_stuck(a));
	audit_set_fd(a, dup(fd));
	EXPECT_OK(audit_flush(a));
	EXPECT_FALSE(audit_stuck(a));
	audit_counts_take(a, &lines, &dropped);
	EXPECT_EQ((uint64_t)n, lines);
	EXPECT_EQ(0U, dropped);
	audit_free(a);
	close(fd);
}

TEST(drop_counts_and_says_so)
{
	int fd = scratch(), full = open("/dev/full", O_WRONLY | O_CLOEXEC);
	struct audit *a = audit_over(full, AUDIT_FILE, true);
	uint64_t lines, dropped;
	json_t *j;

	EXPECT_OK(audit_add(a, &example));
	EXPECT_OK(audit_add(a, &example));
	EXPECT_OK(audit_flush(a));
	EXPECT_TRUE(audit_stuck(a));
	audit_counts_take(a, &lines, &dropped);
	EXPECT_EQ(0U, lines);
	EXPECT_EQ(2U, dropped);
	audit_set_fd(a, dup(fd));
	EXPECT_OK(audit_add(a, &example));
	EXPECT_OK(audit_flush(a));
	j = line_of(fd, 0);
	ASSERT_NOT_NULL(j);
	EXPECT_STREQ("dropped", field(j, "event"));
	EXPECT_EQ(2, json_integer_value(json_object_get(j, "lines")));
	json_decref(j);
	j = line_of(fd, 1);
	ASSERT_NOT_NULL(j);
	EXPECT_STREQ("v2.Encrypt", field(j, "what"));
	json_decref(j);
	audit_free(a);
	close(fd);
}

/* A disk that fills in the middle of a line: the rest follows, and every line is whole. */
static void partly_written(bool drop, int expect_lines)
{
	struct rlimit small = { .rlim_cur = 250, .rlim_max = RLIM_INFINITY }, large;
	int fd = scratch(), n = 0;
	struct audit *a = audit_over(dup(fd), AUDIT_FILE, drop);
	json_t *j;

	signal(SIGXFSZ, SIG_IGN);
	ASSERT_EQ(0, getrlimit(RLIMIT_FSIZE, &large));
	ASSERT_EQ(0, setrlimit(RLIMIT_FSIZE, &small));
	for (int i = 0; i < 3; i++)
		EXPECT_OK(audit_add(a, &example));
	EXPECT_ERR(drop ? 0 : -EFBIG, audit_flush(a));
	EXPECT_TRUE(audit_stuck(a));
	ASSERT_EQ(0, setrlimit(RLIMIT_FSIZE, &large));
	EXPECT_OK(audit_add(a, &example));
	EXPECT_OK(audit_flush(a));
	while ((j = line_of(fd, n))) {
		n++;
		json_decref(j);
	}
	EXPECT_EQ(expect_lines, n);
	audit_free(a);
	close(fd);
}

TEST(partly_written_block)
{
	partly_written(false, 4);
}

/* One whole, one half and then ended, one given up; "dropped"; one more. */
TEST(partly_written_drop)
{
	partly_written(true, 4);
}

TEST(journal_gets_a_datagram_a_line)
{
	int fds[2];
	struct audit *a;
	char text[4096] = { 0 };
	const char *message;

	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, fds));
	a = audit_over(fds[0], AUDIT_JOURNAL, false);
	EXPECT_OK(audit_add(a, &example));
	EXPECT_OK(audit_add(a, &example));
	EXPECT_OK(audit_flush(a));
	for (int i = 0; i < 2; i++) {
		ASSERT_TRUE(recv(fds[1], text, sizeof(text) - 1, MSG_DONTWAIT) > 0);
		message = strstr(text, "\nMESSAGE={\"time\":");
		EXPECT_NOT_NULL(message);
		EXPECT_NOT_NULL(strstr(text, "SYSLOG_IDENTIFIER=kekd-audit\n"));
	}
	EXPECT_TRUE(recv(fds[1], text, sizeof(text), MSG_DONTWAIT) < 0);
	close(fds[1]);
	EXPECT_OK(audit_add(a, &example));
	EXPECT_TRUE(audit_flush(a) < 0); /* journald is away */
	audit_free(a);
}

TEST_HARNESS_MAIN
