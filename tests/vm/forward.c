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
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum {
	MAX_RULES = 8,
	MAX_STREAMS = 128,
	WINDOW = 65536, /* bytes buffered per stream and direction */
	CHUNK = 8192,   /* most bytes of one DATA frame */
	PORT_BUFFER = 8 * CHUNK,
	BACKLOG = 128,
	RETRY_MS = 10,
};

enum frame_type { READY = 1, OPEN, DATA, CREDIT, FIN, STOP, CLOSED };

/* In the byte order of the machine, which both ends share. */
struct frame {
	uint16_t stream;
	uint16_t type;
	uint32_t arg; /* OPEN: which rule; DATA and CREDIT: bytes */
};

/* One connection.  "In" is what this end reads from fd, "out" what it writes there. */
struct stream {
	bool used;
	int fd; /* owned; -1 once closed */
	uint32_t rule;
	bool connecting;
	bool open_owed, stop_owed, fin_sent, fin_got, closed_got;
	bool in_over;    /* nothing more is read from fd */
	bool out_broken; /* fd takes no more bytes */
	uint32_t credit; /* bytes that may be sent to the other end */
	uint32_t eaten;  /* bytes written to fd and not granted again yet */
	uint8_t *buffer; /* owned; WINDOW bytes, a ring */
	uint32_t head, fill;
};

struct rule {
	const char *path; /* borrowed from argv */
	char temporary[32];
	int dir;      /* owned; where the socket file is */
	int listener; /* owned */
	ino_t ino;
	bool published;
};

struct mux {
	bool host;
	bool ready;
	int port;    /* owned */
	int signals; /* owned; -1 in the guest */
	struct rule rules[MAX_RULES];
	uint32_t n_rules;
	struct stream streams[MAX_STREAMS];
	uint32_t turn; /* the stream whose input is read first */
	uint8_t in[PORT_BUFFER];
	size_t in_fill;
	uint8_t out[PORT_BUFFER];
	size_t out_start, out_end;
};

/* Where each file descriptor is in the array for poll(). */
enum { POLL_PORT, POLL_SIGNALS, POLL_RULES, POLL_STREAMS = POLL_RULES + MAX_RULES };
enum { POLL_COUNT = POLL_STREAMS + MAX_STREAMS };

static int complain(const char *what, int error)
{
	fprintf(stderr, "forward: %s: %s\n", what, strerror(-error));
	return error;
}

static bool would_block(void)
{
	return errno == EAGAIN || errno == EINTR;
}

/* --- frames out ------------------------------------------------------------------------------ */

static size_t out_room(const struct mux *mux)
{
	return sizeof(mux->out) - mux->out_end;
}

/* Appends a frame's head if it fits; returns whether it did. */
static bool out_frame(struct mux *mux, uint32_t stream, enum frame_type type, uint32_t arg)
{
	const struct frame frame = { (uint16_t)stream, (uint16_t)type, arg };

	if (out_room(mux) < sizeof(frame))
		return false;
	memcpy(mux->out + mux->out_end, &frame, sizeof(frame));
	mux->out_end += sizeof(frame);
	return true;
}

/* Writes what the port takes.  0, or -errno when the port is gone. */
static int out_flush(struct mux *mux)
{
	ssize_t n;

	if (mux->out_start == mux->out_end)
		return 0;
	n = write(mux->port, mux->out + mux->out_start, mux->out_end - mux->out_start);
	if (n < 0)
		return would_block() ? 0 : -errno;
	mux->out_start += (size_t)n;
	if (mux->out_start == mux->out_end)
		mux->out_start = mux->out_end = 0;
	return 0;
}

/* --- a stream's end -------------------------------------------------------------------------- */

static int stream_init(struct stream *s, int fd, uint32_t rule)
{
	uint8_t *buffer = malloc(WINDOW);

	if (!buffer)
		return -ENOMEM;
	*s = (struct stream){
		.used = true, .fd = fd, .rule = rule, .credit = WINDOW, .buffer = buffer
	};
	return 0;
}

static void stream_close_fd(struct stream *s)
{
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
}

static void stream_release(struct stream *s)
{
	stream_close_fd(s);
	free(s->buffer);
	*s = (struct stream){ .fd = -1 };
}

/* The peer takes no more: what it was to get is dropped, and the other end told to end. */
static void stream_break_out(struct stream *s)
{
	if (s->out_broken)
		return;
	s->out_broken = true;
	s->fill = 0;
	s->stop_owed = !s->fin_got;
}

static void stream_break(struct stream *s)
{
	s->in_over = true;
	stream_break_out(s);
}

/* Nothing will be written to fd any more. */
static bool stream_out_over(const struct stream *s)
{
	return s->out_broken || (s->fin_got && s->fill == 0);
}

static void stream_deliver(struct stream *s)
{
	while (s->fill > 0) {
		uint32_t chunk = s->fill < WINDOW - s->head ? s->fill : WINDOW - s->head;
		ssize_t n = send(s->fd, s->buffer + s->head, chunk, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0) {
			if (!would_block())
				stream_break_out(s);
			return;
		}
		s->head = (s->head + (uint32_t)n) % WINDOW;
		s->fill -= (uint32_t)n;
		s->eaten += (uint32_t)n;
	}
}

/* The end of the data from the other side, seen by the peer only after all of it. */
static void stream_half_close(struct stream *s)
{
	if (s->fd >= 0 && !s->connecting && s->fin_got && s->fill == 0)
		shutdown(s->fd, SHUT_WR);
}

/* Reads once from fd into a DATA frame. */
static void stream_read(struct mux *mux, uint32_t number)
{
	struct stream *s = &mux->streams[number];
	uint32_t most = s->credit < CHUNK ? s->credit : CHUNK;
	size_t at = mux->out_end;
	ssize_t n;

	if (out_room(mux) < sizeof(struct frame) + most)
		return;
	n = recv(s->fd, mux->out + at + sizeof(struct frame), most, MSG_DONTWAIT);
	if (n < 0 && would_block())
		return;
	if (n <= 0) {
		s->in_over = true;
		return;
	}
	out_frame(mux, number, DATA, (uint32_t)n);
	mux->out_end += (size_t)n;
	s->credit -= (uint32_t)n;
}

/* The guest's end: connects to the rule's socket, again later if its backlog is full. */
static void stream_connect(const struct mux *mux, struct stream *s)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	strcpy(addr.sun_path, mux->rules[s->rule].path);
	s->connecting = false;
	if (s->fd < 0)
		s->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (s->fd >= 0 && connect(s->fd, (struct sockaddr *)&addr, sizeof(addr)) == 0) {
		stream_half_close(s);
		return;
	}
	if (s->fd >= 0 && would_block()) {
		s->connecting = true;
		return;
	}
	stream_close_fd(s);
	stream_break(s);
}

/* Says what is owed to the other end, and ends a stream that is over at both.  FIN comes after
 * all DATA because stream_read() has put that into the buffer already. */
static void stream_settle(struct mux *mux, uint32_t number)
{
	struct stream *s = &mux->streams[number];

	if (s->open_owed && out_frame(mux, number, OPEN, s->rule))
		s->open_owed = false;
	if (s->open_owed)
		return;
	if (s->eaten >= WINDOW / 2 && !s->fin_got && out_frame(mux, number, CREDIT, s->eaten))
		s->eaten = 0;
	if (s->stop_owed && out_frame(mux, number, STOP, 0))
		s->stop_owed = false;
	if (s->in_over && !s->fin_sent)
		s->fin_sent = out_frame(mux, number, FIN, 0);
	if (!s->fin_sent || !s->fin_got || !stream_out_over(s))
		return;
	stream_close_fd(s);
	if (mux->host ? s->closed_got : out_frame(mux, number, CLOSED, 0))
		stream_release(s);
}

/* --- frames in ------------------------------------------------------------------------------- */

static int got_open(struct mux *mux, uint32_t number, uint32_t rule)
{
	struct stream *s = &mux->streams[number];
	int r;

	if (mux->host || s->used || rule >= mux->n_rules)
		return -EPROTO;
	r = stream_init(s, -1, rule);
	if (r < 0)
		return r;
	stream_connect(mux, s);
	return 0;
}

static int got_data(struct stream *s, const uint8_t *bytes, uint32_t n)
{
	uint32_t tail = (s->head + s->fill) % WINDOW;
	uint32_t first = n < WINDOW - tail ? n : WINDOW - tail;

	if (s->fin_got)
		return -EPROTO;
	if (s->out_broken)
		return 0;
	if (n > WINDOW - s->fill - s->eaten)
		return -EPROTO;
	memcpy(s->buffer + tail, bytes, first);
	memcpy(s->buffer, bytes + first, n - first);
	s->fill += n;
	if (!s->connecting)
		stream_deliver(s);
	return 0;
}

static int got_fin(struct stream *s)
{
	if (s->fin_got)
		return -EPROTO;
	s->fin_got = true;
	s->stop_owed = false;
	stream_half_close(s);
	return 0;
}

static int got_credit(struct stream *s, uint32_t n)
{
	if (n > WINDOW - s->credit)
		return -EPROTO;
	s->credit += n;
	return 0;
}

/* The other end drops our data: the peer shall see that nobody reads. */
static int got_stop(struct stream *s)
{
	s->in_over = true;
	if (s->fd >= 0)
		shutdown(s->fd, SHUT_RD);
	return 0;
}

/* Takes one frame, with its bytes behind it.  -EPROTO if it cannot be. */
static int got_frame(struct mux *mux, const struct frame *frame, const uint8_t *bytes)
{
	struct stream *s = &mux->streams[frame->stream % MAX_STREAMS];

	if (frame->stream >= MAX_STREAMS)
		return -EPROTO;
	if (frame->type == READY) {
		mux->ready = true;
		return 0;
	}
	if (frame->type == OPEN)
		return got_open(mux, frame->stream, frame->arg);
	/* The host may still say these of a stream that is over in the guest. */
	if (!s->used && !mux->host && (frame->type == CREDIT || frame->type == STOP))
		return 0;
	if (!s->used)
		return -EPROTO;
	switch (frame->type) {
	case DATA:
		return got_data(s, bytes, frame->arg);
	case CREDIT:
		return got_credit(s, frame->arg);
	case FIN:
		return got_fin(s);
	case STOP:
		return got_stop(s);
	case CLOSED:
		s->closed_got = true;
		return mux->host && s->fin_got && s->fin_sent ? 0 : -EPROTO;
	default:
		return -EPROTO;
	}
}

/* Takes every whole frame that has arrived; the rest stays for the next time. */
static int in_parse(struct mux *mux)
{
	size_t at = 0;
	int r;

	while (mux->in_fill - at >= sizeof(struct frame)) {
		struct frame frame;
		size_t size = sizeof(frame);

		memcpy(&frame, mux->in + at, sizeof(frame));
		if (frame.type == DATA && frame.arg > CHUNK)
			return -EPROTO;
		if (frame.type == DATA)
			size += frame.arg;
		if (mux->in_fill - at < size)
			break;
		r = got_frame(mux, &frame, mux->in + at + sizeof(frame));
		if (r < 0)
			return r;
		at += size;
	}
	mux->in_fill -= at;
	memmove(mux->in, mux->in + at, mux->in_fill);
	return 0;
}

/* 0, -EPIPE when the other end is gone, or another -errno. */
static int in_read(struct mux *mux)
{
	ssize_t n;

	n = read(mux->port, mux->in + mux->in_fill, sizeof(mux->in) - mux->in_fill);
	if (n < 0 && would_block())
		return 0;
	if (n <= 0)
		return -EPIPE;
	mux->in_fill += (size_t)n;
	return in_parse(mux);
}

/* --- the host's sockets ---------------------------------------------------------------------- */

/* Removes a socket file that nobody answers at; -EADDRINUSE for anything else.  The type counts:
 * a connect() to a file of another type is refused as well. */
static int remove_dead_socket(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd, r = -EADDRINUSE;
	struct stat st;

	if (lstat(path, &st) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	strcpy(addr.sun_path, path);
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 && errno == ECONNREFUSED)
		r = unlink(path) < 0 ? -errno : 0;
	close(fd);
	return r;
}

/* Opens the directory of a path; *ret_name is the rest of it. */
static int open_parent(const char *path, const char **ret_name)
{
	const char *slash = strrchr(path, '/');
	char dir[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
	int fd;

	if (!slash || slash[1] == '\0')
		return -EINVAL;
	snprintf(dir, sizeof(dir), "%.*s", (int)(slash - path), path);
	fd = open(slash == path ? "/" : dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	*ret_name = slash + 1;
	return fd;
}

static int bind_here(int fd, int dir, const char *name, ino_t *ret_ino)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct stat st;
	mode_t mask;
	int r;

	snprintf(addr.sun_path, sizeof(addr.sun_path), "/proc/self/fd/%d/%s", dir, name);
	mask = umask(0177);
	r = bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 ? -errno : 0;
	umask(mask);
	if (r < 0)
		return r;
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	*ret_ino = st.st_ino;
	return 0;
}

/* Makes the listening socket under another name, so that what can fail does so at the start. */
static int rule_listen(struct rule *rule, uint32_t number)
{
	const char *name;
	int r;

	r = remove_dead_socket(rule->path);
	if (r < 0)
		return r;
	rule->dir = open_parent(rule->path, &name);
	if (rule->dir < 0)
		return rule->dir;
	rule->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (rule->listener < 0)
		return -errno;
	snprintf(rule->temporary, sizeof(rule->temporary), ".forward-%d-%u", getpid(), number);
	r = bind_here(rule->listener, rule->dir, rule->temporary, &rule->ino);
	if (r < 0)
		return r;
	return listen(rule->listener, BACKLOG) < 0 ? -errno : 0;
}

static const char *rule_name(const struct rule *rule)
{
	return strrchr(rule->path, '/') + 1;
}

/* Gives the socket its name, which must still be free. */
static int rule_publish(struct rule *rule)
{
	if (linkat(rule->dir, rule->temporary, rule->dir, rule_name(rule), 0) < 0)
		return -errno;
	unlinkat(rule->dir, rule->temporary, 0);
	rule->published = true;
	return 0;
}

/* Removes our socket file, and no other that has taken its place. */
static void rule_withdraw(const struct rule *rule)
{
	const char *name = rule->published ? rule_name(rule) : rule->temporary;
	struct stat st;

	if (rule->dir >= 0 && fstatat(rule->dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    st.st_ino == rule->ino)
		unlinkat(rule->dir, name, 0);
}

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

static bool stream_wants_input(const struct mux *mux, const struct stream *s)
{
	return !s->in_over && !s->open_owed && s->credit > 0 &&
	       out_room(mux) >= sizeof(struct frame) + CHUNK;
}

/* Without events a stream is watched only for a peer that closes, and only if that is news:
 * poll() tells it again and again. */
static struct pollfd stream_events(const struct mux *mux, const struct stream *s)
{
	struct pollfd p = { .fd = -1 };

	if (!s->used || s->fd < 0 || s->connecting)
		return p;
	if (stream_wants_input(mux, s))
		p.events |= POLLIN;
	if (s->fill > 0)
		p.events |= POLLOUT;
	if (p.events || !stream_out_over(s))
		p.fd = s->fd;
	return p;
}

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

static void stream_turn(struct mux *mux, uint32_t number, short revents)
{
	struct stream *s = &mux->streams[number];

	if (!s->used)
		return;
	if (s->connecting)
		stream_connect(mux, s);
	if (revents & (POLLHUP | POLLERR))
		stream_break_out(s);
	if (s->fill > 0 && !s->connecting) {
		stream_deliver(s);
		stream_half_close(s);
	}
	if ((revents & (POLLIN | POLLHUP | POLLERR)) && stream_wants_input(mux, s))
		stream_read(mux, number);
	stream_settle(mux, number);
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
