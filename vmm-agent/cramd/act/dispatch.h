/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What was decided goes to those who carry it out: jobs to the movers, standing orders to relief
 * and pressure,
 * each paid for from the buckets. Loop only.
 */
#pragma once

#include "../sense/snapshot.h"
#include "backpressure.h"
#include "mover.h"
#include "relief.h"

struct dispatch {
	/* Grown with the number of VMs, else reused. */
	CRAM_ARRAY(size_t) by_priority; /* of VMs, most urgent first */
	CRAM_ARRAY(struct relief_order) standing;
	CRAM_ARRAY(struct backpressure_vm) on_cards;
};

void dispatch_free(struct dispatch *dispatch);

/* @decision is about @s and in force already: vm->action. 0 or -ENOMEM: the rest waits for the next
 * round.
 */
int dispatch_work(struct dispatch *dispatch, struct mover *mover, struct relief *relief,
		  struct backpressure *backpressure, struct host *host,
		  const struct cram_host_settings *set, const struct snapshot *s,
		  const struct cram_decision *decision);
