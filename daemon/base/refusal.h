/* SPDX-License-Identifier: Apache-2.0 */
/* Why a peer that may talk to kekd was not served: a counter of its own for each. */
#ifndef KEKD_BASE_REFUSAL_H
#define KEKD_BASE_REFUSAL_H

enum refusal {
	REFUSAL_CONNECTIONS, /* more than its share of them */
	REFUSAL_DESCRIPTORS, /* this process has no more */
	REFUSAL_MEMORY,      /* locked memory for a message, or for a connection */
	REFUSAL_CALLS,
	REFUSAL_ANSWERS, /* it does not take those to earlier calls */
	REFUSAL_FRAMES,  /* too many that carry no call, or a header block beyond the bound */
	REFUSALS,
};

/* "connections"; static. */
const char *refusal_name(enum refusal why);

#endif
