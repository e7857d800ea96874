/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See tpm.h. A command and its answer are in one locked buffer, as the secret is in the command.
 *
 * Numbers are those of TPM 2.0 Library part 2. The storage root key is of the usual kind, and at the place where TCG TPM
 * v2.0 Provisioning Guidance has it: ECC P-256, AES-128 in CFB, SHA-256.
 */
#include "daemon/sys/tpm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "daemon/base/cleanup.h"
#include "daemon/base/io.h"
#include "daemon/base/secmem.h"

#define TPM_DEVICE "/dev/tpmrm0"
#define SRK        0x81000001U
#define OWNER      0x40000001U
#define PASSWORD   0x40000009U

enum {
	ST_NO_SESSIONS = 0x8001,
	ST_SESSIONS = 0x8002,
	CC_EVICT_CONTROL = 0x120,
	CC_CREATE_PRIMARY = 0x131,
	CC_CREATE = 0x153,
	CC_READ_PUBLIC = 0x173,
	/* TPM_RC_HANDLE, format one, of the first handle */
	RC_NO_HANDLE = 0x18b,
	ALG_AES = 0x06,
	ALG_KEYED_HASH = 0x08,
	ALG_SHA256 = 0x0b,
	ALG_NULL = 0x10,
	ALG_ECC = 0x23,
	ALG_CFB = 0x43,
	CURVE_P256 = 3,
	/* fixedTPM, fixedParent, userWithAuth, noDA */
	ATTRS_SEALED = 0x452,
	/* and sensitiveDataOrigin, restricted, decrypt */
	ATTRS_SRK = 0x30472,
	HEADER = 10,
	BUFFER = 4096,
};

struct tpm {
	int fd;
	uint8_t *buf; /* BUFFER bytes, locked */
	size_t len;   /* of the command; of the answer */
	size_t at;    /* of what is read next */
	uint32_t code;
};

static void put(struct tpm *t, const void *bytes, size_t n)
{
	memcpy(t->buf + t->len, bytes, n);
	t->len += n;
}

/* Big-endian, @n bytes. */
static void tpm_put_number(struct tpm *t, uint64_t value, size_t n)
{
	for (size_t i = 0; i < n; i++)
		t->buf[t->len++] = (uint8_t)(value >> (8 * (n - 1 - i)));
}

/* A size of two bytes that is filled in when what it is of has been put. */
static size_t put_size(struct tpm *t)
{
	tpm_put_number(t, 0, 2);
	return t->len;
}

static void put_size_end(struct tpm *t, size_t begin)
{
	size_t n = t->len - begin;

	t->buf[begin - 2] = (uint8_t)(n >> 8);
	t->buf[begin - 1] = (uint8_t)n;
}

static void command(struct tpm *t, unsigned int tag, uint32_t code)
{
	t->len = 0;
	tpm_put_number(t, tag, 2);
	tpm_put_number(t, 0, 4);
	tpm_put_number(t, code, 4);
}

/* An empty password. */
static void put_password(struct tpm *t)
{
	tpm_put_number(t, 9, 4);
	tpm_put_number(t, PASSWORD, 4);
	tpm_put_number(t, 0, 5);
}

/* 0: the answer is there, and t->at behind its header. -EPROTO: t->code. */
static int ask(struct tpm *t)
{
	ssize_t n;

	for (size_t i = 0; i < 4; i++)
		t->buf[2 + i] = (uint8_t)(t->len >> (24 - 8 * i));
	n = io_retry(write(t->fd, t->buf, t->len));
	if (n >= 0)
		n = io_retry(read(t->fd, t->buf, BUFFER));
	if (n < 0)
		return -errno;
	t->code = 0;
	if (n < HEADER)
		return -EPROTO;
	for (size_t i = 0; i < 4; i++)
		t->code = t->code << 8 | t->buf[6 + i];
	t->len = (size_t)n;
	t->at = HEADER;
	return t->code == 0 ? 0 : -EPROTO;
}

static int get_number(struct tpm *t, size_t n, uint32_t *ret)
{
	uint32_t value = 0;

	if (t->len - t->at < n)
		return -EPROTO;
	for (size_t i = 0; i < n; i++)
		value = value << 8 | t->buf[t->at++];
	*ret = value;
	return 0;
}

/* A TPM2B: its size and its bytes, borrowed until the next command. */
static int get_sized(struct tpm *t, struct span *ret)
{
	size_t begin = t->at;
	uint32_t n;
	int r = get_number(t, 2, &n);

	if (r < 0 || t->len - t->at < n)
		return -EPROTO;
	t->at += n;
	*ret = span_of(t->buf + begin, n + 2);
	return 0;
}

static void put_public_srk(struct tpm *t)
{
	size_t public = put_size(t);

	tpm_put_number(t, ALG_ECC, 2);
	tpm_put_number(t, ALG_SHA256, 2);
	tpm_put_number(t, ATTRS_SRK, 4);
	tpm_put_number(t, 0, 2); /* policy */
	tpm_put_number(t, ALG_AES, 2);
	tpm_put_number(t, 128, 2);
	tpm_put_number(t, ALG_CFB, 2);
	tpm_put_number(t, ALG_NULL, 2); /* scheme */
	tpm_put_number(t, CURVE_P256, 2);
	tpm_put_number(t, ALG_NULL, 2); /* derivation */
	tpm_put_number(t, 0, 4);        /* a point: two empty numbers */
	put_size_end(t, public);
}

static void put_public_sealed(struct tpm *t)
{
	size_t public = put_size(t);

	tpm_put_number(t, ALG_KEYED_HASH, 2);
	tpm_put_number(t, ALG_SHA256, 2);
	tpm_put_number(t, ATTRS_SEALED, 4);
	tpm_put_number(t, 0, 2); /* policy */
	tpm_put_number(t, ALG_NULL, 2);
	tpm_put_number(t, 0, 2);
	put_size_end(t, public);
}

/* No outside information, and no PCRs that the TPM would note. */
static void put_creation(struct tpm *t)
{
	tpm_put_number(t, 0, 2);
	tpm_put_number(t, 0, 4);
}

static int srk_make(struct tpm *t)
{
	uint32_t handle = 0;
	int r;

	command(t, ST_SESSIONS, CC_CREATE_PRIMARY);
	tpm_put_number(t, OWNER, 4);
	put_password(t);
	tpm_put_number(t, 4, 2); /* no password of its own, no data */
	tpm_put_number(t, 0, 4);
	put_public_srk(t);
	put_creation(t);
	r = ask(t);
	if (r == 0)
		r = get_number(t, 4, &handle);
	if (r < 0)
		return r;
	command(t, ST_SESSIONS, CC_EVICT_CONTROL);
	tpm_put_number(t, OWNER, 4);
	tpm_put_number(t, handle, 4);
	put_password(t);
	tpm_put_number(t, SRK, 4);
	return ask(t); /* the resource manager lets go of what was made when it is closed */
}

/* 0: it is there. */
static int srk_find(struct tpm *t)
{
	uint32_t n, type;
	int r;

	command(t, ST_NO_SESSIONS, CC_READ_PUBLIC);
	tpm_put_number(t, SRK, 4);
	r = ask(t);
	if (r < 0)
		return r == -EPROTO && t->code == RC_NO_HANDLE ? -ENOKEY : r;
	r = get_number(t, 2, &n);
	if (r == 0)
		r = get_number(t, 2, &type);
	/* The other kind that Provisioning Guidance has is RSA, 0x0001. */
	return r < 0 || type == ALG_ECC || type == 0x0001 ? r : -ENOTSUP;
}

static void der_put(struct tpm *t, uint8_t tag, struct span value)
{
	tpm_put_number(t, tag, 1);
	if (value.len >= 0x80)
		tpm_put_number(t, 0x82, 1);
	tpm_put_number(t, value.len, value.len >= 0x80 ? 2 : 1);
	put(t, value.data, value.len);
}

/* TPMKey: its kind, that it has no password, its parent, and what TPM2_Create answered, sizes and all. */
static int der_make(const uint8_t *public, size_t public_len, const uint8_t *private,
		    size_t private_len, uint8_t ret[static TPM_SEALED_MAX], size_t *ret_len)
{
	static const uint8_t kind[] = { 0x67, 0x81, 0x05, 0x0a, 0x01, 0x05 };
	static const uint8_t empty_auth[] = { 0x01, 0x01, 0xff };
	static const uint8_t parent[] = { 0, SRK >> 24, 0, 0, SRK & 0xff };
	uint8_t body[TPM_SEALED_MAX], all[TPM_SEALED_MAX + 8];
	struct tpm b = { .buf = body }, a = { .buf = all };

	if (public_len + private_len > TPM_SEALED_MAX - 64)
		return -EPROTO;
	der_put(&b, 0x06, span_of(kind, sizeof(kind)));
	der_put(&b, 0xa0, span_of(empty_auth, sizeof(empty_auth)));
	der_put(&b, 0x02, span_of(parent, sizeof(parent)));
	der_put(&b, 0x04, span_of(public, public_len));
	der_put(&b, 0x04, span_of(private, private_len));
	der_put(&a, 0x30, span_of(body, b.len));
	memcpy(ret, all, a.len);
	*ret_len = a.len;
	return 0;
}

static int tpm_seal_bytes(struct tpm *t, struct span secret, uint8_t ret[static TPM_SEALED_MAX],
			  size_t *ret_len)
{
	struct span private = SPAN_NULL, public = SPAN_NULL;
	uint32_t n;
	size_t sensitive;
	int r;

	command(t, ST_SESSIONS, CC_CREATE);
	tpm_put_number(t, SRK, 4);
	put_password(t);
	sensitive = put_size(t);
	tpm_put_number(t, 0, 2); /* no password */
	tpm_put_number(t, secret.len, 2);
	put(t, secret.data, secret.len);
	put_size_end(t, sensitive);
	put_public_sealed(t);
	put_creation(t);
	r = ask(t);
	if (r == 0)
		r = get_number(t, 4, &n); /* how long the parameters are */
	if (r == 0)
		r = get_sized(t, &private);
	if (r == 0)
		r = get_sized(t, &public);
	return r < 0 ? r
		     : der_make(public.data, public.len, private.data, private.len, ret, ret_len);
}

int tpm_seal(struct span secret, uint8_t ret[static TPM_SEALED_MAX], size_t *ret_len,
	     uint32_t *ret_code, int *ret_made)
{
	_cleanup_close_ int fd = -1;
	struct tpm t = { .fd = -1 };
	int r, made = 0;

	*ret_code = 0;
	if (secret.len == 0 || secret.len > TPM_SECRET_MAX)
		return -EINVAL;
	fd = open(TPM_DEVICE, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	t.fd = fd;
	t.buf = secmem_alloc(BUFFER);
	if (!t.buf)
		return -ENOMEM;
	r = srk_find(&t);
	if (r == -ENOKEY) {
		r = srk_make(&t);
		made = r == 0;
	}
	if (r == 0)
		r = tpm_seal_bytes(&t, secret, ret, ret_len);
	if (r == -EPROTO)
		*ret_code = t.code;
	secmem_free(t.buf, BUFFER);
	if (r == 0)
		*ret_made = made;
	return r;
}
