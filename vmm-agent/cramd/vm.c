// SPDX-License-Identifier: GPL-2.0-or-later
/* One VM: what it is, its RAM, its end; see vm.h. */
#include "vm.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

#include "sense/pages.h"
#include "util/cleanup.h"

/* A QEMU command line with hundreds of devices stays well below this. */
#define CMDLINE_MAX (256U << 10)

static size_t ranges_of(const struct ramblock *block)
{
	return (block->end - block->start + RANGE_BYTES - 1) / RANGE_BYTES;
}

static bool same_block(const struct ramblock *a, const struct ramblock *b)
{
	return a->start == b->start && a->end == b->end && a->inode == b->inode;
}

static bool has_block(const struct ramblocks *blocks, const struct ramblock *block)
{
	for (size_t i = 0; i < blocks->n; i++)
		if (same_block(&blocks->v[i], block))
			return true;
	return false;
}

/* Those blocks that are not in @found are gone; adds those of it that are new. */
static int take_blocks(struct vm *vm, const struct ramblocks *found)
{
	uint64_t gone = 0;
	size_t n = vm->blocks.n;

	for (size_t i = 0; i < found->n; i++)
		n += !has_block(&vm->blocks, &found->v[i]);
	if (n > RAMBLOCKS_MAX)
		return -E2BIG;
	/* First: what has come may have the addresses of what has gone. */
	for (size_t i = 0; i < vm->blocks.n; i++) {
		bool there = has_block(found, &vm->blocks.v[i]);

		if (!there)
			gone |= UINT64_C(1) << i;
		ranges_forget(&vm->ranges, vm->first[i], vm_block_end(vm, i), there);
	}
	atomic_store(&vm->gone, gone);
	for (size_t i = 0; i < found->n; i++) {
		const struct ramblock *block = &found->v[i];
		size_t at = vm->blocks.n, first = vm->ranges.n;
		int r;

		/* What was unplugged before has another mapping when it comes again. */
		if (has_block(&vm->blocks, block))
			continue;
		r = ranges_grow(&vm->ranges, first + ranges_of(block));
		if (r < 0)
			return r;
		vm->blocks.v[at] = *block;
		vm->first[at] = first;
		/* Last: whoever sees the number may use the block. */
		__atomic_store_n(&vm->blocks.n, at + 1, __ATOMIC_RELEASE);
	}
	return 0;
}

static void set_reason(struct vm *vm, enum vm_ineligible reason, const char *why)
{
	vm->reason = reason;
	snprintf(vm->why, sizeof(vm->why), "%s", why);
}

int vm_relayout(struct vm *vm, const struct ram_layout *layout)
{
	uint64_t gone;
	size_t n;
	int r = 0;

	pthread_mutex_lock(&vm->lock);
	n = vm->blocks.n;
	gone = atomic_load(&vm->gone);
	if (layout->reason == VM_ELIGIBLE) {
		r = take_blocks(vm, &layout->blocks);
		if (r == 0 && n == 0)
			set_reason(vm, VM_NOT_LOOKED, "");
		/* With each thread of a QEMU its address space is another; what it has is not. */
		if (vm->blocks.n != n || atomic_load(&vm->gone) != gone)
			vm->placed_ms = 0;
	} else if (!vm->blocks.n) {
		set_reason(vm, layout->reason, layout->why);
	} else {
		/* What it has keeps being looked after; what has come is not understood. */
		snprintf(vm->why, sizeof(vm->why), "%s", layout->why);
	}
	if (r == 0)
		vm->ram = layout->ram + (vm->virtio_mem > layout->virtio_mem
						 ? vm->virtio_mem - layout->virtio_mem
						 : 0);
	pthread_mutex_unlock(&vm->lock);
	return r;
}

static int fill(struct vm *vm, const struct sysroot *root)
{
	cleanup_free char *cmdline = malloc(CMDLINE_MAX);
	cleanup_free struct ram_layout *layout = calloc(1, sizeof(*layout));
	struct proc_status status;
	char cgroup[SYSROOT_PATH_MAX];
	size_t len;
	int r;

	if (!cmdline || !layout)
		return -ENOMEM;
	r = proc_read_start_time(root, vm->pid, &vm->start_time);
	if (r < 0)
		return r == -ENOENT ? -ESRCH : r;
	r = proc_read_cmdline(root, vm->pid, cmdline, CMDLINE_MAX, &len);
	if (r < 0)
		return r == -ENOENT ? -ESRCH : r;
	if (len == 0 || !qemu_is_emulator(cmdline))
		return -ENOEXEC;
	r = qemu_cmdline_parse(cmdline, len, &vm->cmdline);
	if (r < 0)
		return r;
	memcpy(vm->uuid, vm->cmdline.uuid, sizeof(vm->uuid));
	memcpy(vm->name, vm->cmdline.name, sizeof(vm->name));
	if (proc_read_cgroup(root, vm->pid, cgroup, sizeof(cgroup)) == 0)
		cgroup_open(root, cgroup, &vm->cgroup);
	/* Before its RAM is looked for: what comes after shows as a change. */
	if (proc_read_status(root, vm->pid, &status) == 0)
		vm->seen.size = status.size;
	r = ram_layout_read(root, vm->pid, &vm->cmdline, layout);
	if (r < 0)
		return r;
	return vm_relayout(vm, layout);
}

void vm_init(struct vm *vm)
{
	vm->refs = 1;
	vm->pidfd = -1;
	vm->tier_nid = -1;
	vm->cgroup = (struct cgroup){ .memory = -1, .cpuset = -1 };
	pthread_mutex_init(&vm->placing, NULL);
	pthread_mutex_init(&vm->placing_next, NULL);
	pthread_mutex_init(&vm->lock, NULL);
}

/* The process is pinned before anything is read: what is read then belongs to this very one. */
static int make(pid_t pid, struct vm **ret_vm)
{
	struct vm *vm = calloc(1, sizeof(*vm));
	int r;

	if (!vm)
		return -ENOMEM;
	vm_init(vm);
	vm->pid = pid;
	vm->reason = VM_NOT_LOOKED;
	vm->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (vm->pidfd < 0) {
		r = -errno;
		vm_unref(vm);
		return r;
	}
	*ret_vm = vm;
	return 0;
}

int vm_new(const struct sysroot *root, pid_t pid, struct vm **ret_vm)
{
	struct vm *vm = NULL;
	int r;

	r = make(pid, &vm);
	if (r < 0)
		return r;
	r = fill(vm, root);
	if (r < 0) {
		vm_unref(vm);
		return r;
	}
	*ret_vm = vm;
	return 0;
}

/* -1 stays -1. */
static int duplicate(int fd, int *ret_fd)
{
	int copy = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 0);

	if (fd >= 0 && copy < 0)
		return -errno;
	*ret_fd = copy;
	return 0;
}

/* What is known of block @i of @old, whose lock is held. 0 or -ENOMEM. */
static int keep_block(struct vm *vm, const struct vm *old, size_t i)
{
	size_t at = vm->blocks.n, first = vm->ranges.n, n = vm_block_end(old, i) - old->first[i];
	uint64_t bit = UINT64_C(1) << at, was = UINT64_C(1) << i;
	int r = ranges_grow(&vm->ranges, first + n);

	if (r < 0)
		return r;
	memcpy(vm->ranges.v + first, old->ranges.v + old->first[i], n * sizeof(*vm->ranges.v));
	vm->blocks.v[at] = old->blocks.v[i];
	vm->first[at] = first;
	vm->block_homes[at] = old->block_homes[i];
	vm->block_reach[at] = old->block_reach[i];
	vm->block_returns[at] = old->block_returns[i];
	vm->old_policy[at] = old->old_policy[i];
	vm->bound_to[at] = old->bound_to[i];
	vm->old_known |= old->old_known & was ? bit : 0;
	vm->bound |= old->bound & was ? bit : 0;
	vm->blocks.n++;
	return 0;
}

/*
 * Of what is under its lock, which is held, and of what any thread may write: each such field of
 * struct vm that is to outlive a renewal has a line here.
 */
static int keep_known(struct vm *vm, const struct vm *old, const struct ramblocks *there)
{
	int r = 0;

	vm->reason = old->reason;
	memcpy(vm->why, old->why, sizeof(vm->why));
	/* It was not until then. */
	vm->seen.arrived = old->reason == VM_ELIGIBLE;
	memcpy(vm->node_bytes, old->node_bytes, sizeof(vm->node_bytes));
	vm->virtio_mem = old->virtio_mem;
	vm->moved_since = old->moved_since;
	vm->shed_since = old->shed_since;
	vm->mems_allowed = old->mems_allowed;
	vm->realtime = old->realtime;
	vm->vhost_user = old->vhost_user;
	vm->in_others_cgroup = old->in_others_cgroup;
	vm->home_nodes = old->home_nodes;
	vm->counters = old->counters;
	vm->scanned_ms = old->scanned_ms;
	vm->swapped = old->swapped;
	vm->ranges.idle_flags = old->ranges.idle_flags;
	vm->ranges.faults_home = old->ranges.faults_home;
	vm->ranges.damon = old->ranges.damon;
	vm->ranges.nominated = old->ranges.nominated;
	vm->ranges.nominated_s = old->ranges.nominated_s;
	for (size_t i = 0; r == 0 && i < old->blocks.n; i++)
		if (vm_has_block(old, i) && has_block(there, &old->blocks.v[i]))
			r = keep_block(vm, old, i);
	vm->watched = atomic_load(&old->watched);
	vm->epoch = atomic_load(&old->epoch);
	vm->cold_age_s = atomic_load(&old->cold_age_s);
	vm->tier_nid = atomic_load(&old->tier_nid);
	vm->look_everywhere = atomic_load(&old->look_everywhere);
	vm->on_swap = atomic_load(&old->on_swap);
	vm->no_tiers = atomic_load(&old->no_tiers);
	vm->used_tiers = atomic_load(&old->used_tiers);
	vm->unmoved_until_ms = atomic_load(&old->unmoved_until_ms);
	vm->placement_cost_us = atomic_load(&old->placement_cost_us);
	vm->examination_cost_us = atomic_load(&old->examination_cost_us);
	return r;
}

int vm_renew(struct vm *old, const struct ram_layout *layout, struct vm **ret_vm)
{
	struct vm *vm = calloc(1, sizeof(*vm));
	int r;

	if (!vm)
		return -ENOMEM;
	vm_init(vm);
	vm->pid = old->pid;
	vm->start_time = old->start_time;
	vm->cmdline = old->cmdline;
	r = duplicate(old->pidfd, &vm->pidfd);
	if (r == 0)
		r = duplicate(old->cgroup.memory, &vm->cgroup.memory);
	if (r == 0)
		r = duplicate(old->cgroup.cpuset, &vm->cgroup.cpuset);
	if (r == 0) {
		pthread_mutex_lock(&old->lock);
		r = keep_known(vm, old, &layout->blocks);
		pthread_mutex_unlock(&old->lock);
	}
	if (r == 0)
		r = vm_relayout(vm, layout);
	if (r < 0) {
		vm_unref(vm);
		return r;
	}
	/* All that is of the loop alone, and it is the loop that asks. */
	memcpy((char *)vm + VM_LOOPS_OWN, (char *)old + VM_LOOPS_OWN, sizeof(*vm) - VM_LOOPS_OWN);
	vm->exit = NULL;
	*ret_vm = vm;
	return 0;
}

const char *vm_why(const struct vm *vm)
{
	return vm->why[0] ? vm->why : vm_ineligible_text(vm->reason);
}

int vm_new_unexamined(const struct sysroot *root, pid_t pid, int why, struct vm **ret_vm)
{
	char text[sizeof(((struct vm *)NULL)->why)];
	struct vm *vm = NULL;
	int r;

	r = make(pid, &vm);
	if (r < 0)
		return r;
	r = proc_read_start_time(root, pid, &vm->start_time);
	if (r < 0) {
		vm_unref(vm);
		return r == -ENOENT ? -ESRCH : r;
	}
	if (why == -ENOEXEC) {
		set_reason(vm, VM_LAYOUT_UNKNOWN,
			   "its emulator is not named as QEMU's are: qemu-system-*, qemu-kvm, kvm");
	} else {
		snprintf(text, sizeof(text), "its process cannot be examined: %s", strerror(-why));
		set_reason(vm, VM_NO_ACCESS, text);
	}
	*ret_vm = vm;
	return 0;
}

struct vm *vm_ref(struct vm *vm)
{
	atomic_fetch_add(&vm->refs, 1);
	return vm;
}

void vm_unref(struct vm *vm)
{
	if (!vm || atomic_fetch_sub(&vm->refs, 1) != 1)
		return;
	if (vm->pidfd >= 0)
		close(vm->pidfd);
	cgroup_close(&vm->cgroup);
	ranges_free(&vm->ranges);
	pthread_mutex_destroy(&vm->lock);
	pthread_mutex_destroy(&vm->placing);
	pthread_mutex_destroy(&vm->placing_next);
	free(vm);
}

bool vm_gone(const struct vm *vm)
{
	struct pollfd pfd = { .fd = vm->pidfd, .events = POLLIN };

	return atomic_load(&vm->dead) || poll(&pfd, 1, 0) > 0;
}

const struct ramblock *vm_range(const struct vm *vm, size_t index, uint64_t *ret_addr,
				size_t *ret_pages)
{
	size_t i = vm->blocks.n - 1;
	const struct ramblock *block;
	uint64_t left;

	while (vm->first[i] > index)
		i--;
	block = &vm->blocks.v[i];
	*ret_addr = block->start + (index - vm->first[i]) * RANGE_BYTES;
	left = (block->end - *ret_addr) / PAGE_BYTES;
	*ret_pages = left < PAGES_PER_RANGE ? left : PAGES_PER_RANGE;
	return block;
}

int vm_range_index(const struct vm *vm, uint64_t addr, size_t *ret_index)
{
	for (size_t i = 0; i < vm->blocks.n; i++) {
		const struct ramblock *block = &vm->blocks.v[i];

		if (addr < block->start || addr >= block->end || !vm_has_block(vm, i))
			continue;
		*ret_index = vm->first[i] + (addr - block->start) / RANGE_BYTES;
		return 0;
	}
	return -ENOENT;
}
