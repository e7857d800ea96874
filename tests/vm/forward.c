/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Carries connections of Unix stream sockets from the host into the test guest, over one
 * virtio-serial port.  The same program runs at both ends:
 *
 *   forward host PORT HOSTSOCK...       QEMU connects to PORT, once; clients to each HOSTSOCK
 *   forward guest [-w] GUESTSOCK...     the port is standard input; -w: say that it is ready only
 *                                       when every GUESTSOCK has taken a connection
 *
 * The n-th HOSTSOCK leads to the n-th GUESTSOCK.  HOSTSOCK appears, with mode 0600, once the guest
 * is ready, and goes when the guest ends or SIGTERM comes.  The guest's end connects when a client
 * of the host does; if nobody listens there, the client sees its connection closed.
 *
 * A frame is a struct frame, then its bytes if it is DATA.  Per stream the frames are OPEN, DATA
 * and CREDIT, one FIN from each end, and CLOSED from the guest, after which the number may be used
 * again.  STOP asks the other end for its FIN: its data can no longer be delivered.
 *
 * Invariants.  An end sends no more DATA than the other has granted with CREDIT, and grants no more
 * than its buffer takes.  So the port is always read, whatever a stream's peer does: one stalled
 * stream stops neither the others nor the other direction.  All memory is bounded: what is to be
 * told is kept as flags of the stream, not as a queue of frames.
 *
 * Kernel caveats.  A full backlog makes a non-blocking connect() fail with EAGAIN and nothing tells
 * when to try again.  poll() shows a peer that closed (POLLHUP) only when both directions are shut,
 * so a half-closed connection stays quiet.  A virtio port's first write waits until the host has it
 * open.
 *
 * forward_stream.c has the streams and frames, forward_rule.c the sockets on the host; here are the
 * loop and the two ends.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "forward.h"

/* Where each file descriptor is in the array for poll(). */
enum { POLL_PORT, POLL_SIGNALS, POLL_RULES, POLL_STREAMS = POLL_RULES + MAX_RULES };
enum { POLL_COUNT = POLL_STREAMS + MAX_STREAMS };

static int complain(const char *what, int error)
{
	fprintf(stderr, "forward: %s: %s\n", what, strerror(-error));
	return error;
}

/* --- new connections on the host -------------------------------------------------------------- */

static int publish_rules(struct mux *mux)
{
	int r;

	for (uint32_t i = 0; i < mux->n_rules; i++) {
		if (mux->rules[i].published)
			continue;
		r = rule_publish(&mux->rules[i]);
		if (r < 0)
			return complain(mux->rules[i].path, r);
	}
	return 0;
}

static struct stream *unused_stream(struct mux *mux)
{
	for (uint32_t i = 0; i < MAX_STREAMS; i++)
		if (!mux->streams[i].used)
			return &mux->streams[i];
	return NULL;
}

static void rule_accept(struct mux *mux, uint32_t rule)
{
	struct stream *s = unused_stream(mux);
	int fd;

	if (!s)
		return;
	fd = accept4(mux->rules[rule].listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0)
		return;
	if (stream_init(s, fd, rule) < 0) {
		close(fd);
		return;
	}
	s->open_owed = true;
}

/* --- the loop -------------------------------------------------------------------------------- */

/* Fills the array; returns poll()'s time-out in ms. */
static int prepare_poll(struct mux *mux, struct pollfd p[static POLL_COUNT])
{
	bool free_stream = unused_stream(mux) != NULL;
	int timeout = -1;

	for (uint32_t i = 0; i < POLL_COUNT; i++)
		p[i] = (struct pollfd){ .fd = -1 };
	p[POLL_PORT] = (struct pollfd){ mux->port, POLLIN, 0 };
	if (mux->out_start != mux->out_end)
		p[POLL_PORT].events |= POLLOUT;
	p[POLL_SIGNALS] = (struct pollfd){ mux->signals, POLLIN, 0 };
	for (uint32_t i = 0; i < mux->n_rules; i++)
		if (mux->rules[i].published && free_stream)
			p[POLL_RULES + i] = (struct pollfd){ mux->rules[i].listener, POLLIN, 0 };
	for (uint32_t i = 0; i < MAX_STREAMS; i++) {
		p[POLL_STREAMS + i] = stream_events(mux, &mux->streams[i]);
		if (mux->streams[i].connecting)
			timeout = RETRY_MS;
	}
	return timeout;
}

/* One round over all streams, each time beginning with the next one, so that a full buffer does
 * not always find the same one at its front. */
static void all_streams_turn(struct mux *mux, const struct pollfd p[static POLL_COUNT])
{
	for (uint32_t i = 0; i < MAX_STREAMS; i++) {
		uint32_t number = (mux->turn + i) % MAX_STREAMS;

		stream_turn(mux, number, p[POLL_STREAMS + number].revents);
	}
	mux->turn = (mux->turn + 1) % MAX_STREAMS;
}

/* 0 when SIGTERM or its like came, -EPIPE when the other end is gone, or another -errno. */
static int mux_loop(struct mux *mux)
{
	struct pollfd p[POLL_COUNT];
	int r;

	for (;;) {
		int timeout = prepare_poll(mux, p);

		if (poll(p, POLL_COUNT, timeout) < 0 && errno != EINTR)
			return -errno;
		if (p[POLL_SIGNALS].revents)
			return 0;
		if (p[POLL_PORT].revents & (POLLIN | POLLHUP | POLLERR)) {
			r = in_read(mux);
			if (r < 0)
				return r;
		}
		for (uint32_t i = 0; i < mux->n_rules; i++)
			if (p[POLL_RULES + i].revents)
				rule_accept(mux, i);
		all_streams_turn(mux, p);
		r = out_flush(mux);
		if (r < 0)
			return r;
		if (mux->host && mux->ready) {
			r = publish_rules(mux);
			if (r < 0)
				return r;
		}
	}
}

/* --- both ends ------------------------------------------------------------------------------- */

static int set_nonblocking(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return -errno;
	return 0;
}

static int listen_at(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
	if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 || listen(fd, 1) < 0)
		return -errno;
	return fd;
}

/* Waits for QEMU and takes its connection.  0 with mux->port -1 when a signal came first. */
static int await_port(struct mux *mux, const char *path)
{
	struct pollfd p[2];
	int listener = listen_at(path);

	if (listener < 0)
		return complain(path, listener);
	p[0] = (struct pollfd){ listener, POLLIN, 0 };
	p[1] = (struct pollfd){ mux->signals, POLLIN, 0 };
	while (!p[0].revents && !p[1].revents)
		if (poll(p, 2, -1) < 0 && errno != EINTR)
			break;
	if (p[0].revents)
		mux->port = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	close(listener);
	return 0;
}

static int catch_signals(void)
{
	sigset_t set;
	int fd;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	fd = signalfd(-1, &set, SFD_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int run_host(struct mux *mux, const char *port_path)
{
	int r = 0;

	mux->host = true;
	mux->signals = catch_signals();
	if (mux->signals < 0)
		return complain("signalfd", mux->signals);
	for (uint32_t i = 0; i < mux->n_rules && r == 0; i++) {
		r = rule_listen(&mux->rules[i], i);
		if (r < 0)
			complain(mux->rules[i].path, r);
	}
	if (r == 0)
		r = await_port(mux, port_path);
	if (r == 0 && mux->port >= 0)
		r = mux_loop(mux);
	for (uint32_t i = 0; i < mux->n_rules; i++)
		rule_withdraw(&mux->rules[i]);
	return r == -EPIPE ? 0 : r;
}

/* Waits until somebody listens at a path of the guest. */
static void await_listener(const char *path)
{
	const struct timespec pause_time = { .tv_nsec = RETRY_MS * 1000000L };
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd, r;

	strcpy(addr.sun_path, path);
	for (;;) {
		fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		r = connect(fd, (struct sockaddr *)&addr, sizeof(addr));
		close(fd);
		if (r == 0)
			return;
		nanosleep(&pause_time, NULL);
	}
}

static int run_guest(struct mux *mux, bool wait_ready)
{
	const struct frame ready = { .type = READY };
	int r;

	mux->port = STDIN_FILENO;
	for (uint32_t i = 0; i < mux->n_rules && wait_ready; i++)
		await_listener(mux->rules[i].path);
	if (write(mux->port, &ready, sizeof(ready)) != sizeof(ready))
		return complain("port", -EIO);
	r = set_nonblocking(mux->port);
	return r < 0 ? r : mux_loop(mux);
}

static int add_rule(struct mux *mux, const char *path)
{
	if (mux->n_rules == MAX_RULES)
		return -E2BIG;
	if (strlen(path) >= sizeof(((struct sockaddr_un *)NULL)->sun_path))
		return -ENAMETOOLONG;
	mux->rules[mux->n_rules++] = (struct rule){ .path = path, .dir = -1, .listener = -1 };
	return 0;
}

static struct mux *mux_new(char **paths)
{
	struct mux *mux = calloc(1, sizeof(*mux));
	int r = mux ? 0 : -ENOMEM;

	if (mux) {
		mux->port = mux->signals = -1;
		for (uint32_t i = 0; i < MAX_STREAMS; i++)
			mux->streams[i].fd = -1;
	}
	for (; r == 0 && *paths; paths++) {
		r = add_rule(mux, *paths);
		if (r < 0)
			complain(*paths, r);
	}
	if (r == 0)
		return mux;
	free(mux);
	return NULL;
}

/* All that is held goes with the process. */
int main(int argc, char **argv)
{
	bool host = argc > 3 && strcmp(argv[1], "host") == 0;
	bool guest = argc > 2 && strcmp(argv[1], "guest") == 0;
	bool wait_ready = guest && strcmp(argv[2], "-w") == 0;
	struct mux *mux;
	int r;

	if (!host && !guest) {
		fprintf(stderr, "usage: forward host PORT SOCKET... | guest [-w] SOCKET...\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	mux = mux_new(argv + (host || wait_ready ? 3 : 2));
	if (!mux)
		return 1;
	r = host ? run_host(mux, argv[2]) : run_guest(mux, wait_ready);
	if (r < 0 && r != -EPIPE)
		complain(argv[1], r);
	return r < 0;
}
