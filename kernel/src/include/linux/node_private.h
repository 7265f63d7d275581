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
 * This header is for drivers that own such a node. What mm services call is in
 * mm/node_private.h. What a driver does with its memory is not its business.
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

struct mem_cgroup;

/* Services a driver may open its node to */
#define NP_OPS_MIGRATION	BIT(0)	/* move_pages(), migrate_pages() and kin */
#define NP_OPS_MEMPOLICY	BIT(1)	/* MPOL_BIND may name the node */
#define NP_OPS_DEMOTION		BIT(2)	/* a demotion target of reclaim */
#define NP_OPS_PROTECT_WRITE	BIT(3)	/* mappings are read-only */
#define NP_OPS_RECLAIM		BIT(4)	/* reclaim frees its pages */
#define NP_OPS_OOM		BIT(5)	/* counts as memory for the OOM killer */
#define NP_OPS_NUMA_BALANCING	BIT(6)	/* NUMA hinting faults */
#define NP_OPS_COMPACTION	BIT(7)	/* compaction works within the node */
/* Services that honour their flag. The rest is refused rather than ignored. */
#define NP_OPS_SUPPORTED	(NP_OPS_MIGRATION |		\
				 NP_OPS_MEMPOLICY |		\
				 NP_OPS_DEMOTION |		\
				 NP_OPS_PROTECT_WRITE |		\
				 NP_OPS_RECLAIM |		\
				 NP_OPS_OOM |			\
				 NP_OPS_NUMA_BALANCING |	\
				 NP_OPS_COMPACTION)

/**
 * enum node_promote_reason - why a page has to leave a private node
 * @NODE_PROMOTE_FAULT: somebody writes to it through a page table
 * @NODE_PROMOTE_WRITE: the kernel writes to it as part of a file
 * @NODE_PROMOTE_TRUNCATE: the kernel zeroes a part of it that a file loses, which
 *	cannot fail but with -EIO, and does not give up for a signal
 * @NODE_PROMOTE_LOCKED: it is mapped where memory is locked, see mlock()
 */
enum node_promote_reason {
	NODE_PROMOTE_FAULT,
	NODE_PROMOTE_WRITE,
	NODE_PROMOTE_TRUNCATE,
	NODE_PROMOTE_LOCKED,
};

/**
 * struct node_promotion - that a page has to leave a private node
 * @home: ordinary nodes, to one of which it goes
 * @reason: why
 * @vmf: the write fault of whoever needs it, if that is at what seems the only entry
 *	of a page table to map the page; no page table lock is held. Otherwise NULL
 */
struct node_promotion {
	const nodemask_t *home;
	enum node_promote_reason reason;
	struct vm_fault *vmf;
};

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
 *	Returns true to keep it, after node_private_keep_pages(); the owner
 *	gives it back later, whole or in parts, with node_private_put_pages().
 *	Any context, interrupts may be off; must not sleep or allocate.
 *	What is free on such a node is what its owner gave out, so all of it can
 *	be allocated, by one page, and nothing else is missing there: zones have
 *	no watermarks, processors keep no lists of free pages, the count of free
 *	pages is exact, no kswapd runs, and an allocation with __GFP_PRIVATE
 *	neither reclaims nor reaches for reserves. Nobody writes to a frame that
 *	is free or being freed: init_on_free, init_on_alloc and page poisoning
 *	pass the node by, and only __GFP_ZERO zeroes. As this holds for frames
 *	and not for the moment, the callback comes and goes with the memory, like
 *	PROTECT_WRITE. Excludes @reclaim_policy.
 * @folio_split: @folio on the node has been split and @new_folio is one of the
 *	parts. Called under the folio lock with interrupts off.
 * @migrate_to: move the isolated folios on the list to node @nid. Those that
 *	did not move are left on the list. Returns the number of folios not
 *	moved or -errno, as migrate_pages() does, and the number of pages moved
 *	through @ret_succeeded. May sleep. node_private_migrate_folios() is a
 *	complete implementation for a node that takes every folio.
 * @folio_migrate: the contents of @src have been copied to @dst, and no page
 *	table maps either yet. Called for the node of @src and for that of
 *	@dst. Both folios are locked; may sleep. Optional. @dst is charged to
 *	its cgroup by then, folio_memcg(), unless nobody is. A @dst that @src was
 *	promoted to in a fault may be mapped already.
 * @verify: the @nr pages from @copy on are what was read of pages on node @nid, to be
 *	used in their stead. May be those pages themselves, that are about to be
 *	written to swap. Returns 0; -EIO if their contents are lost; -EAGAIN if
 *	it cannot be said now, for a while. Unless 0, @copy is not used, and the
 *	pages stay. May sleep. Optional: for memory that can be taken away without
 *	a word. With PROTECT_WRITE it needs @promote, which waits while it is
 *	-EAGAIN.
 * @folio_uncharge: the cgroup of @folio on the node, folio_memcg(), gives up its
 *	charge: the folio has been freed, or has moved and left the charge to
 *	the folio that it moved to. Told once for each folio that was charged
 *	when it came, or for each of its parts. Any context, interrupts may be
 *	off; must not sleep or allocate. Optional.
 * @may_demote: would the node take pages of the cgroup @memcg from reclaim now, or
 *	pages of any if @memcg is NULL? Asked before reclaim sets pages aside for
 *	the node, in place of node_private_has_room(). Pages that are not set
 *	aside are reclaimed as if there were no such node, and so are those that
 *	@migrate_to leaves on its list. Any
 *	context; must be quick and must not sleep. Optional, needs DEMOTION.
 * @promote: have @page, which must not stay, leave for an ordinary node, as
 *	@promotion says. Uses up a reference to its folio. Returns how many pages
 *	have left, @page among them, or 0 if somebody else was at it: whoever needs
 *	it looks for it again; -EBUSY if
 *	it cannot leave now, which is so for anonymous memory, of which a copy
 *	will do, and without PROTECT_WRITE for what may be written to by a
 *	device; -EIO if the page has failed; -ENOMEM; -EINTR if the caller is
 *	being killed. Of the errors only -EIO with NODE_PROMOTE_TRUNCATE. May
 *	sleep, but must not release locks of a fault.
 *	Optional: node_private_promote_page() is complete, and what is called if
 *	there is none. Needs PROTECT_WRITE.
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
	int (*verify)(int nid, struct page *copy, unsigned long nr);
	void (*folio_uncharge)(struct folio *folio);
	bool (*may_demote)(int nid, struct mem_cgroup *memcg);
	int (*promote)(struct page *page, const struct node_promotion *promotion);
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

	/* private: */
	const struct node_private_ops __rcu *ops;
	struct task_struct *adding;
	unsigned long offline_deadline;
	bool offlining;
	bool implicit;
	bool registered;
};

#ifdef CONFIG_NODE_PRIVATE

/* Registration and operations: may sleep */
int node_private_register(int nid, struct node_private *np);
int node_private_unregister(int nid);
int node_private_set_ops(int nid, const struct node_private_ops *ops);
int node_private_clear_ops(int nid, const struct node_private_ops *ops);
int add_private_memory_driver_managed(int nid, u64 start, u64 size,
				      const char *resource_name,
				      mhp_t mhp_flags, int online_type,
				      struct node_private *np);
int offline_and_remove_private_memory(int nid, u64 start, u64 size);

/* For operations, and for owners at any time */
void node_private_keep_pages(struct page *page, unsigned int order);
void node_private_put_pages(struct page *page, unsigned int order);
bool node_private_has_room(int nid);
int node_private_migrate_folios(struct list_head *folios, int nid,
				enum migrate_mode mode,
				enum migrate_reason reason,
				unsigned int *ret_succeeded);
int node_private_promote_page(struct page *page,
			      const struct node_promotion *promotion);
void node_private_wake_reclaim(int nid);

DECLARE_STATIC_KEY_FALSE(node_private_key);

/* Internal bits of pgdat->private_flags: the node is registered */
#define NP_REGISTERED		BIT(31)
/* and its owner keeps what is free: there is a free_folio */
#define NP_KEEPS_FRAMES		BIT(30)

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

/* Pages that the OOM killer counts, on those of @nodes if not NULL */
unsigned long __node_private_oom_pages(const nodemask_t *nodes);

static inline unsigned long node_private_oom_pages(const nodemask_t *nodes)
{
	if (!node_private_enabled())
		return 0;
	return __node_private_oom_pages(nodes);
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

static inline unsigned long node_private_oom_pages(const nodemask_t *nodes)
{
	return 0;
}

#endif /* CONFIG_NODE_PRIVATE */

/* Is @nid owned by a driver? Says nothing about memory being online on it. */
static inline bool node_is_private(int nid)
{
	return node_private_flags(nid);
}

static inline bool folio_is_private_node(const struct folio *folio)
{
	return node_is_private(folio_nid(folio));
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

/* Must the frames of node @nid not be written by their users? */
static inline bool node_is_fenced(int nid)
{
	return node_private_flags(nid) & NP_OPS_PROTECT_WRITE;
}

/* Must the frame of @page? For now a whole node is fenced or not. */
static inline bool page_is_fenced(const struct page *page)
{
	return node_is_fenced(page_to_nid(page));
}

/* Must any of its frames? */
static inline bool folio_is_fenced(const struct folio *folio)
{
	return node_is_fenced(folio_nid(folio));
}

/* Which node state does memory on @nid give it? */
static inline enum node_states node_memory_state(int nid)
{
	return node_is_private(nid) ? N_MEMORY_PRIVATE : N_MEMORY;
}

/* Has @nid memory, of whichever kind? Any number below MAX_NUMNODES will do. */
static inline bool node_has_memory(int nid)
{
	return node_state(nid, N_MEMORY) || node_state(nid, N_MEMORY_PRIVATE);
}

#endif /* _LINUX_NODE_PRIVATE_H */
