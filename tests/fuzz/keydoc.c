/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What stands behind the MAC of a keyset and of an acknowledgement, as somebody who has the root key may have
 * written it: the harness appends a MAC that holds. Whatever is accepted has this very text form, and is a
 * document that may follow itself, be merged and be restored.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/keys/keydoc_next.h"

#define MAC_LINE                \
	"mac 0123456789abcdef " \
	"0000000000000000000000000000000000000000000000000000000000000000\n"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t root_id[KEY_ROOT_ID] = { 0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef };

static void require(bool holds)
{
	if (!holds)
		abort();
}

static int mac_holds(const void *ctx, struct span in, uint8_t ret[static KEYDOC_MAC])
{
	(void)ctx;
	require(in.len > 0);
	memset(ret, 0, KEYDOC_MAC);
	return 0;
}

static const struct keydoc_root root = { mac_holds, NULL, root_id, NULL };

static void require_text(struct span text, const char *back, size_t len)
{
	require(len == text.len && memcmp(back, text.data, len) == 0);
}

static void require_sound(struct keydoc *doc)
{
	char *text = NULL;
	size_t len;
	int r = keydoc_format(doc, &root, &text, &len);

	require(r == 0 || r == -ENOBUFS);
	free(text);
}

/* A generation behind the last one is no document; nobody writes so many. */
static void try_ways_back(struct keydoc *doc)
{
	struct keydoc_member me = { .id = { 0x5a, 0xa5 }, .name = "me" };
	struct keydoc_change by = { .time = 1 };
	struct keydoc_refusal why;
	struct keydoc *next;

	if (doc->generation == UINT64_MAX)
		return;
	memcpy(by.node, doc->n_members > 0 ? doc->members[0].id : me.id, sizeof(by.node));
	if (keydoc_merge(doc, doc, &by, &next, &why) == 0) {
		require(keydoc_covers(next, doc, NULL));
		require_sound(next);
		keydoc_free(next);
	}
	if (keydoc_is_removed(doc, me.id))
		return;
	require(keydoc_restore(doc, &me, by.nonce, 1, &next) == 0);
	require_sound(next);
	keydoc_free(next);
}

static void try_keydoc(struct span text)
{
	uint8_t other[KEY_ROOT_ID];
	struct keydoc *doc;
	char *back;
	size_t len;

	if (keydoc_parse(text, &root, &doc, other) < 0)
		return;
	require(keydoc_covers(doc, doc, NULL));
	require(keydoc_compare(doc, doc) == KEYDOC_SAME);
	require(keydoc_format(doc, &root, &back, &len) == 0);
	require_text(text, back, len);
	free(back);
	try_ways_back(doc);
	keydoc_free(doc);
}

static void try_keyack(struct span text)
{
	uint8_t other[KEY_ROOT_ID];
	struct span cut, rest = text;
	struct keyack *ack;
	char *back;
	size_t len;

	if (keyack_parse(text, &root, &ack, other) == 0) {
		require(keyack_format(ack, &root, &back, &len) == 0);
		require_text(text, back, len);
		free(back);
		keyack_free(ack);
	}
	while (keyack_cut(&rest, &cut)) {
		require(cut.len > 0 && cut.data == rest.data + rest.len);
		require(rest.len + cut.len <= text.len);
	}
	require(keyack_head(text).len == rest.len);
}

static void try_key_id(const uint8_t *data, size_t size)
{
	char id[KEKD_KEY_ID_HEX + 12];
	struct key_record rec = { 0 };

	if (key_id_parse((const char *)data, size, rec.info.id, &rec.info.activation) < 0)
		return;
	key_id_format(&rec.info, id);
	require(strlen(id) == size && memcmp(id, data, size) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t mac = strlen(MAC_LINE);
	uint8_t *text = malloc(size + mac);

	require(text != NULL);
	if (size > 0)
		memcpy(text, data, size);
	memcpy(text + size, MAC_LINE, mac);
	try_keydoc(span_of(text, size + mac));
	try_keyack(span_of(text, size + mac));
	free(text);
	/* And without a MAC: most of it ends at the last line. */
	try_keydoc(span_of(data, size));
	try_keyack(span_of(data, size));
	try_key_id(data, size);
	return 0;
}
