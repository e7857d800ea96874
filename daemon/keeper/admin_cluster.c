/* SPDX-License-Identifier: Apache-2.0 */
/* The commands for a keyset that etcd carries: how it is, how it begins, and how a node comes to it. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "daemon/base/log.h"
#include "daemon/base/random.h"
#include "daemon/keeper/admin_client.h"
#include "daemon/keeper/cluster_private.h"
#include "daemon/obs/board.h"

#define NS_PER_S UINT64_C(1000000000)

static const char no_cluster[] =
	"kekd.yaml has no `cluster:`: name etcd's endpoints there (kekd.yaml(5)) and restart kekd";

static uint64_t seconds_since(uint64_t then_ns, uint64_t now)
{
	return then_ns == 0 || then_ns > now ? ADMIN_NEVER : (now - then_ns) / NS_PER_S;
}

static void status_fill(const struct keeper *k, uint64_t now, struct admin_cluster *ret)
{
	const struct cluster *c = k->cluster;
	const struct keydoc *doc = keyset_doc(k->keys);

	memset(ret, 0, sizeof(*ret));
	snprintf(ret->node, sizeof(ret->node), "%s", keyset_self(k->keys)->name);
	snprintf(ret->prefix, sizeof(ret->prefix), "%s", k->conf->config->cluster.prefix);
	ret->generation = doc ? doc->generation : 0;
	ret->changed = doc ? (uint64_t)doc->time : 0;
	ret->carried = doc && doc->carrier == KEYDOC_ETCD;
	ret->confirmed = custody_is_confirmed(k);
	ret->current = c->current;
	ret->alarm = c->alarm || c->clone_until_ns > now;
	ret->away = c->why < 0;
	ret->days = c->days;
	ret->answered = seconds_since(c->answered_ns, now);
	ret->pending =
		c->offer.state == OFFER_NONE ? ADMIN_NEVER : seconds_since(c->offer.since_ns, now);
	ret->republished = c->republished;
	snprintf(ret->text, sizeof(ret->text), "%s",
		 k->sealed < 0 ? "sealed: the root key is not loaded" : c->words);
	if (*c->reopened)
		snprintf(ret->reopened, sizeof(ret->reopened), "%s", c->reopened);
}

static int put_keys(const struct keeper *k, struct admin_client *c, const char *member,
		    const struct keyack *ack)
{
	const struct keydoc *doc = keyset_doc(k->keys);
	int r = 0;

	for (size_t i = 0; r == 0 && i < doc->n_keys; i++) {
		const struct keyack_key *said = keyack_key(ack, doc->keys[i].info.id);
		struct admin_member_key key = { 0 };

		if (!key_state_opens(doc->keys[i].info.state))
			continue;
		snprintf(key.member, sizeof(key.member), "%s", member);
		snprintf(key.label, sizeof(key.label), "%s", doc->keys[i].info.label);
		key.opens = said ? said->why : -ENOKEY;
		key.quiet = said && said->quiet;
		key.writes = keyack_writes_with(ack, doc->keys[i].info.id);
		r = admin_client_put(c, ADMIN_MEMBER_KEY, 0, &key, sizeof(key));
	}
	return r;
}

static void member_fill_heard(const struct keeper *k, const struct keydoc_member *m, uint64_t now,
			      struct admin_member *ret)
{
	admin_member_fill(k, m, ret);
	ret->age = ret->self ? 0 : seconds_since(cluster_heard_ns(k, m->id), now);
	ret->mute = cluster_is_mute(k, m->id, now);
}

static int put_member(struct keeper *k, struct admin_client *c, const struct keydoc_member *m,
		      uint64_t now)
{
	_cleanup_(keyack_freep) struct keyack *own = NULL;
	const struct keyack *ack = acks_find(k, m->id);
	struct admin_member a;
	int r;

	member_fill_heard(k, m, now, &a);
	if (a.self && acks_own(k, &own) == 0)
		ack = own;
	r = admin_client_put(c, ADMIN_MEMBER, 0, &a, sizeof(a));
	return r == 0 && ack ? put_keys(k, c, a.name, ack) : r;
}

int admin_cluster_status(struct keeper *k, struct admin_client *c,
			 const struct admin_request *req _unused_)
{
	const struct keydoc *doc = keyset_doc(k->keys);
	uint64_t now = now_ns();
	struct admin_cluster s;
	int r;

	if (!k->cluster)
		return admin_end(c, -EOPNOTSUPP, no_cluster);
	status_fill(k, now, &s);
	r = admin_client_put(c, ADMIN_CLUSTER, 0, &s, sizeof(s));
	for (size_t i = 0; r == 0 && doc && i < doc->n_members; i++)
		r = put_member(k, c, &doc->members[i], now);
	return r == 0 ? admin_end(c, 0, "") : r;
}

void cluster_board(const struct keeper *k, uint64_t now, struct board_cluster *ret)
{
	const struct keydoc *doc = keyset_doc(k->keys);
	struct admin_cluster s;

	*ret = (struct board_cluster){ .configured = k->cluster != NULL };
	if (!k->cluster)
		return;
	status_fill(k, now, &s);
	ret->away = s.away;
	ret->alarm = s.alarm;
	ret->current = s.current;
	ret->confirmed = s.confirmed;
	ret->days = s.days;
	ret->put_back = s.republished;
	ret->pending = s.pending;
	for (size_t i = 0; doc && i < doc->n_members && i < BOARD_MEMBERS_MAX; i++) {
		struct board_member *to = &ret->members[ret->n_members++];
		struct admin_member m;

		member_fill_heard(k, &doc->members[i], now, &m);
		memcpy(to->name, m.name, sizeof(to->name));
		to->age = m.age;
		to->answered = m.answered;
		to->differs = m.differs;
	}
}

int admin_cluster_create(struct keeper *k, struct admin_client *c,
			 const struct admin_request *req _unused_)
{
	struct keydoc_change change = { .kind = KEYDOC_CARRY };
	const struct op_peer *peer = admin_client_peer(c);
	struct keydoc_refusal why;

	if (!k->cluster)
		return admin_end(c, -EOPNOTSUPP, no_cluster);
	if (keeper_change(k, &change, &why) < 0)
		return admin_refuse(c, &why);
	log_notice("audit: keyset: etcd carries it from now on; asked by uid %u, pid %d", peer->uid,
		   peer->pid);
	return admin_end(
		c, 0,
		"etcd carries this keyset from now on: other nodes join by starting with the same "
		"root key, an empty key store and `cluster:`");
}

/* This node's keyset is forgotten, and etcd's is its own. */
static int join_discard(struct keeper *k, struct admin_client *c)
{
	struct cluster *cl = k->cluster;
	struct keydoc_refusal why;

	if (keeper_take(k, cl->theirs, &why) < 0)
		return admin_refuse(c, &why);
	cl->theirs = NULL;
	k->confirmed = true;
	keeper_membership(k);
	keeper_audit_key(k, admin_client_peer(c), NULL, "own keyset discarded, etcd's taken");
	cluster_hurry(k);
	return admin_end(
		c, 0,
		"this node has etcd's keyset, and joins by itself: see `kekctl cluster status`");
}

/* The keys of both; of the active ones of a name etcd's stays. */
static int join_merge(struct keeper *k, struct admin_client *c)
{
	struct keydoc_change by = { .time = time(NULL) };
	_cleanup_(keydoc_freep) struct keydoc *next = NULL;
	struct keydoc_refusal why = { 0 };
	int r = 0;

	memcpy(by.node, keyset_self(k->keys)->id, sizeof(by.node));
	if (!k->resumed) {
		r = random_bytes(by.nonce, sizeof(by.nonce));
		if (r == 0)
			r = keydoc_merge(k->cluster->theirs, keyset_doc(k->keys), &by, &next, &why);
	}
	if (r == 0)
		r = cluster_publish(k, &next, &why);
	if (r < 0)
		return why.r < 0 ? admin_refuse(c, &why) : admin_end(c, r, errno_text(r));
	keeper_audit_key(k, admin_client_peer(c), NULL, "merged with etcd's keyset");
	return admin_end(
		c, 0,
		"merged; this node joins by itself if it is no member: see `kekctl cluster status`");
}

int admin_cluster_join(struct keeper *k, struct admin_client *c, const struct admin_request *req)
{
	bool merge = req->flags & ADMIN_MERGE, discard = req->flags & ADMIN_DISCARD;

	if (!k->cluster)
		return admin_end(c, -EOPNOTSUPP, no_cluster);
	if (merge == discard)
		return admin_end(
			c, -EINVAL,
			"a node with an empty key store joins by itself. One with a keyset of its own needs "
			"--merge, which takes its keys along, or --discard, which forgets them and with "
			"them every value that needs them");
	if (!k->cluster->theirs && !(k->resumed && merge))
		return admin_end(
			c, -ENODATA,
			"there is nothing to join by force: etcd has no keyset that this node cannot follow. "
			"See `kekctl cluster status`");
	return merge ? join_merge(k, c) : join_discard(k, c);
}

int admin_cluster_serve(struct keeper *k, struct admin_client *c,
			const struct admin_request *req _unused_)
{
	const struct op_peer *peer = admin_client_peer(c);

	if (custody_is_confirmed(k))
		return admin_end(c, -EALREADY,
				 "the keyset was read from etcd, or is not in etcd: this node "
				 "writes if it is a member");
	k->confirmed = true;
	keeper_membership(k);
	log_warning(
		"audit: keyset: generation %" PRIu64
		" is written with, and was not read from etcd since the start; asked by uid %u, pid %d",
		keyset_doc(k->keys)->generation, peer->uid, peer->pid);
	return admin_end(c, 0,
			 "this node writes with the keyset of its disk until kekd is restarted");
}
