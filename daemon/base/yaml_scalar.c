/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text to type and number, as kube-apiserver reads it, so that both give one verdict on a file.
 *
 * Plain scalars follow go.yaml.in/yaml/v2 (resolve.go): the words of YAML 1.1, integers in Go's
 * base prefixes (0x, 0o, 0b, and a leading 0 for octal) with underscores anywhere, and decimal
 * floats; everything else is a string, so are dates and floats beyond a double's range.
 *
 * The JSON check is lexical. libyaml has the last word on structure; this adds what JSON forbids
 * and YAML's flow style allows: comments, other quotes and escapes, control characters in strings,
 * a comma before a closing bracket, pairs in a list, further documents.
 */
#include "daemon/base/yaml.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const struct {
	const char *text;
	enum yaml_type type;
	bool b;
} words[] = {
	{ "", YAML_NULL, false },      { "~", YAML_NULL, false },     { "null", YAML_NULL, false },
	{ "Null", YAML_NULL, false },  { "NULL", YAML_NULL, false },  { "y", YAML_BOOL, true },
	{ "Y", YAML_BOOL, true },      { "yes", YAML_BOOL, true },    { "Yes", YAML_BOOL, true },
	{ "YES", YAML_BOOL, true },    { "true", YAML_BOOL, true },   { "True", YAML_BOOL, true },
	{ "TRUE", YAML_BOOL, true },   { "on", YAML_BOOL, true },     { "On", YAML_BOOL, true },
	{ "ON", YAML_BOOL, true },     { "n", YAML_BOOL, false },     { "N", YAML_BOOL, false },
	{ "no", YAML_BOOL, false },    { "No", YAML_BOOL, false },    { "NO", YAML_BOOL, false },
	{ "false", YAML_BOOL, false }, { "False", YAML_BOOL, false }, { "FALSE", YAML_BOOL, false },
	{ "off", YAML_BOOL, false },   { "Off", YAML_BOOL, false },   { "OFF", YAML_BOOL, false },
};

static const char *const not_finite[] = {
	".nan",  ".NaN",  ".NAN",  ".inf",  ".Inf",  ".INF",
	"+.inf", "+.Inf", "+.INF", "-.inf", "-.Inf", "-.INF",
};

static bool scalar_is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static const char *skip_digits(const char *s)
{
	while (scalar_is_digit(*s))
		s++;
	return s;
}

/* [eE][-+]?[0-9]+, or nothing. NULL when it is begun and not ended. */
static const char *skip_exponent(const char *s)
{
	const char *digits;

	if (*s != 'e' && *s != 'E')
		return s;
	s++;
	if (*s == '-' || *s == '+')
		s++;
	digits = s;
	s = skip_digits(s);
	return s > digits ? s : NULL;
}

/* [-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)? */
static bool is_float(const char *s)
{
	const char *digits;

	if (*s == '-' || *s == '+')
		s++;
	digits = s;
	s = skip_digits(s);
	if (*s == '.') {
		if (s == digits && !scalar_is_digit(s[1]))
			return false;
		s = skip_digits(s + 1);
	} else if (s == digits) {
		return false;
	}
	s = skip_exponent(s);
	return s && !*s;
}

/* The base that Go's strconv takes from a prefix (base 0); *s is moved behind it. */
static int skip_base(const char **s)
{
	const char *p = *s;

	if (p[0] != '0' || !p[1])
		return 10;
	*s += 2;
	switch (p[1]) {
	case 'x':
	case 'X':
		return 16;
	case 'b':
	case 'B':
		return 2;
	case 'o':
	case 'O':
		return 8;
	default:
		*s = p + 1;
		return 8;
	}
}

static bool scalar_digits_of(const char *s, int base)
{
	static const char digits[] = "0123456789abcdef";
	const char *d;

	if (!*s)
		return false;
	for (; *s; s++) {
		d = strchr(digits, *s >= 'A' && *s <= 'F' ? *s - 'A' + 'a' : *s);
		if (!d || d - digits >= base)
			return false;
	}
	return true;
}

/* False when it is no integer, or beyond what 64 bits hold (Go then tries a float). */
static bool parse_int(const char *s, int64_t *ret)
{
	bool negative = *s == '-';
	unsigned long long v;
	int base;

	if (*s == '-' || *s == '+')
		s++;
	base = skip_base(&s);
	if (!scalar_digits_of(s, base))
		return false;
	errno = 0;
	v = strtoull(s, NULL, base);
	if (errno == ERANGE || (negative && v > (unsigned long long)INT64_MAX + 1))
		return false;
	if (v > INT64_MAX)
		*ret = negative ? INT64_MIN : INT64_MAX;
	else
		*ret = negative ? -(int64_t)v : (int64_t)v;
	return true;
}

static bool resolve_word(struct yaml_node *node)
{
	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		if (strcmp(node->text, words[i].text) != 0)
			continue;
		node->type = words[i].type;
		node->b = words[i].b;
		return true;
	}
	for (size_t i = 0; i < ARRAY_SIZE(not_finite); i++) {
		if (strcmp(node->text, not_finite[i]) != 0)
			continue;
		node->type = YAML_FLOAT;
		node->f = __builtin_inf();
		return true;
	}
	return false;
}

/* Longer numbers than 128 digits stay strings: no field takes either. */
void yaml_scalar_resolve(struct yaml_node *node)
{
	char plain[128];
	char first = node->text[0];
	size_t n = 0;

	if (resolve_word(node) || node->len >= sizeof(plain))
		return;
	if (!scalar_is_digit(first) && first != '-' && first != '+' && first != '.')
		return;
	for (const char *s = node->text; *s; s++)
		if (*s != '_' || first == '.')
			plain[n++] = *s;
	plain[n] = '\0';
	if (first != '.' && parse_int(plain, &node->i)) {
		node->type = YAML_INT;
	} else if (is_float(plain) && !__builtin_isinf(strtod(plain, NULL))) {
		node->type = YAML_FLOAT;
		node->f = strtod(plain, NULL);
	}
	explicit_bzero(plain, sizeof(plain));
}

/* RFC 8259 §3 (true, false, null) and §6 (numbers). */
bool yaml_scalar_is_json(const char *s, size_t len)
{
	if (strlen(s) != len)
		return false;
	if (strcmp(s, "null") == 0 || strcmp(s, "true") == 0 || strcmp(s, "false") == 0)
		return true;
	if (*s == '-')
		s++;
	if (!scalar_is_digit(*s))
		return false;
	s = *s == '0' ? s + 1 : skip_digits(s);
	if (*s == '.') {
		if (!scalar_is_digit(s[1]))
			return false;
		s = skip_digits(s + 1);
	}
	s = skip_exponent(s);
	return s && !*s;
}

static bool scalar_is_space(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

bool yaml_text_is_json(struct span text)
{
	while (text.len > 0 && scalar_is_space(text.data[0]))
		text = span_skip(text, 1);
	return text.len > 0 && text.data[0] == '{';
}

struct json_scan {
	uint64_t lists; /* a bit an open bracket: 1 for [ */
	unsigned int depth;
	bool begun;
	bool comma; /* the last thing seen */
	bool string;
	bool escape;
};

/* RFC 8259 §7 */
static const char *scan_string(struct json_scan *s, uint8_t c)
{
	if (c < 0x20)
		return "a control character in a string";
	if (s->escape) {
		s->escape = false;
		return memchr("\"\\/bfnrtu", c, 9) ? NULL : "an escape that JSON does not know";
	}
	if (c == '\\')
		s->escape = true;
	else if (c == '"')
		s->string = false;
	return NULL;
}

static const char *scan_token(struct json_scan *s, uint8_t c)
{
	bool comma = s->comma;

	if (scalar_is_space(c))
		return NULL;
	if (s->begun && s->depth == 0)
		return "text after the end";
	s->begun = true;
	s->comma = c == ',';
	switch (c) {
	case '"':
		s->string = true;
		return NULL;
	case '{':
	case '[':
		if (s->depth >= YAML_DEPTH_MAX)
			return "nested too deeply";
		s->lists = s->lists << 1 | (c == '[');
		s->depth++;
		return NULL;
	case '}':
	case ']':
		if (comma)
			return "a comma before a closing bracket";
		if (s->depth == 0 || (s->lists & 1) != (c == ']'))
			return "a closing bracket that does not match";
		s->lists >>= 1;
		s->depth--;
		return NULL;
	case ':':
		return s->lists & 1 ? "a key in a list" : NULL;
	default:
		break;
	}
	if ((c >= 'a' && c <= 'z') || scalar_is_digit((char)c) || memchr(",+-.E", c, 5))
		return NULL;
	return "an unexpected character";
}

const char *yaml_json_check(struct span text, uint32_t *ret_line, uint32_t *ret_column)
{
	struct json_scan s = { 0 };
	uint32_t line = 1, column = 1;
	const char *problem = NULL;

	for (size_t i = 0; i < text.len; i++) {
		uint8_t c = text.data[i];

		problem = s.string ? scan_string(&s, c) : scan_token(&s, c);
		if (problem)
			break;
		if (c == '\n') {
			line++;
			column = 1;
		} else if ((c & 0xc0) != 0x80) {
			column++;
		}
	}
	if (!problem && (s.string || s.depth > 0))
		problem = "it ends too early";
	if (!problem)
		return NULL;
	*ret_line = line;
	*ret_column = column;
	return problem;
}
