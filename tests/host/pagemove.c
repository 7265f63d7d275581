// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Where a guest's RAM is, and moving it: pagemove PID MIB [NODE].
 * Finds the one mapping of PID that is MIB large, with NODE moves its present
 * pages there by move_pages(2), and prints how many pages each node holds
 * ("N0=1234 N1=0 absent=5"). The judge of placement tests: uses nothing of the agent.
 */
#include <errno.h>
#include <inttypes.h>
#include <numaif.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE_SIZE 4096u
#define BATCH	  512u
#define NODES	  16

/* The start of the only mapping of that size; 0 if there is none or more than one. */
static uintptr_t find_ram(int pid, size_t size)
{
	char path[64], line[512];
	uintptr_t found = 0;
	unsigned int matches = 0;
	FILE *maps;

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	maps = fopen(path, "re");
	if (!maps)
		return 0;
	while (fgets(line, sizeof(line), maps)) {
		uintptr_t start, end;

		if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " rw", &start, &end) == 2 &&
		    end - start == size) {
			found = start;
			matches++;
		}
	}
	fclose(maps);
	return matches == 1 ? found : 0;
}

/* One batch; absent pages are counted, not moved. Returns 0 or -errno. */
static int batch(int pid, void **pages, size_t n, const int *target, size_t *count, size_t *absent)
{
	int status[BATCH], nodes[BATCH];

	for (size_t i = 0; target && i < n; i++)
		nodes[i] = *target;
	if (target && move_pages(pid, n, pages, nodes, status, MPOL_MF_MOVE) < 0)
		return -errno;
	if (move_pages(pid, n, pages, NULL, status, 0) < 0)
		return -errno;
	for (size_t i = 0; i < n; i++) {
		if (status[i] >= 0 && status[i] < NODES)
			count[status[i]]++;
		else
			(*absent)++;
	}
	return 0;
}

int main(int argc, char **argv)
{
	size_t count[NODES] = { 0 }, absent = 0, size;
	const int *target = NULL;
	uintptr_t ram;
	int pid, node;

	if (argc != 3 && argc != 4) {
		fprintf(stderr, "usage: pagemove PID MIB [NODE]\n");
		return 2;
	}
	pid = atoi(argv[1]);
	size = (size_t)atoi(argv[2]) << 20;
	if (argc == 4) {
		node = atoi(argv[3]);
		target = &node;
	}
	ram = find_ram(pid, size);
	if (!ram) {
		fprintf(stderr, "pagemove: process %d has no single mapping of %s MiB\n", pid,
			argv[2]);
		return 1;
	}
	for (size_t done = 0; done < size / PAGE_SIZE; done += BATCH) {
		void *pages[BATCH];
		int r;

		for (size_t i = 0; i < BATCH; i++)
			pages[i] = (void *)(ram + (done + i) * PAGE_SIZE);
		r = batch(pid, pages, BATCH, target, count, &absent);
		if (r < 0) {
			fprintf(stderr, "pagemove: process %d: %s\n", pid, strerror(-r));
			return 1;
		}
	}
	for (int n = 0; n < NODES; n++) {
		if (count[n] || n < 2)
			printf("N%d=%zu ", n, count[n]);
	}
	printf("absent=%zu\n", absent);
	return 0;
}
