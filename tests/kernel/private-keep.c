/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The owner of a private node keeps its free frames and gives them out as it sees fit:
 * what is given can be had, all of it and nothing else; nobody writes to a frame that is
 * not in use; a full node makes nobody reclaim; and the owner hears whose pages are there.
 */
#include "private-node.h"

#include <errno.h>
#include <linux/kernel-page-flags.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define LENGTH (16UL << 20)
#define PAGES  (LENGTH / PAGE)
#define CLOSED (NP_OPS_MIGRATION | NP_OPS_MEMPOLICY | NP_OPS_PROTECT_WRITE)
#define OPEN   (CLOSED | NP_OPS_DEMOTION | NP_OPS_RECLAIM)

static unsigned long all_pages(void)
{
	return card_size() / PAGE;
}

static bool all_kept(void)
{
	/* Looks into what is on its way to be free. */
	return used_pages(CARD) == 0 && npt_stats(CARD).kept == all_pages() &&
	       managed_pages(CARD) == 0;
}

static void remove_card(void)
{
	int rc = npt_range(NPT_REMOVE, CARD, 0);

	need(rc == 0, "the node's memory can be removed: %s", strerror(-rc));
	need(npt_range(NPT_UNREGISTER, CARD, 0) == 0, "the node can be unregistered");
	need(npt_range(NPT_RESTORE, CARD, 0) == 0, "and be ordinary memory");
}

/* Other operations for the same memory. */
static void set_ops(struct npt_ops ops)
{
	int rc;

	ops.nid = CARD;
	npt_ops(NPT_CLEAR_OPS, &ops);
	rc = npt_ops(NPT_SET_OPS, &ops);
	need(rc == 0, "operations %#x: %s", ops.flags, strerror(-rc));
}

/* Back to where a test starts: all is kept, and the node is open. */
static void keep_all(const char *when)
{
	struct npt_alloc rest = { .nid = CARD, .how = NPT_PRIVATE, .count = all_pages() };

	/* Taking back is allocating, and freeing again. */
	need(npt_alloc(&rest) == 0 && npt_free() == 0, "pages are taken back");
	ok(all_kept(), "all is kept again after %s (%u of %lu pages, %ld managed)", when,
	   npt_stats(CARD).kept, all_pages(), managed_pages(CARD));
	set_ops((struct npt_ops){ .flags = OPEN, .keep = 1, .accept = -1 });
}

static unsigned int allocate(unsigned int how, unsigned int order, unsigned int count)
{
	struct npt_alloc a = { .nid = CARD, .how = how, .order = order, .count = count };

	need(npt_alloc(&a) == 0, "allocation");
	return a.ret_count;
}

static char *small_at_home(size_t length)
{
	char *memory = map_anonymous(length);

	madvise(memory, length, MADV_NOHUGEPAGE);
	fill(memory, length, 5);
	return memory;
}

/* The rules */

static void comes_with_the_memory(void)
{
	struct npt_ops ops = { .nid = CARD, .flags = OPEN & ~NP_OPS_PROTECT_WRITE, .accept = -1 };

	card_private();
	ops.keep = 1;
	ok(npt_ops(NPT_SET_OPS, &ops) == -EBUSY,
	   "an owner cannot begin to keep what is free of memory that is online");
	need(npt_range(NPT_REMOVE, CARD, 0) == 0 && npt_range(NPT_REGISTER, CARD, 0) == 0,
	     "the memory goes");
	ops.keep_free = 1;
	ok(npt_ops(NPT_SET_OPS, &ops) == -EINVAL, "nor does a kswapd keep pages free there");
	ops.keep_free = 0;
	need(npt_ops(NPT_SET_OPS, &ops) == 0 && npt_range(NPT_ADD, CARD, 0) == 0,
	     "a node whose owner keeps frames");
	ops.keep = 0;
	need(npt_ops(NPT_CLEAR_OPS, &ops) == 0, "no operations");
	ok(npt_ops(NPT_SET_OPS, &ops) == -EBUSY, "nor can it cease to");
	remove_card();
}

static void kept_at_online(void)
{
	ok(all_kept(), "all of it is kept when it comes online (%u of %lu pages)",
	   npt_stats(CARD).kept, all_pages());
	ok(allocate(NPT_PRIVATE, 0, 1) == 0, "and nobody gets any");
	ok(zone_number(CARD, "min") == 0 && zone_number(CARD, "low") == 0 &&
		   zone_number(CARD, "high") == 0,
	   "the zone has no watermarks");
}

/* Runs on one processor, or on any if it is negative. */
static void run_on(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	for (int i = 0; i < 2; i++)
		if (cpu < 0 || cpu == i)
			CPU_SET(i, &set);
	need(sched_setaffinity(0, sizeof(set), &set) == 0, "processor %d: %m", cpu);
}

static void all_that_is_given(void)
{
	unsigned int got;

	need(npt_give(CARD, 0, 1000) == 1000, "1000 pages");
	ok(managed_pages(CARD) == 1000 && npt_stats(CARD).kept == all_pages() - 1000,
	   "what is given is the zone's (%ld pages)", managed_pages(CARD));
	run_on(0);
	got = allocate(NPT_PRIVATE, 0, 1);
	run_on(1);
	got += allocate(NPT_PRIVATE, 0, 2000);
	run_on(-1);
	ok(got == 1000, "all pages that are given can be had, by any processor (%u)", got);
	need(npt_free() == 0, "free");

	keep_all("pages");
	need(npt_give(CARD, 9, 1) == 1, "a huge page");
	got = allocate(NPT_PRIVATE_KERNEL, 9, 2);
	ok(got == 1, "a huge page as well, with nothing beside it (%u)", got);
	need(npt_free() == 0, "free");

	keep_all("huge pages");
	need(npt_give(CARD, 9, 256) == 256, "all the node");
	got = allocate(NPT_PRIVATE_ATOMIC, 3, all_pages());
	ok(got == all_pages() >> 3, "all the node in higher orders (%u blocks)", got);
	need(npt_free() == 0 && npt_give(CARD, 9, 256) == 256, "all the node again");
	got = allocate(NPT_PRIVATE, 0, all_pages());
	ok(got == all_pages(), "of which nothing was set aside for those in need (%u)", got);
	need(npt_free() == 0, "free");
	keep_all("higher orders");
}

/* What is in the frames */

/* Was the kernel told to write to what is free, or what is allocated? */
static bool kernel_writes(void)
{
	char *options = read_file("/proc/cmdline");

	return strstr(options, "init_on_free=1") || strstr(options, "page_poison=1");
}

/* Frames whose contents changed when their pages were freed. */
static uint64_t changed_by_free(char *memory, size_t length)
{
	uint64_t before = npt_frames(CARD).ret_changed;

	munmap(memory, length);
	used_pages(CARD);
	return npt_frames(CARD).ret_changed - before;
}

static void frames_are_let_be(void)
{
	struct npt_alloc a = { .nid = CARD, .how = NPT_PRIVATE, .count = PAGES };
	const uint64_t before = npt_frames(CARD).ret_changed;
	uint64_t changed;
	char *memory;

	need(npt_give(CARD, 9, LENGTH / HUGE) == LENGTH / HUGE, "frames");
	changed = changed_by_free(huge_on(CARD, LENGTH), LENGTH);
	ok(changed == 0, "nobody writes to a huge page that is freed (%lu)", changed);
	/* The same frames: those with the lowest numbers. */
	need(npt_give(CARD, 0, PAGES) == PAGES, "frames");
	memory = small_on(CARD, LENGTH);
	changed = changed_by_free(memory, LENGTH);
	ok(changed == 0, "nor to small ones (%lu)", changed);

	need(npt_give(CARD, 0, PAGES) == PAGES, "frames");
	need(npt_alloc(&a) == 0 && a.ret_count == PAGES, "allocation");
	ok(a.ret_zero == 0, "nor when it is allocated (%u zeroed)", a.ret_zero);
	changed = npt_frames(CARD).ret_changed - before;
	ok(changed == 0, "nor at any other time (%lu)", changed);
	need(npt_free() == 0, "free");
	need(npt_give(CARD, 0, PAGES) == PAGES, "frames");
	a.how = NPT_PRIVATE_ZERO;
	need(npt_alloc(&a) == 0 && a.ret_count == PAGES, "allocation");
	ok(a.ret_zero == PAGES, "but who asks for zeroed pages gets them (%u)", a.ret_zero);
	need(npt_free() == 0, "free");
	keep_all("frames were filled");
}

/* Where no owner keeps what is free. */
static void frames_elsewhere_are_written(void)
{
	uint64_t changed;
	char *memory;

	if (!kernel_writes())
		return;
	card_private_with(CLOSED);
	memory = small_on(CARD, LENGTH);
	changed = changed_by_free(memory, LENGTH);
	ok(changed == PAGES, "this kernel writes to pages that are freed elsewhere (%lu)", changed);
	remove_card();
}

/* A node that is full */

static void full_is_full(void)
{
	char *memory;
	size_t there;

	need(npt_give(CARD, 0, PAGES) == PAGES, "pages");
	enter_cgroup("keep");
	memory = small_on(CARD, LENGTH);
	leave_cgroup();
	ok(allocate(NPT_PRIVATE_KERNEL, 0, 1) == 0 && allocate(NPT_PRIVATE_ATOMIC, 0, 1) == 0,
	   "a full node has nothing to give");
	sleep(2);
	there = pages_on(memory, LENGTH, CARD);
	ok(there == PAGES, "and what it has stays (%zu of %lu pages)", there, PAGES);
	ok(!thread_runs("kswapd2"), "there is no kswapd to make room");
	need(write_cgroup("keep", "memory.reclaim", "8M") == 0, "memory.reclaim");
	there = pages_on(memory, LENGTH, CARD);
	ok(there < PAGES, "its cgroup's reclaim can swap it (%zu of %lu pages left)", there, PAGES);
	/* The frames of the rest are not free for that. */
	ok(allocate(NPT_PRIVATE_KERNEL, 0, 1) == 0 && npt_stats(CARD).kept == all_pages() - there,
	   "and the owner has the frames (%u kept)", npt_stats(CARD).kept);
	ok(filled(memory, LENGTH, 5), "nothing is lost");
	munmap(memory, LENGTH);
	keep_all("reclaim");
}

static void full_is_no_target(void)
{
	uint64_t asked = npt_stats(CARD).migrate_to;
	char *memory;
	size_t left, there;
	long rc;

	demotion(true);
	enter_cgroup("demoted");
	memory = small_at_home(LENGTH);
	leave_cgroup();
	rc = write_cgroup("demoted", "memory.reclaim", "8M");
	left = pages_on(memory, LENGTH, HOME) + pages_on(memory, LENGTH, OTHER);
	ok(rc == 0 && left <= PAGES / 2 && npt_stats(CARD).migrate_to == asked,
	   "nothing is demoted to a full node, it is swapped: %s (%zu pages left)",
	   strerror((int)-rc), left);
	need(npt_give(CARD, 0, 512) == 512, "pages");
	rc = write_cgroup("demoted", "memory.reclaim", "4M");
	there = pages_on(memory, LENGTH, CARD);
	ok(rc == 0 && there > 0 && there <= 512, "what is given fills: %s (%zu of 512 pages)",
	   strerror((int)-rc), there);
	ok(filled(memory, LENGTH, 5), "nothing is lost");
	munmap(memory, LENGTH);
	demotion(false);
	keep_all("demotion");
}

/* With pages enough, but no whole block. */
static void whole_or_not_at_all(void)
{
	char *memory = map_huge(2 * HUGE);
	size_t there;
	long rc;

	fill(memory, 2 * HUGE, 5);
	need(frame_is(frame_of(memory), KPF_THP), "huge pages");
	/* Between two halves of a huge page that are free, at least a page is not. */
	for (unsigned int i = 0; i < 4; i++) {
		const unsigned int held = i ? 256 : 1;

		need(npt_give(CARD, 0, held) == held && allocate(NPT_PRIVATE, 0, held) == held &&
			     npt_give(CARD, 8, 1) == 1,
		     "half a huge page");
	}
	set_ops((struct npt_ops){ .flags = OPEN, .keep = 1, .accept = -1, .how = NPT_WHOLE });
	rc = move_to(memory, 2 * HUGE, CARD);
	there = pages_on(memory, 2 * HUGE, CARD);
	ok(rc != 0 && there == 0 && frame_is(frame_of(memory), KPF_THP),
	   "an owner can take huge pages whole or not at all (%ld, %zu pages moved)", rc, there);
	set_ops((struct npt_ops){ .flags = OPEN, .keep = 1, .accept = -1 });
	move_to(memory, 2 * HUGE, CARD);
	there = pages_on(memory, 2 * HUGE, CARD);
	ok(there > 0, "otherwise they are split (%zu pages moved)", there);
	ok(filled(memory, 2 * HUGE, 5), "nothing is lost");
	munmap(memory, 2 * HUGE);
	need(npt_free() == 0, "free");
	keep_all("splits");
}

/* A share of all memory, 1000 times, that a process of 200 MiB is. */
static long score(void)
{
	return strtol(read_file("/proc/self/oom_score"), NULL, 10);
}

static void kept_is_no_memory(void)
{
	const size_t length = 200UL << 20;
	char *memory = small_at_home(length);
	long without, kept, given;

	without = score();
	set_ops((struct npt_ops){ .flags = OPEN | NP_OPS_OOM, .keep = 1, .accept = -1 });
	kept = score();
	need(npt_give(CARD, 9, 256) == 256, "all the node");
	given = score();
	ok(kept == without && given < kept,
	   "the OOM killer counts what is given, not what is kept (%ld, %ld, %ld)", without, kept,
	   given);
	munmap(memory, length);
	keep_all("the OOM killer looked");
}

/* Whose pages are there */

static void charged(const char *when, size_t pages)
{
	long there = npt_stats(CARD).charged;

	ok(there == (long)pages, "%s: what is there is charged (%ld of %zu pages)", when, there,
	   pages);
}

static void charges_are_told(char *(*memory_on)(int nid, size_t length), const char *what)
{
	char *memory, *shared;
	size_t there;

	need(npt_give(CARD, 9, 20) == 20, "frames");
	enter_cgroup("keep");
	memory = memory_on(CARD, LENGTH);
	shared = map_shared(LENGTH, NULL);
	fill(shared, LENGTH, 5);
	need(move_to(shared, LENGTH, CARD) == 0, "shared memory");
	leave_cgroup();
	charged(what, 2 * PAGES);
	memory[0]++;
	memory[LENGTH - 1]++;
	shared[0]++;
	there = pages_on(memory, LENGTH, CARD) + pages_on(shared, LENGTH, CARD);
	need(there < 2 * PAGES, "what is written goes home");
	charged("after writes", there);
	write_cgroup("keep", "memory.reclaim", "4M");
	there = pages_on(memory, LENGTH, CARD) + pages_on(shared, LENGTH, CARD);
	charged("after reclaim", there);
	need(move_to(memory, LENGTH, HOME) >= 0, "pages go home");
	there = pages_on(memory, LENGTH, CARD) + pages_on(shared, LENGTH, CARD);
	charged("after going home", there);
	munmap(memory, LENGTH);
	munmap(shared, LENGTH);
	used_pages(CARD);
	charged("after exit", 0);
	keep_all("charges");
}

/* Memory that fails, or goes */

static void kept_pages_fail(void)
{
	uint64_t frame, told = npt_stats(CARD).memory_failure;
	unsigned int got;
	char *memory;
	int rc;

	need(npt_give(CARD, 0, 64) == 64, "pages");
	memory = small_on(CARD, 64 * PAGE);
	frame = frame_of(memory + 5 * PAGE);
	munmap(memory, 64 * PAGE);
	need(all_kept() && frame_is(frame, KPF_OFFLINE), "a frame that the owner keeps");
	rc = corrupt_frame(frame);
	ok(rc == -EBUSY && npt_stats(CARD).memory_failure == told + 1 &&
		   frame_is(frame, KPF_HWPOISON),
	   "a page that the owner keeps fails: %s; memory_failure is told", strerror(-rc));
	need(npt_give(CARD, 0, 64) == 64, "pages");
	ok(used_pages(CARD) == 1, "it is not free when the owner gives it (%ld used)",
	   used_pages(CARD));
	got = allocate(NPT_PRIVATE, 0, 64);
	ok(got == 63, "nor given to anybody (%u of the others)", got);
	need(npt_free() == 0, "free");
}

static void kept_pages_go(void)
{
	const uint64_t block = memory_block_bytes();
	char path[96], *memory;
	int off, on;

	need(npt_give(CARD, 0, PAGES) == PAGES, "pages");
	memory = small_on(CARD, LENGTH);
	if (blocks_by_sysfs()) {
		snprintf(path, sizeof(path), "/sys/devices/system/memory/memory%lu/state",
			 card_start() / block);
		off = write_file(path, "offline");
		ok(off == 0 && npt_stats(CARD).kept == all_pages() - block / PAGE,
		   "root can take memory offline of which pages are kept: %s (%u kept)",
		   strerror(-off), npt_stats(CARD).kept);
		ok(pages_on(memory, LENGTH, CARD) == 0 && filled(memory, LENGTH, 5),
		   "pages of it that were in use have gone home");
		on = write_file(path, "online");
		ok(on == 0 && all_kept(), "and all of it is kept when it comes back: %s (%u)",
		   strerror(-on), npt_stats(CARD).kept);
	}
	munmap(memory, LENGTH);
	need(npt_give(CARD, 0, PAGES) == PAGES, "pages");
	memory = small_on(CARD, LENGTH);
	remove_card();
	ok(pages_on(memory, LENGTH, CARD) == 0 && filled(memory, LENGTH, 5),
	   "a node of which pages are kept can go while it is used");
	munmap(memory, LENGTH);
	ok(npt_stats(CARD).kept == 0, "and nothing of it is kept then");
	card_keeping(OPEN);
	ok(all_kept(), "added again, all of it is kept (%u pages)", npt_stats(CARD).kept);
}

int main(void)
{
	swap_on("256M");
	comes_with_the_memory();
	frames_elsewhere_are_written();

	card_keeping(OPEN);
	kept_at_online();
	all_that_is_given();
	frames_are_let_be();
	full_is_full();
	full_is_no_target();
	whole_or_not_at_all();
	kept_is_no_memory();
	charges_are_told(small_on, "small and shared pages");
	charges_are_told(huge_on, "huge and shared pages");
	kept_pages_go();
	kept_pages_fail();
	return done();
}
