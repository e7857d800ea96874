/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who holds what: a user is a uid at one listener, with its share of connections, calls and bytes (see
 * daemon/base/share.h). The listener belongs to it, so that calls which wait for the plugin of one
 * `resources` item take nothing from another item's socket.
 *
 * Connections can be called back, which calls and bytes cannot: so one beyond a user's share is lent to it as long as
 * nobody else asks and it leaves the reserve. Shares are reckoned as if nothing were lent.
 *
 * A user's messages lie in slabs of its own. It is forgotten, and they are given up, when it has nothing and
 * others come.
 */
#ifndef KEKD_WIRE_USER_H
#define KEKD_WIRE_USER_H

#include <sys/types.h>

#include "daemon/base/secmem.h"
#include "daemon/base/share.h"
#include <kekd/list.h>

struct users {
	struct share connections, calls;
	size_t lent;          /* of the connections in use */
	struct secpool *pool; /* borrowed */
	struct list list;
	size_t n;
};

struct user {
	struct list link;
	const void *listener; /* only compared */
	uid_t uid;
	unsigned int refs; /* connections that are not gone yet */
	struct share connections, calls;
	size_t lent;
	size_t serving; /* calls that their service has: they end by themselves, and give back what they hold */
	struct secpool *pool;
};

void users_init(struct users *users, struct secpool *pool, size_t connections, size_t calls);
/* Nobody holds anything. */
void users_done(struct users *users);
/* With one reference more. -ENOMEM. */
int users_get(struct users *users, const void *listener, uid_t uid, struct user **ret);
void user_put(struct user *user);

/* What is lent stands in the reserve, and one more of @user's share would go in there: a loan is to be called back. */
bool user_lacks_place(const struct users *users, const struct user *user);
/* A place for one more connection, of the user's share or lent. */
bool user_take_place(struct users *users, struct user *user);
/* The place that another connection has just given back for it. */
void user_take_over_place(struct users *users, struct user *user);
/* What is lent goes first. */
void user_give_place(struct users *users, struct user *user);

#endif
