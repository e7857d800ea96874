/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One stored value, as people have it: its bytes, with the newline that etcdctl puts behind it, with its key in
 * the line before, and all that in base64 or as hexdump -C or xxd show it.
 */
#ifndef KEKD_DUMP_SINGLE_H
#define KEKD_DUMP_SINGLE_H

#include "daemon/dump/dump.h"

/* Does a file that begins so hold one? @key as below. */
bool single_is(struct span head, struct span key);

struct single {
	struct span value;
	bool newline; /* it ends in one, and whether that is its own nobody can tell */
};

/*
 * The value of @key in @text, which is written over; *@ret lies in it. -EBADMSG: it is none, or of another key;
 * -ENOMEM.
 */
int single_find(uint8_t *text, size_t len, struct span key, struct dump_error *err,
		struct single *ret);

#endif
