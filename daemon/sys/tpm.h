/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sealing to the TPM 2.0 of this machine, by the kernel's resource manager; the only file that speaks to it. (Trusted
 * Computing Group, TPM 2.0 Library, part 3.) What comes out is a TSS2 key (draft-woodhouse-cert-best-practice §3.1, its OID
 * 2.23.133.10.1.5), which the kernel takes as a key of type trusted (security/keys/trusted-keys/trusted_tpm2.c).
 *
 * The bytes go to the TPM in the clear, as in any sealing without an encrypted session: who listens on its wires while
 * they are sealed, or when they are opened, has them.
 */
#ifndef KEKD_SYS_TPM_H
#define KEKD_SYS_TPM_H

#include <stddef.h>
#include <stdint.h>

#include <kekd/span.h>

#define TPM_SEALED_MAX 512
/* MAX_SYM_DATA of the library. */
#define TPM_SECRET_MAX 128

/*
 * @secret (borrowed, locked memory, at most TPM_SECRET_MAX bytes), sealed under the storage root key at 0x81000001, which is made
 * where there is none (*ret_made). No policy: this TPM opens it whatever it has measured. -EINVAL: length. -ENOENT: there is no
 * TPM. -ENOTSUP: what is there is no key of the expected kind. -EPROTO: it answered with *ret_code, or nonsense (0). -ENOMEM. Errors of
 * open(2), read(2), write(2).
 */
int tpm_seal(struct span secret, uint8_t ret[static TPM_SEALED_MAX], size_t *ret_len,
	     uint32_t *ret_code, int *ret_made);

#endif
