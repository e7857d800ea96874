/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kekctl doctor: each check looks at one thing and reports findings. A finding says what is, what it
 * means, and the exact cure.
 *   doctor.c       the command, its output
 *   doctor_host.c  the kernel's policies and this machine, from files: also of another root
 *   doctor_live.c  what only trying shows: AF_ALG, keys, the daemon
 */
#ifndef KEKD_CTL_DOCTOR_H
#define KEKD_CTL_DOCTOR_H

#include "daemon/ctl/ctl.h"

enum doctor_level { DOCTOR_OK, DOCTOR_WARNING, DOCTOR_PROBLEM };

struct doctor {
	const struct ctl *ctl; /* borrowed */
	const char *root;      /* before every path; "" is this machine */
	json_t *findings;
	unsigned int count[DOCTOR_PROBLEM + 1];
};

/* @check: what was looked at; @text: how it is; @cure: "" when it is well. All borrowed. */
void doctor_report(struct doctor *d, enum doctor_level level, const char *check, const char *cure,
		   const char *text, ...) _printf_(5, 6);

/* The first line of root + @path, without its end; @ret is untouched on failure. -errno. */
int doctor_line(const struct doctor *d, const char *path, char *ret, size_t size);

/*
 * What follows @key in the last line of root + @path that begins with it; "" if there is none. -ENOENT
 * and other errors of opening it.
 */
int doctor_value(const struct doctor *d, const char *path, const char *key, char *ret, size_t size);

void doctor_host(struct doctor *d);
void doctor_live(struct doctor *d);

#endif
