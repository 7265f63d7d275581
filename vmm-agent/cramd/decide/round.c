// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * One round: what was sensed goes into a snapshot, libcram-policy decides, the movers get their
 * work. The deciding itself is in policy/.
 */
#include "../daemon.h"
#include "../moves.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "protocol/record.h"
#include "util/sort.h"

/* What an ordinary slow node keeps free for the kernel itself. */
#define TIER_KEEP_PERMILLE 20
#define TIER_KEEP_MIN	   (16 * MiB)

/* The kernel's watermarks change by hand only, and their file is long. */
#define WATERMARK_ROUNDS 32

static uint64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

static bool is_tier(const struct daemon *d, const struct node *node)
{
	const char *text = d->conf.host.tier_nodes;
	uint64_t mask;

	if (!strcmp(text, "none"))
		return false;
	if (!strcmp(text, "auto"))
		return node->has_memory && !node->has_cpu;
	return parse_node_list(text, &mask) == 0 && (mask & UINT64_C(1) << node->nid);
}

static void read_nodes(struct daemon *d)
{
	size_t before = d->nodes.n;
	uint32_t missed;
	int r;

	r = nodes_read(&d->host.root, &d->nodes);
	if (r == 0 && (d->nodes.n != before || d->rounds % WATERMARK_ROUNDS == 0))
		r = nodes_low_watermarks(&d->host.root, d->low);
	if (r == 0 || !cram_ratelimit_ok(&d->log_limit, monotonic_ms(), &missed))
		return;
	d->log_missed += missed;
	cram_log_warn(&d->host.log,
		      "NUMA nodes cannot be read: %s; decided by what they were before",
		      strerror(-r));
}

static struct cram_dram_input dram_of(const struct daemon *d, const struct node *node)
{
	return (struct cram_dram_input){
		.nid = node->nid,
		.total = node->total,
		.free = node->free,
		.low = d->low[node->nid],
		.inactive_file = node->inactive_file,
		.dirty = node->dirty,
	};
}

/* An ordinary slow node gives up page cache as DRAM does. */
static uint64_t available_on(const struct daemon *d, const struct node *node)
{
	struct cram_dram_input dram = dram_of(d, node);

	return cram_dram_available(&dram, d->conf.host.policy.cache_permille);
}

/* Says so once, until it is none any more. */
static bool is_unfit(struct daemon *d, const struct node *node)
{
	uint64_t bit = UINT64_C(1) << node->nid;
	char why[256];

	if (!unfit_node(&d->unfit, node, why, sizeof(why))) {
		d->reported_unfit &= ~bit;
		return false;
	}
	if (!(d->reported_unfit & bit)) {
		d->reported_unfit |= bit;
		cram_log_err(&d->host.log, "not used: %s", why);
		daemon_event(d, "node-refused", NULL, node->total, "%s", why);
	}
	return true;
}

static void sense_nodes(struct daemon *d)
{
	uint64_t tier_nodes = 0;

	read_nodes(d);
	unfit_refresh(&d->unfit, &d->host.root, cxl_ask_kernel, &d->nodes,
		      d->conf.host.compressing_nodes);
	d->n_tiers = 0;
	d->n_dram = 0;
	for (size_t i = 0; i < d->nodes.n; i++) {
		const struct node *node = &d->nodes.v[i];

		if (node->has_memory && is_unfit(d, node)) {
			/* Neither tier nor home: what lies there comes home, and nothing goes. */
			tier_nodes |= UINT64_C(1) << node->nid;
		} else if (is_tier(d, node)) {
			uint64_t keep = node->total * TIER_KEEP_PERMILLE / 1000;
			uint64_t available = available_on(d, node);

			if (d->n_tiers == DAEMON_TIERS_MAX)
				continue;
			if (keep < TIER_KEEP_MIN)
				keep = TIER_KEEP_MIN;
			tier_nodes |= UINT64_C(1) << node->nid;
			d->tier_capacity[d->n_tiers] = node->total;
			d->tiers[d->n_tiers++] = (struct cram_tier_input){
				.nid = node->nid,
				.kind = CRAM_TIER_NODE,
				.budget = node->total > keep ? node->total - keep : 0,
				.free = available > keep ? available - keep : 0,
				.accepting = node->has_memory && available > keep,
			};
		} else if (node->has_memory) {
			d->dram[d->n_dram++] = dram_of(d, node);
		}
	}
	atomic_store(&d->host.tier_nodes, tier_nodes);
}

/* The nearest of the tiers that the VM's settings and cpuset allow; -1: none. */
static int choose_tier(const struct daemon *d, const struct vm *vm, uint64_t home, uint64_t allowed)
{
	int best = -1;
	unsigned int best_distance = UINT8_MAX + 1;

	for (size_t i = 0; i < d->n_tiers; i++) {
		const struct cram_tier_input *tier = &d->tiers[i];
		const struct node *node = nodes_find(&d->nodes, tier->nid);
		unsigned int distance = UINT8_MAX;

		if (!(vm->settings.tiers & 1U << tier->kind))
			continue;
		if (allowed && !(allowed & UINT64_C(1) << tier->nid))
			continue;
		for (int nid = 0; node && nid < NODES_MAX; nid++)
			if ((home & UINT64_C(1) << nid) && node->distance[nid] < distance)
				distance = node->distance[nid];
		if (distance < best_distance) {
			best = (int)i;
			best_distance = distance;
		}
	}
	return best;
}

/* What of @vm's memory is on which tier. vm->lock is held. */
static void count_tiers(struct daemon *d, const struct vm *vm, uint64_t tier_bytes, int tier)
{
	uint64_t elsewhere = 0;

	for (size_t i = 0; i < d->n_tiers; i++) {
		uint64_t bytes = vm->node_bytes[d->tiers[i].nid];

		/* What was moved since the reading came from or went to its own. */
		if ((int)i == tier)
			continue;
		elsewhere += bytes;
		d->tier_used[i] += bytes;
		d->tier_vms[i] += bytes != 0;
	}
	if (tier >= 0 && tier_bytes > elsewhere) {
		d->tier_used[tier] += tier_bytes - elsewhere;
		d->tier_own[tier] += tier_bytes - elsewhere;
		d->tier_vms[tier]++;
	}
}

static void sense_vm(struct daemon *d, struct vm *vm, uint64_t now_ms)
{
	const struct cram_host_settings *set = &d->conf.host;
	struct ranges_summary summary = {};
	uint64_t tier_nodes = atomic_load(&d->host.tier_nodes), home, allowed;
	struct cram_vm_input *in = &vm->input;
	bool eligible, paused, home_for_good;

	pthread_mutex_lock(&vm->lock);
	ranges_summarise(&vm->ranges, monotonic_s(), &summary);
	eligible = vm->reason == VM_ELIGIBLE;
	home_for_good = vm_settled(vm) && !vm->bound;
	home = vm->home_nodes;
	allowed = vm->mems_allowed;
	*in = (struct cram_vm_input){
		.uuid = vm->uuid,
		.name = vm->name,
		.mode = vm->settings.mode,
		.quota = vm->settings.quota,
		.hard_limit = vm->settings.hard_limit,
		.floor = vm->settings.floor,
		.weight = vm->settings.weight,
		.cold_age_s = vm->settings.cold_age_s,
		.ram = vm->ram,
		.eligible = eligible ? vm->ram : 0,
		.dram = vm_dram_bytes(vm, tier_nodes),
		.tier_bytes = vm_tier_bytes(vm, tier_nodes),
		.swapped = vm->swapped,
		.ratio_q16 = 1U << 16,
		.hot_bytes = summary.hot,
		.accessed_bytes = summary.accessed,
		.returned_total = vm->counters.returned,
		.memory = vm->policy_memory,
	};
	memcpy(in->cold, summary.cold, sizeof(in->cold));
	in->tier = choose_tier(d, vm, home, allowed);
	count_tiers(d, vm, in->tier_bytes, in->tier);
	pthread_mutex_unlock(&vm->lock);

	in->device_bytes = in->tier_bytes;
	if (in->hot_bytes > in->tier_bytes)
		in->hot_bytes = in->tier_bytes;
	for (size_t i = 0; i < d->n_dram; i++)
		if (home & UINT64_C(1) << d->dram[i].nid)
			in->home_mask |= UINT64_C(1) << i;
	paused = vm->paused_by_operator || vm->paused_by_job || atomic_load(&d->host.paused);
	in->flags = (eligible ? 0 : CRAM_VM_F_INELIGIBLE) | (paused ? CRAM_VM_F_PAUSED : 0) |
		    (vm->drain ? CRAM_VM_F_DRAIN : 0) | (vm->incoming ? CRAM_VM_F_INCOMING : 0) |
		    (home_for_good && !in->tier_bytes ? CRAM_VM_F_HOME : 0);
	in->demote_tokens = cram_bucket_fill(&vm->demote_bucket, now_ms, set->vm_demote_rate,
					     set->vm_demote_rate * set->burst_ms / 1000);
	in->promote_tokens = cram_bucket_fill(&vm->promote_bucket, now_ms, set->vm_promote_rate,
					      set->vm_promote_rate * set->burst_ms / 1000);

	atomic_store(&vm->tier_nid, in->tier >= 0 ? d->tiers[in->tier].nid : -1);
	/* Whoever waits for the end of a drain waits for the reading that confirms it. */
	atomic_store(&vm->recount, vm->drain && !in->tier_bytes && !home_for_good);
	atomic_store(&vm->watched, eligible && !paused && !vm->incoming &&
					   (vm->settings.mode != CRAM_MODE_OFF || in->tier_bytes));
}

static void hand_out(struct daemon *d, struct vm *vm)
{
	const struct cram_vm_action *a = &vm->action;
	uint64_t back = a->promote_hot_bytes + a->promote_bytes;

	if (back &&
	    mover_submit(&d->mover, vm, a->promote_bytes ? VM_JOB_PROMOTE : VM_JOB_PROMOTE_HOT,
			 back, 0, d->dram[a->home].nid) == 0) {
		cram_bucket_take(&d->promote_bucket, back);
		cram_bucket_take(&vm->promote_bucket, back);
	}
	if (a->demote_bytes && vm->input.tier >= 0 &&
	    mover_submit(&d->mover, vm, VM_JOB_DEMOTE, a->demote_bytes, a->demote_age_s,
			 d->tiers[vm->input.tier].nid) == 0) {
		cram_bucket_take(&d->demote_bucket, a->demote_bytes);
		cram_bucket_take(&vm->demote_bucket, a->demote_bytes);
	}
	if (a->goes_home && !vm->input.tier_bytes && !atomic_load(&vm->busy)) {
		bool bound;

		pthread_mutex_lock(&vm->lock);
		bound = vm->bound;
		pthread_mutex_unlock(&vm->lock);
		if (bound)
			mover_submit(&d->mover, vm, VM_JOB_UNBIND, 0, 0, -1);
	}
}

/* What the relief thread watches until the next round, and what it may order meanwhile. */
static void leave_orders(struct daemon *d, uint64_t now_ms)
{
	struct relief_node nodes[CRAM_MAX_DRAM];

	for (size_t i = 0; i < d->n_dram; i++)
		nodes[i] = (struct relief_node){
			.nid = d->dram[i].nid,
			.headroom = d->headroom[i],
			.low = d->dram[i].low,
		};
	d->standing.n = 0;
	for (size_t k = 0; k < d->by_priority.n; k++) {
		struct vm *vm = d->vms.v[d->by_priority.v[k]].vm;
		struct relief_order *order = &d->standing.v[d->standing.n];

		if (!vm->action.held_back_bytes || vm->input.tier < 0)
			continue;
		*order = (struct relief_order){
			.vm = vm,
			.bytes = vm->action.held_back_bytes,
			.rate = d->conf.host.vm_demote_rate,
			.min_age_s = vm->action.demote_age_s,
			.epoch = atomic_load(&vm->epoch),
			.nid = d->tiers[vm->input.tier].nid,
		};
		for (size_t i = 0; i < d->n_dram; i++)
			if (vm->input.home_mask & UINT64_C(1) << i)
				order->home |= UINT64_C(1) << d->dram[i].nid;
		d->standing.n++;
	}
	relief_publish(&d->relief,
		       &(struct relief_plan){
			       .nodes = nodes,
			       .n_nodes = d->n_dram,
			       .orders = d->standing.v,
			       .n_orders = d->standing.n,
			       .cache_permille = d->conf.host.policy.cache_permille,
			       .rate = d->conf.host.demote_rate,
			       .now_ms = now_ms,
			       .due_ms = now_ms + d->conf.host.round_ms,
		       },
		       &d->demote_bucket);
}

/* Tells people what changed. */
static void announce(struct daemon *d, struct vm *vm)
{
	enum vm_ineligible reason;

	pthread_mutex_lock(&vm->lock);
	reason = vm->reason;
	pthread_mutex_unlock(&vm->lock);
	if (reason != vm->reported_reason && reason != VM_NOT_LOOKED) {
		uint32_t missed;

		vm->reported_reason = reason;
		if (cram_ratelimit_ok(&d->log_limit, monotonic_ms(), &missed)) {
			d->log_missed += missed;
			if (reason == VM_ELIGIBLE)
				cram_log_info(&d->host.log, "vm \"%s\": can be tiered", vm->name);
			else
				cram_log_info(&d->host.log, "vm \"%s\": left alone: %s", vm->name,
					      vm_ineligible_text(reason));
		}
	}
	if (vm->action.state != vm->reported_state) {
		vm->reported_state = vm->action.state;
		cram_log_debug(&d->host.log, "vm \"%s\": %s, %" PRIu64 " MiB on the tier", vm->name,
			       cram_vm_state_name(vm->action.state), vm->input.tier_bytes / MiB);
		daemon_event(d, "state", vm, vm->input.tier_bytes, "%s",
			     cram_vm_state_name(vm->action.state));
	}
}

/* Of two VMs by index, whose work comes first? */
static bool first(const void *a, const void *b, const void *actions)
{
	size_t i = *(const size_t *)a, k = *(const size_t *)b;
	const struct cram_vm_action *x = (const struct cram_vm_action *)actions + i;
	const struct cram_vm_action *y = (const struct cram_vm_action *)actions + k;

	return x->priority != y->priority ? x->priority > y->priority : i < k;
}

static int reserve(struct daemon *d)
{
	size_t n = d->vms.n;

	if (array_reserve(&d->inputs, n) < 0 || array_reserve(&d->actions, n) < 0 ||
	    array_reserve(&d->by_priority, n) < 0 || array_reserve(&d->standing, n) < 0)
		return -1;
	return cram_policy_workspace_reserve(&d->workspace, n);
}

void daemon_round(struct daemon *d)
{
	const struct cram_host_settings *set = &d->conf.host;
	uint64_t start = now_us(), now_ms = start / 1000, decide_began_us, promoted = d->promoted;
	struct cram_decision decision;

	daemon_relayout(d);
	sense_nodes(d);
	memset(d->tier_used, 0, sizeof(d->tier_used));
	memset(d->tier_own, 0, sizeof(d->tier_own));
	memset(d->tier_vms, 0, sizeof(d->tier_vms));
	if (reserve(d) < 0)
		return;
	d->by_priority.n = 0;
	d->inputs.n = d->vms.n;
	d->actions.n = d->vms.n;
	for (size_t i = 0; i < d->vms.n; i++) {
		struct vm *vm = d->vms.v[i].vm;

		sense_vm(d, vm, now_ms);
		d->inputs.v[i] = vm->input;
		d->by_priority.v[d->by_priority.n++] = i;
		pthread_mutex_lock(&vm->lock);
		promoted += vm->counters.promoted;
		pthread_mutex_unlock(&vm->lock);
	}
	for (size_t i = 0; i < d->n_tiers; i++) {
		const struct node *node = nodes_find(&d->nodes, d->tiers[i].nid);
		uint64_t used = node ? node->total - available_on(d, node) : 0;

		d->tiers[i].used_other = used > d->tier_own[i] ? used - d->tier_own[i] : 0;
	}
	/* How fast memory comes home, smoothed over some four rounds. */
	if (d->last_round_ms && now_ms > d->last_round_ms) {
		uint64_t rate =
			promoted >= d->last_promoted
				? (promoted - d->last_promoted) * 1000 / (now_ms - d->last_round_ms)
				: 0;

		d->promote_rate = (d->promote_rate * 3 + rate) / 4;
	}
	d->last_promoted = promoted;
	d->last_round_ms = now_ms;

	d->snap = (struct cram_snapshot){
		.now_ms = now_ms,
		.demote_tokens = cram_bucket_fill(&d->demote_bucket, now_ms, set->demote_rate,
						  set->demote_rate * set->burst_ms / 1000),
		.promote_tokens = cram_bucket_fill(&d->promote_bucket, now_ms, set->promote_rate,
						   set->promote_rate * set->burst_ms / 1000),
		.promote_rate = d->promote_rate,
		.dram = d->dram,
		.n_dram = d->n_dram,
		.tiers = d->tiers,
		.n_tiers = d->n_tiers,
		.vms = d->inputs.v,
		.n_vms = d->vms.n,
	};
	decision = (struct cram_decision){ .actions = d->actions.v };
	decide_began_us = now_us();
	if (cram_policy_decide(&set->policy, &d->snap, d->workspace, &decision) < 0)
		return;
	d->decision_us = now_us() - decide_began_us;
	memcpy(d->headroom, decision.headroom, sizeof(d->headroom));
	memcpy(d->available, decision.available, sizeof(d->available));
	cram_sort(d->by_priority.v, d->by_priority.n, sizeof(*d->by_priority.v), first,
		  d->actions.v);
	for (size_t k = 0; k < d->by_priority.n; k++) {
		size_t i = d->by_priority.v[k];
		struct vm *vm = d->vms.v[i].vm;

		vm->action = d->actions.v[i];
		vm->policy_memory = vm->action.memory;
		vm->has_action = true;
		atomic_store(&vm->look_everywhere, vm->input.tier_bytes && vm->action.goes_home);
		atomic_store(&vm->cold_age_s, vm->action.cold_age_s);
		hand_out(d, vm);
		announce(d, vm);
	}
	leave_orders(d, now_ms);
	d->rounds++;
	d->round_us = now_us() - start;
}

struct json_object *daemon_record(struct daemon *d)
{
	struct cram_snapshot snap = d->snap;

	/* Of the VMs decided on those that are still there: the others' names have gone with them.
	 */
	d->inputs.n = 0;
	if (array_reserve(&d->inputs, d->vms.n) < 0)
		return NULL;
	for (size_t i = 0; i < d->vms.n; i++)
		if (d->vms.v[i].vm->has_action)
			d->inputs.v[d->inputs.n++] = d->vms.v[i].vm->input;
	snap.vms = d->inputs.v;
	snap.n_vms = d->inputs.n;
	return cram_record_encode(&d->conf.host.policy, &snap);
}
