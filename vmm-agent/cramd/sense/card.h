/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A node of compressed RAM as the kernel shows it (docs/design/cram.md): its card's account and its
 * state. Says nothing of whose the memory there is.
 */
#pragma once

#include "sysroot.h"

enum card_state {
	CARD_NORMAL,
	CARD_THROTTLED, /* more was to come than there is room for */
	CARD_EVICTING,	/* it has less than is promised: the kernel moves pages away */
	CARD_STALE,	/* no report that counts: nothing comes, and the numbers are old */
	CARD_OVERRUN,	/* it stores more than it has, or has lost pages */
	CARD_OFFLINE,	/* its memory is being taken away */
	CARD_N_STATES,
};

/* All as of one report; bytes. */
struct card {
	enum card_state state;
	uint64_t generation; /* of that report */
	uint64_t logical;    /* size of the node */
	uint64_t physical;   /* what the card can store */
	uint64_t stored;
	uint64_t reserve;   /* of physical, kept by the kernel for what a report leaves out */
	uint64_t credit;    /* given to the allocator, at worst */
	uint64_t unsettled; /* written since the report, at worst */
	uint64_t resident;  /* pages there, before compression */
	uint64_t dying;	    /* freed, and stored until they are trimmed */
	uint32_t pressure;  /* thousandths of the room that its driver holds back */
	uint32_t worst;	    /* device bytes that a page of 4 KiB takes at most */
	/* Since the node came. */
	uint64_t reports, reports_failed;
	uint64_t evicted; /* pages */
	uint64_t lost;	  /* pages that hold other data than was written */
};

const char *card_state_name(enum card_state state);

/*
 * -ENOENT: node @nid is none of compressed RAM; -EAGAIN: reports come faster than the files can be
 * read; -EBADMSG: not in their format. *ret_card is unchanged then.
 */
int card_read(const struct sysroot *root, int nid, struct card *ret_card);

/* Pages that have left a card since its node came, and not because somebody moved them. */
struct card_departures {
	uint64_t written; /* they were written to, and went home */
	uint64_t evicted; /* the card had less than was promised: they went home, or to swap */
};

/* -ENOENT: node @nid is none of compressed RAM. */
int card_read_departures(const struct sysroot *root, int nid, struct card_departures *ret_gone);

/* The state alone: readable by poll(2) for POLLPRI when it changes. */
int card_watch(const struct sysroot *root, int nid, int *ret_fd);
