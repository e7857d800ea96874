/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys from outside, one a request. The request is in locked memory (admin_client.h), and wiped before
 * the answer is sent.
 */
#include <errno.h>
#include <string.h>

#include "daemon/base/log.h"
#include "daemon/keeper/admin_client.h"
#include "daemon/keeper/keeper_private.h"

static int import_key(struct keeper *k, const char name[static KEKD_LABEL_MAX],
		      const struct admin_import *in, const struct keyset_key **ret)
{
	struct key_record want = { .key_bytes = in->key_bytes, .secretbox = in->secretbox != 0 };

	if (in->key_bytes > sizeof(in->key))
		return -EINVAL;
	memcpy(want.name, name, sizeof(want.name));
	memcpy(want.label, in->label, sizeof(want.label));
	want.label[sizeof(want.label) - 1] = '\0';
	return keyset_import(k->keys, &want, span_of(in->key, in->key_bytes), ret);
}

int import_take(struct keeper *k, struct admin_client *c, const struct keyset_key **ret)
{
	struct span blob = admin_client_blob(c);
	const struct keyset_key *key;
	int r;

	if (blob.len != sizeof(struct admin_import))
		return -EPROTO;
	r = import_key(k, admin_client_request(c)->name,
		       (const struct admin_import *)(const void *)blob.data, &key);
	if (r < 0)
		return r;
	log_notice("key \"%s\" imported, %s", key->rec.name, key_alg_name(&key->rec));
	if (key->rec.key_bytes < 24)
		log_warning("key \"%s\" is weak: some kernels let 16-byte keys be read out by who "
			    "may use them; rotate to a key made here",
			    key->rec.name);
	if (k->conf->config->root_source == CONFIG_ROOT_EPHEMERAL)
		log_warning("the root key is ephemeral: key \"%s\" is lost when kekd ends",
			    key->rec.name);
	counts_reserve(k);
	server_send_key(k, key);
	server_sync(k);
	*ret = key;
	return 0;
}
