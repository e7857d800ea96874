/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kekctl reload: have both configuration files read anew, and wait for how that ends. SIGHUP asks for the same and
 * tells nobody.
 */
#include <stdio.h>
#include <time.h>

#include "daemon/ctl/ctl.h"

#define PAUSE_NS 50000000
#define TRIES    600 /* half a minute: a server may have to be started first */

static int reload_ask(const struct ctl *ctl, enum admin_verb verb, struct admin_reply *ret)
{
	const struct admin_request req = { .version = ADMIN_VERSION, .verb = verb };

	return ctl_ask(ctl, &req, NULL, NULL, ret);
}

int ctl_reload(const struct ctl *ctl, int argc, char **argv _unused_)
{
	const struct timespec pause = { .tv_nsec = PAUSE_NS };
	struct admin_reply end;
	uint32_t before;
	int r;

	if (argc != 0)
		return ctl_usage("reload takes no argument");
	r = reload_ask(ctl, ADMIN_STATUS, &end);
	if (r != 0)
		return r;
	before = end.status.health.reloads;
	r = reload_ask(ctl, ADMIN_RELOAD, &end);
	for (int i = 0; r == 0 && i < TRIES; i++) {
		r = reload_ask(ctl, ADMIN_STATUS, &end);
		if (r != 0 || end.status.health.reloads != before)
			break;
		nanosleep(&pause, NULL);
	}
	if (r != 0)
		return r;
	if (end.status.health.reloads == before)
		return ctl_fail(
			"the reload waits for a server that is not there: see kekctl status, "
			"journalctl -u kekd");
	if (end.status.health.reload_refused)
		return ctl_fail(
			"refused; the old configuration stays in force: journalctl -u kekd says "
			"why, and kekd --check where");
	puts("reloaded");
	return 0;
}
