// SPDX-License-Identifier: GPL-2.0-or-later
/* A card that does not come up: the cause that the kernel means is said, and what to do about it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "ctl/refusal.h"

static const struct card card = { .name = "mem0" };

static void caches_that_cannot_be_emptied_are_named_with_what_to_do(void **state)
{
	struct cram_error err = {};
	char text[CRAM_ERROR_TEXT];

	(void)state;
	assert_int_equal(addresses_refused(&card, -ENXIO, &err, "have it answer to addresses",
					   "see the kernel's log"),
			 -ENXIO);
	assert_int_equal(err.code, -ENXIO);
	cram_error_format(&err, text, sizeof(text));
	assert_string_equal(
		text,
		"mem0: cannot have it answer to addresses: this kernel cannot empty the "
		"processors' caches, as in a virtual machine (No such device or address; its log "
		"has \"Failed to synchronize CPU cache state\"); have the firmware give the card "
		"its addresses, before the kernel starts; in a virtual machine that is for tests "
		"alone, boot a kernel with CONFIG_CXL_REGION_INVALIDATION_TEST");
}

static void other_refusals_are_as_the_kernel_says(void **state)
{
	struct cram_error err = {};
	char text[CRAM_ERROR_TEXT];

	(void)state;
	assert_int_equal(addresses_refused(&card, -EBUSY, &err, "take back its addresses",
					   "end who holds it"),
			 -EBUSY);
	assert_string_equal(cram_error_format(&err, text, sizeof(text)),
			    "mem0: cannot take back its addresses: Device or resource busy; end "
			    "who holds it");
}

static void a_driver_that_refuses_has_its_reasons(void **state)
{
	struct cram_error err = {};

	(void)state;
	assert_int_equal(driver_refused(&card, "cxl_compression", -ENXIO, &err), -ENXIO);
	assert_string_equal(err.attempt, "give it to cxl_compression");
	assert_non_null(strstr(err.why, "the card's own driver has failed"));
	driver_refused(&card, "cxl_compression", -ENOMEM, &err);
	assert_string_equal(err.advice, "free 16 GiB for each TiB of the card");
	driver_refused(&card, "cxl_compression", -EPERM, &err);
	assert_string_equal(err.advice, "see the kernel's log");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(caches_that_cannot_be_emptied_are_named_with_what_to_do),
		cmocka_unit_test(other_refusals_are_as_the_kernel_says),
		cmocka_unit_test(a_driver_that_refuses_has_its_reasons),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
