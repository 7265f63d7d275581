// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Names of the policy's enumerations, the edges of the age buckets, and nothing that decides.
 */
#include "policy/policy.h"

#include <errno.h>
#include <string.h>

#include "util/cleanup.h"

static const char *const modes[] = {
	[CRAM_MODE_OFF] = "off",
	[CRAM_MODE_MONITOR] = "monitor",
	[CRAM_MODE_AUTO] = "auto",
};

static const char *const tiers[] = {
	[CRAM_TIER_CRAM] = "cram",
	[CRAM_TIER_NODE] = "node",
	[CRAM_TIER_ZSWAP] = "zswap",
};

static const struct {
	const char *name;
	const char *text;
} states[] = {
	[CRAM_VM_OFF] = { "off", "its mode is off, and nothing of it is on a tier" },
	[CRAM_VM_INELIGIBLE] = { "ineligible", "its memory cannot be tiered; vm show says why" },
	[CRAM_VM_MONITOR] = { "monitor", "measured, and nothing of it goes out" },
	[CRAM_VM_WAITING] = { "waiting", "not observed for one cold age yet" },
	[CRAM_VM_STEADY] = { "steady", "nothing is to move" },
	[CRAM_VM_DEMOTING] = { "demoting", "cold memory goes to its tier" },
	[CRAM_VM_PROMOTING] = { "promoting", "memory that is in use comes home" },
	[CRAM_VM_BACKOFF] = { "backoff", "too much came back: nothing goes out for a while" },
	[CRAM_VM_OVER_QUOTA] = { "over-quota",
				 "above its quota or hard limit, or below its floor: it "
				 "gives back" },
	[CRAM_VM_OVER_SHARE] = { "over-share",
				 "above its share of a contended tier: it gives back" },
	[CRAM_VM_DRAINING] = { "draining",
			       "all of it comes home: by a drain, or since its mode is not auto" },
	[CRAM_VM_DRAINED] = { "drained", "all of it is home, and stays there until resume" },
	[CRAM_VM_PAUSED] = { "paused", "nothing goes out, by an operator, or while it migrates, is "
				       "saved or dumped" },
};

static const struct {
	const char *name;
	const char *text;
} reasons[] = {
	[CRAM_REASON_NONE] = { "none", "nothing to say" },
	[CRAM_REASON_MODE] = { "mode", "its mode forbids demotion" },
	[CRAM_REASON_INELIGIBLE] = { "ineligible", "its memory cannot be tiered" },
	[CRAM_REASON_PAUSED] = { "paused", "demotion is paused" },
	[CRAM_REASON_DRAIN] = { "drain", "it is being drained; still on the tier" },
	[CRAM_REASON_NO_TIER] = { "no-tier", "there is no tier that accepts memory now" },
	[CRAM_REASON_WARMUP] = { "warmup", "not yet observed for one cold age; ms left" },
	[CRAM_REASON_BACKOFF] = { "backoff", "demoted memory came back too fast; ms left, level" },
	[CRAM_REASON_COLD] = { "cold", "DRAM bytes not accessed for the cold age (s)" },
	[CRAM_REASON_SLO_OVER] = { "slo-over", "bytes per minute came back, more than allowed" },
	[CRAM_REASON_QUOTA] = { "quota", "device bytes against the quota" },
	[CRAM_REASON_HARD_LIMIT] = { "hard-limit", "bytes on the tier against the hard limit" },
	[CRAM_REASON_FLOOR] = { "floor", "DRAM bytes against the floor" },
	[CRAM_REASON_SHARE] = { "share", "device bytes against the fair share of the tier" },
	[CRAM_REASON_TIER_FULL] = { "tier-full", "bytes wanted against what the tier takes now" },
	[CRAM_REASON_TIER_PRESSURE] = { "tier-pressure",
					"device bytes of all VMs against the tier's budget" },
	[CRAM_REASON_RATE] = { "rate", "bytes wanted against what the rate limits allow" },
	[CRAM_REASON_HEADROOM] = { "headroom", "bytes wanted home against DRAM above headroom" },
	[CRAM_REASON_DRAM_PRESSURE] = { "dram-pressure",
					"DRAM to be had is below headroom: younger pages may go" },
	[CRAM_REASON_HYSTERESIS] = { "hysteresis",
				     "difference to the target, too small to act on" },
	[CRAM_REASON_HOT] = { "hot", "bytes on the tier were accessed and come home" },
	[CRAM_REASON_SWAP] = { "swap",
			       "bytes that DRAM has no room for against those that swap takes" },
};

_Static_assert(ARRAY_SIZE(modes) == CRAM_N_MODES, "a name per mode");
_Static_assert(ARRAY_SIZE(tiers) == CRAM_N_TIERS, "a name per tier");
_Static_assert(ARRAY_SIZE(states) == CRAM_N_VM_STATES, "a name per state");
_Static_assert(ARRAY_SIZE(reasons) == CRAM_N_REASONS, "a name per reason");

const char *cram_mode_name(enum cram_mode mode)
{
	return modes[mode];
}

const char *cram_tier_name(enum cram_tier tier)
{
	return tiers[tier];
}

const char *cram_vm_state_name(enum cram_vm_state state)
{
	return states[state].name;
}

const char *cram_vm_state_text(enum cram_vm_state state)
{
	return states[state].text;
}

const char *cram_reason_name(enum cram_reason reason)
{
	return reasons[reason].name;
}

const char *cram_reason_text(enum cram_reason reason)
{
	return reasons[reason].text;
}

int cram_mode_parse(const char *text, enum cram_mode *ret_mode)
{
	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		if (strcmp(text, modes[i]) == 0) {
			*ret_mode = (enum cram_mode)i;
			return 0;
		}
	}
	return -EINVAL;
}

int cram_tier_parse(const char *text, enum cram_tier *ret_tier)
{
	for (size_t i = 0; i < ARRAY_SIZE(tiers); i++) {
		if (strcmp(text, tiers[i]) == 0) {
			*ret_tier = (enum cram_tier)i;
			return 0;
		}
	}
	return -EINVAL;
}

/* About four steps per doubling where cold ages are chosen, coarser above an hour. */
static const uint32_t edges[CRAM_AGE_BUCKETS] = {
	0,   1,	  2,   4,   8,	 15,  20,  30,	45,   60,   75,	  90,
	120, 150, 180, 240, 300, 420, 600, 900, 1200, 1800, 3600, 7200,
};

uint32_t cram_age_edge(unsigned int bucket)
{
	return bucket < CRAM_AGE_BUCKETS ? edges[bucket] : UINT32_MAX;
}

unsigned int cram_age_bucket(uint32_t age_s)
{
	unsigned int i = CRAM_AGE_BUCKETS - 1;

	while (edges[i] > age_s)
		i--;
	return i;
}
