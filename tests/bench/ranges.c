// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What remembering and ageing one tebibyte of guest memory costs, at 2 MiB resolution: bytes of
 * state, and processor time of a round's passes over it. Figures on standard output, one a line.
 */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "cramd/classify/ranges.h"
#include "cramd/sense/pages.h"

#define RANGES	(UINT64_C(1) << 40 >> 21)
#define REPEATS 15

static uint64_t cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static int ascending(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void print(const char *what, uint64_t *samples)
{
	qsort(samples, REPEATS, sizeof(*samples), ascending);
	printf("%s %.3f ms (%.3f to %.3f)\n", what, (double)samples[REPEATS / 2] / 1e6,
	       (double)samples[0] / 1e6, (double)samples[REPEATS - 1] / 1e6);
}

int main(void)
{
	static size_t picked[64];
	uint64_t sum[REPEATS], pick[REPEATS], due[REPEATS], wanted = 0;
	struct ranges_summary summary;
	struct ranges ranges;

	if (ranges_init(&ranges, RANGES) < 0)
		return 1;
	ranges.idle_flags = true;
	ranges.damon = true;
	ranges.nominated = true;
	/* Ages spread as after a day: a third hot, the rest of all ages. */
	for (size_t i = 0; i < RANGES; i++) {
		struct range *range = &ranges.v[i];

		range->dram_pages = PAGES_PER_RANGE;
		range->checked_s = 90000;
		range->armed_s = 90000 - (i % 3 ? (uint32_t)(i * 2654435761U % 80000) : 0);
		range->flags = RANGE_ARMED;
	}
	for (int n = 0; n < REPEATS; n++) {
		uint64_t start = cpu_ns();

		ranges_summarise(&ranges, 90001, &summary);
		sum[n] = cpu_ns() - start;
		start = cpu_ns();
		wanted += ranges_pick_cold(&ranges, 128U << 20, 120, picked, 64);
		pick[n] = cpu_ns() - start;
		start = cpu_ns();
		for (size_t i = 0; i < RANGES; i++)
			wanted += range_wants_look(&ranges, &ranges.v[i], 30, 90001);
		due[n] = cpu_ns() - start;
	}
	printf("state %zu bytes per TiB\n", (size_t)RANGES * sizeof(struct range));
	print("summarise", sum);
	print("pick", pick);
	print("due", due);
	ranges_free(&ranges);
	return wanted ? 0 : 1;
}
