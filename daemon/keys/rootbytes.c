/* SPDX-License-Identifier: Apache-2.0 */
/* See rootbytes.h. All of it is in one locked mapping. */
#include "daemon/keys/rootbytes.h"

#include <errno.h>
#include <string.h>

#include "daemon/base/secmem.h"
#include "daemon/crypto/digest.h"
#include "daemon/keys/root.h"
#include "daemon/keys/secret.h"

struct root_bytes {
	uint8_t id[KEY_ROOT_ID];
	size_t len;
	uint8_t secret[SECRET_MAX];
};

/* What root_key_mac() has the kernel compute. */
static int root_bytes_mac(const void *ctx, struct span in, uint8_t ret[static KEYDOC_MAC])
{
	const struct root_bytes *bytes = ctx;

	return hmac_sha256(span_of(bytes->secret, bytes->len), &in, 1, ret);
}

int root_bytes_new(struct span secret, struct root_bytes **ret)
{
	_cleanup_(root_bytes_freep) struct root_bytes *bytes = NULL;
	uint8_t mac[KEYDOC_MAC];
	int r;

	if (secret.len < SECRET_MIN || secret.len > SECRET_MAX)
		return -EINVAL;
	bytes = secmem_alloc(sizeof(*bytes));
	if (!bytes)
		return -ENOMEM;
	memcpy(bytes->secret, secret.data, secret.len);
	bytes->len = secret.len;
	r = root_bytes_mac(bytes, span_str(ROOT_ID_TEXT), mac);
	if (r < 0)
		return r;
	memcpy(bytes->id, mac, sizeof(bytes->id));
	*ret = move_ptr(bytes);
	return 0;
}

void root_bytes_free(struct root_bytes *bytes)
{
	secmem_free(bytes, sizeof(*bytes));
}

void root_bytes_root(const struct root_bytes *bytes, struct keydoc_root *ret)
{
	*ret = (struct keydoc_root){ root_bytes_mac, bytes, bytes->id, NULL };
}
