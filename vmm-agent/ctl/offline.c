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

static int simulate(const struct options *o, struct cram_record *rec)
{
	cleanup_free struct cram_vm_action *actions = calloc(rec->snap.n_vms + 1, sizeof(*actions));
	struct cram_decision d = { .actions = actions };
	struct cram_policy_workspace *ws = NULL;
	int r = EXIT_OK;

	if (!actions || cram_policy_workspace_reserve(&ws, rec->snap.n_vms) < 0)
		r = EXIT_FAILED;
	for (uint32_t i = 0; r == EXIT_OK && i < o->rounds; i++) {
		if (cram_policy_decide(&rec->params, &rec->snap, ws, &d) < 0) {
			r = EXIT_FAILED;
			break;
		}
		if (o->json) {
			cleanup_json struct json_object *out = decision_json(&rec->snap, &d);

			print_json(out, true);
		} else {
			if (o->rounds > 1)
				printf("# %" PRIu64 " ms\n", rec->snap.now_ms);
			cram_decision_print(stdout, &rec->snap, &d);
		}
		cram_record_advance(rec, &d, o->interval_ms);
	}
	cram_policy_workspace_free(ws);
	return r;
}

int run_policy_simulate(const struct options *o, int argc, char **argv)
{
	cleanup_free char *text = NULL;
	struct cram_record rec;
	struct cram_error err = { 0 };
	struct cram_conf conf;
	size_t size;
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
	r = cram_file_read(argv[0], CRAM_RECORD_MAX, &text, &size);
	if (r < 0)
		cram_error_set(&err, r, argv[0], "read", NULL, "%s", strerror(-r));
	else
		r = cram_record_parse(argv[0], text, size, &conf.host.policy, &rec, &err);
	cram_conf_free(&conf);
	if (r < 0) {
		complain(&err);
		return r == -EINVAL ? EXIT_INVALID : EXIT_FAILED;
	}
	r = simulate(o, &rec);
	cram_record_free(&rec);
	return r;
}
