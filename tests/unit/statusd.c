// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The real server side of the sockets with reports of synthetic VMs behind it: what cramctl and
 * cram-exporter are tested and measured against where no VM can run. Not the agent.
 *
 *   statusd DIR N [NID | unknown | names | paused | unread | bare | slow]    listens on DIR/status
 * and DIR/control, N VMs, their tier is node NID or 1; prints "ready"; ends on EOF; unknown: of the
 * host itself nothing is known; names: VMs have long, wide and evil names, and the tier such a
 * state; paused: the host is; unread: what its card has is not known; bare: it has no tier;
 * slow: it takes a second to say how a VM is
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "protocol/durations.h"
#include "protocol/model.h"
#include "protocol/protocol.h"
#include "protocol/record.h"
#include "util/cleanup.h"

#include "synthetic.h"

#define MAX_PEERS 64

struct state {
	struct cram_host_report host;
	struct cram_dram_report dram[2];
	struct cram_node_report node;
	struct cram_status_reports status;
	struct cram_vm_report *vms;
	unsigned int n;
	bool odd_names, slow;
	unsigned int reloads;
	uint64_t rounds; /* every one that is recorded is a new one */
};

static struct cram_vm_report *find(struct cram_call *call, struct state *s,
				   struct json_object *parameters)
{
	const char *name = NULL;

	cram_param_text(parameters, "vm", &name, NULL);
	for (unsigned int i = 0; name && i < s->n; i++)
		if (strcmp(s->vms[i].name, name) == 0 || strcmp(s->vms[i].uuid, name) == 0)
			return &s->vms[i];
	{
		struct json_object *o = json_object_new_object();

		json_object_object_add(o, "vm", json_object_new_string(name ? name : ""));
		cram_call_error(call, CRAM_ERR_VM_NOT_FOUND, o);
	}
	return NULL;
}

#define HANDLER(name)                                                                           \
	static int name(struct cram_call *call, struct json_object *parameters, void *userdata, \
			struct cram_error *err)

HANDLER(get_status)
{
	struct state *s = userdata;

	(void)parameters;
	(void)err;
	return cram_call_reply(call, cram_reply_status(&s->status));
}

HANDLER(list_vms)
{
	struct state *s = userdata;

	(void)parameters;
	(void)err;
	return cram_call_reply(call, cram_reply_vms(s->vms, s->n));
}

HANDLER(show_vm)
{
	struct cram_vm_report *vm = find(call, userdata, parameters);
	struct cram_vm_settings settings = {
		.mode = CRAM_MODE_AUTO,
		.quota = CRAM_UNLIMITED,
		.hard_limit = 53687091,
		.floor = 64 * MiB,
		.weight = 100,
		.cold_age_s = 90,
		.tiers = 1U << CRAM_TIER_CRAM | 1U << CRAM_TIER_NODE,
	};
	struct cram_setting_report set[CRAM_N_SETTINGS];

	(void)err;
	if (((struct state *)userdata)->slow)
		sleep(1);
	cram_setting_reports(&settings, set);
	return vm ? cram_call_reply(call, cram_reply_vm(vm, set, CRAM_N_SETTINGS)) : 0;
}

/* VMs that only ExplainVm knows: like vm-0, but for one thing that stands in the way. */
static bool explain_case(const char *name, struct cram_vm_report *vm,
			 struct cram_reason_report *reason)
{
	synthetic_vm(vm, 0);
	if (strcmp(name, "vm-floor") == 0)
		vm->effective_floor = vm->dram;
	else if (strcmp(name, "vm-quota") == 0)
		strcpy(reason->code, "paused");
	else if (strcmp(name, "vm-going") == 0)
		vm->demote_pending = 3 * GiB;
	else if (strcmp(name, "vm-pinned") == 0)
		strcpy(vm->ineligible, "hugepages");
	else
		return false;
	return true;
}

HANDLER(explain_vm)
{
	struct cram_reason_report reasons[2] = { { "quota", "DRAM bytes", GiB, 120 },
						 { "cold", "DRAM bytes", GiB, 120 } };
	const char *name = "";
	struct cram_vm_report special, *vm;

	cram_param_text(parameters, "vm", &name, NULL);
	if (explain_case(name, &special, &reasons[1]))
		return cram_call_reply(call, cram_reply_explain(&special, reasons, 2));
	vm = find(call, userdata, parameters);
	(void)err;
	return vm ? cram_call_reply(call, cram_reply_explain(vm, &reasons[1], 1)) : 0;
}

HANDLER(list_nodes)
{
	struct state *s = userdata;

	(void)parameters;
	(void)err;
	return cram_call_reply(call, cram_reply_nodes(&s->node, 1));
}

HANDLER(check)
{
	struct cram_check_report f[] = {
		{ .severity = "ok",
		  .subject = "host",
		  .code = "sell",
		  .text = "risk: none",
		  .bytes = 40 * GiB },
		{ .severity = "info",
		  .subject = "host",
		  .code = "gain",
		  .text = "memory that could move",
		  .bytes = 5 * GiB },
		{ .severity = "error",
		  .subject = "host",
		  .code = "no-tier",
		  .text = "there is no slower node in /sys; add one" },
	};

	(void)parameters;
	(void)userdata;
	(void)err;
	return cram_call_reply(call, cram_reply_check(f, ARRAY_SIZE(f)));
}

/* 2 GiB are left. Of 1 MiB it is not known. */
HANDLER(fits)
{
	struct json_object *o = json_object_new_object();
	uint64_t ram = 0;

	(void)userdata;
	if (cram_param_u64(parameters, "ram", &ram, err) < 0)
		return cram_call_fail(call, CRAM_ERR_PARAMETER, err);
	json_object_object_add(o, "fits", json_object_new_boolean(ram <= 2 * GiB));
	json_object_object_add(o, "known", json_object_new_boolean(ram != MiB));
	json_object_object_add(o, "room", json_object_new_uint64(2 * GiB));
	json_object_object_add(o, "message",
			       json_object_new_string(ram == MiB       ? "nobody knows"
						      : ram <= 2 * GiB ? ""
								       : "it is too big"));
	return cram_call_reply(call, o);
}

HANDLER(record)
{
	struct state *s = userdata;
	struct cram_vm_input vm = {
		.name = "vm-0",
		.mode = CRAM_MODE_OFF,
		.weight = 100,
		.tier_bytes = GiB,
		.quota = CRAM_UNLIMITED,
		.promote_tokens = CRAM_UNLIMITED,
	};
	struct cram_dram_input dram = { .total = 64 * GiB, .free = 32 * GiB };
	struct cram_snapshot snap = {
		.now_ms = ++s->rounds * 1000,
		.promote_tokens = CRAM_UNLIMITED,
		.dram = &dram,
		.n_dram = 1,
		.vms = &vm,
		.n_vms = 1,
	};
	struct cram_conf conf;

	(void)parameters;
	(void)err;
	cram_conf_init(&conf);
	return cram_call_reply(call,
			       cram_reply_record(cram_record_encode(&conf.host.policy, &snap)));
}

HANDLER(monitor)
{
	struct cram_event_report e = { .time_us = 1, .type = "moved", .text = "out", .bytes = MiB };
	struct state *s = userdata;

	(void)parameters;
	(void)err;
	for (unsigned int i = 0; i < 4; i++) {
		struct json_object *o = json_object_new_object();

		strcpy(e.name, s->n ? s->vms[i % s->n].name : "");
		json_object_object_add(o, "event", cram_encode_as(event, &e));
		cram_call_notify(call, o);
	}
	return cram_call_reply(call, NULL);
}

HANDLER(get_metrics)
{
	struct cram_duration_counts durations[CRAM_N_DURATIONS] = { 0 };
	struct state *s = userdata;
	struct json_object *reply;

	(void)parameters;
	(void)err;
	/* As on a host that works: no scrape is like the one before. */
	for (unsigned int i = 0; i < s->n; i++) {
		s->vms[i].demoted += 2 * MiB + i;
		s->vms[i].dram -= 4096;
		s->vms[i].accessed += 4096;
		s->vms[i].scan_age_ms += 7;
	}
	reply = cram_reply_metrics(&s->status, s->vms, s->n);
	/* Seven batches of 1.8 ms at most, two of a second and more. */
	durations[CRAM_DURATION_MOVE].buckets[cram_duration_bucket(1800)] = 7;
	durations[CRAM_DURATION_MOVE].buckets[cram_duration_bucket(1000001)] = 2;
	durations[CRAM_DURATION_MOVE].sum_us = 2012500;
	if (cram_durations_encode(reply, durations) < 0)
		return -ENOMEM;
	return cram_call_reply(call, reply);
}

/* The limit takes effect at once and the memory follows only as far as DRAM lets it: vm-0 all. */
HANDLER(set_quota)
{
	struct cram_set_request req;
	struct cram_vm_report *vm;
	uint64_t missing = 0;

	if (cram_decode_set(parameters, &req, err) < 0)
		return cram_call_fail(call, CRAM_ERR_INVALID_SETTING, err);
	vm = find(call, userdata, parameters);
	if (!vm)
		return 0;
	if (req.layer.set & (1U << CRAM_SET_MODE))
		strcpy(vm->mode, cram_mode_name(req.layer.mode));
	if (req.layer.set & (1U << CRAM_SET_QUOTA)) {
		vm->quota = req.layer.quota;
		if (strcmp(vm->name, "vm-0") == 0 && vm->tier_bytes > vm->quota)
			vm->tier_bytes = vm->device_bytes = vm->device_bytes_upper = vm->quota;
		else if (vm->tier_bytes > vm->quota)
			missing = vm->tier_bytes - vm->quota;
	}
	return cram_call_reply(call, cram_reply_accepted(vm, missing, true, "in force",
							 "vm \"vm-0\": weight 100 -> 200"));
}

/* vm-0 gets home, vm-1 too but cannot be kept so; the others seem to be, later, but that is not
 * confirmed. */
HANDLER(drain)
{
	struct cram_vm_report *vm;
	bool home, kept;
	int r;

	(void)err;
	if (!json_object_object_get_ex(parameters, "vm", NULL)) {
		struct state *s = userdata;

		for (unsigned int i = 0; i < s->n; i++)
			strcpy(s->vms[i].state, i == 1 ? "draining" : "drained");
		return cram_call_reply(call, cram_reply_accepted(NULL, 0, true, "", ""));
	}
	vm = find(call, userdata, parameters);
	if (!vm)
		return 0;
	kept = vm->pid != 1001;
	home = strcmp(vm->name, "vm-0") == 0 || !kept;
	r = cram_call_reply(call,
			    cram_reply_accepted(vm, home ? 0 : vm->tier_bytes, kept,
						kept ? "" : "ends with this run: disk full", ""));
	vm->tier_bytes = vm->device_bytes = vm->device_bytes_upper = 0;
	strcpy(vm->state, home ? "drained" : "draining");
	vm->draining = true;
	return r;
}

#define GONE "00000000-0000-4000-8000-0000000000ff"

/* vm-0 has some, and one that is gone, as its name is not for a terminal. */
HANDLER(list_overrides)
{
	struct cram_override_report kept[2] = {
		{ .running = true, .kept = "weight 7" },
		{ .uuid = GONE, .name = "gone\033[31m", .kept = "quota 3 MiB, paused" },
	};
	struct state *s = userdata;

	(void)parameters;
	(void)err;
	strcpy(kept[0].uuid, s->vms[0].uuid);
	strcpy(kept[0].name, s->vms[0].name);
	if (s->odd_names)
		strcpy(kept[1].name, s->vms[s->n - 1].name);
	return cram_call_reply(call, cram_reply_overrides(kept, ARRAY_SIZE(kept)));
}

HANDLER(drop_overrides)
{
	struct cram_vm_report *vm;
	const char *name = "";

	cram_param_text(parameters, "vm", &name, err);
	if (!strcmp(name, GONE))
		return cram_call_reply(
			call, cram_reply_accepted(NULL, 0, true, "", "the host: no longer kept"));
	vm = find(call, userdata, parameters);
	if (!vm)
		return 0;
	return cram_call_reply(
		call, cram_reply_accepted(vm, 0, true, "", "vm \"vm-0\": weight 7 -> 100"));
}

/* Any process is vm-0. */
HANDLER(add_vm)
{
	struct state *s = userdata;

	(void)parameters;
	(void)err;
	return cram_call_reply(call, cram_reply_accepted(&s->vms[0], 0, true, "",
							 "vm \"vm-0\": taken in as pid-1000"));
}

HANDLER(nothing)
{
	(void)parameters;
	(void)userdata;
	(void)err;
	return cram_call_reply(call, NULL);
}

/* Refused once, and mended. */
HANDLER(reload)
{
	struct json_object *o = json_object_new_object();
	struct state *s = userdata;

	(void)parameters;
	(void)err;
	if (s->reloads++) {
		json_object_object_add(o, "generation", json_object_new_int(2));
		json_object_object_add(o, "changed",
				       json_object_new_string("the host: host.round 2 s -> 1 s"));
		return cram_call_reply(call, o);
	}
	json_object_object_add(o, "message",
			       json_object_new_string("cramd.conf:3: no such option"));
	return cram_call_error(call, CRAM_ERR_CONFIG_INVALID, o);
}

static const struct cram_method status_methods[] = {
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
	{ 0 },
};

static const struct cram_method control_methods[] = {
	{ "DropOverrides", false, drop_overrides },
	{ "SetQuota", false, set_quota },
	{ "Drain", false, drain },
	{ "Pause", false, nothing },
	{ "Resume", false, nothing },
	{ "Reload", false, reload },
	{ "AddVm", false, add_vm },
	{ 0 },
};

#define WIDE "\xe6\x95\xb0\xe6\x8d\xae\xe5\xba\x93" /* "database", six columns in nine bytes */

static void odd_names(struct state *s)
{
	static const char *const names[] = {
		WIDE,
		"instance-of-a-tenant-who-likes-to-give-each-machine-a-name-that-says-it-all",
		"u\xcc\x88\xc2\x9b"
		"2J", /* u, its dots, the CSI of eight bits */
		WIDE WIDE WIDE WIDE WIDE WIDE WIDE WIDE WIDE,
	};

	s->odd_names = true;
	for (unsigned int i = 0; i < s->n; i++)
		strcpy(s->vms[i].name, names[i % ARRAY_SIZE(names)]);
	strcpy(s->node.state, WIDE WIDE);
}

/* A host that is in the way of selling its tier. */
static void as_it_may_be(struct state *s, const char *word)
{
	struct cram_host_report *host = &s->host;

	if (strcmp(word, "paused") == 0) {
		host->paused = true;
		host->guaranteed -= host->tier_capacity;
		host->tier_capacity = 0;
	} else if (strcmp(word, "unread") == 0) {
		host->lasting_known = false;
	} else if (strcmp(word, "bare") == 0) {
		host->lasting -= host->lasting_tiers;
		host->tier_capacity = host->lasting_tiers = 0;
	} else if (strcmp(word, "slow") == 0) {
		s->slow = true;
	} else {
		s->node.nid = atoi(word);
	}
}

static int listen_at(const char *dir, const char *name)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/%s", dir, name);
	if (fd < 0 || bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 || listen(fd, 64) < 0) {
		perror(sa.sun_path);
		exit(1);
	}
	return fd;
}

int main(int argc, char **argv)
{
	struct state s = { .n = argc >= 3 ? (unsigned int)atoi(argv[2]) : 0 };
	const struct cram_service services[2] = {
		{ CRAM_IFACE_STATUS, status_methods, &s, 0 },
		{ CRAM_IFACE_CONTROL, control_methods, &s, CRAM_CONTROL_MAX },
	};
	struct pollfd p[3 + MAX_PEERS];
	struct cram_peer *peers[MAX_PEERS] = { 0 };

	if (argc < 3 || argc > 4)
		return 2;
	s.status = (struct cram_status_reports){ &s.host, s.dram, 2, &s.node, 1 };
	s.vms = calloc(s.n + 1, sizeof(*s.vms));
	for (unsigned int i = 0; i < s.n; i++)
		synthetic_vm(&s.vms[i], i);
	if (argc < 4 || strcmp(argv[3], "unknown") != 0)
		synthetic_host(&s.host, s.dram, &s.node, s.n);
	if (argc == 4 && strcmp(argv[3], "names") == 0)
		odd_names(&s);
	else if (argc == 4)
		as_it_may_be(&s, argv[3]);
	p[0] = (struct pollfd){ .fd = STDIN_FILENO, .events = POLLIN };
	p[1] = (struct pollfd){ .fd = listen_at(argv[1], "status"), .events = POLLIN };
	p[2] = (struct pollfd){ .fd = listen_at(argv[1], "control"), .events = POLLIN };
	for (int i = 0; i < MAX_PEERS; i++)
		p[3 + i].fd = -1;
	puts("ready");
	fflush(stdout);
	while (poll(p, 3 + MAX_PEERS, -1) >= 0 && !p[0].revents) {
		for (int i = 0; i < MAX_PEERS; i++) {
			if (p[3 + i].fd < 0 || !p[3 + i].revents ||
			    cram_peer_io(peers[i], p[3 + i].fd, p[3 + i].revents,
					 &p[3 + i].events) == 0)
				continue;
			close(p[3 + i].fd);
			p[3 + i].fd = -1;
			cram_peer_free(peers[i]);
		}
		for (int l = 0; l < 2; l++) {
			for (int i = 0; p[1 + l].revents && i < MAX_PEERS; i++) {
				if (p[3 + i].fd >= 0)
					continue;
				p[3 + i].fd = accept4(p[1 + l].fd, NULL, NULL, SOCK_NONBLOCK);
				if (p[3 + i].fd >= 0 && cram_peer_new(&services[l], &peers[i]) < 0)
					return 1;
				p[3 + i].events = POLLIN;
				break;
			}
		}
	}
	for (int i = 0; i < MAX_PEERS; i++)
		if (p[3 + i].fd >= 0)
			cram_peer_free(peers[i]);
	free(s.vms);
	return 0;
}
