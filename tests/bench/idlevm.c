// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Processes that look to the agent like idle VMs: memfd RAM, all of it touched once, and a hundred
 * descriptors each, as a QEMU with some disks and queues has. Started as "qemu-system-idle", so
 * that the agent takes them.
 *
 *   idlevm COUNT MIB     starts them, prints their pids, waits for its standard input to end
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#define DESCRIPTORS 100

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

/* The VM itself: its command line says what it is. */
static _Noreturn void be_idle(const char *mib)
{
	size_t size = strtoul(mib, NULL, 10) << 20;
	int fd = memfd_create("memory-backend-memfd", MFD_CLOEXEC);
	void *ram;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (fd < 0 || ftruncate(fd, (off_t)size) < 0)
		fail("idlevm: memfd");
	ram = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (ram == MAP_FAILED)
		fail("idlevm: mmap");
	memset(ram, 1, size);
	for (int i = 0; i < DESCRIPTORS; i++)
		if (eventfd(0, EFD_CLOEXEC) < 0)
			fail("idlevm: eventfd");
	puts("ready");
	fflush(stdout);
	for (;;)
		pause();
}

static void start(const char *mib, int i)
{
	char name[32], backend[96], ram[32], line[16];
	int ready[2];
	pid_t pid;

	snprintf(name, sizeof(name), "idle-%d", i);
	snprintf(ram, sizeof(ram), "%sM", mib);
	snprintf(backend, sizeof(backend), "memory-backend-memfd,id=ram,size=%sM", mib);
	if (pipe2(ready, O_CLOEXEC) < 0)
		fail("idlevm: pipe");
	pid = fork();
	if (pid < 0)
		fail("idlevm: fork");
	if (pid == 0) {
		dup2(ready[1], STDOUT_FILENO);
		execl("/proc/self/exe", "qemu-system-idle", "-name", name, "-m", ram, "-machine",
		      "none,memory-backend=ram", "-object", backend, (char *)NULL);
		fail("idlevm: exec");
	}
	close(ready[1]);
	if (read(ready[0], line, sizeof(line)) <= 0)
		exit(1);
	close(ready[0]);
	printf("%d\n", (int)pid);
}

int main(int argc, char **argv)
{
	char buf[64];

	if (!strcmp(argv[0], "qemu-system-idle") && argc > 4)
		be_idle(argv[4]);
	if (argc != 3) {
		fputs("usage: idlevm COUNT MIB\n", stderr);
		return 2;
	}
	for (int i = 0; i < atoi(argv[1]); i++)
		start(argv[2], i);
	fflush(stdout);
	while (read(STDIN_FILENO, buf, sizeof(buf)) > 0)
		;
	return 0;
}
