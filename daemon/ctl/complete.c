/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kekctl rotate NAME --complete: a rotation through all its steps.
 *
 *   a key is staged         it becomes active, when every member opens it
 *   one is decrypt-only     nobody writes with it for five minutes, all is written anew, it is marked, etcd is read at
 *                           the mark, it is retired
 *   one is retired          after rotation.keepRetired it is marked, etcd is read, it is destroyed
 *   none of that            a key is staged, if the active one is due
 *
 * There is no state but the keyset's: one step is made, and then the keyset is looked at again. So the command may be
 * killed anywhere and typed again on any node, and several may run at once: all rules are the keeper's, which refuses what
 * another node has done meanwhile. What reencrypt remembers (--state) saves it time, nothing else.
 *
 * It waits for nothing unless it is told to (--wait): whoever runs it by a timer comes again.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "daemon/base/log.h"
#include "daemon/chain/config.h"
#include "daemon/ctl/reencrypt.h"
#include "daemon/ctl/scan.h"

#define COMPLETE_WAITS 5 /* the exit status */

/* What a step returns beside 0 (look again) and 1 (it failed, and that was said). */
enum {
	STEP_WAITS = 2, /* for what ->waits says */
	STEP_OVERTAKEN, /* by a change that another node has made: look again in a moment */
	STEP_NOTHING,   /* there is nothing to do */
};

/* Bounds that only a fault reaches: others seldom change a keyset, and nobody writes values that need the old key. */
#define OVERTAKEN_MAX  20
#define MARKS_MAX      3
#define REWRITINGS_MAX 3

#define RESOURCES_MAX 64
#define NS_PER_S      INT64_C(1000000000)

struct complete {
	const struct ctl *ctl;
	const char *name;
	const char *file; /* kekd.yaml */
	struct config *conf;
	time_t patience; /* --wait, for one thing */
	time_t until; /* by CLOCK_BOOTTIME: when it does not wait any longer for the present one */

	struct ctl_keys keys; /* as they were looked at */
	char node[64];        /* this one */
	bool carried;         /* by etcd */
	bool current;         /* etcd was seen to have what this node holds */
	uint64_t generation;  /* of that */
	size_t members;       /* of it */

	char waits[512]; /* for whom, and what is kept yet */
	char said[512];
	unsigned int overtaken, marks, rewritings;
	bool under_way;       /* a rotation was found */
	bool stale;           /* etcd has values that need the key */
	json_t *steps;        /* that were made, for the record */
	struct board_key key; /* that a change has answered with */
};

static time_t complete_seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return ts.tv_sec;
}

/* Put the step into the record, with @more, and tell people. */
static void step_made(struct complete *c, const char *what, const struct board_key *key,
		      json_t *more)
{
	char id[KEY_ID_TEXT];
	json_t *step;

	key_id_format(&key->info, id);
	step = json_pack("{s:s, s:s, s:s}", "step", what, "key", key->info.label, "keyId", id);
	if (more)
		json_object_update(step, more);
	json_decref(more);
	json_array_append_new(c->steps, step);
	c->until = complete_seconds() + c->patience;
	printf("%s: key %s: %s\n", c->name, key->info.label, what);
	fflush(stdout);
}

static void complete_key(void *ctx, const struct board_key *key)
{
	((struct complete *)ctx)->key = *key;
}

/*
 * One change, tried once. If the keyset has changed since it was read, the keeper refuses a change that the new keyset
 * does not need.
 */
static int change_try(struct complete *c, struct admin_request *req)
{
	const struct ctl_exchange x = { .req = req, .each = complete_key, .ctx = c };
	struct admin_reply end;

	req->version = ADMIN_VERSION;
	if (ctl_exchange(c->ctl, &x, &end) != 0)
		return 1;
	if (end.r == 0) {
		c->overtaken = 0;
		return 0;
	}
	snprintf(c->waits, sizeof(c->waits), "%s", *end.text ? end.text : errno_text(end.r));
	if (end.r == -EINPROGRESS)
		return STEP_WAITS;
	if ((end.r == -EALREADY || end.r == -EPERM || end.r == -EAGAIN || end.r == -ENOKEY ||
	     end.r == -EEXIST) &&
	    c->overtaken++ < OVERTAKEN_MAX)
		return STEP_OVERTAKEN;
	return ctl_fail("%s", c->waits);
}

/* The same, as a step that is called @what. */
static int change_step(struct complete *c, struct admin_request *req, const char *what)
{
	int r = change_try(c, req);

	if (r == 0)
		step_made(c, what, &c->key, NULL);
	return r;
}

static struct admin_request request_of(const struct board_key *key, enum admin_verb verb)
{
	struct admin_request req = { .verb = verb };

	memcpy(req.id, key->info.id, sizeof(req.id));
	return req;
}

/* The first one of the name in that state that is there, in the keyset's order. */
static const struct board_key *find(const struct complete *c, enum key_state state)
{
	for (size_t i = 0; i < c->keys.n; i++)
		if (strcmp(c->keys.v[i].info.name, c->name) == 0 &&
		    c->keys.v[i].info.state == state)
			return &c->keys.v[i];
	return NULL;
}

static bool is_due(const struct complete *c, const struct board_key *active)
{
	const struct config_rotation *r = &c->conf->rotation;
	int64_t age = (int64_t)time(NULL) - (int64_t)active->info.created;

	/* Each member counts its own messages, and has its share. */
	return (r->max_age > 0 && age >= r->max_age / NS_PER_S) ||
	       active->encryptions >= r->max_encryptions / (c->members > 0 ? c->members : 1);
}

/* --- who is quiet -------------------------------------------------------------------------------- */

struct quiet {
	struct complete *c;
	const char *label; /* of the key, or NULL */
	size_t members, quiet;
	char busy[64]; /* a member that is not */
};

static void quiet_cluster(void *ctx, const struct admin_cluster *cluster)
{
	struct quiet *q = ctx;

	q->c->carried = cluster->carried;
	q->c->current = cluster->current && !cluster->away;
	q->c->generation = cluster->generation;
	snprintf(q->c->node, sizeof(q->c->node), "%s", cluster->node);
}

static void quiet_member(void *ctx, const struct admin_member *m _unused_)
{
	((struct quiet *)ctx)->members++;
}

static void quiet_key(void *ctx, const struct admin_member_key *key)
{
	struct quiet *q = ctx;

	if (!q->label || strcmp(key->label, q->label) != 0)
		return;
	if (key->quiet && !key->writes)
		q->quiet++;
	else
		snprintf(q->busy, sizeof(q->busy), "%s", key->member);
}

static int quiet_ask(struct complete *c, struct quiet *q)
{
	const struct admin_request req = { .version = ADMIN_VERSION, .verb = ADMIN_CLUSTER_STATUS };
	const struct ctl_exchange x = { .req = &req,
					.cluster = quiet_cluster,
					.member = quiet_member,
					.member_key = quiet_key,
					.ctx = q };
	struct admin_reply end;
	int r;

	q->c = c;
	r = ctl_ask_with(c->ctl, &x, &end);
	c->members = q->members;
	return r;
}

/*
 * Is it of use to rewrite, and to ask for the mark? The keeper decides that, when it is asked for the mark. This question
 * only spares it some requests, and the audit their lines.
 */
static int all_quiet(struct complete *c, const struct board_key *key)
{
	struct quiet q = { .label = key->info.label };

	if (quiet_ask(c, &q) != 0)
		return 1;
	if (q.quiet == q.members)
		return 0;
	snprintf(
		c->waits, sizeof(c->waits),
		*q.busy ? "node %2$s has answered with key %1$s within the last five minutes, or was "
			  "started since"
			: "not every member has said that it is quiet about key %1$s: see `kekctl cluster "
			  "status`%2$s",
		key->info.label, q.busy);
	return STEP_WAITS;
}

/* --- rewriting, mark and evidence ---------------------------------------------------------------- */

/* What --resource has, or kekd knows; caller frees. NULL (said). */
static char *resources_of(const struct complete *c)
{
	const struct board_key *active = find(c, KEY_ACTIVE);
	char id[KEY_ID_TEXT] = "", *list;

	if (active)
		key_id_format(&active->info, id);
	list = c->ctl->resource ? strdup(c->ctl->resource) : reencrypt_resources_of(c->ctl, id);
	if (list && *list)
		return list;
	free(list);
	ctl_fail(
		"no resource of kekd's EncryptionConfiguration is written with key \"%s\": name them, "
		"--resource secrets,RESOURCE.GROUP",
		c->name);
	return NULL;
}

/* Values that could not be rewritten are named. The scan finds out whether they need the key. */
static int complete_rewrite(struct complete *c, const struct board_key *old)
{
	_cleanup_free_ char *list = resources_of(c);
	struct rewrite_counts counts = { 0 };
	char *argv[RESOURCES_MAX + 1] = { NULL }, *rest;
	struct ctl ctl = *c->ctl;
	bool done = false;
	int argc = 0;

	if (!list)
		return 1;
	for (char *one = strtok_r(list, ",", &rest); one; one = strtok_r(NULL, ",", &rest)) {
		if (argc == RESOURCES_MAX)
			return ctl_fail("more than %d resources: name them with wildcards",
					RESOURCES_MAX);
		argv[argc++] = one;
	}
	ctl.json = false;
	if (reencrypt_run(&ctl, argc, argv, &counts, &done) != 0 && !done)
		return 1;
	c->rewritings++;
	c->stale = false;
	step_made(c, "values are rewritten", old,
		  json_pack("{s:I, s:I, s:I, s:I}", "rewritten", (json_int_t)counts.rewritten,
			    "current", (json_int_t)counts.current, "gone", (json_int_t)counts.gone,
			    "failed", (json_int_t)counts.failed));
	return 0;
}

static int mark(struct complete *c, const struct board_key *key)
{
	struct admin_request req = request_of(key, ADMIN_KEY_MARK);
	int r = change_try(c, &req);

	if (r != 0)
		return r;
	c->marks++;
	step_made(c, "marked", &c->key,
		  json_pack("{s:I}", "generation", (json_int_t)c->key.info.marked));
	return 0;
}

/* Values need the key. If it opens them, they are rewritten once more. */
static int needed(struct complete *c, const struct board_key *key)
{
	if (key->info.state == KEY_RETIRED)
		return ctl_fail(
			"values need key %s, which is retired: `kekctl key reopen %s`, then "
			"this command again",
			key->info.label, key->info.label);
	if (c->rewritings >= REWRITINGS_MAX)
		return ctl_fail(
			"values need key %s although all was rewritten: `kekctl scan --etcd` "
			"says which; are they of resources that --resource does not name?",
			key->info.label);
	c->stale = true;
	return 0;
}

/* Scan the etcd that has the mark, and retire or destroy the key if no value needs it. */
static int complete_judge(struct complete *c, const struct board_key *key, enum admin_verb verb)
{
	struct admin_request req = request_of(key, verb);
	struct ctl ctl = *c->ctl;
	char id[KEY_ID_TEXT];
	int r;

	key_id_format(&key->info, id);
	ctl.etcd = true;
	ctl.uses = id;
	ctl.resource = NULL;
	ctl.json = false;
	r = scan_evidence(&ctl, ctl.endpoints ? NULL : c->file, &req.proof);
	if (r == SCAN_STALE)
		return needed(c, key);
	/* etcd forgets the revision of the mark within minutes, and another run may have made the mark. Then mark anew. */
	if (r != 0)
		return r != SCAN_UNREADABLE && c->marks < MARKS_MAX ? mark(c, key) : 1;
	req.flags = ADMIN_PROOF;
	memcpy(req.name, key->info.name, sizeof(req.name));
	r = change_try(c, &req);
	if (r != 0)
		return r;
	step_made(c, verb == ADMIN_KEY_RETIRE ? "retired" : "destroyed", &c->key,
		  json_pack("{s:I, s:I, s:s}", "revision", (json_int_t)req.proof.revision,
			    "generation", (json_int_t)req.proof.generation, "node", c->node));
	printf("%s: at revision %" PRIu64 " of etcd no value needed key %s\n", c->name,
	       req.proof.revision, key->info.label);
	c->marks = 0;
	return 0;
}

static int finish_old(struct complete *c, const struct board_key *key)
{
	int r;

	if (key->info.marked > 0 && !c->stale)
		return complete_judge(c, key, ADMIN_KEY_RETIRE);
	r = all_quiet(c, key);
	if (r == 0 && (c->rewritings == 0 || c->stale))
		r = complete_rewrite(c, key);
	return r == 0 ? mark(c, key) : r;
}

/* Asks the keeper without evidence: if it refuses only for the want of it, nothing else is in the way. */
static int complete_is_kept(struct complete *c, const struct board_key *key, bool *ret)
{
	struct admin_request req = request_of(key, ADMIN_KEY_DESTROY);
	const struct ctl_exchange x = { .req = &req };
	struct admin_reply end;

	req.version = ADMIN_VERSION;
	req.flags = ADMIN_DRY_RUN;
	memcpy(req.name, key->info.name, sizeof(req.name));
	if (ctl_exchange(c->ctl, &x, &end) != 0)
		return 1;
	snprintf(c->waits, sizeof(c->waits), "%s", end.text);
	if (end.r == -EINPROGRESS)
		return STEP_WAITS;
	if (end.r != -EAGAIN && end.r != -EBUSY)
		return ctl_refused(&end);
	*ret = end.r == -EBUSY;
	return 0;
}

static int finish_retired(struct complete *c)
{
	for (size_t i = 0; i < c->keys.n; i++) {
		const struct board_key *key = &c->keys.v[i];
		bool kept = true;
		int r;

		if (strcmp(key->info.name, c->name) != 0 || key->info.state != KEY_RETIRED)
			continue;
		r = complete_is_kept(c, key, &kept);
		if (r != 0)
			return r;
		if (!kept)
			return key->info.marked == 0 ? mark(c, key)
						     : complete_judge(c, key, ADMIN_KEY_DESTROY);
	}
	return STEP_NOTHING;
}

/* --- where it stands ----------------------------------------------------------------------------- */

static int next(struct complete *c)
{
	struct admin_request req;
	const struct board_key *staged, *old, *active;
	struct quiet q = { 0 };
	int r;

	c->waits[0] = '\0';
	ctl_keys_clear(&c->keys);
	if (ctl_keys_get(c->ctl, &c->keys) != 0)
		return 1;
	staged = find(c, KEY_STAGED);
	old = find(c, KEY_DECRYPT_ONLY);
	active = find(c, KEY_ACTIVE);
	if (!active)
		return ctl_fail("no key \"%s\" is active, so there is nothing to rotate from: see "
				"`kekctl key list` and `kekctl key create`",
				c->name);
	c->under_way = c->under_way || staged || old;
	if (staged) {
		req = request_of(staged, ADMIN_KEY_ACTIVATE);
		return change_step(c, &req, "active");
	}
	if (old)
		return finish_old(c, old);
	r = finish_retired(c);
	if (r != STEP_NOTHING)
		return r;
	if (!c->under_way && (c->ctl->now || is_due(c, active))) {
		req = (struct admin_request){ .verb = ADMIN_KEY_STAGE,
					      .flags = c->ctl->portable ? ADMIN_PORTABLE : 0 };
		memcpy(req.name, c->name, strlen(c->name) + 1);
		return change_step(c, &req, "staged");
	}
	/* There is nothing to do only if this node has the keyset that etcd has. It hears of a newer one within seconds. */
	if (quiet_ask(c, &q) != 0)
		return 1;
	if (c->current)
		return STEP_NOTHING;
	snprintf(c->waits, sizeof(c->waits),
		 "this node has not seen what etcd has: see `kekctl cluster status`");
	return STEP_WAITS;
}

static int steps_make(struct complete *c)
{
	const struct timespec moment = { .tv_nsec = 200000000 }, second = { .tv_sec = 1 };
	int r;

	for (;;) {
		r = next(c);
		switch (r) {
		case 0:
			break;
		case STEP_OVERTAKEN:
			nanosleep(&moment, NULL);
			break;
		case STEP_WAITS:
			if (complete_seconds() >= c->until)
				return r;
			/* What it waits for is said whenever that changes. */
			if (strcmp(c->said, c->waits) != 0)
				fprintf(stderr, "kekctl: waiting: %s\n", c->waits);
			memcpy(c->said, c->waits, sizeof(c->said));
			nanosleep(&second, NULL);
			break;
		default:
			return r;
		}
	}
}

/* Print the record. @r is what next() has returned. Returns the exit status. */
static int complete_report(struct complete *c, int r)
{
	const char *word = r == STEP_WAITS                 ? "waits"
			   : r != STEP_NOTHING             ? "failed"
			   : json_array_size(c->steps) > 0 ? "complete"
							   : "nothing to do";
	int status = r == STEP_WAITS ? COMPLETE_WAITS : r == STEP_NOTHING ? 0 : 1;

	if (c->ctl->json)
		return ctl_print_json(json_pack(
			       "{s:s, s:s, s:s, s:s, s:I, s:O}", "name", c->name, "outcome", word,
			       "waitsFor", r == STEP_WAITS ? c->waits : "", "node", c->node,
			       "generation", (json_int_t)c->generation, "steps", c->steps)) != 0
			       ? 1
			       : status;
	if (r == STEP_WAITS)
		fprintf(stderr,
			"kekctl: it has to wait: %s. The same command goes on, here or on another node; "
			"--wait SECONDS stays\n",
			c->waits);
	else if (r == STEP_NOTHING)
		printf("%s: %s in generation %" PRIu64 " of the keyset%s%s\n", c->name, word,
		       c->generation, *c->waits ? ": " : "", c->waits);
	return status;
}

/* With --json standard output has only the record. What the steps print goes to standard error. */
static int run_aside(struct complete *c)
{
	int out = c->ctl->json ? dup(STDOUT_FILENO) : -1, r;

	if (c->ctl->json && (out < 0 || dup2(STDERR_FILENO, STDOUT_FILENO) < 0)) {
		r = ctl_fail("standard output: %s", errno_text(errno));
		if (out >= 0)
			close(out);
		return r;
	}
	r = steps_make(c);
	fflush(stdout);
	if (out >= 0) {
		dup2(out, STDOUT_FILENO);
		close(out);
	}
	return r;
}

static int complete_run(struct complete *c)
{
	struct quiet q = { 0 };

	if (scan_conf_read(c->file, &c->conf) != 0 || quiet_ask(c, &q) != 0)
		return 1;
	if (!c->carried)
		return ctl_fail(
			"etcd does not carry the keyset, so nothing can be marked in it: `kekctl "
			"cluster create`. Without, each step is a command of its own, see "
			"kekd-migration(7)");
	return complete_report(c, run_aside(c));
}

static void complete_clear(struct complete *c)
{
	ctl_keys_clear(&c->keys);
	config_free(c->conf);
	json_decref(c->steps);
}

static int wait_take(const char *text, time_t *ret)
{
	unsigned long n;
	char *end;

	if (!text)
		return 0;
	n = strtoul(text, &end, 10);
	if (*text < '0' || *text > '9' || *end || n > CTL_TIMEOUT_MAX)
		return ctl_usage("--wait takes a number of seconds from 0 to %d", CTL_TIMEOUT_MAX);
	*ret = (time_t)n;
	return 0;
}

int ctl_rotate(const struct ctl *ctl, int argc, char **argv)
{
	_cleanup_(complete_clear) struct complete c = { .ctl = ctl };

	if (argc < 1 || argc > 2)
		return ctl_usage("rotate takes the name of a key, and kekd.yaml");
	if (!ctl->complete)
		return ctl_usage(
			"rotate needs --complete, as it also retires and destroys keys that no value "
			"needs; `kekctl key rotate %s` makes a new key and nothing else",
			argv[0]);
	if (strlen(argv[0]) > KEKD_KEY_NAME_MAX)
		return ctl_usage("a key's name has at most %d characters", KEKD_KEY_NAME_MAX);
	if (wait_take(ctl->wait, &c.patience) != 0)
		return 2;
	c.until = complete_seconds() + c.patience;
	c.name = argv[0];
	c.file = argv[1] ?: CTL_CONFIG_DEFAULT;
	c.steps = json_array();
	return c.steps ? complete_run(&c) : ctl_fail("out of memory");
}
