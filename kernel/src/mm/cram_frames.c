// SPDX-License-Identifier: GPL-2.0-only
/*
 * CRAM: the frames of a card, from being given to the allocator to being trimmed.
 *
 * A frame is on the node's free list only while the most that it can come to store
 * has been set aside, so whoever allocates one, by whichever way, may fill it. All
 * other free frames are CRAM's own. Each frame has a byte that says what it is, in
 * ordinary memory and by its number: nothing of it is ever kept in struct page,
 * which may go while the frame is still to be trimmed.
 *
 * A byte has one owner at a time: who has the page of a CREDITED, TAKEN or WRITTEN
 * frame; the worker, for those that were freed; @lock, for those that are KEPT.
 */
#include <linux/bitmap.h>
#include <linux/delay.h>
#include <linux/device.h>
#include <linux/gfp.h>
#include <linux/jiffies.h>
#include <linux/libnvdimm.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include <trace/events/cram.h>

#include "cram.h"
#include "internal.h"

#define PASS_MS		100	/* of trims, before reports have their turn again */
#define REFUSED_MS	10000	/* until a card that said it cannot trim is asked again */
#define SEARCH_MS	1000	/* between two looks for frames that failed ... */
#define SEARCH_AGAIN	60	/* ... and so many times as long while no more have */

static struct page *frame_page(const struct cram *c, unsigned long index)
{
	return pfn_to_page(c->first_pfn + index);
}

static void set_frame(struct cram *c, unsigned long index, enum cram_frame what)
{
	WRITE_ONCE(c->frame[index], (c->frame[index] & ~CRAM_FRAME_MASK) | what);
}

/* It is empty: what was known of what it held is forgotten. */
static void set_trimmed(struct cram *c, unsigned long index)
{
	const u32 bytes = cram_sample_bytes(c, c->frame[index]);

	if (bytes)
		atomic_long_sub(bytes, &c->sample.bytes);
	WRITE_ONCE(c->frame[index], CRAM_KEPT);
}

int cram_frames_init(struct cram *c)
{
	c->frame = vzalloc(c->nr_frames);
	c->kept = vcalloc(c->nr_blocks, sizeof(*c->kept));
	c->online = bitmap_zalloc(c->nr_blocks, GFP_KERNEL);
	c->whole = bitmap_zalloc(c->nr_blocks, GFP_KERNEL);
	c->broken = bitmap_zalloc(c->nr_blocks, GFP_KERNEL);
	c->dying = bitmap_zalloc(c->nr_blocks, GFP_KERNEL);
	c->range = kvcalloc(c->ops->max_ranges, sizeof(*c->range), GFP_KERNEL);
	if (!c->frame || !c->kept || !c->online || !c->whole || !c->broken ||
	    !c->dying || !c->range)
		return -ENOMEM;
	/* As after cram_trim_all(). What is not online is not given. */
	for (unsigned long block = 0; block < c->nr_blocks; block++)
		c->kept[block] = CRAM_BLOCK_FRAMES;
	bitmap_fill(c->whole, c->nr_blocks);
	c->batch = c->ops->max_bytes & PAGE_MASK;
	return 0;
}

void cram_frames_free(struct cram *c)
{
	vfree(c->frame);
	vfree(c->kept);
	bitmap_free(c->online);
	bitmap_free(c->whole);
	bitmap_free(c->broken);
	bitmap_free(c->dying);
	kvfree(c->range);
}

/* @delta more frames of @block are KEPT. */
static void block_kept(struct cram *c, unsigned long block, int delta)
{
	lockdep_assert_held(&c->lock);
	c->kept[block] += delta;
	__assign_bit(block, c->whole, c->kept[block] == CRAM_BLOCK_FRAMES);
	__assign_bit(block, c->broken,
		     c->kept[block] && c->kept[block] < CRAM_BLOCK_FRAMES);
}

/*
 * Written, and freed
 */

/*
 * The copy is complete, and write-protected: have all of it at the card, and say so.
 * Returns false if it was told already.
 */
bool cram_folio_written(struct cram *c, struct folio *folio)
{
	const unsigned long first = cram_index(c, folio_page(folio, 0));
	const long nr = folio_nr_pages(folio);
	const bool huge = folio_order(folio) == CRAM_BLOCK_ORDER;

	/* Told twice of what comes from another card: as that one's, too. */
	if (cram_frame(c, first) == CRAM_WRITTEN)
		return false;
	arch_wb_cache_pmem(folio_address(folio), folio_size(folio));
	pmem_wmb();
	for (unsigned long i = first; i < first + nr; i++) {
		WARN_ON_ONCE(cram_frame(c, i) != CRAM_CREDITED);
		WRITE_ONCE(c->frame[i], CRAM_WRITTEN | (huge ? CRAM_FRAME_HUGE : 0));
	}
	/* All of it is at the card before cram_settle() can have a report asked for. */
	smp_mb__before_atomic();
	atomic_long_add(nr, &c->unsettled);
	atomic_long_add(nr, &c->nr_written);
	cram_count_pages(c, CRAM_STORED, CRAM_STORE, nr);
	return true;
}

/*
 * Have the account know of what became WRITTEN lately. What it does not know of yet is credited
 * still, even if it was freed and given again meanwhile: it counts too much, and never too little.
 */
void cram_settle(struct cram *c)
{
	unsigned long nr;

	lockdep_assert_held(&c->lock);
	if (!atomic_long_read(&c->unsettled))
		return;
	nr = atomic_long_xchg(&c->unsettled, 0);
	cram_account_written(&c->account, nr);
	c->used += nr;
}

/*
 * Frames that were never written are CRAM's again, and the room that was theirs: those that
 * still are @what, as one of them may have failed at this moment.
 */
static void keep_unwritten(struct cram *c, unsigned long first, unsigned long nr,
			   enum cram_frame what)
{
	unsigned long flags, i, kept = 0;

	spin_lock_irqsave(&c->lock, flags);
	for (i = first; i < first + nr; i++) {
		if (cram_frame(c, i) != what)
			continue;
		set_frame(c, i, CRAM_KEPT);
		block_kept(c, i >> CRAM_BLOCK_ORDER, 1);
		kept++;
	}
	cram_account_take(&c->account, kept);
	spin_unlock_irqrestore(&c->lock, flags);
}

/*
 * What is freed is not free: it is CRAM's, for the worker to trim. Room comes of it
 * when the card says so. Also frames that come online pass here, as what they were.
 */
bool cram_free_folio(struct page *page, unsigned int order)
{
	struct cram *c = cram_of(page_to_nid(page));
	const unsigned long nr = 1UL << order;
	unsigned long first, i, written = 0, soiled = 0, taken = 0;

	if (WARN_ON_ONCE(!c))
		return false;
	first = cram_index(c, page);
	if (WARN_ON_ONCE(first >= c->nr_frames || nr > c->nr_frames - first))
		return false;

	node_private_keep_pages(page, order);
	/* The worker, which may trim it at once, is to find it kept. */
	smp_wmb();
	atomic_long_add(nr, &c->nr_dying);
	for (i = first; i < first + nr; i++) {
		switch (cram_frame(c, i)) {
		case CRAM_WRITTEN:
			set_frame(c, i, CRAM_DYING);
			written++;
			break;
		case CRAM_CREDITED:
			/* Nobody knows whether it was written. The worker flushes it. */
			set_frame(c, i, CRAM_SOILED);
			soiled++;
			break;
		case CRAM_TAKEN:
			taken++;
			break;
		default:
			break;
		}
	}
	if (taken) {
		WARN_ON_ONCE(taken != nr);
		keep_unwritten(c, first, nr, CRAM_TAKEN);
	}
	atomic_long_sub(nr - written - soiled, &c->nr_dying);
	if (written || soiled) {
		atomic_long_sub(written, &c->nr_written);
		/* Against look_at(): the frames, then the bit. */
		smp_mb__before_atomic();
		for (i = first; i < first + nr; i += CRAM_BLOCK_FRAMES)
			set_bit(i >> CRAM_BLOCK_ORDER, c->dying);
	}
	return true;
}

/*
 * Given, and taken back
 */

/* Is what the card said last to be built on? */
static bool may_give(const struct cram *c)
{
	return !c->closed && !c->doubted && !cram_is_stale(c);
}

/* Frames that may be out: what is, and what there is room for, less the pressure. */
static u64 may_be_out(struct cram *c)
{
	const u64 all = c->account.credited + cram_account_room(&c->account);

	if (!may_give(c))
		return 0;
	return min(all * (1000 - c->pressure) / 1000, c->most_credit);
}

/* Frames that may be given now. */
u64 cram_room(struct cram *c)
{
	u64 most;

	cram_settle(c);
	most = may_be_out(c);
	return most > c->account.credited ?
	       min(most - c->account.credited, cram_account_room(&c->account)) : 0;
}

/*
 * Is there room for @want frames that are not given yet, or can the next report make it, of what
 * was written or freed lately?
 */
bool cram_room_may_come(struct cram *c, unsigned long want)
{
	unsigned long flags;
	bool may_come;

	spin_lock_irqsave(&c->lock, flags);
	cram_settle(c);
	may_come = may_give(c) &&
		   cram_room(c) + cram_account_unsettled(&c->account) +
		   atomic_long_read(&c->nr_dying) >= want + READ_ONCE(c->nr_limbo);
	spin_unlock_irqrestore(&c->lock, flags);
	return may_come;
}

/* Frames that have to be taken back. */
u64 cram_surplus(struct cram *c)
{
	u64 excess, most;

	cram_settle(c);
	excess = cram_account_excess(&c->account);
	most = may_be_out(c);
	return max(excess, c->account.credited > most ? c->account.credited - most : 0);
}

/* Free pieces of an order that the allocator has; may be out of date. */
unsigned long cram_free_pieces(const struct cram *c, unsigned int order)
{
	const struct zone *zone = &NODE_DATA(c->nid)->node_zones[ZONE_MOVABLE];
	unsigned long pieces = 0;

	for (unsigned int larger = order; larger < NR_PAGE_ORDERS; larger++)
		/* A guess will do. */
		pieces += data_race(zone->free_area[larger].nr_free) << (larger - order);
	return pieces;
}

/*
 * Of which order to allocate at most @want frames for base pages: the largest that the allocator
 * need not break a whole block for; may be out of date.
 */
unsigned int cram_piece_order(const struct cram *c, unsigned long want)
{
	const struct zone *zone = &NODE_DATA(c->nid)->node_zones[ZONE_MOVABLE];
	const unsigned int most = min(ilog2(want), CRAM_BLOCK_ORDER - 1);

	for (int order = most; order >= 0; order--) {
		/* A guess will do. */
		if (data_race(zone->free_area[order].nr_free))
			return order;
	}
	return most;
}

/* The next block, from the hand on and round, that is in @set and online. */
static unsigned long next_block(const struct cram *c, const unsigned long *set)
{
	unsigned long block = find_next_and_bit(set, c->online, c->nr_blocks, c->hand);

	return block < c->nr_blocks ? block : find_first_and_bit(set, c->online, c->nr_blocks);
}

/*
 * Huge pages need whole blocks, and to base pages frames of broken ones are as good:
 * the allocator takes what is smallest first. So it gets both.
 */
static unsigned long pick_block(const struct cram *c, u64 room)
{
	const bool want_whole = room >= CRAM_BLOCK_FRAMES &&
		cram_free_pieces(c, CRAM_BLOCK_ORDER) * CRAM_BLOCK_FRAMES <=
			c->account.credited / 2;
	unsigned long block = next_block(c, want_whole ? c->whole : c->broken);

	if (block < c->nr_blocks)
		return block;
	return next_block(c, want_whole ? c->broken : c->whole);
}

/* Hand the frames in @set of a block to the allocator, in the largest pieces that there are. */
static void put_frames(struct cram *c, unsigned long block, const unsigned long *set)
{
	unsigned long bit = 0, end;
	unsigned int order;

	while ((bit = find_next_bit(set, CRAM_BLOCK_FRAMES, bit)) < CRAM_BLOCK_FRAMES) {
		end = find_next_zero_bit(set, CRAM_BLOCK_FRAMES, bit);
		while (bit < end) {
			order = min(bit ? __ffs(bit) : CRAM_BLOCK_ORDER, __fls(end - bit));
			node_private_put_pages(frame_page(c, (block << CRAM_BLOCK_ORDER) + bit),
					       order);
			bit += 1UL << order;
		}
	}
}

/*
 * Give what there is of one block, at most @want frames, and say in @ret_nr how many: none
 * if all of them have failed. Returns false if there is no block, or no room.
 */
static bool give_block(struct cram *c, unsigned long want, unsigned long *ret_nr)
{
	DECLARE_BITMAP(set, CRAM_BLOCK_FRAMES);
	unsigned long block, first, i, nr = 0;

	spin_lock_irq(&c->lock);
	want = min(want, cram_room(c));
	block = want ? pick_block(c, want) : c->nr_blocks;
	if (block >= c->nr_blocks) {
		spin_unlock_irq(&c->lock);
		return false;
	}
	bitmap_zero(set, CRAM_BLOCK_FRAMES);
	first = block << CRAM_BLOCK_ORDER;
	for (i = 0; i < CRAM_BLOCK_FRAMES && nr < want; i++) {
		if (cram_frame(c, first + i) != CRAM_KEPT)
			continue;
		if (PageHWPoison(frame_page(c, first + i))) {
			set_frame(c, first + i, CRAM_FAILED);
			block_kept(c, block, -1);
			cram_count(c, CRAM_RETIRED, 1);
			continue;
		}
		set_frame(c, first + i, CRAM_CREDITED);
		__set_bit(i, set);
		nr++;
	}
	block_kept(c, block, -nr);
	cram_account_give(&c->account, nr);
	c->hand = block;
	spin_unlock_irq(&c->lock);

	put_frames(c, block, set);
	cram_count(c, CRAM_GIVEN, nr);
	trace_cram_give(c->nid, nr);
	*ret_nr = nr;
	return true;
}

/* Give up to @want frames to the allocator, as far as there is room. May sleep. */
unsigned long cram_give(struct cram *c, unsigned long want)
{
	unsigned long given = 0, nr;

	guard(mutex)(&c->give_lock);
	while (given < want && give_block(c, want - given, &nr)) {
		given += nr;
		cond_resched();
	}
	return given;
}

/*
 * The frame has failed, and nobody has it: its room would be set aside for ever. Unless somebody
 * else did it meanwhile: its memory may be going offline. It may have been written to before.
 */
static bool retire_frame(struct cram *c, unsigned long index, enum cram_frame what)
{
	bool retired;

	spin_lock_irq(&c->lock);
	retired = cram_frame(c, index) == what;
	if (retired) {
		set_frame(c, index, CRAM_FAILED);
		cram_account_written(&c->account, 1);
	}
	spin_unlock_irq(&c->lock);
	cram_count(c, CRAM_RETIRED, retired);
	return retired;
}

/* What was allocated, and nobody can have written to, is taken back: returns so many frames. */
static unsigned long take_piece(struct cram *c, struct page *page, unsigned int order)
{
	const unsigned long first = cram_index(c, page);

	for (unsigned long i = first; i < first + (1UL << order); i++) {
		WARN_ON_ONCE(cram_frame(c, i) != CRAM_CREDITED);
		set_frame(c, i, CRAM_TAKEN);
	}
	__free_pages(page, order);
	/* A base page that has failed meanwhile is not freed, but forgotten. */
	if (!order && PageHWPoison(page) && retire_frame(c, first, CRAM_TAKEN))
		return 0;
	return 1UL << order;
}

/* The same of @nr base pages in a row. */
void cram_take_untouched(struct cram *c, struct page *page, unsigned long nr)
{
	unsigned long taken = 0;

	for (struct page *end = page + nr; page < end; page++) {
		if (PageHWPoison(page)) {
			/* The allocator withholds it, and cram_retire_failed() finds it. */
			__free_page(page);
			continue;
		}
		taken += take_piece(c, page, 0);
	}
	cram_count(c, CRAM_TAKEN_BACK, taken);
}

/*
 * Take @want frames back from the allocator. To take back is to allocate: so nobody
 * can have them at the same time, and what somebody has is not among them.
 */
unsigned long cram_take(struct cram *c, unsigned long want)
{
	int order = CRAM_BLOCK_ORDER;
	unsigned long taken = 0;
	struct page *page;

	while (taken < want && order >= 0) {
		if (1UL << order > want - taken) {
			order--;
			continue;
		}
		page = alloc_pages_node(c->nid, GFP_PRIVATE | __GFP_NOWARN, order);
		if (!page) {
			order--;
			continue;
		}
		taken += take_piece(c, page, order);
		cond_resched();
	}
	cram_count(c, CRAM_TAKEN_BACK, taken);
	if (taken)
		trace_cram_take(c->nid, taken);
	return taken;
}

/* Is the page one that the allocator had, and gives to nobody since it has failed? */
static bool is_withheld(const struct page *page)
{
	if (!PageHWPoison(page) || PageTail(page))
		return false;
	/* memory_failure() takes it off the free list and holds it, or it was put there failed. */
	if (page_count(page))
		return page_count(page) == 1 && page_private(page) == MAGIC_HWPOISON;
	return !is_free_buddy_page(page);
}

/* Is it time to look for frames that failed? It means to look at all of them. */
static bool search_is_due(struct cram *c)
{
	const long nr_poisoned = atomic_long_read(&num_poisoned_pages);
	unsigned int pause = SEARCH_MS;

	if (!nr_poisoned)
		return false;
	/* Whichever failed while somebody had them are found yet. */
	if (nr_poisoned == c->nr_poisoned)
		pause *= SEARCH_AGAIN;
	if (c->searched && time_before(jiffies, c->searched + msecs_to_jiffies(pause)))
		return false;
	c->searched = jiffies ?: 1;
	c->nr_poisoned = nr_poisoned;
	return true;
}

/* Frames that cannot be taken back for they have failed while they were free. */
void cram_retire_failed(struct cram *c)
{
	if (!search_is_due(c))
		return;
	for (unsigned long i = 0; i < c->nr_frames; i++) {
		if (!(i % CRAM_BLOCK_FRAMES))
			cond_resched();
		if (cram_frame(c, i) == CRAM_CREDITED && is_withheld(frame_page(c, i)))
			retire_frame(c, i, CRAM_CREDITED);
	}
}

/*
 * Hotplug
 */

/* From now on frames there can be given, or not. Nobody is about to, on return. */
void cram_set_online(struct cram *c, unsigned long start_pfn, unsigned long nr, bool online)
{
	const unsigned long block = (start_pfn - c->first_pfn) >> CRAM_BLOCK_ORDER;

	guard(mutex)(&c->give_lock);
	spin_lock_irq(&c->lock);
	if (online)
		bitmap_set(c->online, block, nr >> CRAM_BLOCK_ORDER);
	else
		bitmap_clear(c->online, block, nr >> CRAM_BLOCK_ORDER);
	spin_unlock_irq(&c->lock);
}

/* Memory that went: what the allocator had of it was free. What is to be trimmed still is. */
void cram_frames_gone(struct cram *c, unsigned long start_pfn, unsigned long nr)
{
	const unsigned long first = start_pfn - c->first_pfn;

	for (unsigned long i = first; i < first + nr; i++) {
		switch (cram_frame(c, i)) {
		case CRAM_CREDITED:
			if (PageHWPoison(frame_page(c, i)))
				retire_frame(c, i, CRAM_CREDITED);
			else
				keep_unwritten(c, i, 1, CRAM_CREDITED);
			break;
		case CRAM_WRITTEN:
			/* Its page has failed, and was nobody's. */
			set_frame(c, i, CRAM_DYING);
			atomic_long_dec(&c->nr_written);
			atomic_long_inc(&c->nr_dying);
			set_bit(i >> CRAM_BLOCK_ORDER, c->dying);
			break;
		default:
			break;
		}
	}
}

/*
 * Trimmed. All of this is the worker's.
 */

/* Before anything of the card is online: all that it holds is of no use to anybody. */
int cram_trim_all(struct cram *c)
{
	struct cram_range range;
	int rc;

	for (range.start = 0; range.start < c->size; range.start += range.size) {
		range.size = min(c->size - range.start, c->ops->max_bytes & PAGE_MASK);
		rc = -EBUSY;
		/* As often as for a report: others have the mailbox for a moment only. */
		for (int tries = 0; tries < 10 && rc == -EBUSY; tries++) {
			if (tries && msleep_interruptible(10))
				return -EINTR;
			rc = c->ops->trim(c->card, &range, 1);
		}
		if (rc)
			return rc;
	}
	return 0;
}

/*
 * Caches may hold bytes of what was freed without being WRITTEN. Then it counts as that, once,
 * also if its memory goes offline meanwhile.
 */
static void flush_soiled(struct cram *c, unsigned long first)
{
	DECLARE_BITMAP(set, CRAM_BLOCK_FRAMES) = {};
	unsigned long i, nr = 0;

	for (i = 0; i < CRAM_BLOCK_FRAMES; i++) {
		struct page *page = frame_page(c, first + i);

		if (cram_frame(c, first + i) != CRAM_SOILED)
			continue;
		debug_pagealloc_map_pages(page, 1);
		arch_invalidate_pmem(page_address(page), PAGE_SIZE);
		debug_pagealloc_unmap_pages(page, 1);
		__set_bit(i, set);
	}
	if (bitmap_empty(set, CRAM_BLOCK_FRAMES))
		return;
	spin_lock_irq(&c->lock);
	for_each_set_bit(i, set, CRAM_BLOCK_FRAMES) {
		if (cram_frame(c, first + i) != CRAM_SOILED)
			continue;
		set_frame(c, first + i, CRAM_DYING);
		nr++;
	}
	cram_account_written(&c->account, nr);
	spin_unlock_irq(&c->lock);
	cram_count(c, CRAM_SPOILED, nr);
}

/* What the frames of the first @nr ranges are from now on. */
static void set_ranges(struct cram *c, unsigned int nr, enum cram_frame what)
{
	unsigned long total = 0;

	for (unsigned int r = 0; r < nr; r++) {
		unsigned long i = PHYS_PFN(c->range[r].start);
		const unsigned long end = i + PHYS_PFN(c->range[r].size);

		while (i < end) {
			const unsigned long block = i >> CRAM_BLOCK_ORDER;
			const unsigned long stop = min(end, (block + 1) << CRAM_BLOCK_ORDER);
			const unsigned long in_block = stop - i;

			spin_lock_irq(&c->lock);
			for (; i < stop; i++) {
				if (what == CRAM_KEPT)
					set_trimmed(c, i);
				else
					set_frame(c, i, what);
			}
			if (what == CRAM_KEPT)
				block_kept(c, block, in_block);
			spin_unlock_irq(&c->lock);
			total += in_block;
		}
	}
	if (what == CRAM_LIMBO)
		c->nr_limbo += total;
	if (what == CRAM_KEPT) {
		atomic_long_sub(total, &c->nr_dying);
		cram_count(c, CRAM_TRIMMED, total);
	}
}

/* Their frames have to be looked at again. */
static void ranges_again(struct cram *c, unsigned int nr)
{
	for (unsigned int r = 0; r < nr; r++) {
		const unsigned long first = PHYS_PFN(c->range[r].start);
		const unsigned long last = first + PHYS_PFN(c->range[r].size) - 1;

		unsigned long block = first >> CRAM_BLOCK_ORDER;

		for (; block <= last >> CRAM_BLOCK_ORDER; block++)
			set_bit(block, c->dying);
	}
}

/*
 * The card has no such command, it says, for now or for good. Not to be asked all the time
 * is all that it needs. Only where it was so from the start do zeros do instead: room for
 * them is set aside before anything is given.
 */
static bool refused_lately(const struct cram *c)
{
	return c->refused &&
	       time_before(jiffies, c->refused + msecs_to_jiffies(REFUSED_MS));
}

/*
 * Is what pages have to go for stored by frames that nobody has any more, while the card trims
 * none? Then no more of them help. A few that it never trims are not waited for.
 */
bool cram_waits_for_trims(const struct cram *c, u64 excess)
{
	return c->trims_fail && !c->cannot_trim &&
	       atomic_long_read(&c->nr_dying) >=
		       max_t(u64, excess, CRAM_EVICT_BATCH) + c->nr_limbo;
}

static void trim_refused(struct cram *c)
{
	if (!c->refused)
		dev_warn(c->dev, "cram: node %d: the card says that it cannot trim; it is asked again every %u s\n",
			 c->nid, REFUSED_MS / 1000);
	c->refused = jiffies ?: 1;
	cram_count(c, CRAM_TRIMS_FAILED, 1);
}

static void trim_done(struct cram *c)
{
	if (c->refused)
		dev_info(c->dev, "cram: node %d: the card trims again\n", c->nid);
	c->refused = 0;
	c->cannot_trim = false;
	c->trimmed = true;
	c->batch = min(2 * c->batch, c->ops->max_bytes & PAGE_MASK);
	cram_count(c, CRAM_TRIMS, 1);
}

/*
 * Have the card forget the first @nr ranges. Of one that timed out nothing is known, and
 * it may erase whoever comes into the frames later: they are nobody's until a reset.
 */
static int trim_ranges(struct cram *c, unsigned int nr, u64 bytes)
{
	int rc = c->ops->trim(c->card, c->range, nr);

	trace_cram_trim(c->nid, nr, bytes, rc);
	c->trims_fail = rc;
	/* What failed is tried again at once. */
	c->trim_hand = PHYS_PFN(rc ? c->range[0].start :
				c->range[nr - 1].start + c->range[nr - 1].size);
	switch (rc) {
	case 0:
		set_ranges(c, nr, CRAM_KEPT);
		trim_done(c);
		return 0;
	case -ETIMEDOUT:
		set_ranges(c, nr, CRAM_LIMBO);
		cram_count(c, CRAM_TRIMS_TIMED_OUT, 1);
		return rc;
	case -EOPNOTSUPP:
		trim_refused(c);
		break;
	case -EBUSY:
		break;
	default:
		cram_count(c, CRAM_TRIMS_FAILED, 1);
		/* One page may be at fault: it is searched for at once, and the others go on. */
		if (bytes > PAGE_SIZE) {
			c->batch = ALIGN_DOWN(bytes / 2, PAGE_SIZE);
			rc = -EAGAIN;
		} else {
			c->trim_hand++;
			/* Where only those are left that it never trims, it is left in peace. */
			if (c->trimmed)
				rc = -EAGAIN;
			c->trimmed = false;
		}
	}
	ranges_again(c, nr);
	return rc;
}

/* In place of a trim: zeros cost the worst until the card says otherwise. */
static bool zero_frame(struct cram *c, unsigned long index)
{
	struct page *page = frame_page(c, index);

	scoped_guard(spinlock_irq, &c->lock) {
		if (!cram_account_zero_begin(&c->account))
			return false;
	}
	debug_pagealloc_map_pages(page, 1);
	clear_page(page_address(page));
	arch_wb_cache_pmem(page_address(page), PAGE_SIZE);
	pmem_wmb();
	debug_pagealloc_unmap_pages(page, 1);
	scoped_guard(spinlock_irq, &c->lock) {
		cram_account_zero_end(&c->account);
		set_trimmed(c, index);
		block_kept(c, index >> CRAM_BLOCK_ORDER, 1);
	}
	atomic_long_dec(&c->nr_dying);
	cram_count(c, CRAM_ZEROED, 1);
	return true;
}

/* Begin with a block: what is freed from now on sets its bit again. */
static void look_at(struct cram *c, unsigned long block)
{
	clear_bit(block, c->dying);
	/* Against cram_free_folio(): the bit, then the frames. */
	smp_mb__after_atomic();
	flush_soiled(c, block << CRAM_BLOCK_ORDER);
}

/* Before the processor can reach frames no more: have caches hold nothing of them. */
void cram_flush_dying(struct cram *c, unsigned long start_pfn, unsigned long nr)
{
	unsigned long block = (start_pfn - c->first_pfn) >> CRAM_BLOCK_ORDER;
	const unsigned long end = block + (nr >> CRAM_BLOCK_ORDER);

	for_each_set_bit_from(block, c->dying, end) {
		flush_soiled(c, block << CRAM_BLOCK_ORDER);
		cond_resched();
	}
}

static int zero_dying(struct cram *c)
{
	unsigned long block, i;

	for_each_set_bit(block, c->dying, c->nr_blocks) {
		look_at(c, block);
		for (i = 0; i < CRAM_BLOCK_FRAMES; i++) {
			const unsigned long index = (block << CRAM_BLOCK_ORDER) + i;

			if (cram_frame(c, index) == CRAM_DYING && !zero_frame(c, index)) {
				set_bit(block, c->dying);
				return -EAGAIN;
			}
		}
		cond_resched();
	}
	return 0;
}

/* Trim what was freed of the frames from @first up to @end; see cram_trim_dying(). */
static int trim_span(struct cram *c, unsigned long first, unsigned long end,
		     unsigned long until)
{
	unsigned long block = first >> CRAM_BLOCK_ORDER;
	unsigned int nr = 0;
	u64 bytes = 0;
	int rc = 0;

	for_each_set_bit_from(block, c->dying, DIV_ROUND_UP(end, CRAM_BLOCK_FRAMES)) {
		const unsigned long start = block << CRAM_BLOCK_ORDER;
		const unsigned long from = max(first, start);
		const unsigned long to = min(end, start + CRAM_BLOCK_FRAMES);

		look_at(c, block);
		/* The rest of it is another span's. */
		if (to - from < CRAM_BLOCK_FRAMES)
			set_bit(block, c->dying);
		for (unsigned long i = from; i < to; i++) {
			struct cram_range *last = nr ? &c->range[nr - 1] : NULL;
			bool adjacent;

			if (cram_frame(c, i) != CRAM_DYING)
				continue;
			adjacent = last && last->start + last->size == PFN_PHYS(i);
			if (bytes == c->batch || (nr == c->ops->max_ranges && !adjacent)) {
				rc = trim_ranges(c, nr, bytes);
				nr = 0;
				bytes = 0;
				adjacent = false;
				if (!rc && time_after(jiffies, until))
					rc = -EAGAIN;
				if (rc) {
					set_bit(block, c->dying);
					return rc;
				}
			}
			if (adjacent)
				last->size += PAGE_SIZE;
			else
				c->range[nr++] = (struct cram_range) { PFN_PHYS(i), PAGE_SIZE };
			bytes += PAGE_SIZE;
		}
		cond_resched();
	}
	return nr ? trim_ranges(c, nr, bytes) : 0;
}

/*
 * Trim what was freed, sorted and merged, for a time, from where the last pass ended,
 * also if that was with ranges that the card refused. However slow the card is with it,
 * the next report has to wait for a single command at most. Returns 0 if there is
 * nothing left, -EAGAIN if there is, or what the card says.
 */
int cram_trim_dying(struct cram *c)
{
	const unsigned long until = jiffies + msecs_to_jiffies(PASS_MS);
	const unsigned long hand = c->trim_hand;
	int rc;

	if (refused_lately(c))
		return c->cannot_trim ? zero_dying(c) : -EOPNOTSUPP;
	rc = trim_span(c, hand, c->nr_frames, until);
	if (!rc && hand)
		rc = trim_span(c, 0, hand, until);
	if (!rc)
		c->trim_hand = 0;
	return rc;
}

/* No trim that timed out will happen any more: what it was to trim can be trimmed. */
void cram_limbo_over(struct cram *c)
{
	for (unsigned long i = 0; i < c->nr_frames; i++) {
		if (cram_frame(c, i) == CRAM_LIMBO) {
			set_frame(c, i, CRAM_DYING);
			set_bit(i >> CRAM_BLOCK_ORDER, c->dying);
		}
		if (!(i % CRAM_BLOCK_FRAMES))
			cond_resched();
	}
	c->nr_limbo = 0;
}
