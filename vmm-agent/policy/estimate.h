/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a VM's memory takes on a card that compresses, from what is known of some of its pages.
 */
#pragma once

#include <stdint.h>

#define CRAM_PAGE_BYTES 4096U

/*
 * The most that @bytes take when they are estimated to take @device, from @sampled of their pages
 * picked by chance, and no page takes more than @worst (4096 to 65536). With no page sampled that
 * is what @worst says. Wrong in one case of forty or less, whatever the data: the bound is
 * Wilson's (1927) of two standard errors, less its denominator, which would lower it, for pages
 * that take all or nothing: no others with such a mean vary more.
 */
uint64_t cram_device_upper(uint64_t bytes, uint64_t device, uint64_t sampled, uint32_t worst);

/*
 * Upper bound of what pages to come take, device bytes per byte in Q16, when those there take at
 * most @upper: they are held to be like these, but never to take less than 1/32. Nothing there:
 * @worst.
 */
uint32_t cram_ratio_to_come(uint64_t bytes, uint64_t upper, uint32_t worst);

/*
 * How much is expected to fit where @physical device bytes are, of which @bytes take @stored now:
 * as much as at their ratio, at most @cap_percent of @physical, at least what @worst leaves. With
 * less than 64 MiB there nothing is known, and nothing more expected.
 */
uint64_t cram_expected_to_fit(uint64_t physical, uint64_t bytes, uint64_t stored, uint32_t worst,
			      uint32_t cap_percent);
