// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The real loop with the real sockets: what is answered when, and who is told what. A round is due
 * in an hour, so whatever needs one has asked for it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "cramd/round.h"
#include "cramd/server/server.h"
#include "protocol/protocol.h"
#include "recorded.h"
#include "util/cleanup.h"

#define HOUR_MS	   3600000
#define TIMEOUT_MS 20000

struct fixture {
	char dir[64], control[80], status[80], conf[80];
	struct daemon d;
	struct server *server;
	struct vm *vm;
	int enough;
	pthread_t loop;
	bool ended;
	_Atomic bool no_rounds;
};

static int on_round(struct loop *loop, int fd, uint32_t events, void *userdata)
{
	struct fixture *f = userdata;
	uint64_t n;

	(void)loop;
	(void)events;
	if (read(fd, &n, sizeof(n)) == sizeof(n) && !atomic_load(&f->no_rounds))
		round_run(&f->d);
	return 0;
}

static int on_discovered(struct loop *loop, int fd, uint32_t events, void *userdata)
{
	uint64_t n;

	(void)loop;
	(void)events;
	if (read(fd, &n, sizeof(n)) == sizeof(n))
		daemon_discovered(userdata);
	return 0;
}

static int on_enough(struct loop *loop, int fd, uint32_t events, void *userdata)
{
	(void)fd;
	(void)events;
	(void)userdata;
	loop->stop = true;
	return 0;
}

static void *run_loop(void *arg)
{
	struct fixture *f = arg;

	return loop_run(&f->d.loop) < 0 ? arg : NULL;
}

/* Until then only the loop's thread may look at the daemon. */
static void end_loop(struct fixture *f)
{
	static const uint64_t one = 1;
	void *failed;

	f->ended = true;
	assert_int_equal(write(f->enough, &one, sizeof(one)), sizeof(one));
	assert_int_equal(pthread_join(f->loop, &failed), 0);
	assert_null(failed);
}

static void make_vm(struct fixture *f)
{
	struct vm *vm = calloc(1, sizeof(*vm));

	assert_non_null(vm);
	vm_init(vm);
	vm->pid = 1000;
	vm->ram = GiB;
	vm->reason = VM_ELIGIBLE;
	vm->home_nodes = 1;
	vm->node_bytes[0] = GiB - 64 * MiB;
	vm->node_bytes[1] = 64 * MiB;
	vm->used_tiers = UINT64_C(1) << 1;
	vm->reported_state = CRAM_N_VM_STATES;
	strcpy(vm->name, "db");
	strcpy(vm->uuid, "pid-1000");
	assert_int_equal(array_push(&f->d.host.vms, vm), 0);
	daemon_resolve(&f->d, vm);
	f->vm = vm;
}

static void put_host(struct fixture *f)
{
	recorded_make(f->dir, sizeof(f->dir));
	recorded_put_nodes(f->dir);
	recorded_put(f->dir, "/proc/zoneinfo", "Node 0, zone   Normal\n        low      0\n");
	snprintf(f->control, sizeof(f->control), "%s/control", f->dir);
	snprintf(f->status, sizeof(f->status), "%s/status", f->dir);
}

static int make(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct daemon *d = &f->d;
	struct loop_source *source;
	struct cram_error err = {};

	assert_non_null(f);
	put_host(f);
	assert_int_equal(host_init(&d->host, f->dir, f->dir), 0);
	d->host.log.level = LOG_EMERG;
	cram_conf_init(&d->conf);
	d->conf.host.round_ms = HOUR_MS;
	d->conf.host.admission = CRAM_ADMISSION_STRICT;
	snprintf(d->overrides_path, sizeof(d->overrides_path), "%s/overrides.json", f->dir);
	snprintf(f->conf, sizeof(f->conf), "%s/cramd.conf", f->dir);
	d->conf_path = f->conf;
	d->mover.host = &d->host;
	assert_int_equal(relief_init(&d->relief, &d->host, &d->mover), 0);
	assert_int_equal(loop_init(&d->loop), 0);
	assert_int_equal(discover_init(&d->discover, &d->host), 0);
	assert_int_equal(discover_start(&d->discover), 0);
	assert_int_equal(loop_add(&d->loop, d->discover.wake, EPOLLIN, on_discovered, d, &source),
			 0);
	assert_int_equal(loop_timer_new(HOUR_MS, &d->round_timer), 0);
	assert_int_equal(loop_add(&d->loop, d->round_timer, EPOLLIN, on_round, f, &source), 0);
	f->enough = eventfd(0, EFD_CLOEXEC);
	assert_int_equal(loop_add(&d->loop, f->enough, EPOLLIN, on_enough, d, &source), 0);
	assert_int_equal(server_start(d, &err, &f->server), 0);
	make_vm(f);
	assert_int_equal(pthread_create(&f->loop, NULL, run_loop, f), 0);
	*state = f;
	return 0;
}

static int drop(void **state)
{
	struct fixture *f = *state;
	struct daemon *d = &f->d;
	int r;

	if (!f->ended)
		end_loop(f);
	discover_stop(&d->discover);
	server_stop(f->server);
	for (size_t i = 0; i < d->mover.home.n; i++)
		vm_unref(d->mover.home.jobs[i].vm);
	relief_fini(&d->relief);
	discover_fini(&d->discover);
	daemon_fini(d);
	close(d->round_timer);
	close(f->enough);
	loop_fini(&d->loop);
	host_fini(&d->host);
	r = recorded_drop(f->dir);
	free(f);
	return r;
}

static struct cram_client *connect_to(const char *path, const char *interface)
{
	struct cram_client *client;
	struct cram_error err = {};

	assert_int_equal(cram_client_connect(path, interface, TIMEOUT_MS, &client, &err), 0);
	return client;
}

/* The one call of a client of its own; its reply, which the caller owns. */
static struct json_object *call(const struct fixture *f, const char *method, const char *parameters)
{
	struct cram_client *client = connect_to(f->control, CRAM_IFACE_CONTROL);
	struct cram_error err = {};
	struct json_object *reply;

	assert_int_equal(cram_client_call(client, method, json_tokener_parse(parameters), &reply,
					  NULL, &err),
			 0);
	cram_client_free(client);
	return reply;
}

static const char *text_at(struct json_object *reply, const char *object, const char *key)
{
	return json_object_get_string(
		json_object_object_get(json_object_object_get(reply, object), key));
}

static void a_pause_is_answered_when_a_round_has_heeded_it(void **state)
{
	struct fixture *f = *state;
	struct json_object *reply = call(f, "Pause", "{}");

	assert_string_equal(json_object_get_string(json_object_object_get(reply, "message")), "");
	json_object_put(reply);
	end_loop(f);
	assert_int_equal(f->d.rounds, 1);
	assert_true(f->vm->input.flags & CRAM_VM_F_PAUSED);
}

/* Who reloads and then asks for status or check is not answered by what was before. */
static void a_reload_is_answered_when_a_round_has_heeded_it(void **state)
{
	struct fixture *f = *state;
	struct json_object *reply;

	recorded_put(f->dir, "/cramd.conf", "[host]\nround = 60 s\n[vm]\nweight = 7\n");
	reply = call(f, "Reload", "{}");
	assert_int_equal(json_object_get_int64(json_object_object_get(reply, "generation")), 1);
	assert_null(json_object_object_get(reply, "message"));
	json_object_put(reply);
	end_loop(f);
	assert_int_equal(f->d.rounds, 1);
	assert_int_equal(f->vm->input.weight, 7);
}

static void a_drain_is_answered_with_what_a_round_made_of_it(void **state)
{
	struct fixture *f = *state;
	struct json_object *reply = call(f, "Drain", "{\"vm\": \"db\"}");

	assert_string_equal(text_at(reply, "vm", "state"), "draining");
	assert_int_equal(json_object_get_int64(json_object_object_get(
				 json_object_object_get(reply, "vm"), "tier_bytes")),
			 64 * MiB);
	json_object_put(reply);
	/* One that asks again has another round, not the answer of the first. */
	json_object_put(call(f, "Drain", "{\"vm\": \"db\"}"));
	end_loop(f);
	assert_int_equal(f->d.rounds, 2);
	assert_int_equal(atomic_load(&f->vm->refs), 1 + f->d.mover.home.n);
}

static void a_drain_that_will_not_outlive_the_agent_is_told_so(void **state)
{
	struct fixture *f = *state;
	struct json_object *reply;

	snprintf(f->d.overrides_path, sizeof(f->d.overrides_path), "/proc/nonexistent/x");
	reply = call(f, "Drain", "{}");
	assert_true(json_object_get_boolean(json_object_object_get(reply, "accepted")));
	assert_true(json_object_object_get_ex(reply, "kept", NULL));
	assert_false(json_object_get_boolean(json_object_object_get(reply, "kept")));
	json_object_put(reply);
	reply = call(f, "Drain", "{\"vm\": \"db\"}");
	assert_true(json_object_get_boolean(json_object_object_get(reply, "kept")));
	json_object_put(reply);
}

/* A client of its own that asks for process 77, and waits 20 s at most for each answer. */
static int ask_for_77(const struct fixture *f)
{
	static const char request[] =
		"{\"method\": \"org.cramd.Control.AddVm\", \"parameters\": {\"pid\": 77}}";
	const struct timeval patience = { .tv_sec = 20 };
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	memcpy(addr.sun_path, f->control, sizeof(f->control));
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(send(fd, request, sizeof(request), 0), sizeof(request));
	return fd;
}

/* What is told to the first is an event too, and the queue has no room for it where it is. */
static void all_who_asked_for_a_process_are_answered(void **state)
{
	struct fixture *f = *state;
	struct cram_error why = {};
	struct events *events = &f->d.events;
	char reply[512];
	int fds[2];

	/* Nothing is examined but what the test says. */
	discover_stop(&f->d.discover);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		fds[i] = ask_for_77(f);
	json_object_put(call(f, "Pause", "{}"));
	end_loop(f);
	do
		events_say(events, "state", NULL, 0, "told to nobody");
	while (events->queue.n + 1 != events->queue.cap);
	cram_error_set(&why, -ENOEXEC, "process 77", NULL, NULL, "it is no QEMU");
	events_examined(events, 77, NULL, &why);
	assert_int_equal(events->queue.n, events->queue.cap);
	f->ended = false;
	f->d.loop.stop = false;
	assert_int_equal(read(f->enough, &(uint64_t){ 0 }, sizeof(uint64_t)), sizeof(uint64_t));
	daemon_wake(&f->d);
	assert_int_equal(pthread_create(&f->loop, NULL, run_loop, f), 0);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		ssize_t n = recv(fds[i], reply, sizeof(reply) - 1, 0);

		assert_true(n > 0);
		assert_non_null(memmem(reply, (size_t)n, "it is no QEMU", 13));
		close(fds[i]);
	}
}

/* As `nc -N` does: what was asked is answered, then the connection ends. */
static void whoever_says_no_more_is_answered_all_the_same(void **state)
{
	struct fixture *f = *state;
	static const char request[] = "{\"method\": \"org.cramd.Control.Pause\"}";
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	const struct timeval patience = { .tv_sec = 30 };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char reply[256] = "";

	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
	memcpy(addr.sun_path, f->control, sizeof(f->control));
	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(send(fd, request, sizeof(request), 0), sizeof(request));
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	assert_true(recv(fd, reply, sizeof(reply) - 1, 0) > 0);
	assert_non_null(strstr(reply, "\"message\""));
	assert_int_equal(recv(fd, reply, sizeof(reply), 0), 0);
	close(fd);
}

static void whoever_goes_away_is_not_waited_for(void **state)
{
	struct fixture *f = *state;
	static const char request[] =
		"{\"method\": \"org.cramd.Control.Drain\", \"parameters\": {\"vm\": \"db\"}}";
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct cram_client *later;
	struct json_object *reply;
	struct cram_error err = {};

	atomic_store(&f->no_rounds, true);
	memcpy(addr.sun_path, f->control, sizeof(f->control));
	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(send(fd, request, sizeof(request), 0), sizeof(request));
	close(fd);
	/* When this is answered the loop has seen both, and there was no round in between. */
	later = connect_to(f->status, CRAM_IFACE_STATUS);
	assert_int_equal(cram_client_call(later, "ListVms", NULL, &reply, NULL, &err), 0);
	json_object_put(reply);
	cram_client_free(later);
	atomic_store(&f->no_rounds, false);
	json_object_put(call(f, "Pause", "{}"));
	end_loop(f);
	assert_true(f->vm->drain_asked);
	assert_int_equal(atomic_load(&f->vm->refs), 1 + f->d.mover.home.n);
}

/* What libvirt's hook asks for a VM that is larger than any host here. */
static struct cram_client *ask_too_much(const struct fixture *f)
{
	static const char parameters[] =
		"{\"operation\": \"prepare\", \"xml\": \"<domain><name>big</name>"
		"<uuid>11111111-1111-4111-8111-111111111111</uuid>"
		"<memory unit='TiB'>4</memory></domain>\"}";
	struct cram_client *client;
	struct json_object *reply;
	struct cram_error err = {};

	/* There are figures to judge by. */
	json_object_put(call(f, "Pause", "{}"));
	client = connect_to(f->control, CRAM_IFACE_CONTROL);
	assert_int_equal(cram_client_call(client, "Admit", json_tokener_parse(parameters), &reply,
					  NULL, &err),
			 0);
	assert_false(json_object_get_boolean(json_object_object_get(reply, "admitted")));
	json_object_put(reply);
	return client;
}

/* When this is answered the loop has seen all that was sent and closed before. */
static void let_the_loop_see(const struct fixture *f)
{
	json_object_put(call(f, "Pause", "{}"));
}

static void a_vm_is_refused_when_the_hook_says_so(void **state)
{
	struct fixture *f = *state;
	struct cram_client *client = ask_too_much(f);

	cram_client_tell(client, "Refuse");
	cram_client_free(client);
	let_the_loop_see(f);
	end_loop(f);
	assert_int_equal(f->d.admissions_refused, 1);
	assert_int_equal(f->d.admissions_warned, 0);
	assert_int_equal(f->d.reservations.n, 0);
}

/* It had gone: its deadline was over, and the VM starts. */
static void a_vm_is_not_refused_when_the_hook_says_nothing(void **state)
{
	struct fixture *f = *state;

	cram_client_free(ask_too_much(f));
	let_the_loop_see(f);
	end_loop(f);
	assert_int_equal(f->d.admissions_refused, 0);
	assert_int_equal(f->d.admissions_warned, 1);
	assert_int_equal(f->d.reservations.n, 1);
}

static void nobody_refuses_what_was_not_asked_for(void **state)
{
	struct fixture *f = *state;
	struct cram_client *client = connect_to(f->control, CRAM_IFACE_CONTROL);
	struct json_object *reply;
	struct cram_error err = {};
	const char *error;

	assert_int_equal(cram_client_call(client, "Refuse", NULL, &reply, &error, &err),
			 -EREMOTEIO);
	assert_string_equal(error, CRAM_ERR_REFUSED);
	cram_client_free(client);
	end_loop(f);
	assert_int_equal(f->d.admissions_refused, 0);
}

/* Returns a text that is good until the next one. */
static const char *by_me(const char *what)
{
	static char text[512];

	snprintf(text, sizeof(text), "%s, by uid %d (pid %d)", what, (int)getuid(), (int)getpid());
	return text;
}

static const char *changed_by(const struct fixture *f, const char *method, const char *parameters)
{
	static char text[320];
	struct json_object *reply = call(f, method, parameters), *changed = NULL;

	assert_true(json_object_object_get_ex(reply, "changed", &changed));
	snprintf(text, sizeof(text), "%s", json_object_get_string(changed));
	json_object_put(reply);
	return text;
}

static void who_changes_something_is_told_what_it_did(void **state)
{
	struct fixture *f = *state;

	assert_string_equal(changed_by(f, "Pause", "{\"vm\": \"db\"}"), "vm \"db\": paused");
	assert_string_equal(changed_by(f, "Pause", "{\"vm\": \"db\"}"),
			    "vm \"db\": paused already");
	assert_string_equal(changed_by(f, "Pause", "{}"), "the host: paused");
	assert_string_equal(changed_by(f, "Resume", "{\"vm\": \"db\"}"),
			    "vm \"db\": resumed, but the host is paused");
	assert_string_equal(changed_by(f, "Resume", "{}"), "the host: resumed");
	assert_string_equal(changed_by(f, "Resume", "{}"),
			    "the host: neither paused nor drained as a whole");
	assert_string_equal(changed_by(f, "SetQuota",
				       "{\"vm\": \"db\", \"quota\": 3145728, \"weight\": \"200\"}"),
			    "vm \"db\": quota unlimited -> 3 MiB, weight 100 -> 200");
	assert_string_equal(changed_by(f, "SetQuota", "{\"vm\": \"db\", \"quota\": \"3 MiB\"}"),
			    "vm \"db\": nothing changed, it was so before");
	assert_string_equal(changed_by(f, "SetQuota", "{\"vm\": \"db\", \"weight\": null}"),
			    "vm \"db\": weight 200 -> 100");
	end_loop(f);
}

static void what_is_kept_of_a_vm_is_listed_and_dropped_be_it_gone(void **state)
{
	static const char set[] = "{\"vm\": \"db\", \"quota\": \"3 MiB\", \"persist\": true}";
	static const char drop[] = "{\"vm\": \"db\"}";
	struct fixture *f = *state;
	struct cram_error err = {};
	struct cram_client *client;
	struct json_object *reply, *kept;
	const char *error;

	strcpy(f->vm->uuid, "0f3c2e54-0000-4000-8000-00000000000a");
	changed_by(f, "SetQuota", set);
	client = connect_to(f->status, CRAM_IFACE_STATUS);
	assert_int_equal(cram_client_call(client, "ListOverrides", NULL, &reply, NULL, &err), 0);
	cram_client_free(client);
	kept = json_object_object_get(reply, "overrides");
	assert_int_equal(json_object_array_length(kept), 1);
	kept = json_object_array_get_idx(kept, 0);
	assert_string_equal(json_object_get_string(json_object_object_get(kept, "kept")),
			    "quota 3 MiB");
	assert_true(json_object_get_boolean(json_object_object_get(kept, "running")));
	json_object_put(reply);
	assert_string_equal(changed_by(f, "DropOverrides", drop),
			    "vm \"db\": quota 3 MiB -> unlimited");
	changed_by(f, "SetQuota", set);
	/* The VM that runs is another one from now on. */
	strcpy(f->vm->uuid, "1f3c2e54-0000-4000-8000-00000000000a");
	strcpy(f->vm->name, "web");
	assert_string_equal(changed_by(f, "DropOverrides", drop),
			    "the host: of vm \"db\", which is gone, no longer kept: quota 3 MiB");
	client = connect_to(f->control, CRAM_IFACE_CONTROL);
	assert_int_equal(cram_client_call(client, "DropOverrides", json_tokener_parse(drop), &reply,
					  &error, &err),
			 -EREMOTEIO);
	assert_string_equal(error, CRAM_ERR_VM_NOT_FOUND);
	cram_client_free(client);
	end_loop(f);
	assert_int_equal(f->d.overrides.v.n, 0);
}

static void a_value_that_is_clamped_is_warned_of(void **state)
{
	struct fixture *f = *state;
	struct json_object *reply, *message;

	/* So that it is known how much DRAM there is. */
	json_object_put(call(f, "Pause", "{}"));
	reply = call(f, "SetQuota", "{\"vm\": \"db\", \"floor\": \"5 GiB\"}");
	assert_true(json_object_object_get_ex(reply, "message", &message));
	assert_string_equal(
		json_object_get_string(message),
		"a floor of 5 GiB is more than its RAM: all of it, 1 GiB, stays in DRAM; "
		"64 MiB to give back");
	json_object_put(reply);
	end_loop(f);
	assert_int_equal(f->vm->settings.floor, GiB);
}

static struct json_object *next_event(struct cram_client *client, const char *type)
{
	struct cram_error err = {};
	struct json_object *event;

	for (;;) {
		assert_int_equal(cram_client_next(client, &event, NULL, &err), 1);
		if (!strcmp(text_at(event, "event", "type"), type))
			return event;
		json_object_put(event);
	}
}

static void what_is_refused_is_told_to_who_monitors(void **state)
{
	static const char bad[] = "{\"vm\": \"db\", \"weight\": \"0\"}";
	static const struct {
		const char *method, *parameters, *name, *told;
	} wrong[] = {
		{ "SetQuota", "{\"vm\": \"no\", \"weight\": \"7\"}", "",
		  "SetQuota refused: vm \"no\": there is none" },
		{ "Drain", "{\"vm\": \"no\"}", "", "Drain refused: vm \"no\": there is none" },
		{ "DropOverrides", "{\"vm\": \"no\"}", "",
		  "DropOverrides refused: vm \"no\": there is none" },
		{ "DropOverrides", "{}", "", "DropOverrides refused: vm: is missing" },
		{ "Pause", "{\"vm\": \"db\", \"x\": 1}", "db",
		  "Pause refused: x: no such parameter in this protocol version" },
		{ "Reload", "{\"x\": 1}", "",
		  "Reload refused: x: no such parameter in this protocol version" },
		{ "AddVm", "{\"pid\": 0}", "", "AddVm refused: pid 0 is no pid" },
		{ "Admit", "{\"operation\": \"prepare\"}", "", "Admit refused: xml: is missing" },
		{ "Refuse", "{}", "", "Refuse refused: no VM was refused on this connection" },
	};
	struct fixture *f = *state;
	struct cram_client *client = connect_to(f->status, CRAM_IFACE_STATUS), *control;
	struct cram_error err = {};
	struct json_object *event, *reply, *changed;
	const char *text;

	assert_int_equal(cram_client_call_more(client, "Monitor", NULL, &err), 0);
	control = connect_to(f->control, CRAM_IFACE_CONTROL);
	assert_int_equal(
		cram_client_call(control, "SetQuota", json_tokener_parse(bad), &reply, NULL, &err),
		-EREMOTEIO);
	event = next_event(client, "refused");
	assert_non_null(
		strstr(text_at(event, "event", "text"),
		       by_me("SetQuota refused: weight: bad value \"0\"; allowed: an integer "
			     "from 1 to 10000")));
	assert_string_equal(text_at(event, "event", "name"), "db");
	json_object_put(event);
	/* Whatever it is that is wrong with what was to change something. */
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		assert_int_equal(cram_client_call(control, wrong[i].method,
						  json_tokener_parse(wrong[i].parameters), &reply,
						  NULL, &err),
				 -EREMOTEIO);
		event = next_event(client, "refused");
		assert_non_null(strstr(text_at(event, "event", "text"), by_me(wrong[i].told)));
		assert_string_equal(text_at(event, "event", "name"), wrong[i].name);
		json_object_put(event);
	}
	recorded_put(f->dir, "/cramd.conf", "[vm]\nweight = 0\n");
	assert_int_equal(cram_client_call(control, "Reload", NULL, &reply, NULL, &err), -EREMOTEIO);
	event = next_event(client, "reload-refused");
	text = text_at(event, "event", "text");
	assert_memory_equal(text, "configuration not taken: ", 25);
	assert_non_null(strstr(text, "/cramd.conf:2: "));
	assert_non_null(strstr(text, by_me("")));
	json_object_put(event);
	/* No configuration is there: only this one's default is. */
	assert_int_equal(unlink(f->conf), 0);
	reply = call(f, "Reload", "{}");
	assert_true(json_object_object_get_ex(reply, "changed", &changed));
	assert_non_null(strstr(json_object_get_string(changed),
			       "host.round 3600 s -> 2 s, host.admission strict -> warn"));
	json_object_put(reply);
	event = next_event(client, "reload");
	assert_non_null(strstr(text_at(event, "event", "text"),
			       "configuration read again: host.round 3600 s -> 2 s, "
			       "host.admission strict -> warn"));
	json_object_put(event);
	/* Of VMs, too. */
	recorded_put(f->dir, "/cramd.conf", "[vm]\nweight = 7\n");
	assert_string_equal(changed_by(f, "Reload", "{}"),
			    "the host: configuration read again: vm.weight unset -> 7");
	assert_string_equal(changed_by(f, "Reload", "{}"),
			    "the host: configuration read again: nothing changed");
	cram_client_free(control);
	cram_client_free(client);
	end_loop(f);
}

static void a_change_is_told_to_who_monitors(void **state)
{
	struct fixture *f = *state;
	struct cram_client *client = connect_to(f->status, CRAM_IFACE_STATUS);
	struct json_object *event;
	struct cram_error err = {};

	assert_int_equal(cram_client_call_more(client, "Monitor", NULL, &err), 0);
	/* It is there before this is asked: the loop reads what came first first. */
	json_object_put(call(f, "Drain", "{\"vm\": \"db\"}"));
	assert_int_equal(cram_client_next(client, &event, NULL, &err), 1);
	assert_string_equal(text_at(event, "event", "type"), "drain");
	assert_string_equal(text_at(event, "event", "name"), "db");
	assert_string_equal(text_at(event, "event", "text"), by_me("to be drained"));
	json_object_put(event);
	assert_int_equal(cram_client_next(client, &event, NULL, &err), 1);
	assert_string_equal(text_at(event, "event", "type"), "state");
	assert_string_equal(text_at(event, "event", "name"), "db");
	assert_string_equal(text_at(event, "event", "text"), "draining");
	json_object_put(event);
	cram_client_free(client);
	end_loop(f);
}

static void who_asks_for_what_is_no_vm_is_told_why(void **state)
{
	struct fixture *f = *state;
	struct cram_client *client;
	struct json_object *reply;
	struct cram_error err = {};
	const char *error;
	char path[64], parameters[32], text[CRAM_ERROR_TEXT];

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)getpid());
	recorded_put(f->dir, path, "1 (a) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 5 0 0\n");
	snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)getpid());
	recorded_put(f->dir, path, "/bin/true");
	client = connect_to(f->control, CRAM_IFACE_CONTROL);
	snprintf(parameters, sizeof(parameters), "{\"pid\": %d}", (int)getpid());
	assert_int_equal(cram_client_call(client, "AddVm", json_tokener_parse(parameters), &reply,
					  &error, &err),
			 -EREMOTEIO);
	assert_string_equal(error, CRAM_ERR_REFUSED);
	assert_non_null(strstr(cram_error_format(&err, text, sizeof(text)), "it is no QEMU"));
	cram_client_free(client);
	end_loop(f);
}

/* What @thread has had of a processor while @ms passed, milliseconds. */
static long busy_ms(pthread_t thread, long ms)
{
	const struct timespec wait = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };
	struct timespec before, after;
	clockid_t clock;

	assert_int_equal(pthread_getcpuclockid(thread, &clock), 0);
	assert_int_equal(clock_gettime(clock, &before), 0);
	assert_int_equal(nanosleep(&wait, NULL), 0);
	assert_int_equal(clock_gettime(clock, &after), 0);
	return (after.tv_sec - before.tv_sec) * 1000 + (after.tv_nsec - before.tv_nsec) / 1000000;
}

static size_t count(const char *text, const char *word)
{
	size_t n = 0;

	while ((text = strstr(text, word)) && n++ < 1000)
		text++;
	return n;
}

/* Who comes then waits, and is served when there are some. */
static void without_descriptors_it_neither_spins_nor_goes_deaf(void **state)
{
	struct fixture *f = *state;
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	static const char request[] = "{\"method\": \"org.cramd.Status.ListVms\"}";
	const struct timeval patience = { .tv_sec = 20 };
	struct rlimit limit, none;
	char reply[4096], said[4096] = "";
	int fds[2], log[2], first_free;

	assert_int_equal(pipe2(log, O_CLOEXEC | O_NONBLOCK), 0);
	f->d.host.log.fd = log[1];
	f->d.host.log.level = LOG_WARNING;
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		fds[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	first_free = dup(fds[0]);
	close(first_free);
	none = (struct rlimit){ (rlim_t)first_free, limit.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	memcpy(addr.sun_path, f->status, sizeof(f->status));
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		assert_int_equal(connect(fds[i], (struct sockaddr *)&addr, sizeof(addr)), 0);
		assert_int_equal(send(fds[i], request, sizeof(request), 0), sizeof(request));
		setsockopt(fds[i], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	}
	assert_in_range(busy_ms(f->loop, 1500), 0, 100);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		assert_true(recv(fds[i], reply, sizeof(reply), 0) > 0);
		close(fds[i]);
	}
	end_loop(f);
	assert_true(read(log[0], said, sizeof(said) - 1) > 0);
	assert_int_equal(count(said, "nobody new is heard"), 1);
	close(log[0]);
	close(log[1]);
}

/* It asks, and never reads: what is to be answered it keeps of ours, and a place. */
static void who_does_not_read_its_answers_is_dropped(void **state)
{
	static const char request[] = "{\"method\": \"org.cramd.Status.ListVms\"}";
	struct fixture *f = *state;
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	const struct timeval patience = { .tv_sec = 20 }, wait = { .tv_usec = 300000 };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct cram_client *monitor = connect_to(f->status, CRAM_IFACE_STATUS);
	struct cram_error err = {};
	struct json_object *event;
	char reply[65536];
	ssize_t n;

	server_set_patience(f->server, 300);
	assert_int_equal(cram_client_call_more(monitor, "Monitor", NULL, &err), 0);
	memcpy(addr.sun_path, f->status, sizeof(f->status));
	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait));
	/* Until no more is taken of it either. */
	while (send(fd, request, sizeof(request), MSG_NOSIGNAL) == sizeof(request))
		;
	/* Others are served meanwhile, and the loop turns. */
	for (int i = 0; i < 10; i++) {
		json_object_put(call(f, i % 2 ? "Resume" : "Pause", "{}"));
		usleep(100000);
	}
	do
		n = recv(fd, reply, sizeof(reply), 0);
	while (n > 0);
	assert_true(n == 0 || errno == ECONNRESET);
	close(fd);
	/* Who is told what happens may read when it likes: what is kept for it has a limit. */
	event = next_event(monitor, "pause");
	json_object_put(event);
	cram_client_free(monitor);
	end_loop(f);
}

static void on_alarm(int signal)
{
	(void)signal;
}

/* It is stopped, say, and as many wait for it as may: a connect() would wait behind them. */
static void an_agent_that_hangs_is_an_agent_all_the_same(void **state)
{
	const struct sigaction wake_up = { .sa_handler = on_alarm };
	struct fixture *f = *state;
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int other = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), waiting[8], r;
	struct cram_error err = {};
	struct server *server;

	end_loop(f);
	server_stop(f->server);
	memcpy(addr.sun_path, f->control, sizeof(f->control));
	assert_int_equal(bind(other, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(other, 0), 0);
	for (size_t i = 0; i < ARRAY_SIZE(waiting); i++) {
		waiting[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		r = connect(waiting[i], (struct sockaddr *)&addr, sizeof(addr));
	}
	assert_int_equal(r, -1);
	assert_int_equal(errno, EAGAIN);
	assert_int_equal(sigaction(SIGALRM, &wake_up, NULL), 0);
	alarm(5);
	r = server_start(&f->d, &err, &server);
	assert_true(alarm(0) > 0);
	assert_int_equal(r, -EADDRINUSE);
	for (size_t i = 0; i < ARRAY_SIZE(waiting); i++)
		close(waiting[i]);
	close(other);
	/* One that has died is replaced. */
	assert_int_equal(server_start(&f->d, &err, &f->server), 0);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, make, drop)
	const struct CMUnitTest tests[] = {
		TEST(a_pause_is_answered_when_a_round_has_heeded_it),
		TEST(a_reload_is_answered_when_a_round_has_heeded_it),
		TEST(a_drain_that_will_not_outlive_the_agent_is_told_so),
		TEST(all_who_asked_for_a_process_are_answered),
		TEST(a_drain_is_answered_with_what_a_round_made_of_it),
		TEST(whoever_says_no_more_is_answered_all_the_same),
		TEST(whoever_goes_away_is_not_waited_for),
		TEST(a_vm_is_refused_when_the_hook_says_so),
		TEST(a_vm_is_not_refused_when_the_hook_says_nothing),
		TEST(nobody_refuses_what_was_not_asked_for),
		TEST(a_change_is_told_to_who_monitors),
		TEST(who_changes_something_is_told_what_it_did),
		TEST(what_is_kept_of_a_vm_is_listed_and_dropped_be_it_gone),
		TEST(a_value_that_is_clamped_is_warned_of),
		TEST(what_is_refused_is_told_to_who_monitors),
		TEST(who_asks_for_what_is_no_vm_is_told_why),
		TEST(without_descriptors_it_neither_spins_nor_goes_deaf),
		TEST(an_agent_that_hangs_is_an_agent_all_the_same),
		TEST(who_does_not_read_its_answers_is_dropped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
