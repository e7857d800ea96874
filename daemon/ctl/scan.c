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
#include "daemon/chain/codec.h"
#include "daemon/ctl/bulk.h"
#include "daemon/ctl/snapshots.h"
#include "daemon/dump/object.h"
#include "daemon/wire/grpc.h"

#define ID_PREFIX_MIN 8
#define PAST_EXAMPLES VERDICTS

static const char *const covered_default[] = { "secrets" };

static int keys_get(struct scan *s)
{
	_cleanup_(ctl_keys_clear) struct ctl_keys list = { 0 };
	static char kms[sizeof(((struct sockaddr_un *)0)->sun_path)];
	struct rules_key *keys;

	if (s->ctl->offline)
		return 0;
	if (ctl_keys_get(s->ctl, &list) != 0 || ctl_kms_socket(s->ctl, kms, sizeof(kms)) != 0) {
		return ctl_fail("--offline scans without the daemon"), SCAN_FAILED;
	}
	keys = calloc(list.n + 1, sizeof(*keys));
	if (!keys)
		return ctl_fail("out of memory"), SCAN_FAILED;
	for (size_t i = 0; i < list.n; i++) {
		const struct board_key *k = &list.v[i];

		keys[i].info = k->info;
		keys[i].gone = !key_state_opens(k->info.state) || k->usable < 0;
		key_id_format(&k->info, keys[i].key_id);
	}
	s->rules.keys = keys;
	s->rules.n_keys = list.n;
	s->rules.kms_socket = kms;
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

/* A configuration with secrets is taken, too; a scan does not use them. */
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

static size_t keys_match(const struct rules *rules, const char *what, bool by_name,
			 const struct rules_key **ret)
{
	size_t n = 0;

	for (size_t i = 0; i < rules->n_keys; i++) {
		const struct rules_key *k = &rules->keys[i];

		if (by_name ? strcmp(k->info.name, what) != 0 : !ctl_key_is_named(&k->info, what))
			continue;
		*ret = k;
		n++;
	}
	return n;
}

/* Has --config a key or a KMS provider of that name? */
static bool name_known(const struct rules *rules, const char *what)
{
	for (size_t i = 0; rules->conf && i < rules->conf->items_count; i++) {
		const struct encconf_item *item = &rules->conf->items[i];

		for (size_t k = 0; k < item->providers_count; k++)
			if (item->providers[k].kind == ENCCONF_KMS &&
			    strcmp(item->providers[k].kms.name, what) == 0)
				return true;
	}
	for (size_t i = 0; i < rules->labels.n; i++)
		if (span_equal(rules->labels.v[i], span_str(what)))
			return true;
	return false;
}

/* Offline even an unknown name is looked for, since a value may have it. */
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
	if (n > 1)
		return ctl_fail("\"%s\" may be any of %zu keys: give the id, see kekctl key list",
				what, n),
		       SCAN_FAILED;
	s->use.known = n == 1 || name_known(&s->rules, what);
	if (s->use.known || s->ctl->offline)
		return 0;
	return ctl_fail("no key \"%s\"; see kekctl key list", what), SCAN_FAILED;
}

/* Where kekd's keys are not known, a label tells the name and the id that kekd has made it of. */

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
	size_t n = strspn(what, "0123456789abcdef");
	struct span digits = span_of(what, n), name, id;

	/* An id, its beginning, or a key_id, which goes on with a dot. */
	if (n < ID_PREFIX_MIN || n > KEKD_KEY_ID_HEX ||
	    (what[n] && !(n == KEKD_KEY_ID_HEX && what[n] == '.')))
		return false;
	return (label_cut(v->label, &name, &id) && span_starts_with(id, digits)) ||
	       (v->own && span_starts_with(v->key_id, digits));
}

/* Was it sealed by a KMS plugin of this name or, if that is told, with this key_id? */
static bool is_sealed_by(struct span value, const struct stored *v, const char *what)
{
	struct span body;

	return codec_prefix_match(value, CODEC_ENC "kms:v1:", span_str(what), &body) ||
	       codec_prefix_match(value, CODEC_ENC "kms:v2:", span_str(what), &body) ||
	       span_equal(v->key_id, span_str(what));
}

/* Has the value's key the name that was asked for? Then nobody can say whether the value needs the key that is meant. */
static bool scan_has_name(const struct scan *s, const struct stored *v)
{
	struct span name, id;

	return !s->use.key && !s->rules.literal && label_cut(v->label, &name, &id) &&
	       span_equal(name, span_str(s->use.name));
}

/*
 * A value needs the key if it has the key's label or its key_id. The label is looked for as a whole, whatever other
 * labels there are: it may hold a colon, and another label may be its beginning.
 */
static int needs(const struct scan *s, struct span value, bool *ret)
{
	const struct rules_key *key = s->use.key;
	struct span label = span_str(key ? key->info.label : s->use.name);
	struct stored v;
	int r;

	r = stored_parse(value, &(struct stored_labels){ &label, 1 }, &v);
	if (r < 0)
		return r;
	*ret = span_equal(v.label, label) ||
	       (key && v.own && span_equal(v.key_id, span_str(key->key_id))) ||
	       (!key && (has_id(s->use.name, &v) || is_sealed_by(value, &v, s->use.name)));
	return 0;
}

/* Called for every value of the dump, wherever in etcd it is. */
static int use_count(struct scan *s, struct span value, const struct stored *v)
{
	bool needed = false;
	int r = s->use.name ? needs(s, value, &needed) : 0;

	if (r < 0)
		return r;
	s->use.n += needed;
	s->use.undecided += s->use.name && !needed && (v->fault || scan_has_name(s, v));
	s->use.bytes += value.len;
	return 0;
}

/* Values. */

/* @kind: a verdict, or PAST_EXAMPLES. */
static void example_add(struct scan *s, size_t kind, struct span key, struct span why)
{
	struct scan_example *e = &s->examples[s->n_examples];

	if (kind == VERDICT_CURRENT || kind == VERDICT_UNCOVERED ||
	    s->per_verdict[kind]++ >= SCAN_EXAMPLES)
		return;
	e->what = kind == PAST_EXAMPLES ? "older revision" : verdict_name((enum verdict)kind);
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

/*
 * --config decides what is current; without it the daemon's own configuration does. Only the daemon knows the newest
 * key of another KMS plugin.
 */
static enum verdict combine(const struct scan *s, const struct report_slot *slot,
			    const struct transform_result *result)
{
	bool foreign = !slot->row->kek && strncmp(slot->row->provider, "kms", 3) == 0;

	if (result->code != GRPC_OK || result->doubtful)
		return VERDICT_UNREADABLE;
	if (!s->rules.conf || slot->unsure || (foreign && result->stale))
		return result->stale ? VERDICT_STALE : VERDICT_CURRENT;
	return slot->verdict == VERDICT_UNREADABLE ? VERDICT_STALE : slot->verdict;
}

/* Take what the daemon says of a value. The tag is the value's row, with the verdict before. */
static int verified(void *ctx, void *tag, struct span path, const struct transform_result *result)
{
	struct scan *s = ctx;
	const struct report_slot *slot = tag;
	enum verdict verdict = combine(s, slot, result);
	struct span why = span_str("another key or provider writes now");

	if (verdict == VERDICT_UNREADABLE)
		why = result->doubtful ? span_str(DOUBTFUL) : result->message;
	s->verified++;
	scan_count(s, slot->row, verdict, path, 0, why);
	return 0;
}

/* Does --verify have to open the value? Not if it is faulty or not encrypted. */
static bool must_open(const struct scan *s, const struct stored *v)
{
	return s->bulk && v->kind != STORED_PLAIN && !v->fault;
}

static int value_count(struct scan *s, const struct dump_value *v, const struct resource *resource,
		       const struct stored *stored, const struct judgement *j)
{
	char text[RESOURCE_TEXT_MAX];
	bool open = must_open(s, stored) && v->value.len <= BULK_VALUE_MAX;
	struct report_row *row;
	int r;

	r = report_row(&s->report, resource, stored, j, &row);
	if (r < 0)
		return ctl_fail("too many kinds of values, or out of memory: %s", errno_text(r)),
		       SCAN_FAILED;
	s->unopened += must_open(s, stored) && !open;
	if (!open) {
		scan_count(s, row, j->verdict, v->key, v->value.len,
			   span_str(j->why ? j->why : ""));
		return 0;
	}
	row->bytes += v->value.len;
	resource_text(resource, text);
	r = bulk_add(s->bulk, text, v->key, v->value, report_slot_of(row, j));
	return r < 0 ? (ctl_fail("transform service: %s", bulk_why(s->bulk)), SCAN_FAILED) : r;
}

bool scan_object_of(const struct scan *s, const struct dump_value *v, const struct stored *stored,
		    struct resource *ret)
{
	struct object o;

	if (!resource_parse(v->key, span_str(s->prefix), ret))
		return false;
	if (stored->kind == STORED_PLAIN && object_head(v->value, &o))
		resource_told(ret, v->key, o.api_version, o.kind);
	return true;
}

static int object_count(struct scan *s, const struct dump_value *v, struct resource *resource,
			const struct stored *stored)
{
	struct judgement j;

	rules_judge(&s->rules, resource, stored, &j);
	if (v->past && j.verdict == VERDICT_PLAINTEXT && v->value.len > 0) {
		s->past++;
		example_add(s, PAST_EXAMPLES, v->key, span_str("plaintext"));
	}
	if (v->past)
		return 0;
	s->objects++;
	if (v->value.len == 0) {
		s->empty++;
		return 0;
	}
	if (j.pattern != RULES_NO_PATTERN)
		s->patterns[j.pattern]++;
	if (j.verdict == VERDICT_UNJUDGED)
		elsewhere_add(&s->elsewhere, v);
	return value_count(s, v, resource, stored, &j);
}

static bool is_to_prove(const struct scan *s)
{
	return s->ctl->proof || s->evidence;
}

static int scan_value_each(void *ctx, const struct dump_value *v)
{
	struct scan *s = ctx;
	struct resource resource;
	struct stored stored;

	if (stored_parse(v->value, &s->rules.labels, &stored) < 0 ||
	    (!v->past && use_count(s, v->value, &stored) < 0))
		return ctl_fail("out of memory"), SCAN_FAILED;
	if (is_to_prove(s) && !v->past)
		proof_look(s, v, &stored);
	if (scan_object_of(s, v, &stored, &resource))
		return object_count(s, v, &resource, &stored);
	if (v->past)
		return 0;
	s->other++;
	elsewhere_add(&s->elsewhere, v);
	return 0;
}

int scan_exit_status(const struct scan *s)
{
	const uint64_t *n = s->report.n_all;

	/* --uses asks of one key: does the dump have all that could need it? */
	if (s->use.name)
		return s->use.n > 0           ? SCAN_STALE
		       : s->use.undecided > 0 ? SCAN_UNREADABLE
		       : s->gap               ? SCAN_FAILED
					      : 0;
	if (n[VERDICT_UNREADABLE] > 0)
		return SCAN_UNREADABLE;
	if (n[VERDICT_PLAINTEXT] > 0)
		return SCAN_PLAINTEXT;
	if (n[VERDICT_STALE] > 0)
		return SCAN_STALE;
	return s->gap ? SCAN_FAILED : SCAN_CURRENT;
}

static int scan_bulk_start(struct scan *s)
{
	static char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	unsigned int servers;
	int r;

	if (!s->ctl->verify)
		return 0;
	if (ctl_transform_socket(s->ctl, path, sizeof(path), &servers) != 0)
		return SCAN_FAILED;
	r = bulk_new(path, "/kekd.v1.Transform/Verify", servers, verified, s, &s->bulk);
	return r < 0 ? (ctl_fail("%s: %s", path, errno_text(r)), SCAN_FAILED) : 0;
}

/* All of it again, from nothing: etcd has compacted the revision that was read. */
#define SCAN_AGAIN (-1)

static int scan_file(struct scan *s, const char *path)
{
	int r = scan_bulk_start(s);

	if (r == 0 && s->ctl->etcd)
		r = scan_etcd(s, path, scan_value_each);
	else if (r == 0)
		r = dumpfile_read(path, true, scan_value_each, s, &s->file);
	if (r != 0)
		return s->ctl->etcd && r == ETCDREAD_AGAIN ? SCAN_AGAIN : SCAN_FAILED;
	if (s->bulk && bulk_finish(s->bulk) < 0)
		return ctl_fail("transform service: %s", bulk_why(s->bulk)), SCAN_FAILED;
	return 0;
}

static int scan_prepare(struct scan *s, struct encconf **ret)
{
	static const char *covered[1];
	size_t n = 0;
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
	if (r != 0)
		return r;
	while (rules_pattern(&s->rules, n))
		n++;
	s->patterns = calloc(n + 1, sizeof(*s->patterns));
	s->notes = json_array();
	if (!s->patterns || !s->notes)
		return ctl_fail("out of memory"), SCAN_FAILED;
	if (ctl_prefix(s->ctl, s->prefix) != 0)
		return SCAN_FAILED;
	r = use_find(s);
	return r == 0 && is_to_prove(s) ? proof_begin(s) : r;
}

static int scan_run(struct scan *s, const char *path)
{
	_cleanup_(encconf_freep) struct encconf *conf = NULL;
	int r = scan_prepare(s, &conf), status;

	if (r == 0)
		r = scan_file(s, path);
	if (r == 0 && !s->bulk)
		s->distrusted = report_distrust(&s->report);
	if (r == 0)
		r = scan_notes(s);
	if (r == 0)
		r = scan_print(s);
	if (r != 0)
		return r;
	s->ended = true;
	status = scan_exit_status(s);
	if (s->ctl->proof)
		r = proof_write(s, s->ctl->proof);
	else if (s->evidence)
		r = proof_take(s, s->evidence);
	return status != 0 ? status : r;
}

static int scan_usage(const struct ctl *ctl, int argc)
{
	bool files = ctl->endpoints || ctl->cacert || ctl->cert || ctl->cert_key;

	if (argc > 1)
		return ctl_usage("scan takes one file, or nothing and standard input");
	if (ctl->proof && !ctl->uses)
		return ctl_usage("--proof needs --uses KEY");
	if (ctl->proof && ctl->offline)
		return ctl_usage("--proof goes without --offline: the daemon knows the mark");
	if (ctl->offline && (ctl->verify || (!ctl->config && !ctl->uses)))
		return ctl_usage("--offline goes with --config, and without --verify");
	if (ctl->config && ctl->resource)
		return ctl_usage(
			"--resource goes without --config, which says what is to be encrypted");
	if (ctl->folder && (argc > 0 || ctl->etcd))
		return ctl_usage("--folder takes the place of a file, and of --etcd");
	if (ctl->textfile && !ctl->folder)
		return ctl_usage("--textfile goes with --folder");
	if (files && !ctl->etcd)
		return ctl_usage("--endpoints, --cacert, --cert and --key go with --etcd");
	return 0;
}

/* Scan @path, or the newest snapshot of a folder. The metrics are written even if there is none. */
static int scan_chosen(struct scan *s, const char *path)
{
	const struct ctl *ctl = s->ctl;
	struct snapshot_file file = { 0 };
	int r = ctl->folder && snapshots_newest(ctl->folder, &file) != 0 ? SCAN_FAILED : 0;

	if (r == 0)
		r = scan_run(s, ctl->folder ? file.path : path);
	if (ctl->textfile && r != SCAN_AGAIN && snapshots_textfile(s, r, &file, ctl->textfile) != 0)
		r = SCAN_FAILED;
	return r;
}

static int scan_once(const struct ctl *ctl, const char *path, struct admin_mark *evidence)
{
	struct scan *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return ctl_fail("out of memory"), SCAN_FAILED;
	s->ctl = ctl;
	s->evidence = evidence;
	r = scan_chosen(s, path);
	bulk_free(s->bulk);
	report_done(&s->report);
	json_decref(s->notes);
	free(s->patterns);
	proof_done(s);
	free((void *)(uintptr_t)s->rules.labels.v);
	free((void *)(uintptr_t)s->rules.keys);
	free(s);
	return r;
}

#define SCAN_TRIES 5

int ctl_scan(const struct ctl *ctl, int argc, char **argv)
{
	int r = SCAN_AGAIN;

	if (scan_usage(ctl, argc) != 0)
		return SCAN_FAILED;
	for (int i = 0; r == SCAN_AGAIN && i < SCAN_TRIES; i++) {
		if (i > 0)
			fputs("kekctl: all is read again, at a newer revision\n", stderr);
		r = scan_once(ctl, argv[0], NULL);
	}
	if (r != SCAN_AGAIN)
		return r;
	return ctl_fail("etcd compacts faster than it is read: raise kube-apiserver's "
			"--etcd-compaction-interval, or scan a snapshot"),
	       SCAN_FAILED;
}

int scan_evidence(const struct ctl *ctl, const char *path, struct admin_mark *ret)
{
	return scan_once(ctl, path, ret);
}
