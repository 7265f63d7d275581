/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the tests of CRAM share: a compressed card brought up as a node, what the kernel
 * says of it, and data of a known ratio. Needs a host with one card (boot --cxl
 * 512M,physical=128M --monitor), and the project's folder as the current one.
 */
#ifndef TESTS_KERNEL_CRAM_H
#define TESTS_KERNEL_CRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "private-node.h"

/* Brings the card up as an operator would. Returns its node, also in cram_nid. */
int cram_up(void);
extern int cram_nid;

/* A file of /sys/devices/system/node/nodeN/cram/ that holds one number. */
uint64_t cram_bytes(const char *name);
/* A line of its stats. */
uint64_t cram_stat(const char *name);
bool cram_state_is(const char *state);
char *cram_state(void);

/*
 * The promise, as far as the kernel's own counters tell:
 * stored + reserve + credit + unsettled <= physical, all as of one report, now or in a
 * moment. Whether the counters are true the card says.
 */
bool cram_promise_holds(void);
/*
 * The same of a card that shrinks and grows. While a shrink is announced, or pages have to go for
 * one, less is promised: what is stored and what may be written fits in what the card has at the
 * time, by its own word. Looks are counted, for that not to be all that was judged.
 */
struct cram_looks {
	unsigned int all, judged; /* judged: by the whole promise */
};
bool cram_in_order(struct cram_looks *looks);
/* Was it the whole promise at a fifth of the looks? */
bool cram_judged(const struct cram_looks *looks);
/* Frames given out are what the node has free, and nothing that is free is not paid for. */
bool cram_credit_is_free_memory(void);

/* Waits until a function returns true, some seconds at most; the debug kernel gets more. */
bool eventually(int seconds, bool (*function)(const void *argument), const void *argument);
bool cram_becomes(const char *state, int seconds);
/* Nothing of the card is used, and nothing of what was is to be trimmed still. */
bool cram_empties(int seconds);
/* As much may be demoted as so many bytes, or nothing more is going to be given. */
bool cram_has_credit(uint64_t bytes, int seconds);

/* A file of a cgroup, without the newline. */
const char *cgroup_text(const char *cgroup, const char *file);
void make_cgroup(const char *name);
/* Waits for what is dead in it to leave. */
void remove_cgroup(const char *name);

/*
 * Pages of a ratio: one of so many bytes is random, the rest one and the same word. A page
 * is told from all others and from its own earlier contents by the seed. Ratio 0: all zero.
 */
void pack_page(void *page, uint64_t seed, unsigned int ratio);
bool page_packed(const void *page, uint64_t seed, unsigned int ratio);
void pack(void *memory, size_t length, uint64_t seed, unsigned int ratio);
bool packed(const void *memory, size_t length, uint64_t seed, unsigned int ratio);
/* 1 to 4, zero or another by the page's number. */
#define MIXED 100

/* xorshift: as much of it as is needed, the same for the same seed. */
uint64_t draw(uint64_t *state);

#endif
