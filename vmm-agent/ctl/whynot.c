// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What of the VMs' DRAM could still be gained, and what stands in the way. Each byte of a VM's DRAM
 * is in one part: in use, kept by the floor, on its way out, or held back by what the last decision
 * names first. The agent's reports are all it takes.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "ctl/ctl.h"
#include "protocol/model.h"
#include "util/cleanup.h"
#include "util/size.h"

/* In the order in which the policy asks: the first that a decision names is what held memory back.
 */
static const struct obstacle {
	const char *code, *what, *advice;
	bool gain; /* it could be gained */
} obstacles[] = {
	{ "in-use", "used within the cold age", "", false },
	{ "going", "on its way out", "", false },
	{ "ineligible", "cannot be tiered", "see cramctl vm show", true },
	{ "floor", "cold, kept by the floor", "lower it: cramctl quota set VM floor=SIZE", true },
	{ "mode", "its mode is not auto", "cramctl quota set VM mode=auto", true },
	{ "drain", "it is drained", "cramctl resume VM", true },
	{ "paused", "paused, by an operator or a migration, dump or save",
	  "wait for that, or cramctl resume VM", true },
	{ "no-tier", "no tier takes it", "see cramctl check", true },
	{ "warmup", "not observed for one cold age yet", "wait", true },
	{ "backoff", "what went out came back too fast", "wait; if it stays so, raise cold_age",
	  true },
	{ "hard-limit", "at its hard limit", "cramctl quota set VM hard_limit=SIZE", true },
	{ "quota", "at its quota", "cramctl quota set VM quota=SIZE", true },
	{ "share", "at its share of a contended tier", "raise its weight, or add a card", true },
	{ "tier-pressure", "the tier gives back", "add a card", true },
	{ "tier-full", "the tier is full", "add a card", true },
	{ "rate", "later, by the limits of rate", "wait", true },
	{ "hysteresis", "too little to act on", "", true },
	{ "other", "the last decision did not ask for it", "see cramctl vm explain VM", true },
};

#define N ARRAY_SIZE(obstacles)

static size_t obstacle_of(const char *code)
{
	size_t i = 0;

	while (i < N - 1 && strcmp(obstacles[i].code, code) != 0)
		i++;
	return i;
}

/* The obstacle that a decision names first, in the policy's order. */
static size_t first_obstacle(struct json_object *explanation)
{
	struct json_object *list = NULL;
	size_t first = N - 1;

	if (!json_object_object_get_ex(explanation, "reasons", &list) ||
	    !json_object_is_type(list, json_type_array))
		return first;
	for (size_t i = 0; i < json_object_array_length(list); i++) {
		struct cram_reason_report report;
		size_t o;

		if (cram_decode_as(reason, json_object_array_get_idx(list, i), &report, NULL) < 0)
			continue;
		o = obstacle_of(report.code);
		/* The floor has a part of its own. */
		if (o < first && obstacles[o].gain && strcmp(report.code, "floor") != 0)
			first = o;
	}
	return first;
}

static uint64_t take(uint64_t *from, uint64_t most)
{
	uint64_t taken = most < *from ? most : *from;

	*from -= taken;
	return taken;
}

static void divide(const struct cram_vm_report *vm, struct json_object *explanation,
		   uint64_t parts[N])
{
	uint64_t left = vm->dram, room;

	memset(parts, 0, N * sizeof(*parts));
	if (vm->ineligible[0]) {
		parts[obstacle_of("ineligible")] = left;
		return;
	}
	parts[obstacle_of("in-use")] = take(&left, vm->dram > vm->cold ? vm->dram - vm->cold : 0);
	room = vm->dram > vm->effective_floor ? vm->dram - vm->effective_floor : 0;
	parts[obstacle_of("floor")] = take(&left, left > room ? left - room : 0);
	parts[obstacle_of("going")] = take(&left, vm->demote_pending);
	parts[first_obstacle(explanation)] += left;
}

static uint64_t gain_of(const uint64_t parts[N])
{
	uint64_t gain = 0;

	for (size_t i = 0; i < N; i++)
		gain += obstacles[i].gain ? parts[i] : 0;
	return gain;
}

static void print_parts(const uint64_t parts[N], const uint64_t *n_vms)
{
	for (size_t i = 0; i < N; i++) {
		if (!parts[i])
			continue;
		print_size(parts[i], 12);
		printf("  %-13s %s", obstacles[i].code, obstacles[i].what);
		if (n_vms)
			printf(", %" PRIu64 " VM%s", n_vms[i], n_vms[i] == 1 ? "" : "s");
		if (obstacles[i].advice[0])
			printf("; %s", obstacles[i].advice);
		putchar('\n');
	}
}

static struct json_object *parts_json(const uint64_t parts[N], const uint64_t *n_vms)
{
	struct json_object *list = json_object_new_array();

	for (size_t i = 0; i < N; i++) {
		struct json_object *o;

		if (!parts[i])
			continue;
		o = json_object_new_object();
		json_object_object_add(o, "code", json_object_new_string(obstacles[i].code));
		json_object_object_add(o, "bytes", json_object_new_uint64(parts[i]));
		json_object_object_add(o, "gain", json_object_new_boolean(obstacles[i].gain));
		json_object_object_add(o, "text", json_object_new_string(obstacles[i].what));
		json_object_object_add(o, "advice", json_object_new_string(obstacles[i].advice));
		if (n_vms)
			json_object_object_add(o, "vms", json_object_new_uint64(n_vms[i]));
		json_object_array_add(list, o);
	}
	return list;
}

struct whynot {
	uint64_t parts[N], n_vms[N];
	struct json_object *vms; /* with --json */
};

static void add_vm(const struct options *o, const struct cram_vm_report *vm,
		   struct json_object *explanation, struct whynot *all)
{
	uint64_t parts[N];
	char size[32];

	divide(vm, explanation, parts);
	for (size_t i = 0; i < N; i++) {
		all->parts[i] += parts[i];
		all->n_vms[i] += parts[i] > 0;
	}
	if (o->json) {
		struct json_object *out = json_object_new_object();

		json_object_object_add(out, "name", json_object_new_string(vm->name));
		json_object_object_add(out, "uuid", json_object_new_string(vm->uuid));
		json_object_object_add(out, "dram", json_object_new_uint64(vm->dram));
		json_object_object_add(out, "gain", json_object_new_uint64(gain_of(parts)));
		json_object_object_add(out, "parts", parts_json(parts, NULL));
		json_object_array_add(all->vms, out);
		return;
	}
	print_text(vm->name, 0);
	printf(": %s of DRAM", cram_size_format(vm->dram, size, sizeof(size)));
	printf(", %s to be gained", cram_size_format(gain_of(parts), size, sizeof(size)));
	if (vm->ineligible[0]) {
		printf(" (%s", vm->ineligible);
		fputs(vm->note[0] ? ": " : "", stdout);
		print_text(vm->note, 0);
		putchar(')');
	}
	putchar('\n');
	print_parts(parts, NULL);
}

/* Explains one VM on the connection that is there; an exit code. */
static int explain(const struct options *o, struct cram_client *client, const char *name,
		   struct whynot *all)
{
	cleanup_json struct json_object *reply = NULL;
	const char *remote_error = NULL;
	struct cram_error err = { 0 };
	struct cram_vm_report vm;
	struct json_object *report = NULL;
	int r = cram_client_call(client, "ExplainVm", vm_parameters(name), &reply, &remote_error,
				 &err);

	if (r < 0)
		return failed(r, remote_error, &err);
	json_object_object_get_ex(reply, "vm", &report);
	if (cram_decode_as(vm, report, &vm, &err) < 0) {
		complain(&err);
		return EXIT_FAILED;
	}
	add_vm(o, &vm, reply, all);
	return EXIT_OK;
}

static int explain_all(const struct options *o, struct cram_client *client, struct whynot *all)
{
	cleanup_json struct json_object *reply = NULL;
	const char *remote_error = NULL;
	struct cram_error err = { 0 };
	struct json_object *list = NULL, *uuid;
	int r = cram_client_call(client, "ListVms", NULL, &reply, &remote_error, &err);

	if (r < 0)
		return failed(r, remote_error, &err);
	if (!json_object_object_get_ex(reply, "vms", &list) ||
	    !json_object_is_type(list, json_type_array))
		return EXIT_FAILED;
	r = EXIT_OK;
	for (size_t i = 0;
	     i < json_object_array_length(list) && r != EXIT_FAILED && r != EXIT_NO_AGENT; i++)
		/* One that stopped meanwhile is not missed. */
		if (json_object_object_get_ex(json_object_array_get_idx(list, i), "uuid", &uuid))
			r = explain(o, client, json_object_get_string(uuid), all);
	return r == EXIT_NO_VM ? EXIT_OK : r;
}

int run_why_not(const struct options *o, int argc, char **argv)
{
	cleanup_client struct cram_client *client = NULL;
	cleanup_json struct json_object *out = NULL;
	struct whynot all = { 0 };
	char size[32];
	int r = open_client(o, CRAM_IFACE_STATUS, &client);

	if (r != EXIT_OK)
		return r;
	if (o->json) {
		out = json_object_new_object();
		all.vms = json_object_new_array();
		json_object_object_add(out, "vms", all.vms);
	}
	r = argc > 0 ? explain(o, client, argv[0], &all) : explain_all(o, client, &all);
	if (r != EXIT_OK)
		return r;
	if (o->json) {
		json_object_object_add(out, "gain", json_object_new_uint64(gain_of(all.parts)));
		json_object_object_add(out, "total", parts_json(all.parts, all.n_vms));
		return print_json(out, false);
	}
	if (argc == 0) {
		printf("all VMs: %s to be gained\n",
		       cram_size_format(gain_of(all.parts), size, sizeof(size)));
		print_parts(all.parts, all.n_vms);
	}
	return EXIT_OK;
}
