// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Progressive filling: the claims in the order in which they are satisfied.
 */
#include "policy/waterfill.h"

#include <stdbool.h>

typedef unsigned __int128 u128;

/* Is @a satisfied at a lower water level than @b? Level = demand / weight, without dividing. */
static bool before(const struct cram_claim *a, const struct cram_claim *b)
{
	u128 l = (u128)a->demand * b->weight, r = (u128)b->demand * a->weight;

	return l != r ? l < r : a->id < b->id;
}

static void sift(struct cram_claim *c, size_t root, size_t n)
{
	struct cram_claim moving = c[root];

	for (;;) {
		size_t child = 2 * root + 1;

		if (child >= n)
			break;
		if (child + 1 < n && before(&c[child], &c[child + 1]))
			child++;
		if (!before(&moving, &c[child]))
			break;
		c[root] = c[child];
		root = child;
	}
	c[root] = moving;
}

/* Heapsort: qsort(3) of glibc allocates for more than a kilobyte. */
static void sort(struct cram_claim *c, size_t n)
{
	for (size_t i = n / 2; i-- > 0;)
		sift(c, i, n);
	for (size_t i = n; i-- > 1;) {
		struct cram_claim top = c[0];

		c[0] = c[i];
		c[i] = top;
		sift(c, 0, i);
	}
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
	sort(claims, n);
	for (size_t i = 0; i < n; i++) {
		uint64_t level = (uint64_t)((u128)capacity * claims[i].weight / weights);

		if (claims[i].grant > level)
			claims[i].grant = level;
		capacity -= claims[i].grant;
		weights -= claims[i].weight;
	}
}
