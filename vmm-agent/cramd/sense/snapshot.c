// SPDX-License-Identifier: GPL-2.0-or-later
/* From what was sensed to what is decided on; see snapshot.h. */
#include "snapshot.h"

#include <string.h>

#include "../moves.h"
#include "../tier/tier.h"
#include "policy/saturate.h"
#include "protocol/record.h"

/* The kernel's watermarks change by hand only, and their file is long. */
#define WATERMARK_EVERY 32

/* ------------------------------------------------------------------ nodes */

static void read_nodes(struct snapshot *s, struct host *host, uint64_t now_ms)
{
	size_t before = s->nodes.n;
	int r;

	r = nodes_read(&host->root, &s->nodes);
	if (r == 0 && (s->nodes.n != before || s->taken % WATERMARK_EVERY == 0))
		r = nodes_low_watermarks(&host->root, s->low);
	s->nodes_stale = r < 0;
	if (r == 0 || !host_may_log(host, now_ms))
		return;
	cram_log_warn(&host->log, "NUMA nodes cannot be read: %s; decided by what they were before",
		      strerror(-r));
}

struct cram_dram_input snapshot_dram(const struct snapshot *s, const struct node *node)
{
	return (struct cram_dram_input){
		.nid = node->nid,
		.total = node->total,
		.free = node->free,
		.low = s->low[node->nid],
		.inactive_file = node->inactive_file,
		.dirty = node->dirty,
	};
}

/* The kind of slow memory that @node is; NULL: none. */
static const struct tier *kind_of(const struct node *node, const struct cram_host_settings *set)
{
	for (int kind = 0; kind < CRAM_N_TIERS; kind++) {
		const struct tier *tier = tier_of_kind((enum cram_tier)kind);

		if (tier && tier->takes && tier->takes(node, set))
			return tier;
	}
	return NULL;
}

static void add_tier(struct snapshot *s, struct host *host, const struct tier *tier, int nid,
		     const struct cram_host_settings *set)
{
	size_t t = s->n_tiers;

	s->tiers[t] = (struct cram_tier_input){ .nid = nid, .kind = tier->kind };
	if (tier->read(s, t, host, set) == 0)
		s->n_tiers++;
}

int snapshot_tier_nid(const struct snapshot *s, size_t t)
{
	return s->tiers[t].nid < 0 ? NODE_SWAP : s->tiers[t].nid;
}

/* What is swapped of a VM is the kernel's affair, unless swap is its tier, or was. */
static uint64_t sense_zswap(struct snapshot *s, struct host *host,
			    const struct cram_host_settings *set)
{
	bool wanted = false, left = false;

	for (size_t i = 0; i < host->vms.n; i++) {
		const struct vm *vm = host->vms.v[i];

		wanted |= vm->settings.tiers >> CRAM_TIER_ZSWAP & 1;
		left |= atomic_load(&vm->on_swap);
	}
	if (!wanted && !left)
		return 0;
	zswap_read(&host->root, &s->zswap);
	if (wanted && s->n_tiers < TIERS_MAX)
		add_tier(s, host, &tier_zswap, -1, set);
	return left || !s->zswap.why[0] ? SWAP_BIT : 0;
}

/* Nodes that neither mbind nor move_pages reaches, of @tiers. */
static void sense_reclaim(struct snapshot *s, struct host *host)
{
	uint64_t nodes = 0;
	char text[16];

	for (size_t t = 0; t < s->n_tiers; t++) {
		const struct node *node = nodes_find(&s->nodes, s->tiers[t].nid);

		if (node && node->no_policy)
			nodes |= UINT64_C(1) << node->nid;
	}
	if (nodes) {
		s->demotion = sysroot_read(&host->root, "/sys/kernel/mm/numa/demotion_enabled",
					   text, sizeof(text), NULL) == 0 &&
			      (text[0] == 't' || text[0] == '1' || text[0] == 'Y');
		s->swap = sysroot_meminfo(&host->root, "SwapTotal:") > 0;
	}
	atomic_store(&host->reclaim_nodes, nodes);
}

static void sense_nodes(struct snapshot *s, struct host *host, const struct cram_host_settings *set,
			uint64_t now_ms)
{
	uint64_t not_home = 0;

	read_nodes(s, host, now_ms);
	unfit_refresh(&s->unfit, &host->root, cxl_ask_kernel, &s->nodes, set->compressing_nodes);
	s->unfit_nodes = 0;
	s->n_tiers = 0;
	s->n_dram = 0;
	for (size_t i = 0; i < s->nodes.n; i++) {
		const struct node *node = &s->nodes.v[i];
		const struct tier *tier = kind_of(node, set);
		uint64_t bit = UINT64_C(1) << node->nid;

		if (node->has_memory && unfit_node(&s->unfit, node, NULL, 0)) {
			/* Neither tier nor home: what lies there comes home, and nothing goes. */
			s->unfit_nodes |= bit;
			not_home |= bit;
		} else if (tier) {
			not_home |= s->n_tiers < TIERS_MAX ? bit : 0;
			/* Their numbers stand for other things where a tier is no node. */
			if (s->n_tiers < TIERS_MAX && node->nid < NODE_CACHE)
				add_tier(s, host, tier, node->nid, set);
		} else if (node->has_memory) {
			s->dram[s->n_dram++] = snapshot_dram(s, node);
		}
	}
	sense_reclaim(s, host);
	not_home |= sense_zswap(s, host, set);
	atomic_store(&host->tier_nodes, not_home);
}

/* ------------------------------------------------------------------ VMs */

/* Is a RAM block of @vm, by its QEMU's command line, to be on one of @nodes? vm->lock is held. */
static bool is_told(const struct vm *vm, uint64_t nodes)
{
	for (size_t i = 0; i < vm->blocks.n; i++)
		if (vm->blocks.v[i].policy.nodes & nodes)
			return true;
	return false;
}

/* See vm_tiers_of(). vm->lock is held. */
static uint64_t no_tiers_of(const struct snapshot *s, const struct vm *vm, uint64_t tier_nodes)
{
	uint64_t used = atomic_load(&vm->used_tiers), nodes = 0;
	bool may = vm->settings.tiers & 1U << CRAM_TIER_NODE;
	bool has_dram = !vm->mems_allowed || vm->mems_allowed & ~tier_nodes;

	for (size_t i = 0; i < s->n_tiers; i++) {
		uint64_t bit = UINT64_C(1) << snapshot_tier_nid(s, i);

		if (s->tiers[i].kind != CRAM_TIER_NODE || used & bit)
			continue;
		if (!may || !has_dram || (vm->settings.mode != CRAM_MODE_AUTO && is_told(vm, bit)))
			nodes |= bit;
	}
	return nodes;
}

/* The nearest of the tiers that the VM's settings and cpuset allow; -1: none. */
static int choose_tier(const struct snapshot *s, const struct vm *vm, uint64_t home,
		       uint64_t allowed, const struct cram_host_settings *set)
{
	int best = -1;
	unsigned int best_distance = UINT8_MAX + 1;

	for (size_t i = 0; i < s->n_tiers; i++) {
		const struct cram_tier_input *tier = &s->tiers[i];
		const struct node *node = nodes_find(&s->nodes, tier->nid);
		unsigned int distance = UINT8_MAX;
		char why[256];

		if (!(vm->settings.tiers & 1U << tier->kind))
			continue;
		if (node && allowed && !(allowed & UINT64_C(1) << tier->nid))
			continue;
		if (node && atomic_load(&vm->no_tiers) & UINT64_C(1) << tier->nid)
			continue;
		if (tier_of_kind(tier->kind)->fits &&
		    !tier_of_kind(tier->kind)->fits(s, node, vm, set, why, sizeof(why)))
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
static void count_tiers(struct snapshot *s, const struct vm *vm, uint64_t tier_bytes, int tier)
{
	uint64_t elsewhere = 0, no_tiers = atomic_load(&vm->no_tiers);

	for (size_t i = 0; i < s->n_tiers; i++) {
		uint64_t bytes = vm->node_bytes[snapshot_tier_nid(s, i)];

		/* What was moved since the reading came from or went to its own. */
		if ((int)i == tier || no_tiers & UINT64_C(1) << snapshot_tier_nid(s, i))
			continue;
		elsewhere += bytes;
		s->tier_used[i] += bytes;
		s->tier_vms[i] += bytes != 0;
	}
	if (tier >= 0 && tier_bytes > elsewhere) {
		s->tier_used[tier] += tier_bytes - elsewhere;
		s->tier_own[tier] += tier_bytes - elsewhere;
		s->tier_vms[tier]++;
	}
}

static uint64_t dram_nodes(const struct snapshot *s)
{
	uint64_t nodes = 0;

	for (size_t i = 0; i < s->n_dram; i++)
		nodes |= UINT64_C(1) << s->dram[i].nid;
	return nodes;
}

/* Mask of nodes of @dram that block @i of @vm may come home to. */
static uint64_t returns_of(const struct vm *vm, size_t i, uint64_t dram)
{
	uint64_t home = vm->block_homes[i] & dram;

	if (!home)
		home = vm->home_nodes & dram;
	return home ? home : dram;
}

/*
 * Where blocks of @vm may come home to: mask of nodes for what was accessed out there, or if
 * nothing was, for whatever is out; 0: anywhere at home. vm->lock is held.
 */
static uint64_t find_returns(const struct snapshot *s, struct vm *vm, uint64_t tier_bytes)
{
	uint64_t dram = dram_nodes(s), hot = 0, any = 0;

	for (size_t i = 0; i < vm->blocks.n; i++)
		vm->block_returns[i] = returns_of(vm, i, dram);
	/* Ranges are many: they are gone through only where there is a choice. */
	if (vm->blocks.n < 2 || !tier_bytes)
		return 0;
	for (size_t i = 0; i < vm->blocks.n; i++) {
		uint64_t returns = vm->block_returns[i];

		for (size_t k = vm->first[i]; k < vm_block_end(vm, i) && (returns & ~hot); k++) {
			const struct range *range = &vm->ranges.v[k];

			if (!range->tier_pages || range->flags & RANGE_STAYS)
				continue;
			any |= returns;
			hot |= range->flags & RANGE_HOT ? returns : 0;
		}
	}
	return hot ? hot : any;
}

/* Of a mask of nodes, the bits that policy gives them. */
static uint64_t dram_bits(const struct snapshot *s, uint64_t nodes)
{
	uint64_t bits = 0;

	for (size_t i = 0; i < s->n_dram; i++)
		if (nodes & UINT64_C(1) << s->dram[i].nid)
			bits |= UINT64_C(1) << i;
	return bits;
}

/* The same of nodes that are a VM's home. Where none of them is DRAM (any more), all are. */
static uint64_t home_bits(const struct snapshot *s, uint64_t home)
{
	uint64_t bits = dram_bits(s, home);

	return bits ? bits : dram_bits(s, dram_nodes(s));
}

/*
 * From now on what is swapped of @vm counts as on its tier, or from now on no longer: when that is
 * another and nothing is left. vm->lock is held.
 */
static void follow_swap(struct vm *vm, bool is_tier, uint64_t tier_bytes)
{
	if (is_tier && !atomic_load(&vm->on_swap)) {
		atomic_store(&vm->on_swap, true);
		vm->placed_ms = 0;
	} else if (!is_tier && !tier_bytes && vm_settled(vm)) {
		atomic_store(&vm->on_swap, false);
	}
}

/* Bytes that are swapped, and not as on a tier. vm->lock is held. */
static uint64_t swapped_besides(const struct vm *vm)
{
	return atomic_load(&vm->on_swap) ? sub(vm->swapped, vm->node_bytes[NODE_SWAP])
					 : vm->swapped;
}

/*
 * May what it has on a tier of @kind go to swap in need? Not where nobody could tell afterwards
 * whether it did: its cgroup's word on cards is what counts, and memory that swap is or was the
 * tier of is counted there already.
 */
static bool may_swap(const struct vm *vm, enum cram_tier kind, const struct cram_host_settings *set)
{
	uint64_t there;

	return set->relief_swap == CRAM_YES && kind == CRAM_TIER_CRAM && !vm->in_others_cgroup &&
	       !atomic_load(&vm->on_swap) && cgroup_may_swap(&vm->cgroup) &&
	       cgroup_read_cram_current(&vm->cgroup, &there) == 0;
}

/*
 * Of a VM whose RAM is not understood nobody sees where it is. An agent before this one may have
 * moved it: its cgroup says what is on @tier_nodes, and less than a range nobody moves.
 */
static bool may_be_out(const struct vm *vm, enum vm_ineligible reason, uint64_t tier_nodes)
{
	uint64_t bytes;
	int r = -ENOENT;

	for (int nid = 0; nid < NODES_MAX; nid++) {
		if (!(tier_nodes & ~SWAP_BIT & UINT64_C(1) << nid))
			continue;
		r = cgroup_read_on_node(&vm->cgroup, nid, &bytes);
		if (r == 0 && bytes >= RANGE_BYTES)
			return true;
	}
	return r < 0 && reason == VM_LAYOUT_UNKNOWN;
}

static void sense_vm(struct snapshot *s, struct host *host, struct vm *vm,
		     const struct cram_host_settings *set, uint64_t now_ms)
{
	struct ranges_summary summary = {};
	uint64_t tier_nodes = atomic_load(&host->tier_nodes), home, allowed;
	struct cram_vm_input *in = &vm->input;
	bool eligible, untouched, paused, unseen, home_for_good, unfound;
	enum vm_ineligible reason;
	int tier;

	pthread_mutex_lock(&vm->lock);
	home = vm->home_nodes;
	allowed = vm->mems_allowed;
	atomic_store(&vm->no_tiers, no_tiers_of(s, vm, tier_nodes));
	pthread_mutex_unlock(&vm->lock);
	tier_nodes = vm_tiers_of(vm, tier_nodes);
	tier = choose_tier(s, vm, home, allowed, set);

	pthread_mutex_lock(&vm->lock);
	ranges_summarise(&vm->ranges, monotonic_s(), &summary);
	reason = vm->reason;
	eligible = reason == VM_ELIGIBLE;
	untouched = vm->incoming || reason == VM_INCOMING || reason == VM_USERFAULTFD;
	home_for_good = vm_settled(vm) && !vm->bound;
	unseen = !vm->blocks.n;
	vm->reliefs_seen = atomic_load(&vm->reliefs);
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
		.swapped = swapped_besides(vm),
		.hot_bytes = summary.hot,
		.accessed_bytes = summary.accessed,
		.returned_total = vm->counters.returned,
		.memory = vm->policy_memory,
	};
	memcpy(in->cold, summary.cold, sizeof(in->cold));
	in->home_mask = home_bits(s, home);
	in->return_mask = dram_bits(s, find_returns(s, vm, in->tier_bytes));
	in->tier = tier;
	follow_swap(vm, tier >= 0 && s->tiers[tier].nid < 0, in->tier_bytes);
	count_tiers(s, vm, in->tier_bytes, in->tier);
	s->promoted += vm->counters.promoted;
	pthread_mutex_unlock(&vm->lock);

	if (vm->drain && unseen && may_be_out(vm, reason, tier_nodes))
		home_for_good = false;
	in->may_swap = tier >= 0 && may_swap(vm, s->tiers[tier].kind, set);
	in->device_bytes = in->device_upper = in->tier_bytes;
	in->ratio_q16 = 1U << 16;
	if (in->hot_bytes > in->tier_bytes)
		in->hot_bytes = in->tier_bytes;
	paused = vm->paused_by_operator || vm->paused_by_job || atomic_load(&host->paused);
	in->flags = (eligible ? 0 : CRAM_VM_F_INELIGIBLE) | (paused ? CRAM_VM_F_PAUSED : 0) |
		    (vm->drain ? CRAM_VM_F_DRAIN : 0) | (untouched ? CRAM_VM_F_INCOMING : 0) |
		    (home_for_good && !in->tier_bytes ? CRAM_VM_F_HOME : 0);
	in->demote_tokens = cram_bucket_fill(&vm->demote_bucket, now_ms, set->vm_demote_rate,
					     set->vm_demote_rate * set->burst_ms / 1000);
	in->promote_tokens = cram_bucket_fill(&vm->promote_bucket, now_ms, set->vm_promote_rate,
					      set->vm_promote_rate * set->burst_ms / 1000);

	atomic_store(&vm->tier_nid, tier >= 0 ? snapshot_tier_nid(s, (size_t)tier) : -1);
	/* Whoever waits for the end of a drain waits for the reading that confirms it. */
	atomic_store(&vm->recount, vm->drain && !in->tier_bytes && !home_for_good);
	/* A pause keeps nothing from coming home, so what is out has to be found in spite of it. */
	unfound = in->tier_bytes && summary.unlooked;
	atomic_store(&vm->unfound, unfound);
	atomic_store(&vm->watched, eligible && (!paused || unfound) && !vm->incoming &&
					   (vm->settings.mode != CRAM_MODE_OFF || in->tier_bytes));
}

static void sense_vms(struct snapshot *s, struct host *host, const struct cram_host_settings *set,
		      uint64_t now_ms)
{
	memset(s->tier_used, 0, sizeof(s->tier_used));
	memset(s->tier_own, 0, sizeof(s->tier_own));
	memset(s->tier_vms, 0, sizeof(s->tier_vms));
	s->promoted = host->gone.promoted;
	for (size_t i = 0; i < host->vms.n; i++)
		sense_vm(s, host, host->vms.v[i], set, now_ms);
}

/* What VMs take of each tier, and what on it belongs to none that uses it. */
static void meter(struct snapshot *s, const struct host *host, const struct cram_host_settings *set)
{
	for (size_t t = 0; t < s->n_tiers; t++)
		tier_of_kind(s->tiers[t].kind)->meter(s, t, host, set);
}

static int gather(struct snapshot *s, const struct host *host)
{
	if (array_reserve(&s->inputs, host->vms.n) < 0)
		return -ENOMEM;
	s->inputs.n = host->vms.n;
	for (size_t i = 0; i < host->vms.n; i++)
		s->inputs.v[i] = host->vms.v[i]->input;
	return 0;
}

/* How fast memory comes home, smoothed over some four rounds. @before: bytes at @before_ms. */
static void sense_rate(struct snapshot *s, uint64_t before, uint64_t before_ms, uint64_t now_ms)
{
	uint64_t bytes = s->promoted >= before ? s->promoted - before : 0;

	if (before_ms && now_ms > before_ms)
		s->promote_rate = (s->promote_rate * 3 + bytes * 1000 / (now_ms - before_ms)) / 4;
}

/* ------------------------------------------------------------------ all of it */

/* Swap that relief may use: none that would be DRAM again. */
static uint64_t swap_room(const struct host *host, const struct cram_host_settings *set)
{
	if (set->relief_swap != CRAM_YES || zswap_is_on(&host->root))
		return 0;
	return disk_swap_free(&host->root);
}

int snapshot_take(struct snapshot *s, struct host *host, const struct cram_host_settings *set,
		  uint64_t now_ms)
{
	uint64_t promoted = s->promoted;

	sense_nodes(s, host, set, now_ms);
	s->taken++;
	sense_vms(s, host, set, now_ms);
	meter(s, host, set);
	if (gather(s, host) < 0)
		return -ENOMEM;
	sense_rate(s, promoted, s->view.now_ms, now_ms);
	s->view = (struct cram_snapshot){
		.now_ms = now_ms,
		.demote_tokens = cram_bucket_fill(&host->demote_bucket, now_ms, set->demote_rate,
						  set->demote_rate * set->burst_ms / 1000),
		.promote_tokens = cram_bucket_fill(&host->promote_bucket, now_ms, set->promote_rate,
						   set->promote_rate * set->burst_ms / 1000),
		.promote_rate = s->promote_rate,
		.swap_room = swap_room(host, set),
		.dram = s->dram,
		.n_dram = s->n_dram,
		.tiers = s->tiers,
		.n_tiers = s->n_tiers,
		.vms = s->inputs.v,
		.n_vms = s->inputs.n,
	};
	return 0;
}

void snapshot_free(struct snapshot *s)
{
	array_free(&s->inputs);
	unfit_free(&s->unfit);
}

struct json_object *snapshot_record(struct snapshot *s, const struct host *host,
				    const struct cram_policy_params *params)
{
	if (array_reserve(&s->inputs, host->vms.n) < 0)
		return NULL;
	/* The names of those that are gone have gone with them. */
	s->inputs.n = 0;
	for (size_t i = 0; i < host->vms.n; i++)
		if (host->vms.v[i]->has_action)
			s->inputs.v[s->inputs.n++] = host->vms.v[i]->input;
	s->view.vms = s->inputs.v;
	s->view.n_vms = s->inputs.n;
	return cram_record_encode(params, &s->view);
}
