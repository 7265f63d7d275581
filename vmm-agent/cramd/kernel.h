/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is asked of the kernel about another process's memory, and done to it: the calls that tests
 * replace (struct host has them). Everything else is files below a root prefix (sense/sysroot.h).
 */
#pragma once

#include <sys/uio.h>

#include "sense/cgroup.h"
#include "sense/pages.h"
#include "sense/proc.h"

struct ramblock;

struct kernel {
	/* move_pages(2): without @nodes it only says where pages are. -1 and errno. */
	long (*move_pages)(int pid, unsigned long n, void **addrs, const int *nodes, int *status,
			   int flags);
	/* act/mapping.h */
	int (*mapping_set)(const struct sysroot *root, pid_t pid, const struct ramblock *block,
			   const struct proc_policy *policy);
	/* sense/proc.h: proc_for_each_numa() */
	int (*numa_maps)(const struct sysroot *root, pid_t pid,
			 int (*visit)(const struct proc_numa *numa, void *arg), void *arg);
	/* sense/proc.h: proc_for_each_swap() */
	int (*smaps)(const struct sysroot *root, pid_t pid,
		     int (*visit)(const struct proc_swap *swap, void *arg), void *arg);
	/* sense/swapped.h */
	int (*swapped_where)(const struct sysroot *root, pid_t pid, const struct ramblock *block,
			     uint64_t addr, size_t n, int *nodes);
	int (*swapped_allocated)(const struct sysroot *root, pid_t pid,
				 const struct ramblock *block, uint64_t *ret_bytes);
	/* sense/cgroup.h: cgroup_reclaim() */
	int (*reclaim)(const struct cgroup *cgroup, uint64_t bytes);
	/* act/swap.h */
	int (*swap_out)(int pidfd, const struct iovec *pages, size_t n);
	int (*swap_out_unmapped)(const struct sysroot *root, pid_t pid,
				 const struct ramblock *block, void *const *addrs, size_t n);
	int (*swap_in)(const struct sysroot *root, pid_t pid, const struct ramblock *block,
		       void *const *addrs, size_t n, int nid);
	/* sense/pages.h: pagemap_read(), page_idle_…() */
	int (*pagemap)(int fd, uint64_t addr, size_t n, uint64_t *entries);
	int (*idle_heads)(const struct page_idle *idle, const uint64_t *entries, size_t n,
			  uint64_t *heads);
	int (*idle_check)(const struct page_idle *idle, const uint64_t *heads, size_t n,
			  bool *ret_idle);
	int (*idle_mark)(const struct page_idle *idle, const uint64_t *heads, size_t n);
};

extern const struct kernel kernel_linux;
