// SPDX-License-Identifier: GPL-2.0-or-later
/* Heapsort; see sort.h. */
#include "util/sort.h"

#include <string.h>

struct heap {
	char *base;
	size_t size;
	cram_before before;
	const void *context;
};

static void *at(const struct heap *h, size_t i)
{
	return h->base + i * h->size;
}

static bool before(const struct heap *h, const void *a, const void *b)
{
	return h->before(a, b, h->context);
}

/* The root of a heap is what comes last. */
static void sift(const struct heap *h, size_t root, size_t n)
{
	char moving[CRAM_SORT_SIZE];

	memcpy(moving, at(h, root), h->size);
	for (;;) {
		size_t child = 2 * root + 1;

		if (child >= n)
			break;
		if (child + 1 < n && before(h, at(h, child), at(h, child + 1)))
			child++;
		if (!before(h, moving, at(h, child)))
			break;
		memcpy(at(h, root), at(h, child), h->size);
		root = child;
	}
	memcpy(at(h, root), moving, h->size);
}

void cram_sort(void *base, size_t n, size_t size, cram_before before_, const void *context)
{
	struct heap h = { .base = base, .size = size, .before = before_, .context = context };
	char last[CRAM_SORT_SIZE];

	for (size_t i = n / 2; i-- > 0;)
		sift(&h, i, n);
	for (size_t i = n; i-- > 1;) {
		memcpy(last, at(&h, 0), size);
		memcpy(at(&h, 0), at(&h, i), size);
		memcpy(at(&h, i), last, size);
		sift(&h, 0, i);
	}
}
