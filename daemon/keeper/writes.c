/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is written to the key store while the keeper serves. A disk may take any time (fsfreeze(8), NFS, a path
 * that failed) and no signal ends a write that hangs, so a child does it, one at a time, and the keeper turns
 * its loop meanwhile: servers are heard, replaced and stopped, keys are watched over, kekctl is told what is so.
 *
 * Counts of use are written and nobody waits for them. A document must be durable before it is followed, so
 * who changes the keyset waits here, in turns of the loop inside the turn that it began; until it has ended no
 * other change, rotation or reload begins. When the daemon is to end before the disk has answered, the change is in
 * doubt, and the child ends by itself.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/wait.h>

#include "daemon/base/log.h"
#include "daemon/keeper/keeper_private.h"

#define NS_PER_S   UINT64_C(1000000000)
#define STALLED_NS (5 * NS_PER_S)

int writes_start(struct keeper *k, const char *file, const char *text, size_t len)
{
	struct keeper_write *w = &k->write;
	int r;

	r = key_store_write_begin(k->store, file, text, len, &w->pid);
	if (r < 0)
		return r;
	w->file = file;
	w->since_ns = now_ns();
	w->said = false;
	return 0;
}

bool writes_busy(const struct keeper *k)
{
	return k->write.pid > 0;
}

bool writes_stalled(const struct keeper *k, uint64_t now)
{
	return writes_busy(k) && now - k->write.since_ns >= STALLED_NS;
}

void writes_reaped(struct keeper *k, pid_t pid, int status)
{
	struct keeper_write *w = &k->write;
	int r;

	if (pid != w->pid)
		return;
	w->pid = 0;
	r = key_store_write_ended(k->store, w->file, status);
	if (w->said)
		log_notice("key store %s: its disk has answered after %u s",
			   key_store_path(k->store),
			   (unsigned int)((now_ns() - w->since_ns) / NS_PER_S));
	w->r = r;
	if (strcmp(w->file, KEY_STORE_COUNTS) == 0)
		counts_written(k, r);
}

void writes_tick(struct keeper *k, uint64_t now)
{
	struct keeper_write *w = &k->write;

	if (!w->said && writes_stalled(k, now)) {
		w->said = true;
		log_error(
			"key store %s: its disk has not taken a write of the file %s for %u s. Clients are "
			"served on; changes of keys wait, and uses of keys are not recorded. Look after "
			"the disk: a backup that freezes it (fsfreeze), a server of NFS that is away",
			key_store_path(k->store), w->file, (unsigned int)(STALLED_NS / NS_PER_S));
	}
	counts_tick(k, now);
}

/*
 * Turns until the write that is under way has ended, and not another that began meanwhile. -ECANCELED: the
 * daemon ends first.
 */
static int turn_until_written(struct keeper *k)
{
	pid_t pid = k->write.pid;
	int r = 0;

	k->changing = true;
	while (r == 0 && k->write.pid == pid)
		r = k->ended ? -ECANCELED : keeper_turn(k);
	k->changing = false;
	return r;
}

int writes_document(void *ctx, const char *file, const char *text, size_t len)
{
	struct keeper *k = ctx;
	int r = 0;

	while (r == 0 && writes_busy(k))
		r = turn_until_written(k);
	if (r == 0)
		r = writes_start(k, file, text, len);
	if (r == 0)
		r = turn_until_written(k);
	return r == 0 ? k->write.r : r;
}

bool writes_wait(struct keeper *k, uint64_t ns)
{
	struct pollfd p = { .fd = k->signal_fd, .events = POLLIN };
	uint64_t end = now_ns() + ns, now;
	uint8_t taken[1024];
	int status;

	while (writes_busy(k)) {
		if (waitpid(k->write.pid, &status, WNOHANG) == k->write.pid)
			writes_reaped(k, k->write.pid, status);
		else if ((now = now_ns()) >= end)
			return false;
		else if (poll(&p, 1, (int)((end - now) / 1000000) + 1) > 0 &&
			 read(k->signal_fd, taken, sizeof(taken)) < 0)
			continue;
	}
	return true;
}
