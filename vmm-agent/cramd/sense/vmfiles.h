/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The small files a round reads of every VM: which they are, and what they say. They are read
 * together with those of other VMs (batch.h). Not about mappings or descriptors (proc.h).
 */
#pragma once

#include "batch.h"
#include "nodes.h"
#include "proc.h"

#define VM_FILES 5

struct vm_files {
	char status[16384]; /* masks of thousands of processors are printed in it */
	char stat[8192];
	char current[32], swap[32], zswap[32];
};

/*
 * Fills @reads for process @pid and its @cgroup (as /proc/PID/cgroup names it; empty: unknown), to
 * be read into @files. Returns how many, at most VM_FILES.
 */
size_t vm_files_want(struct vm_files *files, pid_t pid, const char *cgroup,
		     struct batch_read *reads);

/* What was read says so. -ESRCH: the process is gone; -EBADMSG: not the format of the file. */
int vm_files_status(const struct batch_read *reads, struct proc_status *ret_status);
/* @n as vm_files_want() returned it. -ENOENT: the group is gone or unknown. */
int vm_files_memcg(const struct batch_read *reads, size_t n, struct memcg *ret_memcg);
