# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# shellcheck disable=SC2154  # what tap.sh has
# A page of docs/ as a test: the commands in it are run as they stand there. Sourced after tap.sh, never run.
#
#   guide_blocks FILE HEADING [BEGINNING]
#                   the blocks of commands below that heading ("## Title"), up to the next one, or of them what begins like
#                   that: a file each, in order, in the array guide
#   guide_follow    runs them, each in a shell of its own in which the first failure ends it; what comes after a block that
#                   failed leans on it and is not run
#
# Which test runs which block is in tests/examples.md.
guide=()
guide_sections=0

guide_blocks()
{
	local out=$tap_scratch/guide.$((guide_sections++)) block
	mkdir "$out"
	awk -v heading="$2" -v out="$out" '
		/^#+ / { inside = $0 == heading }
		!inside || !/^    / { block = 0; next }
		!block++ { file = sprintf("%s/block.%02d", out, ++n) }
		{ print substr($0, 5) > file }
	' "$1"
	guide=()
	for block in "$out"/block.??; do
		[ ! -e "$block" ] || [[ $(head -n 1 "$block") != "${3:-}"* ]] || guide+=("$block")
	done
	((${#guide[@]})) || { echo "Bail out! there is no command below \"$2\" of $1${3:+ that begins with \"$3\"}"; exit 1; }
}

guide_follow()
{
	local block
	for block in "${guide[@]}"; do
		[ "$tap_failed" = 0 ] || return
		tap_check "as the guide says: $(head -n 1 "$block")" bash -e -o pipefail "$block"
	done
}
