// SPDX-License-Identifier: GPL-2.0-or-later
/* Pages that left a card because they were written to; see written.h. */
#include "written.h"

#include "../sense/card.h"

void written_init(struct written *written)
{
	*written = (struct written){};
	pthread_mutex_init(&written->lock, NULL);
}

void written_fini(struct written *written)
{
	pthread_mutex_destroy(&written->lock);
}

/* What has been counted more since; a node that came anew counts from zero. */
static uint64_t grown(uint64_t before, uint64_t now)
{
	return now >= before ? now - before : now;
}

/* The lock is held. */
static int follow(struct written *written, const struct sysroot *root, int nid, uint32_t now_s)
{
	struct written_card *card = &written->cards[nid];
	struct card_departures gone;
	int r = card_read_departures(root, nid, &gone);

	if (r < 0)
		return r;
	if (card->known) {
		card->unclaimed += grown(card->written, gone.written);
		if (grown(card->evicted, gone.evicted))
			card->evicted_s = now_s;
	}
	card->known = true;
	card->written = gone.written;
	card->evicted = gone.evicted;
	return 0;
}

void written_follow(struct written *written, const struct sysroot *root, uint64_t nodes,
		    uint32_t now_s)
{
	pthread_mutex_lock(&written->lock);
	for (int nid = 0; nid < NODES_MAX; nid++)
		if (nodes & UINT64_C(1) << nid)
			follow(written, root, nid, now_s);
	pthread_mutex_unlock(&written->lock);
}

unsigned int written_claim(struct written *written, const struct sysroot *root, int nid,
			   unsigned int pages, bool accessed, uint32_t since_s, uint32_t now_s)
{
	struct written_card *card = &written->cards[nid];
	unsigned int n = 0;

	pthread_mutex_lock(&written->lock);
	if (follow(written, root, nid, now_s) == 0 && (accessed || card->evicted_s < since_s)) {
		n = card->unclaimed < pages ? (unsigned int)card->unclaimed : pages;
		card->unclaimed -= n;
	}
	pthread_mutex_unlock(&written->lock);
	return n;
}
