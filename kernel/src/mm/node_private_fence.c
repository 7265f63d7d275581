// SPDX-License-Identifier: GPL-2.0-only
/*
 * Private memory nodes: frames that must not be written by their users.
 *
 * A node with PROTECT_WRITE is filled by migration only. Page table entries for
 * its pages never allow writing, and whoever wants to write has the page moved to
 * ordinary memory first. Here are the two halves of that; where page table
 * entries are made, and where writers come from, is all over mm/.
 */
#include <linux/cpuset.h>
#include <linux/export.h>
#include <linux/huge_mm.h>
#include <linux/memory_hotplug.h>
#include <linux/mempolicy.h>
#include <linux/migrate.h>
#include <linux/node_private.h>
#include <linux/pagemap.h>
#include <linux/shmem_fs.h>
#include <linux/swap.h>

#include "internal.h"

static bool pfn_is_fenced(unsigned long pfn)
{
	struct page *page = pfn_to_online_page(pfn);

	return page && node_is_fenced(page_to_nid(page));
}

pte_t __node_private_fence_pte(pte_t pte)
{
	return pfn_is_fenced(pte_pfn(pte)) ? pte_wrprotect(pte) : pte;
}

#ifdef CONFIG_TRANSPARENT_HUGEPAGE
pmd_t __node_private_fence_pmd(pmd_t pmd)
{
	return pfn_is_fenced(pmd_pfn(pmd)) ? pmd_wrprotect(pmd) : pmd;
}
#endif

static struct folio *alloc_home(unsigned int order, const nodemask_t *home)
{
	nodemask_t nodes = *home;
	int nid = numa_mem_id();

	if (!node_isset(nid, nodes))
		nid = first_node(nodes);
	/* As for other allocations by policy, a cpuset goes before it. */
	return __folio_alloc(order ? GFP_TRANSHUGE : GFP_HIGHUSER_MOVABLE, order, nid,
			     cpuset_nodemask_valid_mems_allowed(&nodes) ? &nodes : NULL);
}

/* For migrate_pages(): the folio at *@private, allocated before. */
static struct folio *take_folio(struct folio *src, unsigned long private)
{
	struct folio **slot = (struct folio **)private;
	struct folio *dst = *slot;

	if (!dst || folio_order(dst) != folio_order(src))
		return NULL;
	*slot = NULL;
	return dst;
}

static void put_back_folio(struct folio *dst, unsigned long private)
{
	*(struct folio **)private = dst;
}

/*
 * A shmem folio that is pinned cannot move, but a copy of the same size can take its
 * place in the file. Whoever pinned it keeps what it was, as if it had been truncated.
 * Uses up the reference to @new.
 */
static int replace_pinned(struct folio *folio, struct folio *new)
{
	const long nr = folio_nr_pages(folio);
	int rc = -EAGAIN;

	if (folio_test_anon(folio) || folio_lock_killable(folio))
		goto out_put;
	/* Unlocked for a while, it may have moved or been truncated: look again. */
	if (!folio->mapping) {
		rc = 0;
		goto out_unlock;
	}
	if (!shmem_mapping(folio->mapping) || !folio_test_uptodate(folio) ||
	    folio_nr_pages(folio) != nr)
		goto out_unlock;

	/* Not as for truncation: what userfaultfd protects stays protected. */
	unmap_mapping_pages(folio->mapping, folio->index, nr, false);
	if (folio_mc_copy(new, folio))
		goto out_unlock;
	flush_dcache_folio(new);
	__folio_set_locked(new);
	__folio_set_swapbacked(new);
	folio_mark_uptodate(new);
	/* The page cache has a reference for each page, of which this moves one. */
	folio_ref_add(new, nr - 1);
	replace_page_cache_folio(folio, new);
	folio_put_refs(folio, nr - 1);
	if (folio_test_pmd_mappable(folio)) {
		lruvec_stat_mod_folio(folio, NR_SHMEM_THPS, -nr);
		lruvec_stat_mod_folio(new, NR_SHMEM_THPS, nr);
	}
	folio_mark_dirty(new);
	folio_add_lru(new);
	folio_unlock(new);
	rc = 0;
out_unlock:
	folio_unlock(folio);
out_put:
	folio_put(new);
	return rc;
}

/* What has come here a moment ago may be on its way to an LRU list. */
static bool isolate(struct folio *folio)
{
	if (folio_isolate_lru(folio))
		return true;
	lru_add_drain();
	return folio_isolate_lru(folio);
}

/**
 * node_private_promote_page - move a page off a fenced node
 * @page: the page; a reference to its folio is used up
 * @home: where to
 *
 * A large folio is split and only @page moves, unless splitting fails.
 *
 * Return: 0 if it has moved, or somebody else was at it: look again; -EAGAIN if it
 * cannot move because it is pinned, or because there is no large folio for a large
 * one that cannot be split; -ENOMEM, with an order-0 folio only when the
 * caller is an OOM victim; -EINTR when the caller is being killed.
 */
int node_private_promote_page(struct page *page, const nodemask_t *home)
{
	struct folio *folio = page_folio(page);
	struct folio *dst;
	LIST_HEAD(folios);
	int rc;

	/* References that wait for a folio keep it from moving: wait without. */
	if (!folio_trylock(folio))
		return folio_put_wait_locked(folio, TASK_KILLABLE);
	if (!folio_is_fenced(folio) || !folio->mapping) {
		folio_unlock(folio);
		folio_put(folio);
		return 0;
	}
	if (folio_test_large(folio)) {
		/* On success the lock and the reference are those of @page. */
		split_huge_page(page);
		folio = page_folio(page);
	}
	folio_unlock(folio);

	dst = alloc_home(folio_order(folio), home);
	if (!dst) {
		rc = folio_test_large(folio) ? -EAGAIN : -ENOMEM;
		folio_put(folio);
		return rc;
	}

	if (!isolate(folio)) {
		folio_put(folio);
		folio_put(dst);
		/* On its way to an LRU list on some other processor, perhaps. */
		lru_add_drain_all();
		return 0;
	}
	list_add(&folio->lru, &folios);
	node_stat_add_folio(folio, NR_ISOLATED_ANON + folio_is_file_lru(folio));
	/* Being isolated is a reference. */
	folio_put(folio);
	/* As when NUMA balancing brings a folio home: whole or not at all. */
	rc = migrate_pages(&folios, take_folio, put_back_folio, (unsigned long)&dst,
			   MIGRATE_SYNC, MR_NUMA_MISPLACED, NULL);
	if (!rc) {
		if (dst)
			folio_put(dst);
		return 0;
	}

	folio_get(folio);
	putback_movable_pages(&folios);
	rc = dst ? replace_pinned(folio, dst) : -EAGAIN;
	folio_put(folio);
	return rc;
}

/**
 * node_private_promote - handle_fault that moves the page home
 * @folio: see &node_private_ops.handle_fault
 * @vmf: see &node_private_ops.handle_fault
 */
vm_fault_t node_private_promote(struct folio *folio, struct vm_fault *vmf)
{
	nodemask_t home;

	mpol_home_nodes(vmf->vma, vmf->address, &home);
	switch (node_private_promote_page(vmf->page, &home)) {
	case -ENOMEM:
		return VM_FAULT_OOM;
	case -EAGAIN:
		return VM_FAULT_FALLBACK;
	default:
		return 0;
	}
}
EXPORT_SYMBOL_GPL(node_private_promote);
