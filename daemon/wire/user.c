/* SPDX-License-Identifier: Apache-2.0 */
/* A list: it is as long as there are uids, and asked once a connection. */
#include "daemon/wire/user.h"

#include <errno.h>

/* A client that connects for each call finds its slabs again, unless so many others came meanwhile. */
#define USERS_KEPT 32

void users_init(struct users *users, struct secpool *pool, size_t connections, size_t calls)
{
	*users = (struct users){
		.connections.max = connections,
		.calls.max = calls,
		.pool = pool,
	};
	list_init(&users->list);
}

static void user_free(struct users *users, struct user *user)
{
	list_del(&user->link);
	users->n--;
	secpool_free(user->pool);
	free(user);
}

void users_done(struct users *users)
{
	list_for_each_safe (n, &users->list)
		user_free(users, list_entry(n, struct user, link));
}

static int user_new(struct users *users, const void *listener, uid_t uid, struct user **ret)
{
	_cleanup_free_ struct user *user = calloc(1, sizeof(*user));
	int r;

	if (!user)
		return -ENOMEM;
	r = secpool_new_below(users->pool, &user->pool);
	if (r < 0)
		return r;
	user->listener = listener;
	user->uid = uid;
	user->connections.above = &users->connections;
	user->calls.above = &users->calls;
	list_add_tail(&users->list, &user->link);
	users->n++;
	*ret = move_ptr(user);
	return 0;
}

int users_get(struct users *users, const void *listener, uid_t uid, struct user **ret)
{
	struct user *user;
	int r;

	list_for_each (n, &users->list) {
		user = list_entry(n, struct user, link);
		if (user->listener != listener || user->uid != uid)
			continue;
		user->refs++;
		*ret = user;
		return 0;
	}
	list_for_each_safe (n, &users->list) {
		user = list_entry(n, struct user, link);
		/* A message may be in use for longer than its connection lives. */
		if (users->n > USERS_KEPT && user->refs == 0 && secpool_used(user->pool) == 0)
			user_free(users, user);
	}
	r = user_new(users, listener, uid, &user);
	if (r < 0)
		return r;
	user->refs++;
	*ret = user;
	return 0;
}

void user_put(struct user *user)
{
	user->refs--;
}

/* Places of @user's share that it has not taken. */
static size_t places_due(const struct users *users, const struct user *user)
{
	size_t max = users->connections.max, own = users->connections.used - users->lent;

	return share_rule(max, max > own ? max - own : 0, user->connections.used - user->lent);
}

static bool only_the_reserve_is_left(const struct users *users)
{
	return share_room(&users->connections) <= users->connections.max / SHARE_RESERVE;
}

bool user_lacks_place(const struct users *users, const struct user *user)
{
	return users->lent > 0 && only_the_reserve_is_left(users) && places_due(users, user) > 0;
}

static void place_count(struct users *users, struct user *user, bool lent)
{
	share_take_over(&user->connections, 1);
	if (!lent)
		return;
	user->lent++;
	users->lent++;
}

bool user_take_place(struct users *users, struct user *user)
{
	bool lent = places_due(users, user) == 0;

	if (lent ? only_the_reserve_is_left(users) : share_room(&users->connections) == 0)
		return false;
	place_count(users, user, lent);
	return true;
}

void user_take_over_place(struct users *users, struct user *user)
{
	place_count(users, user, places_due(users, user) == 0);
}

void user_give_place(struct users *users, struct user *user)
{
	share_give(&user->connections, 1);
	if (user->lent == 0)
		return;
	user->lent--;
	users->lent--;
}
