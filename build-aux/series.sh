# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# The series as commits: `refresh` folds edits made in the tree back into src/ and
# patches/, `export` writes the whole as a mailable series, after the letter that
# introduces it, if there is one beside patches/. Sourced by both parts.

. "$(dirname "${BASH_SOURCE[0]}")/upstream.sh"

series_git()
{
	git -C "$series" -c user.name='The cram authors' -c user.email=cram@localhost \
		-c core.autocrlf=false -c commit.gpgsign=false -c init.defaultBranch=series -c advice.detachedHead=false "$@"
}

# series_commits CLAIM: a scratch repository at $series whose first commit is
# upstream's copy of every touched file and whose others are the patches. With
# CLAIM=yes a patch also carries the new files its "Adds:" lines name.
series_commits()
{
	local claim=$1 patch file message
	series=$(mktemp -d "$up_work/series.XXXXXX")
	series_git init -q
	while read -r file; do
		[ -e "$up_work/stage/pristine/$file" ] && copy_into "$up_work/stage/pristine/$file" "$series/$file"
	done < <(files_of "$up_work/stage/applied" "$up_work/stage/pristine")
	: >"$series/.base"
	series_git add -A
	series_git commit -qm "$up_name $up_version"
	message=$(mktemp)
	while read -r patch; do
		apply_one "$series" "$patch"
		commit_message "$patch" >"$message"
		if [ "$claim" = yes ]; then
			while read -r file; do
				[ -e "$up_src/$file" ] || die "$(basename "$patch") adds $file, which is not in src/"
				[ ! -e "$series/$file" ] || die "$(basename "$patch") adds $file, which an earlier patch added"
				copy_into "$up_src/$file" "$series/$file"
			done < <(sed -n 's/^Adds: //p' "$message")
			sed -i '/^Adds: /d' "$message"
		fi
		series_git add -A
		series_git commit -q --author "$(sed -n 's/^From: \(.*<.*>\)$/\1/p' "$patch" | head -n 1)" \
			--date "$(sed -n 's/^Date: //p' "$patch" | head -n 1)" -F "$message"
	done < <(patch_files)
	rm -f "$message"
}

# Subject and body of a patch in mail form.
commit_message()
{
	local dir
	dir=$(mktemp -d)
	git mailinfo "$dir/body" "$dir/diff" <"$1" >"$dir/info"
	sed -n 's/^Subject: //p' "$dir/info"
	printf '\n'
	cat "$dir/body"
	rm -rf "$dir"
}

# series_format DIRECTORY [OPTION…]: the commits as files there, with options for format-patch.
series_format()
{
	local out=$1
	shift
	series_git format-patch -q "$@" --zero-commit --no-signature --no-stat -o "$out" "$(series_git rev-list --max-parents=0 HEAD)..series"
}

# fold FILE: a commit for each hunk of an edit, to be squashed into the patch that the
# lines are from: those changed, or those beside what is new. Where they are all
# upstream's, it is the last patch that touches the file.
fold()
{
	local file=$1 tip root hunk start count commits target dir
	tip=$(series_git rev-parse refs/tags/tip)
	root=$(series_git rev-list --max-parents=0 HEAD)
	dir=$(mktemp -d)
	series_git diff -U0 "$tip" -- "$file" | awk -v dir="$dir" '
		/^@@/ { out = sprintf("%s/%06d", dir, ++n); printf "%s", head >out }
		!n { head = head $0 "\n"; next }
		{ print >out }'
	# From the beginning: git puts what is only added where it is in the end, counted in lines.
	while read -r hunk; do
		IFS=' ,' read -r start count < <(sed -nE 's/^@@ -([0-9]+)(,([0-9]+))? .*/\1 \3/p' "$hunk")
		case ${count:=1} in
		0) count=2; ((start)) || { start=1; count=1; } ;;
		esac
		commits=$(series_git blame -s -l -L "$start,+$count" "$tip" -- "$file" | cut -d' ' -f1 | sed 's/^^.*//' | sort -u)
		target=$(series_git rev-list "$root..$tip" | grep -xF "$commits" | sed -n 1p) ||
			target=$(series_git log -1 --format=%H "$tip" -- "$file")
		series_git apply --cached --unidiff-zero "$hunk"
		series_git commit -q --fixup="$target"
	done < <(find "$dir" -type f | sort)
	rm -rf "$dir"
}

# Files of the tree that differ from what the series put there.
tree_edits()
{
	local file expected
	while read -r file; do
		if [ -e "$up_work/stage/applied/$file" ]; then
			expected=$up_work/stage/applied/$file
		elif pristine_copy "$up_tree" "$file"; then
			expected=$up_work/stage/pristine/$file
		else
			expected=/dev/null
		fi
		cmp -s "$expected" "$up_tree/$file" || printf '%s\n' "$file"
	done < <(cd "$up_tree" && find . -path ./out.\* -prune -o -name .git -prune -o -type f -newer .upstream-version \
		! -name '*.orig' ! -name '*.rej' ! -name '*~' ! -name '*.pyc' -printf '%P\n' | sort)
}

refresh_usage()
{
	cat <<-END
		usage: ${up_part##*/}/refresh [--into NNNN-NAME.patch | --new SUBJECT]

		Folds edits made in build/$up_name/tree back: a changed or added new file goes
		to src/, a change to an existing file, or to a new one that grows patch by
		patch, into the patches that the changed lines are from, or into the one given
		by --into, or into a new patch with --new. Such a file may be edited in src/ too.
	END
}

series_refresh()
{
	local into='' subject='' file patch grown edits=() fix=() last
	while (($#)); do
		case $1 in
		--into) into=${2:?--into needs the name of a patch}; shift ;;
		--new) subject=${2:?--new needs a subject}; shift ;;
		-h | --help) refresh_usage; return ;;
		*) refresh_usage >&2; die "unknown argument: $1" ;;
		esac
		shift
	done
	[ -z "$into" ] || [ -f "$up_patches/$(basename "$into")" ] || die "no such patch: $into"
	[ -d "$up_work/stage/applied" ] || die "nothing to refresh: there is no tree yet" "run ${up_part#"$CRAM_TOP"/}/build prepare"
	upstream_fetch
	grown=$(grown_files)
	mapfile -t edits < <(tree_edits)
	for file in "${edits[@]}"; do
		if [ -e "$up_work/stage/pristine/$file" ]; then
			fix+=("$file")
		else
			copy_into "$up_tree/$file" "$up_src/$file"
			copy_into "$up_tree/$file" "$up_work/stage/applied/$file"
			say "src/$file"
		fi
	done
	((${#fix[@]})) || [ -n "$grown" ] || { ((${#edits[@]})) || say "$up_name: the tree has no edits"; return; }

	series_commits no
	series_git tag tip
	while read -r file; do
		[ -z "$file" ] || cmp -s "$up_src/$file" "$series/$file" || fix+=("$file")
	done <<<"$grown"
	((${#fix[@]})) || { rm -rf "$series"; ((${#edits[@]})) || say "$up_name: the tree has no edits"; return; }
	for file in "${fix[@]}"; do
		last=$(series_git log -1 --format=%H "$(series_git rev-list --max-parents=0 HEAD)..tip" -- "$file")
		[ -n "$subject$into$last" ] || die "no patch touches $file yet" "say where it belongs: --into PATCH or --new SUBJECT"
		if grep -qxF "$file" <<<"$grown"; then
			copy_into "$up_src/$file" "$series/$file"
		else
			copy_into "$up_tree/$file" "$series/$file"
		fi
		if [ -n "$subject" ]; then
			series_git add "$file"
		elif [ -n "$into" ]; then
			series_git add "$file"
			# Commits follow the patches' order: the n-th patch is the n-th from the root.
			patch=$(patch_files | grep -nF "/$(basename "$into")" | cut -d: -f1)
			series_git commit -q --fixup="$(series_git rev-list --reverse tip | sed -n "$((patch + 1))p")"
		else
			fold "$file"
		fi
	done
	if [ -n "$subject" ]; then
		series_git commit -q -s -m "$subject"
	else
		GIT_SEQUENCE_EDITOR=: series_git rebase -q -i --autosquash --root ||
			die "the edit does not fit into its patch: a later patch changes the same lines" \
				"choose the later one with --into; scratch repository: $series"
	fi
	rm -rf "$up_work/refreshed"
	# Unnumbered: a patch that nothing was folded into stays as it is.
	series_format "$up_work/refreshed" --no-numbered
	rm -f "$up_patches"/[0-9]*.patch
	cp "$up_work/refreshed"/*.patch "$up_patches/"
	rm -rf "$series" "$up_work/refreshed"
	for file in "${fix[@]}"; do
		grep -qxF "$file" <<<"$grown" || copy_into "$up_tree/$file" "$up_work/stage/applied/$file"
		say "patches: $file"
	done
}

series_export()
{
	local out=${1:-$up_work/series} letter claimed file
	case ${1:-} in
	-h | --help)
		say "usage: ${up_part##*/}/export [DIRECTORY]   (default build/$up_name/series)"
		say "Writes src/ and patches/ as one mailable git format-patch series."
		return
		;;
	-*) die "unknown option: $1" "see --help" ;;
	esac
	# The series is written by a git that works somewhere else.
	out=$(realpath -m "$out")
	[ ! -e "$out" ] || [ -d "$out" ] || die "$out is not a directory"
	[ ! -d "$out" ] || [ -z "$(find "$out" -mindepth 1 ! -name '[0-9]*.patch' -print -quit)" ] ||
		die "$out holds something else than patches" "name an empty or a new directory"
	upstream_prepare
	claimed=$({ cat /dev/null "$up_patches"/[0-9]*.patch 2>/dev/null | sed -n 's/^Adds: //p'; grown_files; } | sort)
	while read -r file; do
		grep -qxF "$file" <<<"$claimed" ||
			die "src/$file belongs to no patch" "name it in the message of one: 'Adds: $file'"
	done < <(src_files)
	series_commits yes
	mkdir -p "$out"
	rm -f "$out"/[0-9]*.patch
	letter=$(dirname "$up_patches")/cover-letter
	if [ -f "$letter" ]; then
		series_git config branch.series.description "$(sed '1,/^[^#]/{/^#/d}' "$letter")"
		# The letter is of the day of the last patch, so that two exports are the same.
		GIT_COMMITTER_DATE=$(series_git log -1 --format=%aI) series_format "$out" \
			--cover-letter --cover-from-description=subject
	else
		series_format "$out"
	fi
	rm -rf "$series"
	say "$up_name: $(find "$out" -name '*.patch' ! -name '0000-*' | wc -l) patches in $out"
}
