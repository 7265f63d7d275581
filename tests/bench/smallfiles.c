// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Reading the small files of one round at N VMs (default 500), by io_uring and one by one in turns:
 * wall time of the reading thread, and processor time of the whole process (io_uring's own threads
 * included). First on a recorded host in a directory, then on /proc of N live processes. Figures on
 * standard output, one a line.
 */
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cramd/sense/batch.h"

#define REPEATS	  41
#define FILES	  5 /* of a VM and round */
#define FILE_SIZE 8192

static const char *const names[FILES] = { "status", "memory.stat", "memory.current",
					  "memory.swap.current", "memory.zswap.current" };

static uint64_t ns_of(struct timespec ts)
{
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static uint64_t wall_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ns_of(ts);
}

static uint64_t cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return ns_of(ts);
}

static int ascending(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void print(const char *what, const char *how, uint64_t *samples)
{
	qsort(samples, REPEATS, sizeof(*samples), ascending);
	printf("%s-%s %.2f ms (%.2f to %.2f)\n", what, how, (double)samples[REPEATS / 2] / 1e6,
	       (double)samples[0] / 1e6, (double)samples[REPEATS - 1] / 1e6);
}

static void measure(const char *what, const struct sysroot *root, struct batch_read *reads,
		    size_t n)
{
	static uint64_t wall[2][REPEATS], cpu[2][REPEATS];
	static const char *const how[2] = { "io_uring", "plain" };
	struct batch batches[2] = {};
	int r = batch_open(&batches[0]);
	char label[64];
	size_t failed = 0;

	if (r < 0)
		printf("no-ring %s\n", strerror(-r));
	for (int i = -1; i < REPEATS; i++) {
		for (int b = 0; b < 2; b++) {
			uint64_t w = wall_ns(), c = cpu_ns();

			batch_read(&batches[b], root, reads, n);
			if (i < 0)
				continue; /* warms caches up */
			cpu[b][i] = cpu_ns() - c;
			wall[b][i] = wall_ns() - w;
		}
	}
	for (size_t i = 0; i < n; i++)
		failed += reads[i].r < 0;
	printf("%s-failed %zu of %zu\n", what, failed, n);
	for (int b = r < 0; b < 2; b++) {
		snprintf(label, sizeof(label), "%s-wall", what);
		print(label, how[b], wall[b]);
		snprintf(label, sizeof(label), "%s-cpu", what);
		print(label, how[b], cpu[b]);
	}
	batch_close(&batches[0]);
}

static void put(const char *dir, const char *name, size_t bytes)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "we");
	if (!f) {
		perror(path);
		exit(1);
	}
	for (size_t i = 0; i < bytes; i++)
		fputc(i % 32 == 31 ? '\n' : '7', f);
	fclose(f);
}

static void recorded(struct batch_read *reads, size_t vms)
{
	static const size_t sizes[FILES] = { 1400, 1600, 11, 2, 2 };
	char dir[] = "/tmp/bench-smallfiles.XXXXXX", path[192];
	struct sysroot root;

	if (!mkdtemp(dir) || sysroot_open(dir, &root) < 0) {
		perror(dir);
		exit(1);
	}
	for (size_t v = 0; v < vms; v++) {
		snprintf(path, sizeof(path), "%s/%zu", dir, v);
		mkdir(path, 0755);
		for (size_t i = 0; i < FILES; i++) {
			put(path, names[i], sizes[i]);
			snprintf(reads[v * FILES + i].path, sizeof(reads->path), "/%zu/%s", v,
				 names[i]);
		}
	}
	measure("recorded", &root, reads, vms * FILES);
	sysroot_close(&root);
	snprintf(path, sizeof(path), "rm -rf %s", dir);
	if (system(path) != 0)
		exit(1);
}

/* As many files of procfs alone: not every machine has its VMs' cgroup files to show. */
static void live(struct batch_read *reads, size_t vms)
{
	static const char *const proc_names[FILES] = { "status", "stat", "statm", "cgroup",
						       "oom_score_adj" };
	pid_t *pids = calloc(vms, sizeof(*pids));
	struct sysroot root;

	if (!pids || sysroot_open("/", &root) < 0)
		exit(1);
	for (size_t v = 0; v < vms; v++) {
		pids[v] = fork();
		if (pids[v] == 0) {
			pause();
			_exit(0);
		}
		for (size_t i = 0; i < FILES; i++)
			snprintf(reads[v * FILES + i].path, sizeof(reads->path), "/proc/%d/%s",
				 (int)pids[v], proc_names[i]);
	}
	measure("live", &root, reads, vms * FILES);
	for (size_t v = 0; v < vms; v++) {
		kill(pids[v], SIGKILL);
		waitpid(pids[v], NULL, 0);
	}
	sysroot_close(&root);
	free(pids);
}

int main(int argc, char **argv)
{
	size_t vms = argc > 1 ? strtoul(argv[1], NULL, 10) : 500;
	struct batch_read *reads = calloc(vms * FILES, sizeof(*reads));
	char *bufs = malloc(vms * FILES * FILE_SIZE);

	if (!reads || !bufs)
		return 1;
	for (size_t i = 0; i < vms * FILES; i++) {
		reads[i].buf = bufs + i * FILE_SIZE;
		reads[i].size = FILE_SIZE;
	}
	recorded(reads, vms);
	live(reads, vms);
	free(bufs);
	free(reads);
	return 0;
}
