/* SPDX-License-Identifier: Apache-2.0 */
/*
 * At its first use libcrypto fills tables of its error texts, and of the names of all ciphers and digests that it
 * has had since SSLeay, and takes all that down again at exit(3). kekd prints no error text of libcrypto and asks
 * for algorithms by the names that the providers have themselves. Without these tables it is 6 million instructions
 * and 600 KiB less in each process (3.0; OPENSSL_init_crypto(3)).
 *
 * Its configuration (config(5ssl)) is read now: a machine's policy may name the provider there, as that for FIPS. At its
 * first use, which is libcrypto's own time, a process that has given up files reads nothing, is told nothing, and has
 * its algorithms from the default provider.
 */
#include "daemon/crypto/openssl_start.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <stdint.h>

#include "daemon/base/cleanup.h"
#include "daemon/base/log.h"

DEFINE_CLEANUP(EVP_MD *, EVP_MD_free);

int openssl_start(void)
{
	static const uint64_t options =
		OPENSSL_INIT_NO_LOAD_CRYPTO_STRINGS | OPENSSL_INIT_NO_ADD_ALL_CIPHERS |
		OPENSSL_INIT_NO_ADD_ALL_DIGESTS | OPENSSL_INIT_NO_ATEXIT | OPENSSL_INIT_LOAD_CONFIG;
	_cleanup_(EVP_MD_freep) EVP_MD *md = NULL;
	char why[160];

	if (OPENSSL_init_crypto(options, NULL) == 1)
		md = EVP_MD_fetch(NULL, "SHA2-256",
				  NULL); /* of a provider that is not there it is not told */
	if (md)
		return 0;
	ERR_error_string_n(ERR_peek_error(), why, sizeof(why));
	log_error("libcrypto has no SHA-256 as this machine's openssl.cnf has it set up: %s; "
		  "\"openssl list -providers\" shows what there is",
		  why);
	return -EIO;
}

bool openssl_asks_for_fips(void)
{
	return EVP_default_properties_is_fips_enabled(NULL) == 1;
}
