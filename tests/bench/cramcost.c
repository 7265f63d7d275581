/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What memory on a compressed card costs who uses it, beside an ordinary node, zswap and
 * zram, by the time-stamp counter: under `boot --icount` that counts instructions. One line
 * a path: where the pages were, what was done, and the least cost of one page in many
 * rounds, so that what the kernel does now and then is in none of them.
 *
 *	bench-cramcost	needs a card, a node of ordinary memory (node 1), and zram0
 */
#include "../kernel/cram.h"

#include <immintrin.h>
#include <numaif.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <x86intrin.h>

#define OTHER  1   /* the node of ordinary memory that is no processor's */
#define PAGES  512 /* of a round: a batch, and a huge page */
#define SIZE   (PAGES * PAGE)
#define ROUNDS 12
#define RATIO  2

static char *small, *huge, *shared; /* shared: a memfd, as guests' memory is */
static uint64_t version;

/* Other contents in each round: what is known already might be cheaper. */
static void renew(char *memory)
{
	pack(memory, SIZE, ++version << 32, RATIO);
}

static void on(const char *memory, int nid, const char *what)
{
	const size_t there = pages_on(memory, SIZE, nid);

	need(there == PAGES, "%s: all pages are on node %d (%zu)", what, nid, there);
}

static uint64_t by_move(char *memory, int nid)
{
	static void *pages[PAGES];
	static int nodes[PAGES], status[PAGES];
	uint64_t start, end;

	for (int i = 0; i < PAGES; i++) {
		pages[i] = memory + (size_t)i * PAGE;
		nodes[i] = nid;
	}
	start = __rdtsc();
	move_pages(0, PAGES, pages, nodes, status, MPOL_MF_MOVE);
	end = __rdtsc();
	on(memory, nid, "move_pages");
	return end - start;
}

static uint64_t by_policy(char *memory, int nid)
{
	const unsigned long mask = 1UL << nid;
	uint64_t start = __rdtsc(), end;

	mbind(memory, SIZE, MPOL_BIND, &mask, 64, MPOL_MF_MOVE);
	end = __rdtsc();
	on(memory, nid, "mbind");
	mbind(memory, SIZE, MPOL_DEFAULT, NULL, 0, 0);
	return end - start;
}

static uint64_t by_reading(const char *memory)
{
	uint64_t start = __rdtsc();

	for (size_t i = 0; i < SIZE; i += PAGE)
		(void)((volatile const char *)memory)[i];
	return __rdtsc() - start;
}

static uint64_t by_writing(char *memory)
{
	uint64_t start = __rdtsc();

	for (size_t i = 0; i < SIZE; i += PAGE)
		((volatile char *)memory)[i] = memory[i];
	return __rdtsc() - start;
}

static uint64_t by_pageout(char *memory)
{
	uint64_t start = __rdtsc(), end;

	need(madvise(memory, SIZE, MADV_PAGEOUT) == 0, "MADV_PAGEOUT: %m");
	end = __rdtsc();
	need(pages_on(memory, SIZE, HOME) == 0, "all pages are out (%zu are not)",
	     pages_on(memory, SIZE, HOME));
	return end - start;
}

/* The least of all rounds, a page. */
static void keep_least(double *least, uint64_t cost)
{
	const double per_page = (double)cost / PAGES;

	if (*least == 0 || per_page < *least)
		*least = per_page;
}

static void say_cost(const char *where, const char *what, double cost)
{
	printf("%s %s %.0f\n", where, what, cost);
	fflush(stdout);
}

/* Home by hand, for the huge page not to be split by writing to it. */
static void go_home(char *memory)
{
	for (int i = 0; i < 20 && pages_on(memory, SIZE, HOME) < PAGES; i++)
		move_to(memory, SIZE, HOME);
	on(memory, HOME, "home");
}

static void wait_for_credit(int nid)
{
	if (nid == cram_nid)
		need(cram_has_credit(2 * SIZE, 60), "there is credit");
	usleep(200000);
}

static void measure_node(const char *where, int nid)
{
	double move = 0, policy = 0, moved_huge = 0, policy_huge = 0, read = 0, write = 0,
	       write_shared = 0;

	for (int i = 0; i < ROUNDS; i++) {
		renew(small);
		go_home(small);
		wait_for_credit(nid);
		keep_least(&move, by_move(small, nid));
		keep_least(&read, by_reading(small));
		keep_least(&write, by_writing(small));
		renew(small);
		go_home(small);
		wait_for_credit(nid);
		keep_least(&policy, by_policy(small, nid));
		go_home(huge);
		wait_for_credit(nid);
		keep_least(&moved_huge, by_move(huge, nid));
		go_home(huge);
		wait_for_credit(nid);
		keep_least(&policy_huge, by_policy(huge, nid));
		renew(shared);
		go_home(shared);
		wait_for_credit(nid);
		by_move(shared, nid);
		keep_least(&write_shared, by_writing(shared));
	}
	say_cost(where, "move_pages", move);
	say_cost(where, "mbind", policy);
	say_cost(where, "move_pages_huge", moved_huge);
	say_cost(where, "mbind_huge", policy_huge);
	say_cost(where, "read", read);
	say_cost(where, "write", write);
	say_cost(where, "write_shared", write_shared);
}

static void measure_swap(const char *where)
{
	double out = 0, read = 0, write = 0, write_shared = 0;

	for (int i = 0; i < ROUNDS; i++) {
		renew(small);
		keep_least(&out, by_pageout(small));
		keep_least(&read, by_reading(small));
		renew(small);
		by_pageout(small);
		keep_least(&write, by_writing(small));
		renew(shared);
		by_pageout(shared);
		keep_least(&write_shared, by_writing(shared));
	}
	say_cost(where, "pageout", out);
	say_cost(where, "read", read);
	say_cost(where, "write", write);
	say_cost(where, "write_shared", write_shared);
}

/* As the kernel does after it has copied a page. */
__attribute__((target("clwb"))) static void measure_flush(void)
{
	double flush = 0;

	for (int i = 0; i < ROUNDS; i++) {
		uint64_t start = __rdtsc();

		for (size_t at = 0; at < SIZE; at += 64)
			_mm_clwb(small + at);
		keep_least(&flush, __rdtsc() - start);
	}
	say_cost("processor", "flush", flush);
}

static void with_sampling(const char *interval)
{
	char path[96];

	snprintf(path, sizeof(path), "/sys/devices/system/node/node%d/cram/sample_interval",
		 cram_nid);
	need(write_file(path, interval) == 0, "sample interval %s: %m", interval);
}

int main(void)
{
	static const char *const COMPRESSORS[] = { "lzo", "lzo-rle", "zstd" };
	char where[32];

	cram_up();
	need(node_in("has_memory", OTHER), "node 1 is ordinary memory");
	small = map_anonymous(SIZE);
	need(madvise(small, SIZE, MADV_NOHUGEPAGE) == 0, "small pages: %m");
	huge = map_huge(SIZE);
	shared = map_shared(SIZE, NULL);
	renew(small);
	renew(huge);
	renew(shared);
	measure_flush();
	measure_node("node", OTHER);
	with_sampling("0");
	measure_node("card", cram_nid);
	with_sampling("64");
	measure_node("card_sampling", cram_nid);

	swap_on("256M");
	measure_swap("zram");
	for (size_t i = 0; i < COUNT(COMPRESSORS); i++) {
		need(write_file("/sys/module/zswap/parameters/compressor", COMPRESSORS[i]) == 0,
		     "zswap with %s: %m", COMPRESSORS[i]);
		need(write_file("/sys/module/zswap/parameters/enabled", "1") == 0, "zswap: %m");
		snprintf(where, sizeof(where), "zswap_%s", COMPRESSORS[i]);
		measure_swap(where);
	}
	return 0;
}
