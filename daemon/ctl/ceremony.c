/* SPDX-License-Identifier: Apache-2.0 */
/* See ceremony.h. */
#include "daemon/ctl/ceremony.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "daemon/base/io.h"
#include "daemon/base/log.h"
#include "daemon/base/random.h"
#include "daemon/base/secmem.h"
#include "daemon/ctl/terminal.h"

#define COLUMNS   4 /* of words on a screen */
#define ASKED     2 /* words that are asked for when a share was shown */
#define TYPED_MAX 16

struct ceremony *ceremony_new(void)
{
	struct ceremony *c = secmem_alloc(sizeof(*c));

	if (!c)
		ctl_fail("cannot lock memory for the root key: %s; raise the limit, `ulimit -l`",
			 errno_text(errno));
	return c;
}

void ceremony_free(struct ceremony *c)
{
	secmem_free(c, sizeof(*c));
}

static bool number_take(const char *text, unsigned int *ret)
{
	char *end;
	unsigned long n;

	if (*text < '0' || *text > '9')
		return false;
	n = strtoul(text, &end, 10);
	if (*end || n < 1 || n > SLIP39_SHARES_MAX)
		return false;
	*ret = (unsigned int)n;
	return true;
}

/* Something that passes bytes on and keeps none. Not for the sealing command, which is started later. */
static int fd_take(int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return ctl_usage("--share-fds: descriptor %d is not open", fd);
	if (!S_ISFIFO(st.st_mode) && !S_ISSOCK(st.st_mode))
		return ctl_usage(
			"--share-fds: descriptor %d is no pipe or socket; a share does not "
			"belong in a file",
			fd);
	if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
		return ctl_fail("--share-fds: descriptor %d: %s", fd, errno_text(errno));
	return 0;
}

static int fds_take(const char *text, struct ceremony_plan *plan)
{
	unsigned int n = 0;
	int r = 0;

	while (r == 0 && n < plan->n) {
		char *end;
		long fd = strtol(text, &end, 10);

		if (end == text || fd < 3 || fd > 1023 || (*end && *end != ','))
			return ctl_usage("--share-fds takes descriptors from 3 on, as in 3,4,5");
		for (unsigned int i = 0; i < n; i++)
			if (plan->fds[i] == fd)
				return ctl_usage("--share-fds: descriptor %ld is there twice", fd);
		r = fd_take((int)fd);
		plan->fds[n++] = (int)fd;
		text = end + (*end == ',');
		if (!*end)
			break;
	}
	if (r == 0 && (*text || n != plan->n))
		return ctl_usage("--share-fds: as many descriptors as shares, %u", plan->n);
	return r;
}

int ceremony_numbers(const char *shares, const char *threshold, unsigned int *n, unsigned int *k)
{
	unsigned int given_n = *n, given_k = *k;

	if (!shares != !threshold)
		return ctl_usage(
			"--shares and --threshold go together: 5 shares, any 3 of which are "
			"enough, are --shares 5 --threshold 3");
	if (shares && (!number_take(shares, &given_n) || !number_take(threshold, &given_k)))
		return ctl_usage("--shares and --threshold take numbers from 1 to %d",
				 SLIP39_SHARES_MAX);
	if (given_k > given_n)
		return ctl_usage("%u shares are never enough where %u are needed", given_n,
				 given_k);
	if (given_k == 1 && given_n > 1)
		return ctl_usage(
			"each of %u shares would be the whole root key: take a threshold of 2 "
			"or more, or copy one share",
			given_n);
	*n = given_n;
	*k = given_k;
	return 0;
}

int ceremony_plan(const struct ctl *ctl, struct ceremony_plan *ret)
{
	struct ceremony_plan plan = { .n = CEREMONY_SHARES, .threshold = CEREMONY_THRESHOLD };
	int fd, r = ceremony_numbers(ctl->shares, ctl->threshold, &plan.n, &plan.threshold);

	if (r != 0)
		return r;
	if (ctl->share_fds) {
		plan.to_fds = true;
		r = fds_take(ctl->share_fds, &plan);
	} else {
		fd = open("/dev/tty", O_RDWR | O_CLOEXEC);
		if (fd < 0)
			return ctl_usage(
				"there is no terminal to show shares on; give each a pipe of its "
				"own with --share-fds FD,...");
		close(fd);
	}
	if (r == 0)
		*ret = plan;
	return r;
}

/* The @index-th word of a text with one blank between words. */
static struct span word_at(const char *text, unsigned int index)
{
	for (; index > 0; index--)
		text += strcspn(text, " ") + 1;
	return span_of(text, strcspn(text, " "));
}

/* @c->typed from @start to @len is the word that is being typed. */
struct typing {
	struct ceremony *c;
	size_t start, len;
	unsigned int words;
	unsigned int escape; /* within the sequence of a special key */
	char note[80];       /* what was wrong with the last word */
};

static void word_end(struct typing *y)
{
	const char *nearest;

	y->note[0] = '\0';
	if (y->len == y->start)
		return;
	if (slip39_is_word(span_of(y->c->typed + y->start, y->len - y->start), &nearest)) {
		y->c->typed[y->len++] = ' ';
		y->start = y->len;
		y->words++;
		return;
	}
	snprintf(y->note, sizeof(y->note), "word %u is none of the list%s%s; again: ", y->words + 1,
		 nearest ? ", near to it is " : "", nearest ?: "");
	y->len = y->start;
}

/* Part of what an arrow or the like sends: ESC [ … and a last byte. */
static bool typing_escape(struct typing *y, uint8_t key)
{
	switch (y->escape) {
	case 0:
		y->escape = key == 033;
		return y->escape > 0;
	case 1:
		y->escape = key == '[' || key == 'O' ? 2 : 0;
		return true;
	default:
		if (key >= 0x40 && key <= 0x7e)
			y->escape = 0;
		return true;
	}
}

static void typing_key(struct typing *y, uint8_t key)
{
	if (key == ' ' || key == '\r' || key == '\n' || key == '\t') {
		word_end(y);
	} else if (key == '\b' || key == 0x7f) {
		/* one letter, or the whole word before */
		if (y->len > y->start) {
			y->len--;
		} else if (y->words > 0) {
			y->start--;
			while (y->start > 0 && y->c->typed[y->start - 1] != ' ')
				y->start--;
			y->len = y->start;
			y->words--;
		}
	} else if (((key >= 'a' && key <= 'z') || (key >= 'A' && key <= 'Z')) &&
		   y->len - y->start < TYPED_MAX) {
		y->c->typed[y->len++] = (char)key;
	}
}

/*
 * @want words, each checked when it is complete, into c->typed. Nothing that is shown depends on a word but that it has
 * begun: a terminal that is recorded must not tell how many letters it has, so the line is written again only when it
 * says something else.
 */
static int words_type(struct terminal *t, struct ceremony *c, unsigned int want)
{
	struct typing y = { .c = c };
	int r = 0, shown = -1;
	uint8_t key;

	while (r == 0 && y.words < want) {
		bool begun = y.len > y.start;
		int now = (int)(2 * y.words + begun) + (*y.note ? 1000 : 0);

		if (now != shown)
			terminal_say(t, "\r\033[K  %s%u of %u %s%s", y.note, y.words, want,
				     want == 1 ? "word" : "words", begun ? " ..." : "");
		shown = now;
		r = terminal_key(t, &key);
		if (r == 0 && !typing_escape(&y, key))
			typing_key(&y, key);
	}
	if (r == 0)
		c->typed[y.len - 1] = '\0';
	return r;
}

/* Has the operator what was shown? > 0: no. */
static int words_ask(struct terminal *t, struct ceremony *c)
{
	uint8_t at[ASKED] = { 0 };
	int r = random_bytes(at, sizeof(at));

	at[0] = at[0] % SLIP39_WORDS;
	at[1] = (uint8_t)((at[0] + 1 + at[1] % (SLIP39_WORDS - 1)) % SLIP39_WORDS);
	for (size_t i = 0; r == 0 && i < ASKED; i++) {
		struct span word = word_at(c->text, at[i]);

		terminal_say(t, "\n  Type word %u of what you have written down, and Enter:\n",
			     at[i] + 1U);
		r = words_type(t, c, 1);
		if (r == 0 && (strlen(c->typed) != word.len ||
			       strncasecmp(c->typed, (const char *)word.data, word.len) != 0))
			r = 1;
	}
	return r;
}

static int share_show(struct terminal *t, struct ceremony *c, const struct ceremony_plan *plan,
		      unsigned int i, const char *id)
{
	const struct slip39_share *share = &c->shares[i];
	const char *note = "";
	uint8_t key;
	int r;

	do {
		terminal_clear(t);
		terminal_say(t,
			     "%s  Share %u of %u, set %u. Any %u of the set give back the root key "
			     "%s.\n  Write down that line and these words:\n",
			     note, share->number, plan->n, share->set, plan->threshold, id);
		for (unsigned int w = 0; w < SLIP39_WORDS; w++) {
			struct span word = word_at(c->text, w);

			terminal_say(t, "%s%2u ", w % COLUMNS == 0 ? "\n    " : "", w + 1);
			terminal_put(t, word);
			terminal_say(t, "%*s", SLIP39_WORD_MAX + 3 - (int)word.len, "");
		}
		terminal_say(t, "\n\n  Press a key when you have them all.");
		r = terminal_key(t, &key);
		terminal_clear(t);
		if (r == 0)
			r = words_ask(t, c);
		note = "  That is not what was shown. Here is the share again.\n\n";
	} while (r > 0);
	if (r < 0 || i + 1 == plan->n)
		return r;
	terminal_clear(t);
	terminal_say(t, "  Share %u is done. Press a key when who gets share %u is here alone.",
		     share->number, share->number + 1U);
	return terminal_key(t, &key);
}

static int shares_show(struct ceremony *c, const struct ceremony_plan *plan, const char *id)
{
	_cleanup_(terminal_closep) struct terminal *t = NULL;
	int r = terminal_open(&t);

	for (unsigned int i = 0; r == 0 && i < plan->n; i++) {
		r = slip39_format(&c->shares[i], c->text);
		if (r == 0)
			r = share_show(t, c, plan, i, id);
	}
	return r;
}

static int shares_write(struct ceremony *c, const struct ceremony_plan *plan)
{
	int r = 0;

	for (unsigned int i = 0; r == 0 && i < plan->n; i++) {
		r = slip39_format(&c->shares[i], c->text);
		if (r == 0)
			r = io_write_all(plan->fds[i], c->text, strlen(c->text));
		if (r == 0)
			r = io_write_all(plan->fds[i], "\n", 1);
		close(plan->fds[i]);
	}
	return r;
}

int ceremony_give(struct ceremony *c, const struct ceremony_plan *plan, const char *id)
{
	int r = slip39_split(c->secret, plan->n, plan->threshold, c->shares);

	if (r == 0)
		r = plan->to_fds ? shares_write(c, plan) : shares_show(c, plan, id);
	if (r == -EINTR)
		return ctl_fail(
			"given up, and nothing was sealed: destroy what was written down of set "
			"%u",
			c->shares[0].set);
	return r < 0 ? ctl_fail("the shares cannot be given out: %s; nothing was sealed",
				errno_text(r))
		     : 0;
}

/* Why c->typed is none of the shares that are wanted. */
static void share_fault(const struct ceremony *c, const struct slip39_share *share, int r,
			const struct slip39_fault *f, char *ret, size_t size)
{
	switch (r) {
	case -EINVAL:
		snprintf(ret, size, "its word %u is none of the list%s%s", f->wrong,
			 f->nearest ? ", near to it is " : "", f->nearest ?: "");
		break;
	case -EMSGSIZE:
		snprintf(ret, size, "it has %u words, and a share of a root key has %d", f->words,
			 SLIP39_WORDS);
		break;
	case -EBADMSG:
		snprintf(ret, size,
			 "its checksum does not hold: a word is another one, or some have changed "
			 "places");
		break;
	case -EOPNOTSUPP:
		snprintf(ret, size, "it is of a set with several groups, which kekctl cannot use");
		break;
	case -EXDEV:
		snprintf(ret, size, "it is of set %u, and what came before it is of set %u",
			 share->set, c->shares[0].set);
		break;
	case -EEXIST:
		snprintf(ret, size, "share %u of this set is there already", share->number);
		break;
	default:
		snprintf(ret, size, "%s", errno_text(r));
	}
}

/* c->typed as one more share; false and why not. */
static bool share_add(struct ceremony *c, char *ret_fault, size_t size)
{
	struct slip39_share *share = &c->shares[c->n];
	struct slip39_fault fault;
	int r = slip39_parse(span_str(c->typed), share, &fault);

	for (size_t i = 0; r == 0 && i < c->n; i++)
		r = slip39_fits(&c->shares[i], share);
	if (r < 0) {
		share_fault(c, share, r, &fault, ret_fault, size);
		return false;
	}
	c->n++;
	return true;
}

static bool is_enough(const struct ceremony *c)
{
	return c->n > 0 && c->n >= c->shares[0].threshold;
}

static int shares_type(struct ceremony *c)
{
	_cleanup_(terminal_closep) struct terminal *t = NULL;
	char fault[160] = "";
	int r = terminal_open(&t);

	while (r == 0 && !is_enough(c)) {
		terminal_clear(t);
		if (*fault)
			terminal_say(t, "  That is not a share to go on with: %s.\n\n", fault);
		if (c->n > 0)
			terminal_say(t, "  %zu of %u shares of set %u are here.\n\n", c->n,
				     c->shares[0].threshold, c->shares[0].set);
		terminal_say(t,
			     "  Type a share, %d words, with a blank behind each. They are not "
			     "shown.\n\n",
			     SLIP39_WORDS);
		r = words_type(t, c, SLIP39_WORDS);
		if (r == 0 && share_add(c, fault, sizeof(fault)))
			fault[0] = '\0';
	}
	return r;
}

/* A line of standard input into c->typed. -ENODATA: there is none; -EMSGSIZE. */
static int line_read(struct ceremony *c)
{
	size_t len = 0;

	while (len < sizeof(c->typed)) {
		ssize_t n = io_retry(read(STDIN_FILENO, c->typed + len, 1));

		if (n < 0)
			return -errno;
		if (n == 0 && len == 0)
			return -ENODATA;
		if (n == 0 || c->typed[len] == '\n') {
			c->typed[len] = '\0';
			return 0;
		}
		len++;
	}
	return -EMSGSIZE;
}

static int shares_read(struct ceremony *c)
{
	char fault[160];
	unsigned int line = 0;

	while (!is_enough(c)) {
		int r = line_read(c);

		line++;
		if (r == -ENODATA && c->n == 0)
			return ctl_fail("no share came on standard input");
		if (r == -ENODATA)
			return ctl_fail("%zu share%s came, and set %u needs %u", c->n,
					c->n == 1 ? "" : "s", c->shares[0].set,
					c->shares[0].threshold);
		if (r == -EMSGSIZE)
			return ctl_fail("line %u is too long for a share", line);
		if (r < 0)
			return ctl_fail("cannot read shares: %s", errno_text(r));
		if (c->typed[strspn(c->typed, " \t\r")] == '\0')
			continue;
		if (!share_add(c, fault, sizeof(fault)))
			return ctl_fail("line %u is not a share to go on with: %s", line, fault);
	}
	return 0;
}

static int shares_get(struct ceremony *c)
{
	struct stat st;
	int r;

	if (!isatty(STDIN_FILENO)) {
		if (fstat(STDIN_FILENO, &st) == 0 && (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode)))
			return shares_read(c);
		return ctl_fail(
			"shares come from a terminal or a pipe, a line each, and not from a "
			"file");
	}
	r = shares_type(c);
	if (r == -EINTR)
		return ctl_fail("given up");
	return r < 0 ? ctl_fail("cannot take shares: %s", errno_text(r)) : 0;
}

int ceremony_take(struct ceremony *c)
{
	int r = shares_get(c);

	if (r != 0)
		return r;
	r = slip39_combine(c->shares, c->n, c->secret);
	if (r == -EBADMSG)
		return ctl_fail(
			"the digest of set %u does not hold: each share is whole, and they are "
			"not all of one set",
			c->shares[0].set);
	return r < 0 ? ctl_fail("cannot put the shares together: %s", errno_text(r)) : 0;
}
