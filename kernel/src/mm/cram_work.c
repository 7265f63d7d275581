// SPDX-License-Identifier: GPL-2.0-only
/*
 * CRAM: the worker of a card. It asks for reports, trims, gives out what there is
 * room for, takes back what there is none for, and says how things are.
 *
 * Nothing here has to be in time. Between two reports room only shrinks; a card that
 * does not answer makes none.
 */
#define pr_fmt(fmt) "cram: " fmt

#include <linux/delay.h>
#include <linux/device.h>
#include <linux/jiffies.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/sizes.h>

#define CREATE_TRACE_POINTS
#include <trace/events/cram.h>

#include "cram.h"

#define MAX_INTERVAL_MS		500
#define MIN_CREDIT_BYTES	SZ_32M
#define MAX_CREDIT_BYTES	SZ_1G
#define WORST_MAX		SZ_64K	/* nothing that stores a page takes more */
#define GENERATIONS_MAX		BIT_ULL(32)	/* that a card makes between two reports */
#define OVERRUN_MS		1000	/* for which it is said at least */
#define PATIENCE_MS		1000	/* with who does nothing to make room for a shrink */
#define PATIENCE_IN_ALL_MS	10000	/* and with who does */
#define ZERO_BUDGET_BYTES	SZ_2M	/* by the processor, between two reports */
/*
 * What is assumed of a card between two reports, as part of what it can store: that
 * pages nobody writes to grow by no more (A1), and that it loses no more (A2).
 */
#define GROWTH_SHIFT		7
#define LOSS_SHIFT		7

void cram_set_state(struct cram *c, enum cram_state state)
{
	if (c->state == state)
		return;
	if (state == CRAM_OVERRUN)
		dev_err(c->dev, "cram: node %d: the card stores more than it has: data of %lu pages is lost; taking pages off it\n",
			c->nid, atomic_long_read(&c->stat[CRAM_LOST]));
	else if (state == CRAM_STALE)
		dev_warn(c->dev, "cram: node %d: the card has not reported for %u ms; nothing goes there until it does\n",
			 c->nid, jiffies_to_msecs(jiffies - c->reported));
	else if (c->state == CRAM_STALE || c->state == CRAM_OVERRUN)
		dev_info(c->dev, "cram: node %d: %s again\n", c->nid, cram_state_names[state]);
	trace_cram_state(c->nid, cram_state_names[state]);
	WRITE_ONCE(c->state, state);
	cram_sysfs_state(c);
}

/*
 * Reports
 */

/*
 * More than it has a card may say that it stores, and is believed: to believe it costs moves,
 * and to disbelieve it would cost data.
 */
static bool makes_sense(const struct cram *c, const struct cram_report *report,
			const struct cram_limits *limits)
{
	const u64 most = (u64)c->nr_frames * WORST_MAX;

	if (limits->worst < PAGE_SIZE || limits->worst > WORST_MAX)
		return false;
	if (!report->usable || report->usable > most || report->stored > most)
		return false;
	/* All that come after it would be old. */
	if (c->account.generation && report->generation > c->account.generation &&
	    report->generation - c->account.generation > GENERATIONS_MAX)
		return false;
	return limits->lag <= report->usable && limits->step <= report->usable;
}

static u64 reserve_for(const struct cram *c, u64 usable, const struct cram_limits *limits)
{
	u64 reserve = limits->lag + limits->step;

	reserve += (usable >> GROWTH_SHIFT) + (usable >> LOSS_SHIFT);
	if (c->cannot_trim)
		reserve += ZERO_BUDGET_BYTES;
	return reserve;
}

/* A report that makes sense has come. */
static void apply(struct cram *c, const struct cram_report *report,
		  const struct cram_limits *limits)
{
	const bool first = !c->account.generation;
	struct cram_account *a = &c->account;
	struct cram_account before;
	u64 used, lost = 0;

	/* Since it came: what was lost before is nobody's. */
	if (!first && limits->lost > c->limits.lost)
		lost = limits->lost - c->limits.lost;

	scoped_guard(spinlock_irq, &c->lock) {
		cram_settle(c);
		before = *a;
		a->worst = limits->worst;
		a->reserve = reserve_for(c, report->usable, limits);
		a->budget = c->cannot_trim ? ZERO_BUDGET_BYTES / a->worst : 0;
		if (!cram_account_apply(a, report)) {
			*a = before;
			cram_count(c, CRAM_REPORTS_OLD, 1);
			return;
		}
		used = c->used;
		c->used = 0;
		trace_cram_report(c->nid, a, used);
		c->most_credit = clamp(2 * used, PHYS_PFN(MIN_CREDIT_BYTES),
				       PHYS_PFN(MAX_CREDIT_BYTES));
		/* What was assumed of the card does not hold. */
		if (lost || report->stored > report->usable) {
			c->overrun = true;
			c->overrun_since = jiffies;
		} else if (c->overrun && !cram_account_excess(a) &&
			   time_after(jiffies, c->overrun_since + msecs_to_jiffies(OVERRUN_MS))) {
			c->overrun = false;
		}
	}
	c->limits = *limits;
	WRITE_ONCE(c->doubted, false);
	WRITE_ONCE(c->reported, jiffies);
	cram_count(c, CRAM_LOST, lost);
	cram_count(c, CRAM_REPORTS, 1);

	/* As often as there is use, and at once where more is wanted than there is. */
	if (used || READ_ONCE(c->wanting) || a->epochs)
		c->interval_ms = CRAM_MIN_INTERVAL_MS;
	else
		c->interval_ms = min(2 * c->interval_ms, MAX_INTERVAL_MS);
}

/*
 * Does somebody else make room for an announced shrink? Once it is accepted, what is stored
 * beyond the new size less the reserve has to go at once.
 */
static bool others_make_room(const struct cram *c)
{
	return c->patience.excess && !c->patience.over;
}

/* Ask for a report, and accept an announced shrink as soon as there is room for it. */
static int ask(struct cram *c)
{
	struct cram_report report = {};
	struct cram_limits limits = {};
	u64 tag, accepts;
	int rc;

	WRITE_ONCE(c->asked, jiffies);
	scoped_guard(spinlock_irq, &c->lock) {
		cram_settle(c);
		accepts = others_make_room(c) ? 0 : cram_account_accepts(&c->account);
		tag = cram_account_ask(&c->account);
	}
	rc = c->ops->report(c->card, tag, accepts, &report, &limits);
	if (rc)
		trace_cram_report_failed(c->nid, rc);
	if (rc == -EBADMSG || (!rc && !makes_sense(c, &report, &limits))) {
		cram_count(c, CRAM_REPORTS_REFUSED, 1);
		/* Nor is what it said before to be built on. */
		WRITE_ONCE(c->doubted, true);
		dev_warn_ratelimited(c->dev, "cram: node %d: the card's report makes no sense: %llu bytes stored of %llu, %u at most for a page; not heeded\n",
				     c->nid, report.stored, report.usable, limits.worst);
		return -EBADMSG;
	}
	if (rc) {
		cram_count(c, CRAM_REPORTS_FAILED, 1);
		return rc;
	}
	apply(c, &report, &limits);
	return 0;
}

/* Before anything of the card is online: a report that will do, or why not. */
int cram_first_report(struct cram *c)
{
	const u64 generation = c->account.generation;
	int rc = -EBUSY;

	for (int tries = 0; tries < 10 && rc == -EBUSY; tries++) {
		if (tries && msleep_interruptible(10))
			return -EINTR;
		rc = ask(c);
	}
	if (!rc && c->account.generation == generation)
		rc = -EBADMSG;
	if (rc)
		dev_err(c->dev, "cram: node %d: the card gives no report that can be used: %pe; not using it\n",
			c->nid, ERR_PTR(rc));
	return rc;
}

/* Have the card interrupt when it fills up. It is a hint: what it does not say is polled for. */
static void arm_watermarks(struct cram *c)
{
	const u64 usable = c->account.usable;

	if (c->watermarks_of == usable || !c->ops->set_watermarks)
		return;
	/* What it refuses is not asked of it again and again, nor waited for. */
	if (c->ops->set_watermarks(c->card, usable / 8, usable / 4) != -EBUSY)
		c->watermarks_of = usable;
}

/*
 * Balance
 */

/*
 * Frames whose pages have to go: what is stored has no room. A frame that was copied to
 * while the card made its report is in what is stored, and unsettled as well: the next
 * report says better, and until then nothing is given.
 */
static u64 to_evict(const struct cram_account *a)
{
	const u64 claimed = a->stored + a->reserve;

	return claimed > a->physical ? DIV_ROUND_UP_ULL(claimed - a->physical, a->worst) : 0;
}

/* The state that things are in, when all has been done that can be done now. */
static enum cram_state judge(struct cram *c, u64 excess, bool wanting)
{
	if (cram_is_stale(c))
		return CRAM_STALE;
	if (c->overrun)
		return CRAM_OVERRUN;
	if (excess)
		return CRAM_EVICTING;
	return wanting ? CRAM_THROTTLED : CRAM_NORMAL;
}

/*
 * A shrink that is only announced is no danger, and who uses the card knows better what can
 * go. So it is theirs first to make room, for as long as there comes to be more of it.
 */
static bool is_patient(struct cram *c, u64 excess)
{
	struct cram_patience *p = &c->patience;
	const u64 there = c->account.stored + c->account.reserve;

	if (!c->account.shrinking || c->overrun || there > c->account.usable)
		p->over = true;
	if (p->over)
		return false;
	if (!p->excess)
		p->since = jiffies;
	if (!p->excess || excess < p->excess) {
		p->excess = excess;
		p->progress = jiffies;
	}
	p->over = time_after(jiffies, p->progress + msecs_to_jiffies(PATIENCE_MS)) ||
		  time_after(jiffies, p->since + msecs_to_jiffies(PATIENCE_IN_ALL_MS));
	return !p->over;
}

static void balance(struct cram *c)
{
	bool wanting, patient, waits;
	u64 surplus, excess;

	scoped_guard(spinlock_irq, &c->lock)
		surplus = cram_surplus(c);
	/* What cannot be taken is being written to, or has failed. */
	if (surplus && cram_take(c, surplus) < surplus)
		cram_retire_failed(c);
	scoped_guard(spinlock_irq, &c->lock)
		excess = to_evict(&c->account);

	wanting = xchg(&c->wanting, false);
	if (excess && !cram_is_stale(c)) {
		if (!c->silent)
			c->interval_ms = CRAM_MIN_INTERVAL_MS;
		/* Before anybody goes it can be seen why. */
		cram_set_state(c, judge(c, excess, wanting));
		patient = is_patient(c, excess);
		waits = cram_waits_for_trims(c, excess);
		/* Who is killed leaves only more to be trimmed. */
		if (patient || waits)
			c->stuck = 0;
		/* What it was good for that pages went the next report says. */
		if (!patient && (!waits || c->overrun) &&
		    c->evicted_by != c->account.generation) {
			c->evicted_by = c->account.generation;
			cram_evict(c, excess);
		}
	} else {
		c->stuck = 0;
		if (!excess)
			c->patience = (struct cram_patience) { };
		if (cram_give(c, c->nr_frames))
			wanting = false;
	}
	cram_set_state(c, judge(c, excess, wanting));
}

/*
 * What the trims that timed out were to do will be known only when they cannot happen.
 * Returns -EAGAIN if there is something to trim now, or what the card says.
 */
static int end_limbo(struct cram *c)
{
	int rc = c->ops->reset(c->card);

	if (rc)
		return rc;
	cram_count(c, CRAM_RESETS, 1);
	c->watermarks_of = 0;
	cram_limbo_over(c);
	return -EAGAIN;
}

void cram_work(struct work_struct *work)
{
	struct cram *c = container_of(to_delayed_work(work), struct cram, work);
	int trims;

	if (READ_ONCE(c->closed))
		return;
	mutex_lock(&c->work_lock);
	/* A card that does not answer is not asked more often than it would take to notice. */
	WRITE_ONCE(c->silent, ask(c));
	if (c->silent)
		WRITE_ONCE(c->interval_ms, min(2 * c->interval_ms, MAX_INTERVAL_MS));
	else
		arm_watermarks(c);
	balance(c);
	WRITE_ONCE(c->passes, c->passes + 1);
	wake_up_all(&c->passed);
	/*
	 * Trims come after reports, and only when none is in doubt: a card that is slow with
	 * them would get to nothing else.
	 */
	if (c->nr_limbo && c->ops->reset)
		trims = end_limbo(c);
	else
		trims = cram_trim_dying(c);
	mutex_unlock(&c->work_lock);

	queue_delayed_work(c->queue, &c->work,
			   trims == -EAGAIN ? 1 : msecs_to_jiffies(c->interval_ms));
}
