// SPDX-License-Identifier: GPL-2.0-only
/*
 * CRAM: how pages come to a card and leave it.
 */
#include <linux/delay.h>
#include <linux/hash.h>
#include <linux/highmem.h>
#include <linux/list.h>
#include <linux/memcontrol.h>
#include <linux/migrate.h>
#include <linux/mm.h>
#include <linux/mm_inline.h>
#include <linux/sched/signal.h>
#include <linux/swap.h>
#include <linux/vmstat.h>

#include <trace/events/cram.h>

#include "cram.h"
#include "internal.h"

#define LEAVE_BATCH	512	/* pages that leave together */
#define WAIT_MS		100	/* for a report, by who reclaims */

/*
 * Coming. There is as much room as the allocator has, and a cgroup may have its share
 * of it: folios are moved cgroup by cgroup, and order by order, so that those that find
 * no room, which ends the batch that they are in, keep none from it that do.
 */

struct batch {
	struct cram *cram;
	struct mem_cgroup *memcg;
	unsigned long reserved;		/* pages, of @memcg's share */
	struct list_head spare;		/* destinations of folios that did not move */
	struct page *fresh;		/* base pages that were allocated together */
	unsigned long nr_fresh;
};

/* A base page; more are allocated with it, for those that come next. */
static struct folio *take_fresh(struct batch *b, gfp_t gfp)
{
	struct page *page;

	if (!b->nr_fresh) {
		int order = cram_piece_order(b->cram, b->reserved);

		do
			b->fresh = alloc_pages_node(b->cram->nid, gfp, order);
		while (!b->fresh && order--);
		if (!b->fresh)
			return NULL;
		split_page(b->fresh, order);
		b->nr_fresh = 1UL << order;
	}
	b->nr_fresh--;
	page = b->fresh++;
	return page_folio(page);
}

/*
 * A destination that was not used may have been written to all the same, and would have
 * to be trimmed: it serves the next folio, or the same once more.
 */
static struct folio *take_destination(struct folio *src, unsigned long private)
{
	struct batch *b = (struct batch *)private;
	const unsigned int order = folio_order(src);
	gfp_t gfp = (GFP_HIGHUSER_MOVABLE & ~__GFP_RECLAIM) | __GFP_PRIVATE;
	struct folio *dst;

	/* There may be frames that could not be taken back: of memory on its way offline. */
	if (READ_ONCE(b->cram->closed) || READ_ONCE(b->cram->lost))
		return NULL;
	if (b->reserved < 1UL << order)
		return NULL;
	list_for_each_entry(dst, &b->spare, lru) {
		if (folio_order(dst) != order)
			continue;
		list_del(&dst->lru);
		b->reserved -= 1UL << order;
		return dst;
	}
	if (order)
		dst = __folio_alloc_node(gfp | __GFP_COMP, order, b->cram->nid);
	else
		dst = take_fresh(b, gfp);
	if (dst)
		b->reserved -= 1UL << order;
	return dst;
}

static void put_back_destination(struct folio *dst, unsigned long private)
{
	struct batch *b = (struct batch *)private;

	list_add(&dst->lru, &b->spare);
	b->reserved += folio_nr_pages(dst);
}

/* Frames that the allocator has now. */
static unsigned long free_frames(const struct cram *c)
{
	return zone_page_state(&NODE_DATA(c->nid)->node_zones[ZONE_MOVABLE], NR_FREE_PAGES);
}

/* The same in pieces of an order. */
static unsigned long free_in_pieces(const struct cram *c, unsigned int order)
{
	return order ? cram_free_pieces(c, order) << order : free_frames(c);
}

/* Of @want pages, in folios of @order, as many as there is room for now. */
static unsigned long have_room(struct cram *c, unsigned long want, unsigned int order)
{
	unsigned long have = free_in_pieces(c, order);

	if (have < want)
		cram_give(c, want - have);
	have = free_in_pieces(c, order);
	if (have >= want)
		return want;
	WRITE_ONCE(c->wanting, true);
	cram_kick(c);
	return have;
}

static bool is_huge(const struct folio *folio)
{
	return folio_order(folio) == CRAM_BLOCK_ORDER;
}

/* Take the folios that are @memcg's, and of @order, off @folios. Returns their pages. */
static unsigned long select_folios(struct list_head *folios, struct mem_cgroup *memcg,
				   unsigned int order, struct list_head *ret_selected)
{
	struct folio *folio, *next;
	unsigned long nr = 0;

	list_for_each_entry_safe(folio, next, folios, lru) {
		if (folio_memcg(folio) != memcg || folio_order(folio) != order)
			continue;
		list_move_tail(&folio->lru, ret_selected);
		nr += folio_nr_pages(folio);
	}
	return nr;
}

/* Leave as many folios on the list as have @room pages, and the rest on @ret_rest. */
static void cut_list(struct list_head *folios, unsigned long room, struct list_head *ret_rest)
{
	struct folio *folio, *next;

	list_for_each_entry_safe(folio, next, folios, lru) {
		const unsigned long nr = folio_nr_pages(folio);

		if (nr <= room)
			room -= nr;
		else
			list_move_tail(&folio->lru, ret_rest);
	}
}

/* Move folios that are one cgroup's, and of @order. What does not move goes to @ret_left. */
static unsigned int move_group(struct cram *c, struct list_head *folios, unsigned long nr,
			       struct mem_cgroup *memcg, unsigned int order,
			       enum migrate_mode mode, enum migrate_reason reason,
			       struct list_head *ret_left)
{
	struct batch b = { .cram = c, .memcg = memcg };
	struct folio *folio, *next;
	unsigned int moved = 0;

	/* Its last pages may be freed meanwhile. */
	if (memcg)
		css_get(&memcg->css);
	INIT_LIST_HEAD(&b.spare);
	b.reserved = cram_memcg_reserve(memcg, have_room(c, nr, order));
	if (b.reserved < nr)
		cut_list(folios, b.reserved, ret_left);
	if (!list_empty(folios))
		migrate_pages(folios, take_destination, put_back_destination,
			      (unsigned long)&b, mode, reason, &moved);
	/* Also of folios that were freed meanwhile, which count as moved. */
	cram_memcg_release(memcg, b.reserved);
	mem_cgroup_put(memcg);
	list_for_each_entry_safe(folio, next, &b.spare, lru) {
		list_del(&folio->lru);
		folio_put(folio);
	}
	cram_take_untouched(c, b.fresh, b.nr_fresh);
	list_splice_tail_init(folios, ret_left);
	return moved;
}

/*
 * Where there are frames enough, and only no piece of them that is large enough, base pages
 * will do. What may not come is left whole, and so is what stayed for another reason.
 */
static void split_for_room(struct cram *c, struct list_head *folios)
{
	unsigned long room = free_frames(c), split = 0;
	struct folio *folio, *next;
	LIST_HEAD(parts);

	list_for_each_entry_safe(folio, next, folios, lru) {
		const unsigned long with_it = split + folio_nr_pages(folio);

		if (!folio_test_large(folio) || room < with_it ||
		    cram_free_pieces(c, folio_order(folio)) ||
		    !cram_memcg_fits(folio_memcg(folio), with_it))
			continue;
		if (!folio_trylock(folio))
			continue;
		if (!split_folio_to_list(folio, &parts))
			split = with_it;
		folio_unlock(folio);
	}
	list_splice_tail(&parts, folios);
}

/*
 * Reclaim that gets nowhere is a few tries away from killing somebody, and they take less time
 * than a report. Wait for that one, if it can make room for @folio. kswapd kills nobody.
 */
static void wait_for_room(struct cram *c, struct folio *folio)
{
	const unsigned long passes = READ_ONCE(c->passes), nr = folio_nr_pages(folio);

	/* The worker reclaims, too, and is who makes room. */
	if (current_is_kswapd() || current_work() == &c->work.work)
		return;
	if (have_room(c, nr, 0) >= nr || !cram_room_may_come(c, nr) ||
	    !cram_memcg_fits(folio_memcg(folio), nr))
		return;
	cram_count(c, CRAM_WAITS, 1);
	wait_event_killable_timeout(c->passed,
				    READ_ONCE(c->passes) != passes || READ_ONCE(c->closed),
				    msecs_to_jiffies(WAIT_MS));
}

int cram_migrate_to(struct list_head *folios, int nid, enum migrate_mode mode,
		    enum migrate_reason reason, unsigned int *ret_succeeded)
{
	const size_t came = list_count_nodes(folios);
	struct cram *c = cram_of(nid);
	unsigned int moved = 0;
	LIST_HEAD(left);

	if (reason == MR_DEMOTION) {
		wait_for_room(c, list_first_entry(folios, struct folio, lru));
		reason = MR_DEMOTION_WHOLE;
	} else {
		reason = MR_WHOLE;
	}
	for (int large = 1; large >= 0; large--) {
		LIST_HEAD(others);

		if (!large)
			split_for_room(c, folios);
		while (!list_empty(folios)) {
			struct folio *first = list_first_entry(folios, struct folio, lru);
			const unsigned int order = folio_order(first);
			struct mem_cgroup *memcg = folio_memcg(first);
			LIST_HEAD(group);
			unsigned long nr;

			if (!!order != large) {
				list_move_tail(&first->lru, &others);
				continue;
			}
			nr = select_folios(folios, memcg, order, &group);
			moved += move_group(c, &group, nr, memcg, order, mode, reason, &left);
		}
		list_splice(&others, folios);
		/* Large ones that did not go have a second chance in parts. */
		if (large)
			list_splice_tail_init(&left, folios);
	}
	list_splice_tail(&left, folios);
	*ret_succeeded = moved;
	/* That the card is full is no error: the rest stays where it is. Parts count as one. */
	return min(came, list_count_nodes(folios));
}

static struct cram_touch *touch_of(struct cram *c, unsigned long block)
{
	return &c->touch[hash_long(block, ilog2(CRAM_TOUCHES))];
}

/* Another page has come to @block. */
static void forget_touch(struct cram *c, unsigned long block)
{
	struct cram_touch *t = touch_of(c, block);

	if (READ_ONCE(t->index) >> CRAM_BLOCK_ORDER == block)
		WRITE_ONCE(t->when, 0);
}

/*
 * The page @index has been written to. Has another one of the huge page that they were
 * part of been a moment ago? Several can write to the same one at once.
 */
static bool touched_lately(struct cram *c, unsigned long index)
{
	const unsigned long block = index >> CRAM_BLOCK_ORDER;
	struct cram_touch *t = touch_of(c, block);
	const unsigned long other = READ_ONCE(t->index);
	const bool lately = other >> CRAM_BLOCK_ORDER == block && other != index &&
			    READ_ONCE(t->when) && time_before(jiffies, READ_ONCE(t->when) + HZ);

	/* Races make it forget one, or take a page for another one: that costs a move. */
	WRITE_ONCE(t->index, index);
	WRITE_ONCE(t->when, jiffies);
	return lately;
}

void cram_folio_migrate(struct folio *src, struct folio *dst)
{
	struct cram *c = cram_of(folio_nid(dst));

	if (!c || !cram_folio_written(c, dst))
		return;
	if (is_huge(dst))
		forget_touch(c, cram_index(c, folio_page(dst, 0)) >> CRAM_BLOCK_ORDER);
	cram_sample_came(c, src, dst);
}

/*
 * Going
 */

/*
 * Isolate the page in a WRITTEN frame, of whichever cgroup if @memcg is NULL. Returns how
 * many pages there are more on the list.
 */
unsigned long cram_isolate(struct cram *c, unsigned long index, struct mem_cgroup *memcg,
			   struct list_head *folios)
{
	struct folio *folio;
	unsigned long nr = 0;

	if (cram_frame(c, index) != CRAM_WRITTEN)
		return 0;
	folio = page_folio(pfn_to_page(c->first_pfn + index));
	if (!folio_try_get(folio))
		return 0;
	if ((!memcg || folio_memcg(folio) == memcg) && folio_isolate_lru(folio)) {
		node_stat_add_folio(folio, NR_ISOLATED_ANON + folio_is_file_lru(folio));
		list_add_tail(&folio->lru, folios);
		nr = folio_nr_pages(folio);
	}
	folio_put(folio);
	return nr;
}

/*
 * Returns how many pages have left for @home, as far as there is room: only MIGRATE_SYNC
 * reclaims for it. MR_WHOLE: huge ones leave whole, or stay.
 */
unsigned long cram_send_home(struct list_head *folios, nodemask_t *home,
			     enum migrate_mode mode, enum migrate_reason reason)
{
	struct migration_target_control mtc = {
		.nid = numa_mem_id(),
		.nmask = home,
		.gfp_mask = (GFP_HIGHUSER_MOVABLE & ~__GFP_DIRECT_RECLAIM) | __GFP_NOWARN,
		.reason = reason,
	};
	unsigned int gone = 0;

	if (list_empty(folios))
		return 0;
	if (mode == MIGRATE_SYNC)
		mtc.gfp_mask |= __GFP_DIRECT_RECLAIM | __GFP_RETRY_MAYFAIL;
	if (!node_isset(mtc.nid, *home))
		mtc.nid = first_node(*home);
	migrate_pages(folios, alloc_migration_target, NULL, (unsigned long)&mtc,
		      mode, reason, &gone);
	return gone;
}

static unsigned long send_home_once(struct cram *c, nodemask_t *home)
{
	unsigned long gone = 0, nr = 0;
	LIST_HEAD(folios);

	lru_add_drain_all();
	for (unsigned long i = 0; i < c->nr_frames; i++) {
		nr += cram_isolate(c, i, NULL, &folios);
		if (nr >= LEAVE_BATCH || i == c->nr_frames - 1) {
			gone += cram_send_home(&folios, home, MIGRATE_SYNC, MR_MEMORY_HOTPLUG);
			putback_movable_pages(&folios);
			nr = 0;
		}
		if (!(i % CRAM_BLOCK_FRAMES))
			cond_resched();
	}
	return gone;
}

/*
 * The card is about to go. One page that cannot leave keeps its block of memory from going
 * offline, and those behind it: have all others leave, whatever stays. Returns how many
 * pages left. May sleep, for long. Nothing is given meanwhile.
 */
unsigned long cram_send_all_home(struct cram *c)
{
	nodemask_t home = node_states[N_MEMORY];
	unsigned long all = 0, gone;

	do {
		gone = send_home_once(c, &home);
		all += gone;
	} while (gone);
	return all;
}

/*
 * Where nobody answers the processor reads ones, and an emulated one zeros: could the page,
 * read from a card line by line, be that in part?
 */
static bool may_be_unanswered(struct page *page)
{
	const unsigned long *line = kmap_local_page(page);
	bool ones = false, zeros;

	for (unsigned int i = 0; i < PAGE_SIZE / sizeof(*line) && !ones;
	     i += SMP_CACHE_BYTES / sizeof(*line))
		ones = line[i] == ULONG_MAX;
	zeros = !*line && !memchr_inv(line, 0, PAGE_SIZE);
	kunmap_local(line);
	return ones || zeros;
}

/* Does the card answer? Its operations may be called as long as it is not lost. */
static int cram_reachable(struct cram *c)
{
	if (READ_ONCE(c->lost))
		return -EIO;
	if (!c->ops->present || c->ops->present(c->card))
		return 0;
	return -EAGAIN;
}

/* To ask the card takes longer than to copy a page: only about what it may be too good for. */
int cram_verify(int nid, struct page *copy, unsigned long nr)
{
	struct cram *c = cram_of(nid);

	for (unsigned long i = 0; i < nr; i++) {
		if (may_be_unanswered(nth_page(copy, i)))
			return cram_reachable(c);
	}
	return READ_ONCE(c->lost) ? -EIO : 0;
}

/* Wait until it is known whether a card that does not answer ever will. */
static int cram_wait_reachable(struct cram *c, bool killable)
{
	int rc;

	while ((rc = cram_reachable(c)) == -EAGAIN) {
		if (killable && fatal_signal_pending(current))
			return -EINTR;
		msleep(CRAM_MIN_INTERVAL_MS);
	}
	return rc;
}

/*
 * Of a huge page the base page leaves that is written to. When another one is written to
 * soon after, the rest will be: all of them go, as far as they can at once.
 */
int cram_promote(struct page *page, const struct node_promotion *promotion)
{
	struct cram *c = cram_of(page_to_nid(page));
	const unsigned long index = cram_index(c, page);
	const bool was_huge = READ_ONCE(c->frame[index]) & CRAM_FRAME_HUGE;
	const bool killable = promotion->reason != NODE_PROMOTE_TRUNCATE;
	nodemask_t nodes = *promotion->home;
	LIST_HEAD(folios);
	int rc;

	/* It is not there any more, whether or not it is marked so yet. */
	if (READ_ONCE(c->lost)) {
		folio_put(page_folio(page));
		return -EIO;
	}
	rc = node_private_promote_page(page, promotion);
	/* Of what the card did not answer with nobody is to have a copy either. */
	if (rc == -EBUSY || rc == -EAGAIN) {
		const int unreachable = cram_wait_reachable(c, killable);

		if (unreachable || rc == -EAGAIN)
			return unreachable;
	}
	if (rc > 0)
		cram_count_pages(c, CRAM_PROMOTED, CRAM_PROMOTE, rc);
	if (rc <= 0 || !was_huge || !touched_lately(c, index))
		return rc;

	for (unsigned long i = 0; i < CRAM_BLOCK_FRAMES; i++) {
		const unsigned long other = ALIGN_DOWN(index, CRAM_BLOCK_FRAMES) + i;

		if (READ_ONCE(c->frame[other]) & CRAM_FRAME_HUGE)
			cram_isolate(c, other, NULL, &folios);
	}
	cram_send_home(&folios, &nodes, MIGRATE_ASYNC, MR_WHOLE);
	putback_movable_pages(&folios);
	return rc;
}
