/* SPDX-License-Identifier: Apache-2.0 */
/* From the auxiliary vector (getauxval(3)): no system call, and the same for the life of the process. */
#include "daemon/base/page.h"

#include <sys/auxv.h>

size_t page_size(void)
{
	return getauxval(AT_PAGESZ);
}
