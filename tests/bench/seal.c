/* SPDX-License-Identifier: Apache-2.0 */
/*
 * seal WAY IN_FLIGHT MESSAGES [FILE]: seal so many messages of 32 bytes with AES-256-GCM, in counted(), for
 * a tool that counts the instructions in there (tests/bench/instructions).
 *
 * `evp` is libcrypto with context and key schedule kept, one message after the other. All others are
 * <kekd/engine.h>, with IN_FLIGHT messages submitted before each flush: `process` with AES in this process,
 * and what each custody has in the server: `serial` and `value` (AF_ALG), `holder`. `evp` takes the next
 * number as a nonce, the engine draws one, whose system call callgrind does not count. All have 21 bytes of
 * AAD, as a KMS value has some. Warming up, with the first use of every page and symbol, comes before; so
 * does a comparison with evp, tags included.
 *
 * With FILE the time in counted() is appended to it as tests/bench/bench has figures, as instructions: in a
 * guest of scripts/vm --icount the clock counts those, the kernel's and the holder's with them.
 */
#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#include "daemon/base/log.h"
#include "daemon/sys/ring.h"
#include "tests/support/cipher_bed.h"

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
static struct bed bed;
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
		(void)engine_submit(bed.engine, &messages[i].job);
	(void)bed_run(&bed);
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

static int open_engine(enum bed_backend backend)
{
	struct engine_config config = ENGINE_CONFIG_DEFAULT;
	int r;

	config.now = now_ns;
	r = bed_open(&bed, backend, &config);
	return r < 0 ? r : bed_add_key(&bed, key_bytes, sizeof(key_bytes));
}

static void messages_init(void)
{
	for (unsigned int i = 0; i < IN_FLIGHT_MAX; i++) {
		struct message *m = &messages[i];

		memset(m->text, (int)i, TEXT);
		m->job.key = bed.keys[0];
		m->job.mode = ENGINE_GCM_SEAL;
		m->job.draw_iv = true;
		m->job.aad = span_of(aad, AAD);
		m->job.in = span_of(m->text, TEXT);
		m->job.out = m->out;
		m->job.done = message_done;
	}
}

static const struct way {
	const char *name;
	void (*batch)(unsigned int n);
	enum bed_backend backend;
} ways[] = {
	{ "evp", evp_batch, BED_OPENSSL },      { "process", engine_batch, BED_OPENSSL },
	{ "serial", engine_batch, BED_KERNEL }, { "value", engine_batch, BED_VALUE },
	{ "holder", engine_batch, BED_HOLDER },
};

static const struct way *way_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(ways); i++)
		if (strcmp(ways[i].name, name) == 0)
			return &ways[i];
	return NULL;
}

static int figure_save(const char *path, const char *way, unsigned int n, double instructions)
{
	FILE *f = fopen(path, "a");

	if (!f)
		return -errno;
	fprintf(f, "custody\tgcm\tencrypt\t%d\t%u\t\t\t\t%s\tinstructions\t%.1f\n", TEXT, n, way,
		instructions);
	return fclose(f) == 0 ? 0 : -EIO;
}

static int seal(const struct way *way, unsigned int n, uint64_t rounds, const char *path)
{
	void (*batch)(unsigned int) = way->batch;
	uint64_t begun;

	batch(n);
	batch(n);
	for (unsigned int i = 0; i < n; i++)
		if (!is_right(&messages[i]))
			return -EBADMSG;
	good = 0;
	begun = now_ns();
	counted(batch, n, rounds);
	begun = now_ns() - begun;
	if (good != n * rounds)
		return -EIO;
	return path ? figure_save(path, way->name, n, (double)begun / (double)good) : 0;
}

int main(int argc, char **argv)
{
	const struct way *way = argc > 1 ? way_find(argv[1]) : NULL;
	unsigned long n, total;
	int r;

	log_init("seal", LOG_LEVEL_ERROR);
	if (!way || argc < 4 || argc > 5 || (n = strtoul(argv[2], NULL, 10)) == 0 ||
	    n > IN_FLIGHT_MAX || (total = strtoul(argv[3], NULL, 10)) < n) {
		fputs("usage: seal evp|process|serial|value|holder IN_FLIGHT MESSAGES [FILE]\n",
		      stderr);
		return 2;
	}
	evp = EVP_CIPHER_CTX_new();
	messages = calloc(IN_FLIGHT_MAX, sizeof(*messages));
	if (!evp || !messages || !EVP_EncryptInit_ex(evp, EVP_aes_256_gcm(), NULL, key_bytes, NULL))
		return 1;
	r = open_engine(way->backend);
	if (r == 0) {
		messages_init();
		r = seal(way, (unsigned int)n, total / n, argv[4]);
	}
	if (r < 0)
		fprintf(stderr, "seal: %s\n", errno_text(r));
	bed_close(&bed);
	free(messages);
	EVP_CIPHER_CTX_free(evp);
	return r < 0;
}
