# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# A bare Debian to install packages in: the smallest that Debian makes, kept in the cache. Sourced, after
# tap.sh and upstream.sh.

# bare_debian SUITE DIR: unpacks it there. Needs Debian's mirror the first time.
bare_debian()
{
	local mirror base=$CRAM_CACHE/chroot/$1.tar
	if [ ! -r "$base" ]; then
		mirror=$(machine_mirror)
		[ -n "$mirror" ] || { echo "no Debian mirror in this machine's apt configuration"; return 1; }
		mkdir -p "$(dirname "$base")"
		mmdebstrap --mode=root --variant=minbase --keyring=/usr/share/keyrings "$1" "$base.new.tar" \
			"deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $1 main" &&
			mv "$base.new.tar" "$base" || return
	fi
	mkdir -p "$2" && tar -C "$2" -xf "$base" && cp /etc/resolv.conf "$2/etc/"
}
