// SPDX-License-Identifier: GPL-2.0-only
/*
 * CRAM: who has to go, when a card has less than it had.
 *
 * In normal running nobody has to: room runs out, and nothing comes. A card that shrinks,
 * or does what is assumed that it does not, leaves no choice. Then the cgroup goes first
 * whose pages take the most there, a batch at a time: home, where there is room, else to swap.
 * If none of its pages can go, it is the next one's turn, and only when the card holds more than
 * it can and nobody's can go, a process is killed of who takes the most.
 */
#define pr_fmt(fmt) "cram: " fmt

#include <linux/cgroup.h>
#include <linux/cpuset.h>
#include <linux/device.h>
#include <linux/jiffies.h>
#include <linux/list.h>
#include <linux/memcontrol.h>
#include <linux/migrate.h>
#include <linux/mm.h>
#include <linux/mm_inline.h>
#include <linux/mmap_lock.h>
#include <linux/oom.h>
#include <linux/rmap.h>
#include <linux/swap.h>

#include <trace/events/cram.h>

#include "cram.h"
#include "internal.h"

#define SEARCH_MS	100	/* for them, at most */
#define KILL_AFTER_MS	1000	/* of an overrun that nobody can leave */
#define PASS_OVER_MS	1000	/* who could not leave, while others can */

static unsigned long pages_there(const struct cram *c, struct mem_cgroup *memcg)
{
	struct lruvec *lruvec = mem_cgroup_lruvec(memcg, NODE_DATA(c->nid));
	unsigned long nr = 0;
	enum lru_list lru;

	for_each_lru(lru)
		nr += lruvec_page_state_local(lruvec, NR_LRU_BASE + lru);
	return nr;
}

/*
 * The cgroup whose pages take the most there of those that take less than *@bytes, with a
 * reference, and what they take; NULL if nobody's take any.
 */
static struct mem_cgroup *find_victim(struct cram *c, u64 *bytes)
{
	struct mem_cgroup *memcg, *victim = NULL;
	u64 most = 0, takes;

	if (mem_cgroup_disabled())
		return NULL;
	mem_cgroup_flush_stats(NULL);
	for (memcg = mem_cgroup_iter(NULL, NULL, NULL); memcg;
	     memcg = mem_cgroup_iter(NULL, memcg, NULL)) {
		takes = cram_sample_estimate(c, memcg, pages_there(c, memcg));
		if (takes <= most || takes >= *bytes)
			continue;
		most = takes;
		mem_cgroup_put(victim);
		victim = memcg;
		css_get(&victim->css);
	}
	*bytes = most;
	return victim;
}

/*
 * Up to @want pages of @memcg, or whoever's, from where the last round stopped. Returns
 * -EAGAIN if there was not the time to find any.
 */
static long isolate(struct cram *c, unsigned long want, struct mem_cgroup *memcg,
		    struct list_head *folios)
{
	const unsigned long until = jiffies + msecs_to_jiffies(SEARCH_MS);
	unsigned long nr = 0;

	for (; c->evict_seen < c->nr_frames && nr < want; c->evict_seen++) {
		nr += cram_isolate(c, c->evict_hand, memcg, folios);
		c->evict_hand = (c->evict_hand + 1) % c->nr_frames;
		if (c->evict_seen % CRAM_BLOCK_FRAMES)
			continue;
		if (time_after(jiffies, until)) {
			if (!nr)
				return -EAGAIN;
			break;
		}
		cond_resched();
	}
	c->evict_seen = 0;
	return nr;
}

/*
 * Free pages of @zone that pages which have to go leave to others. As a last resort they go
 * below the low watermark, but not all the way: at the lowest one whoever allocates next would
 * find nothing to reclaim, and have somebody killed who may have nothing on the card.
 */
static unsigned long left_to_others(const struct zone *zone, bool last)
{
	const unsigned long low = low_wmark_pages(zone);

	return last ? (min_wmark_pages(zone) + low) / 2 : low;
}

/* Is there ordinary memory on @nid for a batch? */
static bool has_room(int nid, bool last)
{
	struct zone *zones = NODE_DATA(nid)->node_zones;

	for (struct zone *zone = zones; zone < zones + MAX_NR_ZONES; zone++) {
		if (!managed_zone(zone))
			continue;
		if (zone_watermark_ok(zone, 0, left_to_others(zone, last) + CRAM_EVICT_BATCH,
				      ZONE_MOVABLE, 0))
			return true;
		/* For the next batch */
		wakeup_kswapd(zone, GFP_HIGHUSER_MOVABLE, 0, ZONE_MOVABLE);
	}
	return false;
}

/* Nodes that have room for a batch. */
static nodemask_t find_room(bool last)
{
	nodemask_t nodes = NODE_MASK_NONE;
	int nid;

	for_each_node_state(nid, N_MEMORY) {
		if (has_room(nid, last))
			node_set(nid, nodes);
	}
	return nodes;
}

/* As far as its policy can be read now, the mapping says where the folio belongs. */
static bool ask_mapping(struct folio *folio, struct vm_area_struct *vma, unsigned long addr,
			void *ret_home)
{
	if (!mmap_read_trylock(vma->vm_mm))
		return true;
	mpol_ordinary_nodes_at(vma, addr, ret_home);
	mmap_read_unlock(vma->vm_mm);
	return false;
}

/*
 * The nodes that @folio belongs on, by the policy where it is mapped and by its cgroup's
 * cpuset. None if that cannot be told now; all if nobody says.
 */
static nodemask_t home_of(struct folio *folio)
{
	struct mem_cgroup *memcg = folio_memcg(folio);
	nodemask_t home = NODE_MASK_NONE;
	struct rmap_walk_control rwc = {
		.rmap_one = ask_mapping,
		.anon_lock = folio_lock_anon_vma_read,
		.arg = &home,
		.try_lock = true,
	};
	int nid;

	if (!folio_mapped(folio)) {
		home = node_states[N_MEMORY];
	} else if (folio_trylock(folio)) {
		rmap_walk(folio, &rwc);
		folio_unlock(folio);
	}
	for_each_node_mask(nid, home) {
		if (memcg && !cpuset_cgroup_allows_node(memcg->css.cgroup, nid))
			node_clear(nid, home);
	}
	return home;
}

/* Those that cannot go at once may be waited for, but no other devices at first. */
static unsigned long send(struct list_head *folios, nodemask_t *nodes)
{
	unsigned long moved;

	if (nodes_empty(*nodes))
		return 0;
	moved = cram_send_home(folios, nodes, MIGRATE_ASYNC, MR_WHOLE);
	return moved + cram_send_home(folios, nodes, MIGRATE_SYNC_LIGHT, MR_MEMORY_HOTPLUG);
}

/* To where each belongs and there is room. Those that do not go are still on the list. */
static unsigned long send_home(struct list_head *folios, const nodemask_t *room)
{
	nodemask_t nodes = NODE_MASK_NONE, home;
	unsigned long moved = 0;
	struct folio *folio;
	LIST_HEAD(group);
	LIST_HEAD(left);

	while (!list_empty(folios)) {
		folio = list_first_entry(folios, struct folio, lru);
		home = home_of(folio);
		nodes_and(home, home, *room);
		if (!nodes_equal(home, nodes)) {
			moved += send(&group, &nodes);
			list_splice_tail_init(&group, &left);
			nodes = home;
		}
		list_move_tail(&folio->lru, &group);
	}
	moved += send(&group, &nodes);
	list_splice_tail(&group, &left);
	list_splice(&left, folios);
	return moved;
}

/* What did not find room goes to swap, if there is any, or back. Returns how many pages went. */
static unsigned long swap_out(struct list_head *folios)
{
	struct folio *folio;

	list_for_each_entry(folio, folios, lru)
		node_stat_sub_folio(folio, NR_ISOLATED_ANON + folio_is_file_lru(folio));
	return reclaim_pages(folios);
}

/* Returns whether a process of @memcg ends for it, or does so already. */
static bool kill_in(struct cram *c, struct mem_cgroup *memcg)
{
	struct oom_control oc = {
		.memcg = memcg,
		.gfp_mask = GFP_KERNEL,
	};
	bool ends;

	/* The root's processes are everybody: who of them is on the card is not known. */
	if (mem_cgroup_is_root(memcg) || !cgroup_is_populated(memcg->css.cgroup))
		return false;
	dev_err(c->dev, "cram: node %d: the card is overrun, and there is neither memory nor swap for what is there\n",
		c->nid);
	scoped_guard(mutex, &oom_lock)
		ends = out_of_memory(&oc);
	/* Not that of who was ending before. */
	if (ends && oc.chosen && oc.chosen != (void *)-1UL) {
		cram_count(c, CRAM_OOM_KILLS, 1);
		trace_cram_oom_kill(c->nid, cgroup_id(memcg->css.cgroup));
	}
	return ends;
}

/*
 * Data is being lost and nobody can go: who takes the most, of those that have a process which may
 * be killed, is to lose one rather than all some pages.
 */
static void kill_somebody(struct cram *c)
{
	struct mem_cgroup *memcg;
	u64 bytes = U64_MAX;
	bool ends = false;

	while (!ends && (memcg = find_victim(c, &bytes))) {
		ends = kill_in(c, memcg);
		mem_cgroup_put(memcg);
	}
}

/*
 * Have up to @want pages of @memcg, or whoever's, leave the card: home, while others find memory
 * there as well, else to swap. When data is being lost, and swap takes none of it, all memory will
 * do that nobody has to be killed for. Returns how many have left, or -EAGAIN if none was found
 * yet.
 */
static long send_away(struct cram *c, unsigned long want, struct mem_cgroup *memcg)
{
	const bool last = c->overrun && (c->stuck || !get_nr_swap_pages());
	nodemask_t room = find_room(last);
	unsigned long moved, swapped = 0;
	LIST_HEAD(folios);
	long nr;

	nr = isolate(c, want, memcg, &folios);
	if (nr < 0)
		return nr;
	moved = send_home(&folios, &room);
	if (last)
		moved += send(&folios, &room);
	if (!list_empty(&folios))
		swapped = swap_out(&folios);
	cram_count_pages(c, CRAM_EVICTED, CRAM_EVICT, moved);
	cram_count_pages(c, CRAM_SWAPPED, CRAM_SWAP, swapped);
	cram_count(c, CRAM_EVICT_FAILED, nr - min_t(unsigned long, nr, moved + swapped));
	trace_cram_evict(c->nid, nr, moved, swapped);
	return moved + swapped;
}

/* Have up to @want frames' pages leave the card, or as many as can be seen to at once. */
void cram_evict(struct cram *c, unsigned long want)
{
	const unsigned long pass_over = msecs_to_jiffies(PASS_OVER_MS);
	u64 bytes = c->pass_over ?: U64_MAX;
	struct mem_cgroup *victim = find_victim(c, &bytes);
	long left = send_away(c, min(want, CRAM_EVICT_BATCH), victim);

	mem_cgroup_put(victim);
	if (left < 0)
		return;
	if (left || !c->overrun)
		c->stuck = 0;
	else if (!c->stuck)
		c->stuck = jiffies ?: 1;

	if (!left && victim) {
		c->pass_over = bytes;
		c->passed_over = jiffies;
		return;
	}
	/* All have been asked, and who could not leave before is again. */
	if (!victim || time_after(jiffies, c->passed_over + pass_over))
		c->pass_over = 0;
	if (c->stuck && time_after(jiffies, c->stuck + msecs_to_jiffies(KILL_AFTER_MS))) {
		kill_somebody(c);
		c->stuck = 0;
	}
}
