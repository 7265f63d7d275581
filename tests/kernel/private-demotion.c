/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * DEMOTION and OOM: reclaim of ordinary nodes moves cold pages to a private node
 * where its owner, the machine's settings and cpusets allow it, and the OOM killer
 * counts such a node as memory. No swap here, so that demotion is the only way out.
 */
#include "private-node.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define LENGTH (16UL << 20)
#define CLOSED (NP_OPS_MIGRATION | NP_OPS_MEMPOLICY)
#define OPEN   (NP_OPS_MIGRATION | NP_OPS_DEMOTION)

static void open_to(unsigned int flags)
{
	int rc = npt_set_ops(CARD, flags);

	need(rc == 0, "operations %#x: %s", flags, strerror(-rc));
}

/* Fresh memory of a cgroup, filled from seed 5; the caller stays outside. */
static char *memory_of(const char *cgroup, char *(*map)(size_t), size_t length)
{
	char *memory;

	enter_cgroup(cgroup);
	memory = map(length);
	fill(memory, length, 5);
	leave_cgroup();
	return memory;
}

static char *small(size_t length)
{
	char *memory = map_anonymous(length);

	madvise(memory, length, MADV_NOHUGEPAGE);
	return memory;
}

static char *huge(size_t length)
{
	return map_huge(length);
}

static char *shared(size_t length)
{
	return map_shared(length, NULL);
}

static char *locked(size_t length)
{
	char *memory = small(length);

	need(mlock(memory, length) == 0, "mlock: %m");
	return memory;
}

/* How much of a cgroup's memory is on the card after memory.reclaim. */
static size_t reclaimed_to_card(const char *cgroup, char *memory)
{
	for (int i = 0; i < 4; i++)
		write_cgroup(cgroup, "memory.reclaim", "16M");
	return pages_on(memory, LENGTH, CARD);
}

static void proactive(const char *what, char *(*map)(size_t))
{
	char *memory = memory_of("demoted", map, LENGTH);
	size_t there;

	open_to(CLOSED);
	there = reclaimed_to_card("demoted", memory);
	ok(there == 0 && used_pages(CARD) == 0, "%s: not without the opt-in (%zu pages)", what,
	   there);
	open_to(OPEN);
	demotion(false);
	there = reclaimed_to_card("demoted", memory);
	ok(there == 0, "%s: not where demotion is disabled (%zu pages)", what, there);
	demotion(true);
	there = reclaimed_to_card("demoted", memory);
	ok(there > LENGTH / PAGE / 4, "%s: memory.reclaim demotes (%zu of %lu pages)", what, there,
	   LENGTH / PAGE);
	ok(used_pages(CARD) == (long)there, "%s: and nothing else is there (%ld pages)", what,
	   used_pages(CARD));
	ok(filled(memory, LENGTH, 5), "%s: nothing is lost", what);
	munmap(memory, LENGTH);
	ok(used_pages(CARD) == 0, "%s: nothing stays behind (%ld pages)", what, used_pages(CARD));
	open_to(CLOSED);
}

static void not_locked_memory(void)
{
	char *memory = memory_of("demoted", locked, LENGTH);

	open_to(OPEN);
	ok(reclaimed_to_card("demoted", memory) == 0, "locked memory is not demoted");
	munmap(memory, LENGTH);
	open_to(CLOSED);
}

static void not_for_a_limit(void)
{
	char *memory = memory_of("demoted", small, LENGTH);

	open_to(OPEN);
	need(write_cgroup("demoted", "memory.high", "4M") == 0, "a limit");
	ok(pages_on(memory, LENGTH, CARD) == 0,
	   "a cgroup's limit is not met by demotion (%zu pages)", pages_on(memory, LENGTH, CARD));
	write_cgroup("demoted", "memory.high", "max");
	ok(reclaimed_to_card("demoted", memory) > 0, "where memory.reclaim would");
	munmap(memory, LENGTH);
	open_to(CLOSED);
}

static void not_against_a_cpuset(void)
{
	char *memory;

	enter_cgroup("confined");
	leave_cgroup();
	need(write_cgroup("confined", "cpuset.mems", "0-1") == 0, "a cpuset without the card");
	memory = memory_of("confined", small, LENGTH);
	open_to(OPEN);
	ok(reclaimed_to_card("confined", memory) == 0,
	   "nothing is demoted to a node that the cpuset of its cgroup lacks (%zu pages)",
	   pages_on(memory, LENGTH, CARD));
	need(write_cgroup("confined", "cpuset.mems", "0-2") == 0, "a cpuset with the card");
	ok(reclaimed_to_card("confined", memory) > 0, "and it is once the cpuset has it");
	munmap(memory, LENGTH);
	open_to(CLOSED);
}

static void as_far_as_the_owner_admits(void)
{
	struct npt_ops ops = { .nid = CARD, .flags = OPEN, .accept = 100 };
	char *memory = memory_of("demoted", small, LENGTH);
	size_t there;

	npt_ops(NPT_CLEAR_OPS, &ops);
	need(npt_ops(NPT_SET_OPS, &ops) == 0, "operations");
	there = reclaimed_to_card("demoted", memory);
	ok(there > 0 && there <= 100, "no more is demoted than the owner takes (%zu)", there);
	ok(filled(memory, LENGTH, 5), "a refusal loses nothing");
	munmap(memory, LENGTH);
	open_to(CLOSED);
}

/* Fills more memory than ordinary nodes have; whether it lives to check it all. */
static bool survives(size_t length)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		char *memory = small(length);

		write_file("/proc/self/oom_score_adj", "1000");
		fill(memory, length, 6);
		_exit(filled(memory, length, 6) ? 0 : 1);
	}
	waitpid(pid, &status, 0);
	if (WIFSIGNALED(status))
		note("killed by signal %d", WTERMSIG(status));
	return status == 0;
}

/* Pages on the card that living processes map; one that several share counts for each. */
static long mapped_there(void)
{
	struct dirent *entry;
	DIR *dir = opendir("/proc");
	char path[300], line[4096], key[16];
	const char *at;
	FILE *file;
	long sum = 0;

	need(dir != NULL, "/proc: %m");
	snprintf(key, sizeof(key), " N%d=", CARD);
	while ((entry = readdir(dir))) {
		if (entry->d_name[0] < '0' || entry->d_name[0] > '9')
			continue;
		snprintf(path, sizeof(path), "/proc/%s/numa_maps", entry->d_name);
		file = fopen(path, "r");
		while (file && fgets(line, sizeof(line), file)) {
			at = strstr(line, key);
			sum += at ? strtol(at + strlen(key), NULL, 10) : 0;
		}
		if (file)
			fclose(file);
	}
	closedir(dir);
	return sum;
}

static void under_pressure(void)
{
	size_t length = ((size_t)free_kb() << 10) - ((size_t)card_size()) + (128UL << 20);

	open_to(OPEN);
	ok(survives(length), "%zu MiB, more than ordinary nodes have, fit with demotion",
	   length >> 20);
	open_to(CLOSED);
	ok(!survives(length), "and do not without");
	/* Under pressure whatever is cold goes there, this test's own pages and its shell's too. */
	ok(used_pages(CARD) <= mapped_there(),
	   "what stays behind belongs to processes that live (%ld pages)", used_pages(CARD));
}

static void combinations(void)
{
	static const struct {
		unsigned int flags, no_callbacks;
		const char *why;
	} BAD[] = {
		{ NP_OPS_DEMOTION, 1, "DEMOTION without callbacks" },
		{ NP_OPS_MIGRATION, 1, "MIGRATION without callbacks" },
		{ NP_OPS_MIGRATION | NP_OPS_OOM, 0, "OOM without DEMOTION and RECLAIM" },
		{ NP_OPS_OOM | NP_OPS_DEMOTION, 0, "OOM without RECLAIM" },
		{ NP_OPS_OOM | NP_OPS_RECLAIM, 0, "OOM without DEMOTION" },
		{ NP_OPS_MEMPOLICY, 0, "MEMPOLICY without MIGRATION" },
		{ NP_OPS_NUMA_BALANCING, 0, "NUMA_BALANCING without MIGRATION" },
		{ NP_OPS_COMPACTION, 0, "COMPACTION without MIGRATION" },
		{ NP_OPS_PROTECT_WRITE | NP_OPS_MIGRATION | NP_OPS_COMPACTION, 0,
		  "PROTECT_WRITE with COMPACTION" },
		{ 1U << 20, 0, "an unknown flag" },
	};
	char *memory = small_on(CARD, LENGTH);

	for (size_t i = 0; i < sizeof(BAD) / sizeof(BAD[0]); i++) {
		struct npt_ops ops = { .nid = CARD,
				       .flags = BAD[i].flags,
				       .no_callbacks = BAD[i].no_callbacks,
				       .accept = -1 };

		npt_ops(NPT_CLEAR_OPS, &ops);
		ok(npt_ops(NPT_SET_OPS, &ops) == -EINVAL, "%s is refused", BAD[i].why);
		ok(move_to(memory, PAGE, HOME) == -ENOENT && node_of(memory) == CARD,
		   "and the node stays as closed as it was");
		open_to(CLOSED);
	}
	munmap(memory, LENGTH);
}

static long oom_score(pid_t pid)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/oom_score", pid);
	return strtol(read_file(path), NULL, 10);
}

/* A process with memory on the card, or at home, that waits to be killed. */
static pid_t process_with(size_t length, int nid, const char *adjustment)
{
	int ready[2];
	char byte;
	pid_t pid;

	need(pipe(ready) == 0, "a pipe");
	pid = fork();
	if (pid == 0) {
		write_file("/proc/self/oom_score_adj", adjustment);
		small_on(nid, length);
		if (write(ready[1], "", 1) == 1)
			pause();
		_exit(1);
	}
	need(read(ready[0], &byte, 1) == 1, "a process of %zu MiB", length >> 20);
	close(ready[0]);
	close(ready[1]);
	return pid;
}

/*
 * An adjustment is a share of all memory. The big process has 400 MiB and gives up
 * 300 thousandths: of 1.2 GiB that leaves it some 30 MiB, of 1.7 GiB nothing.
 */
static void victims(unsigned int flags, bool counts)
{
	pid_t small_one, big_one, killed;
	long score;
	int status;

	open_to(CLOSED);
	big_one = process_with(400UL << 20, CARD, "-300");
	small_one = process_with(20UL << 20, HOME, "0");
	open_to(flags);
	score = oom_score(big_one);
	note("the big process scores %ld, the small one %ld", score, oom_score(small_one));
	write_file("/proc/sysrq-trigger", "f");
	killed = wait(&status);
	ok(killed == (counts ? small_one : big_one) && WIFSIGNALED(status),
	   "%s, the OOM killer takes the %s process", counts ? "opted in" : "not opted in",
	   killed == small_one ? "small" : "big");
	kill(big_one, SIGKILL);
	kill(small_one, SIGKILL);
	while (wait(&status) > 0)
		;
	open_to(CLOSED);
}

int main(void)
{
	card_private();
	open_to(CLOSED);
	demotion(true);
	/* There is more memory than the kernel would promise: demotion is no promise. */
	write_file("/proc/sys/vm/overcommit_memory", "1");
	/* Not what this test is about, and it may not be the one that is killed. */
	write_file("/proc/self/oom_score_adj", "-1000");

	combinations();
	proactive("small pages", small);
	proactive("huge pages", huge);
	proactive("shared memory", shared);
	not_locked_memory();
	not_for_a_limit();
	not_against_a_cpuset();
	as_far_as_the_owner_admits();
	under_pressure();
	victims(CLOSED, false);
	victims(CLOSED | NP_OPS_RECLAIM | NP_OPS_DEMOTION, false);
	victims(CLOSED | NP_OPS_RECLAIM | NP_OPS_DEMOTION | NP_OPS_OOM, true);
	return done();
}
