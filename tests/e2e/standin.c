// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Stands in for a QEMU: a memfd as guest RAM, filled once and then left alone. With "noise" it does
 * not compress, with "quarter" one byte in four does not. With "pin" it is registered as an
 * io_uring buffer, which pins it for good, as VFIO would: there is no such device here. What
 * follows is for whoever reads it.
 *
 *   standin pin|plain|noise|quarter MIB [ANYTHING…]
 *
 * Prints "ready", then sleeps until it is killed. SIGUSR1: reads of every page. SIGUSR2: reads all
 * and says "verified" or "damaged", of what noise or quarter have written.
 */
#include <linux/io_uring.h>
#include <signal.h>
#include <stdbool.h>
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

/*
 * Writes the first 1 / @part of each page with what does not compress (xorshift64, Marsaglia 2003),
 * or says whether it is there.
 */
static bool noise(char *memory, size_t size, size_t part, bool check)
{
	uint64_t x = 88172645463325252u;
	bool there = true;

	for (size_t page = 0; page < size; page += 4096)
		for (size_t i = page; i < page + 4096 / part; i += sizeof(x)) {
			x ^= x << 13;
			x ^= x >> 7;
			x ^= x << 17;
			if (!check)
				memcpy(memory + i, &x, sizeof(x));
			there = there && memcmp(memory + i, &x, sizeof(x)) == 0;
		}
	return there;
}

static void read_all(const volatile char *memory, size_t size)
{
	for (size_t page = 0; page < size; page += 4096)
		(void)memory[page];
}

int main(int argc, char **argv)
{
	size_t size = argc >= 3 ? strtoul(argv[2], NULL, 10) << 20 : 0, part = 0;
	int fd = memfd_create("standin", MFD_CLOEXEC);
	sigset_t wanted;
	char *memory;
	int signal;

	if (size && !strcmp(argv[1], "noise"))
		part = 1;
	else if (size && !strcmp(argv[1], "quarter"))
		part = 4;
	if (!size || (!part && strcmp(argv[1], "pin") != 0 && strcmp(argv[1], "plain") != 0)) {
		fprintf(stderr, "usage: standin pin|plain|noise|quarter MIB [ANYTHING...]\n");
		return 2;
	}
	/* Asked for by sigwait, below. */
	sigemptyset(&wanted);
	sigaddset(&wanted, SIGUSR1);
	sigaddset(&wanted, SIGUSR2);
	sigprocmask(SIG_BLOCK, &wanted, NULL);
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
	if (part)
		noise(memory, size, part, false);
	if (!strcmp(argv[1], "pin") && pin(memory, size) < 0) {
		perror("standin: io_uring buffer");
		return 1;
	}
	puts("ready");
	fflush(stdout);
	for (;;) {
		if (sigwait(&wanted, &signal))
			continue;
		if (signal == SIGUSR1)
			read_all(memory, size);
		if (signal != SIGUSR2 || !part)
			continue;
		puts(noise(memory, size, part, true) ? "verified" : "damaged");
		fflush(stdout);
	}
}
