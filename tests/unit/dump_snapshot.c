/* SPDX-License-Identifier: Apache-2.0 */
/*
 * etcd's database, one that etcd 3.4 has written (tests/data/dump): what it holds, in one walk and in
 * several, and after damage of every kind. The same keys are in the JSON beside it.
 */
#include "tests/harness/ktest.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "daemon/dump/bolt.h"
#include "daemon/dump/etcdjson.h"
#include "daemon/dump/seen.h"
#include "daemon/dump/snapshot.h"
#include "tests/support/dump_bed.h"

#define DATA      VECTORS_DIR "/../data/dump/"
#define PAGE      4096U
#define HASH      32U
#define BYTES_MAX (64 * 1024)

static const char expected[] = "/registry/configmaps/kube-system/cm=c;"
			       "/registry/secrets/default/large=[6000];"
			       "/registry/secrets/default/back=again;"
			       "/registry/secrets/default/one=new;";

FIXTURE(snapshot)
{
	uint8_t bytes[BYTES_MAX];
	size_t len;
	int fd; /* a copy of the bytes */
	struct dump_bed b;
};

FIXTURE_SETUP(snapshot)
{
	int fd = open(DATA "etcd-3.4.db", O_RDONLY | O_CLOEXEC);
	ssize_t n = read(fd, self->bytes, sizeof(self->bytes));

	ASSERT_GT(n, (ssize_t)HASH);
	close(fd);
	self->len = (size_t)n;
	self->fd = memfd_create("snapshot", MFD_CLOEXEC);
	ASSERT_EQ(n, write(self->fd, self->bytes, self->len));
}

FIXTURE_TEARDOWN(snapshot)
{
	close(self->fd);
}

static int read_fd(struct dump_bed *b, int fd, size_t seen_max)
{
	*b = (struct dump_bed){ 0 };
	return snapshot_read(fd, seen_max, NULL, dump_bed_each, b, &b->info, &b->err);
}

TEST_F(snapshot, newest_of_each_key)
{
	ASSERT_OK(read_fd(&self->b, self->fd, 1000));
	EXPECT_STREQ(expected, self->b.text);
	EXPECT_EQ(4U, self->b.info.values);
	EXPECT_EQ(10U, self->b.info.revision);
	EXPECT_TRUE(self->b.info.whole);
	EXPECT_TRUE(self->b.info.hashed);
	EXPECT_EQ(self->b.info.total, self->b.info.done);
	EXPECT_EQ(self->b.info.total - 4, self->b.past + 2); /* and two deletions */
}

/* With little memory the keys come in shares; which, is chance. */
TEST_F(snapshot, several_walks)
{
	/* With less than there are keys one share might not fit. */
	for (size_t max = 6; max <= 9; max++) {
		ASSERT_OK(read_fd(&self->b, self->fd, max));
		EXPECT_EQ(4U, self->b.n);
		EXPECT_EQ(strlen(expected), self->b.len);
		EXPECT_NOT_NULL(strstr(self->b.text, "/registry/secrets/default/back=again;"));
	}
}

TEST_F(snapshot, the_same_as_etcdctl)
{
	_cleanup_(etcdjson_freep) struct etcdjson *j = NULL;
	_cleanup_fclose_ FILE *f = fopen(DATA "etcd-3.4.json", "re");
	static char text[BYTES_MAX];
	struct dump_bed json = { 0 };

	ASSERT_OK(read_fd(&self->b, self->fd, 1000));
	ASSERT_OK(etcdjson_new(dump_bed_each, &json, &json.info, &json.err, &j));
	ASSERT_OK(etcdjson_feed(j, span_of(text, fread(text, 1, sizeof(text), f))));
	ASSERT_OK(etcdjson_end(j));
	EXPECT_EQ(json.n, self->b.n);
	EXPECT_EQ(json.bytes, self->b.bytes);
	EXPECT_EQ(json.info.revision, self->b.info.revision);
}

TEST_F(snapshot, without_its_hash)
{
	ASSERT_EQ(0, ftruncate(self->fd, (off_t)(self->len - HASH)));
	ASSERT_OK(read_fd(&self->b, self->fd, 1000));
	EXPECT_STREQ(expected, self->b.text);
	EXPECT_FALSE(self->b.info.hashed);
	EXPECT_FALSE(self->b.info.whole);
}

TEST_F(snapshot, is_told_from_json)
{
	EXPECT_TRUE(snapshot_is(span_of(self->bytes, SNAPSHOT_HEAD)));
	EXPECT_FALSE(snapshot_is(span_of(self->bytes, SNAPSHOT_HEAD - 1)));
	EXPECT_FALSE(snapshot_is(span_str("{\"header\":{\"cluster_id\":1}")));
}

TEST_F(snapshot, the_hash_shows_every_flip)
{
	for (size_t i = 0; i < self->len; i += 97) {
		uint8_t flipped = self->bytes[i] ^ 0x10;

		ASSERT_EQ(1, pwrite(self->fd, &flipped, 1, (off_t)i));
		EXPECT_ERR(-EBADMSG, read_fd(&self->b, self->fd, 1000));
		ASSERT_EQ(1, pwrite(self->fd, &self->bytes[i], 1, (off_t)i));
	}
}

static bool is_refusal(int r)
{
	return r == -EBADMSG || r == -EMSGSIZE || r == -EFBIG;
}

/* Nothing but a refusal, or what the changed byte is the content of. */
static void flip(struct ktest_data_of_snapshot *self, size_t at, uint8_t bits)
{
	uint8_t flipped = self->bytes[at] ^ bits;
	int r;

	ASSERT_EQ(1, pwrite(self->fd, &flipped, 1, (off_t)at));
	r = read_fd(&self->b, self->fd, 1000);
	if (!EXPECT_TRUE(r == 0 || is_refusal(r)))
		ktest_log("byte %zu: %d", at, r);
	ASSERT_EQ(1, pwrite(self->fd, &self->bytes[at], 1, (off_t)at));
}

TEST_F_TIMEOUT(snapshot, every_byte_flipped, 120)
{
	ASSERT_EQ(0, ftruncate(self->fd, (off_t)(self->len - HASH)));
	for (size_t i = 0; i < self->len - HASH; i++) {
		flip(self, i, i % 2 ? 0xff : 0x01);
	}
	ASSERT_OK(read_fd(&self->b, self->fd, 1000));
	EXPECT_STREQ(expected, self->b.text);
}

TEST_F_TIMEOUT(snapshot, cut_everywhere, 120)
{
	for (size_t n = self->len - 1; n > 0; n -= n > 64 ? 31 : 1) {
		ASSERT_EQ(0, ftruncate(self->fd, (off_t)n));
		if (n == self->len - HASH)
			continue;
		EXPECT_TRUE(is_refusal(read_fd(&self->b, self->fd, 1000)));
	}
}

/* Where what is in this file; a test fails if it is another file. */
static uint16_t flags_of(const struct ktest_data_of_snapshot *self, size_t page)
{
	uint16_t flags;

	memcpy(&flags, self->bytes + page * PAGE + 8, sizeof(flags));
	return flags;
}

/* The page that the first element of the file's only branch page names. */
static void point_branch_at(struct ktest_data_of_snapshot *self, uint64_t page)
{
	size_t branch = 2;

	while (branch < 8 && flags_of(self, branch) != 1)
		branch++;
	ASSERT_LT(branch, 8);
	ASSERT_EQ(0, ftruncate(self->fd, (off_t)(self->len - HASH)));
	ASSERT_EQ(8, pwrite(self->fd, &page, 8, (off_t)(branch * PAGE + 16 + 8)));
}

#define STRAYED \
	"the way to some pages: what is in them was opened and may be older than what was lost"

struct losses {
	size_t n;
	char last[256];
};

static void lost(void *ctx, const char *what)
{
	struct losses *l = ctx;

	l->n++;
	snprintf(l->last, sizeof(l->last), "%s", what);
}

static int salvage(struct dump_bed *b, int fd, size_t seen_max, struct losses *l)
{
	const struct dump_salvage salvage = { lost, l };

	*b = (struct dump_bed){ 0 };
	*l = (struct losses){ 0 };
	return snapshot_read(fd, seen_max, &salvage, dump_bed_each, b, &b->info, &b->err);
}

/* What is sound is read as ever; what is not costs no more than what it is in, and is told once. */
TEST_F(snapshot, salvage)
{
	static const uint8_t zero[16];
	struct losses l;

	ASSERT_OK(salvage(&self->b, self->fd, 1000, &l));
	EXPECT_STREQ(expected, self->b.text);
	EXPECT_EQ(0U, l.n);
	EXPECT_TRUE(self->b.info.whole);
	/* The hash. */
	ASSERT_EQ(1, pwrite(self->fd, zero, 1, (off_t)(self->len - 1)));
	ASSERT_OK(salvage(&self->b, self->fd, 1000, &l));
	EXPECT_STREQ(expected, self->b.text);
	EXPECT_EQ(1U, l.n);
	EXPECT_FALSE(self->b.info.whole);
	/* A page that the branch names is not there: in several walks it is told once, too, and the page that was meant is found. */
	point_branch_at(self, 1000);
	for (size_t max = 1000; max >= 6; max = max > 6 ? 6 : 0) {
		ASSERT_OK(salvage(&self->b, self->fd, max, &l));
		EXPECT_EQ(4U, self->b.n);
		EXPECT_EQ(strlen(expected), self->b.len);
		EXPECT_EQ(2U, l.n);
		EXPECT_STREQ(STRAYED, l.last);
	}
}

/* Whatever page is gone, what is in the others is found, if need be without any tree. */
TEST_F(snapshot, salvage_without_a_page)
{
	static const uint8_t zero[PAGE];
	struct losses l;
	size_t leaves = 0;
	uint64_t id;

	ASSERT_EQ(0, ftruncate(self->fd, (off_t)(self->len - HASH)));
	for (size_t i = 0; i < (self->len - HASH) / PAGE; i++) {
		ASSERT_EQ(PAGE, pwrite(self->fd, zero, PAGE, (off_t)(i * PAGE)));
		ASSERT_OK(salvage(&self->b, self->fd, 1000, &l));
		memcpy(&id, self->bytes + i * PAGE, sizeof(id));
		if (flags_of(self, i) == 2)
			leaves++;
		else if (id == i) /* and not what a leaf runs over into */
			EXPECT_EQ(4U, self->b.n);
		EXPECT_GE(self->b.n, 1U);
		ASSERT_EQ(PAGE, pwrite(self->fd, self->bytes + i * PAGE, PAGE, (off_t)(i * PAGE)));
	}
	EXPECT_GE(leaves, 2U);
	for (size_t i = 0; i < 2; i++)
		ASSERT_EQ(PAGE, pwrite(self->fd, zero, PAGE, (off_t)(i * PAGE)));
	EXPECT_TRUE(bolt_is_torn(self->fd));
	ASSERT_OK(salvage(&self->b, self->fd, 1000, &l));
	EXPECT_EQ(4U, self->b.n);
	EXPECT_EQ(strlen(expected), self->b.len);
	EXPECT_ERR(-EBADMSG, read_fd(&self->b, self->fd, 1000));
}

/* Nothing in a file makes salvage end early; nor does it find what was not there. */
TEST_F_TIMEOUT(snapshot, salvage_after_any_flip, 120)
{
	struct losses l;

	ASSERT_EQ(0, ftruncate(self->fd, (off_t)(self->len - HASH)));
	for (size_t i = 2 * PAGE; i < self->len - HASH; i += 3) {
		uint8_t flipped = self->bytes[i] ^ 0x41;

		ASSERT_EQ(1, pwrite(self->fd, &flipped, 1, (off_t)i));
		if (salvage(&self->b, self->fd, 1000, &l) < 0)
			EXPECT_STREQ("not a database of etcd: it has no bucket \"key\"",
				     self->b.err.text);
		ASSERT_EQ(1, pwrite(self->fd, &self->bytes[i], 1, (off_t)i));
	}
	for (size_t n = self->len - HASH - 1; n > 2 * PAGE; n -= 61) {
		ASSERT_EQ(0, ftruncate(self->fd, (off_t)n));
		EXPECT_TRUE(salvage(&self->b, self->fd, 1000, &l) <= 0);
	}
}

TEST_F(snapshot, pages_that_cannot_be)
{
	static const uint64_t pages[] = { 0, 1, 2, 4, 7, 8, 1000, UINT64_MAX, UINT64_MAX / PAGE };

	for (size_t i = 0; i < sizeof(pages) / sizeof(pages[0]); i++) {
		point_branch_at(self, pages[i]);
		EXPECT_ERR(-EBADMSG, read_fd(&self->b, self->fd, 1000));
	}
}

/* Two ways to one page without keys, over which order says nothing: of many such a walk has no end. */
TEST_F(snapshot, a_page_is_used_once)
{
	static const uint8_t no_elements[2];
	uint64_t leaf;

	point_branch_at(self, 5);
	ASSERT_EQ(2, flags_of(self, 5));
	leaf = 5;
	ASSERT_EQ(8, pwrite(self->fd, &leaf, 8, 4 * PAGE + 16 + 16 + 8));
	ASSERT_EQ(2, pwrite(self->fd, no_elements, 2, 5 * PAGE + 10));
	EXPECT_ERR(-EBADMSG, read_fd(&self->b, self->fd, 1000));
	EXPECT_STREQ("damaged database: a page is used twice", self->b.err.text);
}

/* What comes last is taken for the newest: a tree in another order must not be believed. */
TEST_F(snapshot, order_is_checked)
{
	uint64_t first, second;

	memcpy(&first, self->bytes + 4 * PAGE + 16 + 8, sizeof(first));
	memcpy(&second, self->bytes + 4 * PAGE + 16 + 16 + 8, sizeof(second));
	point_branch_at(self, second);
	ASSERT_EQ(8, pwrite(self->fd, &first, 8, 4 * PAGE + 16 + 16 + 8));
	EXPECT_ERR(-EBADMSG, read_fd(&self->b, self->fd, 1000));
	EXPECT_STREQ("damaged database: keys are out of order", self->b.err.text);
}

/* One meta page may be broken: the other one, older by a transaction, still has a whole tree. */
TEST_F(snapshot, one_good_meta_page_is_enough)
{
	static const uint8_t zero[80];

	ASSERT_EQ(0, ftruncate(self->fd, (off_t)(self->len - HASH)));
	ASSERT_EQ(80, pwrite(self->fd, zero, 80, 0));
	ASSERT_OK(read_fd(&self->b, self->fd, 1000));
	EXPECT_STREQ(expected, self->b.text);
	ASSERT_EQ(80, pwrite(self->fd, zero, 80, PAGE));
	EXPECT_ERR(-EBADMSG, read_fd(&self->b, self->fd, 1000));
	ASSERT_EQ(80, pwrite(self->fd, self->bytes, 80, 0));
	ASSERT_OK(read_fd(&self->b, self->fd, 1000));
}

TEST_F(snapshot, each_ends_it)
{
	self->b = (struct dump_bed){ .answer = -ECANCELED };
	EXPECT_ERR(-ECANCELED, snapshot_read(self->fd, 1000, NULL, dump_bed_each, &self->b,
					     &self->b.info, &self->b.err));
	EXPECT_EQ(1U, self->b.n);
	EXPECT_FALSE(self->b.info.whole);
}

TEST(seen_remembers)
{
	_cleanup_(seen_freep) struct seen *s = NULL;
	bool is_new = false;

	ASSERT_OK(seen_new(3, &s));
	for (int round = 0; round < 2; round++) {
		ASSERT_OK(seen_add(s, span_str("a"), &is_new));
		EXPECT_TRUE(is_new);
		ASSERT_OK(seen_add(s, span_str("a"), &is_new));
		EXPECT_FALSE(is_new);
		ASSERT_OK(seen_add(s, span_str("b"), &is_new));
		ASSERT_OK(seen_add(s, SPAN_NULL, &is_new));
		EXPECT_TRUE(is_new);
		EXPECT_ERR(-ENOBUFS, seen_add(s, span_str("d"), &is_new));
		ASSERT_OK(seen_add(s, span_str("b"), &is_new));
		EXPECT_FALSE(is_new);
		seen_clear(s);
	}
	EXPECT_EQ(seen_part(s, span_str("a"), 7), seen_part(s, span_str("a"), 7));
}

TEST_HARNESS_MAIN
