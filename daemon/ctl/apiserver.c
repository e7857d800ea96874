/* SPDX-License-Identifier: Apache-2.0 */
/* kekctl config check: what `kekd --check` says. config apiserver: the file to give to kube-apiserver's --encryption-provider-config. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/base/log.h"
#include "daemon/chain/encconf.h"
#include "daemon/ctl/ctl.h"

/* kekd beside this program, in ../sbin, or in PATH: the daemon itself is the judge of its files. */
static void exec_kekd(char **argv)
{
	char self[256], path[300];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;

	if (n > 0) {
		self[n] = '\0';
		slash = strrchr(self, '/');
		*slash = '\0';
		snprintf(path, sizeof(path), "%s/kekd", self);
		execv(path, argv);
		snprintf(path, sizeof(path), "%s/../sbin/kekd", self);
		execv(path, argv);
	}
	execvp("kekd", argv);
}

/* With --json the text of this command's error is what kekd says. */
static int check_for_programs(char **args)
{
	_cleanup_close_ int out = -1, in = -1;
	_cleanup_free_ char *text = NULL;
	int fds[2], status = 0;
	size_t len = 0;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return ctl_fail("cannot run kekd: %s", errno_text(errno));
	in = fds[0];
	out = fds[1];
	pid = fork();
	if (pid < 0)
		return ctl_fail("cannot run kekd: %s", errno_text(errno));
	if (pid == 0) {
		dup2(out, STDERR_FILENO);
		exec_kekd(args);
		dprintf(STDERR_FILENO, "cannot run kekd: %s", errno_text(errno));
		_exit(127);
	}
	close(move_fd(out));
	if (ctl_read_text(in, "what kekd says", &text, &len) != 0)
		return 1;
	if (waitpid(pid, &status, 0) < 0)
		return ctl_fail("cannot run kekd: %s", errno_text(errno));
	text[len - (len > 0 && text[len - 1] == '\n')] = '\0';
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		return ctl_fail("%s", text);
	if (*text)
		puts(text);
	return 0;
}

int ctl_config_check(const struct ctl *ctl, int argc, char **argv)
{
	char name[] = "kekd", check[] = "--check", config[] = "--config";
	char *args[] = { name, check, argc == 1 ? config : NULL, argc == 1 ? argv[0] : NULL, NULL };

	if (argc > 1)
		return ctl_usage("config check takes one file");
	if (ctl->json)
		return check_for_programs(args);
	exec_kekd(args);
	return ctl_fail("cannot run kekd: %s", errno_text(errno));
}

/* In quotes: "*.*" would be an alias of YAML. What is no resource is refused by whoever reads it. */
static void print_configuration(FILE *to, const char *socket, int argc, char **argv)
{
	static char secrets[] = "secrets";
	static char *alone[] = { secrets };

	fputs("apiVersion: apiserver.config.k8s.io/v1\n"
	      "kind: EncryptionConfiguration\n"
	      "resources:\n"
	      "- resources:\n",
	      to);
	if (argc == 0) {
		argc = 1;
		argv = alone;
	}
	for (int i = 0; i < argc; i++)
		fprintf(to, argv[i][0] == '*' ? "  - '%s'\n" : "  - %s\n", argv[i]);
	fprintf(to,
		"  providers:\n"
		"  - kms:\n"
		"      apiVersion: v2\n"
		"      name: kekd\n"
		"      endpoint: unix://%s\n"
		"      timeout: 3s\n"
		"  - identity: {}   # reads what was stored before; remove when all is rewritten\n",
		socket);
}

int ctl_config_apiserver(const struct ctl *ctl, int argc, char **argv)
{
	char socket[sizeof(((struct sockaddr_un *)0)->sun_path)];
	_cleanup_(encconf_freep) struct encconf *conf = NULL;
	_cleanup_free_ char *text = NULL;
	struct yaml_error err = { 0 };
	size_t len = 0;
	FILE *f;
	int r;

	/* YAML would take other characters for more than a name, and no resource has them. */
	for (int i = 0; i < argc; i++)
		if (!*argv[i] ||
		    argv[i][strspn(argv[i], "abcdefghijklmnopqrstuvwxyz0123456789-.*")])
			return ctl_fail(
				"\"%s\": not a resource as an EncryptionConfiguration names "
				"them: \"secrets\", \"deployments.apps\", \"*.apps\", in small "
				"letters",
				argv[i]);
	r = ctl_kms_socket(ctl, socket, sizeof(socket));
	if (r != 0)
		return r;
	if (socket[0] != '/')
		return ctl_usage("config apiserver takes an absolute path as --socket: it is "
				 "kube-apiserver that goes by it");
	f = open_memstream(&text, &len);
	if (!f)
		return ctl_fail("out of memory");
	print_configuration(f, socket, argc, argv);
	if (fclose(f) != 0)
		return ctl_fail("out of memory");
	/* By kube-apiserver's own rules: it does not start with a file that breaks one. */
	r = encconf_parse(span_of(text, len), "kube-apiserver would refuse it", 0, &conf, &err);
	if (r < 0)
		return ctl_fail("%s", *err.text ? err.text : errno_text(r));
	fputs(text, stdout);
	return fflush(stdout) == 0 ? 0 : ctl_fail("cannot write: %s", errno_text(errno));
}
