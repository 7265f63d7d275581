// SPDX-License-Identifier: GPL-2.0-or-later
/* Calls nobody waits for longer than they want; see patience.h. */
#include "patience.h"

#include <errno.h>
#include <string.h>

#include "util/clock.h"

void patience_init(struct patience *p)
{
	memset(p, 0, sizeof(*p));
	pthread_mutex_init(&p->lock, NULL);
	monotonic_cond_init(&p->done);
}

/* One that was waited for in vain is one too many when it comes back. Lock held. */
static bool another_waits(const struct patience *p, const struct patience_thread *t)
{
	for (size_t i = 0; i < p->n; i++)
		if (&p->v[i] != t && p->v[i].state == PATIENCE_LIVE && !p->v[i].call)
			return true;
	return false;
}

static void *run(void *arg)
{
	struct patience_thread *t = arg;
	struct patience *p = t->patience;

	pthread_mutex_lock(&p->lock);
	for (;;) {
		while (!t->call && !p->stopping)
			pthread_cond_wait(&t->wake, &p->lock);
		if (!t->call)
			break;
		pthread_mutex_unlock(&p->lock);
		t->call(t->arg);
		pthread_mutex_lock(&p->lock);
		t->call = NULL;
		pthread_cond_broadcast(&p->done);
		if (another_waits(p, t))
			break;
	}
	t->state = PATIENCE_ENDED;
	p->live--;
	pthread_cond_broadcast(&p->done);
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

/* A thread with nothing to do. Lock held. */
static int find_thread(struct patience *p, struct patience_thread **ret_thread)
{
	struct patience_thread *t = NULL;

	for (size_t i = 0; i < p->n; i++) {
		if (p->v[i].state != PATIENCE_LIVE) {
			t = &p->v[i];
		} else if (!p->v[i].call) {
			*ret_thread = &p->v[i];
			return 0;
		}
	}
	if (!t) {
		if (p->n == PATIENCE_THREADS)
			return -EBUSY;
		t = &p->v[p->n++];
		t->patience = p;
		pthread_cond_init(&t->wake, NULL);
	}
	if (t->state == PATIENCE_ENDED)
		pthread_join(t->thread, NULL);
	t->state = PATIENCE_NONE;
	if (pthread_create(&t->thread, NULL, run, t))
		return -EAGAIN;
	t->state = PATIENCE_LIVE;
	p->live++;
	*ret_thread = t;
	return 0;
}

int patience_call(struct patience *p, void (*call)(void *arg), const void *arg, size_t size,
		  uint32_t ms)
{
	struct timespec until = monotonic_after(ms);
	struct patience_thread *t;
	int r;

	if (size > PATIENCE_ARG)
		return -EINVAL;
	pthread_mutex_lock(&p->lock);
	r = p->stopping ? -EBUSY : find_thread(p, &t);
	if (r == 0) {
		memcpy(t->arg, arg, size);
		t->call = call;
		pthread_cond_signal(&t->wake);
		while (t->call && r == 0)
			r = -pthread_cond_timedwait(&p->done, &p->lock, &until);
		if (!t->call)
			r = 0;
	}
	pthread_mutex_unlock(&p->lock);
	return r;
}

bool patience_stop(struct patience *p)
{
	struct timespec until = monotonic_after(STOP_MS);
	bool all;

	pthread_mutex_lock(&p->lock);
	p->stopping = true;
	for (size_t i = 0; i < p->n; i++)
		pthread_cond_signal(&p->v[i].wake);
	while (p->live && pthread_cond_timedwait(&p->done, &p->lock, &until) != ETIMEDOUT)
		;
	all = !p->live;
	pthread_mutex_unlock(&p->lock);
	for (size_t i = 0; all && i < p->n; i++) {
		if (p->v[i].state == PATIENCE_ENDED)
			pthread_join(p->v[i].thread, NULL);
		pthread_cond_destroy(&p->v[i].wake);
	}
	return all;
}
