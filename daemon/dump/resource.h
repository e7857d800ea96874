/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which object a key of etcd is: /registry/secrets/NAMESPACE/NAME, /registry/minions/NAME,
 * /registry/GROUP/RESOURCE/NAMESPACE/NAME. Resources that Kubernetes has built in are stored without
 * their group, which an EncryptionConfiguration wants ("deployments.apps"), and a few under another
 * name; a table knows them (kube-apiserver, pkg/registry, resource prefixes of 1.36). Of a custom
 * resource the key says it all.
 */
#ifndef KEKD_DUMP_RESOURCE_H
#define KEKD_DUMP_RESOURCE_H

#include <kekd/span.h>

#define RESOURCE_TEXT_MAX 320 /* "resource.group" and a NUL */

/* Spans of the key or of constants. */
struct resource {
	struct span name, group; /* "deployments", "apps" */
	struct span ns;          /* empty: not in a namespace */
	struct span object;
};

/* False: @key is not below @prefix ("/registry/"), or is no object's. */
bool resource_parse(struct span key, struct span prefix, struct resource *ret);
/* "deployments.apps", "secrets"; cut if longer. Unprintable characters become '?'. */
void resource_text(const struct resource *r, char ret[static RESOURCE_TEXT_MAX]);
/* As an EncryptionConfiguration's list of resources means it: names, "*.apps", "*.", "*.*". */
bool resource_covered(const struct resource *r, const char *pattern);

#endif
