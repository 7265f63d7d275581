/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Isolation under attack: a private node is there, opened to nothing or to
 * everything, and whatever the system does, the pages in use on it are those
 * that were asked for, and so are the pages that were ever allocated there.
 */
#include "private-node.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <numaif.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* The ways that have no business on a private node. */
static const char *const HOW[NPT_HOWS] = {
	[NPT_KERNEL] = "GFP_KERNEL",
	[NPT_THISNODE] = "__GFP_THISNODE",
	[NPT_MOVABLE] = "movable, __GFP_THISNODE",
	[NPT_ATOMIC] = "atomic, __GFP_THISNODE",
	[NPT_BULK] = "bulk",
	[NPT_KMALLOC] = "kmalloc_node",
	[NPT_KMALLOC_THISNODE] = "kmalloc_node, __GFP_THISNODE",
	[NPT_VMALLOC] = "vmalloc_node",
	[NPT_CONTIG] = "alloc_contig_pages",
};

/* What the test itself asked for of the node. */
static struct {
	long used;	/* pages in use now */
	long allocated; /* allocations ever */
} asked;

/* A fault is reported once: what has been allocated is then taken for granted. */
static bool as_asked(void)
{
	long used = used_pages(CARD), allocated = allocations(CARD);
	bool same = used == asked.used && allocated == asked.allocated;

	if (!same)
		note("%ld pages used, not %ld; %ld allocations ever, not %ld", used, asked.used,
		     allocated, asked.allocated);
	asked.allocated = allocated;
	return same;
}

static void unharmed(const char *after)
{
	ok(as_asked(), "after %s the node has and had only the pages asked for", after);
}

/*
 * One half of the memory module is the card. The other is movable memory of the ordinary
 * node, because nothing of what the machine boots with can go offline.
 */
static int module_half(unsigned long request, int nid, bool online)
{
	struct npt_range range = {
		.nid = nid,
		.start = card_start() + (nid == CARD ? 0 : card_size() / 2),
		.size = card_size() / 2,
		.online = online,
	};

	return npt_range_at(request, &range);
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
	need(pid > 0 && waitpid(pid, &status, 0) == pid, "fork: %m");
	return status;
}

/* Judged while the pages are held. Returns how many blocks there were. */
static unsigned int kernel_allocator(unsigned int how, int nid, unsigned int order)
{
	struct npt_alloc a = { .nid = nid, .how = how, .order = order, .count = 64 };
	int rc;

	/* Each of these looks for its range from the start of the zone. */
	if (how == NPT_CONTIG)
		a.count = 4;
	rc = npt_alloc(&a);
	need(rc == 0, "%s: the test driver allocates: %s", HOW[how], strerror(-rc));
	if (nid == CARD && a.ret_on_node)
		ok(false, "%s of order %u on the card: %u of its blocks", HOW[how], order,
		   a.ret_on_node);
	if (!as_asked())
		ok(false, "%s of order %u on node %d, while held", HOW[how], order, nid);
	npt_free();
	return a.ret_count;
}

static void kernel_allocators(void)
{
	for (unsigned int how = 0; how < NPT_HOWS; how++) {
		unsigned int blocks = 0;

		if (!HOW[how])
			continue;
		for (int nid = HOME; nid <= CARD; nid++)
			for (unsigned int order = 0; order <= 9; order += 3)
				blocks += kernel_allocator(how, nid, order);
		ok(blocks > 0, "%s gives %u blocks of ordinary memory", HOW[how], blocks);
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

/* Page tables of a big, empty mapping, and full pipes. */
static void eat_kernel_memory(void *argument)
{
	size_t length = 8UL << 30, pipe_size = 1 << 20;
	char *buffer = calloc(1, pipe_size);
	volatile char *empty =
		mmap(NULL, length, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	(void)argument;
	if (!buffer || empty == MAP_FAILED)
		_exit(EXIT_FAILURE);
	for (size_t i = 0; i < length; i += HUGE)
		(void)empty[i];
	for (int i = 0; i < 16; i++) {
		int ends[2];

		if (pipe(ends) || fcntl(ends[1], F_SETPIPE_SZ, pipe_size) < 0 ||
		    write(ends[1], buffer, pipe_size) != (ssize_t)pipe_size)
			_exit(EXIT_FAILURE);
	}
}

static void policies(bool opted_in)
{
	static const int MODES[] = { MPOL_BIND, MPOL_PREFERRED, MPOL_INTERLEAVE,
				     MPOL_PREFERRED_MANY, 6 };
	size_t length = 64 << 20;
	unsigned long all = 7, card = 1UL << CARD;

	for (size_t m = 0; m < COUNT(MODES); m++) {
		bool bind = MODES[m] == MPOL_BIND;
		int rc;

		/* With the node opened it is granted, and this process's own pages go there. */
		if (!bind || !opted_in) {
			rc = set_mempolicy(MODES[m], &card, 65) ? errno : 0;
			ok(rc == EINVAL, "set_mempolicy mode %d refuses the card alone: %s",
			   MODES[m], strerror(rc));
		}
		rc = set_mempolicy(MODES[m], &all, 65) ? errno : 0;
		if (bind && !opted_in)
			ok(rc == EINVAL, "set_mempolicy MPOL_BIND refuses the card among others");
		else
			ok(rc == 0, "set_mempolicy mode %d allocates on the others", MODES[m]);
		need(in_child(eat_pages, &length) == 0, "%zu bytes under the policy", length);
		need(in_child(eat_kernel_memory, NULL) == 0, "pipes under the policy");
		set_mempolicy(MPOL_DEFAULT, NULL, 0);
		unharmed("page faults, page tables and pipes under that policy");
	}
}

static void numactl(void)
{
#define EAT "sh -c 'test $(head -c 32M /dev/zero | tail -c 32M | wc -c) = 33554432'"
	static const struct {
		const char *command;
		bool works;
	} COMMANDS[] = {
		{ "numactl --interleave=all " EAT, true },
		{ "numactl --preferred=1 " EAT, true },
		{ "numactl --localalloc sh -c 'for i in $(seq 300); do true & done; wait'", true },
		/* numactl itself refuses nodes that are not in Mems_allowed. */
		{ "numactl --membind=2 " EAT, false },
		{ "numactl --preferred=2 " EAT, false },
		{ "numactl --interleave=0,2 " EAT, false },
	};
#undef EAT

	for (size_t i = 0; i < COUNT(COMMANDS); i++) {
		char command[256];
		int status;

		snprintf(command, sizeof(command), "%s >/dev/null 2>&1", COMMANDS[i].command);
		status = system(command);
		ok(WIFEXITED(status) && COMMANDS[i].works == !WEXITSTATUS(status),
		   "%s: %s (status %#x)", COMMANDS[i].works ? "works" : "is refused",
		   COMMANDS[i].command, status);
		unharmed("that");
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

	for (size_t i = 0; i < COUNT(FILES); i++) {
		write_file(FILES[i], "128");
		if (strstr(FILES[i], "node2"))
			ok(atoi(read_file(FILES[i])) == 0,
			   "a huge page pool cannot be filled from the card: %s", FILES[i]);
		else if (strstr(FILES[i], "/proc"))
			ok(atoi(read_file(FILES[i])) > 0, "but from ordinary memory it can");
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
	need(in_child(eat_pages, &length) == 0, "%zu bytes in that cpuset", length);
	unharmed("allocations in that cpuset");
	for (int i = 0; i < 50; i++) {
		static const char *const MEMS[] = { "0-2", "1-2", "0", "1", "0,2", "0-1" };

		need(cpuset_mems(MEMS[i % 6]) == 0, "cpuset.mems = %s", MEMS[i % 6]);
		need(in_child(eat_pages, &length) == 0, "%zu bytes in that cpuset", length);
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
	mkdir("/tmp/private", 0755);
	ok(system("mount -t tmpfs -o mpol=interleave:2 none /tmp/private 2>/dev/null") != 0,
	   "a tmpfs mount cannot name the card");
	ok(system("mount -t tmpfs none /tmp/private && "
		  "head -c 64M /dev/urandom >/tmp/private/file && "
		  "cat /tmp/private/file >/dev/null && umount /tmp/private") == 0,
	   "but one without a policy is used");
	(void)!system("find /usr/lib -type f | head -n 2000 | xargs cat >/dev/null 2>&1");
	unharmed("file reading");
}

/* Small pages, half of them on the other ordinary node, of which huge ones may be made. */
static char *collapsible(size_t length)
{
	char *memory = map_huge(length);

	madvise(memory, length, MADV_NOHUGEPAGE);
	memset(memory, 1, length);
	move_to(memory, length / 2, OTHER);
	madvise(memory, length, MADV_HUGEPAGE);
	return memory;
}

/* Until it works: khugepaged may have isolated a page. */
static bool collapse(char *memory, size_t length)
{
	for (int tries = 0; tries < 20; tries++) {
		if (madvise(memory, length, MADV_COLLAPSE) == 0)
			return true;
		usleep(20000);
	}
	return false;
}

static void eat_huge_pages(void *argument)
{
	size_t length = 8 * HUGE;
	int before = atoi(read_file(KHUGEPAGED "pages_collapsed"));

	(void)argument;
	memset(map_huge(length), 1, length);
	if (!collapse(collapsible(length), length))
		_exit(EXIT_FAILURE);
	collapsible(length);
	for (int i = 0; i < 1000; i++) {
		if (atoi(read_file(KHUGEPAGED "pages_collapsed")) > before)
			return;
		usleep(20000);
	}
	_exit(EXIT_FAILURE);
}

static void huge_pages(void)
{
	write_file(KHUGEPAGED "scan_sleep_millisecs", "0");
	write_file(KHUGEPAGED "alloc_sleep_millisecs", "0");
	ok(in_child(eat_huge_pages, NULL) == 0,
	   "huge pages are faulted in, made by MADV_COLLAPSE and by khugepaged");
	write_file(KHUGEPAGED "scan_sleep_millisecs", "10000");
	unharmed("huge pages");
}

/* Memory blocks */

#define AUTO_ONLINE "/sys/devices/system/memory/auto_online_blocks"

static void memory_blocks(int nid, glob_t *ret_paths)
{
	char pattern[64];

	snprintf(pattern, sizeof(pattern), "/sys/devices/system/node/node%d/memory*/state", nid);
	need(glob(pattern, 0, NULL, ret_paths) == 0, "node %d has memory blocks", nid);
}

/* How many of a node's memory blocks are in a state; in any, if it is "". */
static int blocks_in(int nid, const char *state)
{
	glob_t paths;
	int count = 0;

	memory_blocks(nid, &paths);
	for (size_t i = 0; i < paths.gl_pathc; i++)
		count += strncmp(read_file(paths.gl_pathv[i]), state, strlen(state)) == 0;
	globfree(&paths);
	return count;
}

static bool all_blocks(int nid, const char *state)
{
	return blocks_in(nid, state) == blocks_in(nid, "");
}

static void interrupt(int signal)
{
	(void)signal;
}

/* Asks for a state of each memory block. Offlining tries until a signal comes. */
static void set_blocks(int nid, const char *state)
{
	struct sigaction action = { .sa_handler = interrupt };
	glob_t paths;

	sigaction(SIGALRM, &action, NULL);
	memory_blocks(nid, &paths);
	for (size_t i = 0; i < paths.gl_pathc; i++) {
		alarm(5);
		write_file(paths.gl_pathv[i], state);
		alarm(0);
	}
	globfree(&paths);
}

/*
 * The ordinary node's memory goes offline, as far as it can, under a process that uses
 * it: its pages need somewhere else to be.
 */
static void neighbour_offline(void *argument)
{
	size_t length = 32 << 20, before, after;
	char *memory = map_anonymous(length);

	(void)argument;
	if (bind_to(memory, length, MPOL_BIND, 1UL << OTHER, 0))
		_exit(EXIT_FAILURE);
	fill(memory, length, 3);
	before = pages_on(memory, length, OTHER);
	set_blocks(OTHER, "offline");
	after = pages_on(memory, length, OTHER);
	if (before != length / PAGE || after == before || !filled(memory, length, 3))
		_exit(EXIT_FAILURE);
}

static void neighbour(void)
{
	bool moved = in_child(neighbour_offline, NULL) == 0;
	int offline = blocks_in(OTHER, "offline");

	ok(moved && offline > 0, "memory in use beside the card goes offline (%d blocks of %d)",
	   offline, blocks_in(OTHER, ""));
	unharmed("that");
	set_blocks(OTHER, "online_movable");
	need(all_blocks(OTHER, "online"), "the ordinary node is online again");
	unharmed("its coming back");
}

static bool is_private_memory(void)
{
	return node_in("has_private_memory", CARD) && !node_in("has_memory", CARD) &&
	       !node_in("has_normal_memory", CARD);
}

static bool is_no_memory(void)
{
	return !node_in("has_private_memory", CARD) && !node_in("has_memory", CARD) &&
	       !node_in("has_normal_memory", CARD);
}

static bool all_movable(void)
{
	char pattern[] = "/sys/devices/system/node/node2/memory*/valid_zones";
	bool all = true;
	glob_t paths;

	need(glob(pattern, 0, NULL, &paths) == 0, "the card's blocks say what zone they are in");
	for (size_t i = 0; i < paths.gl_pathc; i++)
		all = all && strcmp(read_file(paths.gl_pathv[i]), "Movable\n") == 0;
	globfree(&paths);
	return all;
}

static void card_offline(char *memory, size_t length)
{
	set_blocks(CARD, "offline");
	ok(all_blocks(CARD, "offline") && is_no_memory(), "the card can go offline by sysfs");
	asked.used = 0;
	unharmed("going offline");
	sized((struct npt_alloc){ .nid = CARD, .how = NPT_PRIVATE, .count = 1 },
	      "__GFP_PRIVATE on the card offline");
	if (memory)
		ok(pages_on(memory, length, CARD) == 0 && filled(memory, length, 7),
		   "what was there is at home, as it was");
}

static void card_online(const char *state, char *memory, size_t length)
{
	size_t eaten = 64 << 20;

	set_blocks(CARD, state);
	ok(all_blocks(CARD, "online") && is_private_memory() && all_movable(),
	   "%s brings it back as private, movable memory", state);
	need(in_child(eat_pages, &eaten) == 0, "%zu bytes", eaten);
	sized((struct npt_alloc){ .nid = CARD, .how = NPT_THISNODE, .count = 1000 },
	      "__GFP_THISNODE on the card");
	unharmed("coming online and page faults");
	if (!memory)
		return;
	need(move_to(memory, length, CARD) == 0, "back to the card");
	asked.used = length / PAGE;
	/* More than there are pages, if one was locked for a moment. */
	asked.allocated = allocations(CARD);
	unharmed("moving the pages back");
}

/*
 * Root may take the card's memory offline and online by sysfs under its owner. Pages of
 * processes go home; the node keeps its owner, and its memory comes back private and
 * movable, whatever zone is asked for.
 */
static void card_by_sysfs(char *memory, size_t length)
{
	static const char *const STATES[] = { "online", "online_kernel", "online_movable" };

	for (size_t i = 0; i < COUNT(STATES); i++) {
		/* Refused, for it is online. */
		set_blocks(CARD, STATES[i]);
		ok(is_private_memory() && all_movable(), "%s leaves memory that is online alone",
		   STATES[i]);
		unharmed("that");
		card_offline(memory, length);
		card_online(STATES[i], memory, length);
	}
}

/* Memory added to a private node stays offline until somebody says otherwise. */
static void auto_online(void)
{
	static const char *const POLICIES[] = { "online", "online_kernel", "online_movable",
						"offline" };
	char before[32];

	snprintf(before, sizeof(before), "%s", read_file(AUTO_ONLINE));
	for (size_t i = 0; i < COUNT(POLICIES); i++) {
		need(write_file(AUTO_ONLINE, POLICIES[i]) == 0, "auto_online_blocks = %s",
		     POLICIES[i]);
		unharmed("a change of auto_online_blocks");
		need(module_half(NPT_REMOVE, CARD, false) == 0, "the card can be removed");
		need(module_half(NPT_ADD, CARD, false) == 0, "and added offline");
		ok(all_blocks(CARD, "offline") && is_no_memory(),
		   "auto_online_blocks = %s leaves the card offline", POLICIES[i]);
		set_blocks(CARD, "online_movable");
		need(is_private_memory(), "the card is online as private memory");
		unharmed("adding the card with that");
	}
	write_file(AUTO_ONLINE, before);
}

static void stays_out_of_totals(long total, long commit_limit)
{
	ok(meminfo_kb("MemTotal:") == total, "MemTotal is what it was");
	ok(meminfo_kb("CommitLimit:") == commit_limit, "CommitLimit is what it was");
	ok(meminfo_kb("MemFree:") <= total && meminfo_kb("MemAvailable:") <= total,
	   "MemFree and MemAvailable are below it");
}

static void attack(const char *state, bool opted_in)
{
	note("%s", state);
	thisnode_is_empty();
	kernel_allocators();
	if (blocks_by_sysfs())
		neighbour();
	policies(opted_in);
	numactl();
	hugetlb();
	huge_pages();
	page_cache();
	fork_storm();
	daemons();
	cpusets();
	out_of_memory();
}

static void set_up(void)
{
	long total, commit_limit;
	char before[32];

	need(npt_range(NPT_TAKE, CARD, 0) == 0, "the memory module can be taken away");
	snprintf(before, sizeof(before), "%s", read_file(AUTO_ONLINE));
	need(write_file(AUTO_ONLINE, "online_movable") == 0, "new memory comes online");
	need(module_half(NPT_RESTORE, OTHER, false) == 0 && all_blocks(OTHER, "online"),
	     "half of it can be ordinary memory, online");
	write_file(AUTO_ONLINE, before);
	total = meminfo_kb("MemTotal:");
	commit_limit = meminfo_kb("CommitLimit:");
	need(module_half(NPT_ADD, CARD, true) == 0, "the other half can be a private node");
	stays_out_of_totals(total, commit_limit);
	unharmed("onlining");
}

int main(void)
{
	struct npt_alloc held = { .nid = CARD, .how = NPT_PRIVATE, .order = 0, .count = 1000 };
	size_t length = 8 << 20;
	char *memory;

	set_up();
	need(npt_alloc(&held) == 0 && held.ret_on_node == held.count,
	     "1000 pages by __GFP_PRIVATE");
	asked.used = asked.allocated = held.count;
	unharmed("1000 allocations");
	npt_free();
	asked.used = 0;
	unharmed("freeing them");

	attack("nothing opted in", false);
	if (blocks_by_sysfs()) {
		card_by_sysfs(NULL, 0);
		auto_online();
	}

	/* Open to policies and migration, with pages there that must stay the only ones. */
	need(npt_set_ops(CARD, NP_OPS_MIGRATION | NP_OPS_MEMPOLICY) == 0, "set_ops");
	memory = map_anonymous(length);
	need(madvise(memory, length, MADV_NOHUGEPAGE) == 0, "small pages: %m");
	need(bind_to(memory, length, MPOL_BIND, 1UL << CARD, 0) == 0, "mbind");
	fill(memory, length, 7);
	asked.used = length / PAGE;
	asked.allocated += length / PAGE;
	unharmed("8 MiB of it used");
	attack("MIGRATION and MEMPOLICY opted in", true);
	if (blocks_by_sysfs())
		card_by_sysfs(memory, length);
	ok(filled(memory, length, 7), "what was there is as it was");
	munmap(memory, length);
	asked.used = 0;
	unharmed("the end");
	return done();
}
