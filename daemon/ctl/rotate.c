/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kekctl root next, kekctl root rotate: another root key in the place of the one that there is.
 *
 *   root next      gives this node the root key that is to come, beside its own
 *   root rotate    seals every key under both; asked once more, ends it, so that the old one opens nothing
 *   … --abort      until then: the new one opens nothing
 *
 * With --tpm FILE the new one comes to the daemon as the TPM has sealed it, and never as bytes; to seal the keys anew its bytes
 * are needed here all the same.
 *
 * Where it stands the daemon knows, so the same command goes on after any interruption. Bytes come as elsewhere: from
 * pipes, or as shares, into locked memory.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/base/log.h"
#include "daemon/base/secmem.h"
#include "daemon/ctl/ceremony.h"
#include "daemon/ctl/ctl.h"
#include "daemon/ctl/tpmfile.h"
#include "daemon/keys/rewrap.h"
#include "daemon/keys/rootbytes.h"
#include "daemon/keys/secret.h"

static int pipe_take(int fd, const char *what, struct secret *ret)
{
	int r = secret_read(fd, -1, -1, ret);

	switch (r) {
	case 0:
		return 0;
	case -EPERM:
		return ctl_fail("%s comes from a pipe, or from a terminal as shares", what);
	case -ENODATA:
		return ctl_fail("%s: nothing came: the command before this one has failed", what);
	case -EINVAL:
	case -EMSGSIZE:
		return ctl_fail("%s: a root key has %d to %d bytes", what, SECRET_MIN, SECRET_MAX);
	default:
		return ctl_fail("%s: %s", what, errno_text(r));
	}
}

static int shares_take(const char *what, struct secret *ret)
{
	_cleanup_(ceremony_freep) struct ceremony *c = ceremony_new();
	int r;

	if (!c)
		return 1;
	fprintf(stderr, "kekctl: shares of %s:\n", what);
	if (ceremony_take(c) != 0)
		return 1;
	r = secret_copy(span_of(c->secret, sizeof(c->secret)), ret);
	return r < 0 ? ctl_fail("cannot lock memory for the root key: %s", errno_text(r)) : 0;
}

static int both_take(const struct ctl *ctl, struct secret *old, struct secret *next)
{
	int old_fd, next_fd, r;
	char end;

	if (!ctl->root_fds) {
		r = shares_take("the root key that there is", old);
		return r == 0 ? shares_take("the root key that is to come", next) : r;
	}
	if (sscanf(ctl->root_fds, "%d,%d%c", &old_fd, &next_fd, &end) != 2 || old_fd < 0 ||
	    next_fd < 0 || old_fd == next_fd)
		return ctl_usage("--root-fds takes two descriptors, OLD,NEW, as in 3,4");
	r = pipe_take(old_fd, "the root key that there is", old);
	return r == 0 ? pipe_take(next_fd, "the root key that is to come", next) : r;
}

/* What is sealed in --tpm's file; otherwise @secret. */
static int next_give(const struct ctl *ctl, struct span secret)
{
	struct admin_request req = { .version = ADMIN_VERSION,
				     .verb = ADMIN_ROOT_NEXT,
				     .flags = ctl->tpm ? ADMIN_SEALED : 0 };
	uint8_t sealed[TPM_SEALED_MAX];
	struct admin_reply end;
	size_t len = 0;

	if (ctl->tpm) {
		if (tpmfile_read(ctl->tpm, sealed, &len) != 0)
			return 1;
		secret = span_of(sealed, len);
	}

	if (ctl_exchange(ctl, &(struct ctl_exchange){ .req = &req, .blob = secret }, &end) != 0)
		return 1;
	if (end.r < 0 && end.r != -EALREADY)
		return ctl_refused(&end);
	return 0;
}

static int status_get(const struct ctl *ctl, struct admin_status *ret)
{
	struct admin_request req = { .version = ADMIN_VERSION, .verb = ADMIN_STATUS };
	struct admin_reply end;
	int r = ctl_ask(ctl, &req, NULL, NULL, &end);

	if (r == 0)
		*ret = end.status;
	return r;
}

int ctl_root_next(const struct ctl *ctl, int argc, char **argv _unused_)
{
	_cleanup_secret_ struct secret next = { 0 };
	struct admin_status s;
	int r = 0;

	if (argc != 0)
		return ctl_usage(
			"root next takes no argument: the root key comes from a pipe, or as shares "
			"from a terminal");
	if (!ctl->tpm)
		r = isatty(STDIN_FILENO) ? shares_take("the root key that is to come", &next)
					 : pipe_take(STDIN_FILENO, "the root key", &next);
	if (r == 0)
		r = next_give(ctl, secret_span(&next));
	if (r == 0)
		r = status_get(ctl, &s);
	if (r == 0)
		printf("root keys %s and %s are here\n", s.root_id,
		       *s.root_second ? s.root_second : "no other");
	return r;
}

/* The keyset as it is. 0 or 1 (said). */
static int keyset_open(const struct ctl *ctl, struct span old, struct keydoc **ret)
{
	struct admin_request req = { .version = ADMIN_VERSION,
				     .verb = ADMIN_KEYSET_EXPORT,
				     .flags = ADMIN_BARE };
	_cleanup_(root_bytes_freep) struct root_bytes *bytes = NULL;
	char hex[2][2 * KEY_ROOT_ID + 1];
	_cleanup_free_ char *text = NULL;
	uint8_t other[KEY_ROOT_ID];
	struct keydoc_root root;
	struct admin_reply end;
	size_t len = 0;
	int r;

	if (ctl_ask_with(ctl,
			 &(struct ctl_exchange){ .req = &req, .ret_text = &text, .ret_len = &len },
			 &end) != 0)
		return 1;
	r = root_bytes_new(old, &bytes);
	if (r < 0)
		return ctl_fail("root key: %s", errno_text(r));
	root_bytes_root(bytes, &root);
	r = keydoc_parse(span_of(text, len), &root, ret, other);
	if (r == -EKEYREJECTED) {
		key_hex(root.id, KEY_ROOT_ID, hex[0]);
		key_hex(other, KEY_ROOT_ID, hex[1]);
		return ctl_fail(
			"the root key that was given as the present one is %s, and the keyset is "
			"sealed under %s. Nothing was changed",
			hex[0], hex[1]);
	}
	if (r < 0)
		return ctl_fail("the keyset cannot be read: %s", errno_text(r));
	return 0;
}

/* Each key sealed anew, as the daemon takes it; caller frees. 0 or 1 (said). */
static int seal_anew(const struct ctl *ctl, const struct keydoc *doc, struct span old,
		     struct span next, struct text_buf *b)
{
	_cleanup_(rewrap_freep) struct rewrap *w = NULL;
	char blob[KEY_BLOB_MAX];
	int r = rewrap_new(old, next, ctl->tpm, doc, &w);

	if (r < 0)
		return ctl_fail("the two root keys cannot be loaded here: %s", errno_text(r));
	for (size_t i = 0; i < doc->n_keys; i++) {
		r = rewrap_key(w, &doc->keys[i], blob);
		if (r < 0)
			return ctl_fail(
				"key %s cannot be sealed anew: %s. If `kekctl key verify` says that "
				"it is damaged, `kekctl restore FILE` mends it. Nothing was changed",
				doc->keys[i].info.label, errno_text(r));
		text_append_hex(b, "key", doc->keys[i].info.id, KEKD_KEY_ID);
		text_append(b, "blob %s\n", blob);
	}
	return b->r < 0 ? ctl_fail("the keyset is too large") : 0;
}

static int rotate_ask(const struct ctl *ctl, unsigned int flags, struct span blobs,
		      const char *done)
{
	struct admin_request req = { .version = ADMIN_VERSION,
				     .verb = ADMIN_ROOT_ROTATE,
				     .flags = flags };
	struct admin_reply end;

	if (ctl_change(ctl, &(struct ctl_exchange){ .req = &req, .blob = blobs }, NULL, &end) != 0)
		return 1;
	if (end.r < 0 && end.r != -EALREADY)
		return ctl_refused(&end);
	puts(end.r < 0 ? end.text : done);
	if (end.r == 0 && *end.text)
		puts(end.text);
	return 0;
}

static int rotate_begin(const struct ctl *ctl)
{
	_cleanup_secret_ struct secret old = { 0 };
	_cleanup_secret_ struct secret next = { 0 };
	_cleanup_(keydoc_freep) struct keydoc *doc = NULL;
	_cleanup_free_ char *text = malloc(KEYDOC_TEXT_MAX);
	struct text_buf b = { .data = text, .size = KEYDOC_TEXT_MAX };
	int r;

	if (!text)
		return ctl_fail("out of memory");
	r = both_take(ctl, &old, &next);
	if (r == 0 && old.len == next.len && ct_equal(old.data, next.data, old.len))
		r = ctl_fail("both are the same root key: make another with `kekctl root create`");
	if (r == 0)
		r = keyset_open(ctl, secret_span(&old), &doc);
	if (r == 0)
		r = next_give(ctl, secret_span(&next));
	if (r == 0 && doc->n_keys == 0)
		r = ctl_fail(
			"this keyset has no key yet: give kekd the other root key from the start");
	if (r == 0)
		r = seal_anew(ctl, doc, secret_span(&old), secret_span(&next), &b);
	if (r != 0)
		return r;
	return rotate_ask(
		ctl, 0, span_of(b.data, b.len),
		"every key is sealed under both root keys. Let `rootKey` of every node give the new one "
		"(a restart of kekd shows it), make a backup, then run `kekctl root rotate` again: the "
		"old one opens nothing after that");
}

int ctl_root_rotate(const struct ctl *ctl, int argc, char **argv _unused_)
{
	struct admin_status s;
	int r;

	if (argc != 0)
		return ctl_usage("root rotate takes no argument; see kekctl(1)");
	signal(SIGPIPE, SIG_IGN);
	r = status_get(ctl, &s);
	if (r != 0)
		return r;
	if (ctl->abort)
		return rotate_ask(ctl, ADMIN_DISCARD, SPAN_NULL,
				  "given up: the keyset is sealed under the root key that it had");
	if (!*s.root_coming)
		return rotate_begin(ctl);
	return rotate_ask(
		ctl, 0, SPAN_NULL,
		"the root key was rotated: the old one opens nothing here. What is older opens "
		"with it: backups, and what etcd has not compacted. Destroy its shares when those "
		"are gone");
}
