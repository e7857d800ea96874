/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two roots at once, while the root is rotated: what is sealed under either opens, and the document says which of
 * them stays. No key is loaded anew for that: it is the same key, whatever root its blob is under.
 */
#include <string.h>

#include "daemon/keys/keyset_private.h"

const uint8_t *keyset_second_id(const struct keyset *set)
{
	return set->second ? root_key_id(set->second) : NULL;
}

int keyset_second(struct keyset *set, const struct root_key *root)
{
	if (root && set->doc && set->doc->rotating && !keydoc_has_root(set->doc, root_key_id(root)))
		return -EKEYREJECTED;
	set->second = root;
	if (root)
		set->second_mac = keyset_root_of(root);
	keyset_prove_roots(set);
	return 0;
}

/* Also of an empty set, which takes a document that has come to be under the second root without it. */
void keyset_follow_roots(struct keyset *set, bool was_rotating)
{
	const uint8_t *second = keyset_second_id(set);
	bool ended = second && !set->doc->rotating;

	if (ended && memcmp(second, set->doc->root, KEY_ROOT_ID) == 0) {
		set->second_end = KEYSET_SECOND_FIRST;
		set->root = set->second;
		set->second = NULL;
	} else if (ended && was_rotating) {
		set->second_end = KEYSET_SECOND_OVER;
		set->second = NULL;
	}
	keyset_prove_roots(set);
}

enum keyset_second_end keyset_second_end(struct keyset *set)
{
	enum keyset_second_end end = set->second_end;

	set->second_end = KEYSET_SECOND_NONE;
	return end;
}
