/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Parts of encconf.c: names, and the kms provider.
 */
#ifndef KEKD_CHAIN_ENCCONF_KMS_H
#define KEKD_CHAIN_ENCCONF_KMS_H

#include "daemon/chain/encconf.h"

/* The value of a field `name`: not empty, bounded, no control characters. Caller frees *ret. */
int encconf_name_read(const struct yaml_doc *doc, const struct yaml_node *node, char **ret);

/*
 * Read a kms provider into @ret, which lies zeroed in @c, so that names can be compared with those
 * of the providers read before. Strings in @ret are its own, after an error too. -EINVAL with the
 * document's error noted, -ENOMEM.
 */
int encconf_kms_read(const struct yaml_doc *doc, const struct yaml_node *node,
		     const struct encconf *c, struct encconf_kms *ret);

#endif
