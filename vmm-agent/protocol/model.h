/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What travels on the sockets, as C structures, with one table of fields per structure. The tables
 * drive JSON in both directions, the exporter's metrics, docs/reference/metrics.md and the tests.
 * The daemon fills the structures, the clients read them; neither writes JSON keys by hand.
 */
#pragma once

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "policy/policy.h"
#include "settings/settings.h"
#include "util/array.h"
#include "util/error.h"

enum cram_field_type {
	CRAM_FIELD_U64, /* CRAM_UNLIMITED travels as null */
	CRAM_FIELD_U32,
	CRAM_FIELD_I32,
	CRAM_FIELD_BOOL,
	CRAM_FIELD_TEXT, /* char[] of a fixed size */
	/* The same, of a setting: travels as the number that it is all of; "unlimited" as null */
	CRAM_FIELD_VALUE,
};

enum cram_metric_kind {
	CRAM_METRIC_NONE, /* not exported */
	CRAM_METRIC_GAUGE,
	CRAM_METRIC_COUNTER,
	CRAM_METRIC_INFO,  /* text: becomes a label of the _info metric */
	CRAM_METRIC_STATE, /* text: a metric of its own, with the text as a label */
};

struct cram_field {
	const char *name; /* JSON key */
	enum cram_field_type type;
	size_t offset;
	size_t size;
	enum cram_metric_kind kind;
	const char *metric;    /* full name, base unit in it; NULL with NONE and INFO */
	unsigned int decimals; /* metric = value / 10^decimals: milliseconds have 3 */
	const char *help;      /* one sentence, with the unit; also the documentation */
};

/* One per host: GetStatus.host */
struct cram_host_report {
	char version[32];
	uint64_t uptime_ms;
	uint64_t start_time_s; /* wall clock */
	bool paused;
	bool draining;
	/* host-wide pause in force */
	bool libvirt_wanted;
	bool libvirt_connected;
	char detector[32];	/* in use: "damon+page_idle", "damon", ... */
	char config_error[512]; /* why the last reload was refused; empty: it was taken */
	bool config_taken;	/* false: config_error is set */
	uint64_t config_generation;
	uint64_t reload_failures;
	uint64_t bad_domain_settings;
	uint64_t vms;
	uint64_t vms_auto;
	uint64_t vms_ineligible;
	uint64_t dram_total;
	uint64_t dram_free;
	uint64_t dram_available; /* free, and what page cache would be given up for it */
	uint64_t dram_headroom;	 /* target */
	uint64_t dram_reserve;
	uint64_t hugepages;
	uint64_t dram_usable;
	bool sold_known; /* which VMs run; else the sums over VMs are too low */
	uint64_t floors;
	uint64_t sold;
	uint64_t guaranteed;
	uint64_t expected;
	uint64_t lasting, lasting_tiers;
	bool lasting_known;
	uint64_t at_risk;
	uint64_t tier_capacity;
	uint64_t tier_bytes;
	uint64_t device_bytes;
	uint64_t swap_free;
	uint64_t rounds; /* finished */
	uint64_t rounds_failed;
	uint64_t round_us;    /* last round, wall */
	uint64_t decision_us; /* last decision, wall */
	uint64_t demoted;     /* bytes since start */
	uint64_t promoted;
	uint64_t refused;	/* bytes asked to move that did not */
	uint64_t reliefs;	/* times memory was to leave a card that pushed back */
	uint64_t relieved;	/* bytes of it */
	uint64_t shed;		/* bytes that went to swap then, DRAM having no room */
	uint64_t relief_us;	/* last time: from finding that to the first move */
	uint64_t libvirt_stale; /* results dropped because they were too old */
	uint64_t log_missed;	/* rate-limited log lines suppressed */
	uint64_t cpu_us;	/* of the daemon, user + system */
	uint64_t kdamond_cpu_us;
	uint64_t rss;
	uint64_t open_fds;
	uint64_t threads;
	char admission[16]; /* cram_admission_mode_name() */
	char sell[16];	    /* cram_sell_name() */
	uint64_t bound;
	uint64_t reserved;
	uint64_t room;
	uint64_t admissions_refused;
	uint64_t admissions_warned;
};

/* One per home node: GetStatus.dram */
struct cram_dram_report {
	int32_t nid;
	uint64_t total;
	uint64_t free;
	uint64_t available; /* as cram_host_report has it of all */
	uint64_t headroom;  /* target */
};

/* One per tier node: GetStatus.nodes, ListNodes.nodes */
struct cram_node_report {
	int32_t nid;
	char tier[16];
	char state[32];	   /* of cram_node_states */
	uint64_t capacity; /* device bytes it may hold */
	uint64_t used;	   /* logical bytes of all VMs */
	uint64_t device_bytes;
	uint64_t free;
	uint64_t budget; /* device bytes offered to VMs now */
	uint64_t vms;
	/* Of tier cram; else 0. As docs/design/cram.md has them. */
	uint64_t logical;
	uint64_t credit;
	uint64_t unsettled;
	uint64_t reserve;
	uint64_t quarantined;
	uint32_t pressure; /* thousandths */
	uint64_t generation;
	uint64_t reports;
	uint64_t reports_failed;
	uint64_t evicted; /* bytes */
	uint64_t lost;	  /* pages */
	char watch_error[64];
};

/* One per VM: ListVms.vms, ShowVm.vm, ExplainVm.vm */
struct cram_vm_report {
	char uuid[40];
	char name[256];
	int32_t pid;
	char mode[16];
	char state[24];	     /* cram_vm_state_name() */
	char ineligible[64]; /* "" or the reason's code: "hugepages", "layout-unknown" ... */
	char note[256];	     /* settings error, manual override seen ...; empty: none */
	bool settings_refused;
	char tier[16];
	int32_t nid; /* tier node, -1: none */
	uint64_t ram;
	uint64_t eligible;
	uint64_t dram;
	uint64_t tier_bytes;
	uint64_t device_bytes; /* best estimate */
	uint64_t device_bytes_upper;
	uint64_t swapped;
	uint64_t quota;
	uint64_t hard_limit;
	uint64_t floor;
	uint64_t effective_floor;
	uint32_t weight;
	uint32_t cold_age; /* seconds in force */
	bool cold_age_auto;
	uint64_t cold;		 /* DRAM bytes older than cold_age */
	uint64_t hot;		 /* tier bytes found accessed */
	uint64_t accessed;	 /* bytes accessed within 120 s */
	uint64_t fair_share;	 /* device bytes */
	uint64_t demote_pending; /* what the last decision asked for */
	uint64_t promote_pending;
	uint64_t demoted; /* bytes since the agent saw the VM */
	uint64_t promoted;
	uint64_t refused;
	uint64_t returned; /* bytes found accessed after demotion */
	uint64_t batches;
	uint64_t worst_batch_us;
	uint64_t looks;
	uint64_t worst_look_us;
	uint64_t worst_placement_us;
	uint64_t scan_age_ms; /* since its memory was last classified */
	bool paused;
	bool draining;
	bool persist; /* an override survives the VM's stop */
};

#define CRAM_MAX_REASON_REPORTS CRAM_MAX_REASONS

struct cram_reason_report {
	char code[32]; /* cram_reason_name() */
	char text[256];
	uint64_t bytes;
	uint64_t limit;
};

struct cram_setting_report {
	char name[32];
	char value[64];	 /* sizes in bytes, times in seconds */
	char origin[32]; /* "xml", "match web", ... */
};

/* What `cramctl check` finds; of a VM that cannot be tiered the code is the reason for that. */
enum cram_finding {
	/* The host. */
	CRAM_FINDING_SELL,
	CRAM_FINDING_COMPRESSING_NODE,
	CRAM_FINDING_NO_TIER,
	CRAM_FINDING_MEMORY_RECLAIM,
	CRAM_FINDING_TIER,
	CRAM_FINDING_ZSWAP_SWAP,
	CRAM_FINDING_TIER_STATE,
	CRAM_FINDING_DETECTOR,
	CRAM_FINDING_DAMON_REGIONS,
	CRAM_FINDING_NO_LIBVIRT,
	CRAM_FINDING_CONFIG,
	CRAM_FINDING_NO_SWAP,
	CRAM_FINDING_SHMEM_THP,
	CRAM_FINDING_GAIN,
	/* A VM. */
	CRAM_FINDING_SETTINGS,
	CRAM_FINDING_NOT_ON_CRAM, /* in the order of enum cram_tier */
	CRAM_FINDING_NOT_ON_NODE,
	CRAM_FINDING_NOT_ON_ZSWAP,
	CRAM_FINDING_TIERS,
	CRAM_FINDING_FLOOR,
	CRAM_FINDING_ELIGIBLE,
	CRAM_FINDING_CLAMPED,
	CRAM_N_FINDINGS,
};

const char *cram_finding_name(enum cram_finding finding);
/* What it is, and what to do about it: Markdown, for docs/reference/metrics.md. */
const char *cram_finding_text(enum cram_finding finding);
const char *cram_finding_advice(enum cram_finding finding);

/* One finding of Check. */
struct cram_check_report {
	char severity[16]; /* "ok", "info", "warning", "error" */
	char subject[280]; /* "host" or `vm "db1"` */
	char uuid[40];	   /* of the VM; empty: the host */
	char name[256];
	char code[64]; /* cram_finding_name(), or why the VM cannot be tiered */
	char text[320];
	uint64_t bytes; /* concerned; 0: not about bytes */
};

/* What is kept of one VM, be it gone: ListOverrides.overrides */
struct cram_override_report {
	char uuid[40];
	char name[256];
	bool running;
	char kept[320]; /* cram_override_text() */
};

/* One event of Monitor. */
struct cram_event_report {
	uint64_t time_us; /* wall clock */
	char type[32];	  /* docs/reference/protocol.md lists them */
	char uuid[40];	  /* empty: the host */
	char name[256];
	char text[320];
	uint64_t bytes;
};

/* The states of a tier node, up to NULL. */
extern const char *const cram_node_states[];

extern const struct cram_field cram_host_fields[];
extern const size_t cram_n_host_fields;
extern const struct cram_field cram_dram_fields[];
extern const size_t cram_n_dram_fields;
extern const struct cram_field cram_node_fields[];
extern const size_t cram_n_node_fields;
extern const struct cram_field cram_vm_fields[];
extern const size_t cram_n_vm_fields;
extern const struct cram_field cram_reason_fields[];
extern const size_t cram_n_reason_fields;
extern const struct cram_field cram_setting_fields[];
extern const size_t cram_n_setting_fields;
extern const struct cram_field cram_check_fields[];
extern const size_t cram_n_check_fields;
extern const struct cram_field cram_override_fields[];
extern const size_t cram_n_override_fields;
extern const struct cram_field cram_event_fields[];
extern const size_t cram_n_event_fields;

/* Object from structure; NULL: out of memory. Owned by the caller. */
struct json_object *cram_encode(const struct cram_field *fields, size_t n, const void *structure);
/*
 * Structure from object: missing keys leave zero (an older agent), unknown keys are ignored (a
 * newer one), a key of the wrong type is -EBADMSG.
 */
int cram_decode(const struct cram_field *fields, size_t n, struct json_object *o, size_t size,
		void *ret_structure, struct cram_error *err);

/* Value of a field of any type but text; a negative one wraps around. */
uint64_t cram_field_number(const struct cram_field *f, const void *structure);
/* -ERANGE: the type of @f cannot hold it. */
int cram_field_set_number(const struct cram_field *f, uint64_t value, void *structure);
/* Of a text field; ends with a zero byte. */
const char *cram_field_text(const struct cram_field *f, const void *structure);

/* One field. @cram_encode_field: NULL is JSON null. */
struct json_object *cram_encode_field(const struct cram_field *f, const void *structure);
int cram_decode_field(const struct cram_field *f, struct json_object *o, void *structure,
		      struct cram_error *err);

#define cram_encode_as(kind, p) cram_encode(cram_##kind##_fields, cram_n_##kind##_fields, (p))
#define cram_decode_as(kind, o, p, err) \
	cram_decode(cram_##kind##_fields, cram_n_##kind##_fields, (o), sizeof(*(p)), (p), (err))

/* What is told of a host without its VMs; borrowed. */
struct cram_status_reports {
	const struct cram_host_report *host;
	const struct cram_dram_report *dram;
	size_t n_dram;
	const struct cram_node_report *nodes;
	size_t n_nodes;
};

/* Whole replies. Each returns an object owned by the caller, or NULL: out of memory. */
struct json_object *cram_reply_status(const struct cram_status_reports *status);
struct json_object *cram_reply_nodes(const struct cram_node_report *nodes, size_t n_nodes);
struct json_object *cram_reply_vms(const struct cram_vm_report *vms, size_t n_vms);
struct json_object *cram_reply_vm(const struct cram_vm_report *vm,
				  const struct cram_setting_report *settings, size_t n_settings);
struct json_object *cram_reply_explain(const struct cram_vm_report *vm,
				       const struct cram_reason_report *reasons, size_t n_reasons);
/* Consumes @record, which cram_record_encode() made. */
struct json_object *cram_reply_record(struct json_object *record);
struct json_object *cram_reply_overrides(const struct cram_override_report *overrides, size_t n);
struct json_object *cram_reply_check(const struct cram_check_report *findings, size_t n);
struct json_object *cram_reply_metrics(const struct cram_status_reports *status,
				       const struct cram_vm_report *vms, size_t n_vms);

/* Settings of a VM with their origins, ready for cram_reply_vm(). */
void cram_setting_reports(const struct cram_vm_settings *set,
			  struct cram_setting_report ret[CRAM_N_SETTINGS]);
/* "15.84 of 16 MiB quota used; 32 MiB cold must stay": one reason of the last decision on @vm. */
void cram_reason_sentence(const struct cram_reason_entry *e, const struct cram_vm_report *vm,
			  char *buf, size_t size);
/* Reasons of an action on @vm, ready for cram_reply_explain(); returns how many. */
size_t cram_reason_reports(const struct cram_vm_action *action, const struct cram_vm_report *vm,
			   struct cram_reason_report ret[CRAM_MAX_REASON_REPORTS]);

/* ------------------------------------------------------------------ requests */

/* SetQuota */
struct cram_set_request {
	const char *vm;		    /* name or UUID, borrowed from the parameters */
	struct cram_vm_layer layer; /* settings to override */
	uint32_t clear; /* bit (1 << enum cram_setting): override to be dropped (JSON null) */
	bool persist;
};

int cram_decode_set(struct json_object *parameters, struct cram_set_request *ret,
		    struct cram_error *err);

/* ShowVm, ExplainVm: {"vm"}; Pause, Resume, Drain: "vm" optional (*ret_vm NULL: host). */
int cram_decode_vm(struct json_object *parameters, bool optional, const char **ret_vm,
		   struct cram_error *err);

/* Reply of SetQuota and Drain; @vm NULL: of all VMs; @kept: it outlives the agent, if it is to. */
struct json_object *cram_reply_accepted(const struct cram_vm_report *vm, uint64_t missing_bytes,
					bool kept, const char *message, const char *changed);
