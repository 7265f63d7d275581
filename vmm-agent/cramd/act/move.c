// SPDX-License-Identifier: GPL-2.0-or-later
/* move_pages in short calls; see move.h. */
#include "move.h"

#include <errno.h>
#include <numaif.h>

#include "util/clock.h"

void move_pace_adapt(struct move_pace *pace, size_t done, uint64_t took_us)
{
	if (took_us > pace->limit_us)
		pace->batch /= 2;
	else if (done == pace->batch && took_us < pace->limit_us / 2)
		pace->batch *= 2;
	move_pace_bound(pace);
}

void move_pace_bound(struct move_pace *pace)
{
	if (pace->batch == 0 || pace->batch > pace->most)
		pace->batch = pace->most;
	if (pace->batch < MOVE_BATCH_MIN)
		pace->batch = MOVE_BATCH_MIN;
}

/* The first that the kernel says why of. */
static int refusal(const int *status, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (status[i] < 0)
			return status[i];
	return -EBUSY;
}

/* A call of @count pages took @took_us. */
static void count_call(struct move_result *result, struct move_pace *pace, size_t count,
		       uint64_t took_us)
{
	result->asked += count;
	result->calls++;
	if (took_us > result->worst_us)
		result->worst_us = took_us;
	move_pace_adapt(pace, count, took_us);
}

int move_in_calls(void *const *addrs, size_t n,
		  int (*call)(void *const *addrs, size_t n, void *arg), void *arg,
		  struct move_pace *pace, struct move_result *ret_result)
{
	struct move_result result = {};

	move_pace_bound(pace);
	for (size_t i = 0; i < n && !result.error;) {
		size_t count = n - i < pace->batch ? n - i : pace->batch;
		uint64_t start = monotonic_us(), took;

		result.error = call(addrs + i, count, arg);
		took = monotonic_us() - start;
		if (result.error == -ESRCH || result.error == -EPERM)
			return result.error;
		count_call(&result, pace, count, took);
		i += count;
	}
	*ret_result = result;
	return 0;
}

int move_pages_to(const struct kernel *kernel, pid_t pid, void *const *addrs, size_t n, int nid,
		  struct move_pace *pace, struct move_result *ret_result)
{
	struct move_result result = {};
	int nodes[MOVE_BATCH_MAX], status[MOVE_BATCH_MAX];
	void *batch[MOVE_BATCH_MAX];

	move_pace_bound(pace);
	for (size_t i = 0; i < n;) {
		size_t count = n - i < pace->batch ? n - i : pace->batch;
		uint64_t start = monotonic_us(), took;
		long rc;
		int error = 0;

		for (size_t k = 0; k < count; k++) {
			batch[k] = addrs[i + k];
			nodes[k] = nid;
			status[k] = 0;
		}
		rc = kernel->move_pages(pid, count, batch, nodes, status, MPOL_MF_MOVE);
		if (rc < 0)
			error = -errno;
		took = monotonic_us() - start;
		if (error == -ESRCH || error == -ENODEV || error == -EACCES || error == -EPERM)
			return error;
		count_call(&result, pace, count, took);
		i += count;
		if (rc == 0)
			continue;
		/*
		 * A positive value counts pages that were not moved, those included that were not
		 * tried: the kernel may stop at one that it cannot migrate.
		 */
		if (rc > 0)
			error = refusal(status, count);
		if (!result.error)
			result.error = error;
		if (rc < 0)
			break;
	}
	*ret_result = result;
	return 0;
}
