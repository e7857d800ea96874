/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pages of other sizes than this kernel's: page_size() is replaced (--wrap), and what is locked is asked of the
 * kernel. A kernel with large pages locks whole ones whatever it is asked for; memory that is counted by less
 * would pass RLIMIT_MEMLOCK sooner than the pool's bound.
 */
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/base/cleanup.h"
#include "daemon/base/page.h"
#include "daemon/base/secmem.h"
#include "tests/harness/ktest.h"

#define MAX ((size_t)1 << 20)

/* AddressSanitizer replaces mlock(2) by nothing. */
#ifdef __SANITIZE_ADDRESS__
#define MLOCK_IS_A_DUMMY true
#else
#define MLOCK_IS_A_DUMMY false
#endif

static size_t pretended;

/* NOLINTBEGIN: names that the linker makes */
size_t __real_page_size(void);
size_t __wrap_page_size(void);

size_t __wrap_page_size(void)
{
	return pretended ?: __real_page_size();
}
/* NOLINTEND */

FIXTURE(page)
{
	size_t locked; /* before the test */
};

FIXTURE_VARIANT(page)
{
	size_t size;
};

FIXTURE_VARIANT_ADD(page, real){ 0 };
FIXTURE_VARIANT_ADD(page, of_16k){ 16 * 1024 };
FIXTURE_VARIANT_ADD(page, of_64k){ 64 * 1024 };

/* Bytes that this process has locked. */
static size_t locked_now(void)
{
	FILE *f = fopen("/proc/self/status", "re");
	unsigned long kb = 0;
	char line[256];

	ASSERT_NOT_NULL(f);
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "VmLck: %lu kB", &kb) == 1)
			break;
	fclose(f);
	return (size_t)kb * 1024;
}

FIXTURE_SETUP(page)
{
	SKIP_UNLESS("mlock", !MLOCK_IS_A_DUMMY, "AddressSanitizer locks nothing");
	pretended = variant->size;
	self->locked = locked_now();
}

FIXTURE_TEARDOWN(page)
{
}

/* What getconf(1) and the kernel's other interfaces say. */
TEST(is_the_kernels)
{
	EXPECT_EQ((size_t)sysconf(_SC_PAGESIZE), page_size());
}

TEST_F(page, rounded)
{
	size_t page = page_size();

	EXPECT_EQ(0, page_round(0));
	EXPECT_EQ(page, page_round(1));
	EXPECT_EQ(page, page_round(page));
	EXPECT_EQ(2 * page, page_round(page + 1));
}

/* Every byte of the last page is there, and given back. */
TEST_F(page, alloc)
{
	static const size_t sizes[] = { 1, 4095, 4096, 4097, 65536, 65537 };

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		size_t whole = page_round(sizes[i]);
		uint8_t *p = secmem_alloc(sizes[i]);

		ASSERT_NOT_NULL(p);
		EXPECT_EQ(self->locked + whole, locked_now());
		memset(p, 1, whole);
		secmem_free(p, sizes[i]);
		EXPECT_EQ(self->locked, locked_now());
	}
}

TEST_F(page, shared)
{
	size_t whole = page_round(1);
	_cleanup_close_ int fd = -1;
	uint8_t *a, *b;

	ASSERT_OK(secmem_share(1, &fd));
	a = secmem_map(fd, 1);
	b = secmem_map(fd, 1);
	ASSERT_NOT_NULL(a);
	ASSERT_NOT_NULL(b);
	memset(a, 7, whole);
	EXPECT_EQ(7, b[whole - 1]);
	secmem_free(a, 1);
	secmem_free(b, 1);
	EXPECT_EQ(self->locked, locked_now());
}

/* A pool takes whole pages for small buffers and for large ones, and no more than its bound. */
TEST_F(page, pool)
{
	static const size_t sizes[] = { 1, 257, 1025, 4097, 16385, 81921, 98305, 300000, 1000 };
	struct secbuf b[ARRAY_SIZE(sizes)] = { 0 };
	size_t last = self->locked;
	struct secpool *pool;

	ASSERT_OK(secpool_new(2 * MAX, &pool));
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		size_t now;

		ASSERT_OK(secpool_get(pool, sizes[i], &b[i]));
		ASSERT_LE(sizes[i], b[i].cap);
		memset(b[i].data, 1, b[i].cap);
		now = locked_now();
		EXPECT_EQ(0, (now - last) % page_size());
		last = now;
	}
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
		secbuf_release(&b[i]);
	secpool_free(pool);
	EXPECT_EQ(self->locked, locked_now());
}

/* What is counted is what is locked, of small buffers and of large ones. */
TEST_F(page, bound)
{
	static const size_t sizes[] = { 4096, 81921, 98305, 300000 };
	struct secbuf b[1024] = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct secpool *pool;
		size_t n = 0;

		ASSERT_OK(secpool_new(MAX, &pool));
		while (n < ARRAY_SIZE(b) && secpool_get(pool, sizes[i], &b[n]) == 0)
			n++;
		EXPECT_LE(1, n);
		EXPECT_GE(self->locked + MAX, locked_now());
		while (n > 0)
			secbuf_release(&b[--n]);
		secpool_free(pool);
	}
}

TEST_HARNESS_MAIN
