/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The MAC is checked before a line is believed, but for the root's fingerprint, which only decides
 * whether the manifest is ours at all.
 */
#include "daemon/keys/manifest.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "daemon/base/secmem.h"

#define MAC_TEXT   "kekd manifest v1"
#define MAC_LINE   "mac "
#define MAC_TAIL   (sizeof(MAC_LINE) - 1 + 2 * SHA256_LEN + 1)
#define DIGEST_HEX (2 * SHA256_LEN + 1)

void manifest_clear(struct manifest *m)
{
	free(m->entries);
	m->entries = NULL;
	m->n = 0;
}

static size_t index_of(const struct manifest *m, const uint8_t id[static KEKD_KEY_ID])
{
	size_t i = 0;

	while (i < m->n && memcmp(m->entries[i].id, id, KEKD_KEY_ID) != 0)
		i++;
	return i;
}

bool manifest_has(const struct manifest *m, const uint8_t id[static KEKD_KEY_ID])
{
	return index_of(m, id) < m->n;
}

struct manifest_entry *manifest_find(struct manifest *m, const uint8_t id[static KEKD_KEY_ID])
{
	size_t i = index_of(m, id);

	return i < m->n ? &m->entries[i] : NULL;
}

int manifest_get(struct manifest *m, const uint8_t id[static KEKD_KEY_ID],
		 struct manifest_entry **ret)
{
	struct manifest_entry *e = manifest_find(m, id);

	if (!e) {
		e = reallocarray(m->entries, m->n + 1, sizeof(*e));
		if (!e)
			return -ENOMEM;
		m->entries = e;
		e = &m->entries[m->n++];
		*e = (struct manifest_entry){ 0 };
		memcpy(e->id, id, KEKD_KEY_ID);
	}
	*ret = e;
	return 0;
}

/* The root's own key for this use: the fixed text comes first, the digest has a fixed length. */
static int text_mac(struct span text, manifest_mac_fn *mac, const void *root,
		    uint8_t ret[static SHA256_LEN])
{
	uint8_t in[sizeof(MAC_TEXT) + SHA256_LEN];
	int r;

	memcpy(in, MAC_TEXT, sizeof(MAC_TEXT));
	r = sha256(&text, 1, in + sizeof(MAC_TEXT));
	return r == 0 ? mac(root, span_of(in, sizeof(in)), ret) : r;
}

static const char *digest_text(bool there, const uint8_t digest[static SHA256_LEN],
			       char buf[static DIGEST_HEX])
{
	if (!there)
		return "-";
	key_hex(digest, SHA256_LEN, buf);
	return buf;
}

static void print(FILE *f, const struct manifest *m)
{
	char id[KEKD_KEY_ID_HEX + 1], root[2 * KEY_ROOT_ID + 1], was[DIGEST_HEX], is[DIGEST_HEX];

	key_hex(m->root, sizeof(m->root), root);
	fprintf(f, "kekd-manifest 1\ngeneration %" PRIu64 "\nroot %s\n", m->generation, root);
	for (size_t i = 0; i < m->n; i++) {
		const struct manifest_entry *e = &m->entries[i];

		if (!e->had && !e->has)
			continue;
		key_hex(e->id, sizeof(e->id), id);
		fprintf(f, "key %s %s %s\n", id, digest_text(e->had, e->was, was),
			digest_text(e->has, e->is, is));
	}
}

static void stream_close(FILE **f)
{
	if (*f)
		fclose(*f);
}

int manifest_format(const struct manifest *m, manifest_mac_fn *mac, const void *root, char **ret,
		    size_t *ret_len)
{
	_cleanup_free_ char *text = NULL;
	_cleanup_(stream_close) FILE *f = NULL;
	char hex[DIGEST_HEX];
	uint8_t sum[SHA256_LEN];
	size_t len = 0;
	int r;

	f = open_memstream(&text, &len);
	if (!f)
		return -ENOMEM;
	print(f, m);
	if (fflush(f) != 0)
		return -ENOMEM;
	r = text_mac(span_of(text, len), mac, root, sum);
	if (r < 0)
		return r;
	key_hex(sum, sizeof(sum), hex);
	fprintf(f, MAC_LINE "%s\n", hex);
	if (fclose(move_ptr(f)) != 0)
		return -ENOMEM;
	if (len > MANIFEST_TEXT_MAX)
		return -ENOBUFS;
	*ret = move_ptr(text);
	*ret_len = len;
	return 0;
}

/* The text before the MAC, if it is a MAC's line that ends it. */
static int split(struct span text, struct span *ret_body, uint8_t ret_mac[static SHA256_LEN])
{
	const char *tail;

	if (text.len < MAC_TAIL || text.data[text.len - 1] != '\n')
		return -EINVAL;
	tail = (const char *)text.data + text.len - MAC_TAIL;
	if (memcmp(tail, MAC_LINE, sizeof(MAC_LINE) - 1) != 0)
		return -EINVAL;
	*ret_body = span_of(text.data, text.len - MAC_TAIL);
	return key_unhex(tail + sizeof(MAC_LINE) - 1, 2 * SHA256_LEN, ret_mac, SHA256_LEN);
}

static int parse_digest(const char *s, bool *ret_there, uint8_t ret[static SHA256_LEN])
{
	*ret_there = strcmp(s, "-") != 0;
	return *ret_there ? key_unhex(s, strlen(s), ret, SHA256_LEN) : 0;
}

static int parse_key(struct manifest *m, const char *line)
{
	char id[KEKD_KEY_ID_HEX + 1], was[DIGEST_HEX], is[DIGEST_HEX];
	uint8_t raw[KEKD_KEY_ID];
	struct manifest_entry *e;
	int r;

	if (sscanf(line, "key %32s %64s %64s", id, was, is) != 3)
		return -EINVAL;
	r = key_unhex(id, strlen(id), raw, sizeof(raw));
	if (r == 0)
		r = manifest_get(m, raw, &e);
	if (r == 0)
		r = parse_digest(was, &e->had, e->was);
	if (r == 0)
		r = parse_digest(is, &e->has, e->is);
	return r;
}

/* Head of @text, which ends in NUL; *ret_rest is what follows it. */
static int parse_head(const char *text, struct manifest *m, const char **ret_rest)
{
	char root[2 * KEY_ROOT_ID + 1];
	int end = 0;

	if (sscanf(text, "kekd-manifest 1\ngeneration %" SCNu64 "\nroot %16s\n%n", &m->generation,
		   root, &end) != 2 ||
	    end == 0)
		return -EINVAL;
	*ret_rest = text + end;
	return key_unhex(root, strlen(root), m->root, sizeof(m->root));
}

static int parse_keys(const char *text, struct manifest *m)
{
	int r = 0;

	while (r == 0 && *text) {
		r = parse_key(m, text);
		text += strcspn(text, "\n");
		text += *text == '\n';
	}
	return r;
}

int manifest_parse(struct span text, const uint8_t root_id[static KEY_ROOT_ID],
		   manifest_mac_fn *mac, const void *root, struct manifest *ret)
{
	_cleanup_(manifest_clear) struct manifest m = { 0 };
	uint8_t theirs[SHA256_LEN], ours[SHA256_LEN];
	_cleanup_free_ char *copy = NULL;
	const char *rest;
	struct span body;
	int r;

	r = split(text, &body, theirs);
	if (r < 0)
		return r;
	copy = strndup((const char *)body.data, body.len);
	if (!copy)
		return -ENOMEM;
	r = parse_head(copy, &m, &rest);
	if (r == 0 && memcmp(m.root, root_id, KEY_ROOT_ID) != 0)
		r = -EKEYREJECTED;
	if (r == 0)
		r = text_mac(body, mac, root, ours);
	if (r == 0 && !ct_equal(ours, theirs, sizeof(ours)))
		r = -EBADMSG;
	if (r == 0)
		r = parse_keys(rest, &m);
	if (r < 0)
		return r;
	*ret = m;
	m = (struct manifest){ 0 };
	return 0;
}
