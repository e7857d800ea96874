/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A machine that asks for FIPS 140, in its kernel (fips=1) or in its openssl.cnf: which of both each custody has its
 * algorithms from. Here is what is switched on; whether a module is validated its vendor knows. kmod-notes/custody.md
 * has the whole table.
 */
#include <string.h>

#include "daemon/crypto/openssl_start.h"
#include "daemon/ctl/doctor.h"

void doctor_fips(struct doctor *d)
{
	char mode[16] = "";
	bool kernel, library;

	if (openssl_start() < 0) {
		doctor_report(d, DOCTOR_PROBLEM, "libcrypto",
			      "openssl list -providers; see config(5ssl)",
			      "has no SHA-256 as openssl.cnf has it set up: kekd does not start");
		return;
	}
	(void)doctor_line(d, "/proc/sys/crypto/fips_enabled", mode, sizeof(mode));
	kernel = strcmp(mode, "1") == 0;
	library = openssl_asks_for_fips();
	if (!kernel && !library)
		return;
	if (kernel)
		doctor_report(d, DOCTOR_OK, "FIPS kernel", "",
			      "in FIPS mode: it allows what custody serial and value take of it, "
			      "ecb(aes) and hmac(sha256)");
	else if (d->custody != CONFIG_CUSTODY_HOLDER)
		doctor_report(d, DOCTOR_WARNING, "FIPS kernel",
			      "boot with fips=1, or use custody: holder",
			      "not in FIPS mode: custody serial and value take AES and HMAC of it");
	if (library)
		doctor_report(d, DOCTOR_OK, "FIPS library", "",
			      "openssl.cnf asks for fips=yes: custody holder takes AES and HMAC of "
			      "such a provider, every custody SHA-256");
	else
		doctor_report(
			d, DOCTOR_WARNING, "FIPS library",
			"default_properties = fips=yes in openssl.cnf, and the provider; see fips_module(7ssl)",
			"openssl.cnf does not ask for fips=yes: custody holder takes AES and HMAC of "
			"any provider, every custody SHA-256");
	doctor_report(
		d, DOCTOR_WARNING, "FIPS",
		"ask who judges it; the whole table is in kmod-notes/custody.md",
		"in each custody GCM, CBC and GHASH are kekd's own code, as is the sealing of "
		"portable and imported keys");
}
