/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the tree to structs, by const tables of fields. A message names the field, what it must be
 * and what kind of thing it is instead; it never shows the value.
 */
#include "daemon/base/yaml.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/nearest.h"

/*
 * The longest name of any field known here has 17 characters; 16 bytes in base64 have 24. So what
 * is shown of a typing error like `{secret:VALUE}`, where the value becomes part of the key, can
 * never be a whole key.
 */
#define NAME_SHOWN_MAX 22

const char *yaml_shown(const char *name)
{
	size_t len = strlen(name);

	if (len == 0 || len > NAME_SHOWN_MAX)
		return "(not shown)";
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)name[i];

		if (c >= 0x80 || (!isalnum(c) && !strchr("_-.*", c)))
			return "(not shown)";
	}
	return name;
}

bool yaml_has_control(const char *s)
{
	for (; *s; s++) {
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			return true;
	}
	return false;
}

const char *yaml_type_name(enum yaml_type type)
{
	static const char *const names[] = {
		[YAML_NULL] = "nothing",   [YAML_BOOL] = "a boolean", [YAML_INT] = "a number",
		[YAML_FLOAT] = "a number", [YAML_STR] = "a string",   [YAML_LIST] = "a list",
		[YAML_MAP] = "a mapping",
	};

	return names[type];
}

static int fail_unknown(const struct yaml_doc *doc, const struct yaml_node *n,
			const struct yaml_field *fields)
{
	struct nearest nearest = nearest_to(n->key);

	for (const struct yaml_field *f = fields; f->name; f++)
		nearest_offer(&nearest, f->name);
	if (nearest.best)
		return yaml_fail_key(doc, n, "unknown field \"%s\", did you mean \"%s\"?",
				     yaml_shown(n->key), nearest.best);
	return yaml_fail_key(doc, n, "unknown field \"%s\"", yaml_shown(n->key));
}

static bool member_given(const struct yaml_node *map, const struct yaml_field *f)
{
	yaml_for_each(n, map)
	{
		if (strcmp(n->key, f->name) == 0)
			return n->type != YAML_NULL || !(f->flags & YAML_NULLABLE);
	}
	return false;
}

int yaml_read(const struct yaml_doc *doc, const struct yaml_node *map,
	      const struct yaml_field *fields, void *out)
{
	const struct yaml_field *f;
	int r;

	r = yaml_expect(doc, map, YAML_MAP, map->key);
	if (r < 0)
		return r;
	yaml_for_each(n, map)
	{
		f = fields;
		while (f->name && strcmp(f->name, n->key) != 0)
			f++;
		if (!f->name)
			return fail_unknown(doc, n, fields);
		if (n->type == YAML_NULL && (f->flags & YAML_NULLABLE))
			continue;
		r = f->get(doc, n, f, (char *)out + f->offset);
		if (r < 0)
			return r;
	}
	for (f = fields; f->name; f++) {
		if ((f->flags & YAML_REQUIRED) && !member_given(map, f))
			return yaml_fail(doc, map, "missing field \"%s\"", f->name);
	}
	return 0;
}

struct yaml_node yaml_preset(const struct yaml_field *field)
{
	struct yaml_node n = { .type = YAML_STR,
			       .text = field->preset,
			       .len = strlen(field->preset) };

	if (strcmp(field->kind->type, "string") != 0)
		yaml_scalar_resolve(&n);
	return n;
}

int yaml_presets(const struct yaml_doc *doc, const struct yaml_field *fields, void *out)
{
	struct yaml_node n;
	int r = 0;

	for (const struct yaml_field *f = fields; f->name; f++) {
		if (f->get == yaml_get_map) {
			r = yaml_presets(doc, f->arg, (char *)out + f->offset);
		} else if (f->get == yaml_get_node) {
			r = f->arg ? yaml_presets(doc, f->arg, out) : 0;
		} else if (f->preset) {
			n = yaml_preset(f);
			r = f->get(doc, &n, f, (char *)out + f->offset);
		}
		if (r < 0)
			return r;
	}
	return 0;
}

int yaml_expect(const struct yaml_doc *doc, const struct yaml_node *node, enum yaml_type type,
		const char *what)
{
	bool quote = type == YAML_STR && (node->type == YAML_BOOL || node->type == YAML_INT ||
					  node->type == YAML_FLOAT);

	if (node->type == type)
		return 0;
	if (!what)
		return yaml_fail(doc, node, "expected %s, not %s", yaml_type_name(type),
				 yaml_type_name(node->type));
	return yaml_fail(doc, node, "\"%s\" must be %s, not %s%s", what, yaml_type_name(type),
			 yaml_type_name(node->type), quote ? " (quote it)" : "");
}

int yaml_dup(const struct yaml_node *node, char **ret)
{
	char *s = strdup(node->text);

	if (!s)
		return -ENOMEM;
	*ret = s;
	return 0;
}

void *yaml_array(const struct yaml_node *list, size_t size)
{
	return calloc((size_t)list->count + 1, size);
}

int yaml_int(const struct yaml_doc *doc, const struct yaml_node *node, const char *what,
	     int64_t min, int64_t max, int64_t *ret)
{
	int64_t v = 0;

	if (node->type == YAML_INT)
		v = node->i;
	else if (node->type == YAML_FLOAT && !yaml_doc_is_json(doc) && node->f > -1e15 &&
		 node->f < 1e15 && node->f == (double)(int64_t)node->f)
		/* Without a fraction, in the range where Go writes it as an integer and it is exact. */
		v = (int64_t)node->f;
	else
		return yaml_fail(doc, node, "\"%s\" must be an integer, not %s", what,
				 node->type == YAML_FLOAT ? "a fraction"
							  : yaml_type_name(node->type));
	if (v < min || v > max)
		return yaml_fail(doc, node, "\"%s\" must be between %" PRId64 " and %" PRId64, what,
				 min, max);
	*ret = v;
	return 0;
}

int yaml_get_node(const struct yaml_doc *doc _unused_, const struct yaml_node *node,
		  const struct yaml_field *field _unused_, void *out)
{
	*(const struct yaml_node **)out = node;
	return 0;
}

const struct yaml_kind yaml_kind_number = { .type = "integer",
					    .low = "minimum",
					    .high = "maximum" };

int yaml_get_u32(const struct yaml_doc *doc, const struct yaml_node *node,
		 const struct yaml_field *field, void *out)
{
	int64_t v = 0;
	int r;

	r = yaml_int(doc, node, field->name, field->min, field->max, &v);
	if (r < 0)
		return r;
	*(uint32_t *)out = (uint32_t)v;
	return 0;
}

int yaml_get_u64(const struct yaml_doc *doc, const struct yaml_node *node,
		 const struct yaml_field *field, void *out)
{
	int64_t v = 0;
	int r;

	r = yaml_int(doc, node, field->name, field->min, field->max, &v);
	if (r < 0)
		return r;
	*(uint64_t *)out = (uint64_t)v;
	return 0;
}

const struct yaml_kind yaml_kind_word = { .type = "string" };

int yaml_get_enum(const struct yaml_doc *doc, const struct yaml_node *node,
		  const struct yaml_field *field, void *out)
{
	const char *const *names = field->arg;
	char list[128];
	int r;

	r = yaml_expect(doc, node, YAML_STR, field->name);
	if (r < 0)
		return r;
	for (unsigned int i = 0; names[i]; i++) {
		if (strcmp(names[i], node->text) == 0) {
			*(unsigned int *)out = i;
			return 0;
		}
	}
	list[0] = '\0'; /* "a, b or c" */
	for (; *names; names++) {
		strncat(list, *names, sizeof(list) - strlen(list) - 1);
		if (names[1])
			strncat(list, names[2] ? ", " : " or ", sizeof(list) - strlen(list) - 1);
	}
	return yaml_fail(doc, node, "\"%s\" must be %s", field->name, list);
}

/* A negative duration is below the least of every field, unless it is -0. */
const struct yaml_kind yaml_kind_duration = {
	.type = "string",
	.pattern = "^(\\+?|-(?!.*[1-9]))(0|(([0-9]+\\.?[0-9]*|\\.[0-9]+)"
		   "(ns|us|\\u00b5s|\\u03bcs|ms|s|m|h))+)$",
	.example = "\"10s\"",
};

int yaml_get_duration(const struct yaml_doc *doc, const struct yaml_node *node,
		      const struct yaml_field *field, void *out)
{
	int64_t ns;
	int r;

	r = yaml_expect(doc, node, YAML_STR, field->name);
	if (r < 0)
		return r;
	if (yaml_duration_parse(node->text, &ns) < 0)
		return yaml_fail(doc, node, "\"%s\" must be a duration like 10s or 1m30s",
				 field->name);
	if (ns < field->min || ns > field->max)
		return yaml_fail(doc, node, "\"%s\" must be between %" PRId64 " and %" PRId64 " ms",
				 field->name, field->min / 1000000, field->max / 1000000);
	*(int64_t *)out = ns;
	return 0;
}

const struct yaml_kind yaml_kind_map = { .type = "object" };

int yaml_get_map(const struct yaml_doc *doc, const struct yaml_node *node,
		 const struct yaml_field *field, void *out)
{
	return yaml_read(doc, node, field->arg, out);
}

/* Both micro signs, U+00B5 and U+03BC, as Go has it. */
static const struct {
	const char *name;
	uint64_t ns;
} units[] = {
	{ "ns", 1 },       { "us", 1000 },      { "\u00b5s", 1000 },     { "\u03bcs", 1000 },
	{ "ms", 1000000 }, { "s", 1000000000 }, { "m", 60000000000ULL }, { "h", 3600000000000ULL },
};

/* A unit reaches up to the next digit or point. 0: no such unit. */
static uint64_t parse_unit(const char **s)
{
	size_t len = strcspn(*s, ".0123456789");

	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		if (strlen(units[i].name) == len && memcmp(*s, units[i].name, len) == 0) {
			*s += len;
			return units[i].ns;
		}
	}
	return 0;
}

#define DURATION_MAX ((uint64_t)1 << 63) /* of the amount; with "-" it is INT64_MIN */

static int parse_whole(const char **s, uint64_t *ret)
{
	uint64_t v = 0;

	for (; isdigit((unsigned char)**s); (*s)++) {
		if (__builtin_mul_overflow(v, (uint64_t)10, &v) ||
		    __builtin_add_overflow(v, (uint64_t)(**s - '0'), &v) || v > DURATION_MAX)
			return -EINVAL;
	}
	*ret = v;
	return 0;
}

/* Eighteen digits count, further ones are below any unit's nanosecond. */
static void parse_fraction(const char **s, uint64_t *ret, uint64_t *ret_scale)
{
	uint64_t v = 0, scale = 1;

	for (; isdigit((unsigned char)**s); (*s)++) {
		if (scale >= 1000000000000000000ULL)
			continue;
		v = v * 10 + (uint64_t)(**s - '0');
		scale *= 10;
	}
	*ret = v;
	*ret_scale = scale;
}

/* One "1.5h"; *s is moved behind it. */
static int parse_part(const char **s, uint64_t *ret)
{
	uint64_t whole, fraction = 0, scale = 1, unit, v;
	const char *begin = *s;
	bool digits;

	if (parse_whole(s, &whole) < 0)
		return -EINVAL;
	digits = *s > begin;
	if (**s == '.') {
		(*s)++;
		begin = *s;
		parse_fraction(s, &fraction, &scale);
		digits = digits || *s > begin;
	}
	unit = digits ? parse_unit(s) : 0;
	if (unit == 0 || __builtin_mul_overflow(whole, unit, &v) ||
	    __builtin_add_overflow(v, (uint64_t)((__uint128_t)fraction * unit / scale), &v))
		return -EINVAL;
	*ret = v;
	return v > DURATION_MAX ? -EINVAL : 0;
}

int yaml_duration_parse(const char *s, int64_t *ret)
{
	bool negative = *s == '-';
	uint64_t sum = 0, part;

	if (*s == '-' || *s == '+')
		s++;
	if (!*s)
		return -EINVAL;
	if (strcmp(s, "0") == 0)
		s++;
	while (*s) {
		if (parse_part(&s, &part) < 0)
			return -EINVAL;
		if (__builtin_add_overflow(sum, part, &sum) || sum > DURATION_MAX)
			return -EINVAL;
	}
	if (sum == DURATION_MAX && !negative)
		return -EINVAL;
	*ret = sum == DURATION_MAX ? INT64_MIN : negative ? -(int64_t)sum : (int64_t)sum;
	return 0;
}
