// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Whole replies and requests, built from and into the structures of model.h.
 */
#include "protocol/model.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "protocol/protocol.h"
#include "protocol/rows.h"
#include "util/cleanup.h"

static struct json_object *encode_array(const struct cram_field *fields, size_t n_fields,
					const void *items, size_t n, size_t size)
{
	struct json_object *a = json_object_new_array_ext((int)(n ? n : 1));

	for (size_t i = 0; a && i < n; i++) {
		struct json_object *o =
			cram_encode(fields, n_fields, (const char *)items + i * size);

		if (!o || json_object_array_add(a, o) < 0) {
			json_object_put(o);
			json_object_put(a);
			return NULL;
		}
	}
	return a;
}

#define encode_array_of(kind, items, n) \
	encode_array(cram_##kind##_fields, cram_n_##kind##_fields, (items), (n), sizeof(*(items)))

/* Consumes both values; NULL when any of the three is missing. */
static struct json_object *pair(const char *k1, struct json_object *v1, const char *k2,
				struct json_object *v2)
{
	struct json_object *o = json_object_new_object();

	if (!o || !v1 || (k2 && !v2)) {
		json_object_put(o);
		json_object_put(v1);
		json_object_put(v2);
		return NULL;
	}
	json_object_object_add(o, k1, v1);
	if (k2)
		json_object_object_add(o, k2, v2);
	return o;
}

struct json_object *cram_reply_status(const struct cram_status_reports *status)
{
	struct json_object *dram = encode_array_of(dram, status->dram, status->n_dram);
	struct json_object *o = pair("host", cram_encode_as(host, status->host), "nodes",
				     encode_array_of(node, status->nodes, status->n_nodes));

	if (!o || !dram) {
		json_object_put(o);
		json_object_put(dram);
		return NULL;
	}
	json_object_object_add(o, "dram", dram);
	return o;
}

struct json_object *cram_reply_nodes(const struct cram_node_report *nodes, size_t n_nodes)
{
	return pair("nodes", encode_array_of(node, nodes, n_nodes), NULL, NULL);
}

struct json_object *cram_reply_vms(const struct cram_vm_report *vms, size_t n_vms)
{
	return pair("vms", encode_array_of(vm, vms, n_vms), NULL, NULL);
}

struct json_object *cram_reply_vm(const struct cram_vm_report *vm,
				  const struct cram_setting_report *settings, size_t n_settings)
{
	return pair("vm", cram_encode_as(vm, vm), "settings",
		    encode_array_of(setting, settings, n_settings));
}

struct json_object *cram_reply_explain(const struct cram_vm_report *vm,
				       const struct cram_reason_report *reasons, size_t n_reasons)
{
	return pair("vm", cram_encode_as(vm, vm), "reasons",
		    encode_array_of(reason, reasons, n_reasons));
}

struct json_object *cram_reply_record(struct json_object *record)
{
	return pair("record", record, NULL, NULL);
}

struct json_object *cram_reply_overrides(const struct cram_override_report *overrides, size_t n)
{
	return pair("overrides", encode_array_of(override, overrides, n), NULL, NULL);
}

struct json_object *cram_reply_check(const struct cram_check_report *findings, size_t n)
{
	return pair("findings", encode_array_of(check, findings, n), NULL, NULL);
}

struct json_object *cram_reply_metrics(const struct cram_status_reports *status,
				       const struct cram_vm_report *vms, size_t n_vms)
{
	struct json_object *o = cram_reply_status(status);

	if (o && cram_rows_encode(o, vms, n_vms) < 0) {
		json_object_put(o);
		return NULL;
	}
	return o;
}

static uint64_t size_of(const struct cram_vm_settings *set, enum cram_setting s)
{
	return s == CRAM_SET_QUOTA	  ? set->quota
	       : s == CRAM_SET_HARD_LIMIT ? set->hard_limit
					  : set->floor;
}

void cram_setting_reports(const struct cram_vm_settings *set,
			  struct cram_setting_report ret[CRAM_N_SETTINGS])
{
	for (unsigned int s = 0; s < CRAM_N_SETTINGS; s++) {
		struct cram_setting_report *r = &ret[s];

		snprintf(r->name, sizeof(r->name), "%s", cram_setting_name((enum cram_setting)s));
		if (cram_setting_is_size((enum cram_setting)s) &&
		    size_of(set, (enum cram_setting)s) != CRAM_UNLIMITED)
			snprintf(r->value, sizeof(r->value), "%" PRIu64,
				 size_of(set, (enum cram_setting)s));
		else
			cram_settings_text(set, (enum cram_setting)s, r->value, sizeof(r->value));
		snprintf(r->origin, sizeof(r->origin), "%s%s%.24s",
			 cram_origin_name(set->origin[s]),
			 set->origin[s] == CRAM_ORIGIN_MATCH ? " " : "",
			 set->origin[s] == CRAM_ORIGIN_MATCH ? set->match[s] : "");
	}
}

size_t cram_reason_reports(const struct cram_vm_action *action, const struct cram_vm_report *vm,
			   struct cram_reason_report ret[CRAM_MAX_REASON_REPORTS])
{
	for (unsigned int i = 0; i < action->n_reasons; i++) {
		const struct cram_reason_entry *e = &action->reasons[i];

		snprintf(ret[i].code, sizeof(ret[i].code), "%s", cram_reason_name(e->code));
		cram_reason_sentence(e, vm, ret[i].text, sizeof(ret[i].text));
		ret[i].bytes = e->bytes;
		ret[i].limit = e->limit;
	}
	return action->n_reasons;
}

int cram_decode_vm(struct json_object *parameters, bool optional, const char **ret_vm,
		   struct cram_error *err)
{
	static const char *const allowed[] = { "vm", NULL };
	const char *vm = NULL;
	int r;

	r = cram_params_only(parameters, allowed, err);
	if (r < 0)
		return r;
	r = cram_param_text(parameters, "vm", &vm, err);
	if (r == -ENOENT && !optional)
		return cram_error_set(err, -EINVAL, "vm", NULL, NULL, "is missing");
	if (r < 0 && r != -ENOENT)
		return r;
	if (err)
		*err = (struct cram_error){ 0 };
	*ret_vm = vm;
	return 0;
}

int cram_decode_set(struct json_object *parameters, struct cram_set_request *ret,
		    struct cram_error *err)
{
	static const char *const allowed[] = { "vm",	     "persist", "mode",	  "quota",
					       "hard_limit", "floor",	"weight", "cold_age",
					       "tiers",	     NULL };
	struct cram_set_request req = { 0 };
	struct json_object *o;
	int r;

	r = cram_params_only(parameters, allowed, err);
	if (r < 0)
		return r;
	r = cram_param_text(parameters, "vm", &req.vm, err);
	if (r < 0)
		return r == -ENOENT ? cram_error_set(err, -EINVAL, "vm", NULL, NULL, "is missing")
				    : r;
	r = cram_param_bool(parameters, "persist", &req.persist, err);
	if (r < 0 && r != -ENOENT)
		return r;
	for (unsigned int s = 0; s < CRAM_N_SETTINGS; s++) {
		const char *name = cram_setting_name((enum cram_setting)s), *text;
		uint64_t unit = 0;
		char number[24];

		if (!json_object_object_get_ex(parameters, name, &o))
			continue;
		switch (json_object_get_type(o)) {
		case json_type_null:
			req.clear |= 1U << s;
			continue;
		case json_type_int: {
			uint64_t v;

			r = cram_param_u64(parameters, name, &v, err);
			if (r < 0)
				return r;
			snprintf(number, sizeof(number), "%" PRIu64, v);
			text = number;
			unit = 1; /* integers are bytes */
			break;
		}
		default:
			r = cram_param_text(parameters, name, &text, err);
			if (r < 0)
				return r;
		}
		r = cram_layer_set(&req.layer, (enum cram_setting)s, text, unit, err);
		if (r < 0)
			return r;
	}
	if (!req.layer.set && !req.clear)
		return cram_error_set(err, -EINVAL, "settings", NULL, NULL, "none is given");
	if (err)
		*err = (struct cram_error){ 0 };
	*ret = req;
	return 0;
}

struct json_object *cram_reply_accepted(const struct cram_vm_report *vm, uint64_t missing_bytes,
					bool kept, const char *message, const char *changed)
{
	struct json_object *o = json_object_new_object();

	if (!o)
		return NULL;
	json_object_object_add(o, "accepted", json_object_new_boolean(true));
	if (vm)
		json_object_object_add(o, "vm", cram_encode_as(vm, vm));
	json_object_object_add(o, "missing", json_object_new_uint64(missing_bytes));
	json_object_object_add(o, "kept", json_object_new_boolean(kept));
	json_object_object_add(o, "message", json_object_new_string(message ? message : ""));
	json_object_object_add(o, "changed", json_object_new_string(changed ? changed : ""));
	return o;
}
