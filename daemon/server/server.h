/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server process: reads what clients send, drives op sockets, owns no key. Started by the
 * keeper with one descriptor, the link (daemon/server/link.h).
 */
#ifndef KEKD_SERVER_SERVER_H
#define KEKD_SERVER_SERVER_H

/* Runs until the keeper says stop or is gone. @link_fd consumed. The process's exit status. */
int server_main(int link_fd);

#endif
