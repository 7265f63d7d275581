/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * move_pages(2) on another process. Which pages, and whether they may, is decided elsewhere.
 */
#pragma once

#include "../kernel.h"

/* Smallest call: below this its fixed cost (a drain of all CPUs' page lists) dominates. */
#define MOVE_BATCH_MIN 16
#define MOVE_BATCH_MAX 512

/* What one call was asked, and what the kernel says came of it; effects are measured apart. */
struct move_result {
	size_t asked; /* pages in calls that were made */
	int error;    /* first refusal (negative errno), 0: none */
	uint64_t calls;
	uint64_t worst_us; /* longest call */
};

/* Pages per call, learnt: halved by a call longer than its limit, doubled by short ones. */
struct move_pace {
	size_t batch; /* 0: start with the most */
	size_t most;  /* MOVE_BATCH_MIN to MOVE_BATCH_MAX */
	uint32_t limit_us;
};

/* Keeps pages per call within what is set: after a change of it, and from the start. */
void move_pace_bound(struct move_pace *pace);
/* Learns from a call of @done pages that took @took_us. */
void move_pace_adapt(struct move_pace *pace, size_t done, uint64_t took_us);

/*
 * Has @call do something with the @n pages at @addrs, in calls that keep to @pace. It returns 0,
 * or -errno: then it is not called again. 0, with that in *ret_result; -ESRCH, -EPERM: as it says.
 */
int move_in_calls(void *const *addrs, size_t n,
		  int (*call)(void *const *addrs, size_t n, void *arg), void *arg,
		  struct move_pace *pace, struct move_result *ret_result);

/*
 * Moves the @n pages at @addrs to node @nid, in calls that keep to @pace. Pages that cannot be
 * moved are left where they are, and with them what the kernel did not try of their call; the next
 * call goes on after it. Stops when a call as a whole is refused, say because the node is full.
 * Both are in *ret_result and return 0; -ESRCH: the process is gone; -ENODEV: the node has no
 * memory; -EACCES: outside the process's cpuset; -EPERM.
 */
int move_pages_to(const struct kernel *kernel, pid_t pid, void *const *addrs, size_t n, int nid,
		  struct move_pace *pace, struct move_result *ret_result);
