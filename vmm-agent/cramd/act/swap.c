// SPDX-License-Identifier: GPL-2.0-or-later
/* Swapping another process's pages; see swap.h. */
#include "swap.h"

#include <errno.h>
#include <numaif.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../sense/pages.h"
#include "../sense/swapped.h"
#include "util/cleanup.h"

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#endif

int swap_out(int pidfd, const struct iovec *pages, size_t n)
{
	return syscall(SYS_process_madvise, pidfd, pages, n, MADV_PAGEOUT, 0) < 0 ? -errno : 0;
}

/* How many of @n pages at @addrs follow one another from the first on. */
static size_t run_of(void *const *addrs, size_t n)
{
	size_t run = 1;

	while (run < n && (uintptr_t)addrs[run] == (uintptr_t)addrs[0] + run * PAGE_BYTES)
		run++;
	return run;
}

/*
 * Has the kernel fault pages in through a mapping of ours, and with @out reclaim them through it:
 * it is gone at once, because a page that two processes map is reclaimed by neither's request.
 * Nothing is read: that would need a stronger right on the process than to look at it.
 */
static int through_own_mapping(const struct sysroot *root, pid_t pid, const struct ramblock *block,
			       void *const *addrs, size_t n, bool out)
{
	cleanup_close int fd = -1;
	int r = swapped_open(root, pid, block, &fd);

	for (size_t i = 0, run; r == 0 && i < n; i += run) {
		uint64_t offset = block->offset + ((uintptr_t)addrs[i] - block->start);
		void *map;

		run = run_of(addrs + i, n - i);
		map = mmap(NULL, run * PAGE_BYTES, PROT_READ, MAP_SHARED, fd, (off_t)offset);
		if (map == MAP_FAILED)
			return -errno;
		if (madvise(map, run * PAGE_BYTES, MADV_POPULATE_READ) < 0 ||
		    (out && madvise(map, run * PAGE_BYTES, MADV_PAGEOUT) < 0))
			r = -errno;
		munmap(map, run * PAGE_BYTES);
	}
	return r;
}

int swap_out_unmapped(const struct sysroot *root, pid_t pid, const struct ramblock *block,
		      void *const *addrs, size_t n)
{
	return through_own_mapping(root, pid, block, addrs, n, true);
}

int swap_in(const struct sysroot *root, pid_t pid, const struct ramblock *block, void *const *addrs,
	    size_t n, int nid)
{
	unsigned long mask = 1UL << nid;
	int r;

	/* Of this thread: a memfd without a policy takes that of who faults. */
	if (set_mempolicy(MPOL_PREFERRED, &mask, sizeof(mask) * 8 + 1) < 0)
		return -errno;
	r = through_own_mapping(root, pid, block, addrs, n, false);
	set_mempolicy(MPOL_DEFAULT, NULL, 0);
	return r;
}
