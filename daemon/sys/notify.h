/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The service manager's notification protocol (sd_notify(3)): one datagram to $NOTIFY_SOCKET. By
 * hand, because it is one function and libsystemd would be a dependency of a key holder.
 */
#ifndef KEKD_SYS_NOTIFY_H
#define KEKD_SYS_NOTIFY_H

/* @state: "READY=1", "STOPPING=1", "STATUS=…". 0 also without a service manager. */
int notify_state(const char *state);

#endif
