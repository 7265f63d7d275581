// SPDX-License-Identifier: GPL-2.0-only
/*
 * Test driver for private memory nodes.
 *
 * Makes the in-kernel interface callable from a test program through
 * /dev/node_private_test: turning a range of hot-pluggable memory into a
 * private node and back, opening the node to mm services, and allocating in
 * every way the kernel can. Decides nothing; see test_node_private_uapi.h.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/bitmap.h>
#include <linux/file.h>
#include <linux/gfp.h>
#include <linux/init.h>
#include <linux/memcontrol.h>
#include <linux/memory.h>
#include <linux/memory_hotplug.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/node_private.h>
#include <linux/pagemap.h>
#include <linux/shmem_fs.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>

#include "test_node_private_uapi.h"

#define RESOURCE_NAME	"System RAM (node_private_test)"
#define MAX_BLOCKS	1048576		/* per NPT_ALLOC */
#define MAX_FRAMES	16777216	/* of a range to add: what can be watched */

/* One page block, or one kernel object, held for a test. */
struct block {
	struct list_head list;
	void *object;
	unsigned int how;
	unsigned int order;
};

/* What is open to a test: one per open file. */
struct session {
	struct mutex lock;		/* blocks */
	struct list_head blocks;
};

struct test_node {
	struct node_private np[NPT_OWNERS];
	struct node_private_ops ops;
	bool ops_set;

	atomic64_t nr_free, nr_split, nr_migrate_to, nr_migrate, nr_failure;
	atomic64_t nr_promote;
	atomic64_t nr_charged;
	atomic64_t accept;
	unsigned long keep_free;
	unsigned int how;		/* NPT_WHOLE, NPT_CLOSED */

	/* Sums of the contents of frames that pages were moved to; 0: unknown. */
	spinlock_t frames_lock;	/* sums, nr_changed */
	u64 *sums;
	unsigned long first_pfn, nr_frames;
	u64 nr_changed;

	/* Frames kept, by their place in the range. */
	spinlock_t kept_lock;	/* kept, nr_kept */
	unsigned long *kept;
	unsigned long nr_kept;
};

static DEFINE_MUTEX(test_lock);		/* everything but NPT_ALLOC and NPT_FREE */
static struct test_node *nodes[MAX_NUMNODES];

/*
 * Frames
 */

/*
 * The place of a block among the frames of the node, if all of it is there; also what is
 * free, or kept, has one.
 */
static bool place_of(const struct test_node *tn, struct page *page, unsigned long nr,
		     unsigned long *ret_index)
{
	*ret_index = page_to_pfn(page) - tn->first_pfn;
	return *ret_index < tn->nr_frames && nr <= tn->nr_frames - *ret_index;
}

/* Freed frames are looked at as well, which is what KASAN is there to prevent. */
static noinline __no_sanitize_address u64 sum_of_frame(unsigned long pfn)
{
	const u64 *words = page_address(pfn_to_page(pfn));
	u64 sum = 0;

	for (int i = 0; i < PAGE_SIZE / sizeof(*words); i++)
		sum = rol64(sum ^ words[i], 7) * 0x9e3779b97f4a7c15ULL;
	return sum | 1;
}

/* A change is counted once, and what the frame holds then is what it has to keep. */
static void check_frame(struct test_node *tn, unsigned long index)
{
	u64 sum;

	if (!tn->sums[index])
		return;
	sum = sum_of_frame(tn->first_pfn + index);
	if (sum != tn->sums[index])
		tn->nr_changed++;
	tn->sums[index] = sum;
}

/* Without callbacks nobody hears what becomes of frames. Unless @gone, they exist. */
static void forget_frames(struct test_node *tn, bool gone)
{
	if (gone) {
		tn->nr_frames = 0;
		kvfree(tn->sums);
		tn->sums = NULL;
		bitmap_free(tn->kept);
		tn->kept = NULL;
		return;
	}
	for (unsigned long i = 0; i < tn->nr_frames; i++) {
		spin_lock_irq(&tn->frames_lock);
		check_frame(tn, i);
		tn->sums[i] = 0;
		spin_unlock_irq(&tn->frames_lock);
		cond_resched();
	}
}

/* The frames of a block have been filled, or the page has left them. */
static void note_frames(struct page *page, unsigned long nr, bool filled)
{
	struct test_node *tn = READ_ONCE(nodes[page_to_nid(page)]);
	unsigned long flags, index;

	if (!tn || !place_of(tn, page, nr, &index))
		return;
	for (; nr; nr--, index++) {
		spin_lock_irqsave(&tn->frames_lock, flags);
		if (filled) {
			tn->sums[index] = sum_of_frame(tn->first_pfn + index);
		} else {
			check_frame(tn, index);
			tn->sums[index] = 0;
		}
		spin_unlock_irqrestore(&tn->frames_lock, flags);
	}
}

static long do_frames(struct npt_frames *f)
{
	struct test_node *tn;

	if (f->nid < 0 || f->nid >= MAX_NUMNODES || !nodes[f->nid])
		return -EINVAL;
	tn = nodes[f->nid];
	f->ret_watched = 0;
	for (unsigned long i = 0; i < tn->nr_frames; i++) {
		spin_lock_irq(&tn->frames_lock);
		if (tn->sums[i] && page_count(pfn_to_page(tn->first_pfn + i)))
			f->ret_watched++;
		check_frame(tn, i);
		spin_unlock_irq(&tn->frames_lock);
		cond_resched();
	}
	f->ret_changed = tn->nr_changed;
	return 0;
}

/*
 * Callbacks
 */

static bool test_free_folio(struct page *page, unsigned int order)
{
	struct test_node *tn = READ_ONCE(nodes[page_to_nid(page)]);
	unsigned long flags, index;

	atomic64_inc(&tn->nr_free);
	if (!place_of(tn, page, 1UL << order, &index))
		return false;
	spin_lock_irqsave(&tn->kept_lock, flags);
	node_private_keep_pages(page, order);
	bitmap_set(tn->kept, index, 1UL << order);
	tn->nr_kept += 1UL << order;
	spin_unlock_irqrestore(&tn->kept_lock, flags);
	return true;
}

static void test_folio_split(struct folio *folio, struct folio *new_folio)
{
	atomic64_inc(&nodes[folio_nid(folio)]->nr_split);
}

static void test_folio_migrate(struct folio *src, struct folio *dst)
{
	if (nodes[folio_nid(src)])
		atomic64_inc(&nodes[folio_nid(src)]->nr_migrate);
	if (nodes[folio_nid(dst)] && folio_nid(dst) != folio_nid(src))
		atomic64_inc(&nodes[folio_nid(dst)]->nr_migrate);
	if (nodes[folio_nid(dst)] && folio_memcg(dst))
		atomic64_add(folio_nr_pages(dst), &nodes[folio_nid(dst)]->nr_charged);
	note_frames(&src->page, folio_nr_pages(src), false);
	note_frames(&dst->page, folio_nr_pages(dst), true);
}

static void test_folio_uncharge(struct folio *folio)
{
	atomic64_sub(folio_nr_pages(folio), &nodes[folio_nid(folio)]->nr_charged);
}

static bool test_may_demote(int nid, struct mem_cgroup *memcg)
{
	return !(READ_ONCE(nodes[nid]->how) & NPT_CLOSED) && node_private_has_room(nid);
}

static int test_promote(struct page *page, const struct node_promotion *promotion)
{
	atomic64_inc(&nodes[page_to_nid(page)]->nr_promote);
	return node_private_promote_page(page, promotion);
}

static void test_reclaim_policy(int nid, struct node_reclaim_policy *policy)
{
	policy->keep_free = READ_ONCE(nodes[nid]->keep_free);
}

static void test_memory_failure(struct folio *folio, unsigned long pfn,
				int mf_flags)
{
	atomic64_inc(&nodes[folio_nid(folio)]->nr_failure);
}

static int test_migrate_to(struct list_head *folios, int nid,
			   enum migrate_mode mode, enum migrate_reason reason,
			   unsigned int *ret_succeeded)
{
	struct test_node *tn = nodes[nid];
	struct folio *folio, *next;
	LIST_HEAD(refused);
	int nr_refused = 0;
	int rc = 0;

	atomic64_inc(&tn->nr_migrate_to);
	if (tn->how & NPT_WHOLE)
		reason = reason == MR_DEMOTION ? MR_DEMOTION_WHOLE : MR_WHOLE;
	list_for_each_entry_safe(folio, next, folios, lru) {
		if (atomic64_read(&tn->accept) < 0 ||
		    atomic64_dec_if_positive(&tn->accept) >= 0)
			continue;
		list_move_tail(&folio->lru, &refused);
		nr_refused++;
	}
	if (!list_empty(folios))
		rc = node_private_migrate_folios(folios, nid, mode, reason,
						 ret_succeeded);
	list_splice_tail(&refused, folios);
	return rc < 0 ? rc : rc + nr_refused;
}

/*
 * Nodes
 */

static struct test_node *get_node(int nid)
{
	struct test_node *tn;

	if (nid < 0 || nid >= MAX_NUMNODES || !node_possible(nid))
		return ERR_PTR(-EINVAL);
	if (nodes[nid])
		return nodes[nid];

	tn = kzalloc(sizeof(*tn), GFP_KERNEL);
	if (!tn)
		return ERR_PTR(-ENOMEM);
	for (int i = 0; i < NPT_OWNERS; i++)
		tn->np[i].owner = tn;
	spin_lock_init(&tn->kept_lock);
	spin_lock_init(&tn->frames_lock);
	nodes[nid] = tn;
	return tn;
}

/* Takes a whole block out of those kept. */
static struct page *take_kept(struct test_node *tn, unsigned int order)
{
	const unsigned long nr = 1UL << order;
	struct page *page = NULL;
	unsigned long index = 0;

	/* Pageblocks start at a multiple of any order, as the range does. */
	spin_lock_irq(&tn->kept_lock);
	while (!page && index + nr <= tn->nr_frames) {
		const unsigned long missing = find_next_zero_bit(tn->kept, index + nr, index);

		if (missing == index + nr) {
			bitmap_clear(tn->kept, index, nr);
			tn->nr_kept -= nr;
			page = pfn_to_page(tn->first_pfn + index);
		} else {
			index = ALIGN(find_next_bit(tn->kept, tn->nr_frames, missing), nr);
		}
	}
	spin_unlock_irq(&tn->kept_lock);
	return page;
}

static long do_give(struct npt_give *g)
{
	struct test_node *tn;
	struct page *page;

	if (g->nid < 0 || g->nid >= MAX_NUMNODES || !nodes[g->nid] || g->order > MAX_PAGE_ORDER)
		return -EINVAL;
	tn = nodes[g->nid];
	for (g->ret_count = 0; g->ret_count < g->count; g->ret_count++) {
		page = take_kept(tn, g->order);
		if (!page)
			break;
		node_private_put_pages(page, g->order);
		cond_resched();
	}
	return 0;
}

/* Memory that went, by whose hand ever, has no frames that are kept. */
static int test_memory_changes(struct notifier_block *nb, unsigned long action, void *arg)
{
	const struct memory_notify *change = arg;
	struct test_node *tn;
	unsigned long index;
	struct page *page;

	/* What comes online has no pages yet. */
	if (action != MEM_OFFLINE)
		return NOTIFY_OK;
	page = pfn_to_page(change->start_pfn);
	tn = nodes[page_to_nid(page)];
	if (!tn || !place_of(tn, page, change->nr_pages, &index))
		return NOTIFY_OK;
	spin_lock_irq(&tn->kept_lock);
	for (unsigned long i = index; i < index + change->nr_pages; i++)
		tn->nr_kept -= __test_and_clear_bit(i, tn->kept);
	spin_unlock_irq(&tn->kept_lock);
	return NOTIFY_OK;
}

static struct notifier_block test_memory_notifier = {
	.notifier_call = test_memory_changes,
};

static int watch_frames(struct test_node *tn, const struct npt_range *r)
{
	if (tn->sums)
		return 0;
	if (!r->size || r->size >> PAGE_SHIFT > MAX_FRAMES)
		return -EINVAL;
	tn->sums = kvcalloc(r->size >> PAGE_SHIFT, sizeof(*tn->sums), GFP_KERNEL);
	tn->kept = bitmap_zalloc(r->size >> PAGE_SHIFT, GFP_KERNEL);
	if (!tn->sums || !tn->kept) {
		forget_frames(tn, true);
		return -ENOMEM;
	}
	tn->first_pfn = PHYS_PFN(r->start);
	tn->nr_frames = r->size >> PAGE_SHIFT;
	return 0;
}

static long do_range(unsigned int cmd, const struct npt_range *r)
{
	struct test_node *tn = get_node(r->nid);
	struct node_private *np;
	bool first;
	long rc;

	if (IS_ERR(tn))
		return PTR_ERR(tn);
	if (r->owner >= NPT_OWNERS)
		return -EINVAL;
	np = &tn->np[r->owner];

	switch (cmd) {
	case NPT_TAKE:
		return offline_and_remove_memory(r->start, r->size);
	case NPT_RESTORE:
		return add_memory(r->nid, r->start, r->size, MHP_NONE);
	case NPT_ADD:
		first = !tn->sums;
		rc = watch_frames(tn, r);
		if (rc)
			return rc;
		rc = add_private_memory_driver_managed(r->nid, r->start, r->size,
						       RESOURCE_NAME, MHP_NONE,
						       r->online ? MMOP_ONLINE_MOVABLE :
								   MMOP_OFFLINE, np);
		if (rc && first && !node_state(r->nid, N_MEMORY_PRIVATE))
			forget_frames(tn, true);
		return rc;
	case NPT_REMOVE:
		for (int i = 0; i < NPT_OWNERS; i++)
			tn->np[i].offline_timeout_ms = r->timeout_ms;
		rc = offline_and_remove_private_memory(r->nid, r->start, r->size);
		if (!rc && !node_state(r->nid, N_MEMORY_PRIVATE))
			forget_frames(tn, true);
		if (!node_is_private(r->nid))
			tn->ops_set = false;
		return rc;
	case NPT_REGISTER:
		return node_private_register(r->nid, np);
	case NPT_UNREGISTER:
		rc = node_private_unregister(r->nid);
		if (!rc)
			tn->ops_set = false;
		return rc;
	}
	return -ENOTTY;
}

static long do_ops(unsigned int cmd, const struct npt_ops *o)
{
	struct test_node *tn = get_node(o->nid);
	long rc;

	if (IS_ERR(tn))
		return PTR_ERR(tn);

	if (cmd == NPT_CLEAR_OPS) {
		rc = node_private_clear_ops(o->nid, &tn->ops);
		/* Gone already if the node was unregistered under them. */
		if (!rc || rc == -ENODEV)
			tn->ops_set = false;
		if (!rc)
			forget_frames(tn, false);
		return rc;
	}

	if (cmd == NPT_KEEP_FREE) {
		WRITE_ONCE(tn->keep_free, o->keep_free);
		node_private_wake_reclaim(o->nid);
		return 0;
	}

	if (tn->ops_set) {
		/* What node_private_set_ops() makes of it: another set. */
		struct node_private_ops other = tn->ops;

		rc = node_private_set_ops(o->nid, &other);
		return rc ?: node_private_clear_ops(o->nid, &other);
	}
	tn->ops = (struct node_private_ops) {
		.free_folio = o->keep ? test_free_folio : NULL,
		.folio_split = test_folio_split,
		.migrate_to = o->no_callbacks ? NULL : test_migrate_to,
		.folio_migrate = o->no_callbacks ? NULL : test_folio_migrate,
		.folio_uncharge = test_folio_uncharge,
		.may_demote = o->flags & NP_OPS_DEMOTION ? test_may_demote : NULL,
		.promote = o->promote ? test_promote : NULL,
		.reclaim_policy = o->flags & NP_OPS_RECLAIM && (!o->keep || o->keep_free) ?
				  test_reclaim_policy : NULL,
		.memory_failure = test_memory_failure,
		.flags = o->flags,
	};
	WRITE_ONCE(tn->keep_free, o->keep_free);
	WRITE_ONCE(tn->how, o->how);
	atomic64_set(&tn->accept, o->accept);

	rc = node_private_set_ops(o->nid, &tn->ops);
	tn->ops_set = !rc;
	return rc;
}

static long do_stats(struct npt_stats *s)
{
	struct test_node *tn = get_node(s->nid);

	if (IS_ERR(tn))
		return PTR_ERR(tn);
	s->kept = tn->nr_kept;
	s->free_folio = atomic64_read(&tn->nr_free);
	s->folio_split = atomic64_read(&tn->nr_split);
	s->migrate_to = atomic64_read(&tn->nr_migrate_to);
	s->folio_migrate = atomic64_read(&tn->nr_migrate);
	s->memory_failure = atomic64_read(&tn->nr_failure);
	s->promote = atomic64_read(&tn->nr_promote);
	s->charged = atomic64_read(&tn->nr_charged);
	return 0;
}

/*
 * Allocation
 */

static gfp_t gfp_for(unsigned int how)
{
	const gfp_t quiet = __GFP_NOWARN | __GFP_NORETRY;

	switch (how) {
	case NPT_PRIVATE:
	case NPT_BULK_PRIVATE:
		return __GFP_PRIVATE;
	case NPT_PRIVATE_KERNEL:
		return GFP_KERNEL | __GFP_PRIVATE;
	case NPT_PRIVATE_ATOMIC:
		return GFP_ATOMIC | __GFP_PRIVATE;
	case NPT_PRIVATE_ZERO:
		return __GFP_PRIVATE | __GFP_ZERO;
	case NPT_THISNODE:
	case NPT_KMALLOC_THISNODE:
		return GFP_KERNEL | __GFP_THISNODE | quiet;
	case NPT_MOVABLE:
		return GFP_HIGHUSER_MOVABLE | __GFP_THISNODE | quiet;
	case NPT_ATOMIC:
		return GFP_ATOMIC | __GFP_THISNODE | quiet;
	case NPT_CONTIG:
		/* It knows only of flags that say how to compact. */
		return GFP_KERNEL | __GFP_NOWARN;
	default:
		return GFP_KERNEL | quiet;
	}
}

/* One block, and the page to judge it by. */
static void *alloc_one(const struct npt_alloc *a, struct page **ret_page)
{
	gfp_t gfp = gfp_for(a->how);
	struct page *pages[2] = {};
	void *object;

	switch (a->how) {
	case NPT_BULK:
	case NPT_BULK_PRIVATE:
		/* Two at a time: for one it does not use its fast path. */
		alloc_pages_bulk_array_node(gfp, a->nid, 2, pages);
		if (pages[1])
			__free_page(pages[1]);
		*ret_page = pages[0];
		return pages[0];
	case NPT_KMALLOC:
	case NPT_KMALLOC_THISNODE:
		object = kmalloc_node(PAGE_SIZE << a->order, gfp, a->nid);
		*ret_page = object ? virt_to_page(object) : NULL;
		return object;
	case NPT_VMALLOC:
		object = vmalloc_node(PAGE_SIZE << a->order, a->nid);
		*ret_page = object ? vmalloc_to_page(object) : NULL;
		return object;
	case NPT_CONTIG:
		*ret_page = alloc_contig_pages(1UL << a->order, gfp, a->nid, NULL);
		return *ret_page;
	default:
		*ret_page = alloc_pages_node(a->nid, gfp, a->order);
		return *ret_page;
	}
}

static void free_one(const struct block *b)
{
	switch (b->how) {
	case NPT_KMALLOC:
	case NPT_KMALLOC_THISNODE:
		kfree(b->object);
		break;
	case NPT_VMALLOC:
		vfree(b->object);
		break;
	case NPT_BULK:
	case NPT_BULK_PRIVATE:
		__free_page(b->object);
		break;
	case NPT_CONTIG:
		free_contig_range(page_to_pfn((struct page *)b->object), 1UL << b->order);
		break;
	default:
		__free_pages(b->object, b->order);
	}
}

static long do_alloc(struct session *s, struct npt_alloc *a)
{
	if (a->nid < 0 || a->nid >= MAX_NUMNODES || !node_possible(a->nid) ||
	    a->how >= NPT_HOWS || a->order > MAX_PAGE_ORDER || a->count > MAX_BLOCKS)
		return -EINVAL;

	a->ret_count = 0;
	a->ret_on_node = 0;
	a->ret_movable = 0;
	a->ret_zero = 0;
	while (a->ret_count < a->count) {
		struct block *b = kmalloc(sizeof(*b), GFP_KERNEL);
		struct page *page;

		if (!b)
			return -ENOMEM;
		b->how = a->how;
		b->order = a->order;
		b->object = alloc_one(a, &page);
		if (!b->object) {
			kfree(b);
			break;
		}
		mutex_lock(&s->lock);
		list_add(&b->list, &s->blocks);
		mutex_unlock(&s->lock);
		a->ret_count++;
		a->ret_on_node += page_to_nid(page) == a->nid;
		a->ret_movable += zone_idx(page_zone(page)) == ZONE_MOVABLE;
		if (a->how == NPT_PRIVATE || a->how == NPT_PRIVATE_ZERO) {
			note_frames(page, 1UL << a->order, false);
			a->ret_zero += !memchr_inv(page_address(page), 0, PAGE_SIZE << a->order);
		}
		if (fatal_signal_pending(current))
			return -EINTR;
		cond_resched();
	}
	return 0;
}

static void free_all(struct session *s)
{
	struct block *b, *next;
	LIST_HEAD(blocks);

	mutex_lock(&s->lock);
	list_splice_init(&s->blocks, &blocks);
	mutex_unlock(&s->lock);

	list_for_each_entry_safe(b, next, &blocks, list) {
		list_del(&b->list);
		free_one(b);
		kfree(b);
		cond_resched();
	}
}

/* As a graphics driver makes one for an object of its own. */
static long do_file(struct npt_file *f)
{
	struct file *file = shmem_file_setup("node_private_test", f->size, VM_NORESERVE);

	if (IS_ERR(file))
		return PTR_ERR(file);
	if (!f->movable)
		mapping_set_gfp_mask(file->f_mapping, GFP_HIGHUSER);
	f->ret_fd = get_unused_fd_flags(O_CLOEXEC);
	if (f->ret_fd < 0) {
		fput(file);
		return f->ret_fd;
	}
	fd_install(f->ret_fd, file);
	return 0;
}

/*
 * The device
 */

static int test_open(struct inode *inode, struct file *file)
{
	struct session *s;

	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	s = kzalloc(sizeof(*s), GFP_KERNEL);
	if (!s)
		return -ENOMEM;
	mutex_init(&s->lock);
	INIT_LIST_HEAD(&s->blocks);
	file->private_data = s;
	return 0;
}

static int test_release(struct inode *inode, struct file *file)
{
	struct session *s = file->private_data;

	free_all(s);
	kfree(s);
	return 0;
}

static long test_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	union {
		struct npt_range range;
		struct npt_ops ops;
		struct npt_alloc alloc;
		struct npt_give give;
		struct npt_stats stats;
		struct npt_frames frames;
		struct npt_file file;
	} u;
	void __user *uarg = (void __user *)arg;
	long rc;

	if (_IOC_TYPE(cmd) != 'n' || _IOC_SIZE(cmd) > sizeof(u))
		return -ENOTTY;
	if ((_IOC_DIR(cmd) & _IOC_WRITE) && copy_from_user(&u, uarg, _IOC_SIZE(cmd)))
		return -EFAULT;

	switch (cmd) {
	case NPT_ALLOC:
		rc = do_alloc(file->private_data, &u.alloc);
		break;
	case NPT_FILE:
		rc = do_file(&u.file);
		break;
	case NPT_FREE:
		free_all(file->private_data);
		rc = 0;
		break;
	case NPT_SET_OPS:
	case NPT_CLEAR_OPS:
	case NPT_KEEP_FREE:
		mutex_lock(&test_lock);
		rc = do_ops(cmd, &u.ops);
		mutex_unlock(&test_lock);
		break;
	case NPT_FRAMES:
		mutex_lock(&test_lock);
		rc = do_frames(&u.frames);
		mutex_unlock(&test_lock);
		break;
	case NPT_GIVE:
		mutex_lock(&test_lock);
		rc = do_give(&u.give);
		mutex_unlock(&test_lock);
		break;
	case NPT_STATS:
		mutex_lock(&test_lock);
		rc = do_stats(&u.stats);
		mutex_unlock(&test_lock);
		break;
	default:
		mutex_lock(&test_lock);
		rc = do_range(cmd, &u.range);
		mutex_unlock(&test_lock);
	}

	if (!rc && (_IOC_DIR(cmd) & _IOC_READ) &&
	    copy_to_user(uarg, &u, _IOC_SIZE(cmd)))
		return -EFAULT;
	return rc;
}

static const struct file_operations test_fops = {
	.open		= test_open,
	.release	= test_release,
	.unlocked_ioctl	= test_ioctl,
};

static struct miscdevice test_device = {
	.minor	= MISC_DYNAMIC_MINOR,
	.name	= "node_private_test",
	.fops	= &test_fops,
};

/*
 * No module: there would be no way out once a node has been used. Its memory may
 * still be, and unloading cannot fail. Tests end with the machine.
 */
static int __init test_init(void)
{
	int rc = register_memory_notifier(&test_memory_notifier);

	return rc ?: misc_register(&test_device);
}
device_initcall(test_init);
