// SPDX-License-Identifier: GPL-2.0-or-later
/* DAMON's tree when it is absent, someone else's, or a predecessor's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "cramd/sense/damon.h"
#include "recorded-damon.h"

#define ADMIN RECORDED_DAMON

static char dir[64];
static struct sysroot root = { .fd = -1 };

static void put(const char *path, const char *text)
{
	recorded_put(dir, path, text);
}

static int make(void **state)
{
	(void)state;
	recorded_make(dir, sizeof(dir));
	assert_int_equal(sysroot_open(dir, &root), 0);
	put("/proc/sys/kernel/random/boot_id", "boot-1\n");
	put("/run/cramd/other", "");
	return 0;
}

static int drop(void **state)
{
	(void)state;
	sysroot_close(&root);
	return recorded_drop(dir);
}

static void holds(const char *path, const char *wanted)
{
	char text[32] = "";

	assert_int_equal(sysroot_read(&root, path, text, sizeof(text), NULL), 0);
	assert_string_equal(text, wanted);
}

static void state_is(const char *wanted)
{
	holds(ADMIN "/0/state", wanted);
}

static int acquire(void)
{
	struct damon damon;

	damon_init(&damon, &root, "/run/cramd/damon");
	return damon_acquire(&damon);
}

static void a_kernel_without_damon_is_said_so(void **state)
{
	(void)state;
	assert_int_equal(acquire(), -ENOENT);
}

static void someone_elses_damon_is_left_alone(void **state)
{
	(void)state;
	put(ADMIN "/nr_kdamonds", "1\n");
	put(ADMIN "/0/state", "on\n");
	assert_int_equal(acquire(), -EBUSY);
	/* A marker of an earlier boot is no proof. */
	put("/run/cramd/damon", "boot-0");
	assert_int_equal(acquire(), -EBUSY);
	state_is("on\n");
}

static void a_predecessors_damon_is_taken_over(void **state)
{
	char text[8] = "";

	(void)state;
	put(ADMIN "/nr_kdamonds", "1\n");
	put(ADMIN "/0/state", "off\n");
	put(ADMIN "/0/contexts/nr_contexts", "1\n");
	put(ADMIN "/0/contexts/0/operations", "vaddr\n");
	put("/run/cramd/damon", "boot-1");
	assert_int_equal(acquire(), 0);
	assert_int_equal(
		sysroot_read(&root, ADMIN "/0/contexts/0/operations", text, sizeof(text), NULL), 0);
	assert_memory_equal(text, "fvaddr", 6);
}

static void what_another_tool_runs_since_the_predecessor_died_is_left_alone(void **state)
{
	(void)state;
	put(ADMIN "/nr_kdamonds", "1\n");
	put(ADMIN "/0/state", "on\n");
	put(ADMIN "/0/contexts/0/operations", "paddr\n");
	put("/run/cramd/damon", "boot-1");
	assert_int_equal(acquire(), -EBUSY);
	state_is("on\n");
	/* Nor is it taken when it has stopped. */
	put(ADMIN "/0/state", "off\n");
	assert_int_equal(acquire(), -EBUSY);
	/* An agent has one. */
	put(ADMIN "/nr_kdamonds", "2\n");
	put("/run/cramd/damon", "boot-1");
	assert_int_equal(acquire(), -EBUSY);
}

/* Between two of our writes another tool makes the tree its own: it has a target of its own. */
static void a_tree_taken_by_another_tool_is_not_written_to(void **state)
{
	struct damon damon;
	char text[128] = "";

	(void)state;
	recorded_put_damon(dir);
	damon_init(&damon, &root, "/run/cramd/damon");
	assert_int_equal(damon_acquire(&damon), 0);
	assert_true(damon.acquired);
	damon.running = true;
	put(ADMIN "/0/state", "on\n");
	put(ADMIN "/0/contexts/0/operations", "vaddr\n");
	put(ADMIN "/0/contexts/0/targets/0/pid_target", "4711\n");
	put("/proc/4711/comm", "damo\n");
	assert_int_equal(damon_snapshot(&damon, NULL, NULL, NULL), -EBUSY);
	assert_false(damon.acquired);
	assert_int_equal(damon_stop(&damon), -EBUSY);
	damon_release(&damon);
	/* Nor is it when it is tried again: it is no predecessor's. */
	assert_int_equal(damon_acquire(&damon), -EBUSY);
	state_is("on\n");
	holds(ADMIN "/nr_kdamonds", "1\n");
	/* Whose it is can be said. */
	damon_owner(&damon, text, sizeof(text));
	assert_non_null(strstr(text, "4711 (damo)"));
}

/* As when the kernel is with a snapshot still: no write succeeds. */
static void what_could_not_be_turned_off_is_the_next_agents_to_turn_off(void **state)
{
	struct rlimit before, none;
	struct damon damon;
	char text[8] = "";

	(void)state;
	recorded_put_damon(dir);
	damon_init(&damon, &root, "/run/cramd/damon");
	assert_int_equal(damon_acquire(&damon), 0);
	put(ADMIN "/0/state", "on\n");
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	none = before;
	none.rlim_cur = 0;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
	damon_release(&damon);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	assert_int_equal(acquire(), 0);
	assert_int_equal(sysroot_read(&root, ADMIN "/0/state", text, sizeof(text), NULL), 0);
	assert_memory_equal(text, "off", 3);
}

/* Operations alike: the target tells. */
static void a_tree_with_another_target_is_anothers(void **state)
{
	struct damon damon;

	(void)state;
	recorded_put_damon(dir);
	damon_init(&damon, &root, "/run/cramd/damon");
	assert_int_equal(damon_acquire(&damon), 0);
	damon.first_pid = 42;
	put(ADMIN "/0/contexts/0/targets/0/pid_target", "42\n");
	assert_int_equal(damon_stop(&damon), 0);
	assert_true(damon.acquired);
	put(ADMIN "/0/state", "on\n");
	put(ADMIN "/0/contexts/0/targets/0/pid_target", "43\n");
	assert_int_equal(damon_stop(&damon), -EBUSY);
	assert_false(damon.acquired);
}

/*
 * damo #36: three targets, the first ends, and the others shift and inherit its regions. The file
 * is not truncated by what is written over it: "onf" was "off" and then "on".
 */
static void a_target_never_takes_anothers_place(void **state)
{
	const struct damon_target targets[] = {
		{ .pid = 42, .n_ranges = 1, .ranges = { { 4096, 8192 } } },
		{ .pid = 43, .n_ranges = 1, .ranges = { { 4096, 8192 } } },
		{ .pid = 44, .n_ranges = 1, .ranges = { { 4096, 8192 } } },
	};
	const struct damon_attrs attrs = { .sample_us = 1 };
	struct damon damon;

	(void)state;
	recorded_put_damon(dir);
	recorded_put_damon_targets(dir, 3);
	damon_init(&damon, &root, "/run/cramd/damon");
	assert_int_equal(damon_acquire(&damon), 0);
	put(ADMIN "/0/state", "on\n");
	assert_int_equal(damon_watch(&damon, &attrs, targets, 2), -ESRCH);
	state_is("commit");
	put(ADMIN "/0/state", "on\n");
	damon.pids.v[0] = 42;
	damon.pids.v[1] = 43;
	damon.pids.n = 2;
	/* One more behind them: they keep what was seen of them. */
	damon_watch(&damon, &attrs, targets, 3);
	state_is("commit");
	assert_false(damon.started_over);
	/* The first ends. */
	put(ADMIN "/0/state", "on\n");
	damon_watch(&damon, &attrs, targets + 1, 2);
	state_is("onf");
	assert_true(damon.started_over);
	damon_release(&damon);
}

struct seen {
	unsigned int n, quiet;
	uint64_t bytes, accesses, quiet_bytes;
	int stop_at;
};

static int add_up(size_t target, const struct damon_region *region, void *arg)
{
	struct seen *seen = arg;

	assert_int_equal(target, 0);
	seen->bytes += region->end - region->start;
	seen->accesses += region->accesses;
	if (!region->accesses) {
		seen->quiet++;
		seen->quiet_bytes += region->end - region->start;
	}
	return (int)++seen->n == seen->stop_at ? 5 : 0;
}

#define REGIONS 100
#define TRIED	ADMIN "/0/contexts/0/schemes/0/tried_regions"

static void put_region(unsigned int i, const char *file, uint64_t value)
{
	char path[256], text[32];

	snprintf(path, sizeof(path), TRIED "/%u/%s", i, file);
	snprintf(text, sizeof(text), "%llu\n", (unsigned long long)value);
	put(path, text);
}

static void watch_one(struct damon *damon)
{
	put(ADMIN "/0/state", "on\n");
	put(ADMIN "/nr_kdamonds", "1\n");
	damon_init(damon, &root, "/run/cramd/damon");
	damon->acquired = true;
	damon->running = true;
	damon->n_targets = 1;
}

static void leave(struct damon *damon)
{
	damon->acquired = false;
	damon_release(damon);
}

static const struct damon_target target = {
	.n_ranges = 1,
	.ranges = { { 0, 4096 * REGIONS } },
};

/* A kernel that says nothing of their sum, or something else than is watched. */
static void every_region_of_a_snapshot_is_read(void **state)
{
	struct damon damon;
	struct seen seen = { 0 };

	(void)state;
	watch_one(&damon);
	for (unsigned int i = 0; i < REGIONS; i++) {
		put_region(i, "start", 4096 * i);
		put_region(i, "end", 4096 * (i + 1));
		put_region(i, "nr_accesses", i % 2);
	}
	assert_int_equal(damon_snapshot(&damon, &target, add_up, &seen), 0);
	assert_int_equal(seen.n, REGIONS);
	put(TRIED "/total_bytes", "1\n");
	seen = (struct seen){ 0 };
	assert_int_equal(damon_snapshot(&damon, &target, add_up, &seen), 0);
	assert_int_equal(seen.n, REGIONS);
	assert_int_equal(seen.bytes, 4096 * REGIONS);
	assert_int_equal(seen.accesses, REGIONS / 2);
	seen = (struct seen){ .stop_at = 30 };
	assert_int_equal(damon_snapshot(&damon, &target, add_up, &seen), 5);
	assert_int_equal(seen.n, 30);
	put_region(7, "end", 0);
	assert_int_equal(damon_snapshot(&damon, &target, add_up, &seen), -EBADMSG);
	leave(&damon);
}

/*
 * Two ranges with nothing between them, and a third elsewhere. One region goes over the first
 * border; files of those without accesses are not there to be read. In parts of a page.
 */
static void what_no_region_with_accesses_has_was_quiet(void **state)
{
	static const struct damon_target three = {
		.n_ranges = 3,
		.ranges = { { 1000, 2000 }, { 2000, 3000 }, { 8000, 9000 } },
	};
	struct damon damon;
	struct seen seen = { 0 };

	(void)state;
	watch_one(&damon);
	put(TRIED "/total_bytes", "3000\n");
	for (unsigned int i = 0; i < 7; i++)
		put_region(i, "nr_accesses", i % 3 == 1);
	put_region(4, "start", 1900);
	put_region(4, "end", 2100);
	put_region(1, "start", 8000);
	put_region(1, "end", 8300);
	assert_int_equal(damon_snapshot(&damon, &three, add_up, &seen), 0);
	assert_int_equal(seen.accesses, 2);
	assert_int_equal(seen.quiet, 3);
	assert_int_equal(seen.quiet_bytes, 900 + 900 + 700);
	assert_int_equal(seen.bytes, 3000);
	/* None of it was accessed. */
	put_region(1, "nr_accesses", 0);
	put_region(4, "nr_accesses", 0);
	seen = (struct seen){ 0 };
	assert_int_equal(damon_snapshot(&damon, &three, add_up, &seen), 0);
	assert_int_equal(seen.n, 3);
	assert_int_equal(seen.quiet_bytes, 3000);
	leave(&damon);
}

/* DAMON has not come to look at it. */
static void of_a_target_that_a_snapshot_does_not_have_nothing_is_known(void **state)
{
	struct damon damon;
	struct seen seen = { 0 };

	(void)state;
	watch_one(&damon);
	put(TRIED "/total_bytes", "0\n");
	assert_int_equal(damon_snapshot(&damon, &target, add_up, &seen), 0);
	assert_int_equal(seen.n, 0);
	leave(&damon);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_kernel_without_damon_is_said_so, make, drop),
		cmocka_unit_test_setup_teardown(someone_elses_damon_is_left_alone, make, drop),
		cmocka_unit_test_setup_teardown(a_predecessors_damon_is_taken_over, make, drop),
		cmocka_unit_test_setup_teardown(
			what_another_tool_runs_since_the_predecessor_died_is_left_alone, make,
			drop),
		cmocka_unit_test_setup_teardown(a_tree_taken_by_another_tool_is_not_written_to,
						make, drop),
		cmocka_unit_test_setup_teardown(
			what_could_not_be_turned_off_is_the_next_agents_to_turn_off, make, drop),
		cmocka_unit_test_setup_teardown(a_tree_with_another_target_is_anothers, make, drop),
		cmocka_unit_test_setup_teardown(a_target_never_takes_anothers_place, make, drop),
		cmocka_unit_test_setup_teardown(every_region_of_a_snapshot_is_read, make, drop),
		cmocka_unit_test_setup_teardown(what_no_region_with_accesses_has_was_quiet, make,
						drop),
		cmocka_unit_test_setup_teardown(
			of_a_target_that_a_snapshot_does_not_have_nothing_is_known, make, drop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
