/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which resources an EncryptionConfiguration may name. Internal to encconf.c.
 */
#ifndef KEKD_CHAIN_ENCCONF_RESOURCES_H
#define KEKD_CHAIN_ENCCONF_RESOURCES_H

#include "daemon/chain/encconf.h"

/*
 * The rules for one list. @resources are those of @list, in its order; all borrowed. -EINVAL with
 * the document's error noted.
 */
int encconf_resources_check(const struct yaml_doc *doc, const struct yaml_node *list,
			    const struct encconf_resource *resources, size_t count);

/*
 * No rule may stand behind an earlier wildcard that takes everything it could match. All borrowed.
 * -EINVAL with @err filled.
 */
int encconf_resources_masked(const struct encconf *c, const char *file, struct yaml_error *err);

#endif
