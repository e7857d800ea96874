/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ktest: the test harness, in the vocabulary of the kernel's kselftest, and KTAP as its output.
 *
 *	TEST(adds) { EXPECT_EQ(4, add(2, 2)); }
 *	TEST_HARNESS_MAIN
 *
 *	FIXTURE(pair) { int fd[2]; };
 *	FIXTURE_VARIANT(pair) { int type; };
 *	FIXTURE_VARIANT_ADD(pair, stream) { .type = SOCK_STREAM };
 *	FIXTURE_SETUP(pair) { ASSERT_OK(pair_open(variant->type, self->fd)); }
 *	FIXTURE_TEARDOWN(pair) { pair_close(self->fd); }
 *	TEST_F(pair, echo) { ASSERT_TRUE(pair_echo(self->fd)); }
 *
 * What every test may rely on:
 * - It runs in a process and a process group of its own, with standard input at end of file. What it
 *   writes to stdout and stderr is shown, as KTAP comments, if it fails.
 * - It has 30 seconds, or its own TIMEOUT; the environment's KTEST_TIMEOUT_SCALE multiplies both. When
 *   it ends, however it ends, every process it left behind is killed, whatever group that is in.
 * - `self` starts as zeroes. FIXTURE_TEARDOWN runs if and only if FIXTURE_SETUP came to its end, also
 *   after a failed ASSERT in the test.
 * - EXPECT_ and ASSERT_ count in children of the test and in threads too, and need no descriptor: a
 *   process that has closed everything, or sits in a sandbox, may use them.
 * - A sanitizer's or valgrind's complaint at exit fails the test: the exit status must be the one that
 *   belongs to the outcome. UBSan needs -fno-sanitize-recover for that, as it otherwise only talks.
 *
 * ASSERT_ and SKIP leave the test by longjmp: `_cleanup_` locals between them and the test are not run.
 * The process then ends without a leak check, so SKIP first and acquire later all the same. In a child
 * process or thread of the test they end that process.
 *
 * A test that makes itself undumpable must do so in a child: LeakSanitizer has to trace the test.
 *
 * Operands are evaluated once, expected value first. Integers compare by value, whatever their types'
 * signs (-1 is less than 1U); comparing a pointer with an integer does not compile.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/*
 * Whether a failed EXPECT_MEMEQ may print bytes. False unless a test program sets it, and only a
 * program whose data is published test vectors may.
 */
extern bool ktest_show_bytes;

/* The main function of a test program. */
#define TEST_HARNESS_MAIN                      \
	int main(int argc, char **argv)        \
	{                                      \
		return ktest_main(argc, argv); \
	}

/* Tests without a fixture. `seconds` is the time-out, `sig` the signal that must end the test. */
#define TEST(name)                  KTEST_PLAIN(name, .expected_signal = 0)
#define TEST_TIMEOUT(name, seconds) KTEST_PLAIN(name, .timeout_s = (seconds))
#define TEST_SIGNAL(name, sig)      KTEST_PLAIN(name, .expected_signal = (sig))

/* Tests of a fixture: `self` is the fixture's data, `variant` its variant or NULL. */
#define TEST_F(fixture, name)                  KTEST_FIXED(fixture, name, .expected_signal = 0)
#define TEST_F_TIMEOUT(fixture, name, seconds) KTEST_FIXED(fixture, name, .timeout_s = (seconds))
#define TEST_F_SIGNAL(fixture, name, sig)      KTEST_FIXED(fixture, name, .expected_signal = (sig))

/* The data of a fixture: FIXTURE(name) { members }; comes before all else that names it. */
#define FIXTURE(fixture)                                                            \
	struct ktest_variant_of_##fixture;                                          \
	static struct ktest_fixture ktest_fixture_##fixture = { .name = #fixture }; \
	struct ktest_data_of_##fixture

#define FIXTURE_SETUP(fixture)    KTEST_STEP(fixture, setup)
#define FIXTURE_TEARDOWN(fixture) KTEST_STEP(fixture, teardown)

/* A fixture with variants runs each of its tests once with each of them. */
#define FIXTURE_VARIANT(fixture) struct ktest_variant_of_##fixture

#define FIXTURE_VARIANT_ADD(fixture, variant_name)                                             \
	static const struct ktest_variant_of_##fixture                                         \
		ktest_variant_data_##fixture##_##variant_name;                                 \
	static struct ktest_variant ktest_variant_##fixture##_##variant_name = {               \
		.name = #variant_name,                                                         \
		.data = &ktest_variant_data_##fixture##_##variant_name,                        \
	};                                                                                     \
	__attribute__((constructor)) static void ktest_add_variant_##fixture##_##variant_name( \
		void)                                                                          \
	{                                                                                      \
		ktest_add_variant(&ktest_fixture_##fixture,                                    \
				  &ktest_variant_##fixture##_##variant_name);                  \
	}                                                                                      \
	static const struct ktest_variant_of_##fixture                                         \
		ktest_variant_data_##fixture##_##variant_name =

/*
 * EXPECT_ notes the failure and goes on, and is true when the check held. ASSERT_ ends the test.
 *
 * EQ NE LT LE GT GE	two integers, or two pointers
 * TRUE FALSE		anything with a truth value
 * NULL NOT_NULL	a pointer
 * STREQ		two strings, both printed on failure; NULL equals NULL only
 * MEMEQ		(expected, its bytes, seen, its bytes)
 * OK			the result of a function that returns 0 or -errno: 0, and not a count or a descriptor
 * ERR			(-EWHAT, the result of such a function)
 */
#define EXPECT_EQ(exp, seen)    KTEST_COMPARE(KTEST_EQ, #exp, #seen, exp, seen)
#define EXPECT_NE(exp, seen)    KTEST_COMPARE(KTEST_NE, #exp, #seen, exp, seen)
#define EXPECT_LT(exp, seen)    KTEST_COMPARE(KTEST_LT, #exp, #seen, exp, seen)
#define EXPECT_LE(exp, seen)    KTEST_COMPARE(KTEST_LE, #exp, #seen, exp, seen)
#define EXPECT_GT(exp, seen)    KTEST_COMPARE(KTEST_GT, #exp, #seen, exp, seen)
#define EXPECT_GE(exp, seen)    KTEST_COMPARE(KTEST_GE, #exp, #seen, exp, seen)
#define EXPECT_TRUE(cond)       KTEST_HELD((cond) ? true : false, "true", #cond)
#define EXPECT_FALSE(cond)      KTEST_HELD((cond) ? false : true, "false", #cond)
#define EXPECT_NULL(ptr)        KTEST_HELD((ptr) == NULL, "NULL", #ptr)
#define EXPECT_NOT_NULL(ptr)    KTEST_HELD((ptr) != NULL, "not NULL", #ptr)
#define EXPECT_STREQ(exp, seen) ktest_streq(__FILE__, __LINE__, #exp, #seen, (exp), (seen))
#define EXPECT_MEMEQ(exp, exp_len, seen, seen_len) \
	ktest_memeq(__FILE__, __LINE__, #exp, #seen, (exp), (exp_len), (seen), (seen_len))
#define EXPECT_OK(result)       ktest_result(__FILE__, __LINE__, 0, #result, (result))
#define EXPECT_ERR(err, result) ktest_result(__FILE__, __LINE__, (err), #result, (result))

#define ASSERT_EQ(exp, seen)    KTEST_ASSERT(KTEST_COMPARE(KTEST_EQ, #exp, #seen, exp, seen))
#define ASSERT_NE(exp, seen)    KTEST_ASSERT(KTEST_COMPARE(KTEST_NE, #exp, #seen, exp, seen))
#define ASSERT_LT(exp, seen)    KTEST_ASSERT(KTEST_COMPARE(KTEST_LT, #exp, #seen, exp, seen))
#define ASSERT_LE(exp, seen)    KTEST_ASSERT(KTEST_COMPARE(KTEST_LE, #exp, #seen, exp, seen))
#define ASSERT_GT(exp, seen)    KTEST_ASSERT(KTEST_COMPARE(KTEST_GT, #exp, #seen, exp, seen))
#define ASSERT_GE(exp, seen)    KTEST_ASSERT(KTEST_COMPARE(KTEST_GE, #exp, #seen, exp, seen))
#define ASSERT_TRUE(cond)       KTEST_ASSERT(EXPECT_TRUE(cond))
#define ASSERT_FALSE(cond)      KTEST_ASSERT(EXPECT_FALSE(cond))
#define ASSERT_NULL(ptr)        KTEST_ASSERT(EXPECT_NULL(ptr))
#define ASSERT_NOT_NULL(ptr)    KTEST_ASSERT(EXPECT_NOT_NULL(ptr))
#define ASSERT_STREQ(exp, seen) KTEST_ASSERT(EXPECT_STREQ(exp, seen))
#define ASSERT_MEMEQ(exp, exp_len, seen, seen_len) \
	KTEST_ASSERT(EXPECT_MEMEQ(exp, exp_len, seen, seen_len))
#define ASSERT_OK(result)       KTEST_ASSERT(EXPECT_OK(result))
#define ASSERT_ERR(err, result) KTEST_ASSERT(EXPECT_ERR(err, result))

/* Ends the test as skipped, unless something in it has failed already. A printf format. */
#define SKIP(...) ktest_skip(__VA_ARGS__)

/*
 * Skips unless `cond` holds, or fails if the environment's KTEST_REQUIRE lists `facility`: a lane that
 * has been built to offer a facility must not turn green for want of it.
 */
#define SKIP_UNLESS(facility, cond, why)                                    \
	do {                                                                \
		if (!(cond))                                                \
			ktest_lacks(__FILE__, __LINE__, (facility), (why)); \
	} while (0)

/*
 * Says that the test is known to fail and why. It goes on: checks that fail make it `ok # XFAIL`, and a
 * test that passes after all fails, so that the mark is taken away with the defect. A crash or a
 * time-out stays a failure. A printf format.
 */
#define XFAIL(...) ktest_expect_failure(__VA_ARGS__)

/* Adds a line to the test's KTAP comments, whatever its outcome. Never pass it a secret. */
__attribute__((format(printf, 1, 2))) void ktest_log(const char *format, ...);

/* Everything below is what the macros are made of; tests do not use it by name. */

enum ktest_operator { KTEST_EQ, KTEST_NE, KTEST_LT, KTEST_LE, KTEST_GT, KTEST_GE };

struct ktest_value {
	enum { KTEST_SIGNED, KTEST_UNSIGNED, KTEST_POINTER } kind;
	union {
		intmax_t i;
		uintmax_t u;
		const volatile void *p;
	};
};

struct ktest_variant {
	const char *name;
	const void *data;
	struct ktest_variant *next;
};

struct ktest_fixture {
	const char *name;
	void (*setup)(void *self, const void *variant);
	void (*teardown)(void *self, const void *variant);
	struct ktest_variant *variants;
};

struct ktest_test {
	const char *name;
	const struct ktest_fixture *fixture; /* NULL: none */
	void (*body)(void *self, const void *variant);
	size_t self_size, self_align;
	unsigned int timeout_s; /* 0: the default */
	int expected_signal;    /* 0: none */
	struct ktest_test *next;
};

int ktest_main(int argc, char **argv);

/* Registration. Both borrow their arguments for the life of the program. */
void ktest_add_test(struct ktest_test *test);
void ktest_add_variant(struct ktest_fixture *fixture, struct ktest_variant *variant);

/* Each notes one failed check and returns false, or returns true. All pointers are borrowed. */
__attribute__((format(printf, 3, 4))) bool ktest_fail(const char *file, int line,
						      const char *format, ...);
bool ktest_compare(const char *file, int line, enum ktest_operator op, const char *exp_text,
		   const char *seen_text, struct ktest_value exp, struct ktest_value seen);
bool ktest_streq(const char *file, int line, const char *exp_text, const char *seen_text,
		 const char *exp, const char *seen);
bool ktest_memeq(const char *file, int line, const char *exp_text, const char *seen_text,
		 const void *exp, size_t exp_len, const void *seen, size_t seen_len);
bool ktest_result(const char *file, int line, intmax_t exp, const char *seen_text, intmax_t seen);

__attribute__((noreturn)) void ktest_end(void);
__attribute__((noreturn, format(printf, 1, 2))) void ktest_skip(const char *format, ...);
__attribute__((noreturn)) void ktest_lacks(const char *file, int line, const char *facility,
					   const char *why);
__attribute__((format(printf, 1, 2))) void ktest_expect_failure(const char *format, ...);

/* Keeps a compiler from calling an unused constant result a mistake. */
static inline bool ktest_held(bool held)
{
	return held;
}

static inline struct ktest_value ktest_signed(intmax_t i)
{
	return (struct ktest_value){ .kind = KTEST_SIGNED, .i = i };
}

static inline struct ktest_value ktest_unsigned(uintmax_t u)
{
	return (struct ktest_value){ .kind = KTEST_UNSIGNED, .u = u };
}

static inline struct ktest_value ktest_pointer(const volatile void *p)
{
	return (struct ktest_value){ .kind = KTEST_POINTER, .p = p };
}

/* What the type of an operand selects. Laid out by hand, as clang-format 14 does not know _Generic. */
/* clang-format off */
#define KTEST_SELECT(x, of_signed, of_unsigned, of_pointer) \
	_Generic((x),                                       \
		char: of_signed,                            \
		signed char: of_signed,                     \
		short: of_signed,                           \
		int: of_signed,                             \
		long: of_signed,                            \
		long long: of_signed,                       \
		_Bool: of_unsigned,                         \
		unsigned char: of_unsigned,                 \
		unsigned short: of_unsigned,                \
		unsigned int: of_unsigned,                  \
		unsigned long: of_unsigned,                 \
		unsigned long long: of_unsigned,            \
		default: of_pointer)
/* clang-format on */

/* A floating-point operand ends in ktest_pointer() and does not compile, as it should. */
#define KTEST_VALUE(x) KTEST_SELECT(x, ktest_signed, ktest_unsigned, ktest_pointer)(x)

/* An array of negative size where one operand is a pointer and the other is not. */
#define KTEST_COMPARABLE(a, b) \
	((void)sizeof(char[KTEST_SELECT(a, 0, 0, 1) == KTEST_SELECT(b, 0, 0, 1) ? 1 : -1]))

#define KTEST_COMPARE(op, exp_text, seen_text, exp, seen)                                        \
	(KTEST_COMPARABLE(exp, seen), ktest_compare(__FILE__, __LINE__, op, exp_text, seen_text, \
						    KTEST_VALUE(exp), KTEST_VALUE(seen)))

/* Says `false` itself, and not by way of a function, so that analyzers see what an ASSERT rules out. */
#define KTEST_HELD(held, what, text) \
	ktest_held(                  \
		(held) ? true        \
		       : (ktest_fail(__FILE__, __LINE__, "expected %s: %s", what, text), false))

#define KTEST_ASSERT(check)          \
	do {                         \
		if (!(check))        \
			ktest_end(); \
	} while (0)

#define KTEST_PLAIN(test_name, ...)                                          \
	static void ktest_body_##test_name(void);                            \
	static void ktest_call_##test_name(void *self, const void *variant)  \
	{                                                                    \
		(void)self;                                                  \
		(void)variant;                                               \
		ktest_body_##test_name();                                    \
	}                                                                    \
	static struct ktest_test ktest_test_##test_name = {                  \
		.name = #test_name,                                          \
		.body = ktest_call_##test_name,                              \
		.self_size = 1,                                              \
		.self_align = 1,                                             \
		__VA_ARGS__,                                                 \
	};                                                                   \
	__attribute__((constructor)) static void ktest_add_##test_name(void) \
	{                                                                    \
		ktest_add_test(&ktest_test_##test_name);                     \
	}                                                                    \
	static void ktest_body_##test_name(void)

#define KTEST_FIXED(f, test_name, ...)                                                        \
	static void ktest_body_##f##_##test_name(struct ktest_data_of_##f *self,              \
						 const struct ktest_variant_of_##f *variant); \
	static void ktest_call_##f##_##test_name(void *self, const void *variant)             \
	{                                                                                     \
		ktest_body_##f##_##test_name(self, variant);                                  \
	}                                                                                     \
	static struct ktest_test ktest_test_##f##_##test_name = {                             \
		.name = #test_name,                                                           \
		.fixture = &ktest_fixture_##f,                                                \
		.body = ktest_call_##f##_##test_name,                                         \
		.self_size = sizeof(struct ktest_data_of_##f),                                \
		.self_align = _Alignof(struct ktest_data_of_##f),                             \
		__VA_ARGS__,                                                                  \
	};                                                                                    \
	__attribute__((constructor)) static void ktest_add_##f##_##test_name(void)            \
	{                                                                                     \
		ktest_add_test(&ktest_test_##f##_##test_name);                                \
	}                                                                                     \
	static void ktest_body_##f##_##test_name(                                             \
		__attribute__((unused)) struct ktest_data_of_##f *self,                       \
		__attribute__((unused)) const struct ktest_variant_of_##f *variant)

#define KTEST_STEP(f, step)                                                                       \
	static void ktest_##step##_of_##f(struct ktest_data_of_##f *self,                         \
					  const struct ktest_variant_of_##f *variant);            \
	static void ktest_call_##step##_of_##f(void *self, const void *variant)                   \
	{                                                                                         \
		ktest_##step##_of_##f(self, variant);                                             \
	}                                                                                         \
	__attribute__((constructor)) static void ktest_add_##step##_of_##f(void)                  \
	{                                                                                         \
		ktest_fixture_##f.step = ktest_call_##step##_of_##f;                              \
	}                                                                                         \
	static void ktest_##step##_of_##f(__attribute__((unused)) struct ktest_data_of_##f *self, \
					  __attribute__((unused))                                 \
					  const struct ktest_variant_of_##f *variant)
