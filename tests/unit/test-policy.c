// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The decision against its promises, on random hosts. The oracle for shares is written apart from
 * the policy (a bisection of the water level, in floating point) and shares no code with it.
 */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>
#include <json-c/json.h>

#include "policy/policy.h"
#include "policy/waterfill.h"
#include "protocol/record.h"
#include "settings/settings.h"
#include "util/size.h"

#include "random.h"

#define MAX_VMS 48

static uint64_t allocations;
void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t m);
void *__real_realloc(void *p, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t m);
void *__wrap_realloc(void *p, size_t n);

void *__wrap_malloc(size_t n)
{
	allocations++;
	return __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t m)
{
	allocations++;
	return __real_calloc(n, m);
}

void *__wrap_realloc(void *p, size_t n)
{
	allocations++;
	return __real_realloc(p, n);
}

struct host {
	struct cram_record rec;
	struct cram_vm_action actions[MAX_VMS];
	struct cram_decision d;
	struct cram_policy_workspace *ws;
};

static struct cram_policy_params params_of_table(void)
{
	struct cram_conf conf;

	cram_conf_init(&conf);
	return conf.host.policy;
}

static void host_free(struct host *h)
{
	free(h->rec.dram);
	free(h->rec.tiers);
	free(h->rec.vms);
	cram_policy_workspace_free(h->ws);
}

/* One tier, one home node, VMs of all sizes; contended or not as the seed will have it. */
static void host_random(struct host *h, uint64_t *rng, size_t n_vms)
{
	struct cram_record *r = &h->rec;
	uint64_t cold_sum = 0, ram_sum = 0, capacity;

	memset(h, 0, sizeof(*h));
	r->params = params_of_table();
	r->vms = calloc(n_vms, sizeof(*r->vms));
	r->dram = calloc(1, sizeof(*r->dram));
	r->tiers = calloc(1, sizeof(*r->tiers));
	for (size_t i = 0; i < n_vms; i++) {
		struct cram_vm_input *vm = &r->vms[i];
		uint64_t ram = random_in(rng, 1, 64) * GiB, left;

		vm->uuid = vm->name = "vm";
		vm->mode = CRAM_MODE_AUTO;
		vm->ram = vm->eligible = ram;
		vm->weight = (uint32_t)random_in(rng, 1, 4) * (uint32_t)random_in(rng, 25, 250);
		vm->cold_age_s = (uint32_t)random_in(rng, 1, 300);
		vm->floor = random_in(rng, 0, 75) * ram / 100;
		vm->quota =
			random_in(rng, 0, 2) ? CRAM_UNLIMITED : random_in(rng, 0, ram / MiB) * MiB;
		vm->hard_limit =
			random_in(rng, 0, 2) ? CRAM_UNLIMITED : random_in(rng, 0, ram / MiB) * MiB;
		vm->ratio_q16 = (uint32_t)random_in(rng, 8192, 65536);
		vm->home_mask = 1;
		vm->demote_tokens = vm->promote_tokens = 2 * GiB;
		vm->dram = ram;
		left = ram;
		for (unsigned int b = CRAM_AGE_BUCKETS; b-- > 0;) {
			vm->cold[b] = random_in(rng, 0, left / MiB / (b ? 8 : 1)) * MiB;
			left -= vm->cold[b];
		}
		vm->accessed_bytes = ram / 4;
		vm->memory.first_seen_ms = 1;
		cold_sum += ram / 2;
		ram_sum += ram;
	}
	capacity = random_in(rng, cold_sum / 10 / MiB, cold_sum / MiB) * MiB;
	*r->dram = (struct cram_dram_input){ .total = ram_sum + 64 * GiB, .free = 60 * GiB };
	*r->tiers = (struct cram_tier_input){
		.nid = 1,
		.kind = CRAM_TIER_CRAM,
		.budget = capacity,
		.free = 1024 * TiB,
		.accepting = true,
	};
	r->snap = (struct cram_snapshot){
		.now_ms = 10000000,
		.demote_tokens = 16 * GiB,
		.promote_tokens = 16 * GiB,
		.dram = r->dram,
		.n_dram = 1,
		.tiers = r->tiers,
		.n_tiers = 1,
		.vms = r->vms,
		.n_vms = n_vms,
	};
	h->d.actions = h->actions;
	assert_int_equal(cram_policy_workspace_reserve(&h->ws, n_vms), 0);
}

static void decide(struct host *h)
{
	assert_int_equal(cram_policy_decide(&h->rec.params, &h->rec.snap, h->ws, &h->d), 0);
}

/* ------------------------------------------------------------------ oracle */

static void oracle(const double *demand, const double *weight, double *share, size_t n,
		   double capacity)
{
	double lo = 0, hi = 0;

	for (size_t i = 0; i < n; i++)
		hi = fmax(hi, demand[i] / weight[i]);
	for (int step = 0; step < 200; step++) {
		double level = (lo + hi) / 2, sum = 0;

		for (size_t i = 0; i < n; i++)
			sum += fmin(demand[i], weight[i] * level);
		if (sum > capacity)
			hi = level;
		else
			lo = level;
	}
	for (size_t i = 0; i < n; i++)
		share[i] = fmin(demand[i], weight[i] * hi);
}

static void shares_agree_with_the_oracle(void **state)
{
	uint64_t rng = random_seed("shares");
	(void)state;

	for (int round = 0; round < 2000; round++) {
		size_t n = random_in(&rng, 1, MAX_VMS);
		struct cram_claim c[MAX_VMS];
		double demand[MAX_VMS], weight[MAX_VMS], share[MAX_VMS];
		uint64_t capacity = random_u64(&rng) >> random_in(&rng, 4, 60), sum = 0;

		for (size_t i = 0; i < n; i++) {
			c[i].demand = random_u64(&rng) >> random_in(&rng, 8, 60);
			c[i].weight = (uint32_t)random_in(&rng, 1, 10000);
			c[i].id = (uint32_t)i;
			demand[i] = (double)c[i].demand;
			weight[i] = c[i].weight;
		}
		oracle(demand, weight, share, n, (double)capacity);
		cram_waterfill(c, n, capacity);
		for (size_t i = 0; i < n; i++) {
			double want = share[c[i].id], off = fabs((double)c[i].grant - want);

			sum += c[i].grant;
			/* n bytes of rounding, and what a double loses above 2^53 */
			if (off > (double)n + want * 1e-9)
				fail_msg("round %d: claim %u got %" PRIu64 ", the oracle says %.0f",
					 round, c[i].id, c[i].grant, want);
		}
		assert_true(sum <= capacity || sum == 0);
	}
}

/* ------------------------------------------------------------------ safety */

static uint64_t nasty(uint64_t *rng)
{
	switch (random_in(rng, 0, 5)) {
	case 0:
		return 0;
	case 1:
		return UINT64_MAX;
	case 2:
		return random_u64(rng);
	case 3:
		return random_in(rng, 0, 8192);
	default:
		return random_in(rng, 0, 64 * GiB);
	}
}

/* A sane VM, then some of its numbers replaced by nonsense. */
static void vm_nasty(struct cram_vm_input *vm, uint64_t *rng)
{
	uint64_t *const sizes[] = {
		&vm->quota,
		&vm->hard_limit,
		&vm->floor,
		&vm->home_mask,
		&vm->return_mask,
		&vm->ram,
		&vm->eligible,
		&vm->dram,
		&vm->tier_bytes,
		&vm->device_bytes,
		&vm->device_upper,
		&vm->swapped,
		&vm->hot_bytes,
		&vm->returned_total,
		&vm->accessed_bytes,
		&vm->demote_tokens,
		&vm->promote_tokens,
		&vm->memory.first_seen_ms,
		&vm->memory.busy_ms,
		&vm->memory.adjusted_ms,
		&vm->memory.backoff_until_ms,
		&vm->memory.returned_seen,
		&vm->memory.returned_slot,
		&vm->memory.returned[0],
	};
	uint32_t *const numbers[] = {
		&vm->weight,
		&vm->ratio_q16,
		&vm->memory.backoff_shift,
		&vm->memory.cold_age_s,
	};

	vm->mode = random_in(rng, 0, 3) ? CRAM_MODE_AUTO : (enum cram_mode)random_in(rng, 0, 2);
	vm->flags = random_in(rng, 0, 3) ? 0 : (uint32_t)random_in(rng, 0, 31);
	vm->tier = random_in(rng, 0, 1) ? 0 : (int)random_in(rng, 0, 4) - 1;
	if (random_in(rng, 0, 9) == 0) {
		vm->tier_bytes = vm->device_bytes = vm->dram / 2;
		vm->dram -= vm->tier_bytes;
	}
	vm->may_swap = random_in(rng, 0, 1);
	vm->memory.giving_back = random_in(rng, 0, 1);
	vm->memory.demoting = random_in(rng, 0, 1);
	for (unsigned int i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		if (random_in(rng, 0, 9) == 0)
			*sizes[i] = nasty(rng);
	for (unsigned int i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		if (random_in(rng, 0, 9) == 0)
			*numbers[i] = (uint32_t)nasty(rng);
	for (unsigned int b = 0; b < CRAM_AGE_BUCKETS; b++)
		if (random_in(rng, 0, 9) == 0)
			vm->cold[b] = nasty(rng);
}

/* What @vm may take when @bytes more are there, of which each takes @ratio. */
static unsigned __int128 upper_with(const struct cram_vm_input *vm, uint64_t bytes, uint32_t ratio)
{
	uint64_t upper = vm->device_upper > vm->device_bytes ? vm->device_upper : vm->device_bytes;

	return upper + ((unsigned __int128)bytes * (ratio ? ratio : 65536) >> 16);
}

static void check_vm_limits(const struct host *h, const struct cram_vm_input *vm,
			    const struct cram_vm_action *a)
{
	unsigned __int128 touched = (unsigned __int128)vm->dram + vm->tier_bytes + vm->swapped;

	assert_true(a->promote_bytes <= vm->tier_bytes);
	assert_true(a->promote_hot_bytes <= vm->tier_bytes - a->promote_bytes);
	assert_true(a->swap_bytes <= vm->tier_bytes - a->promote_bytes - a->promote_hot_bytes);
	if (a->swap_bytes > 0) {
		assert_true(vm->may_swap);
		assert_int_equal(vm->mode, CRAM_MODE_AUTO);
		assert_int_equal(vm->flags & ~CRAM_VM_F_PAUSED & ~CRAM_VM_F_HOME, 0);
		assert_true(a->urgent);
		assert_true(vm->hot_bytes < vm->tier_bytes &&
			    a->swap_bytes + a->promote_bytes <= vm->tier_bytes - vm->hot_bytes);
	}
	assert_true(a->n_reasons <= CRAM_MAX_REASONS);
	assert_true(a->state < CRAM_N_VM_STATES);
	if (vm->flags & CRAM_VM_F_INCOMING)
		assert_true(a->promote_bytes == 0 && a->promote_hot_bytes == 0);
	if (a->demote_bytes == 0)
		return;
	assert_int_equal(vm->mode, CRAM_MODE_AUTO);
	/* That all of it is home forbids nothing; every other flag does. */
	assert_int_equal(vm->flags & ~CRAM_VM_F_HOME, 0);
	if (vm->quota != CRAM_UNLIMITED) {
		uint32_t worst = h->rec.snap.tiers[vm->tier].worst_q16;

		assert_true(upper_with(vm, a->demote_bytes, vm->ratio_q16) <= vm->quota);
		assert_true(upper_with(vm, a->demote_bytes, worst) <=
			    (unsigned __int128)vm->quota + h->rec.params.quota_slack_bytes);
	}
	assert_true(vm->hard_limit == CRAM_UNLIMITED ||
		    (unsigned __int128)vm->tier_bytes + a->demote_bytes <= vm->hard_limit);
	assert_true(vm->dram - a->demote_bytes >=
		    (vm->floor < touched ? vm->floor : (uint64_t)touched));
	assert_true(a->demote_bytes <= vm->dram && a->demote_bytes <= vm->eligible);
	assert_true(a->demote_bytes <= vm->demote_tokens);
}

/* Free above the watermark, and a part of the page cache that need not be written first. */
static uint64_t dram_to_be_had(const struct cram_dram_input *n, uint32_t permille)
{
	unsigned __int128 clean = n->inactive_file > n->dirty ? n->inactive_file - n->dirty : 0;
	unsigned __int128 there = n->free + clean * permille / 1000;

	there = there > n->low ? there - n->low : 0;
	return there < n->total ? (uint64_t)there : n->total;
}

static uint64_t brings_home(const struct cram_vm_action *a)
{
	return a->promote_bytes + a->promote_hot_bytes;
}

/* Bytes that come home urgently. */
static uint64_t relieved(const struct host *h)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < h->rec.snap.n_vms; i++)
		bytes += h->actions[i].urgent ? brings_home(&h->actions[i]) : 0;
	return bytes;
}

/*
 * Beyond its rate a VM brings home what tier @t has too much, and none but that goes to swap: all
 * of them no more than that.
 */
static void check_relief(const struct host *h, int t)
{
	const struct cram_tier_input *tier = &h->rec.snap.tiers[t];
	/* A double of what is used would lose all of a small excess. */
	unsigned __int128 used = 0, offered = 0;
	double device = 0, pages = 0;

	for (size_t i = 0; i < h->rec.snap.n_vms; i++) {
		const struct cram_vm_input *vm = &h->rec.snap.vms[i];
		uint64_t home = brings_home(&h->actions[i]);

		if (vm->tier != t)
			continue;
		used += vm->device_bytes;
		home += h->actions[i].swap_bytes;
		if (!h->actions[i].swap_bytes && home <= vm->promote_tokens &&
		    home <= h->rec.snap.promote_tokens)
			continue;
		assert_true(h->actions[i].urgent);
		device += (double)home / (double)vm->tier_bytes * (double)vm->device_bytes;
		/* They are whole pages. */
		pages += 4096.0 / (double)vm->tier_bytes * (double)vm->device_bytes;
	}
	if (tier->budget > tier->used_other)
		offered = tier->budget - tier->used_other;
	used = used > offered ? used - offered : 0;
	assert_true(device <= (double)used * (1 + 1e-9) + pages + 1);
}

static void no_input_breaks_quota_floor_or_headroom(void **state)
{
	uint64_t rng = random_seed("safety"), demoting = 0, promoting = 0, swapping = 0;
	(void)state;

	for (int round = 0; round < 20000; round++) {
		struct cram_dram_input dram[3];
		struct cram_tier_input tiers[2];
		struct cram_vm_input *vms;
		struct host h;
		size_t n = random_in(&rng, 1, 8);
		unsigned __int128 out = 0, home = 0, to_node[3] = { 0 }, to_tier[2] = { 0 };
		unsigned __int128 swapped = 0;

		host_random(&h, &rng, n);
		vms = h.rec.vms;
		for (size_t i = 0; i < 3; i++)
			dram[i] = (struct cram_dram_input){ .total = nasty(&rng),
							    .free = nasty(&rng),
							    .low = nasty(&rng),
							    .inactive_file = nasty(&rng),
							    .dirty = nasty(&rng) };
		for (size_t i = 0; i < 2; i++)
			tiers[i] =
				(struct cram_tier_input){ .budget = nasty(&rng),
							  .used_other = nasty(&rng),
							  .free = nasty(&rng),
							  .worst_q16 = (uint32_t)nasty(&rng),
							  .accepting = random_in(&rng, 0, 3) > 0 };
		for (size_t i = 0; i < n; i++)
			vm_nasty(&vms[i], &rng);
		h.rec.snap = (struct cram_snapshot){
			.now_ms = random_in(&rng, 0, 9) ? 10000000 : nasty(&rng),
			.demote_tokens = nasty(&rng),
			.promote_tokens = nasty(&rng),
			.promote_rate = nasty(&rng),
			.swap_room = random_in(&rng, 0, 1) ? nasty(&rng) : 0,
			.dram = dram,
			.n_dram = random_in(&rng, 0, 3),
			.tiers = tiers,
			.n_tiers = random_in(&rng, 0, 2),
			.vms = vms,
			.n_vms = n,
		};
		decide(&h);
		for (size_t i = 0; i < n; i++) {
			check_vm_limits(&h, &vms[i], &h.actions[i]);
			out += h.actions[i].demote_bytes;
			swapped += h.actions[i].swap_bytes;
			swapping += h.actions[i].swap_bytes > 0;
			if (h.actions[i].promote_bytes || h.actions[i].promote_hot_bytes) {
				assert_in_range(h.actions[i].home, 0, h.rec.snap.n_dram - 1);
				to_node[h.actions[i].home] += h.actions[i].promote_bytes;
				to_node[h.actions[i].home] += h.actions[i].promote_hot_bytes;
				promoting++;
			}
			if (h.actions[i].demote_bytes == 0)
				continue;
			demoting++;
			assert_in_range(vms[i].tier, 0, h.rec.snap.n_tiers - 1);
			assert_true(tiers[vms[i].tier].accepting);
			to_tier[vms[i].tier] += h.actions[i].demote_bytes;
		}
		for (size_t i = 0; i < h.rec.snap.n_dram; i++) {
			uint64_t room = dram_to_be_had(&dram[i], h.rec.params.cache_permille);

			room = room > h.d.headroom[i] ? room - h.d.headroom[i] : 0;
			assert_true(to_node[i] <= room);
			home += to_node[i];
		}
		assert_true(home <= h.rec.snap.promote_tokens || relieved(&h) > 0);
		for (size_t t = 0; t < h.rec.snap.n_tiers; t++)
			check_relief(&h, (int)t);
		assert_true(out <= h.rec.snap.demote_tokens);
		assert_true(swapped <= h.rec.snap.swap_room);
		for (size_t i = 0; i < 2; i++)
			assert_true(to_tier[i] <= tiers[i].free);
		host_free(&h);
	}
	/* A policy that never demotes would pass all of the above. */
	assert_true(demoting > 1000);
	assert_true(promoting > 1000);
	assert_true(swapping > 100);
}

static void a_round_allocates_nothing(void **state)
{
	uint64_t rng = random_seed("allocation"), before;
	struct host h;
	(void)state;

	host_random(&h, &rng, MAX_VMS);
	before = allocations;
	for (int i = 0; i < 100; i++) {
		decide(&h);
		cram_record_advance(&h.rec, &h.d, 2000);
	}
	assert_int_equal(allocations, before);
	host_free(&h);
}

/* ------------------------------------------------------------------ behaviour over rounds */

static uint64_t moved(const struct host *h)
{
	return h->d.demote_bytes + h->d.promote_bytes;
}

static int converge(struct host *h)
{
	for (int i = 0; i < 3000; i++) {
		decide(h);
		if (moved(h) == 0 && i > 0)
			return i;
		/* The ages stand still: convergence is of the controller, not of the guest. */
		cram_record_advance(&h->rec, &h->d, 0);
		h->rec.snap.now_ms += 2000;
	}
	return -1;
}

/* What every VM could use, from the state before the first move. */
static double first_demand(const struct cram_vm_input *vm)
{
	double ratio = vm->ratio_q16 / 65536.0, cold = 0, room;

	for (unsigned int b = 0; b < CRAM_AGE_BUCKETS; b++)
		if (cram_age_edge(b) >= vm->cold_age_s)
			cold += (double)vm->cold[b];
	room = fmin(cold, (double)(vm->dram - vm->floor));
	if (vm->hard_limit != CRAM_UNLIMITED)
		room = fmin(room, (double)vm->hard_limit);
	room *= ratio;
	return vm->quota != CRAM_UNLIMITED ? fmin(room, (double)vm->quota) : room;
}

static void hosts_converge_to_the_oracle_within_5_percent(void **state)
{
	uint64_t rng = random_seed("convergence"), contended = 0;
	(void)state;

	for (int round = 0; round < 150; round++) {
		double demand[MAX_VMS], weight[MAX_VMS], share[MAX_VMS], sum = 0;
		size_t n = random_in(&rng, 2, MAX_VMS);
		struct host h;

		host_random(&h, &rng, n);
		for (size_t i = 0; i < n; i++) {
			demand[i] = first_demand(&h.rec.vms[i]);
			weight[i] = h.rec.vms[i].weight;
			sum += demand[i];
		}
		contended += sum > (double)h.rec.tiers->budget;
		oracle(demand, weight, share, n, (double)h.rec.tiers->budget);
		if (converge(&h) < 0)
			fail_msg("host %d still moves %" PRIu64 " bytes after 3000 rounds", round,
				 moved(&h));
		for (size_t i = 0; i < n; i++) {
			double got = (double)h.rec.vms[i].device_bytes;
			/* Nothing smaller than two ranges is acted on, whatever the share. */
			double slack = 0.05 * share[i] + 4.0 * MiB;

			if (fabs(got - share[i]) > slack)
				fail_msg(
					"host %d, VM %zu of %zu: %.0f MiB, the oracle says %.0f MiB",
					round, i, n, got / MiB, share[i] / MiB);
		}
		host_free(&h);
	}
	assert_true(contended > 20);
}

static void a_shrunk_tier_converges_again_and_the_furthest_over_gives_first(void **state)
{
	uint64_t rng = random_seed("pressure");
	(void)state;

	for (int round = 0; round < 60; round++) {
		size_t n = random_in(&rng, 3, MAX_VMS), first = 0;
		uint64_t used = 0, worst = 0;
		struct host h;

		host_random(&h, &rng, n);
		assert_true(converge(&h) >= 0);
		for (size_t i = 0; i < n; i++)
			used += h.rec.vms[i].device_bytes;
		h.rec.tiers->budget = used / 2;
		decide(&h);
		/* Scarce, so that order shows. */
		h.rec.dram->free = h.d.headroom[0] + 64 * MiB;
		decide(&h);
		for (size_t i = 0; i < n; i++) {
			uint64_t over =
				h.rec.vms[i].device_bytes > h.actions[i].fair_device_bytes
					? h.rec.vms[i].device_bytes - h.actions[i].fair_device_bytes
					: 0;

			assert_int_equal(h.actions[i].demote_bytes, 0);
			if (over > worst) {
				worst = over;
				first = i;
			}
		}
		if (worst >= 64 * MiB)
			assert_int_equal(h.actions[first].promote_bytes >> 20, 64);
		h.rec.dram->free = 1024 * TiB;
		assert_true(converge(&h) >= 0);
		used = 0;
		for (size_t i = 0; i < n; i++)
			used += h.rec.vms[i].device_bytes;
		assert_true(used <= h.rec.tiers->budget);
		host_free(&h);
	}
}

static void capacity_is_not_left_unused_while_someone_wants_it(void **state)
{
	uint64_t rng = random_seed("work conservation");
	(void)state;

	for (int round = 0; round < 150; round++) {
		size_t n = random_in(&rng, 1, MAX_VMS);
		double demand = 0, used = 0;
		struct host h;

		host_random(&h, &rng, n);
		for (size_t i = 0; i < n; i++)
			demand += first_demand(&h.rec.vms[i]);
		assert_true(converge(&h) >= 0);
		for (size_t i = 0; i < n; i++)
			used += (double)h.rec.vms[i].device_bytes;
		demand = fmin(demand, (double)h.rec.tiers->budget);
		/* 1 % below a limit or of a target, or a range, is left per VM */
		assert_true(used >= 0.98 * demand - (double)n * 4 * MiB);
		host_free(&h);
	}
}

static void more_weight_never_means_a_smaller_share(void **state)
{
	uint64_t rng = random_seed("monotone");
	(void)state;

	for (int round = 0; round < 500; round++) {
		size_t n = random_in(&rng, 2, MAX_VMS), i;
		uint64_t share, out;
		struct host h;

		host_random(&h, &rng, n);
		h.rec.snap.demote_tokens = random_in(&rng, 1, 4096) * MiB;
		i = random_in(&rng, 0, n - 1);
		decide(&h);
		share = h.actions[i].fair_device_bytes;
		out = h.actions[i].demote_bytes;
		h.rec.vms[i].weight *= (uint32_t)random_in(&rng, 2, 10);
		decide(&h);
		assert_true(h.actions[i].fair_device_bytes >= share);
		assert_true(h.actions[i].demote_bytes >= out);
		host_free(&h);
	}
}

/*
 * Sensing errs anew each round, both ways: ages by 5 %, and by 1 % who has how much of what the
 * tier stores. How much that is in all the tier itself says: the VMs' parts add up to it.
 */
static void misread(struct cram_vm_input *vms, size_t n, uint64_t *rng)
{
	unsigned __int128 stored = 0, read = 0;

	for (size_t i = 0; i < n; i++) {
		struct cram_vm_input *vm = &vms[i];

		for (unsigned int b = 0; b < CRAM_AGE_BUCKETS; b++)
			vm->cold[b] = vm->cold[b] / 1000 * random_in(rng, 950, 1050);
		stored += vm->device_bytes;
		vm->device_bytes = vm->device_bytes / 10000 * random_in(rng, 9900, 10100);
		read += vm->device_bytes;
	}
	for (size_t i = 0; read > 0 && i < n; i++)
		vms[i].device_bytes = (uint64_t)(vms[i].device_bytes * stored / read);
}

static void noise_moves_next_to_nothing(void **state)
{
	uint64_t rng = random_seed("noise");
	(void)state;

	for (int round = 0; round < 20; round++) {
		struct cram_vm_input truth[MAX_VMS];
		size_t n = random_in(&rng, 2, MAX_VMS);
		uint64_t used = 0, traffic = 0;
		struct host h;

		host_random(&h, &rng, n);
		assert_true(converge(&h) >= 0);
		for (size_t i = 0; i < n; i++)
			used += h.rec.vms[i].tier_bytes;
		for (int step = 0; step < 300; step++) {
			memcpy(truth, h.rec.vms, n * sizeof(*truth));
			misread(h.rec.vms, n, &rng);
			decide(&h);
			/* the first rounds settle on the new reading; after that nothing may swing
			 */
			if (step >= 20)
				traffic += moved(&h);
			memcpy(h.rec.vms, truth, n * sizeof(*truth));
			cram_record_advance(&h.rec, &h.d, 0);
			h.rec.snap.now_ms += 2000;
		}
		/* 280 rounds are over nine minutes */
		if (traffic > used / 100)
			fail_msg("host %d: %" PRIu64 " MiB moved by noise alone, %" PRIu64
				 " MiB are on the tier",
				 round, traffic >> 20, used >> 20);
		host_free(&h);
	}
}

/* ------------------------------------------------------------------ one VM, one rule */

static uint64_t comes_home(const struct host *h)
{
	return h->actions[0].promote_bytes + h->actions[0].promote_hot_bytes;
}

/* A VM with half of its 8 GiB on a tier that has room, DRAM that has too, and no rates. */
static struct cram_vm_input *half_out(struct host *h)
{
	uint64_t rng = 7;
	struct cram_vm_input *vm;

	host_random(h, &rng, 1);
	vm = &h->rec.vms[0];
	vm->ram = vm->eligible = 8 * GiB;
	vm->dram = vm->tier_bytes = vm->device_bytes = 4 * GiB;
	vm->floor = 0;
	vm->ratio_q16 = 65536;
	vm->cold_age_s = 60;
	vm->quota = vm->hard_limit = CRAM_UNLIMITED;
	memset(vm->cold, 0, sizeof(vm->cold));
	vm->demote_tokens = vm->promote_tokens = CRAM_UNLIMITED;
	h->rec.tiers->budget = 64 * GiB;
	h->rec.dram->total = 256 * GiB;
	h->rec.dram->free = 64 * GiB;
	return vm;
}

/* Two of these, that share 8 GiB. */
static void two_half_out(struct host *h, struct cram_vm_input vms[2],
			 struct cram_vm_action actions[2])
{
	vms[0] = vms[1] = *half_out(h);
	h->d.actions = actions;
	h->rec.snap.vms = vms;
	h->rec.snap.n_vms = 2;
	h->rec.tiers->budget = 8 * GiB;
}

/* 256 GiB, up for a while: 2.6 GiB free and 29 GiB of page cache. */
static void a_host_full_of_page_cache_takes_memory_home(void **state)
{
	struct cram_vm_input *vm;
	struct host h;
	(void)state;

	vm = half_out(&h);
	vm->hot_bytes = 64 * MiB;
	*h.rec.dram = (struct cram_dram_input){
		.total = 256 * GiB,
		.free = 2662 * MiB,
		.low = 700 * MiB,
		.inactive_file = 29 * GiB,
		.dirty = 200 * MiB,
	};
	decide(&h);
	assert_int_equal(h.actions[0].promote_hot_bytes, 64 * MiB);
	assert_int_equal(h.d.available[0], 2662 * MiB - 700 * MiB + (29 * GiB - 200 * MiB) / 2);
	vm->flags = CRAM_VM_F_DRAIN;
	decide(&h);
	assert_int_equal(comes_home(&h), 4 * GiB);
	vm->flags = 0;
	vm->hot_bytes = 0;
	vm->floor = 5 * GiB;
	decide(&h);
	assert_int_equal(comes_home(&h), GiB);
	/* Nor is it short of DRAM: no younger pages have to go. */
	vm->floor = 0;
	vm->cold_age_s = 0;
	decide(&h);
	assert_int_equal(h.actions[0].cold_age_s, 120);
	host_free(&h);
}

static void cache_that_must_be_written_or_is_in_use_is_no_room(void **state)
{
	struct cram_vm_input *vm;
	struct host h;
	(void)state;

	vm = half_out(&h);
	vm->flags = CRAM_VM_F_DRAIN;
	*h.rec.dram = (struct cram_dram_input){
		.total = 256 * GiB,
		.free = 2662 * MiB,
		.low = 700 * MiB,
		.inactive_file = 29 * GiB,
		.dirty = 29 * GiB,
	};
	decide(&h);
	assert_int_equal(comes_home(&h), 0);
	h.rec.dram->dirty = 0;
	h.rec.params.cache_permille = 0;
	decide(&h);
	assert_int_equal(comes_home(&h), 0);
	h.rec.dram->free = 32 * GiB;
	h.rec.dram->low = 28 * GiB;
	decide(&h);
	assert_int_equal(comes_home(&h), 0);
	host_free(&h);
}

static void without_a_tier_everything_comes_home(void **state)
{
	struct cram_vm_input *vm;
	struct host h;
	(void)state;

	vm = half_out(&h);
	vm->tier = -1;
	decide(&h);
	assert_int_equal(comes_home(&h), 4 * GiB);
	assert_int_equal(h.actions[0].state, CRAM_VM_DRAINING);
	assert_int_equal(h.actions[0].kernel_limit, 0);
	assert_true(h.actions[0].goes_home);
	vm->hot_bytes = GiB;
	vm->floor = 7 * GiB;
	vm->promote_tokens = GiB;
	decide(&h);
	assert_int_equal(comes_home(&h), GiB);
	for (enum cram_mode mode = 0; mode < CRAM_N_MODES; mode++) {
		vm->mode = mode;
		decide(&h);
		assert_int_equal(comes_home(&h), GiB);
	}
	vm->mode = CRAM_MODE_AUTO;
	vm->hot_bytes = vm->floor = vm->tier_bytes = vm->device_bytes = 0;
	decide(&h);
	assert_int_equal(comes_home(&h), 0);
	assert_int_equal(h.actions[0].state, CRAM_VM_STEADY);
	h.rec.snap.n_tiers = 0;
	vm->tier = 0;
	vm->tier_bytes = GiB;
	decide(&h);
	assert_int_equal(comes_home(&h), GiB);
	host_free(&h);
}

/* A device assigned while memory is out, say: what may not be there any more comes home. */
static void what_became_ineligible_comes_home(void **state)
{
	struct cram_vm_input *vm;
	struct host h;
	(void)state;

	vm = half_out(&h);
	vm->mode = CRAM_MODE_AUTO;
	vm->flags = CRAM_VM_F_INELIGIBLE;
	vm->eligible = 0;
	decide(&h);
	assert_int_equal(comes_home(&h), 4 * GiB);
	assert_int_equal(h.actions[0].demote_bytes, 0);
	assert_int_equal(h.actions[0].kernel_limit, 0);
	host_free(&h);
}

static void only_mode_auto_keeps_memory_on_a_tier(void **state)
{
	struct cram_vm_input *vm;
	struct host h;
	(void)state;

	vm = half_out(&h);
	for (enum cram_mode mode = 0; mode < CRAM_N_MODES; mode++) {
		vm->mode = mode;
		decide(&h);
		assert_int_equal(comes_home(&h), mode == CRAM_MODE_AUTO ? 0 : 4 * GiB);
		assert_int_equal(h.actions[0].kernel_limit,
				 mode == CRAM_MODE_AUTO ? CRAM_UNLIMITED : 0);
	}
	vm->mode = CRAM_MODE_MONITOR;
	vm->tier_bytes = vm->device_bytes = 0;
	decide(&h);
	assert_int_equal(h.actions[0].state, CRAM_VM_MONITOR);
	host_free(&h);
}

static void limits_that_are_no_whole_pages_are_met(void **state)
{
	struct cram_vm_input *vm;
	struct host h;
	(void)state;

	for (int limit = 0; limit < 3; limit++) {
		uint64_t odd = 3 * GiB + 1000;

		vm = half_out(&h);
		vm->cold[CRAM_AGE_BUCKETS - 1] = 2 * GiB;
		if (limit == 0)
			vm->quota = odd;
		else if (limit == 1)
			vm->hard_limit = odd;
		else
			vm->floor = 8 * GiB - odd;
		decide(&h);
		assert_int_equal(comes_home(&h), GiB);
		assert_int_equal(h.actions[0].state, CRAM_VM_OVER_QUOTA);
		for (int i = 0; i < 20; i++) {
			cram_record_advance(&h.rec, &h.d, 2000);
			decide(&h);
		}
		assert_true(vm->tier_bytes <= odd);
		assert_true(vm->tier_bytes > odd - odd / 20);
		assert_int_equal(moved(&h), 0);
		assert_int_equal(h.actions[0].state, CRAM_VM_STEADY);
		host_free(&h);
	}
}

static void the_hard_limit_alone_brings_the_rest_home(void **state)
{
	struct cram_vm_input *vm;
	struct host h;
	(void)state;

	vm = half_out(&h);
	vm->device_bytes = GiB;
	vm->quota = 2 * GiB;
	vm->hard_limit = 3 * GiB;
	decide(&h);
	assert_int_equal(comes_home(&h), GiB);
	assert_int_equal(h.actions[0].reasons[0].code, CRAM_REASON_HARD_LIMIT);
	host_free(&h);
}

static void a_vm_brings_home_no_more_than_its_own_rate(void **state)
{
	struct cram_vm_input *vm;
	struct host h;
	(void)state;

	vm = half_out(&h);
	vm->flags = CRAM_VM_F_DRAIN;
	vm->promote_tokens = 16 * MiB;
	decide(&h);
	assert_int_equal(comes_home(&h), 16 * MiB);
	host_free(&h);
}

/* The kernel moves what does not come home in time, and asks for no rate. */
static void what_a_tier_has_too_much_comes_home_at_no_rate(void **state)
{
	struct cram_vm_input vms[3], *const drained = &vms[1];
	struct host h;
	(void)state;

	*vms = *half_out(&h);
	vms[2] = vms[1] = vms[0];
	/* A page of this one is a quarter of one on the card. */
	drained->device_bytes = GiB;
	drained->flags = CRAM_VM_F_DRAIN;
	vms[2].device_bytes = 512 * MiB;
	for (size_t i = 0; i < 3; i++)
		vms[i].promote_tokens = 0;
	h.rec.snap.vms = vms;
	h.rec.snap.n_vms = 3;
	assert_int_equal(cram_policy_workspace_reserve(&h.ws, 3), 0);
	h.rec.tiers->budget = 5 * GiB;
	decide(&h);
	assert_int_equal(h.actions[0].promote_bytes, 0);
	assert_int_equal(h.actions[1].promote_bytes, 512 * MiB * 4);
	assert_int_equal(h.actions[2].promote_bytes, 0);
	assert_true(h.actions[1].urgent);
	/* When that is enough, who drains beside it is held to its rate. */
	vms[2].flags = CRAM_VM_F_DRAIN;
	decide(&h);
	assert_int_equal(h.actions[1].promote_bytes, 512 * MiB * 4);
	assert_int_equal(h.actions[2].promote_bytes, 0);
	vms[2].flags = 0;
	/* Who is furthest over gives first, and all of them no more than is too much. */
	h.rec.tiers->budget = 3 * GiB;
	decide(&h);
	assert_int_equal(h.actions[0].promote_bytes, 3 * GiB / 2);
	assert_int_equal(h.actions[1].promote_bytes, 4 * GiB);
	/* Nor does the host's rate hold it back. */
	h.rec.snap.promote_tokens = 0;
	decide(&h);
	assert_int_equal(h.actions[0].promote_bytes, 3 * GiB / 2);
	/* What a rate would let go is not on top of it. */
	h.rec.snap.promote_tokens = drained->promote_tokens = 3 * GiB;
	h.rec.tiers->budget = 5 * GiB;
	decide(&h);
	assert_int_equal(h.actions[1].promote_bytes, 3 * GiB);
	/* And below headroom nothing comes home. */
	h.rec.dram->free = h.d.headroom[0] + MiB;
	decide(&h);
	assert_int_equal(h.actions[0].promote_bytes + h.actions[1].promote_bytes, MiB);
	host_free(&h);
}

/* Where it may: else, and for what is used or wanted home for good, the kernel finds a place. */
static void what_has_no_room_in_dram_goes_to_swap(void **state)
{
	struct cram_vm_input vms[2];
	struct cram_vm_action actions[2];
	struct host h;
	(void)state;

	two_half_out(&h, vms, actions);
	assert_int_equal(cram_policy_workspace_reserve(&h.ws, 2), 0);
	/* The second takes less of the card for as much, and is below its share. */
	vms[1].device_bytes = GiB;
	vms[0].may_swap = vms[1].may_swap = true;
	h.rec.tiers->budget = 4 * GiB;
	h.rec.dram->free = 0;
	decide(&h);
	assert_int_equal(actions[0].promote_bytes + actions[0].swap_bytes, 0);
	h.rec.snap.swap_room = 64 * GiB;
	decide(&h);
	assert_int_equal(actions[0].promote_bytes, 0);
	assert_int_equal(actions[0].swap_bytes, GiB);
	assert_true(actions[0].urgent);
	assert_int_equal(actions[1].swap_bytes, 0);
	/* What DRAM has room for comes home. */
	h.rec.dram->free = h.d.headroom[0] + 256 * MiB;
	decide(&h);
	assert_int_equal(actions[0].promote_bytes, 256 * MiB);
	assert_int_equal(actions[0].swap_bytes, GiB - 256 * MiB);
	/* A tier that has no more than it may needs none of it, whatever is to come home. */
	h.rec.dram->free = 0;
	h.rec.tiers->budget = 8 * GiB;
	vms[0].quota = GiB;
	decide(&h);
	assert_int_equal(actions[0].swap_bytes, 0);
	vms[0].quota = CRAM_UNLIMITED;
	h.rec.tiers->budget = 4 * GiB;
	/* There is only so much of it. */
	h.rec.snap.swap_room = 100 * MiB + 1;
	decide(&h);
	assert_int_equal(actions[0].swap_bytes, 100 * MiB);
	h.rec.snap.swap_room = 64 * GiB;
	/* What is used stays, for the kernel to find a place. */
	vms[0].hot_bytes = 2 * GiB;
	h.rec.tiers->budget = GiB;
	decide(&h);
	assert_int_equal(actions[0].swap_bytes, 3 * GiB / 2);
	assert_int_equal(actions[1].swap_bytes, 2 * GiB);
	vms[0].hot_bytes = 0;
	h.rec.tiers->budget = 4 * GiB;
	vms[0].flags = CRAM_VM_F_DRAIN;
	decide(&h);
	assert_int_equal(actions[0].swap_bytes, 0);
	vms[0].flags = 0;
	vms[0].mode = CRAM_MODE_MONITOR;
	decide(&h);
	assert_int_equal(actions[0].swap_bytes, 0);
	vms[0].mode = CRAM_MODE_AUTO;
	vms[0].may_swap = false;
	decide(&h);
	assert_int_equal(actions[0].swap_bytes, 0);
	host_free(&h);
}

/* What comes home goes to one node in a round: the others' room is the next round's. */
static void what_has_room_on_another_home_node_is_not_swapped(void **state)
{
	struct cram_dram_input dram[2];
	struct cram_vm_input *vm;
	struct host h;
	(void)state;

	vm = half_out(&h);
	vm->may_swap = true;
	h.rec.tiers->budget = 3 * GiB;
	h.rec.snap.swap_room = 64 * GiB;
	dram[0] = dram[1] = *h.rec.dram;
	h.rec.snap.dram = dram;
	h.rec.snap.n_dram = 2;
	decide(&h);
	dram[0].free = h.d.headroom[0] + 300 * MiB;
	dram[1].free = h.d.headroom[1] + 500 * MiB;
	vm->home_mask = 3;
	decide(&h);
	assert_int_equal(h.actions[0].home, 1);
	assert_int_equal(h.actions[0].promote_bytes, 500 * MiB);
	assert_int_equal(h.actions[0].swap_bytes, GiB - 800 * MiB);
	/* What is hot may come home to one of them alone, which is short. */
	dram[0].free = 0;
	dram[1].free = h.d.headroom[1] + 2 * GiB;
	vm->return_mask = 1;
	vm->hot_bytes = 2 * MiB;
	decide(&h);
	assert_int_equal(comes_home(&h), 0);
	assert_int_equal(h.actions[0].swap_bytes, 0);
	/* Where nothing is, that is where all that is out may come home to. */
	vm->hot_bytes = 0;
	decide(&h);
	assert_int_equal(h.actions[0].swap_bytes, GiB);
	vm->return_mask = 0;
	vm->home_mask = 1;
	decide(&h);
	assert_int_equal(h.actions[0].swap_bytes, GiB);
	host_free(&h);
}

static void what_a_vm_gives_back_is_not_replaced_by_the_kernel(void **state)
{
	struct cram_vm_input *vm;
	struct host h;
	(void)state;

	vm = half_out(&h);
	decide(&h);
	assert_true(h.actions[0].kernel_limit == CRAM_UNLIMITED);
	h.rec.tiers->budget = 3 * GiB;
	decide(&h);
	assert_int_equal(comes_home(&h), GiB);
	assert_int_equal(h.actions[0].kernel_limit, 3 * GiB);
	/* Nor what of it waits for DRAM. */
	h.rec.dram->free = 0;
	decide(&h);
	assert_int_equal(comes_home(&h), 0);
	assert_int_equal(h.actions[0].kernel_limit, 3 * GiB);
	vm->quota = 2 * GiB;
	decide(&h);
	assert_int_equal(h.actions[0].kernel_limit, 2 * GiB);
	host_free(&h);
}

static void what_comes_home_goes_to_the_one_node_whose_room_it_takes(void **state)
{
	struct cram_dram_input dram[3] = {
		{ .nid = 0, .total = 100 * GiB, .free = 2 * GiB + GiB },
		{ .nid = 4, .total = 100 * GiB, .free = 2 * GiB + 3 * GiB },
		{ .nid = 7, .total = 100 * GiB, .free = 90 * GiB },
	};
	struct cram_vm_input *vm;
	struct host h;
	(void)state;

	vm = half_out(&h);
	vm->home_mask = 3;
	vm->flags = CRAM_VM_F_DRAIN;
	h.rec.snap.dram = dram;
	h.rec.snap.n_dram = 3;
	decide(&h);
	assert_int_equal(h.actions[0].home, 1);
	assert_int_equal(comes_home(&h), 3 * GiB);
	vm->home_mask = 1;
	decide(&h);
	assert_int_equal(h.actions[0].home, 0);
	assert_int_equal(comes_home(&h), GiB);
	/* Of its two homes, only one is that of what is out. */
	vm->home_mask = 3;
	vm->return_mask = 1;
	decide(&h);
	assert_int_equal(h.actions[0].home, 0);
	vm->return_mask = 0;
	vm->home_mask = 0; /* no home of its own: any */
	decide(&h);
	assert_int_equal(h.actions[0].home, 2);
	vm->flags = 0;
	decide(&h);
	assert_int_equal(h.actions[0].home, -1);
	host_free(&h);
}

static void headroom_holds_the_hosts_promotion_rate_once(void **state)
{
	struct cram_dram_input dram[2] = {
		{ .nid = 0, .total = 300 * GiB, .free = 100 * GiB },
		{ .nid = 1, .total = 100 * GiB, .free = 100 * GiB },
	};
	uint64_t quiet[2];
	struct host h;
	(void)state;

	half_out(&h);
	h.rec.snap.dram = dram;
	h.rec.snap.n_dram = 2;
	decide(&h);
	memcpy(quiet, h.d.headroom, sizeof(quiet));
	h.rec.snap.promote_rate = 400 * MiB; /* ten seconds of it */
	decide(&h);
	assert_int_equal(h.d.headroom[0] - quiet[0], 3000 * MiB);
	assert_int_equal(h.d.headroom[1] - quiet[1], 1000 * MiB);
	h.rec.snap.promote_rate = TiB;
	decide(&h);
	assert_int_equal(h.d.headroom[1] - quiet[1], 25 * GiB);
	host_free(&h);
}

static void giving_back_starts_late_and_ends_at_the_share(void **state)
{
	struct cram_vm_input vms[2];
	struct cram_vm_action actions[2];
	struct host h;
	(void)state;

	/* Two of equal weight share 8 GiB; the second would use more than what is left of its half.
	 */
	two_half_out(&h, vms, actions);
	vms[1].cold[CRAM_AGE_BUCKETS - 1] = 4 * GiB;
	vms[1].memory.demoting = true; /* it waits for a little, too */
	vms[0].tier_bytes = vms[0].device_bytes = 4 * GiB + 128 * MiB; /* 3 % over */
	vms[1].tier_bytes = vms[1].device_bytes = 4 * GiB - 128 * MiB;
	decide(&h);
	assert_int_equal(actions[0].promote_bytes, 0);
	assert_false(actions[0].memory.giving_back);
	vms[0].tier_bytes = vms[0].device_bytes = 4 * GiB + 256 * MiB; /* 6 % over */
	vms[1].tier_bytes = vms[1].device_bytes = 4 * GiB - 256 * MiB;
	decide(&h);
	assert_int_equal(actions[0].promote_bytes, 256 * MiB);
	assert_int_equal(actions[0].state, CRAM_VM_OVER_SHARE);
	/* Once begun it goes on below what would begin it. */
	vms[0].memory = actions[0].memory;
	vms[0].tier_bytes = vms[0].device_bytes = 4 * GiB + 128 * MiB;
	decide(&h);
	assert_int_equal(actions[0].promote_bytes, 128 * MiB);
	vms[0].memory = actions[0].memory;
	vms[0].tier_bytes = vms[0].device_bytes = 4 * GiB;
	decide(&h);
	assert_false(actions[0].memory.giving_back);
	host_free(&h);
}

/* The second may have more than it has, by too little for it to begin: nobody waits. */
static void nobody_gives_back_what_nobody_takes(void **state)
{
	struct cram_vm_input vms[2];
	struct cram_vm_action actions[2];
	struct host h;
	(void)state;

	two_half_out(&h, vms, actions);
	vms[1].weight = 10 * vms[0].weight;
	vms[1].quota = 6 * GiB;
	vms[1].cold[CRAM_AGE_BUCKETS - 1] = 2 * GiB;
	vms[0].tier_bytes = vms[0].device_bytes = 2 * GiB + 150 * MiB;
	vms[1].tier_bytes = vms[1].device_bytes = 6 * GiB - 200 * MiB;
	decide(&h);
	assert_int_equal(actions[0].fair_device_bytes, 2 * GiB);
	assert_int_equal(moved(&h), 0);
	assert_false(actions[0].memory.giving_back);
	vms[0].tier_bytes = vms[0].device_bytes = 2 * GiB + 250 * MiB;
	vms[1].tier_bytes = vms[1].device_bytes = 6 * GiB - 300 * MiB;
	decide(&h);
	assert_int_equal(actions[0].promote_bytes, 250 * MiB);
	host_free(&h);
}

/* It is held to compress as badly as can be, and may turn out to want much less. */
static void a_newcomer_takes_nothing_from_others_while_there_is_room(void **state)
{
	struct cram_vm_input vms[2];
	struct cram_vm_action actions[2];
	struct host h;
	(void)state;

	two_half_out(&h, vms, actions);
	vms[0].tier_bytes = 20 * GiB;
	vms[0].device_bytes = vms[0].device_upper = 5 * GiB;
	vms[0].ratio_q16 = 65536 / 4;
	vms[1].tier_bytes = vms[1].device_bytes = vms[1].device_upper = 0;
	vms[1].ram = vms[1].eligible = vms[1].dram = 8 * GiB;
	vms[1].cold[CRAM_AGE_BUCKETS - 1] = 8 * GiB;
	vms[1].memory.first_seen_ms = 1;
	h.rec.tiers->free = 3 * GiB;
	decide(&h);
	assert_int_equal(actions[0].fair_device_bytes, 4 * GiB);
	assert_int_equal(actions[0].promote_bytes, 0);
	assert_int_equal(actions[1].demote_bytes, 3 * GiB);
	/* It is what it was held to be. */
	vms[1].tier_bytes = vms[1].device_bytes = vms[1].device_upper = 3 * GiB;
	vms[1].dram = vms[1].cold[CRAM_AGE_BUCKETS - 1] = 5 * GiB;
	h.rec.tiers->free = 0;
	decide(&h);
	assert_int_equal(actions[0].promote_bytes, 4 * GiB);
	host_free(&h);
}

static void demotion_starts_late_and_ends_at_the_target(void **state)
{
	struct cram_vm_input *vm;
	struct host h;
	(void)state;

	/* Cold memory alone holds it: it goes from 64 MiB on, or from 1 % of the target. */
	vm = half_out(&h);
	vm->cold[CRAM_AGE_BUCKETS - 1] = 32 * MiB;
	decide(&h);
	assert_int_equal(h.actions[0].demote_bytes, 0);
	assert_false(h.actions[0].memory.demoting);
	vm->cold[CRAM_AGE_BUCKETS - 1] = 48 * MiB;
	decide(&h);
	assert_int_equal(h.actions[0].demote_bytes, 48 * MiB);
	vm->memory = h.actions[0].memory;
	vm->cold[CRAM_AGE_BUCKETS - 1] = 4 * MiB;
	decide(&h);
	assert_int_equal(h.actions[0].demote_bytes, 4 * MiB);
	/* Up to a quota: only once 4 % of it is free, then to 1 % below. */
	vm->memory.demoting = false;
	vm->cold[CRAM_AGE_BUCKETS - 1] = 2 * GiB;
	vm->quota = 4 * GiB + 100 * MiB;
	decide(&h);
	assert_int_equal(h.actions[0].demote_bytes, 0);
	vm->quota = 4 * GiB + 200 * MiB;
	decide(&h);
	assert_true(h.actions[0].demote_bytes > 150 * MiB);
	assert_true(h.actions[0].demote_bytes < 165 * MiB);
	/* A tiny VM: never for less than a range. */
	vm->tier_bytes = vm->device_bytes = 0;
	vm->quota = CRAM_UNLIMITED;
	vm->memory.demoting = false;
	vm->cold[CRAM_AGE_BUCKETS - 1] = 2 * MiB - 4096;
	decide(&h);
	assert_int_equal(h.actions[0].demote_bytes, 0);
	host_free(&h);
}

static void a_big_vms_cold_memory_does_not_wait(void **state)
{
	struct cram_vm_input *vm;
	struct host h;
	(void)state;

	vm = half_out(&h);
	vm->ram = vm->eligible = 128 * GiB;
	vm->dram = vm->tier_bytes = vm->device_bytes = 64 * GiB;
	h.rec.tiers->budget = TiB;
	vm->cold[CRAM_AGE_BUCKETS - 1] = 64 * MiB; /* a thousandth of what is out */
	decide(&h);
	assert_int_equal(h.actions[0].demote_bytes, 64 * MiB);
	host_free(&h);
}

/* ------------------------------------------------------------------ the SLO controller */

/* One VM with an automatic cold age and nothing but the SLO in its way; allows 20 MiB a minute. */
static struct cram_vm_input *slo_host(struct host *h)
{
	uint64_t rng = 1;
	struct cram_vm_input *vm;

	host_random(h, &rng, 1);
	vm = &h->rec.vms[0];
	vm->cold_age_s = 0;
	vm->floor = 0;
	vm->quota = vm->hard_limit = CRAM_UNLIMITED;
	vm->accessed_bytes = 10 * GiB;
	vm->ram = vm->eligible = vm->dram = 64 * GiB;
	vm->cold[CRAM_AGE_BUCKETS - 1] = GiB;
	h->rec.tiers->budget = TiB;
	return vm;
}

static void step(struct host *h, uint64_t ms)
{
	decide(h);
	h->rec.vms[0].memory = h->actions[0].memory;
	h->rec.snap.now_ms += ms;
}

static void too_much_coming_back_raises_the_cold_age_then_stops_demotion(void **state)
{
	uint64_t until;
	struct cram_vm_input *vm;
	struct host h;
	(void)state;

	vm = slo_host(&h);
	step(&h, 120000);
	assert_int_equal(h.actions[0].cold_age_s, 120);

	vm->returned_total += 30 * MiB; /* too much in a minute, not grossly */
	decide(&h);
	assert_int_equal(h.actions[0].cold_age_s, 181);
	assert_true(h.actions[0].demote_bytes > 0);
	vm->memory = h.actions[0].memory;

	h.rec.snap.now_ms += 2000;
	decide(&h); /* not again before the effect can be seen */
	assert_int_equal(h.actions[0].cold_age_s, 181);
	vm->returned_total += 100 * MiB;
	decide(&h);
	assert_int_equal(h.actions[0].demote_bytes, 0);
	assert_int_equal(h.actions[0].state, CRAM_VM_BACKOFF);
	until = h.actions[0].memory.backoff_until_ms;
	assert_int_equal(until, h.rec.snap.now_ms + 60000);
	vm->memory = h.actions[0].memory;

	h.rec.snap.now_ms = until;
	vm->returned_total += 100 * MiB;
	decide(&h); /* again at once: twice as long */
	assert_int_equal(h.actions[0].memory.backoff_until_ms, until + 120000);
	vm->memory = h.actions[0].memory;
	h.rec.snap.now_ms += 120000;
	decide(&h);
	assert_true(h.actions[0].demote_bytes > 0);
	host_free(&h);
}

static void a_range_or_two_a_minute_stop_nothing(void **state)
{
	struct cram_vm_input *vm;
	struct host h;
	(void)state;

	vm = slo_host(&h);
	vm->accessed_bytes = GiB; /* what the table always allows is more: 4 MiB */
	vm->tier_bytes = vm->device_bytes = GiB;
	step(&h, 130000);
	for (int round = 0; round < 1800; round++) {
		if (round % 30 == 0)
			vm->returned_total += round % 60 ? 4 * MiB : 2 * MiB;
		decide(&h);
		assert_true(h.actions[0].demote_bytes > 0);
		assert_int_equal(h.actions[0].cold_age_s, 120);
		vm->memory = h.actions[0].memory;
		h.rec.snap.now_ms += 2000;
	}
	host_free(&h);
}

static void a_little_at_a_time_counts_as_a_lot_does(void **state)
{
	struct cram_vm_input *vm;
	struct host h;
	(void)state;

	vm = slo_host(&h);
	step(&h, 120000);
	/* 30 MiB a minute of the 20 that are allowed, a MiB at a time */
	for (int round = 0; round < 30; round++) {
		vm->returned_total += MiB;
		step(&h, 2000);
	}
	assert_int_equal(h.actions[0].cold_age_s, 181);
	host_free(&h);
}

/* Control calls and relief ask for rounds of their own. */
static void an_extra_round_changes_nothing(void **state)
{
	struct cram_vm_input *vm[2];
	uint64_t rng = random_seed("extra rounds"), now = 20000000, back = 0;
	struct host h[2];
	(void)state;

	for (int i = 0; i < 2; i++)
		vm[i] = slo_host(&h[i]);
	for (int round = 0; round < 2000; round++) {
		back += random_in(&rng, 0, 40) ? random_in(&rng, 0, MiB) : 64 * MiB;
		for (int i = 0; i < 2; i++) {
			for (int extra = 0; extra <= 3 * i; extra++) {
				vm[i]->returned_total = back;
				h[i].rec.snap.now_ms = now;
				decide(&h[i]);
				vm[i]->memory = h[i].actions[0].memory;
			}
		}
		assert_memory_equal(&vm[0]->memory, &vm[1]->memory, sizeof(vm[0]->memory));
		now += random_in(&rng, 20, 4000);
	}
	assert_true(vm[0]->memory.cold_age_s > 120);
	for (int i = 0; i < 2; i++)
		host_free(&h[i]);
}

static void one_burst_is_acted_on_once(void **state)
{
	struct cram_vm_input *vm;
	struct host h;
	(void)state;

	vm = slo_host(&h);
	h.rec.params.cold_age_adjust_s = 1; /* the burst still counts in the next minute's rounds */
	step(&h, 120000);
	vm->returned_total += 2 * GiB;
	for (int round = 0; round < 90; round++) {
		step(&h, 2000);
		assert_int_equal(h.actions[0].cold_age_s, 181);
		assert_int_equal(h.actions[0].memory.backoff_shift, 1);
	}
	assert_true(h.actions[0].demote_bytes > 0);
	host_free(&h);
}

static void what_came_back_before_a_vm_was_seen_is_not_held_against_it(void **state)
{
	struct cram_vm_input *vm;
	struct host h;
	(void)state;

	vm = slo_host(&h);
	vm->memory = (struct cram_policy_memory){ 0 };
	vm->returned_total = TiB;
	step(&h, 120000);
	assert_int_equal(vm->memory.backoff_shift, 0);
	decide(&h);
	assert_int_equal(h.actions[0].cold_age_s, 120);
	assert_true(h.actions[0].demote_bytes > 0);
	host_free(&h);
}

static void trust_comes_back_one_step_in_ten_quiet_minutes(void **state)
{
	struct cram_vm_input *vm;
	struct host h;
	uint64_t calm;
	(void)state;

	vm = slo_host(&h);
	step(&h, 120000);
	for (int i = 0; i < 3; i++) {
		vm->returned_total += 200 * MiB;
		step(&h, (uint64_t)60000 << i);
	}
	assert_int_equal(vm->memory.backoff_shift, 3);
	calm = vm->memory.backoff_until_ms;
	for (int quiet = 1; quiet <= 3; quiet++) {
		h.rec.snap.now_ms = calm + quiet * UINT64_C(600000) - 1;
		step(&h, 0);
		assert_int_equal(vm->memory.backoff_shift, 4 - quiet);
		h.rec.snap.now_ms++;
		step(&h, 0);
		assert_int_equal(vm->memory.backoff_shift, 3 - quiet);
	}
	host_free(&h);
}

static void a_quiet_vm_gets_a_lower_cold_age_down_to_the_minimum(void **state)
{
	uint64_t rng = 2;
	struct cram_vm_input *vm;
	struct host h;
	(void)state;

	host_random(&h, &rng, 1);
	vm = &h.rec.vms[0];
	vm->cold_age_s = 0;
	vm->tier_bytes = vm->device_bytes = GiB;
	for (int i = 0; i < 5000; i++) {
		decide(&h);
		assert_true(h.actions[0].cold_age_s >= h.rec.params.cold_age_min_s);
		vm->memory = h.actions[0].memory;
		h.rec.snap.now_ms += 2000;
	}
	assert_int_equal(h.actions[0].cold_age_s, h.rec.params.cold_age_min_s);
	host_free(&h);
}

static void a_new_vm_waits_one_cold_age(void **state)
{
	uint64_t rng = 3;
	struct cram_vm_input *vm;
	struct host h;
	(void)state;

	host_random(&h, &rng, 1);
	vm = &h.rec.vms[0];
	vm->memory = (struct cram_policy_memory){ 0 };
	vm->quota = vm->hard_limit = CRAM_UNLIMITED;
	vm->cold_age_s = 100;
	decide(&h);
	assert_int_equal(h.actions[0].demote_bytes, 0);
	assert_int_equal(h.actions[0].state, CRAM_VM_WAITING);
	vm->memory = h.actions[0].memory;
	h.rec.snap.now_ms += 99999;
	decide(&h);
	assert_int_equal(h.actions[0].demote_bytes, 0);
	h.rec.snap.now_ms += 1;
	decide(&h);
	assert_true(h.actions[0].demote_bytes > 0);
	host_free(&h);
}

static void the_kernels_limit_keeps_the_quota_if_the_agent_dies(void **state)
{
	uint64_t rng = random_seed("kernel limit");
	(void)state;

	for (int round = 0; round < 300; round++) {
		size_t n = random_in(&rng, 1, MAX_VMS);
		struct host h;

		host_random(&h, &rng, n);
		decide(&h);
		for (size_t i = 0; i < n; i++) {
			const struct cram_vm_input *vm = &h.rec.vms[i];
			uint64_t limit = h.actions[i].kernel_limit;

			assert_true(limit <= vm->hard_limit);
			if (vm->quota != CRAM_UNLIMITED)
				assert_true(((unsigned __int128)limit * vm->ratio_q16 >> 16) <=
					    vm->quota);
		}
		host_free(&h);
	}
}

/* What is there on a card, @upper device bytes at most, of a VM with @quota. */
static struct cram_vm_input *on_card(struct host *h, size_t i, uint64_t bytes, uint64_t device,
				     uint64_t upper, uint64_t quota)
{
	struct cram_vm_input *vm = &h->rec.vms[i];

	vm->dram = vm->ram - bytes;
	vm->tier_bytes = bytes;
	vm->device_bytes = device;
	vm->device_upper = upper;
	vm->quota = quota;
	vm->hard_limit = CRAM_UNLIMITED;
	vm->floor = 0;
	return vm;
}

static void a_quota_holds_for_the_upper_bound(void **state)
{
	uint64_t rng = random_seed("upper bound");
	struct host h;
	(void)state;

	host_random(&h, &rng, 1);
	h.rec.vms[0].ram = 64 * GiB;
	h.rec.tiers->budget = 64 * GiB;
	on_card(&h, 0, 4 * GiB, GiB, 2 * GiB, GiB + GiB / 2);
	decide(&h);
	assert_int_equal(h.actions[0].state, CRAM_VM_OVER_QUOTA);
	assert_int_equal(h.actions[0].promote_bytes, GiB);
	/* And nothing takes the place of what goes. */
	assert_int_equal(h.actions[0].kernel_limit, 3 * GiB);
	host_free(&h);
}

static void what_moves_out_stays_below_a_quota_by_the_upper_bound(void **state)
{
	struct cram_vm_input *vm;
	struct host h;
	(void)state;

	/* By its share, and with the slack, more of it could go. */
	vm = half_out(&h);
	vm->device_bytes = 2 * GiB;
	vm->device_upper = 3 * GiB;
	vm->quota = 4 * GiB;
	vm->cold[CRAM_AGE_BUCKETS - 1] = 4 * GiB;
	decide(&h);
	assert_in_range(h.actions[0].demote_bytes, GiB - GiB / 20, GiB);
	assert_int_equal(h.actions[0].kernel_limit, 5 * GiB);
	host_free(&h);
}

static void pages_that_do_not_compress_exceed_a_quota_by_the_slack_at_most(void **state)
{
	uint64_t rng = random_seed("slack"), demoted = 0;
	(void)state;

	for (int round = 0; round < 300; round++) {
		uint64_t bytes = random_in(&rng, 0, GiB / MiB) * MiB, upper, room;
		struct cram_vm_input *vm;
		struct host h;

		host_random(&h, &rng, 1);
		h.rec.tiers->worst_q16 = (uint32_t)random_in(&rng, 65536, 4 * 65536);
		h.rec.tiers->budget = 1024 * GiB;
		upper = bytes / random_in(&rng, 1, 8);
		vm = on_card(&h, 0, bytes, upper, upper, upper + random_in(&rng, 0, 8192) * MiB);
		vm->cold[CRAM_AGE_BUCKETS - 1] = vm->dram;
		room = vm->quota - upper + h.rec.params.quota_slack_bytes;
		decide(&h);
		demoted += h.actions[0].demote_bytes;
		assert_true(
			((unsigned __int128)h.actions[0].demote_bytes * h.rec.tiers->worst_q16) >>
			16 <= room);
		assert_true(((unsigned __int128)(h.actions[0].kernel_limit - bytes) *
			     h.rec.tiers->worst_q16) >>
			    16 <= room);
		host_free(&h);
	}
	assert_true(demoted > GiB);
}

/* What of @vm has gone out takes a card's bytes as they are, what comes home leaves it so. */
static void move(struct cram_vm_input *vm, const struct cram_vm_action *a)
{
	uint64_t home = a->promote_bytes;

	vm->tier_bytes += a->demote_bytes - home;
	vm->device_bytes += a->demote_bytes - home;
	vm->dram += home - a->demote_bytes;
	vm->cold[CRAM_AGE_BUCKETS - 1] -= a->demote_bytes;
	vm->ratio_q16 = (uint32_t)((vm->device_bytes << 16) / vm->tier_bytes);
	vm->device_upper = vm->device_bytes;
}

/*
 * A card of 100 GiB of which VMs may fill 95: one VM has 20 there, of 80 that compress by 4. It
 * goes on with 80 that do not compress. Another has 10, and all it wants.
 */
static void who_compresses_no_more_fills_what_vms_leave_free_and_gives_that_back(void **state)
{
	uint64_t used, most = 0;
	struct host h;
	struct cram_vm_input *bad, *good;
	(void)state;

	host_random(&h, &(uint64_t){ 1 }, 2);
	bad = &h.rec.vms[0];
	good = &h.rec.vms[1];
	for (int i = 0; i < 2; i++) {
		struct cram_vm_input *vm = &h.rec.vms[i];

		vm->ram = vm->eligible = 256 * GiB;
		vm->quota = vm->hard_limit = CRAM_UNLIMITED;
		vm->floor = 0;
		vm->weight = 100;
		vm->ratio_q16 = 65536 / 4;
		vm->demote_tokens = vm->promote_tokens = 100 * GiB;
		vm->dram = 80 * GiB;
		memset(vm->cold, 0, sizeof(vm->cold));
	}
	h.rec.snap.demote_tokens = h.rec.snap.promote_tokens = 100 * GiB;
	bad->tier_bytes = 80 * GiB;
	bad->device_bytes = bad->device_upper = 20 * GiB;
	bad->cold[CRAM_AGE_BUCKETS - 1] = 80 * GiB;
	good->tier_bytes = 40 * GiB;
	good->device_bytes = good->device_upper = 10 * GiB;
	h.rec.tiers->budget = 95 * GiB;
	for (int round = 0; round < 20; round++) {
		used = bad->device_bytes + good->device_bytes;
		most = used > most ? used : most;
		h.rec.tiers->free = 100 * GiB - used;
		decide(&h);
		assert_int_equal(h.actions[1].promote_bytes, 0);
		if (used > 95 * GiB) {
			assert_true(h.actions[0].urgent);
			assert_true(h.actions[0].promote_bytes > 0);
		}
		move(bad, &h.actions[0]);
		h.rec.snap.now_ms += 2000;
	}
	/* More than they may fill, and no more than there is. */
	assert_int_equal(most, 100 * GiB);
	assert_true(used <= 95 * GiB && used > 90 * GiB);
	host_free(&h);
}

static void the_kernel_may_not_take_a_floor_either(void **state)
{
	uint64_t rng = random_seed("kernel floor");
	struct cram_vm_input *vm;
	struct host h;
	(void)state;

	host_random(&h, &rng, 1);
	h.rec.vms[0].ram = 64 * GiB;
	/* Its share is no less than it takes: a VM that gives back is held to less. */
	h.rec.tiers->budget = 1024 * GiB;
	vm = on_card(&h, 0, 4 * GiB, GiB, GiB, CRAM_UNLIMITED);
	vm->floor = 50 * GiB;
	decide(&h);
	assert_int_equal(h.actions[0].kernel_limit, 14 * GiB);
	/* Less than its floor has been touched, or nothing of it was seen yet: all that comes is.
	 */
	for (uint64_t seen = 0; seen <= 50; seen += 10) {
		vm->dram = seen * GiB;
		vm->tier_bytes = vm->device_bytes = vm->device_upper = 0;
		decide(&h);
		assert_int_equal(h.actions[0].kernel_limit, 0);
	}
	vm->floor = 0;
	decide(&h);
	assert_true(h.actions[0].kernel_limit == CRAM_UNLIMITED);
	host_free(&h);
}

/* Bounds add up to more than the card stores: no reason to give back, nor to move nothing out. */
static void shares_go_by_what_is_likely(void **state)
{
	uint64_t rng = random_seed("likely");
	struct host h;
	(void)state;

	host_random(&h, &rng, 2);
	h.rec.tiers->budget = 4 * GiB;
	for (size_t i = 0; i < 2; i++) {
		h.rec.vms[i].ram = h.rec.vms[i].eligible = 64 * GiB;
		h.rec.vms[i].weight = 100;
		h.rec.vms[i].ratio_q16 = 65536 / 4;
		memset(h.rec.vms[i].cold, 0, sizeof(h.rec.vms[i].cold));
		h.rec.vms[i].cold[CRAM_AGE_BUCKETS - 1] = GiB;
		on_card(&h, i, 4 * GiB, GiB, 3 * GiB, CRAM_UNLIMITED);
	}
	decide(&h);
	assert_int_equal(h.d.promote_bytes, 0);
	assert_int_equal(h.d.demote_bytes, 2 * GiB);
	h.rec.tiers->budget = GiB;
	decide(&h);
	/* A page of either is a quarter of one on the card. */
	assert_int_equal(h.actions[0].promote_bytes + h.actions[1].promote_bytes, 4 * GiB);
	host_free(&h);
}

/* ------------------------------------------------------------------ accounts */

static void buckets_start_empty_and_never_exceed_the_burst(void **state)
{
	struct cram_bucket b = { 0 };
	(void)state;

	assert_int_equal(cram_bucket_fill(&b, 5000, 1000, 3000), 0);
	assert_int_equal(cram_bucket_fill(&b, 6000, 1000, 3000), 1000);
	cram_bucket_take(&b, 400);
	assert_int_equal(cram_bucket_fill(&b, 6000, 1000, 3000), 600);
	assert_int_equal(cram_bucket_fill(&b, 1000000, 1000, 3000), 3000);
	cram_bucket_take(&b, 5000);
	assert_int_equal(cram_bucket_fill(&b, 10, 1000, 3000), 0); /* clock went back */
	assert_int_equal(cram_bucket_fill(&b, 1010, 1000, 3000), 1000);
	assert_int_equal(cram_bucket_fill(&b, 1010, 1000, 500), 500); /* rate lowered */
	assert_int_equal(cram_bucket_fill(&b, UINT64_MAX, UINT64_MAX, UINT64_MAX), UINT64_MAX);
}

static void overcommit_counts_the_tier_at_ratio_one_unless_expected(void **state)
{
	struct cram_overcommit o;
	struct cram_overcommit_input in = {
		.has = { .dram = 100 * GiB,
			 .kept = 10 * GiB,
			 .swap = 5 * GiB,
			 .fits = { [CRAM_TIER_CRAM] = 50 * GiB },
			 .expected = { [CRAM_TIER_CRAM] = 100 * GiB },
			 .lasts = { [CRAM_TIER_CRAM] = 50 * GiB },
			 .kinds = 1U << CRAM_TIER_CRAM },
		.sold = { .ram = 160 * GiB,
			  .dram = 80 * GiB,
			  .bound = 80 * GiB,
			  .rest = { [1U << CRAM_TIER_CRAM] = 80 * GiB } },
	};
	(void)state;

	cram_overcommit(&in, &o);
	assert_int_equal(o.guaranteed, 145 * GiB);
	assert_int_equal(o.expected, 195 * GiB);
	assert_int_equal(o.lasting, 140 * GiB);
	assert_int_equal(o.at_risk, 15 * GiB);
	assert_int_equal(o.floor_room, 10 * GiB);
	assert_false(o.floors_exceed);
	in.sold.dram = 91 * GiB;
	cram_overcommit(&in, &o);
	assert_true(o.floors_exceed);
	assert_int_equal(o.floor_room, 0);
}

static void every_age_falls_in_the_bucket_of_its_edge(void **state)
{
	(void)state;
	for (unsigned int b = 0; b < CRAM_AGE_BUCKETS; b++) {
		assert_int_equal(cram_age_bucket(cram_age_edge(b)), b);
		if (b > 0)
			assert_int_equal(cram_age_bucket(cram_age_edge(b) - 1), b - 1);
	}
	assert_int_equal(cram_age_bucket(UINT32_MAX), CRAM_AGE_BUCKETS - 1);
}

static void a_printed_snapshot_reads_back_the_same(void **state)
{
	uint64_t rng = random_seed("records");
	struct json_object *first, *second;
	struct cram_record copy;
	struct cram_error err;
	const char *text;
	struct host h;
	(void)state;

	host_random(&h, &rng, 20);
	for (size_t i = 0; i < 20; i++) {
		h.rec.vms[i].memory.returned[i % CRAM_SLO_SLOTS] = i * MiB;
		h.rec.vms[i].memory.giving_back = i % 2;
		h.rec.vms[i].tier = (int)(i % 3) - 1;
		h.rec.vms[i].name = "two words, \"and\" a\nline";
	}
	first = cram_record_encode(&h.rec.params, &h.rec.snap);
	text = json_object_to_json_string(first);
	assert_int_equal(cram_record_parse("t", text, strlen(text), &h.rec.params, &copy, &err), 0);
	assert_string_equal(copy.vms[3].name, h.rec.vms[3].name);
	for (size_t i = 0; i < 20; i++) {
		copy.vms[i].name = h.rec.vms[i].name = NULL;
		copy.vms[i].uuid = h.rec.vms[i].uuid = NULL;
		assert_memory_equal(&copy.vms[i], &h.rec.vms[i], sizeof(copy.vms[i]));
	}
	second = cram_record_encode(&copy.params, &copy.snap);
	json_object_put(first);
	first = cram_record_encode(&h.rec.params, &h.rec.snap);
	assert_true(json_object_equal(first, second));
	json_object_put(first);
	json_object_put(second);
	cram_record_free(&copy);
	host_free(&h);
}

static void a_bad_record_is_refused_with_its_place(void **state)
{
	static const struct {
		const char *text, *object;
	} bad[] = {
		{ "{\n\"now_ms\": 1,\n\"vms\": [{]\n}", "r:3" },
		{ "{} {}", "r:1" },
		{ "", "r:1" },
		{ "[]", "r" },
		{ "{\"foo\": 1}", "r" },
		{ "{\"params\": {\"backoff_factor\": 0}}", "r: params" },
		{ "{\"vms\": [{}, {\"nam\": \"x\"}]}", "r: vms[1]" },
		{ "{\"vms\": [{\"name\": 1}]}", "r: vms[0]" },
		{ "{\"vms\": [{\"weight\": 5000000000}]}", "r: vms[0]" },
		{ "{\"vms\": [{\"quota\": -1}]}", "r: vms[0]" },
		{ "{\"vms\": [{\"cold\": {\"x\": 1}}]}", "r: vms[0]" },
		{ "{\"vms\": [{\"mode\": \"\"}]}", "r: vms[0]" },
		{ "{\"vms\": [{\"memory\": {\"returned\": [-1]}}]}", "r: vms[0]" },
		{ "{\"tiers\": [{\"kind\": \"x\"}]}", "r: tiers[0]" },
	};
	struct cram_policy_params p = params_of_table();
	(void)state;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct cram_error err = { 0 };
		struct cram_record r;

		assert_int_equal(
			cram_record_parse("r", bad[i].text, strlen(bad[i].text), &p, &r, &err),
			-EINVAL);
		assert_string_equal(err.object, bad[i].object);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(shares_agree_with_the_oracle),
		cmocka_unit_test(no_input_breaks_quota_floor_or_headroom),
		cmocka_unit_test(a_round_allocates_nothing),
		cmocka_unit_test(hosts_converge_to_the_oracle_within_5_percent),
		cmocka_unit_test(a_shrunk_tier_converges_again_and_the_furthest_over_gives_first),
		cmocka_unit_test(capacity_is_not_left_unused_while_someone_wants_it),
		cmocka_unit_test(more_weight_never_means_a_smaller_share),
		cmocka_unit_test(noise_moves_next_to_nothing),
		cmocka_unit_test(a_host_full_of_page_cache_takes_memory_home),
		cmocka_unit_test(cache_that_must_be_written_or_is_in_use_is_no_room),
		cmocka_unit_test(without_a_tier_everything_comes_home),
		cmocka_unit_test(what_became_ineligible_comes_home),
		cmocka_unit_test(only_mode_auto_keeps_memory_on_a_tier),
		cmocka_unit_test(limits_that_are_no_whole_pages_are_met),
		cmocka_unit_test(the_hard_limit_alone_brings_the_rest_home),
		cmocka_unit_test(a_vm_brings_home_no_more_than_its_own_rate),
		cmocka_unit_test(what_a_tier_has_too_much_comes_home_at_no_rate),
		cmocka_unit_test(what_has_no_room_in_dram_goes_to_swap),
		cmocka_unit_test(what_has_room_on_another_home_node_is_not_swapped),
		cmocka_unit_test(what_a_vm_gives_back_is_not_replaced_by_the_kernel),
		cmocka_unit_test(what_comes_home_goes_to_the_one_node_whose_room_it_takes),
		cmocka_unit_test(headroom_holds_the_hosts_promotion_rate_once),
		cmocka_unit_test(giving_back_starts_late_and_ends_at_the_share),
		cmocka_unit_test(nobody_gives_back_what_nobody_takes),
		cmocka_unit_test(a_newcomer_takes_nothing_from_others_while_there_is_room),
		cmocka_unit_test(demotion_starts_late_and_ends_at_the_target),
		cmocka_unit_test(a_big_vms_cold_memory_does_not_wait),
		cmocka_unit_test(a_little_at_a_time_counts_as_a_lot_does),
		cmocka_unit_test(too_much_coming_back_raises_the_cold_age_then_stops_demotion),
		cmocka_unit_test(a_range_or_two_a_minute_stop_nothing),
		cmocka_unit_test(an_extra_round_changes_nothing),
		cmocka_unit_test(one_burst_is_acted_on_once),
		cmocka_unit_test(what_came_back_before_a_vm_was_seen_is_not_held_against_it),
		cmocka_unit_test(trust_comes_back_one_step_in_ten_quiet_minutes),
		cmocka_unit_test(a_quiet_vm_gets_a_lower_cold_age_down_to_the_minimum),
		cmocka_unit_test(a_new_vm_waits_one_cold_age),
		cmocka_unit_test(the_kernels_limit_keeps_the_quota_if_the_agent_dies),
		cmocka_unit_test(a_quota_holds_for_the_upper_bound),
		cmocka_unit_test(what_moves_out_stays_below_a_quota_by_the_upper_bound),
		cmocka_unit_test(pages_that_do_not_compress_exceed_a_quota_by_the_slack_at_most),
		cmocka_unit_test(
			who_compresses_no_more_fills_what_vms_leave_free_and_gives_that_back),
		cmocka_unit_test(the_kernel_may_not_take_a_floor_either),
		cmocka_unit_test(shares_go_by_what_is_likely),
		cmocka_unit_test(buckets_start_empty_and_never_exceed_the_burst),
		cmocka_unit_test(overcommit_counts_the_tier_at_ratio_one_unless_expected),
		cmocka_unit_test(every_age_falls_in_the_bucket_of_its_edge),
		cmocka_unit_test(a_printed_snapshot_reads_back_the_same),
		cmocka_unit_test(a_bad_record_is_refused_with_its_place),
	};

	return cmocka_run_group_tests_name("policy", tests, NULL, NULL);
}
