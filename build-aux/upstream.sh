# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# An upstream source tree with our changes in it: fetch, verify, unpack, patch.
# kernel/ and qemu-patches/ have the same shape and share this file; what is
# particular to one of them (configure, compile) lives in its own build script.
#
#   base      what to fetch                     src/     new files, at their path in the tree
#   patches/  changes to existing files         build/NAME/tree   the patched tree
#
# A new file comes with one patch, whole, or grows over several: then patches/ has the
# steps as well, and src/ has what they end in, for people to read.
#
# The tree is never half-patched: all patches are first applied to copies of the
# files they touch (the stage); only when every one applied, the stage's files
# replace those in the tree, and only where their content differs, so that an
# incremental build compiles what changed and nothing else.

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# upstream_load PART: reads PART/base and sets the up_* variables.
upstream_load()
{
	local key value
	up_part=$CRAM_TOP/$1
	declare -g up_name='' up_suite='' up_package='' up_format='' up_line='' up_tested='' up_override=''
	while IFS='=' read -r key value; do
		case $key in
		'' | '#'*) ;;
		name | suite | package | format | line | tested | override) declare -g "up_$key=$value" ;;
		*) die "$1/base: unknown key '$key'" ;;
		esac
	done <"$up_part/base"
	up_src=${CRAM_SRC_DIR:-$up_part/src}
	up_patches=${CRAM_PATCH_DIR:-$up_part/patches}
	up_work=$CRAM_BUILD/$up_name
	up_tree=$up_work/tree
	up_sources=$CRAM_CACHE/sources
}

# --- fetch ------------------------------------------------------------------

# An apt of our own: own sources, lists and caches, the machine's mirror and
# proxy, Debian's keyring. It can look up and download; installing is made
# impossible, because a newer suite's packages must never reach the machine.
apt_private()
{
	APT_CONFIG=$CRAM_CACHE/apt/apt.conf "$@"
}

machine_mirror()
{
	apt-get indextargets --format '$(SITE) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' |
		awk '$3 == "main" && $2 !~ /security|updates|backports/ && $1 ~ /debian\/?$/ { print $1; exit }'
}

apt_private_setup()
{
	local apt=$CRAM_CACHE/apt mirror keyring=/usr/share/keyrings/debian-archive-keyring.gpg
	[ -r "$keyring" ] || die "no Debian archive keyring at $keyring" "run 'make deps' (package debian-archive-keyring)"
	mirror=$(machine_mirror)
	[ -n "$mirror" ] || die "no Debian mirror in this machine's apt configuration" \
		"add one to its sources, or set $up_override= to a local tree or tarball"
	mkdir -p "$apt"/{lists/partial,archives/partial,state,etc}
	: >"$apt/state/status"
	cat >"$apt/sources.list" <<-END
		deb [signed-by=$keyring] $mirror $up_suite main
		deb-src [signed-by=$keyring] $mirror $up_suite main
	END
	cat >"$apt/apt.conf" <<-END
		Dir::Etc::SourceList "$apt/sources.list";
		Dir::Etc::SourceParts "/dev/null";
		Dir::Etc::Trusted "/dev/null";
		Dir::Etc::TrustedParts "/dev/null";
		Dir::Etc::Preferences "/dev/null";
		Dir::Etc::PreferencesParts "/dev/null";
		Dir::State "$apt/state";
		Dir::State::status "$apt/state/status";
		Dir::State::Lists "$apt/lists";
		Dir::Cache "$apt";
		Dir::Bin::dpkg "/bin/false";
		APT::Architecture "$(dpkg --print-architecture)";
		APT::Architectures { "$(dpkg --print-architecture)"; };
		APT::Sandbox::User "root";
		APT::Update::Post-Invoke-Success { };
		APT::Get::AllowUnauthenticated "false";
		Acquire::AllowInsecureRepositories "false";
		Acquire::Retries "3";
	END
	run_logged "$up_name: package lists of Debian $up_suite" "$CRAM_CACHE/log/apt-update.log" 0 \
		"check the network; or set $up_override= to a local tree or tarball" -- \
		env APT_CONFIG="$apt/apt.conf" apt-get -o APT::Update::Error-Mode=any update
}

# fetch_package PACKAGE: downloads the newest version of one binary package,
# verified by the archive's signatures, prints the path of the .deb.
fetch_package()
{
	local dir
	mkdir -p "$up_sources"
	dir=$(mktemp -d "$up_sources/.partial.XXXXXX")
	(cd "$dir" && apt_private apt-get -qq download "$1") >&2 ||
		{ rm -rf "$dir"; die "cannot download package $1" "check the network"; }
	mv "$dir"/*.deb "$up_sources/"
	rmdir "$dir"
	newest_of "$up_sources" "${1}_*.deb"
}

newest_of()
{
	find "$1" -maxdepth 1 -name "$2" | sort -V | tail -n 1
}

# A package of a newer suite, unpacked into the cache (never installed); prints where.
tool_from_suite()
{
	local package=$1 deb dest=$CRAM_CACHE/tools/$1
	if [ ! -d "$dest" ]; then
		[ -r "$CRAM_CACHE/apt/apt.conf" ] || apt_private_setup
		deb=$(fetch_package "$package") || exit 1
		rm -rf "$dest.partial"
		mkdir -p "$dest.partial"
		dpkg-deb -x "$deb" "$dest.partial" && mv "$dest.partial" "$dest"
	fi
	printf '%s\n' "$dest"
}

# upstream_fetch [--update]: the source is in the cache; sets up_source (what to
# unpack) and up_version. Without --update a cached source is used as it is.
upstream_fetch()
{
	local override=${!up_override:-} dsc
	if [ -n "$override" ]; then
		[ -e "$override" ] || die "$up_override=$override does not exist"
		up_source=$(realpath "$override")
		up_version=local:$up_source
		return
	fi
	mkdir -p "$up_sources"
	take_lock "$CRAM_CACHE/lock" "download"
	up_source=$(cached_source)
	if [ -z "$up_source" ] || [ "${1:-}" = --update ]; then
		need_space "$up_sources" 600 "the $up_name source"
		apt_private_setup
		mkdir -p "$up_sources"
		local dir
		dir=$(mktemp -d "$up_sources/.partial.XXXXXX")
		case $up_format in
		binary)
			run_logged "$up_name: download of $up_package" "$CRAM_CACHE/log/fetch-$up_name.log" 0 \
				"check the network and try again" -- \
				env -C "$dir" APT_CONFIG="$CRAM_CACHE/apt/apt.conf" apt-get -q download "$up_package"
			;;
		source)
			run_logged "$up_name: download of source package $up_package" "$CRAM_CACHE/log/fetch-$up_name.log" 0 \
				"check the network and try again" -- \
				env -C "$dir" APT_CONFIG="$CRAM_CACHE/apt/apt.conf" apt-get -q source --download-only --only-source "$up_package"
			;;
		esac
		mv "$dir"/* "$up_sources/"
		rmdir "$dir"
		up_source=$(cached_source)
	fi
	flock -u "$CRAM_LOCK_FD"
	case $up_format in
	binary) up_version=$(dpkg-deb -f "$up_source" Version) ;;
	source) up_version=$(sed -n 's/^Version: //p' "$up_source") ;;
	esac
	dsc=${up_version#*:}
	[ "${dsc#"$up_line".}" != "$dsc" ] ||
		die "$up_package is now $up_version, but the patches are for $up_line" \
			"set $up_override= to a tree of $up_line, or port the patches"
	[ "$up_version" = "$up_tested" ] || say "$up_name: note: $up_version, patches last tested with $up_tested"
}

cached_source()
{
	case $up_format in
	binary) newest_of "$up_sources" "${up_package}_*.deb" ;;
	source) newest_of "$up_sources" "${up_package}_*.dsc" ;;
	esac
}

# --- unpack -----------------------------------------------------------------

# upstream_unpack DEST: the pristine tree at DEST, complete or not at all.
upstream_unpack()
{
	local dest=$1 part=$1.partial
	if [ -f "$dest/.upstream-version" ] && [ "$(cat "$dest/.upstream-version")" = "$up_version" ]; then
		return
	fi
	need_space "$(dirname "$dest")" 2500 "the $up_name source tree"
	rm -rf "$part"
	run_logged "$up_name: unpack $up_version" "$up_work/log/unpack.log" 0 \
		"remove $up_sources and try again if the download is damaged" -- \
		unpack_source "$part"
	printf '%s\n' "$up_version" >"$part/.upstream-version"
	rm -rf "$dest"
	# The stage says what is in the patched tree; another copy is none of its business.
	[ "$dest" != "$up_tree" ] || rm -rf "$up_work/stage"
	mv "$part" "$dest"
}

unpack_source()
{
	local part=$1
	set -e -o pipefail
	if [ -d "$up_source" ]; then
		mkdir -p "$part"
		cp -a --reflink=auto "$up_source/." "$part/"
	else
		case $up_source in
		*.deb)
			mkdir -p "$part"
			dpkg-deb --fsys-tarfile "$up_source" | tar -xO --wildcards '*.tar.xz' |
				tar -xJ --strip-components=1 -C "$part"
			;;
		# apt verified the .dsc and its parts when it downloaded them.
		*.dsc) dpkg-source --no-copy --no-check -x "$up_source" "$part" ;;
		*)
			mkdir -p "$part"
			tar -xf "$up_source" --strip-components=1 -C "$part"
			;;
		esac
	fi
}

# --- patch ------------------------------------------------------------------

patch_files()
{
	find "$up_patches" -maxdepth 1 -name '[0-9]*.patch' 2>/dev/null | sort
}

# Paths that a patch changes, one a line.
patch_targets()
{
	sed -n 's,^--- a/,,p' "$1" | sed 's/\t.*//' | sort -u
}

# Paths that patches create and others may go on with; src/ has what comes out.
grown_files()
{
	cat /dev/null "$up_patches"/[0-9]*.patch 2>/dev/null | sed -n '\,^--- /dev/null$,{n;s,^+++ b/,,p}' | sed 's/\t.*//' | sort -u
}

src_files()
{
	[ -d "$up_src" ] || return 0
	(cd "$up_src" && find . -type f ! -name '.gitkeep' -printf '%P\n' | sort)
}

# upstream_patch TREE: src/ and patches/ are in TREE, or TREE is as it was.
# stage/pristine holds upstream's copy of every file ever touched, stage/applied
# what the last run put into the tree: a file that differs from it was edited by
# hand, and is never overwritten.
upstream_patch()
{
	local tree=$1 stage=$up_work/stage patch file grown edited=()
	local new=$stage/new applied=$stage/applied pristine=$stage/pristine
	mkdir -p "$pristine" "$applied"
	rm -rf "$new"
	mkdir -p "$new"
	grown=$(grown_files)

	while read -r patch; do
		while read -r file; do
			[ -e "$new/$file" ] || grep -qxF "$file" <<<"$grown" && continue
			pristine_copy "$tree" "$file" ||
				die "$(basename "$patch") changes a file that $up_name $up_version does not have: $file" \
					"new files belong in ${up_src#"$CRAM_TOP"/}"
			copy_into "$pristine/$file" "$new/$file"
		done < <(patch_targets "$patch")
	done < <(patch_files)
	while read -r patch; do
		apply_one "$new" "$patch"
	done < <(patch_files)
	while read -r file; do
		[ -z "$file" ] || cmp -s "$up_src/$file" "$new/$file" ||
			die "${up_src#"$CRAM_TOP"/}/$file is not what the patches make of it" \
				"fold it into them: ${up_part#"$CRAM_TOP"/}/refresh"
	done <<<"$grown"
	while read -r file; do
		if { [ -e "$new/$file" ] && ! grep -qxF "$file" <<<"$grown"; } ||
			{ [ -e "$tree/$file" ] && [ ! -e "$applied/$file" ]; }; then
			die "${up_src#"$CRAM_TOP"/}/$file is not new: $up_name $up_version has a file of that name" \
				"change existing files by a patch in ${up_patches#"$CRAM_TOP"/}"
		fi
		copy_into "$up_src/$file" "$new/$file"
	done < <(src_files)

	while read -r file; do
		cmp -s "$applied/$file" "$new/$file" && continue
		if [ -e "$applied/$file" ] && ! cmp -s "$applied/$file" "$tree/$file"; then
			edited+=("$file")
		fi
	done < <(files_of "$applied" "$new")
	((${#edited[@]} == 0)) || die "the series and the tree both changed; the tree's edits would be lost: ${edited[*]}" \
		"keep them: ${up_part#"$CRAM_TOP"/}/refresh      drop them: ${up_part#"$CRAM_TOP"/}/build --discard-edits"

	while read -r file; do
		cmp -s "$applied/$file" "$new/$file" && continue
		if [ -e "$new/$file" ]; then
			copy_into "$new/$file" "$tree/$file"
			touch "$tree/$file"
		elif [ -e "$pristine/$file" ]; then
			copy_into "$pristine/$file" "$tree/$file"
			touch "$tree/$file"
		else
			rm -f "$tree/$file"
		fi
	done < <(files_of "$applied" "$new")
	rm -rf "$applied"
	mv "$new" "$applied"
}

files_of()
{
	local dir
	for dir in "$@"; do
		(cd "$dir" && find . -type f -printf '%P\n')
	done | sort -u
}

# pristine_copy TREE FILE: stage/pristine has upstream's copy of FILE. The tree's
# own copy serves while it is older than the unpacking.
pristine_copy()
{
	local tree=$1 file=$2 pristine=$up_work/stage/pristine
	[ -e "$pristine/$file" ] && return
	if [ -e "$tree/$file" ] && [ ! "$tree/$file" -nt "$tree/.upstream-version" ]; then
		copy_into "$tree/$file" "$pristine/$file"
		return
	fi
	if [ ! -d "$up_work/stage/source" ]; then
		rm -rf "$up_work/stage/source.partial"
		unpack_source "$up_work/stage/source.partial" >&2 &&
			mv "$up_work/stage/source.partial" "$up_work/stage/source"
	fi
	[ -e "$up_work/stage/source/$file" ] && copy_into "$up_work/stage/source/$file" "$pristine/$file"
}

copy_into()
{
	mkdir -p "$(dirname "$2")" && cp -p "$1" "$2"
}

# apply_one DIR PATCH: on failure says which patch, file and hunk.
apply_one()
{
	local dir=$1 patch=$2 out
	out=$(patch -d "$dir" -p1 --force --no-backup-if-mismatch --reject-file=- <"$patch" 2>&1) && return
	say "$up_name: $(basename "$patch") does not apply to $up_version:"
	printf '%s\n' "$out" | awk '
		/^patching file / { file = $3 }
		/FAILED|No such file|malformed|garbage|Skipping/ { print "  " (file == "" ? "" : file ": ") $0 }' >&2
	die "$(basename "$patch") does not apply; the tree was left as it was" \
		"mend $patch; the failing hunks are named above"
}

# upstream_prepare [--update]: the patched tree is at $up_tree.
upstream_prepare()
{
	upstream_fetch "$@"
	take_lock "$up_work/lock" "build of $up_name"
	upstream_unpack "$up_tree"
	upstream_patch "$up_tree"
}
