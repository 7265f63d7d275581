/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Keeps DAMON watching all guests' RAM and takes its snapshots: what it sees no access in is
 * nominated for looks. Neither decides nor moves anything.
 */
#pragma once

#include "../host.h"

struct nominator {
	struct host *host;
	/* Made before the thread: one that finds no memory has nobody to tell. */
	struct watch_buffers *buffers;
	pthread_t thread;
	bool running;
};

/* @nominator is zero. -ENOMEM or -errno of pthread_create(3). */
int nominator_start(struct nominator *nominator, struct host *host);
/* After host_stop(). */
void nominator_join(struct nominator *nominator);
