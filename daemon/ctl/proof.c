/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Evidence that no value needs a key: bound to the mark, which is the keyset document that says that nobody writes with
 * the key any more. Whatever etcd has beside that very document, found by its SHA-256, is of after the mark; nothing else
 * says how old a dump is, a file's time least of all. Where etcd carries the keyset, the document also has to lie where it
 * lies there, at that mod_revision, so that a copy of it in another etcd is none.
 *
 * Only a source with all keys of etcd counts: etcd itself, or a snapshot. Nobody can tell what etcdctl was asked for when
 * it printed a dump.
 *
 * The file is a record, not a signature. Its own SHA-256 shows damage; whoever can write the file can write another.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/log.h"
#include "daemon/ctl/reencrypt.h"
#include "daemon/ctl/scan.h"

#define DIGEST_TEXT (2 * crypto_hash_sha256_BYTES + 1)
#define HEX_MAX     (2 * sizeof(((struct admin_mark *)0)->doc) + 1)
#define KIND        "kekd proof of non-use"
#define VERSION     3
#define SAYS                                                                                             \
	"No value of this etcd, and of the others that kekd.yaml names, needs the key since the keyset " \
	"document that has this SHA-256, which marks it. It is not signed."

/*
 * kube-apiserver may keep resources in other etcds (--etcd-servers-overrides), which `otherEtcds` of kekd.yaml lists: then all
 * of them have to be read. Each is read from after the mark on, as the mark is known before the first. Where the file has
 * no such list, only an etcd with a value of each resource that kekd names shows that it is the only one.
 */
static int named_get(struct scan *s)
{
	struct scan_mark *m = &s->mark;
	size_t lines = 1;
	char *at, *rest;

	if (m->is.etcds > 0)
		return 0;
	m->written = reencrypt_writes_get(s->ctl);
	if (!m->written)
		return ctl_fail("kekd does not say which resources it has"), SCAN_FAILED;
	for (const char *p = m->written; *p; p++)
		lines += *p == '\n';
	m->named = calloc(lines, sizeof(*m->named));
	m->seen = calloc(lines, sizeof(*m->seen));
	if (!m->named || !m->seen)
		return ctl_fail("out of memory"), SCAN_FAILED;
	for (at = strtok_r(m->written, "\n", &rest); at; at = strtok_r(NULL, "\n", &rest)) {
		char *name = strchr(at, ' '), *end = name ? strchr(name + 1, ' ') : NULL;

		if (!end)
			continue;
		*end = '\0';
		m->named[m->n_named++] = name + 1;
	}
	return 0;
}

void proof_done(struct scan *s)
{
	free(s->mark.written);
	free((void *)s->mark.named);
	free(s->mark.seen);
}

static void resource_look(struct scan *s, const struct dump_value *v, const struct stored *stored)
{
	const struct rules rules = { .covered = s->mark.named, .n_covered = s->mark.n_named };
	struct resource resource;
	struct judgement j;

	if (rules.n_covered == 0 || !scan_object_of(s, v, stored, &resource))
		return;
	rules_judge(&rules, &resource, stored, &j);
	if (j.pattern != RULES_NO_PATTERN)
		s->mark.seen[j.pattern] = true;
}

/* Looking for the mark. */

#define DOC_HEAD "kekd-keyset "
#define DOC_NEXT "\nkekd-ack " /* what `kekctl keyset export` prints behind it */

int proof_begin(struct scan *s)
{
	struct admin_request req = { .version = ADMIN_VERSION, .verb = ADMIN_KEY_MARKED };
	const struct ctl_exchange x = { .req = &req, .ret_mark = &s->mark.is };
	const struct rules_key *key = s->use.key;
	struct admin_reply end;

	if (!key)
		return ctl_fail("no proof: \"%s\" is no key of kekd, so nothing says since when "
				"nobody writes with it",
				s->use.name),
		       SCAN_FAILED;
	memcpy(req.id, key->info.id, sizeof(req.id));
	if (ctl_ask_with(s->ctl, &x, &end) != 0)
		return SCAN_FAILED;
	if (s->mark.is.marked == 0)
		return ctl_fail(
			       "no proof: key %s is not marked: first have everything rewritten, then "
			       "`kekctl key mark %s`",
			       key->info.label, key->info.label),
		       SCAN_FAILED;
	return named_get(s);
}

/* The value of a line of the document, which ends before its MAC; empty: there is none. */
static struct span line_of(struct span doc, const char *name)
{
	char start[32];
	int n = snprintf(start, sizeof(start), "\n%s ", name);
	const uint8_t *at = memmem(doc.data, doc.len, start, (size_t)n), *end;

	if (!at)
		return SPAN_NULL;
	at += n;
	end = memchr(at, '\n', (size_t)(doc.data + doc.len - at));
	return end ? span_of(at, (size_t)(end - at)) : SPAN_NULL;
}

/* Note which other document of a keyset is there, for a message only. So its MAC is not checked. */
static void look_at_other(struct scan_mark *m, struct span doc)
{
	char hex[HEX_MAX], number[24];
	struct span generation = line_of(doc, "generation");
	uint64_t n;

	sodium_bin2hex(hex, sizeof(hex), m->is.cluster, sizeof(m->is.cluster));
	if (!span_equal(line_of(doc, "cluster"), span_str(hex))) {
		m->foreign = true;
		return;
	}
	snprintf(number, sizeof(number), "%.*s", (int)generation.len,
		 (const char *)generation.data);
	n = strtoull(number, NULL, 10);
	if (n > m->generation)
		m->generation = n;
}

void proof_look(struct scan *s, const struct dump_value *v, const struct stored *stored)
{
	unsigned char h[crypto_hash_sha256_BYTES];
	struct span doc = v->value;
	const uint8_t *next;

	resource_look(s, v, stored);
	if (s->n_etcds > 0 || !span_starts_with(doc, span_str(DOC_HEAD)))
		return;
	next = memmem(doc.data, doc.len, DOC_NEXT, strlen(DOC_NEXT));
	if (next)
		doc.len = (size_t)(next + 1 - doc.data);
	crypto_hash_sha256(h, doc.data, doc.len);
	if (memcmp(h, s->mark.is.doc, sizeof(s->mark.is.doc)) != 0)
		look_at_other(&s->mark, doc);
	else if (s->mark.revision == 0 || v->mod_revision == s->mark.is.revision)
		s->mark.revision = v->mod_revision;
}

/* Is there a mark in it, and where it has to be? */
static int mark_refuse(const struct scan *s)
{
	const struct scan_mark *m = &s->mark;

	if (m->revision == 0 && m->generation > m->is.generation)
		return ctl_fail("no proof: etcd has generation %" PRIu64
				" of the keyset, and this node %" PRIu64 ": scan again when it has "
				"taken that",
				m->generation, m->is.generation);
	if (m->revision == 0 && m->generation > 0)
		return ctl_fail("no proof: it has generation %" PRIu64
				" of the keyset, so it is from before generation %" PRIu64
				", in which the key is marked: read etcd as it is now",
				m->generation, m->is.generation);
	if (m->revision == 0 && m->foreign)
		return ctl_fail("no proof: the keyset in it is of another cluster, so it is that "
				"cluster's etcd");
	if (m->revision == 0)
		return ctl_fail(
			"no proof: it does not have the document that marks the key, so it is "
			"from before the mark, or of another etcd. Where kekd.yaml has no "
			"`cluster:`, put it there: `kekctl keyset export | etcdctl put "
			"/kekd/keyset`");
	if (m->is.revision != 0 && m->revision != m->is.revision)
		return ctl_fail(
			"no proof: the document that marks the key has mod_revision %" PRIu64
			" there and %" PRIu64
			" in the etcd that carries the keyset: it is another etcd, with a copy",
			m->revision, m->is.revision);
	if (m->is.etcd != 0 && s->file.info.cluster_id != 0 &&
	    s->file.info.cluster_id != m->is.etcd)
		return ctl_fail("no proof: this is etcd cluster %" PRIx64
				", and the keyset is carried by %" PRIx64,
				s->file.info.cluster_id, m->is.etcd);
	return 0;
}

/* Is there an etcd that was not read, or may be one? */
static int others_refuse(const struct scan *s)
{
	const struct scan_mark *m = &s->mark;

	if (m->is.etcds > 1 && s->n_etcds == 0)
		return ctl_fail("no proof: `otherEtcds` of kekd.yaml names etcds beside this one: "
				"`kekctl scan --etcd` with kekd.yaml reads all of them");
	if (m->is.etcds > 1 && s->n_etcds != m->is.etcds)
		return ctl_fail(
			"no proof: kekd was told of %" PRIu64
			" etcds by `otherEtcds`, and %zu were read: take the kekd.yaml that "
			"it has, and no --endpoints",
			m->is.etcds, s->n_etcds);
	for (size_t i = 0; i < m->n_named; i++)
		if (!m->seen[i] || strchr(m->named[i], '*'))
			return ctl_fail(
				"no proof: %s %s. Does kube-apiserver keep it in another etcd "
				"(--etcd-servers-overrides)? Name that under `otherEtcds:` of kekd.yaml. "
				"If there is no other, say so there: `otherEtcds: []`",
				m->seen[i] ? "kekd's EncryptionConfiguration has a wildcard,"
					   : "there is no value of",
				m->named[i]);
	return 0;
}

static int proof_refuse(const struct scan *s)
{
	const struct dump_info *i = &s->file.info;

	if (s->use.n > 0)
		return ctl_fail("no proof: %" PRIu64
				" values need the key: have them rewritten, then "
				"`kekctl key mark` again",
				s->use.n);
	if (s->use.undecided > 0)
		return ctl_fail("no proof: of %" PRIu64 " values it cannot be said what they need",
				s->use.undecided);
	if (i->database && !i->whole)
		return ctl_fail(
			"no proof: a copy of a file in use may lack what is only in a log beside it; "
			"take what `etcdctl snapshot save` writes");
	if (!i->whole)
		return ctl_fail(
			"no proof: of what etcdctl printed nobody can tell which keys it was "
			"asked for: take --etcd, or a file of `etcdctl snapshot save`");
	return mark_refuse(s) ?: others_refuse(s);
}

static json_t *mark_json(const struct admin_mark *m)
{
	char doc[HEX_MAX], cluster[HEX_MAX], etcd[17] = "";

	sodium_bin2hex(doc, sizeof(doc), m->doc, sizeof(m->doc));
	sodium_bin2hex(cluster, sizeof(cluster), m->cluster, sizeof(m->cluster));
	if (m->etcd != 0)
		snprintf(etcd, sizeof(etcd), "%" PRIx64, m->etcd);
	return json_pack("{s:s, s:s, s:I, s:I, s:I, s:s, s:I}", "document", doc, "cluster", cluster,
			 "generation", (json_int_t)m->generation, "marked", (json_int_t)m->marked,
			 "revision", (json_int_t)m->revision, "etcd", etcd, "etcds",
			 (json_int_t)m->etcds);
}

/* Over the compact form with sorted keys and without this field. -ENOMEM. */
static int digest(const json_t *proof, char ret[static DIGEST_TEXT])
{
	unsigned char h[crypto_hash_sha256_BYTES];
	_cleanup_free_ char *text = json_dumps(proof, JSON_COMPACT | JSON_SORT_KEYS);

	if (!text)
		return -ENOMEM;
	crypto_hash_sha256(h, (const unsigned char *)text, strlen(text));
	sodium_bin2hex(ret, DIGEST_TEXT, h, sizeof(h));
	return 0;
}

static int file_write(const char *path, const json_t *proof)
{
	_cleanup_fclose_ FILE *f = NULL;
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);

	if (fd < 0)
		return -errno;
	f = fdopen(fd, "w");
	if (!f) {
		close(fd);
		return -ENOMEM;
	}
	if (json_dumpf(proof, f, JSON_INDENT(2) | JSON_SORT_KEYS) < 0 || fputc('\n', f) == EOF ||
	    fflush(f) != 0 || fsync(fd) < 0)
		return -EIO;
	return 0;
}

int proof_write(const struct scan *s, const char *path)
{
	const struct dump_info *i = &s->file.info;
	const struct rules_key *key = s->use.key;
	char hex[DIGEST_TEXT];
	json_t *proof;
	int r;

	if (proof_refuse(s) != 0)
		return SCAN_FAILED;
	proof = json_pack("{s:s, s:i, s:s, s:{s:s, s:s, s:s}, s:I, s:I, s:o, s:{s:s, s:I}}", "kind",
			  KIND, "version", VERSION, "says", SAYS, "key", "name", key->info.name,
			  "label", key->info.label, "keyId", key->key_id, "count", (json_int_t)0,
			  "values", (json_int_t)i->values, "mark", mark_json(&s->mark.is), "etcd",
			  "source", s->file.source, "revision", (json_int_t)i->revision);
	r = proof ? digest(proof, hex) : -ENOMEM;
	if (r == 0 && json_object_set_new(proof, "sha256", json_string(hex)) < 0)
		r = -ENOMEM;
	if (r == 0)
		r = file_write(path, proof);
	json_decref(proof);
	if (r < 0)
		return ctl_fail("%s: %s", path, errno_text(r)), SCAN_FAILED;
	if (!s->ctl->json)
		printf("The proof is in %s.\n", path);
	return 0;
}

int proof_take(const struct scan *s, struct admin_mark *ret)
{
	if (proof_refuse(s) != 0)
		return SCAN_FAILED;
	*ret = s->mark.is;
	return 0;
}

/* Reading. */

static const char *proof_text_of(json_t *j, const char *name)
{
	const char *s = json_string_value(json_object_get(j, name));

	return s ? s : "";
}

static bool is_whole(json_t *proof)
{
	char hex[DIGEST_TEXT], said[DIGEST_TEXT];

	if (strlen(proof_text_of(proof, "sha256")) >= sizeof(said))
		return false;
	snprintf(said, sizeof(said), "%s", proof_text_of(proof, "sha256"));
	json_object_del(proof, "sha256");
	return digest(proof, hex) == 0 && strcmp(hex, said) == 0;
}

static bool hex_take(json_t *of, const char *name, uint8_t *ret, size_t size)
{
	const char *text = proof_text_of(of, name);
	size_t len = 0;

	return sodium_hex2bin(ret, size, text, strlen(text), NULL, &len, NULL) == 0 &&
	       len == size && strlen(text) == 2 * size;
}

static bool proof_number(json_t *of, const char *name, uint64_t *ret)
{
	json_t *j = json_object_get(of, name);

	*ret = (uint64_t)json_integer_value(j);
	return json_is_integer(j) && json_integer_value(j) >= 0;
}

static bool mark_take(json_t *of, struct admin_mark *ret)
{
	struct admin_mark m = { 0 };

	m.etcd = strtoull(proof_text_of(of, "etcd"), NULL, 16);
	if (!hex_take(of, "document", m.doc, sizeof(m.doc)) ||
	    !hex_take(of, "cluster", m.cluster, sizeof(m.cluster)) ||
	    !proof_number(of, "generation", &m.generation) ||
	    !proof_number(of, "marked", &m.marked) || !proof_number(of, "revision", &m.revision) ||
	    !proof_number(of, "etcds", &m.etcds))
		return false;
	*ret = m;
	return true;
}

static int check(const char *path, json_t *proof, const struct board_key *key,
		 struct admin_mark *ret)
{
	json_int_t version = json_integer_value(json_object_get(proof, "version"));
	json_t *of = json_object_get(proof, "key");
	uint64_t count = 1;
	char id[KEY_ID_TEXT];

	key_id_format(&key->info, id);
	if (strcmp(proof_text_of(proof, "kind"), KIND) == 0 && version < VERSION)
		return ctl_fail(
			"%s: a proof of an earlier kekctl says too little: `kekctl key mark`, and "
			"scan again",
			path);
	if (strcmp(proof_text_of(proof, "kind"), KIND) != 0 || version != VERSION ||
	    !is_whole(proof))
		return ctl_fail("%s: not a proof of kekctl scan, or altered", path);
	/* Imported keys of different clusters share a label, but no id. */
	if (strcmp(proof_text_of(of, "label"), key->info.label) != 0 ||
	    strcmp(proof_text_of(of, "keyId"), id) != 0)
		return ctl_fail("%s: the proof is for another key, %s", path,
				proof_text_of(of, "label"));
	if (!proof_number(proof, "count", &count) || count != 0)
		return ctl_fail("%s: values need the key", path);
	return mark_take(json_object_get(proof, "mark"), ret)
		       ? 0
		       : ctl_fail("%s: the proof says nothing of a mark", path);
}

int proof_check(const char *path, const struct board_key *key, struct admin_mark *ret)
{
	json_t *proof = json_load_file(path, JSON_REJECT_DUPLICATES, NULL);
	int r;

	if (!proof || sodium_init() < 0)
		return ctl_fail("%s: cannot be read, or is no JSON", path);
	r = check(path, proof, key, ret);
	json_decref(proof);
	return r;
}
