/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One operation is one sendmsg(2) with the direction in its control message and one recvmsg(2) of
 * exactly the same length; the cipher runs inside the latter.
 *
 * Caveats of the kernel that are answered here (crypto/af_alg.c, algif_skcipher.c, algif_hash.c):
 * - The direction persists on an op socket and starts as *decrypt*: the control message is left out
 *   only where the same direction was told before, and never on a socket that has failed.
 * - A blocking send of more than the socket takes, and a blocking receive without a send, wait for
 *   ever: lengths are bounded and MSG_DONTWAIT is always set. The cipher itself does not care.
 * - A short receive leaves the rest inside, for whoever asks next: it is an error, and so is the
 *   socket from then on.
 */
#include "daemon/sys/afalg.h"

#include <errno.h>
#include <linux/if_alg.h>
#include <string.h>
#include <unistd.h>

#include "daemon/base/cleanup.h"
#include "daemon/base/page.h"
#include <kekd/limits.h>

#ifndef SOL_ALG
#define SOL_ALG 279 /* linux/socket.h */
#endif
#ifndef ALG_SET_KEY_BY_KEY_SERIAL
#define ALG_SET_KEY_BY_KEY_SERIAL 7 /* linux/if_alg.h of Linux 6.2 */
#endif

static int set_name(uint8_t *field, size_t size, const char *name)
{
	size_t len = strlen(name);

	if (len == 0 || len >= size)
		return -EINVAL;
	memcpy(field, name, len + 1);
	return 0;
}

int afalg_bind(const char *type, const char *alg, int *ret_fd)
{
	struct sockaddr_alg sa = { .salg_family = AF_ALG };
	_cleanup_close_ int fd = -1;
	int r;

	r = set_name(sa.salg_type, sizeof(sa.salg_type), type);
	if (r == 0)
		r = set_name(sa.salg_name, sizeof(sa.salg_name), alg);
	if (r < 0)
		return r;
	fd = socket(AF_ALG, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		return -errno;
	*ret_fd = move_fd(fd);
	return 0;
}

int afalg_set_key(int tfm_fd, key_serial serial)
{
	if (setsockopt(tfm_fd, SOL_ALG, ALG_SET_KEY_BY_KEY_SERIAL, &serial, sizeof(serial)) < 0)
		return -errno;
	return 0;
}

int afalg_set_key_value(int tfm_fd, struct span key)
{
	if (setsockopt(tfm_fd, SOL_ALG, ALG_SET_KEY, key.data, (socklen_t)key.len) < 0)
		return -errno;
	return 0;
}

/* 0 if it is not known. */
static int buffer_of(int fd, int name)
{
	int bytes = 0;
	socklen_t len = sizeof(bytes);

	if (getsockopt(fd, SOL_SOCKET, name, &bytes, &len) < 0 || bytes < 0)
		return 0;
	return bytes;
}

/* Twice what is asked for, says socket(7); that is more than enough. It is never made smaller. */
static void sndbuf_make_room(int fd, int name, int force)
{
	const int bytes = KEKD_RUN_BLOCKS_MAX * KEKD_AES_BLOCK;

	if (buffer_of(fd, name) >= bytes)
		return;
	if (setsockopt(fd, SOL_SOCKET, force, &bytes, sizeof(bytes)) < 0)
		setsockopt(fd, SOL_SOCKET, name, &bytes, sizeof(bytes));
}

int afalg_accept(int tfm_fd, int *ret_fd)
{
	int fd = accept4(tfm_fd, NULL, NULL, SOCK_CLOEXEC);

	if (fd < 0)
		return -errno;
	sndbuf_make_room(fd, SO_SNDBUF, SO_SNDBUFFORCE);
	sndbuf_make_room(fd, SO_RCVBUF, SO_RCVBUFFORCE);
	*ret_fd = fd;
	return 0;
}

static size_t buffer_room(int op_fd, int name)
{
	const size_t page = page_size();
	size_t bytes = (size_t)buffer_of(op_fd, name);

	return bytes < page ? page : bytes & ~(page - 1);
}

/* As af_alg_sndbuf() and af_alg_rcvbuf() reckon (include/crypto/if_alg.h): at least a page. */
size_t afalg_room(int op_fd)
{
	size_t in = buffer_room(op_fd, SO_SNDBUF), out = buffer_room(op_fd, SO_RCVBUF);

	return in < out ? in : out;
}

void afalg_msg_init(struct afalg_msg *m, enum block_dir dir, const void *in, size_t len)
{
	uint32_t op = dir == BLOCK_ENCRYPT ? ALG_OP_ENCRYPT : ALG_OP_DECRYPT;
	struct cmsghdr *c;

	_Static_assert(sizeof(m->control) >= CMSG_SPACE(sizeof(op)), "control buffer");
	*m = (struct afalg_msg){ .iov = { (void *)(uintptr_t)in, len } };
	m->hdr.msg_iov = &m->iov;
	m->hdr.msg_iovlen = 1;
	m->hdr.msg_control = m->control;
	m->hdr.msg_controllen = CMSG_SPACE(sizeof(op));
	c = CMSG_FIRSTHDR(&m->hdr);
	c->cmsg_level = SOL_ALG;
	c->cmsg_type = ALG_SET_OP;
	c->cmsg_len = CMSG_LEN(sizeof(op));
	memcpy(CMSG_DATA(c), &op, sizeof(op));
}

void afalg_msg_again(struct afalg_msg *m, const void *in, size_t len)
{
	m->iov.iov_base = (void *)(uintptr_t)in;
	m->iov.iov_len = len;
	m->hdr.msg_controllen = 0;
}

static int exactly(ssize_t n, size_t len)
{
	if (n < 0)
		return -errno;
	return (size_t)n == len ? 0 : -EIO;
}

int afalg_run(int op_fd, enum block_dir dir, const void *in, void *out, size_t len)
{
	struct afalg_msg m;
	int r;

	if (len == 0 || len % KEKD_AES_BLOCK || len > (size_t)KEKD_RUN_BLOCKS_MAX * KEKD_AES_BLOCK)
		return -EINVAL;
	afalg_msg_init(&m, dir, in, len);
	r = exactly(sendmsg(op_fd, &m.hdr, MSG_DONTWAIT), len);
	if (r < 0)
		return r;
	return exactly(recv(op_fd, out, len, MSG_DONTWAIT), len);
}

int afalg_hash(int op_fd, const void *in, size_t len, void *out, size_t out_len)
{
	struct iovec iov = { out, out_len };
	struct msghdr hdr = { .msg_iov = &iov, .msg_iovlen = 1 };
	int r;

	r = exactly(send(op_fd, in, len, MSG_DONTWAIT), len);
	if (r == 0)
		r = exactly(recvmsg(op_fd, &hdr, MSG_DONTWAIT), out_len);
	if (r == 0 && (hdr.msg_flags & MSG_TRUNC))
		r = -EMSGSIZE;
	return r;
}

static const struct {
	int r;
	const char *text;
} cures[] = {
	{ EAFNOSUPPORT,
	  "this kernel offers no AF_ALG: unblock the module af_alg in /etc/modprobe.d, "
	  "set sysctl crypto.af_alg_restrict below 2, or allow AF_ALG in the "
	  "container's seccomp profile; or say `custody: holder`, after reading in kekd.yaml(5) "
	  "what that gives up" },
	{ ENOENT,
	  "the kernel refuses this algorithm: unblock the module algif_skcipher or algif_hash "
	  "in /etc/modprobe.d, and from Linux 7.3 on start kekd with CAP_NET_ADMIN in the "
	  "initial user namespace" },
	{ ENOPROTOOPT,
	  "Linux 6.2 or newer is needed: this kernel cannot key AF_ALG from a keyring; or say "
	  "`custody: value`, after reading in kekd.yaml(5) what that gives up" },
	{ EPERM, "a security policy forbids it: allow AF_ALG sockets in the seccomp profile or LSM "
		 "policy that kekd runs under" },
	{ EACCES,
	  "a security policy or the key's rights forbid it: allow kekd in the LSM policy, or "
	  "restart kekd so that it loads the key into a session of its own" },
	{ ENOKEY, "the key is gone from the kernel keyring: restart kekd to load it again" },
	{ EKEYREVOKED,
	  "the key was revoked: restart kekd to load it again, or create a new one with "
	  "`kekctl key create`" },
	{ EKEYEXPIRED,
	  "the key has expired: restart kekd to load it again, or create a new one with "
	  "`kekctl key create`" },
	{ EBUSY, "the transform is in use by open sockets: bind a new one" },
	{ EINVAL, "the key does not fit the algorithm: AES takes 16, 24 or 32 bytes" },
	{ ENOMEM,
	  "the kernel is out of memory for sockets: raise sysctl net.core.optmem_max or free "
	  "memory" },
	{ EPIPE,
	  "the process that makes keys (kekd-maker) is gone: restart kekd; the keys that are "
	  "there serve on until then" },
	{ EDQUOT,
	  "root's quota of keys or their bytes is used up: raise sysctl kernel.keys.root_maxkeys and "
	  "kernel.keys.root_maxbytes" },
	{ EMFILE, "too many open files: raise LimitNOFILE= of the service" },
	{ ENFILE, "too many open files on this host: raise sysctl fs.file-max" },
};

const char *afalg_cure(int r)
{
	for (size_t i = 0; i < ARRAY_SIZE(cures); i++)
		if (cures[i].r == (r < 0 ? -r : r))
			return cures[i].text;
	return "an unexpected answer of the kernel: run `kekctl doctor` and look into the kernel "
	       "log";
}
