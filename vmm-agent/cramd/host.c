// SPDX-License-Identifier: GPL-2.0-or-later
/* State shared with the worker threads; see host.h. */
#include "host.h"

#include <errno.h>

#include "patience.h"

int host_init(struct host *host, const char *root, const char *run_dir)
{
	int r;

	*host = (struct host){ .kernel = &kernel_linux, .run_dir = run_dir };
	r = sysroot_open(root, &host->root);
	if (r < 0)
		return r;
	cram_log_init(&host->log);
	pthread_mutex_init(&host->lock, NULL);
	monotonic_cond_init(&host->wake);
	return 0;
}

void host_fini(struct host *host)
{
	for (size_t i = 0; i < host->vms.n; i++)
		vm_unref(host->vms.v[i]);
	array_free(&host->vms);
	pthread_cond_destroy(&host->wake);
	pthread_mutex_destroy(&host->lock);
	sysroot_close(&host->root);
}

bool host_damon_answers(const struct host *host)
{
	return monotonic_ms() < atomic_load(&host->damon_until_ms);
}

void host_took(struct host *host, enum cram_duration what, uint64_t us)
{
	atomic_fetch_add(&host->durations[what][cram_duration_bucket(us)], 1);
	atomic_fetch_add(&host->duration_sums[what], us);
}

bool host_sleep(struct host *host, uint32_t ms)
{
	struct timespec ts = monotonic_after(ms);

	pthread_mutex_lock(&host->lock);
	while (!atomic_load(&host->stopping) &&
	       pthread_cond_timedwait(&host->wake, &host->lock, &ts) != ETIMEDOUT)
		;
	pthread_mutex_unlock(&host->lock);
	return !atomic_load(&host->stopping);
}

void host_stop(struct host *host)
{
	pthread_mutex_lock(&host->lock);
	atomic_store(&host->stopping, true);
	pthread_cond_broadcast(&host->wake);
	pthread_mutex_unlock(&host->lock);
}

bool host_join(pthread_t thread, bool *running)
{
	return host_join_after(thread, running, 0);
}

bool host_join_after(pthread_t thread, bool *running, uint32_t ms)
{
	struct timespec until = monotonic_after(ms + STOP_MS);

	if (*running && pthread_clockjoin_np(thread, NULL, CLOCK_MONOTONIC, &until))
		return false;
	*running = false;
	return true;
}

int host_add_vm(struct host *host, struct vm *vm)
{
	int r;

	pthread_mutex_lock(&host->lock);
	r = array_push(&host->vms, vm);
	if (r == 0) {
		vm_ref(vm);
		host->vms_generation++;
	}
	pthread_mutex_unlock(&host->lock);
	return r;
}

void host_remove_vm(struct host *host, struct vm *vm)
{
	bool found = false;

	atomic_store(&vm->dead, true);
	pthread_mutex_lock(&host->lock);
	for (size_t i = 0; i < host->vms.n; i++) {
		if (host->vms.v[i] != vm)
			continue;
		host->vms.v[i] = host->vms.v[--host->vms.n];
		host->vms_generation++;
		found = true;
		break;
	}
	pthread_mutex_unlock(&host->lock);
	if (found)
		vm_unref(vm);
}

void host_replace_vm(struct host *host, struct vm *vm, struct vm *by)
{
	atomic_store(&vm->dead, true);
	pthread_mutex_lock(&host->lock);
	for (size_t i = 0; i < host->vms.n; i++)
		if (host->vms.v[i] == vm)
			host->vms.v[i] = vm_ref(by);
	host->vms_generation++;
	pthread_mutex_unlock(&host->lock);
	vm_unref(vm);
}

bool host_may_log(struct host *host, uint64_t now_ms)
{
	uint32_t missed;

	if (!cram_ratelimit_ok(&host->log_limit, now_ms, &missed))
		return false;
	host->log_missed += missed;
	return true;
}

void host_set_settings(struct host *host, const struct cram_host_settings *settings)
{
	pthread_mutex_lock(&host->lock);
	host->settings = *settings;
	pthread_mutex_unlock(&host->lock);
}

int roster_copy(struct host *host, struct roster *roster)
{
	int r = 0;

	pthread_mutex_lock(&host->lock);
	roster->settings = host->settings;
	if (roster->generation != host->vms_generation) {
		for (size_t i = 0; i < roster->vms.n; i++)
			vm_unref(roster->vms.v[i]);
		roster->vms.n = 0;
		r = array_reserve(&roster->vms, host->vms.n);
		for (size_t i = 0; r == 0 && i < host->vms.n; i++)
			roster->vms.v[roster->vms.n++] = vm_ref(host->vms.v[i]);
		if (r == 0)
			roster->generation = host->vms_generation;
	}
	pthread_mutex_unlock(&host->lock);
	return r;
}

void roster_free(struct roster *roster)
{
	for (size_t i = 0; i < roster->vms.n; i++)
		vm_unref(roster->vms.v[i]);
	array_free(&roster->vms);
}
