/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Pages that left a card because a guest wrote to them. The kernel brings such a page home in the
 * write, and counts it for the card, not for whom (docs/design/cram.md); looks see which range has
 * fewer there than it had. So does one whose pages were evicted, or taken off by hand: hence no
 * more pages count as written to than the card says, all VMs together.
 * Where others than VMs write to the card as well, that bounds less, and what was accessed since
 * tells alone.
 */
#pragma once

#include <pthread.h>

#include "../sense/nodes.h"

struct written_card {
	bool known;
	uint64_t written, evicted; /* pages, as last read */
	uint64_t unclaimed;	   /* of those written to, what no look has found yet */
	uint32_t evicted_s;	   /* when that was last seen to grow; 0: never */
};

struct written {
	pthread_mutex_t lock;
	struct written_card cards[NODES_MAX];
};

void written_init(struct written *written);
void written_fini(struct written *written);

/* Reads what the cards among @nodes say. What was written to before the first time is unknown. */
void written_follow(struct written *written, const struct sysroot *root, uint64_t nodes,
		    uint32_t now_s);

/*
 * Of @pages that have left node @nid since @since_s, and that nobody of ours has moved, how many
 * were written to; those are given to nobody else. Unless they were @accessed since, none are where
 * the card has evicted any meanwhile: these are as likely. 0 as well if it is no card.
 */
unsigned int written_claim(struct written *written, const struct sysroot *root, int nid,
			   unsigned int pages, bool accessed, uint32_t since_s, uint32_t now_s);
