/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The root key from an operator's hand: `kekctl unseal` sends it, into locked memory (admin_client.h).
 * A keeper whose root source is `unseal` starts without a root: it knows its keys by their records
 * and can use none, and Status says "sealed".
 *
 * A root that was taken away in the kernel comes back the same way. The keys are then made anew from
 * the store, so that what an administrator has killed is alive again only by this.
 */
#include <errno.h>

#include "daemon/base/log.h"
#include "daemon/keeper/keeper_private.h"
#include "daemon/keys/secret.h"
#include "daemon/sys/afalg.h"

static bool has_root(const struct keeper *k)
{
	return k->root || k->soft_root;
}

static void tell_server(struct keeper *k)
{
	const struct list *head = keyset_list(k->keys);

	for (const struct list *n = head->next; n != head; n = n->next)
		server_send_key(k, list_entry(n, struct keyset_key, link));
}

/* The ring may have died with the root that was in it. */
static int root_make_again(struct keeper *k, struct span secret)
{
	int r;

	r = root_key_new(k->ring, secret, &k->root);
	if (r != -EKEYREVOKED && r != -EKEYEXPIRED && r != -ENOKEY)
		return r;
	r = custody_ring_new(k);
	return r == 0 ? root_key_new(k->ring, secret, &k->root) : r;
}

static int root_take(struct keeper *k, struct span secret)
{
	return keeper_is_kernel(k) ? root_make_again(k, secret)
				   : soft_root_new(secret, &k->soft_root);
}

static void roots_drop(struct keeper *k)
{
	acks_close(k);
	keyset_free(move_ptr(k->keys));
	root_key_free(move_ptr(k->root));
	soft_root_free(move_ptr(k->soft_root));
}

/*
 * A mistyped key must not be taken: it opens nothing, and the right one could not be given any more. The right
 * one is out of this process's reach from now on, as at a start (lockdown.c); not before it is known to be that,
 * since the kernel has room for a thousand such filters and never takes one away.
 */
static int root_prove(struct keeper *k)
{
	int r = custody_keys_open(k);

	if (r == 0)
		r = keyset_why(k->keys) == -EKEYREJECTED ? -EKEYREJECTED : 0;
	if (r == 0) {
		r = lockdown_root(k);
		if (r < 0)
			log_error(
				"unseal: the root key cannot be put out of reach: %s; still sealed",
				errno_text(r));
	}
	if (r < 0)
		roots_drop(k);
	return r;
}

/* A keeper that can be left with no set of keys at all must not go on. */
static int unseal(struct keeper *k, struct span secret)
{
	int r;

	roots_drop(k);
	r = root_take(k, secret);
	if (r < 0)
		log_error("unseal: %s. %s", errno_text(r), afalg_cure(r));
	if (r == 0)
		r = root_prove(k);
	k->sealed = r < 0 ? -EKEYEXPIRED : 0;
	if (!k->keys && custody_keys_open(k) < 0) {
		log_error("unseal: the key store cannot be read; ending");
		k->ended = true;
		k->status = EXIT_FAILURE;
		return r < 0 ? r : -EIO;
	}
	server_send_sealed(k);
	if (r == 0) {
		tell_server(k);
		custody_names_check(k, k->conf);
	}
	server_sync(k);
	return r;
}

int custody_unseal(struct keeper *k, struct span secret)
{
	if (k->conf->config->root_source == CONFIG_ROOT_EPHEMERAL)
		return -EOPNOTSUPP;
	if (has_root(k) && k->sealed == 0)
		return -EALREADY;
	if (secret.len < SECRET_MIN || secret.len > SECRET_MAX)
		return -EINVAL;
	return unseal(k, secret);
}
