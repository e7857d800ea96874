# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# Go programs of the tests, against packages of Debian sid that are unpacked into a private root;
# nothing is installed. The packages are in GOPATH form, so there is no module and no network after
# they are there. The binaries are static and run anywhere, in a guest too.
#
# Cache: one directory per hash of the sources and of what the packages were (stamp of the root).
# Its file `sums` holds the sha256 of the binaries and is written last, so a directory is good or
# is built again. A missing root is no reason to build: whoever keeps only the binaries keeps all.
#
# Sourced after common.sh. Before go_build_main, the caller sets
#
#   go_here      the folder with the sources, one folder a program
#   go_name      names the binaries in the cache, and the root
#   go_root      or the root is that of another folder, and this is its name
#   go_programs  what to build
#   go_packages  files with the packages that are enough, a line each: fast to fetch
#   go_closure   packages whose whole dependencies are, when the lists are out of date
#
# shellcheck disable=SC2154 # set by the caller

usage()
{
	cat <<'END'
usage: build [--check | --clean]

  --check   run gofmt and go vet over the sources instead
  --clean   forget the binaries and the compiler's cache; the packages stay
END
}

# Every file that decides what is built, by name and content.
source_hash()
{
	{
		(cd "$go_here" && sha256sum build "${go_packages[@]}" ./*/*.go)
		sha256sum <"$KEKD_LIB/gobuild.sh"
	} | sha256sum | cut -c1-16
}

is_done()
{
	[ -f "$1/sums" ] && (cd "$1" && sha256sum --quiet --strict -c sums) >/dev/null 2>&1
}

# The hashes of the stamps of the roots that are here.
root_hashes()
{
	local stamp

	for stamp in "$cache/roots/${go_root:-$go_name}/.kekd-stamp" \
		"$cache/roots/${go_root:-$go_name}-all/.kekd-stamp"; do
		[ ! -f "$stamp" ] || stamp_hash "$stamp"
	done
}

# good_bin: prints the directory of good binaries built from these sources and, if there is a
# root, from a root that is here.
good_bin()
{
	local dir roots

	roots=$(root_hashes)
	for dir in "$bins/$(source_hash)-"*; do
		if [ -n "$roots" ] && ! grep -qxF "${dir##*-}" <<<"$roots"; then
			continue
		fi
		if is_done "$dir"; then
			echo "$dir"
			return 0
		fi
	done
	return 1
}

stamp_hash()
{
	sha256sum <"$1" | cut -c1-16
}

listed_packages()
{
	(cd "$go_here" && cat "${go_packages[@]}") | grep -v '^#'
}

# fetch_root: prints a root in which the programs' imports are complete.
fetch_root()
{
	local root packages missing

	mapfile -t packages < <(listed_packages)
	if root=$("$KEKD_LIB/../fetch-debs" --suite sid --name "${go_root:-$go_name}" \
		"${packages[@]}"); then
		missing=$(missing_imports "$root")
		if [ -z "$missing" ]; then
			echo "$root"
			return
		fi
		note "the list of packages lacks ${missing//$'\n'/ }"
	fi
	note "the list of packages is out of date, taking all dependencies"
	"$KEKD_LIB/../fetch-debs" --suite sid --name "${go_root:-$go_name}-all" --deps "${go_closure[@]}"
}

# The toolchain of the root, whatever its version, cut off from the machine's Go and from the network.
go_run()
{
	local root=$1 goroot

	shift
	goroot=$(printf '%s\n' "$root"/usr/lib/go-[0-9]* | sort -V | tail -n 1)
	env -u GOFLAGS -u GOEXPERIMENT -u GOTOOLDIR \
		GOROOT="$goroot" GOPATH="$root/usr/share/gocode" GO111MODULE=off GOENV=off \
		GOTOOLCHAIN=local GOPROXY=off GOSUMDB=off CGO_ENABLED=0 GOCACHE="$cache/gocache" \
		XDG_CONFIG_HOME="$cache/goconfig" PATH="$goroot/bin:$PATH" "$@"
}

# The first few packages that the programs need, directly or not, and the root has not.
missing_imports()
{
	(cd "$go_here" && go_run "$1" go list -e -deps -f '{{if .Error}}{{.ImportPath}}{{end}}' \
		"${go_programs[@]/#/./}") | awk 'NR <= 4'
}

check_sources()
{
	local root=$1 ugly

	ugly=$(go_run "$root" gofmt -l "$go_here")
	[ -z "$ugly" ] || die "gofmt would change: $ugly"
	(cd "$go_here" && go_run "$root" nice go vet -trimpath "${go_programs[@]/#/./}")
}

# Removes what other sources or packages gave, except from the last day: another checkout may use it.
forget_old()
{
	find "$bins" -mindepth 1 -maxdepth 1 -type d -mtime +0 ! -path "$1" -exec rm -rf {} +
}

compile()
{
	local root=$1 dir=$2 work program

	work=$bins/.work.$$
	rm -rf "$work"
	mkdir "$work"
	for program in "${go_programs[@]}"; do
		progress "compiling $program"
		(cd "$go_here" && go_run "$root" nice go build -trimpath -ldflags '-s -w' \
			-o "$work/$program" "./$program") || return 1
	done
	(cd "$work" && sha256sum "${go_programs[@]}" >sums)
	rm -rf "$dir"
	mv "$work" "$dir"
}

build_missing()
{
	local root dir

	good_bin >/dev/null && return 0
	root=$(fetch_root) || die "cannot get the packages"
	dir=$bins/$(source_hash)-$(stamp_hash "$root/.kekd-stamp")
	is_done "$dir" || compile "$root" "$dir" || die "cannot build the Go programs"
	forget_old "$dir"
}

go_build_main()
{
	local dir root

	cache=$(cache_dir)
	bins=$cache/$go_name/bin
	mkdir -p "$bins"
	case ${1:-} in
	'')
		;;
	--check)
		root=$(fetch_root)
		check_sources "$root"
		return
		;;
	--clean)
		rm -rf "${cache:?}/$go_name" "$cache/gocache"
		return
		;;
	*)
		usage >&2
		exit 2
		;;
	esac
	good_bin >/dev/null || with_lock "$cache/$go_name/lock" build_missing
	dir=$(good_bin) || die "the binaries vanished while they were built"
	printf "$dir/%s\n" "${go_programs[@]}"
}
