// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What is sold against what there is. Memory is of a few kinds (DRAM, swap, kinds of tiers), and
 * each byte of a VM may be in some of them. All find a place if, for each set of kinds, what can be
 * nowhere else is not more than these have: that one comparison makes the host's figures, and
 * whether one more VM may be started. Swap stands behind DRAM in all sets but that of DRAM alone.
 */
#include "policy/policy.h"
#include "policy/saturate.h"

#define ALL (CRAM_TIER_SETS - 1)

struct cram_promise cram_promise(enum cram_mode mode, enum cram_backing backing, uint32_t tiers,
				 uint64_t ram, uint64_t quota, uint64_t hard_limit, uint64_t floor,
				 uint64_t own)
{
	struct cram_promise p = { .ram = ram, .bound = ram, .own = own };

	if (backing == CRAM_PINNED)
		p.pinned = ram;
	if (mode != CRAM_MODE_AUTO)
		return p;
	p.floor = min(floor, ram);
	/* At ratio 1 a quota of device bytes is one of guest memory. */
	if (backing == CRAM_MOVABLE && (tiers & ALL))
		p.bound = max(p.floor, sub(ram, min(quota, hard_limit)));
	if (p.bound < p.ram)
		p.tiers = tiers & ALL;
	return p;
}

void cram_sold_add(struct cram_sold *sold, const struct cram_promise *p)
{
	sold->ram = add(sold->ram, p->ram);
	sold->floors = add(sold->floors, p->floor);
	sold->bound = add(sold->bound, p->bound);
	sold->own = add(sold->own, p->own);
	sold->arriving = add(sold->arriving, p->arriving);
	sold->dram = add(sold->dram, max(p->floor, p->pinned));
	sold->rest[p->tiers & ALL] = add(sold->rest[p->tiers & ALL], sub(p->ram, p->bound));
}

/* DRAM for guests. */
static uint64_t usable(const struct cram_overcommit_input *in)
{
	return sub(in->has.dram, add(add(in->has.huge, in->has.kept), in->sold.own));
}

/* Tiers that nobody may use are not for sale. */
static uint32_t kinds_used(const struct cram_overcommit_input *in)
{
	uint32_t kinds = in->has.kinds;

	for (uint32_t set = 1; set <= ALL; set++)
		kinds |= in->sold.rest[set] ? set : 0;
	return kinds;
}

/* What the tiers of @set hold. */
static uint64_t on_tiers(const struct cram_memory *has, uint32_t set, bool expected)
{
	uint64_t bytes = 0;

	for (int kind = 0; kind < CRAM_N_TIERS; kind++)
		if (set & 1U << kind)
			bytes = add(bytes, expected ? max(has->fits[kind], has->expected[kind])
						    : has->fits[kind]);
	return bytes;
}

/* What they hold whenever they are open, for VMs that have no settings of their own. */
static uint64_t lasting_on_tiers(const struct cram_memory *has)
{
	uint64_t bytes = 0;

	for (int kind = 0; kind < CRAM_N_TIERS; kind++)
		if (has->kinds & 1U << kind)
			bytes = add(bytes, has->lasts[kind]);
	return bytes;
}

/* What there is in DRAM, in swap, and on the tiers of @set. */
static uint64_t there(const struct cram_overcommit_input *in, uint32_t set, bool expected)
{
	return add(add(usable(in), in->has.swap), on_tiers(&in->has, set, expected));
}

/* What is sold that can be nowhere else. */
static uint64_t held_by(const struct cram_sold *sold, uint32_t set)
{
	uint64_t bytes = sold->bound;

	for (uint32_t some = 1; some <= ALL; some++)
		if ((some & set) == some)
			bytes = add(bytes, sold->rest[some]);
	return bytes;
}

void cram_overcommit(const struct cram_overcommit_input *in, struct cram_overcommit *ret)
{
	uint32_t kinds = kinds_used(in);

	*ret = (struct cram_overcommit){
		.usable = usable(in),
		.tiers = on_tiers(&in->has, kinds, false),
		.guaranteed = there(in, kinds, false),
		.expected = there(in, kinds, true),
		.lasting_tiers = lasting_on_tiers(&in->has),
		.at_risk = sub(in->sold.dram, usable(in)),
		.floor_room = sub(usable(in), in->sold.dram),
		.floors_exceed = in->sold.dram > usable(in),
	};
	ret->lasting = add(sub(in->has.dram, add(in->has.huge, in->has.kept)), ret->lasting_tiers);
	for (uint32_t set = 0; set <= ALL; set++)
		ret->at_risk = max(ret->at_risk,
				   sub(held_by(&in->sold, set), there(in, set & kinds, false)));
}

static bool broken(enum cram_admission_rule rule, uint64_t wanted, uint64_t limit, uint64_t taken,
		   struct cram_admission *ret)
{
	if (wanted <= sub(limit, taken))
		return false;
	*ret = (struct cram_admission){
		.rule = rule, .wanted = wanted, .left = sub(limit, taken), .limit = limit
	};
	return true;
}

/* Of @p, what can be nowhere but in DRAM, in swap and on the tiers of @set. */
static uint64_t wanted_of(const struct cram_promise *p, uint32_t set)
{
	return add(p->own, (p->tiers & set) == p->tiers ? p->ram : p->bound);
}

static bool breaks(const struct cram_admission_input *in, const struct cram_promise *p,
		   enum cram_admission_rule rule, uint32_t set, struct cram_admission *ret)
{
	uint32_t kinds = kinds_used(&in->host) | p->tiers;

	if (!broken(rule, wanted_of(p, set), there(&in->host, set & kinds, in->by_expected),
		    held_by(&in->host.sold, set), ret))
		return false;
	ret->tiers = set & kinds;
	return true;
}

struct cram_admission cram_admit(const struct cram_admission_input *in,
				 const struct cram_promise *p)
{
	const struct cram_memory *has = &in->host.has;
	const struct cram_sold *sold = &in->host.sold;
	struct cram_admission ret = {};

	if (breaks(in, p, CRAM_NOT_SOLD, ALL, &ret) ||
	    broken(CRAM_NO_FLOOR, add(p->own, max(p->floor, p->pinned)), usable(&in->host),
		   sold->dram, &ret) ||
	    breaks(in, p, CRAM_NO_DRAM, 0, &ret))
		return ret;
	for (uint32_t set = 1; set < ALL; set++)
		if (breaks(in, p, CRAM_NO_TIER, set, &ret))
			return ret;
	broken(CRAM_NO_ARRIVAL, p->arriving, add(has->spare, min(has->swap, has->swap_now)),
	       sold->arriving, &ret);
	return ret;
}
