/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kekctl key import FILE: the end of keys in files.
 *
 *   1. read FILE into locked memory and parse it by the apiserver's own rules
 *   2. give each key to the keeper, which seals it and takes it into the kernel
 *   3. write FILE's configuration, without secrets, beside it
 *   4. say how to get rid of FILE; that is the operator's to do, when all nodes have the keys
 *
 * A key is known by a name of its own here, while an old configuration may use one name for several
 * keys. The first keeps it, the others become NAME.2, NAME.3 and so on; the label, which is what
 * stands in stored values, stays. Everything may be run again: a key that was imported is found by
 * what it is, and step 3 never replaces a file.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "daemon/base/log.h"
#include "daemon/base/secmem.h"
#include "daemon/chain/encconf.h"
#include "daemon/ctl/ctl.h"
#include "daemon/ctl/import.h"
#include "daemon/ctl/input.h"

#define NAMES_MAX 99 /* of one label */

static void keep_key(void *ctx, const struct board_key *key)
{
	*(struct board_key *)ctx = *key;
}

/* Hand over one key under the first name that is free, and call it by that name from now on. */
static int import_one(const struct ctl *ctl, struct admin_import *in,
		      const struct encconf_provider *p, struct encconf_key *key)
{
	struct admin_request req = { .version = ADMIN_VERSION, .verb = ADMIN_KEY_IMPORT };
	struct admin_reply end = { .r = -EEXIST };
	struct board_key made = { 0 };
	const struct ctl_exchange x = {
		.req = &req,
		.blob = span_of(in, sizeof(*in)),
		.each = keep_key,
		.ctx = &made,
	};

	*in = (struct admin_import){
		.key_bytes = (uint32_t)key->secret_len,
		.secretbox = p->kind == ENCCONF_SECRETBOX,
	};
	snprintf(in->label, sizeof(in->label), "%s", key->name);
	memcpy(in->key, key->secret, key->secret_len);
	for (unsigned int n = 1; end.r == -EEXIST && n <= NAMES_MAX; n++) {
		int len = n == 1 ? snprintf(req.name, KEKD_LABEL_MAX, "%s", key->name)
				 : snprintf(req.name, KEKD_LABEL_MAX, "%s.%u", key->name, n);

		if (len >= KEKD_LABEL_MAX)
			break;
		if (ctl_change(ctl, &x, NULL, &end) != 0)
			return 1;
	}
	if (end.r < 0)
		return ctl_fail("key \"%s\" of %s, line %u: %s", key->name,
				encconf_kind_name(p->kind), key->line,
				*end.text ? end.text : errno_text(end.r));
	printf("imported %-9s %-9s key \"%s\"", encconf_kind_name(p->kind),
	       key_alg_name(&made.info), key->name);
	if (strcmp(key->name, made.info.name) != 0)
		printf(" as \"%s\"", made.info.name);
	puts(key_alg_is_weak(&made.info) ? "  (weak: rotate it)" : "");
	free(key->name);
	key->name = NULL;
	return asprintf(&key->name, "%s", made.info.name) < 0 ? ctl_fail("out of memory") : 0;
}

static int import_all(const struct ctl *ctl, struct encconf *conf)
{
	struct admin_import *in = secmem_alloc(sizeof(*in));
	int r = 0;

	if (!in)
		return ctl_fail("no locked memory: %s", errno_text(errno));
	for (size_t i = 0; i < conf->items_count; i++)
		for (size_t j = 0; j < conf->items[i].providers_count; j++) {
			struct encconf_provider *p = &conf->items[i].providers[j];

			for (size_t k = 0; r == 0 && k < p->keys_count; k++)
				r = import_one(ctl, in, p, &p->keys[k]);
		}
	secmem_free(in, sizeof(*in));
	return r;
}

static void plan(const struct encconf *conf)
{
	for (size_t i = 0; i < conf->items_count; i++)
		for (size_t j = 0; j < conf->items[i].providers_count; j++) {
			const struct encconf_provider *p = &conf->items[i].providers[j];

			for (size_t k = 0; k < p->keys_count; k++)
				printf("# would import %s key \"%s\", %zu bits\n",
				       encconf_kind_name(p->kind), p->keys[k].name,
				       8 * p->keys[k].secret_len);
		}
}

static int import_run(const struct ctl *ctl, const char *file, const char *output)
{
	_cleanup_(encconf_freep) struct encconf *conf = NULL;
	_cleanup_(input_release) struct input in = { 0 };
	struct yaml_error err = { 0 };
	struct stat st;
	int r;

	r = input_read(file, &in);
	if (r != 0)
		return r;
	r = encconf_parse(span_of(in.text, in.len), file, ENCCONF_ALLOW_SECRETS, &conf, &err);
	if (r < 0)
		return ctl_fail("%s", *err.text ? err.text : errno_text(r));
	if (ctl->dry_run) {
		plan(conf);
		return import_print(conf, stdout) == 0 ? 0 : ctl_fail("cannot write");
	}
	if (lstat(output, &st) == 0)
		return ctl_fail(
			"%s exists and is not overwritten; remove it, or give --output FILE",
			output);
	r = import_all(ctl, conf);
	if (r != 0)
		return r;
	r = import_write(conf, output);
	if (r < 0)
		return ctl_fail("%s: %s; the keys are imported: run this again", output,
				errno_text(r));
	printf("\nwrote %s, without secrets: name it as encryptionConfig: of kekd.yaml, reload kekd\n"
	       "and read a value of each kind back (kekctl transform from-storage).\n"
	       "Import on one node only: copy its key store to the others, so that a key has one id.\n"
	       "Then, on every node that has the file:\n\n"
	       "  shred -u %s\n\n"
	       "shred does not reach snapshots, backups, nor what a copy-on-write file system or an\n"
	       "SSD keeps: whoever may hold such a copy has these keys until all is rewritten with\n"
	       "keys that were made by kekd.\n",
	       output, file);
	return 0;
}

int ctl_key_import(const struct ctl *ctl, int argc, char **argv)
{
	_cleanup_free_ char *beside = NULL;

	if (argc != 1)
		return ctl_usage("key import takes the file of an EncryptionConfiguration");
	if (asprintf(&beside, "%s.kekd.yaml", argv[0]) < 0)
		return ctl_fail("out of memory");
	return import_run(ctl, argv[0], ctl->output ? ctl->output : beside);
}
