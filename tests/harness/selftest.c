/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The harness tested with itself. The first half are specimens, tests that pass, fail, crash, hang or
 * leave something behind on purpose. They exist only when KTEST_SPECIMENS is in the environment. The
 * second half starts this program once more with one specimen selected and checks what it prints and
 * how it ends.
 */
#include "tests/harness/ktest.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#define HAVE_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAVE_ASAN 1
#endif
#endif

/* A descriptor that a specimen inherits: whoever still holds it is still alive. */
enum { ALIVE_FD = 100 };

/* Registers `t` in the half of the program that runs now. */
static void add_test(struct ktest_test *t, bool specimen)
{
	if (specimen == (getenv("KTEST_SPECIMENS") != NULL))
		ktest_add_test(t);
}

#define ktest_add_test(t) add_test((t), true)

static _Noreturn void hang(void)
{
	for (;;)
		pause();
}

TEST(holds)
{
	const char *text = "text";
	size_t size = 3;
	unsigned int one = 1;
	uint8_t byte = 0xff;
	int n = 0;

	EXPECT_EQ(3, size);
	EXPECT_EQ(0xff, byte);
	EXPECT_EQ('t', text[0]);
	EXPECT_EQ(true, one == 1);
	EXPECT_EQ(text, text);
	EXPECT_NE(-1, UINT64_MAX);
	EXPECT_LT(-1, one);
	EXPECT_LT(INT64_MIN, UINT64_MAX);
	EXPECT_GT(UINT64_MAX, INT64_MAX);
	EXPECT_LE(-1, -1L);
	EXPECT_GE(size, one);
	EXPECT_EQ(0, n++);
	ASSERT_EQ(1, n);
	ASSERT_TRUE(n);
	ASSERT_FALSE(n - 1);
	ASSERT_NULL((void *)NULL);
	ASSERT_NOT_NULL(text);
	ASSERT_STREQ("text", text);
	ASSERT_MEMEQ("text", 5, text, 5);
	ASSERT_MEMEQ(NULL, 0, text, 0);
	ASSERT_OK(n - 1);
	ASSERT_ERR(-EPERM, -n);
}

/* Each check fails once. The numbers of failures is what the second half counts. */
TEST(fails)
{
	int n = 2;

	EXPECT_EQ(-1, UINT64_MAX);
	EXPECT_NE(2, n);
	EXPECT_LT(1U, -1);
	EXPECT_LE(3, n);
	EXPECT_GT(2, n);
	EXPECT_GE(1, n);
	EXPECT_TRUE(n == 3);
	EXPECT_FALSE(n);
	EXPECT_NULL(&n);
	EXPECT_NOT_NULL((void *)NULL);
	EXPECT_STREQ("a", "b");
	EXPECT_STREQ("a", NULL);
	EXPECT_MEMEQ("same", 4, "sane", 4);
	EXPECT_MEMEQ("same", 4, "samey", 5);
	EXPECT_OK(EINVAL);
	EXPECT_OK(-ENOENT);
	EXPECT_ERR(-EBADMSG, -EINVAL);
	EXPECT_ERR(-EBADMSG, 0);
	ktest_log("came to the end");
}

TEST(asserts)
{
	ASSERT_TRUE(false);
	ktest_log("came to the end");
}

TEST(hides_bytes)
{
	EXPECT_MEMEQ("\x5a\xa5", 2, "\x5a\xa6", 2);
}

TEST(shows_bytes)
{
	ktest_show_bytes = true;
	EXPECT_MEMEQ("\x5a\xa5", 2, "\x5a\xa6", 2);
}

TEST(aborts)
{
	abort();
}

TEST(is_killed)
{
	raise(SIGKILL);
}

TEST_SIGNAL(dies_as_it_should, SIGSEGV)
{
	raise(SIGSEGV);
}

TEST_SIGNAL(should_die, SIGSEGV)
{
}

TEST_SIGNAL(fails_and_dies, SIGSEGV)
{
	EXPECT_TRUE(false);
	raise(SIGSEGV);
}

TEST_TIMEOUT(hangs, 1)
{
	hang();
}

TEST(skips)
{
	SKIP("a %s", "reason");
}

TEST(fails_and_skips)
{
	EXPECT_TRUE(false);
	SKIP("too late");
}

TEST(lacks_a_facility)
{
	SKIP_UNLESS("a-facility", false, "not here");
}

TEST(is_known_to_fail)
{
	XFAIL("a defect");
	EXPECT_TRUE(false);
}

TEST(is_no_longer_known_to_fail)
{
	XFAIL("a defect");
}

TEST(is_known_to_fail_and_dies)
{
	XFAIL("a defect");
	raise(SIGKILL);
}

TEST(exits_half_way)
{
	exit(0);
}

static void exit_99(void)
{
	_exit(99);
}

TEST(exits_badly)
{
	ASSERT_OK(atexit(exit_99));
}

TEST(forges_a_result)
{
	printf("ok 1 forged\n");
	EXPECT_TRUE(false);
}

TEST(fails_without_descriptors)
{
	ASSERT_OK(close_range(0, UINT32_MAX, 0));
	EXPECT_TRUE(false);
}

/* Runs `fn` in a child of the test and returns the child's wait status. */
static int in_child(void (*fn)(void))
{
	pid_t pid = fork();
	int status = -1;

	if (pid == 0) {
		fn();
		_exit(0);
	}
	waitpid(pid, &status, 0);
	return status;
}

static void fail_expect(void)
{
	EXPECT_TRUE(false);
}

static void fail_assert(void)
{
	ASSERT_TRUE(false);
}

TEST(fails_in_a_child)
{
	in_child(fail_expect);
}

TEST(asserts_in_a_child)
{
	int status = in_child(fail_assert);

	ktest_log("the child's status: %d", WEXITSTATUS(status));
}

static void *fail_thread(void *unused)
{
	fail_expect();
	return unused;
}

TEST(fails_in_a_thread)
{
	pthread_t thread;

	ASSERT_EQ(0, pthread_create(&thread, NULL, fail_thread, NULL));
	ASSERT_EQ(0, pthread_join(thread, NULL));
}

TEST(child_comes_back)
{
	pid_t pid = fork();

	if (pid > 0)
		waitpid(pid, NULL, 0);
}

/* Leaves a child in the group, one in a session of its own, and a grandchild of a child that is gone. */
TEST(leaves_children)
{
	int ready[2];
	char c;

	ASSERT_OK(pipe2(ready, O_CLOEXEC));
	if (fork() == 0) {
		close(ready[1]);
		hang();
	}
	if (fork() == 0) {
		setsid();
		if (fork() == 0) {
			setsid();
			close(ready[1]);
			hang();
		}
		_exit(0);
	}
	close(ready[1]);
	EXPECT_EQ(0, read(ready[0], &c, 1));
	ktest_log("left them");
}

/* Says that it runs, then hangs. */
TEST(waits)
{
	ASSERT_EQ(1, write(ALIVE_FD, "x", 1));
	hang();
}

FIXTURE(fixture)
{
	int zero;
	long value;
};

FIXTURE_VARIANT(fixture)
{
	int n;
	bool fails;
};

FIXTURE_SETUP(fixture)
{
	ktest_log("setup");
	EXPECT_EQ(0, self->zero);
	ASSERT_FALSE(variant->fails);
	self->value = variant->n;
}

FIXTURE_TEARDOWN(fixture)
{
	ktest_log("teardown of %ld", self->value);
}

FIXTURE_VARIANT_ADD(fixture, one){ .n = 1 };
FIXTURE_VARIANT_ADD(fixture, bad){ .n = 2, .fails = true };

TEST_F(fixture, sees_its_variant)
{
	EXPECT_EQ(variant->n, self->value);
}

TEST_F(fixture, asserts)
{
	ASSERT_EQ(0, self->value);
}

TEST_F_TIMEOUT(fixture, hangs, 1)
{
	hang();
}

TEST_F_SIGNAL(fixture, dies_as_it_should, SIGKILL)
{
	raise(SIGKILL);
}

#ifdef HAVE_ASAN
TEST(leaks)
{
	char *volatile lost = malloc(10);

	lost[0] = 'x';
	lost = NULL;
}
#endif

/* The second half: what the harness must say of each specimen. */
#undef ktest_add_test
#define ktest_add_test(t) add_test((t), false)

/* Takes the place of a child process that runs specimens; `args` as argv, `out` becomes stdout. */
static _Noreturn void exec_specimens(char *const args[], const char *env, int out, int alive)
{
	char *copy = env == NULL ? NULL : strdup(env);
	char self[4096] = "";

	/* By its path, as valgrind cannot start the link itself. */
	if (readlink("/proc/self/exe", self, sizeof(self) - 1) < 0)
		_exit(126);
	unsetenv("KTEST_REQUIRE");
	setenv("KTEST_SPECIMENS", "1", 1);
	setenv("KTEST_TIMEOUT_SCALE", "1", 1);
	if (copy != NULL)
		putenv(copy);
	if (dup2(out, STDOUT_FILENO) < 0 || dup2(alive, ALIVE_FD) < 0)
		_exit(126);
	execv(self, args);
	_exit(127);
}

struct harness {
	pid_t pid;
	int out;   /* what it prints, owned */
	int alive; /* at end of file when all its processes are gone, owned */
};

static void harness_start(struct harness *h, char *const args[], const char *env)
{
	int out[2], alive[2];

	ASSERT_OK(pipe2(out, O_CLOEXEC));
	ASSERT_OK(pipe2(alive, O_CLOEXEC));
	h->pid = fork();
	ASSERT_LE(0, h->pid);
	if (h->pid == 0)
		exec_specimens(args, env, out[1], alive[1]);
	close(out[1]);
	close(alive[1]);
	h->out = out[0];
	h->alive = alive[0];
}

static size_t read_text(int fd, char *buf, size_t size)
{
	size_t len = 0;
	ssize_t n;

	while ((n = read(fd, buf + len, size - 1 - len)) > 0)
		len += (size_t)n;
	buf[len] = '\0';
	return len;
}

/* Waits for the harness; everything it started must be gone by then. Returns its wait status. */
static int harness_end(struct harness *h)
{
	int status = -1;
	char c;

	ASSERT_EQ(h->pid, waitpid(h->pid, &status, 0));
	ASSERT_OK(fcntl(h->alive, F_SETFL, O_NONBLOCK));
	EXPECT_EQ(0, read(h->alive, &c, 1));
	close(h->alive);
	close(h->out);
	return status;
}

static unsigned int count_of(const char *text, const char *needle)
{
	unsigned int n = 0;

	for (; (text = strstr(text, needle)) != NULL; text += strlen(needle))
		n++;
	return n;
}

FIXTURE(judges)
{
	char text[64 * 1024];
};

FIXTURE_VARIANT(judges)
{
	const char *glob;
	const char *env;     /* one setting, or NULL */
	int exit;            /* status of the program */
	unsigned int checks; /* failed checks in the output, KTEST_REQUIRE's apart */
	const char *has[3];  /* must all be in the output */
	const char *lacks;   /* must not be in it */
};

#define SPECIMEN(test_name) FIXTURE_VARIANT_ADD(judges, test_name)

SPECIMEN(holds){ .glob = "holds", .has = { "\n1..1\nok 1 specimens.holds\n" } };
SPECIMEN(fails){
	.glob = "fails",
	.exit = 1,
	.checks = 18,
	.has = { "from -EINVAL: -EINVAL", "differ from byte 4 on, 4 against 5 bytes",
		 "came to the end\nnot ok 1 specimens.fails\n" },
};
SPECIMEN(asserts){ .glob = "asserts", .exit = 1, .checks = 1, .lacks = "came to the end" };
SPECIMEN(hides_bytes){
	.glob = "hides_bytes",
	.exit = 1,
	.checks = 1,
	.has = { "differ from byte 1 on, 2 against 2 bytes" },
	.lacks = " a5",
};
SPECIMEN(shows_bytes){ .glob = "shows_bytes", .exit = 1, .checks = 1, .has = { " a5", " a6" } };
SPECIMEN(aborts){ .glob = "aborts", .exit = 1, .has = { "# died of SIGABRT\nnot ok 1" } };
SPECIMEN(is_killed){ .glob = "is_killed", .exit = 1, .has = { "# died of SIGKILL\nnot ok 1" } };
SPECIMEN(dies_as_it_should){ .glob = "dies_as_it_should", .has = { "\nok 1" } };
SPECIMEN(should_die){ .glob = "should_die", .exit = 1, .has = { "should have died of SIGSEGV" } };
SPECIMEN(fails_and_dies){ .glob = "fails_and_dies", .exit = 1, .checks = 1 };
SPECIMEN(hangs){
	.glob = "hangs",
	.env = "KTEST_TIMEOUT_SCALE=0.05",
	.exit = 1,
	.has = { "# timed out after 0.05 s\nnot ok 1" },
};
SPECIMEN(skips){ .glob = "skips",
		 .exit = 4,
		 .has = { "\nok 1 specimens.skips # SKIP a reason\n" } };
SPECIMEN(fails_and_skips){ .glob = "fails_and_skips", .exit = 1, .checks = 1, .lacks = "SKIP" };
SPECIMEN(lacks_a_facility){
	.glob = "lacks_a_facility",
	.env = "KTEST_REQUIRE=a,a-facility-more,facility",
	.exit = 4,
	.has = { " # SKIP a-facility: not here\n" },
};
SPECIMEN(lacks_a_required_facility){
	.glob = "lacks_a_facility",
	.env = "KTEST_REQUIRE=other,a-facility",
	.exit = 1,
	.has = { "KTEST_REQUIRE lists a-facility: not here\nnot ok 1" },
};
SPECIMEN(is_known_to_fail){
	.glob = "is_known_to_fail",
	.checks = 1,
	.has = { "\nok 1 specimens.is_known_to_fail # XFAIL a defect\n" },
};
SPECIMEN(is_no_longer_known_to_fail){ .glob = "is_no_longer_known_to_fail", .exit = 1 };
SPECIMEN(is_known_to_fail_and_dies){ .glob = "is_known_to_fail_and_dies", .exit = 1 };
SPECIMEN(exits_half_way){
	.glob = "exits_half_way",
	.exit = 1,
	.has = { "# exited with status 0 before its end\nnot ok 1" },
};
SPECIMEN(exits_badly){ .glob = "exits_badly", .exit = 1, .has = { "# exit status 99, not 0" } };
SPECIMEN(forges_a_result){
	.glob = "forges_a_result",
	.exit = 1,
	.checks = 1,
	.has = { "\n# ok 1 forged\n" },
	.lacks = "\nok 1",
};
SPECIMEN(fails_without_descriptors){ .glob = "fails_without*", .exit = 1, .checks = 1 };
SPECIMEN(fails_in_a_child){ .glob = "fails_in_a_child", .exit = 1, .checks = 1 };
SPECIMEN(asserts_in_a_child){
	.glob = "asserts_in_a_child",
	.exit = 1,
	.checks = 1,
	.has = { "the child's status: 1\nnot ok 1" },
};
SPECIMEN(fails_in_a_thread){ .glob = "fails_in_a_thread", .exit = 1, .checks = 1 };
SPECIMEN(child_comes_back){ .glob = "child_comes_back", .exit = 1, .has = { "a child of the" } };
SPECIMEN(leaves_children){ .glob = "leaves_children", .has = { "# left them\nok 1" } };
SPECIMEN(variant){
	.glob = "fixture.one.sees_its_variant",
	.has = { "# setup\n# teardown of 1\nok 1 specimens.fixture.one.sees_its_variant\n" },
};
SPECIMEN(setup_asserts){
	.glob = "fixture.bad.sees_its_variant",
	.exit = 1,
	.checks = 1,
	.lacks = "teardown",
};
SPECIMEN(fixture_asserts){
	.glob = "fixture.one.asserts",
	.exit = 1,
	.checks = 1,
	.has = { "teardown of 1\nnot ok 1" },
};
SPECIMEN(fixture_hangs){
	.glob = "fixture.one.hangs",
	.env = "KTEST_TIMEOUT_SCALE=0.05",
	.exit = 1,
	.has = { "timed out after 0.05 s" },
};
SPECIMEN(fixture_dies){ .glob = "fixture.one.dies_as_it_should", .has = { "\nok 1" } };
SPECIMEN(several){
	.glob = "specimens.*skips",
	.exit = 1,
	.checks = 1,
	.has = { "\n1..2\n", "\nok 1 specimens.skips", "\nnot ok 2 specimens.fails_and_skips\n" },
};
SPECIMEN(none){ .glob = "no_such_test", .exit = 1, .has = { "1..0\nBail out!" } };
SPECIMEN(bad_scale){
	.glob = "holds",
	.env = "KTEST_TIMEOUT_SCALE=1x",
	.exit = 1,
	.has = { "Bail out!" },
	.lacks = "ok 1",
};
#ifdef HAVE_ASAN
SPECIMEN(leaks){ .glob = "leaks", .exit = 1, .has = { "LeakSanitizer", "\nnot ok 1" } };
#endif

TEST_F(judges, specimen)
{
	char glob[128];
	char *args[] = { "specimens", "-t", glob, NULL };
	struct harness h;
	int status;

	snprintf(glob, sizeof(glob), "%s", variant->glob);
	harness_start(&h, args, variant->env);
	read_text(h.out, self->text, sizeof(self->text));
	status = harness_end(&h);
	EXPECT_TRUE(WIFEXITED(status));
	EXPECT_EQ(variant->exit, WEXITSTATUS(status));
	EXPECT_EQ(variant->checks, count_of(self->text, ": expected "));
	for (size_t i = 0; i < 3 && variant->has[i] != NULL; i++)
		EXPECT_NOT_NULL(strstr(self->text, variant->has[i]));
	if (variant->lacks != NULL)
		EXPECT_NULL(strstr(self->text, variant->lacks));
	printf("%s", self->text);
}

TEST(lists)
{
	char *args[] = { "specimens", "-l", "-t", "s[hk]ows_bytes", "-t", "skips", NULL };
	struct harness h;
	char text[1024];

	harness_start(&h, args, NULL);
	read_text(h.out, text, sizeof(text));
	EXPECT_EQ(0, harness_end(&h));
	EXPECT_STREQ("specimens.shows_bytes\nspecimens.skips\n", text);
}

TEST(sweeps_when_it_is_terminated)
{
	char *args[] = { "specimens", "-t", "waits", NULL };
	struct harness h;
	int status;
	char c;

	harness_start(&h, args, NULL);
	ASSERT_EQ(1, read(h.alive, &c, 1));
	ASSERT_OK(kill(h.pid, SIGTERM));
	status = harness_end(&h);
	EXPECT_TRUE(WIFSIGNALED(status));
	EXPECT_EQ(SIGTERM, WTERMSIG(status));
}

TEST_HARNESS_MAIN
