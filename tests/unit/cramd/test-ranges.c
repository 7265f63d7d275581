// SPDX-License-Identifier: GPL-2.0-or-later
/* Ages of memory ranges: only what was confirmed counts, and what came back early waits longer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cramd/classify/ranges.h"
#include "cramd/sense/pages.h"

#define COLD 100

static int make(void **state)
{
	static struct ranges ranges;

	assert_int_equal(ranges_init(&ranges, 8), 0);
	ranges.idle_flags = true;
	ranges.damon = true;
	*state = &ranges;
	return 0;
}

static int drop(void **state)
{
	ranges_free(*state);
	return 0;
}

static unsigned int look(struct ranges *r, size_t i, uint16_t dram, uint16_t tier,
			 uint16_t accessed_dram, uint16_t accessed_tier, uint32_t now)
{
	struct range_look l = {
		.dram_pages = dram,
		.tier_pages = tier,
		.accessed_dram = accessed_dram,
		.accessed_tier = accessed_tier,
		.armed = true,
	};

	return range_looked(&r->v[i], &l, now);
}

/* Snapshots count as in a row within this. */
#define APART 1000

/* A snapshot of one region. */
static size_t snapshot(struct ranges *r, size_t first, size_t last, uint32_t accesses, uint32_t now)
{
	ranges_snapshot_begin(r);
	ranges_region(r, first, last, accesses);
	return ranges_snapshot_end(r, APART, now);
}

static void age_is_what_the_last_look_confirmed(void **state)
{
	struct ranges *r = *state;

	look(r, 0, 512, 0, 0, 0, 1000);
	assert_int_equal(range_age(r, &r->v[0]), 0);
	look(r, 0, 512, 0, 0, 0, 1025);
	assert_int_equal(range_age(r, &r->v[0]), 25);
	/* Time that passes without a look confirms nothing. */
	look(r, 0, 512, 0, 0, 0, 1100);
	assert_int_equal(range_age(r, &r->v[0]), 100);
	look(r, 0, 512, 0, 1, 0, 1110);
	assert_int_equal(range_age(r, &r->v[0]), 0);
	look(r, 0, 512, 0, 0, 0, 1120);
	assert_int_equal(range_age(r, &r->v[0]), 10);
}

static void what_is_gone_is_neither_looked_at_nor_counted_nor_moved(void **state)
{
	struct ranges *r = *state;
	struct ranges_span all = { 0, r->n };
	struct ranges_summary s;
	size_t picked[8];

	for (size_t i = 0; i < r->n; i++)
		for (uint32_t now = 1000; now <= 2000; now += 1000)
			look(r, i, 256, 256, 0, 256, now);
	ranges_forget(r, 1, r->n, false);
	/* One that was being looked at, and two that were being moved. */
	look(r, 1, 256, 256, 0, 0, 3000);
	range_demoted(&r->v[2], 0, 512, 3000);
	range_promoted(&r->v[3], 512, 0, COLD, 3000);
	for (size_t i = 0; i < r->n; i++)
		assert_int_equal(range_wants_look(r, &r->v[i], 10, 4000), i == 0);
	ranges_summarise(r, 4000, &s);
	assert_int_equal(s.dram, 256 * PAGE_BYTES);
	assert_int_equal(s.tier, 256 * PAGE_BYTES);
	assert_int_equal(s.unlooked, 0);
	assert_int_equal(ranges_pick_cold(r, 8 * RANGE_BYTES, 0, picked, 8), 1);
	assert_int_equal(ranges_pick_tier(r, &all, 1, 8 * RANGE_BYTES, RANGES_HOT_FIRST, picked, 8),
			 1);

	/* What is there again is as new; what was there all the time stays what it was. */
	ranges_forget(r, 0, r->n, true);
	ranges_summarise(r, 4000, &s);
	assert_int_equal(s.dram, 256 * PAGE_BYTES);
	assert_int_equal(s.unlooked, (r->n - 1) * RANGE_BYTES);
	assert_true(range_wants_look(r, &r->v[1], 10, 4000));
}

static void a_range_never_armed_has_no_age(void **state)
{
	struct ranges *r = *state;

	r->v[0].checked_s = 5000;
	assert_int_equal(range_age(r, &r->v[0]), 0);
}

static void damons_quiet_counts_only_without_idle_flags(void **state)
{
	struct ranges *r = *state;

	snapshot(r, 0, 1, 0, 1000);
	snapshot(r, 0, 1, 0, 1050);
	r->v[0].checked_s = 1050;
	assert_int_equal(range_age(r, &r->v[0]), 0);
	r->idle_flags = false;
	assert_int_equal(range_age(r, &r->v[0]), 50);
	snapshot(r, 0, 0, 3, 1060);
	assert_int_equal(range_age(r, &r->v[0]), 0);
	/* Regions beyond the end are cut, not followed. */
	snapshot(r, 7, 1000, 0, 1060);
	assert_int_equal(r->v[7].quiet_s, 1060);
}

/* The last snapshot was at 1050, whatever looks say later. */
static void without_idle_flags_an_age_is_what_snapshots_confirmed(void **state)
{
	struct ranges *r = *state;
	struct ranges_summary s;

	r->idle_flags = false;
	snapshot(r, 0, 0, 0, 1000);
	snapshot(r, 0, 0, 0, 1050);
	look(r, 0, 512, 0, 0, 0, 1030);
	assert_int_equal(range_age(r, &r->v[0]), 30);
	look(r, 0, 512, 0, 0, 0, 5000);
	assert_int_equal(range_age(r, &r->v[0]), 50);
	/* And none where DAMON has not answered for long. */
	r->damon = false;
	assert_int_equal(range_age(r, &r->v[0]), 0);
	ranges_summarise(r, 5000, &s);
	assert_int_equal(s.cold[0], s.dram);
	r->idle_flags = true;
	assert_int_equal(range_age(r, &r->v[0]), 5000 - 1030);
}

static void what_was_between_snapshots_far_apart_nobody_knows(void **state)
{
	struct ranges *r = *state;

	r->idle_flags = false;
	r->v[1].tier_pages = 40;
	snapshot(r, 0, 0, 0, 1000);
	snapshot(r, 0, 0, 0, 1000 + APART);
	assert_int_equal(r->v[0].quiet_s, 1000);
	snapshot(r, 0, 0, 0, 1001 + 2 * APART);
	assert_int_equal(r->v[0].quiet_s, 1001 + 2 * APART);
	/* Nor are two of them two in a row. */
	assert_int_equal(snapshot(r, 1, 1, 5, 1002 + 2 * APART), 0);
	assert_int_equal(snapshot(r, 1, 1, 5, 1003 + 3 * APART), 0);
	assert_int_equal(snapshot(r, 1, 1, 5, 1004 + 3 * APART), 40);
}

/* [hot][quiet] and [quiet][hot] in one range. */
static void a_range_was_accessed_where_any_region_of_it_was(void **state)
{
	struct ranges *r = *state;

	r->idle_flags = false;
	r->v[0].tier_pages = 40;
	r->v[1].tier_pages = 40;
	for (uint32_t now = 1000; now < 1020; now += 10) {
		ranges_snapshot_begin(r);
		ranges_region(r, 0, 0, 5);
		ranges_region(r, 0, 1, 0);
		ranges_region(r, 1, 1, 5);
		assert_int_equal(ranges_snapshot_end(r, APART, now), now == 1000 ? 0 : 80);
		assert_int_equal(r->v[0].quiet_s + r->v[1].quiet_s, 0);
	}
	assert_true(r->v[0].flags & r->v[1].flags & RANGE_HOT);
}

/* Regions are cut roughly: with idle flags the look tells what of the range is hot. */
static void what_is_quiet_in_part_is_looked_at(void **state)
{
	struct ranges *r = *state;

	r->idle_flags = true;
	ranges_snapshot_begin(r);
	ranges_region(r, 0, 0, 0);
	ranges_region(r, 0, 1, 5);
	ranges_snapshot_end(r, APART, 1000);
	assert_int_equal(r->v[0].quiet_s, 1000);
	assert_int_equal(r->v[0].accessed_s, 1000);
	assert_int_equal(r->v[1].quiet_s, 0);
}

static void two_regions_of_one_snapshot_are_not_two_snapshots(void **state)
{
	struct ranges *r = *state;

	r->idle_flags = false;
	r->v[0].tier_pages = 40;
	ranges_snapshot_begin(r);
	ranges_region(r, 0, 0, 5);
	ranges_region(r, 0, 0, 5);
	assert_int_equal(ranges_snapshot_end(r, APART, 1000), 0);
	assert_false(r->v[0].flags & RANGE_HOT);
	assert_int_equal(snapshot(r, 0, 0, 5, 1010), 40);
}

static void a_snapshot_that_was_not_read_to_its_end_tells_nothing(void **state)
{
	struct ranges *r = *state;

	snapshot(r, 0, 1, 0, 1000);
	ranges_snapshot_begin(r);
	ranges_region(r, 0, 0, 5);
	/* The next one. */
	snapshot(r, 0, 0, 0, 1020);
	assert_int_equal(r->v[0].quiet_s, 1000);
	assert_int_equal(r->v[0].accessed_s, 0);
	assert_int_equal(r->nominated_s, 1020);
	/* And of what it does not cover it tells nothing either. */
	assert_int_equal(r->v[1].quiet_s, 0);
}

static void only_nominated_memory_is_looked_at(void **state)
{
	struct ranges *r = *state;

	r->nominated = true;
	assert_true(range_wants_look(r, &r->v[0], 25, 1000)); /* never seen */
	look(r, 0, 512, 0, 0, 0, 1000);
	assert_false(range_wants_look(r, &r->v[0], 25, 1030));
	snapshot(r, 0, 0, 0, 1030);
	assert_true(range_wants_look(r, &r->v[0], 25, 1030));
	assert_false(range_wants_look(r, &r->v[0], 25, 1010));
	/* On the tier, reads do not fault: always looked at. */
	look(r, 1, 0, 512, 0, 0, 1000);
	assert_true(range_wants_look(r, &r->v[1], 25, 1030));
}

static void what_stays_idle_is_looked_at_less_often(void **state)
{
	const uint32_t often = COLD / LOOKS_PER_COLD_AGE, most = often * LOOKS_LEFT_OUT;
	struct ranges *r = *state;
	struct range *range = &r->v[0];

	r->nominated = true;
	snapshot(r, 0, 0, 0, 999);
	look(r, 0, 512, 0, 0, 0, 1000);
	/* Until it is cold, as often as any. */
	look(r, 0, 512, 0, 0, 0, 1000 + COLD - 1);
	assert_true(range_wants_look(r, range, often, range->checked_s + often));
	/* Then as far apart as it is old, up to a limit. */
	look(r, 0, 512, 0, 0, 0, 1000 + 2 * COLD);
	assert_false(range_wants_look(r, range, often, range->checked_s + 2 * COLD - 1));
	assert_true(range_wants_look(r, range, often, range->checked_s + 2 * COLD));
	look(r, 0, 512, 0, 0, 0, 1000 + 20 * COLD);
	assert_false(range_wants_look(r, range, often, range->checked_s + most - 1));
	assert_true(range_wants_look(r, range, often, range->checked_s + most));
	/* DAMON saw an access since, though none now. */
	snapshot(r, 0, 0, 1, range->checked_s + 10);
	snapshot(r, 0, 0, 0, range->checked_s + 20);
	assert_true(range_wants_look(r, range, often, range->checked_s + often));
	/* And where it does not watch, nobody else would tell. */
	snapshot(r, 0, 0, 1, 990);
	snapshot(r, 0, 0, 0, 990);
	assert_false(range_wants_look(r, range, often, range->checked_s + often));
	r->nominated = false;
	assert_true(range_wants_look(r, range, often, range->checked_s + often));
}

static void what_we_moved_is_ignored_for_a_round(void **state)
{
	struct ranges *r = *state;

	look(r, 0, 512, 0, 0, 0, 1000);
	look(r, 0, 512, 0, 0, 0, 1000 + COLD);
	range_demoted(&r->v[0], 0, 512, 1101);
	/* The move itself may have touched them: this look reports nothing. */
	assert_int_equal(look(r, 0, 0, 512, 0, 40, 1125), 0);
	assert_false(r->v[0].flags & RANGE_HOT);
	assert_int_equal(look(r, 0, 0, 512, 0, 40, 1150), 40);
	assert_true(r->v[0].flags & RANGE_HOT);
}

static void early_return_doubles_the_age_needed(void **state)
{
	struct ranges *r = *state;
	uint32_t now = 1000;

	for (int round = 1; round <= RANGE_BACKOFF_MAX + 2; round++) {
		range_demoted(&r->v[0], 0, 512, now);
		look(r, 0, 0, 512, 0, 0, now + 10);
		look(r, 0, 0, 512, 0, 9, now + 20);
		range_promoted(&r->v[0], 512, 0, COLD, now + 21);
		assert_int_equal(r->v[0].backoff,
				 round < RANGE_BACKOFF_MAX ? round : RANGE_BACKOFF_MAX);
		now += 30;
	}
	/* Staying away long enough pays it back. */
	range_demoted(&r->v[0], 0, 512, now);
	look(r, 0, 0, 512, 0, 0, now + 10);
	look(r, 0, 0, 512, 0, 9, now + COLD * 10);
	range_promoted(&r->v[0], 512, 0, COLD, now + COLD * 10);
	assert_int_equal(r->v[0].backoff, RANGE_BACKOFF_MAX - 1);
}

/* Page by page, as it is written to, and the rest by us. */
static void a_demotion_is_judged_by_what_comes_back_first(void **state)
{
	struct ranges *r = *state;
	struct range_look l = { .tier_pages = 500, .fetched_pages = 12, .cold_age_s = COLD };

	range_demoted(&r->v[0], 0, 512, 1000);
	assert_int_equal(range_looked(&r->v[0], &l, 1010), 12);
	assert_int_equal(r->v[0].backoff, 1);
	assert_int_equal(range_looked(&r->v[0], &l, 1020), 12);
	r->v[0].flags |= RANGE_HOT;
	range_promoted(&r->v[0], 512, 0, COLD, 1021);
	assert_int_equal(r->v[0].backoff, 1);
	/* As late as it was early. */
	range_demoted(&r->v[0], 0, 512, 2000);
	range_looked(&r->v[0], &l, 2000 + 10 * COLD);
	range_looked(&r->v[0], &l, 2001 + 10 * COLD);
	assert_int_equal(r->v[0].backoff, 0);
}

static void coming_home_for_room_is_no_early_return(void **state)
{
	struct ranges *r = *state;

	range_demoted(&r->v[0], 0, 512, 1000);
	look(r, 0, 0, 512, 0, 0, 1010);
	range_promoted(&r->v[0], 512, 0, COLD, 1011);
	assert_int_equal(r->v[0].backoff, 0);
}

static void what_was_refused_has_to_age_again(void **state)
{
	struct ranges *r = *state;
	size_t picked[8];

	look(r, 0, 512, 0, 0, 0, 1000);
	look(r, 0, 512, 0, 0, 0, 1000 + COLD);
	assert_int_equal(ranges_pick_cold(r, UINT64_MAX, COLD, picked, 8), 1);
	range_demoted(&r->v[0], 512, 0, 1101);
	assert_int_equal(ranges_pick_cold(r, UINT64_MAX, COLD, picked, 8), 0);
}

static void the_oldest_go_first_and_no_more_than_asked(void **state)
{
	struct ranges *r = *state;
	size_t picked[8];

	for (size_t i = 0; i < 8; i++) {
		look(r, i, 512, 0, 0, 0, 1000 + (uint32_t)i * 100);
		look(r, i, 512, 0, 0, 0, 2000);
	}
	/* Ages 1000, 900 ... 300: two ranges' worth are the two oldest. */
	assert_int_equal(ranges_pick_cold(r, 2 * RANGE_BYTES, COLD, picked, 8), 2);
	assert_true(picked[0] < 3 && picked[1] < 3);
	assert_int_equal(ranges_pick_cold(r, UINT64_MAX, 2000, picked, 8), 0);
	assert_int_equal(ranges_pick_cold(r, UINT64_MAX, 650, picked, 8), 4);
	assert_int_equal(ranges_pick_cold(r, UINT64_MAX, COLD, picked, 3), 3);
}

static void hot_pages_come_home_before_others(void **state)
{
	struct ranges *r = *state;
	const struct ranges_span all = { 0, r->n }, two[] = { { 0, 1 }, { 2, 4 } };
	size_t picked[8];

	for (size_t i = 0; i < 4; i++)
		look(r, i, 0, 512, 0, 0, 1000);
	look(r, 3, 0, 512, 0, 1, 1030);
	assert_int_equal(ranges_pick_tier(r, &all, 1, UINT64_MAX, RANGES_HOT, picked, 8), 1);
	assert_int_equal(picked[0], 3);
	assert_int_equal(ranges_pick_tier(r, &all, 1, UINT64_MAX, RANGES_HOT_FIRST, picked, 8), 4);
	assert_int_equal(picked[0], 3);
	/* Of some of them, in all of them before others. */
	assert_int_equal(ranges_pick_tier(r, two, 2, UINT64_MAX, RANGES_HOT_FIRST, picked, 8), 3);
	assert_int_equal(picked[0], 3);
	assert_int_equal(picked[1], 0);
	assert_int_equal(picked[2], 2);
	assert_int_equal(ranges_pick_tier(r, two, 1, UINT64_MAX, RANGES_HOT_FIRST, picked, 8), 1);
	assert_int_equal(ranges_pick_tier(r, two, 0, UINT64_MAX, RANGES_HOT_FIRST, picked, 8), 0);
}

static void sums_add_up(void **state)
{
	struct ranges *r = *state;
	struct ranges_summary s;
	uint64_t cold = 0;

	look(r, 0, 512, 0, 0, 0, 1000);
	look(r, 0, 512, 0, 0, 0, 1200);
	look(r, 1, 100, 412, 0, 0, 1000);
	look(r, 1, 100, 412, 0, 12, 1200);
	ranges_summarise(r, 1200, &s);
	for (int i = 0; i < CRAM_AGE_BUCKETS; i++)
		cold += s.cold[i];
	assert_int_equal(cold, s.dram);
	assert_int_equal(s.dram, 612 * PAGE_BYTES);
	assert_int_equal(s.tier, 412 * PAGE_BYTES);
	assert_int_equal(s.hot, 412 * PAGE_BYTES);
	assert_int_equal(s.accessed, 12 * PAGE_BYTES);
	assert_int_equal(s.unlooked, 6 * RANGE_BYTES);
	assert_int_equal(s.cold[cram_age_bucket(200)], 512 * PAGE_BYTES);
}

static void state_of_a_tebibyte_fits_its_budget(void **state)
{
	(void)state;
	assert_true((UINT64_C(1) << 40) / RANGE_BYTES * sizeof(struct range) <= 64U << 20);
}

/* What came back early counts as younger than it is, by half for each time. */
static void back_off_divides_the_age(void **state)
{
	struct ranges *r = *state;

	look(r, 0, 512, 0, 0, 0, 1000);
	look(r, 0, 512, 0, 0, 0, 1000 + COLD);
	r->v[0].backoff = 2;
	assert_int_equal(range_age(r, &r->v[0]), COLD / 4);
}

static void what_was_accessed_long_ago_is_not_accessed_recently(void **state)
{
	struct ranges *r = *state;
	struct ranges_summary s;

	look(r, 0, 512, 0, 0, 0, 1000);
	look(r, 0, 512, 0, 7, 0, 1010);
	ranges_summarise(r, 1010 + 120, &s);
	assert_int_equal(s.accessed, 7 * PAGE_BYTES);
	ranges_summarise(r, 1010 + 121, &s);
	assert_int_equal(s.accessed, 0);
}

/* One sample of a large region is no proof; two snapshots in a row are. */
static void damon_alone_counts_returns_at_the_second_snapshot(void **state)
{
	struct ranges *r = *state;

	r->idle_flags = false;
	r->v[0].tier_pages = 40;
	r->v[1].dram_pages = 512;
	assert_int_equal(snapshot(r, 0, 1, 1, 1000), 0);
	assert_false(r->v[0].flags & RANGE_HOT);
	assert_int_equal(snapshot(r, 0, 1, 1, 1002), 40);
	assert_true(r->v[0].flags & RANGE_HOT);
	/* Counted once. */
	assert_int_equal(snapshot(r, 0, 1, 1, 1004), 0);
	/* A quiet snapshot between makes it one again. */
	r->v[0].flags = 0;
	assert_int_equal(snapshot(r, 0, 0, 1, 1006), 0);
	assert_int_equal(snapshot(r, 0, 0, 0, 1008), 0);
	assert_int_equal(snapshot(r, 0, 0, 1, 1010), 0);
	/* What we have just moved is ignored, and with idle flags those tell. */
	r->v[0].flags = RANGE_SEEN | RANGE_MOVED;
	assert_int_equal(snapshot(r, 0, 0, 1, 1012), 0);
	r->v[0].flags = RANGE_SEEN;
	r->idle_flags = true;
	assert_int_equal(snapshot(r, 0, 0, 1, 1014), 0);
}

static void strays_go_home_and_are_not_returns(void **state)
{
	struct ranges *r = *state;
	struct range_look l = { .tier_pages = 512, .stray_pages = 512, .armed = true };

	assert_int_equal(range_looked(&r->v[0], &l, 1000), 0);
	assert_true(r->v[0].flags & RANGE_HOT);
}

static void ranges_that_are_added_were_never_looked_at(void **state)
{
	struct ranges *r = *state;

	look(r, 7, 512, 0, 0, 0, 1000);
	assert_int_equal(ranges_grow(r, 100), 0);
	assert_int_equal(r->n, 100);
	assert_int_equal(r->v[7].checked_s, 1000);
	assert_int_equal(r->v[99].checked_s, 0);
	assert_int_equal(ranges_grow(r, 5), 0);
	assert_int_equal(r->n, 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(back_off_divides_the_age, make, drop),
		cmocka_unit_test_setup_teardown(what_was_accessed_long_ago_is_not_accessed_recently,
						make, drop),
		cmocka_unit_test_setup_teardown(damon_alone_counts_returns_at_the_second_snapshot,
						make, drop),
		cmocka_unit_test_setup_teardown(strays_go_home_and_are_not_returns, make, drop),
		cmocka_unit_test_setup_teardown(ranges_that_are_added_were_never_looked_at, make,
						drop),
		cmocka_unit_test_setup_teardown(age_is_what_the_last_look_confirmed, make, drop),
		cmocka_unit_test_setup_teardown(
			what_is_gone_is_neither_looked_at_nor_counted_nor_moved, make, drop),
		cmocka_unit_test_setup_teardown(a_range_never_armed_has_no_age, make, drop),
		cmocka_unit_test_setup_teardown(damons_quiet_counts_only_without_idle_flags, make,
						drop),
		cmocka_unit_test_setup_teardown(
			without_idle_flags_an_age_is_what_snapshots_confirmed, make, drop),
		cmocka_unit_test_setup_teardown(what_was_between_snapshots_far_apart_nobody_knows,
						make, drop),
		cmocka_unit_test_setup_teardown(a_range_was_accessed_where_any_region_of_it_was,
						make, drop),
		cmocka_unit_test_setup_teardown(what_is_quiet_in_part_is_looked_at, make, drop),
		cmocka_unit_test_setup_teardown(two_regions_of_one_snapshot_are_not_two_snapshots,
						make, drop),
		cmocka_unit_test_setup_teardown(
			a_snapshot_that_was_not_read_to_its_end_tells_nothing, make, drop),
		cmocka_unit_test_setup_teardown(only_nominated_memory_is_looked_at, make, drop),
		cmocka_unit_test_setup_teardown(what_stays_idle_is_looked_at_less_often, make,
						drop),
		cmocka_unit_test_setup_teardown(what_we_moved_is_ignored_for_a_round, make, drop),
		cmocka_unit_test_setup_teardown(early_return_doubles_the_age_needed, make, drop),
		cmocka_unit_test_setup_teardown(a_demotion_is_judged_by_what_comes_back_first, make,
						drop),
		cmocka_unit_test_setup_teardown(coming_home_for_room_is_no_early_return, make,
						drop),
		cmocka_unit_test_setup_teardown(what_was_refused_has_to_age_again, make, drop),
		cmocka_unit_test_setup_teardown(the_oldest_go_first_and_no_more_than_asked, make,
						drop),
		cmocka_unit_test_setup_teardown(hot_pages_come_home_before_others, make, drop),
		cmocka_unit_test_setup_teardown(sums_add_up, make, drop),
		cmocka_unit_test(state_of_a_tebibyte_fits_its_budget),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
