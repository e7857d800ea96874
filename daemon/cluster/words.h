/* SPDX-License-Identifier: Apache-2.0 */
/* What etcd or TLS refused, in words, with what to do. Pure. */
#ifndef KEKD_CLUSTER_WORDS_H
#define KEKD_CLUSTER_WORDS_H

#include <stddef.h>

/*
 * @status: gRPC's, @message: what came with it, as a URL has it. Returns the -errno that it is, and the words at
 * @ret. 0, and no words, for status 0.
 */
int words_for_status(int status, const char *message, char *ret, size_t size);
/* @text: what libcurl and the TLS library say. */
int words_for_tls(const char *text, char *ret, size_t size);

#endif
