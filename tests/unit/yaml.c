/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemon/base/yaml.h"
#include "tests/harness/ktest.h"

struct sample {
	char *name;
	uint32_t count;
	uint64_t size;
	unsigned int mode;
	int64_t wait;
	struct {
		uint32_t x;
	} inner;
	const struct yaml_node *rest;
};

static const char *const modes[] = { "slow", "fast", NULL };

static const struct yaml_field inner_fields[] = {
	{ .name = "x", .get = yaml_get_u32, .max = 9 },
	{ 0 },
};

static int get_text(const struct yaml_doc *doc, const struct yaml_node *node,
		    const struct yaml_field *field, void *out)
{
	int r = yaml_expect(doc, node, YAML_STR, field->name);

	return r < 0 ? r : yaml_dup(node, out);
}

static const struct yaml_field sample_fields[] = {
	{ .name = "name",
	  .get = get_text,
	  .offset = offsetof(struct sample, name),
	  .flags = YAML_REQUIRED },
	{ .name = "count",
	  .get = yaml_get_u32,
	  .offset = offsetof(struct sample, count),
	  .min = 1,
	  .max = 100 },
	{ .name = "size",
	  .get = yaml_get_u64,
	  .offset = offsetof(struct sample, size),
	  .max = INT64_MAX },
	{ .name = "mode",
	  .get = yaml_get_enum,
	  .offset = offsetof(struct sample, mode),
	  .arg = modes },
	{ .name = "wait",
	  .get = yaml_get_duration,
	  .offset = offsetof(struct sample, wait),
	  .min = 0,
	  .max = 3600000000000 },
	{ .name = "inner",
	  .get = yaml_get_map,
	  .offset = offsetof(struct sample, inner),
	  .arg = inner_fields },
	YAML_NODE_FIELD("rest", struct sample, rest, YAML_NULLABLE),
	{ 0 },
};

static int parse(const char *text, struct yaml_error *err, struct yaml_doc **ret)
{
	return yaml_doc_parse(span_str(text), "f.yaml", err, ret);
}

/* Parses and reads; what it returns in @s points to nothing that the document owned, but rest. */
static int read_sample(const char *text, struct sample *s, struct yaml_error *err)
{
	_cleanup_(yaml_doc_freep) struct yaml_doc *doc = NULL;
	int r;

	r = parse(text, err, &doc);
	if (r == 0)
		r = yaml_read(doc, yaml_doc_root(doc), sample_fields, s);
	return r;
}

static void expect_error(const char *text, const char *message)
{
	struct yaml_error err = { 0 };
	struct sample s = { 0 };

	EXPECT_ERR(-EINVAL, read_sample(text, &s, &err));
	EXPECT_STREQ(message, err.text);
	free(s.name);
}

static enum yaml_type type_of(const char *scalar)
{
	struct yaml_error err = { 0 };
	struct yaml_doc *doc = NULL;
	enum yaml_type type;

	ASSERT_OK(parse(scalar, &err, &doc));
	type = yaml_doc_root(doc)->type;
	yaml_doc_free(doc);
	return type;
}

TEST(reads_a_struct)
{
	struct yaml_error err = { 0 };
	struct sample s = { 0 };

	ASSERT_OK(read_sample("name: abc\ncount: 0x10\nsize: 1_000\nmode: fast\nwait: 1m1.5s\n"
			      "inner: {x: 7}\nrest:\n",
			      &s, &err));
	EXPECT_STREQ("abc", s.name);
	EXPECT_EQ(16, s.count);
	EXPECT_EQ(1000, s.size);
	EXPECT_EQ(1, s.mode);
	EXPECT_EQ(61500000000, s.wait);
	EXPECT_EQ(7, s.inner.x);
	EXPECT_NULL(s.rest);
	EXPECT_STREQ("", err.text);
	free(s.name);
}

TEST(tree_knows_its_places)
{
	const struct yaml_node *root, *list;
	struct yaml_error err = { 0 };
	struct yaml_doc *doc = NULL;

	ASSERT_OK(parse("a: é\n\"b\":\n  - 1\n  - [x, {c: d}]\n", &err, &doc));
	root = yaml_doc_root(doc);
	ASSERT_EQ(YAML_MAP, root->type);
	EXPECT_EQ(2, root->count);
	EXPECT_STREQ("é", root->child->text);
	list = root->child->next;
	EXPECT_STREQ("b", list->key);
	EXPECT_EQ(2, list->key_line);
	EXPECT_EQ(1, list->key_column);
	ASSERT_EQ(2, list->count);
	EXPECT_EQ(1, list->child->i);
	EXPECT_EQ(4, list->child->next->line);
	EXPECT_EQ(5, list->child->next->column);
	EXPECT_NULL(list->next);
	yaml_doc_free(doc);
}

TEST(plain_scalars_have_the_types_of_the_apiserver)
{
	static const struct {
		const char *text;
		enum yaml_type type;
	} t[] = {
		{ "~", YAML_NULL },
		{ "Null", YAML_NULL },
		{ "yes", YAML_BOOL },
		{ "OFF", YAML_BOOL },
		{ "y", YAML_BOOL },
		{ "oFF", YAML_STR },
		{ "nil", YAML_STR },
		{ "0", YAML_INT },
		{ "-7", YAML_INT },
		{ "+7", YAML_INT },
		{ "0x1F", YAML_INT },
		{ "0o17", YAML_INT },
		{ "0b101", YAML_INT },
		{ "-0b1", YAML_INT },
		{ "0755", YAML_INT },
		{ "08", YAML_FLOAT },
		{ "1_0", YAML_INT },
		{ "_1", YAML_STR },
		{ "1e3", YAML_FLOAT },
		{ "1.", YAML_FLOAT },
		{ ".5", YAML_FLOAT },
		{ ".5e-1", YAML_FLOAT },
		{ ".e1", YAML_STR },
		{ ".", YAML_STR },
		{ "1e", YAML_STR },
		{ "0x", YAML_STR },
		{ "0xg", YAML_STR },
		{ "0b2", YAML_STR },
		{ "1.2.3", YAML_STR },
		{ "2026-01-31", YAML_STR },
		{ ".inf", YAML_FLOAT },
		{ "-.INF", YAML_FLOAT },
		{ "inf", YAML_STR },
		{ "1:30", YAML_STR },
		{ "'1'", YAML_STR },
		{ "\"yes\"", YAML_STR },
		{ "!!str 1", YAML_STR },
		{ "18446744073709551615", YAML_INT },
		{ "99999999999999999999", YAML_FLOAT },
		{ "1e400", YAML_STR },
	};

	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		if (!EXPECT_EQ(t[i].type, type_of(t[i].text)))
			ktest_log("scalar %s", t[i].text);
	}
}

TEST(integers_saturate)
{
	struct yaml_error err = { 0 };
	struct yaml_doc *doc = NULL;
	const struct yaml_node *n;

	ASSERT_OK(parse("[18446744073709551615, -9223372036854775808, 0755, -0x10]", &err, &doc));
	n = yaml_doc_root(doc)->child;
	EXPECT_EQ(INT64_MAX, n->i);
	EXPECT_EQ(INT64_MIN, n->next->i);
	EXPECT_EQ(0755, n->next->next->i);
	EXPECT_EQ(-16, n->next->next->next->i);
	yaml_doc_free(doc);
}

TEST(unknown_field_names_the_nearest)
{
	expect_error("nmae: a\n", "f.yaml:1:1: unknown field \"nmae\", did you mean \"name\"?");
	expect_error("Name: a\n", "f.yaml:1:1: unknown field \"Name\", did you mean \"name\"?");
	expect_error("name: a\n\"conut\": 1\n",
		     "f.yaml:2:1: unknown field \"conut\", did you mean \"count\"?");
	expect_error("name: a\nfurther: 1\n", "f.yaml:2:1: unknown field \"further\"");
	expect_error("inner: {xx: 1}\n", "f.yaml:1:9: unknown field \"xx\"");
}

TEST(wrong_types_are_named)
{
	expect_error("name: 1\n", "f.yaml:1:7: \"name\" must be a string, not a number (quote it)");
	expect_error("name: no\n",
		     "f.yaml:1:7: \"name\" must be a string, not a boolean (quote it)");
	expect_error("name: [a]\n", "f.yaml:1:7: \"name\" must be a string, not a list");
	expect_error("name:\n", "f.yaml:1:6: \"name\" must be a string, not nothing");
	expect_error("name: a\ninner: 1\n",
		     "f.yaml:2:8: \"inner\" must be a mapping, not a number");
	expect_error("count: a\n", "f.yaml:1:8: \"count\" must be an integer, not a string");
	expect_error("count: 1.5\n", "f.yaml:1:8: \"count\" must be an integer, not a fraction");
	expect_error("count: .inf\n", "f.yaml:1:8: \"count\" must be an integer, not a fraction");
	expect_error("[]\n", "f.yaml:1:1: expected a mapping, not a list");
	expect_error("", "f.yaml:1:1: expected a mapping, not nothing");
}

TEST(bounds_hold)
{
	expect_error("count: 0\n", "f.yaml:1:8: \"count\" must be between 1 and 100");
	expect_error("count: 101\n", "f.yaml:1:8: \"count\" must be between 1 and 100");
	expect_error("count: 1e20\n", "f.yaml:1:8: \"count\" must be an integer, not a fraction");
	expect_error("mode: medium\n", "f.yaml:1:7: \"mode\" must be slow or fast");
	expect_error("wait: 61m\n", "f.yaml:1:7: \"wait\" must be between 0 and 3600000 ms");
	expect_error("wait: 61\n",
		     "f.yaml:1:7: \"wait\" must be a string, not a number (quote it)");
	expect_error("wait: soon\n", "f.yaml:1:7: \"wait\" must be a duration like 10s or 1m30s");
	expect_error("count: 5\n", "f.yaml:1:1: missing field \"name\"");
}

TEST(first_error_wins_and_keeps_the_rest)
{
	struct yaml_error err = { 0 };

	EXPECT_ERR(-EINVAL, yaml_error_set(&err, "a", 1, 2, "first"));
	EXPECT_ERR(-EINVAL, yaml_error_set(&err, "b", 3, 4, "second"));
	EXPECT_STREQ("a:1:2: first", err.text);
	EXPECT_EQ(1, err.line);
	EXPECT_EQ(2, err.column);
}

TEST(refuses_what_yaml_has_too_much_of)
{
	expect_error("name: &a b\n", "f.yaml:1:7: anchors are not supported");
	expect_error("name: *a\n", "f.yaml:1:7: aliases are not supported");
	expect_error("*a : b\n", "f.yaml:1:1: aliases are not supported");
	expect_error("<<: {}\n", "f.yaml:1:1: merge keys are not supported");
	expect_error("name: !!int 1\n", "f.yaml:1:7: tags are not supported (other than !!str)");
	expect_error("name: !x 1\n", "f.yaml:1:7: tags are not supported (other than !!str)");
	expect_error("--- !!map\nname: a\n",
		     "f.yaml:1:5: tags are not supported (other than !!str)");
	expect_error("name: a\n---\nname: b\n", "f.yaml:2:1: only one document is supported");
	expect_error("name: a\nname: b\n", "f.yaml:2:1: duplicate field \"name\"");
	expect_error("? [a]\n: b\n", "f.yaml:1:3: a key must be a plain name");
	expect_error("name: \"a\\0b\"\n", "f.yaml:1:7: NUL characters are not supported");
	expect_error("name: \"a\n", "f.yaml:2:1: found unexpected end of stream");
	expect_error("name: a\n\xef\xbb\xbfmode: fast\n",
		     "f.yaml: a byte order mark inside the text");
	expect_error("\tname: a\n", "f.yaml:1:1: found character that cannot start any token");
}

TEST(depth_is_bounded)
{
	char text[2 * YAML_DEPTH_MAX + 3];
	struct yaml_error err = { 0 };
	struct yaml_doc *doc = NULL;

	memset(text, '[', YAML_DEPTH_MAX);
	memset(text + YAML_DEPTH_MAX, ']', YAML_DEPTH_MAX);
	text[2 * YAML_DEPTH_MAX] = 0;
	ASSERT_OK(parse(text, &err, &doc));
	yaml_doc_free(doc);
	memset(text, '[', YAML_DEPTH_MAX + 1);
	memset(text + YAML_DEPTH_MAX + 1, ']', YAML_DEPTH_MAX + 1);
	text[2 * YAML_DEPTH_MAX + 2] = 0;
	ASSERT_ERR(-EINVAL, parse(text, &err, &doc));
	EXPECT_STREQ("f.yaml:1:33: nested too deeply", err.text);
}

/* "[0,0,…]" of @values elements: @values + 1 nodes. */
static char *list_text(size_t values)
{
	char *text = malloc(2 * values + 2);

	ASSERT_NOT_NULL(text);
	for (size_t i = 0; i < values; i++)
		memcpy(text + 1 + 2 * i, "0,", 2);
	text[0] = '[';
	text[2 * values] = ']';
	text[2 * values + 1] = 0;
	return text;
}

TEST(nodes_are_bounded)
{
	struct yaml_error err = { 0 };
	struct yaml_doc *doc = NULL;
	char *text = list_text(YAML_NODES_MAX - 1);
	int r;

	r = parse(text, &err, &doc);
	if (r == -ENOMEM)
		SKIP("RLIMIT_MEMLOCK is too low for the largest tree");
	ASSERT_OK(r);
	EXPECT_EQ(YAML_NODES_MAX - 1, yaml_doc_root(doc)->count);
	yaml_doc_free(doc);
	free(text);
	text = list_text(YAML_NODES_MAX);
	EXPECT_ERR(-EINVAL, parse(text, &err, &doc));
	EXPECT_STREQ("f.yaml:1:200000: too many values in one file", err.text);
	free(text);
}

TEST(members_are_bounded)
{
	char text[(YAML_MEMBERS_MAX + 1) * 8 + 1];
	struct yaml_error err = { 0 };
	struct yaml_doc *doc = NULL;

	for (size_t i = 0; i <= YAML_MEMBERS_MAX; i++)
		snprintf(text + i * 8, 9, "k%04zu: \n", i);
	ASSERT_ERR(-EINVAL, parse(text, &err, &doc));
	EXPECT_STREQ("f.yaml:257:1: too many fields in one mapping", err.text);
}

TEST(size_is_bounded)
{
	struct yaml_error err = { 0 };
	struct yaml_doc *doc = NULL;
	char *text = malloc(YAML_BYTES_MAX + 1);

	ASSERT_NOT_NULL(text);
	memset(text, ' ', YAML_BYTES_MAX + 1);
	ASSERT_OK(yaml_doc_parse(span_of(text, YAML_BYTES_MAX), "f.yaml", &err, &doc));
	yaml_doc_free(doc);
	doc = NULL;
	ASSERT_ERR(-EINVAL,
		   yaml_doc_parse(span_of(text, YAML_BYTES_MAX + 1), "f.yaml", &err, &doc));
	EXPECT_STREQ("f.yaml: larger than 1048576 bytes", err.text);
	EXPECT_NULL(doc);
	free(text);
}

TEST(json_is_json)
{
	struct yaml_error err = { 0 };
	struct sample s = { 0 };

	ASSERT_OK(read_sample("\r\n\t {\n\t\"name\":\"a\\u0062\\n\",\"count\":12 }\n\t", &s, &err));
	EXPECT_STREQ("ab\n", s.name);
	EXPECT_EQ(12, s.count);
	free(s.name);
}

TEST(json_refuses_yaml)
{
	static const struct {
		const char *text, *place;
	} t[] = {
		{ "{name: a}", "f.yaml:1:2: not JSON" },
		{ "{true: 1}", "f.yaml:1:2: not JSON" },
		{ "{\"name\": a}", "f.yaml:1:10: not JSON" },
		{ "{\"name\": 'a'}", "f.yaml:1:10: not JSON" },
		{ "{\"count\": 010}", "f.yaml:1:11: not JSON" },
		{ "{\"count\": 1.}", "f.yaml:1:11: not JSON" },
		{ "{\"count\": +1}", "f.yaml:1:11: not JSON" },
		{ "{\"count\":}", "f.yaml:1:10: not JSON" },
		{ "{\"count\"}", "f.yaml:1:9: not JSON" },
		{ "{\"count\": 1,}", "f.yaml:1:13: not JSON" },
		{ "{\"a\": [\"b\": 1]}", "f.yaml:1:11: not JSON" },
		{ "{\"a\": 1} # b", "f.yaml:1:10: not JSON" },
		{ "{\"a\": 1}\n---", "f.yaml:2:1: not JSON" },
		{ "{\"a\": \"\\x41\"}", "f.yaml:1:9: not JSON" },
		{ "{\"a\": \"b\tc\"}", "f.yaml:1:9: not JSON" },
		{ "\n\t{\"a\": &b 1}", "f.yaml:2:8: not JSON" },
		{ "\n\t{\"a\": 1 2}", "f.yaml:2:8: not JSON" },
		{ "{\"a\": 1]", "f.yaml:1:8: not JSON" },
		{ "{", "f.yaml:1:2: not JSON" },
		{ "{\"a\": \"}", "f.yaml:1:9: not JSON" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		struct yaml_error err = { 0 };
		struct yaml_doc *doc = NULL;

		EXPECT_ERR(-EINVAL, parse(t[i].text, &err, &doc));
		if (!EXPECT_TRUE(strncmp(err.text, t[i].place, strlen(t[i].place)) == 0))
			ktest_log("%s: %s", t[i].text, err.text);
	}
}

/* A float that is whole counts as an integer in YAML and not in JSON: so has the apiserver. */
TEST(json_floats_are_no_integers)
{
	struct yaml_error err = { 0 };
	struct sample s = { 0 };

	ASSERT_OK(read_sample("name: a\ncount: 1e1\n", &s, &err));
	EXPECT_EQ(10, s.count);
	free(s.name);
	expect_error("{\"count\": 1e1}",
		     "f.yaml:1:11: \"count\" must be an integer, not a fraction");
}

TEST(durations_are_those_of_go)
{
	static const struct {
		const char *text;
		int64_t ns;
	} good[] = {
		{ "0", 0 },
		{ "-0", 0 },
		{ "1ns", 1 },
		{ "2us", 2000 },
		{ "2\u00b5s", 2000 },
		{ "2\u03bcs", 2000 },
		{ "3ms", 3000000 },
		{ "+4s", 4000000000 },
		{ "-4s", -4000000000 },
		{ "1h2m3.25s", 3723250000000 },
		{ ".5s", 500000000 },
		{ "1.s", 1000000000 },
		{ "0.0000000019s", 1 },
		{ "0.100000000000000000000h", 360000000000 },
		{ "9223372036854775807ns", INT64_MAX },
		{ "-9223372036854775808ns", INT64_MIN },
	};
	static const char *const bad[] = {
		"",
		"-",
		"3",
		"s",
		".s",
		"3d",
		"3 s",
		"3S",
		"1h 2m",
		"--1s",
		"1s-2s",
		"9223372036854775808ns",
		"2562048h",
		"99999999999999999999s",
		"9223372036854775807ns1ns",
		"00",
		"+0s0",
		"9223372036854775808ns9223372036854775808ns",
	};
	int64_t ns;

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		ns = 99;
		if (!EXPECT_OK(yaml_duration_parse(good[i].text, &ns)) ||
		    !EXPECT_EQ(good[i].ns, ns))
			ktest_log("duration %s", good[i].text);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		ns = 99;
		if (!EXPECT_ERR(-EINVAL, yaml_duration_parse(bad[i], &ns)))
			ktest_log("duration %s", bad[i]);
		EXPECT_EQ(99, ns);
	}
}

/* Whatever is wrong with a file, what stands where a value goes is not repeated. */
TEST(messages_show_no_values)
{
	static const char *const texts[] = {
		"{secret:SHOWNOTHINGOFTHISVALUE==}",
		"name: a\ninner: SHOWNOTHINGOFTHISVALUE==\n",
		"mode: SHOWNOTHINGOFTHISVALUE==\n",
		"wait: SHOWNOTHINGOFTHISVALUE==\n",
		"count: SHOWNOTHINGOFTHISVALUE==\n",
		"name: [SHOWNOTHINGOFTHISVALUE==\n",
		"SHOWNOTHINGOFTHISVALUE==: a\n",
		"SHOWNOTHINGOFTHISVALUEAS32DIGITS: a\n",
		"{secret:SHOWNOTHINGOFTHISVAL: a}\n",
		"SHOWNOTHINGOFTHISVALUE==\n",
		"name: SHOWNOTHINGOFTHISVALUE== : b\n",
		"name: !SHOWNOTHINGOFTHISVALUE b\n",
		"name: &SHOWNOTHINGOFTHISVALUE b\n",
		"SHOWNOTHINGOFTHISVALUE==: a\nSHOWNOTHINGOFTHISVALUE==: a\n",
	};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct yaml_error err = { 0 };
		struct sample s = { 0 };

		EXPECT_ERR(-EINVAL, read_sample(texts[i], &s, &err));
		EXPECT_NE('\0', err.text[0]);
		if (!EXPECT_NULL(strstr(err.text, "SHOWNOTHING")))
			ktest_log("case %zu", i);
		free(s.name);
	}
}

TEST_HARNESS_MAIN
