/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kekctl init: from an installed package to the files that a cluster is encrypted with.
 *   init.c        the command: answers from options, a file or the terminal; what to type next
 *   init_files.c  the files, and what each distribution wants of its kube-apiserver
 *
 * Nothing here reaches into a cluster. What it writes lies in /etc/kekd, but for drop-ins of kekd's own units, and
 * the edits of kube-apiserver are commands for the operator to type, each when the one before has worked.
 */
#ifndef KEKD_CTL_INIT_H
#define KEKD_CTL_INIT_H

#include "daemon/ctl/place.h"
#include "daemon/ctl/probe.h"

#define INIT_RESOURCES_MAX 1024

enum init_distribution { INIT_KUBEADM, INIT_K3S, INIT_RKE2, INIT_PLAIN, INIT_DISTRIBUTIONS };
enum init_root { INIT_SYSTEMD_CREDS, INIT_TPM, INIT_UNSEAL };
enum init_server { INIT_FIRST, INIT_FURTHER };

struct init_answers {
	unsigned int distribution;          /* enum init_distribution */
	unsigned int server;                /* enum init_server */
	unsigned int root;                  /* enum init_root */
	unsigned int shares, threshold;     /* of the root key, where it is made */
	unsigned int custody;               /* enum config_custody */
	char resources[INIT_RESOURCES_MAX]; /* with commas between them */
	char key[KEKD_KEY_NAME_MAX];
	struct peer apiserver;
	/* Found, not asked: the EncryptionConfiguration that kube-apiserver has already; "" if it has none. */
	char existing[512];
	bool goes_by_ours; /* its manifest names the file that init's commands make */
	bool generated; /* it is one that the distribution makes, so it is of no use to edit it */
	bool has_seal, has_keyset; /* a root key was here before */
};

extern const char *const init_distributions[], *const init_servers[], *const init_roots[];

/* Fill in what is found on the machine. */
void init_find(const struct place *p, struct init_answers *a);
/* Write the files. 0 or 1 (said). */
int init_place(struct place *p, const struct init_answers *a);
/* The commands that follow, a line each, with comments; caller frees. NULL: out of memory. */
char *init_next(const struct init_answers *a);

#endif
