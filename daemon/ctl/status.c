/* SPDX-License-Identifier: Apache-2.0 */
/* kekctl status: one screen, or --json. Exit status 1 when the daemon does not serve. */
#include <stdio.h>
#include <time.h>

#include "daemon/ctl/ctl.h"

static int32_t first_pid(const struct admin_status *s)
{
	for (uint32_t i = 0; i < s->workers && i < KEKD_WORKERS_MAX; i++)
		if (s->server_pids[i] > 0)
			return s->server_pids[i];
	return 0;
}

static json_t *pids(const struct admin_status *s)
{
	json_t *all = json_array();

	for (uint32_t i = 0; i < s->workers && i < KEKD_WORKERS_MAX; i++)
		if (s->server_pids[i] > 0)
			json_array_append_new(all, json_integer(s->server_pids[i]));
	return all;
}

static int status_print_json(const struct admin_status *s, const char *hash)
{
	return ctl_print_json(json_pack(
		"{s:s, s:b, s:b, s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:i, s:o, s:i, s:i, s:i, s:I, s:s, s:I, s:i, s:s}",
		"version", s->version, "serving", s->workers_serving > 0, "sealed", (int)s->sealed,
		"socket", s->socket, "backend", s->backend, "ring", s->ring, "rootKey", s->root,
		"keyId", s->key_id, "keyIdHash", hash, "keeperPid", (int)s->keeper_pid, "serverPid",
		(int)first_pid(s), "serverPids", pids(s), "workers", (int)s->workers,
		"serverStarts", (int)s->server_starts, "keys", (int)s->keys, "started",
		(json_int_t)s->started, "node", s->node, "generation", (json_int_t)s->generation,
		"members", (int)s->members, "keyset", s->keyset_text));
}

static void print_workers(const struct admin_status *s)
{
	printf("  servers   %u of %u serving, pid", s->workers_serving, s->workers);
	for (uint32_t i = 0; i < s->workers && i < KEKD_WORKERS_MAX; i++)
		if (s->server_pids[i] > 0)
			printf(" %d", s->server_pids[i]);
	printf(", starts %u\n", s->server_starts);
}

static void status_print_text(const struct admin_status *s, const char *hash)
{
	char when[32] = "?";
	time_t t = (time_t)s->started;
	struct tm tm;

	if (gmtime_r(&t, &tm))
		strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &tm);
	printf("kekd %s, %s since %s\n", s->version,
	       s->workers_serving > 0 ? "serving" : "NOT serving", when);
	printf("  socket    %s\n", s->socket);
	printf("  backend   %s\n", s->backend);
	printf("  ring      %s\n", s->ring);
	printf("  root key  %s%s\n", s->root,
	       s->sealed ? ", SEALED: give it with kekctl unseal" : "");
	if (s->generation > 0)
		printf("  keyset    generation %llu, %u key%s, %u member%s; this node is %s\n",
		       (unsigned long long)s->generation, s->keys, s->keys == 1 ? "" : "s",
		       s->members, s->members == 1 ? "" : "s", s->node);
	if (*s->keyset_text)
		printf("  keyset    %s\n", s->keyset_text);
	printf("  key_id    %s\n", *s->key_id ? s->key_id : "none: no active key");
	if (*s->key_id)
		printf("            %s\n", hash);
	printf("  keeper    pid %d\n", s->keeper_pid);
	if (s->workers == 1)
		printf("  server    pid %d, start %u\n", first_pid(s), s->server_starts);
	else
		print_workers(s);
}

int ctl_status(const struct ctl *ctl, int argc, char **argv _unused_)
{
	struct admin_request req = { .version = ADMIN_VERSION, .verb = ADMIN_STATUS };
	struct admin_reply end;
	char hash[72] = "";
	int r;

	if (argc != 0)
		return ctl_usage("status takes no argument");
	r = ctl_ask(ctl, &req, NULL, NULL, &end);
	if (r != 0)
		return r;
	if (*end.status.key_id)
		ctl_key_id_hash(end.status.key_id, hash);
	if (ctl->json)
		r = status_print_json(&end.status, hash);
	else
		status_print_text(&end.status, hash);
	return r == 0 && end.status.workers_serving > 0 && *end.status.key_id ? 0 : 1;
}
