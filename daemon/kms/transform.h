/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The service kekd.v1.Transform: many values of etcd at once through the chains of all items. Each
 * value succeeds or fails by itself. Whoever may connect here reads every value that a chain can
 * open, hence the socket and the list of peers of its own, and nothing at all without
 * `transform:` in kekd.yaml.
 */
#ifndef KEKD_KMS_TRANSFORM_H
#define KEKD_KMS_TRANSFORM_H

#include "daemon/kms/pb_transform.h"
#include "daemon/kms/service.h"

struct transform_service;

/* One element of `resources`, and its chain. */
struct transform_item {
	const struct encconf_item *conf;
	struct chain *chain;
};

/*
 * @items: @n of them, copied; what they point to is borrowed. @event may be NULL; it is called once a value,
 * and once for a call that is refused.
 */
int transform_service_new(const struct transform_item *items, size_t n, kms_event_fn *event,
			  void *ctx, struct transform_service **ret);
/* No call may be in flight (transform_service_busy()). */
void transform_service_free(struct transform_service *s);
DEFINE_CLEANUP(struct transform_service *, transform_service_free);
/* After a reload; @items as many as before. */
void transform_service_set_items(struct transform_service *s, const struct transform_item *items);
/* Calls, answered or not, whose values are still under way. */
unsigned int transform_service_busy(const struct transform_service *s);

/*
 * The first item that covers @resource ("secrets", "deployments.apps"), by name or by a wildcard;
 * any, if there is but one item and @resource is empty. -ENOENT.
 */
int transform_find(const struct transform_item *items, size_t n, struct span resource,
		   size_t *ret_index);

/* For grpc_server_listen(), with the service as its ctx. */
extern const struct grpc_service transform_grpc_service;

#endif
