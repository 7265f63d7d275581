# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# TAP for shell tests. A test's name is the promise it checks. Sourced, never run.
#
#   tap_check NAME COMMAND…          ok if COMMAND exits 0; its output is shown if not
#   tap_status NAME STATUS COMMAND…  ok if COMMAND exits STATUS
#   tap_says NAME REGEX COMMAND…     ok if COMMAND fails, and its output matches REGEX
#   tap_ok NAME, tap_not_ok NAME [WHY…], tap_skip NAME WHY
#   need WHAT COMMAND…               set-up: if COMMAND fails nothing after it means anything, and the
#                                    test stops there with its output
#   skip_all WHY                     nothing of this test can run here
#   $tap_scratch                     a directory that goes away with the test
#   tap_done                         prints the plan; the test's exit status

tap_count=0
tap_failed=0
tap_scratch=$(mktemp -d)
tap_output=$tap_scratch/output
trap 'rm -rf "$tap_scratch"' EXIT

tap_ok()
{
	tap_count=$((tap_count + 1))
	printf 'ok %d - %s\n' "$tap_count" "$1"
}

tap_not_ok()
{
	tap_count=$((tap_count + 1))
	tap_failed=$((tap_failed + 1))
	printf 'not ok %d - %s\n' "$tap_count" "$1"
	shift
	[ $# = 0 ] || printf '%s\n' "$@" | sed 's/^/# /'
}

tap_skip()
{
	tap_count=$((tap_count + 1))
	printf 'ok %d - %s # SKIP %s\n' "$tap_count" "$1" "$2"
}

skip_all()
{
	printf '1..0 # SKIP %s\n' "$1"
	exit 0
}

need()
{
	local what=$1
	shift
	tap_mark "$what"
	"$@" >"$tap_output" 2>&1 </dev/null && return
	printf '%s\n' "$*" "$(tail -n 40 "$tap_output")" | sed 's/^/# /'
	printf 'Bail out! %s\n' "$what"
	exit 1
}

# In the emulated host: what the kernel complains about after this line, it does during this step.
tap_mark()
{
	[ "${CRAM_EMULATED_HOST:-}" != 1 ] || printf '<4>test: %s\n' "$1" 2>/dev/null >/dev/kmsg || :
}

tap_status()
{
	local name=$1 want=$2 status=0
	shift 2
	tap_mark "$name"
	"$@" >"$tap_output" 2>&1 </dev/null || status=$?
	if [ "$status" = "$want" ]; then
		tap_ok "$name"
	else
		tap_not_ok "$name" "$*" "exit status $status, expected $want" "$(tail -n 40 "$tap_output")"
	fi
}

tap_check()
{
	local name=$1
	shift
	tap_status "$name" 0 "$@"
}

tap_says()
{
	local name=$1 regex=$2
	shift 2
	tap_mark "$name"
	if "$@" >"$tap_output" 2>&1 </dev/null; then
		tap_not_ok "$name" "$*" "succeeded, should fail" "$(tail -n 20 "$tap_output")"
	elif grep -qE -- "$regex" "$tap_output"; then
		tap_ok "$name"
	else
		tap_not_ok "$name" "$*" "its output does not match: $regex" "$(tail -n 40 "$tap_output")"
	fi
}

tap_done()
{
	printf '1..%d\n' "$tap_count"
	[ "$tap_failed" = 0 ] && [ "$tap_count" -gt 0 ]
}
