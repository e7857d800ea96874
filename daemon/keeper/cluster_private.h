/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keeper's view of etcd: cluster.c (the process, what it is asked, changes), cluster_judge.c (what has come), and
 * admin_cluster.c, which shows it.
 */
#ifndef KEKD_KEEPER_CLUSTER_PRIVATE_H
#define KEKD_KEEPER_CLUSTER_PRIVATE_H

#include "daemon/cluster/carrier.h"
#include "daemon/keeper/keeper_private.h"

enum cluster_asked { CLUSTER_NOTHING, CLUSTER_READ, CLUSTER_PUT_DOC, CLUSTER_PUT_ACK };

/* Documents that are offered and are no step of keydoc_next(). */
#define CLUSTER_AGAIN  ((enum keydoc_change_kind)KEYDOC_CHANGES)
#define CLUSTER_MERGED ((enum keydoc_change_kind)(KEYDOC_CHANGES + 1))

/* A change on its way. Unsure: it was sent, and what became of it the next reading shows. */
enum offer_state { OFFER_NONE, OFFER_WANTED, OFFER_SENT, OFFER_UNSURE };

struct cluster_offer {
	enum offer_state state;
	enum keydoc_change_kind kind;
	struct key_record key; /* that it is about, as it is before; or zeros */
	struct keydoc *doc;
	char *text;
	size_t len;
	uint64_t rev, since_ns;
};

/* What became of the last one, for who has asked for it. */
struct cluster_outcome {
	enum keydoc_change_kind kind;
	struct key_record key;
	struct keydoc_refusal why;
	bool used;
};

struct cluster_heard {
	uint8_t node[KEYDOC_NODE];
	uint64_t ns;
};

struct cluster {
	/* The process. */
	int control, exe_fd;
	bool gone;            /* all of it */
	struct carrier *link; /* NULL: none */
	uint64_t start_at_ns, since_ns;

	/* What it is asked. */
	enum cluster_asked asked;
	uint64_t asked_ns, read_at_ns, hurry_until_ns;
	bool look_at_ack;

	/* What the answer under way has brought. */
	struct keydoc *seen;
	int seen_r;
	uint64_t seen_rev;
	bool seen_own; /* this node's acknowledgement */

	/* What is known of etcd. */
	int why;              /* 0: it answers */
	uint64_t answered_ns; /* 0: never */
	uint64_t etcd;        /* its cluster_id; 0: none */
	uint64_t doc_rev;     /* mod_revision of the keyset, 0: there is none */
	bool current;         /* etcd has what this node holds */
	bool may_create;
	bool alarm; /* the words are one */
	char words[768];
	struct keydoc *theirs; /* what etcd has, if this node cannot follow it */
	uint64_t again;        /* the generation that was put back last */
	uint64_t republished;  /* how many times */
	char reopened[256];
	char join_words[512];
	int days;

	/* What this node says. */
	char *ack_text; /* as it was said last, without its time; NULL: to be said */
	uint64_t ack_rev;
	uint8_t session[KEYDOC_NODE]; /* in which it has said it */
	bool has_said, was_said;
	uint64_t clone_until_ns;

	/* Numbers, and who has answered to one. */
	uint8_t number[KEYDOC_NODE]; /* the keeper's when drawn_ns was */
	uint64_t drawn_ns;
	size_t n_heard;
	struct cluster_heard heard[KEEPER_ACKS];
	uint32_t mute; /* bits of doc->members */

	struct cluster_offer offer;
	struct cluster_outcome outcome;
};

/* What is not well, logged when it is new; "" for nothing. */
void cluster_say(struct cluster *c, const char *format, ...) _printf_(2, 3);
/*
 * @doc, consumed on success, is what etcd is to have in the place of what was read: -EINPROGRESS. _end: it has come to its
 * end, and who has asked for it is answered.
 */
int cluster_put_offer(struct keeper *k, struct cluster *c, enum keydoc_change_kind kind,
		      struct keydoc **doc, struct keydoc_refusal *why);
void cluster_offer_end(struct keeper *k, struct cluster *c, int r, bool waits, const char *words);
/* etcd has none of this node's acknowledgements: it is to be said again. */
void cluster_ack_lost(struct cluster *c);

/* One text of etcd. -EPROTO: nothing was asked for. */
int cluster_item(struct keeper *k, struct cluster *c, const struct carrier_head *m,
		 struct span text);
/* All texts have come. */
void cluster_judge(struct keeper *k, struct cluster *c);
/* What etcd has is this node's from now on; @doc is consumed on success. */
int cluster_take(struct keeper *k, struct cluster *c, struct keydoc **doc, const char *what);
/* A member, and not leaving. */
bool cluster_is_full_member(const struct keeper *k);

#endif
