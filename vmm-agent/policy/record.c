// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Snapshots as text: "KIND key=value key=value ...", '#' begins a comment, sizes take libvirt's
 * units. One table per kind serves reading and writing.
 */
#include "policy/record.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "util/array.h"
#include "util/cleanup.h"
#include "util/size.h"

enum kind {
	K_U64, /* "unlimited" allowed */
	K_U32,
	K_INT,
	K_BOOL,
	K_MODE,
	K_TIER,
	K_TEXT, /* char *, owned */
	K_COLD, /* AGE:BYTES,AGE:BYTES */
};

struct key {
	const char *name;
	enum kind kind;
	size_t offset;
};

#define KEY(st, member, k)                              \
	{                                               \
#member, k, offsetof(struct st, member) \
	}

static const struct key snapshot_keys[] = {
	KEY(cram_snapshot, now_ms, K_U64),
	KEY(cram_snapshot, demote_tokens, K_U64),
	KEY(cram_snapshot, promote_tokens, K_U64),
	KEY(cram_snapshot, promote_rate, K_U64),
};

static const struct key param_keys[] = {
	KEY(cram_policy_params, slo_ppm, K_U32),
	KEY(cram_policy_params, slo_min_bytes, K_U64),
	KEY(cram_policy_params, cold_age_initial_s, K_U32),
	KEY(cram_policy_params, cold_age_min_s, K_U32),
	KEY(cram_policy_params, cold_age_max_s, K_U32),
	KEY(cram_policy_params, cold_age_adjust_s, K_U32),
	KEY(cram_policy_params, give_back_permille, K_U32),
	KEY(cram_policy_params, demote_start_permille, K_U32),
	KEY(cram_policy_params, demote_start_min_bytes, K_U64),
	KEY(cram_policy_params, demote_start_max_bytes, K_U64),
	KEY(cram_policy_params, cache_permille, K_U32),
	KEY(cram_policy_params, headroom_permille, K_U32),
	KEY(cram_policy_params, headroom_min_bytes, K_U64),
	KEY(cram_policy_params, headroom_seconds, K_U32),
	KEY(cram_policy_params, backoff_factor, K_U32),
	KEY(cram_policy_params, backoff_base_s, K_U32),
	KEY(cram_policy_params, backoff_max_shift, K_U32),
};

static const struct key dram_keys[] = {
	KEY(cram_dram_input, nid, K_INT),	    KEY(cram_dram_input, total, K_U64),
	KEY(cram_dram_input, free, K_U64),	    KEY(cram_dram_input, low, K_U64),
	KEY(cram_dram_input, inactive_file, K_U64), KEY(cram_dram_input, dirty, K_U64),
};

static const struct key tier_keys[] = {
	KEY(cram_tier_input, nid, K_INT),    KEY(cram_tier_input, kind, K_TIER),
	KEY(cram_tier_input, budget, K_U64), KEY(cram_tier_input, used_other, K_U64),
	KEY(cram_tier_input, free, K_U64),   KEY(cram_tier_input, accepting, K_BOOL),
};

static const struct key vm_keys[] = {
	KEY(cram_vm_input, uuid, K_TEXT),
	KEY(cram_vm_input, name, K_TEXT),
	KEY(cram_vm_input, mode, K_MODE),
	KEY(cram_vm_input, quota, K_U64),
	KEY(cram_vm_input, hard_limit, K_U64),
	KEY(cram_vm_input, floor, K_U64),
	KEY(cram_vm_input, weight, K_U32),
	KEY(cram_vm_input, cold_age_s, K_U32),
	KEY(cram_vm_input, flags, K_U32),
	KEY(cram_vm_input, tier, K_INT),
	KEY(cram_vm_input, home_mask, K_U64),
	KEY(cram_vm_input, ram, K_U64),
	KEY(cram_vm_input, eligible, K_U64),
	KEY(cram_vm_input, dram, K_U64),
	KEY(cram_vm_input, tier_bytes, K_U64),
	KEY(cram_vm_input, device_bytes, K_U64),
	KEY(cram_vm_input, swapped, K_U64),
	KEY(cram_vm_input, ratio_q16, K_U32),
	KEY(cram_vm_input, cold, K_COLD),
	KEY(cram_vm_input, hot_bytes, K_U64),
	KEY(cram_vm_input, returned_total, K_U64),
	KEY(cram_vm_input, accessed_bytes, K_U64),
	KEY(cram_vm_input, demote_tokens, K_U64),
	KEY(cram_vm_input, promote_tokens, K_U64),
	KEY(cram_vm_input, memory.first_seen_ms, K_U64),
	KEY(cram_vm_input, memory.adjusted_ms, K_U64),
	KEY(cram_vm_input, memory.busy_ms, K_U64),
	KEY(cram_vm_input, memory.backoff_until_ms, K_U64),
	KEY(cram_vm_input, memory.backoff_shift, K_U32),
	KEY(cram_vm_input, memory.cold_age_s, K_U32),
	KEY(cram_vm_input, memory.giving_back, K_BOOL),
	KEY(cram_vm_input, memory.demoting, K_BOOL),
};

static int parse_u64(const char *text, uint64_t *ret)
{
	if (strcmp(text, "unlimited") == 0) {
		*ret = CRAM_UNLIMITED;
		return 0;
	}
	return cram_size_parse(text, 1, ret);
}

static int parse_cold(char *text, uint64_t cold[CRAM_AGE_BUCKETS])
{
	char *save = NULL;

	for (char *t = strtok_r(text, ",", &save); t; t = strtok_r(NULL, ",", &save)) {
		char *colon = strchr(t, ':');
		uint64_t age, bytes;

		if (!colon)
			return -EINVAL;
		*colon = '\0';
		if (cram_size_parse(t, 1, &age) < 0 || age > UINT32_MAX ||
		    cram_size_parse(colon + 1, 1, &bytes) < 0)
			return -EINVAL;
		cold[cram_age_bucket((uint32_t)age)] += bytes;
	}
	return 0;
}

static int parse_value(const struct key *k, char *text, void *structure)
{
	void *p = (char *)structure + k->offset;
	bool negative = text[0] == '-';
	uint64_t v = 0;
	char *copy;
	int r;

	switch (k->kind) {
	case K_U64:
		return parse_u64(text, p);
	case K_U32:
		r = cram_size_parse(text, 1, &v);
		if (r < 0 || v > UINT32_MAX)
			return -EINVAL;
		*(uint32_t *)p = (uint32_t)v;
		return 0;
	case K_INT:
		r = cram_size_parse(text + negative, 1, &v);
		if (r < 0 || v > INT32_MAX)
			return -EINVAL;
		*(int *)p = negative ? -(int)v : (int)v;
		return 0;
	case K_BOOL:
		if (strcmp(text, "0") != 0 && strcmp(text, "1") != 0)
			return -EINVAL;
		*(bool *)p = text[0] == '1';
		return 0;
	case K_MODE:
		return cram_mode_parse(text, p);
	case K_TIER:
		return cram_tier_parse(text, p);
	case K_TEXT:
		copy = strdup(text);
		if (!copy)
			return -ENOMEM;
		free(*(char **)p);
		*(char **)p = copy;
		return 0;
	case K_COLD:
		return parse_cold(text, p);
	}
	return -EINVAL;
}

static int parse_keys(const struct key *keys, size_t n, char *line, void *structure,
		      const char **ret_bad)
{
	char *save = NULL;

	for (char *t = strtok_r(line, " \t\r", &save); t; t = strtok_r(NULL, " \t\r", &save)) {
		char *eq = strchr(t, '=');
		size_t i = 0;
		int r;

		*ret_bad = t;
		if (!eq)
			return -EINVAL;
		*eq = '\0';
		while (i < n && strcmp(keys[i].name, t) != 0)
			i++;
		r = i < n ? parse_value(&keys[i], eq + 1, structure) : -EINVAL;
		if (r < 0) {
			*eq = '=';
			return r == -ENOMEM ? r : -EINVAL;
		}
	}
	return 0;
}

struct arrays {
	CRAM_ARRAY(struct cram_dram_input) dram;
	CRAM_ARRAY(struct cram_tier_input) tiers;
	CRAM_ARRAY(struct cram_vm_input) vms;
};

static void arrays_free(struct arrays *a)
{
	for (size_t i = 0; i < a->vms.n; i++) {
		free((char *)a->vms.v[i].uuid);
		free((char *)a->vms.v[i].name);
	}
	array_free(&a->vms);
	array_free(&a->tiers);
	array_free(&a->dram);
}

static int parse_line(char *line, struct cram_policy_params *params, struct cram_snapshot *snap,
		      struct arrays *a, const char **ret_bad)
{
	char *rest = line + strcspn(line, " \t\r");
	int r;

	if (*rest)
		*rest++ = '\0';
	*ret_bad = line;
	if (strcmp(line, "snapshot") == 0)
		return parse_keys(snapshot_keys, ARRAY_SIZE(snapshot_keys), rest, snap, ret_bad);
	if (strcmp(line, "params") == 0)
		return parse_keys(param_keys, ARRAY_SIZE(param_keys), rest, params, ret_bad);
	if (strcmp(line, "dram") == 0) {
		if (a->dram.n == CRAM_MAX_DRAM)
			return -EINVAL;
		r = array_push(&a->dram, (struct cram_dram_input){ 0 });
		return r < 0 ? r
			     : parse_keys(dram_keys, ARRAY_SIZE(dram_keys), rest,
					  &a->dram.v[a->dram.n - 1], ret_bad);
	}
	if (strcmp(line, "tier") == 0) {
		r = array_push(&a->tiers, (struct cram_tier_input){ .accepting = true });
		return r < 0 ? r
			     : parse_keys(tier_keys, ARRAY_SIZE(tier_keys), rest,
					  &a->tiers.v[a->tiers.n - 1], ret_bad);
	}
	if (strcmp(line, "vm") == 0) {
		struct cram_vm_input vm = {
			.mode = CRAM_MODE_AUTO,
			.quota = CRAM_UNLIMITED,
			.hard_limit = CRAM_UNLIMITED,
			.weight = 100,
			.ratio_q16 = 65536,
			.demote_tokens = CRAM_UNLIMITED,
			.promote_tokens = CRAM_UNLIMITED,
		};

		r = array_push(&a->vms, vm);
		return r < 0 ? r
			     : parse_keys(vm_keys, ARRAY_SIZE(vm_keys), rest,
					  &a->vms.v[a->vms.n - 1], ret_bad);
	}
	return -EINVAL;
}

int cram_record_parse(const char *name, const char *text, size_t size,
		      const struct cram_policy_params *defaults, struct cram_record *ret,
		      struct cram_error *err)
{
	__attribute__((cleanup(arrays_free))) struct arrays a = { 0 };
	cleanup_free char *copy = NULL;
	struct cram_record rec = { .params = *defaults };
	char object[192], *next;
	unsigned int line = 0;

	if (size > CRAM_RECORD_MAX || memchr(text, '\0', size))
		return cram_error_set(err, -EINVAL, name, "read", NULL,
				      "it is not a text of at most %u bytes", CRAM_RECORD_MAX);
	copy = strndup(text, size);
	if (!copy)
		return -ENOMEM;
	rec.snap.demote_tokens = rec.snap.promote_tokens = CRAM_UNLIMITED;
	next = copy;
	while (next) {
		char *l = strsep(&next, "\n");
		const char *bad = "";
		int r;

		line++;
		l[strcspn(l, "#")] = '\0';
		l += strspn(l, " \t\r");
		if (*l == '\0')
			continue;
		r = parse_line(l, &rec.params, &rec.snap, &a, &bad);
		if (r == -ENOMEM)
			return r;
		if (r < 0) {
			snprintf(object, sizeof(object), "%.160s:%u", name, line);
			return cram_error_set(err, -EINVAL, object, NULL, NULL,
					      "not understood: \"%.64s\"", bad);
		}
	}
	if (rec.params.backoff_factor == 0)
		return cram_error_set(err, -EINVAL, name, NULL, NULL, "backoff_factor is 0");
	rec.snap.n_dram = a.dram.n;
	rec.dram = TAKE_PTR(a.dram.v);
	rec.tiers = TAKE_PTR(a.tiers.v);
	rec.vms = TAKE_PTR(a.vms.v);
	rec.snap.n_tiers = a.tiers.n;
	rec.snap.n_vms = a.vms.n;
	rec.snap.dram = rec.dram;
	rec.snap.tiers = rec.tiers;
	rec.snap.vms = rec.vms;
	a = (struct arrays){ 0 };
	*ret = rec;
	return 0;
}

void cram_record_free(struct cram_record *rec)
{
	struct arrays a = {
		.dram = { .v = rec->dram },
		.tiers = { .v = rec->tiers },
		.vms = { .v = rec->vms, .n = rec->snap.n_vms },
	};

	arrays_free(&a);
	*rec = (struct cram_record){ 0 };
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
	/* Names may hold what separates keys here; a record is for reading, not for addressing. */
	for (const char *c = text ? text : ""; *c; c++)
		fputc(strchr(" \t\r\n#", *c) ? '_' : *c, f);
}

static void print_cold(FILE *f, const uint64_t cold[CRAM_AGE_BUCKETS])
{
	const char *sep = "";

	for (unsigned int i = 0; i < CRAM_AGE_BUCKETS; i++) {
		if (cold[i] == 0)
			continue;
		fprintf(f, "%s%" PRIu32 ":%" PRIu64, sep, cram_age_edge(i), cold[i]);
		sep = ",";
	}
}

static void print_keys(FILE *f, const char *kind, const struct key *keys, size_t n,
		       const void *structure)
{
	fputs(kind, f);
	for (size_t i = 0; i < n; i++) {
		const void *p = (const char *)structure + keys[i].offset;

		fprintf(f, " %s=", keys[i].name);
		switch (keys[i].kind) {
		case K_U64:
			print_u64(f, *(const uint64_t *)p);
			break;
		case K_U32:
			fprintf(f, "%" PRIu32, *(const uint32_t *)p);
			break;
		case K_INT:
			fprintf(f, "%d", *(const int *)p);
			break;
		case K_BOOL:
			fputc(*(const bool *)p ? '1' : '0', f);
			break;
		case K_MODE:
			fputs(cram_mode_name(*(const enum cram_mode *)p), f);
			break;
		case K_TIER:
			fputs(cram_tier_name(*(const enum cram_tier *)p), f);
			break;
		case K_TEXT:
			print_text(f, *(const char *const *)p);
			break;
		case K_COLD:
			print_cold(f, p);
			break;
		}
	}
	fputc('\n', f);
}

int cram_record_print(FILE *f, const struct cram_policy_params *params,
		      const struct cram_snapshot *snap)
{
	print_keys(f, "snapshot", snapshot_keys, ARRAY_SIZE(snapshot_keys), snap);
	print_keys(f, "params", param_keys, ARRAY_SIZE(param_keys), params);
	for (size_t i = 0; i < snap->n_dram; i++)
		print_keys(f, "dram", dram_keys, ARRAY_SIZE(dram_keys), &snap->dram[i]);
	for (size_t i = 0; i < snap->n_tiers; i++)
		print_keys(f, "tier", tier_keys, ARRAY_SIZE(tier_keys), &snap->tiers[i]);
	for (size_t i = 0; i < snap->n_vms; i++)
		print_keys(f, "vm", vm_keys, ARRAY_SIZE(vm_keys), &snap->vms[i]);
	return ferror(f) ? -EIO : 0;
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

/* ------------------------------------------------------------------ the perfect mover */

static uint64_t min(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static void move_out(struct cram_vm_input *vm, uint64_t bytes, struct cram_dram_input *home,
		     struct cram_tier_input *tier)
{
	uint64_t left = min(bytes, vm->dram), moved = left;

	for (unsigned int b = CRAM_AGE_BUCKETS; b-- > 0 && left > 0;) {
		uint64_t take = min(vm->cold[b], left);

		vm->cold[b] -= take;
		left -= take;
	}
	moved -= left; /* only what has an age can be chosen */
	vm->dram -= moved;
	vm->tier_bytes += moved;
	vm->device_bytes += (uint64_t)(((unsigned __int128)moved * vm->ratio_q16 + 65535) >> 16);
	tier->free -= min(tier->free, moved);
	if (home)
		home->free += moved;
}

static void move_home(struct cram_vm_input *vm, uint64_t bytes, bool hot,
		      struct cram_dram_input *home, struct cram_tier_input *tier)
{
	uint64_t moved = min(bytes, vm->tier_bytes), device;

	if (moved == 0)
		return;
	device = (uint64_t)((unsigned __int128)vm->device_bytes * moved / vm->tier_bytes);
	vm->tier_bytes -= moved;
	vm->device_bytes -= device;
	vm->dram += moved;
	if (hot)
		vm->hot_bytes -= min(vm->hot_bytes, moved);
	vm->hot_bytes = min(vm->hot_bytes, vm->tier_bytes);
	/* What was brought home to make room is idle, but just moved: it starts young. */
	vm->cold[0] += moved;
	tier->free += moved;
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

		vm->memory = a->memory;
		grow_older(vm, rec->snap.now_ms, step_ms);
		if (vm->tier < 0 || (size_t)vm->tier >= rec->snap.n_tiers)
			continue;
		for (size_t n = rec->snap.n_dram; n-- > 0;)
			if (vm->home_mask == 0 || vm->home_mask & (UINT64_C(1) << n))
				home = &rec->dram[n];
		move_home(vm, a->promote_hot_bytes, true, home, &rec->tiers[vm->tier]);
		move_home(vm, a->promote_bytes, false, home, &rec->tiers[vm->tier]);
		move_out(vm, a->demote_bytes, home, &rec->tiers[vm->tier]);
	}
	rec->snap.now_ms += step_ms;
}
