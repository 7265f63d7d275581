// SPDX-License-Identifier: GPL-2.0-or-later
/* What is promised, and what there is; see overcommit.h. */
#include "overcommit.h"

#include <string.h>
#include <strings.h>

#include "policy/estimate.h"
#include "policy/saturate.h"
#include "tier/cram.h"

static struct cram_promise promise(const struct daemon *d, const struct cram_vm_settings *s,
				   enum cram_backing backing, uint64_t ram)
{
	return cram_promise(s->mode, backing, s->tiers, ram, s->quota, s->hard_limit, s->floor,
			    d->conf.host.vm_overhead_bytes);
}

struct cram_promise overcommit_promise_default(const struct daemon *d, uint64_t ram)
{
	struct cram_vm_settings settings;

	cram_settings_resolve(&d->conf, &(struct cram_vm_identity){}, ram, NULL, NULL, NULL,
			      &settings);
	return promise(d, &settings, CRAM_MOVABLE, ram);
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

/* What its XML says; what of that its QEMU's command line tells: eligible.h. */
static enum cram_backing backing_of_domain(const struct cram_domain *domain)
{
	if (domain->locked || domain->launch_security || domain->iommu_pinned)
		return CRAM_PINNED;
	return domain->realtime || domain->vhost_user || !has_movable_ram(domain) ? CRAM_SWAPPABLE
										  : CRAM_MOVABLE;
}

/* The same of @vm, as far as it has been examined. */
static enum cram_backing backing_of_vm(const struct vm *vm, enum vm_ineligible reason)
{
	const struct qemu_cmdline *cmdline = &vm->cmdline;
	enum cram_backing by_xml = vm->has_domain ? backing_of_domain(&vm->domain) : CRAM_MOVABLE;

	if (by_xml == CRAM_PINNED || cmdline->locked || cmdline->vfio || cmdline->vdpa ||
	    cmdline->confidential)
		return CRAM_PINNED;
	/* Asked to be in DRAM, and to stay there. */
	if (vm->drain || vm->paused_by_operator)
		return CRAM_SWAPPABLE;
	switch (reason) {
	case VM_LOCKED:
	case VM_PINNED:
	case VM_CONFIDENTIAL:
		return CRAM_PINNED;
	case VM_ELIGIBLE:
		return CRAM_MOVABLE;
	case VM_NOT_LOOKED:
	case VM_NOT_MAPPED:
	case VM_INCOMING:
		/* For now: what it will be, its XML tells. */
		return by_xml;
	default:
		return CRAM_SWAPPABLE;
	}
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

uint64_t overcommit_hugepage(const struct daemon *d, const struct cram_domain *domain)
{
	return domain->hugepage ? domain->hugepage
				: sysroot_meminfo(&d->host.root, "Hugepagesize:");
}

/*
 * What is in huge pages is of their pool, and the kernel's to give. What the pool lacks it takes
 * out of DRAM, if it may.
 */
static struct cram_promise promise_huge(const struct daemon *d, const struct cram_domain *domain,
					const struct cram_vm_settings *settings)
{
	uint64_t free, more;

	hugepages_read(&d->host.root, overcommit_hugepage(d, domain), &free, &more);
	return promise(d, settings, CRAM_PINNED, min(sub(domain->ram, free), more));
}

struct cram_promise overcommit_promise(const struct daemon *d, const struct cram_domain *domain)
{
	struct cram_vm_settings settings;

	resolve(d, domain, &settings);
	return domain->hugepages ? promise_huge(d, domain, &settings)
				 : promise(d, &settings, backing_of_domain(domain), domain->ram);
}

/* What stands for @candidate is its libvirt domain, until it has been examined. */
static bool is_listed(const struct daemon *d, const struct daemon_candidate *candidate)
{
	return candidate->from_libvirt && candidate->domain.has_domain &&
	       !daemon_find_pid(d, candidate->pid);
}

bool overcommit_counts(const struct daemon *d, const char *uuid)
{
	if (daemon_find_uuid(d, uuid))
		return true;
	for (size_t i = 0; i < d->candidates.n; i++)
		if (is_listed(d, &d->candidates.v[i]) &&
		    strcasecmp(d->candidates.v[i].domain.uuid, uuid) == 0)
			return true;
	return false;
}

/* Of @vm's RAM, what is in huge pages: their pool is no DRAM to others, so it is not sold here. */
static uint64_t huge_of(const struct vm *vm, enum vm_ineligible reason)
{
	const struct qemu_cmdline *cmdline = &vm->cmdline;
	uint64_t huge = 0;

	for (size_t i = 0; i < cmdline->n_backends; i++)
		if (cmdline->backends[i].hugetlb && qemu_is_ram(&cmdline->backends[i]))
			huge = add(huge, cmdline->backends[i].size);
	if (!huge && (reason == VM_HUGETLB ||
		      (reason == VM_LAYOUT_UNKNOWN && vm->has_domain && vm->domain.hugepages)))
		huge = vm->ram;
	return min(huge, vm->ram);
}

/*
 * Of @vm, what is still to come, and at once: it migrates in, or is restored. Its process takes
 * DRAM for it as it comes.
 */
static uint64_t arriving(const struct daemon *d, const struct vm *vm, enum vm_ineligible reason)
{
	bool unlooked = reason == VM_NOT_LOOKED || reason == VM_NOT_MAPPED;
	struct proc_status status;

	if (!vm->incoming && reason != VM_INCOMING && !(unlooked && vm->cmdline.incoming))
		return 0;
	if (proc_read_status(&d->host.root, vm->pid, &status) < 0)
		return vm->ram;
	return sub(vm->ram, status.rss);
}

static void add_vm(const struct daemon *d, struct vm *vm, struct cram_sold *sold, uint64_t *swapped)
{
	enum vm_ineligible reason;
	struct cram_promise p;
	uint64_t ram;

	pthread_mutex_lock(&vm->lock);
	*swapped = add(*swapped, vm->in_others_cgroup ? 0 : vm->swapped);
	reason = vm->reason;
	pthread_mutex_unlock(&vm->lock);
	ram = sub(vm->ram, huge_of(vm, reason));
	p = promise(d, &vm->settings, backing_of_vm(vm, reason), ram);
	p.arriving = min(arriving(d, vm, reason), ram);
	cram_sold_add(sold, &p);
}

/* All VMs that run but @except. @ret_swapped: what they have in swap. */
static void sum_up(const struct daemon *d, const char *except, struct cram_sold *sold,
		   uint64_t *ret_swapped)
{
	*ret_swapped = 0;
	for (size_t i = 0; i < d->host.vms.n; i++)
		if (!except || strcasecmp(d->host.vms.v[i]->uuid, except) != 0)
			add_vm(d, d->host.vms.v[i], sold, ret_swapped);
	for (size_t i = 0; i < d->candidates.n; i++) {
		const struct daemon_candidate *candidate = &d->candidates.v[i];
		struct cram_promise p;

		if (!is_listed(d, candidate) ||
		    (except && strcasecmp(candidate->domain.uuid, except) == 0))
			continue;
		p = overcommit_promise(d, &candidate->domain.domain);
		p.arriving = candidate->domain.incoming ? p.ram : 0;
		cram_sold_add(sold, &p);
	}
}

/* What is kept of a card for what its reports leave out is nobody's. */
static void add_card(const struct card *card, uint32_t cap_percent, struct cram_memory *has)
{
	uint64_t usable = sub(card->physical, card->reserve);
	uint64_t taken = add(add(card->stored, card->unsettled), card->dying);

	uint64_t fits = min(scale(usable, CRAM_PAGE_BYTES, card->worst), card->logical);

	/* One that was never read has no size, and one that is being taken away soon has none. */
	if (!card->physical || card->state == CARD_OFFLINE)
		has->unknown = true;
	has->lasts[CRAM_TIER_CRAM] += fits;
	if (!cram_card_is_open(card))
		return;
	has->fits[CRAM_TIER_CRAM] += fits;
	has->expected[CRAM_TIER_CRAM] +=
		min(cram_expected_to_fit(usable, card->resident, taken, card->worst, cap_percent),
		    card->logical);
}

/*
 * Its pool is DRAM. Where it may not write on to disk, what does not compress stays in DRAM as
 * well, and swap is but places for the rest: so much is expected to leave, less what it takes of
 * the pool.
 */
static void add_zswap(const struct daemon *d, size_t tier, struct cram_memory *has)
{
	uint64_t limit = d->snapshot.tier_capacity[tier], there = d->snapshot.tier_used[tier];
	uint64_t fits, goes;

	if (d->conf.host.zswap_writeback == CRAM_YES)
		return;
	fits = cram_expected_to_fit(limit, there, d->snapshot.zswap.pool, CRAM_PAGE_BYTES,
				    d->conf.host.expected_ratio_percent);
	goes = min(fits, add(has->swap_free, there));
	has->expected[CRAM_TIER_ZSWAP] += sub(goes, scale_up(limit, goes, fits));
	has->swap = 0;
}

static void add_tier(const struct daemon *d, size_t tier, struct cram_memory *has)
{
	uint64_t bytes;

	switch (d->snapshot.tiers[tier].kind) {
	case CRAM_TIER_ZSWAP:
		add_zswap(d, tier, has);
		break;
	case CRAM_TIER_CRAM:
		add_card(&d->snapshot.cards[tier], d->conf.host.expected_ratio_percent, has);
		break;
	default:
		bytes = sub(d->snapshot.tier_capacity[tier],
			    hugepages_of_node(&d->host.root, d->snapshot.tiers[tier].nid));
		has->fits[CRAM_TIER_NODE] += bytes;
		has->lasts[CRAM_TIER_NODE] += bytes;
	}
}

uint32_t overcommit_kinds(const struct daemon *d)
{
	const struct cram_conf *conf = &d->conf;
	struct cram_vm_settings settings;
	uint32_t kinds;

	cram_settings_resolve(conf, &(struct cram_vm_identity){}, 0, NULL, NULL, NULL, &settings);
	kinds = settings.tiers;
	for (size_t i = 0; i < conf->matches.n; i++)
		if (conf->matches.v[i].layer.set & 1U << CRAM_SET_TIERS)
			kinds |= conf->matches.v[i].layer.tiers;
	return kinds;
}

/* Nothing goes out of DRAM: what tiers could take is for nobody. */
static bool holds_back(const struct daemon *d)
{
	return d->overrides.paused || d->overrides.drained;
}

/*
 * Swap that takes what does not compress. What VMs have there was free before, and what was sold is
 * the same. On zram nothing is: what does not compress is in DRAM there, too.
 */
static void add_swap(const struct daemon *d, uint64_t swapped, struct cram_memory *has)
{
	uint64_t zram_free, zram_used;

	zram_swap_read(&d->host.root, &zram_free, &zram_used);
	has->swap_free = sysroot_meminfo(&d->host.root, "SwapFree:");
	has->swap_now = sub(has->swap_free, zram_free);
	has->swap = add(has->swap_now, sub(swapped, zram_used));
}

static struct cram_memory memory_of(const struct daemon *d, uint64_t swapped)
{
	struct cram_memory has = {
		.kept = d->conf.host.reserve_bytes,
		.kinds = overcommit_kinds(d),
	};

	add_swap(d, swapped, &has);
	for (size_t i = 0; i < d->snapshot.n_dram; i++) {
		has.dram += d->snapshot.dram[i].total;
		has.huge += hugepages_of_node(&d->host.root, d->snapshot.dram[i].nid);
		has.kept += cram_headroom(&d->conf.host.policy, d->snapshot.dram[i].total);
		has.spare += sub(d->decision.available[i], d->decision.headroom[i]);
	}
	for (size_t i = 0; i < d->snapshot.n_tiers; i++)
		add_tier(d, i, &has);
	if (holds_back(d)) {
		memset(has.fits, 0, sizeof(has.fits));
		memset(has.expected, 0, sizeof(has.expected));
	}
	return has;
}

void overcommit_input(const struct daemon *d, const char *except, struct cram_overcommit_input *ret)
{
	uint64_t swapped;

	*ret = (struct cram_overcommit_input){};
	sum_up(d, except, &ret->sold, &swapped);
	ret->has = memory_of(d, swapped);
}
