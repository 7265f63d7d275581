/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The NUMA policy of a guest's memfd RAM, set from outside: where its pages may be. Moves nothing;
 * moving is move.h's.
 */
#pragma once

#include "../sense/ramblock.h"

/*
 * Gives the whole of @block's memfd @policy, by a mapping of our own
 * that is never touched and gone before this returns: a kept descriptor would keep a dead guest's
 * memory. -EOPNOTSUPP: anonymous RAM, whose policy only its own process can set; -ESTALE: the
 * descriptor is no longer the block's; -EINVAL: none of its nodes has memory.
 */
int mapping_set(const struct sysroot *root, pid_t pid, const struct ramblock *block,
		const struct proc_policy *policy);
