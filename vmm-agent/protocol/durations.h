/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How long things take, as histograms: counted by the daemon, carried by GetMetrics, written by the
 * exporter. One table says which there are; the buckets are the same for all.
 */
#pragma once

#include <json-c/json.h>
#include <stdint.h>

enum cram_duration {
	CRAM_DURATION_ROUND,
	CRAM_DURATION_DECISION,
	CRAM_DURATION_MOVE,
	CRAM_DURATION_RELIEF,
	CRAM_N_DURATIONS,
};

#define CRAM_DURATION_BUCKETS 14 /* the last: longer than all edges */

struct cram_duration_row {
	const char *name; /* key in the message */
	const char *metric;
	const char *help;
};

extern const struct cram_duration_row cram_durations[CRAM_N_DURATIONS];
/* Microseconds; bucket i holds what took at most so long and longer than edge i - 1. */
extern const uint64_t cram_duration_edges[CRAM_DURATION_BUCKETS - 1];

struct cram_duration_counts {
	uint64_t buckets[CRAM_DURATION_BUCKETS], sum_us;
};

unsigned int cram_duration_bucket(uint64_t us);
/* Adds "durations" to @reply. 0 or -ENOMEM. */
int cram_durations_encode(struct json_object *reply,
			  const struct cram_duration_counts counts[CRAM_N_DURATIONS]);
/* All zero for an older agent, which has none. -EBADMSG: not such a reply. */
int cram_durations_decode(struct json_object *reply,
			  struct cram_duration_counts ret[CRAM_N_DURATIONS]);
