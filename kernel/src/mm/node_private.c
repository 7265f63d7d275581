// SPDX-License-Identifier: GPL-2.0-only
/*
 * Private memory nodes: registration, hotplug, callbacks and migration.
 *
 * Isolation itself is not here. It is a property of the zonelists, see
 * build_thisnode_zonelists() and gfp_zonelist(), and so holds whatever this
 * file does. See include/linux/node_private.h for the interface.
 *
 * Locking: a node is registered and unregistered under device_hotplug_lock,
 * which also excludes adding, onlining, offlining and removing its memory.
 * Operations are published under node_private_mutex. Callbacks that must not
 * sleep run under RCU, the others under node_private_srcu.
 */
#define pr_fmt(fmt) "node_private: " fmt

#include <linux/cpuset.h>
#include <linux/export.h>
#include <linux/ksm.h>
#include <linux/memcontrol.h>
#include <linux/memory.h>
#include <linux/memory_hotplug.h>
#include <linux/mempolicy.h>
#include <linux/migrate.h>
#include <linux/mmzone.h>
#include <linux/node_private.h>
#include <linux/pagewalk.h>
#include <linux/srcu.h>
#include <linux/swap.h>

#include "internal.h"

#define OFFLINE_TIMEOUT_MS	(30 * MSEC_PER_SEC)

DEFINE_STATIC_KEY_FALSE(node_private_key);
EXPORT_SYMBOL_GPL(node_private_key);

static DEFINE_MUTEX(node_private_mutex);
DEFINE_STATIC_SRCU(node_private_srcu);

static bool valid_nid(int nid)
{
	return nid >= 0 && nid < MAX_NUMNODES && node_possible(nid);
}

/* Caller holds device_hotplug_lock, or only compares the result. */
static struct node_private *owner_of(int nid)
{
	return rcu_dereference_raw(NODE_DATA(nid)->node_private);
}

/* Caller is in an RCU or SRCU read-side section. */
static const struct node_private_ops *ops_of(int nid)
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
	if (owner_of(nid) || np->registered)
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

	mutex_lock(&node_private_mutex);
	/* The fence stands as long as there is memory behind it. */
	WRITE_ONCE(NODE_DATA(nid)->private_flags, NP_REGISTERED |
		   (node_state(nid, N_MEMORY_PRIVATE) ? flags & NP_OPS_PROTECT_WRITE : 0));
	RCU_INIT_POINTER(np->ops, NULL);
	mutex_unlock(&node_private_mutex);
	synchronize_srcu(&node_private_srcu);
	synchronize_rcu();
	if (flags & NP_OPS_RECLAIM)
		kswapd_stop(nid);
}

static int unregister_locked(int nid)
{
	pg_data_t *pgdat = NODE_DATA(nid);
	struct node_private *np = owner_of(nid);

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

	/* A fence may have outlived its operations. */
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
	int rc;

	if (!valid_nid(nid) || !np || !np->owner)
		return -EINVAL;

	lock_device_hotplug();
	rc = register_locked(nid, np);
	unlock_device_hotplug();
	return rc;
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
	int rc;

	if (!valid_nid(nid))
		return -EINVAL;

	lock_device_hotplug();
	rc = unregister_locked(nid);
	unlock_device_hotplug();
	return rc;
}
EXPORT_SYMBOL_GPL(node_private_unregister);

/* What is wrong with a set of operations, or NULL. */
static const char *ops_fault(const struct node_private_ops *ops)
{
	const unsigned long flags = ops->flags;

	if ((flags & (NP_OPS_MIGRATION | NP_OPS_DEMOTION)) &&
	    (!ops->migrate_to || !ops->folio_migrate))
		return "MIGRATION and DEMOTION need migrate_to and folio_migrate";
	if (!(flags & NP_OPS_MIGRATION) &&
	    (flags & (NP_OPS_MEMPOLICY | NP_OPS_NUMA_BALANCING | NP_OPS_COMPACTION)))
		return "MEMPOLICY, NUMA_BALANCING and COMPACTION need MIGRATION";
	if ((flags & NP_OPS_PROTECT_WRITE) &&
	    (flags & (NP_OPS_COMPACTION | NP_OPS_LONGTERM_PIN)))
		return "PROTECT_WRITE excludes COMPACTION and LONGTERM_PIN";
	/* Memory that a general shortage can neither use nor take back is no help. */
	if ((flags & NP_OPS_OOM) &&
	    (~flags & (NP_OPS_DEMOTION | NP_OPS_RECLAIM)))
		return "OOM needs DEMOTION and RECLAIM";
	if (ops->handle_fault && !(flags & NP_OPS_PROTECT_WRITE))
		return "handle_fault needs PROTECT_WRITE";
	if (ops->reclaim_policy && !(flags & NP_OPS_RECLAIM))
		return "reclaim_policy needs RECLAIM";
	if (flags & NP_OPS_LONGTERM_PIN)
		return "LONGTERM_PIN is impossible in ZONE_MOVABLE, where private memory is";
	if (flags & ~NP_OPS_SUPPORTED)
		return "unknown or unsupported flag";
	return NULL;
}

/**
 * node_private_set_ops - open a node to mm services
 * @nid: a registered node
 * @ops: what to open it to and how to serve it
 *
 * PROTECT_WRITE cannot come or go while memory of the node is online.
 *
 * Return: 0, -EINVAL if @ops contradict themselves (the log says how), -ENODEV
 * if the node is not registered, -EBUSY if it has operations already or would
 * change PROTECT_WRITE under its memory.
 */
int node_private_set_ops(int nid, const struct node_private_ops *ops)
{
	const char *fault;
	struct node_private *np;
	int rc = 0;

	if (!valid_nid(nid) || !ops)
		return -EINVAL;
	fault = ops_fault(ops);
	if (fault) {
		pr_err("node %d: operations %#lx refused: %s\n", nid, ops->flags, fault);
		return -EINVAL;
	}

	lock_device_hotplug();
	np = owner_of(nid);
	if (!np) {
		rc = -ENODEV;
		goto out;
	}
	mutex_lock(&node_private_mutex);
	if (rcu_access_pointer(np->ops) ||
	    (node_state(nid, N_MEMORY_PRIVATE) &&
	     ((node_private_flags(nid) ^ ops->flags) & NP_OPS_PROTECT_WRITE))) {
		rc = -EBUSY;
	} else {
		/* A service that sees one without the other is turned away. */
		rcu_assign_pointer(np->ops, ops);
		WRITE_ONCE(NODE_DATA(nid)->private_flags, NP_REGISTERED | ops->flags);
	}
	mutex_unlock(&node_private_mutex);
	/* Without memory yet, onlining some does it. */
	if (!rc && (ops->flags & NP_OPS_RECLAIM) && node_state(nid, N_MEMORY_PRIVATE))
		kswapd_run(nid);
out:
	unlock_device_hotplug();
	return rc;
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
	int rc = 0;

	if (!valid_nid(nid) || !ops)
		return -EINVAL;

	lock_device_hotplug();
	np = owner_of(nid);
	if (!np)
		rc = -ENODEV;
	else if (rcu_access_pointer(np->ops) != ops)
		rc = -EINVAL;
	else
		drop_ops(nid, np);
	unlock_device_hotplug();
	return rc;
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
	struct node_private *np = owner_of(nid);

	return !np || np->adding == current ? 0 : -EBUSY;
}

/* Has offline_and_remove_private_memory() waited long enough? */
bool node_private_offline_expired(int nid)
{
	struct node_private *np = owner_of(nid);

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
	bool undo = false;
	int rc = 0;

	if (!valid_nid(nid) || !np || !np->owner ||
	    (mhp_flags & ~MHP_MERGE_RESOURCE) ||
	    (online_type != MMOP_OFFLINE && online_type != MMOP_ONLINE_MOVABLE))
		return -EINVAL;

	lock_device_hotplug();
	if (owner_of(nid) != np) {
		rc = register_locked(nid, np);
		if (!rc)
			np->implicit = true;
	} else if (np->adding) {
		rc = -EBUSY;
	}
	if (!rc)
		np->adding = current;
	unlock_device_hotplug();
	if (rc)
		return rc;

	rc = add_memory_driver_managed(nid, start, size, resource_name, mhp_flags);

	lock_device_hotplug();
	np->adding = NULL;
	if (rc) {
		forget_last_memory(nid, np);
	} else if (online_type == MMOP_ONLINE_MOVABLE) {
		rc = walk_memory_blocks(start, size, NULL, online_movable);
		undo = rc;
	}
	unlock_device_hotplug();

	if (undo)
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

	lock_device_hotplug();
	np = owner_of(nid);
	if (!np)
		rc = -EINVAL;
	else if (np->offlining)
		rc = -EBUSY;
	else
		rc = walk_memory_blocks(start, size, &count, count_block_on_node);
	if (!rc && count.bytes != size)
		rc = -EINVAL;
	if (!rc) {
		timeout = np->offline_timeout_ms ?: OFFLINE_TIMEOUT_MS;
		np->offline_deadline = jiffies + msecs_to_jiffies(timeout);
		np->offlining = true;
	}
	unlock_device_hotplug();
	if (rc)
		return rc;

	rc = offline_and_remove_memory(start, size);

	lock_device_hotplug();
	np->offlining = false;
	if (!rc)
		forget_last_memory(nid, np);
	unlock_device_hotplug();
	return rc;
}
EXPORT_SYMBOL_GPL(offline_and_remove_private_memory);

/*
 * Allocation
 */

/*
 * Make an allocation with __GFP_PRIVATE what it has to be: from this node,
 * movable, never failing loudly, never killing anybody. The memory cannot be
 * promised to callers that cannot fail.
 */
gfp_t __node_private_gfp(gfp_t gfp, int nid)
{
	WARN_ON_ONCE(gfp & __GFP_NOFAIL);
	/* cpusets limit users of the node where they ask for it, not here. */
	gfp &= ~(__GFP_DMA | __GFP_DMA32 | __GFP_RECLAIMABLE | __GFP_NOFAIL |
		 __GFP_HARDWALL);
	gfp |= __GFP_THISNODE | __GFP_MOVABLE | __GFP_HIGHMEM | __GFP_NOWARN;
	if (!node_allows(nid, NP_OPS_RECLAIM))
		gfp &= ~__GFP_RECLAIM;
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

unsigned long __node_private_oom_pages(const nodemask_t *nodes)
{
	unsigned long pages = 0;
	int nid;

	for_each_node_state(nid, N_MEMORY_PRIVATE) {
		if (node_allows(nid, NP_OPS_OOM) && (!nodes || node_isset(nid, *nodes)))
			pages += node_present_pages(nid);
	}
	return pages;
}

/**
 * node_private_alloc_folio - first touch under a policy that names only
 * private nodes
 * @nodes: the private nodes of the policy
 * @gfp: as for an ordinary user page
 * @order: order of the folio
 *
 * Return: a folio from the first of @nodes that allows it, or NULL if none has
 * room, is open to memory policies, is writable and is in the caller's cpuset.
 */
struct folio *node_private_alloc_folio(const nodemask_t *nodes, gfp_t gfp,
				       unsigned int order)
{
	nodemask_t allowed = cpuset_all_mems_allowed(current);
	struct folio *folio;
	int nid;

	nodes_and(allowed, allowed, *nodes);
	for_each_node_mask(nid, allowed) {
		unsigned long flags = node_private_flags(nid);

		if (!(flags & NP_OPS_MEMPOLICY) || (flags & NP_OPS_PROTECT_WRITE))
			continue;
		folio = __folio_alloc_node(gfp | __GFP_PRIVATE | __GFP_COMP,
					   order, nid);
		if (folio)
			return folio;
	}
	return NULL;
}

/*
 * Callbacks
 */

bool __node_private_free_folio(struct page *page, unsigned int order)
{
	const struct node_private_ops *ops;
	bool kept = false;

	/* Tested out of line: every page that is freed comes past the callers. */
	if (likely(!node_is_private(page_to_nid(page))))
		return false;
	rcu_read_lock();
	ops = ops_of(page_to_nid(page));
	if (ops && ops->free_folio)
		kept = ops->free_folio(page, order);
	rcu_read_unlock();
	return kept;
}

/**
 * node_private_put_pages - hand pages kept by free_folio to the allocator
 * @page: the first page
 * @order: order of the block, at most that of the block kept
 *
 * Pages that failed meanwhile stay where nobody gets them.
 */
void node_private_put_pages(struct page *page, unsigned int order)
{
	const unsigned long nr = 1UL << order;
	unsigned long i;

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

	rcu_read_lock();
	ops = ops_of(folio_nid(folio));
	if (ops && ops->folio_split)
		ops->folio_split(folio, new_folio);
	rcu_read_unlock();
}

static void notify_migrated(int nid, struct folio *src, struct folio *dst)
{
	const struct node_private_ops *ops;
	int idx;

	idx = srcu_read_lock(&node_private_srcu);
	ops = ops_of(nid);
	if (ops && ops->folio_migrate)
		ops->folio_migrate(src, dst);
	srcu_read_unlock(&node_private_srcu, idx);
}

void __node_private_folio_migrate(struct folio *src, struct folio *dst)
{
	if (folio_is_private_node(src))
		notify_migrated(folio_nid(src), src, dst);
	if (folio_is_private_node(dst) && folio_nid(dst) != folio_nid(src))
		notify_migrated(folio_nid(dst), src, dst);
}

void __node_private_memory_failure(struct folio *folio, unsigned long pfn,
				   int mf_flags)
{
	const struct node_private_ops *ops;
	int idx;

	idx = srcu_read_lock(&node_private_srcu);
	ops = ops_of(folio_nid(folio));
	if (ops && ops->memory_failure)
		ops->memory_failure(folio, pfn, mf_flags);
	srcu_read_unlock(&node_private_srcu, idx);
}

/**
 * node_private_write_fault - serve a write to a folio that must not be written
 * @vmf: the fault, with @page set; no page table lock is held
 * @folio: the folio of that page; a reference to it is used up
 *
 * Return: what the fault returns, or, in a private mapping, VM_FAULT_FALLBACK if
 * the folio cannot move and the caller may make a copy.
 */
vm_fault_t node_private_write_fault(struct vm_fault *vmf, struct folio *folio)
{
	const bool shared = vmf->vma->vm_flags & (VM_SHARED | VM_MAYSHARE);
	const struct node_private_ops *ops;
	vm_fault_t ret;
	int idx;

	idx = srcu_read_lock(&node_private_srcu);
	ops = ops_of(folio_nid(folio));
	if (ops && ops->handle_fault)
		ret = ops->handle_fault(folio, vmf);
	else
		ret = node_private_promote(folio, vmf);
	srcu_read_unlock(&node_private_srcu, idx);

	if (ret != VM_FAULT_FALLBACK || !shared)
		return ret;

	/* Nothing may stand in for it. Wait, if possible without the locks. */
	if ((vmf->flags & FAULT_FLAG_ALLOW_RETRY) &&
	    (vmf->flags & FAULT_FLAG_RETRY_NOWAIT))
		return VM_FAULT_RETRY;
	if (vmf->flags & FAULT_FLAG_ALLOW_RETRY) {
		release_fault_lock(vmf);
		ret = VM_FAULT_RETRY;
	} else {
		ret = 0;
	}
	schedule_timeout_killable(1);
	return ret;
}

/*
 * Reclaim
 */

unsigned long __node_private_keep_free(int nid)
{
	struct node_reclaim_policy policy = {};
	const struct node_private_ops *ops;

	rcu_read_lock();
	ops = ops_of(nid);
	if (ops && ops->reclaim_policy)
		ops->reclaim_policy(nid, &policy);
	rcu_read_unlock();
	return policy.keep_free;
}

/**
 * node_private_wake_reclaim - have reclaim look at a node again
 * @nid: a node open to RECLAIM; otherwise nothing happens
 *
 * For owners whose reclaim_policy has a new answer. Also a node that reclaim has
 * given up is tried again. Any context.
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

/*
 * Migration
 */

/*
 * Only memory whose every user goes through page tables may live on a private
 * node: anonymous and shmem pages, but not those that are shared by KSM or
 * whose owner asked for them to stay where they are.
 */
bool node_private_may_enter(struct folio *folio)
{
	return (folio_test_anon(folio) || folio_test_swapbacked(folio)) &&
	       !folio_test_hugetlb(folio) && !folio_test_ksm(folio) &&
	       folio_evictable(folio);
}

/*
 * May memory of the cgroup that is charged for @folio be on @nid? No task stands
 * for it here, so it is the cgroup's cpuset that says so.
 */
static bool cgroup_allows(struct folio *folio, int nid)
{
	bool allowed = true;
#ifdef CONFIG_MEMCG
	struct mem_cgroup *memcg;

	rcu_read_lock();
	memcg = folio_memcg(folio);
	if (memcg)
		allowed = cpuset_cgroup_allows_node(memcg->css.cgroup, nid);
	rcu_read_unlock();
#endif
	return allowed;
}

/* Move isolated folios to a private node by the service that @flag stands for. */
static int migrate_to(struct list_head *folios, int nid, unsigned long flag,
		      enum migrate_mode mode, enum migrate_reason reason,
		      unsigned int *ret_succeeded)
{
	const struct node_private_ops *ops;
	struct folio *folio, *next;
	LIST_HEAD(refused);
	int nr_refused = 0;
	int idx, rc = 0;

	list_for_each_entry_safe(folio, next, folios, lru) {
		/* What is not up to date has yet to be written. */
		if (node_private_may_enter(folio) &&
		    (!node_is_fenced(nid) || folio_test_uptodate(folio)) &&
		    (reason != MR_DEMOTION || cgroup_allows(folio, nid)))
			continue;
		list_move_tail(&folio->lru, &refused);
		nr_refused++;
	}

	if (!list_empty(folios)) {
		idx = srcu_read_lock(&node_private_srcu);
		ops = ops_of(nid);
		if (ops && (ops->flags & flag))
			rc = ops->migrate_to(folios, nid, mode, reason, ret_succeeded);
		else
			rc = -ENODEV;
		srcu_read_unlock(&node_private_srcu, idx);
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

/* The private node nearest to @nid that takes what is demoted. */
int __node_private_demotion_node(int nid)
{
	int best = NUMA_NO_NODE;
	int other;

	if (node_is_private(nid))
		return NUMA_NO_NODE;
	for_each_node_state(other, N_MEMORY_PRIVATE) {
		if (!node_allows(other, NP_OPS_DEMOTION))
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
 * @nid: the private node, or NUMA_NO_NODE if it has gone since
 *
 * Return: the number of pages that moved.
 */
unsigned int node_private_demote(struct list_head *folios, int nid)
{
	unsigned int succeeded = 0;

	if (nid != NUMA_NO_NODE)
		migrate_to(folios, nid, NP_OPS_DEMOTION, MIGRATE_ASYNC,
			   MR_DEMOTION, &succeeded);
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
 * @reason: see &node_private_ops.migrate_to
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
	if (reason == MR_DEMOTION)
		target.gfp = (target.gfp & ~__GFP_RECLAIM) | GFP_NOWAIT | __GFP_NOMEMALLOC;
	return migrate_pages(folios, alloc_on_private_node, NULL,
			     (unsigned long)&target, mode, reason, ret_succeeded);
}
EXPORT_SYMBOL_GPL(node_private_migrate_folios);

/*
 * Bringing mlocked pages home
 */
struct home_walk {
	struct list_head folios;
	nodemask_t nodes;	/* where they all belong */
	unsigned long stop;	/* from here on they belong elsewhere */
	bool missed;		/* a folio could not be isolated right now */
};

/* Returns 1, for the walk to end here, if the folio belongs elsewhere. */
static int queue_for_home(struct folio *folio, struct vm_area_struct *vma,
			  unsigned long addr, struct home_walk *hw)
{
	nodemask_t nodes;

	if (!folio || !folio_is_private_node(folio))
		return 0;
	/* Parts of shared memory may have policies of their own. */
	mpol_home_nodes(vma, addr, &nodes);
	if (list_empty(&hw->folios)) {
		hw->nodes = nodes;
	} else if (!nodes_equal(nodes, hw->nodes)) {
		hw->stop = addr;
		return 1;
	}
	if (folio_isolate_lru(folio)) {
		list_add_tail(&folio->lru, &hw->folios);
		node_stat_add_folio(folio, NR_ISOLATED_ANON + folio_is_file_lru(folio));
	} else {
		hw->missed = true;
	}
	return 0;
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
		if (pmd_present(*pmd) && !is_huge_zero_pmd(*pmd))
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

		if (!pte_present(ptent))
			continue;
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
	struct home_walk hw = { .missed = false };
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
	mmap_read_unlock(mm);

	if (hw.missed)
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
 * write-protected memory. Returns 0, or -EAGAIN if some page stayed behind.
 */
int __node_private_bring_home(unsigned long start, unsigned long end)
{
	struct mm_struct *mm = current->mm;
	unsigned long addr;
	int tries = 2;
	bool left;

	if (nodes_empty(node_states[N_MEMORY_PRIVATE]))
		return 0;

	do {
		left = false;
		for (addr = start; addr < end;)
			addr = bring_mapping_home(mm, addr, end, &left);
		/* Pages in flight to an LRU list can be isolated afterwards. */
		if (left)
			lru_add_drain_all();
	} while (left && --tries);

	return left ? -EAGAIN : 0;
}
