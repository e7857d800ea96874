/* SPDX-License-Identifier: Apache-2.0 */
/* Constructors of the providers; each has its own file. @e, @env borrowed for the provider's life. */
#ifndef KEKD_CHAIN_PROVIDERS_H
#define KEKD_CHAIN_PROVIDERS_H

#include "daemon/chain/chain.h"

int provider_aesgcm_new(const struct encconf_provider *e, const struct chain_env *env,
			struct provider **ret);

#endif
