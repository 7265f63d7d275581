// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Judges placement of a guest's memory against the map that accessmap wrote inside the guest, by
 * asking the kernel where each page is. Shares nothing with the agent it judges.
 *
 *   judge score PID MAP NODE               how much of NODE's pages is cold, how much of the cold
 *                                          is there. NODE -1: what is absent, which is in swap,
 *                                          for all of a map was written
 *   judge random PID MAP NODE PAGES SEED   moves pages chosen at random there (the control)
 *   judge where PID                        guest RAM pages per node
 *
 * score prints: hot=N cold=N hot_there=N cold_there=N absent=N precision=P recall=R (percent).
 */
#include <inttypes.h>
#include <numaif.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#define PAGE  4096UL
#define BATCH 4096
#define NODES 64

/* Guest-physical memory of machine "pc" is one piece below this. */
#define LOW_END 0xc0000000UL

struct pages {
	void **addr;
	bool *hot;
	int *node;
	size_t n;
};

/* Guest RAM is the largest writable mapping of QEMU that is a memfd's or nobody's. */
static uint64_t find_ram(pid_t pid, uint64_t *ret_size)
{
	uint64_t best = 0, best_start = 0;
	char path[64], line[4096];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	f = fopen(path, "r");
	if (!f)
		return 0;
	while (fgets(line, sizeof(line), f)) {
		uint64_t start, end, inode;
		char access[8], name[512] = "";

		if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %7s %*s %*s %" SCNu64 " %511s", &start,
			   &end, access, &inode, name) < 4)
			continue;
		if (strncmp(access, "rw", 2) != 0 || (inode && strncmp(name, "/memfd:", 7) != 0))
			continue;
		if (end - start > best) {
			best = end - start;
			best_start = start;
		}
	}
	fclose(f);
	*ret_size = best;
	return best_start;
}

static int query(pid_t pid, struct pages *p)
{
	for (size_t i = 0; i < p->n; i += BATCH) {
		size_t n = p->n - i < BATCH ? p->n - i : BATCH;

		if (move_pages(pid, n, p->addr + i, NULL, p->node + i, 0) < 0) {
			perror("judge: move_pages");
			return -1;
		}
	}
	return 0;
}

static int read_map(const char *path, uint64_t ram, uint64_t size, struct pages *ret)
{
	FILE *f = fopen(path, "r");
	struct pages p = { 0 };
	uint64_t gpa, count;
	size_t room = size / PAGE;
	int hot;

	p.addr = calloc(room, sizeof(*p.addr));
	p.hot = calloc(room, sizeof(*p.hot));
	p.node = calloc(room, sizeof(*p.node));
	if (!f || !p.addr || !p.hot || !p.node) {
		fprintf(stderr, "judge: %s: cannot be read\n", path);
		return -1;
	}
	while (fscanf(f, "%" SCNx64 " %" SCNu64 " %d\n", &gpa, &count, &hot) == 3) {
		if (gpa + count * PAGE > LOW_END || gpa + count * PAGE > size ||
		    p.n + count > room) {
			fprintf(stderr, "judge: %s: address %" PRIx64 " out of range\n", path, gpa);
			return -1;
		}
		for (uint64_t i = 0; i < count; i++) {
			p.addr[p.n] = (void *)(uintptr_t)(ram + gpa + i * PAGE);
			p.hot[p.n++] = hot;
		}
	}
	if (!feof(f) || !p.n) {
		fprintf(stderr, "judge: %s: malformed or empty\n", path);
		return -1;
	}
	fclose(f);
	*ret = p;
	return 0;
}

static int score(pid_t pid, struct pages *p, int node)
{
	size_t total[2] = { 0 }, there[2] = { 0 }, absent = 0, on_node;

	if (query(pid, p) < 0)
		return 1;
	for (size_t i = 0; i < p->n; i++) {
		total[p->hot[i]]++;
		if (p->node[i] < 0)
			absent++;
		if (p->node[i] == node || (node < 0 && p->node[i] < 0))
			there[p->hot[i]]++;
	}
	on_node = there[0] + there[1];
	printf("hot=%zu cold=%zu hot_there=%zu cold_there=%zu absent=%zu precision=%.1f recall=%.1f\n",
	       total[1], total[0], there[1], there[0], absent,
	       on_node ? 100.0 * (double)there[0] / (double)on_node : 0.0,
	       total[0] ? 100.0 * (double)there[0] / (double)total[0] : 0.0);
	return 0;
}

/* splitmix64 (Steele, Lea, Flood, OOPSLA 2014). */
static uint64_t mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15u;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

static int move_at_random(pid_t pid, struct pages *p, int node, size_t count, uint64_t seed)
{
	size_t moved = 0;

	for (size_t i = 0; i < count; i++) {
		void *addr = p->addr[mix(seed + i) % p->n];
		int status = -1;

		if (move_pages(pid, 1, &addr, &node, &status, MPOL_MF_MOVE) == 0 && status == node)
			moved++;
	}
	printf("moved=%zu\n", moved);
	return 0;
}

static int where(pid_t pid, uint64_t ram, uint64_t size)
{
	size_t n = size / PAGE, per_node[NODES] = { 0 }, absent = 0;
	struct pages p = { .n = n };

	p.addr = calloc(n, sizeof(*p.addr));
	p.node = calloc(n, sizeof(*p.node));
	if (!p.addr || !p.node)
		return 1;
	for (size_t i = 0; i < n; i++)
		p.addr[i] = (void *)(uintptr_t)(ram + i * PAGE);
	if (query(pid, &p) < 0)
		return 1;
	for (size_t i = 0; i < n; i++) {
		if (p.node[i] >= 0 && p.node[i] < NODES)
			per_node[p.node[i]]++;
		else
			absent++;
	}
	for (int nid = 0; nid < NODES; nid++)
		if (per_node[nid] || nid < 2)
			printf("N%d=%zu ", nid, per_node[nid]);
	printf("absent=%zu\n", absent);
	return 0;
}

int main(int argc, char **argv)
{
	struct pages pages;
	uint64_t ram, size;
	pid_t pid;

	if (argc < 3 || (!strcmp(argv[1], "score") && argc != 5) ||
	    (!strcmp(argv[1], "random") && argc != 7) || (!strcmp(argv[1], "where") && argc != 3)) {
		fprintf(stderr,
			"usage: judge score PID MAP NODE | random PID MAP NODE PAGES SEED | "
			"where PID\n");
		return 2;
	}
	pid = (pid_t)strtol(argv[2], NULL, 10);
	ram = find_ram(pid, &size);
	if (!ram) {
		fprintf(stderr, "judge: process %d has no guest RAM\n", (int)pid);
		return 1;
	}
	if (!strcmp(argv[1], "where"))
		return where(pid, ram, size);
	if (read_map(argv[3], ram, size, &pages) < 0)
		return 1;
	if (!strcmp(argv[1], "score"))
		return score(pid, &pages, atoi(argv[4]));
	if (!strcmp(argv[1], "random"))
		return move_at_random(pid, &pages, atoi(argv[4]), strtoul(argv[5], NULL, 10),
				      strtoull(argv[6], NULL, 10));
	fprintf(stderr, "judge: unknown command %s\n", argv[1]);
	return 2;
}
