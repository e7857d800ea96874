/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Configuration files: a YAML or JSON document becomes a tree of nodes that know their line and
 * column, and a const table of fields turns a mapping into a struct. Both are strict: what is not
 * understood is an error that says where, never something to ignore.
 *
 * A file may hold a secret that does not belong there (`secret:` of an EncryptionConfiguration), so
 * the tree lives in locked memory that is wiped, and no message ever shows the value of a scalar.
 *
 *	static const struct yaml_field fields[] = {
 *		{ .name = "wait", .get = yaml_get_duration, .offset = offsetof(struct x, wait),
 *		  .flags = YAML_REQUIRED, .max = 3600000000000 },
 *		{ .name = "connections", .get = yaml_get_u32, .offset = offsetof(struct x, conns),
 *		  .min = 1, .max = 4096 },
 *		{ 0 },
 *	};
 *	r = yaml_read(doc, yaml_doc_root(doc), fields, &x);
 *
 * What YAML is here: one document in UTF-8, block or flow style, with the scalar types that
 * kube-apiserver's parser gives to plain scalars (YAML 1.1: yes, on and y are booleans, 0644 is
 * octal). Refused: anchors, aliases, merge keys, tags other than !!str, further documents, NUL
 * characters, byte order marks behind the start, keys that are not scalars. A document whose first
 * character is `{` must be JSON (RFC 8259), because kube-apiserver takes it for JSON:
 * k8s.io/apimachinery/pkg/util/yaml (IsJSONBuffer). Legal JSON that is refused, as libyaml does
 * not know it: a surrogate pair written as two \u escapes, and a line break between a key and its
 * colon.
 */
#ifndef KEKD_BASE_YAML_H
#define KEKD_BASE_YAML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/base/cleanup.h"
#include <kekd/span.h>

#define YAML_BYTES_MAX   (1024 * 1024) /* of the text */
#define YAML_DEPTH_MAX   32            /* lists and mappings inside each other */
#define YAML_NODES_MAX   100000
#define YAML_MEMBERS_MAX 256 /* of one mapping */

enum yaml_type { YAML_NULL, YAML_BOOL, YAML_INT, YAML_FLOAT, YAML_STR, YAML_LIST, YAML_MAP };

/* The first error of a document. Zero-initialised means none. */
struct yaml_error {
	uint32_t line, column; /* from 1, in characters; 0: not about a place */
	char text[512];        /* "FILE:LINE:COLUMN: what is wrong" */
};

/* One value. Owned by its document, as is all it points to. */
struct yaml_node {
	enum yaml_type type;
	uint32_t line, column; /* from 1, in characters */
	const char *text;      /* scalars: unescaped, NUL-terminated, no NUL inside; else NULL */
	size_t len;            /* of text, in bytes */
	union {
		bool b;
		int64_t i; /* saturated */
		double f;
	};
	struct yaml_node *child; /* first element or member */
	uint32_t count;          /* of elements or members */
	struct yaml_node *next;  /* next element or member of the parent */
	const char *key;         /* member of a mapping: its key, else NULL */
	uint32_t key_line, key_column;
};

#define yaml_for_each(n, parent) for (const struct yaml_node *n = (parent)->child; n; n = n->next)

struct yaml_doc;

/*
 * Parse @text. @text is borrowed for the call, @file (for messages) and @err for the life of the
 * document. -EINVAL with *err filled; -ENOMEM, also when RLIMIT_MEMLOCK is too low for the tree (64
 * KiB for a usual file, at most 12 MiB), with *err filled. Caller frees *ret.
 */
int yaml_doc_parse(struct span text, const char *file, struct yaml_error *err,
		   struct yaml_doc **ret);
void yaml_doc_free(struct yaml_doc *doc);
DEFINE_CLEANUP(struct yaml_doc *, yaml_doc_free);

/* The value of the document; YAML_NULL when it is empty. Borrowed. */
const struct yaml_node *yaml_doc_root(const struct yaml_doc *doc);

/*
 * Note an error at a value, at a member's key, or at a place; only the document's first is kept.
 * The text must not show the value of a scalar. Always -EINVAL.
 */
int yaml_fail(const struct yaml_doc *doc, const struct yaml_node *at, const char *fmt, ...)
	_printf_(3, 4);
int yaml_fail_key(const struct yaml_doc *doc, const struct yaml_node *at, const char *fmt, ...)
	_printf_(3, 4);
/* The same without a document: @line 0 leaves the place out. Borrows all. */
int yaml_error_set(struct yaml_error *err, const char *file, uint32_t line, uint32_t column,
		   const char *fmt, ...) _printf_(5, 6);

/*
 * A field's name for a message: itself, or a stand-in when it is long or odd. A base64 key of 16
 * bytes or more pasted in the wrong place is never short enough to be shown.
 */
const char *yaml_shown(const char *name);
/* "a string", "a list", … for messages. */
const char *yaml_type_name(enum yaml_type type);

struct yaml_field;

/*
 * Read @node, the value of @field, into @out, the field's place in the caller's struct. 0, -EINVAL
 * (the error is noted; @out untouched) or -ENOMEM.
 */
typedef int yaml_get_fn(const struct yaml_doc *doc, const struct yaml_node *node,
			const struct yaml_field *field, void *out);

#define YAML_REQUIRED 1U
#define YAML_NULLABLE 2U /* null is as if the field were not there */

/*
 * What a value may be, in the words of JSON Schema (draft 2020-12), for who prints a table. The
 * getter judges; this stands beside the getter and says the same.
 */
struct yaml_kind {
	const char *type;             /* "string", or several: "string integer" */
	const char *pattern;          /* of a string, ECMA 262 */
	uint32_t longest;             /* of a string; 0: not said */
	const char *low, *high;       /* what min and max of the field are called; NULL: not said */
	const char *example;          /* a good value, as JSON has it */
	const struct yaml_kind *item; /* of a list: its elements */
	const struct yaml_kind *first; /* and the first one, if it is of another kind */
	const char *rule;              /* whatever else there is to say: a JSON object */
};

extern const struct yaml_kind yaml_kind_number; /* yaml_get_u32, yaml_get_u64 */
extern const struct yaml_kind yaml_kind_word;   /* yaml_get_enum, or what calls it */
extern const struct yaml_kind yaml_kind_duration;
extern const struct yaml_kind yaml_kind_map;

/* A table of fields ends with a name of NULL. */
struct yaml_field {
	const char *name;
	yaml_get_fn *get;
	size_t offset;
	unsigned int flags;
	int64_t min, max;             /* of a number, of a duration in ns */
	const void *arg;              /* of a mapping: its table; of a word: the names */
	const struct yaml_kind *kind; /* this and the next two for yaml_presets() and a schema */
	const char *preset;           /* what holds if the field is not there, as a file has it */
	const char *help;
};

/* A field that is kept as it is and looked at later. */
#define YAML_NODE_FIELD(text, type, member, given_flags)                                \
	{                                                                               \
		.name = (text), .get = yaml_get_node, .offset = offsetof(type, member), \
		.flags = (given_flags)                                                  \
	}

/*
 * Read the members of @map, each at most once and each known, into @out. Owned members that were
 * read before an error stay in @out: the caller frees its struct as it would on success.
 */
int yaml_read(const struct yaml_doc *doc, const struct yaml_node *map,
	      const struct yaml_field *fields, void *out);

/*
 * Read each field's preset into @out as if the file had it, and those of inner tables: the table
 * of a yaml_get_node fills @out too. Not the preset of a yaml_get_node itself, which keeps a node
 * of the file. Errors as yaml_read().
 */
int yaml_presets(const struct yaml_doc *doc, const struct yaml_field *fields, void *out);
/* The same of one field that has a preset: a node that points into the table. */
struct yaml_node yaml_preset(const struct yaml_field *field);

yaml_get_fn yaml_get_node;     /* const struct yaml_node *, borrowed */
yaml_get_fn yaml_get_u32;      /* uint32_t */
yaml_get_fn yaml_get_u64;      /* uint64_t */
yaml_get_fn yaml_get_enum;     /* unsigned int: the index in a NULL-terminated array of names */
yaml_get_fn yaml_get_duration; /* int64_t, ns; written as Go does: 1m30s, 250ms */
yaml_get_fn yaml_get_map;      /* a struct in place, by another table */

/*
 * -EINVAL with the error noted unless @node is of @type; @what names it in the message,
 * NULL for an element of a list or the whole document.
 */
int yaml_expect(const struct yaml_doc *doc, const struct yaml_node *node, enum yaml_type type,
		const char *what);
/* An integer within bounds; 1e3 counts as one in YAML, as it does for kube-apiserver. */
int yaml_int(const struct yaml_doc *doc, const struct yaml_node *node, const char *what,
	     int64_t min, int64_t max, int64_t *ret);
/* A copy of a scalar's text; caller frees. -ENOMEM. */
int yaml_dup(const struct yaml_node *node, char **ret);
/*
 * A zeroed array for the elements of a list, and one more behind the last; caller frees. NULL:
 * ENOMEM.
 */
void *yaml_array(const struct yaml_node *list, size_t size);
/* Does @s hold an ASCII control character? Names and paths do not. */
bool yaml_has_control(const char *s);
/* Go's time.ParseDuration, result in ns. -EINVAL (also out of int64_t's range). */
int yaml_duration_parse(const char *s, int64_t *ret);

/* Between yaml.c and yaml_scalar.c: the type of a plain scalar, and the check that JSON is JSON. */
void yaml_scalar_resolve(struct yaml_node *node);
bool yaml_scalar_is_json(const char *s, size_t len);
bool yaml_text_is_json(struct span text);
/* NULL, or what is wrong and where. */
const char *yaml_json_check(struct span text, uint32_t *ret_line, uint32_t *ret_column);
/* Does the document have to be JSON? */
bool yaml_doc_is_json(const struct yaml_doc *doc);

#endif
