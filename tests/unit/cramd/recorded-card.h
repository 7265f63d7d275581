/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A recorded node 1 of compressed RAM: a card of 256 MiB that shows 1 GiB. */
#pragma once

#include <inttypes.h>

#include "recorded.h"
#include "util/size.h"

#define RECORDED_CARD	 "/sys/devices/system/node/node1/cram/"
#define RECORDED_RESERVE (4 * MiB)

static inline void recorded_put_card_number(const char *dir, const char *name, uint64_t value)
{
	char path[128], text[32];

	snprintf(path, sizeof(path), RECORDED_CARD "%s", name);
	snprintf(text, sizeof(text), "%" PRIu64 "\n", value);
	recorded_put(dir, path, text);
}

static inline void recorded_put_card(const char *dir, uint64_t stored, uint64_t resident)
{
	recorded_put(dir, "/sys/devices/system/node/has_memory", "0\n");
	recorded_put(dir, "/sys/devices/system/node/has_private_memory", "1\n");
	recorded_put(dir, "/sys/devices/system/node/node1/meminfo",
		     "Node 1 MemTotal: 32768 kB\nNode 1 MemFree: 32768 kB\n");
	recorded_put(dir, RECORDED_CARD "state", "normal\n");
	recorded_put(
		dir, RECORDED_CARD "stats",
		"reports 7\nreports_failed 2\nframes_given 1\npages_evicted 3\npages_lost 4\n");
	recorded_put_card_number(dir, "generation", 12);
	recorded_put_card_number(dir, "logical_bytes", GiB);
	recorded_put_card_number(dir, "physical_bytes", 256 * MiB);
	recorded_put_card_number(dir, "stored_bytes", stored);
	recorded_put_card_number(dir, "reserve_bytes", RECORDED_RESERVE);
	recorded_put_card_number(dir, "credit_bytes", 32 * MiB);
	recorded_put_card_number(dir, "unsettled_bytes", 0);
	recorded_put_card_number(dir, "resident_bytes", resident);
	recorded_put_card_number(dir, "quarantined_bytes", 0);
	recorded_put_card_number(dir, "pressure", 0);
}
