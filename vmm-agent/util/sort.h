/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Heapsort: no allocation and no bad case, where qsort(3) of glibc allocates for more than a
 * kilobyte. It is inline so that size and order are known where it is compiled: a call and a copy
 * of unknown size for each comparison took more than half of a decision.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

/* Is the element at @a to come before that at @b? Never true both ways. */
typedef bool (*cram_before)(const void *a, const void *b, const void *context);

/* Elements are at most that large, bytes; of what is kept on the stack only their size is used. */
#define CRAM_SORT_SIZE 4096

/* Puts element @root of the heap of the first @n in its place. The root of a heap comes last. */
static inline void cram_sort_sift(char *base, size_t root, size_t n, size_t size,
				  cram_before before, const void *context)
{
	char moving[CRAM_SORT_SIZE];

	memcpy(moving, base + root * size, size);
	for (size_t child; (child = 2 * root + 1) < n; root = child) {
		if (child + 1 < n &&
		    before(base + child * size, base + (child + 1) * size, context))
			child++;
		if (!before(moving, base + child * size, context))
			break;
		memcpy(base + root * size, base + child * size, size);
	}
	memcpy(base + root * size, moving, size);
}

/* Orders @n elements of @size bytes, at most CRAM_SORT_SIZE. Equal ones end in any order. */
static inline void cram_sort(void *base, size_t n, size_t size, cram_before before,
			     const void *context)
{
	char last[CRAM_SORT_SIZE], *v = base;

	for (size_t i = n / 2; i-- > 0;)
		cram_sort_sift(v, i, n, size, before, context);
	for (size_t i = n; i-- > 1;) {
		memcpy(last, v, size);
		memcpy(v, v + i * size, size);
		memcpy(v + i * size, last, size);
		cram_sort_sift(v, 0, i, size, before, context);
	}
}
