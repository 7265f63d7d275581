// SPDX-License-Identifier: GPL-2.0-only
/*
 * CRAM: memory on a card that compresses it, which cannot be overrun.
 *
 * A card of compressed memory promises more than it has. What it can store depends
 * on what is written, so the only safe rule is to let nobody write what may not fit.
 * Its memory is a private node whose pages are write-protected, and a frame is free
 * there only once the most that it can take has been set aside of what the card
 * says it has left: see cram_account.h for the counters and cram_frames.c for
 * the frames. Nothing has to be admitted, and no interrupt has to be in time.
 *
 * Here: nodes come and go, and what memory management calls.
 */
#define pr_fmt(fmt) "cram: " fmt

#include <linux/cleanup.h>
#include <linux/device.h>
#include <linux/export.h>
#include <linux/init.h>
#include <linux/memcontrol.h>
#include <linux/memory.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/srcu.h>

#include "cram.h"
#include "internal.h"

#define MOST_CREDIT_BYTES_AT_FIRST	SZ_32M
#define INTERVAL_MS_AT_FIRST		10

static DEFINE_MUTEX(cram_lock);		/* nodes that come and go */
static struct cram __rcu *crams[MAX_NUMNODES];

struct cram *cram_of(int nid)
{
	/* Goes only after the node's operations, which wait for those that are called. */
	return rcu_dereference_raw(crams[nid]);
}

/* Have the worker look, as soon as the card may be asked again. */
void cram_kick(struct cram *c)
{
	const unsigned int pause = READ_ONCE(c->silent) ? READ_ONCE(c->interval_ms) :
							  CRAM_MIN_INTERVAL_MS;
	const unsigned long due = READ_ONCE(c->asked) + msecs_to_jiffies(pause);

	mod_delayed_work(c->queue, &c->work, time_before(jiffies, due) ? due - jiffies : 0);
}

/* Reclaim is to set aside for the node what it can take, or soon can, and nothing else. */
static bool cram_may_demote(int nid, struct mem_cgroup *memcg)
{
	struct cram *c = cram_of(nid);

	return c && !READ_ONCE(c->closed) && cram_memcg_fits(memcg, 1) &&
	       (node_private_has_room(nid) || cram_room_may_come(c, 1));
}

static void cram_folio_uncharge(struct folio *folio)
{
	cram_sample_went(cram_of(folio_nid(folio)), folio);
	cram_memcg_release(folio_memcg(folio), folio_nr_pages(folio));
}

static const struct node_private_ops cram_node_ops = {
	.free_folio	= cram_free_folio,
	.migrate_to	= cram_migrate_to,
	.folio_migrate	= cram_folio_migrate,
	.verify		= cram_verify,
	.folio_uncharge	= cram_folio_uncharge,
	.promote	= cram_promote,
	.may_demote	= cram_may_demote,
	.flags		= NP_OPS_MIGRATION | NP_OPS_MEMPOLICY | NP_OPS_DEMOTION |
			  NP_OPS_PROTECT_WRITE | NP_OPS_RECLAIM,
};

/*
 * Memory blocks that root takes offline, or online, by hand
 */

static struct cram *cram_with(unsigned long pfn)
{
	struct cram *c = cram_of(pfn_to_nid(pfn));

	return c && pfn >= c->first_pfn && pfn - c->first_pfn < c->nr_frames ? c : NULL;
}

static int cram_memory_changes(struct notifier_block *nb, unsigned long action, void *arg)
{
	const struct memory_notify *change = arg;
	struct cram *c;

	/* Only here is it known which node the memory is on. */
	switch (action) {
	case MEM_ONLINE:
	case MEM_GOING_OFFLINE:
	case MEM_CANCEL_OFFLINE:
	case MEM_OFFLINE:
		c = cram_with(change->start_pfn);
		break;
	default:
		c = NULL;
	}
	if (!c)
		return NOTIFY_OK;
	if (action == MEM_OFFLINE) {
		/* Not before: until now pages may have failed to come there. */
		cram_flush_dying(c, change->start_pfn, change->nr_pages);
		cram_frames_gone(c, change->start_pfn, change->nr_pages);
		return NOTIFY_OK;
	}
	cram_set_online(c, change->start_pfn, change->nr_pages, action != MEM_GOING_OFFLINE);
	if (action != MEM_GOING_OFFLINE)
		cram_kick(c);
	return NOTIFY_OK;
}

static struct notifier_block cram_memory_notifier = {
	.notifier_call = cram_memory_changes,
};

/*
 * Nodes
 */

static void cram_free(struct cram *c)
{
	if (!c)
		return;
	if (c->queue)
		destroy_workqueue(c->queue);
	cram_sample_free(c);
	cram_frames_free(c);
	put_device(c->dev);
	kfree(c);
}

DEFINE_FREE(cram, struct cram *, cram_free(_T))

static struct cram *cram_alloc(int nid, u64 start, u64 size, struct device *dev,
			       const struct cram_card_ops *ops, void *card)
{
	struct cram *c __free(cram) = kzalloc(sizeof(*c), GFP_KERNEL);

	if (!c)
		return NULL;
	c->np.owner = c;
	c->nid = nid;
	c->start = start;
	c->size = size;
	c->first_pfn = PHYS_PFN(start);
	c->nr_frames = PHYS_PFN(size);
	c->nr_blocks = c->nr_frames >> CRAM_BLOCK_ORDER;
	/* Which may go while the node stays. */
	c->dev = get_device(dev);
	c->ops = ops;
	c->card = card;
	spin_lock_init(&c->lock);
	mutex_init(&c->give_lock);
	mutex_init(&c->work_lock);
	init_waitqueue_head(&c->passed);
	INIT_DELAYED_WORK(&c->work, cram_work);
	c->most_credit = PHYS_PFN(MOST_CREDIT_BYTES_AT_FIRST);
	c->interval_ms = INTERVAL_MS_AT_FIRST;
	/* Until all of its memory is there: what has been given cannot be taken away. */
	c->closed = true;
	disable_delayed_work(&c->work);
	/* Memory may be waiting for this. */
	c->queue = alloc_workqueue("cram/%d", WQ_MEM_RECLAIM | WQ_UNBOUND, 1, nid);
	if (!c->queue || cram_frames_init(c))
		return NULL;
	return_ptr(c);
}

/* What the card stores when it has been told to forget everything: next to nothing. */
static int cram_start_card(struct cram *c)
{
	int rc = cram_first_report(c);

	if (rc)
		return rc;
	rc = cram_sample_init(c);
	if (rc)
		return rc;
	rc = cram_trim_all(c);
	if (rc == -EOPNOTSUPP) {
		c->cannot_trim = true;
	} else if (rc) {
		dev_err(c->dev, "cram: node %d: the card could not be trimmed: %pe; not using it\n",
			c->nid, ERR_PTR(rc));
		return rc;
	}
	rc = cram_first_report(c);
	if (rc)
		return rc;
	if (!cram_account_room(&c->account)) {
		dev_err(c->dev, "cram: node %d: %llu of %llu bytes are stored, of which nothing is in use, and %llu are in reserve; not using the card\n",
			c->nid, c->account.stored, c->account.physical, c->account.reserve);
		return -EINVAL;
	}
	return 0;
}

/* On return nothing is about to be given, and the worker does not run. */
static void cram_close(struct cram *c)
{
	scoped_guard(mutex, &c->give_lock)
		WRITE_ONCE(c->closed, true);
	disable_delayed_work_sync(&c->work);
	wake_up_all(&c->passed);
}

static void cram_open(struct cram *c)
{
	WRITE_ONCE(c->closed, false);
	enable_delayed_work(&c->work);
	cram_kick(c);
}

/*
 * On an error with memory that could not be taken away again the node remains, closed,
 * and so does @c.
 */
static int cram_bring_up(struct cram *c, const char *name)
{
	const int nid = c->nid;
	int rc;

	rc = node_private_register(nid, &c->np);
	if (rc)
		return rc;
	rcu_assign_pointer(crams[nid], c);
	rc = node_private_set_ops(nid, &cram_node_ops);
	if (rc)
		goto unregister;
	rc = add_private_memory_driver_managed(nid, c->start, c->size, name, MHP_NONE,
					       MMOP_ONLINE_MOVABLE, &c->np);
	if (rc)
		goto unregister;
	rc = cram_sysfs_add(c);
	if (rc)
		goto remove;
	cram_open(c);
	return 0;
remove:
	offline_and_remove_private_memory(nid, c->start, c->size);
unregister:
	/*
	 * Nobody can have got any of the memory, but a signal, or want of memory, is enough for
	 * it not to go again, also for whom it was that part of it did not come online.
	 */
	if (node_private_unregister(nid)) {
		dev_err(c->dev, "cram: node %d: its memory cannot be taken away again, and stays, unused, until reboot\n",
			nid);
		return rc;
	}
	RCU_INIT_POINTER(crams[nid], NULL);
	synchronize_rcu();
	return rc;
}

static bool range_is_fit(int nid, u64 start, u64 size, struct device *dev)
{
	const u64 block = memory_block_size_bytes();

	if (!size || !IS_ALIGNED(start, block) || !IS_ALIGNED(size, block)) {
		dev_err(dev, "cram: %#llx bytes at %#llx are not whole memory blocks of %#llx bytes\n",
			size, start, block);
		return false;
	}
	if (nid < 0 || nid >= MAX_NUMNODES || !node_possible(nid)) {
		dev_err(dev, "cram: there can be no node %d\n", nid);
		return false;
	}
	return true;
}

static bool ops_are_fit(const struct cram_card_ops *ops, struct device *dev)
{
	if (ops && ops->report && ops->trim && ops->max_ranges && ops->max_bytes >= PAGE_SIZE)
		return true;
	dev_err(dev, "cram: the card cannot be asked for a report, or to forget a page\n");
	return false;
}

int cram_register_private_node(int nid, u64 start, u64 size, const char *name,
			       struct device *dev,
			       const struct cram_card_ops *ops, void *card)
{
	int rc;

	if (!ops_are_fit(ops, dev) || !range_is_fit(nid, start, size, dev))
		return -EINVAL;

	guard(mutex)(&cram_lock);
	if (cram_of(nid)) {
		dev_err(dev, "cram: node %d has a card already: one card, one node\n", nid);
		return -EBUSY;
	}
	struct cram *c __free(cram) = cram_alloc(nid, start, size, dev, ops, card);

	if (!c)
		return -ENOMEM;
	rc = cram_start_card(c);
	if (rc)
		return rc;
	rc = cram_bring_up(c, name);
	if (rc) {
		dev_err(dev, "cram: node %d: its memory did not come online: %pe\n", nid,
			ERR_PTR(rc));
		if (cram_of(nid))
			retain_and_null_ptr(c);
		return rc;
	}
	dev_info(dev, "cram: node %d: %llu MiB, of which the card has %llu MiB; its memory map takes %llu MiB of ordinary memory\n",
		 nid, size / SZ_1M, c->account.physical / SZ_1M,
		 (u64)c->nr_frames * sizeof(struct page) / SZ_1M);
	retain_and_null_ptr(c);
	return 0;
}
EXPORT_SYMBOL_GPL(cram_register_private_node);

/* Pages that go take as long as they take: it is given up only when none has gone for a while. */
static int cram_remove_memory(struct cram *c)
{
	long before;
	int rc;

	do {
		before = atomic_long_read(&c->nr_written);
		rc = offline_and_remove_private_memory(c->nid, c->start, c->size);
	} while (rc == -EBUSY && atomic_long_read(&c->nr_written) < before);
	return rc;
}

/* @nid's card, or NULL. It stays under cram_lock, or in an RCU section. */
static struct cram *find_card(int nid)
{
	return nid >= 0 && nid < MAX_NUMNODES ? cram_of(nid) : NULL;
}

int cram_unregister_private_node(int nid)
{
	struct cram *c;
	int rc;

	guard(mutex)(&cram_lock);
	c = find_card(nid);
	if (!c)
		return -ENODEV;

	/* Nothing comes any more, and what the allocator has is CRAM's again. */
	cram_close(c);
	cram_take(c, c->nr_frames);
	cram_set_state(c, CRAM_OFFLINE);
	rc = cram_remove_memory(c);
	if (rc) {
		if (!c->gone)
			cram_open(c);
		return rc == -EINTR ? rc : -EBUSY;
	}
	cram_sysfs_remove(c);
	WARN_ON_ONCE(node_private_unregister(nid));
	RCU_INIT_POINTER(crams[nid], NULL);
	synchronize_rcu();
	cram_free(c);
	return 0;
}
EXPORT_SYMBOL_GPL(cram_unregister_private_node);

void cram_card_gone(int nid, void *card, bool readable)
{
	unsigned long saved = 0;
	struct cram *c;

	/* What is read from now on is not taken for what was there. */
	scoped_guard(rcu) {
		c = find_card(nid);
		if (c && c->card == card && !readable)
			WRITE_ONCE(c->lost, true);
	}

	guard(mutex)(&cram_lock);
	c = find_card(nid);
	/* The node may have become another card's. */
	if (!c || c->card != card || c->gone)
		return;
	scoped_guard(mutex, &c->work_lock)
		WRITE_ONCE(c->gone, true);
	cram_close(c);
	cram_take(c, c->nr_frames);
	if (readable)
		saved = cram_send_all_home(c);
	WRITE_ONCE(c->lost, true);
	/* Nobody asks whether it answers any more, or is on the way there with a page. */
	synchronize_srcu(&node_private_srcu);
	dev_err(c->dev, "cram: node %d: the card is gone; %lu pages left it before, and %lu are lost: whoever comes to one gets a SIGBUS\n",
		nid, saved, cram_lose_pages(c));
	cram_set_state(c, CRAM_OFFLINE);
}
EXPORT_SYMBOL_GPL(cram_card_gone);

void cram_notify(int nid)
{
	struct cram *c;

	guard(rcu)();
	c = find_card(nid);
	if (!c || READ_ONCE(c->closed))
		return;
	cram_count(c, CRAM_INTERRUPTS, 1);
	cram_kick(c);
}
EXPORT_SYMBOL_GPL(cram_notify);

int cram_set_pressure(int nid, unsigned int pressure)
{
	struct cram *c;

	if (pressure > 1000)
		return -EINVAL;
	guard(rcu)();
	c = find_card(nid);
	if (!c)
		return -ENODEV;
	WRITE_ONCE(c->pressure, pressure);
	if (!READ_ONCE(c->closed))
		cram_kick(c);
	return 0;
}
EXPORT_SYMBOL_GPL(cram_set_pressure);

int cram_clear_pressure(int nid)
{
	return cram_set_pressure(nid, 0);
}
EXPORT_SYMBOL_GPL(cram_clear_pressure);

static int __init cram_init(void)
{
	return register_memory_notifier(&cram_memory_notifier);
}
core_initcall(cram_init);
