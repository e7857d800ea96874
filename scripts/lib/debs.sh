# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# Debian packages of any suite, unpacked into a private root.  The machine's own
# package state is read (mirror, proxy, archive keyring) and never written.
#
# Each suite has an apt of its own in the cache: sources made at run time from the mirror that
# the machine's apt is configured with, own lists, own archives and an empty dpkg status, so
# that a dependency closure is complete and does not depend on what is installed here.  apt
# verifies signatures and hashes; `dpkg-deb` unpacks; no maintainer script runs, so packages of
# another architecture are unpacked as well as the machine's.
#
# A root is built beside its final place and renamed into it under a lock: it is whole or absent.
# Its stamp holds the request, the packages with their sha256, and a digest over the tree's
# names, sizes and times; a root whose stamp fits is used without touching the network.
#
# Source after common.sh.  Entry point: debs_root.

DEBS_KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg
DEBS_INDEX_HOURS=12

# What debs_root returns when the suite has no such package, as against "cannot be fetched".
DEBS_NOT_FOUND=3

# The request, set by debs_root and read by the functions below it.
debs_suite=
debs_arch=
debs_deps=
debs_symbols=
debs_wanted=()
debs_excluded=()

# --- mirror and sources ----------------------------------------------------------------------

# "BASE SUITE" of every archive in the machine's apt sources.  apt itself reads them, so both
# formats and any option in them are understood, with or without downloaded lists.
debs_machine_archives()
{
	local none

	none=$(mktemp -d)
	apt-get update --print-uris -o Dir::State::lists="$none" -o Debug::NoLocking=1 2>/dev/null |
		sed -n "s|^'\(.*\)/dists/\(.*\)/InRelease' .*|\1 \2|p"
	rm -rf "$none"
}

# The base of the machine's Debian mirror: the archive that carries CODENAME-updates, which no
# third-party archive does; else the first one with a Debian suite's name.
debs_mirror()
{
	debs_machine_archives | awk '
		$2 ~ /^[a-z]+-updates$/ && !best { best = $1 }
		$2 ~ /^(bookworm|trixie|forky|sid|stable|testing|unstable)$/ && !any { any = $1 }
		END { if (best == "") best = any; if (best == "") exit 1; print best }' ||
		die "no Debian mirror in this machine's apt sources"
}

# The security archive: the machine's own, or the mirror's neighbour of that name.
debs_security_mirror()
{
	local own

	own=$(debs_machine_archives | awk '$2 ~ /-security$/ && !seen++ { print $1 }')
	if [ -n "$own" ]; then
		echo "$own"
	else
		debs_mirror | sed 's|/debian/*$|/debian-security|'
	fi
}

# The lines of sources.list for debs_suite.  A stable suite brings its updates and its security
# fixes; backports also bring the suite they are built for.
debs_sources()
{
	local keyring=$1 mirror security base=${debs_suite%-backports}
	local option="signed-by=$keyring"

	mirror=$(debs_mirror)
	case $base in
	sid | unstable | experimental)
		echo "deb [$option check-valid-until=no] $mirror $debs_suite main"
		return
		;;
	esac
	security=$(debs_security_mirror)
	echo "deb [$option] $mirror $base main"
	echo "deb [$option] $mirror $base-updates main"
	echo "deb [$option] $security $base-security main"
	[ "$base" = "$debs_suite" ] || echo "deb [$option] $mirror $debs_suite main"
}

# --- the private apt -------------------------------------------------------------------------

# The machine's own unless the request says otherwise.
debs_architecture()
{
	echo "${debs_arch:-$(dpkg --print-architecture)}"
}

debs_apt_dir()
{
	echo "$(cache_dir)/apt/$debs_suite${debs_arch:+-$debs_arch}"
}

# The machine's apt configuration stays in force (proxies), minus what would act on the machine:
# hooks, preferences, a default release.  Containers are told to keep no index of the lists, which each
# call would then make anew.
debs_write_apt_conf()
{
	local dir=$1 status=$2 release=

	# Backports are NotAutomatic: without this apt would prefer the older version.
	[ "$debs_suite" = "${debs_suite%-backports}" ] || release=$debs_suite
	cat <<-END
		#clear APT::Update::Pre-Invoke;
		#clear APT::Update::Post-Invoke;
		#clear APT::Update::Post-Invoke-Success;
		#clear DPkg::Pre-Invoke;
		#clear DPkg::Post-Invoke;
		#clear DPkg::Pre-Install-Pkgs;
		#clear APT::Architectures;
		APT::Architecture "$(debs_architecture)";
		APT::Architectures { "$(debs_architecture)"; };
		APT::Default-Release "$release";
		APT::Install-Recommends "false";
		APT::Install-Suggests "false";
		APT::Sandbox::User "$(id -un)";
		Acquire::Languages "none";
		Acquire::Retries "5";
		Dir::State "$dir/state";
		Dir::State::status "$status";
		Dir::Cache "$dir/cache";
		Dir::Cache::pkgcache "pkgcache.bin";
		Dir::Cache::srcpkgcache "srcpkgcache.bin";
		Dir::Etc::SourceList "$dir/sources.list";
		Dir::Etc::SourceParts "/dev/null";
		Dir::Etc::Preferences "/dev/null";
		Dir::Etc::PreferencesParts "/dev/null";
	END
}

# debs_apt APT-COMMAND ARG...: apt-get or apt-cache on the private state.
debs_apt()
{
	local tool=$1

	shift
	"$tool" -c="$(debs_apt_dir)/apt.conf" "$@"
}

# Progress bars only where a person watches.
debs_quiet()
{
	if [ -t 2 ]; then
		echo -q=0
	else
		echo -qq
	fi
}

debs_setup_apt()
{
	local dir keyring=$1

	dir=$(debs_apt_dir)
	mkdir -p "$dir"/state/lists/partial "$dir"/cache/archives/partial
	: >"$dir/status"
	debs_sources "$keyring" >"$dir/sources.list"
	debs_write_apt_conf "$dir" "$dir/status" >"$dir/apt.conf"
}

debs_index_is_fresh()
{
	local dir

	dir=$(debs_apt_dir)
	[ -f "$dir/updated" ] && cmp -s "$dir/sources.list" "$dir/updated" &&
		[ -n "$(find "$dir/updated" -mmin -$((DEBS_INDEX_HOURS * 60)))" ]
}

debs_try_update()
{
	local dir log

	dir=$(debs_apt_dir)
	log=$dir/update.log
	debs_apt apt-get "$(debs_quiet)" update --error-on=any 2>&1 >&2 | tee "$log" >&2 ||
		return 1
	cp "$dir/sources.list" "$dir/updated"
}

# The machine's keyring may be older than the suite: the newest debian-archive-keyring of the
# machine's own suite, verified by the machine's keyring, knows the newer keys.
debs_newer_keyring()
{
	local root

	# shellcheck source=/dev/null
	root=$(. /etc/os-release &&
		debs_root --suite "${VERSION_CODENAME:?}" --name keyring debian-archive-keyring) ||
		return 1
	echo "$root$DEBS_KEYRING"
}

# debs_update [force]: package lists of debs_suite, at most DEBS_INDEX_HOURS old.
debs_update()
{
	local try keyring=$DEBS_KEYRING

	debs_setup_apt "$keyring"
	[ -z "${1:-}" ] && debs_index_is_fresh && return 0
	progress "reading the package lists of $debs_suite"
	for try in 1 2 3; do
		debs_try_update && return 0
		if grep -qE 'NO_PUBKEY|Missing key' "$(debs_apt_dir)/update.log"; then
			keyring=$(debs_newer_keyring) || break
			debs_setup_apt "$keyring"
		fi
		note "package lists of $debs_suite failed (try $try of 3)"
	done
	die "cannot read the package lists of $debs_suite"
}

# --- resolution ------------------------------------------------------------------------------

# latest:META, the package that META depends on first; newest:GLOB, the newest package whose
# name fits; otherwise the name itself.  Prints nothing when the suite has no such package.
debs_find_name()
{
	local regex

	case $1 in
	latest:*)
		debs_apt apt-cache depends "${1#latest:}" 2>/dev/null |
			awk '$1 == "Depends:" && !seen++ { print $2 }'
		;;
	newest:*)
		regex=$(sed 's/[.+]/\\&/g; s/\*/.*/g' <<<"${1#newest:}")
		debs_apt apt-cache search --names-only "^$regex\$" | cut -d' ' -f1 |
			grep -Ev -- '-(dbg|unsigned)$' | sort -V | tail -n 1
		;;
	*)
		debs_apt apt-cache show --no-all-versions "$1" 2>/dev/null | sed -n 's/^Package: //p'
		;;
	esac
}

debs_resolve_name()
{
	local name

	name=$(debs_find_name "$1") || true
	if [ -z "$name" ]; then
		verbose "nothing in $debs_suite fits $1"
		return "$DEBS_NOT_FOUND"
	fi
	echo "$name"
}

# An excluded package passes for installed, in the suite's version: nothing pulls it in, and
# nothing that only it depends on.
debs_write_status()
{
	local pkg version

	for pkg in ${debs_excluded[@]+"${debs_excluded[@]}"}; do
		version=$(debs_apt apt-cache policy "$pkg" | awk '$1 == "Candidate:" { print $2 }')
		if [ -z "$version" ] || [ "$version" = "(none)" ]; then
			verbose "$debs_suite has no $pkg to exclude"
			continue
		fi
		cat <<-END
			Package: $pkg
			Status: hold ok installed
			Architecture: $(debs_architecture)
			Multi-Arch: foreign
			Maintainer: none
			Version: $version
			Description: excluded

		END
	done
}

# NAME=VERSION of every package to unpack, one a line.
debs_resolve()
{
	local pkg name names=() status

	for pkg in "${debs_wanted[@]}"; do
		name=$(debs_resolve_name "$pkg") || return
		names+=("$name")
	done
	if [ -z "$debs_deps" ]; then
		printf '%s\n' "${names[@]}"
		return
	fi
	status=$(debs_apt_dir)/status.$BASHPID
	debs_write_status >"$status"
	debs_apt apt-get -qq -s -o Dir::State::status="$status" install "${names[@]}" |
		sed -n 's/^Inst \([^ ]*\) (\([^ ]*\) .*/\1=\2/p'
	rm -f "$status"
}

# "FILE BYTES HASH" of the packages in $1 (as debs_resolve prints them).
debs_list_files()
{
	xargs <"$1" "$(command -v apt-get)" -c="$(debs_apt_dir)/apt.conf" -qq --print-uris download |
		awk '{ print $2, $3, $4 }' | LC_ALL=C sort
}

# --- download and unpack ---------------------------------------------------------------------

# Fetches into $2 the packages in file $1.  apt skips what is there and right already.
debs_download()
{
	local list=$1 dir=$2 size

	size=$(debs_list_files "$list" | awk '{ n += $2 } END { printf "%.1f", n / 1e6 }')
	progress "downloading $(wc -l <"$list") packages of $debs_suite, $size MB"
	(cd "$dir" && xargs <"$list" "$(command -v apt-get)" -c="$(debs_apt_dir)/apt.conf" \
		"$(debs_quiet)" download >&2)
}

# Debian's directories have been merged into /usr since trixie; older packages fit in too.
debs_merge_usr()
{
	local root=$1 dir

	for dir in bin sbin lib lib64; do
		mkdir -p "$root/usr/$dir"
		ln -s "usr/$dir" "$root/$dir"
	done
}

debs_unpack()
{
	local from=$1 root=$2 deb

	debs_merge_usr "$root"
	for deb in "$from"/*.deb; do
		dpkg-deb --fsys-tarfile "$deb" |
			tar -x -C "$root" --keep-directory-symlink --no-same-owner || return 1
		[ -z "$debs_symbols" ] || debs_keep_symbols "$deb" "$root"
	done
}

# What a package tells dpkg-shlibdeps(1) of its libraries, which takes it from there with -S and the root.
debs_keep_symbols()
{
	local file

	mkdir -p "$2/DEBIAN"
	for file in symbols shlibs; do
		dpkg-deb --info "$1" "$file" >>"$2/DEBIAN/$file" 2>/dev/null || true # few packages have them
	done
}

# --- stamps ----------------------------------------------------------------------------------

debs_request()
{
	printf 'suite %s deps %s\n' "$debs_suite${debs_arch:+ $debs_arch}${debs_symbols:+ symbols}" "${debs_deps:-no}"
	printf 'package %s\n' "${debs_wanted[@]}"
	printf 'exclude %s\n' ${debs_excluded[@]+"${debs_excluded[@]}"}
}

# Names, types, sizes, times and link targets of a tree; directories' sizes and times are noise.
debs_tree_digest()
{
	(cd "$1" && find . -mindepth 1 ! -name .kekd-stamp \
		\( -type d -printf '%p d\n' -o -printf '%p %y %s %T@ %l\n' \)) |
		LC_ALL=C sort | sha256sum | cut -d' ' -f1
}

debs_root_is_good()
{
	local stamp=$1/.kekd-stamp

	[ -f "$stamp" ] && [ "$(sed '/^$/,$d' "$stamp")" = "$(debs_request)" ] &&
		[ "$(tail -n 1 "$stamp")" = "tree $(debs_tree_digest "$1")" ]
}

debs_write_stamp()
{
	local list=$1 root=$2

	{
		debs_request
		echo
		debs_list_files "$list"
		echo "tree $(debs_tree_digest "$root")"
	} >"$root/.kekd-stamp"
}

# --- putting it together ---------------------------------------------------------------------

debs_fetch_once()
{
	local work=$1 lists=$2

	rm -rf "$work"
	mkdir -p "$work/debs" "$work/root"
	with_lock "$(debs_apt_dir).lock" debs_update "$lists" || return
	debs_resolve >"$work/list" || return
	debs_download "$work/list" "$work/debs"
}

# Each try starts clean, and with new lists from the second on: a mirror drops what it has
# superseded, and a package may be newer than the lists.
debs_fetch()
{
	local work=$1 try status lists=''

	for try in 1 2 3; do
		status=0
		debs_fetch_once "$work" "$lists" || status=$?
		[ "$status" -ne 0 ] || return 0
		[ "$status" -ne "$DEBS_NOT_FOUND" ] || [ -z "$lists" ] || break
		verbose "try $try of 3 failed"
		lists=force
	done
	rm -rf "$work"
	[ "$status" -ne "$DEBS_NOT_FOUND" ] ||
		die "-$status" "$debs_suite has no package that fits: ${debs_wanted[*]}"
	die "cannot fetch ${debs_wanted[*]} from $debs_suite"
}

# Under the root's lock.
debs_build()
{
	local root=$1 work=$2

	debs_fetch "$work"
	progress "unpacking ${root##*/}"
	debs_unpack "$work/debs" "$work/root" || die "cannot unpack ${root##*/}"
	debs_write_stamp "$work/list" "$work/root" || die "cannot write the stamp of ${root##*/}"
	rm -rf "$root"
	mv "$work/root" "$root" || die "cannot put $root in place"
	rm -rf "$work"
}

debs_ensure()
{
	local root=$1

	[ -z "$debs_refresh" ] && debs_root_is_good "$root" && return 0
	[ ! -d "$root" ] || [ -n "$debs_refresh" ] ||
		note "${root##*/} is damaged or was asked for otherwise, rebuilding"
	debs_build "$root" "${root%/*}/.${root##*/}.work"
}

debs_parse()
{
	debs_suite='' debs_arch='' debs_name='' debs_deps='' debs_symbols='' debs_refresh='' debs_wanted=() debs_excluded=()
	while [ $# -gt 0 ]; do
		case $1 in
		--suite)
			debs_suite=${2:?}
			shift
			;;
		--arch)
			debs_arch=${2:?}
			shift
			;;
		--name)
			debs_name=${2:?}
			shift
			;;
		--exclude)
			debs_excluded+=("${2:?}")
			shift
			;;
		--deps)
			debs_deps=yes
			;;
		--symbols)
			debs_symbols=yes
			;;
		--refresh)
			debs_refresh=yes
			;;
		-*)
			return 1
			;;
		*)
			debs_wanted+=("$1")
			;;
		esac
		shift
	done
	[ -n "$debs_suite" ] && [ ${#debs_wanted[@]} -gt 0 ]
}

# debs_root --suite SUITE [--arch ARCH] [--name NAME] [--deps] [--symbols] [--exclude PKG]... [--refresh] PKG...
# Prints the path of the unpacked root.  Returns 2 on bad usage, DEBS_NOT_FOUND when the suite
# has no such package, 1 when it cannot be fetched.  Runs in a subshell: it leaves no variable behind.
debs_root()
(
	local root

	debs_parse "$@" || return 2
	[ -n "$debs_name" ] ||
		debs_name=$debs_suite-$(debs_request | sha256sum | cut -c1-12)
	root=$(cache_dir)/roots/$debs_name
	mkdir -p "${root%/*}"
	with_lock "${root%/*}/.$debs_name.lock" debs_ensure "$root" || return
	echo "$root"
)
