/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many values through the daemon's Transform service: gathered to requests by their resource, several
 * requests in flight, answers in the order in which the requests were sent. Memory has a bound: adding
 * waits for answers when as much is under way as may be. Of several servers each has a connection of its own
 * where it accepts one: a request goes to the connection with the fewest under way.
 */
#ifndef KEKD_CTL_BULK_H
#define KEKD_CTL_BULK_H

#include "daemon/base/secmem.h"
#include "daemon/kms/pb_transform.h"
#include <kekd/limits.h>

struct bulk;

/*
 * How one value went. @path and all of @result are borrowed for the call; a plaintext in it is in locked
 * memory. 0 to go on; anything else ends the work, which returns it.
 */
typedef int bulk_done_fn(void *ctx, void *tag, struct span path,
			 const struct transform_result *result);

/*
 * @socket: of the service; @method: "/kekd.v1.Transform/Verify"; both and @ctx borrowed for the life of
 * *@ret. @connections: one for each server, from 1; no more are made than requests fly at a time. Caller frees.
 * -errno, nothing said.
 */
int bulk_new(const char *socket, const char *method, unsigned int connections, bulk_done_fn *done,
	     void *ctx, struct bulk **ret);
void bulk_free(struct bulk *b);
DEFINE_CLEANUP(struct bulk *, bulk_free);

#define BULK_VALUE_MAX \
	(KEKD_VALUE_MAX + 256 * 1024) /* plaintext, and what an envelope adds; bytes */

/*
 * One more value; everything is copied. @resource: "secrets", "deployments.apps". 0, what done
 * returned, or an error of the whole, for which bulk_why() has words.
 */
int bulk_add(struct bulk *b, const char *resource, struct span path, struct span value, void *tag);
/* Send the rest and wait for all answers. Errors as above. */
int bulk_finish(struct bulk *b);
/* Why the whole failed; never NULL. */
const char *bulk_why(const struct bulk *b);

#endif
