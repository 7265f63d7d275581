// SPDX-License-Identifier: GPL-2.0-or-later
/* Sockets and methods; see server.h. */
#include "server.h"

#include <errno.h>
#include <grp.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "protocol/protocol.h"
#include "report.h"
#include "util/cleanup.h"

struct listener {
	struct server *server;
	const char *name, *group;
	struct cram_service service;
	char path[108];
	int fd;
	struct loop_source *source;
	size_t n_clients;
};

struct client {
	struct listener *listener;
	struct client *next, **prev;
	struct cram_peer *peer;
	struct loop_source *source;
	/* Kept calls, one of them at a time: of a stream, and of a VM to be added. NULL: none. */
	struct cram_call *monitor, *adding;
	pid_t adding_pid;
	struct ucred cred;
	int fd;
};

struct server {
	struct daemon *d;
	struct listener control, status;
	struct client *clients;
};

/* ------------------------------------------------------------------ methods */

static int no_parameters(struct json_object *parameters, struct cram_error *err)
{
	static const char *const none[] = { NULL };

	return cram_params_only(parameters, none, err);
}

static int bad_parameter(struct cram_call *call, const struct cram_error *err)
{
	return cram_call_fail(call, CRAM_ERR_PARAMETER, err);
}

/* Names who asked: what changes things is on record with the peer's identity. */
static void log_control(struct daemon *d, struct cram_call *call, const char *what)
{
	const struct client *client = cram_peer_userdata(cram_call_peer(call));

	cram_log_info(&d->host.log, "%s%s%s by pid %d uid %d", cram_call_method(call),
		      what[0] ? " " : "", what, (int)client->cred.pid, (int)client->cred.uid);
}

/* The VM that the call names. 0; 1: answered with an error; negative: the peer failed. */
static int call_vm(struct daemon *d, struct cram_call *call, const char *name, struct vm **ret_vm)
{
	int r = daemon_find_vm(d, name, ret_vm);
	struct json_object *o;

	if (r == 0)
		return 0;
	o = json_object_new_object();
	if (!o)
		return -ENOMEM;
	json_object_object_add(o, "vm", json_object_new_string(name));
	r = cram_call_error(call, r == -ENOTUNIQ ? CRAM_ERR_VM_AMBIGUOUS : CRAM_ERR_VM_NOT_FOUND,
			    o);
	return r < 0 ? r : 1;
}

/* The VM that the parameters name and nothing else; as call_vm(). */
static int only_vm(struct daemon *d, struct cram_call *call, struct json_object *parameters,
		   struct cram_error *err, struct vm **ret_vm)
{
	const char *name;
	int r;

	if (cram_decode_vm(parameters, false, &name, err) < 0) {
		r = bad_parameter(call, err);
		return r < 0 ? r : 1;
	}
	return call_vm(d, call, name, ret_vm);
}

static size_t collect_nodes(struct daemon *d, struct cram_node_report *nodes)
{
	for (size_t i = 0; i < d->n_tiers; i++)
		report_node(d, i, &nodes[i]);
	return d->n_tiers;
}

static struct cram_vm_report *collect_vms(struct daemon *d)
{
	struct cram_vm_report *vms = calloc(d->vms.n ? d->vms.n : 1, sizeof(*vms));

	for (size_t i = 0; vms && i < d->vms.n; i++)
		report_vm(d, d->vms.v[i].vm, &vms[i]);
	return vms;
}

static int get_status(struct cram_call *call, struct json_object *parameters, void *userdata,
		      struct cram_error *err)
{
	struct cram_node_report nodes[DAEMON_TIERS_MAX];
	struct cram_host_report host;
	struct daemon *d = userdata;

	if (no_parameters(parameters, err) < 0)
		return bad_parameter(call, err);
	report_host(d, &host);
	return cram_call_reply(call, cram_reply_status(&host, nodes, collect_nodes(d, nodes)));
}

static int list_nodes(struct cram_call *call, struct json_object *parameters, void *userdata,
		      struct cram_error *err)
{
	struct cram_node_report nodes[DAEMON_TIERS_MAX];

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
	return cram_call_reply(call, cram_reply_vms(vms, d->vms.n));
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
	size_t n = cram_reason_reports(&vm->action, reasons);

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
	size_t max = d->vms.n * 2 + DAEMON_TIERS_MAX + NODES_MAX + 16;

	if (no_parameters(parameters, err) < 0)
		return bad_parameter(call, err);
	findings = calloc(max, sizeof(*findings));
	if (!findings)
		return -ENOMEM;
	return cram_call_reply(call, cram_reply_check(findings, report_check(d, findings, max)));
}

static int record(struct cram_call *call, struct json_object *parameters, void *userdata,
		  struct cram_error *err)
{
	if (no_parameters(parameters, err) < 0)
		return bad_parameter(call, err);
	return cram_call_reply(call, cram_reply_record(daemon_record(userdata)));
}

static int get_metrics(struct cram_call *call, struct json_object *parameters, void *userdata,
		       struct cram_error *err)
{
	cleanup_free struct cram_vm_report *vms = NULL;
	struct cram_node_report nodes[DAEMON_TIERS_MAX];
	struct cram_host_report host;
	struct daemon *d = userdata;

	if (no_parameters(parameters, err) < 0)
		return bad_parameter(call, err);
	vms = collect_vms(d);
	if (!vms)
		return -ENOMEM;
	report_host(d, &host);
	return cram_call_reply(
		call, cram_reply_metrics(&host, nodes, collect_nodes(d, nodes), vms, d->vms.n));
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

static int pause_or_resume(struct daemon *d, struct cram_call *call, struct json_object *parameters,
			   bool pause, struct cram_error *err)
{
	const char *name;
	struct vm *vm;
	int r;

	if (cram_decode_vm(parameters, true, &name, err) < 0)
		return bad_parameter(call, err);
	if (!name) {
		atomic_store(&d->host.paused, pause);
	} else {
		r = call_vm(d, call, name, &vm);
		if (r)
			return r < 0 ? r : 0;
		vm->paused_by_operator = pause;
		if (!pause)
			vm->drain = false;
		atomic_fetch_add(&vm->epoch, 1);
	}
	log_control(d, call, name ? name : "");
	daemon_round(d);
	return cram_call_reply(call, NULL);
}

static int pause_method(struct cram_call *call, struct json_object *parameters, void *userdata,
			struct cram_error *err)
{
	return pause_or_resume(userdata, call, parameters, true, err);
}

static int resume_method(struct cram_call *call, struct json_object *parameters, void *userdata,
			 struct cram_error *err)
{
	return pause_or_resume(userdata, call, parameters, false, err);
}

/* What @vm has above its limits now, and has to give back. */
static uint64_t give_back(const struct vm *vm)
{
	const struct cram_vm_settings *s = &vm->settings;
	uint64_t limit = s->quota < s->hard_limit ? s->quota : s->hard_limit;

	if (vm->drain || s->mode != CRAM_MODE_AUTO)
		limit = 0;
	return vm->input.tier_bytes > limit ? vm->input.tier_bytes - limit : 0;
}

static int accepted(struct daemon *d, struct cram_call *call, struct vm *vm)
{
	uint64_t back = give_back(vm), missing = daemon_missing(d, vm, back);
	struct cram_vm_report report;
	char message[256] = "";

	if (missing)
		snprintf(message, sizeof(message),
			 "%" PRIu64 " MiB to give back, of them %" PRIu64
			 " MiB do not fit into DRAM above its headroom now",
			 back / MiB, missing / MiB);
	else if (back)
		snprintf(message, sizeof(message), "%" PRIu64 " MiB to give back", back / MiB);
	/* The work begins now, not at the next round. */
	daemon_round(d);
	report_vm(d, vm, &report);
	return cram_call_reply(call, cram_reply_accepted(&report, missing, message));
}

static int drain(struct cram_call *call, struct json_object *parameters, void *userdata,
		 struct cram_error *err)
{
	struct daemon *d = userdata;
	struct vm *vm;
	int r = only_vm(d, call, parameters, err, &vm);

	if (r)
		return r < 0 ? r : 0;
	vm->drain = true;
	atomic_fetch_add(&vm->epoch, 1);
	log_control(d, call, vm->name);
	return accepted(d, call, vm);
}

static int get_quota(struct cram_call *call, struct json_object *parameters, void *userdata,
		     struct cram_error *err)
{
	return show_vm(call, parameters, userdata, err);
}

/* Copies the settings in @from->set to @to, and forgets those in @clear. */
static void merge(struct cram_vm_layer *to, const struct cram_vm_layer *from, uint32_t clear)
{
	to->set = (to->set & ~clear) | from->set;
	if (from->set & 1U << CRAM_SET_MODE)
		to->mode = from->mode;
	if (from->set & 1U << CRAM_SET_QUOTA)
		to->quota = from->quota;
	if (from->set & 1U << CRAM_SET_HARD_LIMIT)
		to->hard_limit = from->hard_limit;
	if (from->set & 1U << CRAM_SET_FLOOR) {
		to->floor = from->floor;
		to->floor_percent = from->floor_percent;
		to->floor_is_percent = from->floor_is_percent;
	}
	if (from->set & 1U << CRAM_SET_WEIGHT)
		to->weight = from->weight;
	if (from->set & 1U << CRAM_SET_COLD_AGE)
		to->cold_age_s = from->cold_age_s;
	if (from->set & 1U << CRAM_SET_TIERS)
		to->tiers = from->tiers;
}

/* Would the floors still fit into DRAM with the settings @vm now has? */
static int check_floors(const struct daemon *d, const struct vm *vm, struct cram_error *err)
{
	uint64_t floors = 0, dram = 0;
	char object[300];

	for (size_t i = 0; i < d->vms.n; i++)
		if (d->vms.v[i].vm->settings.mode == CRAM_MODE_AUTO)
			floors += d->vms.v[i].vm->settings.floor;
	for (size_t i = 0; i < d->n_dram; i++)
		dram += d->dram[i].total;
	dram = dram > d->conf.host.reserve_bytes ? dram - d->conf.host.reserve_bytes : 0;
	if (floors <= dram)
		return 0;
	snprintf(object, sizeof(object), "vm \"%s\"", vm->name);
	return cram_error_set(err, -ERANGE, object, "take this floor",
			      "lower a floor, or the reserve of the host",
			      "floors of %" PRIu64 " MiB in all exceed the %" PRIu64
			      " MiB of DRAM above the reserve",
			      floors / MiB, dram / MiB);
}

static int restore_persistent(struct daemon *d, const struct vm *vm,
			      const struct cram_vm_layer *layer)
{
	struct cram_error err = {};
	int r;

	r = cram_overrides_put(&d->overrides, vm->uuid, layer);
	if (r < 0)
		return r;
	return cram_overrides_save(d->overrides_path, &d->overrides, &err);
}

static int store_persistent(struct daemon *d, struct vm *vm, const struct cram_set_request *set,
			    struct cram_error *err)
{
	const struct cram_vm_layer *old = cram_overrides_find(&d->overrides, vm->uuid);
	struct cram_vm_layer layer = old ? *old : (struct cram_vm_layer){};
	int r;

	merge(&layer, &set->layer, set->clear);
	r = cram_overrides_put(&d->overrides, vm->uuid, &layer);
	if (r < 0)
		return r;
	/* Not on disk is not in force: the caller puts back what was remembered. */
	return cram_overrides_save(d->overrides_path, &d->overrides, err);
}

static int set_quota(struct cram_call *call, struct json_object *parameters, void *userdata,
		     struct cram_error *err)
{
	struct daemon *d = userdata;
	struct cram_set_request set;
	struct cram_vm_layer before, remembered;
	const struct cram_vm_layer *old;
	bool had;
	struct vm *vm;
	int r;

	r = cram_decode_set(parameters, &set, err);
	if (r < 0)
		return cram_call_fail(call, CRAM_ERR_INVALID_SETTING, err);
	r = call_vm(d, call, set.vm, &vm);
	if (r)
		return r < 0 ? r : 0;
	before = vm->cli_layer;
	had = vm->has_cli;
	old = cram_overrides_find(&d->overrides, vm->uuid);
	remembered = old ? *old : (struct cram_vm_layer){};
	if (set.persist && !vm->uuid[0])
		return cram_call_fail(
			call, CRAM_ERR_REFUSED,
			&(struct cram_error){ .why = "a VM without a UUID cannot be remembered" });
	if (set.persist) {
		/* What is remembered replaces what was only for now. */
		merge(&vm->cli_layer, &(struct cram_vm_layer){}, set.layer.set | set.clear);
		vm->has_cli = vm->cli_layer.set != 0;
		r = store_persistent(d, vm, &set, err);
	} else {
		merge(&vm->cli_layer, &set.layer, set.clear);
		vm->has_cli = vm->cli_layer.set != 0;
	}
	daemon_resolve(d, vm);
	if (r == 0 && set.layer.set & (1U << CRAM_SET_FLOOR | 1U << CRAM_SET_MODE))
		r = check_floors(d, vm, err);
	if (r < 0) {
		vm->cli_layer = before;
		vm->has_cli = had;
		if (set.persist)
			restore_persistent(d, vm, &remembered);
		daemon_resolve(d, vm);
		return cram_call_fail(call, CRAM_ERR_REFUSED, err);
	}
	log_control(d, call, vm->name);
	return accepted(d, call, vm);
}

static int reload(struct cram_call *call, struct json_object *parameters, void *userdata,
		  struct cram_error *err)
{
	struct daemon *d = userdata;
	struct json_object *o;

	if (no_parameters(parameters, err) < 0)
		return bad_parameter(call, err);
	log_control(d, call, "");
	if (daemon_reload(d, err) < 0)
		return cram_call_fail(call, CRAM_ERR_CONFIG_INVALID, err);
	o = json_object_new_object();
	if (!o)
		return -ENOMEM;
	json_object_object_add(o, "generation",
			       json_object_new_int64((int64_t)d->config_generation));
	return cram_call_reply(call, o);
}

static int add_vm(struct cram_call *call, struct json_object *parameters, void *userdata,
		  struct cram_error *err)
{
	static const char *const allowed[] = { "pid", NULL };
	struct client *client = cram_peer_userdata(cram_call_peer(call));
	struct daemon *d = userdata;
	uint64_t pid;
	char text[32];

	if (cram_params_only(parameters, allowed, err) < 0 ||
	    cram_param_u64(parameters, "pid", &pid, err) < 0)
		return bad_parameter(call, err);
	if (pid == 0 || pid > INT32_MAX) {
		cram_error_set(err, -EINVAL, NULL, NULL, NULL, "pid %" PRIu64 " is no pid", pid);
		return bad_parameter(call, err);
	}
	snprintf(text, sizeof(text), "%" PRIu64, pid);
	log_control(d, call, text);
	if (daemon_want_vm(d, (pid_t)pid, NULL, err) < 0)
		return cram_call_fail(call, CRAM_ERR_REFUSED, err);
	/* Answered when it has been examined: server_examined(). */
	cram_call_keep(call);
	client->adding = call;
	client->adding_pid = (pid_t)pid;
	return 0;
}

static const struct cram_method status_methods[] = {
	{ "GetStatus", false, get_status },   { "ListVms", false, list_vms },
	{ "ShowVm", false, show_vm },	      { "ExplainVm", false, explain_vm },
	{ "ListNodes", false, list_nodes },   { "Check", false, check },
	{ "Record", false, record },	      { "Monitor", true, monitor },
	{ "GetMetrics", false, get_metrics }, { NULL, false, NULL },
};

static const struct cram_method control_methods[] = {
	{ "SetQuota", false, set_quota }, { "GetQuota", false, get_quota },
	{ "Pause", false, pause_method }, { "Resume", false, resume_method },
	{ "Drain", false, drain },	  { "Reload", false, reload },
	{ "AddVm", false, add_vm },	  { NULL, false, NULL },
};

/* ------------------------------------------------------------------ clients */

static void drop_client(struct client *client)
{
	loop_remove(&client->listener->server->d->loop, client->source);
	close(client->fd);
	cram_peer_free(client->peer);
	*client->prev = client->next;
	if (client->next)
		client->next->prev = client->prev;
	client->listener->n_clients--;
	free(client);
}

static uint32_t to_epoll(short events)
{
	return (events & POLLIN ? EPOLLIN : 0) | (events & POLLOUT ? EPOLLOUT : 0);
}

static int on_client(struct loop *loop, int fd, uint32_t events, void *userdata)
{
	struct client *client = userdata;
	short revents = 0, wanted = POLLIN;

	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		revents |= POLLIN;
	if (events & EPOLLOUT)
		revents |= POLLOUT;
	if (cram_peer_io(client->peer, fd, revents, &wanted) < 0) {
		drop_client(client);
		return 0;
	}
	loop_change(loop, client->source, to_epoll(wanted));
	return 0;
}

static int on_listener(struct loop *loop, int fd, uint32_t events, void *userdata)
{
	struct listener *listener = userdata;
	struct server *server = listener->server;
	socklen_t len = sizeof(struct ucred);
	struct client *client;
	int r;

	(void)events;
	client = calloc(1, sizeof(*client));
	if (!client)
		return 0;
	client->listener = listener;
	client->fd = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (client->fd < 0) {
		free(client);
		return 0;
	}
	if (listener->n_clients >= SERVER_CLIENTS_MAX ||
	    getsockopt(client->fd, SOL_SOCKET, SO_PEERCRED, &client->cred, &len) < 0 ||
	    cram_peer_new(&listener->service, &client->peer) < 0)
		goto refuse;
	cram_peer_set_userdata(client->peer, client);
	r = loop_add(loop, client->fd, EPOLLIN, on_client, client, &client->source);
	if (r < 0) {
		cram_peer_free(client->peer);
		goto refuse;
	}
	client->next = server->clients;
	client->prev = &server->clients;
	if (client->next)
		client->next->prev = &client->next;
	server->clients = client;
	listener->n_clients++;
	return 0;
refuse:
	close(client->fd);
	free(client);
	return 0;
}

/* Is somebody listening at @addr? */
static bool answers(const struct sockaddr_un *addr)
{
	cleanup_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	return fd >= 0 && connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) == 0;
}

static int listen_at(struct listener *listener, struct cram_error *err)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct daemon *d = listener->server->d;
	struct group *group;
	int r;

	snprintf(listener->path, sizeof(listener->path), "%s/%s", d->host.run_dir, listener->name);
	memcpy(addr.sun_path, listener->path, sizeof(addr.sun_path));
	if (answers(&addr))
		return cram_error_set(err, -EADDRINUSE, listener->path, "listen",
				      "stop the other agent first", "another agent answers there");
	unlink(listener->path);
	listener->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (listener->fd < 0)
		return cram_error_set(err, -errno, listener->path, "make a socket", NULL, "%s",
				      strerror(errno));
	/* Born closed to everyone: opened up only when its group is right. */
	if (fchmod(listener->fd, 0600) < 0 ||
	    bind(listener->fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		goto fail;
	group = getgrnam(listener->group);
	if (group) {
		if (chown(listener->path, (uid_t)-1, group->gr_gid) < 0)
			goto fail;
	} else {
		cram_log_info(&d->host.log, "no group \"%s\": only root can use %s",
			      listener->group, listener->path);
	}
	if (chmod(listener->path, 0660) < 0 || listen(listener->fd, 64) < 0)
		goto fail;
	r = loop_add(&d->loop, listener->fd, EPOLLIN, on_listener, listener, &listener->source);
	if (r < 0)
		return cram_error_set(err, r, listener->path, "watch it", NULL, "%s", strerror(-r));
	return 0;
fail:
	return cram_error_set(err, -errno, listener->path, "listen", NULL, "%s", strerror(errno));
}

int server_start(struct daemon *d, struct cram_error *err, struct server **ret_server)
{
	struct server *server = calloc(1, sizeof(*server));
	int r;

	if (!server)
		return -ENOMEM;
	server->d = d;
	server->control = (struct listener){
		.server = server,
		.name = "control",
		.group = "cramd",
		.service = { CRAM_IFACE_CONTROL, control_methods, d },
		.fd = -1,
	};
	server->status = (struct listener){
		.server = server,
		.name = "status",
		.group = "cramd-read",
		.service = { CRAM_IFACE_STATUS, status_methods, d },
		.fd = -1,
	};
	r = listen_at(&server->control, err);
	if (r == 0)
		r = listen_at(&server->status, err);
	if (r < 0) {
		server_stop(server);
		return r;
	}
	*ret_server = server;
	return 0;
}

static void stop_listener(struct listener *listener)
{
	if (listener->fd < 0)
		return;
	loop_remove(&listener->server->d->loop, listener->source);
	close(listener->fd);
	/* Only when it got as far as being ours. */
	if (listener->source)
		unlink(listener->path);
}

void server_stop(struct server *server)
{
	while (server->clients)
		drop_client(server->clients);
	stop_listener(&server->control);
	stop_listener(&server->status);
	free(server);
}

/* On its next turn output is written, and requests that waited behind a kept call are read. */
static void wake(struct client *client)
{
	loop_change(&client->listener->server->d->loop, client->source, EPOLLIN | EPOLLOUT);
}

void server_examined(struct server *server, pid_t pid, struct vm *vm, const struct cram_error *err)
{
	struct cram_vm_report report;
	struct daemon *d = server->d;

	if (vm) {
		daemon_round(d);
		report_vm(d, vm, &report);
	}
	for (struct client *client = server->clients; client; client = client->next) {
		struct cram_call *call = client->adding;

		if (!call || client->adding_pid != pid)
			continue;
		client->adding = NULL;
		if (vm)
			cram_call_reply(call, cram_reply_accepted(&report, 0, ""));
		else
			cram_call_fail(call, CRAM_ERR_REFUSED, err);
		wake(client);
	}
}

void server_event(struct server *server, const struct cram_event_report *event)
{
	for (struct client *client = server->clients; client; client = client->next) {
		struct json_object *o;

		if (!client->monitor)
			continue;
		o = json_object_new_object();
		if (!o)
			continue;
		json_object_object_add(o, "event", cram_encode_as(event, event));
		cram_call_notify(client->monitor, o);
		wake(client);
	}
}
