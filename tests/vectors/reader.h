/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads the published test vectors of this directory, one at a time. The form of the files is told at
 * the head of each; it is read strictly, so that a damaged file is an error and not a shorter test.
 *
 *	struct vec_reader *r = NULL;
 *	struct vec v;
 *	int n;
 *
 *	ASSERT_OK(vec_open("aes-gcm-cavp.txt", &r));
 *	while ((n = vec_next(r, &v)) > 0)
 *		check(&v);
 *	EXPECT_EQ(0, n);	(vec_error(r) says what is wrong)
 *	vec_close(r);
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	VEC_KEY_MAX = 32,
	VEC_IV_MAX = 16,
	VEC_TAG_MAX = 16,
	VEC_DATA_MAX = 1024, /* of AAD, plaintext and ciphertext each */
	VEC_ID_MAX = 128
};

enum vec_mode {
	VEC_GCM,      /* AES-GCM, 12 bytes of IV, 16 of tag (NIST SP 800-38D) */
	VEC_CBC,      /* AES-CBC of whole blocks (NIST SP 800-38A §6.2) */
	VEC_CBC_PKCS7 /* AES-CBC, padded (RFC 5652 §6.3) */
};

/*
 * Lengths are in bytes. `valid` is false when decryption must refuse the vector; pt is then not to be
 * relied on, as most published vectors of that kind have none.
 */
struct vec {
	enum vec_mode mode;
	bool valid;
	char id[VEC_ID_MAX]; /* where it stands in the published file */
	unsigned int line;   /* and in ours */
	uint8_t key[VEC_KEY_MAX], iv[VEC_IV_MAX], tag[VEC_TAG_MAX];
	uint8_t aad[VEC_DATA_MAX], pt[VEC_DATA_MAX], ct[VEC_DATA_MAX];
	size_t key_len, iv_len, tag_len, aad_len, pt_len, ct_len;
};

struct vec_reader;

/*
 * Opens a file of vectors. `name` is borrowed; if it is not absolute it is looked up in the directory
 * that the environment's KEKD_VECTORS names, otherwise in VECTORS_DIR. The caller closes *ret_reader.
 * Returns 0, -ENAMETOOLONG, -ENOMEM or what open(2) failed with.
 */
int vec_open(const char *name, struct vec_reader **ret_reader);

/*
 * Reads the next vector. Both are borrowed; *ret_vec is untouched unless the result is 1.
 * Returns 1, 0 at the end, -EINVAL if the file is not well-formed or holds no vector at all, or -EIO.
 */
int vec_next(struct vec_reader *r, struct vec *ret_vec);

/* "FILE:LINE: what is wrong" after a failed vec_next(), otherwise "". Lives as long as the reader. */
const char *vec_error(const struct vec_reader *r);

/* Consumes the reader; NULL is fine. */
void vec_close(struct vec_reader *r);
