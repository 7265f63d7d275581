// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Snapshots as JSON, by tables of fields that serve reading and writing; and the perfect mover.
 */
#include "protocol/record.h"

#include <errno.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

#include "policy/saturate.h"
#include "protocol/model.h"
#include "util/array.h"
#include "util/cleanup.h"

#define FIELD(s, member, t)                                     \
	{                                                       \
		.name = #member, .type = CRAM_FIELD_##t,        \
		.offset = offsetof(struct cram_##s, member),    \
		.size = sizeof(((struct cram_##s *)0)->member), \
	}

static const struct cram_field snapshot_fields[] = {
	FIELD(snapshot, now_ms, U64),	      FIELD(snapshot, demote_tokens, U64),
	FIELD(snapshot, promote_tokens, U64), FIELD(snapshot, promote_rate, U64),
	FIELD(snapshot, swap_room, U64),
};

static const struct cram_field params_fields[] = {
	FIELD(policy_params, slo_ppm, U32),
	FIELD(policy_params, slo_min_bytes, U64),
	FIELD(policy_params, cold_age_initial_s, U32),
	FIELD(policy_params, cold_age_min_s, U32),
	FIELD(policy_params, cold_age_max_s, U32),
	FIELD(policy_params, cold_age_adjust_s, U32),
	FIELD(policy_params, give_back_permille, U32),
	FIELD(policy_params, demote_start_permille, U32),
	FIELD(policy_params, demote_start_min_bytes, U64),
	FIELD(policy_params, demote_start_max_bytes, U64),
	FIELD(policy_params, cache_permille, U32),
	FIELD(policy_params, headroom_permille, U32),
	FIELD(policy_params, headroom_min_bytes, U64),
	FIELD(policy_params, headroom_seconds, U32),
	FIELD(policy_params, backoff_factor, U32),
	FIELD(policy_params, backoff_base_s, U32),
	FIELD(policy_params, backoff_max_shift, U32),
	FIELD(policy_params, card_headroom_permille, U32),
	FIELD(policy_params, quota_slack_bytes, U64),
};

static const struct cram_field dram_fields[] = {
	FIELD(dram_input, nid, I32),	       FIELD(dram_input, total, U64),
	FIELD(dram_input, free, U64),	       FIELD(dram_input, low, U64),
	FIELD(dram_input, inactive_file, U64), FIELD(dram_input, dirty, U64),
};

static const struct cram_field tier_fields[] = {
	FIELD(tier_input, nid, I32),	    FIELD(tier_input, budget, U64),
	FIELD(tier_input, used_other, U64), FIELD(tier_input, free, U64),
	FIELD(tier_input, accepting, BOOL), FIELD(tier_input, worst_q16, U32),
};

static const struct cram_field vm_fields[] = {
	FIELD(vm_input, quota, U64),
	FIELD(vm_input, hard_limit, U64),
	FIELD(vm_input, floor, U64),
	FIELD(vm_input, weight, U32),
	FIELD(vm_input, cold_age_s, U32),
	FIELD(vm_input, flags, U32),
	FIELD(vm_input, tier, I32),
	FIELD(vm_input, home_mask, U64),
	FIELD(vm_input, may_swap, BOOL),
	FIELD(vm_input, return_mask, U64),
	FIELD(vm_input, ram, U64),
	FIELD(vm_input, eligible, U64),
	FIELD(vm_input, dram, U64),
	FIELD(vm_input, tier_bytes, U64),
	FIELD(vm_input, device_bytes, U64),
	FIELD(vm_input, swapped, U64),
	FIELD(vm_input, ratio_q16, U32),
	FIELD(vm_input, hot_bytes, U64),
	FIELD(vm_input, returned_total, U64),
	FIELD(vm_input, accessed_bytes, U64),
	FIELD(vm_input, demote_tokens, U64),
	FIELD(vm_input, promote_tokens, U64),
	FIELD(vm_input, device_upper, U64),
};

static const struct cram_field memory_fields[] = {
	FIELD(policy_memory, first_seen_ms, U64), FIELD(policy_memory, adjusted_ms, U64),
	FIELD(policy_memory, busy_ms, U64),	  FIELD(policy_memory, backoff_until_ms, U64),
	FIELD(policy_memory, backoff_shift, U32), FIELD(policy_memory, cold_age_s, U32),
	FIELD(policy_memory, giving_back, BOOL),  FIELD(policy_memory, demoting, BOOL),
	FIELD(policy_memory, returned_seen, U64), FIELD(policy_memory, returned_slot, U64),
};

/* ------------------------------------------------------------------ writing */

static int add_member(struct json_object *o, const char *key, struct json_object *value)
{
	if (!value || json_object_object_add(o, key, value) < 0) {
		json_object_put(value);
		return -ENOMEM;
	}
	return 0;
}

static struct json_object *encode_ages(const uint64_t cold[CRAM_AGE_BUCKETS])
{
	struct json_object *o = json_object_new_object();
	char age[16];

	for (unsigned int i = 0; o && i < CRAM_AGE_BUCKETS; i++) {
		if (cold[i] == 0)
			continue;
		snprintf(age, sizeof(age), "%" PRIu32, cram_age_edge(i));
		json_object_object_add(o, age, json_object_new_uint64(cold[i]));
	}
	return o;
}

static struct json_object *encode_memory(const struct cram_policy_memory *m)
{
	struct json_object *o = cram_encode(memory_fields, ARRAY_SIZE(memory_fields), m);
	struct json_object *slots = json_object_new_array();

	for (size_t i = 0; slots && i < CRAM_SLO_SLOTS; i++)
		json_object_array_add(slots, json_object_new_uint64(m->returned[i]));
	if (o && add_member(o, "returned", slots) < 0) {
		json_object_put(o);
		return NULL;
	}
	return o;
}

static struct json_object *encode_vm(const struct cram_vm_input *vm)
{
	struct json_object *o = cram_encode(vm_fields, ARRAY_SIZE(vm_fields), vm);

	if (o && (add_member(o, "uuid", json_object_new_string(vm->uuid ? vm->uuid : "")) < 0 ||
		  add_member(o, "name", json_object_new_string(vm->name ? vm->name : "")) < 0 ||
		  add_member(o, "mode", json_object_new_string(cram_mode_name(vm->mode))) < 0 ||
		  add_member(o, "cold", encode_ages(vm->cold)) < 0 ||
		  add_member(o, "memory", encode_memory(&vm->memory)) < 0)) {
		json_object_put(o);
		return NULL;
	}
	return o;
}

static struct json_object *encode_tier(const struct cram_tier_input *tier)
{
	struct json_object *o = cram_encode(tier_fields, ARRAY_SIZE(tier_fields), tier);

	if (o && add_member(o, "kind", json_object_new_string(cram_tier_name(tier->kind))) < 0) {
		json_object_put(o);
		return NULL;
	}
	return o;
}

struct json_object *cram_record_encode(const struct cram_policy_params *params,
				       const struct cram_snapshot *snap)
{
	struct json_object *o = cram_encode(snapshot_fields, ARRAY_SIZE(snapshot_fields), snap);
	struct json_object *dram = json_object_new_array(), *tiers = json_object_new_array();
	struct json_object *vms = json_object_new_array();
	int r = o && dram && tiers && vms ? 0 : -ENOMEM;

	for (size_t i = 0; r == 0 && i < snap->n_dram; i++)
		r = json_object_array_add(
			dram, cram_encode(dram_fields, ARRAY_SIZE(dram_fields), &snap->dram[i]));
	for (size_t i = 0; r == 0 && i < snap->n_tiers; i++)
		r = json_object_array_add(tiers, encode_tier(&snap->tiers[i]));
	for (size_t i = 0; r == 0 && i < snap->n_vms; i++)
		r = json_object_array_add(vms, encode_vm(&snap->vms[i]));
	if (!o)
		return NULL;
	if (r == 0)
		r = add_member(o, "params",
			       cram_encode(params_fields, ARRAY_SIZE(params_fields), params));
	if (add_member(o, "dram", dram) < 0 || add_member(o, "tiers", tiers) < 0 ||
	    add_member(o, "vms", vms) < 0 || r < 0) {
		json_object_put(o);
		return NULL;
	}
	return o;
}

static void print_u64(FILE *f, uint64_t v)
{
	if (v == CRAM_UNLIMITED)
		fputs("unlimited", f);
	else
		fprintf(f, "%" PRIu64, v);
}

static void print_text(FILE *f, const char *text)
{
	/* Names may hold what separates words here; this is for reading, not for addressing. */
	for (const char *c = text ? text : ""; *c; c++)
		fputc(strchr(" \t\r\n", *c) ? '_' : *c, f);
}

int cram_decision_print(FILE *f, const struct cram_snapshot *snap, const struct cram_decision *d)
{
	for (size_t i = 0; i < snap->n_vms; i++) {
		const struct cram_vm_action *a = &d->actions[i];

		print_text(f, snap->vms[i].name);
		fprintf(f,
			" %s demote=%" PRIu64 " age=%" PRIu32 " promote=%" PRIu64 " hot=%" PRIu64
			" fair=%" PRIu64 " kernel_limit=",
			cram_vm_state_name(a->state), a->demote_bytes, a->demote_age_s,
			a->promote_bytes, a->promote_hot_bytes, a->fair_device_bytes);
		print_u64(f, a->kernel_limit);
		fputc('\n', f);
		for (unsigned int r = 0; r < a->n_reasons; r++) {
			fprintf(f, "  %s ", cram_reason_name(a->reasons[r].code));
			print_u64(f, a->reasons[r].bytes);
			fputc(' ', f);
			print_u64(f, a->reasons[r].limit);
			fputc('\n', f);
		}
	}
	return ferror(f) ? -EIO : 0;
}

/* ------------------------------------------------------------------ reading */

/* A member that the tables do not know: handled by its owner. 0, -ENOENT: nobody knows it. */
typedef int (*member_fn)(const char *key, struct json_object *value, void *structure,
			 struct cram_error *err);

/* What is wrong is said once, where it is known best. */
static int bad(struct cram_error *err, const char *key, const char *what)
{
	return cram_error_set(err, -EINVAL, NULL, NULL, NULL, "not understood: \"%.64s\"%s", key,
			      what);
}

static int read_members(struct json_object *o, const struct cram_field *fields, size_t n,
			member_fn others, void *structure, struct cram_error *err)
{
	if (!json_object_is_type(o, json_type_object))
		return cram_error_set(err, -EINVAL, NULL, NULL, NULL, "an object was expected");
	json_object_object_foreach(o, key, value)
	{
		size_t i = 0;
		int r;

		while (i < n && strcmp(fields[i].name, key) != 0)
			i++;
		if (i < n)
			r = cram_decode_field(&fields[i], value, structure, NULL) < 0 ? -EINVAL : 0;
		else
			r = others ? others(key, value, structure, err) : -ENOENT;
		if (r == -ENOENT)
			return bad(err, key, "");
		if (r == -EINVAL && !err->why[0])
			return bad(err, key, " has a wrong type or value");
		if (r < 0)
			return r;
	}
	return 0;
}

/* An unsigned number. */
static int read_number(struct json_object *value, uint64_t *ret)
{
	if (!json_object_is_type(value, json_type_int) || json_object_get_int64(value) < 0)
		return -EINVAL;
	*ret = json_object_get_uint64(value);
	return 0;
}

static int read_memory_member(const char *key, struct json_object *value, void *structure,
			      struct cram_error *err)
{
	struct cram_policy_memory *m = structure;

	(void)err;
	if (strcmp(key, "returned") != 0)
		return -ENOENT;
	if (!json_object_is_type(value, json_type_array) ||
	    json_object_array_length(value) > CRAM_SLO_SLOTS)
		return -EINVAL;
	for (size_t i = 0; i < json_object_array_length(value); i++)
		if (read_number(json_object_array_get_idx(value, i), &m->returned[i]) < 0)
			return -EINVAL;
	return 0;
}

static int read_ages(struct json_object *o, uint64_t cold[CRAM_AGE_BUCKETS])
{
	if (!json_object_is_type(o, json_type_object))
		return -EINVAL;
	json_object_object_foreach(o, key, value)
	{
		char *end;
		unsigned long age = strtoul(key, &end, 10);
		uint64_t bytes;

		if (*key < '0' || *key > '9' || *end || age > UINT32_MAX ||
		    read_number(value, &bytes) < 0)
			return -EINVAL;
		cold[cram_age_bucket((uint32_t)age)] =
			add(cold[cram_age_bucket((uint32_t)age)], bytes);
	}
	return 0;
}

static int read_text(struct json_object *value, const char **text)
{
	char *copy;

	if (!json_object_is_type(value, json_type_string))
		return -EINVAL;
	copy = strdup(json_object_get_string(value));
	if (!copy)
		return -ENOMEM;
	free((char *)*text);
	*text = copy;
	return 0;
}

static const char *string_of(struct json_object *value)
{
	return json_object_is_type(value, json_type_string) ? json_object_get_string(value) : "";
}

static int read_vm_member(const char *key, struct json_object *value, void *structure,
			  struct cram_error *err)
{
	struct cram_vm_input *vm = structure;

	if (strcmp(key, "uuid") == 0)
		return read_text(value, &vm->uuid);
	if (strcmp(key, "name") == 0)
		return read_text(value, &vm->name);
	if (strcmp(key, "mode") == 0)
		return cram_mode_parse(string_of(value), &vm->mode);
	if (strcmp(key, "cold") == 0)
		return read_ages(value, vm->cold);
	if (strcmp(key, "memory") == 0)
		return read_members(value, memory_fields, ARRAY_SIZE(memory_fields),
				    read_memory_member, &vm->memory, err);
	return -ENOENT;
}

static int read_tier_member(const char *key, struct json_object *value, void *structure,
			    struct cram_error *err)
{
	struct cram_tier_input *tier = structure;

	(void)err;
	return strcmp(key, "kind") == 0 ? cram_tier_parse(string_of(value), &tier->kind) : -ENOENT;
}

struct reading {
	struct cram_policy_params params;
	struct cram_snapshot snap;
	CRAM_ARRAY(struct cram_dram_input) dram;
	CRAM_ARRAY(struct cram_tier_input) tiers;
	CRAM_ARRAY(struct cram_vm_input) vms;
};

static void reading_free(struct reading *a)
{
	for (size_t i = 0; i < a->vms.n; i++) {
		free((char *)a->vms.v[i].uuid);
		free((char *)a->vms.v[i].name);
	}
	array_free(&a->vms);
	array_free(&a->tiers);
	array_free(&a->dram);
}

static int read_dram(struct reading *rec, struct json_object *o, struct cram_error *err)
{
	int r = rec->dram.n < CRAM_MAX_DRAM
			? array_push(&rec->dram, (struct cram_dram_input){ 0 })
			: cram_error_set(err, -EINVAL, NULL, NULL, NULL,
					 "at most %d are decided on", CRAM_MAX_DRAM);

	return r < 0 ? r
		     : read_members(o, dram_fields, ARRAY_SIZE(dram_fields), NULL,
				    &rec->dram.v[rec->dram.n - 1], err);
}

static int read_tier(struct reading *rec, struct json_object *o, struct cram_error *err)
{
	int r = array_push(&rec->tiers, (struct cram_tier_input){ .accepting = true });

	return r < 0 ? r
		     : read_members(o, tier_fields, ARRAY_SIZE(tier_fields), read_tier_member,
				    &rec->tiers.v[rec->tiers.n - 1], err);
}

static int read_vm(struct reading *rec, struct json_object *o, struct cram_error *err)
{
	struct cram_vm_input vm = {
		.mode = CRAM_MODE_AUTO,
		.quota = CRAM_UNLIMITED,
		.hard_limit = CRAM_UNLIMITED,
		.weight = 100,
		.ratio_q16 = 65536,
		.demote_tokens = CRAM_UNLIMITED,
		.promote_tokens = CRAM_UNLIMITED,
	};
	int r = array_push(&rec->vms, vm);

	return r < 0 ? r
		     : read_members(o, vm_fields, ARRAY_SIZE(vm_fields), read_vm_member,
				    &rec->vms.v[rec->vms.n - 1], err);
}

static int read_array(struct json_object *value, const char *key, struct reading *rec,
		      int (*read)(struct reading *rec, struct json_object *o,
				  struct cram_error *err),
		      struct cram_error *err)
{
	if (!json_object_is_type(value, json_type_array))
		return -EINVAL;
	for (size_t i = 0; i < json_object_array_length(value); i++) {
		int r = read(rec, json_object_array_get_idx(value, i), err);

		if (r == -EINVAL)
			cram_error_prefix(err, "%s[%zu]", key, i);
		if (r < 0)
			return r;
	}
	return 0;
}

static int read_record_member(const char *key, struct json_object *value, void *structure,
			      struct cram_error *err)
{
	struct reading *rec = structure;

	if (strcmp(key, "params") == 0)
		return read_members(value, params_fields, ARRAY_SIZE(params_fields), NULL,
				    &rec->params, err);
	if (strcmp(key, "dram") == 0)
		return read_array(value, key, rec, read_dram, err);
	if (strcmp(key, "tiers") == 0)
		return read_array(value, key, rec, read_tier, err);
	if (strcmp(key, "vms") == 0)
		return read_array(value, key, rec, read_vm, err);
	if (strcmp(key, "note") == 0) /* for whoever reads it */
		return json_object_is_type(value, json_type_string) ? 0 : -EINVAL;
	/* What belongs to the snapshot itself stands beside the arrays. */
	for (size_t i = 0; i < ARRAY_SIZE(snapshot_fields); i++)
		if (strcmp(snapshot_fields[i].name, key) == 0)
			return cram_decode_field(&snapshot_fields[i], value, &rec->snap, NULL) < 0
				       ? -EINVAL
				       : 0;
	return -ENOENT;
}

/* The JSON value that is all of @text. NULL with *ret_line: where it is none; 0: no memory. */
static struct json_object *parse_all(const char *text, size_t size, unsigned int *ret_line)
{
	struct json_tokener *tokener = json_tokener_new();
	struct json_object *o;
	size_t end;

	*ret_line = 0;
	if (!tokener)
		return NULL;
	o = json_tokener_parse_ex(tokener, text, (int)size);
	end = json_tokener_get_parse_end(tokener);
	json_tokener_free(tokener);
	while (o && end < size && strchr(" \t\r\n", text[end]))
		end++;
	if (o && end == size)
		return o;
	json_object_put(o);
	*ret_line = 1;
	for (size_t i = 0; i < end && i < size; i++)
		*ret_line += text[i] == '\n';
	return NULL;
}

int cram_record_decode(const char *name, struct json_object *o,
		       const struct cram_policy_params *defaults, struct cram_record *ret,
		       struct cram_error *err)
{
	__attribute__((cleanup(reading_free))) struct reading rec = { .params = *defaults };
	int r;

	*err = (struct cram_error){ 0 };
	rec.snap.demote_tokens = rec.snap.promote_tokens = CRAM_UNLIMITED;
	r = read_members(o, NULL, 0, read_record_member, &rec, err);
	if (r == 0 && rec.params.backoff_factor == 0)
		r = cram_error_set(err, -EINVAL, "params", NULL, NULL, "backoff_factor is 0");
	if (r == -EINVAL)
		return cram_error_prefix(err, "%s", name);
	if (r < 0)
		return r;
	rec.snap.n_dram = rec.dram.n;
	rec.snap.n_tiers = rec.tiers.n;
	rec.snap.n_vms = rec.vms.n;
	*ret = (struct cram_record){
		.params = rec.params,
		.snap = rec.snap,
		.dram = TAKE_PTR(rec.dram.v),
		.tiers = TAKE_PTR(rec.tiers.v),
		.vms = TAKE_PTR(rec.vms.v),
	};
	ret->snap.dram = ret->dram;
	ret->snap.tiers = ret->tiers;
	ret->snap.vms = ret->vms;
	rec = (struct reading){ 0 };
	return 0;
}

int cram_record_parse(const char *name, const char *text, size_t size,
		      const struct cram_policy_params *defaults, struct cram_record *ret,
		      struct cram_error *err)
{
	struct json_object *o;
	char object[192];
	unsigned int line;
	int r;

	if (size > CRAM_RECORD_MAX || memchr(text, '\0', size))
		return cram_error_set(err, -EINVAL, name, "read", NULL,
				      "it is not a text of at most %u bytes", CRAM_RECORD_MAX);
	o = parse_all(text, size, &line);
	if (!o && line == 0)
		return -ENOMEM;
	if (!o) {
		snprintf(object, sizeof(object), "%.160s:%u", name, line);
		return cram_error_set(err, -EINVAL, object, "read", NULL, "it is not JSON");
	}
	r = cram_record_decode(name, o, defaults, ret, err);
	json_object_put(o);
	return r;
}

/* ------------------------------------------------------------------ series */

int cram_records_open(struct cram_records *records, FILE *f, const char *name)
{
	*records = (struct cram_records){ .f = f, .name = name };
	records->tokener = json_tokener_new();
	return records->tokener ? 0 : -ENOMEM;
}

void cram_records_close(struct cram_records *records)
{
	if (records->tokener)
		json_tokener_free(records->tokener);
	free(records->text);
	*records = (struct cram_records){ 0 };
}

static bool blank(const char *text, size_t n)
{
	while (n > 0 && strchr(" \t\r\n", text[n - 1]))
		n--;
	return n == 0;
}

int cram_records_next(struct cram_records *records, const struct cram_policy_params *defaults,
		      struct cram_record *ret, struct cram_error *err)
{
	char place[192];
	size_t size = 0;
	ssize_t n;
	int r;

	snprintf(place, sizeof(place), "%.160s:%u", records->name, records->line + 1);
	while ((n = getline(&records->text, &records->cap, records->f)) >= 0) {
		struct json_object *o;
		size_t used;

		records->line++;
		if (size == 0 && blank(records->text, (size_t)n))
			continue;
		if (size == 0)
			snprintf(place, sizeof(place), "%.160s:%u", records->name, records->line);
		size += (size_t)n;
		if (size > CRAM_RECORD_MAX || memchr(records->text, '\0', (size_t)n))
			return cram_error_set(err, -EINVAL, place, "read", NULL,
					      "it is not a text of at most %u bytes",
					      CRAM_RECORD_MAX);
		o = json_tokener_parse_ex(records->tokener, records->text, (int)n);
		if (!o && json_tokener_get_error(records->tokener) == json_tokener_continue)
			continue;
		used = json_tokener_get_parse_end(records->tokener);
		json_tokener_reset(records->tokener);
		if (!o || !blank(records->text + used, (size_t)n - used)) {
			json_object_put(o);
			snprintf(place, sizeof(place), "%.160s:%u", records->name, records->line);
			return cram_error_set(err, -EINVAL, place, "read", NULL, "it is not JSON");
		}
		r = cram_record_decode(place, o, defaults, ret, err);
		json_object_put(o);
		return r < 0 ? r : 1;
	}
	if (ferror(records->f)) {
		r = errno ? -errno : -EIO;
		return cram_error_set(err, r, records->name, "read", NULL, "%s", strerror(-r));
	}
	if (size > 0)
		return cram_error_set(err, -EINVAL, place, "read", NULL,
				      "the file ends in the middle of it");
	return 0;
}

void cram_record_free(struct cram_record *rec)
{
	struct reading a = {
		.dram = { .v = rec->dram },
		.tiers = { .v = rec->tiers },
		.vms = { .v = rec->vms, .n = rec->snap.n_vms },
	};

	reading_free(&a);
	*rec = (struct cram_record){ 0 };
}

/* ------------------------------------------------------------------ the perfect mover */

static void move_out(struct cram_vm_input *vm, uint64_t bytes, struct cram_dram_input *home,
		     struct cram_tier_input *tier)
{
	uint64_t left = min(bytes, vm->dram), moved = left, device;

	for (unsigned int b = CRAM_AGE_BUCKETS; b-- > 0 && left > 0;) {
		uint64_t take = min(vm->cold[b], left);

		vm->cold[b] -= take;
		left -= take;
	}
	moved -= left; /* only what has an age can be chosen */
	vm->dram -= moved;
	vm->tier_bytes += moved;
	device = (uint64_t)(((unsigned __int128)moved * vm->ratio_q16 + 65535) >> 16);
	vm->device_bytes += device;
	if (vm->device_upper)
		vm->device_upper += device;
	tier->free -= min(tier->free, moved);
	if (home)
		home->free += moved;
}

/* Takes @bytes of @vm off its tier. Returns how many there were. */
static uint64_t leave_tier(struct cram_vm_input *vm, uint64_t bytes, struct cram_tier_input *tier)
{
	uint64_t moved = min(bytes, vm->tier_bytes), device, upper;

	if (moved == 0)
		return 0;
	device = (uint64_t)((unsigned __int128)vm->device_bytes * moved / vm->tier_bytes);
	upper = (uint64_t)((unsigned __int128)vm->device_upper * moved / vm->tier_bytes);
	vm->tier_bytes -= moved;
	vm->device_bytes -= device;
	vm->device_upper -= upper;
	vm->hot_bytes = min(vm->hot_bytes, vm->tier_bytes);
	tier->free += moved;
	return moved;
}

static void move_home(struct cram_vm_input *vm, uint64_t bytes, bool hot,
		      struct cram_dram_input *home, struct cram_tier_input *tier)
{
	uint64_t moved;

	if (hot)
		vm->hot_bytes -= min(vm->hot_bytes, bytes);
	moved = leave_tier(vm, bytes, tier);
	vm->dram += moved;
	/* What was brought home to make room is idle, but just moved: it starts young. */
	vm->cold[0] += moved;
	if (home)
		home->free -= min(home->free, moved);
}

static void grow_older(struct cram_vm_input *vm, uint64_t before_ms, uint64_t step_ms)
{
	/* A bucket is left when the clock crosses a multiple of its width: right on average. */
	for (unsigned int b = CRAM_AGE_BUCKETS - 1; b-- > 0;) {
		uint64_t width = (uint64_t)(cram_age_edge(b + 1) - cram_age_edge(b)) * 1000;

		if (before_ms / width == (before_ms + step_ms) / width)
			continue;
		vm->cold[b + 1] += vm->cold[b];
		vm->cold[b] = 0;
	}
}

void cram_record_advance(struct cram_record *rec, const struct cram_decision *d, uint64_t step_ms)
{
	for (size_t i = 0; i < rec->snap.n_vms; i++) {
		const struct cram_vm_action *a = &d->actions[i];
		struct cram_vm_input *vm = &rec->vms[i];
		struct cram_dram_input *home = NULL;
		uint64_t swapped;

		vm->memory = a->memory;
		grow_older(vm, rec->snap.now_ms, step_ms);
		if (vm->tier < 0 || (size_t)vm->tier >= rec->snap.n_tiers)
			continue;
		for (size_t n = rec->snap.n_dram; n-- > 0;)
			if (vm->home_mask == 0 || vm->home_mask & (UINT64_C(1) << n))
				home = &rec->dram[n];
		move_home(vm, a->promote_hot_bytes, true, home, &rec->tiers[vm->tier]);
		move_home(vm, a->promote_bytes, false, home, &rec->tiers[vm->tier]);
		swapped = leave_tier(vm, a->swap_bytes, &rec->tiers[vm->tier]);
		vm->swapped += swapped;
		rec->snap.swap_room -= min(rec->snap.swap_room, swapped);
		move_out(vm, a->demote_bytes, home, &rec->tiers[vm->tier]);
	}
	rec->snap.now_ms += step_ms;
}
