/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A bed to test the engine in: an engine over a chosen backend, messages with a buffer of their own,
 * and OpenSSL's EVP_aes_…_gcm and _cbc as the judge of what must come out.
 */
#pragma once

#include <stdbool.h>

#include "daemon/crypto/backend_holder.h"
#include "daemon/crypto/engine.h"
#include "daemon/keeper/holder.h"
#include "daemon/sys/ring.h"
#include "tests/support/fake_block.h"
#include "tests/support/prng.h"

/* BED_KERNEL: the key by its serial. BED_VALUE is the same in all but that. */
enum bed_backend { BED_OPENSSL, BED_FAKE, BED_KERNEL, BED_VALUE, BED_HOLDER };

#define BED_KEYS_MAX 1100

struct bed {
	enum bed_backend backend;
	struct engine_config config;
	struct engine *engine;
	struct engine_key *keys[BED_KEYS_MAX];
	struct fake_block *fakes[BED_KEYS_MAX]; /* of the keys above, if the backend is BED_FAKE */
	bool gone[BED_KEYS_MAX];                /* that fake has been freed */
	int tfm[BED_KEYS_MAX];                  /* BED_KERNEL: what op sockets are accepted from */
	struct ring *ring;                      /* BED_KERNEL, BED_HOLDER */
	struct holder_process *holder; /* BED_HOLDER: kekd itself, as the keeper starts it */
	struct holder_client *client;  /* BED_HOLDER */
	bool spoil;                    /* BED_KERNEL: first op sockets hold a stale message */
	int sndbuf;            /* BED_KERNEL: SO_SNDBUF of the op sockets; 0: as they come */
	unsigned int replaced; /* BED_KERNEL: op sockets that were asked for */
	unsigned int n_keys;
};

/* Settable by tests; config.now reads it. */
extern uint64_t bed_clock;

/* Start a holder, and give it to @client. */
int bed_holder_start(struct holder_client *client, struct holder_process **ret);
/* The daemon's configuration, with bed_clock. */
struct engine_config bed_config(void);
/* Can this kernel serve BED_KERNEL: AF_ALG, keys by serial, CAP_NET_ADMIN where it is asked for? */
bool bed_kernel_serves(void);
int bed_open(struct bed *bed, enum bed_backend backend, const struct engine_config *config);
/* Ends all runs and frees everything. The test must not hold jobs under way. */
void bed_close(struct bed *bed);
/* Number of the new key, or -errno. */
int bed_add_key(struct bed *bed, const uint8_t *key, size_t len);
/* Withdraw key @n; its fake is there until gone[n]. */
void bed_remove_key(struct bed *bed, unsigned int n);
/* Flush and answer until nothing is under way. The number of flushes, or -EDEADLK if it stalls. */
int bed_run(struct bed *bed);
/* Flush until there is nothing to do but wait. */
void bed_flush(struct bed *bed);

/* A message: in, aad and out lie in one heap block, so that a sanitizer sees each byte beyond. */
struct msg {
	struct engine_job job;
	uint8_t *text;  /* in, and out if in place */
	uint8_t *other; /* out if not in place */
	uint8_t *aad;
	uint8_t *expected;
	uint8_t expected_tag[KEKD_GCM_TAG];
	size_t len;
	size_t align;
	int result;
	unsigned int called;
	void (*then)(struct msg *m); /* from the callback */
	void *context;
};

#define MSG_PENDING 1

/* What a message is made of. Data borrowed for the call; text and aad are copied. */
struct msg_spec {
	enum engine_mode mode;
	const uint8_t *iv, *text, *aad;
	size_t len, aad_len;
	size_t align; /* 0 … 15: how far from an aligned address text and out begin */
	bool in_place;
};

void msg_init(struct msg *m, struct engine_key *key, const struct msg_spec *spec);
void msg_free(struct msg *m);
uint8_t *msg_out(struct msg *m);
/* Has out not been written since msg_init()? */
bool msg_untouched(const struct msg *m);
/* Did the message end once, with 0 and the expected bytes? */
bool msg_right(const struct msg *m);

/*
 * Fill in @m from random bytes and what EVP makes of them under @key: text of @len bytes for @mode;
 * an OPEN or DECRYPT message gets the ciphertext as its input.
 */
void msg_random(struct msg *m, struct prng *prng, struct engine_key *engine_key, const uint8_t *key,
		size_t key_len, enum engine_mode mode, size_t len, size_t aad_len);
