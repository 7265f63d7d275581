// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Compressed swap of any stock kernel: no node, but a pool in DRAM. The kernel counts to the byte
 * what a cgroup takes of it; an access brings a page home by itself.
 */
#include <errno.h>
#include <stdio.h>

#include "../sense/pages.h"
#include "../sense/snapshot.h"
#include "policy/estimate.h"
#include "policy/saturate.h"
#include "tier.h"

static int read_zswap(struct snapshot *s, size_t t, const struct host *host,
		      const struct cram_host_settings *set)
{
	struct cram_tier_input *tier = &s->tiers[t];
	uint64_t room;

	(void)host;
	(void)set;
	if (s->zswap.why[0])
		return -ENOENT;
	room = min(sub(s->zswap.limit, s->zswap.pool), s->zswap.swap_free);
	s->tier_capacity[t] = s->zswap.limit;
	tier->budget = s->zswap.limit;
	tier->worst_q16 = 1U << 16;
	tier->free = room;
	tier->accepting = room >= RANGE_BYTES;
	s->tier_state[t] = tier->accepting		      ? "online"
			   : s->zswap.swap_free < RANGE_BYTES ? "without swap space"
							      : "full";
	return 0;
}

static bool all_memfd(const struct vm *vm)
{
	for (size_t i = 0; i < vm->blocks.n; i++)
		if (!vm->blocks.v[i].memfd)
			return false;
	return true;
}

static bool fits(const struct snapshot *s, const struct node *node, const struct vm *vm,
		 const struct cram_host_settings *set, char *why, size_t size)
{
	struct cgroup_zswap zswap;

	(void)s;
	(void)node;
	why[0] = '\0';
	if (!all_memfd(vm))
		snprintf(
			why, size,
			"its RAM is anonymous, and only its own process brings that home from swap: "
			"give it memfd RAM (memoryBacking: source type memfd, access mode shared)");
	else if (cgroup_read_zswap(&vm->cgroup, &zswap) < 0)
		snprintf(why, size,
			 "it has no cgroup of version 2 that counts what it takes of zswap "
			 "(memory.zswap.current)");
	else if (zswap.max == 0 || zswap.swap_max == 0)
		snprintf(why, size, "its cgroup may not: memory.%s.max is 0",
			 zswap.max == 0 ? "zswap" : "swap");
	else if (zswap.writeback && set->zswap_writeback != CRAM_YES)
		snprintf(
			why, size,
			"the kernel may write it on from zswap to disk: write 0 to "
			"memory.zswap.writeback of its cgroup (Linux 6.8) or one above it (6.11), or "
			"set zswap_writeback = yes");
	return !why[0];
}

/*
 * Its part of what its cgroup has there: QEMU's own memory is in it, and maybe another VM's. What
 * the kernel has written on to disk is not, nor are pages of zeroes.
 */
static void meter_vm(struct cram_vm_input *in, const struct cgroup_zswap *zswap, uint64_t pages)
{
	in->device_bytes = scale_up(zswap->stored, in->tier_bytes, max(pages, in->tier_bytes));
	in->device_upper = in->device_bytes;
	in->ratio_q16 = cram_ratio_to_come(in->tier_bytes, in->device_upper, CRAM_PAGE_BYTES);
	/* The kernel's own limits on the cgroup hold as well: asking for more would be in vain. */
	in->quota = min(in->quota, zswap->max);
	in->hard_limit =
		min(in->hard_limit, add(in->tier_bytes, sub(zswap->swap_max, zswap->swapped)));
}

static void meter(struct snapshot *s, size_t t, const struct host *host,
		  const struct cram_host_settings *set)
{
	uint64_t ours = 0;

	(void)set;
	for (size_t i = 0; i < host->vms.n; i++) {
		const struct cgroup *cgroup = &host->vms.v[i]->cgroup;
		struct cram_vm_input *in = &host->vms.v[i]->input;
		struct cgroup_zswap zswap;

		if (in->tier != (int)t)
			continue;
		/* Where it cannot be read: as much as it would be at worst. */
		if (cgroup_read_zswap(cgroup, &zswap) == 0)
			meter_vm(in, &zswap, cgroup_read_zswapped(cgroup));
		ours = add(ours, in->device_bytes);
	}
	s->tier_device[t] = s->zswap.pool;
	s->tiers[t].used_other = sub(s->zswap.pool, ours);
}

const struct tier tier_zswap = {
	.kind = CRAM_TIER_ZSWAP,
	.read = read_zswap,
	.fits = fits,
	.meter = meter,
};
