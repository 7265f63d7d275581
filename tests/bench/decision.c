// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Time of one decision over N synthetic VMs (default 1000), in thread CPU time, with the shares
 * contended so that every pass has work. Prints one figure per line: "NAME VALUE".
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../unit/random.h"
#include "policy/policy.h"
#include "settings/settings.h"

#define ROUNDS 2001

static uint64_t cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
	size_t n = argc > 1 ? strtoul(argv[1], NULL, 10) : 1000;
	struct cram_vm_input *vms = calloc(n, sizeof(*vms));
	struct cram_vm_action *actions = calloc(n, sizeof(*actions));
	struct cram_dram_input dram[2] = { { .nid = 0, .total = 4 * TiB, .free = 256 * GiB },
					   { .nid = 1, .total = 4 * TiB, .free = 256 * GiB } };
	struct cram_tier_input tiers[2] = {
		{ .nid = 2, .budget = 512 * GiB, .free = 512 * GiB, .accepting = true },
		{ .nid = 3, .budget = 512 * GiB, .free = 512 * GiB, .accepting = true },
	};
	struct cram_snapshot snap = {
		.now_ms = 1000000,
		.demote_tokens = GiB,
		.promote_tokens = GiB,
		.dram = dram,
		.n_dram = 2,
		.tiers = tiers,
		.n_tiers = 2,
		.vms = vms,
		.n_vms = n,
	};
	struct cram_decision d = { .actions = actions };
	struct cram_policy_workspace *ws = NULL;
	static uint64_t ns[ROUNDS];
	struct cram_conf conf;
	uint64_t rng = 42;

	if (!vms || !actions || cram_policy_workspace_reserve(&ws, n) < 0)
		return 1;
	cram_conf_init(&conf);
	for (size_t i = 0; i < n; i++) {
		struct cram_vm_input *vm = &vms[i];

		vm->mode = CRAM_MODE_AUTO;
		vm->quota = random_in(&rng, 0, 1) ? CRAM_UNLIMITED : random_in(&rng, 0, 4) * GiB;
		vm->hard_limit = CRAM_UNLIMITED;
		vm->weight = (uint32_t)random_in(&rng, 1, 10000);
		vm->tier = (int)(i % 2);
		vm->home_mask = 1U << (i % 2);
		vm->ram = vm->eligible = 8 * GiB;
		vm->tier_bytes = random_in(&rng, 0, 2 * GiB);
		vm->device_bytes = vm->tier_bytes / 2;
		vm->dram = vm->ram - vm->tier_bytes;
		vm->floor = random_in(&rng, 0, 4) * GiB;
		vm->ratio_q16 = (uint32_t)random_in(&rng, 8192, 65536);
		vm->hot_bytes = random_in(&rng, 0, 3) ? 0 : random_in(&rng, 0, vm->tier_bytes);
		vm->accessed_bytes = GiB;
		vm->demote_tokens = vm->promote_tokens = 256 * MiB;
		for (unsigned int b = 0; b < CRAM_AGE_BUCKETS; b++)
			vm->cold[b] = random_in(&rng, 0, 256 * MiB);
		vm->memory.first_seen_ms = 1;
	}
	for (size_t i = 0; i < ROUNDS; i++) {
		uint64_t start = cpu_ns();

		if (cram_policy_decide(&conf.host.policy, &snap, ws, &d) < 0)
			return 1;
		ns[i] = cpu_ns() - start;
		for (size_t v = 0; v < n; v++)
			vms[v].memory = actions[v].memory;
		snap.now_ms += 2000;
	}
	qsort(ns, ROUNDS, sizeof(ns[0]), compare);
	printf("vms %zu\nmedian %.3f ms\np99 %.3f ms\nworst %.3f ms\n", n,
	       (double)ns[ROUNDS / 2] / 1e6, (double)ns[ROUNDS * 99 / 100] / 1e6,
	       (double)ns[ROUNDS - 1] / 1e6);
	cram_policy_workspace_free(ws);
	free(actions);
	free(vms);
	return 0;
}
