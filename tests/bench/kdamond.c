// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What DAMON's thread costs to watch one process of N MiB the way the agent watches a guest: with
 * the agent's own code and its built-in intervals, a snapshot after each aggregation. Every other 2
 * MiB are touched all the time. Meant for `tests/host/boot --icount`, where time is instructions.
 *
 *   bench-kdamond MIB default      the agent's numbers of regions: what it has in production
 *   bench-kdamond MIB 2mib         as many regions as it takes for none to be larger than 2 MiB
 *
 * Prints "MIB REGIONS MOST KDAMOND AGENT": regions of the last snapshot and how many there may be,
 * processor nanoseconds per second of the kdamond and of this process, which takes the snapshots.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cramd/classify/nominator.h"
#include "settings/settings.h"

#define MIB  (UINT64_C(1) << 20)
#define UNIT (2 * MIB) /* the agent's resolution */
#define PAGE 4096

/* Snapshots until regions have split as far as they will, and measured ones after that. */
#define WARM_UP	 8
#define MEASURED 8

static uint64_t ns_of(clockid_t clock)
{
	struct timespec ts;

	if (clock_gettime(clock, &ts) < 0)
		return 0;
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static void sleep_us(uint64_t us)
{
	struct timespec ts = { .tv_sec = (time_t)(us / 1000000),
			       .tv_nsec = (long)(us % 1000000) * 1000 };

	nanosleep(&ts, NULL);
}

/* The guest's part: RAM as a memfd guest has it, half of it in use. Never returns. */
static void use_memory(char *memory, uint64_t size, uint64_t pause_us, int ready)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (uint64_t at = 0; at < size; at += PAGE)
		memory[at] = 1;
	if (write(ready, "", 1) != 1)
		_exit(1);
	for (;;) {
		for (uint64_t unit = 0; unit < size; unit += 2 * UNIT)
			for (uint64_t at = unit; at < unit + UNIT && at < size; at += PAGE)
				(void)((volatile char *)memory)[at];
		sleep_us(pause_us);
	}
}

static int ignore(size_t target, const struct damon_region *region, void *arg)
{
	(void)target;
	(void)region;
	(void)arg;
	return 0;
}

static int count_region(int dirfd, const char *name, void *arg)
{
	(void)dirfd;
	*(uint64_t *)arg += name[0] >= '0' && name[0] <= '9';
	return 0;
}

/* Of the last snapshot: of those that DAMON has the agent reads only some. */
static int count_regions(const struct sysroot *root, uint64_t *regions)
{
	int fd, r = sysroot_open_file(root,
				      "/sys/kernel/mm/damon/admin/kdamonds/0/contexts/0/schemes/0/"
				      "tried_regions",
				      O_RDONLY | O_DIRECTORY, &fd);

	if (r < 0)
		return r;
	r = for_each_entry(fd, count_region, regions);
	close(fd);
	return r;
}

/* The clock of the kdamond's processor time, to the nanosecond. */
static int kdamond_clock(const struct sysroot *root, clockid_t *ret_clock)
{
	uint64_t pid;
	int r = sysroot_read_u64(root, "/sys/kernel/mm/damon/admin/kdamonds/0/pid", &pid);

	if (r < 0)
		return r;
	return -clock_getcpuclockid((pid_t)pid, ret_clock);
}

/* @n snapshots @interval_us apart, as the agent takes them. */
static int watch(struct damon *damon, const struct damon_target *target, uint32_t interval_us,
		 int n)
{
	for (int i = 0; i < n; i++) {
		int r;

		sleep_us(interval_us);
		r = damon_snapshot(damon, target, ignore, NULL);
		if (r < 0)
			return r;
	}
	return 0;
}

static int measure(struct damon *damon, const struct damon_target *target, uint64_t mib,
		   const struct damon_attrs *attrs)
{
	uint64_t regions = 0, wall, kdamond, agent;
	clockid_t clock;
	int r;

	r = watch(damon, target, attrs->aggr_us, WARM_UP);
	if (r == 0)
		r = kdamond_clock(damon->root, &clock);
	if (r < 0)
		return r;
	wall = ns_of(CLOCK_MONOTONIC);
	kdamond = ns_of(clock);
	agent = ns_of(CLOCK_PROCESS_CPUTIME_ID);
	r = watch(damon, target, attrs->aggr_us, MEASURED);
	if (r < 0)
		return r;
	agent = ns_of(CLOCK_PROCESS_CPUTIME_ID) - agent;
	kdamond = ns_of(clock) - kdamond;
	wall = ns_of(CLOCK_MONOTONIC) - wall;
	r = count_regions(damon->root, &regions);
	if (r < 0)
		return r;
	printf("%" PRIu64 " %" PRIu64 " %" PRIu32 " %.0f %.0f\n", mib, regions, attrs->max_regions,
	       (double)kdamond * 1e9 / (double)wall, (double)agent * 1e9 / (double)wall);
	return 0;
}

int main(int argc, char **argv)
{
	uint64_t mib = argc == 3 ? strtoul(argv[1], NULL, 10) : 0, size = mib * MIB;
	struct damon_target target = { .n_ranges = 1 };
	struct damon_attrs attrs;
	struct cram_conf conf;
	struct sysroot root;
	struct damon damon;
	int fd, ready[2], r;
	char *memory, byte;

	if (!mib || mib % 2 || (strcmp(argv[2], "default") != 0 && strcmp(argv[2], "2mib") != 0)) {
		fprintf(stderr, "usage: bench-kdamond MIB default|2mib\n");
		return 2;
	}
	cram_conf_init(&conf);
	attrs = (struct damon_attrs){
		.sample_us = nominate_sample_us(&conf.host, true),
		.aggr_us = conf.host.damon_aggr_us,
		.update_us = conf.host.damon_update_us,
		.min_regions = conf.host.damon_min_regions,
		.max_regions = conf.host.damon_max_regions,
	};
	if (!strcmp(argv[2], "2mib")) {
		/* DAMON splits while it has at most half of the maximum. */
		attrs.min_regions = (uint32_t)(size / UNIT);
		attrs.max_regions = 2 * attrs.min_regions;
	}
	fd = memfd_create("bench-kdamond", MFD_CLOEXEC);
	if (fd < 0 || ftruncate(fd, (off_t)size) < 0 || pipe(ready) < 0) {
		perror("bench-kdamond");
		return 1;
	}
	memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (memory == MAP_FAILED) {
		perror("bench-kdamond: mmap");
		return 1;
	}
	target.pid = fork();
	if (target.pid == 0)
		use_memory(memory, size, attrs.sample_us, ready[1]);
	if (target.pid < 0 || read(ready[0], &byte, 1) != 1) {
		perror("bench-kdamond: fork");
		return 1;
	}
	target.ranges[0].start = (uintptr_t)memory;
	target.ranges[0].end = (uintptr_t)memory + size;

	r = sysroot_open("/", &root);
	if (r == 0) {
		damon_init(&damon, &root, "/run/bench-kdamond");
		r = damon_acquire(&damon);
	}
	if (r == 0) {
		r = damon_watch(&damon, &attrs, &target, 1);
		if (r == 0)
			r = measure(&damon, &target, mib, &attrs);
		damon_release(&damon);
	}
	kill(target.pid, SIGKILL);
	waitpid(target.pid, NULL, 0);
	if (r < 0)
		fprintf(stderr, "bench-kdamond: DAMON: %s\n", strerror(-r));
	return r < 0 ? 1 : 0;
}
