/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How much of a VM is where, while it is being moved: the last reading of placement and what was
 * measured to have moved since.
 */
#pragma once

#include "host.h"

/*
 * Where each of @n pages (at most PAGES_PER_RANGE) of @block from @addr on is: sense/where.h, and
 * for a VM that swap is the tier of, sense/swapped.h.
 */
int vm_pages_where(const struct host *host, const struct vm *vm, const struct ramblock *block,
		   uint64_t addr, size_t n, int *ret_nodes);

/*
 * Takes vm->placing, or gives up after @ms: -ETIMEDOUT, it may be held for a process that is stuck.
 * A move waits for one look at most, however many more are due.
 */
int vm_placing_tries(struct vm *vm, uint32_t ms);
void vm_placing_ends(struct vm *vm);

/* What @error, negative, of a move or a look says about a VM's memory. */
const char *vm_trouble_text(int error);

/*
 * Begins a move of the pages of one range: at most @bytes to the tier (positive) or from it
 * (negative) are in neither place for certain until it has ended. vm->placing is held.
 */
void vm_move_begins(struct vm *vm, int64_t bytes);
/* What was measured to have moved. vm->lock and vm->placing are held. */
void vm_moved(struct vm *vm, int64_t bytes);
/* The same of @bytes that went from the tier to swap. */
void vm_shed(struct vm *vm, uint64_t bytes);
void vm_move_ends(struct vm *vm);

/*
 * Bytes on nodes of @tier_nodes: as last read and what was moved since, with what may be on its way
 * there. vm->lock is held.
 */
uint64_t vm_tier_bytes(const struct vm *vm, uint64_t tier_nodes);
uint64_t vm_dram_bytes(const struct vm *vm, uint64_t tier_nodes);
/* Is that a reading nothing has disturbed, begun after the last order and job? vm->lock is held. */
bool vm_settled(const struct vm *vm);

/*
 * Takes a reading of placement, @node_bytes, that began when the counters were @before. vm->lock is
 * held.
 */
void vm_take_placement(struct vm *vm, const uint64_t *node_bytes, uint64_t tier_nodes,
		       const struct vm_counters *before);
