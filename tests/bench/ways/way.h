/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ways there are to encrypt or decrypt many messages with AES-256, as the cipher benchmark sees
 * them: each takes the same messages and must make the same bytes.
 *
 *   openssl              libcrypto's EVP interface in this process, context and key schedule kept: what
 *                        everyone does
 *   libkcapi             one message a call, the kernel's gcm(aes) or cbc(aes)
 *   afalg-sync           the same on an op socket of our own: sendmsg(2), recv(2)
 *   afalg-uring          the same by io_uring, as many messages in one io_uring_enter as there are
 *   engine               <kekd/engine.h> over op sockets and the ring, as the daemon runs it
 *   userspace-coalesced  what the engine does, with libcrypto's AES and without queues: the ceiling that
 *                        a key in the process would allow
 *
 * Where the kernel refuses gcm(aes), the two afalg ways make each message from one ecb(aes) operation on
 * its counter blocks instead, and finish GCM here: the same as the engine, but one by one.
 */
#ifndef KEKD_TESTS_BENCH_WAY_H
#define KEKD_TESTS_BENCH_WAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/base/cleanup.h"
#include "daemon/sys/keyring.h"
#include <kekd/limits.h>

/* What is measured at once. */
struct load {
	bool gcm, encrypt; /* otherwise CBC, decrypt */
	size_t bytes;      /* of text; whole blocks */
	unsigned int in_flight;
};

/* GCM ciphertext has its tag behind it. No AAD, and no padding for CBC. */
struct message {
	uint8_t iv[KEKD_AES_BLOCK];
	uint8_t *in, *out;
};

static inline size_t load_in(const struct load *l)
{
	return l->bytes + (l->gcm && !l->encrypt ? KEKD_GCM_TAG : 0);
}

static inline size_t load_out(const struct load *l)
{
	return l->bytes + (l->gcm && l->encrypt ? KEKD_GCM_TAG : 0);
}

struct way {
	const char *name;
	/*
	 * Get ready for @l, which is borrowed until close. -ENOENT and -EAFNOSUPPORT: this kernel has
	 * not got it; -EMSGSIZE: it cannot take so many bytes. Any other error is one.
	 */
	int (*open)(const struct load *l, void **ret);
	/* All of l->in_flight messages, the same array each time. 0 or -errno. */
	int (*batch)(void *self, struct message *messages);
	void (*close)(void *self);
};

extern const struct way way_openssl, way_kcapi, way_afalg_sync, way_afalg_uring, way_engine,
	way_coalesced;

/* The one key. bench_key is its serial, set by bench_key_new(); 0 without kernel keyrings. */
extern const uint8_t bench_key_bytes[KEKD_AES_KEY_MAX];
extern key_serial bench_key;
/* Of a type that cannot be read back. */
int bench_key_new(void);

#endif
