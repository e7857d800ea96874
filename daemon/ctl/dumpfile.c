/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A snapshot has to be a file: it is read from its end, and more than once; so has a database of k3s. JSON is
 * read as it comes. The first bytes say which of these a file is, or what else it is.
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
#include "daemon/dump/bolt.h"
#include "daemon/dump/etcdjson.h"
#include "daemon/dump/form.h"
#include "daemon/dump/kine.h"
#include "daemon/dump/single.h"
#include "daemon/dump/snapshot.h"
#include "daemon/sys/ring.h"

#define READ_SIZE (1024 * 1024) /* few values are cut, which takes longer */
#define BAR_NS    (UINT64_C(200) * 1000 * 1000)
#define BAR_WIDTH 32

struct reading {
	const char *name; /* for messages */
	const char *path; /* NULL: standard input */
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
	enum form_width width = form_width(span_of(rd->buf, have));
	int r;

	rd->file->source = "etcdctl";
	r = etcdjson_new(each, rd, &rd->file->info, &rd->err, &j);
	while (r == 0 && have > 0) {
		struct span chunk = span_of(rd->buf, have);

		/* Text that Windows has stored with two bytes a character gets one byte each. */
		if (width == FORM_UTF8_MARK) {
			width = FORM_BYTES;
			chunk = span_skip(chunk, 3);
		} else if (width != FORM_BYTES) {
			chunk.len = form_narrow(rd->buf, have, width);
		}
		r = etcdjson_feed(j, chunk);
		if (r == 0)
			r = io_read_all(rd->fd, rd->buf, sizeof(rd->buf), &have);
	}
	return r == 0 ? etcdjson_end(j) : r;
}

/* The text of a value may be several times as long as the value. */
#define SINGLE_MAX (6U * DUMP_VALUE_MAX)

/* @have bytes are in the buffer; the caller frees *@ret. */
static int read_whole(struct reading *rd, size_t have, uint8_t **ret, size_t *ret_len)
{
	_cleanup_free_ uint8_t *all = NULL;
	size_t len = 0;
	uint8_t *p;
	int r;

	while (have > 0) {
		if (len + have > SINGLE_MAX)
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
	*ret = move_ptr(all);
	*ret_len = len;
	return 0;
}

/* A stored value and nothing else. */
static int read_single(struct reading *rd, size_t have)
{
	_cleanup_free_ uint8_t *all = NULL;
	struct dump_value v = { .key = span_str(rd->file->single), .alone = true };
	struct single one = { 0 };
	size_t len = 0;
	int r;

	rd->file->source = "value";
	r = read_whole(rd, have, &all, &len);
	if (r == 0)
		r = single_find(all, len, v.key, &rd->err, &one);
	if (r < 0)
		return r;
	v.value = one.value;
	r = each(rd, &v);
	if (r == 0 && one.newline) {
		v.value.len--;
		r = each(rd, &v);
	}
	return r;
}

static int read_file(struct reading *rd, const struct stat *st, struct span head)
{
	if (!S_ISREG(st->st_mode) || (!rd->path && kine_is(head)))
		return dump_fail(&rd->err, -EINVAL, "%s cannot be read from a pipe; give its file",
				 kine_is(head) ? "a database of k3s" : "a snapshot");
	rd->file->info.total = 0;
	if (kine_is(head)) {
		rd->file->source = "kine";
		return kine_read(rd->path, each, rd, &rd->file->info, &rd->err);
	}
	rd->file->source = "snapshot";
	return snapshot_read(rd->fd, SNAPSHOT_SEEN_MAX, rd->file->salvage, each, rd,
			     &rd->file->info, &rd->err);
}

/* A snapshot without its beginning is read only for --salvage. */
static bool is_torn(const struct reading *rd, const struct stat *st, struct span head)
{
	return rd->file->salvage && S_ISREG(st->st_mode) && !form_advice(head) &&
	       !single_is(head, span_str(rd->file->single ?: "/")) && bolt_is_torn(rd->fd);
}

static int read_any(struct reading *rd)
{
	const char *advice;
	struct span head;
	struct stat st;
	size_t have;
	int r;

	if (fstat(rd->fd, &st) < 0)
		return -errno;
	if (S_ISREG(st.st_mode) && st.st_size > 0)
		rd->file->info.total = (uint64_t)st.st_size;
	r = io_read_all(rd->fd, rd->buf, FORM_HEAD, &have);
	if (r < 0)
		return r;
	head = span_of(rd->buf, have);
	if (snapshot_is(head) || kine_is(head) || is_torn(rd, &st, head))
		return read_file(rd, &st, head);
	if (rd->file->single && single_is(head, span_str(rd->file->single)))
		return read_single(rd, have);
	advice = form_advice(head);
	if (advice)
		return dump_fail(&rd->err, -EBADMSG, "%s", advice);
	return read_json(rd, have);
}

static int dump_source_open(const char *path, int *ret_fd)
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
	r = dump_source_open(path, &fd);
	if (r != 0)
		return r;
	*file = (struct dumpfile){ .single = file->single, .salvage = file->salvage };
	rd->path = path && strcmp(path, "-") != 0 ? path : NULL;
	rd->name = rd->path ?: "standard input";
	rd->fd = fd;
	rd->file = file;
	rd->each = each_value;
	rd->ctx = ctx;
	rd->bar = progress && isatty(STDERR_FILENO);
	r = read_any(rd);
	if (rd->drawn_ns > 0)
		fprintf(stderr, "\r%*s\r", BAR_WIDTH + 40, "");
	if (rd->r != 0)
		return rd->r;
	if (r < 0)
		return ctl_fail("%s: %s", rd->name, *rd->err.text ? rd->err.text : errno_text(r));
	return 0;
}
