/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where a guest's RAM lies in its QEMU's address space, found from outside: the memory backends
 * that the command line gives the guest as RAM, matched against the mappings, and memory plugged in
 * later. Not about pages or their placement.
 */
#pragma once

#include "../eligible.h"
#include "proc.h"
#include "qemu.h"

#define RAMBLOCKS_MAX QEMU_BACKENDS_MAX

struct ramblock {
	char id[QEMU_ID_MAX]; /* backend id; empty: made up by QEMU, or plugged in later */
	uint64_t start, end;  /* in QEMU's address space */
	bool memfd;	      /* else anonymous */
	bool virtio_mem;      /* plugged in parts: the rest is holes */
	uint64_t offset;      /* into the memfd, of @start */
	unsigned int dev_major, dev_minor;
	uint64_t inode;
	bool plugged;		   /* later: no command line tells of it */
	struct proc_policy policy; /* what QEMU was told on its command line: to go back to */
};

struct ramblocks {
	size_t n;
	struct ramblock v[RAMBLOCKS_MAX];
};

/* What is known of a guest's RAM. */
struct ram_layout {
	uint64_t ram;	     /* bytes the guest was given: what has been sold */
	uint64_t virtio_mem; /* of that, what virtio-mem was to plug at the start */
	/* VM_ELIGIBLE: @blocks is all of it. */
	enum vm_ineligible reason;
	char why[160]; /* the option and what to change; empty: see vm_ineligible_text() */
	struct ramblocks blocks;
};

/*
 * 0: *ret_layout says what is known, which may be that nothing can be done; -ESRCH: the process is
 * gone; other negative errors as reading gives them. Waits for the process's mmap lock.
 */
int ram_layout_read(const struct sysroot *root, pid_t pid, const struct qemu_cmdline *cmdline,
		    struct ram_layout *ret_layout);
