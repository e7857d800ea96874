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
	want.key_bytes = in->key_bytes;
	want.secretbox = in->secretbox != 0;
	snprintf(want.name, sizeof(want.name), "%s", name);
	snprintf(want.label, sizeof(want.label), "%.*s", (int)sizeof(in->label), in->label);
	r = keeper_import(k, &want, span_of(in->key, in->key_bytes), why, ret);
	if (r < 0)
		return r;
	log_notice("key \"%s\" imported, %s", (*ret)->rec.name, key_alg_name(&(*ret)->rec));
	if ((*ret)->rec.key_bytes < 24)
		log_warning("key \"%s\" is weak: some kernels let 16-byte keys be read out by who "
			    "may use them; rotate to a key made here",
			    (*ret)->rec.name);
	if (k->conf->config->root_source == CONFIG_ROOT_EPHEMERAL)
		log_warning("the root key is ephemeral: key \"%s\" is lost when kekd ends",
			    (*ret)->rec.name);
	return 0;
}
