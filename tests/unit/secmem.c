/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory for secrets: that it is locked, left out of dumps and forks, bounded, and empty whenever
 * it changes hands.
 */
#include "tests/harness/ktest.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/base/secmem.h"
#include "tests/support/caps.h"

#define MAX (1U << 20)

/* AddressSanitizer replaces mlock(2) by nothing: its shadow memory cannot be locked. */
#ifdef __SANITIZE_ADDRESS__
#define MLOCK_IS_A_DUMMY true
#else
#define MLOCK_IS_A_DUMMY false
#endif

static const size_t classes[] = { 256, 1024, 4096, 16 * 1024, 80 * 1024 };
#define CLASSES (sizeof(classes) / sizeof(classes[0]))
#define LARGE   (classes[CLASSES - 1] + 1)

FIXTURE(pool)
{
	struct secpool *pool;
};

FIXTURE_SETUP(pool)
{
	ASSERT_OK(secpool_new(MAX, &self->pool));
}

FIXTURE_TEARDOWN(pool)
{
	EXPECT_EQ(0, secpool_used(self->pool));
	secpool_free(self->pool);
}

static bool is_zero(const uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (p[i] != 0)
			return false;
	return true;
}

/*
 * The lines of /proc/self/smaps that belong to the map of @p: a field in kB, or the flags.
 * proc(5) tells their names: "lo" locked, "dd" not in a core dump, "dc" not copied by fork.
 */
static bool smaps_get(const void *p, const char *field, char *ret, size_t size)
{
	FILE *f = fopen("/proc/self/smaps", "re");
	unsigned long from, to;
	bool inside = false, found = false;
	char line[512];

	ASSERT_NOT_NULL(f);
	while (!found && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
			inside = (unsigned long)p >= from && (unsigned long)p < to;
		found = inside && strncmp(line, field, strlen(field)) == 0;
	}
	fclose(f);
	if (found)
		snprintf(ret, size, "%s", line + strlen(field));
	return found;
}

static void expect_guarded(const void *p, size_t len)
{
	char text[512];

	ASSERT_TRUE(smaps_get(p, "VmFlags:", text, sizeof(text)));
	EXPECT_NOT_NULL(strstr(text, " dd"));
	EXPECT_NOT_NULL(strstr(text, " dc"));
	if (MLOCK_IS_A_DUMMY)
		return;
	EXPECT_NOT_NULL(strstr(text, " lo"));
	ASSERT_TRUE(smaps_get(p, "Locked:", text, sizeof(text)));
	EXPECT_LE(len / 1024, strtoul(text, NULL, 10));
}

TEST(alloc_is_locked_and_zero)
{
	uint8_t *p = secmem_alloc(10000);

	ASSERT_NOT_NULL(p);
	EXPECT_EQ(0, (uintptr_t)p % 4096);
	EXPECT_TRUE(is_zero(p, 10000));
	expect_guarded(p, 10000);
	memset(p, 1, 10000);
	secmem_free(p, 10000);
	secmem_free(NULL, 10000);
}

TEST(impossible_alloc)
{
	errno = 0;
	EXPECT_NULL(secmem_alloc(SIZE_MAX / 2));
	EXPECT_NE(0, errno); /* ENOMEM; valgrind says EINVAL */
}

/* Ends as a child does that reads there. */
static void child_reads(uint8_t *p)
{
	int status;
	pid_t pid;

	ASSERT_NOT_NULL(p);
	*p = 1;
	pid = fork();
	ASSERT_LE(0, pid);
	if (pid == 0) {
		signal(SIGSEGV, SIG_DFL); /* a sanitizer's own handler would make it an exit */
		_exit(*(volatile uint8_t *)p);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	ASSERT_TRUE(WIFSIGNALED(status));
	signal(WTERMSIG(status), SIG_DFL);
	raise(WTERMSIG(status));
}

TEST_SIGNAL(not_there_after_a_fork, SIGSEGV)
{
	child_reads(secmem_alloc(4096));
}

TEST_SIGNAL(shared_not_there_after_a_fork, SIGSEGV)
{
	int fd;

	ASSERT_OK(secmem_share(4096, &fd));
	child_reads(secmem_map(fd, 4096));
}

TEST(wipe)
{
	uint8_t buf[64];

	memset(buf, 0xff, sizeof(buf));
	secmem_wipe(buf + 1, 62);
	EXPECT_EQ(0xff, buf[0]);
	EXPECT_TRUE(is_zero(buf + 1, 62));
	EXPECT_EQ(0xff, buf[63]);
	secmem_wipe(NULL, 0);
}

TEST(compare)
{
	uint8_t a[33] = { 0 }, b[33] = { 0 };

	EXPECT_TRUE(ct_equal(a, b, 0));
	EXPECT_TRUE(ct_equal(a, b, sizeof(a)));
	for (size_t i = 0; i < sizeof(a); i++)
		for (int bit = 0; bit < 8; bit++) {
			b[i] = (uint8_t)(1 << bit);
			EXPECT_FALSE(ct_equal(a, b, sizeof(a)));
			EXPECT_TRUE(ct_equal(a, b, i));
			b[i] = 0;
		}
}

/* Buffers of each class and of none: as large as asked for, zero, locked. */
TEST_F(pool, sizes)
{
	static const struct {
		size_t asked, given;
	} sizes[] = {
		{ 0, 256 },
		{ 1, 256 },
		{ 256, 256 },
		{ 257, 1024 },
		{ 1024, 1024 },
		{ 1025, 4096 },
		{ 4096, 4096 },
		{ 4097, 16 * 1024 },
		{ 16385, 81920 },
		{ 81920, 81920 },
		{ 81921, 96 * 1024 },
		{ 98305, 128 * 1024 },
		{ 262144, 256 * 1024 },
		{ 262145, 65 * 4096 },
	};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct secbuf b = { 0 };

		ASSERT_OK(secpool_get(self->pool, sizes[i].asked, &b));
		EXPECT_EQ(sizes[i].given, b.cap);
		EXPECT_EQ(0, b.len);
		EXPECT_TRUE(is_zero(b.data, b.cap));
		EXPECT_EQ(b.cap, secpool_used(self->pool));
		expect_guarded(b.data, b.cap);
		expect_guarded(b.data + b.cap - 1, 0);
		secbuf_release(&b);
		EXPECT_NULL(b.data);
		EXPECT_EQ(0, secpool_used(self->pool));
	}
}

TEST_F(pool, buffers_do_not_overlap)
{
	struct secbuf b[40] = { 0 };

	for (size_t i = 0; i < 40; i++) {
		ASSERT_OK(secpool_get(self->pool, classes[i % 3], &b[i]));
		memset(b[i].data, (int)(i + 1), b[i].cap);
	}
	for (size_t i = 0; i < 40; i++) {
		for (size_t j = 0; j < b[i].cap; j++)
			ASSERT_EQ(i + 1, b[i].data[j]);
		secbuf_release(&b[i]);
	}
}

/* What was given back comes again, and nothing of it. The whole of it is wiped, not only len. */
TEST_F(pool, reuse_is_zeroed)
{
	for (size_t c = 0; c < CLASSES; c++) {
		struct secbuf b = { 0 };
		uint8_t *first;

		ASSERT_OK(secpool_get(self->pool, classes[c], &b));
		first = b.data;
		memset(b.data, 0xee, b.cap);
		secbuf_release(&b);
		/* A free buffer holds the link to the next one and nothing else. */
		EXPECT_TRUE(is_zero(first + sizeof(void *), classes[c] - sizeof(void *)));
		ASSERT_OK(secpool_get(self->pool, classes[c], &b));
		EXPECT_EQ(first, b.data);
		EXPECT_TRUE(is_zero(b.data, b.cap));
		secbuf_release(&b);
	}
}

TEST_F(pool, release_of_none)
{
	struct secbuf b = { 0 };

	secbuf_release(&b);
	EXPECT_NULL(b.data);
}

/* Until it is full and again when one came back; a refusal changes nothing. */
TEST_F(pool, bound)
{
	struct secbuf *b = calloc(MAX / 1024, sizeof(*b)), none = { 0 };
	size_t n = 0, used;
	int r;

	ASSERT_NOT_NULL(b);
	while ((r = secpool_get(self->pool, 1024, &b[n])) == 0)
		ASSERT_LT(++n, MAX / 1024);
	EXPECT_ERR(-ENOBUFS, r);
	EXPECT_LE(MAX / 2 / 1024, n);
	used = secpool_used(self->pool);
	EXPECT_EQ(n * 1024, used);
	EXPECT_LE(used, secpool_max(self->pool));
	EXPECT_ERR(-ENOBUFS, secpool_get(self->pool, LARGE, &none));
	EXPECT_NULL(none.data);
	EXPECT_EQ(used, secpool_used(self->pool));
	secbuf_release(&b[--n]);
	ASSERT_OK(secpool_get(self->pool, 1024, &b[n++]));
	while (n > 0)
		secbuf_release(&b[--n]);
	free(b);
}

/* Take all of the pool in pieces of @size; how many. */
static size_t take_all(struct secpool *pool, size_t size, struct secbuf *b)
{
	size_t n = 0;

	while (n < MAX / 256 && secpool_get(pool, size, &b[n]) == 0)
		n++;
	return n;
}

/* Whatever size a burst was of, any other is to be had when it is over, as much as ever. */
TEST_F(pool, a_burst_takes_nothing_away_for_ever)
{
	static struct secbuf burst[MAX / 256], b[MAX / 256];
	size_t fresh[CLASSES + 1], n;

	for (size_t size = 0; size <= CLASSES; size++) {
		struct secpool *pool;

		ASSERT_OK(secpool_new(MAX, &pool));
		n = take_all(pool, size < CLASSES ? classes[size] : LARGE, b);
		fresh[size] = n;
		while (n > 0)
			secbuf_release(&b[--n]);
		secpool_free(pool);
	}
	for (size_t i = 0; i <= CLASSES; i++) {
		for (size_t j = 0; j <= CLASSES; j++) {
			n = take_all(self->pool, i < CLASSES ? classes[i] : LARGE, burst);
			EXPECT_EQ(fresh[i], n);
			while (n > 0)
				secbuf_release(&burst[--n]);
			n = take_all(self->pool, j < CLASSES ? classes[j] : LARGE, b);
			EXPECT_EQ(fresh[j], n);
			for (size_t k = 0; k < n; k++) {
				EXPECT_TRUE(is_zero(b[k].data, b[k].cap));
				memset(b[k].data, 0xee, b[k].cap);
			}
			while (n > 0)
				secbuf_release(&b[--n]);
		}
	}
}

/* The same where RLIMIT_MEMLOCK ends the burst, before the pool's own bound does. */
TEST_F(pool, a_burst_that_the_kernel_ends)
{
	static struct secbuf burst[MAX / 256];
	struct rlimit limit = { MAX / 2, MAX / 2 };
	struct secbuf b = { 0 };
	size_t n;

	SKIP_UNLESS("mlock", !MLOCK_IS_A_DUMMY, "AddressSanitizer locks nothing");
	ASSERT_EQ(0, setrlimit(RLIMIT_MEMLOCK, &limit));
	caps_drop();
	for (size_t i = 0; i < CLASSES; i++) {
		for (size_t j = 0; j <= CLASSES; j++) {
			n = take_all(self->pool, classes[i], burst);
			EXPECT_GE(MAX / 2 / classes[i], n);
			EXPECT_LE(MAX / 4 / classes[i], n);
			while (n > 0)
				secbuf_release(&burst[--n]);
			ASSERT_OK(secpool_get(self->pool, j < CLASSES ? classes[j] : LARGE, &b));
			EXPECT_TRUE(is_zero(b.data, b.cap));
			secbuf_release(&b);
		}
	}
}

/* What is in use stays as it is while all around it is given up. */
TEST_F(pool, what_is_in_use_stays)
{
	static struct secbuf b[MAX / 256];
	struct secbuf kept[4] = { 0 }, large = { 0 };
	size_t n = take_all(self->pool, 1024, b);

	ASSERT_LT(900U, n);
	for (size_t i = 0; i < 4; i++) {
		kept[i] = secbuf_move(&b[300 * i]);
		memset(kept[i].data, (int)(i + 1), kept[i].cap);
	}
	while (n > 0)
		secbuf_release(&b[--n]);
	ASSERT_OK(secpool_get(self->pool, MAX / 2, &large));
	memset(large.data, 0xee, large.cap);
	n = take_all(self->pool, 1024, b);
	EXPECT_LT(400U, n);
	for (size_t i = 0; i < n; i++)
		memset(b[i].data, 0xee, b[i].cap);
	for (size_t i = 0; i < 4; i++) {
		for (size_t j = 0; j < 1024; j++)
			ASSERT_EQ(i + 1, kept[i].data[j]);
		secbuf_release(&kept[i]);
	}
	while (n > 0)
		secbuf_release(&b[--n]);
	secbuf_release(&large);
}

/* However many buffers one pool keeps, in however many slabs, another below the same whole finds room. */
TEST_F(pool, pools_below_leave_room)
{
	static struct secbuf b[MAX / 256];
	struct secbuf other[CLASSES] = { 0 };
	struct secpool *greedy, *next;
	size_t n = 0;

	ASSERT_OK(secpool_new_below(self->pool, &greedy));
	ASSERT_OK(secpool_new_below(self->pool, &next));
	while (n < MAX / 256 && secpool_get(greedy, 256, &b[n]) == 0)
		n++;
	EXPECT_LE(MAX / 4, secpool_used(self->pool));
	EXPECT_GE(MAX / 2, secpool_used(self->pool));
	/* One in a hundred is kept: the slabs stay, and are the greedy one's. */
	for (size_t i = 0; i < n; i++)
		if (i % 100 != 0)
			secbuf_release(&b[i]);
	for (size_t i = 0; i < CLASSES - 1; i++)
		EXPECT_OK(secpool_get(next, classes[i], &other[i]));
	for (size_t i = 0; i < n; i++)
		secbuf_release(&b[i]);
	for (size_t i = 0; i < CLASSES; i++)
		secbuf_release(&other[i]);
	secpool_free(greedy);
	secpool_free(next);
	EXPECT_OK(secpool_get(self->pool, MAX, &b[0]));
	secbuf_release(&b[0]);
}

/* Nothing is in use any more, however many slabs are kept: who comes next may hold what the first one held. */
TEST_F(pool, unused_slabs_of_others_are_room)
{
	static struct secbuf b[MAX / 256];
	struct secpool *pool[5], *part[5];
	size_t n = 0, first = 0, last = 0;

	for (size_t i = 0; i < ARRAY_SIZE(pool); i++) {
		ASSERT_OK(secpool_new_below(self->pool, &pool[i]));
		ASSERT_OK(secpool_part(pool[i], &part[i]));
	}
	for (size_t i = 0; i < ARRAY_SIZE(pool) - 1; i++) {
		while (n < MAX / 256 && secpool_get(part[i], 256, &b[n]) == 0)
			n++;
		if (i == 0)
			first = n;
	}
	while (n > 0)
		secbuf_release(&b[--n]);
	while (last < MAX / 256 && secpool_get(part[4], 256, &b[last]) == 0)
		last++;
	EXPECT_LE(first / 4 * 3, last);
	while (last > 0)
		secbuf_release(&b[--last]);
	for (size_t i = 0; i < ARRAY_SIZE(pool); i++) {
		secpool_let_go(part[i]);
		secpool_free(pool[i]);
	}
}

/*
 * What is free may all lie in slabs of another size, and the pool's share may be less than a slab: who was let in gets his
 * buffers all the same, of each size that a call takes.
 */
static void let_in_among_slabs_of(struct secpool *whole, size_t size)
{
	static struct secbuf b[MAX / 256];
	const size_t sizes[] = { 256, 1024, SECPOOL_SMALL };
	struct secpool *pool, *part[8];
	size_t n = 0, before, taken = 0;

	ASSERT_OK(secpool_new_below(whole, &pool));
	for (size_t i = 0; i < ARRAY_SIZE(part); i++)
		ASSERT_OK(secpool_part(pool, &part[i]));
	do {
		before = n;
		for (size_t i = 0; i < ARRAY_SIZE(part); i++)
			if (secpool_lets_in(part[i], size) &&
			    secpool_get(part[i], size, &b[n]) == 0)
				n++;
	} while (n > before);
	/* Two of eight stay, and no slab is given up. */
	for (size_t i = 0; i < n; i++)
		if (i % 8 > 1)
			secbuf_release(&b[i]);
	for (size_t i = 0; i < n; i++) {
		struct secpool *of = part[i % ARRAY_SIZE(part)];

		if (b[i].data || !secpool_lets_in(of, SECPOOL_SMALL))
			continue;
		EXPECT_OK(secpool_get(of, sizes[taken++ % ARRAY_SIZE(sizes)], &b[i]));
	}
	EXPECT_LT(16, taken);
	for (size_t i = 0; i < n; i++)
		secbuf_release(&b[i]);
	for (size_t i = 0; i < ARRAY_SIZE(part); i++)
		secpool_let_go(part[i]);
	secpool_free(pool);
}

TEST_F(pool, let_in_among_slabs_of_another_size)
{
	let_in_among_slabs_of(self->pool, 256);
	let_in_among_slabs_of(self->pool, 1024);
	let_in_among_slabs_of(self->pool, SECPOOL_SMALL);
}

/* A part holds no more than it leaves, and is gone with its last buffer. */
TEST_F(pool, parts)
{
	static struct secbuf b[MAX / 1024];
	struct secpool *part, *other;
	struct secbuf one = { 0 };
	size_t n = 0;

	ASSERT_OK(secpool_part(self->pool, &part));
	ASSERT_OK(secpool_part(self->pool, &other));
	while (n < MAX / 1024 && secpool_lets_in(part, 1024) && secpool_get(part, 1024, &b[n]) == 0)
		n++;
	EXPECT_GE(MAX / 2, n * 1024);
	EXPECT_LE(MAX / 4, n * 1024);
	EXPECT_EQ(n * 1024, secpool_used(self->pool));
	EXPECT_TRUE(secpool_lets_in(other, 4096));
	EXPECT_OK(secpool_get(other, 4096, &one));
	/* What goes on has small buffers all the same, and no large ones. */
	EXPECT_OK(secpool_get(part, 1024, &b[n]));
	n++;
	EXPECT_ERR(-ENOBUFS, secpool_get(part, MAX / 4, &b[n]));
	secbuf_release(&one);
	secpool_let_go(other);
	secpool_let_go(part);
	while (n > 0)
		secbuf_release(&b[--n]);
}

/* The next that needs about as much gets it, with nothing of the one before in it. */
TEST_F(pool, a_large_buffer_is_kept)
{
	struct secbuf a = { 0 };
	const uint8_t *was;

	ASSERT_OK(secpool_get(self->pool, LARGE, &a));
	was = a.data;
	memset(a.data, 0xee, a.cap);
	secbuf_release(&a);
	EXPECT_EQ(0, secpool_used(self->pool));
	ASSERT_OK(secpool_get(self->pool, LARGE + 4096, &a));
	EXPECT_TRUE(a.data == was);
	EXPECT_TRUE(is_zero(a.data, a.cap));
	expect_guarded(a.data, a.cap);
	secbuf_release(&a);
}

/* What others keep and do not use is room: for one buffer, and for a part of a pool. */
TEST_F(pool, kept_by_others)
{
	static struct secbuf b[MAX / 1024];
	struct secpool *others[8], *part, *pool;
	size_t fresh, n;

	ASSERT_OK(secpool_new_below(self->pool, &pool));
	ASSERT_OK(secpool_part(pool, &part));
	for (fresh = 0; secpool_get(part, 1024, &b[fresh]) == 0;)
		fresh++;
	for (n = fresh; n > 0;)
		secbuf_release(&b[--n]);
	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		ASSERT_OK(secpool_new_below(self->pool, &others[i]));
		ASSERT_OK(secpool_get(others[i], LARGE, &b[0]));
		secbuf_release(&b[0]);
	}
	while (n < ARRAY_SIZE(b) && secpool_get(part, 1024, &b[n]) == 0)
		n++;
	EXPECT_EQ(fresh, n);
	while (n > 0)
		secbuf_release(&b[--n]);
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		secpool_free(others[i]);
	secpool_let_go(part);
	secpool_free(pool);
}

/* Larger ones are unmapped when they are given back, so that their share is free for anything. */
TEST_F(pool, large_buffers)
{
	struct secbuf a = { 0 }, b = { 0 };

	ASSERT_OK(secpool_get(self->pool, MAX / 2, &a));
	ASSERT_OK(secpool_get(self->pool, MAX / 2, &b));
	memset(a.data, 1, a.cap);
	EXPECT_ERR(-ENOBUFS, secpool_get(self->pool, 1, &(struct secbuf){ 0 }));
	secbuf_release(&a);
	EXPECT_ERR(-ENOBUFS, secpool_get(self->pool, MAX / 2 + 1, &a));
	EXPECT_NULL(a.data);
	ASSERT_OK(secpool_get(self->pool, MAX / 2, &a));
	EXPECT_TRUE(is_zero(a.data, a.cap));
	secbuf_release(&a);
	secbuf_release(&b);
	EXPECT_ERR(-ENOBUFS, secpool_get(self->pool, MAX + 1, &a));
	EXPECT_ERR(-ENOBUFS, secpool_get(self->pool, SIZE_MAX, &a));
	EXPECT_NULL(a.data);
}

TEST_F(pool, growing_keeps_the_content)
{
	static const size_t steps[] = { 1, 1023, 1, 3071, 1, 80000, 20000 };
	struct secbuf b = { 0 };
	uint8_t piece[80000];
	size_t len = 0;

	ASSERT_OK(secpool_get(self->pool, 1, &b));
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		memset(piece, (int)(i + 1), steps[i]);
		ASSERT_OK(secbuf_append(&b, piece, steps[i]));
		len += steps[i];
		ASSERT_EQ(len, b.len);
		EXPECT_LE(b.len, b.cap);
		EXPECT_EQ(b.cap, secpool_used(self->pool));
	}
	for (size_t i = 0, at = 0; i < sizeof(steps) / sizeof(steps[0]); at += steps[i++])
		for (size_t j = 0; j < steps[i]; j++)
			ASSERT_EQ(i + 1, b.data[at + j]);
	secbuf_release(&b);
}

/* The old place is wiped when the content moves to a larger one. */
TEST_F(pool, growing_wipes_the_old_place)
{
	struct secbuf b = { 0 };
	uint8_t *old;

	ASSERT_OK(secpool_get(self->pool, 1024, &b));
	old = b.data;
	memset(b.data, 0xee, 1024);
	b.len = 1024;
	ASSERT_OK(secbuf_reserve(&b, 1025));
	EXPECT_NE(old, b.data);
	EXPECT_TRUE(is_zero(old + sizeof(void *), 1024 - sizeof(void *)));
	secbuf_release(&b);
}

TEST_F(pool, reserve_what_is_there)
{
	struct secbuf b = { 0 };
	uint8_t *data;

	ASSERT_OK(secpool_get(self->pool, 1000, &b));
	data = b.data;
	EXPECT_OK(secbuf_reserve(&b, 0));
	EXPECT_OK(secbuf_reserve(&b, 1024));
	EXPECT_OK(secbuf_append(&b, NULL, 0));
	EXPECT_EQ(data, b.data);
	secbuf_release(&b);
}

TEST_F(pool, refused_growth_changes_nothing)
{
	struct secbuf b = { 0 }, rest = { 0 };
	uint8_t *data;

	ASSERT_OK(secpool_get(self->pool, 1024, &b));
	ASSERT_OK(secbuf_append(&b, "content", 7));
	data = b.data;
	ASSERT_OK(secpool_get(self->pool, MAX - 256 * 1024, &rest));
	EXPECT_ERR(-ENOBUFS, secbuf_reserve(&b, MAX));
	EXPECT_ERR(-ENOBUFS, secbuf_append(&b, rest.data, rest.cap));
	EXPECT_ERR(-ENOBUFS, secbuf_append(&b, rest.data, SIZE_MAX));
	EXPECT_ERR(-ENOBUFS, secbuf_append(&b, rest.data, SIZE_MAX / 2));
	EXPECT_EQ(data, b.data);
	EXPECT_EQ(1024, b.cap);
	EXPECT_MEMEQ("content", 7, b.data, b.len);
	secbuf_release(&b);
	secbuf_release(&rest);
}

TEST_F(pool, move)
{
	struct secbuf a = { 0 }, b;

	ASSERT_OK(secpool_get(self->pool, 1, &a));
	b = secbuf_move(&a);
	EXPECT_NULL(a.data);
	EXPECT_NOT_NULL(b.data);
	secbuf_release(&a);
	EXPECT_EQ(b.cap, secpool_used(self->pool));
	secbuf_release(&b);
}

TEST_HARNESS_MAIN
