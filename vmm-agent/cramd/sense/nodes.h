/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The host's NUMA nodes as sysfs shows them, and pressure-stall counters: everything the host
 * says about memory that is not about one process.
 */
#pragma once

#include "sysroot.h"

#define NODES_MAX 64

struct node {
	int nid;
	bool has_memory; /* in N_MEMORY: pages may be allocated there */
	bool has_cpu;
	bool no_policy;	      /* private, and mbind and move_pages do not reach it either */
	bool is_private;      /* nothing is allocated there but by who names it; never has_memory */
	uint64_t total, free; /* bytes */
	uint64_t inactive_file; /* page cache that reclaim takes first */
	uint64_t dirty;		/* page cache to be written, or being written */
	uint8_t distance[NODES_MAX];
};

struct nodes {
	size_t n;
	struct node v[NODES_MAX]; /* by ascending nid */
};

/* -EBADMSG: a file of sysfs is not in its format; other errors as reading gives them. */
int nodes_read(const struct sysroot *root, struct nodes *ret_nodes);

/*
 * Only what changes from moment to moment: the bytes of the nodes known; one that cannot be read
 * has none. Their files stay open in @fds, by nid; -1 at first, and the caller's to close.
 */
void nodes_refresh(const struct sysroot *root, struct nodes *nodes, int fds[NODES_MAX]);

/*
 * The kernel's low watermark per node, in bytes: below it, reclaim begins. 0 for a node that
 * /proc/zoneinfo does not have. That file is long on a host with many processors, and the
 * watermarks change only by hand: not for every round. On an error *ret_low is unchanged.
 */
int nodes_low_watermarks(const struct sysroot *root, uint64_t ret_low[NODES_MAX]);

const struct node *nodes_find(const struct nodes *nodes, int nid);

/* Bytes of node @nid that are in pools of huge pages, used or not. */
uint64_t hugepages_of_node(const struct sysroot *root, int nid);
/*
 * Huge pages of @size bytes that nobody has reserved, and how many more the kernel would make when
 * they are wanted (nr_overcommit_hugepages); bytes. 0, 0: there are no pages of that size.
 */
void hugepages_read(const struct sysroot *root, uint64_t size, uint64_t *ret_free,
		    uint64_t *ret_more);

/* Swap on compressed block devices (zram), which is DRAM itself; bytes. 0, 0: there is none. */
void zram_swap_read(const struct sysroot *root, uint64_t *ret_free, uint64_t *ret_used);

/*
 * Free swap to which the kernel goes before any zram that has room: what is swapped now is not in
 * DRAM afterwards. Bytes.
 */
uint64_t disk_swap_free(const struct sysroot *root);

/* Share of time some (full) tasks were stalled over 10 s, in hundredths of a percent. */
struct pressure {
	uint32_t some_avg10, full_avg10;
	uint64_t some_total, full_total; /* microseconds since boot */
};

/* Reads /proc/pressure/memory or a cgroup's memory.pressure. -EOPNOTSUPP: switched off. */
int pressure_read(const struct sysroot *root, const char *path, struct pressure *ret_pressure);
