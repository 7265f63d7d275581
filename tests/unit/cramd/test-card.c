// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A card that compresses as a tier, on recorded hosts: what is read of it, what a VM takes there,
 * and what the kernel is told before anything moves.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "cramd/server/report.h"
#include "recorded-card.h"
#include "rounds.h"
#include "util/cleanup.h"
#include "util/size.h"

#define CARD	RECORDED_CARD
#define CGROUP	"/sys/fs/cgroup/machine/qemu-%zu-vm.libvirt-qemu/"
#define RESERVE RECORDED_RESERVE

static void put_number(const char *name, uint64_t value)
{
	recorded_put_card_number(dir, name, value);
}

static void put_card(uint64_t stored, uint64_t resident)
{
	recorded_put_card(dir, stored, resident);
}

static void put_cgroup(size_t i, const char *name, const char *text)
{
	char path[160];

	snprintf(path, sizeof(path), CGROUP "%s", i, name);
	put(path, text);
}

static uint64_t limit_of(const struct vm *vm)
{
	uint64_t limit = 0;

	assert_int_equal(cgroup_read_cram_max(&vm->cgroup, &limit), 0);
	return limit;
}

/* A VM in a cgroup of its own, which has been given no room. */
static struct vm *make_card_vm(struct daemon *d, size_t i)
{
	struct vm *vm = make_vm(d, i);
	char path[160];

	put_cgroup(i, "memory.current", "1\n");
	put_cgroup(i, "memory.cram.max", "0\n");
	snprintf(path, sizeof(path), "/machine/qemu-%zu-vm.libvirt-qemu", i);
	cgroup_open(&d->host.root, path, &vm->cgroup);
	vm->settings.tiers = 1U << CRAM_TIER_CRAM;
	return vm;
}

static int make_card(void **state)
{
	make(state);
	put_card(0, 0);
	return 0;
}

static void all_of_a_card_is_read(void **state)
{
	struct daemon *d = *state;
	struct card card;

	put_card(10 * MiB, 40 * MiB);
	assert_int_equal(card_read(&d->host.root, 1, &card), 0);
	assert_int_equal(card.state, CARD_NORMAL);
	assert_int_equal(card.generation, 12);
	assert_int_equal(card.logical, GiB);
	assert_int_equal(card.physical, 256 * MiB);
	assert_int_equal(card.stored, 10 * MiB);
	assert_int_equal(card.reserve, RESERVE);
	assert_int_equal(card.credit, 32 * MiB);
	assert_int_equal(card.resident, 40 * MiB);
	assert_int_equal(card.worst, 4096);
	assert_int_equal(card.reports, 7);
	assert_int_equal(card.reports_failed, 2);
	assert_int_equal(card.evicted, 3);
	assert_int_equal(card.lost, 4);
	put_number("worst_bytes", 8192);
	assert_int_equal(card_read(&d->host.root, 1, &card), 0);
	assert_int_equal(card.worst, 8192);
	for (int i = 0; i < CARD_N_STATES; i++) {
		put(CARD "state", card_state_name((enum card_state)i));
		assert_int_equal(card_read(&d->host.root, 1, &card), 0);
		assert_int_equal(card.state, i);
	}
}

static void what_is_no_card_or_makes_no_sense_is_not_taken(void **state)
{
	struct daemon *d = *state;
	struct card card = { .stored = 4711 };

	assert_int_equal(card_read(&d->host.root, 0, &card), -ENOENT);
	put(CARD "state", "on fire\n");
	assert_int_equal(card_read(&d->host.root, 1, &card), -EBADMSG);
	put(CARD "state", "normal\n");
	put(CARD "stored_bytes", "many\n");
	assert_int_equal(card_read(&d->host.root, 1, &card), -EBADMSG);
	put_number("stored_bytes", 0);
	put_number("worst_bytes", 100);
	assert_int_equal(card_read(&d->host.root, 1, &card), -EBADMSG);
	put_number("worst_bytes", 4096);
	put_number("pressure", 1001);
	assert_int_equal(card_read(&d->host.root, 1, &card), -EBADMSG);
	assert_int_equal(card.stored, 4711);
}

/* Hands out the numbers of reports one by one, as they are read. */
static void *hand_out(void *path)
{
	static const char *const generations[] = { "12\n", "13\n", "13\n", "13\n" };
	int watch = inotify_init1(IN_CLOEXEC);

	assert_true(inotify_add_watch(watch, path, IN_CLOSE_NOWRITE) >= 0);
	for (size_t i = 0; i < ARRAY_SIZE(generations); i++) {
		int fd = open(path, O_WRONLY | O_CLOEXEC);
		char event[512];

		assert_true(fd >= 0);
		assert_int_equal(write(fd, generations[i], 3), 3);
		close(fd);
		/* Whoever read it is to have closed it before the next one is there. */
		assert_true(read(watch, event, sizeof(event)) > 0);
	}
	close(watch);
	return NULL;
}

static void numbers_of_one_report_only(void **state)
{
	struct daemon *d = *state;
	char path[160];
	pthread_t thread;
	struct card card;

	snprintf(path, sizeof(path), "%s" CARD "generation", dir);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(pthread_create(&thread, NULL, hand_out, path), 0);
	assert_int_equal(card_read(&d->host.root, 1, &card), 0);
	assert_int_equal(card.generation, 13);
	pthread_join(thread, NULL);
}

static void a_card_is_a_tier_and_its_memory_no_dram(void **state)
{
	struct daemon *d = *state;
	struct cram_node_report node;

	put_card(10 * MiB, 40 * MiB);
	round_run(d);
	assert_int_equal(d->snapshot.n_tiers, 1);
	assert_int_equal(d->snapshot.n_dram, 1);
	assert_int_equal(d->snapshot.tiers[0].kind, CRAM_TIER_CRAM);
	assert_int_equal(d->snapshot.tiers[0].free, 242 * MiB);
	/* 5 % of it are left for what it does by itself. */
	assert_int_equal(d->snapshot.tiers[0].budget, 252 * MiB - 256 * MiB / 20);
	assert_int_equal(atomic_load(&d->host.tier_nodes), 2);
	report_node(d, 0, &node);
	assert_string_equal(node.tier, "cram");
	assert_string_equal(node.state, "normal");
	assert_int_equal(node.capacity, 256 * MiB);
	assert_int_equal(node.device_bytes, 10 * MiB);
	/* A state in a plain file cannot be waited for. */
	assert_string_equal(node.watch_error, "Operation not permitted");
}

static void a_private_node_of_somebody_elses_is_neither(void **state)
{
	struct daemon *d = *state;
	char command[128];

	snprintf(command, sizeof(command), "rm -r %s" CARD, dir);
	assert_int_equal(system(command), 0);
	round_run(d);
	assert_int_equal(d->snapshot.n_tiers, 0);
	assert_int_equal(d->snapshot.n_dram, 1);
	assert_int_equal(atomic_load(&d->host.tier_nodes), 2);
}

/* The kernel gives out memory of its node bit by bit: that is no reason to ask all cards again. */
static void a_card_whose_node_grows_is_not_asked_again(void **state)
{
	struct daemon *d = *state;

	round_run(d);
	put("/sys/devices/system/node/node1/meminfo",
	    "Node 1 MemTotal: 65536 kB\nNode 1 MemFree: 65536 kB\n");
	round_run(d);
	assert_int_equal(d->snapshot.unfit.totals[1], 0);
	assert_int_equal(d->snapshot.unfit.changed, 0);
}

static void room_is_given_before_memory_goes_there(void **state)
{
	struct daemon *d = *state;
	struct vm *vm = make_card_vm(d, 0);

	vm->settings.quota = 16 * MiB;
	round_run(d);
	assert_int_equal(limit_of(vm), 16 * MiB);
	pass_time(d);
	round_run(d);
	assert_int_equal(d->mover.out.n, 1);
	assert_int_equal(d->mover.out.jobs[0].nid, 1);
	/* A limit is filled to a little below. */
	assert_in_range(d->mover.out.jobs[0].bytes, 15 * MiB, 16 * MiB);
	vm->settings.quota = CRAM_UNLIMITED;
	put_cgroup(0, "memory.cram.max", "0\n");
	round_run(d);
	assert_int_equal(limit_of(vm), UINT64_MAX);
}

static void *run_round(void *d)
{
	round_run(d);
	return NULL;
}

/* Runs a round that can hand out nothing before @vm's limit is @limit. */
static void assert_limited_first(struct daemon *d, const struct vm *vm, uint64_t limit)
{
	bool limited = false;
	pthread_t thread;

	pthread_mutex_lock(&d->mover.lock);
	assert_int_equal(pthread_create(&thread, NULL, run_round, d), 0);
	for (int ms = 0; ms < 10000 && !limited; ms++) {
		uint64_t is;

		usleep(1000);
		limited = cgroup_read_cram_max(&vm->cgroup, &is) == 0 && is == limit;
	}
	pthread_mutex_unlock(&d->mover.lock);
	pthread_join(thread, NULL);
	assert_true(limited);
}

/* A mover may be quicker than the loop. */
static void the_kernel_is_told_before_any_mover_is(void **state)
{
	struct daemon *d = *state;
	struct vm *vm = make_card_vm(d, 0);

	vm->settings.quota = 16 * MiB;
	round_run(d);
	pass_time(d);
	put_cgroup(0, "memory.cram.max", "0\n");
	assert_limited_first(d, vm, 16 * MiB);
	assert_int_equal(d->mover.out.n, 1);
	/* Nothing comes home that the kernel could replace. */
	put_card(64 * MiB, 64 * MiB);
	put_out(vm, 32, 1, 0);
	put_cgroup(0, "memory.cram.max", "max\n");
	vm->promote_bucket.filled_ms = d->host.promote_bucket.filled_ms = 1;
	assert_limited_first(d, vm, 16 * MiB);
	assert_int_equal(d->mover.home.n, 1);
}

static void where_no_room_can_be_given_nothing_goes(void **state)
{
	struct daemon *d = *state;
	struct vm *vm = make_card_vm(d, 0);

	put_cgroup(0, "memory.cram.max", "nonsense\n");
	round_run(d);
	pass_time(d);
	round_run(d);
	assert_int_equal(d->mover.out.n, 0);
	/* Without such a limit at all the agent alone keeps it. */
	cgroup_close(&vm->cgroup);
	round_run(d);
	assert_int_equal(d->mover.out.n, 1);
}

static void who_may_have_nothing_there_has_no_room(void **state)
{
	struct daemon *d = *state;
	struct vm *vms[5];

	for (size_t i = 0; i < 5; i++) {
		vms[i] = make_card_vm(d, i);
		put_cgroup(i, "memory.cram.max", "4\n");
	}
	vms[0]->settings.mode = CRAM_MODE_OFF;
	vms[1]->settings.mode = CRAM_MODE_MONITOR;
	vms[2]->drain = true;
	vms[3]->reason = VM_LOCKED;
	vms[4]->settings.tiers = 1U << CRAM_TIER_NODE;
	round_run(d);
	for (size_t i = 0; i < 5; i++)
		assert_int_equal(limit_of(vms[i]), 0);
}

static void what_is_measured_decides_what_a_vm_takes(void **state)
{
	struct daemon *d = *state;
	struct vm *small = make_card_vm(d, 0), *large = make_card_vm(d, 1);

	put_card(60 * MiB, 128 * MiB);
	put_out(small, 32, 1, 0);
	put_out(large, 32, 1, 0);
	put_cgroup(0, "memory.cram.stat",
		   "sampled N1=256\nsampled_bytes N1=262144\ndevice_bytes N0=7 N1=12582912\n");
	put_cgroup(1, "memory.cram.stat",
		   "sampled N1=256\nsampled_bytes N1=786432\ndevice_bytes N1=46137344\n");
	round_run(d);
	assert_int_equal(small->input.device_bytes, 12 * MiB);
	assert_int_equal(large->input.device_bytes, 44 * MiB);
	/* From 256 pages no more can be said of 16384. */
	assert_in_range(small->input.device_upper, 14 * MiB, 20 * MiB);
	assert_in_range(large->input.device_upper, 48 * MiB, 56 * MiB);
	assert_int_equal(d->snapshot.tiers[0].used_other, 4 * MiB);
	assert_in_range(small->input.ratio_q16, 65536 / 5, 65536 / 3);
	/* What was written since the report is not in it. */
	put_number("unsettled_bytes", 60 * MiB);
	round_run(d);
	assert_int_equal(small->input.device_bytes, 12 * MiB);
	assert_in_range(small->input.device_upper, 26 * MiB, 36 * MiB);
}

static void what_is_not_measured_counts_as_alike_and_at_most_at_worst(void **state)
{
	struct daemon *d = *state;
	struct vm *vm = make_card_vm(d, 0), *other = make_card_vm(d, 1);

	put_card(60 * MiB, 96 * MiB);
	put_number("quarantined_bytes", 24 * MiB);
	put_out(vm, 32, 1, 0);
	put_out(other, 16, 1, 0);
	round_run(d);
	assert_int_equal(vm->input.device_bytes, 32 * MiB);
	assert_int_equal(other->input.device_bytes, 16 * MiB);
	assert_int_equal(vm->input.device_upper, 60 * MiB);
	assert_int_equal(other->input.device_upper, 32 * MiB);
	/* Freed, and not yet forgotten by the card. */
	assert_int_equal(d->snapshot.tiers[0].used_other, 12 * MiB);
	assert_int_equal(other->input.ratio_q16, 65536);
}

static void a_card_that_says_nothing_takes_nothing_and_keeps_what_it_has(void **state)
{
	static const char *const states[] = { "stale\n", "evicting\n", "overrun\n" };
	struct daemon *d = *state;
	struct vm *vm = make_card_vm(d, 0);

	put_card(16 * MiB, 64 * MiB);
	put_out(vm, 32, 1, 0);
	for (size_t i = 0; i < ARRAY_SIZE(states); i++) {
		put(CARD "state", states[i]);
		round_run(d);
		pass_time(d);
		let_come_home(d);
		assert_int_equal(d->mover.out.n, 0);
		assert_int_equal(d->mover.home.n + d->mover.urgent.n, 0);
	}
	put(CARD "state", "normal\n");
	round_run(d);
	assert_int_equal(d->mover.out.n, 1);
}

static void a_card_that_is_taken_away_is_emptied(void **state)
{
	struct daemon *d = *state;
	struct vm *vm = make_card_vm(d, 0);

	put_card(16 * MiB, 64 * MiB);
	put_out(vm, 32, 1, 0);
	put(CARD "state", "offline\n");
	let_come_home(d);
	assert_int_equal(d->mover.out.n, 0);
	assert_int_equal(d->mover.urgent.n, 1);
	assert_int_equal(d->mover.urgent.jobs[0].bytes, 64 * MiB);
}

/* It stores more than VMs may fill: by itself, or since it was made smaller. */
static void a_card_that_fills_up_is_relieved_by_who_is_furthest_over_its_share(void **state)
{
	struct daemon *d = *state;
	struct vm *bad = make_card_vm(d, 0), *good = make_card_vm(d, 1);

	put_card(160 * MiB, 128 * MiB);
	put_out(bad, 32, 1, 0);
	put_out(good, 32, 1, 0);
	put_cgroup(0, "memory.cram.stat",
		   "sampled N1=256\nsampled_bytes N1=1048576\ndevice_bytes N1=67108864\n");
	put_cgroup(1, "memory.cram.stat",
		   "sampled N1=256\nsampled_bytes N1=262144\ndevice_bytes N1=16777216\n");
	put_number("physical_bytes", 150 * MiB);
	put(CARD "state", "evicting\n");
	let_come_home(d);
	/* 80 MiB are nobody's; 150 less reserve and a twentieth leave 58.5 to them. */
	assert_int_equal(d->mover.home.n, 0);
	assert_int_equal(d->mover.urgent.n, 1);
	assert_ptr_equal(d->mover.urgent.jobs[0].vm, bad);
	assert_in_range(d->mover.urgent.jobs[0].bytes, 21 * MiB, 22 * MiB);
	assert_int_equal(bad->action.state, CRAM_VM_OVER_SHARE);
	assert_int_equal(good->action.promote_bytes, 0);
}

/* Reports have stopped: what relief brings home would never show, and more and more would come. */
static void a_stale_card_that_is_over_budget_is_not_relieved_by_old_numbers(void **state)
{
	struct daemon *d = *state;
	struct vm *vm = make_card_vm(d, 0);
	struct cram_node_report report;

	put_card(80 * MiB, 64 * MiB);
	put_out(vm, 32, 1, 0);
	put_cgroup(0, "memory.cram.stat",
		   "sampled N1=256\nsampled_bytes N1=1048576\ndevice_bytes N1=67108864\n");
	put_number("physical_bytes", 60 * MiB);
	put(CARD "state", "stale\n");
	for (int i = 0; i < 3; i++) {
		let_come_home(d);
		assert_int_equal(d->mover.home.n + d->mover.urgent.n, 0);
		assert_int_equal(d->mover.out.n, 0);
		assert_int_not_equal(vm->action.state, CRAM_VM_OVER_SHARE);
	}
	report_node(d, 0, &report);
	assert_int_equal(report.budget, 0);
	/* As soon as they come, they count. */
	put(CARD "state", "normal\n");
	let_come_home(d);
	assert_int_equal(d->mover.urgent.n, 1);
}

/* Its rates have been spent by a drain, or the agent has just started: the kernel asks for none. */
static void a_card_that_fills_up_is_relieved_at_no_rate(void **state)
{
	struct daemon *d = *state;
	struct vm *drained = make_card_vm(d, 0), *vm = make_card_vm(d, 1);

	put_card(80 * MiB, 128 * MiB);
	put_out(drained, 32, 1, 0);
	put_out(vm, 32, 1, 0);
	put_cgroup(0, "memory.cram.stat",
		   "sampled N1=256\nsampled_bytes N1=262144\ndevice_bytes N1=16777216\n");
	put_cgroup(1, "memory.cram.stat",
		   "sampled N1=256\nsampled_bytes N1=1048576\ndevice_bytes N1=67108864\n");
	drained->drain = true;
	round_run(d);
	assert_int_equal(d->mover.home.n + d->mover.urgent.n, 0);
	/* Less reserve and a twentieth that leaves 72 MiB: 8 too much, of 32 of the one who goes.
	 */
	put_number("physical_bytes", 80 * MiB);
	round_run(d);
	assert_int_equal(d->mover.home.n, 0);
	assert_int_equal(d->mover.urgent.n, 1);
	assert_ptr_equal(d->mover.urgent.jobs[0].vm, drained);
	assert_int_equal(d->mover.urgent.jobs[0].bytes, 32 * MiB);
}

/* The thread was faster than the round, and its job has ended before the round's is ordered. */
static void what_is_relieved_during_a_round_is_not_ordered_twice(void **state)
{
	struct daemon *d = *state;
	struct vm *vm = make_card_vm(d, 0);

	put_card(64 * MiB, 128 * MiB);
	put_out(vm, 32, 1, 0);
	put_number("physical_bytes", 40 * MiB);
	put(CARD "state", "evicting\n");
	round_run(d);
	assert_int_equal(d->mover.urgent.n, 1);
	/* As after another one's, since this snapshot. */
	atomic_store(&vm->busy, 0);
	assert_int_equal(dispatch_work(&d->dispatch, &d->mover, &d->relief, &d->backpressure,
				       &d->host, &d->conf.host, &d->snapshot, &d->decision),
			 0);
	assert_int_equal(d->mover.urgent.n, 1);
	round_run(d);
	assert_int_equal(d->mover.urgent.n, 2);
}

/* Looks at cards when the next round is late. */
static void look_late(struct daemon *d)
{
	backpressure_look(&d->backpressure,
			  monotonic_ms() + d->conf.host.round_ms + BACKPRESSURE_ROUND_WAIT_MS);
}

/*
 * Its RAM is one block at home on node 0, which has more room, and one on node 2, which alone has
 * anything out. No round comes when the card fills up.
 */
static void without_a_round_each_block_comes_home_to_its_own_home(void **state)
{
	struct daemon *d = *state;
	struct vm *vm = make_card_vm(d, 0);

	put_card(80 * MiB, 64 * MiB);
	put("/sys/devices/system/node/online", "0-2\n");
	put("/sys/devices/system/node/has_memory", "0,2\n");
	put("/sys/devices/system/node/has_cpu", "0,2\n");
	put("/sys/devices/system/node/node2/meminfo",
	    "Node 2 MemTotal: 16777216 kB\nNode 2 MemFree: 3145728 kB\n");
	put("/sys/devices/system/node/node0/distance", "10 20 20\n");
	put("/sys/devices/system/node/node1/distance", "20 10 20\n");
	put("/sys/devices/system/node/node2/distance", "20 20 10\n");
	vm->mems_allowed = 7;
	vm->home_nodes = 1U << 0 | 1U << 2;
	vm->blocks.n = 2;
	vm->first[1] = RANGES / 2;
	vm->block_homes[0] = 1U << 0;
	vm->block_homes[1] = 1U << 2;
	put_out(vm, RANGES, 1, 0);
	for (size_t i = 0; i < RANGES / 2; i++)
		vm->ranges.v[i].tier_pages = 0;
	vm->node_bytes[1] = VM_RAM / 2;
	put_cgroup(0, "memory.cram.stat",
		   "sampled N1=256\nsampled_bytes N1=1310720\ndevice_bytes N1=83886080\n");
	round_run(d);
	assert_int_equal(d->mover.urgent.n, 0);
	put_number("physical_bytes", 60 * MiB);
	look_late(d);
	assert_int_equal(d->mover.urgent.n, 1);
	assert_int_equal(d->mover.urgent.jobs[0].kind, VM_JOB_RELIEVE);
	assert_int_equal(d->mover.urgent.jobs[0].nid, 2);
	assert_true(vm->block_returns[1] & UINT64_C(1) << d->mover.urgent.jobs[0].nid);
}

/* 80 MiB of the card that VMs may fill 53 of. */
static struct vm *put_too_much(struct daemon *d)
{
	struct vm *vm = make_card_vm(d, 0);

	host_set_settings(&d->host, &d->conf.host);
	put_card(80 * MiB, VM_RAM);
	put_out(vm, RANGES, 1, 0);
	put_cgroup(0, "memory.cram.stat",
		   "sampled N1=256\nsampled_bytes N1=655360\ndevice_bytes N1=83886080\n");
	put_number("physical_bytes", 60 * MiB);
	return vm;
}

/* No mover has anything left of it, and the next round is late. */
static void without_a_round_what_the_last_one_ordered_is_not_ordered_again(void **state)
{
	struct daemon *d = *state;
	struct vm *vm = put_too_much(d);
	const struct mover_job *jobs = d->mover.urgent.jobs;

	round_run(d);
	assert_int_equal(d->mover.urgent.n, 1);
	assert_in_range(jobs[0].bytes, 43 * MiB, 44 * MiB);
	atomic_store(&vm->busy, 0);
	look_late(d);
	assert_int_equal(d->mover.urgent.n, 1);
	/* It shrinks again: what is too much in all is half of what is there. */
	put_number("physical_bytes", (40 + 4) * MiB * 20 / 19 + 1);
	look_late(d);
	assert_int_equal(d->mover.urgent.n, 2);
	assert_in_range(jobs[0].bytes + jobs[1].bytes, VM_RAM / 2 - MiB, VM_RAM / 2 + MiB);
}

/* Nor do two orders share the same DRAM above headroom. */
static void without_a_round_the_last_ones_room_is_not_used_again(void **state)
{
	struct daemon *d = *state;
	struct vm *vm = put_too_much(d);
	char text[96];

	put_number("physical_bytes", 256 * MiB);
	round_run(d);
	assert_int_equal(d->mover.urgent.n, 0);
	snprintf(text, sizeof(text),
		 "Node 0 MemTotal: 16777216 kB\nNode 0 MemFree: %" PRIu64 " kB\n",
		 (d->decision.headroom[0] + 30 * MiB) >> 10);
	put("/sys/devices/system/node/node0/meminfo", text);
	put_number("physical_bytes", 60 * MiB);
	round_run(d);
	assert_int_equal(d->mover.urgent.n, 1);
	assert_in_range(d->mover.urgent.jobs[0].bytes, 30 * MiB - PAGE_BYTES, 30 * MiB);
	atomic_store(&vm->busy, 0);
	look_late(d);
	assert_int_equal(d->mover.urgent.n, 1);
}

/*
 * The agent was restarted. VMs may fill 100 MiB of the card, which stores 120; @device bytes are of
 * the first one that it finds.
 */
static struct vm *put_restarted(struct daemon *d, const char *device)
{
	struct vm *vm = make_card_vm(d, 0);
	char stat[96];

	host_set_settings(&d->host, &d->conf.host);
	d->started_ms = monotonic_ms();
	d->unlisted = true;
	put_card(120 * MiB, 2 * VM_RAM);
	put_number("physical_bytes", (100 + 4) * MiB * 20 / 19 + 1);
	put_out(vm, RANGES, 1, 0);
	snprintf(stat, sizeof(stat),
		 "sampled N1=256\nsampled_bytes N1=655360\ndevice_bytes N1=%s\n", device);
	put_cgroup(0, "memory.cram.stat", stat);
	return vm;
}

/* What is nobody's yet may be of those that take most. */
static void after_a_restart_nobody_gives_back_for_who_is_yet_to_be_found(void **state)
{
	struct daemon *d = *state;
	struct vm *other;

	put_restarted(d, "47185920");
	round_run(d);
	look_late(d);
	assert_int_equal(d->mover.urgent.n, 0);
	/* libvirt has told of all, and one is still being examined. */
	d->unlisted = false;
	assert_int_equal(array_push(&d->candidates, (struct daemon_candidate){ .pid = 1001 }), 0);
	round_run(d);
	look_late(d);
	assert_int_equal(d->mover.urgent.n, 0);
	d->candidates.n = 0;
	other = make_card_vm(d, 1);
	put_out(other, RANGES, 1, 0);
	put_cgroup(1, "memory.cram.stat",
		   "sampled N1=256\nsampled_bytes N1=655360\ndevice_bytes N1=78643200\n");
	round_run(d);
	assert_int_equal(d->mover.urgent.n, 1);
	assert_ptr_equal(d->mover.urgent.jobs[0].vm, other);
	/* 20 of 75 MiB. */
	assert_in_range(d->mover.urgent.jobs[0].bytes, VM_RAM / 75 * 20 - MiB,
			VM_RAM / 75 * 20 + MiB);
}

/* But what those that were found have too much by themselves. */
static void after_a_restart_who_has_too_much_alone_gives_back_at_once(void **state)
{
	struct daemon *d = *state;

	put_restarted(d, "115343360");
	round_run(d);
	assert_int_equal(d->mover.urgent.n, 1);
	/* 10 of 110 MiB. */
	assert_in_range(d->mover.urgent.jobs[0].bytes, VM_RAM / 110 * 10 - MiB,
			VM_RAM / 110 * 10 + MiB);
}

/* libvirt may be stuck. */
static void after_a_restart_nobody_is_waited_for_for_long(void **state)
{
	struct daemon *d = *state;

	put_restarted(d, "47185920");
	d->started_ms = 1;
	round_run(d);
	assert_int_equal(d->mover.urgent.n, 1);
	/* 20 of 45 MiB. */
	assert_in_range(d->mover.urgent.jobs[0].bytes, VM_RAM / 45 * 20 - MiB,
			VM_RAM / 45 * 20 + MiB);
}

/* A disk of 1 GiB that is half used, and a zram that is empty; the higher priority is filled first.
 */
static void put_swap(const char *disk, const char *zram)
{
	char text[256];

	put("/proc/meminfo", "MemTotal: 16777216 kB\nSwapTotal: 1310720 kB\nSwapFree: 786432 kB\n");
	snprintf(text, sizeof(text),
		 "Filename Type Size Used Priority\n/dev/zram0 partition 262144 0 %s\n"
		 "/dev/sda2 partition 1048576 524288 %s\n",
		 zram, disk);
	put("/proc/swaps", text);
}

/* A VM that a card has too much of, no DRAM above headroom, and a disk for swap. */
static struct vm *put_without_room(struct daemon *d)
{
	struct vm *vm = make_card_vm(d, 0);

	put_card(80 * MiB, 64 * MiB);
	put("/sys/devices/system/node/node0/meminfo",
	    "Node 0 MemTotal: 16777216 kB\nNode 0 MemFree: 0 kB\n");
	put_swap("-2", "-3");
	put_out(vm, RANGES, 1, 0);
	put_cgroup(0, "memory.cram.stat",
		   "sampled N1=256\nsampled_bytes N1=1310720\ndevice_bytes N1=83886080\n");
	put_number("physical_bytes", 60 * MiB);
	return vm;
}

/* No DRAM above headroom: whose memory is idle on the card, and too much, has it go to swap. */
static void what_has_no_room_at_home_goes_to_swap_if_it_may(void **state)
{
	struct daemon *d = *state;

	put_without_room(d);
	put_cgroup(0, "memory.cram.current", "67108864\n");
	round_run(d);
	assert_int_equal(d->mover.shed.n, 0);
	d->conf.host.relief_swap = CRAM_YES;
	round_run(d);
	/* What is on zram would be DRAM again. */
	assert_int_equal(d->snapshot.view.swap_room, 512 * MiB);
	assert_int_equal(d->mover.urgent.n, 0);
	assert_int_equal(d->mover.shed.n, 1);
	assert_int_equal(d->mover.shed.jobs[0].kind, VM_JOB_SHED);
	assert_int_equal(d->mover.shed.jobs[0].nid, NODE_SWAP);
	/* At least 23 of 80 MiB of the card, which hold 64 MiB. */
	assert_true(d->mover.shed.jobs[0].bytes >= 23 * MiB / 5 * 4);
}

/* Nor is the same part of a disk used twice. */
static void without_a_round_no_swap_is_used_again(void **state)
{
	struct daemon *d = *state;
	struct vm *vm = put_without_room(d);

	put_cgroup(0, "memory.cram.current", "67108864\n");
	d->conf.host.relief_swap = CRAM_YES;
	put("/proc/swaps", "Filename Type Size Used Priority\n"
			   "/dev/sda2 partition 1048576 1040384 -2\n");
	round_run(d);
	assert_int_equal(d->mover.shed.n, 1);
	assert_int_equal(d->mover.shed.jobs[0].bytes, 8 * MiB);
	atomic_store(&vm->busy, 0);
	look_late(d);
	assert_int_equal(d->mover.shed.n, 1);
}

/* It is not its host's yet: with a round or without one, it stays as it is. */
static void a_vm_that_is_migrated_in_is_left_alone(void **state)
{
	struct daemon *d = *state;
	struct vm *vm = put_without_room(d);

	put_cgroup(0, "memory.cram.current", "67108864\n");
	d->conf.host.relief_swap = CRAM_YES;
	vm->incoming = true;
	round_run(d);
	look_late(d);
	put("/sys/devices/system/node/node0/meminfo",
	    "Node 0 MemTotal: 16777216 kB\nNode 0 MemFree: 4194304 kB\n");
	round_run(d);
	look_late(d);
	assert_int_equal(d->mover.urgent.n + d->mover.home.n, 0);
	assert_int_equal(d->mover.shed.n, 0);
	vm->incoming = false;
	round_run(d);
	assert_int_equal(d->mover.urgent.n, 1);
}

/* Each for a reason of its own: nothing is moved, and the kernel finds a place. */
static void who_may_not_swap_or_cannot_does_not(void **state)
{
	struct daemon *d = *state;
	struct vm *vm = put_without_room(d);

	d->conf.host.relief_swap = CRAM_YES;
	/* Nobody can tell afterwards whether it is off the card. */
	round_run(d);
	assert_int_equal(d->mover.shed.n, 0);
	put_cgroup(0, "memory.cram.current", "67108864\n");
	put_cgroup(0, "memory.swap.max", "0\n");
	round_run(d);
	assert_int_equal(d->mover.shed.n, 0);
	put_cgroup(0, "memory.swap.max", "max\n");
	/* zram comes first, or as soon. */
	put_swap("-2", "-2");
	round_run(d);
	assert_int_equal(d->mover.shed.n, 0);
	put_swap("-2", "-3");
	put("/sys/module/zswap/parameters/enabled", "Y\n");
	round_run(d);
	assert_int_equal(d->mover.shed.n, 0);
	put("/sys/module/zswap/parameters/enabled", "N\n");
	/* What swap is the tier of, or was, is counted there already. */
	atomic_store(&vm->on_swap, true);
	round_run(d);
	assert_int_equal(d->mover.shed.n, 0);
	atomic_store(&vm->on_swap, false);
	/* A drained one is wanted home, whatever the card has too much. */
	vm->drain = true;
	round_run(d);
	assert_int_equal(d->mover.shed.n, 0);
	vm->drain = false;
	round_run(d);
	assert_int_equal(d->mover.shed.n, 1);
}

/* Its node of DRAM was taken offline: with a round or without one, it comes home to any. */
static void without_a_home_and_a_round_memory_comes_home_all_the_same(void **state)
{
	struct daemon *d = *state;
	struct vm *vm = make_card_vm(d, 0);

	put_card(80 * MiB, 64 * MiB);
	vm->home_nodes = 1U << 5;
	vm->block_homes[0] = 1U << 5;
	put_out(vm, RANGES, 1, 0);
	put_cgroup(0, "memory.cram.stat",
		   "sampled N1=256\nsampled_bytes N1=1310720\ndevice_bytes N1=83886080\n");
	round_run(d);
	assert_int_equal(d->mover.urgent.n, 0);
	assert_int_equal(daemon_missing(d, vm, MiB), 0);
	put_number("physical_bytes", 60 * MiB);
	look_late(d);
	assert_int_equal(d->mover.urgent.n, 1);
	assert_int_equal(d->mover.urgent.jobs[0].nid, 0);
}

static void a_card_that_cannot_be_read_is_as_it_was(void **state)
{
	struct daemon *d = *state;
	struct vm *vm = make_card_vm(d, 0);

	put_card(16 * MiB, 64 * MiB);
	put_out(vm, 32, 1, 0);
	round_run(d);
	put(CARD "stored_bytes", "\n");
	let_come_home(d);
	assert_int_equal(d->snapshot.n_tiers, 1);
	assert_int_equal(d->snapshot.cards[0].stored, 16 * MiB);
	assert_int_equal(d->mover.home.n, 0);
	/* Nor does memory come home if it never could be. */
	d->snapshot.card_nid[0] = 0;
	let_come_home(d);
	assert_int_equal(d->mover.home.n, 0);
	assert_false(d->snapshot.tiers[0].accepting);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_card, drop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(all_of_a_card_is_read),
		TEST(what_is_no_card_or_makes_no_sense_is_not_taken),
		TEST(numbers_of_one_report_only),
		TEST(a_card_is_a_tier_and_its_memory_no_dram),
		TEST(a_private_node_of_somebody_elses_is_neither),
		TEST(a_card_whose_node_grows_is_not_asked_again),
		TEST(room_is_given_before_memory_goes_there),
		TEST(the_kernel_is_told_before_any_mover_is),
		TEST(where_no_room_can_be_given_nothing_goes),
		TEST(who_may_have_nothing_there_has_no_room),
		TEST(what_is_measured_decides_what_a_vm_takes),
		TEST(what_is_not_measured_counts_as_alike_and_at_most_at_worst),
		TEST(a_card_that_says_nothing_takes_nothing_and_keeps_what_it_has),
		TEST(a_card_that_is_taken_away_is_emptied),
		TEST(a_card_that_fills_up_is_relieved_by_who_is_furthest_over_its_share),
		TEST(a_stale_card_that_is_over_budget_is_not_relieved_by_old_numbers),
		TEST(what_is_relieved_during_a_round_is_not_ordered_twice),
		TEST(a_card_that_fills_up_is_relieved_at_no_rate),
		TEST(without_a_round_what_the_last_one_ordered_is_not_ordered_again),
		TEST(without_a_round_the_last_ones_room_is_not_used_again),
		TEST(without_a_round_each_block_comes_home_to_its_own_home),
		TEST(after_a_restart_nobody_gives_back_for_who_is_yet_to_be_found),
		TEST(after_a_restart_who_has_too_much_alone_gives_back_at_once),
		TEST(after_a_restart_nobody_is_waited_for_for_long),
		TEST(what_has_no_room_at_home_goes_to_swap_if_it_may),
		TEST(without_a_round_no_swap_is_used_again),
		TEST(a_vm_that_is_migrated_in_is_left_alone),
		TEST(who_may_not_swap_or_cannot_does_not),
		TEST(without_a_home_and_a_round_memory_comes_home_all_the_same),
		TEST(a_card_that_cannot_be_read_is_as_it_was),
	};

	return cmocka_run_group_tests_name("card", tests, NULL, NULL);
}
