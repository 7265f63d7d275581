// SPDX-License-Identifier: GPL-2.0-only
/*
 * CRAM: who has to go, when a card has less than it had.
 *
 * In normal running nobody has to: room runs out, and nothing comes. A card that shrinks,
 * or does what is assumed that it does not, leaves no choice. Then the cgroup goes first
 * that has the most there, a batch at a time: to ordinary memory that is free, else to swap,
 * and only when the card holds more than it can and there is neither, a process of it is
 * killed.
 */
#define pr_fmt(fmt) "cram: " fmt

#include <linux/device.h>
#include <linux/jiffies.h>
#include <linux/list.h>
#include <linux/memcontrol.h>
#include <linux/migrate.h>
#include <linux/mm.h>
#include <linux/mm_inline.h>
#include <linux/oom.h>
#include <linux/swap.h>

#include <trace/events/cram.h>

#include "cram.h"
#include "internal.h"

#define EVICT_BATCH	128	/* pages, between two reports */
#define KILL_AFTER_MS	1000	/* of an overrun that nobody can leave */

static unsigned long pages_there(const struct cram *c, struct mem_cgroup *memcg)
{
	struct lruvec *lruvec = mem_cgroup_lruvec(memcg, NODE_DATA(c->nid));
	unsigned long nr = 0;
	enum lru_list lru;

	for_each_lru(lru)
		nr += lruvec_page_state_local(lruvec, NR_LRU_BASE + lru);
	return nr;
}

/* The cgroup that has the most there, with a reference; NULL if none has anything. */
static struct mem_cgroup *find_victim(const struct cram *c)
{
	struct mem_cgroup *memcg, *victim = NULL;
	unsigned long most = 0, nr;

	if (mem_cgroup_disabled())
		return NULL;
	mem_cgroup_flush_stats(NULL);
	for (memcg = mem_cgroup_iter(NULL, NULL, NULL); memcg;
	     memcg = mem_cgroup_iter(NULL, memcg, NULL)) {
		nr = pages_there(c, memcg);
		if (nr <= most)
			continue;
		most = nr;
		mem_cgroup_put(victim);
		victim = memcg;
		css_get(&victim->css);
	}
	return victim;
}

/* Up to @want pages of @memcg, or whoever's, from where the last round stopped. */
static unsigned long isolate(struct cram *c, unsigned long want, struct mem_cgroup *memcg,
			     struct list_head *folios)
{
	unsigned long nr = 0;

	for (unsigned long seen = 0; seen < c->nr_frames && nr < want; seen++) {
		nr += cram_isolate(c, c->evict_hand, memcg, folios);
		c->evict_hand = (c->evict_hand + 1) % c->nr_frames;
		if (!(seen % CRAM_BLOCK_FRAMES))
			cond_resched();
	}
	return nr;
}

/* Is there ordinary memory on @nid for a batch above a watermark? */
static bool has_room(int nid, enum zone_watermarks mark)
{
	struct zone *zones = NODE_DATA(nid)->node_zones;

	for (struct zone *zone = zones; zone < zones + MAX_NR_ZONES; zone++) {
		if (!managed_zone(zone))
			continue;
		if (zone_watermark_ok(zone, 0, wmark_pages(zone, mark) + EVICT_BATCH,
				      ZONE_MOVABLE, 0))
			return true;
		/* For the next batch */
		wakeup_kswapd(zone, GFP_HIGHUSER_MOVABLE, 0, ZONE_MOVABLE);
	}
	return false;
}

/*
 * Where pages can go while others find memory as well. When data is being lost, and swap
 * takes none of it, all will do that nobody has to be killed for.
 */
static nodemask_t find_home(const struct cram *c)
{
	const bool last = c->overrun && (c->stuck || !get_nr_swap_pages());
	nodemask_t home = NODE_MASK_NONE;
	int nid;

	for_each_node_state(nid, N_MEMORY) {
		if (has_room(nid, last ? WMARK_MIN : WMARK_LOW))
			node_set(nid, home);
	}
	return home;
}

/* What did not find room goes to swap, if there is any, or back. Returns how many pages went. */
static unsigned long swap_out(struct list_head *folios)
{
	struct folio *folio;

	list_for_each_entry(folio, folios, lru)
		node_stat_sub_folio(folio, NR_ISOLATED_ANON + folio_is_file_lru(folio));
	return reclaim_pages(folios);
}

/* Data is being lost and nobody can go: @memcg is to lose a process rather than all some pages. */
static void kill_in(struct cram *c, struct mem_cgroup *memcg)
{
	struct oom_control oc = {
		.memcg = memcg,
		.gfp_mask = GFP_KERNEL,
	};

	/* The root's processes are everybody: who of them is on the card is not known. */
	if (!memcg || mem_cgroup_is_root(memcg))
		return;
	dev_err(c->dev, "cram: node %d: the card is overrun, and there is neither memory nor swap for what is there\n",
		c->nid);
	scoped_guard(mutex, &oom_lock) {
		if (!out_of_memory(&oc))
			return;
	}
	cram_count(c, CRAM_OOM_KILLS, 1);
	trace_cram_oom_kill(c->nid, cgroup_id(memcg->css.cgroup));
}

/* Have up to @want frames' pages leave the card, or as many as can be seen to at once. */
void cram_evict(struct cram *c, unsigned long want)
{
	struct mem_cgroup *victim = find_victim(c);
	nodemask_t home = find_home(c);
	unsigned long nr, moved = 0, swapped = 0;
	LIST_HEAD(folios);

	want = min(want, EVICT_BATCH);
	nr = isolate(c, want, victim, &folios);
	if (victim && !nr)
		nr = isolate(c, want, NULL, &folios);
	/* The card is not asked anything meanwhile: do not wait for other devices at first. */
	if (!nodes_empty(home)) {
		moved = cram_send_home(&folios, &home, MIGRATE_ASYNC, MR_WHOLE);
		moved += cram_send_home(&folios, &home, MIGRATE_SYNC_LIGHT,
					MR_MEMORY_HOTPLUG);
	}
	if (!list_empty(&folios))
		swapped = swap_out(&folios);
	cram_count_pages(c, CRAM_EVICTED, CRAM_EVICT, moved);
	cram_count_pages(c, CRAM_SWAPPED, CRAM_SWAP, swapped);
	cram_count(c, CRAM_EVICT_FAILED, nr - min(nr, moved + swapped));
	trace_cram_evict(c->nid, nr, moved, swapped);

	if (moved + swapped || !c->overrun) {
		c->stuck = 0;
	} else if (!c->stuck) {
		c->stuck = jiffies ?: 1;
	} else if (time_after(jiffies, c->stuck + msecs_to_jiffies(KILL_AFTER_MS))) {
		kill_in(c, victim);
		c->stuck = 0;
	}
	mem_cgroup_put(victim);
}
