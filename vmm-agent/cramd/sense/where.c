// SPDX-License-Identifier: GPL-2.0-or-later
/* Where pages are; see where.h. */
#include "where.h"

#include <errno.h>

int pages_where(const struct kernel *kernel, pid_t pid, uint64_t addr, size_t n, int *ret_nodes)
{
	void *addrs[PAGES_PER_RANGE];

	if (n > PAGES_PER_RANGE)
		return -EINVAL;
	for (size_t i = 0; i < n; i++)
		addrs[i] = (void *)(uintptr_t)(addr + i * PAGE_BYTES);
	if (kernel->move_pages(pid, n, addrs, NULL, ret_nodes, 0) < 0)
		return -errno;
	return 0;
}
