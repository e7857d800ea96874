/* SPDX-License-Identifier: Apache-2.0 */
/* Whom kube-apiserver runs as. */
#ifndef KEKD_CTL_PROBE_H
#define KEKD_CTL_PROBE_H

#include <sys/types.h>

struct peer {
	uid_t uid;
	gid_t gid, groups[64];
	size_t n_groups;
};

/* UID, UID:GID or UID:GID,GROUP,... as numbers; without a GID it is that of the same number. -EINVAL, -E2BIG. */
int peer_parse(const char *text, struct peer *ret);

#endif
