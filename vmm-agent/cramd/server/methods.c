// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The methods of docs/reference/protocol.md: parameters in, a report or a change through daemon.h,
 * a reply. Nothing is decided here.
 */
#include "methods.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "../admission.h"
#include "../overcommit.h"
#include "report.h"
#include "util/cleanup.h"
#include "util/utf8.h"

static int no_parameters(struct json_object *parameters, struct cram_error *err)
{
	static const char *const none[] = { NULL };

	return cram_params_only(parameters, none, err);
}

static int bad_parameter(struct cram_call *call, const struct cram_error *err)
{
	return cram_call_fail(call, CRAM_ERR_PARAMETER, err);
}

/* Whoever changes something is on record with it. */
static void begin(struct daemon *d, struct cram_call *call)
{
	const struct client *client = cram_peer_userdata(cram_call_peer(call));

	d->request.did[0] = '\0';
	snprintf(d->request.who, sizeof(d->request.who), "uid %d (pid %d)", (int)client->cred.uid,
		 (int)client->cred.pid);
}

/* What was done goes into @answer; NULL: to nobody. */
static void end(struct daemon *d, struct answer *answer)
{
	d->request.who[0] = '\0';
	if (answer)
		memcpy(answer->changed, d->request.did, sizeof(answer->changed));
}

/* Whoever is refused a change is, too. */
static void say_refused(struct daemon *d, struct cram_call *call, const struct vm *vm,
			const struct cram_error *err)
{
	char text[CRAM_ERROR_TEXT];

	begin(d, call);
	daemon_say(d, "refused", vm, "%s refused: %s", cram_call_method(call),
		   cram_error_format(err, text, sizeof(text)));
	end(d, NULL);
}

int refuse_call(struct daemon *d, struct cram_call *call, const struct vm *vm, const char *error,
		const struct cram_error *err)
{
	say_refused(d, call, vm, err);
	return cram_call_fail(call, error, err);
}

/* As bad_parameter(), of a call that would change something: @vm is what it may be about. */
static int refuse_parameter(struct daemon *d, struct cram_call *call, const struct vm *vm,
			    const struct cram_error *err)
{
	return refuse_call(d, call, vm, CRAM_ERR_PARAMETER, err);
}

/* Whatever else may be wrong with them: the VM that @parameters name. NULL: none that there is. */
static struct vm *vm_in(const struct daemon *d, struct json_object *parameters)
{
	struct json_object *name;
	struct vm *vm;

	if (!json_object_object_get_ex(parameters, "vm", &name) ||
	    !json_object_is_type(name, json_type_string) ||
	    daemon_find_vm(d, json_object_get_string(name), &vm) < 0)
		return NULL;
	return vm;
}

/* No VM, or more than one (-ENOTUNIQ), is called @name. */
static int answer_no_vm(struct cram_call *call, const char *name, int error)
{
	struct json_object *o = json_object_new_object();

	if (!o)
		return -ENOMEM;
	json_object_object_add(o, "vm", json_object_new_string(name));
	return cram_call_error(
		call, error == -ENOTUNIQ ? CRAM_ERR_VM_AMBIGUOUS : CRAM_ERR_VM_NOT_FOUND, o);
}

/* The same of a call that would have changed it. */
static int refuse_no_vm(struct daemon *d, struct cram_call *call, const char *name, int error)
{
	struct cram_error err = {};
	char object[192], called[128];

	snprintf(object, sizeof(object), "vm \"%s\"", utf8_head(called, sizeof(called), name));
	cram_error_set(&err, error, object, NULL, NULL, "%s",
		       error == -ENOTUNIQ ? "more than one is called so" : "there is none");
	say_refused(d, call, NULL, &err);
	return answer_no_vm(call, name, error);
}

/* The VM that a call to change it names. 0; 1: answered with an error; negative: no peer. */
static int vm_to_change(struct daemon *d, struct cram_call *call, const char *name,
			struct vm **ret_vm)
{
	int r = daemon_find_vm(d, name, ret_vm);

	if (r == 0)
		return 0;
	r = refuse_no_vm(d, call, name, r);
	return r < 0 ? r : 1;
}

/* The VM to be told of, which the parameters name and nothing else; as vm_to_change(). */
static int only_vm(struct daemon *d, struct cram_call *call, struct json_object *parameters,
		   struct cram_error *err, struct vm **ret_vm)
{
	const char *name;
	int r;

	if (cram_decode_vm(parameters, false, &name, err) < 0) {
		r = bad_parameter(call, err);
		return r < 0 ? r : 1;
	}
	r = daemon_find_vm(d, name, ret_vm);
	if (r == 0)
		return 0;
	r = answer_no_vm(call, name, r);
	return r < 0 ? r : 1;
}

static size_t collect_dram(const struct daemon *d, struct cram_dram_report *dram)
{
	for (size_t i = 0; i < d->snapshot.n_dram; i++)
		report_dram(d, i, &dram[i]);
	return d->snapshot.n_dram;
}

static size_t collect_nodes(struct daemon *d, struct cram_node_report *nodes)
{
	for (size_t i = 0; i < d->snapshot.n_tiers; i++)
		report_node(d, i, &nodes[i]);
	return d->snapshot.n_tiers;
}

/* All that is told of the host without its VMs, and what that points to. */
struct status {
	struct cram_host_report host;
	struct cram_dram_report dram[CRAM_MAX_DRAM];
	struct cram_node_report nodes[TIERS_MAX];
	struct cram_status_reports all;
};

static void collect_status(struct daemon *d, struct status *ret)
{
	report_host(d, &ret->host);
	ret->all = (struct cram_status_reports){
		.host = &ret->host,
		.dram = ret->dram,
		.n_dram = collect_dram(d, ret->dram),
		.nodes = ret->nodes,
		.n_nodes = collect_nodes(d, ret->nodes),
	};
}

static struct cram_vm_report *collect_vms(struct daemon *d)
{
	struct cram_vm_report *vms = calloc(d->host.vms.n ? d->host.vms.n : 1, sizeof(*vms));

	for (size_t i = 0; vms && i < d->host.vms.n; i++)
		report_vm(d, d->host.vms.v[i], &vms[i]);
	return vms;
}

static int get_status(struct cram_call *call, struct json_object *parameters, void *userdata,
		      struct cram_error *err)
{
	struct status status;

	if (no_parameters(parameters, err) < 0)
		return bad_parameter(call, err);
	collect_status(userdata, &status);
	return cram_call_reply(call, cram_reply_status(&status.all));
}

static int list_nodes(struct cram_call *call, struct json_object *parameters, void *userdata,
		      struct cram_error *err)
{
	struct cram_node_report nodes[TIERS_MAX];

	if (no_parameters(parameters, err) < 0)
		return bad_parameter(call, err);
	return cram_call_reply(call, cram_reply_nodes(nodes, collect_nodes(userdata, nodes)));
}

static int list_vms(struct cram_call *call, struct json_object *parameters, void *userdata,
		    struct cram_error *err)
{
	cleanup_free struct cram_vm_report *vms = NULL;
	struct daemon *d = userdata;

	if (no_parameters(parameters, err) < 0)
		return bad_parameter(call, err);
	vms = collect_vms(d);
	if (!vms)
		return -ENOMEM;
	return cram_call_reply(call, cram_reply_vms(vms, d->host.vms.n));
}

typedef struct json_object *vm_reply(const struct daemon *d, const struct vm *vm,
				     const struct cram_vm_report *report);

static int answer_vm(struct cram_call *call, struct json_object *parameters, struct daemon *d,
		     struct cram_error *err, vm_reply *reply)
{
	struct cram_vm_report report;
	struct vm *vm;
	int r = only_vm(d, call, parameters, err, &vm);

	if (r)
		return r < 0 ? r : 0;
	report_vm(d, vm, &report);
	return cram_call_reply(call, reply(d, vm, &report));
}

static struct json_object *with_settings(const struct daemon *d, const struct vm *vm,
					 const struct cram_vm_report *report)
{
	struct cram_setting_report settings[CRAM_N_SETTINGS];

	(void)d;
	cram_setting_reports(&vm->settings, settings);
	return cram_reply_vm(report, settings, CRAM_N_SETTINGS);
}

static int show_vm(struct cram_call *call, struct json_object *parameters, void *userdata,
		   struct cram_error *err)
{
	return answer_vm(call, parameters, userdata, err, with_settings);
}

static struct json_object *with_reasons(const struct daemon *d, const struct vm *vm,
					const struct cram_vm_report *report)
{
	struct cram_reason_report reasons[CRAM_MAX_REASON_REPORTS];
	size_t n = cram_reason_reports(&vm->action, report, reasons);

	for (size_t i = 0; i < n; i++)
		if (strcmp(reasons[i].code, cram_reason_name(CRAM_REASON_NO_TIER)) == 0)
			report_no_tier(d, vm, reasons[i].text, sizeof(reasons[i].text));
	return cram_reply_explain(report, reasons, n);
}

static int explain_vm(struct cram_call *call, struct json_object *parameters, void *userdata,
		      struct cram_error *err)
{
	return answer_vm(call, parameters, userdata, err, with_reasons);
}

static int check(struct cram_call *call, struct json_object *parameters, void *userdata,
		 struct cram_error *err)
{
	cleanup_free struct cram_check_report *findings = NULL;
	struct daemon *d = userdata;
	size_t max = d->host.vms.n * 4 + TIERS_MAX + NODES_MAX + 16;

	if (no_parameters(parameters, err) < 0)
		return bad_parameter(call, err);
	findings = calloc(max, sizeof(*findings));
	if (!findings)
		return -ENOMEM;
	return cram_call_reply(call, cram_reply_check(findings, report_check(d, findings, max)));
}

static int list_overrides(struct cram_call *call, struct json_object *parameters, void *userdata,
			  struct cram_error *err)
{
	cleanup_free struct cram_override_report *overrides = NULL;
	struct daemon *d = userdata;
	size_t n = d->overrides.v.n;

	if (no_parameters(parameters, err) < 0)
		return bad_parameter(call, err);
	overrides = calloc(n ? n : 1, sizeof(*overrides));
	if (!overrides)
		return -ENOMEM;
	report_overrides(d, overrides);
	return cram_call_reply(call, cram_reply_overrides(overrides, n));
}

static int fits(struct cram_call *call, struct json_object *parameters, void *userdata,
		struct cram_error *err)
{
	static const char *const allowed[] = { "ram", NULL };
	struct cram_overcommit_input host;
	struct admission answer;
	struct json_object *o;
	uint64_t ram;

	if (cram_params_only(parameters, allowed, err) < 0 ||
	    cram_param_u64(parameters, "ram", &ram, err) < 0)
		return bad_parameter(call, err);
	admission_fits(userdata, ram, &answer);
	overcommit_input(userdata, NULL, &host);
	o = json_object_new_object();
	if (!o)
		return -ENOMEM;
	json_object_object_add(o, "fits", json_object_new_boolean(answer.admitted));
	json_object_object_add(o, "known", json_object_new_boolean(answer.known));
	json_object_object_add(o, "room", json_object_new_uint64(admission_room(userdata, &host)));
	json_object_object_add(o, "message", json_object_new_string(answer.text));
	return cram_call_reply(call, o);
}

static int record(struct cram_call *call, struct json_object *parameters, void *userdata,
		  struct cram_error *err)
{
	struct daemon *d = userdata;

	if (no_parameters(parameters, err) < 0)
		return bad_parameter(call, err);
	return cram_call_reply(call, cram_reply_record(snapshot_record(&d->snapshot, &d->host,
								       &d->conf.host.policy)));
}

static int get_metrics(struct cram_call *call, struct json_object *parameters, void *userdata,
		       struct cram_error *err)
{
	cleanup_free struct cram_vm_report *vms = NULL;
	struct cram_duration_counts durations[CRAM_N_DURATIONS];
	struct json_object *reply;
	struct daemon *d = userdata;
	struct status status;

	if (no_parameters(parameters, err) < 0)
		return bad_parameter(call, err);
	vms = collect_vms(d);
	if (!vms)
		return -ENOMEM;
	collect_status(d, &status);
	reply = cram_reply_metrics(&status.all, vms, d->host.vms.n);
	report_durations(d, durations);
	if (reply && cram_durations_encode(reply, durations) < 0) {
		json_object_put(reply);
		reply = NULL;
	}
	return cram_call_reply(call, reply);
}

static int monitor(struct cram_call *call, struct json_object *parameters, void *userdata,
		   struct cram_error *err)
{
	struct client *client = cram_peer_userdata(cram_call_peer(call));

	(void)userdata;
	if (no_parameters(parameters, err) < 0)
		return bad_parameter(call, err);
	cram_call_keep(call);
	client->monitor = call;
	return 0;
}

void answer_after_round(struct daemon *d, struct cram_call *call, const struct answer *answer)
{
	struct client *client = cram_peer_userdata(cram_call_peer(call));

	cram_call_keep(call);
	client->waiting = call;
	client->answer = *answer;
	client->answer.rounds = d->rounds;
	if (answer->vm)
		vm_ref(answer->vm);
	daemon_wake(d);
}

void answer_now(struct daemon *d, struct client *client)
{
	const struct answer *answer = &client->answer;
	struct cram_vm_report report;
	struct json_object *o;

	if (answer->vm)
		report_vm(d, answer->vm, &report);
	if (answer->accepted) {
		o = cram_reply_accepted(answer->vm ? &report : NULL, answer->missing,
					!answer->unkept, answer->message, answer->changed);
	} else {
		o = json_object_new_object();
		if (o && answer->generation)
			json_object_object_add(o, "generation",
					       json_object_new_uint64(answer->generation));
		else if (o)
			json_object_object_add(o, "message",
					       json_object_new_string(answer->message));
		if (o)
			json_object_object_add(o, "changed",
					       json_object_new_string(answer->changed));
	}
	cram_call_reply(client->waiting, o);
	answer_drop(client);
}

void answer_drop(struct client *client)
{
	if (client->waiting)
		vm_unref(client->answer.vm);
	client->waiting = NULL;
}

typedef int host_or_vm(struct daemon *d, struct vm *vm, struct cram_error *err);

/* A command for the VM named, or for the host. As vm_to_change(); *@ret_r is the command's. */
static int command(struct daemon *d, struct cram_call *call, struct json_object *parameters,
		   host_or_vm *run, struct cram_error *err, struct vm **ret_vm, int *ret_r)
{
	const char *name;
	int r;

	*ret_vm = NULL;
	if (cram_decode_vm(parameters, true, &name, err) < 0) {
		r = refuse_parameter(d, call, vm_in(d, parameters), err);
		return r < 0 ? r : 1;
	}
	if (name) {
		r = vm_to_change(d, call, name, ret_vm);
		if (r)
			return r;
	}
	begin(d, call);
	*ret_r = run(d, *ret_vm, err);
	return 0;
}

static int pause_or_resume(struct daemon *d, struct cram_call *call, struct json_object *parameters,
			   host_or_vm *run, struct cram_error *err)
{
	struct answer answer = {};
	struct vm *vm;
	int result, r = command(d, call, parameters, run, err, &vm, &result);

	if (r)
		return r < 0 ? r : 0;
	if (result < 0)
		cram_error_format(err, answer.message, sizeof(answer.message));
	end(d, &answer);
	answer_after_round(d, call, &answer);
	return 0;
}

static int pause_method(struct cram_call *call, struct json_object *parameters, void *userdata,
			struct cram_error *err)
{
	return pause_or_resume(userdata, call, parameters, daemon_pause, err);
}

static int resume_method(struct cram_call *call, struct json_object *parameters, void *userdata,
			 struct cram_error *err)
{
	return pause_or_resume(userdata, call, parameters, daemon_resume, err);
}

/* What the VM, or all of them, will have to bring home, after what is to be warned of. */
static int accepted(struct daemon *d, struct cram_call *call, struct vm *vm, bool kept,
		    const char *warning)
{
	struct answer answer = { .accepted = true, .vm = vm, .unkept = !kept };
	char missing[32], all[32];
	uint64_t back = 0;

	end(d, &answer);
	for (size_t i = 0; i < d->host.vms.n; i++) {
		struct vm *one = d->host.vms.v[i];

		if (vm && one != vm)
			continue;
		back += daemon_give_back(one);
		answer.missing += daemon_missing(d, one, daemon_give_back(one));
	}
	if (answer.missing)
		snprintf(
			answer.message, sizeof(answer.message),
			"%s%s%s to give back, of which %s do not fit into DRAM above its headroom now",
			warning, warning[0] ? "; " : "", cram_size_format(back, all, sizeof(all)),
			cram_size_format(answer.missing, missing, sizeof(missing)));
	else if (back)
		snprintf(answer.message, sizeof(answer.message), "%s%s%s to give back", warning,
			 warning[0] ? "; " : "", cram_size_format(back, all, sizeof(all)));
	else
		snprintf(answer.message, sizeof(answer.message), "%s", warning);
	answer_after_round(d, call, &answer);
	return 0;
}

static int drain(struct cram_call *call, struct json_object *parameters, void *userdata,
		 struct cram_error *err)
{
	char text[CRAM_ERROR_TEXT] = "";
	struct vm *vm;
	int result, r = command(userdata, call, parameters, daemon_drain, err, &vm, &result);

	if (r)
		return r < 0 ? r : 0;
	if (result < 0)
		cram_error_format(err, text, sizeof(text));
	return accepted(userdata, call, vm, result == 0, text);
}

static int set_quota(struct cram_call *call, struct json_object *parameters, void *userdata,
		     struct cram_error *err)
{
	struct daemon *d = userdata;
	struct cram_set_request set;
	char warning[128] = "";
	struct vm *vm;
	int r;

	r = cram_decode_set(parameters, &set, err);
	if (r < 0)
		return refuse_call(d, call, vm_in(d, parameters), CRAM_ERR_INVALID_SETTING, err);
	r = vm_to_change(d, call, set.vm, &vm);
	if (r)
		return r < 0 ? r : 0;
	begin(d, call);
	r = daemon_set(d, vm, &set, err);
	if (r < 0)
		return refuse_call(d, call, vm, CRAM_ERR_REFUSED, err);
	if (set.layer.set & 1U << CRAM_SET_FLOOR)
		daemon_clamped(vm, warning, sizeof(warning));
	return accepted(d, call, vm, true, warning);
}

/* Of a VM that runs, or of one that is gone. */
static int drop_overrides(struct cram_call *call, struct json_object *parameters, void *userdata,
			  struct cram_error *err)
{
	struct answer answer = { .accepted = true };
	struct daemon *d = userdata;
	struct vm *vm = NULL;
	const char *name;
	int r;

	if (cram_decode_vm(parameters, false, &name, err) < 0)
		return refuse_parameter(d, call, vm_in(d, parameters), err);
	begin(d, call);
	r = daemon_find_vm(d, name, &vm);
	if (r == 0)
		r = daemon_drop(d, vm, err);
	else if (r == -ENOENT)
		r = daemon_drop_gone(d, name, err);
	if (err->code)
		return refuse_call(d, call, vm, CRAM_ERR_REFUSED, err);
	if (r < 0)
		return refuse_no_vm(d, call, name, r);
	if (vm)
		return accepted(d, call, vm, true, "");
	end(d, &answer);
	answer_after_round(d, call, &answer);
	return 0;
}

static int reload(struct cram_call *call, struct json_object *parameters, void *userdata,
		  struct cram_error *err)
{
	struct daemon *d = userdata;
	struct answer answer = {};
	int r;

	if (no_parameters(parameters, err) < 0)
		return refuse_parameter(d, call, NULL, err);
	begin(d, call);
	r = daemon_reload(d, err);
	end(d, &answer);
	if (r < 0)
		return cram_call_fail(call, CRAM_ERR_CONFIG_INVALID, err);
	answer.generation = d->config_generation;
	answer_after_round(d, call, &answer);
	return 0;
}

static int add_vm(struct cram_call *call, struct json_object *parameters, void *userdata,
		  struct cram_error *err)
{
	static const char *const allowed[] = { "pid", NULL };
	struct client *client = cram_peer_userdata(cram_call_peer(call));
	struct daemon *d = userdata;
	uint64_t pid;

	if (cram_params_only(parameters, allowed, err) < 0 ||
	    cram_param_u64(parameters, "pid", &pid, err) < 0)
		return refuse_parameter(d, call, NULL, err);
	if (pid == 0 || pid > INT32_MAX) {
		cram_error_set(err, -EINVAL, NULL, NULL, NULL, "pid %" PRIu64 " is no pid", pid);
		return refuse_parameter(d, call, NULL, err);
	}
	if (daemon_want_vm(d, (pid_t)pid, NULL, err) < 0)
		return refuse_call(d, call, NULL, CRAM_ERR_REFUSED, err);
	/* Answered when it has been examined: EVENT_EXAMINED. */
	cram_call_keep(call);
	client->adding = call;
	client->adding_pid = (pid_t)pid;
	return 0;
}

void answer_added(struct daemon *d, struct cram_call *call, struct vm *vm)
{
	struct answer answer = { .accepted = true, .vm = vm };
	char ram[32];

	begin(d, call);
	daemon_say(d, "vm-add", vm, "taken in as %s: pid %d, %s of RAM, mode %s", vm->uuid,
		   (int)vm->pid, cram_size_format(vm->ram, ram, sizeof(ram)),
		   cram_mode_name(vm->settings.mode));
	end(d, &answer);
	answer_after_round(d, call, &answer);
}

/* Asked by libvirt's hook: what it is told to do it does, and what fails here it lets pass. */
static int admit(struct cram_call *call, struct json_object *parameters, void *userdata,
		 struct cram_error *err)
{
	struct client *client = cram_peer_userdata(cram_call_peer(call));
	static const char *const allowed[] = { "operation", "xml", NULL };
	const char *operation, *xml;
	struct daemon *d = userdata;
	struct admission answer;
	struct json_object *o;
	int r;

	if (cram_params_only(parameters, allowed, err) < 0 ||
	    cram_param_text(parameters, "operation", &operation, err) < 0 ||
	    cram_param_text(parameters, "xml", &xml, err) < 0)
		return refuse_parameter(d, call, NULL, err);
	r = admission_hook(d, operation, xml, strlen(xml), &answer, err);
	if (r == -EINVAL)
		return refuse_parameter(d, call, NULL, err);
	if (r < 0)
		return r;
	o = json_object_new_object();
	if (!o)
		return -ENOMEM;
	json_object_object_add(o, "admitted", json_object_new_boolean(answer.admitted));
	json_object_object_add(o, "message", json_object_new_string(answer.text));
	client->refusing = !answer.admitted;
	client->refusal = answer;
	return cram_call_reply(call, o);
}

/* The hook had its answer in time, and libvirt does not start the VM. */
static int refuse(struct cram_call *call, struct json_object *parameters, void *userdata,
		  struct cram_error *err)
{
	struct client *client = cram_peer_userdata(cram_call_peer(call));
	struct daemon *d = userdata;

	if (no_parameters(parameters, err) < 0)
		return refuse_parameter(d, call, NULL, err);
	if (!client->refusing) {
		cram_error_set(err, -EINVAL, NULL, NULL, NULL,
			       "no VM was refused on this connection");
		return refuse_call(d, call, NULL, CRAM_ERR_REFUSED, err);
	}
	client->refusing = false;
	admission_refused(d, &client->refusal);
	return cram_call_reply(call, NULL);
}

const struct cram_method status_methods[] = {
	{ "GetStatus", false, get_status },
	{ "ListVms", false, list_vms },
	{ "ShowVm", false, show_vm },
	{ "ExplainVm", false, explain_vm },
	{ "ListNodes", false, list_nodes },
	{ "Check", false, check },
	{ "Record", false, record },
	{ "Monitor", true, monitor },
	{ "GetMetrics", false, get_metrics },
	{ "Fits", false, fits },
	{ "ListOverrides", false, list_overrides },
	{ NULL, false, NULL },
};

/* clang-format off */
const struct cram_method control_methods[] = {
	{ "SetQuota", false, set_quota },
	{ "DropOverrides", false, drop_overrides },
	{ "Pause", false, pause_method },
	{ "Resume", false, resume_method },
	{ "Drain", false, drain },
	{ "Reload", false, reload },
	{ "AddVm", false, add_vm },
	{ "Admit", false, admit },
	{ "Refuse", false, refuse },
	{ NULL, false, NULL },
};
/* clang-format on */
