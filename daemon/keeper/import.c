/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys from outside, one a request. The request is in locked memory (admin_client.h), and wiped before
 * the answer is sent.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/base/log.h"
#include "daemon/keeper/admin_client.h"
#include "daemon/keeper/keeper_private.h"

int import_take(struct keeper *k, const char *name, struct span blob, struct keydoc_refusal *why,
		const struct keyset_key **ret)
{
	const struct admin_import *in = (const struct admin_import *)(const void *)blob.data;
	struct key_record want = { 0 };
	int r;

	if (blob.len != sizeof(*in) || in->key_bytes > sizeof(in->key))
		return keydoc_refuse(why, -EINVAL, "not a key that kekctl sends");
	want.info.key_bytes = in->key_bytes;
	want.info.secretbox = in->secretbox != 0;
	snprintf(want.info.name, sizeof(want.info.name), "%s", name);
	snprintf(want.info.label, sizeof(want.info.label), "%.*s", (int)sizeof(in->label),
		 in->label);
	r = keeper_import(k, &want, span_of(in->key, in->key_bytes), why, ret);
	if (r < 0)
		return r;
	log_notice("key \"%s\" imported, %s", (*ret)->rec.info.name,
		   key_alg_name(&(*ret)->rec.info));
	if (key_alg_is_weak(&(*ret)->rec.info))
		log_warning("key \"%s\" is weak: some kernels let 16-byte keys be read out by who "
			    "may use them; rotate to a key made here",
			    (*ret)->rec.info.name);
	if (k->conf->config->root_source == CONFIG_ROOT_EPHEMERAL)
		log_warning("the root key is ephemeral: key \"%s\" is lost when kekd ends",
			    (*ret)->rec.info.name);
	return 0;
}
