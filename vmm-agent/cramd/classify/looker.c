// SPDX-License-Identifier: GPL-2.0-or-later
/* Looking at pages; see looker.h. */
#include "looker.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "../examine.h"
#include "../moves.h"
#include "../sense/swapped.h"
#include "util/cleanup.h"

/* Looks at one range are apart within these bounds, seconds. */
#define LOOK_MIN_S 1
#define LOOK_MAX_S 60

/* Readings of placement may cost one part in this many of a core's time, all VMs together ... */
#define PLACEMENT_SHARE 500
/* ... and are this many times as far apart where the last one told nothing new. */
#define PLACEMENT_UNCHANGED 8
/* One that failed is tried again after this, whoever waits for it. */
#define PLACEMENT_AGAIN_MS 10000

/* So may examinations: however many VMs there are, what may change is read again all the time. */
#define EXAMINE_SHARE 2000

/* Ranges searched in one go, with the VM locked. */
#define SEARCH_RANGES 4096

/* A VM whose process holds its mmap lock for longer is left to the thread that waits for it. */
#define PATIENCE_MS 200
/* A thread takes turns of VMs for so long at a time: little of the patience is gone by then. */
#define TURNS_MS 20
/* A range that is being moved is looked at another time after that. */
#define PLACING_MS 20

uint32_t look_interval_s(uint32_t cold_age_s)
{
	uint32_t interval = cold_age_s / LOOKS_PER_COLD_AGE;

	return interval < LOOK_MIN_S ? LOOK_MIN_S : interval > LOOK_MAX_S ? LOOK_MAX_S : interval;
}

/*
 * Of the pages that @before had on the tier and that are gone from there, how many an access took
 * home: what we move is written down at once, so these moved by themselves. Any access to swap
 * does, and a write to a card. What was freed is in no other place; and where idle flags tell, what
 * nobody has accessed since was evicted.
 */
static uint16_t fetched(struct looker *looker, const struct range *before,
			const struct range_look *found, int tier_nid, bool armed)
{
	unsigned int left = 0, wanted = armed ? found->accessed_dram : found->dram_pages;
	uint32_t since_s =
		before->checked_s > before->moved_s ? before->checked_s : before->moved_s;

	if (before->tier_pages > found->tier_pages)
		left = before->tier_pages - found->tier_pages;
	if (!left || tier_nid < 0)
		return 0;
	if (tier_nid == NODE_SWAP)
		return (uint16_t)left;
	return (uint16_t)written_claim(&looker->written, &looker->host->root, tier_nid,
				       left < wanted ? left : wanted, armed, since_s,
				       monotonic_s());
}

/* Of pages that are part of a larger one that has the flag for all of them. */
static int check_parts(const struct kernel *kernel, const struct page_idle *idle, size_t n,
		       struct look_buffers *b)
{
	bool any = false;
	int r;

	for (size_t i = 0; i < n; i++) {
		b->wholes[i] = b->heads[i] != PAGEMAP_PFN(b->entries[i]) ? b->heads[i] : 0;
		any |= b->wholes[i];
	}
	if (!any)
		return 0;
	r = kernel->idle_check(idle, b->wholes, n, b->wholes_idle);
	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++)
		if (b->wholes[i])
			b->idle[i] = b->wholes_idle[i];
	return 0;
}

/*
 * Reads whose flags are still set (b->idle), and which frames have those of all others (b->heads).
 * What is cold has flags of its own as a rule, all of them set: what its pages are part of is not
 * looked up then. @armed: flags were set at all.
 */
static int read_flags(const struct kernel *kernel, const struct page_idle *idle, size_t n,
		      bool armed, struct look_buffers *b)
{
	int r;

	memset(b->idle, 0, sizeof(b->idle));
	if (armed) {
		for (size_t i = 0; i < n; i++)
			b->heads[i] =
				b->entries[i] & PAGEMAP_PRESENT ? PAGEMAP_PFN(b->entries[i]) : 0;
		r = kernel->idle_check(idle, b->heads, n, b->idle);
		if (r < 0)
			return r;
		for (size_t i = 0; i < n; i++)
			if (b->idle[i])
				b->entries[i] = 0;
	}
	r = kernel->idle_heads(idle, b->entries, n, b->heads);
	return r < 0 || !armed ? r : check_parts(kernel, idle, n, b);
}

/* As look_at_range(), with vm->placing held. */
static int look_alone(struct looker *looker, struct vm *vm, size_t index,
		      const struct page_idle *idle, int pagemap, struct look_buffers *b)
{
	const struct host *host = looker->host;
	const struct kernel *kernel = host->kernel;
	uint64_t tier_nodes = vm_tiers_of(vm, atomic_load(&host->tier_nodes));
	int tier_nid = atomic_load(&vm->tier_nid);
	struct range_look found = { .cold_age_s = atomic_load(&vm->cold_age_s) };
	const struct ramblock *block;
	struct range before;
	bool armed;
	uint64_t addr;
	size_t n;
	int r;

	block = vm_range(vm, index, &addr, &n);
	if (!vm_has_block(vm, (size_t)(block - vm->blocks.v)))
		return 0;
	pthread_mutex_lock(&vm->lock);
	before = vm->ranges.v[index];
	pthread_mutex_unlock(&vm->lock);

	armed = idle && before.flags & RANGE_ARMED;
	r = vm_pages_where(host, vm, block, addr, n, b->nodes);
	if (r < 0)
		return r;
	if (idle) {
		r = kernel->pagemap(pagemap, addr, n, b->entries);
		if (r < 0)
			return r;
		r = read_flags(kernel, idle, n, armed, b);
		if (r < 0)
			return r;
	}
	for (size_t i = 0; i < n; i++) {
		bool on_tier;

		if (b->nodes[i] < 0)
			continue;
		on_tier = tier_nodes & UINT64_C(1) << b->nodes[i];
		if (on_tier)
			found.tier_pages++;
		else
			found.dram_pages++;
		/* On a tier that is the VM's no longer: it goes home whatever its age. */
		if (on_tier && b->nodes[i] != tier_nid)
			found.stray_pages++;
		if (!idle)
			continue;
		if (b->idle[i])
			b->heads[i] = 0; /* its flag is still set: nothing to do */
		else if (armed && b->heads[i] && on_tier)
			found.accessed_tier++;
		else if (armed && b->heads[i])
			found.accessed_dram++;
	}
	if (idle) {
		r = kernel->idle_mark(idle, b->heads, n);
		if (r < 0)
			return r;
		found.armed = true;
	}
	found.fetched_pages = fetched(looker, &before, &found, tier_nid, armed);

	pthread_mutex_lock(&vm->lock);
	vm->counters.returned +=
		(uint64_t)range_looked(&vm->ranges.v[index], &found, monotonic_s()) * PAGE_BYTES;
	pthread_mutex_unlock(&vm->lock);
	return 0;
}

int look_at_range(struct looker *looker, struct vm *vm, size_t index, const struct page_idle *idle,
		  int pagemap, struct look_buffers *b)
{
	uint64_t start, took;
	int r;

	r = vm_placing_tries(vm, PLACING_MS);
	if (r < 0)
		return r;
	start = monotonic_us();
	r = look_alone(looker, vm, index, idle, pagemap, b);
	took = monotonic_us() - start;
	vm_placing_ends(vm);
	pthread_mutex_lock(&vm->lock);
	vm->counters.looks++;
	if (took > vm->counters.worst_look_us)
		vm->counters.worst_look_us = took;
	pthread_mutex_unlock(&vm->lock);
	return r;
}

/*
 * Goes on from where the last search of @vm ended, over at most *@left ranges and not too many in
 * one go; takes what it went over off *@left. false: none of these is due.
 */
static bool next_due(struct vm *vm, uint32_t interval, size_t *left, size_t *ret_index)
{
	size_t n = *left < SEARCH_RANGES ? *left : SEARCH_RANGES;
	uint32_t now = monotonic_s();
	bool due = false;

	pthread_mutex_lock(&vm->lock);
	for (; n > 0 && !due; n--, (*left)--) {
		*ret_index = vm->cursor;
		vm->cursor = vm->cursor + 1 < vm->ranges.n ? vm->cursor + 1 : 0;
		due = range_wants_look(&vm->ranges, &vm->ranges.v[*ret_index], interval, now);
	}
	pthread_mutex_unlock(&vm->lock);
	return due;
}

/* Looks at range @index of @vm, whose pagemap is opened when it is first needed. */
static int look_and_open(struct looker *looker, struct vm *vm, size_t index,
			 const struct page_idle *idle, int *pagemap, struct look_buffers *b)
{
	int r = idle && *pagemap < 0 ? pagemap_open(&looker->host->root, vm->pid, pagemap) : 0;

	return r < 0 ? r : look_at_range(looker, vm, index, idle, *pagemap, b);
}

/* @error: the counter of @vm for it. */
static void note_error(struct vm *vm, int *error, int r)
{
	/* It has ended. */
	if (r == -ESRCH || r == -ENOENT)
		return;
	pthread_mutex_lock(&vm->lock);
	*error = r;
	pthread_mutex_unlock(&vm->lock);
}

static void note_scanned(struct vm *vm)
{
	pthread_mutex_lock(&vm->lock);
	vm->scanned_ms = monotonic_ms();
	pthread_mutex_unlock(&vm->lock);
}

/* Looks at ranges of @vm that are due, until this thread's processor time is @until. */
static void look_at_vm(struct looker *looker, struct vm *vm, const struct page_idle *idle,
		       int64_t until)
{
	uint32_t interval = look_interval_s(atomic_load(&vm->cold_age_s));
	cleanup_close int pagemap = -1;
	bool damon = host_damon_answers(looker->host);
	struct look_buffers buffers;
	int r = 0;

	pthread_mutex_lock(&vm->lock);
	vm->ranges.idle_flags = idle;
	vm->ranges.faults_home = atomic_load(&vm->tier_nid) == NODE_SWAP;
	vm->ranges.damon = damon;
	vm->ranges.nominated = damon && !atomic_load(&vm->look_everywhere);
	pthread_mutex_unlock(&vm->lock);

	for (size_t left = vm->ranges.n; left > 0 && thread_cpu_ns() < until;) {
		size_t index;

		if (!next_due(vm, interval, &left, &index))
			continue;
		if (atomic_load(&vm->dead) || atomic_load(&looker->host->stopping))
			break;
		r = look_and_open(looker, vm, index, idle, &pagemap, &buffers);
		if (r == -ETIMEDOUT)
			r = 0;
		if (r < 0)
			break;
	}
	note_error(vm, &vm->counters.look_error, r);
	if (r >= 0)
		note_scanned(vm);
}

/* A VM's turn. */
struct turn {
	struct vm *vm; /* a reference of the turn's own */
	const struct page_idle *idle;
	int64_t budget_ns; /* for looks; 0 or less: none */
	bool examine;
};

/*
 * Reading placement walks every page table of the guest, so its interval grows with what that takes
 * for all.
 */
static bool placement_is_due(const struct looker *looker, const struct vm *vm,
			     const struct proc_status *status, uint64_t now_ms)
{
	uint64_t wait_ms = atomic_load(&looker->placement_us) * PLACEMENT_SHARE / 1000;

	if (vm->seen.unplaced_ms && now_ms < vm->seen.unplaced_ms + PLACEMENT_AGAIN_MS)
		return false;
	if (!vm->placed_ms || atomic_load(&vm->recount))
		return true;
	if (vm->seen.placed_same && status->rss == vm->seen.placed_rss)
		wait_ms *= PLACEMENT_UNCHANGED;
	return now_ms >= vm->placed_ms + wait_ms;
}

/* What waits for it is examined at once, others as often as examinations of all may cost. */
static bool examination_is_due(const struct looker *looker, struct vm *vm)
{
	uint64_t wait_ms = atomic_load(&looker->examination_us) * EXAMINE_SHARE / 1000;
	enum vm_ineligible reason;

	pthread_mutex_lock(&vm->lock);
	reason = vm->reason;
	pthread_mutex_unlock(&vm->lock);
	return !vm->seen.examined_ms || atomic_load(&vm->recount) || reason == VM_NOT_MAPPED ||
	       reason == VM_INCOMING || monotonic_ms() >= vm->seen.examined_ms + wait_ms;
}

static void examine(struct looker *looker, struct vm *vm)
{
	struct host *host = looker->host;
	struct examination e = {
		.kernel = host->kernel,
		.root = &host->root,
		.tier_nodes = atomic_load(&host->tier_nodes),
		.now_ms = monotonic_ms(),
	};
	struct proc_status status;
	int64_t began = thread_cpu_ns(), start;
	int r;

	vm->seen.examined_ms = e.now_ms;
	r = proc_read_status(&host->root, vm->pid, &status);
	if (r < 0) {
		note_error(vm, &vm->counters.examine_error, r);
		return;
	}
	e.placement = placement_is_due(looker, vm, &status, e.now_ms);
	start = thread_cpu_ns();
	r = vm_examine(vm, &e, &status);
	/* What could not be read last time is not yet read again. */
	if (r < 0 || !vm->seen.unplaced_ms)
		note_error(vm, &vm->counters.examine_error, r);
	if (e.placement)
		vm->placement_cost_us = (uint64_t)(thread_cpu_ns() - start) / 1000;
	else
		vm->examination_cost_us = (uint64_t)(thread_cpu_ns() - began) / 1000;
}

static void take_turn(struct looker *looker, const struct turn *turn)
{
	struct vm *vm = turn->vm;
	int64_t began = thread_cpu_ns(), examined;

	if (turn->examine)
		examine(looker, vm);
	examined = thread_cpu_ns();
	if (turn->budget_ns > 0 && vm->ranges.n)
		look_at_vm(looker, vm, turn->idle, examined + turn->budget_ns);
	atomic_fetch_add(&looker->examine_ns, examined - began);
	atomic_fetch_add(&looker->look_ns, thread_cpu_ns() - examined);
	atomic_store(&vm->looked_at_since_ms, 0);
	vm_unref(vm);
}

/* What the last turn took is taken off what the others have. @looker->lock is held. */
static void settle(struct looker *looker)
{
	struct looker_round *round = &looker->round;
	bool had = round->left_ns > 0;

	round->left_ns -= atomic_exchange(&looker->look_ns, 0);
	/* One with more to look at than is ever paid for starves no other. */
	if (had && round->left_ns <= 0 && round->next > 0)
		round->after = (round->begin + round->next) % round->n;
}

/* Is there something to do for @vm now? Then that is its turn. */
static bool make_turn(struct looker *looker, struct vm *vm, struct turn *ret_turn)
{
	bool watched = atomic_load(&vm->watched) &&
		       (atomic_load(&vm->unfound) || !atomic_load(&looker->host->paused));
	struct turn turn = {
		.vm = vm,
		.idle = looker->round.want_idle ? &looker->idle : NULL,
		.budget_ns = watched ? looker->round.left_ns : 0,
	};

	if (atomic_load(&vm->looked_at_since_ms))
		return false;
	/* Its last turn has ended: what that saw is there to be read. */
	turn.examine = examination_is_due(looker, vm);
	if ((!turn.examine && turn.budget_ns <= 0) || vm_gone(vm))
		return false;
	atomic_store(&vm->looked_at_since_ms, monotonic_ms());
	vm_ref(vm);
	*ret_turn = turn;
	return true;
}

/* The next turn of the round, if it is still @hand's to take them. */
static bool next_turn(struct looker *looker, uint64_t hand, struct turn *ret_turn)
{
	struct looker_round *round = &looker->round;
	bool found = false;

	pthread_mutex_lock(&looker->lock);
	while (!found && round->hand == hand && round->next < round->n &&
	       !atomic_load(&looker->host->stopping)) {
		struct vm *vm;

		settle(looker);
		vm = round->vms[(round->begin + round->next++) % round->n];
		found = make_turn(looker, vm, ret_turn);
	}
	if (found)
		round->taking = ret_turn->vm->pid;
	pthread_mutex_unlock(&looker->lock);
	return found;
}

struct hand {
	struct looker *looker;
	uint64_t number;
};

/* One after the other: for each its own there would be two changes of threads. */
static void take_turns(void *arg)
{
	const struct hand *hand = arg;
	uint64_t until_ms = monotonic_ms() + TURNS_MS;
	struct turn turn;

	while (next_turn(hand->looker, hand->number, &turn)) {
		take_turn(hand->looker, &turn);
		if (monotonic_ms() >= until_ms)
			break;
	}
}

/* A VM whose turn does not end is said once, and has no other until it does. */
static void say_stuck(struct looker *looker, int r, pid_t pid)
{
	if (r == -ETIMEDOUT)
		cram_log_debug(&looker->host->log,
			       "process %d: not looked at within %d ms; it goes on by itself",
			       (int)pid, PATIENCE_MS);
	else
		cram_log_warn(&looker->host->log,
			      "VMs are not looked at: %d QEMUs keep their memory maps locked",
			      PATIENCE_THREADS);
}

/* Hands out turns until every VM has had its own. A thread that is stuck takes no more of them. */
static void give_turns(struct looker *looker)
{
	struct looker_round *round = &looker->round;
	bool more = true;

	while (more) {
		struct hand hand = { .looker = looker };
		pid_t taking;
		int r;

		pthread_mutex_lock(&looker->lock);
		hand.number = ++round->hand;
		pthread_mutex_unlock(&looker->lock);
		r = patience_call(&looker->patience, take_turns, &hand, sizeof(hand), PATIENCE_MS);

		pthread_mutex_lock(&looker->lock);
		round->hand++;
		settle(looker);
		taking = round->taking;
		more = (r == 0 || r == -ETIMEDOUT) && round->next < round->n &&
		       !atomic_load(&looker->host->stopping);
		pthread_mutex_unlock(&looker->lock);
		if (r < 0 && !atomic_load(&looker->host->stopping))
			say_stuck(looker, r, taking);
	}
}

/*
 * Processor time for the looks of a round, nanoseconds. What examinations took since the last one
 * is taken off, but a quarter is left: with however many VMs, memory ages.
 */
static int64_t look_budget_ns(struct looker *looker, const struct cram_host_settings *set)
{
	int64_t all = (int64_t)set->round_ms * set->second_look_permille * 1000;
	int64_t left = all - atomic_exchange(&looker->examine_ns, 0);

	return left > all / 4 ? left : all / 4;
}

/* Begins a round: all VMs of @roster, the first of them where the last one ran out of time. */
static void begin_round(struct looker *looker, const struct roster *roster)
{
	struct looker_round *round = &looker->round;
	size_t n = roster->vms.n;

	pthread_mutex_lock(&looker->lock);
	round->vms = roster->vms.v;
	round->n = n;
	round->begin = n ? round->after % n : 0;
	round->next = 0;
	round->want_idle =
		looker->idle.bitmap >= 0 && roster->settings.detector != CRAM_DETECTOR_DAMON;
	/* What was not used is not saved up: it would be a burst later. */
	round->left_ns = (round->left_ns < 0 ? round->left_ns : 0) +
			 look_budget_ns(looker, &roster->settings);
	atomic_store(&looker->host->idle_active, round->want_idle);
	pthread_mutex_unlock(&looker->lock);
}

static void sum_costs(struct looker *looker, const struct roster *roster)
{
	uint64_t placement_us = 0, examination_us = 0;

	for (size_t i = 0; i < roster->vms.n; i++) {
		placement_us += roster->vms.v[i]->placement_cost_us;
		examination_us += roster->vms.v[i]->examination_cost_us;
	}
	atomic_store(&looker->placement_us, placement_us);
	atomic_store(&looker->examination_us, examination_us);
}

static void *keep(void *arg)
{
	struct looker *looker = arg;
	struct host *host = looker->host;
	struct roster roster = {};

	do {
		if (roster_copy(host, &roster) < 0)
			continue;
		written_follow(&looker->written, &host->root, atomic_load(&host->tier_nodes),
			       monotonic_s());
		begin_round(looker, &roster);
		if (roster.vms.n)
			give_turns(looker);
		sum_costs(looker, &roster);
	} while (host_sleep(host, roster.settings.round_ms ? roster.settings.round_ms : 1000));
	roster_free(&roster);
	return NULL;
}

int looker_start(struct looker *looker, struct host *host)
{
	int r;

	looker->host = host;
	looker->idle = (struct page_idle){ .bitmap = -1, .flags = -1 };
	page_idle_open(&host->root, &looker->idle);
	pthread_mutex_init(&looker->lock, NULL);
	patience_init(&looker->patience);
	written_init(&looker->written);
	r = pthread_create(&looker->keeper, NULL, keep, looker);
	if (r)
		return -r;
	looker->running = true;
	return 0;
}

bool looker_join(struct looker *looker)
{
	if (!looker->running)
		return true;
	pthread_join(looker->keeper, NULL);
	looker->running = false;
	if (!patience_stop(&looker->patience))
		return false;
	page_idle_close(&looker->idle);
	pthread_mutex_destroy(&looker->lock);
	written_fini(&looker->written);
	return true;
}
