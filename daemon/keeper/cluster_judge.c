/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What etcd has is judged: by its MAC, then by the rules of keys/keydoc_next.h. Rule 5 says what is taken, rule 6 what
 * is published again. Who has answered to a number of this node was there after it was drawn.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "daemon/base/log.h"
#include "daemon/base/random.h"
#include "daemon/keeper/cluster_private.h"

#define NS_PER_S UINT64_C(1000000000)
#define MUTE_NS  (600 * NS_PER_S)
#define CLONE_NS (600 * NS_PER_S)

static void confirm(struct keeper *k)
{
	if (k->confirmed)
		return;
	k->confirmed = true;
	keeper_membership(k);
}

/* What etcd has is this node's from now on. @doc is consumed on success. */
int cluster_take(struct keeper *k, struct cluster *c, struct keydoc **doc, const char *what)
{
	struct keydoc_refusal why;
	int r = keeper_take(k, *doc, &why);

	if (r < 0) {
		cluster_say(c, "what etcd has cannot be taken: %s", why.text);
		return r;
	}
	*doc = NULL;
	c->current = true;
	log_notice("audit: keyset: %s, generation %" PRIu64 ", %zu keys", what,
		   keyset_doc(k->keys)->generation, keyset_doc(k->keys)->n_keys);
	keeper_audit_key(k, NULL, NULL, what);
	cluster_say(c, "%s", "");
	confirm(k);
	cluster_hurry(k);
	return 0;
}

static void name_reopened(void *ctx, const struct key_record *rec)
{
	struct cluster *c = ctx;
	size_t n = strlen(c->reopened);

	snprintf(c->reopened + n, sizeof(c->reopened) - n, "%s%s", n > 0 ? ", " : "",
		 rec->info.label);
}

bool cluster_is_full_member(const struct keeper *k)
{
	const struct keydoc_member *me =
		keydoc_member(keyset_doc(k->keys), keyset_self(k->keys)->id);

	return me && !me->leaving;
}

/* Rule 6: etcd was restored, or shows an old document, or has none. */
static void publish_again(struct keeper *k, struct cluster *c, const struct keydoc *theirs)
{
	struct keydoc_change by = { .time = time(NULL) };
	struct keydoc_refusal why;
	struct keydoc *next;
	char what[64] = "none";

	c->current = false;
	if (theirs)
		snprintf(what, sizeof(what), "generation %" PRIu64, theirs->generation);
	if (!cluster_is_full_member(k)) {
		cluster_say(c, "etcd has an older keyset (%s): a member puts the newer one back",
			    what);
		return;
	}
	memcpy(by.node, keyset_self(k->keys)->id, sizeof(by.node));
	c->reopened[0] = '\0';
	if (c->offer.state != OFFER_NONE || random_bytes(by.nonce, sizeof(by.nonce)) < 0 ||
	    keydoc_again(keyset_doc(k->keys), theirs, &by, name_reopened, c, &next) < 0)
		return;
	if (c->again != next->generation)
		log_error(
			"cluster: etcd has lost changes: it has %s of the keyset where this node holds generation "
			"%" PRIu64
			". Was it restored from a snapshot? The keyset is put back as generation %" PRIu64
			"; keys that open values again: %s. Values that were written with a key destroyed since "
			"cannot be read",
			what, keyset_doc(k->keys)->generation, next->generation,
			*c->reopened ? c->reopened : "none were retired");
	c->republished += c->again != next->generation;
	c->again = next->generation;
	if (cluster_put_offer(k, c, CLUSTER_AGAIN, &next, &why) != -EINPROGRESS)
		cluster_say(c, "the keyset cannot be put back into etcd: %s", why.text);
	keydoc_free(next);
}

/* Another cluster's, or a fork of ours. */
static void judge_foreign(struct keeper *k, struct cluster *c, enum keydoc_relation is)
{
	const char *why = NULL;

	c->current = false;
	keydoc_free(c->theirs);
	c->theirs = move_ptr(c->seen);
	if (is == KEYDOC_FOREIGN) {
		c->alarm = keyset_doc(k->keys)->carrier == KEYDOC_ETCD;
		cluster_say(
			c,
			"etcd has the keyset of another cluster under the prefix %s, and this node keeps its own: "
			"give this cluster another `prefix:`, or join that one: `kekctl cluster join --merge` "
			"takes the keys of both, `--discard` forgets this node's",
			k->conf->config->cluster.prefix);
		return;
	}
	c->alarm = true;
	keydoc_covers(c->theirs, keyset_doc(k->keys), &why);
	cluster_say(
		c,
		"neither the keyset in etcd (generation %" PRIu64 ") nor this node's (%" PRIu64
		") may follow the other: %s. Values are read and written; `kekctl cluster join --merge` takes "
		"the keys of both",
		c->theirs->generation, keyset_doc(k->keys)->generation,
		why ?: "both were changed apart");
}

static void judge_bad(struct cluster *c)
{
	c->current = false;
	c->alarm = true;
	if (c->seen_r == -EKEYREJECTED)
		cluster_say(
			c,
			"the keyset in etcd is sealed under another root key: the prefix is of another cluster, "
			"or one of the nodes was given another root key. Compare `rootKey:` and `prefix:`. If etcd was "
			"restored from a time before the root key was rotated: `etcdctl del PREFIX/keyset`, and a "
			"member puts its own there");
	else if (c->seen_r == -EPROTONOSUPPORT)
		cluster_say(c,
			    "the keyset in etcd is of a newer version of kekd: upgrade this node");
	else
		cluster_say(
			c,
			"what etcd has as the keyset is none: its MAC does not hold, or it is not whole. "
			"Somebody has written under the prefix: look at etcd's users and roles. If it is lost, "
			"`etcdctl del PREFIX/keyset`, and a member puts its own there");
}

static void judge_none(struct keeper *k, struct cluster *c)
{
	const struct keydoc *ours = keyset_doc(k->keys);

	c->may_create = true;
	if (ours && ours->carrier == KEYDOC_ETCD) {
		publish_again(k, c, NULL);
		return;
	}
	c->current = false;
	cluster_say(
		c,
		"etcd has no keyset under the prefix yet: `kekctl cluster create`, once, on one node");
}

/* Nothing of its own would be lost. */
static bool takes_any(const struct keeper *k)
{
	int why = keyset_why(k->keys);

	return why == -ENODATA || why == -EUCLEAN || (why == 0 && keyset_is_empty(k->keys));
}

static void judge_doc(struct keeper *k, struct cluster *c)
{
	const struct keydoc *ours = keyset_doc(k->keys);
	enum keydoc_relation is;

	if (keyset_why(k->keys) < 0 && !takes_any(k))
		return; /* of another root, or version: status says it */
	if (takes_any(k) && c->seen->carrier != KEYDOC_ETCD) {
		cluster_say(c,
			    "the keyset in etcd is carried by hand now: see `kekctl keyset take`");
		return;
	}
	is = takes_any(k) ? KEYDOC_NEWER : keydoc_compare(ours, c->seen);
	if (is == KEYDOC_SAME && keyset_is_previous(k->keys))
		is = KEYDOC_NEWER; /* etcd has it, so it may be written with */
	switch (is) {
	case KEYDOC_SAME:
		c->current = true;
		c->may_create = ours->carrier != KEYDOC_ETCD;
		cluster_say(c, "%s",
			    ours->carrier == KEYDOC_ETCD
				    ? ""
				    : "etcd has this keyset and does not carry it: "
				      "`kekctl cluster create`");
		confirm(k);
		return;
	case KEYDOC_NEWER:
		cluster_take(k, c, &c->seen, "taken from etcd");
		return;
	case KEYDOC_OLDER:
		if (ours->carrier == KEYDOC_ETCD) {
			publish_again(k, c, c->seen);
			return;
		}
		c->current = false;
		c->may_create = true;
		cluster_say(
			c,
			"etcd has an older keyset than this node: `kekctl cluster create` puts this one there");
		return;
	default:
		judge_foreign(k, c, is);
	}
}

/* All that etcd has under the prefix was read. */
void cluster_judge(struct keeper *k, struct cluster *c)
{
	struct cluster_offer *o = &c->offer;
	bool found = c->seen && o->state == OFFER_UNSURE &&
		     memcmp(c->seen->hash, o->doc->hash, SHA256_LEN) == 0;
	bool lost = o->state == OFFER_UNSURE && !found;

	c->doc_rev = c->seen_rev;
	if (!c->seen_own)
		cluster_ack_lost(c);
	c->may_create = c->alarm = false;
	keydoc_free(move_ptr(c->theirs));
	if (lost)
		cluster_offer_end(k, c, -EAGAIN, true,
				  "the change has not reached etcd: it is tried again");
	if (c->seen_r < 0)
		judge_bad(c);
	else if (c->seen)
		judge_doc(k, c);
	else
		judge_none(k, c);
	if (found)
		cluster_offer_end(k, c, c->current ? 0 : -EIO, false, c->words);
	c->look_at_ack = true;
}

/* Who has answered to a number of ours was there after it was drawn. */
static void note_heard(struct keeper *k, struct cluster *c, const struct keyack *ack)
{
	struct cluster_heard *h = NULL;

	if (!acks_has_answered(k, ack))
		return;
	for (size_t i = 0; i < c->n_heard && !h; i++)
		if (memcmp(c->heard[i].node, ack->node, KEYDOC_NODE) == 0)
			h = &c->heard[i];
	if (!h && c->n_heard < ARRAY_SIZE(c->heard))
		h = &c->heard[c->n_heard++];
	if (!h)
		h = &c->heard[0];
	memcpy(h->node, ack->node, KEYDOC_NODE);
	h->ns = now_ns();
}

uint64_t cluster_heard_ns(const struct keeper *k, const uint8_t node[static KEYDOC_NODE])
{
	for (size_t i = 0; i < k->cluster->n_heard; i++)
		if (memcmp(k->cluster->heard[i].node, node, KEYDOC_NODE) == 0)
			return k->cluster->heard[i].ns;
	return 0;
}

bool cluster_is_mute(const struct keeper *k, const uint8_t node[static KEYDOC_NODE], uint64_t now)
{
	uint64_t heard = cluster_heard_ns(k, node);

	if (memcmp(node, keyset_self(k->keys)->id, KEYDOC_NODE) == 0)
		return false;
	return now - (heard > 0 ? heard : k->cluster->since_ns) > MUTE_NS;
}

/* This node's own: of this start, of one before, or of another machine with its id. */
static void see_own(struct keeper *k, struct cluster *c, const struct keyack *ack)
{
	const struct keydoc *ours = keyset_doc(k->keys);

	if (memcmp(ack->session, k->session, sizeof(ack->session)) == 0)
		return;
	counts_said(k, ack);
	if (c->has_said) {
		if (c->clone_until_ns < now_ns())
			log_error(
				"cluster: another acknowledgement stands in etcd in the place of this node's: "
				"there is a second machine with its id (a copy of its disk?), or somebody "
				"has put an old one back. This node makes no changes for ten minutes; stop "
				"the copy, or look at etcd's users");
		c->clone_until_ns = now_ns() + CLONE_NS;
	} else if (!c->was_said && ours && ack->generation > ours->generation) {
		log_error("cluster: this node has acknowledged generation %" PRIu64
			  " before, and its disk has generation %" PRIu64
			  ": the disk was put back. What etcd has is taken",
			  ack->generation, ours->generation);
		c->was_said = true;
	}
	free(move_ptr(c->ack_text)); /* ours is to be there */
}

static void on_ack(struct keeper *k, struct cluster *c, const struct carrier_head *m,
		   struct span text)
{
	uint8_t other[KEY_ROOT_ID];
	struct keydoc_root root;
	struct keyack *ack;
	bool own = memcmp(m->node, keyset_self(k->keys)->id, KEYDOC_NODE) == 0;

	if (own) {
		c->ack_rev = m->revision;
		c->seen_own = true;
	}
	if (!keyset_root(k->keys, &root) || keyack_parse(text, &root, &ack, other) < 0)
		return; /* whoever is waited for is named anyway */
	if (memcmp(ack->node, m->node, sizeof(m->node)) != 0) {
		keyack_free(ack); /* put into the place of another's */
		return;
	}
	if (own) {
		see_own(k, c, ack);
		keyack_free(ack);
		return;
	}
	note_heard(k, c, ack);
	acks_take(k, ack);
}

int cluster_item(struct keeper *k, struct cluster *c, const struct carrier_head *m,
		 struct span text)
{
	uint8_t other[KEY_ROOT_ID];
	struct keydoc_root root;

	if (c->asked == CLUSTER_NOTHING)
		return -EPROTO;
	if (m->kind != CARRIER_KEYSET) {
		on_ack(k, c, m, text);
	} else if (!c->seen && c->seen_r >= 0) { /* there is one key of that name */
		c->seen_rev = m->revision;
		c->seen_r = keyset_root(k->keys, &root) ? keydoc_parse(text, &root, &c->seen, other)
							: -EKEYEXPIRED;
	}
	return 0;
}
