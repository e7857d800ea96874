/* SPDX-License-Identifier: Apache-2.0 */
/* See keyinfo.h. */
#include "daemon/base/keyinfo.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "daemon/base/cleanup.h"

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
	[KEY_KIND_IMPORTED] = "imported",
	[KEY_KIND_SEALED] = "sealed",
};
_Static_assert(ARRAY_SIZE(kind_names) == KEY_KINDS, "a name for each kind");

static const struct alg {
	const char *name;
	uint32_t key_bytes, secretbox;
} algs[] = {
	{ "aes-128", 16, 0 },
	{ "aes-192", 24, 0 },
	{ "aes-256", 32, 0 },
	{ "secretbox", 32, 1 },
};

int key_info_check(const struct key_info *k)
{
	if (!memchr(k->name, '\0', sizeof(k->name)) || !memchr(k->label, '\0', sizeof(k->label)))
		return -EPROTO;
	return k->kind < KEY_KINDS && k->state < KEY_STATES && k->secretbox <= 1 ? 0 : -EPROTO;
}

const char *key_state_name(enum key_state s)
{
	return s < KEY_STATES ? state_names[s] : "?";
}

const char *key_kind_name(enum key_kind k)
{
	return k < KEY_KINDS ? kind_names[k] : "?";
}

bool key_state_opens(enum key_state s)
{
	return s == KEY_STAGED || s == KEY_ACTIVE || s == KEY_DECRYPT_ONLY;
}

const char *key_alg_name(const struct key_info *k)
{
	for (size_t i = 0; i < ARRAY_SIZE(algs); i++)
		if (algs[i].key_bytes == k->key_bytes && algs[i].secretbox == k->secretbox)
			return algs[i].name;
	return "?";
}

int key_alg_set(struct span name, struct key_info *k)
{
	for (size_t i = 0; i < ARRAY_SIZE(algs); i++) {
		if (!span_equal(name, span_str(algs[i].name)))
			continue;
		k->key_bytes = algs[i].key_bytes;
		k->secretbox = algs[i].secretbox;
		return 0;
	}
	return -EINVAL;
}

bool key_alg_is_weak(const struct key_info *k)
{
	return k->key_bytes == 16;
}

void key_id_format(const struct key_info *k, char ret[static KEY_ID_TEXT])
{
	key_hex(k->id, sizeof(k->id), ret);
	snprintf(ret + KEKD_KEY_ID_HEX, KEY_ID_TEXT - KEKD_KEY_ID_HEX, ".%" PRIu32, k->activation);
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
