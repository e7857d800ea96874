/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kekctl metrics: everything that is counted, as Prometheus reads it. For node_exporter's textfile
 * collector, from a timer, where nothing is to listen for HTTP. A daemon that does not answer is
 * kekd_up 0 and exit status 1, and still valid text.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "daemon/ctl/ctl.h"
#include "daemon/obs/board.h"

static void key_add(void *ctx, const struct board_key *k)
{
	struct board *s = ctx;

	if (s->n_keys < KEKD_KEYS_MAX)
		s->keys[s->n_keys++] = *k;
}

static void status_add(struct board *s, const struct admin_status *st)
{
	memcpy(s->version, st->version, sizeof(s->version));
	memcpy(s->backend, st->backend, sizeof(s->backend));
	memcpy(s->custody, st->custody, sizeof(s->custody));
	snprintf(s->ring, sizeof(s->ring), "%.*s", (int)strcspn(st->ring, ","), st->ring);
	s->serving = st->workers_serving > 0;
	s->workers = st->workers;
	s->workers_serving = st->workers_serving;
	s->active = *st->key_id;
	s->server_starts = st->server_starts;
	s->sealed = st->sealed;
	s->key_limit = st->key_limit;
	s->escrow_tested = st->escrow_tested;
	s->root_rotating = *st->root_coming != '\0';
	memcpy(s->root_id, st->root_id, sizeof(s->root_id));
	memcpy(s->root_second, st->root_second, sizeof(s->root_second));
	s->started = st->started;
	s->generation = st->generation;
	s->now = (uint64_t)time(NULL);
	s->health = st->health;
}

static void cluster_add(void *ctx, const struct admin_cluster *c)
{
	struct board_cluster *to = &((struct board *)ctx)->cluster;

	to->configured = true;
	to->away = c->away;
	to->alarm = c->alarm;
	to->current = c->current;
	to->confirmed = c->confirmed;
	to->days = c->days;
	to->put_back = c->republished;
	to->pending = c->pending;
}

static void member_add(void *ctx, const struct admin_member *m)
{
	struct board_cluster *c = &((struct board *)ctx)->cluster;

	if (c->n_members == BOARD_MEMBERS_MAX)
		return;
	memcpy(c->members[c->n_members].name, m->name, sizeof(m->name));
	c->members[c->n_members].age = m->age;
	c->members[c->n_members].differs = m->differs;
	c->members[c->n_members++].answered = m->answered;
}

int ctl_board(const struct ctl *ctl, struct board *s)
{
	struct admin_request req = { .version = ADMIN_VERSION, .verb = ADMIN_STATUS };
	const struct ctl_exchange cluster = {
		.req = &req, .cluster = cluster_add, .member = member_add, .ctx = s
	};
	struct admin_reply end;

	if (ctl_ask(ctl, &req, NULL, NULL, &end) != 0)
		return 1;
	status_add(s, &end.status);
	req.verb = ADMIN_METRICS;
	if (ctl_ask(ctl, &req, NULL, NULL, &end) != 0)
		return 1;
	s->metrics = end.metrics;
	req.verb =
		ADMIN_CLUSTER_STATUS; /* refused where kekd.yaml has no `cluster:`, which is no error */
	if (ctl_exchange(ctl, &cluster, &end) != 0)
		return 1;
	req.verb = ADMIN_KEY_LIST;
	return ctl_ask(ctl, &req, key_add, s, &end);
}

int ctl_metrics(const struct ctl *ctl, int argc, char **argv _unused_)
{
	_cleanup_free_ struct board *s = calloc(1, sizeof(*s));

	if (argc != 0)
		return ctl_usage("metrics takes no argument");
	if (!s)
		return ctl_fail("out of memory");
	if (ctl_board(ctl, s) != 0) {
		puts("# HELP kekd_up 1 if the daemon answers.\n# TYPE kekd_up gauge\nkekd_up 0");
		return 1;
	}
	board_print(s, stdout);
	return 0;
}
