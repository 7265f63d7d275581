// SPDX-License-Identifier: GPL-2.0-or-later
/* Mover threads; see mover.h. */
#include "mover.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "../moves.h"
#include "../patience.h"
#include "../sense/swapped.h"
#include "move.h"

/* Ranges picked at a time: the ages of those further down are stale by the time it is their turn.
 */
#define PICK_MAX 64

/* So many times in a row nothing of what was picked could come home: then the job ends. */
#define PICKS_IN_VAIN 4

#define PATIENCE_MS 1000 /* for a step */
/* A call that has pages of a card swapped out waits for the disk: shorter ones wait more often. */
#define DISK_CALL_US 200000
/* A VM whose placement someone else is at for longer is left alone for a while. */
#define PLACING_MS 500
#define UNMOVED_MS 5000

struct work {
	struct host *host;
	struct mover_thread *self;
	struct page_idle idle;
	struct move_pace pace;
	struct move_pace disk_pace; /* of what goes to swap to relieve a tier */
	uint64_t tier_nodes;	    /* of the VM whose turn it is */
	uint64_t left;		    /* bytes of the job */
	size_t asked;		    /* pages of the last range that were to move */
	int nodes[PAGES_PER_RANGE];
	uint64_t entries[PAGES_PER_RANGE], heads[PAGES_PER_RANGE];
	bool still_idle[PAGES_PER_RANGE];
	void *addrs[PAGES_PER_RANGE];
};

/* On any tier, be it the VM's or one that it used before: what is there may have to come home. */
static bool on_tier(const struct work *w, size_t page)
{
	return w->tier_nodes & UINT64_C(1) << w->nodes[page];
}

static void count_nodes(const struct work *w, size_t n, uint16_t *ret_dram, uint16_t *ret_tier)
{
	uint16_t dram = 0, tier = 0;

	for (size_t i = 0; i < n; i++) {
		if (w->nodes[i] < 0)
			continue;
		if (on_tier(w, i))
			tier++;
		else
			dram++;
	}
	*ret_dram = dram;
	*ret_tier = tier;
}

/* Asked before each step. */
static bool may_go_on(const struct work *w, const struct mover_job *job)
{
	atomic_store(&w->self->since_ms, monotonic_ms());
	if (vm_gone(job->vm) || atomic_load(&w->host->stopping) || atomic_load(&w->self->left))
		return false;
	if (job->kind == VM_JOB_SHED && atomic_load(&w->self->mover->relief_waits))
		return false;
	if (job->kind != VM_JOB_DEMOTE) {
		/* Relief brings it home since; what is left then is decided on anew. */
		if (atomic_load(&job->vm->reliefs) != job->epoch)
			return false;
		return !(atomic_load(&w->host->short_nodes) & UINT64_C(1) << job->nid);
	}
	if (atomic_load(&w->host->closed_nodes) & UINT64_C(1) << job->nid)
		return false;
	return atomic_load(&job->vm->epoch) == job->epoch && !atomic_load(&w->host->paused);
}

/* Pages of one block, on their way to swap or from it. */
struct swapping {
	const struct work *work;
	const struct mover_job *job;
	const struct ramblock *block;
};

static int page_out(void *const *addrs, size_t n, void *arg)
{
	const struct swapping *s = arg;
	struct iovec pages[MOVE_BATCH_MAX];
	size_t runs = 0;

	/* Each call may take as long as a disk does. */
	if (s->job->kind == VM_JOB_SHED && !may_go_on(s->work, s->job))
		return -ECANCELED;
	for (size_t i = 0; i < n; i++) {
		uintptr_t end =
			runs ? (uintptr_t)pages[runs - 1].iov_base + pages[runs - 1].iov_len : 0;

		if (runs && (uintptr_t)addrs[i] == end)
			pages[runs - 1].iov_len += PAGE_BYTES;
		else
			pages[runs++] = (struct iovec){ addrs[i], PAGE_BYTES };
	}
	return s->work->host->kernel->swap_out(s->job->vm->pidfd, pages, runs);
}

static int page_out_unmapped(void *const *addrs, size_t n, void *arg)
{
	const struct swapping *s = arg;

	return s->work->host->kernel->swap_out_unmapped(&s->work->host->root, s->job->vm->pid,
							s->block, addrs, n);
}

static int page_in(void *const *addrs, size_t n, void *arg)
{
	const struct swapping *s = arg;

	return s->work->host->kernel->swap_in(&s->work->host->root, s->job->vm->pid, s->block,
					      addrs, n, s->job->nid);
}

/* The pages of a range that are to move, by the call that moves them. */
enum way {
	WAY_MOVE,
	WAY_PAGE_OUT,
	WAY_PAGE_OUT_UNMAPPED,
	WAY_PAGE_IN,
	N_WAYS,
};

static enum way way_of(const struct mover_job *job, int from)
{
	if (job->nid == NODE_SWAP)
		return from == NODE_CACHE ? WAY_PAGE_OUT_UNMAPPED : WAY_PAGE_OUT;
	return from == NODE_SWAP ? WAY_PAGE_IN : WAY_MOVE;
}

/* Moves those of w->addrs, @n of them, that go by @way. */
static int move_by(struct work *w, const struct mover_job *job, const struct ramblock *block,
		   enum way way, size_t n, struct move_result *ret_result)
{
	static int (*const calls[N_WAYS])(void *const *, size_t, void *) = {
		[WAY_PAGE_OUT] = page_out,
		[WAY_PAGE_OUT_UNMAPPED] = page_out_unmapped,
		[WAY_PAGE_IN] = page_in,
	};
	struct swapping s = { w, job, block };
	struct move_pace *pace = job->kind == VM_JOB_SHED ? &w->disk_pace : &w->pace;

	if (way == WAY_MOVE)
		return move_pages_to(w->host->kernel, job->vm->pid, w->addrs, n, job->nid, &w->pace,
				     ret_result);
	return move_in_calls(w->addrs, n, calls[way], &s, pace, ret_result);
}

/* Moves of the range at @addr what is in the wrong place, @most pages of it. */
static int move_pages_of(struct work *w, const struct mover_job *job, const struct ramblock *block,
			 uint64_t addr, size_t n, uint64_t most, struct move_result *ret_result)
{
	bool demote = job->kind == VM_JOB_DEMOTE;
	struct move_result all = {};

	for (enum way way = 0; way < N_WAYS; way++) {
		struct move_result result = {};
		size_t wanted = 0, seen = 0;
		int r;

		for (size_t i = 0; i < n && seen < most; i++) {
			if (w->nodes[i] < 0 || on_tier(w, i) == demote)
				continue;
			seen++;
			if (way_of(job, w->nodes[i]) == way)
				w->addrs[wanted++] = (void *)(uintptr_t)(addr + i * PAGE_BYTES);
		}
		if (!wanted)
			continue;
		r = move_by(w, job, block, way, wanted, &result);
		if (r < 0)
			return r;
		all.asked += result.asked;
		all.calls += result.calls;
		all.error = all.error ? all.error : result.error;
		all.worst_us = result.worst_us > all.worst_us ? result.worst_us : all.worst_us;
	}
	*ret_result = all;
	return 0;
}

/* How many pages that will be at most. */
static size_t wanted_of(const struct work *w, bool demote, size_t n, uint64_t most)
{
	size_t wanted = 0;

	for (size_t i = 0; i < n && wanted < most; i++)
		wanted += w->nodes[i] >= 0 && on_tier(w, i) != demote;
	return wanted;
}

/* Was any page of the range touched since its idle flags were last checked? */
static int touched(struct work *w, const struct vm *vm, uint64_t addr, size_t n, bool *ret_touched)
{
	const struct kernel *kernel = w->host->kernel;
	int pagemap, r;

	r = pagemap_open(&w->host->root, vm->pid, &pagemap);
	if (r < 0)
		return r;
	r = kernel->pagemap(pagemap, addr, n, w->entries);
	close(pagemap);
	if (r < 0)
		return r;
	r = kernel->idle_heads(&w->idle, w->entries, n, w->heads);
	if (r < 0)
		return r;
	r = kernel->idle_check(&w->idle, w->heads, n, w->still_idle);
	if (r < 0)
		return r;
	*ret_touched = false;
	for (size_t i = 0; i < n; i++)
		if (w->heads[i] && !w->still_idle[i])
			*ret_touched = true;
	return 0;
}

/* Takes vm->placing. Who cannot is told so, and with it who would come next. */
static int placing_begins(struct vm *vm)
{
	int r = vm_placing_tries(vm, PLACING_MS);

	if (r < 0)
		atomic_store(&vm->unmoved_until_ms, monotonic_ms() + UNMOVED_MS);
	return r;
}

/*
 * What is in no page table any more may be where it was: swap did not take it, or not yet. Of
 * @moved, as page tables have it, what the VM has less on cards than @before. 0 if that is unknown.
 */
static uint64_t gone_from_cards(const struct vm *vm, uint64_t before, uint64_t moved)
{
	uint64_t after, gone;

	if (cgroup_read_cram_current(&vm->cgroup, &after) < 0)
		return 0;
	gone = before > after ? before - after : 0;
	return moved < gone ? moved : gone;
}

/* As move_range(), with vm->placing held. */
static int move_range_alone(struct work *w, const struct mover_job *job, size_t index,
			    uint64_t most, uint64_t *ret_bytes)
{
	struct vm *vm = job->vm;
	bool demote = job->kind == VM_JOB_DEMOTE;
	int r;
	uint16_t dram_before, tier_before, dram, tier;
	struct move_result result = {};
	const struct ramblock *block;
	size_t n, wanted;
	uint64_t addr, moved, refused, there = 0;

	*ret_bytes = 0;
	w->asked = 0;
	w->tier_nodes = vm_tiers_of(vm, atomic_load(&w->host->tier_nodes));
	block = vm_range(vm, index, &addr, &n);
	/* Unplugged since it was picked: other memory of QEMU's may be there. */
	if (!vm_has_block(vm, (size_t)(block - vm->blocks.v)))
		return 0;
	r = vm_pages_where(w->host, vm, block, addr, n, w->nodes);
	if (r < 0)
		return r;
	count_nodes(w, n, &dram_before, &tier_before);
	if (demote && w->idle.bitmap >= 0) {
		bool is_touched;

		r = touched(w, vm, addr, n, &is_touched);
		if (r < 0)
			return r;
		if (is_touched) {
			/* The next look takes it into account; until then it is not cold. */
			pthread_mutex_lock(&vm->lock);
			vm->ranges.v[index].flags &= (uint8_t)~RANGE_ARMED;
			vm->ranges.v[index].accessed_s = monotonic_s();
			pthread_mutex_unlock(&vm->lock);
			return 0;
		}
	}
	if (job->kind == VM_JOB_SHED) {
		r = cgroup_read_cram_current(&vm->cgroup, &there);
		if (r < 0)
			return r;
	}
	wanted = wanted_of(w, demote, n, most / PAGE_BYTES);
	vm_move_begins(vm, (demote ? 1 : -1) * (int64_t)(wanted * PAGE_BYTES));
	r = move_pages_of(w, job, block, addr, n, most / PAGE_BYTES, &result);
	if (r < 0)
		return r;
	r = vm_pages_where(w->host, vm, block, addr, n, w->nodes);
	if (r < 0)
		return r;
	count_nodes(w, n, &dram, &tier);
	if (demote)
		moved = tier > tier_before ? (uint64_t)(tier - tier_before) : 0;
	else
		moved = tier_before > tier ? (uint64_t)(tier_before - tier) : 0;
	moved *= PAGE_BYTES;
	if (job->kind == VM_JOB_SHED)
		moved = gone_from_cards(vm, there, moved);
	refused = result.asked * PAGE_BYTES > moved ? result.asked * PAGE_BYTES - moved : 0;

	if (result.calls)
		host_took(w->host, CRAM_DURATION_MOVE, result.worst_us);
	pthread_mutex_lock(&vm->lock);
	if (demote) {
		range_demoted(&vm->ranges.v[index], dram, tier, monotonic_s());
		vm_moved(vm, (int64_t)moved);
	} else {
		range_promoted(&vm->ranges.v[index], dram, tier, atomic_load(&vm->cold_age_s),
			       monotonic_s());
		if (job->kind == VM_JOB_SHED)
			vm_shed(vm, moved);
		else
			vm_moved(vm, -(int64_t)moved);
	}
	vm->counters.refused += refused;
	vm->counters.batches += result.calls;
	if (result.worst_us > vm->counters.worst_batch_us)
		vm->counters.worst_batch_us = result.worst_us;
	w->asked = result.asked;
	if (result.error && result.error != -ECANCELED)
		vm->counters.last_error = result.error;
	pthread_mutex_unlock(&vm->lock);
	*ret_bytes = moved;
	return 0;
}

/*
 * Moves what of range @index is in the wrong place, @most bytes of it. *ret_bytes: what that was
 * measured to be.
 */
static int move_range(struct work *w, const struct mover_job *job, size_t index, uint64_t most,
		      uint64_t *ret_bytes)
{
	int r;

	r = placing_begins(job->vm);
	if (r < 0)
		return r;
	r = move_range_alone(w, job, index, most, ret_bytes);
	vm_move_ends(job->vm);
	vm_placing_ends(job->vm);
	return r;
}

/* Gives RAM block @i of @vm a policy. */
static int set_policy(struct work *w, struct vm *vm, size_t i, const struct proc_policy *policy)
{
	return w->host->kernel->mapping_set(&w->host->root, vm->pid, &vm->blocks.v[i], policy);
}

static bool takes_policy(const struct vm *vm, size_t i)
{
	return vm->blocks.v[i].memfd && vm_has_block(vm, i);
}

/* Our policy for block @i: the DRAM that it may have, and the tier, where cold pages may go. */
static struct proc_policy policy_of(const struct vm *vm, size_t i, int tier_nid)
{
	const struct proc_policy *old = &vm->old_policy[i];
	uint64_t homes = vm->block_homes[i];
	struct proc_policy policy = { .mode = PROC_MPOL_BIND,
				      .nodes = vm->block_reach[i] | UINT64_C(1) << tier_nid };

	/* The kernel takes one. */
	if ((old->mode == PROC_MPOL_PREFERRED || old->mode == PROC_MPOL_PREFERRED_MANY) &&
	    homes != vm->block_reach[i])
		policy.first = homes & -homes;
	return policy;
}

/* Once per RAM block, and again when it should have other nodes. */
static int bind_blocks(struct work *w, struct vm *vm, int tier_nid)
{
	struct proc_policy policies[RAMBLOCKS_MAX];
	uint64_t bound = 0, known;
	size_t n;

	pthread_mutex_lock(&vm->lock);
	n = vm->blocks.n;
	for (size_t i = 0; i < n; i++) {
		policies[i] = policy_of(vm, i, tier_nid);
		if (vm->bound_to[i] == policies[i].nodes)
			bound |= vm->bound & UINT64_C(1) << i;
	}
	known = vm->old_known;
	pthread_mutex_unlock(&vm->lock);
	for (size_t i = 0; i < n; i++) {
		uint64_t bit = UINT64_C(1) << i;
		int r;

		if (!takes_policy(vm, i) || (bound & bit))
			continue;
		/* Without the policy to go back to, none is replaced. */
		r = known & bit ? set_policy(w, vm, i, &policies[i]) : -EAGAIN;
		if (r < 0)
			return r;
		pthread_mutex_lock(&vm->lock);
		vm->bound |= bit;
		vm->bound_to[i] = policies[i].nodes;
		pthread_mutex_unlock(&vm->lock);
	}
	return 0;
}

static int unbind_blocks(struct work *w, struct vm *vm)
{
	struct proc_policy old[RAMBLOCKS_MAX];
	uint64_t bound;

	pthread_mutex_lock(&vm->lock);
	memcpy(old, vm->old_policy, sizeof(old));
	bound = vm->bound;
	pthread_mutex_unlock(&vm->lock);
	for (size_t i = 0; i < RAMBLOCKS_MAX; i++) {
		uint64_t bit = UINT64_C(1) << i;
		int r;

		if (!(bound & bit))
			continue;
		r = takes_policy(vm, i) ? set_policy(w, vm, i, &old[i]) : 0;
		if (r < 0)
			return r;
		pthread_mutex_lock(&vm->lock);
		vm->bound &= ~bit;
		pthread_mutex_unlock(&vm->lock);
	}
	return 0;
}

/* What is out and may come home to the job's node, or to swap. vm->lock is held. */
static size_t pick_off_tier(const struct mover_job *job, uint64_t bytes, size_t *indices)
{
	const enum ranges_pick which = job->kind == VM_JOB_PROMOTE_HOT ? RANGES_HOT
				       : job->kind == VM_JOB_SHED      ? RANGES_IDLE
								       : RANGES_HOT_FIRST;
	struct vm *vm = job->vm;
	struct ranges_span spans[RAMBLOCKS_MAX];
	size_t n = 0, picked;

	for (size_t i = 0; i < vm->blocks.n; i++)
		if (job->nid == NODE_SWAP || vm->block_returns[i] & UINT64_C(1) << job->nid)
			spans[n++] = (struct ranges_span){ vm->first[i], vm_block_end(vm, i) };
	picked = ranges_pick_tier(&vm->ranges, spans, n, bytes, which, indices, PICK_MAX);
	/* What stayed is tried again by the next job, after all else. */
	if (!picked)
		ranges_retry(&vm->ranges, spans, n);
	return picked;
}

static size_t pick(const struct mover_job *job, uint64_t bytes, size_t *indices)
{
	struct vm *vm = job->vm;
	size_t n;

	pthread_mutex_lock(&vm->lock);
	if (job->kind == VM_JOB_DEMOTE)
		n = ranges_pick_cold(&vm->ranges, bytes, job->min_age_s, indices, PICK_MAX);
	else
		n = pick_off_tier(job, bytes, indices);
	pthread_mutex_unlock(&vm->lock);
	return n;
}

static bool is_urgent(enum vm_job_kind kind)
{
	return kind == VM_JOB_RELIEVE || kind == VM_JOB_SHED;
}

/* The first move since a card pushes back, which began at @began_us, tells how long that took. */
static void note_relief(struct host *host, uint64_t began_us)
{
	uint64_t since = atomic_exchange(&host->pressed_us, 0);

	if (!since)
		return;
	atomic_store(&host->relief_us, began_us > since ? began_us - since : 0);
	host_took(host, CRAM_DURATION_RELIEF, atomic_load(&host->relief_us));
}

/*
 * To a node that only reclaim of the VM's cgroup reaches: the kernel chooses the pages, the next
 * looks find which. How much it was is what the cgroup has there more than before.
 */
static int reclaim_step(struct work *w, const struct mover_job *job, uint64_t bytes,
			uint64_t *ret_bytes)
{
	struct vm *vm = job->vm;
	uint64_t before, after, start, took, moved;
	int r;

	vm_move_begins(vm, (int64_t)bytes);
	r = cgroup_read_on_node(&vm->cgroup, job->nid, &before);
	if (r < 0)
		return r;
	start = monotonic_us();
	r = w->host->kernel->reclaim(&vm->cgroup, bytes);
	took = monotonic_us() - start;
	if (r < 0 && r != -EAGAIN)
		return r;
	r = cgroup_read_on_node(&vm->cgroup, job->nid, &after);
	if (r < 0)
		return r;
	moved = after > before ? after - before : 0;
	pthread_mutex_lock(&vm->lock);
	vm_moved(vm, (int64_t)moved);
	vm->counters.refused += bytes > moved ? bytes - moved : 0;
	vm->counters.batches++;
	if (took > vm->counters.worst_batch_us)
		vm->counters.worst_batch_us = took;
	pthread_mutex_unlock(&vm->lock);
	*ret_bytes = moved;
	return 0;
}

static int reclaim_out(struct work *w, const struct mover_job *job)
{
	while (w->left >= PAGE_BYTES && may_go_on(w, job)) {
		uint64_t step = w->pace.most * PAGE_BYTES, moved = 0;
		int r;

		step = step < w->left ? step : w->left - w->left % PAGE_BYTES;
		r = placing_begins(job->vm);
		if (r < 0)
			return r;
		r = reclaim_step(w, job, step, &moved);
		vm_move_ends(job->vm);
		vm_placing_ends(job->vm);
		if (r < 0)
			return r;
		if (!moved)
			break;
		w->left -= moved < w->left ? moved : w->left;
	}
	return 0;
}

static int run(struct work *w, const struct mover_job *job)
{
	unsigned int in_vain = 0;
	int r;

	if (job->kind == VM_JOB_UNBIND)
		return vm_gone(job->vm) ? 0 : unbind_blocks(w, job->vm);
	if (!may_go_on(w, job))
		return 0;
	if (job->kind == VM_JOB_DEMOTE)
		atomic_fetch_or(&job->vm->used_tiers, UINT64_C(1) << job->nid);
	if (job->kind == VM_JOB_DEMOTE &&
	    atomic_load(&w->host->reclaim_nodes) & UINT64_C(1) << job->nid)
		return reclaim_out(w, job);
	if (job->kind == VM_JOB_DEMOTE && job->nid != NODE_SWAP) {
		r = bind_blocks(w, job->vm, job->nid);
		if (r < 0)
			return r;
	}
	while (w->left >= PAGE_BYTES) {
		size_t indices[PICK_MAX], n = pick(job, w->left, indices);
		uint64_t moved = 0;

		for (size_t i = 0; i < n && w->left >= PAGE_BYTES; i++) {
			uint64_t bytes, began = monotonic_us();

			if (!may_go_on(w, job))
				return 0;
			r = move_range(w, job, indices[i], w->left, &bytes);
			if (r < 0)
				return r;
			moved += bytes;
			if (is_urgent(job->kind) && bytes)
				note_relief(w->host, began);
			if (is_urgent(job->kind))
				atomic_fetch_add(job->kind == VM_JOB_SHED ? &w->host->shed
									  : &w->host->relieved,
						 bytes);
			w->left -= bytes < w->left ? bytes : w->left;
			/* Swap takes no more of it. */
			if (job->kind == VM_JOB_SHED && w->asked && !bytes)
				return 0;
		}
		/*
		 * Nothing of what was picked could be moved. What is to come home lies behind it,
		 * maybe; the tier that took nothing would be asked again.
		 */
		in_vain = moved ? 0 : in_vain + 1;
		if (!n || in_vain == (job->kind == VM_JOB_DEMOTE ? 1 : PICKS_IN_VAIN))
			break;
	}
	return 0;
}

static void put(struct mover_queue *queue, const struct mover_job *job)
{
	queue->jobs[(queue->head + queue->n++) % MOVER_QUEUE] = *job;
}

static bool take(struct mover_queue *queue, struct mover_job *ret_job)
{
	if (!queue->n)
		return false;
	*ret_job = queue->jobs[queue->head];
	queue->head = (queue->head + 1) % MOVER_QUEUE;
	queue->n--;
	return true;
}

static size_t waiting(const struct mover *mover, bool urgent)
{
	return urgent ? mover->urgent.n + mover->shed.n : mover->home.n + mover->out.n;
}

/* Leaves those whose step does not end with their VMs, which get no other job before it has. */
static void leave_stuck(struct mover *mover, bool urgent)
{
	uint64_t now = monotonic_ms();

	for (size_t i = 0; i < mover->n_threads; i++) {
		struct mover_thread *t = &mover->threads[i];

		if (t->urgent != urgent || !t->vm || atomic_load(&t->left) ||
		    now < atomic_load(&t->since_ms) + mover->patience_ms)
			continue;
		atomic_store(&t->left, true);
		atomic_store(&t->vm->unmoved_until_ms, UINT64_MAX);
		pthread_mutex_lock(&t->vm->lock);
		t->vm->counters.move_error = -ETIMEDOUT;
		pthread_mutex_unlock(&t->vm->lock);
		mover->at_work[urgent]--;
	}
}

/* Is there work, and may one more be at it? */
static bool has_turn(struct mover *mover, bool urgent)
{
	size_t most = urgent ? 1 : MOVER_THREADS;

	if (!waiting(mover, urgent))
		return false;
	if (mover->at_work[urgent] == most)
		leave_stuck(mover, urgent);
	return mover->at_work[urgent] < most;
}

static void wait_for_turn(struct mover *mover, bool urgent)
{
	pthread_cond_t *wake = urgent ? &mover->wake_urgent : &mover->wake;
	struct timespec until = monotonic_after(mover->patience_ms / 4);

	if (waiting(mover, urgent))
		pthread_cond_clockwait(wake, &mover->lock, CLOCK_MONOTONIC, &until);
	else
		pthread_cond_wait(wake, &mover->lock);
}

static int add_thread(struct mover *mover, bool urgent);

/* Whoever goes to work sees to it that one more is there, to take over from who is stuck. */
static void go_to_work(struct mover *mover, struct mover_thread *self, struct vm *vm)
{
	size_t all = 0, spare = 0;

	self->vm = vm;
	atomic_store(&self->since_ms, monotonic_ms());
	mover->at_work[self->urgent]++;
	for (size_t i = 0; i < mover->n_threads; i++) {
		all += mover->threads[i].urgent == self->urgent;
		spare += mover->threads[i].urgent == self->urgent && !mover->threads[i].vm;
	}
	if (!spare && all < MOVER_STUCK + (self->urgent ? 1 : MOVER_THREADS))
		add_thread(mover, self->urgent);
	else if (waiting(mover, self->urgent))
		pthread_cond_signal(self->urgent ? &mover->wake_urgent : &mover->wake);
}

/*
 * Waits for work, on the urgent lane or on the others. What comes home goes first, but where DRAM
 * is short: what makes room then waits for no drain, be that to a node that has some. false: it is
 * the end.
 */
static bool next_job(struct mover *mover, struct mover_thread *self, struct mover_job *ret_job)
{
	bool urgent = self->urgent, stopping;
	struct mover_queue *first, *second;

	pthread_mutex_lock(&mover->lock);
	while (!mover->stopping && !has_turn(mover, urgent))
		wait_for_turn(mover, urgent);
	stopping = mover->stopping;
	first = atomic_load(&mover->host->short_nodes) ? &mover->out : &mover->home;
	second = first == &mover->home ? &mover->out : &mover->home;
	if (urgent) {
		first = &mover->urgent;
		second = &mover->shed;
	}
	if (!stopping && !take(first, ret_job))
		take(second, ret_job);
	atomic_store(&mover->relief_waits, mover->urgent.n > 0);
	if (!stopping)
		go_to_work(mover, self, ret_job->vm);
	pthread_mutex_unlock(&mover->lock);
	return !stopping;
}

/* What goes to swap has made way for what comes home, and is to go on after that. */
static bool makes_way(const struct work *w, const struct mover_job *job)
{
	return job->kind == VM_JOB_SHED && w->left >= PAGE_BYTES &&
	       atomic_load(&w->self->mover->relief_waits);
}

/* @again: it waits for another turn with what is left of it. */
static void end_job(struct mover *mover, struct mover_thread *self, const struct mover_job *job,
		    bool again)
{
	pthread_mutex_lock(&mover->lock);
	if (atomic_exchange(&self->left, false))
		atomic_store(&job->vm->unmoved_until_ms, 0);
	else
		mover->at_work[self->urgent]--;
	self->vm = NULL;
	again = again && mover->shed.n < MOVER_QUEUE;
	if (again)
		put(&mover->shed, job);
	pthread_mutex_unlock(&mover->lock);
	if (again)
		return;
	atomic_fetch_and(&job->vm->busy, ~(1U << job->kind));
	vm_unref(job->vm);
}

static bool is_stuck(const struct vm *vm)
{
	return monotonic_ms() < atomic_load(&vm->unmoved_until_ms);
}

static void *worker(void *arg)
{
	struct mover_thread *self = arg;
	struct mover *mover = self->mover;
	struct host *host = mover->host;
	struct work w = { .host = host, .self = self, .idle = { .bitmap = -1, .flags = -1 } };

	for (struct mover_job job = {}; next_job(mover, self, &job);) {
		bool again;
		int r;

		if (atomic_load(&host->idle_active) && w.idle.bitmap < 0)
			page_idle_open(&host->root, &w.idle);
		else if (!atomic_load(&host->idle_active))
			page_idle_close(&w.idle);
		pthread_mutex_lock(&host->lock);
		w.pace.limit_us = host->settings.batch_ms * 1000;
		w.pace.most = w.disk_pace.most = host->settings.batch_pages;
		w.disk_pace.limit_us = DISK_CALL_US;
		pthread_mutex_unlock(&host->lock);

		w.left = job.bytes;
		r = is_stuck(job.vm) ? -ETIMEDOUT : run(&w, &job);
		again = r == 0 && makes_way(&w, &job);
		job.bytes = w.left;
		pthread_mutex_lock(&job.vm->lock);
		if (r < 0 && r != -ESRCH) {
			job.vm->counters.last_error = r;
			job.vm->counters.refused += w.left;
		}
		if (r != -ESRCH)
			job.vm->counters.move_error = r;
		job.vm->jobs_ended++;
		pthread_mutex_unlock(&job.vm->lock);
		end_job(mover, self, &job, again);
	}
	page_idle_close(&w.idle);
	return NULL;
}

/* Lock held. */
static int add_thread(struct mover *mover, bool urgent)
{
	struct mover_thread *t = &mover->threads[mover->n_threads];
	int r;

	*t = (struct mover_thread){ .mover = mover, .urgent = urgent };
	r = pthread_create(&t->thread, NULL, worker, t);
	if (r == 0)
		mover->n_threads++;
	return -r;
}

int mover_start(struct mover *mover, struct host *host)
{
	int r = 0;

	memset(mover, 0, sizeof(*mover));
	mover->host = host;
	mover->patience_ms = PATIENCE_MS;
	pthread_mutex_init(&mover->lock, NULL);
	pthread_cond_init(&mover->wake, NULL);
	pthread_cond_init(&mover->wake_urgent, NULL);
	pthread_mutex_lock(&mover->lock);
	for (size_t i = 0; r == 0 && i < MOVER_THREADS + 1; i++)
		r = add_thread(mover, i == 0);
	pthread_mutex_unlock(&mover->lock);
	return r;
}

bool mover_stop(struct mover *mover)
{
	struct timespec until = monotonic_after(STOP_MS);
	struct mover_job job;

	pthread_mutex_lock(&mover->lock);
	mover->stopping = true;
	pthread_cond_broadcast(&mover->wake);
	pthread_cond_broadcast(&mover->wake_urgent);
	pthread_mutex_unlock(&mover->lock);
	for (; mover->n_threads; mover->n_threads--)
		if (pthread_clockjoin_np(mover->threads[mover->n_threads - 1].thread, NULL,
					 CLOCK_MONOTONIC, &until))
			return false;
	while (take(&mover->urgent, &job) || take(&mover->shed, &job) || take(&mover->home, &job) ||
	       take(&mover->out, &job))
		vm_unref(job.vm);
	pthread_cond_destroy(&mover->wake);
	pthread_cond_destroy(&mover->wake_urgent);
	pthread_mutex_destroy(&mover->lock);
	return true;
}

/* Drops what of @vm waits to come home, as less urgent. mover->lock is held. */
static void overtake(struct mover *mover, struct vm *vm)
{
	size_t n = mover->home.n;
	struct mover_job job;

	for (size_t i = 0; i < n && take(&mover->home, &job); i++) {
		if (job.vm != vm || job.kind == VM_JOB_UNBIND) {
			put(&mover->home, &job);
			continue;
		}
		atomic_fetch_and(&vm->busy, ~(1U << job.kind));
		vm_unref(vm);
	}
}

static struct mover_queue *lane(struct mover *mover, enum vm_job_kind kind)
{
	switch (kind) {
	case VM_JOB_RELIEVE:
		return &mover->urgent;
	case VM_JOB_SHED:
		return &mover->shed;
	case VM_JOB_DEMOTE:
		return &mover->out;
	default:
		return &mover->home;
	}
}

int mover_submit(struct mover *mover, struct vm *vm, enum vm_job_kind kind, uint64_t bytes,
		 uint32_t min_age_s, int nid)
{
	/* All kinds of promotion would pick the same ranges. Relief ends those under way. */
	const uint32_t home =
		1U << VM_JOB_PROMOTE | 1U << VM_JOB_PROMOTE_HOT | 1U << VM_JOB_RELIEVE;
	struct mover_queue *queue = lane(mover, kind);
	uint32_t same = kind == VM_JOB_RELIEVE || !(1U << kind & home) ? 1U << kind : home;
	int r = 0;

	pthread_mutex_lock(&mover->lock);
	if (atomic_load(&vm->busy) & same || is_stuck(vm) || queue->n == MOVER_QUEUE) {
		r = -EBUSY;
	} else {
		if (kind == VM_JOB_RELIEVE) {
			overtake(mover, vm);
			atomic_fetch_add(&vm->reliefs, 1);
		}
		if (is_urgent(kind))
			atomic_fetch_add(&mover->host->reliefs, 1);
		put(queue,
		    &(struct mover_job){
			    .vm = vm_ref(vm),
			    .kind = kind,
			    .bytes = bytes,
			    .min_age_s = min_age_s,
			    .nid = nid,
			    .epoch = atomic_load(kind == VM_JOB_DEMOTE ? &vm->epoch : &vm->reliefs),
		    });
		atomic_fetch_or(&vm->busy, 1U << kind);
		atomic_store(&mover->relief_waits, mover->urgent.n > 0);
		pthread_cond_signal(is_urgent(kind) ? &mover->wake_urgent : &mover->wake);
	}
	pthread_mutex_unlock(&mover->lock);
	return r;
}
