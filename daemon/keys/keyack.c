/* SPDX-License-Identifier: Apache-2.0 */
/* As keydoc.c: what was read has to give the same text when it is written again. */
#include "daemon/keys/keyack.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define FIRST   "kekd-ack"
#define VERSION "1"

/* Why a key does not open: few words, each with its errno. */
static const struct {
	const char *name;
	int r;
} reasons[] = {
	{ "opens", 0 },
	{ "other-root", -EKEYREJECTED },
	{ "damaged", -EBADMSG },
	{ "malformed", -EINVAL },
	{ "other-kind", -EOPNOTSUPP },
	{ "label-taken", -EEXIST },
	{ "revoked", -EKEYREVOKED },
	{ "expired", -EKEYEXPIRED },
	{ "missing", -ENOKEY },
	{ "no-room", -ENOBUFS },
	{ "fails", -EIO },
};

static const char *reason_name(int r)
{
	for (size_t i = 0; i < ARRAY_SIZE(reasons); i++)
		if (reasons[i].r == r)
			return reasons[i].name;
	return "fails";
}

static int reason_take(struct span v, int *ret)
{
	for (size_t i = 0; i < ARRAY_SIZE(reasons); i++) {
		if (!span_equal(v, span_str(reasons[i].name)))
			continue;
		*ret = reasons[i].r;
		return 0;
	}
	return -EINVAL;
}

int keyack_new(struct keyack **ret)
{
	_cleanup_(keyack_freep) struct keyack *ack = calloc(1, sizeof(*ack));

	if (!ack)
		return -ENOMEM;
	ack->keys = calloc(KEKD_KEYS_MAX, sizeof(*ack->keys));
	ack->writes = calloc(KEKD_KEYS_MAX, sizeof(*ack->writes));
	if (!ack->keys || !ack->writes)
		return -ENOMEM;
	*ret = move_ptr(ack);
	return 0;
}

void keyack_free(struct keyack *ack)
{
	if (!ack)
		return;
	free(ack->keys);
	free(ack->writes);
	free(ack);
}

const struct keyack_key *keyack_key(const struct keyack *ack, const uint8_t id[static KEKD_KEY_ID])
{
	for (size_t i = 0; i < ack->n_keys; i++)
		if (memcmp(ack->keys[i].id, id, KEKD_KEY_ID) == 0)
			return &ack->keys[i];
	return NULL;
}

bool keyack_writes_with(const struct keyack *ack, const uint8_t id[static KEKD_KEY_ID])
{
	for (size_t i = 0; i < ack->n_writes; i++)
		if (memcmp(ack->writes[i].id, id, KEKD_KEY_ID) == 0)
			return true;
	return false;
}

bool keyack_has_root(const struct keyack *ack, const uint8_t root[static KEY_ROOT_ID])
{
	for (size_t i = 0; i < ack->n_roots; i++)
		if (memcmp(ack->roots[i], root, KEY_ROOT_ID) == 0)
			return true;
	return false;
}

bool keyack_has_heard(const struct keyack *ack, const uint8_t node[static KEYDOC_NODE],
		      const uint8_t number[static KEYDOC_NODE])
{
	for (size_t i = 0; i < ack->n_heard; i++)
		if (memcmp(ack->heard[i].node, node, KEYDOC_NODE) == 0)
			return memcmp(ack->heard[i].number, number, KEYDOC_NODE) == 0;
	return false;
}

static void ack_put_node(struct text_buf *b, const struct keyack *ack)
{
	char hex[2 * KEYDOC_NODE + 1], number[2 * KEYDOC_NODE + 1];

	text_append(b, FIRST " " VERSION "\n");
	text_append_hex(b, "cluster", ack->cluster, sizeof(ack->cluster));
	key_hex(ack->node, sizeof(ack->node), hex);
	text_append(b, "node %s %s\n", hex, ack->name);
	text_append_hex(b, "keyset", ack->doc, sizeof(ack->doc));
	text_append(b, "generation %" PRIu64 "\n", ack->generation);
	text_append_hex(b, "session", ack->session, sizeof(ack->session));
	text_append_hex(b, "number", ack->number, sizeof(ack->number));
	for (size_t i = 0; i < ack->n_heard; i++) {
		key_hex(ack->heard[i].node, KEYDOC_NODE, hex);
		key_hex(ack->heard[i].number, KEYDOC_NODE, number);
		text_append(b, "heard %s %s\n", hex, number);
	}
}

static void ack_put_all(struct text_buf *b, const struct keyack *ack)
{
	char hex[2 * KEKD_KEY_ID + 1], time[TEXT_TIME_LEN + 1];

	ack_put_node(b, ack);
	for (size_t i = 0; i < ack->n_keys; i++) {
		const struct keyack_key *key = &ack->keys[i];

		key_hex(key->id, sizeof(key->id), hex);
		text_append(b, "key %s %s %s %" PRIu64 "\n", hex, reason_name(key->why),
			    key->quiet ? "quiet" : "busy", key->uses);
	}
	for (size_t i = 0; i < ack->n_writes; i++) {
		key_hex(ack->writes[i].id, KEKD_KEY_ID, hex);
		text_append(b, "writes %s.%" PRIu32 "\n", hex, ack->writes[i].activation);
	}
	for (size_t i = 0; i < ack->n_roots; i++)
		text_append_hex(b, "root", ack->roots[i], KEY_ROOT_ID);
	if (ack->has_config)
		text_append_hex(b, "config", ack->config, sizeof(ack->config));
	if (text_time_format(ack->time, time) < 0) {
		b->r = -EINVAL;
		return;
	}
	text_append(b, "time %s\nversion %s\nformats %u\n", time, ack->version, ack->formats);
}

static int ack_take_hex(struct span *text, const char *field, uint8_t *ret, size_t len)
{
	struct span v;
	int r = text_take(text, field, &v);

	return r < 0 ? r : text_hex(v, ret, len);
}

static int ack_take_head(struct span *text, struct keyack *ack)
{
	struct span v, word;

	if (text_take(text, FIRST, &v) < 0)
		return -EINVAL;
	if (!span_equal(v, span_str(VERSION)))
		return -EPROTONOSUPPORT;
	if (ack_take_hex(text, "cluster", ack->cluster, sizeof(ack->cluster)) < 0 ||
	    text_take(text, "node", &v) < 0 || text_word(&v, &word) < 0 ||
	    text_hex(word, ack->node, sizeof(ack->node)) < 0 ||
	    text_name(v, ack->name, sizeof(ack->name)) < 0 ||
	    ack_take_hex(text, "keyset", ack->doc, sizeof(ack->doc)) < 0 ||
	    text_take(text, "generation", &v) < 0 || text_u64(v, &ack->generation) < 0 ||
	    ack_take_hex(text, "session", ack->session, sizeof(ack->session)) < 0 ||
	    ack_take_hex(text, "number", ack->number, sizeof(ack->number)) < 0)
		return -EINVAL;
	return 0;
}

static int take_heard(struct span *text, struct keyack *ack)
{
	struct keyack_heard *h = &ack->heard[ack->n_heard++];
	struct span v, word;

	if (ack->n_heard > KEYDOC_MEMBERS_MAX || text_take(text, "heard", &v) < 0 ||
	    text_word(&v, &word) < 0 || text_hex(word, h->node, sizeof(h->node)) < 0)
		return -EINVAL;
	return text_hex(v, h->number, sizeof(h->number));
}

static int ack_take_key(struct span *text, struct keyack *ack)
{
	struct keyack_key *key = &ack->keys[ack->n_keys++];
	struct span v, id, why, quiet;

	if (ack->n_keys > KEKD_KEYS_MAX || text_take(text, "key", &v) < 0 ||
	    text_word(&v, &id) < 0 || text_word(&v, &why) < 0 || text_word(&v, &quiet) < 0 ||
	    text_hex(id, key->id, sizeof(key->id)) < 0 || reason_take(why, &key->why) < 0)
		return -EINVAL;
	key->quiet = span_equal(quiet, span_str("quiet"));
	return text_u64(v, &key->uses);
}

static int take_writes(struct span *text, struct keyack *ack)
{
	struct keyack_writes *w = &ack->writes[ack->n_writes++];
	struct span v;

	if (ack->n_writes > KEKD_KEYS_MAX || text_take(text, "writes", &v) < 0)
		return -EINVAL;
	return key_id_parse((const char *)v.data, v.len, w->id, &w->activation);
}

static int take_body(struct span *text, struct keyack *ack)
{
	struct span v;
	uint32_t formats;
	int r;

	r = ack_take_head(text, ack);
	while (r == 0 && text_has(*text, "heard"))
		r = take_heard(text, ack);
	while (r == 0 && text_has(*text, "key"))
		r = ack_take_key(text, ack);
	while (r == 0 && text_has(*text, "writes"))
		r = take_writes(text, ack);
	while (r == 0 && text_has(*text, "root"))
		r = ack->n_roots == KEYDOC_ROOTS
			    ? -EINVAL
			    : ack_take_hex(text, "root", ack->roots[ack->n_roots++], KEY_ROOT_ID);
	ack->has_config = r == 0 && text_has(*text, "config");
	if (ack->has_config)
		r = ack_take_hex(text, "config", ack->config, sizeof(ack->config));
	if (r < 0)
		return r;
	if (text_take(text, "time", &v) < 0 || text_time(v, &ack->time) < 0 ||
	    text_take(text, "version", &v) < 0 ||
	    text_plain(v, ack->version, sizeof(ack->version)) < 0 ||
	    text_take(text, "formats", &v) < 0 || text_u32(v, &formats) < 0 || text->len > 0)
		return -EINVAL;
	ack->formats = formats;
	return 0;
}

/* The text without its MAC. */
static int ack_take_all(struct span text, struct keyack **ret)
{
	_cleanup_(keyack_freep) struct keyack *ack = NULL;
	_cleanup_free_ char *back = malloc(KEYACK_TEXT_MAX);
	struct text_buf b = { .data = back, .size = KEYACK_TEXT_MAX };
	struct span rest = text;
	int r;

	if (!back)
		return -ENOMEM;
	r = keyack_new(&ack);
	if (r == 0)
		r = take_body(&rest, ack);
	if (r < 0)
		return r;
	ack_put_all(&b, ack);
	if (b.r < 0 || !span_equal(span_of(back, b.len), text))
		return -EINVAL;
	*ret = move_ptr(ack);
	return 0;
}

int keyack_format(const struct keyack *ack, const struct keydoc_root *root, char **ret,
		  size_t *ret_len)
{
	_cleanup_(keyack_freep) struct keyack *back = NULL;
	_cleanup_free_ char *text = malloc(KEYACK_TEXT_MAX);
	struct text_buf b = { .data = text, .size = KEYACK_TEXT_MAX };
	int r;

	if (!text)
		return -ENOMEM;
	ack_put_all(&b, ack);
	if (b.r < 0)
		return b.r;
	r = ack_take_all(span_of(text, b.len), &back);
	if (r == 0)
		r = keydoc_sign(&b, FIRST, root);
	if (r < 0)
		return r;
	*ret = move_ptr(text);
	*ret_len = b.len;
	return 0;
}

int keyack_parse(struct span text, const struct keydoc_root *root, struct keyack **ret,
		 uint8_t ret_other[static KEY_ROOT_ID])
{
	struct span body;
	int r;

	if (text.len > KEYACK_TEXT_MAX)
		return -ENODATA;
	r = keydoc_open(text, FIRST, root, &body, ret_other);
	return r < 0 ? r : ack_take_all(body, ret);
}

bool keyack_cut(struct span *text, struct span *ret)
{
	static const char line[] = "\n" FIRST " ";
	const uint8_t *at = NULL, *p = text->data;
	size_t left = text->len;

	if (span_starts_with(*text, span_str(FIRST " ")))
		at = text->data;
	while (left > 0 && (p = memmem(p, left, line, sizeof(line) - 1))) {
		at = ++p;
		left = text->len - (size_t)(p - text->data);
	}
	if (!at)
		return false;
	*ret = span_of(at, text->len - (size_t)(at - text->data));
	text->len -= ret->len;
	return true;
}

struct span keyack_head(struct span text)
{
	for (struct span one; keyack_cut(&text, &one);)
		;
	return text;
}
