/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What of a memfd that a QEMU does not have in its page tables is in swap, and what is in DRAM all
 * the same: page tables do not tell (pagemap shows neither), the file does. Moves nothing
 * (act/swap.h).
 */
#pragma once

#include "nodes.h"
#include "ramblock.h"

/* In the place of a NUMA node, for pages that are on none: such hosts have at most 62. */
#define NODE_SWAP  (NODES_MAX - 1) /* in swap */
#define NODE_CACHE (NODES_MAX - 2) /* in DRAM, but not in the page tables of the process */
#define SWAP_BIT   (UINT64_C(1) << NODE_SWAP)

/*
 * Replaces those of @nodes (of @n pages from @addr on, as pages_where() tells) that are negative
 * and belong to pages that were ever touched: by NODE_SWAP or NODE_CACHE. -ESTALE: the process has
 * @block's memfd no more.
 */
int swapped_where(const struct sysroot *root, pid_t pid, const struct ramblock *block,
		  uint64_t addr, size_t n, int *nodes);

/* Bytes of @block's memfd that were ever touched, in swap or not. */
int swapped_allocated(const struct sysroot *root, pid_t pid, const struct ramblock *block,
		      uint64_t *ret_bytes);

/* Opens @block's memfd for reading. -ESTALE as above. */
int swapped_open(const struct sysroot *root, pid_t pid, const struct ramblock *block, int *ret_fd);
