/* SPDX-License-Identifier: Apache-2.0 */
/* A configuration file, whole, in locked memory: it may hold the keys of an old EncryptionConfiguration. */
#ifndef KEKD_CTL_INPUT_H
#define KEKD_CTL_INPUT_H

#include "daemon/base/yaml.h"

struct input {
	char *text; /* INPUT_ROOM bytes, or NULL */
	size_t len;
};

#define INPUT_ROOM (YAML_BYTES_MAX + 1)

/* 0, or 1 with the reason said. The caller releases *@ret. */
int input_read(const char *path, struct input *ret);
/* Wipes it. Nothing happens on a zeroed one. */
void input_release(struct input *in);

static inline struct span input_span(const struct input *in)
{
	return span_of(in->text, in->len);
}

#endif
