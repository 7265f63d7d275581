/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a card of compressed memory may be asked to hold: the counters behind
 * the promise that it is never overrun, and nothing else. No locks, no frames,
 * no I/O, so that every state of them can be enumerated (tests/model).
 *
 * A frame of the card is KEPT (trimmed, costs nothing), CREDITED (given to the
 * allocator: may be written at any moment), WRITTEN (write-protected, its bytes
 * at the card) or DYING (freed, not yet trimmed). The counters keep
 *
 *	stored + worst * (credited + unsettled) <= physical - reserve
 *
 * where a frame is unsettled from being WRITTEN until a report arrives whose
 * snapshot was taken later. Only a report makes room, and only for the newest
 * state of the card that was ever seen. All amounts are in bytes of the card,
 * all counts in frames.
 */
#ifndef CRAM_ACCOUNT_H
#define CRAM_ACCOUNT_H

#include <stdbool.h>
#include <stdint.h>

/* Requests for a report that may be unanswered at once before their epochs are merged. */
#define CRAM_EPOCHS 2

/* What the card says of itself, as of one moment. */
struct cram_report {
	uint64_t tag;	     /* of the newest request that the card had received at that moment */
	uint64_t generation; /* rises with every snapshot */
	uint64_t stored;     /* bytes stored, the card's own metadata included */
	uint64_t usable;     /* bytes it can store */
	uint64_t target;     /* what usable is about to shrink to; 0: no shrink is announced */
};

/* Frames written before the request @tag was sent, which no report has covered. */
struct cram_epoch {
	uint64_t tag;
	uint64_t frames;
};

struct cram_account {
	uint64_t worst;	  /* most that one frame can make the card store */
	uint64_t reserve; /* for all that the card may do by itself: lag, step, growth; zeroing */
	uint64_t generation; /* of the report in force; 0: none yet */
	uint64_t stored;
	uint64_t physical; /* the lower one of usable and target */
	bool shrinking;	   /* physical is a target that the card waits to be granted */
	uint64_t credited;
	uint64_t unsettled;		      /* written since the newest request was sent */
	struct cram_epoch epoch[CRAM_EPOCHS]; /* unanswered requests, oldest first */
	unsigned int epochs;
	uint64_t tag;	   /* of the newest request */
	uint64_t budget;   /* frames that the processor may zero between two reports; worst each, of
			      @reserve */
	uint64_t zeroed;   /* of @budget, spent */
	uint64_t zeroing;  /* of @zeroed, still under way */
	uint64_t zero_tag; /* newest request that was sent before the last zeroing ended */
};

static inline uint64_t cram_account_unsettled(const struct cram_account *a)
{
	uint64_t frames = a->unsettled;

	for (unsigned int i = 0; i < a->epochs; i++)
		frames += a->epoch[i].frames;
	return frames;
}

/* Frames that may be given to the allocator now. */
static inline uint64_t cram_account_room(const struct cram_account *a)
{
	uint64_t claimed =
		a->stored + a->reserve + a->worst * (a->credited + cram_account_unsettled(a));

	return a->physical > claimed ? (a->physical - claimed) / a->worst : 0;
}

/* Frames that have to be taken back for the promise to hold again: physical fell. */
static inline uint64_t cram_account_excess(const struct cram_account *a)
{
	uint64_t claimed =
		a->stored + a->reserve + a->worst * (a->credited + cram_account_unsettled(a));

	return claimed > a->physical ? (claimed - a->physical + a->worst - 1) / a->worst : 0;
}

/* @frames KEPT frames go to the allocator; at most cram_account_room(). */
static inline void cram_account_give(struct cram_account *a, uint64_t frames)
{
	a->credited += frames;
}

/* @frames CREDITED frames that nobody can have written are KEPT again. */
static inline void cram_account_take(struct cram_account *a, uint64_t frames)
{
	a->credited -= frames;
}

/*
 * @frames CREDITED frames hold what they will hold, all of it at the card: their
 * caches were flushed before. Also for frames that are freed while CREDITED,
 * since nobody knows whether they were written.
 */
static inline void cram_account_written(struct cram_account *a, uint64_t frames)
{
	a->credited -= frames;
	a->unsettled += frames;
}

/*
 * Where the card cannot trim, the processor writes zeros to DYING frames, which
 * costs the worst until a report says otherwise. Returns whether one may begin.
 */
static inline bool cram_account_zero_begin(struct cram_account *a)
{
	if (a->zeroed == a->budget)
		return false;
	a->zeroed++;
	a->zeroing++;
	return true;
}

/* The zeros are at the card. */
static inline void cram_account_zero_end(struct cram_account *a)
{
	a->zeroing--;
	a->zero_tag = a->tag;
}

/*
 * Whether the next report may be asked for. To ask is to grant an announced
 * shrink: from then on the card may have no more than the target. So either the
 * promise holds at the target already, or nothing on the card can be written.
 */
static inline bool cram_account_may_ask(const struct cram_account *a)
{
	return !a->shrinking || !cram_account_excess(a) || (!a->credited && !a->zeroing);
}

/* A report is asked for: returns the tag to send with the request. */
static inline uint64_t cram_account_ask(struct cram_account *a)
{
	if (a->epochs == CRAM_EPOCHS) {
		/* Whoever waits for so many answers can wait for one more before it settles. */
		a->unsettled += a->epoch[--a->epochs].frames;
	}
	a->epoch[a->epochs++] = (struct cram_epoch){ .tag = ++a->tag, .frames = a->unsettled };
	a->unsettled = 0;
	return a->tag;
}

/*
 * A report has come, perhaps late, for the second time or overtaken by a newer
 * one. Returns whether it is in force now; one that is not newer changes nothing.
 */
static inline bool cram_account_apply(struct cram_account *a, const struct cram_report *report)
{
	unsigned int settled = 0;

	if (report->generation <= a->generation || report->tag > a->tag)
		return false;
	a->generation = report->generation;
	a->stored = report->stored;
	a->shrinking = report->target && report->target < report->usable;
	a->physical = a->shrinking ? report->target : report->usable;
	while (settled < a->epochs && a->epoch[settled].tag <= report->tag)
		settled++;
	a->epochs -= settled;
	for (unsigned int i = 0; i < a->epochs; i++)
		a->epoch[i] = a->epoch[i + settled];
	/* If zeros took more than they freed, credit has to come back before more of them. */
	if (!a->zeroing && report->tag > a->zero_tag && !cram_account_excess(a))
		a->zeroed = 0;
	return true;
}

#endif
