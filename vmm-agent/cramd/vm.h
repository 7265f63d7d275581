/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One VM as the agent knows it, shared between the loop and its worker threads. Holds facts and
 * counters; what to do about them is decided in decide/.
 *
 * Who may touch what: the fields above `placing` are written once, before the VM is published;
 * those under `lock` by any thread holding it; those of the loop only by the loop.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "classify/ranges.h"
#include "protocol/model.h"
#include "sense/nodes.h"
#include "sense/ramblock.h"
#include "settings/domain.h"
#include "settings/settings.h"

/* Why a VM is left alone. */
enum vm_ineligible {
	VM_ELIGIBLE,
	VM_NOT_LOOKED,	   /* not yet examined */
	VM_LAYOUT_UNKNOWN, /* its RAM cannot be told from other memory of QEMU */
	VM_HUGETLB,
	VM_LOCKED,
	VM_PINNED, /* VFIO, vDPA, io_uring buffers */
	VM_CONFIDENTIAL,
	VM_REALTIME,
	VM_VHOST_USER,
	VM_CPUSET, /* its cpuset does not include the tier's node */
	VM_NO_ACCESS,
};

const char *vm_ineligible_name(enum vm_ineligible reason);
const char *vm_ineligible_text(enum vm_ineligible reason);

enum vm_job_kind {
	VM_JOB_DEMOTE,
	VM_JOB_PROMOTE_HOT,
	VM_JOB_PROMOTE, /* whatever is on the tier, hot first */
	VM_JOB_UNBIND,	/* nothing left on the tier: put the old policy back */
	VM_N_JOBS,
};

struct vm_counters {
	uint64_t demoted, promoted, refused; /* bytes */
	uint64_t returned;		     /* bytes found accessed after demotion */
	uint64_t batches, worst_batch_us;
	int last_error; /* of the last refusal, negative errno */
};

struct vm {
	_Atomic unsigned int refs;
	pid_t pid;
	int pidfd;
	uint64_t start_time; /* clock ticks after boot */
	bool from_libvirt;   /* else added by pid */
	char uuid[QEMU_UUID_TEXT];
	char name[QEMU_NAME_MAX];
	struct qemu_cmdline cmdline;
	char cgroup[256];	     /* empty: unknown */
	struct ramblocks blocks;     /* n 0: not found */
	size_t first[RAMBLOCKS_MAX]; /* index of each block's first range */
	uint64_t ram;		     /* bytes of all blocks, else what QEMU was told */

	_Atomic bool dead;	/* QEMU has gone: stop whatever runs */
	_Atomic bool watched;	/* to be scanned */
	_Atomic uint32_t epoch; /* a demotion decided in an earlier one stops at the next range */
	_Atomic uint32_t cold_age_s;
	_Atomic int tier_nid;  /* of the tier it uses; -1: none now, all on other tiers goes home */
	_Atomic uint32_t busy; /* bit (1 << enum vm_job_kind): with a mover */
	_Atomic bool
		look_everywhere; /* its tier pages are wanted: also where DAMON sees accesses */
	_Atomic bool recount;	 /* placement is wanted now, not when it is due */

	/*
	 * Held, before `lock`, by whoever finds out where the pages of a range are and by whoever
	 * moves them, until the range's counts are written: else one would write down what the
	 * other has just changed, and two moves would both take credit for the same pages.
	 */
	pthread_mutex_t placing;
	pthread_mutex_t placing_next; /* held while waiting for it: nobody gets it twice in a row */

	pthread_mutex_t lock;
	struct ranges ranges;
	size_t cursor;			/* where the next look starts */
	enum vm_ineligible reason;	/* as the last examination found */
	uint64_t node_bytes[NODES_MAX]; /* guest RAM per node, from numa_maps */
	int64_t moved_since;		/* bytes moved since then: to the tier, minus from it */
	int64_t under_way;		/* the same, of a move that has begun: at most so much */
	uint32_t jobs_ended;
	uint32_t settled_jobs, settled_epoch; /* jobs_ended and epoch when node_bytes was begun */
	uint64_t mems_allowed;
	bool realtime;	     /* libvirt says so */
	uint64_t home_nodes; /* mask */
	struct vm_counters counters;
	uint64_t scanned_ms;
	uint64_t placed_ms;	    /* when node_bytes was read; 0: never */
	uint64_t placement_cost_ms; /* what that took; the looker's own */
	struct memcg memcg;
	/* The policy found before ours was set, per block; what undo puts back. */
	enum proc_mpol old_mode[RAMBLOCKS_MAX];
	uint64_t old_nodes[RAMBLOCKS_MAX];
	bool old_known;
	bool bound; /* our policy is in force */

	/* loop only */
	struct cram_vm_layer xml_layer, cli_layer;
	bool has_xml;
	struct cram_domain domain; /* valid when has_domain */
	bool has_domain;
	char note[256];
	struct cram_vm_settings settings;
	bool paused_by_operator, paused_by_job, incoming;
	bool drain_asked, drain; /* of this VM; of it or of the whole host */
	struct cram_policy_memory policy_memory;
	struct cram_vm_action action;
	struct cram_vm_input input;
	struct cram_bucket demote_bucket, promote_bucket;
	enum cram_vm_state reported_state;
	enum vm_ineligible reported_reason;
	bool has_action;
};

/*
 * Examines process @pid: identity, layout. *ret_vm has one reference. -ESRCH: gone; -ENOEXEC: not a
 * QEMU; -EAGAIN: its RAM is not mapped yet. An unknown layout is no error: the VM is ineligible.
 * Waits for the process's mmap lock, so it is not for the loop (discover.h).
 */
int vm_new(const struct sysroot *root, pid_t pid, struct vm **ret_vm);
struct vm *vm_ref(struct vm *vm);
void vm_unref(struct vm *vm);

/* Takes vm->placing. A move waits for one look at most, however many more are due. */
void vm_placing_begins(struct vm *vm);
void vm_placing_ends(struct vm *vm);

/*
 * Begins a move of the pages of one range: at most @bytes to the tier (positive) or from it
 * (negative) are in neither place for certain until it has ended. vm->placing is held.
 */
void vm_move_begins(struct vm *vm, int64_t bytes);
/* What was measured to have moved. vm->lock and vm->placing are held. */
void vm_moved(struct vm *vm, int64_t bytes);
void vm_move_ends(struct vm *vm);

/*
 * Bytes on nodes of @tier_nodes: as last read and what was moved since, with what may be on its way
 * there. vm->lock is held.
 */
uint64_t vm_tier_bytes(const struct vm *vm, uint64_t tier_nodes);
uint64_t vm_dram_bytes(const struct vm *vm, uint64_t tier_nodes);
/* Is that a reading nothing has disturbed, begun after the last order and job? vm->lock is held. */
bool vm_settled(const struct vm *vm);

/* Has the process exited? Cheap; checked before every batch, so that a reused pid is never hit. */
bool vm_gone(const struct vm *vm);

/*
 * Looks again at what may change while a VM runs: locks, pins, cpuset, placement (not before
 * vm->placed_ms + @placement_ms). @status and @memcg are fresh; NULL: the VM's group is unknown.
 * Takes vm->lock for short moments only.
 */
void vm_examine(struct vm *vm, const struct sysroot *root, const struct proc_status *status,
		const struct memcg *memcg, uint64_t tier_nodes, uint64_t now_ms,
		uint64_t placement_ms);

/* Block and address of range @index; *ret_pages counts its 4 KiB pages. */
const struct ramblock *vm_range(const struct vm *vm, size_t index, uint64_t *ret_addr,
				size_t *ret_pages);
/* Index of the range that holds @addr. -ENOENT: no block does. */
int vm_range_index(const struct vm *vm, uint64_t addr, size_t *ret_index);
