/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the keeper does with a server that does not come up. The clock is the argument of server_tick(); the
 * server is this very program, which then only waits.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "daemon/keeper/keeper_private.h"
#include "daemon/keeper/spawn.h"
#include "daemon/sys/ring.h"
#include "tests/harness/ktest.h"
#include "tests/support/root.h"
#include "tests/unit/alone.h"
#include "tests/unit/scratch.h"

#define START_NS UINT64_C(1000000000)
#define READY_NS (UINT64_C(60) * 1000000000)

FIXTURE(keeper)
{
	struct keeper k;
	struct keeper_options opt;
	struct config config;
	struct conf conf;
};

FIXTURE_SETUP(keeper)
{
	self->conf.config = &self->config;
	self->conf.config_fd = self->conf.enc_fd = -1;
	self->k.opt = &self->opt;
	self->k.conf = &self->conf;
	self->k.transform_fd = self->k.test_tfm = self->k.exe_fd = -1;
	self->k.notes_fd = self->k.notes_end = -1;
	self->config.workers = 1;
	self->k.n_workers = 1;
	for (size_t i = 0; i < KEKD_WORKERS_MAX; i++)
		self->k.workers[i].link_fd = -1;
}

/* The child ends with the test's process group, if not before. */
FIXTURE_TEARDOWN(keeper)
{
	closep(&self->k.workers[0].link_fd);
	closep(&self->k.exe_fd);
	closep(&self->conf.config_fd);
	closep(&self->conf.enc_fd);
}

/* A server that never says READY: it answers each byte on @ret_fd with another. */
static pid_t mute_server(int *ret_fd)
{
	int fd[2];
	pid_t pid;
	char c;

	ASSERT_OK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd));
	pid = fork();
	ASSERT_LE(0, pid);
	if (pid == 0) {
		close(fd[0]);
		while (read(fd[1], &c, 1) == 1 && write(fd[1], &c, 1) == 1)
			;
		_exit(0);
	}
	close(fd[1]);
	*ret_fd = fd[0];
	return pid;
}

/* One that has a SIGKILL pending does not answer any more. */
static bool lives(int fd)
{
	char c = 'x';

	return send(fd, &c, 1, MSG_NOSIGNAL) == 1 && read(fd, &c, 1) == 1;
}

static void expect_killed(pid_t pid)
{
	int status = 0;

	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

TEST_F(keeper, server_has_a_minute_to_get_ready)
{
	int fd;

	self->k.workers[0].pid = mute_server(&fd);
	self->k.workers[0].restart.start_ns = START_NS;
	server_tick(&self->k, START_NS + READY_NS);
	EXPECT_TRUE(lives(fd));
	server_tick(&self->k, START_NS + READY_NS + 1);
	expect_killed(self->k.workers[0].pid);
	close(fd);
}

/* At once, then after 50 ms, and so on until 2 s; one that lived long begins anew. */
TEST(pauses_between_starts)
{
	static const uint64_t ms = 1000000,
			      pauses[] = { 0, 50, 100, 200, 400, 800, 1600, 2000, 2000 };
	struct restart restart = { 0 };
	uint64_t now = START_NS;

	for (size_t i = 0; i < ARRAY_SIZE(pauses); i++) {
		restart_started(&restart, now);
		EXPECT_EQ(0, restart.at_ns);
		now += 4999 * ms;
		restart_ended(&restart, now);
		EXPECT_EQ(now + pauses[i] * ms, restart.at_ns);
	}
	restart_started(&restart, now);
	restart_ended(&restart, now += 5000 * ms);
	EXPECT_EQ(now, restart.at_ns);
	restart_failed(&restart, now);
	EXPECT_EQ(now + 2000 * ms, restart.at_ns);
}

/* It is judged by its silence at the start, and while it is asked to stop it has another bound. */
TEST_F(keeper, server_that_serves_or_stops_is_left_alone)
{
	int fd;

	self->k.workers[0].pid = mute_server(&fd);
	self->k.workers[0].restart.start_ns = START_NS;
	self->k.workers[0].serving = true;
	server_tick(&self->k, START_NS + 2 * READY_NS);
	EXPECT_TRUE(lives(fd));
	self->k.workers[0].serving = false;
	self->k.stopping = true;
	server_tick(&self->k, START_NS + 2 * READY_NS);
	EXPECT_TRUE(lives(fd));
	close(fd);
	ASSERT_EQ(self->k.workers[0].pid, waitpid(self->k.workers[0].pid, NULL, 0));
}

/*
 * What is fed to it is its configuration and then an op socket, which cannot be had here. It has not
 * heard everything and would wait for GO for ever.
 */
TEST_F(keeper, server_that_cannot_be_fed_is_ended)
{
	SKIP_UNLESS("root", geteuid() == 0, "only root can start a server");
	self->config.server_user.id = 0;
	ASSERT_OK(spawn_self_open(&self->k.exe_fd));
	self->conf.config_fd = memfd_create("config", MFD_CLOEXEC);
	self->conf.enc_fd = memfd_create("encryption", MFD_CLOEXEC);
	self->k.test_tfm = self->conf.config_fd; /* no socket */
	EXPECT_OK(server_start(&self->k));
	ASSERT_LT(0, self->k.workers[0].pid);
	EXPECT_EQ(1, self->k.starts);
	expect_killed(self->k.workers[0].pid);
	self->k.test_tfm = -1;
}

/* It was the keeper that stood still: what it is owed may be in the link, and the server has its time again. */
TEST_F(keeper, server_of_a_keeper_that_stood_still)
{
	uint64_t later = START_NS + 100 * READY_NS;
	int fd;

	self->k.workers[0].pid = mute_server(&fd);
	self->k.workers[0].restart.start_ns = START_NS;
	server_excuse(&self->k, later);
	server_tick(&self->k, later);
	EXPECT_TRUE(lives(fd));
	self->k.workers[0].serving = true;
	self->k.workers[0].pinged_ns = START_NS;
	server_excuse(&self->k, later);
	server_watch(&self->k, later);
	EXPECT_TRUE(lives(fd));
	server_watch(&self->k, later + READY_NS);
	expect_killed(self->k.workers[0].pid);
	close(fd);
}

/* How often @what is in what standard error got since it was turned to @fd. */
static unsigned int said(int fd, const char *what)
{
	char text[16384] = "";
	unsigned int n = 0;

	ASSERT_LE(0, pread(fd, text, sizeof(text) - 1, 0));
	for (const char *at = strstr(text, what); at; at = strstr(at + 1, what))
		n++;
	return n;
}

/* A key store with one active key "a" that is rotated by itself. */
/* With automatic rotation, and a key "a" that is due after one message. */
static void rotating(struct ktest_data_of_keeper *self, const char *dir)
{
	static const char yaml[] = "apiVersion: apiserver.config.k8s.io/v1\n"
				   "kind: EncryptionConfiguration\n"
				   "resources:\n"
				   "- resources: [secrets]\n"
				   "  providers: [ { aesgcm: { keys: [ { name: a } ] } } ]\n";
	struct yaml_error err = { 0 };
	const struct keyset_key *key;

	ASSERT_OK(encconf_parse(span_str(yaml), "e", 0, &self->conf.enc, &err));
	ASSERT_OK(key_store_open(dir, &self->k.store));
	ASSERT_OK(test_root(&self->k.root));
	ASSERT_OK(keyset_new(self->k.store, self->k.root, "cp-1", &self->k.keys));
	ASSERT_OK(keyset_load(self->k.keys));
	ASSERT_OK(alone_create(self->k.keys, "a", &key));
	ASSERT_OK(acks_open(&self->k));
	self->config.rotation.automatic = true;
	self->config.rotation.max_encryptions = 1;
	self->k.workers[0].serving = true;
}

static void encrypt_once(struct keeper *k)
{
	struct link_msg used = { .encryptions = 1 };
	const struct keyset_key *key;

	ASSERT_OK(keyset_active(k->keys, "a", &key));
	memcpy(used.key.id, key->rec.info.id, sizeof(used.key.id));
	counts_add(k, &used);
}

static void rotating_end(struct ktest_data_of_keeper *self)
{
	acks_close(&self->k);
	keyset_free(self->k.keys);
	root_key_free(self->k.root);
	key_store_close(self->k.store);
	encconf_free(self->conf.enc);
}

/* A disk that is full for a day is said once and not every five seconds. */
TEST_F(keeper, automatic_rotation_that_fails)
{
	struct scratch dir;
	int fd = memfd_create("log", MFD_CLOEXEC);

	scratch_make(&dir);
	rotating(self, dir.path);
	encrypt_once(&self->k);
	scratch_remove(&dir); /* nothing can be written from now on */
	ASSERT_LE(0, dup2(fd, STDERR_FILENO));
	for (uint64_t i = 1; i <= 10; i++)
		rotation_tick(&self->k, i * 60 * START_NS);
	EXPECT_EQ(1, said(fd, "automatic rotation failed"));
	rotating_end(self);
	close(fd);
}

static size_t count_keys(const struct keeper *k)
{
	const struct list *head = keyset_list(k->keys);
	size_t n = 0;

	for (const struct list *i = head->next; i != head; i = i->next)
		n++;
	return n;
}

/* @key was made so many seconds ago, whoever asks. */
static void made_before(struct keeper *k, const struct keyset_key *key, time_t seconds)
{
	const struct keydoc *doc = keyset_doc(k->keys);

	((struct keyset_key *)(uintptr_t)key)->rec.info.created -= seconds;
	keydoc_key(doc, key->rec.info.id)->info.created -= seconds;
}

/* A server that says of each new key that it has done enough does not fill the key store. */
TEST_F(keeper, automatic_rotation_by_lies)
{
	const struct keyset_key *key;
	struct scratch dir;
	int fd = memfd_create("log", MFD_CLOEXEC);

	scratch_make(&dir);
	rotating(self, dir.path);
	ASSERT_LE(0, dup2(fd, STDERR_FILENO));
	self->config.rotation.max_encryptions = 1000;
	ASSERT_OK(keyset_active(self->k.keys, "a", &key));
	made_before(&self->k, key, 7200);
	for (uint64_t i = 1; i <= 60; i++) {
		struct link_msg used = { .encryptions = UINT64_MAX };

		ASSERT_OK(keyset_active(self->k.keys, "a", &key));
		memcpy(used.key.id, key->rec.info.id, sizeof(used.key.id));
		counts_add(&self->k, &used);
		rotation_tick(&self->k, i * 60 * START_NS);
	}
	EXPECT_EQ(1 + 8, count_keys(&self->k));
	EXPECT_EQ(1, said(fd, "within an hour"));
	close(fd);
	rotating_end(self);
	scratch_remove(&dir);
}

#define TEN_YEARS 315360000

/* As another process finds it, which has not made it. */
static void from_the_future(struct keeper *k, const struct keyset_key *key)
{
	made_before(k, key, -TEN_YEARS);
	k->n_counts = 0;
}

/* A clock that was ahead once stops no rotation: by age, from this start on; and by number, however many it has made. */
TEST_F(keeper, automatic_rotation_after_the_future)
{
	const struct keyset_key *key;
	struct scratch dir;
	int fd = memfd_create("log", MFD_CLOEXEC);

	scratch_make(&dir);
	rotating(self, dir.path);
	ASSERT_LE(0, dup2(fd, STDERR_FILENO));
	self->config.rotation.max_encryptions = 1000;
	self->config.rotation.max_age = 100 * (int64_t)START_NS;
	self->k.started_at = boot_ns();
	for (uint64_t i = 1; i <= 12; i++) {
		struct link_msg used = { .encryptions = 2000 };

		ASSERT_OK(keyset_active(self->k.keys, "a", &key));
		from_the_future(&self->k, key);
		memcpy(used.key.id, key->rec.info.id, sizeof(used.key.id));
		rotation_tick(&self->k, i * 60 * START_NS);
		EXPECT_EQ(i, count_keys(&self->k)); /* not due */
		counts_add(&self->k, &used);
		rotation_tick(&self->k, (i * 60 + 30) * START_NS);
		EXPECT_EQ(i + 1, count_keys(&self->k));
	}
	EXPECT_EQ(12, said(fd, "has not reached: its age counts from"));
	ASSERT_OK(keyset_active(self->k.keys, "a", &key));
	from_the_future(&self->k, key);
	self->k.started_at = boot_ns() - 101 * (int64_t)START_NS;
	rotation_tick(&self->k, 10000 * START_NS);
	EXPECT_EQ(14, count_keys(&self->k));
	close(fd);
	rotating_end(self);
	scratch_remove(&dir);
}

/* What the clock is set to while a key lives here is nothing to its age. */
TEST_F(keeper, age_of_a_key_that_was_made_here)
{
	const struct keyset_key *key;
	struct keydoc_refusal why;
	struct scratch dir;

	scratch_make(&dir);
	rotating(self, dir.path);
	ASSERT_OK(keeper_make(&self->k, "b", &why, &key, NULL));
	EXPECT_GE(60, counts_age(&self->k, &key->rec));
	made_before(&self->k, key, TEN_YEARS);
	EXPECT_GE(60, counts_age(&self->k, &key->rec));
	made_before(&self->k, key, -2 * TEN_YEARS);
	EXPECT_FALSE(counts_is_ahead(&self->k, &key->rec));
	EXPECT_GE(60, counts_age(&self->k, &key->rec));
	self->k.n_counts = 0;
	EXPECT_TRUE(counts_is_ahead(&self->k, &key->rec));
	rotating_end(self);
	scratch_remove(&dir);
}

/* A key that cannot be used any more gives way too: what it has wrapped may be written with for minutes. */
TEST_F(keeper, a_dead_key_gives_way)
{
	const struct keyset_key *key, *next;
	struct keydoc_refusal why;
	struct scratch dir;

	scratch_make(&dir);
	rotating(self, dir.path);
	ASSERT_OK(keyset_active(self->k.keys, "a", &key));
	counts_made(&self->k, key);
	counts_reserve(&self->k);
	EXPECT_EQ(0, counts_of(&self->k, key->rec.info.id)->wrote_ns);
	((struct keyset_key *)(uintptr_t)key)->why = -EKEYREVOKED;
	ASSERT_OK(keeper_make(&self->k, "a", &why, &next, NULL));
	EXPECT_EQ(KEY_DECRYPT_ONLY, key->rec.info.state);
	EXPECT_LT(0, counts_of(&self->k, key->rec.info.id)->wrote_ns);
	EXPECT_EQ(0, counts_of(&self->k, next->rec.info.id)->wrote_ns);
	rotating_end(self);
	scratch_remove(&dir);
}

/* The disk takes the staged key and not the document in which it is active. */
static const struct keyset_key *stage_only(struct keeper *k)
{
	const struct keyset_key *staged;
	struct keydoc_refusal why;

	ASSERT_OK(keeper_stage(k, "a", &why, &staged));
	scratch_limit_files(0);
	EXPECT_ERR(-EFBIG, keeper_step(k, KEYDOC_ACTIVATE, staged->rec.info.id, &why));
	scratch_limit_files(RLIM_INFINITY);
	EXPECT_NOT_NULL(strstr(why.text, "cannot be written"));
	EXPECT_EQ(KEY_STAGED, staged->rec.info.state);
	return staged;
}

/* The same command goes on where it has stopped, and leaves no second key behind. */
TEST_F(keeper, a_staged_key_is_taken_up)
{
	const struct keyset_key *old, *staged, *key = NULL;
	struct keydoc_refusal why;
	struct scratch dir;

	scratch_make(&dir);
	rotating(self, dir.path);
	ASSERT_OK(keyset_active(self->k.keys, "a", &old));
	staged = stage_only(&self->k);
	ASSERT_OK(keeper_make(&self->k, "a", &why, &key, NULL));
	EXPECT_EQ(staged, key);
	EXPECT_EQ(KEY_ACTIVE, key->rec.info.state);
	EXPECT_EQ(KEY_DECRYPT_ONLY, old->rec.info.state);
	EXPECT_EQ(2U, count_keys(&self->k));
	rotating_end(self);
	scratch_remove(&dir);
}

TEST_F(keeper, automatic_rotation_takes_up_a_staged_key)
{
	const struct keyset_key *staged, *key;
	struct scratch dir;

	scratch_make(&dir);
	rotating(self, dir.path);
	staged = stage_only(&self->k);
	encrypt_once(&self->k);
	rotation_tick(&self->k, START_NS);
	ASSERT_OK(keyset_active(self->k.keys, "a", &key));
	EXPECT_EQ(staged, key);
	EXPECT_EQ(2U, count_keys(&self->k));
	rotating_end(self);
	scratch_remove(&dir);
}

/* When only the activation is refused, the caller has the key to speak of. */
TEST_F(keeper, a_key_that_is_made_and_not_activated)
{
	const struct keyset_key *key = NULL;
	struct keydoc_refusal why;
	struct scratch dir;

	scratch_make(&dir);
	rotating(self, dir.path);
	key = stage_only(&self->k);
	((struct keyset_key *)(uintptr_t)key)->why = -EKEYREVOKED; /* no member opens it */
	key = NULL;
	EXPECT_ERR(-EBUSY, keeper_make(&self->k, "a", &why, &key, NULL));
	ASSERT_NOT_NULL(key);
	EXPECT_EQ(KEY_STAGED, key->rec.info.state);
	EXPECT_NOT_NULL(strstr(why.text, "cp-1 does not open key"));
	rotating_end(self);
	scratch_remove(&dir);
}

/* Where people carry the document to a second member, only what is due is said, and once. */
TEST_F(keeper, automatic_rotation_is_not_for_keysets_in_hands)
{
	int fd = memfd_create("log", MFD_CLOEXEC);
	struct keydoc_refusal why;
	struct scratch dir;
	struct keydoc *doc;

	scratch_make(&dir);
	rotating(self, dir.path);
	ASSERT_OK(keydoc_copy(keyset_doc(self->k.keys), &doc));
	doc->generation++;
	doc->members[doc->n_members++] = (struct keydoc_member){ .id = { 7 }, .name = "cp-2" };
	doc->carrier = KEYDOC_HAND;
	memcpy(doc->hand, keyset_self(self->k.keys)->id, KEYDOC_NODE);
	ASSERT_OK(keeper_take(&self->k, doc, &why));
	encrypt_once(&self->k);
	ASSERT_LE(0, dup2(fd, STDERR_FILENO));
	for (uint64_t i = 1; i <= 10; i++)
		rotation_tick(&self->k, i * 60 * START_NS);
	EXPECT_EQ(1U, count_keys(&self->k));
	EXPECT_EQ(1, said(fd, "kekctl key rotate a"));
	rotating_end(self);
	scratch_remove(&dir);
	close(fd);
}

/* Nothing of it is known, so nothing of it is changed, and the words say what is in the way. */
TEST_F(keeper, sealed)
{
	struct keydoc_change change = { .kind = KEYDOC_REOPEN };
	const struct keyset_key *key = NULL;
	struct keydoc_refusal why;
	struct keydoc *doc = NULL;
	struct keyack *ack = NULL;
	struct scratch dir;

	scratch_make(&dir);
	ASSERT_OK(key_store_open(dir.path, &self->k.store));
	ASSERT_OK(keyset_new(self->k.store, NULL, "cp-1", &self->k.keys));
	ASSERT_OK(keyset_load(self->k.keys));
	self->k.sealed = -EKEYEXPIRED;
	EXPECT_ERR(-EKEYEXPIRED, keeper_make(&self->k, "a", &why, &key, NULL));
	EXPECT_NOT_NULL(strstr(why.text, "sealed"));
	EXPECT_ERR(-EKEYEXPIRED, keeper_change(&self->k, &change, &why));
	EXPECT_ERR(-EKEYEXPIRED, keeper_plan(&self->k, &change, &why, &doc));
	EXPECT_ERR(-EKEYEXPIRED, acks_own(&self->k, &ack));
	rotation_tick(&self->k, START_NS);
	EXPECT_TRUE(!key && !doc && !ack);
	EXPECT_FALSE(scratch_has(&dir, KEY_STORE_KEYSET));
	keyset_free(self->k.keys);
	key_store_close(self->k.store);
	scratch_remove(&dir);
}

/* The document as it would be, and nothing is done. */
TEST_F(keeper, plan)
{
	struct keydoc_change change = { .kind = KEYDOC_RETIRE, .vouched = true, .forced = true };
	const struct keyset_key *old, *next;
	struct keydoc_refusal why;
	struct scratch dir;
	struct keydoc *doc;

	scratch_make(&dir);
	rotating(self, dir.path);
	ASSERT_OK(keyset_active(self->k.keys, "a", &old));
	memcpy(change.id, old->rec.info.id, sizeof(change.id));
	EXPECT_ERR(-EPERM, keeper_plan(&self->k, &change, &why, &doc));
	ASSERT_OK(keeper_make(&self->k, "a", &why, &next, NULL));
	ASSERT_OK(keeper_plan(&self->k, &change, &why, &doc));
	EXPECT_EQ(KEY_RETIRED, keydoc_key(doc, change.id)->info.state);
	EXPECT_EQ(KEY_DECRYPT_ONLY, old->rec.info.state);
	EXPECT_EQ(keyset_doc(self->k.keys)->generation + 1, doc->generation);
	keydoc_free(doc);
	rotating_end(self);
	scratch_remove(&dir);
}

/* The server's part, as it is started by server_start(). */
int main(int argc, char **argv)
{
	char c;

	if (argc == 1 && strcmp(argv[0], SPAWN_ARGV0) == 0) {
		while (recv(SPAWN_LINK_FD, &c, sizeof(c), 0) > 0)
			;
		for (;;)
			pause();
	}
	return ktest_main(argc, argv);
}
