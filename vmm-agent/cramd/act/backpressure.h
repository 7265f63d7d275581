/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Cards that push back, between two rounds: a thread that waits for their states to change and for
 * nothing else, not for a round, a scan, libvirt or a VM. It stops what goes to a card that takes
 * nothing, asks for a round, and if none comes has those give back who are furthest over their fair
 * share, as the round would have.
 */
#pragma once

#include "../sense/card.h"
#include "mover.h"

/*
 * A round may be late by this much before memory comes home without one: one that comes by itself,
 * and one that was asked for since a card pushes back.
 */
#define BACKPRESSURE_ROUND_WAIT_MS 200
#define BACKPRESSURE_ASKED_WAIT_MS 5

struct backpressure_card {
	int nid;
	uint64_t stored;     /* device bytes in all, as the last round saw it */
	uint64_t used_other; /* of no VM's */
};

/* A VM's memory on a card, as the last round saw it. */
struct backpressure_vm {
	struct vm *vm;	 /* borrowed when published; a reference while it stands */
	int nid;	 /* of the card */
	uint64_t device; /* bytes there ... */
	uint64_t bytes;	 /* ... of so many of its own */
	uint64_t given;	 /* of these, ordered off by it, and since */
	uint64_t left;	 /* to swap, when all has been ordered home that may come home */
	uint32_t weight;
	int home;	/* node where it comes home to; -1: it stays */
	uint64_t homes; /* mask of nodes where it could */
	bool sheds;	/* what has no room on any of these may go to swap */
};

/* What is above headroom of a home node, and for nothing that is ordered there. */
struct backpressure_room {
	int nid;
	uint64_t bytes;
};

/* What holds from the end of a round to the end of the next. */
struct backpressure_plan {
	const struct backpressure_card *cards;
	size_t n_cards;
	const struct backpressure_vm *vms;
	size_t n_vms;
	const struct backpressure_room *rooms;
	size_t n_rooms;
	uint64_t swap_room; /* as struct cram_snapshot's, less what was ordered there */
	uint64_t due_ms;    /* of the next round */
};

#define BACKPRESSURE_CARDS 8

struct backpressure {
	struct host *host;
	struct mover *mover;
	int wake;  /* eventfd of the loop's, writable: a round is wanted; borrowed */
	int epoll; /* of the states of cards */

	pthread_mutex_t lock; /* held for moments only, also by the loop */
	struct {
		struct backpressure_card is;
		int fd;	   /* its state; -1: cannot be watched, ... */
		int error; /* ... for this reason, a negative errno; else 0 */
		bool open; /* its state lets memory in */
		bool over; /* it stores more than VMs may fill */
	} cards[BACKPRESSURE_CARDS];
	size_t n_cards;
	CRAM_ARRAY(struct backpressure_vm) vms;
	CRAM_ARRAY(struct cram_claim) claims; /* as many */
	struct backpressure_room rooms[CRAM_MAX_DRAM];
	size_t n_rooms;
	uint64_t swap_room;
	uint64_t act_ms; /* who has too much gives back then, if no round has come */
	pthread_t thread;
	bool running;
};

/* 0 or -errno. @wake is written to when a round is wanted. */
int backpressure_init(struct backpressure *backpressure, struct host *host, struct mover *mover,
		      int wake);
void backpressure_fini(struct backpressure *backpressure);

int backpressure_start(struct backpressure *backpressure);
/* After host_stop(); as host_join(). */
bool backpressure_join(struct backpressure *backpressure);

/* On the loop. 0 or -ENOMEM: nothing stands then. */
int backpressure_publish(struct backpressure *backpressure, const struct backpressure_plan *plan);

/*
 * Why nobody waits for the state of node @nid's card to change, as a negative errno: it is looked
 * at each second all the same. 0: somebody does, or it is no card's.
 */
int backpressure_watch_error(struct backpressure *backpressure, int nid);

/*
 * One look at the cards, and what follows from it. Returns the ms after which to look again if
 * nothing is heard of them: a card that takes nothing, or that is nearly full, is not left alone
 * for long.
 */
uint32_t backpressure_look(struct backpressure *backpressure, uint64_t now_ms);
