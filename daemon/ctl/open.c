/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/ctl/ctl.h"
int ctl_open(const struct ctl *ctl _unused_, int argc _unused_, char **argv _unused_)
{
	return ctl_fail("not yet");
}
