/* SPDX-License-Identifier: GPL-2.0-or-later */
/* On which node pages of a process are, asked page by page. Moves nothing (act/move.h). */
#pragma once

#include "../kernel.h"

/*
 * Node of each of @n pages (at most PAGES_PER_RANGE) from @addr on, or a negative errno: -ENOENT
 * not present, -EFAULT zero page or no mapping. -ESRCH: the process is gone. Waits for the
 * process's mmap lock.
 */
int pages_where(const struct kernel *kernel, pid_t pid, uint64_t addr, size_t n, int *ret_nodes);
