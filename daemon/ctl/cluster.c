/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kekctl cluster …: a keyset that etcd carries. All rules are the keeper's. A change that has to wait for members or
 * for etcd is asked for again until it is made, so it may be interrupted and taken up on any node.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "daemon/base/log.h"
#include "daemon/ctl/ctl.h"

#define CLEAR "\033[H\033[2J"

static int cluster_ask(const struct ctl *ctl, struct admin_request *req)
{
	const struct ctl_exchange x = { .req = req };
	struct admin_reply end;

	req->version = ADMIN_VERSION;
	if (ctl_change(ctl, &x, NULL, &end) != 0)
		return 1;
	if (end.r < 0)
		return ctl_refused(&end);
	if (*end.text)
		fprintf(stderr, "kekctl: %s\n", end.text);
	return 0;
}

int ctl_cluster_create(const struct ctl *ctl, int argc, char **argv _unused_)
{
	struct admin_request req = { .verb = ADMIN_CLUSTER_CREATE };

	if (argc != 0)
		return ctl_usage("cluster create takes no argument");
	return cluster_ask(ctl, &req);
}

int ctl_cluster_join(const struct ctl *ctl, int argc, char **argv _unused_)
{
	struct admin_request req = { .verb = ADMIN_CLUSTER_JOIN };

	if (argc != 0)
		return ctl_usage("cluster join takes no argument");
	req.flags = (ctl->merge ? ADMIN_MERGE : 0U) | (ctl->discard ? ADMIN_DISCARD : 0U);
	return cluster_ask(ctl, &req);
}

int ctl_cluster_remove(const struct ctl *ctl, int argc, char **argv)
{
	struct admin_request req = { .verb = ADMIN_KEYSET_REMOVE };

	if (argc != 1 || strlen(argv[0]) >= sizeof(req.name))
		return ctl_usage("cluster remove takes the names of members, separated by commas");
	memcpy(req.name, argv[0], strlen(argv[0]) + 1);
	req.flags = ctl->dead ? ADMIN_DEAD : 0;
	return cluster_ask(ctl, &req);
}

int ctl_cluster_serve(const struct ctl *ctl, int argc, char **argv _unused_)
{
	struct admin_request req = { .verb = ADMIN_CLUSTER_SERVE };

	if (argc != 0)
		return ctl_usage("cluster serve takes no argument");
	if (!ctl->unconfirmed)
		return ctl_usage(
			"cluster serve needs --unconfirmed: this node's disk may be an earlier one, and "
			"other members may have retired what it would write with");
	return cluster_ask(ctl, &req);
}

/* --- status ------------------------------------------------------------------------------------ */

struct cluster_view {
	const struct ctl *ctl;
	struct admin_cluster cluster;
	struct admin_member members[64];
	size_t n_members;
	struct admin_member_key *keys;
	size_t n_keys;
	bool full;
	struct ctl_keys list;
};

static void view_cluster(void *ctx, const struct admin_cluster *cluster)
{
	((struct cluster_view *)ctx)->cluster = *cluster;
}

static void view_member(void *ctx, const struct admin_member *m)
{
	struct cluster_view *v = ctx;

	if (v->n_members < ARRAY_SIZE(v->members))
		v->members[v->n_members++] = *m;
}

static void view_key(void *ctx, const struct admin_member_key *key)
{
	struct cluster_view *v = ctx;
	struct admin_member_key *keys = reallocarray(v->keys, v->n_keys + 1, sizeof(*keys));

	if (!keys) {
		v->full = true;
		return;
	}
	keys[v->n_keys++] = *key;
	v->keys = keys;
}

static void view_clear(struct cluster_view *v)
{
	free(v->keys);
	ctl_keys_clear(&v->list);
}

static void ago(uint64_t seconds, char ret[static 32])
{
	if (seconds == ADMIN_NEVER)
		snprintf(ret, 32, "never");
	else
		snprintf(ret, 32, "%" PRIu64 " s ago", seconds);
}

static void print_view_member(const struct cluster_view *v, const struct admin_member *m)
{
	char heard[32];

	ago(m->age, heard);
	printf("  %-16s %-8s generation %-5" PRIu64 " %s", m->name, m->state, m->generation,
	       m->self       ? "this node"
	       : m->mute     ? "NOT HEARD for ten minutes: every change waits for it"
	       : m->answered ? "has acknowledged"
			     : "has not acknowledged yet");
	if (!m->self)
		printf(", heard %s", heard);
	if (m->differs)
		printf(", its configuration DIFFERS from this node's: compare the EncryptionConfiguration and "
		       "`rotation:`");
	puts("");
	for (size_t i = 0; i < v->n_keys; i++) {
		const struct admin_member_key *k = &v->keys[i];

		if (strcmp(k->member, m->name) == 0)
			printf("    %-46s %s%s%s\n", k->label,
			       k->opens == 0 ? "opens" : errno_text(k->opens),
			       k->writes ? ", writes" : "", k->quiet ? ", quiet" : "");
	}
}

/*
 * Where a rotation stands, by what the keyset has of it, and what its next step is. The steps are those of complete.c. The
 * keeper decides whether a step may be made, when it is asked for it.
 */
struct standstill {
	const char *next;
	bool (*missing)(const struct admin_member_key
				*k); /* of a member: it is waited for; NULL: nobody is */
};

static bool opens_not(const struct admin_member_key *k)
{
	return k->opens != 0;
}

static bool is_busy(const struct admin_member_key *k)
{
	return !k->quiet || k->writes;
}

static bool stands_at(const struct board_key *k, struct standstill *ret)
{
	switch (k->info.state) {
	case KEY_STAGED:
		*ret = (struct standstill){ "it becomes active when every member opens it",
					    opens_not };
		return true;
	case KEY_DECRYPT_ONLY:
		if (k->info.marked > 0)
			*ret = (struct standstill){ "it is marked; etcd is read, and it is retired",
						    NULL };
		else
			*ret = (struct standstill){
				"when every member is quiet about it all is written anew and it is marked",
				is_busy
			};
		return true;
	case KEY_RETIRED:
		*ret = (struct standstill){ "it is kept for rotation.keepRetired", NULL };
		return true;
	default:
		return false;
	}
}

static bool waits_for(const struct cluster_view *v, const struct admin_member *m,
		      const struct board_key *key, const struct standstill *at)
{
	const struct admin_member_key *k = NULL;

	for (size_t i = 0; i < v->n_keys; i++)
		if (strcmp(v->keys[i].member, m->name) == 0 &&
		    strcmp(v->keys[i].label, key->info.label) == 0)
			k = &v->keys[i];
	return at->missing && (!k || at->missing(k));
}

static void print_rotation(const struct cluster_view *v, const struct board_key *key)
{
	struct standstill at;
	const char *before = "; it waits for";

	if (!stands_at(key, &at))
		return;
	printf("  rotation         key %s is %s: %s", key->info.label,
	       key_state_name(key->info.state), at.next);
	for (size_t i = 0; i < v->n_members; i++)
		if (waits_for(v, &v->members[i], key, &at)) {
			printf("%s %s", before, v->members[i].name);
			before = ",";
		}
	puts("");
}

static json_t *rotation_json(const struct cluster_view *v, const struct board_key *key)
{
	json_t *names = json_array();
	struct standstill at;

	if (!stands_at(key, &at)) {
		json_decref(names);
		return NULL;
	}
	for (size_t i = 0; i < v->n_members; i++)
		if (waits_for(v, &v->members[i], key, &at))
			json_array_append_new(names, json_string(v->members[i].name));
	return json_pack("{s:s, s:s, s:I, s:s, s:o}", "key", key->info.label, "state",
			 key_state_name(key->info.state), "marked", (json_int_t)key->info.marked,
			 "next", at.next, "waitsFor", names);
}

static void print_view(const struct cluster_view *v)
{
	const struct admin_cluster *c = &v->cluster;
	char answered[32], changed[24];

	ago(c->answered, answered);
	ctl_time_text(c->changed, changed);
	printf("node %s, keyset generation %" PRIu64 "%s%s, %s\n", c->node, c->generation,
	       c->generation > 0 ? " since " : "", c->generation > 0 ? changed : "",
	       !c->carried     ? "not carried by etcd"
	       : !c->confirmed ? "NOT READ from etcd since the start: reads values and writes none"
	       : c->current    ? "as etcd has it"
			       : "NOT as etcd has it");
	printf("  etcd             %s, answered %s, prefix %s\n", c->away ? "AWAY" : "there",
	       answered, c->prefix);
	if (c->days != INT32_MAX)
		printf("  certificate      %s%d days left\n", c->days < 0 ? "EXPIRED, " : "",
		       c->days);
	if (c->pending != ADMIN_NEVER)
		printf("  change           on its way to etcd for %" PRIu64 " s\n", c->pending);
	if (*c->text)
		printf("  %-16s %s\n", c->alarm ? "ALARM" : "note", c->text);
	if (c->republished > 0)
		printf("  etcd has lost changes since the start of kekd, %" PRIu64
		       " times; keys that open again: %s\n",
		       c->republished, *c->reopened ? c->reopened : "none");
	for (size_t i = 0; i < v->list.n; i++)
		print_rotation(v, &v->list.v[i]);
	for (size_t i = 0; i < v->n_members; i++)
		print_view_member(v, &v->members[i]);
}

static json_t *json_age(uint64_t seconds)
{
	return seconds == ADMIN_NEVER ? json_null() : json_integer((json_int_t)seconds);
}

static json_t *view_member_json(const struct cluster_view *v, const struct admin_member *m)
{
	json_t *keys = json_array();

	for (size_t i = 0; i < v->n_keys; i++) {
		const struct admin_member_key *k = &v->keys[i];

		if (strcmp(k->member, m->name) == 0)
			json_array_append_new(keys,
					      json_pack("{s:s, s:b, s:b, s:b}", "label", k->label,
							"opens", k->opens == 0, "writes",
							(int)k->writes, "quiet", (int)k->quiet));
	}
	return json_pack("{s:s, s:s, s:s, s:b, s:b, s:b, s:b, s:I, s:o, s:o}", "name", m->name,
			 "id", m->id, "state", m->state, "self", (int)m->self, "answered",
			 (int)m->answered, "notHeard", (int)m->mute, "configDiffers",
			 (int)m->differs, "generation", (json_int_t)m->generation, "heardSeconds",
			 json_age(m->age), "keys", keys);
}

static int print_view_json(const struct cluster_view *v)
{
	const struct admin_cluster *c = &v->cluster;
	json_t *members = json_array(), *rotation = json_array(), *one;
	char changed[24];

	ctl_time_text(c->changed, changed);
	for (size_t i = 0; i < v->n_members; i++)
		json_array_append_new(members, view_member_json(v, &v->members[i]));
	for (size_t i = 0; i < v->list.n; i++) {
		one = rotation_json(v, &v->list.v[i]);
		if (one)
			json_array_append_new(rotation, one);
	}
	return ctl_print_json(json_pack(
		"{s:s, s:s, s:I, s:b, s:b, s:b, s:b, s:b, s:o, s:o, s:o, s:I, s:s, s:s, s:o, s:s, s:o}",
		"node", c->node, "prefix", c->prefix, "generation", (json_int_t)c->generation,
		"carried", (int)c->carried, "confirmed", (int)c->confirmed, "current",
		(int)c->current, "away", (int)c->away, "alarm", (int)c->alarm, "answeredSeconds",
		json_age(c->answered), "pendingSeconds", json_age(c->pending), "certificateDays",
		c->days == INT32_MAX ? json_null() : json_integer(c->days), "putBack",
		(json_int_t)c->republished, "text", c->text, "reopened", c->reopened, "members",
		members, "changed", c->generation > 0 ? changed : "", "rotation", rotation));
}

static int show(const struct ctl *ctl)
{
	struct admin_request req = { .version = ADMIN_VERSION, .verb = ADMIN_CLUSTER_STATUS };
	_cleanup_(view_clear) struct cluster_view v = { .ctl = ctl };
	const struct ctl_exchange x = { .req = &req,
					.cluster = view_cluster,
					.member = view_member,
					.member_key = view_key,
					.ctx = &v };
	struct admin_reply end;

	if (ctl_ask_with(ctl, &x, &end) != 0)
		return 1;
	if (v.full)
		return ctl_fail("out of memory");
	if (v.cluster.generation > 0 && ctl_keys_get(ctl, &v.list) != 0)
		return 1;
	if (ctl->watch && !ctl->json)
		fputs(CLEAR, stdout);
	if (ctl->json)
		return print_view_json(&v);
	print_view(&v);
	return fflush(stdout) == 0 ? 0 : ctl_fail("cannot write: %s", errno_text(errno));
}

int ctl_cluster_status(const struct ctl *ctl, int argc, char **argv _unused_)
{
	const struct timespec pause = { .tv_sec = 1 };
	int r;

	if (argc != 0)
		return ctl_usage("cluster status takes no argument");
	do {
		r = show(ctl);
	} while (r == 0 && ctl->watch && nanosleep(&pause, NULL) == 0);
	return r;
}
