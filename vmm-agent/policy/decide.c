// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The decision of one round, in five passes over the VMs:
 *   1. observe: the service level (slo.c), what limits and floor say of this VM alone;
 *   2. share:   weighted max-min shares of each tier in device bytes;
 *   3. target:  what each VM gives back or wants to move out, with hysteresis;
 *   4. promote: DRAM above headroom and tokens, most urgent first; what a tier under pressure has
 *               too much needs no tokens, and goes to swap where DRAM has no room and it may;
 *   5. demote:  what the tier takes and tokens, shared by weight.
 * Nothing moved in this round counts as already freed: the next snapshot will show it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "policy/policy.h"
#include "policy/saturate.h"
#include "policy/slo.h"
#include "policy/waterfill.h"
#include "util/sort.h"

#define PAGE 4096U
#define Q16  65536U

/* Urgency of bringing memory home; demotion is 0. In the top bits of an action's priority. */
enum urgency {
	URGENT_DEMOTE,	 /* not a promotion */
	URGENT_SHARE,	 /* over its share, the tier is not full */
	URGENT_LIMIT,	 /* quota, hard limit, drain */
	URGENT_HOT,	 /* the guest uses it, and it is little */
	URGENT_FLOOR,	 /* DRAM below the floor */
	URGENT_PRESSURE, /* the tier must shrink */
};
#define URGENCY_SHIFT 28
#define URGENCY_MASK  ((1U << URGENCY_SHIFT) - 1)

struct work {
	bool movable;	    /* nothing forbids demotion */
	bool leaving;	    /* everything goes home */
	bool untouched;	    /* not even promotion */
	uint32_t ratio;	    /* of pages to come, Q16, never 0 */
	uint64_t room;	    /* logical bytes that its own limits and cold memory let go */
	uint32_t worst;	    /* of any page on its tier, Q16, never 0 */
	uint64_t upper;	    /* device bytes, upper bound */
	uint64_t at_once;   /* of them, before it is known how they compress */
	uint64_t hot;	    /* tier bytes to bring home because they are used */
	uint64_t must;	    /* logical bytes that quota, hard limit or floor want back */
	uint64_t stay;	    /* device bytes it may keep by its own limits, without the hot ones */
	uint64_t want_home; /* logical bytes to bring home, before DRAM and tokens */
	uint64_t want_out;  /* logical bytes to move out, before the tier and tokens */
	enum urgency urgency;
	uint64_t overage; /* orders VMs of equal urgency */
	size_t first;	  /* the first VM on the same tier ... */
	uint64_t excess;  /* ... has the device bytes that VMs have too much there */
};

struct cram_policy_workspace {
	size_t n;
	struct work *work;
	struct cram_claim *claims;
	uint32_t *by_urgency;
};

int cram_policy_workspace_reserve(struct cram_policy_workspace **ws, size_t n_vms)
{
	struct cram_policy_workspace *w = *ws ? *ws : calloc(1, sizeof(*w));
	size_t n = 64;

	if (!w)
		return -ENOMEM;
	*ws = w;
	if (n_vms <= w->n)
		return 0;
	while (n < n_vms)
		n *= 2;
	free(w->work);
	free(w->claims);
	free(w->by_urgency);
	w->work = calloc(n, sizeof(*w->work));
	w->claims = calloc(n, sizeof(*w->claims));
	w->by_urgency = calloc(n, sizeof(*w->by_urgency));
	w->n = w->work && w->claims && w->by_urgency ? n : 0;
	return w->n ? 0 : -ENOMEM;
}

void cram_policy_workspace_free(struct cram_policy_workspace *ws)
{
	if (!ws)
		return;
	free(ws->work);
	free(ws->claims);
	free(ws->by_urgency);
	free(ws);
}

/* Device bytes that @logical more bytes may take, rounded against the VM. */
static uint64_t to_device(uint64_t logical, uint32_t ratio)
{
	return scale_up(logical, ratio, Q16);
}

static uint64_t to_logical(uint64_t device, uint32_t ratio)
{
	return scale(device, Q16, ratio);
}

/* What moves is pages: amounts that must be reached go up to whole ones, others down. */
static uint64_t pages_up(uint64_t bytes)
{
	return add(bytes, PAGE - 1) & ~(uint64_t)(PAGE - 1);
}

static uint64_t pages_down(uint64_t bytes)
{
	return bytes & ~(uint64_t)(PAGE - 1);
}

static void reason(struct cram_vm_action *a, enum cram_reason code, uint64_t bytes, uint64_t limit)
{
	if (a->n_reasons < CRAM_MAX_REASONS)
		a->reasons[a->n_reasons++] =
			(struct cram_reason_entry){ .code = code, .bytes = bytes, .limit = limit };
}

/* ------------------------------------------------------------------ 1. observe */

static uint64_t seconds_ms(uint32_t s)
{
	return (uint64_t)s * 1000;
}

/* The first of the nodes in @home with less DRAM to be had than its headroom; -1: none. */
static int short_home(const struct cram_snapshot *snap, const struct cram_decision *d,
		      uint64_t home)
{
	for (size_t i = 0; i < snap->n_dram; i++)
		if (home & (UINT64_C(1) << i) && d->available[i] < d->headroom[i])
			return (int)i;
	return -1;
}

static uint64_t all_nodes(const struct cram_snapshot *snap)
{
	return snap->n_dram >= 64 ? UINT64_MAX : (UINT64_C(1) << snap->n_dram) - 1;
}

/* Of @mask the nodes that there are; where there is none, all are. */
static uint64_t nodes_of(const struct cram_snapshot *snap, uint64_t mask)
{
	uint64_t nodes = mask & all_nodes(snap);

	return nodes ? nodes : all_nodes(snap);
}

static const struct cram_tier_input *tier_of(const struct cram_snapshot *snap,
					     const struct cram_vm_input *vm)
{
	if (vm->tier < 0 || (size_t)vm->tier >= snap->n_tiers)
		return NULL;
	return &snap->tiers[vm->tier];
}

/* What forbids demotion, with the reason; true: nothing does. */
static bool may_demote(const struct cram_snapshot *snap, const struct cram_vm_input *vm,
		       struct cram_vm_action *a)
{
	const struct cram_tier_input *tier = tier_of(snap, vm);
	uint64_t warm = add(a->memory.first_seen_ms, seconds_ms(a->cold_age_s));

	if (vm->flags & CRAM_VM_F_INELIGIBLE)
		reason(a, CRAM_REASON_INELIGIBLE, vm->tier_bytes, 0);
	else if (vm->mode != CRAM_MODE_AUTO)
		reason(a, CRAM_REASON_MODE, vm->tier_bytes, 0);
	else if (vm->flags & CRAM_VM_F_DRAIN)
		reason(a, CRAM_REASON_DRAIN, vm->tier_bytes, 0);
	else if (vm->flags & (CRAM_VM_F_PAUSED | CRAM_VM_F_INCOMING))
		reason(a, CRAM_REASON_PAUSED, vm->tier_bytes, 0);
	else if (!tier || !tier->accepting)
		reason(a, CRAM_REASON_NO_TIER, a->cold_bytes, 0);
	else if (snap->now_ms < warm)
		reason(a, CRAM_REASON_WARMUP, warm - snap->now_ms, 0);
	else if (snap->now_ms < a->memory.backoff_until_ms)
		reason(a, CRAM_REASON_BACKOFF, a->memory.backoff_until_ms - snap->now_ms,
		       a->memory.backoff_shift);
	else
		return true;
	return false;
}

/* Logical bytes to bring home so that quota, hard limit and floor hold again. */
static uint64_t must_give_back(const struct cram_vm_input *vm, const struct work *w,
			       struct cram_vm_action *a)
{
	uint64_t must = 0, give;

	if (w->upper > vm->quota) {
		reason(a, CRAM_REASON_QUOTA, w->upper, vm->quota);
		give = scale_up(w->upper - vm->quota, vm->tier_bytes, w->upper);
		must = max(must, give);
	}
	if (vm->tier_bytes > vm->hard_limit) {
		reason(a, CRAM_REASON_HARD_LIMIT, vm->tier_bytes, vm->hard_limit);
		must = max(must, vm->tier_bytes - vm->hard_limit);
	}
	if (vm->dram < a->effective_floor && vm->tier_bytes > 0) {
		reason(a, CRAM_REASON_FLOOR, vm->dram, a->effective_floor);
		must = max(must, a->effective_floor - vm->dram);
	}
	return min(must, vm->tier_bytes);
}

/* Logical bytes that its quota lets go, held to compress as what is there does. */
static uint64_t quota_room(const struct cram_vm_input *vm, const struct work *w)
{
	if (vm->quota == CRAM_UNLIMITED)
		return CRAM_UNLIMITED;
	return to_logical(sub(vm->quota, w->upper), w->ratio);
}

/*
 * Of them, those that may go before a report tells what they take: should they not compress at all,
 * the quota is exceeded by no more than the slack.
 */
static uint64_t quota_at_once(const struct cram_policy_params *p, const struct cram_vm_input *vm,
			      const struct work *w)
{
	if (vm->quota == CRAM_UNLIMITED)
		return CRAM_UNLIMITED;
	return to_logical(sub(add(vm->quota, p->quota_slack_bytes), w->upper), w->worst);
}

/* Logical bytes that may go by the VM's own limits; each limit that binds leaves its reason. */
static uint64_t own_room(const struct cram_vm_input *vm, const struct work *w,
			 struct cram_vm_action *a)
{
	uint64_t room = a->cold_bytes, limit;

	limit = sub(vm->dram, a->effective_floor);
	if (limit < room) {
		room = limit;
		reason(a, CRAM_REASON_FLOOR, vm->dram, a->effective_floor);
	}
	limit = sub(vm->hard_limit, vm->tier_bytes);
	if (limit < room) {
		room = limit;
		reason(a, CRAM_REASON_HARD_LIMIT, vm->tier_bytes, vm->hard_limit);
	}
	limit = quota_room(vm, w);
	if (limit < room) {
		room = limit;
		reason(a, CRAM_REASON_QUOTA, w->upper, vm->quota);
	}
	return room;
}

/*
 * Limit for the kernel, which counts logical bytes, moves memory out by itself when DRAM is short,
 * and holds the VM to it while the agent is away.
 */
static uint64_t kernel_limit(const struct cram_vm_input *vm, const struct work *w,
			     const struct cram_vm_action *a)
{
	uint64_t limit = add(vm->tier_bytes, min(quota_room(vm, w), w->at_once));

	if (w->leaving)
		return 0;
	limit = min(limit, vm->hard_limit);
	if (vm->flags & (CRAM_VM_F_PAUSED | CRAM_VM_F_INCOMING))
		limit = min(limit, vm->tier_bytes);
	/* That takes nothing away; it keeps what comes home from being replaced. */
	if (w->must > 0)
		limit = min(limit, vm->tier_bytes - w->must);
	/* Of who has a floor; also where nothing was touched yet that anybody has seen. */
	if (vm->floor > 0)
		limit = min(limit, sub(add(vm->dram, vm->tier_bytes), a->effective_floor));
	return limit;
}

static void observe(const struct cram_policy_params *p, const struct cram_snapshot *snap,
		    struct cram_decision *d, const struct cram_vm_input *vm, struct work *w,
		    struct cram_vm_action *a)
{
	uint64_t touched = add(add(vm->dram, vm->tier_bytes), vm->swapped);
	const struct cram_tier_input *tier = tier_of(snap, vm);
	struct cram_slo slo;
	uint64_t kept;
	int node;

	memset(a, 0, sizeof(*a));
	memset(w, 0, sizeof(*w));
	a->home = -1;
	w->ratio = vm->ratio_q16 ? vm->ratio_q16 : Q16;
	w->worst = tier && tier->worst_q16 ? tier->worst_q16 : Q16;
	w->upper = max(vm->device_upper, vm->device_bytes);
	w->untouched = vm->flags & CRAM_VM_F_INCOMING;
	w->leaving = vm->mode != CRAM_MODE_AUTO || !tier ||
		     vm->flags & (CRAM_VM_F_INELIGIBLE | CRAM_VM_F_DRAIN);
	a->goes_home = w->leaving;
	a->effective_floor = min(vm->floor, touched);
	a->memory = vm->memory;
	slo = cram_slo_follow(p, vm, snap->now_ms, &a->memory);
	if (slo.per_minute > slo.allowed)
		reason(a, CRAM_REASON_SLO_OVER, slo.per_minute, slo.allowed);
	a->cold_age_s = vm->cold_age_s ? vm->cold_age_s : a->memory.cold_age_s;
	node = short_home(snap, d, nodes_of(snap, vm->home_mask));
	if (node >= 0 && vm->cold_age_s == 0 && vm->mode == CRAM_MODE_AUTO) {
		/* Better younger pages of an idle guest now than the kernel's choice later. */
		reason(a, CRAM_REASON_DRAM_PRESSURE, d->available[node], d->headroom[node]);
		a->cold_age_s = (uint32_t)max(p->cold_age_min_s, a->cold_age_s / 2);
	}
	for (unsigned int i = 0; i < CRAM_AGE_BUCKETS; i++)
		if (cram_age_edge(i) >= a->cold_age_s)
			a->cold_bytes = add(a->cold_bytes, vm->cold[i]);
	a->cold_bytes = min(a->cold_bytes, min(vm->dram, vm->eligible));
	a->demote_age_s = a->cold_age_s;

	w->hot = min(vm->hot_bytes, vm->tier_bytes);
	if (w->hot > 0 && !w->leaving)
		reason(a, CRAM_REASON_HOT, w->hot, 0);
	if (!w->leaving)
		w->must = must_give_back(vm, w, a);
	w->at_once = quota_at_once(p, vm, w);
	a->kernel_limit = kernel_limit(vm, w, a);
	w->movable = may_demote(snap, vm, a);
	if (w->movable && w->must == 0) {
		w->room = own_room(vm, w, a);
		reason(a, CRAM_REASON_COLD, a->cold_bytes, a->cold_age_s);
	}
	kept = w->leaving ? 0 : vm->tier_bytes - max(w->hot, w->must);
	w->stay = scale(vm->device_bytes, kept, vm->tier_bytes);
}

/* ------------------------------------------------------------------ 2. share */

struct tier_state {
	uint64_t offered; /* device bytes for VMs */
	uint64_t used;	  /* device bytes of VMs now */
	bool pressure;
	bool awaited; /* who wants more there has to wait for who has too much */
};

static struct tier_state share(const struct cram_snapshot *snap, size_t t,
			       struct cram_policy_workspace *ws, struct cram_decision *d)
{
	struct tier_state s = { .offered = sub(snap->tiers[t].budget, snap->tiers[t].used_other) };
	size_t n = 0, first = 0;

	for (size_t i = 0; i < snap->n_vms; i++) {
		const struct cram_vm_input *vm = &snap->vms[i];
		struct work *w = &ws->work[i];
		uint64_t demand;

		if (vm->tier != (int)t)
			continue;
		first = n ? first : i;
		w->first = first;
		s.used = add(s.used, vm->device_bytes);
		demand = w->leaving ? 0 : add(w->stay, to_device(w->room, w->ratio));
		ws->claims[n++] = (struct cram_claim){
			.demand = min(demand, vm->quota),
			.weight = vm->weight,
			.id = (uint32_t)i,
		};
	}
	s.pressure = s.used > s.offered;
	if (n)
		ws->work[first].excess = sub(s.used, s.offered);
	cram_waterfill(ws->claims, n, s.offered);
	for (size_t i = 0; i < n; i++)
		d->actions[ws->claims[i].id].fair_device_bytes = ws->claims[i].grant;
	return s;
}

/* ------------------------------------------------------------------ 3. target */

static void target_out(const struct cram_policy_params *p, const struct cram_vm_input *vm,
		       struct work *w, struct cram_vm_action *a)
{
	uint64_t target = to_logical(a->fair_device_bytes, w->ratio), missing, start;

	if (!w->movable || w->must > 0 || w->stay > a->fair_device_bytes) {
		a->memory.demoting = false;
		return;
	}
	/* The limits hold for what is there now: hot pages on their way home still count. */
	missing = min(w->room, to_logical(sub(a->fair_device_bytes, w->stay), w->ratio));
	if (missing < w->room)
		reason(a, CRAM_REASON_SHARE, vm->device_bytes, a->fair_device_bytes);
	/*
	 * Cold memory that nothing else holds back goes early and all of it. Up to a limit or a
	 * share the VM fills once, to a little below, and again only when it is clearly below:
	 * readings err, and giving back on one and refilling on the next would never end.
	 */
	if (missing < a->cold_bytes) {
		start = scale(target, p->give_back_permille, 1000);
		missing = sub(missing, start / 4);
		start = sub(start, start / 4);
	} else {
		start = min(scale(target, p->demote_start_permille, 1000),
			    p->demote_start_max_bytes);
	}
	start = max(start, p->demote_start_min_bytes);
	if (missing < PAGE)
		a->memory.demoting = false;
	else if (missing >= start)
		a->memory.demoting = true;
	if (a->memory.demoting)
		w->want_out = min(missing, w->at_once);
	else if (missing > 0)
		reason(a, CRAM_REASON_HYSTERESIS, missing, start);
}

/*
 * Nobody's share is another's loss while there is room, nor while nobody wants more: shares may be
 * wrong. Memory that is yet to come is held to compress as badly as can be, and where the others
 * have all they want, an error in what any of them has is one in the share of who gets the rest.
 */
static bool is_awaited(const struct cram_policy_params *p, const struct cram_snapshot *snap,
		       size_t t, const struct tier_state *s, const struct work *work)
{
	const struct cram_tier_input *tier = &snap->tiers[t];
	uint64_t least =
		add(scale(s->offered, p->demote_start_permille, 1000), p->demote_start_min_bytes);
	uint64_t room = sub(s->offered, s->used), device = 0, logical = 0;

	for (size_t i = 0; i < snap->n_vms; i++) {
		if (snap->vms[i].tier != (int)t)
			continue;
		device = add(device, to_device(work[i].want_out, work[i].ratio));
		logical = add(logical, work[i].want_out);
	}
	return min(room, tier->free) < least && (device > room || logical > tier->free);
}

static void raise_urgency(struct work *w, enum urgency u, uint64_t overage)
{
	if (u > w->urgency || (u == w->urgency && overage > w->overage)) {
		w->urgency = u;
		w->overage = overage;
	}
}

static void target_home(const struct cram_policy_params *p, const struct cram_vm_input *vm,
			const struct tier_state *s, struct work *w, struct cram_vm_action *a)
{
	uint64_t fair = a->fair_device_bytes, over = sub(w->stay, fair), give;

	if (w->leaving) {
		w->want_home = vm->tier_bytes;
		a->memory.giving_back = false;
		if (w->want_home > 0)
			raise_urgency(w, s->pressure ? URGENT_PRESSURE : URGENT_LIMIT,
				      vm->device_bytes);
		return;
	}
	/* Giving back starts late and then goes all the way, so noise cannot move memory. */
	if (over == 0)
		a->memory.giving_back = false;
	else if (s->pressure || (s->awaited && over > scale(fair, p->give_back_permille, 1000)))
		a->memory.giving_back = true;
	give = max(w->hot, w->must);
	if (w->hot > 0)
		raise_urgency(w, URGENT_HOT, w->hot);
	if (w->must > 0)
		raise_urgency(w, vm->dram < a->effective_floor ? URGENT_FLOOR : URGENT_LIMIT,
			      w->must);
	if (a->memory.giving_back) {
		/* stay leaves out what comes home anyway; the rest is on top of it. */
		give = add(give, scale_up(over, vm->tier_bytes, vm->device_bytes));
		reason(a, CRAM_REASON_SHARE, vm->device_bytes, fair);
		if (s->pressure)
			reason(a, CRAM_REASON_TIER_PRESSURE, s->used, s->offered);
		raise_urgency(w, s->pressure ? URGENT_PRESSURE : URGENT_SHARE, over);
	} else if (over > 0) {
		reason(a, CRAM_REASON_SHARE, vm->device_bytes, fair);
		if (s->awaited)
			reason(a, CRAM_REASON_HYSTERESIS, over,
			       scale(fair, p->give_back_permille, 1000));
	}
	w->want_home = min(pages_up(give), vm->tier_bytes);
	/* As with quotas: what comes home is not to be replaced by the kernel meanwhile. */
	if (a->memory.giving_back)
		a->kernel_limit = min(a->kernel_limit, vm->tier_bytes - w->want_home);
}

/* ------------------------------------------------------------------ 4. promote */

/* Of two VMs by index, which is served first? */
static bool more_urgent(const void *a, const void *b, const void *work)
{
	uint32_t i = *(const uint32_t *)a, k = *(const uint32_t *)b;
	const struct work *x = (const struct work *)work + i, *y = (const struct work *)work + k;

	if (x->urgency != y->urgency)
		return x->urgency > y->urgency;
	if (x->overage != y->overage)
		return x->overage > y->overage;
	return i < k;
}

/* The node in @home with the most room. Never -1: @home is not empty when there is a node. */
static int roomiest(const uint64_t *room, size_t n, uint64_t home)
{
	int best = -1;

	for (size_t i = 0; i < n; i++)
		if (home & (UINT64_C(1) << i) && (best < 0 || room[i] > room[best]))
			best = (int)i;
	return best;
}

/*
 * Of what @w is to bring home, logical bytes that no rate holds back: what its tier has too much.
 * If they do not come home now, the kernel has to move pages itself, and knows no rates.
 */
static uint64_t relief(const struct cram_vm_input *vm, const struct work *w, uint64_t excess)
{
	uint64_t bytes = scale_up(excess, vm->tier_bytes, vm->device_bytes);

	return w->urgency == URGENT_PRESSURE ? min(w->want_home, pages_up(bytes)) : 0;
}

/*
 * Of what is left of @excess when @w brings @home home, @hot of it since it is used, and the next
 * rounds as much as @room: what goes to swap. Nothing that is used does, nor of a VM that is to be
 * rid of its tiers.
 */
static uint64_t shed(const struct cram_vm_input *vm, const struct work *w, uint64_t excess,
		     uint64_t home, uint64_t hot, uint64_t room)
{
	uint64_t idle = sub(sub(w->want_home, w->hot), home - hot);

	if (w->leaving || !vm->may_swap)
		return 0;
	return sub(min(relief(vm, w, excess), idle), room);
}

static uint64_t room_on(const uint64_t *room, size_t n, uint64_t nodes)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < n; i++)
		if (nodes & UINT64_C(1) << i)
			bytes = add(bytes, room[i]);
	return bytes;
}

/*
 * What comes home goes to one node per VM and round, and its room alone is taken: so the mover, who
 * is told that node, finds there what was decided.
 */
static void promote(const struct cram_snapshot *snap, struct cram_policy_workspace *ws,
		    struct cram_decision *d)
{
	uint64_t room[CRAM_MAX_DRAM], tokens = snap->promote_tokens, swap = snap->swap_room;
	size_t n = 0;

	for (size_t i = 0; i < snap->n_dram; i++)
		room[i] = sub(d->available[i], d->headroom[i]);
	for (size_t i = 0; i < snap->n_vms; i++)
		if (ws->work[i].want_home > 0 && !ws->work[i].untouched)
			ws->by_urgency[n++] = (uint32_t)i;
	cram_sort(ws->by_urgency, n, sizeof(*ws->by_urgency), more_urgent, ws->work);
	for (size_t i = 0; i < n; i++) {
		uint32_t v = ws->by_urgency[i];
		const struct cram_vm_input *vm = &snap->vms[v];
		struct cram_vm_action *a = &d->actions[v];
		uint64_t *excess = &ws->work[ws->work[v].first].excess;
		uint64_t want = ws->work[v].want_home, got = 0, over;
		uint64_t rated = min(tokens, vm->promote_tokens);
		uint64_t allowed = min(want, max(rated, relief(vm, &ws->work[v], *excess)));
		int home = roomiest(room, snap->n_dram, nodes_of(snap, cram_next_return_mask(vm)));

		if (allowed < want)
			reason(a, CRAM_REASON_RATE, want, allowed);
		if (home >= 0)
			got = min(room[home], allowed);
		if (got < allowed)
			reason(a, CRAM_REASON_HEADROOM, allowed, got);
		if (got < want)
			got = pages_down(got);
		if (got > 0) {
			a->home = home;
			room[home] -= got;
		}
		tokens = sub(tokens, got);
		*excess = sub(*excess, scale(got, vm->device_bytes, vm->tier_bytes));
		a->promote_hot_bytes = ws->work[v].leaving ? 0 : min(got, ws->work[v].hot);
		a->promote_bytes = got - a->promote_hot_bytes;
		over = shed(vm, &ws->work[v], *excess, got, a->promote_hot_bytes,
			    room_on(room, snap->n_dram, nodes_of(snap, cram_return_mask(vm))));
		a->swap_bytes = pages_down(min(over, swap));
		if (a->swap_bytes > 0)
			reason(a, CRAM_REASON_SWAP, over, a->swap_bytes);
		swap -= a->swap_bytes;
		*excess = sub(*excess, scale(a->swap_bytes, vm->device_bytes, vm->tier_bytes));
		a->urgent = ws->work[v].urgency == URGENT_PRESSURE;
		a->priority = (uint32_t)ws->work[v].urgency << URGENCY_SHIFT |
			      (uint32_t)min(ws->work[v].overage >> 20, URGENCY_MASK);
		d->promote_bytes = add(d->promote_bytes, got);
	}
}

/* ------------------------------------------------------------------ 5. demote */

/* Share @capacity among the VMs of tier @t (or of all: -1) that still want to move out. */
static void limit_out(const struct cram_snapshot *snap, struct cram_policy_workspace *ws,
		      struct cram_decision *d, int t, uint64_t capacity, bool device,
		      enum cram_reason why)
{
	uint64_t wanted = 0;
	size_t n = 0;

	for (size_t i = 0; i < snap->n_vms; i++) {
		const struct work *w = &ws->work[i];

		if (w->want_out == 0 || (t >= 0 && snap->vms[i].tier != t))
			continue;
		ws->claims[n] = (struct cram_claim){
			.demand = device ? to_device(w->want_out, w->ratio) : w->want_out,
			.weight = snap->vms[i].weight,
			.id = (uint32_t)i,
		};
		wanted = add(wanted, ws->claims[n++].demand);
	}
	if (wanted <= capacity)
		return;
	cram_waterfill(ws->claims, n, capacity);
	for (size_t i = 0; i < n; i++) {
		struct work *w = &ws->work[ws->claims[i].id];
		uint64_t grant =
			device ? to_logical(ws->claims[i].grant, w->ratio) : ws->claims[i].grant;

		if (grant >= w->want_out)
			continue;
		reason(&d->actions[ws->claims[i].id], why, w->want_out, grant);
		w->want_out = grant;
	}
}

static void demote(const struct cram_snapshot *snap, struct cram_policy_workspace *ws,
		   struct cram_decision *d)
{
	/* The VM's own rate first: what it cannot use is for the others. */
	for (size_t i = 0; i < snap->n_vms; i++) {
		struct work *w = &ws->work[i];

		d->actions[i].held_back_bytes = w->want_out;
		if (w->want_out <= snap->vms[i].demote_tokens)
			continue;
		reason(&d->actions[i], CRAM_REASON_RATE, w->want_out, snap->vms[i].demote_tokens);
		w->want_out = snap->vms[i].demote_tokens;
	}
	limit_out(snap, ws, d, -1, snap->demote_tokens, false, CRAM_REASON_RATE);
	for (size_t i = 0; i < snap->n_vms; i++) {
		struct cram_vm_action *a = &d->actions[i];

		a->demote_bytes = pages_down(ws->work[i].want_out);
		a->held_back_bytes = sub(a->held_back_bytes, a->demote_bytes);
		d->demote_bytes = add(d->demote_bytes, a->demote_bytes);
		if (a->priority == 0 && a->demote_bytes > 0)
			a->priority =
				(uint32_t)min(a->demote_bytes >> 20, URGENCY_MASK >> 1) |
				(short_home(snap, d, nodes_of(snap, snap->vms[i].home_mask)) >= 0
					 ? 1U << (URGENCY_SHIFT - 1)
					 : 0);
	}
}

static enum cram_vm_state state_of(const struct cram_snapshot *snap, const struct cram_vm_input *vm,
				   const struct work *w, const struct cram_vm_action *a)
{
	if (w->leaving && ((vm->tier_bytes > 0 && !w->untouched) || vm->flags & CRAM_VM_F_DRAIN))
		return vm->tier_bytes == 0 && vm->flags & CRAM_VM_F_HOME ? CRAM_VM_DRAINED
									 : CRAM_VM_DRAINING;
	if (vm->flags & CRAM_VM_F_INELIGIBLE)
		return CRAM_VM_INELIGIBLE;
	if (vm->mode == CRAM_MODE_OFF)
		return CRAM_VM_OFF;
	if (w->must > 0)
		return CRAM_VM_OVER_QUOTA;
	if (a->memory.giving_back)
		return CRAM_VM_OVER_SHARE;
	if (a->demote_bytes > 0 && a->demote_bytes >= w->hot)
		return CRAM_VM_DEMOTING;
	if (w->hot > 0)
		return CRAM_VM_PROMOTING;
	if (vm->flags & (CRAM_VM_F_PAUSED | CRAM_VM_F_INCOMING))
		return CRAM_VM_PAUSED;
	if (vm->mode == CRAM_MODE_MONITOR)
		return CRAM_VM_MONITOR;
	if (snap->now_ms < a->memory.backoff_until_ms)
		return CRAM_VM_BACKOFF;
	if (snap->now_ms < add(a->memory.first_seen_ms, seconds_ms(a->cold_age_s)))
		return CRAM_VM_WAITING;
	return CRAM_VM_STEADY;
}

static void observe_dram(const struct cram_policy_params *p, const struct cram_snapshot *snap,
			 struct cram_decision *d)
{
	uint64_t all = 0;

	for (size_t i = 0; i < snap->n_dram; i++)
		all = add(all, snap->dram[i].total);
	for (size_t i = 0; i < snap->n_dram; i++) {
		const struct cram_dram_input *n = &snap->dram[i];
		uint64_t base = cram_headroom(p, n->total);
		uint64_t burst = scale(snap->promote_rate, p->headroom_seconds, 1);

		d->available[i] = cram_dram_available(n, p->cache_permille);
		/*
		 * What comes home in these seconds is kept free once on the host, by the nodes'
		 * sizes. A burst of promotion may not declare a quarter of it untouchable.
		 */
		d->headroom[i] = add(base, min(scale(burst, n->total, all), n->total / 4));
	}
}

int cram_policy_decide(const struct cram_policy_params *params, const struct cram_snapshot *snap,
		       struct cram_policy_workspace *ws, struct cram_decision *d)
{
	if (snap->n_dram > CRAM_MAX_DRAM || (snap->n_vms > 0 && (!ws || ws->n < snap->n_vms)) ||
	    snap->n_vms > UINT32_MAX || snap->n_tiers > INT32_MAX)
		return -EINVAL;
	d->demote_bytes = d->promote_bytes = 0;
	memset(d->headroom, 0, sizeof(d->headroom));
	memset(d->available, 0, sizeof(d->available));
	observe_dram(params, snap, d);
	for (size_t i = 0; i < snap->n_vms; i++) {
		observe(params, snap, d, &snap->vms[i], &ws->work[i], &d->actions[i]);
		ws->work[i].first = i;
	}
	for (size_t t = 0; t < snap->n_tiers; t++) {
		struct tier_state s = share(snap, t, ws, d);

		for (size_t i = 0; i < snap->n_vms; i++)
			if (snap->vms[i].tier == (int)t)
				target_out(params, &snap->vms[i], &ws->work[i], &d->actions[i]);
		s.awaited = is_awaited(params, snap, t, &s, ws->work);
		for (size_t i = 0; i < snap->n_vms; i++)
			if (snap->vms[i].tier == (int)t)
				target_home(params, &snap->vms[i], &s, &ws->work[i],
					    &d->actions[i]);
		limit_out(snap, ws, d, (int)t, sub(s.offered, s.used), true, CRAM_REASON_TIER_FULL);
		limit_out(snap, ws, d, (int)t, snap->tiers[t].free, false, CRAM_REASON_TIER_FULL);
	}
	for (size_t i = 0; i < snap->n_vms; i++)
		if (!tier_of(snap, &snap->vms[i]))
			target_home(params, &snap->vms[i], &(struct tier_state){ 0 }, &ws->work[i],
				    &d->actions[i]);
	promote(snap, ws, d);
	demote(snap, ws, d);
	for (size_t i = 0; i < snap->n_vms; i++)
		d->actions[i].state = state_of(snap, &snap->vms[i], &ws->work[i], &d->actions[i]);
	return 0;
}
