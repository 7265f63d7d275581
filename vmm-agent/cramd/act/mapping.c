// SPDX-License-Identifier: GPL-2.0-or-later
/* mbind of guest RAM through /proc/PID/fd; see mapping.h. */
#include "mapping.h"

#include <errno.h>
#include <numaif.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "util/cleanup.h"

/* <linux/mempolicy.h> values that an older numaif.h lacks. */
#define MODE_LOCAL		 4
#define MODE_PREFERRED_MANY	 5
#define MODE_WEIGHTED_INTERLEAVE 6

static int mode_number(enum proc_mpol mode)
{
	switch (mode) {
	case PROC_MPOL_DEFAULT:
		return MPOL_DEFAULT;
	case PROC_MPOL_BIND:
		return MPOL_BIND;
	case PROC_MPOL_PREFERRED:
		return MPOL_PREFERRED;
	case PROC_MPOL_PREFERRED_MANY:
		return MODE_PREFERRED_MANY;
	case PROC_MPOL_INTERLEAVE:
		return MPOL_INTERLEAVE;
	case PROC_MPOL_WEIGHTED_INTERLEAVE:
		return MODE_WEIGHTED_INTERLEAVE;
	case PROC_MPOL_LOCAL:
		return MODE_LOCAL;
	}
	return MPOL_DEFAULT;
}

/*
 * Of its nodes, the one that is tried first. Linux before 5.17 cannot be told: there it is the one
 * that is nearest to whoever touches the memory.
 */
static int set_first(void *map, size_t size, uint64_t node)
{
	if (!node || syscall(SYS_set_mempolicy_home_node, map, size, __builtin_ctzll(node), 0) == 0)
		return 0;
	return errno == ENOSYS ? 0 : -errno;
}

/*
 * mbind of a mapping that nobody has bound yet. Linux leaves out what would not change the policy
 * of the mapping itself, and that of a new one is the default already; the file's, which is the one
 * that matters, would stay. So the default comes by way of "local", which means the same to shmem.
 */
static int set_policy(void *map, size_t size, const struct proc_policy *policy)
{
	unsigned long mask = policy->nodes;
	int mode = mode_number(policy->mode);

	if (mode == MPOL_DEFAULT && mbind(map, size, MODE_LOCAL, NULL, 0, 0) < 0)
		return -errno;
	if (mode == MPOL_DEFAULT || mode == MODE_LOCAL)
		return mbind(map, size, mode, NULL, 0, 0) < 0 ? -errno : 0;
	/* The kernel takes maxnode as the number of bits plus one and ignores the last. */
	if (mbind(map, size, mode | (int)policy->flags, &mask, sizeof(mask) * 8 + 1, 0) < 0)
		return -errno;
	return set_first(map, size, policy->first);
}

int mapping_set(const struct sysroot *root, pid_t pid, const struct ramblock *block,
		const struct proc_policy *policy)
{
	size_t size = block->end - block->start;
	cleanup_close int fd = -1;
	void *map;
	int r;

	if (!block->memfd)
		return -EOPNOTSUPP;
	r = proc_open_memfd(root, pid, block->dev_major, block->dev_minor, block->inode, &fd);
	if (r < 0)
		return r == -ENOENT ? -ESTALE : r;
	/* PROT_NONE: not even by mistake can this process touch, and so populate, guest memory. */
	map = mmap(NULL, size, PROT_NONE, MAP_SHARED, fd, (off_t)block->offset);
	if (map == MAP_FAILED)
		return -errno;
	/* shmem keeps the policy in the file, where every later fault finds it. */
	r = set_policy(map, size, policy);
	munmap(map, size);
	return r;
}
