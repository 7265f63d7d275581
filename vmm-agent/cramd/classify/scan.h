/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The two threads that find out how old guest memory is: one looks at pages (placement, idle
 * flags), one keeps DAMON's snapshots. Neither decides or moves anything.
 */
#pragma once

#include "../host.h"
#include "../sense/batch.h"
#include "../sense/pages.h"

struct scan {
	struct host *host;
	/* Opened before the process confines itself; one thread's each from then on. */
	struct batch looker_batch, nominator_batch;
	/* The same: a thread that finds no memory has nobody to tell. */
	struct examine_buffers *examined;
	struct watch_buffers *watched;
	pthread_t looker, nominator;
	bool looking, nominating; /* threads started */
};

struct look_buffers {
	int nodes[PAGES_PER_RANGE];
	uint64_t entries[PAGES_PER_RANGE], heads[PAGES_PER_RANGE];
	bool idle[PAGES_PER_RANGE];
};

/*
 * Looks at range @index: where its pages are and, with @idle, which of them were accessed since the
 * look before. @pagemap: of the VM's process. 0 or a negative errno (-ESRCH: VM gone).
 */
int scan_look(struct vm *vm, size_t index, const struct page_idle *idle, int pagemap,
	      struct look_buffers *buffers);

/* Starts both; @scan is zero but for its batches. -ENOMEM or -errno of pthread_create(3). */
int scan_start(struct scan *scan, struct host *host);
/* After host_stop(): waits for both, as far as they were started. */
void scan_join(struct scan *scan);
