# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# What the stories of the demo share: the agent, libvirt guests with settings in their XML and
# workloads that verify their memory. Sourced, inside the emulated host.
set -u -o pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../../build-aux/lib.sh"
cd "$CRAM_TOP" || exit
export CRAM_MESON_BUILD=${CRAM_MESON_BUILD:-$CRAM_BUILD/meson}
[ "${CRAM_EMULATED_HOST:-}" = 1 ] || die "the demo is told inside the emulated host" "tests/demo/run"

guest=tests/host/guest

ctl()
{
	"$CRAM_MESON_BUILD/vmm-agent/ctl/cramctl" --timeout 60 "$@"
}

step()
{
	printf '\n== %s\n' "$*"
}

mib()
{
	echo $((($1 + (1 << 19)) >> 20))
}

# Things done side by side: each adds its pid, and all of them must end well.
pids=()
together()
{
	local pid failed=
	for pid in "${pids[@]}"; do
		wait "$pid" || failed=1
	done
	pids=()
	[ -z "$failed" ] || die "the demo ends here"
}

# start_agent TIER
start_agent()
{
	cat >/run/demo.conf <<-END
		[host]
		round = 1000
		reserve = 64 MiB
		vm_overhead = 16 MiB
		[policy]
		headroom_min = 32 MiB
		quota_slack = 2 MiB
		[vm]
		tiers = $1
		[detect]
		second_look = 1000
		damon_sample = 100 ms
		damon_aggregation = 2000 ms
	END
	"$CRAM_MESON_BUILD/vmm-agent/cramd/cramd" -c /run/demo.conf >/run/demo.log 2>&1 &
	agent=$!
	until ctl status; do
		kill -0 "$agent" || die "the agent does not start: $(cat /run/demo.log)"
		sleep 1
	done >/dev/null 2>&1
}

# start NAME MIB SETTINGS…
start()
{
	local name=$1 mem=$2 file
	shift 2
	file=$(mktemp)
	printf '<cram:tiering xmlns:cram="urn:cramd:domain:1.0" mode="auto">%s</cram:tiering>\n' "$*" >"$file"
	"$guest" start "$name" --libvirt --mem "${mem}M" --timeout 600 --metadata "$file" ||
		die "guest $name does not start"
	printf '   %-11s %4s MiB   %s\n' "$name" "$mem" "$*"
}

# load NAME OPTION…: one more workload in a guest, of known pages of which it uses known ones.
load()
{
	local name=$1
	shift
	"$guest" exec "$name" --timeout 300 -- sh -c "echo madvise >/sys/kernel/mm/transparent_hugepage/enabled
		out=\$(mktemp /tmp/out.XXXXXX)
		accessmap $* --seconds 86400 >\$out 2>&1 &
		until grep -q . \$out; do sleep 1; done; grep -q ready \$out" ||
		die "the workload of $name does not start"
}

# verify NAME…: all that their workloads wrote is there, by their own word.
verify()
{
	local name damaged=
	for name in "$@"; do
		printf '   %-11s ' "$name"
		# shellcheck disable=SC2016  # the guest's
		"$guest" exec "$name" --timeout 300 -- sh -c 'killall -USR2 accessmap
			for out in /tmp/out.*; do
				until grep -qE "verified|damaged" $out; do sleep 1; done
				tail -n 1 $out | sed "s/ (.*//"
			done | xargs
			! grep -L verified /tmp/out.* | grep -q .' || damaged=1
	done
	[ -z "$damaged" ] || die "a guest's memory was damaged"
}

end()
{
	local name
	for name in "$@"; do
		"$guest" stop "$name"
	done
	kill "$agent" && wait "$agent"
}
