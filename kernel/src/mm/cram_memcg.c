// SPDX-License-Identifier: GPL-2.0-only
/*
 * CRAM: how much of compressed memory a cgroup may have, on all cards together and in
 * bytes of its own, not of the cards': memory.cram.max, .current and .events.
 *
 * Room is something that a cgroup is given. One that was never given a limit has what the
 * cgroups above it were given, and nothing if none of them was. Limits hold for all
 * that is below. They are for what comes: who lowers one takes nothing away.
 *
 * Pages are counted before they come, so that those of one cgroup that come at the same
 * time do not all find the same room; what does not come is given back. From then on
 * a page is counted as long as it is charged.
 */
#include <linux/cgroup.h>
#include <linux/init.h>
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/page_counter.h>
#include <linux/seq_file.h>

#include "cram.h"

/* Has a cgroup, or one above it, been given room? The root has all that there is. */
static bool is_given(struct mem_cgroup *memcg)
{
	/* The old hierarchy has no such files. */
	if (mem_cgroup_is_root(memcg) || !cgroup_subsys_on_dfl(memory_cgrp_subsys))
		return true;
	for (; memcg; memcg = parent_mem_cgroup(memcg))
		if (READ_ONCE(memcg->cram_given))
			return true;
	return false;
}

/* Pages that may come; out of date as soon as it is known. */
static unsigned long room_of(struct mem_cgroup *memcg)
{
	unsigned long room = PAGE_COUNTER_MAX;

	if (!is_given(memcg))
		return 0;
	for (struct page_counter *c = &memcg->cram; c; c = c->parent) {
		const unsigned long max = READ_ONCE(c->max), used = page_counter_read(c);

		room = min(room, max > used ? max - used : 0);
	}
	return room;
}

/* May @memcg have @nr more pages, as things are? */
bool cram_memcg_fits(struct mem_cgroup *memcg, unsigned long nr)
{
	return !memcg || room_of(memcg) >= nr;
}

/* Those above see it too, as in memory.events. */
static void count_refusal(struct mem_cgroup *memcg)
{
	for (; memcg && !mem_cgroup_is_root(memcg); memcg = parent_mem_cgroup(memcg)) {
		atomic_long_inc(&memcg->cram_refused);
		cgroup_file_notify(&memcg->cram_events_file);
	}
}

/*
 * Set aside @nr pages for @memcg, or as many as it may have, and say how many. Whoever
 * does holds on to @memcg until they are there or released. May sleep.
 */
unsigned long cram_memcg_reserve(struct mem_cgroup *memcg, unsigned long nr)
{
	struct page_counter *full;
	unsigned long granted;

	if (!memcg)
		return nr;
	do
		granted = min(nr, room_of(memcg));
	while (granted && !page_counter_try_charge(&memcg->cram, granted, &full));
	if (granted < nr)
		count_refusal(memcg);
	return granted;
}

/* @nr pages of @memcg that were set aside are not there, or no more. Any context. */
void cram_memcg_release(struct mem_cgroup *memcg, unsigned long nr)
{
	if (memcg && nr)
		page_counter_uncharge(&memcg->cram, nr);
}

/*
 * Files
 */

static u64 current_read(struct cgroup_subsys_state *css, struct cftype *cft)
{
	return (u64)page_counter_read(&mem_cgroup_from_css(css)->cram) * PAGE_SIZE;
}

static int max_show(struct seq_file *m, void *v)
{
	struct mem_cgroup *memcg = mem_cgroup_from_seq(m);
	const unsigned long max = is_given(memcg) ? READ_ONCE(memcg->cram.max) : 0;

	if (max == PAGE_COUNTER_MAX)
		seq_puts(m, "max\n");
	else
		seq_printf(m, "%llu\n", (u64)max * PAGE_SIZE);
	return 0;
}

static ssize_t max_write(struct kernfs_open_file *of, char *buf, size_t nbytes, loff_t off)
{
	struct mem_cgroup *memcg = mem_cgroup_from_css(of_css(of));
	unsigned long max;
	int rc;

	rc = page_counter_memparse(strstrip(buf), "max", &max);
	if (rc)
		return rc;
	xchg(&memcg->cram.max, max);
	WRITE_ONCE(memcg->cram_given, true);
	return nbytes;
}

static int events_show(struct seq_file *m, void *v)
{
	struct mem_cgroup *memcg = mem_cgroup_from_seq(m);

	seq_printf(m, "max %ld\n", atomic_long_read(&memcg->cram_refused));
	return 0;
}

static struct cftype cram_files[] = {
	{
		.name = "cram.current",
		.flags = CFTYPE_NOT_ON_ROOT,
		.read_u64 = current_read,
	},
	{
		.name = "cram.max",
		.flags = CFTYPE_NOT_ON_ROOT,
		.seq_show = max_show,
		.write = max_write,
	},
	{
		.name = "cram.events",
		.flags = CFTYPE_NOT_ON_ROOT,
		.file_offset = offsetof(struct mem_cgroup, cram_events_file),
		.seq_show = events_show,
	},
	{ }
};

static int __init cram_memcg_init(void)
{
	if (mem_cgroup_disabled())
		return 0;
	return cgroup_add_dfl_cftypes(&memory_cgrp_subsys, cram_files);
}
subsys_initcall(cram_memcg_init);
