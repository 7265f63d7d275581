/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The two threads that find out how old guest memory is: one looks at pages (placement, idle
 * flags), one keeps DAMON's snapshots. Neither decides or moves anything.
 */
#pragma once

#include "../host.h"
#include "../sense/batch.h"

struct scan {
	struct host *host;
	/* Opened before the process confines itself; the looking thread's from then on. */
	struct batch batch;
	pthread_t looker, nominator;
	bool looking, nominating; /* threads started */
};

/* Starts both; @scan is zero but for its batch. -errno of pthread_create(3). */
int scan_start(struct scan *scan, struct host *host);
/* After host_stop(): waits for both. */
void scan_join(struct scan *scan);
