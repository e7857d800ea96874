/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shares of a root key in words, by SLIP-0039: any @threshold of them give the 32 bytes back, fewer say nothing
 * about them. A share is 33 words of ten bits each:
 *
 *   set 15 bits, extendable 1, exponent 4     the same in every share of a set
 *   five fields of 4 bits                     group, groups needed, groups, number, threshold (each less 1)
 *   4 zero bits, 256 bits of value
 *   checksum 30 bits                          RS1024: finds any three wrong words
 *
 * Of a set with several groups, of secrets of other sizes and of passphrases nothing is known here: sets have one
 * group, and the passphrase is the empty one. So the standard's encryption under it hides nothing, and is
 * there because the standard has it. Other programs of the standard open these shares, and the other way round.
 *
 * Time depends neither on the value of a share nor on which words it has: fields are computed without tables, and
 * the list of words is gone through as a whole. All that is derived from a secret here is in locked memory.
 */
#ifndef KEKD_KEYS_SLIP39_H
#define KEKD_KEYS_SLIP39_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <kekd/span.h>

#define SLIP39_SECRET     32
#define SLIP39_WORDS      33 /* of a share */
#define SLIP39_SHARES_MAX 16 /* of a set */
#define SLIP39_WORD_COUNT 1024
#define SLIP39_WORD_MAX   8
#define SLIP39_TEXT_MAX   (SLIP39_WORDS * (SLIP39_WORD_MAX + 1)) /* with NUL */

/* Sorted; the first four letters tell a word from all others. */
extern const char slip39_words[SLIP39_WORD_COUNT][SLIP39_WORD_MAX + 1];

/* The value is a secret, the rest is not. Its owner keeps it in locked memory. */
struct slip39_share {
	uint16_t set;
	bool extendable;
	uint8_t exponent; /* PBKDF2 takes 2500 << exponent rounds, four times */
	uint8_t number;   /* from 1 */
	uint8_t threshold;
	uint8_t value[SLIP39_SECRET];
};

/* What is wrong with a text. */
struct slip39_fault {
	unsigned int words;  /* that there are */
	unsigned int wrong;  /* -EINVAL: the first that is none of the list, from 1 */
	const char *nearest; /* of the list to that one, or NULL. Static */
};

/* Is it one of the list, in either case? If not, *ret_nearest is near to it or NULL. */
bool slip39_is_word(struct span word, const char **ret_nearest);

/*
 * Words with blanks or line ends between them. -EINVAL: one is none of the list; -EMSGSIZE: not 33 words;
 * -EBADMSG: the checksum does not hold; -EOPNOTSUPP: of a set with several groups; -ENOMEM. @ret_fault is set
 * in any case, @ret is untouched on failure.
 */
int slip39_parse(struct span text, struct slip39_share *ret, struct slip39_fault *ret_fault);
/* The words, one blank between them; @ret in locked memory. -ENOMEM. */
int slip39_format(const struct slip39_share *share, char ret[static SLIP39_TEXT_MAX]);

/*
 * @n shares, any @threshold of which are enough, at @ret in locked memory. -EINVAL unless 1 ≤ @threshold ≤ @n ≤
 * SLIP39_SHARES_MAX, or if each of several shares were enough. -ENOMEM, errors of random_bytes() and digest.h.
 */
int slip39_split(const uint8_t secret[static SLIP39_SECRET], unsigned int n, unsigned int threshold,
		 struct slip39_share *ret);

/* May @b stand beside @a? -EXDEV: it is of another set; -EEXIST: it has the same number. */
int slip39_fits(const struct slip39_share *a, const struct slip39_share *b);
/*
 * The secret, @ret in locked memory. -ENODATA: fewer than the threshold; -EXDEV, -EEXIST: slip39_fits(); -EBADMSG: the
 * set's digest does not hold, so one of them is of another set in spite of its number. -ENOMEM, errors of digest.h.
 */
int slip39_combine(const struct slip39_share *shares, size_t n, uint8_t ret[static SLIP39_SECRET]);

#endif
