// SPDX-License-Identifier: GPL-2.0-or-later
/* Age of guest RAM per range; see ranges.h. */
#include "ranges.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../sense/pages.h"

/* Window of "accessed recently" in the service level; the policy's 120 s. */
#define ACCESSED_WINDOW_S 120

int ranges_init(struct ranges *ranges, size_t n)
{
	struct range *v = calloc(n ? n : 1, sizeof(*v));

	if (!v)
		return -ENOMEM;
	*ranges = (struct ranges){ .n = n, .v = v };
	return 0;
}

int ranges_grow(struct ranges *ranges, size_t n)
{
	struct range *v;

	if (n <= ranges->n)
		return 0;
	v = reallocarray(ranges->v, n, sizeof(*v));
	if (!v)
		return -ENOMEM;
	memset(v + ranges->n, 0, (n - ranges->n) * sizeof(*v));
	ranges->v = v;
	ranges->n = n;
	return 0;
}

void ranges_forget(struct ranges *ranges, size_t first, size_t end, bool back)
{
	for (size_t i = first; i < end; i++)
		if (!(ranges->v[i].flags & RANGE_GONE) != back)
			ranges->v[i] = (struct range){ .flags = back ? 0 : RANGE_GONE };
}

void ranges_free(struct ranges *ranges)
{
	free(ranges->v);
	*ranges = (struct ranges){};
}

/* Time without an access that the last look, and the last snapshot, confirmed, seconds. */
static uint32_t idle_time(const struct ranges *ranges, const struct range *range)
{
	uint32_t until_s = range->checked_s;

	if (ranges->idle_flags)
		return (range->flags & RANGE_ARMED) && until_s > range->armed_s
			       ? until_s - range->armed_s
			       : 0;
	if (!ranges->damon || !range->quiet_s)
		return 0;
	if (until_s > ranges->nominated_s)
		until_s = ranges->nominated_s;
	return until_s > range->quiet_s ? until_s - range->quiet_s : 0;
}

uint32_t range_age(const struct ranges *ranges, const struct range *range)
{
	return idle_time(ranges, range) >> range->backoff;
}

/* An access to a range on the tier, seen by DAMON alone. Returns the pages that this makes hot. */
static size_t seen_on_tier(struct range *range)
{
	if (!range->tier_pages || (range->flags & (RANGE_MOVED | RANGE_HOT)))
		return 0;
	if (!(range->flags & RANGE_SEEN)) {
		range->flags |= RANGE_SEEN;
		return 0;
	}
	range->flags |= RANGE_HOT;
	return range->tier_pages;
}

void ranges_snapshot_begin(struct ranges *ranges)
{
	for (size_t i = 0; i < ranges->n; i++)
		ranges->v[i].flags &= (uint8_t) ~(RANGE_QUIET | RANGE_ACCESSED);
}

void ranges_region(struct ranges *ranges, size_t first, size_t last, uint32_t accesses)
{
	for (size_t i = first; i <= last && i < ranges->n; i++)
		ranges->v[i].flags |= accesses ? RANGE_ACCESSED : RANGE_QUIET;
}

/* By the snapshot alone; see ranges_snapshot_begin(). */
static bool is_quiet(const struct ranges *ranges, const struct range *range)
{
	return (range->flags & RANGE_QUIET) &&
	       (ranges->idle_flags || !(range->flags & RANGE_ACCESSED));
}

size_t ranges_snapshot_end(struct ranges *ranges, uint32_t apart_s, uint32_t now_s)
{
	bool in_a_row = ranges->nominated_s && now_s - ranges->nominated_s <= apart_s;
	size_t returned = 0;

	for (size_t i = 0; i < ranges->n; i++) {
		struct range *range = &ranges->v[i];

		if (!in_a_row) {
			range->flags &= (uint8_t)~RANGE_SEEN;
			range->quiet_s = 0;
		}
		if (range->flags & RANGE_ACCESSED) {
			range->accessed_s = now_s;
			if (!ranges->idle_flags && !ranges->faults_home)
				returned += seen_on_tier(range);
		} else {
			range->flags &= (uint8_t)~RANGE_SEEN;
		}
		/* Of what it does not watch (yet), DAMON's silence tells nothing. */
		if (!is_quiet(ranges, range))
			range->quiet_s = 0;
		else if (!range->quiet_s)
			range->quiet_s = now_s;
	}
	ranges->nominated_s = now_s;
	return returned;
}

static uint32_t look_gap(const struct ranges *ranges, const struct range *range,
			 uint32_t interval_s)
{
	uint32_t idle_s = idle_time(ranges, range), most = interval_s * LOOKS_LEFT_OUT;

	/* Where DAMON does not watch, or has seen an access since, the look is what tells. */
	if (!ranges->nominated || !range->quiet_s || range->quiet_s > range->checked_s ||
	    idle_s < interval_s * LOOKS_PER_COLD_AGE)
		return interval_s;
	return idle_s < most ? idle_s : most;
}

bool range_wants_look(const struct ranges *ranges, const struct range *range, uint32_t interval_s,
		      uint32_t now_s)
{
	if (range->flags & RANGE_GONE)
		return false;
	if (!range->checked_s)
		return true;
	if (now_s - range->checked_s < look_gap(ranges, range, interval_s))
		return false;
	/*
	 * What is on the tier is always looked at: reads there do not fault. In DRAM, hot memory is
	 * left to DAMON; only what it calls quiet is worth page-level work, and what was found
	 * idle before, which must not keep an age it no longer has.
	 */
	return range->tier_pages || !ranges->nominated || range->quiet_s ||
	       range_age(ranges, range) > 0;
}

/*
 * Memory came home because it was wanted: was that soon after it had gone? Asked once of each
 * demotion, for what comes back first: the rest may follow page by page.
 */
static void judge_demotion(struct range *range, uint32_t cold_age_s, uint32_t now_s)
{
	if (!range->moved_s)
		return;
	if (now_s - range->moved_s < cold_age_s * RANGE_EARLY_COLD_AGES) {
		if (range->backoff < RANGE_BACKOFF_MAX)
			range->backoff++;
	} else if (range->backoff) {
		range->backoff--;
	}
	range->moved_s = 0;
}

static void came_home(struct range *range, const struct range_look *look, uint32_t now_s)
{
	if (!look->fetched_pages)
		return;
	range->accessed_s = now_s;
	range->accessed_pages = look->fetched_pages;
	judge_demotion(range, look->cold_age_s, now_s);
}

unsigned int range_looked(struct range *range, const struct range_look *look, uint32_t now_s)
{
	unsigned int accessed = look->accessed_dram + look->accessed_tier;
	unsigned int returned = look->fetched_pages;

	/* Unplugged while it was being looked at. */
	if (range->flags & RANGE_GONE)
		return 0;
	came_home(range, look, now_s);
	if ((range->flags & RANGE_ARMED) && !(range->flags & RANGE_MOVED) && accessed) {
		range->accessed_s = now_s;
		range->accessed_pages = (uint16_t)accessed;
		if (look->accessed_tier) {
			range->flags |= RANGE_HOT;
			returned += look->accessed_tier;
		}
	}
	if (look->armed) {
		/* Flags left from before a look that found no access keep counting from then. */
		if (!(range->flags & RANGE_ARMED) || (range->flags & RANGE_MOVED) || accessed)
			range->armed_s = now_s;
		range->flags |= RANGE_ARMED;
	}
	range->flags &= (uint8_t)~RANGE_MOVED;
	range->dram_pages = look->dram_pages;
	range->tier_pages = look->tier_pages;
	/* Wants home, though nobody needs it: not counted as returned. */
	if (look->stray_pages)
		range->flags |= RANGE_HOT;
	if (!look->tier_pages)
		range->flags &= (uint8_t)~RANGE_HOT;
	range->checked_s = now_s;
	return returned;
}

void range_demoted(struct range *range, uint16_t dram_pages, uint16_t tier_pages, uint32_t now_s)
{
	if (range->flags & RANGE_GONE)
		return;
	if (tier_pages > range->tier_pages)
		range->moved_s = now_s;
	range->dram_pages = dram_pages;
	range->tier_pages = tier_pages;
	range->flags |= RANGE_MOVED;
	/* What stayed behind was refused: it has to age again before it is tried again. */
	range->flags &= (uint8_t) ~(RANGE_HOT | RANGE_ARMED | RANGE_SEEN);
	range->quiet_s = 0;
}

void range_promoted(struct range *range, uint16_t dram_pages, uint16_t tier_pages,
		    uint32_t cold_age_s, uint32_t now_s)
{
	bool was_hot = range->flags & RANGE_HOT;

	if (range->flags & RANGE_GONE)
		return;
	/* Pinned, or shared with others: it would be in the way of all that lies behind it. */
	if (tier_pages && tier_pages >= range->tier_pages)
		range->flags |= RANGE_STAYS;
	else
		range->flags &= (uint8_t)~RANGE_STAYS;
	range->dram_pages = dram_pages;
	range->tier_pages = tier_pages;
	/* Its age in DRAM starts over: the idle flags still tell of the time on the tier. */
	range->flags &= (uint8_t) ~(RANGE_ARMED | RANGE_HOT | RANGE_SEEN);
	range->quiet_s = 0;
	if (!was_hot)
		return;
	judge_demotion(range, cold_age_s, now_s);
}

void ranges_summarise(const struct ranges *ranges, uint32_t now_s,
		      struct ranges_summary *ret_summary)
{
	struct ranges_summary s = {};

	for (size_t i = 0; i < ranges->n; i++) {
		const struct range *range = &ranges->v[i];
		uint64_t dram = (uint64_t)range->dram_pages * PAGE_BYTES;
		uint64_t tier = (uint64_t)range->tier_pages * PAGE_BYTES;

		if (!range->checked_s && !(range->flags & RANGE_GONE))
			s.unlooked += RANGE_BYTES;
		s.dram += dram;
		s.tier += tier;
		if (dram)
			s.cold[cram_age_bucket(range_age(ranges, range))] += dram;
		if (range->flags & RANGE_HOT)
			s.hot += tier;
		if (range->accessed_s && now_s - range->accessed_s <= ACCESSED_WINDOW_S)
			s.accessed += range->accessed_pages
					      ? (uint64_t)range->accessed_pages * PAGE_BYTES
					      : dram + tier;
	}
	*ret_summary = s;
}

size_t ranges_pick_cold(const struct ranges *ranges, uint64_t bytes, uint32_t min_age_s,
			size_t *indices, size_t max)
{
	uint64_t by_bucket[CRAM_AGE_BUCKETS] = {}, older = 0, taken = 0;
	int cutoff = (int)cram_age_bucket(min_age_s), top = CRAM_AGE_BUCKETS - 1;
	size_t n = 0;

	for (size_t i = 0; i < ranges->n; i++) {
		const struct range *range = &ranges->v[i];

		by_bucket[cram_age_bucket(range_age(ranges, range))] +=
			(uint64_t)range->dram_pages * PAGE_BYTES;
	}
	/* The youngest bucket that is needed when older ones go first. */
	for (; top > cutoff; top--) {
		older += by_bucket[top];
		if (older >= bytes)
			break;
	}
	/* Buckets one by one from the oldest: few passes, because most are empty. */
	for (int bucket = CRAM_AGE_BUCKETS - 1; bucket >= top; bucket--) {
		if (!by_bucket[bucket])
			continue;
		for (size_t i = 0; i < ranges->n && n < max; i++) {
			const struct range *range = &ranges->v[i];
			uint32_t age = range_age(ranges, range);
			uint64_t dram = (uint64_t)range->dram_pages * PAGE_BYTES;

			if (!dram || age < min_age_s || (int)cram_age_bucket(age) != bucket)
				continue;
			if (taken + dram > bytes && n > 0)
				return n;
			indices[n++] = i;
			taken += dram;
			if (taken >= bytes)
				return n;
		}
	}
	return n;
}

size_t ranges_pick_tier(const struct ranges *ranges, const struct ranges_span *spans,
			size_t n_spans, uint64_t bytes, enum ranges_pick which, size_t *indices,
			size_t max)
{
	/* Two passes over the spans: what was accessed, and whatever else after it. */
	size_t first = which == RANGES_IDLE ? n_spans : 0;
	size_t end = which == RANGES_HOT ? n_spans : 2 * n_spans;
	uint64_t taken = 0;
	size_t n = 0;

	for (size_t k = first; k < end; k++) {
		const struct ranges_span *span = &spans[k % n_spans];
		bool hot = k < n_spans;

		for (size_t i = span->first; i < span->end && n < max && taken < bytes; i++) {
			const struct range *range = &ranges->v[i];

			if (!range->tier_pages || !!(range->flags & RANGE_HOT) != hot ||
			    range->flags & RANGE_STAYS)
				continue;
			indices[n++] = i;
			taken += (uint64_t)range->tier_pages * PAGE_BYTES;
		}
	}
	return n;
}

void ranges_retry(struct ranges *ranges, const struct ranges_span *spans, size_t n_spans)
{
	for (size_t k = 0; k < n_spans; k++)
		for (size_t i = spans[k].first; i < spans[k].end; i++)
			ranges->v[i].flags &= (uint8_t)~RANGE_STAYS;
}
