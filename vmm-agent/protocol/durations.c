// SPDX-License-Identifier: GPL-2.0-or-later
/* Histograms of durations; see durations.h. */
#include "protocol/durations.h"

#include <errno.h>
#include <string.h>

#include "util/cleanup.h"

const struct cram_duration_row cram_durations[CRAM_N_DURATIONS] = {
	[CRAM_DURATION_ROUND] = { "round", "cram_round_time_seconds",
				  "Time that rounds of sensing and deciding took, in seconds." },
	[CRAM_DURATION_DECISION] = { "decision", "cram_decision_time_seconds",
				     "Time that decisions of the policy took, in seconds." },
	[CRAM_DURATION_MOVE] = { "move", "cram_move_time_seconds",
				 "Time that the longest move_pages call of each range of 2 MiB "
				 "that was moved took, in seconds: a vCPU that needs such a page "
				 "waits so long." },
	[CRAM_DURATION_RELIEF] = { "relief", "cram_relief_time_seconds",
				   "Time from the agent's finding that a card pushes back to the "
				   "beginning of the first move, in seconds." },
};

const uint64_t cram_duration_edges[CRAM_DURATION_BUCKETS - 1] = {
	50, 100, 250, 500, 1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000, 1000000,
};

_Static_assert(ARRAY_SIZE(cram_durations) == CRAM_N_DURATIONS, "a row per duration");

unsigned int cram_duration_bucket(uint64_t us)
{
	unsigned int i = 0;

	while (i < ARRAY_SIZE(cram_duration_edges) && us > cram_duration_edges[i])
		i++;
	return i;
}

/* The buckets, then the sum. */
static struct json_object *encode(const struct cram_duration_counts *counts)
{
	struct json_object *list = json_object_new_array_ext(CRAM_DURATION_BUCKETS + 1);

	for (size_t i = 0; list && i < CRAM_DURATION_BUCKETS; i++)
		json_object_array_add(list, json_object_new_uint64(counts->buckets[i]));
	if (list)
		json_object_array_add(list, json_object_new_uint64(counts->sum_us));
	return list;
}

int cram_durations_encode(struct json_object *reply,
			  const struct cram_duration_counts counts[CRAM_N_DURATIONS])
{
	struct json_object *all = json_object_new_object();

	if (!all)
		return -ENOMEM;
	for (size_t i = 0; i < CRAM_N_DURATIONS; i++)
		json_object_object_add(all, cram_durations[i].name, encode(&counts[i]));
	return json_object_object_add(reply, "durations", all) < 0 ? -ENOMEM : 0;
}

static int decode(struct json_object *list, struct cram_duration_counts *ret)
{
	if (!json_object_is_type(list, json_type_array) ||
	    json_object_array_length(list) != CRAM_DURATION_BUCKETS + 1)
		return -EBADMSG;
	for (size_t i = 0; i <= CRAM_DURATION_BUCKETS; i++) {
		struct json_object *n = json_object_array_get_idx(list, i);

		if (!json_object_is_type(n, json_type_int) || json_object_get_int64(n) < 0)
			return -EBADMSG;
		*(i < CRAM_DURATION_BUCKETS ? &ret->buckets[i] : &ret->sum_us) =
			json_object_get_uint64(n);
	}
	return 0;
}

int cram_durations_decode(struct json_object *reply,
			  struct cram_duration_counts ret[CRAM_N_DURATIONS])
{
	struct json_object *all, *list;

	memset(ret, 0, CRAM_N_DURATIONS * sizeof(*ret));
	if (!json_object_object_get_ex(reply, "durations", &all))
		return 0;
	for (size_t i = 0; i < CRAM_N_DURATIONS; i++)
		if (json_object_object_get_ex(all, cram_durations[i].name, &list) &&
		    decode(list, &ret[i]) < 0)
			return -EBADMSG;
	return 0;
}
