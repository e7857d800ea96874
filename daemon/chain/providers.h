/* SPDX-License-Identifier: Apache-2.0 */
/* Constructors of the providers; each has its own file. @e, @env borrowed for the provider's life. */
#ifndef KEKD_CHAIN_PROVIDERS_H
#define KEKD_CHAIN_PROVIDERS_H

#include "daemon/chain/chain.h"

int provider_aesgcm_new(const struct encconf_provider *e, const struct chain_env *env,
			struct provider **ret);
int provider_aescbc_new(const struct encconf_provider *e, const struct chain_env *env,
			struct provider **ret);
int provider_secretbox_new(const struct encconf_provider *e, const struct chain_env *env,
			   struct provider **ret);
/* Once in a process, before it is locked down: libsodium looks at the CPU and for randomness. */
int provider_secretbox_init(void);
int provider_identity_new(const struct encconf_provider *e, const struct chain_env *env,
			  struct provider **ret);
/* Version 1 or 2, as @e says. */
int provider_kms_new(const struct encconf_provider *e, const struct chain_env *env,
		     struct provider **ret);
int provider_kmsv1_new(const struct encconf_provider *e, const struct chain_env *env,
		       struct provider **ret);
int provider_kmsv2_new(const struct encconf_provider *e, const struct chain_env *env,
		       struct provider **ret);

#endif
