/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Key records from a store that anyone may have written: whatever is accepted has this very text
 * form, and whatever is refused is refused with a line that exists.
 */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/keys/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
	if (!holds)
		abort();
}

static size_t lines(const uint8_t *data, size_t size)
{
	size_t n = 1;

	for (size_t i = 0; i < size; i++)
		n += data[i] == '\n';
	return n;
}

static void try_record(const uint8_t *data, size_t size)
{
	char text[KEY_RECORD_TEXT_MAX];
	struct key_record rec;
	unsigned int line = 0;
	size_t len;

	if (key_record_parse((const char *)data, size, &rec, &line) < 0) {
		require(line >= 1 && line <= lines(data, size));
		return;
	}
	require(key_record_format(&rec, text, sizeof(text), &len) == 0);
	require(len == size && memcmp(text, data, size) == 0);
}

static void try_key_id(const uint8_t *data, size_t size)
{
	char id[KEKD_KEY_ID_HEX + 12];
	struct key_record rec = { 0 };

	if (key_id_parse((const char *)data, size, rec.id, &rec.activation) < 0)
		return;
	key_id_format(&rec, id);
	require(strlen(id) == size && memcmp(id, data, size) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	try_record(data, size);
	try_key_id(data, size);
	return 0;
}
