/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See cipher_bed.h. Whatever must not fail in a test's own scaffolding aborts.
 */
#include "tests/support/cipher_bed.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/crypto/backend_kernel.h"
#include "daemon/crypto/backend_openssl.h"
#include "daemon/sys/afalg.h"

#define NOBODY 61234 /* no user's: the daemon runs as this in tests */

uint64_t bed_clock = 1;

static uint64_t bed_now(void)
{
	return bed_clock;
}

static void must(bool good)
{
	if (!good)
		abort();
}

/* At least one byte, so that a message of none has an address too. */
static uint8_t *must_alloc(size_t len)
{
	uint8_t *p = malloc(len > 0 ? len : 1);

	must(p);
	return p;
}

struct engine_config bed_config(void)
{
	struct engine_config config = ENGINE_CONFIG_DEFAULT;

	config.now = bed_now;
	return config;
}

static int key_by_serial(int fd, const uint8_t *key, size_t len)
{
	key_serial ring, serial;
	int r = keyring_new_session();

	if (r == 0)
		r = keyring_new("cipher-bed", &ring);
	if (r == 0)
		r = keyring_add_logon(ring, "test:key", span_of(key, len), &serial);
	return r < 0 ? r : afalg_set_key(fd, serial);
}

/* A socket of ecb(aes), keyed as the keeper keys them. */
static int kernel_tfm(enum bed_backend backend, const uint8_t *key, size_t len, int *ret_fd)
{
	_cleanup_close_ int fd = -1;
	int r;

	r = afalg_bind("skcipher", "ecb(aes)", &fd);
	if (r == 0)
		r = backend == BED_VALUE ? afalg_set_key_value(fd, span_of(key, len))
					 : key_by_serial(fd, key, len);
	if (r < 0)
		return r;
	*ret_fd = move_fd(fd);
	return 0;
}

bool bed_kernel_serves(void)
{
	static const uint8_t key[KEKD_AES_KEY_MAX];
	_cleanup_close_ int fd = -1;

	return kernel_tfm(BED_KERNEL, key, sizeof(key), &fd) == 0;
}

/* The keeper's part: another op socket for a broken one. The id begins with the key's number. */
static void kernel_need(void *ctx, const uint8_t id[static KEKD_KEY_ID])
{
	struct bed *bed = ctx;
	uint32_t n;
	int fd;

	memcpy(&n, id, sizeof(n));
	must(afalg_accept(bed->tfm[n], &fd) == 0);
	bed->replaced++;
	backend_kernel_add_socket(engine_key_block(bed->keys[n]), fd);
}

/* A message that nobody receives: the next one sent on this socket meets EINVAL. */
static void kernel_spoil(int fd)
{
	static const uint8_t block[KEKD_AES_BLOCK];
	struct afalg_msg msg;

	afalg_msg_init(&msg, BLOCK_ENCRYPT, block, sizeof(block));
	must(sendmsg(fd, &msg.hdr, 0) == sizeof(block));
}

static int kernel_block(struct bed *bed, const uint8_t *key, size_t len, struct block_key **ret)
{
	uint8_t id[KEKD_KEY_ID] = { 0 };
	uint32_t n = bed->n_keys;
	int r, fd;

	memcpy(id, &n, sizeof(n));
	r = kernel_tfm(bed->backend, key, len, &bed->tfm[n]);
	if (r == 0)
		r = backend_kernel_new(bed->ring, id, kernel_need, bed, ret);
	for (int i = 0; r == 0 && i < BACKEND_KERNEL_SOCKETS; i++) {
		r = afalg_accept(bed->tfm[n], &fd);
		if (r < 0)
			break;
		if (bed->spoil)
			kernel_spoil(fd);
		if (bed->sndbuf > 0)
			must(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bed->sndbuf,
					sizeof(bed->sndbuf)) == 0);
		backend_kernel_add_socket(*ret, fd);
	}
	return r;
}

static void number_id(uint32_t n, uint8_t ret[static KEKD_KEY_ID])
{
	memset(ret, 0, KEKD_KEY_ID);
	n++; /* zeros are the self-test's */
	memcpy(ret, &n, sizeof(n));
}

int bed_holder_start(struct holder_client *client, struct holder_process **ret)
{
	_cleanup_close_ int exe = open(BUILD_DIR "/kekd", O_PATH | O_CLOEXEC);
	_cleanup_(holder_stopp) struct holder_process *h = NULL;
	_cleanup_(link_fds_close) struct link_fds fds = { 0 };
	int r;

	if (exe < 0)
		return -errno;
	r = holder_start(exe, NOBODY, NOBODY, &h);
	if (r == 0)
		r = holder_give(h, &fds);
	if (r == 0)
		r = holder_client_attach(client, link_fds_take(&fds, 0), link_fds_take(&fds, 1),
					 link_fds_take(&fds, 2));
	if (r < 0)
		return r;
	*ret = move_ptr(h);
	return 0;
}

static int holder_block(struct bed *bed, const uint8_t *key, size_t len, struct block_key **ret)
{
	uint8_t id[KEKD_KEY_ID];
	int r;

	number_id(bed->n_keys, id);
	r = holder_take(bed->holder, id, span_of(key, len));
	return r == 0 ? backend_holder_new(bed->client, id, ret) : r;
}

int bed_open(struct bed *bed, enum bed_backend backend, const struct engine_config *config)
{
	int r;

	bed->backend = backend;
	bed->config = *config;
	bed->n_keys = 0;
	memset(bed->tfm, -1, sizeof(bed->tfm));
	if (backend == BED_KERNEL || backend == BED_VALUE) {
		r = ring_new(RING_AUTO, 64, &bed->ring);
		if (r < 0)
			return r;
	}
	if (backend == BED_HOLDER) {
		r = ring_new(RING_AUTO, 64, &bed->ring);
		if (r == 0)
			r = holder_client_new(bed->ring, &bed->client);
		if (r == 0)
			r = bed_holder_start(bed->client, &bed->holder);
		if (r < 0)
			return r;
	}
	return engine_new(config, &bed->engine);
}

void bed_close(struct bed *bed)
{
	bed_run(bed);
	engine_free(bed->engine);
	holder_client_free(move_ptr(bed->client));
	holder_stop(move_ptr(bed->holder));
	ring_free(move_ptr(bed->ring));
	for (unsigned int i = 0; i < BED_KEYS_MAX; i++)
		closep(&bed->tfm[i]);
}

static int bed_block(struct bed *bed, const uint8_t *key, size_t len, struct block_key **ret)
{
	int r;

	if (bed->backend == BED_OPENSSL)
		return backend_openssl_new(engine_defer(bed->engine), key, len, ret);
	if (bed->backend == BED_KERNEL || bed->backend == BED_VALUE)
		return kernel_block(bed, key, len, ret);
	if (bed->backend == BED_HOLDER)
		return holder_block(bed, key, len, ret);
	r = fake_block_new(key, len, &bed->fakes[bed->n_keys]);
	if (r < 0)
		return r;
	bed->gone[bed->n_keys] = false;
	bed->fakes[bed->n_keys]->freed = &bed->gone[bed->n_keys];
	*ret = &bed->fakes[bed->n_keys]->base;
	return 0;
}

int bed_add_key(struct bed *bed, const uint8_t *key, size_t len)
{
	struct block_key *block;
	int r;

	must(bed->n_keys < BED_KEYS_MAX);
	r = bed_block(bed, key, len, &block);
	if (r < 0)
		return r;
	r = engine_key_new(bed->engine, block, &bed->keys[bed->n_keys]);
	if (r < 0) {
		block->ops->free(block);
		return r;
	}
	return (int)bed->n_keys++;
}

void bed_remove_key(struct bed *bed, unsigned int n)
{
	engine_key_remove(bed->keys[n]);
	closep(&bed->tfm[n]);
	bed->tfm[n] = -1;
	bed->keys[n] = NULL;
	if (bed->backend == BED_HOLDER) {
		uint8_t id[KEKD_KEY_ID];

		number_id(n, id);
		must(holder_drop(bed->holder, id) == 0);
	}
}

/* Let the kernel, or the oldest run of one key, the keys in turn, answer. */
static bool bed_answer_one(struct bed *bed)
{
	if (bed->ring && !engine_idle(bed->engine))
		return ring_turn(bed->ring, false) == 0;
	if (bed->backend != BED_FAKE)
		return false;
	for (unsigned int i = 0; i < bed->n_keys; i++) {
		if (!bed->gone[i] && fake_block_finish(bed->fakes[i]))
			return true;
	}
	return false;
}

void bed_flush(struct bed *bed)
{
	while (engine_flush(bed->engine))
		;
}

int bed_run(struct bed *bed)
{
	int flushes = 0;

	for (;;) {
		flushes++;
		if (engine_flush(bed->engine))
			continue;
		if (bed_answer_one(bed))
			continue;
		return engine_idle(bed->engine) ? flushes : -EDEADLK;
	}
}

static void msg_done(struct engine_job *job, int r)
{
	struct msg *m = container_of(job, struct msg, job);

	m->called++;
	m->result = r;
	if (m->then)
		m->then(m);
}

#define UNTOUCHED 0xa5

void msg_init(struct msg *m, struct engine_key *key, const struct msg_spec *spec)
{
	memset(m, 0, sizeof(*m));
	m->len = spec->len;
	m->result = MSG_PENDING;
	m->text = must_alloc(spec->align + spec->len) + spec->align;
	m->aad = must_alloc(spec->aad_len);
	m->expected = must_alloc(spec->len);
	if (spec->len > 0)
		memcpy(m->text, spec->text, spec->len);
	if (spec->aad_len > 0)
		memcpy(m->aad, spec->aad, spec->aad_len);
	m->align = spec->align;
	if (!spec->in_place) {
		m->other = must_alloc(spec->align + spec->len) + spec->align;
		memset(m->other, UNTOUCHED, spec->len);
	}
	m->job.key = key;
	m->job.mode = spec->mode;
	memcpy(m->job.iv, spec->iv,
	       spec->mode <= ENGINE_GCM_OPEN ? KEKD_GCM_NONCE : KEKD_AES_BLOCK);
	m->job.aad = span_of(m->aad, spec->aad_len);
	m->job.in = span_of(m->text, spec->len);
	m->job.out = spec->in_place ? m->text : m->other;
	m->job.done = msg_done;
}

void msg_free(struct msg *m)
{
	size_t align = m->align;

	if (m->text)
		free(m->text - align);
	if (m->other)
		free(m->other - align);
	free(m->aad);
	free(m->expected);
	memset(m, 0, sizeof(*m));
}

uint8_t *msg_out(struct msg *m)
{
	return m->job.out;
}

bool msg_untouched(const struct msg *m)
{
	for (size_t i = 0; m->other && i < m->len; i++) {
		if (m->other[i] != UNTOUCHED)
			return false;
	}
	return true;
}

bool msg_right(const struct msg *m)
{
	if (m->called != 1 || m->result != 0)
		return false;
	if (m->job.mode == ENGINE_GCM_SEAL &&
	    memcmp(m->job.tag, m->expected_tag, sizeof(m->expected_tag)) != 0)
		return false;
	return memcmp(m->job.out, m->expected, m->len) == 0;
}

static const EVP_CIPHER *evp_cipher(bool gcm, size_t key_len)
{
	switch (key_len) {
	case 16:
		return gcm ? EVP_aes_128_gcm() : EVP_aes_128_cbc();
	case 24:
		return gcm ? EVP_aes_192_gcm() : EVP_aes_192_cbc();
	default:
		return gcm ? EVP_aes_256_gcm() : EVP_aes_256_cbc();
	}
}

static void evp_encrypt(const uint8_t *key, size_t key_len, const struct msg_spec *spec,
			uint8_t *out, uint8_t tag[static KEKD_GCM_TAG])
{
	bool gcm = spec->mode <= ENGINE_GCM_OPEN;
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	uint8_t end[KEKD_AES_BLOCK];
	int n;

	must(ctx);
	must(EVP_EncryptInit_ex(ctx, evp_cipher(gcm, key_len), NULL, key, spec->iv));
	must(EVP_CIPHER_CTX_set_padding(ctx, 0));
	if (gcm && spec->aad_len > 0)
		must(EVP_EncryptUpdate(ctx, NULL, &n, spec->aad, (int)spec->aad_len));
	if (spec->len > 0)
		must(EVP_EncryptUpdate(ctx, out, &n, spec->text, (int)spec->len));
	must(EVP_EncryptFinal_ex(ctx, end, &n) && n == 0);
	if (gcm)
		must(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, KEKD_GCM_TAG, tag));
	EVP_CIPHER_CTX_free(ctx);
}

void msg_random(struct msg *m, struct prng *prng, struct engine_key *engine_key, const uint8_t *key,
		size_t key_len, enum engine_mode mode, size_t len, size_t aad_len)
{
	bool opens = mode == ENGINE_GCM_OPEN || mode == ENGINE_CBC_DECRYPT;
	uint8_t iv[KEKD_AES_BLOCK], tag[KEKD_GCM_TAG] = { 0 };
	uint8_t *plain = must_alloc(len), *cipher = must_alloc(len), *aad = must_alloc(aad_len);
	struct msg_spec spec = {
		.mode = mode,
		.iv = iv,
		.text = plain,
		.aad = aad,
		.len = len,
		.aad_len = aad_len,
		.align = prng_below(prng, 16),
		.in_place = prng_below(prng, 2),
	};

	prng_bytes(prng, iv, sizeof(iv));
	prng_bytes(prng, plain, len);
	prng_bytes(prng, aad, aad_len);
	evp_encrypt(key, key_len, &spec, cipher, tag);
	spec.text = opens ? cipher : plain;
	msg_init(m, engine_key, &spec);
	memcpy(m->expected, opens ? plain : cipher, len);
	memcpy(opens ? m->job.tag : m->expected_tag, tag, sizeof(tag));
	free(plain);
	free(cipher);
	free(aad);
}
