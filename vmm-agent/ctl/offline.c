// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The commands that need no agent: checking files, and deciding on recorded snapshots.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/ctl.h"
#include "protocol/record.h"
#include "settings/domain.h"
#include "util/cleanup.h"
#include "util/file.h"

static void add_text(struct json_object *o, const char *key, const char *text)
{
	json_object_object_add(o, key, json_object_new_string(text));
}

static int verdict(const struct options *o, const char *file, int r, const char *warning,
		   const struct cram_error *err)
{
	char text[CRAM_ERROR_TEXT] = "";

	if (r < 0)
		cram_error_format(err, text, sizeof(text));
	if (o->json) {
		cleanup_json struct json_object *out = json_object_new_object();

		add_text(out, "file", file);
		json_object_object_add(out, "valid", json_object_new_boolean(r == 0));
		add_text(out, "error", text);
		add_text(out, "warning", warning);
		print_json(out, false);
	} else if (r < 0) {
		fprintf(stderr, "%s: %s\n", file, text);
	} else {
		printf("%s: valid%s", file, warning[0] ? ", but " : "");
		print_text(warning, 0);
		putchar('\n');
	}
	return r < 0 ? EXIT_INVALID : EXIT_OK;
}

/* An element by itself begins otherwise than a domain; the parser of the right one reports. */
static bool is_tiering(const char *text)
{
	const char *p = strchr(text, '<');

	while (p && (p[1] == '?' || p[1] == '!'))
		p = strchr(p + 1, '<');
	if (!p)
		return false;
	p++;
	if (strcspn(p, ":") < strcspn(p, " \t\r\n/>"))
		p += strcspn(p, ":") + 1;
	return strncmp(p, "tiering", 7) == 0;
}

int run_validate(const struct options *o, int argc, char **argv)
{
	cleanup_free char *text = NULL;
	struct cram_domain domain = { 0 };
	struct cram_vm_layer layer = { 0 };
	struct cram_error err = { 0 };
	char warning[256] = "", unknown[256] = "";
	const char *file = argv[0];
	size_t size, n = strlen(file);
	int r;

	(void)argc;
	r = cram_file_read(file, CRAM_DOMAIN_XML_MAX, &text, &size);
	if (r < 0) {
		cram_error_set(&err, r, file, "read", NULL, "%s", strerror(-r));
		complain(&err);
		return EXIT_FAILED;
	}
	if (n > 5 && strcmp(file + n - 5, ".conf") == 0) {
		struct cram_conf conf;

		r = cram_conf_parse(file, text, size, &conf, &err);
		if (r == 0)
			cram_conf_free(&conf);
	} else if (is_tiering(text)) {
		r = cram_tiering_parse(text, size, &layer, unknown, sizeof(unknown), &err);
	} else {
		r = cram_domain_parse(text, size, &domain, &err);
		snprintf(unknown, sizeof(unknown), "%s", domain.warning);
		if (r == 0 && !domain.has_tiering)
			snprintf(warning, sizeof(warning),
				 "there is no <tiering> of " CRAM_XML_NAMESPACE " in its metadata");
	}
	/* The agent goes on without what it does not know; whoever validates wants to hear of a
	 * typo. */
	if (r == 0 && unknown[0])
		r = cram_error_set(&err, -EINVAL, NULL, NULL, "correct or remove it", "%s",
				   unknown);
	return verdict(o, file, r, warning, &err);
}

static struct json_object *decision_json(const struct cram_snapshot *snap,
					 const struct cram_decision *d)
{
	struct json_object *vms = json_object_new_array(), *out = json_object_new_object();

	for (size_t i = 0; i < snap->n_vms; i++) {
		const struct cram_vm_action *a = &d->actions[i];
		struct json_object *vm = json_object_new_object();
		struct json_object *reasons = json_object_new_array();

		add_text(vm, "name", snap->vms[i].name ? snap->vms[i].name : "");
		add_text(vm, "state", cram_vm_state_name(a->state));
		json_object_object_add(vm, "demote", json_object_new_uint64(a->demote_bytes));
		json_object_object_add(vm, "demote_age", json_object_new_uint64(a->demote_age_s));
		json_object_object_add(vm, "promote", json_object_new_uint64(a->promote_bytes));
		json_object_object_add(vm, "promote_hot",
				       json_object_new_uint64(a->promote_hot_bytes));
		json_object_object_add(vm, "fair_share",
				       json_object_new_uint64(a->fair_device_bytes));
		for (unsigned int r = 0; r < a->n_reasons; r++) {
			struct json_object *reason = json_object_new_object();

			add_text(reason, "code", cram_reason_name(a->reasons[r].code));
			json_object_object_add(reason, "bytes",
					       json_object_new_uint64(a->reasons[r].bytes));
			json_object_object_add(reason, "limit",
					       json_object_new_uint64(a->reasons[r].limit));
			json_object_array_add(reasons, reason);
		}
		json_object_object_add(vm, "reasons", reasons);
		json_object_array_add(vms, vm);
	}
	json_object_object_add(out, "now_ms", json_object_new_uint64(snap->now_ms));
	json_object_object_add(out, "vms", vms);
	return out;
}

/* A host as recorded, and what was decided on it last. */
struct simulation {
	struct cram_record rec;
	struct cram_policy_workspace *ws;
	struct cram_decision decision;
	size_t n; /* rounds so far */
};

static void free_simulation(struct simulation *sim)
{
	cram_record_free(&sim->rec);
	cram_policy_workspace_free(sim->ws);
	free(sim->decision.actions);
}

static int out_of_memory(void)
{
	fputs("cramctl: out of memory\n", stderr);
	return EXIT_FAILED;
}

/* One round: decided, and shown. */
static int decide(const struct options *o, struct simulation *sim)
{
	size_t n_vms = sim->rec.snap.n_vms;
	struct cram_vm_action *actions;

	actions = reallocarray(sim->decision.actions, n_vms + 1, sizeof(*actions));
	if (!actions)
		return out_of_memory();
	sim->decision.actions = actions;
	if (cram_policy_workspace_reserve(&sim->ws, n_vms) < 0)
		return out_of_memory();
	if (cram_policy_decide(&sim->rec.params, &sim->rec.snap, sim->ws, &sim->decision) < 0) {
		fputs("cramctl: the policy refuses the snapshot\n", stderr);
		return EXIT_FAILED;
	}
	sim->n++;
	if (o->json) {
		cleanup_json struct json_object *out =
			decision_json(&sim->rec.snap, &sim->decision);

		return print_json(out, true);
	}
	if (sim->n > 1 || o->rounds > 1)
		printf("# %" PRIu64 " ms\n", sim->rec.snap.now_ms);
	cram_decision_print(stdout, &sim->rec.snap, &sim->decision);
	return EXIT_OK;
}

static bool same_vm(const struct cram_vm_input *a, const struct cram_vm_input *b)
{
	if (a->uuid && b->uuid && a->uuid[0])
		return strcmp(a->uuid, b->uuid) == 0;
	return a->name && b->name && strcmp(a->name, b->name) == 0;
}

/* What the policy remembers is what it decided here, not what it did when that was recorded. */
static void carry_memory(struct simulation *sim, struct cram_record *next)
{
	for (size_t i = 0; i < next->snap.n_vms; i++)
		for (size_t k = 0; k < sim->rec.snap.n_vms; k++)
			if (same_vm(&next->vms[i], &sim->rec.vms[k]))
				next->vms[i].memory = sim->decision.actions[k].memory;
}

/* Every snapshot of the file, then the last one's future if every move succeeded. */
static int simulate(const struct options *o, struct cram_records *records,
		    const struct cram_policy_params *params)
{
	__attribute__((cleanup(free_simulation))) struct simulation sim = { 0 };
	struct cram_error err = { 0 };
	struct cram_record next;
	int r, status = EXIT_OK;

	while ((r = cram_records_next(records, params, &next, &err)) > 0 && status == EXIT_OK) {
		if (o->config)
			next.params = *params;
		carry_memory(&sim, &next);
		cram_record_free(&sim.rec);
		sim.rec = next;
		status = decide(o, &sim);
	}
	if (r == 0 && sim.n == 0)
		r = cram_error_set(&err, -EINVAL, records->name, NULL, NULL,
				   "it holds no snapshot");
	if (r < 0) {
		complain(&err);
		return r == -EINVAL ? EXIT_INVALID : EXIT_FAILED;
	}
	for (uint32_t i = 1; status == EXIT_OK && i < o->rounds; i++) {
		cram_record_advance(&sim.rec, &sim.decision, o->interval_ms);
		status = decide(o, &sim);
	}
	return status;
}

int run_policy_simulate(const struct options *o, int argc, char **argv)
{
	cleanup_file FILE *f = NULL;
	struct cram_records records;
	struct cram_error err = { 0 };
	struct cram_conf conf;
	int r;

	(void)argc;
	if (o->config) {
		r = cram_conf_load(o->config, &conf, &err);
		if (r < 0) {
			complain(&err);
			return EXIT_INVALID;
		}
	} else {
		cram_conf_init(&conf);
	}
	f = fopen(argv[0], "re");
	if (!f) {
		cram_error_set(&err, -errno, argv[0], "read", NULL, "%s", strerror(errno));
		complain(&err);
		r = EXIT_FAILED;
	} else if (cram_records_open(&records, f, argv[0]) < 0) {
		r = out_of_memory();
	} else {
		r = simulate(o, &records, &conf.host.policy);
		cram_records_close(&records);
	}
	cram_conf_free(&conf);
	return r;
}
