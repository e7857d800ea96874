/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AF_ALG (linux/if_alg.h, kernel Documentation/crypto/userspace-if.rst): the only file that knows
 * it. A *tfm socket* is bound to an algorithm and keyed by the serial of a keyring key, in the
 * keeper. An *op socket* is accepted from it, can encrypt and decrypt and nothing else, and may
 * travel to a process that has neither capability nor key (kmod-notes/af_alg.md).
 *
 * Every fd parameter is borrowed; every ret_fd is the caller's to close.
 */
#ifndef KEKD_SYS_AFALG_H
#define KEKD_SYS_AFALG_H

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "daemon/sys/keyring.h"
#include <kekd/backend.h>

/*
 * Bind @alg of @type ("skcipher", "hash", "aead"). Errors, each with its own cure (afalg_cure()):
 * -EAFNOSUPPORT no AF_ALG (module blocked, seccomp of a container, or af_alg_restrict=2), -ENOENT
 * algorithm refused or module missing (Linux ≥ 7.3 without CAP_NET_ADMIN), -EPERM/-EACCES policy.
 */
int afalg_bind(const char *type, const char *alg, int *ret_fd);
/*
 * ALG_SET_KEY_BY_KEY_SERIAL. -ENOPROTOOPT: the kernel is older than 6.2. -EKEYREVOKED,
 * -EKEYEXPIRED, -ENOKEY, -EACCES: the key. -EBUSY: the tfm has op sockets; bind a new one.
 * The kernel copies the key: what happens to the keyring key later does not reach the socket.
 */
int afalg_set_key(int tfm_fd, key_serial serial);
/*
 * ALG_SET_KEY: the bytes themselves (borrowed, locked memory), on every kernel. Nothing reads them back,
 * and the kernel wipes its copies on the way and the transform's at its end (crypto/af_alg.c). -EBUSY.
 */
int afalg_set_key_value(int tfm_fd, struct span key);
/*
 * An op socket, CLOEXEC, with buffers for a run of KEKD_RUN_BLOCKS_MAX as far as this process may have them: the
 * defaults of the host (net.core.wmem_default) may be small, and only CAP_NET_ADMIN is above their bounds (socket(7)).
 * -EOPNOTSUPP when @tfm_fd is itself an op socket.
 */
int afalg_accept(int tfm_fd, int *ret_fd);
/* Bytes that one operation on it may have, a whole number of pages. */
size_t afalg_room(int op_fd);

/*
 * The message of one skcipher operation: direction and the input, nothing else (ecb has no IV).
 * Must stay in place until the operation is complete. @in is borrowed until then.
 */
struct afalg_msg {
	struct msghdr hdr;
	struct iovec iov;
	_Alignas(struct cmsghdr) uint8_t control[64];
};
void afalg_msg_init(struct afalg_msg *m, enum block_dir dir, const void *in, size_t len);
/*
 * The next operation of the same direction on the same op socket, after one with @m that was complete:
 * the kernel still knows the direction (ctx->enc in crypto/af_alg.c). What is left is what send(2)
 * can carry, and a lone operation costs 5 % less. That the direction is known is tested at every
 * start, by the self-test, whose CBC chain is several encryptions on one socket.
 */
void afalg_msg_again(struct afalg_msg *m, const void *in, size_t len);

/*
 * Synchronous twins for the keeper and tests. @len is 1 … KEKD_RUN_BLOCKS_MAX whole blocks, else
 * -EINVAL and the socket is as it was. On any other error the caller closes the socket and takes a
 * new one: what is left inside would answer the next request. -EIO: not the exact length. Neither
 * call waits for socket space or data: a socket that is out of step gives -EAGAIN.
 */
int afalg_run(int op_fd, enum block_dir dir, const void *in, void *out, size_t len);
/* MAC or digest of @in by an op socket of type hash. -EMSGSIZE: it is longer than @out_len. */
int afalg_hash(int op_fd, const void *in, size_t len, void *out, size_t out_len);

/* One sentence for the operator: what @r from bind or set_key means here and the cure. Static. */
const char *afalg_cure(int r);

#endif
