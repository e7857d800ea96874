/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What may be said on the link, by whom, when, and with how many descriptors. Either side may be wrong about the
 * other, and the server may have been taken over, so this is asked of every message before it is looked at.
 */
#include <errno.h>

#include "daemon/base/cleanup.h"
#include "daemon/server/link.h"

#define ALWAYS (LINK_STARTING | LINK_SERVING)

static const struct {
	const char *name;
	enum link_side from;
	unsigned int when; /* enum link_when */
	unsigned int fds_min, fds_max;
} rules[LINK_TYPES] = {
	[LINK_CONFIG] = { "CONFIG", LINK_KEEPER, ALWAYS, 2, 2 },
	[LINK_LISTENER] = { "LISTENER", LINK_KEEPER, ALWAYS, 1, 1 },
	[LINK_TESTKEY] = { "TESTKEY", LINK_KEEPER, LINK_STARTING, 0, LINK_FDS },
	[LINK_KEY] = { "KEY", LINK_KEEPER, ALWAYS, 0, LINK_FDS },
	[LINK_SOCKET] = { "SOCKET", LINK_KEEPER, LINK_SERVING, 1, LINK_FDS },
	[LINK_SEALED] = { "SEALED", LINK_KEEPER, ALWAYS, 0, 0 },
	[LINK_WITHDRAW] = { "WITHDRAW", LINK_KEEPER, ALWAYS, 0, 0 },
	[LINK_GO] = { "GO", LINK_KEEPER, LINK_STARTING, 0, 0 },
	[LINK_STOP] = { "STOP", LINK_KEEPER, LINK_SERVING, 0, 0 },
	[LINK_CONNECTED] = { "CONNECTED", LINK_KEEPER, LINK_SERVING, 0, 1 },
	[LINK_AUDIT] = { "AUDIT", LINK_KEEPER, ALWAYS, 1, 1 },
	[LINK_RELOAD] = { "RELOAD", LINK_KEEPER, LINK_SERVING, 0, 0 },
	[LINK_PING] = { "PING", LINK_KEEPER, LINK_SERVING, 0, 0 },
	[LINK_HOLDER] = { "HOLDER", LINK_KEEPER, ALWAYS, 3, 3 },
	[LINK_SYNC] = { "SYNC", LINK_KEEPER, LINK_SERVING, 0, 0 },

	[LINK_READY] = { "READY", LINK_SERVER, LINK_STARTING, 0, 0 },
	[LINK_FAILED] = { "FAILED", LINK_SERVER, LINK_STARTING, 0, 0 },
	[LINK_NEED] = { "NEED", LINK_SERVER, ALWAYS, 0, 0 },
	[LINK_RELOADED] = { "RELOADED", LINK_SERVER, LINK_SERVING, 0, 0 },
	[LINK_CONNECT] = { "CONNECT", LINK_SERVER, LINK_SERVING, 0, 0 },
	[LINK_USED] = { "USED", LINK_SERVER, LINK_SERVING, 0, 0 },
	[LINK_PONG] = { "PONG", LINK_SERVER, LINK_SERVING, 0, 0 },
	[LINK_STATS] = { "STATS", LINK_SERVER, LINK_SERVING, 0, 0 },
	[LINK_SYNCED] = { "SYNCED", LINK_SERVER, LINK_SERVING, 0, 0 },
};

const char *link_type_name(uint32_t type)
{
	return type < LINK_TYPES && rules[type].name ? rules[type].name : "something unknown";
}

int link_check(const struct link_msg *msg, const struct link_fds *fds, enum link_side from,
	       enum link_when now)
{
	if (msg->type >= LINK_TYPES || !rules[msg->type].name)
		return -EPROTO;
	if (rules[msg->type].from != from || !(rules[msg->type].when & now))
		return -EPROTO;
	if (fds->lost)
		return rules[msg->type].fds_max > 0 ? 0 : -EPROTO;
	if (fds->n < rules[msg->type].fds_min || fds->n > rules[msg->type].fds_max)
		return -EPROTO;
	return 0;
}
