/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asks the running kernel whether it can do what kekd's kernel backend needs: bind ecb(aes) over
 * AF_ALG and take the key as the argument says: by keyring serial (Linux 6.2 and later), or by value.
 *
 * Exit status 0 when it can, 1 when not, with one line on stderr that says at which step and why.
 * Since Linux 7.3 the bind also asks for CAP_NET_ADMIN or CAP_SYS_ADMIN, so the answer holds for
 * this process's privileges.  The key is random, lives in the process keyring and goes with it.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <linux/if_alg.h>
#include <linux/keyctl.h>

/* linux/if_alg.h of Linux 6.2; older headers lack it. */
#ifndef ALG_SET_KEY_BY_KEY_SERIAL
#define ALG_SET_KEY_BY_KEY_SERIAL 7
#endif

#define KEY_BYTES 32

static int step_failed(const char *step)
{
	fprintf(stderr, "%s: %s\n", step, strerror(errno));
	return 1;
}

/* Returns the serial of a fresh random key of type user, or -1 with errno set. */
static int32_t key_new(void)
{
	uint8_t payload[KEY_BYTES];
	int32_t serial;

	if (getrandom(payload, sizeof(payload), 0) != (ssize_t)sizeof(payload))
		return -1;
	serial = (int32_t)syscall(SYS_add_key, "user", "kekd-probe", payload, sizeof(payload),
				  KEY_SPEC_PROCESS_KEYRING);
	explicit_bzero(payload, sizeof(payload));
	return serial;
}

static int set_by_value(int fd)
{
	uint8_t payload[KEY_BYTES];
	int r;

	if (getrandom(payload, sizeof(payload), 0) != (ssize_t)sizeof(payload))
		return -1;
	r = setsockopt(fd, SOL_ALG, ALG_SET_KEY, payload, sizeof(payload));
	explicit_bzero(payload, sizeof(payload));
	return r;
}

int main(int argc, char **argv)
{
	struct sockaddr_alg addr = {
		.salg_family = AF_ALG,
		.salg_type = "skcipher",
		.salg_name = "ecb(aes)",
	};
	int32_t serial;
	int fd;

	fd = socket(AF_ALG, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return step_failed("socket(AF_ALG)");
	if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		return step_failed("bind ecb(aes)");
	if (argc == 2 && strcmp(argv[1], "value") == 0)
		return set_by_value(fd) < 0 ? step_failed("set key by value") : 0;
	serial = key_new();
	if (serial < 0)
		return step_failed("add_key");
	if (setsockopt(fd, SOL_ALG, ALG_SET_KEY_BY_KEY_SERIAL, &serial, sizeof(serial)) < 0)
		return step_failed("set key by serial");
	return 0;
}
