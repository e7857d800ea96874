/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kekd-observer: the process that speaks HTTP with Prometheus and with probes. It has no key, no
 * client's byte, no capability, no file and no socket but its listener; it reads one page of numbers
 * that the keeper writes (daemon/obs/board.h) and can send nothing to anybody else.
 *
 *	GET /metrics   Prometheus' text format
 *	GET /livez     200 while the keeper turns its loop
 *	GET /readyz    200 while encryption and decryption with the active keys work
 *
 * The keeper starts it (daemon/keeper/observer.c) with the page as descriptor 3, the listener
 * as 4, and as 5 a pipe that is at its end when the keeper is gone.
 * It is a program of its own because libmicrohttpd brings a TLS library along, which has no
 * business in a process that holds keys. The sandbox is closed before the first byte of HTTP.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "daemon/base/log.h"
#include "daemon/obs/board.h"
#include "daemon/observer/http.h"
#include "daemon/sys/sandbox.h"

#define PAGE_FD   3
#define LISTEN_FD 4
#define ALIVE_FD  5

#define OK          200
#define UNAVAILABLE 503

struct observer {
	struct board_page *page;
	struct board *copy; /* 300 kB, so not on the stack */
};

static uint64_t clock_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static unsigned int print_verdict(struct observer *o, FILE *to,
				  const char *(*verdict)(const struct board *s, uint64_t now_ns))
{
	const char *why = "the keeper has written nothing";

	if (board_read(o->page, o->copy) == 0)
		why = verdict(o->copy, clock_ns());
	fprintf(to, "%s\n", why ?: "ok");
	return why ? UNAVAILABLE : OK;
}

static unsigned int print_live(void *ctx, FILE *to)
{
	return print_verdict(ctx, to, board_not_live);
}

static unsigned int print_ready(void *ctx, FILE *to)
{
	return print_verdict(ctx, to, board_not_ready);
}

/* A keeper that stands still is kekd_up 0, with numbers that are not its last. */
static unsigned int print_metrics(void *ctx, FILE *to)
{
	struct observer *o = ctx;

	if (board_read(o->page, o->copy) < 0 || board_not_live(o->copy, clock_ns()))
		fputs("# HELP kekd_up 1 if the daemon answers.\n# TYPE kekd_up gauge\nkekd_up 0\n",
		      to);
	else
		board_print(o->copy, to);
	return OK;
}

static const struct http_page pages[] = {
	{ "/metrics", "text/plain; version=0.0.4; charset=utf-8", print_metrics },
	{ "/livez", "text/plain; charset=utf-8", print_live },
	{ "/readyz", "text/plain; charset=utf-8", print_ready },
	{ 0 },
};

static int lock_down(void)
{
	int r;

	r = sandbox_init();
	if (r == 0)
		r = sandbox_files_server();
	if (r == 0 || r == -EOPNOTSUPP) /* no Landlock: the keeper has said so */
		r = sandbox_seccomp_observer();
	return r;
}

static void observer_release(struct observer *o)
{
	board_page_free(o->page);
	free(o->copy);
}

int main(int argc, char **argv)
{
	bool debug = argc == 2 && strcmp(argv[1], "--debug") == 0;
	_cleanup_(observer_release) struct observer o = { .copy = calloc(1, sizeof(struct board)) };
	_cleanup_(http_freep) struct http *http = NULL;
	int r = o.copy ? 0 : -ENOMEM;

	if (argc != 1 && !debug) {
		fputs("kekd starts this program; see metrics: in kekd.yaml(5)\n", stderr);
		return 2;
	}
	log_init("kekd-observer", debug ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO);
	log_never_wait(false);
	if (r == 0)
		r = board_page_map(PAGE_FD, &o.page);
	if (r == 0)
		r = http_new(LISTEN_FD, pages, &o, &http);
	if (r == 0)
		r = lock_down();
	if (r == 0)
		log_debug("serving its pages");
	while (r == 0)
		r = http_turn(http, ALIVE_FD);
	if (r == -ENODATA)
		return EXIT_SUCCESS; /* the keeper is gone */
	log_error("%s", errno_text(r));
	return EXIT_FAILURE;
}
