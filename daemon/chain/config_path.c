/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Paths of kekd.yaml: absolute, and each spelled in the one way it has, as they are compared byte
 * for byte.
 */
#include <stdlib.h>
#include <string.h>

#include "daemon/chain/config_private.h"

static const char *path_problem(const char *path)
{
	const char *p = path;
	size_t len;

	if (path[0] == '@')
		return "must be a path, not an abstract socket (which has no permissions)";
	if (path[0] != '/')
		return "must be an absolute path";
	if (yaml_has_control(path))
		return "must not contain control characters";
	while (*p == '/') {
		p++;
		len = strcspn(p, "/");
		if (len == 0)
			return "must not end in \"/\" or contain \"//\"";
		if ((len == 1 && p[0] == '.') || (len == 2 && p[0] == '.' && p[1] == '.'))
			return "must not contain \".\" or \"..\"";
		p += len;
	}
	return NULL;
}

int config_copy_path(const struct yaml_doc *doc, const struct yaml_node *node, const char *what,
		     size_t max, char **ret)
{
	const char *problem;
	char *s;
	int r;

	r = yaml_expect(doc, node, YAML_STR, what);
	if (r < 0)
		return r;
	problem = path_problem(node->text);
	if (problem)
		return yaml_fail(doc, node, "\"%s\" %s", what, problem);
	if (node->len > max)
		return yaml_fail(doc, node, "\"%s\" is longer than %zu bytes", what, max);
	r = yaml_dup(node, &s);
	if (r < 0)
		return r;
	free(*ret);
	*ret = s;
	return 0;
}
