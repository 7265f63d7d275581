// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The commands that change something: they use the control socket. Waiting is done here, by
 * looking at the status; the agent's answer never waits for memory to move.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ctl/ctl.h"
#include "protocol/model.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/duration.h"

#define POLL_MS 250

/* In any mode but auto all of it is to come home. */
static bool limits_hold(const struct cram_vm_report *vm)
{
	if (strcmp(vm->mode, "auto") != 0)
		return vm->tier_bytes == 0;
	return vm->device_bytes_upper <= vm->quota && vm->tier_bytes <= vm->hard_limit &&
	       (vm->dram >= vm->effective_floor || vm->tier_bytes == 0);
}

static bool drained(const struct cram_vm_report *vm)
{
	return strcmp(vm->state, "drained") == 0;
}

static int show_vm(const struct options *o, const char *name, struct cram_vm_report *ret,
		   struct json_object **ret_reply)
{
	struct cram_error err = { 0 };
	struct json_object *vm;
	int r = call(o, CRAM_IFACE_STATUS, "ShowVm", vm_parameters(name), ret_reply);

	if (r != EXIT_OK)
		return r;
	if (!json_object_object_get_ex(*ret_reply, "vm", &vm))
		vm = NULL;
	if (cram_decode_as(vm, vm, ret, &err) < 0) {
		complain(&err);
		return EXIT_FAILED;
	}
	return EXIT_OK;
}

/* The first VM of all that is not done; @ret as it is when there is none. */
static int show_first(const struct options *o, bool (*done)(const struct cram_vm_report *vm),
		      struct cram_vm_report *ret, struct json_object **ret_reply)
{
	struct json_object *list = NULL;
	struct cram_error err = { 0 };
	int r = call(o, CRAM_IFACE_STATUS, "ListVms", NULL, ret_reply);

	if (r != EXIT_OK)
		return r;
	if (!json_object_object_get_ex(*ret_reply, "vms", &list) ||
	    !json_object_is_type(list, json_type_array))
		return EXIT_FAILED;
	for (size_t i = 0; i < json_object_array_length(list); i++) {
		struct json_object *vm = json_object_array_get_idx(list, i);

		if (cram_decode_as(vm, vm, ret, &err) < 0) {
			complain(&err);
			return EXIT_FAILED;
		}
		if (!done(ret))
			return EXIT_OK;
	}
	return EXIT_OK;
}

/* @name NULL: all VMs. */
static int wait_until(const struct options *o, const char *name,
		      bool (*done)(const struct cram_vm_report *vm))
{
	struct timespec pause = { .tv_nsec = POLL_MS * 1000000 };
	const uint64_t until = monotonic_ms() + o->wait_ms;

	for (;;) {
		cleanup_json struct json_object *reply = NULL;
		struct cram_vm_report vm = { 0 };
		int r = name ? show_vm(o, name, &vm, &reply) : show_first(o, done, &vm, &reply);

		if (r != EXIT_OK)
			return r;
		/* Without a name: there is no VM at all. */
		if (!vm.name[0] || done(&vm)) {
			if (o->json)
				print_json(reply, false);
			return EXIT_OK;
		}
		if (monotonic_ms() >= until) {
			char left[32], span[32];

			if (o->json)
				print_json(reply, false);
			fprintf(stderr,
				"cramctl: vm \"%s\": not done after %s, it is %s with %s on the "
				"tier; see cramctl vm explain\n",
				without_controls(vm.name),
				cram_duration_format(o->wait_ms * DURATION_MS, span, sizeof(span)),
				vm.state, cram_size_format(vm.tier_bytes, left, sizeof(left)));
			return EXIT_PARTIAL;
		}
		nanosleep(&pause, NULL);
	}
}

/* One line of the answer, if it has one. */
static void print_said(struct json_object *reply, const char *key)
{
	struct json_object *v;

	if (!json_object_object_get_ex(reply, key, &v) || json_object_get_string_len(v) == 0)
		return;
	print_text(json_object_get_string(v), 0);
	putchar('\n');
}

/* The same to be heeded. false: there is none. */
static bool complain_of(struct json_object *reply, const char *key)
{
	struct cram_error err = { 0 };
	struct json_object *v;

	if (!json_object_object_get_ex(reply, key, &v) || json_object_get_string_len(v) == 0)
		return false;
	cram_error_set(&err, 0, NULL, NULL, NULL, "%s", json_object_get_string(v));
	complain(&err);
	return true;
}

/* The answer to SetQuota and Drain, then waiting if asked for. */
static int finish(const struct options *o, const char *name, struct json_object *reply,
		  bool (*done)(const struct cram_vm_report *vm))
{
	struct json_object *v;
	uint64_t missing = 0;
	bool kept = true;
	char size[32];
	int r;

	if (json_object_object_get_ex(reply, "kept", &v))
		kept = json_object_get_boolean(v);
	if (!o->json)
		print_said(reply, "changed");
	if (!kept)
		complain_of(reply, "message");
	else if (!o->json)
		print_said(reply, "message");
	fflush(stdout);
	if (json_object_object_get_ex(reply, "missing", &v))
		missing = json_object_get_uint64(v);
	if (missing > 0)
		fprintf(stderr,
			"cramctl: %s: DRAM lacks %s for it above the headroom; free memory or move a VM "
			"away\n",
			name ? name : "all VMs", cram_size_format(missing, size, sizeof(size)));
	if (o->wait) {
		r = wait_until(o, name, done);
		return r == EXIT_OK && !kept ? EXIT_PARTIAL : r;
	}
	if (o->json)
		print_json(reply, false);
	return missing > 0 || !kept ? EXIT_PARTIAL : EXIT_OK;
}

/* "SIZE" (the quota) or "SETTING=VALUE"; an empty value drops the override. */
static int add_setting(struct json_object *parameters, char *arg)
{
	char *eq = strchr(arg, '=');
	const char *name = eq ? arg : "quota", *value = eq ? eq + 1 : arg;
	struct cram_vm_layer scratch = { 0 };
	struct cram_error err = { 0 };
	enum cram_setting s;

	if (eq)
		*eq = '\0';
	if (cram_setting_parse(name, &s) < 0) {
		fprintf(stderr,
			"cramctl: no such setting: %s; settings: mode, quota, hard_limit, floor, weight, "
			"cold_age, tiers\n",
			name);
		return EXIT_USAGE;
	}
	if (json_object_object_get_ex(parameters, name, NULL)) {
		fprintf(stderr, "cramctl: %s is given twice\n", name);
		return EXIT_USAGE;
	}
	if (value[0] == '\0') {
		json_object_object_add(parameters, name, NULL);
		return EXIT_OK;
	}
	if (cram_layer_set(&scratch, s, value, 0, &err) < 0) {
		complain(&err);
		return EXIT_INVALID;
	}
	if (s == CRAM_SET_FLOOR && scratch.floor_is_percent)
		json_object_object_add(parameters, name, json_object_new_string(value));
	else if (s == CRAM_SET_FLOOR)
		json_object_object_add(parameters, name, json_object_new_uint64(scratch.floor));
	else if (s == CRAM_SET_QUOTA && scratch.quota != CRAM_UNLIMITED)
		json_object_object_add(parameters, name, json_object_new_uint64(scratch.quota));
	else if (s == CRAM_SET_HARD_LIMIT && scratch.hard_limit != CRAM_UNLIMITED)
		json_object_object_add(parameters, name,
				       json_object_new_uint64(scratch.hard_limit));
	else
		json_object_object_add(parameters, name, json_object_new_string(value));
	return EXIT_OK;
}

int run_quota_set(const struct options *o, int argc, char **argv)
{
	cleanup_json struct json_object *reply = NULL;
	struct json_object *parameters = vm_parameters(argv[0]);
	int r;

	for (int i = 1; i < argc; i++) {
		r = add_setting(parameters, argv[i]);
		if (r != EXIT_OK) {
			json_object_put(parameters);
			return r;
		}
	}
	if (o->persist)
		json_object_object_add(parameters, "persist", json_object_new_boolean(true));
	r = call(o, CRAM_IFACE_CONTROL, "SetQuota", parameters, &reply);
	return r == EXIT_OK ? finish(o, argv[0], reply, limits_hold) : r;
}

int run_quota_drop(const struct options *o, int argc, char **argv)
{
	cleanup_json struct json_object *reply = NULL;
	int r = call(o, CRAM_IFACE_CONTROL, "DropOverrides", vm_parameters(argv[0]), &reply);

	(void)argc;
	return r == EXIT_OK ? finish(o, argv[0], reply, limits_hold) : r;
}

int run_drain(const struct options *o, int argc, char **argv)
{
	cleanup_json struct json_object *reply = NULL;
	const char *name = argc > 0 ? argv[0] : NULL;
	int r;

	if (o->all == (name != NULL)) {
		fprintf(stderr, "cramctl: drain takes a VM or --all, one of them\n");
		return EXIT_USAGE;
	}
	r = call(o, CRAM_IFACE_CONTROL, "Drain", vm_parameters(name), &reply);
	return r == EXIT_OK ? finish(o, name, reply, drained) : r;
}

static int simple(const struct options *o, const char *method, const char *vm)
{
	cleanup_json struct json_object *reply = NULL;
	int r = call(o, CRAM_IFACE_CONTROL, method, vm_parameters(vm), &reply);

	if (r != EXIT_OK)
		return r;
	if (o->json)
		return print_json(reply, false);
	print_said(reply, "changed");
	return complain_of(reply, "message") ? EXIT_PARTIAL : EXIT_OK;
}

int run_pause(const struct options *o, int argc, char **argv)
{
	return simple(o, "Pause", argc > 0 ? argv[0] : NULL);
}

int run_resume(const struct options *o, int argc, char **argv)
{
	return simple(o, "Resume", argc > 0 ? argv[0] : NULL);
}

int run_reload(const struct options *o, int argc, char **argv)
{
	(void)argc;
	(void)argv;
	return simple(o, "Reload", NULL);
}

int run_vm_add(const struct options *o, int argc, char **argv)
{
	cleanup_json struct json_object *reply = NULL;
	struct json_object *parameters;
	char *end;
	unsigned long pid = strtoul(argv[0], &end, 10);
	int r;

	(void)argc;
	if (argv[0][0] < '0' || argv[0][0] > '9' || *end || pid == 0 || pid > INT32_MAX) {
		fprintf(stderr, "cramctl: vm add takes the pid of a QEMU, not %s\n", argv[0]);
		return EXIT_USAGE;
	}
	parameters = json_object_new_object();
	if (!parameters)
		return EXIT_FAILED;
	json_object_object_add(parameters, "pid", json_object_new_int64((int64_t)pid));
	r = call(o, CRAM_IFACE_CONTROL, "AddVm", parameters, &reply);
	if (r == EXIT_OK && o->json)
		return print_json(reply, false);
	if (r == EXIT_OK)
		print_said(reply, "changed");
	return r;
}
