# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# What the end-to-end tests share: a directory for each test, a configuration in it, kekd started
# and stopped, words for what is expected, and KTAP.
#
# A test program defines functions named test_… and ends with `run_tests "$@"`; each function runs
# in a subshell of its own with `set -e` and a fresh directory, and its output is shown if it fails.
# With arguments only the tests named are run; -l lists them.
#
#   BUILD    where kekd, kekctl and the helpers are (default: build)
#   BACKEND  kernel or holder; default: kernel where this kernel has AF_ALG
#   CUSTODY  of backend kernel: serial (default) or value; of the other: holder
#   RING     auto (default), io_uring or epoll
#
# Nothing here waits for an amount of time: await() asks until the answer is yes, and its bound is
# only there so that a test that is going to fail ends.

set -uo pipefail

E2E_HERE=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
# shellcheck source=scripts/lib/common.sh
. "$E2E_HERE/../../scripts/lib/common.sh"

BUILD=$(readlink -f "${BUILD:-$E2E_HERE/../../build}")
RING=${RING:-auto}
# shellcheck disable=SC2034 # for the tests
HELPERS=$BUILD/tests/e2e

# Seconds that await() asks for at most; a test under emulation on a busy machine is slow.
E2E_WAIT=${E2E_WAIT:-60}

# The server's user: a number that needs no entry anywhere.
SERVER_UID=61234

for E2E_COMMAND in jq setpriv; do
	command -v "$E2E_COMMAND" >/dev/null || need_packages "${E2E_COMMAND/setpriv/util-linux}"
done

if [ -z "${BACKEND:-}" ]; then
	BACKEND=holder
	! has_af_alg || BACKEND=kernel
fi
case $BACKEND in
kernel) CUSTODY=${CUSTODY:-serial} ;;
holder) CUSTODY=holder ;;
*)
	echo "BACKEND is kernel or holder" >&2
	exit 2
	;;
esac

# Of the test that runs: its directory, the two sockets in it, the daemon.
dir='' sock='' admin='' keeper=''

# --- words -----------------------------------------------------------------------------------

# fail TEXT...: ends the test.
fail()
{
	echo "failed: $*"
	exit 1
}

# skip TEXT...: ends the test, which then counts for nothing.
skip()
{
	echo "$*" >"$dir/skip"
	exit 4
}

# lacks FACILITY TEXT...: the same, but a failure where KTEST_REQUIRE lists the facility (tests/harness/run --require).
lacks()
{
	[[ ,${KTEST_REQUIRE:-}, != *",$1,"* ]] || fail "KTEST_REQUIRE lists $1: ${*:2}"
	skip "${@:2}"
}

# await COMMAND...: returns when it succeeds.
await()
{
	local end=$((SECONDS + E2E_WAIT))

	until "$@"; do
		[ "$SECONDS" -lt "$end" ] || fail "waited ${E2E_WAIT} s for: $*"
		sleep 0.05
	done
}

# same EXPECTED SEEN [WHAT]
same()
{
	[ "$1" = "$2" ] || fail "${3:-value}: expected '$1', seen '$2'"
}

# exits STATUS COMMAND...: its output, both streams, is in $dir/out.
exits()
{
	local want=$1 got=0

	shift
	"$@" >"$dir/out" 2>&1 || got=$?
	[ "$got" -eq "$want" ] || fail "exit status $got, expected $want: $*: $(cat "$dir/out")"
}

# says TEXT [FILE]: the text is in it; default is the output of exits().
says()
{
	grep -qF -- "$1" "${2:-$dir/out}" || fail "'$1' is not in: $(tail -n 20 "${2:-$dir/out}")"
}

# says_not TEXT [FILE]
says_not()
{
	! grep -qF -- "$1" "${2:-$dir/out}" || fail "'$1' is in: $(tail -n 20 "${2:-$dir/out}")"
}

# refused STATUS COMMAND...: kekctl reports this gRPC status.
refused()
{
	local status=$1

	shift
	exits 1 "$@"
	says "refused, $status:"
}

# absent FILE...
absent()
{
	local file

	for file; do
		[ ! -e "$file" ] || fail "$file exists"
	done
}

# sockets FILE...: all of them are.
sockets()
{
	local file

	for file; do
		[ -S "$file" ] || fail "$file is not a socket"
	done
}

# --- configuration ---------------------------------------------------------------------------

write_encryption()
{
	cat >"$dir/encryption.yaml" <<-'END'
		apiVersion: apiserver.config.k8s.io/v1
		kind: EncryptionConfiguration
		resources:
		- resources:
		  - secrets
		  providers:
		  - aesgcm:
		      keys:
		      - name: primary
	END
}

write_config()
{
	cat >"$dir/kekd.yaml" <<-END
		socket: $sock
		allowedPeers:
		  uids: [$(id -u)]
		admin:
		  socket: $admin
		encryptionConfig: $dir/encryption.yaml
		custody: $CUSTODY
		ring: $RING
		keyStore: $dir/keys
		rootKey:
		  source: ephemeral
		server:
		  user: $SERVER_UID
	END
}

# edit FILE SED-SCRIPT: changes a file, and fails if that changes nothing.
edit()
{
	cp "$1" "$1.before"
	sed -i "$2" "$1"
	! cmp -s "$1" "$1.before" || fail "sed '$2' changes nothing in $1"
	rm "$1.before"
}

edit_config()
{
	edit "$dir/kekd.yaml" "$1"
}

need_kernel()
{
	[ "$BACKEND" = kernel ] || lacks afalg "needs AF_ALG"
}

need_serial()
{
	need_kernel
	has_af_alg || lacks afalg "this kernel does not take keys by serial"
}

# custody WORD: the configuration says it.
custody()
{
	sed -i '/^custody:/d' "$dir/kekd.yaml"
	echo "custody: $1" >>"$dir/kekd.yaml"
}

# root_command SCRIPT-TEXT: the root key is what this shell script prints.
root_command()
{
	printf '#!/bin/sh\n%s\n' "$1" >"$dir/root"
	chmod 0700 "$dir/root"
	grep -q 'source: command' "$dir/kekd.yaml" ||
		edit_config "s|^  source: ephemeral|  source: command\\n  command: [$dir/root]|"
}

# A root key that is the same after a restart.
stable_root()
{
	root_command 'printf %s 0123456789abcdef0123456789abcdef'
}

# signed KIND SCRIPT FILE: that file of a key store, changed by sed's SCRIPT, under the MAC of stable_root's root key.
signed()
{
	local root text mac

	root=$(sed -n 's/^mac \([0-9a-f]*\) .*/\1/p' "$3")
	text=$(sed "/^mac /d; $2" "$3")
	mac=$({ printf '%s\0' "$1" && openssl dgst -sha256 -binary <<<"$text"; } |
		openssl dgst -sha256 -hmac 0123456789abcdef0123456789abcdef | sed 's/.* //')
	printf '%s\n' "$text" "mac $root $mac" >"$3"
}

# counts_say DIR KEY-ID N: the file that a stopped node has left says that it has encrypted N messages under that key, as
# if it had.
counts_say()
{
	signed "kekd-counts 2" "s/^key $2 [0-9]*/key $2 $3/" "$1/counts"
	grep -q "^key $2 $3 " "$1/counts" || fail "no line of $2 in $1/counts"
}

# retry_root: the root key command runs again now, unless kekd has just tried by itself.
retry_root()
{
	ctl unseal --retry >"$dir/out" 2>&1 || says "not sealed: the root key is loaded"
}

# --- the daemon ------------------------------------------------------------------------------

ctl()
{
	"$BUILD/kekctl" --admin "$admin" "$@"
}

# fields NAME: the values that fields of this name have in kekctl's JSON, from standard input, a line
# each. For what is asked often: jq, which takes half a second under emulation, is left to the tests of
# the JSON.
fields()
{
	local line

	while read -r line; do
		if [[ $line =~ ^\"$1\":\ \"?([^\"]*)\"?,?$ ]]; then
			echo "${BASH_REMATCH[1]%,}"
		fi
	done
}

# status_field NAME: of `kekctl status --json`, whose exit status says more than it here.
status_field()
{
	{ ctl --json status 2>/dev/null || true; } | fields "$1"
}

# started N: kekd serves, and with its Nth server.
started()
{
	[ "$(status_field serverStarts)" = "$1" ] && is_serving
}

alive()
{
	kill -0 "$1" 2>/dev/null
}

gone()
{
	! alive "$1"
}

is_serving()
{
	alive "$keeper" || fail "kekd ended: $(cat "$dir/log")"
	[ "$(status_field serving)" = true ]
}

is_sealed()
{
	[ "$(status_field sealed)" = true ]
}

is_unsealed()
{
	[ "$(status_field sealed)" = false ]
}

# More arguments for kekd, set by a test.
kekd_args=()

# launch: starts kekd and does not wait.
launch()
{
	"$BUILD/kekd" --config "$dir/kekd.yaml" "${kekd_args[@]}" </dev/null >"$dir/stdout" 2>>"$dir/log" &
	keeper=$!
}

# start: returns when kekd serves.
start()
{
	launch
	await is_serving
}

# ended STATUS: kekd ends by itself, with this status.
ended()
{
	local got=0

	await gone "$keeper"
	wait "$keeper" || got=$?
	keeper=''
	[ "$got" -eq "$1" ] || fail "kekd: exit status $got, expected $1: $(cat "$dir/log")"
}

# stop: SIGTERM, and kekd must end well.
stop()
{
	kill -TERM "$keeper"
	ended 0
}

# After start: kekd has cut its limits to what may be locked here.
limits_are_cut()
{
	grep -q 'the limit on locked memory, .* is less than' "$dir/log"
}

# After start: the default limits are meant, and on some hosts no process can lock as much.
enough_memory()
{
	! limits_are_cut ||
		skip "RLIMIT_MEMLOCK is too low for the default limits and cannot be raised here"
}

# does_not_start TEXT...: kekd ends with 1 and says all of this; sockets and key store do not exist.
does_not_start()
{
	local text

	launch
	ended 1
	for text; do
		says "$text" "$dir/log"
	done
	absent "$sock" "$admin"
}

server_pid()
{
	status_field serverPid
}

# clock_ahead realtime|monotonic SECONDS: of kekd that with_clocks() started (preload/clocks.c).
clock_ahead()
{
	local i hex at=0

	[ -e "$dir/clocks" ] || truncate -s 16 "$dir/clocks"
	chmod 0644 "$dir/clocks"
	[ "$1" = realtime ] || at=1
	printf -v hex '%016x' "$2"
	for i in 14 12 10 8 6 4 2 0; do
		printf '%b' "\\x${hex:i:2}"
	done | dd of="$dir/clocks" bs=8 seek="$at" conv=notrunc status=none iflag=fullblock
}

# with_clocks COMMAND...: it starts a kekd whose clocks are right until a test says otherwise.
with_clocks()
{
	[ -e "$dir/clocks" ] || clock_ahead realtime 0
	KEKD_CLOCKS=$dir/clocks LD_PRELOAD=$HELPERS/clocks.so \
		ASAN_OPTIONS=${ASAN_OPTIONS:-}:verify_asan_link_order=0 "$@"
}

# --- a KMS client ----------------------------------------------------------------------------

# wrap TEXT [FILE]: Encrypt into a file, by default $dir/wrapped.
wrap()
{
	printf '%s' "$1" | ctl encrypt >"${2:-$dir/wrapped}"
}

# opens TEXT [FILE]: Decrypt gives TEXT.
opens()
{
	local seen

	seen=$(ctl decrypt <"${2:-$dir/wrapped}") || fail "cannot decrypt"
	same "$1" "$seen" plaintext
}

# --- documents -------------------------------------------------------------------------------

# note_commands NOTE SECTION: the commands that a section of kmod-notes/NOTE shows, a line each.
note_commands()
{
	awk -v section="## $2" '/^## / { on = $0 == section } /^```/ { sh = $0 == "```sh"; next } on && sh' \
		"$E2E_HERE/../../kmod-notes/$1"
}

# --- KTAP ------------------------------------------------------------------------------------

# Names of the test functions in the order of the file.
list_tests()
{
	local file=$1

	sed -n 's/^\(test_[a-z0-9_]*\)()$/\1/p' "$file"
}

# Ends what a test has left behind; its exit status stays.
clean_up()
{
	local status=$? pid

	set +e
	for pid in $(jobs -p) $keeper; do
		kill -KILL "$pid"
	done 2>/dev/null
	wait 2>/dev/null
	! mountpoint -q "$dir/keys" || { fsfreeze -u "$dir/keys"; umount -l "$dir/keys"; } 2>/dev/null
	exit "$status"
}

# The body of a test's subshell.
run_one()
{
	trap clean_up EXIT
	sock=$dir/kms.sock admin=$dir/admin.sock
	write_config
	write_encryption
	set -e
	"$1"
}

show_failure()
{
	sed 's/^/# /' "$dir/output"
	[ ! -s "$dir/log" ] || sed 's/^/# kekd: /' "$dir/log"
}

run_tests()
{
	local program tests=() test name number=0 failed=0 skipped=0 status

	program=e2e.$(basename "$0")
	mapfile -t tests < <(list_tests "$0")
	if [ "${1:-}" = -l ]; then
		printf '%s\n' "${tests[@]#test_}"
		return 0
	fi
	[ $# -eq 0 ] || tests=("${@/#/test_}")
	E2E_WORK=$(mktemp -d "${TMPDIR:-/tmp}/kekd-e2e.XXXXXX")
	trap 'rm -rf "$E2E_WORK"' EXIT
	echo "KTAP version 1"
	echo "1..${#tests[@]}"
	for test in "${tests[@]}"; do
		number=$((number + 1)) name=$program.${test#test_} status=0
		dir=$E2E_WORK/$number
		mkdir -m 0700 "$dir"
		: >"$dir/log"
		(run_one "$test") >"$dir/output" 2>&1 </dev/null
		status=$?
		if [ "$status" -eq 0 ]; then
			echo "ok $number $name"
		elif [ "$status" -eq 4 ] && [ -e "$dir/skip" ]; then
			skipped=$((skipped + 1))
			echo "ok $number $name # SKIP $(cat "$dir/skip")"
		else
			failed=$((failed + 1))
			show_failure
			echo "not ok $number $name"
		fi
		rm -rf "$dir"
	done
	[ "$failed" -eq 0 ] || return 1
	[ "$skipped" -lt "$number" ] || return 4
}
