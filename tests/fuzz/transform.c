/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The messages of kekd.v1.Transform. What is read can be written, and reading that gives the same.
 * The first byte chooses request or answer.
 */
#include <errno.h>
#include <stdlib.h>

#include "daemon/kms/pb_transform.h"

#define MANY 32

static void require(bool holds)
{
	if (!holds)
		abort();
}

static struct secpool *pool(void)
{
	static struct secpool *p;

	if (!p)
		require(secpool_new(4 << 20, &p) == 0);
	return p;
}

static void try_request(struct span msg)
{
	_cleanup_secbuf_ struct secbuf out = { 0 };
	struct transform_value v[MANY], again[MANY];
	struct span resource, resource_again;
	size_t n, n_again;
	int r;

	r = pb_transform_request_decode(msg, &resource, v, MANY, &n);
	require(r == 0 || r == -EINVAL || r == -E2BIG);
	if (r < 0)
		return;
	require(secpool_get(pool(), 64, &out) == 0);
	require(pb_transform_request_encode(resource, v, n, &out) == 0);
	require(pb_transform_request_decode(span_of(out.data, out.len), &resource_again, again,
					    MANY, &n_again) == 0);
	require(n == n_again && span_equal(resource, resource_again));
	for (size_t i = 0; i < n; i++)
		require(span_equal(v[i].path, again[i].path) &&
			span_equal(v[i].value, again[i].value));
}

static void try_response(struct span msg)
{
	_cleanup_secbuf_ struct secbuf out = { 0 };
	struct transform_result v[MANY], again[MANY];
	size_t n, n_again;
	int r;

	r = pb_transform_response_decode(msg, v, MANY, &n);
	require(r == 0 || r == -EINVAL || r == -E2BIG);
	if (r < 0)
		return;
	require(secpool_get(pool(), 64, &out) == 0);
	require(pb_transform_response_encode(v, n, &out) == 0);
	require(pb_transform_response_decode(span_of(out.data, out.len), again, MANY, &n_again) ==
		0);
	require(n == n_again);
	for (size_t i = 0; i < n; i++)
		require(v[i].code == again[i].code && v[i].stale == again[i].stale &&
			span_equal(v[i].value, again[i].value) &&
			span_equal(v[i].message, again[i].message));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1)
		return 0;
	if (data[0] & 1)
		try_request(span_of(data + 1, size - 1));
	else
		try_response(span_of(data + 1, size - 1));
	return 0;
}
