// SPDX-License-Identifier: GPL-2.0-or-later
/* Memfds asked where their pages are; see swapped.h. */
#include "swapped.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "pages.h"
#include "util/cleanup.h"

int swapped_open(const struct sysroot *root, pid_t pid, const struct ramblock *block, int *ret_fd)
{
	int r;

	if (!block->memfd)
		return -EOPNOTSUPP;
	r = proc_open_memfd(root, pid, block->dev_major, block->dev_minor, block->inode, ret_fd);
	return r == -ENOENT ? -ESTALE : r;
}

/* Which of @n pages from @offset on are in DRAM, the swap cache included. */
static int in_core(int fd, uint64_t offset, size_t n, unsigned char *ret_core)
{
	/* PROT_NONE: not even by mistake can this process touch guest memory. */
	void *map = mmap(NULL, n * PAGE_BYTES, PROT_NONE, MAP_SHARED, fd, (off_t)offset);
	int r;

	if (map == MAP_FAILED)
		return -errno;
	r = mincore(map, n * PAGE_BYTES, ret_core) < 0 ? -errno : 0;
	munmap(map, n * PAGE_BYTES);
	return r;
}

#ifndef SYS_cachestat
#define SYS_cachestat 451
#endif

/*
 * Pages of @n from @offset on that have a place in swap and none in the file, the swap cache
 * included. 0 where the kernel does not say (before 6.5).
 */
static uint64_t evicted(int fd, uint64_t offset, size_t n)
{
	const struct {
		uint64_t off, len;
	} range = { offset, n * PAGE_BYTES };
	struct {
		uint64_t cache, dirty, writeback, evicted, recently_evicted;
	} stat;

	return syscall(SYS_cachestat, fd, &range, &stat, 0) < 0 ? 0 : stat.evicted;
}

/*
 * What the kernel has read ahead is in core, but in the swap cache: not yet the file's again, it
 * keeps its place in swap, and comes home like what is not in core.
 */
static void find_read_ahead(int fd, uint64_t base, size_t n, int *nodes)
{
	uint64_t left = evicted(fd, base, n);

	for (size_t i = 0; i < n; i++)
		left -= left && nodes[i] == NODE_SWAP;
	for (size_t i = 0; i < n && left; i++) {
		if (nodes[i] != NODE_CACHE || !evicted(fd, base + i * PAGE_BYTES, 1))
			continue;
		nodes[i] = NODE_SWAP;
		left--;
	}
}

int swapped_where(const struct sysroot *root, pid_t pid, const struct ramblock *block,
		  uint64_t addr, size_t n, int *nodes)
{
	uint64_t base = block->offset + (addr - block->start), end = base + n * PAGE_BYTES;
	unsigned char core[PAGES_PER_RANGE];
	cleanup_close int fd = -1;
	int r;

	if (n > PAGES_PER_RANGE)
		return -EINVAL;
	r = swapped_open(root, pid, block, &fd);
	if (r < 0)
		return r;
	r = in_core(fd, base, n, core);
	if (r < 0)
		return r;
	/* What is swapped out is data of the file; what was never touched is a hole. */
	for (uint64_t at = base; at < end;) {
		off_t data = lseek(fd, (off_t)at, SEEK_DATA), hole;

		if (data < 0 && errno != ENXIO)
			return -errno;
		if (data < 0 || (uint64_t)data >= end)
			break;
		hole = lseek(fd, data, SEEK_HOLE);
		if (hole < 0)
			return -errno;
		at = (uint64_t)hole < end ? (uint64_t)hole : end;
		for (size_t i = ((uint64_t)data - base) / PAGE_BYTES; base + i * PAGE_BYTES < at;
		     i++)
			if (nodes[i] < 0)
				nodes[i] = core[i] & 1 ? NODE_CACHE : NODE_SWAP;
	}
	find_read_ahead(fd, base, n, nodes);
	return 0;
}

int swapped_allocated(const struct sysroot *root, pid_t pid, const struct ramblock *block,
		      uint64_t *ret_bytes)
{
	cleanup_close int fd = -1;
	struct stat st;
	int r;

	r = swapped_open(root, pid, block, &fd);
	if (r < 0)
		return r;
	if (fstat(fd, &st) < 0)
		return -errno;
	*ret_bytes = (uint64_t)st.st_blocks * 512;
	return 0;
}
