# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# What the virtual machine is made of: QEMU, the stock kernel of a series, its
# uncompressed image, its modules and the initramfs.  All of it comes from Debian
# packages or is built from this repository, and is kept in the cache.
#
# The series "trusted" is the exception: no kernel of Debian's has `trusted` keys or notifications
# of keys, so that one is built from Debian's source with tests/vm/kernel-trusted.config.
#
# QEMU comes from trixie with every library it needs, the C library too, and is started through
# its own loader: one version everywhere.  (QEMU 7.2, bookworm's, corrupted guests.)
#
# Source after common.sh, debs.sh, build.sh and arm64.sh.

# shellcheck disable=SC2034 # for the scripts that source this
VM_SERIES="6.1 6.12 7.3 trusted"
VM_TESTS=$(readlink -f "$KEKD_LIB/../../tests/vm")

# The suites that carry a series, the best first.
vm_suites()
{
	case $1 in
	6.1) echo bookworm ;;
	6.12) echo trixie bookworm-backports ;;
	7.3) echo trixie-backports ;;
	trusted) echo trixie bookworm-backports ;;
	*) return 1 ;;
	esac
}

# Everywhere below ARCH is amd64 unless it is said.
#
# vm_qemu_root [ARCH]
vm_qemu_root()
{
	if [ "${1:-amd64}" = arm64 ]; then
		arm64_qemu_root
		return
	fi
	debs_root --suite trixie --name qemu --deps qemu-system-x86 virtiofsd
}

# An emulator of a TPM.
vm_tpm_root()
{
	debs_root --suite trixie --name swtpm --deps swtpm
}

# vm_kernel_package SUITE SERIES ARCH
vm_kernel_package()
{
	local other=''

	[ "$3" = amd64 ] || other=$3
	if [ "$2" = trusted ]; then
		debs_root --suite "$1" --name "kernel-$2" linux-source-6.12
		return
	fi
	debs_root --suite "$1" ${other:+--arch "$other"} --deps --name "kernel-$2${other:+-$other}" \
		--exclude initramfs-tools --exclude dracut --exclude linux-base --exclude kmod \
		"newest:linux-image-$2.*-cloud-$3"
}

# vm_kernel_root SERIES [ARCH]: prints the root with the newest kernel of the series, or its source.  Series do
# not stay for ever: backports go on to the next one.
vm_kernel_root()
{
	local series=$1 arch=${2:-amd64} suite status

	for suite in $(vm_suites "$series"); do
		status=0
		vm_kernel_package "$suite" "$series" "$arch" || status=$?
		[ "$status" -ne 0 ] || return 0
		[ "$status" -eq "$DEBS_NOT_FOUND" ] || return 1
	done
	note "Debian no longer has a kernel of the series $series in $(vm_suites "$series")"
	return 1
}

# --- the kernel image ------------------------------------------------------------------------

# The unsigned little-endian number of $3 bytes at $2 of a file.
number_at()
{
	od -An -v "-tu$3" -j "$2" -N "$3" "$1" | tr -d ' '
}

# The compressed kernel inside a bzImage.  The boot protocol says where it is: setup_sects,
# payload_offset, payload_length (Documentation/arch/x86/boot.rst).
bzimage_payload()
{
	local image=$1 sectors start length

	sectors=$(number_at "$image" $((0x1f1)) 1)
	start=$(((sectors + 1) * 512 + $(number_at "$image" $((0x248)) 4)))
	length=$(number_at "$image" $((0x24c)) 4)
	dd if="$image" iflag=skip_bytes,count_bytes bs=1M skip="$start" count="$length" status=none
}

# The compressed data is followed by four bytes with its size, except for gzip, which has them
# inside.
decompress_payload()
{
	local payload=$1

	case $(head -c 4 "$payload" | od -An -tx1 | tr -d ' ') in
	1f8b*)
		gzip -dc "$payload"
		return
		;;
	fd377a58)
		set -- xz-utils xz -dc --single-stream
		;;
	28b52ffd)
		set -- zstd zstd -qdc
		;;
	02214c18)
		set -- lz4 lz4 -qdc
		;;
	*)
		note "unknown compression of the kernel image"
		return 1
		;;
	esac
	need_packages "$1"
	shift
	head -c -4 "$payload" | "$@"
}

# An ELF image starts by QEMU's PVH entry: no decompression by the guest, a second less. That of arm64 is not
# compressed (Documentation/arch/arm64/booting.rst: its magic number at 56).
extract_vmlinux()
{
	local image=$1 out=$2

	if [ "$(number_at "$image" 56 4)" -eq $((0x644d5241)) ]; then
		cp "$image" "$out"
		return
	fi
	bzimage_payload "$image" >"$out.payload" &&
		decompress_payload "$out.payload" >"$out" &&
		[ "$(head -c 4 "$out" | od -An -c | tr -d ' ')" = '177ELF' ]
	rm -f "$out.payload"
}

# --- the prepared kernel ---------------------------------------------------------------------

# Modules with the index that modprobe needs, which Debian makes at installation.
prepare_modules()
{
	local from=$1 to=$2

	mkdir -p "$to/lib/modules"
	cp -a "$from"/usr/lib/modules/* "$to/lib/modules/"
	PATH=$PATH:/usr/sbin:/sbin depmod -b "$to" "$(basename "$to"/lib/modules/*)"
}

extract_kernel()
{
	local root=$1 work=$2 image

	progress "preparing the kernel of ${root##*/}"
	need_packages kmod cpio xz-utils zstd
	image=$(find "$root" -type f -name 'vmlinuz*' -print -quit)
	extract_vmlinux "$image" "$work/vmlinux" || die -125 "cannot extract the kernel of $image"
	prepare_modules "$root" "$work" || die -125 "cannot prepare the modules of ${root##*/}"
}

# --- the kernel that is built ----------------------------------------------------------------

VM_CONFIG=$VM_TESTS/kernel-trusted.config

# Without the many files that this configuration cannot need; Kconfig reads its own everywhere.
unpack_source()
{
	local dir

	for dir in drivers/gpu drivers/net/ethernet drivers/net/wireless drivers/media \
		drivers/staging drivers/infiniband drivers/iio sound fs/xfs fs/btrfs fs/ocfs2; do
		set -- "$@" --exclude="*/$dir/*.[ch]"
	done
	tar -x -f "$1" -C "$2" --strip-components=1 --exclude='*/Documentation/*.rst' \
		--exclude='*/tools/testing' --exclude='*/tools/perf' --exclude='*/boot/dts' "${@:3}"
}

# The configuration has each line that was asked for: a name that Kconfig does not know, or whose
# conditions do not hold, it drops without a word.
check_config()
{
	local line missing=''

	while read -r line; do
		grep -qxF "$line" "$1" || missing+=" $line"
	done < <(grep '^CONFIG_' "$VM_CONFIG")
	[ -z "$missing" ] || die -125 "this kernel's source does not take$missing"
}

build_kernel()
{
	local root=$1 work=$2 source=$2/source release

	progress "building the kernel of ${root##*/}, which takes minutes"
	need_packages gcc make flex bison bc xz-utils libelf-dev
	mkdir "$source"
	unpack_source "$root"/usr/src/linux-source-*.tar.xz "$source" ||
		die -125 "cannot unpack the source of ${root##*/}"
	make -s -C "$source" KCONFIG_ALLCONFIG="$VM_CONFIG" allnoconfig >&2 &&
		check_config "$source/.config" &&
		make -s -C "$source" -j"$(nproc)" vmlinux >&2 &&
		release=$(make -s -C "$source" kernelrelease) ||
		die -125 "cannot build the kernel of ${root##*/}"
	strip -s -o "$work/vmlinux" "$source/vmlinux"
	mkdir -p "$work/lib/modules/$release/kernel"
	rm -rf "$source"
}

# --- either ----------------------------------------------------------------------------------

prepare_kernel()
{
	local root=$1 dir=$2 work=$2.work

	[ "$(tail -n 1 "$dir/.kekd-stamp" 2>/dev/null)" != "$(debs_tree_digest "$dir" 2>/dev/null)" ] ||
		return 0
	rm -rf "$work"
	mkdir -p "$work"
	if [ -d "$root/usr/src" ]; then
		build_kernel "$root" "$work"
	else
		extract_kernel "$root" "$work"
	fi
	debs_tree_digest "$work" >"$work/.kekd-stamp"
	# Older kernels of the series, and what was made for them.
	rm -rf "${dir%-*}"-*.cpio "${dir%-*}"-????????????
	mv "$work" "$dir"
}

# What the kernel is made of.
kernel_recipe()
{
	cat "$1/.kekd-stamp"
	[ ! -d "$1/usr/src" ] || cat "$VM_CONFIG"
}

# Prints the directory with vmlinux and lib/modules/RELEASE.
vm_kernel()
{
	local root=$1 dir

	dir=$(cache_dir)/vm/${root##*/}-$(kernel_recipe "$root" | sha256sum | cut -c1-12)
	with_lock "${dir%-*}.lock" prepare_kernel "$root" "$dir" || return 1
	echo "$dir"
}

# vm_initramfs KERNEL [ARCH]: prints the initramfs for the prepared kernel, built once per kernel, PID 1 and
# recipe.
vm_initramfs()
{
	local kernel=$1 compiler=gcc init hash out

	if [ "${2:-amd64}" = arm64 ]; then
		compiler=aarch64-linux-gnu-gcc
		need_packages gcc-aarch64-linux-gnu libc6-dev-arm64-cross
	fi
	init=$(TOOL_CC=$compiler build_tool "$VM_TESTS/init.c" -static) || return 1
	hash=$(cat "$VM_TESTS/mkinitramfs" "$init" | sha256sum | cut -c1-12)
	out=$kernel.$hash.cpio
	if [ ! -s "$out" ]; then
		need_packages cpio xz-utils zstd
		"$VM_TESTS/mkinitramfs" "$kernel"/lib/modules/* "$init" "$out" || return 1
	fi
	echo "$out"
}
