// SPDX-License-Identifier: GPL-2.0-or-later
/* What is said of all pages of a VM from some of them, against pages drawn at random. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "policy/estimate.h"
#include "util/size.h"

#include "random.h"

#define PAGES 65536 /* 256 MiB */
#define BYTES ((uint64_t)PAGES * CRAM_PAGE_BYTES)

/* What a page takes in a guest of @kind: all alike, a mixture, few that take all, next to nothing.
 */
static uint32_t page_takes(uint64_t *rng, unsigned int kind)
{
	switch (kind) {
	case 0:
		return 1024;
	case 1:
		return random_in(rng, 0, 1) ? 4096 : 256;
	case 2:
		return random_in(rng, 0, 99) ? 0 : 4096;
	case 3:
		return (uint32_t)random_in(rng, 0, 64) * 64;
	default:
		return 64;
	}
}

/* Of @n pages picked by chance, how likely is it that @k are such of which one in @one_in is? */
static double likely(unsigned int n, unsigned int k, unsigned int one_in)
{
	double p = 1.0 / one_in;

	return exp(lgamma(n + 1.0) - lgamma(k + 1.0) - lgamma(n - k + 1.0) + k * log(p) +
		   (n - k) * log1p(-p));
}

/*
 * Pages that take all or nothing vary most. Nothing is drawn here: how often the bound is too low
 * is the sum of how likely the samples are of which it is.
 */
static void the_bound_holds_for_39_of_40(void **state)
{
	(void)state;
	for (unsigned int n = 1; n <= 4096; n *= 2) {
		for (unsigned int one_in = 2; one_in <= 65536; one_in += 1 + one_in / 16) {
			const uint64_t truth = PAGES * UINT64_C(4096) / one_in;
			double wrong = 0;

			for (unsigned int k = 0; k <= n; k++) {
				const uint64_t device = PAGES * UINT64_C(4096) * k / n;

				if (cram_device_upper(BYTES, device, n, 4096) >= truth)
					break;
				wrong += likely(n, k, one_in);
			}
			if (wrong > 1.0 / 40)
				fail_msg(
					"%u sampled, one in %u takes all: too low in %.4f of all cases",
					n, one_in, wrong);
		}
	}
}

static void the_bound_holds_for_pages_of_all_kinds(void **state)
{
	uint64_t rng = random_seed("bound");
	unsigned int wrong = 0, tight = 0;
	(void)state;

	for (unsigned int round = 0; round < 400; round++) {
		unsigned int kind = round % 5, one_in = 1U << random_in(&rng, 3, 11);
		uint64_t truth = 0, sampled = 0, sum = 0, device, upper;

		for (unsigned int i = 0; i < PAGES; i++) {
			uint32_t takes = page_takes(&rng, kind);

			truth += takes;
			if (random_in(&rng, 0, one_in - 1))
				continue;
			sampled++;
			sum += takes;
		}
		device = sampled ? sum * PAGES / sampled : 0;
		upper = cram_device_upper(BYTES, device, sampled, 4096);
		assert_true(upper >= device);
		assert_true(upper <= BYTES);
		wrong += upper < truth;
		/* A bound that is never below all of it would hold, too. */
		tight += one_in == 64 && kind < 2 && upper < truth * 115 / 100;
	}
	/* One in forty. It is one in 300, and 10 of 400 come by chance once in a million runs. */
	assert_true(wrong <= 10);
	assert_true(tight > 5);
}

static void without_a_sample_it_is_the_worst(void **state)
{
	(void)state;
	assert_int_equal(cram_device_upper(BYTES, MiB, 0, 4096), BYTES);
	assert_int_equal(cram_device_upper(BYTES, MiB, 0, 8192), 2 * BYTES);
	assert_int_equal(cram_device_upper(0, 0, 100, 4096), 0);
}

static void nonsense_is_bounded(void **state)
{
	(void)state;
	assert_int_equal(cram_device_upper(UINT64_MAX, UINT64_MAX, 1, 65536), UINT64_MAX);
	assert_true(cram_device_upper(BYTES, UINT64_MAX, UINT64_MAX, 4096) <= BYTES);
	assert_int_equal(cram_ratio_to_come(1, UINT64_MAX, 65536), 16 * 65536);
}

static void pages_to_come_are_like_those_there_but_never_nothing(void **state)
{
	(void)state;
	assert_int_equal(cram_ratio_to_come(4 * GiB, GiB, 4096), 16384);
	assert_int_equal(cram_ratio_to_come(0, 0, 4096), 65536);
	assert_int_equal(cram_ratio_to_come(0, 0, 8192), 131072);
	assert_int_equal(cram_ratio_to_come(GiB, 0, 4096), 2048);
	assert_int_equal(cram_ratio_to_come(GiB, 3 * GiB, 4096), 65536);
}

/* 100 MiB of which 4 KiB pages take 4 KiB at most, and a cap of three times as much. */
static uint64_t expected(uint64_t bytes, uint64_t stored)
{
	return cram_expected_to_fit(100 * MiB, bytes, stored, 4096, 300);
}

static void what_is_expected_is_like_what_is_there_and_capped(void **state)
{
	(void)state;
	assert_int_equal(expected(0, 0), 100 * MiB);
	assert_int_equal(expected(64 * MiB - 4096, MiB), 100 * MiB);
	assert_int_equal(expected(64 * MiB, 32 * MiB), 200 * MiB);
	assert_int_equal(expected(64 * MiB, MiB), 300 * MiB);
	assert_int_equal(expected(64 * MiB, 0), 300 * MiB);
	assert_int_equal(expected(64 * MiB, 70 * MiB), 100 * MiB);
	assert_int_equal(cram_expected_to_fit(100 * MiB, 0, 0, 8192, 300), 50 * MiB);
	assert_int_equal(cram_expected_to_fit(100 * MiB, 64 * MiB, 96 * MiB, 8192, 300),
			 100 * MiB * 64 / 96);
	assert_int_equal(cram_expected_to_fit(UINT64_MAX, UINT64_MAX, 1, 4096, 3200), UINT64_MAX);
	assert_int_equal(cram_expected_to_fit(MiB, 64 * MiB, MiB, 0, 300), 3 * MiB);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_bound_holds_for_39_of_40),
		cmocka_unit_test(the_bound_holds_for_pages_of_all_kinds),
		cmocka_unit_test(without_a_sample_it_is_the_worst),
		cmocka_unit_test(nonsense_is_bounded),
		cmocka_unit_test(pages_to_come_are_like_those_there_but_never_nothing),
		cmocka_unit_test(what_is_expected_is_like_what_is_there_and_capped),
	};

	return cmocka_run_group_tests_name("estimate", tests, NULL, NULL);
}
