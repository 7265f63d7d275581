// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Stands in for a QEMU: a memfd as guest RAM, filled once and then left alone. With "noise" it does
 * not compress, with "quarter" one byte in four does not, with "mixed" pages do by turns not, by a
 * half and by three quarters. With "pin" it is registered as an io_uring buffer, which pins it for
 * good, as VFIO would: there is no such device here. What follows is for whoever reads it.
 *
 * "works" is like quarter, but goes on with an operation, which writes 16 pages of the first
 * quarter of it as they are, as fast as it can for 1 of each 10 ms. Each half second it says how
 * many it did, how long it was at them, and how much of that it was not, for others had the
 * processor: "UPTIME-MS did N in US waited US".
 *
 *   standin pin|plain|noise|quarter|mixed|works MIB [ANYTHING…]
 *
 * Prints "ready", then sleeps until it is killed. SIGUSR1: reads of every page. SIGALRM: writes to
 * every page what is there. SIGUSR2: reads all and says "verified" or "damaged", of what noise,
 * quarter or mixed have written. SIGHUP: writes the second half as noise would, and says "turned".
 * SIGWINCH: pins the first three quarters, and says "pinned".
 */
#include <fcntl.h>
#include <inttypes.h>
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
#include <time.h>
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
 * or says whether it is there. With @mixed part is 1, 2 and 4 by turns.
 */
static bool noise(char *memory, size_t size, size_t part, bool mixed, bool check)
{
	uint64_t x = 88172645463325252u;
	bool there = true;

	for (size_t page = 0; page < size; page += 4096) {
		if (mixed)
			part = (size_t)1 << page / 4096 % 3;
		for (size_t i = page; i < page + 4096 / part; i += sizeof(x)) {
			x ^= x << 13;
			x ^= x >> 7;
			x ^= x << 17;
			if (!check)
				memcpy(memory + i, &x, sizeof(x));
			there = there && memcmp(memory + i, &x, sizeof(x)) == 0;
		}
	}
	return there;
}

#define TICK_US	 10000
#define TOIL_US	 1000
#define TELL_US	 500000
#define OP_PAGES 16

static uint64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* How long this thread ever was ready and did not have a processor. */
static uint64_t waited_us(void)
{
	static int fd = -1;
	char text[64] = "";
	uint64_t ns = 0;

	if (fd < 0)
		fd = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
	if (pread(fd, text, sizeof(text) - 1, 0) <= 0 || sscanf(text, "%*u %" SCNu64, &ns) != 1) {
		perror("standin: schedstat");
		exit(1);
	}
	return ns / 1000;
}

static struct {
	uint64_t ops, took, waited;
} done;

static void toil(volatile char *memory, size_t size)
{
	const uint64_t waited = waited_us(), began = now_us();
	static size_t at;
	uint64_t now;

	do {
		for (size_t i = 0; i < OP_PAGES; i++, at = (at + 4096) % (size / 4))
			memory[at] = memory[at];
		done.ops++;
		now = now_us();
	} while (now < began + TOIL_US);
	done.took += now - began;
	done.waited += waited_us() - waited;
}

/* What is late is not made up for. */
static void work_until_signal(volatile char *memory, size_t size, const sigset_t *wanted,
			      int *ret_signal)
{
	static uint64_t due, told;

	for (;;) {
		uint64_t now = now_us(), left = due > now ? due - now : 0;
		struct timespec t = { .tv_nsec = (long)left * 1000 };

		*ret_signal = sigtimedwait(wanted, NULL, &t);
		if (*ret_signal > 0)
			return;
		now = now_us();
		if (now < due)
			continue;
		due = (now > due + TICK_US ? now : due) + TICK_US;
		toil(memory, size);
		if (now < told + TELL_US)
			continue;
		printf("%" PRIu64 " did %" PRIu64 " in %" PRIu64 " waited %" PRIu64 "\n",
		       now_us() / 1000, done.ops, done.took, done.waited);
		fflush(stdout);
		told = now;
		memset(&done, 0, sizeof(done));
	}
}

static void read_all(const volatile char *memory, size_t size)
{
	for (size_t page = 0; page < size; page += 4096)
		(void)memory[page];
}

static void write_all(volatile char *memory, size_t size)
{
	for (size_t page = 0; page < size; page += 4096)
		memory[page] = memory[page];
}

int main(int argc, char **argv)
{
	size_t size = argc >= 3 ? strtoul(argv[2], NULL, 10) << 20 : 0, part = 0;
	int fd = memfd_create("standin", MFD_CLOEXEC);
	bool mixed = false, turned = false, works = size && !strcmp(argv[1], "works");
	sigset_t wanted;
	char *memory;
	int signal;

	if (size && !strcmp(argv[1], "noise"))
		part = 1;
	else if (works || (size && !strcmp(argv[1], "quarter")))
		part = 4;
	else if (size && !strcmp(argv[1], "mixed"))
		part = 4, mixed = true;
	if (!size || (!part && strcmp(argv[1], "pin") != 0 && strcmp(argv[1], "plain") != 0)) {
		fprintf(stderr,
			"usage: standin pin|plain|noise|quarter|mixed|works MIB [ANYTHING...]\n");
		return 2;
	}
	/* Asked for by sigwait, below. */
	sigemptyset(&wanted);
	sigaddset(&wanted, SIGALRM);
	sigaddset(&wanted, SIGHUP);
	sigaddset(&wanted, SIGUSR1);
	sigaddset(&wanted, SIGUSR2);
	sigaddset(&wanted, SIGWINCH);
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
		noise(memory, size, part, mixed, false);
	if (!strcmp(argv[1], "pin") && pin(memory, size) < 0) {
		perror("standin: io_uring buffer");
		return 1;
	}
	puts("ready");
	fflush(stdout);
	for (;;) {
		if (works)
			work_until_signal(memory, size, &wanted, &signal);
		else if (sigwait(&wanted, &signal))
			continue;
		if (signal == SIGUSR1)
			read_all(memory, size);
		if (signal == SIGALRM)
			write_all(memory, size);
		if (signal == SIGWINCH && pin(memory, size / 4 * 3) == 0) {
			puts("pinned");
			fflush(stdout);
		}
		if (signal == SIGUSR1 || signal == SIGALRM || signal == SIGWINCH || !part)
			continue;
		if (signal == SIGHUP) {
			noise(memory + size / 2, size / 2, 1, false, false);
			/* So that it is done with all of it at the same time. */
			read_all(memory + size / 2, size / 2);
			turned = true;
			puts("turned");
		} else {
			puts(noise(memory, turned ? size / 2 : size, part, mixed, true) &&
					     (!turned ||
					      noise(memory + size / 2, size / 2, 1, false, true))
				     ? "verified"
				     : "damaged");
		}
		fflush(stdout);
	}
}
