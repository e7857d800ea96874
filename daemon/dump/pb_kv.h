/* SPDX-License-Identifier: Apache-2.0 */
/*
 * etcd's mvccpb.KeyValue. As everywhere, spans point into the message. For Kubernetes' own messages
 * see object.h.
 */
#ifndef KEKD_DUMP_PB_KV_H
#define KEKD_DUMP_PB_KV_H

#include "daemon/dump/dump.h"

/* -EINVAL: not such a message, or it has no key. */
int pb_kv_decode(struct span msg, struct dump_value *ret);

#endif
