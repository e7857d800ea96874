/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reader of the vector files: a line is split into exactly nine fields, each field is checked by
 * itself, then all of them against what their mode demands. Nothing is skipped but comments, and every
 * size is bounded by struct vec.
 */
#include "tests/vectors/reader.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef VECTORS_DIR
#define VECTORS_DIR "tests/vectors"
#endif

enum { BLOCK = 16, LINE_MAX_BYTES = 8 * VEC_DATA_MAX };
enum { F_MODE, F_VERDICT, F_ID, F_KEY, F_IV, F_AAD, F_PT, F_CT, F_TAG, FIELDS };

struct vec_reader {
	FILE *file; /* owned */
	char path[PATH_MAX];
	char error[PATH_MAX + 128];
	char text[LINE_MAX_BYTES];
	unsigned int line, vectors;
};

static const struct {
	const char *name;
	size_t iv_len, tag_len;
	bool has_aad;
} modes[] = {
	[VEC_GCM] = { "gcm", 12, 16, true },
	[VEC_CBC] = { "cbc", 16, 0, false },
	[VEC_CBC_PKCS7] = { "cbc-pkcs7", 16, 0, false },
};

__attribute__((format(printf, 2, 3))) static int malformed(struct vec_reader *r, const char *format,
							   ...)
{
	int n = snprintf(r->error, sizeof(r->error), "%s:%u: ", r->path, r->line);
	va_list args;

	va_start(args, format);
	vsnprintf(r->error + n, sizeof(r->error) - (size_t)n, format, args);
	va_end(args);
	return -EINVAL;
}

int vec_open(const char *name, struct vec_reader **ret_reader)
{
	const char *dir = getenv("KEKD_VECTORS");
	struct vec_reader *r = calloc(1, sizeof(*r));
	int n, err;

	if (r == NULL)
		return -ENOMEM;
	n = *name == '/' ? snprintf(r->path, sizeof(r->path), "%s", name)
			 : snprintf(r->path, sizeof(r->path), "%s/%s",
				    dir != NULL ? dir : VECTORS_DIR, name);
	if (n < 0 || (size_t)n >= sizeof(r->path)) {
		free(r);
		return -ENAMETOOLONG;
	}
	r->file = fopen(r->path, "re");
	if (r->file == NULL) {
		err = -errno;
		free(r);
		return err;
	}
	*ret_reader = r;
	return 0;
}

void vec_close(struct vec_reader *r)
{
	if (r == NULL)
		return;
	fclose(r->file);
	free(r);
}

const char *vec_error(const struct vec_reader *r)
{
	return r->error;
}

/* Reads the next line that is no comment, without its newline. Returns 1, 0 at the end, or -errno. */
static int next_line(struct vec_reader *r)
{
	size_t len;

	do {
		if (fgets(r->text, sizeof(r->text), r->file) == NULL)
			return ferror(r->file) ? -EIO : 0;
		r->line++;
		len = strlen(r->text);
		if (len == 0 || r->text[len - 1] != '\n')
			return malformed(r, "no newline within %d bytes", LINE_MAX_BYTES - 1);
	} while (r->text[0] == '#');
	r->text[len - 1] = '\0';
	return 1;
}

/* Splits the line in place; exactly one space between two fields, and no field is empty. */
static int split(struct vec_reader *r, char *fields[static FIELDS])
{
	char *rest = r->text;

	for (int i = 0; i < FIELDS; i++) {
		fields[i] = strsep(&rest, " ");
		if (fields[i] == NULL || *fields[i] == '\0')
			return malformed(r, "field %d of %d is missing", i + 1, FIELDS);
	}
	return rest == NULL ? 0 : malformed(r, "more than %d fields", FIELDS);
}

static int nibble(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int parse_hex(struct vec_reader *r, const char *what, const char *hex, uint8_t *ret_bytes,
		     size_t max, size_t *ret_len)
{
	size_t len = strlen(hex);

	if (strcmp(hex, "-") == 0) {
		*ret_len = 0;
		return 0;
	}
	if (len % 2 != 0 || strspn(hex, "0123456789abcdef") != len)
		return malformed(r, "%s is not in lower-case hexadecimal", what);
	if (len / 2 > max)
		return malformed(r, "%s is longer than %zu bytes", what, max);
	for (size_t i = 0; i < len / 2; i++)
		ret_bytes[i] = (uint8_t)(nibble(hex[2 * i]) << 4 | nibble(hex[2 * i + 1]));
	*ret_len = len / 2;
	return 0;
}

static int parse_mode(struct vec_reader *r, const char *name, enum vec_mode *ret_mode)
{
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		if (strcmp(name, modes[i].name) == 0) {
			*ret_mode = (enum vec_mode)i;
			return 0;
		}
	}
	return malformed(r, "unknown mode");
}

static int parse_names(struct vec_reader *r, char *const fields[static FIELDS], struct vec *v)
{
	v->valid = strcmp(fields[F_VERDICT], "valid") == 0;
	if (!v->valid && strcmp(fields[F_VERDICT], "invalid") != 0)
		return malformed(r, "the verdict is neither valid nor invalid");
	if (strlen(fields[F_ID]) >= sizeof(v->id))
		return malformed(r, "the id is longer than %zu bytes", sizeof(v->id) - 1);
	strcpy(v->id, fields[F_ID]);
	return parse_mode(r, fields[F_MODE], &v->mode);
}

static int parse_bytes(struct vec_reader *r, char *const fields[static FIELDS], struct vec *v)
{
	const struct {
		const char *what, *hex;
		uint8_t *bytes;
		size_t max, *len;
	} rows[] = {
		{ "key", fields[F_KEY], v->key, sizeof(v->key), &v->key_len },
		{ "iv", fields[F_IV], v->iv, sizeof(v->iv), &v->iv_len },
		{ "aad", fields[F_AAD], v->aad, sizeof(v->aad), &v->aad_len },
		{ "pt", fields[F_PT], v->pt, sizeof(v->pt), &v->pt_len },
		{ "ct", fields[F_CT], v->ct, sizeof(v->ct), &v->ct_len },
		{ "tag", fields[F_TAG], v->tag, sizeof(v->tag), &v->tag_len },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int err = parse_hex(r, rows[i].what, rows[i].hex, rows[i].bytes, rows[i].max,
				    rows[i].len);
		if (err < 0)
			return err;
	}
	return 0;
}

/* The length of the ciphertext of a valid vector. */
static size_t ciphertext_len(const struct vec *v)
{
	return v->mode == VEC_CBC_PKCS7 ? (v->pt_len / BLOCK + 1) * BLOCK : v->pt_len;
}

static int check_lengths(struct vec_reader *r, const struct vec *v)
{
	if (v->key_len != 16 && v->key_len != 24 && v->key_len != 32)
		return malformed(r, "the key has %zu bytes", v->key_len);
	if (v->iv_len != modes[v->mode].iv_len || v->tag_len != modes[v->mode].tag_len)
		return malformed(r, "iv of %zu and tag of %zu bytes with mode %s", v->iv_len,
				 v->tag_len, modes[v->mode].name);
	if (v->aad_len > 0 && !modes[v->mode].has_aad)
		return malformed(r, "aad with mode %s", modes[v->mode].name);
	if (v->mode == VEC_CBC && v->pt_len % BLOCK != 0)
		return malformed(r, "pt of %zu bytes is not whole blocks", v->pt_len);
	if (v->valid && v->ct_len != ciphertext_len(v))
		return malformed(r, "ct of %zu bytes for %zu of pt", v->ct_len, v->pt_len);
	return 0;
}

int vec_next(struct vec_reader *r, struct vec *ret_vec)
{
	char *fields[FIELDS];
	struct vec v = { 0 };
	int err = next_line(r);

	if (err == 0 && r->vectors == 0)
		return malformed(r, "the file holds no vector");
	if (err <= 0)
		return err;
	err = split(r, fields);
	if (err < 0)
		return err;
	err = parse_names(r, fields, &v);
	if (err < 0)
		return err;
	err = parse_bytes(r, fields, &v);
	if (err < 0)
		return err;
	err = check_lengths(r, &v);
	if (err < 0)
		return err;
	v.line = r->line;
	r->vectors++;
	*ret_vec = v;
	return 1;
}
