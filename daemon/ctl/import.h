/* SPDX-License-Identifier: Apache-2.0 */
/* An EncryptionConfiguration as text again, with names for keys: for kekctl key import. */
#ifndef KEKD_CTL_IMPORT_H
#define KEKD_CTL_IMPORT_H

#include <stdio.h>

#include "daemon/chain/encconf.h"

/* YAML; what is secret in @conf is not looked at. -EIO: @to has failed. All borrowed. */
int import_print(const struct encconf *conf, FILE *to);
/*
 * The same to a new file, whole or not at all, mode 0600. -EEXIST: there is something at @path,
 * which is left as it is. Errors of open(2), write(2), fsync(2) and link(2).
 */
int import_write(const struct encconf *conf, const char *path);

#endif
