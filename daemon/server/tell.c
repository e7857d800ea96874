/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the server says to the keeper. It never waits for it: the keeper may stand still, and clients are served
 * all the while. What must not be lost (READY, RELOADED, NEED, CONNECT, PONG, SYNCED) stands in a queue until the
 * link takes it. What is counted (USED, STATS) does not: it is added up, and sent when it can be.
 *
 * The queue has an end because the questions have: a socket of a key is asked for once until it is there, a
 * plugin has one connection, and the keeper waits for each answer before it asks again.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>

#include "daemon/base/log.h"
#include "daemon/crypto/backend_kernel.h"
#include "daemon/server/server_private.h"

#define NS_PER_S   UINT64_C(1000000000)
#define QUIET_NS   (10 * NS_PER_S) /* it says PING every second */
#define LAST_NS    (2 * NS_PER_S)
#define UNSENT_MAX ((size_t)KEKD_KEYS_MAX * BACKEND_KERNEL_SOCKETS + 64)

struct unsent {
	struct list link;
	struct link_msg msg;
};

int server_tell_used(struct server *s)
{
	int r = 0;

	list_for_each (n, keytable_list(s->keys)) {
		struct chain_key *k = list_entry(n, struct chain_key, link);
		struct link_msg msg = { .type = LINK_USED };

		if (k->encryptions == 0 && k->decryptions == 0)
			continue;
		memcpy(msg.key.id, k->info.id, sizeof(msg.key.id));
		msg.encryptions = k->encryptions;
		msg.decryptions = k->decryptions;
		r = link_send(s->link_fd, &msg, NULL);
		if (r < 0)
			break;
		k->encryptions = k->decryptions = 0;
	}
	return r;
}

/* What keys were used for until SYNC is reported before its answer. */
static int tell_one(struct server *s, const struct link_msg *msg)
{
	int r = msg->type == LINK_SYNCED ? server_tell_used(s) : 0;

	return r == 0 ? link_send(s->link_fd, msg, NULL) : r;
}

static void tell_listen(struct server *s);

/* That the keeper is gone is noticed where it is heard. */
static bool is_gone(int r)
{
	return r == -EPIPE || r == -ECONNRESET;
}

int server_tell_rest(struct server *s)
{
	int r = 0;

	while (!list_empty(&s->unsent)) {
		struct unsent *u = list_entry(s->unsent.next, struct unsent, link);

		r = tell_one(s, &u->msg);
		if (r < 0)
			break;
		list_del(&u->link);
		free(u);
		s->n_unsent--;
	}
	return is_gone(r) ? 0 : r;
}

static void tell_writable(struct ring_op *op, int res, unsigned int flags _unused_)
{
	struct server *s = container_of(op, struct server, unsent_op);
	int r = res < 0 ? res : server_tell_rest(s);

	if (r == -EAGAIN)
		tell_listen(s);
	else if (r < 0)
		s->link_error = r;
}

static void tell_listen(struct server *s)
{
	s->unsent_op.done = tell_writable;
	if (!ring_op_busy(&s->unsent_op))
		ring_poll(s->ring, &s->unsent_op, s->link_fd, POLLOUT);
}

/* gcc 12's analyzer loses a block that only a list of which it knows nothing leads to. */
#ifndef __clang__
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wanalyzer-malloc-leak"
#endif

static int unsent_add(struct server *s, const struct link_msg *msg)
{
	struct unsent *u = s->n_unsent < UNSENT_MAX ? malloc(sizeof(*u)) : NULL;

	if (!u)
		return -ENOBUFS;
	u->msg = *msg;
	list_add_tail(&s->unsent, &u->link);
	s->n_unsent++;
	log_debug("link %d: full; %s waits, with %zu before it", s->link_fd,
		  link_type_name(msg->type), s->n_unsent - 1);
	tell_listen(s);
	return 0;
}

#ifndef __clang__
#pragma GCC diagnostic pop
#endif

int server_tell(struct server *s, const struct link_msg *msg)
{
	int r = list_empty(&s->unsent) ? tell_one(s, msg) : -EAGAIN;

	if (r == -EAGAIN)
		return unsent_add(s, msg);
	return is_gone(r) ? 0 : r;
}

void server_unsent_free(struct server *s)
{
	list_for_each_safe (n, &s->unsent) {
		list_del(n);
		free(list_entry(n, struct unsent, link));
	}
}

bool server_tell_last(struct server *s)
{
	struct pollfd p = { .fd = s->link_fd, .events = POLLOUT };
	uint64_t end = now_ns() + LAST_NS, now;
	int r;

	while ((r = server_tell_used(s)) == -EAGAIN && (now = now_ns()) < end)
		poll(&p, 1, (int)((end - now) / 1000000) + 1);
	return r == 0;
}

void server_keeper_watch(struct server *s, uint64_t now)
{
	bool quiet = now - s->heard_ns >= QUIET_NS;

	if (quiet && !s->quiet)
		log_warning(
			"the keeper stands still: clients are served on, and until it goes on no key "
			"comes or goes, no configuration is read, and uses of keys are not recorded. "
			"See whether it was stopped (ps -o stat,wchan -C kekd)");
	else if (!quiet && s->quiet)
		log_notice("the keeper goes on");
	s->quiet = quiet;
}
