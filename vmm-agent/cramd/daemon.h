/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The agent's own state: everything the loop owns. Stages get what they need of it as arguments or
 * as this; worker threads never see it (they get struct host).
 */
#pragma once

#include "act/dispatch.h"
#include "classify/looker.h"
#include "classify/nominator.h"
#include "discover.h"
#include "events.h"
#include "loop.h"
#include "sense/libvirt.h"
#include "sense/snapshot.h"

/* A process that is being examined. */
struct daemon_candidate {
	pid_t pid;
	uint64_t since_ms;
	bool said;		      /* that it takes long */
	bool from_libvirt;	      /* else wanted by its pid */
	struct libvirt_domain domain; /* the last one, when from_libvirt */
};

/* A process of libvirt's that could not be examined: asked again less and less often. */
struct daemon_refusal {
	pid_t pid;
	uint64_t again_ms;
	uint32_t wait_ms;
};

/* Of a VM that libvirt is about to start; see admission.h. */
struct daemon_reservation {
	char uuid[CRAM_UUID_TEXT];
	struct cram_promise promise; /* zero: announced only */
	bool at_once;		     /* its memory arrives as a whole */
	uint64_t until_ms;
};

struct daemon {
	struct host host;
	struct loop loop;
	int round_timer;
	struct events events;
	struct discover discover;
	struct looker looker;
	struct nominator nominator;
	struct mover mover;
	struct relief relief;
	struct backpressure backpressure;
	struct libvirt *libvirt; /* NULL: configured away */
	bool unlisted;		 /* it has not told of all VMs that run yet */
	bool none_before;	 /* it had run none when this agent was started */

	const char *conf_path;
	struct cram_conf conf;
	char config_error[512];
	uint64_t config_generation, reload_failures;
	uint64_t bad_domain_settings; /* times a domain's XML was not taken */
	struct cram_overrides overrides;
	char overrides_path[320];

	CRAM_ARRAY(struct daemon_candidate) candidates;
	CRAM_ARRAY(struct daemon_refusal) refusals;
	CRAM_ARRAY(struct daemon_reservation) reservations;
	uint64_t admissions_refused, admissions_warned;
	uint64_t started_ms, started_wall_s;

	/* The stages of a round, and what it came to. */
	struct snapshot snapshot;
	struct cram_policy_workspace *workspace;
	CRAM_ARRAY(struct cram_vm_action) actions; /* in the order of host.vms */
	struct cram_decision decision;
	struct dispatch dispatch;
	uint64_t rounds, rounds_failed; /* those that failed are among the rounds */
	uint64_t round_us, decision_us;
	uint64_t reported_unfit; /* mask of nodes: said in the log */

	/* Of the request that is being carried out: whose it is ("uid 0, pid 7"), and what it did.
	 */
	struct {
		char who[64]; /* empty: none is */
		char did[320];
	} request;
};

/*
 * Says what was done to @vm, or to the host when that is NULL: in the log and to who monitors, with
 * who asked for it, and the first of it in the answer to that one. @type: as for events_say().
 */
void daemon_say(struct daemon *d, const char *type, const struct vm *vm, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* Only in that answer: nothing has changed. */
void daemon_say_nothing_done(struct daemon *d, const struct vm *vm, const char *text);

/* Reads settings and overrides, nothing else. */
int daemon_load(struct daemon *d, struct cram_error *err);
/* Frees what was loaded and what rounds came to; threads, sockets and VMs are their makers'. */
void daemon_fini(struct daemon *d);

/*
 * Has @pid examined, to be taken in after that; no error when that has begun already. @domain: what
 * libvirt says about it; NULL: it is wanted by its pid. -EEXIST: it is a VM already.
 */
int daemon_want_vm(struct daemon *d, pid_t pid, const struct libvirt_domain *domain,
		   struct cram_error *err);
/* Has RAM looked for again where an address space has changed. */
void daemon_relayout(struct daemon *d);
/* Takes in what has been examined, and tells those who wait for it. */
void daemon_discovered(struct daemon *d);
void daemon_remove_vm(struct daemon *d, struct vm *vm);
struct vm *daemon_find_pid(const struct daemon *d, pid_t pid);
struct vm *daemon_find_uuid(const struct daemon *d, const char *uuid);
/* By name or UUID. -ENOENT, -ENOTUNIQ. */
int daemon_find_vm(const struct daemon *d, const char *name, struct vm **ret_vm);

/* Settings in force for @vm, from every source, after any of them changed. */
void daemon_resolve(struct daemon *d, struct vm *vm);
/* The same in two steps, for who may take it back: what differs from @before is said in the second.
 */
void daemon_resolve_quietly(struct daemon *d, struct vm *vm);
void daemon_say_settings(struct daemon *d, struct vm *vm, const struct cram_vm_settings *before);
/* What of its settings is not in force as it was asked for; empty: nothing. Returns @buf. */
const char *daemon_clamped(const struct vm *vm, char *buf, size_t size);
/* What libvirt said about a domain. */
void daemon_domain(struct daemon *d, const struct libvirt_domain *domain);
int daemon_reload(struct daemon *d, struct cram_error *err);

/*
 * What operators ask for (control.c). @vm NULL: the whole host, with VMs that come later. Outlives
 * the agent, and ends with the VM. In force whatever is returned; negative: @err says why it will
 * not outlive the agent.
 */
int daemon_pause(struct daemon *d, struct vm *vm, struct cram_error *err);
int daemon_drain(struct daemon *d, struct vm *vm, struct cram_error *err);
/* Undoes both. @vm NULL: not those that were asked for one VM. */
int daemon_resume(struct daemon *d, struct vm *vm, struct cram_error *err);
/* Of a VM just taken in: as was asked of this process before the agent was started. */
void daemon_restore(struct daemon *d, struct vm *vm);
/* @vm has ended. */
void daemon_forget(struct daemon *d, struct vm *vm);
/* Overrides settings. Negative: refused with @err, and nothing has changed. */
int daemon_set(struct daemon *d, struct vm *vm, const struct cram_set_request *set,
	       struct cram_error *err);
/* All overrides of @vm are dropped, those that are kept and those until it stops. As daemon_set().
 */
int daemon_drop(struct daemon *d, struct vm *vm, struct cram_error *err);
/*
 * The same of a VM that does not run, by name or UUID: nothing is kept of it any more. -ENOENT,
 * -ENOTUNIQ: nothing is, or it is not clear of which (@err stays as it is); else as daemon_set().
 */
int daemon_drop_gone(struct daemon *d, const char *name, struct cram_error *err);
/* What @vm has above its limits now, and has to give back. */
uint64_t daemon_give_back(const struct vm *vm);
/* At the end: what nobody will bring home. */
void daemon_say_left(struct daemon *d);

/* Has a round run in the next turn of the loop, instead of when it is due. */
void daemon_wake(struct daemon *d);

/* Bytes that @vm would have to give back but that do not fit into DRAM above headroom now. */
uint64_t daemon_missing(const struct daemon *d, const struct vm *vm, uint64_t give_back);
