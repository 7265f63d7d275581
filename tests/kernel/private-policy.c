/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Every memory policy and migration call with every mixture of ordinary,
 * private and absent nodes does what docs/design/private-nodes.md says. The tables
 * there are what is checked: each combination must be a row, and must do what
 * its row says, for anonymous memory, huge pages and shared memory alike.
 *
 *   private-policy DOCUMENT     walks the tables
 *   private-policy --print      prints what the kernel does, to be read by a person
 */
#include "private-node.h"

#include <errno.h>
#include <numaif.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef MPOL_F_STATIC_NODES
#define MPOL_F_STATIC_NODES   (1 << 15)
#define MPOL_F_RELATIVE_NODES (1 << 14)
#endif

#define ABSENT 5 /* possible nowhere on this machine */

enum kind {
	ANONYMOUS,
	HUGE_PAGE,
	SHARED,
	KINDS
};

static const char *const KIND[KINDS] = { "anonymous", "huge page", "shared" };

static const struct {
	const char *name;
	int mode;
} MODES[] = {
	{ "DEFAULT", MPOL_DEFAULT },
	{ "LOCAL", MPOL_LOCAL },
	{ "PREFERRED", MPOL_PREFERRED },
	{ "PREFERRED_MANY", 5 },
	{ "INTERLEAVE", MPOL_INTERLEAVE },
	{ "WEIGHTED_INTERLEAVE", 6 },
	{ "BIND", MPOL_BIND },
	{ "BIND static", MPOL_BIND | MPOL_F_STATIC_NODES },
	{ "BIND relative", MPOL_BIND | MPOL_F_RELATIVE_NODES },
	{ "INTERLEAVE static", MPOL_INTERLEAVE | MPOL_F_STATIC_NODES },
};

static const struct {
	const char *name;
	unsigned long mask;
} MASKS[] = {
	{ "none", 0 },
	{ "home", 1UL << HOME },
	{ "other", 1UL << OTHER },
	{ "card", 1UL << CARD },
	{ "home card", 1UL << HOME | 1UL << CARD },
	{ "absent", 1UL << ABSENT },
	{ "home absent", 1UL << HOME | 1UL << ABSENT },
	{ "card absent", 1UL << CARD | 1UL << ABSENT },
	{ "other card", 1UL << OTHER | 1UL << CARD },
	{ "home card absent", 1UL << HOME | 1UL << CARD | 1UL << ABSENT },
};

static const char *place(int nid)
{
	switch (nid) {
	case HOME:
		return "home";
	case OTHER:
		return "other";
	case CARD:
		return "card";
	default:
		return nid < 0 ? strerrorname_np(-nid) : "?";
	}
}

static const char *result(long rc)
{
	return rc ? strerrorname_np((int)-rc) : "0";
}

static const char *mask_name(unsigned long mask)
{
	static char name[64];

	snprintf(name, sizeof(name), "%s%s%s%s%s", mask ? "" : "none ",
		 mask & 1UL << HOME ? "home " : "", mask & 1UL << OTHER ? "other " : "",
		 mask & 1UL << CARD ? "card " : "", mask & 1UL << ABSENT ? "absent " : "");
	name[strlen(name) - 1] = '\0';
	return name;
}

static char *map(enum kind kind)
{
	switch (kind) {
	case SHARED:
		return map_shared(HUGE, NULL);
	case HUGE_PAGE:
		return map_huge(HUGE);
	default:
		return map_anonymous(HUGE);
	}
}

/* A fresh page on a node. */
static char *page_on(enum kind kind, int nid)
{
	size_t length = kind == HUGE_PAGE ? HUGE : PAGE;
	char *memory = map(kind);

	fill(memory, length, 3);
	need(move_to(memory, length, nid) == 0 && node_of(memory) == nid, "%s: a page on node %d",
	     KIND[kind], nid);
	return memory;
}

/* mbind of a page that is on a node: what it returns and where the page is then. */
static void bind_present(char *cell, size_t size, enum kind kind, int mode, unsigned long mask,
			 unsigned int flags, int nid)
{
	char *memory = page_on(kind, nid);
	long rc = bind_to(memory, HUGE, mode, mask, flags);

	snprintf(cell, size, "%s, %s", result(rc), place(node_of(memory)));
	if (!filled(memory, PAGE, 3))
		snprintf(cell, size, "corrupted");
}

static void row_mbind(char *row, size_t size, enum kind kind, size_t mode, size_t mask)
{
	static const unsigned int FLAGS[] = { MPOL_MF_STRICT, MPOL_MF_MOVE,
					      MPOL_MF_MOVE | MPOL_MF_STRICT };
	char cells[2][3][48], readback[80] = "unchanged", touched[32] = "home";
	unsigned long got = 0;
	int got_mode;
	char *memory = map(kind);
	long rc = bind_to(memory, HUGE, MODES[mode].mode, MASKS[mask].mask, 0);

	need(get_mempolicy(&got_mode, &got, 64, memory, MPOL_F_ADDR) == 0, "get_mempolicy: %m");
	if (!rc)
		snprintf(readback, sizeof(readback), "%s", mask_name(got));
	else if (got || got_mode != MPOL_DEFAULT)
		snprintf(readback, sizeof(readback), "changed");
	memory[0] = 1;
	snprintf(touched, sizeof(touched), "%s", place(node_of(memory)));
	for (int on = 0; on < 2; on++)
		for (size_t f = 0; f < COUNT(FLAGS); f++)
			bind_present(cells[on][f], sizeof(cells[on][f]), kind, MODES[mode].mode,
				     MASKS[mask].mask, FLAGS[f], on ? CARD : HOME);
	snprintf(row, size, "| mbind | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s |",
		 MODES[mode].name, MASKS[mask].name, result(rc), readback, touched, cells[0][0],
		 cells[0][1], cells[0][2], cells[1][0], cells[1][1], cells[1][2]);
}

static void row_set_mempolicy(char *row, size_t size, enum kind kind, size_t mode, size_t mask)
{
	unsigned long got = 0, nodes = MASKS[mask].mask;
	int got_mode;
	char *memory;
	long rc =
		set_mempolicy(MODES[mode].mode, nodes ? &nodes : NULL, nodes ? 65 : 0) ? -errno : 0;

	need(get_mempolicy(&got_mode, &got, 64, NULL, 0) == 0, "get_mempolicy: %m");
	if (rc && (got || got_mode != MPOL_DEFAULT))
		got = ~0UL;
	memory = map(kind);
	memory[0] = 1;
	snprintf(row, size, "| set_mempolicy | %s | %s | %s | %s | %s |", MODES[mode].name,
		 MASKS[mask].name, result(rc), rc ? got ? "changed" : "unchanged" : mask_name(got),
		 place(node_of(memory)));
	set_mempolicy(MPOL_DEFAULT, NULL, 0);
}

static const struct {
	const char *name;
	int nid;
} TARGETS[] = { { "home", HOME },     { "other", OTHER }, { "card", CARD },
		{ "absent", ABSENT }, { "-1", -1 },	  { "9999", 9999 } };

static void row_move_pages(char *row, size_t size, enum kind kind, size_t target, size_t from)
{
	char *memory = from == 2 ? map(kind) : page_on(kind, from ? CARD : HOME);
	long rc = move_to(memory, PAGE, TARGETS[target].nid);

	snprintf(row, size, "| move_pages | %s | %s | %s | %s |",
		 from == 2 ? "untouched"
		 : from	   ? "card"
			   : "home",
		 TARGETS[target].name, result(rc), place(node_of(memory)));
}

/* migrate_pages moves all of a process, so each case is a process. */
static void row_migrate_pages(char *row, size_t size, enum kind kind, size_t from, size_t to)
{
	char *there = page_on(kind, CARD), *here = page_on(kind, HOME);
	unsigned long old_nodes = MASKS[from].mask, new_nodes = MASKS[to].mask;
	long rc = syscall(SYS_migrate_pages, 0, 65, &old_nodes, &new_nodes);

	/* A positive number is of pages that stayed, of all the process has. */
	snprintf(row, size, "| migrate_pages | %s | %s | %s | %s | %s |", MASKS[from].name,
		 MASKS[to].name, rc < 0 ? strerrorname_np(errno) : "0", place(node_of(here)),
		 place(node_of(there)));
}

static void row_home_node(char *row, size_t size, enum kind kind, size_t target, size_t unused)
{
	char *memory = map(kind);
	long rc;

	(void)unused;
	need(bind_to(memory, HUGE, MPOL_BIND, 1UL << HOME | 1UL << OTHER, 0) == 0, "mbind");
	rc = syscall(SYS_set_mempolicy_home_node, memory, PAGE, TARGETS[target].nid, 0) ? -errno
											: 0;
	memory[0] = 1;
	snprintf(row, size, "| set_mempolicy_home_node | %s | %s | %s |", TARGETS[target].name,
		 result(rc), place(node_of(memory)));
}

static const struct {
	const char *name;
	void (*row)(char *row, size_t size, enum kind kind, size_t a, size_t b);
	size_t a, b;
} CALLS[] = {
	{ "mbind", row_mbind, COUNT(MODES), COUNT(MASKS) },
	{ "set_mempolicy", row_set_mempolicy, COUNT(MODES), COUNT(MASKS) },
	{ "move_pages", row_move_pages, COUNT(TARGETS), 3 },
	{ "migrate_pages", row_migrate_pages, COUNT(MASKS), COUNT(MASKS) },
	{ "set_mempolicy_home_node", row_home_node, COUNT(TARGETS), 1 },
};

/* In a child of its own, so that nothing of one case is left for the next. */
static void observe(char *row, size_t size, size_t call, enum kind kind, size_t a, size_t b)
{
	int fds[2], status;
	ssize_t length;
	pid_t pid;

	need(pipe(fds) == 0, "a pipe: %m");
	pid = fork();
	if (pid == 0) {
		CALLS[call].row(row, size, kind, a, b);
		if (write(fds[1], row, strlen(row)) < 0)
			_exit(EXIT_FAILURE);
		_exit(EXIT_SUCCESS);
	}
	close(fds[1]);
	length = read(fds[0], row, size - 1);
	close(fds[0]);
	need(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0 && length > 0,
	     "%s: a case runs to its end", CALLS[call].name);
	row[length] = '\0';
}

static bool documented(const char *document, const char *row)
{
	const char *at = strstr(document, row);

	return at && at[strlen(row)] == '\n' && (at == document || at[-1] == '\n');
}

/* The mask of the policy that a mapping has. */
static unsigned long policy_of(void *memory)
{
	unsigned long mask = 0;
	int mode;

	need(get_mempolicy(&mode, &mask, 65, memory, MPOL_F_ADDR) == 0, "get_mempolicy: %m");
	return mask;
}

/* No cpuset, and no coming and going of the card, makes another policy of one. */
static void policies_stay_what_they_are(void)
{
	char *memory = map_anonymous(HUGE);

	enter_cgroup("policies");
	need(write_cgroup("policies", "cpuset.mems", "1-2") == 0, "a cpuset without home");
	ok(bind_to(memory, HUGE, MPOL_BIND, 1UL << HOME | 1UL << CARD, 0) == -EINVAL &&
		   bind_to(memory, HUGE, MPOL_BIND | MPOL_F_STATIC_NODES, 1UL << HOME | 1UL << CARD,
			   0) == -EINVAL,
	   "mbind to {home, card} is refused where home is not allowed");
	need(bind_to(memory, HUGE, MPOL_BIND, 1UL << CARD, 0) == 0, "mbind to the card");
	need(npt_range(NPT_REMOVE, CARD, 0) == 0, "the card can go");
	need(write_cgroup("policies", "cpuset.mems", "0-1") == 0, "another cpuset");
	need(npt_range(NPT_ADD, CARD, 0) == 0 &&
		     npt_set_ops(CARD, NP_OPS_MIGRATION | NP_OPS_MEMPOLICY) == 0,
	     "the card can come back");
	need(write_cgroup("policies", "cpuset.mems", "0-2") == 0, "another cpuset");
	ok(policy_of(memory) == 1UL << CARD,
	   "a policy of the card alone outlasts the card and changes of the cpuset (%#lx)",
	   policy_of(memory));
	fill(memory, HUGE, 5);
	ok(pages_on(memory, HUGE, CARD) == HUGE / PAGE, "and is served there again");
	munmap(memory, HUGE);
	leave_cgroup();
}

/* Of a file, whose parts may have policies, and of System V memory, which may not move. */
static void locked_shared_memory(void)
{
	const size_t half = 16 * PAGE;
	int fd, id = shmget(IPC_PRIVATE, half, IPC_CREAT | 0600);
	char *memory = map_shared(2 * half, &fd), *again, *segment;

	need(bind_to(memory, half, MPOL_BIND, 1UL << HOME, 0) == 0 &&
		     bind_to(memory + half, half, MPOL_BIND, 1UL << OTHER, 0) == 0,
	     "policies for parts of a file");
	fill(memory, 2 * half, 5);
	need(move_to(memory, 2 * half, CARD) == 0 &&
		     pages_on(memory, 2 * half, CARD) == 2 * half / PAGE,
	     "shared memory on the card");
	again = mmap(NULL, 2 * half, PROT_READ, MAP_SHARED, fd, 0);
	need(again != MAP_FAILED, "a second mapping: %m");
	ok(mlock(again, 2 * half) == 0 && pages_on(again, half, HOME) == half / PAGE &&
		   pages_on(again + half, half, OTHER) == half / PAGE,
	   "mlock brings each part of a file to the nodes of its own policy");
	ok(filled(again, 2 * half, 5), "unchanged");
	munmap(again, 2 * half);
	munmap(memory, 2 * half);
	close(fd);

	need(id >= 0 && (segment = shmat(id, NULL, 0)) != (void *)-1, "a segment: %m");
	fill(segment, half, 5);
	need(shmctl(id, SHM_LOCK, NULL) == 0, "SHM_LOCK: %m");
	move_to(segment, half, CARD);
	ok(pages_on(segment, half, CARD) == 0, "pages under SHM_LOCK do not go to the card");
	need(shmctl(id, SHM_UNLOCK, NULL) == 0, "SHM_UNLOCK: %m");
	ok(move_to(segment, half, CARD) == 0 && pages_on(segment, half, CARD) == half / PAGE,
	   "unlocked, they do");
	shmdt(segment);
	shmctl(id, IPC_RMID, NULL);
}

/* Memory of the kernel's own is never there, also if it is shmem that a policy covers. */
static void kernel_files(void)
{
	const size_t length = 64 * PAGE;

	for (int movable = 1; movable >= 0; movable--) {
		int fd = npt_file(length, movable);
		char *file = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

		need(fd >= 0 && file != MAP_FAILED, "a file of the kernel's: %m");
		need(bind_to(file, length, MPOL_BIND, 1UL << CARD, 0) == 0, "mbind: %m");
		fill(file, length, 5);
		ok(pages_on(file, length, movable ? CARD : HOME) == length / PAGE,
		   "first touch of a file %s",
		   movable ? "for users, by policy, is on the card"
			   : "that the kernel has for itself is at home");
		move_to(file, length, HOME);
		move_to(file, length, CARD);
		ok(pages_on(file, length, movable ? CARD : HOME) == length / PAGE &&
			   filled(file, length, 5),
		   movable ? "and it can be moved there" : "and it cannot be moved there");
		munmap(file, length);
		close(fd);
	}
}

/* All tasks share the lock of cpusets. Only kernels that check locks tell who takes it. */
static void first_touch_takes_no_lock_of_all(void)
{
	const char *const event = "lock/lock_acquire", *filter = "name == \"callback_lock\"";
	const unsigned long card = 1UL << CARD;
	const size_t length = 64 * PAGE;
	char *memory;

	if (!has_trace_event(event)) {
		note("this kernel does not tell which locks are taken");
		return;
	}
	memory = map_anonymous(length);
	need(madvise(memory, length, MADV_NOHUGEPAGE) == 0, "small pages: %m");
	trace_begin(event, filter);
	need(mbind(memory, length, MPOL_BIND, &card, 8 * sizeof(card), 0) == 0, "mbind: %m");
	need(strstr(trace_end(), "callback_lock"), "that mbind() takes it is seen");
	trace_begin(event, filter);
	for (size_t at = 0; at < length; at += PAGE)
		memory[at] = 1;
	ok(!strstr(trace_end(), "callback_lock") && pages_on(memory, length, CARD) == length / PAGE,
	   "first touch takes no lock that all tasks share");
	munmap(memory, length);
}

int main(int argc, char **argv)
{
	bool print = argc > 1 && !strcmp(argv[1], "--print");
	const char *document = argc > 1 && !print ? read_file(argv[1]) : "";
	char row[KINDS][512];

	need(argc == 2, "usage: private-policy DOCUMENT | --print");
	need(print || *document, "%s can be read", argv[1]);
	/* read_file() reuses its buffers. */
	document = strdup(document);
	card_private();
	need(npt_set_ops(CARD, NP_OPS_MIGRATION | NP_OPS_MEMPOLICY) == 0,
	     "set_ops(MIGRATION | MEMPOLICY)");

	for (size_t call = 0; call < COUNT(CALLS); call++) {
		size_t cases = 0, wrong = 0;

		for (size_t a = 0; a < CALLS[call].a; a++) {
			for (size_t b = 0; b < CALLS[call].b; b++, cases++) {
				for (enum kind kind = 0; kind < KINDS; kind++)
					observe(row[kind], sizeof(row[kind]), call, kind, a, b);
				if (print)
					printf("%s\n", row[0]);
				for (enum kind kind = 0; kind < KINDS; kind++) {
					if (kind && !strcmp(row[0], row[kind]))
						continue;
					if (print ? !kind : documented(document, row[kind]))
						continue;
					wrong++;
					note("%s: not documented: %s", KIND[kind], row[kind]);
				}
			}
		}
		ok(!wrong, "%s does what is documented, in %zu cases of %d kinds of memory",
		   CALLS[call].name, cases, KINDS);
	}
	if (!print) {
		policies_stay_what_they_are();
		locked_shared_memory();
		kernel_files();
		first_touch_takes_no_lock_of_all();
	}
	ok(used_pages(CARD) == 0, "in the end nothing is left on the private node");
	return done();
}
