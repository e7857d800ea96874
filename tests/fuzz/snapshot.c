/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A database of etcd, or of k3s, from anyone. The checksums of its meta pages are made right first, as they would keep
 * nearly every change from being looked at; whoever makes up a file makes them right too.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "daemon/dump/kine.h"
#include "daemon/dump/snapshot.h"

#define META     16
#define CHECKSUM (META + 56)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int each(void *ctx, const struct dump_value *v)
{
	size_t *bytes = ctx;

	if (v->key.len == 0 || v->key.len > DUMP_KEY_MAX)
		abort();
	for (size_t i = 0; i < v->value.len; i++)
		*bytes += v->value.data[i];
	return 0;
}

static void checksum_mend(uint8_t *page)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);

	for (size_t i = META; i < CHECKSUM; i++)
		h = (h ^ page[i]) * UINT64_C(0x100000001b3);
	memcpy(page + CHECKSUM, &h, sizeof(h));
}

static void checksums_mend(uint8_t *data, size_t size)
{
	uint32_t page_size;

	if (size < CHECKSUM + 8)
		return;
	checksum_mend(data);
	memcpy(&page_size, data + META + 8, sizeof(page_size));
	if (page_size <= size && size - page_size >= CHECKSUM + 8)
		checksum_mend(data + page_size);
}

static void lost(void *ctx, const char *what)
{
	if (!*what)
		abort();
	*(size_t *)ctx += 1;
}

/* The same file for who wants what is left of it; what is damaged is told. */
static void salvage(int fd)
{
	size_t n = 0, bytes = 0;
	const struct dump_salvage salvage = { lost, &n };
	struct dump_error err = { 0 };
	struct dump_info info = { 0 };

	if (snapshot_read(fd, 8, &salvage, each, &bytes, &info, &err) == -EBADMSG && !*err.text)
		abort();
}

/* Of SQLite's own parser there is its word; what it gives out is looked at. */
static void kine(int fd)
{
	struct dump_error err = { 0 };
	struct dump_info info = { 0 };
	size_t bytes = 0;
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	kine_read(path, each, &bytes, &info, &err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct dump_error err = { 0 };
	struct dump_info info = { 0 };
	size_t bytes = 0;
	uint8_t *copy = malloc(size + 1);
	int fd = memfd_create("snapshot", MFD_CLOEXEC), r;

	if (!copy || fd < 0)
		abort();
	memcpy(copy, data, size);
	checksums_mend(copy, size);
	if (write(fd, copy, size) != (ssize_t)size)
		abort();
	r = snapshot_read(fd, 8, NULL, each, &bytes, &info, &err);
	if (info.whole != (r == 0 && info.hashed))
		abort();
	salvage(fd);
	if (kine_is(span_of(copy, size)))
		kine(fd);
	close(fd);
	free(copy);
	return 0;
}
