// SPDX-License-Identifier: GPL-2.0-or-later
/* Spans of time, read and written; see duration.h. */
#include "util/duration.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "util/cleanup.h"
#include "util/quantity.h"

int cram_duration_unit(const char *unit, uint64_t *ret_us)
{
	static const struct {
		const char *name;
		uint64_t us;
	} units[] = {
		{ "us", DURATION_US },	 { "ms", DURATION_MS }, { "s", DURATION_S },
		{ "min", DURATION_MIN }, { "h", DURATION_H },
	};

	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		if (strcmp(unit, units[i].name) == 0) {
			*ret_us = units[i].us;
			return 0;
		}
	}
	return -EINVAL;
}

int cram_duration_parse(const char *text, uint64_t step, uint64_t *ret_steps)
{
	char name[QUANTITY_UNIT_MAX];
	uint64_t value, unit = step;
	int r;

	r = cram_quantity_split(text, " \t", &value, name);
	if (r < 0)
		return r;
	if (name[0] && cram_duration_unit(name, &unit) < 0)
		return -EINVAL;
	if (__builtin_mul_overflow(value, unit, &value))
		return -ERANGE;
	if (value % step)
		return -EDOM;
	*ret_steps = value / step;
	return 0;
}

const char *cram_duration_format(uint64_t us, char *buf, size_t size)
{
	uint64_t unit = us % DURATION_S == 0	? DURATION_S
			: us % DURATION_MS == 0 ? DURATION_MS
						: DURATION_US;

	snprintf(buf, size, "%" PRIu64 " %s", us / unit,
		 unit == DURATION_S    ? "s"
		 : unit == DURATION_MS ? "ms"
				       : "us");
	return buf;
}
