/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Threads that carry out what was decided: pick ranges, look a last time, move them, measure what
 * came of it. They keep to the bytes they were given and never decide anything themselves.
 */
#pragma once

#include "../host.h"

#define MOVER_THREADS 2 /* and one for what is urgent */
#define MOVER_QUEUE   1024

struct mover_job {
	struct vm *vm; /* a reference of the job's own */
	enum vm_job_kind kind;
	uint64_t bytes;
	uint32_t min_age_s;
	int nid;	/* where to */
	uint32_t epoch; /* the VM's when this was decided; of what comes home: its reliefs */
};

struct mover_queue {
	struct mover_job jobs[MOVER_QUEUE];
	size_t head, n;
};

struct mover {
	struct host *host;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	/*
	 * Promotions have a queue of their own: they never wait behind a demotion not yet begun,
	 * but where DRAM is short: then demotions never wait behind them.
	 */
	struct mover_queue home, out;
	/* And what comes home since a tier pushes back waits for neither: it has a thread too. */
	struct mover_queue urgent;
	pthread_cond_t wake_urgent;
	bool stopping;
	pthread_t threads[MOVER_THREADS + 1];
	size_t n_threads;
};

int mover_start(struct mover *mover, struct host *host);
void mover_stop(struct mover *mover);

/*
 * -EBUSY: the VM has such a job already, or the queue is full: decide again next round. What is to
 * come home urgently is taken off the queue for what is to come home anyway, and ends it where it
 * has begun.
 */
int mover_submit(struct mover *mover, struct vm *vm, enum vm_job_kind kind, uint64_t bytes,
		 uint32_t min_age_s, int nid);
