/* SPDX-License-Identifier: Apache-2.0 */
/* See policy.h. */
#include "daemon/chain/policy.h"

int policy_check(const struct config *config, const struct encconf *enc, const char *file,
		 struct yaml_error *err)
{
	for (size_t i = 0; i < enc->items_count; i++)
		for (size_t j = 0; j < enc->items[i].providers_count; j++) {
			const struct encconf_provider *p = &enc->items[i].providers[j];

			if (p->kind == ENCCONF_SECRETBOX && config->policy == CONFIG_POLICY_STRICT)
				return yaml_error_set(
					err, file, p->line, p->column,
					"secretbox is refused by \"policy: strict\" of kekd.yaml: the "
					"kernel does not offer it, so its key would be in the daemon's "
					"memory; rewrite such values with aesgcm under \"policy: "
					"standard\" first");
			if (p->kind == ENCCONF_IDENTITY && j == 0 && !config->plaintext_writes)
				return yaml_error_set(
					err, file, p->line, p->column,
					"the first provider writes, and identity writes plaintext; put "
					"it last, or say \"allowPlaintextWrites: true\" in kekd.yaml");
		}
	return 0;
}
