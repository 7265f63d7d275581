/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Nodes that look like slow memory and must never be used as such, with the reason: memory of a
 * card that compresses, which has less room than the node shows. Loop only.
 */
#pragma once

#include "cxl.h"
#include "nodes.h"

struct unfit_asking; /* cards being asked, by a thread: the mailbox of one may keep it for seconds
		      */

struct unfit {
	struct cxl_node cards[NODES_MAX];
	uint64_t totals[NODES_MAX];  /* bytes of each node when the cards were asked */
	uint64_t listed;	     /* mask: nodes that the operator says compress */
	uint64_t changed;	     /* mask: nodes whose cards have not answered since */
	int error;		     /* why cards could not be looked for, negative errno */
	struct unfit_asking *asking; /* NULL: nothing is to be answered */
};

/*
 * Brings @unfit up to date; cards are asked again only after memory came or went, or where they
 * could not be looked for. Waits a moment for their answer: what has not come then is taken by a
 * later call. @list: the option compressing_nodes.
 */
void unfit_refresh(struct unfit *unfit, const struct sysroot *root, cxl_ask *ask,
		   const struct nodes *nodes, const char *list);

/* Waits for cards that are being asked. */
void unfit_free(struct unfit *unfit);

/* Must @node not be used? Then @why (may be NULL) says why and what to do. */
bool unfit_node(const struct unfit *unfit, const struct node *node, char *why, size_t size);
