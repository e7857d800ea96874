/* SPDX-License-Identifier: Apache-2.0 */
/* See resource.h. */
#include "daemon/dump/resource.h"

#include <stdio.h>

#include "daemon/base/cleanup.h"

/* What stands in etcd, the resource, its group. A name that is not here is itself, of the core group. */
static const struct builtin {
	const char *stored, *name, *group;
} builtins[] = {
	{ "apiregistration.k8s.io/apiservices", "apiservices", "apiregistration.k8s.io" },
	{ "certificatesigningrequests", "certificatesigningrequests", "certificates.k8s.io" },
	{ "clusterrolebindings", "clusterrolebindings", "rbac.authorization.k8s.io" },
	{ "clusterroles", "clusterroles", "rbac.authorization.k8s.io" },
	{ "clustertrustbundles", "clustertrustbundles", "certificates.k8s.io" },
	{ "controllerrevisions", "controllerrevisions", "apps" },
	{ "controllers", "replicationcontrollers", "" },
	{ "cronjobs", "cronjobs", "batch" },
	{ "csidrivers", "csidrivers", "storage.k8s.io" },
	{ "csinodes", "csinodes", "storage.k8s.io" },
	{ "csistoragecapacities", "csistoragecapacities", "storage.k8s.io" },
	{ "daemonsets", "daemonsets", "apps" },
	{ "deployments", "deployments", "apps" },
	{ "deviceclasses", "deviceclasses", "resource.k8s.io" },
	{ "devicetaintrules", "devicetaintrules", "resource.k8s.io" },
	{ "endpointslices", "endpointslices", "discovery.k8s.io" },
	{ "flowschemas", "flowschemas", "flowcontrol.apiserver.k8s.io" },
	{ "horizontalpodautoscalers", "horizontalpodautoscalers", "autoscaling" },
	{ "ingress", "ingresses", "networking.k8s.io" },
	{ "ingressclasses", "ingressclasses", "networking.k8s.io" },
	{ "ipaddresses", "ipaddresses", "networking.k8s.io" },
	{ "jobs", "jobs", "batch" },
	{ "leasecandidates", "leasecandidates", "coordination.k8s.io" },
	{ "leases", "leases", "coordination.k8s.io" },
	{ "masterleases", "apiserveripinfo", "" },
	{ "minions", "nodes", "" },
	{ "mutatingadmissionpolicies", "mutatingadmissionpolicies",
	  "admissionregistration.k8s.io" },
	{ "mutatingadmissionpolicybindings", "mutatingadmissionpolicybindings",
	  "admissionregistration.k8s.io" },
	{ "mutatingwebhookconfigurations", "mutatingwebhookconfigurations",
	  "admissionregistration.k8s.io" },
	{ "networkpolicies", "networkpolicies", "networking.k8s.io" },
	{ "poddisruptionbudgets", "poddisruptionbudgets", "policy" },
	{ "priorityclasses", "priorityclasses", "scheduling.k8s.io" },
	{ "prioritylevelconfigurations", "prioritylevelconfigurations",
	  "flowcontrol.apiserver.k8s.io" },
	{ "replicasets", "replicasets", "apps" },
	{ "resourceclaims", "resourceclaims", "resource.k8s.io" },
	{ "resourceclaimtemplates", "resourceclaimtemplates", "resource.k8s.io" },
	{ "resourceslices", "resourceslices", "resource.k8s.io" },
	{ "rolebindings", "rolebindings", "rbac.authorization.k8s.io" },
	{ "roles", "roles", "rbac.authorization.k8s.io" },
	{ "runtimeclasses", "runtimeclasses", "node.k8s.io" },
	{ "servicecidrs", "servicecidrs", "networking.k8s.io" },
	{ "services/endpoints", "endpoints", "" },
	{ "services/specs", "services", "" },
	{ "statefulsets", "statefulsets", "apps" },
	{ "storageclasses", "storageclasses", "storage.k8s.io" },
	{ "storageversions", "storageversions", "internal.apiserver.k8s.io" },
	{ "storageversionmigrations", "storageversionmigrations", "storagemigration.k8s.io" },
	{ "validatingadmissionpolicies", "validatingadmissionpolicies",
	  "admissionregistration.k8s.io" },
	{ "validatingadmissionpolicybindings", "validatingadmissionpolicybindings",
	  "admissionregistration.k8s.io" },
	{ "validatingwebhookconfigurations", "validatingwebhookconfigurations",
	  "admissionregistration.k8s.io" },
	{ "volumeattachments", "volumeattachments", "storage.k8s.io" },
	{ "volumeattributesclasses", "volumeattributesclasses", "storage.k8s.io" },
};

/* The first part of @s up to a '/', which is taken away too. False: it is empty. */
static bool resource_cut(struct span *s, struct span *ret)
{
	const uint8_t *slash = s->data ? memchr(s->data, '/', s->len) : NULL;
	size_t n = slash ? (size_t)(slash - s->data) : s->len;

	*ret = span_of(s->data, n);
	*s = span_skip(*s, slash ? n + 1 : n);
	return n > 0;
}

static bool builtin_find(struct span *rest, struct resource *ret)
{
	for (size_t i = 0; i < ARRAY_SIZE(builtins); i++) {
		struct span stored = span_str(builtins[i].stored);

		if (!span_starts_with(*rest, stored) || rest->len == stored.len ||
		    rest->data[stored.len] != '/')
			continue;
		ret->name = span_str(builtins[i].name);
		ret->group = span_str(builtins[i].group);
		*rest = span_skip(*rest, stored.len + 1);
		return true;
	}
	return false;
}

/* A group of a custom resource has a dot, a resource has none. */
static bool named_find(struct span *rest, struct resource *ret)
{
	if (!resource_cut(rest, &ret->name))
		return false;
	ret->group = SPAN_NULL;
	if (!ret->name.data || !memchr(ret->name.data, '.', ret->name.len))
		return true;
	ret->group = ret->name;
	return resource_cut(rest, &ret->name);
}

bool resource_parse(struct span key, struct span prefix, struct resource *ret)
{
	struct resource r = { 0 };
	struct span rest, first;

	if (!span_starts_with(key, prefix))
		return false;
	rest = span_skip(key, prefix.len);
	if (!builtin_find(&rest, &r) && !named_find(&rest, &r))
		return false;
	if (!resource_cut(&rest, &first))
		return false;
	if (rest.len == 0) {
		r.object = first;
	} else {
		r.ns = first;
		r.object = rest;
	}
	*ret = r;
	return true;
}

static char printable(uint8_t c)
{
	return c > ' ' && c < 0x7f ? (char)c : '?';
}

void resource_text(const struct resource *r, char ret[static RESOURCE_TEXT_MAX])
{
	size_t n = 0;

	for (size_t i = 0; i < r->name.len && n < RESOURCE_TEXT_MAX - 1; i++)
		ret[n++] = printable(r->name.data[i]);
	if (r->group.len > 0 && n < RESOURCE_TEXT_MAX - 1)
		ret[n++] = '.';
	for (size_t i = 0; i < r->group.len && n < RESOURCE_TEXT_MAX - 1; i++)
		ret[n++] = printable(r->group.data[i]);
	ret[n] = '\0';
}

bool resource_covered(const struct resource *r, const char *pattern)
{
	const char *dot = strchr(pattern, '.');
	struct span name = dot ? span_of(pattern, (size_t)(dot - pattern)) : span_str(pattern);
	struct span group = span_str(dot ? dot + 1 : "");
	struct span any = span_str("*");

	if (!span_equal(name, any) && !span_equal(name, r->name))
		return false;
	return (span_equal(name, any) && span_equal(group, any)) || span_equal(group, r->group);
}
