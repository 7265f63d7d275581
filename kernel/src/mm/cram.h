/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * CRAM: what its parts have in common. Calls go one way:
 *
 *	cram.c (bringing a node up and down; what mm calls)
 *	  -> cram_work.c (reports, states)
 *	  -> cram_evict.c (who has to go), cram_lost.c (what is gone)
 *	  -> cram_migrate.c (in and out)
 *	  -> cram_frames.c (what each frame is; giving, taking, trimming)
 *	  -> cram_memcg.c, cram_sample.c (what is whose)
 *
 * and cram_sysfs.c only looks.
 */
#ifndef __MM_CRAM_H
#define __MM_CRAM_H

#include <linux/bitfield.h>
#include <linux/cram.h>
#include <linux/jiffies.h>
#include <linux/mutex.h>
#include <linux/node_private.h>
#include <linux/pfn.h>
#include <linux/spinlock.h>
#include <linux/types.h>
#include <linux/vmstat.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

struct mem_cgroup;

/* Frames of a block: what is given out at once, and as a huge page. */
#define CRAM_BLOCK_ORDER	9
#define CRAM_BLOCK_FRAMES	BIT(CRAM_BLOCK_ORDER)

/* What a frame is, in the low bits of its byte. */
enum cram_frame {
	CRAM_KEPT,	/* trimmed; CRAM's */
	CRAM_CREDITED,	/* the allocator's, or allocated and not known to be written */
	CRAM_TAKEN,	/* CREDITED, and allocated by CRAM to have it back */
	CRAM_WRITTEN,	/* write-protected, its bytes at the card */
	CRAM_SOILED,	/* freed while CREDITED: there may be bytes of it in caches */
	CRAM_DYING,	/* freed, not trimmed yet */
	CRAM_LIMBO,	/* in a trim that timed out and may be carried out yet */
	CRAM_FAILED,	/* its memory failed while it was free: nobody's any more */
};

#define CRAM_FRAME_MASK		0x07
#define CRAM_FRAME_SAMPLE	0x78	/* what the card stores of it; 0: not measured */
#define CRAM_FRAME_HUGE		BIT(7)	/* of a page that came huge, split or not */

/* As /sys/devices/system/node/nodeN/cram/state says it */
enum cram_state {
	CRAM_NORMAL,
	CRAM_THROTTLED,	/* more was asked for than may be given */
	CRAM_EVICTING,	/* pages have to go, for the card has less than it had */
	CRAM_STALE,	/* the card has stopped to report; nothing new comes */
	CRAM_OVERRUN,	/* the card broke what is assumed of it */
	CRAM_OFFLINE,	/* being taken away, or gone */
};

enum cram_stat {
	CRAM_REPORTS,		/* in force for a time */
	CRAM_REPORTS_OLD,	/* not newer than the one in force */
	CRAM_REPORTS_REFUSED,	/* that make no sense */
	CRAM_REPORTS_FAILED,	/* the card did not give one */
	CRAM_GIVEN,		/* frames */
	CRAM_TAKEN_BACK,	/* frames */
	CRAM_STORED,		/* frames that pages came to */
	CRAM_SPOILED,		/* frames allocated, and freed without a page in them */
	CRAM_TRIMMED,		/* frames */
	CRAM_TRIMS,		/* commands */
	CRAM_TRIMS_FAILED,
	CRAM_TRIMS_TIMED_OUT,
	CRAM_RESETS,
	CRAM_ZEROED,		/* frames, by the processor */
	CRAM_EVICTED,		/* pages, to ordinary memory */
	CRAM_SWAPPED,		/* pages, that had to go and found no room there */
	CRAM_EVICT_FAILED,	/* pages */
	CRAM_OOM_KILLS,
	CRAM_INTERRUPTS,
	CRAM_LOST,		/* pages that did not fit on the card */
	CRAM_RETIRED,		/* frames that failed while they were free */
	CRAM_PROMOTED,		/* pages that left because they were written to */
	CRAM_WAITS,		/* reclaim that waited for a report, which makes room */
	NR_CRAM_STATS,
};

/* A huge page was split for a write to it: to which of its pages, and when. */
struct cram_touch {
	unsigned long index;
	unsigned long when;	/* jiffies */
};

#define CRAM_TOUCHES	64

/* With those who can make room for an announced shrink themselves: see cram_work.c. */
struct cram_patience {
	u64 excess;		/* frames, the least so far; 0: nothing has to go */
	unsigned long since;	/* jiffies */
	unsigned long progress;	/* jiffies when @excess fell */
	bool over;
};

#define CRAM_EVICT_BATCH	128	/* pages, between two reports */

#define CRAM_CLASSES	16

/* See cram_sample.c. */
struct cram_sample {
	unsigned int interval;		/* one frame in so many; 0: none */
	u32 bytes_of[CRAM_CLASSES];
	atomic_long_t bytes;		/* of all frames that were measured and not trimmed since */
	struct cram_compressor *compressor;
};

/* One card, one node */
struct cram {
	struct node_private np;
	int nid;
	u64 start, size;
	unsigned long first_pfn, nr_frames, nr_blocks;
	struct device *dev;
	const struct cram_card_ops *ops;
	void *card;

	/* Account, blocks, and frames except WRITTEN to DYING. Interrupts off. */
	spinlock_t lock;
	struct cram_account account;
	u8 *frame;		/* a byte each */
	u16 *kept;		/* KEPT frames of each block */
	unsigned long *online;	/* blocks that can be given from */
	unsigned long *whole;	/* blocks that are all KEPT */
	unsigned long *broken;	/* blocks that are KEPT in part */
	unsigned long *dying;	/* blocks to be looked through for SOILED and DYING */
	unsigned long hand;	/* block where the next is looked for */
	u64 used;		/* frames WRITTEN since the newest report */
	atomic_long_t unsettled;	/* frames WRITTEN that the account does not know of */

	struct mutex give_lock;	/* between KEPT and the allocator; against hotplug */
	unsigned int pressure;	/* thousandths */
	u64 most_credit;	/* frames: G */

	atomic_long_t nr_dying;	/* SOILED, DYING, LIMBO */
	atomic_long_t nr_written;
	atomic_long_t stat[NR_CRAM_STATS];

	/* The worker's own */
	struct workqueue_struct *queue;
	struct delayed_work work;
	struct mutex work_lock;	/* the card's operations */
	struct cram_limits limits;
	enum cram_state state;
	bool closed;		/* nothing may be given: being taken away */
	bool gone;
	bool lost;		/* and what is on it cannot be read */
	struct cram_sample sample;
	/* Where huge pages were written to lately */
	struct cram_touch touch[CRAM_TOUCHES];

	bool wanting;		/* somebody wanted more than there was */
	unsigned long passes;	/* of the worker, each with a report and what that gives */
	wait_queue_head_t passed;
	bool silent;		/* the card did not answer the newest request */
	bool doubted;		/* the newest report made no sense */
	bool overrun;
	bool cannot_trim;		/* since the node came */
	unsigned long refused;		/* jiffies when the card said so; or 0 */
	struct cram_range *range;
	bool trims_fail;		/* the last one did */
	bool trimmed;			/* something, since a single page was refused */
	u64 batch;			/* bytes to trim at once */
	unsigned long trim_hand;	/* frame */
	unsigned long nr_limbo;		/* frames */
	u64 evicted_by;			/* generation of the report by which pages went last */
	unsigned long evict_hand;	/* frame */
	unsigned long evict_seen;	/* frames since one was found that can go */
	u64 pass_over;			/* bytes: who takes so much or more could not leave ... */
	unsigned long passed_over;	/* ... jiffies */
	struct cram_patience patience;
	unsigned long stuck;		/* jiffies since when pages have to go and none can; or 0 */
	unsigned long reported;	/* jiffies of the report in force */
	unsigned long asked;	/* jiffies of the newest request */
	unsigned long overrun_since;	/* jiffies */
	unsigned long searched;	/* jiffies, for frames that failed; or 0 */
	long nr_poisoned;	/* pages of the host, then */
	unsigned int interval_ms;
	u64 watermarks_of;	/* bytes that the watermarks are parts of; 0: not set */
};

/* For readers in an RCU or SRCU section of node_private, that is in its callbacks */
struct cram *cram_of(int nid);

static inline unsigned long cram_index(const struct cram *c, const struct page *page)
{
	return page_to_pfn(page) - c->first_pfn;
}

static inline enum cram_frame cram_frame(const struct cram *c, unsigned long index)
{
	return READ_ONCE(c->frame[index]) & CRAM_FRAME_MASK;
}

static inline void cram_count(struct cram *c, enum cram_stat stat, long n)
{
	atomic_long_add(n, &c->stat[stat]);
}

/* Also in /proc/vmstat, of all cards */
static inline void cram_count_pages(struct cram *c, enum cram_stat stat,
				    enum vm_event_item item, long n)
{
	cram_count(c, stat, n);
	count_vm_events(item, n);
}

/* cram.c */
void cram_kick(struct cram *c);

/* cram_frames.c */
int cram_frames_init(struct cram *c);
void cram_frames_free(struct cram *c);
bool cram_free_folio(struct page *page, unsigned int order);
bool cram_folio_written(struct cram *c, struct folio *folio);
u64 cram_room(struct cram *c);
void cram_settle(struct cram *c);
unsigned long cram_free_pieces(const struct cram *c, unsigned int order);
unsigned int cram_piece_order(const struct cram *c, unsigned long want);
u64 cram_surplus(struct cram *c);
bool cram_room_may_come(struct cram *c, unsigned long want);
unsigned long cram_give(struct cram *c, unsigned long want);
unsigned long cram_take(struct cram *c, unsigned long want);
void cram_take_untouched(struct cram *c, struct page *page, unsigned long nr);
void cram_set_online(struct cram *c, unsigned long start_pfn, unsigned long nr, bool online);
void cram_frames_gone(struct cram *c, unsigned long start_pfn, unsigned long nr);
int cram_trim_all(struct cram *c);
int cram_trim_dying(struct cram *c);
bool cram_waits_for_trims(const struct cram *c, u64 excess);
void cram_flush_dying(struct cram *c, unsigned long start_pfn, unsigned long nr);
void cram_limbo_over(struct cram *c);
void cram_retire_failed(struct cram *c);

/* cram_migrate.c */
int cram_verify(int nid, struct page *copy, unsigned long nr);
int cram_migrate_to(struct list_head *folios, int nid, enum migrate_mode mode,
		    enum migrate_reason reason, unsigned int *ret_succeeded);
void cram_folio_migrate(struct folio *src, struct folio *dst);
int cram_promote(struct page *page, const struct node_promotion *promotion);
unsigned long cram_isolate(struct cram *c, unsigned long index, struct mem_cgroup *memcg,
			   struct list_head *folios);
unsigned long cram_send_home(struct list_head *folios, nodemask_t *home,
			     enum migrate_mode mode, enum migrate_reason reason);
unsigned long cram_send_all_home(struct cram *c);

/* cram_evict.c */
void cram_evict(struct cram *c, unsigned long want);

/* cram_lost.c */
unsigned long cram_lose_pages(struct cram *c);

/* cram_work.c */
int cram_first_report(struct cram *c);
void cram_work(struct work_struct *work);
void cram_set_state(struct cram *c, enum cram_state state);

#define CRAM_MIN_INTERVAL_MS	10

/* For how long the card may say nothing: more than its mailbox may take */
#define CRAM_STALE_MS	3000

/*
 * Then nothing more is given and what is left of the credit is taken back; not for
 * safety, for it is paid for, but to spend none on a card that may be about to fail.
 */
static inline bool cram_is_stale(const struct cram *c)
{
	return time_after(jiffies, READ_ONCE(c->reported) + msecs_to_jiffies(CRAM_STALE_MS));
}

/* cram_sysfs.c */
extern const char *const cram_state_names[];
int cram_sysfs_add(struct cram *c);
void cram_sysfs_remove(struct cram *c);
void cram_sysfs_state(struct cram *c);

/* cram_memcg.c: what a cgroup may have on all cards together */
unsigned long cram_memcg_reserve(struct mem_cgroup *memcg, unsigned long nr);
void cram_memcg_release(struct mem_cgroup *memcg, unsigned long nr);
bool cram_memcg_fits(struct mem_cgroup *memcg, unsigned long nr);

/* cram_sample.c: what is measured of pages that come */
int cram_sample_init(struct cram *c);
void cram_sample_free(struct cram *c);
void cram_sample_came(struct cram *c, struct folio *src, struct folio *dst);
void cram_sample_went(struct cram *c, struct folio *folio);
u64 cram_sample_estimate(struct cram *c, struct mem_cgroup *memcg, unsigned long pages);

/* What a frame with this byte takes on the card as far as it was measured */
static inline u32 cram_sample_bytes(const struct cram *c, u8 frame)
{
	return c->sample.bytes_of[FIELD_GET(CRAM_FRAME_SAMPLE, frame)];
}

#endif /* __MM_CRAM_H */
