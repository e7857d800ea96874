/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A server of one connection, in this process, whose instructions are to be counted: kekd's whole way
 * from the socket to the engine, or the least that a server on nghttp2 can do.
 */
#ifndef KEKD_TESTS_BENCH_SERVED_H
#define KEKD_TESTS_BENCH_SERVED_H

#include "daemon/base/cleanup.h"
#include <kekd/span.h>

struct served {
	/* @ret_fd: the client's end, connected and non-blocking, the caller's. */
	int (*open)(int *ret_fd);
	/* Read, work and write what can be done now. 0 or -errno. */
	int (*turn)(void);
	void (*close)(void);
};

/*
 * gRPC server, KMS services, chain with one AES-256 key, engine. The first on epoll, as valgrind knows
 * what that does, and AES in the process; the others on the daemon's ring, as the daemon runs.
 */
extern const struct served served_kekd, served_openssl, served_holder, served_kernel, served_value;
/* The Transform service in the place of the KMS services; otherwise as the first. */
extern const struct served served_transform;
/*
 * What an API server would have stored for @plain under @path with that chain's plugin, KMS v2, to @out; its length. 0: it
 * did not work.
 */
size_t served_kms_value(struct span path, struct span plain, uint8_t *out, size_t room);
/*
 * nghttp2 with its own memory and its own checks, read(2) and write(2): requests are read and thrown
 * away, each answer has the length of kekd's to Encrypt, and the fields and trailers of gRPC.
 */
extern const struct served served_bare;

#define SERVED_BARE_BYTES 162

#endif
