// SPDX-License-Identifier: GPL-2.0-or-later
/* Bounds from samples; see estimate.h. */
#include "policy/estimate.h"

#include "policy/saturate.h"

/* Zero pages take nothing; data that came after them would be let in without end. */
#define RATIO_MIN_Q16 2048U

/* Of fewer a ratio says nothing about others. */
#define KNOWN_MIN (UINT64_C(64) << 20)

/* The kernel keeps what a page takes in steps; that is like so much more variance, of m * m. */
#define STEP_VARIANCE 25

static uint64_t square_root_up(uint64_t v)
{
	uint64_t root = 0;

	for (uint64_t bit = UINT64_C(1) << 31; bit; bit >>= 1)
		if ((root | bit) * (root | bit) < v)
			root |= bit;
	return v ? root + 1 : 0;
}

uint64_t cram_device_upper(uint64_t bytes, uint64_t device, uint64_t sampled, uint32_t worst)
{
	uint64_t pages = add(bytes, CRAM_PAGE_BYTES - 1) / CRAM_PAGE_BYTES;
	uint64_t most = scale(pages, worst, 1), mean, variance, one, error;

	if (sampled == 0 || pages == 0)
		return most;
	mean = min(scale_up(device, 1, pages), worst);
	variance = mean * (worst - mean) + mean * mean / STEP_VARIANCE;
	one = scale_up(worst, 1, sampled);
	error = 2 * one + 2 * square_root_up(add(scale_up(variance, 1, sampled), one * one));
	return min(most, add(device, scale(pages, error, 1)));
}

uint32_t cram_ratio_to_come(uint64_t bytes, uint64_t upper, uint32_t worst)
{
	uint64_t most = scale_up(worst, 65536, CRAM_PAGE_BYTES);
	uint64_t ratio = bytes ? scale_up(upper, 65536, bytes) : most;

	return (uint32_t)max(min(ratio, most), RATIO_MIN_Q16);
}

uint64_t cram_expected_to_fit(uint64_t physical, uint64_t bytes, uint64_t stored, uint32_t worst,
			      uint32_t cap_percent)
{
	uint64_t least = scale(physical, CRAM_PAGE_BYTES, worst);
	uint64_t most = scale(physical, cap_percent, 100);

	if (bytes < KNOWN_MIN)
		return least;
	return max(least, min(stored ? scale(physical, bytes, stored) : most, most));
}
