/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which NUMA nodes are memory of a CXL card that compresses: such a card has less room than it
 * shows, so none of its memory may be used as if it were ordinary. Nothing about its fill; that
 * is for whoever drives it.
 */
#pragma once

#include "sysroot.h"
#include "util/cxllogs.h"

#define CXL_MEMDEV_NAME 16 /* "mem12" */

/*
 * The answer of @memdev to Get Supported Logs into @buf: how many bytes, or a negative errno.
 * Waits for the card's mailbox: microseconds, two seconds with a card that is stuck.
 */
typedef int cxl_ask(const struct sysroot *root, const char *memdev, uint8_t *buf, size_t size);
cxl_ask cxl_ask_kernel;

enum cxl_verdict {
	CXL_PLAIN,
	CXL_COMPRESSES,
	CXL_UNKNOWN, /* a card that could not be asked */
};

struct cxl_node {
	enum cxl_verdict verdict;
	char memdev[CXL_MEMDEV_NAME]; /* the card that decided; empty: none did */
	int error;		      /* of a card that could not be asked, negative errno */
};

/* 1: there are CXL regions; 0: none, so no card has to be asked; negative errno: cannot be told. */
int cxl_any(const struct sysroot *root);

/*
 * Fills @ret_nodes, indexed by node, from the CXL regions of this host, asking every card behind
 * them once. Nodes without a region are plain. 0, or a negative errno, be it of one region that
 * cannot be understood: nothing is known then.
 */
int cxl_nodes(const struct sysroot *root, cxl_ask *ask, struct cxl_node *ret_nodes, size_t n);
