/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kekctl rotate NAME --peers SOCKET,…: a rotation over all nodes of a cluster, in an order in which
 * no node ever meets a value that it cannot open:
 *
 *   1. stage     one node makes the new key, every other gets its sealed record
 *   2. share     every node gets the keys that others write with, if it lacks one
 *   3. probe     for a fresh number of each node's turn all give the same answer under the key
 *   4. activate  one node after another, all with one activation number
 *
 * Nothing is remembered between runs: what to do next is read from the nodes. So a run that was
 * ended at any point, or met a node that was down, is simply run again. A key that is staged, or
 * active on some nodes only, is taken up; no other is made beside it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "daemon/base/log.h"
#include "daemon/base/random.h"
#include "daemon/ctl/ctl.h"

#define PEERS_MAX 64

struct node {
	struct ctl ctl;
	struct ctl_keys keys;
};

struct cluster {
	const char *name;
	bool dry_run;
	char *list; /* the sockets' names, cut at the commas */
	size_t n;
	struct node nodes[PEERS_MAX];
};

static void cluster_clear(struct cluster *c)
{
	for (size_t i = 0; i < c->n; i++)
		ctl_keys_clear(&c->nodes[i].keys);
	free(c->list);
}

static int parse_peers(const struct ctl *ctl, struct cluster *c)
{
	char *s, *rest;

	c->list = strdup(ctl->peers);
	if (!c->list)
		return ctl_fail("out of memory");
	for (s = strtok_r(c->list, ",", &rest); s; s = strtok_r(NULL, ",", &rest)) {
		if (c->n == PEERS_MAX)
			return ctl_usage("at most %d peers", PEERS_MAX);
		c->nodes[c->n].ctl = (struct ctl){ .admin = s };
		c->n++;
	}
	return c->n > 0 ? 0 : ctl_usage("--peers takes the admin sockets of all nodes");
}

/* Every node's own view, anew. */
static int look(struct cluster *c)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < c->n; i++) {
		ctl_keys_clear(&c->nodes[i].keys);
		r = ctl_keys_get(&c->nodes[i].ctl, &c->nodes[i].keys);
	}
	return r;
}

static const struct admin_key *key_at(const struct node *node, const uint8_t id[KEKD_KEY_ID])
{
	for (size_t i = 0; i < node->keys.n; i++)
		if (memcmp(node->keys.v[i].id, id, KEKD_KEY_ID) == 0)
			return &node->keys.v[i];
	return NULL;
}

static bool is(const struct cluster *c, const struct admin_key *key, const char *state)
{
	return strcmp(key->name, c->name) == 0 && strcmp(key->state, state) == 0;
}

/* What a node writes with, or NULL. */
static const struct admin_key *active_at(const struct cluster *c, const struct node *node)
{
	const struct admin_key *found = NULL;

	for (size_t i = 0; i < node->keys.n; i++)
		if (is(c, &node->keys.v[i], "active"))
			found = &node->keys.v[i];
	return found;
}

static bool is_active_everywhere(const struct cluster *c, const struct admin_key *key)
{
	for (size_t i = 0; i < c->n; i++) {
		const struct admin_key *there = key_at(&c->nodes[i], key->id);

		if (!there || !is(c, there, "active") || there->activation != key->activation)
			return false;
	}
	return true;
}

/* A rotation that has got as far as activating: the key activated last, if not on all nodes. */
static const struct admin_key *half_active(const struct cluster *c)
{
	const struct admin_key *last = NULL;

	for (size_t i = 0; i < c->n; i++) {
		const struct admin_key *key = active_at(c, &c->nodes[i]);

		if (key && (!last || key->activation > last->activation))
			last = key;
	}
	return last && !is_active_everywhere(c, last) ? last : NULL;
}

/* One that has got as far as staging. Two staged keys are a question for a person. */
static int staged(const struct cluster *c, const struct admin_key **ret)
{
	const struct admin_key *found = NULL;

	for (size_t i = 0; i < c->n; i++) {
		for (size_t j = 0; j < c->nodes[i].keys.n; j++) {
			const struct admin_key *key = &c->nodes[i].keys.v[j];

			if (!is(c, key, "staged"))
				continue;
			if (found && memcmp(found->id, key->id, sizeof(key->id)) != 0)
				return ctl_fail(
					"two keys of \"%s\" are staged, %s and %s: retire one",
					c->name, found->label, key->label);
			found = key;
		}
	}
	*ret = found;
	return 0;
}

static void keep_id(void *ctx, const struct admin_key *key)
{
	memcpy(ctx, key->id, KEKD_KEY_ID);
}

/* On a node that writes already: the first key of a name would be active at once. */
static int stage_new(struct cluster *c, uint8_t ret_id[KEKD_KEY_ID])
{
	struct admin_request req = { .version = ADMIN_VERSION, .verb = ADMIN_KEY_STAGE };
	struct admin_reply end;
	size_t i = 0;
	int r;

	while (i < c->n && !active_at(c, &c->nodes[i]))
		i++;
	if (i == c->n)
		return ctl_fail("no node has an active key \"%s\": make the first one with kekctl "
				"key create",
				c->name);
	if (c->dry_run) {
		printf("would stage a new key on %s and go on with it\n", c->nodes[i].ctl.admin);
		return 0;
	}
	memcpy(req.name, c->name, strlen(c->name) + 1);
	r = ctl_ask(&c->nodes[i].ctl, &req, keep_id, ret_id, &end);
	if (r == 0)
		printf("staged a new key on %s\n", c->nodes[i].ctl.admin);
	return r;
}

/* The key that this rotation is about. *ret_number: 0 until a node has activated it. */
static int choose(struct cluster *c, uint8_t ret_id[KEKD_KEY_ID], uint32_t *ret_number)
{
	const struct admin_key *key = half_active(c);
	int r = 0;

	*ret_number = key ? key->activation : 0;
	if (!key)
		r = staged(c, &key);
	if (r != 0)
		return r;
	if (key) {
		printf("going on with key %s\n", key->label);
		memcpy(ret_id, key->id, KEKD_KEY_ID);
		return 0;
	}
	r = stage_new(c, ret_id);
	return r == 0 ? look(c) : r;
}

int ctl_record_get(const struct ctl *ctl, const uint8_t id[static KEKD_KEY_ID], char **ret_record)
{
	struct admin_request req = { .version = ADMIN_VERSION, .verb = ADMIN_RECORD_GET };
	struct admin_reply end;
	char *record = NULL;
	size_t len;
	int r;

	memcpy(req.id, id, KEKD_KEY_ID);
	r = ctl_ask_with(
		ctl, &(struct ctl_exchange){ .req = &req, .ret_text = &record, .ret_len = &len },
		&end);
	if (r != 0)
		return r;
	if (!record)
		return ctl_fail("%s: the daemon gave no record", ctl->admin);
	*ret_record = record;
	return 0;
}

int ctl_record_put(const struct ctl *ctl, const char *record, struct admin_reply *ret_end)
{
	struct admin_request req = { .version = ADMIN_VERSION, .verb = ADMIN_RECORD_PUT };

	return ctl_ask_with(ctl, &(struct ctl_exchange){ .req = &req, .blob = span_str(record) },
			    ret_end);
}

static int copy(const struct node *from, const struct node *to, const uint8_t id[KEKD_KEY_ID])
{
	_cleanup_free_ char *record = NULL;
	struct admin_reply end;
	int r;

	r = ctl_record_get(&from->ctl, id, &record);
	return r == 0 ? ctl_record_put(&to->ctl, record, &end) : r;
}

/* Every node that has not got the key @id of @from gets it. */
static int share(struct cluster *c, const struct node *from, const uint8_t id[KEKD_KEY_ID])
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < c->n; i++) {
		if (key_at(&c->nodes[i], id))
			continue;
		printf("copying a sealed key to %s\n", c->nodes[i].ctl.admin);
		if (!c->dry_run)
			r = copy(from, &c->nodes[i], id);
	}
	return r;
}

static int share_all(struct cluster *c, const uint8_t id[KEKD_KEY_ID])
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < c->n; i++) {
		const struct admin_key *active = active_at(c, &c->nodes[i]);

		if (active)
			r = share(c, &c->nodes[i], active->id);
		if (r == 0 && key_at(&c->nodes[i], id))
			r = share(c, &c->nodes[i], id);
	}
	return r == 0 && !c->dry_run ? look(c) : r;
}

static int probe(const struct node *node, const struct admin_request *req, uint8_t ret[16])
{
	struct admin_reply end;
	int r = ctl_ask(&node->ctl, req, NULL, NULL, &end);

	if (r == 0)
		memcpy(ret, end.probe, 16);
	return r;
}

/* All nodes, asked with the number that is one node's own, give one answer. */
static int probe_turn(const struct cluster *c, const uint8_t id[KEKD_KEY_ID])
{
	struct admin_request req = { .version = ADMIN_VERSION, .verb = ADMIN_PROBE };
	uint8_t first[16], answer[16];
	int r;

	memcpy(req.id, id, KEKD_KEY_ID);
	r = random_bytes(req.nonce, sizeof(req.nonce));
	if (r < 0)
		return ctl_fail("no random number from the kernel: %s", errno_text(r));
	for (size_t i = 0; r == 0 && i < c->n; i++) {
		r = probe(&c->nodes[i], &req, i == 0 ? first : answer);
		if (r == 0 && i > 0 && memcmp(first, answer, sizeof(first)) != 0)
			r = ctl_fail("%s: does not have the key of the others",
				     c->nodes[i].ctl.admin);
	}
	return r;
}

/* The new key, and all that some node writes with now. */
static int probe_all(const struct cluster *c, const uint8_t id[KEKD_KEY_ID])
{
	int r = probe_turn(c, id);

	for (size_t i = 0; r == 0 && i < c->n; i++) {
		const struct admin_key *active = active_at(c, &c->nodes[i]);

		r = active ? probe_turn(c, active->id) : 0;
	}
	if (r == 0)
		printf("all %zu nodes open what the others write\n", c->n);
	return r;
}

static uint32_t next_number(const struct cluster *c)
{
	uint32_t max = 0;

	for (size_t i = 0; i < c->n; i++)
		for (size_t j = 0; j < c->nodes[i].keys.n; j++)
			if (strcmp(c->nodes[i].keys.v[j].name, c->name) == 0 &&
			    c->nodes[i].keys.v[j].activation > max)
				max = c->nodes[i].keys.v[j].activation;
	return max + 1;
}

static int activate(struct cluster *c, const uint8_t id[KEKD_KEY_ID], uint32_t number)
{
	struct admin_request req = { .version = ADMIN_VERSION, .verb = ADMIN_KEY_ACTIVATE };
	struct admin_reply end;
	int r = 0;

	memcpy(req.id, id, KEKD_KEY_ID);
	req.activation = number;
	for (size_t i = 0; r == 0 && i < c->n; i++) {
		const struct admin_key *key = key_at(&c->nodes[i], id);

		if (key && is(c, key, "active") && key->activation == number)
			continue;
		r = ctl_ask(&c->nodes[i].ctl, &req, NULL, NULL, &end);
		if (r == 0)
			printf("activated on %s\n", c->nodes[i].ctl.admin);
	}
	return r;
}

static int rotate(struct cluster *c)
{
	uint8_t id[KEKD_KEY_ID];
	uint32_t number;
	int r;

	r = look(c);
	if (r == 0)
		r = choose(c, id, &number);
	if (r != 0 || c->dry_run)
		return r;
	r = share_all(c, id);
	if (r == 0)
		r = probe_all(c, id);
	if (r == 0)
		r = activate(c, id, number != 0 ? number : next_number(c));
	if (r != 0)
		ctl_fail("not finished; nothing is lost: run the same command again");
	return r;
}

int ctl_rotate(const struct ctl *ctl, int argc, char **argv)
{
	_cleanup_(cluster_clear) struct cluster c = { .dry_run = ctl->dry_run };

	if (argc != 1 || strlen(argv[0]) > KEKD_KEY_NAME_MAX || !ctl->peers)
		return ctl_usage(
			"rotate takes the name of a key, and --peers with the admin sockets "
			"of all nodes");
	c.name = argv[0];
	return parse_peers(ctl, &c) != 0 ? 2 : rotate(&c);
}
