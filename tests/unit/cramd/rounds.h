/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rounds of a daemon without threads on a recorded host, with VMs that are numbers only. */
#pragma once

#include "cramd/round.h"
#include "cramd/sense/pages.h"
#include "cramd/server/report.h"
#include "recorded.h"
#include "util/cleanup.h"

#define RANGES 64
#define VM_RAM ((uint64_t)RANGES * RANGE_BYTES)

static char dir[64];

static inline void put(const char *path, const char *text)
{
	recorded_put(dir, path, text);
}

/* All of its memory is in DRAM and long cold. */
static inline struct vm *make_vm(struct daemon *d, size_t i)
{
	struct vm *vm = calloc(1, sizeof(*vm));

	assert_non_null(vm);
	vm_init(vm);
	vm->pid = (pid_t)(1000 + i);
	vm->ram = VM_RAM;
	snprintf(vm->name, sizeof(vm->name), "vm%zu", i);
	assert_int_equal(ranges_init(&vm->ranges, RANGES), 0);
	vm->ranges.idle_flags = true;
	for (size_t k = 0; k < RANGES; k++) {
		vm->ranges.v[k].dram_pages = PAGES_PER_RANGE;
		vm->ranges.v[k].armed_s = 1;
		vm->ranges.v[k].checked_s = 100000;
		vm->ranges.v[k].flags = RANGE_ARMED;
	}
	vm->reason = VM_ELIGIBLE;
	vm->mems_allowed = 3;
	vm->home_nodes = 1;
	vm->node_bytes[0] = VM_RAM;
	vm->settings = (struct cram_vm_settings){
		.mode = CRAM_MODE_AUTO,
		.quota = CRAM_UNLIMITED,
		.hard_limit = CRAM_UNLIMITED,
		.weight = 100,
		.cold_age_s = 10,
		.tiers = 1U << CRAM_TIER_NODE,
	};
	/* Seen long ago: no warm-up. */
	vm->policy_memory.first_seen_ms = 1;
	assert_int_equal(array_push(&d->host.vms, vm), 0);
	return vm;
}

static inline int make(void **state)
{
	struct daemon *d = calloc(1, sizeof(*d));

	recorded_make(dir, sizeof(dir));
	recorded_put_nodes(dir);
	put("/sys/devices/system/node/node0/meminfo",
	    "Node 0 MemTotal: 16777216 kB\nNode 0 MemFree: 4194304 kB\n");
	put("/proc/zoneinfo", "Node 0, zone   Normal\n        low      0\n");
	assert_non_null(d);
	assert_int_equal(host_init(&d->host, dir, "/run/cramd"), 0);
	d->host.log.level = LOG_ERR;
	cram_conf_init(&d->conf);
	d->mover.host = &d->host;
	assert_int_equal(relief_init(&d->relief, &d->host, &d->mover), 0);
	assert_int_equal(backpressure_init(&d->backpressure, &d->host, &d->mover, d->relief.wake),
			 0);
	*state = d;
	return 0;
}

static inline int drop(void **state)
{
	struct daemon *d = *state;

	relief_fini(&d->relief);
	backpressure_fini(&d->backpressure);
	for (size_t i = 0; i < d->mover.out.n; i++)
		vm_unref(d->mover.out.jobs[i].vm);
	for (size_t i = 0; i < d->mover.urgent.n; i++)
		vm_unref(d->mover.urgent.jobs[i].vm);
	for (size_t i = 0; i < d->mover.shed.n; i++)
		vm_unref(d->mover.shed.jobs[i].vm);
	for (size_t i = 0; i < d->mover.home.n; i++)
		vm_unref(d->mover.home.jobs[i].vm);
	daemon_fini(d);
	host_fini(&d->host);
	free(d);
	return recorded_drop(dir);
}

/* The same after the mover was started. */
static inline int drop_moving(void **state)
{
	struct daemon *d = *state;

	mover_stop(&d->mover);
	return drop(state);
}

/* The buckets start empty: time has to pass before anything may move. */
static inline void pass_time(struct daemon *d)
{
	for (size_t i = 0; i < d->host.vms.n; i++)
		d->host.vms.v[i]->demote_bucket.filled_ms = 1;
	d->host.demote_bucket.filled_ms = 1;
}

/* The agent has, before. */
static inline void put_out(struct vm *vm, size_t ranges, int nid, uint8_t flags)
{
	atomic_fetch_or(&vm->used_tiers, UINT64_C(1) << nid);
	for (size_t i = 0; i < ranges; i++) {
		vm->ranges.v[i].tier_pages = PAGES_PER_RANGE;
		vm->ranges.v[i].dram_pages = 0;
		vm->ranges.v[i].flags |= flags;
	}
	vm->node_bytes[0] -= ranges * RANGE_BYTES;
	vm->node_bytes[nid] += ranges * RANGE_BYTES;
}

/* Two rounds, so that the promotion buckets have something in them. */
static inline void let_come_home(struct daemon *d)
{
	round_run(d);
	for (size_t i = 0; i < d->host.vms.n; i++)
		d->host.vms.v[i]->promote_bucket.filled_ms = 1;
	d->host.promote_bucket.filled_ms = 1;
	round_run(d);
}

/* What `check` finds, with @code, about @subject; NULL: nothing. */
static inline const struct cram_check_report *found(struct daemon *d, const char *subject,
						    const char *code)
{
	static struct cram_check_report findings[32];
	size_t n = report_check(d, findings, ARRAY_SIZE(findings));

	for (size_t i = 0; i < n; i++)
		if (!strcmp(findings[i].subject, subject) && !strcmp(findings[i].code, code))
			return &findings[i];
	return NULL;
}

/* Is @text part of that? */
static inline bool said(struct daemon *d, const char *subject, const char *code, const char *text)
{
	const struct cram_check_report *finding = found(d, subject, code);

	return finding && strstr(finding->text, text);
}
