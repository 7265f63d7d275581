// SPDX-License-Identifier: GPL-2.0-or-later
/* What a mover does with its job, on a kernel that is played here: one call after the other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <numaif.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cramd/act/mover.h"
#include "cramd/moves.h"
#include "cramd/sense/swapped.h"
#include "played.h"
#include "recorded.h"
#include "util/cleanup.h"

#define BLOCKS	2
#define RANGES	4 /* of each block */
#define PAGES	((size_t)BLOCKS * RANGES * PAGES_PER_RANGE)
#define START	PLAYED_START
#define TIER	2
#define BATCH	64
#define PAGE(r) ((size_t)(r)*PAGES_PER_RANGE)

/* The played kernel: process 42, whose pages lie one after the other. */
static struct kernel_played {
	int node[PAGES];
	bool pinned[PAGES], touched[PAGES];
	size_t calls, moved_to[8], longest;
	int full; /* this node has no room */
	struct proc_policy policy[BLOCKS];
	unsigned int policies; /* times one was set */
	unsigned int halting;  /* so many of the first of them wait */
	enum proc_mpol next;   /* the first that did not */
	void (*before_move)(void);
	int refused;   /* what was submitted then */
	bool in_cache; /* what is swapped out is in no page table, and in its frame all the same */
	uint64_t on_cards;
	uint64_t shed_before; /* what comes home instead */
} kernel;

/* The process whose memory map is locked: calls on it wait for the test. */
#define STUCK_PID 43

/* Whose job is being done: some of what is played happens to it. */
static struct fixture {
	char dir[64];
	struct host host;
	struct mover mover;
	struct vm *vm, *other;
	sem_t going_on, halted;
} * it;

static long move(int pid, unsigned long n, void **addrs, const int *nodes, int *status, int flags)
{
	long left = 0;

	(void)flags;
	if (pid == STUCK_PID) {
		sem_post(&it->halted);
		sem_wait(&it->going_on);
	} else {
		assert_int_equal(pid, 42);
	}
	if (nodes && kernel.before_move)
		kernel.before_move();
	kernel.calls += nodes != NULL;
	if (nodes && n > kernel.longest)
		kernel.longest = n;
	if (nodes && nodes[0] == kernel.full) {
		errno = ENOMEM;
		return -1;
	}
	for (unsigned long i = 0; i < n; i++) {
		size_t page = ((uintptr_t)addrs[i] - START) / PAGE_BYTES;

		assert_true(page < PAGES);
		/* What comes after a page that cannot be moved is not tried. */
		left += nodes && (left || kernel.pinned[page]);
		if (nodes && !left) {
			kernel.node[page] = nodes[i];
			kernel.moved_to[nodes[i]]++;
		}
		if (!nodes)
			status[i] = kernel.node[page];
	}
	return left;
}

static int set_policy(const struct sysroot *root, pid_t pid, const struct ramblock *block,
		      const struct proc_policy *policy)
{
	(void)root;
	assert_int_equal(pid, 42);
	if (kernel.policies++ < kernel.halting) {
		sem_post(&it->halted);
		sem_wait(&it->going_on);
	} else if (kernel.policies == kernel.halting + 1) {
		kernel.next = policy->mode;
	}
	kernel.policy[(block->start - START) / (RANGES * RANGE_BYTES)] = *policy;
	return 0;
}

static int check(const struct page_idle *idle, const uint64_t *frames, size_t n, bool *ret_idle)
{
	(void)idle;
	for (size_t i = 0; i < n; i++)
		ret_idle[i] = !kernel.touched[frames[i] - 1];
	return 0;
}

static void put_on_cards(uint64_t bytes)
{
	char text[32];

	kernel.on_cards = bytes;
	snprintf(text, sizeof(text), "%llu\n", (unsigned long long)bytes);
	recorded_put(it->dir, "/cgroup/memory.cram.current", text);
}

/* What swap holds is on no node. */
static int swap_out(int pidfd, const struct iovec *pages, size_t n)
{
	uint64_t bytes = 0;
	(void)pidfd;

	if (kernel.before_move)
		kernel.before_move();
	for (size_t i = 0; i < n; i++) {
		size_t page = ((uintptr_t)pages[i].iov_base - START) / PAGE_BYTES;

		for (size_t k = 0; k < pages[i].iov_len / PAGE_BYTES; k++)
			if (!kernel.pinned[page + k]) {
				kernel.node[page + k] = -ENOENT;
				bytes += PAGE_BYTES;
			}
	}
	if (!kernel.in_cache)
		put_on_cards(kernel.on_cards - bytes);
	return 0;
}

static const struct kernel played = {
	.move_pages = move,
	.swap_out = swap_out,
	.mapping_set = set_policy,
	.pagemap = played_pagemap,
	.idle_heads = played_heads,
	.idle_check = check,
};

static const struct proc_policy old[BLOCKS] = {
	{ .mode = PROC_MPOL_PREFERRED, .nodes = 1 },
	{ .mode = PROC_MPOL_INTERLEAVE, .nodes = 3, .flags = 1 << 15 },
};

static struct vm *make_vm(void)
{
	struct vm *vm = calloc(1, sizeof(*vm));

	assert_non_null(vm);
	vm_init(vm);
	vm->pid = 42;
	vm->tier_nid = TIER;
	vm->cold_age_s = 10;
	vm->blocks.n = BLOCKS;
	for (size_t i = 0; i < BLOCKS; i++) {
		uint64_t start = START + i * RANGES * RANGE_BYTES;

		vm->blocks.v[i] = (struct ramblock){ .start = start,
						     .end = start + RANGES * RANGE_BYTES,
						     .memfd = true };
		vm->first[i] = i * RANGES;
		vm->block_homes[i] = vm->block_reach[i] = UINT64_C(1) << i;
		/* If it is bound, then to what it would be bound to. */
		vm->bound_to[i] = vm->block_reach[i] | UINT64_C(1) << TIER;
		vm->block_returns[i] = 3;
		vm->old_policy[i] = old[i];
	}
	vm->old_known = 3;
	assert_int_equal(ranges_init(&vm->ranges, (size_t)BLOCKS * RANGES), 0);
	vm->ranges.idle_flags = true;
	for (size_t i = 0; i < vm->ranges.n; i++) {
		vm->ranges.v[i].dram_pages = PAGES_PER_RANGE;
		vm->ranges.v[i].armed_s = 1;
		vm->ranges.v[i].checked_s = 100000;
		vm->ranges.v[i].flags = RANGE_ARMED;
	}
	return vm;
}

static int make(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	memset(&kernel, 0, sizeof(kernel));
	kernel.full = -1;
	recorded_make(f->dir, sizeof(f->dir));
	recorded_put(f->dir, "/sys/kernel/mm/page_idle/bitmap", "");
	recorded_put(f->dir, "/proc/kpageflags", "");
	recorded_put(f->dir, "/proc/42/pagemap", "");
	assert_int_equal(host_init(&f->host, f->dir, "/run/cramd"), 0);
	f->host.kernel = &played;
	f->host.log.level = LOG_EMERG;
	f->host.tier_nodes = UINT64_C(1) << TIER;
	f->host.idle_active = true;
	f->host.settings.batch_ms = 1000;
	f->host.settings.batch_pages = BATCH;
	f->vm = make_vm();
	assert_int_equal(mover_start(&f->mover, &f->host), 0);
	/* Where nothing is said of it, whoever halts is waited for. */
	f->mover.patience_ms = 60000;
	sem_init(&f->going_on, 0, 0);
	sem_init(&f->halted, 0, 0);
	it = f;
	*state = f;
	return 0;
}

static int drop(void **state)
{
	struct fixture *f = *state;
	int r;

	/* Whoever still waits for the test goes on without it. */
	for (size_t i = 0; i < 100; i++)
		sem_post(&f->going_on);
	assert_true(mover_stop(&f->mover));
	vm_unref(f->vm);
	host_fini(&f->host);
	r = recorded_drop(f->dir);
	free(f);
	return r;
}

static void wait_for(struct fixture *f, enum vm_job_kind kind)
{
	for (int ms = 0; atomic_load(&f->vm->busy) & 1U << kind; ms++) {
		assert_true(ms < 20000);
		usleep(1000);
	}
}

static void submit(struct fixture *f, enum vm_job_kind kind, uint64_t bytes, int nid)
{
	assert_int_equal(mover_submit(&f->mover, f->vm, kind, bytes, 10, nid), 0);
}

static void do_job(struct fixture *f, enum vm_job_kind kind, uint64_t bytes, int nid)
{
	submit(f, kind, bytes, nid);
	wait_for(f, kind);
}

static size_t pages_on(int nid)
{
	size_t n = 0;

	for (size_t i = 0; i < PAGES; i++)
		n += kernel.node[i] == nid;
	return n;
}

/* ------------------------------------------------------------------ how much, and where to */

static void a_job_moves_what_it_was_given_and_no_more(void **state)
{
	struct fixture *f = *state;

	do_job(f, VM_JOB_DEMOTE, 3 * RANGE_BYTES / 2, TIER);
	assert_int_equal(pages_on(TIER), PAGES_PER_RANGE * 3 / 2);
	assert_int_equal(f->vm->counters.demoted, 3 * RANGE_BYTES / 2);
	assert_int_equal(f->vm->moved_since, 3 * RANGE_BYTES / 2);
	assert_int_equal(f->vm->counters.refused, 0);
	assert_int_equal(f->vm->under_way, 0);
	assert_int_equal(f->vm->jobs_ended, 1);
	/* In calls as large as is set. */
	assert_int_equal(kernel.longest, BATCH);
}

static void memory_goes_to_the_node_it_was_sent_to(void **state)
{
	struct fixture *f = *state;

	do_job(f, VM_JOB_DEMOTE, 2 * RANGE_BYTES, TIER);
	do_job(f, VM_JOB_PROMOTE, RANGE_BYTES, 1);
	assert_int_equal(pages_on(1), PAGES_PER_RANGE);
	assert_int_equal(pages_on(TIER), PAGES_PER_RANGE);
	assert_int_equal(f->vm->counters.promoted, RANGE_BYTES);
	assert_int_equal(f->vm->moved_since, RANGE_BYTES);
}

/* Whatever was accessed first: a block that is not at home there waits for another job. */
static void a_block_comes_home_to_its_own_homes_alone(void **state)
{
	struct fixture *f = *state;

	do_job(f, VM_JOB_DEMOTE, BLOCKS * RANGES * RANGE_BYTES, TIER);
	assert_int_equal(pages_on(TIER), PAGES);
	f->vm->block_returns[0] = 1;
	f->vm->block_returns[1] = 2;
	f->vm->ranges.v[0].flags |= RANGE_HOT;
	do_job(f, VM_JOB_PROMOTE, BLOCKS * RANGES * RANGE_BYTES, 1);
	assert_int_equal(pages_on(TIER), PAGES / 2);
	assert_int_equal(kernel.node[0], TIER);
	assert_int_equal(kernel.node[PAGE(RANGES)], 1);
	do_job(f, VM_JOB_PROMOTE_HOT, BLOCKS * RANGES * RANGE_BYTES, 0);
	assert_int_equal(kernel.node[0], 0);
}

/* Where the agent has put none of it: see vm_tiers_of(). */
static void what_is_on_a_node_that_is_no_tier_to_the_vm_stays_there(void **state)
{
	struct fixture *f = *state;

	f->host.tier_nodes |= 1 << 3;
	atomic_store(&f->vm->no_tiers, 1 << 3);
	for (size_t i = 0; i < BATCH; i++)
		kernel.node[i] = 3;
	do_job(f, VM_JOB_DEMOTE, RANGE_BYTES / 2, TIER);
	do_job(f, VM_JOB_PROMOTE, RANGE_BYTES, 1);
	assert_int_equal(kernel.moved_to[1], PAGES_PER_RANGE / 2);
	assert_int_equal(f->vm->used_tiers, 1 << TIER);
	/* As DRAM they went out and came home; as what is out one does not. */
	for (size_t i = 0; i < BATCH; i++)
		assert_int_equal(kernel.node[i], 1);
	kernel.node[BATCH] = 3;
	f->vm->ranges.v[0].tier_pages = 1;
	do_job(f, VM_JOB_PROMOTE, RANGE_BYTES, 1);
	assert_int_equal(kernel.node[BATCH], 3);
}

/* What is refused is counted, and what else was to go goes. */
static void one_page_that_cannot_be_moved_stops_its_call_alone(void **state)
{
	struct fixture *f = *state;

	kernel.pinned[PAGE(0) + BATCH + 10] = true;
	kernel.pinned[PAGE(1)] = true;
	do_job(f, VM_JOB_DEMOTE, 2 * RANGE_BYTES, TIER);
	for (size_t i = 0; i < PAGES_PER_RANGE; i++) {
		bool untried = i >= BATCH + 10 && i < 2 * BATCH;

		assert_int_equal(kernel.node[i], untried ? 0 : TIER);
		assert_int_equal(kernel.node[PAGE(1) + i], i < BATCH ? 0 : TIER);
	}
	assert_int_equal(f->vm->counters.refused, (BATCH - 10 + BATCH) * PAGE_BYTES);
	assert_int_equal(f->vm->counters.last_error, -EBUSY);
}

static void pin(size_t range, bool pinned)
{
	for (size_t i = 0; i < PAGES_PER_RANGE; i++)
		kernel.pinned[PAGE(range) + i] = pinned;
}

/* Shared by KSM, say, or pinned since it went out. */
static void what_cannot_come_home_is_in_nobodys_way(void **state)
{
	struct fixture *f = *state;

	do_job(f, VM_JOB_DEMOTE, 4 * RANGE_BYTES, TIER);
	pin(0, true);
	pin(1, true);
	do_job(f, VM_JOB_RELIEVE, RANGE_BYTES, 0);
	assert_int_equal(pages_on(TIER), 3 * PAGES_PER_RANGE);
	do_job(f, VM_JOB_PROMOTE, 2 * RANGE_BYTES, 0);
	assert_int_equal(pages_on(TIER), 2 * PAGES_PER_RANGE);
	/* And it is tried again. */
	pin(0, false);
	pin(1, false);
	do_job(f, VM_JOB_PROMOTE, 2 * RANGE_BYTES, 0);
	do_job(f, VM_JOB_PROMOTE, 2 * RANGE_BYTES, 0);
	assert_int_equal(pages_on(TIER), 0);
}

static void a_tier_that_is_full_is_asked_once(void **state)
{
	struct fixture *f = *state;

	kernel.full = TIER;
	do_job(f, VM_JOB_DEMOTE, RANGE_BYTES, TIER);
	assert_int_equal(kernel.calls, 1);
	assert_int_equal(pages_on(TIER), 0);
	assert_int_equal(f->vm->counters.refused, BATCH * PAGE_BYTES);
	assert_int_equal(f->vm->counters.last_error, -ENOMEM);
}

/* ------------------------------------------------------------------ what stops it */

static void what_was_touched_since_the_last_look_stays(void **state)
{
	struct fixture *f = *state;

	kernel.touched[PAGE(1) + 7] = true;
	do_job(f, VM_JOB_DEMOTE, 2 * RANGE_BYTES, TIER);
	assert_int_equal(kernel.node[PAGE(0)], TIER);
	assert_int_equal(kernel.node[PAGE(1)], 0);
	assert_int_equal(kernel.node[PAGE(1) + 7], 0);
	/* It is not cold any more, so another one went in its place. */
	assert_false(f->vm->ranges.v[1].flags & RANGE_ARMED);
	assert_int_equal(pages_on(TIER), 2 * PAGES_PER_RANGE);
}

static void change_settings(void)
{
	atomic_fetch_add(&it->vm->epoch, 1);
}

static void pause_host(void)
{
	atomic_store(&it->host.paused, true);
}

static void close_tier(void)
{
	atomic_store(&it->host.closed_nodes, UINT64_C(1) << TIER);
}

static void end_process(void)
{
	atomic_store(&it->vm->dead, true);
}

static void fill_up_home(void)
{
	atomic_store(&it->host.short_nodes, 1);
}

/* While its first range is being moved; nothing of the second is. */
static void assert_stopped_by(struct fixture *f, void (*event)(void))
{
	kernel.before_move = event;
	do_job(f, VM_JOB_DEMOTE, 4 * RANGE_BYTES, TIER);
	assert_int_equal(pages_on(TIER), PAGES_PER_RANGE);
}

static void new_settings_stop_a_demotion_under_way(void **state)
{
	assert_stopped_by(*state, change_settings);
}

static void a_pause_of_the_host_stops_a_demotion_under_way(void **state)
{
	assert_stopped_by(*state, pause_host);
}

static void a_tier_that_takes_nothing_stops_a_demotion_under_way(void **state)
{
	assert_stopped_by(*state, close_tier);
}

static void nothing_is_done_to_a_process_that_has_ended(void **state)
{
	struct fixture *f = *state;
	unsigned int policies;

	assert_stopped_by(f, end_process);
	/* Nor is its policy put back. */
	policies = kernel.policies;
	do_job(f, VM_JOB_UNBIND, 0, -1);
	assert_int_equal(kernel.policies, policies);
}

/* Neither stops what comes home; only a node that has run short does. */
static void memory_comes_home_all_the_same(void **state)
{
	struct fixture *f = *state;

	do_job(f, VM_JOB_DEMOTE, 4 * RANGE_BYTES, TIER);
	pause_host();
	kernel.before_move = change_settings;
	do_job(f, VM_JOB_PROMOTE, 2 * RANGE_BYTES, 0);
	assert_int_equal(pages_on(TIER), 2 * PAGES_PER_RANGE);
	kernel.before_move = fill_up_home;
	do_job(f, VM_JOB_PROMOTE, 2 * RANGE_BYTES, 0);
	assert_int_equal(pages_on(TIER), PAGES_PER_RANGE);
}

/* ------------------------------------------------------------------ policies */

static void a_demotion_binds_each_block_to_its_homes_and_the_tier(void **state)
{
	struct fixture *f = *state;

	do_job(f, VM_JOB_DEMOTE, RANGE_BYTES, TIER);
	for (size_t i = 0; i < BLOCKS; i++) {
		assert_int_equal(kernel.policy[i].mode, PROC_MPOL_BIND);
		assert_int_equal(kernel.policy[i].nodes, UINT64_C(1) << i | UINT64_C(1) << TIER);
	}
	assert_int_equal(f->vm->bound, 3);
	/* Once. */
	do_job(f, VM_JOB_DEMOTE, RANGE_BYTES, TIER);
	assert_int_equal(kernel.policies, BLOCKS);
}

/* Block 0 was told to prefer a node, block 1 to interleave: either had the others as well. */
static void a_policy_that_only_prefers_nodes_is_not_made_a_hard_one(void **state)
{
	struct fixture *f = *state;

	f->vm->block_reach[0] = f->vm->block_reach[1] = f->vm->block_homes[1] = 3;
	do_job(f, VM_JOB_DEMOTE, RANGE_BYTES, TIER);
	for (size_t i = 0; i < BLOCKS; i++) {
		assert_int_equal(kernel.policy[i].mode, PROC_MPOL_BIND);
		assert_int_equal(kernel.policy[i].nodes, 3 | UINT64_C(1) << TIER);
	}
	assert_int_equal(kernel.policy[0].first, 1);
	assert_int_equal(kernel.policy[1].first, 0);
}

static void dram_that_has_come_is_let_in(void **state)
{
	struct fixture *f = *state;

	do_job(f, VM_JOB_DEMOTE, RANGE_BYTES, TIER);
	assert_int_equal(kernel.policies, BLOCKS);
	f->vm->block_reach[1] |= 1 << 3;
	do_job(f, VM_JOB_DEMOTE, RANGE_BYTES, TIER);
	assert_int_equal(kernel.policies, BLOCKS + 1);
	assert_int_equal(kernel.policy[1].nodes, 1 << 1 | 1 << 3 | 1 << TIER);
	/* What it goes back to is what it was before either. */
	do_job(f, VM_JOB_UNBIND, 0, -1);
	assert_memory_equal(&kernel.policy[1], &old[1], sizeof(old[1]));
}

static void each_block_gets_its_own_policy_back(void **state)
{
	struct fixture *f = *state;

	do_job(f, VM_JOB_DEMOTE, RANGE_BYTES, TIER);
	do_job(f, VM_JOB_UNBIND, 0, -1);
	for (size_t i = 0; i < BLOCKS; i++)
		assert_memory_equal(&kernel.policy[i], &old[i], sizeof(old[i]));
	assert_int_equal(f->vm->bound, 0);
}

static void without_the_policy_to_go_back_to_none_is_replaced(void **state)
{
	struct fixture *f = *state;

	f->vm->old_known = 1;
	do_job(f, VM_JOB_DEMOTE, RANGE_BYTES, TIER);
	assert_int_equal(kernel.policy[1].nodes, 0);
	assert_int_equal(pages_on(TIER), 0);
	assert_int_equal(f->vm->counters.last_error, -EAGAIN);
	/* All of it was refused, and nothing goes. */
	assert_int_equal(f->vm->counters.refused, RANGE_BYTES);
	assert_int_equal(f->vm->counters.move_error, -EAGAIN);
	/* It is found in time for the next job. */
	f->vm->old_known = 3;
	do_job(f, VM_JOB_DEMOTE, RANGE_BYTES, TIER);
	assert_int_equal(f->vm->counters.move_error, 0);
	assert_int_equal(f->vm->bound, 3);
	assert_int_equal(pages_on(TIER), PAGES_PER_RANGE);
}

static void what_was_unplugged_is_left_alone(void **state)
{
	struct fixture *f = *state;

	do_job(f, VM_JOB_DEMOTE, RANGE_BYTES, TIER);
	atomic_store(&f->vm->gone, 2);
	do_job(f, VM_JOB_UNBIND, 0, -1);
	assert_memory_equal(&kernel.policy[0], &old[0], sizeof(old[0]));
	assert_int_equal(kernel.policy[1].mode, PROC_MPOL_BIND);
	assert_int_equal(f->vm->bound, 0);
}

/* Whatever is mapped there by now. */
static void nothing_of_what_was_unplugged_is_moved(void **state)
{
	struct fixture *f = *state;

	atomic_store(&f->vm->gone, 2);
	do_job(f, VM_JOB_DEMOTE, BLOCKS * RANGES * RANGE_BYTES, TIER);
	assert_int_equal(pages_on(TIER), PAGES / 2);
	assert_int_equal(kernel.node[PAGE(RANGES)], 0);
	atomic_store(&f->vm->gone, 1);
	do_job(f, VM_JOB_PROMOTE, BLOCKS * RANGES * RANGE_BYTES, 1);
	assert_int_equal(pages_on(TIER), PAGES / 2);
}

/* ------------------------------------------------------------------ whose turn it is */

static void wait_until_done(const struct vm *vm)
{
	for (int ms = 0; atomic_load(&vm->busy); ms++) {
		assert_true(ms < 20000);
		usleep(1000);
	}
}

/* All movers are at a VM each, and go on when told; the last of @vms is for the test. */
static void occupy(struct fixture *f, struct vm *vms[MOVER_THREADS + 1])
{
	for (size_t i = 0; i < MOVER_THREADS + 1; i++) {
		vms[i] = make_vm();
		vms[i]->bound = 1;
	}
	for (size_t i = 0; i < MOVER_THREADS; i++) {
		assert_int_equal(mover_submit(&f->mover, vms[i], VM_JOB_UNBIND, 0, 0, -1), 0);
		sem_wait(&f->halted);
	}
}

static void drop_when_done(struct vm *const *vms, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		wait_until_done(vms[i]);
		vm_unref(vms[i]);
	}
}

/* With every mover at work, a demotion is queued first and what brings home second: that is first.
 */
static void what_comes_home_does_not_wait_behind_what_goes_out(void **state)
{
	struct fixture *f = *state;
	struct vm *vms[MOVER_THREADS + 1];

	kernel.halting = MOVER_THREADS;
	occupy(f, vms);
	submit(f, VM_JOB_DEMOTE, RANGE_BYTES, TIER);
	assert_int_equal(mover_submit(&f->mover, vms[MOVER_THREADS], VM_JOB_UNBIND, 0, 0, -1), 0);
	sem_post(&f->going_on);
	wait_for(f, VM_JOB_DEMOTE);
	/* The next that was done after those that had begun. */
	assert_int_equal(kernel.next, old[0].mode);
	for (size_t i = 1; i < MOVER_THREADS; i++)
		sem_post(&f->going_on);
	drop_when_done(vms, ARRAY_SIZE(vms));
}

/* All movers are at work; of what waits for them the demotion came last. */
static void where_dram_is_short_what_makes_room_goes_first(void **state)
{
	struct fixture *f = *state;
	struct vm *vms[MOVER_THREADS + 1];

	kernel.halting = MOVER_THREADS + 1;
	occupy(f, vms);
	assert_int_equal(mover_submit(&f->mover, vms[MOVER_THREADS], VM_JOB_UNBIND, 0, 0, -1), 0);
	f->vm->bound = 3;
	submit(f, VM_JOB_DEMOTE, RANGE_BYTES, TIER);
	atomic_store(&f->host.short_nodes, 2);
	sem_post(&f->going_on);
	wait_for(f, VM_JOB_DEMOTE);
	assert_int_equal(pages_on(TIER), PAGES_PER_RANGE);
	sem_wait(&f->halted);
	for (size_t i = 0; i < MOVER_THREADS; i++)
		sem_post(&f->going_on);
	drop_when_done(vms, ARRAY_SIZE(vms));
}

/* All movers are at work, and something of the same VM waits for them to bring it home. */
static void what_is_urgent_waits_for_no_mover(void **state)
{
	struct fixture *f = *state;
	struct vm *vms[MOVER_THREADS + 1];

	do_job(f, VM_JOB_DEMOTE, 4 * RANGE_BYTES, TIER);
	kernel.policies = 0;
	kernel.halting = MOVER_THREADS;
	occupy(f, vms);
	submit(f, VM_JOB_PROMOTE, 4 * RANGE_BYTES, 0);
	atomic_store(&f->host.pressed_us, monotonic_us());
	do_job(f, VM_JOB_RELIEVE, 2 * RANGE_BYTES, 0);
	assert_int_equal(pages_on(TIER), 2 * PAGES_PER_RANGE);
	assert_int_equal(atomic_load(&f->host.relieved), 2 * RANGE_BYTES);
	assert_int_equal(atomic_load(&f->host.reliefs), 1);
	assert_int_equal(atomic_load(&f->host.pressed_us), 0);
	assert_true(atomic_load(&f->host.relief_us) > 0);
	/* It took the place of what was less urgent. */
	assert_int_equal(f->mover.home.n, 0);
	assert_int_equal(atomic_load(&f->vm->busy), 0);
	for (size_t i = 0; i < MOVER_THREADS; i++)
		sem_post(&f->going_on);
	drop_when_done(vms, ARRAY_SIZE(vms));
}

/* All movers are at work, and what waits for them is all that will bring it home. */
static void relief_that_is_refused_pushes_nothing_aside(void **state)
{
	struct fixture *f = *state;
	struct vm *vms[MOVER_THREADS + 1];

	do_job(f, VM_JOB_DEMOTE, 4 * RANGE_BYTES, TIER);
	kernel.policies = 0;
	kernel.halting = MOVER_THREADS;
	occupy(f, vms);
	submit(f, VM_JOB_PROMOTE, 4 * RANGE_BYTES, 0);
	atomic_store(&f->vm->unmoved_until_ms, UINT64_MAX);
	assert_int_equal(mover_submit(&f->mover, f->vm, VM_JOB_RELIEVE, RANGE_BYTES, 0, 0), -EBUSY);
	atomic_store(&f->vm->unmoved_until_ms, 0);
	assert_int_equal(f->mover.home.n, 1);
	assert_int_equal(atomic_load(&f->vm->busy), 1U << VM_JOB_PROMOTE);
	assert_int_equal(atomic_load(&f->vm->reliefs), 0);
	for (size_t i = 0; i < MOVER_THREADS; i++)
		sem_post(&f->going_on);
	drop_when_done(vms, ARRAY_SIZE(vms));
	wait_for(f, VM_JOB_PROMOTE);
	assert_int_equal(pages_on(TIER), 0);
}

/* Where nothing could be moved, nothing has been done about it. */
static void the_time_to_relief_ends_with_the_first_move(void **state)
{
	struct fixture *f = *state;
	uint64_t since = monotonic_us() - 1000000;

	do_job(f, VM_JOB_DEMOTE, 2 * RANGE_BYTES, TIER);
	pin(0, true);
	pin(1, true);
	atomic_store(&f->host.pressed_us, since);
	do_job(f, VM_JOB_RELIEVE, 2 * RANGE_BYTES, 0);
	assert_int_equal(atomic_load(&f->host.reliefs), 1);
	assert_int_equal(atomic_load(&f->host.pressed_us), since);
	assert_int_equal(atomic_load(&f->host.relief_us), 0);
	pin(1, false);
	do_job(f, VM_JOB_RELIEVE, 2 * RANGE_BYTES, 0);
	assert_int_equal(atomic_load(&f->host.reliefs), 2);
	assert_int_equal(atomic_load(&f->host.pressed_us), 0);
	assert_true(atomic_load(&f->host.relief_us) >= 1000000);
}

/* Four ranges, in a cgroup. */
static void put_on_the_tier(struct fixture *f)
{
	char path[96];

	put_on_cards(4 * RANGE_BYTES);
	snprintf(path, sizeof(path), "%s/cgroup", f->dir);
	f->vm->cgroup.memory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(f->vm->cgroup.memory >= 0);
	do_job(f, VM_JOB_DEMOTE, 4 * RANGE_BYTES, TIER);
}

/* Off the tier, and nowhere else: DRAM had no room for it. */
static void what_is_idle_on_the_tier_goes_to_swap(void **state)
{
	struct fixture *f = *state;
	struct vm_counters before;
	uint64_t dram;

	put_on_the_tier(f);
	before = f->vm->counters;
	f->vm->node_bytes[0] = BLOCKS * RANGES * RANGE_BYTES;
	dram = vm_dram_bytes(f->vm, 1 << TIER);
	assert_int_equal(vm_tier_bytes(f->vm, 1 << TIER), 4 * RANGE_BYTES);
	f->vm->ranges.v[0].flags |= RANGE_HOT;
	/* Which of its nodes it would come home to makes no difference. */
	f->vm->block_returns[0] = 2;
	kernel.pinned[PAGE(1)] = true;
	atomic_store(&f->host.pressed_us, monotonic_us());
	do_job(f, VM_JOB_SHED, 2 * RANGE_BYTES - PAGE_BYTES, NODE_SWAP);
	assert_int_equal(kernel.node[0], TIER);
	assert_int_equal(pages_on(TIER), 2 * PAGES_PER_RANGE + 1);
	assert_int_equal(pages_on(-ENOENT), 2 * PAGES_PER_RANGE - 1);
	assert_int_equal(f->vm->counters.shed, 2 * RANGE_BYTES - PAGE_BYTES);
	assert_int_equal(f->vm->counters.promoted, 0);
	assert_int_equal(vm_tier_bytes(f->vm, 1 << TIER), 2 * RANGE_BYTES + PAGE_BYTES);
	assert_int_equal(vm_dram_bytes(f->vm, 1 << TIER), dram);
	assert_int_equal(atomic_load(&f->host.shed), 2 * RANGE_BYTES - PAGE_BYTES);
	assert_int_equal(atomic_load(&f->host.relieved), 0);
	assert_int_equal(atomic_load(&f->host.reliefs), 1);
	/* It was not accessed: nothing says that it went out too early. */
	assert_int_equal(f->vm->ranges.v[1].backoff, 0);
	/* A reading of placement that has begun before may have seen it, or not. */
	vm_take_placement(f->vm, (uint64_t[NODES_MAX]){ dram, [TIER] = 4 * RANGE_BYTES }, 1 << TIER,
			  &before);
	assert_int_equal(vm_dram_bytes(f->vm, 1 << TIER), dram);
	assert_int_equal(vm_tier_bytes(f->vm, 1 << TIER), 2 * RANGE_BYTES + PAGE_BYTES);
	vm_take_placement(f->vm,
			  (uint64_t[NODES_MAX]){ dram, [TIER] = 2 * RANGE_BYTES + PAGE_BYTES },
			  1 << TIER, &before);
	assert_int_equal(vm_dram_bytes(f->vm, 1 << TIER), dram);
	assert_int_equal(vm_tier_bytes(f->vm, 1 << TIER), 2 * RANGE_BYTES + PAGE_BYTES);
	/* One that began later has. */
	vm_take_placement(f->vm,
			  (uint64_t[NODES_MAX]){ dram, [TIER] = 2 * RANGE_BYTES + PAGE_BYTES },
			  1 << TIER,
			  &(struct vm_counters){ .demoted = f->vm->counters.demoted,
						 .shed = f->vm->counters.shed });
	assert_int_equal(vm_dram_bytes(f->vm, 1 << TIER), dram);
	assert_int_equal(vm_tier_bytes(f->vm, 1 << TIER), 2 * RANGE_BYTES + PAGE_BYTES);
}

/* Page tables tell of swap's having taken it; the cgroup does not. */
static void what_swap_does_not_take_is_on_the_tier_still(void **state)
{
	struct fixture *f = *state;

	put_on_the_tier(f);
	kernel.in_cache = true;
	do_job(f, VM_JOB_SHED, 4 * RANGE_BYTES, NODE_SWAP);
	assert_int_equal(pages_on(-ENOENT), PAGES_PER_RANGE);
	assert_int_equal(atomic_load(&f->host.shed), 0);
	assert_int_equal(f->vm->counters.shed, 0);
	assert_int_equal(f->vm->moved_since, 4 * RANGE_BYTES);
	assert_int_equal(f->vm->counters.refused, RANGE_BYTES);
	/* Once it does, the rest goes; what has gone from its range meanwhile is in nobody's way.
	 */
	kernel.in_cache = false;
	for (size_t i = 0; i < PAGES_PER_RANGE; i++)
		kernel.node[PAGES_PER_RANGE + i] = 0;
	do_job(f, VM_JOB_SHED, 4 * RANGE_BYTES, NODE_SWAP);
	assert_int_equal(f->vm->counters.shed, 2 * RANGE_BYTES);
	assert_int_equal(pages_on(TIER), 0);
}

/* It may be a file's that another process maps as well: what lies behind it is not its fault. */
static void what_swap_never_takes_is_in_nobodys_way(void **state)
{
	struct fixture *f = *state;

	put_on_the_tier(f);
	for (size_t i = 0; i < PAGES_PER_RANGE; i++)
		kernel.pinned[i] = true;
	do_job(f, VM_JOB_SHED, 4 * RANGE_BYTES, NODE_SWAP);
	assert_int_equal(f->vm->counters.shed, 0);
	do_job(f, VM_JOB_SHED, 4 * RANGE_BYTES, NODE_SWAP);
	assert_int_equal(f->vm->counters.shed, 3 * RANGE_BYTES);
}

static void see_shed(void)
{
	kernel.before_move = NULL;
	kernel.shed_before = atomic_load(&it->host.shed);
}

/* A disk is slow, and another VM's memory has room at home. */
static void press_another(void)
{
	kernel.before_move = see_shed;
	kernel.refused = mover_submit(&it->mover, it->other, VM_JOB_RELIEVE, RANGE_BYTES, 10, 0);
}

static void what_goes_to_swap_makes_way_for_what_comes_home(void **state)
{
	struct fixture *f = *state;

	f->other = make_vm();
	f->other->ranges.v[RANGES].tier_pages = 1;
	kernel.node[PAGE(RANGES)] = TIER;
	put_on_the_tier(f);
	kernel.before_move = press_another;
	do_job(f, VM_JOB_SHED, 2 * RANGE_BYTES, NODE_SWAP);
	assert_int_equal(kernel.refused, 0);
	assert_int_equal(kernel.shed_before, BATCH * PAGE_BYTES);
	/* It has gone on since, with what was left of it. */
	assert_int_equal(atomic_load(&f->host.shed), 2 * RANGE_BYTES);
	assert_int_equal(pages_on(TIER), 2 * PAGES_PER_RANGE);
	wait_until_done(f->other);
	vm_unref(f->other);
}

static void press(void)
{
	kernel.before_move = NULL;
	/* On a mover's thread, where nothing can be asserted. */
	kernel.refused = mover_submit(&it->mover, it->vm, VM_JOB_RELIEVE, 2 * RANGE_BYTES, 10, 0);
}

/* The range that is being moved is the last one. */
static void relief_takes_over_what_is_under_way(void **state)
{
	struct fixture *f = *state;

	do_job(f, VM_JOB_DEMOTE, 4 * RANGE_BYTES, TIER);
	kernel.before_move = press;
	do_job(f, VM_JOB_PROMOTE, 4 * RANGE_BYTES, 0);
	assert_int_equal(kernel.refused, 0);
	wait_for(f, VM_JOB_RELIEVE);
	assert_int_equal(atomic_load(&f->host.relieved), 2 * RANGE_BYTES);
	assert_int_equal(pages_on(TIER), PAGES_PER_RANGE);
}

/* What it would have brought out is on its way home by now, as far as is wanted. */
static void what_goes_to_swap_does_not_go_on_when_it_comes_home_itself(void **state)
{
	struct fixture *f = *state;

	put_on_the_tier(f);
	kernel.before_move = press;
	do_job(f, VM_JOB_SHED, 4 * RANGE_BYTES, NODE_SWAP);
	wait_for(f, VM_JOB_RELIEVE);
	assert_int_equal(kernel.refused, 0);
	assert_int_equal(atomic_load(&f->host.relieved), 2 * RANGE_BYTES);
	assert_int_equal(atomic_load(&f->host.shed), BATCH * PAGE_BYTES);
}

/* ------------------------------------------------------------------ what is stuck */

/* All of it may go either way. */
static struct vm *make_stuck(void)
{
	struct vm *vm = make_vm();

	vm->pid = STUCK_PID;
	vm->bound = 3;
	for (size_t i = 0; i < vm->ranges.n; i++)
		vm->ranges.v[i].tier_pages = 1;
	return vm;
}

static void wait_until_halted(struct fixture *f)
{
	for (int ms = 0; sem_trywait(&f->halted) < 0; ms++) {
		assert_true(ms < 20000);
		usleep(1000);
	}
}

static void processes_that_are_stuck_delay_themselves_alone(void **state)
{
	struct vm *vms[MOVER_THREADS + 2], *pressed = make_stuck();
	struct fixture *f = *state;

	f->mover.patience_ms = 50;
	for (size_t i = 0; i < ARRAY_SIZE(vms); i++) {
		vms[i] = make_stuck();
		assert_int_equal(
			mover_submit(&f->mover, vms[i], VM_JOB_DEMOTE, RANGE_BYTES, 10, TIER), 0);
		wait_until_halted(f);
	}
	assert_int_equal(mover_submit(&f->mover, pressed, VM_JOB_RELIEVE, RANGE_BYTES, 10, 0), 0);
	wait_until_halted(f);
	do_job(f, VM_JOB_DEMOTE, 2 * RANGE_BYTES, TIER);
	assert_int_equal(pages_on(TIER), 2 * PAGES_PER_RANGE);
	do_job(f, VM_JOB_RELIEVE, RANGE_BYTES, 0);
	assert_int_equal(pages_on(TIER), PAGES_PER_RANGE);
	/* They get no other job while they are, and it is known why. */
	assert_int_equal(vms[0]->counters.move_error, -ETIMEDOUT);
	assert_int_equal(mover_submit(&f->mover, vms[0], VM_JOB_UNBIND, 0, 0, -1), -EBUSY);
	for (size_t i = 0; i < 10 * ARRAY_SIZE(vms); i++)
		sem_post(&f->going_on);
	for (size_t i = 0; i < ARRAY_SIZE(vms); i++)
		wait_until_done(vms[i]);
	wait_until_done(pressed);
	vms[0]->pid = 42;
	assert_int_equal(mover_submit(&f->mover, vms[0], VM_JOB_UNBIND, 0, 0, -1), 0);
	wait_until_done(vms[0]);
	for (size_t i = 0; i < ARRAY_SIZE(vms); i++)
		vm_unref(vms[i]);
	vm_unref(pressed);
}

/* Someone else waits for their memory maps, and has their placement meanwhile. */
static void moves_do_not_wait_for_looks_that_are_stuck(void **state)
{
	struct vm *vms[MOVER_THREADS];
	struct fixture *f = *state;
	uint64_t began = monotonic_ms();

	for (size_t i = 0; i < ARRAY_SIZE(vms); i++) {
		vms[i] = make_vm();
		vms[i]->bound = 3;
		assert_int_equal(vm_placing_tries(vms[i], 0), 0);
		assert_int_equal(
			mover_submit(&f->mover, vms[i], VM_JOB_DEMOTE, RANGE_BYTES, 10, TIER), 0);
	}
	do_job(f, VM_JOB_DEMOTE, RANGE_BYTES, TIER);
	assert_true(monotonic_ms() - began < 10000);
	assert_int_equal(pages_on(TIER), PAGES_PER_RANGE);
	for (size_t i = 0; i < ARRAY_SIZE(vms); i++) {
		wait_until_done(vms[i]);
		assert_int_equal(vms[i]->counters.last_error, -ETIMEDOUT);
		/* Another would wait as long. */
		assert_int_equal(
			mover_submit(&f->mover, vms[i], VM_JOB_DEMOTE, RANGE_BYTES, 10, TIER),
			-EBUSY);
		vm_placing_ends(vms[i]);
		vm_unref(vms[i]);
	}
}

static void the_end_does_not_wait_for_what_is_stuck(void **state)
{
	struct fixture *f = *state;
	struct vm *vm = make_stuck();
	uint64_t began;

	assert_int_equal(mover_submit(&f->mover, vm, VM_JOB_DEMOTE, RANGE_BYTES, 10, TIER), 0);
	wait_until_halted(f);
	atomic_store(&f->host.stopping, true);
	began = monotonic_ms();
	assert_false(mover_stop(&f->mover));
	assert_true(monotonic_ms() - began < 10000);
	sem_post(&f->going_on);
	vm_unref(vm);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, make, drop)
	const struct CMUnitTest tests[] = {
		TEST(a_job_moves_what_it_was_given_and_no_more),
		TEST(memory_goes_to_the_node_it_was_sent_to),
		TEST(a_block_comes_home_to_its_own_homes_alone),
		TEST(what_is_on_a_node_that_is_no_tier_to_the_vm_stays_there),
		TEST(one_page_that_cannot_be_moved_stops_its_call_alone),
		TEST(what_cannot_come_home_is_in_nobodys_way),
		TEST(a_tier_that_is_full_is_asked_once),
		TEST(what_was_touched_since_the_last_look_stays),
		TEST(new_settings_stop_a_demotion_under_way),
		TEST(a_pause_of_the_host_stops_a_demotion_under_way),
		TEST(a_tier_that_takes_nothing_stops_a_demotion_under_way),
		TEST(nothing_is_done_to_a_process_that_has_ended),
		TEST(memory_comes_home_all_the_same),
		TEST(a_demotion_binds_each_block_to_its_homes_and_the_tier),
		TEST(a_policy_that_only_prefers_nodes_is_not_made_a_hard_one),
		TEST(dram_that_has_come_is_let_in),
		TEST(each_block_gets_its_own_policy_back),
		TEST(without_the_policy_to_go_back_to_none_is_replaced),
		TEST(what_was_unplugged_is_left_alone),
		TEST(nothing_of_what_was_unplugged_is_moved),
		TEST(what_comes_home_does_not_wait_behind_what_goes_out),
		TEST(where_dram_is_short_what_makes_room_goes_first),
		TEST(what_is_urgent_waits_for_no_mover),
		TEST(relief_that_is_refused_pushes_nothing_aside),
		TEST(the_time_to_relief_ends_with_the_first_move),
		TEST(what_is_idle_on_the_tier_goes_to_swap),
		TEST(what_swap_does_not_take_is_on_the_tier_still),
		TEST(what_swap_never_takes_is_in_nobodys_way),
		TEST(what_goes_to_swap_makes_way_for_what_comes_home),
		TEST(relief_takes_over_what_is_under_way),
		TEST(what_goes_to_swap_does_not_go_on_when_it_comes_home_itself),
		TEST(processes_that_are_stuck_delay_themselves_alone),
		TEST(moves_do_not_wait_for_looks_that_are_stuck),
		TEST(the_end_does_not_wait_for_what_is_stuck),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
