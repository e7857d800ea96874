/* SPDX-License-Identifier: Apache-2.0 */
/* See holder.h. A key is in the page that the two share from the order to the answer. */
#include "daemon/keeper/holder.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/wait.h>

#include "daemon/base/io.h"
#include "daemon/base/log.h"
#include "daemon/base/secmem.h"
#include "daemon/crypto/holder.h"
#include "daemon/crypto/selftest.h"
#include "daemon/keeper/spawn.h"

#define NS_PER_MS UINT64_C(1000000)

/* Why, for the log. */
#define STOPPED "it is stopped by a signal"
#define SILENT  "nothing heard of it for seconds"

struct holder_process {
	pid_t pid; /* 0: it is not there yet, or has been waited for */
	uid_t uid;
	struct holder_orders *orders;
	int bell, reply;     /* -1: it is asked no more */
	int channel, answer; /* for its server; -1: given */
	uint64_t pinged_ns;  /* 0: it has answered the last PING */
	uint64_t heard_ns;
};

/* What is made before it is there: ours, and its. */
struct parts {
	int channel, orders;
	int bell[2], answer[2], reply[2];
};

static void parts_close(struct parts *p)
{
	closep(&p->channel);
	closep(&p->orders);
	for (size_t i = 0; i < 2; i++) {
		closep(&p->bell[i]);
		closep(&p->answer[i]);
		closep(&p->reply[i]);
	}
}

/*
 * The ends that are written to do not block: who does not read must not make the others wait. That a pipe was read is
 * of no interest: without O_NOATIME each read(2) looks whether to write its time down.
 */
static int parts_pipe(int ret[static 2])
{
	if (pipe2(ret, O_CLOEXEC) < 0 || fcntl(ret[0], F_SETFL, O_NOATIME) < 0 ||
	    fcntl(ret[1], F_SETFL, O_NONBLOCK) < 0)
		return -errno;
	return 0;
}

static int parts_make(struct parts *p)
{
	int r;

	r = secmem_share(sizeof(struct holder_channel), &p->channel);
	if (r == 0)
		r = secmem_share(sizeof(struct holder_orders), &p->orders);
	if (r == 0)
		r = parts_pipe(p->bell);
	if (r == 0)
		r = parts_pipe(p->answer);
	return r == 0 ? parts_pipe(p->reply) : r;
}

/* It answers no more; that it has ended is heard by its being waited for. */
static int holder_lost(struct holder_process *h, const char *why)
{
	closep(&h->bell);
	closep(&h->reply);
	h->bell = h->reply = -1;
	log_error(HOLDER_NAME " %d does not answer: %s; it is replaced", h->pid, why);
	if (h->pid > 0)
		spawn_kill(h->pid, h->uid);
	return -EPIPE;
}

/*
 * By a signal, so it will not answer until somebody lets it go on, and calls wait for it. The kernel tells the parent
 * by SIGCHLD (signal(7)); WNOWAIT leaves what waitpid(2) is to hear.
 */
static bool holder_is_stopped(const struct holder_process *h)
{
	siginfo_t si = { 0 };

	return h->pid > 0 && waitid(P_PID, (id_t)h->pid, &si, WSTOPPED | WNOHANG | WNOWAIT) == 0 &&
	       si.si_pid == h->pid;
}

static int holder_hear(struct holder_process *h)
{
	struct pollfd p = { .fd = h->reply, .events = POLLIN };
	ssize_t n = 0;
	char ring;

	for (int ms = 0; n == 0 && ms < HOLDER_WAIT_MS; ms += HOLDER_LOOK_MS) {
		if (holder_is_stopped(h))
			return holder_lost(h, STOPPED);
		n = io_retry(poll(&p, 1, HOLDER_LOOK_MS));
	}
	if (n <= 0)
		return holder_lost(h, n == 0 ? SILENT : errno_text(errno));
	n = io_retry(read(h->reply, &ring, 1));
	return n == 1 ? 0
		      : holder_lost(h, n < 0 ? errno_text(errno) : "its end of the pipe is closed");
}

static int order_give(struct holder_process *h, enum holder_what what)
{
	h->orders->what = what;
	atomic_store_explicit(&h->orders->state, HOLDER_ASKED, memory_order_release);
	if (write(h->bell, "", 1) < 0 && errno != EAGAIN)
		return holder_lost(h, errno_text(errno));
	return 0;
}

/* Waits for it. */
static int order_result(struct holder_process *h)
{
	struct holder_orders *o = h->orders;
	int r = holder_hear(h);

	if (r < 0)
		return r;
	if (atomic_load_explicit(&o->state, memory_order_acquire) != HOLDER_DONE)
		return holder_lost(h, "it rings and has done nothing");
	atomic_store_explicit(&o->state, HOLDER_IDLE, memory_order_relaxed);
	h->pinged_ns = 0;
	return o->r;
}

/* One order at a time: the page is free when the PING that may be under way is answered. */
static int holder_free_page(struct holder_process *h)
{
	return h->pinged_ns == 0 ? 0 : order_result(h);
}

static int holder_order(struct holder_process *h, enum holder_what what)
{
	int r = order_give(h, what);

	return r == 0 ? order_result(h) : r;
}

void holder_watch(struct holder_process *h, uint64_t now)
{
	struct pollfd p = { .fd = h->reply, .events = POLLIN };

	if (h->bell < 0)
		return;
	if (holder_is_stopped(h)) {
		holder_lost(h, STOPPED);
	} else if (h->pinged_ns == 0 && now - h->heard_ns >= HOLDER_PING_MS * NS_PER_MS) {
		if (order_give(h, HOLDER_PING) == 0)
			h->pinged_ns = now;
	} else if (h->pinged_ns != 0 && poll(&p, 1, 0) > 0) {
		if (order_result(h) == 0)
			h->heard_ns = now;
	} else if (h->pinged_ns != 0 && now - h->pinged_ns >= HOLDER_WAIT_MS * NS_PER_MS) {
		holder_lost(h, SILENT);
	}
}

void holder_excuse(struct holder_process *h, uint64_t now)
{
	if (h->pinged_ns != 0)
		h->pinged_ns = now;
}

int holder_take(struct holder_process *h, const uint8_t id[static KEKD_KEY_ID], struct span key)
{
	int r;

	if (h->bell < 0)
		return -EPIPE;
	if (key.len > sizeof(h->orders->key))
		return -EINVAL;
	r = holder_free_page(h);
	if (r < 0)
		return r;
	memcpy(h->orders->id, id, KEKD_KEY_ID);
	memcpy(h->orders->key, key.data, key.len);
	h->orders->key_bytes = (uint32_t)key.len;
	r = holder_order(h, HOLDER_TAKE);
	secmem_wipe(h->orders->key, sizeof(h->orders->key));
	return r;
}

int holder_drop(struct holder_process *h, const uint8_t id[static KEKD_KEY_ID])
{
	int r = h->bell < 0 ? -EPIPE : holder_free_page(h);

	if (r < 0)
		return r;
	memcpy(h->orders->id, id, KEKD_KEY_ID);
	return holder_order(h, HOLDER_DROP);
}

int holder_give(struct holder_process *h, struct link_fds *ret)
{
	int bell = fcntl(h->bell, F_DUPFD_CLOEXEC, 0);

	if (bell < 0)
		return -errno;
	*ret = (struct link_fds){ .fd = { move_fd(h->channel), bell, move_fd(h->answer) }, .n = 3 };
	return 0;
}

pid_t holder_pid(const struct holder_process *h)
{
	return h->pid;
}

static void holder_free(struct holder_process *h)
{
	if (h->orders)
		secmem_free(h->orders, sizeof(*h->orders));
	closep(&h->bell);
	closep(&h->reply);
	closep(&h->channel);
	closep(&h->answer);
	free(h);
}

void holder_stop(struct holder_process *h)
{
	if (!h)
		return;
	if (h->pid > 0 && h->bell >= 0 && holder_free_page(h) == 0)
		holder_order(h, HOLDER_END);
	/* It has said that it ends, or was killed. */
	if (h->pid > 0)
		(void)io_retry(waitpid(h->pid, NULL, 0));
	holder_free(h);
}

void holder_forget(struct holder_process *h)
{
	h->pid = 0;
	holder_free(h);
}

/* All that this side needs, before there is a process. Our ends are taken from @p. */
static int process_new(struct parts *p, uid_t uid, struct holder_process **ret)
{
	struct holder_process *h = calloc(1, sizeof(*h));

	if (!h)
		return -ENOMEM;
	*h = (struct holder_process){
		.uid = uid,
		.bell = move_fd(p->bell[1]),
		.reply = move_fd(p->reply[0]),
		.channel = move_fd(p->channel),
		.answer = move_fd(p->answer[0]),
		.orders = secmem_map(p->orders, sizeof(*h->orders)),
	};
	*ret = h;
	return h->orders ? 0 : -ENOMEM;
}

int holder_start(int exe_fd, uid_t uid, gid_t gid, struct holder_process **ret)
{
	static const uint8_t test_id[KEKD_KEY_ID];
	_cleanup_(parts_close) struct parts p = { -1, -1, { -1, -1 }, { -1, -1 }, { -1, -1 } };
	_cleanup_(holder_stopp) struct holder_process *h = NULL;
	int r;

	r = parts_make(&p);
	if (r < 0)
		return r;
	r = process_new(&p, uid, &h);
	if (r < 0)
		return r;
	r = spawn_holder(exe_fd, uid, gid,
			 (const int[]){ p.bell[0], p.answer[1], p.reply[1], h->channel, p.orders },
			 &h->pid);
	if (r < 0)
		return r;
	parts_close(&p);
	p = (struct parts){ -1, -1, { -1, -1 }, { -1, -1 }, { -1, -1 } };
	r = holder_hear(h);
	if (r == 0)
		r = holder_take(h, test_id, span_of(selftest_key, KEKD_AES_KEY_MAX));
	if (r < 0)
		return r;
	*ret = move_ptr(h);
	return 0;
}
