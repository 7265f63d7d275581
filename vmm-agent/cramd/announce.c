// SPDX-License-Identifier: GPL-2.0-or-later
/* What has changed, told to people; see announce.h. */
#include "announce.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "moves.h"

/* Once, until the node is fit again. */
static void announce_nodes(struct daemon *d)
{
	const struct snapshot *s = &d->snapshot;
	uint64_t unfit = s->unfit_nodes & ~d->reported_unfit;
	char why[256];

	d->reported_unfit = s->unfit_nodes;
	for (size_t i = 0; i < s->nodes.n; i++) {
		const struct node *node = &s->nodes.v[i];

		if (!(unfit & UINT64_C(1) << node->nid) ||
		    !unfit_node(&s->unfit, node, why, sizeof(why)))
			continue;
		cram_log_err(&d->host.log, "not used: %s", why);
		events_say(&d->events, "node-refused", NULL, node->total, "%s", why);
	}
}

static void log_reason(struct daemon *d, const struct vm *vm, enum vm_ineligible reason,
		       const char *why)
{
	if (!host_may_log(&d->host, monotonic_ms()))
		return;
	if (reason == VM_ELIGIBLE)
		cram_log_info(&d->host.log, "vm \"%s\": can be tiered", vm->name);
	else
		cram_log_info(&d->host.log, "vm \"%s\": left alone: %s", vm->name, why);
}

/* What a VM that is moved in small steps goes to and fro between is told when it has lasted. */
#define SETTLING_ROUNDS 3

static bool comes_and_goes(enum cram_vm_state state)
{
	return state == CRAM_VM_STEADY || state == CRAM_VM_DEMOTING || state == CRAM_VM_PROMOTING ||
	       state == CRAM_VM_OVER_SHARE;
}

static bool to_be_told(struct vm *vm)
{
	enum cram_vm_state state = vm->action.state;

	if (state != vm->settling_state)
		vm->settling_rounds = 0;
	vm->settling_state = state;
	vm->settling_rounds++;
	if (state == vm->reported_state)
		return false;
	return !comes_and_goes(state) || !comes_and_goes(vm->reported_state) ||
	       vm->settling_rounds >= SETTLING_ROUNDS;
}

/* So many more bytes of a VM are left where they are: then the log says why. */
#define REFUSED_TOLD (64 * MiB)

/* Once, until it can again, or something else is in the way. */
static void announce_trouble(struct daemon *d, const struct vm *vm, const char *what, int error,
			     int *reported)
{
	if (error == *reported)
		return;
	*reported = error;
	events_say(&d->events, error ? "trouble" : "trouble-over", vm, 0,
		   "its memory can%s be %s%s%s", error ? "not" : "", what, error ? ": " : " again",
		   error ? vm_trouble_text(error) : "");
	if (!host_may_log(&d->host, monotonic_ms()))
		return;
	if (error)
		cram_log_warn(&d->host.log, "vm \"%s\": its memory cannot be %s: %s", vm->name,
			      what, vm_trouble_text(error));
	else
		cram_log_info(&d->host.log, "vm \"%s\": its memory can be %s again", vm->name,
			      what);
}

static void announce_refusals(struct daemon *d, struct vm *vm)
{
	struct vm_counters counters;

	pthread_mutex_lock(&vm->lock);
	counters = vm->counters;
	pthread_mutex_unlock(&vm->lock);
	announce_trouble(d, vm, "moved", counters.move_error, &vm->reported_move_error);
	announce_trouble(d, vm, "looked at", counters.look_error, &vm->reported_look_error);
	announce_trouble(d, vm, "examined", counters.examine_error, &vm->reported_examine_error);
	if (counters.refused < vm->reported_refused + REFUSED_TOLD)
		return;
	if (host_may_log(&d->host, monotonic_ms()))
		cram_log_warn(&d->host.log,
			      "vm \"%s\": %" PRIu64
			      " MiB more were to be moved and were not; the last of it: %s",
			      vm->name, (counters.refused - vm->reported_refused) / MiB,
			      vm_trouble_text(counters.last_error));
	vm->reported_refused = counters.refused;
}

static void announce_vm(struct daemon *d, struct vm *vm)
{
	enum vm_ineligible reason;
	char why[sizeof(vm->why)];

	pthread_mutex_lock(&vm->lock);
	reason = vm->reason;
	snprintf(why, sizeof(why), "%s", vm_why(vm));
	pthread_mutex_unlock(&vm->lock);
	if (reason != vm->reported_reason && reason != VM_NOT_LOOKED) {
		vm->reported_reason = reason;
		log_reason(d, vm, reason, why);
	}
	announce_refusals(d, vm);
	if (to_be_told(vm)) {
		vm->reported_state = vm->action.state;
		cram_log_debug(&d->host.log, "vm \"%s\": %s, %" PRIu64 " MiB on the tier", vm->name,
			       cram_vm_state_name(vm->action.state), vm->input.tier_bytes / MiB);
		events_say(&d->events, "state", vm, vm->input.tier_bytes, "%s",
			   cram_vm_state_name(vm->action.state));
	}
}

void announce(struct daemon *d)
{
	announce_nodes(d);
	for (size_t i = 0; i < d->host.vms.n; i++)
		announce_vm(d, d->host.vms.v[i]);
}
