/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The prefix of a stored value: "k8s:enc:PROVIDER:VERSION:NAME:" and then the provider's bytes
 * (kube-apiserver, storage/value/transformer.go). NAME may hold any byte, ':' too, so a value is
 * never split at colons: a reader asks "does it start with this whole prefix?" for each name it
 * knows. Pure functions; used by the daemon, by kekctl on dumps, and fuzzed.
 */
#ifndef KEKD_CHAIN_CODEC_H
#define KEKD_CHAIN_CODEC_H

#include <stdbool.h>
#include <stddef.h>

#include <kekd/span.h>

#define CODEC_ENC "k8s:enc:"

/* Bytes of "@prefix@label:"; @prefix ends with ':' ("k8s:enc:aesgcm:v1:"). */
size_t codec_prefix_len(const char *prefix, struct span label);
/* Write it to @out, which has room for codec_prefix_len() bytes. Returns that length. */
size_t codec_prefix_put(uint8_t *out, const char *prefix, struct span label);
/* True if @stored starts with it; @ret_body is what follows. */
bool codec_prefix_match(struct span stored, const char *prefix, struct span label,
			struct span *ret_body);

#endif
