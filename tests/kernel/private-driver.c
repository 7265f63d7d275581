/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The driver of a private node: what it may refuse, what it is told, of memory
 * that fails too, and what it asks in vain. Not what mm services do to the node's pages.
 */
#include "private-node.h"

#include <errno.h>
#include <linux/kernel-page-flags.h>
#include <numaif.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define LENGTH (64 * PAGE)
#define OPEN   (NP_OPS_MIGRATION | NP_OPS_MEMPOLICY)

static void set_ops(struct npt_ops ops)
{
	int rc;

	ops.nid = CARD;
	ops.flags = OPEN;
	npt_ops(NPT_CLEAR_OPS, &ops);
	rc = npt_ops(NPT_SET_OPS, &ops);
	need(rc == 0, "operations: %s", strerror(-rc));
}

static void open_to(unsigned int flags)
{
	int rc = npt_set_ops(CARD, flags);

	need(rc == 0, "operations %#x: %s", flags, strerror(-rc));
}

/*
 * What it decides
 */

static void admission(void)
{
	char *memory = map_anonymous(LENGTH);

	madvise(memory, LENGTH, MADV_NOHUGEPAGE);
	fill(memory, LENGTH, 8);
	set_ops((struct npt_ops){ .accept = 10 });
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
	open_to(OPEN);
}

/*
 * What it is told
 */

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

/* Memory fails, and memory_failure is called as often as it should be. */
static void fails(const char *what, uint64_t frame, int want, uint64_t calls)
{
	uint64_t before = npt_stats(CARD).memory_failure, told;
	int rc = corrupt_frame(frame);

	told = npt_stats(CARD).memory_failure - before;
	ok(rc == want && told == calls && frame_is(frame, KPF_HWPOISON),
	   "%s fails: %s; memory_failure is told %lu times", what, strerror(-rc), told);
}

/* How a child that does this ends: the signal, or 0. */
static int signal_of_access(volatile char *at, bool write)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		if (write)
			*at = 1;
		_exit(*at == 2 ? EXIT_FAILURE : EXIT_SUCCESS);
	}
	need(pid > 0 && waitpid(pid, &status, 0) == pid, "fork: %m");
	return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

/* Are all pages but the n-th as small_on() and huge_on() filled them? */
static bool others_filled(const char *memory, size_t length, size_t n)
{
	char *copy = map_anonymous(length);
	bool same;

	fill(copy, length, 5);
	same = memcmp(memory, copy, n * PAGE) == 0 &&
	       memcmp(memory + (n + 1) * PAGE, copy + (n + 1) * PAGE, length - (n + 1) * PAGE) == 0;
	munmap(copy, length);
	return same;
}

static void failures_are_told(void)
{
	const uint64_t free_frame = (card_start() + card_size() / 2) / PAGE + 5;
	char *memory;

	need(used_pages(CARD) == 0 && frame_is(free_frame, KPF_BUDDY), "a free page");
	fails("a free page", free_frame, 0, 1);
	ok(used_pages(CARD) == 1, "and is free no more (%ld used)", used_pages(CARD));
	fails("what has failed before", free_frame, -EHWPOISON, 0);

	memory = huge_on(CARD, 2 * HUGE);
	fails("a page of a huge one", frame_of(memory + 5 * PAGE), 0, 1);
	ok(signal_of_access(memory + 5 * PAGE, false) == SIGBUS, "its user gets SIGBUS");
	ok(pages_on(memory, 2 * HUGE, CARD) == 2 * HUGE / PAGE - 1 &&
		   others_filled(memory, 2 * HUGE, 5),
	   "and keeps the other parts");
	munmap(memory, 2 * HUGE);
	ok(used_pages(CARD) == 2, "only what failed stays out of use (%ld used)", used_pages(CARD));
}

/*
 * Its memory goes and comes
 */

static void remove_memory(void)
{
	int rc = npt_range(NPT_REMOVE, CARD, 0);

	need(rc == 0, "the node's memory can be removed: %s", strerror(-rc));
}

static void add_memory(void)
{
	int rc = npt_range(NPT_ADD, CARD, 0);

	need(rc == 0, "and added: %s", strerror(-rc));
}

/* A file keeps its failed page, and memory that a file has pages of does not go. */
static void failed_page_of_a_file(void)
{
	int fd;
	char *memory = map_shared(LENGTH, &fd);

	fill(memory, LENGTH, 5);
	need(move_to(memory, LENGTH, CARD) == 0, "shared memory on the card");
	fails("a page of a file", frame_of(memory + 5 * PAGE), 0, 1);
	munmap(memory, LENGTH);
	ok(npt_range(NPT_REMOVE, CARD, 0) == -EBUSY, "memory with a failed page of a file stays");
	errno = 0;
	ok(pwrite(fd, "f", 1, 5 * PAGE) == -1 && errno == EIO, "writing to it is still EIO: %m");
	close(fd);
}

static void failed_memory_goes(long managed)
{
	char *memory;
	size_t on_card;

	failed_page_of_a_file();
	ok(meminfo_kb("HardwareCorrupted:") == 12, "three pages have failed");
	remove_memory();
	ok(meminfo_kb("HardwareCorrupted:") == 0, "removed memory has no failed pages");

	/* The node once more, write-protected. */
	need(npt_range(NPT_REGISTER, CARD, 0) == 0, "the node can be registered");
	open_to(OPEN | NP_OPS_PROTECT_WRITE);
	add_memory();
	ok(used_pages(CARD) == 0 && managed_pages(CARD) == managed,
	   "memory added again is free, all of it");
	memory = small_on(CARD, LENGTH);
	fails("a write-protected page", frame_of(memory + 5 * PAGE), 0, 1);
	ok(signal_of_access(memory + 5 * PAGE, false) == SIGBUS &&
		   signal_of_access(memory + 5 * PAGE, true) == SIGBUS,
	   "who reads or writes it gets SIGBUS");
	on_card = pages_on(memory, LENGTH, CARD);
	ok(on_card == LENGTH / PAGE - 1 && others_filled(memory, LENGTH, 5),
	   "and nobody else (%zu left)", on_card);
	memory[6 * PAGE] = 1;
	ok(node_of(memory + 6 * PAGE) == HOME && memory[6 * PAGE] == 1,
	   "other pages go home when they are written");
	munmap(memory, LENGTH);
	remove_memory();
	need(npt_range(NPT_UNREGISTER, CARD, 0) == 0, "the node can be unregistered");
	add_memory();
	open_to(OPEN);
}

/*
 * What it asks in vain
 */

static int add_range(uint64_t start, uint64_t size)
{
	struct npt_range range = { .nid = CARD, .start = start, .size = size, .online = 1 };

	return npt_range_at(NPT_ADD, &range);
}

static void absurd_ranges(void)
{
	static const uint64_t SIZES[] = { 1ULL << 60, ~0ULL, 0, PAGE };

	for (size_t i = 0; i < sizeof(SIZES) / sizeof(*SIZES); i++) {
		int rc = add_range(card_start(), SIZES[i]);

		ok(rc == -EINVAL || rc == -ENOMEM || rc == -E2BIG,
		   "a node cannot have %#lx bytes: %s", SIZES[i], strerror(-rc));
	}
	ok(npt_range(NPT_UNREGISTER, CARD, 0) == -ENODEV, "and is nobody's after that");
}

/* Nothing calls back any more when the pages leave and the memory goes. */
static void questions_about_removed_memory(void)
{
	struct npt_frames watched;
	char *memory;

	memory = small_on(CARD, LENGTH);
	ok(npt_frames(CARD).ret_watched == LENGTH / PAGE, "the frames of memory moved are watched");
	need(npt_ops(NPT_CLEAR_OPS, &(struct npt_ops){ .nid = CARD }) == 0, "no operations");
	remove_memory();
	ok(pages_on(memory, LENGTH, CARD) == 0 && filled(memory, LENGTH, 5),
	   "a node without operations can be removed while it is used");
	watched = npt_frames(CARD);
	ok(watched.ret_watched == 0 && watched.ret_changed == 0, "no frame of it is watched then");
	munmap(memory, LENGTH);
	add_memory();
	open_to(OPEN);
	memory = small_on(CARD, LENGTH);
	ok(used_pages(CARD) == LENGTH / PAGE && filled(memory, LENGTH, 5),
	   "added again, it can be used");
	ok(npt_frames(CARD).ret_watched == LENGTH / PAGE, "and is watched");
	munmap(memory, LENGTH);
	ok(used_pages(CARD) == 0, "nothing stays behind (%ld pages)", used_pages(CARD));
}

int main(void)
{
	long managed;

	need(npt_range(NPT_TAKE, CARD, 0) == 0, "the memory module can be taken away");
	absurd_ranges();
	add_memory();
	open_to(OPEN);
	/* Nearly all of the node can be used. */
	need(write_file("/proc/sys/vm/min_free_kbytes", "1024") == 0, "settings");
	managed = managed_pages(CARD);

	admission();
	splits_are_told();
	failures_are_told();
	failed_memory_goes(managed);
	questions_about_removed_memory();
	return done();
}
