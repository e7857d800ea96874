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
	char version[64];              /* the group's preferred one that has it */
	bool namespaced;
};

/*
 * Ask the cluster for "RESOURCE" or "RESOURCE.GROUP". Says what went wrong, also that the resource
 * cannot be listed or patched; 0 or 1.
 */
int kube_resource_find(struct kubeapi *api, const char *text, struct kube_resource *ret);

/* Of the whole collection, NUL-terminated; -E2BIG. */
int kube_resource_list_path(const struct kube_resource *res, unsigned int limit,
			    const char *continue_token, char *ret, size_t size);
/* Of one object; @ns is not looked at unless the resource has namespaces. -E2BIG. */
int kube_resource_object_path(const struct kube_resource *res, const char *ns, const char *name,
			      char *ret, size_t size);

/* The version of a group that the cluster prefers; 0, 1 (said), or -ENOENT (not said): no such group. */
int kube_group_version(struct kubeapi *api, const char *group, char *ret, size_t size);

/* Why the cluster refuses, in its words; until the next call. */
const char *kube_answer_text(const struct kubeapi_answer *answer);

#endif
