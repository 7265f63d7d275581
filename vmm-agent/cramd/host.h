/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the loop and the worker threads share: the root, the log, the settings in force and the list
 * of VMs. The loop writes, workers copy.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "kernel.h"
#include "protocol/durations.h"
#include "settings/settings.h"
#include "util/clock.h"
#include "util/log.h"
#include "vm.h"

struct host {
	const struct kernel *kernel; /* tests have another */
	struct sysroot root;
	struct cram_log log;
	const char *run_dir; /* "/run/cramd" */

	_Atomic bool stopping;
	_Atomic bool paused;		/* no demotion and no scans, host-wide */
	_Atomic uint64_t tier_nodes;	/* mask */
	_Atomic uint64_t reclaim_nodes; /* mask: tier nodes that only memory.reclaim reaches */
	_Atomic uint64_t short_nodes;	/* mask: home nodes with less free than their headroom */
	_Atomic uint64_t closed_nodes;	/* mask: tier nodes that take nothing now */
	_Atomic uint64_t
		pressed_us; /* a card pushes back since then, and nothing was moved yet; 0: no */
	_Atomic uint64_t reliefs, relieved; /* how often memory was to leave for that; bytes home */
	_Atomic uint64_t shed;		    /* bytes that went to swap for it */
	_Atomic uint64_t relief_us; /* last time from pressed_us to when the first move began */
	/* As struct cram_duration_counts. */
	_Atomic uint64_t durations[CRAM_N_DURATIONS][CRAM_DURATION_BUCKETS];
	_Atomic uint64_t duration_sums[CRAM_N_DURATIONS]; /* microseconds */
	_Atomic uint64_t kdamond_cpu_us;
	/* DAMON is to have answered again by then, monotonic milliseconds; 0: it does not watch. */
	_Atomic uint64_t damon_until_ms;
	_Atomic bool idle_active;

	pthread_mutex_t lock;
	pthread_cond_t wake; /* workers that wait for time or for the end */
	struct cram_host_settings settings;
	char detector_note[160];     /* why a detector is not in use; empty: all are */
	CRAM_ARRAY(struct vm *) vms; /* which the loop reads without the lock */
	unsigned int vms_generation;

	/* Of the loop alone. */
	bool gathering; /* VMs that run are still to be taken in: the agent was just started */
	struct cram_bucket demote_bucket, promote_bucket;
	struct vm_counters gone; /* bytes moved of VMs that have gone */
	struct cram_ratelimit log_limit;
	uint64_t log_missed;
};

/* A worker's own copy of the list, with references; reused from round to round. */
struct roster {
	CRAM_ARRAY(struct vm *) vms;
	unsigned int generation;
	struct cram_host_settings settings;
};

int host_init(struct host *host, const char *root, const char *run_dir);
void host_fini(struct host *host);

/* Waits @ms or until the agent stops; false: it stops. */
bool host_sleep(struct host *host, uint32_t ms);
void host_stop(struct host *host);
/*
 * After host_stop(): waits a moment for @thread, if it is *@running. False: it has not come back
 * from something, is *@running still, and what it uses must stay until the process ends.
 */
bool host_join(pthread_t thread, bool *running);
/* The same of one that may be with something for @ms before it hears of the end. */
bool host_join_after(pthread_t thread, bool *running, uint32_t ms);

/* Does DAMON watch, and is what it saw last not too old to go by? */
bool host_damon_answers(const struct host *host);

/* Counts something that took so long. */
void host_took(struct host *host, enum cram_duration what, uint64_t us);

/* Loop only. Takes a reference. 0 or -ENOMEM. */
int host_add_vm(struct host *host, struct vm *vm);
void host_remove_vm(struct host *host, struct vm *vm);
/* @by, of which it takes a reference, is what @vm was: in its place in the list. */
void host_replace_vm(struct host *host, struct vm *vm, struct vm *by);
void host_set_settings(struct host *host, const struct cram_host_settings *settings);
/* Loop only. May a line be logged that could come each round? Those that may not are counted. */
bool host_may_log(struct host *host, uint64_t now_ms);

/* Brings @roster up to date. 0 or -ENOMEM (it is empty then). */
int roster_copy(struct host *host, struct roster *roster);
void roster_free(struct roster *roster);
