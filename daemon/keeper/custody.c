/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keeper's keys. Order at start: the command for the root key runs beside the rest; a session keyring of our
 * own, the maker, which must have no secret in its memory, the self-test's key, the store. The root key comes
 * later (unseal.c), and with it the keys of the store; only an ephemeral root is made here. For `custody: holder`
 * there is no keyring: the root is in locked memory, and each server has a holder (holders.c). Nor is there one for
 * `custody: value`: transforms of the kernel have the root and the keys, and there is no maker, as the kernel
 * makes no keys.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "daemon/base/log.h"
#include "daemon/crypto/holder.h"
#include "daemon/crypto/selftest.h"
#include "daemon/keeper/keeper_private.h"
#include "daemon/keys/secret.h"
#include "daemon/sys/afalg.h"

#define RING_NAME "kekd"

static int kernel_fail(const char *what, int r)
{
	log_error("%s: %s. %s", what, errno_text(r), afalg_cure(r));
	return r;
}

static bool is_by_value(const struct keeper *k)
{
	return k->conf->config->custody == CONFIG_CUSTODY_VALUE;
}

const char *keeper_backend(const struct keeper *k)
{
	return keeper_is_holder(k) ? "holder" : "kernel";
}

const char *keeper_custody(const struct keeper *k)
{
	if (keeper_is_holder(k))
		return "holder";
	return is_by_value(k) ? "value" : "serial";
}

int custody_root_new(struct keeper *k, struct span secret)
{
	if (k->conf->config->root_source == CONFIG_ROOT_TRUSTED)
		return root_key_new_trusted(k->ring, k->maker, secret, &k->root);
	if (keeper_is_holder(k))
		return root_key_new_in_memory(secret, &k->root);
	if (is_by_value(k))
		return root_key_new_by_value(secret, &k->root);
	return root_key_new(k->ring, k->maker, secret, &k->root);
}

int custody_second_trusted(struct keeper *k, struct span sealed, struct root_key **ret)
{
	if (keeper_is_holder(k) || is_by_value(k))
		return -EOPNOTSUPP;
	return root_key_new_next_trusted(k->ring, k->maker, sealed, ret);
}

const char *custody_root_cure(const struct keeper *k, bool is_trusted, int r)
{
	if (!is_trusted)
		return keeper_is_holder(k) ? "" : afalg_cure(r);
	switch (r) {
	case -EPERM:
		return "The TPM does not open it: another TPM has sealed it, or this one was cleared. "
		       "`kekctl root restore --tpm FILE` makes another from the shares";
	case -ENODEV:
		return "This kernel has no keys of type trusted: it needs CONFIG_TRUSTED_KEYS, and a TPM "
		       "that is there when it starts";
	case -EINVAL:
	case -EBADMSG:
		return "It is not what `kekctl root create --tpm` makes";
	case -EOPNOTSUPP:
		return "A root key of the TPM's needs `custody: serial`";
	default:
		return afalg_cure(r);
	}
}

int custody_second_new(struct keeper *k, struct span secret, struct root_key **ret)
{
	if (keeper_is_holder(k))
		return root_key_new_in_memory(secret, ret);
	if (is_by_value(k))
		return root_key_new_by_value(secret, ret);
	return root_key_new_next(k->ring, k->maker, secret, ret);
}

/* Without a root key the start goes on all the same: who asks for a key is told what it waits for. */
static int root_make(struct keeper *k)
{
	_cleanup_secret_ struct secret secret = { 0 };
	int r;

	if (k->conf->config->root_source != CONFIG_ROOT_EPHEMERAL) {
		k->sealed = -EKEYEXPIRED;
		return 0;
	}
	r = secret_random(SECRET_MIN, &secret);
	if (r == 0)
		r = custody_root_new(k, secret_span(&secret));
	return r < 0 ? kernel_fail("root key", r) : 0;
}

/* Before anything is acquired, so that the runner has none of it. */
static int source_open(struct keeper *k)
{
	const struct config *c = k->conf->config;
	int r = 0;

	snprintf(k->sealed_text, sizeof(k->sealed_text), "%s",
		 "the root key is not loaded; give it with `kekctl unseal`");
	if (c->root_source == CONFIG_ROOT_UNSEAL)
		log_notice("sealed: waiting for the root key; give it with `kekctl unseal`");
	if (!config_root_is_fetched(c))
		return 0;
	snprintf(k->sealed_text, sizeof(k->sealed_text), "%s: has not answered yet",
		 config_root_from(c));
	r = rootcmd_start(k);
	if (r < 0)
		log_error("cannot start a process for the root key command: %s", errno_text(r));
	return r;
}

/* A public key in the kernel, for the server's known answers: proves bind, keying and cipher. */
static int test_key_make(struct keeper *k)
{
	const struct span key = span_of(selftest_key, KEKD_AES_KEY_MAX);
	_cleanup_close_ int tfm = -1;
	key_serial serial;
	int r;

	r = afalg_bind("skcipher", "ecb(aes)", &tfm);
	if (r < 0)
		return kernel_fail("AF_ALG ecb(aes)", r);
	if (is_by_value(k)) {
		r = afalg_set_key_value(tfm, key);
		if (r < 0)
			return kernel_fail("AF_ALG key by value", r);
	} else {
		r = keyring_add_user(k->ring, "kekd-selftest", key, &serial);
		if (r < 0)
			return kernel_fail("self-test key", r);
		r = afalg_set_key(tfm, serial);
		keyring_unlink(k->ring, serial);
		if (r < 0)
			return kernel_fail("AF_ALG key by keyring serial", r);
	}
	k->test_tfm = move_fd(tfm);
	return 0;
}

static int keyring_open(struct keeper *k)
{
	int r;

	r = keyring_new_session();
	if (r == 0)
		r = keyring_new(RING_NAME, &k->ring);
	if (r < 0) {
		log_error("kernel keyring: %s; keyctl(2) and add_key(2) must be allowed "
			  "(seccomp of a container denies them)",
			  errno_text(r));
		return r;
	}
	if (keyring_notes_open(&k->notes_fd, &k->notes_end) < 0)
		log_debug(
			"this kernel does not tell what is done to keys: they are looked at only");
	r = maker_start(&k->maker);
	if (r < 0)
		log_error("the process that makes keys (" MAKER_NAME ") cannot be started: %s",
			  errno_text(r));
	return r;
}

/* What an ephemeral root has sealed is lost with it: nothing of it is kept on disk. */
static int store_open(struct keeper *k)
{
	const char *path = k->conf->config->key_store;
	int r;

	if (k->conf->config->root_source == CONFIG_ROOT_EPHEMERAL)
		return 0;

	r = key_store_open(path, &k->store);
	if (r < 0 && r != -EBUSY && r != -EUCLEAN) /* those were said */
		log_error("%s: cannot open the key store: %s", path, errno_text(r));
	return r;
}

int custody_open(struct keeper *k)
{
	int r = source_open(k);

	if (r < 0)
		return r;
	if (keeper_is_holder(k))
		log_warning("custody holder: each key is in the memory of " HOLDER_NAME
			    " (locked, wiped), a process that does nothing else, because the "
			    "configuration says so");
	else if (is_by_value(k))
		log_warning("custody value: each key passes through this daemon's memory (locked, "
			    "wiped) when it is made and at each start, because the configuration "
			    "says so");
	else
		r = keyring_open(k);
	if (r == 0 && !keeper_is_holder(k))
		r = test_key_make(k);
	if (r == 0)
		r = root_make(k);
	if (r == 0)
		r = store_open(k);
	return r == 0 ? custody_keys_open(k) : r;
}

/* What has come since the last look is to be told of. */
static void notes_ask(struct keeper *k)
{
	if (k->notes_fd < 0 || !k->root)
		return;
	keyring_notes_watch(k->notes_fd, root_key_serial(k->root), &k->root_watched);
	keyset_notes(k->keys, k->notes_fd);
}

int custody_keys_open(struct keeper *k)
{
	char host[64] = "";
	const char *name = k->conf->config->node;
	int r;

	if (!name && gethostname(host, sizeof(host) - 1) == 0)
		name = host;
	r = keyset_new(k->store, k->root, name ? name : "", &k->keys);
	if (r == 0)
		r = keyset_load(k->keys);
	if (r == 0)
		r = acks_open(k);
	if (r < 0) {
		keyset_free(move_ptr(k->keys));
		log_error("the keyset cannot be loaded: %s", errno_text(r));
		return r;
	}
	if (k->conf->config->cluster.endpoints.count > 0)
		keyset_carry(k->keys, cluster_offer, k);
	k->sealed_why = worker_sealed_why(k);
	counts_load(k);
	counts_reserve(k);
	escrow_load(k);
	notes_ask(k);
	return 0;
}

bool custody_is_confirmed(const struct keeper *k)
{
	const struct keydoc *doc = keyset_doc(k->keys);

	return k->confirmed || !doc || doc->carrier != KEYDOC_ETCD;
}

void custody_close(struct keeper *k)
{
	if (k->stopping && k->status == EXIT_SUCCESS && k->keys)
		counts_end(k);
	acks_close(k);
	keyset_free(move_ptr(k->keys));
	key_store_close(move_ptr(k->store));
	root_key_free(move_ptr(k->second));
	root_key_free(move_ptr(k->root));
	maker_stop(move_ptr(k->maker));
	closep(&k->test_tfm);
	k->test_tfm = -1;
	closep(&k->notes_fd);
	closep(&k->notes_end);
	k->notes_fd = k->notes_end = -1;
}

/* With an ephemeral root there is nothing that a new key could take the place of. */
static bool made_ephemeral(struct keeper *k, const struct encconf_provider *p)
{
	const char *name = p->keys[0].name;
	const struct keyset_key *key;
	struct keydoc_refusal why;
	int r;

	if (k->conf->config->root_source != CONFIG_ROOT_EPHEMERAL || p->kind == ENCCONF_SECRETBOX)
		return false;
	r = keeper_make(k, name, &why, &key, NULL);
	if (r < 0) {
		log_warning("key \"%s\" cannot be made: %s", name, why.text);
		return false;
	}
	keeper_audit_key(k, NULL, key, "created for an ephemeral root");
	log_notice(
		"made key \"%s\" under an ephemeral root: what it encrypts cannot be read after a "
		"restart of kekd",
		name);
	return true;
}

static void name_check(struct keeper *k, const struct encconf_provider *p)
{
	const char *name = p->keys[0].name;
	const struct keyset_key *key;
	int r;

	r = keyset_active(k->keys, name, &key);
	if (r == 0 || k->sealed < 0)
		return;
	if (keyset_why(k->keys) < 0 && keyset_why(k->keys) != -ENODATA)
		return; /* that was said, and its cure is another */
	if (r == -EPERM)
		return;
	if (r == -ENOKEY && made_ephemeral(k, p))
		return;
	if (r == -ENOKEY)
		log_warning("no active key \"%s\": make one with `kekctl key create %s`", name,
			    name);
	else
		log_warning("the active key \"%s\" cannot be used: %s; see `kekctl key list`", name,
			    errno_text(r));
}

void custody_names_check(struct keeper *k, const struct conf *c)
{
	const struct encconf *e = c->enc;

	for (size_t i = 0; i < e->items_count; i++)
		for (size_t j = 0; j < e->items[i].providers_count; j++)
			if (e->items[i].providers[j].keys_count > 0)
				name_check(k, &e->items[i].providers[j]);
}

static void key_gone(void *ctx, const struct keyset_key *key)
{
	struct keeper *k = ctx;

	log_error("key %s was taken away in the kernel: %s; all use of it stops",
		  key->rec.info.label, errno_text(key->why));
	keeper_audit_key(k, NULL, key, "taken away in the kernel");
	server_send_withdraw(k, key, k->sealed < 0 ? -EKEYEXPIRED : key->why);
}

/* The kernel goes on using KEKs whose root was revoked; an administrator who revokes it means all. */
static void root_watch(struct keeper *k)
{
	int r;

	if (!k->root)
		return; /* sealed since the start */
	r = root_key_check(k->root);
	if ((r < 0) == (k->sealed < 0))
		return;
	k->sealed = r;
	if (r < 0 && r != -ESTALE && k->maker)
		maker_drop(k->maker,
			   root_key_serial(k->root)); /* the last link to a root that is dead */
	snprintf(k->sealed_text, sizeof(k->sealed_text), "%s",
		 r < 0 ? "the root key was taken away in the kernel; give it with `kekctl unseal`"
		       : "");
	keeper_audit_key(k, NULL, NULL, r < 0 ? "root key taken away" : "root key back");
	if (r < 0)
		log_error("the root key was taken away in the kernel: %s; all use of keys stops",
			  errno_text(r));
	else
		log_notice("the root key is back");
	server_send_sealed(k);
	for (struct list *n = keyset_list(k->keys)->next; n != keyset_list(k->keys); n = n->next) {
		const struct keyset_key *key = list_entry(n, struct keyset_key, link);

		if (r < 0 && key_state_opens(key->rec.info.state))
			server_send_withdraw(k, key, -EKEYEXPIRED);
		else if (r == 0 && key->why == 0)
			server_send_key(k, key);
	}
}

void custody_watch(struct keeper *k)
{
	root_watch(k);
	keyset_poll(k->keys, key_gone, k);
	notes_ask(k);
}

void custody_told(struct keeper *k)
{
	if (keyring_notes_read(k->notes_fd))
		custody_watch(k);
}
