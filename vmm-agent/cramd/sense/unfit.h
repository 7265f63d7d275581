/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Nodes that look like slow memory and must never be used as such, with the reason: memory of a
 * card that compresses, which has less room than the node shows. Loop only.
 */
#pragma once

#include "cxl.h"
#include "nodes.h"

struct unfit {
	struct cxl_node cards[NODES_MAX];
	uint64_t totals[NODES_MAX]; /* bytes of each node when the cards were asked */
	uint64_t listed;	    /* mask: nodes that the operator says compress */
	int error;		    /* why cards could not be looked for, negative errno */
	bool asked;
};

/*
 * Brings @unfit up to date; cards are asked again only after memory came or went. @list: the option
 * compressing_nodes.
 */
void unfit_refresh(struct unfit *unfit, const struct sysroot *root, cxl_ask *ask,
		   const struct nodes *nodes, const char *list);

/* Must @node not be used? Then @why (may be NULL) says why and what to do. */
bool unfit_node(const struct unfit *unfit, const struct node *node, char *why, size_t size);
