/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Static probes of provider `kekd`, for bpftrace(8), perf(1) and others who put uprobes on a running
 * process from outside; kekd.8 documents them, and tests/e2e/watch compares that with the programs. A
 * probe is one nop and a note in the ELF file (<sys/sdt.h>), so it costs next to nothing while nobody looks, as
 * long as its arguments are values that are there anyway: compute nothing for them.
 *
 * An argument is a number or a text of our own that lives while the probe fires. Never bytes of a request or
 * of a key, nor a pointer to some.
 */
#ifndef KEKD_BASE_PROBE_H
#define KEKD_BASE_PROBE_H

#include <sys/sdt.h>

/* A call has come in whole: its service and method (gRPC's path), bytes of its message. */
#define PROBE_CALL_START(service, method, bytes) \
	DTRACE_PROBE3(kekd, call__start, service, method, bytes)

/*
 * The end of what PROBE_CALL_START() began: bytes of the answer, gRPC's status, and ns since its headers. A
 * client that went away unanswered is status 1, CANCELLED.
 */
#define PROBE_CALL_END(service, method, bytes, status, ns) \
	DTRACE_PROBE5(kekd, call__end, service, method, bytes, status, ns)

/* A run goes to the cipher: its number among those in flight, its key, the cipher's direction, its size. */
#define PROBE_RUN_START(number, label, direction, messages, blocks) \
	DTRACE_PROBE5(kekd, run__start, number, label, direction, messages, blocks)

/* The same run is back; r is 0 or -errno. */
#define PROBE_RUN_END(number, label, direction, messages, blocks, r) \
	DTRACE_PROBE6(kekd, run__end, number, label, direction, messages, blocks, r)

/* A message of the link between keeper and server, by the name of its type. */
#define PROBE_LINK_IN(type)  DTRACE_PROBE1(kekd, link__in, type)
#define PROBE_LINK_OUT(type) DTRACE_PROBE1(kekd, link__out, type)

/* A set of keys, of this generation, is what a server works with from now on. */
#define PROBE_KEYSET_TAKEN(generation) DTRACE_PROBE1(kekd, keyset__taken, generation)

#endif
