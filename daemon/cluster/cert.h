/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEKD_CLUSTER_CERT_H
#define KEKD_CLUSTER_CERT_H

#include <time.h>

/* When the first certificate of a PEM file expires. -errno of reading it; -EINVAL: there is none in it. */
int cert_expires(const char *path, time_t *ret);

#endif
