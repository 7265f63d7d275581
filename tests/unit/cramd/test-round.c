// SPDX-License-Identifier: GPL-2.0-or-later
/* A whole round of the daemon on a recorded host: what it hands out, and that it allocates nothing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cramd/server/report.h"
#include "protocol/record.h"
#include "rounds.h"
#include "util/cleanup.h"
#include "util/size.h"

#define VMS 50

static unsigned long allocations;

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
void *__wrap_realloc(void *p, size_t size);
void *__real_reallocarray(void *p, size_t n, size_t size);
void *__wrap_reallocarray(void *p, size_t n, size_t size);

void *__wrap_malloc(size_t size)
{
	allocations++;
	return __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
	allocations++;
	return __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t size)
{
	allocations++;
	return __real_realloc(p, size);
}

void *__wrap_reallocarray(void *p, size_t n, size_t size)
{
	allocations++;
	return __real_reallocarray(p, n, size);
}

static void cold_memory_is_handed_to_the_movers(void **state)
{
	struct daemon *d = *state;
	struct vm *vm = make_vm(d, 0);

	round_run(d);
	pass_time(d);
	round_run(d);
	assert_int_equal(d->mover.out.n, 1);
	assert_ptr_equal(d->mover.out.jobs[0].vm, vm);
	assert_int_equal(d->mover.out.jobs[0].nid, 1);
	assert_int_equal(d->mover.out.jobs[0].kind, VM_JOB_DEMOTE);
	assert_true(d->mover.out.jobs[0].bytes <= VM_RAM);
	/* One job of a kind at a time. */
	pass_time(d);
	round_run(d);
	assert_int_equal(d->mover.out.n, 1);
}

static void what_may_not_move_is_not_handed_out(void **state)
{
	struct daemon *d = *state;

	make_vm(d, 0)->reason = VM_LOCKED;
	make_vm(d, 1)->settings.mode = CRAM_MODE_MONITOR;
	make_vm(d, 2)->settings.mode = CRAM_MODE_OFF;
	make_vm(d, 3)->paused_by_operator = true;
	make_vm(d, 4)->paused_by_job = true;
	make_vm(d, 5)->incoming = true;
	make_vm(d, 6)->drain = true;
	make_vm(d, 7)->mems_allowed = 1;
	make_vm(d, 8)->settings.tiers = 1U << CRAM_TIER_CRAM;
	make_vm(d, 9)->settings.quota = 0;
	make_vm(d, 10)->settings.floor = VM_RAM;
	for (int i = 0; i < 3; i++) {
		pass_time(d);
		round_run(d);
	}
	assert_int_equal(d->mover.out.n, 0);
}

/* Somebody fills its memory in, as an incoming migration does: nothing is moved, home neither. */
static void what_is_filled_in_on_faults_stays_where_it_is(void **state)
{
	struct daemon *d = *state;
	struct vm *vm = make_vm(d, 0), *locked = make_vm(d, 1);

	put_out(vm, 16, 1, 0);
	put_out(locked, 16, 1, 0);
	vm->reason = VM_USERFAULTFD;
	locked->reason = VM_LOCKED;
	let_come_home(d);
	assert_int_equal(d->mover.home.n, 1);
	assert_ptr_equal(d->mover.home.jobs[0].vm, locked);
	assert_int_equal(locked->action.state, CRAM_VM_DRAINING);
	assert_int_equal(vm->action.state, CRAM_VM_INELIGIBLE);
}

/* As after a restart of the agent: a pause outlives it, and what was known of the memory does not.
 */
static void what_is_out_of_a_paused_vm_is_looked_for(void **state)
{
	struct daemon *d = *state;
	struct vm *vm = make_vm(d, 0);

	vm->paused_by_operator = true;
	round_run(d);
	assert_false(vm->watched);
	vm->node_bytes[1] = 4 << 20;
	for (size_t i = 0; i < vm->ranges.n; i++)
		vm->ranges.v[i].checked_s = i > 0;
	round_run(d);
	assert_true(vm->watched && vm->unfound);
	vm->ranges.v[0].checked_s = 1;
	round_run(d);
	assert_false(vm->watched || vm->unfound);
}

static void a_drained_vms_policy_is_put_back_when_it_is_home(void **state)
{
	struct daemon *d = *state;
	struct vm *vm = make_vm(d, 0);

	vm->bound = true;
	vm->drain = true;
	vm->node_bytes[1] = 4 << 20;
	round_run(d);
	assert_true(d->mover.home.n == 0 || d->mover.home.jobs[0].kind != VM_JOB_UNBIND);
	vm->node_bytes[1] = 0;
	atomic_store(&vm->busy, 0);
	round_run(d);
	assert_int_equal(d->mover.home.jobs[d->mover.home.n - 1].kind, VM_JOB_UNBIND);
}

/* The agent is a newer one than has moved it, say, and knows of no RAM that it could look at. */
static void what_is_not_understood_is_drained_when_its_cgroup_says_so(void **state)
{
	struct daemon *d = *state;
	struct vm *vm = make_vm(d, 0);

	put("/sys/fs/cgroup/machine/vm0/memory.current", "1\n");
	put("/sys/fs/cgroup/machine/vm0/memory.numa_stat",
	    "anon N0=8192 N1=0\nfile N0=0 N1=2097152\n");
	cgroup_open(&d->host.root, "/machine/vm0", &vm->cgroup);
	vm->reason = VM_LAYOUT_UNKNOWN;
	vm->drain = true;
	round_run(d);
	assert_int_equal(vm->action.state, CRAM_VM_DRAINING);
	/* QEMU's own, wherever that may be. */
	put("/sys/fs/cgroup/machine/vm0/memory.numa_stat",
	    "anon N0=8192 N1=8192\nfile N0=0 N1=0\n");
	round_run(d);
	assert_int_equal(vm->action.state, CRAM_VM_DRAINED);
	/* Nobody can tell. Of what is never moved it is known all the same. */
	cgroup_close(&vm->cgroup);
	round_run(d);
	assert_int_equal(vm->action.state, CRAM_VM_DRAINING);
	vm->reason = VM_SHM;
	round_run(d);
	assert_int_equal(vm->action.state, CRAM_VM_DRAINED);
}

static void a_drain_is_done_when_a_later_reading_has_confirmed_it(void **state)
{
	struct daemon *d = *state;
	struct vm *vm = make_vm(d, 0);

	vm->blocks.n = 1;
	vm->placed_ms = 1;
	vm->drain = true;
	atomic_store(&vm->epoch, 7);
	/* What is known says that nothing is out, but it is older than the order. */
	round_run(d);
	assert_int_equal(vm->action.state, CRAM_VM_DRAINING);
	assert_true(atomic_load(&vm->recount));
	vm->settled_epoch = 7;
	round_run(d);
	assert_int_equal(vm->action.state, CRAM_VM_DRAINED);
	assert_false(atomic_load(&vm->recount));
	/* A demotion from before the order is still at work ... */
	atomic_store(&vm->busy, 1U << VM_JOB_DEMOTE);
	round_run(d);
	assert_int_equal(vm->action.state, CRAM_VM_DRAINING);
	/* ... has ended, and no reading has begun since ... */
	atomic_store(&vm->busy, 0);
	vm->jobs_ended = 1;
	round_run(d);
	assert_int_equal(vm->action.state, CRAM_VM_DRAINING);
	vm->settled_jobs = 1;
	round_run(d);
	assert_int_equal(vm->action.state, CRAM_VM_DRAINED);
	/* ... or our policy is still in force. */
	vm->bound = true;
	round_run(d);
	assert_int_equal(vm->action.state, CRAM_VM_DRAINING);
}

static void only_one_job_brings_memory_home_at_a_time(void **state)
{
	struct daemon *d = *state;
	struct vm *vm = make_vm(d, 0);

	assert_int_equal(mover_submit(&d->mover, vm, VM_JOB_PROMOTE_HOT, RANGE_BYTES, 0, 0), 0);
	assert_int_equal(mover_submit(&d->mover, vm, VM_JOB_PROMOTE, RANGE_BYTES, 0, 0), -EBUSY);
	assert_int_equal(mover_submit(&d->mover, vm, VM_JOB_DEMOTE, RANGE_BYTES, 0, 1), 0);
	atomic_store(&vm->busy, 1U << VM_JOB_PROMOTE);
	assert_int_equal(mover_submit(&d->mover, vm, VM_JOB_PROMOTE_HOT, RANGE_BYTES, 0, 0),
			 -EBUSY);
}

/* What is said is what can be done about it, not only the kind of reason. */
static void a_vm_that_is_left_alone_is_announced_once_with_why(void **state)
{
	struct daemon *d = *state;
	struct vm *vm = make_vm(d, 0);
	struct cram_vm_report report;
	char said[512] = "";
	int out[2];
	ssize_t n;

	vm->reason = VM_FILE;
	strcpy(vm->why, "RAM is a file below /dev/shm: use source memfd");
	assert_int_equal(pipe2(out, O_NONBLOCK | O_CLOEXEC), 0);
	d->host.log = (struct cram_log){ .fd = out[1], .level = LOG_INFO };
	d->host.log_limit = (struct cram_ratelimit){ .interval_ms = 60000, .burst = 100 };
	round_run(d);
	n = read(out[0], said, sizeof(said) - 1);
	assert_true(n > 0);
	assert_non_null(strstr(said, "vm \"vm0\": left alone: RAM is a file below /dev/shm"));
	/* It stays so, and nothing more is said of it. */
	round_run(d);
	assert_int_equal(read(out[0], said, sizeof(said)), -1);
	/* Without more to be said, the kind of reason. */
	vm->reason = VM_LOCKED;
	vm->why[0] = '\0';
	round_run(d);
	n = read(out[0], said, sizeof(said) - 1);
	assert_true(n > 0);
	said[n] = '\0';
	assert_non_null(strstr(said, vm_ineligible_text(VM_LOCKED)));
	report_vm(d, vm, &report);
	assert_string_equal(report.ineligible, "locked");
	assert_string_equal(report.note, vm_ineligible_text(VM_LOCKED));
	close(out[0]);
	close(out[1]);
}

static void a_node_that_is_full_takes_nothing(void **state)
{
	struct daemon *d = *state;

	make_vm(d, 0);
	put("/sys/devices/system/node/node1/meminfo",
	    "Node 1 MemTotal: 16777216 kB\nNode 1 MemFree: 1024 kB\n");
	round_run(d);
	pass_time(d);
	round_run(d);
	assert_int_equal(d->mover.out.n, 0);
}

/* The VM's rate is below what it has of cold memory: the rest stands by. */
static void what_only_the_rates_hold_back_is_left_to_relief(void **state)
{
	struct daemon *d = *state;
	struct vm *vm = make_vm(d, 0);

	d->conf.host.vm_demote_rate = 8 * MiB;
	round_run(d);
	pass_time(d);
	round_run(d);
	assert_int_equal(d->relief.orders.n, 1);
	assert_ptr_equal(d->relief.orders.v[0].vm, vm);
	assert_int_equal(d->relief.orders.v[0].bytes + vm->action.demote_bytes, VM_RAM);
	assert_int_equal(d->relief.orders.v[0].home, 1);
	assert_int_equal(d->relief.orders.v[0].nid, 1);
	assert_int_equal(d->relief.nodes.n, 1);
	assert_true(d->relief.headroom[0] > 0);
	vm->paused_by_operator = true;
	round_run(d);
	assert_int_equal(d->relief.orders.n, 0);
}

/* 256 GiB that have been up for a while: 2.6 GiB free, 29 GiB of clean page cache. */
static void warm_host(void)
{
	put("/sys/devices/system/node/node0/meminfo", "Node 0 MemTotal:       268435456 kB\n"
						      "Node 0 MemFree:          2726297 kB\n"
						      "Node 0 MemUsed:        265709159 kB\n"
						      "Node 0 Active:         181403012 kB\n"
						      "Node 0 Inactive:        31457280 kB\n"
						      "Node 0 Active(file):     9437184 kB\n"
						      "Node 0 Inactive(file):  30408704 kB\n"
						      "Node 0 Dirty:              20480 kB\n"
						      "Node 0 Writeback:           1024 kB\n"
						      "Node 0 FilePages:       39845888 kB\n"
						      "Node 0 WritebackTmp:           0 kB\n");
	put("/proc/zoneinfo", "Node 0, zone    DMA32\n"
			      "  pages free     102400\n"
			      "        boost    0\n"
			      "        min      1024\n"
			      "        low      2048\n"
			      "        high     3072\n"
			      "      nr_free_pages 102400\n"
			      "        protection: (0, 0, 255000, 255000)\n"
			      "Node 0, zone   Normal\n"
			      "  pages free     579174\n"
			      "        min      16384\n"
			      "        low      81920\n"
			      "        high     147456\n"
			      "    cpu: 0\n"
			      "              count: 12\n"
			      "Node 1, zone  Movable\n"
			      "  pages free     4175000\n"
			      "        min      100\n"
			      "        low      200\n");
}

static void a_host_full_of_page_cache_takes_hot_memory_home(void **state)
{
	struct daemon *d = *state;
	struct vm *vm = make_vm(d, 0);

	warm_host();
	put_out(vm, 32, 1, RANGE_HOT);
	let_come_home(d);
	assert_int_equal(d->mover.home.n, 1);
	assert_int_equal(d->mover.home.jobs[0].kind, VM_JOB_PROMOTE_HOT);
	assert_int_equal(d->mover.home.jobs[0].bytes, 32 * RANGE_BYTES);
	assert_int_equal(d->mover.home.jobs[0].nid, 0);
	/* What is free and half of the clean cache, above the watermarks of both zones. */
	assert_int_equal(d->decision.available[0] >> 10,
			 2726297 + (30408704 - 20480 - 1024) / 2 - (2048 + 81920) * 4);
	assert_int_equal(daemon_missing(d, vm, GiB), 0);
	relief_look(&d->relief, 0);
	assert_int_equal(atomic_load(&d->host.short_nodes), 0);
}

static void a_host_whose_cache_is_dirty_is_short_of_dram(void **state)
{
	struct daemon *d = *state;
	struct vm *vm = make_vm(d, 0);

	warm_host();
	put("/sys/devices/system/node/node0/meminfo",
	    "Node 0 MemTotal: 268435456 kB\nNode 0 MemFree: 2726297 kB\n"
	    "Node 0 Inactive(file): 30408704 kB\nNode 0 Dirty: 20408704 kB\n"
	    "Node 0 Writeback: 10000000 kB\n");
	put_out(vm, 32, 1, RANGE_HOT);
	let_come_home(d);
	assert_int_equal(d->mover.home.n, 0);
	assert_int_equal(daemon_missing(d, vm, GiB), GiB);
	relief_look(&d->relief, 0);
	assert_int_equal(atomic_load(&d->host.short_nodes), 1);
}

static void a_slow_node_full_of_page_cache_is_a_tier(void **state)
{
	struct daemon *d = *state;

	make_vm(d, 0);
	put("/sys/devices/system/node/node1/meminfo",
	    "Node 1 MemTotal: 16777216 kB\nNode 1 MemFree: 65536 kB\n"
	    "Node 1 Inactive(file): 15000000 kB\nNode 1 Dirty: 0 kB\nNode 1 Writeback: 0 kB\n");
	round_run(d);
	pass_time(d);
	round_run(d);
	assert_int_equal(d->mover.out.n, 1);
}

static void memory_on_a_tier_that_is_withdrawn_comes_home(void **state)
{
	struct daemon *d = *state;
	struct vm *vm = make_vm(d, 0);

	vm->settings.tiers = 0;
	vm->bound = true;
	put_out(vm, 8, 1, 0);
	let_come_home(d);
	assert_int_equal(d->mover.home.n, 1);
	assert_int_equal(d->mover.home.jobs[0].kind, VM_JOB_PROMOTE);
	assert_int_equal(d->mover.home.jobs[0].bytes, 8 * RANGE_BYTES);
	assert_int_equal(atomic_load(&vm->tier_nid), -1);
	assert_true(atomic_load(&vm->look_everywhere));
	assert_int_equal(d->snapshot.tier_used[0], 8 * RANGE_BYTES);
	/* And once it is home, so is its policy. */
	vm->node_bytes[1] = 0;
	atomic_store(&vm->busy, 0);
	round_run(d);
	assert_int_equal(d->mover.home.jobs[1].kind, VM_JOB_UNBIND);
}

static void what_mode_monitor_gives_back_comes_home(void **state)
{
	struct daemon *d = *state;
	struct vm *vm = make_vm(d, 0);

	vm->settings.mode = CRAM_MODE_MONITOR;
	put_out(vm, 8, 1, 0);
	let_come_home(d);
	assert_int_equal(d->mover.home.n, 1);
	assert_int_equal(d->mover.home.jobs[0].bytes, 8 * RANGE_BYTES);
}

/*
 * On a host with an ordinary slow node memory may lie there that the agent knows nothing of: the
 * kernel has demoted it, or an administrator has bound the VM to that node. That is no tier's.
 */
static void what_the_agent_has_not_put_out_stays_where_it_is(void **state)
{
	static const struct {
		enum cram_mode mode;
		unsigned int tiers;
		uint64_t told, allowed;
		bool stays;
	} cases[] = {
		/* The defaults; a VM that uses cards. */
		{ CRAM_MODE_MONITOR, 1U << CRAM_TIER_CRAM, 0, 3, true },
		{ CRAM_MODE_OFF, 1U << CRAM_TIER_CRAM, 0, 3, true },
		{ CRAM_MODE_AUTO, 1U << CRAM_TIER_CRAM, 0, 3, true },
		/* The node may be its tier, but it was bound to it; or has no other. */
		{ CRAM_MODE_MONITOR, 1U << CRAM_TIER_NODE, 2, 3, true },
		{ CRAM_MODE_MONITOR, 1U << CRAM_TIER_NODE, 0, 2, true },
		{ CRAM_MODE_AUTO, 1U << CRAM_TIER_NODE, 0, 2, true },
		/* It may be its tier, and nothing says otherwise. */
		{ CRAM_MODE_MONITOR, 1U << CRAM_TIER_NODE, 1, 3, false },
	};
	struct daemon *d = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct vm *vm = make_vm(d, i);

		vm->settings.mode = cases[i].mode;
		vm->settings.tiers = cases[i].tiers;
		vm->mems_allowed = cases[i].allowed;
		vm->blocks.n = 1;
		vm->blocks.v[0].policy =
			(struct proc_policy){ .mode = PROC_MPOL_BIND, .nodes = cases[i].told };
		vm->block_homes[0] = 1;
		put_out(vm, 8, 1, 0);
		atomic_store(&vm->used_tiers, 0);
	}
	let_come_home(d);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct vm *vm = d->host.vms.v[i];
		uint64_t out = cases[i].stays ? 0 : 8 * RANGE_BYTES;

		assert_int_equal(vm->input.tier_bytes, out);
		assert_int_equal(vm->input.dram, VM_RAM - out);
		assert_int_equal(vm->action.promote_bytes, out);
		assert_int_equal(atomic_load(&vm->busy) & 1U << VM_JOB_PROMOTE,
				 cases[i].stays ? 0 : 1U << VM_JOB_PROMOTE);
		/* What it has no right to is not where it is sent either. */
		assert_int_equal(atomic_load(&vm->busy) & 1U << VM_JOB_DEMOTE, 0);
	}
	assert_int_equal(d->snapshot.tier_used[0], 8 * RANGE_BYTES);
}

/* A device was assigned to it while memory was out, say. */
static void what_is_out_of_a_vm_that_may_no_longer_be_tiered_comes_home(void **state)
{
	struct daemon *d = *state;
	struct vm *vm = make_vm(d, 0);

	put_out(vm, 8, 1, 0);
	vm->reason = VM_PINNED;
	let_come_home(d);
	assert_int_equal(d->mover.home.n, 1);
	assert_int_equal(d->mover.home.jobs[0].kind, VM_JOB_PROMOTE);
	assert_int_equal(d->mover.home.jobs[0].bytes, 8 * RANGE_BYTES);
	assert_int_equal(vm->input.tier_bytes, 8 * RANGE_BYTES);
	assert_int_equal(d->mover.out.n, 0);
}

static void each_tier_counts_what_is_on_it(void **state)
{
	struct daemon *d = *state;
	struct vm *vm = make_vm(d, 0);

	put("/sys/devices/system/node/online", "0-2\n");
	put("/sys/devices/system/node/has_memory", "0-2\n");
	put("/sys/devices/system/node/node2/meminfo",
	    "Node 2 MemTotal: 16777216 kB\nNode 2 MemFree: 16700000 kB\n");
	put("/sys/devices/system/node/node0/distance", "10 20 40\n");
	put("/sys/devices/system/node/node1/distance", "20 10 40\n");
	put("/sys/devices/system/node/node2/distance", "40 40 10\n");
	vm->mems_allowed = 7;
	put_out(vm, 8, 2, 0);
	put_out(vm, 4, 1, 0);
	vm->moved_since = RANGE_BYTES;
	round_run(d);
	assert_int_equal(atomic_load(&vm->tier_nid), 1);
	assert_int_equal(d->snapshot.tier_used[0], 5 * RANGE_BYTES);
	assert_int_equal(d->snapshot.tier_used[1], 8 * RANGE_BYTES);
	/* What is there of a VM that does not use this tier leaves room to nobody. */
	assert_int_equal(d->snapshot.tiers[1].used_other, (UINT64_C(16777216) - 16700000) << 10);
	assert_int_equal(d->snapshot.tier_vms[1], 1);
}

/* Two home nodes, 0 with 4 GiB and 2 with @mib of DRAM free; tier 1. */
static struct vm *vm_with_two_homes(struct daemon *d, unsigned int mib)
{
	struct vm *vm = make_vm(d, 0);
	char text[128];

	put("/sys/devices/system/node/online", "0-2\n");
	put("/sys/devices/system/node/has_memory", "0-2\n");
	put("/sys/devices/system/node/has_cpu", "0,2\n");
	snprintf(text, sizeof(text), "Node 2 MemTotal: 16777216 kB\nNode 2 MemFree: %u kB\n",
		 mib * 1024);
	put("/sys/devices/system/node/node2/meminfo", text);
	put("/sys/devices/system/node/node0/distance", "10 20 20\n");
	put("/sys/devices/system/node/node1/distance", "20 10 20\n");
	put("/sys/devices/system/node/node2/distance", "20 20 10\n");
	vm->mems_allowed = 7;
	vm->home_nodes = 1U << 0 | 1U << 2;
	return vm;
}

static void memory_comes_home_to_the_node_that_was_decided(void **state)
{
	struct daemon *d = *state;
	struct vm *vm = vm_with_two_homes(d, 8192);

	put_out(vm, 8, 1, RANGE_HOT);
	let_come_home(d);
	assert_int_equal(d->mover.home.n, 1);
	assert_int_equal(d->snapshot.dram[vm->action.home].nid, 2);
	assert_int_equal(d->mover.home.jobs[0].nid, 2);
}

/* The first half of its memory is at home on node 0, the second on node 2, which has less free. */
static void what_was_accessed_decides_which_home_it_is(void **state)
{
	struct daemon *d = *state;
	struct vm *vm = vm_with_two_homes(d, 3072);

	vm->blocks.n = 2;
	vm->first[1] = RANGES / 2;
	vm->block_homes[0] = 1U << 0;
	vm->block_homes[1] = 1U << 2;
	put_out(vm, RANGES, 1, 0);
	vm->drain = true;
	vm->ranges.v[RANGES - 1].flags |= RANGE_HOT;
	let_come_home(d);
	assert_int_equal(d->mover.home.jobs[0].nid, 2);
	assert_int_equal(vm->block_returns[0], 1U << 0);
	assert_int_equal(vm->block_returns[1], 1U << 2);
	/* Not when it stays there whatever is done; all that is out counts then. */
	vm->ranges.v[RANGES - 1].flags |= RANGE_STAYS;
	atomic_store(&vm->busy, 0);
	let_come_home(d);
	assert_int_equal(d->mover.home.jobs[1].nid, 0);
	/* When nothing was, too, and the node with more room is first. */
	vm->ranges.v[RANGES - 1].flags &= (uint8_t) ~(RANGE_HOT | RANGE_STAYS);
	atomic_store(&vm->busy, 0);
	let_come_home(d);
	assert_int_equal(d->mover.home.jobs[2].nid, 0);
	for (size_t i = 0; i < RANGES / 2; i++)
		vm->ranges.v[i].tier_pages = 0;
	atomic_store(&vm->busy, 0);
	let_come_home(d);
	assert_int_equal(d->mover.home.jobs[3].nid, 2);
	/* A block whose home has gone comes home where the VM has one. */
	vm->block_homes[1] = 1U << 5;
	let_come_home(d);
	assert_int_equal(vm->block_returns[1], 1U << 0 | 1U << 2);
}

static void what_is_handed_out_is_paid_for(void **state)
{
	struct daemon *d = *state;
	struct vm *vm = make_vm(d, 0);

	round_run(d);
	pass_time(d);
	round_run(d);
	assert_int_equal(d->mover.out.n, 1);
	assert_true(vm->demote_bucket.tokens + d->mover.out.jobs[0].bytes <=
		    d->conf.host.vm_demote_rate * d->conf.host.burst_ms / 1000);
	assert_true(d->host.demote_bucket.tokens + d->mover.out.jobs[0].bytes <=
		    d->conf.host.demote_rate * d->conf.host.burst_ms / 1000);
}

static void the_most_urgent_is_handed_out_first(void **state)
{
	struct daemon *d = *state;
	struct vm *less = make_vm(d, 0), *more = make_vm(d, 1);

	put_out(less, 4, 1, RANGE_HOT);
	put_out(more, 32, 1, RANGE_HOT);
	let_come_home(d);
	assert_int_equal(d->mover.home.n, 2);
	assert_ptr_equal(d->mover.home.jobs[0].vm, more);
	assert_ptr_equal(d->mover.home.jobs[1].vm, less);
}

static void what_a_round_decided_on_can_be_decided_on_again(void **state)
{
	cleanup_free struct cram_vm_action *actions = calloc(2, sizeof(*actions));
	struct cram_decision again = { .actions = actions };
	struct cram_policy_workspace *ws = NULL;
	struct cram_policy_params other = {};
	struct daemon *d = *state;
	struct json_object *o;
	struct cram_error err;
	struct cram_record rec;
	const char *text;

	make_vm(d, 0);
	put_out(make_vm(d, 1), 8, 1, RANGE_HOT);
	warm_host();
	let_come_home(d);
	/* Those that came after the round are not in it, though there is a place for each. */
	for (size_t i = 2; i < 64; i++)
		make_vm(d, i);
	o = snapshot_record(&d->snapshot, &d->host, &d->conf.host.policy);
	assert_non_null(o);
	assert_ptr_equal(d->snapshot.view.vms, d->snapshot.inputs.v);
	assert_int_equal(d->snapshot.view.n_vms, 2);
	text = json_object_to_json_string(o);
	assert_int_equal(cram_record_parse("record", text, strlen(text), &other, &rec, &err), 0);
	json_object_put(o);
	assert_int_equal(rec.snap.n_vms, 2);
	assert_string_equal(rec.vms[1].name, "vm1");
	assert_int_equal(cram_policy_workspace_reserve(&ws, 2), 0);
	assert_int_equal(cram_policy_decide(&rec.params, &rec.snap, ws, &again), 0);
	for (size_t i = 0; i < 2; i++)
		assert_memory_equal(&actions[i], &d->host.vms.v[i]->action, sizeof(actions[i]));
	assert_true(actions[1].promote_hot_bytes > 0);
	cram_policy_workspace_free(ws);
	cram_record_free(&rec);
}

static const struct cram_check_report *finding(struct daemon *d, const char *subject,
					       const char *code)
{
	const struct cram_check_report *report = found(d, subject, code);

	if (!report)
		fail_msg("nothing is said about %s: %s", subject, code);
	return report;
}

static void check_says_what_could_be_gained_and_for_the_rest_why_not(void **state)
{
	struct daemon *d = *state;

	make_vm(d, 0)->settings.mode = CRAM_MODE_MONITOR;
	make_vm(d, 1)->reason = VM_HUGETLB;
	make_vm(d, 2)->settings.floor = VM_RAM;
	make_vm(d, 3)->settings.tiers = 1U << CRAM_TIER_CRAM;
	make_vm(d, 4)->settings.floor = VM_RAM / 4;
	strcpy(d->host.vms.v[4]->note, "weight: bad value");
	put("/proc/meminfo", "MemTotal: 1 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n");
	put("/sys/kernel/mm/transparent_hugepage/shmem_enabled",
	    "always within_size advise [never] deny force\n");
	round_run(d);
	d->host.vms.v[4]->settings.floor_asked = 2 * VM_RAM;
	assert_int_equal(finding(d, "vm \"vm4\"", "clamped")->bytes, 2 * VM_RAM);
	assert_string_equal(finding(d, "vm \"vm4\"", "clamped")->name, "vm4");
	assert_string_equal(finding(d, "host", "tier")->text, "node 1 is a tier");
	assert_int_equal(finding(d, "host", "gain")->bytes, VM_RAM + VM_RAM / 4 * 3);
	assert_string_equal(finding(d, "host", "no-swap")->severity, "info");
	d->conf.host.relief_swap = CRAM_YES;
	assert_string_equal(finding(d, "host", "no-swap")->severity, "warning");
	put("/proc/meminfo", "MemTotal: 1 kB\nSwapTotal: 8 kB\nSwapFree: 8 kB\n");
	put("/proc/swaps", "Filename Type Size Used Priority\n/dev/zram0 partition 8 0 -2\n");
	assert_non_null(strstr(finding(d, "host", "no-swap")->text, "zram"));
	put("/sys/module/zswap/parameters/enabled", "Y\n");
	assert_non_null(strstr(finding(d, "host", "no-swap")->text, "zswap is on"));
	put("/sys/module/zswap/parameters/enabled", "N\n");
	d->conf.host.relief_swap = CRAM_NO;
	assert_string_equal(finding(d, "host", "shmem-thp")->severity, "info");
	assert_non_null(strstr(finding(d, "host", "shmem-thp")->text, "userfaultfd"));
	assert_int_equal(finding(d, "vm \"vm0\"", "eligible")->bytes, VM_RAM);
	assert_int_equal(finding(d, "vm \"vm1\"", "hugepages")->bytes, VM_RAM);
	assert_int_equal(finding(d, "vm \"vm2\"", "floor")->bytes, VM_RAM);
	assert_non_null(strstr(finding(d, "vm \"vm3\"", "tiers")->text, "tiers is cram,"));
	assert_string_equal(finding(d, "vm \"vm4\"", "settings")->text, "weight: bad value");
	put("/sys/devices/system/node/has_memory", "0\n");
	round_run(d);
	assert_string_equal(finding(d, "host", "no-tier")->severity, "error");
}

static bool no_tier_of(struct daemon *d, struct vm *vm, const char *text)
{
	char buf[256] = "";

	report_no_tier(d, vm, buf, sizeof(buf));
	return strstr(buf, text);
}

static void what_a_host_without_slow_memory_lacks_is_said_by_kind(void **state)
{
	struct daemon *d = *state;
	struct vm *card = make_vm(d, 0), *node = make_vm(d, 1);

	card->settings.tiers = 1U << CRAM_TIER_CRAM;
	node->settings.tiers = 1U << CRAM_TIER_NODE;
	put("/sys/devices/system/node/has_memory", "0\n");
	round_run(d);
	assert_true(no_tier_of(d, card, "tiers is cram, and no card that compresses is online"));
	assert_false(no_tier_of(d, card, "tier_nodes"));
	assert_true(no_tier_of(d, node, "no node of tier_nodes, which is auto, has memory"));
	assert_false(no_tier_of(d, node, "card"));
	assert_true(said(d, "host", "no-tier", "no card that compresses is online"));
	assert_true(said(d, "host", "no-tier", "tier_nodes, which is auto,"));
}

/* Before there is a VM that would be told so. */
static void a_host_that_is_to_have_zswap_is_told_what_it_lacks(void **state)
{
	struct daemon *d = *state;

	d->conf.vm.set |= 1U << CRAM_SET_TIERS;
	d->conf.vm.tiers = 1U << CRAM_TIER_ZSWAP;
	put("/sys/devices/system/node/has_memory", "0\n");
	put("/sys/module/zswap/parameters/enabled", "N\n");
	put("/proc/meminfo", "MemTotal: 1000 kB\nSwapTotal: 8 kB\nSwapFree: 8 kB\n");
	round_run(d);
	assert_string_equal(finding(d, "host", "no-tier")->severity, "error");
	assert_true(said(d, "host", "no-tier", "nothing goes to zswap: zswap is off"));
	assert_false(said(d, "host", "no-tier", "no card"));
	put("/sys/module/zswap/parameters/enabled", "Y\n");
	assert_null(found(d, "host", "no-tier"));
	assert_true(said(d, "host", "tier", "zswap takes pages"));
}

static void check_says_first_what_may_be_sold_and_at_what_risk(void **state)
{
	static struct cram_check_report findings[32];
	struct daemon *d = *state;
	struct cram_host_report host;

	make_vm(d, 0);
	round_run(d);
	report_host(d, &host);
	assert_true(host.room > 0);
	assert_true(report_check(d, findings, ARRAY_SIZE(findings)) > 1);
	assert_string_equal(findings[0].code, "sell");
	assert_int_equal(findings[0].bytes, host.room);
	assert_non_null(strstr(findings[0].text, "risk: none"));
	/* What is sold already is more than the host can honour. */
	d->host.vms.v[0]->ram = 1024 * GiB;
	round_run(d);
	assert_true(report_check(d, findings, ARRAY_SIZE(findings)) > 1);
	assert_int_equal(findings[0].bytes, 0);
	assert_non_null(strstr(findings[0].text, "have no place should guests write"));
}

static void check_says_how_coarse_damon_sees(void **state)
{
	struct daemon *d = *state;

	make_vm(d, 0);
	make_vm(d, 1);
	round_run(d);
	d->conf.host.damon_max_regions = 4;
	atomic_store(&d->host.damon_until_ms, UINT64_MAX);
	assert_int_equal(finding(d, "host", "damon-regions")->bytes, 2 * VM_RAM / 4);
	assert_string_equal(finding(d, "host", "damon-regions")->severity, "warning");
	/* Looks see what it does not. */
	atomic_store(&d->host.idle_active, true);
	assert_string_equal(finding(d, "host", "damon-regions")->severity, "info");
	d->conf.host.damon_max_regions = 2 * VM_RAM / RANGE_BYTES;
	assert_false(found(d, "host", "damon-regions"));
}

static void check_says_when_damon_does_not_answer(void **state)
{
	struct daemon *d = *state;
	struct cram_host_report host;

	round_run(d);
	atomic_store(&d->host.damon_until_ms, monotonic_ms() + 60000);
	assert_string_equal(finding(d, "host", "detector")->severity, "ok");
	assert_non_null(strstr(finding(d, "host", "detector")->text, "found by damon"));
	atomic_store(&d->host.damon_until_ms, monotonic_ms() - 1);
	assert_string_equal(finding(d, "host", "detector")->severity, "warning");
	assert_non_null(strstr(finding(d, "host", "detector")->text, "counts as cold"));
	report_host(d, &host);
	assert_string_equal(host.detector, "none");
	atomic_store(&d->host.idle_active, true);
	assert_non_null(strstr(finding(d, "host", "detector")->text, "is looked at"));
}

static void check_says_what_to_do_where_the_detector_is_not_there(void **state)
{
	struct daemon *d = *state;

	round_run(d);
	/* DAMON waits for a VM. */
	assert_string_equal(finding(d, "host", "detector")->severity, "ok");
	assert_null(strstr(finding(d, "host", "detector")->text, "none"));
	d->conf.host.detector = CRAM_DETECTOR_PAGE_IDLE;
	assert_string_equal(finding(d, "host", "detector")->severity, "warning");
	assert_non_null(strstr(finding(d, "host", "detector")->text, "set detector to auto"));
	atomic_store(&d->host.idle_active, true);
	assert_string_equal(finding(d, "host", "detector")->severity, "ok");
	assert_string_equal(finding(d, "host", "detector")->text,
			    "cold memory is found by page_idle");
}

static void turn(struct daemon *d)
{
	round_run(d);
	/* They have been told. */
	events_clear(&d->events);
}

static void a_steady_round_allocates_nothing(void **state)
{
	struct daemon *d = *state;
	unsigned long before;

	for (size_t i = 0; i < VMS; i++)
		make_vm(d, i);
	turn(d);
	turn(d);
	before = allocations;
	for (int i = 0; i < 200; i++)
		turn(d);
	assert_int_equal(allocations - before, 0);
	assert_int_equal(d->rounds, 202);
}

/* Rounds with @vm in @state each time; how often that was told. */
static size_t told(struct daemon *d, struct vm *vm, size_t rounds, enum cram_vm_state state)
{
	size_t n = 0;

	events_clear(&d->events);
	for (size_t i = 0; i < rounds; i++) {
		/* With a floor as large as the VM it has nothing to give. */
		vm->settings.floor = state == CRAM_VM_DEMOTING ? 0 : VM_RAM;
		pass_time(d);
		round_run(d);
		assert_int_equal(vm->action.state, state);
	}
	for (size_t i = 0; i < d->events.queue.n; i++)
		n += !strcmp(d->events.queue.v[i].news.type, "state");
	return n;
}

/* How often an event of @type was told since the last time. */
static size_t events_of(struct daemon *d, const char *type)
{
	size_t n = 0;

	for (size_t i = 0; i < d->events.queue.n; i++)
		n += !strcmp(d->events.queue.v[i].news.type, type);
	events_clear(&d->events);
	return n;
}

static void what_cannot_be_moved_or_looked_at_is_said_once_with_why(void **state)
{
	struct daemon *d = *state;
	struct vm *vm = make_vm(d, 0);
	struct cram_vm_report report;

	turn(d);
	vm->counters.move_error = -EPERM;
	round_run(d);
	assert_string_equal(d->events.queue.v[d->events.queue.n - 1].news.name, vm->name);
	assert_int_equal(events_of(d, "trouble"), 1);
	round_run(d);
	assert_int_equal(events_of(d, "trouble"), 0);
	report_vm(d, vm, &report);
	assert_string_equal(report.note, "cannot be moved: Operation not permitted");
	vm->counters.move_error = 0;
	vm->counters.look_error = -EACCES;
	round_run(d);
	assert_int_equal(events_of(d, "trouble"), 1);
	report_vm(d, vm, &report);
	assert_string_equal(report.note, "cannot be looked at: Permission denied");
	vm->counters.look_error = 0;
	round_run(d);
	assert_int_equal(events_of(d, "trouble-over"), 1);
	vm->counters.examine_error = -EACCES;
	round_run(d);
	round_run(d);
	assert_int_equal(events_of(d, "trouble"), 1);
	report_vm(d, vm, &report);
	assert_string_equal(report.note, "cannot be examined: Permission denied");
	vm->counters.examine_error = 0;
	round_run(d);
	assert_int_equal(events_of(d, "trouble-over"), 1);
	report_vm(d, vm, &report);
	assert_string_equal(report.note, "");
}

static void a_round_that_sees_nothing_new_is_not_a_finished_one(void **state)
{
	struct daemon *d = *state;
	struct cram_host_report host;

	make_vm(d, 0);
	round_run(d);
	report_host(d, &host);
	assert_int_equal(host.rounds, 1);
	assert_int_equal(host.rounds_failed, 0);
	put("/sys/devices/system/node/online", "what");
	round_run(d);
	round_run(d);
	report_host(d, &host);
	assert_int_equal(host.rounds, 1);
	assert_int_equal(host.rounds_failed, 2);
	put("/sys/devices/system/node/online", "0-1\n");
	round_run(d);
	report_host(d, &host);
	assert_int_equal(host.rounds, 2);
}

static void each_home_node_is_told_of(void **state)
{
	struct daemon *d = *state;
	struct cram_dram_report node;
	struct cram_host_report host;

	round_run(d);
	assert_int_equal(d->snapshot.n_dram, 1);
	report_dram(d, 0, &node);
	assert_int_equal(node.nid, 0);
	assert_int_equal(node.total, 16 * GiB);
	assert_int_equal(node.free, 4 * GiB);
	report_host(d, &host);
	assert_int_equal(host.dram_available, node.available);
	assert_int_equal(host.dram_headroom, node.headroom);
	assert_true(node.headroom > 0);
}

/* Each 64 MiB of it. */
static void what_is_refused_is_in_the_log_with_why(void **state)
{
	struct daemon *d = *state;
	struct vm *vm = make_vm(d, 0);

	turn(d);
	vm->counters.last_error = -EBUSY;
	vm->counters.refused = 64 * MiB - 1;
	turn(d);
	assert_int_equal(vm->reported_refused, 0);
	vm->counters.refused = 65 * MiB;
	turn(d);
	assert_int_equal(vm->reported_refused, 65 * MiB);
}

static void a_state_that_comes_and_goes_is_not_told_each_time(void **state)
{
	struct daemon *d = *state;
	struct vm *vm = make_vm(d, 0);

	vm->reported_state = CRAM_N_VM_STATES;
	assert_int_equal(told(d, vm, 1, CRAM_VM_STEADY), 1);
	for (size_t i = 0; i < 4; i++) {
		assert_int_equal(told(d, vm, 1, CRAM_VM_DEMOTING), 0);
		assert_int_equal(told(d, vm, 1, CRAM_VM_STEADY), 0);
	}
	/* It has lasted with the third round. */
	assert_int_equal(told(d, vm, 2, CRAM_VM_DEMOTING), 0);
	assert_int_equal(told(d, vm, 1, CRAM_VM_DEMOTING), 1);
	assert_int_equal(vm->reported_state, CRAM_VM_DEMOTING);
	assert_int_equal(told(d, vm, 5, CRAM_VM_DEMOTING), 0);
}

static void a_state_that_was_asked_for_is_told_at_once_and_its_end(void **state)
{
	struct daemon *d = *state;
	struct vm *vm = make_vm(d, 0);

	vm->reported_state = CRAM_N_VM_STATES;
	assert_int_equal(told(d, vm, 1, CRAM_VM_STEADY), 1);
	vm->paused_by_operator = true;
	assert_int_equal(told(d, vm, 1, CRAM_VM_PAUSED), 1);
	vm->paused_by_operator = false;
	assert_int_equal(told(d, vm, 1, CRAM_VM_STEADY), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(cold_memory_is_handed_to_the_movers, make, drop),
		cmocka_unit_test_setup_teardown(what_may_not_move_is_not_handed_out, make, drop),
		cmocka_unit_test_setup_teardown(what_is_filled_in_on_faults_stays_where_it_is, make,
						drop),
		cmocka_unit_test_setup_teardown(what_is_out_of_a_paused_vm_is_looked_for, make,
						drop),
		cmocka_unit_test_setup_teardown(a_drained_vms_policy_is_put_back_when_it_is_home,
						make, drop),
		cmocka_unit_test_setup_teardown(
			what_is_not_understood_is_drained_when_its_cgroup_says_so, make, drop),
		cmocka_unit_test_setup_teardown(
			a_drain_is_done_when_a_later_reading_has_confirmed_it, make, drop),
		cmocka_unit_test_setup_teardown(only_one_job_brings_memory_home_at_a_time, make,
						drop),
		cmocka_unit_test_setup_teardown(a_vm_that_is_left_alone_is_announced_once_with_why,
						make, drop),
		cmocka_unit_test_setup_teardown(a_node_that_is_full_takes_nothing, make, drop),
		cmocka_unit_test_setup_teardown(what_only_the_rates_hold_back_is_left_to_relief,
						make, drop),
		cmocka_unit_test_setup_teardown(a_host_full_of_page_cache_takes_hot_memory_home,
						make, drop),
		cmocka_unit_test_setup_teardown(a_host_whose_cache_is_dirty_is_short_of_dram, make,
						drop),
		cmocka_unit_test_setup_teardown(a_slow_node_full_of_page_cache_is_a_tier, make,
						drop),
		cmocka_unit_test_setup_teardown(memory_on_a_tier_that_is_withdrawn_comes_home, make,
						drop),
		cmocka_unit_test_setup_teardown(what_the_agent_has_not_put_out_stays_where_it_is,
						make, drop),
		cmocka_unit_test_setup_teardown(what_mode_monitor_gives_back_comes_home, make,
						drop),
		cmocka_unit_test_setup_teardown(
			what_is_out_of_a_vm_that_may_no_longer_be_tiered_comes_home, make, drop),
		cmocka_unit_test_setup_teardown(each_tier_counts_what_is_on_it, make, drop),
		cmocka_unit_test_setup_teardown(memory_comes_home_to_the_node_that_was_decided,
						make, drop),
		cmocka_unit_test_setup_teardown(what_was_accessed_decides_which_home_it_is, make,
						drop),
		cmocka_unit_test_setup_teardown(what_is_handed_out_is_paid_for, make, drop),
		cmocka_unit_test_setup_teardown(the_most_urgent_is_handed_out_first, make, drop),
		cmocka_unit_test_setup_teardown(what_a_round_decided_on_can_be_decided_on_again,
						make, drop),
		cmocka_unit_test_setup_teardown(
			check_says_what_could_be_gained_and_for_the_rest_why_not, make, drop),
		cmocka_unit_test_setup_teardown(
			what_a_host_without_slow_memory_lacks_is_said_by_kind, make, drop),
		cmocka_unit_test_setup_teardown(a_host_that_is_to_have_zswap_is_told_what_it_lacks,
						make, drop),
		cmocka_unit_test_setup_teardown(check_says_how_coarse_damon_sees, make, drop),
		cmocka_unit_test_setup_teardown(check_says_when_damon_does_not_answer, make, drop),
		cmocka_unit_test_setup_teardown(
			check_says_what_to_do_where_the_detector_is_not_there, make, drop),
		cmocka_unit_test_setup_teardown(a_steady_round_allocates_nothing, make, drop),
		cmocka_unit_test_setup_teardown(check_says_first_what_may_be_sold_and_at_what_risk,
						make, drop),
		cmocka_unit_test_setup_teardown(
			what_cannot_be_moved_or_looked_at_is_said_once_with_why, make, drop),
		cmocka_unit_test_setup_teardown(a_round_that_sees_nothing_new_is_not_a_finished_one,
						make, drop),
		cmocka_unit_test_setup_teardown(each_home_node_is_told_of, make, drop),
		cmocka_unit_test_setup_teardown(what_is_refused_is_in_the_log_with_why, make, drop),
		cmocka_unit_test_setup_teardown(
			a_state_that_was_asked_for_is_told_at_once_and_its_end, make, drop),
		cmocka_unit_test_setup_teardown(a_state_that_comes_and_goes_is_not_told_each_time,
						make, drop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
