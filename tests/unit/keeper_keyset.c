/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two keepers under one root key, without servers: the documents and acknowledgements go from one to the
 * other as texts would, and the time that a server last wrote is set back, so that nobody waits.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "daemon/keeper/admin_client.h"
#include "daemon/keeper/keeper_private.h"
#include "daemon/keys/keyset_private.h"
#include "tests/harness/ktest.h"
#include "tests/unit/scratch.h"

#define SECRET   "0123456789abcdef0123456789abcdef"
#define LONG_AGO (UINT64_C(400) * 1000 * 1000 * 1000)
#define AT_LEAST (UINT64_C(1000) * 1000 * 1000 * 1000)

#define ASK_NS (UINT64_C(20) * 1000 * 1000 * 1000)

static int room_r; /* of the next room for a key */

int __real_keyset_key_new(struct keyset_key **ret);
int __wrap_keyset_key_new(struct keyset_key **ret);

int __wrap_keyset_key_new(struct keyset_key **ret)
{
	return room_r < 0 ? room_r : __real_keyset_key_new(ret);
}

static char words[512]; /* of the last answer */

struct node {
	struct scratch dir;
	struct keeper k;
	struct config config;
	struct conf conf;
	char name[8];
};

FIXTURE(pair)
{
	struct node a, b;
};

static void node_open(struct node *n)
{
	ASSERT_OK(key_store_open(n->dir.path, &n->k.store));
	ASSERT_OK(root_key_new_in_memory(span_str(SECRET), &n->k.root));
	ASSERT_OK(custody_keys_open(&n->k));
}

static void node_close(struct node *n)
{
	custody_close(&n->k);
	n->k.n_counts = 0;
}

static void node_start(struct node *n, const char *name)
{
	scratch_make(&n->dir);
	snprintf(n->name, sizeof(n->name), "%s", name);
	n->config.node = n->name;
	n->config.custody = CONFIG_CUSTODY_HOLDER;
	n->config.workers = 1;
	n->conf.config = &n->config;
	n->k.conf = &n->conf;
	n->k.test_tfm = -1;
	n->k.notes_fd = n->k.notes_end = -1;
	node_open(n);
}

static void node_stop(struct node *n)
{
	node_close(n);
	scratch_remove(&n->dir);
}

FIXTURE_SETUP(pair)
{
	node_start(&self->a, "a");
	node_start(&self->b, "b");
}

FIXTURE_TEARDOWN(pair)
{
	node_stop(&self->a);
	node_stop(&self->b);
}

static struct keydoc *doc_of(struct node *n)
{
	uint8_t other[KEY_ROOT_ID];
	struct keydoc_root root;
	struct keydoc *doc;
	struct span text;

	ASSERT_TRUE(keyset_root(n->k.keys, &root));
	ASSERT_OK(keyset_text(n->k.keys, &text));
	ASSERT_OK(keydoc_parse(text, &root, &doc, other));
	return doc;
}

static void ack_to(struct node *from, struct node *to)
{
	struct keyack *ack;

	ASSERT_OK(acks_own(&from->k, &ack));
	ASSERT_OK(acks_take(&to->k, ack));
}

/* What `keyset export | keyset apply | keyset ack` does, in both directions. */
static void exchange(struct node *from, struct node *to)
{
	const struct keydoc *theirs = keyset_doc(to->k.keys);
	struct keydoc *doc = doc_of(from);
	struct keydoc_refusal why;

	if (theirs && keydoc_compare(theirs, doc) == KEYDOC_SAME)
		keydoc_free(doc);
	else
		ASSERT_OK(keeper_take(&to->k, doc, &why));
	ack_to(from, to);
	ack_to(to, from);
	ack_to(from, to); /* which answers to what was just said */
}

static int change_member(struct node *n, enum keydoc_change_kind kind, const struct node *of)
{
	const struct keydoc_member *m = keyset_self(of->k.keys);
	struct keydoc_change change = { .kind = kind, .member = *m, .n_removed = 1 };
	struct keydoc_refusal why;
	struct keydoc_node node;

	memcpy(node.id, m->id, sizeof(node.id));
	change.removed = &node;
	return keeper_change(&n->k, &change, &why);
}

/* One cluster with one active key. */
static void cluster(struct ktest_data_of_pair *self)
{
	const struct keyset_key *key;
	struct keydoc_refusal why;

	ASSERT_OK(keeper_make(&self->a.k, "primary", &why, &key, NULL));
	exchange(&self->a, &self->b);
	ASSERT_OK(change_member(&self->a, KEYDOC_JOIN, &self->b));
	exchange(&self->a, &self->b);
	EXPECT_TRUE(keyset_may_write(self->b.k.keys));
}

/* Nothing was written for long enough. */
static void wait_quiet(struct node *n)
{
	uint64_t now = now_ns();

	SKIP_UNLESS("uptime", now > AT_LEAST, "this machine was started a moment ago");
	n->k.started_ns = now - LONG_AGO;
	for (size_t i = 0; i < n->k.n_counts; i++)
		if (n->k.counts[i].wrote_ns > 0)
			n->k.counts[i].wrote_ns = now - LONG_AGO;
}

TEST_F(pair, node_that_leaves_becomes_quiet)
{
	cluster(self);
	wait_quiet(&self->b);
	ASSERT_OK(change_member(&self->a, KEYDOC_REMOVE, &self->b));
	exchange(&self->a, &self->b);
	EXPECT_FALSE(keyset_may_write(self->b.k.keys));
	EXPECT_ERR(-EBUSY, change_member(&self->a, KEYDOC_LEFT, &self->b));
	wait_quiet(&self->b);
	counts_reserve(&self->b.k);
	ack_to(&self->b, &self->a);
	ASSERT_OK(change_member(&self->a, KEYDOC_LEFT, &self->b));
	EXPECT_EQ(1U, keyset_doc(self->a.k.keys)->n_members);
}

/* As kekctl asks: 0 or the refusal, with its words; *ret_text what came as text, caller frees, or NULL. */
static int ask(struct node *n, struct admin_request *req, struct span blob, char **ret_text)
{
	struct admin_message msg = { 0 };
	struct pollfd p[ADMIN_CLIENTS];
	int fd[2], r;

	*words = '\0';
	req->version = ADMIN_VERSION;
	ASSERT_OK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd));
	admin_add(&n->k, fd[0]);
	ASSERT_OK(admin_send(fd[1], ASK_NS, req, blob));
	for (int i = 0; i < 1000; i++) {
		admin_poll(&n->k, p);
		if (poll(p, 1, 0) > 0)
			admin_serve(&n->k, 0);
	}
	for (;;) {
		ASSERT_OK(admin_recv(fd[1], ASK_NS, &msg));
		if (msg.head.type == ADMIN_END)
			break;
		if (msg.head.type == ADMIN_TEXT && ret_text)
			*ret_text = strdup(msg.data);
		admin_message_clear(&msg);
	}
	r = msg.head.word;
	snprintf(words, sizeof(words), "%s", msg.data);
	admin_message_clear(&msg);
	close(fd[1]);
	admin_close(&n->k);
	return r;
}

static int ask_text(struct node *n, enum admin_verb verb, const char *text)
{
	struct admin_request req = { .verb = verb };

	return ask(n, &req, span_str(text), NULL);
}

static char *exported(struct node *n)
{
	struct admin_request req = { .verb = ADMIN_KEYSET_EXPORT };
	char *text = NULL;

	ASSERT_OK(ask(n, &req, SPAN_NULL, &text));
	ASSERT_NOT_NULL(text);
	return text;
}

/*
 * Both have made a change of one generation, and each document might follow the other. Both say what ends it, not
 * that the other one is to be brought to where this one is refused.
 */
TEST_F(pair, changes_of_one_generation)
{
	_cleanup_free_ char *of_a = NULL, *of_b = NULL, *both = NULL;
	struct keydoc_change take = { .kind = KEYDOC_TAKE };
	const struct keyset_key *key;
	struct keydoc_refusal why;

	cluster(self);
	ASSERT_OK(keeper_stage(&self->a.k, "primary", &why, &key));
	exchange(&self->a, &self->b);
	ASSERT_OK(keeper_step(&self->a.k, KEYDOC_GIVE_UP, key->rec.info.id, &why));
	ASSERT_OK(keeper_change(&self->b.k, &take, &why));
	of_a = exported(&self->a);
	of_b = exported(&self->b);
	EXPECT_ERR(-ESTALE, ask_text(&self->a, ADMIN_KEYSET_APPLY, of_b));
	EXPECT_NOT_NULL(strstr(words, "kekctl keyset merge"));
	EXPECT_ERR(-ESTALE, ask_text(&self->b, ADMIN_KEYSET_APPLY, of_a));
	EXPECT_NOT_NULL(strstr(words, "kekctl keyset merge"));
	EXPECT_OK(ask_text(&self->a, ADMIN_KEYSET_MERGE, of_b));
	both = exported(&self->a);
	EXPECT_OK(ask_text(&self->b, ADMIN_KEYSET_APPLY, both));
}

static void damage(const struct node *n, const char *file)
{
	int fd = open(scratch_path(&n->dir, file), O_WRONLY | O_CLOEXEC);

	ASSERT_LE(0, fd);
	ASSERT_EQ(1, pwrite(fd, "x", 1, 200));
	close(fd);
}

static char *file_text(struct node *n, const char *file)
{
	char *text = NULL;
	size_t len;

	ASSERT_OK(key_store_read(n->k.store, file, KEYDOC_TEXT_MAX, &text, &len));
	return text;
}

/* A crash in the midst of the next write must not leave two damaged files. */
TEST_F(pair, damaged_keyset_does_not_become_the_previous)
{
	_cleanup_free_ char *before = NULL, *after = NULL;
	const struct keyset_key *key;
	struct keydoc_refusal why;

	ASSERT_OK(keeper_make(&self->a.k, "primary", &why, &key, NULL));
	node_close(&self->a);
	damage(&self->a, KEY_STORE_KEYSET);
	node_open(&self->a);
	EXPECT_TRUE(keyset_is_previous(self->a.k.keys));
	before = file_text(&self->a, KEY_STORE_PREV);
	ASSERT_OK(keeper_stage(&self->a.k, "secondary", &why, &key));
	after = file_text(&self->a, KEY_STORE_PREV);
	EXPECT_STREQ(before, after);
}

/* What a newer version can read is neither passed over for the one before it nor replaced. */
TEST_F(pair, keyset_of_a_newer_version)
{
	_cleanup_free_ char *backup = NULL, *after = NULL;
	char text[512];
	struct text_buf b = { .data = text, .size = sizeof(text) };
	const struct keyset_key *key;
	struct keydoc_refusal why;
	struct keydoc_root root;

	ASSERT_OK(keeper_make(&self->a.k, "primary", &why, &key, NULL));
	backup = file_text(&self->a, KEY_STORE_KEYSET);
	ASSERT_TRUE(keyset_root(self->a.k.keys, &root));
	text_append(&b, "kekd-keyset 4\nof another form\n");
	ASSERT_OK(keydoc_sign(&b, "kekd-keyset", &root));
	node_close(&self->a);
	scratch_write(&self->a.dir, KEY_STORE_KEYSET, b.data, b.len);
	node_open(&self->a);
	EXPECT_ERR(-EPROTONOSUPPORT, keyset_why(self->a.k.keys));
	EXPECT_ERR(-EPROTONOSUPPORT, ask_text(&self->a, ADMIN_RESTORE, backup));
	EXPECT_ERR(-EPROTONOSUPPORT, ask_text(&self->a, ADMIN_KEYSET_APPLY, backup));
	EXPECT_ERR(-EPROTONOSUPPORT, keeper_make(&self->a.k, "primary", &why, &key, NULL));
	after = file_text(&self->a, KEY_STORE_KEYSET);
	EXPECT_STREQ(text, after);
}

static int close_on(struct node *n, enum admin_verb verb, const uint8_t id[static KEKD_KEY_ID],
		    const struct admin_mark *proof)
{
	struct admin_request req = { .verb = verb, .name = "primary" };

	memcpy(req.id, id, sizeof(req.id));
	if (proof) {
		req.flags = ADMIN_PROOF;
		req.proof = *proof;
	}
	return ask(n, &req, SPAN_NULL, NULL);
}

/* What the keeper says the mark is. */
static struct admin_mark mark_now(struct node *n, const uint8_t id[static KEKD_KEY_ID])
{
	const struct keydoc *doc = keyset_doc(n->k.keys);
	struct admin_mark m = { .generation = doc->generation,
				.marked = keydoc_key(doc, id)->info.marked };

	memcpy(m.doc, doc->hash, sizeof(m.doc));
	memcpy(m.cluster, doc->cluster, sizeof(m.cluster));
	return m;
}

/* A key that has given way, of which everybody is quiet and knows it. */
static void given_way(struct ktest_data_of_pair *self, uint8_t ret_id[static KEKD_KEY_ID])
{
	const struct keyset_key *key;
	struct keydoc_refusal why;

	cluster(self);
	ASSERT_OK(keyset_active(self->a.k.keys, "primary", &key));
	memcpy(ret_id, key->rec.info.id, KEKD_KEY_ID);
	ASSERT_OK(keeper_stage(&self->a.k, "primary", &why, &key));
	exchange(&self->a, &self->b);
	ASSERT_OK(keeper_step(&self->a.k, KEYDOC_ACTIVATE, key->rec.info.id, &why));
	exchange(&self->a, &self->b);
	wait_quiet(&self->a);
	wait_quiet(&self->b);
	exchange(&self->a, &self->b);
}

/* Evidence is of this mark, in this document, of this cluster, in this etcd; destroying takes evidence of its own. */
TEST_F(pair, closed_on_evidence_of_the_mark)
{
	struct admin_mark first, proof, bad;
	uint8_t id[KEKD_KEY_ID];
	struct keydoc_refusal why;

	given_way(self, id);
	proof = mark_now(&self->a, id);
	EXPECT_ERR(-EPERM, close_on(&self->a, ADMIN_KEY_RETIRE, id, &proof));
	EXPECT_NOT_NULL(strstr(words, "is not marked any more, or was not"));
	ASSERT_OK(keeper_step(&self->a.k, KEYDOC_MARK, id, &why));
	exchange(&self->a, &self->b);
	first = mark_now(&self->a, id);
	EXPECT_ERR(-EAGAIN, close_on(&self->a, ADMIN_KEY_RETIRE, id, NULL));
	ASSERT_OK(keeper_step(&self->a.k, KEYDOC_MARK, id, &why));
	exchange(&self->a, &self->b);
	EXPECT_ERR(-EPERM, close_on(&self->a, ADMIN_KEY_RETIRE, id, &first));
	EXPECT_NOT_NULL(strstr(words, "was marked again"));

	proof = bad = mark_now(&self->a, id);
	bad.cluster[0] ^= 1;
	EXPECT_ERR(-EPERM, close_on(&self->a, ADMIN_KEY_RETIRE, id, &bad));
	EXPECT_NOT_NULL(strstr(words, "of another cluster"));
	bad = proof;
	bad.doc[0] ^= 1;
	EXPECT_ERR(-EPERM, close_on(&self->a, ADMIN_KEY_RETIRE, id, &bad));
	EXPECT_NOT_NULL(strstr(words, "scan again, which finds the mark"));
	bad = proof;
	bad.revision = 7;
	EXPECT_ERR(-EPERM, close_on(&self->a, ADMIN_KEY_RETIRE, id, &bad));
	EXPECT_NOT_NULL(strstr(words, "of another etcd"));
	bad = proof;
	bad.etcd = 7;
	EXPECT_ERR(-EPERM, close_on(&self->a, ADMIN_KEY_RETIRE, id, &bad));

	/* A server answers with it once more, or the other has not answered to the mark. */
	wait_quiet(&self->a);
	self->a.k.counts[0].wrote_ns = self->a.k.counts[1].wrote_ns = now_ns();
	EXPECT_ERR(-EBUSY, close_on(&self->a, ADMIN_KEY_RETIRE, id, &proof));
	EXPECT_NOT_NULL(strstr(words, "within the last five minutes"));
	wait_quiet(&self->a);
	EXPECT_OK(close_on(&self->a, ADMIN_KEY_RETIRE, id, &proof));

	exchange(&self->a, &self->b);
	self->a.config.rotation.keep_retired = 0;
	for (size_t i = 0; i < self->a.k.n_counts; i++)
		self->a.k.counts[i].retired_at = 0;
	EXPECT_ERR(-EPERM, close_on(&self->a, ADMIN_KEY_DESTROY, id, &proof));
	EXPECT_NOT_NULL(strstr(words, "is not marked any more"));
	EXPECT_ERR(-EAGAIN, close_on(&self->a, ADMIN_KEY_DESTROY, id, NULL));
	ASSERT_OK(keeper_step(&self->a.k, KEYDOC_MARK, id, &why));
	proof = mark_now(&self->a, id);
	EXPECT_ERR(-EBUSY, close_on(&self->a, ADMIN_KEY_DESTROY, id, &proof));
	exchange(&self->a, &self->b);
	EXPECT_OK(close_on(&self->a, ADMIN_KEY_DESTROY, id, &proof));
	EXPECT_NULL(keyset_find(self->a.k.keys, id));
}

/* Other machines wait for what was heard of them, however many have come and gone. */
TEST_F(pair, members_are_heard_among_many)
{
	struct keyack *ack;

	ASSERT_OK(keyset_begin(self->a.k.keys));
	for (uint8_t i = 0; i < KEYDOC_MEMBERS_MAX; i++) {
		ASSERT_OK(acks_own(&self->a.k, &ack));
		memset(ack->node, i + 1, sizeof(ack->node));
		ASSERT_OK(acks_take(&self->b.k, ack));
	}
	cluster(self);
	ASSERT_OK(acks_own(&self->b.k, &ack));
	EXPECT_TRUE(keyack_has_heard(ack, keyset_self(self->a.k.keys)->id, self->a.k.number));
	keyack_free(ack);
}

/* Killed before the file had a line for the key: it counts as used for all that it may have done. */
TEST_F(pair, first_room_of_many_servers)
{
	const struct keyset_key *key;
	struct keydoc_refusal why;
	uint64_t granted;

	self->a.config.workers = 4;
	ASSERT_OK(keeper_make(&self->a.k, "primary", &why, &key, NULL));
	granted = counts_of(&self->a.k, key->rec.info.id)->reserved;
	node_close(&self->a);
	self->a.config.workers = 1;
	node_open(&self->a);
	ASSERT_OK(keyset_active(self->a.k.keys, "primary", &key));
	EXPECT_LE(granted, counts_of(&self->a.k, key->rec.info.id)->encryptions);
}

TEST_F(pair, dry_run_begins_no_keyset)
{
	struct admin_request req = { .verb = ADMIN_KEY_CREATE,
				     .flags = ADMIN_DRY_RUN,
				     .name = "primary" };

	EXPECT_OK(ask(&self->a, &req, SPAN_NULL, NULL));
	EXPECT_ERR(-ENODATA, keyset_why(self->a.k.keys));
}

/* A new machine takes the keyset: its servers say that it is no member yet, not that keys are missing. */
TEST_F(pair, servers_hear_that_it_is_no_member)
{
	_cleanup_(link_fds_close) struct link_fds fds = { 0 };
	const struct keyset_key *key;
	struct keydoc_refusal why;
	struct link_msg msg = { 0 };
	int fd[2], last = 0;

	ASSERT_OK(keeper_make(&self->a.k, "primary", &why, &key, NULL));
	ASSERT_OK(link_pair(fd));
	self->b.k.n_workers = 1;
	self->b.k.workers[0].link_fd = fd[0];
	/* The server is gone when all was said, so that nobody waits for its answer. */
	ASSERT_EQ(0, shutdown(fd[0], SHUT_RD));
	exchange(&self->a, &self->b);
	while (link_recv(fd[1], &msg, &fds) == 0 && msg.type != LINK_SYNC) {
		last = msg.type == LINK_SEALED ? msg.r : last;
		link_fds_close(&fds);
	}
	EXPECT_ERR(-ESTALE, last);
	close(fd[1]);
	self->b.k.n_workers = 0;
}

/* As when a root key comes back: those that were held are given up, once. */
TEST_F(pair, acknowledgements_after_an_unseal)
{
	cluster(self);
	EXPECT_EQ(1U, self->a.k.n_acks);
	node_close(&self->a);
	EXPECT_EQ(0U, self->a.k.n_acks);
	node_open(&self->a);
	ack_to(&self->b, &self->a);
	ack_to(&self->b, &self->a);
	EXPECT_EQ(1U, self->a.k.n_acks);
}

/*
 * The others may have retired what the document before writes with. The text of another member ends it, also
 * where it is that very document.
 */
TEST_F(pair, member_with_a_damaged_keyset_only_reads)
{
	_cleanup_free_ char *text = NULL, *after = NULL;
	const struct keyset_key *key;
	struct keydoc_refusal why;

	cluster(self);
	ASSERT_OK(keeper_stage(&self->a.k, "primary", &why, &key));
	text = exported(&self->b);
	exchange(&self->a, &self->b);
	node_close(&self->b);
	damage(&self->b, KEY_STORE_KEYSET);
	node_open(&self->b);
	EXPECT_TRUE(keyset_is_previous(self->b.k.keys));
	EXPECT_FALSE(keyset_may_write(self->b.k.keys));
	EXPECT_ERR(-EPERM, keyset_active(self->b.k.keys, "primary", &key));
	EXPECT_OK(ask_text(&self->b, ADMIN_KEYSET_APPLY, text));
	EXPECT_TRUE(keyset_may_write(self->b.k.keys));
	EXPECT_FALSE(keyset_is_previous(self->b.k.keys));
	after = file_text(&self->b, KEY_STORE_KEYSET);
	EXPECT_EQ(0, strncmp(text, after, strlen(after)));
	exchange(&self->a, &self->b);
	EXPECT_TRUE(keyset_may_write(self->b.k.keys));
}

/* Members would take what it has made, and it is asked by nobody. */
TEST_F(pair, merge_by_a_node_that_is_no_member)
{
	_cleanup_free_ char *of_a = NULL;
	const struct keyset_key *key;
	struct keydoc_refusal why;

	ASSERT_OK(keeper_make(&self->a.k, "primary", &why, &key, NULL));
	exchange(&self->a, &self->b);
	ASSERT_OK(keeper_make(&self->a.k, "secondary", &why, &key, NULL));
	of_a = exported(&self->a);
	EXPECT_ERR(-EPERM, ask_text(&self->b, ADMIN_KEYSET_MERGE, of_a));
	EXPECT_EQ(3U, keyset_doc(self->b.k.keys)->generation);
}

/* A document that cannot be followed is not made durable either. */
TEST_F(pair, no_memory_for_a_key)
{
	_cleanup_free_ char *before = NULL, *after = NULL;
	const struct keyset_key *key;
	struct keydoc_refusal why;
	struct keydoc *doc;

	cluster(self);
	ASSERT_OK(keeper_stage(&self->a.k, "primary", &why, &key));
	doc = doc_of(&self->a);
	before = file_text(&self->b, KEY_STORE_KEYSET);
	room_r = -ENOMEM;
	EXPECT_ERR(-ENOMEM, keeper_take(&self->b.k, doc, &why));
	room_r = 0;
	after = file_text(&self->b, KEY_STORE_KEYSET);
	EXPECT_STREQ(before, after);
	EXPECT_EQ(4U, keyset_doc(self->b.k.keys)->generation);
	EXPECT_OK(keeper_take(&self->b.k, doc, &why));
}

/* It may have keys that the one before has not, and is whole but for its mode. */
TEST_F(pair, keyset_that_was_not_read_is_not_written_over)
{
	_cleanup_free_ char *before = NULL, *after = NULL;
	const struct keyset_key *key;
	struct keydoc_refusal why;

	ASSERT_OK(keeper_make(&self->a.k, "primary", &why, &key, NULL));
	before = file_text(&self->a, KEY_STORE_KEYSET);
	node_close(&self->a);
	ASSERT_EQ(0, chmod(scratch_path(&self->a.dir, KEY_STORE_KEYSET), 0644));
	node_open(&self->a);
	EXPECT_TRUE(keyset_is_previous(self->a.k.keys));
	EXPECT_ERR(-EPERM, keeper_stage(&self->a.k, "secondary", &why, &key));
	EXPECT_NOT_NULL(strstr(why.text, "restart kekd"));
	ASSERT_EQ(0, chmod(scratch_path(&self->a.dir, KEY_STORE_KEYSET), 0600));
	after = file_text(&self->a, KEY_STORE_KEYSET);
	EXPECT_STREQ(before, after);
	node_close(&self->a);
	node_open(&self->a);
	EXPECT_FALSE(keyset_is_previous(self->a.k.keys));
	EXPECT_OK(keeper_stage(&self->a.k, "secondary", &why, &key));
}

TEST_HARNESS_MAIN
