/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See the header for the rules. Each change is one function that checks what is asked of it and alters a
 * copy of the document; what every change needs is checked before, in keydoc_next().
 */
#include "daemon/keys/keydoc_next.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* One change in the making. */
struct step {
	const struct keydoc *doc;
	const struct keydoc_change *by;
	const struct keydoc_heard *heard;
	struct keydoc *next;
	struct key_record *key; /* of next; NULL for changes of members */
	struct keydoc_refusal *why;
};

int keydoc_refuse(struct keydoc_refusal *why, int r, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(why->text, sizeof(why->text), format, ap);
	va_end(ap);
	why->r = r;
	why->waits = false;
	return r;
}

/* After a refusal that time cures, where acknowledgements come by themselves. */
static int next_waits(const struct step *s, int r)
{
	s->why->waits = s->doc->carrier == KEYDOC_ETCD;
	return r;
}

/* What is to be done besides, where they are brought by hand. */
static const char *by_hand(const struct step *s, const char *what)
{
	return s->doc->carrier == KEYDOC_ETCD ? "" : what;
}

static const struct keyack *ack_of(const struct step *s, const uint8_t node[static KEYDOC_NODE])
{
	for (size_t i = 0; i < s->heard->n; i++)
		if (memcmp(s->heard->acks[i]->node, node, KEYDOC_NODE) == 0)
			return s->heard->acks[i];
	return NULL;
}

static bool is_maker(const struct step *s, const struct keydoc_member *m)
{
	return memcmp(m->id, s->by->node, KEYDOC_NODE) == 0;
}

static bool next_is_named(const struct keydoc_change *by, const uint8_t node[static KEYDOC_NODE])
{
	for (size_t i = 0; i < by->n_removed; i++)
		if (memcmp(by->removed[i].id, node, KEYDOC_NODE) == 0)
			return true;
	return false;
}

#define CURE_MAX 192

/* Rule 8, for one member. */
static int next_answered(const struct step *s, const struct keydoc_member *m)
{
	const struct keyack *ack = ack_of(s, m->id);
	char cure[CURE_MAX];

	if (s->doc->carrier == KEYDOC_ETCD)
		snprintf(cure, sizeof(cure),
			 "is it up, and does it reach etcd? See `kekctl cluster status`");
	else
		snprintf(cure, sizeof(cure),
			 "run `kekctl keyset export | ssh %s kekctl keyset apply | kekctl keyset "
			 "ack` here, then this command again",
			 m->name);
	if (!ack || memcmp(ack->doc, s->doc->hash, sizeof(ack->doc)) != 0)
		return next_waits(
			s, keydoc_refuse(s->why, -EBUSY,
					 "node %s has not acknowledged generation %" PRIu64 ": %s",
					 m->name, s->doc->generation, cure));
	if (!is_maker(s, m) && !keyack_has_heard(ack, s->by->node, s->heard->number))
		return next_waits(s, keydoc_refuse(s->why, -EBUSY,
						   "node %s has acknowledged generation %" PRIu64
						   ", but not since this node took it: %s",
						   m->name, s->doc->generation, cure));
	return 0;
}

/* Rule 1. */
static int all_open(const struct step *s)
{
	for (size_t i = 0; i < s->doc->n_members; i++) {
		const struct keydoc_member *m = &s->doc->members[i];
		const struct keyack *ack = m->leaving ? NULL : ack_of(s, m->id);
		const struct keyack_key *key = ack ? keyack_key(ack, s->by->id) : NULL;

		if (!m->leaving && (!key || key->why != 0))
			return next_waits(
				s,
				keydoc_refuse(s->why, -EBUSY,
					      "node %s does not open key %s: see `kekctl key list` "
					      "there%s",
					      m->name, s->key->info.label,
					      by_hand(s, ", then exchange acknowledgements with it "
							 "again")));
	}
	return 0;
}

/* Rule 2: nobody writes with it, and unless forced everybody is quiet about it. */
static int nobody_writes(const struct step *s, bool quiet)
{
	for (size_t i = 0; i < s->doc->n_members; i++) {
		const struct keydoc_member *m = &s->doc->members[i];
		const struct keyack *ack = ack_of(s, m->id);
		const struct keyack_key *key = ack ? keyack_key(ack, s->by->id) : NULL;

		if (!ack || keyack_writes_with(ack, s->by->id))
			return next_waits(
				s, keydoc_refuse(
					   s->why, -EBUSY, "node %s writes with key %s, or may%s",
					   m->name, s->key->info.label,
					   by_hand(s, ": exchange acknowledgements with it, then "
						      "run this command again")));
		if (quiet && (!key || !key->quiet))
			return next_waits(
				s,
				keydoc_refuse(
					s->why, -EBUSY,
					"node %s has answered with key %s within the last five "
					"minutes, or was started since: an API server may still "
					"write with what the key has wrapped%s",
					m->name, s->key->info.label,
					by_hand(s,
						". Wait, exchange acknowledgements with it, then "
						"run this command again")));
	}
	return 0;
}

static int wrong_state(const struct step *s, const char *wanted)
{
	return keydoc_refuse(s->why, -EPERM,
			     "key %s is %s, and this takes one that is %s: see `kekctl key list`",
			     s->key->info.label, key_state_name(s->key->info.state), wanted);
}

/* A key that is new, and a node that is, would need both roots. */
static int no_rotation(const struct step *s)
{
	return s->doc->rotating
		       ? keydoc_refuse(
				 s->why, -EBUSY,
				 "the root key is being rotated: end that first, with `kekctl root "
				 "rotate` or `kekctl root rotate --abort`")
		       : 0;
}

static int do_stage(struct step *s)
{
	const struct key_record *key = s->by->key;

	if (no_rotation(s) < 0)
		return s->why->r;
	if (keydoc_key(s->doc, key->info.id) || keydoc_is_gone(s->doc, key->info.id))
		return keydoc_refuse(s->why, -EEXIST,
				     "a key of this id is or was there: try again");
	if (s->doc->n_keys >= KEKD_KEYS_MAX)
		return keydoc_refuse(
			s->why, -ENOBUFS,
			"the keyset is full: retire and destroy old keys (`kekctl key list`)");
	s->key = &s->next->keys[s->next->n_keys++];
	*s->key = *key;
	s->key->info.state = KEY_STAGED;
	s->key->info.activation = 0;
	s->key->info.marked = s->key->uses = 0;
	s->key->retired = 0;
	if (!keydoc_fits(s->next))
		return keydoc_refuse(
			s->why, -ENOBUFS,
			"the keyset is full: retire and destroy old keys (`kekctl key list`)");
	return 0;
}

static int do_activate(struct step *s)
{
	struct key_record *old;
	int r;

	if (s->key->info.state == KEY_ACTIVE)
		return keydoc_refuse(s->why, -EALREADY, "key %s is active", s->key->info.label);
	if (s->key->info.state != KEY_STAGED && s->key->info.state != KEY_DECRYPT_ONLY)
		return wrong_state(s, "staged or decrypt-only");
	r = all_open(s);
	if (r < 0)
		return r;
	for (size_t i = 0; i < s->next->n_keys; i++) {
		old = &s->next->keys[i];
		if (old->info.state == KEY_ACTIVE && strcmp(old->info.name, s->key->info.name) == 0)
			old->info.state = KEY_DECRYPT_ONLY;
	}
	/* Rule 4: the number is above every one that was ever given. */
	if (s->next->activations == UINT32_MAX)
		return keydoc_refuse(s->why, -EOVERFLOW, "no activation number is left");
	s->key->info.activation = ++s->next->activations;
	s->key->info.state = KEY_ACTIVE;
	s->key->info.marked = 0;
	return 0;
}

static int do_give_up(struct step *s)
{
	if (s->key->info.state != KEY_STAGED)
		return wrong_state(s, "staged");
	s->key->info.state = KEY_DECRYPT_ONLY;
	return 0;
}

/* The document itself is the mark: who has read it at some revision of etcd knows what came before. */
static int do_mark(struct step *s)
{
	int r = 0;

	if (s->key->info.state != KEY_DECRYPT_ONLY && s->key->info.state != KEY_RETIRED)
		return wrong_state(s, "decrypt-only or retired");
	for (size_t i = 0; i < s->doc->n_keys; i++)
		if (s->doc->keys[i].info.state == KEY_STAGED &&
		    strcmp(s->doc->keys[i].info.name, s->key->info.name) == 0)
			return keydoc_refuse(
				s->why, -EBUSY,
				"key %s is staged: end that rotation first, with `kekctl key rotate "
				"%s` or `kekctl key rotate %s --abort`",
				s->doc->keys[i].info.label, s->key->info.name, s->key->info.name);
	if (s->key->info.state == KEY_DECRYPT_ONLY)
		r = nobody_writes(s, true);
	if (r == 0)
		s->key->info.marked = s->next->generation;
	return r;
}

/* Evidence for the mark that the document bears, or somebody's word. */
static int has_evidence(const struct step *s)
{
	if (s->by->vouched || (s->by->forced && s->by->kind == KEYDOC_RETIRE))
		return 0;
	if (s->by->evidence != 0 && s->by->evidence == s->key->info.marked)
		return 0;
	if (s->key->info.marked == 0)
		return keydoc_refuse(
			s->why, -EAGAIN,
			"key %s is not marked, so nothing says since when no value needs it: `kekctl key "
			"mark %s`, then `kekctl scan --etcd --uses %s --proof FILE`, and --proof FILE here. "
			"--force takes your word for it",
			s->key->info.label, s->key->info.label, s->key->info.label);
	return keydoc_refuse(
		s->why, -EAGAIN,
		"there is no evidence that no value needs key %s since it was marked: see "
		"`kekctl scan --etcd --uses %s --proof FILE`",
		s->key->info.label, s->key->info.label);
}

static int do_retire(struct step *s)
{
	int r;

	if (s->key->info.state == KEY_RETIRED)
		return keydoc_refuse(s->why, -EALREADY, "key %s is retired", s->key->info.label);
	if (s->key->info.state != KEY_DECRYPT_ONLY)
		return wrong_state(s, "decrypt-only");
	r = has_evidence(s); /* first: time brings none */
	if (r == 0)
		r = nobody_writes(s, !s->by->forced);
	if (r < 0)
		return r;
	s->key->info.state = KEY_RETIRED;
	/* By the clock that is furthest ahead: one that is slow must not shorten how long the key is kept. */
	s->key->retired = s->by->time;
	for (size_t i = 0; i < s->heard->n; i++)
		if (s->heard->acks[i]->time > s->key->retired)
			s->key->retired = s->heard->acks[i]->time;
	s->key->info.marked = 0;
	return 0;
}

static int do_reopen(struct step *s)
{
	if (s->key->info.state != KEY_RETIRED)
		return wrong_state(s, "retired");
	s->key->info.state = KEY_DECRYPT_ONLY;
	s->key->retired = 0;
	s->key->info.marked = 0;
	return 0;
}

/* Rule 3, by every member's own clock. */
static int is_kept_long_enough(const struct step *s)
{
	for (size_t i = 0; i < s->doc->n_members; i++) {
		const struct keydoc_member *m = &s->doc->members[i];
		const struct keyack *ack = ack_of(s, m->id);

		if (ack && ack->time < s->key->retired - KEYDOC_AHEAD_S)
			return keydoc_refuse(
				s->why, -EBUSY,
				"key %s was retired at a time that the clock of node %s has not reached: "
				"it is behind, or another was ahead then (rotation.keepRetired). Put the clock right, or begin "
				"again: `kekctl key reopen`, `kekctl key retire`",
				s->key->info.label, m->name);
		if (!ack || ack->time - s->key->retired < s->heard->keep_retired)
			return keydoc_refuse(
				s->why, -EBUSY,
				"key %s was retired less than %" PRId64
				" s ago by the clock of node %s (rotation.keepRetired): backups of "
				"etcd may need it for so long",
				s->key->info.label, s->heard->keep_retired, m->name);
	}
	return 0;
}

static int do_destroy(struct step *s)
{
	uint8_t id[KEKD_KEY_ID];
	int r;

	if (s->key->info.state != KEY_RETIRED)
		return wrong_state(s, "retired");
	r = is_kept_long_enough(s);
	if (r == 0)
		r = has_evidence(s);
	if (r < 0)
		return r;
	memcpy(id, s->by->id, sizeof(id));
	memmove(s->key, s->key + 1,
		(size_t)(&s->next->keys[s->next->n_keys] - (s->key + 1)) * sizeof(*s->key));
	s->next->n_keys--;
	keydoc_add_gone(s->next, id);
	return 0;
}

/* Rule 1, for the one who comes: it opens whatever opens. */
static int opens_all(const struct step *s, const struct keyack *ack)
{
	for (size_t i = 0; i < s->doc->n_keys; i++) {
		const struct key_record *rec = &s->doc->keys[i];
		const struct keyack_key *key = keyack_key(ack, rec->info.id);

		if (key_state_opens(rec->info.state) && (!key || key->why != 0))
			return keydoc_refuse(
				s->why, -EBUSY,
				"node %s does not open key %s: see `kekctl key list` there",
				ack->name, rec->info.label);
	}
	return 0;
}

static int do_join(struct step *s)
{
	const struct keydoc_member *m = &s->by->member;
	const struct keyack *ack = ack_of(s, m->id);
	int r = no_rotation(s);

	if (r < 0)
		return r;
	if (keydoc_member(s->doc, m->id))
		return keydoc_refuse(s->why, -EALREADY, "node %s is a member", m->name);
	if (keydoc_is_removed(s->doc, m->id))
		return keydoc_refuse(s->why, -EPERM,
				     "node %s was removed: let it join with an empty key store",
				     m->name);
	if (s->doc->n_members == KEYDOC_MEMBERS_MAX)
		return keydoc_refuse(s->why, -ENOBUFS, "a cluster has at most %d members",
				     KEYDOC_MEMBERS_MAX);
	for (size_t i = 0; i < s->doc->n_members; i++)
		if (strcmp(s->doc->members[i].name, m->name) == 0)
			return keydoc_refuse(
				s->why, -EEXIST,
				"there is another member %s: remove it first, or give one of them "
				"another name (`node:` in kekd.yaml)",
				m->name);
	r = next_answered(s, m);
	if (r == 0)
		r = opens_all(s, ack);
	if (r < 0)
		return r;
	s->next->members[s->next->n_members] = *m;
	s->next->members[s->next->n_members++].leaving = false;
	if (s->next->carrier == KEYDOC_ALONE) {
		s->next->carrier = KEYDOC_HAND;
		memcpy(s->next->hand, s->by->node, KEYDOC_NODE);
	}
	return 0;
}

static struct keydoc_member *next_member(const struct step *s, const struct keydoc_node *node)
{
	for (size_t i = 0; i < s->next->n_members; i++)
		if (memcmp(s->next->members[i].id, node->id, KEYDOC_NODE) == 0)
			return &s->next->members[i];
	return NULL;
}

static int no_member(const struct step *s, const struct keydoc_node *node)
{
	char hex[2 * KEYDOC_NODE + 1];

	key_hex(node->id, sizeof(node->id), hex);
	return keydoc_refuse(s->why, -ENOKEY, "node %s is no member of the keyset%s", hex,
			     keydoc_is_removed(s->next, node->id) ? " any more" : "");
}

static int do_remove(struct step *s)
{
	bool changes = false;

	for (size_t i = 0; i < s->by->n_removed; i++) {
		struct keydoc_member *m = next_member(s, &s->by->removed[i]);

		if (!m)
			return no_member(s, &s->by->removed[i]);
		if (is_maker(s, m))
			return keydoc_refuse(
				s->why, -EPERM,
				"node %s cannot remove itself: do it on another member", m->name);
		changes = changes || !m->leaving;
		m->leaving = true;
	}
	return changes ? 0
		       : keydoc_refuse(s->why, -EALREADY,
				       "every node that is to be removed is leaving already");
}

/* It has stopped: it holds this document, writes with nothing, and is quiet about every key. */
static int has_stopped(const struct step *s, const struct keydoc_member *m)
{
	const struct keyack *ack = ack_of(s, m->id);
	bool quiet =
		ack && memcmp(ack->doc, s->doc->hash, sizeof(ack->doc)) == 0 && ack->n_writes == 0;

	for (size_t i = 0; quiet && i < s->doc->n_keys; i++) {
		const struct keyack_key *key = keyack_key(ack, s->doc->keys[i].info.id);

		quiet = !key_state_opens(s->doc->keys[i].info.state) || (key && key->quiet);
	}
	if (quiet)
		return 0;
	if (s->doc->carrier == KEYDOC_ETCD)
		return next_waits(
			s,
			keydoc_refuse(
				s->why, -EBUSY,
				"node %s is leaving and has not said that it has stopped, which takes it "
				"five minutes; if it and its API server never start again: `kekctl "
				"cluster remove %s --dead`",
				m->name, m->name));
	return keydoc_refuse(
		s->why, -EBUSY,
		"node %s has not said that it has stopped: exchange acknowledgements with it, or, "
		"if it and its API server never start again, `kekctl keyset remove %s --dead`",
		m->name, m->name);
}

/* What it may have done with a key counts on. Who is dead has not said his last number: that is his share. */
static void add_uses(struct step *s, const uint8_t node[static KEYDOC_NODE])
{
	const uint64_t least = s->by->vouched ? KEKD_KEY_MESSAGES : 0;
	const struct keyack *ack = ack_of(s, node);

	for (size_t i = 0; i < s->next->n_keys; i++) {
		struct key_record *key = &s->next->keys[i];
		const struct keyack_key *said = ack ? keyack_key(ack, key->info.id) : NULL;

		key_record_add_uses(key, said && said->uses > least ? said->uses : least);
	}
}

static int do_left(struct step *s)
{
	struct keydoc *next = s->next;
	int r = 0;

	for (size_t i = 0; r == 0 && i < s->by->n_removed; i++) {
		const struct keydoc_node *node = &s->by->removed[i];
		struct keydoc_member *m = next_member(s, node);

		if (!m)
			return no_member(s, node);
		if (is_maker(s, m))
			return keydoc_refuse(
				s->why, -EPERM,
				"node %s cannot remove itself: do it on another member", m->name);
		if (!s->by->vouched)
			r = m->leaving ? has_stopped(s, m)
				       : keydoc_refuse(s->why, -EPERM, "node %s is not leaving",
						       m->name);
		if (r < 0)
			return r;
		add_uses(s, node->id);
		*m = next->members[--next->n_members];
		keydoc_add_removed(next, node->id);
		if (memcmp(next->hand, node->id, KEYDOC_NODE) == 0 && next->carrier == KEYDOC_HAND)
			memcpy(next->hand, next->node, KEYDOC_NODE);
	}
	if (next->n_members == 1 && next->carrier == KEYDOC_HAND)
		next->carrier = KEYDOC_ALONE;
	return 0;
}

/* Who has it in etcd has it there first; the way back is `kekctl keyset take`, for an etcd that is gone for good. */
static int do_carry(struct step *s)
{
	if (s->doc->carrier == KEYDOC_ETCD)
		return keydoc_refuse(s->why, -EALREADY, "etcd carries this keyset already");
	s->next->carrier = KEYDOC_ETCD;
	memset(s->next->hand, 0, sizeof(s->next->hand));
	return 0;
}

/* Rule 9, for one root. */
static int all_have_root(const struct step *s, const uint8_t root[static KEY_ROOT_ID])
{
	char hex[2 * KEY_ROOT_ID + 1];

	key_hex(root, KEY_ROOT_ID, hex);
	for (size_t i = 0; i < s->doc->n_members; i++) {
		const struct keydoc_member *m = &s->doc->members[i];
		const struct keyack *ack = ack_of(s, m->id);

		if (ack && ack->formats < KEYDOC_FORMAT_ROTATE)
			return keydoc_refuse(
				s->why, -EPROTONOSUPPORT,
				"node %s runs a version of kekd that cannot have its root "
				"key rotated: upgrade it",
				m->name);
		if (!ack || !keyack_has_root(ack, root))
			return next_waits(
				s,
				keydoc_refuse(
					s->why, -EBUSY,
					"node %s has not said that it has the root key %s%s: give it "
					"that one, with `kekctl root next` there%s",
					m->name, hex,
					s->doc->rotating ? " and opens every key under it" : "",
					by_hand(s, ", then exchange acknowledgements with it, "
						   "and run this command again")));
	}
	return 0;
}

static int do_root_begin(struct step *s)
{
	int r;

	if (s->doc->rotating)
		return keydoc_refuse(s->why, -EALREADY, "the root key is being rotated already");
	if (memcmp(s->doc->root, s->by->root, KEY_ROOT_ID) == 0)
		return keydoc_refuse(s->why, -EALREADY,
				     "that is the root key which the keyset is sealed under");
	r = all_have_root(s, s->doc->root);
	if (r == 0)
		r = all_have_root(s, s->by->root);
	if (r < 0)
		return r;
	for (size_t i = 0; i < s->next->n_keys; i++) {
		struct key_record *key = &s->next->keys[i];
		const struct keydoc_blob *b = NULL;

		for (size_t j = 0; !b && j < s->by->n_blobs; j++)
			if (memcmp(s->by->blobs[j].id, key->info.id, KEKD_KEY_ID) == 0)
				b = &s->by->blobs[j];
		if (!b)
			return keydoc_refuse(
				s->why, -EAGAIN,
				"key %s has come since the keyset was sealed anew: run the "
				"command again",
				key->info.label);
		memcpy(key->reblob, b->blob, sizeof(key->reblob));
	}
	s->next->rotating = true;
	memcpy(s->next->next_root, s->by->root, KEY_ROOT_ID);
	return 0;
}

static int end_rotation(struct step *s, bool give_up)
{
	int r;

	if (!s->doc->rotating)
		return keydoc_refuse(s->why, -EALREADY, "the root key is not being rotated");
	r = all_have_root(s, give_up ? s->doc->root : s->doc->next_root);
	if (r == 0)
		keydoc_end_rotation(s->next, give_up);
	return r;
}

static int do_root_end(struct step *s)
{
	return end_rotation(s, false);
}

static int do_root_abort(struct step *s)
{
	return end_rotation(s, true);
}

static int do_take(struct step *s)
{
	if (s->doc->carrier == KEYDOC_ALONE || memcmp(s->doc->hand, s->by->node, KEYDOC_NODE) == 0)
		return keydoc_refuse(s->why, -EALREADY, "changes come from this node already");
	s->next->carrier = KEYDOC_HAND;
	memcpy(s->next->hand, s->by->node, KEYDOC_NODE);
	return 0;
}

static const struct {
	int (*make)(struct step *s);
	bool of_key;  /* of the key @id */
	bool anybody; /* also by a member that changes do not come from */
} changes[] = {
	[KEYDOC_STAGE] = { do_stage, false, false },
	[KEYDOC_ACTIVATE] = { do_activate, true, false },
	[KEYDOC_GIVE_UP] = { do_give_up, true, false },
	[KEYDOC_MARK] = { do_mark, true, false },
	[KEYDOC_RETIRE] = { do_retire, true, false },
	[KEYDOC_REOPEN] = { do_reopen, true, false },
	[KEYDOC_DESTROY] = { do_destroy, true, false },
	[KEYDOC_JOIN] = { do_join, false, false },
	[KEYDOC_REMOVE] = { do_remove, false, false },
	[KEYDOC_LEFT] = { do_left, false, false },
	[KEYDOC_TAKE] = { do_take, false, true },
	[KEYDOC_CARRY] = { do_carry, false, false },
	[KEYDOC_ROOT_BEGIN] = { do_root_begin, false, false },
	[KEYDOC_ROOT_END] = { do_root_end, false, false },
	[KEYDOC_ROOT_ABORT] = { do_root_abort, false, false },
};
_Static_assert(ARRAY_SIZE(changes) == KEYDOC_CHANGES, "a row for each change");

/* May this node make changes? The removal of the one that does is another's to make. */
static int may_change(const struct step *s)
{
	const struct keydoc_member *me = keydoc_member(s->doc, s->by->node);
	const struct keydoc_member *hand;

	if (!me || me->leaving)
		return keydoc_refuse(
			s->why, -EPERM,
			"this node is %s of the keyset, so it changes nothing: do it on a member",
			me ? "leaving the members" : "no member");
	if (s->doc->carrier != KEYDOC_HAND || changes[s->by->kind].anybody ||
	    memcmp(s->doc->hand, s->by->node, KEYDOC_NODE) == 0)
		return 0;
	if (s->by->kind == KEYDOC_LEFT && s->by->vouched && next_is_named(s->by, s->doc->hand))
		return 0;
	hand = keydoc_member(s->doc, s->doc->hand);
	return keydoc_refuse(
		s->why, -EPERM,
		"changes of this keyset come from node %s: run the command there, or take that over "
		"with `kekctl keyset take`",
		hand ? hand->name : "that is unknown");
}

int keydoc_next(const struct keydoc *doc, const struct keydoc_change *change,
		const struct keydoc_heard *heard, struct keydoc **ret, struct keydoc_refusal *why)
{
	_cleanup_(keydoc_freep) struct keydoc *next = NULL;
	struct step s = { .doc = doc, .by = change, .heard = heard, .why = why };
	bool removal;
	int r;

	why->text[0] = '\0';
	why->waits = false;
	why->r = keydoc_copy(doc, &next);
	if (why->r < 0)
		return why->r;
	s.next = next;
	next->generation++;
	memcpy(next->nonce, change->nonce, sizeof(next->nonce));
	memcpy(next->node, change->node, sizeof(next->node));
	next->time = change->time;
	next->is_merged = false;
	memset(next->hash, 0, sizeof(next->hash));
	r = may_change(&s);
	if (r == 0 && changes[change->kind].of_key) {
		s.key = keydoc_key(next, change->id);
		if (!s.key)
			r = keydoc_refuse(why, -ENOKEY,
					  "there is no such key: see `kekctl key list`");
	}
	/* Whoever is to be removed, or has left, is not asked. */
	removal = change->kind == KEYDOC_REMOVE || change->kind == KEYDOC_LEFT;
	for (size_t i = 0; r == 0 && i < doc->n_members; i++)
		if (!removal || !next_is_named(change, doc->members[i].id))
			r = next_answered(&s, &doc->members[i]);
	if (r == 0)
		r = changes[change->kind].make(&s);
	if (r < 0)
		return r;
	*ret = move_ptr(next);
	return 0;
}

int keydoc_begin(const uint8_t cluster[static KEYDOC_NODE], const uint8_t nonce[static KEYDOC_NODE],
		 const struct keydoc_member *member, const uint8_t root[static KEY_ROOT_ID],
		 time_t time, struct keydoc **ret)
{
	struct keydoc *doc;
	int r;

	r = keydoc_new(&doc);
	if (r < 0)
		return r;
	memcpy(doc->cluster, cluster, sizeof(doc->cluster));
	memcpy(doc->nonce, nonce, sizeof(doc->nonce));
	memcpy(doc->node, member->id, sizeof(doc->node));
	memcpy(doc->root, root, sizeof(doc->root));
	doc->generation = 1;
	doc->time = time;
	doc->members[doc->n_members++] = *member;
	*ret = doc;
	return 0;
}
