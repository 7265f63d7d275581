// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Pins a run of a guest's memory for long, as a device that was given it would: registers it with
 * io_uring from outside QEMU, through the descriptor of its memfd. Not a QEMU and not an agent.
 *
 *   pin PID ADDRESS PAGES     guest-physical address in hex; prints "pinned", holds until killed
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <liburing.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE 4096UL

static int open_ram(const char *pid)
{
	static const char wanted[] = "/memfd:memory-backend-memfd";
	char path[300], target[300];
	struct dirent *entry;
	DIR *dir;
	int fd = -1;

	snprintf(path, sizeof(path), "/proc/%s/fd", pid);
	dir = opendir(path);
	while (dir && fd < 0 && (entry = readdir(dir))) {
		ssize_t n;

		snprintf(path, sizeof(path), "/proc/%s/fd/%s", pid, entry->d_name);
		n = readlink(path, target, sizeof(target) - 1);
		if (n >= (ssize_t)strlen(wanted) && !strncmp(target, wanted, strlen(wanted)))
			fd = open(path, O_RDWR | O_CLOEXEC);
	}
	if (dir)
		closedir(dir);
	return fd;
}

int main(int argc, char **argv)
{
	struct io_uring ring;
	struct iovec run;
	uint64_t offset;
	void *map;
	int fd, r;

	if (argc != 4) {
		fprintf(stderr, "usage: pin PID ADDRESS PAGES\n");
		return 2;
	}
	fd = open_ram(argv[1]);
	if (fd < 0) {
		fprintf(stderr, "pin: process %s has no memfd of a guest\n", argv[1]);
		return 1;
	}
	offset = strtoull(argv[2], NULL, 16);
	run.iov_len = strtoull(argv[3], NULL, 10) * PAGE;
	map = mmap(NULL, run.iov_len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)offset);
	if (map == MAP_FAILED) {
		perror("pin: mmap");
		return 1;
	}
	run.iov_base = map;
	r = io_uring_queue_init(1, &ring, 0);
	if (r == 0)
		r = io_uring_register_buffers(&ring, &run, 1);
	if (r < 0) {
		fprintf(stderr, "pin: io_uring: %s\n", strerror(-r));
		return 1;
	}
	/* The pin alone is to hold the pages, not a second mapping. */
	munmap(map, run.iov_len);
	close(fd);
	printf("pinned\n");
	fflush(stdout);
	for (;;)
		pause();
}
