# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# The series as commits: `refresh` folds edits made in the tree back into src/ and
# patches/, `export` writes the whole as a mailable series. Sourced by both parts.

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
	series_git format-patch -q "$@" --zero-commit --no-signature --no-stat -o "$out" "$(series_git rev-list --max-parents=0 HEAD)..HEAD"
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
		to src/, a change to an existing file into the last patch that touches it, or
		into the patch given by --into, or into a new patch with --new.
	END
}

series_refresh()
{
	local into='' subject='' file patch edits=() fix=() target last
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
	mapfile -t edits < <(tree_edits)
	((${#edits[@]})) || { say "$up_name: the tree has no edits"; return; }
	for file in "${edits[@]}"; do
		if [ -e "$up_work/stage/pristine/$file" ]; then
			fix+=("$file")
		else
			copy_into "$up_tree/$file" "$up_src/$file"
			copy_into "$up_tree/$file" "$up_work/stage/applied/$file"
			say "src/$file"
		fi
	done
	((${#fix[@]})) || return 0

	series_commits no
	for file in "${fix[@]}"; do
		last=$(grep -lxF -- "--- a/$file" "$up_patches"/[0-9]*.patch 2>/dev/null | tail -n 1)
		target=${into:-$last}
		[ -n "$subject" ] || [ -n "$target" ] || die "no patch touches $file yet" "say where it belongs: --into PATCH or --new SUBJECT"
		copy_into "$up_tree/$file" "$series/$file"
		series_git add "$file"
		[ -n "$subject" ] && continue
		# Commits follow the patches' order: the n-th patch is the n-th from the root.
		patch=$(patch_files | grep -nF "/$(basename "$target")" | cut -d: -f1)
		series_git commit -q --fixup="$(series_git rev-list --reverse HEAD | sed -n "$((patch + 1))p")"
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
		copy_into "$up_tree/$file" "$up_work/stage/applied/$file"
		say "patches: $file"
	done
}

series_export()
{
	local out=${1:-$up_work/series} claimed file
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
	claimed=$(cat /dev/null "$up_patches"/[0-9]*.patch 2>/dev/null | sed -n 's/^Adds: //p' | sort)
	while read -r file; do
		grep -qxF "$file" <<<"$claimed" ||
			die "src/$file belongs to no patch" "name it in the message of one: 'Adds: $file'"
	done < <(src_files)
	series_commits yes
	mkdir -p "$out"
	rm -f "$out"/[0-9]*.patch
	series_format "$out"
	rm -rf "$series"
	say "$up_name: $(find "$out" -name '*.patch' | wc -l) patches in $out"
}
