/* SPDX-License-Identifier: Apache-2.0 */
/* Where a cluster's API has a resource: from "secrets" or "vaults.example.com" to paths. */
#ifndef KEKD_CTL_KUBERESOURCE_H
#define KEKD_CTL_KUBERESOURCE_H

#include "daemon/ctl/kubeapi.h"

#define KUBE_NAME_MAX 253 /* a DNS subdomain, as all names here are */
#define KUBE_PATH_MAX 2048

struct kube_resource {
	char name[KUBE_NAME_MAX + 1];  /* "vaults" */
	char group[KUBE_NAME_MAX + 1]; /* "example.com", "" for the core group */
	char version[64];              /* the group's preferred one, or the first that has it */
	bool namespaced;
};

/* Zero-initialised is none. */
struct kube_resources {
	struct kube_resource *v;
	size_t n;
};

/*
 * Ask the cluster for @text as an EncryptionConfiguration has it, and put what that is behind *@all, unless it
 * is there: RESOURCE or RESOURCE.GROUP, or with * for RESOURCE everything that can be listed and patched of
 * the core group ("*."), of a group or of all ("*.*"). Says what went wrong, also that a resource
 * cannot be listed or patched; 0 or 1.
 */
int kube_resources_find(struct kubeapi *api, const char *text, struct kube_resources *all);
void kube_resources_clear(struct kube_resources *all);

/* "vaults.example.com", or "secrets". */
#define KUBE_RESOURCE_TEXT (2 * (KUBE_NAME_MAX + 1))
void kube_resource_text(const struct kube_resource *res, char ret[static KUBE_RESOURCE_TEXT]);

/* A list that is asked for; all borrowed, NULL: any. */
struct kube_list {
	unsigned int limit;
	const char *token;  /* where it goes on */
	const char *not_ns; /* none of this namespace */
};

/* Of the whole collection, NUL-terminated; -E2BIG. */
int kube_resource_list_path(const struct kube_resource *res, const struct kube_list *list,
			    char *ret, size_t size);
/* The collection itself, to create in; -E2BIG. */
int kube_resource_path(const struct kube_resource *res, char *ret, size_t size);
/* Of one object; @ns is not looked at unless the resource has namespaces. -E2BIG. */
int kube_resource_object_path(const struct kube_resource *res, const char *ns, const char *name,
			      char *ret, size_t size);

/* The version of a group that the cluster prefers; 0, 1 (said), or -ENOENT (not said): no such group. */
int kube_group_version(struct kubeapi *api, const char *group, char *ret, size_t size);

/* Why the cluster refuses, in its words; until the next call. */
const char *kube_answer_text(const struct kubeapi_answer *answer);

#endif
