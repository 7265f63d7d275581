// SPDX-License-Identifier: GPL-2.0-or-later
/* The thread that cards push back at; see backpressure.h. */
#include "backpressure.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "../sense/swapped.h"
#include "../tier/cram.h"
#include "policy/saturate.h"
#include "policy/waterfill.h"

/* Cards whose state stays are looked at so often all the same: they may fill up without a change.
 */
#define LOOK_MS 1000

/* One that stores more than so much of @budget may be full before that. */
static uint64_t nearly(uint64_t budget)
{
	return budget - budget / 8;
}

int backpressure_init(struct backpressure *backpressure, struct host *host, struct mover *mover,
		      int wake)
{
	*backpressure = (struct backpressure){ .host = host, .mover = mover, .wake = wake };
	pthread_mutex_init(&backpressure->lock, NULL);
	backpressure->epoll = epoll_create1(EPOLL_CLOEXEC);
	return backpressure->epoll < 0 ? -errno : 0;
}

static void drop_vms(struct backpressure *backpressure)
{
	for (size_t i = 0; i < backpressure->vms.n; i++)
		vm_unref(backpressure->vms.v[i].vm);
	backpressure->vms.n = 0;
}

static void unwatch(int fd)
{
	/* Closing is leaving the epoll's set. */
	if (fd >= 0)
		close(fd);
}

void backpressure_fini(struct backpressure *backpressure)
{
	if (!backpressure->host)
		return;
	drop_vms(backpressure);
	array_free(&backpressure->vms);
	array_free(&backpressure->claims);
	for (size_t i = 0; i < backpressure->n_cards; i++)
		unwatch(backpressure->cards[i].fd);
	if (backpressure->epoll >= 0)
		close(backpressure->epoll);
	pthread_mutex_destroy(&backpressure->lock);
	backpressure->host = NULL;
}

/* Has the thread wait for the state of card @c, if that can be. */
static void watch_card(struct backpressure *backpressure, size_t c)
{
	struct epoll_event event = { .events = EPOLLPRI };
	int fd = -1, r;

	r = card_watch(&backpressure->host->root, backpressure->cards[c].is.nid, &fd);
	if (r == 0) {
		event.data.fd = fd;
		r = epoll_ctl(backpressure->epoll, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
	}
	if (r < 0 && fd >= 0)
		close(fd);
	backpressure->cards[c].fd = r < 0 ? -1 : fd;
	backpressure->cards[c].error = r;
}

static void take_cards(struct backpressure *backpressure, const struct backpressure_plan *plan)
{
	size_t n = plan->n_cards < BACKPRESSURE_CARDS ? plan->n_cards : BACKPRESSURE_CARDS;

	for (size_t i = 0; i < n; i++) {
		bool known = i < backpressure->n_cards &&
			     backpressure->cards[i].is.nid == plan->cards[i].nid;

		if (!known && i < backpressure->n_cards)
			unwatch(backpressure->cards[i].fd);
		backpressure->cards[i].is = plan->cards[i];
		if (known)
			continue;
		watch_card(backpressure, i);
		backpressure->cards[i].open = true;
		backpressure->cards[i].over = false;
	}
	for (size_t i = n; i < backpressure->n_cards; i++)
		unwatch(backpressure->cards[i].fd);
	backpressure->n_cards = n;
}

int backpressure_publish(struct backpressure *backpressure, const struct backpressure_plan *plan)
{
	int r;

	pthread_mutex_lock(&backpressure->lock);
	drop_vms(backpressure);
	take_cards(backpressure, plan);
	r = array_reserve(&backpressure->vms, plan->n_vms);
	if (r == 0)
		r = array_reserve(&backpressure->claims, plan->n_vms);
	for (size_t i = 0; r == 0 && i < plan->n_vms; i++) {
		backpressure->vms.v[backpressure->vms.n] = plan->vms[i];
		vm_ref(backpressure->vms.v[backpressure->vms.n++].vm);
	}
	backpressure->n_rooms = plan->n_rooms < CRAM_MAX_DRAM ? plan->n_rooms : CRAM_MAX_DRAM;
	for (size_t i = 0; i < backpressure->n_rooms; i++)
		backpressure->rooms[i] = plan->rooms[i];
	backpressure->swap_room = plan->swap_room;
	backpressure->act_ms = plan->due_ms + BACKPRESSURE_ROUND_WAIT_MS;
	pthread_mutex_unlock(&backpressure->lock);
	return r;
}

int backpressure_watch_error(struct backpressure *backpressure, int nid)
{
	int error = 0;

	pthread_mutex_lock(&backpressure->lock);
	for (size_t i = 0; i < backpressure->n_cards; i++)
		if (backpressure->cards[i].is.nid == nid)
			error = backpressure->cards[i].error;
	pthread_mutex_unlock(&backpressure->lock);
	return error;
}

/* What node @nid has above its headroom; NULL: it is none. */
static struct backpressure_room *room_of(struct backpressure *backpressure, int nid)
{
	for (size_t i = 0; i < backpressure->n_rooms; i++)
		if (backpressure->rooms[i].nid == nid)
			return &backpressure->rooms[i];
	return NULL;
}

/* What the nodes of @homes have above headroom. */
static uint64_t room_on(const struct backpressure *backpressure, uint64_t homes)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < backpressure->n_rooms; i++)
		if (homes & UINT64_C(1) << backpressure->rooms[i].nid)
			bytes += backpressure->rooms[i].bytes;
	return bytes;
}

/* Orders what there is room for of @bytes. Returns how many these are. */
static uint64_t order_part(struct backpressure *backpressure, struct backpressure_vm *vm,
			   enum vm_job_kind kind, int nid, uint64_t bytes, uint64_t *room)
{
	bytes = min(*room, bytes) & ~(uint64_t)(PAGE_BYTES - 1);
	if (!bytes || mover_submit(backpressure->mover, vm->vm, kind, bytes, 0, nid) < 0)
		return 0;
	vm->given += bytes;
	*room -= bytes;
	return bytes;
}

/* Has what @device bytes of the card are of leave it: @vm brings it home, or it goes to swap. */
static void order(struct backpressure *backpressure, struct backpressure_vm *vm, uint64_t device)
{
	struct backpressure_room *room = room_of(backpressure, vm->home);
	uint64_t bytes = sub(scale_up(device, vm->bytes, vm->device), vm->given);

	if (atomic_load(&vm->vm->dead))
		return;
	if (room)
		bytes -=
			order_part(backpressure, vm, VM_JOB_RELIEVE, vm->home, bytes, &room->bytes);
	if (vm->sheds)
		vm->left = sub(bytes, room_on(backpressure, vm->homes));
}

/*
 * What VMs have on card @c that stores @stored now, as claims to it. Returns how many. What it
 * stores more than at the round has come to all alike: to whom is not known. What it stores less
 * has left since it was ordered off, and that counts as gone from then on (given).
 */
static size_t claim(struct backpressure *backpressure, size_t c, uint64_t stored)
{
	const struct backpressure_card *card = &backpressure->cards[c].is;
	struct cram_claim *claims = backpressure->claims.v;
	uint64_t used = 0, now;
	size_t n = 0;

	for (size_t i = 0; i < backpressure->vms.n; i++) {
		const struct backpressure_vm *vm = &backpressure->vms.v[i];

		if (vm->nid != card->nid || !vm->device)
			continue;
		used = add(used, vm->device);
		claims[n++] = (struct cram_claim){ .demand = vm->device,
						   .weight = vm->weight,
						   .id = (uint32_t)i };
	}
	now = add(used, sub(stored, max(card->stored, used)));
	for (size_t k = 0; k < n; k++)
		claims[k].demand = scale_up(claims[k].demand, now, used);
	return n;
}

/*
 * Those on card @c, which stores @stored, keep what is fair of @budget, the rest comes home: in the
 * order of who is furthest over, as in policy.
 */
static void relieve(struct backpressure *backpressure, size_t c, uint64_t stored, uint64_t budget)
{
	struct cram_claim *claims = backpressure->claims.v;
	size_t n = claim(backpressure, c, stored);

	cram_waterfill(claims, n, sub(budget, backpressure->cards[c].is.used_other));
	for (size_t left = n; left > 0; left--) {
		size_t most = 0;

		for (size_t k = 1; k < left; k++)
			if (claims[k].demand - claims[k].grant >
			    claims[most].demand - claims[most].grant)
				most = k;
		if (claims[most].demand == claims[most].grant)
			break;
		order(backpressure, &backpressure->vms.v[claims[most].id],
		      claims[most].demand - claims[most].grant);
		claims[most] = claims[left - 1];
	}
	for (size_t i = 0; i < backpressure->vms.n; i++) {
		struct backpressure_vm *vm = &backpressure->vms.v[i];

		order_part(backpressure, vm, VM_JOB_SHED, NODE_SWAP, vm->left,
			   &backpressure->swap_room);
		vm->left = 0;
	}
}

static void ask_for_round(const struct backpressure *backpressure)
{
	/* Fails if it is full of requests nobody has read: the loop is asked already. */
	eventfd_write(backpressure->wake, 1);
}

/*
 * What has been read is no news any more. The file of a node that was taken away tells of nothing
 * again, not even when the node is back: it is another file then.
 */
static void keep_watch(struct backpressure *backpressure, size_t c)
{
	int fd = backpressure->cards[c].fd;
	char text[32];

	if (fd >= 0 && pread(fd, text, sizeof(text), 0) >= 0)
		return;
	unwatch(fd);
	watch_card(backpressure, c);
}

uint32_t backpressure_look(struct backpressure *backpressure, uint64_t now_ms)
{
	struct host *host = backpressure->host;
	struct cram_host_settings set;
	uint64_t closed = 0, next_ms;
	bool news = false, pressed = false, fills = false;

	pthread_mutex_lock(&host->lock);
	set = host->settings;
	pthread_mutex_unlock(&host->lock);
	pthread_mutex_lock(&backpressure->lock);
	for (size_t i = 0; i < backpressure->n_cards; i++) {
		uint64_t bit = UINT64_C(1) << backpressure->cards[i].is.nid, budget;
		struct card card;
		bool open, over;

		keep_watch(backpressure, i);
		/* Going away, or reports come faster than they are read: nothing new is known. */
		if (card_read(&host->root, backpressure->cards[i].is.nid, &card) < 0) {
			closed |= atomic_load(&host->closed_nodes) & bit;
			pressed |= backpressure->cards[i].over;
			continue;
		}
		budget = cram_card_budget(&card, &set);
		over = card.stored > budget;
		open = cram_card_is_open(&card);
		if (!open || over)
			closed |= bit;
		if (over && !backpressure->cards[i].over)
			atomic_store(&host->pressed_us, monotonic_us());
		pressed |= over;
		fills |= card.stored > nearly(budget);
		news |= open != backpressure->cards[i].open || over != backpressure->cards[i].over;
		backpressure->cards[i].open = open;
		backpressure->cards[i].over = over;
		if (over && now_ms >= backpressure->act_ms)
			relieve(backpressure, i, card.stored, budget);
	}
	atomic_store(&host->closed_nodes, closed);
	if (!pressed)
		atomic_store(&host->pressed_us, 0);
	if (news) {
		backpressure->act_ms =
			min(backpressure->act_ms, now_ms + BACKPRESSURE_ASKED_WAIT_MS);
		ask_for_round(backpressure);
	}
	next_ms = closed || fills ? set.pressure_ms : max(set.pressure_ms, LOOK_MS);
	if (pressed && now_ms < backpressure->act_ms)
		next_ms = min(next_ms, backpressure->act_ms - now_ms);
	pthread_mutex_unlock(&backpressure->lock);
	return (uint32_t)next_ms;
}

static void *watch(void *arg)
{
	struct backpressure *backpressure = arg;
	uint32_t ms = 0;

	while (!atomic_load(&backpressure->host->stopping)) {
		struct epoll_event events[BACKPRESSURE_CARDS];

		epoll_wait(backpressure->epoll, events, BACKPRESSURE_CARDS, (int)ms);
		/* Whichever it was: all are read. */
		ms = backpressure_look(backpressure, monotonic_ms());
	}
	return NULL;
}

int backpressure_start(struct backpressure *backpressure)
{
	int r = pthread_create(&backpressure->thread, NULL, watch, backpressure);

	if (r)
		return -r;
	backpressure->running = true;
	return 0;
}

bool backpressure_join(struct backpressure *backpressure)
{
	return host_join(backpressure->thread, &backpressure->running);
}
