// SPDX-License-Identifier: GPL-2.0-or-later
/* Text from outside: whatever comes in, what goes on is UTF-8, and a cut never splits a character.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "random.h"
#include "util/error.h"
#include "util/utf8.h"

static bool is_utf8(const char *text)
{
	for (size_t n = strlen(text); n;) {
		size_t length = utf8_length(text, n);

		if (!length)
			return false;
		text += length;
		n -= length;
	}
	return true;
}

static void characters_are_told_from_rubbish(void **state)
{
	static const struct {
		const char *text;
		size_t length;
	} cases[] = {
		{ "a", 1 },
		{ "\xc3\xa9", 2 },
		{ "\xe2\x82\xac", 3 },
		{ "\xf0\x9f\x98\x80", 4 },
		{ "\xff", 0 },
		{ "\x80", 0 },
		{ "\xc3", 0 },
		{ "\xc3(", 0 },
		{ "\xc0\xaf", 0 },	   /* "/" in two bytes */
		{ "\xe0\x80\xaf", 0 },	   /* and in three */
		{ "\xed\xa0\x80", 0 },	   /* a surrogate */
		{ "\xf4\x90\x80\x80", 0 }, /* above U+10FFFF */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(utf8_length(cases[i].text, strlen(cases[i].text)),
				 cases[i].length);
	assert_int_equal(utf8_length("", 0), 0);
}

static void what_is_no_utf8_is_escaped(void **state)
{
	char to[16];

	(void)state;
	assert_int_equal(utf8_copy(to, sizeof(to), "a\xff\xc3\xa9", 4), 7);
	assert_string_equal(to, "a\\xff\xc3\xa9");
}

static void a_cut_falls_between_characters(void **state)
{
	char to[6], text[] = "ab\xe2\x82";

	(void)state;
	utf8_copy(to, sizeof(to), "abcd\xc3\xa9", 6);
	assert_string_equal(to, "abcd");
	utf8_copy(to, sizeof(to), "ab\xff", 3); /* no half of an escape either */
	assert_string_equal(to, "ab");
	assert_int_equal(utf8_trim(text), 2);
	assert_string_equal(text, "ab");
	strcpy(text, "a\xc3\xa9");
	assert_int_equal(utf8_trim(text), 3);
}

static void any_bytes_come_out_as_utf8(void **state)
{
	uint64_t rng = random_seed("utf8");
	char from[64], to[40];

	(void)state;
	for (int k = 0; k < 100000; k++) {
		size_t n = (size_t)random_in(&rng, 0, sizeof(from));
		size_t size = (size_t)random_in(&rng, 1, sizeof(to));

		for (size_t i = 0; i < n; i++)
			from[i] = (char)random_in(&rng, 1, 255);
		assert_true(utf8_copy(to, size, from, n) < size);
		assert_true(is_utf8(to));
		/* However it is cut after that. */
		to[random_in(&rng, 0, (unsigned int)strlen(to))] = '\0';
		utf8_trim(to);
		assert_true(is_utf8(to));
	}
}

static void errors_are_utf8_however_long(void **state)
{
	char text[CRAM_ERROR_TEXT], object[400] = "x", out[100];
	struct cram_error err = {};

	(void)state;
	for (int i = 0; i < 150; i++)
		strcat(object, "\xc3\xa9");
	cram_error_set(&err, -EINVAL, object, object, object, "%s\xff%s%s", object, object, object);
	assert_true(is_utf8(err.object) && is_utf8(err.attempt) && is_utf8(err.advice));
	assert_true(is_utf8(err.why));
	cram_error_prefix(&err, "%s", object);
	assert_true(is_utf8(err.object));
	assert_true(is_utf8(cram_error_format(&err, text, sizeof(text))));
	assert_true(is_utf8(cram_error_format(&err, out, sizeof(out))));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(characters_are_told_from_rubbish),
		cmocka_unit_test(what_is_no_utf8_is_escaped),
		cmocka_unit_test(a_cut_falls_between_characters),
		cmocka_unit_test(any_bytes_come_out_as_utf8),
		cmocka_unit_test(errors_are_utf8_however_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
