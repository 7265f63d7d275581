/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Repeatable random numbers for tests: the seed is printed, CRAM_SEED replays it.
 */
#pragma once

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* splitmix64 (Steele, Lea, Flood 2014) */
static inline uint64_t random_u64(uint64_t *state)
{
	uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

/* Uniform enough in [lo, hi]. */
static inline uint64_t random_in(uint64_t *state, uint64_t lo, uint64_t hi)
{
	return lo + random_u64(state) % (hi - lo + 1);
}

static inline uint64_t random_seed(const char *test)
{
	const char *env = getenv("CRAM_SEED");
	struct timespec ts;
	uint64_t seed;

	clock_gettime(CLOCK_REALTIME, &ts);
	seed = env ? strtoull(env, NULL, 0) : (uint64_t)ts.tv_sec * 1000003 + (uint64_t)ts.tv_nsec;
	printf("# %s: CRAM_SEED=%" PRIu64 "\n", test, seed);
	return seed;
}
