// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Reading many small files: by io_uring and one by one the results are the same, whatever becomes
 * of a file; and the ring can do nothing else.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <pthread.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cramd/confine.h"
#include "cramd/sense/batch.h"
#include "recorded.h"
#include "util/cleanup.h"

#define MANY 200
#define SIZE 64

struct fixture {
	char dir[64];
	struct sysroot root;
	struct batch ring, plain;
};

static void put(const struct fixture *f, const char *name, const char *text)
{
	int fd = openat(f->root.fd, name, O_WRONLY | O_CREAT | O_TRUNC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

static int make(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	recorded_make(f->dir, sizeof(f->dir));
	assert_int_equal(sysroot_open(f->dir, &f->root), 0);
	batch_open(&f->ring);
	*state = f;
	return 0;
}

static int drop(void **state)
{
	struct fixture *f = *state;
	int r;

	batch_close(&f->ring);
	sysroot_close(&f->root);
	r = recorded_drop(f->dir);
	free(f);
	return r;
}

/* The kernel may forbid it to everyone (kernel.io_uring_disabled); then there is one way only. */
static void need_ring(const struct fixture *f)
{
	if (f->ring.ring)
		return;
	print_message("# this kernel gives no ring\n");
	skip();
}

static struct batch_read *ask(size_t n)
{
	struct batch_read *reads = calloc(n, sizeof(*reads));
	char *bufs = calloc(n, SIZE);

	assert_true(reads && bufs);
	for (size_t i = 0; i < n; i++) {
		reads[i].buf = bufs + i * SIZE;
		reads[i].size = SIZE;
		memset(reads[i].buf, '#', SIZE);
	}
	return reads;
}

static void let_go(struct batch_read *reads)
{
	free(reads[0].buf);
	free(reads);
}

static size_t open_descriptors(void)
{
	cleanup_dir DIR *dir = opendir("/proc/self/fd");
	size_t n = 0;

	assert_non_null(dir);
	while (readdir(dir))
		n++;
	return n;
}

static void both_ways_give_the_same(void **state)
{
	static const char *const names[] = { "/empty", "/short", "/fits",	 "/full",
					     "/over",  "/none",	 "/short/below", "/dir" };
	struct fixture *f = *state;
	struct batch_read *by_ring = ask(MANY), *alone = ask(MANY);
	char text[SIZE + 2];
	size_t descriptors;

	need_ring(f);
	memset(text, 'x', sizeof(text));
	put(f, "empty", "");
	put(f, "short", "12\n");
	text[SIZE - 1] = '\0';
	put(f, "fits", text);
	text[SIZE - 1] = 'x';
	text[SIZE] = '\0';
	put(f, "full", text);
	text[SIZE] = 'x';
	text[SIZE + 1] = '\0';
	put(f, "over", text);
	assert_int_equal(mkdirat(f->root.fd, "dir", 0755), 0);
	for (size_t i = 0; i < MANY; i++) {
		strcpy(by_ring[i].path, names[i % ARRAY_SIZE(names)]);
		strcpy(alone[i].path, by_ring[i].path);
	}
	descriptors = open_descriptors();
	batch_read(&f->ring, &f->root, by_ring, MANY);
	batch_read(&f->plain, &f->root, alone, MANY);
	assert_int_equal(open_descriptors(), descriptors);
	assert_non_null(f->ring.ring);
	for (size_t i = 0; i < MANY; i++) {
		if (by_ring[i].r != alone[i].r)
			fail_msg("%s: %d by ring, %d alone", alone[i].path, by_ring[i].r,
				 alone[i].r);
		if (alone[i].r < 0)
			continue;
		assert_int_equal(by_ring[i].len, alone[i].len);
		assert_string_equal(by_ring[i].buf, alone[i].buf);
	}
	assert_int_equal(alone[2].len, SIZE - 1);
	assert_int_equal(alone[3].r, -EFBIG);
	assert_int_equal(alone[5].r, -ENOENT);
	assert_int_equal(alone[6].r, -ENOTDIR);
	assert_int_equal(alone[7].r, -EISDIR);
	let_go(by_ring);
	let_go(alone);
}

static void *trickle(void *arg)
{
	const struct fixture *f = arg;
	int fd = openat(f->root.fd, "pipe", O_WRONLY);

	for (int i = 0; i < 5; i++) {
		assert_int_equal(write(fd, "abc", 3), 3);
		usleep(5000);
	}
	close(fd);
	return NULL;
}

static void a_file_that_comes_in_pieces_is_read_whole(void **state)
{
	struct fixture *f = *state;
	struct batch *batches[] = { &f->ring, &f->plain };

	assert_int_equal(mkfifoat(f->root.fd, "pipe", 0600), 0);
	put(f, "short", "12\n");
	for (size_t i = 0; i < ARRAY_SIZE(batches); i++) {
		struct batch_read *reads = ask(2);
		pthread_t writer;

		strcpy(reads[0].path, "/short");
		strcpy(reads[1].path, "/pipe");
		assert_int_equal(pthread_create(&writer, NULL, trickle, f), 0);
		batch_read(batches[i], &f->root, reads, 2);
		pthread_join(writer, NULL);
		assert_int_equal(reads[0].r, 0);
		assert_int_equal(reads[1].r, 0);
		assert_string_equal(reads[1].buf, "abcabcabcabcabc");
		let_go(reads);
	}
}

/* Stopped at once it still exists; killed and waited for it does not. */
static void a_process_that_has_gone_is_told_from_one_that_is_there(void **state)
{
	struct fixture *f = *state;
	struct batch *batches[] = { &f->ring, &f->plain };
	struct sysroot host;
	pid_t pid = fork();

	if (pid == 0) {
		pause();
		_exit(0);
	}
	assert_int_equal(sysroot_open("/", &host), 0);
	for (int gone = 0; gone < 2; gone++) {
		if (gone) {
			kill(pid, SIGKILL);
			waitpid(pid, NULL, 0);
		}
		for (size_t i = 0; i < ARRAY_SIZE(batches); i++) {
			struct batch_read *reads = ask(2);

			strcpy(reads[0].path, "/proc/self/comm");
			snprintf(reads[1].path, sizeof(reads[1].path), "/proc/%d/comm", (int)pid);
			batch_read(batches[i], &host, reads, 2);
			assert_int_equal(reads[0].r, 0);
			assert_int_equal(reads[1].r, gone ? -ENOENT : 0);
			if (!gone)
				assert_string_equal(reads[1].buf, reads[0].buf);
			let_go(reads);
		}
	}
	sysroot_close(&host);
}

static void a_ring_that_fails_is_done_without(void **state)
{
	struct fixture *f = *state;
	struct batch_read *reads = ask(3);
	size_t descriptors;
	int keep;

	need_ring(f);
	put(f, "short", "12\n");
	strcpy(reads[0].path, "/short");
	strcpy(reads[1].path, "/none");
	strcpy(reads[2].path, "/short");
	/* In place of the ring there is something that is none. */
	keep = open("/dev/null", O_RDONLY | O_CLOEXEC);
	assert_int_equal(dup2(keep, f->ring.ring->ring_fd), f->ring.ring->ring_fd);
	close(keep);
	descriptors = open_descriptors();
	batch_read(&f->ring, &f->root, reads, 3);
	assert_null(f->ring.ring);
	assert_int_equal(reads[0].r, 0);
	assert_int_equal(reads[1].r, -ENOENT);
	assert_string_equal(reads[2].buf, "12\n");
	assert_int_equal(open_descriptors(), descriptors - 1);
	let_go(reads);
}

static void a_ring_does_nothing_but_open_read_and_close(void **state)
{
	struct fixture *f = *state;
	struct io_uring_sqe *sqe;
	struct io_uring_cqe *cqe;

	need_ring(f);
	sqe = io_uring_get_sqe(f->ring.ring);
	io_uring_prep_socket(sqe, AF_INET, SOCK_STREAM, 0, 0);
	assert_int_equal(io_uring_submit_and_wait(f->ring.ring, 1), 1);
	assert_int_equal(io_uring_peek_cqe(f->ring.ring, &cqe), 0);
	assert_int_equal(cqe->res, -EACCES);
	io_uring_cqe_seen(f->ring.ring, cqe);
	sqe = io_uring_get_sqe(f->ring.ring);
	io_uring_prep_write(sqe, STDOUT_FILENO, "x", 1, 0);
	assert_int_equal(io_uring_submit_and_wait(f->ring.ring, 1), 1);
	assert_int_equal(io_uring_peek_cqe(f->ring.ring, &cqe), 0);
	assert_int_equal(cqe->res, -EACCES);
	io_uring_cqe_seen(f->ring.ring, cqe);
}

/* Runs @body in a process of its own: what it gives up is not coming back. */
static void assert_in_child(bool (*body)(struct fixture *f), struct fixture *f)
{
	pid_t pid = fork();
	int status;

	if (pid == 0)
		_exit(body(f) ? 0 : 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static bool reads_short(struct fixture *f, struct batch *batch)
{
	struct batch_read *reads = ask(1);

	strcpy(reads[0].path, "/short");
	batch_read(batch, &f->root, reads, 1);
	return reads[0].r == 0 && !strcmp(reads[0].buf, "12\n");
}

static bool confined(struct fixture *f)
{
	struct batch other;

	if (confine_system_calls() < 0)
		return false;
	return reads_short(f, &f->ring) && f->ring.ring && batch_open(&other) == -EPERM &&
	       reads_short(f, &other) && socket(AF_INET, SOCK_STREAM, 0) < 0 &&
	       errno == EAFNOSUPPORT && execl("/bin/true", "true", NULL) < 0 && errno == EPERM;
}

static void a_confined_process_keeps_its_ring_and_gets_no_other(void **state)
{
	struct fixture *f = *state;

	need_ring(f);
	put(f, "short", "12\n");
	assert_in_child(confined, f);
}

static bool forbidden(struct fixture *f)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
	struct batch batch;

	if (!filter ||
	    seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(io_uring_setup), 0) < 0 ||
	    seccomp_load(filter) < 0)
		return false;
	return batch_open(&batch) == -ENOSYS && !batch.ring && reads_short(f, &batch);
}

static void where_io_uring_is_not_allowed_files_are_read_all_the_same(void **state)
{
	struct fixture *f = *state;

	put(f, "short", "12\n");
	assert_in_child(forbidden, f);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make, drop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(both_ways_give_the_same),
		TEST(a_file_that_comes_in_pieces_is_read_whole),
		TEST(a_process_that_has_gone_is_told_from_one_that_is_there),
		TEST(a_ring_that_fails_is_done_without),
		TEST(a_ring_does_nothing_but_open_read_and_close),
		TEST(a_confined_process_keeps_its_ring_and_gets_no_other),
		TEST(where_io_uring_is_not_allowed_files_are_read_all_the_same),
	};

	return cmocka_run_group_tests_name("batch", tests, NULL, NULL);
}
