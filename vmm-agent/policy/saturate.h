/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Arithmetic of byte counts that stops at the ends of its range instead of wrapping. */
#pragma once

#include <stdint.h>

static inline uint64_t min(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static inline uint64_t max(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static inline uint64_t sub(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

static inline uint64_t add(uint64_t a, uint64_t b)
{
	return a + b < a ? UINT64_MAX : a + b;
}

/* a * b / c; c == 0 gives 0. */
static inline uint64_t scale(uint64_t a, uint64_t b, uint64_t c)
{
	unsigned __int128 v = c ? (unsigned __int128)a * b / c : 0;

	return v > UINT64_MAX ? UINT64_MAX : (uint64_t)v;
}

static inline uint64_t scale_up(uint64_t a, uint64_t b, uint64_t c)
{
	unsigned __int128 v = c ? ((unsigned __int128)a * b + c - 1) / c : 0;

	return v > UINT64_MAX ? UINT64_MAX : (uint64_t)v;
}
