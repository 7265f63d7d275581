/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Weighted max-min sharing of one divisible resource ("progressive filling", Bertsekas and
 * Gallager, Data Networks, 6.5.2). Knows nothing of VMs or memory.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct cram_claim {
	uint64_t demand;
	uint64_t grant;	 /* result: <= demand */
	uint32_t weight; /* 0 counts as 1 */
	uint32_t id;	 /* the caller's; also breaks ties, so that the result is deterministic */
};

/*
 * Give every claim its share of @capacity: the grants sum to min(capacity, sum of demands) less
 * rounding (under one byte per claim), and no claim can gain but by a loss of one with a smaller
 * grant per weight. Reorders @claims. O(n log n), allocates nothing.
 */
void cram_waterfill(struct cram_claim *claims, size_t n, uint64_t capacity);
