/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kekctl config schema: the JSON Schema of kekd.yaml, for editors and pipelines, printed from the
 * tables that the daemon reads the file by. It accepts what the daemon does, but for what JSON
 * Schema has no words for: the bounds of a duration, two sockets of one path in different fields,
 * users that this host does not have.
 */
#include <jansson.h>
#include <string.h>

#include "daemon/chain/config_schema.h"
#include "daemon/ctl/ctl.h"

/* A key and its value, which is consumed; NULL means that there is no memory. 0 or -1. */
static int schema_put(json_t *to, const char *key, json_t *value)
{
	return json_object_set_new(to, key, value);
}

/* "string integer" is a list, "string" a word. */
static json_t *types(const char *words)
{
	json_t *list;
	size_t n;

	if (!strchr(words, ' '))
		return json_string(words);
	list = json_array();
	for (; *words; words += n, words += *words == ' ') {
		n = strcspn(words, " ");
		json_array_append_new(list, json_stringn(words, n));
	}
	return list;
}

/* What a kind says wherever it is used, into @to. */
static int schema_put_kind(json_t *to, const struct yaml_kind *kind)
{
	json_t *part;
	int r = schema_put(to, "type", types(kind->type));

	if (kind->pattern)
		r |= schema_put(to, "pattern", json_string(kind->pattern));
	if (kind->longest > 0)
		r |= schema_put(to, "maxLength", json_integer(kind->longest));
	if (kind->example)
		r |= schema_put(to, "examples",
				json_pack("[o]", json_loads(kind->example, JSON_DECODE_ANY, NULL)));
	if (kind->first) {
		part = json_object();
		r |= schema_put_kind(part, kind->first);
		r |= schema_put(to, "prefixItems", json_pack("[o]", part));
	}
	if (kind->item) {
		part = json_object();
		r |= schema_put_kind(part, kind->item);
		r |= schema_put(to, "items", part);
	}
	if (kind->rule) {
		part = json_loads(kind->rule, 0, NULL);
		r |= json_object_update(to, part);
		json_decref(part);
	}
	return r;
}

static json_t *words(const char *const *names)
{
	json_t *list = json_array();

	for (; *names; names++)
		json_array_append_new(list, json_string(*names));
	return list;
}

static json_t *preset(const struct yaml_field *f)
{
	struct yaml_node n = yaml_preset(f);

	switch (n.type) {
	case YAML_INT:
		return json_integer(n.i);
	case YAML_BOOL:
		return json_boolean(n.b);
	default:
		return json_string(n.text);
	}
}

static int schema_put_field(json_t *to, const struct yaml_field *f);

static int put_table(json_t *to, const struct yaml_field *fields)
{
	json_t *properties = json_object(), *required = json_array(), *field;
	int r = schema_put(to, "additionalProperties", json_false());

	for (const struct yaml_field *f = fields; f->name; f++) {
		field = json_object();
		r |= schema_put_field(field, f);
		r |= schema_put(properties, f->name, field);
		if (f->flags & YAML_REQUIRED)
			r |= json_array_append_new(required, json_string(f->name));
	}
	r |= schema_put(to, "properties", properties);
	if (json_array_size(required) == 0)
		json_decref(required);
	else
		r |= schema_put(to, "required", required);
	return r;
}

static int schema_put_field(json_t *to, const struct yaml_field *f)
{
	const long long second = 1000000000;
	int r = schema_put(to, "description",
			   f->get == yaml_get_duration
				   ? json_sprintf("%s; %lld s to %lld s", f->help,
						  (long long)f->min / second,
						  (long long)f->max / second)
				   : json_string(f->help));

	r |= schema_put_kind(to, f->kind);
	if (f->kind->low)
		r |= schema_put(to, f->kind->low, json_integer(f->min));
	if (f->kind->high)
		r |= schema_put(to, f->kind->high, json_integer(f->max));
	if (f->preset)
		r |= schema_put(to, "default", preset(f));
	if (f->kind == &yaml_kind_word)
		r |= schema_put(to, "enum", words(f->arg));
	else if (f->arg)
		r |= put_table(f->kind->item ? json_object_get(to, "items") : to, f->arg);
	return r;
}

int ctl_config_schema(const struct ctl *ctl _unused_, int argc, char **argv _unused_)
{
	json_t *j;
	int r;

	if (argc != 0)
		return ctl_usage("config schema takes no argument");
	j = json_pack("{s:s, s:s}", "$schema", "https://json-schema.org/draft/2020-12/schema",
		      "title", config_schema.name);
	r = schema_put_field(j, &config_schema);
	if (r != 0) {
		json_decref(j);
		j = NULL;
	}
	return ctl_print_json(j);
}
