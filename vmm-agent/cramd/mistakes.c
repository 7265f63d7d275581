// SPDX-License-Identifier: GPL-2.0-or-later
/* What is wrong in a VM's XML; see mistakes.h. */
#include "mistakes.h"

#include <stdio.h>

#include "overcommit.h"

/* QEMU will not start then. */
static void look_at_hugepages(const struct daemon *d, const struct cram_domain *domain, char *buf,
			      size_t size)
{
	uint64_t page = overcommit_hugepage(d, domain), free, more;
	char want[32], of[32], have[32];

	hugepages_read(&d->host.root, page, &free, &more);
	if (free + more >= domain->ram)
		return;
	snprintf(buf, size,
		 "it wants %s of huge pages of %s, and %s are free: QEMU will not start; reserve "
		 "them (vm.nr_hugepages) or leave <hugepages> out",
		 cram_size_format(domain->ram, want, sizeof(want)),
		 cram_size_format(page, of, sizeof(of)),
		 cram_size_format(free, have, sizeof(have)));
}

/* Sizes are KiB without a unit, as libvirt's are: who writes 3 means 3 GiB. */
static bool is_tiny(const struct cram_vm_layer *layer, enum cram_setting s, uint64_t bytes)
{
	return layer->set & 1U << s && bytes > 0 && bytes < 2 * MiB;
}

static void look_at_amounts(const struct cram_domain *domain, char *buf, size_t size)
{
	const struct cram_vm_layer *set = &domain->tiering;
	uint64_t floor = set->floor_is_percent ? 0 : set->floor;
	char amount[32], ram[32];

	if (is_tiny(set, CRAM_SET_QUOTA, set->quota))
		snprintf(buf, size,
			 "<quota> of %s is less than is ever moved; is its unit= missing?",
			 cram_size_format(set->quota, amount, sizeof(amount)));
	else if (is_tiny(set, CRAM_SET_HARD_LIMIT, set->hard_limit))
		snprintf(buf, size,
			 "<hard_limit> of %s is less than is ever moved; is its unit= missing?",
			 cram_size_format(set->hard_limit, amount, sizeof(amount)));
	else if (is_tiny(set, CRAM_SET_FLOOR, floor))
		snprintf(buf, size, "<floor> of %s is next to none; is its unit= missing?",
			 cram_size_format(floor, amount, sizeof(amount)));
	else if (set->set & 1U << CRAM_SET_FLOOR && floor > domain->ram)
		snprintf(buf, size,
			 "<floor> of %s is more than its RAM: all of it, %s, stays in DRAM",
			 cram_size_format(floor, amount, sizeof(amount)),
			 cram_size_format(domain->ram, ram, sizeof(ram)));
}

void mistakes_look(const struct daemon *d, const struct cram_domain *domain,
		   const struct cram_error *bad, char *buf, size_t size)
{
	buf[0] = '\0';
	if (domain->bad_tiering)
		cram_error_format(bad, buf, size);
	if (!buf[0] && domain->hugepages)
		look_at_hugepages(d, domain, buf, size);
	if (!buf[0])
		look_at_amounts(domain, buf, size);
}
