/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COMPACTION: a private node whose pages compaction may move within it, beside the same
 * node without the opt-in. An operator asks for it, or an allocation that RECLAIM lets
 * try hard. No swap here: what leaves its frame was moved.
 */
#include "private-node.h"

#include <linux/kernel-page-flags.h>
#include <numaif.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define LENGTH (16UL << 20)
#define ROOM   (64UL << 20) /* of the card, for pages that lie scattered */
#define BLOCK  10	    /* the page allocator's biggest order */
#define CLOSED (NP_OPS_MIGRATION | NP_OPS_MEMPOLICY)
#define OPEN   (CLOSED | NP_OPS_COMPACTION)

static void open_to(unsigned int flags)
{
	int rc = npt_set_ops(CARD, flags);

	need(rc == 0, "operations %#x: %s", flags, strerror(-rc));
}

/* What compaction has done in the machine so far: pages looked at, allocations stalled. */
static long compaction(void)
{
	static const char *const COUNTERS[] = { "\ncompact_migrate_scanned ",
						"\ncompact_free_scanned ", "\ncompact_isolated ",
						"\ncompact_stall " };
	const char *text = read_file("/proc/vmstat");
	long sum = 0;

	for (size_t i = 0; i < sizeof(COUNTERS) / sizeof(*COUNTERS); i++) {
		const char *counter = strstr(text, COUNTERS[i]);

		need(counter != NULL, "vmstat has %s", COUNTERS[i] + 1);
		sum += strtol(counter + strlen(COUNTERS[i]), NULL, 10);
	}
	return sum;
}

/* The same, when nothing is at work on other nodes any more. */
static long compaction_at_rest(void)
{
	long before, now = compaction();

	do {
		before = now;
		usleep(200000);
		now = compaction();
	} while (now != before);
	return now;
}

static void compact(int nid)
{
	char path[64];

	snprintf(path, sizeof(path), "/sys/devices/system/node/node%d/compact", nid);
	need(write_file(path, "1") == 0, "%s: %m", path);
}

static void asked_by_operator(void)
{
	char *card = small_on(CARD, LENGTH), *other = small_on(OTHER, LENGTH);
	long before, between, after;

	before = compaction_at_rest();
	compact(CARD);
	between = compaction();
	compact(OTHER);
	after = compaction();
	ok(after > between, "compaction scans an ordinary node (%ld pages)", after - between);
	ok(between == before, "and not a private one (%ld pages)", between - before);
	munmap(other, LENGTH);

	/* Every other page, so that there is something to bring together. */
	for (size_t i = 0; i < LENGTH; i += 2 * PAGE)
		madvise(card + i, PAGE, MADV_DONTNEED);
	open_to(OPEN);
	before = compaction_at_rest();
	compact(CARD);
	after = compaction();
	ok(after > before, "opted in, a private node is compacted (%ld pages scanned)",
	   after - before);
	ok(pages_on(card, LENGTH, CARD) == LENGTH / 2 / PAGE &&
		   used_pages(CARD) == (long)(LENGTH / 2 / PAGE),
	   "within itself (%zu of its pages there, %ld used)", pages_on(card, LENGTH, CARD),
	   used_pages(CARD));
	munmap(card, LENGTH);
	open_to(CLOSED);
}

/* Free blocks of the card that a huge page would fit in. */
static long free_huge_blocks(void)
{
	const char *at = strstr(read_file("/proc/buddyinfo"), "Node 2, zone  Movable");
	long blocks = 0, free;
	char *end;

	need(at != NULL, "/proc/buddyinfo has the card");
	at += strlen("Node 2, zone  Movable");
	for (int order = 0; order <= BLOCK; order++, at = end) {
		free = strtol(at, &end, 10);
		if (order >= 9)
			blocks += free;
	}
	return blocks;
}

/* Every page for itself: pages that are given back in between do not matter. */
static void fill_pages(char *memory, size_t length)
{
	for (size_t i = 0; i < length; i += PAGE)
		fill(memory + i, PAGE, i);
}

/* Of those that are mapped. */
static bool pages_filled(const char *memory, size_t length, const uint64_t *frames)
{
	for (size_t i = 0; i < length; i += PAGE)
		if (frames[i / PAGE] && !filled(memory + i, PAGE, i))
			return false;
	return true;
}

/* The card is full but for every other page of ROOM. */
static char *scatter(size_t length, uint64_t *ret_frames)
{
	struct npt_alloc rest = { .nid = CARD, .how = NPT_PRIVATE, .order = BLOCK };
	char *memory = map_anonymous(length);

	rest.count = (unsigned int)((card_size() - ROOM) / (PAGE << BLOCK));
	need(npt_alloc(&rest) == 0 && rest.ret_count == rest.count, "most of the card");
	need(madvise(memory, length, MADV_NOHUGEPAGE) == 0 &&
		     bind_to(memory, length, MPOL_BIND, 1UL << CARD, 0) == 0,
	     "small pages for the card");
	fill_pages(memory, length);
	frames_of(memory, length, ret_frames);
	for (size_t i = 0; i < length / PAGE; i++)
		if (node_of(memory + i * PAGE) == CARD && ret_frames[i] % 2)
			madvise(memory + i * PAGE, PAGE, MADV_DONTNEED);
	need(free_huge_blocks() == 0, "no huge page fits on the card");
	frames_of(memory, length, ret_frames);
	return memory;
}

static void asked_by_allocation(void)
{
	const size_t length = ROOM + (8 << 20);
	uint64_t *frames = calloc(length / PAGE, sizeof(*frames)),
		 *now = calloc(length / PAGE, sizeof(*now));
	char *memory, *moved = map_huge(HUGE), *moved2 = map_huge(HUGE), *touched = map_huge(HUGE);
	long before, after;

	need(frames && now, "memory");
	memory = scatter(length, frames);
	fill(moved, HUGE, 5);
	fill(moved2, HUGE, 6);
	need(bind_to(touched, HUGE, MPOL_BIND, 1UL << CARD, 0) == 0, "mbind");

	open_to(CLOSED | NP_OPS_RECLAIM);
	before = compaction_at_rest();
	move_to(moved, HUGE, CARD);
	after = compaction();
	ok(after == before, "with RECLAIM alone, moving a huge page there compacts nothing (%ld)",
	   after - before);
	before = after;
	fill(touched, HUGE, 7);
	after = compaction();
	ok(after == before, "nor does first touch of one (%ld)", after - before);
	frames_of(memory, length, now);
	ok(memcmp(frames, now, length / PAGE * sizeof(*frames)) == 0,
	   "every page stays in its frame");
	ok(pages_filled(memory, length, frames) && filled(moved, HUGE, 5) &&
		   filled(touched, HUGE, 7),
	   "and nothing is lost");

	open_to(OPEN | NP_OPS_RECLAIM);
	move_to(moved2, HUGE, CARD);
	frames_of(memory, length, now);
	ok(compaction() > after && node_of(moved2) == CARD && frame_is(frame_of(moved2), KPF_THP) &&
		   memcmp(frames, now, length / PAGE * sizeof(*frames)) != 0,
	   "with COMPACTION pages make room for it (%ld)", compaction() - after);
	ok(pages_filled(memory, length, frames) && filled(moved2, HUGE, 6), "and nothing is lost");
	munmap(memory, length);
	munmap(moved, HUGE);
	munmap(moved2, HUGE);
	munmap(touched, HUGE);
	free(frames);
	free(now);
	need(npt_free() == 0, "free");
	open_to(CLOSED);
	ok(used_pages(CARD) == 0, "nothing stays behind (%ld pages)", used_pages(CARD));
}

int main(void)
{
	card_private();
	/* The node can be used up but for less than a huge page, and only requests compact. */
	need(write_file("/proc/sys/vm/min_free_kbytes", "1024") == 0 &&
		     write_file("/proc/sys/vm/compaction_proactiveness", "0") == 0,
	     "settings");
	open_to(CLOSED);
	asked_by_operator();
	asked_by_allocation();
	return done();
}
