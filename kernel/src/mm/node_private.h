/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Private memory nodes: what mm services ask and tell. Drivers have
 * include/linux/node_private.h.
 */
#ifndef __MM_NODE_PRIVATE_H
#define __MM_NODE_PRIVATE_H

#include <linux/node_private.h>

#ifdef CONFIG_NODE_PRIVATE

/* node_private.c: operations, for callers in an RCU or SRCU read-side section */
extern struct srcu_struct node_private_srcu;
const struct node_private_ops *node_private_ops_of(int nid);

/* Allocation */
gfp_t __node_private_gfp(gfp_t gfp, int nid);

static inline gfp_t node_private_gfp(gfp_t gfp, int nid)
{
	if (node_private_enabled() && (gfp & __GFP_PRIVATE))
		return __node_private_gfp(gfp, nid);
	return gfp;
}

/* Hotplug */
int node_private_check_add(int nid);
bool node_private_offline_expired(int nid);

/* Reporting: free pages that an allocation without __GFP_PRIVATE can get */
unsigned long __node_ordinary_free_pages(void);

static inline unsigned long node_ordinary_free_pages(void)
{
	if (!node_private_enabled())
		return global_zone_page_state(NR_FREE_PAGES);
	return __node_ordinary_free_pages();
}

/*
 * Frames on their way to the buddy allocator, and back: does the owner of @nid keep
 * those that are free?
 */
static inline bool node_keeps_frames(int nid)
{
	return node_private_flags(nid) & NP_KEEPS_FRAMES;
}

/* The same for hot paths, where it is asked only if something else is unusual. */
static inline bool page_is_keepable(const struct page *page)
{
	return node_keeps_frames(page_to_nid(page));
}

bool __node_private_free_folio(struct page *page, unsigned int order);

static inline bool node_private_free_folio(struct page *page,
					   unsigned int order)
{
	return node_private_enabled() &&
	       __node_private_free_folio(page, order);
}

/* Split */
void __node_private_folio_split(struct folio *folio, struct folio *new_folio);

static inline void node_private_folio_split(struct folio *folio,
					    struct folio *new_folio)
{
	if (folio_is_private_node(folio))
		__node_private_folio_split(folio, new_folio);
}

/* Failed memory */
void __node_private_memory_failure(struct folio *folio, unsigned long pfn,
				   int mf_flags);

static inline void node_private_memory_failure(struct page *page,
					       unsigned long pfn, int mf_flags)
{
	if (node_is_private(page_to_nid(page)))
		__node_private_memory_failure(page_folio(page), pfn, mf_flags);
}

/* The cgroup of a folio gives up its charge */
void __node_private_folio_uncharge(struct folio *folio);

static inline void node_private_folio_uncharge(struct folio *folio)
{
	if (folio_is_private_node(folio))
		__node_private_folio_uncharge(folio);
}

/* The same of a batch, which costs one test while there is no private node. */
void __node_private_uncharge_folios(const struct folio_batch *folios);

static inline void node_private_uncharge_folios(const struct folio_batch *folios)
{
	if (node_private_enabled())
		__node_private_uncharge_folios(folios);
}

/* Reclaim: where free pages are what the owner gave out, none can be short. */
static inline bool node_wants_kswapd(int nid)
{
	return node_allows(nid, NP_OPS_RECLAIM) && !node_keeps_frames(nid);
}

/* Pages to keep free on @nid on top of its watermarks */
unsigned long __node_private_keep_free(int nid);

static inline unsigned long node_private_keep_free(int nid)
{
	if (!(node_private_flags(nid) & NP_OPS_RECLAIM))
		return 0;
	return __node_private_keep_free(nid);
}

/* node_private_migrate.c: migration on request */
bool node_private_may_enter(struct folio *folio);
int node_private_migrate_to(struct list_head *folios, int nid,
			    enum migrate_mode mode, enum migrate_reason reason);
void __node_private_folio_migrate(struct folio *src, struct folio *dst);

static inline void node_private_folio_migrate(struct folio *src,
					      struct folio *dst)
{
	if (node_private_enabled())
		__node_private_folio_migrate(src, dst);
}

/* Is @copy what was on the node of @folio? See &node_private_ops.verify. */
int __node_private_verify(int nid, struct page *copy, unsigned long nr);

static inline int node_private_verify(const struct folio *folio, struct page *copy,
				      unsigned long nr)
{
	if (!folio_is_private_node(folio))
		return 0;
	return __node_private_verify(folio_nid(folio), copy, nr);
}

/*
 * As node_private_verify(), for a fault that maps @copy in place of @page: 0; -EHWPOISON
 * if that is lost; -EAGAIN, to fault again, if it cannot be said now.
 */
static inline int node_private_verify_fault(struct page *page, struct page *copy)
{
	int rc = node_private_verify(page_folio(page), copy, 1);

	return rc == -EIO ? -EHWPOISON : rc;
}

/* Memory policy */
struct folio *node_private_alloc_folio(const nodemask_t *nodes, gfp_t gfp,
				       unsigned int order);

/* Demotion, for reclaim of ordinary nodes */
int __node_private_demotion_node(int nid, struct mem_cgroup *memcg);
unsigned int node_private_demote(struct list_head *folios, int nid);

static inline int node_private_demotion_node(int nid, struct mem_cgroup *memcg)
{
	if (!node_private_enabled())
		return NUMA_NO_NODE;
	return __node_private_demotion_node(nid, memcg);
}

/* Promotion: what must not stay, for whichever reason */
int node_private_promote(struct page *page, const struct node_promotion *promotion);
int node_private_promote_at(struct page *page, struct vm_area_struct *vma,
			    unsigned long addr, enum node_promote_reason reason,
			    struct vm_fault *vmf);

/* Home: the ordinary nodes that memory belongs on, by policy */
void mpol_ordinary_nodes(const struct mempolicy *pol, nodemask_t *ret_nodes);
void mpol_ordinary_nodes_at(struct vm_area_struct *vma, unsigned long addr,
			    nodemask_t *ret_nodes);

/* mlock */
int __node_private_bring_home(unsigned long start, unsigned long end);

/* Bring the mlocked pages in a range of current->mm back to ordinary memory. */
static inline int node_private_bring_home(unsigned long start,
					  unsigned long end)
{
	if (!node_private_enabled())
		return 0;
	return __node_private_bring_home(start, end);
}

/* Does @folio belong elsewhere because @vma, which is to map it, is locked? */
static inline bool node_private_locked_out(const struct folio *folio,
					   const struct vm_area_struct *vma)
{
	return folio_is_private_node(folio) && (vma->vm_flags & VM_LOCKED);
}

struct folio *node_private_copy_home(struct page *page, struct vm_area_struct *vma,
				     unsigned long addr);

/*
 * node_private_fence.c: whatever page table entry is made for a page, or changed,
 * goes through here last; an entry for a fenced frame loses the right to write.
 */
pte_t __node_private_fence_pte(pte_t pte);
pmd_t __node_private_fence_pmd(pmd_t pmd);
void __node_private_set_ptes(struct mm_struct *mm, unsigned long addr,
			     pte_t *ptep, pte_t pte, unsigned int nr);
vm_fault_t node_private_fault(struct vm_fault *vmf, enum node_promote_reason reason);

static inline pte_t node_private_fence_pte(pte_t pte)
{
	if (node_private_enabled() && pte_write(pte))
		return __node_private_fence_pte(pte);
	return pte;
}

#ifdef CONFIG_TRANSPARENT_HUGEPAGE
static inline pmd_t node_private_fence_pmd(pmd_t pmd)
{
	if (node_private_enabled() && pmd_write(pmd))
		return __node_private_fence_pmd(pmd);
	return pmd;
}
#endif

/* As set_ptes(), for pages of which some may be fenced and others not. */
static inline void node_private_set_ptes(struct mm_struct *mm, unsigned long addr,
					 pte_t *ptep, pte_t pte, unsigned int nr)
{
	if (node_private_enabled() && pte_write(pte))
		__node_private_set_ptes(mm, addr, ptep, pte, nr);
	else
		set_ptes(mm, addr, ptep, pte, nr);
}

#else /* !CONFIG_NODE_PRIVATE */

static inline gfp_t node_private_gfp(gfp_t gfp, int nid)
{
	return gfp;
}

static inline int node_private_check_add(int nid)
{
	return 0;
}

static inline bool node_private_offline_expired(int nid)
{
	return false;
}

static inline unsigned long node_ordinary_free_pages(void)
{
	return global_zone_page_state(NR_FREE_PAGES);
}

static inline bool node_keeps_frames(int nid)
{
	return false;
}

static inline bool page_is_keepable(const struct page *page)
{
	return false;
}

static inline bool node_private_free_folio(struct page *page,
					   unsigned int order)
{
	return false;
}

static inline void node_private_folio_split(struct folio *folio,
					    struct folio *new_folio)
{
}

static inline void node_private_memory_failure(struct page *page,
					       unsigned long pfn, int mf_flags)
{
}

static inline void node_private_folio_uncharge(struct folio *folio)
{
}

static inline void node_private_uncharge_folios(const struct folio_batch *folios)
{
}

static inline bool node_wants_kswapd(int nid)
{
	return true;
}

static inline unsigned long node_private_keep_free(int nid)
{
	return 0;
}

static inline bool node_private_may_enter(struct folio *folio)
{
	return false;
}

static inline int node_private_migrate_to(struct list_head *folios, int nid,
					  enum migrate_mode mode,
					  enum migrate_reason reason)
{
	return -EINVAL;
}

static inline void node_private_folio_migrate(struct folio *src,
					      struct folio *dst)
{
}

static inline int node_private_verify(const struct folio *folio, struct page *copy,
				      unsigned long nr)
{
	return 0;
}

static inline int node_private_verify_fault(struct page *page, struct page *copy)
{
	return 0;
}

static inline struct folio *node_private_alloc_folio(const nodemask_t *nodes,
						     gfp_t gfp,
						     unsigned int order)
{
	return NULL;
}

static inline int node_private_demotion_node(int nid, struct mem_cgroup *memcg)
{
	return NUMA_NO_NODE;
}

static inline unsigned int node_private_demote(struct list_head *folios, int nid)
{
	return 0;
}

static inline int node_private_promote(struct page *page,
				       const struct node_promotion *promotion)
{
	return -EINVAL;
}

static inline int node_private_promote_at(struct page *page,
					  struct vm_area_struct *vma,
					  unsigned long addr,
					  enum node_promote_reason reason,
					  struct vm_fault *vmf)
{
	return -EINVAL;
}

static inline int node_private_bring_home(unsigned long start,
					  unsigned long end)
{
	return 0;
}

static inline bool node_private_locked_out(const struct folio *folio,
					   const struct vm_area_struct *vma)
{
	return false;
}

static inline struct folio *node_private_copy_home(struct page *page,
						   struct vm_area_struct *vma,
						   unsigned long addr)
{
	return NULL;
}

static inline pte_t node_private_fence_pte(pte_t pte)
{
	return pte;
}

static inline pmd_t node_private_fence_pmd(pmd_t pmd)
{
	return pmd;
}

static inline void node_private_set_ptes(struct mm_struct *mm, unsigned long addr,
					 pte_t *ptep, pte_t pte, unsigned int nr)
{
	set_ptes(mm, addr, ptep, pte, nr);
}

static inline vm_fault_t node_private_fault(struct vm_fault *vmf,
					    enum node_promote_reason reason)
{
	return VM_FAULT_SIGBUS;
}

#endif /* CONFIG_NODE_PRIVATE */

#endif /* __MM_NODE_PRIVATE_H */
