/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What kekd.yaml allows of an EncryptionConfiguration that is right in itself:
 *   policy: strict              no secretbox, whose key would lie in the server's memory
 *   allowPlaintextWrites        without it, no chain begins with identity
 */
#ifndef KEKD_CHAIN_POLICY_H
#define KEKD_CHAIN_POLICY_H

#include "daemon/chain/config.h"
#include "daemon/chain/encconf.h"

/*
 * @file: the name of the EncryptionConfiguration, for messages. -EINVAL with *err filled: place,
 * what is refused, and what to write instead. All borrowed.
 */
int policy_check(const struct config *config, const struct encconf *enc, const char *file,
		 struct yaml_error *err);

#endif
