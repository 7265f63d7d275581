// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The compressed card's books against the same books kept by brute force, and
 * cases that were wrong once, in figures small enough to follow.
 */
#include <setjmp.h>
#include <stdarg.h>

#include "qemu/osdep.h"

#include <cmocka.h>

#define MODEL_CHECK(condition) assert_true(condition)
#include "account-model.h"

#include "../unit/random.h"

#define PAGE 4096u

static void settle(CXLCompressAccount *a, uint64_t first, uint64_t nr, CXLCompressEvents *ev)
{
	cxl_compress_account_look(a);
	for (uint64_t page = first; page < first + nr; page++)
		cxl_compress_account_settle(a, page, PAGE, false, ev);
	cxl_compress_account_commit(a, ev);
}

static void mark(CXLCompressAccount *a, uint64_t first, uint64_t nr)
{
	for (uint64_t page = first; page < first + nr; page++)
		cxl_compress_account_mark(a, page);
}

/* A card of 1000 pages with room for 100. */
static void make(CXLCompressAccount *a)
{
	cxl_compress_account_init(a, 1000, 100 * PAGE + 8000, PAGE, PAGE);
}

static void test_random_sequences(void **state)
{
	uint64_t seed = random_seed("account");
	uint8_t bytes[4096];

	(void)state;
	for (int run = 0; run < 20000; run++) {
		size_t n = random_in(&seed, 1, sizeof(bytes) / (run % 16 ? 16 : 1));

		for (size_t i = 0; i < n; i++)
			bytes[i] = (uint8_t)random_u64(&seed);
		account_run(bytes, n);
	}
}

static void test_growing_forgives_nothing(void **state)
{
	CXLCompressAccount a;
	CXLCompressEvents ev = { 0 };

	(void)state;
	make(&a);
	mark(&a, 0, 102);
	settle(&a, 0, 102, &ev);
	cxl_compress_account_resize(&a, 200 * PAGE + 8000, false, 1, &ev);
	assert_int_equal(a.peak_excess, 2 * PAGE);
	assert_int_equal(a.over_capacity_pages, 2);
	assert_int_equal(ev.lost, 2);
	assert_int_equal(ev.first_lost, 100);
	cxl_compress_account_free(&a);
}

static void test_announced_shrink_waits_for_the_host(void **state)
{
	CXLCompressAccount a;
	CXLCompressEvents ev = { 0 };

	(void)state;
	make(&a);
	cxl_compress_account_resize(&a, 50 * PAGE + 8000, false, 8, &ev);
	cxl_compress_account_commit(&a, &ev);
	assert_int_equal(a.physical, 100 * PAGE + 8000);

	/* Written on what was granted before the host can know. */
	mark(&a, 0, 90);
	settle(&a, 0, 90, &ev);
	cxl_compress_account_accept(&a, 0);
	cxl_compress_account_accept(&a, 7);
	cxl_compress_account_commit(&a, &ev);
	assert_int_equal(a.shrink, CXL_COMPRESS_SHRINK_ANNOUNCED);
	assert_int_equal(a.physical, 100 * PAGE + 8000);

	/* It knows, it says so, and it still does not fit. */
	cxl_compress_account_accept(&a, 8);
	cxl_compress_account_commit(&a, &ev);
	assert_int_equal(a.physical, 100 * PAGE + 8000);
	assert_int_equal(a.shrink, CXL_COMPRESS_SHRINK_ACCEPTED);

	cxl_compress_account_look(&a);
	for (uint64_t page = 0; page < 40; page++)
		cxl_compress_account_release(&a, page, false);
	cxl_compress_account_commit(&a, &ev);
	assert_int_equal(a.physical, 50 * PAGE + 8000);
	assert_int_equal(a.over_capacity_pages, 0);
	assert_int_equal(a.peak_excess, 0);
	cxl_compress_account_free(&a);
}

static void test_force_excuses_what_no_longer_fits_and_nothing_else(void **state)
{
	CXLCompressAccount a;
	CXLCompressEvents ev = { 0 };

	(void)state;
	make(&a);
	mark(&a, 0, 80);
	settle(&a, 0, 80, &ev);
	/* 10 are written and not settled, one of them once more after the force. */
	mark(&a, 100, 10);
	cxl_compress_account_look(&a);
	cxl_compress_account_resize(&a, 50 * PAGE + 8000, true, 1, &ev);
	mark(&a, 100, 1);
	settle(&a, 100, 10, &ev);
	assert_int_equal(a.over_capacity_pages, 10);
	assert_int_equal(a.excused_pages, 9);
	assert_int_equal(a.peak_excess, 0);
	/* What is written now is the host's affair. */
	mark(&a, 200, 3);
	cxl_compress_account_look(&a);
	assert_int_equal(a.peak_excess, 3 * PAGE);
	cxl_compress_account_free(&a);
}

static void test_watermarks_set_anew_leave_a_true_flag(void **state)
{
	CXLCompressWatermarks wm = { 30 * PAGE, 60 * PAGE }, less = { 10 * PAGE, 60 * PAGE };
	CXLCompressAccount a;
	CXLCompressEvents ev = { 0 };

	(void)state;
	make(&a);
	cxl_compress_account_set_watermarks(&a, wm, &ev);
	mark(&a, 0, 80);
	settle(&a, 0, 80, &ev);
	assert_true(a.below_low && ev.low && !ev.high);

	/* 20 pages are free: not below 10, whatever was before. */
	ev = (CXLCompressEvents){ 0 };
	cxl_compress_account_set_watermarks(&a, less, &ev);
	assert_true(!a.below_low && !ev.low && ev.high);

	/* Below already when armed: told at once. */
	ev = (CXLCompressEvents){ 0 };
	cxl_compress_account_set_watermarks(&a, wm, &ev);
	assert_true(a.below_low && ev.low && !ev.high);

	cxl_compress_account_reset(&a, less);
	assert_false(a.below_low);
	cxl_compress_account_free(&a);
}

static void test_watermarks_come_back_when_the_card_grows_again(void **state)
{
	CXLCompressWatermarks wm = { 30 * PAGE, 60 * PAGE };
	CXLCompressAccount a;
	CXLCompressEvents ev = { 0 };

	(void)state;
	make(&a);
	cxl_compress_account_set_watermarks(&a, wm, &ev);
	cxl_compress_account_resize(&a, 20 * PAGE + 8000, true, 1, &ev);
	assert_int_equal(cxl_compress_account_watermarks(&a).low, 20 * PAGE);
	assert_int_equal(cxl_compress_account_watermarks(&a).high, 20 * PAGE);
	cxl_compress_account_resize(&a, 100 * PAGE + 8000, true, 1, &ev);
	assert_int_equal(cxl_compress_account_watermarks(&a).low, 30 * PAGE);
	assert_int_equal(cxl_compress_account_watermarks(&a).high, 60 * PAGE);
	cxl_compress_account_free(&a);
}

static void test_space_is_taken_in_steps(void **state)
{
	CXLCompressAccount a;
	CXLCompressEvents ev = { 0 };

	(void)state;
	cxl_compress_account_init(&a, 1000, 10 * PAGE + 8000, PAGE, 4 * PAGE);
	mark(&a, 0, 9);
	settle(&a, 0, 9, &ev);
	/* 10 pages are usable, but only two steps of 4. */
	assert_int_equal(a.stored, 8 * PAGE);
	assert_int_equal(a.over_capacity_pages, 1);
	assert_int_equal(a.peak_excess, 2 * PAGE);
	cxl_compress_account_free(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_sequences),
		cmocka_unit_test(test_growing_forgives_nothing),
		cmocka_unit_test(test_announced_shrink_waits_for_the_host),
		cmocka_unit_test(test_force_excuses_what_no_longer_fits_and_nothing_else),
		cmocka_unit_test(test_watermarks_set_anew_leave_a_true_flag),
		cmocka_unit_test(test_watermarks_come_back_when_the_card_grows_again),
		cmocka_unit_test(test_space_is_taken_in_steps),
	};

	return cmocka_run_group_tests_name("account", tests, NULL, NULL);
}
