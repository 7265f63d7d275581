// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What operators ask for: pause, drain, settings. In force at once; what must outlive the agent is
 * on disk before it is answered. The functions are declared in daemon.h.
 */
#include "overcommit.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "policy/saturate.h"
#include "util/plural.h"
#include "util/utf8.h"

/* ------------------------------------------------------------------ pause and drain */

static int save(struct daemon *d, struct cram_error *err)
{
	return cram_overrides_save(d->overrides_path, &d->overrides, err);
}

/* What is remembered of @vm, with nothing in it when it is nothing. */
static struct cram_override remembered(const struct daemon *d, const struct vm *vm)
{
	const struct cram_override *o = cram_overrides_find(&d->overrides, vm->uuid);
	struct cram_override ret = {};

	if (o)
		ret = *o;
	else
		snprintf(ret.uuid, sizeof(ret.uuid), "%s", vm->uuid);
	snprintf(ret.name, sizeof(ret.name), "%s", vm->name);
	return ret;
}

/* A VM without a UUID has to be added by hand after a restart, and is asked for again then. */
static int remember(struct daemon *d, const struct vm *vm, struct cram_error *err)
{
	struct cram_override o = remembered(d, vm);
	int r;

	o.paused = vm->paused_by_operator;
	o.drained = vm->drain_asked;
	o.started = vm->start_time;
	r = cram_overrides_put(&d->overrides, &o);
	if (r == -EINVAL)
		return 0;
	return r < 0 ? r : save(d, err);
}

/* In force whether it could be kept or not: whoever pauses a host whose disk is full needs it. */
static int kept(struct daemon *d, const char *what, int r, struct cram_error *err)
{
	struct cram_error unwanted = {};
	char text[CRAM_ERROR_TEXT];

	if (r == 0)
		return 0;
	if (!err)
		err = &unwanted;
	if (err->code == 0)
		cram_error_set(err, r, d->overrides_path, "keep it", NULL, "%s", strerror(-r));
	cram_error_prefix(err, "%s is in force, but ends with this run of the agent", what);
	cram_log_warn(&d->host.log, "%s", cram_error_format(err, text, sizeof(text)));
	return r;
}

static void apply(struct daemon *d, struct vm *vm)
{
	vm->drain = vm->drain_asked || d->overrides.drained;
	/* What was decided before and is not yet done is not done any more. */
	atomic_fetch_add(&vm->epoch, 1);
}

static void apply_to_all(struct daemon *d)
{
	atomic_store(&d->host.paused, d->overrides.paused);
	for (size_t i = 0; i < d->host.vms.n; i++)
		apply(d, d->host.vms.v[i]);
}

static void say(struct daemon *d, const char *type, const struct vm *vm, bool changes,
		const char *text, const char *already)
{
	if (changes)
		daemon_say(d, type, vm, "%s", text);
	else
		daemon_say_nothing_done(d, vm, already);
}

int daemon_pause(struct daemon *d, struct vm *vm, struct cram_error *err)
{
	if (!vm) {
		say(d, "pause", NULL, !d->overrides.paused, "paused", "paused already");
		d->overrides.paused = true;
		apply_to_all(d);
		return kept(d, "pause", save(d, err), err);
	}
	say(d, "pause", vm, !vm->paused_by_operator, "paused", "paused already");
	vm->paused_by_operator = true;
	apply(d, vm);
	return kept(d, "pause", remember(d, vm, err), err);
}

int daemon_drain(struct daemon *d, struct vm *vm, struct cram_error *err)
{
	if (!vm) {
		say(d, "drain", NULL, !d->overrides.drained, "to be drained",
		    "to be drained already");
		d->overrides.drained = true;
		apply_to_all(d);
		return kept(d, "drain", save(d, err), err);
	}
	say(d, "drain", vm, !vm->drain_asked, "to be drained", "to be drained already");
	vm->drain_asked = true;
	apply(d, vm);
	return kept(d, "drain", remember(d, vm, err), err);
}

int daemon_resume(struct daemon *d, struct vm *vm, struct cram_error *err)
{
	if (!vm) {
		say(d, "resume", NULL, d->overrides.paused || d->overrides.drained, "resumed",
		    "neither paused nor drained as a whole");
		d->overrides.paused = d->overrides.drained = false;
		apply_to_all(d);
		return kept(d, "resume", save(d, err), err);
	}
	say(d, "resume", vm, vm->paused_by_operator || vm->drain_asked,
	    d->overrides.drained  ? "resumed, but the host is drained"
	    : d->overrides.paused ? "resumed, but the host is paused"
				  : "resumed",
	    d->overrides.drained || d->overrides.paused
		    ? "neither paused nor drained by itself, but the host is"
		    : "neither paused nor drained");
	vm->paused_by_operator = vm->drain_asked = false;
	apply(d, vm);
	return kept(d, "resume", remember(d, vm, err), err);
}

void daemon_restore(struct daemon *d, struct vm *vm)
{
	const struct cram_override *o = cram_overrides_find(&d->overrides, vm->uuid);

	/* Asked of that process: the next one of the same VM starts afresh. */
	if (o && o->started == vm->start_time) {
		vm->paused_by_operator = o->paused;
		vm->drain_asked = o->drained;
	}
	apply(d, vm);
	if (vm->paused_by_operator || vm->drain)
		cram_log_info(&d->host.log, "vm \"%s\": still %s, as was asked before", vm->name,
			      vm->drain ? "to be drained" : "paused");
}

void daemon_forget(struct daemon *d, struct vm *vm)
{
	struct cram_error err = {};
	char text[CRAM_ERROR_TEXT];

	if (!vm->paused_by_operator && !vm->drain_asked)
		return;
	vm->paused_by_operator = vm->drain_asked = false;
	if (remember(d, vm, &err) < 0)
		cram_log_warn(&d->host.log, "%s", cram_error_format(&err, text, sizeof(text)));
}

/* "cram 24 MiB, zswap 8 MiB": what VMs have on each kind of tier, as of the last round. */
static void say_where(const struct snapshot *s, char *buf, size_t size)
{
	buf[0] = '\0';
	for (int kind = 0; kind < CRAM_N_TIERS; kind++) {
		uint64_t bytes = 0;
		size_t n = strlen(buf);
		char text[32];

		for (size_t t = 0; t < s->n_tiers; t++)
			bytes += s->tiers[t].kind == (enum cram_tier)kind ? s->tier_used[t] : 0;
		if (bytes)
			snprintf(buf + n, size - n, "%s%s %s", n ? ", " : "",
				 cram_tier_name((enum cram_tier)kind),
				 cram_size_format(bytes, text, sizeof(text)));
	}
}

void daemon_say_left(struct daemon *d)
{
	char size[32], where[128];
	uint64_t bytes = 0;
	size_t vms = 0;

	for (size_t i = 0; i < d->host.vms.n; i++) {
		bytes += d->host.vms.v[i]->input.tier_bytes;
		vms += d->host.vms.v[i]->input.tier_bytes != 0;
	}
	if (!bytes)
		return;
	say_where(&d->snapshot, where, sizeof(where));
	cram_log_warn(&d->host.log,
		      "%s of %zu VM%s stay on tiers (%s), and no agent brings them home until one "
		      "runs again; before stopping for good: cramctl drain --all",
		      cram_size_format(bytes, size, sizeof(size)), vms, plural(vms), where);
}

/* ------------------------------------------------------------------ settings */

/* Copies the settings in @from->set to @to, and forgets those in @clear. */
static void merge(struct cram_vm_layer *to, const struct cram_vm_layer *from, uint32_t clear)
{
	to->set = (to->set & ~clear) | from->set;
	if (from->set & 1U << CRAM_SET_MODE)
		to->mode = from->mode;
	if (from->set & 1U << CRAM_SET_QUOTA)
		to->quota = from->quota;
	if (from->set & 1U << CRAM_SET_HARD_LIMIT)
		to->hard_limit = from->hard_limit;
	if (from->set & 1U << CRAM_SET_FLOOR) {
		to->floor = from->floor;
		to->floor_percent = from->floor_percent;
		to->floor_is_percent = from->floor_is_percent;
	}
	if (from->set & 1U << CRAM_SET_WEIGHT)
		to->weight = from->weight;
	if (from->set & 1U << CRAM_SET_COLD_AGE)
		to->cold_age_s = from->cold_age_s;
	if (from->set & 1U << CRAM_SET_TIERS)
		to->tiers = from->tiers;
}

static uint64_t promised_in_dram(const struct daemon *d)
{
	struct cram_overcommit_input in;

	overcommit_input(d, NULL, &in);
	return in.sold.dram;
}

/*
 * Do the floors fit into DRAM with the settings @vm now has? Where they did not before, when they
 * were @before in all, whatever makes it no worse is a way out.
 */
static int check_floors(const struct daemon *d, const struct vm *vm, uint64_t before,
			struct cram_error *err)
{
	struct cram_overcommit_input in;
	struct cram_overcommit figures;
	char object[300], floors[32], dram[32];

	overcommit_input(d, NULL, &in);
	cram_overcommit(&in, &figures);
	if (!figures.floors_exceed || in.sold.dram <= before)
		return 0;
	snprintf(object, sizeof(object), "vm \"%s\"", vm->name);
	return cram_error_set(
		err, -ERANGE, object, "take this floor",
		"lower a floor, or the reserve of the host",
		"floors of %s in all, and what is pinned, exceed the %s of DRAM for guests",
		cram_size_format(in.sold.dram, floors, sizeof(floors)),
		cram_size_format(figures.usable, dram, sizeof(dram)));
}

/* Puts back what was remembered, after a change that was refused. */
static void put_back(struct daemon *d, const struct cram_override *before)
{
	struct cram_error err = {};
	char text[CRAM_ERROR_TEXT];
	int r = cram_overrides_put(&d->overrides, before);

	if (r == 0)
		r = save(d, &err);
	else
		cram_error_set(&err, r, d->overrides_path, "put it back", NULL, "%s", strerror(-r));
	if (r < 0)
		cram_log_err(&d->host.log, "a refused setting may be in force after a restart: %s",
			     cram_error_format(&err, text, sizeof(text)));
}

int daemon_set(struct daemon *d, struct vm *vm, const struct cram_set_request *set,
	       struct cram_error *err)
{
	struct cram_override before = remembered(d, vm), after = before;
	struct cram_vm_layer cli = vm->cli_layer;
	struct cram_vm_settings were = vm->settings;
	uint64_t floors = promised_in_dram(d);
	int r = 0;

	if (set->persist) {
		/* What is remembered replaces what was only for now. */
		merge(&vm->cli_layer, &(struct cram_vm_layer){}, set->layer.set | set->clear);
		merge(&after.layer, &set->layer, set->clear);
		r = cram_overrides_put(&d->overrides, &after);
		if (r == -EINVAL)
			cram_error_set(err, r, NULL, NULL, NULL,
				       "a VM without a UUID cannot be remembered");
		else if (r == 0)
			r = save(d, err); /* not on disk is not in force */
	} else {
		merge(&vm->cli_layer, &set->layer, set->clear);
	}
	daemon_resolve_quietly(d, vm);
	if (r == 0 && set->layer.set & (1U << CRAM_SET_FLOOR | 1U << CRAM_SET_MODE))
		r = check_floors(d, vm, floors, err);
	if (r == 0) {
		daemon_say_settings(d, vm, &were);
		return 0;
	}
	if (err->code == 0)
		cram_error_set(err, r, vm->name, "take the settings", NULL, "%s", strerror(-r));
	vm->cli_layer = cli;
	if (set->persist && r != -EINVAL)
		put_back(d, &before);
	daemon_resolve_quietly(d, vm);
	return r;
}

int daemon_drop(struct daemon *d, struct vm *vm, struct cram_error *err)
{
	const struct cram_set_request all = {
		.clear = (1U << CRAM_N_SETTINGS) - 1,
		.persist = cram_overrides_find(&d->overrides, vm->uuid),
	};

	return daemon_set(d, vm, &all, err);
}

int daemon_drop_gone(struct daemon *d, const char *name, struct cram_error *err)
{
	const struct cram_override *found;
	struct cram_override before, nothing = {};
	char kept[128], called[201];
	int r;

	r = cram_overrides_named(&d->overrides, name, &found);
	if (r < 0)
		return r;
	before = *found;
	memcpy(nothing.uuid, before.uuid, sizeof(nothing.uuid));
	r = cram_overrides_put(&d->overrides, &nothing);
	if (r == 0)
		r = save(d, err);
	if (r < 0) {
		if (err->code == 0)
			cram_error_set(err, r, before.uuid, "drop what is kept", NULL, "%s",
				       strerror(-r));
		put_back(d, &before);
		/* What is not there is the directory of the file, not the VM. */
		return r == -ENOENT ? -EIO : r;
	}
	daemon_say(d, "settings", NULL, "of vm \"%s\", which is gone, no longer kept: %s",
		   before.name[0] ? utf8_head(called, sizeof(called), before.name) : before.uuid,
		   cram_override_text(&before, kept, sizeof(kept)));
	return 0;
}

uint64_t daemon_give_back(const struct vm *vm)
{
	const struct cram_vm_settings *s = &vm->settings;
	uint64_t limit = s->quota < s->hard_limit ? s->quota : s->hard_limit;

	if (vm->drain || s->mode != CRAM_MODE_AUTO)
		limit = 0;
	return vm->input.tier_bytes > limit ? vm->input.tier_bytes - limit : 0;
}
