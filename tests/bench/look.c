// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What the second look costs: nanoseconds a 2 MiB range on base pages and on a huge page, of a
 * process that stands for a guest. For the emulated host with --icount, where a nanosecond is an
 * instruction. Figures on standard output, one a line.
 */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cramd/classify/scan.h"

#define RANGES 32

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

/* Touches all of @memory for every byte it reads, and answers when it has. */
static void guest(volatile char *memory, int in, int out)
{
	char byte;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (read(in, &byte, 1) == 1) {
		for (size_t i = 0; i < (size_t)RANGES * RANGE_BYTES; i += PAGE_BYTES)
			memory[i]++;
		if (write(out, &byte, 1) != 1)
			break;
	}
	_exit(0);
}

static int touch(int to, int from)
{
	char byte = 0;

	return write(to, &byte, 1) == 1 && read(from, &byte, 1) == 1 ? 0 : -1;
}

static int pass(struct vm *vm, const struct page_idle *idle, int pagemap, const char *pages,
		const char *what)
{
	static struct look_buffers buffers;
	uint64_t start = now_ns();

	for (size_t i = 0; i < RANGES; i++) {
		int r = scan_look(vm, i, idle, pagemap, &buffers);

		if (r < 0) {
			fprintf(stderr, "bench-look: %d\n", r);
			return -1;
		}
	}
	printf("%s %s %.0f\n", pages, what, (double)(now_ns() - start) / RANGES);
	return 0;
}

static int measure(const struct sysroot *root, const struct page_idle *idle, bool huge)
{
	size_t size = (size_t)RANGES * RANGE_BYTES;
	char *map = mmap(NULL, size + RANGE_BYTES, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t start = ((uintptr_t)map + RANGE_BYTES - 1) & ~(uint64_t)(RANGE_BYTES - 1);
	const char *pages = huge ? "huge" : "base";
	int to[2], from[2], pagemap, failed;
	static struct vm vm;

	if (map == MAP_FAILED || pipe(to) < 0 || pipe(from) < 0)
		return -1;
	madvise(map, size + RANGE_BYTES, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	vm = (struct vm){ .tier_nid = -1 };
	vm.pid = fork();
	if (vm.pid == 0)
		guest((volatile char *)(uintptr_t)start, to[0], from[1]);
	if (vm.pid < 0 || touch(to[1], from[0]) < 0)
		return -1;
	vm.blocks.n = 1;
	vm.blocks.v[0] = (struct ramblock){ .start = start, .end = start + size };
	pthread_mutex_init(&vm.lock, NULL);
	pthread_mutex_init(&vm.placing, NULL);
	pthread_mutex_init(&vm.placing_next, NULL);
	if (ranges_init(&vm.ranges, RANGES) < 0 || pagemap_open(root, vm.pid, &pagemap) < 0)
		return -1;
	failed = pass(&vm, idle, pagemap, pages, "first") < 0 ||
		 pass(&vm, idle, pagemap, pages, "idle") < 0 || touch(to[1], from[0]) < 0 ||
		 pass(&vm, idle, pagemap, pages, "accessed") < 0;
	kill(vm.pid, SIGKILL);
	waitpid(vm.pid, NULL, 0);
	close(pagemap);
	ranges_free(&vm.ranges);
	munmap(map, size + RANGE_BYTES);
	for (int i = 0; i < 2; i++) {
		close(to[i]);
		close(from[i]);
	}
	return failed ? -1 : 0;
}

int main(void)
{
	struct page_idle idle;
	struct sysroot root;

	if (sysroot_open("/", &root) < 0 || page_idle_open(&root, &idle) < 0) {
		fputs("bench-look: this kernel has no idle page tracking\n", stderr);
		return 1;
	}
	return measure(&root, &idle, false) < 0 || measure(&root, &idle, true) < 0;
}
