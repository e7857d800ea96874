/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A board as Prometheus' text format. Names of keys are printable and hold no quote or backslash
 * unless they were imported; those are escaped.
 */
#include <inttypes.h>

#include "daemon/obs/board.h"

static void board_head(FILE *to, const char *name, const char *type, const char *help)
{
	fprintf(to, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void gauge(FILE *to, const char *name, const char *help, uint64_t value)
{
	board_head(to, name, "gauge", help);
	fprintf(to, "%s %" PRIu64 "\n", name, value);
}

/* "NAME{LABEL="VALUE"" without the end: more labels may follow. */
static void label_start(FILE *to, const char *name, const char *label, const char *value)
{
	fprintf(to, "%s{%s=\"", name, label);
	for (const char *c = value; *c; c++) {
		if (*c == '\\' || *c == '"')
			putc('\\', to);
		if (*c == '\n')
			fputs("\\n", to);
		else
			putc(*c, to);
	}
	putc('"', to);
}

static void key_start(FILE *to, const char *name, const struct board_key *k)
{
	label_start(to, name, "key", k->info.label);
}

static void board_print_keys(const struct board *s, FILE *to)
{
	gauge(to, "kekd_key_encryptions_limit",
	      "Number of messages that this node encrypts with one key before it is due for rotation.",
	      s->key_limit);
	board_head(to, "kekd_key_usable", "gauge", "1 if the key is loaded and can be used.");
	for (uint32_t i = 0; i < s->n_keys; i++) {
		key_start(to, "kekd_key_usable", &s->keys[i]);
		fprintf(to, ",state=\"%s\"} %d\n", key_state_name(s->keys[i].info.state),
			s->keys[i].usable == 0);
	}
	board_head(to, "kekd_key_operations_total", "counter",
		   "Messages encrypted and decrypted, by key.");
	for (uint32_t i = 0; i < s->n_keys; i++) {
		key_start(to, "kekd_key_operations_total", &s->keys[i]);
		fprintf(to, ",direction=\"encrypt\"} %" PRIu64 "\n", s->keys[i].encryptions);
		key_start(to, "kekd_key_operations_total", &s->keys[i]);
		fprintf(to, ",direction=\"decrypt\"} %" PRIu64 "\n", s->keys[i].decryptions);
	}
	board_head(to, "kekd_key_age_seconds", "gauge", "Seconds since the key was made.");
	for (uint32_t i = 0; i < s->n_keys; i++) {
		uint64_t created = (uint64_t)s->keys[i].info.created;

		key_start(to, "kekd_key_age_seconds", &s->keys[i]);
		fprintf(to, "} %" PRIu64 "\n", s->now > created ? s->now - created : 0);
	}
}

static void print_state(const struct board *s, FILE *to)
{
	board_head(to, "kekd_build_info", "gauge",
		   "Always 1; its labels are the version, the backend and "
		   "the custody.");
	fprintf(to, "kekd_build_info{version=\"%s\",backend=\"%s\",custody=\"%s\"} 1\n", s->version,
		s->backend, s->custody);
	board_head(to, "kekd_ring_info", "gauge", "Always 1; its label is the event loop in use.");
	fprintf(to, "kekd_ring_info{ring=\"%s\"} 1\n", s->ring);
	gauge(to, "kekd_serving",
	      "1 if a server answers calls and the first chain has an "
	      "active key.",
	      s->serving && s->active && !s->sealed);
	gauge(to, "kekd_selftest_passed", "1 if the present server passed its known-answer tests.",
	      s->serving);
	gauge(to, "kekd_sealed", "1 while the root key is not loaded.", s->sealed);
	gauge(to, "kekd_escrow_tested_time_seconds",
	      "Time of the last test of the root key's shares that succeeded; 0 if none "
	      "is known.",
	      s->escrow_tested);
	board_head(to, "kekd_root_info", "gauge",
		   "Always 1; its label is the fingerprint of a root key "
		   "that is loaded.");
	if (*s->root_id)
		fprintf(to, "kekd_root_info{fingerprint=\"%s\"} 1\n", s->root_id);
	if (*s->root_second)
		fprintf(to, "kekd_root_info{fingerprint=\"%s\"} 1\n", s->root_second);
	gauge(to, "kekd_root_rotating",
	      "1 while a rotation of the root key is under way: the keyset is sealed "
	      "under two root keys.",
	      s->root_rotating);
	gauge(to, "kekd_probe_ok",
	      "1 if the last test encryption and decryption with each "
	      "active key succeeded.",
	      s->metrics.probes > 0 && s->metrics.probe_r == 0);
	gauge(to, "kekd_key_store_stalled",
	      "1 while a write to the key store's disk has been pending for more than 5 seconds.",
	      s->health.store_stalled);
	gauge(to, "kekd_key_uses_unrecorded",
	      "1 while the key store cannot record how much was encrypted.",
	      s->health.uses_unrecorded);
	gauge(to, "kekd_sockets_lost", "Number of sockets whose file was removed or replaced.",
	      s->health.sockets_lost);
	gauge(to, "kekd_reload_refused",
	      "1 if the last reload was refused, so that the daemon runs with an older "
	      "configuration than the files have.",
	      s->health.reload_refused);
	gauge(to, "kekd_names_without_key",
	      "Number of key names that a chain writes with and that have no usable active key.",
	      s->health.names_without);
	gauge(to, "kekd_keyset_generation", "Generation of the keyset; 0 if there is no keyset.",
	      s->generation);
	gauge(to, "kekd_keys_ahead", "Number of keys whose time of creation is in the future.",
	      s->health.keys_ahead);
	gauge(to, "kekd_workers", "Number of server processes that are configured.", s->workers);
	gauge(to, "kekd_workers_serving", "Number of server processes that answer calls.",
	      s->workers_serving);
	board_head(to, "kekd_server_starts_total", "counter",
		   "Server processes started since the keeper's start.");
	fprintf(to, "kekd_server_starts_total %" PRIu32 "\n", s->server_starts);
	gauge(to, "kekd_start_time_seconds", "Time at which the keeper started.", s->started);
}

static void print_members(const struct board_cluster *c, FILE *to)
{
	board_head(to, "kekd_cluster_member_age_seconds", "gauge",
		   "Seconds since this node last saw a new acknowledgement of the member.");
	for (uint32_t i = 0; i < c->n_members; i++) {
		if (c->members[i].age == BOARD_NEVER)
			continue;
		label_start(to, "kekd_cluster_member_age_seconds", "node", c->members[i].name);
		fprintf(to, "} %" PRIu64 "\n", c->members[i].age);
	}
	board_head(to, "kekd_cluster_member_acknowledged", "gauge",
		   "1 if the member has acknowledged the keyset that this node holds.");
	for (uint32_t i = 0; i < c->n_members; i++) {
		label_start(to, "kekd_cluster_member_acknowledged", "node", c->members[i].name);
		fprintf(to, "} %d\n", c->members[i].answered);
	}
	board_head(to, "kekd_cluster_member_config_differs", "gauge",
		   "1 if the member's chains or rotation settings differ from this node's.");
	for (uint32_t i = 0; i < c->n_members; i++) {
		label_start(to, "kekd_cluster_member_config_differs", "node", c->members[i].name);
		fprintf(to, "} %d\n", c->members[i].differs);
	}
}

static void print_cluster(const struct board_cluster *c, FILE *to)
{
	if (!c->configured)
		return;
	gauge(to, "kekd_cluster_etcd_up", "1 if etcd answers.", !c->away);
	gauge(to, "kekd_cluster_current",
	      "1 if the keyset in etcd is the one that this node "
	      "holds.",
	      c->current);
	gauge(to, "kekd_cluster_confirmed",
	      "1 if this node has read etcd since its start and may "
	      "encrypt.",
	      c->confirmed);
	gauge(to, "kekd_cluster_alarm",
	      "1 if a person has to act; kekctl cluster status says "
	      "on what.",
	      c->alarm);
	board_head(to, "kekd_cluster_put_back_total", "counter",
		   "How often etcd had lost changes of the keyset and a member put them back.");
	fprintf(to, "kekd_cluster_put_back_total %" PRIu64 "\n", c->put_back);
	gauge(to, "kekd_cluster_change_pending_seconds",
	      "Seconds for which a change has been waiting for etcd; "
	      "0 if none waits.",
	      c->pending == BOARD_NEVER ? 0 : c->pending);
	board_head(to, "kekd_cluster_certificate_days", "gauge",
		   "Days until the client certificate for etcd expires; -1 if it has expired.");
	if (c->days != INT32_MAX)
		fprintf(to, "kekd_cluster_certificate_days %" PRId32 "\n", c->days);
	print_members(c, to);
}

void board_print(const struct board *s, FILE *to)
{
	gauge(to, "kekd_up", "1 if the daemon answers.", 1);
	print_state(s, to);
	print_cluster(&s->cluster, to);
	metrics_print(&s->metrics, to);
	board_print_keys(s, to);
}
