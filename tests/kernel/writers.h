/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The table of the write fence: every way to write a byte to memory, times every kind of
 * memory. Whoever writes and however, the page is at home before the byte is in it, no
 * other page is touched, and whoever else has the memory sees what he is to see. A judge
 * says whether a frame of the node was written to, which memory itself cannot tell.
 */
#ifndef TESTS_KERNEL_WRITERS_H
#define TESTS_KERNEL_WRITERS_H

#include <stdbool.h>
#include <stddef.h>

struct judge {
	/* So much is about to be moved to the node. */
	void (*before)(size_t length);
	/* It is there, and will be written to. */
	void (*begin)(const char *memory, size_t length);
	/* It has been. */
	void (*end)(const char *what, const char *memory, size_t length);
};

/*
 * All of the table on a node that is open to RECLAIM, or the one row with that name ("KIND,
 * WAY"); returns how many rows that were. Needs swap, and a disk of a MiB, /dev/loop0, see
 * writers_disk().
 */
size_t write_all_ways(int nid, const struct judge *judge, const char *only);
void writers_disk(void);

/* Are the pages what fill() with seed 5 made them, but for one byte? */
bool filled_but(const char *memory, size_t length, size_t at, char byte);

#endif
