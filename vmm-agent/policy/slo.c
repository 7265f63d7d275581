// SPDX-License-Identifier: GPL-2.0-or-later
/* What came back over a sliding minute, and what follows from it; see slo.h. */
#include "policy/slo.h"

#include <string.h>

#include "policy/saturate.h"

#define MINUTE_MS 60000U
#define SLOT_MS	  (MINUTE_MS / CRAM_SLO_SLOTS)

static uint64_t seconds_ms(uint32_t s)
{
	return (uint64_t)s * 1000;
}

/* A clock that went back (restored record, new boot) must not stop demotion for ever. */
static void believe(const struct cram_policy_params *p, uint64_t now, struct cram_policy_memory *m)
{
	if (m->first_seen_ms > now)
		m->first_seen_ms = max(now, 1);
	if (m->adjusted_ms > now || m->adjusted_ms == 0)
		m->adjusted_ms = now;
	if (m->busy_ms > now)
		m->busy_ms = now;
	m->backoff_shift = (uint32_t)min(m->backoff_shift, min(p->backoff_max_shift, 16));
	m->backoff_until_ms = min(m->backoff_until_ms,
				  add(now, seconds_ms(p->backoff_base_s) << m->backoff_shift));
	if (m->cold_age_s == 0)
		m->cold_age_s = p->cold_age_initial_s;
	m->cold_age_s = (uint32_t)min(max(m->cold_age_s, p->cold_age_min_s), p->cold_age_max_s);
}

/*
 * The minute is kept in slots; the one that is being filled is the youngest, so the sum is over 55
 * to 60 seconds: what was acted on a minute ago is not in it any more.
 */
static uint64_t last_minute(struct cram_policy_memory *m, uint64_t total, uint64_t now)
{
	uint64_t slot = now / SLOT_MS, sum = 0;

	if (slot < m->returned_slot || slot - m->returned_slot >= CRAM_SLO_SLOTS)
		memset(m->returned, 0, sizeof(m->returned));
	else
		while (m->returned_slot < slot)
			m->returned[++m->returned_slot % CRAM_SLO_SLOTS] = 0;
	m->returned_slot = slot;
	m->returned[slot % CRAM_SLO_SLOTS] =
		add(m->returned[slot % CRAM_SLO_SLOTS], sub(total, m->returned_seen));
	m->returned_seen = total;
	for (size_t i = 0; i < CRAM_SLO_SLOTS; i++)
		sum = add(sum, m->returned[i]);
	return sum;
}

/*
 * Up by half at once when too much came back, down by a tenth only after five quiet intervals,
 * because a wrong step down costs the guest and a wrong step up costs only time.
 */
static void adjust_cold_age(const struct cram_policy_params *p, const struct cram_vm_input *vm,
			    const struct cram_slo *slo, uint64_t now, struct cram_policy_memory *m)
{
	/* The effect of one step must be seen in a whole minute before the next. */
	uint64_t interval = max(seconds_ms(p->cold_age_adjust_s), MINUTE_MS);

	if (vm->cold_age_s != 0)
		return;
	if (slo->per_minute > slo->allowed) {
		if (now - m->adjusted_ms < interval)
			return;
		m->cold_age_s =
			(uint32_t)min(p->cold_age_max_s, (uint64_t)m->cold_age_s * 3 / 2 + 1);
	} else {
		if (vm->tier_bytes == 0 || now - max(m->adjusted_ms, m->busy_ms) < 5 * interval)
			return;
		m->cold_age_s = (uint32_t)max(p->cold_age_min_s, (uint64_t)m->cold_age_s * 9 / 10);
	}
	m->adjusted_ms = now;
}

/* A gross violation stops demotion altogether for a while, the next one for twice as long. */
static void back_off(const struct cram_policy_params *p, const struct cram_slo *slo, uint64_t now,
		     struct cram_policy_memory *m)
{
	if (slo->per_minute / p->backoff_factor > slo->allowed && now >= m->backoff_until_ms) {
		m->backoff_until_ms = add(now, seconds_ms(p->backoff_base_s) << m->backoff_shift);
		if (m->backoff_shift < p->backoff_max_shift)
			m->backoff_shift++;
	} else if (m->backoff_shift > 0 && now >= add(max(m->backoff_until_ms, m->busy_ms),
						      10 * seconds_ms(p->backoff_base_s))) {
		/* Trust comes back one step at a time, after ten quiet base intervals each. */
		m->backoff_shift--;
		m->backoff_until_ms = now;
	}
}

struct cram_slo cram_slo_follow(const struct cram_policy_params *params,
				const struct cram_vm_input *vm, uint64_t now_ms,
				struct cram_policy_memory *memory)
{
	struct cram_slo slo = {
		.allowed = max(scale(vm->accessed_bytes, params->slo_ppm, 1000000),
			       params->slo_min_bytes),
	};

	/* What came back before the VM was first seen came back from somebody else's decision. */
	if (memory->first_seen_ms == 0) {
		memory->first_seen_ms = max(now_ms, 1);
		memory->returned_seen = vm->returned_total;
	}
	believe(params, now_ms, memory);
	slo.per_minute = last_minute(memory, vm->returned_total, now_ms);
	if (slo.per_minute > slo.allowed / 2)
		memory->busy_ms = now_ms;
	adjust_cold_age(params, vm, &slo, now_ms, memory);
	back_off(params, &slo, now_ms, memory);
	return slo;
}
