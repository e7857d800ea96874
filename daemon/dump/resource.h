/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which object a key of etcd is: /registry/secrets/NAMESPACE/NAME, /registry/minions/NAME,
 * /registry/GROUP/RESOURCE/NAMESPACE/NAME. Resources that Kubernetes has built in are stored without
 * their group, which an EncryptionConfiguration wants ("deployments.apps"), and a few under another
 * name; a table knows them (kube-apiserver, pkg/registry, resource prefixes of 1.36). Of a custom
 * resource the key says it all. Of others, as API servers beside kube-apiserver and newer ones store them,
 * it says the name at best: then `guessed` is set, unless the value itself tells what it is.
 */
#ifndef KEKD_DUMP_RESOURCE_H
#define KEKD_DUMP_RESOURCE_H

#include <kekd/span.h>

#define RESOURCE_TEXT_MAX 320 /* "resource.group" and a NUL */

#define RESOURCE_NAME_MAX 64 /* of a kind's; Kubernetes' own are shorter */

/* Spans of the key, of constants or of itself: not to be copied. */
struct resource {
	struct span name, group; /* "deployments", "apps" */
	struct span ns;          /* empty: not in a namespace */
	struct span object;
	bool guessed; /* the group is not known, and the name is where it should be */
	char of_kind[RESOURCE_NAME_MAX];
};

/* False: @key is not below @prefix ("/registry/"), or is no object's. */
bool resource_parse(struct span key, struct span prefix, struct resource *ret);
/*
 * What the value of @key is by its own apiVersion and @kind, where the key leaves it open or says another
 * group. Borrows all for the life of *@r.
 */
void resource_told(struct resource *r, struct span key, struct span api_version, struct span kind);
/* What comes before the resource in a key of an object: "/registry/". Empty: it cannot be said. */
struct span resource_prefix(struct span key, struct span kind);
/* "deployments.apps", "secrets"; cut if longer. Unprintable characters become '?'. */
void resource_text(const struct resource *r, char ret[static RESOURCE_TEXT_MAX]);
/*
 * As an EncryptionConfiguration's list of resources means it: names, "*.apps", "*.", "*.*". A resource of a
 * group that is not known may be of any but the core one, whose resources are all known.
 */
bool resource_covered(const struct resource *r, const char *pattern);

#endif
