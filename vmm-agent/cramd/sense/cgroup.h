/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The cgroup that accounts a VM's memory. libvirt puts QEMU into a threaded group, which has no
 * memory controllers of its own: its domain ancestor has.
 */
#pragma once

#include "sysroot.h"

struct cgroup {
	int memory;	   /* directory of the nearest ancestor with memory counters; -1: none */
	int cpuset;	   /* the same with a cpuset */
	bool asks_parents; /* memory.zswap.writeback of those above it holds for it, too */
};

/*
 * @path as /proc/PID/cgroup names it; empty: none. Directories stay open, so that a group of the
 * same name made later is never taken for it.
 */
void cgroup_open(const struct sysroot *root, const char *path, struct cgroup *ret_cgroup);
void cgroup_close(struct cgroup *cgroup);

/* What of a cgroup is on cards that compress (docs/design/cram.md); bytes. */
struct cgroup_cram {
	uint64_t
		sampled; /* pages on the card that were measured; 0: none, or the kernel does not */
	uint64_t sampled_bytes; /* what these take */
	uint64_t device;	/* what all of it takes, estimated from them */
};

/* Of the card of node @nid. -ENOENT: this kernel measures nothing, or there is no cgroup. */
int cgroup_read_cram(const struct cgroup *cgroup, int nid, struct cgroup_cram *ret_cram);

/* memory.cram.current: what it has on all cards, mapped or not. -ENOENT as below. */
int cgroup_read_cram_current(const struct cgroup *cgroup, uint64_t *ret_bytes);
/* memory.cram.max; UINT64_MAX: no limit. -ENOENT: there is none, or no cgroup. */
int cgroup_read_cram_max(const struct cgroup *cgroup, uint64_t *ret_bytes);
int cgroup_write_cram_max(const struct cgroup *cgroup, uint64_t bytes);

/* What of a cgroup is in compressed swap, and may be; bytes. */
struct cgroup_zswap {
	uint64_t stored;  /* what it takes there */
	uint64_t max;	  /* of stored; UINT64_MAX: no limit */
	uint64_t swapped; /* in all swap, there and on disk */
	uint64_t swap_max;
	bool writeback; /* the kernel may write it on to disk, or it is not known that it may not */
};

/* -ENOENT: there is no cgroup of version 2, or its kernel has no zswap. */
int cgroup_read_zswap(const struct cgroup *cgroup, struct cgroup_zswap *ret_zswap);
/* Bytes that are stored there, before compression; 0: the kernel does not say. Sums up counters of
 * all processors.
 */
uint64_t cgroup_read_zswapped(const struct cgroup *cgroup);

/*
 * Has the kernel reclaim @bytes of the cgroup, by whatever means it has: it chooses the pages. 0;
 * -EAGAIN: it found less; another -errno.
 */
int cgroup_reclaim(const struct cgroup *cgroup, uint64_t bytes);
/* Bytes of its processes' memory on node @nid. */
int cgroup_read_on_node(const struct cgroup *cgroup, int nid, uint64_t *ret_bytes);
/* Could what is reclaimed of it go to swap, where the host has any? */
bool cgroup_may_swap(const struct cgroup *cgroup);

/* Are they one, with a limit on compressed memory for whoever is in it? */
bool cgroup_is_shared(const struct cgroup *a, const struct cgroup *b);

/* Bytes swapped out, zswap's included; 0 where the kernel does not swap. */
int cgroup_read_swapped(const struct cgroup *cgroup, uint64_t *ret_bytes);

/*
 * Nodes that its cpuset lets it use, private ones included (which Mems_allowed leaves out).
 * -ENOENT: it has no cpuset.
 */
int cgroup_read_mems(const struct cgroup *cgroup, uint64_t *ret_nodes);
