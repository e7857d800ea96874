/* SPDX-License-Identifier: Apache-2.0 */
/* See rewrap.h. */
#include "daemon/keys/rewrap.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/secmem.h"
#include "daemon/keys/imported.h"
#include "daemon/keys/retype.h"
#include "daemon/keys/root.h"
#include "daemon/sys/keyring.h"

#define REWRAP_NAME "kekd-rewrap"

struct rewrap {
	struct root_key *old, *next;
	bool is_serial; /* both are in the session keyring */
	struct span old_bytes, next_bytes;
	const char *next_type;
};

int rewrap_new(struct span old, struct span next, bool next_trusted, const struct keydoc *doc,
	       struct rewrap **ret)
{
	_cleanup_(rewrap_freep) struct rewrap *w = calloc(1, sizeof(*w));
	int r;

	if (!w)
		return -ENOMEM;
	w->old_bytes = old;
	w->next_bytes = next;
	w->next_type = next_trusted ? ROOT_TRUSTED : ROOT_USER;
	for (size_t i = 0; i < doc->n_keys; i++)
		w->is_serial |= doc->keys[i].info.kind == KEY_KIND_ENCRYPTED;
	if (w->is_serial) {
		r = keyring_new_session();
		if (r == 0)
			r = root_key_new(KEYRING_SESSION, NULL, old, &w->old);
		if (r == 0)
			r = root_key_new_next(KEYRING_SESSION, NULL, next, &w->next);
	} else {
		r = root_key_new_in_memory(old, &w->old);
		if (r == 0)
			r = root_key_new_in_memory(next, &w->next);
	}
	if (r < 0)
		return r;
	*ret = move_ptr(w);
	return 0;
}

void rewrap_free(struct rewrap *w)
{
	if (!w)
		return;
	root_key_free(w->old);
	root_key_free(w->next);
	free(w);
}

static int rewrap_imported(const struct rewrap *w, struct key_record *rec)
{
	uint8_t *bytes = secmem_alloc(KEKD_AES_KEY_MAX);
	int r;

	if (!bytes)
		return -ENOMEM;
	r = imported_open(w->old, rec, bytes);
	if (r == 0)
		r = imported_seal(w->next, rec, span_of(bytes, rec->info.key_bytes));
	secmem_free(bytes, KEKD_AES_KEY_MAX);
	return r;
}

/* The kernel's, which goes on having it. */
static int rewrap_in_kernel(const struct rewrap *w, char blob[static KEY_BLOB_MAX])
{
	char desc[ROOT_DESC_SIZE];
	key_serial key;
	int r;

	r = root_key_check(w->old);
	if (r == 0)
		r = root_key_check(w->next);
	if (r == 0)
		r = keyring_load(KEYRING_SESSION, REWRAP_NAME, blob, &key);
	if (r < 0)
		return r;
	root_key_desc(root_key_id(w->next), desc);
	r = keyring_rewrap(key, desc);
	if (r == 0)
		r = keyring_blob(key, blob, KEY_BLOB_MAX);
	keyring_unlink(KEYRING_SESSION, key);
	return r;
}

int rewrap_key(const struct rewrap *w, const struct key_record *rec, char ret[static KEY_BLOB_MAX])
{
	struct key_record made = *rec;
	char blob[KEY_BLOB_MAX];
	int r = -EOPNOTSUPP;

	if (imported_kind(rec->info.kind)) {
		r = rewrap_imported(w, &made);
	} else if (rec->info.kind == KEY_KIND_ENCRYPTED && w->is_serial) {
		/* That the blob opens and is that key the keeper proves. */
		r = blob_retype(rec->blob, ROOT_USER, w->old_bytes, blob);
		if (r == 0)
			r = rewrap_in_kernel(w, blob);
		if (r == 0)
			r = blob_retype(blob, w->next_type, w->next_bytes, made.blob);
	}
	if (r == 0)
		memcpy(ret, made.blob, sizeof(made.blob));
	return r;
}
