/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A bed to test the chain in: an EncryptionConfiguration with names for keys, the keys as the keeper
 * would have handed them over, an engine of cipher_bed.h, and one value at a time through it.
 */
#pragma once

#include "daemon/chain/chain.h"
#include "tests/support/cipher_bed.h"

#define CHAIN_BED_BYTES (KEKD_VALUE_MAX + 4096)

struct chain_bed {
	struct bed bed;
	struct keytable *keys;
	struct secpool *pool;
	struct defer defer;
	struct encconf *conf;
	struct chain *chain;
	struct chain_env env;
	uint8_t ids; /* keys so far */
	struct op op;
	uint8_t *out; /* of the last operation */
	unsigned int called;
	int result;
};

/* @yaml: a whole EncryptionConfiguration; its first item is the chain. 0 or -errno. */
int chain_bed_open(struct chain_bed *b, enum bed_backend backend, const char *yaml,
		   bool plaintext_writes);
void chain_bed_close(struct chain_bed *b);
/* Another chain over the same keys. */
int chain_bed_swap(struct chain_bed *b, const char *yaml);

struct chain_bed_key {
	const char *name, *label;
	const uint8_t *bytes;
	size_t len;
	bool secretbox;
	enum key_state state;
};
/* The key's id begins with the number that is returned; or -errno. */
int chain_bed_key(struct chain_bed *b, const struct chain_bed_key *key);

/* To the end: what done said, or what the start returned. The result is in b->out, b->op. */
int chain_bed_encrypt(struct chain_bed *b, struct span path, struct span plain);
int chain_bed_decrypt(struct chain_bed *b, struct span path, struct span stored);
/* As a KMS socket would have @plain sealed; a value that kekd was the plugin for, opened (chain/own.h). */
int chain_bed_seal(struct chain_bed *b, enum op_purpose purpose, struct span plain);
int chain_bed_open_own(struct chain_bed *b, struct span path, struct span stored);
/* The last operation's output. */
struct span chain_bed_output(const struct chain_bed *b);
