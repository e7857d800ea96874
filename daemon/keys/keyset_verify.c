/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A second look at keys, beside those in use and without touching them: each blob is opened once
 * more, under a description of its own, and let go.
 */
#include <stdio.h>
#include <string.h>

#include "daemon/base/log.h"
#include "daemon/base/secmem.h"
#include "daemon/keys/imported.h"
#include "daemon/keys/keyset_private.h"

static int prove_under(const struct keyset *set, const struct root_key *root,
		       const struct key_record *rec)
{
	uint8_t *bytes;
	int r;

	if (imported_kind(rec->info.kind)) {
		bytes = secmem_alloc(KEKD_AES_KEY_MAX);
		if (!bytes)
			return -ENOMEM;
		r = imported_open(root, rec, bytes);
		secmem_free(bytes, KEKD_AES_KEY_MAX);
		return r;
	}
	if (rec->info.kind != set->kind)
		return -EOPNOTSUPP;
	return kek_prove(root, rec);
}

/* What this backend cannot open it does not miss. */
static bool opens_every(const struct keyset *set, const struct root_key *root)
{
	struct key_record under;
	char hex[2 * KEY_ROOT_ID + 1];

	if (!keydoc_has_root(set->doc, root_key_id(root)))
		return !set->doc->rotating;
	key_hex(root_key_id(root), KEY_ROOT_ID, hex);
	for (size_t i = 0; i < set->doc->n_keys; i++) {
		int r;

		keydoc_record_under(set->doc, &set->doc->keys[i], root_key_id(root), &under);
		r = prove_under(set, root, &under);
		if (r == 0 || r == -EOPNOTSUPP)
			continue;
		log_warning("key %s does not open under the root key %s: %s", under.info.label, hex,
			    errno_text(r));
		return false;
	}
	return true;
}

void keyset_prove_roots(struct keyset *set)
{
	bool two = keyset_second_id(set) || (set->doc && set->doc->rotating);

	set->proved[0] = two && set->doc && !keyset_is_sealed(set) && opens_every(set, set->root);
	set->proved[1] = set->doc && keyset_second_id(set) && opens_every(set, set->second);
}

size_t keyset_proved_roots(const struct keyset *set, uint8_t ret[static KEYDOC_ROOTS][KEY_ROOT_ID])
{
	size_t n = 0;

	if (set->proved[0])
		memcpy(ret[n++], root_key_id(set->root), KEY_ROOT_ID);
	if (set->proved[1] && root_key_check(set->second) == 0)
		memcpy(ret[n++], keyset_second_id(set), KEY_ROOT_ID);
	return n;
}

int keyset_prove_second(const struct keyset *set, const struct key_record *rec, const char *blob)
{
	struct key_record under = *rec;

	if (!keyset_second_id(set))
		return -ENOKEY;
	memcpy(under.root, keyset_second_id(set), sizeof(under.root));
	snprintf(under.blob, sizeof(under.blob), "%s", blob);
	under.reblob[0] = '\0';
	return prove_under(set, set->second, &under);
}

int keyset_verify_doc(const struct keyset *set, const struct keydoc *doc, keyset_verify_fn *each,
		      void *ctx)
{
	struct key_record under;

	if (keyset_is_sealed(set))
		return -EKEYEXPIRED;
	/* By the first root that the set has, which may be the one that is to come. */
	for (size_t i = 0; i < doc->n_keys; i++) {
		keydoc_record_under(doc, &doc->keys[i], root_key_id(set->root), &under);
		each(ctx, &doc->keys[i], prove_under(set, set->root, &under));
	}
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
