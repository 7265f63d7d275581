/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What mm services do to pages on a private node that is open to migration and
 * memory policies only: nothing, beside a control on ordinary memory for which
 * they do act.
 */
#include "private-node.h"

#include <errno.h>
#include <linux/io_uring.h>
#include <linux/kernel-page-flags.h>
#include <numaif.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef MADV_SOFT_OFFLINE
#define MADV_SOFT_OFFLINE 101
#endif

#define LENGTH (64 * PAGE)

/* Memory filled from a seed, all of it on a node. */
static char *memory_on(int nid, size_t length, int (*advice)(void *, size_t))
{
	char *memory = map_anonymous(length);

	if (advice)
		need(advice(memory, length) == 0, "madvise: %m");
	fill(memory, length, 5);
	need(move_to(memory, length, nid) == 0 && pages_on(memory, length, nid) == length / PAGE,
	     "memory on node %d", nid);
	return memory;
}

static int small_pages(void *memory, size_t length)
{
	return madvise(memory, length, MADV_NOHUGEPAGE);
}

/* What of the process is given up to MADV_FREE, in kB. */
static long lazy_free_kb(void)
{
	char *line;

	/* Pages on their way to a list are not marked yet: wait for them. */
	used_pages(CARD);
	line = strstr(read_file("/proc/self/smaps_rollup"), "LazyFree:");

	return line ? strtol(line + 9, NULL, 10) : -1;
}

static void madvise_leaves_it(void)
{
	char *card = memory_on(CARD, LENGTH, small_pages),
	     *home = memory_on(HOME, LENGTH, small_pages);
	char *huge = huge_on(CARD, 2 * HUGE);

	madvise(home, LENGTH, MADV_PAGEOUT);
	madvise(card, LENGTH, MADV_PAGEOUT);
	madvise(huge, 2 * HUGE, MADV_PAGEOUT);
	ok(pages_on(home, LENGTH, HOME) == 0, "MADV_PAGEOUT swaps ordinary memory out");
	ok(pages_on(card, LENGTH, CARD) == LENGTH / PAGE && filled(card, LENGTH, 5),
	   "and leaves a private node's");
	ok(pages_on(huge, 2 * HUGE, CARD) == 2 * HUGE / PAGE, "and its huge pages");

	madvise(card, LENGTH, MADV_COLD);
	fill(home, LENGTH, 5);
	/* What another processor has on its way to a list is passed over: we may have moved. */
	drain_lru_lists(CARD);
	madvise(home, LENGTH, MADV_FREE);
	ok(lazy_free_kb() == LENGTH / 1024, "MADV_FREE gives ordinary memory up (%ld kB)",
	   lazy_free_kb());
	madvise(card, LENGTH, MADV_FREE);
	madvise(huge, 2 * HUGE, MADV_FREE);
	ok(lazy_free_kb() == LENGTH / 1024, "and not a private node's (%ld kB)",
	   lazy_free_kb() - (long)LENGTH / 1024);

	madvise(card, LENGTH, MADV_DONTNEED);
	ok(used_pages(CARD) == 2 * HUGE / PAGE, "MADV_DONTNEED always acts");
	munmap(huge, 2 * HUGE);
	munmap(card, LENGTH);
	munmap(home, LENGTH);
}

static void mlock_brings_home(void)
{
	char *memory = memory_on(CARD, LENGTH, NULL), *again;
	int fd;

	ok(mlock(memory, LENGTH) == 0, "mlock succeeds on a private node's memory: %m");
	ok(pages_on(memory, LENGTH, CARD) == 0 && filled(memory, LENGTH, 5), "and brings it home");
	ok(move_to(memory, PAGE, CARD) != 0 && node_of(memory) != CARD,
	   "locked memory does not go there again");
	munlock(memory, LENGTH);
	ok(move_to(memory, LENGTH, CARD) == 0, "unlocked, it may");
	munmap(memory, LENGTH);

	memory = map_shared(LENGTH, &fd);
	fill(memory, LENGTH, 6);
	need(move_to(memory, LENGTH, CARD) == 0, "shared memory on the card");
	again = mmap(NULL, LENGTH, PROT_READ, MAP_SHARED | MAP_LOCKED, fd, 0);
	ok(again != MAP_FAILED && pages_on(again, LENGTH, CARD) == 0 && filled(again, LENGTH, 6),
	   "MAP_LOCKED of shared memory brings it home");
	munmap(again, LENGTH);
	munmap(memory, LENGTH);
	close(fd);

	memory = huge_on(CARD, 2 * HUGE);
	ok(mlockall(MCL_CURRENT) == 0 && pages_on(memory, 2 * HUGE, CARD) == 0 &&
		   filled(memory, 2 * HUGE, 5),
	   "mlockall brings huge pages home");
	munlockall();
	munmap(memory, 2 * HUGE);
}

static int mergeable(void *memory, size_t length)
{
	return madvise(memory, length, MADV_NOHUGEPAGE) ?: madvise(memory, length, MADV_MERGEABLE);
}

static void ksm_leaves_it(void)
{
	char *card = memory_on(CARD, LENGTH, mergeable),
	     *card2 = memory_on(CARD, LENGTH, mergeable);
	char *home = memory_on(HOME, LENGTH, mergeable),
	     *home2 = memory_on(HOME, LENGTH, mergeable);
	long merged = 0;

	write_file("/sys/kernel/mm/ksm/sleep_millisecs", "0");
	write_file("/sys/kernel/mm/ksm/pages_to_scan", "10000");
	write_file("/sys/kernel/mm/ksm/run", "1");
	for (int i = 0; i < 100 && merged < (long)(LENGTH / PAGE); i++) {
		usleep(100000);
		merged = atol(read_file("/sys/kernel/mm/ksm/pages_sharing"));
	}
	ok(merged >= (long)(LENGTH / PAGE), "KSM merges ordinary memory (%ld pages)", merged);
	usleep(500000);
	ok(pages_on(card, LENGTH, CARD) + pages_on(card2, LENGTH, CARD) == 2 * LENGTH / PAGE &&
		   used_pages(CARD) == 2 * LENGTH / PAGE,
	   "and leaves a private node's");
	write_file("/sys/kernel/mm/ksm/run", "2");
	munmap(card, LENGTH);
	munmap(card2, LENGTH);
	munmap(home, LENGTH);
	munmap(home2, LENGTH);
}

/* Small pages on a node, of which a huge one could be made. */
static char *collapsible_on(int nid)
{
	char *memory = map_huge(HUGE);

	need(madvise(memory, HUGE, MADV_NOHUGEPAGE) == 0, "small pages: %m");
	fill(memory, HUGE, 5);
	need(move_to(memory, HUGE, nid) == 0 && madvise(memory, HUGE, MADV_HUGEPAGE) == 0,
	     "memory on node %d", nid);
	return memory;
}

static bool huge_in_time(const char *memory)
{
	for (int i = 0; i < 200 && !frame_is(frame_of(memory), KPF_THP); i++)
		usleep(100000);
	return frame_is(frame_of(memory), KPF_THP);
}

/* Once is not enough: it may be past some of the memory already. */
static bool khugepaged_looks_twice(void)
{
	long first = atol(read_file(KHUGEPAGED "full_scans"));

	for (int i = 0; i < 200; i++) {
		if (atol(read_file(KHUGEPAGED "full_scans")) >= first + 2)
			return true;
		usleep(100000);
	}
	return false;
}

static void collapse_leaves_it(void)
{
	char *home = collapsible_on(HOME), *card = collapsible_on(CARD);

	ok(madvise(home, HUGE, MADV_COLLAPSE) == 0, "MADV_COLLAPSE makes ordinary pages huge: %m");
	ok(madvise(card, HUGE, MADV_COLLAPSE) != 0 && pages_on(card, HUGE, CARD) == HUGE / PAGE &&
		   filled(card, HUGE, 5),
	   "and leaves a private node's");
	munmap(home, HUGE);

	home = collapsible_on(HOME);
	write_file(KHUGEPAGED "pages_to_scan", "1000000");
	write_file(KHUGEPAGED "alloc_sleep_millisecs", "0");
	write_file(KHUGEPAGED "scan_sleep_millisecs", "0");
	ok(huge_in_time(home) && filled(home, HUGE, 5), "khugepaged makes ordinary pages huge");
	ok(khugepaged_looks_twice() && pages_on(card, HUGE, CARD) == HUGE / PAGE &&
		   !frame_is(frame_of(card), KPF_THP) && filled(card, HUGE, 5),
	   "and leaves a private node's");
	need(move_to(card, HUGE, HOME) == 0, "memory at home");
	ok(huge_in_time(card) && filled(card, HUGE, 5), "until they are at home");
	write_file(KHUGEPAGED "scan_sleep_millisecs", "10000");
	munmap(home, HUGE);
	munmap(card, HUGE);
}

static void reclaim_leaves_it(void)
{
	const size_t length = 16 << 20;
	char *card = memory_on(CARD, length, small_pages);
	char pid[16], *home;

	mkdir("/sys/fs/cgroup/reclaimed", 0755);
	snprintf(pid, sizeof(pid), "%d", getpid());
	need(write_file("/sys/fs/cgroup/reclaimed/cgroup.procs", pid) == 0, "join a cgroup");
	home = map_anonymous(length);
	small_pages(home, length);
	fill(home, length, 5);
	write_file("/sys/fs/cgroup/reclaimed/memory.reclaim", "32M");
	ok(pages_on(home, length, HOME) < length / PAGE,
	   "memory.reclaim swaps ordinary memory out (%zu pages left)",
	   pages_on(home, length, HOME));
	ok(pages_on(card, length, CARD) == length / PAGE, "and leaves a private node's");
	write_file("/sys/fs/cgroup/cgroup.procs", pid);
	munmap(home, length);
	munmap(card, length);
}

#define KDAMOND "/sys/kernel/mm/damon/admin/kdamonds/"
#define CONTEXT KDAMOND "0/contexts/0/"
#define REGIONS CONTEXT "targets/0/regions/"
#define SCHEME	CONTEXT "schemes/0/"

static void damon_set(const char *path, const char *value)
{
	int rc = write_file(path, value);

	need(rc == 0, "DAMON takes %s for %s: %s", value, path, strerror(-rc));
}

static void damon_range(const char *region, uint64_t start, uint64_t end)
{
	char path[128], value[24];

	snprintf(path, sizeof(path), REGIONS "%s/start", region);
	snprintf(value, sizeof(value), "%lu", start);
	damon_set(path, value);
	snprintf(path, sizeof(path), REGIONS "%s/end", region);
	snprintf(value, sizeof(value), "%lu", end);
	damon_set(path, value);
}

/* An action for all of what is at the frames of some memory, and of the card. */
static void damon_acts(const char *action, const char *memory)
{
	static const char *const SETTINGS[][2] = {
		{ KDAMOND "nr_kdamonds", "1" },
		{ KDAMOND "0/contexts/nr_contexts", "1" },
		{ CONTEXT "operations", "paddr" },
		{ CONTEXT "monitoring_attrs/intervals/sample_us", "5000" },
		{ CONTEXT "monitoring_attrs/intervals/aggr_us", "50000" },
		{ CONTEXT "targets/nr_targets", "1" },
		{ REGIONS "nr_regions", "2" },
		{ CONTEXT "schemes/nr_schemes", "1" },
		{ SCHEME "access_pattern/sz/max", "18446744073709551615" },
		{ SCHEME "access_pattern/nr_accesses/max", "4294967295" },
		{ SCHEME "access_pattern/age/max", "4294967295" },
		{ SCHEME "target_nid", "0" },
	};
	uint64_t frames[LENGTH / PAGE], first = UINT64_MAX, last = 0;

	for (size_t i = 0; i < sizeof(SETTINGS) / sizeof(*SETTINGS); i++)
		damon_set(SETTINGS[i][0], SETTINGS[i][1]);
	damon_set(SCHEME "action", action);
	frames_of(memory, LENGTH, frames);
	for (size_t i = 0; i < LENGTH / PAGE; i++) {
		first = frames[i] < first ? frames[i] : first;
		last = frames[i] > last ? frames[i] : last;
	}
	damon_range("0", first * PAGE, (last + 1) * PAGE);
	damon_range("1", card_start(), card_start() + card_size());
	damon_set(KDAMOND "0/state", "on");
}

static void damon_leaves_it(void)
{
	static const char *const ACTIONS[] = { "pageout", "migrate_cold", "migrate_hot" };
	char *card = memory_on(CARD, LENGTH, small_pages), *huge = huge_on(CARD, 2 * HUGE);

	for (size_t i = 0; i < sizeof(ACTIONS) / sizeof(*ACTIONS); i++) {
		char *other = memory_on(OTHER, LENGTH, small_pages);

		damon_acts(ACTIONS[i], other);
		for (int j = 0; j < 200 && pages_on(other, LENGTH, OTHER); j++)
			usleep(100000);
		/* Several times over: the first look only ages pages. */
		usleep(500000);
		damon_set(KDAMOND "0/state", "off");
		ok(pages_on(other, LENGTH, OTHER) == 0 && filled(other, LENGTH, 5),
		   "DAMON's %s acts on ordinary memory (%zu pages left)", ACTIONS[i],
		   pages_on(other, LENGTH, OTHER));
		ok(pages_on(card, LENGTH, CARD) == LENGTH / PAGE &&
			   pages_on(huge, 2 * HUGE, CARD) == 2 * HUGE / PAGE,
		   "and leaves a private node's");
		munmap(other, LENGTH);
	}
	ok(filled(card, LENGTH, 5) && filled(huge, 2 * HUGE, 5), "which is as it was");
	munmap(card, LENGTH);
	munmap(huge, 2 * HUGE);
}

/* Uses memory on the card for a while; how many of its pages are there then. */
static size_t used_for_a_while(unsigned int flags, int seconds)
{
	char *memory = memory_on(CARD, 4 << 20, small_pages);
	time_t end = time(NULL) + seconds;
	volatile char sum = 0;
	size_t left;

	need(npt_set_ops(CARD, flags) == 0, "operations %#x", flags);
	while (time(NULL) < end && pages_on(memory, 4 << 20, CARD) > (2 << 20) / PAGE)
		for (int i = 0; i < 20; i++)
			for (size_t j = 0; j < 4 << 20; j += PAGE)
				sum += memory[j];
	left = pages_on(memory, 4 << 20, CARD);
	munmap(memory, 4 << 20);
	return left;
}

/* Mode 1 moves pages to who uses them, mode 2 up from memory of a lower tier. */
static void numa_balancing(const char *mode, int seconds)
{
	size_t left;

	write_file("/sys/kernel/debug/sched/numa_balancing/scan_delay_ms", "10");
	write_file("/sys/kernel/debug/sched/numa_balancing/scan_period_min_ms", "10");
	/* Every page that is used at all is a hot one. */
	write_file("/sys/kernel/debug/sched/numa_balancing/hot_threshold_ms", "60000");
	need(write_file("/proc/sys/kernel/numa_balancing", mode) == 0,
	     "NUMA balancing can be turned on");
	left = used_for_a_while(NP_OPS_MIGRATION | NP_OPS_NUMA_BALANCING, 60);
	ok(left <= (2 << 20) / PAGE,
	   "opted in, NUMA balancing of mode %s brings used pages home (%zu left)", mode, left);
	left = used_for_a_while(NP_OPS_MIGRATION | NP_OPS_MEMPOLICY, seconds);
	ok(left == (4 << 20) / PAGE, "not opted in, it leaves them (%zu left)", left);
	write_file("/proc/sys/kernel/numa_balancing", "0");
}

static void pins_leave_it(void)
{
	char *memory = memory_on(CARD, LENGTH, NULL);
	struct iovec vector = { .iov_base = memory, .iov_len = LENGTH };
	struct io_uring_params params = {};
	int fd = (int)syscall(__NR_io_uring_setup, 4, &params);

	need(fd >= 0, "io_uring: %m");
	ok(syscall(__NR_io_uring_register, fd, IORING_REGISTER_BUFFERS, &vector, 1) == 0,
	   "a long-term pin succeeds: %m");
	ok(pages_on(memory, LENGTH, CARD) == 0 && filled(memory, LENGTH, 5),
	   "and the pages are pinned elsewhere");
	ok(move_to(memory, PAGE, CARD) != 0 && node_of(memory) != CARD,
	   "from where they cannot be moved there");
	close(fd);
	munmap(memory, LENGTH);
}

static void soft_offline(void)
{
	char *memory = memory_on(CARD, PAGE, NULL);

	ok(madvise(memory, PAGE, MADV_SOFT_OFFLINE) == 0 && node_of(memory) != CARD &&
		   filled(memory, PAGE, 5),
	   "soft offline moves a page away where MIGRATION is opted in");
	munmap(memory, PAGE);
	memory = memory_on(CARD, PAGE, NULL);
	need(npt_set_ops(CARD, 0) == 0, "no operations");
	ok(madvise(memory, PAGE, MADV_SOFT_OFFLINE) == -1 && errno == EBUSY &&
		   node_of(memory) == CARD,
	   "and is refused where it is not");
	ok(move_to(memory, PAGE, HOME) == -ENOENT && node_of(memory) == CARD,
	   "nor does move_pages take a page from a node that closed to MIGRATION");
	ok(bind_to(memory, PAGE, MPOL_BIND, 1UL << HOME, MPOL_MF_MOVE | MPOL_MF_STRICT) == -EIO &&
		   node_of(memory) == CARD,
	   "nor mbind");
	munmap(memory, PAGE);
	need(npt_set_ops(CARD, NP_OPS_MIGRATION | NP_OPS_MEMPOLICY) == 0, "operations");
}

static void shared_by_fork(void)
{
	char *memory = map_anonymous(LENGTH);
	int status;
	pid_t pid;

	need(bind_to(memory, LENGTH, MPOL_BIND, 1UL << HOME | 1UL << CARD, 0) == 0, "mbind");
	fill(memory, LENGTH, 9);
	need(move_to(memory, LENGTH, CARD) == 0, "memory on the card");
	pid = fork();
	if (pid == 0) {
		bool same = filled(memory, LENGTH, 9);

		fill(memory, LENGTH, 10);
		_exit(same && pages_on(memory, LENGTH, CARD) == 0 && filled(memory, LENGTH, 10)
			      ? 0
			      : 1);
	}
	waitpid(pid, &status, 0);
	ok(status == 0, "a copy on write of {home, card} memory is made at home");
	ok(filled(memory, LENGTH, 9), "and leaves the parent's as it was");
	munmap(memory, LENGTH);
}

static void reports(void)
{
	char *memory = memory_on(CARD, LENGTH, NULL), *text, start[32];
	long used;

	snprintf(start, sizeof(start), "%08lx ", (unsigned long)memory);
	text = strstr(read_file("/proc/self/numa_maps"), start);
	ok(text && strstr(text, "N2=64") && strstr(text, "N2=64") < strchr(text, '\n'),
	   "numa_maps shows it");
	write_file("/proc/sys/vm/stat_refresh", "1");
	text = strstr(read_file("/sys/devices/system/node/node2/meminfo"), "AnonPages:");
	used = text ? strtol(text + 10, NULL, 10) : -1;
	ok(used == LENGTH / 1024, "the node's meminfo shows it (%ld kB)", used);
	munmap(memory, LENGTH);
}

/* What the system keeps back for root and for who has to log in, in kB. */
static const char *const RESERVES[] = { "/proc/sys/vm/user_reserve_kbytes",
					"/proc/sys/vm/admin_reserve_kbytes" };

static bool reserves_are_up_to(long most)
{
	bool same = true;

	for (size_t i = 0; i < 2; i++) {
		long reserve = atol(read_file(RESERVES[i]));

		if (reserve > most)
			note("%s is %ld, not up to %ld", RESERVES[i], reserve, most);
		same = same && reserve <= most;
	}
	return same;
}

static void reserves_leave_it_out(void)
{
	/* With so little ordinary memory free that the reserves are below their maxima. */
	const long left_kb = 160 << 10;
	size_t length = (size_t)(meminfo_kb("MemFree:") - left_kb) * 1024 & ~(HUGE - 1);
	char *memory = map_huge(length);

	for (size_t i = 0; i < length; i += HUGE)
		memory[i] = 1;
	for (size_t i = 0; i < 2; i++)
		need(write_file(RESERVES[i], "1000") == 0, "%s can be set", RESERVES[i]);
	need(npt_range(NPT_REMOVE, CARD, 0) == 0, "the private node can go");
	ok(reserves_are_up_to(1000), "reserves stay what they are when a private node goes");
	need(npt_range(NPT_ADD, CARD, 0) == 0, "and come");
	/* A 32nd of what is free, and some for what is freed at this moment. */
	ok(reserves_are_up_to((meminfo_kb("MemFree:") + (64 << 10)) / 32),
	   "and are not of its memory when it comes");
	munmap(memory, length);
	need(npt_set_ops(CARD, NP_OPS_MIGRATION | NP_OPS_MEMPOLICY) == 0, "operations");
}

int main(void)
{
	swap_on("256M");
	card_private();
	need(npt_set_ops(CARD, NP_OPS_MIGRATION | NP_OPS_MEMPOLICY) == 0,
	     "set_ops(MIGRATION | MEMPOLICY)");

	madvise_leaves_it();
	mlock_brings_home();
	ksm_leaves_it();
	collapse_leaves_it();
	write_file("/sys/fs/cgroup/cgroup.subtree_control", "+memory");
	reclaim_leaves_it();
	damon_leaves_it();
	numa_balancing("1", 10);
	numa_balancing("2", 5);
	pins_leave_it();
	shared_by_fork();
	reports();
	reserves_leave_it_out();
	/* One page less from here on: soft offline takes it out of use. */
	soft_offline();
	return done();
}
