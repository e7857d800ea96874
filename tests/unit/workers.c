/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What several servers are told, and in which order. The servers are children that answer as real ones do
 * and write down what they hear, all into one pipe: a line is there before its answer is given, so
 * that the order of the lines is an order in time.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>

#include "daemon/base/log.h"
#include "daemon/keeper/keeper_private.h"
#include "tests/harness/ktest.h"
#include "tests/support/root.h"
#include "tests/unit/alone.h"
#include "tests/unit/scratch.h"

#define WORKERS 2
#define HEARD   4096

FIXTURE(workers)
{
	struct scratch dir;
	struct keeper k;
	struct keeper_options opt;
	struct config config;
	struct conf conf;
	int heard[2];
};

/* A test of its own process exits by ktest; a child of it by this. */
static _noreturn_ void server(char name, int link_fd, int to, int reload_r)
{
	struct link_fds fds = { 0 };
	struct link_msg msg, answer;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (link_recv(link_fd, &msg, &fds) == 0) {
		answer = (struct link_msg){ .index = msg.index };
		link_fds_close(&fds);
		switch (msg.type) {
		case LINK_KEY:
			dprintf(to, "%c key %s\n", name, key_state_name(msg.key.state));
			break;
		case LINK_SYNC:
			dprintf(to, "%c sync\n", name);
			answer.type = LINK_USED;
			link_send(link_fd, &answer, NULL);
			answer.type = LINK_SYNCED;
			break;
		case LINK_CONFIG:
			dprintf(to, "%c config\n", name);
			answer.type = LINK_RELOADED;
			answer.r = reload_r;
			answer.since_ns = now_ns();
			break;
		case LINK_SEALED:
			dprintf(to, "%c sealed %s\n", name, errno_text(msg.r));
			break;
		case LINK_RELOAD:
			dprintf(to, "%c %s\n", name, msg.r == 0 ? "go" : "stay");
			break;
		default:
			dprintf(to, "%c type %u\n", name, msg.type);
		}
		if (answer.type != 0)
			link_send(link_fd, &answer, NULL);
	}
	_exit(0);
}

static void add_server(struct ktest_data_of_workers *self, int reload_r)
{
	struct worker *w = &self->k.workers[self->k.n_workers];
	char name = (char)('A' + self->k.n_workers);
	int fds[2];

	ASSERT_OK(link_pair(fds));
	w->pid = fork();
	ASSERT_LE(0, w->pid);
	if (w->pid == 0) {
		close(fds[0]);
		server(name, fds[1], self->heard[1], reload_r);
	}
	close(fds[1]);
	w->link_fd = fds[0];
	w->serving = true;
	self->k.n_workers++;
}

FIXTURE_SETUP(workers)
{
	scratch_make(&self->dir);
	self->k.opt = &self->opt;
	self->k.conf = &self->conf;
	self->config.workers = WORKERS;
	self->config.custody = CONFIG_CUSTODY_HOLDER;
	self->conf.config = &self->config;
	self->conf.config_fd = memfd_create("config", MFD_CLOEXEC);
	self->conf.enc_fd = memfd_create("encryption", MFD_CLOEXEC);
	self->k.ever_served = true;
	for (size_t i = 0; i < KEKD_WORKERS_MAX; i++)
		self->k.workers[i].link_fd = -1;
	ASSERT_OK(pipe(self->heard));
	ASSERT_OK(key_store_open(self->dir.path, &self->k.store));
	ASSERT_OK(test_root(&self->k.root));
	ASSERT_OK(keyset_new(self->k.store, self->k.root, "cp-1", &self->k.keys));
	ASSERT_OK(keyset_load(self->k.keys));
	ASSERT_OK(acks_open(&self->k));
}

FIXTURE_TEARDOWN(workers)
{
	for (size_t i = 0; i < self->k.n_workers; i++)
		closep(&self->k.workers[i].link_fd);
	closep(&self->conf.config_fd);
	closep(&self->conf.enc_fd);
	close(self->heard[0]);
	closep(&self->heard[1]);
	acks_close(&self->k);
	keyset_free(self->k.keys);
	root_key_free(self->k.root);
	key_store_close(self->k.store);
	scratch_remove(&self->dir);
}

/* All that was heard, when nobody hears any more. */
static void heard(struct ktest_data_of_workers *self, char ret[static HEARD])
{
	size_t len = 0;
	ssize_t n;

	for (size_t i = 0; i < self->k.n_workers; i++) {
		closep(&self->k.workers[i].link_fd);
		self->k.workers[i].link_fd = -1;
	}
	for (size_t i = 0; i < self->k.n_workers; i++)
		if (self->k.workers[i].pid > 0)
			waitpid(self->k.workers[i].pid, NULL, 0);
	close(self->heard[1]);
	self->heard[1] = -1;
	while ((n = read(self->heard[0], ret + len, HEARD - 1 - len)) > 0)
		len += (size_t)n;
	ret[len] = '\0';
}

/* Where the line is in @text; at its end if it is not. */
static size_t place(const char *text, const char *line)
{
	const char *at = strstr(text, line);

	return at ? (size_t)(at - text) : strlen(text);
}

static size_t lines(const char *text)
{
	size_t n = 0;

	for (; *text; text++)
		n += *text == '\n';
	return n;
}

/* The first value under the key may reach the other server at once: it has to have the key by then. */
TEST_F(workers, nobody_writes_before_all_can_read)
{
	const struct keyset_key *key;
	char text[HEARD];

	add_server(self, 0);
	add_server(self, 0);
	ASSERT_OK(alone_create(self->k.keys, "primary", &key));
	server_send_key(&self->k, key);
	heard(self, text);
	EXPECT_EQ(6, lines(text));
	EXPECT_LT(place(text, "A key staged\n"), place(text, "A sync\n"));
	EXPECT_LT(place(text, "B key staged\n"), place(text, "B sync\n"));
	EXPECT_LT(place(text, "B sync\n"), place(text, "A key active\n"));
	EXPECT_LT(place(text, "A sync\n"), place(text, "B key active\n"));
	EXPECT_LT(place(text, "A key active\n"), strlen(text));
	EXPECT_LT(place(text, "B key active\n"), strlen(text));
}

/* A key that goes to a server by a descriptor, as those for secretbox do. */
static const struct keyset_key *box_key(struct keyset *keys)
{
	static const uint8_t bytes[32] = "a key that goes by a descriptor.";
	const struct key_record box = { .info.name = "box",
					.info.label = "box",
					.info.key_bytes = sizeof(bytes),
					.info.secretbox = true };
	const struct keyset_key *key;

	ASSERT_OK(keyset_begin(keys));
	ASSERT_OK(alone_import(keys, &box, span_of(bytes, sizeof(bytes)), &key));
	return key;
}

/* The keeper has used up all others. */
TEST_F(workers, spare_descriptors_are_for_servers)
{
	const struct rlimit limit = { .rlim_cur = 64, .rlim_max = 64 };
	const struct keyset_key *key;
	struct link_fds got = { 0 };
	struct link_msg msg;
	int fds[2], last = -1, fd;

	/* Valgrind keeps some to itself, and refuses. */
	if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
		SKIP("the limit of open files is not the kernel's own");
	ASSERT_OK(link_pair(fds));
	self->k.n_workers = 1;
	self->k.workers[0].link_fd = fds[0];
	self->k.workers[0].serving = true;
	key = box_key(self->k.keys);
	fdspare_fill(&self->k.spare, fds[0]);
	while ((fd = dup(fds[0])) >= 0)
		last = fd;
	server_send_key(&self->k, key);
	fdspare_fill(&self->k.spare, fds[0]);
	EXPECT_EQ(FDPASS_MAX, self->k.spare.n);
	close(last);
	ASSERT_OK(link_recv(fds[1], &msg, &got));
	EXPECT_EQ(LINK_KEY, msg.type);
	EXPECT_EQ(1, got.n);
	link_fds_close(&got);
	fdspare_use(&self->k.spare);
	close(fds[1]);
}

TEST_F(workers, one_server_needs_no_steps)
{
	const struct keyset_key *key;
	char text[HEARD];

	add_server(self, 0);
	ASSERT_OK(alone_create(self->k.keys, "primary", &key));
	server_send_key(&self->k, key);
	heard(self, text);
	EXPECT_STREQ("A key active\n", text);
}

/* The others have answered long before its time is over. */
TEST_F(workers, one_that_stands_still_is_killed_alone)
{
	char text[HEARD];

	add_server(self, 0);
	add_server(self, 0);
	ASSERT_OK(kill(self->k.workers[0].pid, SIGSTOP));
	server_sync(&self->k);
	EXPECT_EQ(self->k.syncs, self->k.workers[1].synced);
	EXPECT_NE(self->k.syncs, self->k.workers[0].synced);
	server_send_sealed(&self->k); /* the first is dead or dying, the second hears it */
	heard(self, text);
	EXPECT_LT(place(text, "B sync\n"), place(text, "B sealed"));
	EXPECT_LT(place(text, "B sealed"), strlen(text));
}

/* Stopped, and so much to read that nothing more goes into its link. */
static void stand_still(struct worker *w)
{
	const struct timeval wait = { .tv_sec = 2 }; /* as a real one's */
	struct link_msg msg = { .type = LINK_PING };
	int flags = fcntl(w->link_fd, F_GETFL);

	ASSERT_OK(kill(w->pid, SIGSTOP));
	ASSERT_EQ(w->pid, waitpid(w->pid, NULL, WUNTRACED));
	ASSERT_OK(fcntl(w->link_fd, F_SETFL, flags | O_NONBLOCK));
	while (link_send(w->link_fd, &msg, NULL) == 0)
		;
	ASSERT_OK(fcntl(w->link_fd, F_SETFL, flags));
	ASSERT_OK(setsockopt(w->link_fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait)));
}

/* To find out that several take nothing is no part of the time that the last has for its answer. */
TEST_F(workers, several_that_stand_still_are_killed_alone)
{
	for (size_t i = 0; i < 4; i++)
		add_server(self, 0);
	for (size_t i = 0; i < 3; i++)
		stand_still(&self->k.workers[i]);
	server_sync(&self->k);
	EXPECT_EQ(self->k.syncs, self->k.workers[3].synced);
	EXPECT_OK(kill(self->k.workers[3].pid, 0));
	EXPECT_EQ(0, waitpid(self->k.workers[3].pid, NULL, WNOHANG));
}

/* What waits for a cipher in a server, a Decrypt, would fail if another one came in its place. */
TEST_F(workers, keys_that_open_are_left_in_place)
{
	struct link_msg msg = { .type = LINK_SYNCED };
	struct link_fds fds = { 0 };
	const struct keyset_key *key;
	struct keydoc_refusal why;
	unsigned int keys = 0;
	int link[2];

	ASSERT_OK(keeper_make(&self->k, "primary", &why, &key, NULL));
	ASSERT_OK(keeper_stage(&self->k, "primary", &why, &key));
	ASSERT_OK(link_pair(link));
	self->k.n_workers = 1;
	self->k.workers[0].link_fd = link[0];
	msg.index = self->k.syncs + 1;
	ASSERT_OK(link_send(link[1], &msg, NULL));
	ASSERT_OK(keeper_step(&self->k, KEYDOC_ACTIVATE, key->rec.info.id, &why));
	do {
		ASSERT_OK(link_recv(link[1], &msg, &fds));
		keys += msg.type == LINK_KEY;
		EXPECT_EQ(0, fds.n);
		link_fds_close(&fds);
	} while (msg.type != LINK_SYNC);
	EXPECT_EQ(2, keys);
	close(link[1]);
}

/* All have the new key before one writes with it, and between the two there is one to write with. */
TEST_F(workers, rotation_in_order)
{
	const struct keyset_key *key;
	struct keydoc_refusal why;
	const char *rest;
	char text[HEARD];

	ASSERT_OK(keeper_make(&self->k, "primary", &why, &key, NULL));
	add_server(self, 0);
	add_server(self, 0);
	ASSERT_OK(keeper_make(&self->k, "primary", &why, &key, NULL));
	heard(self, text);
	EXPECT_EQ(10, lines(text)); /* each: staged, sync, active, decrypt-only, sync */
	EXPECT_LT(place(text, "A key staged\n"), place(text, "A sync\n"));
	EXPECT_LT(place(text, "B key staged\n"), place(text, "B sync\n"));
	EXPECT_LT(place(text, "A sync\n"), place(text, "B key active\n"));
	EXPECT_LT(place(text, "B sync\n"), place(text, "A key active\n"));
	EXPECT_LT(place(text, "A key active\n"), place(text, "A key decrypt-only\n"));
	EXPECT_LT(place(text, "B key active\n"), place(text, "B key decrypt-only\n"));
	rest = text + place(text, "A key decrypt-only\n");
	EXPECT_LT(place(rest, "A sync\n"), strlen(rest)); /* when the change is said to be done */
}

/* The machine's document as one of its members might have changed it. */
static struct keydoc *document(const struct keeper *k)
{
	struct keydoc *doc;

	ASSERT_OK(keydoc_copy(keyset_doc(k->keys), &doc));
	doc->generation++;
	return doc;
}

static void take(struct keeper *k, struct keydoc *doc)
{
	struct keydoc_refusal why;
	int r = keeper_take(k, doc, &why);

	if (r < 0)
		EXPECT_STREQ("", why.text);
	ASSERT_OK(r);
}

/* A second member that makes the changes. */
static struct keydoc *with_other(struct keydoc *doc)
{
	doc->members[1] = (struct keydoc_member){ .id = { 7 }, .name = "cp-2" };
	doc->n_members = 2;
	doc->carrier = KEYDOC_HAND;
	memcpy(doc->hand, doc->members[1].id, KEYDOC_NODE);
	return doc;
}

/* Whose writing nobody may count on opens values and says why it writes none. */
TEST_F(workers, one_that_is_leaving_writes_no_more)
{
	const struct keyset_key *key;
	struct keydoc_refusal why;
	struct keydoc *doc;
	char text[HEARD];

	ASSERT_OK(keeper_make(&self->k, "primary", &why, &key, NULL));
	take(&self->k, with_other(document(&self->k)));
	EXPECT_EQ(0, self->k.sealed_why);
	add_server(self, 0);
	doc = document(&self->k);
	doc->members[0].leaving = true;
	take(&self->k, doc);
	EXPECT_ERR(-ESTALE, self->k.sealed_why);
	EXPECT_ERR(-EPERM, keyset_active(self->k.keys, "primary", &key));
	heard(self, text);
	EXPECT_EQ(3, lines(text));
	EXPECT_LT(place(text, "A sealed ESTALE"), place(text, "A key decrypt-only\n"));
	EXPECT_LT(place(text, "A key decrypt-only\n"), place(text, "A sync\n"));
}

/* One that only reads until a member has let it join. */
TEST_F(workers, one_that_becomes_a_member_writes)
{
	const struct keyset_key *key;
	struct keydoc_refusal why;
	struct keydoc *doc, *back;
	char text[HEARD];

	ASSERT_OK(keeper_make(&self->k, "primary", &why, &key, NULL));
	back = with_other(document(&self->k));
	doc = document(&self->k);
	doc->members[0].id[0] ^= 1;
	take(&self->k, doc);
	EXPECT_ERR(-ESTALE, self->k.sealed_why);
	EXPECT_ERR(-EPERM, keeper_stage(&self->k, "primary", &why, &key));
	add_server(self, 0);
	add_server(self, 0);
	back->generation++;
	take(&self->k, back);
	EXPECT_EQ(0, self->k.sealed_why);
	EXPECT_OK(keyset_active(self->k.keys, "primary", &key));
	heard(self, text);
	EXPECT_EQ(6, lines(text));
	EXPECT_LT(place(text, "A sealed "), place(text, "A key active\n"));
	EXPECT_LT(place(text, "B sealed "), place(text, "B key active\n"));
	EXPECT_LT(place(text, "A key active\n"), place(text, "A sync\n"));
	EXPECT_EQ(strlen(text), place(text, "ESTALE"));
}

/* The next one of them is given no more than the others have. */
TEST_F(workers, what_a_new_server_is_told_by_one_that_is_leaving)
{
	const struct keyset_key *key;
	struct keydoc_refusal why;
	struct keydoc *doc;

	ASSERT_OK(keeper_make(&self->k, "primary", &why, &key, NULL));
	EXPECT_EQ(KEY_ACTIVE, worker_key_state(&self->k, key));
	doc = with_other(document(&self->k));
	doc->members[0].leaving = true;
	take(&self->k, doc);
	EXPECT_EQ(KEY_ACTIVE, key->rec.info.state);
	EXPECT_EQ(KEY_DECRYPT_ONLY, worker_key_state(&self->k, key));
}

/* It would be missing there for as long as that server lives, although nothing is wrong with it. */
TEST_F(workers, key_for_which_there_is_no_descriptor)
{
	const struct keyset_key *key;
	struct rlimit before, none;
	int status = 0;
	pid_t pid;

	key = box_key(self->k.keys);
	add_server(self, 0);
	self->k.workers[0].serving = true;
	pid = self->k.workers[0].pid;
	ASSERT_EQ(0, getrlimit(RLIMIT_NOFILE, &before));
	none = (struct rlimit){ .rlim_max = before.rlim_max };
	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &none));
	worker_send_key(&self->k, &self->k.workers[0], key, KEY_ACTIVE);
	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &before));
	EXPECT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status));
	worker_reaped(&self->k, &self->k.workers[0], SIGKILL);
}

static void hear_all(struct keeper *k)
{
	for (size_t i = 0; i < k->n_workers; i++)
		worker_hear(k, &k->workers[i]);
}

/* @self->k goes on with what this returns, or with what it had. */
static struct conf *reload_begin(struct ktest_data_of_workers *self)
{
	struct conf *next = calloc(1, sizeof(*next));
	struct conf *old = calloc(1, sizeof(*old));

	ASSERT_TRUE(next && old);
	*old = self->conf;
	old->config = calloc(1, sizeof(*old->config));
	next->config = calloc(1, sizeof(*next->config));
	ASSERT_TRUE(old->config && next->config);
	next->config_fd = memfd_create("config", MFD_CLOEXEC);
	next->enc_fd = memfd_create("encryption", MFD_CLOEXEC);
	self->conf.config_fd = self->conf.enc_fd = -1; /* @old's now */
	self->k.conf = old;
	self->k.next_conf = next;
	EXPECT_TRUE(server_reload_start(&self->k));
	return next;
}

/* However slow this process is, the bound has not been reached. */
static void take_your_time(struct ktest_data_of_workers *self)
{
	ASSERT_NE(0, self->k.reload_until_ns);
	self->k.reload_until_ns = UINT64_MAX;
}

TEST_F(workers, reload_when_all_can)
{
	const struct conf *next;
	char text[HEARD];

	add_server(self, 0);
	add_server(self, 0);
	next = reload_begin(self);
	worker_hear(&self->k, &self->k.workers[0]);
	server_reload_end(&self->k);
	EXPECT_TRUE(self->k.conf != next); /* the other has not answered */
	worker_hear(&self->k, &self->k.workers[1]);
	take_your_time(self);
	server_reload_end(&self->k);
	EXPECT_TRUE(self->k.conf == next);
	EXPECT_NULL(self->k.next_conf);
	heard(self, text);
	EXPECT_EQ(4, lines(text));
	EXPECT_LT(place(text, "B config\n"), place(text, "A go\n"));
	EXPECT_LT(place(text, "A config\n"), place(text, "B go\n"));
	EXPECT_LT(place(text, "B go\n"), strlen(text));
	conf_free(self->k.conf);
}

TEST_F(workers, reload_when_one_cannot)
{
	const struct conf *next;
	char text[HEARD];

	add_server(self, 0);
	add_server(self, -ENOMEM);
	next = reload_begin(self);
	hear_all(&self->k);
	server_reload_end(&self->k);
	EXPECT_TRUE(self->k.conf != next);
	EXPECT_NULL(self->k.next_conf);
	heard(self, text);
	EXPECT_EQ(3, lines(text));
	EXPECT_LT(place(text, "B config\n"), place(text, "A stay\n"));
	EXPECT_LT(place(text, "A stay\n"), strlen(text));
	conf_free(self->k.conf);
}

/* Who dies meanwhile is not asked: the next one begins with what is in force then. */
TEST_F(workers, reload_when_one_dies)
{
	const struct conf *next;
	char text[HEARD];

	add_server(self, 0);
	add_server(self, 0);
	next = reload_begin(self);
	kill(self->k.workers[1].pid, SIGKILL);
	worker_hear(&self->k, &self->k.workers[0]);
	waitpid(self->k.workers[1].pid, NULL, 0);
	worker_reaped(&self->k, &self->k.workers[1], SIGKILL);
	take_your_time(self);
	server_reload_end(&self->k);
	EXPECT_TRUE(self->k.conf == next);
	heard(self, text);
	EXPECT_LT(place(text, "A go\n"), strlen(text));
	conf_free(self->k.conf);
}

/* The first may have given up by then, and go on by the old configuration. */
TEST_F(workers, reload_when_the_last_answer_comes_late)
{
	const struct conf *next;
	char text[HEARD];

	add_server(self, 0);
	add_server(self, 0);
	next = reload_begin(self);
	worker_hear(&self->k, &self->k.workers[0]);
	server_reload_end(&self->k);
	EXPECT_NE(0, self->k.reload_until_ns);
	self->k.reload_until_ns = 1;
	worker_hear(&self->k, &self->k.workers[1]);
	server_reload_end(&self->k);
	EXPECT_TRUE(self->k.conf != next);
	EXPECT_NULL(self->k.next_conf);
	EXPECT_EQ(0, self->k.reload_until_ns);
	heard(self, text);
	EXPECT_LT(place(text, "A stay\n"), strlen(text));
	EXPECT_LT(place(text, "B stay\n"), strlen(text));
	conf_free(self->k.conf);
}

/* All have answered long ago, and the keeper was busy with something else: a slow disk, another server. */
TEST_F(workers, reload_when_answers_are_heard_late)
{
	struct link_msg answer = { .type = LINK_RELOADED };
	struct link_fds none = { 0 };
	struct link_msg msg;
	const struct conf *next;
	int fds[2];

	ASSERT_OK(link_pair(fds));
	self->k.n_workers = 1;
	self->k.workers[0].link_fd = fds[0];
	self->k.workers[0].serving = true;
	next = reload_begin(self);
	answer.since_ns = now_ns() - UINT64_C(2500000000);
	ASSERT_OK(link_send(fds[1], &answer, NULL));
	worker_hear(&self->k, &self->k.workers[0]);
	server_reload_end(&self->k);
	EXPECT_TRUE(self->k.conf != next);
	EXPECT_NULL(self->k.next_conf);
	ASSERT_OK(link_recv(fds[1], &msg, &none));
	EXPECT_EQ(LINK_CONFIG, msg.type);
	link_fds_close(&none);
	ASSERT_OK(link_recv(fds[1], &msg, &none));
	EXPECT_EQ(LINK_RELOAD, msg.type);
	EXPECT_ERR(-ETIMEDOUT, msg.r);
	close(fds[1]);
	conf_free(self->k.conf);
}

/* They have died, and their end has not been seen yet when SIGHUP comes. */
TEST_F(workers, reload_when_nobody_is_there_stays_wanted)
{
	self->k.n_workers = 2;
	self->k.workers[0].serving = self->k.workers[1].serving = true;
	self->k.next_conf = &self->conf;
	EXPECT_FALSE(server_reload_start(&self->k));
	EXPECT_TRUE(self->k.reload_wanted);
	self->k.n_workers = 0;
}

TEST_F(workers, what_is_so_now_is_of_those_that_live)
{
	struct metrics m;

	self->k.n_workers = 2;
	self->k.metrics.jobs = 7;
	self->k.workers[0].stats = (struct metrics){ .connections = 2, .jobs = 5 };
	self->k.workers[1].stats = (struct metrics){ .connections = 3, .probe_r = -EIO };
	server_metrics(&self->k, &m);
	EXPECT_EQ(7, m.jobs);
	EXPECT_EQ(5, m.connections);
	EXPECT_ERR(-EIO, m.probe_r);
	self->k.n_workers = 0;
}

TEST_F(workers, a_lie_does_not_lower_counts)
{
	struct link_msg used = { .encryptions = 5 };
	const struct keyset_key *key;

	ASSERT_OK(alone_create(self->k.keys, "primary", &key));
	memcpy(used.key.id, key->rec.info.id, sizeof(used.key.id));
	counts_add(&self->k, &used);
	used.encryptions = UINT64_MAX - 3;
	counts_add(&self->k, &used);
	EXPECT_LE(5, counts_of(&self->k, key->rec.info.id)->encryptions);
	EXPECT_LE(counts_of(&self->k, key->rec.info.id)->encryptions,
		  counts_of(&self->k, key->rec.info.id)->reserved);
}

/* What a taken-over server says of itself stays in the page of metrics when it is long gone. */
TEST_F(workers, a_lie_does_not_spoil_metrics)
{
	static const char yaml[] =
		"apiVersion: apiserver.config.k8s.io/v1\n"
		"kind: EncryptionConfiguration\n"
		"resources:\n"
		"- resources: [secrets]\n"
		"  providers: [ { kms: { apiVersion: v2, name: a, endpoint: unix:///run/a } } ]\n";
	struct link_msg stats = { .type = LINK_STATS };
	struct link_msg ready = { .type = LINK_READY, .text = "a\"} 1\nkekd_up 1\xff" };
	struct metrics_upstream *u = stats.stats.upstreams;
	struct yaml_error err = { 0 };
	int fds[2];

	ASSERT_OK(encconf_parse(span_str(yaml), "e", 0, &self->conf.enc, &err));
	ASSERT_OK(link_pair(fds));
	self->k.n_workers = 1;
	self->k.workers[0].link_fd = fds[0];
	stats.stats.n_upstreams = UINT32_MAX;
	strcpy(u[0].path, "\xff");
	memset(u[1].path, 'x', sizeof(u[1].path));
	strcpy(u[2].path, "/run/a");
	u[2].calls = 3;
	ASSERT_OK(link_send(fds[1], &ready, NULL));
	ASSERT_OK(link_send(fds[1], &stats, NULL));
	worker_hear(&self->k, &self->k.workers[0]);
	worker_hear(&self->k, &self->k.workers[0]);
	EXPECT_EQ(1, self->k.metrics.n_upstreams);
	EXPECT_STREQ("/run/a", self->k.metrics.upstreams[0].path);
	EXPECT_EQ(3, self->k.metrics.upstreams[0].calls);
	EXPECT_STREQ("a?} 1?kekd_up 1?", self->k.ring_text);
	encconf_free(self->conf.enc);
	close(fds[1]);
}

/* A taken-over server can have given its end away; what it has said before is heard all the same. */
TEST_F(workers, link_that_outlives_its_server)
{
	struct link_msg synced = { .type = LINK_SYNCED, .index = 5 };
	int fds[2];

	ASSERT_OK(link_pair(fds));
	self->k.n_workers = 1;
	self->k.workers[0].link_fd = fds[0];
	self->k.workers[0].serving = true;
	ASSERT_OK(link_send(fds[1], &synced, NULL));
	worker_reaped(&self->k, &self->k.workers[0], SIGKILL);
	EXPECT_EQ(-1, self->k.workers[0].link_fd);
	EXPECT_EQ(5, self->k.workers[0].synced);
	EXPECT_ERR(-EPIPE, link_send(fds[1], &synced, NULL));
	close(fds[1]);
}

static void expect_killed(struct ktest_data_of_workers *self, pid_t pid)
{
	int status = 0;

	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status));
	worker_reaped(&self->k, &self->k.workers[0], SIGKILL);
}

/* What is in the protocol, but not now, or not with a descriptor, is not listened to. */
TEST_F(workers, server_that_breaks_the_rules)
{
	static const struct {
		bool serving;
		uint32_t type;
		unsigned int n_fds;
	} cases[] = {
		{ false, LINK_SYNCED, 0 }, { true, LINK_READY, 0 }, { true, LINK_KEY, 0 },
		{ true, LINK_SYNCED, 1 },  { true, LINK_TYPES, 0 }, { true, 0, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct link_msg msg = { .type = cases[i].type, .index = 77 };
		struct link_fds with = { .fd = { self->heard[0] }, .n = cases[i].n_fds };
		struct worker *w = self->k.workers;
		int fds[2];

		ASSERT_OK(link_pair(fds));
		self->k.n_workers = 1;
		w->serving = cases[i].serving;
		w->link_fd = fds[0];
		w->pid = fork();
		ASSERT_LE(0, w->pid);
		if (w->pid == 0)
			for (;;)
				pause();
		ASSERT_OK(link_send(fds[1], &msg, &with));
		worker_hear(&self->k, w);
		EXPECT_NE(77, w->synced);
		expect_killed(self, w->pid);
		close(fds[1]);
	}
}

/* Each may do before its first report what a single one may. */
TEST_F(workers, room_for_the_counts_of_each)
{
	const struct keyset_key *key;
	uint64_t one;

	ASSERT_OK(alone_create(self->k.keys, "primary", &key));
	self->config.workers = 1;
	counts_reserve(&self->k);
	one = counts_of(&self->k, key->rec.info.id)->reserved;
	EXPECT_LT(0, one);
	self->config.workers = 3;
	counts_reserve(&self->k);
	EXPECT_EQ(3 * one, counts_of(&self->k, key->rec.info.id)->reserved);
}

/* Nobody knows what it did after its last report, so all that it may have done is counted. */
TEST_F(workers, counts_when_one_is_killed_at_the_end)
{
	struct link_msg used = { .encryptions = 3 };
	const struct keyset_key *key;

	self->k.n_workers = 2;
	ASSERT_OK(alone_create(self->k.keys, "primary", &key));
	counts_reserve(&self->k);
	memcpy(used.key.id, key->rec.info.id, sizeof(used.key.id));
	counts_add(&self->k, &used);
	worker_reaped(&self->k, &self->k.workers[0], SIGKILL); /* it has never served */
	EXPECT_EQ(3, counts_of(&self->k, key->rec.info.id)->encryptions);
	self->k.stopping = true;
	self->k.workers[0].serving = self->k.workers[1].serving = true;
	worker_reaped(&self->k, &self->k.workers[0], 0);
	EXPECT_EQ(3, counts_of(&self->k, key->rec.info.id)->encryptions);
	worker_reaped(&self->k, &self->k.workers[1], SIGKILL);
	EXPECT_LT(3, counts_of(&self->k, key->rec.info.id)->encryptions);
	self->k.n_workers = 0;
}

/* One that stands still is not hidden by another that answers. */
TEST_F(workers, one_that_stands_still)
{
	struct worker *w = self->k.workers;
	const uint64_t now = UINT64_C(100) * 1000000000;

	EXPECT_FALSE(server_answers(&self->k, now));
	self->k.n_workers = 2;
	EXPECT_FALSE(server_answers(&self->k, now));
	w[0].serving = true;
	w[0].probed_ns = now - 5;
	EXPECT_TRUE(server_answers(&self->k, now));
	w[1].serving = true;
	w[1].probed_ns = now - 9;
	EXPECT_EQ(now - 9, server_probed_ns(&self->k));
	w[1].pinged_ns = now - UINT64_C(5) * 1000000000;
	EXPECT_FALSE(server_answers(&self->k, now));
	w[1].serving = false;
	EXPECT_TRUE(server_answers(&self->k, now));
	EXPECT_EQ(now - 5, server_probed_ns(&self->k));
	self->k.n_workers = 0;
}

TEST_HARNESS_MAIN
