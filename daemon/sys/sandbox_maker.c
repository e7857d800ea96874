/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The maker's system calls (keys/maker.h): hear a question and answer it; make a key in its own thread
 * keyring, read it and let it go; take the root into that keyring. Everything else kills it.
 *
 * It is forked before the keeper's filter is loaded, which forbids what it is there for: KEYCTL_READ.
 */
#include "daemon/sys/sandbox.h"

#include <errno.h>
#include <linux/keyctl.h>

#include "daemon/sys/sandbox_rules.h"

static const int maker_allowed[] = {
	SCMP_SYS(read),       SCMP_SYS(write),           SCMP_SYS(exit),
	SCMP_SYS(exit_group), SCMP_SYS(restart_syscall),
};

/* Argument @i is a key or keyring, of which the kernel takes the low half of the register. */
#define KEY_IS(i, serial) \
	SCMP_CMP64(i, SCMP_CMP_MASKED_EQ, UINT32_MAX, (scmp_datum_t)(uint32_t)(serial))

static int rules_thread_keyring(scmp_filter_ctx ctx)
{
	const struct {
		int call;
		unsigned int n;
		struct scmp_arg_cmp arg[3];
	} rules[] = {
		{ SCMP_SYS(add_key), 1, { KEY_IS(4, KEY_SPEC_THREAD_KEYRING) } },
		{ SCMP_SYS(request_key), 2, { SCMP_A2_64(SCMP_CMP_EQ, 0, 0), KEY_IS(3, 0) } },
		{ SCMP_SYS(keyctl), 1, { SCMP_A0_64(SCMP_CMP_EQ, KEYCTL_READ, 0) } },
		{ SCMP_SYS(keyctl),
		  3,
		  { SCMP_A0_64(SCMP_CMP_EQ, KEYCTL_SEARCH, 0), KEY_IS(1, KEY_SPEC_THREAD_KEYRING),
		    KEY_IS(4, 0) } },
		{ SCMP_SYS(keyctl),
		  2,
		  { SCMP_A0_64(SCMP_CMP_EQ, KEYCTL_LINK, 0), KEY_IS(2, KEY_SPEC_THREAD_KEYRING) } },
		{ SCMP_SYS(keyctl),
		  2,
		  { SCMP_A0_64(SCMP_CMP_EQ, KEYCTL_UNLINK, 0),
		    KEY_IS(2, KEY_SPEC_THREAD_KEYRING) } },
	};
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(rules); i++)
		r = seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, rules[i].call, rules[i].n,
					   rules[i].arg);
	return r;
}

int sandbox_seccomp_maker(void)
{
	_cleanup_(seccomp_releasep) scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_KILL_PROCESS);
	int r;

	if (!ctx)
		return -ENOMEM;
	r = rules_add(ctx, SCMP_ACT_ALLOW, maker_allowed, ARRAY_SIZE(maker_allowed));
	if (r == 0)
		r = rules_thread_keyring(ctx);
	return r == 0 ? seccomp_load(ctx) : r;
}
