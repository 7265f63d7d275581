// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The commands that only look: they use the status socket and nothing else.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ctl/ctl.h"
#include "protocol/model.h"
#include "util/cleanup.h"
#include "util/plural.h"

static int decoding_failed(const struct cram_error *err)
{
	complain(err);
	return EXIT_FAILED;
}

/* One call, and its reply as JSON or as @print shows it. */
static int show(const struct options *o, const char *interface, const char *method,
		struct json_object *parameters, int (*print)(struct json_object *reply))
{
	cleanup_json struct json_object *reply = NULL;
	int r = call(o, interface, method, parameters, &reply);

	if (r != EXIT_OK)
		return r;
	return o->json ? print_json(reply, false) : print(reply);
}

/* Reports of one kind: how they are decoded, and one line of a table. */
struct rows {
	const char *key; /* of the array in the reply */
	const struct cram_field *fields;
	const size_t *n_fields;
	size_t size; /* of the structure, at most that of a VM's report */
	/* @width: of the first column, at least what @measure says of any; without @measure: 0. */
	void (*print)(const void *report, int width);
	int (*measure)(const void *report);
	void (*head)(int width);
};

#define ROWS(array, kind, ...)                                                                     \
	{                                                                                          \
		.key = array, .fields = cram_##kind##_fields, .n_fields = &cram_n_##kind##_fields, \
		.size = sizeof(struct cram_##kind##_report), __VA_ARGS__,                          \
	}

/* *ret_n (may be NULL): how many there were. */
static int print_rows(struct json_object *reply, const struct rows *rows, size_t *ret_n)
{
	struct json_object *list = NULL;
	size_t n = 0;
	int width = 0;
	union {
		struct cram_vm_report vm;
		struct cram_node_report node;
		struct cram_setting_report setting;
		struct cram_reason_report reason;
		struct cram_check_report check;
		struct cram_override_report override;
	} report;

	if (json_object_object_get_ex(reply, rows->key, &list) &&
	    json_object_is_type(list, json_type_array))
		n = json_object_array_length(list);
	/* As wide as the widest name: first all are read, then all are printed. */
	for (size_t i = 0; i < 2 * n; i++) {
		struct cram_error err = { 0 };
		int w;

		if (i == n && rows->head)
			rows->head(width);
		if (cram_decode(rows->fields, *rows->n_fields,
				json_object_array_get_idx(list, i % n), rows->size, &report,
				&err) < 0)
			return decoding_failed(&err);
		w = i < n && rows->measure ? rows->measure(&report) : 0;
		width = w > width ? w : width;
		if (i >= n)
			rows->print(&report, width);
	}
	if (n == 0 && rows->head)
		rows->head(0);
	if (ret_n)
		*ret_n = n;
	return EXIT_OK;
}

static void milliseconds(const char *name, uint64_t us)
{
	printf("  %-26s%7" PRIu64 ".%" PRIu64 " ms\n", name, us / 1000, us / 100 % 10);
}

static int node_state_columns(const void *report)
{
	return text_columns(((const struct cram_node_report *)report)->state);
}

static void print_node(const void *report, int width)
{
	const struct cram_node_report *r = report;

	if (r->nid < 0)
		printf("%-5s ", "-");
	else
		printf("%-5d ", r->nid);
	print_text(r->tier, 7);
	print_text(r->state, width > 10 ? width : 10);
	print_size(r->capacity, 13);
	print_size(r->used, 13);
	print_size(r->device_bytes, 13);
	print_size(r->free, 13);
	printf(" %5" PRIu64 "\n", r->vms);
	if (!r->watch_error[0])
		return;
	fputs("      its state is looked for each second, changes cannot be waited for: ", stdout);
	print_text(r->watch_error, 0);
	putchar('\n');
}

static void print_nodes_head(int width)
{
	printf("%-5s %-6s %-*s %12s %12s %12s %12s %5s\n", "NODE", "TIER", width > 10 ? width : 10,
	       "STATE", "CAPACITY", "GUEST", "DEVICE", "FREE", "VMS");
}

int print_nodes(struct json_object *reply)
{
	static const struct rows nodes =
		ROWS("nodes", node, .print = print_node, .measure = node_state_columns,
		     .head = print_nodes_head);

	return print_rows(reply, &nodes, NULL);
}

/* Of several home nodes those that are short: the sums do not show it. */
static void print_short_nodes(struct json_object *reply)
{
	struct cram_dram_report node;
	struct json_object *dram;
	char name[32], why[96], headroom[32];
	size_t n;

	if (!json_object_object_get_ex(reply, "dram", &dram) ||
	    !json_object_is_type(dram, json_type_array))
		return;
	n = json_object_array_length(dram);
	for (size_t i = 0; n > 1 && i < n; i++) {
		if (cram_decode_as(dram, json_object_array_get_idx(dram, i), &node, NULL) < 0 ||
		    node.available >= node.headroom)
			continue;
		snprintf(name, sizeof(name), "available on node %" PRId32, node.nid);
		snprintf(why, sizeof(why), "of %s wanted: nothing comes home to it now",
			 cram_size_format(node.headroom, headroom, sizeof(headroom)));
		print_line(name, node.available, why);
	}
}

static int print_host(struct json_object *reply)
{
	struct cram_error err = { 0 };
	struct cram_host_report h;
	struct json_object *host;

	if (!json_object_object_get_ex(reply, "host", &host))
		host = NULL;
	if (cram_decode_as(host, host, &h, &err) < 0)
		return decoding_failed(&err);
	printf("cramd %s, up %" PRIu64 " s, %s%s, detector %s\n", h.version, h.uptime_ms / 1000,
	       h.libvirt_connected ? "libvirt connected"
	       : h.libvirt_wanted  ? "libvirt NOT connected"
				   : "without libvirt",
	       h.paused ? ", PAUSED" : "", h.detector[0] ? h.detector : "none");
	if (h.config_error[0]) {
		fputs("configuration refused, the old one is in force: ", stdout);
		print_text(h.config_error, 0);
		putchar('\n');
	}
	printf("\n%" PRIu64 " VM%s: %" PRIu64 " auto, %" PRIu64 " ineligible\n", h.vms,
	       plural(h.vms), h.vms_auto, h.vms_ineligible);
	print_line("sold (guest RAM)", h.sold,
		   h.sold_known ? "" : "and more: libvirt has not told of all VMs yet");
	print_line("guaranteed", h.guaranteed, "nothing compressed");
	print_line("expected", h.expected, "at the expected ratio");
	print_line("at risk", h.at_risk, h.at_risk ? "without a place if nothing compresses" : "");
	print_line("reserved", h.reserved, h.reserved ? "for VMs about to start" : "");
	print_line("floors promised", h.floors, "");
	print_line("bound to DRAM or swap", h.bound, "");
	print_line("DRAM for guests", h.dram_usable, "");
	print_line("room for one more VM", h.room,
		   !h.sold_known ? "unknown yet"
		   : h.sell[0]	 ? "of the default settings"
				 : "");
	puts("DRAM");
	print_line("total", h.dram_total, "");
	print_line("free", h.dram_free, "");
	print_line("available", h.dram_available, "free, and page cache that nobody would miss");
	print_line("headroom wanted", h.dram_headroom,
		   h.dram_available < h.dram_headroom ? "not met: nothing comes home now" : "");
	print_short_nodes(reply);
	print_line("reserve", h.dram_reserve, "");
	print_line("huge pages", h.hugepages, h.hugepages ? "in pools of their own" : "");
	puts("tiers");
	print_line("guest memory there", h.tier_bytes, "");
	print_line("device bytes taken", h.device_bytes, "");
	print_line("moved out since start", h.demoted, "");
	print_line("brought home since start", h.promoted, "");
	print_line("refused by the kernel", h.refused, "");
	putchar('\n');
	return EXIT_OK;
}

static int print_status(struct json_object *reply)
{
	int r = print_host(reply);

	return r == EXIT_OK ? print_nodes(reply) : r;
}

/* "yes: ...", "no: ..." or "unknown: ...", and the exit status tells yes from the others. */
static int print_fits(const struct options *o, struct json_object *reply)
{
	struct json_object *fits, *known, *room, *message;
	char size[32], largest[32];

	if (!json_object_object_get_ex(reply, "fits", &fits) ||
	    !json_object_object_get_ex(reply, "room", &room) ||
	    !json_object_object_get_ex(reply, "message", &message)) {
		fprintf(stderr, "cramctl: the agent's answer has no fits, room and message; is it "
				"older than cramctl?\n");
		return EXIT_FAILED;
	}
	cram_size_format(o->fits, size, sizeof(size));
	cram_size_format(json_object_get_uint64(room), largest, sizeof(largest));
	if (o->json)
		print_json(reply, false);
	else if (json_object_object_get_ex(reply, "known", &known) &&
		 !json_object_get_boolean(known))
		printf("unknown: %s\n", json_object_get_string(message));
	else if (json_object_get_boolean(fits))
		printf("yes: a VM of %s fits, up to %s\n", size, largest);
	else
		printf("no: %s; at most %s\n", json_object_get_string(message), largest);
	return json_object_get_boolean(fits) ? EXIT_OK : EXIT_FAILED;
}

static int ask_fits(const struct options *o)
{
	cleanup_json struct json_object *reply = NULL;
	struct json_object *parameters = json_object_new_object();
	int r;

	json_object_object_add(parameters, "ram", json_object_new_uint64(o->fits));
	r = call(o, CRAM_IFACE_STATUS, "Fits", parameters, &reply);
	return r == EXIT_OK ? print_fits(o, reply) : r;
}

int run_status(const struct options *o, int argc, char **argv)
{
	(void)argc;
	(void)argv;
	if (o->fits)
		return ask_fits(o);
	return show(o, CRAM_IFACE_STATUS, "GetStatus", NULL, print_status);
}

#define NAME_COLUMNS 20 /* at least */

static int vm_name_columns(const void *report)
{
	return text_columns(((const struct cram_vm_report *)report)->name);
}

static void print_vm_line(const void *report, int width)
{
	const struct cram_vm_report *vm = report;

	print_text(vm->name, width > NAME_COLUMNS ? width : NAME_COLUMNS);
	printf(" %-8s %-11s", vm->mode, vm->state);
	print_size(vm->ram, 12);
	print_size(vm->dram, 12);
	print_size(vm->tier_bytes, 12);
	print_size(vm->device_bytes, 12);
	print_size(vm->quota, 12);
	print_size(vm->floor, 12);
	print_size(vm->cold, 12);
	putchar('\n');
}

static void print_vms_head(int width)
{
	printf("%-*s %-8s %-11s %11s %11s %11s %11s %11s %11s %11s\n",
	       width > NAME_COLUMNS ? width : NAME_COLUMNS, "NAME", "MODE", "STATE", "RAM", "DRAM",
	       "ON TIER", "DEVICE", "QUOTA", "FLOOR", "COLD");
}

int print_vms(struct json_object *reply)
{
	static const struct rows vms = ROWS("vms", vm, .print = print_vm_line,
					    .measure = vm_name_columns, .head = print_vms_head);

	return print_rows(reply, &vms, NULL);
}

int run_vm_list(const struct options *o, int argc, char **argv)
{
	(void)argc;
	(void)argv;
	return show(o, CRAM_IFACE_STATUS, "ListVms", NULL, print_vms);
}

static void print_note(const struct cram_vm_report *vm)
{
	if (vm->ineligible[0])
		printf("  cannot be tiered: %s\n", vm->ineligible);
	if (!vm->note[0])
		return;
	fputs("  note: ", stdout);
	print_text(vm->note, 0);
	putchar('\n');
}

static void print_vm(const struct cram_vm_report *vm)
{
	print_text(vm->name, 0);
	printf("  %s\n  %s, %s", vm->uuid, vm->mode, vm->state);
	if (vm->pid)
		printf(", pid %d", vm->pid);
	/* A pause does not end what else goes on; a drain is the state. */
	if (vm->paused && strcmp(vm->state, "paused") != 0)
		fputs(", paused", stdout);
	putchar('\n');
	print_note(vm);
	puts("memory");
	print_line("guest RAM", vm->ram, "");
	print_line("may be moved", vm->eligible, "");
	print_line("in DRAM", vm->dram, "");
	print_line("on the tier", vm->tier_bytes, vm->tier);
	print_line("device bytes, estimate", vm->device_bytes, "");
	print_line("device bytes, at most", vm->device_bytes_upper, "");
	print_line("in swap", vm->swapped, "");
	print_line("cold in DRAM", vm->cold, "");
	print_line("accessed within 120 s", vm->accessed, "");
	print_line("hot on the tier", vm->hot, "");
	print_line("fair share", vm->fair_share, "device bytes");
	printf("  %-26s%10" PRIu32 " s%s\n", "cold age", vm->cold_age,
	       vm->cold_age_auto ? "   automatic" : "");
	puts("moved since the agent saw it");
	print_line("out", vm->demoted, "");
	print_line("home", vm->promoted, "");
	print_line("used after moving out", vm->returned, "");
	print_line("refused by the kernel", vm->refused, "");
	puts("longest wait of the guest for the agent");
	milliseconds("moving", vm->worst_batch_us);
	milliseconds("being looked at", vm->worst_look_us);
	milliseconds("being counted", vm->worst_placement_us);
}

/* The VM that the reply is about. */
static int print_vm_of(struct json_object *reply, struct cram_vm_report *ret_vm)
{
	struct cram_error err = { 0 };
	struct json_object *o;

	if (!json_object_object_get_ex(reply, "vm", &o))
		o = NULL;
	if (cram_decode_as(vm, o, ret_vm, &err) < 0)
		return decoding_failed(&err);
	print_vm(ret_vm);
	return EXIT_OK;
}

static void print_setting(const void *report, int width)
{
	const struct cram_setting_report *s = report;
	enum cram_setting setting;
	char text[64];
	uint64_t n;

	snprintf(text, sizeof(text), "%s", s->value);
	if (cram_setting_parse(s->name, &setting) == 0 && cram_size_parse(s->value, 1, &n) == 0) {
		if (cram_setting_is_size(setting))
			cram_size_format(n, text, sizeof(text));
		else if (setting == CRAM_SET_COLD_AGE)
			snprintf(text, sizeof(text), "%" PRIu64 " s", n);
	}
	(void)width;
	printf("  %-12s ", s->name);
	print_text(text, 20);
	fputs(" from ", stdout);
	print_text(s->origin, 0);
	putchar('\n');
}

static int print_settings(struct json_object *reply)
{
	static const struct rows settings = ROWS("settings", setting, .print = print_setting);

	return print_rows(reply, &settings, NULL);
}

static int print_vm_and_settings(struct json_object *reply)
{
	struct cram_vm_report vm;
	int r = print_vm_of(reply, &vm);

	if (r != EXIT_OK)
		return r;
	puts("settings");
	return print_settings(reply);
}

int run_vm_show(const struct options *o, int argc, char **argv)
{
	(void)argc;
	return show(o, CRAM_IFACE_STATUS, "ShowVm", vm_parameters(argv[0]), print_vm_and_settings);
}

int run_quota_get(const struct options *o, int argc, char **argv)
{
	(void)argc;
	return show(o, CRAM_IFACE_STATUS, "ShowVm", vm_parameters(argv[0]), print_settings);
}

static int override_name_columns(const void *report)
{
	return text_columns(((const struct cram_override_report *)report)->name);
}

static void print_override(const void *report, int width)
{
	const struct cram_override_report *o = report;

	print_text(o->name[0] ? o->name : "-", width > NAME_COLUMNS ? width : NAME_COLUMNS);
	printf(" %-36s %-5s ", o->uuid, o->running ? "runs" : "gone");
	print_text(o->kept, 0);
	putchar('\n');
}

static void print_overrides_head(int width)
{
	printf("%-*s %-36s %-5s %s\n", width > NAME_COLUMNS ? width : NAME_COLUMNS, "NAME", "UUID",
	       "VM", "KEPT");
}

static int print_overrides(struct json_object *reply)
{
	static const struct rows overrides =
		ROWS("overrides", override, .print = print_override,
		     .measure = override_name_columns, .head = print_overrides_head);

	return print_rows(reply, &overrides, NULL);
}

int run_quota_list(const struct options *o, int argc, char **argv)
{
	(void)argc;
	(void)argv;
	return show(o, CRAM_IFACE_STATUS, "ListOverrides", NULL, print_overrides);
}

static void print_reason(const void *report, int width)
{
	const struct cram_reason_report *r = report;

	(void)width;
	printf("  %-14s ", r->code);
	print_text(r->text, 0);
	putchar('\n');
}

/* "  24 MiB are to move out" */
static void print_pending(uint64_t bytes, const char *where)
{
	char text[32];

	if (bytes)
		printf("  %s are to move %s\n", cram_size_format(bytes, text, sizeof(text)), where);
}

static int print_explanation(struct json_object *reply)
{
	static const struct rows reasons = ROWS("reasons", reason, .print = print_reason);
	struct cram_error err = { 0 };
	struct cram_vm_report vm;
	struct json_object *o;
	char dram[32], tier[32];
	size_t n;
	int r;

	if (!json_object_object_get_ex(reply, "vm", &o))
		o = NULL;
	if (cram_decode_as(vm, o, &vm, &err) < 0)
		return decoding_failed(&err);
	print_text(vm.name, 0);
	printf(": mode %s, %s; %s in DRAM, %s on the tier\n", vm.mode, vm.state,
	       cram_size_format(vm.dram, dram, sizeof(dram)),
	       vm.tier_bytes ? cram_size_format(vm.tier_bytes, tier, sizeof(tier)) : "nothing");
	print_note(&vm);
	print_pending(vm.demote_pending, "out");
	print_pending(vm.promote_pending, "home");
	r = print_rows(reply, &reasons, &n);
	if (r == EXIT_OK && n == 0)
		puts(vm.cold_age ? "  nothing stands in the way of anything"
				 : "  nothing was decided about it yet");
	return r;
}

int run_vm_explain(const struct options *o, int argc, char **argv)
{
	(void)argc;
	return show(o, CRAM_IFACE_STATUS, "ExplainVm", vm_parameters(argv[0]), print_explanation);
}

/* The answer that is looked for, as a sentence of its own. */
static void print_selling(const struct cram_check_report *f)
{
	fputs("sell ", stdout);
	if (f->bytes)
		print_size(f->bytes, 0);
	else
		fputs("nothing", stdout);
	fputs(" more; ", stdout);
	print_text(f->text, 0);
	putchar('\n');
}

static void print_finding(const void *report, int width)
{
	const struct cram_check_report *f = report;

	(void)width;
	if (strcmp(f->code, "sell") == 0) {
		print_selling(f);
		return;
	}
	if (f->bytes)
		print_size(f->bytes, 12);
	else
		printf("%12s", "");
	printf("  %-8s ", f->severity);
	print_text(f->subject, 0);
	fputs(": ", stdout);
	print_text(f->text, 0);
	printf(" [%s]\n", f->code);
}

static bool has_error(struct json_object *reply)
{
	struct json_object *list = NULL, *severity;

	if (!json_object_object_get_ex(reply, "findings", &list) ||
	    !json_object_is_type(list, json_type_array))
		return false;
	for (size_t i = 0; i < json_object_array_length(list); i++)
		if (json_object_object_get_ex(json_object_array_get_idx(list, i), "severity",
					      &severity) &&
		    json_object_is_type(severity, json_type_string) &&
		    strcmp(json_object_get_string(severity), "error") == 0)
			return true;
	return false;
}

int run_check(const struct options *o, int argc, char **argv)
{
	static const struct rows findings = ROWS("findings", check, .print = print_finding);
	cleanup_json struct json_object *reply = NULL;
	int r = call(o, CRAM_IFACE_STATUS, "Check", NULL, &reply);

	(void)argc;
	(void)argv;
	if (r != EXIT_OK)
		return r;
	r = o->json ? print_json(reply, false) : print_rows(reply, &findings, NULL);
	if (r != EXIT_OK)
		return r;
	return has_error(reply) ? EXIT_FAILED : EXIT_OK;
}

static int print_event(struct json_object *reply)
{
	struct cram_event_report e;
	struct cram_error err = { 0 };
	struct json_object *o;
	char stamp[32];
	struct tm tm;
	time_t t;

	if (json_object_object_get_ex(reply, "lost", &o))
		printf("... %" PRIu64 " event%s lost\n", json_object_get_uint64(o),
		       plural(json_object_get_uint64(o)));
	if (!json_object_object_get_ex(reply, "event", &o))
		return EXIT_OK;
	if (cram_decode_as(event, o, &e, &err) < 0)
		return decoding_failed(&err);
	t = (time_t)(e.time_us / 1000000);
	if (!localtime_r(&t, &tm) || strftime(stamp, sizeof(stamp), "%F %T", &tm) == 0)
		stamp[0] = '\0';
	printf("%s %-16s ", stamp, e.type);
	print_text(e.name, 16);
	putchar(' ');
	print_text(e.text, 0);
	if (e.bytes) {
		fputs(" (", stdout);
		print_size(e.bytes, 0);
		putchar(')');
	}
	putchar('\n');
	return EXIT_OK;
}

int run_monitor(const struct options *o, int argc, char **argv)
{
	cleanup_client struct cram_client *client = NULL;
	struct options waiting = *o;
	struct cram_error err = { 0 };
	const char *remote_error = NULL;
	int r;

	(void)argc;
	(void)argv;
	waiting.timeout_ms = -1; /* an idle host has no events for hours */
	r = open_client(&waiting, CRAM_IFACE_STATUS, &client);
	if (r != EXIT_OK)
		return r;
	r = cram_client_call_more(client, "Monitor", NULL, &err);
	if (r < 0)
		return failed(r, NULL, &err);
	for (uint32_t i = 0; o->count == 0 || i < o->count; i++) {
		cleanup_json struct json_object *reply = NULL;
		int more = cram_client_next(client, &reply, &remote_error, &err);

		if (more < 0)
			return failed(more, remote_error, &err);
		r = o->json ? print_json(reply, true) : print_event(reply);
		if (r != EXIT_OK || more == 0)
			return r;
		if (fflush(stdout) != 0)
			return EXIT_FAILED;
	}
	return EXIT_OK;
}
