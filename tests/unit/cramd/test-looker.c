// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Looking at VMs, on a kernel that is played here: what a look finds, whose turn it is, what it may
 * cost, and that a process that keeps its mmap lock delays itself alone.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cramd/classify/looker.h"
#include "cramd/classify/nominator.h"
#include "cramd/moves.h"
#include "played.h"
#include "recorded.h"

#define VMS    3
#define RANGES 64
#define START  PLAYED_START
#define TIER   1

/* The played kernel: every range of process 100 + i; what it was asked. */
static struct {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	int stuck; /* process that keeps its mmap lock; 0: none */
	unsigned int wheres[VMS], numas[VMS];
	uint64_t burn_ns, burnt_ns, numa_ns;
	int node;	  /* where pages are */
	int refused;	  /* errno of asking for it */
	int numa_refused; /* and of reading numa_maps */
	bool touched_all; /* idle flags are found cleared */
	bool large;	  /* all frames are of one page, whose flag the first has */
	size_t looked_up; /* so many were asked for what page they are of */
} kernel = { .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };

static void wait_for_lock(int pid)
{
	pthread_mutex_lock(&kernel.lock);
	while (kernel.stuck == pid)
		pthread_cond_wait(&kernel.changed, &kernel.lock);
	pthread_mutex_unlock(&kernel.lock);
}

static uint64_t cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static long where(int pid, unsigned long n, void **addrs, const int *nodes, int *status, int flags)
{
	uint64_t start = cpu_ns();

	(void)addrs;
	(void)flags;
	assert_null(nodes); /* looking moves nothing */
	wait_for_lock(pid);
	for (unsigned long i = 0; i < n; i++)
		status[i] = kernel.node;
	errno = kernel.refused;
	while (cpu_ns() - start < kernel.burn_ns)
		;
	pthread_mutex_lock(&kernel.lock);
	kernel.wheres[pid - 100]++;
	kernel.burnt_ns += cpu_ns() - start;
	pthread_mutex_unlock(&kernel.lock);
	return kernel.refused ? -1 : 0;
}

static int numa(const struct sysroot *root, pid_t pid,
		int (*visit)(const struct proc_numa *numa, void *arg), void *arg)
{
	const struct proc_numa line = { .start = START, .page_size = PAGE_BYTES, .pages[0] = 512 };
	uint64_t start = cpu_ns();

	(void)root;
	wait_for_lock(pid);
	while (cpu_ns() - start < kernel.numa_ns)
		;
	pthread_mutex_lock(&kernel.lock);
	kernel.numas[pid - 100]++;
	pthread_mutex_unlock(&kernel.lock);
	return kernel.numa_refused ? -kernel.numa_refused : visit(&line, arg);
}

static int check(const struct page_idle *idle, const uint64_t *frames, size_t n, bool *ret_idle)
{
	(void)idle;
	for (size_t i = 0; i < n; i++)
		ret_idle[i] = !kernel.touched_all && (!kernel.large || frames[i] == 1);
	return 0;
}

static int heads(const struct page_idle *idle, const uint64_t *entries, size_t n, uint64_t *ret)
{
	for (size_t i = 0; i < n; i++)
		kernel.looked_up += entries[i] != 0;
	if (!kernel.large)
		return played_heads(idle, entries, n, ret);
	for (size_t i = 0; i < n; i++)
		ret[i] = entries[i] ? 1 : 0;
	return 0;
}

static int mark(const struct page_idle *idle, const uint64_t *frames, size_t n)
{
	(void)idle;
	(void)frames;
	(void)n;
	return 0;
}

static const struct kernel played = {
	.move_pages = where,
	.numa_maps = numa,
	.pagemap = played_pagemap,
	.idle_heads = heads,
	.idle_check = check,
	.idle_mark = mark,
};

struct fixture {
	char dir[64];
	struct host host;
	struct vm *vms[VMS];
	struct looker looker;
};

static struct vm *make_vm(struct fixture *f, int i)
{
	struct vm *vm = calloc(1, sizeof(*vm));
	char path[64];

	assert_non_null(vm);
	vm_init(vm);
	vm->pid = 100 + i;
	vm->tier_nid = TIER;
	vm->cold_age_s = 4;
	vm->watched = true;
	vm->ram = (uint64_t)RANGES * RANGE_BYTES;
	vm->blocks.n = 1;
	vm->blocks.v[0] = (struct ramblock){ .start = START, .end = START + vm->ram };
	assert_int_equal(ranges_init(&vm->ranges, RANGES), 0);
	snprintf(path, sizeof(path), "/proc/%d/status", 100 + i);
	recorded_put(f->dir, path, "State:\tS\nMems_allowed_list:\t0-1\n");
	snprintf(path, sizeof(path), "/proc/%d/pagemap", 100 + i);
	recorded_put(f->dir, path, "");
	snprintf(path, sizeof(path), "/proc/%d/fd/", 100 + i);
	recorded_put(f->dir, path, NULL);
	assert_int_equal(host_add_vm(&f->host, vm), 0);
	return vm;
}

static int make(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct cram_host_settings settings = {
		.round_ms = 20,
		.second_look_permille = 1000,
		.detector = CRAM_DETECTOR_AUTO,
	};

	assert_non_null(f);
	recorded_make(f->dir, sizeof(f->dir));
	assert_int_equal(host_init(&f->host, f->dir, "/run/cramd"), 0);
	recorded_put(f->dir, "/sys/kernel/mm/page_idle/bitmap", "");
	recorded_put(f->dir, "/proc/kpageflags", "");
	f->host.kernel = &played;
	f->host.log.level = LOG_EMERG;
	f->host.tier_nodes = UINT64_C(1) << TIER;
	host_set_settings(&f->host, &settings);
	f->looker.host = &f->host;
	written_init(&f->looker.written);
	for (int i = 0; i < VMS; i++)
		f->vms[i] = make_vm(f, i);
	kernel.stuck = 0;
	kernel.node = kernel.refused = kernel.numa_refused = 0;
	kernel.touched_all = kernel.large = false;
	kernel.burn_ns = kernel.burnt_ns = 0;
	kernel.numa_ns = 2000000; /* what a guest of some GiB takes */
	memset(kernel.wheres, 0, sizeof(kernel.wheres));
	memset(kernel.numas, 0, sizeof(kernel.numas));
	*state = f;
	return 0;
}

static void let_go(void)
{
	pthread_mutex_lock(&kernel.lock);
	kernel.stuck = 0;
	pthread_cond_broadcast(&kernel.changed);
	pthread_mutex_unlock(&kernel.lock);
}

static int drop(void **state)
{
	struct fixture *f = *state;
	int r;

	let_go();
	host_stop(&f->host);
	looker_join(&f->looker);
	for (int i = 0; i < VMS; i++) {
		host_remove_vm(&f->host, f->vms[i]);
		vm_unref(f->vms[i]);
	}
	host_fini(&f->host);
	r = recorded_drop(f->dir);
	free(f);
	return r;
}

static unsigned int count(const unsigned int *counter)
{
	unsigned int n;

	pthread_mutex_lock(&kernel.lock);
	n = *counter;
	pthread_mutex_unlock(&kernel.lock);
	return n;
}

static void wait_until(const unsigned int *counter, unsigned int least)
{
	for (int i = 0; i < 3000 && count(counter) < least; i++)
		usleep(10000);
	assert_true(count(counter) >= least);
}

static void look(struct fixture *f, size_t index)
{
	static const struct page_idle idle = { 0, 0 };
	struct look_buffers buffers;

	assert_int_equal(look_at_range(&f->looker, f->vms[0], index, &idle, -1, &buffers), 0);
}

static void accesses_to_the_tier_are_returns_and_to_dram_are_not(void **state)
{
	struct fixture *f = *state;
	struct vm *vm = f->vms[0];

	look(f, 0);
	kernel.touched_all = true;
	look(f, 0);
	assert_int_equal(vm->ranges.v[0].dram_pages, 512);
	assert_int_equal(vm->ranges.v[0].accessed_pages, 512);
	assert_int_equal(vm->counters.returned, 0);
	assert_false(vm->ranges.v[0].flags & RANGE_HOT);

	kernel.node = TIER;
	look(f, 1);
	look(f, 1);
	assert_int_equal(vm->ranges.v[1].tier_pages, 512);
	assert_int_equal(vm->counters.returned, RANGE_BYTES);
	assert_true(vm->ranges.v[1].flags & RANGE_HOT);
}

static void what_idle_pages_are_part_of_is_not_looked_up(void **state)
{
	struct fixture *f = *state;

	look(f, 0);
	kernel.looked_up = 0;
	look(f, 0);
	assert_int_equal(kernel.looked_up, 0);
	assert_int_equal(f->vms[0]->ranges.v[0].dram_pages, 512);
	assert_int_equal(f->vms[0]->ranges.v[0].accessed_pages, 0);
	kernel.touched_all = true;
	look(f, 0);
	assert_int_equal(kernel.looked_up, 512);
}

static void a_large_page_is_idle_as_a_whole(void **state)
{
	struct fixture *f = *state;
	struct range *range = &f->vms[0]->ranges.v[0];

	kernel.large = true;
	look(f, 0);
	look(f, 0);
	assert_int_equal(range->accessed_pages, 0);
	kernel.touched_all = true;
	look(f, 0);
	assert_int_equal(range->accessed_pages, 512);
}

static void memory_on_a_tier_that_is_not_the_vms_wants_home(void **state)
{
	struct fixture *f = *state;

	kernel.node = TIER;
	f->vms[0]->tier_nid = -1;
	look(f, 0);
	assert_int_equal(f->vms[0]->ranges.v[0].tier_pages, 512);
	assert_true(f->vms[0]->ranges.v[0].flags & RANGE_HOT);
	assert_int_equal(f->vms[0]->counters.returned, 0);
}

/* What the card of TIER says has left it, pages. */
static void card_says(struct fixture *f, unsigned int written, unsigned int evicted,
		      unsigned int swapped)
{
	char text[128];

	snprintf(text, sizeof(text), "pages_evicted %u\npages_swapped %u\npages_promoted %u\n",
		 evicted, swapped, written);
	recorded_put(f->dir, "/sys/devices/system/node/node1/cram/stats", text);
}

/* Ranges from @first on, @n of them, lie on the card, and nothing of them was accessed there. */
static void lie_on_card(struct fixture *f, size_t first, size_t n)
{
	kernel.node = TIER;
	kernel.touched_all = false;
	for (size_t i = first; i < first + n; i++) {
		range_demoted(&f->vms[0]->ranges.v[i], 0, PAGES_PER_RANGE, monotonic_s());
		look(f, i);
	}
}

static void a_card_is_there(struct fixture *f)
{
	card_says(f, 1000, 0, 0);
	written_follow(&f->looker.written, &f->host.root, f->host.tier_nodes, monotonic_s());
}

static void what_is_written_to_on_a_card_is_a_return_and_went_too_early(void **state)
{
	struct fixture *f = *state;
	struct vm *vm = f->vms[0];

	a_card_is_there(f);
	lie_on_card(f, 0, 1);
	kernel.node = 0;
	kernel.touched_all = true;
	card_says(f, 1000 + 512, 0, 0);
	look(f, 0);
	assert_int_equal(vm->counters.returned, RANGE_BYTES);
	assert_int_equal(vm->ranges.v[0].backoff, 1);
	/* Once. */
	look(f, 0);
	assert_int_equal(vm->counters.returned, RANGE_BYTES);
	assert_int_equal(vm->ranges.v[0].backoff, 1);
}

static void what_a_card_evicted_is_no_return(void **state)
{
	struct fixture *f = *state;
	struct vm *vm = f->vms[0];

	a_card_is_there(f);
	lie_on_card(f, 0, 2);
	kernel.node = 0;
	/* Accessed at home, afterwards. */
	kernel.touched_all = true;
	card_says(f, 1000, 300, 212);
	look(f, 0);
	/* Others write as much, but to this nobody has come since. */
	kernel.touched_all = false;
	card_says(f, 1000 + 5000, 812, 212);
	look(f, 1);
	assert_int_equal(vm->counters.returned, 0);
	assert_int_equal(vm->ranges.v[0].backoff + vm->ranges.v[1].backoff, 0);
}

static void no_more_counts_as_written_to_than_the_card_says(void **state)
{
	struct fixture *f = *state;

	/* What was before the agent came is nobody's. */
	a_card_is_there(f);
	lie_on_card(f, 0, 3);
	kernel.node = 0;
	kernel.touched_all = true;
	card_says(f, 1000 + 600, 900, 0);
	for (size_t i = 0; i < 3; i++)
		look(f, i);
	assert_int_equal(f->vms[0]->counters.returned, 600 * PAGE_BYTES);
	/* A node that came anew counts from zero. */
	lie_on_card(f, 3, 1);
	kernel.node = 0;
	kernel.touched_all = true;
	card_says(f, 7, 0, 0);
	look(f, 3);
	assert_int_equal(f->vms[0]->counters.returned, 607 * PAGE_BYTES);
}

/* No idle flag tells of what came home before it was set. */
static void what_is_written_to_before_the_first_look_counts_unless_some_was_evicted(void **state)
{
	struct fixture *f = *state;
	struct vm *vm = f->vms[0];

	a_card_is_there(f);
	range_demoted(&vm->ranges.v[0], 0, 512, monotonic_s());
	card_says(f, 1000 + 512, 0, 0);
	look(f, 0);
	assert_int_equal(vm->counters.returned, RANGE_BYTES);
	range_demoted(&vm->ranges.v[1], 0, 512, monotonic_s());
	card_says(f, 1000 + 1024, 1, 0);
	look(f, 1);
	assert_int_equal(vm->counters.returned, RANGE_BYTES);
	/* Went there after the card had evicted some. */
	range_demoted(&vm->ranges.v[2], 0, 512, monotonic_s() + 1);
	look(f, 2);
	assert_int_equal(vm->counters.returned, 2 * RANGE_BYTES);
}

static void what_we_bring_home_from_a_card_is_no_return(void **state)
{
	struct fixture *f = *state;
	struct vm *vm = f->vms[0];

	a_card_is_there(f);
	lie_on_card(f, 0, 1);
	range_promoted(&vm->ranges.v[0], 512, 0, 4, monotonic_s());
	kernel.node = 0;
	kernel.touched_all = true;
	card_says(f, 1000 + 512, 0, 0);
	look(f, 0);
	assert_int_equal(vm->counters.returned, 0);
	assert_int_equal(vm->ranges.v[0].backoff, 0);
}

static void the_longest_look_is_known(void **state)
{
	struct fixture *f = *state;

	kernel.burn_ns = 3000000;
	look(f, 0);
	kernel.burn_ns = 0;
	look(f, 0);
	assert_true(f->vms[0]->counters.worst_look_us >= 3000);
	assert_int_equal(f->vms[0]->counters.looks, 2);
}

static void looks_that_are_refused_are_noted_with_why(void **state)
{
	struct fixture *f = *state;
	int error = 0;

	kernel.refused = EPERM;
	assert_int_equal(looker_start(&f->looker, &f->host), 0);
	for (int ms = 0; !error; ms++) {
		assert_true(ms < 20000);
		usleep(1000);
		pthread_mutex_lock(&f->vms[0]->lock);
		error = f->vms[0]->counters.look_error;
		pthread_mutex_unlock(&f->vms[0]->lock);
	}
	assert_int_equal(error, -EPERM);
	/* It was not looked at. */
	assert_int_equal(f->vms[0]->scanned_ms, 0);
}

static int examine_error(struct vm *vm)
{
	int error;

	pthread_mutex_lock(&vm->lock);
	error = vm->counters.examine_error;
	pthread_mutex_unlock(&vm->lock);
	return error;
}

/* Rounds and examinations without it go on meanwhile, and looks. */
static void placement_that_cannot_be_read_is_noted_and_tried_again_later(void **state)
{
	struct fixture *f = *state;

	kernel.numa_refused = EACCES;
	assert_int_equal(looker_start(&f->looker, &f->host), 0);
	wait_until(&kernel.numas[0], 1);
	wait_until(&kernel.wheres[0], RANGES);
	usleep(500000);
	assert_int_equal(examine_error(f->vms[0]), -EACCES);
	assert_int_equal(count(&kernel.numas[0]), 1);
	/* Later. */
	kernel.numa_refused = 0;
	f->vms[0]->seen.unplaced_ms = 1;
	for (int i = 0; i < 2000 && examine_error(f->vms[0]); i++)
		usleep(10000);
	assert_int_equal(examine_error(f->vms[0]), 0);
}

static sem_t moving;

static void *move_for_long(void *vm)
{
	assert_int_equal(vm_placing_tries(vm, 20000), 0);
	sem_post(&moving);
	usleep(700000);
	vm_placing_ends(vm);
	return NULL;
}

static void a_range_that_is_being_moved_is_looked_at_later(void **state)
{
	static const struct page_idle idle = { 0, 0 };
	struct fixture *f = *state;
	struct look_buffers buffers;
	pthread_t mover;

	sem_init(&moving, 0, 0);
	assert_int_equal(pthread_create(&mover, NULL, move_for_long, f->vms[0]), 0);
	sem_wait(&moving);
	assert_int_equal(look_at_range(&f->looker, f->vms[0], 0, &idle, -1, &buffers), -ETIMEDOUT);
	pthread_join(mover, NULL);
	look(f, 0);
}

static void looks_are_four_to_a_cold_age(void **state)
{
	(void)state;
	assert_int_equal(look_interval_s(120), 30);
	assert_int_equal(look_interval_s(1), 1);
	assert_int_equal(look_interval_s(3600), 60);
}

static void damon_tells_of_the_ranges_of_its_region_and_no_more(void **state)
{
	struct fixture *f = *state;
	struct vm *vm = f->vms[0];
	const struct damon_region region = { START + RANGE_BYTES, START + 3UL * RANGE_BYTES, 0 };
	const struct damon_region hot = { START, START + RANGE_BYTES, 5 };

	nominate_begin(vm);
	nominate_region(vm, &region);
	assert_int_equal(vm->ranges.v[1].quiet_s, 0);
	nominate_end(vm, 10, 77);
	assert_int_equal(vm->ranges.v[0].quiet_s, 0);
	assert_int_equal(vm->ranges.v[1].quiet_s, 77);
	assert_int_equal(vm->ranges.v[2].quiet_s, 77);
	assert_int_equal(vm->ranges.v[3].quiet_s, 0);
	vm->ranges.v[0].tier_pages = 512;
	for (uint32_t now_s = 79; now_s <= 81; now_s += 2) {
		nominate_begin(vm);
		nominate_region(vm, &hot);
		nominate_end(vm, 10, now_s);
	}
	assert_int_equal(vm->counters.returned, RANGE_BYTES);
}

static bool damon_counts(struct vm *vm)
{
	bool counts;

	pthread_mutex_lock(&vm->lock);
	counts = vm->ranges.damon && vm->ranges.nominated;
	pthread_mutex_unlock(&vm->lock);
	return counts;
}

static void what_damon_says_counts_while_it_answers(void **state)
{
	struct fixture *f = *state;
	struct vm *vm = f->vms[0];

	f->host.damon_until_ms = UINT64_MAX;
	assert_int_equal(looker_start(&f->looker, &f->host), 0);
	for (int i = 0; i < 3000 && !damon_counts(vm); i++)
		usleep(10000);
	assert_true(damon_counts(vm));
	f->host.damon_until_ms = 1;
	for (int i = 0; i < 3000 && damon_counts(vm); i++)
		usleep(10000);
	assert_false(vm->ranges.damon);
	assert_false(vm->ranges.nominated);
}

static void only_watched_vms_are_looked_at(void **state)
{
	struct fixture *f = *state;

	f->vms[1]->watched = false;
	assert_int_equal(looker_start(&f->looker, &f->host), 0);
	wait_until(&kernel.wheres[0], RANGES);
	wait_until(&kernel.wheres[2], RANGES);
	/* It is examined all the same. */
	wait_until(&kernel.numas[1], 1);
	assert_int_equal(count(&kernel.wheres[1]), 0);
}

static void a_paused_host_looks_at_nothing(void **state)
{
	struct fixture *f = *state;

	f->host.paused = true;
	assert_int_equal(looker_start(&f->looker, &f->host), 0);
	wait_until(&kernel.numas[2], 1);
	for (int i = 0; i < VMS; i++)
		assert_int_equal(count(&kernel.wheres[i]), 0);
}

/* Started anew, it has to know where that is before it can bring it home. */
static void a_paused_host_looks_for_what_is_out(void **state)
{
	struct fixture *f = *state;

	f->host.paused = true;
	f->vms[1]->unfound = true;
	assert_int_equal(looker_start(&f->looker, &f->host), 0);
	wait_until(&kernel.wheres[1], RANGES);
	assert_int_equal(count(&kernel.wheres[0]), 0);
	assert_int_equal(count(&kernel.wheres[2]), 0);
}

/* Three readings of 2 ms are worth 3 s of not reading. */
static void placement_is_read_no_more_often_than_its_cost_allows(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(looker_start(&f->looker, &f->host), 0);
	usleep(1200000);
	for (int i = 0; i < VMS; i++)
		assert_in_range(count(&kernel.numas[i]), 1, 2);
}

/* Three readings of 1 ms are worth 1.5 s of not reading; where nothing is new, 12 s. */
static void placement_that_is_as_it_was_is_read_less_often(void **state)
{
	struct fixture *f = *state;

	kernel.numa_ns = 1000000;
	assert_int_equal(looker_start(&f->looker, &f->host), 0);
	wait_until(&kernel.numas[1], 2);
	usleep(3000000);
	assert_int_equal(count(&kernel.numas[1]), 2);
	/* It has more memory than it had. */
	recorded_put(f->dir, "/proc/101/status",
		     "State:\tS\nMems_allowed_list:\t0-1\nVmRSS:\t4096 kB\n");
	for (int i = 0; i < 400 && count(&kernel.numas[1]) < 3; i++)
		usleep(10000);
	assert_int_equal(count(&kernel.numas[1]), 3);
}

/* Looks for two seconds, at 1 % of a processor: *@ret_burnt_us of *@ret_took_us. */
static void look_on_a_budget(struct fixture *f, uint64_t *ret_burnt_us, uint64_t *ret_took_us)
{
	struct cram_host_settings settings = {
		.round_ms = 20,
		.second_look_permille = 10,
		.detector = CRAM_DETECTOR_AUTO,
	};
	uint64_t start = monotonic_us();

	kernel.burn_ns = 1000000;
	host_set_settings(&f->host, &settings);
	assert_int_equal(looker_start(&f->looker, &f->host), 0);
	/* More is due than is paid for, and yet every VM has its share. */
	for (size_t i = 0; i < VMS; i++)
		wait_until(&kernel.wheres[i], 2);
	/* A look at a time, not all that are due and then none for long. */
	for (size_t i = 0; i < VMS; i++)
		assert_in_range(count(&kernel.wheres[i]), 2, RANGES / 4);
	usleep(2000000);
	*ret_took_us = monotonic_us() - start;
	pthread_mutex_lock(&kernel.lock);
	*ret_burnt_us = kernel.burnt_ns / 1000;
	pthread_mutex_unlock(&kernel.lock);
	assert_true(*ret_burnt_us >= 2000);
}

static enum vm_ineligible reason_of(struct vm *vm)
{
	enum vm_ineligible reason;

	pthread_mutex_lock(&vm->lock);
	reason = vm->reason;
	pthread_mutex_unlock(&vm->lock);
	return reason;
}

/* The first one's examination is dear, so that all are far apart; what waits for one gets it. */
static void examinations_are_as_far_apart_as_they_cost(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(looker_start(&f->looker, &f->host), 0);
	for (int i = 0; i < VMS; i++)
		wait_until(&kernel.numas[i], 1);
	/* One that is under way would write down what it cost. */
	for (int i = 0; i < 5; i++) {
		f->vms[0]->examination_cost_us = 10000000;
		usleep(200000);
	}
	assert_int_equal(reason_of(f->vms[1]), VM_ELIGIBLE);
	recorded_put(f->dir, "/proc/101/status",
		     "State:\tS\nMems_allowed_list:\t0-1\nVmLck:\t131072 kB\n");
	usleep(1000000);
	assert_int_equal(reason_of(f->vms[1]), VM_ELIGIBLE);
	f->vms[1]->recount = true;
	for (int i = 0; i < 2000 && reason_of(f->vms[1]) != VM_LOCKED; i++)
		usleep(10000);
	assert_int_equal(reason_of(f->vms[1]), VM_LOCKED);
}

static void looks_cost_no_more_than_they_may(void **state)
{
	uint64_t burnt, took;

	look_on_a_budget(*state, &burnt, &took);
	/* A hundredth, and the look that overdraws it. */
	assert_true(burnt <= took / 100 + 5000);
}

/* Each VM is examined in each round for longer than there is a budget. */
static void what_examinations_take_is_taken_off_looks(void **state)
{
	struct fixture *f = *state;
	uint64_t burnt, took;

	kernel.numa_ns = 200000;
	for (size_t i = 0; i < VMS; i++)
		f->vms[i]->recount = true;
	look_on_a_budget(f, &burnt, &took);
	/* A quarter is left, and the first round, that of no examination yet. */
	assert_true(burnt <= took / 400 + 3500);
}

static size_t threads(struct fixture *f)
{
	size_t n;

	pthread_mutex_lock(&f->looker.patience.lock);
	n = f->looker.patience.live;
	pthread_mutex_unlock(&f->looker.patience.lock);
	return n;
}

static void a_vm_that_is_stuck_delays_itself_alone(void **state)
{
	struct fixture *f = *state;
	unsigned int before;

	kernel.stuck = 100;
	assert_int_equal(looker_start(&f->looker, &f->host), 0);
	wait_until(&kernel.wheres[1], RANGES);
	wait_until(&kernel.wheres[2], RANGES);
	/* And again, a cold age's quarter later. */
	before = count(&kernel.wheres[1]);
	wait_until(&kernel.wheres[1], before + RANGES);
	assert_int_equal(count(&kernel.numas[0]), 0);
	assert_true(f->vms[0]->looked_at_since_ms);
	assert_true(threads(f) >= 2);
	let_go();
	wait_until(&kernel.wheres[0], RANGES);
	/* What it took is given back. */
	for (int i = 0; i < 3000 && threads(f) > 1; i++)
		usleep(10000);
	assert_int_equal(threads(f), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			accesses_to_the_tier_are_returns_and_to_dram_are_not, make, drop),
		cmocka_unit_test_setup_teardown(what_idle_pages_are_part_of_is_not_looked_up, make,
						drop),
		cmocka_unit_test_setup_teardown(a_large_page_is_idle_as_a_whole, make, drop),
		cmocka_unit_test_setup_teardown(memory_on_a_tier_that_is_not_the_vms_wants_home,
						make, drop),
		cmocka_unit_test_setup_teardown(
			what_is_written_to_on_a_card_is_a_return_and_went_too_early, make, drop),
		cmocka_unit_test_setup_teardown(what_a_card_evicted_is_no_return, make, drop),
		cmocka_unit_test_setup_teardown(no_more_counts_as_written_to_than_the_card_says,
						make, drop),
		cmocka_unit_test_setup_teardown(
			what_is_written_to_before_the_first_look_counts_unless_some_was_evicted,
			make, drop),
		cmocka_unit_test_setup_teardown(what_we_bring_home_from_a_card_is_no_return, make,
						drop),
		cmocka_unit_test_setup_teardown(the_longest_look_is_known, make, drop),
		cmocka_unit_test_setup_teardown(looks_that_are_refused_are_noted_with_why, make,
						drop),
		cmocka_unit_test_setup_teardown(
			placement_that_cannot_be_read_is_noted_and_tried_again_later, make, drop),
		cmocka_unit_test_setup_teardown(a_range_that_is_being_moved_is_looked_at_later,
						make, drop),
		cmocka_unit_test(looks_are_four_to_a_cold_age),
		cmocka_unit_test_setup_teardown(damon_tells_of_the_ranges_of_its_region_and_no_more,
						make, drop),
		cmocka_unit_test_setup_teardown(what_damon_says_counts_while_it_answers, make,
						drop),
		cmocka_unit_test_setup_teardown(only_watched_vms_are_looked_at, make, drop),
		cmocka_unit_test_setup_teardown(a_paused_host_looks_at_nothing, make, drop),
		cmocka_unit_test_setup_teardown(a_paused_host_looks_for_what_is_out, make, drop),
		cmocka_unit_test_setup_teardown(
			placement_is_read_no_more_often_than_its_cost_allows, make, drop),
		cmocka_unit_test_setup_teardown(placement_that_is_as_it_was_is_read_less_often,
						make, drop),
		cmocka_unit_test_setup_teardown(examinations_are_as_far_apart_as_they_cost, make,
						drop),
		cmocka_unit_test_setup_teardown(looks_cost_no_more_than_they_may, make, drop),
		cmocka_unit_test_setup_teardown(what_examinations_take_is_taken_off_looks, make,
						drop),
		cmocka_unit_test_setup_teardown(a_vm_that_is_stuck_delays_itself_alone, make, drop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
