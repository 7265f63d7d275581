/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * CRAM from end to end on an emulated card: every kind of guest memory goes there by every
 * way there is, is read there, comes home when it is written, and leaves no trace; and
 * what does not fit stays where it is. Whether the card was ever overrun the card says,
 * see tests/host/boot.
 */
#include "cram.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <linux/kernel-page-flags.h>
#include <numaif.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "card.h"

#define LENGTH (8UL << 20)
#define GROUP  "cram-basic"

/*
 * Kinds of memory, filled
 */

static void *base(unsigned int ratio)
{
	void *memory = map_anonymous(LENGTH);

	need(madvise(memory, LENGTH, MADV_NOHUGEPAGE) == 0, "small pages: %m");
	pack(memory, LENGTH, 1, ratio);
	return memory;
}

static void *huge(unsigned int ratio)
{
	void *memory = map_huge(LENGTH);

	pack(memory, LENGTH, 1, ratio);
	return memory;
}

/* A file of pages of whatever size, over a mapping or anywhere. */
static void *file(void *over, unsigned int ratio, int *ret_fd)
{
	int fd = memfd_create("test", MFD_CLOEXEC);
	void *memory;

	need(fd >= 0 && ftruncate(fd, LENGTH) == 0, "memfd: %m");
	memory = mmap(over, LENGTH, PROT_READ | PROT_WRITE, MAP_SHARED | (over ? MAP_FIXED : 0), fd,
		      0);
	need(memory != MAP_FAILED, "mmap: %m");
	if (over)
		need(madvise(memory, LENGTH, MADV_HUGEPAGE) == 0, "huge pages: %m");
	pack(memory, LENGTH, 1, ratio);
	*ret_fd = fd;
	return memory;
}

static void *file_shared(unsigned int ratio)
{
	int fd;
	void *memory = file(NULL, ratio, &fd);

	close(fd);
	return memory;
}

static void *file_huge(unsigned int ratio)
{
	int fd;
	void *memory = file(map_huge(LENGTH), ratio, &fd);

	close(fd);
	return memory;
}

/* Every second page is the process's own, the others still the file's. */
static void *file_private(unsigned int ratio)
{
	int fd;
	volatile char *memory;

	munmap(file(NULL, ratio, &fd), LENGTH);
	memory = mmap(NULL, LENGTH, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	need(memory != MAP_FAILED, "mmap: %m");
	close(fd);
	for (size_t i = 0; i < LENGTH; i += 2 * PAGE) {
		memory[i] = memory[i];
		(void)memory[i + PAGE];
	}
	return (void *)memory;
}

/*
 * Ways to the card. Each leaves memory with a policy under which it comes home to DRAM.
 */

static void by_move_pages(void *memory)
{
	long rc = move_to(memory, LENGTH, cram_nid);

	ok(rc == 0, "move_pages to the card (%ld)", rc);
}

static void by_mbind(void *memory)
{
	long rc = bind_to(memory, LENGTH, MPOL_BIND, 1UL << cram_nid, MPOL_MF_MOVE);

	ok(rc == 0, "mbind to the card alone, with MOVE (%ld)", rc);
}

/* As a guest's RAM is: mapped onto both once, then moved. */
static void by_both(void *memory)
{
	long rc = bind_to(memory, LENGTH, MPOL_BIND, 1UL << HOME | 1UL << cram_nid, 0);

	ok(rc == 0, "mbind to home and card (%ld)", rc);
	ok(pages_on(memory, LENGTH, cram_nid) == 0, "which moves nothing");
	by_move_pages(memory);
}

static const struct way {
	const char *name;
	void (*go)(void *memory);
} WAYS[] = {
	{ "move_pages", by_move_pages },
	{ "mbind card", by_mbind },
	{ "mbind home and card", by_both },
};

static const struct kind {
	const char *name;
	void *(*map)(unsigned int ratio);
	bool huge;
	bool shared;
} KINDS[] = {
	{ "base pages", base, false, false },
	{ "huge pages", huge, true, false },
	{ "shared memfd", file_shared, false, true },
	{ "private memfd", file_private, false, false },
	{ "huge shared memfd", file_huge, true, true },
};

/*
 * There and back
 */

/* What a child sees, and what it does to itself. */
static bool child_is_right(char *memory, unsigned int ratio, bool shared)
{
	pid_t pid;
	int status;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		if (!packed(memory, LENGTH, 1, ratio))
			_exit(1);
		if (shared)
			_exit(0);
		pack(memory, LENGTH / 2, 7, 1);
		_exit(packed(memory, LENGTH / 2, 7, 1) &&
				      pages_on(memory, LENGTH / 2, cram_nid) == 0
			      ? 0
			      : 2);
	}
	need(pid > 0 && waitpid(pid, &status, 0) == pid, "fork: %m");
	if (status)
		note("the child says %#x", status);
	return status == 0;
}

/* A byte of each page of a range, which thereby comes home. */
static bool written(char *memory, size_t length)
{
	bool all = true;

	for (size_t i = 0; i < length; i += PAGE) {
		((volatile char *)memory)[i] ^= 1;
		all = all && node_of(memory + i) != cram_nid;
	}
	/* As it was, so that all that pack() wrote can be looked for. */
	for (size_t i = 0; i < length; i += PAGE)
		((volatile char *)memory)[i] ^= 1;
	return all;
}

static void there_and_back(const struct kind *kind, const struct way *way, unsigned int ratio)
{
	char *memory = kind->map(ratio);
	uint64_t before;

	note("%s, %s, ratio %u", kind->name, way->name, ratio);
	need(cram_has_credit(2 * LENGTH, 10), "there is credit to begin with");
	before = cram_bytes("resident_bytes");

	way->go(memory);
	ok(pages_on(memory, LENGTH, cram_nid) == LENGTH / PAGE, "all pages are there");
	ok(cram_bytes("resident_bytes") - before == LENGTH, "and counted");
	if (kind->huge)
		ok(frame_is(frame_of(memory), KPF_THP), "whole");
	ok(packed(memory, LENGTH, 1, ratio), "and what they were");
	ok(pages_on(memory, LENGTH, cram_nid) == LENGTH / PAGE, "reading leaves them there");
	ok(cram_promise_holds(), "the promise holds");

	ok(child_is_right(memory, ratio, kind->shared),
	   "a child reads the same, and writes its own");
	ok(packed(memory, LENGTH, 1, ratio), "which the parent does not see");

	ok(written(memory, LENGTH / 2), "a page that is written is home at once");
	ok(packed(memory, LENGTH, 1, ratio), "nothing is lost of it");
	need(move_to(memory, LENGTH, HOME) == 0, "move_pages home");
	ok(pages_on(memory, LENGTH, cram_nid) == 0, "all are home");
	ok(packed(memory, LENGTH, 1, ratio), "as they were");
	munmap(memory, LENGTH);
	ok(cram_empties(10), "nothing is left on the card, nothing to be trimmed");
	ok(cram_promise_holds(), "the promise holds");
}

/*
 * Of a huge page
 */

static bool all_there(const char *memory, size_t length)
{
	return pages_on(memory, length, cram_nid) == length / PAGE;
}

static void touch(char *memory, size_t page)
{
	((volatile char *)memory)[page * PAGE] ^= 1;
	((volatile char *)memory)[page * PAGE] ^= 1;
}

/* How many of a huge page's pages are home. A file's is unmapped when it is split: look at each. */
static size_t pages_home(const char *memory)
{
	for (size_t i = 0; i < HUGE; i += PAGE)
		(void)((volatile const char *)memory)[i];
	return pages_on(memory, HUGE, HOME);
}

static size_t home_after(char *memory, size_t page)
{
	touch(memory, page);
	return pages_home(memory);
}

/* Two that are written to within half a second: where everything is slow it takes some more. */
static size_t home_after_two(char *memory, size_t page)
{
	struct timespec begin, end;

	do {
		clock_gettime(CLOCK_MONOTONIC, &begin);
		touch(memory, page++);
		touch(memory, page++);
		clock_gettime(CLOCK_MONOTONIC, &end);
	} while ((end.tv_sec - begin.tv_sec) * 1000 + (end.tv_nsec - begin.tv_nsec) / 1000000 >
			 500 &&
		 page < HUGE / PAGE / 2);
	return pages_home(memory);
}

/* The page comes home that is written to; when another one is soon after, all the rest. */
static void parts_of(const struct kind *kind)
{
	char *memory = kind->map(4), *soon = memory, *late = memory + HUGE,
	     *other = memory + 2 * HUGE, *whole = memory + 3 * HUGE;
	size_t home;

	note("parts of %s", kind->name);
	need(cram_has_credit(2 * LENGTH, 10), "there is credit to begin with");
	need(move_to(memory, LENGTH, cram_nid) == 0 && all_there(memory, LENGTH) &&
		     frame_is(frame_of(whole), KPF_THP),
	     "huge pages are there, whole");

	home = home_after(soon, 3);
	ok(home == 1 && node_of(soon + 3 * PAGE) == HOME,
	   "the page that is written to comes home, and no other (%zu)", home);
	home = home_after(soon, 3);
	ok(home == 1, "nor does one if it is written to again (%zu)", home);
	home = home_after(other, 500);
	ok(home == 1 && pages_home(soon) == 1,
	   "one of another huge page is the first of that (%zu)", home);
	home = home_after_two(soon, 4);
	ok(home == HUGE / PAGE, "a second one soon after brings all the rest (%zu)", home);

	home = home_after(late, 3);
	usleep(1500000);
	home = home_after(late, 500);
	ok(home == 2, "one much later brings itself (%zu)", home);
	ok(frame_is(frame_of(whole), KPF_THP) && all_there(whole, HUGE),
	   "what nobody wrote to is there, whole");
	ok(packed(memory, LENGTH, 1, 4), "nothing is lost");
	munmap(memory, LENGTH);
	ok(cram_empties(10), "nothing is left there");
}

/*
 * How many came home for a write
 */

#define WRITERS 4

struct written {
	char *memory;
	pthread_barrier_t next;
};

/* Each page by all at once. */
static void *write_pages(void *argument)
{
	struct written *w = argument;

	for (size_t at = 0; at < LENGTH; at += PAGE) {
		pthread_barrier_wait(&w->next);
		__atomic_fetch_xor(w->memory + at, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

/*
 * However many write to a page at once, one has come home. Of anonymous memory a copy does where
 * several are in each other's way.
 */
static void counted_once(const char *name, char *memory, unsigned long least)
{
	struct written w = { .memory = memory };
	const long told = vmstat("cram_promote");
	const uint64_t before = cram_stat("pages_promoted");
	uint64_t pages;
	pthread_t writers[WRITERS];

	note("%s, written to by %d at once", name, WRITERS);
	need(cram_has_credit(2 * LENGTH, 10), "there is credit to begin with");
	need(move_to(memory, LENGTH, cram_nid) == 0 && all_there(memory, LENGTH), "all is there");
	need(pthread_barrier_init(&w.next, NULL, WRITERS) == 0, "a barrier");
	for (size_t i = 0; i < COUNT(writers); i++)
		need(pthread_create(&writers[i], NULL, write_pages, &w) == 0, "a writer");
	for (size_t i = 0; i < COUNT(writers); i++)
		pthread_join(writers[i], NULL);
	pthread_barrier_destroy(&w.next);
	pages = cram_stat("pages_promoted") - before;
	ok(pages_on(memory, LENGTH, HOME) == LENGTH / PAGE && packed(memory, LENGTH, 1, 4),
	   "all come home, and nothing is lost");
	ok(pages >= least && pages <= LENGTH / PAGE && vmstat("cram_promote") - told == (long)pages,
	   "%s: so many are counted", name);
	note("%llu of %lu pages", (unsigned long long)pages, LENGTH / PAGE);
	munmap(memory, LENGTH);
}

/*
 * By reclaim
 */

static void by_reclaim(void)
{
	char *memory;
	size_t there = 0;

	demotion(true);
	enter_cgroup(GROUP);
	/* Room for the cgroup, where there are limits. */
	write_cgroup(GROUP, "memory.cram.max", "max");
	memory = base(4);
	leave_cgroup();
	need(cram_has_credit(2 * LENGTH, 10), "there is credit to begin with");
	for (int i = 0; i < 8 && there < LENGTH / PAGE / 4; i++) {
		write_cgroup(GROUP, "memory.reclaim", "8M");
		there = pages_on(memory, LENGTH, cram_nid);
	}
	ok(there >= LENGTH / PAGE / 4, "memory.reclaim demotes to the card (%zu pages)", there);
	ok(packed(memory, LENGTH, 1, 4), "nothing is lost by it");
	ok(cram_promise_holds(), "the promise holds");
	munmap(memory, LENGTH);
	ok(cram_empties(10), "nothing is left there");
}

/*
 * Full
 */

static void full(unsigned int ratio)
{
	const size_t length = 256UL << 20;
	char *memory = map_anonymous(length);
	size_t there = 0, last;
	uint64_t room = cram_bytes("physical_bytes");
	long rc = 0;

	note("filled at ratio %u", ratio);
	need(madvise(memory, length, MADV_NOHUGEPAGE) == 0, "small pages: %m");
	pack(memory, length, 9, ratio);
	/* Room comes by reports, less and less of it. */
	do {
		last = there;
		for (size_t i = 0; i < length && rc >= 0; i += LENGTH)
			if (!all_there(memory + i, LENGTH))
				rc = move_to(memory + i, LENGTH, cram_nid);
		usleep(300000);
		there = pages_on(memory, length, cram_nid);
		need(cram_promise_holds(), "the promise holds at %zu pages", there);
	} while (there > last && rc >= 0);
	note("%zu of %zu MiB are on a card of %llu MiB", there >> 8, length >> 20,
	     (unsigned long long)room >> 20);
	ok(rc >= 0 || rc == -ENOMEM, "what does not fit is no error but that (%ld)", rc);
	ok(there < length / PAGE, "not all of it fits");
	ok(there * PAGE >= room / 10 * 6, "but most of what the card has is used");
	ok(!cram_state_is("overrun") && !cram_state_is("stale"), "which is nothing bad: %s",
	   cram_state());
	ok(pages_on(memory, length, HOME) + pages_on(memory, length, cram_nid) == length / PAGE,
	   "the rest is where it was");
	ok(packed(memory, length, 9, ratio), "nothing is lost");
	ok(card_value("stored") <= room, "the card stores no more than it has");

	/* A full card is one like any other: pages come home from it. */
	ok(written(memory, LENGTH), "pages come home from a full card");
	/* Room for one that is freed comes only after it was trimmed. */
	munmap(memory, length / 2);
	ok(cram_promise_holds(), "the promise holds with half of it freed");
	munmap(memory + length / 2, length / 2);
	ok(cram_promise_holds(), "and with all of it freed");
	ok(cram_empties(30), "all of it is trimmed");
	ok(cram_has_credit(16UL << 20, 10), "and credit is there again");
	ok(cram_becomes("normal", 10), "all is normal again");
	ok(card_value("stored") < 1UL << 20, "the card holds nothing (%llu bytes)",
	   (unsigned long long)card_value("stored"));
}

static void as_it_comes_up(void)
{
	uint64_t logical = cram_bytes("logical_bytes"), physical = cram_bytes("physical_bytes");

	ok(logical == 512UL << 20, "the card is as large as it says");
	ok(physical > 0 && physical < 128UL << 20, "and has less, metadata not counted");
	ok(cram_has_credit(2 * LENGTH, 10), "it gives credit");
	ok(cram_state_is("normal"), "it is normal: %s", cram_state());
	ok(cram_bytes("resident_bytes") == 0 && cram_bytes("quarantined_bytes") == 0,
	   "it is empty");
	ok(cram_bytes("reserve_bytes") > 0, "something is in reserve");
	ok(cram_bytes("pressure") == 0, "no pressure");
	ok(cram_promise_holds(), "the promise holds");
	ok(cram_credit_is_free_memory(), "what is free there is paid for");
}

/* All of the node's memory blocks but the last go offline, or come back. */
static void one_block(const char *state)
{
	char path[PATH_MAX];
	glob_t blocks;

	snprintf(path, sizeof(path), "/sys/devices/system/node/node%d/memory[0-9]*", cram_nid);
	need(glob(path, 0, NULL, &blocks) == 0, "the node has memory blocks");
	for (size_t i = 0; i + 1 < blocks.gl_pathc; i++) {
		snprintf(path, sizeof(path), "%s/state", blocks.gl_pathv[i]);
		need(write_file(path, state) == 0, "%s: %s", path, state);
	}
	globfree(&blocks);
}

/* Moves small pages there until all have come; there is room for them, by and by. */
static void move_all(char *memory, size_t length)
{
	for (int i = 0; i < 100 && !all_there(memory, length); i++) {
		for (size_t at = 0; at < length; at += LENGTH)
			if (!all_there(memory + at, LENGTH))
				move_to(memory + at, LENGTH, cram_nid);
		usleep(100000);
	}
	need(all_there(memory, length), "%zu of %zu pages are there",
	     pages_on(memory, length, cram_nid), length / PAGE);
}

/*
 * Where nothing is free but single frames, folios of a middle order come in parts, and keep
 * nothing behind them from coming.
 */
static void middle_orders(void)
{
	static const char orders[] = "/sys/kernel/mm/transparent_hugepage/hugepages-64kB/enabled";
	const size_t most = memory_block_bytes(), small = 1UL << 20;
	char *filling = map_anonymous(most), *memory = map_huge(2 * small);

	if (!blocks_by_sysfs())
		return;
	note("folios of a middle order");
	need(madvise(filling, most, MADV_NOHUGEPAGE) == 0 &&
		     madvise(memory + small, small, MADV_NOHUGEPAGE) == 0,
	     "small pages: %m");
	one_block("offline");
	memset(filling, 0, most);
	move_all(filling, most);
	for (size_t at = 0; at < most; at += 2 * PAGE)
		need(madvise(filling + at, PAGE, MADV_DONTNEED) == 0, "every second goes: %m");
	need(write_file(orders, "always") == 0, "folios of 64 KiB");
	pack(memory, 2 * small, 11, 4);
	need(write_file(orders, "inherit") == 0, "no more of them");
	need(frame_is(frame_of(memory), KPF_COMPOUND_HEAD) &&
		     frame_is(frame_of(memory + PAGE), KPF_COMPOUND_TAIL) &&
		     frame_is(frame_of(memory + 16 * PAGE), KPF_COMPOUND_HEAD),
	     "they are of a middle order");
	need(cram_has_credit(2 * small, 20), "there are single frames");
	move_to(memory, 2 * small, cram_nid);
	ok(all_there(memory + small, small), "small pages come behind them");
	ok(all_there(memory, small), "and they in parts (%zu of %zu pages)",
	   pages_on(memory, small, cram_nid), small / PAGE);
	ok(packed(memory, 2 * small, 11, 4), "with all that was in them");
	munmap(memory, 2 * small);
	munmap(filling, most);
	ok(cram_empties(30), "all of it is trimmed");
	one_block("online_movable");
}

int main(void)
{
	cram_up();
	khugepaged_sleeps();
	write_file("/sys/kernel/mm/transparent_hugepage/shmem_enabled", "advise");
	as_it_comes_up();
	for (size_t i = 0; i < COUNT(KINDS); i++)
		for (size_t j = 0; j < COUNT(WAYS); j++)
			there_and_back(&KINDS[i], &WAYS[j], j % 2 ? MIXED : 4);
	for (size_t i = 0; i < COUNT(KINDS); i++)
		if (KINDS[i].huge)
			parts_of(&KINDS[i]);
	counted_once("memory", base(4), LENGTH / PAGE / 2);
	counted_once("a file", file_shared(4), LENGTH / PAGE);
	by_reclaim();
	middle_orders();
	full(1);
	ok(card_value("peak-excess") == 0, "the card was never asked for more than it has");
	ok(card_value("over-capacity-pages") == 0, "and lost nothing");
	return done();
}
