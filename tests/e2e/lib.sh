# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# What the end-to-end tests share: the agent, guests with a blind access map, the judge. Sourced,
# never run; first thing, it takes the test into the emulated host.
#
#   in_host BOOT-OPTION… (before anything else: re-runs the script inside)
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export CRAM_MESON_BUILD=${CRAM_MESON_BUILD:-$PWD/build/meson}

in_host()
{
	[ "${CRAM_EMULATED_HOST:-}" = 1 ] || exec "$here/../host/boot" "$@" -- "$0"
	# shellcheck source=tests/lib/tap.sh
	. "$here/../lib/tap.sh"
}

guest=$here/../host/guest
judge=$CRAM_MESON_BUILD/tests/e2e/judge
# As systemd starts it: with no system calls but those that its unit leaves it.
cramd=("$CRAM_MESON_BUILD/tests/lib/only-calls" "$CRAM_MESON_BUILD/tests/lib/cramd.calls" "$CRAM_MESON_BUILD/vmm-agent/cramd/cramd")
agent_conf=/run/cramd-test.conf
agent_log=/run/cramd-test.log
agent_pid=

ctl()
{
	"$CRAM_MESON_BUILD/vmm-agent/ctl/cramctl" --timeout 60 "$@"
}

# agent_config [LINE…]: the configuration, with more lines at its end.
# shellcheck disable=SC2120  # most tests have none
agent_config()
{
	cat >"$agent_conf" <<-END
		[host]
		round = 1000
		reserve = 64 MiB
		vm_overhead = 16 MiB
		[policy]
		headroom_min = 32 MiB
		[vm]
		tiers = ${tier:-node}
		[detect]
		second_look = 1000
		damon_sample = 100 ms
		damon_aggregation = 2000 ms
	END
	[ $# = 0 ] || printf '%s\n' "$@" >>"$agent_conf"
}

agent_start()
{
	[ -e "$agent_conf" ] || agent_config
	"${cramd[@]}" -c "$agent_conf" -v >>"$agent_log" 2>&1 &
	agent_pid=$!
	wait_for 60 ctl status >/dev/null
}

# Its status. What has not ended after two minutes is killed, and what its threads wait for in the kernel is shown.
agent_stop()
{
	local task
	kill "$agent_pid" || return
	if ! wait_for 120 has_ended "$agent_pid"; then
		echo "the agent has not ended, its threads are in:"
		for task in "/proc/$agent_pid/task"/*; do
			echo "$(cat "$task/comm"): $(cat "$task/wchan")"
		done
		kill -KILL "$agent_pid"
		return 1
	fi
	wait "$agent_pid"
}

# has_ended PID: it is gone, or nobody has waited for it yet.
has_ended()
{
	case $(sed -n 's/^State:[[:blank:]]*\(.\).*/\1/p' "/proc/$1/status" 2>/dev/null) in
	'' | Z) ;;
	*) return 1 ;;
	esac
}

# Is the agent stopped, for whoever asks it something?
agent_hangs()
{
	grep '^State:.*T (stopped)' "/proc/$agent_pid/status"
}

# while_it_hangs COMMAND…: which is worth nothing if the agent had gone on.
while_it_hangs()
{
	agent_hangs && "$@" && agent_hangs
}

# Before libvirtd starts, for that is when it looks for hooks. 200 ms are nothing in an emulator: the deadline
# is the unit test's, here it is 20 s. Where the agent hangs, each of a save and a restore waits for it.
install_hook()
{
	mkdir -p /etc/libvirt/hooks/qemu.d
	hook_deadline 20
	cat >/etc/libvirt/hooks/qemu.d/cram <<-END
		#!/bin/sh
		CRAMD_HOOK_DEADLINE_MS=\$(cat /run/hook-deadline)000 exec "$CRAM_MESON_BUILD/libvirt-hooks/cram-hook" "\$@"
	END
	chmod 755 /etc/libvirt/hooks/qemu.d/cram
}

# hook_deadline SECONDS: from now on.
hook_deadline()
{
	echo "$1" >/run/hook-deadline
}

# list_in_time NAME: libvirt lists the VM while its hook waits. It holds the starting VM's lock while the hook runs, and a list
# takes the locks of all: it waits for the hook, and for nobody whom the hook does not wait for any more.
list_in_time()
{
	local began=$SECONDS seconds
	# The deadline, and up to 10 s for virsh to be loaded and QEMU to be started in an emulator.
	seconds=$(($(cat /run/hook-deadline) + 10))
	timeout --kill-after=5 "$seconds" virsh list >/run/list.out 2>&1 && grep "$1" /run/list.out && return
	echo "after $((SECONDS - began)) s, of $seconds:"
	cat /run/list.out
	return 1
}

# wait_for SECONDS COMMAND…: until COMMAND succeeds.
wait_for()
{
	local deadline=$((SECONDS + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		((SECONDS < deadline)) || return 1
		sleep 1
	done
}

uptime_ms()
{
	awk '{ print int($1 * 1000) }' /proc/uptime
}

# vm_field VM NAME: one value of `cramctl vm show`.
vm_field()
{
	ctl --json vm show "$1" | jq -r ".vm.$2"
}

# origin VM SETTING: "VALUE ORIGIN".
origin()
{
	ctl --json vm show "$1" | jq -r ".settings[] | select(.name == \"$2\") | \"\(.value) \(.origin)\""
}

# host_field NAME: one value of `cramctl status`.
host_field()
{
	ctl --json status | jq -r ".host.$1"
}

libvirt_connected()
{
	[ "$(host_field libvirt_connected)" = true ]
}

field_is()
{
	[ "$(vm_field "$1" "$2")" = "$3" ]
}

# tiering MODE CHILD…: metadata for a domain, in a file whose name is printed.
tiering()
{
	local mode=$1 file
	shift
	file=$(mktemp /run/metadata.XXXXXX)
	printf '<cram:tiering xmlns:cram="urn:cramd:domain:1.0" mode="%s" tiers="%s">%s</cram:tiering>\n' \
		"$mode" "${tier:-node}" "$*" >"$file"
	echo "$file"
}

# start_workload GUEST OPTION…: starts accessmap in a guest and waits until its map is there.
start_workload()
{
	local name=$1
	shift
	"$guest" exec "$name" --timeout 300 -- sh -c "echo madvise >/sys/kernel/mm/transparent_hugepage/enabled
		accessmap $* --seconds 86400 >/tmp/out 2>&1 &
		until grep -q . /tmp/out; do sleep 1; done
		sed \"s/^/# /\" /tmp/out; grep -q ready /tmp/out" && fetch_map "$name"
}

fetch_map()
{
	"$guest" exec "$1" --timeout 120 -- cat /tmp/map >"/run/map.$1"
}

# The working set moves, and with it the map that the judge has.
shift_load()
{
	"$guest" exec "$1" --timeout 120 -- sh -c 'killall -USR1 accessmap
		until grep -q moved /tmp/out; do sleep 1; done' && fetch_map "$1"
}

# Ends the workload; succeeds when all of its memory was as it left it.
verify()
{
	"$guest" exec "$1" --timeout 300 -- sh -c 'killall -USR2 accessmap
		until grep -qE "verified|damaged" /tmp/out; do sleep 1; done
		cat /tmp/out; grep -q verified /tmp/out'
}

# score GUEST KEY: one figure of the judge, whole percent or pages.
score()
{
	"$judge" score "$("$guest" pid "$1")" "/run/map.$1" "${scored_node:-1}" | tr ' ' '\n' | sed -n "s/^$2=\([0-9]*\).*/\1/p"
}

# at_least GUEST KEY MINIMUM
at_least()
{
	local have
	have=$(score "$1" "$2")
	echo "$2 is $have, wanted $3: $("$judge" score "$("$guest" pid "$1")" "/run/map.$1" "${scored_node:-1}")"
	[ -n "$have" ] && ((have >= $3))
}

at_most()
{
	local have
	have=$(score "$1" "$2")
	echo "$2 is $have, at most $3: $("$judge" score "$("$guest" pid "$1")" "/run/map.$1" "${scored_node:-1}")"
	[ -n "$have" ] && ((have <= $3))
}

# Guest RAM on the slow node, in pages, as the judge finds it.
slow_pages()
{
	slow_pages_of "$("$guest" pid "$1")"
}

slow_pages_of()
{
	"$judge" where "$1" | sed 's/.*N1=\([0-9]*\).*/\1/'
}

slow_pages_of_at_least()
{
	local have
	have=$(slow_pages_of "$1")
	echo "$have pages are on the slow node, wanted $2"
	[ -n "$have" ] && ((have >= $2))
}

slow_pages_at_most()
{
	local have
	have=$(slow_pages "$1")
	echo "$have pages on the slow node, at most $2"
	[ -n "$have" ] && ((have <= $2))
}

# What of a guest the first card stores, in bytes, by the card's own word.
stored()
{
	stored_of "$("$guest" pid "$1")"
}

stored_of()
{
	"$CRAM_MESON_BUILD/tests/e2e/carduse" "$1" | sed 's/.*stored=//'
}

stored_at_most()
{
	stored_of_at_most "$("$guest" pid "$1")" "$2"
}

stored_of_at_most()
{
	local have
	have=$(stored_of "$1")
	echo "the card stores $have bytes of it, at most $2"
	[ -n "$have" ] && ((have <= $2))
}

# The cgroup of process PID that counts what it has on cards, as a directory.
cgroup_of()
{
	local group
	group=$(sed -n 's/^0:://p' "/proc/$1/cgroup")
	until [ -e "/sys/fs/cgroup$group/memory.cram.max" ] || [ "$group" = / ]; do
		group=$(dirname "$group")
	done
	echo "/sys/fs/cgroup$group"
}

# The kernel's limit on what a guest may have on cards.
limit()
{
	cat "$(cgroup_of "$("$guest" pid "$1")")/memory.cram.max"
}

limit_is()
{
	local have
	have=$(limit "$1")
	echo "memory.cram.max is '$have', wanted '$2'"
	[ "$have" = "$2" ]
}

# Ends well when all memory of a stand-in, by its pid, is as it wrote it. Any number of times.
stand_in_verifies()
{
	local before
	before=$(verdicts_on "$1" | wc -l)
	kill -USR2 "$2"
	wait_for 120 has_verdicts "$1" $((before + 1)) || return
	verdicts_on "$1" | tail -n 1
	[ "$(verdicts_on "$1" | tail -n 1)" = verified ]
}

verdicts_on()
{
	grep -xE 'verified|damaged' "/run/$1.out"
}

has_verdicts()
{
	(($(verdicts_on "$1" | wc -l) >= $2))
}

# Has the card do what QEMU's monitor can have it do: card_does COMMAND [MORE-ARGUMENTS].
card_does()
{
	"$here/../host/qmp" "$1" "{\"path\": \"cxl-mem0\"${2:+, $2}}"
}

# card_size MIB: what it has for all; less is announced, and agreed on with the kernel.
card_size()
{
	card_does x-cxl-set-physical-size "\"size\": $(($1 << 20)), \"force\": false"
}

# The card could never have been overrun until now, and has lost nothing.
card_is_clean()
{
	local card
	card=$(card_does x-cxl-query-compression) || return
	echo "$card"
	jq -e '."peak-excess" == 0 and ."over-capacity-pages" == 0' <<<"$card"
}

# Free pages of a node, with those that processors keep at hand: MemFree leaves them out.
node_free()
{
	awk -v node="$1" '$1 == "Node" { ours = $2 == node "," }
		ours && ($1 == "nr_free_pages" || $1 == "count:") { free += $2 }
		END { print free }' /proc/zoneinfo
}

# NUMA policy of guest RAM as the kernel shows it.
policy()
{
	awk '/memfd/ { print $2 }' "/proc/$("$guest" pid "$1")/numa_maps" | sort -u
}

policy_is()
{
	local have
	have=$(policy "$1")
	echo "policy is '$have', wanted '$2'"
	[ "$have" = "$2" ]
}

# stand_in NAME pin|plain|noise|quarter|mixed|works MIB: a process that looks like a QEMU with so much RAM, with that
# done to it (standin.c), in a cgroup of its own and taken in by the agent; its pid in $stand_in.
stand_in()
{
	mkdir -p "/sys/fs/cgroup/$1"
	{
		echo "$BASHPID" >"/sys/fs/cgroup/$1/cgroup.procs"
		exec -a qemu-system-x86_64 "$CRAM_MESON_BUILD/tests/e2e/standin" "$2" "$3" -m "$3M" -name "$1" \
			-machine none,memory-backend=pc.ram -object "memory-backend-memfd,id=pc.ram,size=$3M,share=on"
	} >"/run/$1.out" 2>&1 &
	stand_in=$!
	need "$1 runs" wait_for 300 grep -q ready "/run/$1.out"
	need "$1 is taken in" ctl vm add "$stand_in"
}

# kernel_counts NAME: how often CRAM says that it did so, of the card's node in $cram.
kernel_counts()
{
	awk -v name="$1" '$1 == name { print $2 }' "$cram/stats"
}

# What of the card in $cram VMs may fill, by its account and the twentieth that is left free (card_headroom).
may_fill()
{
	local physical usable pressure
	physical=$(cat "$cram/physical_bytes")
	usable=$((physical - $(cat "$cram/reserve_bytes")))
	pressure=$(cat "$cram/pressure")
	echo $((usable - physical / 20 - usable * pressure / 1000))
}

# Brings the card up as an operator would; the directory of its node is in $cram.
# shellcheck disable=SC2034  # for the tests
cram_comes_up()
{
	local node
	node=$("$here/../host/cram-node") && cram=/sys/devices/system/node/node$node/cram
}

# The kernel's own reclaim moves pages to the card, too, which is not its default.
kernel_demotes()
{
	echo 1 >/sys/kernel/mm/numa/demotion_enabled
}

# Shows what a person would look at when a test of this file fails.
explain()
{
	ctl vm explain "$1" 2>&1 | sed 's/^/# /'
	tail -n 20 "$agent_log" | sed 's/^/# agent: /'
}
