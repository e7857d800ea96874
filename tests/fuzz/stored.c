/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stored value from anyone who writes to etcd: what is told of it lies inside it, and kekctl and the
 * daemon agree on what an envelope of kekd's own is.
 */
#include <stdbool.h>
#include <stdlib.h>

#include "daemon/chain/own.h"
#include "daemon/dump/stored.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
	if (!holds)
		abort();
}

static bool inside(struct span s, struct span in)
{
	return s.len == 0 || (s.data >= in.data && s.data + s.len <= in.data + in.len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span value = span_of(data, size);
	const struct span known[] = { span_str("a:b"), span_str("a") };
	const struct stored_labels labels = { known, 2 };
	const struct stored_labels none = { NULL, 0 };
	struct stored s;

	require(stored_parse(value, &none, &s) == 0);
	require(inside(s.name, value) && inside(s.label, value) && inside(s.key_id, value));
	require(s.kind < STORED_KINDS && (s.kind != STORED_PLAIN || !s.fault));
	if (s.own && !s.fault)
		require(own_match(value));
	require(stored_parse(value, &labels, &s) == 0);
	return 0;
}
