/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See import.h. The text is made anew from what was parsed, so a secret cannot come along in a
 * comment or an odd spelling; comments of the old file are lost. link(2) is what makes the file
 * appear: it never replaces another, unlike rename(2).
 */
#include "daemon/ctl/import.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

#include "daemon/base/io.h"
#include "daemon/base/cleanup.h"

/* A YAML double-quoted scalar, valid as JSON too. Control characters were refused by the parser. */
static void import_file_put_text(FILE *to, const char *s)
{
	fputc('"', to);
	for (; *s; s++) {
		if (*s == '"' || *s == '\\')
			fputc('\\', to);
		fputc(*s, to);
	}
	fputc('"', to);
}

static void put_kms(FILE *to, const struct encconf_kms *kms)
{
	fprintf(to, "  - kms:\n      apiVersion: v%u\n      name: ", kms->version);
	import_file_put_text(to, kms->name);
	fputs("\n      endpoint: ", to);
	import_file_put_text(to, kms->endpoint);
	fputs("\n      timeout: ", to);
	if (kms->timeout % 1000000000 == 0)
		fprintf(to, "%" PRId64 "s", kms->timeout / 1000000000);
	else if (kms->timeout % 1000000 == 0)
		fprintf(to, "%" PRId64 "ms", kms->timeout / 1000000);
	else
		fprintf(to, "%" PRId64 "ns", kms->timeout);
	if (kms->version == 1)
		fprintf(to, "\n      cachesize: %" PRId32, kms->cachesize);
	fputc('\n', to);
}

static void put_provider(FILE *to, const struct encconf_provider *p)
{
	if (p->kind == ENCCONF_KMS) {
		put_kms(to, &p->kms);
		return;
	}
	if (p->kind == ENCCONF_IDENTITY) {
		fputs("  - identity: {}\n", to);
		return;
	}
	fprintf(to, "  - %s:\n      keys:\n", encconf_kind_name(p->kind));
	for (size_t i = 0; i < p->keys_count; i++) {
		fputs("      - name: ", to);
		import_file_put_text(to, p->keys[i].name);
		fputc('\n', to);
	}
}

int import_print(const struct encconf *conf, FILE *to)
{
	fputs("# Keys are names: kekd has the keys themselves (kekctl key list).\n"
	      "apiVersion: apiserver.config.k8s.io/v1\n"
	      "kind: EncryptionConfiguration\n"
	      "resources:\n",
	      to);
	for (size_t i = 0; i < conf->items_count; i++) {
		const struct encconf_item *item = &conf->items[i];

		fputs("- resources:\n", to);
		for (size_t k = 0; k < item->resources_count; k++) {
			fputs("  - ", to);
			import_file_put_text(to, item->resources[k].name);
			fputc('\n', to);
		}
		fputs("  providers:\n", to);
		for (size_t k = 0; k < item->providers_count; k++)
			put_provider(to, &item->providers[k]);
	}
	return fflush(to) == 0 && !ferror(to) ? 0 : -EIO;
}

/* @fd consumed. */
static int import_file_fill(int fd, const struct encconf *conf)
{
	_cleanup_fclose_ FILE *f = fdopen(fd, "w");
	int r;

	if (!f) {
		r = -errno;
		close(fd);
		return r;
	}
	r = import_print(conf, f);
	if (r == 0 && fsync(fileno(f)) < 0)
		r = -errno;
	return r;
}

int import_write(const struct encconf *conf, const char *path)
{
	_cleanup_free_ char *temporary = NULL;
	int fd, r;

	if (asprintf(&temporary, "%s.%d.tmp", path, getpid()) < 0)
		return -ENOMEM;
	fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	r = import_file_fill(fd, conf);
	if (r == 0 && link(temporary, path) < 0)
		r = -errno;
	unlink(temporary);
	return r == 0 ? io_sync_folder(path) : r;
}
