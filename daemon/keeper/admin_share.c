/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Admin commands for what nodes share (kekctl rotate --peers): give a sealed record, take one,
 * answer a probe. No packet carries a key: a record is ciphertext under the root that the nodes
 * share, a probe one AES block that no message has.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "daemon/base/log.h"
#include "daemon/ctl/admin.h"
#include "daemon/keeper/keeper_private.h"

#define RECORD_MS 1000 /* kekctl fills the pipe before it sends it */

int admin_record_get(struct keeper *k, int fd, const struct admin_request *req)
{
	struct admin_reply reply = { .version = ADMIN_VERSION, .type = ADMIN_END };
	const struct keyset_key *key = keyset_find(k->keys, req->id);
	size_t len;
	int r;

	_Static_assert(sizeof(reply.record) >= KEY_RECORD_TEXT_MAX, "a record fits");
	r = key ? key_record_format(&key->rec, reply.record, sizeof(reply.record), &len) : -ENOKEY;
	return r < 0 ? admin_end(fd, r, errno_text(r)) : admin_send(fd, &reply, sizeof(reply));
}

/* A file may make its reader wait whatever its flags say: the file system may be a user's. */
static bool is_pipe(int fd)
{
	struct stat st;

	return fd >= 0 && fstat(fd, &st) == 0 && S_ISFIFO(st.st_mode);
}

/* All that is in the pipe, which kekctl has filled and closed. */
static int record_read(int fd, struct key_record *ret)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char text[KEY_RECORD_TEXT_MAX];
	unsigned int line;
	ssize_t n;

	/* A pipe that nobody fills must not hold up the keeper. */
	if (!is_pipe(fd))
		return -EPERM;
	if (fcntl(fd, F_SETFL, O_NONBLOCK) < 0 || poll(&p, 1, RECORD_MS) <= 0)
		return -EINVAL;
	n = read(fd, text, sizeof(text));
	if (n < 0)
		return -errno;
	return key_record_parse(text, (size_t)n, ret, &line);
}

static const char *put_text(int r)
{
	switch (r) {
	case -EEXIST:
		return "another key has that id or label";
	case -EKEYREJECTED:
		return "the record is sealed by another root key, or destroyed";
	case -EPERM:
	case -EINVAL:
	case -EBADMSG:
		return "not a record of a key that opens here";
	case -ERANGE:
		return "the record's activation number is too large to be one of kekd's";
	case -EKEYEXPIRED:
		return "sealed: the root key is not loaded";
	default:
		return errno_text(r);
	}
}

int admin_record_put(struct keeper *k, int fd, const struct admin_request *req _unused_)
{
	const struct keyset_key *key;
	struct key_record rec;
	int r;

	r = record_read(k->passed_fd, &rec);
	if (r == 0)
		r = keyset_adopt(k->keys, &rec, &key);
	if (r == -EALREADY)
		return admin_end(fd, 0, "");
	if (r < 0)
		return admin_end(fd, r, put_text(r));
	counts_touch(k, key); /* where it comes from it may be in use */
	server_send_key(k, key);
	server_sync(k);
	admin_audit(k, fd, key, "taken from another node");
	return admin_end(fd, 0, "");
}

int admin_probe(struct keeper *k, int fd, const struct admin_request *req)
{
	struct admin_reply reply = { .version = ADMIN_VERSION, .type = ADMIN_END };
	int r;

	_Static_assert(sizeof(req->nonce) == KEY_PROBE_NONCE, "one size");
	server_sync(k); /* the answer is for the server too: others write when they have heard it */
	r = k->sealed < 0 ? -EKEYEXPIRED : keyset_probe(k->keys, req->id, req->nonce, reply.probe);
	return r < 0 ? admin_end(fd, r, errno_text(r)) : admin_send(fd, &reply, sizeof(reply));
}
