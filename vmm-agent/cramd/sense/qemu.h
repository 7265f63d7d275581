/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a QEMU command line says: name, UUID, memory backends, devices that forbid tiering.
 * Not about what became of it at run time (ramblock.h, proc.h).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define QEMU_NAME_MAX	  256
#define QEMU_UUID_TEXT	  37
#define QEMU_BACKENDS_MAX 32

enum qemu_backend_type {
	QEMU_BACKEND_RAM,
	QEMU_BACKEND_MEMFD,
	QEMU_BACKEND_FILE,
};

struct qemu_backend {
	enum qemu_backend_type type;
	char id[64];
	uint64_t size; /* bytes */
	bool hugetlb;
	bool share;
	/* NUMA policy QEMU was told to set: what undo goes back to. NULL policy means none. */
	char policy[16];     /* "", "default", "preferred", "bind", "interleave" */
	uint64_t host_nodes; /* mask */
};

struct qemu_cmdline {
	char name[QEMU_NAME_MAX];
	char uuid[QEMU_UUID_TEXT]; /* lower case; empty: none given */
	uint64_t ram_size;	   /* of -m, bytes; 0: not given */
	struct qemu_backend backends[QEMU_BACKENDS_MAX];
	size_t n_backends;
	bool kvm;	   /* only such guests' accesses are seen through nested page tables */
	bool locked;	   /* -overcommit mem-lock=on */
	bool vfio, vdpa;   /* -device vfio-*, vhost-vdpa */
	bool vhost_user;   /* another process maps guest RAM */
	bool confidential; /* SEV, SNP, TDX */
	bool incoming;	   /* started with -incoming */
};

/*
 * Parses @len bytes of /proc/PID/cmdline (arguments separated by zero bytes).
 * -EBADMSG: an option this depends on is malformed; -E2BIG: more backends than
 * QEMU_BACKENDS_MAX. Unknown options are skipped: QEMU has hundreds.
 */
int qemu_cmdline_parse(const char *cmdline, size_t len, struct qemu_cmdline *ret_cmdline);

/* Is argv[0]'s file name that of a QEMU system emulator (qemu-system-*, qemu-kvm, kvm)? */
bool qemu_is_emulator(const char *argv0);
