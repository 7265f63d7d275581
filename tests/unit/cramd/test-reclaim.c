// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Kernels with private nodes that user space cannot name: what they show, who may use such a node,
 * and that memory gets there by reclaim of the VM's cgroup, measured. Recorded hosts.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "recorded-card.h"
#include "rounds.h"
#include "util/cleanup.h"

#define NODES  "/sys/devices/system/node/"
#define CGROUP "/sys/fs/cgroup/machine/vm0/"

static void take_away(const char *path)
{
	char full[160];

	snprintf(full, sizeof(full), "%s%s", dir, path);
	assert_int_equal(unlink(full), 0);
}

static struct vm *make_reclaimed(struct daemon *d)
{
	struct vm *vm = make_vm(d, 0);

	put(CGROUP "memory.current", "1\n");
	put(CGROUP "memory.cram.max", "0\n");
	put(CGROUP "memory.swap.max", "max\n");
	put(CGROUP "memory.numa_stat", "anon N0=0 N1=0\nfile N0=134217728 N1=0\n");
	cgroup_open(&d->host.root, "/machine/vm0", &vm->cgroup);
	vm->settings.tiers = 1U << CRAM_TIER_CRAM;
	return vm;
}

static int make_host(void **state)
{
	make(state);
	recorded_put_card(dir, 0, 0);
	take_away(NODES "has_private_memory");
	put(NODES "has_common_memory", "0\n");
	put("/sys/kernel/mm/numa/demotion_enabled", "true\n");
	put("/proc/meminfo", "SwapTotal: 0 kB\nSwapFree: 0 kB\n");
	return 0;
}

static void a_node_that_nobody_can_name_is_recognised_and_said(void **state)
{
	struct daemon *d = *state;

	make_reclaimed(d);
	round_run(d);
	assert_int_equal(d->snapshot.n_tiers, 1);
	assert_int_equal(d->snapshot.tiers[0].kind, CRAM_TIER_CRAM);
	assert_int_equal(atomic_load(&d->host.reclaim_nodes), 2);
	assert_true(said(d, "host", "memory-reclaim", "node 1"));
	/* One that may be named. */
	put(NODES "has_user_memory", "0-1\n");
	round_run(d);
	assert_int_equal(d->snapshot.n_tiers, 1);
	assert_int_equal(atomic_load(&d->host.reclaim_nodes), 0);
	assert_false(said(d, "host", "memory-reclaim", ""));
	/* And our kernel's, all of which may be. */
	put(NODES "has_private_memory", "1\n");
	take_away(NODES "has_user_memory");
	round_run(d);
	assert_int_equal(d->snapshot.n_tiers, 1);
	assert_int_equal(atomic_load(&d->host.reclaim_nodes), 0);
}

static void a_node_without_memory_is_not_private(void **state)
{
	struct daemon *d = *state;

	put(NODES "node1/meminfo", "Node 1 MemTotal: 0 kB\nNode 1 MemFree: 0 kB\n");
	round_run(d);
	assert_int_equal(d->snapshot.n_tiers, 0);
	assert_int_equal(atomic_load(&d->host.tier_nodes), 0);
}

static void assert_refused(struct daemon *d, const char *why)
{
	round_run(d);
	assert_int_equal(d->host.vms.v[0]->input.tier, -1);
	assert_true(said(d, "vm \"vm0\"", "cram", why));
}

static void what_stands_in_the_way_of_reclaim_is_said(void **state)
{
	struct daemon *d = *state;
	struct vm *vm = make_reclaimed(d);

	round_run(d);
	assert_int_equal(vm->input.tier, 0);
	put("/sys/kernel/mm/numa/demotion_enabled", "false\n");
	assert_refused(d, "demotion_enabled");
	put("/sys/kernel/mm/numa/demotion_enabled", "true\n");
	/* It would go to the disk as well. */
	put("/proc/meminfo", "SwapTotal: 1024 kB\nSwapFree: 1024 kB\n");
	assert_refused(d, "memory.swap.max");
	put(CGROUP "memory.swap.max", "0\n");
	round_run(d);
	assert_int_equal(vm->input.tier, 0);
	vm->in_others_cgroup = true;
	assert_refused(d, "of its own");
	vm->in_others_cgroup = false;
	cgroup_close(&vm->cgroup);
	assert_refused(d, "of its own");
}

/* ------------------------------------------------------------------ the mover */

static struct {
	uint64_t there, asked, most; /* bytes; @most: what the kernel finds in one call */
	unsigned int calls;
	struct vm *vm;
} kernel;

static int reclaim(const struct cgroup *cgroup, uint64_t bytes)
{
	char text[96];
	uint64_t found = bytes < kernel.most ? bytes : kernel.most;

	(void)cgroup;
	/* Who never ends of itself does here. */
	if (++kernel.calls > 100)
		atomic_store(&kernel.vm->dead, true);
	kernel.asked += bytes;
	kernel.there += found;
	snprintf(text, sizeof(text), "anon N0=0 N1=4096\nfile N0=1 N1=%" PRIu64 "\n", kernel.there);
	put(CGROUP "memory.numa_stat", text);
	return found < bytes ? -EAGAIN : 0;
}

static const struct kernel played = { .reclaim = reclaim };

static int make_moving(void **state)
{
	struct daemon *d;

	make_host(state);
	d = *state;
	memset(&kernel, 0, sizeof(kernel));
	d->host.kernel = &played;
	d->host.reclaim_nodes = 2;
	d->host.settings.batch_ms = 1000;
	d->host.settings.batch_pages = 128;
	kernel.vm = make_reclaimed(d);
	put(CGROUP "memory.numa_stat", "anon N0=0 N1=4096\nfile N0=1 N1=0\n");
	assert_int_equal(mover_start(&d->mover, &d->host), 0);
	return 0;
}

static void demote(struct daemon *d, uint64_t bytes)
{
	struct vm *vm = d->host.vms.v[0];

	assert_int_equal(mover_submit(&d->mover, vm, VM_JOB_DEMOTE, bytes, 10, 1), 0);
	for (int ms = 0; atomic_load(&vm->busy); ms++) {
		assert_true(ms < 20000);
		usleep(1000);
	}
}

static void as_much_is_reclaimed_as_was_decided(void **state)
{
	struct daemon *d = *state;
	struct vm *vm = d->host.vms.v[0];

	kernel.most = UINT64_MAX;
	demote(d, 3 * RANGE_BYTES + PAGE_BYTES);
	assert_int_equal(kernel.there, 3 * RANGE_BYTES + PAGE_BYTES);
	/* In calls as large as is set. */
	assert_int_equal(kernel.calls, 13);
	assert_int_equal(vm->counters.demoted, 3 * RANGE_BYTES + PAGE_BYTES);
	assert_int_equal(vm->moved_since, 3 * RANGE_BYTES + PAGE_BYTES);
	assert_int_equal(vm->under_way, 0);
	assert_int_equal(vm->counters.refused, 0);
}

static void what_the_kernel_did_not_find_is_refused(void **state)
{
	struct daemon *d = *state;
	struct vm *vm = d->host.vms.v[0];

	kernel.most = 100 * PAGE_BYTES;
	demote(d, 200 * PAGE_BYTES);
	assert_int_equal(kernel.calls, 2);
	assert_int_equal(vm->counters.demoted, 200 * PAGE_BYTES);
	assert_int_equal(vm->counters.refused, 28 * PAGE_BYTES);
	/* It is asked no more when it finds none. */
	kernel.most = 0;
	demote(d, 3 * RANGE_BYTES);
	assert_int_equal(kernel.calls, 3);
	assert_int_equal(vm->counters.demoted, 200 * PAGE_BYTES);
}

int main(void)
{
#define TEST(f)	  cmocka_unit_test_setup_teardown(f, make_host, drop)
#define MOVING(f) cmocka_unit_test_setup_teardown(f, make_moving, drop_moving)
	const struct CMUnitTest tests[] = {
		TEST(a_node_that_nobody_can_name_is_recognised_and_said),
		TEST(a_node_without_memory_is_not_private),
		TEST(what_stands_in_the_way_of_reclaim_is_said),
		MOVING(as_much_is_reclaimed_as_was_decided),
		MOVING(what_the_kernel_did_not_find_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
