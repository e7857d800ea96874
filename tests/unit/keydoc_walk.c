/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every document that changes can lead to, for clusters that are small: from each of them any node tries any
 * change, whatever the nodes have acknowledged. What keydoc_next() allows is held against the rules, which
 * are written down here a second time, by what an acknowledgement says and not by how.
 *
 * Two documents count as one if they differ in nothing but their generations and the size of their numbers.
 */
#include "tests/unit/keydoc_bed.h"

#define NODES  3
#define KEYS   3
#define KEEP   1000
#define SHAPES 20000
#define NAME   "primary"

/* What a node has said. All false and HEARD: all is well. */
struct said {
	enum {
		HEARD,   /* of this document, to the maker's number */
		UNHEARD, /* of this document, before that number was drawn */
		BEFORE,  /* of the document before */
		NOTHING,
	} of;
	/* About the key that the change is about, or that is looked at: */
	bool shut;   /* a server of its does not open it */
	bool busy;   /* it is not quiet */
	bool writes; /* values are written with it */
	bool early;  /* by its clock nothing has been kept long enough */
};

enum { SHUT = 1, BUSY = 2, WRITES = 4, EARLY = 8, ALL = 15 };

/* What decides on a change, and so what its acknowledgements are tried with. */
static const unsigned int matters[KEYDOC_CHANGES] = {
	[KEYDOC_ACTIVATE] = SHUT, [KEYDOC_MARK] = BUSY | WRITES, [KEYDOC_RETIRE] = BUSY | WRITES,
	[KEYDOC_DESTROY] = EARLY, [KEYDOC_JOIN] = SHUT,          [KEYDOC_LEFT] = BUSY | WRITES,
};

struct walk_config {
	uint8_t nodes, keys;
	bool together;   /* all are members at the start */
	bool membership; /* nodes join and leave */
	bool whole;      /* acknowledgements differ in all that they can */
};

/* Of a key: by which document it was retired. */
struct past {
	uint64_t retired[KEYS];
};

struct shape {
	uint8_t of[16];
};

struct state {
	char *text;
	size_t len;
	uint8_t before[SHA256_LEN];
	struct past past;
};

struct walk {
	struct walk_config config;
	struct shape *shapes;
	struct state *states;
	size_t n, at;
	struct keydoc *first;
	struct keyack *acks[NODES];
	size_t asked, allowed;

	/* The document that changes are tried on. */
	struct keydoc *doc;
	const struct state *state;
	/* One try. */
	struct keydoc_change change;
	uint8_t maker, key; /* key: which one is looked at */
	unsigned int named; /* nodes, by bit */
	struct said said[NODES];
};

static const uint8_t number[KEYDOC_NODE] = { 0x99 }, old_number[KEYDOC_NODE] = { 0x98 };

static const struct keydoc_member *member_of(const struct keydoc *doc, uint8_t n)
{
	return keydoc_member(doc, bed_node_id(n).id);
}

static struct key_record *key_of(const struct keydoc *doc, uint8_t n)
{
	return keydoc_key(doc, bed_key_id(n).id);
}

static bool opens(const struct key_record *rec)
{
	return rec && key_state_opens(rec->info.state);
}

/* What the rules can tell apart of a document. */
static struct shape shape_of(const struct walk *w, const struct keydoc *doc,
			     const struct past *past)
{
	struct shape s = { 0 };
	size_t n = 0;

	for (uint8_t i = 0; i < w->config.keys; i++) {
		const struct key_record *rec = key_of(doc, i);
		uint8_t rank = 0;

		for (size_t j = 0; rec && j < doc->n_keys; j++)
			rank = (uint8_t)(rank +
					 (doc->keys[j].info.activation < rec->info.activation));
		if (rec)
			s.of[n] = (uint8_t)(1U | (unsigned int)rec->info.state << 1 |
					    (rec->info.marked != 0 ? 0x10U : 0) |
					    (rec->info.marked > past->retired[i] ? 0x20U : 0) |
					    (rec->info.activation > 0 ? 0x40U : 0));
		else if (keydoc_is_gone(doc, bed_key_id(i).id))
			s.of[n] = 0xff;
		s.of[n + 1] = rank;
		n += 2;
	}
	for (uint8_t i = 0; i < w->config.nodes; i++) {
		const struct keydoc_member *m = member_of(doc, i);

		if (m)
			s.of[n++] = m->leaving ? 2 : 1;
		else
			s.of[n++] = keydoc_is_removed(doc, bed_node_id(i).id) ? 3 : 0;
	}
	s.of[n] = doc->carrier == KEYDOC_HAND ? doc->hand[0] : 0;
	return s;
}

static void remember(struct walk *w, struct keydoc *doc, const struct past *past)
{
	struct shape s = shape_of(w, doc, past);
	struct state *st = &w->states[w->n];

	for (size_t i = 0; i < w->n; i++)
		if (memcmp(&w->shapes[i], &s, sizeof(s)) == 0)
			return;
	ASSERT_LT(w->n, (size_t)SHAPES);
	w->shapes[w->n++] = s;
	st->past = *past;
	if (w->doc)
		memcpy(st->before, w->doc->hash, sizeof(st->before));
	ASSERT_OK(keydoc_format(doc, &bed_root, &st->text, &st->len));
}

/* What was said, as an acknowledgement. */
static void speak(const struct walk *w, uint8_t n, struct keyack *ack)
{
	const struct said *said = &w->said[n];
	const struct key_record *rec = key_of(w->doc, w->key);
	const struct keydoc_member *m = member_of(w->doc, n);
	bool retires = w->change.kind == KEYDOC_RETIRE; /* at BED_TIME by every clock */
	struct keyack_key *key = NULL;

	bed_answer(ack, w->doc, n, bed_node_id(w->maker).id,
		   said->of == UNHEARD ? old_number : number,
		   retires ? BED_TIME : BED_TIME + (said->early ? KEEP - 1 : KEEP));
	if (said->of == BEFORE)
		memcpy(ack->doc, w->state->before, sizeof(ack->doc));
	if (m && m->leaving)
		ack->n_writes = 0;
	for (size_t i = 0; m && m->leaving && i < ack->n_keys; i++)
		ack->keys[i].quiet = true;
	if (!rec)
		return;
	for (size_t i = 0; i < ack->n_keys; i++)
		if (memcmp(ack->keys[i].id, rec->info.id, sizeof(rec->info.id)) == 0)
			key = &ack->keys[i];
	if (key && said->shut)
		key->why = -EBADMSG;
	if (key && said->busy)
		key->quiet = false;
	if (!said->writes)
		return;
	ack->n_writes = 1;
	memcpy(ack->writes[0].id, rec->info.id, sizeof(rec->info.id));
	ack->writes[0].activation = rec->info.activation;
}

static bool is_named(const struct walk *w, uint8_t n)
{
	return w->named & 1U << n;
}

static bool is_removal(const struct walk *w)
{
	return w->change.kind == KEYDOC_REMOVE || w->change.kind == KEYDOC_LEFT;
}

static bool has_evidence(const struct walk *w, const struct key_record *rec)
{
	return rec->info.marked != 0 && w->change.evidence == rec->info.marked;
}

/* Rule 8. */
static bool all_answered(const struct walk *w)
{
	for (uint8_t n = 0; n < w->config.nodes; n++) {
		bool joins = w->change.kind == KEYDOC_JOIN && is_named(w, n);

		if (!joins && (!member_of(w->doc, n) || (is_removal(w) && is_named(w, n))))
			continue;
		if (w->said[n].of != HEARD && !(n == w->maker && w->said[n].of == UNHEARD))
			return false;
	}
	return true;
}

/* Has no member said this of the key? Whoever is leaving has stopped, and only its quiet counts. */
static bool nobody(const struct walk *w, unsigned int what)
{
	for (uint8_t n = 0; n < w->config.nodes; n++) {
		const struct keydoc_member *m = member_of(w->doc, n);

		if (!m)
			continue;
		if (((what & SHUT) && w->said[n].shut && !m->leaving) ||
		    ((what & BUSY) && w->said[n].busy) || ((what & WRITES) && w->said[n].writes) ||
		    ((what & EARLY) && w->said[n].early))
			return false;
	}
	return true;
}

/* Rules 1 and 4. */
static void check_number(const struct walk *w, const struct keydoc *next,
			 const struct key_record *was, const struct key_record *is)
{
	if (is->info.state != KEY_ACTIVE ||
	    (was->info.state == KEY_ACTIVE && was->info.activation == is->info.activation)) {
		ASSERT_EQ(was->info.activation, is->info.activation);
		return;
	}
	ASSERT_EQ(KEYDOC_ACTIVATE, w->change.kind);
	ASSERT_TRUE(opens(was) && was->info.state != KEY_ACTIVE);
	ASSERT_TRUE(nobody(w, SHUT));
	ASSERT_EQ(w->doc->activations + 1, is->info.activation);
	ASSERT_EQ(next->activations, is->info.activation);
}

/* Rule 2: the mark is the document that bears it, and does not outlive what it was made for. */
static void check_mark(const struct walk *w, const struct keydoc *next,
		       const struct key_record *was, const struct key_record *is)
{
	if (is->info.marked == 0)
		return;
	if (is->info.marked == was->info.marked) {
		ASSERT_EQ(was->info.state, is->info.state);
		return;
	}
	ASSERT_EQ(KEYDOC_MARK, w->change.kind);
	ASSERT_EQ(next->generation, is->info.marked);
	ASSERT_EQ(was->info.state, is->info.state);
	ASSERT_TRUE(is->info.state == KEY_RETIRED ||
		    (is->info.state == KEY_DECRYPT_ONLY && nobody(w, BUSY | WRITES)));
}

/* Rule 2: one way to stop opening, and one back. */
static void check_opening(const struct walk *w, const struct key_record *was,
			  const struct key_record *is)
{
	if (opens(was) && !opens(is)) {
		ASSERT_EQ(KEYDOC_RETIRE, w->change.kind);
		ASSERT_EQ(KEY_DECRYPT_ONLY, was->info.state);
		ASSERT_TRUE(nobody(w, WRITES));
		ASSERT_TRUE(w->change.forced || nobody(w, BUSY));
		ASSERT_TRUE(w->change.forced || w->change.vouched || has_evidence(w, was));
	}
	if (!opens(was) && opens(is)) {
		ASSERT_EQ(KEYDOC_REOPEN, w->change.kind);
		ASSERT_EQ(KEY_DECRYPT_ONLY, is->info.state);
	}
}

/* Rule 3. */
static void check_destroyed(const struct walk *w, const struct keydoc *next, uint8_t n,
			    const struct key_record *was)
{
	ASSERT_EQ(KEYDOC_DESTROY, w->change.kind);
	ASSERT_EQ(KEY_RETIRED, was->info.state);
	ASSERT_TRUE(keydoc_is_gone(next, was->info.id));
	ASSERT_TRUE(nobody(w, EARLY));
	ASSERT_TRUE(w->change.vouched ||
		    (has_evidence(w, was) && was->info.marked > w->state->past.retired[n]));
}

static void check_keys(const struct walk *w, const struct keydoc *next)
{
	for (uint8_t n = 0; n < w->config.keys; n++) {
		const struct key_record *was = key_of(w->doc, n), *is = key_of(next, n);

		if (!was && is) {
			ASSERT_EQ(KEYDOC_STAGE, w->change.kind);
			ASSERT_EQ(KEY_STAGED, is->info.state);
		} else if (was && !is) {
			check_destroyed(w, next, n, was);
		} else if (was) {
			check_number(w, next, was, is);
			check_mark(w, next, was, is);
			check_opening(w, was, is);
		}
	}
	ASSERT_TRUE(next->activations >= w->doc->activations);
}

/* Who is no longer a member has stopped, or somebody vouches for that. */
static void check_member(const struct walk *w, const struct keydoc *next, uint8_t n)
{
	const struct keydoc_member *was = member_of(w->doc, n), *is = member_of(next, n);
	const struct key_record *rec = key_of(w->doc, w->key);
	const struct said *said = &w->said[n];
	bool stopped;

	if (!was && is) {
		ASSERT_EQ(KEYDOC_JOIN, w->change.kind);
		ASSERT_FALSE(is->leaving || keydoc_is_removed(w->doc, is->id));
		ASSERT_FALSE(said->shut && opens(rec));
	}
	if (was && is && is->leaving != was->leaving)
		ASSERT_TRUE(is->leaving && is_named(w, n) && n != w->maker);
	if (!was || is)
		return;
	ASSERT_EQ(KEYDOC_LEFT, w->change.kind);
	ASSERT_TRUE(is_named(w, n) && n != w->maker && keydoc_is_removed(next, was->id));
	stopped = was->leaving && (said->of == HEARD || said->of == UNHEARD) &&
		  !(said->writes && rec) && !(said->busy && opens(rec));
	ASSERT_TRUE(w->change.vouched || stopped);
}

/* Changes come from one node, which is a member and stays one. */
static void check_source(const struct walk *w, const struct keydoc *next)
{
	const struct keydoc_member *maker = keydoc_member(w->doc, w->change.node);
	const struct keydoc_member *hand = keydoc_member(next, next->hand);

	ASSERT_TRUE(maker && !maker->leaving);
	if (next->carrier == KEYDOC_ALONE)
		ASSERT_EQ(1U, next->n_members);
	else
		ASSERT_TRUE(hand && !hand->leaving);
}

/* Rule 5: whoever holds what came before may take it, also who has missed all of it. */
static void check_follows(const struct walk *w, struct keydoc *next)
{
	ASSERT_OK(bed_seal(next));
	ASSERT_EQ(w->doc->generation + 1, next->generation);
	ASSERT_TRUE(keydoc_covers(next, w->doc, NULL));
	ASSERT_EQ(KEYDOC_NEWER, keydoc_compare(w->doc, next));
	ASSERT_EQ(KEYDOC_OLDER, keydoc_compare(next, w->doc));
	ASSERT_EQ(KEYDOC_NEWER, keydoc_compare(w->first, next));
}

static struct past past_of(const struct walk *w, const struct keydoc *next)
{
	struct past past = w->state->past;

	if (w->change.kind == KEYDOC_RETIRE)
		past.retired[w->key] = next->generation;
	return past;
}

/* One change with what w->said says; its result. */
static int try_it(struct walk *w, bool *taken)
{
	_cleanup_(keydoc_freep) struct keydoc *next = NULL;
	const struct keyack *list[NODES];
	struct keydoc_heard heard = { .acks = list, .keep_retired = KEEP };
	struct keydoc_refusal why;
	struct past past;
	int r;

	memcpy(heard.number, number, sizeof(number));
	for (uint8_t n = 0; n < w->config.nodes; n++) {
		if (w->said[n].of == NOTHING)
			continue;
		speak(w, n, w->acks[n]);
		list[heard.n++] = w->acks[n];
	}
	w->asked++;
	r = keydoc_next(w->doc, &w->change, &heard, &next, &why);
	if (r < 0) {
		ASSERT_NULL(next);
		ASSERT_EQ(r, why.r);
		ASSERT_NE('\0', why.text[0]);
		return r;
	}
	w->allowed++;
	ASSERT_TRUE(all_answered(w));
	check_keys(w, next);
	for (uint8_t n = 0; n < w->config.nodes; n++)
		check_member(w, next, n);
	check_source(w, next);
	/* Acknowledgements decide whether it is written, not what. */
	if (*taken)
		return 0;
	*taken = true;
	check_follows(w, next);
	past = past_of(w, next);
	remember(w, next, &past);
	return 0;
}

/* The next of all that a node can say; false: it is the first again. */
static bool say_next(struct said *said, unsigned int may)
{
	unsigned int bits = (said->shut ? SHUT : 0U) | (said->busy ? BUSY : 0U) |
			    (said->writes ? WRITES : 0U) | (said->early ? EARLY : 0U);

	if (said->of == HEARD) {
		bits = ((bits | ~may) + 1) & may;
		if (bits == 0)
			said->of = UNHEARD;
	} else {
		said->of = said->of == NOTHING ? HEARD : said->of + 1;
	}
	said->shut = bits & SHUT;
	said->busy = bits & BUSY;
	said->writes = bits & WRITES;
	said->early = bits & EARLY;
	return said->of != HEARD || bits != 0;
}

/* Whose word can matter: the members, and who is to be one. */
static bool is_heard(const struct walk *w, uint8_t n)
{
	return member_of(w->doc, n) || is_named(w, n);
}

/* What every node says alike, when the change is refused although all is well: nothing makes it right. */
static void try_alike(struct walk *w, unsigned int may)
{
	bool taken = false;

	while (say_next(&w->said[0], may)) {
		for (uint8_t n = 1; n < w->config.nodes; n++)
			w->said[n] = w->said[0];
		ASSERT_TRUE(try_it(w, &taken) < 0);
	}
}

/* A change with whatever can have been said. */
static void try_all(struct walk *w)
{
	unsigned int may = w->config.whole ? ALL : matters[w->change.kind];
	bool taken = false, more = true;

	memset(w->said, 0, sizeof(w->said));
	if (try_it(w, &taken) < 0) {
		try_alike(w, w->config.whole ? ALL : 0);
		return;
	}
	while (more) {
		more = false;
		for (uint8_t n = 0; n < w->config.nodes && !more; n++)
			more = is_heard(w, n) && say_next(&w->said[n], may);
		if (more)
			try_it(w, &taken);
	}
}

static void begin_change(struct walk *w, enum keydoc_change_kind kind, uint8_t key)
{
	w->change = (struct keydoc_change){ .kind = kind, .time = BED_TIME };
	memcpy(w->change.node, bed_node_id(w->maker).id, KEYDOC_NODE);
	memcpy(w->change.nonce, bed_node_id(w->maker).id, KEYDOC_NODE);
	memcpy(w->change.id, bed_key_id(key).id, KEKD_KEY_ID);
	w->key = key;
	w->named = 0;
}

/* With evidence for the mark, for another one, without any, and with either word of an operator. */
static void try_closing(struct walk *w, enum keydoc_change_kind kind, uint8_t key)
{
	const struct key_record *rec = key_of(w->doc, key);

	for (int i = 0; i < 5; i++) {
		begin_change(w, kind, key);
		if (rec && i == 0)
			w->change.evidence = rec->info.marked;
		if (rec && i == 1)
			w->change.evidence = rec->info.marked + 1;
		w->change.vouched = i == 3;
		w->change.forced = i == 4;
		try_all(w);
	}
}

static void try_key(struct walk *w, uint8_t key)
{
	static const enum keydoc_change_kind plain[] = { KEYDOC_ACTIVATE, KEYDOC_GIVE_UP,
							 KEYDOC_MARK, KEYDOC_REOPEN };
	struct key_record fresh = bed_key(key, NAME);

	begin_change(w, KEYDOC_STAGE, key);
	w->change.key = &fresh;
	try_all(w);
	for (size_t i = 0; i < ARRAY_SIZE(plain); i++) {
		begin_change(w, plain[i], key);
		try_all(w);
	}
	try_closing(w, KEYDOC_RETIRE, key);
	try_closing(w, KEYDOC_DESTROY, key);
}

/* Any set of nodes is removed; what each says of @key decides. */
static void try_removals(struct walk *w, uint8_t key)
{
	struct keydoc_node nodes[NODES];

	for (int i = 0; i < 3; i++) {
		for (unsigned int set = 1; set < 1U << w->config.nodes; set++) {
			begin_change(w, i == 0 ? KEYDOC_REMOVE : KEYDOC_LEFT, key);
			w->change.vouched = i == 2;
			w->change.removed = nodes;
			w->named = set;
			for (uint8_t n = 0; n < w->config.nodes; n++)
				if (is_named(w, n))
					memcpy(nodes[w->change.n_removed++].id, bed_node_id(n).id,
					       KEYDOC_NODE);
			try_all(w);
		}
	}
}

static void try_members(struct walk *w, uint8_t key)
{
	for (uint8_t n = 0; n < w->config.nodes; n++) {
		begin_change(w, KEYDOC_JOIN, key);
		w->change.member = bed_node(n);
		w->named = 1U << n;
		try_all(w);
	}
	begin_change(w, KEYDOC_TAKE, key);
	try_all(w);
	try_removals(w, key);
}

static void must(struct walk *w, enum keydoc_change_kind kind, uint8_t key, uint64_t evidence)
{
	bool taken = true;

	begin_change(w, kind, key);
	w->change.evidence = evidence;
	memset(w->said, 0, sizeof(w->said));
	if (!EXPECT_OK(try_it(w, &taken)))
		ktest_log("change %d of key %u", (int)kind, key);
}

static bool is_staged(const struct keydoc *doc)
{
	for (size_t i = 0; i < doc->n_keys; i++)
		if (doc->keys[i].info.state == KEY_STAGED)
			return true;
	return false;
}

/* Rule 7: when everybody answers, each key has a way on and a way back. */
static void key_leads_on(struct walk *w, uint8_t key)
{
	const struct key_record *rec = key_of(w->doc, key);

	if (!rec || rec->info.state == KEY_ACTIVE)
		return;
	must(w, rec->info.state == KEY_RETIRED ? KEYDOC_REOPEN : KEYDOC_ACTIVATE, key, 0);
	if (rec->info.state == KEY_STAGED)
		must(w, KEYDOC_GIVE_UP, key, 0);
	else if (!is_staged(w->doc))
		must(w, KEYDOC_MARK, key, 0);
	if (rec->info.marked != 0)
		must(w, rec->info.state == KEY_RETIRED ? KEYDOC_DESTROY : KEYDOC_RETIRE, key,
		     rec->info.marked);
}

/* And whoever is silent, all at once too, is vouched for as dead by a member that is left. */
static void rest_is_dead(struct walk *w)
{
	struct keydoc_node nodes[NODES];
	bool taken = true;

	begin_change(w, KEYDOC_LEFT, 0);
	w->change.vouched = true;
	w->change.removed = nodes;
	memset(w->said, 0, sizeof(w->said));
	for (uint8_t n = 0; n < w->config.nodes; n++) {
		if (n == w->maker || !member_of(w->doc, n))
			continue;
		w->said[n].of = NOTHING;
		w->named |= 1U << n;
		memcpy(nodes[w->change.n_removed++].id, bed_node_id(n).id, KEYDOC_NODE);
	}
	if (w->change.n_removed > 0)
		EXPECT_OK(try_it(w, &taken));
}

static void leads_on(struct walk *w)
{
	for (uint8_t n = 0; n < w->config.nodes; n++) {
		const struct keydoc_member *m = member_of(w->doc, n);

		w->maker = n;
		if (!m || m->leaving)
			continue;
		rest_is_dead(w);
		if (w->doc->carrier == KEYDOC_HAND &&
		    memcmp(w->doc->hand, m->id, KEYDOC_NODE) != 0) {
			must(w, KEYDOC_TAKE, 0, 0);
			continue;
		}
		for (uint8_t key = 0; key < w->config.keys; key++)
			key_leads_on(w, key);
	}
}

static void visit(struct walk *w)
{
	uint8_t other[KEY_ROOT_ID];

	w->state = &w->states[w->at];
	ASSERT_OK(keydoc_parse(span_of(w->state->text, w->state->len), &bed_root, &w->doc, other));
	for (w->maker = 0; w->maker < w->config.nodes; w->maker++) {
		for (uint8_t key = 0; key < w->config.keys; key++) {
			try_key(w, key);
			if (w->config.membership)
				try_members(w, key);
		}
	}
	leads_on(w);
	keydoc_free(w->doc);
	w->doc = NULL;
}

static void walk(struct walk_config config)
{
	struct walk w = { .config = config };
	struct past past = { 0 };

	w.shapes = calloc(SHAPES, sizeof(*w.shapes));
	w.states = calloc(SHAPES, sizeof(*w.states));
	ASSERT_TRUE(w.shapes && w.states);
	for (size_t i = 0; i < NODES; i++)
		ASSERT_OK(keyack_new(&w.acks[i]));
	w.first = bed_begin();
	for (uint8_t n = 1; config.together && n < config.nodes; n++)
		bed_join(w.first, n);
	remember(&w, w.first, &past);
	for (; w.at < w.n; w.at++)
		visit(&w);
	ktest_log("%zu documents, %zu changes tried, %zu allowed", w.n, w.asked, w.allowed);
	for (size_t i = 0; i < w.n; i++)
		free(w.states[i].text);
	for (size_t i = 0; i < NODES; i++)
		keyack_free(w.acks[i]);
	keydoc_free(w.first);
	free(w.shapes);
	free(w.states);
}

TEST_TIMEOUT(one_node_three_keys, 600)
{
	walk((struct walk_config){ .nodes = 1, .keys = 3, .together = true });
}

TEST_TIMEOUT(two_nodes_two_keys, 600)
{
	walk((struct walk_config){ .nodes = 2, .keys = 2, .together = true, .whole = true });
}

TEST_TIMEOUT(two_nodes_come_and_go, 600)
{
	walk((struct walk_config){ .nodes = 2, .keys = 2, .membership = true });
}

TEST_TIMEOUT(three_nodes_two_keys, 600)
{
	walk((struct walk_config){ .nodes = 3, .keys = 2, .together = true });
}

/* With one key there is room for all that three nodes can do. */
TEST_TIMEOUT(three_nodes_come_and_go, 600)
{
	walk((struct walk_config){ .nodes = 3, .keys = 1, .membership = true });
}

TEST_HARNESS_MAIN
