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

/* Is its RAM of a kind that is tiered? For shared memory libvirt makes a file, or a memfd. */
static bool has_movable_ram(const struct cram_domain *domain)
{
	bool shared = domain->shared;

	for (uint32_t i = 0; i < domain->n_cells; i++)
		shared |= domain->cells[i].shared;
	switch (domain->source) {
	case CRAM_MEMORY_FILE:
		return false;
	case CRAM_MEMORY_MEMFD:
		return !domain->access_private;
	case CRAM_MEMORY_ANONYMOUS:
		break;
	}
	return !shared;
}

/* Will the agent move any of it? What of that its QEMU's command line tells: eligible.h. */
static bool movable(const struct cram_domain *domain)
{
	return !domain->hugepages && !domain->locked && !domain->realtime &&
	       !domain->launch_security && !domain->iommu_pinned && !domain->vhost_user &&
	       has_movable_ram(domain);
}

static void resolve(const struct daemon *d, const struct cram_domain *domain,
		    struct cram_vm_settings *ret)
{
	static const struct cram_vm_layer monitored = {
		.set = 1U << CRAM_SET_MODE,
		.mode = CRAM_MODE_MONITOR,
	};
	const struct cram_override *remembered = cram_overrides_find(&d->overrides, domain->uuid);
	struct cram_vm_identity id = {
		.name = domain->name,
		.uuid = domain->uuid,
		.partition = domain->partition,
		.flavour = domain->flavour,
	};
	const struct cram_vm_layer *xml = domain->bad_tiering	? &monitored
					  : domain->has_tiering ? &domain->tiering
								: NULL;

	cram_settings_resolve(&d->conf, &id, domain->ram, xml, NULL,
			      remembered ? &remembered->layer : NULL, ret);
}

struct cram_promise overcommit_promise_of(const struct daemon *d, const struct cram_domain *domain)
{
	struct cram_vm_settings settings;

	resolve(d, domain, &settings);
	return overcommit_promise(d, &settings, movable(domain), domain->ram);
}

/* What stands for @candidate is its libvirt domain, until it has been examined. */
static bool is_listed(const struct daemon *d, const struct daemon_candidate *candidate)
{
	return candidate->from_libvirt && candidate->domain.has_domain &&
	       !daemon_find_pid(d, candidate->pid);
}

bool overcommit_counts(const struct daemon *d, const char *uuid)
{
	for (size_t i = 0; i < d->host.vms.n; i++)
		if (strcasecmp(d->host.vms.v[i]->uuid, uuid) == 0)
			return true;
	for (size_t i = 0; i < d->candidates.n; i++)
		if (is_listed(d, &d->candidates.v[i]) &&
		    strcasecmp(d->candidates.v[i].domain.uuid, uuid) == 0)
			return true;
	return false;
}

static void add_promise(const struct cram_promise *p, struct cram_overcommit_input *ret)
{
	ret->sold = add(ret->sold, p->ram);
	ret->floors = add(ret->floors, p->floor);
	ret->bound = add(ret->bound, p->bound);
}

/* libvirt runs it, and its process is still to be examined. */
static void add_listed(const struct daemon *d, const struct cram_domain *domain,
		       struct cram_overcommit_input *ret)
{
	struct cram_promise p = overcommit_promise_of(d, domain);

	add_promise(&p, ret);
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
	add_promise(&p, ret);
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
	for (size_t i = 0; i < d->candidates.n; i++) {
		const struct daemon_candidate *candidate = &d->candidates.v[i];

		if (is_listed(d, candidate) &&
		    (!except || strcasecmp(candidate->domain.uuid, except) != 0))
			add_listed(d, &candidate->domain.domain, ret);
	}
	for (size_t i = 0; i < d->snapshot.n_tiers; i++)
		add_tier(d, i, ret);
}
