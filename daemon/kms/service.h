/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The KMS plugin services, v2 and v1beta1, over one chain (kms-contract of kube-apiserver:
 * k8s.io/apiserver storage/value/encrypt/envelope). Decodes a request, makes an op, answers.
 */
#ifndef KEKD_KMS_SERVICE_H
#define KEKD_KMS_SERVICE_H

#include "daemon/chain/chain.h"
#include "daemon/wire/grpc.h"

struct kms_service;

/*
 * What happened, for audit and metrics; called once an answered, refused or abandoned request. Of Status and
 * Version only for those that are refused.
 */
#define KMS_UNKNOWN_METHOD "unknown method"

struct kms_event {
	const char *method; /* "v2.Encrypt", KMS_UNKNOWN_METHOD */
	/* As sent; not trusted, not terminated. Transform's: which value, where there is one. */
	struct span uid, resource, path;
	const struct op_peer *peer;
	const char *provider, *key_id; /* "" when the request did not get that far */
	int r;
	enum grpc_status status; /* what the caller was told */
	uint64_t started_ns, ended_ns;
};
/*
 * Called before the answer leaves, so that it can be recorded. An error takes the answer's place: what
 * is not recorded is not given out.
 */
typedef int kms_event_fn(void *ctx, const struct kms_event *event);

/*
 * @chain borrowed; kms_service_set_chain() exchanges the chain between two requests.
 * @event may be NULL.
 */
int kms_service_new(struct chain *chain, kms_event_fn *event, void *ctx, struct kms_service **ret);
/* No operation may be in flight (kms_service_busy()). */
void kms_service_free(struct kms_service *s);
DEFINE_CLEANUP(struct kms_service *, kms_service_free);
void kms_service_set_chain(struct kms_service *s, struct chain *chain);
unsigned int kms_service_busy(const struct kms_service *s);
/*
 * How the last try to write ended, a client's or another's, and when (0: there was none); and to say that one has
 * ended. Status goes by it.
 */
int kms_service_writes(const struct kms_service *s, uint64_t *ret_ns);
void kms_service_tried(struct kms_service *s, int r);

/* What a client is told about @r < 0: a status and a sentence for its log. Static. */
void kms_answer(int r, enum grpc_status *ret_status, const char **ret_text);

/* For grpc_server_listen(), with the service as its ctx. */
extern const struct grpc_service kms_grpc_service;

#endif
