// SPDX-License-Identifier: GPL-2.0-or-later
/* Memfds asked where their pages are; see swapped.h. */
#include "swapped.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
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
