/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See retype.h. "default TYPE:NAME BYTES HEX"; the bytes of HEX are an IV, a NUL, the ciphertext and 32 bytes of MAC. The MAC
 * is HMAC-SHA256 of "default", "TYPE:NAME" and "BYTES", each with its NUL, and of what is before it; its key is SHA-256
 * of "AUTH_KEY", a NUL, and the root.
 */
#include "daemon/keys/retype.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/base/secmem.h"
#include "daemon/crypto/digest.h"
#include "daemon/keys/text.h"

#define FORMAT "default"

struct blob {
	struct span type, name, size; /* of the text */
	uint8_t bytes[KEY_BLOB_MAX / 2];
	size_t len; /* with the MAC */
};

/* Up to @end, which is passed over. */
static int cut(struct span *text, char end, struct span *ret)
{
	const uint8_t *p = memchr(text->data, end, text->len);
	size_t n;

	if (!p || p == text->data)
		return -EINVAL;
	n = (size_t)(p - text->data);
	*ret = span_of(text->data, n);
	*text = span_of(p + 1, text->len - n - 1);
	return 0;
}

static int retype_parse(const char *text, struct blob *ret)
{
	struct span rest = span_str(text), format;

	if (cut(&rest, ' ', &format) < 0 || format.len != strlen(FORMAT) ||
	    memcmp(format.data, FORMAT, format.len) != 0 || cut(&rest, ':', &ret->type) < 0 ||
	    cut(&rest, ' ', &ret->name) < 0 || cut(&rest, ' ', &ret->size) < 0 ||
	    rest.len % 2 != 0 || rest.len / 2 > sizeof(ret->bytes) || rest.len / 2 <= SHA256_LEN)
		return -EINVAL;
	ret->len = rest.len / 2;
	return key_unhex((const char *)rest.data, rest.len, ret->bytes, ret->len) < 0 ? -EINVAL : 0;
}

static int blob_mac(const struct blob *b, struct span type, struct span key,
		    uint8_t ret[static SHA256_LEN])
{
	const struct span nul = span_of("", 1);
	const struct span parts[] = {
		span_of(FORMAT, sizeof(FORMAT)),
		type,
		span_str(":"),
		b->name,
		nul,
		b->size,
		nul,
		span_of(b->bytes, b->len - SHA256_LEN),
	};

	return hmac_sha256(key, parts, sizeof(parts) / sizeof(*parts), ret);
}

static int retype(struct blob *b, const char *type, struct span key)
{
	uint8_t mac[SHA256_LEN];
	uint8_t *there = b->bytes + b->len - SHA256_LEN;
	int r;

	r = blob_mac(b, b->type, key, mac);
	if (r < 0)
		return r;
	if (!ct_equal(mac, there, sizeof(mac)))
		return -EINVAL;
	return blob_mac(b, span_str(type), key, there);
}

int blob_retype(const char *blob, const char *type, struct span root, char ret[static KEY_BLOB_MAX])
{
	static const char word[] = "AUTH_KEY";
	const struct span parts[] = { span_of(word, sizeof(word)), root };
	uint8_t *key = secmem_alloc(SHA256_LEN);
	struct blob b;
	int r, n;

	if (!key)
		return -ENOMEM;
	r = retype_parse(blob, &b);
	if (r == 0)
		r = sha256(parts, ARRAY_SIZE(parts), key); /* the kernel's get_derived_key() */
	if (r == 0)
		r = retype(&b, type, span_of(key, SHA256_LEN));
	secmem_free(key, SHA256_LEN);
	if (r < 0)
		return r;
	n = snprintf(ret, KEY_BLOB_MAX, FORMAT " %s:%.*s %.*s ", type, (int)b.name.len,
		     (const char *)b.name.data, (int)b.size.len, (const char *)b.size.data);
	if (n < 0 || (size_t)n + 2 * b.len >= KEY_BLOB_MAX)
		return -EINVAL;
	key_hex(b.bytes, b.len, ret + n);
	return 0;
}
