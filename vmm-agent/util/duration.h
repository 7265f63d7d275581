/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Spans of time as people write them: "1s", "1000 ms", "2 min". Not for dates. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define DURATION_US  UINT64_C(1)
#define DURATION_MS  UINT64_C(1000)
#define DURATION_S   UINT64_C(1000000)
#define DURATION_MIN (60 * DURATION_S)
#define DURATION_H   (60 * DURATION_MIN)

/* Microseconds per @unit: us, ms, s, min or h. -EINVAL: not a unit. */
int cram_duration_unit(const char *unit, uint64_t *ret_us);

/*
 * "12", "12 s", "12s" in whole multiples of @step (microseconds, > 0), which is also what a number
 * without a unit counts. -EINVAL: no such span, -ERANGE: too long, -EDOM: no multiple of @step.
 */
int cram_duration_parse(const char *text, uint64_t step, uint64_t *ret_steps);

/* "2 s", "1500 ms": @us exactly, in the largest unit up to a second. Returns @buf (>= 24 bytes). */
const char *cram_duration_format(uint64_t us, char *buf, size_t size);
