// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The tables of fields, and JSON to and from structures by them. A metric exists because its row
 * here says so: the exporter and docs/reference/metrics.md have no list of their own.
 */
#include "protocol/model.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "util/cleanup.h"
#include "util/quantity.h"

#define FIELD(s, member, t, k, m, dec, h)                                                         \
	{                                                                                         \
		.name = #member, .type = CRAM_FIELD_##t,                                          \
		.offset = offsetof(struct cram_##s##_report, member),                             \
		.size = sizeof(((struct cram_##s##_report *)0)->member), .kind = CRAM_METRIC_##k, \
		.metric = m, .decimals = dec, .help = h,                                          \
	}

#define H(member, t, k, m, dec, h) FIELD(host, member, t, k, m, dec, h)
#define D(member, t, k, m, dec, h) FIELD(dram, member, t, k, m, dec, h)
#define N(member, t, k, m, dec, h) FIELD(node, member, t, k, m, dec, h)
#define V(member, t, k, m, dec, h) FIELD(vm, member, t, k, m, dec, h)

/* clang-format off: one row, one line, so that the tables can be read as tables */
const struct cram_field cram_host_fields[] = {
	H(version, TEXT, INFO, NULL, 0, "Release of the agent."),
	H(uptime_ms, U64, NONE, NULL, 0, "Milliseconds since the agent started."),
	H(start_time_s, U64, GAUGE, "cram_start_time_seconds", 0,
	  "Wall clock time the agent started, in seconds since 1970."),
	H(paused, BOOL, GAUGE, "cram_paused", 0,
	  "1 while the whole host is paused by the operator."),
	H(draining, BOOL, GAUGE, "cram_draining", 0,
	  "1 while the whole host is drained by the operator."),
	H(libvirt_wanted, BOOL, GAUGE, "cram_libvirt_wanted", 0,
	  "1 when the configuration names a libvirt to ask for VMs."),
	H(libvirt_connected, BOOL, GAUGE, "cram_libvirt_connected", 0,
	  "1 while the connection to libvirt works."),
	H(detector, TEXT, INFO, NULL, 0, "Cold-memory detectors in use."),
	H(config_error, TEXT, NONE, NULL, 0,
	  "Why the last reload was refused; empty when it was taken."),
	H(config_taken, BOOL, GAUGE, "cram_config_last_reload_successful", 0,
	  "1 when the last reload of the configuration was taken; else the one before it is in force."),
	H(config_generation, U64, GAUGE, "cram_config_generation", 0,
	  "Configurations taken since the start."),
	H(reload_failures, U64, COUNTER, "cram_config_reload_failures_total", 0,
	  "Reloads refused since the start; the old configuration stayed in force."),
	H(bad_domain_settings, U64, COUNTER, "cram_domain_settings_refused_total", 0,
	  "Domain XMLs with a bad setting seen since the start; what was in force stayed."),
	H(vms, U64, GAUGE, "cram_vms", 0, "VMs the agent knows."),
	H(vms_auto, U64, GAUGE, "cram_vms_auto", 0, "VMs in mode auto."),
	H(vms_ineligible, U64, GAUGE, "cram_vms_ineligible", 0,
	  "VMs whose memory cannot be tiered."),
	H(dram_total, U64, GAUGE, "cram_dram_bytes", 0, "DRAM of all home nodes, in bytes."),
	H(dram_free, U64, GAUGE, "cram_dram_free_bytes", 0,
	  "Free DRAM of all home nodes, in bytes."),
	H(dram_available, U64, GAUGE, "cram_dram_available_bytes", 0,
	  "DRAM of all home nodes that can be had without hurting anyone: free above the kernel's low "
	  "watermark, and a part of the clean inactive page cache, in bytes."),
	H(dram_headroom, U64, GAUGE, "cram_dram_headroom_target_bytes", 0,
	  "DRAM that is to be available at any time so that promotion never waits, in bytes."),
	H(dram_reserve, U64, GAUGE, "cram_dram_reserve_bytes", 0,
	  "DRAM kept for the host itself, neither promised to VMs nor sold, in bytes."),
	H(hugepages, U64, GAUGE, "cram_hugepages_bytes", 0,
	  "DRAM of home nodes in pools of huge pages, used or not: neither sold nor for sale, in bytes."),
	H(dram_usable, U64, GAUGE, "cram_dram_usable_bytes", 0,
	  "DRAM for guests, the first part of the guaranteed figure, in bytes."),
	H(sold_known, BOOL, GAUGE, "cram_sold_known", 0,
	  "1 once libvirt has told of all VMs that run, or if none had run since the boot; before that sums over VMs are too low, and nothing is judged."),
	H(floors, U64, GAUGE, "cram_floors_bytes", 0,
	  "Sum of the floors of all VMs in mode auto, in bytes."),
	H(sold, U64, GAUGE, "cram_sold_bytes", 0,
	  "Guest RAM of all VMs but what is in huge pages, in bytes."),
	H(guaranteed, U64, GAUGE, "cram_guaranteed_bytes", 0,
	  "Memory the host can honour with nothing compressed, in bytes."),
	H(expected, U64, GAUGE, "cram_expected_bytes", 0,
	  "Memory the host can honour at the expected compression ratio, in bytes."),
	H(lasting, U64, GAUGE, "cram_lasting_bytes", 0,
	  "The guaranteed figure without swap, as if no VM ran and whatever a tier takes now, in bytes: for schedulers that are told once."),
	H(lasting_tiers, U64, GAUGE, "cram_lasting_tier_bytes", 0,
	  "What fits on tiers of the lasting figure, in bytes."),
	H(lasting_known, BOOL, GAUGE, "cram_lasting_known", 0,
	  "0 while a card has not been read yet or is being taken offline: what lasts is not known then."),
	H(at_risk, U64, GAUGE, "cram_at_risk_bytes", 0,
	  "Guest RAM sold without a place for it if nothing compresses, in bytes."),
	H(tier_capacity, U64, GAUGE, "cram_tier_capacity_bytes", 0,
	  "Guest memory that fits with nothing compressed on the tiers that are open and that a VM may use; "
	  "0 while the host is paused or drained, in bytes."),
	H(tier_bytes, U64, GAUGE, "cram_tier_used_bytes", 0,
	  "Guest memory on all tiers, before compression, in bytes."),
	H(device_bytes, U64, GAUGE, "cram_tier_device_bytes", 0,
	  "Device bytes that guest memory takes on all tiers, in bytes."),
	H(swap_free, U64, GAUGE, "cram_swap_free_bytes", 0, "Free swap of the host, in bytes."),
	H(rounds, U64, COUNTER, "cram_rounds_total", 0, "Rounds of sensing and deciding finished."),
	H(rounds_failed, U64, COUNTER, "cram_rounds_failed_total", 0,
	  "Rounds that could not be finished, or were decided by what nodes were before."),
	H(round_us, U64, GAUGE, "cram_last_round_seconds", 6,
	  "Duration of the last round, in seconds."),
	H(decision_us, U64, GAUGE, "cram_last_decision_seconds", 6,
	  "Duration of the last decision, in seconds."),
	H(demoted, U64, COUNTER, "cram_demoted_bytes_total", 0,
	  "Bytes moved to a tier, as measured afterwards."),
	H(promoted, U64, COUNTER, "cram_promoted_bytes_total", 0,
	  "Bytes the agent brought home, as measured afterwards."),
	H(refused, U64, COUNTER, "cram_refused_bytes_total", 0,
	  "Bytes the agent tried to move and the kernel did not."),
	H(reliefs, U64, COUNTER, "cram_reliefs_total", 0,
	  "Times memory was to leave a card since that pushed back."),
	H(relieved, U64, COUNTER, "cram_relieved_bytes_total", 0,
	  "Bytes brought home since a card pushed back."),
	H(shed, U64, COUNTER, "cram_shed_bytes_total", 0,
	  "Bytes moved to swap since a card pushed back and DRAM had no room for them (relief_swap)."),
	H(relief_us, U64, GAUGE, "cram_last_relief_seconds", 6,
	  "Last time from the agent's finding that a card pushes back to the beginning of the first "
	  "move, in seconds."),
	H(libvirt_stale, U64, COUNTER, "cram_libvirt_stale_results_total", 0,
	  "Answers of libvirt dropped because they came too late."),
	H(log_missed, U64, COUNTER, "cram_log_suppressed_lines_total", 0,
	  "Log lines suppressed by rate limits."),
	H(cpu_us, U64, COUNTER, "cram_agent_cpu_seconds_total", 6,
	  "CPU time of the agent, in seconds."),
	H(kdamond_cpu_us, U64, COUNTER, "cram_kdamond_cpu_seconds_total", 6,
	  "CPU time of the kernel's monitoring threads of the agent, in seconds."),
	H(rss, U64, GAUGE, "cram_agent_resident_memory_bytes", 0,
	  "Resident memory of the agent, in bytes."),
	H(open_fds, U64, GAUGE, "cram_agent_open_fds", 0, "Open file descriptors of the agent."),
	H(threads, U64, GAUGE, "cram_agent_threads", 0, "Threads of the agent."),
	H(admission, TEXT, INFO, NULL, 0,
	  "What the libvirt hook does with a VM that does not fit: off, warn or strict."),
	H(sell, TEXT, INFO, NULL, 0,
	  "Up to which figure guest RAM is sold: guaranteed or expected."),
	H(bound, U64, GAUGE, "cram_dram_bound_bytes", 0,
	  "Guest RAM that can be nowhere but in DRAM or swap: floors and what exceeds quotas of VMs in mode "
	  "auto, and all RAM of others, in bytes."),
	H(reserved, U64, GAUGE, "cram_reserved_bytes", 0,
	  "Guest RAM of VMs that libvirt is about to start, in bytes."),
	H(room, U64, GAUGE, "cram_room_bytes", 0,
	  "Guest RAM of the largest VM with the host's default settings that would be admitted, in bytes."),
	H(admissions_refused, U64, COUNTER, "cram_admissions_refused_total", 0,
	  "VMs whose start was refused because they did not fit."),
	H(admissions_warned, U64, COUNTER, "cram_admissions_warned_total", 0,
	  "VMs that were started though they did not fit."),
};
const size_t cram_n_host_fields = ARRAY_SIZE(cram_host_fields);

const struct cram_field cram_dram_fields[] = {
	D(nid, I32, NONE, NULL, 0, "NUMA node, a home of guest memory."),
	D(total, U64, GAUGE, "cram_dram_node_bytes", 0, "DRAM of the home node, in bytes."),
	D(free, U64, GAUGE, "cram_dram_node_free_bytes", 0,
	  "Free DRAM of the home node, in bytes."),
	D(available, U64, GAUGE, "cram_dram_node_available_bytes", 0,
	  "DRAM of the home node that can be had without hurting anyone, in bytes."),
	D(headroom, U64, GAUGE, "cram_dram_node_headroom_target_bytes", 0,
	  "DRAM that is to be available on the home node so that promotion never waits, in bytes."),
};
const size_t cram_n_dram_fields = ARRAY_SIZE(cram_dram_fields);

const struct cram_field cram_node_fields[] = {
	N(nid, I32, NONE, NULL, 0, "NUMA node, -1 for zswap."),
	N(tier, TEXT, NONE, NULL, 0, "Kind of tier: cram, node or zswap."),
	N(state, TEXT, STATE, "cram_node_state", 0,
	  "online, full or without swap space; of a card its own word, or unknown."),
	N(capacity, U64, GAUGE, "cram_node_capacity_bytes", 0,
	  "Device bytes the node can hold, in bytes."),
	N(used, U64, GAUGE, "cram_node_used_bytes", 0,
	  "Guest memory on the node, before compression, in bytes."),
	N(device_bytes, U64, GAUGE, "cram_node_device_bytes", 0,
	  "Device bytes in use on the node, in bytes."),
	N(free, U64, GAUGE, "cram_node_free_bytes", 0, "Bytes the node can take now, in bytes."),
	N(budget, U64, GAUGE, "cram_node_budget_bytes", 0,
	  "Device bytes of the node offered to VMs now, in bytes."),
	N(vms, U64, GAUGE, "cram_node_vms", 0, "VMs with memory on the node."),
	N(logical, U64, GAUGE, "cram_node_logical_bytes", 0,
	  "Size of a compressing node before compression, in bytes; 0 on another."),
	N(credit, U64, GAUGE, "cram_node_credit_bytes", 0,
	  "Device bytes that the kernel has given pages at their worst, in bytes."),
	N(unsettled, U64, GAUGE, "cram_node_unsettled_bytes", 0,
	  "Device bytes at worst of pages written since the card's last report, in bytes."),
	N(reserve, U64, GAUGE, "cram_node_reserve_bytes", 0,
	  "Device bytes that the kernel keeps for what a report leaves out, in bytes."),
	N(quarantined, U64, GAUGE, "cram_node_quarantined_bytes", 0,
	  "Memory that was freed and that the card has not given up yet, in bytes."),
	N(pressure, U32, GAUGE, "cram_node_pressure_ratio", 3,
	  "Part of the room that the card's driver holds back, 0 to 1."),
	N(generation, U64, GAUGE, "cram_node_report_generation", 0,
	  "Number of the card's report in force."),
	N(reports, U64, COUNTER, "cram_node_reports_total", 0,
	  "Reports of the card that the kernel heeded."),
	N(reports_failed, U64, COUNTER, "cram_node_reports_failed_total", 0,
	  "Reports that the card did not give."),
	N(evicted, U64, COUNTER, "cram_node_evicted_bytes_total", 0,
	  "Bytes that the kernel moved off the card since it had less than was promised."),
	N(lost, U64, COUNTER, "cram_node_lost_pages_total", 0,
	  "Pages of the card that hold other data than was written."),
	N(watch_error, TEXT, NONE, NULL, 0,
	  "Why changes of the card's state are looked for each second and not waited for; empty: they are waited for, or it is no card."),
};
const size_t cram_n_node_fields = ARRAY_SIZE(cram_node_fields);

const struct cram_field cram_vm_fields[] = {
	V(uuid, TEXT, NONE, NULL, 0, "UUID of the VM."),
	V(name, TEXT, NONE, NULL, 0, "Name of the VM in libvirt (label `domain`)."),
	V(pid, I32, NONE, NULL, 0, "Process of its QEMU, 0 while not running."),
	V(mode, TEXT, INFO, NULL, 0, "off, monitor or auto."),
	V(state, TEXT, STATE, "cram_vm_state", 0,
	  "What the agent is doing with the memory of the VM, in the label state; always 1."),
	V(ineligible, TEXT, INFO, NULL, 0,
	  "Why the VM's memory cannot be tiered; empty when it can."),
	V(note, TEXT, NONE, NULL, 0,
	  "A remark for the operator: bad settings, manual change seen."),
	V(settings_refused, BOOL, GAUGE, "cram_vm_settings_refused", 0,
	  "1 while the domain XML of the VM has a bad setting; what was in force before stays."),
	V(tier, TEXT, INFO, NULL, 0, "Tier that the VM uses; empty: none."),
	V(nid, I32, NONE, NULL, 0, "Tier node that the VM uses, -1: none."),
	V(ram, U64, GAUGE, "cram_vm_ram_bytes", 0, "Guest RAM of the VM, in bytes."),
	V(eligible, U64, GAUGE, "cram_vm_eligible_bytes", 0,
	  "Guest RAM of the VM that may be moved, in bytes."),
	V(dram, U64, GAUGE, "cram_vm_dram_bytes", 0, "Guest RAM of the VM in DRAM, in bytes."),
	V(tier_bytes, U64, GAUGE, "cram_vm_tier_bytes", 0,
	  "Guest RAM of the VM on tiers, before compression, in bytes."),
	V(device_bytes, U64, GAUGE, "cram_vm_device_bytes", 0,
	  "Device bytes that the VM takes, best estimate, in bytes."),
	V(device_bytes_upper, U64, GAUGE, "cram_vm_device_upper_bytes", 0,
	  "Device bytes that the VM takes at most, in bytes."),
	V(swapped, U64, GAUGE, "cram_vm_swapped_bytes", 0,
	  "Guest RAM of the VM in swap, in bytes."),
	V(quota, U64, GAUGE, "cram_vm_quota_bytes", 0,
	  "Most device bytes that the VM may take, in bytes; +Inf: no limit."),
	V(hard_limit, U64, GAUGE, "cram_vm_hard_limit_bytes", 0,
	  "Most guest RAM of the VM on tiers, in bytes; +Inf: no limit."),
	V(floor, U64, GAUGE, "cram_vm_floor_bytes", 0,
	  "DRAM of the VM that is never taken, as set, in bytes."),
	V(effective_floor, U64, GAUGE, "cram_vm_effective_floor_bytes", 0,
	  "DRAM of the VM that is never taken: what is set, at most what the guest ever touched, in bytes."),
	V(weight, U32, GAUGE, "cram_vm_weight", 0,
	  "Share of the VM when a tier is contended, 1 to 10000."),
	V(cold_age, U32, GAUGE, "cram_vm_cold_age_seconds", 0,
	  "Age from which memory of the VM counts as cold, in seconds."),
	V(cold_age_auto, BOOL, NONE, NULL, 0, "Whether the cold age is chosen by the agent."),
	V(cold, U64, GAUGE, "cram_vm_cold_bytes", 0,
	  "Guest RAM of the VM in DRAM that was not used for its cold age, in bytes."),
	V(hot, U64, GAUGE, "cram_vm_tier_hot_bytes", 0,
	  "Guest RAM of the VM on tiers that was found accessed, in bytes."),
	V(accessed, U64, GAUGE, "cram_vm_accessed_bytes", 0,
	  "Guest RAM of the VM accessed within 120 seconds, in bytes."),
	V(fair_share, U64, GAUGE, "cram_vm_fair_share_bytes", 0,
	  "Device bytes that the VM is entitled to now, in bytes."),
	V(demote_pending, U64, GAUGE, "cram_vm_demote_pending_bytes", 0,
	  "Guest RAM of the VM that the last decision wants moved out, in bytes."),
	V(promote_pending, U64, GAUGE, "cram_vm_promote_pending_bytes", 0,
	  "Guest RAM of the VM that the last decision wants brought home, in bytes."),
	V(demoted, U64, COUNTER, "cram_vm_demoted_bytes_total", 0,
	  "Guest RAM of the VM moved to tiers, in bytes."),
	V(promoted, U64, COUNTER, "cram_vm_promoted_bytes_total", 0,
	  "Guest RAM of the VM brought home by the agent, in bytes."),
	V(refused, U64, COUNTER, "cram_vm_refused_bytes_total", 0,
	  "Guest RAM of the VM that the agent tried to move and the kernel did not, in bytes."),
	V(returned, U64, COUNTER, "cram_vm_returned_bytes_total", 0,
	  "Guest RAM of the VM found read or written after it was demoted, in bytes."),
	V(batches, U64, COUNTER, "cram_vm_batches_total", 0, "Batches of pages of the VM moved."),
	V(worst_batch_us, U64, GAUGE, "cram_vm_worst_batch_seconds", 6,
	  "Longest batch of pages of the VM moved so far, in seconds."),
	V(looks, U64, COUNTER, "cram_vm_looks_total", 0,
	  "Looks at ranges of the VM's memory, 2 MiB each."),
	V(worst_look_us, U64, GAUGE, "cram_vm_worst_look_seconds", 6,
	  "Longest look at a range of the VM's memory, seconds: it waits for, and holds, locks of the VM."),
	V(worst_placement_us, U64, GAUGE, "cram_vm_worst_placement_seconds", 6,
	  "Longest reading of where all memory of the VM is, seconds: it holds locks of the VM, for as long as "
	  "the VM is large."),
	V(scan_age_ms, U64, GAUGE, "cram_vm_scan_age_seconds", 3,
	  "Time since memory of the VM was last classified, or since the VM was found, in seconds."),
	V(paused, BOOL, GAUGE, "cram_vm_paused", 0, "1 while demotion of the VM is paused."),
	V(draining, BOOL, GAUGE, "cram_vm_draining", 0, "1 while the VM is drained."),
	V(persist, BOOL, NONE, NULL, 0,
	  "Whether an override of the VM's settings survives its stop."),
};
const size_t cram_n_vm_fields = ARRAY_SIZE(cram_vm_fields);

const struct cram_field cram_reason_fields[] = {
	FIELD(reason, code, TEXT, NONE, NULL, 0, "Stable code of the reason."),
	FIELD(reason, text, TEXT, NONE, NULL, 0, "The same for a person."),
	FIELD(reason, bytes, U64, NONE, NULL, 0, "The number that decided."),
	FIELD(reason, limit, U64, NONE, NULL, 0, "What it was compared with."),
};
const size_t cram_n_reason_fields = ARRAY_SIZE(cram_reason_fields);

const struct cram_field cram_setting_fields[] = {
	FIELD(setting, name, TEXT, NONE, NULL, 0, "Name of the setting."),
	FIELD(setting, value, VALUE, NONE, NULL, 0,
	      "Value in force: bytes, seconds or a weight as a number, `null` for unlimited, words as a string."),
	FIELD(setting, origin, TEXT, NONE, NULL, 0, "Where it comes from."),
};
const size_t cram_n_setting_fields = ARRAY_SIZE(cram_setting_fields);

const struct cram_field cram_check_fields[] = {
	FIELD(check, severity, TEXT, NONE, NULL, 0, "ok, info, warning or error."),
	FIELD(check, subject, TEXT, NONE, NULL, 0, "The host or a VM."),
	FIELD(check, uuid, TEXT, NONE, NULL, 0, "UUID of that VM; empty: the host."),
	FIELD(check, name, TEXT, NONE, NULL, 0, "Name of that VM."),
	FIELD(check, code, TEXT, NONE, NULL, 0, "Stable code of the finding."),
	FIELD(check, text, TEXT, NONE, NULL, 0, "The finding, and what to do."),
	FIELD(check, bytes, U64, NONE, NULL, 0, "Bytes concerned; 0: not about bytes."),
};
const size_t cram_n_check_fields = ARRAY_SIZE(cram_check_fields);

const struct cram_field cram_override_fields[] = {
	FIELD(override, uuid, TEXT, NONE, NULL, 0, "UUID of the VM."),
	FIELD(override, name, TEXT, NONE, NULL, 0,
	      "Its name; of one that is gone, the last that the agent knew, and empty if it knew none."),
	FIELD(override, running, BOOL, NONE, NULL, 0, "Whether it runs."),
	FIELD(override, kept, TEXT, NONE, NULL, 0,
	      "What is kept: settings with their values, and whether it is paused or to be drained."),
};
const size_t cram_n_override_fields = ARRAY_SIZE(cram_override_fields);

const struct cram_field cram_event_fields[] = {
	FIELD(event, time_us, U64, NONE, NULL, 0, "Wall clock, microseconds since 1970."),
	FIELD(event, type, TEXT, NONE, NULL, 0, "Kind of event."),
	FIELD(event, uuid, TEXT, NONE, NULL, 0, "VM it is about; empty: the host."),
	FIELD(event, name, TEXT, NONE, NULL, 0, "Name of that VM."),
	FIELD(event, text, TEXT, NONE, NULL, 0, "What happened."),
	FIELD(event, bytes, U64, NONE, NULL, 0, "Bytes concerned."),
};
const size_t cram_n_event_fields = ARRAY_SIZE(cram_event_fields);
/* clang-format on */

const char *const cram_node_states[] = {
	"online",
	"full",
	"without swap space", /* of zswap */
	/* Of a card that compresses. */
	"normal",
	"throttled",
	"evicting",
	"stale",
	"overrun",
	"offline",
	"unknown",
	NULL,
};

uint64_t cram_field_number(const struct cram_field *f, const void *structure)
{
	const char *p = (const char *)structure + f->offset;
	uint64_t u64 = 0;
	uint32_t u32;
	int32_t i32;
	bool b;

	switch (f->type) {
	case CRAM_FIELD_U64:
		memcpy(&u64, p, sizeof(u64));
		break;
	case CRAM_FIELD_U32:
		memcpy(&u32, p, sizeof(u32));
		u64 = u32;
		break;
	case CRAM_FIELD_I32:
		memcpy(&i32, p, sizeof(i32));
		u64 = (uint64_t)i32;
		break;
	case CRAM_FIELD_BOOL:
		memcpy(&b, p, sizeof(b));
		u64 = b;
		break;
	case CRAM_FIELD_TEXT:
	case CRAM_FIELD_VALUE:
		break;
	}
	return u64;
}

static bool in_range(enum cram_field_type type, uint64_t value)
{
	switch (type) {
	case CRAM_FIELD_U64:
		return true;
	case CRAM_FIELD_U32:
		return value <= UINT32_MAX;
	case CRAM_FIELD_I32:
		return (int64_t)value >= INT32_MIN && (int64_t)value <= INT32_MAX;
	case CRAM_FIELD_BOOL:
		return value <= 1;
	case CRAM_FIELD_TEXT:
	case CRAM_FIELD_VALUE:
		break;
	}
	return false;
}

int cram_field_set_number(const struct cram_field *f, uint64_t value, void *structure)
{
	char *p = (char *)structure + f->offset;
	uint32_t u32 = (uint32_t)value;
	bool b = value;

	if (!in_range(f->type, value))
		return -ERANGE;
	if (f->type == CRAM_FIELD_U64)
		memcpy(p, &value, sizeof(value));
	else if (f->type == CRAM_FIELD_BOOL)
		memcpy(p, &b, sizeof(b));
	else
		memcpy(p, &u32, sizeof(u32));
	return 0;
}

const char *cram_field_text(const struct cram_field *f, const void *structure)
{
	return (const char *)structure + f->offset;
}

static bool is_number(const char *text, uint64_t *ret)
{
	char unit[QUANTITY_UNIT_MAX];

	return cram_quantity_split(text, "", ret, unit) == 0 && !unit[0];
}

struct json_object *cram_encode_field(const struct cram_field *f, const void *structure)
{
	const char *text = cram_field_text(f, structure);
	uint64_t value;

	if (f->type == CRAM_FIELD_VALUE && strcmp(text, "unlimited") == 0)
		return NULL;
	if (f->type == CRAM_FIELD_VALUE && is_number(text, &value))
		return json_object_new_uint64(value);
	if (f->type == CRAM_FIELD_TEXT || f->type == CRAM_FIELD_VALUE)
		return json_object_new_string_len(text, (int)strnlen(text, f->size));
	value = cram_field_number(f, structure);
	if (f->type == CRAM_FIELD_BOOL)
		return json_object_new_boolean((int)value);
	if (f->type == CRAM_FIELD_I32)
		return json_object_new_int64((int64_t)value);
	return value == CRAM_UNLIMITED ? NULL : json_object_new_uint64(value);
}

struct json_object *cram_encode(const struct cram_field *fields, size_t n, const void *structure)
{
	struct json_object *o = json_object_new_object();

	for (size_t i = 0; o && i < n; i++)
		/* The names are constants of the tables: no copy, no look-up for duplicates. */
		json_object_object_add_ex(
			o, fields[i].name, cram_encode_field(&fields[i], structure),
			JSON_C_OBJECT_ADD_KEY_IS_NEW | JSON_C_OBJECT_ADD_CONSTANT_KEY);
	return o;
}

static bool decode_text(const struct cram_field *f, struct json_object *o, void *structure)
{
	char *p = (char *)structure + f->offset;
	size_t n;

	if (!json_object_is_type(o, json_type_string))
		return false;
	n = (size_t)json_object_get_string_len(o);
	if (n >= f->size)
		n = f->size - 1;
	memcpy(p, json_object_get_string(o), n);
	p[n] = '\0';
	return true;
}

/* An older agent's are strings, all of them. */
static bool decode_value(const struct cram_field *f, struct json_object *o, void *structure)
{
	char *p = (char *)structure + f->offset;

	if (json_object_is_type(o, json_type_string))
		return decode_text(f, o, structure);
	if (json_object_is_type(o, json_type_int) && json_object_get_int64(o) >= 0)
		snprintf(p, f->size, "%" PRIu64, json_object_get_uint64(o));
	else if (json_object_is_type(o, json_type_null))
		snprintf(p, f->size, "unlimited");
	else
		return false;
	return true;
}

static bool decode_number(const struct cram_field *f, struct json_object *o, void *structure)
{
	enum json_type type = json_object_get_type(o);
	int64_t value = json_object_get_int64(o);
	uint64_t u64 = (uint64_t)value;

	if (f->type == CRAM_FIELD_U64 && type == json_type_null)
		u64 = CRAM_UNLIMITED;
	else if (type != (f->type == CRAM_FIELD_BOOL ? json_type_boolean : json_type_int))
		return false;
	else if (value < 0 && f->type != CRAM_FIELD_I32)
		return false;
	else if (value > 0)
		u64 = json_object_get_uint64(o); /* the other call stops at INT64_MAX */
	return cram_field_set_number(f, u64, structure) == 0;
}

int cram_decode_field(const struct cram_field *f, struct json_object *o, void *structure,
		      struct cram_error *err)
{
	if (f->type == CRAM_FIELD_TEXT	  ? decode_text(f, o, structure)
	    : f->type == CRAM_FIELD_VALUE ? decode_value(f, o, structure)
					  : decode_number(f, o, structure))
		return 0;
	return cram_error_set(err, -EBADMSG, f->name, NULL, NULL, "has the wrong type or range: %s",
			      json_type_to_name(json_object_get_type(o)));
}

int cram_decode(const struct cram_field *fields, size_t n, struct json_object *o, size_t size,
		void *ret_structure, struct cram_error *err)
{
	struct json_object *v;
	int r;

	memset(ret_structure, 0, size);
	if (!json_object_is_type(o, json_type_object))
		return cram_error_set(err, -EBADMSG, NULL, NULL, NULL, "an object was expected");
	for (size_t i = 0; i < n; i++) {
		if (!json_object_object_get_ex(o, fields[i].name, &v))
			continue;
		r = cram_decode_field(&fields[i], v, ret_structure, err);
		if (r < 0)
			return r;
	}
	return 0;
}
