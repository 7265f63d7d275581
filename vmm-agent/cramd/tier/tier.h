/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What differs between kinds of slow memory; one file each. What to do with it is decided in
 * policy/, the same for all.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "policy/policy.h"

struct cram_host_settings;
struct host;
struct node;
struct snapshot;
struct vm;

struct tier {
	enum cram_tier kind;

	/* Is @node of this kind, in whatever state? NULL: it is no node; there is one at most. */
	bool (*takes)(const struct node *node, const struct cram_host_settings *set);

	/*
	 * What policy reads of @s->tiers[@t], whose node is known, but for used_other; how much it
	 * holds, and its state for people. 0; -ENOENT: not of this kind after all.
	 */
	int (*read)(struct snapshot *s, size_t t, const struct host *host,
		    const struct cram_host_settings *set);

	/*
	 * May @vm use it, be it @node (NULL: it is none)? NULL: any may that its cpuset lets.
	 * false: @why says what stands in the way, and what to do. Loop only.
	 */
	bool (*fits)(const struct snapshot *s, const struct node *node, const struct vm *vm,
		     const struct cram_host_settings *set, char *why, size_t size);

	/*
	 * Of the VMs whose tier @t is, what they take there; and what nobody of them does. The
	 * bytes that they have there are known.
	 */
	void (*meter)(struct snapshot *s, size_t t, const struct host *host,
		      const struct cram_host_settings *set);

	/*
	 * Has the kernel hold @vm to @bytes of its own on such tiers. It takes nothing away that is
	 * there. NULL: there is no such limit. 0; -ENOENT: this kernel knows none, or the VM has no
	 * cgroup; another -errno.
	 */
	int (*limit)(const struct vm *vm, uint64_t bytes);
};

extern const struct tier tier_node, tier_cram, tier_zswap;

/* NULL: there is no such kind. */
const struct tier *tier_of_kind(enum cram_tier kind);
