/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Growable typed arrays. They grow by doubling and never shrink, so a steady state allocates
 * nothing. Not thread safe.
 */
#pragma once

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#define CRAM_ARRAY(type)       \
	struct {               \
		type *v;       \
		size_t n, cap; \
	}

/* Room for @count elements in all; 0 or -ENOMEM, in which case nothing changed. */
#define array_reserve(a, count) \
	cram_array_reserve((void **)&(a)->v, &(a)->cap, (count), sizeof(*(a)->v))

/* Append; 0 or -ENOMEM. */
#define array_push(a, ...) \
	(array_reserve((a), (a)->n + 1) < 0 ? -ENOMEM : ((a)->v[(a)->n++] = (__VA_ARGS__), 0))

#define array_free(a)                  \
	do {                           \
		free((a)->v);          \
		(a)->v = NULL;         \
		(a)->n = (a)->cap = 0; \
	} while (0)

static inline int cram_array_reserve(void **v, size_t *cap, size_t count, size_t elem)
{
	size_t want = *cap ? *cap : 8;
	void *p;

	if (count <= *cap)
		return 0;
	while (want < count)
		if (__builtin_mul_overflow(want, (size_t)2, &want))
			return -ENOMEM;
	p = reallocarray(*v, want, elem);
	if (!p)
		return -ENOMEM;
	*v = p;
	*cap = want;
	return 0;
}
