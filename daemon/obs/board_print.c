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

/* "NAME{key="LABEL"" without the end: more labels may follow. */
static void key_start(FILE *to, const char *name, const struct board_key *k)
{
	fprintf(to, "%s{key=\"", name);
	for (const char *c = k->label; *c; c++) {
		if (*c == '\\' || *c == '"')
			putc('\\', to);
		if (*c == '\n')
			fputs("\\n", to);
		else
			putc(*c, to);
	}
	putc('"', to);
}

static void print_usable(const struct board *s, FILE *to)
{
	board_head(to, "kekd_key_usable", "gauge", "1 if the kernel still has the key.");
	for (uint32_t i = 0; i < s->n_keys; i++) {
		key_start(to, "kekd_key_usable", &s->keys[i]);
		fprintf(to, ",state=\"%s\"} %d\n", s->keys[i].state, s->keys[i].usable);
	}
}

static void print_operations(const struct board *s, FILE *to)
{
	board_head(to, "kekd_key_operations_total", "counter", "Messages by key.");
	for (uint32_t i = 0; i < s->n_keys; i++) {
		key_start(to, "kekd_key_operations_total", &s->keys[i]);
		fprintf(to, ",direction=\"encrypt\"} %" PRIu64 "\n", s->keys[i].encryptions);
		key_start(to, "kekd_key_operations_total", &s->keys[i]);
		fprintf(to, ",direction=\"decrypt\"} %" PRIu64 "\n", s->keys[i].decryptions);
	}
}

static void print_ages(const struct board *s, FILE *to)
{
	board_head(to, "kekd_key_age_seconds", "gauge", "Since the key was made.");
	for (uint32_t i = 0; i < s->n_keys; i++) {
		const struct board_key *k = &s->keys[i];

		key_start(to, "kekd_key_age_seconds", k);
		fprintf(to, "} %" PRIu64 "\n", s->now > k->created ? s->now - k->created : 0);
	}
}

static void board_print_keys(const struct board *s, FILE *to)
{
	gauge(to, "kekd_key_encryptions_limit",
	      "Messages under one key after which it is to be rotated.", s->key_limit);
	print_usable(s, to);
	print_operations(s, to);
	print_ages(s, to);
}

static void print_state(const struct board *s, FILE *to)
{
	board_head(to, "kekd_build_info", "gauge", "Version and backend.");
	fprintf(to, "kekd_build_info{version=\"%s\",backend=\"%s\"} 1\n", s->version, s->backend);
	board_head(to, "kekd_ring_info", "gauge", "The event loop in use.");
	fprintf(to, "kekd_ring_info{ring=\"%s\"} 1\n", s->ring);
	gauge(to, "kekd_serving", "1 if a server serves and the first chain has an active key.",
	      s->serving && s->active && !s->sealed);
	gauge(to, "kekd_selftest_passed", "1 if the server in place passed its known answers.",
	      s->serving);
	gauge(to, "kekd_sealed", "1 while the root key is not loaded.", s->sealed);
	gauge(to, "kekd_probe_ok", "1 if encryption and decryption with the active keys worked.",
	      s->metrics.probes > 0 && s->metrics.probe_r == 0);
	gauge(to, "kekd_workers", "Server processes that there should be.", s->workers);
	gauge(to, "kekd_workers_serving", "Server processes that serve.", s->workers_serving);
	board_head(to, "kekd_server_starts_total", "counter", "Server processes started.");
	fprintf(to, "kekd_server_starts_total %" PRIu32 "\n", s->server_starts);
	gauge(to, "kekd_start_time_seconds", "Start of the keeper.", s->started);
}

void board_print(const struct board *s, FILE *to)
{
	gauge(to, "kekd_up", "1 if the daemon answers.", 1);
	print_state(s, to);
	metrics_print(&s->metrics, to);
	board_print_keys(s, to);
}
