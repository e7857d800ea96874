/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The decoders of the providers and the search of the chain. The first byte chooses a provider (or a
 * chain of all, with names that overlap), the second whether its prefix is put before the rest. What
 * the rest is must be one of the errors that the contract names or a plaintext; and the rest itself,
 * written and read, must come back.
 */
#include <errno.h>
#include <sanitizer/lsan_interface.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/chain_bed.h"

#define HEAD                                       \
	"apiVersion: apiserver.config.k8s.io/v1\n" \
	"kind: EncryptionConfiguration\n"          \
	"resources:\n"                             \
	"- resources: [secrets]\n"                 \
	"  providers:\n"

static const struct {
	const char *yaml, *prefix;
} kinds[] = {
	{ HEAD "  - aesgcm: { keys: [ { name: a } ] }\n", "k8s:enc:aesgcm:v1:a:" },
	{ HEAD "  - aescbc: { keys: [ { name: a } ] }\n", "k8s:enc:aescbc:v1:a:" },
	{ HEAD "  - secretbox: { keys: [ { name: s } ] }\n", "k8s:enc:secretbox:v1:s:" },
	{ HEAD "  - aesgcm: { keys: [ { name: a }, { name: b }, { name: \"a:b\" } ] }\n"
	       "  - secretbox: { keys: [ { name: s } ] }\n"
	       "  - aescbc: { keys: [ { name: \"a:b\" }, { name: a } ] }\n"
	       "  - identity: {}\n",
	  "k8s:enc:aesgcm:v1:a:b:" },
};

static void require(bool holds)
{
	if (!holds)
		abort();
}

static struct chain_bed *bed_make(const char *yaml)
{
	static const uint8_t bytes[3][32] = { "first key", "second key", "third key" };
	static const struct chain_bed_key keys[] = {
		{ "a", "a", bytes[0], 32, false, KEY_ACTIVE },
		{ "b", "a", bytes[1], 16, false, KEY_ACTIVE },
		{ "a:b", "a:b", bytes[2], 24, false, KEY_ACTIVE },
		{ "s", "s", bytes[0], 32, true, KEY_ACTIVE },
	};
	struct chain_bed *b = calloc(1, sizeof(*b));

	require(b && chain_bed_open(b, BED_OPENSSL, yaml, true) == 0);
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		require(chain_bed_key(b, &keys[i]) >= 0);
	return b;
}

/* Kept for ever, and referred to from locked mappings, which the leak check does not look into. */
static struct chain_bed *bed_of(size_t kind)
{
	static struct chain_bed *beds[ARRAY_SIZE(kinds)];

	if (!beds[kind]) {
		__lsan_disable();
		beds[kind] = bed_make(kinds[kind].yaml);
		__lsan_enable();
	}
	return beds[kind];
}

/* A block of exactly that size, so that the sanitizer sees a byte too far. */
static uint8_t *joined(const char *prefix, struct span rest, size_t *ret_len)
{
	size_t n = strlen(prefix);
	uint8_t *p = malloc(n + rest.len + 1);

	require(p != NULL);
	memcpy(p, prefix, n);
	if (rest.len > 0)
		memcpy(p + n, rest.data, rest.len);
	*ret_len = n + rest.len;
	return realloc(p, *ret_len > 0 ? *ret_len : 1);
}

static void try_read(struct chain_bed *b, const char *prefix, struct span rest)
{
	size_t len;
	uint8_t *stored = joined(prefix, rest, &len);
	int r = chain_bed_decrypt(b, span_str("/path"), span_of(stored, len));

	require(r == 0 || r == -EBADMSG || r == -EINVAL || r == -ENOKEY || r == -EMSGSIZE);
	free(stored);
}

static void try_write(struct chain_bed *b, struct span plain)
{
	struct span out;
	uint8_t *stored;
	size_t len;

	require(chain_bed_encrypt(b, span_str("/path"), plain) == 0);
	out = chain_bed_output(b);
	stored = joined("", out, &len);
	require(chain_bed_decrypt(b, span_str("/path"), span_of(stored, len)) == 0);
	out = chain_bed_output(b);
	require(!b->op.stale && span_equal(out, plain));
	free(stored);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct chain_bed *b;
	size_t kind;

	if (size < 2)
		return 0;
	kind = data[0] % ARRAY_SIZE(kinds);
	b = bed_of(kind);
	try_read(b, data[1] & 1 ? kinds[kind].prefix : "", span_of(data + 2, size - 2));
	if (data[1] & 2)
		try_write(b, span_of(data + 2, size - 2));
	return 0;
}
