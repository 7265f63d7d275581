// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Stands in for a QEMU whose memory is pinned, as VFIO would: there is no such device here. A memfd
 * as guest RAM, filled once (with "noise": so that it does not compress) and then left alone; with
 * "pin" it is registered as an io_uring buffer, which pins it for good. What follows is for whoever
 * reads it.
 *
 *   standin pin|plain|noise MIB [ANYTHING…]   prints "ready", then sleeps until it is killed
 */
#include <linux/io_uring.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static int pin(void *memory, size_t size)
{
	struct io_uring_params params = { 0 };
	struct iovec buffer = { memory, size };
	int ring = (int)syscall(SYS_io_uring_setup, 1, &params);

	if (ring < 0)
		return -1;
	return (int)syscall(SYS_io_uring_register, ring, IORING_REGISTER_BUFFERS, &buffer, 1);
}

/* What does not compress (xorshift64, Marsaglia 2003). */
static void make_noise(char *memory, size_t size)
{
	uint64_t x = 88172645463325252u;

	for (size_t i = 0; i + sizeof(x) <= size; i += sizeof(x)) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		memcpy(memory + i, &x, sizeof(x));
	}
}

int main(int argc, char **argv)
{
	size_t size = argc >= 3 ? strtoul(argv[2], NULL, 10) << 20 : 0;
	int fd = memfd_create("standin", MFD_CLOEXEC);
	char *memory;

	if (!size || (strcmp(argv[1], "pin") != 0 && strcmp(argv[1], "plain") != 0 &&
		      strcmp(argv[1], "noise") != 0)) {
		fprintf(stderr, "usage: standin pin|plain|noise MIB [ANYTHING...]\n");
		return 2;
	}
	if (fd < 0 || ftruncate(fd, (off_t)size) < 0) {
		perror("standin: memfd");
		return 1;
	}
	memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (memory == MAP_FAILED) {
		perror("standin: mmap");
		return 1;
	}
	memset(memory, 1, size);
	if (!strcmp(argv[1], "noise"))
		make_noise(memory, size);
	if (!strcmp(argv[1], "pin") && pin(memory, size) < 0) {
		perror("standin: io_uring buffer");
		return 1;
	}
	puts("ready");
	fflush(stdout);
	for (;;)
		pause();
}
