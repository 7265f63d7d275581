// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The one table of host options: unit, default, range, reason. It gives the parser its keys, the
 * built-in configuration its values and cramd.conf(5) its text. Settings of VMs are in vm.c.
 */
#include "settings/settings.h"

#include "util/cleanup.h"

#define OFF(m)	offsetof(struct cram_host_settings, m)
#define SIZE(m) sizeof(((struct cram_host_settings *)0)->m)

/* Texts are names of what is opened once. */
#define TEXT(sec, k, m, d, why)                                                                    \
	{                                                                                          \
		sec, k, CRAM_OPT_TEXT, OFF(m), SIZE(m), "text", d, 0, SIZE(m) - 1, why, NULL, true \
	}
#define NODES(sec, k, m, d, why)                                                                  \
	{                                                                                         \
		sec, k, CRAM_OPT_NODES, OFF(m), SIZE(m), "nodeset", d, 0, SIZE(m) - 1, why, NULL, \
			false                                                                     \
	}
#define U32(sec, k, m, u, d, lo, hi, why)                                       \
	{                                                                       \
		sec, k, CRAM_OPT_U32, OFF(m), 4, u, d, lo, hi, why, NULL, false \
	}
#define BYTES(sec, k, m, u, d, lo, hi, why)                                       \
	{                                                                         \
		sec, k, CRAM_OPT_BYTES, OFF(m), 8, u, d, lo, hi, why, NULL, false \
	}

#define CHOICE(sec, k, m, d, names, why)                                                         \
	{                                                                                        \
		sec, k, CRAM_OPT_CHOICE, OFF(m), SIZE(m), "name", d, 0, 0, why, .choices = names \
	}

static const char *const yes_no[] = {
	[CRAM_NO] = "no",
	[CRAM_YES] = "yes",
	[CRAM_N_YES_NO] = NULL,
};

static const char *const detectors[] = {
	[CRAM_DETECTOR_AUTO] = "auto",
	[CRAM_DETECTOR_DAMON] = "damon",
	[CRAM_DETECTOR_PAGE_IDLE] = "page_idle",
	[CRAM_N_DETECTORS] = NULL,
};

static const char *const admissions[] = {
	[CRAM_ADMISSION_OFF] = "off",
	[CRAM_ADMISSION_WARN] = "warn",
	[CRAM_ADMISSION_STRICT] = "strict",
	[CRAM_N_ADMISSION_MODES] = NULL,
};

static const char *const sells[] = {
	[CRAM_SELL_GUARANTEED] = "guaranteed",
	[CRAM_SELL_EXPECTED] = "expected",
	[CRAM_N_SELLS] = NULL,
};

const char *cram_detector_name(enum cram_detector d)
{
	return detectors[d];
}

const char *cram_admission_mode_name(enum cram_admission_mode m)
{
	return admissions[m];
}

const char *cram_sell_name(enum cram_sell s)
{
	return sells[s];
}

/* clang-format off: rows of a table, the reasons wrapped by hand */
const struct cram_option cram_options[] = {
	TEXT("host", "libvirt_uri", libvirt_uri, "qemu:///system",
	     "Where libvirt is asked for VMs, read-only. \"none\": no libvirt."),
	NODES("host", "tier_nodes", tier_nodes, "auto",
	      "NUMA nodes used by the tier \"node\": a nodeset such as \"2-3\", \"auto\" for nodes with "
	      "memory and no CPU, or \"none\"."),
	NODES("host", "compressing_nodes", compressing_nodes, "none",
	      "NUMA nodes that are memory of a card that compresses and must never be used as the tier "
	      "\"node\", as a nodeset. Such cards are recognised by themselves where the kernel's CXL drivers "
	      "manage them; name here what firmware hides from them."),
	CHOICE("host", "zswap_writeback", zswap_writeback, "no", yes_no,
	       "Whether the tier \"zswap\" may be used by a VM whose memory the kernel may write on from zswap to disk: its "
	       "cgroup has 1 in memory.zswap.writeback and, from Linux 6.11 on, so have all above it. A guest then waits for that disk."),
	CHOICE("host", "relief_swap", relief_swap, "no", yes_no,
	       "When a card pushes back and DRAM has no room above headroom: whether what the VM that is furthest over its share has "
	       "there goes to swap. It needs swap on a disk that no zram comes before, and zswap off: else what is swapped is in DRAM. \"no\" leaves it to the kernel, which makes room on the card in any case, and takes "
	       "what is idle, whosever it is. A guest then waits for the disk, and that has what was in the guest's memory."),
	TEXT("host", "state_dir", state_dir, CRAM_STATE_DIR,
	     "Where settings made with --persist are kept, and what is paused or drained. Nothing else is."),
	U32("host", "round", round_ms, "ms", "2000", 100, 60000,
	    "Time from one round of sensing and deciding to the next. Short enough that a lowered quota "
	    "is acted on at once, long enough to cost nothing."),
	U32("host", "pressure", pressure_ms, "ms", "100", 10, 10000,
	    "How often free DRAM is looked at, whatever a round is busy with, and a card that takes nothing or is nearly "
	    "full. Each time is one small file per home node, and a few of such a card."),
	BYTES("host", "reserve", reserve_bytes, "bytes", "1 GiB", 0, 64 * TiB,
	      "DRAM kept for the host itself: neither promised to VMs nor sold."),
	BYTES("host", "vm_overhead", vm_overhead_bytes, "bytes", "128 MiB", 0, TiB,
	      "DRAM that is counted for each VM beside its guest's RAM: for QEMU itself, its threads' stacks, device "
	      "buffers and page tables. More where guests have many devices or disks."),
	CHOICE("host", "admission", admission, "warn", admissions,
	       "What the libvirt hook does with a VM that does not fit (see ADMISSION): off, it is not judged; warn, it is "
	       "started and that is said; strict, its start is refused."),
	CHOICE("host", "sell", sell, "guaranteed", sells,
	       "Up to which figure guest RAM is sold: guaranteed, what the host can honour with nothing compressed; expected, "
	       "what it can at the expected compression ratio. Beyond guaranteed memory is at risk when guests write what does not "
	       "compress."),
	U32("host", "expected_ratio", expected_ratio_percent, "percent", "200", 100, 3200,
	    "What a card is expected to hold at most, in percent of its own bytes, however well that compresses which is there now: "
	    "what comes later may be worse. Until 64 MiB are there, nothing beyond its own bytes is expected."),

	U32("policy", "slo", policy.slo_ppm, "ppm", "2000", 1, 1000000,
	    "Bytes that may come back per minute, per million bytes the guest accessed in 120 s. 0.2 % "
	    "is what guests do not notice."),
	BYTES("policy", "slo_min", policy.slo_min_bytes, "bytes", "4 MiB", 0, TiB,
	      "So many bytes per minute may always come back. Ages are kept per 2 MiB, so two ranges are the "
	      "least that can be told from noise."),
	U32("policy", "cold_age_initial", policy.cold_age_initial_s, "s", "120", 1, 86400,
	    "Age from which memory counts as cold in a VM just seen. Two minutes outlast most bursts."),
	U32("policy", "cold_age_min", policy.cold_age_min_s, "s", "30", 1, 86400,
	    "The automatic cold age goes no lower: younger memory is often only between two uses."),
	U32("policy", "cold_age_max", policy.cold_age_max_s, "s", "3600", 1, 86400,
	    "The automatic cold age goes no higher: memory idle for an hour is worth moving in any VM."),
	U32("policy", "cold_age_adjust", policy.cold_age_adjust_s, "s", "60", 1, 3600,
	    "Least time between two changes of the automatic cold age. The effect of one must be seen "
	    "before the next."),
	U32("policy", "give_back", policy.give_back_permille, "permille", "40", 0, 500,
	    "How far over its fair share of a full tier a VM may be before it gives back to who waits for it, and how far below a "
	    "limit before it fills up again. Keeps readings of who stores how much, which may err by 1 %, from moving memory to and fro; below "
	    "the promised 5 %."),
	U32("policy", "demote_start", policy.demote_start_permille, "permille", "10", 0, 500,
	    "How much of its target must be missing before demotion starts again."),
	BYTES("policy", "demote_start_min", policy.demote_start_min_bytes, "bytes", "2 MiB", 0, TiB,
	      "Demotion never starts again for less: it is the unit in which memory is classified."),
	BYTES("policy", "demote_start_max", policy.demote_start_max_bytes, "bytes", "64 MiB", 0,
	      TiB,
	      "Cold memory of this size is always moved, so that that of a big VM does not wait."),
	U32("policy", "cache", policy.cache_permille, "permille", "500", 0, 1000,
	    "Part of a node's clean and inactive page cache that counts as free: the kernel gives it up before "
	    "anything is swapped. Half, because the younger half may be wanted again."),
	U32("policy", "headroom", policy.headroom_permille, "permille", "20", 0, 500,
	    "Part of every home node's DRAM that is to be had at any time, above the kernel's low watermark, so "
	    "that a page coming home never waits for one leaving."),
	BYTES("policy", "headroom_min", policy.headroom_min_bytes, "bytes", "64 MiB", 0, TiB,
	      "The same, at least, per home node."),
	U32("policy", "headroom_time", policy.headroom_seconds, "s", "10", 0, 600,
	    "So many seconds of the host's promotion rate seen lately are kept free on top, shared by the home "
	    "nodes according to size."),
	U32("policy", "card_headroom", policy.card_headroom_permille, "permille", "50", 0, 500,
	    "Part of a compressing card that VMs leave free, above what the kernel keeps: a card that fills up "
	    "by itself, or shrinks a little, is relieved before the kernel has to take pages off it."),
	BYTES("policy", "quota_slack", policy.quota_slack_bytes, "bytes", "32 MiB", 0, TiB,
	      "By so much a quota in device bytes may be exceeded, should all that is moved out before the next "
	      "round not compress at all. Half of what is promised; less makes big VMs fill more slowly."),
	U32("policy", "backoff_factor", policy.backoff_factor, "times", "4", 1, 1000,
	    "When more comes back than the SLO allows by this factor, the VM's demotion stops for a while."),
	U32("policy", "backoff_base", policy.backoff_base_s, "s", "60", 1, 3600,
	    "How long it stops the first time; doubles each time in a row."),
	U32("policy", "backoff_max_shift", policy.backoff_max_shift, "doublings", "6", 0, 16,
	    "How often it doubles at most. 6 makes the longest stop about an hour."),

	BYTES("rates", "demote", demote_rate, "bytes/s", "256 MiB", MiB, TiB,
	      "Most the whole host moves out. A few percent of what one DRAM channel can do."),
	BYTES("rates", "promote", promote_rate, "bytes/s", "1 GiB", MiB, TiB,
	      "Most the whole host brings home: giving back must be faster than taking. What a card that "
	      "pushes back has too much is held to neither this nor vm_promote."),
	BYTES("rates", "vm_demote", vm_demote_rate, "bytes/s", "128 MiB", MiB, TiB,
	      "Most of one VM that is moved out, so that its vCPUs stall only briefly."),
	BYTES("rates", "vm_promote", vm_promote_rate, "bytes/s", "512 MiB", MiB, TiB,
	      "Most of one VM that is brought home."),
	U32("rates", "burst", burst_ms, "ms", "4000", 100, 60000,
	    "What a rate may save up while idle. At least two rounds, or a slow round would lose some."),

	CHOICE("detect", "detector", detector, "auto", detectors,
	       "auto: DAMON nominates cold ranges and page_idle confirms them where the kernel has it; damon; "
	       "page_idle."),
	U32("detect", "damon_sample", damon_sample_us, "us", "0", 0, 10000000,
	    "DAMON's sampling interval, at least 1 ms. Each sample costs two page table look-ups per region. 0: a twentieth of "
	    "damon_aggregation, since 20 samples tell hot from cold; where page_idle confirms what DAMON nominates a tenth."),
	U32("detect", "damon_aggregation", damon_aggr_us, "us", "10000000", 10000, 100000000,
	    "DAMON's aggregation interval: what a region saw in so long is one answer."),
	U32("detect", "damon_update", damon_update_us, "us", "10000000", 10000, 1000000000,
	    "DAMON's update interval. Where guests' RAM is the agent tells it; how large a region may be it works out only so often, "
	    "from all that it watches. Until then idle memory of VMs that came later is cut as small as suited the first."),
	U32("detect", "damon_min_regions", damon_min_regions, "regions", "32", 10, 100000,
	    "Fewest regions DAMON keeps."),
	U32("detect", "damon_max_regions", damon_max_regions, "regions", "1000", 10, 100000,
	    "Most regions DAMON keeps; bounds its CPU time."),
	U32("detect", "second_look", second_look_permille, "permille", "5", 1, 1000,
	    "Part of one processor's time that examining VMs and looking at their pages may take, whole host. "
	    "A look is what makes a nominated range movable, and costs by the page, so this bounds its cost on "
	    "a host of any size, and with it how fast cold memory is found."),

	U32("move", "batch", batch_pages, "pages", "512", 16, 512,
	    "Most base pages per move_pages(2) call. 512 are 2 MiB, the unit of classification; with fewer "
	    "a vCPU that needs one of them waits less, and the fixed cost of a call weighs more."),
	U32("move", "batch_time", batch_ms, "ms", "5", 1, 1000,
	    "A batch that takes longer halves the next one: it bounds the stall of a vCPU."),
};
/* clang-format on */
const size_t cram_n_options = ARRAY_SIZE(cram_options);
