/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server's view of the keys: what the keeper told it, by name, id and label, each with the
 * engine's handle. The table decides nothing: states and the choice of the active key are the
 * keeper's; they change here only by its messages, one message at a time, so that Status and
 * Encrypt of one turn read one and the same active key.
 */
#ifndef KEKD_CHAIN_KEYTABLE_H
#define KEKD_CHAIN_KEYTABLE_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/base/cleanup.h"
#include "daemon/base/keyinfo.h"
#include <kekd/engine.h>

struct chain_key {
	struct list link;
	struct key_info info;
	char key_id[KEY_ID_TEXT];
	bool spent;                        /* it opens values, and writes none any more */
	struct engine_key *engine;         /* AES; NULL: withdrawn */
	struct softkey *soft;              /* secretbox; NULL: withdrawn */
	int why;                           /* withdrawn: -EKEYREVOKED, -EKEYEXPIRED, … */
	uint64_t encryptions, decryptions; /* since the server started */
};

#define KEYTABLE_TEXT 256

struct keytable;
struct softkey;

int keytable_new(struct keytable **ret);
/* Frees the entries and removes their engine keys. */
void keytable_free(struct keytable *t);
DEFINE_CLEANUP(struct keytable *, keytable_free);

/*
 * Add a key or change one of the same id: state, activation, and, if @engine is not NULL, a new
 * handle (consumed; an old one is removed). -ENOBUFS beyond KEKD_KEYS_MAX, -EEXIST when another
 * id has the same label, which only an imported key may share.
 */
int keytable_put(struct keytable *t, const struct key_info *info, struct engine_key *engine);
/* Give the key of that id, put before, its bytes (consumed on success). -ENOKEY. */
int keytable_put_soft(struct keytable *t, const uint8_t id[static KEKD_KEY_ID],
		      struct softkey *soft);
/* What is said of keys that are not known: @why < 0, or 0 for -ENOKEY; and in words why there is no root key. */
void keytable_seal(struct keytable *t, int why, const char *text);
/* These words, "" if there are none. Borrowed until the next. */
const char *keytable_sealed_text(const struct keytable *t);
/* The same, < 0. */
int keytable_unknown(const struct keytable *t);
/* Stop all use of a key; queued jobs end. The entry stays, to say @why. -ENOKEY. */
int keytable_withdraw(struct keytable *t, const uint8_t id[static KEKD_KEY_ID], int why);

/*
 * The active key of a chain entry; -ENOKEY or what keytable_seal() said, why it was withdrawn, or -EDQUOT if it
 * has encrypted as much as it may. Between the two messages of an
 * activation two are active, and the one with the higher activation number counts: the first
 * message is the switch.
 */
int keytable_active(struct keytable *t, const char *name, struct chain_key **ret);
/* May @k open values? 0, -EKEYREJECTED (retired, destroyed), or why it was withdrawn. */
int chain_key_opens(const struct chain_key *k);
/* The entry itself whatever its state, or NULL. */
struct chain_key *keytable_find(struct keytable *t, const uint8_t id[static KEKD_KEY_ID]);

/* All keys, for counters and metrics: entries of struct chain_key by link. */
struct list *keytable_list(struct keytable *t);

#endif
