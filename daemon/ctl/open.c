/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kekctl open: plaintext of stored values, without a cluster: a running kekd with the keys is enough.
 *
 * One value goes out as it is. Of a whole dump each becomes a line of JSON with its bytes in base64, or
 * with --decode some lines for people. Plaintext is in locked memory all the way, stdio's buffer
 * included, and goes to a file that did not exist before, to a pipe if one value is asked for, and to a
 * terminal only where it cannot do harm there: escaped, or masked.
 */
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <string.h>
#include <sys/un.h>

#include "daemon/base/log.h"
#include "daemon/ctl/bulk.h"
#include "daemon/ctl/ctl.h"
#include "daemon/ctl/dumpfile.h"
#include "daemon/ctl/elsewhere.h"
#include "daemon/ctl/open_object.h"
#include "daemon/dump/report.h"
#include "daemon/wire/grpc.h"

#define BUFFER_BYTES (64 * 1024)
#define SAID_MAX     10

struct opening {
	const struct ctl *ctl;
	struct bulk *bulk;
	FILE *out;
	char *buffer;      /* of out; locked */
	bool terminal;     /* out is one */
	struct secbuf b64; /* a value as text */
	struct secpool *pool;
	uint64_t opened, failed, found; /* what is doubtful counts as both */
	uint64_t lost;                  /* parts of the dump, with --salvage */
	bool single;                    /* one value, which may be given in two readings */
	char why_not[1024];             /* of a single one the last that did not open */
	char prefix[PREFIX_MAX];
	struct elsewhere elsewhere;
};

static void value_failed(struct opening *o, struct span path, struct span why)
{
	char key[512];

	o->failed++;
	report_escape(path, key, sizeof(key));
	snprintf(o->why_not, sizeof(o->why_not), "%s: %.*s", key, (int)why.len,
		 (const char *)why.data);
	if (!o->single && o->failed <= SAID_MAX)
		fprintf(stderr, "kekctl: %s\n", o->why_not);
}

static void part_lost(void *ctx, const char *what)
{
	struct opening *o = ctx;

	if (o->lost++ < SAID_MAX)
		fprintf(stderr, "kekctl: left out: %s\n", what);
}

/* {"key":…,"value":…}, the key as JSON wants it. */
static int open_write_line(struct opening *o, struct span path, struct span plain)
{
	size_t need = sodium_base64_encoded_len(plain.len, sodium_base64_VARIANT_ORIGINAL);

	if (need > o->b64.cap) {
		secbuf_release(&o->b64);
		if (secpool_get(o->pool, need, &o->b64) < 0)
			return -ENOMEM;
	}
	sodium_bin2base64((char *)o->b64.data, o->b64.cap, plain.data, plain.len,
			  sodium_base64_VARIANT_ORIGINAL);
	fputs("{\"key\":\"", o->out);
	for (size_t i = 0; i < path.len; i++) {
		if (path.data[i] == '"' || path.data[i] == '\\')
			fprintf(o->out, "\\%c", path.data[i]);
		else if (path.data[i] >= ' ' && path.data[i] < 0x7f)
			fputc(path.data[i], o->out);
		else
			fprintf(o->out, "\\u%04x", path.data[i]);
	}
	fprintf(o->out, "\",\"value\":\"%s\"}\n", (const char *)o->b64.data);
	return 0;
}

static int value_opened(struct opening *o, struct span path, struct span plain)
{
	int r = 0;

	o->opened++;
	if (o->ctl->decode) {
		r = open_object_print(o->out, path, plain, o->ctl->reveal);
		if (r == -EINVAL || r == -ENOMEM) {
			value_failed(o, path,
				     span_str(r == -EINVAL
						      ? "opened, but not an object of Kubernetes"
						      : "opened, but too large to decode; raise "
							"RLIMIT_MEMLOCK (ulimit -l)"));
			r = 0;
		}
	} else if (o->ctl->path && o->terminal) {
		open_print_quoted(o->out, plain);
		fputc('\n', o->out);
	} else if (o->ctl->path) {
		if (plain.len > 0)
			fwrite(plain.data, 1, plain.len, o->out);
	} else {
		r = open_write_line(o, path, plain);
	}
	if (r == 0 && ferror(o->out))
		r = -EIO;
	return r < 0 ? ctl_fail("%s: %s", o->ctl->output ? o->ctl->output : "standard output",
				errno_text(r))
		     : 0;
}

static int open_answered(void *ctx, void *tag _unused_, struct span path,
			 const struct transform_result *result)
{
	struct opening *o = ctx;
	int r = 0;

	if (result->code != GRPC_OK) {
		value_failed(o, path, result->message);
		return 0;
	}
	if (!result->doubtful || !o->ctl->decode)
		r = value_opened(o, path, result->value);
	if (r == 0 && result->doubtful)
		value_failed(o, path, span_str(DOUBTFUL));
	return r;
}

/* The daemon is asked only when the first encrypted value comes. */
static int open_bulk_start(struct opening *o)
{
	static char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	unsigned int servers;
	int r;

	if (o->bulk)
		return 0;
	r = ctl_transform_socket(o->ctl, path, sizeof(path), &servers);
	if (r != 0)
		return r;
	r = bulk_new(path, "/kekd.v1.Transform/FromStorage", servers, open_answered, o, &o->bulk);
	return r < 0 ? ctl_fail("%s: %s", path, errno_text(r)) : 0;
}

static int open_value_each(void *ctx, const struct dump_value *v)
{
	struct opening *o = ctx;
	char text[RESOURCE_TEXT_MAX] = "";
	struct resource resource;
	int r;

	if (v->past || (o->ctl->path && !span_equal(v->key, span_str(o->ctl->path))))
		return 0;
	if (resource_parse(v->key, span_str(o->prefix), &resource))
		resource_text(&resource, text);
	else if (!o->ctl->path) {
		elsewhere_add(&o->elsewhere, v);
		return 0;
	}
	o->found++;
	o->single = v->alone;
	if (!span_starts_with(v->value, span_str("k8s:enc:")))
		return value_opened(o, v->key, v->value);
	r = open_bulk_start(o);
	if (r == 0)
		r = bulk_add(o->bulk, o->ctl->resource ? o->ctl->resource : text, v->key, v->value,
			     NULL);
	return r < 0 ? ctl_fail("transform service: %s", bulk_why(o->bulk)) : r;
}

static int nothing_found(const struct opening *o)
{
	char text[ELSEWHERE_TEXT];

	if (o->ctl->path)
		return ctl_fail("%s: not in the dump", o->ctl->path);
	elsewhere_text(&o->elsewhere, text);
	return ctl_fail("no object under %s in the dump%s%s%s", o->prefix, *text ? ", but " : "",
			text, *text ? "; give --prefix" : "");
}

static int open_read_all(struct opening *o, const char *path)
{
	const struct dump_salvage salvage = { part_lost, o };
	struct dumpfile file = { .single = o->ctl->path,
				 .salvage = o->ctl->salvage ? &salvage : NULL };
	int r = dumpfile_read(path, o->ctl->output != NULL, open_value_each, o, &file);

	if (r > 0 && o->ctl->salvage && o->found > 0) {
		part_lost(o, "all that comes after that");
		r = 0;
	}
	if (r == 0 && o->bulk)
		r = bulk_finish(o->bulk);
	if (r < 0)
		r = ctl_fail("transform service: %s", bulk_why(o->bulk));
	/* One reading of a value that opened is enough. If none did, the last reason is as good as the others. */
	if (o->single && o->opened > 0 && o->found > 1)
		o->failed = 0;
	if (o->single && o->failed > 0)
		ctl_fail("%s", o->why_not);
	if (r == 0 && o->found == 0)
		r = nothing_found(o);
	if (r == 0 && (fflush(o->out) != 0 || (o->ctl->output && fsync(fileno(o->out)) < 0)))
		r = ctl_fail("cannot write: %s", errno_text(errno));
	if (r == 0 && !o->single && (!o->ctl->path || o->failed > 0))
		fprintf(stderr, "kekctl: %llu values opened, %llu not\n",
			(unsigned long long)o->opened, (unsigned long long)o->failed);
	if (o->lost > 0)
		fprintf(stderr,
			"kekctl: %llu parts of the dump were left out: values may be missing, "
			"or be older than the newest\n",
			(unsigned long long)o->lost);
	return r == 0 && (o->failed > 0 || o->lost > 0) ? 1 : r;
}

static int output_open(struct opening *o)
{
	const char *path = o->ctl->output;
	int fd;

	if (path)
		fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	else
		fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
	if (fd < 0)
		return ctl_fail("%s: %s", path ? path : "standard output", errno_text(errno));
	o->terminal = isatty(fd);
	o->out = fdopen(fd, "w");
	if (!o->out) {
		close(fd);
		return ctl_fail("out of memory");
	}
	o->buffer = secmem_alloc(BUFFER_BYTES);
	if (!o->buffer)
		return ctl_fail("no locked memory; raise RLIMIT_MEMLOCK (ulimit -l)");
	setvbuf(o->out, o->buffer, _IOFBF, BUFFER_BYTES);
	return 0;
}

static void opening_done(struct opening *o)
{
	bulk_free(o->bulk);
	if (o->out)
		fclose(o->out);
	secmem_free(o->buffer, BUFFER_BYTES);
	secbuf_release(&o->b64);
	secpool_free(o->pool);
}

static int check_usage(const struct ctl *ctl, int argc)
{
	if (argc > 1)
		return ctl_usage("open takes one file, or nothing and standard input");
	if (ctl->reveal && !ctl->decode)
		return ctl_usage("--reveal goes with --decode");
	if (ctl->reveal && !ctl->output && !isatty(STDOUT_FILENO))
		return ctl_usage("--reveal needs a terminal, or --output FILE");
	if (!ctl->decode && !ctl->path && !ctl->output)
		return ctl_usage("the plaintext of a whole dump needs --output FILE; one value "
				 "--path KEY; --decode shows what there is, masked");
	return 0;
}

int ctl_open(const struct ctl *ctl, int argc, char **argv)
{
	_cleanup_(opening_done) struct opening o = { .ctl = ctl };
	int r = check_usage(ctl, argc);

	if (r != 0)
		return r;
	if (sodium_init() < 0 || secpool_new(4 * DUMP_VALUE_MAX, &o.pool) < 0)
		return ctl_fail("out of memory");
	r = ctl_prefix(ctl, o.prefix);
	if (r == 0)
		r = output_open(&o);
	return r == 0 ? open_read_all(&o, argv[0]) : r;
}
