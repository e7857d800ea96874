/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kekctl root …: the ceremony of a root key.
 *
 *   create   32 new bytes: shares for people, and the bytes for the command that seals them on this node
 *   restore  shares, put together, for a command of another node
 *   verify   do these shares give back the root key of this keyset, or of a backup?
 *   seal     the bytes from another command, for one more, and for shares where none were made
 *
 * The bytes are in locked memory, and go to the command by a pipe. The command has kekctl's environment, in which there is
 * nothing of them, and standard output to itself. With --tpm there is no command: this machine's TPM seals them (tpmfile.h). What is said of a root key is its fingerprint, by which the daemon's log
 * knows it.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/base/io.h"
#include "daemon/base/log.h"
#include "daemon/base/random.h"
#include "daemon/ctl/ceremony.h"
#include "daemon/ctl/ctl.h"
#include "daemon/ctl/tpmfile.h"
#include "daemon/keys/escrow.h"
#include "daemon/keys/keyack.h"
#include "daemon/keys/rootbytes.h"
#include "daemon/keys/secret.h"

#define HEX_ID (2 * KEY_ROOT_ID + 1)

static void id_text(const struct root_bytes *bytes, char ret[static HEX_ID])
{
	struct keydoc_root root;

	root_bytes_root(bytes, &root);
	key_hex(root.id, KEY_ROOT_ID, ret);
}

/* The command may end before it has read anything: how it ended says more than EPIPE. */
static int seal_run(struct span secret, char *const *argv, int *ret_status)
{
	_cleanup_close_ int in = -1, out = -1;
	int fds[2], r;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	in = fds[0];
	out = fds[1];
	fflush(NULL);
	pid = fork();
	if (pid < 0)
		return -errno;
	if (pid == 0) {
		signal(SIGPIPE, SIG_DFL);
		if (dup2(in, STDIN_FILENO) < 0)
			_exit(126);
		execvp(argv[0], argv);
		fprintf(stderr, "kekctl: %s: %s\n", argv[0], strerror(errno));
		_exit(127);
	}
	closep(&in);
	in = -1;
	r = io_write_all(out, secret.data, secret.len);
	closep(&out);
	out = -1;
	if (io_retry(waitpid(pid, ret_status, 0)) < 0)
		return -errno;
	return *ret_status == 0 ? r : 0;
}

static int seal_by_command(struct span secret, char *const *argv)
{
	int status = 0, r = seal_run(secret, argv, &status);

	if (r < 0)
		return ctl_fail("%s: %s", argv[0],
				r == -EPIPE ? "it did not read the root key" : errno_text(r));
	if (WIFSIGNALED(status))
		return ctl_fail("%s: killed by signal %d", argv[0], WTERMSIG(status));
	if (WEXITSTATUS(status) != 0)
		return ctl_fail("%s: exit status %d", argv[0], WEXITSTATUS(status));
	fprintf(stderr, "sealed by %s\n", argv[0]);
	return 0;
}

/* Where the seal may go: create makes no file anew that may be the seal of a root key in use. */
static int tpm_file_check(const struct ctl *ctl, int argc, bool is_new)
{
	if (!ctl->tpm)
		return 0;
	if (argc > 0)
		return ctl_usage("either --tpm or a command seals the root key");
	if (is_new && access(ctl->tpm, F_OK) == 0)
		return ctl_fail(
			"%s: is there already, and may be the seal of a root key in use: give another "
			"name. Nothing was made",
			ctl->tpm);
	return 0;
}

/* By --tpm or by the command, if one of them is there. 0 or 1 (said). */
static int seal(const struct ctl *ctl, struct span secret, char *const *argv)
{
	if (ctl->tpm)
		return tpmfile_make(ctl->tpm, secret);
	return *argv ? seal_by_command(secret, argv) : 0;
}

/* 0 or 1 (said); the caller frees. */
static int bytes_of(struct span secret, struct root_bytes **ret)
{
	int r = root_bytes_new(secret, ret);

	return r < 0 ? ctl_fail("root key: %s", errno_text(r)) : 0;
}

static void say_id(const struct root_bytes *bytes)
{
	char id[HEX_ID];

	id_text(bytes, id);
	fprintf(stderr, "root key %s\n", id);
}

/* Shares of c->secret, and what it is called. 0 or not (said). */
static int give_shares(struct ceremony *c, const struct ceremony_plan *plan)
{
	_cleanup_(root_bytes_freep) struct root_bytes *bytes = NULL;
	char id[HEX_ID];
	int r = bytes_of(span_of(c->secret, sizeof(c->secret)), &bytes);

	if (r != 0)
		return r;
	id_text(bytes, id);
	r = ceremony_give(c, plan, id);
	if (r != 0)
		return r;
	say_id(bytes);
	fprintf(stderr, "%u share%s of set %u, any %u of which give it back\n", plan->n,
		plan->n == 1 ? "" : "s", c->shares[0].set, plan->threshold);
	return 0;
}

int ctl_root_create(const struct ctl *ctl, int argc, char **argv)
{
	_cleanup_(ceremony_freep) struct ceremony *c = NULL;
	struct ceremony_plan plan;
	int r = tpm_file_check(ctl, argc, true);

	if (r == 0)
		r = ceremony_plan(ctl, &plan);
	if (r != 0)
		return r;
	signal(SIGPIPE, SIG_IGN);
	c = ceremony_new();
	if (!c)
		return 1;
	r = random_bytes(c->secret, sizeof(c->secret));
	if (r < 0)
		return ctl_fail("the kernel gives no random numbers: %s", errno_text(r));
	r = give_shares(c, &plan);
	if (r != 0)
		return r;
	if (argc == 0 && !ctl->tpm) {
		fputs("sealed nowhere yet: `kekctl root restore -- COMMAND` does that on each node\n",
		      stderr);
		return 0;
	}
	r = seal(ctl, span_of(c->secret, sizeof(c->secret)), argv);
	return r == 0 ? 0
		      : ctl_fail("the shares are good all the same: `kekctl root restore %s` "
				 "seals what they give back",
				 ctl->tpm ? "--tpm FILE" : "-- COMMAND");
}

int ctl_root_restore(const struct ctl *ctl, int argc, char **argv)
{
	_cleanup_(ceremony_freep) struct ceremony *c = NULL;
	_cleanup_(root_bytes_freep) struct root_bytes *bytes = NULL;
	int r;

	if (argc == 0 && !ctl->tpm)
		return ctl_usage(
			"root restore takes the command that seals the root key, behind --, or --tpm FILE");
	r = tpm_file_check(ctl, argc, false);
	if (r != 0)
		return r;
	signal(SIGPIPE, SIG_IGN);
	c = ceremony_new();
	if (!c)
		return 1;
	r = ceremony_take(c);
	if (r == 0)
		r = bytes_of(span_of(c->secret, sizeof(c->secret)), &bytes);
	if (r != 0)
		return r;
	say_id(bytes);
	return seal(ctl, span_of(c->secret, sizeof(c->secret)), argv);
}

static int seal_words(int r)
{
	switch (r) {
	case -EPERM:
		return ctl_fail(
			"root seal takes the root key's bytes from a pipe: what opens the present "
			"seal goes before it. From shares: `kekctl root restore`");
	case -ENODATA:
		return ctl_fail(
			"nothing came on standard input: the command before this one has failed");
	case -EINVAL:
	case -EMSGSIZE:
		return ctl_fail("a root key has %d to %d bytes", SECRET_MIN, SECRET_MAX);
	default:
		return ctl_fail("cannot take the root key: %s", errno_text(r));
	}
}

int ctl_root_seal(const struct ctl *ctl, int argc, char **argv)
{
	bool wants_shares = ctl->shares || ctl->threshold || ctl->share_fds;
	_cleanup_(ceremony_freep) struct ceremony *c = NULL;
	_cleanup_(root_bytes_freep) struct root_bytes *bytes = NULL;
	_cleanup_secret_ struct secret secret = { 0 };
	struct ceremony_plan plan;
	int r;

	if (argc == 0 && !wants_shares && !ctl->tpm)
		return ctl_usage(
			"root seal takes the command that seals the root key, behind --, or --tpm FILE");
	r = tpm_file_check(ctl, argc, false);
	if (r == 0 && wants_shares)
		r = ceremony_plan(ctl, &plan);
	if (r != 0)
		return r;
	signal(SIGPIPE, SIG_IGN);
	r = secret_read(STDIN_FILENO, -1, -1, &secret);
	if (r < 0)
		return seal_words(r);
	if (wants_shares) {
		if (secret.len != SLIP39_SECRET)
			return ctl_fail(
				"this root key has %zu bytes, and shares are of %d: nothing was "
				"done",
				secret.len, SLIP39_SECRET);
		c = ceremony_new();
		if (!c)
			return 1;
		memcpy(c->secret, secret.data, SLIP39_SECRET);
		r = give_shares(c, &plan);
	} else {
		r = bytes_of(secret_span(&secret), &bytes);
		if (r == 0)
			say_id(bytes);
	}
	return r == 0 ? seal(ctl, secret_span(&secret), argv) : r;
}

/* The keyset of the daemon, or a backup. 0 or 1 (said); the caller frees. */
static int text_get(const struct ctl *ctl, const char *file, char **ret, size_t *ret_len)
{
	struct admin_request req = { .version = ADMIN_VERSION,
				     .verb = ADMIN_KEYSET_EXPORT,
				     .flags = ADMIN_BARE };
	const struct ctl_exchange x = { .req = &req, .ret_text = ret, .ret_len = ret_len };
	_cleanup_close_ int fd = -1;
	struct admin_reply end;

	if (!file)
		return ctl_ask_with(ctl, &x, &end);
	fd = open(file, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return ctl_fail("%s: %s", file, strerror(errno));
	return ctl_read_text(fd, file, ret, ret_len);
}

/*
 * The keeper judges for itself, writes that into the audit, and remembers when it was. 0 or 1 (said), and its
 * answer.
 */
static int show_keeper(const struct ctl *ctl, struct span text, const struct keydoc_root *root,
		       struct admin_reply *ret_end)
{
	struct admin_request req = { .version = ADMIN_VERSION, .verb = ADMIN_ROOT_VERIFY };
	char proof[ESCROW_TEXT_MAX];
	uint8_t hash[SHA256_LEN];
	int r = sha256(&text, 1, hash);

	if (r == 0)
		r = escrow_proof_format(hash, root, proof);
	if (r < 0)
		return ctl_fail("cannot make a proof: %s", errno_text(r));
	return ctl_exchange(ctl, &(struct ctl_exchange){ .req = &req, .blob = span_str(proof) },
			    ret_end);
}

static int verify_words(const char *what, int r)
{
	switch (r) {
	case -ENODATA:
		return ctl_fail("%s: no keyset, or not the whole of one", what);
	case -EBADMSG:
		return ctl_fail("%s: its MAC does not hold: it was altered or damaged", what);
	case -EPROTONOSUPPORT:
		return ctl_fail("%s: of a newer version of kekd", what);
	default:
		return ctl_fail("%s: %s", what, errno_text(r));
	}
}

int ctl_root_verify(const struct ctl *ctl, int argc, char **argv)
{
	_cleanup_(ceremony_freep) struct ceremony *c = NULL;
	_cleanup_(root_bytes_freep) struct root_bytes *bytes = NULL;
	_cleanup_(keydoc_freep) struct keydoc *doc = NULL;
	_cleanup_free_ char *text = NULL;
	char here[HEX_ID], there[HEX_ID];
	uint8_t other[KEY_ROOT_ID];
	struct admin_reply end = { 0 };
	struct keydoc_root root;
	size_t len = 0;
	int r;

	if (argc > 1)
		return ctl_usage("root verify takes a file that kekctl backup has made, or none");
	if (text_get(ctl, argv[0], &text, &len) != 0)
		return 1;
	c = ceremony_new();
	if (!c || ceremony_take(c) != 0 ||
	    bytes_of(span_of(c->secret, sizeof(c->secret)), &bytes) != 0)
		return 1;
	root_bytes_root(bytes, &root);
	r = keydoc_parse(keyack_head(span_of(text, len)), &root, &doc, other);
	if (r < 0 && r != -EKEYREJECTED)
		return verify_words(argv[0] ?: "the keyset", r);
	if (argc == 0 && show_keeper(ctl, span_of(text, len), &root, &end) != 0)
		return 1;
	if (r < 0) {
		id_text(bytes, here);
		key_hex(other, KEY_ROOT_ID, there);
		return ctl_fail(
			"these shares are whole, and NOT of this keyset: they give back the root key "
			"%s, and it is sealed under %s",
			here, there);
	}
	if (end.r < 0)
		return ctl_refused(&end);
	if (*end.text)
		fprintf(stderr, "kekctl: %s\n", end.text);
	printf("these shares open %s: generation %" PRIu64 ", %zu key%s\n", argv[0] ?: "the keyset",
	       doc->generation, doc->n_keys, doc->n_keys == 1 ? "" : "s");
	return 0;
}
