/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * RECLAIM: a private node whose pages reclaim may free, beside the same node
 * without the opt-in. What reclaim does without it is also in private-services.c.
 */
#include "private-node.h"

#include <fcntl.h>
#include <linux/kernel-page-flags.h>
#include <numaif.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define LENGTH (16UL << 20)
#define CLOSED (NP_OPS_MIGRATION | NP_OPS_MEMPOLICY)
#define OPEN   (CLOSED | NP_OPS_RECLAIM)

/*
 * It has ended when the call that ends it returns, but may be listed until it has been reaped.
 */
static bool thread_is_gone(const char *name)
{
	for (int i = 0; i < 100; i++) {
		if (!thread_runs(name))
			return true;
		usleep(10000);
	}
	return false;
}

static void open_to(unsigned int flags)
{
	int rc = npt_set_ops(CARD, flags);

	need(rc == 0, "operations %#x: %s", flags, strerror(-rc));
}

static long keep_free(uint64_t pages)
{
	struct npt_ops ops = { .nid = CARD, .keep_free = pages };

	return npt_ops(NPT_KEEP_FREE, &ops);
}

static void has_its_kswapd(void)
{
	ok(thread_runs("kswapd0") && !thread_runs("kswapd2"), "no kswapd without the opt-in");
	open_to(OPEN);
	ok(thread_runs("kswapd2"), "a kswapd with it");
	open_to(CLOSED);
	ok(thread_is_gone("kswapd2"), "and none when it is closed again");
}

static void madvise_acts(void)
{
	char *memory = small_on(CARD, LENGTH), *huge = huge_on(CARD, 2 * HUGE);

	open_to(OPEN);
	ok(madvise(memory, LENGTH, MADV_PAGEOUT) == 0 && pages_on(memory, LENGTH, CARD) == 0,
	   "MADV_PAGEOUT swaps its pages out");
	ok(madvise(huge, 2 * HUGE, MADV_PAGEOUT) == 0 && pages_on(huge, 2 * HUGE, CARD) == 0,
	   "and huge pages");
	ok(filled(memory, LENGTH, 5) && filled(huge, 2 * HUGE, 5), "which come back as they were");
	ok(pages_on(memory, LENGTH, CARD) == 0, "but to ordinary memory");
	munmap(memory, LENGTH);
	munmap(huge, 2 * HUGE);
	ok(used_pages(CARD) == 0, "nothing stays behind (%ld pages)", used_pages(CARD));
	open_to(CLOSED);
}

static void cgroups_reclaim_it(void)
{
	char *memory;
	size_t left;

	enter_cgroup("reclaim");
	memory = small_on(CARD, LENGTH);
	leave_cgroup();

	write_cgroup("reclaim", "memory.reclaim", "8M");
	ok(pages_on(memory, LENGTH, CARD) == LENGTH / PAGE,
	   "memory.reclaim leaves it without the opt-in");
	open_to(OPEN);
	need(write_cgroup("reclaim", "memory.reclaim", "8M") == 0, "memory.reclaim");
	left = pages_on(memory, LENGTH, CARD);
	ok(left < LENGTH / PAGE, "and swaps it out with it (%zu of %lu pages left)", left,
	   LENGTH / PAGE);
	need(write_cgroup("reclaim", "memory.high", "2M") == 0, "a limit");
	left = pages_on(memory, LENGTH, CARD);
	ok(left < (4UL << 20) / PAGE, "a lower limit is met from there (%zu pages left)", left);
	write_cgroup("reclaim", "memory.high", "max");
	ok(filled(memory, LENGTH, 5), "nothing is lost");
	munmap(memory, LENGTH);
	open_to(CLOSED);
}

/* Moves pages to the active list: the second look at a page does. */
static void activate(const char *memory, size_t length)
{
	static char there[64 * PAGE];
	int fd = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);

	for (size_t done = 0; done < 2 * length; done += sizeof(there))
		need(pread(fd, there, sizeof(there), (off_t)(uintptr_t)(memory + done % length)) ==
			     (ssize_t)sizeof(there),
		     "/proc/self/mem");
	close(fd);
}

/*
 * Without generations, reclaim sends active pages to the inactive list when that is the
 * shorter one, or when pages came back since the last time that it was here. Once is
 * enough: pages that came back long ago are no reason.
 */
static void active_pages_stay(void)
{
	const size_t length = 48UL << 20, hot = 12UL << 20;
	uint64_t *frames = malloc(length / PAGE * sizeof(*frames));
	char *memory = map_anonymous(length);
	long active, inactive, first;

	need(frames && write_file("/sys/kernel/mm/lru_gen/enabled", "n") == 0, "the classic LRU");
	open_to(OPEN);
	enter_cgroup("active");
	madvise(memory, length, MADV_NOHUGEPAGE);
	need(bind_to(memory, length, MPOL_BIND, 1UL << CARD, 0) == 0, "mbind");
	fill(memory, length, 5);
	leave_cgroup();
	activate(memory, hot);

	write_cgroup("active", "memory.reclaim", "4M");
	active = cgroup_pages("active", "active_anon", CARD);
	frames_of(memory, length, frames);
	for (size_t i = 0; i < length / PAGE; i++) {
		if (!frames[i])
			((volatile char *)memory)[i * PAGE];
	}
	first = cgroup_pages("active", "active_anon", CARD);
	ok(first > active + 256, "pages that come back soon are active (%ld, %ld before)", first,
	   active);

	write_cgroup("active", "memory.reclaim", "1M");
	first = cgroup_pages("active", "active_anon", CARD);
	for (int i = 0; i < 6; i++)
		write_cgroup("active", "memory.reclaim", "1M");
	active = cgroup_pages("active", "active_anon", CARD);
	inactive = cgroup_pages("active", "inactive_anon", CARD);
	need(inactive > active, "the inactive list is the longer one (%ld pages)", inactive);
	ok(active >= first, "and stay it while there are others (%ld active, %ld before)", active,
	   first);
	ok(filled(memory, length, 5), "nothing is lost");
	munmap(memory, length);
	free(frames);
	open_to(CLOSED);
	need(write_file("/sys/kernel/mm/lru_gen/enabled", "y") == 0, "generations again");
}

/* Waits until the node has at least so many pages free. */
static bool free_in_time(long pages)
{
	long all = (long)(card_size() / PAGE);

	for (int i = 0; i < 300; i++) {
		if (all - used_pages(CARD) >= pages)
			return true;
		usleep(100000);
	}
	return false;
}

static void owner_says_how_far(void)
{
	const size_t length = 64UL << 20;
	const long all = (long)(card_size() / PAGE), kept = all - (long)((32UL << 20) / PAGE);
	char *memory = small_on(CARD, length);
	long used;

	open_to(OPEN);
	sleep(1);
	ok(used_pages(CARD) == (long)(length / PAGE),
	   "with enough free memory the node is left alone (%ld pages used)", used_pages(CARD));
	need(keep_free((uint64_t)kept) == 0, "a new answer");
	ok(free_in_time(kept), "kswapd keeps as much free as the owner asks for");
	need(keep_free(0) == 0, "a new answer");
	sleep(1);
	used = used_pages(CARD);
	sleep(1);
	ok(used > 0 && used_pages(CARD) == used, "and no more than that (%ld pages used)", used);
	ok(filled(memory, length, 5), "nothing is lost");
	munmap(memory, length);
	open_to(CLOSED);
}

/* More memory bound to the node than it has left. */
static void full_node(void)
{
	const size_t left = 8192, length = (left + 2048) * PAGE;
	struct npt_alloc others = { .nid = CARD, .how = NPT_PRIVATE };
	char *memory = map_anonymous(length);
	long there;

	others.count = (unsigned int)(card_size() / PAGE - left);
	need(npt_alloc(&others) == 0 && others.ret_count == others.count, "the owner's own pages");
	open_to(OPEN);
	madvise(memory, length, MADV_NOHUGEPAGE);
	need(bind_to(memory, length, MPOL_BIND, 1UL << CARD, 0) == 0, "mbind");
	fill(memory, length, 5);
	there = used_pages(CARD) - (long)others.count;
	ok(there > (long)left / 2, "a full node stays in use (%ld of %zu pages)", there, left);
	ok(filled(memory, length, 5), "and nothing is lost");
	/*
	 * Its kswapd may be at work still, with pages in hand; closing waits for it. Swapped
	 * pages that it holds when their memory is unmapped would be left for it to free.
	 */
	open_to(CLOSED);
	munmap(memory, length);
	need(npt_free() == 0, "free");
	ok(used_pages(CARD) == 0, "nothing stays behind (%ld pages)", used_pages(CARD));
}

/* Memory at home of a cgroup that may use some nodes. */
static char *memory_of(const char *cgroup, const char *mems)
{
	char *memory = map_anonymous(LENGTH);

	madvise(memory, LENGTH, MADV_NOHUGEPAGE);
	enter_cgroup(cgroup);
	need(write_cgroup(cgroup, "cpuset.mems", mems) == 0, "a cpuset of nodes %s", mems);
	fill(memory, LENGTH, 5);
	leave_cgroup();
	return memory;
}

/* memory.reclaim makes the progress that it makes without the node. */
static void swapped_instead(const char *why, struct npt_ops ops, const char *mems)
{
	char *memory = memory_of("refused", mems);
	size_t at_home, on_card;
	long rc;

	ops.nid = CARD;
	ops.flags = NP_OPS_MIGRATION | NP_OPS_DEMOTION;
	npt_ops(NPT_CLEAR_OPS, &ops);
	need(npt_ops(NPT_SET_OPS, &ops) == 0, "operations");
	rc = write_cgroup("refused", "memory.reclaim", "8M");
	at_home = pages_on(memory, LENGTH, HOME) + pages_on(memory, LENGTH, OTHER);
	on_card = pages_on(memory, LENGTH, CARD);
	ok(rc == 0 && at_home <= (LENGTH - (8UL << 20)) / PAGE && on_card == 0,
	   "%s is swapped: %s, %zu pages at home, %zu on the card", why, strerror((int)-rc),
	   at_home, on_card);
	ok(filled(memory, LENGTH, 5), "and not lost");
	munmap(memory, LENGTH);
	open_to(CLOSED);
}

static void what_is_not_demoted(void)
{
	demotion(true);
	swapped_instead("what its cgroup may not have there", (struct npt_ops){ .accept = -1 },
			"0-1");
	swapped_instead("what the owner does not take", (struct npt_ops){ .accept = 0 }, "0-2");
	swapped_instead("what the owner does not even want to be asked for",
			(struct npt_ops){ .accept = -1, .how = NPT_CLOSED }, "0-2");
	demotion(false);
}

/* How many huge pages of a range are whole still. */
static size_t whole_pages(const char *memory, size_t length)
{
	size_t whole = 0;

	for (size_t offset = 0; offset < length; offset += HUGE)
		whole += frame_is(frame_of(memory + offset), KPF_THP);
	return whole;
}

/*
 * Reclaim splits huge pages of which a part is not used any more, to free that part. They
 * wait for it in a queue of their cgroup, wherever they are, with what else can shrink.
 */
static void shrink_caches(void)
{
	need(write_file("/proc/sys/vm/drop_caches", "2") == 0, "caches can be shrunk");
}

static void huge_pages_are_not_split(void)
{
	const size_t length = 8 * HUGE;
	char *card, *home;
	size_t split;

	enter_cgroup("partial");
	card = huge_on(CARD, length);
	home = huge_on(HOME, length);
	leave_cgroup();
	for (size_t offset = HUGE / 2; offset < length; offset += HUGE) {
		munmap(card + offset, HUGE / 2);
		munmap(home + offset, HUGE / 2);
	}
	need(whole_pages(card, length) == 8 && whole_pages(home, length) == 8, "huge pages");

	shrink_caches();
	split = 8 - whole_pages(card, length);
	ok(split == 0, "reclaim splits no huge page there without the opt-in (%zu)", split);
	ok(whole_pages(home, length) == 0, "where those at home are split");
	open_to(OPEN);
	shrink_caches();
	ok(whole_pages(card, length) == 0, "and does with it");
	open_to(CLOSED);
	for (size_t offset = 0; offset < length; offset += HUGE) {
		munmap(card + offset, HUGE / 2);
		munmap(home + offset, HUGE / 2);
	}
	ok(used_pages(CARD) == 0, "nothing stays behind (%ld pages)", used_pages(CARD));
}

int main(void)
{
	swap_on("256M");
	card_private();
	open_to(CLOSED);

	has_its_kswapd();
	madvise_acts();
	cgroups_reclaim_it();
	active_pages_stay();
	what_is_not_demoted();
	huge_pages_are_not_split();
	owner_says_how_far();
	full_node();

	open_to(OPEN);
	ok(npt_range(NPT_REMOVE, CARD, 0) == 0 && thread_is_gone("kswapd2"),
	   "the node can be taken away with its kswapd");
	return done();
}
