/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bytes that are appended at the end and consumed from the front: what a connection has received
 * or has still to send. The memory grows by doubling and is kept. Not thread safe.
 */
#pragma once

#include <string.h>

#include "util/array.h"

/* Zero-initialise. The bytes are those from buf + start, @used of them. */
struct cram_bytes {
	char *buf;
	size_t start, used, cap;
};

/* 0 or -ENOMEM, in which case nothing changed. */
static inline int cram_bytes_add(struct cram_bytes *b, const char *data, size_t n)
{
	if (n == 0)
		return 0;
	/* What was consumed is given up only when the room is needed: most often it never is. */
	if (b->start > 0 && b->start + b->used + n > b->cap) {
		memmove(b->buf, b->buf + b->start, b->used);
		b->start = 0;
	}
	if (cram_array_reserve((void **)&b->buf, &b->cap, b->start + b->used + n, 1) < 0)
		return -ENOMEM;
	memcpy(b->buf + b->start + b->used, data, n);
	b->used += n;
	return 0;
}

static inline void cram_bytes_consume(struct cram_bytes *b, size_t n)
{
	b->used -= n;
	b->start = b->used ? b->start + n : 0;
}

static inline void cram_bytes_free(struct cram_bytes *b)
{
	free(b->buf);
	*b = (struct cram_bytes){ 0 };
}
