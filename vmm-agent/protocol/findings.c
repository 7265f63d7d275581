// SPDX-License-Identifier: GPL-2.0-or-later
/* The codes of what `cramctl check` finds, for programs; what is found this time is the agent's. */
#include "protocol/model.h"

#include "util/cleanup.h"

/* clang-format off: rows that can be read as a table */
static const struct {
	const char *name, *text, *advice;
} findings[] = {
	[CRAM_FINDING_SELL] = { "sell",
				"how much more guest RAM would be admitted, and how much of what is sold then has no place if nothing compresses",
				"nothing, or sell less: [sizing.md](../use/sizing.md)" },
	[CRAM_FINDING_GAIN] = { "gain",
				"guest memory of all VMs that may leave DRAM once it is cold",
				"set `mode` to `auto` where it is `monitor`" },
	[CRAM_FINDING_COMPRESSING_NODE] = { "compressing-node",
					    "an ordinary node is, or may be, memory of a card that compresses, with nobody to guard it: what does not fit is lost",
					    "take the node offline (`cramctl node offline`), or correct `compressing_nodes`" },
	[CRAM_FINDING_NO_TIER] = { "no-tier", "the host has no slow memory",
				   "bring a node online (`cramctl node online`), correct `tier_nodes`, or use zswap" },
	[CRAM_FINDING_MEMORY_RECLAIM] = { "memory-reclaim",
					  "nobody can name the node to this kernel: memory goes there by `memory.reclaim`, and the kernel chooses which",
					  "nothing; a kernel with our patches lets the agent choose" },
	[CRAM_FINDING_TIER] = { "tier", "a tier that takes memory", "nothing" },
	[CRAM_FINDING_ZSWAP_SWAP] = { "zswap-swap",
				      "there is less free swap than may leave DRAM for zswap: each page there keeps a place in it",
				      "add swap" },
	[CRAM_FINDING_TIER_STATE] = { "tier-state",
				      "a card takes nothing: it is evicting, stale, overrun or offline",
				      "see the kernel log, and the alert on that state: [alerts.md](../use/alerts.md)" },
	[CRAM_FINDING_DETECTOR] = { "detector",
				    "by what cold memory is found; as a warning, what does not work of it",
				    "with a warning: as its text says" },
	[CRAM_FINDING_DAMON_REGIONS] = { "damon-regions",
					 "a region of DAMON's is larger than a range: less that is hot in it is not seen by DAMON",
					 "raise `damon_max_regions`" },
	[CRAM_FINDING_NO_LIBVIRT] = { "no-libvirt",
				      "libvirt does not answer: VMs that start are not seen",
				      "start libvirtd or virtqemud, or correct `libvirt_uri`" },
	[CRAM_FINDING_CONFIG] = { "config",
				  "the last reload was refused, and the configuration before it is in force",
				  "correct the file and `cramctl reload`" },
	[CRAM_FINDING_NO_SWAP] = { "no-swap",
				   "the host has no swap: when DRAM and tiers are full, only killing frees memory; or, with `relief_swap = yes`, none that is not DRAM (zram, zswap)",
				   "add swap, or sell no more than is guaranteed" },
	[CRAM_FINDING_SHMEM_THP] = { "shmem-thp",
				     "huge pages are off for shared memory: RAM of memfd guests is mapped and moved page by page",
				     "write `advise` to /sys/kernel/mm/transparent_hugepage/shmem_enabled" },
	[CRAM_FINDING_SETTINGS] = { "settings",
				    "a remark on the settings of the VM, such as a bad value in its XML",
				    "as its text says" },
	[CRAM_FINDING_NOT_ON_CRAM] = { "cram", "the VM may use the tier `cram`, and cannot",
				       "as its text says" },
	[CRAM_FINDING_NOT_ON_NODE] = { "node", "the VM may use the tier `node`, and cannot",
				       "as its text says" },
	[CRAM_FINDING_NOT_ON_ZSWAP] = { "zswap", "the VM may use the tier `zswap`, and cannot",
					"as its text says" },
	[CRAM_FINDING_TIERS] = { "tiers", "the VM's setting `tiers` names none that this host has",
				 "name one in `tiers`, or run it elsewhere" },
	[CRAM_FINDING_FLOOR] = { "floor", "the VM's floor keeps all of its memory in DRAM",
				 "lower its `floor`, if it may be tiered" },
	[CRAM_FINDING_ELIGIBLE] = { "eligible",
				    "the VM's memory that may leave DRAM once it is cold",
				    "set its `mode` to `auto` where it is not" },
	[CRAM_FINDING_CLAMPED] = { "clamped",
				   "a setting of the VM is more than it can be, and counts as the most that it can",
				   "correct it: as its text says" },
};
/* clang-format on */
_Static_assert(ARRAY_SIZE(findings) == CRAM_N_FINDINGS, "a row per finding");

const char *cram_finding_name(enum cram_finding finding)
{
	return findings[finding].name;
}

const char *cram_finding_text(enum cram_finding finding)
{
	return findings[finding].text;
}

const char *cram_finding_advice(enum cram_finding finding)
{
	return findings[finding].advice;
}
