/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See imported.h. What is secret here is the stream, for a moment, and the key, which is the
 * caller's. A kernel MAC is written by recvmsg(2) into this process's stack; the stack of a keeper
 * that handles a key is wiped by hand.
 */
#include "daemon/keys/imported.h"

#include <errno.h>
#include <string.h>

#include "daemon/base/random.h"
#include "daemon/base/secmem.h"
#include "daemon/crypto/digest.h"
#include "daemon/keys/check.h"

#define STREAM_TEXT "kekd imported stream v1"
#define TAG_TEXT    "kekd imported tag v1"
#define CHECK_TEXT  "kekd imported check v1"
#define BLOB_HEAD   "hmac-sha256 "
#define NONCE       16
#define INPUT_MAX   (sizeof(STREAM_TEXT) + NONCE + SHA256_LEN + KEKD_AES_KEY_MAX)

struct sealed {
	uint8_t nonce[NONCE];
	uint8_t text[KEKD_AES_KEY_MAX];
	uint8_t tag[SHA256_LEN];
};

_Static_assert(sizeof(BLOB_HEAD) + 2 * sizeof(struct sealed) + 2 < KEY_BLOB_MAX,
	       "a record holds it");
_Static_assert(SHA256_LEN == KEKD_AES_KEY_MAX && SHA256_LEN == ROOT_MAC, "one MAC covers a key");

/* @what with its NUL ‖ nonce ‖ binding ‖ @text, MACed. */
static int imported_mac_of(const struct root_key *root, const char *what,
			   const struct key_record *rec, const uint8_t nonce[static NONCE],
			   struct span text, uint8_t ret[static SHA256_LEN])
{
	uint8_t in[INPUT_MAX], binding[SHA256_LEN];
	size_t n = strlen(what) + 1;
	int r;

	r = key_binding(rec, binding);
	if (r < 0)
		return r;
	memcpy(in, what, n);
	memcpy(in + n, nonce, NONCE);
	n += NONCE;
	memcpy(in + n, binding, sizeof(binding));
	n += sizeof(binding);
	if (text.len > 0)
		memcpy(in + n, text.data, text.len);
	return root_key_mac(root, span_of(in, n + text.len), ret);
}

/* out = in ⊕ stream; the same both ways. */
static int stream_xor(const struct root_key *root, const struct key_record *rec,
		      const uint8_t nonce[static NONCE], const uint8_t *in, uint8_t *out)
{
	uint8_t stream[SHA256_LEN];
	int r;

	r = imported_mac_of(root, STREAM_TEXT, rec, nonce, SPAN_NULL, stream);
	for (size_t i = 0; r == 0 && i < rec->info.key_bytes; i++)
		out[i] = in[i] ^ stream[i];
	secmem_wipe(stream, sizeof(stream));
	return r;
}

static int imported_check_value(const struct key_record *rec, struct span key,
				uint8_t ret[static KEKD_AES_BLOCK])
{
	uint8_t binding[SHA256_LEN], value[SHA256_LEN];
	const struct span parts[] = {
		span_of(CHECK_TEXT, sizeof(CHECK_TEXT)),
		span_of(binding, sizeof(binding)),
	};
	int r;

	r = key_binding(rec, binding);
	if (r == 0)
		r = hmac_sha256(key, parts, 2, value);
	if (r == 0)
		memcpy(ret, value, KEKD_AES_BLOCK);
	return r;
}

static void blob_format(const struct sealed *s, size_t len, char ret[static KEY_BLOB_MAX])
{
	char *p = stpcpy(ret, BLOB_HEAD);

	key_hex(s->nonce, sizeof(s->nonce), p);
	p += 2 * sizeof(s->nonce);
	*p++ = ' ';
	key_hex(s->text, len, p);
	p += 2 * len;
	*p++ = ' ';
	key_hex(s->tag, sizeof(s->tag), p);
}

static int blob_parse(const char *blob, size_t len, struct sealed *ret)
{
	const char *nonce = blob + sizeof(BLOB_HEAD) - 1;
	const char *text = nonce + 2 * sizeof(ret->nonce) + 1;
	const char *tag = text + 2 * len + 1;

	if (strlen(blob) != sizeof(BLOB_HEAD) - 1 + 2 * (NONCE + len + SHA256_LEN) + 2 ||
	    strncmp(blob, BLOB_HEAD, sizeof(BLOB_HEAD) - 1) != 0 || text[-1] != ' ' ||
	    tag[-1] != ' ' || key_unhex(nonce, 2 * NONCE, ret->nonce, NONCE) < 0 ||
	    key_unhex(text, 2 * len, ret->text, len) < 0 ||
	    key_unhex(tag, 2 * SHA256_LEN, ret->tag, SHA256_LEN) < 0)
		return -EINVAL;
	return 0;
}

static bool is_size(const struct key_record *rec)
{
	return strcmp(key_alg_name(&rec->info), "?") != 0;
}

int imported_seal(const struct root_key *root, struct key_record *rec, struct span key)
{
	struct key_record made = *rec;
	struct sealed s;
	int r;

	if (!imported_kind(rec->info.kind) || !is_size(rec) || key.len != rec->info.key_bytes)
		return -EINVAL;
	memcpy(made.root, root_key_id(root), sizeof(made.root));
	r = random_bytes(s.nonce, sizeof(s.nonce));
	if (r == 0)
		r = stream_xor(root, &made, s.nonce, key.data, s.text);
	if (r == 0)
		r = imported_mac_of(root, TAG_TEXT, &made, s.nonce, span_of(s.text, key.len),
				    s.tag);
	if (r == 0)
		r = imported_check_value(&made, key, made.check);
	if (r < 0)
		return r;
	blob_format(&s, key.len, made.blob);
	*rec = made;
	return 0;
}

int imported_open(const struct root_key *root, const struct key_record *rec,
		  uint8_t ret[static KEKD_AES_KEY_MAX])
{
	uint8_t tag[SHA256_LEN];
	struct sealed s;
	int r;

	memset(ret, 0, KEKD_AES_KEY_MAX);
	if (!imported_kind(rec->info.kind) || !is_size(rec))
		return -EINVAL;
	if (memcmp(rec->root, root_key_id(root), sizeof(rec->root)) != 0)
		return -EKEYREJECTED;
	r = blob_parse(rec->blob, rec->info.key_bytes, &s);
	if (r == 0)
		r = imported_mac_of(root, TAG_TEXT, rec, s.nonce,
				    span_of(s.text, rec->info.key_bytes), tag);
	if (r < 0)
		return r;
	if (!ct_equal(tag, s.tag, sizeof(tag)))
		return -EBADMSG;
	r = stream_xor(root, rec, s.nonce, s.text, ret);
	if (r == 0 && !imported_is(rec, span_of(ret, rec->info.key_bytes)))
		r = -EBADMSG;
	if (r < 0)
		secmem_wipe(ret, KEKD_AES_KEY_MAX);
	return r;
}

bool imported_is(const struct key_record *rec, struct span key)
{
	uint8_t value[KEKD_AES_BLOCK];

	return key.len == rec->info.key_bytes && imported_check_value(rec, key, value) == 0 &&
	       ct_equal(value, rec->check, sizeof(value));
}
