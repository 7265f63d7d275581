// SPDX-License-Identifier: GPL-2.0-or-later
/* Threads that examine processes; see discover.h. */
#include "discover.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

int discover_init(struct discover *discover, struct host *host)
{
	*discover = (struct discover){ .host = host };
	pthread_mutex_init(&discover->lock, NULL);
	pthread_cond_init(&discover->wanted_any, NULL);
	patience_init(&discover->patience);
	discover->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return discover->wake < 0 ? -errno : 0;
}

void discover_fini(struct discover *discover)
{
	/* What is still being examined keeps what it uses; the process ends. */
	if (!discover->host || discover->stuck)
		return;
	for (size_t i = 0; i < discover->found.n; i++) {
		vm_unref(discover->found.v[i].vm);
		free(discover->found.v[i].layout);
	}
	for (size_t i = 0; i < discover->wanted.n; i++)
		vm_unref(discover->wanted.v[i].vm);
	array_free(&discover->found);
	array_free(&discover->wanted);
	if (discover->wake >= 0)
		close(discover->wake);
	pthread_cond_destroy(&discover->wanted_any);
	pthread_mutex_destroy(&discover->lock);
	discover->host = NULL;
}

/* One process or VM is waited for so long, the next follows then. */
#define PATIENCE_MS 500

struct examination_arg {
	struct discover *discover;
	pid_t pid;
	struct vm *vm;
};

static int read_layout(struct discover *discover, struct vm *vm, struct ram_layout **ret_layout)
{
	struct ram_layout *layout = calloc(1, sizeof(*layout));
	int r;

	if (!layout)
		return -ENOMEM;
	r = ram_layout_read(&discover->host->root, vm->pid, &vm->cmdline, layout);
	if (r < 0)
		free(layout);
	else
		*ret_layout = layout;
	return r;
}

static void examine(void *arg)
{
	const struct examination_arg *e = arg;
	struct discover *discover = e->discover;
	struct discovery found = { .pid = e->pid, .vm = e->vm };

	if (found.vm)
		found.r = read_layout(discover, found.vm, &found.layout);
	else
		found.r = vm_new(&discover->host->root, found.pid, &found.vm);
	if (!e->vm && found.r == 0)
		found.vm->scanned_ms = monotonic_ms();

	pthread_mutex_lock(&discover->lock);
	/* Room for it was made when it was wanted. */
	discover->found.v[discover->found.n++] = found;
	discover->under_way--;
	/* Fails if it is full of wake-ups nobody has read: the loop is awake already. */
	eventfd_write(discover->wake, 1);
	pthread_mutex_unlock(&discover->lock);
}

static void *run(void *arg)
{
	struct discover *discover = arg;

	pthread_mutex_lock(&discover->lock);
	while (!discover->stopping) {
		struct examination_arg e = { .discover = discover };
		int r;

		if (!discover->wanted.n) {
			pthread_cond_wait(&discover->wanted_any, &discover->lock);
			continue;
		}
		e.pid = discover->wanted.v[0].pid;
		e.vm = discover->wanted.v[0].vm;
		discover->under_way++;
		pthread_mutex_unlock(&discover->lock);

		r = patience_call(&discover->patience, examine, &e, sizeof(e), PATIENCE_MS);
		/* Every thread is with a process that is stuck: later. */
		if (r == -EBUSY || r == -EAGAIN)
			host_sleep(discover->host, PATIENCE_MS);

		pthread_mutex_lock(&discover->lock);
		if (r == -EBUSY || r == -EAGAIN) {
			discover->under_way--;
			continue;
		}
		discover->wanted.n--;
		memmove(discover->wanted.v, discover->wanted.v + 1,
			discover->wanted.n * sizeof(discover->wanted.v[0]));
	}
	pthread_mutex_unlock(&discover->lock);
	return NULL;
}

int discover_start(struct discover *discover)
{
	int r = pthread_create(&discover->thread, NULL, run, discover);

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
	discover->stuck = !patience_stop(&discover->patience);
}

static int want(struct discover *discover, pid_t pid, struct vm *vm)
{
	int r;

	pthread_mutex_lock(&discover->lock);
	/* One more, and those that are being examined, will be found. */
	r = array_reserve(&discover->found,
			  discover->found.n + discover->wanted.n + discover->under_way + 1);
	if (r == 0)
		r = array_push(&discover->wanted, (struct discovery){ .pid = pid, .vm = vm });
	if (r == 0)
		pthread_cond_signal(&discover->wanted_any);
	pthread_mutex_unlock(&discover->lock);
	return r;
}

int discover_want(struct discover *discover, pid_t pid)
{
	return want(discover, pid, NULL);
}

int discover_want_layout(struct discover *discover, struct vm *vm)
{
	int r = want(discover, vm->pid, vm_ref(vm));

	if (r < 0)
		vm_unref(vm);
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
