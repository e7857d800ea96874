/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Peers that take what they can get, of every kind at once, each as a user of its own; and two that make a
 * call after the other, one on a connection that it keeps and one on a new one each time. Fails if a call of
 * those fails. How long their calls took is printed and judged by nobody.
 *
 *   hostile SOCKET UID CALLS    as root: UID and the next are the honest users', those that follow the others'
 *
 * SO_PEERCRED has the effective user of the moment of connect(2), so one process plays all of them.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "tests/support/h2_frames.h"

#define ENCRYPT  "/v2.KeyManagementService/Encrypt"
#define ANSWER_S 60 /* to end, should an answer never come */
#define TURNS    40 /* between the first call and the next */

/* One hostile connection. */
struct hostile {
	const struct attack *attack;
	uid_t uid;
	int fd;
	uint32_t next; /* stream */
	struct h2f_buf out;
	size_t sent;
};

struct attack {
	const char *name;
	unsigned int connections;
	bool deaf; /* it does not read */
	void (*begin)(struct hostile *h);
	void (*more)(struct hostile *h);
};

static const char *socket_path;
static uid_t honest_uid;
static uint8_t zeros[65536];

static void die(const char *what)
{
	fprintf(stderr, "hostile: %s: %s\n", what, strerror(errno));
	exit(EXIT_FAILURE);
}

static int connect_as(uid_t uid, int flags)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0), r;

	if (fd < 0)
		die("socket");
	strncpy(addr.sun_path, socket_path, sizeof(addr.sun_path) - 1);
	if (seteuid(uid) < 0)
		die("seteuid");
	r = connect(fd, (struct sockaddr *)&addr, sizeof(addr));
	if (seteuid(0) < 0)
		die("seteuid");
	if (r == 0)
		return fd;
	close(fd);
	return -1;
}

static void hello(struct hostile *h)
{
	h2f_hello(&h->out);
}

static void nothing(struct hostile *h)
{
	(void)h;
}

/* A message of 64 KiB is announced; so many bytes of it come. */
static void begun(struct hostile *h, size_t bytes)
{
	static const uint8_t prefix[5] = { 0, 0, 0, 0xff, 0 };

	h2f_call_headers(&h->out, h->next, 0, &H2F_CALL(.path = ENCRYPT));
	h2f_frame(&h->out, H2F_DATA, 0, h->next, prefix, sizeof(prefix));
	for (; bytes > 0; bytes -= bytes < 16384 ? bytes : 16384)
		h2f_frame(&h->out, H2F_DATA, 0, h->next, zeros, bytes < 16384 ? bytes : 16384);
	h->next += 2;
}

static void announce(struct hostile *h)
{
	for (unsigned int i = 0; i < 700 && h->next < 2 * 700; i++)
		begun(h, 5000);
}

static void large(struct hostile *h)
{
	for (unsigned int i = 0; i < 10 && h->next < 2 * 600; i++)
		begun(h, 60000);
}

static void open_calls(struct hostile *h)
{
	for (unsigned int i = 0; i < 1024 && h->next < 2 * 1024; i++, h->next += 2)
		h2f_call_headers(&h->out, h->next, 0, &H2F_CALL(.path = ENCRYPT));
}

static void half_headers(struct hostile *h)
{
	if (h->next == 1)
		h2f_frame(&h->out, H2F_HEADERS, 0, h->next++, NULL, 0);
}

static void encrypt(struct h2f_buf *out, uint32_t stream)
{
	static const uint8_t request[] = { 0x0a, 8, 'a', ' ', 's', 'e', 'e', 'd', '!', '!' };

	h2f_call_headers(out, stream, 0, &H2F_CALL(.path = ENCRYPT));
	h2f_message(out, stream, H2F_END_STREAM, request, sizeof(request));
}

static void no_window(struct hostile *h)
{
	static const uint8_t window[6] = { 0, 4, 0, 0, 0, 0 };

	h2f_bytes(&h->out, H2F_PREFACE, strlen(H2F_PREFACE));
	h2f_frame(&h->out, H2F_SETTINGS, 0, 0, window, sizeof(window));
}

static void encrypts(struct hostile *h)
{
	for (unsigned int i = 0; i < 50 && h->next < 1U << 30; i++, h->next += 2)
		encrypt(&h->out, h->next);
}

static void pings(struct hostile *h)
{
	for (unsigned int i = 0; i < 500; i++)
		h2f_frame(&h->out, H2F_PING, 0, 0, "12345678", 8);
}

static void settings(struct hostile *h)
{
	for (unsigned int i = 0; i < 100; i++) {
		for (unsigned int j = 0; j < 3; j++, h->next += 2)
			h2f_call_headers(&h->out, h->next, H2F_END_STREAM,
					 &H2F_CALL(.content_type = "text/plain"));
		h2f_frame(&h->out, H2F_SETTINGS, 0, 0, NULL, 0);
	}
}

static void resets(struct hostile *h)
{
	for (unsigned int i = 0; i < 200; i++, h->next += 2) {
		h2f_call_headers(&h->out, h->next, 0, &H2F_CALL(.path = ENCRYPT));
		h2f_head(&h->out, 4, H2F_RST_STREAM, 0, h->next);
		h2f_u32(&h->out, 8);
	}
}

/* A field put into the HPACK table once and named by one byte many times. */
static void bomb(struct hostile *h)
{
	_cleanup_(h2f_release) struct h2f_buf block = { 0 };

	h2f_byte(&block, 0x40);
	h2f_string(&block, "bomb", 4);
	h2f_string(&block, zeros, 0);
	for (unsigned int i = 0; i < 10000; i++)
		h2f_byte(&block, 0x80 | 62);
	h2f_frame(&h->out, H2F_HEADERS, H2F_END_HEADERS, h->next, block.data, block.len);
	h->next += 2;
}

static void hang_up(struct hostile *h)
{
	close(h->fd);
	h->fd = -1;
}

static void unknown_methods(struct hostile *h)
{
	for (unsigned int i = 0; i < 50 && h->next < 1U << 30; i++, h->next += 2)
		h2f_call_headers(&h->out, h->next, H2F_END_STREAM, &H2F_CALL(.path = "/x/Y"));
}

static const struct attack attacks[] = {
	{ "announce", 2, true, hello, announce },
	{ "large", 3, true, hello, large },
	{ "silent", 150, true, hello, nothing },
	{ "mute", 40, true, nothing, nothing },
	{ "open_calls", 9, true, hello, open_calls },
	{ "half_headers", 120, true, hello, half_headers },
	{ "no_window", 8, false, no_window, encrypts },
	{ "unread", 8, true, hello, encrypts },
	{ "pings", 4, true, hello, pings },
	{ "settings", 4, false, hello, settings },
	{ "resets", 4, false, hello, resets },
	{ "bomb", 4, false, hello, bomb },
	{ "hang_up", 8, true, hello, hang_up },
	{ "unknown_methods", 4, false, hello, unknown_methods },
	{ "busy", 4, false, hello, encrypts },
	{ "unlisted", 8, true, hello, nothing }, /* the last: the configuration does not name it */
};

static void hostile_lost(struct hostile *h)
{
	if (h->fd >= 0)
		close(h->fd);
	h->fd = -1;
	h->next = 1;
	h->out.len = h->sent = 0;
}

/* What there is to send, as far as the socket takes it; what there is to read, if it reads. */
static void hostile_turn(struct hostile *h)
{
	static uint8_t trash[65536];
	ssize_t n;

	if (h->fd < 0) {
		hostile_lost(h);
		h->fd = connect_as(h->uid, SOCK_NONBLOCK);
		if (h->fd < 0)
			return;
		h->attack->begin(h);
	}
	if (h->sent == h->out.len) {
		h->out.len = h->sent = 0;
		h->attack->more(h);
	}
	if (h->fd >= 0 && h->out.len > h->sent) {
		n = send(h->fd, h->out.data + h->sent, h->out.len - h->sent, MSG_NOSIGNAL);
		if (n > 0)
			h->sent += (size_t)n;
		else if (errno != EAGAIN)
			hostile_lost(h);
	}
	if (h->fd < 0)
		return;
	n = recv(h->fd, trash, sizeof(trash), h->attack->deaf ? MSG_PEEK : 0);
	if (n == 0 || (n < 0 && errno != EAGAIN))
		hostile_lost(h);
}

/* The honest peer. */

struct honest {
	int fd;
	uint32_t next;
	struct h2f_buf in;
};

static bool honest_connect(struct honest *p, uid_t uid)
{
	const struct timeval limit = { .tv_sec = ANSWER_S };
	_cleanup_(h2f_release) struct h2f_buf out = { 0 };

	*p = (struct honest){ .next = 1 };
	/* A full backlog is waited for, as it is by whoever has no choice. */
	p->fd = connect_as(uid, 0);
	if (p->fd < 0 || setsockopt(p->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) < 0)
		return false;
	h2f_hello(&out);
	return send(p->fd, out.data, out.len, MSG_NOSIGNAL) == (ssize_t)out.len;
}

static void honest_close(struct honest *p)
{
	if (p->fd >= 0)
		close(p->fd);
	h2f_release(&p->in);
}

/* Frames until @stream ends. An answer has DATA; a refusal is its headers alone. */
static const char *honest_read(struct honest *p, uint32_t stream)
{
	bool data = false;
	uint8_t bytes[4096];

	for (;;) {
		struct h2f_seen seen;
		size_t off = 0;
		ssize_t n;

		while (h2f_next(p->in.data, p->in.len, &off, &seen)) {
			if (seen.type == H2F_GOAWAY)
				return "GOAWAY";
			if (seen.stream != stream)
				continue;
			if (seen.type == H2F_RST_STREAM)
				return "reset";
			data |= seen.type == H2F_DATA;
			if (seen.type == H2F_HEADERS && (seen.flags & H2F_END_STREAM))
				return data ? NULL : "refused";
		}
		if (off > 0)
			memmove(p->in.data, p->in.data + off, p->in.len - off);
		p->in.len -= off;
		n = recv(p->fd, bytes, sizeof(bytes), 0);
		if (n <= 0)
			return n == 0 ? "closed" : strerror(errno);
		h2f_bytes(&p->in, bytes, (size_t)n);
	}
}

/* NULL, or how it failed. */
static const char *honest_call(struct honest *p)
{
	_cleanup_(h2f_release) struct h2f_buf out = { 0 };
	uint32_t stream = p->next;

	p->next += 2;
	h2f_head(&out, 4, H2F_WINDOW_UPDATE, 0, 0);
	h2f_u32(&out, 4096);
	encrypt(&out, stream);
	if (send(p->fd, out.data, out.len, MSG_NOSIGNAL) != (ssize_t)out.len)
		return "not sent";
	return honest_read(p, stream);
}

static uint64_t micros(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static int by_size(const void *a, const void *b)
{
	const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void all_turn(struct hostile *h, size_t n)
{
	for (size_t i = 0; i < n; i++)
		hostile_turn(&h[i]);
}

static struct hostile *hostiles_new(size_t *ret_n)
{
	struct hostile *h;
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(attacks); i++)
		n += attacks[i].connections;
	h = calloc(n, sizeof(*h));
	if (!h)
		die("calloc");
	n = 0;
	for (size_t i = 0; i < ARRAY_SIZE(attacks); i++)
		for (unsigned int k = 0; k < attacks[i].connections; k++)
			h[n++] = (struct hostile){ .attack = &attacks[i],
						   .uid = honest_uid + 2 + (uid_t)i,
						   .fd = -1 };
	*ret_n = n;
	return h;
}

int main(int argc, char **argv)
{
	struct rlimit files = { 4096, 4096 };
	unsigned int calls, failed = 0;
	struct honest kept, fresh;
	struct hostile *h;
	const char *why;
	uint64_t *took;
	size_t n;

	if (argc != 4) {
		fprintf(stderr, "usage: hostile SOCKET UID CALLS\n");
		return 2;
	}
	setrlimit(RLIMIT_NOFILE, &files);
	socket_path = argv[1];
	honest_uid = (uid_t)atoi(argv[2]);
	calls = (unsigned int)atoi(argv[3]);
	took = calloc(2 * calls + 1, sizeof(*took));
	h = hostiles_new(&n);
	if (!took || !honest_connect(&kept, honest_uid))
		die("honest peer");
	why = honest_call(&kept);
	if (why) {
		fprintf(stderr, "hostile: with nobody else there: %s\n", why);
		return EXIT_FAILURE;
	}
	for (unsigned int i = 0; i < TURNS; i++)
		all_turn(h, n);
	for (unsigned int i = 0; i < 2 * calls; i++) {
		uint64_t began;

		all_turn(h, n);
		began = micros();
		if (i % 2 == 0) {
			why = honest_call(&kept);
		} else {
			why = honest_connect(&fresh, honest_uid + 1) ? honest_call(&fresh)
								     : "not connected";
			honest_close(&fresh);
		}
		took[i] = micros() - began;
		if (why)
			printf("call %u on %s connection: %s\n", i, i % 2 ? "a new" : "the kept",
			       why);
		failed += why != NULL;
	}
	qsort(took, 2 * calls, sizeof(*took), by_size);
	printf("%u calls, %u failed; microseconds: median %llu, 99 %% %llu, longest %llu\n",
	       2 * calls, failed, (unsigned long long)took[calls],
	       (unsigned long long)took[2 * calls * 99 / 100],
	       (unsigned long long)took[2 * calls - 1]);
	return failed > 0;
}
