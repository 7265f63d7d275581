/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Writing decimal numbers fast and exactly: no locale, no floating point. Not for people to read;
 * sizes for people are in size.h.
 */
#pragma once

#include <stdint.h>
#include <string.h>

/* Bytes that decimal_put() and decimal_put_scaled() write at most. */
#define DECIMAL_MAX 22

/* Writes @value at @p without a terminator; returns where it ends. */
static inline char *decimal_put(char *p, uint64_t value)
{
	char digits[20];
	size_t i = sizeof(digits);

	do {
		digits[--i] = (char)('0' + value % 10);
		value /= 10;
	} while (value > 0);
	memcpy(p, digits + i, sizeof(digits) - i);
	return p + sizeof(digits) - i;
}

/* The same for @value / 10^@decimals (at most 18), without zeros behind the last digit. */
static inline char *decimal_put_scaled(char *p, uint64_t value, unsigned int decimals)
{
	uint64_t unit = 1;

	for (unsigned int i = 0; i < decimals; i++)
		unit *= 10;
	p = decimal_put(p, value / unit);
	value %= unit;
	if (value)
		*p++ = '.';
	while (value) {
		unit /= 10;
		*p++ = (char)('0' + value / unit);
		value %= unit;
	}
	return p;
}
