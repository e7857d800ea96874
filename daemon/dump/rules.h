/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is a stored value as it should be? Judged from what can be told without opening it (stored.h), the
 * keys that kekd has, and the EncryptionConfiguration that whoever writes to etcd follows.
 *
 * With a configuration its first provider is what a value should come from: with `secret:` in it the
 * names of its keys are what stands in values (kube-apiserver's own file), without they name keys of
 * kekd, whose active one has a label of its own. Without a configuration a value is current if an
 * active key of kekd made it, in whatever way.
 *
 * What is not judged here: which key of a foreign KMS plugin is its newest, which of several keys of one
 * name made a value, and whether it opens. All are known after asking (kekctl scan --verify).
 */
#ifndef KEKD_DUMP_RULES_H
#define KEKD_DUMP_RULES_H

#include "daemon/base/keyinfo.h"
#include "daemon/chain/encconf.h"
#include "daemon/dump/resource.h"
#include "daemon/dump/stored.h"

enum verdict {
	VERDICT_CURRENT,
	VERDICT_STALE,
	VERDICT_PLAINTEXT,
	VERDICT_UNREADABLE,
	VERDICT_UNJUDGED,  /* encrypted, and of which resource it is cannot be said */
	VERDICT_UNCOVERED, /* plaintext, and nothing says that it should not be */
	VERDICTS,
};
const char *verdict_name(enum verdict v);

/* A key of kekd. */
struct rules_key {
	struct key_info
		info; /* of those of a name the one of the highest activation writes now, or did last */
	char key_id[KEY_ID_TEXT];
	bool gone; /* retired, destroyed, or not usable: opens nothing now */
};

/* All borrowed. */
struct rules {
	const struct encconf *conf; /* NULL: none */
	bool literal;               /* it is an apiserver's own, with secrets */
	const char *const *covered; /* without conf: patterns of resources that must be encrypted */
	size_t n_covered;
	const struct rules_key *keys;
	size_t n_keys;
	struct stored_labels labels; /* rules_labels() */
	const char *kms_socket;      /* on which kekd serves; NULL: not known */
};

#define RULES_NO_PATTERN SIZE_MAX

struct judgement {
	enum verdict verdict;
	const struct rules_key *key; /* of kekd; NULL: none of its */
	const char *why;             /* NULL, or why it cannot be read or is stale */
	size_t pattern;              /* of rules_pattern(), by which it has to be encrypted */
	bool unsure; /* stale because keys share a name: who opens it knows which one it is */
};

/* Every label that a value may carry: of keys and of the configuration. Caller frees *@ret->v. */
int rules_labels(const struct rules *rules, struct stored_labels *ret);

/* What has to be encrypted, one after the other: "secrets", "*.apps". NULL: there are no more. */
const char *rules_pattern(const struct rules *rules, size_t i);

/* A guessed *@resource becomes the one of that name that the rules have, if there is one. */
void rules_judge(const struct rules *rules, struct resource *resource, const struct stored *s,
		 struct judgement *ret);

#endif
