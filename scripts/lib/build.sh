# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# What quickstart and test share: the packages kekd is built from, the build itself, and the choice
# between this kernel and a virtual machine.  Sourced after common.sh.

KEKD_TOP=$(dirname "$(dirname "$KEKD_LIB")")

BUILD_PACKAGES=(gcc libc6-dev make pkg-config liburing-dev libkeyutils-dev libkcapi-dev libyaml-dev
	libnghttp2-dev libssl-dev libjansson-dev libsqlite3-dev libsodium-dev libseccomp-dev
	libmicrohttpd-dev libcurl4-openssl-dev systemtap-sdt-dev)

# build_kekd TARGET...: quiet when all is well, the whole output when not.
build_kekd()
{
	local log

	log=$(mktemp)
	if ! make -C "$KEKD_TOP" -j"$(nproc)" --no-print-directory "$@" >"$log" 2>&1; then
		cat "$log" >&2
		rm -f "$log"
		die "the build failed: make $*"
	fi
	rm -f "$log"
}

# Root and AF_ALG with keys by serial: then kekd runs here as it is.
kernel_can_serve()
{
	[ "$(id -u)" -eq 0 ] && has_af_alg
}
