/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Compressed swap, as the host has it: whether it takes pages, and what it takes of DRAM. What one
 * VM has there: cgroup.h, where.h.
 */
#pragma once

#include "sysroot.h"

struct zswap {
	char why[192]; /* why nothing can go there; empty: it can */
	char compressor[32];
	uint64_t limit;	    /* bytes of DRAM below which it always takes pages */
	uint64_t pool;	    /* bytes of DRAM that it takes now */
	uint64_t swap_free; /* bytes: each page keeps a place in swap, used or not */
};

/* Is what is swapped compressed into a pool in DRAM first? */
bool zswap_is_on(const struct sysroot *root);
/* Tells what it finds, be it that there is none. */
void zswap_read(const struct sysroot *root, struct zswap *ret_zswap);
