/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fields stand in one table, in their order in the block. What is written is read back before it is
 * given out, so parsing and formatting cannot drift apart.
 */
#include "daemon/keys/record.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void key_record_add_uses(struct key_record *rec, uint64_t n)
{
	if (rec->info.activation > 0 && __builtin_add_overflow(rec->uses, n, &rec->uses))
		rec->uses = UINT64_MAX;
}

static int take_id(struct span v, struct key_record *rec)
{
	return text_hex(v, rec->info.id, sizeof(rec->info.id));
}

static int record_take_name(struct span v, struct key_record *rec)
{
	return text_plain(v, rec->info.name, sizeof(rec->info.name));
}

static int take_label(struct span v, struct key_record *rec)
{
	return text_plain(v, rec->info.label, sizeof(rec->info.label));
}

static int take_kind(struct span v, struct key_record *rec)
{
	for (enum key_kind kind = 0; kind < KEY_KINDS; kind++) {
		rec->info.kind = kind;
		if (span_equal(v, span_str(key_kind_name(kind))))
			return 0;
	}
	return -EINVAL;
}

static int take_alg(struct span v, struct key_record *rec)
{
	int r = key_alg_set(v, &rec->info);

	return r == 0 && rec->info.secretbox && rec->info.kind != KEY_KIND_IMPORTED ? -EINVAL : r;
}

static int take_state(struct span v, struct key_record *rec)
{
	for (enum key_state state = 0; state < KEY_DESTROYED; state++) {
		rec->info.state = state;
		if (span_equal(v, span_str(key_state_name(state))))
			return 0;
	}
	return -EINVAL;
}

/* A key that is active has been activated, one that is only staged never was. */
static int take_activation(struct span v, struct key_record *rec)
{
	int r = text_u32(v, &rec->info.activation);

	if (r == 0 && ((rec->info.state == KEY_ACTIVE && rec->info.activation == 0) ||
		       (rec->info.state == KEY_STAGED && rec->info.activation != 0)))
		r = -EINVAL;
	return r;
}

static int take_created(struct span v, struct key_record *rec)
{
	return text_time(v, &rec->info.created);
}

static int take_retired(struct span v, struct key_record *rec)
{
	return text_time(v, &rec->retired);
}

/* What is written with, or may be soon, bears no mark. */
static int take_marked(struct span v, struct key_record *rec)
{
	int r = text_u64(v, &rec->info.marked);

	return r == 0 && (rec->info.state == KEY_STAGED || rec->info.state == KEY_ACTIVE ||
			  rec->info.marked == 0)
		       ? -EINVAL
		       : r;
}

static int take_uses(struct span v, struct key_record *rec)
{
	int r = text_u64(v, &rec->uses);

	return r == 0 && rec->uses == 0 ? -EINVAL : r;
}

static int take_check(struct span v, struct key_record *rec)
{
	return text_hex(v, rec->check, sizeof(rec->check));
}

/* Ciphertext in ASCII. */
static int take_ascii(struct span v, char ret[static KEY_BLOB_MAX])
{
	for (size_t i = 0; i < v.len; i++)
		if (v.data[i] > '~')
			return -EINVAL;
	return text_plain(v, ret, KEY_BLOB_MAX);
}

static int take_blob(struct span v, struct key_record *rec)
{
	return take_ascii(v, rec->blob);
}

static int take_reblob(struct span v, struct key_record *rec)
{
	return take_ascii(v, rec->reblob);
}

static void put_id(struct text_buf *b, const struct key_record *rec)
{
	text_append_hex(b, "key", rec->info.id, sizeof(rec->info.id));
}

static void put_name(struct text_buf *b, const struct key_record *rec)
{
	text_append(b, "name %s\n", rec->info.name);
}

static void put_label(struct text_buf *b, const struct key_record *rec)
{
	text_append(b, "label %s\n", rec->info.label);
}

static void record_put_kind(struct text_buf *b, const struct key_record *rec)
{
	text_append(b, "kind %s\n", key_kind_name(rec->info.kind));
}

static void put_alg(struct text_buf *b, const struct key_record *rec)
{
	text_append(b, "alg %s\n", key_alg_name(&rec->info));
}

static void put_state(struct text_buf *b, const struct key_record *rec)
{
	text_append(b, "state %s\n", key_state_name(rec->info.state));
}

static void put_activation(struct text_buf *b, const struct key_record *rec)
{
	text_append(b, "activation %" PRIu32 "\n", rec->info.activation);
}

static void record_put_time(struct text_buf *b, const char *field, time_t t)
{
	char text[TEXT_TIME_LEN + 1];

	if (text_time_format(t, text) < 0)
		b->r = -EINVAL;
	else
		text_append(b, "%s %s\n", field, text);
}

static void put_created(struct text_buf *b, const struct key_record *rec)
{
	record_put_time(b, "created", rec->info.created);
}

static void put_retired(struct text_buf *b, const struct key_record *rec)
{
	record_put_time(b, "retired", rec->retired);
}

static void put_marked(struct text_buf *b, const struct key_record *rec)
{
	text_append(b, "marked %" PRIu64 "\n", rec->info.marked);
}

static void put_uses(struct text_buf *b, const struct key_record *rec)
{
	text_append(b, "uses %" PRIu64 "\n", rec->uses);
}

static void put_check(struct text_buf *b, const struct key_record *rec)
{
	text_append_hex(b, "check", rec->check, sizeof(rec->check));
}

static void put_blob(struct text_buf *b, const struct key_record *rec)
{
	text_append(b, "blob %s\n", rec->blob);
}

static void put_reblob(struct text_buf *b, const struct key_record *rec)
{
	text_append(b, "reblob %s\n", rec->reblob);
}

static bool has_reblob(const struct key_record *rec)
{
	return rec->reblob[0] != '\0';
}

static bool is_retired(const struct key_record *rec)
{
	return rec->info.state == KEY_RETIRED;
}

static bool is_marked(const struct key_record *rec)
{
	return rec->info.marked != 0;
}

static bool has_uses(const struct key_record *rec)
{
	return rec->uses != 0;
}

static const struct field {
	const char *name;
	int (*take)(struct span value, struct key_record *rec);
	void (*put)(struct text_buf *b, const struct key_record *rec);
	bool (*stands)(const struct key_record *rec); /* NULL: always */
	bool optional; /* reading: the line alone says whether it stands */
} fields[] = {
	{ "key", take_id, put_id, NULL, false },
	{ "name", record_take_name, put_name, NULL, false },
	{ "label", take_label, put_label, NULL, false },
	{ "kind", take_kind, record_put_kind, NULL, false },
	{ "alg", take_alg, put_alg, NULL, false },
	{ "state", take_state, put_state, NULL, false },
	{ "activation", take_activation, put_activation, NULL, false },
	{ "created", take_created, put_created, NULL, false },
	{ "retired", take_retired, put_retired, is_retired, false },
	{ "marked", take_marked, put_marked, is_marked, true },
	{ "uses", take_uses, put_uses, has_uses, true },
	{ "check", take_check, put_check, NULL, false },
	{ "blob", take_blob, put_blob, NULL, false },
	{ "reblob", take_reblob, put_reblob, has_reblob, true },
};

int key_record_take(struct span *text, struct key_record *ret)
{
	struct span value;

	*ret = (struct key_record){ 0 };
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		const struct field *f = &fields[i];

		if (f->optional ? !text_has(*text, f->name) : f->stands && !f->stands(ret))
			continue;
		if (text_take(text, f->name, &value) < 0 || f->take(value, ret) < 0)
			return -EINVAL;
	}
	return 0;
}

void key_record_append(struct text_buf *b, const struct key_record *rec)
{
	size_t start = b->len;
	struct key_record back;
	struct span text;

	for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
		if (!fields[i].stands || fields[i].stands(rec))
			fields[i].put(b, rec);
	if (b->r < 0)
		return;
	text = span_of(b->data + start, b->len - start);
	if (key_record_take(&text, &back) < 0 || text.len > 0)
		b->r = -EINVAL;
}

/* One key has one hex form (text.h), so that the texts can be compared. */
int key_id_of(const char *key_id, struct span s, uint32_t *ret_activation)
{
	if (s.len < KEKD_KEY_ID_HEX + 1 || memcmp(s.data, key_id, KEKD_KEY_ID_HEX + 1) != 0)
		return -EINVAL;
	return text_u32(span_skip(s, KEKD_KEY_ID_HEX + 1), ret_activation);
}

int key_id_parse(const char *s, size_t len, uint8_t ret_id[static KEKD_KEY_ID],
		 uint32_t *ret_activation)
{
	uint8_t id[KEKD_KEY_ID];
	uint32_t activation;

	if (len < KEKD_KEY_ID_HEX + 2 || s[KEKD_KEY_ID_HEX] != '.' ||
	    key_unhex(s, KEKD_KEY_ID_HEX, id, sizeof(id)) < 0 ||
	    text_u32(span_of(s + KEKD_KEY_ID_HEX + 1, len - KEKD_KEY_ID_HEX - 1), &activation) < 0)
		return -EINVAL;
	memcpy(ret_id, id, sizeof(id));
	*ret_activation = activation;
	return 0;
}
