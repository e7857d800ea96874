/* SPDX-License-Identifier: Apache-2.0 */
/* kekctl config apiserver: the file to give to kube-apiserver's --encryption-provider-config. */
#include <stdio.h>
#include <sys/un.h>

#include "daemon/ctl/ctl.h"

int ctl_config_apiserver(const struct ctl *ctl, int argc, char **argv)
{
	char socket[sizeof(((struct sockaddr_un *)0)->sun_path)];
	int r;

	r = ctl_kms_socket(ctl, socket, sizeof(socket));
	if (r != 0)
		return r;
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
