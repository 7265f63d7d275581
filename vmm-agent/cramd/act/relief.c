// SPDX-License-Identifier: GPL-2.0-or-later
/* The thread that watches for a shortage of DRAM; see relief.h. */
#include "relief.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "../sense/pages.h"

int relief_init(struct relief *relief, struct host *host, struct mover *mover)
{
	*relief = (struct relief){ .host = host, .mover = mover };
	for (int nid = 0; nid < NODES_MAX; nid++)
		relief->fds[nid] = -1;
	pthread_mutex_init(&relief->lock, NULL);
	relief->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return relief->wake < 0 ? -errno : 0;
}

static void drop_orders(struct relief *relief)
{
	for (size_t i = 0; i < relief->orders.n; i++)
		vm_unref(relief->orders.v[i].vm);
	relief->orders.n = 0;
}

void relief_fini(struct relief *relief)
{
	if (!relief->host)
		return;
	drop_orders(relief);
	array_free(&relief->orders);
	for (int nid = 0; nid < NODES_MAX; nid++)
		if (relief->fds[nid] >= 0)
			close(relief->fds[nid]);
	if (relief->wake >= 0)
		close(relief->wake);
	pthread_mutex_destroy(&relief->lock);
	relief->host = NULL;
}

int relief_publish(struct relief *relief, const struct relief_plan *plan,
		   struct cram_bucket *bucket)
{
	int r;

	pthread_mutex_lock(&relief->lock);
	for (size_t i = 0; i < relief->orders.n; i++)
		cram_bucket_take(&relief->orders.v[i].vm->demote_bucket, relief->orders.v[i].spent);
	cram_bucket_take(bucket, relief->spent);
	drop_orders(relief);
	r = array_reserve(&relief->orders, plan->n_orders);
	for (size_t i = 0; r == 0 && i < plan->n_orders; i++) {
		struct relief_order *order = &relief->orders.v[relief->orders.n++];

		*order = plan->orders[i];
		order->spent = 0;
		vm_ref(order->vm);
	}
	relief->nodes.n = plan->n_nodes;
	for (size_t i = 0; i < plan->n_nodes; i++) {
		relief->nodes.v[i].nid = plan->nodes[i].nid;
		relief->headroom[i] = plan->nodes[i].headroom;
		relief->low[i] = plan->nodes[i].low;
	}
	relief->cache_permille = plan->cache_permille;
	relief->rate = plan->rate;
	relief->published_ms = plan->now_ms;
	relief->due_ms = plan->due_ms;
	relief->spent = 0;
	pthread_mutex_unlock(&relief->lock);
	return r;
}

static uint64_t available(const struct relief *relief, size_t i)
{
	const struct node *node = &relief->nodes.v[i];

	return cram_dram_available(
		&(struct cram_dram_input){
			.total = node->total,
			.free = node->free,
			.low = relief->low[i],
			.inactive_file = node->inactive_file,
			.dirty = node->dirty,
		},
		relief->cache_permille);
}

/*
 * Mask of nodes with less to be had than there should be. Not one that cannot be read: it has gone
 * offline, and the next round brings a list without it.
 */
static uint64_t short_nodes(struct relief *relief)
{
	uint64_t mask = 0;

	nodes_refresh(&relief->host->root, &relief->nodes, relief->fds);
	for (size_t i = 0; i < relief->nodes.n; i++)
		if (relief->nodes.v[i].total && available(relief, i) < relief->headroom[i])
			mask |= UINT64_C(1) << relief->nodes.v[i].nid;
	return mask;
}

static uint64_t earned(uint64_t rate, uint64_t ms, uint64_t spent)
{
	unsigned __int128 tokens = (unsigned __int128)rate * ms / 1000;

	return tokens > UINT64_MAX ? UINT64_MAX : tokens > spent ? (uint64_t)tokens - spent : 0;
}

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/*
 * What the round that does not come would have ordered, no more: within each VM's limits as they
 * were, and within the rates, which go on while nobody decides.
 */
static void give_orders(struct relief *relief, uint64_t nodes, uint64_t now_ms)
{
	uint64_t ms = now_ms > relief->published_ms ? now_ms - relief->published_ms : 0;

	for (size_t i = 0; i < relief->orders.n; i++) {
		struct relief_order *order = &relief->orders.v[i];
		uint64_t bytes = least(order->bytes - order->spent,
				       least(earned(order->rate, ms, order->spent),
					     earned(relief->rate, ms, relief->spent)));

		bytes &= ~(uint64_t)(RANGE_BYTES - 1);
		if (!bytes || !(order->home & nodes) ||
		    atomic_load(&order->vm->epoch) != order->epoch || atomic_load(&order->vm->dead))
			continue;
		if (mover_submit(relief->mover, order->vm, VM_JOB_DEMOTE, bytes, order->min_age_s,
				 order->nid) < 0)
			continue;
		/* Paused or set anew in between: then this job must end as those before it. */
		if (atomic_load(&order->vm->epoch) != order->epoch)
			atomic_fetch_add(&order->vm->epoch, 1);
		order->spent += bytes;
		relief->spent += bytes;
	}
}

static void ask_for_round(struct relief *relief)
{
	/* Fails if it is full of requests nobody has read: the loop is asked already. */
	eventfd_write(relief->wake, 1);
}

void relief_look(struct relief *relief, uint64_t now_ms)
{
	uint64_t nodes, before;

	pthread_mutex_lock(&relief->lock);
	nodes = short_nodes(relief);
	before = atomic_exchange(&relief->host->short_nodes, nodes);
	if (nodes & ~before) {
		relief->due_ms = least(relief->due_ms, now_ms);
		ask_for_round(relief);
	}
	if (nodes && now_ms >= relief->due_ms + RELIEF_ROUND_WAIT_MS)
		give_orders(relief, nodes, now_ms);
	pthread_mutex_unlock(&relief->lock);
}

static void *watch(void *arg)
{
	struct relief *relief = arg;
	uint32_t ms;

	do {
		relief_look(relief, monotonic_ms());
		pthread_mutex_lock(&relief->host->lock);
		ms = relief->host->settings.pressure_ms;
		pthread_mutex_unlock(&relief->host->lock);
	} while (host_sleep(relief->host, ms));
	return NULL;
}

int relief_start(struct relief *relief)
{
	int r = pthread_create(&relief->thread, NULL, watch, relief);

	if (r)
		return -r;
	relief->running = true;
	return 0;
}

bool relief_join(struct relief *relief)
{
	return host_join(relief->thread, &relief->running);
}
