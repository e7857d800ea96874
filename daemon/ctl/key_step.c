/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kekctl key …: the commands that take a key through its life, and the proof that all open.
 *
 * A key is named by its id, key_id or label, by the first eight or more digits of its id, or by its
 * name where only one key of that name can be meant. The keeper gets the id and nothing else, and
 * checks every step itself.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/base/log.h"
#include "daemon/ctl/ctl.h"
#include "daemon/ctl/proof.h"

#define PREFIX_MIN 8

void ctl_keys_clear(struct ctl_keys *keys)
{
	free(keys->v);
	*keys = (struct ctl_keys){ 0 };
}

static void keys_add(void *ctx, const struct board_key *key)
{
	struct ctl_keys *keys = ctx;
	struct board_key *v = reallocarray(keys->v, keys->n + 1, sizeof(*v));

	if (!v) {
		keys->full = true;
		return;
	}
	v[keys->n++] = *key;
	keys->v = v;
}

int ctl_keys_get(const struct ctl *ctl, struct ctl_keys *ret)
{
	struct admin_request req = { .version = ADMIN_VERSION, .verb = ADMIN_KEY_LIST };
	struct admin_reply end;
	int r;

	r = ctl_ask(ctl, &req, keys_add, ret, &end);
	return r == 0 && ret->full ? ctl_fail("out of memory") : r;
}

bool ctl_key_is_named(const struct key_info *key, const char *what)
{
	size_t len = strlen(what);
	char id[KEY_ID_TEXT];

	key_id_format(key, id);
	return strcmp(key->label, what) == 0 || strcmp(id, what) == 0 ||
	       (len >= PREFIX_MIN && len <= KEKD_KEY_ID_HEX && strncmp(id, what, len) == 0);
}

/* By what is unique for ever, or by a name if only one key of it is in one of @states (bits), which the command is about. */
static int choose(const struct ctl_keys *keys, const char *what, unsigned int states,
		  const struct board_key **ret)
{
	size_t exact = 0, by_name = 0;

	for (size_t i = 0; i < keys->n; i++) {
		if (ctl_key_is_named(&keys->v[i].info, what)) {
			exact++;
			*ret = &keys->v[i];
		}
	}
	for (size_t i = 0; exact == 0 && i < keys->n; i++) {
		if (strcmp(keys->v[i].info.name, what) == 0 &&
		    states >> keys->v[i].info.state & 1) {
			by_name++;
			*ret = &keys->v[i];
		}
	}
	if (exact == 1 || by_name == 1)
		return 0;
	if (exact == 0 && by_name == 0)
		return ctl_fail("no key \"%s\" that could be meant; see kekctl key list", what);
	return ctl_fail("\"%s\" may be any of %zu keys: give the id, see kekctl key list", what,
			exact + by_name);
}

static void print_step(void *ctx, const struct board_key *key)
{
	const struct ctl *ctl = ctx;
	char id[KEY_ID_TEXT];

	key_id_format(&key->info, id);
	if (ctl->json)
		ctl_print_json(ctl_key_json(key));
	else
		printf("%skey \"%s\" is %s, key_id %s\n", ctl->dry_run ? "would be: " : "",
		       key->info.name, key_state_name(key->info.state), id);
}

/* A change, and what is known of its key. */
struct step {
	struct admin_request *req;
	struct board_key key;
	bool has_key, waited;
};

static void step_key(void *ctx, const struct board_key *key)
{
	struct step *s = ctx;

	s->key = *key;
	s->has_key = true;
}

/* The new key is there and waits to become active: by its id, as the name may get another one meanwhile. */
static void step_again(void *ctx)
{
	struct step *s = ctx;
	bool makes = s->req->verb == ADMIN_KEY_CREATE || s->req->verb == ADMIN_KEY_ROTATE;

	s->waited = true;
	if (!makes || !s->has_key)
		return;
	s->req->verb = ADMIN_KEY_ACTIVATE;
	memcpy(s->req->id, s->key.info.id, sizeof(s->req->id));
}

/* As it is now, where another node has made the change that was waited for. */
static void step_look(const struct ctl *ctl, struct step *s)
{
	_cleanup_(ctl_keys_clear) struct ctl_keys keys = { 0 };

	if (ctl_keys_get(ctl, &keys) != 0)
		return;
	for (size_t i = 0; i < keys.n; i++)
		if (memcmp(keys.v[i].info.id, s->req->id, sizeof(s->req->id)) == 0)
			step_key(s, &keys.v[i]);
}

int ctl_key_change(const struct ctl *ctl, struct admin_request *req, ctl_each_fn *print)
{
	struct step s = { .req = req };
	const struct ctl_exchange x = { .req = req, .each = step_key, .ctx = &s };
	struct admin_reply end;

	req->version = ADMIN_VERSION;
	req->flags |= (ctl->dry_run ? ADMIN_DRY_RUN : 0U) | (ctl->force ? ADMIN_FORCE : 0U) |
		      (ctl->portable ? ADMIN_PORTABLE : 0U);
	if (ctl_change(ctl, &x, step_again, &end) != 0)
		return 1;
	if (s.waited && end.r == -EALREADY) {
		step_look(ctl, &s);
		end.r = 0;
		end.text[0] = '\0';
	}
	if (s.has_key)
		print((void *)(uintptr_t)ctl, &s.key);
	if (end.r < 0)
		return ctl_refused(&end);
	if (*end.text && !ctl->json)
		puts(end.text);
	return 0;
}

static int step_ask(const struct ctl *ctl, struct admin_request *req)
{
	return ctl_key_change(ctl, req, print_step);
}

static int name_request(const struct ctl *ctl, int argc, char **argv, enum admin_verb verb,
			const char *command)
{
	struct admin_request req = { .verb = verb };

	if (argc != 1)
		return ctl_usage("key %s takes the name of a key, as in the "
				 "EncryptionConfiguration's aesgcm.keys",
				 command);
	if (strlen(argv[0]) > KEKD_KEY_NAME_MAX)
		return ctl_usage("a key's name has at most %d characters", KEKD_KEY_NAME_MAX);
	memcpy(req.name, argv[0], strlen(argv[0]) + 1);
	return step_ask(ctl, &req);
}

int ctl_key_stage(const struct ctl *ctl, int argc, char **argv)
{
	return name_request(ctl, argc, argv, ADMIN_KEY_STAGE, "stage");
}

int ctl_key_rotate(const struct ctl *ctl, int argc, char **argv)
{
	return name_request(ctl, argc, argv, ctl->abort ? ADMIN_KEY_ABORT : ADMIN_KEY_ROTATE,
			    "rotate");
}

/* --proof: what kekctl scan wrote is for this key, and of which mark. */
static int proof_put(const struct ctl *ctl, const struct board_key *key, struct admin_request *req)
{
	if (!ctl->proof)
		return 0;
	req->flags |= ADMIN_PROOF;
	return proof_check(ctl->proof, key, &req->proof);
}

static int id_request(const struct ctl *ctl, int argc, char **argv, enum admin_verb verb,
		      unsigned int states)
{
	_cleanup_(ctl_keys_clear) struct ctl_keys keys = { 0 };
	struct admin_request req = { .verb = verb };
	const struct board_key *key;
	int r;

	if (argc != 1)
		return ctl_usage("this command takes one key: its id, key_id, label or name");
	r = ctl_keys_get(ctl, &keys);
	if (r == 0)
		r = choose(&keys, argv[0], states, &key);
	if (r == 0)
		r = proof_put(ctl, key, &req);
	if (r != 0)
		return r;
	memcpy(req.id, key->info.id, sizeof(req.id));
	return step_ask(ctl, &req);
}

int ctl_key_activate(const struct ctl *ctl, int argc, char **argv)
{
	return id_request(ctl, argc, argv, ADMIN_KEY_ACTIVATE, 1U << KEY_STAGED);
}

int ctl_key_mark(const struct ctl *ctl, int argc, char **argv)
{
	int r = id_request(ctl, argc, argv, ADMIN_KEY_MARK,
			   1U << KEY_DECRYPT_ONLY | 1U << KEY_RETIRED);

	if (r == 0 && !ctl->json && !ctl->dry_run)
		printf("It is evidence if etcd as it is from now on needs the key no more: kekctl scan "
		       "--etcd --uses %s --proof FILE\n",
		       argv[0]);
	return r;
}

int ctl_key_retire(const struct ctl *ctl, int argc, char **argv)
{
	return id_request(ctl, argc, argv, ADMIN_KEY_RETIRE, 1U << KEY_DECRYPT_ONLY);
}

int ctl_key_reopen(const struct ctl *ctl, int argc, char **argv)
{
	return id_request(ctl, argc, argv, ADMIN_KEY_REOPEN, 1U << KEY_RETIRED);
}

/* The name as the operator types it, without the line's end. */
static int name_typed(const struct ctl *ctl, const struct board_key *key, char *ret, size_t size)
{
	if (ctl->yes_destroy || ctl->dry_run) {
		snprintf(ret, size, "%s", ctl->yes_destroy ? ctl->yes_destroy : key->info.name);
		return 0;
	}
	if (!isatty(STDIN_FILENO))
		return ctl_fail("destroying a key needs its name typed: on a terminal, or as "
				"--yes-destroy NAME");
	fprintf(stderr,
		"Key %s is destroyed for ever, with every value that needs it.\nType its name: ",
		key->info.label);
	if (!fgets(ret, (int)size, stdin))
		return ctl_fail("nothing was destroyed");
	ret[strcspn(ret, "\n")] = '\0';
	return 0;
}

int ctl_key_destroy(const struct ctl *ctl, int argc, char **argv)
{
	_cleanup_(ctl_keys_clear) struct ctl_keys keys = { 0 };
	struct admin_request req = { .verb = ADMIN_KEY_DESTROY };
	const struct board_key *key;
	int r;

	if (argc != 1)
		return ctl_usage("key destroy takes one key: its id, key_id, label or name");
	r = ctl_keys_get(ctl, &keys);
	if (r == 0)
		r = choose(&keys, argv[0], 1U << KEY_RETIRED, &key);
	if (r == 0)
		r = proof_put(ctl, key, &req);
	if (r == 0)
		r = name_typed(ctl, key, req.name, sizeof(req.name));
	if (r != 0)
		return r;
	memcpy(req.id, key->info.id, sizeof(req.id));
	return step_ask(ctl, &req);
}

int ctl_key_show(const struct ctl *ctl, int argc, char **argv)
{
	_cleanup_(ctl_keys_clear) struct ctl_keys keys = { 0 };
	const struct board_key *key;
	int r;

	if (argc != 1)
		return ctl_usage("key show takes one key: its id, key_id, label or name");
	r = ctl_keys_get(ctl, &keys);
	if (r == 0)
		r = choose(&keys, argv[0], 1U << KEY_ACTIVE, &key);
	if (r != 0)
		return r;
	if (ctl->json)
		return ctl_print_json(ctl_key_json(key));
	ctl_key_print(key);
	return 0;
}

int ctl_key_reload(const struct ctl *ctl, int argc, char **argv _unused_)
{
	struct admin_request req = { .verb = ADMIN_KEY_RELOAD };

	struct admin_reply end;
	int r;

	if (argc != 0)
		return ctl_usage("key reload takes no argument");
	req.version = ADMIN_VERSION;
	req.flags = ctl->dry_run ? ADMIN_DRY_RUN : 0;
	r = ctl_ask(ctl, &req, print_step, (void *)(uintptr_t)ctl, &end);
	if (r == 0 && *end.text && !ctl->json)
		puts(end.text);
	return r;
}

static void print_verified(void *ctx, const struct board_key *key)
{
	json_t *list = ctx;

	if (list)
		json_array_append_new(list, ctl_key_json(key));
	else
		printf("%-7s %-12s %s%s%s\n", key->usable == 0 ? "opens" : "FAILS",
		       key_state_name(key->info.state), key->info.label,
		       key->usable == 0 ? "" : ": ",
		       key->usable == 0 ? "" : errno_text(key->usable));
}

int ctl_key_verify(const struct ctl *ctl, int argc, char **argv _unused_)
{
	struct admin_request req = { .version = ADMIN_VERSION, .verb = ADMIN_KEY_VERIFY };
	json_t *list = ctl->json ? json_array() : NULL;
	struct admin_reply end;
	int r;

	if (argc != 0)
		return ctl_usage("key verify takes no argument");
	r = ctl_ask(ctl, &req, print_verified, list, &end);
	if (list && ctl_print_json(list) != 0)
		return 1;
	return r;
}
