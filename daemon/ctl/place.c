/* SPDX-License-Identifier: Apache-2.0 */
/* See place.h. A new file gets its name by link(2), which replaces none; ours is replaced by rename(2). */
#include "daemon/ctl/place.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "daemon/base/io.h"
#include "daemon/base/log.h"

#define PLACE_PATH_MAX 512
#define TEXT_MAX       (256 * 1024)

static const char *const words[] = {
	[PLACED_MADE] = "made",
	[PLACED_SAME] = "unchanged",
	[PLACED_DIFFERS] = "differs",
	[PLACED_REPLACED] = "replaced",
};

/* What is there, with a NUL behind it; NULL: nothing, or nothing that can be read. */
static char *present(const char *path)
{
	_cleanup_free_ char *text = malloc(TEXT_MAX + 1);
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	size_t len;

	if (!text || fd < 0 || io_read_all(fd, text, TEXT_MAX, &len) < 0)
		return NULL;
	text[len] = '\0';
	return move_ptr(text);
}

static int make_directories(const char *path)
{
	char way[PLACE_PATH_MAX + 8];

	snprintf(way, sizeof(way), "%s", path);
	for (char *s = strchr(way + 1, '/'); s; s = strchr(s + 1, '/')) {
		*s = '\0';
		if (mkdir(way, 0755) < 0 && errno != EEXIST)
			return ctl_fail("%s: %s", way, errno_text(errno));
		*s = '/';
	}
	return 0;
}

/* @replace: rename(2), otherwise the name must be free. */
static int place_write(const char *path, const char *text, bool replace)
{
	char temp[PLACE_PATH_MAX + 16];
	_cleanup_close_ int fd = -1;
	int r;

	if (make_directories(path) != 0)
		return 1;
	snprintf(temp, sizeof(temp), "%s.XXXXXX", path);
	fd = mkostemp(temp, O_CLOEXEC);
	if (fd < 0)
		return ctl_fail("%s: %s", temp, errno_text(errno));
	r = io_write_all(fd, text, strlen(text));
	if (r == 0 && (fchmod(fd, 0644) < 0 || fsync(fd) < 0))
		r = -errno;
	if (r == 0 && (replace ? rename(temp, path) : link(temp, path)) < 0)
		r = -errno;
	if (r < 0 || !replace)
		unlink(temp);
	return r == 0 ? 0 : ctl_fail("%s: %s", path, errno_text(r));
}

static void place_say(struct place *p, const char *path, const char *state)
{
	if (p->files)
		json_array_append_new(p->files,
				      json_pack("{s:s, s:s}", "path", path, "state", state));
	if (!p->ctl->json)
		printf("%-10s %s\n", state, path);
}

static int place_differing(struct place *p, const char *path, const char *text)
{
	char beside[PLACE_PATH_MAX + 8];

	snprintf(beside, sizeof(beside), "%s.new", path);
	p->differ++;
	if (!p->ctl->dry_run && place_write(beside, text, true) != 0)
		return 1;
	if (!p->ctl->json)
		printf("           it stays as it is; %s is what was to be written. Compare them: diff "
		       "%s %s\n",
		       beside, path, beside);
	return 0;
}

int place_file(struct place *p, const char *path, const char *text, const char *ours)
{
	_cleanup_free_ char *before = NULL;
	char full[PLACE_PATH_MAX];
	enum placed state = PLACED_MADE;
	int r = 0;

	if ((size_t)snprintf(full, sizeof(full), "%s%s", p->root, path) >= sizeof(full))
		return ctl_fail("%s%s: path too long", p->root, path);
	before = present(full);
	if (before && strcmp(before, text) == 0)
		state = PLACED_SAME;
	else if (before && ours && strncmp(before, ours, strlen(ours)) == 0)
		state = PLACED_REPLACED;
	else if (before)
		state = PLACED_DIFFERS;
	if (state == PLACED_MADE || state == PLACED_REPLACED) {
		p->made++;
		r = p->ctl->dry_run ? 0 : place_write(full, text, state == PLACED_REPLACED);
	}
	if (r != 0)
		return r;
	place_say(p, full, words[state]);
	if (p->ctl->dry_run && !p->ctl->json && state != PLACED_SAME)
		for (const char *s = text, *end; *s; s = *end ? end + 1 : end) {
			end = strchrnul(s, '\n');
			printf("  | %.*s\n", (int)(end - s), s);
		}
	return state == PLACED_DIFFERS ? place_differing(p, full, text) : 0;
}

int place_remove(struct place *p, const char *path, const char *ours)
{
	_cleanup_free_ char *before = NULL;
	char full[PLACE_PATH_MAX];

	if ((size_t)snprintf(full, sizeof(full), "%s%s", p->root, path) >= sizeof(full))
		return ctl_fail("%s%s: path too long", p->root, path);
	before = present(full);
	if (!before || strncmp(before, ours, strlen(ours)) != 0)
		return 0;
	if (!p->ctl->dry_run && unlink(full) < 0)
		return ctl_fail("%s: %s", full, errno_text(errno));
	p->made++;
	place_say(p, full, "removed");
	return 0;
}
