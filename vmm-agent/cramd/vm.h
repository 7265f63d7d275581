/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One VM as the agent knows it, shared between the loop and its worker threads. Holds facts and
 * counters; what to do about them is decided in policy/. How it is examined: examine.h; how moves
 * are accounted for: moves.h.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "classify/ranges.h"
#include "eligible.h"
#include "protocol/model.h"
#include "sense/cgroup.h"
#include "sense/nodes.h"
#include "sense/ramblock.h"
#include "settings/domain.h"
#include "settings/settings.h"

struct loop_source;

enum vm_job_kind {
	VM_JOB_DEMOTE,
	VM_JOB_PROMOTE_HOT,
	VM_JOB_PROMOTE, /* whatever is on the tier, hot first */
	VM_JOB_RELIEVE, /* the same, since the tier pushes back: on a lane of its own */
	VM_JOB_SHED,	/* since the tier pushes back and DRAM has no room: to swap, same lane */
	VM_JOB_UNBIND,	/* nothing left on the tier: put the old policy back */
	VM_N_JOBS,
};

struct vm_counters {
	uint64_t demoted, promoted, refused; /* bytes */
	uint64_t shed;			     /* bytes moved from a tier to swap */
	uint64_t returned;		     /* bytes found accessed after demotion */
	uint64_t batches, worst_batch_us;
	/* Each holds the VM's mmap lock, for reading, so long. */
	uint64_t looks, worst_look_us, worst_placement_us;
	int last_error; /* of the last refusal, negative errno */
	/* Why the last job, or the last looks, could not be done at all; 0: they were. */
	int move_error, look_error;
	int examine_error; /* why not all could be read in the last examination; 0: all was */
};

struct vm {
	/* Of one thread at a time before the VM is published, and constant from then on. */
	pid_t pid;
	int pidfd;
	uint64_t start_time; /* clock ticks after boot */
	struct qemu_cmdline cmdline;
	struct cgroup cgroup;

	/* Written by any thread at any time. */
	_Atomic unsigned int refs;
	_Atomic bool dead;	/* QEMU has gone: stop whatever runs */
	_Atomic bool watched;	/* to be scanned */
	_Atomic bool unfound;	/* some is on a tier, and not every range was looked at yet */
	_Atomic uint32_t epoch; /* a demotion decided in an earlier one stops at the next range */
	/* Ordered of it, or somebody began to fill it in: what was to bring it home before stops.
	 */
	_Atomic uint32_t reliefs;
	uint32_t reliefs_seen; /* by the snapshot that its action is from; loop only */
	_Atomic uint32_t cold_age_s;
	_Atomic uint64_t ram;  /* bytes the guest was given, plugged memory included */
	_Atomic int tier_nid;  /* of the tier it uses; -1: none now, all on other tiers goes home */
	_Atomic uint32_t busy; /* bit (1 << enum vm_job_kind): with a mover */
	_Atomic bool
		look_everywhere; /* its tier pages are wanted: also where DAMON sees accesses */
	_Atomic bool on_swap;	 /* swap is its tier, or was and is not yet empty of it */
	_Atomic bool recount;	 /* placement is wanted now, not when it is due */
	_Atomic uint64_t looked_at_since_ms; /* a turn of the looker's is under way; 0: none */
	_Atomic uint64_t no_tiers;   /* slow nodes that are no tiers to it: see vm_tiers_of() */
	_Atomic uint64_t used_tiers; /* nodes that the agent has moved or bound it to */
	_Atomic uint64_t unmoved_until_ms; /* a move of it waits for its mmap lock: no other yet */
	_Atomic bool relayout; /* its address space has changed: the loop has it read again */

	/*
	 * Held, before `lock`, by whoever finds out where the pages of a range are and by whoever
	 * moves them, until the range's counts are written: else one would write down what the
	 * other has just changed, and two moves would both take credit for the same pages.
	 */
	pthread_mutex_t placing;
	pthread_mutex_t placing_next; /* held while waiting for it: nobody gets it twice in a row */

	pthread_mutex_t lock;
	/*
	 * RAM blocks are only ever added, by the loop holding `lock`: whoever has seen blocks.n may
	 * use that many without it. What is unplugged stays, with a bit in `gone`, and its ranges
	 * are RANGE_GONE: QEMU may map something else at those addresses. When there is no room
	 * left beside them, vm_renew() makes another of it.
	 */
	struct ramblocks blocks;     /* n 0: not found */
	size_t first[RAMBLOCKS_MAX]; /* index of each block's first range */
	_Atomic uint64_t gone;	     /* mask of blocks that are no longer mapped */
	/* From here on: under `lock`. */
	struct ranges ranges;
	size_t cursor;			/* where the next look starts */
	enum vm_ineligible reason;	/* as the last examination found */
	char why[160];			/* more of it than vm_ineligible_text() has; may be empty */
	uint64_t node_bytes[NODES_MAX]; /* guest RAM per node, from numa_maps */
	uint64_t virtio_mem;		/* of that, in virtio-mem or swapped */
	int64_t moved_since;		/* bytes moved since then: to the tier, minus from it */
	uint64_t shed_since;		/* of those from it, what went to swap */
	int64_t under_way;		/* the same, of a move that has begun: at most so much */
	uint32_t jobs_ended;
	uint32_t settled_jobs, settled_epoch; /* jobs_ended and epoch when node_bytes was begun */
	uint64_t mems_allowed;
	bool realtime, vhost_user;	     /* libvirt says so: also of what came later */
	bool in_others_cgroup;		     /* which limits that VM, not this one */
	uint64_t home_nodes;		     /* mask, of all blocks together */
	uint64_t block_homes[RAMBLOCKS_MAX]; /* the same of each */
	/* Nodes of DRAM that each gets memory from at all: more, where its policy prefers some. */
	uint64_t block_reach[RAMBLOCKS_MAX];
	/* Of them, or where they have no DRAM of the VM's, where each may come home to: as the last
	 * round saw nodes. */
	uint64_t block_returns[RAMBLOCKS_MAX];
	struct vm_counters counters;
	uint64_t scanned_ms; /* when it was last classified; before that, when it was found */
	uint64_t placed_ms;  /* when node_bytes was read; 0: never */
	/* What that took of a core, and what an examination without it took. */
	_Atomic uint64_t placement_cost_us, examination_cost_us;
	uint64_t swapped; /* bytes of its cgroup */
	/* The policy found before ours was set, per block; what undo puts back. */
	struct proc_policy old_policy[RAMBLOCKS_MAX];
	uint64_t old_known;		  /* mask of blocks whose old_policy is known */
	uint64_t bound;			  /* mask of blocks on which our policy is in force */
	uint64_t bound_to[RAMBLOCKS_MAX]; /* the nodes in it */

	/* Of the thread that examines it (examine.h), between turns of the one that gives them. */
	struct {
		uint64_t fds, fds_ms;	   /* how many it had when they were looked at; when */
		uint64_t locked, pinned;   /* bytes, then */
		enum vm_ineligible by_fds; /* what they said */
		uint64_t size;		   /* of its address space when its RAM was looked for */
		uint64_t guest_time;	   /* ticks */
		uint64_t placed_rss;	   /* bytes, when placement was read */
		uint64_t unplaced_ms;	   /* it could not be read, last time, then; 0: it could */
		uint64_t examined_ms;	   /* 0: never */
		bool placed_same;	   /* that told what the reading before it had told */
		bool arrived;		   /* no longer migrating in */
		bool begun;
	} seen;

	/* Of the loop alone. */
	struct loop_source *exit; /* its pidfd, watched */
	bool from_libvirt;	  /* else added by pid */
	bool unexamined;	  /* vm_new_unexamined() made it: libvirt's word is all there is */
	/* What it is listed by: "pid-N" where QEMU was given none, or another VM has the same. */
	char uuid[CRAM_UUID_TEXT];
	char name[QEMU_NAME_MAX];
	uint64_t relayout_ms;
	struct cram_vm_layer xml_layer, cli_layer;
	bool has_xml;
	struct cram_domain domain; /* valid when has_domain */
	bool has_domain;
	char note[256];
	bool settings_refused; /* that is what the note is about */
	struct cram_vm_settings settings;
	bool paused_by_operator, paused_by_job, incoming;
	bool drain_asked, drain; /* of this VM; of it or of the whole host */
	struct cram_policy_memory policy_memory;
	struct cram_vm_action action;
	struct cram_vm_input input;
	struct cram_bucket demote_bucket, promote_bucket;
	enum cram_vm_state reported_state, settling_state; /* told of; seen since so many rounds: */
	unsigned int settling_rounds;
	uint64_t reported_refused; /* bytes */
	int reported_move_error, reported_look_error, reported_examine_error;
	enum vm_ineligible reported_reason;
	bool has_action;
};

/* Where what is of the loop alone begins; it goes on to the end. */
#define VM_LOOPS_OWN offsetof(struct vm, exit)

/* @vm, all zero until now, has one reference, and no process, cgroup or tier yet. */
void vm_init(struct vm *vm);
/*
 * Examines process @pid: identity, layout. *ret_vm has one reference. -ESRCH: gone; -ENOEXEC: not a
 * QEMU. A layout that is not understood is no error: the VM is ineligible. Waits for the process's
 * mmap lock, so it is not for the loop (discover.h).
 */
int vm_new(const struct sysroot *root, pid_t pid, struct vm **ret_vm);
/*
 * Process @pid, of which libvirt says that it is a VM and vm_new() says @why (negative errno): to
 * be listed and left alone. Who it is and what RAM it was given is for the caller to fill in.
 * *ret_vm has one reference. -ESRCH: gone.
 */
int vm_new_unexamined(const struct sysroot *root, pid_t pid, int why, struct vm **ret_vm);
struct vm *vm_ref(struct vm *vm);
void vm_unref(struct vm *vm);

/*
 * Takes a layout read again: memory plugged in is added, what was unplugged is left alone from now
 * on. For the loop. 0; -ENOMEM (what has come is not all taken in); -E2BIG: nothing is taken,
 * beside what was unplugged there is no room for what has come (vm_renew()).
 */
int vm_relayout(struct vm *vm, const struct ram_layout *layout);
/*
 * The same VM with @layout and without what was unplugged: with its settings, and with what is
 * known of the memory that is still there. For the loop. Whoever is at work on @vm goes on with
 * that: it is for the caller to have it end. *ret_vm has one reference. 0 or -errno.
 */
int vm_renew(struct vm *vm, const struct ram_layout *layout, struct vm **ret_vm);

/* Why it is left alone, in words, with what to change; "": it is not. @vm->lock is held. */
const char *vm_why(const struct vm *vm);

/* Has the process exited? Cheap; checked before every batch, so that a reused pid is never hit. */
bool vm_gone(const struct vm *vm);

/* Block and address of range @index; *ret_pages counts its 4 KiB pages. */
const struct ramblock *vm_range(const struct vm *vm, size_t index, uint64_t *ret_addr,
				size_t *ret_pages);
/* Index of the range that holds @addr. -ENOENT: no block that is there does. */
int vm_range_index(const struct vm *vm, uint64_t addr, size_t *ret_index);
/* Where the ranges of block @i end. vm->lock is held, or @i was seen before. */
static inline size_t vm_block_end(const struct vm *vm, size_t i)
{
	return i + 1 < vm->blocks.n ? vm->first[i + 1] : vm->ranges.n;
}
/* Is block @i still there? Of those that are gone, others may have the same addresses. */
static inline bool vm_has_block(const struct vm *vm, size_t i)
{
	return !(atomic_load(&vm->gone) & UINT64_C(1) << i);
}
/*
 * Of @tier_nodes, those that are tiers to @vm: what lies there may have to come home. Not so an
 * ordinary slow node that it neither may nor did use: it has memory there because an administrator,
 * or the kernel, has put it there.
 */
static inline uint64_t vm_tiers_of(const struct vm *vm, uint64_t tier_nodes)
{
	return tier_nodes & ~atomic_load(&vm->no_tiers);
}
