/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values that kube-apiserver has stored with kekd as its KMS plugin, opened here as a whole: what an
 * apiserver does by asking the KMS socket for a data key, without the apiserver. The name in the prefix
 * is the apiserver's and says nothing; the sealed data key is a value of a chain of ours, and tells by
 * that that the envelope is our own.
 *
 * Reading only. No data key is kept: it is unsealed for each value, which the engine does for all values
 * of a turn at once. A key that is withdrawn thus stops opening values at once, too.
 */
#ifndef KEKD_CHAIN_OWN_H
#define KEKD_CHAIN_OWN_H

#include "daemon/chain/chain.h"

/* Is it a KMS value, v1 or v2, whose data key some kekd has sealed? */
bool own_match(struct span stored);

/*
 * Open op->in, OP_STORAGE, with a key of @chain. As a provider's decrypt (<kekd/provider.h>); -ENOKEY or
 * -EINVAL also when the data key is none of this chain's. @pool borrowed until done.
 */
int own_decrypt(struct chain *chain, struct secpool *pool, struct op *op);

#endif
