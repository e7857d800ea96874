/* SPDX-License-Identifier: Apache-2.0 */
/* See tpmfile.h. */
#include "daemon/ctl/tpmfile.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/base/io.h"
#include "daemon/base/log.h"
#include "daemon/ctl/ctl.h"

static int tpm_seal_words(int r, uint32_t code)
{
	switch (r) {
	case -EINVAL:
		return ctl_fail("a TPM seals at most %d bytes", TPM_SECRET_MAX);
	case -ENOENT:
	case -ENODEV:
	case -ENXIO:
		return ctl_fail(
			"this machine has no TPM 2.0, or its driver is not loaded: there is no "
			"/dev/tpmrm0");
	case -ENOTSUP:
		return ctl_fail(
			"what the TPM has at 0x81000001 is no storage root key: `tpm2_evictcontrol "
			"-c 0x81000001` removes it, if nothing else uses it");
	case -EPROTO:
		return ctl_fail(
			"the TPM refuses: code 0x%x (`tpm2_rc_decode 0x%x` has words for it)", code,
			code);
	default:
		return ctl_fail("/dev/tpmrm0: %s", errno_text(r));
	}
}

static int write_new(const char *path, struct span bytes)
{
	_cleanup_close_ int fd = -1;
	int r;

	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	r = io_write_all(fd, bytes.data, bytes.len);
	return r == 0 && fsync(fd) < 0 ? -errno : r;
}

int tpmfile_make(const char *path, struct span secret)
{
	uint8_t sealed[TPM_SEALED_MAX];
	char temp[PATH_MAX];
	size_t len = 0;
	uint32_t code;
	int r, made;

	if ((size_t)snprintf(temp, sizeof(temp), "%s.new", path) >= sizeof(temp))
		return ctl_fail("%s: %s", path, errno_text(ENAMETOOLONG));
	r = tpm_seal(secret, sealed, &len, &code, &made);
	if (r < 0)
		return tpm_seal_words(r, code);
	r = write_new(temp, span_of(sealed, len));
	if (r == 0 && rename(temp, path) < 0)
		r = -errno;
	if (r < 0)
		unlink(temp);
	if (r == 0)
		r = io_sync_folder(path);
	if (r < 0)
		return ctl_fail("%s: %s", path, errno_text(r));
	if (made)
		fputs("the TPM had no storage root key: made one, at 0x81000001\n", stderr);
	fprintf(stderr, "sealed by the TPM: %s\n", path);
	return 0;
}

int tpmfile_read(const char *path, uint8_t ret[static TPM_SEALED_MAX], size_t *ret_len)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	int r = fd < 0 ? -errno : io_read_all(fd, ret, TPM_SEALED_MAX, ret_len);

	return r < 0 ? ctl_fail("%s: %s", path, errno_text(r)) : 0;
}
