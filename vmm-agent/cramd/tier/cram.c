// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A private node of compressed RAM: the kernel guards the card and holds each cgroup to bytes of
 * its own; what these take on the card is for us to know (docs/design/cram.md).
 */
#include "cram.h"
#include "../sense/pages.h"
#include "../sense/snapshot.h"
#include "policy/estimate.h"
#include "policy/saturate.h"
#include "tier.h"

#include <errno.h>
#include <stdio.h>

/* Less room than this is none: memory is moved in pieces of that size. */
#define ROOM_MIN RANGE_BYTES

static bool takes(const struct node *node, const struct cram_host_settings *set)
{
	(void)set;
	return node->is_private;
}

bool cram_card_is_open(const struct card *card)
{
	return card->state == CARD_NORMAL || card->state == CARD_THROTTLED;
}

uint64_t cram_card_budget(const struct card *card, const struct cram_host_settings *set)
{
	uint64_t usable = sub(card->physical, card->reserve);
	uint64_t kept = scale(card->physical, set->policy.card_headroom_permille, 1000) +
			scale(usable, card->pressure, 1000);

	/* Old numbers say nothing of what is too much, and no relief would change them. */
	if (card->state == CARD_STALE)
		return CRAM_UNLIMITED;
	return card->state == CARD_OFFLINE ? 0 : sub(usable, kept);
}

static int read_card(struct snapshot *s, size_t t, const struct host *host,
		     const struct cram_host_settings *set)
{
	struct cram_tier_input *tier = &s->tiers[t];
	struct card *card = &s->cards[t];
	uint64_t claimed, room;
	int r;

	r = card_read(&host->root, tier->nid, card);
	if (r == -ENOENT)
		return r;
	if (r < 0 && s->card_nid[t] != tier->nid) {
		/* What is there stays: that it is too much is not known. */
		*card = (struct card){ .state = CARD_STALE, .worst = CRAM_PAGE_BYTES };
		s->tier_capacity[t] = 0;
		s->tier_state[t] = "unknown";
		tier->budget = CRAM_UNLIMITED;
		return 0;
	}
	/* Where it could not be read: as it was before. */
	s->card_nid[t] = tier->nid;
	claimed = add(card->stored, card->unsettled);
	room = sub(sub(card->physical, card->reserve), claimed);
	room -= scale(room, card->pressure, 1000);
	s->tier_capacity[t] = card->physical;
	s->tier_state[t] = card_state_name(card->state);
	tier->budget = cram_card_budget(card, set);
	tier->worst_q16 = cram_ratio_to_come(0, 0, card->worst);
	tier->free = scale(room, CRAM_PAGE_BYTES, card->worst);
	tier->accepting = cram_card_is_open(card) && tier->free >= ROOM_MIN;
	return 0;
}

/* The kernel has measured pages of the VM: its part of what is stored, and a bound from their
 * number. */
static void meter_sampled(const struct card *card, const struct cgroup_cram *cram,
			  struct cram_vm_input *in)
{
	/* What came since the report is in the sums already, and not yet in what is stored. */
	uint64_t now = scale_up(cram->device, add(card->stored, card->unsettled), card->stored);

	in->device_bytes = cram->device;
	in->device_upper = cram_device_upper(in->tier_bytes, max(now, cram->device),
					     card->stored ? cram->sampled : 0, card->worst);
}

/*
 * It has not: then all that is there counts as alike, and as a bound nobody takes more than all
 * together, nor more than the worst that its pages can.
 */
static void meter_unsampled(const struct card *card, struct cram_vm_input *in)
{
	uint64_t there = max(add(card->resident, card->dying), in->tier_bytes);

	in->device_bytes = scale(card->stored, in->tier_bytes, there);
	in->device_upper = min(add(card->stored, card->unsettled),
			       cram_device_upper(in->tier_bytes, 0, 0, card->worst));
}

/*
 * A node that mbind and move_pages do not reach fills by reclaim of the VM's cgroup alone. The
 * kernel takes what it finds cold, and where the node takes nothing, to swap.
 */
static bool fits(const struct snapshot *s, const struct node *node, const struct vm *vm,
		 const struct cram_host_settings *set, char *why, size_t size)
{
	(void)set;
	why[0] = '\0';
	if (!node->no_policy)
		return true;
	if (vm->cgroup.memory < 0 || vm->in_others_cgroup)
		snprintf(
			why, size,
			"this kernel fills node %d by memory.reclaim alone, and that needs a cgroup "
			"of version 2 of its own",
			node->nid);
	else if (!s->demotion)
		snprintf(why, size,
			 "this kernel fills node %d by memory.reclaim alone: write 1 to "
			 "/sys/kernel/mm/numa/demotion_enabled",
			 node->nid);
	else if (s->swap && cgroup_may_swap(&vm->cgroup))
		snprintf(
			why, size,
			"this kernel fills node %d by memory.reclaim alone, which may as well swap: "
			"write 0 to memory.swap.max of its cgroup",
			node->nid);
	return !why[0];
}

static void meter(struct snapshot *s, size_t t, const struct host *host,
		  const struct cram_host_settings *set)
{
	const struct card *card = &s->cards[t];
	struct cram_tier_input *tier = &s->tiers[t];
	uint64_t ours = 0;

	(void)set;
	for (size_t i = 0; i < host->vms.n; i++) {
		struct vm *vm = host->vms.v[i];
		struct cram_vm_input *in = &vm->input;
		struct cgroup_cram cram;

		if (in->tier != (int)t)
			continue;
		if (!vm->in_others_cgroup && cgroup_read_cram(&vm->cgroup, tier->nid, &cram) == 0)
			meter_sampled(card, &cram, in);
		else
			meter_unsampled(card, in);
		in->device_upper = max(in->device_upper, in->device_bytes);
		in->ratio_q16 = cram_ratio_to_come(in->tier_bytes, in->device_upper, card->worst);
		ours = add(ours, in->device_bytes);
	}
	s->tier_device[t] = card->stored;
	tier->used_other = sub(card->stored, ours);
	/* That may be of VMs yet to be taken in: none that is gives back for them. */
	if (host->gathering && card->stored > tier->budget)
		tier->budget = min(card->stored, add(tier->budget, tier->used_other));
}

static int limit(const struct vm *vm, uint64_t bytes)
{
	uint64_t is;
	int r;

	if (vm->in_others_cgroup)
		return -ENOENT;
	r = cgroup_read_cram_max(&vm->cgroup, &is);
	if (bytes != CRAM_UNLIMITED)
		bytes -= bytes % CRAM_PAGE_BYTES; /* as the kernel keeps it */
	if (r < 0 || is == bytes)
		return r;
	return cgroup_write_cram_max(&vm->cgroup, bytes);
}

const struct tier tier_cram = {
	.kind = CRAM_TIER_CRAM,
	.takes = takes,
	.read = read_card,
	.fits = fits,
	.meter = meter,
	.limit = limit,
};
