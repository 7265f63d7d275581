/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Looks at pages: how old guest memory is (idle flags) and where it is, and what else may change
 * while VMs run (examine.h). One keeper gives VMs their turns; a VM whose mmap lock is stuck holds
 * its own turn and no other's. Neither decides nor moves anything.
 */
#pragma once

#include "../host.h"
#include "../patience.h"
#include "../sense/pages.h"
#include "written.h"

/* Every VM's turn, once; whoever has the hand takes them. */
struct looker_round {
	struct vm *const *vms; /* the keeper's, which holds references to them */
	size_t n, begin, next; /* the next turn is that of begin + next */
	size_t after;	       /* where the next round begins */
	uint64_t hand;
	pid_t taking;	 /* whose turn was the last to begin */
	int64_t left_ns; /* of the processor time for looks; negative: overdrawn */
	bool want_idle;
};

struct looker {
	struct host *host;
	struct page_idle idle; /* opened once; used while the settings want it */
	/* Processor time of looks and of examinations that have ended, nanoseconds. */
	_Atomic int64_t look_ns, examine_ns;
	/* What one reading of placement, or one examination without it, takes, all VMs together. */
	_Atomic uint64_t placement_us, examination_us;
	struct written written; /* has a lock of its own */
	pthread_mutex_t lock;	/* of the round */
	struct looker_round round;
	struct patience patience;
	pthread_t keeper;
	bool running;
};

struct look_buffers {
	int nodes[PAGES_PER_RANGE];
	uint64_t entries[PAGES_PER_RANGE], heads[PAGES_PER_RANGE], wholes[PAGES_PER_RANGE];
	bool idle[PAGES_PER_RANGE], wholes_idle[PAGES_PER_RANGE];
};

/*
 * Looks at range @index: where its pages are and, with @idle, which of them were accessed since the
 * look before. @pagemap: of the VM's process. 0 or a negative errno (-ESRCH: VM gone; -ETIMEDOUT:
 * it is being moved).
 */
int look_at_range(struct looker *looker, struct vm *vm, size_t index, const struct page_idle *idle,
		  int pagemap, struct look_buffers *buffers);

/* How far apart looks at a range are, seconds: often enough to confirm @cold_age_s in time. */
uint32_t look_interval_s(uint32_t cold_age_s);

/* @looker is zero. 0 or -errno of pthread_create(3). */
int looker_start(struct looker *looker, struct host *host);
/* After host_stop(). Leaves behind what is stuck. */
bool looker_join(struct looker *looker);
