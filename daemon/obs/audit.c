/* SPDX-License-Identifier: Apache-2.0 */
/* See audit.h. The buffer is of a fixed size; a line that does not fit is not half there. */
#include "daemon/obs/audit.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include "daemon/base/io.h"

#define BUFFER (1024 * 1024)
/* What a sender wrote is up to 6 bytes each, and the longest label as many: 1530 bytes of it. */
#define LINE_BYTES   8192
#define UID_SHOWN    64
#define PATH_SHOWN   512 /* a resource and a name have at most 253 characters each */
#define JOURNAL_PATH "/run/systemd/journal/socket"
/* <6>: informational, as syslog(3) counts. */
#define JOURNAL_HEAD "PRIORITY=6\nSYSLOG_IDENTIFIER=kekd-audit\nMESSAGE="

struct audit {
	enum audit_target target;
	int fd;
	bool drop, stuck;
	uint64_t written, dropped, unsaid; /* unsaid: dropped, and no line says so yet */
	size_t len, done;                  /* bytes in the buffer; of these, written */
	char buf[BUFFER];
};

/* One line being made. */
struct line {
	char text[LINE_BYTES];
	size_t len;
};

int audit_new(enum audit_target target, bool drop, struct audit **ret)
{
	struct audit *a = calloc(1, sizeof(*a));

	if (!a)
		return -ENOMEM;
	a->target = target;
	a->fd = -1;
	a->drop = drop;
	*ret = a;
	return 0;
}

void audit_free(struct audit *a)
{
	if (!a)
		return;
	closep(&a->fd);
	free(a);
}

int audit_open(enum audit_target target, const char *path, int *ret_fd)
{
	const struct sockaddr_un addr = { .sun_family = AF_UNIX, .sun_path = JOURNAL_PATH };
	_cleanup_close_ int fd = -1;

	if (target == AUDIT_JOURNAL)
		fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	else
		fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	if (target == AUDIT_JOURNAL &&
	    connect(fd, (const struct sockaddr *)&addr, sizeof(addr)) < 0)
		return -errno;
	*ret_fd = move_fd(fd);
	return 0;
}

/* Back to the beginning of the line that is half written. */
static size_t line_start(const struct audit *a)
{
	const char *end = a->done > 0 ? memrchr(a->buf, '\n', a->done) : NULL;

	return end ? (size_t)(end + 1 - a->buf) : 0;
}

void audit_set_fd(struct audit *a, int fd)
{
	closep(&a->fd);
	a->fd = fd;
	a->done = line_start(a);
}

static void line_put(struct line *l, const char *fmt, ...) _printf_(2, 3);
static void line_put(struct line *l, const char *fmt, ...)
{
	size_t room = sizeof(l->text) - l->len;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(l->text + l->len, room, fmt, ap);
	va_end(ap);
	l->len += n > 0 && (size_t)n < room ? (size_t)n : 0;
}

/* A JSON string (RFC 8259 §7); what is not printable ASCII is escaped by its byte. */
static void put_string(struct line *l, struct span s)
{
	line_put(l, "\"");
	for (size_t at = 0, end; at < s.len; at = end + 1) {
		for (end = at; end < s.len && s.data[end] >= ' ' && s.data[end] <= '~'; end++)
			if (s.data[end] == '"' || s.data[end] == '\\')
				break;
		line_put(l, "%.*s", (int)(end - at), (const char *)s.data + at);
		if (end < s.len)
			line_put(l, s.data[end] == '"' || s.data[end] == '\\' ? "\\%c" : "\\u%04x",
				 s.data[end]);
	}
	line_put(l, "\"");
}

/* What a sender wrote: no more than @shown bytes of it. */
static void line_put_theirs(struct line *l, const char *name, struct span s, size_t shown)
{
	if (s.len == 0)
		return;
	line_put(l, ",\"%s\":", name);
	put_string(l, span_of(s.data, s.len < shown ? s.len : shown));
}

static void line_put_field(struct line *l, const char *name, const char *value)
{
	if (!value || !*value)
		return;
	line_put(l, ",\"%s\":", name);
	put_string(l, span_str(value));
}

static void line_put_time(struct line *l)
{
	struct timespec now;
	struct tm tm;
	char text[32];

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
	line_put(l, "{\"time\":\"%s.%06ldZ\"", text, now.tv_nsec / 1000);
}

static void line_make(struct line *l, const struct audit_line *in)
{
	l->len = 0;
	line_put_time(l);
	line_put_field(l, "event", in->event);
	line_put_field(l, "what", in->what);
	line_put_theirs(l, "uid", in->uid, UID_SHOWN);
	line_put_theirs(l, "resource", in->resource, PATH_SHOWN);
	line_put_theirs(l, "path", in->path, PATH_SHOWN);
	if (in->asked)
		line_put(l, ",\"peerUid\":%u,\"peerPid\":%d", in->peer_uid, in->peer_pid);
	line_put_field(l, "provider", in->provider);
	line_put_field(l, "key", in->key);
	line_put_field(l, "state", in->state);
	line_put_field(l, "custody", in->custody);
	line_put_field(l, "result", in->result);
	if (in->micros >= 0)
		line_put(l, ",\"micros\":%" PRId64, in->micros);
	line_put(l, "}\n");
}

static int line_keep(struct audit *a, const struct line *l)
{
	if (l->len == 0 || l->text[l->len - 1] != '\n' || a->len + l->len > sizeof(a->buf))
		return -ENOBUFS;
	memcpy(a->buf + a->len, l->text, l->len);
	a->len += l->len;
	return 0;
}

int audit_add(struct audit *a, const struct audit_line *in)
{
	struct line l;
	int r;

	/* How many lines were lost, where they would have stood. */
	if (a->unsaid > 0) {
		l.len = 0;
		line_put_time(&l);
		line_put(&l, ",\"event\":\"dropped\",\"lines\":%" PRIu64 "}\n", a->unsaid);
		if (line_keep(a, &l) == 0)
			a->unsaid = 0;
	}
	line_make(&l, in);
	r = line_keep(a, &l);
	/* A turn may bring more than there is room for: what the target takes now makes some. */
	if (r < 0 && !a->stuck && audit_flush(a) == 0)
		r = line_keep(a, &l);
	if (r < 0 && a->drop) {
		a->dropped++;
		a->unsaid++;
		return 0;
	}
	return r;
}

static int flush_journal(struct audit *a)
{
	char head[] = JOURNAL_HEAD, end[] = "\n";
	struct iovec iov[] = {
		{ .iov_base = head, .iov_len = sizeof(head) - 1 },
		{ 0 }, /* a line */
		{ .iov_base = end, .iov_len = 1 },
	};
	const struct msghdr hdr = { .msg_iov = iov, .msg_iovlen = ARRAY_SIZE(iov) };

	while (a->done < a->len) {
		char *line = a->buf + a->done, *next = memchr(line, '\n', a->len - a->done);

		iov[1] = (struct iovec){ .iov_base = line, .iov_len = (size_t)(next - line) };
		if (sendmsg(a->fd, &hdr, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
			return -errno;
		a->done += iov[1].iov_len + 1;
		a->written++;
	}
	return 0;
}

static uint64_t lines_in(const char *from, size_t len)
{
	uint64_t n = 0;

	for (size_t i = 0; i < len; i++)
		n += from[i] == '\n';
	return n;
}

static int flush_file(struct audit *a)
{
	while (a->done < a->len) {
		ssize_t n = io_retry(write(a->fd, a->buf + a->done, a->len - a->done));

		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		a->written += lines_in(a->buf + a->done, (size_t)n);
		a->done += (size_t)n;
	}
	return 0;
}

/* The rest of a line that was begun is kept, so that the next one does not stand in its middle. */
static void give_up(struct audit *a)
{
	size_t keep = a->done;

	if (a->done > 0 && a->buf[a->done - 1] != '\n') {
		const char *end = memchr(a->buf + a->done, '\n', a->len - a->done);

		keep = (size_t)(end + 1 - a->buf);
	}
	a->dropped += lines_in(a->buf + keep, a->len - keep);
	a->unsaid += lines_in(a->buf + keep, a->len - keep);
	a->len = keep;
}

int audit_flush(struct audit *a)
{
	int r = a->fd < 0 ? -EBADF : 0;
	size_t start;

	if (a->len == a->done)
		return 0;
	if (r == 0)
		r = a->target == AUDIT_FILE ? flush_file(a) : flush_journal(a);
	a->stuck = r < 0;
	if (r < 0 && a->drop) {
		give_up(a);
		r = 0;
	}
	/* What was written makes room; a line that is begun stays whole, for another file. */
	start = a->len == a->done ? a->len : line_start(a);
	memmove(a->buf, a->buf + start, a->len - start);
	a->len -= start;
	a->done -= start;
	return r;
}

bool audit_stuck(const struct audit *a)
{
	return a->stuck;
}

void audit_counts_take(struct audit *a, uint64_t *ret_lines, uint64_t *ret_dropped)
{
	*ret_lines = a->written;
	*ret_dropped = a->dropped;
	a->written = a->dropped = 0;
}
