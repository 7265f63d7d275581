/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What an operator can set, per host and per VM: where it came from, what is allowed, what is in
 * force. Parsing and precedence only; nothing here talks to libvirt or to a VM.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "policy/policy.h"
#include "util/array.h"
#include "util/error.h"
#include "util/size.h"
#include "util/uuid.h"

#define CRAM_CONF_PATH	   "/etc/cramd/cramd.conf" /* drop-ins: cramd.conf.d/NAME.conf beside it */
#define CRAM_STATE_DIR	   "/var/lib/cramd"
#define CRAM_OVERRIDES	   "overrides.json" /* in the state directory: cramctl ... --persist */
#define CRAM_CONTROL_PATH  "/run/cramd/control"
#define CRAM_STATUS_PATH   "/run/cramd/status"
#define CRAM_XML_NAMESPACE "urn:cramd:domain:1.0"

/* ------------------------------------------------------------------ one VM */

enum cram_setting {
	CRAM_SET_MODE,
	CRAM_SET_QUOTA,
	CRAM_SET_HARD_LIMIT,
	CRAM_SET_FLOOR,
	CRAM_SET_WEIGHT,
	CRAM_SET_COLD_AGE,
	CRAM_SET_TIERS,
	CRAM_N_SETTINGS,
};

/* Where a value comes from, weakest first: a larger one wins. */
enum cram_origin {
	CRAM_ORIGIN_DEFAULT, /* built in */
	CRAM_ORIGIN_HOST,    /* [vm] of cramd.conf */
	CRAM_ORIGIN_MATCH,   /* [match NAME] of cramd.conf */
	CRAM_ORIGIN_XML,     /* <cram:tiering> of the domain */
	CRAM_ORIGIN_PERSIST, /* cramctl quota set --persist */
	CRAM_ORIGIN_CLI,     /* cramctl quota set, until the VM stops */
	CRAM_N_ORIGINS,
};

const char *cram_setting_name(enum cram_setting s); /* "hard_limit": key, element and JSON name */
const char *cram_origin_name(enum cram_origin o);
int cram_setting_parse(const char *name, enum cram_setting *ret); /* 0 or -ENOENT */
/* Its value is a number of bytes, or unlimited. */
bool cram_setting_is_size(enum cram_setting s);

/* One source's opinion: only the settings in @set count. Zero: no opinion. */
struct cram_vm_layer {
	uint32_t set; /* bit (1 << enum cram_setting) */
	enum cram_mode mode;
	uint64_t quota;		/* device bytes or CRAM_UNLIMITED */
	uint64_t hard_limit;	/* logical bytes or CRAM_UNLIMITED */
	uint64_t floor;		/* bytes, when floor_is_percent is false */
	uint32_t floor_percent; /* of guest RAM */
	bool floor_is_percent;
	uint32_t weight;
	uint32_t cold_age_s; /* 0: automatic */
	uint32_t tiers;	     /* bit (1 << enum cram_tier) */
};

/* The values in force for one VM and the origin of each. */
struct cram_vm_settings {
	enum cram_mode mode;
	uint64_t quota;
	uint64_t hard_limit;
	uint64_t floor;		/* bytes, percentages resolved, at most guest RAM */
	uint64_t floor_asked;	/* the same, before that */
	uint32_t floor_percent; /* it was asked for as; 0: as bytes */
	uint32_t weight;
	uint32_t cold_age_s;
	uint32_t tiers;
	enum cram_origin origin[CRAM_N_SETTINGS];
	char match[CRAM_N_SETTINGS][32]; /* name of the rule when the origin is MATCH */
};

/*
 * Set one setting of @layer from @text ("3 GiB" | "50%" | "unlimited" | "auto" ...), the only
 * place that knows the allowed values. @default_unit: bytes per unit of a bare number, 0: none, a
 * size needs its unit.
 * -EINVAL or -ERANGE with @err naming the setting, the value and what is allowed; @layer is
 * unchanged then.
 */
int cram_layer_set(struct cram_vm_layer *layer, enum cram_setting s, const char *text,
		   uint64_t default_unit, struct cram_error *err);

/*
 * Value of one setting of @set as text that cram_layer_set() takes, exactly. Returns @buf (>= 64
 * bytes).
 */
const char *cram_settings_text(const struct cram_vm_settings *set, enum cram_setting s, char *buf,
			       size_t size);
/* The same of one source; "unset" where it has no opinion. */
const char *cram_layer_text(const struct cram_vm_layer *layer, enum cram_setting s, char *buf,
			    size_t size);

/*
 * "quota unlimited -> 3 GiB, weight 100 (xml -> cli)": what differs, be it only where it comes from
 * and so how long it lasts, cut to @size (at least 64) with how much was left out. Returns whether
 * anything does.
 */
bool cram_settings_changes(const struct cram_vm_settings *before,
			   const struct cram_vm_settings *after, char *buf, size_t size);

/* ------------------------------------------------------------------ host */

enum cram_detector {
	CRAM_DETECTOR_AUTO, /* DAMON nominates; page_idle confirms where the kernel has it */
	CRAM_DETECTOR_DAMON,
	CRAM_DETECTOR_PAGE_IDLE,
	CRAM_N_DETECTORS,
};

const char *cram_detector_name(enum cram_detector d);

/* What happens to a VM that does not fit when libvirt's hook asks. */
enum cram_admission_mode {
	CRAM_ADMISSION_OFF,    /* not judged */
	CRAM_ADMISSION_WARN,   /* said, and started all the same */
	CRAM_ADMISSION_STRICT, /* refused */
	CRAM_N_ADMISSION_MODES,
};

const char *cram_admission_mode_name(enum cram_admission_mode m);

enum cram_yes_no {
	CRAM_NO,
	CRAM_YES,
	CRAM_N_YES_NO,
};

/* Up to which figure guest RAM is sold. */
enum cram_sell {
	CRAM_SELL_GUARANTEED,
	CRAM_SELL_EXPECTED,
	CRAM_N_SELLS,
};

const char *cram_sell_name(enum cram_sell s);

/* [host], [policy], [rates], [detect] and [move] of cramd.conf. The table is in options.c. */
struct cram_host_settings {
	char libvirt_uri[128];
	char tier_nodes[64];	    /* nodeset "2-3", "auto": CPU-less nodes with memory, "none" */
	char compressing_nodes[64]; /* nodeset, "none": found by asking the cards alone */
	enum cram_yes_no zswap_writeback; /* zswap is a tier even where it may write to disk */
	enum cram_yes_no relief_swap; /* what a card has too much and DRAM no room for: to swap */
	char state_dir[256];
	uint32_t round_ms;    /* one sense-classify-decide-act round */
	uint32_t pressure_ms; /* free DRAM, and cards nearly full, are looked at this often between
				 rounds */
	uint64_t reserve_bytes;	    /* DRAM kept for the host */
	uint64_t vm_overhead_bytes; /* DRAM that a VM's QEMU takes beside guest RAM */
	enum cram_admission_mode admission;
	enum cram_sell sell;
	uint32_t expected_ratio_percent; /* the most that a card is expected to hold */
	struct cram_policy_params policy;

	uint64_t demote_rate; /* bytes per second, whole host */
	uint64_t promote_rate;
	uint64_t vm_demote_rate; /* bytes per second, one VM */
	uint64_t vm_promote_rate;
	uint32_t burst_ms; /* a bucket holds what its rate gives in this time */

	enum cram_detector detector;
	uint32_t damon_sample_us; /* 0: by damon_aggr_us */
	uint32_t damon_aggr_us;
	uint32_t damon_update_us;
	uint32_t damon_min_regions;
	uint32_t damon_max_regions;
	uint32_t second_look_permille; /* of one processor's time, whole host */

	uint32_t batch_pages; /* base pages per move_pages call, 16..512 */
	uint32_t batch_ms;    /* a batch that took longer halves the next one */
};

enum cram_option_type {
	CRAM_OPT_U32,
	CRAM_OPT_BYTES,
	CRAM_OPT_TEXT,
	CRAM_OPT_NODES,	 /* text: the default, "none" or a nodeset */
	CRAM_OPT_CHOICE, /* an enum whose values are named by `choices` */
};

/* One row per host option: drives the parser, the defaults and cramd.conf(5). */
struct cram_option {
	const char *section;
	const char *key;
	enum cram_option_type type;
	size_t offset; /* in struct cram_host_settings */
	size_t size;   /* of a text field */
	const char *unit;
	const char *def; /* default, as written in the file */
	uint64_t min, max;
	const char
		*reason; /* what it does and why the default is what it is; one sentence or two */
	const char *const *choices; /* of CRAM_OPT_CHOICE, up to NULL */
	bool at_start;		    /* a change takes effect when the agent is started */
};

extern const struct cram_option cram_options[];
extern const size_t cram_n_options;

/* One [match NAME] section; every condition given must hold. */
struct cram_match {
	char name[32];
	char *glob; /* fnmatch(3) pattern for the domain name, NULL: any */
	char *uuid;
	char *partition; /* <resource><partition>, fnmatch pattern */
	char *flavour;	 /* flavour the cloud manager recorded in the XML, fnmatch pattern */
	struct cram_vm_layer layer;
};

struct cram_conf {
	struct cram_host_settings host;
	struct cram_vm_layer vm;	       /* [vm]: host default for VMs */
	CRAM_ARRAY(struct cram_match) matches; /* in file order; the last that sets a value wins */
};

/* Built-in values; no file read. */
void cram_conf_init(struct cram_conf *conf);
void cram_conf_free(struct cram_conf *conf);

/*
 * Read @path and its drop-ins ("@path".d/ *.conf in strcmp order) into a new configuration.
 * A missing @path is an empty file. On error (-EINVAL unknown section or key, bad value; errno of
 * open) @err names file and line and *ret_conf is not written: the caller keeps what it has.
 */
int cram_conf_load(const char *path, struct cram_conf *ret_conf, struct cram_error *err);
/* The same from memory, for tests and fuzzing; @name stands for the file in messages. */
int cram_conf_parse(const char *name, const char *text, size_t size, struct cram_conf *ret_conf,
		    struct cram_error *err);
/* Consistency across options (minimum <= maximum ...); called by both of the above. */
int cram_conf_check(const struct cram_conf *conf, struct cram_error *err);

/*
 * The same of two configurations: "host.round 2 s -> 3 s, vm.mode unset -> auto, match web added:
 * name web*, weight 200".
 */
bool cram_conf_changes(const struct cram_conf *before, const struct cram_conf *after, char *buf,
		       size_t size);

/* What a [match] rule looks at. NULL: unknown, matches no condition on it. */
struct cram_vm_identity {
	const char *name;
	const char *uuid;
	const char *partition;
	const char *flavour;
};

/*
 * Values in force: CLI over persisted CLI over XML over match over host default over built-in,
 * setting by setting. @xml, @cli and @persist may be NULL. @ram: guest RAM in bytes, for floors in
 * percent and to cap a floor larger than the guest.
 */
void cram_settings_resolve(const struct cram_conf *conf, const struct cram_vm_identity *id,
			   uint64_t ram, const struct cram_vm_layer *xml,
			   const struct cram_vm_layer *cli, const struct cram_vm_layer *persist,
			   struct cram_vm_settings *ret);

/* ------------------------------------------------------------------ what outlives the agent */

struct cram_override {
	char uuid[CRAM_UUID_TEXT]; /* in lower case */
	char name[256]; /* as it was called then; for people, who name VMs so when they are gone */
	struct cram_vm_layer layer;
	/* Asked of the process that was started at that time (clock ticks after boot), not of the
	 * next. */
	bool paused, drained;
	uint64_t started;
};

struct cram_overrides {
	CRAM_ARRAY(struct cram_override) v;
	bool paused, drained; /* the whole host */
	size_t left_out;      /* parts of the file that are not understood */
};

/*
 * @path missing: empty. -EBADMSG with @err: malformed, nothing taken from it. Where settings alone
 * are not understood, as those of a newer version, the others are taken: @err is about the first.
 */
int cram_overrides_load(const char *path, struct cram_overrides *ret, struct cram_error *err);
int cram_overrides_parse(const char *text, size_t size, struct cram_overrides *ret,
			 struct cram_error *err);
/* Atomic replacement of the file. */
int cram_overrides_save(const char *path, const struct cram_overrides *o, struct cram_error *err);
/* NULL: there is none. */
const struct cram_override *cram_overrides_find(const struct cram_overrides *o, const char *uuid);
/* By UUID or by name. -ENOENT, or -ENOTUNIQ: more than one was called so. */
int cram_overrides_named(const struct cram_overrides *o, const char *vm,
			 const struct cram_override **ret);
/* "quota 3 MiB, weight 200, paused": what is in it, for people. */
const char *cram_override_text(const struct cram_override *o, char *buf, size_t size);
/*
 * Replace that of the same UUID, or remove it when nothing is left in it. 0, -ENOMEM, or -EINVAL:
 * it has no UUID, so nothing can be remembered of it.
 */
int cram_overrides_put(struct cram_overrides *o, const struct cram_override *override);
void cram_overrides_free(struct cram_overrides *o);
