// SPDX-License-Identifier: GPL-2.0-only
/*
 * CRAM: what the pages of each cgroup take on a card: memory.cram.stat.
 *
 * A card says what it stores in all, not of whom it is. So of some of the pages that come
 * it is measured, with the card's own method, what they will take there; which ones the
 * numbers of their frames decide. A cgroup has that part of what the card stores that its
 * pages have of all that was measured.
 *
 * A page counts for its cgroup, and those above, from when it has come until it is no
 * longer charged, and for the card until its frame is trimmed: what is only in the
 * card's sum is dying, or nobody's. Nothing is looked at later than when it comes; it
 * cannot change there.
 *
 * What a page takes is a class in the byte of its frame, so that what is subtracted is
 * what was added, whatever has become of the page meanwhile. Between two classes chance
 * decides, the nearer one as much more often as makes sums right.
 */
#include <linux/cgroup.h>
#include <linux/cleanup.h>
#include <linux/hash.h>
#include <linux/init.h>
#include <linux/lz4.h>
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/random.h>
#include <linux/sched.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/zstd.h>

#include "cram.h"

#define INTERVAL_AT_FIRST	64
#define ZSTD_LEVEL		1

/* Most bytes that two ways to compress a page can make of it */
#define OUT_BYTES	(2 * PAGE_SIZE)

/* The first stands for what was not measured, the second for pages that take nothing. */
static const u16 class_bytes[CRAM_CLASSES] = {
	0, 0, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 2560, 3072, 4096,
};

struct cram_compressor {
	struct mutex lock;	/* of what one page at a time is compressed with */
	enum cram_algorithm algorithm;
	u32 unit;
	u32 worst;
	zstd_parameters zstd_parameters;
	zstd_cctx *zstd;
	void *workspace;
	u8 out[OUT_BYTES];
};

/* How the card compresses is known, by its first report. */
int cram_sample_init(struct cram *c)
{
	struct cram_compressor *compressor = kvzalloc(sizeof(*compressor), GFP_KERNEL);
	size_t bytes = LZ4_MEM_COMPRESS;

	if (!compressor)
		return -ENOMEM;
	c->sample.compressor = compressor;
	mutex_init(&compressor->lock);
	compressor->algorithm = c->limits.algorithm;
	compressor->unit = max(c->limits.unit, 1U);
	compressor->worst = c->limits.worst;
	if (compressor->algorithm == CRAM_ZSTD) {
		compressor->zstd_parameters = zstd_get_params(ZSTD_LEVEL, PAGE_SIZE);
		bytes = zstd_cctx_workspace_bound(&compressor->zstd_parameters.cParams);
	}
	compressor->workspace = kvmalloc(bytes, GFP_KERNEL);
	if (!compressor->workspace)
		return -ENOMEM;
	if (compressor->algorithm == CRAM_ZSTD) {
		compressor->zstd = zstd_init_cctx(compressor->workspace, bytes);
		if (!compressor->zstd)
			return -EINVAL;
	}

	for (int class = 0; class < CRAM_CLASSES; class++)
		c->sample.bytes_of[class] = class_bytes[class];
	c->sample.bytes_of[CRAM_CLASSES - 1] = compressor->worst;
	c->sample.interval = INTERVAL_AT_FIRST;
	return 0;
}

void cram_sample_free(struct cram *c)
{
	if (!c->sample.compressor)
		return;
	kvfree(c->sample.compressor->workspace);
	kvfree(c->sample.compressor);
}

/* What the card will take for a page. What does not compress is not an error. */
static u32 measure(struct cram_compressor *compressor, const void *page)
{
	size_t bytes;

	if (!memchr_inv(page, 0, PAGE_SIZE))
		return 0;
	guard(mutex)(&compressor->lock);
	if (compressor->algorithm == CRAM_ZSTD) {
		bytes = zstd_compress_cctx(compressor->zstd, compressor->out, OUT_BYTES, page,
					   PAGE_SIZE, &compressor->zstd_parameters);
		if (zstd_is_error(bytes))
			return compressor->worst;
	} else {
		bytes = LZ4_compress_default(page, compressor->out, PAGE_SIZE, OUT_BYTES,
					     compressor->workspace);
		if (!bytes)
			return compressor->worst;
	}
	bytes = roundup(bytes, compressor->unit);
	return bytes < PAGE_SIZE ? bytes : compressor->worst;
}

static unsigned int class_of(const struct cram_sample *s, u32 bytes)
{
	unsigned int class = 1;
	u32 above;

	while (class < CRAM_CLASSES - 1 && s->bytes_of[class + 1] <= bytes)
		class++;
	above = bytes - s->bytes_of[class];
	if (above && get_random_u32_below(s->bytes_of[class + 1] - s->bytes_of[class]) < above)
		class++;
	return class;
}

/* Neighbours in memory tend to be alike, so those that are picked are apart. */
static bool is_picked(const struct cram *c, unsigned long index, unsigned int interval)
{
	return hash_32(c->first_pfn + index, 32) <= U32_MAX / interval;
}

/* Those above see it too. Any context. */
static void count(struct mem_cgroup *memcg, int nid, long pages, long bytes)
{
	for (; memcg; memcg = parent_mem_cgroup(memcg)) {
		atomic_long_add(pages, &memcg->nodeinfo[nid]->cram_sampled);
		atomic_long_add(bytes, &memcg->nodeinfo[nid]->cram_sampled_bytes);
	}
}

/* @dst has come, and is not mapped yet. What it holds is in caches still, as @src. */
void cram_sample_came(struct cram *c, struct folio *src, struct folio *dst)
{
	const unsigned int interval = READ_ONCE(c->sample.interval);
	const unsigned long first = cram_index(c, folio_page(dst, 0));
	const long nr = folio_nr_pages(dst);
	long pages = 0, bytes = 0;

	if (!interval)
		return;
	for (long i = 0; i < nr; i++) {
		unsigned int class;

		if (!is_picked(c, first + i, interval))
			continue;
		class = class_of(&c->sample, measure(c->sample.compressor,
						     page_address(folio_page(src, i))));
		WRITE_ONCE(c->frame[first + i], c->frame[first + i] |
			   FIELD_PREP(CRAM_FRAME_SAMPLE, class));
		bytes += c->sample.bytes_of[class];
		pages++;
		cond_resched();
	}
	if (!pages)
		return;
	atomic_long_add(bytes, &c->sample.bytes);
	count(folio_memcg(dst), c->nid, pages, bytes);
}

/* It is charged no longer; the card stores it still. Any context. */
void cram_sample_went(struct cram *c, struct folio *folio)
{
	const unsigned long first = cram_index(c, folio_page(folio, 0));
	const unsigned long end = first + folio_nr_pages(folio);
	long pages = 0, bytes = 0;

	for (unsigned long i = first; i < end; i++) {
		const u8 frame = READ_ONCE(c->frame[i]);

		if (!(frame & CRAM_FRAME_SAMPLE))
			continue;
		bytes += cram_sample_bytes(c, frame);
		pages++;
	}
	if (pages)
		count(folio_memcg(folio), c->nid, -pages, -bytes);
}

/*
 * What @pages of @memcg's own may take on the card: like those that were measured in it and
 * below it, or like all where none was.
 */
u64 cram_sample_estimate(struct cram *c, struct mem_cgroup *memcg, unsigned long pages)
{
	const struct mem_cgroup_per_node *pn = memcg->nodeinfo[c->nid];
	const long sampled = atomic_long_read(&pn->cram_sampled);
	const long bytes = atomic_long_read(&pn->cram_sampled_bytes);
	const long written = atomic_long_read(&c->nr_written);

	if (sampled > 0)
		return mul_u64_u64_div_u64(pages, max(bytes, 0), sampled);
	scoped_guard(spinlock_irq, &c->lock)
		return mul_u64_u64_div_u64(pages, c->account.stored, max(written, 1));
}

/*
 * The file
 */

/* What the card stores of what was measured as @bytes, of all of which it knows */
static u64 part_of_stored(struct cram *c, u64 bytes)
{
	const u64 all = max_t(s64, atomic_long_read(&c->sample.bytes), 0);
	u64 stored;

	scoped_guard(spinlock_irq, &c->lock)
		stored = c->account.stored;
	return bytes < all ? mul_u64_u64_div_u64(stored, bytes, all) : bytes ? stored : 0;
}

static void show(struct seq_file *m, const char *key,
		 u64 (*value)(struct cram *c, struct mem_cgroup_per_node *pn))
{
	struct mem_cgroup *memcg = mem_cgroup_from_seq(m);
	struct cram *c;
	int nid;

	seq_puts(m, key);
	for_each_node(nid) {
		guard(rcu)();
		c = cram_of(nid);
		if (c)
			seq_printf(m, " N%d=%llu", nid, value(c, memcg->nodeinfo[nid]));
	}
	seq_putc(m, '\n');
}

static u64 sampled(struct cram *c, struct mem_cgroup_per_node *pn)
{
	return atomic_long_read(&pn->cram_sampled);
}

static u64 sampled_bytes(struct cram *c, struct mem_cgroup_per_node *pn)
{
	return atomic_long_read(&pn->cram_sampled_bytes);
}

static u64 device_bytes(struct cram *c, struct mem_cgroup_per_node *pn)
{
	return part_of_stored(c, sampled_bytes(c, pn));
}

static int stat_show(struct seq_file *m, void *v)
{
	show(m, "sampled", sampled);
	show(m, "sampled_bytes", sampled_bytes);
	show(m, "device_bytes", device_bytes);
	return 0;
}

static struct cftype stat_files[] = {
	{
		.name = "cram.stat",
		.flags = CFTYPE_NOT_ON_ROOT,
		.seq_show = stat_show,
	},
	{ }
};

static int __init cram_sample_setup(void)
{
	if (mem_cgroup_disabled())
		return 0;
	return cgroup_add_dfl_cftypes(&memory_cgrp_subsys, stat_files);
}
subsys_initcall(cram_sample_setup);
