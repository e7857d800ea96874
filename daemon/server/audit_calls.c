/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What clients asked, into the audit. The keeper opens the file or the journal and hands it over, again
 * when it was rotated or could not be written. While lines wait, with `onFailure: block`, nothing is
 * sent to any client: the loop's flush of the connections is left out, and tried again soon.
 *
 * A key_id is shown as its hash, the way kube-apiserver's own metrics and logs show it.
 */
#include <errno.h>
#include <string.h>

#include "daemon/base/log.h"
#include "daemon/crypto/digest.h"
#include "daemon/obs/audit.h"
#include "daemon/server/server_private.h"

#define AGAIN_NS (UINT64_C(100) * 1000 * 1000)

static void again(struct ring_op *op _unused_, int res _unused_, unsigned int flags _unused_)
{
	/* The loop has turned, which is all that was wanted. */
}

int server_audit_new(struct server *s)
{
	const struct config_audit *c = &s->config->audit;

	s->audit_timer.done = again;
	if (!c->journal && !c->file)
		return 0;
	return audit_new(c->journal ? AUDIT_JOURNAL : AUDIT_FILE, c->failure == CONFIG_FAILURE_DROP,
			 &s->audit);
}

int server_audit_take(struct server *s, int fd)
{
	if (!s->audit || fd < 0) {
		closep(&fd);
		return -EPROTO;
	}
	audit_set_fd(s->audit, fd);
	return 0;
}

/* Most requests name the same key. */
static const char *key_hash(struct server *s, const char *key_id)
{
	struct span part = span_str(key_id);
	uint8_t hash[SHA256_LEN];
	char *to = s->audit_hash;

	if (!*key_id || strcmp(key_id, s->audit_key_id) == 0)
		return *key_id ? s->audit_hash : "";
	if (sha256(&part, 1, hash) < 0)
		return "";
	to += sprintf(to, "sha256:");
	for (size_t i = 0; i < sizeof(hash); i++)
		to += sprintf(to, "%02x", hash[i]);
	snprintf(s->audit_key_id, sizeof(s->audit_key_id), "%s", key_id);
	return s->audit_hash;
}

int server_audit_event(struct server *s, const struct kms_event *e)
{
	if (!s->audit)
		return 0;
	return audit_add(s->audit, &(struct audit_line){
					   .event = "operation",
					   .what = e->method,
					   .uid = e->uid,
					   .resource = e->resource,
					   .path = e->path,
					   .asked = true,
					   .peer_uid = e->peer->uid,
					   .peer_pid = e->peer->pid,
					   .provider = e->provider,
					   .key = key_hash(s, e->key_id),
					   .result = e->r == 0 ? "OK" : strerrorname_np(-e->r),
					   .micros = (int64_t)(e->ended_ns - e->started_ns) / 1000,
				   });
}

bool server_audit_flush(struct server *s)
{
	uint64_t lines, dropped;
	int r;

	if (!s->audit)
		return true;
	r = audit_flush(s->audit);
	audit_counts_take(s->audit, &lines, &dropped);
	s->stats.audit_lines += lines;
	s->stats.audit_dropped += dropped;
	s->stats.audit_stuck = audit_stuck(s->audit);
	if (s->stats.audit_stuck && !s->audit_said)
		log_error("the audit cannot be written%s",
			  r < 0 ? ", so no answer leaves" : "; its lines are dropped and counted");
	else if (!s->stats.audit_stuck && s->audit_said)
		log_notice("the audit is written again");
	s->audit_said = s->stats.audit_stuck;
	if (r < 0 && !ring_op_busy(&s->audit_timer))
		ring_timer(s->ring, &s->audit_timer, now_ns() + AGAIN_NS);
	return r == 0;
}
