// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Short of DRAM while the loop is busy with something that does not end: promotions stop, a round
 * is asked for, and what only the rates held back goes out without one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "cramd/act/relief.h"
#include "cramd/sense/pages.h"
#include "recorded.h"
#include "util/size.h"

#define ROUND_MS 2000
#define ORDERED	 (64 * MiB)
#define RATE	 (16 * MiB)

struct fixture {
	struct host host;
	char dir[64];
	struct mover mover;
	struct relief relief;
	struct cram_bucket bucket;
	struct vm *vm;
};

static void free_memory(const struct fixture *f, unsigned int mib)
{
	char text[128];

	snprintf(text, sizeof(text), "Node 0 MemTotal: 16777216 kB\nNode 0 MemFree: %u kB\n",
		 mib * 1024);
	recorded_put(f->dir, "/sys/devices/system/node/node0/meminfo", text);
}

static int make(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	recorded_make(f->dir, sizeof(f->dir));
	free_memory(f, 1024);
	assert_int_equal(host_init(&f->host, f->dir, "/run/cramd"), 0);
	f->host.settings.pressure_ms = 10;
	f->host.settings.batch_ms = 5;
	pthread_mutex_init(&f->mover.lock, NULL);
	f->mover.host = &f->host;
	assert_int_equal(relief_init(&f->relief, &f->host, &f->mover), 0);
	f->vm = calloc(1, sizeof(*f->vm));
	assert_non_null(f->vm);
	vm_init(f->vm);
	f->vm->tier_nid = 1;
	*state = f;
	return 0;
}

static int drop(void **state)
{
	struct fixture *f = *state;
	int r;

	relief_fini(&f->relief);
	for (size_t i = 0; i < f->mover.out.n; i++)
		vm_unref(f->mover.out.jobs[i].vm);
	vm_unref(f->vm);
	host_fini(&f->host);
	r = recorded_drop(f->dir);
	free(f);
	return r;
}

/* The end of a round at @now_ms that left one order, to make room on the nodes of @home. */
static void publish(struct fixture *f, uint64_t now_ms, uint64_t home)
{
	struct relief_node node = { .nid = 0, .headroom = 512 * MiB };
	struct relief_order order = {
		.vm = f->vm,
		.home = home,
		.bytes = ORDERED,
		.rate = RATE,
		.epoch = f->vm->epoch,
		.nid = 1,
	};

	assert_int_equal(relief_publish(&f->relief,
					&(struct relief_plan){
						.nodes = &node,
						.n_nodes = 1,
						.orders = &order,
						.n_orders = 1,
						.rate = 2 * RATE,
						.now_ms = now_ms,
						.due_ms = now_ms + ROUND_MS,
					},
					&f->bucket),
			 0);
}

static bool round_wanted(const struct fixture *f)
{
	uint64_t requests;

	return read(f->relief.wake, &requests, sizeof(requests)) == sizeof(requests);
}

/* The movers have taken what was queued and done it. Returns how many bytes that was. */
static uint64_t movers_are_done(struct fixture *f)
{
	uint64_t bytes = 0;

	for (; f->mover.out.n; f->mover.out.n--) {
		const struct mover_job *job = &f->mover.out.jobs[f->mover.out.head];

		assert_int_equal(job->kind, VM_JOB_DEMOTE);
		assert_int_equal(job->nid, 1);
		bytes += job->bytes;
		vm_unref(job->vm);
		f->mover.out.head = (f->mover.out.head + 1) % MOVER_QUEUE;
	}
	atomic_store(&f->vm->busy, 0);
	return bytes;
}

static void a_node_that_runs_short_is_seen_and_a_round_is_asked_for_once(void **state)
{
	struct fixture *f = *state;

	publish(f, 1000, 1);
	relief_look(&f->relief, 1100);
	assert_int_equal(f->host.short_nodes, 0);
	assert_false(round_wanted(f));
	free_memory(f, 511);
	relief_look(&f->relief, 1200);
	assert_int_equal(f->host.short_nodes, 1);
	assert_true(round_wanted(f));
	relief_look(&f->relief, 1300);
	assert_false(round_wanted(f));
	assert_int_equal(f->mover.out.n, 0); /* the round may still come */
	free_memory(f, 512);
	relief_look(&f->relief, 1400);
	assert_int_equal(f->host.short_nodes, 0);
}

/* It has gone offline, and no round comes that knows: the others are watched on. */
static void a_node_that_cannot_be_read_hides_no_other(void **state)
{
	struct relief_node nodes[] = { { .nid = 0, .headroom = 512 * MiB },
				       { .nid = 1, .headroom = 512 * MiB } };
	struct relief_plan plan = { .nodes = nodes, .n_nodes = 2, .now_ms = 1000, .due_ms = 3000 };
	struct fixture *f = *state;

	assert_int_equal(relief_publish(&f->relief, &plan, &f->bucket), 0);
	relief_look(&f->relief, 1100);
	assert_int_equal(f->host.short_nodes, 0);
	free_memory(f, 511);
	relief_look(&f->relief, 1200);
	assert_int_equal(f->host.short_nodes, 1);
	assert_true(round_wanted(f));
}

static void without_a_round_memory_leaves_within_rates_and_limits(void **state)
{
	struct fixture *f = *state;
	uint64_t sent = 0;

	publish(f, 1000, 1);
	free_memory(f, 100);
	relief_look(&f->relief, 1500);
	for (uint64_t now = 1600; now < 20000; now += 100) {
		relief_look(&f->relief, now);
		sent += movers_are_done(f);
		assert_true(sent <= (now - 1000) * RATE / 1000);
		if (now < 1500 + RELIEF_ROUND_WAIT_MS)
			assert_int_equal(sent, 0);
		if (now == 3000)
			assert_true(sent >= 30 * MiB);
	}
	assert_true(sent == ORDERED);
	/* It counts against the buckets of the round that comes at last. */
	f->bucket.tokens = f->vm->demote_bucket.tokens = 100 * MiB;
	publish(f, 20000, 1);
	assert_int_equal(f->bucket.tokens, 36 * MiB);
	assert_int_equal(f->vm->demote_bucket.tokens, 36 * MiB);
}

/* Three of them at once could take three times their own rate, and that is more than the host's. */
static void vms_share_the_rate_of_the_host(void **state)
{
	struct relief_node node = { .nid = 0, .headroom = 512 * MiB };
	struct relief_order orders[3];
	struct fixture *f = *state;
	struct vm others[2] = {};
	uint64_t sent = 0;

	for (size_t i = 0; i < 3; i++) {
		struct vm *vm = i ? &others[i - 1] : f->vm;

		/* Not the plan's to free. */
		vm->refs = 1;
		orders[i] = (struct relief_order){
			.vm = vm, .home = 1, .bytes = ORDERED, .rate = RATE, .nid = 1
		};
	}
	assert_int_equal(relief_publish(&f->relief,
					&(struct relief_plan){ .nodes = &node,
							       .n_nodes = 1,
							       .orders = orders,
							       .n_orders = 3,
							       .rate = 2 * RATE,
							       .now_ms = 1000,
							       .due_ms = 1000 },
					&f->bucket),
			 0);
	free_memory(f, 100);
	for (uint64_t now = 1500; now < 4000; now += 100) {
		relief_look(&f->relief, now);
		sent += movers_are_done(f);
		others[0].busy = others[1].busy = 0;
		assert_true(sent <= (now - 1000) * 2 * RATE / 1000);
	}
	assert_true(sent > 5 * RATE);
	assert_int_equal(relief_publish(&f->relief, &(struct relief_plan){}, &f->bucket), 0);
}

static void a_loop_that_stops_while_memory_is_short_is_noticed_too(void **state)
{
	struct fixture *f = *state;

	free_memory(f, 100);
	publish(f, 1000, 1);
	relief_look(&f->relief, 1000);
	publish(f, 1050, 1); /* the round that was asked for; none comes after it */
	relief_look(&f->relief, 1050 + ROUND_MS);
	assert_int_equal(movers_are_done(f), 0);
	relief_look(&f->relief, 1050 + ROUND_MS + RELIEF_ROUND_WAIT_MS);
	assert_true(movers_are_done(f) > 0);
}

static void what_would_not_help_or_no_longer_holds_is_not_ordered(void **state)
{
	struct fixture *f = *state;

	free_memory(f, 100);
	publish(f, 1000, 2); /* another node's VM */
	relief_look(&f->relief, 1000);
	relief_look(&f->relief, 5000);
	assert_int_equal(movers_are_done(f), 0);
	publish(f, 6000, 1);
	f->vm->epoch++; /* paused, or its settings changed */
	relief_look(&f->relief, 15000);
	assert_int_equal(movers_are_done(f), 0);
	publish(f, 16000, 1);
	f->vm->dead = true;
	relief_look(&f->relief, 25000);
	assert_int_equal(movers_are_done(f), 0);
	f->vm->dead = false;
	publish(f, 26000, 1);
	recorded_put(f->dir, "/sys/devices/system/node/node0/meminfo", "gone\n");
	relief_look(&f->relief, 35000);
	assert_int_equal(movers_are_done(f), 0);
	assert_int_equal(f->host.short_nodes, 0);
}

/* The calling thread stands for the loop: it is stuck, and nothing it does helps. */
static void relief_comes_while_the_loop_is_stuck(void **state)
{
	struct timespec ms = { .tv_nsec = 1000000 };
	struct fixture *f = *state;
	uint64_t start = monotonic_ms();
	size_t n = 0;

	publish(f, start - 1000, 1);
	assert_int_equal(relief_start(&f->relief), 0);
	free_memory(f, 100);
	while (!n && monotonic_ms() < start + 30000) {
		nanosleep(&ms, NULL);
		pthread_mutex_lock(&f->mover.lock);
		n = f->mover.out.n;
		pthread_mutex_unlock(&f->mover.lock);
	}
	host_stop(&f->host);
	relief_join(&f->relief);
	assert_int_equal(n, 1);
	assert_true(round_wanted(f));
}

/*
 * A real process, so that the mover has something to look at. Its one range is said to be on the
 * tier: a job that is carried out finds that it is not.
 */
static void promotions_into_a_short_node_stop_under_way(void **state)
{
	struct timespec ms = { .tv_nsec = 1000000 };
	struct fixture *f = *state;
	struct vm *vm = f->vm;
	char *ram = aligned_alloc(RANGE_BYTES, RANGE_BYTES);

	assert_non_null(ram);
	memset(ram, 1, RANGE_BYTES);
	vm->pid = getpid();
	vm->pidfd = (int)syscall(SYS_pidfd_open, vm->pid, 0);
	assert_true(vm->pidfd >= 0);
	vm->blocks.n = 1;
	vm->blocks.v[0].start = (uintptr_t)ram;
	vm->blocks.v[0].end = (uintptr_t)ram + RANGE_BYTES;
	assert_int_equal(ranges_init(&vm->ranges, 1), 0);
	vm->ranges.v[0].tier_pages = PAGES_PER_RANGE;
	vm->block_returns[0] = 1;
	assert_int_equal(mover_start(&f->mover, &f->host), 0);
	for (int open = 0; open < 2; open++) {
		atomic_store(&f->host.short_nodes, open ? 0 : 1);
		assert_int_equal(mover_submit(&f->mover, vm, VM_JOB_PROMOTE, RANGE_BYTES, 0, 0), 0);
		while (atomic_load(&vm->busy))
			nanosleep(&ms, NULL);
		pthread_mutex_lock(&vm->lock);
		assert_int_equal(vm->ranges.v[0].tier_pages, open ? 0 : PAGES_PER_RANGE);
		pthread_mutex_unlock(&vm->lock);
	}
	mover_stop(&f->mover);
	free(ram);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make, drop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_node_that_runs_short_is_seen_and_a_round_is_asked_for_once),
		TEST(a_node_that_cannot_be_read_hides_no_other),
		TEST(without_a_round_memory_leaves_within_rates_and_limits),
		TEST(vms_share_the_rate_of_the_host),
		TEST(a_loop_that_stops_while_memory_is_short_is_noticed_too),
		TEST(what_would_not_help_or_no_longer_holds_is_not_ordered),
		TEST(relief_comes_while_the_loop_is_stuck),
		TEST(promotions_into_a_short_node_stop_under_way),
	};

	return cmocka_run_group_tests_name("relief", tests, NULL, NULL);
}
