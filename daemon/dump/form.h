/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What else people have in hand than a dump: recognised by how it begins, and told with the command that makes
 * it one.
 */
#ifndef KEKD_DUMP_FORM_H
#define KEKD_DUMP_FORM_H

#include <kekd/span.h>

#define FORM_HEAD 512 /* bytes of the beginning that are looked at */

enum form_width { FORM_BYTES, FORM_UTF8_MARK, FORM_UTF16_LE, FORM_UTF16_BE };

/* What to do with it, for people; NULL: nothing of that. @head: all of it if it is shorter than FORM_HEAD. */
const char *form_advice(struct span head);
/* Text as Windows writes it: with a byte order mark, or in two bytes a character. */
enum form_width form_width(struct span head);
/* Two bytes a character to one; what is not ASCII becomes '?'. In place; returns the length. */
size_t form_narrow(uint8_t *text, size_t len, enum form_width width);

#endif
