/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A resource is written `resource[.group]`: everything behind the first dot is the group, and no
 * dot or nothing behind it means the core group (ParseGroupResource in
 * k8s.io/apimachinery/pkg/runtime/schema/group_version.go). A resource of "*" is every resource of
 * the group, a group of "*" every group; so `*.` is the core group and `*.*` all there is.
 */
#include "daemon/chain/encconf_resources.h"

#include <string.h>

struct group_resource {
	struct span resource, group;
};

static struct group_resource resources_split(const char *name)
{
	const char *dot = strchr(name, '.');

	if (!dot)
		return (struct group_resource){ span_str(name), span_str("") };
	return (struct group_resource){ span_of(name, (size_t)(dot - name)), span_str(dot + 1) };
}

static bool is(struct span s, const char *text)
{
	return span_equal(s, span_str(text));
}

/* Could a rule for @wide, a wildcard, take what @r names? */
static bool resources_covers(struct group_resource wide, struct group_resource r)
{
	return is(wide.resource, "*") && (is(wide.group, "*") || span_equal(wide.group, r.group));
}

static int check_pair(const struct yaml_doc *doc, const struct yaml_node *at, const char *a,
		      const char *b)
{
	struct group_resource x = resources_split(a), y = resources_split(b);

	if (span_equal(x.resource, y.resource) && span_equal(x.group, y.group))
		return yaml_fail(doc, at, "the same resource twice in one list");
	if (resources_covers(x, y) || resources_covers(y, x))
		return yaml_fail(
			doc, at,
			"this resource and another of the same list overlap, one would be masked");
	return 0;
}

static const char *name_problem(const char *name)
{
	/* Exact names without a REST API, so that nothing could ever rewrite them. */
	static const char *const no_api[] = { "apiserveripinfo", "serviceipallocations",
					      "servicenodeportallocations" };
	struct group_resource r = resources_split(name);

	for (const char *c = name; *c; c++) {
		if (*c >= 'A' && *c <= 'Z')
			return "a resource must not contain capital letters";
		if ((unsigned char)*c >= 0x80 || (unsigned char)*c < 0x20)
			return "a resource must be ASCII";
	}
	if (strcmp(name, "*") == 0)
		return "use \"*.\" for the core group or \"*.*\" for all resources";
	for (size_t i = 0; i < ARRAY_SIZE(no_api); i++)
		if (strcmp(no_api[i], name) == 0)
			return "this resource has no REST API and cannot be encrypted";
	if (is(r.group, "events.k8s.io"))
		return "events are stored in the core group: use \"events\"";
	if (is(r.group, "extensions"))
		return "the group \"extensions\" has been removed";
	if (is(r.group, "*") && !is(r.resource, "*"))
		return "one resource across groups is not supported";
	return NULL;
}

int encconf_resources_check(const struct yaml_doc *doc, const struct yaml_node *list,
			    const struct encconf_resource *resources, size_t count)
{
	const struct yaml_node *n = list->child;
	const char *problem;
	int r;

	for (size_t i = 0; i < count; i++, n = n->next) {
		problem = name_problem(resources[i].name);
		if (problem)
			return yaml_fail(doc, n, "%s", problem);
		for (size_t j = 0; j < i; j++) {
			r = check_pair(doc, n, resources[j].name, resources[i].name);
			if (r < 0)
				return r;
		}
	}
	return 0;
}

static const struct encconf_resource *find_mask(const struct encconf *c, size_t before,
						struct group_resource r)
{
	for (size_t i = 0; i < before; i++) {
		const struct encconf_item *item = &c->items[i];

		for (size_t j = 0; j < item->resources_count; j++) {
			if (resources_covers(resources_split(item->resources[j].name), r))
				return &item->resources[j];
		}
	}
	return NULL;
}

int encconf_resources_masked(const struct encconf *c, const char *file, struct yaml_error *err)
{
	for (size_t i = 0; i < c->items_count; i++) {
		const struct encconf_item *item = &c->items[i];

		for (size_t j = 0; j < item->resources_count; j++) {
			const struct encconf_resource *r = &item->resources[j], *mask;

			mask = find_mask(c, i, resources_split(r->name));
			if (mask)
				return yaml_error_set(
					err, file, r->line, r->column,
					"this resource is masked by the wildcard of line %u",
					mask->line);
		}
	}
	return 0;
}
