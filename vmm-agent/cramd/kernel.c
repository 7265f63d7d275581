// SPDX-License-Identifier: GPL-2.0-or-later
/* The calls as Linux has them; see kernel.h. */
#include "kernel.h"

#include <numaif.h>

#include "act/mapping.h"
#include "act/swap.h"
#include "sense/swapped.h"

const struct kernel kernel_linux = {
	.move_pages = move_pages,
	.mapping_set = mapping_set,
	.numa_maps = proc_for_each_numa,
	.smaps = proc_for_each_swap,
	.swapped_where = swapped_where,
	.swapped_allocated = swapped_allocated,
	.reclaim = cgroup_reclaim,
	.swap_out = swap_out,
	.swap_out_unmapped = swap_out_unmapped,
	.swap_in = swap_in,
	.pagemap = pagemap_read,
	.idle_heads = page_idle_heads,
	.idle_check = page_idle_check,
	.idle_mark = page_idle_mark,
};
