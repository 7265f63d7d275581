// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Nanoseconds of one anonymous page fault, by the host's clock. Under
 * `boot --icount` that clock counts instructions and the figure repeats.
 */
#include <stdio.h>
#include <sys/mman.h>
#include <time.h>

#define PAGES 8192u
#define SIZE  ((size_t)PAGES * 4096)

int main(void)
{
	struct timespec start, end;
	char *memory = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED || madvise(memory, SIZE, MADV_NOHUGEPAGE) < 0) {
		perror("faultbench");
		return 1;
	}
	clock_gettime(CLOCK_MONOTONIC, &start);
	for (size_t i = 0; i < SIZE; i += 4096)
		((volatile char *)memory)[i] = 1;
	clock_gettime(CLOCK_MONOTONIC, &end);
	printf("%.2f\n",
	       ((double)(end.tv_sec - start.tv_sec) * 1e9 + (double)(end.tv_nsec - start.tv_nsec)) /
		       PAGES);
	return 0;
}
