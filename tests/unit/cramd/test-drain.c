// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Memory comes home while everything else goes on: the real movers, the real rounds and the real
 * reading of placement, all at once, on a kernel that is played here: pages that are being moved
 * are for a while in no node's count, calls return late, and reading placement takes as long as a
 * move.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cramd/examine.h"
#include "cramd/round.h"
#include "cramd/sense/pages.h"
#include "random.h"
#include "recorded.h"

#define RANGES	32
#define PAGES	(RANGES * PAGES_PER_RANGE)
#define START	0x7f0000000000UL
#define IN_HAND (-1)
#define DRAINS	40

/* The played kernel. */
static struct {
	pthread_mutex_t lock;
	int node[PAGES];
	bool pinned[PAGES]; /* stays where it is */
	uint64_t rng;
} kernel = { .lock = PTHREAD_MUTEX_INITIALIZER };

static unsigned int at_random(unsigned int lo, unsigned int hi)
{
	unsigned int n;

	pthread_mutex_lock(&kernel.lock);
	n = (unsigned int)random_in(&kernel.rng, lo, hi);
	pthread_mutex_unlock(&kernel.lock);
	return n;
}

static void take_time(void)
{
	usleep(at_random(0, 400));
}

static size_t page_of(const void *address)
{
	size_t page = ((uintptr_t)address - START) / PAGE_BYTES;

	assert_true(page < PAGES);
	return page;
}

static long move(int pid, unsigned long n, void **addrs, const int *nodes, int *status, int flags)
{
	long left = 0;

	(void)pid;
	(void)flags;
	if (nodes) {
		pthread_mutex_lock(&kernel.lock);
		for (unsigned long i = 0; i < n; i++)
			if (!kernel.pinned[page_of(addrs[i])])
				kernel.node[page_of(addrs[i])] = IN_HAND;
		pthread_mutex_unlock(&kernel.lock);
		take_time();
	}
	pthread_mutex_lock(&kernel.lock);
	for (unsigned long i = 0; i < n; i++) {
		size_t page = page_of(addrs[i]);
		int *node = &kernel.node[page];

		if (nodes && *node == IN_HAND)
			*node = nodes[i];
		left += nodes && *node != nodes[i];
		status[i] = *node == IN_HAND ? -ENOENT : *node;
	}
	pthread_mutex_unlock(&kernel.lock);
	take_time();
	return left;
}

static int numa_maps(const struct sysroot *root, pid_t pid,
		     int (*visit)(const struct proc_numa *numa, void *arg), void *arg)
{
	struct proc_numa numa = { .start = START, .page_size = PAGE_BYTES };

	(void)root;
	(void)pid;
	for (size_t range = 0; range < RANGES; range++) {
		pthread_mutex_lock(&kernel.lock);
		for (size_t i = 0; i < PAGES_PER_RANGE; i++)
			if (kernel.node[range * PAGES_PER_RANGE + i] != IN_HAND)
				numa.pages[kernel.node[range * PAGES_PER_RANGE + i]]++;
		pthread_mutex_unlock(&kernel.lock);
		if (range % 4 == 0)
			take_time();
	}
	return visit(&numa, arg);
}

static const struct kernel played = { .move_pages = move, .numa_maps = numa_maps };

static size_t pages_on_tier(void)
{
	size_t n = 0;

	pthread_mutex_lock(&kernel.lock);
	for (size_t i = 0; i < PAGES; i++)
		n += kernel.node[i] != 0;
	pthread_mutex_unlock(&kernel.lock);
	return n;
}

struct fixture {
	char dir[64];
	struct daemon d;
	struct vm *vm;
	pthread_t examiner;
	_Atomic bool enough;
	_Atomic uint64_t pinned; /* as its process's status says */
};

static void *examine_all_the_time(void *arg)
{
	struct fixture *f = arg;

	while (!atomic_load(&f->enough)) {
		const struct proc_status status = { .state = 'S',
						    .mems_allowed = 3,
						    .pinned = atomic_load(&f->pinned) };

		vm_examine(f->vm,
			   &(struct examination){
				   .kernel = f->d.host.kernel,
				   .root = &f->d.host.root,
				   .tier_nodes = 2,
				   .now_ms = monotonic_ms(),
				   .placement = true,
			   },
			   &status);
	}
	return NULL;
}

static void make_vm(struct fixture *f)
{
	struct vm *vm = calloc(1, sizeof(*vm));

	assert_non_null(vm);
	vm_init(vm);
	vm->pid = 42;
	vm->tier_nid = 1;
	vm->ram = (uint64_t)PAGES * PAGE_BYTES;
	strcpy(vm->name, "vm");
	vm->blocks.n = 1;
	vm->blocks.v[0] = (struct ramblock){ .start = START, .end = START + vm->ram };
	assert_int_equal(ranges_init(&vm->ranges, RANGES), 0);
	vm->settings = (struct cram_vm_settings){
		.mode = CRAM_MODE_AUTO,
		.quota = CRAM_UNLIMITED,
		.hard_limit = CRAM_UNLIMITED,
		.weight = 100,
		.cold_age_s = 10,
		.tiers = 1U << CRAM_TIER_NODE,
	};
	vm->policy_memory.first_seen_ms = 1;
	assert_int_equal(array_push(&f->d.host.vms, vm), 0);
	f->vm = vm;
}

static int make(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	kernel.rng = random_seed("drain");
	recorded_make(f->dir, sizeof(f->dir));
	recorded_put_nodes(f->dir);
	recorded_put(f->dir, "/proc/42/fd/", NULL);
	assert_int_equal(host_init(&f->d.host, f->dir, "/run/cramd"), 0);
	f->d.host.log.level = LOG_ERR;
	f->d.host.kernel = &played;
	cram_conf_init(&f->d.conf);
	/* Rates are not what this is about. */
	f->d.conf.host.demote_rate = f->d.conf.host.vm_demote_rate = TiB;
	f->d.conf.host.promote_rate = f->d.conf.host.vm_promote_rate = TiB;
	host_set_settings(&f->d.host, &f->d.conf.host);
	make_vm(f);
	assert_int_equal(mover_start(&f->d.mover, &f->d.host), 0);
	assert_int_equal(relief_init(&f->d.relief, &f->d.host, &f->d.mover), 0);
	assert_int_equal(pthread_create(&f->examiner, NULL, examine_all_the_time, f), 0);
	*state = f;
	return 0;
}

static int drop(void **state)
{
	struct fixture *f = *state;
	int r;

	atomic_store(&f->enough, true);
	pthread_join(f->examiner, NULL);
	host_stop(&f->d.host);
	mover_stop(&f->d.mover);
	relief_fini(&f->d.relief);
	daemon_fini(&f->d);
	host_fini(&f->d.host);
	r = recorded_drop(f->dir);
	free(f);
	return r;
}

/* As if every range had been looked at, and found where it is and idle for long. */
static void look_at_everything(struct vm *vm)
{
	pthread_mutex_lock(&vm->lock);
	vm->ranges.idle_flags = true;
	for (size_t i = 0; i < RANGES; i++) {
		vm->ranges.v[i].armed_s = 1;
		vm->ranges.v[i].checked_s = 100000;
		vm->ranges.v[i].flags = RANGE_ARMED;
		vm->ranges.v[i].dram_pages = PAGES_PER_RANGE - vm->ranges.v[i].tier_pages;
	}
	pthread_mutex_unlock(&vm->lock);
}

static void a_drained_vm_has_nothing_on_the_tier(void **state)
{
	struct fixture *f = *state;
	struct vm *vm = f->vm;

	for (int n = 0; n < DRAINS; n++) {
		size_t enough = PAGES_PER_RANGE * at_random(1, RANGES / 2);

		vm->drain = false;
		atomic_fetch_add(&vm->epoch, 1);
		look_at_everything(vm);
		for (int i = 0; pages_on_tier() < enough; i++) {
			assert_true(i < 20000);
			round_run(&f->d);
			usleep(500);
		}
		/* Ordered while memory goes out. */
		vm->drain = true;
		atomic_fetch_add(&vm->epoch, 1);
		round_run(&f->d);
		for (int i = 0; vm->action.state != CRAM_VM_DRAINED; i++) {
			assert_true(i < 20000);
			usleep(500);
			round_run(&f->d);
		}
		assert_int_equal(pages_on_tier(), 0);
	}
}

/* Until @pages are on the tier and nothing is under way that could change it. */
static void come_to(struct fixture *f, size_t pages)
{
	for (int i = 0; pages_on_tier() != pages || f->vm->input.tier_bytes != pages * PAGE_BYTES;
	     i++) {
		assert_true(i < 20000);
		round_run(&f->d);
		usleep(500);
	}
}

/* Of every second range one page, and all of every fourth. Returns how many of them are out. */
static size_t pin(bool pinned)
{
	size_t out = 0;

	pthread_mutex_lock(&kernel.lock);
	for (size_t i = 0; i < PAGES; i++) {
		size_t range = i / PAGES_PER_RANGE;

		kernel.pinned[i] =
			pinned && (range % 4 == 0 || (range % 4 == 2 && i % PAGES_PER_RANGE == 9));
		out += kernel.pinned[i] && kernel.node[i] == 1;
	}
	pthread_mutex_unlock(&kernel.lock);
	return out;
}

/* A device is assigned while memory is out. */
static void what_is_pinned_while_it_is_out_comes_home_as_far_as_it_can(void **state)
{
	struct fixture *f = *state;
	struct vm *vm = f->vm;
	uint64_t refused;
	size_t stay;

	look_at_everything(vm);
	for (int i = 0; pages_on_tier() < PAGES_PER_RANGE * RANGES / 2; i++) {
		assert_true(i < 20000);
		round_run(&f->d);
		usleep(500);
	}
	/* What is in hand is in no place, and no pin is taken of it. */
	atomic_fetch_add(&vm->epoch, 1);
	for (int i = 0; atomic_load(&vm->busy); i++) {
		assert_true(i < 20000);
		usleep(500);
	}
	atomic_store(&f->pinned, vm->ram);
	stay = pin(true);
	assert_true(stay > PAGES_PER_RANGE);
	come_to(f, stay);
	assert_int_equal(vm->reason, VM_PINNED);
	refused = vm->counters.refused;
	assert_true(refused >= stay * PAGE_BYTES);
	/* It is tried again, holds up no round, and goes nowhere else. */
	for (int i = 0; i < 50 || vm->counters.refused == refused; i++) {
		assert_true(i < 20000);
		round_run(&f->d);
		usleep(500);
	}
	assert_int_equal(pages_on_tier(), stay);
	pin(false);
	come_to(f, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_drained_vm_has_nothing_on_the_tier, make, drop),
		cmocka_unit_test_setup_teardown(
			what_is_pinned_while_it_is_out_comes_home_as_far_as_it_can, make, drop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
