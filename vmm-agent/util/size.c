// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Parsing and printing of byte sizes with libvirt's units.
 */
#include "util/size.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "util/cleanup.h"
#include "util/quantity.h"

int cram_size_unit(const char *unit, uint64_t *ret_bytes)
{
	static const struct {
		const char *name;
		uint64_t bytes;
	} units[] = {
		{ "b", 1 },   { "byte", 1 },  { "bytes", 1 },
		{ "k", KiB }, { "KiB", KiB }, { "KB", 1000 },
		{ "M", MiB }, { "MiB", MiB }, { "MB", 1000000 },
		{ "G", GiB }, { "GiB", GiB }, { "GB", 1000000000 },
		{ "T", TiB }, { "TiB", TiB }, { "TB", UINT64_C(1000000000000) },
	};

	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		if (strcasecmp(unit, units[i].name) == 0) {
			*ret_bytes = units[i].bytes;
			return 0;
		}
	}
	return -EINVAL;
}

int cram_size_parse(const char *text, uint64_t default_unit, uint64_t *ret_bytes)
{
	char name[QUANTITY_UNIT_MAX];
	uint64_t value, unit = default_unit;
	int r;

	/* Line breaks too: this is also what stands between two tags. */
	r = cram_quantity_split(text, " \t\r\n", &value, name);
	if (r < 0)
		return r;
	if (name[0] && cram_size_unit(name, &unit) < 0)
		return -EINVAL;
	if (unit == 0 && value != 0)
		return -EINVAL;
	if (__builtin_mul_overflow(value, unit, &value) || value > INT64_MAX)
		return -ERANGE;
	*ret_bytes = value;
	return 0;
}

const char *cram_size_format_exactly(uint64_t bytes, char *buf, size_t size)
{
	static const struct {
		const char *name;
		uint64_t bytes;
	} units[] = { { "TiB", TiB }, { "GiB", GiB }, { "MiB", MiB }, { "KiB", KiB } };

	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		if (bytes == 0 || bytes == CRAM_UNLIMITED || bytes % units[i].bytes)
			continue;
		snprintf(buf, size, "%" PRIu64 " %s", bytes / units[i].bytes, units[i].name);
		return buf;
	}
	if (bytes == CRAM_UNLIMITED)
		snprintf(buf, size, "unlimited");
	else
		snprintf(buf, size, "%" PRIu64 " bytes", bytes);
	return buf;
}

const char *cram_size_format(uint64_t bytes, char *buf, size_t size)
{
	static const char *const names[] = { "KiB", "MiB", "GiB", "TiB" };
	uint64_t unit = TiB;
	int i = 3;

	if (bytes == CRAM_UNLIMITED) {
		snprintf(buf, size, "unlimited");
		return buf;
	}
	if (bytes < KiB) {
		snprintf(buf, size, "%" PRIu64 " bytes", bytes);
		return buf;
	}
	for (; unit > bytes; unit >>= 10)
		i--;
	if (bytes % unit == 0)
		snprintf(buf, size, "%" PRIu64 " %s", bytes / unit, names[i]);
	else
		snprintf(buf, size, "%.2f %s", (double)bytes / (double)unit, names[i]);
	return buf;
}
