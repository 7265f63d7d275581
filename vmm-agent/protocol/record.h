/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A snapshot as JSON: what the agent hands out (Record), what a bug report carries, what tests feed
 * and `cramctl policy simulate` replays. Also the perfect mover that replaying needs.
 */
#pragma once

#include <stdio.h>

#include "policy/policy.h"
#include "util/error.h"

struct json_object;
struct json_tokener;

#define CRAM_RECORD_MAX (16U << 20) /* bytes of text of one */

struct cram_record {
	struct cram_policy_params params;
	struct cram_snapshot snap; /* points into the arrays below */
	struct cram_dram_input *dram;
	struct cram_tier_input *tiers;
	struct cram_vm_input *vms; /* uuid and name are owned by the record */
};

/*
 * Parse a record. Parameters that the text does not name are @defaults. -EINVAL with @err naming
 * @name and the place in it; *ret is not written then.
 */
int cram_record_parse(const char *name, const char *text, size_t size,
		      const struct cram_policy_params *defaults, struct cram_record *ret,
		      struct cram_error *err);
/* The same of what is JSON already, and stays the caller's. */
int cram_record_decode(const char *name, struct json_object *o,
		       const struct cram_policy_params *defaults, struct cram_record *ret,
		       struct cram_error *err);
void cram_record_free(struct cram_record *record);

/* A file of any number of records, as `cramctl record` writes it: each begins on a line of its own.
 */
struct cram_records {
	FILE *f; /* borrowed, as is the name */
	const char *name;
	struct json_tokener *tokener;
	char *text;
	size_t cap;
	unsigned int line;
};

/* 0 or -ENOMEM. */
int cram_records_open(struct cram_records *records, FILE *f, const char *name);
void cram_records_close(struct cram_records *records);
/* 1: *ret is the next one; 0: there is none; else as cram_record_parse(). */
int cram_records_next(struct cram_records *records, const struct cram_policy_params *defaults,
		      struct cram_record *ret, struct cram_error *err);

/* What cram_record_parse() reads. NULL: out of memory. Owned by the caller. */
struct json_object *cram_record_encode(const struct cram_policy_params *params,
				       const struct cram_snapshot *snap);
/* The decision on @snap for people and golden tests: one line per VM, its reasons below. */
int cram_decision_print(FILE *f, const struct cram_snapshot *snap,
			const struct cram_decision *decision);

/*
 * The next snapshot if every move succeeded at once and no guest touched anything: oldest memory
 * goes first, ages grow by @step_ms, tokens stay as recorded. Updates the record in place.
 */
void cram_record_advance(struct cram_record *record, const struct cram_decision *decision,
			 uint64_t step_ms);
