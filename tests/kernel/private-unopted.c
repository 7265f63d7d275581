/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A private node that is open to nothing, under a mixture of everything that
 * uses memory: stress-ng's memory classes all at once, and our own attacks. The
 * node's free pages are looked at all the time and never change.
 *
 *   private-unopted [SECONDS]
 */
#include "private-node.h"

#include <errno.h>
#include <numaif.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PREFERRED_MANY 5 /* not in every numaif.h */

/*
 * Left out: what only burns time in arithmetic or waits for devices, what takes
 * memory blocks offline (the free pages then go with them), and what has no end.
 */
#define LEFT_OUT "judy,matrix,matrix-3d,sparsematrix,watchdog,physpage,zlib"

/* Free pages of the card, as the allocator itself counts them. */
static long free_pages(void)
{
	char header[64], *zone, *line;

	snprintf(header, sizeof(header), "Node %d, zone  Movable", CARD);
	zone = strstr(read_file("/proc/zoneinfo"), header);
	need(zone != NULL, "the card has a movable zone");
	line = strstr(zone, "pages free");
	need(line != NULL, "the zone has free pages");
	return strtol(line + strlen("pages free"), NULL, 10);
}

static pid_t in_background(void (*function)(long seconds), long seconds)
{
	pid_t pid = fork();

	if (pid == 0) {
		/* Whom the OOM killer takes first. */
		write_file("/proc/self/oom_score_adj", "900");
		function(seconds);
		_exit(EXIT_SUCCESS);
	}
	need(pid > 0, "fork: %m");
	return pid;
}

static void stress_ng(long seconds)
{
	char timeout[32];

	snprintf(timeout, sizeof(timeout), "%lds", seconds);
	(void)!freopen("/dev/null", "w", stdout);
	(void)!freopen("/dev/null", "w", stderr);
	execlp("stress-ng", "stress-ng", "--class", "memory,vm", "--all", "1", "--exclude",
	       LEFT_OUT, "--timeout", timeout, "--oomable", "--temp-path", "/dev/shm",
	       (char *)NULL);
	_exit(127);
}

static void eat(int mode, unsigned long mask, size_t length)
{
	char *memory;

	set_mempolicy(mode, mask ? &mask : NULL, mask ? 65 : 0);
	memory = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		return;
	memset(memory, 1, length);
	bind_to(memory, length, MPOL_BIND, 1UL << CARD, MPOL_MF_MOVE);
	move_to(memory, length, CARD);
	munmap(memory, length);
}

static void attacks(long seconds)
{
	static const char *const KNOBS[][2] = {
		{ "/proc/sys/vm/compact_memory", "1" },
		{ "/proc/sys/vm/drop_caches", "3" },
		{ "/proc/sys/vm/nr_hugepages", "32" },
		{ "/proc/sys/vm/nr_hugepages", "0" },
		{ "/sys/devices/system/node/node2/compact", "1" },
		{ "/sys/devices/system/node/node2/hugepages/hugepages-2048kB/nr_hugepages", "8" },
	};
	time_t end = time(NULL) + seconds;

	while (time(NULL) < end) {
		for (size_t i = 0; i < sizeof(KNOBS) / sizeof(*KNOBS); i++)
			write_file(KNOBS[i][0], KNOBS[i][1]);
		eat(MPOL_INTERLEAVE, 7, 32 << 20);
		eat(PREFERRED_MANY, 7, 32 << 20);
		eat(MPOL_DEFAULT, 0, 64 << 20);
		for (unsigned int how = NPT_KERNEL; how < NPT_BULK_PRIVATE; how++) {
			struct npt_alloc a = { .nid = CARD, .how = how, .count = 64 };

			npt_alloc(&a);
			npt_free();
		}
	}
}

int main(int argc, char **argv)
{
	long seconds = argc > 1 ? atol(argv[1]) : 60, before, now, looks = 0, changed = 0, ever;
	pid_t stress, attack;
	int stress_status = 0, attack_status = 0;
	bool stressed = false, attacked = false;
	time_t start, stress_end = 0;

	need(seconds > 0, "usage: private-unopted [SECONDS]");
	/* Not the judge. */
	need(write_file("/proc/self/oom_score_adj", "-1000") == 0,
	     "protection from the OOM killer");
	swap_on("256M");
	card_private();
	before = free_pages();
	ever = allocations(CARD);
	need(used_pages(CARD) == 0 && before > 0, "the card is all free");

	start = time(NULL);
	stress = in_background(stress_ng, seconds);
	attack = in_background(attacks, seconds);
	while (!attacked || !stressed) {
		now = free_pages();
		looks++;
		if (now != before && !changed++)
			note("look %ld: %ld free pages, not %ld", looks, now, before);
		usleep(50000);
		if (!stressed && waitpid(stress, &stress_status, WNOHANG) == stress) {
			stressed = true;
			stress_end = time(NULL);
		}
		attacked = attacked || waitpid(attack, &attack_status, WNOHANG) == attack;
	}
	/* Its status says which stressors the OOM killer took; whether it ran, its time does. */
	ok(WIFEXITED(stress_status) && stress_end - start >= seconds,
	   "stress-ng ran for %ld seconds, watched %ld times", (long)(stress_end - start), looks);
	/* Killed for its memory it may be, as anybody here. */
	ok(attack_status == 0 || (WIFSIGNALED(attack_status) && WTERMSIG(attack_status) == SIGKILL),
	   "beside our own attacks");
	ok(changed == 0, "the free pages of a private node that is open to nothing never change");
	/* Whatever happened between two looks. */
	ok(allocations(CARD) == ever, "nor was anything ever allocated from it (%ld times)",
	   allocations(CARD) - ever);
	ok(free_pages() == before && used_pages(CARD) == 0, "and nothing of it is used in the end");
	return done();
}
