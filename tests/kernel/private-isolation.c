/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Isolation under attack: a private node is there, opened to nothing or to
 * everything, and whatever the system does, the pages in use on it are those
 * that were asked for.
 */
#include "private-node.h"

#include <errno.h>
#include <fcntl.h>
#include <numaif.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *const HOW[NPT_HOWS] = {
	[NPT_KERNEL] = "GFP_KERNEL",
	[NPT_THISNODE] = "__GFP_THISNODE",
	[NPT_MOVABLE] = "movable, __GFP_THISNODE",
	[NPT_ATOMIC] = "atomic, __GFP_THISNODE",
	[NPT_BULK] = "bulk",
	[NPT_KMALLOC] = "kmalloc_node",
	[NPT_KMALLOC_THISNODE] = "kmalloc_node, __GFP_THISNODE",
	[NPT_VMALLOC] = "vmalloc_node",
};

/* What must be in use on the node: what the test itself asked for. */
static long expected;

static void unharmed(const char *after)
{
	long used = used_pages(CARD);

	ok(used == expected, "after %s the pages used are those asked for (%ld, not %ld)", after,
	   used, expected);
}

/* Runs in a child, so that the OOM killer has somebody to take. */
static int in_child(void (*function)(void *), void *argument)
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		write_file("/proc/self/oom_score_adj", "1000");
		function(argument);
		_exit(EXIT_SUCCESS);
	}
	need(pid > 0 && waitpid(pid, &status, 0) == pid, "fork");
	return status;
}

static void kernel_allocators(void)
{
	for (unsigned int how = NPT_KERNEL; how < NPT_BULK_PRIVATE; how++) {
		for (int nid = HOME; nid <= CARD; nid++) {
			for (unsigned int order = 0; order <= 9; order += 3) {
				struct npt_alloc a = {
					.nid = nid, .how = how, .order = order, .count = 64
				};
				int rc = npt_alloc(&a);

				need(rc == 0, "%s: the test driver allocates: %s", HOW[how],
				     strerror(-rc));
				if (nid == CARD && a.ret_on_node)
					ok(false, "%s order %u on the card: %u of its pages",
					   HOW[how], order, a.ret_on_node);
				npt_free();
			}
		}
		unharmed(HOW[how]);
	}
}

static void sized(struct npt_alloc a, const char *what)
{
	need(npt_alloc(&a) == 0, "%s", what);
	ok(a.ret_count == 0, "%s gives nothing (%u)", what, a.ret_count);
	npt_free();
}

static void thisnode_is_empty(void)
{
	sized((struct npt_alloc){ .nid = CARD, .how = NPT_THISNODE, .count = 1000 },
	      "__GFP_THISNODE on the card without __GFP_PRIVATE");
	sized((struct npt_alloc){ .nid = HOME, .how = NPT_PRIVATE, .count = 1 },
	      "__GFP_PRIVATE on an ordinary node");
	sized((struct npt_alloc){ .nid = OTHER, .how = NPT_PRIVATE_KERNEL, .count = 1 },
	      "GFP_KERNEL | __GFP_PRIVATE on an ordinary node");
}

static void eat_everything(void *argument)
{
	size_t step = 16 << 20;

	(void)argument;
	for (;;) {
		char *memory = mmap(NULL, step, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
				    -1, 0);

		if (memory == MAP_FAILED)
			return;
		for (size_t i = 0; i < step; i += PAGE)
			memory[i] = 1;
	}
}

static void out_of_memory(void)
{
	int status = in_child(eat_everything, NULL);

	ok(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL,
	   "with DRAM exhausted somebody is killed");
	unharmed("DRAM exhausted to the OOM killer");
}

static void eat_pages(void *argument)
{
	size_t length = *(size_t *)argument;
	char *memory = map_anonymous(length);

	memset(memory, 1, length);
}

static void policies(void)
{
	static const int MODES[] = { MPOL_BIND, MPOL_PREFERRED, MPOL_INTERLEAVE,
				     MPOL_PREFERRED_MANY, 6 };
	size_t length = 64 << 20;
	unsigned long all = 7, card = 1UL << CARD;

	for (size_t m = 0; m < sizeof(MODES) / sizeof(*MODES); m++) {
		int alone = set_mempolicy(MODES[m], &card, 65) ? errno : 0;
		int with_all = set_mempolicy(MODES[m], &all, 65) ? errno : 0;

		ok(alone == EINVAL, "set_mempolicy mode %d refuses the card alone: %s", MODES[m],
		   strerror(alone));
		if (MODES[m] == MPOL_BIND)
			ok(with_all == EINVAL,
			   "set_mempolicy MPOL_BIND refuses the card among others");
		else
			ok(with_all == 0, "set_mempolicy mode %d passes over the card", MODES[m]);
		in_child(eat_pages, &length);
		set_mempolicy(MPOL_DEFAULT, NULL, 0);
		unharmed("that");
	}
}

static void numactl(void)
{
	static const char *const COMMANDS[] = {
		"numactl --interleave=all sh -c 'head -c 64M /dev/zero | sort | wc -c'",
		"numactl --membind=2 true",
		"numactl --preferred=2 sh -c 'head -c 64M /dev/zero | sort | wc -c'",
		"numactl --localalloc sh -c 'for i in $(seq 300); do true & done; wait'",
	};

	for (size_t i = 0; i < sizeof(COMMANDS) / sizeof(*COMMANDS); i++) {
		char command[256];

		snprintf(command, sizeof(command), "%s >/dev/null 2>&1", COMMANDS[i]);
		(void)!system(command);
		unharmed(COMMANDS[i]);
	}
}

static void hugetlb(void)
{
	static const char *const FILES[] = {
		"/sys/devices/system/node/node2/hugepages/hugepages-2048kB/nr_hugepages",
		"/proc/sys/vm/nr_hugepages",
		"/sys/devices/system/node/node2/hugepages/hugepages-1048576kB/nr_hugepages",
		"/sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages",
	};

	for (size_t i = 0; i < sizeof(FILES) / sizeof(*FILES); i++) {
		write_file(FILES[i], "128");
		if (strstr(FILES[i], "node2"))
			ok(atoi(read_file(FILES[i])) == 0,
			   "a huge page pool cannot be filled from the card: %s", FILES[i]);
		unharmed(FILES[i]);
		write_file(FILES[i], "0");
	}
}

static int cpuset_mems(const char *mems)
{
	return write_file("/sys/fs/cgroup/private/cpuset.mems", mems);
}

static void cpusets(void)
{
	size_t length = 16 << 20;
	char pid[16];

	write_file("/sys/fs/cgroup/cgroup.subtree_control", "+cpuset +memory");
	need(mkdir("/sys/fs/cgroup/private", 0755) == 0, "a cgroup with cpuset: %m");
	ok(cpuset_mems("2") == -EINVAL, "a cpuset of private nodes alone is refused");
	ok(cpuset_mems("0,2") == 0, "a cpuset may name a private node beside an ordinary one");
	snprintf(pid, sizeof(pid), "%d", getpid());
	need(write_file("/sys/fs/cgroup/private/cgroup.procs", pid) == 0, "join the cgroup");
	ok(strstr(read_file("/proc/self/status"), "Mems_allowed_list:\t0\n") != NULL,
	   "a task's allocations stay on the ordinary node");
	in_child(eat_pages, &length);
	unharmed("allocations in that cpuset");
	for (int i = 0; i < 50; i++) {
		static const char *const MEMS[] = { "0-2", "1-2", "0", "1", "0,2", "0-1" };

		need(cpuset_mems(MEMS[i % 6]) == 0, "cpuset.mems = %s", MEMS[i % 6]);
		in_child(eat_pages, &length);
	}
	unharmed("cpuset.mems changed live");
	ok(cpuset_mems("1-2") == 0 &&
		   strstr(read_file("/proc/self/status"), "Mems_allowed_list:\t1\n") != NULL,
	   "mems_allowed follows, without the private node");
	write_file("/sys/fs/cgroup/cgroup.procs", pid);
	rmdir("/sys/fs/cgroup/private");
}

static void *fault(void *argument)
{
	size_t length = 4 << 20;

	(void)argument;
	for (int i = 0; i < 50; i++) {
		char *memory = map_anonymous(length);

		memset(memory, i, length);
		munmap(memory, length);
	}
	return NULL;
}

static void fork_storm(void)
{
	pthread_t threads[4];

	for (int i = 0; i < 4; i++)
		need(pthread_create(&threads[i], NULL, fault, NULL) == 0, "a thread");
	for (int i = 0; i < 300; i++) {
		pid_t pid = fork();

		if (pid == 0)
			_exit(0);
		need(pid > 0 && waitpid(pid, NULL, 0) == pid, "fork: %m");
	}
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	unharmed("a storm of forks and faults");
}

static void daemons(void)
{
	char *kthreads;

	kthreads = read_file("/sys/devices/system/node/node2/compact");
	(void)kthreads;
	write_file("/sys/devices/system/node/node2/compact", "1");
	write_file("/proc/sys/vm/compact_memory", "1");
	write_file("/proc/sys/vm/drop_caches", "3");
	unharmed("compaction and dropped caches");
	ok(system("! ps -e -o comm= | grep -qE '^k(swapd|compactd)2$'") == 0,
	   "no kswapd and no kcompactd for the node");
	ok(system("ps -e -o comm= | grep -qE '^kswapd1$'") == 0, "but kswapd for an ordinary one");
}

static void page_cache(void)
{
	ok(system("mkdir -p /tmp/private && mount -t tmpfs -o mpol=interleave:2 none /tmp/private") !=
		   0,
	   "a tmpfs mount cannot name the card");
	(void)!system(
		"mount -t tmpfs none /tmp/private && head -c 64M /dev/urandom >/tmp/private/file && "
		"cat /tmp/private/file >/dev/null; umount /tmp/private");
	(void)!system("find /usr/lib -type f | head -n 2000 | xargs cat >/dev/null 2>&1");
	unharmed("file reading");
}

static void stays_out_of_totals(long total, long commit_limit)
{
	ok(meminfo_kb("MemTotal:") == total, "MemTotal is what it was");
	ok(meminfo_kb("CommitLimit:") == commit_limit, "CommitLimit is what it was");
	ok(meminfo_kb("MemFree:") <= total && meminfo_kb("MemAvailable:") <= total,
	   "MemFree and MemAvailable are below it");
}

static void attack(const char *state)
{
	note("%s", state);
	thisnode_is_empty();
	kernel_allocators();
	numactl();
	hugetlb();
	page_cache();
	fork_storm();
	daemons();
}

int main(void)
{
	long total = meminfo_kb("MemTotal:"), commit_limit = meminfo_kb("CommitLimit:");
	struct npt_alloc held = { .nid = CARD, .how = NPT_PRIVATE, .order = 0, .count = 1000 };

	card_private();
	stays_out_of_totals(total, commit_limit);
	unharmed("onlining");
	need(npt_alloc(&held) == 0 && held.ret_on_node == held.count,
	     "1000 pages by __GFP_PRIVATE");
	need(used_pages(CARD) == held.count, "and they are the pages used");
	npt_free();

	attack("nothing opted in");
	policies();
	cpusets();
	out_of_memory();

	/* Open to policies and migration, with pages there that must stay the only ones. */
	need(npt_set_ops(CARD, NP_OPS_MIGRATION | NP_OPS_MEMPOLICY) == 0, "set_ops");
	char *memory = map_anonymous(8 << 20);
	need(bind_to(memory, 8 << 20, MPOL_BIND, 1UL << CARD, 0) == 0, "mbind");
	fill(memory, 8 << 20, 7);
	expected = (8 << 20) / PAGE;
	unharmed("8 MiB of it used");
	attack("MIGRATION and MEMPOLICY opted in");
	out_of_memory();
	cpusets();
	ok(filled(memory, 8 << 20, 7), "what was there is as it was");
	munmap(memory, 8 << 20);
	expected = 0;
	unharmed("the end");
	return done();
}
