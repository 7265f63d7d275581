/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The service level of one VM: how much of what was demoted may be wanted back per minute, and what
 * follows for its automatic cold age and for whether it is demoted at all.
 */
#pragma once

#include "policy/policy.h"

struct cram_slo {
	uint64_t per_minute; /* bytes that came back within the last minute */
	uint64_t allowed;
};

/*
 * Brings @memory, that of @vm's input, up to @now_ms. What comes of it depends on when bytes came
 * back, not on how often this is called.
 */
struct cram_slo cram_slo_follow(const struct cram_policy_params *params,
				const struct cram_vm_input *vm, uint64_t now_ms,
				struct cram_policy_memory *memory);
