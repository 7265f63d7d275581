// SPDX-License-Identifier: GPL-2.0-only
/*
 * Private memory nodes: registration, operations, hotplug and callbacks.
 *
 * Isolation itself is not here. It is a property of the zonelists, see
 * build_thisnode_zonelists() and gfp_zonelist(), and so holds whatever this
 * file does. See include/linux/node_private.h for the interface.
 *
 * Locking: device_hotplug_lock covers the claim to a node and its operations, as
 * well as adding, onlining, offlining and removing its memory. Callbacks that must
 * not sleep run under RCU, the others under node_private_srcu.
 */
#define pr_fmt(fmt) "node_private: " fmt

#include <linux/cleanup.h>
#include <linux/device.h>
#include <linux/export.h>
#include <linux/memory.h>
#include <linux/memory_hotplug.h>
#include <linux/mmzone.h>
#include <linux/node_private.h>
#include <linux/srcu.h>

#include "internal.h"

#define OFFLINE_TIMEOUT_MS	(30 * MSEC_PER_SEC)

DEFINE_SRCU(node_private_srcu);
DEFINE_LOCK_GUARD_0(device_hotplug, lock_device_hotplug(), unlock_device_hotplug());

DEFINE_STATIC_KEY_FALSE(node_private_key);
EXPORT_SYMBOL_GPL(node_private_key);

/* What stands, once set, for as long as the node has memory, online or not. */
#define NP_STAYS	(NP_OPS_PROTECT_WRITE |	\
			 NP_KEEPS_FRAMES)

static bool valid_nid(int nid)
{
	return nid >= 0 && nid < MAX_NUMNODES && node_possible(nid);
}

static struct node_private *claim_of(int nid)
{
	return rcu_dereference_protected(NODE_DATA(nid)->node_private,
					 device_hotplug_is_locked());
}

/* Caller is in an RCU or SRCU read-side section. */
const struct node_private_ops *node_private_ops_of(int nid)
{
	struct node_private *np = rcu_dereference_check(NODE_DATA(nid)->node_private,
							srcu_read_lock_held(&node_private_srcu));

	if (!np)
		return NULL;
	return rcu_dereference_check(np->ops, srcu_read_lock_held(&node_private_srcu));
}

static int block_is_on_node(struct memory_block *mem, void *arg)
{
	return mem->nid == *(int *)arg ? -EBUSY : 0;
}

/* Any memory block, online or not, that belongs to @nid? */
static bool node_has_blocks(int nid)
{
	return for_each_memory_block(&nid, block_is_on_node);
}

static int register_locked(int nid, struct node_private *np)
{
	pg_data_t *pgdat = NODE_DATA(nid);

	/* One owner a node, and one node an owner. */
	if (claim_of(nid) || np->registered)
		return -EBUSY;
	/* Memory that is already there was added for everybody to use. */
	if (node_state(nid, N_MEMORY) || node_has_blocks(nid))
		return -EBUSY;

	RCU_INIT_POINTER(np->ops, NULL);
	np->adding = NULL;
	np->offlining = false;
	np->implicit = false;
	np->registered = true;
	rcu_assign_pointer(pgdat->node_private, np);
	WRITE_ONCE(pgdat->private_flags, NP_REGISTERED);
	static_branch_inc(&node_private_key);
	return 0;
}

static void drop_ops(int nid, struct node_private *np)
{
	const unsigned long flags = node_private_flags(nid);

	device_hotplug_assert_locked();
	WRITE_ONCE(NODE_DATA(nid)->private_flags, NP_REGISTERED |
		   (node_has_blocks(nid) ? flags & NP_STAYS : 0));
	RCU_INIT_POINTER(np->ops, NULL);
	synchronize_srcu(&node_private_srcu);
	synchronize_rcu();
	if (flags & NP_OPS_RECLAIM)
		kswapd_stop(nid);
}

static int unregister_locked(int nid)
{
	pg_data_t *pgdat = NODE_DATA(nid);
	struct node_private *np = claim_of(nid);

	if (!np)
		return -ENODEV;
	if (np->adding || np->offlining ||
	    node_state(nid, N_MEMORY_PRIVATE) || node_has_blocks(nid))
		return -EBUSY;

	drop_ops(nid, np);
	RCU_INIT_POINTER(pgdat->node_private, NULL);
	WRITE_ONCE(pgdat->private_flags, 0);
	static_branch_dec(&node_private_key);
	/* Readers that found np before it went may still look at np->ops. */
	synchronize_srcu(&node_private_srcu);
	synchronize_rcu();
	np->registered = false;
	return 0;
}

/* Memory went, or did not come: when that was the last, what stood for it goes. */
static void forget_last_memory(int nid, struct node_private *np)
{
	if (node_has_blocks(nid))
		return;

	/* What stays may have outlived its operations. */
	if (!rcu_access_pointer(np->ops))
		WRITE_ONCE(NODE_DATA(nid)->private_flags, NP_REGISTERED);
	if (np->implicit)
		WARN_ON_ONCE(unregister_locked(nid));
}

/**
 * node_private_register - claim a node that has no memory
 * @nid: a possible node
 * @np: the claim, with @owner set
 *
 * From now on memory can only be added to the node through
 * add_private_memory_driver_managed().
 *
 * Return: 0, -EINVAL for bad arguments, -EBUSY if the node has memory or an
 * owner already.
 */
int node_private_register(int nid, struct node_private *np)
{
	if (!valid_nid(nid) || !np || !np->owner)
		return -EINVAL;

	guard(device_hotplug)();
	return register_locked(nid, np);
}
EXPORT_SYMBOL_GPL(node_private_register);

/**
 * node_private_unregister - give up a node
 * @nid: the node
 *
 * Clears the node's operations first, waiting for callbacks to return.
 *
 * Return: 0, -EINVAL or -ENODEV if there is nothing to give up, -EBUSY while
 * the node still has memory, online or not, or some is being added or removed.
 */
int node_private_unregister(int nid)
{
	if (!valid_nid(nid))
		return -EINVAL;

	guard(device_hotplug)();
	return unregister_locked(nid);
}
EXPORT_SYMBOL_GPL(node_private_unregister);

/* How a set of operations contradicts itself, or NULL. */
static const char *ops_contradiction(const struct node_private_ops *ops)
{
	const unsigned long flags = ops->flags;

	if ((flags & NP_OPS_MIGRATION) && !ops->migrate_to)
		return "MIGRATION needs migrate_to";
	if ((flags & NP_OPS_DEMOTION) && !ops->migrate_to)
		return "DEMOTION needs migrate_to";
	if ((flags & NP_OPS_MEMPOLICY) && !(flags & NP_OPS_MIGRATION))
		return "MEMPOLICY needs MIGRATION";
	if ((flags & NP_OPS_NUMA_BALANCING) && !(flags & NP_OPS_MIGRATION))
		return "NUMA_BALANCING needs MIGRATION";
	if ((flags & NP_OPS_COMPACTION) && !(flags & NP_OPS_MIGRATION))
		return "COMPACTION needs MIGRATION";
	if ((flags & NP_OPS_PROTECT_WRITE) && (flags & NP_OPS_COMPACTION))
		return "PROTECT_WRITE excludes COMPACTION";
	/* Memory that a general shortage can neither use nor take back is no help. */
	if ((flags & NP_OPS_OOM) && (~flags & (NP_OPS_DEMOTION | NP_OPS_RECLAIM)))
		return "OOM needs DEMOTION and RECLAIM";
	if (ops->promote && !(flags & NP_OPS_PROTECT_WRITE))
		return "promote needs PROTECT_WRITE";
	/* Who cannot say what a page holds has to be the one that writers wait for. */
	if (ops->verify && (flags & NP_OPS_PROTECT_WRITE) && !ops->promote)
		return "verify needs promote with PROTECT_WRITE";
	if (ops->reclaim_policy && !(flags & NP_OPS_RECLAIM))
		return "reclaim_policy needs RECLAIM";
	/* What reclaim frees would not be free. */
	if (ops->reclaim_policy && ops->free_folio)
		return "free_folio excludes reclaim_policy";
	if (ops->may_demote && !(flags & NP_OPS_DEMOTION))
		return "may_demote needs DEMOTION";
	if (flags & ~NP_OPS_SUPPORTED)
		return "unknown flag";
	return NULL;
}

/**
 * node_private_set_ops - open a node to mm services
 * @nid: a registered node
 * @ops: what to open it to and how to serve it
 *
 * PROTECT_WRITE and free_folio cannot come while memory of the node is online, nor
 * go while the node has any: what was put behind the fence stays behind it, and
 * frames that nobody wrote to when they became free are not taken for ones wiped.
 *
 * Return: 0, -EINVAL if @ops contradict themselves (the log says how), -ENODEV
 * if the node is not registered, -EBUSY if it has operations already or would
 * change either of those two under its memory.
 */
int node_private_set_ops(int nid, const struct node_private_ops *ops)
{
	const char *contradiction;
	unsigned long flags, old;
	struct node_private *np;

	if (!valid_nid(nid) || !ops)
		return -EINVAL;
	contradiction = ops_contradiction(ops);
	if (contradiction) {
		pr_err("node %d: operations %#lx refused: %s\n", nid, ops->flags,
		       contradiction);
		return -EINVAL;
	}

	guard(device_hotplug)();
	np = claim_of(nid);
	if (!np)
		return -ENODEV;
	if (rcu_access_pointer(np->ops))
		return -EBUSY;
	flags = NP_REGISTERED | ops->flags | (ops->free_folio ? NP_KEEPS_FRAMES : 0);
	old = node_private_flags(nid);
	if (node_state(nid, N_MEMORY_PRIVATE) && (~old & flags & NP_STAYS))
		return -EBUSY;
	if (node_has_blocks(nid) && (old & ~flags & NP_STAYS))
		return -EBUSY;

	/* A service that sees one without the other is turned away. */
	rcu_assign_pointer(np->ops, ops);
	WRITE_ONCE(NODE_DATA(nid)->private_flags, flags);
	/* Without memory yet, onlining some does it. */
	if (node_wants_kswapd(nid) && node_state(nid, N_MEMORY_PRIVATE))
		kswapd_run(nid);
	return 0;
}
EXPORT_SYMBOL_GPL(node_private_set_ops);

/**
 * node_private_clear_ops - close a node to all mm services
 * @nid: a registered node
 * @ops: what node_private_set_ops() was given
 *
 * Waits for callbacks to return, so it must not be called from one.
 *
 * Return: 0, -EINVAL or -ENODEV if @ops are not the node's.
 */
int node_private_clear_ops(int nid, const struct node_private_ops *ops)
{
	struct node_private *np;

	if (!valid_nid(nid) || !ops)
		return -EINVAL;

	guard(device_hotplug)();
	np = claim_of(nid);
	if (!np)
		return -ENODEV;
	if (rcu_access_pointer(np->ops) != ops)
		return -EINVAL;
	drop_ops(nid, np);
	return 0;
}
EXPORT_SYMBOL_GPL(node_private_clear_ops);

/*
 * Hotplug
 */

/*
 * May memory be added to @nid? On a private node only by the owner, that is
 * from add_private_memory_driver_managed(). Under device_hotplug_lock.
 */
int node_private_check_add(int nid)
{
	struct node_private *np;

	/* Firmware's memory comes without the lock while the system boots, before any owner. */
	if (!node_private_enabled())
		return 0;
	np = claim_of(nid);
	return !np || np->adding == current ? 0 : -EBUSY;
}

/* Has offline_and_remove_private_memory() waited long enough? */
bool node_private_offline_expired(int nid)
{
	struct node_private *np = claim_of(nid);

	return np && np->offlining && time_after(jiffies, np->offline_deadline);
}

static int online_movable(struct memory_block *mem, void *arg)
{
	mem->online_type = MMOP_ONLINE_MOVABLE;
	return min(device_online(&mem->dev), 0);
}

/**
 * add_private_memory_driver_managed - add memory that is the caller's alone
 * @nid: node, without ordinary memory
 * @start: physical address, aligned to memory_block_size_bytes()
 * @size: bytes, a multiple of memory_block_size_bytes()
 * @resource_name: "System RAM ($DRIVER)"
 * @mhp_flags: MHP_MERGE_RESOURCE or none; the memory map is always in ordinary
 *	memory and the node is always @nid
 * @online_type: MMOP_OFFLINE, or MMOP_ONLINE_MOVABLE to online it right away
 * @np: the claim to the node. Registered here, unless @np owns @nid already.
 *
 * Return: 0; -EBUSY if the node has ordinary memory or another owner; -EINVAL
 * for other bad arguments; or what adding and onlining memory return. On error
 * nothing has been added, and @np is registered only if it was before. The one
 * exception is a node that has operations already: if somebody put pages on the
 * part that did come online and they cannot be moved away, all of it stays, the
 * claim too, and is the owner's to remove later. node_private_unregister() says
 * -EBUSY then.
 */
int add_private_memory_driver_managed(int nid, u64 start, u64 size,
				      const char *resource_name,
				      mhp_t mhp_flags, int online_type,
				      struct node_private *np)
{
	int rc;

	if (!valid_nid(nid) || !np || !np->owner ||
	    (mhp_flags & ~MHP_MERGE_RESOURCE) ||
	    (online_type != MMOP_OFFLINE && online_type != MMOP_ONLINE_MOVABLE))
		return -EINVAL;

	scoped_guard(device_hotplug) {
		if (claim_of(nid) != np) {
			rc = register_locked(nid, np);
			if (rc)
				return rc;
			np->implicit = true;
		} else if (np->adding) {
			return -EBUSY;
		}
		np->adding = current;
	}

	rc = add_memory_driver_managed(nid, start, size, resource_name, mhp_flags);

	scoped_guard(device_hotplug) {
		np->adding = NULL;
		if (rc)
			forget_last_memory(nid, np);
		if (rc || online_type != MMOP_ONLINE_MOVABLE)
			return rc;
		rc = walk_memory_blocks(start, size, NULL, online_movable);
	}
	if (rc)
		offline_and_remove_private_memory(nid, start, size);
	return rc;
}
EXPORT_SYMBOL_GPL(add_private_memory_driver_managed);

struct block_count {
	int nid;
	u64 bytes;
};

static int count_block_on_node(struct memory_block *mem, void *arg)
{
	struct block_count *count = arg;

	if (mem->nid != count->nid)
		return -EINVAL;
	count->bytes += memory_block_size_bytes();
	return 0;
}

/**
 * offline_and_remove_private_memory - take private memory away again
 * @nid: a private node
 * @start: physical address, as added
 * @size: bytes, as added
 *
 * Pages that can be migrated go to ordinary memory. The owner frees its own
 * before it calls this, and so should whoever keeps freed pages back.
 *
 * If this was the node's last memory and the node was registered by
 * add_private_memory_driver_managed(), it is unregistered.
 *
 * Return: 0; -EINVAL if the range is not memory of @nid; -EBUSY if pages were
 * still in use after the owner's offline_timeout_ms, -EINTR after a signal, or
 * what offlining returns. On error the range is online as before, save memory
 * blocks with a page that failed: those never come online again.
 */
int offline_and_remove_private_memory(int nid, u64 start, u64 size)
{
	struct block_count count = { .nid = nid };
	struct node_private *np;
	unsigned int timeout;
	int rc;

	if (!valid_nid(nid) || !size)
		return -EINVAL;

	scoped_guard(device_hotplug) {
		np = claim_of(nid);
		if (!np)
			return -EINVAL;
		if (np->offlining)
			return -EBUSY;
		rc = walk_memory_blocks(start, size, &count, count_block_on_node);
		if (rc)
			return rc;
		if (count.bytes != size)
			return -EINVAL;
		timeout = np->offline_timeout_ms ?: OFFLINE_TIMEOUT_MS;
		np->offline_deadline = jiffies + msecs_to_jiffies(timeout);
		np->offlining = true;
	}

	rc = offline_and_remove_memory(start, size);

	guard(device_hotplug)();
	np->offlining = false;
	if (!rc)
		forget_last_memory(nid, np);
	return rc;
}
EXPORT_SYMBOL_GPL(offline_and_remove_private_memory);

/*
 * Allocation
 */

/*
 * Make an allocation with __GFP_PRIVATE what it has to be: from this node,
 * movable, never failing loudly, never killing anybody. The memory cannot be
 * promised to callers that cannot fail. Where the owner keeps what is free, the
 * frames that reclaim frees are the owner's, and nothing is in reserve.
 */
gfp_t __node_private_gfp(gfp_t gfp, int nid)
{
	WARN_ON_ONCE(gfp & __GFP_NOFAIL);
	/* cpusets limit users of the node where they ask for it, not here. */
	gfp &= ~(__GFP_DMA | __GFP_DMA32 | __GFP_RECLAIMABLE | __GFP_NOFAIL |
		 __GFP_HARDWALL);
	gfp |= __GFP_THISNODE | __GFP_MOVABLE | __GFP_HIGHMEM | __GFP_NOWARN;
	if (!node_wants_kswapd(nid))
		gfp &= ~__GFP_RECLAIM;
	if (node_keeps_frames(nid)) {
		gfp &= ~(__GFP_HIGH | __GFP_MEMALLOC);
		gfp |= __GFP_NOMEMALLOC;
	}
	return gfp;
}

/* Nodes without memory have no free pages, and the sum never counts down from zero. */
unsigned long __node_ordinary_free_pages(void)
{
	unsigned long free = 0;
	int nid;

	for_each_node_state(nid, N_MEMORY)
		free += sum_zone_node_page_state(nid, NR_FREE_PAGES);
	return free;
}

/* What their owners keep is no memory: only what they gave out is managed. */
unsigned long __node_private_oom_pages(const nodemask_t *nodes)
{
	unsigned long pages = 0;
	int nid;

	for_each_node_state(nid, N_MEMORY_PRIVATE) {
		if (node_allows(nid, NP_OPS_OOM) && (!nodes || node_isset(nid, *nodes)))
			pages += zone_managed_pages(&NODE_DATA(nid)->node_zones[ZONE_MOVABLE]);
	}
	return pages;
}

/*
 * Callbacks
 */

bool __node_private_free_folio(struct page *page, unsigned int order)
{
	const struct node_private_ops *ops;

	/* Tested out of line: every page that is freed comes past the callers. */
	if (likely(!node_is_private(page_to_nid(page))))
		return false;
	guard(rcu)();
	ops = node_private_ops_of(page_to_nid(page));
	return ops && ops->free_folio && ops->free_folio(page, order);
}

/**
 * node_private_keep_pages - make a block of pages the owner's
 * @page: the first page, as free_folio was given it
 * @order: order of the block
 *
 * For free_folio, before it returns true, and before anybody can hand the pages back.
 * They are no memory then: not free, not managed, and PageOffline, so that their
 * memory can go offline under them; then they are the owner's no more, as a memory
 * notifier (MEM_OFFLINE) tells. Whatever the owner wants to know of them is best
 * kept by number, and never in the page. Any context.
 */
void node_private_keep_pages(struct page *page, unsigned int order)
{
	for (unsigned long i = 0; i < 1UL << order; i++)
		__SetPageOffline(page + i);
	adjust_managed_page_count(page, -(1L << order));
}
EXPORT_SYMBOL_GPL(node_private_keep_pages);

/**
 * node_private_put_pages - hand pages kept by free_folio to the allocator
 * @page: the first page
 * @order: order of the block, which need not be one that was kept: pages are kept
 *	each for itself, and any aligned block of kept pages can be given
 *
 * Pages that failed meanwhile stay where nobody gets them. The memory must not be
 * going offline; an owner that gives pages out at any time stops between MEM_GOING_OFFLINE
 * and MEM_CANCEL_OFFLINE. Any context but NMI.
 */
void node_private_put_pages(struct page *page, unsigned int order)
{
	const unsigned long nr = 1UL << order;
	unsigned long i;

	for (i = 0; i < nr; i++)
		__ClearPageOffline(page + i);
	adjust_managed_page_count(page, nr);

	for (i = 0; i < nr && !PageHWPoison(page + i); i++)
		;
	if (i == nr) {
		free_prepared_pages(page, order);
		return;
	}
	for (i = 0; i < nr; i++) {
		if (!PageHWPoison(page + i))
			free_prepared_pages(page + i, 0);
	}
}
EXPORT_SYMBOL_GPL(node_private_put_pages);

void __node_private_folio_split(struct folio *folio, struct folio *new_folio)
{
	const struct node_private_ops *ops;

	guard(rcu)();
	ops = node_private_ops_of(folio_nid(folio));
	if (ops && ops->folio_split)
		ops->folio_split(folio, new_folio);
}

void __node_private_folio_uncharge(struct folio *folio)
{
	const struct node_private_ops *ops;

	/* What the kernel itself allocated there was never told of. */
	if (!folio_memcg_charged(folio) || folio_memcg_kmem(folio))
		return;

	guard(rcu)();
	ops = node_private_ops_of(folio_nid(folio));
	if (ops && ops->folio_uncharge)
		ops->folio_uncharge(folio);
}

void __node_private_uncharge_folios(const struct folio_batch *folios)
{
	unsigned int i;

	for (i = 0; i < folios->nr; i++)
		node_private_folio_uncharge(folios->folios[i]);
}

void __node_private_memory_failure(struct folio *folio, unsigned long pfn,
				   int mf_flags)
{
	const struct node_private_ops *ops;

	guard(srcu)(&node_private_srcu);
	ops = node_private_ops_of(folio_nid(folio));
	if (ops && ops->memory_failure)
		ops->memory_failure(folio, pfn, mf_flags);
}

/*
 * Reclaim
 */

unsigned long __node_private_keep_free(int nid)
{
	struct node_reclaim_policy policy = {};
	const struct node_private_ops *ops;

	guard(rcu)();
	ops = node_private_ops_of(nid);
	if (ops && ops->reclaim_policy)
		ops->reclaim_policy(nid, &policy);
	return policy.keep_free;
}

/**
 * node_private_wake_reclaim - have reclaim look at a node again
 * @nid: a node open to RECLAIM; otherwise nothing happens
 *
 * For owners whose reclaim_policy has a new answer. Also a node that reclaim has
 * given up is tried again. Any context. An owner that keeps free frames has no
 * reclaim_policy, and the node no kswapd to wake.
 */
void node_private_wake_reclaim(int nid)
{
	pg_data_t *pgdat = NODE_DATA(nid);

	if (!(node_private_flags(nid) & NP_OPS_RECLAIM))
		return;
	WRITE_ONCE(pgdat->kswapd_failures, 0);
	wakeup_kswapd(&pgdat->node_zones[ZONE_MOVABLE], GFP_KERNEL, 0, ZONE_MOVABLE);
}
EXPORT_SYMBOL_GPL(node_private_wake_reclaim);
