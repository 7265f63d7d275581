/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where a guest's RAM lies in its QEMU's address space, found from outside: memory backends of the
 * command line matched against the mappings. Not about pages or their placement.
 */
#pragma once

#include "proc.h"
#include "qemu.h"

#define RAMBLOCKS_MAX QEMU_BACKENDS_MAX

struct ramblock {
	char id[64];	     /* backend id; empty when QEMU was given none */
	uint64_t start, end; /* in QEMU's address space */
	bool memfd;	     /* else anonymous */
	uint64_t offset;     /* into the memfd, of @start */
	unsigned int dev_major, dev_minor;
	uint64_t inode;
	/* The policy to go back to: what QEMU was told on its command line. */
	enum proc_mpol policy;
	uint64_t policy_nodes;
};

struct ramblocks {
	size_t n;
	struct ramblock v[RAMBLOCKS_MAX];
};

/*
 * -ENOENT: some backend's mapping is not there (QEMU still starting, or an unknown layout);
 * -ENOTUNIQ: more than one mapping fits, so none may be touched; -EOPNOTSUPP: RAM that cannot be
 * moved this way (hugetlb, files).
 */
int ramblocks_find(const struct sysroot *root, pid_t pid, const struct qemu_cmdline *cmdline,
		   struct ramblocks *ret_blocks);
