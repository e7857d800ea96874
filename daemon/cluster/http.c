/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The only file that knows libcurl. A gRPC call without a stream is a POST (gRPC over HTTP/2): the headers
 * "content-type: application/grpc" and "te: trailers", a body of one framed message; the answer has its status in
 * the trailers, which libcurl gives to the callback of headers, or in the headers if there is no body.
 *
 * libcurl reads the TLS files when it makes a connection, and keeps connections. So that a certificate that was
 * replaced is used, all connections are closed when one of the files is another than before.
 *
 * Without TLS each call has a connection of its own: libcurl 7.88 cannot use one of those twice ("Error in the HTTP2
 * framing layer").
 *
 * Nothing is looked up: endpoints are addresses. No proxy, no redirect, no other protocol, whatever the environment
 * says.
 */
#include "daemon/cluster/http.h"

#include <curl/curl.h>
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <time.h>

#include "daemon/base/log.h"
#include "daemon/cluster/cert.h"
#include "daemon/cluster/words.h"

#define CONNECT_MS 1500
#define CALL_MS    3000
#define URL_MAX    256
#define DAY_S      (24 * 60 * 60)

#define FILES 3 /* ca, cert, key */

struct http {
	CURL *curl;
	struct curl_slist *headers;
	char *files[FILES]; /* NULL: no TLS, or no client certificate */
	struct timespec changed[FILES];
	char *endpoints[CARRIER_ENDPOINTS_MAX];
	size_t n_endpoints, first; /* to be asked first */
	uint8_t *body;
	size_t body_len;
	int status;    /* gRPC's; -1: none came */
	bool too_much; /* more than HTTP_BODY_MAX */
	char message[512];
};

void http_free(struct http *h)
{
	if (!h)
		return;
	if (h->curl)
		curl_easy_cleanup(h->curl);
	curl_slist_free_all(h->headers);
	for (size_t i = 0; i < FILES; i++)
		free(h->files[i]);
	for (size_t i = 0; i < h->n_endpoints; i++)
		free(h->endpoints[i]);
	free(h->body);
	free(h);
}

static int file_set(char **to, const char *path)
{
	if (!*path)
		return 0;
	*to = strdup(path);
	return *to ? 0 : -ENOMEM;
}

static int strings(struct http *h, const struct carrier_setup *s)
{
	int r = file_set(&h->files[0], s->ca);

	if (r == 0)
		r = file_set(&h->files[1], s->cert);
	if (r == 0)
		r = file_set(&h->files[2], s->key);
	for (size_t i = 0; r == 0 && i < s->n_endpoints; i++) {
		h->endpoints[i] = strdup(s->endpoints[i]);
		if (!h->endpoints[i])
			return -ENOMEM;
		h->n_endpoints++;
	}
	return r;
}

static size_t on_body(char *data, size_t size, size_t n, void *ctx)
{
	struct http *h = ctx;
	size_t len = size * n;
	uint8_t *p;

	h->too_much = len > HTTP_BODY_MAX - h->body_len;
	if (h->too_much)
		return 0;
	p = realloc(h->body, h->body_len + len + 1);
	if (!p)
		return 0;
	h->body = p;
	memcpy(p + h->body_len, data, len);
	h->body_len += len;
	return len;
}

/* The value of the header @name in @line; NULL: it is another. */
static const char *header_value(const char *line, const char *name)
{
	size_t n = strlen(name);

	if (strncasecmp(line, name, n) != 0 || line[n] != ':')
		return NULL;
	return line + n + 1 + strspn(line + n + 1, " ");
}

static size_t http_on_header(char *data, size_t size, size_t n, void *ctx)
{
	struct http *h = ctx;
	char line[sizeof(h->message)];
	const char *value;

	snprintf(line, sizeof(line), "%.*s", (int)(size * n < INT_MAX ? size * n : INT_MAX), data);
	line[strcspn(line, "\r\n")] = '\0';
	value = header_value(line, "grpc-status");
	if (value && strlen(value) <= 2 && strspn(value, "0123456789") == strlen(value) && *value)
		h->status = atoi(value);
	value = header_value(line, "grpc-message");
	if (value)
		snprintf(h->message, sizeof(h->message), "%s", value);
	return size * n;
}

/* What is the same for all calls. */
static int options(struct http *h)
{
	CURL *c = h->curl;
	CURLcode r = CURLE_OK;

	r |= curl_easy_setopt(c, CURLOPT_HTTPHEADER, h->headers);
	r |= curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
	r |= curl_easy_setopt(c, CURLOPT_PROXY, "");
	r |= curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L);
	r |= curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	r |= curl_easy_setopt(c, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
	r |= curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS);
	r |= curl_easy_setopt(c, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	r |= curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, 1L);
	r |= curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, 2L);
	r |= curl_easy_setopt(c, CURLOPT_CAPATH, NULL);
	r |= curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
	r |= curl_easy_setopt(c, CURLOPT_WRITEDATA, h);
	r |= curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, http_on_header);
	r |= curl_easy_setopt(c, CURLOPT_HEADERDATA, h);
	if (h->files[0])
		r |= curl_easy_setopt(c, CURLOPT_CAINFO, h->files[0]);
	if (h->files[1])
		r |= curl_easy_setopt(c, CURLOPT_SSLCERT, h->files[1]);
	if (h->files[2])
		r |= curl_easy_setopt(c, CURLOPT_SSLKEY, h->files[2]);
	return r == CURLE_OK ? 0 : -EIO;
}

static int headers(struct http *h)
{
	struct curl_slist *more;

	h->headers = curl_slist_append(NULL, "content-type: application/grpc");
	more = h->headers ? curl_slist_append(h->headers, "te: trailers") : NULL;
	return more ? 0 : -ENOMEM;
}

/* Without the connections that there were. */
static int http_renew(struct http *h)
{
	if (h->curl)
		curl_easy_cleanup(h->curl);
	h->curl = curl_easy_init();
	return h->curl ? options(h) : -ENOMEM;
}

int http_new(const struct carrier_setup *setup, struct http **ret)
{
	_cleanup_(http_freep) struct http *h = calloc(1, sizeof(*h));
	int r;

	if (!h)
		return -ENOMEM;
	r = strings(h, setup);
	if (r == 0)
		r = headers(h);
	if (r == 0)
		r = http_renew(h);
	if (r < 0)
		return r;
	*ret = move_ptr(h);
	return 0;
}

/* Is one of the TLS files another than at the last call? */
static bool files_changed(struct http *h)
{
	bool changed = false;

	for (size_t i = 0; i < FILES; i++) {
		struct stat st;

		if (!h->files[i] || stat(h->files[i], &st) < 0)
			continue;
		if (st.st_mtim.tv_sec != h->changed[i].tv_sec ||
		    st.st_mtim.tv_nsec != h->changed[i].tv_nsec)
			changed = true;
		h->changed[i] = st.st_mtim;
	}
	return changed;
}

/* One endpoint. */
static int http_ask(struct http *h, struct http_call *call, size_t endpoint)
{
	const char *at = h->endpoints[endpoint];
	bool tls = strncmp(at, "https", 5) == 0;
	char url[URL_MAX], error[CURL_ERROR_SIZE] = "", words[512];
	CURLcode code;
	long http = 0;
	int r;

	snprintf(url, sizeof(url), "%s%s", at, call->path);
	h->body_len = 0;
	h->too_much = false;
	h->status = -1;
	h->message[0] = '\0';
	curl_easy_setopt(h->curl, CURLOPT_URL, url);
	curl_easy_setopt(h->curl, CURLOPT_TIMEOUT_MS, call->timeout_ms ?: (long)CALL_MS);
	curl_easy_setopt(
		h->curl, CURLOPT_HTTP_VERSION,
		(long)(tls ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE));
	curl_easy_setopt(h->curl, CURLOPT_FRESH_CONNECT, tls ? 0L : 1L);
	curl_easy_setopt(h->curl, CURLOPT_POSTFIELDS, (const char *)call->message.data);
	curl_easy_setopt(h->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)call->message.len);
	curl_easy_setopt(h->curl, CURLOPT_ERRORBUFFER, error);
	code = curl_easy_perform(h->curl);
	curl_easy_setopt(h->curl, CURLOPT_ERRORBUFFER, NULL);
	call->endpoint = endpoint;
	call->body = span_of(h->body, h->body_len);
	if (h->too_much) {
		snprintf(call->words, sizeof(call->words),
			 "etcd at %.128s: an answer of more than %d MiB", at, HTTP_BODY_MAX >> 20);
		return -EMSGSIZE;
	}
	if (code != CURLE_OK) {
		r = words_for_tls(*error ? error : curl_easy_strerror(code), words, sizeof(words));
		snprintf(call->words, sizeof(call->words), "etcd at %.128s: %s", at, words);
		if (code == CURLE_COULDNT_CONNECT || code == CURLE_OPERATION_TIMEDOUT || r == -EIO)
			return -ETIMEDOUT;
		return r;
	}
	curl_easy_getinfo(h->curl, CURLINFO_RESPONSE_CODE, &http);
	if (http != 200 || h->status < 0) {
		snprintf(
			call->words, sizeof(call->words),
			"etcd at %.128s: what answers there speaks no gRPC, HTTP status %ld: is it etcd's "
			"client URL?",
			at, http);
		return -ETIMEDOUT;
	}
	r = words_for_status(h->status, h->message, words, sizeof(words));
	if (r < 0)
		snprintf(call->words, sizeof(call->words), "etcd at %.128s: %s", at, words);
	return r;
}

int http_do(struct http *h, struct http_call *call)
{
	char words[sizeof(call->words)] = "";
	int r = files_changed(h) ? http_renew(h) : 0;

	if (r < 0)
		return r;
	r = -ETIMEDOUT;
	for (size_t i = 0; i < h->n_endpoints; i++) {
		size_t at = (h->first + i) % h->n_endpoints;
		int one = http_ask(h, call, at);

		if (one == 0) {
			h->first = at;
			call->words[0] = '\0';
			return 0;
		}
		log_debug("%s", call->words);
		/* One that has no leader, or another certificate than the others, is as good as away. What it said counts more. */
		if (one != -ETIMEDOUT && one != -EIO && one != -EKEYREJECTED)
			return one;
		if (!*words || (r == -ETIMEDOUT && one != -ETIMEDOUT)) {
			r = one;
			memcpy(words, call->words, sizeof(words));
		}
	}
	memcpy(call->words, words, sizeof(words));
	return r;
}

int http_days(const struct http *h)
{
	time_t end, now = time(NULL);

	if (!h->files[1] || cert_expires(h->files[1], &end) < 0)
		return CARRIER_NO_DAYS;
	if (end < now)
		return -1;
	return (int)((end - now) / DAY_S);
}
