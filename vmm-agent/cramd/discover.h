/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Examines processes that are to become VMs. Reading the command line and the mappings of a QEMU
 * waits for its mmap lock, and one that is stuck never lets go of it: so that is done by a thread
 * which nobody waits for. Not about VMs that are known already (classify/scan.h).
 */
#pragma once

#include "host.h"

struct discovery {
	pid_t pid;
	int r;	       /* of vm_new() */
	struct vm *vm; /* the caller's from then on; NULL when r is negative */
};

struct discover {
	struct host *host;
	int wake; /* eventfd, readable: there is something for discover_next() */

	pthread_mutex_t lock;
	pthread_cond_t wanted_any;
	bool stopping;
	CRAM_ARRAY(pid_t) wanted;	    /* oldest first */
	CRAM_ARRAY(struct discovery) found; /* the same */
	pthread_t thread;
	bool running;
};

/* 0 or -errno. */
int discover_init(struct discover *discover, struct host *host);
/* After discover_stop(). */
void discover_fini(struct discover *discover);

int discover_start(struct discover *discover);
/* Waits until the process that is being examined has been. */
void discover_stop(struct discover *discover);

/* Has @pid examined. 0 or -ENOMEM. */
int discover_want(struct discover *discover, pid_t pid);
/* Takes the next that has been. */
bool discover_next(struct discover *discover, struct discovery *ret);
