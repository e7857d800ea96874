/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kekd.yaml and systemd's units. The units of the package are for the defaults of kekd.yaml; what differs needs
 * drop-ins, which `kekctl config units` writes and `kekd --check --unit` and kekctl doctor compare.
 *
 * systemd's sockets have one mode and one group in a unit, and kekd gives its KMS, Transform and metrics
 * sockets one: they are the kekd.socket. The admin socket has a unit of its own.
 */
#ifndef KEKD_CTL_UNITS_H
#define KEKD_CTL_UNITS_H

#include <stdbool.h>
#include <stdio.h>

#include "daemon/chain/config.h"

#define UNITS_DROPIN "50-kekd-yaml.conf"

/* A unit that may need a drop-in. */
struct unit_dropin {
	const char *unit; /* "kekd.socket" */
	/* Write it for @c; false: the package's unit is right as it is, and nothing was written. */
	bool (*put)(FILE *to, const struct config *c);
};
extern const struct unit_dropin unit_dropins[]; /* ends with a unit of NULL */

/* @problem: kekd would not start, or would do otherwise than the file says. @cure is not "". All borrowed. */
typedef void units_finding_fn(void *ctx, bool problem, const char *text, const char *cure);

/*
 * Compare @c with the units under @root ("" is this machine). The number of findings that are problems; -ENOENT:
 * kekd.service is not installed; -ENOMEM.
 */
int units_check(const struct config *c, const char *root, units_finding_fn *found, void *ctx);

#endif
