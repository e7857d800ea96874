# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# What the guards of instructions share: counting, and the figures of known toolchains. Sourced
# after scripts/lib/common.sh; needs $dir and sets $failed.
#
# A count of callgrind is the same in each run as long as compiler, libraries and what valgrind shows of
# the CPU are. For toolchains in tests/bench/figures it may therefore be MARGIN percent above the
# figure there; for others a ratio to code that is not ours is judged, with a wide margin.

MARGIN=2

# callgrind counts each byte of a `rep stosb` and of a `rep movsb` as an instruction, and glibc uses these to
# wipe and to copy from some length on: let it use vectors.
export GLIBC_TUNABLES=glibc.cpu.x86_rep_stosb_threshold=1073741824:glibc.cpu.x86_rep_movsb_threshold=1073741824

# toolchain PROGRAM: what a count depends on beside the sources, in one word. Library versions without
# their last part, as Debian's updates change only that.
toolchain()
{
	local cpu=no-avx2

	! grep -qw avx2 /proc/cpuinfo || cpu=avx2
	printf '%s,openssl-%s,nghttp2-%s,glibc-%s,%s,%s\n' \
		"$(readelf -p .comment "$1" | sed -n 's/.*GCC: .* \([0-9]*\)\.[0-9.]*$/gcc-\1/p;s/.*\(clang\) version \([0-9]*\).*/\1-\2/p' | tail -n 1)" \
		"$(pkg-config --modversion libcrypto | cut -d. -f1,2)" \
		"$(pkg-config --modversion libnghttp2 | cut -d. -f1,2)" \
		"$(getconf GNU_LIBC_VERSION | cut -d' ' -f2)" \
		"$(valgrind --version | cut -d. -f1,2)" "$cpu"
}

# counted CALLS PROGRAM ARGUMENT...: prints instructions in counted() a call, whole ones.
counted()
{
	local calls=$1 total

	shift
	timeout 120 valgrind --tool=callgrind --toggle-collect=counted \
		--callgrind-out-file="$dir/callgrind" "$@" >"$dir/log" 2>&1 || return 1
	total=$(awk '/ Collected : / { print $NF }' "$dir/log")
	[ "${total:-0}" -gt 0 ] || return 1
	echo $((total / calls))
}

# figure TOOLCHAIN WHAT: empty if there is none.
figure()
{
	awk -v toolchain="$1" -v what="$2" '$1 == toolchain && $2 == what { print $3 }' "$here/figures"
}

# record TOOLCHAIN WHAT COUNT: in place of the figure there was, or at the end.
record()
{
	awk -v toolchain="$1" -v what="$2" -v count="$3" '
		$1 == toolchain && $2 == what { $3 = count; found = 1 }
		{ print }
		END { if (!found) print toolchain, what, count }' "$here/figures" >"$dir/figures"
	cat "$dir/figures" >"$here/figures"
	echo "# recorded"
}

# within COUNT FIGURE: says the limit, and when the figure has become too easy.
within()
{
	local most=$(($2 * (100 + MARGIN) / 100))

	echo "# at most $most: $2 was recorded for this toolchain"
	[ $(($1 * 100)) -ge $(($2 * (100 - MARGIN))) ] || echo "# less than recorded: --record keeps it so"
	[ "$1" -le "$most" ]
}

# which_limits TOOLCHAIN: says what is judged by.
which_limits()
{
	if grep -q "^$1 " "$here/figures"; then
		echo "# known toolchain, margin $MARGIN %: $1"
	else
		echo "# unknown toolchain, wide margin: $1"
	fi
}

# verdict OK NUMBER NAME
verdict()
{
	if [ "$1" = yes ]; then
		echo "ok $2 $3"
	else
		echo "not ok $2 $3"
		failed=1
	fi
}
