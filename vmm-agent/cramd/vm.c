// SPDX-License-Identifier: GPL-2.0-or-later
/* One VM; see vm.h. */
#include "vm.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/syscall.h>

#include "sense/pages.h"
#include "util/cleanup.h"

/* A QEMU command line with hundreds of devices stays well below this. */
#define CMDLINE_MAX (256U << 10)

static const struct {
	const char *name, *text;
} ineligible[] = {
	[VM_ELIGIBLE] = { "", "" },
	[VM_NOT_LOOKED] = { "not-examined", "it has not been examined yet" },
	[VM_LAYOUT_UNKNOWN] = { "layout-unknown",
				"its RAM cannot be told from QEMU's other memory; use memfd backing" },
	[VM_HUGETLB] = { "hugepages", "its RAM is hugetlb or a file, which cannot be tiered" },
	[VM_LOCKED] = { "locked", "its memory is locked" },
	[VM_PINNED] = { "pinned",
			"its memory is pinned, by a passed-through device (VFIO, vDPA) or io_uring" },
	[VM_CONFIDENTIAL] = { "confidential", "its memory is encrypted (SEV, SNP, TDX)" },
	[VM_REALTIME] = { "realtime", "it has real-time scheduling" },
	[VM_VHOST_USER] = { "vhost-user", "another process maps its memory (vhost-user)" },
	[VM_CPUSET] = { "cpuset", "its cpuset does not include the tier's node; allow that node" },
	[VM_NO_ACCESS] = { "no-access", "its process cannot be examined" },
};

const char *vm_ineligible_name(enum vm_ineligible reason)
{
	return ineligible[reason].name;
}

const char *vm_ineligible_text(enum vm_ineligible reason)
{
	return ineligible[reason].text;
}

static uint64_t count_ranges(struct vm *vm)
{
	uint64_t n = 0;

	for (size_t i = 0; i < vm->blocks.n; i++) {
		const struct ramblock *block = &vm->blocks.v[i];

		vm->first[i] = n;
		n += (block->end - block->start + RANGE_BYTES - 1) / RANGE_BYTES;
	}
	return n;
}

static enum vm_ineligible cmdline_reason(const struct qemu_cmdline *c)
{
	if (c->confidential)
		return VM_CONFIDENTIAL;
	if (c->vfio || c->vdpa)
		return VM_PINNED;
	for (size_t i = 0; i < c->n_backends; i++)
		if (c->backends[i].hugetlb || c->backends[i].type == QEMU_BACKEND_FILE)
			return VM_HUGETLB;
	if (c->locked)
		return VM_LOCKED;
	if (c->vhost_user)
		return VM_VHOST_USER;
	return VM_ELIGIBLE;
}

static int fill(struct vm *vm, const struct sysroot *root)
{
	cleanup_free char *cmdline = malloc(CMDLINE_MAX);
	uint64_t backends = 0;
	size_t len;
	int r;

	if (!cmdline)
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
	r = proc_read_cgroup(root, vm->pid, vm->cgroup, sizeof(vm->cgroup));
	if (r < 0)
		vm->cgroup[0] = '\0';

	for (size_t i = 0; i < vm->cmdline.n_backends; i++)
		backends += vm->cmdline.backends[i].size;
	vm->ram = backends ? backends : vm->cmdline.ram_size;
	vm->reason = cmdline_reason(&vm->cmdline);
	if (vm->reason != VM_ELIGIBLE)
		return 0;
	r = ramblocks_find(root, vm->pid, &vm->cmdline, &vm->blocks);
	if (r == -ENOENT)
		return -EAGAIN;
	if (r == -ENOTUNIQ || r == -EOPNOTSUPP)
		vm->reason = VM_LAYOUT_UNKNOWN;
	else if (r == -EACCES || r == -EPERM)
		vm->reason = VM_NO_ACCESS;
	else if (r < 0)
		return r;
	else
		vm->reason = VM_NOT_LOOKED;
	return ranges_init(&vm->ranges, count_ranges(vm));
}

int vm_new(const struct sysroot *root, pid_t pid, struct vm **ret_vm)
{
	struct vm *vm = calloc(1, sizeof(*vm));
	int r;

	if (!vm)
		return -ENOMEM;
	vm->refs = 1;
	vm->pid = pid;
	vm->tier_nid = -1;
	pthread_mutex_init(&vm->placing, NULL);
	pthread_mutex_init(&vm->placing_next, NULL);
	pthread_mutex_init(&vm->lock, NULL);
	/* Pinned before anything is read: what is read then belongs to this very process. */
	vm->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (vm->pidfd < 0)
		r = -errno;
	else
		r = fill(vm, root);
	if (r < 0) {
		vm_unref(vm);
		return r;
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
	ranges_free(&vm->ranges);
	pthread_mutex_destroy(&vm->lock);
	pthread_mutex_destroy(&vm->placing);
	pthread_mutex_destroy(&vm->placing_next);
	free(vm);
}

void vm_placing_begins(struct vm *vm)
{
	pthread_mutex_lock(&vm->placing_next);
	pthread_mutex_lock(&vm->placing);
	pthread_mutex_unlock(&vm->placing_next);
}

void vm_placing_ends(struct vm *vm)
{
	pthread_mutex_unlock(&vm->placing);
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
	int64_t bytes = bytes_on(vm->node_bytes, ~tier_nodes) - moved(vm);

	return bytes > 0 ? (uint64_t)bytes : 0;
}

bool vm_settled(const struct vm *vm)
{
	if (atomic_load(&vm->busy))
		return false;
	/* What RAM it has is unknown: nothing was ever moved. */
	if (!vm->blocks.n)
		return true;
	return vm->placed_ms && vm->settled_jobs == vm->jobs_ended &&
	       vm->settled_epoch == atomic_load(&vm->epoch);
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

		if (addr < block->start || addr >= block->end)
			continue;
		*ret_index = vm->first[i] + (addr - block->start) / RANGE_BYTES;
		return 0;
	}
	return -ENOENT;
}

struct placement {
	const struct vm *vm;
	uint64_t bytes[NODES_MAX];
	enum proc_mpol mode[RAMBLOCKS_MAX];
	uint64_t nodes[RAMBLOCKS_MAX];
	bool seen[RAMBLOCKS_MAX];
	bool huge;
};

static int place(const struct proc_numa *numa, void *arg)
{
	struct placement *p = arg;

	for (size_t i = 0; i < p->vm->blocks.n; i++) {
		const struct ramblock *block = &p->vm->blocks.v[i];

		if (numa->start < block->start || numa->start >= block->end)
			continue;
		for (int nid = 0; nid < NODES_MAX; nid++)
			p->bytes[nid] += numa->pages[nid] * numa->page_size;
		p->huge |= numa->huge;
		if (numa->start == block->start) {
			p->seen[i] = true;
			p->mode[i] = numa->mode;
			p->nodes[i] = numa->nodes;
		}
		break;
	}
	return 0;
}

static enum vm_ineligible examine_pins(const struct vm *vm, const struct sysroot *root,
				       const struct proc_status *status)
{
	static const char *const devices[] = { "/dev/vfio/", "anon_inode:[vfio", "/dev/vhost-vdpa",
					       NULL };
	bool found;
	int r;

	/*
	 * QEMU locks only everything or nothing; a few locked or pinned pages (io_uring rings, AIO)
	 * are common and no obstacle.
	 */
	if (status->locked > vm->ram / 2)
		return VM_LOCKED;
	if (status->pinned > vm->ram / 2)
		return VM_PINNED;
	r = proc_has_fd(root, vm->pid, devices, &found);
	if (r < 0)
		return VM_NO_ACCESS;
	return found ? VM_PINNED : VM_ELIGIBLE;
}

/* Is the policy found on block @i ours: home and tier, where its QEMU was told no such thing? */
static bool is_ours(const struct vm *vm, const struct placement *p, size_t i, uint64_t tier_nodes)
{
	const struct ramblock *block = &vm->blocks.v[i];

	return block->memfd && p->mode[i] == PROC_MPOL_BIND && (p->nodes[i] & tier_nodes) &&
	       !(block->policy == PROC_MPOL_BIND && block->policy_nodes & tier_nodes);
}

/*
 * Remembers the policy that was there before ours. After a restart of the agent ours may be what is
 * found: then QEMU's command line tells what was asked for at the VM's start.
 */
static void remember_policy(struct vm *vm, const struct placement *p, uint64_t tier_nodes)
{
	bool ours = false;

	for (size_t i = 0; i < vm->blocks.n; i++) {
		const struct ramblock *block = &vm->blocks.v[i];
		bool this = is_ours(vm, p, i, tier_nodes);

		ours |= this;
		vm->old_mode[i] = this ? block->policy : p->mode[i];
		vm->old_nodes[i] = this ? block->policy_nodes : p->nodes[i];
	}
	vm->bound = ours;
	vm->old_known = true;
}

/*
 * Reading placement takes a while, and pages may be moved meanwhile: @before are the counters when
 * it began. What was moved then, the reading may have seen in the old place, in the new one, or,
 * while the kernel had it in hand, in neither. So where moves overlapped a reading, what was known
 * before and was measured move by move stays, as far as the reading leaves room for it.
 */
static void take_placement(struct vm *vm, const struct placement *p, uint64_t tier_nodes,
			   const struct vm_counters *before)
{
	int64_t known = bytes_on(vm->node_bytes, tier_nodes) + vm->moved_since;
	int64_t unseen = known - bytes_on(p->bytes, tier_nodes);
	int64_t most = (int64_t)(vm->counters.demoted - before->demoted);
	int64_t least = -(int64_t)(vm->counters.promoted - before->promoted);

	if (vm->under_way > 0)
		least -= vm->under_way;
	else
		most -= vm->under_way;
	memcpy(vm->node_bytes, p->bytes, sizeof(p->bytes));
	vm->moved_since = unseen > most ? most : unseen < least ? least : unseen;
}

void vm_examine(struct vm *vm, const struct sysroot *root, const struct proc_status *status,
		const struct memcg *memcg, uint64_t tier_nodes, uint64_t now_ms,
		uint64_t placement_ms)
{
	struct placement p = { .vm = vm };
	enum vm_ineligible reason = vm->reason;
	bool placed = false;
	struct vm_counters before = {};
	uint32_t jobs_ended = 0, epoch = 0;
	uint64_t home;

	if (vm->blocks.n) {
		reason = examine_pins(vm, root, status);
		if (reason == VM_ELIGIBLE && !(status->mems_allowed & tier_nodes) && tier_nodes)
			reason = VM_CPUSET;
		if (!vm->placed_ms || now_ms >= vm->placed_ms + placement_ms) {
			epoch = atomic_load(&vm->epoch);
			pthread_mutex_lock(&vm->lock);
			before = vm->counters;
			jobs_ended = vm->jobs_ended;
			pthread_mutex_unlock(&vm->lock);
			placed = proc_for_each_numa(root, vm->pid, place, &p) == 0;
		}
		if (placed && p.huge)
			reason = VM_HUGETLB;
	}

	pthread_mutex_lock(&vm->lock);
	if (vm->realtime && reason == VM_ELIGIBLE)
		reason = VM_REALTIME;
	vm->reason = reason;
	vm->mems_allowed = status->mems_allowed;
	if (memcg)
		vm->memcg = *memcg;
	if (placed) {
		take_placement(vm, &p, tier_nodes, &before);
		vm->settled_jobs = jobs_ended;
		vm->settled_epoch = epoch;
		vm->placed_ms = now_ms;
		if (!vm->old_known && p.seen[0])
			remember_policy(vm, &p, tier_nodes);
		/* Taken back is what the kernel shows as taken back. */
		for (size_t i = 0; i < vm->blocks.n; i++)
			vm->bound |= vm->old_known && p.seen[i] && is_ours(vm, &p, i, tier_nodes);
	}
	/* Home is where the VM was told to be, else where its cpuset lets it be. */
	home = 0;
	for (size_t i = 0; i < vm->blocks.n; i++)
		if (vm->old_known && vm->old_mode[i] != PROC_MPOL_DEFAULT &&
		    vm->old_mode[i] != PROC_MPOL_LOCAL)
			home |= vm->old_nodes[i];
	home &= status->mems_allowed;
	if (!home)
		home = status->mems_allowed;
	vm->home_nodes = home & ~tier_nodes;
	pthread_mutex_unlock(&vm->lock);
}
