/* SPDX-License-Identifier: Apache-2.0 */
/* See resource.h. */
#include "daemon/dump/resource.h"

#include <ctype.h>
#include <stdio.h>

#include "daemon/base/cleanup.h"

/*
 * What stands in etcd, the resource, its group. Behind "ranges" are those that Services are given numbers and
 * addresses from, which are stored as Services are. OpenShift's API servers have some names of their own.
 */
static const struct builtin {
	const char *stored, *name, *group;
} builtins[] = {
	{ "apiregistration.k8s.io/apiservices", "apiservices", "apiregistration.k8s.io" },
	{ "bindings", "bindings", "" },
	{ "certificatesigningrequests", "certificatesigningrequests", "certificates.k8s.io" },
	{ "clusterrolebindings", "clusterrolebindings", "rbac.authorization.k8s.io" },
	{ "clusterroles", "clusterroles", "rbac.authorization.k8s.io" },
	{ "clustertrustbundles", "clustertrustbundles", "certificates.k8s.io" },
	{ "componentstatuses", "componentstatuses", "" },
	{ "configmaps", "configmaps", "" },
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
	{ "events", "events", "" },
	{ "flowschemas", "flowschemas", "flowcontrol.apiserver.k8s.io" },
	{ "horizontalpodautoscalers", "horizontalpodautoscalers", "autoscaling" },
	{ "ingress", "ingresses", "networking.k8s.io" },
	{ "ingressclasses", "ingressclasses", "networking.k8s.io" },
	{ "ipaddresses", "ipaddresses", "networking.k8s.io" },
	{ "jobs", "jobs", "batch" },
	{ "leasecandidates", "leasecandidates", "coordination.k8s.io" },
	{ "leases", "leases", "coordination.k8s.io" },
	{ "limitranges", "limitranges", "" },
	{ "masterleases", "apiserveripinfo", "" },
	{ "minions", "nodes", "" },
	{ "mutatingadmissionpolicies", "mutatingadmissionpolicies",
	  "admissionregistration.k8s.io" },
	{ "mutatingadmissionpolicybindings", "mutatingadmissionpolicybindings",
	  "admissionregistration.k8s.io" },
	{ "mutatingwebhookconfigurations", "mutatingwebhookconfigurations",
	  "admissionregistration.k8s.io" },
	{ "namespaces", "namespaces", "" },
	{ "networkpolicies", "networkpolicies", "networking.k8s.io" },
	{ "oauth/accesstokens", "oauthaccesstokens", "oauth.openshift.io" },
	{ "oauth/authorizetokens", "oauthauthorizetokens", "oauth.openshift.io" },
	{ "oauth/clientauthorizations", "oauthclientauthorizations", "oauth.openshift.io" },
	{ "oauth/clients", "oauthclients", "oauth.openshift.io" },
	{ "persistentvolumeclaims", "persistentvolumeclaims", "" },
	{ "persistentvolumes", "persistentvolumes", "" },
	{ "podcertificaterequests", "podcertificaterequests", "certificates.k8s.io" },
	{ "poddisruptionbudgets", "poddisruptionbudgets", "policy" },
	{ "pods", "pods", "" },
	{ "podtemplates", "podtemplates", "" },
	{ "priorityclasses", "priorityclasses", "scheduling.k8s.io" },
	{ "prioritylevelconfigurations", "prioritylevelconfigurations",
	  "flowcontrol.apiserver.k8s.io" },
	{ "ranges", "services", "" },
	{ "replicasets", "replicasets", "apps" },
	{ "resourceclaims", "resourceclaims", "resource.k8s.io" },
	{ "resourceclaimtemplates", "resourceclaimtemplates", "resource.k8s.io" },
	{ "resourcequotas", "resourcequotas", "" },
	{ "resourceslices", "resourceslices", "resource.k8s.io" },
	{ "rolebindings", "rolebindings", "rbac.authorization.k8s.io" },
	{ "roles", "roles", "rbac.authorization.k8s.io" },
	{ "runtimeclasses", "runtimeclasses", "node.k8s.io" },
	{ "secrets", "secrets", "" },
	{ "serviceaccounts", "serviceaccounts", "" },
	{ "servicecidrs", "servicecidrs", "networking.k8s.io" },
	{ "services/endpoints", "endpoints", "" },
	{ "services/specs", "services", "" },
	{ "statefulsets", "statefulsets", "apps" },
	{ "storageclasses", "storageclasses", "storage.k8s.io" },
	{ "storageversionmigrations", "storageversionmigrations", "storagemigration.k8s.io" },
	{ "storageversions", "storageversions", "internal.apiserver.k8s.io" },
	{ "useridentities", "identities", "user.openshift.io" },
	{ "validatingadmissionpolicies", "validatingadmissionpolicies",
	  "admissionregistration.k8s.io" },
	{ "validatingadmissionpolicybindings", "validatingadmissionpolicybindings",
	  "admissionregistration.k8s.io" },
	{ "validatingwebhookconfigurations", "validatingwebhookconfigurations",
	  "admissionregistration.k8s.io" },
	{ "volumeattachments", "volumeattachments", "storage.k8s.io" },
	{ "volumeattributesclasses", "volumeattributesclasses", "storage.k8s.io" },
	{ "workloads", "workloads", "scheduling.k8s.io" },
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

/* Does @key begin with @stored, as whole parts of it, and is there more? */
static bool is_below(struct span key, const char *stored)
{
	size_t n = 0;

	while (n < key.len && stored[n] && key.data[n] == (uint8_t)stored[n])
		n++;
	return !stored[n] && n < key.len && key.data[n] == '/';
}

static bool builtin_find(struct span *rest, struct resource *ret)
{
	if (!rest->data)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(builtins) && rest->len > 0; i++) {
		/* Most are passed over by their first character: a dump asks for each of its keys. */
		if (rest->data[0] != (uint8_t)builtins[i].stored[0] ||
		    !is_below(*rest, builtins[i].stored))
			continue;
		ret->name = span_str(builtins[i].name);
		ret->group = span_str(builtins[i].group);
		*rest = span_skip(*rest, strlen(builtins[i].stored) + 1);
		return true;
	}
	return false;
}

/*
 * A group of a custom resource has a dot, a resource has none. An API server with a prefix of its own has its
 * group there too.
 */
static bool named_find(struct span *rest, struct resource *ret)
{
	if (!resource_cut(rest, &ret->name))
		return false;
	ret->guessed = true;
	while (ret->name.data && memchr(ret->name.data, '.', ret->name.len)) {
		ret->guessed = false;
		ret->group = ret->name;
		if (!resource_cut(rest, &ret->name))
			return false;
	}
	return true;
}

static bool object_find(struct span rest, struct resource *ret)
{
	struct span first;

	if (!resource_cut(&rest, &first))
		return false;
	ret->ns = rest.len > 0 ? first : SPAN_NULL;
	ret->object = rest.len > 0 ? rest : first;
	return true;
}

bool resource_parse(struct span key, struct span prefix, struct resource *ret)
{
	struct resource r = { 0 };
	struct span rest;

	if (!span_starts_with(key, prefix))
		return false;
	rest = span_skip(key, prefix.len);
	if ((!builtin_find(&rest, &r) && !named_find(&rest, &r)) || !object_find(rest, &r))
		return false;
	*ret = r;
	return true;
}

/* Kubernetes' own rule (k8s.io/apimachinery, pkg/api/meta, guesses of a resource by its kind). */
static struct span plural_of(struct span kind, char ret[static RESOURCE_NAME_MAX])
{
	size_t n = 0;
	char last;

	if (kind.len == 0 || kind.len > RESOURCE_NAME_MAX - 3)
		return SPAN_NULL;
	for (; n < kind.len; n++)
		ret[n] = (char)tolower(kind.data[n]);
	last = ret[n - 1];
	if (n >= 9 && memcmp(ret + n - 9, "endpoints", 9) == 0)
		return span_of(ret, n);
	if (last == 'y') {
		ret[n - 1] = 'i';
		ret[n++] = 'e';
	} else if (last == 's') {
		ret[n++] = 'e';
	}
	ret[n++] = 's';
	return span_of(ret, n);
}

/* The part of @key that is @name, and what follows. */
static bool segment_find(struct span key, struct span name, struct span *ret_before,
			 struct span *ret_rest)
{
	struct span rest = key, part;

	while (rest.len > 0) {
		size_t at = key.len - rest.len;

		resource_cut(&rest, &part);
		if (!part.data || !span_equal(part, name))
			continue;
		*ret_before = span_of(key.data, at);
		*ret_rest = rest;
		return true;
	}
	return false;
}

/* Resources of these groups are stored under another, or were: their key decides. */
static bool is_moved(struct span group)
{
	return span_equal(group, span_str("extensions")) ||
	       span_equal(group, span_str("events.k8s.io"));
}

void resource_told(struct resource *r, struct span key, struct span api_version, struct span kind)
{
	const uint8_t *slash =
		api_version.len > 0 ? memchr(api_version.data, '/', api_version.len) : NULL;
	struct span group =
		slash ? span_of(api_version.data, (size_t)(slash - api_version.data)) : SPAN_NULL;
	struct span name, before, rest;

	if (!r->guessed && (span_equal(group, r->group) || is_moved(group)))
		return;
	name = plural_of(kind, r->of_kind);
	if (name.len == 0)
		return;
	r->name = name;
	r->group = group;
	r->guessed = false;
	if (segment_find(key, name, &before, &rest))
		object_find(rest, r);
}

struct span resource_prefix(struct span key, struct span kind)
{
	char text[RESOURCE_NAME_MAX];
	struct span name = plural_of(kind, text), before, rest = key, part;
	struct resource r = { 0 };

	if (name.len > 0 && segment_find(key, name, &before, &rest))
		return before;
	for (rest = key; rest.len > 0; resource_cut(&rest, &part)) {
		struct span at = rest;

		if (builtin_find(&at, &r))
			return span_of(key.data, key.len - rest.len);
	}
	rest = key;
	if (key.data && key.len > 0 && key.data[0] == '/')
		rest = span_skip(key, 1);
	resource_cut(&rest, &part);
	return rest.len > 0 ? span_of(key.data, key.len - rest.len) : SPAN_NULL;
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
	if (span_equal(name, any) && span_equal(group, any))
		return true;
	return r->guessed ? group.len > 0 : span_equal(group, r->group);
}
