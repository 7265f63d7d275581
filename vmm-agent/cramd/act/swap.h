/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Pages of another process into swap and back. What the kernel says came of it is worth nothing:
 * what did is asked for afterwards (sense/swapped.h).
 */
#pragma once

#include <sys/uio.h>

#include "../sense/ramblock.h"

/* process_madvise(MADV_PAGEOUT) on the process of @pidfd. 0 or -errno. */
int swap_out(int pidfd, const struct iovec *pages, size_t n);

/*
 * The same for those of @n pages at @addrs that the process has not in its page tables, where that
 * call does not find them. 0 or -errno.
 */
int swap_out_unmapped(const struct sysroot *root, pid_t pid, const struct ramblock *block,
		      void *const *addrs, size_t n);

/*
 * Brings @n pages at @addrs (as the process names them) back into DRAM, to node @nid where the
 * memfd's policy does not say another. 0 or -errno.
 */
int swap_in(const struct sysroot *root, pid_t pid, const struct ramblock *block, void *const *addrs,
	    size_t n, int nid);
