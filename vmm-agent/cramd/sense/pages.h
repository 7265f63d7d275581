/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Page-level views of a process: pagemap, and the kernel's idle flags for the frames behind it.
 * Decides nothing about age; see classify/.
 */
#pragma once

#include "sysroot.h"

#include <sys/types.h>

#define PAGE_BYTES	4096U
#define RANGE_BYTES	(2U << 20)
#define PAGES_PER_RANGE (RANGE_BYTES / PAGE_BYTES)

#define PAGEMAP_PRESENT (UINT64_C(1) << 63)
#define PAGEMAP_SWAPPED (UINT64_C(1) << 62)
#define PAGEMAP_PFN(e)	((e) & ((UINT64_C(1) << 55) - 1))

/* @ret_fd: /proc/@pid/pagemap, the caller's to close. */
int pagemap_open(const struct sysroot *root, pid_t pid, int *ret_fd);

/* Entries of @n pages from @addr (page aligned). -ESRCH: the process is gone. */
int pagemap_read(int fd, uint64_t addr, size_t n, uint64_t *entries);

struct page_idle {
	int bitmap; /* -1: the kernel does not have it */
	int flags;  /* /proc/kpageflags */
};

/* -ENOENT: a kernel without idle page tracking. */
int page_idle_open(const struct sysroot *root, struct page_idle *ret_idle);
void page_idle_close(struct page_idle *idle);

/*
 * The kernel tracks whole folios by their first frame and silently ignores the others. Replaces
 * each present page's frame number in @entries (as pagemap_read() gives them, at most
 * PAGES_PER_RANGE) by that of its folio's first frame; not present: 0 in @heads.
 */
int page_idle_heads(const struct page_idle *idle, const uint64_t *entries, size_t n,
		    uint64_t *heads);

/* Sets the idle flag of every frame in @heads that is not 0. At most PAGES_PER_RANGE. */
int page_idle_mark(const struct page_idle *idle, const uint64_t *heads, size_t n);

/*
 * Which frames are still idle since they were marked. A frame that is not in user memory, or was
 * never marked, reads as not idle: never mistaken for cold.
 */
int page_idle_check(const struct page_idle *idle, const uint64_t *heads, size_t n, bool *ret_idle);
