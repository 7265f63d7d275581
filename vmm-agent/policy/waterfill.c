// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Progressive filling: the claims in the order in which they are satisfied.
 */
#include "policy/waterfill.h"

#include "util/sort.h"

typedef unsigned __int128 u128;

/* Is @a satisfied at a lower water level than @b? Level = demand / weight, without dividing. */
static bool before(const void *a, const void *b, const void *context)
{
	const struct cram_claim *x = a, *y = b;
	u128 l = (u128)x->demand * y->weight, r = (u128)y->demand * x->weight;

	(void)context;
	return l != r ? l < r : x->id < y->id;
}

void cram_waterfill(struct cram_claim *claims, size_t n, uint64_t capacity)
{
	uint64_t weights = 0;
	u128 demands = 0;

	for (size_t i = 0; i < n; i++) {
		if (claims[i].weight == 0)
			claims[i].weight = 1;
		claims[i].grant = claims[i].demand;
		demands += claims[i].demand;
		weights += claims[i].weight;
	}
	if (demands <= capacity)
		return;
	cram_sort(claims, n, sizeof(*claims), before, NULL);
	for (size_t i = 0; i < n; i++) {
		uint64_t level = (uint64_t)((u128)capacity * claims[i].weight / weights);

		if (claims[i].grant > level)
			claims[i].grant = level;
		capacity -= claims[i].grant;
		weights -= claims[i].weight;
	}
}
