// SPDX-License-Identifier: GPL-2.0-or-later
/* Keeping DAMON's snapshots; see nominator.h. */
#include "nominator.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../sense/damon.h"

#define DAMON_VMS_MAX 512

struct nomination {
	struct vm **vms;
	size_t n;
	uint32_t now_s;
};

static int nominate(size_t target, const struct damon_region *region, void *arg)
{
	struct nomination *nom = arg;
	size_t first, last;
	struct vm *vm;

	if (target >= nom->n)
		return -EBADMSG;
	vm = nom->vms[target];
	if (vm_range_index(vm, region->start, &first) < 0 ||
	    vm_range_index(vm, region->end - 1, &last) < 0)
		return 0;
	pthread_mutex_lock(&vm->lock);
	ranges_region(&vm->ranges, first, last, region->accesses, nom->now_s);
	pthread_mutex_unlock(&vm->lock);
	return 0;
}

/* CPU time of the kdamond, from its stat file; what it costs is part of what the agent costs. */
static void account_kdamond(struct host *host)
{
	char path[64], buf[1024];
	const char *p = buf;
	uint64_t pid, user, system;
	long hz = sysconf(_SC_CLK_TCK);

	if (sysroot_read_u64(&host->root, "/sys/kernel/mm/damon/admin/kdamonds/0/pid", &pid) < 0 ||
	    hz <= 0)
		return;
	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	if (sysroot_read(&host->root, path, buf, sizeof(buf), NULL) < 0)
		return;
	p = strrchr(buf, ')');
	for (int field = 2; p && field < 14; field++) {
		p = strchr(p, ' ');
		p = p ? p + 1 : NULL;
	}
	if (!p || parse_u64(&p, 10, &user) < 0 || *p++ != ' ' || parse_u64(&p, 10, &system) < 0)
		return;
	atomic_store(&host->kdamond_cpu_us, (user + system) * 1000000 / (uint64_t)hz);
}

static void note(struct host *host, const char *text)
{
	pthread_mutex_lock(&host->lock);
	snprintf(host->detector_note, sizeof(host->detector_note), "%s", text);
	pthread_mutex_unlock(&host->lock);
}

/* The VMs to watch, as DAMON targets. */
static size_t collect(const struct roster *roster, struct vm **vms, struct damon_target *targets)
{
	size_t n = 0;

	for (size_t i = 0; i < roster->vms.n && n < DAMON_VMS_MAX; i++) {
		struct vm *vm = roster->vms.v[i];
		struct damon_target *t = &targets[n];

		if (!atomic_load(&vm->watched) || vm_gone(vm) || !vm->blocks.n)
			continue;
		*t = (struct damon_target){ .pid = vm->pid };
		/* DAMON wants them ascending; QEMU maps them in no order. */
		for (size_t k = 0; k < vm->blocks.n; k++) {
			if (!vm_has_block(vm, k))
				continue;
			struct damon_range range = { vm->blocks.v[k].start, vm->blocks.v[k].end };
			size_t at = t->n_ranges++;

			for (; at > 0 && t->ranges[at - 1].start > range.start; at--)
				t->ranges[at] = t->ranges[at - 1];
			t->ranges[at] = range;
		}
		vms[n++] = vm;
	}
	return n;
}

/* DAMON's targets: those there should be, with their VMs, and those it has. */
struct watch_buffers {
	struct vm *vms[DAMON_VMS_MAX];
	struct damon_target wanted[DAMON_VMS_MAX], watched[DAMON_VMS_MAX];
};

static void *nominate_all(void *arg)
{
	const struct nominator *nominator = arg;
	struct host *host = nominator->host;
	struct vm **vms = nominator->buffers->vms;
	struct damon_target *wanted = nominator->buffers->wanted;
	struct damon_target *watched = nominator->buffers->watched;
	struct roster roster = {};
	struct damon damon;
	size_t n_watched = 0;
	bool acquired = false;
	char marker[128];
	uint32_t pause_ms = 1000;

	snprintf(marker, sizeof(marker), "%s/damon", host->run_dir);
	damon_init(&damon, &host->root, marker);

	do {
		struct nomination nom = { .vms = vms };
		const struct cram_host_settings *set = &roster.settings;
		size_t n;
		int r;

		if (roster_copy(host, &roster) < 0)
			continue;
		pause_ms = set->damon_aggr_us / 1000 + 1;
		if (set->detector == CRAM_DETECTOR_PAGE_IDLE) {
			if (acquired)
				damon_release(&damon);
			acquired = false;
			n_watched = 0;
			atomic_store(&host->damon_active, false);
			continue;
		}
		if (!acquired) {
			r = damon_acquire(&damon);
			if (r < 0) {
				note(host,
				     r == -EBUSY
					     ? "DAMON is in use by someone else; it is left alone"
					     : "this kernel cannot watch guests with DAMON");
				pause_ms = 10000;
				continue;
			}
			note(host, "");
			acquired = true;
		}
		n = collect(&roster, vms, wanted);
		if (n != n_watched || memcmp(wanted, watched, n * sizeof(*wanted)) != 0 ||
		    (n && !damon.running)) {
			struct damon_attrs attrs = {
				.sample_us = set->damon_sample_us,
				.aggr_us = set->damon_aggr_us,
				.update_us = set->damon_update_us,
				.min_regions = set->damon_min_regions,
				.max_regions = set->damon_max_regions,
			};

			r = damon_watch(&damon, &attrs, wanted, n);
			if (r < 0) {
				/* A VM that exited meanwhile: the next round sees that too. */
				n_watched = 0;
				atomic_store(&host->damon_active, false);
				if (r != -ESRCH)
					note(host, "DAMON refused to start; see the kernel log");
				continue;
			}
			note(host, "");
			memcpy(watched, wanted, n * sizeof(*wanted));
			n_watched = n;
		}
		atomic_store(&host->damon_active, damon.running);
		if (!damon.running)
			continue;
		nom.n = n_watched;
		nom.now_s = monotonic_s();
		r = damon_snapshot(&damon, nominate, &nom);
		if (r < 0 && r != -ESRCH)
			atomic_fetch_add(&host->scan_errors, 1);
		account_kdamond(host);
	} while (host_sleep(host, pause_ms));

	if (acquired)
		damon_release(&damon);
	roster_free(&roster);
	return NULL;
}

int nominator_start(struct nominator *nominator, struct host *host)
{
	int r;

	nominator->host = host;
	nominator->buffers = calloc(1, sizeof(*nominator->buffers));
	if (!nominator->buffers)
		return -ENOMEM;
	r = pthread_create(&nominator->thread, NULL, nominate_all, nominator);
	if (r)
		return -r;
	nominator->running = true;
	return 0;
}

void nominator_join(struct nominator *nominator)
{
	if (nominator->running)
		pthread_join(nominator->thread, NULL);
	nominator->running = false;
	free(nominator->buffers);
	nominator->buffers = NULL;
}
