/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a QEMU command line says: name, UUID, memory backends and which of them are the guest's RAM,
 * devices that forbid tiering. Not about what became of it at run time (ramblock.h, proc.h).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/uuid.h"

#define QEMU_NAME_MAX	  256
#define QEMU_BACKENDS_MAX 32
#define QEMU_ID_MAX	  64
#define QEMU_PATH_MAX	  128

enum qemu_backend_type {
	QEMU_BACKEND_RAM, /* also what QEMU makes of -m alone */
	QEMU_BACKEND_MEMFD,
	QEMU_BACKEND_FILE,
	QEMU_BACKEND_SHM,
	QEMU_BACKEND_UNKNOWN, /* memory-backend-* that is none of these */
};

/* What a backend is for. Only the first three are RAM of the guest's. */
enum qemu_use {
	QEMU_USE_RAM, /* what -m is about: one block, or one for each NUMA cell */
	QEMU_USE_DIMM,
	QEMU_USE_VIRTIO_MEM,
	QEMU_USE_OTHER, /* ivshmem, NVDIMM, pmem, or nothing at all */
};

struct qemu_backend {
	enum qemu_backend_type type;
	enum qemu_use use;
	char id[QEMU_ID_MAX];
	uint64_t size;	    /* bytes */
	uint64_t requested; /* of virtio-mem: how much was to be plugged at the start */
	bool hugetlb;
	bool share;
	char path[QEMU_PATH_MAX]; /* of a file; cut */
	/* NUMA policy QEMU was told to set: what undo goes back to. */
	char policy[16];     /* "" (none), "default", "preferred", "bind", "interleave" */
	uint64_t host_nodes; /* mask */
};

struct qemu_cmdline {
	char name[QEMU_NAME_MAX];  /* UTF-8 */
	char uuid[CRAM_UUID_TEXT]; /* lower case; empty: none given */
	uint64_t ram_size;	   /* of -m, bytes; what QEMU takes without one */
	/* Without any QEMU_USE_RAM on the command line one is made up from ram_size. */
	struct qemu_backend backends[QEMU_BACKENDS_MAX];
	size_t n_backends;
	/* The first option that matters here and was not understood; empty: all were. UTF-8. */
	char unknown[QEMU_PATH_MAX];
	bool locked;	   /* -overcommit mem-lock=on */
	bool vfio, vdpa;   /* -device vfio-*, vhost-vdpa */
	bool vhost_user;   /* another process maps guest RAM */
	bool confidential; /* SEV, SNP, TDX */
	bool incoming;	   /* started with -incoming */
};

/*
 * Parses @len bytes of /proc/PID/cmdline (arguments separated by zero bytes). 0, also when an
 * option is not understood (ret_cmdline->unknown): QEMU has hundreds, and its guest runs whatever
 * we make of them. -ENOMEM.
 */
int qemu_cmdline_parse(const char *cmdline, size_t len, struct qemu_cmdline *ret_cmdline);

/* Is argv[0]'s file name that of a QEMU system emulator (qemu-system-*, qemu-kvm, kvm)? */
bool qemu_is_emulator(const char *argv0);

/* A size as QEMU reads it: "512", "0.5G", "0x80M"; bare is @unit. -EBADMSG: none. */
int qemu_parse_size(const char *text, uint64_t unit, uint64_t *ret_bytes);

static inline bool qemu_is_ram(const struct qemu_backend *backend)
{
	return backend->use != QEMU_USE_OTHER;
}
