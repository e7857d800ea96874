# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# What the virtual machine is made of: QEMU, the stock kernel of a series, its
# uncompressed image, its modules and the initramfs.  All of it comes from Debian
# packages or is built from this repository, and is kept in the cache.
#
# QEMU comes from trixie with every library it needs, the C library too, and is started through
# its own loader: one version everywhere.  (QEMU 7.2, bookworm's, corrupted guests.)
#
# Source after common.sh and debs.sh.

# shellcheck disable=SC2034 # for the scripts that source this
VM_SERIES="6.1 6.12 7.3"
VM_TESTS=$(readlink -f "$KEKD_LIB/../../tests/vm")

# The suites that carry a series, the best first.
vm_suites()
{
	case $1 in
	6.1) echo bookworm ;;
	6.12) echo trixie bookworm-backports ;;
	7.3) echo trixie-backports ;;
	*) return 1 ;;
	esac
}

vm_qemu_root()
{
	debs_root --suite trixie --name qemu --deps qemu-system-x86 virtiofsd
}

# Prints the root with the newest kernel of the series.  Series do not stay for ever: backports
# go on to the next one.
vm_kernel_root()
{
	local series=$1 suite status

	for suite in $(vm_suites "$series"); do
		status=0
		debs_root --suite "$suite" --name "kernel-$series" --deps \
			--exclude initramfs-tools --exclude dracut --exclude linux-base --exclude kmod \
			"newest:linux-image-$series.*-cloud-amd64" || status=$?
		[ "$status" -ne 0 ] || return 0
		[ "$status" -eq "$DEBS_NOT_FOUND" ] || return 1
	done
	note "Debian no longer has a cloud kernel of the series $series in $(vm_suites "$series")"
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

# An ELF image starts by QEMU's PVH entry: no decompression by the guest, a second less.
extract_vmlinux()
{
	local image=$1 out=$2

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

prepare_kernel()
{
	local root=$1 dir=$2 work=$2.work image

	[ "$(tail -n 1 "$dir/.kekd-stamp" 2>/dev/null)" != "$(debs_tree_digest "$dir" 2>/dev/null)" ] ||
		return 0
	progress "preparing the kernel of ${root##*/}"
	need_packages kmod cpio xz-utils zstd
	rm -rf "$work"
	mkdir -p "$work"
	image=$(find "$root" -type f -name 'vmlinuz*' -print -quit)
	extract_vmlinux "$image" "$work/vmlinux" || die -125 "cannot extract the kernel of $image"
	prepare_modules "$root" "$work" || die -125 "cannot prepare the modules of ${root##*/}"
	debs_tree_digest "$work" >"$work/.kekd-stamp"
	# Older kernels of the series, and what was made for them.
	rm -rf "${dir%-*}"-*.cpio "${dir%-*}"-????????????
	mv "$work" "$dir"
}

# Prints the directory with vmlinux and lib/modules/RELEASE.
vm_kernel()
{
	local root=$1 dir

	dir=$(cache_dir)/vm/${root##*/}-$(sha256sum <"$root/.kekd-stamp" | cut -c1-12)
	with_lock "${dir%-*}.lock" prepare_kernel "$root" "$dir" || return 1
	echo "$dir"
}

# Prints the initramfs for the prepared kernel, built once per kernel, PID 1 and recipe.
vm_initramfs()
{
	local kernel=$1 init hash out

	init=$(build_tool "$VM_TESTS/init.c" -static) || return 1
	hash=$(cat "$VM_TESTS/mkinitramfs" "$init" | sha256sum | cut -c1-12)
	out=$kernel.$hash.cpio
	if [ ! -s "$out" ]; then
		need_packages cpio xz-utils zstd
		"$VM_TESTS/mkinitramfs" "$kernel"/lib/modules/* "$init" "$out" || return 1
	fi
	echo "$out"
}
