// SPDX-License-Identifier: GPL-2.0-or-later
/* Limits of the kernel's; see limit.h. */
#include "limit.h"

#include <errno.h>

#include "../tier/tier.h"

static bool is_there(const struct snapshot *s, enum cram_tier kind)
{
	for (size_t t = 0; t < s->n_tiers; t++)
		if (s->tiers[t].kind == kind)
			return true;
	return false;
}

int limit_keep(const struct vm *vm, const struct snapshot *s)
{
	int result = 0;

	for (int k = 0; k < CRAM_N_TIERS; k++) {
		enum cram_tier kind = (enum cram_tier)k;
		const struct tier *tier = tier_of_kind(kind);
		bool own = vm->input.tier >= 0 && s->tiers[vm->input.tier].kind == kind;
		int r;

		if (!tier || !tier->limit || !is_there(s, kind))
			continue;
		r = tier->limit(vm, own ? vm->action.kernel_limit : 0);
		/* Without a cgroup of its own nothing holds it but we. */
		if (r < 0 && r != -ENOENT)
			result = r;
	}
	return result;
}
