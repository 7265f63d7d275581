// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Admission: may one more VM be started on this host, by the figures that cram_overcommit() gives?
 */
#include "policy/policy.h"
#include "policy/saturate.h"

struct cram_promise cram_promise(enum cram_mode mode, bool movable, uint64_t ram, uint64_t quota,
				 uint64_t hard_limit, uint64_t floor)
{
	struct cram_promise p = { .ram = ram, .bound = ram };

	if (mode != CRAM_MODE_AUTO)
		return p;
	p.floor = min(floor, ram);
	/* At ratio 1 a quota of device bytes is one of guest memory. */
	if (movable)
		p.bound = max(p.floor, sub(ram, min(quota, hard_limit)));
	return p;
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

struct cram_admission cram_admit(const struct cram_admission_input *in,
				 const struct cram_promise *p)
{
	const struct cram_overcommit_input *host = &in->host;
	uint64_t usable = sub(host->dram, host->reserve);
	struct cram_admission ret = {};
	struct cram_overcommit figures;

	cram_overcommit(host, &figures);
	if (broken(CRAM_NOT_SOLD, p->ram, in->by_expected ? figures.expected : figures.guaranteed,
		   host->sold, &ret) ||
	    broken(CRAM_NO_FLOOR, p->floor, usable, host->floors, &ret) ||
	    broken(CRAM_NO_DRAM, p->bound, add(usable, host->swap), host->bound, &ret))
		return ret;
	if (in->at_once)
		broken(CRAM_NO_ARRIVAL, p->ram, add(in->spare, min(host->swap, host->swap_free)), 0,
		       &ret);
	return ret;
}
