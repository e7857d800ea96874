/* SPDX-License-Identifier: Apache-2.0 */
/*
 * linux/if_alg.h; kernel Documentation/crypto/userspace-if.rst. A message larger than a socket's buffers
 * would make a blocking sendmsg(2) wait for ever, so the buffers of large ones are forced open, which
 * needs CAP_NET_ADMIN.
 */
#include "tests/bench/ways/afalg_op.h"

#include <errno.h>
#include <linux/if_alg.h>
#include <stdlib.h>
#include <unistd.h>

#include "daemon/sys/afalg.h"
#include "tests/bench/ways/gcm_blocks.h"

#define SOCKET_DEFAULT (128U * 1024) /* that many bytes fit a socket as it is */
#define SOCKET_FORCED  (4 * 1024 * 1024)

static int tfm_open(struct afalg_alg *alg, const char *type, const char *name)
{
	int r = afalg_bind(type, name, &alg->tfm);

	return r < 0 ? r : afalg_set_key(alg->tfm, bench_key);
}

static int hash_key(struct afalg_alg *alg)
{
	uint8_t zero[KEKD_AES_BLOCK] = { 0 };
	_cleanup_close_ int fd = -1;
	int r = afalg_accept(alg->tfm, &fd);

	if (r == 0)
		r = afalg_run(fd, BLOCK_ENCRYPT, zero, zero, sizeof(zero));
	if (r == 0)
		ghash_key_init(&alg->h, zero, ghash_best());
	return r;
}

static int gcm_open(struct afalg_alg *alg)
{
	int r = tfm_open(alg, "aead", "gcm(aes)");

	if (r == -ENOENT) {
		alg->blocks = true;
		r = tfm_open(alg, "skcipher", "ecb(aes)");
		return r < 0 ? r : hash_key(alg);
	}
	if (r == 0 && setsockopt(alg->tfm, SOL_ALG, ALG_SET_AEAD_AUTHSIZE, NULL, KEKD_GCM_TAG) < 0)
		r = -errno;
	return r;
}

int afalg_alg_open(struct afalg_alg *alg, const struct load *l)
{
	*alg = (struct afalg_alg){ .load = l, .tfm = -1 };
	return l->gcm ? gcm_open(alg) : tfm_open(alg, "skcipher", "cbc(aes)");
}

void afalg_alg_close(struct afalg_alg *alg)
{
	closep(&alg->tfm);
}

static int force_open(int fd)
{
	int size = SOCKET_FORCED;

	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0)
		return -EMSGSIZE;
	return 0;
}

int afalg_op_open(const struct afalg_alg *alg, struct afalg_op *op)
{
	int r;

	*op = (struct afalg_op){ .fd = -1 };
	r = afalg_accept(alg->tfm, &op->fd);
	if (r == 0 && alg->load->bytes > SOCKET_DEFAULT)
		r = force_open(op->fd);
	if (r == 0 && alg->blocks) {
		op->blocks = malloc(gcm_blocks(alg->load) * KEKD_AES_BLOCK);
		r = op->blocks ? 0 : -ENOMEM;
	}
	return r;
}

void afalg_op_close(struct afalg_op *op)
{
	closep(&op->fd);
	free(op->blocks);
}

static struct cmsghdr *control_add(struct afalg_op *op, struct cmsghdr *c, int type,
				   const void *data, size_t len)
{
	c->cmsg_level = SOL_ALG;
	c->cmsg_type = type;
	c->cmsg_len = CMSG_LEN(len);
	memcpy(CMSG_DATA(c), data, len);
	op->hdr.msg_controllen += CMSG_SPACE(len);
	return (struct cmsghdr *)(void *)((char *)c + CMSG_SPACE(len));
}

/* Everything with each message: direction, length of the AAD, IV. */
static void control_fill(struct afalg_op *op, const struct load *l, const uint8_t *iv,
			 size_t iv_len)
{
	uint32_t dir = l->encrypt || iv_len == 0 ? ALG_OP_ENCRYPT : ALG_OP_DECRYPT, aad = 0;
	struct cmsghdr *c = (struct cmsghdr *)(void *)op->control;
	uint8_t buf[sizeof(struct af_alg_iv) + KEKD_AES_BLOCK];
	uint32_t len = (uint32_t)iv_len;

	op->hdr.msg_control = op->control;
	op->hdr.msg_controllen = 0;
	c = control_add(op, c, ALG_SET_OP, &dir, sizeof(dir));
	if (iv_len == 0)
		return;
	memcpy(buf, &len, sizeof(len));
	memcpy(buf + sizeof(len), iv, iv_len);
	c = control_add(op, c, ALG_SET_IV, buf, sizeof(struct af_alg_iv) + iv_len);
	if (l->gcm)
		control_add(op, c, ALG_SET_AEAD_ASSOCLEN, &aad, sizeof(aad));
}

void afalg_op_prepare(const struct afalg_alg *alg, struct afalg_op *op, struct message *m)
{
	const struct load *l = alg->load;

	op->hdr.msg_iov = &op->iov;
	op->hdr.msg_iovlen = 1;
	if (alg->blocks) {
		op->recv_len = gcm_blocks(l) * KEKD_AES_BLOCK;
		gcm_counters(m->iv, 0, gcm_blocks(l), op->blocks);
		op->recv = op->blocks;
		op->iov = (struct iovec){ op->blocks, op->recv_len };
		control_fill(op, l, NULL, 0);
		return;
	}
	op->recv = m->out;
	op->recv_len = load_out(l);
	op->iov = (struct iovec){ m->in, load_in(l) };
	control_fill(op, l, m->iv, l->gcm ? KEKD_GCM_NONCE : KEKD_AES_BLOCK);
}

int afalg_op_finish(struct afalg_alg *alg, struct afalg_op *op, struct message *m)
{
	return alg->blocks ? gcm_finish(&alg->h, alg->load, m, op->blocks) : 0;
}
