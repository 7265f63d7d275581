/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The CXL memory cards of this host, and the NUMA nodes that they are: found by libcxl
 * and sysfs (card.c), brought up and taken down by libcxl and libdaxctl (online.c), without the
 * agent. Printing is in node.c.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "util/array.h"
#include "util/error.h"

enum card_kind {
	CARD_PLAIN,
	CARD_COMPRESSES,
	CARD_UNKNOWN, /* it could not be asked */
};

struct card {
	char name[32]; /* "mem0"; may be another card's after a restart: the serial number stays */
	char pci[32];
	char firmware[32];
	uint64_t serial;
	uint64_t ram; /* bytes of volatile memory */
	int near;     /* the node it is attached to, -1: not known */
	bool enabled; /* the kernel's driver of cards has it */
	enum card_kind kind;
	int error; /* CARD_UNKNOWN: why, negative errno */

	char region[32];      /* what its memory is part of; empty: nothing */
	char driver[32];      /* the region's; empty: none */
	unsigned int ways;    /* cards that share the region */
	uint64_t start, size; /* the region's, in physical addresses; size 0: not committed */

	int nid;	     /* the node that its memory is, -1: none */
	unsigned int blocks; /* of memory, as far as the kernel has made them ... */
	unsigned int online; /* ... and of these, in use */
};

struct cards {
	struct card *v;
	size_t n, cap;
};

/* All cards of this host, by name. 0 or a negative errno; *ret is freed with array_free(). */
int cards_read(struct cards *ret, struct cram_error *err);
/*
 * "mem0", "0x1" (a serial number), or the node that a card is: "1" or "node1". -ENOENT: none is;
 * -ENOTUNIQ: several are, each of which has to be named.
 */
int cards_find(const struct cards *cards, const char *word, const struct card **ret,
	       struct cram_error *err);

/* Memory of a node that is in use, and what others with processors could take. Bytes. */
int node_in_use(int nid, uint64_t *ret_bytes);
int dram_to_be_had(uint64_t *ret_bytes);
/* nodeN/cram/NAME of a node of CRAM's, without the last newline. 0 or a negative errno. */
int node_cram(int nid, const char *name, char *buf, size_t size);

/* Calls @visit for each memory block of the card's region, by address; stops at other than 0. */
typedef int visit_block(const char *directory, bool online, void *arg);
int card_blocks(const struct card *card, visit_block *visit, void *arg);

/*
 * Makes the card a node: a compressing one of CRAM's, another one an ordinary node whose memory is
 * movable. What is done already is left as it is. On an error what was begun is undone.
 */
int card_online(const struct card *card, struct cram_error *err);
/*
 * Takes the card's memory away, within @seconds: what programs have there goes to other nodes. On
 * an error what was taken is given back.
 */
int card_offline(const struct card *card, unsigned int seconds, struct cram_error *err);
