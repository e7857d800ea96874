/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See words.h. etcd's refusals are known by their texts (api/v3rpc/rpctypes/error.go), as several share a
 * status; TLS' by the words of OpenSSL's X.509 errors and alerts. What is in no table is said as it came, without
 * control characters.
 */
#include "daemon/cluster/words.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/base/cleanup.h"

struct known {
	const char *text; /* a part of it */
	int r;
	const char *words;
};

static const struct known refusals[] = {
	{ "database space exceeded", -ENOSPC,
	  "etcd is full (database space exceeded): compact it, defragment it and disarm the alarm "
	  "(etcdctl compact, defrag, alarm disarm), or raise --quota-backend-bytes" },
	{ "permission denied", -EPERM,
	  "etcd refuses this client (permission denied): give the user of the certificate's common "
	  "name a role with readwrite on the prefix (etcdctl role grant-permission), or to read all "
	  "of etcd one with read on every key (etcdctl role grant-permission ROLE read --from-key '')" },
	{ "user name is empty", -EPERM,
	  "etcd asks for a user and the connection has none: name a client certificate (cert:, key:) "
	  "whose common name is a user of etcd, and start etcd with --client-cert-auth" },
	{ "user name not found", -EPERM,
	  "etcd does not know a user of the certificate's common name: etcdctl user add NAME --no-password, "
	  "and grant it the role" },
	{ "authentication failed", -EPERM,
	  "etcd refuses this client's authentication: look at its users (etcdctl user get)" },
	{ "invalid auth token", -EPERM,
	  "etcd refuses this client's token: its users were changed just now; it is tried again" },
	{ "has been compacted", -ESTALE,
	  "etcd has compacted the revision that was to be read: kube-apiserver has it do so every five "
	  "minutes (--etcd-compaction-interval). A new read is of a newer one" },
	{ "is a future revision", -EIO,
	  "this etcd has not reached the revision that was to be read: it is another one, or was restored" },
	{ "request is too large", -EMSGSIZE,
	  "the text is larger than etcd takes: raise --max-request-bytes, or destroy keys that are retired" },
	{ "no leader", -EIO, "etcd has no leader: a majority of its members has to be there" },
	{ "request timed out", -EIO,
	  "etcd's members do not agree in time: look at its disks, network and leader" },
	{ "too many requests", -EIO, "etcd has too much to do: it is tried again" },
	{ "corrupt", -EIO,
	  "etcd says that one of its members is corrupt: see `etcdctl alarm list`, and etcd's manual" },
	{ "cluster ID mismatch", -EIO,
	  "the endpoints are of different etcd clusters: mend `endpoints:`" },
};

static const struct known tls[] = {
	{ "certificate has expired", -EKEYREJECTED,
	  "etcd's certificate has expired, by this machine's clock: renew it, or set the clock" },
	{ "certificate is not yet valid", -EKEYREJECTED,
	  "etcd's certificate is not valid yet by this machine's clock: set the clock (timedatectl)" },
	{ "alert certificate expired", -EKEYREJECTED,
	  "etcd says that this node's client certificate has expired: renew the files of cert: and key:, "
	  "which are read again by themselves, or set the clock of etcd's machine" },
	{ "alert bad certificate", -EKEYREJECTED,
	  "etcd refuses this node's client certificate: it has to be signed by the CA of etcd's "
	  "--trusted-ca-file, be for client authentication, and be valid by etcd's clock" },
	{ "alert unknown ca", -EKEYREJECTED,
	  "etcd does not know the CA of this node's client certificate: see its --trusted-ca-file" },
	{ "certificate required", -EKEYREJECTED,
	  "etcd wants a client certificate: name cert: and key: under `cluster:`" },
	{ "getpeername() failed", -EIO,
	  "etcd has closed the connection at once: if it wants a client certificate (--client-cert-auth), "
	  "name cert: and key: under `cluster:`" },
	{ "unable to get local issuer", -EKEYREJECTED,
	  "etcd's certificate is not signed by the CA of ca: name the CA that etcd's --cert-file is of" },
	{ "self-signed certificate", -EKEYREJECTED,
	  "etcd's certificate is not signed by the CA of ca: name the CA that etcd's --cert-file is of" },
	{ "self signed certificate", -EKEYREJECTED,
	  "etcd's certificate is not signed by the CA of ca: name the CA that etcd's --cert-file is of" },
	{ "no alternative certificate subject name", -EKEYREJECTED,
	  "etcd's certificate is not for the address of the endpoint: it needs it as a subject alternative "
	  "name" },
	{ "subject name", -EKEYREJECTED,
	  "etcd's certificate is not for the address of the endpoint: it needs it as a subject alternative "
	  "name" },
	{ "wrong version number", -EKEYREJECTED,
	  "what listens there speaks no TLS: is the endpoint etcd's client URL, with https?" },
	{ "unable to set private key file", -EKEYREJECTED,
	  "the file of key: cannot be used: it has to be the PEM key of cert:, without a password, and "
	  "readable for the server's user, for kekctl to who runs it" },
	{ "could not load PEM client certificate", -EKEYREJECTED,
	  "the file of cert: cannot be used: it has to be PEM, and readable for the server's user, for kekctl to who runs it" },
	{ "error setting certificate file", -EKEYREJECTED,
	  "the file of ca: cannot be used: it has to be PEM, and readable for the server's user, for kekctl to who runs it" },
	{ "error setting certificate verify locations", -EKEYREJECTED,
	  "the file of ca: cannot be used: it has to be PEM, and readable for the server's user, for kekctl to who runs it" },
};

/* Texts from outside end up in a log and on a terminal. */
static void words_plain(char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < 0x20 || (unsigned char)*s > 0x7e)
			*s = '?';
}

static const struct known *words_find(const struct known *table, size_t n, const char *text)
{
	for (size_t i = 0; i < n; i++)
		if (strcasestr(text, table[i].text))
			return &table[i];
	return NULL;
}

static int words_hex_digit(char c)
{
	static const char digits[] = "0123456789abcdef0123456789ABCDEF";
	const char *at = c ? strchr(digits, c) : NULL;

	return at ? (int)(at - digits) % 16 : -1;
}

/* %20 and the like (gRPC over HTTP/2, "Percent-Encoded"). */
static void unquote(const char *from, char *to, size_t size)
{
	size_t n = 0;

	while (*from && n + 1 < size) {
		int high = *from == '%' ? words_hex_digit(from[1]) : -1;
		int low = high >= 0 ? words_hex_digit(from[2]) : -1;

		if (low >= 0) {
			to[n++] = (char)(high << 4 | low);
			from += 3;
		} else {
			to[n++] = *from++;
		}
	}
	to[n] = '\0';
}

int words_for_status(int status, const char *message, char *ret, size_t size)
{
	const struct known *k;
	char text[256];

	if (status == 0)
		return 0;
	unquote(message, text, sizeof(text));
	words_plain(text);
	k = words_find(refusals, ARRAY_SIZE(refusals), text);
	if (k) {
		snprintf(ret, size, "%s", k->words);
		return k->r;
	}
	snprintf(ret, size, "etcd refuses, gRPC status %d: %s", status, text);
	return -EIO;
}

int words_for_tls(const char *text, char *ret, size_t size)
{
	const struct known *k = words_find(tls, ARRAY_SIZE(tls), text);

	if (k) {
		snprintf(ret, size, "%s", k->words);
		return k->r;
	}
	snprintf(ret, size, "%s", text);
	words_plain(ret);
	return -EIO;
}
