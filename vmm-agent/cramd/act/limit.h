/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the kernel holds each VM to, on tiers where it can. It counts bytes of the VM's own, and
 * goes on holding when the agent is gone. Loop only.
 */
#pragma once

#include "../sense/snapshot.h"

/*
 * As was decided for @vm: on its own tier what its action says, on all others nothing. To be called
 * before anything is moved out. 0 or -errno: what holds now may be less than was decided.
 */
int limit_keep(const struct vm *vm, const struct snapshot *s);
