/* SPDX-License-Identifier: Apache-2.0 */
/*
 * --prefix of scan and open: what the keys of objects begin with in etcd, and which other beginnings there
 * are in a dump, for who was given a cluster with another one.
 */
#ifndef KEKD_CTL_ELSEWHERE_H
#define KEKD_CTL_ELSEWHERE_H

#include "daemon/ctl/ctl.h"
#include "daemon/dump/dump.h"

#define PREFIX_MAX     256
#define ELSEWHERE_MAX  8
#define ELSEWHERE_TEXT 1024

/* As kube-apiserver reads its --etcd-prefix: with a '/' at both ends. 0 or 1 (said). */
int ctl_prefix(const struct ctl *ctl, char ret[static PREFIX_MAX]);

/* Objects outside of it. Zeroed, there are none. */
struct elsewhere {
	struct {
		char prefix[128]; /* escaped */
		uint64_t n;
	} v[ELSEWHERE_MAX];
	size_t n;
	uint64_t all; /* objects, also behind prefixes for which there was no room */
};

/* Note a value if it is one of Kubernetes: encrypted, or an object that says its kind. */
void elsewhere_add(struct elsewhere *e, const struct dump_value *v);
/* "12 values of Kubernetes under /a/, 3 under /b/"; "" if there are none. */
void elsewhere_text(const struct elsewhere *e, char ret[static ELSEWHERE_TEXT]);

#endif
