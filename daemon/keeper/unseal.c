/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A root key that comes to a running keeper: from the configured command (rootcmd.c), or from an operator's hand,
 * since `kekctl unseal` sends it into locked memory (admin_client.h). Until then the keeper is sealed: it knows
 * nothing of its keys, and whoever asks is told why.
 *
 * The keyset proves a root key: its MAC is made with one, and names it. Another one is refused, and nothing
 * is made or written under it. A machine without a keyset has no such proof, and a typing error would become its
 * root for ever: so from a hand it is taken there only by its fingerprint, or if it is said to be new. What a
 * command prints no one types: the configuration names the command, and is the proof.
 *
 * A root that was taken away in the kernel comes back by hand only. The keys are then made anew from the store,
 * so that what an administrator has killed is alive again only by this.
 */
#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "daemon/base/log.h"
#include "daemon/keeper/keeper_private.h"
#include "daemon/keys/secret.h"
#include "daemon/sys/afalg.h"

static void roots_drop(struct keeper *k)
{
	acks_close(k);
	keyset_free(move_ptr(k->keys));
	root_key_free(move_ptr(k->second));
	root_key_free(move_ptr(k->root));
}

void custody_root_id(const struct keeper *k, char ret[static 2 * KEY_ROOT_ID + 1])
{
	*ret = '\0';
	if (k->root)
		key_hex(root_key_id(k->root), KEY_ROOT_ID, ret);
}

/* Does the keyset, or where there is none @proof, show that this is the root key? NULL: no proof is asked for. */
static int root_judge(const struct keeper *k, const struct unseal_proof *proof,
		      struct keydoc_refusal *why)
{
	char here[2 * KEY_ROOT_ID + 1], other[2 * KEY_ROOT_ID + 1];

	custody_root_id(k, here);
	if (keyset_why(k->keys) == -EKEYREJECTED) {
		key_hex(keyset_other_root(k->keys), KEY_ROOT_ID, other);
		return keydoc_refuse(
			why, -EKEYREJECTED,
			"the root key that was given is %s, and the keyset of this machine is sealed "
			"under the root key %s: that one is needed. Nothing was changed",
			here, other);
	}
	if (keyset_why(k->keys) == 0 || !proof || proof->id || proof->is_new)
		return 0;
	return keydoc_refuse(
		why, -ENODATA,
		"still sealed: this machine has no keyset that shows whether %s is the right root key. "
		"If other nodes say that it is theirs (`kekctl status` there), or you know it: `kekctl "
		"unseal --fingerprint %s`. If it is to be the first: `kekctl unseal --new`",
		here, here);
}

static int root_prove(struct keeper *k, const struct unseal_proof *proof,
		      struct keydoc_refusal *why)
{
	char here[2 * KEY_ROOT_ID + 1], asked[2 * KEY_ROOT_ID + 1];
	int r;

	if (proof && proof->id) {
		custody_root_id(k, here);
		key_hex(proof->id, KEY_ROOT_ID, asked);
		if (strcmp(here, asked) != 0)
			return keydoc_refuse(
				why, -EKEYREJECTED,
				"still sealed: the root key that was given is %s, and not %s", here,
				asked);
	}
	r = custody_keys_open(k);
	if (r < 0)
		return keydoc_refuse(why, r, "the key store cannot be read: %s", errno_text(r));
	return root_judge(k, proof, why);
}

static void unsealed(struct keeper *k)
{
	const struct list *head = keyset_list(k->keys);
	char id[2 * KEY_ROOT_ID + 1];

	custody_root_id(k, id);
	k->sealed = 0;
	*k->sealed_text = '\0';
	log_notice("root key %s%s", id,
		   keyset_why(k->keys) == -ENODATA
			   ? ", the first on this machine: every node of a cluster has the same"
			   : "");
	rootcmd_end(k);
	server_send_sealed(k);
	for (const struct list *n = head->next; n != head; n = n->next)
		server_send_key(k, list_entry(n, struct keyset_key, link));
	custody_names_check(k, k->conf);
}

/* A keeper that can be left with no set of keys at all must not go on. */
static int unseal(struct keeper *k, struct span secret, const struct unseal_proof *proof,
		  struct keydoc_refusal *why)
{
	const bool by_tpm = k->conf->config->root_source == CONFIG_ROOT_TRUSTED;
	int r;

	roots_drop(k);
	r = custody_root_new(k, secret);
	/*
	 * The ring may have died with the root that was in it. This process can put keys into no other than that one
	 * (sys/sandbox_keeper.c) and the session itself, which then takes its place.
	 */
	if (k->ring && k->ring != KEYRING_SESSION &&
	    (r == -EKEYREVOKED || r == -EKEYEXPIRED || r == -ENOKEY)) {
		keyring_unlink(KEYRING_SESSION, k->ring);
		k->ring = KEYRING_SESSION;
		r = custody_root_new(k, secret);
	}
	if (r < 0)
		keydoc_refuse(why, r, "the root key cannot be loaded: %s. %s", errno_text(r),
			      custody_root_cure(k, by_tpm, r));
	else
		r = root_prove(k, proof, why);
	if (r < 0) {
		roots_drop(k);
		k->sealed = -EKEYEXPIRED;
	}
	if (!k->keys && custody_keys_open(k) < 0) {
		log_error("unseal: the key store cannot be read; ending");
		k->ended = true;
		k->status = EXIT_FAILURE;
		return r < 0 ? r : -EIO;
	}
	if (r == 0)
		unsealed(k);
	else
		server_send_sealed(k);
	server_sync(k);
	keeper_say_ready(k);
	return r;
}

int custody_unseal(struct keeper *k, struct span secret, const struct unseal_proof *proof,
		   struct keydoc_refusal *why)
{
	if (k->conf->config->root_source == CONFIG_ROOT_EPHEMERAL)
		return keydoc_refuse(why, -EOPNOTSUPP,
				     "an ephemeral root key ends with its daemon: restart kekd");
	if (k->conf->config->root_source == CONFIG_ROOT_TRUSTED)
		return keydoc_refuse(
			why, -EOPNOTSUPP,
			"this root key comes from the TPM alone: `kekctl root restore --tpm %s` seals it "
			"anew from its shares, then `kekctl unseal --retry`",
			k->conf->config->root_blob);
	if (k->root && k->sealed == 0)
		return keydoc_refuse(why, -EALREADY, "not sealed: the root key is loaded");
	if (secret.len < SECRET_MIN || secret.len > SECRET_MAX)
		return keydoc_refuse(why, -EINVAL, "a root key has %d to %d bytes", SECRET_MIN,
				     SECRET_MAX);
	return unseal(k, secret, proof, why);
}

int custody_from_command(struct keeper *k, struct span secret)
{
	struct keydoc_refusal why;
	int r = unseal(k, secret, NULL, &why);

	if (r < 0)
		custody_sealed(k, "%s: %s", config_root_from(k->conf->config), why.text);
	return r;
}

void custody_sealed(struct keeper *k, const char *fmt, ...)
{
	char text[1024], cut[SEALED_TEXT] = "";
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	snprintf(cut, sizeof(cut), "%.*s", SEALED_TEXT - 1, text);
	if (strcmp(cut, k->sealed_text) == 0)
		return;
	memcpy(k->sealed_text, cut, sizeof(cut));
	log_error("sealed: %s%s", text,
		  k->rootcmd_fd >= 0 ? "; it is tried again, with pauses of up to a minute" : "");
	server_send_sealed(k);
}
