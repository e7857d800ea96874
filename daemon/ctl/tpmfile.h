/* SPDX-License-Identifier: Apache-2.0 */
/*
 * --tpm FILE: a root key as the TPM of this machine has sealed it, for `rootKey: { source: trusted, blob: FILE }`. The file is
 * of no use without that TPM, and no secret.
 */
#ifndef KEKD_CTL_TPMFILE_H
#define KEKD_CTL_TPMFILE_H

#include <kekd/span.h>

#include "daemon/sys/tpm.h"

/* Seal @secret and put it in the place of @path, whole or not at all. 0 or 1 (said). */
int tpmfile_make(const char *path, struct span secret);
/* What is in it. 0 or 1 (said). */
int tpmfile_read(const char *path, uint8_t ret[static TPM_SEALED_MAX], size_t *ret_len);

#endif
