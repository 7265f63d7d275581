// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Token buckets, and what DRAM can be had.
 */
#include "policy/policy.h"
#include "policy/saturate.h"

typedef unsigned __int128 u128;

uint64_t cram_bucket_fill(struct cram_bucket *b, uint64_t now_ms, uint64_t rate, uint64_t burst)
{
	if (b->filled_ms != 0 && now_ms > b->filled_ms) {
		u128 tokens = (u128)rate * (now_ms - b->filled_ms) / 1000 + b->tokens;

		b->tokens = tokens < burst ? (uint64_t)tokens : burst;
	}
	if (b->tokens > burst)
		b->tokens = burst; /* the configured rate was lowered */
	b->filled_ms = now_ms ? now_ms : 1;
	return b->tokens;
}

void cram_bucket_take(struct cram_bucket *b, uint64_t bytes)
{
	b->tokens = sub(b->tokens, bytes);
}

uint64_t cram_headroom(const struct cram_policy_params *params, uint64_t total)
{
	return max(scale(total, params->headroom_permille, 1000), params->headroom_min_bytes);
}

uint64_t cram_dram_available(const struct cram_dram_input *n, uint32_t cache_permille)
{
	uint64_t cache = scale(sub(n->inactive_file, n->dirty), cache_permille, 1000);

	return min(sub(add(n->free, cache), n->low), n->total);
}
