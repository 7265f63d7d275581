/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Keeps DAMON watching all guests' RAM and takes its snapshots: what it sees no access in is
 * nominated for looks. Neither decides nor moves anything.
 */
#pragma once

#include "../host.h"
#include "../sense/damon.h"

struct nominator {
	struct host *host;
	pthread_t thread;
	bool running;
};

/*
 * A snapshot of @vm: begins, has regions, and once it has been read to its end what DAMON saw is
 * taken into account, as ranges_snapshot_end() does.
 */
void nominate_begin(struct vm *vm);
void nominate_region(struct vm *vm, const struct damon_region *region);
void nominate_end(struct vm *vm, uint32_t apart_s, uint32_t now_s);

/* How far apart DAMON samples. @confirmed: what it nominates is looked at by idle flags. */
uint32_t nominate_sample_us(const struct cram_host_settings *set, bool confirmed);

/* @nominator is zero. 0 or -errno of pthread_create(3). */
int nominator_start(struct nominator *nominator, struct host *host);
/* After host_stop(); as host_join(), but waits for a snapshot that is under way. */
bool nominator_join(struct nominator *nominator);
