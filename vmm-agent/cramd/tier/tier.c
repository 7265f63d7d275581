// SPDX-License-Identifier: GPL-2.0-or-later
/* The kinds of slow memory there are; see tier.h. */
#include "tier.h"

static const struct tier *const tiers[CRAM_N_TIERS] = {
	[CRAM_TIER_CRAM] = &tier_cram,
	[CRAM_TIER_NODE] = &tier_node,
	[CRAM_TIER_ZSWAP] = &tier_zswap,
};

const struct tier *tier_of_kind(enum cram_tier kind)
{
	return (size_t)kind < CRAM_N_TIERS ? tiers[kind] : NULL;
}
