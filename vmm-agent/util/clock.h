/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The clock that nobody sets, and the processor time of a thread. */
#pragma once

#include <pthread.h>
#include <stdint.h>
#include <time.h>

static inline uint64_t monotonic_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

static inline uint64_t monotonic_ms(void)
{
	return monotonic_us() / 1000;
}

/* Never 0. */
static inline uint32_t monotonic_s(void)
{
	return (uint32_t)(monotonic_ms() / 1000) + 1;
}

/* When @ms from now will have passed, for what waits by CLOCK_MONOTONIC. */
static inline struct timespec monotonic_after(uint32_t ms)
{
	uint64_t end = monotonic_ms() + ms;

	return (struct timespec){ .tv_sec = (time_t)(end / 1000),
				  .tv_nsec = (long)(end % 1000) * 1000000 };
}

/* For pthread_cond_timedwait(3) until monotonic_after(): not a moment more when the clock is set.
 */
static inline void monotonic_cond_init(pthread_cond_t *cond)
{
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(cond, &attr);
	pthread_condattr_destroy(&attr);
}

/* Of the calling thread, nanoseconds. */
static inline int64_t thread_cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}
