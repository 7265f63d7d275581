/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where pages go that have to leave a card: each to where it belongs, by the policy of its
 * memory or by the cpuset of its cgroup. Needs a second node of ordinary memory, node 1.
 */
#include "cram.h"

#include <numaif.h>
#include <stdio.h>
#include <stdlib.h>
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

	if (a->map) {
		a->memory = a->map(LENGTH);
	} else {
		a->memory = map_shared(LENGTH, &fd);
		close(fd);
	}
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

static bool has_shrunk(const void *size)
{
	return card_value("physical-size") == *(const uint64_t *)size;
}

/*
 * Who has most on the card has nowhere to go, and others can
 */

/* Memory of a cgroup's own on the card, that belongs on one node. */
static char *of_cgroup(const char *cgroup, size_t length, int home)
{
	char *memory = map_anonymous(length);

	enter_cgroup(cgroup);
	need(write_cgroup(cgroup, "memory.cram.max", "max") == 0 &&
		     madvise(memory, length, MADV_NOHUGEPAGE) == 0 &&
		     bind_to(memory, length, MPOL_BIND, 1UL << home | 1UL << cram_nid, 0) == 0,
	     "memory of cgroup %s: %m", cgroup);
	pack(memory, length, length, RATIO);
	leave_cgroup();
	for (int i = 0; i < 100 && pages_on(memory, length, cram_nid) < length / PAGE; i++) {
		for (size_t at = 0; at < length; at += LENGTH)
			move_to(memory + at, LENGTH, cram_nid);
		usleep(100000);
	}
	need(pages_on(memory, length, cram_nid) == length / PAGE, "all of cgroup %s's is there",
	     cgroup);
	return memory;
}

static long free_pages(int nid)
{
	char path[64];
	long kb;

	snprintf(path, sizeof(path), "/sys/devices/system/node/node%d/meminfo", nid);
	need(sscanf(strstr(read_file(path), "MemFree:"), "MemFree: %ld", &kb) == 1, "%s", path);
	return kb / 4;
}

/* Pages, in all zones of a node. */
static long low_watermark(int nid)
{
	const char *at = read_file("/proc/zoneinfo");
	char head[32];
	long low = 0;

	for (snprintf(head, sizeof(head), "Node %d, zone", nid); (at = strstr(at, head)); at++)
		low += atol(strstr(at, " low ") + strlen(" low "));
	return low;
}

/* Whoever keeps to its low watermark finds nothing on the node. */
static void use_up(int nid)
{
	const long stop = low_watermark(nid);

	need(write_file("/proc/sys/vm/drop_caches", "3") == 0, "nothing to reclaim");
	while (free_pages(nid) > stop) {
		const size_t length = free_pages(nid) > stop + 2048 ? 4 * MIB : PAGE;
		char *memory = map_anonymous(length);

		need(bind_to(memory, length, MPOL_BIND, 1UL << nid, 0) == 0 &&
			     mlock(memory, length) == 0,
		     "locked on node %d: %m", nid);
	}
}

static void who_cannot_leave_keeps_nobody(void)
{
	const size_t most = 6 * LENGTH, less = 4 * LENGTH;
	const uint64_t size = 32 * MIB;
	char *stays, *goes;

	card_resize(128 * MIB, true);
	need(cram_empties(20) && cram_becomes("normal", 20), "a card that is empty again");
	stays = of_cgroup("cram-stays", most, OTHER);
	goes = of_cgroup("cram-goes", less, HOME);
	use_up(OTHER);
	card_resize(size, false);
	ok(eventually(60, has_shrunk, &size), "the card shrinks though who has most cannot leave");
	ok(pages_on(stays, most, cram_nid) > pages_on(goes, less, cram_nid) &&
		   pages_on(goes, less, HOME) > 0,
	   "for others leave (%zu and %zu pages are left)", pages_on(stays, most, cram_nid),
	   pages_on(goes, less, cram_nid));
	ok(packed(stays, most, most, RATIO) && packed(goes, less, less, RATIO),
	   "both are what they were");
}

int main(void)
{
	const uint64_t size = 4 * MIB;
	char mems[16];

	cram_up();
	khugepaged_sleeps();
	need(node_in("has_memory", OTHER), "node 1 is ordinary memory");
	/* Else processors keep thousands of free pages back, which a full node has of a sudden. */
	need(write_file("/proc/sys/vm/percpu_pagelist_high_fraction", "65536") == 0,
	     "processors keep few free pages: %m");
	write_file("/sys/fs/cgroup/cgroup.subtree_control", "+memory +cpuset");
	enter_cgroup(GROUP);
	leave_cgroup();
	snprintf(mems, sizeof(mems), "%d,%d", OTHER, cram_nid);
	need(write_cgroup(GROUP, "cpuset.mems", mems) == 0 &&
		     write_cgroup(GROUP, "memory.cram.max", "max") == 0,
	     "a cgroup of node 1: %m");
	for (size_t i = 0; i < COUNT(areas); i++)
		map_area(&areas[i]);
	card_resize(size, false);
	ok(eventually(60, has_shrunk, &size), "the card shrinks, and most has to go");
	for (size_t i = 0; i < COUNT(areas); i++) {
		const struct area *a = &areas[i];
		const size_t left = pages_on(a->memory, LENGTH, cram_nid);
		const size_t home = pages_on(a->memory, LENGTH, a->home);

		ok(home > 0 && left + home == LENGTH / PAGE,
		   "%s: go home (%zu left, %zu at home, %zu on node 0)", a->name, left, home,
		   pages_on(a->memory, LENGTH, HOME));
		ok(packed(a->memory, LENGTH, (uint64_t)a->home + 7, RATIO),
		   "%s: are what they were", a->name);
		munmap(a->memory, LENGTH);
	}
	who_cannot_leave_keeps_nobody();
	ok(card_value("over-capacity-pages") == 0, "the card has lost nothing");
	return done();
}
