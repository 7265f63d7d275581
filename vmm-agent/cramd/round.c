// SPDX-License-Identifier: GPL-2.0-or-later
/* One round; see round.h. The deciding itself is in policy/. */
#include "round.h"

#include <string.h>

#include "announce.h"

/* No VM is waited for longer than this. */
#define GATHERING_MS 10000

static bool is_gathering(const struct daemon *d)
{
	return monotonic_ms() < d->started_ms + GATHERING_MS && (d->unlisted || d->candidates.n);
}

static int decide(struct daemon *d)
{
	const struct snapshot *s = &d->snapshot;
	uint64_t began_us = monotonic_us();

	if (array_reserve(&d->actions, s->view.n_vms) < 0 ||
	    cram_policy_workspace_reserve(&d->workspace, s->view.n_vms) < 0)
		return -ENOMEM;
	d->decision.actions = d->actions.v;
	if (cram_policy_decide(&d->conf.host.policy, &s->view, d->workspace, &d->decision) < 0)
		return -EINVAL;
	d->decision_us = monotonic_us() - began_us;
	host_took(&d->host, CRAM_DURATION_DECISION, d->decision_us);
	return 0;
}

/* What was decided is in force until the next round. */
static void take_effect(struct daemon *d)
{
	for (size_t i = 0; i < d->host.vms.n; i++) {
		struct vm *vm = d->host.vms.v[i];

		vm->action = d->actions.v[i];
		vm->policy_memory = vm->action.memory;
		vm->has_action = true;
		atomic_store(&vm->look_everywhere, vm->input.tier_bytes && vm->action.goes_home);
		atomic_store(&vm->cold_age_s, vm->action.cold_age_s);
	}
}

static int round_once(struct daemon *d)
{
	const struct cram_host_settings *set = &d->conf.host;
	int r;

	d->host.gathering = is_gathering(d);
	r = snapshot_take(&d->snapshot, &d->host, set, monotonic_ms());
	if (r < 0)
		return r;
	r = decide(d);
	if (r < 0)
		return r;
	take_effect(d);
	r = dispatch_work(&d->dispatch, &d->mover, &d->relief, &d->backpressure, &d->host, set,
			  &d->snapshot, &d->decision);
	announce(d);
	return r;
}

void round_run(struct daemon *d)
{
	uint64_t start_us = monotonic_us();
	int r;

	daemon_relayout(d);
	r = round_once(d);
	if (r < 0 && host_may_log(&d->host, monotonic_ms()))
		cram_log_err(&d->host.log,
			     "a round could not be finished: %s; the next one tries again",
			     strerror(-r));
	d->rounds++;
	if (r < 0 || d->snapshot.nodes_stale)
		d->rounds_failed++;
	d->round_us = monotonic_us() - start_us;
	host_took(&d->host, CRAM_DURATION_ROUND, d->round_us);
}
