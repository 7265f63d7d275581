/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Private memory nodes: NUMA nodes whose memory belongs to one driver.
 *
 * The pages of such a node are ordinary pages in an ordinary buddy allocator,
 * in ZONE_MOVABLE, but its zones are on nobody's zonelist except the node's
 * own ZONELIST_PRIVATE, which only __GFP_PRIVATE selects. Everything else that
 * might act on its pages asks one of the predicates below first; the answer is
 * no unless the driver opted in. None of it costs anything until a node is
 * registered: the predicates hide behind a static key.
 *
 * This header is for mm services (the predicates) and for drivers that own
 * such a node (registration and operations). What a driver does with its
 * memory is not its business.
 */
#ifndef _LINUX_NODE_PRIVATE_H
#define _LINUX_NODE_PRIVATE_H

#include <linux/jump_label.h>
#include <linux/memory_hotplug.h>
#include <linux/migrate_mode.h>
#include <linux/mm.h>
#include <linux/mmzone.h>
#include <linux/nodemask.h>
#include <linux/vmstat.h>

/* Services a driver may open its node to */
#define NP_OPS_MIGRATION	BIT(0)	/* move_pages(), migrate_pages() and kin */
#define NP_OPS_MEMPOLICY	BIT(1)	/* MPOL_BIND may name the node */
#define NP_OPS_DEMOTION		BIT(2)	/* a demotion target of reclaim */
#define NP_OPS_PROTECT_WRITE	BIT(3)	/* mappings are read-only */
#define NP_OPS_RECLAIM		BIT(4)	/* reclaim frees its pages */
#define NP_OPS_OOM		BIT(5)	/* counts as memory for the OOM killer */
#define NP_OPS_NUMA_BALANCING	BIT(6)	/* NUMA hinting faults */
#define NP_OPS_COMPACTION	BIT(7)	/* compaction works within the node */
#define NP_OPS_LONGTERM_PIN	BIT(8)	/* FOLL_LONGTERM pins stay in place */
/* Services that honour their flag. The rest is refused rather than ignored. */
#define NP_OPS_SUPPORTED	(NP_OPS_MIGRATION | NP_OPS_MEMPOLICY |	\
				 NP_OPS_NUMA_BALANCING | NP_OPS_COMPACTION |	\
				 NP_OPS_RECLAIM | NP_OPS_DEMOTION |		\
				 NP_OPS_PROTECT_WRITE | NP_OPS_OOM)

/**
 * struct node_reclaim_policy - how far reclaim of a private node goes
 * @keep_free: pages that the node's kswapd keeps free, on top of what its
 *	watermarks ask for; 0 unless the owner says otherwise
 */
struct node_reclaim_policy {
	unsigned long keep_free;
};

/**
 * struct node_private_ops - what the owner of a private node wants and offers
 * @free_folio: a block of 2^@order pages has been freed and wiped of its page
 *	state, or is coming online, and would go to the buddy allocator now.
 *	Returns true to keep it; the owner gives it back later with
 *	node_private_put_pages(). Memory with kept pages can go offline only if
 *	the owner makes them PageOffline and takes them out of the zone's
 *	managed pages, with adjust_managed_page_count(), and undoes both first
 *	when it gives them back.
 *	Any context, interrupts may be off; must not sleep or allocate.
 * @folio_split: @folio on the node has been split and @new_folio is one of the
 *	parts. Called under the folio lock with interrupts off.
 * @migrate_to: move the isolated folios on the list to node @nid. Those that
 *	did not move are left on the list. Returns the number of folios not
 *	moved or -errno, as migrate_pages() does, and the number of pages moved
 *	through @ret_succeeded. May sleep. node_private_migrate_folios() is a
 *	complete implementation for a node that takes every folio.
 * @folio_migrate: the contents of @src have been copied to @dst, and no page
 *	table maps either yet. Called for the node of @src and for that of
 *	@dst. Both folios are locked; may sleep.
 * @handle_fault: somebody writes to vmf->page, a page of @folio, on a node with
 *	PROTECT_WRITE. Uses up a reference to @folio. Returns 0 for the access to
 *	be tried again, VM_FAULT_FALLBACK if the folio cannot move for now, or
 *	VM_FAULT_ERROR bits. May sleep, but must not release the locks of the
 *	fault. Optional: node_private_promote() is complete, and what is called
 *	if there is none.
 * @reclaim_policy: fill in @policy for reclaim of node @nid; optional, needs
 *	RECLAIM. Asked each time reclaim looks whether the node has enough free
 *	memory: must be quick and must not sleep. When the answer has changed,
 *	node_private_wake_reclaim() makes reclaim look again.
 * @memory_failure: the page at @pfn has failed. For information only: @folio is
 *	what the page is part of at the moment, if of anything, and may be freed
 *	any time. May sleep. Soft offline is not a failure and not told.
 * @flags: NP_OPS_*
 *
 * The structure must stay valid until node_private_clear_ops() has returned.
 */
struct node_private_ops {
	bool (*free_folio)(struct page *page, unsigned int order);
	void (*folio_split)(struct folio *folio, struct folio *new_folio);
	int (*migrate_to)(struct list_head *folios, int nid,
			  enum migrate_mode mode, enum migrate_reason reason,
			  unsigned int *ret_succeeded);
	void (*folio_migrate)(struct folio *src, struct folio *dst);
	vm_fault_t (*handle_fault)(struct folio *folio, struct vm_fault *vmf);
	void (*reclaim_policy)(int nid, struct node_reclaim_policy *policy);
	void (*memory_failure)(struct folio *folio, unsigned long pfn,
			       int mf_flags);
	unsigned long flags;
};

/**
 * struct node_private - one driver's claim to one node
 * @owner: identifies the driver; not NULL, otherwise of no meaning here
 * @offline_timeout_ms: how long offline_and_remove_private_memory() waits for
 *	the node's pages to move or be freed; 0 means 30 seconds
 *
 * Allocated by the driver, zeroed, for one node, and not to be freed before
 * node_private_unregister() or the last offline_and_remove_private_memory() has
 * succeeded. The rest is internal.
 */
struct node_private {
	void *owner;
	unsigned int offline_timeout_ms;

	const struct node_private_ops __rcu *ops;
	struct task_struct *adding;
	unsigned long offline_deadline;
	bool offlining;
	bool implicit;
	bool registered;
};

#ifdef CONFIG_NODE_PRIVATE

DECLARE_STATIC_KEY_FALSE(node_private_key);

/* Internal bit of pgdat->private_flags: the node is registered. */
#define NP_REGISTERED		BIT(31)

/* Is there any private node at all? */
static inline bool node_private_enabled(void)
{
	return static_branch_unlikely(&node_private_key);
}

static inline unsigned long node_private_flags(int nid)
{
	if (!node_private_enabled())
		return 0;
	return READ_ONCE(NODE_DATA(nid)->private_flags);
}

/* Is @nid owned by a driver? Says nothing about memory being online on it. */
static inline bool node_is_private(int nid)
{
	return node_private_flags(nid);
}

static inline bool folio_is_private_node(const struct folio *folio)
{
	return node_is_private(folio_nid(folio));
}

/* Must frames of node @nid not be written by their users? */
static inline bool node_is_fenced(int nid)
{
	return node_private_flags(nid) & NP_OPS_PROTECT_WRITE;
}

static inline bool folio_is_fenced(const struct folio *folio)
{
	return node_is_fenced(folio_nid(folio));
}

/* May a service that needs opt-in @flag work on node @nid? */
static inline bool node_allows(int nid, unsigned long flag)
{
	unsigned long flags = node_private_flags(nid);

	return likely(!flags) || (flags & flag);
}

static inline bool folio_node_allows(const struct folio *folio,
				     unsigned long flag)
{
	return node_allows(folio_nid(folio), flag);
}

/* Registration and operations: for drivers, may sleep */
int node_private_register(int nid, struct node_private *np);
int node_private_unregister(int nid);
int node_private_set_ops(int nid, const struct node_private_ops *ops);
int node_private_clear_ops(int nid, const struct node_private_ops *ops);
int node_private_migrate_folios(struct list_head *folios, int nid,
				enum migrate_mode mode,
				enum migrate_reason reason,
				unsigned int *ret_succeeded);
vm_fault_t node_private_promote(struct folio *folio, struct vm_fault *vmf);
void node_private_put_pages(struct page *page, unsigned int order);
void node_private_wake_reclaim(int nid);
int add_private_memory_driver_managed(int nid, u64 start, u64 size,
				      const char *resource_name,
				      mhp_t mhp_flags, int online_type,
				      struct node_private *np);
int offline_and_remove_private_memory(int nid, u64 start, u64 size);

/* Allocation: for the page allocator */
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

/* Which node state does memory on @nid give it? */
static inline enum node_states node_memory_state(int nid)
{
	return node_is_private(nid) ? N_MEMORY_PRIVATE : N_MEMORY;
}

/* Reporting: free pages that an allocation without __GFP_PRIVATE can get */
unsigned long __node_ordinary_free_pages(void);

static inline unsigned long node_ordinary_free_pages(void)
{
	if (!node_private_enabled())
		return global_zone_page_state(NR_FREE_PAGES);
	return __node_ordinary_free_pages();
}

/* Pages that the OOM killer counts, on those of @nodes if not NULL */
unsigned long __node_private_oom_pages(const nodemask_t *nodes);

static inline unsigned long node_private_oom_pages(const nodemask_t *nodes)
{
	if (!node_private_enabled())
		return 0;
	return __node_private_oom_pages(nodes);
}

/* Callbacks */
bool __node_private_free_folio(struct page *page, unsigned int order);
void __node_private_folio_split(struct folio *folio, struct folio *new_folio);
void __node_private_folio_migrate(struct folio *src, struct folio *dst);
void __node_private_memory_failure(struct folio *folio, unsigned long pfn,
				   int mf_flags);

static inline bool node_private_free_folio(struct page *page,
					   unsigned int order)
{
	return node_private_enabled() &&
	       __node_private_free_folio(page, order);
}

static inline void node_private_folio_split(struct folio *folio,
					    struct folio *new_folio)
{
	if (folio_is_private_node(folio))
		__node_private_folio_split(folio, new_folio);
}

static inline void node_private_folio_migrate(struct folio *src,
					      struct folio *dst)
{
	if (node_private_enabled())
		__node_private_folio_migrate(src, dst);
}

static inline void node_private_memory_failure(struct page *page,
					       unsigned long pfn, int mf_flags)
{
	if (node_is_private(page_to_nid(page)))
		__node_private_memory_failure(page_folio(page), pfn, mf_flags);
}

/*
 * The write fence. Whatever page table entry is made for a page, or changed, goes
 * through here last; an entry for a fenced frame loses the right to write.
 */
pte_t __node_private_fence_pte(pte_t pte);
pmd_t __node_private_fence_pmd(pmd_t pmd);
vm_fault_t node_private_write_fault(struct vm_fault *vmf, struct folio *folio);
int node_private_promote_page(struct page *page, const nodemask_t *home);

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

/* Reclaim: pages to keep free on @nid on top of its watermarks */
unsigned long __node_private_keep_free(int nid);

static inline unsigned long node_private_keep_free(int nid)
{
	if (!(node_private_flags(nid) & NP_OPS_RECLAIM))
		return 0;
	return __node_private_keep_free(nid);
}

/* Demotion, for reclaim of ordinary nodes */
int __node_private_demotion_node(int nid);
unsigned int node_private_demote(struct list_head *folios, int nid);
bool node_private_may_enter(struct folio *folio);

static inline int node_private_demotion_node(int nid)
{
	if (!node_private_enabled())
		return NUMA_NO_NODE;
	return __node_private_demotion_node(nid);
}

/* Migration and memory policy */
int node_private_migrate_to(struct list_head *folios, int nid,
			    enum migrate_mode mode, enum migrate_reason reason);
int __node_private_bring_home(unsigned long start, unsigned long end);
struct folio *node_private_alloc_folio(const nodemask_t *nodes, gfp_t gfp,
				       unsigned int order);

/* Bring the mlocked pages in a range of current->mm back to ordinary memory. */
static inline int node_private_bring_home(unsigned long start,
					  unsigned long end)
{
	if (!node_private_enabled())
		return 0;
	return __node_private_bring_home(start, end);
}

#else /* !CONFIG_NODE_PRIVATE */

static inline bool node_private_enabled(void)
{
	return false;
}

static inline unsigned long node_private_flags(int nid)
{
	return 0;
}

static inline bool node_is_private(int nid)
{
	return false;
}

static inline bool folio_is_private_node(const struct folio *folio)
{
	return false;
}

static inline bool node_is_fenced(int nid)
{
	return false;
}

static inline bool folio_is_fenced(const struct folio *folio)
{
	return false;
}

static inline bool node_allows(int nid, unsigned long flag)
{
	return true;
}

static inline bool folio_node_allows(const struct folio *folio,
				     unsigned long flag)
{
	return true;
}

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

static inline enum node_states node_memory_state(int nid)
{
	return N_MEMORY;
}

static inline unsigned long node_ordinary_free_pages(void)
{
	return global_zone_page_state(NR_FREE_PAGES);
}

static inline unsigned long node_private_oom_pages(const nodemask_t *nodes)
{
	return 0;
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

static inline void node_private_folio_migrate(struct folio *src,
					      struct folio *dst)
{
}

static inline void node_private_memory_failure(struct page *page,
					       unsigned long pfn, int mf_flags)
{
}

static inline pte_t node_private_fence_pte(pte_t pte)
{
	return pte;
}

static inline pmd_t node_private_fence_pmd(pmd_t pmd)
{
	return pmd;
}

static inline vm_fault_t node_private_write_fault(struct vm_fault *vmf,
						  struct folio *folio)
{
	return VM_FAULT_SIGBUS;
}

static inline unsigned long node_private_keep_free(int nid)
{
	return 0;
}

static inline int node_private_demotion_node(int nid)
{
	return NUMA_NO_NODE;
}

static inline unsigned int node_private_demote(struct list_head *folios, int nid)
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

static inline struct folio *node_private_alloc_folio(const nodemask_t *nodes,
						     gfp_t gfp,
						     unsigned int order)
{
	return NULL;
}

static inline int node_private_bring_home(unsigned long start,
					  unsigned long end)
{
	return 0;
}

#endif /* CONFIG_NODE_PRIVATE */

/* Has @nid memory, of whichever kind? Any number below MAX_NUMNODES will do. */
static inline bool node_has_memory(int nid)
{
	return node_state(nid, N_MEMORY) || node_state(nid, N_MEMORY_PRIVATE);
}

#endif /* _LINUX_NODE_PRIVATE_H */
