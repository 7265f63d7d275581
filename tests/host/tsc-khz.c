// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Prints the frequency of this machine's time-stamp counter in kHz. The emulated host's counter is
 * this one, and its kernel would measure it against an emulated timer: on a busy machine it gets
 * that wrong by a factor, and all its clocks with it. Nothing is printed where there is no counter.
 */
#include <stdint.h>
#include <stdio.h>
#include <time.h>

#if defined(__x86_64__)
#include <x86intrin.h>

/* A reading of both clocks is good when nothing came between them. */
#define CLOSE_NS 2000
#define TRIES	 1000

static int64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC_RAW, &ts);
	return ts.tv_sec * INT64_C(1000000000) + ts.tv_nsec;
}

static void both(int64_t *ret_ns, uint64_t *ret_tsc)
{
	int64_t best = INT64_MAX;

	for (int i = 0; i < TRIES && best > CLOSE_NS; i++) {
		int64_t before = now_ns(), after;
		uint64_t tsc = __rdtsc();

		after = now_ns();
		if (after - before < best) {
			best = after - before;
			*ret_ns = before + (after - before) / 2;
			*ret_tsc = tsc;
		}
	}
}

int main(void)
{
	const struct timespec pause = { .tv_nsec = 50000000 };
	int64_t start_ns = 0, end_ns = 0;
	uint64_t start_tsc = 0, end_tsc = 0;

	both(&start_ns, &start_tsc);
	nanosleep(&pause, NULL);
	both(&end_ns, &end_tsc);
	printf("%.0f\n", (double)(end_tsc - start_tsc) * 1e6 / (double)(end_ns - start_ns));
	return 0;
}
#else
int main(void)
{
	return 0;
}
#endif
