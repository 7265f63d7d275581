# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# An emulated host in the background, and its QEMU's monitor beside it: what the
# host does to the card and what is done to the card from outside, in step.
# Sourced after lib/tap.sh, never run; $boot is the caller's.
#
#   live_boot OPTION… -- SCRIPT   starts the host with SCRIPT in it, in which
#                                 `step NAME` waits for `live_go NAME` out here
#   live_step NAME                waits until the host is at that step
#   live_go NAME                  lets it go on
#   qmp COMMAND [ARGUMENTS]       result in $answer; fails if it is an error
#   qmp_event NAME                waits for an event, from now on
#   live_end                      waits for the end; the status is boot's
#   $live_output                  what the host has printed
#   value LINE KEY                the number behind KEY= in the last line of it that starts so
#   ended NAME                    a test: the host ended as it should; prints what it printed

tap_scratch=${tap_scratch:?source lib/tap.sh first}
boot=${boot:?the script that boots the host}

# step_function is the text of it, for a script that runs inside.
# shellcheck disable=SC2016  # expanded inside
step_function='
for port in /sys/class/virtio-ports/*; do
	[ "$(cat "$port/name")" != cram.live ] || exec {live}</dev/"${port##*/}"
done
step()
{
	echo "at $1"
	read -r <&"$live"
}'

live_boot()
{
	local options=() dir
	while [ "$1" != -- ]; do
		options+=("$1")
		shift
	done
	dir=$(mktemp -d "$tap_scratch/live.XXXXXX")
	live_output=$dir/output live_errors=$dir/errors
	: >"$live_output"
	mkfifo "$dir"/{qmp,go}.{in,out}
	exec {live_qmp_in}<>"$dir/qmp.in" {live_qmp_out}<>"$dir/qmp.out" {live_go}<>"$dir/go.in"
	qmp_answers=0
	"$boot" --timeout 240 \
		--qemu-arg -chardev --qemu-arg "pipe,id=live,path=$dir/qmp" \
		--qemu-arg -mon --qemu-arg chardev=live,mode=control \
		--qemu-arg -chardev --qemu-arg "pipe,id=go,path=$dir/go" \
		--qemu-arg -device --qemu-arg virtserialport,chardev=go,name=cram.live \
		"${options[@]}" -- bash -c "$step_function"$'\n'"$2" >"$live_output" 2>"$live_errors" &
	live_pid=$!
	qmp qmp_capabilities
}

live_step()
{
	until grep -qx "at $1" "$live_output"; do
		if ! kill -0 "$live_pid" 2>/dev/null; then
			echo "the host ended before it was at: $1"
			cat "$live_output" "$live_errors"
			return 1
		fi
		sleep 0.1
	done
}

live_go()
{
	live_step "$1" && echo "$1" >&"$live_go"
}

# qmp_read PATTERN: the next line of the monitor's that matches, in $answer.
qmp_read()
{
	while read -r -t 60 -u "$live_qmp_out" answer; do
		[[ $answer != *$1* ]] || return 0
	done
	echo "the monitor says nothing that matches: $1"
	return 1
}

qmp()
{
	qmp_answers=$((qmp_answers + 1))
	echo "{\"execute\": \"$1\", \"arguments\": ${2:-{\}}, \"id\": \"live-$qmp_answers\"}" >&"$live_qmp_in"
	qmp_read "\"id\": \"live-$qmp_answers\"" || return
	[[ $answer != *'"error":'* ]] || { echo "$1: $answer"; return 1; }
}

qmp_event()
{
	qmp_read "\"event\": \"$1\""
}

live_end()
{
	local status=0
	wait "$live_pid" || status=$?
	exec {live_qmp_in}<&- {live_qmp_out}<&- {live_go}<&-
	((status == 0)) || cat "$live_output" "$live_errors"
	return "$status"
}

value()
{
	sed -n "/^$1\b/s/.*\b$2=\([0-9]*\).*/\1/p" "$live_output" | tail -n 1
}

ended()
{
	tap_check "$1" live_end
	grep -v '^at ' "$live_output" | sed 's/^/# /'
}
