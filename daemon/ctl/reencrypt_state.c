/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an interrupted reencrypt left: JSON, replaced as a whole after each page. It is an aid and no
 * record: without it everything is begun again, which costs time and changes nothing. Of each resource it
 * counts only for the key it was begun with, because what was rewritten before a rotation is stale after
 * it. So nothing is remembered of a resource whose key is not known.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "daemon/base/log.h"
#include "daemon/ctl/reencrypt.h"

#define STATE_VERSION 2

static const struct {
	const char *name;
	size_t at;
} count_names[] = {
	{ "rewritten", offsetof(struct rewrite_counts, rewritten) },
	{ "current", offsetof(struct rewrite_counts, current) },
	{ "gone", offsetof(struct rewrite_counts, gone) },
	{ "failed", offsetof(struct rewrite_counts, failed) },
	{ "conflicts", offsetof(struct rewrite_counts, conflicts) },
};

static uint64_t *count_at(struct rewrite_counts *c, size_t i)
{
	return (uint64_t *)((char *)c + count_names[i].at);
}

static int rewrite_load(const json_t *mine, struct rewrite *w)
{
	const char *token = json_string_value(json_object_get(mine, "continue"));
	char *copy;

	w->done = json_is_true(json_object_get(mine, "done"));
	for (size_t i = 0; i < ARRAY_SIZE(count_names); i++)
		*count_at(&w->counts, i) =
			(uint64_t)json_integer_value(json_object_get(mine, count_names[i].name));
	if (token) {
		copy = strdup(token);
		if (!copy)
			return ctl_fail("out of memory");
		rewrite_token_set(w, copy);
	}
	return missed_load(w, json_object_get(mine, "notRewritten"));
}

/* The part of the state that is about @w; NULL if there is none, or (said) none that counts. */
static const json_t *state_of(const json_t *state, const struct rewrite *w, const char *path)
{
	const json_t *mine = json_object_get(json_object_get(state, "resources"), w->resource);
	const char *key_id = json_string_value(json_object_get(mine, "keyId")) ?: "";

	if (!mine || !*w->key_id)
		return NULL;
	if (json_integer_value(json_object_get(state, "version")) == STATE_VERSION &&
	    strcmp(key_id, w->key_id) == 0)
		return mine;
	fprintf(stderr, "kekctl: %s: %s was begun with another key: beginning again\n", w->resource,
		path);
	return NULL;
}

int reencrypt_state_load(struct reencrypt *re)
{
	const char *path = re->ctl->state;
	json_error_t error;
	json_t *state;
	int r = 0;

	if (!path)
		return 0;
	for (size_t i = 0; i < re->n; i++)
		if (!*re->all[i].key_id)
			fprintf(stderr,
				"kekctl: %s: kekd on this machine does not say which key it is written "
				"with, so nothing of it is kept in %s\n",
				re->all[i].resource, path);
	if (access(path, F_OK) < 0)
		return 0;
	state = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
	if (!state)
		return ctl_fail("%s: not a state of reencrypt; remove it to begin again", path);
	for (size_t i = 0; r == 0 && i < re->n; i++) {
		const json_t *mine = state_of(state, &re->all[i], path);

		if (mine)
			r = rewrite_load(mine, &re->all[i]);
	}
	json_decref(state);
	return r;
}

static json_t *rewrite_json(const struct rewrite *w)
{
	json_t *j = json_pack("{s:s, s:b, s:s, s:o}", "keyId", w->key_id, "done", w->done,
			      "continue", w->token ? w->token : "", "notRewritten", missed_json(w));
	struct rewrite_counts counts = w->counts;

	for (size_t i = 0; j && i < ARRAY_SIZE(count_names); i++)
		json_object_set_new(j, count_names[i].name,
				    json_integer((json_int_t)*count_at(&counts, i)));
	return j;
}

/* Is there anything to remember? */
static bool is_kept(const struct reencrypt *re)
{
	for (size_t i = 0; i < re->n; i++)
		if (*re->all[i].key_id)
			return re->ctl->state && !re->ctl->dry_run;
	return false;
}

static int replace(const char *path, const char *tmp, const json_t *state)
{
	_cleanup_close_ int fd = -1;

	fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	if (json_dumpfd(state, fd, JSON_INDENT(1)) < 0)
		return -EIO;
	return fsync(fd) < 0 || rename(tmp, path) < 0 ? -errno : 0;
}

int reencrypt_state_save(const struct reencrypt *re)
{
	_cleanup_free_ char *tmp = NULL;
	json_t *all, *state;
	int r;

	if (!is_kept(re))
		return 0;
	/* In the arena of the open API, so nobody has to free it. */
	all = json_object();
	for (size_t i = 0; i < re->n; i++) {
		const struct rewrite *w = &re->all[i];

		if (*w->key_id && (w->begun || w->done) &&
		    json_object_set_new(all, w->resource, rewrite_json(w)) < 0)
			return ctl_fail("out of memory");
	}
	state = json_pack("{s:i, s:o}", "version", STATE_VERSION, "resources", all);
	if (!state || asprintf(&tmp, "%s.new", re->ctl->state) < 0)
		return ctl_fail("out of memory");
	r = replace(re->ctl->state, tmp, state);
	return r < 0 ? ctl_fail("%s: %s", re->ctl->state, errno_text(r)) : 0;
}

void reencrypt_state_remove(const struct reencrypt *re)
{
	if (is_kept(re))
		unlink(re->ctl->state);
}
