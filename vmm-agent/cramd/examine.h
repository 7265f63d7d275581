/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Looks again at what may change while a VM runs: locks, pins, devices, cpuset, policies, how much
 * of it is where.
 */
#pragma once

#include "kernel.h"
#include "vm.h"

struct examination {
	const struct kernel *kernel;
	const struct sysroot *root;
	uint64_t tier_nodes;
	uint64_t now_ms;
	bool placement; /* read it: that walks the page tables of the whole guest */
};

/*
 * One thread at a time per VM; takes vm->lock for short moments only. Reading placement waits for
 * the process's mmap lock. @status is fresh. 0, or the negative errno of what could not be read: of
 * that, what was known before stays.
 */
int vm_examine(struct vm *vm, const struct examination *e, const struct proc_status *status);
