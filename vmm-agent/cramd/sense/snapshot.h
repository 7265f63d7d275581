/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The host and its VMs as libcram-policy reads them: one snapshot a round, from what the readers
 * and the looking threads have found. Nothing is decided here. Loop only.
 */
#pragma once

#include "../host.h"
#include "card.h"
#include "nodes.h"
#include "swapped.h"
#include "unfit.h"
#include "zswap.h"

#define TIERS_MAX 8

struct snapshot {
	struct nodes nodes;
	bool nodes_stale;	 /* they could not be read: it is what was read before */
	uint64_t low[NODES_MAX]; /* the kernel's low watermarks, by node */
	struct unfit unfit;
	uint64_t unfit_nodes; /* mask: of those with memory */

	/* Of a host with nodes that only reclaim reaches: does it demote, is there swap? */
	bool demotion, swap;
	struct zswap zswap; /* read while a VM may use it, or is to leave it */

	struct cram_tier_input tiers[TIERS_MAX];
	uint64_t tier_capacity[TIERS_MAX]; /* device bytes */
	const char *tier_state[TIERS_MAX]; /* for people */
	struct card cards[TIERS_MAX];	   /* of tiers of kind cram ... */
	int card_nid[TIERS_MAX];	   /* ... which was node card_nid's; 0: none */
	uint64_t tier_device[TIERS_MAX];   /* device bytes in use, whosever */
	uint64_t tier_used[TIERS_MAX];	   /* by VMs ... */
	uint64_t tier_own[TIERS_MAX];	   /* ... whose tier it is; the rest is to leave */
	uint32_t tier_vms[TIERS_MAX];
	size_t n_tiers;
	struct cram_dram_input dram[CRAM_MAX_DRAM];
	size_t n_dram;
	CRAM_ARRAY(struct cram_vm_input) inputs; /* in the order of host->vms */

	/* How fast memory comes home. */
	uint64_t promoted, promote_rate;

	uint64_t taken; /* how many have been */
	struct cram_snapshot view;
};

/*
 * Also tells the looking threads what they are to look at. 0 or -ENOMEM. The buckets of the host
 * and of its VMs are filled.
 */
int snapshot_take(struct snapshot *s, struct host *host, const struct cram_host_settings *set,
		  uint64_t now_ms);
/* A node as policy reads it when it is nobody's tier. */
struct cram_dram_input snapshot_dram(const struct snapshot *s, const struct node *node);

/* What stands for the node of tier @t: a node, or NODE_SWAP. */
int snapshot_tier_nid(const struct snapshot *s, size_t t);

void snapshot_free(struct snapshot *s);

/* The last one of those VMs that are still there, as `cramctl policy simulate` reads it. NULL: out
 * of memory.
 */
struct json_object *snapshot_record(struct snapshot *s, const struct host *host,
				    const struct cram_policy_params *params);
