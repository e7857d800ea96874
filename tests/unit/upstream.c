/* SPDX-License-Identifier: Apache-2.0 */
/* Calls to a plugin that does not answer: how many may be open. tests/e2e/upstream has those that do. */
#include <errno.h>

#include "daemon/kms/upstream.h"
#include "tests/harness/ktest.h"

FIXTURE(upstream)
{
	struct ring *ring;
	struct secpool *pool;
	struct upstreams *all;
	struct upstream *plugin;
	struct upstream_call *calls[UPSTREAM_CALLS];
	size_t n;
};

typedef struct ktest_data_of_upstream fix;

/* The connection that is asked for never comes. */
static int no_connection(void *ctx _unused_, uint32_t id _unused_, const char *path _unused_)
{
	return 0;
}

FIXTURE_SETUP(upstream)
{
	struct upstream_source *source;

	ASSERT_OK(ring_new(RING_EPOLL, 8, &self->ring));
	ASSERT_OK(secpool_new(8U << 20, &self->pool));
	ASSERT_OK(upstreams_new(self->ring, self->pool, no_connection, NULL, &self->all));
	source = upstreams_source(self->all);
	ASSERT_OK(source->open(source, "/nowhere", 2, &self->plugin));
}

FIXTURE_TEARDOWN(upstream)
{
	while (self->n > 0)
		self->plugin->ops->cancel(self->calls[--self->n]);
	self->plugin->ops->free(self->plugin);
	upstreams_free(self->all);
	secpool_free(self->pool);
	ring_free(self->ring);
}

static void never(void *ctx _unused_, int r _unused_, const char *text _unused_,
		  const struct upstream_answer *answer _unused_)
{
	EXPECT_TRUE(false);
}

static int call(fix *f, enum upstream_method method)
{
	struct upstream_request req = { .method = method, .data = span_str("data") };
	int r = f->plugin->ops->call(f->plugin, &req, never, NULL, &f->calls[f->n]);

	f->n += r == 0;
	return r;
}

/* Values that somebody wants opened do not keep kekd from asking how the plugin is. */
TEST_F(upstream, decrypts_leave_room_for_status)
{
	while (self->n < UPSTREAM_DECRYPTS)
		ASSERT_OK(call(self, UPSTREAM_DECRYPT));
	EXPECT_ERR(-ENOBUFS, call(self, UPSTREAM_DECRYPT));
	EXPECT_OK(call(self, UPSTREAM_STATUS));
	EXPECT_OK(call(self, UPSTREAM_ENCRYPT));
	for (size_t i = 0; i < 3; i++)
		self->plugin->ops->cancel(self->calls[--self->n]);
	EXPECT_OK(call(self, UPSTREAM_DECRYPT));
	EXPECT_ERR(-ENOBUFS, call(self, UPSTREAM_DECRYPT));
}

TEST_HARNESS_MAIN
