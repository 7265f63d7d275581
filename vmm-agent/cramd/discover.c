// SPDX-License-Identifier: GPL-2.0-or-later
/* The thread that examines processes; see discover.h. */
#include "discover.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

int discover_init(struct discover *discover, struct host *host)
{
	*discover = (struct discover){ .host = host };
	pthread_mutex_init(&discover->lock, NULL);
	pthread_cond_init(&discover->wanted_any, NULL);
	discover->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return discover->wake < 0 ? -errno : 0;
}

void discover_fini(struct discover *discover)
{
	if (!discover->host)
		return;
	for (size_t i = 0; i < discover->found.n; i++)
		vm_unref(discover->found.v[i].vm);
	array_free(&discover->found);
	array_free(&discover->wanted);
	if (discover->wake >= 0)
		close(discover->wake);
	pthread_cond_destroy(&discover->wanted_any);
	pthread_mutex_destroy(&discover->lock);
	discover->host = NULL;
}

static void *examine(void *arg)
{
	static const uint64_t one = 1;
	struct discover *discover = arg;

	pthread_mutex_lock(&discover->lock);
	while (!discover->stopping) {
		struct discovery found = {};

		if (!discover->wanted.n) {
			pthread_cond_wait(&discover->wanted_any, &discover->lock);
			continue;
		}
		found.pid = discover->wanted.v[0];
		discover->wanted.n--;
		memmove(discover->wanted.v, discover->wanted.v + 1,
			discover->wanted.n * sizeof(found.pid));
		pthread_mutex_unlock(&discover->lock);

		found.r = vm_new(&discover->host->root, found.pid, &found.vm);

		pthread_mutex_lock(&discover->lock);
		/* Room for it was made when it was wanted. */
		discover->found.v[discover->found.n++] = found;
		/* Full of wake-ups nobody has read: the loop is awake already. */
		if (write(discover->wake, &one, sizeof(one)) < 0)
			continue;
	}
	pthread_mutex_unlock(&discover->lock);
	return NULL;
}

int discover_start(struct discover *discover)
{
	int r = pthread_create(&discover->thread, NULL, examine, discover);

	if (r)
		return -r;
	discover->running = true;
	return 0;
}

void discover_stop(struct discover *discover)
{
	if (!discover->running)
		return;
	pthread_mutex_lock(&discover->lock);
	discover->stopping = true;
	pthread_cond_signal(&discover->wanted_any);
	pthread_mutex_unlock(&discover->lock);
	pthread_join(discover->thread, NULL);
	discover->running = false;
}

int discover_want(struct discover *discover, pid_t pid)
{
	int r;

	pthread_mutex_lock(&discover->lock);
	/* One more, and the one that is being examined, will be found. */
	r = array_reserve(&discover->found, discover->found.n + discover->wanted.n + 2);
	if (r == 0)
		r = array_push(&discover->wanted, pid);
	if (r == 0)
		pthread_cond_signal(&discover->wanted_any);
	pthread_mutex_unlock(&discover->lock);
	return r;
}

bool discover_next(struct discover *discover, struct discovery *ret)
{
	bool any;

	pthread_mutex_lock(&discover->lock);
	any = discover->found.n;
	if (any) {
		*ret = discover->found.v[0];
		discover->found.n--;
		memmove(discover->found.v, discover->found.v + 1, discover->found.n * sizeof(*ret));
	}
	pthread_mutex_unlock(&discover->lock);
	return any;
}
