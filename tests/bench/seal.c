/* SPDX-License-Identifier: Apache-2.0 */
/*
 * seal evp|engine IN_FLIGHT MESSAGES: seal so many messages of 32 bytes with AES-256-GCM, in
 * counted(), for a tool that counts the instructions in there (tests/bench/instructions).
 *
 * `evp` is libcrypto with context and key schedule kept, one message after the other. `engine` is
 * <kekd/engine.h> over the openssl backend, with IN_FLIGHT messages submitted before each flush. `evp` takes
 * the next number as a nonce, the engine draws one, whose system call is not counted. Both have 21 bytes of
 * AAD, as a KMS value has some. Warming up, with the
 * first use of every page and symbol, comes before; so does a comparison of the
 * two, tags included.
 */
#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#include "daemon/crypto/backend_openssl.h"
#include "daemon/crypto/engine.h"
#include "daemon/sys/ring.h"

#define TEXT          32
#define AAD           21
#define IN_FLIGHT_MAX 1024

struct message {
	struct engine_job job;
	uint8_t text[TEXT], out[TEXT];
};

static const uint8_t key_bytes[KEKD_AES_KEY_MAX] = "a public key, for the benchmark";
static const uint8_t aad[AAD] = "kekd kms v2 of a key";
static uint64_t number;
static EVP_CIPHER_CTX *evp;
static struct engine *engine;
static struct engine_key *key;
static struct message *messages;
static uint64_t good;

static void nonce_next(uint8_t iv[static KEKD_GCM_NONCE])
{
	number++;
	memcpy(iv, &number, sizeof(number));
}

static void message_done(struct engine_job *job _unused_, int r)
{
	good += r == 0;
}

static bool evp_seal(const uint8_t *iv, const uint8_t *in, uint8_t *out, uint8_t *tag)
{
	int n;

	return EVP_EncryptInit_ex(evp, NULL, NULL, NULL, iv) &&
	       EVP_EncryptUpdate(evp, NULL, &n, aad, AAD) &&
	       EVP_EncryptUpdate(evp, out, &n, in, TEXT) && EVP_EncryptFinal_ex(evp, out + n, &n) &&
	       EVP_CIPHER_CTX_ctrl(evp, EVP_CTRL_AEAD_GET_TAG, KEKD_GCM_TAG, tag);
}

static void evp_batch(unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		struct message *m = &messages[i];

		nonce_next(m->job.iv);
		good += evp_seal(m->job.iv, m->text, m->out, m->job.tag);
	}
}

static void engine_batch(unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		(void)engine_submit(engine, &messages[i].job);
	while (engine_flush(engine))
		;
}

/* What is counted: nothing but the work, and a loop around it. */
__attribute__((noinline)) void counted(void (*batch)(unsigned int n), unsigned int n,
				       uint64_t rounds);
void counted(void (*batch)(unsigned int n), unsigned int n, uint64_t rounds)
{
	for (uint64_t i = 0; i < rounds; i++)
		batch(n);
}

static bool is_right(const struct message *m)
{
	uint8_t out[TEXT], tag[KEKD_GCM_TAG];

	return evp_seal(m->job.iv, m->text, out, tag) && memcmp(out, m->out, TEXT) == 0 &&
	       memcmp(tag, m->job.tag, KEKD_GCM_TAG) == 0;
}

static int open_engine(void)
{
	struct engine_config config = ENGINE_CONFIG_DEFAULT;
	struct block_key *block;
	int r;

	config.now = now_ns;
	r = engine_new(&config, &engine);
	if (r == 0)
		r = backend_openssl_new(engine_defer(engine), key_bytes, sizeof(key_bytes), &block);
	return r < 0 ? r : engine_key_new(engine, block, &key);
}

static void messages_init(void)
{
	for (unsigned int i = 0; i < IN_FLIGHT_MAX; i++) {
		struct message *m = &messages[i];

		memset(m->text, (int)i, TEXT);
		m->job.key = key;
		m->job.mode = ENGINE_GCM_SEAL;
		m->job.draw_iv = true;
		m->job.aad = span_of(aad, AAD);
		m->job.in = span_of(m->text, TEXT);
		m->job.out = m->out;
		m->job.done = message_done;
	}
}

static int seal(const char *way, unsigned int n, uint64_t rounds)
{
	void (*batch)(unsigned int) = strcmp(way, "evp") == 0 ? evp_batch : engine_batch;

	batch(n);
	batch(n);
	for (unsigned int i = 0; i < n; i++)
		if (!is_right(&messages[i]))
			return -EBADMSG;
	good = 0;
	counted(batch, n, rounds);
	return good == n * rounds ? 0 : -EIO;
}

int main(int argc, char **argv)
{
	unsigned long n, total;
	int r;

	if (argc != 4 || (n = strtoul(argv[2], NULL, 10)) == 0 || n > IN_FLIGHT_MAX ||
	    (total = strtoul(argv[3], NULL, 10)) < n) {
		fputs("usage: seal evp|engine IN_FLIGHT MESSAGES\n", stderr);
		return 2;
	}
	evp = EVP_CIPHER_CTX_new();
	messages = calloc(IN_FLIGHT_MAX, sizeof(*messages));
	if (!evp || !messages || !EVP_EncryptInit_ex(evp, EVP_aes_256_gcm(), NULL, key_bytes, NULL))
		return 1;
	r = open_engine();
	if (r == 0) {
		messages_init();
		r = seal(argv[1], (unsigned int)n, total / n);
	}
	if (r < 0)
		fprintf(stderr, "seal: %s\n", strerror(-r));
	engine_free(engine);
	free(messages);
	EVP_CIPHER_CTX_free(evp);
	return r < 0;
}
