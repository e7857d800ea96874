/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A second look at keys, beside those in use and without touching them: each blob is opened once
 * more, under a description of its own, and let go.
 */
#include <string.h>

#include "daemon/base/secmem.h"
#include "daemon/keys/imported.h"
#include "daemon/keys/keyset_private.h"

static int prove_imported(const struct keyset *set, const struct key_record *rec)
{
	const struct imported_root root = { set->root, set->soft_root };
	uint8_t *bytes = secmem_alloc(KEKD_AES_KEY_MAX);
	int r;

	if (!bytes)
		return -ENOMEM;
	r = imported_open(&root, rec, bytes);
	secmem_free(bytes, KEKD_AES_KEY_MAX);
	return r;
}

static int prove(const struct keyset *set, const struct key_record *rec)
{
	struct softkey *soft;
	int r;

	if (rec->kind == KEY_KIND_IMPORTED)
		return prove_imported(set, rec);
	if (rec->kind != set->kind)
		return -EOPNOTSUPP;
	if (set->root)
		return kek_prove(set->root, rec);
	r = softkey_load(set->soft_root, rec, &soft);
	if (r == 0)
		softkey_free(soft);
	return r;
}

int keyset_verify_doc(const struct keyset *set, const struct keydoc *doc, keyset_verify_fn *each,
		      void *ctx)
{
	if (keyset_is_sealed(set))
		return -EKEYEXPIRED;
	for (size_t i = 0; i < doc->n_keys; i++)
		each(ctx, &doc->keys[i], prove(set, &doc->keys[i]));
	return 0;
}

int keyset_verify(const struct keyset *set, keyset_verify_fn *each, void *ctx)
{
	_cleanup_free_ char *text = NULL;
	size_t len;
	int r;

	if (!set->doc)
		return set->why == -ENODATA ? 0 : set->why;
	/* That the file is damaged is known where the one before it is in use. */
	r = set->store && !set->previous && !keyset_is_empty(set)
		    ? key_store_read(set->store, KEY_STORE_KEYSET, KEYDOC_TEXT_MAX, &text, &len)
		    : 0;
	if (r < 0)
		return r;
	if (text && !span_equal(span_of(text, len), span_of(set->text, set->text_len)))
		return -ESTALE;
	return keyset_verify_doc(set, set->doc, each, ctx);
}
