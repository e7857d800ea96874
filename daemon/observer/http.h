/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP for a few pages of text; http.c is the one file that knows libmicrohttpd. */
#ifndef KEKD_OBSERVER_HTTP_H
#define KEKD_OBSERVER_HTTP_H

#include "daemon/base/cleanup.h"

struct http;

/* One page. */
struct http_page {
	const char *path; /* "/metrics" */
	const char *type; /* Content-Type */
	/* Write the body to @to; the status code. */
	unsigned int (*print)(void *ctx, FILE *to);
};

/*
 * Serve @pages, which end with a path of NULL, on the listening socket @fd; all borrowed. GET and HEAD;
 * anything else is 405, another path 404. At most 16 connections, each closed after 10 s of silence.
 */
int http_new(int fd, const struct http_page *pages, void *ctx, struct http **ret);
void http_free(struct http *http);
DEFINE_CLEANUP(struct http *, http_free);

/* Wait for something to do and do it; 0 or -errno. -ENODATA: the pipe @alive_fd (borrowed) is at its end. */
int http_turn(struct http *http, int alive_fd);

#endif
