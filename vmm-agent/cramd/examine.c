// SPDX-License-Identifier: GPL-2.0-or-later
/* What may change while a VM runs; see examine.h. */
#include "examine.h"

#include <errno.h>
#include <string.h>

#include "host.h"
#include "moves.h"
#include "policy/saturate.h"
#include "sense/swapped.h"
#include "util/cleanup.h"

/* A QEMU's descriptors are read again this often where the kernel does not say how many it has. */
#define FDS_MS 10000
/* And this often where it does and nothing has changed. */
#define FDS_UNCHANGED_MS 60000

struct placement {
	const struct vm *vm;
	uint64_t bytes[NODES_MAX], virtio_mem;
	struct proc_policy policy[RAMBLOCKS_MAX];
	uint64_t mapped[RAMBLOCKS_MAX], swapped[RAMBLOCKS_MAX];
	uint64_t seen; /* mask of blocks */
	bool huge;
};

static int place(const struct proc_numa *numa, void *arg)
{
	struct placement *p = arg;
	size_t n = __atomic_load_n(&p->vm->blocks.n, __ATOMIC_ACQUIRE);

	for (size_t i = 0; i < n; i++) {
		const struct ramblock *block = &p->vm->blocks.v[i];

		if (numa->start < block->start || numa->start >= block->end ||
		    !vm_has_block(p->vm, i))
			continue;
		for (int nid = 0; nid < NODES_MAX; nid++) {
			p->bytes[nid] += numa->pages[nid] * numa->page_size;
			p->mapped[i] += numa->pages[nid] * numa->page_size;
			if (block->virtio_mem)
				p->virtio_mem += numa->pages[nid] * numa->page_size;
		}
		p->huge |= numa->huge;
		if (numa->start == block->start) {
			p->seen |= UINT64_C(1) << i;
			p->policy[i] = numa->policy;
		}
		break;
	}
	return 0;
}

static int place_swapped(const struct proc_swap *swap, void *arg)
{
	struct placement *p = arg;
	size_t n = __atomic_load_n(&p->vm->blocks.n, __ATOMIC_ACQUIRE);

	for (size_t i = 0; i < n; i++) {
		const struct ramblock *block = &p->vm->blocks.v[i];

		if (swap->start >= block->start && swap->start < block->end &&
		    vm_has_block(p->vm, i))
			p->swapped[i] += swap->bytes;
	}
	return 0;
}

/* Where swap is its tier: what is there, and what has come home and not been touched since. */
static int place_unmapped(struct placement *p, const struct examination *e)
{
	size_t n = __atomic_load_n(&p->vm->blocks.n, __ATOMIC_ACQUIRE);
	int r = e->kernel->smaps(e->root, p->vm->pid, place_swapped, p);

	for (size_t i = 0; r == 0 && i < n; i++) {
		const struct ramblock *block = &p->vm->blocks.v[i];
		uint64_t allocated;

		if (!block->memfd || !vm_has_block(p->vm, i))
			continue;
		r = e->kernel->swapped_allocated(e->root, p->vm->pid, block, &allocated);
		if (r < 0)
			return r;
		p->bytes[NODE_SWAP] += p->swapped[i];
		p->bytes[NODE_CACHE] += sub(allocated, add(p->mapped[i], p->swapped[i]));
	}
	return r;
}

/* What the descriptors say. They are listed when their number, or what is locked, has changed. */
static enum vm_ineligible examine_fds(struct vm *vm, const struct examination *e,
				      const struct proc_status *status)
{
	static const char *const files[] = { "/dev/vfio/", "anon_inode:[vfio", "/dev/vhost-vdpa",
					     "anon_inode:[userfaultfd" };
	const uint64_t devices = 7, userfaultfd = 8;
	uint64_t n = 0, found, wait;
	int r;

	if (proc_count_fds(e->root, vm->pid, &n) < 0)
		return VM_NO_ACCESS;
	wait = n ? FDS_UNCHANGED_MS : FDS_MS;
	if (vm->seen.fds_ms && n == vm->seen.fds && status->locked == vm->seen.locked &&
	    status->pinned == vm->seen.pinned && e->now_ms < vm->seen.fds_ms + wait)
		return vm->seen.by_fds;
	r = proc_find_fds(e->root, vm->pid, files, ARRAY_SIZE(files), &found);
	if (r < 0)
		return VM_NO_ACCESS;
	vm->seen.fds = n;
	vm->seen.fds_ms = e->now_ms;
	vm->seen.locked = status->locked;
	vm->seen.pinned = status->pinned;
	vm->seen.by_fds = found & devices	? VM_PINNED
			  : found & userfaultfd ? VM_USERFAULTFD
						: VM_ELIGIBLE;
	return vm->seen.by_fds;
}

/*
 * Has a guest that was started with -incoming begun to run? KVM counts its time; without KVM nobody
 * can tell from outside, and it is left alone.
 */
static bool has_arrived(struct vm *vm, const struct examination *e)
{
	uint64_t ticks;

	if (vm->seen.arrived || !vm->cmdline.incoming)
		return true;
	if (proc_read_guest_time(e->root, vm->pid, &ticks) < 0)
		return false;
	if (vm->seen.begun && ticks > vm->seen.guest_time)
		vm->seen.arrived = true;
	vm->seen.guest_time = ticks;
	vm->seen.begun = true;
	return vm->seen.arrived;
}

static enum vm_ineligible examine_pins(struct vm *vm, const struct examination *e,
				       const struct proc_status *status)
{
	/*
	 * QEMU locks only everything or nothing; a few locked or pinned pages (io_uring rings, AIO)
	 * are common and no obstacle.
	 */
	if (status->locked > vm->ram / 2)
		return VM_LOCKED;
	if (status->pinned > vm->ram / 2)
		return VM_PINNED;
	if (!has_arrived(vm, e))
		return VM_INCOMING;
	return examine_fds(vm, e, status);
}

/* Is the policy found on block @i ours: home and tier, where its QEMU was told no such thing? */
static bool is_ours(const struct vm *vm, const struct placement *p, size_t i, uint64_t tier_nodes)
{
	const struct ramblock *block = &vm->blocks.v[i];

	return block->memfd && p->policy[i].mode == PROC_MPOL_BIND &&
	       (p->policy[i].nodes & tier_nodes) &&
	       !(block->policy.mode == PROC_MPOL_BIND && block->policy.nodes & tier_nodes);
}

/*
 * What was there before ours, @found, when the agent had not begun yet: what QEMU's command line
 * asks for. Of a DIMM that was plugged in later ours tells: it was bound to the homes in it, unless
 * they are all that there are.
 */
static struct proc_policy policy_before(const struct vm *vm, size_t i,
					const struct proc_policy *found, uint64_t tier_nodes)
{
	const struct ramblock *block = &vm->blocks.v[i];
	uint64_t homes = found->nodes & ~tier_nodes;

	if (!block->plugged || !homes || homes == (vm->mems_allowed & ~tier_nodes))
		return block->policy;
	return (struct proc_policy){ .mode = PROC_MPOL_BIND, .nodes = homes };
}

/*
 * Remembers the policy that was there before ours. After a restart of the agent ours may be what is
 * found.
 */
static void remember_policies(struct vm *vm, const struct placement *p, uint64_t tier_nodes)
{
	for (size_t i = 0; i < vm->blocks.n; i++) {
		uint64_t bit = UINT64_C(1) << i;
		bool ours;

		if (!(p->seen & bit))
			continue;
		ours = is_ours(vm, p, i, tier_nodes);
		if (!(vm->old_known & bit)) {
			vm->old_policy[i] = ours ? policy_before(vm, i, &p->policy[i], tier_nodes)
						 : p->policy[i];
			vm->old_known |= bit;
		}
		/* Taken back is what the kernel shows as taken back. */
		if (ours) {
			uint64_t tiers = p->policy[i].nodes & tier_nodes;

			vm->bound |= bit;
			vm->bound_to[i] = p->policy[i].nodes;
			/* Beside its tier there may be slow nodes that are one more node to it. */
			if (!(tiers & (tiers - 1)))
				atomic_fetch_or(&vm->used_tiers, tiers);
		}
	}
}

/*
 * Home of a block is where it was told to be, else where its cpuset lets it be. When DRAM there is
 * full, only MPOL_BIND leaves it at that: any other policy goes on to the next node, and so must
 * ours, or somebody is killed for want of memory beside a node full of it.
 */
static void find_homes(struct vm *vm, uint64_t mems, uint64_t tier_nodes)
{
	vm->home_nodes = 0;
	for (size_t i = 0; i < vm->blocks.n; i++) {
		const struct proc_policy *old = &vm->old_policy[i];
		uint64_t all = mems & ~tier_nodes, home = 0;

		if ((vm->old_known & UINT64_C(1) << i) && old->mode != PROC_MPOL_DEFAULT &&
		    old->mode != PROC_MPOL_LOCAL)
			home = old->nodes & all;
		if (!home)
			home = all;
		vm->block_homes[i] = home;
		vm->block_reach[i] = old->mode == PROC_MPOL_BIND ? home : all;
		if (vm_has_block(vm, i))
			vm->home_nodes |= home;
	}
	if (!vm->home_nodes)
		vm->home_nodes = mems & ~tier_nodes;
}

/* A process may be in no group but the root one, and its group may have ended with it. */
static bool has_none(int r)
{
	return r == -ENOENT || r == -ENODEV;
}

/* Its cpuset, which is what @status says where there is none, and how much of it is swapped. */
static int read_cgroup(const struct vm *vm, const struct proc_status *status, uint64_t *ret_mems,
		       uint64_t *ret_swapped)
{
	uint64_t mems = status->mems_allowed, swapped = vm->swapped;
	int r = cgroup_read_mems(&vm->cgroup, &mems);
	int also = cgroup_read_swapped(&vm->cgroup, &swapped);

	if (r < 0 && !has_none(r) && vm->mems_allowed)
		mems = vm->mems_allowed;
	*ret_mems = mems;
	*ret_swapped = swapped;
	if (r < 0 && !has_none(r))
		return r;
	return has_none(also) ? 0 : also;
}

static int read_placement(const struct vm *vm, const struct examination *e, struct placement *p)
{
	int r = e->kernel->numa_maps(e->root, vm->pid, place, p);

	return r == 0 && atomic_load(&vm->on_swap) ? place_unmapped(p, e) : r;
}

/*
 * It counts with what is plugged, which is at least what is there, @bytes, in the 2 MiB in which it
 * is plugged at least. What is there no more was unplugged, unless it may be @swapped.
 */
static void take_virtio_mem(struct vm *vm, uint64_t bytes, bool swapped)
{
	uint64_t there = (bytes + RANGE_BYTES - 1) / RANGE_BYTES * RANGE_BYTES;

	if (there == vm->virtio_mem || (there < vm->virtio_mem && swapped))
		return;
	vm->virtio_mem = there;
	atomic_store(&vm->relayout, true);
}

int vm_examine(struct vm *vm, const struct examination *e, const struct proc_status *status)
{
	struct placement p = { .vm = vm };
	enum vm_ineligible reason = VM_ELIGIBLE;
	struct vm_counters before = {};
	uint32_t jobs_ended = 0, epoch = 0;
	uint64_t mems, swapped, began_us, took_us = 0;
	uint64_t nodes = e->tier_nodes & ~SWAP_BIT;
	bool placed = false, on_swap = atomic_load(&vm->on_swap);
	int r = read_cgroup(vm, status, &mems, &swapped), unplaced = 0;

	if (vm->blocks.n) {
		reason = examine_pins(vm, e, status);
		if (reason == VM_ELIGIBLE && !(mems & nodes) && nodes && !on_swap)
			reason = VM_CPUSET;
		if (e->placement) {
			epoch = atomic_load(&vm->epoch);
			pthread_mutex_lock(&vm->lock);
			before = vm->counters;
			jobs_ended = vm->jobs_ended;
			pthread_mutex_unlock(&vm->lock);
			began_us = monotonic_us();
			unplaced = read_placement(vm, e, &p);
			took_us = monotonic_us() - began_us;
			placed = unplaced == 0;
			vm->seen.unplaced_ms = placed ? 0 : e->now_ms;
		}
		if (placed && p.huge)
			reason = VM_HUGETLB;
	}
	/* Its RAM was not found, or its address space is another since: it is looked for again. */
	if (vm->reason == VM_NOT_MAPPED || status->size != vm->seen.size)
		atomic_store(&vm->relayout, true);
	vm->seen.size = status->size;

	pthread_mutex_lock(&vm->lock);
	if (vm->blocks.n) {
		if (vm->realtime && reason == VM_ELIGIBLE)
			reason = VM_REALTIME;
		if (vm->vhost_user && reason == VM_ELIGIBLE)
			reason = VM_VHOST_USER;
		if (vm->in_others_cgroup && reason == VM_ELIGIBLE)
			reason = VM_CGROUP;
		if (vm->reason != reason)
			vm->why[0] = '\0';
		/* What is on its way out was decided on before that. */
		if (vm->reason == VM_ELIGIBLE && reason != VM_ELIGIBLE)
			atomic_fetch_add(&vm->epoch, 1);
		/* Nor does anything come home behind the back of who fills it in. */
		if (vm->reason != reason && reason == VM_USERFAULTFD)
			atomic_fetch_add(&vm->reliefs, 1);
		vm->reason = reason;
	}
	vm->mems_allowed = mems;
	vm->swapped = swapped;
	if (took_us > vm->counters.worst_placement_us)
		vm->counters.worst_placement_us = took_us;
	if (placed) {
		vm->seen.placed_rss = status->rss;
		vm->seen.placed_same = vm->placed_ms && jobs_ended == vm->settled_jobs &&
				       !memcmp(p.bytes, vm->node_bytes, sizeof(p.bytes));
		vm_take_placement(vm, p.bytes, vm_tiers_of(vm, e->tier_nodes), &before);
		take_virtio_mem(vm, p.virtio_mem, swapped || on_swap);
		vm->settled_jobs = jobs_ended;
		vm->settled_epoch = epoch;
		vm->placed_ms = e->now_ms;
		remember_policies(vm, &p, e->tier_nodes);
	}
	find_homes(vm, mems, vm_tiers_of(vm, e->tier_nodes));
	pthread_mutex_unlock(&vm->lock);
	return unplaced < 0 ? unplaced : r;
}
