/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The proof that no value needs a key: what was looked at, at which revision of etcd, and of when the
 * dump is: a file's time of change, and of a pipe the moment when reading it began.
 *
 * It is a record, not a signature. Its own SHA-256 shows damage; whoever can write the file can write
 * another. It says nothing of values written after the revision, nor of keys of etcd that were not in the
 * dump: a snapshot has all, and of a dump by etcdctl nobody can tell which keys were asked for.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sodium.h>
#include <string.h>
#include <time.h>

#include "daemon/base/log.h"
#include "daemon/ctl/scan.h"

#define DIGEST_TEXT (2 * crypto_hash_sha256_BYTES + 1)
#define KIND        "kekd proof of non-use"
#define DATE        "%Y-%m-%dT%H:%M:%SZ"
#define SAYS                                                                                        \
	"No value of this dump needs the key. This says nothing of values that were written after " \
	"the revision or were not in the dump, and it is not signed."

/*
 * A copy of a dump is younger than the dump, and a pipe has no age: a date alone would let one pass that is
 * older than all use of the key. A value of the key that followed it cannot be older.
 */
static bool may_be_older(const struct scan *s)
{
	for (size_t i = 0; s->use.key && !s->use.later && i < s->rules.n_keys; i++)
		if (rules_key_follows(&s->rules.keys[i], s->use.key))
			return true;
	return false;
}

static int proof_refuse(const struct scan *s)
{
	if (s->use.n > 0)
		return ctl_fail("no proof: %" PRIu64 " values need the key", s->use.n);
	if (s->use.undecided > 0)
		return ctl_fail("no proof: of %" PRIu64 " values it cannot be said what they need",
				s->use.undecided);
	if (s->file.info.truncated)
		return ctl_fail(
			"no proof: the dump does not have all keys; make it without --limit");
	if (s->file.info.database && !s->file.info.hashed)
		return ctl_fail(
			"no proof: a copy of a member's file may lack what etcd had only in "
			"its log; take what `etcdctl snapshot save` writes");
	if (s->file.info.values == 0)
		return ctl_fail("no proof: the dump is empty");
	if (s->use.bytes == 0)
		return ctl_fail(
			"no proof: the dump has keys without values; make it without --keys-only");
	if (may_be_older(s))
		return ctl_fail(
			"no proof: another key of this name came after it, and the dump has no "
			"value of that: it may be older than what this key has written. Make a new "
			"dump once such a value is there; where nothing is written with the name "
			"any more, retire the key without --proof, after rotation.retireAfter");
	return 0;
}

static json_t *proof_json(const struct scan *s)
{
	const struct dump_info *i = &s->file.info;
	char cluster[17], member[17], date[24] = "";
	struct tm tm;

	if (gmtime_r(&s->file.made, &tm))
		strftime(date, sizeof(date), DATE, &tm);
	snprintf(cluster, sizeof(cluster), "%" PRIx64, i->cluster_id);
	snprintf(member, sizeof(member), "%" PRIx64, i->member_id);
	return json_pack(
		"{s:s, s:i, s:s, s:{s:s, s:s, s:s}, s:I, s:I, s:{s:s, s:s, s:s, s:I, s:b}, "
		"s:s}",
		"kind", KIND, "version", 1, "says", SAYS, "key", "name",
		s->use.key ? s->use.key->name : s->use.name, "label",
		s->use.key ? s->use.key->label : s->use.name, "keyId",
		s->use.key ? s->use.key->key_id : "", "count", (json_int_t)0, "values",
		(json_int_t)i->values, "etcd", "source", s->file.source, "clusterId",
		i->cluster_id ? cluster : "", "memberId", i->member_id ? member : "", "revision",
		(json_int_t)i->revision, "whole", (int)i->whole, "date", date);
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

static int digest_add(json_t *proof)
{
	char hex[DIGEST_TEXT];
	int r = digest(proof, hex);

	if (r == 0 && json_object_set_new(proof, "sha256", json_string(hex)) < 0)
		r = -ENOMEM;
	return r;
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
	json_t *proof;
	int r;

	if (proof_refuse(s) != 0)
		return SCAN_FAILED;
	proof = proof_json(s);
	r = proof ? digest_add(proof) : -ENOMEM;
	if (r == 0)
		r = file_write(path, proof);
	json_decref(proof);
	if (r < 0)
		return ctl_fail("%s: %s", path, errno_text(r)), SCAN_FAILED;
	if (!s->ctl->json)
		printf("The proof is in %s.\n", path);
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

static bool date_of(json_t *proof, int64_t *ret)
{
	struct tm tm = { 0 };
	const char *end = strptime(proof_text_of(proof, "date"), DATE, &tm);

	*ret = timegm(&tm);
	return end && !*end;
}

static int check(const char *path, json_t *proof, const struct admin_key *key, int64_t *ret_time,
		 uint64_t *ret_revision)
{
	json_t *of = json_object_get(proof, "key"), *etcd = json_object_get(proof, "etcd");
	json_int_t revision = json_integer_value(json_object_get(etcd, "revision"));

	if (strcmp(proof_text_of(proof, "kind"), KIND) != 0 ||
	    json_integer_value(json_object_get(proof, "version")) != 1 || !is_whole(proof))
		return ctl_fail("%s: not a proof of kekctl scan, or altered", path);
	/* Imported keys of different clusters share a label, but no id; made offline, there is none. */
	if (strcmp(proof_text_of(of, "label"), key->label) != 0 && !*proof_text_of(of, "keyId"))
		return ctl_fail("%s: the proof is for another key: made --offline it is for the "
				"label \"%s\", and this key has \"%s\"",
				path, proof_text_of(of, "label"), key->label);
	if (strcmp(proof_text_of(of, "label"), key->label) != 0 ||
	    (*proof_text_of(of, "keyId") && strcmp(proof_text_of(of, "keyId"), key->key_id) != 0))
		return ctl_fail("%s: the proof is for another key", path);
	if (!json_is_integer(json_object_get(proof, "count")) ||
	    json_integer_value(json_object_get(proof, "count")) != 0)
		return ctl_fail("%s: values need the key", path);
	if (!date_of(proof, ret_time))
		return ctl_fail("%s: the proof has no date", path);
	if (!json_is_true(json_object_get(etcd, "whole")))
		fprintf(stderr, "kekctl: the proof is from a dump by etcdctl: whether that had all "
				"keys of etcd it cannot say; a snapshot has\n");
	*ret_revision = (uint64_t)revision;
	return 0;
}

int proof_check(const char *path, const struct admin_key *key, int64_t *ret_time,
		uint64_t *ret_revision)
{
	json_t *proof = json_load_file(path, JSON_REJECT_DUPLICATES, NULL);
	int r;

	if (!proof || sodium_init() < 0)
		return ctl_fail("%s: cannot be read, or is no JSON", path);
	r = check(path, proof, key, ret_time, ret_revision);
	json_decref(proof);
	return r;
}
