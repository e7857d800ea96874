/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cipher [--json FILE] [--rounds N] [--slice MS] [--icount] [--only PREFIX]: what it costs to seal a
 * message of 32 bytes with AES-256-GCM, by every way there is. Prints a Markdown table. PREFIX is
 * that of a way's id in the JSON, for a look at one of them by a profiler.
 *
 *   EVP              libcrypto in this process, context and key schedule kept: what everyone does
 *   libkcapi         one message a call, the kernel's gcm(aes)
 *   gcm operation    the same on an op socket of our own, two plain system calls
 *   ecb run          the 48 bytes of counter blocks of one message, by themselves: no GHASH
 *   engine           <kekd/engine.h> as the daemon runs it, with so many messages under way at
 *                    once; over op sockets and the ring, or over libcrypto ("userspace"), which is
 *                    the ceiling that a key in the process would allow
 *
 * Before a way is timed, what it makes is compared with EVP's, byte for byte, tags included. Each
 * message gets the next number as its nonce. No AAD, the same for all.
 */
#include <errno.h>
#include <getopt.h>
#include <kcapi.h>
#include <linux/if_alg.h>
#include <openssl/evp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/utsname.h>

#include "daemon/base/log.h"
#include "daemon/crypto/backend_kernel.h"
#include "daemon/crypto/backend_openssl.h"
#include "daemon/crypto/engine.h"
#include "daemon/sys/afalg.h"
#include "daemon/sys/keyring.h"
#include "tests/bench/measure.h"

#define TEXT          32
#define SEALED        (TEXT + KEKD_GCM_TAG)
#define RUN           (3 * KEKD_AES_BLOCK) /* J0 and two counter blocks */
#define IN_FLIGHT_MAX 256
#define CHECKED       512

static const uint8_t key_bytes[KEKD_AES_KEY_MAX] = "a public key, for the benchmark";
static key_serial key;
static uint64_t messages; /* sealed so far: the nonce of the next */

static void nonce_next(uint8_t iv[static KEKD_GCM_NONCE])
{
	messages++;
	memset(iv, 0, KEKD_GCM_NONCE);
	memcpy(iv, &messages, sizeof(messages));
}

static void text_of(const uint8_t iv[static KEKD_GCM_NONCE], uint8_t ret[static TEXT])
{
	for (size_t i = 0; i < TEXT; i++)
		ret[i] = (uint8_t)(iv[i % 8] + 7 * i);
}

/* EVP. */

static EVP_CIPHER_CTX *evp;

static int evp_init(void)
{
	evp = EVP_CIPHER_CTX_new();
	return evp && EVP_EncryptInit_ex(evp, EVP_aes_256_gcm(), NULL, key_bytes, NULL) ? 0 : -EIO;
}

static bool evp_seal(const uint8_t iv[static KEKD_GCM_NONCE], const uint8_t in[static TEXT],
		     uint8_t ret[static SEALED])
{
	int n, rest;

	return EVP_EncryptInit_ex(evp, NULL, NULL, NULL, iv) &&
	       EVP_EncryptUpdate(evp, ret, &n, in, TEXT) &&
	       EVP_EncryptFinal_ex(evp, ret + n, &rest) &&
	       EVP_CIPHER_CTX_ctrl(evp, EVP_CTRL_AEAD_GET_TAG, KEKD_GCM_TAG, ret + TEXT);
}

static bool is_right(const uint8_t iv[static KEKD_GCM_NONCE], const uint8_t sealed[static SEALED])
{
	uint8_t text[TEXT], expected[SEALED];

	text_of(iv, text);
	return evp_seal(iv, text, expected) && memcmp(expected, sealed, SEALED) == 0;
}

/* A way of one message at a time. @data is the socket or handle. */
typedef int seal_fn(struct subject *s, uint8_t iv[static KEKD_GCM_NONCE], uint8_t in[static TEXT],
		    uint8_t ret[static SEALED]);

static int evp_one(struct subject *s _unused_, uint8_t *iv, uint8_t *in, uint8_t *ret)
{
	return evp_seal(iv, in, ret) ? 0 : -EIO;
}

static int kcapi_one(struct subject *s, uint8_t *iv, uint8_t *in, uint8_t *ret)
{
	ssize_t n = kcapi_aead_encrypt(s->data, in, TEXT, iv, ret, SEALED, KCAPI_ACCESS_SENDMSG);

	return n < 0 ? (int)n : n == SEALED ? 0 : -EIO;
}

static int *socket_of(struct subject *s)
{
	return s->data;
}

struct gcm_control {
	_Alignas(struct cmsghdr)
		uint8_t bytes[CMSG_SPACE(4) * 2 + CMSG_SPACE(sizeof(struct af_alg_iv) + 12)];
};

static void *control_add(struct cmsghdr *c, int type, size_t len)
{
	c->cmsg_level = SOL_ALG;
	c->cmsg_type = type;
	c->cmsg_len = CMSG_LEN(len);
	return CMSG_DATA(c);
}

static int gcm_one(struct subject *s, uint8_t *iv, uint8_t *in, uint8_t *ret)
{
	struct gcm_control control = { 0 };
	struct iovec iov = { in, TEXT };
	struct msghdr hdr = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control.bytes,
			      .msg_controllen = sizeof(control.bytes) };
	uint32_t op = ALG_OP_ENCRYPT, aad = 0;
	struct cmsghdr *c = CMSG_FIRSTHDR(&hdr);
	struct af_alg_iv *alg_iv;

	memcpy(control_add(c, ALG_SET_OP, sizeof(op)), &op, sizeof(op));
	c = CMSG_NXTHDR(&hdr, c);
	memcpy(control_add(c, ALG_SET_AEAD_ASSOCLEN, sizeof(aad)), &aad, sizeof(aad));
	c = CMSG_NXTHDR(&hdr, c);
	alg_iv = control_add(c, ALG_SET_IV, sizeof(*alg_iv) + KEKD_GCM_NONCE);
	alg_iv->ivlen = KEKD_GCM_NONCE;
	memcpy(alg_iv->iv, iv, KEKD_GCM_NONCE);
	if (sendmsg(*socket_of(s), &hdr, 0) != TEXT)
		return -errno;
	return recv(*socket_of(s), ret, SEALED, 0) == SEALED ? 0 : -EIO;
}

static seal_fn *const one[] = { evp_one, kcapi_one, gcm_one };
enum { ONE_EVP, ONE_KCAPI, ONE_GCM };

static int one_batch(struct subject *s)
{
	uint8_t iv[KEKD_GCM_NONCE], text[TEXT] = { 0 }, sealed[SEALED];
	int r;

	for (int i = 0; i < 32; i++) {
		nonce_next(iv);
		r = one[s->variant](s, iv, text, sealed);
		if (r < 0)
			return r;
	}
	return 32;
}

static int one_check(struct subject *s)
{
	uint8_t iv[KEKD_GCM_NONCE], text[TEXT], sealed[SEALED];
	int r = 0;

	for (int i = 0; r == 0 && i < CHECKED; i++) {
		nonce_next(iv);
		text_of(iv, text);
		r = one[s->variant](s, iv, text, sealed);
		if (r == 0 && !is_right(iv, sealed))
			r = -EBADMSG;
	}
	return r;
}

static int refused(struct subject *s, int r)
{
	s->why = r == -ENOENT         ? "refused by the kernel"
		 : r == -EAFNOSUPPORT ? "no AF_ALG"
				      : errno_text(r);
	return r;
}

static int evp_open(struct subject *s)
{
	return one_check(s);
}

static int kcapi_open(struct subject *s)
{
	struct kcapi_handle *h;
	int r = kcapi_aead_init(&h, "gcm(aes)", 0);

	if (r < 0)
		return refused(s, r);
	s->data = h;
	r = kcapi_aead_setkey(h, key_bytes, sizeof(key_bytes));
	if (r == 0)
		r = kcapi_aead_settaglen(h, KEKD_GCM_TAG);
	kcapi_aead_setassoclen(h, 0);
	return r < 0 ? r : one_check(s);
}

static void kcapi_close(struct subject *s)
{
	if (s->data)
		kcapi_aead_destroy(s->data);
}

/* An op socket of @alg with the key; the transform's own socket is closed, which it survives. */
static int socket_open(const char *type, const char *alg, int *ret)
{
	_cleanup_close_ int tfm = -1;
	int r = afalg_bind(type, alg, &tfm);

	if (r < 0)
		return r;
	r = afalg_set_key(tfm, key);
	if (r == 0 && strcmp(type, "aead") == 0 &&
	    setsockopt(tfm, SOL_ALG, ALG_SET_AEAD_AUTHSIZE, NULL, KEKD_GCM_TAG) < 0)
		r = -errno;
	return r < 0 ? r : afalg_accept(tfm, ret);
}

static int subject_socket(struct subject *s, const char *type, const char *alg)
{
	int *fd = malloc(sizeof(*fd)), r;

	if (!fd)
		return -ENOMEM;
	*fd = -1;
	s->data = fd;
	r = socket_open(type, alg, fd);
	return r < 0 ? refused(s, r) : 0;
}

static void subject_socket_close(struct subject *s)
{
	closep(s->data);
	free(s->data);
}

static int gcm_open(struct subject *s)
{
	int r = subject_socket(s, "aead", "gcm(aes)");

	return r < 0 ? r : one_check(s);
}

static int ecb_batch(struct subject *s)
{
	static uint8_t blocks[RUN], out[RUN];
	int r;

	for (int i = 0; i < 32; i++) {
		for (size_t j = 0; j < RUN; j += KEKD_AES_BLOCK)
			nonce_next(blocks + j);
		r = afalg_run(*socket_of(s), BLOCK_ENCRYPT, blocks, out, RUN);
		if (r < 0)
			return r;
	}
	return 32;
}

static int ecb_open(struct subject *s)
{
	return subject_socket(s, "skcipher", "ecb(aes)");
}

/* The engine. */

enum { ENGINE_IO_URING, ENGINE_EPOLL, ENGINE_USERSPACE };

struct bench_engine {
	struct ring *ring;
	struct secpool *pool;
	struct engine *engine;
	struct engine_key *key;
	struct secbuf memory;
	struct message *messages;
	unsigned int under_way;
	int error;
};

struct message {
	struct engine_job job;
	struct bench_engine *owner;
	uint8_t text[TEXT];
	uint8_t out[TEXT];
};

static void message_done(struct engine_job *job, int r)
{
	struct message *m = container_of(job, struct message, job);

	m->owner->under_way--;
	if (r < 0)
		m->owner->error = r;
}

static int message_submit(struct bench_engine *e, struct message *m)
{
	m->job.key = e->key;
	m->job.mode = ENGINE_GCM_SEAL;
	m->job.in = span_of(m->text, TEXT);
	m->job.out = m->out;
	m->job.done = message_done;
	m->owner = e;
	nonce_next(m->job.iv);
	e->under_way++;
	return engine_submit(e->engine, &m->job);
}

static int engine_work(struct bench_engine *e)
{
	while (e->under_way > 0 && e->error == 0) {
		bool more = engine_flush(e->engine);
		int r;

		if (e->under_way == 0)
			break;
		r = ring_turn(e->ring, more);
		if (r < 0)
			return r;
	}
	return e->error;
}

static int engine_batch(struct subject *s)
{
	struct bench_engine *e = s->data;
	int r = 0;

	for (unsigned int i = 0; r == 0 && i < s->in_flight; i++)
		r = message_submit(e, &e->messages[i]);
	if (r == 0)
		r = engine_work(e);
	return r < 0 ? r : (int)s->in_flight;
}

static int engine_check(struct subject *s)
{
	struct bench_engine *e = s->data;
	uint8_t sealed[SEALED];
	int r;

	for (unsigned int n = 0; n < CHECKED; n += s->in_flight) {
		/* The nonce of the i-th message is known before it is submitted. */
		for (unsigned int i = 0; i < s->in_flight; i++) {
			uint64_t number = messages + 1 + i;
			uint8_t iv[KEKD_GCM_NONCE] = { 0 };

			memcpy(iv, &number, sizeof(number));
			text_of(iv, e->messages[i].text);
		}
		r = engine_batch(s);
		if (r < 0)
			return r;
		for (unsigned int i = 0; i < s->in_flight; i++) {
			struct message *m = &e->messages[i];

			memcpy(sealed, m->out, TEXT);
			memcpy(sealed + TEXT, m->job.tag, KEKD_GCM_TAG);
			if (!is_right(m->job.iv, sealed))
				return -EBADMSG;
		}
	}
	return 0;
}

/* A broken op socket would spoil the figures: none is replaced, and the run ends. */
static void need(void *ctx, const uint8_t *id _unused_)
{
	struct bench_engine *e = ctx;

	e->error = -EIO;
}

static int kernel_block(struct bench_engine *e, struct block_key **ret)
{
	static const uint8_t id[KEKD_KEY_ID];
	struct block_key *block;
	int fd, r;

	r = backend_kernel_new(e->ring, id, need, e, &block);
	for (int i = 0; r == 0 && i < BACKEND_KERNEL_SOCKETS; i++) {
		r = socket_open("skcipher", "ecb(aes)", &fd);
		if (r == 0)
			backend_kernel_add_socket(block, fd);
		else
			block->ops->free(block);
	}
	if (r == 0)
		*ret = block;
	return r;
}

static int engine_key(struct bench_engine *e, unsigned int variant)
{
	struct block_key *block;
	int r;

	if (variant == ENGINE_USERSPACE)
		r = backend_openssl_new(engine_defer(e->engine), key_bytes, sizeof(key_bytes),
					&block);
	else
		r = kernel_block(e, &block);
	return r < 0 ? r : engine_key_new(e->engine, block, &e->key);
}

static int engine_open(struct subject *s)
{
	struct engine_config config = ENGINE_CONFIG_DEFAULT;
	struct bench_engine *e = calloc(1, sizeof(*e));
	int r;

	if (!e)
		return -ENOMEM;
	s->data = e;
	config.now = now_ns;
	r = ring_new(s->variant == ENGINE_IO_URING ? RING_IO_URING : RING_EPOLL, 256, &e->ring);
	if (r < 0)
		return refused(s, r);
	r = secpool_new(1U << 20, &e->pool);
	if (r == 0)
		r = engine_new(&config, e->pool, &e->engine);
	if (r == 0)
		r = secpool_get(e->pool, IN_FLIGHT_MAX * sizeof(struct message), &e->memory);
	if (r < 0)
		return r;
	e->messages = (struct message *)(void *)e->memory.data;
	r = engine_key(e, s->variant);
	return r < 0 ? refused(s, r) : engine_check(s);
}

static void engine_close(struct subject *s)
{
	struct bench_engine *e = s->data;

	if (!e)
		return;
	secbuf_release(&e->memory);
	engine_free(e->engine);
	secpool_free(e->pool);
	ring_free(e->ring);
	free(e);
}

#define ENGINE(text, id, kind, n)                                                                 \
	{                                                                                         \
		.name = text ", " #n " in flight", .key = id "-" #n, .open = engine_open,         \
		.batch = engine_batch, .close = engine_close, .variant = (kind), .in_flight = (n) \
	}

static struct subject subjects[] = {
	{ .name = "OpenSSL EVP",
	  .key = "evp",
	  .open = evp_open,
	  .batch = one_batch,
	  .variant = ONE_EVP,
	  .in_flight = 1 },
	{ .name = "libkcapi, one-shot gcm(aes)",
	  .key = "kcapi",
	  .open = kcapi_open,
	  .batch = one_batch,
	  .close = kcapi_close,
	  .variant = ONE_KCAPI,
	  .in_flight = 1 },
	{ .name = "AF_ALG, one gcm(aes) operation each",
	  .key = "gcm",
	  .open = gcm_open,
	  .batch = one_batch,
	  .close = subject_socket_close,
	  .variant = ONE_GCM,
	  .in_flight = 1 },
	{ .name = "AF_ALG, one ecb(aes) run each, without GHASH",
	  .key = "ecb",
	  .open = ecb_open,
	  .batch = ecb_batch,
	  .close = subject_socket_close,
	  .in_flight = 1 },
	ENGINE("engine, kernel, io_uring", "kernel-io_uring", ENGINE_IO_URING, 1),
	ENGINE("engine, kernel, io_uring", "kernel-io_uring", ENGINE_IO_URING, 8),
	ENGINE("engine, kernel, io_uring", "kernel-io_uring", ENGINE_IO_URING, 64),
	ENGINE("engine, kernel, io_uring", "kernel-io_uring", ENGINE_IO_URING, 256),
	ENGINE("engine, kernel, epoll", "kernel-epoll", ENGINE_EPOLL, 1),
	ENGINE("engine, kernel, epoll", "kernel-epoll", ENGINE_EPOLL, 8),
	ENGINE("engine, kernel, epoll", "kernel-epoll", ENGINE_EPOLL, 64),
	ENGINE("engine, kernel, epoll", "kernel-epoll", ENGINE_EPOLL, 256),
	ENGINE("engine, userspace", "userspace", ENGINE_USERSPACE, 1),
	ENGINE("engine, userspace", "userspace", ENGINE_USERSPACE, 8),
	ENGINE("engine, userspace", "userspace", ENGINE_USERSPACE, 64),
	ENGINE("engine, userspace", "userspace", ENGINE_USERSPACE, 256),
};

/* The key by serial, of a type that cannot be read back. Without keyrings there is no AF_ALG row. */
static int key_make(void)
{
	key_serial ring;
	int r = keyring_new_session();

	if (r == 0)
		r = keyring_new("kekd-bench", &ring);
	if (r == 0)
		r = keyring_add_logon(ring, "kekd:bench", span_of(key_bytes, sizeof(key_bytes)),
				      &key);
	return r;
}

/* EVP is always among them: it is what the others are measured by. */
static int open_all(const char *only)
{
	for (size_t i = 0; i < ARRAY_SIZE(subjects); i++) {
		struct subject *s = &subjects[i];
		int r;

		if (i > 0 && only && strncmp(s->key, only, strlen(only)) != 0) {
			s->why = "left out";
			continue;
		}
		r = s->open(s);
		if (r < 0 && !s->why) {
			fprintf(stderr, "%s: %s\n", s->name,
				r == -EBADMSG ? "not what EVP makes" : errno_text(r));
			return r;
		}
	}
	return 0;
}

static int save_json(const char *path, bool counting)
{
	json_t *rows = json_array();
	struct utsname uts;
	json_t *all;
	int r;

	uname(&uts);
	for (size_t i = 0; i < ARRAY_SIZE(subjects); i++)
		json_array_append_new(rows, measure_json(&subjects[i], &subjects[0]));
	all = json_pack("{s:s, s:s, s:i, s:o}", "kernel", uts.release, "unit",
			counting ? "instructions" : "nanoseconds", "bytes", TEXT, "ways", rows);
	r = all ? json_dump_file(all, path, JSON_INDENT(2) | JSON_REAL_PRECISION(6)) : -1;
	json_decref(all);
	if (r < 0)
		fprintf(stderr, "%s: cannot write\n", path);
	return r;
}

struct settings {
	const char *json, *only;
	unsigned int rounds, slice_ms;
	bool counting;
};

static const struct option options[] = {
	{ "json", required_argument, NULL, 'j' },  { "rounds", required_argument, NULL, 'r' },
	{ "slice", required_argument, NULL, 's' }, { "icount", no_argument, NULL, 'i' },
	{ "only", required_argument, NULL, 'o' },  { NULL, 0, NULL, 0 },
};

static bool settings_parse(struct settings *s, int argc, char **argv)
{
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'j':
			s->json = optarg;
			break;
		case 'r':
			s->rounds = (unsigned int)strtoul(optarg, NULL, 10);
			break;
		case 's':
			s->slice_ms = (unsigned int)strtoul(optarg, NULL, 10);
			break;
		case 'i':
			s->counting = true;
			break;
		case 'o':
			s->only = optarg;
			break;
		default:
			return false;
		}
	}
	return optind == argc && s->rounds > 0 && s->rounds <= ROUNDS_MAX && s->slice_ms > 0;
}

static int measure(const struct settings *s)
{
	struct utsname uts;
	int r;

	r = open_all(s->only);
	if (r == 0)
		r = measure_all(subjects, ARRAY_SIZE(subjects), s->rounds,
				s->slice_ms * UINT64_C(1000000));
	if (r < 0)
		return r;
	uname(&uts);
	printf("Linux %s, %s, median of %u rounds\n\n", uts.release,
	       OpenSSL_version(OPENSSL_VERSION), s->rounds);
	measure_print(subjects, ARRAY_SIZE(subjects), s->counting);
	return s->json ? save_json(s->json, s->counting) : 0;
}

int main(int argc, char **argv)
{
	struct settings s = { .rounds = 9, .slice_ms = 100 };
	int r;

	log_init("cipher", LOG_LEVEL_WARNING);
	if (!settings_parse(&s, argc, argv)) {
		fputs("usage: cipher [--json FILE] [--rounds N] [--slice MS] [--icount] [--only PREFIX]\n",
		      stderr);
		return 2;
	}
	if (key_make() < 0)
		fputs("no kernel keyrings here\n", stderr);
	if (evp_init() < 0)
		return 1;
	r = measure(&s);
	for (size_t i = 0; i < ARRAY_SIZE(subjects); i++)
		if (subjects[i].close)
			subjects[i].close(&subjects[i]);
	EVP_CIPHER_CTX_free(evp);
	return r < 0;
}
