// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Reading many small files; see batch.h.
 *
 * All files of a turn take the same step together: all are opened, all are read until each has
 * ended, all are closed. So there is one system call per step, not per file, and never anything in
 * flight when a step fails.
 */
#include "batch.h"

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "util/cleanup.h"

#define NOT_OPEN (-1)

int batch_open(struct batch *ret_batch)
{
	struct io_uring_restriction only[] = {
		{ .opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_OPENAT },
		{ .opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_READ },
		{ .opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_CLOSE },
		{ .opcode = IORING_RESTRICTION_REGISTER_OP,
		  .register_op = IORING_REGISTER_ENABLE_RINGS },
	};
	struct io_uring *ring;
	int r;

	*ret_batch = (struct batch){};
	ring = calloc(1, sizeof(*ring));
	if (!ring)
		return -ENOMEM;
	r = io_uring_queue_init(BATCH_MAX, ring, IORING_SETUP_R_DISABLED);
	if (r < 0) {
		free(ring);
		return r;
	}
	/* liburing 2.3 declares functions for these two, and does not export them. */
	r = io_uring_register((unsigned int)ring->ring_fd, IORING_REGISTER_RESTRICTIONS, only,
			      ARRAY_SIZE(only));
	if (r >= 0)
		r = io_uring_register((unsigned int)ring->ring_fd, IORING_REGISTER_ENABLE_RINGS,
				      NULL, 0);
	ret_batch->ring = ring;
	if (r < 0)
		batch_close(ret_batch);
	return r < 0 ? r : 0;
}

void batch_close(struct batch *batch)
{
	if (!batch->ring)
		return;
	io_uring_queue_exit(batch->ring);
	free(batch->ring);
	batch->ring = NULL;
}

static void read_alone(const struct sysroot *root, struct batch_read *read)
{
	read->r = sysroot_read(root, read->path, read->buf, read->size, &read->len);
}

/* Submits @n prepared requests and hands each result to @done. Negative: nothing is in flight. */
static int step(struct io_uring *ring, unsigned int n,
		void (*done)(struct batch_read *read, int result))
{
	unsigned int submitted = 0, reaped = 0;
	int r = 0;

	while (submitted < n && r >= 0) {
		r = io_uring_submit_and_wait(ring, n - submitted);
		if (r == -EINTR || r == -EAGAIN)
			r = 0;
		else if (r == 0)
			r = -EIO; /* would be asked for ever */
		if (r > 0)
			submitted += (unsigned int)r;
	}
	while (reaped < submitted) {
		struct io_uring_cqe *cqe;
		int waited = io_uring_wait_cqe(ring, &cqe);

		if (waited < 0)
			continue; /* a signal; what was submitted does end */
		done(io_uring_cqe_get_data(cqe), cqe->res);
		io_uring_cqe_seen(ring, cqe);
		reaped++;
	}
	return r < 0 ? r : 0;
}

static void opened(struct batch_read *read, int result)
{
	if (result < 0)
		read->r = result;
	else
		read->fd = result;
}

/* r stays -EINPROGRESS until the file has ended or failed. */
static void was_read(struct batch_read *read, int result)
{
	if (result == -EINTR || result == -EAGAIN)
		return;
	if (result < 0) {
		read->r = result;
	} else if (result == 0) {
		read->buf[read->len] = '\0';
		read->r = 0;
	} else {
		read->len += (size_t)result;
		if (read->len == read->size)
			read->r = -EFBIG;
	}
}

static void closed(struct batch_read *read, int result)
{
	(void)result; /* a descriptor is gone whatever close says */
	read->fd = NOT_OPEN;
}

static bool is_reading(const struct batch_read *read)
{
	return read->fd != NOT_OPEN && read->r == -EINPROGRESS;
}

static int open_all(struct io_uring *ring, const struct sysroot *root, struct batch_read *reads,
		    size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct io_uring_sqe *sqe = io_uring_get_sqe(ring);

		io_uring_prep_openat(sqe, root->fd, sysroot_below(reads[i].path),
				     O_RDONLY | O_CLOEXEC, 0);
		io_uring_sqe_set_data(sqe, &reads[i]);
	}
	return step(ring, (unsigned int)n, opened);
}

static int read_all(struct io_uring *ring, struct batch_read *reads, size_t n)
{
	for (;;) {
		unsigned int reading = 0;
		int r;

		for (size_t i = 0; i < n; i++) {
			struct io_uring_sqe *sqe;

			if (!is_reading(&reads[i]))
				continue;
			sqe = io_uring_get_sqe(ring);
			/* From where the file is, as read(2) does. */
			io_uring_prep_read(sqe, reads[i].fd, reads[i].buf + reads[i].len,
					   (unsigned int)(reads[i].size - reads[i].len), (__u64)-1);
			io_uring_sqe_set_data(sqe, &reads[i]);
			reading++;
		}
		if (!reading)
			return 0;
		r = step(ring, reading, was_read);
		if (r < 0)
			return r;
	}
}

static int close_all(struct io_uring *ring, struct batch_read *reads, size_t n)
{
	unsigned int open = 0;

	for (size_t i = 0; i < n; i++) {
		struct io_uring_sqe *sqe;

		if (reads[i].fd == NOT_OPEN)
			continue;
		sqe = io_uring_get_sqe(ring);
		io_uring_prep_close(sqe, reads[i].fd);
		io_uring_sqe_set_data(sqe, &reads[i]);
		open++;
	}
	return open ? step(ring, open, closed) : 0;
}

static int read_together(struct io_uring *ring, const struct sysroot *root,
			 struct batch_read *reads, size_t n)
{
	int r;

	for (size_t i = 0; i < n; i++) {
		reads[i].fd = NOT_OPEN;
		reads[i].len = 0;
		reads[i].r = -EINPROGRESS;
	}
	r = open_all(ring, root, reads, n);
	if (r == 0)
		r = read_all(ring, reads, n);
	if (r == 0)
		r = close_all(ring, reads, n);
	return r;
}

void batch_read(struct batch *batch, const struct sysroot *root, struct batch_read *reads, size_t n)
{
	for (size_t first = 0; first < n; first += BATCH_MAX) {
		size_t count = n - first < BATCH_MAX ? n - first : BATCH_MAX;
		struct batch_read *turn = reads + first;

		if (batch->ring && read_together(batch->ring, root, turn, count) == 0)
			continue;
		if (batch->ring) {
			/* The ring failed, not a file: done without it from now on. */
			for (size_t i = 0; i < count; i++)
				if (turn[i].fd != NOT_OPEN)
					close(turn[i].fd);
			batch_close(batch);
		}
		for (size_t i = 0; i < count; i++)
			read_alone(root, &turn[i]);
	}
}
