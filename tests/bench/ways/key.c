/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/ways/way.h"

const uint8_t bench_key_bytes[KEKD_AES_KEY_MAX] = "a public key, for the benchmark";
key_serial bench_key;

int bench_key_new(void)
{
	key_serial ring;
	int r = keyring_new_session();

	if (r == 0)
		r = keyring_new("kekd-bench", &ring);
	if (r == 0)
		r = keyring_add_logon(ring, "kekd:bench",
				      span_of(bench_key_bytes, sizeof(bench_key_bytes)),
				      &bench_key);
	return r;
}
