// SPDX-License-Identifier: GPL-2.0-or-later
/* Numbers with units; see quantity.h. */
#include "util/quantity.h"

#include <errno.h>
#include <string.h>

int cram_quantity_split(const char *text, const char *blanks, uint64_t *ret_number,
			char ret_unit[QUANTITY_UNIT_MAX])
{
	const char *p = text + strspn(text, blanks);
	uint64_t number = 0;
	size_t n;

	if (*p < '0' || *p > '9')
		return -EINVAL;
	for (; *p >= '0' && *p <= '9'; p++)
		if (__builtin_mul_overflow(number, 10, &number) ||
		    __builtin_add_overflow(number, (uint64_t)(*p - '0'), &number))
			return -ERANGE;
	p += strspn(p, blanks);
	n = strcspn(p, blanks);
	if (n >= QUANTITY_UNIT_MAX || p[n + strspn(p + n, blanks)] != '\0')
		return -EINVAL;
	memcpy(ret_unit, p, n);
	ret_unit[n] = '\0';
	*ret_number = number;
	return 0;
}
