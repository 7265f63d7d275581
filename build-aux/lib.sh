# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# What every step of the build shares: messages, logged commands with progress,
# space checks. Not for fetching or patching (upstream.sh). Sourced, never run.

# Repository root and where things are kept. CRAM_BUILD and CRAM_CACHE may be set
# from outside; tests use that to build in a place of their own.
CRAM_TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
CRAM_BUILD=${CRAM_BUILD:-$CRAM_TOP/build}
CRAM_CACHE=${CRAM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/cram}
CRAM_JOBS=${CRAM_JOBS:-$(nproc)}

say()
{
	printf '%s\n' "$*" >&2
}

# die WHAT [HINT…]: says what failed and what to try, and ends the script.
die()
{
	say "${0##*/}: $1"
	shift
	for hint in "$@"; do
		say "  $hint"
	done
	exit 1
}

# seconds_text SECONDS: "75" becomes "1 min 15 s".
seconds_text()
{
	if (($1 >= 60)); then
		printf '%d min %02d s' $(($1 / 60)) $(($1 % 60))
	else
		printf '%d s' "$1"
	fi
}

# need_space DIR MIB WHAT: refuses to begin a step that cannot fit.
need_space()
{
	local dir=$1 mib=$2 what=$3 free
	mkdir -p "$dir" || die "cannot create $dir for $what"
	free=$(df --output=avail -m "$dir" | tail -n 1 | tr -d ' ')
	((free >= mib)) || die "not enough disk space for $what: $mib MiB needed in $dir, $free MiB free" \
		"free some space ('make clean' removes build/), or set CRAM_BUILD= or CRAM_CACHE= to another disk"
}

# take_lock FILE WHAT: one builder at a time; held until the script ends.
take_lock()
{
	mkdir -p "$(dirname "$1")"
	exec {CRAM_LOCK_FD}>"$1"
	if ! flock -n "$CRAM_LOCK_FD"; then
		say "waiting for another $2 to finish"
		flock "$CRAM_LOCK_FD"
	fi
}

# How far a logged command is: "[12/345]" as ninja prints it, else compiled objects.
progress_of()
{
	local log=$1 total=$2 count
	count=$(tail -c 4096 "$log" | tr '\r' '\n' | grep -oE '^\[[0-9]+/[0-9]+\]' | tail -n 1)
	if [ -n "$count" ]; then
		printf '%s' "$count"
		return
	fi
	count=$(grep -cE '^ +(CC|AS|LD|AR|HOSTCC) ' "$log")
	if ((count > 0 && total > 0)); then
		printf '[%d of about %d]' "$count" "$total"
	elif ((count > 0)); then
		printf '[%d]' "$count"
	fi
}

# run_logged LABEL LOG TOTAL HINT -- COMMAND…: runs COMMAND with its output in LOG,
# shows what, how far and how long; on failure the end of the log, where it is and
# HINT. TOTAL is the expected number of compiled objects, 0 if unknown.
run_logged()
{
	local label=$1 log=$2 total=$3 hint=$4 start=$SECONDS pid status=0 shown=0 elapsed
	shift 5
	mkdir -p "$(dirname "$log")"
	"$@" >"$log" 2>&1 </dev/null &
	pid=$!
	[ -t 2 ] || say "$label …"
	while kill -0 "$pid" 2>/dev/null; do
		elapsed=$((SECONDS - start))
		if [ -t 2 ]; then
			printf '\r\033[K%s … %s %s' "$label" "$(progress_of "$log" "$total")" \
				"$(seconds_text "$elapsed")" >&2
		elif ((elapsed - shown >= 30)); then
			shown=$elapsed
			say "  $label: $(progress_of "$log" "$total") $(seconds_text "$elapsed")"
		fi
		sleep 0.3
	done
	wait "$pid" || status=$?
	elapsed=$((SECONDS - start))
	[ -t 2 ] && printf '\r\033[K' >&2
	if ((status != 0)); then
		say "$label: FAILED (status $status) after $(seconds_text "$elapsed"); the end of its log:"
		tail -n 25 "$log" | sed 's/^/  | /' >&2
		die "$label failed" "whole log: $log" "$hint"
	fi
	say "$label: done in $(seconds_text "$elapsed")"
}

# The compiler of the two upstream trees, cached by content. Paths below the
# repository are hashed relative, so that every clone shares one cache; so do
# people and CI, whose languages differ.
use_ccache()
{
	export CCACHE_DIR=${CCACHE_DIR:-$CRAM_CACHE/ccache}
	export CCACHE_BASEDIR=$CRAM_TOP CCACHE_NOHASHDIR=1 CCACHE_MAXSIZE=${CCACHE_MAXSIZE:-6G}
	export CCACHE_SLOPPINESS=locale
	mkdir -p "$CCACHE_DIR"
}

# junit_counts FILE: "PASSED FAILED SKIPPED" test cases in meson's junit log, where
# every TAP line is a case of its own.
junit_counts()
{
	xmllint --xpath 'concat(
		count(//testcase[not(failure) and not(error) and not(skipped)]), " ",
		count(//testcase[failure or error]), " ",
		count(//testcase[skipped]))' "$1" 2>/dev/null || echo 0 1 0
}

# testlog_failures FILE: what failed in meson's text log, for the end of a long run: the name of
# the test, each of its TAP lines that is "not ok" with what it says, or else its last words.
testlog_failures()
{
	awk -v said=12 '
		function flush_test(i) {
			if (bad && !shown)
				for (i = n > said ? n - said + 1 : 1; i <= n; i++)
					print "  | " line[i]
			bad = shown = n = 0
		}
		/^test: / { flush_test(); name = $NF; next }
		/^result: / {
			sub(/^result: +/, "")
			bad = $0 !~ /^exit status (0|77)$/
			if (bad)
				print name ": " $0
			next
		}
		!bad || /^(command|start time|duration): / || /^[-=]+( std(out|err) [-]+| [0-9]+\/[0-9]+ =+)?$/ { next }
		/^not ok / { shown = left = said; print "  | " $0; next }
		left > 0 && /^#/ { left--; print "  | " $0; next }
		/^(ok|Bail out) / { left = 0 }
		/^Summary of Failures:/ { flush_test(); next }
		NF { line[++n] = $0 }
		END { flush_test() }' "$1"
}

# need_kernel VARIANT: builds a kernel that is not there; ends the script if that fails.
need_kernel()
{
	[ ! -r "$CRAM_BUILD/linux/$1.bzImage" ] || return 0
	say "kernel $1 is not built yet: kernel/build $1"
	"$CRAM_TOP/kernel/build" "$1" >&2 || exit
}
