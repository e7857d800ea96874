/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An object as kube-apiserver stores it, opened: protobuf behind "k8s" NUL (runtime.Unknown with the
 * object in it), which is how the resources that Kubernetes has built in are stored. Of Secrets and
 * ConfigMaps the data is given out; of any other kind its type. Of JSON and CBOR, in which custom resources
 * are stored, there is the type alone.
 *
 * Spans point into the message, which may hold secrets and lies wherever the caller keeps it.
 */
#ifndef KEKD_DUMP_OBJECT_H
#define KEKD_DUMP_OBJECT_H

#include <kekd/span.h>

struct object {
	struct span api_version, kind;
	struct span name, ns; /* Secret, ConfigMap */
	struct span type;     /* Secret */
};

/* One entry of data. 0 to go on; anything else ends the decoding, which returns it. */
typedef int object_field_fn(void *ctx, struct span name, struct span value);

/* Of any kind of object, as protobuf, JSON or CBOR: api_version and kind of *@ret. False: it is none. */
bool object_head(struct span plain, struct object *ret);
/* The same of protobuf. -EINVAL: malformed. */
int object_type(struct span plain, struct object *ret);
/*
 * @each may be NULL. -EINVAL: malformed. -EOPNOTSUPP: of another kind; api_version and kind of *@ret are
 * set.
 */
int object_decode(struct span plain, object_field_fn *each, void *ctx, struct object *ret);

#endif
