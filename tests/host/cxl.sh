# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# CXL memory cards by the kernel's sysfs interface, as an operator without cxl-cli has it: what
# cxl-node and private-node are made of. Sourced, inside the emulated host. What fails ends the
# program with the reason.
#
#   cxl_cards, cxl_regions        prints the names of all, as in mem0, region0
#   cxl_unused CARD               true if no region has memory of it
#   cxl_compresses CARD           true if the kernel has found that it holds more than it has
#   cxl_region CARD               makes all of CARD's memory a committed RAM region, which no driver has
#                                 yet; its name is in $region
#   cxl_bind REGION DRIVER        gives it to cxl_region, cxl_mempolicy, …
#   cxl_node REGION               prints the NUMA node that its memory is on
#   cxl_blocks REGION             prints the directories of its memory blocks in sysfs
#   cxl_offline REGION            takes its memory offline
#   cxl_destroy REGION            takes it from its driver, and gives it up

cxl=/sys/bus/cxl/devices
region=

die()
{
	echo "${0##*/}: $*" >&2
	exit 1
}

# put VALUE FILE
put()
{
	echo "$1" >"$2" || die "cannot write $1 to $2"
}

# entries PATTERN: the names of what there is in $cxl.
entries()
{
	(cd "$cxl" 2>/dev/null && compgen -G "$1")
}

cxl_cards()
{
	entries 'mem[0-9]*'
}

cxl_regions()
{
	entries 'region[0-9]*'
}

# The root decoder (a window of physical addresses) whose only target is the host bridge above CARD.
root_decoder_of()
{
	local bridge decoder
	bridge=$(readlink -f "$cxl/$1" | grep -oE 'pci[0-9a-f]{4}:[0-9a-f]{2}' | head -n 1)
	for decoder in $(entries 'root0/decoder0.*'); do
		[ "$(basename "$(readlink -f "$cxl/root0/dport$(cat "$cxl/$decoder/target_list")")")" != "$bridge" ] ||
			{ basename "$decoder"; return; }
	done
	die "no window of physical addresses leads to $1 alone"
}

endpoint_decoder_of()
{
	local endpoint
	for endpoint in $(entries 'endpoint*'); do
		[ "$(basename "$(readlink -f "$cxl/$endpoint/uport")")" = "$1" ] || continue
		basename "$cxl/$endpoint"/decoder*.0
		return
	done
	die "$1 has no endpoint decoder"
}

cxl_unused()
{
	local decoder
	decoder=$(endpoint_decoder_of "$1") || exit
	(($(cat "$cxl/$decoder/dpa_size") == 0))
}

# Such a card has an auxiliary device beside its memory device.
cxl_compresses()
{
	compgen -G "$(dirname "$(readlink -f "$cxl/$1")")/cxl_pci.compression.*" >/dev/null
}

cxl_region()
{
	local root decoder size
	root=$(root_decoder_of "$1") || exit
	decoder=$(endpoint_decoder_of "$1") || exit
	size=$(cat "$cxl/$1/ram/size")
	region=$(cat "$cxl/$root/create_ram_region") || die "$root cannot hold a RAM region"
	put "$region" "$cxl/$root/create_ram_region"
	put ram "$cxl/$decoder/mode"
	put "$size" "$cxl/$decoder/dpa_size"
	put 256 "$cxl/$region/interleave_granularity"
	put 1 "$cxl/$region/interleave_ways"
	put "$size" "$cxl/$region/size"
	put "$decoder" "$cxl/$region/target0"
	put 1 "$cxl/$region/commit"
}

cxl_bind()
{
	[ -d "/sys/bus/cxl/drivers/$2" ] || die "this kernel has no driver $2"
	put "$1" "/sys/bus/cxl/drivers/$2/bind"
}

cxl_blocks()
{
	local size first last n
	size=$((0x$(cat /sys/devices/system/memory/block_size_bytes)))
	first=$(($(cat "$cxl/$1/resource") / size))
	last=$((first + $(cat "$cxl/$1/size") / size))
	for ((n = first; n < last; n++)); do
		[ ! -e /sys/devices/system/memory/memory$n ] || echo /sys/devices/system/memory/memory$n
	done
}

cxl_node()
{
	local blocks node
	# All of them: a reader that leaves early would fail the pipe, now and then.
	mapfile -t blocks < <(cxl_blocks "$1")
	node=$(cd "${blocks[0]:-/nonexistent}" 2>/dev/null && compgen -G 'node[0-9]*') || die "$1 has no node"
	echo "${node#node}"
}

cxl_offline()
{
	local block
	for block in $(cxl_blocks "$1"); do
		[ "$(cat "$block/state")" = offline ] || put offline "$block/state"
	done
}

cxl_destroy()
{
	local decoder root
	decoder=$(cat "$cxl/$1/target0")
	root=$(basename "$(dirname "$(readlink -f "$cxl/$1")")")
	[ ! -e "$cxl/$1/driver" ] || put "$1" "$cxl/$1/driver/unbind"
	put 0 "$cxl/$1/commit"
	put "$1" "$cxl/$root/delete_region"
	put 0 "$cxl/$decoder/dpa_size"
}
