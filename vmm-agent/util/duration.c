// SPDX-License-Identifier: GPL-2.0-or-later
/* Parsing of spans of time; see duration.h. */
#include "util/duration.h"

#include <errno.h>
#include <string.h>

#include "util/cleanup.h"

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
	const char *p = text + strspn(text, " \t");
	uint64_t value = 0, unit = step;
	char name[8];
	size_t n;

	if (*p < '0' || *p > '9')
		return -EINVAL;
	for (; *p >= '0' && *p <= '9'; p++)
		if (__builtin_mul_overflow(value, 10, &value) ||
		    __builtin_add_overflow(value, (uint64_t)(*p - '0'), &value))
			return -ERANGE;
	p += strspn(p, " \t");
	n = strcspn(p, " \t");
	if (n > 0) {
		if (n >= sizeof(name) || p[n + strspn(p + n, " \t")] != '\0')
			return -EINVAL;
		memcpy(name, p, n);
		name[n] = '\0';
		if (cram_duration_unit(name, &unit) < 0)
			return -EINVAL;
	}
	if (__builtin_mul_overflow(value, unit, &value))
		return -ERANGE;
	if (value % step)
		return -EDOM;
	*ret_steps = value / step;
	return 0;
}
