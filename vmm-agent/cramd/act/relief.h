/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Short of DRAM between two rounds: a thread that watches the free memory of home nodes and waits
 * for nothing else, not for a round, a scan, libvirt or a VM. It decides nothing: it holds up what
 * the last round allowed and now does harm, asks for a round, and if none comes gives the orders
 * that the last one left for this case.
 */
#pragma once

#include "mover.h"

/* A round may be late by this much before the standing orders are given in its stead. */
#define RELIEF_ROUND_WAIT_MS 200

struct relief_node {
	int nid;
	uint64_t headroom; /* bytes that should be to be had there */
	uint64_t low;	   /* the kernel's low watermark */
};

/* Cold memory of a VM that only the rates held back, and so may go as time passes. */
struct relief_order {
	struct vm *vm;	/* borrowed when published; a reference while it stands */
	uint64_t home;	/* mask of nodes it would make room on */
	uint64_t bytes; /* at most, in all */
	uint64_t spent; /* of them given to the movers */
	uint64_t rate;	/* bytes per second */
	uint32_t min_age_s, epoch;
	int nid; /* the tier */
};

struct relief {
	struct host *host;
	struct mover *mover;
	int wake; /* eventfd, readable: a round is wanted now */

	pthread_mutex_t lock; /* held for moments only, also by the loop */
	struct nodes nodes;   /* total and free are the thread's */
	int fds[NODES_MAX];   /* of what they show, which is read ten times a second */
	uint64_t headroom[NODES_MAX], low[NODES_MAX];
	uint32_t cache_permille; /* of its clean inactive page cache that a node can be had to give
				  */
	CRAM_ARRAY(struct relief_order) orders;
	uint64_t rate;	       /* of the whole host, bytes per second */
	uint64_t published_ms; /* 0: never */
	uint64_t due_ms;       /* when the next round is to come */
	uint64_t spent;	       /* since published */
	pthread_t thread;
	bool running;
};

/* 0 or -errno. */
int relief_init(struct relief *relief, struct host *host, struct mover *mover);
void relief_fini(struct relief *relief);

int relief_start(struct relief *relief);
/* After host_stop(); as host_join(). */
bool relief_join(struct relief *relief);

/* What holds from the end of a round to the end of the next. */
struct relief_plan {
	const struct relief_node *nodes;
	size_t n_nodes;
	const struct relief_order *orders; /* most urgent first */
	size_t n_orders;
	uint32_t cache_permille;
	uint64_t rate;		 /* of the whole host, bytes per second */
	uint64_t now_ms, due_ms; /* of the next round */
};

/*
 * On the loop. Bytes that went out on the orders of the plan before are taken from @bucket and
 * from their VMs' buckets. 0 or -ENOMEM: nothing stands then.
 */
int relief_publish(struct relief *relief, const struct relief_plan *plan,
		   struct cram_bucket *bucket);

/* One look at the nodes, and what follows from it. */
void relief_look(struct relief *relief, uint64_t now_ms);
