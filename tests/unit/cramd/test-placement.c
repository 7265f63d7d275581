// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Where a VM's memory is, while it is being moved. Reading placement takes time; here numa_maps is
 * a pipe, so that the test decides what happens between the reading's first byte and its last.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cramd/examine.h"
#include "cramd/moves.h"
#include "cramd/sense/pages.h"
#include "cramd/sense/proc.h"
#include "cramd/sense/sysroot.h"
#include "recorded.h"

#define TIER   (UINT64_C(1) << 1)
#define START  0x7f0000000000UL
#define RANGES 16

struct fixture {
	char dir[64];
	struct sysroot root;
	struct vm vm;
};

static int make(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	char path[128];

	assert_non_null(f);
	recorded_make(f->dir, sizeof(f->dir));
	assert_int_equal(sysroot_open(f->dir, &f->root), 0);
	recorded_put(f->dir, "/proc/42/fd/", NULL);
	snprintf(path, sizeof(path), "%s/proc/42/numa_maps", f->dir);
	assert_int_equal(mkfifo(path, 0600), 0);

	vm_init(&f->vm);
	f->vm.pid = 42;
	f->vm.tier_nid = 1;
	f->vm.ram = (uint64_t)RANGES * RANGE_BYTES;
	f->vm.blocks.n = 1;
	f->vm.blocks.v[0] = (struct ramblock){ .start = START, .end = START + f->vm.ram };
	*state = f;
	return 0;
}

static int drop(void **state)
{
	struct fixture *f = *state;
	int r;

	sysroot_close(&f->root);
	r = recorded_drop(f->dir);
	free(f);
	return r;
}

static void *examine(void *arg)
{
	static const struct proc_status status = { .state = 'S', .mems_allowed = 1 | TIER };
	struct fixture *f = arg;

	vm_examine(&f->vm,
		   &(struct examination){
			   .kernel = &kernel_linux,
			   .root = &f->root,
			   .tier_nodes = TIER,
			   .now_ms = f->vm.placed_ms + 1000,
			   .placement = true,
		   },
		   &status);
	return NULL;
}

struct reading {
	struct fixture *f;
	pthread_t thread;
	FILE *pipe;
};

/* The agent has begun to read placement; what it will find is not yet known. */
static struct reading begin(struct fixture *f)
{
	struct reading r = { .f = f };
	char path[128];

	assert_int_equal(pthread_create(&r.thread, NULL, examine, f), 0);
	snprintf(path, sizeof(path), "%s/proc/42/numa_maps", f->dir);
	r.pipe = fopen(path, "w"); /* returns when the reader has opened it */
	assert_non_null(r.pipe);
	return r;
}

/* It finds so many ranges in DRAM and on the tier. */
static void end(struct reading *r, unsigned int dram, unsigned int tier)
{
	fprintf(r->pipe, "%lx default anon=8192", START);
	if (dram)
		fprintf(r->pipe, " N0=%u", dram * PAGES_PER_RANGE);
	if (tier)
		fprintf(r->pipe, " N1=%u", tier * PAGES_PER_RANGE);
	fprintf(r->pipe, " kernelpagesize_kB=4\n");
	fclose(r->pipe);
	pthread_join(r->thread, NULL);
}

static void read_placement(struct fixture *f, unsigned int dram, unsigned int tier)
{
	struct reading r = begin(f);

	end(&r, dram, tier);
}

static void move(struct fixture *f, int ranges)
{
	vm_move_begins(&f->vm, (int64_t)ranges * RANGE_BYTES);
	pthread_mutex_lock(&f->vm.lock);
	vm_moved(&f->vm, (int64_t)ranges * RANGE_BYTES);
	pthread_mutex_unlock(&f->vm.lock);
	vm_move_ends(&f->vm);
}

static void end_job(struct fixture *f)
{
	pthread_mutex_lock(&f->vm.lock);
	f->vm.jobs_ended++;
	pthread_mutex_unlock(&f->vm.lock);
}

static uint64_t ranges_on_tier(struct fixture *f)
{
	uint64_t bytes;

	pthread_mutex_lock(&f->vm.lock);
	bytes = vm_tier_bytes(&f->vm, TIER);
	pthread_mutex_unlock(&f->vm.lock);
	assert_int_equal(bytes % RANGE_BYTES, 0);
	return bytes / RANGE_BYTES;
}

static bool settled(struct fixture *f)
{
	bool result;

	pthread_mutex_lock(&f->vm.lock);
	result = vm_settled(&f->vm);
	pthread_mutex_unlock(&f->vm.lock);
	return result;
}

static void an_undisturbed_reading_is_what_counts(void **state)
{
	struct fixture *f = *state;

	read_placement(f, 12, 4);
	assert_int_equal(ranges_on_tier(f), 4);
	move(f, 2);
	assert_int_equal(ranges_on_tier(f), 6);
	/* The guest has given two ranges back meanwhile. */
	read_placement(f, 10, 4);
	assert_int_equal(ranges_on_tier(f), 4);
}

static void memory_coming_home_while_placement_is_read_is_not_counted_twice(void **state)
{
	struct fixture *f = *state;
	struct reading r;

	read_placement(f, 12, 4);
	/* The mover has moved a range, the reading sees that, and only then it is written down. */
	vm_move_begins(&f->vm, -(int64_t)RANGE_BYTES);
	read_placement(f, 13, 3);
	pthread_mutex_lock(&f->vm.lock);
	vm_moved(&f->vm, -(int64_t)RANGE_BYTES);
	pthread_mutex_unlock(&f->vm.lock);
	vm_move_ends(&f->vm);
	assert_int_equal(ranges_on_tier(f), 3);

	/* In the kernel's hands it is in neither place. */
	vm_move_begins(&f->vm, -(int64_t)RANGE_BYTES);
	read_placement(f, 13, 2);
	pthread_mutex_lock(&f->vm.lock);
	vm_moved(&f->vm, -(int64_t)RANGE_BYTES);
	pthread_mutex_unlock(&f->vm.lock);
	vm_move_ends(&f->vm);
	assert_int_equal(ranges_on_tier(f), 2);

	/* Written down during the reading, which had passed its old place before. */
	r = begin(f);
	move(f, -1);
	end(&r, 14, 2);
	assert_int_equal(ranges_on_tier(f), 1);
	/* Or its new place after. */
	r = begin(f);
	move(f, -1);
	end(&r, 16, 0);
	assert_int_equal(ranges_on_tier(f), 0);
}

static void memory_going_out_while_placement_is_read_is_not_forgotten(void **state)
{
	struct fixture *f = *state;
	struct reading r;

	read_placement(f, 16, 0);
	r = begin(f);
	move(f, 3);
	end(&r, 16, 0);
	assert_int_equal(ranges_on_tier(f), 3);
	r = begin(f);
	move(f, 1);
	end(&r, 12, 4);
	assert_int_equal(ranges_on_tier(f), 4);
	/* Until it is known where it ended, it counts as out. */
	vm_move_begins(&f->vm, RANGE_BYTES);
	assert_int_equal(ranges_on_tier(f), 5);
	vm_move_ends(&f->vm);
	assert_int_equal(ranges_on_tier(f), 4);
}

static void what_the_guest_did_is_seen_between_moves_too(void **state)
{
	struct fixture *f = *state;
	struct reading r;

	read_placement(f, 8, 8);
	/* Six ranges were given back by the guest; one move cannot explain that. */
	r = begin(f);
	move(f, -1);
	end(&r, 9, 1);
	assert_in_range(ranges_on_tier(f), 0, 1);
}

static void a_vm_is_settled_by_a_reading_begun_after_the_last_job(void **state)
{
	struct fixture *f = *state;
	struct reading r;

	assert_false(settled(f));
	read_placement(f, 16, 0);
	assert_true(settled(f));

	/* A job that ends during the reading may have moved what it had passed. */
	r = begin(f);
	end_job(f);
	end(&r, 16, 0);
	assert_false(settled(f));
	read_placement(f, 16, 0);
	assert_true(settled(f));

	atomic_store(&f->vm.busy, 1U << VM_JOB_DEMOTE);
	assert_false(settled(f));
	atomic_store(&f->vm.busy, 0);
	assert_true(settled(f));

	/* A reading from before the order says nothing about its end. */
	atomic_fetch_add(&f->vm.epoch, 1);
	assert_false(settled(f));
	read_placement(f, 16, 0);
	assert_true(settled(f));
}

static void the_longest_reading_is_known(void **state)
{
	struct fixture *f = *state;
	struct reading r = begin(f);

	usleep(30000);
	end(&r, 16, 0);
	read_placement(f, 16, 0);
	assert_in_range(f->vm.counters.worst_placement_us, 30000, 30000000);
}

struct looks {
	struct vm *vm;
	_Atomic unsigned int n;
	_Atomic bool enough;
};

static void *look_all_the_time(void *arg)
{
	struct looks *l = arg;

	while (!atomic_load(&l->enough)) {
		assert_int_equal(vm_placing_tries(l->vm, 20000), 0);
		usleep(2000);
		atomic_fetch_add(&l->n, 1);
		vm_placing_ends(l->vm);
	}
	return NULL;
}

static void a_move_waits_for_one_look_at_most(void **state)
{
	struct fixture *f = *state;
	struct looks l = { .vm = &f->vm };
	pthread_t looker;

	assert_int_equal(pthread_create(&looker, NULL, look_all_the_time, &l), 0);
	for (int i = 0; i < 20; i++) {
		unsigned int before;

		usleep(5000);
		before = atomic_load(&l.n);
		assert_int_equal(vm_placing_tries(&f->vm, 20000), 0);
		/* One may begin between the counting and the waiting. */
		assert_in_range(atomic_load(&l.n) - before, 0, 2);
		vm_placing_ends(&f->vm);
	}
	atomic_store(&l.enough, true);
	pthread_join(looker, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(an_undisturbed_reading_is_what_counts, make, drop),
		cmocka_unit_test_setup_teardown(
			memory_coming_home_while_placement_is_read_is_not_counted_twice, make,
			drop),
		cmocka_unit_test_setup_teardown(
			memory_going_out_while_placement_is_read_is_not_forgotten, make, drop),
		cmocka_unit_test_setup_teardown(what_the_guest_did_is_seen_between_moves_too, make,
						drop),
		cmocka_unit_test_setup_teardown(
			a_vm_is_settled_by_a_reading_begun_after_the_last_job, make, drop),
		cmocka_unit_test_setup_teardown(the_longest_reading_is_known, make, drop),
		cmocka_unit_test_setup_teardown(a_move_waits_for_one_look_at_most, make, drop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
