/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rules of the keyset document, for spin: who may change the document and when, and what a member
 * does with a document that it sees. tests/model/run runs the searches; README.md lists them.
 *
 * Modelled is one name with NK keys on NM members. Members 0 and 1 are also two operators who change
 * things at once; the last member, L, is the one to which things happen. Each member has a disk, a keeper
 * with its servers, and an API server that writes with the key of the last Status it has looked at. etcd
 * holds the document, the acknowledgements and the stored values. Of the values the model keeps which
 * keys they need. A step is one durable write, one transaction of etcd, one message or one fault.
 *
 * Not modelled: the root keys (root.pml has their rotation) and the MAC (a document or an acknowledgement is never forged, only shown
 * again), several names, clocks (three minutes on a machine are a step that a machine that stands still
 * does not make; thirty days are any time), counts of uses, several etcds, the limit of what `gone`
 * remembers, a carrier with no document at all, and `keyset merge`: a search ends where neither of two
 * documents may follow the other.
 *
 * Two things are asserted. No read fails: a member that serves opens all that is stored, and no key that a
 * stored value needs is destroyed. An activation number belongs to one key. And nothing jams: where no step is left, each rotation has ended and its
 * old key is destroyed. That some fair run never ends is not looked for.
 *
 * Each rule is a macro, 1 by default, and each kind of fault is one, 0 by default: how often it may happen.
 * The number in front of a rule is the invariant of the keyset that it belongs to.
 *
 *   1 R_OPEN     An acknowledgement says what the servers open, not what the keeper has read.
 *   1 R_FIRST    The first key of a name becomes active by the same rule as any other.
 *   1 R_BACK     A key that was active before becomes active again by the same rule as any other.
 *   2 R_QUIET    Each member waits, by its own clock, until its API server uses the old key no more.
 *   2 R_MARK     The mark is the document itself; what was stored at its very revision is the evidence.
 *   2 R_SLOW     A staged key that is given up closes as any other does, and not at once.
 *   2 R_LEAVE    A removed member counts until it says that it has stopped, or is vouched for as dead.
 *   3 R_TWICE    A key is destroyed on a mark and evidence of its own.
 *   5 R_FOLLOW   A member takes a document only if that may follow its own.
 *   6 R_AGAIN    A member whose document may follow the carrier's older one publishes its own again.
 *   6 R_REOPEN   What the older document opened is open again in the one that is published again.
 *   8 R_FRESH    A change needs every member's answer to a number drawn after its maker took the document.
 *   - R_CONFIRM  A member that has started encrypts only after it has read the carrier's document.
 *
 *   S_CRASH    Member 0 or L stops and starts later.
 *   S_PAUSE    L's machine stands still for a while, its API server too.
 *   S_RESTORE  etcd is restored from a snapshot, with its values.
 *   S_PUTBACK  Who may write in etcd puts an old document and its acknowledgements there, or keeps a new one back.
 *   S_REVERT   L's disk is put back to an earlier time.
 *   S_REPLAY   An old acknowledgement of L is shown again.
 *   S_STALE    L, when it starts, is shown an old document as the newest.
 *   S_REMOVE   The operators remove L.
 *   S_JOIN     L is no member at first, and joins.
 *   S_ABORT    The operators give up a rotation.
 *   S_EMPTY    The name has no key at first.
 */
#ifndef NK
#define NK 2
#endif
#ifndef NM
#define NM 3
#endif
#ifndef R_OPEN
#define R_OPEN 1
#endif
#ifndef R_FIRST
#define R_FIRST 1
#endif
#ifndef R_BACK
#define R_BACK 1
#endif
#ifndef R_QUIET
#define R_QUIET 1
#endif
#ifndef R_MARK
#define R_MARK 1
#endif
#ifndef R_SLOW
#define R_SLOW 1
#endif
#ifndef R_LEAVE
#define R_LEAVE 1
#endif
#ifndef R_TWICE
#define R_TWICE 1
#endif
#ifndef R_FOLLOW
#define R_FOLLOW 1
#endif
#ifndef R_AGAIN
#define R_AGAIN 1
#endif
#ifndef R_REOPEN
#define R_REOPEN 1
#endif
#ifndef R_FRESH
#define R_FRESH 1
#endif
#ifndef R_CONFIRM
#define R_CONFIRM 1
#endif
#ifndef S_CRASH
#define S_CRASH 0
#endif
#ifndef S_PAUSE
#define S_PAUSE 0
#endif
#ifndef S_RESTORE
#define S_RESTORE 0
#endif
#ifndef S_PUTBACK
#define S_PUTBACK 0
#endif
#ifndef S_REVERT
#define S_REVERT 0
#endif
#ifndef S_REPLAY
#define S_REPLAY 0
#endif
#ifndef S_STALE
#define S_STALE 0
#endif
#ifndef S_REMOVE
#define S_REMOVE 0
#endif
#ifndef S_JOIN
#define S_JOIN 0
#endif
#ifndef S_ABORT
#define S_ABORT 0
#endif
#ifndef S_EMPTY
#define S_EMPTY 0
#endif
/* The operators at once, and the keys that they make between them. */
#ifndef OPERATORS
#define OPERATORS 2
#endif
#ifndef NEW_KEYS
#define NEW_KEYS 1
#endif
/* 1: two documents of which neither may follow the other are an error, and not the end of a search. */
#ifndef NO_FORK
#define NO_FORK 0
#endif

/* The states of a key. CLOSING is decrypt-only and marked, ENDING is retired and marked. */
#define NONE 0
#define STAGED 1
#define ACTIVE 2
#define DECRYPT 3
#define CLOSING 4
#define RETIRED 5
#define ENDING 6
#define GONE 7

/* Sets of keys and of members are bits. A key in a variable that may have none is its number + 1. */
#define B(x) (1 << (x))
#define KEYS (B(NK) - 1)
#define L (NM - 1)
#define REST (B(L) - 1)
#define EVERY (B(NM) - 1)
#define BIT(one) ((one) -> B((one) - 1) : 0)

/* @uid stands for the hash of the document: no two have the same. */
typedef Doc {
	byte uid;
	byte generation;
	byte state[NK];
	byte number[NK];	/* activation numbers, 0 for none */
	byte last;		/* the highest of them: the active key's */
	byte members;
	byte leaving;
	byte removed
};
typedef Ack {
	byte uid;
	byte opens;		/* the keys that all its servers open */
	byte writes;		/* the key that they write with */
	byte quiet		/* the keys that its API server uses no more */
};

/* etcd. @clean are the keys that no value needed at the revision of the document. */
Doc etcd;
Ack ack[NM];
byte stored, clean;
byte marked;			/* without R_MARK: the key with a mark that is not the document */

/* What a member has on disk, and in memory. */
Doc disk[NM];
bit up[NM], confirmed[NM], still[NM];
byte writes[NM], opens[NM], quiet[NM];
byte answers[NM];		/* of members to this one's number, for the document it has */
byte seed[NM];			/* the key that its API server writes with */
byte proof[NM];			/* without R_MARK: the key that a scan found to be needed by nothing */
bit waited[NM];			/* without R_QUIET: the operator has waited three minutes */

/* What the faults keep for later. */
Doc old_etcd, old_disk;
Ack old_acks[NM], old_ack;
byte old_stored, old_clean, old_marked;
bit have_etcd, have_disk, have_ack;

/* What only the model knows. */
byte uids = 1;
byte owner[8];			/* the key that an activation number belongs to */
bit reverted[NM];		/* until its servers serve what it then took: its own reads may fail */
bit forked;
byte named;			/* the keys that were retired when etcd was restored: the alarm names them */
byte new_keys = NEW_KEYS, n_crash = S_CRASH, n_pause = S_PAUSE, n_restore = S_RESTORE, n_putback = S_PUTBACK,
     n_revert = S_REVERT, n_replay = S_REPLAY, n_remove = S_REMOVE, n_abort = S_ABORT;

/* Empty between steps. */
Doc hand, empty_doc;
Ack hand_acks[NM], empty_ack;

/* A breadth-first search takes no hidden variables; every step that uses these leaves 0. */
#ifdef BREADTH
#define hidden
#endif
hidden byte j, k;

/* --- what a document says: expressions, as a step that changes nothing must not be possible -------------- */

#define BETWEEN(doc, key, low, high) ((doc.state[key] >= low && doc.state[key] <= high) -> B(key) : 0)
#define ALL_IN(doc, low, high) \
	(BETWEEN(doc, 0, low, high) | BETWEEN(doc, 1, low, high) | BETWEEN(doc, NK - 1, low, high))
#define OPENING(doc) ALL_IN(doc, STAGED, CLOSING)
#define CLOSED(doc) ALL_IN(doc, RETIRED, ENDING)
#define STAGING(doc) ALL_IN(doc, STAGED, STAGED)
#define AGEING(doc) ALL_IN(doc, DECRYPT, CLOSING)
#define ACTIVE_KEY(doc) \
	(doc.state[0] == ACTIVE -> 1 : (doc.state[1] == ACTIVE -> 2 : (doc.state[NK - 1] == ACTIVE -> NK : 0)))

/* The key is in @new too, is not back from the destroyed, and its activation number has not fallen. */
#define KEEPS(new, old, key) \
	((old.state[key] == NONE || new.state[key] != NONE) && (old.state[key] != GONE || new.state[key] == GONE) && \
	 old.number[key] <= new.number[key])
/* @new may follow @old but for its generation. The two texts decide that, however many were missed. */
#define COVERS(new, old) \
	(KEEPS(new, old, 0) && KEEPS(new, old, 1) && KEEPS(new, old, NK - 1) && new.last >= old.last && \
	 (new.last != old.last || ACTIVE_KEY(new) == ACTIVE_KEY(old)) && \
	 ((old.members | old.leaving) & ~(new.members | new.leaving | new.removed)) == 0 && \
	 (old.removed & ~new.removed) == 0)
#define FOLLOWS(new, old) (new.generation > old.generation && (!R_FOLLOW || COVERS(new, old)))

/* --- what acknowledgements say to member @c, for the document it has -------------------------------------- */

#define EACH(who, says, c, key) \
	((!((who) & B(0)) || says(c, 0, key)) && (!((who) & B(1)) || says(c, 1, key)) && (!((who) & B(L)) || says(c, L, key)))
#define HAS_ANSWERED(c, m, key) (ack[m].uid == disk[c].uid && (answers[c] & B(m)))
#define HAS_OPEN(c, m, key) (ack[m].uid == disk[c].uid && (ack[m].opens & B(key)))
#define WRITES_OTHER(c, m, key) \
	(ack[m].uid == disk[c].uid && ack[m].writes != key + 1 && (!(disk[c].members & B(m)) || ack[m].writes) && \
	 (!R_QUIET || (ack[m].quiet & B(key))))

#define INVOLVED(c) (disk[c].members | disk[c].leaving)
#define ANSWERED(c, who) (!R_FRESH || EACH(who, HAS_ANSWERED, c, 0))
#define ALL_OPEN(c, key) EACH(disk[c].members, HAS_OPEN, c, key)
#define ALL_WRITE_OTHER(c, key) EACH(INVOLVED(c), WRITES_OTHER, c, key)

/* Member @c may try to change the document: it has the carrier's. */
#define AT_WORK(c) (up[c] && confirmed[c] && !still[c] && etcd.uid == disk[c].uid && (disk[c].members & B(c)))
#define MAY_CHANGE(c) (AT_WORK(c) && ANSWERED(c, INVOLVED(c)))
/* Nothing but the one key is on its way. */
#define ONLY_AGEING(c, key) (!STAGING(disk[c]) && (AGEING(disk[c]) & B(key)))
#define ONLY_CLOSED(c, key) (!STAGING(disk[c]) && !AGEING(disk[c]) && (CLOSED(disk[c]) & B(key)))

/* --- what steps have in common ------------------------------------------------------------------------------ */

inline copy_doc(to, from)
{
	to.uid = from.uid;
	to.generation = from.generation;
	for (k : 0 .. NK - 1) {
		to.state[k] = from.state[k];
		to.number[k] = from.number[k]
	}
	k = 0;
	to.last = from.last;
	to.members = from.members;
	to.leaving = from.leaving;
	to.removed = from.removed
}

inline copy_ack(to, from)
{
	to.uid = from.uid;
	to.opens = from.opens;
	to.writes = from.writes;
	to.quiet = from.quiet
}

/* A restored etcd may hold values of retired keys, which an alarm names until the member has caught up. */
#define CAUGHT_UP(m) (disk[m].uid == etcd.uid && opens[m] == OPENING(disk[m]))
/* Without R_TWICE the question is what is destroyed, and not which reads fail before that. */
#define EXCUSED(m) ((CAUGHT_UP(m) && R_TWICE) -> 0 : named)

/* No read fails, and nothing that is needed is destroyed. */
inline check()
{
	for (j : 0 .. NM - 1) {
		assert(!up[j] || reverted[j] || !(disk[j].members & etcd.members & B(j)) ||
		       (stored & ~opens[j] & ~EXCUSED(j)) == 0)
	}
	for (k : 0 .. NK - 1) {
		assert(etcd.state[k] != GONE || !(stored & B(k)))
	}
	j = 0;
	k = 0
}

/* etcd has a new document, which the caller has written over the one before. */
inline put()
{
	etcd.uid = uids;
	uids++;
	assert(uids < 60);
	clean = KEYS & ~stored;
	check()
}

inline change(c)
{
	etcd.generation = disk[c].generation + 1;
	put();
	answers[c] = 0
}

inline activate(c, key)
{
	etcd.state[key] = ACTIVE;
	etcd.last = disk[c].last + 1;
	etcd.number[key] = etcd.last;
	assert(owner[etcd.last] == 0 || owner[etcd.last] == key + 1);
	owner[etcd.last] = key + 1;
	change(c)
}

/* Whoever is active is it no more. */
inline deactivate()
{
	for (k : 0 .. NK - 1) {
		if
		:: etcd.state[k] == ACTIVE -> etcd.state[k] = DECRYPT
		:: else
		fi
	}
	k = 0
}

inline stop(m)
{
	up[m] = 0;
	confirmed[m] = 0;
	writes[m] = 0;
	opens[m] = 0;
	quiet[m] = 0
}

/* --- the operators: each of these is the change of one key ------------------------------------------------ */

/* Two operators never make the same key. */
#define MAKES(c, key) (NK == 2 || key == 0 || key == c + 1)

inline stage(c, key)
{
	d_step {
		MAY_CHANGE(c) && new_keys > 0 && disk[c].state[key] == NONE && MAKES(c, key) &&
		(ACTIVE_KEY(disk[c]) || key == 0) && !STAGING(disk[c]) && !AGEING(disk[c]) ->
		new_keys--;
		printf("operator %d: stage K%d\n", c, key);
		etcd.state[key] = (key > 0 || R_FIRST -> STAGED : NONE);
		if
		:: key == 0 && !R_FIRST -> activate(c, key)
		:: else -> change(c)
		fi
	}
}

inline make_active(c, key)
{
	d_step {
		MAY_CHANGE(c) && disk[c].state[key] == STAGED && ALL_OPEN(c, key) ->
		printf("operator %d: activate K%d\n", c, key);
		deactivate();
		activate(c, key)
	}
}

inline rewrite(c, key)
{
	d_step {
		AT_WORK(c) && ONLY_AGEING(c, key) && seed[c] && seed[c] == writes[c] && seed[c] == ACTIVE_KEY(disk[c]) &&
		(stored & B(key)) && (R_QUIET || waited[c]) && (disk[c].state[key] == CLOSING || ALL_WRITE_OTHER(c, key)) ->
		printf("operator %d: rewritten\n", c);
		stored = (stored & ~B(key)) | BIT(seed[c]);
		check()
	}
}

/* A mark that came too early is made again: a value was found, and rewritten. */
inline mark(c, key)
{
	d_step {
		R_MARK && MAY_CHANGE(c) && ONLY_AGEING(c, key) &&
		((disk[c].state[key] == DECRYPT && ALL_WRITE_OTHER(c, key)) ||
		 (disk[c].state[key] == CLOSING && !((clean | stored) & B(key)))) ->
		printf("operator %d: mark K%d\n", c, key);
		etcd.state[key] = CLOSING;
		change(c)
	}
}

inline retire(c, key)
{
	d_step {
		R_MARK && MAY_CHANGE(c) && ONLY_AGEING(c, key) && disk[c].state[key] == CLOSING && (clean & B(key)) ->
		printf("operator %d: retire K%d\n", c, key);
		etcd.state[key] = RETIRED;
		change(c)
	}
}

/* Without R_MARK the mark is a note beside the document, and any later scan will do. */
inline note(c, key)
{
	d_step {
		!R_MARK && MAY_CHANGE(c) && ONLY_AGEING(c, key) && marked != key + 1 && ALL_WRITE_OTHER(c, key) ->
		printf("operator %d: note the mark of K%d\n", c, key);
		marked = key + 1
	}
}

inline scan(c, key)
{
	d_step {
		!R_MARK && marked == key + 1 && proof[c] != marked && !(stored & B(key)) ->
		printf("operator %d: scan, nothing needs K%d\n", c, key);
		proof[c] = marked
	}
}

inline retire_by_scan(c, key)
{
	d_step {
		!R_MARK && MAY_CHANGE(c) && ONLY_AGEING(c, key) && proof[c] == key + 1 && ALL_WRITE_OTHER(c, key) ->
		printf("operator %d: retire K%d by the scan\n", c, key);
		etcd.state[key] = RETIRED;
		change(c)
	}
}

/* Without R_QUIET the operator waits instead. Three minutes pass wherever time does not stand still. */
inline wait(c, key)
{
	d_step {
		!R_QUIET && AT_WORK(c) && !waited[c] && ONLY_AGEING(c, key) && ALL_WRITE_OTHER(c, key) ->
		printf("operator %d: wait three minutes\n", c);
		waited[c] = 1;
		for (j : 0 .. NM - 1) {
			if
			:: !still[j] && seed[j] != writes[j] -> seed[j] = 0
			:: else
			fi
		}
		j = 0
	}
}

inline mark_again(c, key)
{
	d_step {
		MAY_CHANGE(c) && ONLY_CLOSED(c, key) && R_TWICE && !(stored & B(key)) &&
		(disk[c].state[key] == RETIRED || !(clean & B(key))) ->
		printf("operator %d: mark K%d, to be destroyed\n", c, key);
		etcd.state[key] = ENDING;
		change(c)
	}
}

inline destroy(c, key)
{
	d_step {
		MAY_CHANGE(c) && ONLY_CLOSED(c, key) &&
		(!R_TWICE || (disk[c].state[key] == ENDING && (clean & B(key)))) ->
		printf("operator %d: destroy K%d\n", c, key);
		etcd.state[key] = GONE;
		change(c)
	}
}

inline reopen(c, key)
{
	d_step {
		MAY_CHANGE(c) && ONLY_CLOSED(c, key) && R_TWICE && (stored & B(key)) ->
		printf("operator %d: open K%d again\n", c, key);
		etcd.state[key] = DECRYPT;
		change(c)
	}
}

inline give_up(c, key)
{
	d_step {
		n_abort > 0 && MAY_CHANGE(c) && disk[c].state[key] == STAGED ->
		n_abort--;
		printf("operator %d: give up K%d\n", c, key);
		etcd.state[key] = (R_SLOW -> DECRYPT : RETIRED);
		change(c)
	}
}

inline back(c, key)
{
	d_step {
		n_abort > 0 && MAY_CHANGE(c) && ONLY_AGEING(c, key) && ACTIVE_KEY(disk[c]) &&
		(!R_BACK || ALL_OPEN(c, key)) ->
		n_abort--;
		printf("operator %d: back to K%d\n", c, key);
		deactivate();
		activate(c, key)
	}
}

/* What an operator may do with a key: the options of its loop. */
#define WITH(c, key) \
	:: stage(c, key) \
	:: make_active(c, key) \
	:: rewrite(c, key) \
	:: mark(c, key) \
	:: retire(c, key) \
	:: note(c, key) \
	:: scan(c, key) \
	:: retire_by_scan(c, key) \
	:: wait(c, key) \
	:: mark_again(c, key) \
	:: destroy(c, key) \
	:: reopen(c, key) \
	:: give_up(c, key) \
	:: back(c, key)

proctype Operator(byte c)
{
end:	do
	WITH(c, 0)
	WITH(c, 1)
#if NK > 2
	WITH(c, 2)
#endif
	/* The rest decide that a member goes. */
	:: d_step {
		n_remove > 0 && c != L && AT_WORK(c) && (disk[c].members & B(L)) && ANSWERED(c, INVOLVED(c) & REST) ->
		n_remove--;
		printf("operator %d: remove member %d\n", c, L);
		etcd.members = etcd.members & REST;
		etcd.leaving = (R_LEAVE -> B(L) : 0);
		etcd.removed = (R_LEAVE -> 0 : B(L));
		change(c)
	}
	:: d_step {
		disk[c].leaving && AT_WORK(c) && ANSWERED(c, disk[c].members) && !up[L] && !seed[L] ->
		printf("operator %d: member %d is vouched for as dead\n", c, L);
		etcd.leaving = 0;
		etcd.removed = B(L);
		change(c)
	}
	:: d_step {
		disk[c].leaving && AT_WORK(c) && ANSWERED(c, disk[c].members) && ack[L].uid == disk[c].uid &&
		!ack[L].writes && ack[L].quiet == KEYS ->
		printf("operator %d: member %d has stopped\n", c, L);
		etcd.leaving = 0;
		etcd.removed = B(L);
		change(c)
	}
	od
}

/* --- a member ------------------------------------------------------------------------------------------------- */

#define AWAKE(m) (up[m] && !still[m])
#define IS_MEMBER(m) (disk[m].members & B(m))
/* Those who make changes: who acknowledges answers the number of each. */
#define MAKERS (B(0) | B(1) | (S_JOIN -> B(L) : 0))
#define HEARD(m, c) (!(MAKERS & B(c)) || (answers[c] & B(m)))
#define HEARD_BY_ALL(m) (HEARD(m, 0) && HEARD(m, 1) && HEARD(m, L))
#define SAYS_OPEN(m) (R_OPEN -> opens[m] : OPENING(disk[m]))
#define CAN_BE_QUIET(m) (KEYS & ~BIT(writes[m]))

proctype Member(byte m)
{
end:	do
	/* What is retired closes at once; what is new opens when the servers have it. */
	:: d_step {
		AWAKE(m) && FOLLOWS(etcd, disk[m]) ->
		printf("%d takes generation %d\n", m, etcd.generation);
		copy_doc(disk[m], etcd);
		confirmed[m] = 1;
		answers[m] = 0;
		waited[m] = 0;
		opens[m] = opens[m] & OPENING(disk[m]);
		writes[m] = ((OPENING(disk[m]) & BIT(writes[m])) -> writes[m] : 0);
		check()
	}
	:: d_step {
		AWAKE(m) && !confirmed[m] && disk[m].generation && etcd.uid == disk[m].uid ->
		confirmed[m] = 1
	}
	/* The carrier has an older one, or another of the same generation. */
	:: d_step {
		R_AGAIN && AWAKE(m) && IS_MEMBER(m) && etcd.uid != disk[m].uid && !FOLLOWS(etcd, disk[m]) &&
		COVERS(disk[m], etcd) ->
		for (k : 0 .. NK - 1) {
			etcd.number[k] = disk[m].number[k];
			if
			:: R_REOPEN && (CLOSED(disk[m]) & B(k)) && (OPENING(etcd) & B(k)) -> etcd.state[k] = DECRYPT
			:: else -> etcd.state[k] = disk[m].state[k]
			fi
		}
		k = 0;
		etcd.last = disk[m].last;
		etcd.members = disk[m].members;
		etcd.leaving = disk[m].leaving;
		etcd.removed = disk[m].removed;
		printf("%d publishes its own again\n", m);
		etcd.generation = 1 + (disk[m].generation > etcd.generation -> disk[m].generation : etcd.generation);
		put();
		answers[m] = 0
	}
	:: d_step {
		!forked && AWAKE(m) && IS_MEMBER(m) && etcd.uid != disk[m].uid && !FOLLOWS(etcd, disk[m]) &&
		!COVERS(disk[m], etcd) ->
		printf("%d: neither document may follow the other\n", m);
		forked = 1;
		assert(!NO_FORK)
	}
	:: d_step {
		AWAKE(m) && IS_MEMBER(m) && (confirmed[m] || !R_CONFIRM) &&
		(writes[m] != ACTIVE_KEY(disk[m]) || opens[m] != OPENING(disk[m])) ->
		writes[m] = ACTIVE_KEY(disk[m]);
		opens[m] = OPENING(disk[m]);
		quiet[m] = quiet[m] & ~BIT(writes[m]);
		reverted[m] = 0;
		if
		:: writes[m] -> printf("%d serves with K%d\n", m, writes[m] - 1)
		:: else -> printf("%d serves, without a key to write with\n", m)
		fi;
		check()
	}
	:: d_step {
		AWAKE(m) && writes[m] && !IS_MEMBER(m) ->
		printf("%d stops\n", m);
		writes[m] = 0
	}
	:: d_step {
		R_QUIET && AWAKE(m) && (writes[m] || (disk[m].leaving & B(m))) && quiet[m] != CAN_BE_QUIET(m) ->
		printf("%d: three minutes have passed\n", m);
		quiet[m] = CAN_BE_QUIET(m);
		seed[m] = (seed[m] == writes[m] -> seed[m] : 0)
	}
	/* An API server whose keeper is away long enough has no seed. */
	:: d_step {
		!up[m] && !still[m] && seed[m] ->
		seed[m] = 0
	}
	:: d_step {
		AWAKE(m) && ((disk[m].members | disk[m].leaving) & B(m)) && (confirmed[m] || !R_CONFIRM) &&
		(ack[m].uid != disk[m].uid || ack[m].opens != SAYS_OPEN(m) || ack[m].writes != writes[m] ||
		 ack[m].quiet != quiet[m] || (R_FRESH && !HEARD_BY_ALL(m))) ->
		printf("%d acknowledges generation %d\n", m, disk[m].generation);
		ack[m].uid = disk[m].uid;
		ack[m].opens = SAYS_OPEN(m);
		ack[m].writes = writes[m];
		ack[m].quiet = quiet[m];
		for (j : 0 .. NM - 1) {
			answers[j] = answers[j] | ((R_FRESH && (MAKERS & B(j))) -> B(m) : 0)
		}
		j = 0
	}
#if S_JOIN
	:: d_step {
		m == L && AWAKE(m) && confirmed[m] && disk[m].generation && !(INVOLVED(m) & B(m)) &&
		opens[m] != OPENING(disk[m]) ->
		opens[m] = OPENING(disk[m])
	}
	/* The rule for any change, but who makes this one is not yet a member. */
	:: d_step {
		m == L && AWAKE(m) && confirmed[m] && disk[m].generation && !(INVOLVED(m) & B(m)) &&
		etcd.uid == disk[m].uid && ANSWERED(m, INVOLVED(m)) && (!R_OPEN || opens[m] == OPENING(disk[m])) ->
		printf("%d joins\n", m);
		etcd.members = etcd.members | B(m);
		change(m)
	}
#endif
	:: d_step {
		!up[m] ->
		printf("%d starts, generation %d\n", m, disk[m].generation);
		up[m] = 1;
		opens[m] = OPENING(disk[m]);
		answers[m] = 0;
		waited[m] = 0;
		check()
	}
	od
}

/* An API server writes with the key that it has seen in a Status, and looks again when it likes. */
proctype Api(byte m)
{
end:	do
	:: d_step {
		!still[m] && writes[m] && seed[m] != writes[m] ->
		seed[m] = writes[m]
	}
	:: d_step {
		!still[m] && seed[m] && !(stored & BIT(seed[m])) ->
		printf("API server %d writes with K%d\n", m, seed[m] - 1);
		stored = stored | BIT(seed[m]);
		check()
	}
	od
}

/* --- what goes wrong ------------------------------------------------------------------------------------------ */

#define HAS_GONE(doc) ALL_IN(doc, GONE, GONE)
/* Backups older than keepRetired are of no use, so none is restored after a key was destroyed. */
#define ANY_GONE (HAS_GONE(etcd) || HAS_GONE(disk[0]) || HAS_GONE(disk[1]) || HAS_GONE(disk[L]))

inline keep_etcd()
{
	have_etcd = 1;
	copy_doc(old_etcd, etcd);
	old_clean = clean;
	for (j : 0 .. NM - 1) {
		copy_ack(old_acks[j], ack[j])
	}
	j = 0
}

inline old_etcd_again()
{
	have_etcd = 0;
	copy_doc(etcd, old_etcd);
	for (j : 0 .. NM - 1) {
		copy_ack(ack[j], old_acks[j]);
		answers[j] = 0
	}
	j = 0
}

inline clear_hand()
{
	copy_doc(hand, empty_doc);
	for (j : 0 .. NM - 1) {
		copy_ack(hand_acks[j], empty_ack)
	}
	j = 0
}

inline crash(m)
{
	d_step {
		n_crash > 0 && AWAKE(m) ->
		n_crash--;
		printf("%d crashes\n", m);
		stop(m)
	}
}

proctype Fault()
{
end:	do
	:: crash(0)
	:: crash(L)
	:: d_step {
		n_pause > 0 && !still[L] ->
		n_pause--;
		printf("%d's machine stands still\n", L);
		still[L] = 1
	}
	:: d_step {
		still[L] ->
		printf("%d's machine goes on\n", L);
		still[L] = 0
	}
	:: d_step {
		n_restore > 0 && !have_etcd ->
		printf("a snapshot of etcd, generation %d\n", etcd.generation);
		keep_etcd();
		old_stored = stored;
		old_marked = marked
	}
	:: d_step {
		n_restore > 0 && have_etcd && !ANY_GONE ->
		n_restore--;
		printf("etcd is restored, generation %d\n", old_etcd.generation);
		named = named | CLOSED(etcd);
		for (j : 0 .. NM - 1) {
			named = named | CLOSED(disk[j])
		}
		old_etcd_again();
		stored = old_stored;
		clean = old_clean;
		marked = old_marked;
		check()
	}
	:: d_step {
		n_putback > 0 && !have_etcd ->
		printf("a carrier keeps generation %d\n", etcd.generation);
		keep_etcd()
	}
	/* What was there is kept instead, and can be shown once more. */
	:: d_step {
		n_putback > 0 && have_etcd && old_etcd.uid != etcd.uid ->
		n_putback--;
		printf("a carrier shows generation %d\n", old_etcd.generation);
		copy_doc(hand, etcd);
		for (j : 0 .. NM - 1) {
			copy_ack(hand_acks[j], ack[j])
		}
		old_etcd_again();
		if
		:: n_putback > 0 ->
			have_etcd = 1;
			copy_doc(old_etcd, hand);
			for (j : 0 .. NM - 1) {
				copy_ack(old_acks[j], hand_acks[j])
			}
		:: else
		fi;
		clear_hand();
		clean = KEYS & ~stored;
		check()
	}
	:: d_step {
		n_revert > 0 && !have_disk && up[L] && disk[L].generation ->
		printf("an image of %d's disk, generation %d\n", L, disk[L].generation);
		have_disk = 1;
		copy_doc(old_disk, disk[L])
	}
	:: d_step {
		n_revert > 0 && have_disk && !still[L] && old_disk.generation < disk[L].generation ->
		n_revert--;
		have_disk = 0;
		printf("%d is put back to generation %d\n", L, old_disk.generation);
		stop(L);
		seed[L] = 0;
		answers[L] = 0;
		copy_doc(disk[L], old_disk);
		reverted[L] = 1
	}
	:: d_step {
		n_replay > 0 && !have_ack && ack[L].uid ->
		have_ack = 1;
		copy_ack(old_ack, ack[L])
	}
	:: d_step {
		n_replay > 0 && have_ack && (ack[L].uid != old_ack.uid || ack[L].opens != old_ack.opens ||
					     ack[L].writes != old_ack.writes || ack[L].quiet != old_ack.quiet) ->
		n_replay--;
		have_ack = 0;
		printf("%d's old acknowledgement is shown\n", L);
		copy_ack(ack[L], old_ack);
		answers[0] = answers[0] & REST;
		answers[1] = answers[1] & REST
	}
#if S_STALE
	:: d_step {
		up[L] && !confirmed[L] && disk[L].generation ->
		printf("%d is shown an old document as the newest\n", L);
		confirmed[L] = 1
	}
#endif
	od
}

/* --- the end ---------------------------------------------------------------------------------------------------- */

/* No step is left. Then all has been done, or an alarm has stopped changes. */
#define OVER (ALL_IN(etcd, STAGED, STAGED) == 0 && ALL_IN(etcd, DECRYPT, ENDING) == 0)
proctype Monitor()
{
end:	do
	:: timeout ->
		assert(forked || (new_keys == 0 && OVER && ACTIVE_KEY(etcd) && !etcd.leaving));
		break
	od
}

init
{
	d_step {
		etcd.uid = 1;
		etcd.generation = 1;
		uids = 2;
		etcd.members = (S_JOIN -> REST : EVERY);
		if
		:: !S_EMPTY ->
			etcd.state[0] = ACTIVE;
			etcd.number[0] = 1;
			etcd.last = 1;
			owner[1] = 1;
			stored = B(0)
		:: else
		fi;
		clean = KEYS & ~stored;
		for (j : 0 .. NM - 1) {
			up[j] = 1;
			confirmed[j] = 1;
			if
			:: etcd.members & B(j) ->
				copy_doc(disk[j], etcd);
				writes[j] = ACTIVE_KEY(etcd);
				opens[j] = OPENING(etcd);
				seed[j] = writes[j];
				quiet[j] = KEYS & ~BIT(writes[j])
			:: else
			fi
		}
		j = 0
	}
	atomic {
		for (j : 0 .. NM - 1) {
			run Member(j);
			run Api(j)
		}
		j = 0;
		run Operator(0);
		if
		:: OPERATORS > 1 -> run Operator(1)
		:: else
		fi;
		run Fault();
		run Monitor()
	}
}
