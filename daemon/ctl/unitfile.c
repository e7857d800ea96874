/* SPDX-License-Identifier: Apache-2.0 */
/* See unitfile.h. A drop-in of one directory hides those of its name in the directories behind it. */
#include "daemon/ctl/unitfile.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/cleanup.h"

#define SETTINGS_MAX 512
#define DROPINS_MAX  64

/* Those of systemd.unit(5) that a package or an operator uses, the strongest first. */
static const char *const dirs[] = {
	"/etc/systemd/system",           "/run/systemd/system",     "/run/systemd/generator",
	"/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system",
};

struct setting {
	char *key, *value;
};

struct unitfile {
	struct setting v[SETTINGS_MAX];
	size_t n;
	char word[4096];
};

void unitfile_free(struct unitfile *u)
{
	for (size_t i = 0; u && i < u->n; i++) {
		free(u->v[i].key);
		free(u->v[i].value);
	}
	free(u);
}

static char *trim(char *s)
{
	char *end;

	s += strspn(s, " \t");
	end = s + strlen(s);
	while (end > s && strchr(" \t\r\n", end[-1]))
		*--end = '\0';
	return s;
}

/* %t is /run for the system's units. A copy, or NULL. */
static char *expand(const char *s)
{
	char *out = malloc(2 * strlen(s) + 1), *to = out;

	for (; out && *s; s++) {
		if (s[0] == '%' && s[1] == 't') {
			to = stpcpy(to, "/run");
			s++;
		} else {
			*to++ = *s;
			s += s[0] == '%' && s[1] == '%';
		}
	}
	if (out)
		*to = '\0';
	return out;
}

static int take_line(struct unitfile *u, char *line)
{
	char *eq = strchr(line, '=');
	_cleanup_free_ char *key = NULL, *value = NULL;

	if (*line == '#' || *line == ';' || *line == '[' || !eq)
		return 0;
	if (u->n == SETTINGS_MAX)
		return -E2BIG;
	*eq = '\0';
	key = strdup(trim(line));
	value = expand(trim(eq + 1));
	if (!key || !value)
		return -ENOMEM;
	u->v[u->n++] = (struct setting){ move_ptr(key), move_ptr(value) };
	return 0;
}

/* A line that ends in a backslash goes on in the next one. */
static int unit_take_file(struct unitfile *u, const char *path)
{
	_cleanup_fclose_ FILE *f = fopen(path, "re");
	char whole[4096] = "", part[4096];
	int r = 0;

	if (!f)
		return -errno;
	while (r == 0 && fgets(part, sizeof(part), f)) {
		char *text = trim(part);
		size_t len = strlen(text), have = strlen(whole);
		bool more = len > 0 && text[len - 1] == '\\';

		if (have + len >= sizeof(whole))
			return -E2BIG;
		memcpy(whole + have, text, len + 1);
		if (more) {
			whole[have + len - 1] = ' ';
			continue;
		}
		r = take_line(u, whole);
		*whole = '\0';
	}
	return r;
}

/* A drop-in: its directory is dirs[dir]. */
struct dropin {
	char name[256];
	size_t dir;
};

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct dropin *)a)->name, ((const struct dropin *)b)->name);
}

static bool has_dropin(const struct dropin *v, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(v[i].name, name) == 0)
			return true;
	return false;
}

static size_t find_dropins(const char *root, const char *unit, struct dropin *v)
{
	char path[512];
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
		_cleanup_closedir_ DIR *d = NULL;
		const struct dirent *e;

		snprintf(path, sizeof(path), "%s%s/%s.d", root, dirs[i], unit);
		d = opendir(path);
		while (d && n < DROPINS_MAX && (e = readdir(d))) {
			size_t len = strlen(e->d_name);

			if (len < 5 || strcmp(e->d_name + len - 5, ".conf") != 0 ||
			    has_dropin(v, n, e->d_name))
				continue;
			v[n].dir = i;
			snprintf(v[n++].name, sizeof(v->name), "%s", e->d_name);
		}
	}
	qsort(v, n, sizeof(*v), by_name);
	return n;
}

int unitfile_read(const char *root, const char *name, struct unitfile **ret)
{
	_cleanup_free_ struct dropin *v = calloc(DROPINS_MAX, sizeof(*v));
	struct unitfile *u = calloc(1, sizeof(*u));
	char path[1024];
	size_t n;
	int r = u && v ? -ENOENT : -ENOMEM;

	for (size_t i = 0; r == -ENOENT && i < ARRAY_SIZE(dirs); i++) {
		snprintf(path, sizeof(path), "%s%s/%s", root, dirs[i], name);
		r = unit_take_file(u, path);
	}
	n = r == 0 ? find_dropins(root, name, v) : 0;
	for (size_t i = 0; r == 0 && i < n; i++) {
		snprintf(path, sizeof(path), "%s%s/%s.d/%s", root, dirs[v[i].dir], name, v[i].name);
		r = unit_take_file(u, path);
	}
	if (r < 0) {
		unitfile_free(u);
		return r;
	}
	*ret = u;
	return 0;
}

const char *unitfile_value(const struct unitfile *u, const char *key)
{
	for (size_t i = u->n; i > 0; i--)
		if (strcmp(u->v[i - 1].key, key) == 0)
			return u->v[i - 1].value;
	return "";
}

bool unitfile_is_on(const struct unitfile *u, const char *key)
{
	const char *value = unitfile_value(u, key);

	return strcmp(value, "yes") == 0 || strcmp(value, "true") == 0 ||
	       strcmp(value, "on") == 0 || strcmp(value, "1") == 0;
}

const char *unitfile_word(struct unitfile *u, const char *key, unsigned int *at)
{
	unsigned int number = 0;
	size_t first = 0;

	for (size_t i = 0; i < u->n; i++)
		if (strcmp(u->v[i].key, key) == 0 && !*u->v[i].value)
			first = i + 1;
	for (size_t i = first; i < u->n; i++) {
		const char *s = u->v[i].value;
		size_t len;

		if (strcmp(u->v[i].key, key) != 0)
			continue;
		for (s += strspn(s, " \t"); *s; s += len, s += strspn(s, " \t")) {
			len = strcspn(s, " \t");
			if (number++ != *at || len >= sizeof(u->word))
				continue;
			memcpy(u->word, s, len);
			u->word[len] = '\0';
			(*at)++;
			return u->word;
		}
	}
	return NULL;
}
