// SPDX-License-Identifier: GPL-2.0-or-later
/* Looking at pages and keeping DAMON's snapshots; see scan.h. */
#include "scan.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../act/move.h"
#include "../sense/damon.h"
#include "../sense/pages.h"
#include "../sense/vmfiles.h"

/* Looks at one range are this fraction of the cold age apart ... */
#define LOOKS_PER_COLD_AGE 4
/* ... within these bounds, seconds. */
#define LOOK_MIN_S 1
#define LOOK_MAX_S 60

/* A full reading of placement may cost one part in this many of a core's time. */
#define PLACEMENT_SHARE 100

/* Ranges searched in one go, with the VM locked. */
#define SEARCH_RANGES 4096

#define DAMON_VMS_MAX 512

static uint32_t look_interval(const struct vm *vm)
{
	uint32_t interval = atomic_load(&vm->cold_age_s) / LOOKS_PER_COLD_AGE;

	return interval < LOOK_MIN_S ? LOOK_MIN_S : interval > LOOK_MAX_S ? LOOK_MAX_S : interval;
}

/* As scan_look(), with vm->placing held. */
static int look_alone(struct vm *vm, size_t index, const struct page_idle *idle, int pagemap,
		      struct look_buffers *b)
{
	uint64_t tier_nodes;
	struct range_look found = {};
	int tier_nid = atomic_load(&vm->tier_nid);
	bool armed;
	uint64_t addr;
	size_t n;
	int r;

	tier_nodes = tier_nid >= 0 ? UINT64_C(1) << tier_nid : 0;
	vm_range(vm, index, &addr, &n);
	pthread_mutex_lock(&vm->lock);
	armed = vm->ranges.v[index].flags & RANGE_ARMED;
	pthread_mutex_unlock(&vm->lock);

	r = move_where(vm->pid, addr, n, b->nodes);
	if (r < 0)
		return r;
	if (idle) {
		r = pagemap_read(pagemap, addr, n, b->entries);
		if (r < 0)
			return r;
		r = page_idle_heads(idle, b->entries, n, b->heads);
		if (r < 0)
			return r;
		memset(b->idle, 0, sizeof(b->idle));
		if (armed) {
			r = page_idle_check(idle, b->heads, n, b->idle);
			if (r < 0)
				return r;
		}
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
		r = page_idle_mark(idle, b->heads, n);
		if (r < 0)
			return r;
		found.armed = true;
	}

	pthread_mutex_lock(&vm->lock);
	vm->counters.returned +=
		(uint64_t)range_looked(&vm->ranges.v[index], &found, monotonic_s()) * PAGE_BYTES;
	pthread_mutex_unlock(&vm->lock);
	return 0;
}

int scan_look(struct vm *vm, size_t index, const struct page_idle *idle, int pagemap,
	      struct look_buffers *b)
{
	int r;

	vm_placing_begins(vm);
	r = look_alone(vm, index, idle, pagemap, b);
	vm_placing_ends(vm);
	return r;
}

/* Processor time of the calling thread, nanoseconds. */
static int64_t cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
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

/* Looks at ranges of @vm that are due, until this thread's processor time is @until. */
static void scan_vm(struct host *host, struct vm *vm, const struct page_idle *idle, int64_t until,
		    struct look_buffers *b)
{
	uint32_t interval = look_interval(vm);
	int pagemap = -1, r = 0;

	if (idle) {
		r = pagemap_open(&host->root, vm->pid, &pagemap);
		if (r < 0)
			return;
	}
	pthread_mutex_lock(&vm->lock);
	vm->ranges.idle_flags = idle;
	vm->ranges.nominated =
		atomic_load(&host->damon_active) && !atomic_load(&vm->look_everywhere);
	pthread_mutex_unlock(&vm->lock);

	for (size_t left = vm->ranges.n; left > 0 && cpu_ns() < until;) {
		size_t index;

		if (!next_due(vm, interval, &left, &index))
			continue;
		if (atomic_load(&vm->dead) || atomic_load(&host->stopping))
			break;
		r = scan_look(vm, index, idle, pagemap, b);
		if (r < 0)
			break;
	}
	if (r < 0 && r != -ESRCH)
		atomic_fetch_add(&host->scan_errors, 1);
	if (pagemap >= 0)
		close(pagemap);
	pthread_mutex_lock(&vm->lock);
	vm->scanned_ms = monotonic_ms();
	pthread_mutex_unlock(&vm->lock);
}

static void examine(struct host *host, struct vm *vm, const struct batch_read *reads, size_t n)
{
	uint64_t start = monotonic_ms();
	struct proc_status status;
	struct memcg memcg;
	bool in_group;

	if (atomic_load(&host->stopping) || vm_gone(vm) || vm_files_status(reads, &status) < 0)
		return;
	in_group = vm_files_memcg(reads, n, &memcg) == 0;
	/*
	 * Reading placement walks every page table of the guest, so its interval grows with what it
	 * took the last time.
	 */
	vm_examine(vm, &host->root, &status, in_group ? &memcg : NULL,
		   atomic_load(&host->tier_nodes), start,
		   atomic_load(&vm->recount) ? 0 : vm->placement_cost_ms * PLACEMENT_SHARE);
	if (vm->placed_ms == start)
		vm->placement_cost_ms = monotonic_ms() - start;
}

/* VMs whose small files are read together. */
#define EXAMINED_TOGETHER (BATCH_MAX / VM_FILES)

struct examine_buffers {
	struct vm_files files[EXAMINED_TOGETHER];
	struct batch_read reads[EXAMINED_TOGETHER * VM_FILES];
};

static void examine_all(struct host *host, struct batch *batch, struct vm *const *vms, size_t n,
			struct examine_buffers *b)
{
	for (size_t first = 0; first < n; first += EXAMINED_TOGETHER) {
		size_t count = n - first < EXAMINED_TOGETHER ? n - first : EXAMINED_TOGETHER;
		size_t at[EXAMINED_TOGETHER + 1] = {};

		for (size_t i = 0; i < count; i++)
			at[i + 1] = at[i] + vm_files_want(&b->files[i], vms[first + i]->pid,
							  vms[first + i]->cgroup, &b->reads[at[i]]);
		batch_read(batch, &host->root, b->reads, at[count]);
		for (size_t i = 0; i < count; i++)
			examine(host, vms[first + i], &b->reads[at[i]], at[i + 1] - at[i]);
	}
}

static void *looker(void *arg)
{
	struct scan *scan = arg;
	struct host *host = scan->host;
	struct roster roster = {};
	struct page_idle idle = { .bitmap = -1, .flags = -1 };
	struct look_buffers buffers;
	int64_t left = 0; /* of the processor time for looks, nanoseconds; negative: overdrawn */
	size_t turn = 0;

	do {
		int64_t until;
		bool want_idle;

		if (roster_copy(host, &roster) < 0)
			continue;
		want_idle = roster.settings.detector != CRAM_DETECTOR_DAMON;
		if (want_idle && idle.bitmap < 0)
			page_idle_open(&host->root, &idle);
		else if (!want_idle)
			page_idle_close(&idle);
		atomic_store(&host->idle_active, idle.bitmap >= 0);

		examine_all(host, &scan->looker_batch, roster.vms.v, roster.vms.n, scan->examined);
		/* What was not used is not saved up: it would be a burst later. */
		left = (left < 0 ? left : 0) + (int64_t)roster.settings.round_ms *
						       roster.settings.second_look_permille * 1000;
		until = cpu_ns() + left;
		for (size_t k = 0; k < roster.vms.n && cpu_ns() < until; k++) {
			size_t i = (turn + k) % roster.vms.n;
			struct vm *vm = roster.vms.v[i];

			if (atomic_load(&host->stopping))
				break;
			if (!atomic_load(&vm->watched) || atomic_load(&host->paused) ||
			    !vm->ranges.n || vm_gone(vm))
				continue;
			scan_vm(host, vm, idle.bitmap >= 0 ? &idle : NULL, until, &buffers);
			/* The VM that was cut short goes on first in the next round. */
			if (cpu_ns() >= until)
				turn = i;
		}
		left = until - cpu_ns();
	} while (host_sleep(host, roster.settings.round_ms ? roster.settings.round_ms : 1000));

	page_idle_close(&idle);
	roster_free(&roster);
	return NULL;
}

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

static void *nominator(void *arg)
{
	struct scan *scan = arg;
	struct host *host = scan->host;
	struct vm **vms = scan->watched->vms;
	struct damon_target *wanted = scan->watched->wanted, *watched = scan->watched->watched;
	struct roster roster = {};
	struct damon damon;
	size_t n_watched = 0;
	bool acquired = false;
	char marker[128];
	uint32_t pause_ms = 1000;

	snprintf(marker, sizeof(marker), "%s/damon", host->run_dir);
	damon_init(&damon, &host->root, &scan->nominator_batch, marker);

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

int scan_start(struct scan *scan, struct host *host)
{
	int r;

	scan->host = host;
	scan->examined = malloc(sizeof(*scan->examined));
	scan->watched = calloc(1, sizeof(*scan->watched));
	if (!scan->examined || !scan->watched)
		return -ENOMEM;
	r = pthread_create(&scan->looker, NULL, looker, scan);
	if (r)
		return -r;
	scan->looking = true;
	r = pthread_create(&scan->nominator, NULL, nominator, scan);
	if (r)
		return -r;
	scan->nominating = true;
	return 0;
}

void scan_join(struct scan *scan)
{
	if (scan->looking)
		pthread_join(scan->looker, NULL);
	if (scan->nominating)
		pthread_join(scan->nominator, NULL);
	scan->looking = false;
	scan->nominating = false;
	batch_close(&scan->looker_batch);
	batch_close(&scan->nominator_batch);
	free(scan->examined);
	free(scan->watched);
	scan->examined = NULL;
	scan->watched = NULL;
}
