/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The second names that the store itself gives the keyset, and that stay when the disk lets a write not
 * end: with them the keyset can be read. Any other second name is refused.
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/keys/store.h"
#include "tests/unit/scratch.h"

#define TEXT     "a keyset"
#define PREV_TMP KEY_STORE_PREV ".tmp"

FIXTURE(links)
{
	struct scratch dir;
	struct key_store *store;
};

FIXTURE_SETUP(links)
{
	scratch_make(&self->dir);
	ASSERT_OK(key_store_open(self->dir.path, &self->store));
	ASSERT_OK(key_store_write(self->store, KEY_STORE_KEYSET, TEXT, strlen(TEXT)));
}

FIXTURE_TEARDOWN(links)
{
	key_store_close(self->store);
	scratch_remove(&self->dir);
}

static void give_name(struct ktest_data_of_links *self, const char *name)
{
	ASSERT_EQ(0,
		  link(scratch_path(&self->dir, KEY_STORE_KEYSET), scratch_path(&self->dir, name)));
}

static int read_file(struct ktest_data_of_links *self, const char *file)
{
	char *text;
	size_t len;
	int r = key_store_read(self->store, file, 64, &text, &len);

	if (r < 0)
		return r;
	EXPECT_MEMEQ(TEXT, strlen(TEXT), text, len);
	free(text);
	return 0;
}

TEST_F(links, those_of_a_write_are_fine)
{
	give_name(self, PREV_TMP);
	EXPECT_OK(read_file(self, KEY_STORE_KEYSET));
	give_name(self, KEY_STORE_PREV);
	EXPECT_OK(read_file(self, KEY_STORE_KEYSET));
	EXPECT_OK(read_file(self, KEY_STORE_PREV));
}

TEST_F(links, others_are_refused)
{
	give_name(self, "other");
	EXPECT_ERR(-EPERM, read_file(self, KEY_STORE_KEYSET));
	give_name(self, PREV_TMP);
	EXPECT_ERR(-EPERM, read_file(self, KEY_STORE_KEYSET));
}

TEST_F(links, the_next_write_takes_them_away)
{
	give_name(self, PREV_TMP);
	ASSERT_OK(key_store_write(self->store, KEY_STORE_KEYSET, TEXT, strlen(TEXT)));
	EXPECT_FALSE(scratch_has(&self->dir, PREV_TMP));
	EXPECT_OK(read_file(self, KEY_STORE_KEYSET));
	EXPECT_OK(read_file(self, KEY_STORE_PREV));
}

/* What cannot be removed is the reason, and not that it exists. */
TEST_F(links, a_leftover_that_stays_is_the_reason)
{
	ASSERT_EQ(0, mkdir(scratch_path(&self->dir, KEY_STORE_KEYSET ".tmp"), 0700));
	EXPECT_ERR(-EISDIR, key_store_write(self->store, KEY_STORE_KEYSET, TEXT, strlen(TEXT)));
}

TEST_HARNESS_MAIN
