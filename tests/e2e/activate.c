/* SPDX-License-Identifier: Apache-2.0 */
/*
 * activate TYPE:PATH... -- COMMAND [ARG]...: systemd's side of socket activation
 * (sd_listen_fds(3)).
 *
 * Makes the listening sockets (TYPE: stream or seqpacket) and keeps them. For each line on standard
 * input the command is run once with all of them as descriptors 3, 4, …, and waited for. Exit
 * status: that of the first run that does not end with 0.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define FIRST   3 /* SD_LISTEN_FDS_START */
#define SOCKETS 8

static int listener(const char *spec)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	const char *path = strchr(spec, ':');
	int type = strncmp(spec, "seqpacket:", 10) == 0 ? SOCK_SEQPACKET : SOCK_STREAM;
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

	if (fd < 0 || !path || strlen(path + 1) >= sizeof(addr.sun_path))
		return -1;
	memcpy(addr.sun_path, path + 1, strlen(path + 1));
	if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 || listen(fd, SOMAXCONN) < 0)
		return -1;
	return fd;
}

static void child(const int *fds, int n, char **argv)
{
	int high[SOCKETS];
	char text[16];

	for (int i = 0; i < n; i++)
		high[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, FIRST + SOCKETS);
	for (int i = 0; i < n; i++)
		if (dup2(high[i], FIRST + i) < 0)
			_exit(125);
	snprintf(text, sizeof(text), "%d", (int)getpid());
	setenv("LISTEN_PID", text, 1);
	snprintf(text, sizeof(text), "%d", n);
	setenv("LISTEN_FDS", text, 1);
	execv(argv[0], argv);
	_exit(126);
}

static int run(const int *fds, int n, char **argv)
{
	pid_t pid = fork();
	int status;

	if (pid < 0)
		return 125;
	if (pid == 0)
		child(fds, n, argv);
	if (waitpid(pid, &status, 0) != pid)
		return 125;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int main(int argc, char **argv)
{
	int fds[SOCKETS], n = 0, i = 1, status = 0;
	char line[64];

	for (; i < argc && strcmp(argv[i], "--") != 0; i++) {
		if (n == SOCKETS || (fds[n] = listener(argv[i])) < 0) {
			fprintf(stderr, "activate: %s: no such socket\n", argv[i]);
			return 125;
		}
		n++;
	}
	if (i + 1 >= argc)
		return 125;
	while (status == 0 && fgets(line, sizeof(line), stdin))
		status = run(fds, n, argv + i + 1);
	return status;
}
