/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys from outside, one a packet. The packet with the key is received into locked memory, never
 * into another buffer first, and wiped before the answer is sent. What cannot be helped: until it is
 * received it lies in the kernel's socket buffer, which is freed without being cleared unless the
 * kernel runs with init_on_free.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "daemon/base/log.h"
#include "daemon/base/secmem.h"
#include "daemon/ctl/admin.h"
#include "daemon/keeper/keeper_private.h"

static int import_key(struct keeper *k, struct admin_import *in, const struct keyset_key **ret)
{
	struct key_record want = { .key_bytes = in->key_bytes, .secretbox = in->secretbox != 0 };

	if (in->req.version != ADMIN_VERSION || in->key_bytes > sizeof(in->key))
		return -EINVAL;
	in->req.name[sizeof(in->req.name) - 1] = '\0';
	in->label[sizeof(in->label) - 1] = '\0';
	memcpy(want.name, in->req.name, sizeof(want.name));
	memcpy(want.label, in->label, sizeof(want.label));
	return keyset_import(k->keys, &want, span_of(in->key, in->key_bytes), ret);
}

int import_take(struct keeper *k, int fd, const struct keyset_key **ret)
{
	const struct keyset_key *key = NULL;
	struct admin_import *in;
	ssize_t n;
	int r;

	in = secmem_alloc(sizeof(*in));
	if (!in)
		return -ENOMEM;
	n = recv(fd, in, sizeof(*in), 0);
	if (n != (ssize_t)sizeof(*in))
		r = -EPROTO;
	else
		r = k->sealed < 0 ? -EKEYEXPIRED : import_key(k, in, &key);
	secmem_free(in, sizeof(*in));
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
