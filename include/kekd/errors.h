/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Errors: 0 or -errno, everywhere.
 *
 * An error ends the scope that owns it: an operation, then a connection, then the daemon. The few
 * values below carry one meaning through every layer, so that the place which talks to the client
 * can choose a gRPC status and the place which talks to the operator can name a cure. Whatever is
 * not listed is an internal error of the scope that returned it.
 *
 *   value            meaning here                                   gRPC status (daemon/kms)
 *   -EBADMSG         tag or padding did not hold; final             DATA_LOSS
 *   -EINVAL          malformed request or configuration             INVALID_ARGUMENT
 *   -E2BIG           what it asks to wrap cannot fit the format         INVALID_ARGUMENT
 *   -ENOKEY          no key of that name or id is known             FAILED_PRECONDITION
 *   -EKEYREJECTED    the key is known, its state forbids this use   FAILED_PRECONDITION
 *   -EKEYREVOKED     the key was withdrawn (revoked, unlinked, …)   UNAVAILABLE
 *   -EKEYEXPIRED     the root key is sealed or the key ran out      UNAVAILABLE
 *   -EDQUOT          the key has encrypted as much as it may        UNAVAILABLE
 *   -ENOBUFS         a bounded queue or pool is full; try again     RESOURCE_EXHAUSTED
 *   -EMSGSIZE        larger than a limit of <kekd/limits.h>         RESOURCE_EXHAUSTED
 *   -EPERM, -EACCES  peer or policy forbids it                      PERMISSION_DENIED
 *   -ETIME           the caller's deadline has passed               DEADLINE_EXCEEDED
 *   -ECANCELED       the caller went away; nobody hears the answer  CANCELLED
 *   -EOPNOTSUPP      not offered by this build, backend or kernel   UNIMPLEMENTED
 *   -EHOSTUNREACH    the plugin behind a kms provider does not answer UNAVAILABLE
 *   -EPROTO          that plugin answered against the protocol      UNAVAILABLE
 *   -EREMOTEIO       that plugin refused, for a reason of its own    UNAVAILABLE
 *   -EIO             the kernel broke an operation; retried once    UNAVAILABLE
 */
#ifndef KEKD_ERRORS_H
#define KEKD_ERRORS_H

#include <errno.h>

#endif
