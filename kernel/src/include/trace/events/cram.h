/* SPDX-License-Identifier: GPL-2.0-only */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM cram

#if !defined(_TRACE_CRAM_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_CRAM_H

#include <linux/cram_account.h>
#include <linux/tracepoint.h>

/* A report is in force. Amounts are bytes of the card, but for frames. */
TRACE_EVENT(cram_report,
	    TP_PROTO(int nid, const struct cram_account *account, u64 used),
	    TP_ARGS(nid, account, used),
	    TP_STRUCT__entry(__field(int, nid)
			     __field(u64, generation)
			     __field(u64, stored)
			     __field(u64, physical)
			     __field(bool, shrinking)
			     __field(u64, credited)
			     __field(u64, unsettled)
			     __field(u64, used)),
	    TP_fast_assign(__entry->nid = nid;
			   __entry->generation = account->generation;
			   __entry->stored = account->stored;
			   __entry->physical = account->physical;
			   __entry->shrinking = account->shrinking;
			   __entry->credited = account->credited;
			   __entry->unsettled = cram_account_unsettled(account);
			   __entry->used = used;),
	    TP_printk("nid=%d generation=%llu stored=%llu physical=%llu%s credited=%llu unsettled=%llu used=%llu",
		      __entry->nid, __entry->generation, __entry->stored,
		      __entry->physical, __entry->shrinking ? " shrinking" : "",
		      __entry->credited, __entry->unsettled, __entry->used)
);

/* A report was asked for in vain, or does not count. */
TRACE_EVENT(cram_report_failed,
	    TP_PROTO(int nid, int error),
	    TP_ARGS(nid, error),
	    TP_STRUCT__entry(__field(int, nid)
			     __field(int, error)),
	    TP_fast_assign(__entry->nid = nid;
			   __entry->error = error;),
	    TP_printk("nid=%d error=%d", __entry->nid, __entry->error)
);

DECLARE_EVENT_CLASS(cram_frames,
		    TP_PROTO(int nid, unsigned long frames),
		    TP_ARGS(nid, frames),
		    TP_STRUCT__entry(__field(int, nid)
				     __field(unsigned long, frames)),
		    TP_fast_assign(__entry->nid = nid;
				   __entry->frames = frames;),
		    TP_printk("nid=%d frames=%lu", __entry->nid, __entry->frames)
);

/* The allocator got so many frames, or lost them. */
DEFINE_EVENT(cram_frames, cram_give,
	     TP_PROTO(int nid, unsigned long frames),
	     TP_ARGS(nid, frames)
);

DEFINE_EVENT(cram_frames, cram_take,
	     TP_PROTO(int nid, unsigned long frames),
	     TP_ARGS(nid, frames)
);

/* Pages had to go. */
TRACE_EVENT(cram_evict,
	    TP_PROTO(int nid, unsigned long pages, unsigned long moved,
		     unsigned long swapped),
	    TP_ARGS(nid, pages, moved, swapped),
	    TP_STRUCT__entry(__field(int, nid)
			     __field(unsigned long, pages)
			     __field(unsigned long, moved)
			     __field(unsigned long, swapped)),
	    TP_fast_assign(__entry->nid = nid;
			   __entry->pages = pages;
			   __entry->moved = moved;
			   __entry->swapped = swapped;),
	    TP_printk("nid=%d pages=%lu moved=%lu swapped=%lu", __entry->nid,
		      __entry->pages, __entry->moved, __entry->swapped)
);

TRACE_EVENT(cram_oom_kill,
	    TP_PROTO(int nid, u64 cgroup),
	    TP_ARGS(nid, cgroup),
	    TP_STRUCT__entry(__field(int, nid)
			     __field(u64, cgroup)),
	    TP_fast_assign(__entry->nid = nid;
			   __entry->cgroup = cgroup;),
	    TP_printk("nid=%d cgroup=%llu", __entry->nid, __entry->cgroup)
);

TRACE_EVENT(cram_trim,
	    TP_PROTO(int nid, unsigned int ranges, u64 bytes, int error),
	    TP_ARGS(nid, ranges, bytes, error),
	    TP_STRUCT__entry(__field(int, nid)
			     __field(unsigned int, ranges)
			     __field(u64, bytes)
			     __field(int, error)),
	    TP_fast_assign(__entry->nid = nid;
			   __entry->ranges = ranges;
			   __entry->bytes = bytes;
			   __entry->error = error;),
	    TP_printk("nid=%d ranges=%u bytes=%llu error=%d", __entry->nid,
		      __entry->ranges, __entry->bytes, __entry->error)
);

TRACE_EVENT(cram_state,
	    TP_PROTO(int nid, const char *state),
	    TP_ARGS(nid, state),
	    TP_STRUCT__entry(__field(int, nid)
			     __string(state, state)),
	    TP_fast_assign(__entry->nid = nid;
			   __assign_str(state);),
	    TP_printk("nid=%d state=%s", __entry->nid, __get_str(state))
);

#endif /* _TRACE_CRAM_H */

#include <trace/define_trace.h>
