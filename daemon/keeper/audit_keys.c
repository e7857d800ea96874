/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keeper's part of the audit: it opens the file or the journal, gives the server a descriptor of it, and
 * writes what is about keys itself. Opened anew at a reload (log rotation) and, while it cannot be
 * written, once a second.
 *
 * A command is written down before it is tried, so that with `onFailure: block` nothing is done that
 * no line tells of; what it changed follows as an event of each key.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "daemon/base/log.h"
#include "daemon/keeper/keeper_private.h"
#include "daemon/obs/audit.h"

#define RETRY_NS UINT64_C(1000000000)

static enum audit_target target_of(const struct config_audit *c)
{
	return c->journal ? AUDIT_JOURNAL : AUDIT_FILE;
}

/* One that does not read its link would go on with the file that was rotated away: it is killed. */
static void send_to_server(struct keeper *k, struct worker *w, int fd)
{
	struct link_msg msg = { .type = LINK_AUDIT };
	struct link_fds fds = { .fd = { fd }, .n = 1 };

	worker_tell(k, w, &msg, &fds);
}

/* Errors are the caller's to tell. */
static int reopen(struct keeper *k)
{
	const struct config_audit *c = &k->conf->config->audit;
	int fd, r;

	r = audit_open(target_of(c), c->file, &fd);
	if (r < 0)
		return r;
	for (size_t i = 0; i < k->n_workers; i++)
		send_to_server(k, &k->workers[i], fd);
	closep(&k->audit_fd);
	k->audit_fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	audit_set_fd(k->audit, fd);
	return 0;
}

int keeper_audit_open(struct keeper *k)
{
	const struct config_audit *c = &k->conf->config->audit;
	bool drop = c->failure == CONFIG_FAILURE_DROP;
	int r;

	if (!c->journal && !c->file)
		return 0;
	r = audit_new(target_of(c), drop, &k->audit);
	if (r < 0)
		return r;
	r = reopen(k);
	if (r == 0)
		return 0;
	log_error("audit: cannot open %s: %s", c->journal ? "the journal" : c->file, errno_text(r));
	return drop ? 0 : r;
}

void keeper_audit_close(struct keeper *k)
{
	audit_free(move_ptr(k->audit));
	closep(&k->audit_fd);
	k->audit_fd = -1;
}

void keeper_audit_feed(struct keeper *k, struct worker *w)
{
	if (k->audit && k->audit_fd >= 0)
		send_to_server(k, w, k->audit_fd);
}

void keeper_audit_reload(struct keeper *k)
{
	int r = k->audit ? reopen(k) : 0;

	if (r < 0)
		log_error("audit: cannot be opened again: %s; the old one stays", errno_text(r));
}

void keeper_audit_tick(struct keeper *k, uint64_t now)
{
	bool stuck;
	int r;

	if (!k->audit)
		return;
	stuck = audit_flush(k->audit) < 0 || audit_stuck(k->audit);
	for (size_t i = 0; i < k->n_workers; i++)
		stuck |= k->workers[i].stats.audit_stuck != 0;
	if (!stuck || now < k->audit_retry_ns)
		return;
	k->audit_retry_ns = now + RETRY_NS;
	r = reopen(k);
	log_debug("timer: the audit cannot be written, so it is opened again: %s",
		  r == 0 ? "open" : errno_text(r));
}

static int audit_write_line(struct keeper *k, const struct audit_line *line)
{
	uint64_t lines, dropped;
	int r;

	r = audit_add(k->audit, line);
	if (r == 0)
		r = audit_flush(k->audit);
	audit_counts_take(k->audit, &lines, &dropped);
	k->metrics.audit_lines += lines;
	k->metrics.audit_dropped += dropped;
	return r;
}

int keeper_audit_command(struct keeper *k, const struct op_peer *peer, const char *what,
			 const char *key)
{
	if (!k->audit)
		return 0;
	return audit_write_line(k, &(struct audit_line){
					   .event = "command",
					   .what = what,
					   .asked = true,
					   .peer_uid = peer->uid,
					   .peer_pid = peer->pid,
					   .key = key,
					   .micros = -1,
				   });
}

/* @peer: who asked, or NULL. */
static void audit_event(struct keeper *k, const struct op_peer *peer, const struct keyset_key *key,
			const char *what, int r)
{
	if (!k->audit)
		return;
	audit_write_line(k, &(struct audit_line){
				    .event = "key",
				    .what = what,
				    .asked = peer != NULL,
				    .peer_uid = peer ? peer->uid : 0,
				    .peer_pid = peer ? peer->pid : 0,
				    .key = key ? key->rec.info.label : NULL,
				    .state = key ? key_state_name(key->rec.info.state) : NULL,
				    .custody = keeper_custody(k),
				    .result = r < 0 ? strerrorname_np(-r) : "OK",
				    .micros = -1,
			    });
}

void keeper_audit_key(struct keeper *k, const struct op_peer *peer, const struct keyset_key *key,
		      const char *what)
{
	audit_event(k, peer, key, what, key ? key->why : 0);
}

void keeper_audit_root(struct keeper *k, const struct op_peer *peer, const char *what, int r)
{
	audit_event(k, peer, NULL, what, r);
}
