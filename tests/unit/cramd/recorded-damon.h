/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * DAMON's tree on a recorded host: files that remember what was written over what they had, and do
 * nothing.
 */
#pragma once

#include "recorded.h"

#define RECORDED_DAMON "/sys/kernel/mm/damon/admin/kdamonds"

/* As the kernel has it once it was made: files with what is in them by default. */
static inline void recorded_put_damon(const char *dir)
{
	recorded_put(dir, RECORDED_DAMON "/nr_kdamonds", "0\n");
	recorded_put(dir, RECORDED_DAMON "/0/state", "off\n");
	recorded_put(dir, RECORDED_DAMON "/0/contexts/nr_contexts", "0\n");
	recorded_put(dir, RECORDED_DAMON "/0/contexts/0/operations", "vaddr\n");
}

/* Files that are written to, for @n targets of one range each. */
static inline void recorded_put_damon_targets(const char *dir, unsigned int n)
{
	static const char *const once[] = {
		"monitoring_attrs/intervals/sample_us",
		"monitoring_attrs/intervals/aggr_us",
		"monitoring_attrs/intervals/update_us",
		"monitoring_attrs/nr_regions/min",
		"monitoring_attrs/nr_regions/max",
		"targets/nr_targets",
		"schemes/nr_schemes",
	};
	static const char *const of_target[] = {
		"pid_target",
		"regions/nr_regions",
		"regions/0/start",
		"regions/0/end",
	};
	static const char *const of_scheme[] = {
		"action",
		"access_pattern/sz/max",
		"access_pattern/nr_accesses/max",
		"access_pattern/age/max",
		"filters/nr_filters",
		"filters/0/type",
		"filters/0/matching",
		"filters/0/damon_target_idx",
	};
	char path[256];

	for (size_t k = 0; k < sizeof(once) / sizeof(once[0]); k++) {
		snprintf(path, sizeof(path), RECORDED_DAMON "/0/contexts/0/%s", once[k]);
		recorded_put(dir, path, "");
	}
	for (unsigned int i = 0; i < n; i++) {
		for (size_t k = 0; k < sizeof(of_target) / sizeof(of_target[0]); k++) {
			snprintf(path, sizeof(path), RECORDED_DAMON "/0/contexts/0/targets/%u/%s",
				 i, of_target[k]);
			recorded_put(dir, path, "");
		}
		for (size_t k = 0; k < sizeof(of_scheme) / sizeof(of_scheme[0]); k++) {
			snprintf(path, sizeof(path), RECORDED_DAMON "/0/contexts/0/schemes/%u/%s",
				 i, of_scheme[k]);
			recorded_put(dir, path, "");
		}
	}
}
