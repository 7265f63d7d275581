// SPDX-License-Identifier: GPL-2.0-or-later
/* Work for the movers and for relief; see dispatch.h. */
#include "dispatch.h"

#include <string.h>

#include "limit.h"
#include "policy/saturate.h"
#include "util/sort.h"

void dispatch_free(struct dispatch *dispatch)
{
	array_free(&dispatch->by_priority);
	array_free(&dispatch->standing);
	array_free(&dispatch->on_cards);
}

/* Of two VMs by index, whose work comes first? */
static bool first(const void *a, const void *b, const void *actions)
{
	size_t i = *(const size_t *)a, k = *(const size_t *)b;
	const struct cram_vm_action *x = (const struct cram_vm_action *)actions + i;
	const struct cram_vm_action *y = (const struct cram_vm_action *)actions + k;

	return x->priority != y->priority ? x->priority > y->priority : i < k;
}

static void put_in_order(struct dispatch *dispatch, size_t n, const struct cram_decision *decision)
{
	dispatch->by_priority.n = n;
	for (size_t i = 0; i < n; i++)
		dispatch->by_priority.v[i] = i;
	cram_sort(dispatch->by_priority.v, n, sizeof(*dispatch->by_priority.v), first,
		  decision->actions);
}

/* Nothing goes out that the kernel is not told of before. */
static bool keep_limit(struct host *host, const struct vm *vm, const struct snapshot *s)
{
	int r = limit_keep(vm, s);

	if (r < 0 && host_may_log(host, s->view.now_ms))
		cram_log_warn(&host->log,
			      "vm \"%s\": the kernel's limit on compressed memory cannot be set: "
			      "%s; nothing more of it goes there",
			      vm->name, strerror(-r));
	return r == 0;
}

/* What was decided to come home of a VM. */
static uint64_t comes_home(const struct cram_vm_action *a)
{
	return a->promote_hot_bytes + a->promote_bytes;
}

static enum vm_job_kind kind_of(const struct cram_vm_action *a)
{
	return a->urgent ? VM_JOB_RELIEVE : a->promote_bytes ? VM_JOB_PROMOTE : VM_JOB_PROMOTE_HOT;
}

static void hand_out(struct mover *mover, struct host *host, struct vm *vm,
		     const struct snapshot *s)
{
	const struct cram_vm_action *a = &vm->action;
	uint64_t back = comes_home(a);
	bool limited = keep_limit(host, vm, s);

	/* What a card has been relieved of since the snapshot, the next one sees. */
	if (kind_of(a) == VM_JOB_RELIEVE && atomic_load(&vm->reliefs) != vm->reliefs_seen)
		back = 0;
	if (back && mover_submit(mover, vm, kind_of(a), back, 0, s->dram[a->home].nid) == 0) {
		cram_bucket_take(&host->promote_bucket, back);
		cram_bucket_take(&vm->promote_bucket, back);
	}
	if (a->demote_bytes && vm->input.tier >= 0 && limited &&
	    mover_submit(mover, vm, VM_JOB_DEMOTE, a->demote_bytes, a->demote_age_s,
			 snapshot_tier_nid(s, (size_t)vm->input.tier)) == 0) {
		cram_bucket_take(&host->demote_bucket, a->demote_bytes);
		cram_bucket_take(&vm->demote_bucket, a->demote_bytes);
	}
	if (a->goes_home && !vm->input.tier_bytes && !atomic_load(&vm->busy)) {
		bool bound;

		pthread_mutex_lock(&vm->lock);
		bound = vm->bound;
		pthread_mutex_unlock(&vm->lock);
		if (bound)
			mover_submit(mover, vm, VM_JOB_UNBIND, 0, 0, -1);
	}
}

/* Of a mask as policy has it, the nodes. */
static uint64_t nodes_of(const struct snapshot *s, uint64_t mask)
{
	uint64_t nodes = 0;

	for (size_t i = 0; i < s->n_dram; i++)
		if (mask & UINT64_C(1) << i)
			nodes |= UINT64_C(1) << s->dram[i].nid;
	return nodes;
}

static struct relief_order order_for(struct vm *vm, const struct snapshot *s, uint64_t rate)
{
	return (struct relief_order){
		.vm = vm,
		.bytes = vm->action.held_back_bytes,
		.rate = rate,
		.min_age_s = vm->action.demote_age_s,
		.epoch = atomic_load(&vm->epoch),
		.nid = snapshot_tier_nid(s, (size_t)vm->input.tier),
		.home = nodes_of(s, vm->input.home_mask),
	};
}

/* What the relief thread watches until the next round, and what it may order meanwhile. */
static int leave_orders(struct dispatch *dispatch, struct relief *relief, struct host *host,
			const struct cram_host_settings *set, const struct snapshot *s,
			const struct cram_decision *decision)
{
	struct relief_node nodes[CRAM_MAX_DRAM];

	for (size_t i = 0; i < s->n_dram; i++)
		nodes[i] = (struct relief_node){
			.nid = s->dram[i].nid,
			.headroom = decision->headroom[i],
			.low = s->dram[i].low,
		};
	dispatch->standing.n = 0;
	for (size_t k = 0; k < dispatch->by_priority.n; k++) {
		struct vm *vm = host->vms.v[dispatch->by_priority.v[k]];

		if (vm->action.held_back_bytes && vm->input.tier >= 0)
			dispatch->standing.v[dispatch->standing.n++] =
				order_for(vm, s, set->vm_demote_rate);
	}
	return relief_publish(relief,
			      &(struct relief_plan){
				      .nodes = nodes,
				      .n_nodes = s->n_dram,
				      .orders = dispatch->standing.v,
				      .n_orders = dispatch->standing.n,
				      .cache_permille = set->policy.cache_permille,
				      .rate = set->demote_rate,
				      .now_ms = s->view.now_ms,
				      .due_ms = s->view.now_ms + set->round_ms,
			      },
			      &host->demote_bucket);
}

/*
 * Of the nodes that what is out of @vm may come home to, as a round would choose, the one with the
 * most above headroom; -1: there is none.
 */
static int roomiest(const struct vm *vm, const struct backpressure_room *rooms, size_t n)
{
	uint64_t nodes = cram_next_return_mask(&vm->input);
	int best = -1;

	for (size_t i = 0; i < n; i++)
		if (nodes & UINT64_C(1) << i && (best < 0 || rooms[i].bytes > rooms[best].bytes))
			best = (int)i;
	return best < 0 ? -1 : rooms[best].nid;
}

/* What is above headroom of each home node once all is there that was decided to come home. */
static void find_rooms(const struct host *host, const struct snapshot *s,
		       const struct cram_decision *decision, struct backpressure_room *rooms)
{
	for (size_t i = 0; i < s->n_dram; i++)
		rooms[i] = (struct backpressure_room){
			.nid = s->dram[i].nid,
			.bytes = sub(decision->available[i], decision->headroom[i]),
		};
	for (size_t i = 0; i < host->vms.n; i++) {
		const struct cram_vm_action *a = &host->vms.v[i]->action;

		if (a->home >= 0)
			rooms[a->home].bytes = sub(rooms[a->home].bytes, comes_home(a));
	}
}

/* The same of swap. */
static uint64_t find_swap_room(const struct host *host, const struct snapshot *s)
{
	uint64_t bytes = s->view.swap_room;

	for (size_t i = 0; i < host->vms.n; i++)
		bytes = sub(bytes, host->vms.v[i]->action.swap_bytes);
	return bytes;
}

/*
 * What @vm has on its card, and where of it may go. What was decided to leave counts as ordered
 * whether or not a mover had a place for it: its room is kept, too.
 */
static struct backpressure_vm share_of(struct vm *vm, const struct snapshot *s,
				       const struct backpressure_room *rooms)
{
	bool stays = vm->input.flags & CRAM_VM_F_INCOMING;

	return (struct backpressure_vm){
		.vm = vm,
		.nid = s->tiers[vm->input.tier].nid,
		.device = vm->input.device_bytes,
		.bytes = vm->input.tier_bytes,
		.given = comes_home(&vm->action) + vm->action.swap_bytes,
		.weight = vm->input.weight,
		.home = stays ? -1 : roomiest(vm, rooms, s->n_dram),
		.homes = nodes_of(s, cram_return_mask(&vm->input)),
		.sheds = vm->input.may_swap && !vm->action.goes_home && !stays,
	};
}

/* What the pressure thread watches until the next round, and who could give back meanwhile. */
static int leave_shares(struct dispatch *dispatch, struct backpressure *backpressure,
			struct host *host, const struct cram_host_settings *set,
			const struct snapshot *s, const struct cram_decision *decision)
{
	struct backpressure_room rooms[CRAM_MAX_DRAM];
	struct backpressure_card cards[TIERS_MAX];
	size_t n_cards = 0;

	find_rooms(host, s, decision, rooms);
	dispatch->on_cards.n = 0;
	for (size_t t = 0; t < s->n_tiers; t++) {
		if (s->tiers[t].kind != CRAM_TIER_CRAM)
			continue;
		cards[n_cards++] = (struct backpressure_card){
			.nid = s->tiers[t].nid,
			.stored = s->tier_device[t],
			.used_other = s->tiers[t].used_other,
		};
		for (size_t i = 0; i < host->vms.n; i++) {
			struct vm *vm = host->vms.v[i];

			/* Who has too much is for a round to say when all are in. */
			if (vm->input.tier == (int)t && vm->input.device_bytes && !host->gathering)
				dispatch->on_cards.v[dispatch->on_cards.n++] =
					share_of(vm, s, rooms);
		}
	}
	return backpressure_publish(backpressure, &(struct backpressure_plan){
							  .cards = cards,
							  .n_cards = n_cards,
							  .vms = dispatch->on_cards.v,
							  .n_vms = dispatch->on_cards.n,
							  .rooms = rooms,
							  .n_rooms = s->n_dram,
							  .swap_room = find_swap_room(host, s),
							  .due_ms = s->view.now_ms + set->round_ms,
						  });
}

int dispatch_work(struct dispatch *dispatch, struct mover *mover, struct relief *relief,
		  struct backpressure *backpressure, struct host *host,
		  const struct cram_host_settings *set, const struct snapshot *s,
		  const struct cram_decision *decision)
{
	size_t n = host->vms.n;
	int r;

	if (array_reserve(&dispatch->by_priority, n) < 0 ||
	    array_reserve(&dispatch->standing, n) < 0 || array_reserve(&dispatch->on_cards, n) < 0)
		return -ENOMEM;
	put_in_order(dispatch, n, decision);
	for (size_t k = 0; k < n; k++)
		hand_out(mover, host, host->vms.v[dispatch->by_priority.v[k]], s);
	/* Each makes way for another VM's memory that may come home: that is to be known first. */
	for (size_t k = 0; k < n; k++) {
		struct vm *vm = host->vms.v[dispatch->by_priority.v[k]];

		if (vm->action.swap_bytes)
			mover_submit(mover, vm, VM_JOB_SHED, vm->action.swap_bytes, 0, NODE_SWAP);
	}
	r = leave_orders(dispatch, relief, host, set, s, decision);
	return r < 0 ? r : leave_shares(dispatch, backpressure, host, set, s, decision);
}
