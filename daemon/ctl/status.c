/* SPDX-License-Identifier: Apache-2.0 */
/* kekctl status: one screen, or --json. Exit status 1 when the daemon does not serve. */
#include <stdio.h>
#include <time.h>

#include "daemon/ctl/ctl.h"

static int print_json(const struct admin_status *s, const char *hash)
{
	return ctl_print_json(json_pack(
		"{s:s, s:b, s:b, s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:i, s:i, s:i, s:I}", "version",
		s->version, "serving", (int)s->serving, "sealed", (int)s->sealed, "socket",
		s->socket, "backend", s->backend, "ring", s->ring, "rootKey", s->root, "keyId",
		s->key_id, "keyIdHash", hash, "keeperPid", (int)s->keeper_pid, "serverPid",
		(int)s->server_pid, "serverStarts", (int)s->server_starts, "keys", (int)s->keys,
		"started", (json_int_t)s->started));
}

static void print_text(const struct admin_status *s, const char *hash)
{
	char when[32] = "?";
	time_t t = (time_t)s->started;
	struct tm tm;

	if (gmtime_r(&t, &tm))
		strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &tm);
	printf("kekd %s, %s since %s\n", s->version, s->serving ? "serving" : "NOT serving", when);
	printf("  socket    %s\n", s->socket);
	printf("  backend   %s\n", s->backend);
	printf("  ring      %s\n", s->ring);
	printf("  root key  %s%s\n", s->root,
	       s->sealed ? ", SEALED: give it with kekctl unseal" : "");
	printf("  keys      %u\n", s->keys);
	printf("  key_id    %s\n", *s->key_id ? s->key_id : "none: no active key");
	if (*s->key_id)
		printf("            %s\n", hash);
	printf("  keeper    pid %d\n", s->keeper_pid);
	printf("  server    pid %d, start %u\n", s->server_pid, s->server_starts);
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
		r = print_json(&end.status, hash);
	else
		print_text(&end.status, hash);
	return r == 0 && end.status.serving && *end.status.key_id ? 0 : 1;
}
