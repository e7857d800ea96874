/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cipher [OPTION]...: what it costs to encrypt and decrypt messages, by every way there is
 * (ways/way.h). Prints a Markdown table a load, thousands of messages a second, or with --icount the
 * guest's instructions a message; FILE gets the raw figures, one a line (tests/bench/bench says which
 * columns).
 *
 *   --bytes LIST       of text (default 32)
 *   --in-flight LIST   messages at once (default 1,8,64,256)
 *   --alg LIST         gcm, cbc (default gcm)
 *   --op LIST          encrypt, decrypt (default encrypt)
 *   --only LIST        ways (default all that this kernel has)
 *   --rounds N         the first of N + 1 is thrown away (default 9)
 *   --slice MS         of one way in one round, at least (default 20)
 *   --icount           the clock counts instructions, one a nanosecond (scripts/vm --icount)
 *   --out FILE         append raw figures
 *
 * The ways of a load are measured in turn, round after round, so that whatever else the machine does
 * meets them all. Before a way is timed, what it makes is compared with openssl's, byte for byte, tags
 * included; each message has a nonce of its own. Nothing here judges a time.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "daemon/base/log.h"
#include "daemon/sys/ring.h"
#include "tests/bench/ways/way.h"

#define ROUNDS_MAX 64U
#define LIST_MAX   16U
/* Of one load; more is left out. Twice that is in memory. */
#define LOAD_BYTES_MAX (4U << 20)

static const struct way *const ways[] = { &way_openssl,     &way_kcapi,  &way_afalg_sync,
					  &way_afalg_uring, &way_engine, &way_coalesced };

/* One way under one load. */
struct subject {
	const struct way *way;
	void *self; /* NULL: not measured */
	int refused;
	double ns[ROUNDS_MAX]; /* a message */
};

struct settings {
	size_t bytes[LIST_MAX];
	unsigned long in_flight[LIST_MAX];
	const char *algs, *ops, *only;
	unsigned int rounds;
	uint64_t slice_ns;
	bool counting;
	FILE *out;
};

/* Messages of one load, and what openssl makes of them. */
struct bed {
	struct load load;
	struct message *messages;
	uint8_t *memory, *expected;
	uint64_t number; /* of the last nonce */
};

/* Encryption only: what is decrypted stays as it is. */
static void nonces_next(struct bed *b)
{
	for (unsigned int i = 0; b->load.encrypt && i < b->load.in_flight; i++) {
		b->number++;
		memcpy(b->messages[i].iv, &b->number, sizeof(b->number));
	}
}

static size_t stride(const struct load *l)
{
	return l->bytes + KEKD_GCM_TAG;
}

static int batch(struct bed *b, const struct subject *s)
{
	nonces_next(b);
	return s->way->batch(s->self, b->messages);
}

/* What openssl makes with these IVs; decrypted, it would be the text again. */
static int ciphertext_make(struct bed *b)
{
	struct load forward = b->load;
	void *self;
	int r;

	forward.encrypt = true;
	r = way_openssl.open(&forward, &self);
	if (r < 0)
		return r;
	r = way_openssl.batch(self, b->messages);
	way_openssl.close(self);
	return r;
}

/* For decryption the ciphertext becomes the input, and the text what is expected. */
static int bed_fill(struct bed *b)
{
	const struct load *l = &b->load;
	size_t all = l->in_flight * stride(l);
	int r;

	for (size_t i = 0; i < all; i++)
		b->memory[i] = (uint8_t)(i * 7 + i / 251);
	for (unsigned int i = 0; i < l->in_flight; i++) {
		b->messages[i].in = b->memory + i * stride(l);
		b->messages[i].out = b->memory + all + i * stride(l);
		b->number++;
		memcpy(b->messages[i].iv, &b->number, sizeof(b->number));
	}
	r = ciphertext_make(b);
	if (r < 0)
		return r;
	if (l->encrypt) {
		memcpy(b->expected, b->memory + all, all);
	} else {
		memcpy(b->expected, b->memory, all);
		memcpy(b->memory, b->memory + all, all);
	}
	return 0;
}

static void bed_close(struct bed *b)
{
	free(b->messages);
	free(b->memory);
	free(b->expected);
}

static int bed_open(struct bed *b, const struct load *l)
{
	size_t all = l->in_flight * stride(l);

	*b = (struct bed){ .load = *l };
	b->messages = calloc(l->in_flight, sizeof(*b->messages));
	b->memory = malloc(2 * all);
	b->expected = malloc(all);
	return b->messages && b->memory && b->expected ? bed_fill(b) : -ENOMEM;
}

/* With the nonces of bed_fill(). */
static int check(struct bed *b, const struct subject *s)
{
	const struct load *l = &b->load;
	int r;

	for (unsigned int i = 0; i < l->in_flight; i++)
		memset(b->messages[i].out, 0, load_out(l));
	r = s->way->batch(s->self, b->messages);
	for (unsigned int i = 0; r == 0 && i < l->in_flight; i++)
		if (memcmp(b->messages[i].out, b->expected + i * stride(l), load_out(l)) != 0)
			r = -EBADMSG;
	return r;
}

static bool listed(const char *list, const char *word)
{
	const char *at = list;
	size_t n = strlen(word);

	while ((at = strstr(at, word))) {
		if ((at == list || at[-1] == ',') && (at[n] == ',' || at[n] == '\0'))
			return true;
		at += n;
	}
	return false;
}

static int subject_open(struct bed *b, struct subject *s)
{
	int r = s->way->open(&b->load, &s->self);

	if (r == 0)
		r = check(b, s);
	if (r == -ENOENT || r == -EAFNOSUPPORT || r == -EMSGSIZE) {
		s->refused = r;
		return 0;
	}
	if (r < 0)
		fprintf(stderr, "cipher: %s: %s\n", s->way->name,
			r == -EBADMSG ? "not what openssl makes" : errno_text(r));
	return r;
}

/*
 * At least one batch, then until the slice has gone by. The clock is read after 1, 2, 4 … messages, and
 * then once in 32.
 */
static int slice(struct bed *b, const struct subject *s, uint64_t slice_ns, double *ret_ns)
{
	uint64_t begun = now_ns(), now, messages = 0, next = 1;
	int r;

	do {
		for (; messages < next; messages += b->load.in_flight) {
			r = batch(b, s);
			if (r < 0)
				return r;
		}
		next = messages + (messages < 32 ? messages : 32);
		now = now_ns();
	} while (now - begun < slice_ns);
	*ret_ns = (double)(now - begun) / (double)messages;
	return 0;
}

static int rounds_run(struct bed *b, struct subject *subjects, const struct settings *set)
{
	double warm;
	int r;

	for (unsigned int round = 0; round <= set->rounds; round++) {
		for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
			struct subject *s = &subjects[i];

			if (!s->self)
				continue;
			r = slice(b, s, set->slice_ns, round > 0 ? &s->ns[round - 1] : &warm);
			if (r < 0) {
				fprintf(stderr, "cipher: %s: %s\n", s->way->name, errno_text(r));
				return r;
			}
		}
	}
	return 0;
}

/* Words. */

static const char *alg_name(const struct load *l)
{
	return l->gcm ? "gcm" : "cbc";
}

static const char *op_name(const struct load *l)
{
	return l->encrypt ? "encrypt" : "decrypt";
}

static double figure(const struct settings *set, double ns)
{
	return set->counting ? ns : 1e9 / ns;
}

static void raw_print(const struct settings *set, const struct load *l, const struct subject *s)
{
	for (unsigned int i = 0; set->out && i < set->rounds; i++)
		fprintf(set->out, "cipher\t%s\t%s\t%zu\t%u\t\t\t\t%s\t%s\t%.1f\n", alg_name(l),
			op_name(l), l->bytes, l->in_flight, s->way->name,
			set->counting ? "instructions" : "per_second", figure(set, s->ns[i]));
}

static int by_size(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static double median(const struct subject *s, unsigned int n)
{
	return n % 2 ? s->ns[n / 2] : (s->ns[n / 2 - 1] + s->ns[n / 2]) / 2;
}

static const char *why(int refused)
{
	return refused == -ENOENT         ? "refused by this kernel"
	       : refused == -EAFNOSUPPORT ? "no AF_ALG here"
	       : refused == -EMSGSIZE     ? "not as long as that"
					  : "left out";
}

static void row_print(const struct settings *set, const struct subject *s, double base)
{
	double scale = set->counting ? 1 : 1e-3, mid = median(s, set->rounds);
	double a = figure(set, s->ns[0]), z = figure(set, s->ns[set->rounds - 1]);

	printf("| %s | %.1f | %.1f … %.1f | %.2f |\n", s->way->name, scale * figure(set, mid),
	       scale * (a < z ? a : z), scale * (a < z ? z : a), base / mid);
}

static void table_print(const struct settings *set, const struct load *l, struct subject *subjects)
{
	double base = 0;

	printf("\n| %s %s, %zu bytes, %u in flight | %s | min … max | × openssl |\n|---|---|---|---|\n",
	       alg_name(l), op_name(l), l->bytes, l->in_flight,
	       set->counting ? "instructions each" : "thousands a second");
	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		struct subject *s = &subjects[i];

		if (!s->self) {
			printf("| %s | %s | | |\n", s->way->name, why(s->refused));
			continue;
		}
		qsort(s->ns, set->rounds, sizeof(double), by_size);
		if (i == 0)
			base = median(s, set->rounds);
		row_print(set, s, base);
	}
	fflush(stdout);
}

/* openssl is always among them: it is what the others are measured by. */
static int load_measure(const struct settings *set, const struct load *l)
{
	struct subject subjects[ARRAY_SIZE(ways)] = { 0 };
	struct bed bed;
	int r;

	r = bed_open(&bed, l);
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(ways); i++) {
		subjects[i].way = ways[i];
		if (i == 0 || !set->only || listed(set->only, ways[i]->name))
			r = subject_open(&bed, &subjects[i]);
	}
	if (r == 0)
		r = rounds_run(&bed, subjects, set);
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(ways); i++)
		if (subjects[i].self)
			raw_print(set, l, &subjects[i]);
	if (r == 0)
		table_print(set, l, subjects);
	for (size_t i = 0; i < ARRAY_SIZE(ways); i++)
		if (subjects[i].self)
			ways[i]->close(subjects[i].self);
	bed_close(&bed);
	return r;
}

/* The four combinations of algorithm and direction that were asked for, under one size. */
static int size_measure(const struct settings *set, size_t bytes, unsigned long in_flight)
{
	int r = 0;

	if (bytes * in_flight > LOAD_BYTES_MAX)
		return 0;
	for (unsigned int i = 0; r == 0 && i < 4; i++) {
		struct load l = { .gcm = i < 2,
				  .encrypt = i % 2 == 0,
				  .bytes = bytes,
				  .in_flight = (unsigned int)in_flight };

		if (listed(set->algs, alg_name(&l)) && listed(set->ops, op_name(&l)))
			r = load_measure(set, &l);
	}
	return r;
}

static int measure(const struct settings *set)
{
	struct utsname uts;
	int r = 0;

	uname(&uts);
	printf("Linux %s, median of %u rounds\n", uts.release, set->rounds);
	for (size_t i = 0; r == 0 && set->bytes[i] > 0; i++)
		for (size_t j = 0; r == 0 && set->in_flight[j] > 0; j++)
			r = size_measure(set, set->bytes[i], set->in_flight[j]);
	return r;
}

/* The command line. */

static const struct option options[] = {
	{ "bytes", required_argument, NULL, 'b' }, { "in-flight", required_argument, NULL, 'f' },
	{ "alg", required_argument, NULL, 'a' },   { "op", required_argument, NULL, 'd' },
	{ "only", required_argument, NULL, 'w' },  { "rounds", required_argument, NULL, 'r' },
	{ "slice", required_argument, NULL, 's' }, { "icount", no_argument, NULL, 'i' },
	{ "out", required_argument, NULL, 'o' },   { NULL, 0, NULL, 0 },
};

/* @ret ends with 0. False if there are too many, or one that is none. */
static bool numbers_parse(const char *text, size_t ret[static LIST_MAX])
{
	size_t n = 0;
	char *end;

	for (;; text = end + 1) {
		if (n == LIST_MAX - 1)
			return false;
		ret[n] = strtoul(text, &end, 10);
		if (ret[n] == 0 || (*end != ',' && *end != '\0'))
			return false;
		n++;
		if (*end == '\0')
			break;
	}
	ret[n] = 0;
	return true;
}

static bool whole_blocks(const size_t *bytes)
{
	for (; *bytes > 0; bytes++)
		if (*bytes % KEKD_AES_BLOCK != 0)
			return false;
	return true;
}

static bool settings_parse(struct settings *set, int argc, char **argv)
{
	bool good = true;
	int c;

	while (good && (c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'b':
			good = numbers_parse(optarg, set->bytes) && whole_blocks(set->bytes);
			break;
		case 'f':
			good = numbers_parse(optarg, set->in_flight);
			break;
		case 'a':
			set->algs = optarg;
			break;
		case 'd':
			set->ops = optarg;
			break;
		case 'w':
			set->only = optarg;
			break;
		case 'r':
			set->rounds = (unsigned int)strtoul(optarg, NULL, 10);
			break;
		case 's':
			set->slice_ns = strtoul(optarg, NULL, 10) * UINT64_C(1000000);
			break;
		case 'i':
			set->counting = true;
			break;
		case 'o':
			set->out = fopen(optarg, "a");
			good = set->out;
			break;
		default:
			good = false;
		}
	}
	return good && optind == argc && set->rounds > 0 && set->rounds <= ROUNDS_MAX &&
	       set->slice_ns > 0;
}

int main(int argc, char **argv)
{
	struct settings set = {
		.bytes = { 32 },
		.in_flight = { 1, 8, 64, 256 },
		.algs = "gcm",
		.ops = "encrypt",
		.rounds = 9,
		.slice_ns = 20 * UINT64_C(1000000),
	};
	int r;

	log_init("cipher", LOG_LEVEL_WARNING);
	if (!settings_parse(&set, argc, argv)) {
		fputs("usage: cipher [--bytes LIST] [--in-flight LIST] [--alg LIST] [--op LIST] "
		      "[--only LIST]\n              [--rounds N] [--slice MS] [--icount] [--out FILE]\n",
		      stderr);
		return 2;
	}
	if (bench_key_new() < 0)
		fputs("no kernel keyrings here\n", stderr);
	r = measure(&set);
	if (set.out && fclose(set.out) != 0)
		r = -EIO;
	return r < 0;
}
