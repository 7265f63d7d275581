// SPDX-License-Identifier: GPL-2.0-only
/*
 * CRAM: what was on a card that is gone.
 *
 * Reads of it do not fault: the processor makes all ones of them where nothing answers, and
 * a write would carry those home as if they were data. So nobody may come to a page any more.
 */
#include <linux/delay.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/rmap.h>
#include <linux/sched.h>
#include <linux/swap.h>

#include "cram.h"
#include "internal.h"

#define LOSE_ROUNDS	100

/*
 * Whoever comes to the folio is to get a SIGBUS, rather than what the processor reads where
 * nothing answers. As memory_failure() does it, page by page and with a line in the log for
 * each, but for all of a card.
 */
static unsigned long lose_folio(struct folio *folio)
{
	const unsigned long nr = folio_nr_pages(folio);

	for (unsigned long i = 0; i < nr; i++) {
		struct page *page = folio_page(folio, i);

		if (!TestSetPageHWPoison(page))
			num_poisoned_pages_inc(page_to_pfn(page));
	}
	if (folio_test_large(folio))
		folio_set_has_hwpoisoned(folio);
	try_to_unmap(folio, TTU_IGNORE_MLOCK | TTU_SYNC | TTU_HWPOISON | TTU_SPLIT_HUGE_PMD);
	/* If it is in the swap cache it stays there, where nobody writes it out. */
	if (folio_isolate_lru(folio)) {
		folio_clear_active(folio);
		folio_clear_unevictable(folio);
		folio_put(folio);
	}
	return nr;
}

/* Of the frame's page and of those that it is one with; returns how many are lost. */
static unsigned long lose_frame(struct cram *c, unsigned long index)
{
	struct page *page = pfn_to_online_page(c->first_pfn + index);
	struct folio *folio;
	unsigned long nr = 0;

	if (!page || cram_frame(c, index) != CRAM_WRITTEN || PageHWPoison(page))
		return 0;
	folio = page_folio(page);
	if (!folio_try_get(folio))
		return 0;
	/* Who moves or splits it has the lock. */
	folio_lock(folio);
	if (page_folio(page) == folio)
		nr = lose_folio(folio);
	folio_unlock(folio);
	folio_put(folio);
	return nr;
}

/*
 * All that was on the card is lost: take it from whoever has it. Pages that are being
 * copied there become WRITTEN yet, and are waited for. Returns how many were lost. May
 * sleep; nothing is given meanwhile.
 */
unsigned long cram_lose_pages(struct cram *c)
{
	unsigned long lost = 0;
	bool more = true;

	for (int round = 0; more && round < LOSE_ROUNDS; round++) {
		if (round)
			msleep(20);
		lru_add_drain_all();
		scoped_guard(spinlock_irq, &c->lock) {
			cram_settle(c);
			more = c->account.credited;
		}
		for (unsigned long i = 0; i < c->nr_frames; i++) {
			lost += lose_frame(c, i);
			if (!(i % CRAM_BLOCK_FRAMES))
				cond_resched();
		}
	}
	return lost;
}
