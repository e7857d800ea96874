/* SPDX-License-Identifier: Apache-2.0 */
/* See chain_bed.h. */
#include "tests/support/chain_bed.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/chain/own.h"
#include "daemon/chain/providers.h"
#include "daemon/keys/softkey.h"

static int conf_read(const char *yaml, struct encconf **ret)
{
	struct yaml_error err;

	return encconf_parse(span_str(yaml), "test", 0, ret, &err);
}

int chain_bed_open(struct chain_bed *b, enum bed_backend backend, const char *yaml,
		   bool plaintext_writes)
{
	struct engine_config config = bed_config();
	int r;

	r = bed_open(&b->bed, backend, &config);
	list_init(&b->defer.ops);
	if (r == 0)
		r = provider_secretbox_init();
	if (r == 0)
		r = keytable_new(&b->keys);
	if (r == 0)
		r = secpool_new(4U << 20, &b->pool);
	if (r < 0)
		return r;
	b->out = malloc(CHAIN_BED_BYTES);
	if (!b->out)
		return -ENOMEM;
	b->env = (struct chain_env){
		.engine = b->bed.engine,
		.keys = b->keys,
		.defer = &b->defer,
		.plaintext_writes = plaintext_writes,
	};
	return chain_bed_swap(b, yaml);
}

int chain_bed_swap(struct chain_bed *b, const char *yaml)
{
	struct encconf *conf;
	int r;

	r = conf_read(yaml, &conf);
	if (r < 0)
		return r;
	chain_free(move_ptr(b->chain));
	encconf_free(b->conf);
	b->conf = conf;
	return chain_new(&conf->items[0], &b->env, &b->chain);
}

void chain_bed_close(struct chain_bed *b)
{
	chain_free(b->chain);
	encconf_free(b->conf);
	keytable_free(b->keys);
	bed_close(&b->bed);
	secpool_free(b->pool);
	free(b->out);
}

static int soft_put(struct chain_bed *b, const struct key_info *rec, const uint8_t *bytes)
{
	struct softkey *soft;
	int r;

	r = keytable_put(b->keys, rec, NULL);
	if (r == 0)
		r = softkey_from_bytes(span_of(bytes, rec->key_bytes), &soft);
	return r == 0 ? keytable_put_soft(b->keys, rec->id, soft) : r;
}

int chain_bed_key(struct chain_bed *b, const struct chain_bed_key *key)
{
	struct key_info rec = {
		.id = { b->ids },
		.kind = KEY_KIND_IMPORTED,
		.key_bytes = (unsigned int)key->len,
		.secretbox = key->secretbox,
		.state = key->state,
		.activation = 1,
	};
	int n, r;

	memcpy(rec.name, key->name, strlen(key->name) + 1);
	memcpy(rec.label, key->label, strlen(key->label) + 1);
	if (key->secretbox) {
		r = soft_put(b, &rec, key->bytes);
	} else {
		n = bed_add_key(&b->bed, key->bytes, key->len);
		r = n < 0 ? n : keytable_put(b->keys, &rec, b->bed.keys[n]);
	}
	return r < 0 ? r : b->ids++;
}

static void bed_done(struct op *op, int r)
{
	struct chain_bed *b = container_of(op, struct chain_bed, op);

	b->called++;
	b->result = r;
}

/* Turns as the server's loop has them. */
static int finish(struct chain_bed *b)
{
	while (defer_run(&b->defer) || !list_empty(&b->defer.ops) || !engine_idle(b->bed.engine)) {
		int r = bed_run(&b->bed);

		if (r < 0)
			return r;
	}
	return b->called == 1 ? b->result : -EDEADLK;
}

static void op_fill(struct chain_bed *b, struct span path, struct span in)
{
	b->op = (struct op){
		.purpose = OP_STORAGE,
		.in = in,
		.context = path,
		.out = b->out,
		.out_cap = CHAIN_BED_BYTES,
		.done = bed_done,
	};
	b->called = 0;
}

/* A start that fails has no done; one that does not must not have called it yet. */
static int outcome(struct chain_bed *b, int r)
{
	if (b->called > 0)
		return -EDEADLK;
	return r < 0 ? r : finish(b);
}

int chain_bed_encrypt(struct chain_bed *b, struct span path, struct span plain)
{
	op_fill(b, path, plain);
	return outcome(b, chain_encrypt(b->chain, &b->op));
}

int chain_bed_decrypt(struct chain_bed *b, struct span path, struct span stored)
{
	op_fill(b, path, stored);
	return outcome(b, chain_decrypt(b->chain, &b->op));
}

int chain_bed_seal(struct chain_bed *b, enum op_purpose purpose, struct span plain)
{
	op_fill(b, SPAN_NULL, plain);
	b->op.purpose = purpose;
	return outcome(b, chain_encrypt(b->chain, &b->op));
}

int chain_bed_open_own(struct chain_bed *b, struct span path, struct span stored)
{
	op_fill(b, path, stored);
	return outcome(b, own_decrypt(b->chain, b->pool, &b->op));
}

struct span chain_bed_output(const struct chain_bed *b)
{
	return span_of(b->out, b->op.out_len);
}
