/* SPDX-License-Identifier: Apache-2.0 */
/* kekctl status: one screen, or --json. Exit status 1 when the daemon does not serve. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "daemon/ctl/ctl.h"
#include "daemon/dump/stored.h"
#include "daemon/keys/escrow.h"

static int32_t first_pid(const struct admin_status *s)
{
	for (uint32_t i = 0; i < s->workers && i < KEKD_WORKERS_MAX; i++)
		if (s->server_pids[i] > 0)
			return s->server_pids[i];
	return 0;
}

/* Tell what is not well, and what to do about it. status and doctor give @put. */
void ctl_health(const struct board_health *h,
		void (*put)(void *ctx, const char *what, const char *cure), void *ctx)
{
	char text[160];

	if (h->sockets_lost > 0) {
		snprintf(text, sizeof(text),
			 "the file of %u socket%s was removed or replaced: no new client can "
			 "connect",
			 h->sockets_lost, h->sockets_lost == 1 ? "" : "s");
		put(ctx, text, "kekctl reload; journalctl -u kekd says which and why");
	}
	if (h->names_without > 0) {
		snprintf(text, sizeof(text), "%u chain%s no key to write with", h->names_without,
			 h->names_without == 1 ? " has" : "s have");
		put(ctx, text, "kekctl key list; kekctl key create NAME");
	}
	if (h->keys_unusable > 0) {
		snprintf(text, sizeof(text), "%u key%s cannot be used, and values may need %s",
			 h->keys_unusable, h->keys_unusable == 1 ? "" : "s",
			 h->keys_unusable == 1 ? "it" : "them");
		put(ctx, text, "kekctl key list says why; then kekctl key reload");
	}
	if (h->reload_refused)
		put(ctx,
		    "the last reload was refused: the daemon runs with an older "
		    "configuration than the files have",
		    "kekd --check; kekctl reload");
	if (h->store_stalled)
		put(ctx, "the disk of the key store does not answer: no key can be made or changed",
		    "see kernel log and free space of the key store's disk");
	if (h->uses_unrecorded)
		put(ctx, "more was encrypted than the key store could record",
		    "look after its disk");
	if (h->keys_ahead > 0) {
		snprintf(text, sizeof(text),
			 "%u key%s made at a time that the clock has not reached", h->keys_ahead,
			 h->keys_ahead == 1 ? " was" : "s were");
		put(ctx, text, "put the clock right, or kekctl key rotate NAME");
	}
}

static void put_text(void *ctx _unused_, const char *what, const char *cure)
{
	printf("  NOT WELL  %s: %s\n", what, cure);
}

static void put_json(void *ctx, const char *what, const char *cure _unused_)
{
	json_array_append_new(ctx, json_string(what));
}

static int status_print_json(const struct admin_status *s, const char *hash)
{
	json_t *pids = json_array(), *not_well = json_array();

	for (uint32_t i = 0; i < s->workers && i < KEKD_WORKERS_MAX; i++)
		if (s->server_pids[i] > 0)
			json_array_append_new(pids, json_integer(s->server_pids[i]));
	ctl_health(&s->health, put_json, not_well);
	return ctl_print_json(json_pack(
		"{s:s, s:b, s:b, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:i, s:o, s:i, s:i, s:i, s:I, s:s, s:I, s:i, s:s, s:I, s:s, s:s, s:s, s:s, s:s, s:o}",
		"version", s->version, "serving", s->workers_serving > 0, "sealed", (int)s->sealed,
		"socket", s->socket, "backend", s->backend, "custody", s->custody, "ring", s->ring,
		"rootKey", s->root, "rootKeyFingerprint", s->root_id, "sealedReason",
		s->sealed_text, "keyId", s->key_id, "keyIdHash", hash, "keeperPid",
		(int)s->keeper_pid, "serverPid", (int)first_pid(s), "serverPids", pids, "workers",
		(int)s->workers, "serverStarts", (int)s->server_starts, "keys", (int)s->keys,
		"started", (json_int_t)s->started, "node", s->node, "generation",
		(json_int_t)s->generation, "members", (int)s->members, "keyset", s->keyset_text,
		"escrowTested", (json_int_t)s->escrow_tested, "rootKeySecond", s->root_second,
		"rootKeyComing", s->root_coming, "rootKeyGoing", s->root_going, "rootKeyType",
		s->root_type, "rootKeySecondType", s->root_second_type, "notWell", not_well));
}

int64_t ctl_escrow_days(const struct admin_status *s)
{
	int64_t now = time(NULL), then = (int64_t)s->escrow_tested;

	if (then == 0)
		return -1;
	return now > then ? (now - then) / 86400 : 0;
}

/* Only for a root key that is kept somewhere. */
static void print_escrow(const struct admin_status *s)
{
	int64_t days = ctl_escrow_days(s);

	if (strcmp(s->root, "ephemeral") == 0)
		return;
	if (days < 0)
		puts("  escrow    not tested that this node knows of: kekctl root verify");
	else
		printf("  escrow    tested %" PRId64 " days ago%s\n", days,
		       days > ESCROW_DAYS ? ": kekctl root verify" : "");
}

static void print_root(const struct admin_status *s)
{
	printf("  root key  %s", s->root);
	if (*s->root_id)
		printf(", fingerprint %s, type %s", s->root_id, s->root_type);
	if (s->sealed)
		printf(", SEALED: %s", s->sealed_text);
	puts("");
	if (*s->root_second)
		printf("            and %s, type %s\n", s->root_second, s->root_second_type);
	if (*s->root_coming)
		printf("            being rotated from %s to %s: kekctl root rotate\n",
		       s->root_going, s->root_coming);
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
	printf("  custody   %s\n", s->custody);
	printf("  ring      %s\n", s->ring);
	print_root(s);
	print_escrow(s);
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
	if (s->workers == 1) {
		printf("  server    pid %d, start %u\n", first_pid(s), s->server_starts);
	} else {
		printf("  servers   %u of %u serving, pid", s->workers_serving, s->workers);
		for (uint32_t i = 0; i < s->workers && i < KEKD_WORKERS_MAX; i++)
			if (s->server_pids[i] > 0)
				printf(" %d", s->server_pids[i]);
		printf(", starts %u\n", s->server_starts);
	}
	ctl_health(&s->health, put_text, NULL);
}

int ctl_status(const struct ctl *ctl, int argc, char **argv _unused_)
{
	struct admin_request req = { .version = ADMIN_VERSION, .verb = ADMIN_STATUS };
	struct admin_reply end;
	char hash[KEY_ID_HASH_TEXT] = "";
	int r;

	if (argc != 0)
		return ctl_usage("status takes no argument");
	r = ctl_ask(ctl, &req, NULL, NULL, &end);
	if (r != 0)
		return r;
	if (*end.status.key_id)
		key_id_hash(span_str(end.status.key_id), hash);
	if (ctl->json)
		r = status_print_json(&end.status, hash);
	else
		status_print_text(&end.status, hash);
	return r == 0 && end.status.workers_serving > 0 && *end.status.key_id ? 0 : 1;
}
