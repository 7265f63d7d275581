// SPDX-License-Identifier: GPL-2.0-or-later
/* Nodes that must not be used as ordinary memory; see unfit.h. */
#include "unfit.h"

#include <stdio.h>
#include <string.h>

static bool memory_changed(struct unfit *unfit, const struct nodes *nodes)
{
	uint64_t totals[NODES_MAX] = {};
	bool changed;

	for (size_t i = 0; i < nodes->n; i++)
		totals[nodes->v[i].nid] = nodes->v[i].total;
	changed = memcmp(totals, unfit->totals, sizeof(totals)) != 0;
	memcpy(unfit->totals, totals, sizeof(totals));
	return changed;
}

void unfit_refresh(struct unfit *unfit, const struct sysroot *root, cxl_ask *ask,
		   const struct nodes *nodes, const char *list)
{
	uint64_t mask;

	unfit->listed = strcmp(list, "none") != 0 && parse_node_list(list, &mask) == 0 ? mask : 0;
	if (!memory_changed(unfit, nodes) && unfit->asked)
		return;
	unfit->error = cxl_nodes(root, ask, unfit->cards, NODES_MAX);
	unfit->asked = true;
}

bool unfit_node(const struct unfit *unfit, const struct node *node, char *why, size_t size)
{
	const struct cxl_node *card = &unfit->cards[node->nid];
	char text[1] = "";

	if (!why) {
		why = text;
		size = sizeof(text);
	}
	if (card->verdict == CXL_COMPRESSES) {
		snprintf(
			why, size,
			"node %d is memory of %s, a card that compresses: it has less room than it "
			"shows, and what does not fit is lost; take the node offline",
			node->nid, card->memdev);
		return true;
	}
	if (unfit->listed & UINT64_C(1) << node->nid) {
		snprintf(why, size,
			 "node %d is in compressing_nodes: it has less room than it shows; take it "
			 "offline, or correct the list",
			 node->nid);
		return true;
	}
	if (card->verdict == CXL_UNKNOWN) {
		snprintf(why, size,
			 "node %d is memory of the CXL card %s, which cannot be asked whether it "
			 "compresses: %s; see the kernel log",
			 node->nid, card->memdev[0] ? card->memdev : "behind its region",
			 strerror(-card->error));
		return true;
	}
	/* Memory of processors is no card's. */
	if (unfit->error && !node->has_cpu) {
		snprintf(why, size,
			 "node %d may be memory of a card that compresses: CXL devices cannot be "
			 "listed: %s",
			 node->nid, strerror(-unfit->error));
		return true;
	}
	return false;
}
