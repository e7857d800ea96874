/* SPDX-License-Identifier: Apache-2.0 */
/* kekctl config check: what `kekd --check` says. config apiserver: the file to give to kube-apiserver's --encryption-provider-config. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include "daemon/base/log.h"
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

int ctl_config_check(const struct ctl *ctl _unused_, int argc, char **argv)
{
	char name[] = "kekd", check[] = "--check", config[] = "--config";
	char *args[] = { name, check, argc == 1 ? config : NULL, argc == 1 ? argv[0] : NULL, NULL };

	if (argc > 1)
		return ctl_usage("config check takes one file");
	exec_kekd(args);
	return ctl_fail("cannot run kekd: %s", errno_text(errno));
}

int ctl_config_apiserver(const struct ctl *ctl, int argc, char **argv)
{
	char socket[sizeof(((struct sockaddr_un *)0)->sun_path)];
	int r;

	r = ctl_kms_socket(ctl, socket, sizeof(socket));
	if (r != 0)
		return r;
	if (socket[0] != '/')
		return ctl_usage("config apiserver takes an absolute path as --socket: it is "
				 "kube-apiserver that goes by it");
	puts("apiVersion: apiserver.config.k8s.io/v1\n"
	     "kind: EncryptionConfiguration\n"
	     "resources:\n"
	     "- resources:");
	if (argc == 0)
		puts("  - secrets");
	for (int i = 0; i < argc; i++)
		printf("  - %s\n", argv[i]);
	printf("  providers:\n"
	       "  - kms:\n"
	       "      apiVersion: v2\n"
	       "      name: kekd\n"
	       "      endpoint: unix://%s\n"
	       "      timeout: 3s\n"
	       "  - identity: {}   # reads what was stored before; remove when all is rewritten\n",
	       socket);
	return 0;
}
