/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libcram-policy: (what was sensed, what was configured) -> what to move, with the reasons.
 * A pure function: no I/O, no clock, no allocation, no global state. What it must remember from
 * round to round is in struct cram_policy_memory, which the caller carries from a decision to the
 * next input. It is not a mover: effects are measured by the caller and come back in the next
 * input.
 *
 * Units: bytes, milliseconds of a monotonic clock, seconds for ages. "logical" bytes are what the
 * guest sees, "device" bytes what the tier stores (on tier `node` both are equal).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifndef CRAM_UNLIMITED
#define CRAM_UNLIMITED UINT64_MAX /* the same as in util/size.h */
#endif

enum cram_mode {
	CRAM_MODE_OFF,	   /* not looked at; what is on a tier goes home */
	CRAM_MODE_MONITOR, /* measured; what is on a tier goes home */
	CRAM_MODE_AUTO,	   /* measured and moved */
	CRAM_N_MODES,
};

enum cram_tier {
	CRAM_TIER_CRAM,	 /* private compressed node */
	CRAM_TIER_NODE,	 /* an ordinary slower NUMA node */
	CRAM_TIER_ZSWAP, /* compressed swap */
	CRAM_N_TIERS,
};

/* What a VM is doing, for people; one of them per VM and round. */
enum cram_vm_state {
	CRAM_VM_OFF,	    /* mode off, nothing on a tier */
	CRAM_VM_INELIGIBLE, /* cannot be tiered; the sensing side knows why */
	CRAM_VM_MONITOR,    /* measured only */
	CRAM_VM_WAITING,    /* too new: no demotion before one cold age has been observed */
	CRAM_VM_STEADY,	    /* where it should be */
	CRAM_VM_DEMOTING,
	CRAM_VM_PROMOTING,  /* hot pages come home */
	CRAM_VM_BACKOFF,    /* demotion stopped for a while: it came back too fast */
	CRAM_VM_OVER_QUOTA, /* above quota or hard limit, or DRAM below its floor: gives back */
	CRAM_VM_OVER_SHARE, /* above its fair share of a contended tier: gives back */
	CRAM_VM_DRAINING,   /* everything goes home */
	CRAM_VM_DRAINED,    /* everything is home, and that was measured after the last move */
	CRAM_VM_PAUSED,	    /* no demotion, by the operator or by a migration, dump or save */
	CRAM_N_VM_STATES,
};

/* Why an amount is what it is. Values are stable: they appear in recorded snapshots and JSON. */
enum cram_reason {
	CRAM_REASON_NONE,
	CRAM_REASON_MODE,	   /* the mode forbids demotion */
	CRAM_REASON_INELIGIBLE,	   /* the VM cannot be tiered */
	CRAM_REASON_PAUSED,	   /* paused */
	CRAM_REASON_DRAIN,	   /* drain asked for; bytes: still on the tier */
	CRAM_REASON_NO_TIER,	   /* no tier, or it accepts nothing now */
	CRAM_REASON_WARMUP,	   /* bytes: ms left until demotion may start */
	CRAM_REASON_BACKOFF,	   /* bytes: ms left; limit: consecutive violations */
	CRAM_REASON_COLD,	   /* bytes: cold enough; limit: cold age in seconds */
	CRAM_REASON_SLO_OVER,	   /* bytes: returned per minute; limit: allowed per minute */
	CRAM_REASON_QUOTA,	   /* bytes: device bytes (upper bound); limit: quota */
	CRAM_REASON_HARD_LIMIT,	   /* bytes: logical bytes on the tier; limit: hard limit */
	CRAM_REASON_FLOOR,	   /* bytes: DRAM in use; limit: effective floor */
	CRAM_REASON_SHARE,	   /* bytes: device bytes; limit: fair share */
	CRAM_REASON_TIER_FULL,	   /* bytes: wanted; limit: what the tier can take now */
	CRAM_REASON_TIER_PRESSURE, /* bytes: device bytes of all VMs; limit: the tier's budget */
	CRAM_REASON_RATE,	   /* bytes: wanted; limit: allowed by the token buckets */
	CRAM_REASON_HEADROOM,	   /* bytes: wanted home; limit: DRAM above headroom */
	CRAM_REASON_DRAM_PRESSURE, /* bytes: DRAM to be had; limit: headroom; younger pages may go
				    */
	CRAM_REASON_HYSTERESIS,	   /* bytes: difference to the target; limit: what starts a move */
	CRAM_REASON_HOT,	   /* bytes: tier pages found accessed */
	CRAM_REASON_SWAP,	   /* bytes: DRAM has no room for; limit: of them, to swap */
	CRAM_N_REASONS,
};

const char *cram_mode_name(enum cram_mode mode);
const char *cram_tier_name(enum cram_tier tier);
const char *cram_vm_state_name(enum cram_vm_state state);
const char *cram_vm_state_text(enum cram_vm_state state);	 /* what it means, for a person */
const char *cram_reason_name(enum cram_reason reason);		 /* "over-quota" style */
const char *cram_reason_text(enum cram_reason reason);		 /* one clause for a person */
int cram_mode_parse(const char *text, enum cram_mode *ret_mode); /* 0 or -EINVAL */
int cram_tier_parse(const char *text, enum cram_tier *ret_tier); /* 0 or -EINVAL */

/*
 * Ages of DRAM-resident eligible memory, in disjoint buckets: bucket i holds bytes last seen
 * accessed at least cram_age_edge(i) and less than cram_age_edge(i + 1) seconds ago.
 */
#define CRAM_AGE_BUCKETS 24
uint32_t cram_age_edge(unsigned int bucket);
unsigned int cram_age_bucket(uint32_t age_s);

/* The constants of the policy; defaults, ranges and reasons: settings/options.c. */
struct cram_policy_params {
	uint32_t slo_ppm;	     /* returned bytes per minute per million accessed in 120 s */
	uint32_t cold_age_initial_s; /* automatic cold age of a VM just seen */
	uint32_t cold_age_min_s;     /* automatic cold age never goes below */
	uint32_t cold_age_max_s;     /* ... nor above */
	uint32_t cold_age_adjust_s;  /* least time between two adjustments */
	uint32_t give_back_permille; /* over fair share by this much before giving back starts */
	uint32_t demote_start_permille;	 /* below target by this much before demotion starts */
	uint64_t demote_start_min_bytes; /* that difference is at least this ... */
	uint64_t demote_start_max_bytes; /* ... and at most this */
	uint32_t cache_permille;     /* of a node's clean inactive page cache that counts as free */
	uint32_t headroom_permille;  /* of a home node's DRAM that is kept free */
	uint64_t headroom_min_bytes; /* at least this per home node */
	uint32_t headroom_seconds;   /* of the observed promotion rate, kept free as well */
	uint32_t backoff_factor;     /* SLO exceeded this many times: demotion stops for a while */
	uint32_t backoff_base_s;     /* first stop; doubles each time */
	uint32_t backoff_max_shift;  /* at most base << this */
	uint32_t card_headroom_permille; /* of a compressing card that VMs leave free */
	uint64_t quota_slack_bytes;	 /* by so much a quota may be exceeded until reports tell */
	uint64_t
		slo_min_bytes; /* per minute that may always return: less is only the granularity */
};

#define CRAM_SLO_SLOTS 12 /* of five seconds: a minute */

/* What the policy remembers of one VM. All zero: never seen. */
struct cram_policy_memory {
	uint64_t first_seen_ms; /* 0: never seen; demotion waits one cold age from here */
	uint64_t adjusted_ms;	/* last change of the automatic cold age */
	uint64_t busy_ms;	/* last time more than half of what the SLO allows came back */
	uint64_t backoff_until_ms;
	uint32_t backoff_shift;
	uint32_t cold_age_s;		   /* current automatic cold age, 0: not yet chosen */
	bool giving_back;		   /* latched until the target is met */
	bool demoting;			   /* latched until the target is met */
	uint64_t returned_seen;		   /* returned_total of the last input */
	uint64_t returned_slot;		   /* the youngest slot, counted from the clock's zero */
	uint64_t returned[CRAM_SLO_SLOTS]; /* bytes that came back, by slot modulo their number */
};

#define CRAM_VM_F_INELIGIBLE (1U << 0) /* never demoted; what is there goes home */
#define CRAM_VM_F_PAUSED     (1U << 1) /* no demotion; promotion, floor and relief go on */
#define CRAM_VM_F_DRAIN	     (1U << 2) /* everything home */
#define CRAM_VM_F_INCOMING \
	(1U << 3) /* somebody fills in its memory, as an incoming migration does: untouched */
#define CRAM_VM_F_HOME (1U << 4) /* nothing on a tier or on its way, its own policy back */

struct cram_vm_input {
	const char *uuid; /* not read by the decision; for records and messages */
	const char *name;

	/* settings in force */
	enum cram_mode mode;
	uint64_t quota;	     /* device bytes or CRAM_UNLIMITED */
	uint64_t hard_limit; /* logical bytes on the tier or CRAM_UNLIMITED */
	uint64_t floor;	     /* DRAM bytes */
	uint32_t weight;     /* 1..10000 */
	uint32_t cold_age_s; /* 0: automatic */
	uint32_t flags;	     /* CRAM_VM_F_* */

	/* sensed */
	int tier;	       /* index into snapshot.tiers of the one it uses; -1: none */
	bool may_swap;	       /* what it has there may go to swap, should the tier push back */
	uint64_t home_mask;    /* bit i: snapshot.dram[i] is one of its home nodes */
	uint64_t return_mask;  /* the same of what is to come home first; 0: as home_mask */
	uint64_t ram;	       /* guest RAM */
	uint64_t eligible;     /* of it, what may be moved at all */
	uint64_t dram;	       /* guest RAM resident in DRAM */
	uint64_t tier_bytes;   /* logical bytes on the tier */
	uint64_t device_bytes; /* estimate of what they take there; tier node: = tier_bytes */
	uint64_t device_upper; /* upper bound of it: limits hold for this; below it: the same */
	uint64_t swapped;      /* neither in DRAM nor on the tier, but touched */
	uint32_t ratio_q16;    /* upper bound stored/logical of pages to come, 65536 = 1 */
	uint64_t cold[CRAM_AGE_BUCKETS]; /* eligible DRAM bytes by age, see cram_age_edge() */
	uint64_t hot_bytes;		 /* on the tier and found accessed since it was demoted */
	uint64_t returned_total; /* ever: write promotions + newly found accessed tier bytes */
	uint64_t accessed_bytes; /* bytes accessed within 120 s */
	uint64_t demote_tokens;	 /* what the VM's own buckets allow this round, logical bytes */
	uint64_t promote_tokens;

	struct cram_policy_memory memory; /* from the previous action; zero for a new VM */
};

/*
 * As home_mask, where what is out of a VM may come home to next: each RAM block has its own home,
 * so not all of it may be at home on each of the VM's nodes.
 */
static inline uint64_t cram_next_return_mask(const struct cram_vm_input *vm)
{
	return vm->return_mask ? vm->return_mask : vm->home_mask;
}

/*
 * The same in this round or a later one. While some of it is hot, return_mask tells of that alone.
 */
static inline uint64_t cram_return_mask(const struct cram_vm_input *vm)
{
	return vm->hot_bytes ? vm->home_mask : cram_next_return_mask(vm);
}

struct cram_tier_input {
	int nid; /* NUMA node, -1 for zswap */
	enum cram_tier kind;
	uint64_t budget; /* device bytes VMs and others may occupy now (shrinks under pressure) */
	/* Device bytes that belong to no VM in the snapshot. With the VMs' they add up to what the
	 * tier says that it stores: who has how much of that may be misread, the sum is not. */
	uint64_t used_other;
	uint64_t free;	    /* logical bytes it can take this round */
	uint32_t worst_q16; /* device bytes a byte takes at most, 65536 = 1; 0: 1 */
	bool accepting;	    /* false: full, offline, error: nothing new goes there */
};

struct cram_dram_input {
	int nid;
	uint64_t total;
	uint64_t free;
	uint64_t low;		/* the kernel's low watermark: below it, reclaim begins */
	uint64_t inactive_file; /* page cache that reclaim takes first */
	uint64_t dirty;		/* page cache that has to be written before, or is being written */
};

#define CRAM_MAX_DRAM 64

/*
 * DRAM that can be had on a node without hurting anyone: a host that has been up for a while has
 * almost no free memory and much page cache that nobody would miss.
 */
uint64_t cram_dram_available(const struct cram_dram_input *node, uint32_t cache_permille);
/* What of a home node of @total is to be available at any time, whatever comes home just now. */
uint64_t cram_headroom(const struct cram_policy_params *params, uint64_t total);

struct cram_snapshot {
	uint64_t now_ms;
	uint64_t demote_tokens; /* what the host's buckets allow this round, logical bytes */
	uint64_t promote_tokens;
	uint64_t promote_rate; /* bytes per second that came home recently, all VMs */
	uint64_t swap_room;    /* swap that relief may use where DRAM has no room; 0: it may not */
	const struct cram_dram_input *dram; /* at most CRAM_MAX_DRAM */
	size_t n_dram;
	const struct cram_tier_input *tiers;
	size_t n_tiers;
	const struct cram_vm_input *vms;
	size_t n_vms;
};

#define CRAM_MAX_REASONS 8

struct cram_reason_entry {
	enum cram_reason code;
	uint64_t bytes; /* meaning per code, see enum cram_reason */
	uint64_t limit;
};

struct cram_vm_action {
	enum cram_vm_state state;
	bool goes_home; /* all of it is to be in DRAM */
	/* Order of work, larger first; equal: any order. Promotions of all VMs come before
	 * demotions of any VM whose tier or home node is under pressure. */
	uint32_t priority;
	uint64_t demote_bytes;	    /* logical bytes to move out ... */
	uint32_t demote_age_s;	    /* ... from ranges at least this old, oldest first */
	uint64_t held_back_bytes;   /* as many more would go but for the rates alone */
	uint64_t promote_hot_bytes; /* tier pages found accessed, to bring home */
	uint64_t promote_bytes;	    /* further tier pages to bring home, whichever; not incl. hot */
	uint64_t swap_bytes;	    /* further tier pages, none of them hot, to swap */
	bool urgent;		    /* since the tier has to shrink: before anything else */
	int home;		    /* promotions go to this entry of dram[]; -1: there are none */
	uint64_t fair_device_bytes; /* share of the tier it is entitled to now */
	uint64_t kernel_limit;	    /* logical bytes for memory.cram.max, or CRAM_UNLIMITED */
	uint64_t effective_floor;   /* min(floor, memory ever touched) */
	uint64_t cold_bytes;	    /* old enough to go, before any limit */
	uint32_t cold_age_s;	    /* in force */
	unsigned int n_reasons;
	struct cram_reason_entry reasons[CRAM_MAX_REASONS];
	struct cram_policy_memory memory; /* give it back with the next input of this VM */
};

struct cram_decision {
	struct cram_vm_action *actions;	   /* caller's array of n_vms, written completely */
	uint64_t headroom[CRAM_MAX_DRAM];  /* target per dram[] entry */
	uint64_t available[CRAM_MAX_DRAM]; /* cram_dram_available() of each */
	uint64_t demote_bytes;		   /* sums over VMs */
	uint64_t promote_bytes;
};

/* Scratch memory of a decision; grows when the number of VMs grows, else allocates nothing. */
struct cram_policy_workspace;
/* 0 or -ENOMEM. Ready for up to @n_vms; call again before a larger snapshot. */
int cram_policy_workspace_reserve(struct cram_policy_workspace **ws, size_t n_vms);
void cram_policy_workspace_free(struct cram_policy_workspace *ws);

/*
 * Decide one round. Deterministic: equal arguments give equal results. Nonsense in the snapshot
 * (index out of range, sums that do not fit) is clamped so that the VM is left alone.
 * 0, or -EINVAL when @ws is too small or n_dram > CRAM_MAX_DRAM (nothing written then).
 *
 * Guaranteed for every action, whatever the input:
 *   device_upper + demote_bytes * ratio <= quota, tier_bytes + demote_bytes <= hard_limit,
 *   device_upper + demote_bytes * worst <= quota + slack,
 *   dram - demote_bytes >= min(floor, touched) if demote_bytes > 0;
 *   promotions never take a home node's free DRAM below headroom;
 *   tokens are never overspent, but by urgent actions: these together, by what a tier has too much;
 *   to swap goes nothing but what a tier has too much and DRAM above headroom has no room for,
 * nothing of a VM that is to leave its tiers, and all together no more than swap_room.
 *
 * With the defaults next to nothing moves for readings that err anew each round by 5 % of ages and
 * by 1 % of a VM's device bytes, as long as all of these add up to what the tier stores.
 */
int cram_policy_decide(const struct cram_policy_params *params, const struct cram_snapshot *snap,
		       struct cram_policy_workspace *ws, struct cram_decision *decision);

/* Token bucket, filled by a rate, starting empty. Zero-initialised; clock steps back add nothing.
 */
struct cram_bucket {
	uint64_t tokens;
	uint64_t filled_ms; /* 0: never */
};

/* Add what @rate bytes/s gives until @now_ms, at most @burst in all; returns the tokens there. */
uint64_t cram_bucket_fill(struct cram_bucket *b, uint64_t now_ms, uint64_t rate, uint64_t burst);
void cram_bucket_take(struct cram_bucket *b, uint64_t bytes);

/* ------------------------------------------------------------------ what is sold */

/* What may become of a VM's RAM. */
enum cram_backing {
	CRAM_MOVABLE,	/* it may go to the tiers that its settings allow */
	CRAM_SWAPPABLE, /* to swap at most */
	CRAM_PINNED,	/* nowhere: it stays in DRAM */
};

/* What a VM is promised. All bytes. */
struct cram_promise {
	uint64_t ram;	   /* of the guest, as if nothing of it were compressed */
	uint64_t floor;	   /* DRAM that is never taken from it */
	uint64_t pinned;   /* of its RAM, what can be nowhere but in DRAM */
	uint64_t bound;	   /* of its RAM, what can be nowhere but in DRAM or swap */
	uint64_t own;	   /* DRAM that its QEMU takes beside that */
	uint64_t arriving; /* of its RAM, what is still to come, all at once: it is migrated in */
	uint32_t tiers;	   /* bit (1 << enum cram_tier): where what is not bound may be */
};

/* The settings of a VM that make its promise, of @ram that is not in huge pages. */
struct cram_promise cram_promise(enum cram_mode mode, enum cram_backing backing, uint32_t tiers,
				 uint64_t ram, uint64_t quota, uint64_t hard_limit, uint64_t floor,
				 uint64_t own);

#define CRAM_TIER_SETS (1U << CRAM_N_TIERS)

/* What VMs are promised together. All bytes. */
struct cram_sold {
	uint64_t ram, floors, bound, own, arriving; /* sums */
	uint64_t dram;		       /* of each the larger of its floor and what is pinned */
	uint64_t rest[CRAM_TIER_SETS]; /* what is not bound, by where it may be */
};

void cram_sold_add(struct cram_sold *sold, const struct cram_promise *p);

/* What the host has of each kind of memory. All bytes. */
struct cram_memory {
	uint64_t dram;	    /* of all home nodes */
	uint64_t huge;	    /* of it, in pools of huge pages: for nobody else */
	uint64_t kept;	    /* of it, for the host and as headroom */
	uint64_t swap;	    /* that takes what does not compress: free, and what VMs have there */
	uint64_t swap_free; /* whatever it is on */
	uint64_t fits[CRAM_N_TIERS];	 /* logical bytes that fit, whatever they are */
	uint64_t expected[CRAM_N_TIERS]; /* logical bytes that are expected to fit */
	uint64_t lasts[CRAM_N_TIERS];	 /* what fits also counts where nothing may go now */
	bool unknown;			 /* what lasts of some tier is not known */
	uint32_t kinds;			 /* bits of the tiers that the host's settings name */
	uint64_t spare;			 /* DRAM that can be had now above headroom ... */
	uint64_t swap_now;		 /* ... and swap */
};

struct cram_overcommit_input {
	struct cram_memory has;
	struct cram_sold sold; /* what is reserved may be in it */
};

struct cram_overcommit {
	uint64_t usable;     /* DRAM for guests: without huge pages, what is kept, and QEMUs' own */
	uint64_t tiers;	     /* what fits on tiers that any VM may use, with nothing compressed */
	uint64_t guaranteed; /* usable + tiers + swap */
	uint64_t expected;   /* the same with what is expected to fit on the tiers */
	uint64_t lasting;    /* guaranteed without swap, as if no VM ran and all tiers were open */
	uint64_t lasting_tiers; /* of it, what fits on tiers */
	uint64_t at_risk;    /* of sold, what has no place where it may be if nothing compresses */
	uint64_t floor_room; /* DRAM that can still be promised */
	bool floors_exceed;  /* what is promised in DRAM cannot all be kept */
};

void cram_overcommit(const struct cram_overcommit_input *in, struct cram_overcommit *ret);

/* ------------------------------------------------------------------ admission */

/* Why a VM is not to be started; the first that holds, in this order. */
enum cram_admission_rule {
	CRAM_ADMITTED,
	CRAM_NOT_SOLD,	 /* more RAM would be sold than the host can honour */
	CRAM_NO_FLOOR,	 /* more would be promised in DRAM than there is */
	CRAM_NO_DRAM,	 /* what can be in DRAM or swap only would not fit there */
	CRAM_NO_TIER,	 /* nor what can be there or on some tiers only */
	CRAM_NO_ARRIVAL, /* it comes at once, and DRAM for it cannot be had now */
	CRAM_N_ADMISSION_RULES,
};

struct cram_admission_input {
	struct cram_overcommit_input host; /* with what is reserved */
	bool by_expected; /* sell up to the expected figure, not only to the guaranteed one */
};

struct cram_admission {
	enum cram_admission_rule rule;
	uint32_t tiers;	 /* of NO_TIER: bits of those that it is about */
	uint64_t wanted; /* bytes of what the rule is about ... */
	uint64_t left;	 /* ... and how many were left */
	uint64_t limit;	 /* ... of so many */
};

/* May a VM that is promised @p be started? Pure; monotonic: who asks for less is not refused more.
 */
struct cram_admission cram_admit(const struct cram_admission_input *in,
				 const struct cram_promise *p);
