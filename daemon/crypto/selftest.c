/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The questions are one table. GCM: test cases 15 and 16 of the paper named in the header, sealed,
 * opened, and opened with one bit of the tag changed. No published CBC vector has the same key, so
 * the CBC answer was computed with OpenSSL 3.0 and pyca/cryptography, which agree, and
 * tests/unit/engine_vectors.c computes it again.
 *
 * Everything here is public, so nothing is locked or wiped. Text is worked on in place.
 */
#include "daemon/crypto/selftest.h"

#include <errno.h>
#include <stdlib.h>

#include "daemon/base/log.h"

#define TEXT 64

const uint8_t selftest_key[KEKD_AES_KEY_MAX] = {
	0xfe, 0xff, 0xe9, 0x92, 0x86, 0x65, 0x73, 0x1c, 0x6d, 0x6a, 0x8f,
	0x94, 0x67, 0x30, 0x83, 0x08, 0xfe, 0xff, 0xe9, 0x92, 0x86, 0x65,
	0x73, 0x1c, 0x6d, 0x6a, 0x8f, 0x94, 0x67, 0x30, 0x83, 0x08,
};

static const uint8_t plain[TEXT] = {
	0xd9, 0x31, 0x32, 0x25, 0xf8, 0x84, 0x06, 0xe5, 0xa5, 0x59, 0x09, 0xc5, 0xaf,
	0xf5, 0x26, 0x9a, 0x86, 0xa7, 0xa9, 0x53, 0x15, 0x34, 0xf7, 0xda, 0x2e, 0x4c,
	0x30, 0x3d, 0x8a, 0x31, 0x8a, 0x72, 0x1c, 0x3c, 0x0c, 0x95, 0x95, 0x68, 0x09,
	0x53, 0x2f, 0xcf, 0x0e, 0x24, 0x49, 0xa6, 0xb5, 0x25, 0xb1, 0x6a, 0xed, 0xf5,
	0xaa, 0x0d, 0xe6, 0x57, 0xba, 0x63, 0x7b, 0x39, 0x1a, 0xaf, 0xd2, 0x55,
};

/* Case 16 is 60 bytes of the same. */
static const uint8_t gcm_cipher[TEXT] = {
	0x52, 0x2d, 0xc1, 0xf0, 0x99, 0x56, 0x7d, 0x07, 0xf4, 0x7f, 0x37, 0xa3, 0x2a,
	0x84, 0x42, 0x7d, 0x64, 0x3a, 0x8c, 0xdc, 0xbf, 0xe5, 0xc0, 0xc9, 0x75, 0x98,
	0xa2, 0xbd, 0x25, 0x55, 0xd1, 0xaa, 0x8c, 0xb0, 0x8e, 0x48, 0x59, 0x0d, 0xbb,
	0x3d, 0xa7, 0xb0, 0x8b, 0x10, 0x56, 0x82, 0x88, 0x38, 0xc5, 0xf6, 0x1e, 0x63,
	0x93, 0xba, 0x7a, 0x0a, 0xbc, 0xc9, 0xf6, 0x62, 0x89, 0x80, 0x15, 0xad,
};

static const uint8_t aad16[] = {
	0xfe, 0xed, 0xfa, 0xce, 0xde, 0xad, 0xbe, 0xef, 0xfe, 0xed,
	0xfa, 0xce, 0xde, 0xad, 0xbe, 0xef, 0xab, 0xad, 0xda, 0xd2,
};

static const uint8_t tag15[KEKD_GCM_TAG] = {
	0xb0, 0x94, 0xda, 0xc5, 0xd9, 0x34, 0x71, 0xbd,
	0xec, 0x1a, 0x50, 0x22, 0x70, 0xe3, 0xcc, 0x6c,
};

static const uint8_t tag16[KEKD_GCM_TAG] = {
	0x76, 0xfc, 0x6e, 0xce, 0x0f, 0x4e, 0x17, 0x68,
	0xcd, 0xdf, 0x88, 0x53, 0xbb, 0x2d, 0x55, 0x1b,
};

static const uint8_t gcm_nonce[KEKD_AES_BLOCK] = {
	0xca, 0xfe, 0xba, 0xbe, 0xfa, 0xce, 0xdb, 0xad, 0xde, 0xca, 0xf8, 0x88,
};

static const uint8_t cbc_iv[KEKD_AES_BLOCK] = {
	0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07,
	0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f,
};

static const uint8_t cbc_cipher[TEXT] = {
	0x5c, 0x15, 0x07, 0x91, 0x37, 0x23, 0x7a, 0x50, 0xfe, 0xf5, 0xa4, 0x0c, 0xb5,
	0xbf, 0x6f, 0x36, 0xa2, 0x40, 0x8c, 0x54, 0xd0, 0x4a, 0x47, 0xf6, 0x17, 0x9b,
	0xd8, 0x91, 0x61, 0x8c, 0x31, 0xf7, 0x45, 0x30, 0x4f, 0xf4, 0xf6, 0x9d, 0xd1,
	0xad, 0xe4, 0x49, 0x8c, 0xfd, 0xe1, 0x87, 0xe2, 0x60, 0xe9, 0xaf, 0x02, 0x3d,
	0x7b, 0x51, 0x57, 0xcd, 0xa4, 0xbb, 0x21, 0x64, 0x0f, 0xc2, 0x48, 0xf2,
};

struct question {
	const char *name;
	enum engine_mode mode;
	const uint8_t *iv;
	const uint8_t *in, *out; /* given, and expected in its place */
	size_t len;
	struct span aad;
	const uint8_t *tag; /* expected of seal, given to open */
	uint8_t tag_change; /* XORed to its first byte */
	int r;              /* expected */
};

#define GCM(...) .iv = gcm_nonce, __VA_ARGS__
#define CBC(...) .iv = cbc_iv, .len = 64, __VA_ARGS__
#define CASE_15  .len = 64, .tag = tag15
#define CASE_16  .len = 60, .tag = tag16, .aad = { aad16, sizeof(aad16) }
#define SEAL     .mode = ENGINE_GCM_SEAL, .in = plain, .out = gcm_cipher
#define OPEN     .mode = ENGINE_GCM_OPEN, .in = gcm_cipher

static const struct question questions[] = {
	{ .name = "GCM seal, case 15", GCM(SEAL, CASE_15) },
	{ .name = "GCM seal, case 16", GCM(SEAL, CASE_16) },
	{ .name = "GCM open, case 15", GCM(OPEN, CASE_15, .out = plain) },
	{ .name = "GCM open, case 16", GCM(OPEN, CASE_16, .out = plain) },
	{ .name = "GCM open, wrong tag",
	  GCM(OPEN, CASE_16, .out = gcm_cipher, .tag_change = 1, .r = -EBADMSG) },
	{ .name = "CBC encrypt", CBC(.mode = ENGINE_CBC_ENCRYPT, .in = plain, .out = cbc_cipher) },
	{ .name = "CBC decrypt", CBC(.mode = ENGINE_CBC_DECRYPT, .in = cbc_cipher, .out = plain) },
};

struct selftest;

struct answer {
	struct engine_job job;
	const struct question *question;
	struct selftest *owner;
	uint8_t text[TEXT];
};

struct selftest {
	selftest_done_fn *done;
	void *ctx;
	size_t pending;
	int result; /* the first failure */
	struct answer answers[ARRAY_SIZE(questions)];
};

/* What the job's result says about the backend. */
static int answer_judge(const struct answer *a, int r)
{
	const struct question *q = a->question;

	if (r != q->r)
		return r < 0 && r != -EBADMSG ? r : -EBADMSG;
	if (memcmp(a->text, q->out, q->len) != 0)
		return -EBADMSG;
	if (q->mode == ENGINE_GCM_SEAL && memcmp(a->job.tag, q->tag, KEKD_GCM_TAG) != 0)
		return -EBADMSG;
	return 0;
}

/* The one way out: the last answer frees the test. */
static void selftest_settle(struct selftest *t)
{
	selftest_done_fn *done = t->done;
	void *ctx = t->ctx;
	int r = t->result;

	free(t);
	done(ctx, r);
}

static void answer_done(struct engine_job *job, int r)
{
	struct answer *a = container_of(job, struct answer, job);
	struct selftest *t = a->owner;

	r = answer_judge(a, r);
	if (r < 0) {
		log_error("self-test: %s: %s", a->question->name, errno_text(r));
		if (t->result == 0)
			t->result = r;
	}
	if (--t->pending == 0)
		selftest_settle(t);
}

static void answer_init(struct answer *a, const struct question *q, struct selftest *t,
			struct engine_key *key)
{
	a->question = q;
	a->owner = t;
	memcpy(a->text, q->in, q->len);
	a->job.key = key;
	a->job.mode = q->mode;
	memcpy(a->job.iv, q->iv, sizeof(a->job.iv));
	a->job.aad = q->aad;
	a->job.in = span_of(a->text, q->len);
	a->job.out = a->text;
	a->job.done = answer_done;
	if (q->mode == ENGINE_GCM_OPEN) {
		memcpy(a->job.tag, q->tag, sizeof(a->job.tag));
		a->job.tag[0] ^= q->tag_change;
	}
}

int selftest_start(struct engine *engine, struct engine_key *key, selftest_done_fn *done, void *ctx)
{
	struct selftest *t = calloc(1, sizeof(*t));
	int r;

	if (!t)
		return -ENOMEM;
	t->done = done;
	t->ctx = ctx;
	for (size_t i = 0; i < ARRAY_SIZE(questions); i++) {
		answer_init(&t->answers[i], &questions[i], t, key);
		r = engine_submit(engine, &t->answers[i].job);
		if (r < 0) {
			t->result = r; /* what has been asked is still answered */
			break;
		}
		t->pending++;
	}
	if (t->pending > 0)
		return 0;
	r = t->result;
	free(t);
	return r;
}
