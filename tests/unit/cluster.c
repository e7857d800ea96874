/* SPDX-License-Identifier: Apache-2.0 */
/* What is said to etcd and read of it, what its refusals mean, and the link between the keeper and kekd-cluster. */
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#include "daemon/base/io.h"
#include "daemon/cluster/carrier.h"
#include "daemon/cluster/etcd.h"
#include "daemon/cluster/page.h"
#include "daemon/cluster/words.h"
#include "daemon/ctl/etcdread.h"
#include "tests/harness/ktest.h"

/* --- etcd's messages --------------------------------------------------------------------------- */

/* The bytes by hand: field numbers and wire types of etcd's own text. */
TEST(range_request)
{
	static const uint8_t want[] = { 0,   0,    0, 0,   11,  0x0a, 3,    '/',  'k',
					'/', 0x12, 3, '/', 'k', '0',  0x18, 0x80, 4 };
	_cleanup_free_ uint8_t *got = NULL;
	size_t len;

	ASSERT_OK(etcd_range_encode("/k/", &got, &len));
	ASSERT_EQ(sizeof(want), len);
	EXPECT_EQ(len - 5, got[4]);
	EXPECT_MEMEQ(want + 5, len - 5, got + 5, len - 5);
}

TEST(txn_request)
{
	static const uint8_t want[] = { /* compare: target MOD, key, mod_revision 7 */
					0x0a, 7, 0x10, 2, 0x1a, 1, 'a', 0x30, 7,
					/* success: request_put {key, value} */
					0x12, 8, 0x12, 6, 0x0a, 1, 'a', 0x12, 1, 'v',
					/* failure: request_range {key} */
					0x1a, 5, 0x0a, 3, 0x0a, 1, 'a'
	};
	_cleanup_free_ uint8_t *got = NULL;
	size_t len;

	ASSERT_OK(etcd_txn_encode("a", 7, span_str("v"), &got, &len));
	ASSERT_EQ(5 + sizeof(want), len);
	EXPECT_EQ(sizeof(want), got[4]);
	EXPECT_MEMEQ(want, sizeof(want), got + 5, sizeof(want));
}

/* A key that is not there has mod_revision 0, which has to be sent: it is one of a oneof. */
TEST(txn_request_of_a_new_key)
{
	static const uint8_t want[] = { 0x0a, 7, 0x10, 2, 0x1a, 1, 'a', 0x30, 0 };
	_cleanup_free_ uint8_t *got = NULL;
	size_t len;

	ASSERT_OK(etcd_txn_encode("a", 0, span_str("v"), &got, &len));
	EXPECT_MEMEQ(want, sizeof(want), got + 5, sizeof(want));
}

struct seen {
	struct etcd_kv kv[4];
	size_t n;
	int r;
};

static int see(void *ctx, const struct etcd_kv *kv)
{
	struct seen *s = ctx;

	if (s->r == 0 && s->n < ARRAY_SIZE(s->kv))
		s->kv[s->n++] = *kv;
	return s->r;
}

/* header {cluster_id 1, member_id 2, revision 9}, kvs {key a, create 3, mod 5, version 1, value v}, count 1 */
static const uint8_t range_answer[] = { 0,    0,    0,    0,    23,   0x0a, 6,   0x08, 1,    0x10,
					2,    0x18, 9,    0x12, 12,   0x0a, 1,   'a',  0x10, 3,
					0x18, 5,    0x20, 1,    0x2a, 1,    'v', 0x20 };

static size_t frame(const uint8_t *message, size_t len, uint8_t *ret)
{
	memset(ret, 0, 5);
	ret[4] = (uint8_t)len;
	memcpy(ret + 5, message, len);
	return len + 5;
}

TEST(range_answer)
{
	uint8_t body[64];
	size_t len = frame(range_answer + 5, sizeof(range_answer) - 6, body);
	struct etcd_answer answer;
	struct seen s = { 0 };

	ASSERT_OK(etcd_range_decode(span_of(body, len), see, &s, &answer));
	EXPECT_EQ(1, answer.cluster);
	EXPECT_EQ(9, answer.revision);
	ASSERT_EQ(1, s.n);
	EXPECT_EQ(5, s.kv[0].mod_revision);
	EXPECT_TRUE(span_equal(span_str("a"), s.kv[0].key));
	EXPECT_TRUE(span_equal(span_str("v"), s.kv[0].value));

	/* What is cut short anywhere is no answer, and neither is one that has more behind it. */
	for (size_t cut = 0; cut < len; cut++)
		EXPECT_ERR(-EPROTO, etcd_range_decode(span_of(body, cut), see, &s, &answer));
	body[4]--;
	EXPECT_ERR(-EPROTO, etcd_range_decode(span_of(body, len), see, &s, &answer));
	body[4]++;
	body[0] = 1; /* compressed */
	EXPECT_ERR(-EPROTO, etcd_range_decode(span_of(body, len), see, &s, &answer));
}

TEST(range_answer_is_refused)
{
	static const uint8_t more[] = { 0x0a, 2, 0x18, 9, 0x18, 1 };
	static const uint8_t no_header[] = { 0x20, 0 };
	static const uint8_t negative[] = { 0x0a, 11,   0x18, 0xff, 0xff, 0xff, 0xff,
					    0xff, 0xff, 0xff, 0xff, 0xff, 1 };
	struct etcd_answer answer;
	struct seen s = { 0 };
	uint8_t body[64];

	EXPECT_ERR(-E2BIG, etcd_range_decode(span_of(body, frame(more, sizeof(more), body)), see,
					     &s, &answer));
	EXPECT_ERR(-EPROTO,
		   etcd_range_decode(span_of(body, frame(no_header, sizeof(no_header), body)), see,
				     &s, &answer));
	EXPECT_ERR(-EPROTO,
		   etcd_range_decode(span_of(body, frame(negative, sizeof(negative), body)), see,
				     &s, &answer));
	s.r = -ENOMEM; /* of who is called is given on */
	EXPECT_ERR(-ENOMEM, etcd_range_decode(span_of(body, frame(range_answer + 5,
								  sizeof(range_answer) - 6, body)),
					      see, &s, &answer));
}

TEST(txn_answer)
{
	static const uint8_t put[] = {
		0x0a, 4, 0x08, 1, 0x18, 9, 0x10, 1, 0x1a, 4, 0x12, 2, 0x0a, 0
	};
	static const uint8_t other[] = { 0x0a, 4, 0x08, 1, 0x18, 9,    0x1a, 12,   0x0a, 10,
					 0x12, 8, 0x0a, 1, 'a',  0x18, 6,    0x2a, 1,    'w' };
	struct etcd_answer answer;
	struct seen s = { 0 };
	uint8_t body[64];

	ASSERT_OK(etcd_txn_decode(span_of(body, frame(put, sizeof(put), body)), see, &s, &answer));
	EXPECT_TRUE(answer.put);
	EXPECT_EQ(0, s.n);
	ASSERT_OK(etcd_txn_decode(span_of(body, frame(other, sizeof(other), body)), see, &s,
				  &answer));
	EXPECT_FALSE(answer.put);
	ASSERT_EQ(1, s.n);
	EXPECT_EQ(6, s.kv[0].mod_revision);
	EXPECT_TRUE(span_equal(span_str("w"), s.kv[0].value));
	s.r = -ENOMEM; /* of who is called is given on */
	EXPECT_ERR(-ENOMEM, etcd_txn_decode(span_of(body, frame(other, sizeof(other), body)), see,
					    &s, &answer));
}

/* Each field with another wire type, at whatever depth: the answer is none. */
TEST(fields_of_another_type)
{
	static const uint8_t bad[][12] = {
		{ 6, 0x0a, 4, 0x0a, 0, 0x18, 9 }, /* cluster_id */
		{ 6, 0x0a, 4, 0x1a, 0, 0x18, 9 }, /* revision */
		{ 2, 0x08, 0 },                   /* header */
		{ 6, 0x0a, 2, 0x18, 9, 0x10, 0 }, /* kvs; succeeded is right */
		{ 6, 0x0a, 2, 0x18, 9, 0x1a, 0 }, /* more; responses are right */
		{ 9, 0x0a, 2, 0x18, 9, 0x15, 0, 0, 0, 0 },
		{ 8, 0x0a, 2, 0x18, 9, 0x12, 2, 0x08, 0 }, /* key */
		{ 8, 0x0a, 2, 0x18, 9, 0x12, 2, 0x1a, 0 }, /* mod_revision */
		{ 8, 0x0a, 2, 0x18, 9, 0x12, 2, 0x28, 0 }, /* value */
		{ 10, 0x0a, 2, 0x18, 9, 0x12, 4, 0x0a, 1, 'a', 0x13 },
	};
	struct etcd_answer answer;
	struct seen s = { 0 };
	uint8_t body[64];

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		EXPECT_ERR(-EPROTO,
			   etcd_range_decode(span_of(body, frame(bad[i] + 1, bad[i][0], body)), see,
					     &s, &answer));
	EXPECT_EQ(0, s.n);
}

/* --- pages ------------------------------------------------------------------------------------- */

TEST(page_request)
{
	/* From the first key there can be; behind "/k", at revision 300; one key. */
	static const uint8_t first[] = { 0x0a, 1, 0, 0x12, 1, 0, 0x18, 2 },
			     next[] = { 0x0a, 3, '/', 'k', 0, 0x12, 1, 0, 0x18, 2, 0x20, 0xac, 2 },
			     only[] = { 0x0a, 2, '/', 'k', 0x18, 1 };
	const struct page_ask asks[] = {
		{ .limit = 2 },
		{ .after = span_str("/k"), .revision = 300, .limit = 2 },
		{ .only = span_str("/k"), .limit = 1 },
	};
	const struct span want[] = { span_of(first, sizeof(first)), span_of(next, sizeof(next)),
				     span_of(only, sizeof(only)) };

	for (size_t i = 0; i < ARRAY_SIZE(asks); i++) {
		_cleanup_free_ uint8_t *got = NULL;
		size_t len;

		ASSERT_OK(page_encode(&asks[i], &got, &len));
		ASSERT_EQ(ETCD_FRAME + want[i].len, len);
		EXPECT_EQ(want[i].len, got[4]);
		EXPECT_MEMEQ(want[i].data, want[i].len, got + ETCD_FRAME, want[i].len);
	}
}

#define HEADER_9          0x0a, 4, 0x08, 77, 0x18, 9 /* cluster 77, revision 9 */
#define KV(KEY, REVISION) 0x12, 9, 0x0a, 2, '/', KEY, 0x18, REVISION, 0x2a, 1, 'v'

static int page_of(const uint8_t *msg, size_t len, const struct page_ask *ask, struct seen *s,
		   struct page_answer *ret)
{
	static uint8_t body[256];

	s->n = 0;
	etcd_frame(body, len);
	memcpy(body + ETCD_FRAME, msg, len);
	return page_decode(span_of(body, ETCD_FRAME + len), ask, see, s, ret);
}

TEST(page_answer)
{
	static const uint8_t msg[] = { HEADER_9, KV('b', 3), KV('c', 9), 0x18, 1, 0x20, 40 };
	const struct page_ask ask = { .after = span_str("/a"), .revision = 9, .limit = 2 };
	struct page_answer a = { 0 };
	struct seen s = { 0 };

	ASSERT_OK(page_of(msg, sizeof(msg), &ask, &s, &a));
	EXPECT_EQ(77, a.cluster);
	EXPECT_EQ(9, a.revision);
	EXPECT_EQ(40, a.count);
	EXPECT_TRUE(a.more);
	ASSERT_EQ(2, s.n);
	EXPECT_TRUE(span_equal(span_str("/c"), s.kv[1].key));
	EXPECT_TRUE(span_equal(span_str("v"), s.kv[1].value));
	EXPECT_EQ(9, s.kv[1].mod_revision);
	/* What is cut between two of its parts is another answer, but never more than was there. */
	for (size_t cut = 0; cut < sizeof(msg); cut++)
		if (page_of(msg, cut, &ask, &s, &a) == 0)
			EXPECT_LE(s.n, 2);
}

/* Whatever answers, the reading ends, and is of one revision. */
TEST(page_that_does_not_follow)
{
	static const uint8_t again[] = { HEADER_9, KV('a', 3) },
			     out_of_order[] = { HEADER_9, KV('c', 3), KV('b', 3) },
			     twice[] = { HEADER_9, KV('b', 3), KV('b', 3) },
			     later[] = { HEADER_9, KV('b', 10) },
			     no_revision[] = { HEADER_9, KV('b', 0) },
			     no_key[] = { HEADER_9, 0x12, 2, 0x18, 3 },
			     too_many[] = { HEADER_9, KV('b', 3), KV('c', 3), KV('d', 3) },
			     no_end[] = { HEADER_9, 0x18, 1 }, no_header[] = { KV('b', 3) },
			     older[] = { 0x0a, 4, 0x08, 77, 0x18, 8, KV('b', 3) };
	const struct span bad[] = {
		span_of(again, sizeof(again)),
		span_of(out_of_order, sizeof(out_of_order)),
		span_of(twice, sizeof(twice)),
		span_of(later, sizeof(later)),
		span_of(no_revision, sizeof(no_revision)),
		span_of(no_key, sizeof(no_key)),
		span_of(too_many, sizeof(too_many)),
		span_of(no_end, sizeof(no_end)),
		span_of(no_header, sizeof(no_header)),
		span_of(older, sizeof(older)),
	};
	const struct page_ask ask = { .after = span_str("/a"), .revision = 9, .limit = 2 },
			      only = { .only = span_str("/b"), .limit = 1 };
	struct page_answer a;
	struct seen s = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		EXPECT_ERR(-EPROTO, page_of(bad[i].data, bad[i].len, &ask, &s, &a));
	EXPECT_ERR(-EPROTO, page_of(again, sizeof(again), &only, &s, &a));
}

TEST(progress)
{
	static const struct {
		uint64_t done, all, s;
		const char *text;
	} t[] = {
		{ 0, 100, 5, "0 of 100 keys" },
		{ 500, 4000, 1, "500 of 4000 keys, about 8 s left" },
		{ 1000, 1000000, 1, "1000 of 1000000 keys, about 17 min left" },
		{ 40, 40, 1, "40 of 40 keys" },
		{ 41, 40, 1, "41 of 41 keys" },
	};
	char text[ETCDREAD_TEXT];

	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		etcdread_progress(t[i].done, t[i].all, t[i].s * 1000000000, text);
		EXPECT_STREQ(t[i].text, text);
	}
}

/* --- words ------------------------------------------------------------------------------------- */

TEST(refusals_in_words)
{
	static const struct {
		int status, r;
		const char *message, *words;
	} t[] = {
		{ 8, -ENOSPC, "etcdserver: mvcc: database space exceeded",
		  "etcdctl compact, defrag, alarm disarm" },
		{ 7, -EPERM, "etcdserver: permission denied", "etcdctl role grant-permission" },
		{ 3, -EPERM, "etcdserver: user name is empty", "name a client certificate" },
		{ 11, -ESTALE, "etcdserver: mvcc: required revision has been compacted",
		  "A new read is of a newer one" },
		{ 11, -EIO, "etcdserver: mvcc: required revision is a future revision",
		  "it is another one, or was restored" },
		{ 14, -EIO, "etcdserver: no leader", "a majority of its members" },
		{ 2, -EIO, "some%20thing%0anew%zz", "gRPC status 2: some thing?new%zz" },
	};
	char words[256];

	EXPECT_EQ(0, words_for_status(0, "", words, sizeof(words)));
	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		EXPECT_ERR(t[i].r,
			   words_for_status(t[i].status, t[i].message, words, sizeof(words)));
		EXPECT_TRUE(strstr(words, t[i].words));
	}
	EXPECT_ERR(-EKEYREJECTED,
		   words_for_tls("SSL certificate problem: certificate is not yet valid", words,
				 sizeof(words)));
	EXPECT_TRUE(strstr(words, "set the clock"));
	EXPECT_ERR(-EIO, words_for_tls("new\x1b[1m", words, sizeof(words)));
	EXPECT_STREQ("new?[1m", words);
}

/* --- the link ---------------------------------------------------------------------------------- */

FIXTURE(link)
{
	struct carrier *keeper, *cluster;
};

FIXTURE_SETUP(link)
{
	int fds[2];

	ASSERT_OK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds));
	ASSERT_OK(carrier_new(fds[0], CARRIER_KEEPER, &self->keeper));
	ASSERT_OK(carrier_new(fds[1], CARRIER_CLUSTER, &self->cluster));
}

FIXTURE_TEARDOWN(link)
{
	carrier_free(self->keeper);
	carrier_free(self->cluster);
}

/* The next message, while the other side sends what it has. */
static int next(struct carrier *from, struct carrier *to, struct carrier_head *ret,
		struct span *ret_body)
{
	int r = 0;

	while (r == 0) {
		r = carrier_flush(from);
		if (r == 0)
			r = carrier_read(to, ret, ret_body);
	}
	return r;
}

TEST_F(link, largest_texts_in_order)
{
	_cleanup_free_ char *text = malloc(CARRIER_TEXT_MAX);
	struct carrier_head m = { .type = CARRIER_ITEM, .kind = CARRIER_KEYSET, .revision = 5 };
	struct span body;

	ASSERT_TRUE(text);
	memset(text, 'x', CARRIER_TEXT_MAX);
	ASSERT_OK(carrier_put(self->cluster, &m, span_of(text, CARRIER_TEXT_MAX)));
	m = (struct carrier_head){ .type = CARRIER_DONE, .result = -EIO };
	ASSERT_OK(carrier_put(self->cluster, &m, span_str("words")));
	ASSERT_EQ(1, next(self->cluster, self->keeper, &m, &body));
	EXPECT_EQ(CARRIER_ITEM, m.type);
	EXPECT_EQ(5, m.revision);
	EXPECT_TRUE(span_equal(span_of(text, CARRIER_TEXT_MAX), body));
	ASSERT_EQ(1, next(self->cluster, self->keeper, &m, &body));
	EXPECT_ERR(-EIO, m.result);
	EXPECT_TRUE(span_equal(span_str("words"), body));
	EXPECT_EQ(0, carrier_read(self->keeper, &m, &body));
	carrier_free(move_ptr(self->cluster));
	EXPECT_ERR(-ENODATA, carrier_read(self->keeper, &m, &body));
}

/* Each of these ends the link, whatever is behind it. */
TEST_F(link, what_is_no_message)
{
	static const struct carrier_head bad[] = {
		{ .type = 0 },
		{ .type = CARRIER_TYPES },
		{ .type = CARRIER_READ },
		{ .type = CARRIER_PUT, .kind = CARRIER_KEYSET },
		{ .type = CARRIER_ITEM, .kind = 0 },
		{ .type = CARRIER_ITEM, .kind = 3 },
		{ .type = CARRIER_ITEM, .kind = CARRIER_ACK, .length = CARRIER_TEXT_MAX + 1 },
		{ .type = CARRIER_DONE, .kind = CARRIER_ACK },
		{ .type = CARRIER_DONE, .length = CARRIER_WORDS_MAX + 1 },
		{ .type = CARRIER_DONE, .length = UINT32_MAX },
		{ .type = CARRIER_RANGE },
		{ .type = CARRIER_ANSWER },
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		_cleanup_(carrier_freep) struct carrier *keeper = NULL;
		struct carrier_head m;
		struct span body;
		int fds[2];

		ASSERT_OK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds));
		ASSERT_OK(carrier_new(fds[0], CARRIER_KEEPER, &keeper));
		ASSERT_OK(io_send_all(fds[1], &bad[i], sizeof(bad[i])));
		EXPECT_ERR(-EPROTO, carrier_read(keeper, &m, &body));
		close(fds[1]);
	}
}

TEST(setup)
{
	const struct carrier_setup s = { .prefix = "/kekd",
					 .ca = "/ca",
					 .endpoints = { "https://10.0.0.1:2379",
							"https://[::1]:1" },
					 .n_endpoints = 2 };
	_cleanup_free_ char *text = NULL;
	struct carrier_setup got;
	size_t len;

	ASSERT_OK(carrier_setup_format(&s, &text, &len));
	ASSERT_OK(carrier_setup_parse(span_of(text, len), &got));
	EXPECT_STREQ("/kekd", got.prefix);
	EXPECT_STREQ("/ca", got.ca);
	EXPECT_STREQ("", got.cert);
	EXPECT_EQ(2, got.n_endpoints);
	EXPECT_STREQ("https://[::1]:1", got.endpoints[1]);
	for (size_t cut = 0; cut < len; cut++)
		if (cut == 0 || text[cut - 1] != '\0' || cut < 12)
			EXPECT_ERR(-EPROTO, carrier_setup_parse(span_of(text, cut), &got));
}

TEST_HARNESS_MAIN
