/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the counts of a scan do not say: what was not judged, which is a gap and no good news, and what else
 * a reader of the counts should know.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include "daemon/base/nearest.h"
#include "daemon/ctl/scan.h"

#define NOTE_MAX    2048
#define MISSING_MAX 10 /* resources that are named */

static void _printf_(2, 3) scan_note(struct scan *s, const char *fmt, ...)
{
	char text[NOTE_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	json_array_append_new(s->notes, json_string(text));
}

/* Guess which name of the dump was meant: one of another group, or one that differs by a few letters. */
static void hint_find(const struct scan *s, const char *pattern, char *ret, size_t size)
{
	size_t len = strcspn(pattern, ".");
	struct nearest near = nearest_to(pattern);
	const char *same = NULL;

	for (size_t i = 0; i < s->report.n; i++) {
		const char *seen = s->report.rows[i]->resource;

		if (strcspn(seen, ".") == len && strncmp(seen, pattern, len) == 0)
			same = seen;
		nearest_offer(&near, seen);
	}
	*ret = '\0';
	if (same)
		snprintf(ret, size, "; it has values of %s", same);
	else if (near.best)
		snprintf(ret, size, "; did you mean %s?", near.best);
}

/* Returns how many resources are named that have no value. */
static size_t note_missing(struct scan *s)
{
	char hint[RESOURCE_TEXT_MAX + 64];
	const char *pattern;
	size_t n = 0;

	for (size_t i = 0; (pattern = rules_pattern(&s->rules, i)); i++) {
		if (*pattern == '*' || s->patterns[i] > 0 || n++ >= MISSING_MAX)
			continue;
		hint_find(s, pattern, hint, sizeof(hint));
		scan_note(s, "no value of %s is in the dump%s", pattern, hint);
	}
	if (n > MISSING_MAX)
		scan_note(s, "no value of %zu more resources is in the dump", n - MISSING_MAX);
	return n;
}

static uint64_t judged(const struct scan *s)
{
	uint64_t n = 0;

	for (size_t i = 0; rules_pattern(&s->rules, i); i++)
		n += s->patterns[i];
	return n;
}

static void note_elsewhere(struct scan *s)
{
	char text[ELSEWHERE_TEXT];
	uint64_t unjudged = s->report.n_all[VERDICT_UNJUDGED];

	elsewhere_text(&s->elsewhere, text);
	if (s->elsewhere.all > unjudged && (!s->ctl->prefix || s->objects == 0)) {
		scan_note(s, "not looked at: %s; give the one that is meant as --prefix", text);
		s->gap = true;
	} else if (unjudged > 0) {
		scan_note(s, "%s could not be judged; is %s the --prefix of the API server?", text,
			  s->prefix);
		s->gap = true;
	} else if (*text) {
		scan_note(s, "not looked at, as --prefix says: %s", text);
	}
}

static void note_dump(struct scan *s)
{
	const struct dump_info *i = &s->file.info;

	if (i->values == 0)
		scan_note(s, "the dump is empty: etcd had no key for what it was asked");
	else if (s->objects == 0)
		scan_note(s, "the dump has no object under %s", s->prefix);
	if (i->truncated)
		scan_note(s,
			  "the dump does not have all keys that were asked for: it was made with "
			  "--limit");
	if (s->empty > 0)
		scan_note(s,
			  "%" PRIu64 " keys of objects are without a value: make the dump without "
			  "--keys-only",
			  s->empty);
	if (i->unlogged)
		scan_note(
			s,
			"the database has a write-ahead log, and none lies beside it: of a copy of the "
			"file alone the newest values may be missing. This makes a whole one: `sqlite3 "
			"state.db \"VACUUM INTO 'COPY'\"`");
	s->gap |= s->objects == 0 || i->truncated || i->unlogged || s->empty > 0;
}

static void note_identity(struct scan *s)
{
	for (size_t i = 0; s->rules.conf && i < s->rules.conf->items_count; i++) {
		const struct encconf_item *item = &s->rules.conf->items[i];

		for (size_t k = 0;
		     item->providers[0].kind == ENCCONF_IDENTITY && k < item->resources_count; k++)
			scan_note(s,
				  "%s: identity is the first provider, so they are written as "
				  "plaintext",
				  item->resources[k].name);
	}
}

static void note_use(struct scan *s)
{
	if (s->use.known || s->use.n > 0)
		return;
	scan_note(s,
		  "\"%s\" is a name that neither --config nor any value has: that proves nothing. "
		  "Give --config with the key or the plugin in it, or ask without --offline",
		  s->use.name);
	s->gap = true;
}

int scan_notes(struct scan *s)
{
	size_t missing;

	note_dump(s);
	if (s->use.name) {
		/* It is about all values, wherever they are. */
		s->gap = s->file.info.values == 0 || s->file.info.truncated ||
			 s->file.info.unlogged || s->use.bytes == 0;
		note_use(s);
		return 0;
	}
	note_elsewhere(s);
	missing = s->objects > s->empty ? note_missing(s) : 0;
	if (missing > 0 && judged(s) == 0) {
		scan_note(s, "so nothing was judged");
		s->gap = true;
	}
	if (!s->rules.conf && s->ctl->resource && missing > 0)
		s->gap = true;
	if (s->unopened > 0) {
		scan_note(s, "%" PRIu64 " values are larger than kekd takes and were not opened",
			  s->unopened);
		s->gap = true;
	}
	if (s->distrusted > 0)
		scan_note(s,
			  "%" PRIu64
			  " values are under several key_ids of one plugin; which of them "
			  "is its newest --verify says, so they count as stale",
			  s->distrusted);
	if (s->past > 0)
		scan_note(
			s,
			"%" PRIu64
			" superseded or deleted revisions are plaintext: etcdctl compact --physical "
			"and defrag (each member) before this or a later snapshot is kept",
			s->past);
	note_identity(s);
	return 0;
}
