/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this node says of the keyset document that it holds, and what it has heard of the others. Its own
 * acknowledgement is made when it is asked for and never kept; those of others are kept in memory until
 * a newer one comes, and lost with the process, so that after a start everybody is asked again.
 */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "daemon/base/random.h"
#include "daemon/keeper/keeper_private.h"

#define QUIET_NS (UINT64_C(300) * 1000 * 1000 * 1000)

int acks_open(struct keeper *k)
{
	int r = random_bytes(k->session, sizeof(k->session));

	return r < 0 ? r : acks_new_document(k);
}

/* A number that nobody can have answered to before, nor to the one before it. */
int acks_new_document(struct keeper *k)
{
	int r = acks_draw(k);

	memcpy(k->former_number, k->number, sizeof(k->number));
	return r;
}

int acks_draw(struct keeper *k)
{
	memcpy(k->former_number, k->number, sizeof(k->number));
	return random_bytes(k->number, sizeof(k->number));
}

bool acks_has_answered(const struct keeper *k, const struct keyack *ack)
{
	const uint8_t *self = keyset_self(k->keys)->id;

	return keyack_has_heard(ack, self, k->number) ||
	       keyack_has_heard(ack, self, k->former_number);
}

void acks_close(struct keeper *k)
{
	for (size_t i = 0; i < k->n_acks; i++)
		keyack_free(move_ptr(k->acks[i]));
	k->n_acks = 0;
}

/*
 * Quiet: for five minutes of this machine's own time no server has answered with the key. Three are what a
 * kube-apiserver goes on writing with a seed, one is for a request in flight, one to spare. From zero after a
 * start, as nobody knows what the process before has answered; CLOCK_MONOTONIC, which stands still
 * with a suspended host as the API server's timers do. A node that is leaving writes with no key, the
 * active one included, and has to get quiet about all before it is gone.
 */
static void key_put(const struct keeper *k, const struct keyset_key *key, uint64_t now,
		    struct keyack *ack)
{
	const struct keeper_counts *c = counts_of(k, key->rec.info.id);
	uint64_t since = c->wrote_ns > k->started_ns ? c->wrote_ns : k->started_ns;
	bool writes = key->rec.info.state == KEY_ACTIVE && keyset_may_write(k->keys);
	struct keyack_key *a = &ack->keys[ack->n_keys];

	if (!key_state_opens(key->rec.info.state))
		return;
	memcpy(a->id, key->rec.info.id, sizeof(a->id));
	a->why = key->why == 0 && k->sealed < 0 ? -EKEYEXPIRED : key->why;
	a->quiet = !writes && now - since >= QUIET_NS;
	a->uses = c->reserved;
	ack->n_keys++;
	if (!writes)
		return;
	memcpy(ack->writes[ack->n_writes].id, key->rec.info.id, sizeof(key->rec.info.id));
	ack->writes[ack->n_writes++].activation = key->rec.info.activation;
}

/* Every server that lives has done what it was told, or was killed, when a change ended: server_sync(). */
int acks_own(const struct keeper *k, struct keyack **ret)
{
	const struct keydoc *doc = keyset_doc(k->keys);
	const struct keydoc_member *self = keyset_self(k->keys);
	const struct list *head = keyset_list(k->keys);
	struct keyack_heard *h;
	struct keyack *ack;
	uint64_t now = now_ns();
	int r;

	if (!doc)
		return keyset_why(k->keys);
	r = keyack_new(&ack);
	if (r < 0)
		return r;
	memcpy(ack->cluster, doc->cluster, sizeof(ack->cluster));
	memcpy(ack->node, self->id, sizeof(ack->node));
	memcpy(ack->name, self->name, sizeof(ack->name));
	memcpy(ack->doc, doc->hash, sizeof(ack->doc));
	ack->generation = doc->generation;
	memcpy(ack->session, k->session, sizeof(ack->session));
	memcpy(ack->number, k->number, sizeof(ack->number));
	/* Of members only, who wait for that: nodes that were given up would take their room. */
	for (size_t i = 0; i < k->n_acks && ack->n_heard < KEYDOC_MEMBERS_MAX; i++) {
		if (!keydoc_member(doc, k->acks[i]->node))
			continue;
		h = &ack->heard[ack->n_heard++];
		memcpy(h->node, k->acks[i]->node, sizeof(h->node));
		memcpy(h->number, k->acks[i]->number, sizeof(h->number));
	}
	for (const struct list *n = head->next; n != head; n = n->next)
		key_put(k, list_entry(n, struct keyset_key, link), now, ack);
	ack->has_config = true;
	memcpy(ack->config, k->conf->digest, sizeof(ack->config));
	ack->n_roots = keyset_proved_roots(k->keys, ack->roots);
	ack->time = time(NULL);
	snprintf(ack->version, sizeof(ack->version), "%s", KEKD_VERSION);
	ack->formats = KEYDOC_FORMAT_ROTATE;
	*ret = ack;
	return 0;
}

void acks_sum(const struct keeper *k, struct keyack *ack)
{
	const struct keydoc *doc = keyset_doc(k->keys);

	for (size_t i = 0; i < doc->n_members * ack->n_keys; i++) {
		struct keyack_key *key = &ack->keys[i % ack->n_keys];
		const struct keyack *other = acks_find(k, doc->members[i / ack->n_keys].id);
		const struct keyack_key *said = other ? keyack_key(other, key->id) : NULL;

		if (said && __builtin_add_overflow(key->uses, said->uses, &key->uses))
			key->uses = UINT64_MAX;
	}
}

/* @ack is consumed. */
int acks_take(struct keeper *k, struct keyack *ack)
{
	const struct keydoc *doc = keyset_doc(k->keys);
	struct keyack **at = NULL;

	for (size_t i = 0; i < k->n_acks; i++)
		if (memcmp(k->acks[i]->node, ack->node, sizeof(ack->node)) == 0)
			at = &k->acks[i];
	if (!at && k->n_acks < ARRAY_SIZE(k->acks))
		at = &k->acks[k->n_acks++];
	/* Or the place of a node that is no member. */
	for (size_t i = 0; !at && i < k->n_acks; i++)
		if (!doc || !keydoc_member(doc, k->acks[i]->node))
			at = &k->acks[i];
	if (!at) {
		keyack_free(ack);
		return -ENOBUFS;
	}
	keyack_free(*at);
	*at = ack;
	return 0;
}

const struct keyack *acks_find(const struct keeper *k, const uint8_t node[static KEYDOC_NODE])
{
	for (size_t i = 0; i < k->n_acks; i++)
		if (memcmp(k->acks[i]->node, node, KEYDOC_NODE) == 0)
			return k->acks[i];
	return NULL;
}
