/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What can be told of a stored value and of a key of etcd, and the judgement over it: on all vectors of
 * kube-apiserver's own code, and on each kind of malformed value.
 */
#include "tests/harness/ktest.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>

#include "daemon/base/cleanup.h"
#include "daemon/chain/encobj.h"
#include "daemon/dump/base64.h"
#include "daemon/dump/report.h"
#include "daemon/dump/rules.h"

static const struct stored_labels no_labels;

static struct stored parse(const char *value)
{
	struct stored s = { 0 };

	ASSERT_OK(stored_parse(span_str(value), &no_labels, &s));
	return s;
}

static const char *text_of(const json_t *v, const char *name)
{
	return json_string_value(json_object_get(v, name));
}

static const char *kind_in_vectors(enum stored_kind kind)
{
	static const char *const names[STORED_KINDS] = { "identity",  "aesgcm", "aescbc",
							 "secretbox", "kmsv1",  "kmsv2",
							 "" };

	return names[kind];
}

static void check_vector(const json_t *v)
{
	const char *text = text_of(v, "stored");
	const char *provider = text_of(v, "provider");
	_cleanup_free_ uint8_t *bytes = malloc(base64_room(strlen(text)) + 1);
	struct stored s;
	size_t len;

	ASSERT_OK(base64_decode(span_str(text), bytes, &len));
	ASSERT_OK(stored_parse(span_of(bytes, len), &no_labels, &s));
	EXPECT_NULL(s.fault);
	if (strncmp(provider, "kms", 3) == 0) {
		EXPECT_TRUE(s.kind == STORED_KMS_V1 || s.kind == STORED_KMS_V2);
		EXPECT_EQ(s.kind == STORED_KMS_V2, s.key_id.len > 0);
		EXPECT_FALSE(s.own);
	} else {
		EXPECT_STREQ(kind_in_vectors(s.kind), provider);
	}
	if (s.kind != STORED_PLAIN && s.kind != STORED_KMS_V1 && s.kind != STORED_KMS_V2)
		EXPECT_TRUE(span_equal(s.label, span_str(text_of(v, "keyName"))));
	/* One byte less than the shortest is noticed. */
	if (s.kind == STORED_KMS_V2) {
		ASSERT_OK(stored_parse(span_of(bytes, len - 1), &no_labels, &s));
		EXPECT_NOT_NULL(s.fault);
	}
}

TEST(all_vectors)
{
	json_t *all = json_load_file(VECTORS_DIR "/vectors.json", 0, NULL), *v;
	size_t i;

	ASSERT_EQ(171, json_array_size(json_object_get(all, "vectors")));
	json_array_foreach(json_object_get(all, "vectors"), i, v) check_vector(v);
	json_decref(all);
}

TEST(malformed_values)
{
	static const char *const bad[] = {
		"k8s:enc:",
		"k8s:enc:aesgcm:v2:key:xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
		"k8s:enc:rot13:v1:key:",
		"k8s:enc:aesgcm:v1:",
		"k8s:enc:aesgcm:v1:key",
		"k8s:enc:aesgcm:v1:key:012345678901234567890123456",
		"k8s:enc:aescbc:v1:key:0123456789abcdef",
		"k8s:enc:aescbc:v1:key:0123456789abcdef0123456789abcdef0",
		"k8s:enc:secretbox:v1:key:012345678901234567890123456789012345678",
		"k8s:enc:kms:v1:",
		"k8s:enc:kms:v1:plugin",
		"k8s:enc:kms:v1:plugin:",
		"k8s:enc:kms:v1:plugin:\xff\xff too short",
		"k8s:enc:kms:v2:",
		"k8s:enc:kms:v2:plugin",
		"k8s:enc:kms:v2:plugin:",
		"k8s:enc:kms:v2:plugin:not protobuf",
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		if (!EXPECT_NOT_NULL(parse(bad[i]).fault))
			ktest_log("%s", bad[i]);
	}
	EXPECT_EQ(STORED_PLAIN, parse("").kind);
	EXPECT_EQ(STORED_PLAIN, parse("k8s:enc").kind);
	EXPECT_EQ(STORED_PLAIN, parse("k8s").kind);
}

#define BODY "0123456789abcdef0123456789abcdef"

/* A name that is known is not cut at its colon; of two that fit the longer is meant. */
TEST(names_with_colons)
{
	const struct span known[] = { span_str("a:b"), span_str("a") };
	const struct stored_labels labels = { known, 2 };
	struct stored s;

	EXPECT_TRUE(span_equal(parse("k8s:enc:aesgcm:v1:a:b:" BODY).label, span_str("a")));
	ASSERT_OK(stored_parse(span_str("k8s:enc:aesgcm:v1:a:b:" BODY), &labels, &s));
	EXPECT_TRUE(span_equal(s.label, span_str("a:b")));
	ASSERT_OK(stored_parse(span_str("k8s:enc:aesgcm:v1:a:c:" BODY), &labels, &s));
	EXPECT_TRUE(span_equal(s.label, span_str("a")));
}

/* An envelope of kekd's own: the data key inside is a chain value, and tells whose. */
static size_t envelope_v1(const char *name, const char *edek, uint8_t *out)
{
	size_t n = (size_t)sprintf((char *)out, "k8s:enc:kms:v1:%s:", name), len = strlen(edek);

	out[n++] = (uint8_t)(len >> 8);
	out[n++] = (uint8_t)len;
	memcpy(out + n, edek, len);
	memset(out + n + len, 'x', 28);
	return n + len + 28;
}

static size_t envelope_v2(const char *name, const char *edek, const char *key_id, uint8_t *out)
{
	struct encobj obj = {
		.key_id = span_str(key_id),
		.dek = span_str(edek),
		.type = DEK_HKDF_XNONCE_SEED,
	};
	_cleanup_free_ uint8_t *tail = NULL;
	size_t n = (size_t)sprintf((char *)out, "k8s:enc:kms:v2:%s:", name), tail_len;

	ASSERT_OK(encobj_tail(&obj, &tail, &tail_len));
	n += encobj_head(out + n, 64);
	memset(out + n, 'x', 64);
	memcpy(out + n + 64, tail, tail_len);
	return n + 64 + tail_len;
}

TEST(envelopes_of_our_own)
{
	uint8_t value[512];
	struct stored s;
	size_t n;

	n = envelope_v1("with:colon", "k8s:enc:aesgcm:v1:primary.12:" BODY, value);
	ASSERT_OK(stored_parse(span_of(value, n), &no_labels, &s));
	EXPECT_TRUE(s.own && !s.fault);
	EXPECT_TRUE(span_equal(s.name, span_str("with:colon")));
	EXPECT_TRUE(span_equal(s.label, span_str("primary.12")));
	n = envelope_v1("plugin", "opaque", value);
	ASSERT_OK(stored_parse(span_of(value, n), &no_labels, &s));
	EXPECT_TRUE(!s.own && !s.fault && s.label.len == 0);
	n = envelope_v2("plugin", "k8s:enc:aesgcm:v1:primary.12:" BODY, "12.1", value);
	ASSERT_OK(stored_parse(span_of(value, n), &no_labels, &s));
	EXPECT_TRUE(s.own && !s.fault);
	EXPECT_TRUE(span_equal(s.label, span_str("primary.12")));
	EXPECT_TRUE(span_equal(s.key_id, span_str("12.1")));
}

TEST(keys_of_etcd)
{
	static const struct {
		const char *key, *resource, *ns, *object;
	} cases[] = {
		{ "/registry/secrets/default/one", "secrets", "default", "one" },
		{ "/registry/deployments/kube-system/dns", "deployments.apps", "kube-system",
		  "dns" },
		{ "/registry/minions/node-1", "nodes", "", "node-1" },
		{ "/registry/namespaces/default", "namespaces", "", "default" },
		{ "/registry/services/specs/default/web", "services", "default", "web" },
		{ "/registry/services/endpoints/default/web", "endpoints", "default", "web" },
		{ "/registry/clusterroles/admin", "clusterroles.rbac.authorization.k8s.io", "",
		  "admin" },
		{ "/registry/apiregistration.k8s.io/apiservices/v1.",
		  "apiservices.apiregistration.k8s.io", "", "v1." },
		{ "/registry/example.com/widgets/ns/w", "widgets.example.com", "ns", "w" },
		{ "/registry/example.com/widgets/w", "widgets.example.com", "", "w" },
	};
	static const char *const none[] = { "",
					    "/registry/",
					    "/registry/secrets",
					    "/registry/secrets/",
					    "/other/secrets/ns/x",
					    "compact_rev_key",
					    "/registry/example.com/widgets" };
	char text[RESOURCE_TEXT_MAX];
	struct resource r;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		ASSERT_TRUE(resource_parse(span_str(cases[i].key), span_str("/registry/"), &r));
		resource_text(&r, text);
		EXPECT_STREQ(cases[i].resource, text);
		EXPECT_TRUE(span_equal(r.ns, span_str(cases[i].ns)));
		EXPECT_TRUE(span_equal(r.object, span_str(cases[i].object)));
		EXPECT_TRUE(resource_covered(&r, cases[i].resource));
		EXPECT_TRUE(resource_covered(&r, "*.*"));
	}
	for (size_t i = 0; i < ARRAY_SIZE(none); i++)
		EXPECT_FALSE(resource_parse(span_str(none[i]), span_str("/registry/"), &r));
}

/* Where a value is tells less than what it says it is, but for resources that have moved or share a place. */
TEST(values_tell_what_they_are)
{
	static const struct {
		const char *key, *api_version, *kind, *resource, *ns, *object;
	} cases[] = {
		{ "/r/secrets/a/b", "v1", "Secret", "secrets", "a", "b" },
		{ "/r/ranges/serviceips", "v1", "RangeAllocation", "services", "", "serviceips" },
		{ "/r/events/a/b", "events.k8s.io/v1", "Event", "events", "a", "b" },
		{ "/r/deployments/a/b", "extensions/v1beta1", "Deployment", "deployments.apps", "a",
		  "b" },
		{ "/r/things/a/b", "new.k8s.io/v1", "Thing", "things.new.k8s.io", "a", "b" },
		{ "/r/oauth/things/b", "o.example.com/v1", "OThing", "othings.o.example.com",
		  "things", "b" },
		{ "/r/a.example.com/deep/policies/a/b", "b.example.com/v1", "Policy",
		  "policies.b.example.com", "a", "b" },
		{ "/r/x/addresses/b", "x.io/v1", "Address", "addresses.x.io", "", "b" },
		{ "/r/x/y/b", "x.io/v1", "", "x", "y", "b" },
	};
	char text[RESOURCE_TEXT_MAX];
	struct resource r;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct span key = span_str(cases[i].key);

		ASSERT_TRUE(resource_parse(key, span_str("/r/"), &r));
		resource_told(&r, key, span_str(cases[i].api_version), span_str(cases[i].kind));
		resource_text(&r, text);
		EXPECT_STREQ(cases[i].resource, text);
		EXPECT_TRUE(span_equal(r.ns, span_str(cases[i].ns)));
		EXPECT_TRUE(span_equal(r.object, span_str(cases[i].object)));
	}
}

TEST(what_comes_before_a_resource)
{
	static const struct {
		const char *key, *kind, *prefix;
	} cases[] = {
		{ "/registry/secrets/a/b", "", "/registry/" },
		{ "/kubernetes.io/secrets/a/b", "Secret", "/kubernetes.io/" },
		{ "/a/b/services/specs/x/y", "", "/a/b/" },
		{ "/a/things/x/y", "Thing", "/a/" },
		{ "/a/others/x/y", "", "/a/" },
		{ "alone", "", "" },
		{ "", "Thing", "" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		EXPECT_TRUE(span_equal(
			span_str(cases[i].prefix),
			resource_prefix(span_str(cases[i].key), span_str(cases[i].kind))));
}

TEST(what_a_pattern_covers)
{
	struct resource secrets, widgets;

	ASSERT_TRUE(resource_parse(span_str("/r/secrets/a/b"), span_str("/r/"), &secrets));
	ASSERT_TRUE(
		resource_parse(span_str("/r/example.com/widgets/a/b"), span_str("/r/"), &widgets));
	EXPECT_TRUE(resource_covered(&secrets, "*.") && !resource_covered(&widgets, "*."));
	EXPECT_TRUE(resource_covered(&secrets, "secrets."));
	EXPECT_FALSE(resource_covered(&secrets, "secret"));
	EXPECT_FALSE(resource_covered(&secrets, "secrets.example.com"));
	EXPECT_TRUE(resource_covered(&widgets, "*.example.com"));
	EXPECT_FALSE(resource_covered(&widgets, "*.com"));
	EXPECT_FALSE(resource_covered(&widgets, "widgets"));
}

/* The judgement. */

static const struct rules_key keys[] = {
	{ .info.label = "primary.22",
	  .info.name = "primary",
	  .key_id = "22.1",
	  .info.state = KEY_ACTIVE },
	{ .info.label = "primary.11", .info.name = "primary", .key_id = "11.1" },
	{ .info.label = "primary.00", .info.name = "primary", .key_id = "00.1", .gone = true },
	{ .info.label = "old", .info.name = "old.2", .key_id = "33.1", .info.state = KEY_ACTIVE },
};

static enum verdict judge(const char *yaml, bool literal, struct span value, const char *key)
{
	static const char *const covered[] = { "secrets" };
	struct resource resource = { 0 };
	_cleanup_(encconf_freep) struct encconf *conf = NULL;
	struct yaml_error err = { 0 };
	struct rules rules = {
		.literal = literal,
		.covered = covered,
		.n_covered = 1,
		.keys = keys,
		.n_keys = literal ? 0 : ARRAY_SIZE(keys),
	};
	struct judgement j = { 0 };
	struct stored s;

	if (yaml)
		ASSERT_OK(encconf_parse(span_str(yaml), "test", literal ? ENCCONF_ALLOW_SECRETS : 0,
					&conf, &err));
	rules.conf = conf;
	ASSERT_OK(rules_labels(&rules, &rules.labels));
	ASSERT_TRUE(resource_parse(span_str(key), span_str("/registry/"), &resource));
	ASSERT_OK(stored_parse(value, &rules.labels, &s));
	rules_judge(&rules, &resource, &s, &j);
	free((void *)(uintptr_t)rules.labels.v);
	return j.verdict;
}

#define SECRET_KEY "/registry/secrets/ns/x"

static void expect(const char *verdict, const char *yaml, bool literal, const char *value)
{
	if (!EXPECT_STREQ(verdict, verdict_name(judge(yaml, literal, span_str(value), SECRET_KEY))))
		ktest_log("%s", value);
}

TEST(judged_by_the_keys_of_kekd)
{
	expect("current", NULL, false, "k8s:enc:aesgcm:v1:primary.22:" BODY);
	expect("stale", NULL, false, "k8s:enc:aesgcm:v1:primary.11:" BODY);
	expect("unreadable", NULL, false, "k8s:enc:aesgcm:v1:primary.00:" BODY);
	expect("unreadable", NULL, false, "k8s:enc:aesgcm:v1:primary.99:" BODY);
	expect("unreadable", NULL, false, "k8s:enc:aesgcm:v1:primary.22:short");
	expect("plaintext", NULL, false, "k8s");
	EXPECT_EQ(VERDICT_UNCOVERED,
		  judge(NULL, false, span_str("plain"), "/registry/configmaps/ns/x"));
}

#define NAMED                                                                                 \
	"apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n" \
	"- resources: [secrets]\n  providers:\n  - aesgcm: {keys: [{name: primary}]}\n"       \
	"  - aescbc: {keys: [{name: old.2}]}\n  - identity: {}\n"

TEST(judged_by_a_configuration_of_kekd)
{
	uint8_t value[512];
	size_t n;

	expect("current", NAMED, false, "k8s:enc:aesgcm:v1:primary.22:" BODY);
	expect("stale", NAMED, false, "k8s:enc:aesgcm:v1:primary.11:" BODY);
	expect("unreadable", NAMED, false, "k8s:enc:aesgcm:v1:primary.00:" BODY);
	expect("stale", NAMED, false, "k8s:enc:aescbc:v1:old:" BODY);
	expect("unreadable", NAMED, false, "k8s:enc:aesgcm:v1:old:" BODY);
	expect("plaintext", NAMED, false, "plain");
	n = envelope_v2("plugin", "k8s:enc:aesgcm:v1:primary.22:" BODY, "22.1", value);
	EXPECT_EQ(VERDICT_CURRENT, judge(NAMED, false, span_of(value, n), SECRET_KEY));
	n = envelope_v2("plugin", "k8s:enc:aesgcm:v1:primary.11:" BODY, "11.1", value);
	EXPECT_EQ(VERDICT_STALE, judge(NAMED, false, span_of(value, n), SECRET_KEY));
	EXPECT_EQ(VERDICT_UNCOVERED, judge(NAMED, false, span_str("plain"), "/registry/pods/ns/x"));
}

#define KMS_FIRST                                                                             \
	"apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n" \
	"- resources: [secrets]\n  providers:\n"                                              \
	"  - kms: {apiVersion: v2, name: kekd, endpoint: 'unix:///run/kekd/kms.sock'}\n"      \
	"  - aescbc: {keys: [{name: key1, secret: MDEyMzQ1Njc4OWFiY2RlZg==},"                 \
	" {name: key2, secret: MDEyMzQ1Njc4OWFiY2RlZg==}]}\n"

/* kube-apiserver's own file, on the way from file keys to a plugin. */
TEST(judged_by_a_configuration_of_the_apiserver)
{
	uint8_t value[512];
	size_t n;

	expect("stale", KMS_FIRST, true, "k8s:enc:aescbc:v1:key1:" BODY);
	expect("stale", KMS_FIRST, true, "k8s:enc:aescbc:v1:key2:" BODY);
	expect("unreadable", KMS_FIRST, true, "k8s:enc:aescbc:v1:key3:" BODY);
	expect("plaintext", KMS_FIRST, true, "plain");
	n = envelope_v2("kekd", "foreign", "x", value);
	EXPECT_EQ(VERDICT_CURRENT, judge(KMS_FIRST, true, span_of(value, n), SECRET_KEY));
	n = envelope_v2("other", "foreign", "x", value);
	EXPECT_EQ(VERDICT_UNREADABLE, judge(KMS_FIRST, true, span_of(value, n), SECRET_KEY));
}

#define PLAIN_FIRST                                                                           \
	"apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n" \
	"- resources: [secrets]\n  providers:\n  - identity: {}\n"                            \
	"  - aescbc: {keys: [{name: key1, secret: MDEyMzQ1Njc4OWFiY2RlZg==}]}\n"

/* kekd has two keys of one label, imported from a file; the envelope's key_id says which, a label does not. */
TEST(a_label_that_keys_share)
{
	static const struct rules_key shared[] = {
		{ .info.label = "key1",
		  .info.name = "key1",
		  .key_id = "44.1",
		  .info.state = KEY_ACTIVE },
		{ .info.label = "key1",
		  .info.name = "key1.2",
		  .key_id = "55.1",
		  .info.state = KEY_ACTIVE },
	};
	struct rules rules = { .keys = shared, .n_keys = ARRAY_SIZE(shared) };
	struct judgement j = { 0 };
	struct resource secret;
	uint8_t value[512];
	struct stored s = parse("k8s:enc:aescbc:v1:key1:" BODY);
	size_t n;

	ASSERT_TRUE(resource_parse(span_str(SECRET_KEY), span_str("/registry/"), &secret));
	rules_judge(&rules, &secret, &s, &j);
	EXPECT_EQ(VERDICT_STALE, j.verdict);
	EXPECT_TRUE(j.unsure);
	n = envelope_v2("kekd", "k8s:enc:aesgcm:v1:key1:" BODY, "55.1", value);
	ASSERT_OK(stored_parse(span_of(value, n), &no_labels, &s));
	rules_judge(&rules, &secret, &s, &j);
	EXPECT_EQ(VERDICT_CURRENT, j.verdict);
	EXPECT_EQ(&shared[1], j.key);
}

/* A plugin that was there before kekd, under the name that kekd has now. */
TEST(a_plugin_that_was_replaced)
{
	_cleanup_(encconf_freep) struct encconf *conf = NULL;
	struct rules rules = { .literal = true, .keys = keys, .n_keys = ARRAY_SIZE(keys) };
	struct yaml_error err = { 0 };
	struct judgement j = { 0 };
	struct resource secret;
	uint8_t value[512];
	struct stored s;
	size_t n = envelope_v2("kekd", "foreign", "x", value);

	ASSERT_OK(encconf_parse(span_str(KMS_FIRST), "test", ENCCONF_ALLOW_SECRETS, &conf, &err));
	ASSERT_OK(stored_parse(span_of(value, n), &no_labels, &s));
	rules.conf = conf;
	ASSERT_TRUE(resource_parse(span_str(SECRET_KEY), span_str("/registry/"), &secret));
	rules.kms_socket = "/run/other.sock";
	rules_judge(&rules, &secret, &s, &j);
	EXPECT_EQ(VERDICT_CURRENT, j.verdict);
	rules.kms_socket = "/run/kekd/kms.sock";
	rules_judge(&rules, &secret, &s, &j);
	EXPECT_EQ(VERDICT_STALE, j.verdict);
}

/* Encryption being taken away: then plaintext is what is wanted. */
TEST(plaintext_may_be_current)
{
	expect("current", PLAIN_FIRST, true, "plain");
	expect("stale", PLAIN_FIRST, true, "k8s:enc:aescbc:v1:key1:" BODY);
}

TEST(rows_are_summed)
{
	struct report report = { 0 };
	struct report_row *row = NULL, *again = NULL;
	const struct judgement j = { .key = &keys[0] };
	struct stored s = parse("k8s:enc:aesgcm:v1:primary.22:" BODY);
	struct resource r;
	char key[64];

	for (unsigned int i = 0; i < 3000; i++) {
		snprintf(key, sizeof(key), "/r/secrets/ns%u/x", i % 1500);
		ASSERT_TRUE(resource_parse(span_str(key), span_str("/r/"), &r));
		ASSERT_OK(report_row(&report, &r, &s, &j, &row));
		report_count(&report, row, i % 2 ? VERDICT_STALE : VERDICT_CURRENT, 10);
	}
	EXPECT_EQ(1500U, report.n);
	ASSERT_OK(report_row(&report, &r, &s, &j, &again));
	EXPECT_EQ(row, again);
	EXPECT_EQ(20U, row->bytes);
	report_sort(&report, false);
	EXPECT_TRUE(report_same_but_ns(report.rows[0], report.rows[1499]));
	EXPECT_EQ(1500U, report.n_all[VERDICT_STALE]);
	report_sort(&report, true);
	EXPECT_STREQ("ns0", report.rows[0]->ns);
	EXPECT_EQ(report.rows[7], report.rows[7]->slots[VERDICT_STALE].row);
	report_done(&report);
}

/* Rows of one plugin, current under the key_ids "1", "2", … of @hashes; ' ' is a value that nobody opens. */
static uint64_t distrusted(const char *hashes, const struct rules_key *kek)
{
	struct report report = { 0 };
	struct report_row *row = NULL;
	struct stored s = { .kind = STORED_KMS_V2, .name = span_str("plugin") };
	struct resource r;
	uint64_t n;

	ASSERT_TRUE(resource_parse(span_str("/r/secrets/ns/x"), span_str("/r/"), &r));
	for (const char *h = hashes; *h; h++) {
		const struct judgement j = { .key = h == hashes ? kek : NULL };

		s.key_id = span_of((const uint8_t *)h, 1);
		ASSERT_OK(report_row(&report, &r, &s, &j, &row));
		report_count(&report, row, *h == ' ' ? VERDICT_UNREADABLE : VERDICT_CURRENT, 10);
	}
	n = report_distrust(&report);
	EXPECT_EQ(n, report.n_all[VERDICT_STALE]);
	report_done(&report);
	return n;
}

TEST(several_key_ids_of_a_plugin)
{
	EXPECT_EQ(0U, distrusted("11", NULL));
	EXPECT_EQ(2U, distrusted("12", NULL));
	EXPECT_EQ(3U, distrusted("121", NULL));
	EXPECT_EQ(0U, distrusted("1 ", NULL));
	EXPECT_EQ(1U, distrusted("12", &keys[0]));
}

TEST(bytes_are_escaped)
{
	char text[32];

	report_escape(span_of("a\x1b[1m\n\\", 7), text, sizeof(text));
	EXPECT_STREQ("a\\x1b[1m\\x0a\\x5c", text);
	report_escape(span_str("\x01\x02\x03\x04\x05\x06\x07\x08\x09"), text, 9);
	EXPECT_STREQ("\\x01\\x02", text);
}

TEST_HARNESS_MAIN
