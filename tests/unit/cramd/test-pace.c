// SPDX-License-Identifier: GPL-2.0-or-later
/* How many pages a call moves: what is set bounds it, how long calls take decides within that. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cramd/act/move.h"

static void a_call_never_moves_more_than_is_set(void **state)
{
	struct move_pace pace = { .most = 100, .limit_us = 5000 };

	(void)state;
	move_pace_bound(&pace);
	assert_int_equal(pace.batch, 100);
	for (int i = 0; i < 10; i++)
		move_pace_adapt(&pace, pace.batch, 10);
	assert_int_equal(pace.batch, 100);
	/* A lower setting is in force from the next call on. */
	pace.most = 16;
	move_pace_bound(&pace);
	assert_int_equal(pace.batch, 16);
}

static void slow_calls_make_the_next_ones_smaller(void **state)
{
	struct move_pace pace = { .most = MOVE_BATCH_MAX, .limit_us = 5000 };

	(void)state;
	move_pace_bound(&pace);
	move_pace_adapt(&pace, pace.batch, 5001);
	assert_int_equal(pace.batch, MOVE_BATCH_MAX / 2);
	/* Neither slow nor quick: as it is. */
	move_pace_adapt(&pace, pace.batch, 4000);
	assert_int_equal(pace.batch, MOVE_BATCH_MAX / 2);
	for (int i = 0; i < 20; i++)
		move_pace_adapt(&pace, pace.batch, 1000000);
	assert_int_equal(pace.batch, MOVE_BATCH_MIN);
	/* A call that was short because there was little to do proves nothing. */
	move_pace_adapt(&pace, 3, 10);
	assert_int_equal(pace.batch, MOVE_BATCH_MIN);
	move_pace_adapt(&pace, pace.batch, 10);
	assert_int_equal(pace.batch, 2 * MOVE_BATCH_MIN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_call_never_moves_more_than_is_set),
		cmocka_unit_test(slow_calls_make_the_next_ones_smaller),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
