/* SPDX-License-Identifier: Apache-2.0 */
/* What kekctl's commands share: asking the keeper, saying what went wrong, JSON. */
#include "daemon/ctl/ctl.h"

#include <errno.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "daemon/base/log.h"

static _printf_(1, 0) void say(const char *fmt, va_list ap)
{
	fputs("kekctl: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
}

int ctl_fail(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(fmt, ap);
	va_end(ap);
	return 1;
}

int ctl_usage(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(fmt, ap);
	va_end(ap);
	fputs("See kekctl --help.\n", stderr);
	return 2;
}

static int connect_fail(const char *path, int r)
{
	switch (r) {
	case -ENOENT:
	case -ECONNREFUSED:
		return ctl_fail("%s: no daemon there (%s); is kekd running, and is --admin its "
				"admin.socket?",
				path, errno_text(r));
	case -EACCES:
	case -EPERM:
		return ctl_fail("%s: not permitted; be root or in the group of admin.gid", path);
	default:
		return ctl_fail("%s: %s", path, errno_text(r));
	}
}

static int ask(const struct ctl *ctl, const struct admin_request *req, int passed,
	       ctl_each_fn *each, void *ctx, struct admin_reply *ret_end)
{
	_cleanup_close_ int fd = -1;
	struct admin_reply reply;
	int r;

	r = admin_connect(ctl->admin, &fd);
	if (r < 0)
		return connect_fail(ctl->admin, r);
	r = passed < 0 ? admin_send(fd, req, sizeof(*req))
		       : admin_send_fd(fd, req, sizeof(*req), passed);
	while (r == 0) {
		r = admin_recv(fd, &reply);
		if (r < 0 || reply.type == ADMIN_END)
			break;
		if (reply.type == ADMIN_KEY && each)
			each(ctx, &reply.key);
	}
	if (r == -ENODATA || r == -ECONNRESET || r == -EPIPE)
		return ctl_fail("%s: the daemon closed the connection; be root or in the group of "
				"admin.gid",
				ctl->admin);
	if (r < 0)
		return ctl_fail("%s: %s", ctl->admin, errno_text(r));
	*ret_end = reply;
	return 0;
}

/* What the keeper refuses is said. */
static int judge(const struct admin_reply *end)
{
	if (end->r < 0)
		return ctl_fail("%s", *end->text ? end->text : errno_text(end->r));
	return 0;
}

int ctl_ask(const struct ctl *ctl, const struct admin_request *req, ctl_each_fn *each, void *ctx,
	    struct admin_reply *ret_end)
{
	struct admin_reply end;
	int r = ask(ctl, req, -1, each, ctx, &end);

	if (r == 0)
		r = judge(&end);
	if (r == 0)
		*ret_end = end;
	return r;
}

int ctl_ask_quiet(const struct ctl *ctl, const struct admin_request *req,
		  struct admin_reply *ret_end)
{
	return ask(ctl, req, -1, NULL, NULL, ret_end);
}

int ctl_ask_fd(const struct ctl *ctl, const struct admin_request *req, int fd,
	       struct admin_reply *ret_end)
{
	struct admin_reply end;
	int r = ask(ctl, req, fd, NULL, NULL, &end);

	if (r == 0)
		r = judge(&end);
	if (r == 0)
		*ret_end = end;
	return r;
}

int ctl_print_json(json_t *j)
{
	int r;

	if (!j)
		return ctl_fail("out of memory");
	r = json_dumpf(j, stdout, JSON_INDENT(2) | JSON_SORT_KEYS);
	fputc('\n', stdout);
	json_decref(j);
	return r == 0 && fflush(stdout) == 0 ? 0 : ctl_fail("cannot write: %s", errno_text(errno));
}

void ctl_key_id_hash(const char *key_id, char ret[static 72])
{
	unsigned char h[crypto_hash_sha256_BYTES];
	char hex[2 * sizeof(h) + 1];

	crypto_hash_sha256(h, (const unsigned char *)key_id, strlen(key_id));
	sodium_bin2hex(hex, sizeof(hex), h, sizeof(h));
	snprintf(ret, 72, "sha256:%s", hex);
}

static int find_socket(const struct ctl *ctl, bool transform, char *ret, size_t size)
{
	struct admin_request req = { .version = ADMIN_VERSION, .verb = ADMIN_STATUS };
	struct admin_reply end;
	const char *path = ctl->socket;

	if (!path) {
		if (ctl_ask(ctl, &req, NULL, NULL, &end) != 0)
			return 1;
		path = transform ? end.status.transform : end.status.socket;
		if (transform && !*path)
			return ctl_fail(
				"kekd.yaml has no \"transform:\", so there is no such service");
	}
	if ((size_t)snprintf(ret, size, "%s", path) >= size)
		return ctl_fail("%s: path too long", path);
	return 0;
}

int ctl_kms_socket(const struct ctl *ctl, char *ret, size_t size)
{
	return find_socket(ctl, false, ret, size);
}

int ctl_transform_socket(const struct ctl *ctl, char *ret, size_t size)
{
	return find_socket(ctl, true, ret, size);
}
