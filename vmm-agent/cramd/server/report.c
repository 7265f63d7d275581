// SPDX-License-Identifier: GPL-2.0-or-later
/* State as reports; see report.h. */
#include "report.h"

#include <dirent.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "../admission.h"
#include "../classify/ranges.h"
#include "../moves.h"
#include "../overcommit.h"
#include "../tier/tier.h"
#include "policy/estimate.h"
#include "util/cleanup.h"

#define TEXT(to, ...) snprintf((to), sizeof(to), __VA_ARGS__)

static uint64_t cpu_us(void)
{
	struct rusage usage;

	if (getrusage(RUSAGE_SELF, &usage) < 0)
		return 0;
	return (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 +
	       (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

static uint64_t count_entries(const char *path)
{
	cleanup_dir DIR *dir = opendir(path);
	uint64_t n = 0;

	if (!dir)
		return 0;
	while (readdir(dir))
		n++;
	/* "." and "..", and for descriptors the directory's own. */
	return n >= 2 ? n - 2 : 0;
}

static uint64_t own_rss(void)
{
	cleanup_file FILE *f = fopen("/proc/self/statm", "re");
	unsigned long size, rss;

	if (!f || fscanf(f, "%lu %lu", &size, &rss) != 2)
		return 0;
	return rss * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void detector_text(struct daemon *d, char *buf, size_t size)
{
	bool damon = host_damon_answers(&d->host), idle = atomic_load(&d->host.idle_active);

	snprintf(buf, size, "%s",
		 damon && idle ? "damon+page_idle"
		 : damon       ? "damon"
		 : idle	       ? "page_idle"
			       : "none");
}

/* What keeps a detector from its work, and what follows; empty: nothing does. Returns @buf. */
static const char *detector_note(struct daemon *d, char *buf, size_t size)
{
	bool idle = atomic_load(&d->host.idle_active);

	pthread_mutex_lock(&d->host.lock);
	snprintf(buf, size, "%s", d->host.detector_note);
	pthread_mutex_unlock(&d->host.lock);
	if (buf[0])
		return buf;
	/* The thread that would note it is the one that waits for the answer. */
	if (atomic_load(&d->host.damon_until_ms) && !host_damon_answers(&d->host))
		snprintf(buf, size,
			 "DAMON does not answer, as when a QEMU keeps its memory map locked: until "
			 "it does, %s",
			 idle ? "all memory is looked at" : "no memory counts as cold");
	else if (d->conf.host.detector == CRAM_DETECTOR_PAGE_IDLE && !idle)
		snprintf(buf, size,
			 "no memory counts as cold: detector is page_idle, and this kernel has no "
			 "idle page tracking (CONFIG_IDLE_PAGE_TRACKING); set detector to auto");
	return buf;
}

static void sums(struct daemon *d, struct cram_host_report *ret)
{
	for (size_t i = 0; i < d->host.vms.n; i++) {
		struct vm *vm = d->host.vms.v[i];

		ret->vms_auto += vm->settings.mode == CRAM_MODE_AUTO;
		pthread_mutex_lock(&vm->lock);
		ret->vms_ineligible += vm->reason != VM_ELIGIBLE;
		ret->demoted += vm->counters.demoted;
		ret->promoted += vm->counters.promoted;
		ret->refused += vm->counters.refused;
		pthread_mutex_unlock(&vm->lock);
		ret->tier_bytes += vm->input.tier_bytes;
		ret->device_bytes += vm->input.device_bytes;
	}
}

/* What is sold, promised and honoured, and what could be sold still. */
static void figures(const struct daemon *d, struct cram_host_report *ret)
{
	struct cram_overcommit_input in;
	struct cram_overcommit out;

	overcommit_input(d, NULL, &in);
	cram_overcommit(&in, &out);
	ret->dram_total = in.has.dram;
	ret->dram_reserve = d->conf.host.reserve_bytes;
	ret->hugepages = in.has.huge;
	ret->dram_usable = out.usable;
	ret->tier_capacity = out.tiers;
	ret->swap_free = in.has.swap_free;
	ret->sold_known = admission_unknown(d) == NULL;
	ret->sold = in.sold.ram;
	ret->floors = in.sold.floors;
	ret->bound = in.sold.bound;
	ret->guaranteed = out.guaranteed;
	ret->expected = out.expected;
	ret->lasting = out.lasting;
	ret->lasting_tiers = out.lasting_tiers;
	ret->lasting_known = !in.has.unknown;
	ret->at_risk = out.at_risk;
	ret->reserved = admission_reserved(d);
	ret->room = admission_room(d, &in);
	ret->admissions_refused = d->admissions_refused;
	ret->admissions_warned = d->admissions_warned;
	TEXT(ret->admission, "%s", cram_admission_mode_name(d->conf.host.admission));
	TEXT(ret->sell, "%s", cram_sell_name(d->conf.host.sell));
}

void report_dram(const struct daemon *d, size_t home, struct cram_dram_report *ret)
{
	*ret = (struct cram_dram_report){
		.nid = d->snapshot.dram[home].nid,
		.total = d->snapshot.dram[home].total,
		.free = d->snapshot.dram[home].free,
		.available = d->decision.available[home],
		.headroom = d->decision.headroom[home],
	};
}

void report_host(struct daemon *d, struct cram_host_report *ret)
{
	*ret = (struct cram_host_report){
		.uptime_ms = monotonic_ms() - d->started_ms,
		.start_time_s = d->started_wall_s,
		.paused = atomic_load(&d->host.paused),
		.draining = d->overrides.drained,
		.libvirt_wanted = d->libvirt,
		.libvirt_connected = d->libvirt && libvirt_connected(d->libvirt),
		.config_taken = !d->config_error[0],
		.config_generation = d->config_generation,
		.reload_failures = d->reload_failures,
		.bad_domain_settings = d->bad_domain_settings,
		.vms = d->host.vms.n,
		.rounds = d->rounds - d->rounds_failed,
		.rounds_failed = d->rounds_failed,
		.round_us = d->round_us,
		.decision_us = d->decision_us,
		.demoted = d->host.gone.demoted,
		.promoted = d->host.gone.promoted,
		.refused = d->host.gone.refused,
		.reliefs = atomic_load(&d->host.reliefs),
		.relieved = atomic_load(&d->host.relieved),
		.shed = atomic_load(&d->host.shed),
		.relief_us = atomic_load(&d->host.relief_us),
		.libvirt_stale = d->libvirt ? libvirt_stale(d->libvirt) : 0,
		.log_missed = d->host.log_missed,
		.cpu_us = cpu_us(),
		.kdamond_cpu_us = atomic_load(&d->host.kdamond_cpu_us),
		.rss = own_rss(),
		.open_fds = count_entries("/proc/self/fd"),
		.threads = count_entries("/proc/self/task"),
	};
	TEXT(ret->version, "%s", CRAM_VERSION);
	TEXT(ret->config_error, "%s", d->config_error);
	detector_text(d, ret->detector, sizeof(ret->detector));
	sums(d, ret);
	for (size_t i = 0; i < d->snapshot.n_dram; i++) {
		struct cram_dram_report node;

		report_dram(d, i, &node);
		ret->dram_free += node.free;
		ret->dram_available += node.available;
		ret->dram_headroom += node.headroom;
	}
	figures(d, ret);
}

void report_durations(struct daemon *d, struct cram_duration_counts ret[CRAM_N_DURATIONS])
{
	for (size_t i = 0; i < CRAM_N_DURATIONS; i++) {
		for (size_t b = 0; b < CRAM_DURATION_BUCKETS; b++)
			ret[i].buckets[b] = atomic_load(&d->host.durations[i][b]);
		ret[i].sum_us = atomic_load(&d->host.duration_sums[i]);
	}
}

static void report_card(const struct card *card, struct cram_node_report *ret)
{
	ret->logical = card->logical;
	ret->credit = card->credit;
	ret->unsettled = card->unsettled;
	ret->reserve = card->reserve;
	ret->quarantined = card->dying;
	ret->pressure = card->pressure;
	ret->generation = card->generation;
	ret->reports = card->reports;
	ret->reports_failed = card->reports_failed;
	ret->evicted = card->evicted * CRAM_PAGE_BYTES;
	ret->lost = card->lost;
}

void report_overrides(struct daemon *d, struct cram_override_report *ret)
{
	for (size_t i = 0; i < d->overrides.v.n; i++) {
		const struct cram_override *o = &d->overrides.v.v[i];
		const struct vm *vm = daemon_find_uuid(d, o->uuid);

		ret[i] = (struct cram_override_report){ .running = vm };
		TEXT(ret[i].uuid, "%s", o->uuid);
		TEXT(ret[i].name, "%s", vm ? vm->name : o->name);
		cram_override_text(o, ret[i].kept, sizeof(ret[i].kept));
	}
}

void report_node(struct daemon *d, size_t tier, struct cram_node_report *ret)
{
	const struct cram_tier_input *t = &d->snapshot.tiers[tier];
	const struct node *node = nodes_find(&d->snapshot.nodes, t->nid);
	int error;

	*ret = (struct cram_node_report){
		.nid = t->nid,
		.capacity = d->snapshot.tier_capacity[tier],
		.used = d->snapshot.tier_used[tier],
		.device_bytes = d->snapshot.tier_device[tier],
		.free = t->kind == CRAM_TIER_CRAM || !node ? t->free : node->free,
		/* Unlimited: what there is is not known, and nothing is offered. */
		.budget = t->budget != CRAM_UNLIMITED && t->budget > t->used_other
				  ? t->budget - t->used_other
				  : 0,
		.vms = d->snapshot.tier_vms[tier],
	};
	TEXT(ret->tier, "%s", cram_tier_name(t->kind));
	TEXT(ret->state, "%s", d->snapshot.tier_state[tier]);
	if (t->kind != CRAM_TIER_CRAM)
		return;
	report_card(&d->snapshot.cards[tier], ret);
	error = backpressure_watch_error(&d->backpressure, t->nid);
	if (error < 0)
		TEXT(ret->watch_error, "%s", strerror(-error));
}

void report_vm(struct daemon *d, struct vm *vm, struct cram_vm_report *ret)
{
	const struct cram_vm_input *in = &vm->input;
	const struct cram_vm_action *a = &vm->action;
	const struct cram_override *remembered = cram_overrides_find(&d->overrides, vm->uuid);

	*ret = (struct cram_vm_report){
		.pid = vm->pid,
		.nid = in->tier >= 0 && vm->has_action ? d->snapshot.tiers[in->tier].nid : -1,
		.ram = vm->ram,
		.eligible = in->eligible,
		.dram = in->dram,
		.tier_bytes = in->tier_bytes,
		.device_bytes = in->device_bytes,
		.device_bytes_upper = in->device_upper,
		.swapped = in->swapped,
		.quota = vm->settings.quota,
		.hard_limit = vm->settings.hard_limit,
		.floor = vm->settings.floor,
		.effective_floor = a->effective_floor,
		.weight = vm->settings.weight,
		.cold_age = a->cold_age_s,
		.cold_age_auto = vm->settings.cold_age_s == 0,
		.cold = a->cold_bytes,
		.hot = in->hot_bytes,
		.accessed = in->accessed_bytes,
		.fair_share = a->fair_device_bytes,
		.demote_pending = a->demote_bytes,
		.promote_pending = a->promote_hot_bytes + a->promote_bytes,
		.settings_refused = vm->settings_refused,
		.paused = vm->paused_by_operator || vm->paused_by_job,
		.draining = vm->drain,
		.persist = remembered && remembered->layer.set,
	};
	TEXT(ret->uuid, "%s", vm->uuid);
	TEXT(ret->name, "%s", vm->name);
	TEXT(ret->mode, "%s", cram_mode_name(vm->settings.mode));
	TEXT(ret->state, "%s", vm->has_action ? cram_vm_state_name(a->state) : "waiting");
	TEXT(ret->note, "%s", vm->note);
	if (in->tier >= 0 && vm->has_action)
		TEXT(ret->tier, "%s", cram_tier_name(d->snapshot.tiers[in->tier].kind));
	pthread_mutex_lock(&vm->lock);
	TEXT(ret->ineligible, "%s", vm_ineligible_name(vm->reason));
	if (!ret->note[0])
		TEXT(ret->note, "%s", vm_why(vm));
	if (!ret->note[0] && vm->counters.move_error)
		TEXT(ret->note, "cannot be moved: %s", vm_trouble_text(vm->counters.move_error));
	if (!ret->note[0] && vm->counters.look_error)
		TEXT(ret->note, "cannot be looked at: %s",
		     vm_trouble_text(vm->counters.look_error));
	if (!ret->note[0] && vm->counters.examine_error)
		TEXT(ret->note, "cannot be examined: %s",
		     vm_trouble_text(vm->counters.examine_error));
	ret->looks = vm->counters.looks;
	ret->worst_look_us = vm->counters.worst_look_us;
	ret->worst_placement_us = vm->counters.worst_placement_us;
	ret->demoted = vm->counters.demoted;
	ret->promoted = vm->counters.promoted;
	ret->refused = vm->counters.refused;
	ret->returned = vm->counters.returned;
	ret->batches = vm->counters.batches;
	ret->worst_batch_us = vm->counters.worst_batch_us;
	ret->scan_age_ms = monotonic_ms() - vm->scanned_ms;
	pthread_mutex_unlock(&vm->lock);
}

struct findings {
	struct cram_check_report *v;
	size_t n, max;
};

static void add_code(struct findings *f, const char *severity, const char *subject,
		     const char *code, uint64_t bytes, const char *text)
{
	struct cram_check_report *r;

	if (f->n == f->max)
		return;
	r = &f->v[f->n++];
	*r = (struct cram_check_report){ .bytes = bytes };
	TEXT(r->severity, "%s", severity);
	TEXT(r->subject, "%s", subject);
	TEXT(r->code, "%s", code);
	TEXT(r->text, "%s", text);
}

static void add(struct findings *f, const char *severity, const char *subject,
		enum cram_finding code, uint64_t bytes, const char *fmt, ...)
	__attribute__((format(printf, 6, 7)));

static void add(struct findings *f, const char *severity, const char *subject,
		enum cram_finding code, uint64_t bytes, const char *fmt, ...)
{
	char text[sizeof(f->v->text)];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	add_code(f, severity, subject, cram_finding_name(code), bytes, text);
}

/* What there is to decide by, before what it comes from. */
static void check_selling(const struct daemon *d, struct findings *f)
{
	struct cram_host_report host = {};
	uint64_t risk = 0, all;
	char text[32];

	figures(d, &host);
	if (!__builtin_add_overflow(host.sold, host.room, &all) && all > host.guaranteed)
		risk = all - host.guaranteed;
	if (risk < host.at_risk)
		risk = host.at_risk;
	if (!host.sold_known)
		add(f, "info", "host", CRAM_FINDING_SELL, 0, "how much more is not known yet: %s",
		    admission_unknown(d));
	else if (!risk)
		add(f, "ok", "host", CRAM_FINDING_SELL, host.room,
		    "risk: none, that is guaranteed with nothing compressed");
	else
		add(f, host.room ? "ok" : "info", "host", CRAM_FINDING_SELL, host.room,
		    "risk: %s of what is sold then have no place should guests write what does not "
		    "compress",
		    cram_size_format(risk, text, sizeof(text)));
}

/* Does a tier of this host fit the VM's settings? */
static bool has_tier(const struct daemon *d, const struct vm *vm)
{
	for (size_t i = 0; i < d->snapshot.n_tiers; i++)
		if (vm->settings.tiers & 1U << d->snapshot.tiers[i].kind)
			return true;
	return false;
}

/*
 * A kind of tier that @vm is set to use and cannot, and what to do. false: there is none.
 */
static bool does_not_fit(const struct daemon *d, const struct vm *vm, enum cram_tier *ret_kind,
			 char *buf, size_t size)
{
	const struct snapshot *s = &d->snapshot;

	*ret_kind = CRAM_TIER_ZSWAP;
	if (vm->settings.tiers & 1U << CRAM_TIER_ZSWAP && s->zswap.why[0]) {
		snprintf(buf, size, "nothing of it goes to zswap: %s", s->zswap.why);
		return true;
	}
	for (size_t t = 0; t < s->n_tiers; t++) {
		const struct tier *tier = tier_of_kind(s->tiers[t].kind);

		*ret_kind = s->tiers[t].kind;
		if (vm->settings.tiers & 1U << *ret_kind && tier->fits &&
		    !tier->fits(s, nodes_find(&s->nodes, s->tiers[t].nid), vm, &d->conf.host, buf,
				size))
			return true;
	}
	return false;
}

/* Of a host with none: by each kind that @vm may use, what would have to be there. */
static void no_slow_memory(const struct daemon *d, const struct vm *vm, char *buf, size_t size)
{
	bool card = vm->settings.tiers & 1U << CRAM_TIER_CRAM;
	bool node = vm->settings.tiers & 1U << CRAM_TIER_NODE;
	char tiers[64];

	cram_settings_text(&vm->settings, CRAM_SET_TIERS, tiers, sizeof(tiers));
	snprintf(buf, size, "no slow memory: its setting tiers is %s%s%s%s%s", tiers,
		 card ? ", and no card that compresses is online (cramctl node online)" : "",
		 node ? ", and no node of tier_nodes, which is " : "",
		 node ? d->conf.host.tier_nodes : "", node ? ", has memory" : "");
}

void report_no_tier(const struct daemon *d, const struct vm *vm, char *buf, size_t size)
{
	enum cram_tier kind;
	char tiers[64];

	if (does_not_fit(d, vm, &kind, buf, size))
		return;
	if (d->snapshot.n_tiers && !has_tier(d, vm)) {
		snprintf(buf, size, "its setting tiers is %s, and this host has none of them",
			 cram_settings_text(&vm->settings, CRAM_SET_TIERS, tiers, sizeof(tiers)));
		return;
	}
	for (size_t i = 0; i < d->snapshot.n_tiers; i++) {
		if (!(vm->settings.tiers & 1U << d->snapshot.tiers[i].kind) ||
		    d->snapshot.tiers[i].accepting)
			continue;
		if (d->snapshot.tiers[i].nid < 0)
			snprintf(buf, size, "zswap takes nothing more now: it is %s",
				 d->snapshot.tier_state[i]);
		else
			snprintf(buf, size, "node %d takes nothing more now: it is %s",
				 d->snapshot.tiers[i].nid, d->snapshot.tier_state[i]);
		return;
	}
	for (size_t i = 0; !d->snapshot.n_tiers && i < d->snapshot.nodes.n; i++)
		if (d->snapshot.nodes.v[i].has_memory &&
		    unfit_node(&d->snapshot.unfit, &d->snapshot.nodes.v[i], buf, size))
			return;
	if (d->snapshot.n_tiers)
		snprintf(buf, size, "its cpuset allows none of the tiers");
	else
		no_slow_memory(d, vm, buf, size);
}

/* Returns the bytes that could leave DRAM if they were cold. */
static uint64_t find_about(struct daemon *d, struct vm *vm, struct findings *f)
{
	char subject[280], tiers[64], why[256];
	enum vm_ineligible reason;
	enum cram_tier kind;
	uint64_t room;

	TEXT(subject, "vm \"%s\"", vm->name);
	pthread_mutex_lock(&vm->lock);
	reason = vm->reason;
	TEXT(why, "%s", vm_why(vm));
	pthread_mutex_unlock(&vm->lock);
	if (vm->note[0])
		add(f, "warning", subject, CRAM_FINDING_SETTINGS, 0, "%s", vm->note);
	if (reason != VM_ELIGIBLE) {
		add_code(f, "warning", subject, vm_ineligible_name(reason), vm->ram, why);
		return 0;
	}
	if (does_not_fit(d, vm, &kind, why, sizeof(why))) {
		add(f, "warning", subject, CRAM_FINDING_NOT_ON_CRAM + kind, vm->ram, "%s", why);
		if (vm->input.tier < 0)
			return 0;
	}
	if (d->snapshot.n_tiers && !has_tier(d, vm)) {
		add(f, "warning", subject, CRAM_FINDING_TIERS, vm->ram,
		    "its setting tiers is %s, and this host has none of them",
		    cram_settings_text(&vm->settings, CRAM_SET_TIERS, tiers, sizeof(tiers)));
		return 0;
	}
	room = vm->input.dram > vm->settings.floor ? vm->input.dram - vm->settings.floor : 0;
	if (!room)
		add(f, "info", subject, CRAM_FINDING_FLOOR, vm->settings.floor,
		    "its floor keeps all of its memory in DRAM");
	else
		add(f, "ok", subject, CRAM_FINDING_ELIGIBLE, room, "above its floor%s; mode %s",
		    vm->settings.mode == CRAM_MODE_AUTO ? "" : ", if its mode were auto",
		    cram_mode_name(vm->settings.mode));
	return room;
}

static uint64_t check_vm(struct daemon *d, struct vm *vm, struct findings *f)
{
	size_t first = f->n;
	uint64_t room = find_about(d, vm, f);
	char subject[280], clamped[128];

	TEXT(subject, "vm \"%s\"", vm->name);
	if (daemon_clamped(vm, clamped, sizeof(clamped))[0])
		add(f, "warning", subject, CRAM_FINDING_CLAMPED, vm->settings.floor_asked, "%s",
		    clamped);
	for (size_t i = first; i < f->n; i++) {
		TEXT(f->v[i].uuid, "%s", vm->uuid);
		TEXT(f->v[i].name, "%s", vm->name);
	}
	return room;
}

static void check_swap(const struct daemon *d, struct findings *f)
{
	bool wanted = d->conf.host.relief_swap == CRAM_YES;

	if (sysroot_meminfo(&d->host.root, "SwapTotal:") == 0)
		add(f, wanted ? "warning" : "info", "host", CRAM_FINDING_NO_SWAP, 0,
		    "no swap: when DRAM and tier are full, only killing frees memory%s",
		    wanted ? "; relief_swap = yes has none to use" : "");
	else if (wanted && zswap_is_on(&d->host.root))
		add(f, "warning", "host", CRAM_FINDING_NO_SWAP, 0,
		    "relief_swap = yes has no swap to use: zswap is on, and its pool is DRAM");
	else if (wanted && disk_swap_free(&d->host.root) == 0)
		add(f, "warning", "host", CRAM_FINDING_NO_SWAP, 0,
		    "relief_swap = yes has no swap to use: what is on disks is full, or comes after "
		    "zram, which is DRAM");
}

/* What the kernel would do better with. */
static void check_kernel(const struct daemon *d, struct findings *f)
{
	char huge[128];

	check_swap(d, f);
	if (sysroot_read(&d->host.root, "/sys/kernel/mm/transparent_hugepage/shmem_enabled", huge,
			 sizeof(huge), NULL) == 0 &&
	    strstr(huge, "[never]"))
		add(f, "info", "host", CRAM_FINDING_SHMEM_THP, 0,
		    "huge pages are off for shared memory: RAM of memfd guests is mapped and moved "
		    "page by page; set transparent_hugepage/shmem_enabled to advise; a guest whose "
		    "QEMU uses a userfaultfd (postcopy, restored from a snapshot) is left alone "
		    "all the same");
}

/* As much as is to leave DRAM needs a place in swap, however small it is compressed. */
static void check_zswap(const struct daemon *d, size_t t, struct findings *f)
{
	const struct zswap *zswap = &d->snapshot.zswap;
	uint64_t wanted = 0;

	for (size_t i = 0; i < d->host.vms.n; i++) {
		const struct vm *vm = d->host.vms.v[i];

		if (vm->input.tier == (int)t && vm->input.dram > vm->settings.floor)
			wanted += vm->input.dram - vm->settings.floor;
	}
	add(f, "ok", "host", CRAM_FINDING_TIER, zswap->limit,
	    "of DRAM zswap takes pages, compressed by %s", zswap->compressor);
	if (zswap->swap_free < wanted)
		add(f, "warning", "host", CRAM_FINDING_ZSWAP_SWAP, wanted - zswap->swap_free,
		    "more swap is needed for what may leave DRAM: each page in zswap keeps a place "
		    "in it");
}

static void check_tier(const struct daemon *d, size_t t, struct findings *f)
{
	const struct cram_tier_input *tier = &d->snapshot.tiers[t];
	const struct node *node = nodes_find(&d->snapshot.nodes, tier->nid);

	if (node && node->no_policy)
		add(f, "info", "host", CRAM_FINDING_MEMORY_RECLAIM, d->snapshot.tier_capacity[t],
		    "this kernel lets nobody name node %d: memory goes there by memory.reclaim of "
		    "its cgroup, and the kernel chooses which",
		    tier->nid);
	if (tier->kind == CRAM_TIER_ZSWAP)
		check_zswap(d, t, f);
	else if (tier->kind != CRAM_TIER_CRAM || d->snapshot.cards[t].state <= CARD_THROTTLED)
		add(f, "ok", "host", CRAM_FINDING_TIER, d->snapshot.tier_capacity[t],
		    "node %d is a tier", tier->nid);
	else
		add(f, d->snapshot.cards[t].state == CARD_EVICTING ? "warning" : "error", "host",
		    CRAM_FINDING_TIER_STATE, d->snapshot.tier_capacity[t],
		    "the card of node %d is %s: nothing goes there; see the kernel log", tier->nid,
		    d->snapshot.tier_state[t]);
}

/* What is hot within a region, DAMON does not see; looks do. */
static void check_regions(struct daemon *d, struct findings *f)
{
	bool looks = atomic_load(&d->host.idle_active);
	uint64_t watched = 0, region;

	for (size_t i = 0; i < d->host.vms.n; i++)
		if (atomic_load(&d->host.vms.v[i]->watched))
			watched += d->host.vms.v[i]->ram;
	region = watched / d->conf.host.damon_max_regions;
	if (!host_damon_answers(&d->host) || region <= RANGE_BYTES)
		return;
	add(f, looks ? "info" : "warning", "host", CRAM_FINDING_DAMON_REGIONS, region,
	    "in a region of DAMON's, with damon_max_regions = %u: less that is hot in it %s",
	    d->conf.host.damon_max_regions,
	    looks ? "only looks will find" : "may be taken for cold");
}

/* Of a host with none. zswap is read here, for rounds read it for VMs that run alone. */
static void check_no_tier(const struct daemon *d, struct findings *f)
{
	uint32_t kinds = overcommit_kinds(d), compressed_swap = 1U << CRAM_TIER_ZSWAP;
	struct zswap zswap = {};

	if (kinds & compressed_swap) {
		zswap_read(&d->host.root, &zswap);
		if (!zswap.why[0]) {
			add(f, "ok", "host", CRAM_FINDING_TIER, zswap.limit,
			    "of DRAM zswap takes pages, of VMs that may use it: none runs");
			return;
		}
		add(f, "error", "host", CRAM_FINDING_NO_TIER, 0, "nothing goes to zswap: %s",
		    zswap.why);
	}
	if (kinds & ~compressed_swap)
		add(f, "error", "host", CRAM_FINDING_NO_TIER, 0,
		    "no slow memory: no card that compresses is online (cramctl node list), and no "
		    "node of tier_nodes, which is %s, has memory; compressed swap (tiers = zswap) "
		    "needs neither",
		    d->conf.host.tier_nodes);
}

size_t report_check(struct daemon *d, struct cram_check_report *findings, size_t max)
{
	struct findings f = { .v = findings, .max = max };
	char detector[32], note[256], why[256];
	uint64_t gain = 0;

	check_selling(d, &f);
	for (size_t i = 0; i < d->snapshot.nodes.n; i++)
		if (d->snapshot.nodes.v[i].has_memory &&
		    unfit_node(&d->snapshot.unfit, &d->snapshot.nodes.v[i], why, sizeof(why)))
			add(&f, "error", "host", CRAM_FINDING_COMPRESSING_NODE,
			    d->snapshot.nodes.v[i].total, "%s", why);
	if (d->snapshot.n_tiers == 0)
		check_no_tier(d, &f);
	for (size_t i = 0; i < d->snapshot.n_tiers; i++)
		check_tier(d, i, &f);
	detector_text(d, detector, sizeof(detector));
	if (detector_note(d, note, sizeof(note))[0])
		add(&f, "warning", "host", CRAM_FINDING_DETECTOR, 0, "%s", note);
	else if (strcmp(detector, "none") != 0)
		add(&f, "ok", "host", CRAM_FINDING_DETECTOR, 0, "cold memory is found by %s",
		    detector);
	else
		add(&f, "ok", "host", CRAM_FINDING_DETECTOR, 0,
		    "cold memory is looked for once there is a VM to watch");
	check_regions(d, &f);
	if (d->libvirt && !libvirt_connected(d->libvirt))
		add(&f, "warning", "host", CRAM_FINDING_NO_LIBVIRT, 0,
		    "libvirt at %s does not answer", d->conf.host.libvirt_uri);
	if (d->config_error[0])
		add(&f, "error", "host", CRAM_FINDING_CONFIG, 0, "%s", d->config_error);
	check_kernel(d, &f);
	for (size_t i = 0; i < d->host.vms.n; i++)
		gain += check_vm(d, d->host.vms.v[i], &f);
	if (d->snapshot.n_tiers)
		add(&f, "ok", "host", CRAM_FINDING_GAIN, gain,
		    "of the VMs' memory may leave DRAM once cold");
	return f.n;
}
