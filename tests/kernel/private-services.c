/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What mm services do to pages on a private node that is open to migration and
 * memory policies only: nothing, beside a control on ordinary memory for which
 * they do act. And the driver's callbacks.
 */
#include "private-node.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
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

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

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

static void collapse_leaves_it(void)
{
	char *home = map_huge(HUGE), *card = map_huge(HUGE);

	need(!madvise(home, HUGE, MADV_NOHUGEPAGE) && !madvise(card, HUGE, MADV_NOHUGEPAGE),
	     "memory");
	fill(home, HUGE, 5);
	fill(card, HUGE, 5);
	need(move_to(card, HUGE, CARD) == 0, "memory on the card");
	madvise(home, HUGE, MADV_HUGEPAGE);
	madvise(card, HUGE, MADV_HUGEPAGE);
	ok(madvise(home, HUGE, MADV_COLLAPSE) == 0, "MADV_COLLAPSE makes ordinary pages huge: %m");
	ok(madvise(card, HUGE, MADV_COLLAPSE) != 0 && pages_on(card, HUGE, CARD) == HUGE / PAGE &&
		   filled(card, HUGE, 5),
	   "and leaves a private node's");
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

static long vmstat(const char *name)
{
	char *line = strstr(read_file("/proc/vmstat"), name);

	return line ? strtol(line + strlen(name), NULL, 10) : -1;
}

static void compaction_leaves_it(void)
{
	char *card = memory_on(CARD, 16 << 20, small_pages),
	     *other = memory_on(OTHER, 16 << 20, small_pages);
	long before = vmstat("\ncompact_migrate_scanned"), between, after;

	write_file("/sys/devices/system/node/node2/compact", "1");
	between = vmstat("\ncompact_migrate_scanned");
	write_file("/sys/devices/system/node/node1/compact", "1");
	after = vmstat("\ncompact_migrate_scanned");
	ok(after > between, "compaction scans an ordinary node (%ld pages)", after - between);
	ok(between == before, "and not a private one (%ld pages)", between - before);
	munmap(card, 16 << 20);
	munmap(other, 16 << 20);
}

static void compaction_opted_in(void)
{
	char *card = memory_on(CARD, 16 << 20, small_pages);
	long before, after;

	/* Every other page, so that there is something to bring together. */
	for (size_t i = 0; i < 16 << 20; i += 2 * PAGE)
		madvise(card + i, PAGE, MADV_DONTNEED);
	need(npt_set_ops(CARD, NP_OPS_MIGRATION | NP_OPS_COMPACTION) == 0,
	     "COMPACTION can be opted in");
	before = vmstat("\ncompact_migrate_scanned");
	write_file("/sys/devices/system/node/node2/compact", "1");
	after = vmstat("\ncompact_migrate_scanned");
	ok(after > before, "opted in, a private node is compacted (%ld pages scanned)",
	   after - before);
	ok(pages_on(card, 16 << 20, CARD) == (8 << 20) / PAGE &&
		   used_pages(CARD) == (8 << 20) / PAGE,
	   "within itself (%zu of its pages there, %ld used)", pages_on(card, 16 << 20, CARD),
	   used_pages(CARD));
	munmap(card, 16 << 20);
	need(npt_set_ops(CARD, NP_OPS_MIGRATION | NP_OPS_MEMPOLICY) == 0, "operations");
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

static void numa_balancing(void)
{
	size_t left;

	write_file("/sys/kernel/debug/sched/numa_balancing/scan_delay_ms", "10");
	write_file("/sys/kernel/debug/sched/numa_balancing/scan_period_min_ms", "10");
	need(write_file("/proc/sys/kernel/numa_balancing", "1") == 0,
	     "NUMA balancing can be turned on");
	left = used_for_a_while(NP_OPS_MIGRATION | NP_OPS_NUMA_BALANCING, 60);
	ok(left <= (2 << 20) / PAGE, "opted in, NUMA balancing brings used pages home (%zu left)",
	   left);
	left = used_for_a_while(NP_OPS_MIGRATION | NP_OPS_MEMPOLICY, 10);
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

static void admission(void)
{
	struct npt_ops ops = { .nid = CARD,
			       .flags = NP_OPS_MIGRATION | NP_OPS_MEMPOLICY,
			       .accept = 10 };
	char *memory = map_anonymous(LENGTH);

	small_pages(memory, LENGTH);
	fill(memory, LENGTH, 8);
	npt_ops(NPT_CLEAR_OPS, &ops);
	need(npt_ops(NPT_SET_OPS, &ops) == 0, "operations");
	ok(bind_to(memory, LENGTH, MPOL_BIND, 1UL << CARD, MPOL_MF_MOVE) == 0 &&
		   pages_on(memory, LENGTH, CARD) == 10,
	   "mbind moves as much as the driver admits and no more");
	ok(bind_to(memory, LENGTH, MPOL_BIND, 1UL << CARD, MPOL_MF_MOVE | MPOL_MF_STRICT) == -EIO &&
		   pages_on(memory, LENGTH, CARD) == 10,
	   "with MPOL_MF_STRICT a refusal is an error");
	ok(move_to(memory, LENGTH, CARD) > 0 && pages_on(memory, LENGTH, CARD) == 10,
	   "move_pages counts what was refused");
	ok(filled(memory, LENGTH, 8), "nothing is lost by a refusal");
	munmap(memory, LENGTH);
	need(npt_set_ops(CARD, NP_OPS_MIGRATION | NP_OPS_MEMPOLICY) == 0, "operations");
}

static void freed_pages_can_be_kept(void)
{
	struct npt_ops ops = {
		.nid = CARD, .flags = NP_OPS_MIGRATION | NP_OPS_MEMPOLICY, .accept = -1, .keep = 20
	};
	char *memory = map_anonymous(LENGTH);

	small_pages(memory, LENGTH);
	npt_ops(NPT_CLEAR_OPS, &ops);
	need(npt_ops(NPT_SET_OPS, &ops) == 0, "operations");
	fill(memory, LENGTH, 8);
	need(move_to(memory, LENGTH, CARD) == 0, "memory on the card");
	munmap(memory, LENGTH);
	ok(npt_stats(CARD).kept == 20 && used_pages(CARD) == 20,
	   "free_folio may keep freed pages (%u kept, %ld used)", npt_stats(CARD).kept,
	   used_pages(CARD));
	ok(npt_range(NPT_PUT_KEPT, CARD, 0) == 0 && used_pages(CARD) == 0,
	   "until the driver gives them back");
	need(npt_set_ops(CARD, NP_OPS_MIGRATION | NP_OPS_MEMPOLICY) == 0, "operations");
}

static void splits_are_told(void)
{
	struct npt_stats before = npt_stats(CARD);
	char *memory = huge_on(CARD, 2 * HUGE), request[128];
	uint64_t told;

	snprintf(request, sizeof(request), "%d,0x%lx,0x%lx", getpid(), (unsigned long)memory,
		 (unsigned long)memory + 2 * HUGE);
	need(write_file("/sys/kernel/debug/split_huge_pages", request) == 0,
	     "debugfs splits huge pages");
	told = npt_stats(CARD).folio_split - before.folio_split;
	ok(told == 2 * (HUGE / PAGE - 1), "folio_split hears of every part (%lu)", told);
	ok(pages_on(memory, 2 * HUGE, CARD) == 2 * HUGE / PAGE && filled(memory, 2 * HUGE, 5),
	   "which stay where they are");
	munmap(memory, 2 * HUGE);
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
	compaction_leaves_it();
	compaction_opted_in();
	numa_balancing();
	pins_leave_it();
	admission();
	freed_pages_can_be_kept();
	splits_are_told();
	shared_by_fork();
	reports();
	/* One page less from here on: soft offline takes it out of use. */
	soft_offline();
	return done();
}
