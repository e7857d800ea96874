/* SPDX-License-Identifier: Apache-2.0 */
/* See maker.h. Two halves: the keeper's questions, and the process that answers them. */
#include "daemon/keys/maker.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "daemon/base/io.h"
#include "daemon/base/log.h"
#include "daemon/keys/root.h"
#include "daemon/sys/sandbox.h"

/* It does what takes microseconds; one that is stopped must not stop the keeper for good. */
#define WAIT_MS 10000

enum maker_what { MAKER_ROOT, MAKER_DROP, MAKER_KEY };

struct maker_question {
	uint32_t what; /* enum maker_what */
	key_serial root;
	bool trusted;              /* MAKER_ROOT: its type, and */
	char desc[ROOT_DESC_SIZE]; /* its name */
};

struct maker_answer {
	int32_t r;
	char blob[KEY_BLOB_MAX];
};

struct maker {
	int fd;    /* -1: it answers no more */
	pid_t pid; /* 0: it has been waited for */
};

/* --- the maker ------------------------------------------------------------------------------ */

struct maker_root {
	key_serial serial; /* 0: none */
	const char *type;
	char desc[ROOT_DESC_SIZE];
};

#define MAKER_ROOTS 2

static struct maker_root *maker_find(struct maker_root *roots, key_serial serial)
{
	for (size_t i = 0; i < MAKER_ROOTS; i++)
		if (roots[i].serial == serial)
			return &roots[i];
	return NULL;
}

static int maker_take_root(struct maker_root *roots, const struct maker_question *q)
{
	struct maker_root *root = maker_find(roots, 0);
	int r;

	if (strncmp(q->desc, ROOT_DESC, strlen(ROOT_DESC)) != 0 || !q->root)
		return -EINVAL;
	if (!root)
		return -ENOSPC;
	r = keyring_link(KEYRING_THREAD, q->root);
	if (r < 0)
		return r;
	root->serial = q->root;
	root->type = q->trusted ? ROOT_TRUSTED : ROOT_USER;
	memcpy(root->desc, q->desc, sizeof(root->desc));
	root->desc[sizeof(root->desc) - 1] = '\0';
	return 0;
}

static int name_leads_to(const struct maker_root *root)
{
	key_serial found;
	int r;

	r = keyring_resolve(root->type, root->desc, &found);
	if (r < 0)
		return r;
	return found == root->serial ? 0 : -ESTALE;
}

static int maker_make(const struct maker_root *root, char ret[static KEY_BLOB_MAX])
{
	key_serial key;
	int r;

	if (!root)
		return -ENOKEY;
	r = name_leads_to(root);
	if (r == 0)
		r = keyring_generate(KEYRING_THREAD, MAKER_NAME, root->type, root->desc,
				     KEKD_AES_KEY_MAX, &key);
	if (r < 0)
		return r;
	r = keyring_blob(key, ret, KEY_BLOB_MAX);
	keyring_unlink(KEYRING_THREAD, key);
	return r < 0 ? r : name_leads_to(root);
}

static void maker_answer(struct maker_root *roots, const struct maker_question *q,
			 struct maker_answer *ret)
{
	struct maker_root *root = q->root ? maker_find(roots, q->root) : NULL;

	*ret = (struct maker_answer){ .r = -EINVAL };
	if (q->what == MAKER_ROOT) {
		ret->r = maker_take_root(roots, q);
	} else if (q->what == MAKER_DROP) {
		if (root) {
			keyring_unlink(KEYRING_THREAD, root->serial);
			root->serial = 0;
		}
		ret->r = 0;
	} else if (q->what == MAKER_KEY) {
		ret->r = maker_make(root, ret->blob);
	}
	if (ret->r < 0)
		memset(ret->blob, 0, sizeof(ret->blob));
}

/* Its name, and nothing that was the keeper's; the parent-death signal after the capabilities. */
static int maker_lock_in(int fd, pid_t keeper)
{
	int r;

	prctl(PR_SET_NAME, MAKER_NAME);
	if (dup2(fd, STDIN_FILENO) < 0 || close_range(STDIN_FILENO + 1, ~0U, 0) < 0)
		return -errno;
	r = sandbox_init();
	if (r == 0)
		r = sandbox_keep_caps(0);
	if (r == 0)
		r = sandbox_die_with(keeper);
	return r == 0 ? sandbox_seccomp_maker() : r;
}

/* The first answer, to no question, says that it is locked in. */
static _noreturn_ void maker_run(int fd, pid_t keeper)
{
	struct maker_answer a = { .r = maker_lock_in(fd, keeper) };
	bool locked_in = a.r == 0;
	struct maker_question q;
	struct maker_root roots[MAKER_ROOTS] = { 0 };

	while (write(STDIN_FILENO, &a, sizeof(a)) == (ssize_t)sizeof(a) && locked_in &&
	       read(STDIN_FILENO, &q, sizeof(q)) == (ssize_t)sizeof(q))
		maker_answer(roots, &q, &a);
	_exit(0);
}

/* --- the keeper ----------------------------------------------------------------------------- */

/* A late answer must not become that of another question: who fails once is not asked again. */
static int maker_lost(struct maker *m, int r)
{
	closep(&m->fd);
	m->fd = -1;
	log_error("the process that makes keys (" MAKER_NAME
		  ") does not answer: %s; the keys that are there serve on. To make new ones, "
		  "restart kekd",
		  errno_text(r));
	return -EPIPE;
}

static int maker_hear(struct maker *m, struct maker_answer *ret)
{
	struct pollfd p = { .fd = m->fd, .events = POLLIN };
	ssize_t n = io_retry(poll(&p, 1, WAIT_MS));

	if (n <= 0)
		return maker_lost(m, n == 0 ? -ETIME : -errno);
	n = io_retry(read(m->fd, ret, sizeof(*ret)));
	if (n != (ssize_t)sizeof(*ret))
		return maker_lost(m, n < 0 ? -errno : -EPIPE);
	return ret->r;
}

static int maker_ask(struct maker *m, const struct maker_question *q, struct maker_answer *ret)
{
	if (m->fd < 0)
		return -EPIPE;
	if (send(m->fd, q, sizeof(*q), MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)sizeof(*q))
		return maker_lost(m, -errno);
	return maker_hear(m, ret);
}

static int maker_fork(int *ret_fd, pid_t *ret_pid)
{
	pid_t keeper = getpid(), pid;
	int pair[2], r = 0;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	pid = fork();
	if (pid == 0)
		maker_run(pair[1], keeper);
	if (pid < 0) {
		r = -errno;
		close(pair[0]);
	}
	close(pair[1]);
	if (r < 0)
		return r;
	*ret_fd = pair[0];
	*ret_pid = pid;
	return 0;
}

int maker_start(struct maker **ret)
{
	_cleanup_(maker_stopp) struct maker *m = NULL;
	struct maker_answer ready;
	pid_t pid = 0;
	int fd = -1, r;

	r = maker_fork(&fd, &pid);
	if (r < 0)
		return r;
	m = calloc(1, sizeof(*m));
	if (!m) {
		close(fd); /* it ends by that */
		return -ENOMEM;
	}
	*m = (struct maker){ .fd = fd, .pid = pid };
	r = maker_hear(m, &ready);
	if (r < 0)
		return r;
	*ret = move_ptr(m);
	return 0;
}

void maker_stop(struct maker *m)
{
	if (!m)
		return;
	closep(&m->fd);
	if (m->pid > 0) {
		kill(m->pid, SIGKILL); /* it may be stopped */
		(void)io_retry(waitpid(m->pid, NULL, 0));
	}
	free(m);
}

int maker_root(struct maker *m, key_serial root, const char *type, const char *desc)
{
	struct maker_question q = { .what = MAKER_ROOT,
				    .root = root,
				    .trusted = strcmp(type, ROOT_TRUSTED) == 0 };
	struct maker_answer a;

	if (strlen(desc) >= sizeof(q.desc))
		return -EINVAL;
	memcpy(q.desc, desc, strlen(desc));
	return maker_ask(m, &q, &a);
}

int maker_drop(struct maker *m, key_serial root)
{
	const struct maker_question q = { .what = MAKER_DROP, .root = root };
	struct maker_answer a;

	return maker_ask(m, &q, &a);
}

int maker_key(struct maker *m, key_serial root, char ret_blob[static KEY_BLOB_MAX])
{
	const struct maker_question q = { .what = MAKER_KEY, .root = root };
	struct maker_answer a;
	int r = maker_ask(m, &q, &a);

	if (r < 0)
		return r;
	a.blob[sizeof(a.blob) - 1] = '\0';
	memcpy(ret_blob, a.blob, sizeof(a.blob));
	return 0;
}

bool maker_reaped(struct maker *m, pid_t pid)
{
	if (!m || m->pid != pid)
		return false;
	m->pid = 0;
	if (m->fd >= 0)
		maker_lost(m, -ESRCH);
	return true;
}
