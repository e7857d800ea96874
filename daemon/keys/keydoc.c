/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading and writing the document. What was read is written again and has to give the same text, so
 * there is one spelling without a rule for each field.
 */
#include "daemon/keys/keydoc.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/secmem.h"

#define FIRST          "kekd-keyset"
#define VERSION        "1"
#define VERSION_SEALED "2" /* it has keys of kind sealed */
#define VERSION_ROTATE "3" /* two roots, or blobs under a root that has come by a rotation */
/* "mac FINGERPRINT MAC\n" */
#define MAC_LEN (4 + 2 * KEY_ROOT_ID + 1 + 2 * KEYDOC_MAC + 1)

static const char *const carrier_names[] = {
	[KEYDOC_ALONE] = "none",
	[KEYDOC_HAND] = "hand",
	[KEYDOC_ETCD] = "etcd",
};

int keydoc_new(struct keydoc **ret)
{
	_cleanup_(keydoc_freep) struct keydoc *doc = calloc(1, sizeof(*doc));

	if (!doc)
		return -ENOMEM;
	doc->keys = calloc(KEKD_KEYS_MAX, sizeof(*doc->keys));
	doc->gone = calloc(KEYDOC_GONE_MAX, sizeof(*doc->gone));
	if (!doc->keys || !doc->gone)
		return -ENOMEM;
	*ret = move_ptr(doc);
	return 0;
}

int keydoc_copy(const struct keydoc *doc, struct keydoc **ret)
{
	struct key_record *keys;
	uint8_t(*gone)[KEKD_KEY_ID];
	struct keydoc *copy;
	int r;

	r = keydoc_new(&copy);
	if (r < 0)
		return r;
	keys = copy->keys;
	gone = copy->gone;
	*copy = *doc;
	copy->keys = keys;
	copy->gone = gone;
	memcpy(keys, doc->keys, doc->n_keys * sizeof(*keys));
	memcpy(gone, doc->gone, doc->n_gone * sizeof(*gone));
	*ret = copy;
	return 0;
}

void keydoc_free(struct keydoc *doc)
{
	if (!doc)
		return;
	free(doc->keys);
	free(doc->gone);
	free(doc);
}

struct key_record *keydoc_key(const struct keydoc *doc, const uint8_t id[static KEKD_KEY_ID])
{
	for (size_t i = 0; i < doc->n_keys; i++)
		if (memcmp(doc->keys[i].info.id, id, KEKD_KEY_ID) == 0)
			return &doc->keys[i];
	return NULL;
}

bool keydoc_has_name(const struct keydoc *doc, const char *name)
{
	for (size_t i = 0; i < doc->n_keys; i++)
		if (strcmp(doc->keys[i].info.name, name) == 0)
			return true;
	return false;
}

const struct key_record *keydoc_active(const struct keydoc *doc, const char *name)
{
	for (size_t i = 0; i < doc->n_keys; i++)
		if (doc->keys[i].info.state == KEY_ACTIVE &&
		    strcmp(doc->keys[i].info.name, name) == 0)
			return &doc->keys[i];
	return NULL;
}

const struct keydoc_member *keydoc_member(const struct keydoc *doc,
					  const uint8_t id[static KEYDOC_NODE])
{
	for (size_t i = 0; i < doc->n_members; i++)
		if (memcmp(doc->members[i].id, id, KEYDOC_NODE) == 0)
			return &doc->members[i];
	return NULL;
}

const struct keydoc_root *keydoc_root_find(const struct keydoc_root *root,
					   const uint8_t id[static KEY_ROOT_ID])
{
	while (root && memcmp(root->id, id, KEY_ROOT_ID) != 0)
		root = root->also;
	return root;
}

bool keydoc_has_root(const struct keydoc *doc, const uint8_t id[static KEY_ROOT_ID])
{
	return memcmp(doc->root, id, KEY_ROOT_ID) == 0 ||
	       (doc->rotating && memcmp(doc->next_root, id, KEY_ROOT_ID) == 0);
}

void keydoc_record_under(const struct keydoc *doc, const struct key_record *rec,
			 const uint8_t root[static KEY_ROOT_ID], struct key_record *ret)
{
	*ret = *rec;
	if (doc->rotating && memcmp(doc->next_root, root, KEY_ROOT_ID) == 0) {
		memcpy(ret->blob, rec->reblob, sizeof(ret->blob));
		memcpy(ret->root, root, sizeof(ret->root));
	}
	ret->reblob[0] = '\0';
}

void keydoc_end_rotation(struct keydoc *doc, bool give_up)
{
	if (!doc->rotating)
		return;
	for (size_t i = 0; i < doc->n_keys; i++) {
		struct key_record rec;

		keydoc_record_under(doc, &doc->keys[i], give_up ? doc->root : doc->next_root, &rec);
		doc->keys[i] = rec;
	}
	if (!give_up)
		memcpy(doc->root, doc->next_root, sizeof(doc->root));
	memset(doc->next_root, 0, sizeof(doc->next_root));
	doc->rotating = false;
}

bool keydoc_is_gone(const struct keydoc *doc, const uint8_t id[static KEKD_KEY_ID])
{
	for (size_t i = 0; i < doc->n_gone; i++)
		if (memcmp(doc->gone[i], id, KEKD_KEY_ID) == 0)
			return true;
	return false;
}

bool keydoc_is_removed(const struct keydoc *doc, const uint8_t id[static KEYDOC_NODE])
{
	for (size_t i = 0; i < doc->n_removed; i++)
		if (memcmp(doc->removed[i].id, id, KEYDOC_NODE) == 0)
			return true;
	return false;
}

void keydoc_add_gone(struct keydoc *doc, const uint8_t id[static KEKD_KEY_ID])
{
	if (doc->n_gone == KEYDOC_GONE_MAX) {
		memmove(doc->gone[0], doc->gone[1], (KEYDOC_GONE_MAX - 1) * sizeof(doc->gone[0]));
		doc->n_gone--;
		doc->forgotten = doc->generation;
	}
	memcpy(doc->gone[doc->n_gone++], id, KEKD_KEY_ID);
}

void keydoc_add_removed(struct keydoc *doc, const uint8_t id[static KEYDOC_NODE])
{
	if (doc->n_removed == KEYDOC_REMOVED_MAX)
		memmove(&doc->removed[0], &doc->removed[1],
			--doc->n_removed * sizeof(doc->removed[0]));
	memcpy(doc->removed[doc->n_removed++].id, id, KEYDOC_NODE);
}

/* The MAC binds what kind of text it is: HMAC(root, FIRST NUL SHA-256(text)). */
static int doc_mac_of(const struct keydoc_root *root, const char *first, struct span text,
		      uint8_t ret[static KEYDOC_MAC])
{
	uint8_t in[64 + SHA256_LEN];
	size_t n = strlen(first) + 1;
	int r;

	if (n > 64)
		return -EINVAL;
	memcpy(in, first, n);
	r = sha256(&text, 1, in + n);
	return r < 0 ? r : root->mac(root->ctx, span_of(in, n + SHA256_LEN), ret);
}

/* A MAC under @root over the first @len bytes of the text. */
static int sign_under(struct text_buf *b, size_t len, const char *first,
		      const struct keydoc_root *root)
{
	char id[2 * KEY_ROOT_ID + 1], hex[2 * KEYDOC_MAC + 1];
	uint8_t mac[KEYDOC_MAC];
	int r;

	if (b->r < 0)
		return b->r;
	r = doc_mac_of(root, first, span_of(b->data, len), mac);
	if (r < 0)
		return r;
	key_hex(root->id, KEY_ROOT_ID, id);
	key_hex(mac, sizeof(mac), hex);
	text_append(b, "mac %s %s\n", id, hex);
	return b->r;
}

int keydoc_sign(struct text_buf *b, const char *first, const struct keydoc_root *root)
{
	size_t len = b->len;
	int r = 0;

	for (; r == 0 && root; root = root->also)
		r = sign_under(b, len, first, root);
	return r;
}

/* The MACs at the end of a text, in their order. */
struct macs {
	size_t n;
	struct {
		uint8_t id[KEY_ROOT_ID], said[KEYDOC_MAC];
	} mac[KEYDOC_ROOTS];
};

/* The last line of *text, if it is a MAC, before those that are there already. */
static bool mac_cut(struct span *text, struct macs *m)
{
	uint8_t id[KEY_ROOT_ID], said[KEYDOC_MAC];
	struct span body, line, value, word;

	if (m->n == KEYDOC_ROOTS || text->len <= MAC_LEN)
		return false;
	body = span_of(text->data, text->len - MAC_LEN);
	line = span_of(text->data + body.len, MAC_LEN);
	if (body.data[body.len - 1] != '\n' || text_take(&line, "mac", &value) < 0 ||
	    line.len > 0 || text_word(&value, &word) < 0 || text_hex(word, id, sizeof(id)) < 0 ||
	    text_hex(value, said, sizeof(said)) < 0)
		return false;
	memmove(&m->mac[1], &m->mac[0], m->n * sizeof(m->mac[0]));
	memcpy(m->mac[0].id, id, sizeof(id));
	memcpy(m->mac[0].said, said, sizeof(said));
	m->n++;
	*text = body;
	return true;
}

/* Each MAC whose root is there holds, and there is one. */
static int macs_check(const struct macs *m, struct span body, const char *first,
		      const struct keydoc_root *roots, uint8_t ret_other[static KEY_ROOT_ID])
{
	uint8_t mac[KEYDOC_MAC];
	size_t held = 0;

	for (size_t i = 0; i < m->n; i++) {
		const struct keydoc_root *root = keydoc_root_find(roots, m->mac[i].id);
		int r = root ? doc_mac_of(root, first, body, mac) : 0;

		if (r < 0)
			return r;
		if (root && !ct_equal(mac, m->mac[i].said, sizeof(mac)))
			return -EBADMSG;
		held += root != NULL;
	}
	if (held > 0)
		return 0;
	memcpy(ret_other, m->mac[0].id, KEY_ROOT_ID);
	return -EKEYREJECTED;
}

static int doc_open(struct span text, const char *first, const struct keydoc_root *root,
		    struct macs *m, struct span *ret, uint8_t ret_other[static KEY_ROOT_ID])
{
	int r;

	m->n = 0;
	while (mac_cut(&text, m))
		;
	if (m->n == 0)
		return -ENODATA;
	r = macs_check(m, text, first, root, ret_other);
	if (r == 0)
		*ret = text;
	return r;
}

int keydoc_open(struct span text, const char *first, const struct keydoc_root *root,
		struct span *ret, uint8_t ret_other[static KEY_ROOT_ID])
{
	struct macs m;

	return doc_open(text, first, root, &m, ret, ret_other);
}

static void doc_put_node(struct text_buf *b, const struct keydoc *doc)
{
	char time[TEXT_TIME_LEN + 1], hex[2 * KEYDOC_NODE + 1];

	if (text_time_format(doc->time, time) < 0) {
		b->r = -EINVAL;
		return;
	}
	text_append_hex(b, "node", doc->node, sizeof(doc->node));
	text_append(b, "time %s\n", time);
	key_hex(doc->hand, sizeof(doc->hand), hex);
	if (doc->carrier == KEYDOC_HAND)
		text_append(b, "carrier hand %s\n", hex);
	else
		text_append(b, "carrier %s\n", carrier_names[doc->carrier]);
}

static void put_members(struct text_buf *b, const struct keydoc *doc)
{
	char hex[2 * KEYDOC_NODE + 1];

	for (size_t i = 0; doc->is_merged && i < 2; i++)
		text_append_hex(b, "merged", doc->merged[i], SHA256_LEN);
	for (size_t i = 0; i < doc->n_members; i++) {
		const struct keydoc_member *m = &doc->members[i];

		key_hex(m->id, sizeof(m->id), hex);
		text_append(b, "member %s %s %s\n", hex, m->leaving ? "leaving" : "member",
			    m->name);
	}
	for (size_t i = 0; i < doc->n_removed; i++)
		text_append_hex(b, "removed", doc->removed[i].id, KEYDOC_NODE);
}

/* A program that knows nothing of sealed keys takes a document that has none, and refuses another with words. */
static const char *doc_version(const struct keydoc *doc)
{
	const char *version = doc->rotating ? VERSION_ROTATE : VERSION;

	for (size_t i = 0; !doc->rotating && i < doc->n_keys; i++) {
		/* Under a root of a name of its own (keys/root.h). */
		if (strstr(doc->keys[i].blob, ":kekd-root."))
			return VERSION_ROTATE;
		if (doc->keys[i].info.kind == KEY_KIND_SEALED)
			version = VERSION_SEALED;
	}
	return version;
}

static void doc_put_all(struct text_buf *b, const struct keydoc *doc)
{
	text_append(b, FIRST " %s\n", doc_version(doc));
	text_append_hex(b, "cluster", doc->cluster, sizeof(doc->cluster));
	text_append(b, "generation %" PRIu64 "\n", doc->generation);
	text_append_hex(b, "nonce", doc->nonce, sizeof(doc->nonce));
	doc_put_node(b, doc);
	put_members(b, doc);
	text_append_hex(b, "root", doc->root, sizeof(doc->root));
	if (doc->rotating)
		text_append_hex(b, "root", doc->next_root, sizeof(doc->next_root));
	text_append(b, "activations %" PRIu32 "\n", doc->activations);
	for (size_t i = 0; i < doc->n_keys; i++)
		key_record_append(b, &doc->keys[i]);
	for (size_t i = 0; i < doc->n_gone; i++)
		text_append_hex(b, "gone", doc->gone[i], KEKD_KEY_ID);
	text_append(b, "forgotten %" PRIu64 "\n", doc->forgotten);
}

static int doc_take_hex(struct span *text, const char *field, uint8_t *ret, size_t len)
{
	struct span v;
	int r = text_take(text, field, &v);

	return r < 0 ? r : text_hex(v, ret, len);
}

static int take_u64(struct span *text, const char *field, uint64_t *ret)
{
	struct span v;
	int r = text_take(text, field, &v);

	return r < 0 ? r : text_u64(v, ret);
}

static int take_carrier(struct span *text, struct keydoc *doc)
{
	struct span v, word;
	int r = text_take(text, "carrier", &v);

	if (r < 0)
		return r;
	for (enum keydoc_carrier c = 0; c < KEYDOC_CARRIERS; c++)
		if (c != KEYDOC_HAND && span_equal(v, span_str(carrier_names[c]))) {
			doc->carrier = c;
			return 0;
		}
	doc->carrier = KEYDOC_HAND;
	if (text_word(&v, &word) < 0 || !span_equal(word, span_str(carrier_names[KEYDOC_HAND])))
		return -EINVAL;
	return text_hex(v, doc->hand, sizeof(doc->hand));
}

static int doc_take_head(struct span *text, struct keydoc *doc)
{
	struct span v;

	if (text_take(text, FIRST, &v) < 0)
		return -EINVAL;
	if (!span_equal(v, span_str(VERSION)) && !span_equal(v, span_str(VERSION_SEALED)) &&
	    !span_equal(v, span_str(VERSION_ROTATE)))
		return -EPROTONOSUPPORT;
	if (doc_take_hex(text, "cluster", doc->cluster, sizeof(doc->cluster)) < 0 ||
	    take_u64(text, "generation", &doc->generation) < 0 ||
	    doc_take_hex(text, "nonce", doc->nonce, sizeof(doc->nonce)) < 0 ||
	    doc_take_hex(text, "node", doc->node, sizeof(doc->node)) < 0 ||
	    text_take(text, "time", &v) < 0 || text_time(v, &doc->time) < 0)
		return -EINVAL;
	return take_carrier(text, doc);
}

static int take_member(struct span *text, struct keydoc *doc)
{
	struct keydoc_member *m = &doc->members[doc->n_members];
	struct span v, id, state;

	if (doc->n_members == KEYDOC_MEMBERS_MAX || text_take(text, "member", &v) < 0 ||
	    text_word(&v, &id) < 0 || text_word(&v, &state) < 0 ||
	    text_hex(id, m->id, sizeof(m->id)) < 0 || text_name(v, m->name, sizeof(m->name)) < 0)
		return -EINVAL;
	m->leaving = span_equal(state, span_str("leaving"));
	doc->n_members++;
	return 0;
}

static int doc_take_key(struct span *text, struct keydoc *doc)
{
	struct key_record *rec = &doc->keys[doc->n_keys];
	int r;

	if (doc->n_keys == KEKD_KEYS_MAX)
		return -EINVAL;
	r = key_record_take(text, rec);
	if (r < 0)
		return r;
	memcpy(rec->root, doc->root, sizeof(rec->root));
	doc->n_keys++;
	return 0;
}

static int take_lists(struct span *text, struct keydoc *doc)
{
	uint64_t activations;
	int r = 0;

	doc->is_merged = text_has(*text, "merged");
	for (size_t i = 0; r == 0 && doc->is_merged && i < 2; i++)
		r = doc_take_hex(text, "merged", doc->merged[i], SHA256_LEN);
	while (r == 0 && text_has(*text, "member"))
		r = take_member(text, doc);
	while (r == 0 && text_has(*text, "removed"))
		r = doc->n_removed == KEYDOC_REMOVED_MAX
			    ? -EINVAL
			    : doc_take_hex(text, "removed", doc->removed[doc->n_removed++].id,
					   KEYDOC_NODE);
	if (r == 0)
		r = doc_take_hex(text, "root", doc->root, sizeof(doc->root));
	doc->rotating = r == 0 && text_has(*text, "root");
	if (doc->rotating)
		r = doc_take_hex(text, "root", doc->next_root, sizeof(doc->next_root));
	if (r == 0)
		r = take_u64(text, "activations", &activations);
	if (r < 0 || activations > UINT32_MAX)
		return -EINVAL;
	doc->activations = (uint32_t)activations;
	while (r == 0 && text_has(*text, "key"))
		r = doc_take_key(text, doc);
	while (r == 0 && text_has(*text, "gone"))
		r = doc->n_gone == KEYDOC_GONE_MAX
			    ? -EINVAL
			    : doc_take_hex(text, "gone", doc->gone[doc->n_gone++], KEKD_KEY_ID);
	return r < 0 ? r : take_u64(text, "forgotten", &doc->forgotten);
}

/* Is @rec the one active key of its name, with the highest number? Yes for keys that are not active. */
static bool leads(const struct keydoc *doc, const struct key_record *rec)
{
	for (size_t i = 0; rec->info.state == KEY_ACTIVE && i < doc->n_keys; i++) {
		const struct key_record *other = &doc->keys[i];

		if (other != rec && strcmp(other->info.name, rec->info.name) == 0 &&
		    (other->info.state == KEY_ACTIVE ||
		     other->info.activation >= rec->info.activation))
			return false;
	}
	return true;
}

/* Nodes and keys that are no more: each once, and none of them is there. */
static bool is_past_sound(const struct keydoc *doc)
{
	for (size_t i = 0; i < doc->n_removed; i++)
		for (size_t j = 0; j < i; j++)
			if (memcmp(doc->removed[i].id, doc->removed[j].id, KEYDOC_NODE) == 0)
				return false;
	for (size_t i = 0; i < doc->n_gone; i++)
		for (size_t j = 0; j < i; j++)
			if (memcmp(doc->gone[i], doc->gone[j], KEKD_KEY_ID) == 0)
				return false;
	for (size_t i = 0; i < doc->n_members; i++)
		if (keydoc_is_removed(doc, doc->members[i].id))
			return false;
	for (size_t i = 0; i < doc->n_keys; i++)
		if (keydoc_is_gone(doc, doc->keys[i].info.id))
			return false;
	return doc->forgotten <= doc->generation;
}

/* What holds for every document, whatever changes led to it. */
static bool is_sound(const struct keydoc *doc)
{
	for (size_t i = 0; i < doc->n_members; i++)
		if (keydoc_member(doc, doc->members[i].id) != &doc->members[i])
			return false;
	for (size_t i = 0; i < doc->n_keys; i++) {
		const struct key_record *rec = &doc->keys[i];

		if ((rec->reblob[0] != '\0') != doc->rotating)
			return false;
		if (keydoc_key(doc, rec->info.id) != rec ||
		    rec->info.activation > doc->activations || rec->info.marked > doc->generation ||
		    !leads(doc, rec))
			return false;
	}
	if (doc->rotating && memcmp(doc->root, doc->next_root, KEY_ROOT_ID) == 0)
		return false;
	/* Changes come from a member; a machine that has no carrier is alone. */
	if (doc->n_members == 0 || (doc->carrier == KEYDOC_ALONE && doc->n_members != 1) ||
	    (doc->carrier == KEYDOC_HAND && !keydoc_member(doc, doc->hand)))
		return false;
	return doc->generation > 0 && is_past_sound(doc);
}

/* The body, without its MAC. */
static int doc_take_all(struct span text, struct keydoc **ret)
{
	_cleanup_(keydoc_freep) struct keydoc *doc = NULL;
	_cleanup_free_ char *back = malloc(KEYDOC_TEXT_MAX);
	struct text_buf b = { .data = back, .size = KEYDOC_TEXT_MAX };
	struct span rest = text;
	int r;

	if (!back)
		return -ENOMEM;
	r = keydoc_new(&doc);
	if (r == 0)
		r = doc_take_head(&rest, doc);
	if (r == 0)
		r = take_lists(&rest, doc);
	if (r < 0)
		return r;
	if (rest.len > 0 || !is_sound(doc))
		return -EINVAL;
	doc_put_all(&b, doc);
	if (b.r < 0 || !span_equal(span_of(back, b.len), text))
		return -EINVAL;
	*ret = move_ptr(doc);
	return 0;
}

int keydoc_format(struct keydoc *doc, const struct keydoc_root *root, char **ret, size_t *ret_len)
{
	_cleanup_(keydoc_freep) struct keydoc *back = NULL;
	_cleanup_free_ char *text = malloc(KEYDOC_TEXT_MAX);
	struct text_buf b = { .data = text, .size = KEYDOC_TEXT_MAX };
	const struct keydoc_root *signer[KEYDOC_ROOTS];
	struct span whole;
	size_t len;
	int r;

	if (!text)
		return -ENOMEM;
	signer[0] = keydoc_root_find(root, doc->root);
	signer[1] = doc->rotating ? keydoc_root_find(root, doc->next_root) : NULL;
	if (!signer[0] || (doc->rotating && !signer[1]))
		return -EINVAL;
	doc_put_all(&b, doc);
	if (b.r < 0)
		return b.r;
	len = b.len;
	r = doc_take_all(span_of(text, len), &back);
	for (size_t i = 0; r == 0 && i < KEYDOC_ROOTS && signer[i]; i++)
		r = sign_under(&b, len, FIRST, signer[i]);
	whole = span_of(text, b.len);
	if (r == 0)
		r = sha256(&whole, 1, doc->hash);
	if (r < 0)
		return r;
	*ret = move_ptr(text);
	*ret_len = b.len;
	return 0;
}

int keydoc_parse(struct span text, const struct keydoc_root *root, struct keydoc **ret,
		 uint8_t ret_other[static KEY_ROOT_ID])
{
	_cleanup_(keydoc_freep) struct keydoc *doc = NULL;
	struct span body;
	struct macs m;
	int r;

	if (text.len > KEYDOC_TEXT_MAX)
		return -ENODATA;
	r = doc_open(text, FIRST, root, &m, &body, ret_other);
	if (r == 0)
		r = doc_take_all(body, &doc);
	if (r == 0)
		r = sha256(&text, 1, doc->hash);
	if (r < 0)
		return r;
	/* Exactly the roots that the document names have signed it, in that order. */
	if (m.n != (doc->rotating ? 2 : 1) || memcmp(m.mac[0].id, doc->root, KEY_ROOT_ID) != 0 ||
	    (doc->rotating && memcmp(m.mac[1].id, doc->next_root, KEY_ROOT_ID) != 0))
		return -EINVAL;
	*ret = move_ptr(doc);
	return 0;
}

bool keydoc_fits(const struct keydoc *doc)
{
	size_t second = 0;
	_cleanup_free_ char *text = malloc(KEYDOC_TEXT_MAX);
	struct text_buf b = { .data = text, .size = KEYDOC_TEXT_MAX };

	if (!text)
		return false;
	doc_put_all(&b, doc);
	/* The second blob names a root, "kekd-root.FINGERPRINT", where the first may say "kekd-root". */
	for (size_t i = 0; !doc->rotating && i < doc->n_keys; i++)
		second += strlen("reblob \n") + strlen(doc->keys[i].blob) + 1 + 2 * KEY_ROOT_ID;
	second += doc->rotating ? 0 : strlen("root \n") + 2 * KEY_ROOT_ID;
	return b.r == 0 && doc->n_keys <= KEKD_KEYS_MAX &&
	       b.len + second + 2 * MAC_LEN < KEYDOC_TEXT_MAX;
}
