/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * What a test asks of the test driver for private memory nodes.
 *
 * All ioctls are for /dev/node_private_test and need CAP_SYS_ADMIN. They are
 * the in-kernel interface made callable; nothing here is meant to last.
 */
#ifndef _LIB_TEST_NODE_PRIVATE_UAPI_H
#define _LIB_TEST_NODE_PRIVATE_UAPI_H

#include <linux/ioctl.h>
#include <linux/types.h>

/* A node and, where that matters, a range of physical memory. */
struct npt_range {
	__s32 nid;
	__u32 owner;		/* which of NPT_OWNERS claims to use */
	__u64 start;
	__u64 size;
	__u32 online;		/* NPT_ADD: online the memory right away */
	__u32 timeout_ms;	/* NPT_REMOVE: how long to try, 0: default */
};

#define NPT_OWNERS	2

/* Operations for a node. */
struct npt_ops {
	__s32 nid;
	__u32 flags;		/* NP_OPS_* */
	__u32 no_callbacks;	/* leave migrate_to and folio_migrate out */
	__u32 keep;		/* free_folio is there, and keeps all pages */
	__s64 accept;		/* migrate_to takes so many folios; < 0: all */
	__u64 keep_free;	/* reclaim_policy: pages to keep free */
	__u32 promote;		/* have one, beside the default */
	__u32 how;		/* NPT_WHOLE and so on */
};

#define NPT_WHOLE	1	/* migrate_to splits nothing */
#define NPT_CLOSED	2	/* may_demote says no */

/* Ways to allocate. Those not called private have no business on a private node. */
enum {
	NPT_PRIVATE,		/* alloc_pages_node(nid, __GFP_PRIVATE) */
	NPT_PRIVATE_KERNEL,	/* the same with GFP_KERNEL flags */
	NPT_KERNEL,		/* alloc_pages_node(nid, GFP_KERNEL) */
	NPT_THISNODE,		/* GFP_KERNEL | __GFP_THISNODE */
	NPT_MOVABLE,		/* GFP_HIGHUSER_MOVABLE | __GFP_THISNODE */
	NPT_ATOMIC,		/* GFP_ATOMIC | __GFP_THISNODE */
	NPT_BULK,		/* alloc_pages_bulk_array_node() */
	NPT_KMALLOC,		/* kmalloc_node() of an order's worth of bytes */
	NPT_KMALLOC_THISNODE,	/* the same with __GFP_THISNODE */
	NPT_VMALLOC,		/* vmalloc_node() */
	NPT_BULK_PRIVATE,	/* alloc_pages_bulk_array_node(__GFP_PRIVATE) */
	NPT_CONTIG,		/* alloc_contig_pages() */
	NPT_PRIVATE_ATOMIC,	/* alloc_pages_node(nid, GFP_ATOMIC | __GFP_PRIVATE) */
	NPT_PRIVATE_ZERO,	/* alloc_pages_node(nid, __GFP_PRIVATE | __GFP_ZERO) */
	NPT_HOWS
};

/* Up to @count blocks; they stay allocated until NPT_FREE or close(). */
struct npt_alloc {
	__s32 nid;
	__u32 how;
	__u32 order;
	__u32 count;
	__u32 ret_count;	/* blocks allocated */
	__u32 ret_on_node;	/* of them, whose first page is on @nid */
	__u32 ret_movable;	/* of them, in ZONE_MOVABLE */
	__u32 ret_zero;		/* NPT_PRIVATE and NPT_PRIVATE_ZERO: of them, all zero */
};

/* How often the node's callbacks ran. */
struct npt_stats {
	__s32 nid;
	__u32 kept;		/* pages kept by free_folio now */
	__u64 free_folio;
	__u64 folio_split;
	__u64 migrate_to;
	__u64 folio_migrate;
	__u64 memory_failure;
	__u64 promote;
	__s64 charged;		/* pages moved there that a cgroup pays for, less uncharged */
};

/* Up to @count blocks of those kept, to the page allocator. */
struct npt_give {
	__s32 nid;
	__u32 order;
	__u32 count;
	__u32 ret_count;
};

/*
 * What became of the frames that pages were moved to. Nobody may write to them
 * before the pages leave, if the node is write-protected, nor when they are free.
 */
struct npt_frames {
	__s32 nid;
	__u32 pad;
	__u64 ret_watched;	/* frames in use whose contents are known */
	__u64 ret_changed;	/* frames ever found with other contents */
};

/* A shmem file that the kernel made, for itself unless @movable. */
struct npt_file {
	__u64 size;
	__u32 movable;
	__s32 ret_fd;
};

#define NPT_TAKE	_IOW('n', 1, struct npt_range)	/* ordinary memory away */
#define NPT_RESTORE	_IOW('n', 2, struct npt_range)	/* and back */
#define NPT_ADD		_IOW('n', 3, struct npt_range)
#define NPT_REMOVE	_IOW('n', 4, struct npt_range)
#define NPT_REGISTER	_IOW('n', 5, struct npt_range)
#define NPT_UNREGISTER	_IOW('n', 6, struct npt_range)
#define NPT_SET_OPS	_IOW('n', 7, struct npt_ops)
#define NPT_CLEAR_OPS	_IOW('n', 8, struct npt_ops)
#define NPT_ALLOC	_IOWR('n', 9, struct npt_alloc)
#define NPT_FREE	_IO('n', 10)
#define NPT_STATS	_IOWR('n', 11, struct npt_stats)
#define NPT_GIVE	_IOWR('n', 12, struct npt_give)
#define NPT_KEEP_FREE	_IOW('n', 13, struct npt_ops)	/* change keep_free only */
#define NPT_FRAMES	_IOWR('n', 14, struct npt_frames)
#define NPT_FILE	_IOWR('n', 15, struct npt_file)

#endif /* _LIB_TEST_NODE_PRIVATE_UAPI_H */
