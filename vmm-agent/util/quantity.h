/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A number and its unit, taken apart: "12", "12 GiB", "12GiB". What units there are: size.h,
 * duration.h. */
#pragma once

#include <stdint.h>

#define QUANTITY_UNIT_MAX 8

/*
 * Decimal integers only, with any of @blanks around number and unit. @ret_unit is empty where there
 * is none. -EINVAL: not of this form, -ERANGE: the number does not fit 64 bits.
 */
int cram_quantity_split(const char *text, const char *blanks, uint64_t *ret_number,
			char ret_unit[QUANTITY_UNIT_MAX]);
