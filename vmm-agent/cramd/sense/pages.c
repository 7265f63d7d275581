// SPDX-License-Identifier: GPL-2.0-or-later
/* pagemap and idle page tracking; see pages.h. */
#include "pages.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define KPF_COMPOUND_HEAD (UINT64_C(1) << 15)
#define KPF_COMPOUND_TAIL (UINT64_C(1) << 16)

int pagemap_open(const struct sysroot *root, pid_t pid, int *ret_fd)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/pagemap", (int)pid);
	return sysroot_open_file(root, path, O_RDONLY, ret_fd);
}

static int pread_exact(int fd, void *buf, size_t size, uint64_t offset)
{
	size_t done = 0;

	while (done < size) {
		ssize_t n = pread(fd, (char *)buf + done, size - done, (off_t)(offset + done));

		if (n < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		if (n == 0)
			return -ENODATA;
		done += (size_t)n;
	}
	return 0;
}

int pagemap_read(int fd, uint64_t addr, size_t n, uint64_t *entries)
{
	int r = pread_exact(fd, entries, n * sizeof(*entries),
			    addr / PAGE_BYTES * sizeof(*entries));

	/* An exited process has an empty pagemap. */
	return r == -ENODATA ? -ESRCH : r;
}

int page_idle_open(const struct sysroot *root, struct page_idle *ret_idle)
{
	struct page_idle idle = { .bitmap = -1, .flags = -1 };
	int r;

	r = sysroot_open_file(root, "/sys/kernel/mm/page_idle/bitmap", O_RDWR, &idle.bitmap);
	if (r < 0)
		return r;
	r = sysroot_open_file(root, "/proc/kpageflags", O_RDONLY, &idle.flags);
	if (r < 0) {
		close(idle.bitmap);
		return r;
	}
	*ret_idle = idle;
	return 0;
}

void page_idle_close(struct page_idle *idle)
{
	if (idle->bitmap >= 0)
		close(idle->bitmap);
	if (idle->flags >= 0)
		close(idle->flags);
	idle->bitmap = -1;
	idle->flags = -1;
}

/* First frame of the folio that the tail @pfn belongs to; folios here are 2 MiB at most. */
static int find_head(const struct page_idle *idle, uint64_t pfn, uint64_t *ret_head)
{
	uint64_t first = pfn & ~(uint64_t)(PAGES_PER_RANGE - 1);

	while (pfn > first) {
		uint64_t flags;
		int r;

		pfn--;
		r = pread_exact(idle->flags, &flags, sizeof(flags), pfn * sizeof(flags));
		if (r < 0)
			return r;
		if (flags & KPF_COMPOUND_HEAD) {
			*ret_head = pfn;
			return 0;
		}
		if (!(flags & KPF_COMPOUND_TAIL))
			break;
	}
	return -ENOENT;
}

int page_idle_heads(const struct page_idle *idle, const uint64_t *entries, size_t n,
		    uint64_t *heads)
{
	uint64_t flags[PAGES_PER_RANGE];

	for (size_t i = 0; i < n;) {
		size_t run = 1;
		uint64_t pfn;
		int r;

		if (!(entries[i] & PAGEMAP_PRESENT)) {
			heads[i++] = 0;
			continue;
		}
		pfn = PAGEMAP_PFN(entries[i]);
		/* Without CAP_SYS_ADMIN the kernel shows every frame as number 0. */
		if (pfn == 0)
			return -EPERM;
		while (i + run < n && (entries[i + run] & PAGEMAP_PRESENT) &&
		       PAGEMAP_PFN(entries[i + run]) == pfn + run)
			run++;
		r = pread_exact(idle->flags, flags, run * sizeof(*flags), pfn * sizeof(*flags));
		if (r < 0)
			return r;
		for (size_t k = 0; k < run; k++) {
			if (!(flags[k] & KPF_COMPOUND_TAIL)) {
				heads[i + k] = pfn + k;
			} else if (k > 0) {
				heads[i + k] = heads[i + k - 1];
			} else {
				r = find_head(idle, pfn, &heads[i]);
				if (r == -ENOENT) /* split while we looked */
					heads[i] = pfn;
				else if (r < 0)
					return r;
			}
		}
		i += run;
	}
	return 0;
}

/*
 * The bitmap is read and written in words of 64 frames. Frames of one range are often neighbours,
 * so one pass handles all that share the word of the first not yet handled.
 */
static uint64_t gather(const uint64_t *heads, size_t n, size_t first, bool *done)
{
	uint64_t word = heads[first] / 64, bits = 0;

	for (size_t i = first; i < n; i++) {
		if (done[i] || heads[i] == 0 || heads[i] / 64 != word)
			continue;
		bits |= UINT64_C(1) << heads[i] % 64;
		done[i] = true;
	}
	return bits;
}

int page_idle_mark(const struct page_idle *idle, const uint64_t *heads, size_t n)
{
	bool done[PAGES_PER_RANGE] = {};

	for (size_t i = 0; i < n; i++) {
		uint64_t bits;

		if (done[i] || heads[i] == 0)
			continue;
		bits = gather(heads, n, i, done);
		if (pwrite(idle->bitmap, &bits, sizeof(bits),
			   (off_t)(heads[i] / 64 * sizeof(bits))) < 0)
			return -errno;
	}
	return 0;
}

int page_idle_check(const struct page_idle *idle, const uint64_t *heads, size_t n, bool *ret_idle)
{
	uint64_t word = UINT64_MAX, bits = 0;
	bool done[PAGES_PER_RANGE] = {};

	for (size_t i = 0; i < n; i++) {
		if (heads[i] == 0) {
			ret_idle[i] = false;
			continue;
		}
		if (done[i])
			continue;
		word = heads[i] / 64;
		if (pread_exact(idle->bitmap, &bits, sizeof(bits), word * sizeof(bits)) < 0)
			return -EIO;
		for (size_t k = i; k < n; k++) {
			if (done[k] || heads[k] == 0 || heads[k] / 64 != word)
				continue;
			ret_idle[k] = bits >> heads[k] % 64 & 1;
			done[k] = true;
		}
	}
	return 0;
}
