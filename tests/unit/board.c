/* SPDX-License-Identifier: Apache-2.0 */
/* The page between keeper and observer: what its reader can, cannot and comes to see. */
#include "daemon/obs/board.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "tests/harness/ktest.h"

#define SECOND UINT64_C(1000000000)
#define ROUNDS 1000

FIXTURE(board)
{
	struct board_page *page, *mapped;
	struct board *s, *seen;
	int fd;
};

FIXTURE_SETUP(board)
{
	ASSERT_OK(board_page_new(&self->page, &self->fd));
	ASSERT_OK(board_page_map(self->fd, &self->mapped));
	self->s = calloc(1, sizeof(*self->s));
	self->seen = calloc(1, sizeof(*self->seen));
	ASSERT_NOT_NULL(self->s);
	ASSERT_NOT_NULL(self->seen);
}

FIXTURE_TEARDOWN(board)
{
	board_page_free(self->page);
	board_page_free(self->mapped);
	close(self->fd);
	free(self->s);
	free(self->seen);
}

TEST_F(board, written_and_read)
{
	EXPECT_ERR(-EAGAIN, board_read(self->mapped, self->seen));
	self->s->n_keys = 2;
	strcpy(self->s->keys[1].info.label, "second");
	self->s->keys[1].encryptions = 7;
	board_write(self->page, self->s);
	ASSERT_OK(board_read(self->mapped, self->seen));
	EXPECT_EQ(2U, self->seen->n_keys);
	EXPECT_STREQ("second", self->seen->keys[1].info.label);
	EXPECT_EQ(7U, self->seen->keys[1].encryptions);
}

/* Whoever has the descriptor can neither write nor resize. */
TEST_F(board, readers_only_read)
{
	EXPECT_TRUE(write(self->fd, "x", 1) < 0);
	EXPECT_TRUE(ftruncate(self->fd, 0) < 0);
	EXPECT_TRUE(ftruncate(self->fd, 1 << 24) < 0);
	EXPECT_TRUE(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, self->fd, 0) ==
		    MAP_FAILED);
	EXPECT_TRUE(mprotect(self->mapped, 4096, PROT_READ | PROT_WRITE) < 0);
}

TEST(another_file_is_no_page)
{
	struct board_page *page = NULL;
	_cleanup_close_ int fd = memfd_create("x", MFD_CLOEXEC);

	EXPECT_ERR(-EPROTO, board_page_map(fd, &page));
	EXPECT_NULL(page);
}

struct writer {
	struct board_page *page;
	struct board *s;
	_Atomic bool stop;
	_Atomic uint64_t reads; /* begun: one write for each, so that a reader gets through */
};

/* Every number of a board is the same, so a torn one shows. */
static void *write_on(void *arg)
{
	struct writer *w = arg;

	for (uint64_t n = 1, seen = 0; !w->stop; n++) {
		while (w->reads == seen && !w->stop)
			sched_yield();
		seen = w->reads;
		w->s->written_ns = w->s->started = n;
		w->s->n_keys = KEKD_KEYS_MAX;
		w->s->keys[KEKD_KEYS_MAX - 1].encryptions = n;
		board_write(w->page, w->s);
	}
	return NULL;
}

TEST_F(board, never_torn)
{
	struct writer w = { .page = self->page, .s = self->s };
	pthread_t thread;
	int read = 0;

	ASSERT_EQ(0, pthread_create(&thread, NULL, write_on, &w));
	while (read < ROUNDS) {
		w.reads++;
		if (board_read(self->mapped, self->seen) < 0)
			continue;
		read++;
		if (self->seen->started != self->seen->written_ns ||
		    self->seen->keys[KEKD_KEYS_MAX - 1].encryptions != self->seen->written_ns)
			break;
	}
	w.stop = true;
	pthread_join(thread, NULL);
	EXPECT_EQ(ROUNDS, read);
}

TEST_F(board, verdicts)
{
	struct board *s = self->s;
	const uint64_t now = 1000 * SECOND;

	s->written_ns = s->probed_ns = now;
	EXPECT_NULL(board_not_live(s, now));
	EXPECT_STREQ("no server serves", board_not_ready(s, now));
	s->serving = true;
	EXPECT_STREQ("not tried yet", board_not_ready(s, now));
	s->metrics.probes = 1;
	EXPECT_NULL(board_not_ready(s, now));
	s->metrics.probe_r = -EKEYREVOKED;
	EXPECT_NOT_NULL(board_not_ready(s, now));
	s->metrics.probe_r = 0;
	s->sealed = true;
	snprintf(s->sealed_text, sizeof(s->sealed_text), "sealed: /bin/false: exit status 1");
	EXPECT_STREQ("sealed: /bin/false: exit status 1", board_not_ready(s, now));
	s->sealed = false;
	s->written_ns = now + 31 * SECOND;
	EXPECT_NOT_NULL(board_not_ready(s, now + 31 * SECOND)); /* the last probe is old */
	EXPECT_NOT_NULL(board_not_live(s, now + 60 * SECOND));
}

static bool prints(const struct board *s, const char *line)
{
	_cleanup_free_ char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	board_print(s, f);
	fclose(f);
	return strstr(text, line) != NULL;
}

/* Imported names may hold anything printable. */
TEST_F(board, labels_are_escaped)
{
	self->s->n_keys = 1;
	strcpy(self->s->keys[0].info.label, "a\"b\\c");
	self->s->keys[0].info.state = KEY_ACTIVE;
	self->s->keys[0].usable = -ENOKEY;
	EXPECT_TRUE(prints(self->s, "kekd_key_usable{key=\"a\\\"b\\\\c\",state=\"active\"} 0\n"));
}

TEST_F(board, plugins)
{
	metrics_upstream(&self->s->metrics, "/run/vault.sock", 3, 1, -EHOSTUNREACH);
	EXPECT_TRUE(prints(self->s, "kekd_upstream_up{plugin=\"/run/vault.sock\"} 0\n"));
	metrics_upstream(&self->s->metrics, "/run/vault.sock", 1, 0, 0);
	EXPECT_TRUE(prints(self->s, "kekd_upstream_up{plugin=\"/run/vault.sock\"} 1\n"));
	EXPECT_TRUE(prints(self->s, "kekd_upstream_calls_total{plugin=\"/run/vault.sock\"} 4\n"));
}

TEST_HARNESS_MAIN
