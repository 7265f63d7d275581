/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Heapsort: no allocation and no bad case, where qsort(3) of glibc allocates for more than a
 * kilobyte.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* Is the element at @a to come before that at @b? Never true both ways. */
typedef bool (*cram_before)(const void *a, const void *b, const void *context);

/* Orders @n elements of @size bytes, at most CRAM_SORT_SIZE. Equal ones end in any order. */
#define CRAM_SORT_SIZE 64
void cram_sort(void *base, size_t n, size_t size, cram_before before, const void *context);
