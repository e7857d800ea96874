/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files under tests/data/encconf:
 *   good/      the apiserver accepts them, and so does kekd with ENCCONF_ALLOW_SECRETS
 *   bad/       both refuse them
 *   stricter/  the apiserver accepts them, kekd does not (daemon/chain/encconf.h says why)
 *   named/     kekd's own form: the apiserver misses the secrets
 * expected.txt says for each of bad/ and stricter/ where the message points and what is in it.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemon/chain/encconf.h"
#include "tests/harness/ktest.h"

#define DATA VECTORS_DIR "/../data/encconf"

static const char head[] = "kind: EncryptionConfiguration\n"
			   "apiVersion: apiserver.config.k8s.io/v1\n"
			   "resources:\n";

/* One item, of which only the providers matter. They begin at line 6. */
#define WITH_PROVIDERS "- resources: [secrets]\n  providers:\n"

struct outcome {
	int r;
	struct encconf *c;
	struct yaml_error err;
};

static void outcome_clear(struct outcome *o)
{
	encconf_free(o->c);
	*o = (struct outcome){ 0 };
}

static struct outcome parse_span(struct span text, const char *file, unsigned int flags)
{
	struct outcome o = { 0 };

	o.r = encconf_parse(text, file, flags, &o.c, &o.err);
	EXPECT_EQ(o.r == 0, o.c != NULL);
	EXPECT_EQ(o.r == 0, o.err.text[0] == 0);
	return o;
}

static struct outcome parse(const char *items, unsigned int flags)
{
	char text[8192];

	snprintf(text, sizeof(text), "%s%s", head, items);
	return parse_span(span_str(text), "enc.yaml", flags);
}

static struct outcome parse_file(const char *name, unsigned int flags)
{
	char path[512], text[16384];
	FILE *f;
	size_t len;

	snprintf(path, sizeof(path), DATA "/%s", name);
	f = fopen(path, "re");
	ASSERT_NOT_NULL(f);
	len = fread(text, 1, sizeof(text), f);
	ASSERT_LT(len, sizeof(text));
	fclose(f);
	return parse_span(span_of(text, len), name, flags);
}

typedef void each_fn(const char *name);

/* Calls @each with "FOLDER/FILE" and returns how many there were. */
static unsigned int each_file(const char *folder, each_fn *each)
{
	char path[512];
	const struct dirent *e;
	unsigned int n = 0;
	DIR *dir;

	snprintf(path, sizeof(path), DATA "/%s", folder);
	dir = opendir(path);
	ASSERT_NOT_NULL(dir);
	while ((e = readdir(dir))) {
		if (e->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", folder, e->d_name);
		each(path);
		n++;
	}
	closedir(dir);
	return n;
}

static void expect_good(const char *name)
{
	struct outcome o = parse_file(name, ENCCONF_ALLOW_SECRETS);

	if (!EXPECT_OK(o.r))
		ktest_log("%s", o.err.text);
	outcome_clear(&o);
}

static void expect_named(const char *name)
{
	struct outcome o = parse_file(name, 0);

	if (!EXPECT_OK(o.r))
		ktest_log("%s", o.err.text);
	outcome_clear(&o);
	o = parse_file(name, ENCCONF_ALLOW_SECRETS);
	EXPECT_ERR(-EINVAL, o.r);
	EXPECT_NOT_NULL(strstr(o.err.text, "\"secret\" must not be empty"));
	outcome_clear(&o);
}

/* Without the flag a good file is good, or it holds a secret and is told where to take it. */
static void expect_no_secret(const char *name)
{
	struct outcome o = parse_file(name, 0);

	if (o.r < 0) {
		EXPECT_NOT_NULL(strstr(o.err.text, "keys are not kept in files"));
		EXPECT_NOT_NULL(strstr(o.err.text, "kekctl key import "));
		EXPECT_NULL(strstr(o.err.text, "MDEyMzQ1"));
	}
	outcome_clear(&o);
}

/* One line of expected.txt: FILE LINE:COLUMN FRAGMENT. */
static void expect_bad(char *line)
{
	char *place, *fragment, start[1100];
	struct outcome o;

	line[strcspn(line, "\n")] = 0;
	place = strchr(line, ' ');
	ASSERT_NOT_NULL(place);
	*place++ = 0;
	fragment = strchr(place, ' ');
	ASSERT_NOT_NULL(fragment);
	*fragment++ = 0;
	o = parse_file(line, ENCCONF_ALLOW_SECRETS);
	snprintf(start, sizeof(start), "%s:%s: ", line, place);
	if (!EXPECT_ERR(-EINVAL, o.r) ||
	    !EXPECT_TRUE(strncmp(o.err.text, start, strlen(start)) == 0) ||
	    !EXPECT_NOT_NULL(strstr(o.err.text, fragment)))
		ktest_log("%s expected %s%s, seen %s", line, start, fragment, o.err.text);
	EXPECT_NULL(strstr(o.err.text, "MDEyMzQ1"));
	outcome_clear(&o);
}

static void ignore(const char *name _unused_)
{
}

TEST(good_files)
{
	EXPECT_LE(60, each_file("good", expect_good));
}

TEST(good_files_without_the_flag)
{
	EXPECT_LE(60, each_file("good", expect_no_secret));
}

TEST(named_files)
{
	EXPECT_LE(4, each_file("named", expect_named));
}

TEST(bad_files)
{
	unsigned int files = each_file("bad", ignore) + each_file("stricter", ignore);
	unsigned int lines = 0;
	char line[512];
	FILE *f;

	f = fopen(DATA "/expected.txt", "re");
	ASSERT_NOT_NULL(f);
	while (fgets(line, sizeof(line), f)) {
		if (line[0] == '#')
			continue;
		expect_bad(line);
		lines++;
	}
	fclose(f);
	EXPECT_EQ(files, lines);
	EXPECT_LE(120, lines);
}

TEST(secret_is_refused_with_the_way_out)
{
	struct outcome o = parse(WITH_PROVIDERS "  - aesgcm:\n"
						"      keys:\n"
						"      - name: primary\n"
						"        secret: MDEyMzQ1Njc4OWFiY2RlZg==\n",
				 0);

	EXPECT_ERR(-EINVAL, o.r);
	EXPECT_STREQ("enc.yaml:9:9: keys are not kept in files: \"secret\" of key \"primary\" "
		     "belongs into the kernel; run: kekctl key import enc.yaml",
		     o.err.text);
	outcome_clear(&o);
}

/* Whatever is in it: the value is not looked at. */
TEST(secret_is_refused_whatever_it_is)
{
	static const char *const values[] = { "''", "x",
					      "MDEyMzQ1Njc4OWFiY2RlZg==", "\"\\u00e9\"" };
	char text[512];
	struct outcome o;

	for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
		snprintf(text, sizeof(text),
			 WITH_PROVIDERS "  - secretbox: {keys: [{name: a, secret: %s}]}\n",
			 values[i]);
		o = parse(text, 0);
		EXPECT_ERR(-EINVAL, o.r);
		EXPECT_EQ(6, o.err.line);
		EXPECT_NOT_NULL(strstr(o.err.text, "keys are not kept in files"));
		outcome_clear(&o);
	}
}

/* Name and secret have changed places. */
TEST(a_key_as_a_name_is_not_shown)
{
	struct outcome o = parse(WITH_PROVIDERS "  - aesgcm:\n"
						"      keys:\n"
						"      - name: MDEyMzQ1Njc4OWFiY2RlZg==\n"
						"        secret: primary\n",
				 0);

	EXPECT_ERR(-EINVAL, o.r);
	EXPECT_NOT_NULL(strstr(o.err.text, "of key \"(not shown)\""));
	EXPECT_NULL(strstr(o.err.text, "MDEy"));
	outcome_clear(&o);
}

TEST(secrets_are_decoded)
{
	static const char bytes[] = "0123456789abcdef0123456789abcdef";
	const struct encconf_provider *p;
	struct outcome o;

	o = parse(
		WITH_PROVIDERS
		"  - aesgcm:\n"
		"      keys:\n"
		"      - {name: a, secret: MDEyMzQ1Njc4OWFiY2RlZg==}\n"
		"      - {name: b, secret: MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3}\n"
		"  - secretbox:\n"
		"      keys:\n"
		"      - {name: c, secret: \"MDEyMzQ1Njc4OWFiY2Rl\\r\\nZjAxMjM0NTY3ODlhYmNkZWY=\"}\n"
		"      - {name: d, secret: ++//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=}\n",
		ENCCONF_ALLOW_SECRETS);
	ASSERT_OK(o.r);
	p = o.c->items[0].providers;
	EXPECT_MEMEQ(bytes, 16, p[0].keys[0].secret, p[0].keys[0].secret_len);
	EXPECT_MEMEQ(bytes, 24, p[0].keys[1].secret, p[0].keys[1].secret_len);
	EXPECT_MEMEQ(bytes, 32, p[1].keys[0].secret, p[1].keys[0].secret_len);
	EXPECT_EQ(32, p[1].keys[1].secret_len);
	EXPECT_MEMEQ("\xfb\xef\xff\0", 4, p[1].keys[1].secret, 4);
	outcome_clear(&o);
}

/* As Go refuses them; libsodium 1.0.18 takes what is not ASCII for a '/'. */
TEST(what_is_no_base64_is_no_key)
{
	static const char *const bad[] = {
		"MDEyMzQ1Njc4OWFiY2RlZg=",          "MDEyMzQ1Njc4OWFiY2RlZ===",
		"MDEyMzQ1Njc4OWFiY2Rl Zg==",        "MDEyMzQ1Njc4OWFiY2Rl\xc3\xa9==",
		"\xc2\xa0MDEyMzQ1Njc4OWFiY2RlZg==", "MDEyMzQ1Njc4OWFiY2RlZg==\xc2\xa0\xc2\xa0",
		"MDEyMzQ1Njc4OWFiY2RlZg\xc2\xa0",
	};
	char text[512];
	struct outcome o;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		snprintf(text, sizeof(text),
			 WITH_PROVIDERS "  - aesgcm: {keys: [{name: a, secret: \"%s\"}]}\n",
			 bad[i]);
		o = parse(text, ENCCONF_ALLOW_SECRETS);
		EXPECT_ERR(-EINVAL, o.r);
		EXPECT_NOT_NULL(strstr(o.err.text, "base64"));
		outcome_clear(&o);
	}
}

TEST(names_keep_order_and_place)
{
	struct outcome o = parse("- resources: [secrets, '*.apps']\n"
				 "  providers:\n"
				 "  - aescbc: {keys: [{name: new}, {name: old}]}\n"
				 "  - identity: {}\n"
				 "- resources: [configmaps]\n"
				 "  providers: [{identity: {}}]\n",
				 0);
	const struct encconf_item *item;

	ASSERT_OK(o.r);
	ASSERT_EQ(2, o.c->items_count);
	item = o.c->items;
	ASSERT_EQ(2, item->resources_count);
	EXPECT_STREQ("*.apps", item->resources[1].name);
	EXPECT_EQ(24, item->resources[1].column);
	ASSERT_EQ(2, item->providers_count);
	EXPECT_EQ(ENCCONF_AESCBC, item->providers[0].kind);
	EXPECT_STREQ("aescbc", encconf_kind_name(item->providers[0].kind));
	ASSERT_EQ(2, item->providers[0].keys_count);
	EXPECT_STREQ("new", item->providers[0].keys[0].name);
	EXPECT_STREQ("old", item->providers[0].keys[1].name);
	EXPECT_NULL(item->providers[0].keys[0].secret);
	EXPECT_EQ(6, item->providers[0].keys[1].line);
	EXPECT_EQ(ENCCONF_IDENTITY, item->providers[1].kind);
	EXPECT_EQ(7, item->providers[1].line);
	EXPECT_EQ(8, item[1].line);
	outcome_clear(&o);
}

TEST(kms_defaults)
{
	struct outcome o = parse(WITH_PROVIDERS
				 "  - kms: {name: a, endpoint: unix:///run/a}\n"
				 "  - kms: {name: b, endpoint: unix:///run/b, apiVersion: v2}\n",
				 0);
	const struct encconf_kms *a, *b;

	ASSERT_OK(o.r);
	a = &o.c->items[0].providers[0].kms;
	b = &o.c->items[0].providers[1].kms;
	EXPECT_EQ(1, a->version);
	EXPECT_EQ(1000, a->cachesize);
	EXPECT_EQ(3000000000, a->timeout);
	EXPECT_EQ(2, b->version);
	EXPECT_EQ(0, b->cachesize);
	EXPECT_EQ(3000000000, b->timeout);
	EXPECT_STREQ("b", b->name);
	EXPECT_STREQ("unix:///run/b", b->endpoint);
	outcome_clear(&o);
}

TEST(kms_endpoints)
{
	static const struct {
		const char *endpoint, *path;
		bool abstract;
	} t[] = {
		{ "unix:///run/a", "/run/a", false },
		{ "unix:/run/a", "/run/a", false },
		{ "Unix:///run/a", "/run/a", false },
		{ "unix:///run/a%20%2Fb", "/run/a /b", false },
		{ "unix:///@name", "@name", true },
		{ "unix:///%40name", "@name", true },
	};
	const struct encconf_kms *kms;
	char text[512];
	struct outcome o;

	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		snprintf(text, sizeof(text), WITH_PROVIDERS "  - kms: {name: a, endpoint: '%s'}\n",
			 t[i].endpoint);
		o = parse(text, 0);
		ASSERT_OK(o.r);
		kms = &o.c->items[0].providers[0].kms;
		EXPECT_STREQ(t[i].path, kms->path);
		EXPECT_EQ(t[i].abstract, kms->abstract);
		outcome_clear(&o);
	}
}

/* "- resources: [r0, r1, …]" with @n of them, then identity. */
static struct outcome parse_resources(unsigned int n)
{
	size_t len, size = 256 + n * 16;
	char *text = malloc(size);
	struct outcome o;

	ASSERT_NOT_NULL(text);
	len = (size_t)snprintf(text, size, "%s- resources: [r0", head);
	for (unsigned int i = 1; i < n; i++)
		len += (size_t)snprintf(text + len, size - len, ", r%u", i);
	snprintf(text + len, size - len, "]\n  providers: [{identity: {}}]\n");
	o = parse_span(span_str(text), "enc.yaml", 0);
	free(text);
	return o;
}

TEST(counts_are_bounded)
{
	struct outcome o = parse_resources(ENCCONF_RESOURCES_MAX);

	EXPECT_OK(o.r);
	outcome_clear(&o);
	o = parse_resources(ENCCONF_RESOURCES_MAX + 1);
	EXPECT_ERR(-EINVAL, o.r);
	EXPECT_STREQ("enc.yaml:4:14: too many resources in one file", o.err.text);
	outcome_clear(&o);
}

/* The bound holds for the sum over all items. */
TEST(keys_are_bounded_together)
{
	static const char keys[] = "[{name: a}, {name: a}, {name: a}, {name: a}, {name: a}, "
				   "{name: a}, {name: a}, {name: a}]";
	size_t len, size = 32768;
	char *text = malloc(size);
	struct outcome o;

	ASSERT_NOT_NULL(text);
	len = (size_t)snprintf(text, size, "%s" WITH_PROVIDERS, head);
	for (unsigned int i = 0; i < ENCCONF_KEYS_MAX / 8; i++)
		len += (size_t)snprintf(text + len, size - len, "  - aesgcm: {keys: %s}\n", keys);
	o = parse_span(span_str(text), "enc.yaml", 0);
	EXPECT_OK(o.r);
	outcome_clear(&o);
	snprintf(text + len, size - len, "  - aescbc: {keys: [{name: b}]}\n");
	o = parse_span(span_str(text), "enc.yaml", 0);
	EXPECT_ERR(-EINVAL, o.r);
	EXPECT_STREQ("enc.yaml:134:20: too many keys in one file", o.err.text);
	outcome_clear(&o);
	free(text);
}

TEST_HARNESS_MAIN
