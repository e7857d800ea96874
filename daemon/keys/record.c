/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fields stand in one table, in their order in the file. Every value has one spelling only, and
 * what is written is read back before it is given out; so parsing and formatting cannot drift apart
 * and two files differ if and only if their records do.
 */
#include "daemon/keys/record.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "daemon/base/cleanup.h"
#include <kekd/span.h>

static const char *const state_names[] = {
	[KEY_STAGED] = "staged",
	[KEY_ACTIVE] = "active",
	[KEY_DECRYPT_ONLY] = "decrypt-only",
	[KEY_RETIRED] = "retired",
	[KEY_DESTROYED] = "destroyed",
};
_Static_assert(ARRAY_SIZE(state_names) == KEY_STATES, "a name for each state");

static const char *const kind_names[] = {
	[KEY_KIND_ENCRYPTED] = "encrypted",
	[KEY_KIND_OPENSSL] = "openssl",
	[KEY_KIND_IMPORTED] = "imported",
};
_Static_assert(ARRAY_SIZE(kind_names) == KEY_KINDS, "a name for each kind");

static const struct alg {
	const char *name;
	unsigned int key_bytes;
	bool secretbox;
} algs[] = {
	{ "aes-128", 16, false },
	{ "aes-192", 24, false },
	{ "aes-256", 32, false },
	{ "secretbox", 32, true },
};

const char *key_state_name(enum key_state s)
{
	return s < KEY_STATES ? state_names[s] : "?";
}

const char *key_kind_name(enum key_kind k)
{
	return k < KEY_KINDS ? kind_names[k] : "?";
}

const char *key_alg_name(const struct key_record *rec)
{
	for (size_t i = 0; i < ARRAY_SIZE(algs); i++)
		if (algs[i].key_bytes == rec->key_bytes && algs[i].secretbox == rec->secretbox)
			return algs[i].name;
	return "?";
}

void key_hex(const void *data, size_t len, char *ret)
{
	static const char digit[] = "0123456789abcdef";
	const uint8_t *b = data;

	for (size_t i = 0; i < len; i++) {
		*ret++ = digit[b[i] >> 4];
		*ret++ = digit[b[i] & 15];
	}
	*ret = '\0';
}

static int nibble(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int key_unhex(const char *hex, size_t hex_len, uint8_t *ret, size_t len)
{
	if (hex_len != 2 * len)
		return -EINVAL;
	for (size_t i = 0; i < len; i++) {
		int hi = nibble(hex[2 * i]), lo = nibble(hex[2 * i + 1]);

		if (hi < 0 || lo < 0)
			return -EINVAL;
		ret[i] = (uint8_t)(hi << 4 | lo);
	}
	return 0;
}

/* Decimal without sign or leading zeros. */
static int parse_u32(struct span v, uint32_t *ret)
{
	uint64_t n = 0;

	if (v.len == 0 || v.len > 10 || (v.len > 1 && v.data[0] == '0'))
		return -EINVAL;
	for (size_t i = 0; i < v.len; i++) {
		if (v.data[i] < '0' || v.data[i] > '9')
			return -EINVAL;
		n = n * 10 + (uint64_t)(v.data[i] - '0');
	}
	if (n > UINT32_MAX)
		return -EINVAL;
	*ret = (uint32_t)n;
	return 0;
}

static int parse_choice(struct span v, const char *const *names, size_t n, size_t *ret)
{
	for (size_t i = 0; i < n; i++) {
		if (!span_equal(v, span_str(names[i])))
			continue;
		*ret = i;
		return 0;
	}
	return -EINVAL;
}

/*
 * Text that may be shown: no control characters (they would forge lines or drive a terminal), no
 * blank at either end. What an EncryptionConfiguration calls a key may hold anything else.
 */
static int parse_text(struct span v, char *ret, size_t size)
{
	if (v.len == 0 || v.len >= size || v.data[0] == ' ' || v.data[v.len - 1] == ' ')
		return -EINVAL;
	for (size_t i = 0; i < v.len; i++)
		if (v.data[i] < ' ' || v.data[i] == 0x7f)
			return -EINVAL;
	memcpy(ret, v.data, v.len);
	ret[v.len] = '\0';
	return 0;
}

static int parse_version(struct span v, struct key_record *rec _unused_)
{
	return span_equal(v, span_str("1")) ? 0 : -EINVAL;
}

static int parse_id(struct span v, struct key_record *rec)
{
	return key_unhex((const char *)v.data, v.len, rec->id, sizeof(rec->id));
}

static int parse_name(struct span v, struct key_record *rec)
{
	return parse_text(v, rec->name, sizeof(rec->name));
}

static int parse_label(struct span v, struct key_record *rec)
{
	return parse_text(v, rec->label, sizeof(rec->label));
}

static int parse_kind(struct span v, struct key_record *rec)
{
	size_t i;
	int r = parse_choice(v, kind_names, KEY_KINDS, &i);

	if (r == 0)
		rec->kind = (enum key_kind)i;
	return r;
}

static int parse_alg(struct span v, struct key_record *rec)
{
	for (size_t i = 0; i < ARRAY_SIZE(algs); i++) {
		if (!span_equal(v, span_str(algs[i].name)))
			continue;
		rec->key_bytes = algs[i].key_bytes;
		rec->secretbox = algs[i].secretbox;
		return rec->secretbox && rec->kind != KEY_KIND_IMPORTED ? -EINVAL : 0;
	}
	return -EINVAL;
}

static int parse_state(struct span v, struct key_record *rec)
{
	size_t i;
	int r = parse_choice(v, state_names, KEY_STATES, &i);

	if (r == 0)
		rec->state = (enum key_state)i;
	return r;
}

/* A key that is active has been activated, one that is only staged never was. */
static int parse_activation(struct span v, struct key_record *rec)
{
	int r = parse_u32(v, &rec->activation);

	if (r == 0 && ((rec->state == KEY_ACTIVE && rec->activation == 0) ||
		       (rec->state == KEY_STAGED && rec->activation != 0)))
		r = -EINVAL;
	return r;
}

#define TIME_LEN 20 /* 2026-01-31T12:00:00Z */

static int format_time(time_t t, char *buf, size_t size)
{
	struct tm tm;

	if (t < 0 || !gmtime_r(&t, &tm) || tm.tm_year > 9999 - 1900)
		return -EINVAL;
	return snprintf(buf, size, "%04d-%02d-%02dT%02d:%02d:%02dZ", tm.tm_year + 1900,
			tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
}

/* RFC 3339 in UTC; anything that does not format back to itself (a 30 February) is refused. */
static int parse_created(struct span v, struct key_record *rec)
{
	char text[TIME_LEN + 1], back[64];
	struct tm tm = { 0 };
	time_t t;

	if (v.len != TIME_LEN)
		return -EINVAL;
	memcpy(text, v.data, TIME_LEN);
	text[TIME_LEN] = '\0';
	if (sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2dZ", &tm.tm_year, &tm.tm_mon, &tm.tm_mday,
		   &tm.tm_hour, &tm.tm_min, &tm.tm_sec) != 6)
		return -EINVAL;
	tm.tm_year -= 1900;
	tm.tm_mon -= 1;
	t = timegm(&tm);
	if (format_time(t, back, sizeof(back)) != TIME_LEN || strcmp(text, back) != 0)
		return -EINVAL;
	rec->created = t;
	return 0;
}

static int parse_root(struct span v, struct key_record *rec)
{
	return key_unhex((const char *)v.data, v.len, rec->root, sizeof(rec->root));
}

/* Ciphertext in ASCII. A destroyed key has none, and no other key is without. */
static int parse_blob(struct span v, struct key_record *rec)
{
	bool none = span_equal(v, span_str("-"));

	if (none != (rec->state == KEY_DESTROYED))
		return -EINVAL;
	if (none) {
		rec->blob[0] = '\0';
		return 0;
	}
	for (size_t i = 0; i < v.len; i++)
		if (v.data[i] > '~')
			return -EINVAL;
	return parse_text(v, rec->blob, sizeof(rec->blob));
}

static int parse_check(struct span v, struct key_record *rec)
{
	return key_unhex((const char *)v.data, v.len, rec->check, sizeof(rec->check));
}

/* The formatting twins return what snprintf(3) does, or -errno. */

static int format_hex(const void *data, size_t len, char *buf, size_t size)
{
	if (2 * len >= size)
		return -ENOBUFS;
	key_hex(data, len, buf);
	return (int)(2 * len);
}

static int format_version(const struct key_record *rec _unused_, char *buf, size_t size)
{
	return snprintf(buf, size, "1");
}

static int format_id(const struct key_record *rec, char *buf, size_t size)
{
	return format_hex(rec->id, sizeof(rec->id), buf, size);
}

static int format_name(const struct key_record *rec, char *buf, size_t size)
{
	return snprintf(buf, size, "%s", rec->name);
}

static int format_label(const struct key_record *rec, char *buf, size_t size)
{
	return snprintf(buf, size, "%s", rec->label);
}

static int format_kind(const struct key_record *rec, char *buf, size_t size)
{
	return snprintf(buf, size, "%s", key_kind_name(rec->kind));
}

static int format_alg(const struct key_record *rec, char *buf, size_t size)
{
	return snprintf(buf, size, "%s", key_alg_name(rec));
}

static int format_state(const struct key_record *rec, char *buf, size_t size)
{
	return snprintf(buf, size, "%s", key_state_name(rec->state));
}

static int format_activation(const struct key_record *rec, char *buf, size_t size)
{
	return snprintf(buf, size, "%" PRIu32, rec->activation);
}

static int format_created(const struct key_record *rec, char *buf, size_t size)
{
	return format_time(rec->created, buf, size);
}

static int format_root(const struct key_record *rec, char *buf, size_t size)
{
	return format_hex(rec->root, sizeof(rec->root), buf, size);
}

static int format_blob(const struct key_record *rec, char *buf, size_t size)
{
	return snprintf(buf, size, "%s", rec->blob[0] ? rec->blob : "-");
}

static int format_check(const struct key_record *rec, char *buf, size_t size)
{
	return format_hex(rec->check, sizeof(rec->check), buf, size);
}

#define FIELD(f) #f, parse_##f, format_##f

static const struct field {
	const char *key;
	int (*parse)(struct span value, struct key_record *rec);
	int (*format)(const struct key_record *rec, char *buf, size_t size);
} fields[] = {
	{ "kekd-key", parse_version, format_version },
	{ FIELD(id) },
	{ FIELD(name) },
	{ FIELD(label) },
	{ FIELD(kind) },
	{ FIELD(alg) },
	{ FIELD(state) },
	{ FIELD(activation) },
	{ FIELD(created) },
	{ FIELD(root) },
	{ FIELD(blob) },
	{ FIELD(check) },
};

/* "KEY VALUE\n" at the start of *text, which moves behind it. */
static int take_line(struct span *text, const char *key, struct span *ret_value)
{
	size_t key_len = strlen(key);
	const uint8_t *end;
	struct span line;

	end = text->len > 0 ? memchr(text->data, '\n', text->len) : NULL;
	if (!end)
		return -EINVAL;
	line = span_of(text->data, (size_t)(end - text->data));
	if (!span_starts_with(line, span_str(key)) || line.len < key_len + 2 ||
	    line.data[key_len] != ' ')
		return -EINVAL;
	*text = span_skip(*text, line.len + 1);
	*ret_value = span_skip(line, key_len + 1);
	return 0;
}

int key_record_parse(const char *text, size_t len, struct key_record *ret, unsigned int *ret_line)
{
	struct span rest = span_of(text, len), value;
	struct key_record rec = { 0 };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(fields); i++)
		if (take_line(&rest, fields[i].key, &value) < 0 || fields[i].parse(value, &rec) < 0)
			break;
	if (i < ARRAY_SIZE(fields) || rest.len > 0) {
		*ret_line = (unsigned int)i + 1;
		return -EINVAL;
	}
	*ret = rec;
	return 0;
}

static int append_field(const struct key_record *rec, const struct field *f, char *buf, size_t size,
			size_t *len)
{
	char value[KEY_BLOB_MAX];
	int n;

	n = f->format(rec, value, sizeof(value));
	if (n < 0)
		return n;
	if ((size_t)n >= sizeof(value))
		return -EINVAL;
	n = snprintf(buf + *len, size - *len, "%s %s\n", f->key, value);
	if (n < 0 || (size_t)n >= size - *len)
		return -ENOBUFS;
	*len += (size_t)n;
	return 0;
}

int key_record_format(const struct key_record *rec, char *buf, size_t size, size_t *ret_len)
{
	struct key_record back;
	unsigned int line;
	size_t len = 0;
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		r = append_field(rec, &fields[i], buf, size, &len);
		if (r < 0)
			return r;
	}
	r = key_record_parse(buf, len, &back, &line);
	if (r < 0)
		return r;
	*ret_len = len;
	return 0;
}

void key_id_format(const struct key_record *rec, char ret[static KEKD_KEY_ID_HEX + 12])
{
	key_hex(rec->id, sizeof(rec->id), ret);
	snprintf(ret + KEKD_KEY_ID_HEX, 12, ".%" PRIu32, rec->activation);
}

int key_id_parse(const char *s, size_t len, uint8_t ret_id[static KEKD_KEY_ID],
		 uint32_t *ret_activation)
{
	uint8_t id[KEKD_KEY_ID];
	uint32_t activation;

	if (len < KEKD_KEY_ID_HEX + 2 || s[KEKD_KEY_ID_HEX] != '.' ||
	    key_unhex(s, KEKD_KEY_ID_HEX, id, sizeof(id)) < 0 ||
	    parse_u32(span_of(s + KEKD_KEY_ID_HEX + 1, len - KEKD_KEY_ID_HEX - 1), &activation) < 0)
		return -EINVAL;
	memcpy(ret_id, id, sizeof(id));
	*ret_activation = activation;
	return 0;
}
