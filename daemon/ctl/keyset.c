/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kekctl keyset …: the keyset of several machines, by hand. Its texts go through pipes, so that ssh or
 * anything else may carry them:
 *
 *   kekctl keyset export | ssh b kekctl keyset apply | kekctl keyset ack
 *
 * brings this node's keyset to b and b's acknowledgement back. All rules are the keeper's.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "daemon/base/io.h"
#include "daemon/base/log.h"
#include "daemon/ctl/ctl.h"

#define BLOB_MAX (ADMIN_BODY_MAX - sizeof(struct admin_request))

int ctl_read_text(int fd, const char *what, char **ret, size_t *ret_len)
{
	_cleanup_free_ char *text = malloc(BLOB_MAX + 1);
	size_t len = 0;
	int r;

	if (!text)
		return ctl_fail("out of memory");
	r = io_read_all(fd, text, BLOB_MAX + 1, &len);
	if (r < 0)
		return ctl_fail("%s cannot be read: %s", what, strerror(-r));
	if (len > BLOB_MAX)
		return ctl_fail("%s is longer than a keyset with acknowledgements can be", what);
	*ret = move_ptr(text);
	*ret_len = len;
	return 0;
}

/* Ask with @in behind the request; what comes back as text goes to standard output, words to standard error. */
static int keyset_ask(const struct ctl *ctl, struct admin_request *req, struct span in, bool prints)
{
	_cleanup_free_ char *out = NULL;
	struct admin_reply end;
	size_t len = 0;
	struct ctl_exchange x = { .req = req, .blob = in };
	int r;

	if (prints) {
		x.ret_text = &out;
		x.ret_len = &len;
	}
	req->version = ADMIN_VERSION;
	req->flags |= ctl->dry_run ? ADMIN_DRY_RUN : 0U;
	r = ctl_change(ctl, &x, NULL, &end);
	if (r != 0)
		return r;
	if (end.r < 0)
		return ctl_refused(&end);
	if (out && (fwrite(out, 1, len, stdout) != len || fflush(stdout) != 0))
		return ctl_fail("cannot write: %s", strerror(errno));
	if (*end.text)
		fprintf(stderr, "kekctl: %s\n", end.text);
	return 0;
}

/* With standard input behind the request. */
static int ask_input(const struct ctl *ctl, struct admin_request *req, bool prints)
{
	_cleanup_free_ char *text = NULL;
	size_t len = 0;
	int r;

	if (isatty(STDIN_FILENO))
		return ctl_usage(
			"this command reads what `kekctl keyset` of another node has printed "
			"from standard input");
	r = ctl_read_text(STDIN_FILENO, "standard input", &text, &len);
	if (r == 0 && len == 0) /* a pipe succeeds if its last command does */
		r = ctl_fail("nothing came on standard input: the command before this one in the "
			     "pipe has failed; see what it says, and nothing was done here");
	return r == 0 ? keyset_ask(ctl, req, span_of(text, len), prints) : r;
}

int ctl_keyset_export(const struct ctl *ctl, int argc, char **argv _unused_)
{
	struct admin_request req = { .verb = ADMIN_KEYSET_EXPORT };

	if (argc != 0)
		return ctl_usage("keyset export takes no argument");
	return keyset_ask(ctl, &req, SPAN_NULL, true);
}

int ctl_keyset_apply(const struct ctl *ctl, int argc, char **argv _unused_)
{
	struct admin_request req = { .verb = ADMIN_KEYSET_APPLY };

	if (argc != 0)
		return ctl_usage("keyset apply reads standard input");
	return ask_input(ctl, &req, true);
}

int ctl_keyset_ack(const struct ctl *ctl, int argc, char **argv _unused_)
{
	struct admin_request req = { .verb = ADMIN_KEYSET_ACK };

	if (argc != 0)
		return ctl_usage("keyset ack reads standard input");
	req.flags = ctl->join ? ADMIN_JOIN : 0;
	return ask_input(ctl, &req, false);
}

int ctl_keyset_take(const struct ctl *ctl, int argc, char **argv _unused_)
{
	struct admin_request req = { .verb = ADMIN_KEYSET_TAKE };

	if (argc != 0)
		return ctl_usage("keyset take takes no argument");
	return keyset_ask(ctl, &req, SPAN_NULL, false);
}

int ctl_keyset_merge(const struct ctl *ctl, int argc, char **argv _unused_)
{
	struct admin_request req = { .verb = ADMIN_KEYSET_MERGE };

	if (argc != 0)
		return ctl_usage("keyset merge reads standard input");
	return ask_input(ctl, &req, false);
}

int ctl_keyset_remove(const struct ctl *ctl, int argc, char **argv)
{
	struct admin_request req = { .verb = ADMIN_KEYSET_REMOVE };

	if (argc != 1 || strlen(argv[0]) >= sizeof(req.name))
		return ctl_usage("keyset remove takes the names of members, separated by commas");
	memcpy(req.name, argv[0], strlen(argv[0]) + 1);
	req.flags = ctl->dead ? ADMIN_DEAD : 0;
	return keyset_ask(ctl, &req, SPAN_NULL, false);
}

static void print_member(void *ctx, const struct admin_member *m)
{
	json_t *list = ctx;

	if (list) {
		time_t t = (time_t)m->heard;
		char heard[24];
		struct tm tm;

		if (m->heard == 0 || !gmtime_r(&t, &tm) ||
		    strftime(heard, sizeof(heard), "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
			strcpy(heard, "never");
		json_array_append_new(
			list,
			json_pack("{s:s, s:s, s:s, s:b, s:b, s:b, s:I, s:s}", "name", m->name, "id",
				  m->id, "state", m->state, "self", (int)m->self, "makesChanges",
				  (int)m->maker, "answered", (int)m->answered, "generation",
				  (json_int_t)m->generation, "heard", m->self ? "" : heard));
		return;
	}
	printf("%-20s %-8s generation %-6llu %s%s%s\n", m->name, m->state,
	       (unsigned long long)m->generation,
	       m->self       ? "this node"
	       : m->answered ? "has acknowledged this keyset"
			     : "has not acknowledged this keyset",
	       m->maker ? ", makes changes" : "", m->self || m->heard ? "" : ", never heard");
}

int ctl_keyset_show(const struct ctl *ctl, int argc, char **argv _unused_)
{
	struct admin_request req = { .version = ADMIN_VERSION, .verb = ADMIN_KEYSET_SHOW };
	json_t *list = ctl->json ? json_array() : NULL;
	const struct ctl_exchange x = { .req = &req, .member = print_member, .ctx = list };
	struct admin_reply end;
	int r;

	if (argc != 0)
		return ctl_usage("keyset show takes no argument");
	r = ctl_ask_with(ctl, &x, &end);
	if (list && r == 0)
		return ctl_print_json(list);
	json_decref(list);
	return r;
}
