/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stored values for the providers kms v1 and v2, over a plugin that opens everything it is shown with
 * the mark of tests/support/fake_upstream.h. Whatever the bytes, the operation ends exactly once,
 * and nothing is left behind. The first byte chooses the version and the purpose.
 */
#include "daemon/chain/chain.h"
#include "daemon/chain/defer.h"
#include "tests/support/fake_upstream.h"

#define OUT_MAX (64 * 1024)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
	if (!holds)
		abort();
}

struct run {
	struct op op;
	bool done;
	int r;
	uint8_t out[OUT_MAX];
};

static void run_done(struct op *op, int r)
{
	struct run *x = container_of(op, struct run, op);

	require(!x->done);
	x->done = true;
	x->r = r;
}

static bool open_all(struct span edek, uint8_t *ret, size_t *ret_len)
{
	*ret_len = edek.len < 33 ? edek.len : 32;
	memcpy(ret, edek.data, *ret_len);
	return true;
}

/* The label is not what is looked for: every value gets the right one. */
static size_t with_prefix(unsigned int version, const uint8_t *data, size_t size, uint8_t *out)
{
	const char *prefix = version == 1 ? "k8s:enc:kms:v1:x:" : "k8s:enc:kms:v2:x:";
	size_t n = strlen(prefix);

	memcpy(out, prefix, n);
	if (size > 0)
		memcpy(out + n, data, size);
	return n + size;
}

static void run_one(struct chain *chain, struct fake_upstream *fake, struct defer *defer,
		    enum op_purpose purpose, struct span value)
{
	static struct run x;
	int r;

	memset(&x.op, 0, sizeof(x.op));
	x.done = false;
	x.op.purpose = purpose;
	x.op.in = value;
	x.op.context = span_str("/registry/secrets/x");
	x.op.out = x.out;
	x.op.out_cap = sizeof(x.out);
	x.op.done = run_done;
	r = chain_decrypt(chain, &x.op);
	require(!x.done);
	do {
		fake_answer(fake);
	} while (defer_run(defer));
	require(x.done == (r == 0));
	require(!x.done || x.r < 0 || x.op.out_len <= sizeof(x.out));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t value[OUT_MAX];
	static struct secpool *pool;
	char name[] = "x", path[] = "/x";
	struct fake_upstream fake;
	struct defer defer;
	struct chain *chain;
	struct encconf_provider conf = { .kind = ENCCONF_KMS };
	struct encconf_item item = { .providers = &conf, .providers_count = 1 };
	struct chain_env env;

	if (size < 1 || size > OUT_MAX / 2)
		return 0;
	if (!pool)
		require(secpool_new(1024 * 1024, &pool) == 0);
	conf.kms = (struct encconf_kms){
		.version = 1 + (data[0] & 1), .name = name, .path = path, .timeout = 1
	};
	fake_upstream_init(&fake);
	fake.open = open_all;
	list_init(&defer.ops);
	env = (struct chain_env){
		.upstreams = &fake.source,
		.pool = pool,
		.defer = &defer,
	};
	require(chain_new(&item, &env, &chain) == 0);
	run_one(chain, &fake, &defer, data[0] & 2 ? OP_STORAGE : OP_KMS_V1,
		span_of(value, with_prefix(conf.kms.version, data + 1, size - 1, value)));
	chain_free(chain);
	fake_answer(&fake);
	require(fake.freed == fake.opened && list_empty(&defer.ops));
	return 0;
}
