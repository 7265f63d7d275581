// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The tables of fields, and JSON to and from structures by them. A metric exists because its row
 * here says so: the exporter and docs/metrics.md have no list of their own.
 */
#include "protocol/model.h"

#include <errno.h>
#include <string.h>

#include "util/cleanup.h"

#define FIELD(s, member, t, k, m, sc, h)                                                          \
	{                                                                                         \
		.name = #member, .type = CRAM_FIELD_##t,                                          \
		.offset = offsetof(struct cram_##s##_report, member),                             \
		.size = sizeof(((struct cram_##s##_report *)0)->member), .kind = CRAM_METRIC_##k, \
		.metric = m, .scale = sc, .help = h,                                              \
	}

#define H(member, t, k, m, sc, h) FIELD(host, member, t, k, m, sc, h)
#define N(member, t, k, m, sc, h) FIELD(node, member, t, k, m, sc, h)
#define V(member, t, k, m, sc, h) FIELD(vm, member, t, k, m, sc, h)

/* clang-format off: one row, one line, so that the tables can be read as tables */
const struct cram_field cram_host_fields[] = {
	H(version, TEXT, INFO, NULL, 1, "Release of the agent."),
	H(uptime_ms, U64, NONE, NULL, 1, "Milliseconds since the agent started."),
	H(start_time_s, U64, GAUGE, "cram_start_time_seconds", 1,
	  "Wall clock time the agent started, in seconds since 1970."),
	H(paused, BOOL, GAUGE, "cram_paused", 1,
	  "1 while the whole host is paused by the operator."),
	H(libvirt_connected, BOOL, GAUGE, "cram_libvirt_connected", 1,
	  "1 while the connection to libvirt works."),
	H(detector, TEXT, INFO, NULL, 1, "Cold-memory detectors in use."),
	H(config_error, TEXT, NONE, NULL, 1,
	  "Why the last reload was refused; empty when it was taken."),
	H(config_generation, U64, GAUGE, "cram_config_generation", 1,
	  "Configurations taken since the start."),
	H(reload_failures, U64, COUNTER, "cram_config_reload_failures_total", 1,
	  "Reloads refused since the start; the old configuration stayed in force."),
	H(vms, U64, GAUGE, "cram_vms", 1, "VMs the agent knows."),
	H(vms_auto, U64, GAUGE, "cram_vms_auto", 1, "VMs in mode auto."),
	H(vms_ineligible, U64, GAUGE, "cram_vms_ineligible", 1,
	  "VMs whose memory cannot be tiered."),
	H(dram_total, U64, GAUGE, "cram_dram_bytes", 1, "DRAM of all home nodes, in bytes."),
	H(dram_free, U64, GAUGE, "cram_dram_free_bytes", 1,
	  "Free DRAM of all home nodes, in bytes."),
	H(dram_headroom, U64, GAUGE, "cram_dram_headroom_target_bytes", 1,
	  "DRAM kept free so that promotion never waits, in bytes."),
	H(dram_reserve, U64, GAUGE, "cram_dram_reserve_bytes", 1,
	  "DRAM kept for the host when floors are promised, in bytes."),
	H(floors, U64, GAUGE, "cram_floors_bytes", 1, "Sum of the floors of all VMs, in bytes."),
	H(sold, U64, GAUGE, "cram_sold_bytes", 1, "Guest RAM of all VMs, in bytes."),
	H(guaranteed, U64, GAUGE, "cram_guaranteed_bytes", 1,
	  "Memory the host can honour with nothing compressed, in bytes."),
	H(expected, U64, GAUGE, "cram_expected_bytes", 1,
	  "Memory the host can honour at the expected compression ratio, in bytes."),
	H(at_risk, U64, GAUGE, "cram_at_risk_bytes", 1,
	  "Guest RAM sold beyond the guaranteed figure, in bytes."),
	H(tier_capacity, U64, GAUGE, "cram_tier_capacity_bytes", 1,
	  "Device bytes all tiers can hold, in bytes."),
	H(tier_bytes, U64, GAUGE, "cram_tier_used_bytes", 1,
	  "Guest memory on all tiers, before compression, in bytes."),
	H(device_bytes, U64, GAUGE, "cram_tier_device_bytes", 1,
	  "Device bytes that memory takes, in bytes."),
	H(swap_free, U64, GAUGE, "cram_swap_free_bytes", 1, "Free swap of the host, in bytes."),
	H(rounds, U64, COUNTER, "cram_rounds_total", 1, "Rounds of sensing and deciding finished."),
	H(round_us, U64, GAUGE, "cram_round_duration_seconds", 1e-6,
	  "Duration of the last round, in seconds."),
	H(decision_us, U64, GAUGE, "cram_decision_duration_seconds", 1e-6,
	  "Duration of the last decision, in seconds."),
	H(demoted, U64, COUNTER, "cram_demoted_bytes_total", 1,
	  "Bytes moved to a tier, as measured afterwards."),
	H(promoted, U64, COUNTER, "cram_promoted_bytes_total", 1,
	  "Bytes the agent brought home, as measured afterwards."),
	H(refused, U64, COUNTER, "cram_refused_bytes_total", 1,
	  "Bytes the agent tried to move and the kernel did not."),
	H(libvirt_stale, U64, COUNTER, "cram_libvirt_stale_results_total", 1,
	  "Answers of libvirt dropped because they came too late."),
	H(log_missed, U64, COUNTER, "cram_log_suppressed_lines_total", 1,
	  "Log lines suppressed by rate limits."),
	H(cpu_us, U64, COUNTER, "cram_agent_cpu_seconds_total", 1e-6,
	  "CPU time of the agent, in seconds."),
	H(kdamond_cpu_us, U64, COUNTER, "cram_kdamond_cpu_seconds_total", 1e-6,
	  "CPU time of the kernel's monitoring threads of the agent, in seconds."),
	H(rss, U64, GAUGE, "cram_agent_resident_memory_bytes", 1,
	  "Resident memory of the agent, in bytes."),
	H(open_fds, U64, GAUGE, "cram_agent_open_fds", 1, "Open file descriptors of the agent."),
	H(threads, U64, GAUGE, "cram_agent_threads", 1, "Threads of the agent."),
};
const size_t cram_n_host_fields = ARRAY_SIZE(cram_host_fields);

const struct cram_field cram_node_fields[] = {
	N(nid, I32, NONE, NULL, 1, "NUMA node, -1 for zswap."),
	N(tier, TEXT, NONE, NULL, 1, "Kind of tier: cram, node or zswap."),
	N(state, TEXT, INFO, NULL, 1, "online, full, offline, or the card's own word."),
	N(capacity, U64, GAUGE, "cram_node_capacity_bytes", 1,
	  "Device bytes the node can hold, in bytes."),
	N(used, U64, GAUGE, "cram_node_used_bytes", 1,
	  "Guest memory on the node, before compression, in bytes."),
	N(device_bytes, U64, GAUGE, "cram_node_device_bytes", 1,
	  "Device bytes in use on the node, in bytes."),
	N(free, U64, GAUGE, "cram_node_free_bytes", 1, "Bytes the node can take now, in bytes."),
	N(budget, U64, GAUGE, "cram_node_budget_bytes", 1,
	  "Device bytes offered to VMs now, in bytes."),
	N(vms, U64, GAUGE, "cram_node_vms", 1, "VMs with memory on the node."),
};
const size_t cram_n_node_fields = ARRAY_SIZE(cram_node_fields);

const struct cram_field cram_vm_fields[] = {
	V(uuid, TEXT, NONE, NULL, 1, "UUID of the VM."),
	V(name, TEXT, NONE, NULL, 1, "Name of the VM in libvirt (label `domain`)."),
	V(pid, I32, NONE, NULL, 1, "Process of its QEMU, 0 while not running."),
	V(mode, TEXT, INFO, NULL, 1, "off, monitor or auto."),
	V(state, TEXT, INFO, NULL, 1, "What the VM is doing."),
	V(ineligible, TEXT, INFO, NULL, 1, "Why its memory cannot be tiered; empty when it can."),
	V(note, TEXT, NONE, NULL, 1,
	  "A remark for the operator: bad settings, manual change seen."),
	V(tier, TEXT, INFO, NULL, 1, "Tier it uses; empty: none."),
	V(nid, I32, NONE, NULL, 1, "Tier node it uses, -1: none."),
	V(ram, U64, GAUGE, "cram_vm_ram_bytes", 1, "Guest RAM, in bytes."),
	V(eligible, U64, GAUGE, "cram_vm_eligible_bytes", 1,
	  "Guest RAM that may be moved, in bytes."),
	V(dram, U64, GAUGE, "cram_vm_dram_bytes", 1, "Guest RAM in DRAM, in bytes."),
	V(tier_bytes, U64, GAUGE, "cram_vm_tier_bytes", 1,
	  "Guest RAM on the tier, before compression, in bytes."),
	V(device_bytes, U64, GAUGE, "cram_vm_device_bytes", 1,
	  "Device bytes it takes, best estimate, in bytes."),
	V(device_bytes_upper, U64, GAUGE, "cram_vm_device_upper_bytes", 1,
	  "Device bytes it takes at most, in bytes."),
	V(swapped, U64, GAUGE, "cram_vm_swapped_bytes", 1, "Guest RAM in swap, in bytes."),
	V(quota, U64, GAUGE, "cram_vm_quota_bytes", 1,
	  "Most device bytes it may take, in bytes; +Inf: no limit."),
	V(hard_limit, U64, GAUGE, "cram_vm_hard_limit_bytes", 1,
	  "Most guest RAM on the tier, in bytes; +Inf: no limit."),
	V(floor, U64, GAUGE, "cram_vm_floor_bytes", 1,
	  "DRAM that is never taken, as set, in bytes."),
	V(effective_floor, U64, GAUGE, "cram_vm_effective_floor_bytes", 1,
	  "The same, at most what the guest ever touched, in bytes."),
	V(weight, U32, GAUGE, "cram_vm_weight", 1, "Share under contention, 1 to 10000."),
	V(cold_age, U32, GAUGE, "cram_vm_cold_age_seconds", 1,
	  "Age from which memory counts as cold, in seconds."),
	V(cold_age_auto, BOOL, NONE, NULL, 1, "Whether that age is chosen by the agent."),
	V(cold, U64, GAUGE, "cram_vm_cold_bytes", 1, "DRAM older than that age, in bytes."),
	V(hot, U64, GAUGE, "cram_vm_tier_hot_bytes", 1,
	  "Bytes on the tier found accessed, in bytes."),
	V(accessed, U64, GAUGE, "cram_vm_accessed_bytes", 1,
	  "Bytes accessed within 120 seconds, in bytes."),
	V(fair_share, U64, GAUGE, "cram_vm_fair_share_bytes", 1,
	  "Device bytes it is entitled to now, in bytes."),
	V(demote_pending, U64, GAUGE, "cram_vm_demote_pending_bytes", 1,
	  "Bytes the last decision wants moved out, in bytes."),
	V(promote_pending, U64, GAUGE, "cram_vm_promote_pending_bytes", 1,
	  "Bytes the last decision wants brought home, in bytes."),
	V(demoted, U64, COUNTER, "cram_vm_demoted_bytes_total", 1, "Bytes moved to the tier."),
	V(promoted, U64, COUNTER, "cram_vm_promoted_bytes_total", 1,
	  "Bytes brought home by the agent."),
	V(refused, U64, COUNTER, "cram_vm_refused_bytes_total", 1,
	  "Bytes the agent tried to move and the kernel did not."),
	V(returned, U64, COUNTER, "cram_vm_returned_bytes_total", 1,
	  "Bytes found accessed after they were demoted."),
	V(batches, U64, COUNTER, "cram_vm_batches_total", 1, "Batches moved."),
	V(worst_batch_us, U64, GAUGE, "cram_vm_worst_batch_seconds", 1e-6,
	  "Longest batch so far, in seconds."),
	V(scan_age_ms, U64, GAUGE, "cram_vm_scan_age_seconds", 1e-3,
	  "Time since its memory was last classified, in seconds."),
	V(paused, BOOL, GAUGE, "cram_vm_paused", 1, "1 while its demotion is paused."),
	V(draining, BOOL, GAUGE, "cram_vm_draining", 1, "1 while it is drained."),
	V(persist, BOOL, NONE, NULL, 1, "Whether an override of its settings survives its stop."),
};
const size_t cram_n_vm_fields = ARRAY_SIZE(cram_vm_fields);

const struct cram_field cram_reason_fields[] = {
	FIELD(reason, code, TEXT, NONE, NULL, 1, "Stable code of the reason."),
	FIELD(reason, text, TEXT, NONE, NULL, 1, "The same for a person."),
	FIELD(reason, bytes, U64, NONE, NULL, 1, "The number that decided."),
	FIELD(reason, limit, U64, NONE, NULL, 1, "What it was compared with."),
};
const size_t cram_n_reason_fields = ARRAY_SIZE(cram_reason_fields);

const struct cram_field cram_setting_fields[] = {
	FIELD(setting, name, TEXT, NONE, NULL, 1, "Name of the setting."),
	FIELD(setting, value, TEXT, NONE, NULL, 1, "Value in force."),
	FIELD(setting, origin, TEXT, NONE, NULL, 1, "Where it comes from."),
};
const size_t cram_n_setting_fields = ARRAY_SIZE(cram_setting_fields);

const struct cram_field cram_check_fields[] = {
	FIELD(check, severity, TEXT, NONE, NULL, 1, "ok, info, warning or error."),
	FIELD(check, subject, TEXT, NONE, NULL, 1, "The host or a VM."),
	FIELD(check, code, TEXT, NONE, NULL, 1, "Stable code of the finding."),
	FIELD(check, text, TEXT, NONE, NULL, 1, "The finding, and what to do."),
	FIELD(check, bytes, U64, NONE, NULL, 1, "Bytes concerned; 0: not about bytes."),
};
const size_t cram_n_check_fields = ARRAY_SIZE(cram_check_fields);

const struct cram_field cram_event_fields[] = {
	FIELD(event, time_us, U64, NONE, NULL, 1, "Wall clock, microseconds since 1970."),
	FIELD(event, type, TEXT, NONE, NULL, 1, "Kind of event."),
	FIELD(event, uuid, TEXT, NONE, NULL, 1, "VM it is about; empty: the host."),
	FIELD(event, name, TEXT, NONE, NULL, 1, "Name of that VM."),
	FIELD(event, text, TEXT, NONE, NULL, 1, "What happened."),
	FIELD(event, bytes, U64, NONE, NULL, 1, "Bytes concerned."),
};
const size_t cram_n_event_fields = ARRAY_SIZE(cram_event_fields);
/* clang-format on */

static struct json_object *encode_field(const struct cram_field *f, const char *p)
{
	uint64_t u64;
	uint32_t u32;
	int32_t i32;
	double d;
	bool b;

	switch (f->type) {
	case CRAM_FIELD_U64:
		memcpy(&u64, p, sizeof(u64));
		return u64 == CRAM_UNLIMITED ? NULL : json_object_new_uint64(u64);
	case CRAM_FIELD_U32:
		memcpy(&u32, p, sizeof(u32));
		return json_object_new_uint64(u32);
	case CRAM_FIELD_I32:
		memcpy(&i32, p, sizeof(i32));
		return json_object_new_int(i32);
	case CRAM_FIELD_BOOL:
		memcpy(&b, p, sizeof(b));
		return json_object_new_boolean(b);
	case CRAM_FIELD_DOUBLE:
		memcpy(&d, p, sizeof(d));
		return json_object_new_double(d);
	case CRAM_FIELD_TEXT:
		return json_object_new_string_len(p, (int)strnlen(p, f->size));
	}
	return NULL;
}

struct json_object *cram_encode_field(const struct cram_field *f, const void *structure)
{
	return encode_field(f, (const char *)structure + f->offset);
}

struct json_object *cram_encode(const struct cram_field *fields, size_t n, const void *structure)
{
	struct json_object *o = json_object_new_object();

	for (size_t i = 0; o && i < n; i++)
		/* The names are constants of the tables: no copy, no look-up for duplicates. */
		json_object_object_add_ex(
			o, fields[i].name,
			encode_field(&fields[i], (const char *)structure + fields[i].offset),
			JSON_C_OBJECT_ADD_KEY_IS_NEW | JSON_C_OBJECT_ADD_CONSTANT_KEY);
	return o;
}

int cram_decode_field(const struct cram_field *f, struct json_object *o, void *structure,
		      struct cram_error *err)
{
	char *p = (char *)structure + f->offset;
	enum json_type type = json_object_get_type(o);
	uint64_t u64;
	uint32_t u32;
	int32_t i32;
	double d;
	size_t n;
	bool b;

	switch (f->type) {
	case CRAM_FIELD_U64:
		if (type == json_type_null)
			u64 = CRAM_UNLIMITED;
		else if (type == json_type_int && json_object_get_int64(o) >= 0)
			u64 = json_object_get_uint64(o);
		else
			break;
		memcpy(p, &u64, sizeof(u64));
		return 0;
	case CRAM_FIELD_U32:
		if (type != json_type_int || json_object_get_int64(o) < 0 ||
		    json_object_get_int64(o) > UINT32_MAX)
			break;
		u32 = (uint32_t)json_object_get_int64(o);
		memcpy(p, &u32, sizeof(u32));
		return 0;
	case CRAM_FIELD_I32:
		if (type != json_type_int || json_object_get_int64(o) < INT32_MIN ||
		    json_object_get_int64(o) > INT32_MAX)
			break;
		i32 = (int32_t)json_object_get_int64(o);
		memcpy(p, &i32, sizeof(i32));
		return 0;
	case CRAM_FIELD_BOOL:
		if (type != json_type_boolean)
			break;
		b = json_object_get_boolean(o);
		memcpy(p, &b, sizeof(b));
		return 0;
	case CRAM_FIELD_DOUBLE:
		if (type != json_type_double && type != json_type_int)
			break;
		d = json_object_get_double(o);
		memcpy(p, &d, sizeof(d));
		return 0;
	case CRAM_FIELD_TEXT:
		if (type != json_type_string)
			break;
		n = (size_t)json_object_get_string_len(o);
		if (n >= f->size)
			n = f->size - 1;
		memcpy(p, json_object_get_string(o), n);
		p[n] = '\0';
		return 0;
	}
	return cram_error_set(err, -EBADMSG, f->name, NULL, NULL, "has the wrong type: %s",
			      json_type_to_name(type));
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
