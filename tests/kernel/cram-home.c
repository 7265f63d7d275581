/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where pages go that have to leave a card: each to where it belongs, by the policy of its
 * memory or by the cpuset of its cgroup. Needs a second node of ordinary memory, node 1.
 */
#include "cram.h"

#include <numaif.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "card.h"

#define MIB    (1UL << 20)
#define LENGTH (4 * MIB)
#define OTHER  1 /* HOME is the other */
#define RATIO  1

static struct area {
	const char *name;
	void *(*map)(size_t length);
	int home;
	bool by_policy; /* else by its cgroup */
	char *memory;
} areas[] = {
	/* First: to change cgroups changes policies. */
	{ "what a cgroup of node 1 has", map_anonymous, OTHER, false, NULL },
	{ "small pages of node 1", map_anonymous, OTHER, true, NULL },
	{ "huge pages of node 1", map_huge, OTHER, true, NULL },
	{ "small pages of node 0", map_anonymous, HOME, true, NULL },
	{ "a file of node 1", NULL, OTHER, true, NULL },
};

#define GROUP "cram-home"

static void map_area(struct area *a)
{
	const unsigned long nodes = 1UL << a->home | 1UL << cram_nid;
	int fd;

	a->memory = a->map ? a->map(LENGTH) : map_shared(LENGTH, &fd);
	if (a->map == map_anonymous)
		need(madvise(a->memory, LENGTH, MADV_NOHUGEPAGE) == 0, "small pages: %m");
	if (a->by_policy)
		need(bind_to(a->memory, LENGTH, MPOL_BIND, nodes, 0) == 0, "%s: mbind: %m",
		     a->name);
	else
		enter_cgroup(GROUP);
	pack(a->memory, LENGTH, (uint64_t)a->home + 7, RATIO);
	if (!a->by_policy)
		leave_cgroup();
	for (int i = 0; i < 50 && pages_on(a->memory, LENGTH, cram_nid) < LENGTH / PAGE; i++) {
		move_to(a->memory, LENGTH, cram_nid);
		usleep(100000);
	}
	need(pages_on(a->memory, LENGTH, cram_nid) == LENGTH / PAGE, "%s: are there", a->name);
}

static bool has_shrunk(const void *unused)
{
	(void)unused;
	return card_value("physical-size") == 4 * MIB;
}

int main(void)
{
	char mems[16];

	cram_up();
	khugepaged_sleeps();
	need(node_in("has_memory", OTHER), "node 1 is ordinary memory");
	write_file("/sys/fs/cgroup/cgroup.subtree_control", "+memory +cpuset");
	enter_cgroup(GROUP);
	leave_cgroup();
	snprintf(mems, sizeof(mems), "%d,%d", OTHER, cram_nid);
	need(write_cgroup(GROUP, "cpuset.mems", mems) == 0 &&
		     write_cgroup(GROUP, "memory.cram.max", "max") == 0,
	     "a cgroup of node 1: %m");
	for (size_t i = 0; i < COUNT(areas); i++)
		map_area(&areas[i]);
	card_resize(4 * MIB, false);
	ok(eventually(60, has_shrunk, NULL), "the card shrinks, and most has to go");
	for (size_t i = 0; i < COUNT(areas); i++) {
		const struct area *a = &areas[i];
		const size_t left = pages_on(a->memory, LENGTH, cram_nid);
		const size_t home = pages_on(a->memory, LENGTH, a->home);

		ok(home > 0 && left + home == LENGTH / PAGE,
		   "%s: go home (%zu left, %zu at home, %zu on node 0)", a->name, left, home,
		   pages_on(a->memory, LENGTH, HOME));
		ok(packed(a->memory, LENGTH, (uint64_t)a->home + 7, RATIO),
		   "%s: are what they were", a->name);
	}
	ok(card_value("over-capacity-pages") == 0, "the card has lost nothing");
	return done();
}
