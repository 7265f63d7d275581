# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# How our QEMU is configured, and what of it is compiled. Sourced, after upstream.sh,
# by what builds it once and what builds it after every patch.

# QEMU wants a newer meson than Debian 12's; its configure takes the one it finds,
# and ninja calls it again when a build file changed.
use_meson()
{
	local meson
	meson=$(tool_from_suite meson) || exit 1
	export PATH=$meson/usr/bin:$PATH PYTHONPATH=$meson/usr/lib/python3/dist-packages
}

our_options=$CRAM_TOP/qemu-patches/config/options

# known_options TREE: of our options those that its configure knows: some come with a patch.
known_options()
{
	local option
	while read -r option; do
		! grep -qE -- "^ *${option%%=*}(=\*)?\)" "$1/configure" "$1/scripts/meson-buildoptions.sh" || echo "$option"
	done < <(grep -v '^#' "$our_options")
}

# configure WORK OPTIONS: of $WORK/tree, in $WORK/out, unless it is, with the options in a file.
configure()
{
	local out=$1/out options=$2
	cmp -s "$options" "$out/options" && [ -f "$out/build.ninja" ] && return
	rm -rf "$out"
	mkdir -p "$out"
	use_ccache
	# shellcheck disable=SC2046  # one option a line
	run_logged "qemu: configure" "$1/log/config.log" 0 "see qemu-patches/config/options" -- \
		env -C "$out" ../tree/configure --python=/usr/bin/python3 --cc='ccache gcc' \
		$(grep -v '^#' "$options")
	cp "$options" "$out/options"
}

# regenerate WORK: a changed build file first: which tests there are follows from it.
regenerate()
{
	ninja -C "$1/out" build.ninja >"$1/log/regenerate.log" 2>&1 ||
		die "qemu: a build file is wrong" "whole log: $1/log/regenerate.log"
}

# ninja_targets WORK: QEMU itself and those of its tests of CXL that there are.
ninja_targets()
{
	local test
	echo qemu-system-x86_64
	for test in cxl-test cxl-compressed-test cxl-compressed-walk-test cxl-direct-map-test cxl-dirty-log-test \
		tcg-code-store-test; do
		! grep -q "^build tests/qtest/$test:" "$1/out/build.ninja" || echo "tests/qtest/$test"
	done
}

# compile WORK LABEL LOG HINT
compile()
{
	local targets
	use_ccache
	# ../tree, not a path of this clone: one cache for all clones.
	export CCACHE_BASEDIR=$1
	# The compiler's own list of headers, rather than a run of the preprocessor for it.
	export CCACHE_DEPEND=1
	regenerate "$1"
	mapfile -t targets < <(ninja_targets "$1")
	run_logged "$2" "$3" 0 "$4" -- ninja -C "$1/out" -j"$CRAM_JOBS" "${targets[@]}"
}
