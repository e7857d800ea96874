/* SPDX-License-Identifier: Apache-2.0 */
/* What kekctl's commands share: asking the keeper, saying what went wrong, JSON. */
#include "daemon/ctl/ctl.h"

#include <errno.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "daemon/base/log.h"

/* With --json errors are collected here, and are one object at the end. */
static struct {
	bool json;
	const char *code; /* of the first one that says more than "failed" */
	char text[4096];
} errors;

static _printf_(2, 0) void say(const char *code, const char *fmt, va_list ap)
{
	size_t n = strlen(errors.text);

	if (!errors.json) {
		fputs("kekctl: ", stderr);
		vfprintf(stderr, fmt, ap);
		fputc('\n', stderr);
		return;
	}
	if (!errors.code || strcmp(errors.code, CTL_FAILED) == 0)
		errors.code = code;
	if (n > 0 && n < sizeof(errors.text) - 1)
		errors.text[n++] = '\n';
	vsnprintf(errors.text + n, sizeof(errors.text) - n, fmt, ap);
}

void ctl_errors_json(void)
{
	errors.json = true;
}

int ctl_errors_end(const char *command, int status)
{
	json_t *j;

	if (!errors.code)
		return status;
	/* A text that was cut may end within a character, which is no JSON. */
	j = json_pack("{s:{s:s, s:s, s:s, s:i}}", "error", "code", errors.code, "message",
		      errors.text, "command", command, "status", status);
	if (!j)
		j = json_pack("{s:{s:s, s:s, s:s, s:i}}", "error", "code", errors.code, "message",
			      "what was wrong cannot be shown: it is not UTF-8", "command", "",
			      "status", status);
	if (!j || json_dumpf(j, stderr, JSON_SORT_KEYS) < 0)
		fputs("{\"error\":{\"code\":\"failed\",\"message\":\"out of memory\"}}", stderr);
	fputc('\n', stderr);
	json_decref(j);
	return status;
}

int ctl_fail_as(const char *code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(code, fmt, ap);
	va_end(ap);
	return 1;
}

int ctl_fail(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(CTL_FAILED, fmt, ap);
	va_end(ap);
	return 1;
}

int ctl_usage(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say("usage", fmt, ap);
	va_end(ap);
	if (!errors.json)
		fputs("See kekctl --help.\n", stderr);
	return 2;
}

int ctl_refused(const struct admin_reply *end)
{
	return ctl_fail_as("refused", "%s", *end->text ? end->text : errno_text(end->r));
}

static const char *admin_code(int r)
{
	switch (r) {
	case -ENOENT:
	case -ECONNREFUSED:
		return "no-daemon";
	case -EACCES:
	case -EPERM:
		return "not-permitted";
	case -ETIMEDOUT:
	case -ENODATA:
	case -ECONNRESET:
	case -EPIPE:
		return "no-answer";
	case -EPROTOTYPE:
	case -EPROTO:
		return "other-version";
	default:
		return CTL_FAILED;
	}
}

void ctl_admin_words(const struct ctl *ctl, int r, char *ret, size_t size)
{
	const char *at = ctl->admin;

	switch (r) {
	case -ENOENT:
	case -ECONNREFUSED:
		snprintf(
			ret, size,
			"%s: no daemon there (%s); is kekd running (systemctl status kekd), and is "
			"--admin its admin.socket?",
			at, r == -ENOENT ? "no such file" : "nobody listens");
		break;
	case -EACCES:
	case -EPERM:
		snprintf(ret, size, "%s: not permitted; be root or in the group of admin.gid", at);
		break;
	case -ENAMETOOLONG:
		snprintf(ret, size,
			 "%s: longer than a socket's path can be, 107 bytes; change into its "
			 "directory and give a relative path",
			 at);
		break;
	case -ETIMEDOUT:
		snprintf(ret, size,
			 "no answer from the keeper on %s within %u s; see what holds it up with "
			 "`systemctl status kekd` and `journalctl -u kekd`, or wait longer with "
			 "--timeout SECONDS",
			 at, ctl->timeout_s);
		break;
	case -EPROTOTYPE:
	case -EPROTO:
		snprintf(ret, size,
			 "%s: not the admin socket of a kekd of this version, " KEKD_VERSION "; is "
			 "--admin its admin.socket? After an upgrade: systemctl restart kekd",
			 at);
		break;
	case -ENODATA:
	case -ECONNRESET:
	case -EPIPE:
		snprintf(ret, size,
			 "%s: the daemon closed the connection; be root or in the group of "
			 "admin.gid, and see `journalctl -u kekd`",
			 at);
		break;
	default:
		snprintf(ret, size, "%s: %s", at, strerror(-r));
	}
}

/* Take @m of an answer in. Its length is that of its type (admin_recv()). */
static int ctl_take(const struct ctl_exchange *x, const struct admin_message *m,
		    struct admin_reply *reply)
{
	const struct board_key *key;

	switch (m->head.type) {
	case ADMIN_KEY:
		key = (const struct board_key *)(const void *)m->data;
		if (key_info_check(&key->info) < 0)
			return -EPROTO;
		if (x->each)
			x->each(x->ctx, key);
		return 0;
	case ADMIN_STATUS_REPLY:
		memcpy(&reply->status, m->data, sizeof(reply->status));
		return 0;
	case ADMIN_METRICS_REPLY:
		memcpy(&reply->metrics, m->data, sizeof(reply->metrics));
		return 0;
	case ADMIN_MEMBER:
		if (x->member)
			x->member(x->ctx, (const struct admin_member *)(const void *)m->data);
		return 0;
	case ADMIN_CLUSTER:
		if (x->cluster)
			x->cluster(x->ctx, (const struct admin_cluster *)(const void *)m->data);
		return 0;
	case ADMIN_MEMBER_KEY:
		if (x->member_key)
			x->member_key(x->ctx,
				      (const struct admin_member_key *)(const void *)m->data);
		return 0;
	case ADMIN_MARK:
		if (x->ret_mark)
			memcpy(x->ret_mark, m->data, sizeof(*x->ret_mark));
		return 0;
	case ADMIN_END:
		reply->r = m->head.word;
		snprintf(reply->text, sizeof(reply->text), "%s", m->data);
		return 0;
	default:
		return -EPROTO;
	}
}

/* All of the answer up to its END. @text: what ADMIN_TEXT has brought. */
static int hear(int fd, uint64_t timeout_ns, const struct ctl_exchange *x,
		struct admin_reply *reply, struct admin_message *text)
{
	uint32_t type = 0;
	int r = 0;

	while (r == 0 && type != ADMIN_END) {
		_cleanup_(admin_message_clear) struct admin_message m = { 0 };

		r = admin_recv(fd, timeout_ns, &m);
		if (r < 0)
			break;
		type = m.head.type;
		if (type == ADMIN_TEXT) {
			admin_message_clear(text);
			*text = m;
			m.data = NULL;
		} else {
			r = ctl_take(x, &m, reply);
		}
	}
	return r;
}

int ctl_try(const struct ctl *ctl, const struct ctl_exchange *x, struct admin_reply *ret_end)
{
	_cleanup_(admin_message_clear) struct admin_message text = { 0 };
	uint64_t timeout_ns = ctl->timeout_s * UINT64_C(1000000000);
	struct admin_reply reply = { 0 };
	_cleanup_close_ int fd = -1;
	int r;

	r = admin_connect(ctl->admin, timeout_ns, &fd);
	if (r == 0)
		r = admin_send(fd, timeout_ns, x->req, x->blob);
	/* Why it listens no more may have been said. */
	if (r == 0 || r == -EPIPE)
		r = hear(fd, timeout_ns, x, &reply, &text);
	if (r < 0)
		return r;
	if (x->ret_text) {
		*x->ret_text = text.data;
		*x->ret_len = text.head.length;
		text.data = NULL;
	}
	*ret_end = reply;
	return 0;
}

int ctl_exchange(const struct ctl *ctl, const struct ctl_exchange *x, struct admin_reply *ret_end)
{
	char words[512];
	int r = ctl_try(ctl, x, ret_end);

	if (r == 0)
		return 0;
	ctl_admin_words(ctl, r, words, sizeof(words));
	return ctl_fail_as(admin_code(r), "%s", words);
}

#define AGAIN_NS 500000000L

int ctl_change(const struct ctl *ctl, const struct ctl_exchange *x, ctl_again_fn *again,
	       struct admin_reply *ret_end)
{
	const struct timespec pause = { .tv_nsec = AGAIN_NS };
	char said[sizeof(ret_end->text)] = "";

	for (;;) {
		if (ctl_exchange(ctl, x, ret_end) != 0)
			return 1;
		if (ret_end->r != -EINPROGRESS)
			return 0;
		if (strcmp(said, ret_end->text) != 0)
			fprintf(stderr, "kekctl: waiting: %s\n", ret_end->text);
		memcpy(said, ret_end->text, sizeof(said));
		if (again)
			again(x->ctx);
		nanosleep(&pause, NULL);
	}
}

int ctl_ask_with(const struct ctl *ctl, const struct ctl_exchange *x, struct admin_reply *ret_end)
{
	struct admin_reply end;

	if (ctl_exchange(ctl, x, &end) != 0)
		return 1;
	if (end.r < 0) {
		if (x->ret_text)
			free(move_ptr(*x->ret_text));
		return ctl_refused(&end);
	}
	*ret_end = end;
	return 0;
}

int ctl_ask(const struct ctl *ctl, const struct admin_request *req, ctl_each_fn *each, void *ctx,
	    struct admin_reply *ret_end)
{
	const struct ctl_exchange x = { .req = req, .each = each, .ctx = ctx };

	return ctl_ask_with(ctl, &x, ret_end);
}

int ctl_ask_quiet(const struct ctl *ctl, const struct admin_request *req,
		  struct admin_reply *ret_end)
{
	const struct ctl_exchange x = { .req = req };

	return ctl_exchange(ctl, &x, ret_end);
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

static int find_socket(const struct ctl *ctl, bool transform, char *ret, size_t size,
		       unsigned int *ret_servers)
{
	struct admin_request req = { .version = ADMIN_VERSION, .verb = ADMIN_STATUS };
	struct admin_reply end;
	const char *path = ctl->socket;
	unsigned int servers = 1;

	if (!path) {
		if (ctl_ask(ctl, &req, NULL, NULL, &end) != 0)
			return 1;
		if (end.status.workers_serving > 0)
			servers = end.status.workers_serving;
		path = transform ? end.status.transform : end.status.socket;
		if (transform && !*path)
			return ctl_fail(
				"kekd.yaml has no \"transform:\", so there is no such service");
	}
	if ((size_t)snprintf(ret, size, "%s", path) >= size)
		return ctl_fail("%s: path too long", path);
	if (ret_servers)
		*ret_servers = servers;
	return 0;
}

int ctl_kms_socket(const struct ctl *ctl, char *ret, size_t size)
{
	return find_socket(ctl, false, ret, size, NULL);
}

int ctl_transform_socket(const struct ctl *ctl, char *ret, size_t size, unsigned int *ret_servers)
{
	return find_socket(ctl, true, ret, size, ret_servers);
}
