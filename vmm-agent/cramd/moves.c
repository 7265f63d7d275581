// SPDX-License-Identifier: GPL-2.0-or-later
/* Placement and moves, accounted for; see moves.h. */
#include "moves.h"

#include <errno.h>
#include <string.h>

#include "sense/where.h"

int vm_pages_where(const struct host *host, const struct vm *vm, const struct ramblock *block,
		   uint64_t addr, size_t n, int *ret_nodes)
{
	bool absent = false;
	int r = pages_where(host->kernel, vm->pid, addr, n, ret_nodes);

	for (size_t i = 0; r == 0 && i < n; i++)
		absent |= ret_nodes[i] < 0;
	if (r < 0 || !absent || !block->memfd || !atomic_load(&vm->on_swap))
		return r;
	return host->kernel->swapped_where(&host->root, vm->pid, block, addr, n, ret_nodes);
}

int vm_placing_tries(struct vm *vm, uint32_t ms)
{
	struct timespec until = monotonic_after(ms);
	int r;

	r = pthread_mutex_clocklock(&vm->placing_next, CLOCK_MONOTONIC, &until);
	if (r)
		return -r;
	r = pthread_mutex_clocklock(&vm->placing, CLOCK_MONOTONIC, &until);
	pthread_mutex_unlock(&vm->placing_next);
	return -r;
}

void vm_placing_ends(struct vm *vm)
{
	pthread_mutex_unlock(&vm->placing);
}

const char *vm_trouble_text(int error)
{
	switch (error) {
	case -ETIMEDOUT:
		return "its process keeps its memory map locked";
	case -EAGAIN:
		return "the NUMA policy of its memory is not known yet";
	case -ESTALE:
		return "its memory is not where its command line and its memory map had it";
	case -ENODEV:
		return "the node is not online";
	default:
		return strerror(-error);
	}
}

void vm_move_begins(struct vm *vm, int64_t bytes)
{
	pthread_mutex_lock(&vm->lock);
	vm->under_way = bytes;
	pthread_mutex_unlock(&vm->lock);
}

void vm_moved(struct vm *vm, int64_t bytes)
{
	if (bytes > 0)
		vm->counters.demoted += (uint64_t)bytes;
	else
		vm->counters.promoted += (uint64_t)-bytes;
	vm->moved_since += bytes;
	vm->under_way = 0;
}

void vm_shed(struct vm *vm, uint64_t bytes)
{
	vm->counters.shed += bytes;
	vm->moved_since -= (int64_t)bytes;
	vm->shed_since += bytes;
	vm->under_way = 0;
}

void vm_move_ends(struct vm *vm)
{
	pthread_mutex_lock(&vm->lock);
	vm->under_way = 0;
	pthread_mutex_unlock(&vm->lock);
}

static int64_t bytes_on(const uint64_t *node_bytes, uint64_t nodes)
{
	int64_t bytes = 0;

	for (int nid = 0; nid < NODES_MAX; nid++)
		if (nodes & UINT64_C(1) << nid)
			bytes += (int64_t)node_bytes[nid];
	return bytes;
}

/* Memory on its way out counts as there already, memory on its way home as not yet home. */
static int64_t moved(const struct vm *vm)
{
	return vm->moved_since + (vm->under_way > 0 ? vm->under_way : 0);
}

uint64_t vm_tier_bytes(const struct vm *vm, uint64_t tier_nodes)
{
	int64_t bytes = bytes_on(vm->node_bytes, tier_nodes) + moved(vm);

	return bytes > 0 ? (uint64_t)bytes : 0;
}

uint64_t vm_dram_bytes(const struct vm *vm, uint64_t tier_nodes)
{
	int64_t bytes = bytes_on(vm->node_bytes, ~tier_nodes) - moved(vm) - (int64_t)vm->shed_since;

	return bytes > 0 ? (uint64_t)bytes : 0;
}

bool vm_settled(const struct vm *vm)
{
	if (atomic_load(&vm->busy))
		return false;
	/* What RAM it has is unknown: this agent moved nothing. */
	if (!vm->blocks.n)
		return true;
	return vm->placed_ms && vm->settled_jobs == vm->jobs_ended &&
	       vm->settled_epoch == atomic_load(&vm->epoch);
}

/*
 * Reading placement takes a while, and pages may be moved meanwhile: @before are the counters when
 * it began. What was moved then, the reading may have seen in the old place, in the new one, or,
 * while the kernel had it in hand, in neither. So where moves overlapped a reading, what was known
 * before and was measured move by move stays, as far as the reading leaves room for it.
 */
void vm_take_placement(struct vm *vm, const uint64_t *node_bytes, uint64_t tier_nodes,
		       const struct vm_counters *before)
{
	int64_t known = bytes_on(vm->node_bytes, tier_nodes) + vm->moved_since;
	int64_t unseen = known - bytes_on(node_bytes, tier_nodes);
	int64_t most = (int64_t)(vm->counters.demoted - before->demoted);
	uint64_t shed = vm->counters.shed - before->shed;
	int64_t least = -(int64_t)(vm->counters.promoted - before->promoted + shed);

	if (vm->under_way > 0)
		least -= vm->under_way;
	else
		most -= vm->under_way;
	memcpy(vm->node_bytes, node_bytes, sizeof(vm->node_bytes));
	vm->moved_since = unseen > most ? most : unseen < least ? least : unseen;
	/* Of what the reading has still on the tier, at most. */
	unseen = vm->moved_since < 0 ? -vm->moved_since : 0;
	vm->shed_since = shed < (uint64_t)unseen ? shed : (uint64_t)unseen;
}
