/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keyset in etcd, as the keeper sees it. kekd-cluster brings and takes texts (cluster/PROTOCOL.carrier); here it
 * is judged what they are. Nothing of what comes is believed but by its MAC, and then by the rules of
 * keys/keydoc_next.h: rule 5 says what is taken, rule 6 what is published again.
 *
 * A change is offered here (keyset_carry()) and is made when etcd has it: one transaction puts it in the place of the
 * document that it follows, so of two that come at once one is made. Then it goes to this machine's disk. Whoever
 * asked for it waits (admin_resume()); the keeper's loop never does.
 *
 * The keeper reads every two seconds, and twice a second while something is waited for. A number of its own is drawn
 * with each document and each minute, and who has answered to it is there.
 *
 * kekd-cluster starts before the keeper gives up its rights (lockdown.c): what it starts later may not open a TCP socket.
 * It sees to it itself that there is always one to take a link (cluster/main.c); who serves a link may die, and is replaced.
 * Only if all of it is killed at once is nobody left at the other end of control.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "daemon/base/log.h"
#include "daemon/keeper/cluster_private.h"
#include "daemon/keeper/spawn.h"

#define NS_PER_S UINT64_C(1000000000)
#define POLL_NS  (2 * NS_PER_S)
#define EAGER_NS (NS_PER_S / 2)
#define HURRY_NS (20 * NS_PER_S)
#define ASK_NS   (60 * NS_PER_S) /* of 16 endpoints that are all silent */
#define WAIT_NS  (8 * NS_PER_S)  /* that who asked for a change waits for etcd */
#define PAUSE_NS (2 * NS_PER_S)
#define DRAW_NS  (60 * NS_PER_S)

/* What is not well, logged when it is new. "" for nothing. */
void cluster_say(struct cluster *c, const char *format, ...)
{
	char text[sizeof(c->words)];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	if (strcmp(text, c->words) == 0)
		return;
	memcpy(c->words, text, sizeof(c->words));
	if (*text)
		log_warning("cluster: %s", text);
	else
		log_notice("cluster: all is well with etcd again");
}

/* --- the process ------------------------------------------------------------------------------- */

static int launcher_start(struct keeper *k, struct cluster *c)
{
	const struct config *conf = k->conf->config;
	_cleanup_close_ int theirs = -1;
	int fds[2], r;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
		return -errno;
	c->control = fds[0];
	theirs = fds[1];
	r = spawn_beside_open(SPAWN_CLUSTER, &c->exe_fd);
	if (r == 0)
		r = spawn_cluster(c->exe_fd, conf->server_user.id, conf->server_gid, theirs, &pid);
	return r;
}

int cluster_open(struct keeper *k)
{
	struct cluster *c;
	int r;

	if (k->conf->config->cluster.endpoints.count == 0)
		return 0;
	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	c->control = c->exe_fd = -1;
	c->days = CARRIER_NO_DAYS;
	c->why = -EAGAIN;
	c->since_ns = now_ns();
	k->cluster = c;
	snprintf(c->words, sizeof(c->words), "etcd was not read yet");
	r = launcher_start(k, c);
	if (r < 0)
		log_error(
			"cluster: " SPAWN_CLUSTER
			" cannot be started: %s; install it beside kekd, or leave `cluster:` out of "
			"the configuration",
			errno_text(r));
	return r;
}

static void seen_clear(struct cluster *c)
{
	keydoc_free(move_ptr(c->seen));
	c->seen_rev = 0;
	c->seen_r = 0;
}

static void offer_clear(struct cluster *c)
{
	keydoc_free(move_ptr(c->offer.doc));
	free(c->offer.text);
	c->offer = (struct cluster_offer){ 0 };
}

void cluster_close(struct keeper *k)
{
	struct cluster *c = move_ptr(k->cluster);

	if (!c)
		return;
	carrier_free(c->link);
	seen_clear(c);
	offer_clear(c);
	keydoc_free(c->theirs);
	free(c->ack_text);
	closep(&c->control);
	closep(&c->exe_fd);
	free(c);
}

static void link_end(struct cluster *c, const char *why)
{
	if (!c->link)
		return;
	log_debug("cluster: the link has ended: %s", why);
	carrier_free(move_ptr(c->link));
	if (c->asked == CLUSTER_PUT_DOC)
		c->offer.state = OFFER_UNSURE;
	c->asked = CLUSTER_NOTHING;
	seen_clear(c);
}

static void link_start(struct keeper *k, struct cluster *c)
{
	const struct config_cluster *conf = &k->conf->config->cluster;
	struct carrier_setup s = { .prefix = conf->prefix,
				   .ca = conf->ca,
				   .cert = conf->cert,
				   .key = conf->key,
				   .n_endpoints = conf->endpoints.count };
	int r;

	for (size_t i = 0; i < conf->endpoints.count; i++)
		s.endpoints[i] = conf->endpoints.v[i];
	r = carrier_start(c->control, CARRIER_KEEPER, &s, &c->link);
	if (r == -EPIPE) {
		c->gone = true;
		c->why = -ECHILD;
		log_error(
			"cluster: all processes of " SPAWN_CLUSTER
			" were killed, and a running kekd cannot start it again: values are "
			"read and written, and changes of the keyset wait until kekd is restarted");
		cluster_say(c, SPAWN_CLUSTER " is gone: restart kekd");
	} else if (r < 0) {
		log_debug("cluster: no link can be made: %s", errno_text(r));
	}
}

/* --- what is asked ----------------------------------------------------------------------------- */

static void carrier_ask(struct cluster *c, enum cluster_asked what, struct carrier_head *m,
			struct span text)
{
	seen_clear(c);
	c->seen_own = false;
	if (carrier_put(c->link, m, text) < 0 || carrier_flush(c->link) < 0) {
		link_end(c, "nothing can be sent");
		return;
	}
	c->asked = what;
	c->asked_ns = now_ns();
}

static int ack_format(struct keeper *k, bool timed, char **ret, size_t *ret_len)
{
	_cleanup_(keyack_freep) struct keyack *ack = NULL;
	struct keydoc_root root;
	int r = keyset_root(k->keys, &root) ? acks_own(k, &ack) : -EKEYEXPIRED;

	if (r < 0)
		return r;
	if (!timed)
		ack->time = 0;
	return keyack_format(ack, &root, ret, ret_len);
}

/* Has it anything to say that it has not said? Once a minute it has, as others look whether it is there. */
static bool ack_is_due(struct keeper *k, struct cluster *c)
{
	_cleanup_free_ char *text = NULL;
	size_t len;

	if (!c->current || keydoc_is_removed(keyset_doc(k->keys), keyset_self(k->keys)->id) ||
	    ack_format(k, false, &text, &len) < 0)
		return false;
	if (c->ack_text && strcmp(c->ack_text, text) == 0)
		return false;
	free(c->ack_text);
	c->ack_text = move_ptr(text);
	return true;
}

/* etcd has none of this node's: it is to be said again. */
void cluster_ack_lost(struct cluster *c)
{
	c->ack_rev = 0;
	free(move_ptr(c->ack_text));
}

/* One request at a time: a change, then what this node has to say, then what others have. */
static void ask_next(struct keeper *k, struct cluster *c, uint64_t now)
{
	struct carrier_head m = { .type = CARRIER_PUT };

	if (!c->link || c->asked != CLUSTER_NOTHING || k->stopping || k->sealed < 0)
		return;
	if (c->offer.state == OFFER_WANTED) {
		c->offer.state = OFFER_SENT;
		m.kind = CARRIER_KEYSET;
		m.revision = c->offer.rev;
		carrier_ask(c, CLUSTER_PUT_DOC, &m, span_of(c->offer.text, c->offer.len));
	} else if (c->look_at_ack && ack_is_due(k, c)) {
		_cleanup_free_ char *text = NULL;
		size_t len = 0;

		m.kind = CARRIER_ACK;
		m.revision = c->ack_rev;
		memcpy(m.node, keyset_self(k->keys)->id, sizeof(m.node));
		if (ack_format(k, true, &text, &len) == 0)
			carrier_ask(c, CLUSTER_PUT_ACK, &m, span_of(text, len));
	} else if (now >= c->read_at_ns) {
		c->read_at_ns = now + (now < c->hurry_until_ns ? EAGER_NS : POLL_NS);
		m.type = CARRIER_READ;
		carrier_ask(c, CLUSTER_READ, &m, SPAN_NULL);
	}
	c->look_at_ack = false;
}

void cluster_hurry(struct keeper *k)
{
	struct cluster *c = k->cluster;

	if (!c)
		return;
	c->hurry_until_ns = now_ns() + HURRY_NS;
	if (c->read_at_ns > now_ns() + EAGER_NS)
		c->read_at_ns = now_ns() + EAGER_NS;
}

/* --- changes ----------------------------------------------------------------------------------- */

bool cluster_outcome(struct keeper *k, enum keydoc_change_kind kind, const uint8_t *id,
		     struct keydoc_refusal *why)
{
	struct cluster *c = k->cluster;

	if (!c || !k->resumed || c->outcome.kind != kind || c->outcome.used ||
	    (id && memcmp(c->outcome.key.info.id, id, sizeof(c->outcome.key.info.id)) != 0))
		return false;
	c->outcome.used = true;
	*why = c->outcome.why;
	return true;
}

const struct key_record *cluster_outcome_key(const struct keeper *k)
{
	return &k->cluster->outcome.key;
}

enum keydoc_change_kind cluster_outcome_kind(const struct keeper *k)
{
	return k->cluster->outcome.kind;
}

/* What became of the change that is on its way, for who waits for it. */
static void outcome_set(struct cluster *c, int r, bool waits, const char *words)
{
	c->outcome = (struct cluster_outcome){ .kind = c->offer.kind, .key = c->offer.key };
	keydoc_refuse(&c->outcome.why, r, "%s", words);
	c->outcome.why.waits = waits;
}

/* A client of the admin socket waits for it, or rotation does, or nobody. */
static void resume(struct keeper *k)
{
	admin_resume(k);
	rotation_resume(k);
}

/* It is over: who has asked for it is answered. */
void cluster_offer_end(struct keeper *k, struct cluster *c, int r, bool waits, const char *words)
{
	outcome_set(c, r, waits, words);
	offer_clear(c);
	cluster_hurry(k);
	resume(k);
}

/* What etcd has to have for it: what this node holds; nothing that would be lost; or what it cannot follow. */
enum offer_needs { NEEDS_OURS, NEEDS_ROOM, NEEDS_THEIRS };

/* Where a change cannot even be offered. */
static int refuse_offer(const struct cluster *c, enum offer_needs needs, struct keydoc_refusal *why)
{
	int r = 0;

	if (c->offer.state != OFFER_NONE)
		r = keydoc_refuse(why, -EBUSY, "another change is on its way to etcd");
	else if (c->clone_until_ns > now_ns())
		return keydoc_refuse(
			why, -EPERM,
			"this node makes no changes: another one has acknowledged under its "
			"id within ten minutes, or an old acknowledgement of it was put back");
	else if (c->why < 0)
		r = keydoc_refuse(why, -EAGAIN, "the change waits for etcd: %.400s", c->words);
	else if (needs == NEEDS_ROOM && !c->may_create)
		return keydoc_refuse(why, -EEXIST, "%s",
				     *c->words ? c->words
					       : "etcd has a keyset under this prefix already");
	else if (needs == NEEDS_OURS && !c->current)
		r = keydoc_refuse(why, -EAGAIN, "the change waits: %.400s",
				  *c->words ? c->words : "etcd is being read");
	if (r < 0)
		why->waits = r == -EBUSY || r == -EAGAIN;
	return r;
}

/* @doc, consumed on success, is what etcd is to have in the place of what was read. */
int cluster_put_offer(struct keeper *k, struct cluster *c, enum keydoc_change_kind kind,
		      struct keydoc **doc, struct keydoc_refusal *why)
{
	struct keydoc_root root;
	int r;

	r = keyset_root(k->keys, &root) ? keydoc_format(*doc, &root, &c->offer.text, &c->offer.len)
					: -EKEYEXPIRED;
	if (r < 0)
		return keydoc_refuse(
			why, r, "the keyset cannot be written: %s",
			r == -EINVAL && (*doc)->rotating
				? "its root key is being rotated, and this node has one of "
				  "the two: `kekctl root next`"
				: errno_text(r));
	c->offer.doc = move_ptr(*doc);
	c->offer.kind = kind;
	c->offer.rev = c->doc_rev;
	c->offer.since_ns = now_ns();
	c->offer.state = OFFER_WANTED;
	cluster_hurry(k);
	ask_next(k, c, now_ns());
	return keydoc_refuse(why, -EINPROGRESS, "the change is on its way to etcd");
}

int cluster_offer(void *ctx, const struct keydoc_change *change, struct keydoc **next,
		  struct keydoc_refusal *why)
{
	struct keeper *k = ctx;
	struct cluster *c = k->cluster;
	int r;

	if (!c)
		return keydoc_refuse(why, -EAGAIN, "etcd was not read yet");
	r = refuse_offer(c, change->kind == KEYDOC_CARRY ? NEEDS_ROOM : NEEDS_OURS, why);
	if (r < 0)
		return r;
	c->offer.key = (struct key_record){ 0 };
	memcpy(c->offer.key.info.id, change->id, sizeof(c->offer.key.info.id));
	if (change->kind == KEYDOC_STAGE)
		c->offer.key = *change->key;
	else if (keydoc_key(keyset_doc(k->keys), change->id))
		c->offer.key = *keydoc_key(keyset_doc(k->keys), change->id);
	return cluster_put_offer(k, c, change->kind, next, why);
}

int cluster_publish(struct keeper *k, struct keydoc **doc, struct keydoc_refusal *why)
{
	struct cluster *c = k->cluster;
	int r;

	if (!c)
		return keydoc_refuse(why, -EPERM,
				     "etcd carries this keyset, and this node's kekd.yaml has no "
				     "`cluster:`: do it on a node that has");
	if (cluster_outcome(k, CLUSTER_MERGED, NULL, why))
		return why->r;
	r = refuse_offer(c, c->theirs ? NEEDS_THEIRS : NEEDS_OURS, why);
	return r < 0 ? r : cluster_put_offer(k, c, CLUSTER_MERGED, doc, why);
}

void cluster_place(const struct keeper *k, uint64_t *ret_revision, uint64_t *ret_etcd)
{
	const struct cluster *c = k->cluster;

	if (!c || !c->current)
		return;
	*ret_revision = c->doc_rev;
	*ret_etcd = c->etcd;
}

/* --- what has come ----------------------------------------------------------------------------- */

static void done_put_doc(struct keeper *k, struct cluster *c, const struct carrier_head *m,
			 const char *words)
{
	struct cluster_offer *o = &c->offer;
	bool ours = m->result == 0 || (m->result == -EEXIST && c->seen &&
				       memcmp(c->seen->hash, o->doc->hash, SHA256_LEN) == 0);
	struct keydoc *doc;
	int r;

	if (ours) {
		c->doc_rev = m->result == 0 ? m->revision : c->seen_rev;
		doc = move_ptr(o->doc);
		r = cluster_take(k, c, &doc, "changed, and in etcd");
		keydoc_free(doc);
		cluster_offer_end(k, c, r, false, r < 0 ? c->words : "");
		c->look_at_ack = true;
		return;
	}
	c->read_at_ns = 0;
	if (m->result == -EEXIST)
		cluster_offer_end(k, c, -EAGAIN, true,
				  "another change came first: it is looked at again");
	else if (m->result == -ETIMEDOUT || m->result == -EIO)
		o->state = OFFER_UNSURE;
	else
		cluster_offer_end(k, c, m->result, false, words);
}

/* They end up in the log and on a terminal, and kekd-cluster may have been taken over. */
static void words_take(struct span text, char ret[static CARRIER_WORDS_MAX + 1])
{
	size_t n = 0;

	for (; n < text.len && n < CARRIER_WORDS_MAX && text.data[n]; n++)
		ret[n] = text.data[n] < 0x20 || text.data[n] > 0x7e ? '?' : (char)text.data[n];
	ret[n] = '\0';
}

static int on_done(struct keeper *k, struct cluster *c, const struct carrier_head *m,
		   struct span text)
{
	enum cluster_asked asked = c->asked;
	char words[CARRIER_WORDS_MAX + 1];

	words_take(text, words);
	if (asked == CLUSTER_NOTHING || m->result > 0)
		return -EPROTO;
	c->asked = CLUSTER_NOTHING;
	c->days = m->days;
	if (m->result == 0 || m->result == -EEXIST) {
		c->answered_ns = now_ns();
		c->etcd = m->cluster;
		c->why = 0;
	} else {
		c->why = m->result;
		cluster_say(c, "etcd is away: %s", *words ? words : errno_text(m->result));
	}
	if (asked == CLUSTER_READ && m->result == 0)
		cluster_judge(k, c);
	if (asked == CLUSTER_PUT_DOC)
		done_put_doc(k, c, m, words);
	if (asked == CLUSTER_PUT_ACK && m->result == 0) {
		c->ack_rev = m->revision;
		c->has_said = true;
	} else if (asked == CLUSTER_PUT_ACK && c->seen_own) {
		free(move_ptr(c->ack_text)); /* to be said again, over what is there */
	} else if (asked == CLUSTER_PUT_ACK) {
		cluster_ack_lost(c);
	}
	return 0;
}

static int (*const answers[CARRIER_TYPES])(struct keeper *k, struct cluster *c,
					   const struct carrier_head *m, struct span text) = {
	[CARRIER_ITEM] = cluster_item,
	[CARRIER_DONE] = on_done,
};

void cluster_poll(const struct keeper *k, struct pollfd *ret)
{
	const struct cluster *c = k->cluster;

	*ret = (struct pollfd){ .fd = -1 };
	if (c && c->link)
		*ret = (struct pollfd){ .fd = carrier_fd(c->link),
					.events = carrier_events(c->link) };
}

/* So many messages a turn: one that talks all the time gets no more than that. */
#define MESSAGES 16

void cluster_hear(struct keeper *k)
{
	struct cluster *c = k->cluster;
	struct carrier_head m;
	struct span text;
	int r;

	if (!c->link)
		return;
	r = carrier_flush(c->link);
	for (int i = 0; r == 0 && i < MESSAGES; i++) {
		r = carrier_read(c->link, &m, &text);
		if (r <= 0)
			break;
		r = answers[m.type](k, c, &m, text);
	}
	if (r < 0) {
		link_end(c, errno_text(r));
		return;
	}
	ask_next(k, c, now_ns());
}

/* --- time -------------------------------------------------------------------------------------- */

/* Who holds this very document and is no member asks to be one by that: each member lets it in, the first does. */
static void let_join(struct keeper *k, struct cluster *c)
{
	const struct keydoc *doc = keyset_doc(k->keys);

	if (!c->current || c->offer.state != OFFER_NONE || !cluster_is_full_member(k))
		return;
	for (size_t i = 0; i < k->n_acks; i++) {
		const struct keyack *ack = k->acks[i];
		struct keydoc_change change = { .kind = KEYDOC_JOIN };
		struct keydoc_refusal why;

		if (keydoc_member(doc, ack->node) || keydoc_is_removed(doc, ack->node) ||
		    memcmp(ack->doc, doc->hash, sizeof(ack->doc)) != 0)
			continue;
		memcpy(change.member.id, ack->node, sizeof(change.member.id));
		snprintf(change.member.name, sizeof(change.member.name), "%s", ack->name);
		if (keeper_change(k, &change, &why) == -EINPROGRESS) {
			log_notice("cluster: node %s joins", ack->name);
			return;
		}
		cluster_hurry(k);
		if (strcmp(why.text, c->join_words) != 0 && !why.waits)
			log_warning("cluster: node %s cannot join: %s", ack->name, why.text);
		snprintf(c->join_words, sizeof(c->join_words), "%s", why.waits ? "" : why.text);
	}
}

static void draw(struct keeper *k, struct cluster *c, uint64_t now)
{
	if (memcmp(c->number, k->number, sizeof(c->number)) != 0) { /* with a document */
		memcpy(c->number, k->number, sizeof(c->number));
		c->drawn_ns = now;
	}
	if (now - c->drawn_ns < DRAW_NS)
		return;
	if (acks_draw(k) == 0)
		memcpy(c->number, k->number, sizeof(c->number));
	c->drawn_ns = now;
}

/* Members that are not heard are said once, and when they are there again. */
static void watch_members(struct keeper *k, struct cluster *c, uint64_t now)
{
	const struct keydoc *doc = keyset_doc(k->keys);
	uint32_t mute = 0;

	for (size_t i = 0; doc && doc->carrier == KEYDOC_ETCD && i < doc->n_members; i++)
		if (cluster_is_mute(k, doc->members[i].id, now)) {
			mute |= 1U << i;
			if (!(c->mute & 1U << i))
				log_warning(
					"cluster: node %s has not been heard for ten minutes: every "
					"change waits for it. If it is gone for ever: `kekctl cluster "
					"remove %s --dead`",
					doc->members[i].name, doc->members[i].name);
		}
	c->mute = mute;
}

void cluster_tick(struct keeper *k, uint64_t now)
{
	struct cluster *c = k->cluster;

	if (!c || k->stopping)
		return;
	if (c->link && c->asked != CLUSTER_NOTHING && now - c->asked_ns > ASK_NS)
		link_end(c, "it does not answer");
	if (!c->link && !c->gone && now >= c->start_at_ns) {
		c->start_at_ns = now + PAUSE_NS;
		link_start(k, c);
	}
	if ((k->parked || *k->rotating) && c->offer.state != OFFER_NONE &&
	    now - c->offer.since_ns > WAIT_NS) {
		char words[512];

		snprintf(words, sizeof(words), "the change waits for etcd: %.400s", c->words);
		outcome_set(c, -EAGAIN, true, words);
		if (c->offer.state ==
		    OFFER_WANTED) /* it is not made when nobody waits for it any more */
			offer_clear(c);
		resume(k);
	}
	if (k->sealed < 0 || keyset_why(k->keys) == -EKEYEXPIRED)
		return;
	if (memcmp(c->session, k->session, sizeof(c->session)) != 0) { /* unsealed */
		memcpy(c->session, k->session, sizeof(c->session));
		c->has_said = false;
		cluster_ack_lost(c);
	}
	draw(k, c, now);
	watch_members(k, c, now);
	let_join(k, c);
	ask_next(k, c, now);
}
