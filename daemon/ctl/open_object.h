/* SPDX-License-Identifier: Apache-2.0 */
/* kekctl open --decode: an object for people, its values masked or not. */
#ifndef KEKD_CTL_OPEN_OBJECT_H
#define KEKD_CTL_OPEN_OBJECT_H

#include <stdio.h>

#include <kekd/span.h>

/*
 * Print the object in @plain, which is stored under @path. What is no Secret and no ConfigMap is named
 * and not shown. Nothing of it reaches @to that a terminal would act on. 0, or -errno: -EINVAL, it is
 * neither protobuf nor JSON of Kubernetes; -ENOMEM, also of locked memory. All borrowed.
 */
int open_object_print(FILE *to, struct span path, struct span plain, bool reveal);

/* Bytes between double quotes, escaped as in C. */
void open_print_quoted(FILE *to, struct span s);

#endif
