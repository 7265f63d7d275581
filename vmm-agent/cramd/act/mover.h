/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Threads that carry out what was decided: pick ranges, look a last time, move them, measure what
 * came of it. They keep to the bytes they were given and never decide anything themselves.
 */
#pragma once

#include "../host.h"

#define MOVER_THREADS 2 /* and one for what is urgent */
#define MOVER_QUEUE   1024

/*
 * A VM that does not let go of its mmap lock keeps whoever moves its memory. After this nothing
 * more of it is moved until it does, and another thread does the work of that one: so many at most.
 */
#define MOVER_STUCK_MS 10000
#define MOVER_SPARE    16

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

struct mover;

struct mover_worker {
	struct mover *mover;
	pthread_t thread;
	bool urgent;
	_Atomic uint64_t since_ms; /* with one range of its job; 0: it has none */
	/* Under the mover's lock. */
	struct vm *vm; /* whose job it does; NULL: none */
	bool replaced; /* another does its work: it ends with its job */
	bool ended;
};

struct mover {
	struct host *host;
	uint32_t stuck_ms;
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
	struct mover_worker workers[MOVER_THREADS + 1 + MOVER_SPARE];
	size_t n_workers;
};

int mover_start(struct mover *mover, struct host *host);
/*
 * Waits a moment for jobs under way. False: some have not come back, and what they use, @mover
 * included, must stay until the process ends.
 */
bool mover_stop(struct mover *mover);

/*
 * -EBUSY: the VM has such a job already, or is stuck, or the queue is full: decide again next
 * round. What is to come home urgently is taken off the queue for what is to come home anyway, and
 * ends it where it has begun.
 */
int mover_submit(struct mover *mover, struct vm *vm, enum vm_job_kind kind, uint64_t bytes,
		 uint32_t min_age_s, int nid);
