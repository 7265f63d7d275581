// SPDX-License-Identifier: GPL-2.0-only
/*
 * Private memory nodes: how pages come and go.
 *
 * They come by migration, on request or by reclaim, if they may and the owner
 * takes them, or by first touch under a policy that says so. They go by migration
 * too, on request, or by promotion, when they must not stay.
 */
#include <linux/cpuset.h>
#include <linux/export.h>
#include <linux/ksm.h>
#include <linux/memcontrol.h>
#include <linux/memory_hotplug.h>
#include <linux/mempolicy.h>
#include <linux/migrate.h>
#include <linux/mmu_notifier.h>
#include <linux/node_private.h>
#include <linux/pagemap.h>
#include <linux/pagewalk.h>
#include <linux/rmap.h>
#include <linux/sched/mm.h>
#include <linux/shmem_fs.h>
#include <linux/srcu.h>
#include <linux/swap.h>

#include "internal.h"

/*
 * Coming
 */

/*
 * Only memory whose every user goes through page tables may live on a private node:
 * anonymous and shmem pages, but not those that are shared by KSM, or whose owner asked
 * for them to stay where they are, or that the kernel has for itself, as a graphics
 * driver's objects: memory of those is not movable.
 */
bool node_private_may_enter(struct folio *folio)
{
	if (!folio_test_anon(folio)) {
		struct address_space *mapping;

		if (!folio_test_swapbacked(folio))
			return false;
		guard(rcu)();
		mapping = READ_ONCE(folio->mapping);
		/* None, in the swap cache, from where shmem takes it for what it is. */
		if (mapping && !(mapping_gfp_mask(mapping) & __GFP_MOVABLE))
			return false;
	}
	return !folio_test_hugetlb(folio) && !folio_test_ksm(folio) &&
	       folio_evictable(folio);
}

/* Move isolated folios to a private node by the service that @flag stands for. */
static int migrate_to(struct list_head *folios, int nid, unsigned long flag,
		      enum migrate_mode mode, enum migrate_reason reason,
		      unsigned int *ret_succeeded)
{
	struct folio *folio, *next;
	LIST_HEAD(refused);
	int nr_refused = 0;
	int rc = 0;

	list_for_each_entry_safe(folio, next, folios, lru) {
		/* What is not up to date has yet to be written. */
		if (node_private_may_enter(folio) &&
		    (!node_is_fenced(nid) || folio_test_uptodate(folio)))
			continue;
		list_move_tail(&folio->lru, &refused);
		count_vm_events(NODE_PRIVATE_REFUSE, folio_nr_pages(folio));
		nr_refused++;
	}

	if (!list_empty(folios)) {
		const struct node_private_ops *ops;

		guard(srcu)(&node_private_srcu);
		ops = node_private_ops_of(nid);
		if (ops && (ops->flags & flag))
			rc = ops->migrate_to(folios, nid, mode, reason, ret_succeeded);
		else
			rc = -ENODEV;
	}

	list_splice_tail(&refused, folios);
	return rc < 0 ? rc : rc + nr_refused;
}

/**
 * node_private_migrate_to - move isolated folios to a private node on request
 * @folios: the folios; those that did not move are still there on return
 * @nid: the private node
 * @mode: as for migrate_pages()
 * @reason: as for migrate_pages()
 *
 * Return: the number of folios that did not move, or -errno.
 */
int node_private_migrate_to(struct list_head *folios, int nid,
			    enum migrate_mode mode, enum migrate_reason reason)
{
	unsigned int succeeded = 0;

	return migrate_to(folios, nid, NP_OPS_MIGRATION, mode, reason, &succeeded);
}

/*
 * May memory that is charged to @memcg be on @nid? No task stands for it here, so it
 * is the cgroup's cpuset that says so.
 */
static bool cgroup_allows(struct mem_cgroup *memcg, int nid)
{
#ifdef CONFIG_MEMCG
	if (memcg)
		return cpuset_cgroup_allows_node(memcg->css.cgroup, nid);
#endif
	return true;
}

/**
 * node_private_has_room - has a private node a page to give now?
 * @nid: the node
 *
 * For &node_private_ops.may_demote. Any context.
 */
bool node_private_has_room(int nid)
{
	struct zone *zone = &NODE_DATA(nid)->node_zones[ZONE_MOVABLE];

	return zone_watermark_ok(zone, 0, min_wmark_pages(zone), ZONE_MOVABLE, 0);
}
EXPORT_SYMBOL_GPL(node_private_has_room);

/* Does @nid take pages of @memcg? An owner knows what room there will be, too. */
static bool owner_wants(int nid, struct mem_cgroup *memcg)
{
	const struct node_private_ops *ops;

	guard(rcu)();
	ops = node_private_ops_of(nid);
	if (ops && ops->may_demote)
		return ops->may_demote(nid, memcg);
	return ops && node_private_has_room(nid);
}

/*
 * The private node nearest to @nid that takes what is demoted of @memcg's, or of
 * anybody's if that is NULL. Whose pages none takes are reclaimed as if there were
 * none, so all that can be said beforehand is said here. @memcg has to be held.
 */
int __node_private_demotion_node(int nid, struct mem_cgroup *memcg)
{
	int best = NUMA_NO_NODE;
	int other;

	if (node_is_private(nid))
		return NUMA_NO_NODE;
	for_each_node_state(other, N_MEMORY_PRIVATE) {
		if (!node_allows(other, NP_OPS_DEMOTION) ||
		    !cgroup_allows(memcg, other) || !owner_wants(other, memcg))
			continue;
		if (best == NUMA_NO_NODE ||
		    node_distance(nid, other) < node_distance(nid, best))
			best = other;
	}
	return best;
}

/**
 * node_private_demote - move what reclaim isolated to a private node
 * @folios: the folios; those that did not move are still there on return
 * @nid: what node_private_demotion_node() said
 *
 * Return: the number of pages that moved.
 */
unsigned int node_private_demote(struct list_head *folios, int nid)
{
	unsigned int succeeded = 0;

	migrate_to(folios, nid, NP_OPS_DEMOTION, MIGRATE_ASYNC, MR_DEMOTION, &succeeded);
	return succeeded;
}

struct private_target {
	int nid;
	gfp_t gfp;
};

static struct folio *alloc_on_private_node(struct folio *src, unsigned long private)
{
	const struct private_target *target = (struct private_target *)private;
	gfp_t gfp = target->gfp;

	if (folio_test_large(src))
		gfp |= __GFP_COMP;
	return __folio_alloc_node(gfp, folio_order(src), target->nid);
}

/**
 * node_private_migrate_folios - migrate_to for a node that takes every folio
 * @folios: see &node_private_ops.migrate_to
 * @nid: see &node_private_ops.migrate_to
 * @mode: see &node_private_ops.migrate_to
 * @reason: see &node_private_ops.migrate_to. For large folios to move whole or not
 *	at all an owner says MR_DEMOTION_WHOLE if it was told MR_DEMOTION, and
 *	MR_WHOLE otherwise.
 * @ret_succeeded: see &node_private_ops.migrate_to
 */
int node_private_migrate_folios(struct list_head *folios, int nid,
				enum migrate_mode mode,
				enum migrate_reason reason,
				unsigned int *ret_succeeded)
{
	struct private_target target = {
		.nid = nid,
		.gfp = GFP_HIGHUSER_MOVABLE | __GFP_PRIVATE,
	};

	/* As for other demotion: reclaim neither waits nor eats into reserves. */
	if (reason == MR_DEMOTION || reason == MR_DEMOTION_WHOLE)
		target.gfp = (target.gfp & ~__GFP_RECLAIM) | GFP_NOWAIT | __GFP_NOMEMALLOC;
	return migrate_pages(folios, alloc_on_private_node, NULL,
			     (unsigned long)&target, mode, reason, ret_succeeded);
}
EXPORT_SYMBOL_GPL(node_private_migrate_folios);

/**
 * node_private_alloc_folio - first touch under a policy that names only
 * private nodes
 * @nodes: the private nodes of the policy
 * @gfp: as for an ordinary user page
 * @order: order of the folio
 *
 * Return: a folio from the first of @nodes that allows it, or NULL if none has
 * room, is open to memory policies, is writable and is in the caller's cpuset, or if
 * the memory is not movable: then it is for the kernel.
 */
struct folio *node_private_alloc_folio(const nodemask_t *nodes, gfp_t gfp,
				       unsigned int order)
{
	struct folio *folio;
	int nid;

	if (!(gfp & __GFP_MOVABLE))
		return NULL;
	for_each_node_mask(nid, *nodes) {
		unsigned long flags = node_private_flags(nid);

		if (!(flags & NP_OPS_MEMPOLICY) || (flags & NP_OPS_PROTECT_WRITE) ||
		    !cpuset_private_node_allowed(nid))
			continue;
		folio = __folio_alloc_node(gfp | __GFP_PRIVATE | __GFP_COMP,
					   order, nid);
		if (folio)
			return folio;
	}
	return NULL;
}

static void notify_migrated(int nid, struct folio *src, struct folio *dst)
{
	const struct node_private_ops *ops;

	guard(srcu)(&node_private_srcu);
	ops = node_private_ops_of(nid);
	if (ops && ops->folio_migrate)
		ops->folio_migrate(src, dst);
}

void __node_private_folio_migrate(struct folio *src, struct folio *dst)
{
	if (folio_is_private_node(src))
		notify_migrated(folio_nid(src), src, dst);
	if (folio_is_private_node(dst) && folio_nid(dst) != folio_nid(src)) {
		notify_migrated(folio_nid(dst), src, dst);
		count_vm_events(NODE_PRIVATE_ENTER, folio_nr_pages(dst));
	}
}

int __node_private_verify(int nid, struct page *copy, unsigned long nr)
{
	const struct node_private_ops *ops;

	guard(srcu)(&node_private_srcu);
	ops = node_private_ops_of(nid);
	return ops && ops->verify ? ops->verify(nid, copy, nr) : 0;
}

/*
 * Promotion
 */

static struct folio *alloc_home(const nodemask_t *home, gfp_t gfp)
{
	nodemask_t nodes = *home;
	int nid = numa_mem_id();

	/* Who cannot be refused is not to wait for a few nodes of many. */
	if (gfp & __GFP_NOFAIL)
		nodes = node_states[N_MEMORY];
	if (!node_isset(nid, nodes))
		nid = first_node(nodes);
	/* As for other allocations by policy, a cpuset goes before it. */
	return __folio_alloc(gfp, 0, nid,
			     cpuset_nodemask_valid_mems_allowed(&nodes) ? &nodes : NULL);
}

/* For migrate_pages(): the folio at *@private, allocated before. */
static struct folio *take_folio(struct folio *src, unsigned long private)
{
	return xchg((struct folio **)private, NULL);
}

static void put_back_folio(struct folio *dst, unsigned long private)
{
	*(struct folio **)private = dst;
}

/* What has come here a moment ago may be on its way to an LRU list. */
static bool isolate(struct folio *folio)
{
	if (folio_isolate_lru(folio))
		return true;
	lru_add_drain();
	return folio_isolate_lru(folio);
}

/*
 * Move an order-0 folio home. Returns 1 with the reference to it used up, 0 if it was freed
 * or truncated meanwhile, -ENOMEM, or -EBUSY if it cannot move now: it is pinned, or on its
 * way to an LRU list by another processor, or isolated by somebody else.
 */
static int move_home(struct folio *folio, const nodemask_t *home, gfp_t gfp)
{
	struct folio *dst, *moved;
	LIST_HEAD(folios);
	int rc = -EBUSY;

	moved = alloc_home(home, gfp);
	if (!moved)
		return -ENOMEM;
	dst = moved;
	folio_get(moved);
	if (isolate(folio)) {
		node_stat_add_folio(folio, NR_ISOLATED_ANON + folio_is_file_lru(folio));
		list_add(&folio->lru, &folios);
		/* Being isolated is a reference, and others keep it from moving. */
		folio_put(folio);
		rc = migrate_pages(&folios, take_folio, put_back_folio, (unsigned long)&dst,
				   MIGRATE_SYNC, MR_WHOLE, NULL);
		if (rc) {
			rc = -EBUSY;
			folio_get(folio);
			putback_movable_pages(&folios);
		} else if (!dst && moved->mapping) {
			count_vm_event(NODE_PRIVATE_PROMOTE);
			rc = 1;
		}
	}
	folio_put(moved);
	if (dst)
		folio_put(dst);
	return rc;
}

/*
 * Under the lock of the page table: have @dst take the place of the locked @folio in the
 * entry of a fault, if that is the only one to map it and nobody else has hold of it.
 */
static bool take_place(struct folio *dst, struct folio *folio, struct vm_fault *vmf)
{
	struct vm_area_struct *vma = vmf->vma;
	pte_t entry;

	if (folio_ref_count(folio) != 2 || !PageAnonExclusive(&folio->page) ||
	    !folio_isolate_lru(folio))
		return false;
	flush_cache_page(vma, vmf->address, pte_pfn(vmf->orig_pte));
	/* Who reads the page table without a lock finds nothing from here on. */
	entry = ptep_clear_flush(vma, vmf->address, vmf->pte);
	/* The entry's, the fault's, and that of being isolated */
	if (!folio_ref_freeze(folio, 3)) {
		set_pte_at(vma->vm_mm, vmf->address, vmf->pte, entry);
		folio_putback_lru(folio);
		return false;
	}
	ClearPageAnonExclusive(&folio->page);
	folio_remove_rmap_pte(folio, &folio->page, vma);
	__folio_set_locked(dst);
	/* Not so where memory may be dropped instead, see MAP_DROPPABLE */
	if (folio_test_swapbacked(folio))
		__folio_set_swapbacked(dst);
	dst->index = folio->index;
	dst->mapping = folio->mapping;
	folio_ref_unfreeze(folio, 2);
	folio_migrate_flags(dst, folio);

	folio_add_lru(dst);
	/* The entry has a reference of its own. */
	folio_get(dst);
	folio_add_anon_rmap_pte(dst, &dst->page, vma, vmf->address, RMAP_EXCLUSIVE);
	entry = pte_sw_mkyoung(mk_pte(&dst->page, vma->vm_page_prot));
	entry = maybe_mkwrite(pte_mkdirty(entry), vma);
	set_pte_at(vma->vm_mm, vmf->address, vmf->pte, entry);
	update_mmu_cache_range(vmf, vma, vmf->address, vmf->pte, 1);
	return true;
}

/*
 * As move_home(), for a page that only the entry of a fault maps: no other has to be
 * searched for and none waited for, and the fault does not have to come again. The copy
 * is made while the page is mapped: nobody can write to a frame behind the fence, and
 * the fault's reference keeps it from being anything else. Returns 0 if the entry is
 * another one by then; -EBUSY is for move_home() to see to.
 */
static int move_home_in_fault(struct folio *folio, const struct node_promotion *promotion,
			      gfp_t gfp)
{
	struct vm_fault *vmf = promotion->vmf;
	struct vm_area_struct *vma = vmf->vma;
	struct mmu_notifier_range range;
	bool moved = false;
	struct folio *dst;
	int rc = -EBUSY;

	/* Large, shared, about to be swapped or locked, or not on its list yet */
	if (folio_ref_count(folio) != 2 || folio_test_large(folio) ||
	    !folio_test_lru(folio) || folio_test_unevictable(folio) ||
	    (vma->vm_flags & VM_LOCKED))
		return -EBUSY;
	dst = alloc_home(promotion->home, gfp);
	if (!dst)
		return -ENOMEM;
	/* Others who write to it wait for the lock, and have no reference meanwhile. */
	if (!folio_trylock(folio))
		goto out_free;
	if (folio_contain_hwpoisoned_page(folio))
		goto out_unlock;
	rc = copy_mc_user_highpage(&dst->page, &folio->page, vmf->address, vma) ?
	     -EIO : node_private_verify(folio, &dst->page, 1);
	if (rc)
		goto out_unlock;

	mmu_notifier_range_init(&range, MMU_NOTIFY_CLEAR, 0, vma->vm_mm, vmf->address,
				vmf->address + PAGE_SIZE);
	mmu_notifier_invalidate_range_start(&range);
	vmf->pte = pte_offset_map_lock(vma->vm_mm, vmf->pmd, vmf->address, &vmf->ptl);
	if (vmf->pte && pte_same(ptep_get(vmf->pte), vmf->orig_pte)) {
		moved = take_place(dst, folio, vmf);
		rc = moved ? 1 : -EBUSY;
	} else if (vmf->pte) {
		update_mmu_tlb(vma, vmf->address, vmf->pte);
	}
	if (vmf->pte)
		pte_unmap_unlock(vmf->pte, vmf->ptl);
	mmu_notifier_invalidate_range_end(&range);

	if (moved) {
		node_private_folio_migrate(folio, dst);
		folio_unlock(dst);
		/* It was isolated. */
		folio_put(folio);
		count_vm_event(NODE_PRIVATE_PROMOTE);
	}
out_unlock:
	folio_unlock(folio);
	if (rc >= 0)
		folio_put(folio);
out_free:
	folio_put(dst);
	return rc;
}

static void free_copies(struct list_head *copies)
{
	struct folio *copy, *next;

	list_for_each_entry_safe(copy, next, copies, lru) {
		list_del(&copy->lru);
		if (TestClearPageHWPoison(&copy->page))
			num_poisoned_pages_sub(folio_pfn(copy), 1);
		folio_put(copy);
	}
}

/*
 * What has failed cannot be copied: whoever comes to the copy is to be told, as of what it
 * is a copy of.
 */
static void copy_page_home(struct page *copy, struct page *page)
{
	if (!PageHWPoison(page) && !copy_mc_highpage(copy, page))
		return;
	SetPageHWPoison(copy);
	num_poisoned_pages_inc(page_to_pfn(copy));
}

/* Put @copies of order 0 in the place that the locked shmem @folio has in its file. */
static void replace_in_file(struct folio *folio, struct xa_state *xas,
			    struct list_head *copies)
{
	struct address_space *mapping = folio->mapping;
	const pgoff_t index = folio->index;
	const long nr = folio_nr_pages(folio);
	struct folio *copy;
	pgoff_t i = index;

	xas_lock_irq(xas);
	if (folio_test_large(folio))
		xas_split(xas, folio, folio_order(folio));
	list_for_each_entry(copy, copies, lru) {
		copy->mapping = mapping;
		copy->index = i;
		/* The page cache's reference. */
		folio_get(copy);
		__xa_store(&mapping->i_pages, i++, copy, 0);
		__lruvec_stat_add_folio(copy, NR_FILE_PAGES);
		__lruvec_stat_add_folio(copy, NR_SHMEM);
	}
	folio->mapping = NULL;
	__lruvec_stat_sub_folio(folio, NR_FILE_PAGES);
	__lruvec_stat_sub_folio(folio, NR_SHMEM);
	if (folio_test_pmd_mappable(folio))
		__lruvec_stat_mod_folio(folio, NR_SHMEM_THPS, -nr);
	xas_unlock_irq(xas);
	/* The page cache has had a reference for each page. */
	folio_put_refs(folio, nr);
}

/*
 * A shmem folio that is pinned, or off its LRU list, cannot move, but copies of its pages
 * can take its place in the file. Whoever has hold of it keeps what it was, as if it had
 * been truncated. Where there is no fence that may be a device which writes to it: -EBUSY,
 * until it is done. Returns as node_private_promote_page().
 */
static int copy_home(struct folio *folio, const nodemask_t *home, gfp_t gfp,
		     bool killable)
{
	const unsigned int order = folio_order(folio);
	XA_STATE(xas, NULL, 0);
	struct mem_cgroup *charge;
	struct folio *copy, *next;
	LIST_HEAD(copies);
	long i = 0;
	int rc = 0;

	while (i++ < 1L << order) {
		copy = alloc_home(home, gfp);
		if (!copy) {
			free_copies(&copies);
			return -ENOMEM;
		}
		list_add_tail(&copy->lru, &copies);
		cond_resched();
	}

	if (!killable) {
		folio_lock(folio);
	} else if (folio_lock_killable(folio)) {
		free_copies(&copies);
		return -EINTR;
	}
	/* Unlocked for a while, it may have moved, split or been truncated: look again. */
	if (!folio->mapping || folio_order(folio) != order)
		goto out;
	if (!order && PageHWPoison(&folio->page)) {
		rc = -EIO;
		goto out;
	}

	xas.xa = &folio->mapping->i_pages;
	xas_set_order(&xas, folio->index, 0);
	if (order) {
		xas_split_alloc(&xas, folio, order, GFP_KERNEL | (gfp & __GFP_NOFAIL));
		rc = xas_error(&xas);
		if (rc)
			goto out;
	}
	/* Not as for truncation: what userfaultfd protects stays protected. */
	unmap_mapping_pages(folio->mapping, folio->index, 1L << order, false);
	if (!folio_is_fenced(folio) && folio_maybe_dma_pinned(folio)) {
		rc = -EBUSY;
		goto out;
	}
	i = 0;
	list_for_each_entry(copy, &copies, lru) {
		copy_page_home(&copy->page, folio_page(folio, i++));
		rc = node_private_verify(folio, &copy->page, 1);
		if (rc)
			goto out;
		flush_dcache_folio(copy);
		cond_resched();
	}

	/* Nothing more is charged in the end; but for now, whatever the limit. */
	charge = set_active_memcg(folio_memcg(folio));
	list_for_each_entry(copy, &copies, lru) {
		WARN_ON_ONCE(mem_cgroup_charge(copy, NULL, GFP_ATOMIC));
		__folio_set_locked(copy);
		__folio_set_swapbacked(copy);
		folio_mark_uptodate(copy);
	}
	set_active_memcg(charge);
	replace_in_file(folio, &xas, &copies);
	rc = 1 << order;
	count_vm_events(NODE_PRIVATE_PROMOTE_COPY, 1UL << order);
	list_for_each_entry_safe(copy, next, &copies, lru) {
		list_del(&copy->lru);
		folio_mark_dirty(copy);
		/* As what memory_failure() leaves in the file */
		if (!PageHWPoison(&copy->page))
			folio_add_lru(copy);
		folio_unlock(copy);
		folio_put(copy);
	}
out:
	xas_destroy(&xas);
	folio_unlock(folio);
	free_copies(&copies);
	return rc;
}

/**
 * node_private_promote_page - have a page leave its private node
 * @page: see &node_private_ops.promote
 * @promotion: see &node_private_ops.promote
 *
 * Of a large folio only @page leaves, unless it cannot be split. What cannot move is
 * copied if it is part of a file. Nothing waits for whoever pinned the page, unless
 * that may write to it, which nobody does behind the fence.
 *
 * Return: see &node_private_ops.promote; or -EAGAIN if &node_private_ops.verify says so.
 */
int node_private_promote_page(struct page *page,
			      const struct node_promotion *promotion)
{
	const bool killable = promotion->reason != NODE_PROMOTE_TRUNCATE;
	const gfp_t gfp = GFP_HIGHUSER_MOVABLE | (killable ? 0 : __GFP_NOFAIL);
	struct folio *folio = page_folio(page);
	int rc = 0;

	if (promotion->vmf) {
		rc = move_home_in_fault(folio, promotion, gfp);
		if (rc >= 0)
			return rc;
		if (rc != -EBUSY)
			goto out_put;
	}
	/* References that wait for a folio keep it from moving: wait without. */
	if (!folio_trylock(folio))
		return folio_put_wait_locked(folio, killable ? TASK_KILLABLE :
							       TASK_UNINTERRUPTIBLE);
	if (!folio->mapping || !folio_is_private_node(folio))
		goto out_unlock;
	if (folio_test_large(folio)) {
		/* On success the lock and the reference are those of @page. */
		split_huge_page(page);
		folio = page_folio(page);
	}
	/* Of a file's that cannot be split the others are not to stay for that. */
	if (PageHWPoison(page) && (!folio_test_large(folio) || folio_test_anon(folio))) {
		rc = -EIO;
		goto out_unlock;
	}
	folio_unlock(folio);

	rc = folio_test_large(folio) ? -EBUSY : move_home(folio, promotion->home, gfp);
	if (rc >= 0)
		return rc;
	if (rc == -EBUSY && !folio_test_anon(folio))
		rc = copy_home(folio, promotion->home, gfp, killable);
	goto out_put;

out_unlock:
	folio_unlock(folio);
out_put:
	folio_put(folio);
	return rc;
}
EXPORT_SYMBOL_GPL(node_private_promote_page);

/**
 * node_private_promote - have a page leave its private node, by its owner
 * @page: see &node_private_ops.promote
 * @promotion: see &node_private_ops.promote
 *
 * Return: see &node_private_ops.promote, but 0 if any left
 */
int node_private_promote(struct page *page, const struct node_promotion *promotion)
{
	const struct node_private_ops *ops;
	int rc;

	guard(srcu)(&node_private_srcu);
	ops = node_private_ops_of(page_to_nid(page));
	if (ops && ops->promote)
		rc = ops->promote(page, promotion);
	else
		rc = node_private_promote_page(page, promotion);
	if (rc < 0)
		count_vm_event(NODE_PRIVATE_PROMOTE_FAIL);
	return min(rc, 0);
}

/* As node_private_promote(), to where memory at @addr in @vma belongs. */
int node_private_promote_at(struct page *page, struct vm_area_struct *vma,
			    unsigned long addr, enum node_promote_reason reason,
			    struct vm_fault *vmf)
{
	nodemask_t home;
	const struct node_promotion promotion = {
		.home = &home, .reason = reason, .vmf = vmf,
	};

	mpol_ordinary_nodes_at(vma, addr, &home);
	return node_private_promote(page, &promotion);
}

/*
 * mlock
 */
struct home_walk {
	struct list_head folios;
	nodemask_t nodes;	/* where they all belong */
	unsigned long stop;	/* from here on they belong elsewhere */
	bool missed;		/* a folio could not be isolated right now */
	pmd_t *moving;		/* a page that is being moved is mapped here ... */
	unsigned long moving_at;	/* ... at this address */
};

/* Returns 1, for the walk to end here, if the folio belongs elsewhere. */
static int queue_for_home(struct folio *folio, struct vm_area_struct *vma,
			  unsigned long addr, struct home_walk *hw)
{
	nodemask_t nodes;

	if (!folio || !folio_is_private_node(folio))
		return 0;
	/* Parts of shared memory may have policies of their own. */
	mpol_ordinary_nodes_at(vma, addr, &nodes);
	if (list_empty(&hw->folios)) {
		hw->nodes = nodes;
	} else if (!nodes_equal(nodes, hw->nodes)) {
		hw->stop = addr;
		return 1;
	}
	if (folio_isolate_lru(folio)) {
		list_add_tail(&folio->lru, &hw->folios);
		node_stat_add_folio(folio, NR_ISOLATED_ANON + folio_is_file_lru(folio));
		count_vm_events(NODE_PRIVATE_LOCKED_HOME, folio_nr_pages(folio));
	} else {
		hw->missed = true;
	}
	return 0;
}

/* It may be on its way to the private node, from before the mapping was locked. */
static void note_moving(pmd_t *pmd, unsigned long addr, struct home_walk *hw)
{
	hw->moving = pmd;
	hw->moving_at = addr;
}

static int home_pmd_entry(pmd_t *pmd, unsigned long addr, unsigned long end,
			  struct mm_walk *walk)
{
	struct vm_area_struct *vma = walk->vma;
	struct home_walk *hw = walk->private;
	struct folio *folio, *last = NULL;
	pte_t *start_pte, *pte;
	spinlock_t *ptl;	/* of the page table */
	int stop = 0;

	ptl = pmd_trans_huge_lock(pmd, vma);
	if (ptl) {
		if (is_pmd_migration_entry(*pmd))
			note_moving(pmd, addr, hw);
		else if (pmd_present(*pmd) && !is_huge_zero_pmd(*pmd))
			stop = queue_for_home(pmd_folio(*pmd), vma, addr, hw);
		spin_unlock(ptl);
		return stop;
	}

	start_pte = pte_offset_map_lock(walk->mm, pmd, addr, &ptl);
	if (!start_pte) {
		walk->action = ACTION_AGAIN;
		return 0;
	}
	for (pte = start_pte; addr != end && !stop; pte++, addr += PAGE_SIZE) {
		pte_t ptent = ptep_get(pte);

		if (!pte_present(ptent)) {
			if (is_swap_pte(ptent) && is_migration_entry(pte_to_swp_entry(ptent)))
				note_moving(pmd, addr, hw);
			continue;
		}
		folio = vm_normal_folio(vma, addr, ptent);
		if (folio != last)
			stop = queue_for_home(folio, vma, addr, hw);
		last = folio;
	}
	pte_unmap_unlock(start_pte, ptl);
	cond_resched();
	return stop;
}

static const struct mm_walk_ops home_walk_ops = {
	.pmd_entry	= home_pmd_entry,
	.walk_lock	= PGWALK_RDLOCK,
};

/*
 * Bring the pages of the first mapping in [@start, @end) home, if it is locked, or of
 * as much of it as belongs to the same nodes. Returns where to go on.
 */
static unsigned long bring_mapping_home(struct mm_struct *mm, unsigned long start,
					unsigned long end, bool *ret_left)
{
	struct home_walk hw = {};
	struct migration_target_control mtc = {
		.nmask = &hw.nodes,
		.gfp_mask = GFP_HIGHUSER_MOVABLE,
		.reason = MR_SYSCALL,
	};
	struct vm_area_struct *vma;

	INIT_LIST_HEAD(&hw.folios);
	mmap_read_lock(mm);
	vma = find_vma_intersection(mm, start, end);
	if (!vma) {
		mmap_read_unlock(mm);
		return end;
	}
	start = max(start, vma->vm_start);
	end = min(end, vma->vm_end);
	hw.stop = end;
	/* Private nodes hold no hugetlb pages. */
	if ((vma->vm_flags & VM_LOCKED) && !(vma->vm_flags & (VM_IO | VM_PFNMAP)) &&
	    !is_vm_hugetlb_page(vma))
		walk_page_range(mm, start, end, &home_walk_ops, &hw);
	if (hw.moving) {
		pmd_migration_entry_wait(mm, hw.moving);
		migration_entry_wait(mm, hw.moving, hw.moving_at);
	}
	mmap_read_unlock(mm);

	if (hw.missed || hw.moving)
		*ret_left = true;
	if (list_empty(&hw.folios))
		return hw.stop;

	mtc.nid = numa_mem_id();
	if (!node_isset(mtc.nid, hw.nodes))
		mtc.nid = first_node(hw.nodes);
	if (migrate_pages(&hw.folios, alloc_migration_target, NULL,
			  (unsigned long)&mtc, MIGRATE_SYNC, MR_SYSCALL, NULL)) {
		putback_movable_pages(&hw.folios);
		*ret_left = true;
	}
	return hw.stop;
}

/*
 * A locked page is one its owner wants at hand; it has no business on slow or
 * write-protected memory. From the moment that the mapping is marked so, none that is
 * mapped there comes any more, see try_to_migrate(), but some may be on their way.
 * Returns 0, -EAGAIN if some page stayed behind, or -EINTR.
 */
int __node_private_bring_home(unsigned long start, unsigned long end)
{
	struct mm_struct *mm = current->mm;
	unsigned long addr;
	int tries = 10;
	bool left;

	if (nodes_empty(node_states[N_MEMORY_PRIVATE]))
		return 0;

	for (;;) {
		left = false;
		for (addr = start; addr < end;)
			addr = bring_mapping_home(mm, addr, end, &left);
		if (!left)
			return 0;
		if (!--tries)
			return -EAGAIN;
		/* Pages in flight to an LRU list can be isolated afterwards. */
		lru_add_drain_all();
		if (schedule_timeout_killable(1) && fatal_signal_pending(current))
			return -EINTR;
	}
}

/**
 * node_private_copy_home - what to map of a page in the swap cache where memory is locked
 * @page: the page, locked, on a private node
 * @vma: the locked mapping
 * @addr: where in it
 *
 * Nobody maps the page here, and it may be pinned: a copy is as good as moving it. The
 * swap cache's own goes when no swap entry is for it any more.
 *
 * Return: as ksm_might_need_to_copy(): a locked, charged copy; the page's own folio, for
 * the caller to report that it is not up to date; NULL; -EHWPOISON; or -EAGAIN, to fault
 * again.
 */
struct folio *node_private_copy_home(struct page *page, struct vm_area_struct *vma,
				     unsigned long addr)
{
	struct folio *copy;
	int rc;

	if (PageHWPoison(page))
		return ERR_PTR(-EHWPOISON);
	if (!folio_test_uptodate(page_folio(page)))
		return page_folio(page);
	copy = vma_alloc_folio(GFP_HIGHUSER_MOVABLE, 0, vma, addr, false);
	if (!copy)
		return NULL;
	if (mem_cgroup_charge(copy, vma->vm_mm, GFP_KERNEL)) {
		folio_put(copy);
		return NULL;
	}
	rc = copy_mc_user_highpage(folio_page(copy, 0), page, addr, vma) ?
	     -EHWPOISON : node_private_verify_fault(page, folio_page(copy, 0));
	if (rc) {
		folio_put(copy);
		return ERR_PTR(rc);
	}
	folio_set_dirty(copy);
	__folio_mark_uptodate(copy);
	__folio_set_locked(copy);
	count_vm_event(NODE_PRIVATE_LOCKED_HOME);
	return copy;
}
