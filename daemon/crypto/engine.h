/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making an engine and giving it keys. Using it: <kekd/engine.h>.
 *
 * What is paid for a 32-byte message on Linux 6.12, in guest instructions (tests/bench/run --icount): 7 400
 * a run, whatever its size, and 700 a message, of which the kernel has 120 and GHASH with what is around
 * it 200. With 256 in flight that makes 726; 7.3 is within 1 % of it. The same coalescing over libcrypto,
 * without queues and jobs, takes 394.
 *
 * Behind the socket it hardly matters which backend it is (tests/bench/serve, 64 Encrypts at a time on
 * one connection). Of the 20 650 instructions of a call with openssl, nghttp2 has 9 200, daemon/wire
 * 3 900, protobuf 1 800, the sockets in the kernel 600, this engine 650, and AES 72. With `kernel` AES
 * takes 120 and 7 400 a run: two runs, as the connection is read a piece at a time (daemon/wire/conn.c),
 * make 1.4 % more; a Decrypt is longer, and its four make 2.6 %. One run for all 64 would make 0.7 and
 * 0.9 %. It cannot be less than with openssl, whose AES costs next to nothing in such a call.
 *
 * Of the run, H and the IVs take the following, in instructions of this process over libcrypto
 * (tests/bench/instructions): some 65 to draw the IVs, one system call, and 100 to fetch H, make what GHASH
 * multiplies by, and wipe it. A lone message has 1 558 of them, 64 in flight 634 each. H is not kept from one
 * run to the next for so little.
 *
 * Large values go through the same runs as small ones, in pieces. The kernel's own gcm(aes) is left
 * out. Guest instructions on Linux 6.12, one message alone (7.3 refuses gcm(aes) and has the same
 * figures otherwise):
 *
 *   bytes                    256    2 048    16 384    131 072
 *   gcm(aes), native      10 780   16 272    63 495    456 163
 *   engine, GCM           10 858   17 908    84 967    623 701
 *     of 16 in flight      2 454   10 671    79 323    626 352
 *   cbc(aes), native: D    9 982   13 234    48 986    343 919
 *   engine, CBC: D         9 957   13 926    53 427    386 492
 *   cbc(aes), native: E   10 343   16 059    71 118    520 954
 *   engine, CBC: E       145 802    1.2 M     9.4 M
 *     of 64 in flight      5 317   41 591   331 846
 *
 * A native GCM operation takes a quarter less from 8 KiB on, and less than that below for a message
 * that is alone; in company small ones are far cheaper in runs. But it needs algif_aead, which many
 * hosts block and 7.3 refuses; a receive that is too short makes two records under one nonce, and
 * one that fails leaves plaintext in the buffer (crypto/algif_aead.c). It is not worth that.
 *
 * CBC decryption is a run too, a tenth above the native operation for the XOR. CBC encryption is
 * where a native operation would be far better, as the engine takes one run a block; it would need a
 * second transform for each key. Only Transform writes aescbc, where an operator puts it first.
 */
#ifndef KEKD_CRYPTO_ENGINE_H
#define KEKD_CRYPTO_ENGINE_H

#include <stddef.h>
#include <stdint.h>

#include "daemon/base/cleanup.h"
#include "daemon/base/secmem.h"
#include "daemon/crypto/ghash.h"
#include <kekd/backend.h>
#include <kekd/engine.h>

/*
 * Blocks started in one flush, about: 256 KiB, a fraction of a millisecond of AES-NI. The loop gets
 * to its sockets in between.
 */
#define ENGINE_TURN_BLOCKS (4 * KEKD_RUN_BLOCKS_MAX)

/*
 * Runs that one flush offers to be answered at once, one after the other: each costs an operation of
 * the kernel whatever its size, and a chain of them (CBC encryption) may be long.
 */
#define ENGINE_TURN_DIRECT 16

struct engine_config {
	uint32_t jobs_max;              /* under way at once; more is -ENOBUFS */
	size_t bytes_max;               /* of text and AAD under way; at least one largest value */
	uint32_t runs_max;              /* in flight at once, of all keys; each has its buffer */
	uint32_t run_blocks;            /* in one run, 2 … KEKD_RUN_BLOCKS_MAX; one is for H */
	uint32_t share_blocks;          /* of one job in a run while others wait, at least 1 */
	const struct ghash_impl *ghash; /* ghash_best(), or what a test forces */
	uint64_t (*now)(void);          /* CLOCK_MONOTONIC in ns: now_ns() of the ring */
};

/* What the daemon runs with, for Transform; the KMS sockets come on top. @now must still be set. 512 KiB of locked memory for eight runs. */
#define ENGINE_CONFIG_DEFAULT                      \
	((struct engine_config){                   \
		.jobs_max = 16384,                 \
		.bytes_max = 32U << 20,            \
		.runs_max = 8,                     \
		.run_blocks = KEKD_RUN_BLOCKS_MAX, \
		.share_blocks = 256,               \
		.ghash = ghash_best(),             \
	})

/*
 * -EINVAL for a configuration outside the bounds above, -ENOMEM also when RLIMIT_MEMLOCK is too low for
 * the run buffers.
 */
int engine_new(const struct engine_config *config, struct engine **ret);
/*
 * Free @engine and all its keys. No job may be under way and no run in flight: nothing can take back
 * what the kernel writes into. May be NULL.
 */
void engine_free(struct engine *engine);
DEFINE_CLEANUP(struct engine *, engine_free);

/* No job is under way, no run is in flight, no removed key waits to be freed. */
bool engine_idle(const struct engine *engine);

/* For backends that have their answer at once. Borrowed, lives as long as @engine. */
struct block_defer *engine_defer(struct engine *engine);

/*
 * A key for jobs, over @block, which is consumed on success and stays the caller's on failure
 * (-ENOMEM). It holds nothing secret beside @block: H = E_K(0) travels as one more block of each run that
 * has messages of GCM, so it costs no crossing of its own. The result is the engine's; give it up with
 * engine_key_remove().
 */
int engine_key_new(struct engine *engine, struct block_key *block, struct engine_key **ret);

/* What probes call the key (daemon/base/probe.h); copied. Without memory it has no name. */
void engine_key_label(struct engine_key *key, const char *label);

/*
 * Withdraw @key, which must not be used after this call. Its queued jobs, and jobs in flight that
 * would need another run, end with -EKEYREVOKED; a job whose last run is in flight may still end
 * with 0. The block key is freed by the flush after its last run. Works from any callback.
 */
void engine_key_remove(struct engine_key *key);

/* The key's block key, for the backend that made it. Borrowed. */
struct block_key *engine_key_block(struct engine_key *key);

#endif
