// SPDX-License-Identifier: GPL-2.0-or-later
/* Keeping DAMON's snapshots; see nominator.h. */
#include "nominator.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "util/duration.h"
#include "util/plural.h"

/* DAMON's targets: those there should be, with their VMs, and those it has. They only grow. */
struct watch {
	CRAM_ARRAY(struct vm *) vms;
	CRAM_ARRAY(struct damon_target) wanted, watched;
	struct damon_attrs attrs; /* by which it watches them */
	uint32_t pause_ms;	  /* between snapshots */
};

/*
 * A snapshot counts for so many pauses, none of which is shorter than an aggregation of DAMON's.
 * After its pause the next one takes an aggregation, or two where the kernel has waited in vain for
 * a scheme, and a change of targets before it another: that are four. Half as many again are for
 * one that a VM's end has broken off.
 */
#define SNAPSHOT_PAUSES 6

struct nomination {
	const struct host *host;
	struct vm **vms;
	size_t n;
};

void nominate_begin(struct vm *vm)
{
	pthread_mutex_lock(&vm->lock);
	ranges_snapshot_begin(&vm->ranges);
	pthread_mutex_unlock(&vm->lock);
}

void nominate_region(struct vm *vm, const struct damon_region *region)
{
	size_t first, last;

	if (vm_range_index(vm, region->start, &first) < 0 ||
	    vm_range_index(vm, region->end - 1, &last) < 0)
		return;
	pthread_mutex_lock(&vm->lock);
	ranges_region(&vm->ranges, first, last, region->accesses);
	pthread_mutex_unlock(&vm->lock);
}

void nominate_end(struct vm *vm, uint32_t apart_s, uint32_t now_s)
{
	pthread_mutex_lock(&vm->lock);
	vm->counters.returned += ranges_snapshot_end(&vm->ranges, apart_s, now_s) * PAGE_BYTES;
	pthread_mutex_unlock(&vm->lock);
}

static int nominate(size_t target, const struct damon_region *region, void *arg)
{
	const struct nomination *nom = arg;

	if (target >= nom->n)
		return -EBADMSG;
	/* There may be thousands, and DAMON is to be left in order. */
	if (atomic_load(&nom->host->stopping))
		return -ECANCELED;
	nominate_region(nom->vms[target], region);
	return 0;
}

/* One of all that DAMON watches. What could not be read to its end has told nothing. */
static int take_snapshot(const struct host *host, struct damon *damon, const struct watch *w)
{
	struct nomination nom = { .host = host, .vms = w->vms.v, .n = w->watched.n };
	uint32_t apart_s = w->pause_ms * SNAPSHOT_PAUSES / 1000 + 1, now_s = monotonic_s();
	int r;

	for (size_t i = 0; i < nom.n; i++)
		nominate_begin(nom.vms[i]);
	r = damon_snapshot(damon, w->watched.v, nominate, &nom);
	for (size_t i = 0; r == 0 && i < nom.n; i++)
		nominate_end(nom.vms[i], apart_s, now_s);
	return r;
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

static void fill_target(struct damon_target *t, const struct vm *vm)
{
	*t = (struct damon_target){ .pid = vm->pid };
	/* DAMON wants them ascending; QEMU maps them in no order. */
	for (size_t k = 0; k < vm->blocks.n; k++) {
		struct damon_range range = { vm->blocks.v[k].start, vm->blocks.v[k].end };
		size_t at;

		if (!vm_has_block(vm, k))
			continue;
		at = t->n_ranges++;
		for (; at > 0 && t->ranges[at - 1].start > range.start; at--)
			t->ranges[at] = t->ranges[at - 1];
		t->ranges[at] = range;
	}
}

/* The VMs to watch, as DAMON targets. 0 or -ENOMEM. */
static int collect(const struct roster *roster, struct watch *w)
{
	size_t n = roster->vms.n;

	if (array_reserve(&w->vms, n) < 0 || array_reserve(&w->wanted, n) < 0 ||
	    array_reserve(&w->watched, n) < 0)
		return -ENOMEM;
	w->wanted.n = 0;
	for (size_t i = 0; i < n; i++) {
		struct vm *vm = roster->vms.v[i];

		if (!atomic_load(&vm->watched) || vm_gone(vm) || !vm->blocks.n)
			continue;
		w->vms.v[w->wanted.n] = vm;
		fill_target(&w->wanted.v[w->wanted.n++], vm);
	}
	return 0;
}

static bool same_targets(const struct watch *w)
{
	return w->wanted.n == w->watched.n &&
	       memcmp(w->wanted.v, w->watched.v, w->wanted.n * sizeof(w->wanted.v[0])) == 0;
}

/*
 * So many samples tell hot from cold. One of a large region that is hot in part may miss that: then
 * it is looked at in vain where looks tell, and else it would count as quiet.
 */
#define SAMPLES		  20
#define SAMPLES_CONFIRMED 10

uint32_t nominate_sample_us(const struct cram_host_settings *set, bool confirmed)
{
	if (set->damon_sample_us)
		return set->damon_sample_us;
	return set->damon_aggr_us / (confirmed ? SAMPLES_CONFIRMED : SAMPLES);
}

static struct damon_attrs attrs_of(const struct host *host, const struct cram_host_settings *set)
{
	return (struct damon_attrs){
		.sample_us = nominate_sample_us(set, atomic_load(&host->idle_active)),
		.aggr_us = set->damon_aggr_us,
		.update_us = set->damon_update_us,
		.min_regions = set->damon_min_regions,
		.max_regions = set->damon_max_regions,
	};
}

static bool same_attrs(const struct damon_attrs *a, const struct damon_attrs *b)
{
	return a->sample_us == b->sample_us && a->aggr_us == b->aggr_us &&
	       a->update_us == b->update_us && a->min_regions == b->min_regions &&
	       a->max_regions == b->max_regions;
}

static void say_attrs(struct host *host, const struct damon_attrs *attrs)
{
	char sample[32], aggr[32];

	cram_log_info(&host->log,
		      "DAMON goes on otherwise: it samples each %s and counts for %s, in %" PRIu32
		      " to %" PRIu32 " regions",
		      cram_duration_format(attrs->sample_us, sample, sizeof(sample)),
		      cram_duration_format(attrs->aggr_us, aggr, sizeof(aggr)), attrs->min_regions,
		      attrs->max_regions);
}

static int watch(struct host *host, struct damon *damon, const struct damon_attrs *attrs,
		 struct watch *w)
{
	int r;

	if (w->watched.n && !same_attrs(attrs, &w->attrs))
		say_attrs(host, attrs);
	w->attrs = *attrs;
	w->watched.n = 0;
	r = damon_watch(damon, attrs, w->wanted.v, w->wanted.n);
	if (damon->started_over)
		cram_log_info(&host->log,
			      "DAMON starts over with %zu VM%s, since one before them has gone: "
			      "until it has found their regions again it sees coarsely; ages stay",
			      w->wanted.n, plural(w->wanted.n));
	if (r < 0)
		return r;
	memcpy(w->watched.v, w->wanted.v, w->wanted.n * sizeof(w->wanted.v[0]));
	w->watched.n = w->wanted.n;
	return 0;
}

/*
 * Snapshots may cost one part in this many of a core: DAMON shows each region as four files, of
 * which one is read at least, and three where there were accesses.
 */
#define SNAPSHOT_SHARE 400

/* Milliseconds until the next snapshot, when the last one took @took_ns of a core. */
static uint32_t snapshot_pause_ms(const struct cram_host_settings *set, int64_t took_ns)
{
	uint64_t aggregation = set->damon_aggr_us / 1000 + 1;
	uint64_t paid = (uint64_t)took_ns * SNAPSHOT_SHARE / 1000000;

	return (uint32_t)(paid < aggregation ? aggregation : paid);
}

static void expect_answer(struct host *host, const struct watch *w)
{
	atomic_store(&host->damon_until_ms,
		     monotonic_ms() + (uint64_t)w->pause_ms * SNAPSHOT_PAUSES);
}

/*
 * Keeps DAMON watching who is to be watched, and takes a snapshot. Negative errno: what DAMON says
 * against it; -EBUSY: the tree is somebody else's.
 */
static int nominate_once(struct host *host, struct damon *damon, const struct roster *roster,
			 struct watch *w)
{
	const struct damon_attrs attrs = attrs_of(host, &roster->settings);
	bool otherwise = !same_attrs(&attrs, &w->attrs);
	int r;

	if (!damon->acquired) {
		w->watched.n = 0;
		r = damon_acquire(damon);
		if (r < 0)
			return r;
	}
	r = collect(roster, w);
	if (r == 0 && (!same_targets(w) || (w->wanted.n && (!damon->running || otherwise))))
		r = watch(host, damon, &attrs, w);
	if (r < 0 || !damon->running)
		return r;
	/* The first one may take as long as any, and by other settings longer than those before. */
	if (!atomic_load(&host->damon_until_ms) || otherwise) {
		w->pause_ms = snapshot_pause_ms(&roster->settings, 0);
		expect_answer(host, w);
	}
	r = take_snapshot(host, damon, w);
	account_kdamond(host);
	return r;
}

static void say_trouble(struct host *host, struct damon *damon, int r)
{
	char who[96], text[160];

	switch (r) {
	case 0:
		note(host, "");
		break;
	case -ESRCH: /* a VM that exited meanwhile: the next round sees that too */
		break;
	case -EBUSY:
		snprintf(text, sizeof(text), "DAMON is in use by %s; it is left alone",
			 damon_owner(damon, who, sizeof(who)));
		note(host, text);
		break;
	case -ENOENT:
		note(host, "this kernel cannot watch guests with DAMON");
		break;
	default:
		snprintf(text, sizeof(text), "DAMON does not work: %s; see the kernel log",
			 strerror(-r));
		note(host, text);
	}
}

/* Another tool's, or a kernel without it: looked for again after this. */
#define AGAIN_MS 10000

static void *nominate_all(void *arg)
{
	const struct nominator *nominator = arg;
	struct host *host = nominator->host;
	struct roster roster = {};
	struct watch w = {};
	struct damon damon;
	char marker[128];
	uint32_t pause_ms = 1000;

	snprintf(marker, sizeof(marker), "%s/damon", host->run_dir);
	damon_init(&damon, &host->root, marker);
	do {
		int64_t began = thread_cpu_ns();
		int r = 0;

		if (roster_copy(host, &roster) < 0)
			continue;
		if (roster.settings.detector == CRAM_DETECTOR_PAGE_IDLE)
			damon_release(&damon);
		else
			r = nominate_once(host, &damon, &roster, &w);
		w.pause_ms = snapshot_pause_ms(&roster.settings, thread_cpu_ns() - began);
		/* Given back, with nothing to watch, or lost to another tool. */
		if (!damon.running)
			atomic_store(&host->damon_until_ms, 0);
		else if (r == 0)
			expect_answer(host, &w);
		pause_ms = damon.acquired ? w.pause_ms : AGAIN_MS;
		say_trouble(host, &damon, r);
	} while (host_sleep(host, pause_ms));

	damon_release(&damon);
	atomic_store(&host->damon_until_ms, 0);
	array_free(&w.vms);
	array_free(&w.wanted);
	array_free(&w.watched);
	roster_free(&roster);
	return NULL;
}

int nominator_start(struct nominator *nominator, struct host *host)
{
	int r;

	nominator->host = host;
	r = pthread_create(&nominator->thread, NULL, nominate_all, nominator);
	if (r)
		return -r;
	nominator->running = true;
	return 0;
}

/* Longer aggregations are not waited for: a service has 90 s to stop in all. */
#define SNAPSHOT_MAX_MS 60000

/*
 * How long a snapshot that has begun may take, and DAMON be turned off only then: the kernel waits
 * for an aggregation, or in vain for a scheme two of them, and its tree is locked until then for
 * whoever else would write to it. The process cannot end before that anyway.
 */
static uint32_t snapshot_ms(struct host *host)
{
	uint64_t us;

	if (!atomic_load(&host->damon_until_ms))
		return 0;
	pthread_mutex_lock(&host->lock);
	us = 2 * ((uint64_t)host->settings.damon_aggr_us +
		  nominate_sample_us(&host->settings, atomic_load(&host->idle_active)));
	pthread_mutex_unlock(&host->lock);
	return us / 1000 < SNAPSHOT_MAX_MS ? (uint32_t)(us / 1000) : SNAPSHOT_MAX_MS;
}

bool nominator_join(struct nominator *nominator)
{
	if (!nominator->running)
		return true;
	return host_join_after(nominator->thread, &nominator->running,
			       snapshot_ms(nominator->host));
}
