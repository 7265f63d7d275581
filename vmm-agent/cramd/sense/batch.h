/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whole small files read many at a time: by io_uring where there is a ring, else one by one.
 * The result of each is what sysroot_read() would have given. Not for large files and not for
 * files whose position matters.
 */
#pragma once

#include "sysroot.h"

struct io_uring;

/* Files in flight at once; more than that are read in turns. */
#define BATCH_MAX 64

struct batch {
	struct io_uring *ring; /* NULL: files are read one by one */
};

struct batch_read {
	char path[SYSROOT_PATH_MAX];
	char *buf; /* of @size bytes; gets the text and a zero byte */
	size_t size;
	int r; /* 0 or what sysroot_read() returns */
	size_t len;
	int fd; /* the reader's own */
};

/*
 * Makes a ring that can do no more than open, read and close: system calls made through a ring
 * pass no seccomp filter. A negative errno says why there is none (-EPERM, -ENOSYS: not allowed
 * here); @ret_batch then reads one by one.
 */
int batch_open(struct batch *ret_batch);
void batch_close(struct batch *batch);

/* Reads all of @reads; each has its own result. One thread at a time. */
void batch_read(struct batch *batch, const struct sysroot *root, struct batch_read *reads,
		size_t n);
