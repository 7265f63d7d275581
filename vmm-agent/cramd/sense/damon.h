/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * DAMON through its sysfs tree: one kdamond watching the RAM of many VMs, read as snapshots of
 * regions. The tree is one per host and may be somebody else's: then it is reported, never seized.
 * Every call may block for an aggregation interval, so none belongs on the main loop.
 */
#pragma once

#include "sysroot.h"

#include <sys/types.h>

#include "util/array.h"

#define DAMON_RANGES_MAX 32

struct damon_attrs {
	uint32_t sample_us, aggr_us, update_us;
	uint32_t min_regions, max_regions; /* of all targets together */
};

struct damon_range {
	uint64_t start, end;
};

struct damon_target {
	pid_t pid;
	size_t n_ranges;
	struct damon_range ranges[DAMON_RANGES_MAX]; /* ascending, disjoint */
};

struct damon_region {
	uint64_t start, end;
	uint32_t accesses; /* of the last aggregation's samples */
};

struct damon {
	const struct sysroot *root;
	const char *marker; /* file that says the tree is ours, below the root */
	bool acquired; /* the tree is ours, as last looked at; before every write it is again */
	bool configured;
	pid_t first_pid; /* of the first target, which tells our tree from another's; 0: none */
	bool running;
	bool started_over; /* the last damon_watch() has: nothing of what it had seen is left */
	size_t n_targets;
	CRAM_ARRAY(pid_t) pids; /* of the targets that DAMON has, in their places */
	CRAM_ARRAY(struct damon_region) regions; /* of the target that is being read */
};

/* All are borrowed. */
void damon_init(struct damon *damon, const struct sysroot *root, const char *marker);

/*
 * Takes the tree if nobody has it: untouched since boot, or left by an agent that died (the marker
 * carries this boot's id). -ENOENT: kernel without DAMON's sysfs tree or without virtual address
 * monitoring; -EBUSY: someone else's.
 */
int damon_acquire(struct damon *damon);

/*
 * Watches exactly @targets from now on; none of them: monitoring stops. Regions of targets that
 * were watched before keep their history, as long as each has its place: DAMON keeps targets by
 * their number, and one in another's place would inherit what was seen of that, so then it starts
 * over. -ESRCH: a target has exited (start over without it); -EBUSY: DAMON is used exclusively by
 * someone else; -ENOMEM.
 */
int damon_watch(struct damon *damon, const struct damon_attrs *attrs,
		const struct damon_target *targets, size_t n_targets);

/*
 * One snapshot of all of @targets, which are those of the last damon_watch(), each in regions.
 * Neighbours without accesses may be one. -ESRCH: monitoring ended because every target exited.
 */
int damon_snapshot(struct damon *damon, const struct damon_target *targets,
		   int (*visit)(size_t target, const struct damon_region *region, void *arg),
		   void *arg);

/* Stops monitoring, so that the next damon_watch() starts from nothing. */
int damon_stop(struct damon *damon);

/* Stops monitoring and gives the tree back as it was found, if it is still ours. */
void damon_release(struct damon *damon);

/* Who has the tree, as far as it tells: for a person. Returns @buf. */
const char *damon_owner(const struct damon *damon, char *buf, size_t size);
