/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A page asks for as many keys as fill about PAGE_BYTES, judged by the page before; for fewer after an answer that was too
 * long. The first page is of the newest revision and says which that is; the others ask for that one. What a page
 * contains has to follow from what was asked (cluster/page.h), and all pages have to be of one cluster.
 */
#include "daemon/ctl/etcdread.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/base/log.h"
#include "daemon/cluster/page.h"
#include "daemon/ctl/ctl.h"
#include "daemon/sys/ring.h"

#define PROGRAM    "kekd-cluster"
#define CONTROL_FD 3
#define PAGE_FIRST 500
#define PAGE_MAX   20000
#define PAGE_BYTES (4 * 1024 * 1024)
#define NS_PER_S   (UINT64_C(1000) * 1000 * 1000)
#define BAR_NS     (NS_PER_S / 5)
#define LINE_NS    (10 * NS_PER_S)

struct reading {
	const struct etcdread *from;
	struct dumpfile *file;
	dump_each_fn *each;
	void *ctx;
	int r; /* of each */

	pid_t pid;
	int control;
	struct carrier *link;

	uint64_t limit, bytes; /* of a page */
	char *last;
	size_t last_len;
	uint64_t began_ns, said_ns;
};

/* The process. Beside kekctl, as it is built; or in the sbin that belongs to its bin, as it is installed. */

static int program_find(char ret[static PATH_MAX])
{
	static const char *const at[] = { "", "/../sbin" };
	char self[PATH_MAX / 2];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;

	if (n < 0)
		return -errno;
	self[n] = '\0';
	slash = strrchr(self, '/');
	if (!slash)
		return -ENOENT;
	*slash = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(at); i++) {
		snprintf(ret, PATH_MAX, "%s%s/" PROGRAM, self, at[i]);
		if (access(ret, X_OK) == 0)
			return 0;
	}
	return -ENOENT;
}

/* Nothing of the environment but what sanitizers need: TLS libraries take files and options from there. */
static _noreturn_ void program_exec(const char *path, int control)
{
	static const char *const kept[] = { "ASAN_OPTIONS", "UBSAN_OPTIONS" };
	char name[] = PROGRAM, *argv[] = { name, NULL };
	char text[ARRAY_SIZE(kept)][256], *env[ARRAY_SIZE(kept) + 1];
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
		if (getenv(kept[i]) && snprintf(text[n], sizeof(text[n]), "%s=%s", kept[i],
						getenv(kept[i])) < (int)sizeof(text[n])) {
			env[n] = text[n];
			n++;
		}
	env[n] = NULL;
	if (dup2(control, CONTROL_FD) == CONTROL_FD && close_range(CONTROL_FD + 1, ~0U, 0) == 0)
		execve(path, argv, env);
	log_error("%s: %s", path, errno_text(errno));
	_exit(EXIT_FAILURE);
}

static int program_start(struct reading *rd)
{
	char path[PATH_MAX];
	int fds[2], r = program_find(path);

	if (r < 0)
		return ctl_fail("there is no " PROGRAM " beside kekctl or in ../sbin, which reads "
				"etcd for it: install all of kekd's package");
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
		return ctl_fail("%s", errno_text(errno));
	rd->pid = fork();
	if (rd->pid == 0)
		program_exec(path, fds[1]);
	close(fds[1]);
	rd->control = fds[0];
	return rd->pid < 0 ? ctl_fail("cannot start " PROGRAM ": %s", errno_text(errno)) : 0;
}

static void reading_done(struct reading *rd)
{
	carrier_free(rd->link);
	closep(&rd->control); /* so that the program ends */
	if (rd->pid > 0)
		while (waitpid(rd->pid, NULL, 0) < 0 && errno == EINTR)
			;
	free(rd->last);
}

/* One call. */

static int link_wait(struct reading *rd, struct carrier_head *ret, struct span *ret_body)
{
	int r;

	for (;;) {
		struct pollfd p = { .fd = carrier_fd(rd->link) };

		r = carrier_flush(rd->link);
		if (r == 0)
			r = carrier_read(rd->link, ret, ret_body);
		if (r != 0)
			return r;
		p.events = carrier_events(rd->link);
		if (poll(&p, 1, -1) < 0 && errno != EINTR)
			return -errno;
	}
}

static int page_value(void *ctx, const struct etcd_kv *kv)
{
	struct reading *rd = ctx;
	const struct dump_value v = { .key = kv->key,
				      .value = kv->value,
				      .mod_revision = kv->mod_revision };
	char *last;

	rd->bytes += kv->key.len + kv->value.len;
	rd->file->info.values++;
	rd->r = rd->each(rd->ctx, &v);
	if (rd->r != 0)
		return rd->r;
	last = realloc(rd->last, kv->key.len);
	if (!last)
		return rd->r = ctl_fail("out of memory");
	memcpy(last, kv->key.data, kv->key.len);
	rd->last = last;
	rd->last_len = kv->key.len;
	return 0;
}

/* Get one page, or none if it would have been too long; then the limit is lower now. Returns what etcdread_all() does. */
static int page_get(struct reading *rd, const struct page_ask *page, struct page_answer *ret,
		    bool *ret_any)
{
	struct carrier_head m = { .type = CARRIER_RANGE };
	_cleanup_free_ uint8_t *message = NULL;
	struct span body = SPAN_NULL;
	size_t len;
	int r = page_encode(page, &message, &len);

	rd->bytes = 0;
	*ret_any = false;
	if (r == 0)
		r = carrier_put(rd->link, &m, span_of(message, len));
	if (r == 0)
		r = link_wait(rd, &m, &body);
	if (r > 0 && m.type == CARRIER_ANSWER) {
		r = page_decode(body, page, page_value, rd, ret);
		if (rd->r != 0)
			return rd->r;
		if (r < 0)
			return ctl_fail("the endpoint's answer is not one that etcd 3.4 to 3.6 "
					"gives: is it etcd's client URL?");
		*ret_any = true;
		r = link_wait(rd, &m, &body);
	}
	if (r <= 0)
		return ctl_fail(PROGRAM " has ended: %s",
				r == -ENODATA ? "see what it has said" : errno_text(r));
	if (m.result == 0)
		return 0;
	if (m.result == -EMSGSIZE && rd->limit > 1) {
		rd->limit /= 8;
		rd->limit += rd->limit == 0;
		return 0;
	}
	/* What etcd refused, in kekd-cluster's words. */
	ctl_fail("%.*s", (int)body.len, (const char *)body.data);
	return m.result == -ESTALE ? ETCDREAD_AGAIN : 1;
}

/* All of it. */

void etcdread_progress(uint64_t done, uint64_t all, uint64_t ns, char ret[static ETCDREAD_TEXT])
{
	uint64_t left = 0;
	int n;

	if (all < done)
		all = done;
	n = snprintf(ret, ETCDREAD_TEXT, "%" PRIu64 " of %" PRIu64 " keys", done, all);
	if (done == 0 || done == all)
		return;
	left = (uint64_t)((double)ns / (double)done * (double)(all - done) / (double)NS_PER_S) + 1;
	if (left < 120)
		snprintf(ret + n, ETCDREAD_TEXT - (size_t)n, ", about %" PRIu64 " s left", left);
	else
		snprintf(ret + n, ETCDREAD_TEXT - (size_t)n, ", about %" PRIu64 " min left",
			 (left + 59) / 60);
}

/* On a terminal one line, over and over; elsewhere one now and then. */
static void progress(struct reading *rd, bool first)
{
	const struct dump_info *i = &rd->file->info;
	bool tty = isatty(STDERR_FILENO);
	uint64_t now = now_ns();
	char text[ETCDREAD_TEXT];

	if (!first && now - rd->said_ns < (tty ? BAR_NS : LINE_NS))
		return;
	rd->said_ns = now;
	etcdread_progress(i->values, i->total, now - rd->began_ns, text);
	if (tty)
		fprintf(stderr, "\r%s\x1b[K", text);
	else if (first)
		fprintf(stderr, "kekctl: etcd has %" PRIu64 " keys at revision %" PRIu64 "\n",
			i->total, i->revision);
	else
		fprintf(stderr, "kekctl: %s\n", text);
}

static int page_take(struct reading *rd, const struct page_answer *page, bool first)
{
	struct dump_info *i = &rd->file->info;

	/* kine answers a range of all keys with nothing. A scan must not take that for an etcd without values. */
	if (page->cluster == 0)
		return ctl_fail(
			"what answers has no cluster id, so it is kine, or a proxy, and does not list "
			"all keys as etcd does: look at its database, `kekctl scan FILE`");
	if (first) {
		i->cluster_id = page->cluster;
		i->revision = rd->from->revision ?: page->revision;
		i->total = page->count;
	} else if (i->cluster_id != page->cluster) {
		return ctl_fail("the endpoints are of different etcd clusters: mend `endpoints:`");
	}
	if (rd->bytes < PAGE_BYTES / 2 && rd->limit < PAGE_MAX)
		rd->limit *= 2;
	else if (rd->bytes > 2 * PAGE_BYTES && rd->limit > 1)
		rd->limit /= 2;
	i->done = i->values;
	progress(rd, first);
	return 0;
}

static int read_pages(struct reading *rd)
{
	struct page_answer page = { .more = true };
	bool first = true, any;
	int r = 0;

	while (r == 0 && page.more) {
		const struct page_ask ask_for = {
			.after = span_of(rd->last, rd->last_len),
			.revision = first ? rd->from->revision : rd->file->info.revision,
			.limit = rd->limit,
		};

		r = page_get(rd, &ask_for, &page, &any);
		if (r == 0 && any) {
			r = page_take(rd, &page, first);
			first = false;
		}
	}
	if (isatty(STDERR_FILENO))
		fputs("\r\x1b[K", stderr);
	rd->file->info.whole = r == 0;
	return r;
}

int etcdread_all(const struct etcdread *from, dump_each_fn *each, void *ctx, struct dumpfile *file)
{
	struct reading rd = { .from = from, .file = file, .each = each, .ctx = ctx, .control = -1 };
	int r;

	*file = (struct dumpfile){ .source = "etcd" };
	rd.limit = PAGE_FIRST;
	rd.began_ns = now_ns();
	signal(SIGPIPE, SIG_IGN);
	r = program_start(&rd);
	if (r == 0 && carrier_start(rd.control, CARRIER_READER, &from->etcd, &rd.link) < 0)
		r = ctl_fail("cannot speak to " PROGRAM);
	if (r == 0)
		r = read_pages(&rd);
	reading_done(&rd);
	return r;
}
