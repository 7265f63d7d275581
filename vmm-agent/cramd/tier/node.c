// SPDX-License-Identifier: GPL-2.0-or-later
/* An ordinary slower NUMA node: what is there takes as much as it is. */
#include "../sense/snapshot.h"
#include "policy/saturate.h"
#include "tier.h"

#include <string.h>

/* What such a node keeps free for the kernel itself. */
#define KEEP_PERMILLE 20
#define KEEP_MIN      (16 * MiB)

static bool takes(const struct node *node, const struct cram_host_settings *set)
{
	uint64_t mask;

	if (node->is_private || !strcmp(set->tier_nodes, "none"))
		return false;
	if (!strcmp(set->tier_nodes, "auto"))
		return node->has_memory && !node->has_cpu;
	return parse_node_list(set->tier_nodes, &mask) == 0 && (mask & UINT64_C(1) << node->nid);
}

/* It gives up page cache as DRAM does. */
static uint64_t available_on(const struct snapshot *s, const struct node *node,
			     const struct cram_host_settings *set)
{
	struct cram_dram_input dram = snapshot_dram(s, node);

	return cram_dram_available(&dram, set->policy.cache_permille);
}

static int read_node(struct snapshot *s, size_t t, const struct host *host,
		     const struct cram_host_settings *set)
{
	const struct node *node = nodes_find(&s->nodes, s->tiers[t].nid);
	uint64_t keep = max(node->total * KEEP_PERMILLE / 1000, KEEP_MIN);
	uint64_t available = available_on(s, node, set);

	(void)host;
	s->tier_capacity[t] = node->total;
	s->tiers[t].budget = sub(node->total, keep);
	s->tiers[t].free = sub(available, keep);
	s->tiers[t].accepting = node->has_memory && available > keep;
	s->tier_state[t] = s->tiers[t].accepting ? "online" : "full";
	return 0;
}

static void meter(struct snapshot *s, size_t t, const struct host *host,
		  const struct cram_host_settings *set)
{
	const struct node *node = nodes_find(&s->nodes, s->tiers[t].nid);
	uint64_t used = node->total - available_on(s, node, set);

	for (size_t i = 0; i < host->vms.n; i++) {
		struct cram_vm_input *in = &host->vms.v[i]->input;

		if (in->tier != (int)t)
			continue;
		in->device_bytes = in->device_upper = in->tier_bytes;
		in->ratio_q16 = 1U << 16;
	}
	s->tier_device[t] = s->tier_used[t];
	s->tiers[t].used_other = sub(used, s->tier_own[t]);
}

const struct tier tier_node = {
	.kind = CRAM_TIER_NODE,
	.takes = takes,
	.read = read_node,
	.meter = meter,
};
