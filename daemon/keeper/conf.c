/* SPDX-License-Identifier: Apache-2.0 */
/* See conf.h. */
#include "daemon/keeper/conf.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "daemon/base/io.h"
#include "daemon/base/log.h"
#include "daemon/chain/policy.h"

#define CONF_BYTES_MAX (1024 * 1024)

struct text {
	char *data;
	size_t len; /* what is there of the file, at most */
};

/*
 * A text may hold a secret that should not be there: wipe before freeing. No more than was read, as the memory is for the
 * longest text and most of its pages have never been touched.
 */
static void text_drop(struct text *text)
{
	if (text->data)
		explicit_bzero(text->data, text->len);
	free(text->data);
}

/* Whole file into a sealed memfd and into memory. */
static int file_take(const char *path, struct text *ret_text, int *ret_fd)
{
	_cleanup_(text_drop) struct text text = { 0 };
	_cleanup_close_ int fd = -1, mem = -1;
	struct stat st;
	int r;

	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_size > CONF_BYTES_MAX)
		return -EFBIG;
	text.data = malloc(CONF_BYTES_MAX + 1);
	if (!text.data)
		return -ENOMEM;
	text.len = CONF_BYTES_MAX + 1;
	r = io_read_all(fd, text.data, CONF_BYTES_MAX + 1, &text.len);
	if (r < 0)
		return r;
	if (text.len > CONF_BYTES_MAX)
		return -EFBIG;
	mem = memfd_create("kekd-configuration", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (mem < 0)
		return -errno;
	if (write(mem, text.data, text.len) != (ssize_t)text.len)
		return -EIO;
	if (fcntl(mem, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) < 0)
		return -errno;
	*ret_text = text;
	text = (struct text){ 0 };
	*ret_fd = move_fd(mem);
	return 0;
}

static int take_or_say(const char *path, struct text *ret_text, int *ret_fd)
{
	int r = file_take(path, ret_text, ret_fd);

	if (r < 0)
		log_error("%s: cannot read: %s", path, errno_text(r));
	return r;
}

/* Each string with its length, so that no two lists are the same text. */
static void conf_put_string(FILE *to, const char *s)
{
	fprintf(to, "%zu:%s\n", strlen(s), s);
}

static void put_chain(FILE *to, const struct encconf_item *item)
{
	fputs("item\n", to);
	for (size_t i = 0; i < item->resources_count; i++)
		conf_put_string(to, item->resources[i].name);
	for (size_t i = 0; i < item->providers_count; i++) {
		const struct encconf_provider *p = &item->providers[i];

		fprintf(to, "provider %s\n", encconf_kind_name(p->kind));
		for (size_t j = 0; j < p->keys_count; j++)
			conf_put_string(to, p->keys[j].name);
		if (p->kind == ENCCONF_KMS) {
			fprintf(to, "v%u\n", p->kms.version);
			conf_put_string(to, p->kms.name);
		}
	}
}

static int conf_digest(struct conf *c)
{
	const struct config_rotation *rotation = &c->config->rotation;
	_cleanup_free_ char *text = NULL;
	size_t len = 0;
	FILE *to = open_memstream(&text, &len);

	if (!to)
		return -ENOMEM;
	for (size_t i = 0; i < c->enc->items_count; i++)
		put_chain(to, &c->enc->items[i]);
	fprintf(to, "rotation %" PRId64 " %" PRIu64 " %d %" PRId64 "\n", rotation->max_age,
		rotation->max_encryptions, rotation->automatic, rotation->keep_retired);
	if (fclose(to) != 0)
		return -ENOMEM;
	return sha256(&(struct span){ .data = (const uint8_t *)text, .len = len }, 1, c->digest);
}

int conf_load(const char *path, struct conf **ret)
{
	_cleanup_(conf_freep) struct conf *c = NULL;
	_cleanup_(text_drop) struct text text = { 0 }, enc = { 0 };
	struct yaml_error err = { 0 };
	int r;

	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	c->config_fd = c->enc_fd = -1;
	r = take_or_say(path, &text, &c->config_fd);
	if (r < 0)
		return r;
	r = config_parse(span_of(text.data, text.len), path, &c->config, &err);
	if (r == 0)
		r = config_resolve(c->config, &err);
	if (r == 0) {
		r = take_or_say(c->config->encryption_config, &enc, &c->enc_fd);
		if (r < 0)
			return r;
		r = encconf_parse(span_of(enc.data, enc.len), c->config->encryption_config, 0,
				  &c->enc, &err);
	}
	if (r == 0)
		r = policy_check(c->config, c->enc, c->config->encryption_config, &err);
	if (r < 0) {
		log_error("%s", *err.text ? err.text : errno_text(r));
		return r;
	}
	if (c->config->sockets.count != c->enc->items_count) {
		log_error(
			"%s: %zu socket(s) for %zu `resources` item(s) of %s; give each item one, in the "
			"same order",
			path, c->config->sockets.count, c->enc->items_count,
			c->config->encryption_config);
		return -EINVAL;
	}
	r = conf_digest(c);
	if (r < 0)
		return r;
	*ret = move_ptr(c);
	return 0;
}

void conf_free(struct conf *c)
{
	if (!c)
		return;
	closep(&c->config_fd);
	closep(&c->enc_fd);
	encconf_free(c->enc);
	config_free(c->config);
	free(c);
}

bool conf_names_key(const struct conf *c, const char *name)
{
	for (size_t i = 0; i < c->enc->items_count; i++)
		for (size_t j = 0; j < c->enc->items[i].providers_count; j++) {
			const struct encconf_provider *p = &c->enc->items[i].providers[j];

			for (size_t k = 0; k < p->keys_count; k++)
				if (strcmp(p->keys[k].name, name) == 0)
					return true;
		}
	return false;
}

bool conf_names_upstream(const struct conf *c, const char *path)
{
	for (size_t i = 0; i < c->enc->items_count; i++)
		for (size_t j = 0; j < c->enc->items[i].providers_count; j++) {
			const struct encconf_provider *p = &c->enc->items[i].providers[j];

			if (p->kind == ENCCONF_KMS && strcmp(p->kms.path, path) == 0)
				return true;
		}
	return false;
}

static bool same_strings(const struct config_strings *a, const struct config_strings *b)
{
	if (a->count != b->count)
		return false;
	for (size_t i = 0; i < a->count; i++)
		if (strcmp(a->v[i], b->v[i]) != 0)
			return false;
	return true;
}

static bool same_text(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

static bool same_id(const struct config_id *a, const struct config_id *b)
{
	return a->given == b->given && (!a->given || a->id == b->id);
}

static bool same_ids(const struct config_ids *a, const struct config_ids *b)
{
	if (a->count != b->count)
		return false;
	for (size_t i = 0; i < a->count; i++)
		if (a->v[i].id != b->v[i].id)
			return false;
	return true;
}

/* The command itself and its timeout may change: they are for the next start. */
int conf_reloadable(const struct conf *now, const struct conf *next)
{
	const struct config *a = now->config, *b = next->config;
	const struct config_transform *ta = &a->transform, *tb = &b->transform;
	const struct config_cluster *ca = &a->cluster, *cb = &b->cluster;
	const struct config_limits *la = &a->limits, *lb = &b->limits;
	const char *what = NULL;

	if (!same_strings(&a->sockets, &b->sockets))
		what = "the sockets";
	else if (a->socket_mode != b->socket_mode || !same_id(&a->socket_group, &b->socket_group))
		what = "the sockets' mode or group";
	else if (strcmp(a->admin_socket, b->admin_socket) != 0 ||
		 !same_id(&a->admin_gid, &b->admin_gid))
		what = "the admin socket";
	else if (a->ring != b->ring)
		what = "the ring";
	else if (a->workers != b->workers)
		what = "the number of workers";
	else if (la->connections != lb->connections || la->streams != lb->streams ||
		 la->in_flight != lb->in_flight || la->message_bytes != lb->message_bytes ||
		 la->locked_memory != lb->locked_memory)
		what = "the limits";
	else if (a->policy != b->policy)
		what = "the policy";
	else if (!same_text(ta->socket, tb->socket) ||
		 (ta->socket &&
		  (!same_ids(&ta->uids, &tb->uids) || !same_ids(&ta->gids, &tb->gids))))
		what = "the transform service";
	else if (!same_text(a->metrics.listen, b->metrics.listen))
		what = "the metrics' address";
	else if (a->audit.journal != b->audit.journal || a->audit.failure != b->audit.failure ||
		 !same_text(a->audit.file, b->audit.file))
		what = "the audit";
	else if (!same_strings(&ca->endpoints, &cb->endpoints) || !same_text(ca->ca, cb->ca) ||
		 !same_text(ca->cert, cb->cert) || !same_text(ca->key, cb->key) ||
		 !same_text(ca->prefix, cb->prefix))
		what = "the cluster";
	else if (a->custody != b->custody)
		what = "the custody";
	else if (strcmp(a->key_store, b->key_store) != 0)
		what = "the key store";
	else if (a->root_source != b->root_source)
		what = "the root key's source";
	else if (a->server_user.id != b->server_user.id)
		what = "the server's user";
	if (!what)
		return 0;
	log_error("reload refused: a change of %s needs a restart; the old configuration "
		  "stays in force",
		  what);
	return -EOPNOTSUPP;
}
