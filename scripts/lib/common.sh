# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# Helpers shared by the scripts: messages, the cache directory, host packages,
# small C helpers compiled on demand, and the probe for AF_ALG.
#
# Sourced with `set -euo pipefail` in force.  Everything meant for a person goes
# to stderr; stdout carries results only.

KEKD_LIB=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
KEKD_SELF=$(basename "$0")

# Set by a script's --verbose.
KEKD_VERBOSE=${KEKD_VERBOSE:-}

note()
{
	printf '%s: %s\n' "$KEKD_SELF" "$*" >&2
}

verbose()
{
	[ -z "$KEKD_VERBOSE" ] || note "$@"
}

# die [-STATUS] MESSAGE...
die()
{
	local status=1

	case $1 in
	-[0-9]*)
		status=${1#-}
		shift
		;;
	esac
	note "$@"
	exit "$status"
}

# One readable line per step that may take a while.
progress()
{
	printf '%s: %s ...\n' "$KEKD_SELF" "$*" >&2
}

# The directory for everything downloaded or slow to build; created when missing.
cache_dir()
{
	local dir=${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/kekd

	mkdir -p "$dir"
	readlink -f "$dir"
}

# with_lock FILE COMMAND...: one holder at a time across processes.  COMMAND runs in a subshell,
# whose end gives the lock back.
with_lock()
(
	lock=$1
	shift
	mkdir -p "$(dirname "$lock")"
	exec {fd}>"$lock"
	if ! flock -n "$fd"; then
		verbose "waiting for $lock"
		flock "$fd"
	fi
	"$@"
)

as_root()
{
	if [ "$(id -u)" -eq 0 ]; then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo "$@"
	else
		die "need root for: $*"
	fi
}

package_installed()
{
	[ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

install_packages()
{
	as_root env DEBIAN_FRONTEND=noninteractive apt-get -y -qq -o Dpkg::Use-Pty=0 \
		-o Acquire::Retries=5 -o DPkg::Lock::Timeout=300 \
		install --no-install-recommends "$@" >&2
}

refresh_package_lists()
{
	as_root apt-get -qq -o Acquire::Retries=5 -o DPkg::Lock::Timeout=300 update >&2
}

# need_packages PKG...: the Debian packages named are installed on this host when it returns.
need_packages()
{
	local pkg missing=()

	for pkg; do
		package_installed "$pkg" || missing+=("$pkg")
	done
	[ ${#missing[@]} -gt 0 ] || return 0
	progress "installing ${missing[*]}"
	install_packages "${missing[@]}" 2>/dev/null && return 0
	# A fresh machine has no package lists, an old one stale lists.
	refresh_package_lists
	install_packages "${missing[@]}" || die "cannot install ${missing[*]}"
}

# build_tool SOURCE [CFLAG | SOURCE]...: prints the path of the compiled program, built once per
# sources (with all that they include), flags and compiler. TOOL_CC is another compiler than gcc.
build_tool()
{
	local src=$1 compiler=${TOOL_CC:-gcc} name hash out

	shift
	need_packages gcc libc6-dev
	name=$(basename "$src" .c)
	hash=$({ "$compiler" -E -P "$@" "$src" && echo "$@" && "$compiler" --version; } | sha256sum | cut -c1-16)
	out=$(cache_dir)/tools/$name-$hash
	if [ ! -x "$out" ]; then
		mkdir -p "${out%/*}"
		"$compiler" -std=gnu17 -O2 -Wall -Wextra -Wshadow -Wconversion -Werror "$@" \
			-o "$out.$$" "$src" || die "cannot compile $src"
		mv -f "$out.$$" "$out"
	fi
	echo "$out"
}

# af_alg_takes serial|value: succeeds when this kernel, asked by this process, binds ecb(aes) over AF_ALG
# and takes its key so.  With --verbose it says what is missing.
af_alg_takes()
{
	local probe why

	probe=$(build_tool "$KEKD_LIB/afalg_probe.c") || return 1
	if why=$("$probe" "$1" 2>&1); then
		return 0
	fi
	verbose "this kernel cannot serve: $why"
	return 1
}

# What kekd needs unless it is told to do with less.
has_af_alg()
{
	af_alg_takes serial
}
