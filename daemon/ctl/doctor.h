/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kekctl doctor: each check looks at one thing and reports findings. A finding says what is, what it
 * means, and the exact cure.
 *   doctor.c       the command, its output
 *   doctor_host.c  the kernel's policies and this machine, from files: also of another root
 *   doctor_live.c  what only trying shows: AF_ALG, keys, the daemon
 *   doctor_fips.c  where FIPS 140 is asked for
 */
#ifndef KEKD_CTL_DOCTOR_H
#define KEKD_CTL_DOCTOR_H

#include "daemon/chain/config.h"
#include "daemon/ctl/ctl.h"

enum doctor_level { DOCTOR_OK, DOCTOR_WARNING, DOCTOR_PROBLEM };

struct doctor {
	const struct ctl *ctl; /* borrowed */
	const char *root;      /* before every path; "" is this machine */
	unsigned int custody;  /* enum config_custody: of the daemon that runs, or in kekd.yaml */
	struct config *conf;   /* kekd.yaml below @root; NULL: there is none, or it is wrong */
	struct yaml_error conf_error;
	int asked; /* what its status was, or why there is none: ctl_try() */
	struct admin_reply reply;
	json_t *findings;
	unsigned int count[DOCTOR_PROBLEM + 1];
};

/* @check: what was looked at; @text: how it is; @cure: "" when it is well. All borrowed. */
void doctor_report(struct doctor *d, enum doctor_level level, const char *check, const char *cure,
		   const char *text, ...) _printf_(5, 6);

/* The first line of root + @path, without its end; @ret is untouched on failure. -errno. */
int doctor_line(const struct doctor *d, const char *path, char *ret, size_t size);

/* All findings, in words or JSON as the command line asks; 0, or 1 with a problem among them. */
int doctor_print(const struct doctor *d);

/* The first that this kernel lets this process have, in the order of enum config_custody. */
unsigned int doctor_best_custody(void);

/* Ask the daemon how it is, first: what the others look for depends on it. */
void doctor_ask(struct doctor *d);
void doctor_kernel(struct doctor *d);
void doctor_host(struct doctor *d);
void doctor_live(struct doctor *d);
void doctor_fips(struct doctor *d);

#endif
