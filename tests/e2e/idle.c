/* SPDX-License-Identifier: Apache-2.0 */
/*
 * idle TYPE:PATH: connects (TYPE: stream or seqpacket), says "connected", and keeps the connection
 * without a word until standard input ends.
 */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	const char *path = argc == 2 ? strchr(argv[1], ':') : NULL;
	int type, fd;
	char c;

	if (!path || strlen(path + 1) >= sizeof(addr.sun_path))
		return 2;
	type = strncmp(argv[1], "seqpacket:", 10) == 0 ? SOCK_SEQPACKET : SOCK_STREAM;
	memcpy(addr.sun_path, path + 1, strlen(path + 1));
	fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
		perror("idle");
		return 1;
	}
	puts("connected");
	fflush(stdout);
	while (read(STDIN_FILENO, &c, 1) > 0)
		;
	return 0;
}
