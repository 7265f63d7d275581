/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Age of guest RAM per 2 MiB range: what is remembered between looks, and what follows from it.
 * No I/O here: looker.c looks, this file concludes.
 *
 * Times are seconds of a monotonic clock, never 0. A range's age is what has been *confirmed*: the
 * time between setting its idle flags and the last look that still found all of them, or, without
 * idle flags, the time in which no snapshot of DAMON's has seen an access, up to the last of them.
 * Time since the last look does not count.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "policy/policy.h"

#define RANGE_ARMED (1U << 0) /* idle flags are set since armed_s */
#define RANGE_HOT   (1U << 1) /* has pages on the tier and was found accessed: wants home */
#define RANGE_SEEN  (1U << 3) /* on the tier, and accessed in the last snapshot */
#define RANGE_MOVED (1U << 2) /* moved by us: the next look only starts over */
#define RANGE_STAYS (1U << 4) /* was to come home, and nothing of it could: others first */
#define RANGE_GONE  (1U << 5) /* unplugged: nothing is known, wanted or learnt of it */
/* Of the snapshot of DAMON's that is being read; what follows from them is concluded at its end. */
#define RANGE_QUIET    (1U << 6) /* a region in the range was not accessed */
#define RANGE_ACCESSED (1U << 7) /* and one was */

/* A range promoted within this many cold ages after its demotion went too early. */
#define RANGE_EARLY_COLD_AGES 4
#define RANGE_BACKOFF_MAX     6

/* Looks at a range are this fraction of the cold age apart ... */
#define LOOKS_PER_COLD_AGE 4
/* ... and at most so many times as far, where nothing happens. */
#define LOOKS_LEFT_OUT 16

struct range {
	uint32_t armed_s;
	uint32_t checked_s;  /* last look; 0: never looked at */
	uint32_t accessed_s; /* last time found accessed; 0: never */
	uint32_t quiet_s;    /* DAMON has seen no access since then; 0: it has, or never looked */
	uint32_t moved_s;    /* last demotion; 0: never, or some of it came back since */
	uint16_t dram_pages, tier_pages; /* 4 KiB pages, at the last look */
	uint16_t accessed_pages;	 /* of the last look that found any */
	uint8_t backoff;		 /* its age counts 1/2^backoff */
	uint8_t flags;
};

struct ranges {
	size_t n;
	struct range *v;
	bool idle_flags;  /* ages come from idle flags, else from DAMON alone */
	bool faults_home; /* what is accessed on the tier is there no more: DAMON's word on it is
			     void */
	bool damon;	  /* it answers: without idle flags there are no ages else */
	bool nominated;	  /* only what DAMON calls quiet is looked at */
	uint32_t nominated_s; /* the last snapshot of DAMON's that counts; 0: none has been */
};

/* 0 or -ENOMEM. */
int ranges_init(struct ranges *ranges, size_t n);
void ranges_free(struct ranges *ranges);
/* Adds ranges never looked at, to @n in all. 0 or -ENOMEM. */
int ranges_grow(struct ranges *ranges, size_t n);
/* Ranges from @first to before @end are gone: forgets them. With @back they are there again. */
void ranges_forget(struct ranges *ranges, size_t first, size_t end, bool back);

/* Confirmed age in seconds, divided by its backoff. */
uint32_t range_age(const struct ranges *ranges, const struct range *range);

/*
 * A snapshot of DAMON's begins, has regions, and ends; one that was not read to its end counts for
 * nothing. Several regions may lie in one range: it was accessed where one of them was. It is
 * nominated where one was not, since regions are cut roughly, and the look tells; without idle
 * flags there is none, and all of it has to be quiet.
 */
void ranges_snapshot_begin(struct ranges *ranges);
/* DAMON saw [@first, @last] as one region, accessed in @accesses of its samples. */
void ranges_region(struct ranges *ranges, size_t first, size_t last, uint32_t accesses);
/*
 * What the snapshot taken at @now_s says. Where it follows the last one by more than @apart_s,
 * nobody knows what was between them: what is quiet is so from now on. Returns how many pages on
 * the tier were newly found accessed. Without idle flags two snapshots in a row must say so: one
 * sample of a large region is no proof.
 */
size_t ranges_snapshot_end(struct ranges *ranges, uint32_t apart_s, uint32_t now_s);

/*
 * Should this range be looked at now, when looks are @interval_s apart? What has been idle for a
 * cold age, and DAMON goes on seeing no access in, is looked at as far apart as it is old.
 */
bool range_wants_look(const struct ranges *ranges, const struct range *range, uint32_t interval_s,
		      uint32_t now_s);

/* What a look at a range found. */
struct range_look {
	uint16_t dram_pages, tier_pages;
	uint16_t stray_pages; /* of tier_pages: on a tier that is not the VM's now */
	uint16_t accessed_dram, accessed_tier; /* of them no longer idle; 0 when not armed */
	/* Of those that are no longer on the tier, though we moved none: an access took them home.
	 */
	uint16_t fetched_pages;
	uint32_t cold_age_s; /* in force */
	bool armed;	     /* idle flags were set (again) by this look */
};

/*
 * Takes a look into account. Returns how many pages on the tier were newly found accessed (the
 * ones the service level counts).
 */
unsigned int range_looked(struct range *range, const struct range_look *look, uint32_t now_s);

/* We moved pages of the range; what is where afterwards was measured, not assumed. */
void range_demoted(struct range *range, uint16_t dram_pages, uint16_t tier_pages, uint32_t now_s);
void range_promoted(struct range *range, uint16_t dram_pages, uint16_t tier_pages,
		    uint32_t cold_age_s, uint32_t now_s);

/* Sums over all ranges, in bytes, as the policy wants them. */
struct ranges_summary {
	uint64_t cold[CRAM_AGE_BUCKETS];
	uint64_t dram, tier;
	uint64_t hot;
	uint64_t accessed; /* within the last 120 s */
	uint64_t unlooked; /* ranges never looked at, counted whole */
};

void ranges_summarise(const struct ranges *ranges, uint32_t now_s,
		      struct ranges_summary *ret_summary);

/*
 * Picks ranges to demote: at least @min_age_s old, oldest first, until their DRAM pages make
 * @bytes (the last one may exceed it only if it is the first). Writes at most @max indices.
 */
size_t ranges_pick_cold(const struct ranges *ranges, uint64_t bytes, uint32_t min_age_s,
			size_t *indices, size_t max);

/* Ranges from @first to before @end. */
struct ranges_span {
	size_t first, end;
};

enum ranges_pick {
	RANGES_HOT,	  /* those found accessed there */
	RANGES_HOT_FIRST, /* and whichever after them */
	RANGES_IDLE,	  /* all but those */
};

/*
 * Picks ranges with tier pages in @spans to leave it, until these make @bytes. Those that stayed
 * are left out.
 */
size_t ranges_pick_tier(const struct ranges *ranges, const struct ranges_span *spans,
			size_t n_spans, uint64_t bytes, enum ranges_pick which, size_t *indices,
			size_t max);

/* Those of @spans that stayed may be picked again. */
void ranges_retry(struct ranges *ranges, const struct ranges_span *spans, size_t n_spans);
