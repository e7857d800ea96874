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
static inline size_t codec_prefix_len(const char *prefix, struct span label)
{
	return strlen(prefix) + label.len + 1;
}
/* Write it to @out, which has room for codec_prefix_len() bytes. Returns that length. */
static inline size_t codec_prefix_put(uint8_t *out, const char *prefix, struct span label)
{
	size_t n = strlen(prefix);

	memcpy(out, prefix, n);
	if (label.len > 0)
		memcpy(out + n, label.data, label.len);
	out[n + label.len] = ':';
	return n + label.len + 1;
}
/* True if @stored starts with it; @ret_body is what follows. */
bool codec_prefix_match(struct span stored, const char *prefix, struct span label,
			struct span *ret_body);
/* The same for what follows the prefix. */
bool codec_label_match(struct span labelled, struct span label, struct span *ret_body);

/*
 * Which of the forms in which Kubernetes stores objects @plain begins with: "k8s" NUL and protobuf, a JSON
 * object, or CBOR with the tag that says so (k8s.io/apimachinery, runtime/serializer).
 */
enum codec_form { CODEC_NO_OBJECT, CODEC_PROTOBUF, CODEC_JSON, CODEC_CBOR };
enum codec_form codec_form_of(struct span plain);

#endif
