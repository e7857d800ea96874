/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kekctl scan: what is each value of a dump encrypted with, and is that as it should be?
 *
 * One pass over the dump, and of a value nothing is kept but a count; with --verify the values under
 * way to the daemon too. A value's verdict is what its bytes say (dump/rules.h), and with --verify what
 * the daemon found when it opened it, which counts more. The plaintext does not come back from there.
 */
#include "daemon/ctl/scan.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <string.h>
#include <sys/un.h>

#include "daemon/base/io.h"
#include "daemon/base/log.h"
#include "daemon/base/secmem.h"
#include "daemon/ctl/bulk.h"
#include "daemon/wire/grpc.h"

#define PREFIX_DEFAULT "/registry/"
#define ID_PREFIX_MIN  8

static const char *const covered_default[] = { "secrets" };

/* The keys that kekd has. */

static void scan_key_of(const struct admin_key *k, struct rules_key *ret)
{
	*ret = (struct rules_key){
		.activation = k->activation,
		.active = strcmp(k->state, "active") == 0,
		.gone = strcmp(k->state, "retired") == 0 || strcmp(k->state, "destroyed") == 0 ||
			k->usable < 0,
	};
	memcpy(ret->label, k->label, sizeof(ret->label));
	memcpy(ret->name, k->name, sizeof(ret->name));
	memcpy(ret->key_id, k->key_id, sizeof(ret->key_id));
}

static int keys_get(struct scan *s)
{
	_cleanup_(ctl_keys_clear) struct ctl_keys list = { 0 };
	struct rules_key *keys;

	if (s->ctl->offline)
		return 0;
	if (ctl_keys_get(s->ctl, &list) != 0) {
		fputs("kekctl: --offline scans without the daemon\n", stderr);
		return SCAN_FAILED;
	}
	keys = calloc(list.n + 1, sizeof(*keys));
	if (!keys)
		return ctl_fail("out of memory"), SCAN_FAILED;
	for (size_t i = 0; i < list.n; i++)
		scan_key_of(&list.v[i], &keys[i]);
	s->rules.keys = keys;
	s->rules.n_keys = list.n;
	return 0;
}

/* The configuration: with names of kekd's keys, or an apiserver's own with secrets. */

#define TEXT_ROOM (YAML_BYTES_MAX + 1)

/* In locked memory; the caller frees TEXT_ROOM bytes. */
static int file_read(const char *path, char **ret, size_t *ret_len)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t len = 0;
	char *text;
	int r;

	if (fd < 0)
		return -errno;
	text = secmem_alloc(TEXT_ROOM);
	if (!text)
		return -errno;
	r = io_read_all(fd, text, TEXT_ROOM, &len);
	if (r == 0 && len > YAML_BYTES_MAX)
		r = -EFBIG;
	if (r < 0) {
		secmem_free(text, TEXT_ROOM);
		return r;
	}
	*ret = text;
	*ret_len = len;
	return 0;
}

/* The secrets are of no use here. */
static int config_parse_any(struct scan *s, struct span text, struct encconf **ret)
{
	struct yaml_error err = { 0 }, err_literal = { 0 };
	int r;

	r = encconf_parse(text, s->ctl->config, 0, ret, &err);
	if (r == -EINVAL) {
		s->rules.literal = true;
		r = encconf_parse(text, s->ctl->config, ENCCONF_ALLOW_SECRETS, ret, &err_literal);
	}
	if (r < 0)
		return ctl_fail("%s", *err.text ? err.text : errno_text(r)), SCAN_FAILED;
	s->rules.conf = *ret;
	return 0;
}

static int config_get(struct scan *s, struct encconf **ret)
{
	char *text = NULL;
	size_t len = 0;
	int r;

	if (!s->ctl->config)
		return 0;
	r = file_read(s->ctl->config, &text, &len);
	if (r == -ENOMEM || r == -EPERM)
		return ctl_fail("%s: no locked memory for the file (RLIMIT_MEMLOCK too low?)",
				s->ctl->config),
		       SCAN_FAILED;
	if (r < 0)
		return ctl_fail("%s: %s", s->ctl->config, errno_text(r)), SCAN_FAILED;
	r = config_parse_any(s, span_of(text, len), ret);
	secmem_free(text, TEXT_ROOM);
	return r;
}

/* --uses KEY: an id, key_id or label of kekd's; a name that one key has; a name of the configuration. */

static bool scan_is_named(const struct rules_key *k, const char *what)
{
	size_t len = strlen(what);

	return strcmp(k->label, what) == 0 || strcmp(k->key_id, what) == 0 ||
	       (len >= ID_PREFIX_MIN && len <= KEKD_KEY_ID_HEX &&
		strncmp(k->key_id, what, len) == 0);
}

static size_t keys_match(const struct rules *rules, const char *what, bool by_name,
			 const struct rules_key **ret)
{
	size_t n = 0;

	for (size_t i = 0; i < rules->n_keys; i++) {
		const struct rules_key *k = &rules->keys[i];

		if (by_name ? strcmp(k->name, what) != 0 : !scan_is_named(k, what))
			continue;
		*ret = k;
		n++;
	}
	return n;
}

static bool label_known(const struct rules *rules, const char *what)
{
	for (size_t i = 0; i < rules->labels.n; i++)
		if (span_equal(rules->labels.v[i], span_str(what)))
			return true;
	return false;
}

static int use_find(struct scan *s)
{
	const char *what = s->ctl->uses;
	size_t n;

	if (!what)
		return 0;
	s->use.name = what;
	n = keys_match(&s->rules, what, false, &s->use.key);
	if (n == 0)
		n = keys_match(&s->rules, what, true, &s->use.key);
	if (n == 1)
		return 0;
	if (n > 1)
		return ctl_fail("\"%s\" may be any of %zu keys: give the id, see kekctl key list",
				what, n),
		       SCAN_FAILED;
	if (label_known(&s->rules, what) || s->ctl->offline)
		return 0;
	return ctl_fail("no key \"%s\"; see kekctl key list", what), SCAN_FAILED;
}

/* Where nobody has told of the keys: the label that kekd has made of a name and an id says both. */

/* The digits in an id, its beginning, or a key_id; none in anything else. */
static struct span scan_digits_of(const char *what)
{
	size_t n = strspn(what, "0123456789abcdef");
	bool whole = n == KEKD_KEY_ID_HEX;

	if (n < ID_PREFIX_MIN || n > KEKD_KEY_ID_HEX || (what[n] && !(whole && what[n] == '.')))
		return SPAN_NULL;
	return span_of(what, n);
}

static bool label_cut(struct span label, struct span *ret_name, struct span *ret_id)
{
	size_t at = label.len > KEKD_KEY_ID_HEX ? label.len - KEKD_KEY_ID_HEX - 1 : 0;

	if (at == 0 || label.data[at] != '.')
		return false;
	*ret_name = span_of(label.data, at);
	*ret_id = span_skip(label, at + 1);
	return true;
}

static bool has_id(const char *what, const struct stored *v)
{
	struct span digits = scan_digits_of(what), name, id;

	if (digits.len == 0)
		return false;
	return (label_cut(v->label, &name, &id) && span_starts_with(id, digits)) ||
	       (v->own && span_starts_with(v->key_id, digits));
}

/* A name, or a label that is one: of a value of a key of that name nobody can say. */
static bool scan_has_name(const struct scan *s, const struct stored *v)
{
	struct span name, id;

	return !s->use.key && !s->rules.literal && label_cut(v->label, &name, &id) &&
	       span_equal(name, span_str(s->use.name));
}

/*
 * What it needs is known by the label of its key, or by the key_id in it; either is enough. The label is
 * looked for as a whole, whatever others there are: it may hold a colon, and another may be its beginning.
 */
static int needs(const struct scan *s, struct span value, bool *ret)
{
	const struct rules_key *key = s->use.key;
	struct span label = span_str(key ? key->label : s->use.name);
	struct stored v;
	int r;

	r = stored_parse(value, &(struct stored_labels){ &label, 1 }, &v);
	if (r < 0)
		return r;
	*ret = span_equal(v.label, label) ||
	       (key && v.own && span_equal(v.key_id, span_str(key->key_id))) ||
	       (!key && has_id(s->use.name, &v));
	return 0;
}

/* Where a key_id is, that says of which activation too: a key that came back has written before as well. */
static bool is_of(const struct rules_key *k, const struct stored *v)
{
	if (v->own && v->key_id.len > 0)
		return span_equal(v->key_id, span_str(k->key_id));
	return span_equal(v->label, span_str(k->label));
}

/* Is it a value of a key that was activated in the place of this one? */
static bool is_later(const struct scan *s, const struct stored *v)
{
	for (size_t i = 0; i < s->rules.n_keys; i++) {
		const struct rules_key *k = &s->rules.keys[i];

		if (rules_key_follows(k, s->use.key) && is_of(k, v))
			return true;
	}
	return false;
}

/* Of every value of the dump, wherever in etcd it is. */
static int use_count(struct scan *s, struct span value, const struct stored *v)
{
	bool needed = false;
	int r = s->use.name ? needs(s, value, &needed) : 0;

	if (r < 0)
		return r;
	s->use.n += needed;
	s->use.undecided += s->use.name && !needed && (v->fault || scan_has_name(s, v));
	s->use.bytes += value.len;
	s->use.later |= s->use.key && is_later(s, v);
	return 0;
}

/* Values. */

static void example_add(struct scan *s, enum verdict verdict, struct span key, struct span why)
{
	struct scan_example *e = &s->examples[s->n_examples];

	if (verdict == VERDICT_CURRENT || verdict == VERDICT_UNCOVERED ||
	    s->per_verdict[verdict]++ >= SCAN_EXAMPLES)
		return;
	e->verdict = verdict;
	report_escape(key, e->key, sizeof(e->key));
	snprintf(e->why, sizeof(e->why), "%.*s", (int)why.len, (const char *)why.data);
	s->n_examples++;
}

static void scan_count(struct scan *s, struct report_row *row, enum verdict verdict,
		       struct span key, size_t bytes, struct span why)
{
	report_count(&s->report, row, verdict, bytes);
	example_add(s, verdict, key, why);
}

static void scan_hash_text(struct span key_id, char ret[static 72])
{
	unsigned char h[crypto_hash_sha256_BYTES];
	char hex[2 * sizeof(h) + 1];

	ret[0] = '\0';
	if (key_id.len == 0)
		return;
	crypto_hash_sha256(h, key_id.data, key_id.len);
	sodium_bin2hex(hex, sizeof(hex), h, sizeof(h));
	snprintf(ret, 72, "sha256:%s", hex);
}

/*
 * What is current, a configuration says that was given; otherwise the daemon's own does. Of the keys of
 * another KMS plugin only the daemon knows the newest.
 */
static enum verdict combine(const struct scan *s, const struct report_slot *slot,
			    const struct transform_result *result)
{
	bool foreign = !slot->row->kek && strncmp(slot->row->provider, "kms", 3) == 0;

	if (result->code != GRPC_OK)
		return VERDICT_UNREADABLE;
	if (!s->rules.conf || (foreign && result->stale))
		return result->stale ? VERDICT_STALE : VERDICT_CURRENT;
	return slot->verdict == VERDICT_UNREADABLE ? VERDICT_STALE : slot->verdict;
}

/* What the daemon said of a value; the tag is its row and what was thought of it before. */
static int verified(void *ctx, void *tag, struct span path, const struct transform_result *result)
{
	struct scan *s = ctx;
	const struct report_slot *slot = tag;
	enum verdict verdict = combine(s, slot, result);

	s->verified++;
	scan_count(s, slot->row, verdict, path, 0,
		   verdict == VERDICT_UNREADABLE ? result->message
						 : span_str("another key or provider writes now"));
	return 0;
}

/* Does it have to be opened to know? What has no key to open it, or none to need, has not. */
static bool must_open(const struct scan *s, const struct stored *v)
{
	return s->bulk && v->kind != STORED_PLAIN && !v->fault;
}

static int value_count(struct scan *s, const struct dump_value *v, const struct resource *resource,
		       const struct stored *stored, const struct judgement *j)
{
	char hash[72], text[RESOURCE_TEXT_MAX];
	struct report_row *row;
	int r;

	scan_hash_text(stored->key_id, hash);
	r = report_row(&s->report, resource, stored, j, hash, &row);
	if (r < 0)
		return ctl_fail("too many kinds of values, or out of memory: %s", errno_text(r)),
		       SCAN_FAILED;
	if (!must_open(s, stored)) {
		scan_count(s, row, j->verdict, v->key, v->value.len,
			   span_str(j->why ? j->why : ""));
		return 0;
	}
	row->bytes += v->value.len;
	resource_text(resource, text);
	r = bulk_add(s->bulk, text, v->key, v->value, &row->slots[j->verdict]);
	return r < 0 ? (ctl_fail("transform service: %s", bulk_why(s->bulk)), SCAN_FAILED) : r;
}

static int scan_value_each(void *ctx, const struct dump_value *v)
{
	struct scan *s = ctx;
	const char *prefix = s->ctl->prefix ? s->ctl->prefix : PREFIX_DEFAULT;
	struct resource resource;
	struct judgement j;
	struct stored stored;

	if (stored_parse(v->value, &s->rules.labels, &stored) < 0 ||
	    use_count(s, v->value, &stored) < 0)
		return ctl_fail("out of memory"), SCAN_FAILED;
	if (!resource_parse(v->key, span_str(prefix), &resource)) {
		s->other++;
		return 0;
	}
	rules_judge(&s->rules, &resource, &stored, &j);
	return value_count(s, v, &resource, &stored, &j);
}

int scan_exit_status(const struct scan *s)
{
	const uint64_t *n = s->report.n_all;

	if (s->use.name && s->use.n > 0)
		return SCAN_STALE;
	if (s->use.name)
		return s->use.undecided > 0 ? SCAN_UNREADABLE : 0;
	if (n[VERDICT_UNREADABLE] > 0)
		return SCAN_UNREADABLE;
	if (n[VERDICT_PLAINTEXT] > 0)
		return SCAN_PLAINTEXT;
	return n[VERDICT_STALE] > 0 ? SCAN_STALE : SCAN_CURRENT;
}

static int scan_bulk_start(struct scan *s)
{
	static char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	int r;

	if (!s->ctl->verify)
		return 0;
	if (ctl_transform_socket(s->ctl, path, sizeof(path)) != 0)
		return SCAN_FAILED;
	r = bulk_new(path, "/kekd.v1.Transform/Verify", verified, s, &s->bulk);
	return r < 0 ? (ctl_fail("%s: %s", path, errno_text(r)), SCAN_FAILED) : 0;
}

static int scan_file(struct scan *s, const char *path)
{
	int r = scan_bulk_start(s);

	if (r == 0)
		r = dumpfile_read(path, true, scan_value_each, s, &s->file);
	if (r != 0)
		return SCAN_FAILED;
	if (s->bulk && bulk_finish(s->bulk) < 0)
		return ctl_fail("transform service: %s", bulk_why(s->bulk)), SCAN_FAILED;
	return 0;
}

static int scan_prepare(struct scan *s, struct encconf **ret)
{
	static const char *covered[1];
	int r;

	s->rules.covered = covered_default;
	s->rules.n_covered = 1;
	if (s->ctl->resource) {
		covered[0] = s->ctl->resource;
		s->rules.covered = covered;
	}
	r = config_get(s, ret);
	if (r == 0)
		r = keys_get(s);
	if (r == 0 && rules_labels(&s->rules, &s->rules.labels) < 0)
		return ctl_fail("out of memory"), SCAN_FAILED;
	return r == 0 ? use_find(s) : r;
}

static void scan_done(struct scan *s)
{
	bulk_free(s->bulk);
	report_done(&s->report);
	free((void *)(uintptr_t)s->rules.labels.v);
	free((void *)(uintptr_t)s->rules.keys);
	free(s);
}

static int scan_run(struct scan *s, const char *path)
{
	_cleanup_(encconf_freep) struct encconf *conf = NULL;
	int r = scan_prepare(s, &conf), status;

	if (r == 0)
		r = scan_file(s, path);
	if (r == 0)
		r = scan_print(s);
	if (r != 0)
		return r;
	status = scan_exit_status(s);
	if (s->ctl->proof)
		r = proof_write(s, s->ctl->proof);
	return status != 0 ? status : r;
}

int ctl_scan(const struct ctl *ctl, int argc, char **argv)
{
	struct scan *s;
	int r;

	if (argc > 1)
		return ctl_usage("scan takes one file, or nothing and standard input"), SCAN_FAILED;
	if (ctl->proof && !ctl->uses)
		return ctl_usage("--proof needs --uses KEY"), SCAN_FAILED;
	if (ctl->offline && (ctl->verify || (!ctl->config && !ctl->uses)))
		return ctl_usage("--offline goes with --config, and without --verify"), SCAN_FAILED;
	s = calloc(1, sizeof(*s));
	if (!s)
		return ctl_fail("out of memory"), SCAN_FAILED;
	s->ctl = ctl;
	r = scan_run(s, argv[0]);
	scan_done(s);
	return r;
}
