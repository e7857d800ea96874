# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# What it takes to build for arm64 on another machine and to run that: Debian's cross compiler, a root with
# Debian 13's arm64 packages, and QEMU. The root is the sysroot of the compiler, where qemu-user finds the C
# library, and in a virtual machine what lies over the host's files.
#
# Source after common.sh, debs.sh and build.sh.

# The libraries of the build, and the commands of the end-to-end tests.
ARM64_COMMANDS=(bash coreutils dash diffutils findutils gawk grep jq keyutils kmod libc-bin mawk openssl perl-base procps sed
	util-linux)

# OPT of a build under UBSan, whose library the root has not.
# shellcheck disable=SC2034 # scripts/test
ARM64_UBSAN="-O1 -g -fsanitize=undefined -fno-sanitize-recover=undefined -static-libubsan"

arm64_root()
{
	local libraries

	mapfile -t libraries < <(printf '%s\n' "${BUILD_PACKAGES[@]}" | grep -e '-dev$')
	debs_root --suite trixie --arch arm64 --name arm64 --deps --symbols "${libraries[@]}" "${ARM64_COMMANDS[@]}"
}

# Both QEMUs: of a program, which is static, and of a machine.
arm64_qemu_root()
{
	debs_root --suite trixie --name qemu-arm64 --deps qemu-system-arm qemu-user virtiofsd
}

# arm64_make TARGET...: in build-arm64. The compiler would have the C library that came with it before the root's.
arm64_make()
{
	local root

	need_packages gcc-aarch64-linux-gnu libc6-dev-arm64-cross debhelper
	root=$(arm64_root) || return 1
	build_kekd BUILD=build-arm64 CC="aarch64-linux-gnu-gcc --sysroot=$root" \
		EXTRA_LDFLAGS="-L$root/usr/lib/aarch64-linux-gnu" DEB_ARCH=arm64 SYSROOT="$root" "$@"
}
