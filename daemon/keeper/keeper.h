/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keeper process: root key, KEKs, key store, binds. Parses configuration and admin packets of
 * root, never a byte that an apiserver sends. Starts the server and hands it op sockets.
 */
#ifndef KEKD_KEEPER_KEEPER_H
#define KEKD_KEEPER_KEEPER_H

#include <stdbool.h>

#include "daemon/sys/ring.h"

struct keeper_options {
	const char *config_path; /* borrowed */
	bool ring_forced;        /* --ring: overrides the configuration */
	enum ring_kind ring;
	bool unit; /* --unit: with --check, look at systemd's units too */
};

/* --check: parse everything, touch nothing. Exit status. */
int keeper_check(const struct keeper_options *opt);
/* Runs until SIGTERM or SIGINT. Exit status. */
int keeper_main(const struct keeper_options *opt);

#endif
