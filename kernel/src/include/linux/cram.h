/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * CRAM: memory on a card that compresses it, on a private node of its own.
 *
 * This header is for the drivers of such cards. A driver says how to ask a card
 * for a report, how to make it forget ranges, and when it has raised an
 * interrupt; everything else, from bringing the memory online to the decision
 * what may be stored there, is CRAM's (mm/cram.c).
 */
#ifndef _LINUX_CRAM_H
#define _LINUX_CRAM_H

#include <linux/types.h>
#include <linux/cram_account.h>

struct device;

/* How a card compresses, or what comes next to it of what the kernel can do too. */
enum cram_algorithm {
	CRAM_LZ4,
	CRAM_ZSTD,	/* as fast as it can */
};

/* What a card says of itself besides struct cram_report, which see. */
struct cram_limits {
	enum cram_algorithm algorithm;	/* as long as the card is there, like @unit */
	u32 unit;	/* bytes that what a page takes is rounded up to; 0 is like 1 */
	u32 worst;	/* bytes that one written page can take, at most; 4096 or more */
	u64 lag;	/* bytes of the newest writes that @stored may leave out */
	u64 step;	/* the card takes space in steps of this many bytes */
	u64 lost;	/* pages that did not fit, since the card was switched on */
};

/* Part of the card's memory: bytes from where its node's memory starts, page-aligned. */
struct cram_range {
	u64 start;
	u64 size;
};

/**
 * struct cram_card_ops - what CRAM asks of a card's driver
 * @report: ask the card for a report, with @tag sent along, and wait for the
 *	answer. All that was written, and flushed from caches, before the call is
 *	in it. @accepts is the generation of a report that announced a shrink which
 *	the card may now carry out, or 0: nothing else, whoever sends it, may be
 *	taken for that. Returns 0 with @report and @limits filled in, as the card said it
 *	in a form that the driver knows: whether it makes sense is CRAM's to
 *	judge. -EBADMSG for an answer in another form; -EBUSY if the card took
 *	the request not at all; -ETIMEDOUT if it has not answered; other errors
 *	as they come.
 * @trim: make the card forget the @nr ranges, sorted and not overlapping, at most
 *	@max_ranges of at most @max_bytes together. They read as zero and take
 *	no room once this has returned 0. -EBUSY: nothing happened, try again.
 *	-ETIMEDOUT: unknown, and it may happen yet, at any later time. -EOPNOTSUPP:
 *	the card cannot. Other errors: some of it may have happened, no more will.
 * @set_watermarks: have the card interrupt when less than @low bytes are free, and
 *	when @high are free again. Optional.
 * @reset: have the card give up commands that timed out, or else what a trim that
 *	did was given is lost to everybody: once this has returned
 *	0, none of them will happen any more. What is stored stays. Optional.
 * @present: does the card answer at all? If not, what is read of its memory may be
 *	nothing, and is not used. Then a driver has to find out whether it will
 *	again, or call cram_card_gone(): whoever needs a page waits for that.
 *	Optional, for cards that never go without a word.
 *
 * All may sleep; CRAM calls one at a time for a card, except for @present.
 */
struct cram_card_ops {
	int (*report)(void *card, u64 tag, u64 accepts, struct cram_report *report,
		      struct cram_limits *limits);
	int (*trim)(void *card, const struct cram_range *ranges, unsigned int nr);
	int (*set_watermarks)(void *card, u64 low, u64 high);
	int (*reset)(void *card);
	bool (*present)(void *card);
	unsigned int max_ranges;
	u64 max_bytes;
};

/*
 * Make [@start, @start + @size) of the physical address space, all of a card's
 * memory and not online yet, the memory of private node @nid, and bring it
 * online. Trims it first. @name is what /proc/iomem says. @dev is the device in
 * whose name CRAM logs. May sleep, for long. -EINVAL with the reason in the log
 * if the card or the range will not do.
 */
int cram_register_private_node(int nid, u64 start, u64 size, const char *name,
			       struct device *dev,
			       const struct cram_card_ops *ops, void *card);

/*
 * Drain the node, within a deadline, and take its memory away. -EBUSY if pages
 * are left there that cannot go: the node stays as it is, with its memory. After
 * success none of the card's operations is called any more.
 */
int cram_unregister_private_node(int nid);

/*
 * @card, if it is @nid's, is gone, or about to go, or will never answer again: no
 * operation of it is called after this has returned. @readable: what it holds can be
 * read until then, so what can leave does; that may take long. The rest is lost.
 */
void cram_card_gone(int nid, void *card, bool readable);

/* The card has raised an interrupt: look at it soon. Any context. */
void cram_notify(int nid);

/*
 * Have CRAM hold back @pressure thousandths of the room that it could give out, on
 * top of what the card's reports say, which no driver can talk down. 0 to 1000.
 * Any context.
 */
int cram_set_pressure(int nid, unsigned int pressure);
int cram_clear_pressure(int nid);

#endif /* _LINUX_CRAM_H */
