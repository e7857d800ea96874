/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All that etcd has, at one revision, for scan: from kekd-cluster, which kekctl starts for it and which alone knows TLS and
 * the network. Page for page, as linearizable reads, so that no member that lags is believed.
 */
#ifndef KEKD_CTL_ETCDREAD_H
#define KEKD_CTL_ETCDREAD_H

#include "daemon/cluster/carrier.h"
#include "daemon/ctl/dumpfile.h"

/* Beside 0 and 1 (said): etcd has compacted the revision, said too. Begin again at a newer one. */
#define ETCDREAD_AGAIN 2

struct etcdread {
	struct carrier_setup etcd; /* endpoints and TLS files; no prefix */
	uint64_t revision;         /* to read, or 0: the newest */
};

/* As dumpfile_read(). */
int etcdread_all(const struct etcdread *from, dump_each_fn *each, void *ctx, struct dumpfile *file);

#define ETCDREAD_TEXT 96
/* How far a reading is after @ns, for people: "1200 of 4000 keys, about 10 s left". */
void etcdread_progress(uint64_t done, uint64_t all, uint64_t ns, char ret[static ETCDREAD_TEXT]);

#endif
