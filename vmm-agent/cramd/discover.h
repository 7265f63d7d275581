/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Examines processes that are to become VMs, and VMs whose address space has changed. Reading the
 * command line and the mappings of a QEMU waits for its mmap lock, and one that is stuck never lets
 * go of it: so that is done by threads which nobody waits for. Not about what is looked at all the
 * time (classify/looker.h).
 */
#pragma once

#include "host.h"
#include "patience.h"

struct discovery {
	pid_t pid;
	int r;	       /* of vm_new() or ram_layout_read() */
	struct vm *vm; /* the caller's reference from then on; NULL when r is negative */
	struct ram_layout *layout; /* of a VM that is known already, the caller's; else NULL */
};

struct discover {
	struct host *host;
	int wake; /* eventfd, readable: there is something for discover_next() */

	pthread_mutex_t lock;
	pthread_cond_t wanted_any;
	bool stopping;
	CRAM_ARRAY(struct discovery) wanted; /* oldest first; with a vm: its layout is */
	CRAM_ARRAY(struct discovery) found;  /* the same */
	size_t under_way;
	struct patience patience;
	pthread_t thread;
	bool running, stuck;
};

/* 0 or -errno. */
int discover_init(struct discover *discover, struct host *host);
/* After discover_stop(). */
void discover_fini(struct discover *discover);

int discover_start(struct discover *discover);
/* Waits a moment for what is being examined. */
void discover_stop(struct discover *discover);

/* Has @pid examined. 0 or -ENOMEM. */
int discover_want(struct discover *discover, pid_t pid);
/* Has the RAM of @vm looked for again. 0 or -ENOMEM. */
int discover_want_layout(struct discover *discover, struct vm *vm);
/* Takes the next that has been. */
bool discover_next(struct discover *discover, struct discovery *ret);
