/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A played kernel (struct kernel) whose processes have their memory one page after the other. */
#pragma once

#include "cramd/kernel.h"

#define PLAYED_START 0x7f0000000000UL

/* All is present: the first page in frame 1, the next in 2 … */
static inline int played_pagemap(int fd, uint64_t addr, size_t n, uint64_t *entries)
{
	(void)fd;
	for (size_t i = 0; i < n; i++)
		entries[i] = PAGEMAP_PRESENT | ((addr - PLAYED_START) / PAGE_BYTES + i + 1);
	return 0;
}

/* No page is part of a larger one. */
static inline int played_heads(const struct page_idle *idle, const uint64_t *entries, size_t n,
			       uint64_t *ret)
{
	(void)idle;
	for (size_t i = 0; i < n; i++)
		ret[i] = PAGEMAP_PFN(entries[i]);
	return 0;
}
