/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keeper's keys. Order at start: a session keyring of our own, the root key, the store, the
 * keys of the store, the self-test's key. For backend openssl there is no keyring: the root and
 * the keys are in locked memory (keys/softkey.h).
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "daemon/base/log.h"
#include "daemon/crypto/selftest.h"
#include "daemon/keeper/keeper_private.h"
#include "daemon/keys/secret.h"
#include "daemon/sys/afalg.h"

#define RING_NAME "kekd"

static int secret_get(struct keeper *k, struct secret *ret)
{
	const struct config *c = k->conf->config;

	if (c->root_source == CONFIG_ROOT_COMMAND)
		return root_command_run(c->root_command.v, c->root_timeout, ret);
	return secret_random(SECRET_MIN, ret);
}

static int kernel_fail(const char *what, int r)
{
	log_error("%s: %s. %s", what, errno_text(r), afalg_cure(r));
	return r;
}

static int root_make(struct keeper *k, key_serial ring)
{
	_cleanup_secret_ struct secret secret = { 0 };
	int r;

	if (k->conf->config->root_source == CONFIG_ROOT_UNSEAL) {
		k->sealed = -EKEYEXPIRED;
		log_notice("sealed: waiting for the root key; give it with `kekctl unseal`");
		return 0;
	}
	r = secret_get(k, &secret);
	if (r < 0)
		return r;
	if (!keeper_is_kernel(k)) {
		r = soft_root_new(secret_span(&secret), &k->soft_root);
		if (r < 0)
			log_error("root key: %s", errno_text(r));
		return r;
	}
	r = root_key_new(ring, secret_span(&secret), &k->root);
	return r < 0 ? kernel_fail("root key", r) : 0;
}

/* A public key in the kernel, for the server's known answers: proves bind, key by serial and cipher. */
static int test_key_make(struct keeper *k, key_serial ring)
{
	_cleanup_close_ int tfm = -1;
	key_serial serial;
	int r;

	r = afalg_bind("skcipher", "ecb(aes)", &tfm);
	if (r < 0)
		return kernel_fail("AF_ALG ecb(aes)", r);
	r = keyring_add_user(ring, "kekd-selftest", span_of(selftest_key, KEKD_AES_KEY_MAX),
			     &serial);
	if (r < 0)
		return kernel_fail("self-test key", r);
	r = afalg_set_key(tfm, serial);
	keyring_unlink(ring, serial);
	if (r < 0)
		return kernel_fail("AF_ALG key by keyring serial", r);
	k->test_tfm = move_fd(tfm);
	return 0;
}

int custody_ring_new(struct keeper *k)
{
	return keyring_new(RING_NAME, &k->ring);
}

static int kernel_open(struct keeper *k)
{
	int r;

	r = keyring_new_session();
	if (r == 0)
		r = custody_ring_new(k);
	if (r < 0) {
		log_error("kernel keyring: %s; keyctl(2) and add_key(2) must be allowed "
			  "(seccomp of a container denies them)",
			  errno_text(r));
		return r;
	}
	return test_key_make(k, k->ring);
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
	int r = 0;

	if (keeper_is_kernel(k))
		r = kernel_open(k);
	else
		log_warning("backend openssl: keys are in this daemon's memory (locked, wiped), "
			    "because the configuration says so");
	if (r == 0)
		r = root_make(k, k->ring);
	if (r == 0)
		r = store_open(k);
	return r == 0 ? custody_keys_open(k) : r;
}

int custody_keys_open(struct keeper *k)
{
	char host[64] = "";
	const char *name = k->conf->config->node;
	int r;

	if (!name && gethostname(host, sizeof(host) - 1) == 0)
		name = host;
	r = keyset_new(k->store, k->root, k->soft_root, name ? name : "", &k->keys);
	if (r == 0)
		r = keyset_load(k->keys);
	if (r == 0)
		r = acks_open(k);
	if (r < 0) {
		keyset_free(move_ptr(k->keys));
		log_error("the keyset cannot be loaded: %s", errno_text(r));
		return r;
	}
	k->sealed_why = worker_sealed_why(k);
	counts_load(k);
	counts_reserve(k);
	return 0;
}

void custody_close(struct keeper *k)
{
	if (k->stopping && k->status == EXIT_SUCCESS && k->keys)
		counts_end(k);
	acks_close(k);
	keyset_free(move_ptr(k->keys));
	key_store_close(move_ptr(k->store));
	root_key_free(move_ptr(k->root));
	soft_root_free(move_ptr(k->soft_root));
	closep(&k->test_tfm);
	k->test_tfm = -1;
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
	r = keeper_make(k, name, &why, &key);
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

	log_error("key %s was taken away in the kernel: %s; all use of it stops", key->rec.label,
		  errno_text(key->why));
	keeper_audit_key(k, NULL, key, "taken away in the kernel");
	server_send_withdraw(k, key, k->sealed < 0 ? -EKEYEXPIRED : key->why);
}

/* The kernel goes on using KEKs whose root was revoked; an administrator who revokes it means all. */
static void root_watch(struct keeper *k)
{
	int r = k->root ? root_key_check(k->root) : 0;

	if (!k->root && !k->soft_root)
		return; /* sealed since the start */
	if ((r < 0) == (k->sealed < 0))
		return;
	k->sealed = r;
	keeper_audit_key(k, NULL, NULL, r < 0 ? "root key taken away" : "root key back");
	if (r < 0)
		log_error("the root key was taken away in the kernel: %s; all use of keys stops",
			  errno_text(r));
	else
		log_notice("the root key is back");
	server_send_sealed(k);
	for (struct list *n = keyset_list(k->keys)->next; n != keyset_list(k->keys); n = n->next) {
		const struct keyset_key *key = list_entry(n, struct keyset_key, link);

		if (r < 0 && key_state_opens(key->rec.state))
			server_send_withdraw(k, key, -EKEYEXPIRED);
		else if (r == 0 && key->why == 0)
			server_send_key(k, key);
	}
}

void custody_watch(struct keeper *k)
{
	root_watch(k);
	keyset_poll(k->keys, key_gone, k);
}
