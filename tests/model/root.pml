/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rotation of the root key, rule 9 of the keyset, for spin: NM members, of which member 0 makes the changes. A document is
 * under the old root, under both, under the new one, or under the old one again as the rotation was given up. A member
 * has on disk the document that it holds, and in memory the roots that it was given; after a start it has what its
 * configuration gives. The operators let that give the new root when both open the keyset, and not before.
 *
 * Asserted: a member always has a root that opens what it holds, and where no step is left all hold one document.
 *
 *   9 R_END     The old root goes, or the new one, when all have acknowledged the one that stays, under both.
 *   9 R_TAKE    A member takes no document that has none of the roots of its own.
 */
#ifndef NM
#define NM 3
#endif
#ifndef R_END
#define R_END 1
#endif
#ifndef R_TAKE
#define R_TAKE 1
#endif

#define OLD   1
#define NEXT  2
#define BEGUN 1
#define ENDED 2
#define BACK  3

/* The roots that a document is under. */
#define UNDER(d) (d == BEGUN -> 3 : (d == ENDED -> 2 : 1))

byte carried, doc[NM], roots[NM], gives[NM], said_of[NM], said[NM];
byte starts = 2;

inline all_said(kind, what)
{
	ok = 1;
	i = 0;
	do
	:: i < NM ->
		if
		:: said_of[i] != kind || (said[i] & what) != what -> ok = 0
		:: else
		fi;
		i++
	:: else -> break
	od
}

inline all_give(what)
{
	i = 0;
	do
	:: i < NM ->
		if
		:: gives[i] != what -> ok = 0
		:: else
		fi;
		i++
	:: else -> break
	od
}

proctype member(byte m)
{
end:
	do
	/* The operator gives it the root that is to come, again after a start. */
	:: atomic { (carried == BEGUN || doc[m] == 0) && roots[m] != OLD + NEXT && carried != BACK -> roots[m] = OLD + NEXT; printf("member %d has both roots\n", m) }
	:: atomic { doc[m] == BEGUN && gives[m] == OLD && carried == BEGUN -> gives[m] = NEXT; printf("the configuration of member %d gives the new root\n", m) }
	:: atomic { starts > 0 && (doc[m] != ENDED || gives[m] == NEXT) -> starts--; roots[m] = gives[m]; printf("member %d starts\n", m);
		assert((roots[m] & UNDER(doc[m])) != 0) }
	/* It makes each MAC of what it takes; a root that is missing it is given. */
	:: atomic { doc[m] != carried && (!R_TAKE || (UNDER(doc[m]) & UNDER(carried)) != 0) ->
		if
		:: R_TAKE -> roots[m] = roots[m] | UNDER(carried)
		:: else
		fi;
		doc[m] = carried;
		if
		:: carried == ENDED || carried == BACK -> roots[m] = roots[m] & UNDER(carried)
		:: else
		fi;
		printf("member %d takes document %d\n", m, carried);
		assert((roots[m] & UNDER(doc[m])) != 0) }
	:: atomic { said_of[m] != doc[m] || said[m] != roots[m] -> said_of[m] = doc[m]; said[m] = roots[m]; printf("member %d acknowledges document %d\n", m, doc[m]) }
	od
}

active proctype operator()
{
	byte i = 0, ok = 0;

	do
	:: i < NM -> roots[i] = OLD; gives[i] = OLD; said_of[i] = 9; i++
	:: else -> break
	od;
	atomic {
		i = 0;
		do
		:: i < NM -> run member(i); i++
		:: else -> break
		od
	}
begin:
	atomic { all_said(0, OLD + NEXT) };
	if
	:: !ok && R_END -> goto begin
	:: else
	fi;
	carried = BEGUN;
	printf("it begins\n");
	/* Which way it goes the operators decide by what the configurations give. */
	do
	:: atomic { ok = 1; all_give(NEXT); if :: ok || !R_END -> all_said(BEGUN, NEXT) :: else fi;
		if
		:: ok || !R_END -> carried = ENDED; printf("it ends\n"); break
		:: else
		fi }
	:: atomic { ok = 1; all_give(OLD); if :: ok -> all_said(BEGUN, OLD) :: else fi;
		if
		:: ok -> carried = BACK; printf("it is given up\n"); break
		:: else
		fi }
	od;
done:
	timeout -> atomic {
		i = 0;
		do
		:: i < NM -> assert(doc[i] == carried); i++
		:: else -> break
		od
	}
}
