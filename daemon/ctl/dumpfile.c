/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A snapshot has to be a file: it is read from its end, and more than once. JSON is read as it comes.
 * Which of the two it is, its first bytes say.
 */
#include "daemon/ctl/dumpfile.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <string.h>
#include <sys/stat.h>

#include "daemon/base/io.h"
#include "daemon/base/log.h"
#include "daemon/ctl/ctl.h"
#include "daemon/dump/etcdjson.h"
#include "daemon/dump/snapshot.h"
#include "daemon/sys/ring.h"

#define READ_SIZE (256 * 1024)
#define BAR_NS    (UINT64_C(200) * 1000 * 1000)
#define BAR_WIDTH 32

struct reading {
	const char *name; /* for messages */
	int fd;
	struct dumpfile *file;
	struct dump_error err;
	dump_each_fn *each;
	void *ctx;
	bool bar;
	int r; /* of each */
	uint64_t drawn_ns;
	uint8_t buf[READ_SIZE];
};

static void dumpfile_bar_draw(struct reading *rd)
{
	const struct dump_info *i = &rd->file->info;
	int n = i->total > 0 ? (int)(i->done * BAR_WIDTH / i->total) : 0;

	if (i->total > 0)
		fprintf(stderr, "\r[%-*.*s] %3u %%, %llu values ", BAR_WIDTH,
			n < BAR_WIDTH ? n : BAR_WIDTH, "################################",
			(unsigned int)(i->done * 100 / i->total), (unsigned long long)i->values);
	else
		fprintf(stderr, "\r%llu MiB, %llu values ", (unsigned long long)(i->done >> 20),
			(unsigned long long)i->values);
}

static void dumpfile_bar_end(const struct reading *rd)
{
	if (rd->drawn_ns > 0)
		fprintf(stderr, "\r%*s\r", BAR_WIDTH + 40, "");
}

static int each(void *ctx, const struct dump_value *v)
{
	struct reading *rd = ctx;

	if (rd->bar && rd->file->info.values % 1024 == 0 && now_ns() - rd->drawn_ns > BAR_NS) {
		rd->drawn_ns = now_ns();
		dumpfile_bar_draw(rd);
	}
	rd->r = rd->each(rd->ctx, v);
	return rd->r;
}

static int read_json(struct reading *rd, size_t have)
{
	_cleanup_(etcdjson_freep) struct etcdjson *j = NULL;
	int r;

	rd->file->source = "etcdctl";
	r = etcdjson_new(each, rd, &rd->file->info, &rd->err, &j);
	while (r == 0 && have > 0) {
		r = etcdjson_feed(j, span_of(rd->buf, have));
		if (r == 0)
			r = io_read_all(rd->fd, rd->buf, sizeof(rd->buf), &have);
	}
	return r == 0 ? etcdjson_end(j) : r;
}

static int read_snapshot(struct reading *rd)
{
	rd->file->source = "snapshot";
	rd->file->info.total = 0;
	return snapshot_read(rd->fd, SNAPSHOT_SEEN_MAX, each, rd, &rd->file->info, &rd->err);
}

/* A stored value and nothing else; @have bytes of it are in the buffer. */
static int read_single(struct reading *rd, size_t have)
{
	_cleanup_free_ uint8_t *all = NULL;
	struct dump_value v = { .key = span_str(rd->file->single) };
	size_t len = 0;
	uint8_t *p;
	int r;

	rd->file->source = "value";
	while (have > 0) {
		if (len + have > DUMP_VALUE_MAX)
			return dump_fail(&rd->err, -EMSGSIZE, "larger than etcd allows");
		p = realloc(all, len + have);
		if (!p)
			return -ENOMEM;
		all = p;
		memcpy(all + len, rd->buf, have);
		len += have;
		r = io_read_all(rd->fd, rd->buf, sizeof(rd->buf), &have);
		if (r < 0)
			return r;
	}
	v.value = span_of(all, len);
	return each(rd, &v);
}

static int read_any(struct reading *rd)
{
	struct stat st;
	size_t have;
	int r;

	if (fstat(rd->fd, &st) < 0)
		return -errno;
	rd->file->made = time(NULL);
	if (S_ISREG(st.st_mode) && st.st_mtime < rd->file->made)
		rd->file->made = st.st_mtime;
	if (S_ISREG(st.st_mode) && st.st_size > 0)
		rd->file->info.total = (uint64_t)st.st_size;
	r = io_read_all(rd->fd, rd->buf, SNAPSHOT_HEAD, &have);
	if (r < 0)
		return r;
	if (rd->file->single && span_starts_with(span_of(rd->buf, have), span_str("k8s:enc:")))
		return read_single(rd, have);
	if (!snapshot_is(span_of(rd->buf, have)))
		return read_json(rd, have);
	if (!S_ISREG(st.st_mode))
		return dump_fail(&rd->err, -EINVAL,
				 "a snapshot cannot be read from a pipe; give its file");
	return read_snapshot(rd);
}

static int source_open(const char *path, int *ret_fd)
{
	int fd;

	if (!path || strcmp(path, "-") == 0) {
		if (isatty(STDIN_FILENO))
			return ctl_fail("no dump: give a file, or pipe in what "
					"`etcdctl get / --prefix -w json` prints");
		fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
	} else {
		fd = open(path, O_RDONLY | O_CLOEXEC);
	}
	if (fd < 0)
		return ctl_fail("%s: %s", path ? path : "standard input", errno_text(errno));
	*ret_fd = fd;
	return 0;
}

int dumpfile_read(const char *path, bool progress, dump_each_fn *each_value, void *ctx,
		  struct dumpfile *file)
{
	_cleanup_free_ struct reading *rd = calloc(1, sizeof(*rd));
	_cleanup_close_ int fd = -1;
	int r;

	if (!rd || sodium_init() < 0)
		return ctl_fail("out of memory");
	r = source_open(path, &fd);
	if (r != 0)
		return r;
	*file = (struct dumpfile){ .single = file->single };
	rd->name = path && strcmp(path, "-") != 0 ? path : "standard input";
	rd->fd = fd;
	rd->file = file;
	rd->each = each_value;
	rd->ctx = ctx;
	rd->bar = progress && isatty(STDERR_FILENO);
	r = read_any(rd);
	dumpfile_bar_end(rd);
	if (rd->r != 0)
		return rd->r;
	if (r < 0)
		return ctl_fail("%s: %s", rd->name, *rd->err.text ? rd->err.text : errno_text(r));
	return 0;
}
