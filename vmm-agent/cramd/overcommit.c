// SPDX-License-Identifier: GPL-2.0-or-later
/* The host's figures; see overcommit.h. */
#include "overcommit.h"

#include <strings.h>

#include "policy/estimate.h"
#include "policy/saturate.h"

/* Has the host a tier that @s allows? */
static bool has_tier(const struct daemon *d, const struct cram_vm_settings *s)
{
	for (size_t i = 0; i < d->snapshot.n_tiers; i++)
		if (s->tiers & 1U << d->snapshot.tiers[i].kind)
			return true;
	return false;
}

struct cram_promise overcommit_promise(const struct daemon *d, const struct cram_vm_settings *s,
				       bool movable, uint64_t ram)
{
	return cram_promise(s->mode, movable && has_tier(d, s), ram, s->quota, s->hard_limit,
			    s->floor);
}

static void add_vm(const struct daemon *d, struct vm *vm, struct cram_overcommit_input *ret)
{
	struct cram_promise p;
	uint64_t swapped;
	bool movable;

	pthread_mutex_lock(&vm->lock);
	swapped = vm->in_others_cgroup ? 0 : vm->swapped;
	movable = vm->reason == VM_ELIGIBLE || vm->reason == VM_NOT_LOOKED;
	pthread_mutex_unlock(&vm->lock);
	p = overcommit_promise(d, &vm->settings, movable, vm->ram);
	ret->sold += p.ram;
	ret->floors += p.floor;
	ret->bound += p.bound;
	/* It was free before, and what was sold is the same. */
	ret->swap = add(ret->swap, swapped);
}

/* What is kept of a card for what its reports leave out is nobody's. */
static void add_card(const struct card *card, uint32_t cap_percent,
		     struct cram_overcommit_input *ret)
{
	uint64_t usable = sub(card->physical, card->reserve);
	uint64_t taken = add(add(card->stored, card->unsettled), card->dying);

	if (card->state == CARD_OFFLINE)
		return;
	ret->tier_physical += min(scale(usable, CRAM_PAGE_BYTES, card->worst), card->logical);
	ret->tier_expected +=
		min(cram_expected_to_fit(usable, card->resident, taken, card->worst, cap_percent),
		    card->logical);
}

/*
 * Its pool is DRAM. Where it may not write on to disk, what does not compress stays in DRAM as
 * well, and swap is but places for the rest: so much is expected to leave, less what it takes of
 * the pool.
 */
static void add_zswap(const struct daemon *d, size_t tier, struct cram_overcommit_input *ret)
{
	uint64_t limit = d->snapshot.tier_capacity[tier], there = d->snapshot.tier_used[tier];
	uint64_t fits, goes;

	if (d->conf.host.zswap_writeback == CRAM_YES)
		return;
	fits = cram_expected_to_fit(limit, there, d->snapshot.zswap.pool, CRAM_PAGE_BYTES,
				    d->conf.host.expected_ratio_percent);
	goes = min(fits, add(ret->swap_free, there));
	ret->tier_expected += sub(goes, scale_up(limit, goes, fits));
	ret->swap = 0;
}

static void add_tier(const struct daemon *d, size_t tier, struct cram_overcommit_input *ret)
{
	if (d->snapshot.tiers[tier].kind == CRAM_TIER_ZSWAP) {
		add_zswap(d, tier, ret);
		return;
	}
	if (d->snapshot.tiers[tier].kind == CRAM_TIER_CRAM) {
		add_card(&d->snapshot.cards[tier], d->conf.host.expected_ratio_percent, ret);
		return;
	}
	ret->tier_physical += d->snapshot.tier_capacity[tier];
	ret->tier_expected += d->snapshot.tier_capacity[tier];
}

void overcommit_input(const struct daemon *d, const char *except, struct cram_overcommit_input *ret)
{
	*ret = (struct cram_overcommit_input){
		.reserve = d->conf.host.reserve_bytes,
		.swap_free = sysroot_meminfo(&d->host.root, "SwapFree:"),
	};
	ret->swap = ret->swap_free;
	for (size_t i = 0; i < d->snapshot.n_dram; i++)
		ret->dram += d->snapshot.dram[i].total;
	for (size_t i = 0; i < d->host.vms.n; i++)
		if (!except || strcasecmp(d->host.vms.v[i]->uuid, except) != 0)
			add_vm(d, d->host.vms.v[i], ret);
	for (size_t i = 0; i < d->snapshot.n_tiers; i++)
		add_tier(d, i, ret);
}
