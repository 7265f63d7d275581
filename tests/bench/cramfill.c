/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How fast a card of compressed memory fills. Room comes of reports alone: of what is free
 * the part 4096 / (r W) can be used until the next report, with r the ratio of what comes, so
 * that it takes ln 0.02 / ln (1 - 4096 / (r W)) reports until 98 % is used. Prints a line for
 * each ratio: the ratio; how often all credit was used, and the next report waited for, until
 * 98 % were; how often by the formula; and the seconds that it took without waiting, with
 * reports that take 10, 100 and 500 ms.
 *
 *	bench-cramfill	needs a card of 32 MiB that says that it has 256, and the monitor
 */
#include "../kernel/card.h"
#include "../kernel/cram.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define MIB    (1UL << 20)
#define LENGTH (160 * MIB)
#define BATCH  (512 * PAGE)
#define PART   0.98

/* As much of each page is random as gives the ratio. */
static void fill_with(char *memory, double ratio)
{
	for (size_t at = 0; at < LENGTH; at += PAGE) {
		const size_t length = (size_t)(PAGE / ratio);

		memset(memory + at, 0, PAGE);
		pack_page(memory + at, at, 1);
		memset(memory + at + length, 0x55, PAGE - length);
	}
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Of what may be stored, the part that is. */
static double part_used(void)
{
	return (double)cram_bytes("stored_bytes") /
	       (double)(cram_bytes("physical_bytes") - cram_bytes("reserve_bytes"));
}

static bool is_settled(const void *generation)
{
	return cram_bytes("unsettled_bytes") == 0 &&
	       cram_bytes("generation") >= *(const uint64_t *)generation + 3;
}

static size_t next; /* of the memory, to come */

/* As many pages as there is credit for. */
static void use_credit(char *memory)
{
	size_t pages = cram_bytes("credit_bytes") / cram_bytes("worst_bytes");

	while (pages && next < LENGTH) {
		const size_t batch = pages < BATCH / PAGE ? pages : BATCH / PAGE;

		move_to(memory + next, batch * PAGE, cram_nid);
		/* What found no room is the first to come the next time. */
		for (size_t i = 0; i < batch; i++) {
			if (node_of(memory + next) != cram_nid)
				return;
			next += PAGE;
		}
		pages -= batch;
	}
}

static void empty(char *memory)
{
	for (int i = 0; i < 10 && pages_on(memory, LENGTH, cram_nid); i++)
		move_to(memory, LENGTH, HOME);
	need(cram_empties(60) && cram_has_credit(20 * MIB, 60), "the card is empty to begin with");
	next = 0;
}

/* Each time all that the newest report made room for. */
static unsigned int rounds(char *memory)
{
	unsigned int n = 0;

	for (empty(memory); part_used() < PART && next < LENGTH; n++) {
		uint64_t generation;

		use_credit(memory);
		generation = cram_bytes("generation");
		need(eventually(60, is_settled, &generation), "what came is settled");
	}
	return n;
}

static double seconds(char *memory, unsigned int interval)
{
	double start;

	empty(memory);
	if (interval > 10)
		card_fault("reports-slow", true, interval - 10);
	start = now();
	while (part_used() < PART && next < LENGTH)
		use_credit(memory);
	start = now() - start;
	if (interval > 10)
		card_fault("reports-slow", false, 0);
	return start;
}

int main(void)
{
	static const double RATIOS[] = { 1.5, 2, 4 };
	static const unsigned int INTERVALS[] = { 10, 100, 500 };
	char *memory;

	cram_up();
	memory = map_anonymous(LENGTH);
	need(madvise(memory, LENGTH, MADV_NOHUGEPAGE) == 0, "small pages: %m");
	for (size_t i = 0; i < COUNT(RATIOS); i++) {
		unsigned int n;
		double ratio;

		fill_with(memory, RATIOS[i]);
		n = rounds(memory);
		ratio = (double)cram_bytes("resident_bytes") / (double)cram_bytes("stored_bytes");
		printf("fill %.2f %u %.1f", ratio, n,
		       log(1 - PART) / log(1 - 4096 / (ratio * (double)cram_bytes("worst_bytes"))));
		for (size_t k = 0; k < COUNT(INTERVALS); k++)
			printf(" %.1f", seconds(memory, INTERVALS[k]));
		printf("\n");
		fflush(stdout);
	}
	return 0;
}
