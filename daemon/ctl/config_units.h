/* SPDX-License-Identifier: Apache-2.0 */
/* Shared with kekctl init. */
#ifndef KEKD_CTL_CONFIG_UNITS_H
#define KEKD_CTL_CONFIG_UNITS_H

#include "daemon/ctl/place.h"
#include "daemon/ctl/units.h"

/* Write the drop-ins that @c needs, and remove those of ours that it does not need; 0 or 1 (said). */
int config_units_place(struct place *p, const struct config *c);

#endif
