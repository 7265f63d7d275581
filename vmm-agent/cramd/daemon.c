// SPDX-License-Identifier: GPL-2.0-or-later
/* VMs coming, going, and their settings; see daemon.h. */
#include "daemon.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "util/file.h"
#include "util/plural.h"
#include "util/utf8.h"

/* That a process has been examined for longer than this is said. */
#define EXAMINED_LONG_MS 10000

/* A process of libvirt's that cannot be examined is tried again after this, doubling ... */
#define REFUSED_MS 5000
/* ... to this. */
#define REFUSED_MAX_MS 300000
#define REFUSALS_MAX   1024

/* A QEMU's address space changes with every thread it starts; its RAM is looked for this often. */
#define RELAYOUT_MS 10000

void daemon_say_nothing_done(struct daemon *d, const struct vm *vm, const char *text)
{
	char name[201];

	if (!d->request.who[0] || d->request.did[0])
		return;
	if (vm)
		snprintf(d->request.did, sizeof(d->request.did), "vm \"%s\": %s",
			 utf8_head(name, sizeof(name), vm->name), text);
	else
		snprintf(d->request.did, sizeof(d->request.did), "the host: %s", text);
	utf8_trim(d->request.did);
}

void daemon_say(struct daemon *d, const char *type, const struct vm *vm, const char *fmt, ...)
{
	const char *who = d->request.who;
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	utf8_trim(text);
	if (vm)
		cram_log_info(&d->host.log, "vm \"%s\": %s%s%s", vm->name, text,
			      who[0] ? ", by " : "", who);
	else
		cram_log_info(&d->host.log, "the host: %s%s%s", text, who[0] ? ", by " : "", who);
	events_say(&d->events, type, vm, 0, "%s%s%s", text, who[0] ? ", by " : "", who);
	daemon_say_nothing_done(d, vm, text);
}

/* A file that is damaged, or not understood, is kept for a person. */
static void put_aside(struct daemon *d, const struct cram_error *err)
{
	char text[CRAM_ERROR_TEXT], aside[sizeof(d->overrides_path) + 16];

	snprintf(aside, sizeof(aside), "%s.damaged", d->overrides_path);
	cram_log_err(&d->host.log, "%s", cram_error_format(err, text, sizeof(text)));
	if (rename(d->overrides_path, aside) == 0)
		cram_log_err(&d->host.log, "it is kept as %s", aside);
	else
		cram_log_err(&d->host.log, "it cannot be kept as %s: %s", aside, strerror(errno));
}

/* What is in force, in place of what was put aside. */
static void save_rest(struct daemon *d)
{
	struct cram_error err = {};
	char text[CRAM_ERROR_TEXT];

	if (cram_overrides_save(d->overrides_path, &d->overrides, &err) < 0)
		cram_log_err(&d->host.log, "%s", cram_error_format(&err, text, sizeof(text)));
}

int daemon_load(struct daemon *d, struct cram_error *err)
{
	int r;

	r = cram_conf_load(d->conf_path, &d->conf, err);
	if (r < 0)
		return r;
	d->config_generation = 1;
	host_set_settings(&d->host, &d->conf.host);
	snprintf(d->overrides_path, sizeof(d->overrides_path), "%s/" CRAM_OVERRIDES,
		 d->conf.host.state_dir);
	r = cram_directory_make(d->conf.host.state_dir);
	if (r < 0)
		cram_log_warn(&d->host.log,
			      "%s: cannot be made: %s; what is paused, drained or set with "
			      "--persist will not outlive the agent",
			      d->conf.host.state_dir, strerror(-r));
	cram_file_sweep(d->overrides_path);
	r = cram_overrides_load(d->overrides_path, &d->overrides, err);
	if (r == -EBADMSG) {
		put_aside(d, err);
		/* It may have been: nothing goes out that an operator had stopped. */
		d->overrides = (struct cram_overrides){ .paused = true };
		cram_log_err(
			&d->host.log,
			"whether the host was paused is not known any more, so it is: see to it "
			"that this is what you want, then cramctl resume");
		save_rest(d);
		r = 0;
	} else if (r == 0 && d->overrides.left_out) {
		put_aside(d, err);
		cram_log_err(&d->host.log, "the rest of it is in force");
		save_rest(d);
	}
	atomic_store(&d->host.paused, d->overrides.paused);
	if (d->overrides.paused || d->overrides.drained)
		cram_log_info(&d->host.log, "the host is still %s, as was asked before",
			      d->overrides.drained ? "to be drained" : "paused");
	return r;
}

void daemon_fini(struct daemon *d)
{
	events_free(&d->events);
	array_free(&d->candidates);
	array_free(&d->refusals);
	array_free(&d->reservations);
	array_free(&d->actions);
	snapshot_free(&d->snapshot);
	dispatch_free(&d->dispatch);
	cram_policy_workspace_free(d->workspace);
	cram_overrides_free(&d->overrides);
	cram_conf_free(&d->conf);
}

int daemon_reload(struct daemon *d, struct cram_error *err)
{
	char changes[224];
	struct cram_conf conf;
	int r;

	r = cram_conf_load(d->conf_path, &conf, err);
	if (r < 0) {
		cram_error_format(err, d->config_error, sizeof(d->config_error));
		d->reload_failures++;
		cram_log_err(&d->host.log, "configuration not taken, the old one stays: %s",
			     d->config_error);
		daemon_say(d, "reload-refused", NULL, "configuration not taken: %s",
			   d->config_error);
		return r;
	}
	if (!cram_conf_changes(&d->conf, &conf, changes, sizeof(changes)))
		snprintf(changes, sizeof(changes), "nothing changed");
	cram_conf_free(&d->conf);
	d->conf = conf;
	d->config_error[0] = '\0';
	d->config_generation++;
	host_set_settings(&d->host, &d->conf.host);
	daemon_say(d, "reload", NULL, "configuration read again: %s", changes);
	for (size_t i = 0; i < d->host.vms.n; i++)
		daemon_resolve(d, d->host.vms.v[i]);
	return 0;
}

static int on_exit_of_vm(struct loop *loop, int fd, uint32_t events, void *userdata)
{
	struct daemon *d = userdata;

	(void)loop;
	(void)events;
	for (size_t i = 0; i < d->host.vms.n; i++) {
		struct vm *vm = d->host.vms.v[i];

		if (vm->pidfd != fd)
			continue;
		cram_log_info(&d->host.log, "vm \"%s\": gone (pid %d)", vm->name, (int)vm->pid);
		daemon_forget(d, vm);
		daemon_remove_vm(d, vm);
		break;
	}
	return 0;
}

struct vm *daemon_find_pid(const struct daemon *d, pid_t pid)
{
	for (size_t i = 0; i < d->host.vms.n; i++)
		if (d->host.vms.v[i]->pid == pid)
			return d->host.vms.v[i];
	return NULL;
}

struct vm *daemon_find_uuid(const struct daemon *d, const char *uuid)
{
	for (size_t i = 0; i < d->host.vms.n; i++)
		if (strcasecmp(d->host.vms.v[i]->uuid, uuid) == 0)
			return d->host.vms.v[i];
	return NULL;
}

int daemon_find_vm(const struct daemon *d, const char *name, struct vm **ret_vm)
{
	struct vm *found = NULL;

	for (size_t i = 0; i < d->host.vms.n; i++) {
		struct vm *vm = d->host.vms.v[i];

		if (strcmp(vm->name, name) != 0 && strcasecmp(vm->uuid, name) != 0)
			continue;
		if (found)
			return -ENOTUNIQ;
		found = vm;
	}
	if (!found)
		return -ENOENT;
	*ret_vm = found;
	return 0;
}

static struct daemon_candidate *find_candidate(const struct daemon *d, pid_t pid)
{
	for (size_t i = 0; i < d->candidates.n; i++)
		if (d->candidates.v[i].pid == pid)
			return &d->candidates.v[i];
	return NULL;
}

static void say_if_long(struct daemon *d, struct daemon_candidate *candidate)
{
	uint64_t ms = monotonic_ms() - candidate->since_ms;

	if (candidate->said || ms < EXAMINED_LONG_MS)
		return;
	candidate->said = true;
	cram_log_warn(&d->host.log,
		      "process %d: not examined after %" PRIu64
		      " s: it, or a QEMU before it, keeps its memory map locked",
		      (int)candidate->pid, ms / 1000);
}

int daemon_want_vm(struct daemon *d, pid_t pid, const struct libvirt_domain *domain,
		   struct cram_error *err)
{
	struct daemon_candidate *candidate = find_candidate(d, pid);
	const struct vm *vm = daemon_find_pid(d, pid);
	char object[64];
	int r;

	snprintf(object, sizeof(object), "process %d", (int)pid);
	if (vm && !vm->unexamined)
		return cram_error_set(err, -EEXIST, object, "add it as a VM", NULL,
				      "it is known already");
	if (!candidate) {
		r = array_reserve(&d->candidates, d->candidates.n + 1);
		if (r == 0)
			r = discover_want(&d->discover, pid);
		if (r < 0)
			return cram_error_set(err, r, object, "examine it", NULL, "%s",
					      strerror(-r));
		candidate = &d->candidates.v[d->candidates.n++];
		*candidate = (struct daemon_candidate){ .pid = pid, .since_ms = monotonic_ms() };
	}
	if (domain) {
		candidate->from_libvirt = true;
		candidate->domain = *domain;
	}
	say_if_long(d, candidate);
	return 0;
}

static int not_examined(const struct discovery *found, struct cram_error *err)
{
	char object[64];

	snprintf(object, sizeof(object), "process %d", (int)found->pid);
	if (found->r == -ENOEXEC)
		return cram_error_set(err, found->r, object, "add it as a VM",
				      "name the pid of a qemu-system process", "it is no QEMU");
	return cram_error_set(err, found->r, object, "examine it", NULL, "%s", strerror(-found->r));
}

/* Says, once, that a VM of libvirt's is not in, and when it is asked about again. */
static void refuse(struct daemon *d, pid_t pid, const struct cram_error *err)
{
	struct daemon_refusal *refusal = NULL;
	char text[CRAM_ERROR_TEXT];

	for (size_t i = 0; i < d->refusals.n && !refusal; i++)
		if (d->refusals.v[i].pid == pid)
			refusal = &d->refusals.v[i];
	if (!refusal) {
		cram_log_warn(&d->host.log,
			      "%s; libvirt has it as a domain, asked again from time to time",
			      cram_error_format(err, text, sizeof(text)));
		/* Those of processes long gone make room. */
		if (d->refusals.n == REFUSALS_MAX)
			d->refusals.n = 0;
		if (array_push(&d->refusals, (struct daemon_refusal){ .pid = pid }) < 0)
			return;
		refusal = &d->refusals.v[d->refusals.n - 1];
	}
	refusal->wait_ms = refusal->wait_ms ? refusal->wait_ms * 2 : REFUSED_MS;
	if (refusal->wait_ms > REFUSED_MAX_MS)
		refusal->wait_ms = REFUSED_MAX_MS;
	refusal->again_ms = monotonic_ms() + refusal->wait_ms;
}

static bool is_refused(const struct daemon *d, pid_t pid)
{
	for (size_t i = 0; i < d->refusals.n; i++)
		if (d->refusals.v[i].pid == pid)
			return monotonic_ms() < d->refusals.v[i].again_ms;
	return false;
}

/* Names in answers and metrics are unique, whatever QEMU was told. */
static void name_vm(const struct daemon *d, struct vm *vm)
{
	if (!vm->uuid[0] || daemon_find_uuid(d, vm->uuid))
		snprintf(vm->uuid, sizeof(vm->uuid), "pid-%d", (int)vm->pid);
	if (!vm->name[0])
		snprintf(vm->name, sizeof(vm->name), "pid-%d", (int)vm->pid);
}

/* Of VMs in one cgroup it is the first one's: limits and what is measured there are of one VM. */
static void find_cgroup_owner(struct daemon *d, struct vm *vm)
{
	bool others = false;

	for (size_t i = 0; i < d->host.vms.n && !others; i++) {
		const struct vm *other = d->host.vms.v[i];

		others = other != vm && !other->in_others_cgroup &&
			 cgroup_is_shared(&vm->cgroup, &other->cgroup);
	}
	pthread_mutex_lock(&vm->lock);
	vm->in_others_cgroup = others;
	pthread_mutex_unlock(&vm->lock);
}

static int take_in(struct daemon *d, struct vm *vm, bool from_libvirt, struct cram_error *err)
{
	char ram[32];
	int r;

	vm->from_libvirt = from_libvirt;
	name_vm(d, vm);
	find_cgroup_owner(d, vm);
	r = loop_add(&d->loop, vm->pidfd, EPOLLIN, on_exit_of_vm, d, &vm->exit);
	if (r == 0)
		r = host_add_vm(&d->host, vm);
	if (r < 0) {
		cram_error_set(err, r, vm->name, "take it in", NULL, "%s", strerror(-r));
		loop_remove(&d->loop, vm->exit);
		return r;
	}
	vm->reported_state = CRAM_N_VM_STATES;
	daemon_restore(d, vm);
	daemon_resolve(d, vm);
	cram_log_info(&d->host.log, "vm \"%s\": found (pid %d, %s, %zu RAM block%s)", vm->name,
		      (int)vm->pid, cram_size_format(vm->ram, ram, sizeof(ram)), vm->blocks.n,
		      plural(vm->blocks.n));
	events_say(&d->events, "vm-added", vm, vm->ram, "pid %d", (int)vm->pid);
	return 0;
}

/* So many blocks have been unplugged that there is no room for others: another takes its place. */
static int renew(struct daemon *d, struct vm **vm, const struct ram_layout *layout)
{
	struct vm *by;
	int r;

	r = vm_renew(*vm, layout, &by);
	if (r < 0)
		return r;
	r = loop_add(&d->loop, by->pidfd, EPOLLIN, on_exit_of_vm, d, &by->exit);
	if (r == 0) {
		loop_remove(&d->loop, (*vm)->exit);
		host_replace_vm(&d->host, *vm, by);
		*vm = by;
	}
	vm_unref(by);
	return r;
}

static size_t blocks_there(const struct vm *vm)
{
	size_t n = 0;

	for (size_t i = 0; i < vm->blocks.n; i++)
		n += vm_has_block(vm, i);
	return n;
}

/* The RAM of a VM was looked for again. */
static void take_layout(struct daemon *d, struct discovery *found)
{
	struct vm *vm = found->vm;
	uint64_t before = vm->ram;
	size_t blocks = blocks_there(vm);
	char ram[32];
	int r = -ESRCH;

	if (found->layout && !vm_gone(vm))
		r = vm_relayout(vm, found->layout);
	if (r == -E2BIG)
		r = renew(d, &vm, found->layout);
	if (r == 0 && (vm->ram != before || blocks_there(vm) != blocks)) {
		cram_log_info(&d->host.log, "vm \"%s\": has %s now, %zu RAM block%s", vm->name,
			      cram_size_format(vm->ram, ram, sizeof(ram)), blocks_there(vm),
			      plural(blocks_there(vm)));
		/* Its default floor is a part of its RAM. */
		daemon_resolve(d, vm);
	} else if (r < 0 && r != -ESRCH) {
		atomic_store(&vm->relayout, true);
	}
	free(found->layout);
	vm_unref(found->vm);
}

void daemon_relayout(struct daemon *d)
{
	uint64_t now = monotonic_ms();

	for (size_t i = 0; i < d->host.vms.n; i++) {
		struct vm *vm = d->host.vms.v[i];

		/* Without its command line nothing can be said of its mappings. */
		if (vm->unexamined || now < vm->relayout_ms ||
		    !atomic_exchange(&vm->relayout, false))
			continue;
		vm->relayout_ms = now + (vm->blocks.n ? RELAYOUT_MS : RELAYOUT_MS / 10);
		discover_want_layout(&d->discover, vm);
	}
}

/* What cannot be examined runs all the same, and its memory has been sold. */
static void take_in_unexamined(struct daemon *d, const struct discovery *found,
			       const struct libvirt_domain *domain)
{
	struct cram_error err = {};
	struct vm *vm;
	int r;

	if (daemon_find_pid(d, found->pid) ||
	    vm_new_unexamined(&d->host.root, found->pid, found->r, &vm) < 0)
		return;
	vm->unexamined = true;
	vm->scanned_ms = monotonic_ms();
	vm->ram = domain->domain.ram;
	memcpy(vm->cmdline.uuid, domain->uuid, sizeof(vm->cmdline.uuid));
	memcpy(vm->uuid, domain->uuid, sizeof(vm->uuid));
	memcpy(vm->name, domain->name, sizeof(vm->name));
	r = take_in(d, vm, true, &err);
	vm_unref(vm);
	if (r < 0)
		return;
	daemon_wake(d);
	daemon_domain(d, domain);
}

/* It is examined by now: @vm takes the place of what stood for it. */
static void replace_unexamined(struct daemon *d, struct vm *vm)
{
	struct vm *old = daemon_find_pid(d, vm->pid);

	if (!old)
		return;
	vm->cli_layer = old->cli_layer;
	daemon_remove_vm(d, old);
}

void daemon_discovered(struct daemon *d)
{
	struct discovery found;

	while (discover_next(&d->discover, &found)) {
		struct daemon_candidate *entry = find_candidate(d, found.pid), candidate;
		struct cram_error err = {};
		int r;

		if (!entry || found.layout || (found.r < 0 && found.vm)) {
			take_layout(d, &found);
			continue;
		}
		candidate = *entry;
		*entry = d->candidates.v[--d->candidates.n];
		if (found.r == 0)
			replace_unexamined(d, found.vm);
		r = found.r < 0 ? not_examined(&found, &err)
				: take_in(d, found.vm, candidate.from_libvirt, &err);
		events_examined(&d->events, found.pid, r < 0 ? NULL : found.vm, &err);
		vm_unref(found.vm);
		if (r == 0)
			daemon_wake(d);
		if (r == 0 && candidate.from_libvirt)
			daemon_domain(d, &candidate.domain);
		if (r == 0 || r == -ESRCH || !candidate.from_libvirt)
			continue;
		refuse(d, found.pid, &err);
		if (found.r < 0)
			take_in_unexamined(d, &found, &candidate.domain);
	}
}

void daemon_remove_vm(struct daemon *d, struct vm *vm)
{
	events_say(&d->events, "vm-removed", vm, 0, "pid %d", (int)vm->pid);
	pthread_mutex_lock(&vm->lock);
	d->host.gone.demoted += vm->counters.demoted;
	d->host.gone.promoted += vm->counters.promoted;
	d->host.gone.refused += vm->counters.refused;
	pthread_mutex_unlock(&vm->lock);
	loop_remove(&d->loop, vm->exit);
	host_remove_vm(&d->host, vm);
	for (size_t i = 0; i < d->host.vms.n; i++)
		if (d->host.vms.v[i]->in_others_cgroup)
			find_cgroup_owner(d, d->host.vms.v[i]);
}

const char *daemon_clamped(const struct vm *vm, char *buf, size_t size)
{
	char asked[32], ram[32];

	buf[0] = '\0';
	if (vm->settings.floor_asked > vm->settings.floor)
		snprintf(buf, size,
			 "a floor of %s is more than its RAM: all of it, %s, stays in DRAM",
			 cram_size_format(vm->settings.floor_asked, asked, sizeof(asked)),
			 cram_size_format(vm->settings.floor, ram, sizeof(ram)));
	return buf;
}

void daemon_resolve_quietly(struct daemon *d, struct vm *vm)
{
	struct cram_vm_identity id = { .name = vm->name, .uuid = vm->uuid };
	const struct cram_override *remembered = cram_overrides_find(&d->overrides, vm->uuid);
	struct cram_vm_settings before = vm->settings;
	char changes[64];

	if (vm->has_domain) {
		id.partition = vm->domain.partition;
		id.flavour = vm->domain.flavour;
	}
	cram_settings_resolve(&d->conf, &id, vm->ram, vm->has_xml ? &vm->xml_layer : NULL,
			      &vm->cli_layer, remembered ? &remembered->layer : NULL,
			      &vm->settings);
	/* Whatever was decided under the old settings and is not yet done is not done any more. */
	if (cram_settings_changes(&before, &vm->settings, changes, sizeof(changes)))
		atomic_fetch_add(&vm->epoch, 1);
}

void daemon_say_settings(struct daemon *d, struct vm *vm, const struct cram_vm_settings *before)
{
	char changes[224], clamped[128];

	if (vm->settings.floor_asked != before->floor_asked &&
	    daemon_clamped(vm, clamped, sizeof(clamped))[0])
		cram_log_warn(&d->host.log, "vm \"%s\": %s", vm->name, clamped);
	if (!cram_settings_changes(before, &vm->settings, changes, sizeof(changes)))
		daemon_say_nothing_done(d, vm, "nothing changed, it was so before");
	else if (vm->has_action || d->request.who[0])
		daemon_say(d, "settings", vm, "%s", changes);
}

void daemon_resolve(struct daemon *d, struct vm *vm)
{
	struct cram_vm_settings before = vm->settings;

	daemon_resolve_quietly(d, vm);
	daemon_say_settings(d, vm, &before);
}

/*
 * Are the settings in @domain wrong? A setting that has gone, where something is that nobody knows,
 * has been misspelt, be it all of them: <qouta> is no leave to fill the card.
 */
static bool is_bad(const struct vm *vm, const struct libvirt_domain *domain)
{
	const struct cram_domain *xml = &domain->domain;
	uint32_t left = xml->has_tiering ? xml->tiering.set : 0;

	if (!domain->has_domain)
		return false;
	return xml->bad_tiering || (xml->warning[0] && vm->xml_layer.set & ~left);
}

/* What is wrong with the settings in @domain is said once, and counted. */
static void take_note(struct daemon *d, struct vm *vm, const struct libvirt_domain *domain,
		      bool bad)
{
	if (strcmp(vm->note, domain->note) != 0 && domain->note[0]) {
		cram_log_warn(&d->host.log, "vm \"%s\": %s%s", vm->name, domain->note,
			      !bad	       ? ""
			      : vm->has_domain ? "; what was in force stays"
					       : "; it is only monitored until that is corrected");
		if (bad) {
			d->bad_domain_settings++;
			events_say(&d->events, "settings-refused", vm, 0, "%s", domain->note);
		}
	}
	memcpy(vm->note, domain->note, sizeof(vm->note));
	vm->settings_refused = bad;
}

/*
 * The settings in the XML. Bad ones change nothing that is in force, as a bad reload does not: a
 * typo must not strand memory on the tier, nor lift a quota. Where nothing was in force yet they
 * are safe ones, whatever the host's default is: the VM is measured, and not touched.
 */
static void take_xml(struct vm *vm, const struct libvirt_domain *domain, bool bad)
{
	if (!domain->has_domain)
		return;
	if (!bad) {
		vm->has_xml = domain->domain.has_tiering;
		vm->xml_layer = domain->domain.tiering;
	} else if (!vm->has_domain) {
		vm->has_xml = true;
		vm->xml_layer = (struct cram_vm_layer){
			.set = 1U << CRAM_SET_MODE,
			.mode = CRAM_MODE_MONITOR,
		};
	}
}

/* What else the XML says. One that cannot be read says nothing, and what was known stays. */
static void take_domain(struct vm *vm, const struct libvirt_domain *domain)
{
	if (!domain->has_domain)
		return;
	vm->has_domain = true;
	vm->domain = domain->domain;
	pthread_mutex_lock(&vm->lock);
	vm->realtime = domain->domain.realtime;
	vm->vhost_user = domain->domain.vhost_user;
	pthread_mutex_unlock(&vm->lock);
}

void daemon_domain(struct daemon *d, const struct libvirt_domain *domain)
{
	struct vm *vm;
	bool bad;

	if (!domain->running || domain->pid <= 0)
		return; /* a VM's end is told by its pidfd, not by libvirt */
	vm = daemon_find_pid(d, domain->pid);
	if (!vm) {
		/* Comes back here with @domain, or with what libvirt has said by then. */
		if (!is_refused(d, domain->pid))
			daemon_want_vm(d, domain->pid, domain, NULL);
		return;
	}
	/* What it is listed by may be another: see name_vm(). */
	if (strcasecmp(vm->cmdline.uuid, domain->uuid) != 0) {
		/* The pid file is older than the process: it is not that domain. */
		if (vm->from_libvirt)
			daemon_remove_vm(d, vm);
		return;
	}
	if (vm->unexamined && domain->has_domain)
		vm->ram = domain->domain.ram;
	if (vm->unexamined && !is_refused(d, domain->pid))
		daemon_want_vm(d, domain->pid, domain, NULL);
	memcpy(vm->name, domain->name, sizeof(vm->name));
	if (vm->paused_by_job != domain->busy) {
		vm->paused_by_job = domain->busy;
		atomic_fetch_add(&vm->epoch, 1);
	}
	vm->incoming = domain->incoming;
	bad = is_bad(vm, domain);
	take_note(d, vm, domain, bad);
	take_xml(vm, domain, bad);
	take_domain(vm, domain);
	daemon_resolve(d, vm);
}

void daemon_wake(struct daemon *d)
{
	loop_timer_fire(d->round_timer, d->conf.host.round_ms);
}

uint64_t daemon_missing(const struct daemon *d, const struct vm *vm, uint64_t give_back)
{
	uint64_t room = 0;

	for (size_t i = 0; i < d->snapshot.n_dram; i++) {
		if (!(vm->input.home_mask & UINT64_C(1) << i))
			continue;
		if (d->decision.available[i] > d->decision.headroom[i])
			room += d->decision.available[i] - d->decision.headroom[i];
	}
	return give_back > room ? give_back - room : 0;
}
