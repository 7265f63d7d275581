// SPDX-License-Identifier: GPL-2.0-or-later
/* One VM: what it is, its RAM, its end; see vm.h. */
#include "vm.h"

#include <errno.h>
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
		if (at == RAMBLOCKS_MAX)
			return -E2BIG;
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
	int r = 0;

	pthread_mutex_lock(&vm->lock);
	if (layout->reason == VM_ELIGIBLE) {
		bool waited = vm->blocks.n == 0;

		r = take_blocks(vm, &layout->blocks);
		if (r == -E2BIG)
			set_reason(vm, VM_LAYOUT_UNKNOWN,
				   "it has had more RAM blocks than are tracked");
		else if (r == 0 && waited)
			set_reason(vm, VM_NOT_LOOKED, "");
		vm->placed_ms = 0;
	} else if (!vm->blocks.n) {
		set_reason(vm, layout->reason, layout->why);
	} else {
		/* What it has keeps being looked after; what has come is not understood. */
		snprintf(vm->why, sizeof(vm->why), "%s", layout->why);
	}
	if (r != -ENOMEM)
		vm->ram = layout->ram + (vm->virtio_mem > layout->virtio_mem
						 ? vm->virtio_mem - layout->virtio_mem
						 : 0);
	pthread_mutex_unlock(&vm->lock);
	return r == -ENOMEM ? r : 0;
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
	struct vm *vm;
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

int vm_new_unexamined(const struct sysroot *root, pid_t pid, int why, struct vm **ret_vm)
{
	char text[sizeof(((struct vm *)NULL)->why)];
	struct vm *vm;
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
