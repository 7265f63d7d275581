/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a card of compressed memory may be asked to hold: the counters behind
 * the promise that it is never overrun, and nothing else. No locks, no frames,
 * no I/O, so that a program can go through all states that they can be in.
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
#ifndef _LINUX_CRAM_ACCOUNT_H
#define _LINUX_CRAM_ACCOUNT_H

#include <linux/types.h>

/* Requests for a report that may be unanswered at once before their epochs are merged. */
#define CRAM_EPOCHS	2

/**
 * struct cram_report - what the card says of itself, as of one moment
 * @tag: of the newest request that the card had received at that moment
 * @generation: rises with every snapshot
 * @stored: bytes stored, the card's own metadata included
 * @usable: bytes it can store
 * @target: what @usable is about to shrink to; 0: no shrink is announced
 */
struct cram_report {
	u64 tag;
	u64 generation;
	u64 stored;
	u64 usable;
	u64 target;
};

/* Frames written before the request @tag was sent, which no report has covered. */
struct cram_epoch {
	u64 tag;
	u64 frames;
};

/**
 * struct cram_account - the counters of one card
 * @worst: most that one frame can make the card store
 * @reserve: for all that the card may do by itself: lag, step, growth; zeroing
 * @generation: of the report in force; 0: none yet
 * @covered: the newest request that it answers
 * @stored: of that report
 * @usable: of that report
 * @physical: the lower one of usable and target
 * @shrinking: @physical is a target that the card waits to be granted
 * @credited: frames given to the allocator and not known to be written
 * @unsettled: frames written since the newest request was sent
 * @epoch: unanswered requests, oldest first
 * @epochs: how many
 * @tag: of the newest request
 * @budget: frames that the processor may zero between two reports; worst each, of
 *	@reserve
 * @zeroed: of @budget, spent
 * @zeroing: of @zeroed, still under way
 * @zero_tag: newest request that was sent before the last zeroing ended
 */
struct cram_account {
	u64 worst;
	u64 reserve;
	u64 generation;
	u64 covered;
	u64 stored;
	u64 usable;
	u64 physical;
	bool shrinking;
	u64 credited;
	u64 unsettled;
	struct cram_epoch epoch[CRAM_EPOCHS];
	unsigned int epochs;
	u64 tag;
	u64 budget;
	u64 zeroed;
	u64 zeroing;
	u64 zero_tag;
};

static inline u64 cram_account_unsettled(const struct cram_account *a)
{
	u64 frames = a->unsettled;

	for (unsigned int i = 0; i < a->epochs; i++)
		frames += a->epoch[i].frames;
	return frames;
}

/* Bytes that the card may come to store, whatever happens, and what it is left to itself. */
static inline u64 cram_account_claimed(const struct cram_account *a)
{
	return a->stored + a->reserve + a->worst * (a->credited + cram_account_unsettled(a));
}

/* Frames that may be given to the allocator now. */
static inline u64 cram_account_room(const struct cram_account *a)
{
	u64 claimed = cram_account_claimed(a);

	return a->physical > claimed ? (a->physical - claimed) / a->worst : 0;
}

/* Frames that have to be taken back for the promise to hold again: physical fell. */
static inline u64 cram_account_excess(const struct cram_account *a)
{
	u64 claimed = cram_account_claimed(a);

	return claimed > a->physical ? (claimed - a->physical + a->worst - 1) / a->worst : 0;
}

/* @frames KEPT frames go to the allocator; at most cram_account_room(). */
static inline void cram_account_give(struct cram_account *a, u64 frames)
{
	a->credited += frames;
}

/* @frames CREDITED frames that nobody can have written are KEPT again. */
static inline void cram_account_take(struct cram_account *a, u64 frames)
{
	a->credited -= frames;
}

/*
 * @frames CREDITED frames hold what they will hold, all of it at the card: their
 * caches were flushed before. Also for frames that are freed while CREDITED,
 * since nobody knows whether they were written.
 */
static inline void cram_account_written(struct cram_account *a, u64 frames)
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
	/*
	 * The budget may have become smaller meanwhile, and so may what it is part of: not what
	 * the card is about to have, which zeros are to make possible.
	 */
	if (a->zeroed >= a->budget || cram_account_claimed(a) > a->usable)
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
 * The generation of a report whose announced shrink the next request accepts, or 0.
 * From then on the card may have no more than the target. So either the promise
 * holds at the target already, or nothing on the card can be written. The latter will
 * not do where the processor zeroes: it writes to make room, and needs some for it.
 */
static inline u64 cram_account_accepts(const struct cram_account *a)
{
	if (!a->shrinking)
		return 0;
	if (!cram_account_excess(a))
		return a->generation;
	return a->credited || a->zeroing || a->budget ? 0 : a->generation;
}

/* A report is asked for: returns the tag to send with the request. */
static inline u64 cram_account_ask(struct cram_account *a)
{
	if (a->epochs == CRAM_EPOCHS) {
		/* Whoever waits for so many answers can wait for one more before it settles. */
		a->unsettled += a->epoch[--a->epochs].frames;
	}
	a->epoch[a->epochs].tag = ++a->tag;
	a->epoch[a->epochs++].frames = a->unsettled;
	a->unsettled = 0;
	return a->tag;
}

/*
 * A report has come, perhaps late, for the second time or overtaken by a newer
 * one. Returns whether it is in force now; one that is not newer changes nothing.
 * Newer is what covers a newer request, whatever generation a card gives to what
 * it has made before: what was written since is settled, and not in there.
 */
static inline bool cram_account_apply(struct cram_account *a, const struct cram_report *report)
{
	unsigned int settled = 0;

	if (report->generation <= a->generation || report->tag <= a->covered ||
	    report->tag > a->tag)
		return false;
	a->generation = report->generation;
	a->covered = report->tag;
	a->stored = report->stored;
	a->shrinking = report->target && report->target < report->usable;
	a->usable = report->usable;
	a->physical = a->shrinking ? report->target : report->usable;
	while (settled < a->epochs && a->epoch[settled].tag <= report->tag)
		settled++;
	a->epochs -= settled;
	for (unsigned int i = 0; i < a->epochs; i++)
		a->epoch[i] = a->epoch[i + settled];
	/* If zeros took more than they freed, credit has to come back before more of them. */
	if (!a->zeroing && report->tag > a->zero_tag && cram_account_claimed(a) <= a->usable)
		a->zeroed = 0;
	return true;
}

#endif /* _LINUX_CRAM_ACCOUNT_H */
