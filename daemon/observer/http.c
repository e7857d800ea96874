/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libmicrohttpd in one thread: its epoll descriptor is waited for here, so it makes neither thread nor
 * pipe, which the observer's system calls would not allow.
 */
#include "daemon/observer/http.h"

#include <errno.h>
#include <microhttpd.h>
#include <poll.h>
#include <string.h>

#include "daemon/base/log.h"

#define CONNECTIONS     16
#define SILENCE_S       10
#define CONNECTION_SIZE (16 * 1024) /* bytes of a request's line and headers, and of the answer's */

struct http {
	struct MHD_Daemon *daemon;
	const struct http_page *pages;
	void *ctx;
	int epoll_fd;
};

static enum MHD_Result http_answer(struct MHD_Connection *c, unsigned int status, const char *type,
				   char *body, size_t len)
{
	struct MHD_Response *r;
	enum MHD_Result queued;

	r = MHD_create_response_from_buffer(len, body, MHD_RESPMEM_MUST_FREE);
	if (!r) {
		free(body);
		return MHD_NO;
	}
	MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
		MHD_add_response_header(r, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
	queued = MHD_queue_response(c, status, r);
	MHD_destroy_response(r);
	return queued;
}

static enum MHD_Result answer_text(struct MHD_Connection *c, unsigned int status, const char *text)
{
	char *body = strdup(text);

	return body ? http_answer(c, status, "text/plain; charset=utf-8", body, strlen(body))
		    : MHD_NO;
}

static enum MHD_Result answer_page(struct http *http, struct MHD_Connection *c,
				   const struct http_page *page)
{
	char *body = NULL;
	size_t len = 0;
	unsigned int status;
	FILE *f = open_memstream(&body, &len);

	if (!f)
		return MHD_NO;
	status = page->print(http->ctx, f);
	log_debug("%s asked for, answered %u", page->path, status);
	if (fclose(f) != 0) {
		free(body);
		return MHD_NO;
	}
	return http_answer(c, status, page->type, body, len);
}

/*
 * Called once for the headers, which is when *@state is NULL and no answer may be queued yet, then
 * for each piece of a body, which is thrown away, and at the end with no size.
 */
static enum MHD_Result on_request(void *cls, struct MHD_Connection *c, const char *url,
				  const char *method, const char *version _unused_,
				  const char *data _unused_, size_t *size, void **state)
{
	static int seen;
	struct http *http = cls;
	const struct http_page *page = http->pages;

	if (!*state) {
		*state = &seen;
		return MHD_YES;
	}
	if (*size > 0) {
		*size = 0;
		return MHD_YES;
	}
	while (page->path && strcmp(page->path, url) != 0)
		page++;
	if (!page->path)
		return answer_text(c, MHD_HTTP_NOT_FOUND, "/metrics, /livez, /readyz\n");
	if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
		return answer_text(c, MHD_HTTP_METHOD_NOT_ALLOWED, "GET or HEAD\n");
	return answer_page(http, c, page);
}

int http_new(int fd, const struct http_page *pages, void *ctx, struct http **ret)
{
	_cleanup_(http_freep) struct http *http = calloc(1, sizeof(*http));
	const union MHD_DaemonInfo *info;

	if (!http)
		return -ENOMEM;
	http->pages = pages;
	http->ctx = ctx;
	http->daemon = MHD_start_daemon(MHD_USE_EPOLL, 0, NULL, NULL, on_request, http,
					MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT,
					(unsigned int)CONNECTIONS, MHD_OPTION_CONNECTION_TIMEOUT,
					(unsigned int)SILENCE_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
					(size_t)CONNECTION_SIZE, MHD_OPTION_END);
	if (!http->daemon)
		return -EIO;
	info = MHD_get_daemon_info(http->daemon, MHD_DAEMON_INFO_EPOLL_FD);
	if (!info || info->epoll_fd < 0)
		return -EIO;
	http->epoll_fd = info->epoll_fd;
	*ret = move_ptr(http);
	return 0;
}

void http_free(struct http *http)
{
	if (!http)
		return;
	if (http->daemon)
		MHD_stop_daemon(http->daemon);
	free(http);
}

int http_turn(struct http *http, int alive_fd)
{
	struct pollfd p[] = { { .fd = http->epoll_fd, .events = POLLIN }, { .fd = alive_fd } };
	MHD_UNSIGNED_LONG_LONG ms;
	int timeout = -1;

	if (MHD_get_timeout(http->daemon, &ms) == MHD_YES)
		timeout = ms < 60000 ? (int)ms : 60000;
	if (poll(p, ARRAY_SIZE(p), timeout) < 0 && errno != EINTR)
		return -errno;
	if (p[1].revents)
		return -ENODATA;
	return MHD_run(http->daemon) == MHD_YES ? 0 : -EIO;
}
