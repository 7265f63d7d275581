# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# A series applied patch by patch: to upstream's tree at $tree, by a repository at
# $repo of only the files that it touches. What is built after each is the part's
# own affair. Sourced by both parts' `bisect`, after upstream.sh.
# shellcheck disable=SC2154  # tree, repo, log and patches are theirs

# Its work tree is upstream's: git is spared the other files, tens of thousands.
bisect_git()
{
	git -C "$tree" --git-dir="$repo" --work-tree="$tree" -c user.name='The cram authors' -c user.email=cram@localhost \
		-c core.autocrlf=false -c core.hooksPath=/dev/null -c commit.gpgsign=false -c gc.auto=0 \
		-c advice.detachedHead=false "$@"
}

# Of patches: the files they change or add, and those they add.
touched()
{
	sed -n 's,^+++ b/,,p' "$@" | sed 's/\t.*//' | sort -u
}
added()
{
	sed -n '/^--- \/dev\/null/{n;s,^+++ b/,,p}' "$@" | sed 's/\t.*//' | sort -u
}

subject_of()
{
	git mailinfo /dev/null /dev/null <"$1" | sed -n 's/^Subject: //p'
}

# The tree is upstream's, and all that the series in `patches` changes is in the repository.
start_over()
{
	local file
	rm -rf "$repo/rebase-apply"
	if bisect_git rev-parse -q --verify refs/tags/upstream >/dev/null 2>&1; then
		bisect_git reset -q --hard upstream || die "cannot reset $tree" "remove it and try again"
	else
		# Nothing was applied yet.
		rm -rf "$repo"
		bisect_git init -q || die "cannot make a repository at $repo"
	fi
	# A run that was killed may have left one that git does not know of.
	while read -r file; do
		rm -f "$tree/$file"
	done < <(added "${patches[@]}")
	touched "${patches[@]}" | while read -r file; do
		[ ! -e "$tree/$file" ] || printf '%s\n' "$file"
	done | bisect_git add -f --pathspec-from-file=- &&
		bisect_git commit -q --allow-empty -m "$up_name $up_version" &&
		bisect_git tag -f upstream >/dev/null || die "cannot record the upstream files in $repo"
}

# apply PATCH
apply()
{
	bisect_git am -q "$1" >"$log/am.log" 2>&1 </dev/null && return
	sed 's/^/  | /' "$log/am.log" >&2
	die "$(basename "$1") does not apply on top of the patches before it" "whole log: $log/am.log"
}
