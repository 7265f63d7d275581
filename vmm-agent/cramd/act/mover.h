/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Threads that carry out what was decided: pick ranges, look a last time, move them, measure what
 * came of it. They keep to the bytes they were given and never decide anything themselves.
 */
#pragma once

#include "../host.h"

#define MOVER_THREADS 2 /* at work, and one for what is urgent */
#define MOVER_STUCK   8 /* of each of both that may be with processes that are stuck, besides */
#define MOVER_ALL     (MOVER_THREADS + 1 + 2 * MOVER_STUCK)
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

struct mover_thread {
	struct mover *mover;
	pthread_t thread;
	bool urgent;
	struct vm *vm;		   /* whose job it does; NULL: it is to spare */
	_Atomic uint64_t since_ms; /* its present step began then */
	_Atomic bool left;	   /* the step does not end: another is at work in its place */
};

/*
 * A move waits for its process's mmap lock, and one that is stuck never lets go. A thread whose
 * step does not end is left with it until it does, and no other job of that VM begins; another
 * thread takes its place.
 */
struct mover {
	struct host *host;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	/*
	 * Promotions have a queue of their own: they never wait behind a demotion not yet begun,
	 * but where DRAM is short: then demotions never wait behind them.
	 */
	struct mover_queue home, out;
	/*
	 * And what leaves a tier since that pushes back waits for neither: it has a thread too.
	 * What goes to swap then is last there, for a disk is slow, makes way when anything else
	 * comes, and goes on after that.
	 */
	struct mover_queue urgent, shed;
	_Atomic bool relief_waits; /* urgent is not empty */
	pthread_cond_t wake_urgent;
	bool stopping;
	uint32_t patience_ms; /* a thread whose step takes longer is left with it */
	struct mover_thread threads[MOVER_ALL]; /* as many as were ever needed */
	size_t n_threads;
	size_t at_work[2]; /* of them, not left; [1]: on the urgent lane */
};

int mover_start(struct mover *mover, struct host *host);
/*
 * Waits a moment for steps under way. False: some have not ended, and what they use, @mover
 * included, must stay until the process ends.
 */
bool mover_stop(struct mover *mover);

/*
 * -EBUSY: the VM has such a job already, its process is stuck, or the queue is full: decide again
 * next round. What is to come home urgently is taken off the queue for what is to come home anyway,
 * and ends it where it has begun.
 */
int mover_submit(struct mover *mover, struct vm *vm, enum vm_job_kind kind, uint64_t bytes,
		 uint32_t min_age_s, int nid);
