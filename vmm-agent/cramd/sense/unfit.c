// SPDX-License-Identifier: GPL-2.0-or-later
/* Nodes that must not be used as ordinary memory; see unfit.h. */
#include "unfit.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/clock.h"

/* The loop waits so long for cards; most answer in microseconds. */
#define ANSWER_MS 100

struct unfit_asking {
	const struct sysroot *root;
	cxl_ask *ask;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t answered;
	bool done;
	struct cxl_node cards[NODES_MAX];
	int error;
};

static void *ask_cards(void *arg)
{
	struct unfit_asking *asking = arg;

	asking->error = cxl_nodes(asking->root, asking->ask, asking->cards, NODES_MAX);
	pthread_mutex_lock(&asking->lock);
	asking->done = true;
	pthread_cond_signal(&asking->answered);
	pthread_mutex_unlock(&asking->lock);
	return NULL;
}

static int begin_asking(struct unfit *unfit, const struct sysroot *root, cxl_ask *ask)
{
	struct unfit_asking *asking = calloc(1, sizeof(*asking));
	int r;

	if (!asking)
		return -ENOMEM;
	asking->root = root;
	asking->ask = ask;
	pthread_mutex_init(&asking->lock, NULL);
	pthread_cond_init(&asking->answered, NULL);
	r = pthread_create(&asking->thread, NULL, ask_cards, asking);
	if (r) {
		free(asking);
		return -r;
	}
	unfit->asking = asking;
	return 0;
}

/* Has everything been answered within @ms? */
static bool wait_for_answer(struct unfit_asking *asking, uint32_t ms)
{
	struct timespec until = monotonic_after(ms);
	bool done;
	int r = 0;

	pthread_mutex_lock(&asking->lock);
	while (!asking->done && r == 0)
		r = pthread_cond_clockwait(&asking->answered, &asking->lock, CLOCK_MONOTONIC,
					   &until);
	done = asking->done;
	pthread_mutex_unlock(&asking->lock);
	return done;
}

static void end_asking(struct unfit *unfit)
{
	pthread_join(unfit->asking->thread, NULL);
	pthread_cond_destroy(&unfit->asking->answered);
	pthread_mutex_destroy(&unfit->asking->lock);
	free(unfit->asking);
	unfit->asking = NULL;
}

static void take_answer(struct unfit *unfit, uint32_t ms)
{
	if (!unfit->asking || !wait_for_answer(unfit->asking, ms))
		return;
	memcpy(unfit->cards, unfit->asking->cards, sizeof(unfit->cards));
	unfit->error = unfit->asking->error;
	unfit->changed = 0;
	end_asking(unfit);
}

static void forget_cards(struct unfit *unfit)
{
	memset(unfit->cards, 0, sizeof(unfit->cards));
	unfit->changed = 0;
}

/* Mask of nodes with more or less memory than when cards were asked. */
static uint64_t memory_changed(const struct unfit *unfit, const uint64_t *totals)
{
	uint64_t changed = 0;

	for (int nid = 0; nid < NODES_MAX; nid++)
		if (totals[nid] != unfit->totals[nid])
			changed |= UINT64_C(1) << nid;
	return changed;
}

void unfit_refresh(struct unfit *unfit, const struct sysroot *root, cxl_ask *ask,
		   const struct nodes *nodes, const char *list)
{
	uint64_t totals[NODES_MAX] = {}, mask;

	unfit->listed = strcmp(list, "none") != 0 && parse_node_list(list, &mask) == 0 ? mask : 0;
	for (size_t i = 0; i < nodes->n; i++)
		/* Whoever made a node private drives its card, and gives out its memory bit by bit.
		 */
		totals[nodes->v[i].nid] = nodes->v[i].is_private ? 0 : nodes->v[i].total;
	take_answer(unfit, 0);
	unfit->changed |= memory_changed(unfit, totals);
	/* What changes while cards are asked is asked about when they have answered. */
	if ((!unfit->changed && !unfit->error) || unfit->asking)
		return;
	unfit->error = cxl_any(root);
	if (unfit->error > 0)
		unfit->error = begin_asking(unfit, root, ask);
	else if (unfit->error == 0)
		forget_cards(unfit);
	if (unfit->error < 0)
		return; /* and is tried again */
	memcpy(unfit->totals, totals, sizeof(totals));
	take_answer(unfit, ANSWER_MS);
}

void unfit_free(struct unfit *unfit)
{
	if (unfit->asking)
		end_asking(unfit);
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
	if (unfit->changed & UINT64_C(1) << node->nid && unfit->asking && !node->has_cpu) {
		snprintf(why, size,
			 "node %d is new, and whether it is memory of a card that compresses is "
			 "still being asked",
			 node->nid);
		return true;
	}
	if (unfit->error && !node->has_cpu) {
		snprintf(why, size,
			 "node %d may be memory of a card that compresses: CXL devices cannot be "
			 "listed: %s",
			 node->nid, strerror(-unfit->error));
		return true;
	}
	return false;
}
