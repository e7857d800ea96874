/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Providers kms v1 and v2 over a plugin that is part of this test: the values that kube-apiserver's
 * own code wrote, values of our own, damage in every place, and what the plugin may do wrong.
 */
#include <jansson.h>
#include <stdio.h>

#include "daemon/chain/chain.h"
#include "daemon/chain/defer.h"
#include "daemon/chain/dekcache.h"
#include "daemon/chain/encobj.h"
#include "tests/harness/ktest.h"
#include "tests/support/fake_upstream.h"

#define VALUE_MAX (128 * 1024)
#define SECOND    (UINT64_C(1000) * 1000 * 1000)

static uint64_t fake_now = 1000 * SECOND;

static uint64_t clock_fake(void)
{
	return fake_now;
}

FIXTURE(kms)
{
	struct fake_upstream fake;
	struct defer defer;
	struct secpool *pool;
	struct keytable *keys; /* none: all is the plugin's */
	struct chain_env env;
	struct encconf_provider conf;
	struct encconf_item item;
	struct chain *chain;
};

FIXTURE_SETUP(kms)
{
	fake_upstream_init(&self->fake);
	list_init(&self->defer.ops);
	ASSERT_OK(secpool_new(1024 * 1024, &self->pool));
	ASSERT_OK(keytable_new(&self->keys));
	self->env = (struct chain_env){
		.keys = self->keys,
		.upstreams = &self->fake.source,
		.pool = self->pool,
		.defer = &self->defer,
		.now = clock_fake,
	};
	self->item.providers = &self->conf;
	self->item.providers_count = 1;
}

FIXTURE_TEARDOWN(kms)
{
	chain_free(self->chain);
	keytable_free(self->keys);
	fake_fail(&self->fake, -EHOSTUNREACH);
	defer_run(&self->defer);
	EXPECT_EQ(self->fake.opened, self->fake.freed);
	EXPECT_EQ(0, secpool_used(self->pool));
	secpool_free(self->pool);
}

typedef struct ktest_data_of_kms bed;

static void open_chain(bed *b, unsigned int version, const char *name)
{
	b->conf = (struct encconf_provider){
		.kind = ENCCONF_KMS,
		.kms = { .version = version,
			 .name = (char *)(uintptr_t)name,
			 .path = (char *)(uintptr_t) "/nowhere",
			 .timeout = (int64_t)(3 * SECOND),
			 .cachesize = version == 1 ? 1000 : 0 },
	};
	chain_free(b->chain);
	b->chain = NULL;
	ASSERT_OK(chain_new(&b->item, &b->env, &b->chain));
}

/* An operation and where its plaintext or value goes. */
struct run {
	struct op op;
	bool done;
	int r;
	uint8_t out[VALUE_MAX];
};

static void run_done(struct op *op, int r)
{
	struct run *x = container_of(op, struct run, op);

	EXPECT_FALSE(x->done);
	x->done = true;
	x->r = r;
}

static void run_init(struct run *x, enum op_purpose purpose, struct span in, struct span context)
{
	memset(&x->op, 0, sizeof(x->op));
	x->done = false;
	x->r = 1;
	x->op.purpose = purpose;
	x->op.in = in;
	x->op.context = context;
	x->op.out = x->out;
	x->op.out_cap = sizeof(x->out);
	x->op.done = run_done;
}

/* Everything that is going to happen without time passing. */
static void settle(bed *b)
{
	do {
		fake_answer(&b->fake);
	} while (defer_run(&b->defer) || !list_empty(&b->fake.calls));
}

static int finish(bed *b, struct run *x, int r)
{
	if (r < 0) {
		EXPECT_FALSE(x->done);
		return r;
	}
	EXPECT_FALSE(x->done); /* never from inside the start */
	settle(b);
	EXPECT_TRUE(x->done);
	return x->r;
}

static int do_open(bed *b, struct run *x, struct span stored, const char *path)
{
	run_init(x, OP_STORAGE, stored, span_str(path));
	return finish(b, x, chain_decrypt(b->chain, &x->op));
}

static int do_seal(bed *b, struct run *x, struct span plain, const char *path)
{
	run_init(x, OP_STORAGE, plain, span_str(path));
	return finish(b, x, chain_encrypt(b->chain, &x->op));
}

/* The vectors. */

static size_t base64(const char *s, uint8_t *out)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	uint32_t bits = 0;
	size_t n = 0, have = 0;

	for (; *s && *s != '='; s++) {
		bits = bits << 6 | (uint32_t)(strchr(digits, *s) - digits);
		have += 6;
		if (have >= 8) {
			have -= 8;
			out[n++] = (uint8_t)(bits >> have);
		}
	}
	return n;
}

struct vector {
	const char *name, *path, *type, *note;
	size_t stored_len, plain_len;
	uint8_t stored[VALUE_MAX], plain[VALUE_MAX];
};

static const char *text_of(json_t *object, const char *key)
{
	const char *s = json_string_value(json_object_get(object, key));

	return s ? s : "";
}

static json_t *vectors_load(void)
{
	json_error_t err;
	json_t *root = json_load_file(VECTORS_DIR "/vectors.json", 0, &err);

	ASSERT_NOT_NULL(root);
	return root;
}

static json_t *the_vectors; /* for the plugin */

static bool vector_dek(struct span edek, uint8_t *ret, size_t *ret_len)
{
	size_t i;
	json_t *v;
	uint8_t seen[2048];

	json_array_foreach(json_object_get(the_vectors, "vectors"), i, v)
	{
		json_t *kms = json_object_get(v, "kms");
		const char *hex = text_of(kms, "dekOrSeedHex");

		if (!kms ||
		    !span_equal(edek,
				span_of(seen, base64(text_of(kms, "encryptedDEKSource"), seen))))
			continue;
		*ret_len = strlen(hex) / 2;
		for (size_t k = 0; k < *ret_len; k++)
			if (sscanf(hex + 2 * k, "%2hhx", &ret[k]) != 1)
				return false;
		return true;
	}
	return false;
}

static void vector_take(json_t *v, struct vector *ret)
{
	json_t *kms = json_object_get(v, "kms");

	ret->name = text_of(kms, "providerName");
	ret->type = text_of(kms, "encryptedDEKSourceType");
	ret->path = text_of(v, "path");
	ret->note = text_of(v, "note");
	ret->stored_len = base64(text_of(v, "stored"), ret->stored);
	ret->plain_len = base64(text_of(v, "plaintext"), ret->plain);
}

typedef void vector_fn(bed *b, const struct vector *v);

static void check_opens(bed *b, const struct vector *v)
{
	static struct run x;

	ASSERT_OK(do_open(b, &x, span_of(v->stored, v->stored_len), v->path));
	EXPECT_MEMEQ(v->plain, v->plain_len, x.out, x.op.out_len);
	EXPECT_STREQ("kms", x.op.provider);
	EXPECT_TRUE(x.op.stale || strcmp(v->note, "") != 0); /* the current key is another one */
}

static void check_stale_v1(bed *b, const struct vector *v)
{
	static struct run x;

	ASSERT_OK(do_open(b, &x, span_of(v->stored, v->stored_len), v->path));
	EXPECT_EQ(strstr(v->note, "AES-CBC") != NULL, x.op.stale);
}

static void check_path(bed *b, const struct vector *v)
{
	static struct run x;

	if (strstr(v->note, "AES-CBC"))
		return;
	EXPECT_ERR(-EBADMSG, do_open(b, &x, span_of(v->stored, v->stored_len), "/registry/x"));
	for (size_t i = 0; i < v->plain_len; i++)
		ASSERT_EQ(0, x.out[i]);
}

/* Each byte changed in turn: never opened, and never anything but these errors. */
static void check_flips(bed *b, const struct vector *v)
{
	static struct vector w;
	static struct run x;
	int r;

	/* Where data is AES-CBC nothing notices but the padding: that has a test of its own. */
	if (v->stored_len > 300 || (v->note[0] && v->plain_len % 16 == 4))
		return;
	w = *v;
	for (size_t i = 0; i < v->stored_len; i++) {
		w.stored[i] ^= 1;
		r = do_open(b, &x, span_of(w.stored, w.stored_len), v->path);
		w.stored[i] ^= 1;
		if (strstr(v->note, "AES-CBC"))
			continue;
		EXPECT_TRUE(r == -EBADMSG || r == -EINVAL || r == -ENOKEY || r == -EREMOTEIO ||
			    (r == 0 && memcmp(x.out, v->plain, v->plain_len) == 0 &&
			     strcmp(v->type, "") != 0));
	}
}

static void check_cuts(bed *b, const struct vector *v)
{
	static struct run x;

	if (v->stored_len > 300 || strstr(v->note, "AES-CBC"))
		return;
	for (size_t len = 0; len < v->stored_len; len++) {
		int r = do_open(b, &x, span_of(v->stored, len), v->path);

		EXPECT_TRUE(r == -EBADMSG || r == -EINVAL || r == -ENOKEY ||
			    (r == 0 && strcmp(v->type, "") != 0));
	}
}

static size_t for_vectors(bed *b, const char *provider, unsigned int version, vector_fn *fn)
{
	static struct vector vec;
	const char *name = "";
	size_t i, n = 0;
	json_t *v;

	the_vectors = vectors_load();
	b->fake.open = vector_dek;
	json_array_foreach(json_object_get(the_vectors, "vectors"), i, v)
	{
		if (strcmp(text_of(v, "provider"), provider) != 0)
			continue;
		vector_take(v, &vec);
		if (strcmp(name, vec.name) != 0)
			open_chain(b, version, vec.name);
		name = vec.name;
		fn(b, &vec);
		n++;
	}
	chain_free(b->chain);
	b->chain = NULL;
	settle(b);
	json_decref(the_vectors);
	return n;
}

TEST_F(kms, v2_vectors)
{
	EXPECT_EQ(52, for_vectors(self, "kms-v2", 2, check_opens));
}

TEST_F(kms, v1_vectors)
{
	EXPECT_EQ(26, for_vectors(self, "kms-v1", 1, check_opens));
	EXPECT_EQ(26, for_vectors(self, "kms-v1", 1, check_stale_v1));
}

TEST_F(kms, vectors_of_another_path)
{
	EXPECT_EQ(52, for_vectors(self, "kms-v2", 2, check_path));
	EXPECT_EQ(26, for_vectors(self, "kms-v1", 1, check_path));
}

TEST_F_TIMEOUT(kms, damaged, 120)
{
	EXPECT_EQ(52, for_vectors(self, "kms-v2", 2, check_flips));
	EXPECT_EQ(26, for_vectors(self, "kms-v1", 1, check_flips));
}

TEST_F(kms, cut_short)
{
	EXPECT_EQ(52, for_vectors(self, "kms-v2", 2, check_cuts));
	EXPECT_EQ(26, for_vectors(self, "kms-v1", 1, check_cuts));
}

/* Values of our own. */

static struct run a, c;

static const char *const path = "/registry/secrets/default/x";

/*
 * A value opened where it does not belong. Of kms v1 one in 256 of those that are as long as AES-CBC
 * could be passes for it, as that has no MAC: as garbage, and stale.
 */
static void open_elsewhere(bed *b, struct span stored, struct span plain, const char *elsewhere)
{
	static const char v1[] = "k8s:enc:kms:v1:";
	int r = do_open(b, &c, stored, elsewhere);

	if (r < 0) {
		EXPECT_ERR(-EBADMSG, r);
		return;
	}
	EXPECT_MEMEQ(v1, strlen(v1), stored.data, strlen(v1));
	EXPECT_EQ(0, (KEKD_GCM_NONCE + plain.len + KEKD_GCM_TAG) % KEKD_AES_BLOCK);
	EXPECT_TRUE(c.op.stale);
	EXPECT_FALSE(span_equal(plain, span_of(c.out, c.op.out_len)));
}

static void round_trip(bed *b, size_t len)
{
	static uint8_t plain[VALUE_MAX];

	for (size_t i = 0; i < len; i++)
		plain[i] = (uint8_t)(i * 7 + len);
	ASSERT_OK(do_seal(b, &a, span_of(plain, len), path));
	EXPECT_FALSE(a.op.stale);
	EXPECT_LE(a.op.out_len, len + chain_overhead(b->chain));
	ASSERT_OK(do_open(b, &c, span_of(a.out, a.op.out_len), path));
	EXPECT_MEMEQ(plain, len, c.out, c.op.out_len);
	EXPECT_FALSE(c.op.stale);
	open_elsewhere(b, span_of(a.out, a.op.out_len), span_of(plain, len), "/registry/other");
}

TEST_F(kms, round_trips)
{
	for (unsigned int version = 1; version <= 2; version++) {
		open_chain(self, version, "one");
		for (size_t len = 0; len < 70; len++)
			round_trip(self, len);
		round_trip(self, 65536);
	}
}

/* v2 asks the plugin once; v1 once for every write and never for what it wrote itself. */
TEST_F(kms, what_the_plugin_is_asked)
{
	open_chain(self, 2, "two");
	for (size_t i = 0; i < 10; i++)
		round_trip(self, i);
	EXPECT_EQ(1, self->fake.asked[UPSTREAM_STATUS]);
	EXPECT_EQ(1, self->fake.asked[UPSTREAM_ENCRYPT]);
	EXPECT_EQ(0, self->fake.asked[UPSTREAM_DECRYPT]);
	open_chain(self, 1, "one");
	for (size_t i = 0; i < 10; i++)
		round_trip(self, i);
	EXPECT_EQ(11, self->fake.asked[UPSTREAM_ENCRYPT]);
	EXPECT_EQ(0, self->fake.asked[UPSTREAM_DECRYPT]);
}

TEST_F(kms, another_server_reads)
{
	static struct run w;

	for (unsigned int version = 1; version <= 2; version++) {
		open_chain(self, version, "x");
		ASSERT_OK(do_seal(self, &w, span_str("plain"), path));
		open_chain(self, version, "x");
		for (int i = 0; i < 3; i++) {
			ASSERT_OK(do_open(self, &c, span_of(w.out, w.op.out_len), path));
			EXPECT_MEMEQ("plain", 5, c.out, c.op.out_len);
		}
		EXPECT_EQ(version, self->fake.asked[UPSTREAM_DECRYPT]);
	}
}

TEST_F(kms, v1_without_cache)
{
	open_chain(self, 1, "x");
	self->conf.kms.cachesize = -1;
	chain_free(self->chain);
	self->chain = NULL;
	ASSERT_OK(chain_new(&self->item, &self->env, &self->chain));
	ASSERT_OK(do_seal(self, &a, span_str("plain"), path));
	for (unsigned int i = 1; i <= 3; i++) {
		ASSERT_OK(do_open(self, &c, span_of(a.out, a.op.out_len), path));
		EXPECT_EQ(i, self->fake.asked[UPSTREAM_DECRYPT]);
	}
}

/* The chain of a reload, with the old one still there; @stays: the reload is refused. */
static void reload_chain(bed *b, bool stays)
{
	struct chain *next;

	b->env.before = b->chain;
	ASSERT_OK(chain_new(&b->item, &b->env, &next));
	b->env.before = NULL;
	if (stays) {
		chain_free(next);
		return;
	}
	chain_configure(next, &b->item);
	chain_free(b->chain);
	b->chain = next;
}

/* But for Status, which each reload asks. */
static unsigned int asked(const bed *b)
{
	return b->fake.asked[UPSTREAM_ENCRYPT] + b->fake.asked[UPSTREAM_DECRYPT];
}

/* A reload while the plugin is away ends nothing that would have gone on. */
TEST_F(kms, reload_without_the_plugin)
{
	static struct run w;
	static char other[] = "/elsewhere";
	unsigned int before;

	for (unsigned int version = 1; version <= 2; version++) {
		open_chain(self, version, "x");
		ASSERT_OK(do_seal(self, &w, span_str("plain"), path));
		before = asked(self);
		for (int i = 0; i < 4; i++) {
			unsigned int opened = self->fake.opened;

			self->conf.kms.timeout++;
			reload_chain(self, i % 2);
			EXPECT_EQ(opened, self->fake.opened);
			ASSERT_OK(do_open(self, &c, span_of(w.out, w.op.out_len), path));
			EXPECT_MEMEQ("plain", 5, c.out, c.op.out_len);
			if (version == 2)
				ASSERT_OK(do_seal(self, &a, span_str("plain"), path));
			EXPECT_EQ(before, asked(self));
		}
		/* What is defined otherwise is another provider, and has nothing of this one's. */
		self->conf.kms.path = other;
		reload_chain(self, false);
		ASSERT_OK(do_open(self, &c, span_of(w.out, w.op.out_len), path));
		EXPECT_LT(before, asked(self));
	}
}

/* The settings of a provider are those of the configuration in force. */
TEST_F(kms, reload_of_settings)
{
	open_chain(self, 1, "x");
	ASSERT_OK(do_seal(self, &a, span_str("plain"), path));
	self->conf.kms.cachesize = -1;
	reload_chain(self, true);
	ASSERT_OK(do_open(self, &c, span_of(a.out, a.op.out_len), path));
	EXPECT_EQ(0, self->fake.asked[UPSTREAM_DECRYPT]);
	reload_chain(self, false);
	for (unsigned int i = 1; i <= 3; i++) {
		ASSERT_OK(do_open(self, &c, span_of(a.out, a.op.out_len), path));
		EXPECT_EQ(i, self->fake.asked[UPSTREAM_DECRYPT]);
	}
}

TEST_F(kms, cache_lasts_a_day)
{
	static struct run w;

	open_chain(self, 2, "x");
	ASSERT_OK(do_seal(self, &w, span_str("plain"), path));
	fake_now += 24 * 3600 * SECOND - 1;
	ASSERT_OK(do_open(self, &c, span_of(w.out, w.op.out_len), path));
	EXPECT_EQ(0, self->fake.asked[UPSTREAM_DECRYPT]);
	fake_now += 1;
	ASSERT_OK(do_open(self, &c, span_of(w.out, w.op.out_len), path));
	EXPECT_EQ(1, self->fake.asked[UPSTREAM_DECRYPT]);
}

TEST_F(kms, one_question_for_all)
{
	static struct run w, many[20];

	for (unsigned int version = 1; version <= 2; version++) {
		open_chain(self, version, "x");
		ASSERT_OK(do_seal(self, &w, span_str("plain"), path));
		open_chain(self, version, "x");
		self->fake.asked[UPSTREAM_DECRYPT] = 0;
		for (size_t i = 0; i < ARRAY_SIZE(many); i++) {
			run_init(&many[i], OP_STORAGE, span_of(w.out, w.op.out_len),
				 span_str(path));
			ASSERT_OK(chain_decrypt(self->chain, &many[i].op));
		}
		chain_cancel(self->chain, &many[3].op);
		settle(self);
		for (size_t i = 0; i < ARRAY_SIZE(many); i++)
			EXPECT_ERR(i == 3 ? -ECANCELED : 0, many[i].r);
		EXPECT_EQ(1, self->fake.asked[UPSTREAM_DECRYPT]);
	}
}

/* KMS sockets over an upstream. */

TEST_F(kms, purposes_do_not_mix)
{
	static struct run w;
	const char *key_id;
	char other[KEKD_KEY_ID_HEX + 1];

	for (unsigned int version = 1; version <= 2; version++) {
		open_chain(self, version, "x");
		settle(self);
		run_init(&w, OP_KMS_V2, span_str("seed"), SPAN_NULL);
		ASSERT_OK(finish(self, &w, chain_encrypt(self->chain, &w.op)));
		ASSERT_OK(chain_key_id(self->chain, &key_id));
		EXPECT_STREQ(key_id, w.op.key_id);
		EXPECT_EQ(KEKD_KEY_ID_HEX, strlen(key_id));
		memcpy(other, key_id, sizeof(other));
		other[0] = other[0] == 'a' ? 'b' : 'a';

		run_init(&c, OP_KMS_V2, span_of(w.out, w.op.out_len), span_str(w.op.key_id));
		EXPECT_OK(finish(self, &c, chain_decrypt(self->chain, &c.op)));
		run_init(&c, OP_KMS_V2, span_of(w.out, w.op.out_len), span_str(other));
		EXPECT_ERR(-ENOKEY, finish(self, &c, chain_decrypt(self->chain, &c.op)));
		run_init(&c, OP_KMS_V1, span_of(w.out, w.op.out_len), SPAN_NULL);
		EXPECT_ERR(-EBADMSG, finish(self, &c, chain_decrypt(self->chain, &c.op)));
		open_elsewhere(self, span_of(w.out, w.op.out_len), span_str("seed"), path);
	}
}

/* What a plugin may do. */

TEST_F(kms, key_id_rotates)
{
	static struct run old;

	open_chain(self, 2, "x");
	ASSERT_OK(do_seal(self, &old, span_str("old"), path));
	self->fake.key_id = "fake-key-2";
	fake_now += 181 * SECOND;
	ASSERT_OK(do_seal(self, &a, span_str("new"), path));
	EXPECT_EQ(2, self->fake.asked[UPSTREAM_ENCRYPT]);
	EXPECT_STREQ("fake-key-2", self->fake.key_id);
	EXPECT_NE(0, strcmp(old.op.key_id, a.op.key_id));
	ASSERT_OK(do_open(self, &c, span_of(old.out, old.op.out_len), path));
	EXPECT_TRUE(c.op.stale);
	ASSERT_OK(do_open(self, &c, span_of(a.out, a.op.out_len), path));
	EXPECT_FALSE(c.op.stale);
}

TEST_F(kms, same_key_id_keeps_the_seed)
{
	open_chain(self, 2, "x");
	ASSERT_OK(do_seal(self, &a, span_str("1"), path));
	fake_now += 181 * SECOND;
	ASSERT_OK(do_seal(self, &a, span_str("2"), path));
	EXPECT_EQ(2, self->fake.asked[UPSTREAM_STATUS]);
	EXPECT_EQ(1, self->fake.asked[UPSTREAM_ENCRYPT]);
}

static void expect_no_writes(bed *b)
{
	const char *key_id;

	open_chain(b, 2, "x");
	EXPECT_ERR(-EPROTO, do_seal(b, &a, span_str("x"), path));
	EXPECT_ERR(-EPROTO, chain_key_id(b->chain, &key_id));
	chain_free(b->chain);
	b->chain = NULL;
	settle(b);
	fake_now += 10 * SECOND;
}

TEST_F(kms, answers_that_break_the_rules)
{
	struct annotation bad[] = { { span_str("onelabel"), span_str("v") } };
	static uint8_t big[UPSTREAM_ANNOTATIONS_MAX];
	struct annotation huge[] = { { span_str("a.example"), span_of(big, sizeof(big)) } };

	self->fake.encrypt_id = "another";
	expect_no_writes(self);
	self->fake.encrypt_id = NULL;
	self->fake.edek_len = SIZE_MAX; /* none */
	expect_no_writes(self);
	self->fake.edek_len = UPSTREAM_CIPHERTEXT_MAX + 1;
	expect_no_writes(self);
	self->fake.edek_len = 0;
	self->fake.annotations = (struct annotations){ bad, 1 };
	expect_no_writes(self);
	self->fake.annotations = (struct annotations){ huge, 1 };
	expect_no_writes(self);
	self->fake.annotations = (struct annotations){ 0 };
	self->fake.healthz = "not well";
	expect_no_writes(self);
	self->fake.healthz = "ok";
	self->fake.version = "v3";
	expect_no_writes(self);
	self->fake.version = "v2";
	self->fake.key_id = "";
	expect_no_writes(self);
	self->fake.key_id = "fine";
	open_chain(self, 2, "x");
	round_trip(self, 10);
}

TEST_F(kms, annotations_come_back)
{
	struct annotation two[] = { { span_str("b.example"), span_str("2") },
				    { span_str("a.example"), SPAN_NULL } };

	self->fake.annotations = (struct annotations){ two, 2 };
	open_chain(self, 2, "x");
	round_trip(self, 10);
	EXPECT_EQ(0, self->fake.asked[UPSTREAM_DECRYPT]); /* found under the same id */
}

TEST_F(kms, v1_answers_that_break_the_rules)
{
	const char *key_id;

	open_chain(self, 1, "x");
	ASSERT_OK(chain_key_id(self->chain, &key_id));
	self->fake.edek_len = SIZE_MAX;
	EXPECT_ERR(-EPROTO, do_seal(self, &a, span_str("x"), path));
	EXPECT_ERR(-EPROTO, chain_key_id(self->chain, &key_id));
	self->fake.edek_len = 0;
	round_trip(self, 10);
	EXPECT_OK(chain_key_id(self->chain, &key_id));
}

/* Writes go on for three minutes after the last good Status, reads of known DEKs for a day. */
TEST_F(kms, plugin_goes_away)
{
	static struct run w;
	const char *key_id;

	open_chain(self, 2, "x");
	ASSERT_OK(do_seal(self, &w, span_str("plain"), path));
	fake_now += 180 * SECOND - 1;
	ASSERT_OK(do_seal(self, &a, span_str("plain"), path));
	ASSERT_OK(chain_key_id(self->chain, &key_id));
	fake_now += 1;
	EXPECT_ERR(-EHOSTUNREACH, chain_key_id(self->chain, &key_id));
	run_init(&a, OP_STORAGE, span_str("plain"), span_str(path));
	ASSERT_OK(chain_encrypt(self->chain, &a.op));
	fake_fail(&self->fake, -EHOSTUNREACH);
	defer_run(&self->defer);
	EXPECT_ERR(-EHOSTUNREACH, a.r);
	/* At once, without another question, for a second. */
	self->fake.asked[UPSTREAM_STATUS] = 0;
	EXPECT_ERR(-EHOSTUNREACH, do_seal(self, &a, span_str("plain"), path));
	EXPECT_EQ(0, self->fake.asked[UPSTREAM_STATUS]);
	ASSERT_OK(do_open(self, &c, span_of(w.out, w.op.out_len), path));
	fake_now += SECOND;
	ASSERT_OK(do_seal(self, &a, span_str("plain"), path));
	ASSERT_OK(chain_key_id(self->chain, &key_id));
}

TEST_F(kms, failed_lookup_is_not_remembered)
{
	static struct run w;

	for (unsigned int version = 1; version <= 2; version++) {
		open_chain(self, version, "x");
		ASSERT_OK(do_seal(self, &w, span_str("plain"), path));
		open_chain(self, version, "x");
		settle(self);
		run_init(&c, OP_STORAGE, span_of(w.out, w.op.out_len), span_str(path));
		ASSERT_OK(chain_decrypt(self->chain, &c.op));
		fake_fail(&self->fake, -EHOSTUNREACH);
		defer_run(&self->defer);
		EXPECT_ERR(-EHOSTUNREACH, c.r);
		EXPECT_OK(do_open(self, &c, span_of(w.out, w.op.out_len), path));
	}
}

TEST_F(kms, calls_are_bounded)
{
	static struct run w[3];

	open_chain(self, 1, "x");
	self->fake.calls_max = 2;
	for (size_t i = 0; i < 3; i++) {
		run_init(&w[i], OP_STORAGE, span_str("plain"), span_str(path));
		EXPECT_ERR(i < 2 ? 0 : -ENOBUFS, chain_encrypt(self->chain, &w[i].op));
	}
	settle(self);
	EXPECT_OK(w[0].r);
	EXPECT_OK(w[1].r);
	EXPECT_FALSE(w[2].done);
}

TEST_F(kms, cancelled_writes)
{
	for (unsigned int version = 1; version <= 2; version++) {
		open_chain(self, version, "x");
		run_init(&a, OP_STORAGE, span_str("plain"), span_str(path));
		ASSERT_OK(chain_encrypt(self->chain, &a.op));
		chain_cancel(self->chain, &a.op);
		EXPECT_FALSE(a.done);
		settle(self);
		EXPECT_ERR(-ECANCELED, a.r);
	}
}

/* A reload gives the chain up; what waits for the plugin still ends well. */
TEST_F(kms, chain_freed_while_waiting)
{
	static struct run w, r;

	for (unsigned int version = 1; version <= 2; version++) {
		open_chain(self, version, "x");
		ASSERT_OK(do_seal(self, &w, span_str("plain"), path));
		open_chain(self, version, "x");
		run_init(&a, OP_STORAGE, span_str("plain"), span_str(path));
		ASSERT_OK(chain_encrypt(self->chain, &a.op));
		run_init(&r, OP_STORAGE, span_of(w.out, w.op.out_len), span_str(path));
		ASSERT_OK(chain_decrypt(self->chain, &r.op));
		chain_free(move_ptr(self->chain));
		EXPECT_LT(self->fake.freed, self->fake.opened);
		settle(self);
		EXPECT_OK(a.r);
		EXPECT_OK(r.r);
		EXPECT_EQ(self->fake.opened, self->fake.freed);
	}
}

TEST_F(kms, room_for_the_answer)
{
	for (unsigned int version = 1; version <= 2; version++) {
		open_chain(self, version, "x");
		settle(self);
		run_init(&a, OP_STORAGE, span_str("plain"), span_str(path));
		a.op.out_cap = 20;
		EXPECT_ERR(-EMSGSIZE, finish(self, &a, chain_encrypt(self->chain, &a.op)));
		ASSERT_OK(do_seal(self, &a, span_str("plain"), path));
		run_init(&c, OP_STORAGE, span_of(a.out, a.op.out_len), span_str(path));
		c.op.out_cap = 4;
		EXPECT_ERR(-EMSGSIZE, finish(self, &c, chain_decrypt(self->chain, &c.op)));
	}
}

/* The AES-CBC form: padding is all that can fail, and it fails as a tag does. */
TEST_F(kms, cbc_padding)
{
	static uint8_t value[256];
	size_t n = 0;

	open_chain(self, 1, "x");
	n = strlen("k8s:enc:kms:v1:x:");
	memcpy(value, "k8s:enc:kms:v1:x:", n);
	value[n++] = 0;
	value[n++] = 5 + 32;
	memcpy(value + n, FAKE_MARK, 5);
	n += 5 + 32; /* the DEK is 0x5a… */
	for (size_t len = 28; len < 80; len++) {
		int r;

		for (size_t i = 0; i < len; i++)
			value[n + i] = (uint8_t)(len * 31 + i);
		r = do_open(self, &c, span_of(value, n + len), path);
		EXPECT_ERR(-EBADMSG, r);
	}
	/* Not for our own clients, whose values never had that form. */
	run_init(&c, OP_KMS_V1, span_of(value, n + 48), SPAN_NULL);
	EXPECT_ERR(-EBADMSG, finish(self, &c, chain_decrypt(self->chain, &c.op)));
	/* Lengths that lie. */
	EXPECT_ERR(-EINVAL, do_open(self, &c, span_of(value, n - 1), path));
	EXPECT_ERR(-EINVAL, do_open(self, &c, span_of(value, n + 27), path));
	EXPECT_ERR(-EINVAL, do_open(self, &c, span_str("k8s:enc:kms:v1:x:"), path));
	EXPECT_ERR(-EINVAL, do_open(self, &c, span_str("k8s:enc:kms:v1:x:\1"), path));
	EXPECT_ERR(-ENOKEY, do_open(self, &c, span_str("k8s:enc:kms:v1:y:abc"), path));
}

/* EncryptedObject. */

static size_t put_field(uint8_t *out, unsigned int tag, const void *data, size_t len)
{
	size_t n = 0;

	out[n++] = (uint8_t)(tag << 3 | 2);
	for (size_t v = len; n == 1 || v > 0; v >>= 7)
		out[n++] = (uint8_t)((v & 0x7f) | (v > 0x7f ? 0x80 : 0));
	memcpy(out + n, data, len);
	return n + len;
}

static size_t put_annotation(uint8_t *out, const char *key, size_t value_len)
{
	static uint8_t entry[64 * 1024];
	static const uint8_t zero[40 * 1024];
	size_t n = put_field(entry, 1, key, strlen(key));

	n += put_field(entry + n, 2, zero, value_len);
	return put_field(out, 4, entry, n);
}

static uint8_t object[2 * 1024 * 1024];

static size_t put_head(void)
{
	size_t n = put_field(object, 1, "data", 4);

	n += put_field(object + n, 2, "key", 3);
	return n + put_field(object + n, 3, "edek", 4);
}

static int decode(size_t len, size_t *ret_annotations)
{
	_cleanup_encobj_ struct encobj obj = { 0 };
	int r = encobj_decode(span_of(object, len), &obj);

	if (r == 0 && ret_annotations)
		*ret_annotations = obj.annotations.n;
	return r;
}

TEST(object_names_of_annotations)
{
	static const char *const good[] = { "a.b", "a.b.", "0.1", "a-b.c", "x.y.z.w" };
	static const char *const bad[] = { "",     "a",    "A.b",   "a..b",  ".a.b", "a.b..",
					   "-a.b", "a-.b", "a_b.c", "a b.c", "." };
	size_t head = put_head();

	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		EXPECT_OK(decode(head + put_annotation(object + head, good[i], 1), NULL));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		EXPECT_ERR(-EINVAL, decode(head + put_annotation(object + head, bad[i], 1), NULL));
}

TEST(object_limits)
{
	static uint8_t long_text[2000];
	size_t head = put_head(), n;

	EXPECT_OK(decode(head, NULL));
	n = head + put_annotation(object + head, "a.b", UPSTREAM_ANNOTATIONS_MAX - 3);
	EXPECT_OK(decode(n, NULL));
	n = head + put_annotation(object + head, "a.b", UPSTREAM_ANNOTATIONS_MAX - 2);
	EXPECT_ERR(-EINVAL, decode(n, NULL));
	memset(long_text, 'k', sizeof(long_text));
	EXPECT_OK(decode(head + put_field(object + head, 2, long_text, 1024), NULL));
	EXPECT_ERR(-EINVAL, decode(head + put_field(object + head, 2, long_text, 1025), NULL));
	EXPECT_OK(decode(head + put_field(object + head, 3, long_text, 1024), NULL));
	EXPECT_ERR(-EINVAL, decode(head + put_field(object + head, 3, long_text, 1025), NULL));
	for (unsigned int tag = 1; tag <= 3; tag++)
		EXPECT_ERR(-EINVAL, decode(head + put_field(object + head, tag, "", 0), NULL));
	EXPECT_OK(decode(head + put_field(object + head, 9, "unknown", 7), NULL));
	object[head] = 5 << 3;
	object[head + 1] = 2; /* no such type */
	EXPECT_ERR(-EINVAL, decode(head + 2, NULL));
}

/* A million entries of two bytes, and as many of the same key: neither costs memory. */
TEST(object_bombs)
{
	size_t head = put_head(), n = head, count = 0;

	while (n < sizeof(object) - 2) {
		object[n++] = 4 << 3 | 2;
		object[n++] = 0;
	}
	EXPECT_ERR(-EINVAL, decode(n, NULL));
	for (n = head; n < 1500 * 1024;)
		n += put_annotation(object + n, "a.b", 0);
	EXPECT_ERR(-EINVAL, decode(n, NULL));
	n = head;
	for (int i = 0; i < 1000; i++)
		n += put_annotation(object + n, i % 2 ? "b.c" : "a.b", (size_t)i % 3);
	EXPECT_OK(decode(n, &count));
	EXPECT_EQ(2, count);
	/* A length beyond the end. */
	object[head] = 1 << 3 | 2;
	memset(object + head + 1, 0xff, 9);
	EXPECT_ERR(-EINVAL, decode(head + 10, NULL));
}

/* The cache. */

static void id_make(uint8_t id[static SHA256_LEN], unsigned int n)
{
	struct span s = span_of(&n, sizeof(n));

	ASSERT_OK(sha256(&s, 1, id));
}

TEST(cache_forgets_the_least_recently_used)
{
	_cleanup_(dekcache_freep) struct dekcache *cache = NULL;
	uint8_t id[SHA256_LEN];
	struct span dek;

	ASSERT_OK(dekcache_new(300, 0, &cache));
	for (unsigned int i = 0; i < 300; i++) {
		id_make(id, i);
		dekcache_put(cache, id, 1, span_of(id, 16));
	}
	id_make(id, 0);
	ASSERT_OK(dekcache_get(cache, id, 1, &dek));
	EXPECT_MEMEQ(id, 16, dek.data, dek.len);
	id_make(id, 300);
	dekcache_put(cache, id, 1, span_of(id, 32));
	id_make(id, 0);
	EXPECT_OK(dekcache_get(cache, id, 1, &dek));
	id_make(id, 1);
	EXPECT_ERR(-ENOENT, dekcache_get(cache, id, 1, &dek));
}

TEST(cache_of_nothing)
{
	_cleanup_(dekcache_freep) struct dekcache *cache = NULL;
	uint8_t id[SHA256_LEN];
	struct span dek;

	ASSERT_OK(dekcache_new(0, 0, &cache));
	id_make(id, 1);
	dekcache_put(cache, id, 1, span_of(id, 32));
	EXPECT_ERR(-ENOENT, dekcache_get(cache, id, 1, &dek));
}

TEST_HARNESS_MAIN
