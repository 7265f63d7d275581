// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What memory management costs a program, by the time-stamp counter: under
 * `boot --icount` that counts instructions, the kernel's and the program's. Prints
 * which kind of kernel it ran on, then one line a path: its name and the least cost
 * of one operation in many rounds. What the kernel does now and then (ticks, work
 * left from booting) falls into some rounds, never into all.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <x86intrin.h>

#define PAGE   4096u
#define PAGES  256u /* of a round: some rounds are then over before the next tick */
#define SIZE   ((size_t)PAGES * PAGE)
#define ROUNDS 200

static _Noreturn void give_up(const char *what)
{
	fprintf(stderr, "bench-mmcost: %s: %s\n", what, strerror(errno));
	exit(EXIT_FAILURE);
}

static char *map(void)
{
	char *memory = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED || madvise(memory, SIZE, MADV_NOHUGEPAGE) < 0)
		give_up("mmap");
	return memory;
}

static void touch(char *memory)
{
	for (size_t i = 0; i < SIZE; i += PAGE)
		((volatile char *)memory)[i] = 1;
}

static uint64_t fault_round(void)
{
	char *memory = map();
	uint64_t start, end;

	start = __rdtsc();
	touch(memory);
	end = __rdtsc();
	munmap(memory, SIZE);
	return end - start;
}

static uint64_t munmap_round(void)
{
	char *memory = map();
	uint64_t start, end;

	touch(memory);
	start = __rdtsc();
	munmap(memory, SIZE);
	end = __rdtsc();
	return end - start;
}

static uint64_t again_round(void)
{
	char *memory = map();
	uint64_t start, end;

	touch(memory);
	start = __rdtsc();
	if (madvise(memory, SIZE, MADV_DONTNEED) < 0)
		give_up("madvise");
	touch(memory);
	end = __rdtsc();
	munmap(memory, SIZE);
	return end - start;
}

/* In packet mode a byte takes a page of its own, and reading it gives the page back. */
static uint64_t pipe_round(void)
{
	static int ends[2] = { -1, -1 };
	uint64_t start, end;
	char byte = 'x';

	if (ends[0] < 0 && (pipe2(ends, O_DIRECT | O_CLOEXEC) < 0 ||
			    fcntl(ends[1], F_SETPIPE_SZ, (int)SIZE) < (int)SIZE))
		give_up("a pipe of 256 pages");
	start = __rdtsc();
	for (size_t i = 0; i < PAGES; i++) {
		if (write(ends[1], &byte, 1) != 1)
			give_up("write to a pipe");
	}
	for (size_t i = 0; i < PAGES; i++) {
		if (read(ends[0], &byte, 1) != 1)
			give_up("read from a pipe");
	}
	end = __rdtsc();
	return end - start;
}

/* A copy of this program in memory: the way to a file system is not what is measured. */
static int copy_of_self(void)
{
	int source = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	int copy = memfd_create("bench-mmcost", MFD_CLOEXEC), fd;
	static char buffer[1 << 16];
	char path[64];
	ssize_t got;

	if (source < 0 || copy < 0)
		give_up("a copy of this program");
	while ((got = read(source, buffer, sizeof(buffer))) > 0) {
		if (write(copy, buffer, (size_t)got) != got)
			give_up("a copy of this program");
	}
	close(source);
	/* What is open for writing is not executed. */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", copy);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (got < 0 || fd < 0)
		give_up("a copy of this program");
	close(copy);
	return fd;
}

/* The parent has some memory, for fork to copy the page tables of. */
static uint64_t exec_round(void)
{
	static char name[] = "bench-mmcost", order[] = "exit";
	static char *const arguments[] = { name, order, NULL }, *const environment[] = { NULL };
	static char *memory;
	static int self = -1;
	uint64_t start, end;
	int status;
	pid_t pid;

	if (self < 0) {
		self = copy_of_self();
		memory = map();
		touch(memory);
	}
	start = __rdtsc();
	pid = fork();
	if (pid == 0) {
		fexecve(self, arguments, environment);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		give_up("fork");
	end = __rdtsc();
	if (status != 0) {
		fprintf(stderr, "bench-mmcost: this program does not run from memory\n");
		exit(EXIT_FAILURE);
	}
	return end - start;
}

static const struct {
	const char *name;
	uint64_t (*round)(void);
	unsigned int operations;
} paths[] = {
	{ "fault", fault_round, PAGES }, { "munmap", munmap_round, PAGES },
	{ "again", again_round, PAGES }, { "pipe", pipe_round, PAGES },
	{ "exec", exec_round, 1 },
};

/* "absent": the kernel knows nothing of private nodes; "unused": it has none. */
static const char *private_nodes(void)
{
	char list[64] = "";
	int fd = open("/sys/devices/system/node/has_private_memory", O_RDONLY | O_CLOEXEC);
	ssize_t got;

	if (fd < 0)
		return "absent";
	got = read(fd, list, sizeof(list) - 1);
	close(fd);
	return got == 0 || (got == 1 && list[0] == '\n') ? "unused" : "used";
}

int main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "exit") == 0)
		return 0;
	if (argc != 1) {
		fprintf(stderr, "usage: bench-mmcost\n");
		return 2;
	}
	printf("private-nodes %s\n", private_nodes());
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		uint64_t least = UINT64_MAX;

		for (int n = 0; n < ROUNDS; n++) {
			uint64_t cost = paths[i].round();

			if (cost < least)
				least = cost;
		}
		printf("%s %.2f\n", paths[i].name, (double)least / paths[i].operations);
	}
	return 0;
}
