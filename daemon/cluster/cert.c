/* SPDX-License-Identifier: Apache-2.0 */
/* See cert.h. */
#include "daemon/cluster/cert.h"

#include <errno.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "daemon/base/cleanup.h"

int cert_expires(const char *path, time_t *ret)
{
	_cleanup_fclose_ FILE *file = fopen(path, "re");
	struct tm tm = { 0 };
	X509 *cert;
	int ok;

	if (!file)
		return -errno;
	cert = PEM_read_X509(file, NULL, NULL, NULL);
	if (!cert)
		return -EINVAL;
	ok = ASN1_TIME_to_tm(X509_get0_notAfter(cert), &tm);
	X509_free(cert);
	if (!ok)
		return -EINVAL;
	*ret = timegm(&tm);
	return 0;
}
