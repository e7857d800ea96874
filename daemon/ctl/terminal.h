/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The operator's terminal while a secret is on it: /dev/tty, whatever standard input and output are. What is shown is on
 * the alternate screen, which keeps no scrollback, and is wiped before that goes; what is typed is not echoed and is no signal.
 * A signal that ends the program, and ^C, become -EINTR, so that the terminal is always put back.
 */
#ifndef KEKD_CTL_TERMINAL_H
#define KEKD_CTL_TERMINAL_H

#include <stddef.h>
#include <stdint.h>

#include "daemon/base/cleanup.h"
#include <kekd/span.h>

struct terminal;

/* -ENXIO: there is none. */
int terminal_open(struct terminal **ret);
/* As it was before; a signal that came meanwhile is delivered then. @t may be NULL. */
void terminal_close(struct terminal *t);
DEFINE_CLEANUP(struct terminal *, terminal_close);

/* An empty screen. */
void terminal_clear(struct terminal *t);
/* Nothing secret: it is formatted in memory that is not locked. */
void terminal_say(struct terminal *t, const char *fmt, ...) _printf_(2, 3);
/* A secret, written from where it lies. */
void terminal_put(struct terminal *t, struct span text);
/* One byte of what is typed. -EINTR; -ENODATA: the terminal is gone. */
int terminal_key(struct terminal *t, uint8_t *ret);

#endif
