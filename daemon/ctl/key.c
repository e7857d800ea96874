/* SPDX-License-Identifier: Apache-2.0 */
/* kekctl key …: what the keeper knows of its keys, and making one. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "daemon/base/log.h"
#include "daemon/ctl/ctl.h"
#include "daemon/dump/stored.h"

void ctl_time_text(uint64_t seconds, char ret[static 24])
{
	time_t t = (time_t)seconds;
	struct tm tm;

	if (!gmtime_r(&t, &tm) || strftime(ret, 24, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
		snprintf(ret, 24, "?");
}

json_t *ctl_key_json(const struct board_key *k)
{
	char created[24], used[24] = "", hash[KEY_ID_HASH_TEXT], id[KEY_ID_TEXT];

	ctl_time_text((uint64_t)k->info.created, created);
	if (k->last_used > 0)
		ctl_time_text(k->last_used, used);
	key_id_format(&k->info, id);
	key_id_hash(span_str(id), hash);
	return json_pack(
		"{s:s, s:s, s:s, s:b, s:s, s:s, s:s, s:s, s:i, s:s, s:b, s:s, s:I, s:I, s:s, s:I}",
		"name", k->info.name, "label", k->info.label, "alg", key_alg_name(&k->info), "weak",
		key_alg_is_weak(&k->info), "keyId", id, "keyIdHash", hash, "kind",
		key_kind_name(k->info.kind), "state", key_state_name(k->info.state), "activation",
		(int)k->info.activation, "created", created, "usable", k->usable == 0, "why",
		k->usable == 0 ? "" : errno_text(k->usable), "encryptions",
		(json_int_t)k->encryptions, "decryptions", (json_int_t)k->decryptions, "lastUsed",
		used, "marked", (json_int_t)k->info.marked);
}

void ctl_key_print(const struct board_key *k)
{
	char created[24], used[24] = "never", hash[KEY_ID_HASH_TEXT], id[KEY_ID_TEXT];

	ctl_time_text((uint64_t)k->info.created, created);
	if (k->last_used > 0)
		ctl_time_text(k->last_used, used);
	key_id_format(&k->info, id);
	key_id_hash(span_str(id), hash);
	printf("%s\n  name         %s\n  state        %s\n  usable       %s\n", k->info.label,
	       k->info.name, key_state_name(k->info.state),
	       k->usable == 0 ? "yes" : errno_text(k->usable));
	printf("  kind         %s\n  created      %s\n  last used    %s at the latest\n",
	       key_kind_name(k->info.kind), created, used);
	if (k->info.marked > 0)
		printf("  marked       in generation %llu of the keyset\n",
		       (unsigned long long)k->info.marked);
	printf("  encryptions  %llu\n  decryptions  %llu\n", (unsigned long long)k->encryptions,
	       (unsigned long long)k->decryptions);
	printf("  key_id       %s\n               %s\n", id, hash);
}

static void collect(void *ctx, const struct board_key *k)
{
	json_array_append_new(ctx, ctl_key_json(k));
}

static void print(void *ctx, const struct board_key *k)
{
	unsigned int *n = ctx;
	char created[24], id[KEY_ID_TEXT];

	key_id_format(&k->info, id);
	if ((*n)++ == 0)
		printf("%-16s %-12s %-9s %-20s %s\n", "NAME", "STATE", "KIND", "CREATED", "KEY_ID");
	ctl_time_text((uint64_t)k->info.created, created);
	printf("%-16s %-12s %-9s %-20s %s%s%s%s\n", k->info.name, key_state_name(k->info.state),
	       key_kind_name(k->info.kind), created, id, k->info.marked > 0 ? "  marked" : "",
	       k->usable == 0 ? "" : "  NOT USABLE: ", k->usable == 0 ? "" : errno_text(k->usable));
}

int ctl_key_list(const struct ctl *ctl, int argc, char **argv _unused_)
{
	struct admin_request req = { .version = ADMIN_VERSION, .verb = ADMIN_KEY_LIST };
	struct admin_reply end;
	unsigned int n = 0;
	json_t *list;
	int r;

	if (argc != 0)
		return ctl_usage("key list takes no argument");
	if (!ctl->json) {
		r = ctl_ask(ctl, &req, print, &n, &end);
		if (r == 0 && n == 0)
			puts("No keys yet; make one with: kekctl key create NAME");
		return r;
	}
	list = json_array();
	r = ctl_ask(ctl, &req, collect, list, &end);
	if (r != 0) {
		json_decref(list);
		return r;
	}
	return ctl_print_json(list);
}

static void created(void *ctx, const struct board_key *k)
{
	const struct ctl *ctl = ctx;
	char id[KEY_ID_TEXT];

	key_id_format(&k->info, id);
	if (ctl->json)
		ctl_print_json(ctl_key_json(k));
	else
		printf("created %s key \"%s\", %s, key_id %s\n", key_kind_name(k->info.kind),
		       k->info.name, key_state_name(k->info.state), id);
}

int ctl_key_create(const struct ctl *ctl, int argc, char **argv)
{
	struct admin_request req = { .verb = ADMIN_KEY_CREATE };

	if (argc != 1)
		return ctl_usage("key create takes the name of a key, as in the "
				 "EncryptionConfiguration's aesgcm.keys");
	if (strlen(argv[0]) > KEKD_KEY_NAME_MAX)
		return ctl_usage("a key's name has at most %d characters", KEKD_KEY_NAME_MAX);
	memcpy(req.name, argv[0], strlen(argv[0]) + 1);
	return ctl_key_change(ctl, &req, created);
}
