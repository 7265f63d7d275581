/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Calls that may wait for another process's locks (its mmap lock, above all), made so that one
 * process which never lets go delays itself alone: the caller waits for so long, then leaves the
 * thread with it and goes on with another.
 *
 * Threads, not io_uring: where pages are is asked with move_pages(2), which no ring offers, and a
 * procfs read that waits for an mmap lock cannot be cancelled: in a ring it would hold a kernel
 * thread of ours just as long.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* At its end the agent waits so long for threads that are with something. */
#define STOP_MS 2000

#define PATIENCE_THREADS 16
#define PATIENCE_ARG	 64

enum patience_state {
	PATIENCE_NONE, /* no thread */
	PATIENCE_LIVE,
	PATIENCE_ENDED, /* and not yet joined */
};

struct patience_thread {
	struct patience *patience;
	enum patience_state state;
	pthread_t thread;
	pthread_cond_t wake;
	void (*call)(void *arg); /* NULL: it has nothing to do */
	_Alignas(max_align_t) unsigned char arg[PATIENCE_ARG];
};

struct patience {
	pthread_mutex_t lock;
	pthread_cond_t done;
	size_t n, live;
	bool stopping;
	struct patience_thread v[PATIENCE_THREADS];
};

void patience_init(struct patience *patience);
/*
 * Waits a moment for calls under way. False: some have not come back, and what they use, @patience
 * included, must stay until the process ends.
 */
bool patience_stop(struct patience *patience);

/*
 * Calls @call with a copy of @arg (@size bytes, PATIENCE_ARG at most) and waits @ms for it. 0: it
 * has been; -ETIMEDOUT: it has not come back, and will end by itself; -EBUSY: not called, all
 * threads are with calls that have not come back, or it is stopping; -EAGAIN: no thread could be
 * made. One caller at a time.
 */
int patience_call(struct patience *patience, void (*call)(void *arg), const void *arg, size_t size,
		  uint32_t ms);
