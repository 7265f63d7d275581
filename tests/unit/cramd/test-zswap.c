// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Compressed swap as a tier, on recorded hosts and a played kernel: who may use it, what a VM takes
 * of it, how memory gets there and back, and that the kernel's word on it is not taken.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "cramd/classify/looker.h"
#include "cramd/examine.h"
#include "cramd/moves.h"
#include "cramd/overcommit.h"
#include "cramd/sense/swapped.h"
#include "cramd/server/report.h"
#include "played.h"
#include "rounds.h"
#include "util/cleanup.h"
#include "util/size.h"

#define PAGES  ((size_t)RANGES * PAGES_PER_RANGE)
#define CGROUP "/sys/fs/cgroup/machine/"
#define MIB    (UINT64_C(1) << 20)
#define GIB    (UINT64_C(1) << 30)

/* ------------------------------------------------------------------ a host with zswap */

static void put_swap(const char *total, const char *free)
{
	char text[256];

	snprintf(text, sizeof(text),
		 "MemTotal: 16777216 kB\nZswap: 1024 kB\nSwapTotal: %s kB\nSwapFree: %s kB\n",
		 total, free);
	put("/proc/meminfo", text);
}

static void put_cgroup(size_t i, const char *name, const char *text)
{
	char path[160];

	snprintf(path, sizeof(path), CGROUP "vm%zu/%s", i, name);
	put(path, text);
}

static struct vm *make_swap_vm(struct daemon *d, size_t i)
{
	struct vm *vm = make_vm(d, i);
	char path[64];

	put_cgroup(i, "memory.current", "1\n");
	put_cgroup(i, "memory.zswap.current", "0\n");
	put_cgroup(i, "memory.zswap.max", "max\n");
	put_cgroup(i, "memory.zswap.writeback", "0\n");
	put_cgroup(i, "memory.swap.max", "max\n");
	put_cgroup(i, "memory.swap.current", "0\n");
	put_cgroup(i, "memory.stat", "anon 1\nzswap 0\nzswapped 0\n");
	snprintf(path, sizeof(path), "/machine/vm%zu", i);
	cgroup_open(&d->host.root, path, &vm->cgroup);
	vm->settings.tiers = 1U << CRAM_TIER_ZSWAP;
	vm->blocks.n = 1;
	vm->blocks.v[0] = (struct ramblock){ .start = PLAYED_START,
					     .end = PLAYED_START + VM_RAM,
					     .memfd = true };
	vm->block_homes[0] = vm->block_returns[0] = 1;
	vm->placed_ms = 1;
	return vm;
}

static int make_host(void **state)
{
	struct daemon *d;

	make(state);
	d = *state;
	put("/sys/module/zswap/parameters/enabled", "Y\n");
	put("/sys/module/zswap/parameters/compressor", "zstd\n");
	put("/sys/module/zswap/parameters/max_pool_percent", "20\n");
	put("/sys/module/zswap/parameters/accept_threshold_percent", "90\n");
	put_swap("4194304", "4194304");
	strcpy(d->conf.host.tier_nodes, "none");
	return 0;
}

/* The tier of @vm in the round that has just ended; NULL: none. */
static const struct cram_tier_input *tier_of(const struct daemon *d, const struct vm *vm)
{
	return vm->input.tier < 0 ? NULL : &d->snapshot.tiers[vm->input.tier];
}

static void a_vm_set_to_zswap_has_it_as_its_tier(void **state)
{
	struct daemon *d = *state;
	struct vm *vm = make_swap_vm(d, 0);
	const struct cram_tier_input *tier;
	struct cram_node_report node;
	struct cram_vm_report report;

	round_run(d);
	tier = tier_of(d, vm);
	assert_non_null(tier);
	assert_int_equal(tier->kind, CRAM_TIER_ZSWAP);
	assert_int_equal(tier->nid, -1);
	/* As much of DRAM as its pool takes without ever refusing. */
	assert_int_equal(tier->budget, 16 * GIB / 100 * 18 + 16 * GIB % 100 * 18 / 100);
	assert_int_equal(tier->free, tier->budget - MIB);
	assert_true(tier->accepting);
	assert_int_equal(atomic_load(&vm->tier_nid), NODE_SWAP);
	assert_true(said(d, "host", "tier", "zstd"));
	report_vm(d, vm, &report);
	assert_int_equal(report.nid, -1);
	assert_string_equal(report.tier, "zswap");
	report_node(d, 0, &node);
	assert_string_equal(node.tier, "zswap");
	assert_int_equal(node.capacity, tier->budget);
	assert_int_equal(node.device_bytes, MIB);
	pass_time(d);
	round_run(d);
	assert_int_equal(d->mover.out.n, 1);
	assert_int_equal(d->mover.out.jobs[0].nid, NODE_SWAP);
	assert_true(d->mover.out.jobs[0].bytes > 0);
}

static void nothing_is_swapped_of_who_is_not_set_to_it(void **state)
{
	struct daemon *d = *state;
	struct vm *vm = make_swap_vm(d, 0);

	vm->settings.tiers = 1U << CRAM_TIER_CRAM;
	vm->node_bytes[NODE_SWAP] = 0;
	vm->swapped = GIB;
	pass_time(d);
	round_run(d);
	assert_null(tier_of(d, vm));
	assert_int_equal(vm->input.swapped, GIB);
	assert_false(atomic_load(&vm->on_swap));
	assert_int_equal(d->snapshot.n_tiers, 0);
	assert_int_equal(d->mover.out.n, 0);
}

/* With nothing compressed it saves nothing; swap beside it is places for what does compress. */
static void zswap_is_sold_by_what_it_is_expected_to_save(void **state)
{
	struct daemon *d = *state;
	struct vm *vm = make_swap_vm(d, 0);
	struct cram_overcommit_input in;
	uint64_t limit;

	d->conf.host.expected_ratio_percent = 400;
	put_swap("4194304", "3145728");
	/* A GiB of it is out, and takes 512 MiB of the pool. */
	vm->node_bytes[NODE_SWAP] = vm->swapped = GIB;
	put("/proc/meminfo", "MemTotal: 16777216 kB\nZswap: 524288 kB\nSwapTotal: 4194304 kB\n"
			     "SwapFree: 3145728 kB\n");
	round_run(d);
	overcommit_input(d, NULL, &in);
	assert_int_equal(in.has.swap, 0);
	assert_int_equal(in.has.swap_now, 3 * GIB);
	assert_int_equal(in.has.fits[CRAM_TIER_ZSWAP], 0);
	/* There are places for 4 GiB, which as it is now take the half of that. */
	assert_int_equal(in.has.expected[CRAM_TIER_ZSWAP], 2 * GIB);
	/* The pool is full before all places are taken. */
	put("/proc/meminfo", "MemTotal: 4194304 kB\nZswap: 524288 kB\nSwapTotal: 4194304 kB\n"
			     "SwapFree: 3145728 kB\n");
	round_run(d);
	overcommit_input(d, NULL, &in);
	limit = d->snapshot.tier_capacity[0];
	assert_in_range(in.has.expected[CRAM_TIER_ZSWAP], limit - 1, limit);
	/* What does not compress goes to disk if it may, and all of swap counts. */
	d->conf.host.zswap_writeback = CRAM_YES;
	round_run(d);
	overcommit_input(d, NULL, &in);
	assert_int_equal(in.has.swap, 4 * GIB);
	assert_int_equal(in.has.expected[CRAM_TIER_ZSWAP], 0);
}

/* A node is nearer than a pool that has to be decompressed from. */
static void a_node_is_preferred(void **state)
{
	struct daemon *d = *state;
	struct vm *vm = make_swap_vm(d, 0);

	strcpy(d->conf.host.tier_nodes, "1");
	vm->settings.tiers |= 1U << CRAM_TIER_NODE;
	round_run(d);
	assert_int_equal(tier_of(d, vm)->kind, CRAM_TIER_NODE);
}

static void assert_refused(struct daemon *d, const char *why)
{
	const struct vm *vm = d->host.vms.v[0];

	pass_time(d);
	round_run(d);
	assert_null(tier_of(d, vm));
	assert_int_equal(vm->action.demote_bytes, 0);
	assert_true(said(d, "vm \"vm0\"", "zswap", why));
}

static void a_host_that_cannot_is_told_what_to_do(void **state)
{
	struct daemon *d = *state;

	make_swap_vm(d, 0);
	put("/sys/module/zswap/parameters/enabled", "N\n");
	assert_refused(d, "zswap is off: write 1");
	put("/sys/module/zswap/parameters/enabled", "Y\n");
	put_swap("0", "0");
	assert_refused(d, "there is no swap");
}

static void a_kernel_without_zswap_is_told_so(void **state)
{
	struct daemon *d = *state;
	char path[160];

	make_swap_vm(d, 0);
	snprintf(path, sizeof(path), "%s/sys/module/zswap/parameters/enabled", dir);
	assert_int_equal(unlink(path), 0);
	assert_refused(d, "has no zswap");
}

static void a_vm_that_cannot_is_told_what_to_do(void **state)
{
	struct daemon *d = *state;
	struct vm *vm = make_swap_vm(d, 0);

	vm->blocks.v[0].memfd = false;
	assert_refused(d, "give it memfd RAM");
	vm->blocks.v[0].memfd = true;
	put_cgroup(0, "memory.zswap.max", "0\n");
	assert_refused(d, "memory.zswap.max is 0");
	put_cgroup(0, "memory.zswap.max", "max\n");
	put_cgroup(0, "memory.swap.max", "0\n");
	assert_refused(d, "memory.swap.max is 0");
	put_cgroup(0, "memory.swap.max", "max\n");
	cgroup_close(&vm->cgroup);
	assert_refused(d, "no cgroup of version 2");
}

static void nothing_is_written_to_disk_unless_told(void **state)
{
	static const struct {
		const char *text;
		bool asks;
	} releases[] = {
		{ "6.8.0-45-generic\n", false },
		{ "6.10.14\n", false },
		{ "5.11.0\n", false },
		{ "linux\n", false },
		{ "7\n", false },
		{ "6.11.0-rc1\n", true },
		{ "7.0.1\n", true },
		{ "6.12.117\n", true },
	};
	struct daemon *d = *state;
	struct vm *vm = make_swap_vm(d, 0);
	char path[160];

	put_cgroup(0, "memory.zswap.writeback", "1\n");
	assert_refused(d, "memory.zswap.writeback");
	/* One above it that forbids it is enough where the kernel asks it. */
	put(CGROUP "memory.zswap.writeback", "0\n");
	for (size_t i = 0; i < ARRAY_SIZE(releases); i++) {
		put("/proc/sys/kernel/osrelease", releases[i].text);
		cgroup_close(&vm->cgroup);
		cgroup_open(&d->host.root, "/machine/vm0", &vm->cgroup);
		if (releases[i].asks) {
			round_run(d);
			assert_non_null(tier_of(d, vm));
		} else {
			assert_refused(d, "memory.zswap.writeback");
		}
	}
	put(CGROUP "memory.zswap.writeback", "1\n");
	assert_refused(d, "memory.zswap.writeback");
	d->conf.host.zswap_writeback = CRAM_YES;
	round_run(d);
	assert_non_null(tier_of(d, vm));
	/* A kernel that cannot be told not to, does. */
	d->conf.host.zswap_writeback = CRAM_NO;
	snprintf(path, sizeof(path), "%s" CGROUP "vm0/memory.zswap.writeback", dir);
	assert_int_equal(unlink(path), 0);
	assert_refused(d, "memory.zswap.writeback");
}

/* 16 of its 64 ranges are there, and its cgroup has a QEMU's own page or two beside them. */
static struct vm *make_out(struct daemon *d)
{
	struct vm *vm = make_swap_vm(d, 0);

	put_out(vm, 16, NODE_SWAP, 0);
	vm->swapped = 33 * MIB;
	atomic_store(&vm->on_swap, true);
	put_cgroup(0, "memory.swap.current", "34603008\n");
	put_cgroup(0, "memory.zswap.current", "8388608\n");
	put_cgroup(0, "memory.stat", "anon 1\nzswap 8388608\nzswapped 34603008\n");
	return vm;
}

static void a_vm_takes_what_the_kernel_counts(void **state)
{
	struct daemon *d = *state;
	struct vm *vm = make_out(d);

	round_run(d);
	assert_int_equal(vm->input.tier_bytes, 32 * MIB);
	assert_int_equal(vm->input.dram, VM_RAM - 32 * MIB);
	/* Its part of what the cgroup has: 32 of 33 MiB. */
	assert_int_equal(vm->input.device_bytes, 8 * MIB / 33 * 32 + 8 * MIB % 33 * 32 / 33 + 1);
	assert_int_equal(vm->input.device_upper, vm->input.device_bytes);
	assert_in_range(vm->input.ratio_q16, 65536 / 33 * 8 - 8, 65536 / 33 * 8 + 8);
	/* What is on its tier is not swapped besides. */
	assert_int_equal(vm->input.swapped, MIB);
	assert_int_equal(d->snapshot.tier_used[0], 32 * MIB);
}

static void the_kernels_limits_on_a_cgroup_hold(void **state)
{
	struct daemon *d = *state;
	struct vm *vm = make_out(d);

	put_cgroup(0, "memory.zswap.max", "9437184\n");
	put_cgroup(0, "memory.swap.max", "36700160\n");
	vm->settings.quota = GIB;
	round_run(d);
	assert_int_equal(vm->input.quota, 9 * MIB);
	assert_int_equal(vm->input.hard_limit, 34 * MIB);
}

static void over_its_quota_a_vm_gives_back(void **state)
{
	struct daemon *d = *state;
	struct vm *vm = make_out(d);

	vm->settings.quota = 4 * MIB;
	let_come_home(d);
	assert_int_equal(vm->action.state, CRAM_VM_OVER_QUOTA);
	assert_int_equal(d->mover.home.n, 1);
	assert_in_range(d->mover.home.jobs[0].bytes, 14 * MIB, 18 * MIB);
	assert_int_equal(d->mover.out.n, 0);
}

static void all_comes_home_when_its_mode_is_off_or_zswap_is(void **state)
{
	struct daemon *d = *state;
	struct vm *vm = make_out(d);

	vm->settings.mode = CRAM_MODE_OFF;
	let_come_home(d);
	assert_int_equal(d->mover.home.n, 1);
	assert_int_equal(d->mover.home.jobs[0].bytes, 32 * MIB);
	vm->settings.mode = CRAM_MODE_AUTO;
	put("/sys/module/zswap/parameters/enabled", "N\n");
	round_run(d);
	assert_true(vm->action.goes_home);
	assert_int_equal(vm->input.tier_bytes, 32 * MIB);
	assert_true(atomic_load(&vm->on_swap));
	/* And when nothing is left there, what the kernel swaps of it is the kernel's affair. */
	vm->node_bytes[NODE_SWAP] = 0;
	vm->busy = 0;
	vm->settled_epoch = atomic_load(&vm->epoch);
	round_run(d);
	assert_false(atomic_load(&vm->on_swap));
}

static void check_says_when_swap_is_too_small(void **state)
{
	struct daemon *d = *state;

	make_swap_vm(d, 0);
	put_swap("65536", "65536");
	round_run(d);
	assert_true(said(d, "host", "zswap-swap", "more swap is needed"));
	put_swap("1048576", "1048576");
	round_run(d);
	assert_false(said(d, "host", "zswap-swap", ""));
}

/* ------------------------------------------------------------------ a kernel that swaps */

static struct {
	int node[PAGES]; /* 0, NODE_SWAP, NODE_CACHE; -ENOENT: never touched */
	bool kept[PAGES];
	unsigned int outs, outs_unmapped, ins;
	bool fails;
} kernel;

static size_t page_at(const void *addr)
{
	return ((uintptr_t)addr - PLAYED_START) / PAGE_BYTES;
}

/* In its page tables it has only what is on a node. */
static long where(int pid, unsigned long n, void **addrs, const int *nodes, int *status, int flags)
{
	(void)pid, (void)flags;
	assert_null(nodes);
	for (unsigned long i = 0; i < n; i++) {
		int node = kernel.node[page_at(addrs[i])];

		status[i] = node == NODE_SWAP || node == NODE_CACHE ? -ENOENT : node;
	}
	return 0;
}

static int file_where(const struct sysroot *root, pid_t pid, const struct ramblock *block,
		      uint64_t addr, size_t n, int *nodes)
{
	(void)root, (void)pid;
	assert_true(block->memfd);
	for (size_t i = 0; i < n; i++)
		if (nodes[i] < 0)
			nodes[i] = kernel.node[page_at((void *)(addr + i * PAGE_BYTES))];
	return 0;
}

static int out(int pidfd, const struct iovec *pages, size_t n)
{
	(void)pidfd;
	kernel.outs++;
	if (kernel.fails)
		return -EINVAL;
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < pages[i].iov_len / PAGE_BYTES; k++) {
			size_t page = page_at(pages[i].iov_base) + k;

			/* What is in no page table it does not find. */
			if (kernel.node[page] == 0 && !kernel.kept[page])
				kernel.node[page] = NODE_SWAP;
		}
	return 0;
}

static int out_unmapped(const struct sysroot *root, pid_t pid, const struct ramblock *block,
			void *const *addrs, size_t n)
{
	(void)root, (void)pid, (void)block;
	kernel.outs_unmapped++;
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(kernel.node[page_at(addrs[i])], NODE_CACHE);
		kernel.node[page_at(addrs[i])] = NODE_SWAP;
	}
	return 0;
}

static int in(const struct sysroot *root, pid_t pid, const struct ramblock *block,
	      void *const *addrs, size_t n, int nid)
{
	(void)root, (void)pid, (void)block;
	kernel.ins++;
	assert_int_equal(nid, 0);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(kernel.node[page_at(addrs[i])], NODE_SWAP);
		kernel.node[page_at(addrs[i])] = NODE_CACHE;
	}
	return 0;
}

static int smaps(const struct sysroot *root, pid_t pid,
		 int (*visit)(const struct proc_swap *swap, void *arg), void *arg)
{
	(void)root, (void)pid;
	return visit(&(struct proc_swap){ PLAYED_START, 3 * RANGE_BYTES }, arg);
}

static int numa_maps(const struct sysroot *root, pid_t pid,
		     int (*visit)(const struct proc_numa *numa, void *arg), void *arg)
{
	struct proc_numa numa = { .start = PLAYED_START, .page_size = PAGE_BYTES };

	(void)root, (void)pid;
	numa.pages[0] = 4UL * PAGES_PER_RANGE;
	return visit(&numa, arg);
}

static int allocated(const struct sysroot *root, pid_t pid, const struct ramblock *block,
		     uint64_t *ret_bytes)
{
	(void)root, (void)pid, (void)block;
	*ret_bytes = 9UL * RANGE_BYTES;
	return 0;
}

static int no_idle(const struct page_idle *idle, const uint64_t *heads, size_t n)
{
	(void)idle, (void)heads, (void)n;
	return 0;
}

static int none_idle(const struct page_idle *idle, const uint64_t *heads, size_t n, bool *ret_idle)
{
	(void)idle, (void)heads;
	memset(ret_idle, 0, n);
	return 0;
}

static int no_heads(const struct page_idle *idle, const uint64_t *entries, size_t n,
		    uint64_t *heads)
{
	(void)idle, (void)entries;
	memset(heads, 0, n * sizeof(*heads));
	return 0;
}

static const struct kernel played = {
	.move_pages = where,
	.swapped_where = file_where,
	.swap_out = out,
	.swap_out_unmapped = out_unmapped,
	.swap_in = in,
	.smaps = smaps,
	.numa_maps = numa_maps,
	.swapped_allocated = allocated,
	.pagemap = played_pagemap,
	.idle_heads = no_heads,
	.idle_check = none_idle,
	.idle_mark = no_idle,
};

static int make_moving(void **state)
{
	struct daemon *d;
	struct vm *vm;

	make_host(state);
	d = *state;
	memset(&kernel, 0, sizeof(kernel));
	d->host.kernel = &played;
	d->host.tier_nodes = SWAP_BIT;
	d->host.settings.batch_ms = 1000;
	d->host.settings.batch_pages = 128;
	vm = make_swap_vm(d, 0);
	atomic_store(&vm->on_swap, true);
	atomic_store(&vm->tier_nid, NODE_SWAP);
	atomic_store(&vm->cold_age_s, 10);
	assert_int_equal(mover_start(&d->mover, &d->host), 0);
	return 0;
}

static void do_job(struct daemon *d, enum vm_job_kind kind, uint64_t bytes, int nid)
{
	struct vm *vm = d->host.vms.v[0];

	assert_int_equal(mover_submit(&d->mover, vm, kind, bytes, 10, nid), 0);
	for (int ms = 0; atomic_load(&vm->busy) & 1U << kind; ms++) {
		assert_true(ms < 20000);
		usleep(1000);
	}
}

static size_t pages_on(int node)
{
	size_t n = 0;

	for (size_t i = 0; i < PAGES; i++)
		n += kernel.node[i] == node;
	return n;
}

static void memory_goes_to_swap_and_comes_home(void **state)
{
	struct daemon *d = *state;
	struct vm *vm = d->host.vms.v[0];

	do_job(d, VM_JOB_DEMOTE, 3 * RANGE_BYTES, NODE_SWAP);
	assert_int_equal(pages_on(NODE_SWAP), 3 * PAGES_PER_RANGE);
	assert_int_equal(vm->counters.demoted, 3 * RANGE_BYTES);
	assert_int_equal(vm->counters.refused, 0);
	/* In calls as large as is set, and without a policy that names a node there is not. */
	assert_int_equal(kernel.outs, 3 * PAGES_PER_RANGE / 128);
	assert_int_equal(vm->bound, 0);
	do_job(d, VM_JOB_PROMOTE, 2 * RANGE_BYTES, 0);
	assert_int_equal(pages_on(NODE_SWAP), PAGES_PER_RANGE);
	assert_int_equal(vm->counters.promoted, 2 * RANGE_BYTES);
	assert_int_equal(vm->moved_since, RANGE_BYTES);
}

/* The kernel returns as if it had done all it was asked for. */
static void what_the_kernel_left_where_it_was_counts_as_refused(void **state)
{
	struct daemon *d = *state;
	struct vm *vm = d->host.vms.v[0];

	for (size_t i = 0; i < 100; i++)
		kernel.kept[i] = true;
	do_job(d, VM_JOB_DEMOTE, RANGE_BYTES, NODE_SWAP);
	assert_int_equal(vm->counters.demoted, RANGE_BYTES);
	assert_int_equal(vm->counters.refused, 100 * PAGE_BYTES);
	assert_int_equal(vm->ranges.v[0].dram_pages, 100);
	assert_int_equal(vm->ranges.v[0].tier_pages, PAGES_PER_RANGE - 100);
}

static void a_call_that_fails_is_not_made_again(void **state)
{
	struct daemon *d = *state;
	struct vm *vm = d->host.vms.v[0];

	kernel.fails = true;
	do_job(d, VM_JOB_DEMOTE, RANGE_BYTES, NODE_SWAP);
	assert_int_equal(kernel.outs, 1);
	assert_int_equal(vm->counters.demoted, 0);
	assert_int_equal(vm->counters.last_error, -EINVAL);
}

/* Nobody has touched it since: it is not in the page tables that process_madvise() walks. */
static void what_has_come_home_can_go_again(void **state)
{
	struct daemon *d = *state;
	struct vm *vm = d->host.vms.v[0];

	do_job(d, VM_JOB_DEMOTE, RANGE_BYTES, NODE_SWAP);
	do_job(d, VM_JOB_PROMOTE, RANGE_BYTES, 0);
	assert_int_equal(pages_on(NODE_CACHE), PAGES_PER_RANGE);
	assert_int_equal(vm->ranges.v[0].dram_pages, PAGES_PER_RANGE);
	vm->ranges.v[0].flags |= RANGE_ARMED;
	for (size_t i = 1; i < RANGES; i++)
		vm->ranges.v[i].flags &= (uint8_t)~RANGE_ARMED;
	do_job(d, VM_JOB_DEMOTE, RANGE_BYTES, NODE_SWAP);
	assert_int_equal(pages_on(NODE_SWAP), PAGES_PER_RANGE);
	assert_true(kernel.outs_unmapped > 0);
}

static void look(struct daemon *d)
{
	struct page_idle idle = { .bitmap = -1, .flags = -1 };
	struct looker looker = { .host = &d->host };
	struct look_buffers buffers;

	assert_int_equal(look_at_range(&looker, d->host.vms.v[0], 0, &idle, -1, &buffers), 0);
}

static void pages_that_were_faulted_home_are_returns(void **state)
{
	struct daemon *d = *state;
	struct vm *vm = d->host.vms.v[0];

	do_job(d, VM_JOB_DEMOTE, RANGE_BYTES, NODE_SWAP);
	look(d);
	assert_int_equal(vm->counters.returned, 0);
	for (size_t i = 0; i < 7; i++)
		kernel.node[i] = 0;
	look(d);
	assert_int_equal(vm->counters.returned, 7 * PAGE_BYTES);
	assert_int_equal(vm->ranges.v[0].tier_pages, PAGES_PER_RANGE - 7);
	/* It went too early. */
	assert_int_equal(vm->ranges.v[0].backoff, 1);
	look(d);
	assert_int_equal(vm->counters.returned, 7 * PAGE_BYTES);
	assert_int_equal(vm->ranges.v[0].backoff, 1);
	/* And we are not asked to bring home what would come by itself. */
	assert_false(vm->ranges.v[0].flags & RANGE_HOT);
}

static void placement_counts_swap_and_what_is_home_but_unmapped(void **state)
{
	static const struct proc_status status = { .state = 'S', .mems_allowed = 1 };
	struct daemon *d = *state;
	struct vm *vm = d->host.vms.v[0];
	struct examination e = {
		.kernel = &played,
		.root = &d->host.root,
		.tier_nodes = SWAP_BIT | 2,
		.now_ms = 1000,
		.placement = true,
	};

	put("/proc/1000/fd/", NULL);
	vm_examine(vm, &e, &status);
	assert_int_equal(vm_tier_bytes(vm, SWAP_BIT), 3 * RANGE_BYTES);
	assert_int_equal(vm_dram_bytes(vm, SWAP_BIT), 6 * RANGE_BYTES);
	/* No cpuset keeps it from a tier that is no node. */
	assert_int_equal(vm->reason, VM_ELIGIBLE);
	atomic_store(&vm->on_swap, false);
	vm_examine(vm, &e, &status);
	assert_int_equal(vm_tier_bytes(vm, SWAP_BIT), 0);
	assert_int_equal(vm->reason, VM_CPUSET);
}

/* ------------------------------------------------------------------ the kernel itself */

/* Four pages: touched through another mapping, hole, touched, mapped here. */
static void a_memfd_tells_what_page_tables_do_not(void **state)
{
	int nodes[4] = { -ENOENT, -ENOENT, -ENOENT, 5 };
	struct ramblock block = { .memfd = true };
	struct sysroot root;
	struct stat st;
	uint64_t bytes;
	char *ram, *other;
	int fd;
	(void)state;

	assert_int_equal(sysroot_open("/", &root), 0);
	fd = memfd_create("ram", MFD_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, 4 * PAGE_BYTES), 0);
	assert_int_equal(fstat(fd, &st), 0);
	ram = mmap(NULL, 4 * PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_true(ram != MAP_FAILED);
	other = mmap(NULL, 4 * PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_true(other != MAP_FAILED);
	other[0] = other[2 * PAGE_BYTES] = ram[3 * PAGE_BYTES] = 1;
	munmap(other, 4 * PAGE_BYTES);
	block.start = (uintptr_t)ram;
	block.end = block.start + 4UL * PAGE_BYTES;
	block.dev_major = major(st.st_dev);
	block.dev_minor = minor(st.st_dev);
	block.inode = st.st_ino;
	assert_int_equal(swapped_where(&root, getpid(), &block, block.start, 4, nodes), 0);
	assert_int_equal(nodes[0], NODE_CACHE);
	assert_int_equal(nodes[1], -ENOENT);
	assert_int_equal(nodes[2], NODE_CACHE);
	assert_int_equal(nodes[3], 5);
	assert_int_equal(swapped_allocated(&root, getpid(), &block, &bytes), 0);
	assert_int_equal(bytes, 3 * PAGE_BYTES);
	block.inode++;
	assert_int_equal(swapped_where(&root, getpid(), &block, block.start, 4, nodes), -ESTALE);
	munmap(ram, 4 * PAGE_BYTES);
	close(fd);
	sysroot_close(&root);
}

static int add_up(const struct proc_swap *swap, void *arg)
{
	uint64_t *sums = arg;

	sums[0] += swap->start == 0x7f0000000000;
	sums[1] += swap->bytes;
	return 0;
}

static void swap_is_read_mapping_by_mapping(void **state)
{
	struct daemon *d = *state;
	uint64_t sums[2] = {};

	put("/proc/7/smaps",
	    "55d0c0000000-55d0c0001000 r--p 00000000 fe:01 42 /usr/bin/qemu\n"
	    "Rss:                   4 kB\nSwap:                  8 kB\n"
	    "SwapPss:               8 kB\nVmFlags: rd mr mw me\n"
	    "7f0000000000-7f0004000000 rw-s 00000000 00:01 9 /memfd:ram (deleted)\n"
	    "Swap:               1024 kB\nSwapPss:            1024 kB\n");
	assert_int_equal(proc_for_each_swap(&d->host.root, 7, add_up, sums), 0);
	assert_int_equal(sums[0], 1);
	assert_int_equal(sums[1], 1032 << 10);
}

int main(void)
{
#define TEST(f)	  cmocka_unit_test_setup_teardown(f, make_host, drop)
#define MOVING(f) cmocka_unit_test_setup_teardown(f, make_moving, drop_moving)
	const struct CMUnitTest tests[] = {
		TEST(a_vm_set_to_zswap_has_it_as_its_tier),
		TEST(nothing_is_swapped_of_who_is_not_set_to_it),
		TEST(zswap_is_sold_by_what_it_is_expected_to_save),
		TEST(a_node_is_preferred),
		TEST(a_host_that_cannot_is_told_what_to_do),
		TEST(a_kernel_without_zswap_is_told_so),
		TEST(a_vm_that_cannot_is_told_what_to_do),
		TEST(nothing_is_written_to_disk_unless_told),
		TEST(a_vm_takes_what_the_kernel_counts),
		TEST(the_kernels_limits_on_a_cgroup_hold),
		TEST(over_its_quota_a_vm_gives_back),
		TEST(all_comes_home_when_its_mode_is_off_or_zswap_is),
		TEST(check_says_when_swap_is_too_small),
		MOVING(memory_goes_to_swap_and_comes_home),
		MOVING(what_the_kernel_left_where_it_was_counts_as_refused),
		MOVING(a_call_that_fails_is_not_made_again),
		MOVING(what_has_come_home_can_go_again),
		MOVING(pages_that_were_faulted_home_are_returns),
		MOVING(placement_counts_swap_and_what_is_home_but_unmapped),
		cmocka_unit_test(a_memfd_tells_what_page_tables_do_not),
		TEST(swap_is_read_mapping_by_mapping),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
