/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See cram.h. */
#include "cram.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "card.h"

int cram_nid = -1;

int cram_up(void)
{
	FILE *output = popen("tests/host/cram-node", "r");
	char line[256] = "";

	need(output != NULL, "popen: %m");
	while (fgets(line, sizeof(line), output))
		;
	need(pclose(output) == 0 && line[0] >= '0' && line[0] <= '9',
	     "the card comes up as a CRAM node: %s", line);
	cram_nid = atoi(line);
	need(node_in("has_private_memory", cram_nid), "node %d is a private node", cram_nid);
	return cram_nid;
}

static char *cram_file(const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/devices/system/node/node%d/cram/%s", cram_nid, name);
	return read_file(path);
}

uint64_t cram_bytes(const char *name)
{
	char *text = cram_file(name), *end;
	uint64_t value = strtoull(text, &end, 10);

	need(end > text && strcmp(end, "\n") == 0, "cram/%s has a number: '%s'", name, text);
	return value;
}

uint64_t cram_stat(const char *name)
{
	char *text = cram_file("stats"), key[64], *line = text;

	snprintf(key, sizeof(key), "%s ", name);
	while (line && strncmp(line, key, strlen(key)) != 0) {
		line = strchr(line, '\n');
		line = line ? line + 1 : NULL;
	}
	need(line != NULL, "cram/stats has %s", name);
	return strtoull(line + strlen(key), NULL, 10);
}

char *cram_state(void)
{
	char *text = cram_file("state");

	text[strcspn(text, "\n")] = '\0';
	return text;
}

bool cram_state_is(const char *state)
{
	return strcmp(cram_state(), state) == 0;
}

/* The counters of one report, of which the sum is never read too high. */
struct account {
	uint64_t generation, physical, reserve, stored, unsettled, credit;
};

static struct account account(void)
{
	struct account a;

	/* Within one report frames go from credit to unsettled and from nothing to credit. */
	do {
		a.generation = cram_bytes("generation");
		a.physical = cram_bytes("physical_bytes");
		a.reserve = cram_bytes("reserve_bytes");
		a.stored = cram_bytes("stored_bytes");
		a.unsettled = cram_bytes("unsettled_bytes");
		a.credit = cram_bytes("credit_bytes");
	} while (cram_bytes("generation") != a.generation);
	return a;
}

static bool is_kept(const void *unused)
{
	const struct account a = account();

	(void)unused;
	return a.stored + a.reserve + a.unsettled + a.credit <= a.physical;
}

bool cram_promise_holds(void)
{
	struct account a;

	/*
	 * What was being copied when a report was made is in it, and paid for as what may be
	 * written still: it counts twice until the next one.
	 */
	if (eventually(2, is_kept, NULL))
		return true;
	a = account();
	note("generation %llu: stored %llu + reserve %llu + unsettled %llu + credit %llu > physical %llu",
	     (unsigned long long)a.generation, (unsigned long long)a.stored,
	     (unsigned long long)a.reserve, (unsigned long long)a.unsettled,
	     (unsigned long long)a.credit, (unsigned long long)a.physical);
	return false;
}

static bool fits_the_card(const void *unused)
{
	const struct account a = account();

	(void)unused;
	return a.stored + a.unsettled + a.credit <= card_value("usable-size");
}

bool cram_in_order(struct cram_looks *looks)
{
	looks->all++;
	if (card_value("target-physical-size") == card_value("physical-size") &&
	    !cram_state_is("evicting")) {
		looks->judged++;
		if (cram_promise_holds())
			return true;
		/* A shrink has come to its end meanwhile, and pages have to go. */
		if (!cram_state_is("evicting"))
			return false;
	}
	return eventually(2, fits_the_card, NULL);
}

bool cram_judged(const struct cram_looks *looks)
{
	note("the promise was to hold in full at %u of %u looks", looks->judged, looks->all);
	return looks->judged >= looks->all / 5;
}

bool cram_credit_is_free_memory(void)
{
	long managed = managed_pages(cram_nid), free_pages = managed - used_pages(cram_nid);
	uint64_t credit = cram_bytes("credit_bytes");

	/* What a frame may take is at least a page. */
	if ((uint64_t)free_pages * PAGE <= credit)
		return true;
	note("%ld pages are free for %llu bytes of credit", free_pages, (unsigned long long)credit);
	return false;
}

bool eventually(int seconds, bool (*function)(const void *argument), const void *argument)
{
	if (debug_kernel())
		seconds *= 5;
	for (int i = 0; i < seconds * 50; i++) {
		if (function(argument))
			return true;
		usleep(20000);
	}
	return function(argument);
}

static bool in_state(const void *state)
{
	return cram_state_is(state);
}

bool cram_becomes(const char *state, int seconds)
{
	if (eventually(seconds, in_state, state))
		return true;
	note("the state is %s, not %s", cram_state(), state);
	return false;
}

static bool is_empty(const void *unused)
{
	(void)unused;
	drain_lru_lists(cram_nid);
	return cram_bytes("resident_bytes") == 0 && cram_bytes("quarantined_bytes") == 0;
}

bool cram_empties(int seconds)
{
	if (eventually(seconds, is_empty, NULL))
		return true;
	note("resident %llu, quarantined %llu", (unsigned long long)cram_bytes("resident_bytes"),
	     (unsigned long long)cram_bytes("quarantined_bytes"));
	return false;
}

static bool has_credit(const void *bytes)
{
	return cram_bytes("credit_bytes") >= *(const uint64_t *)bytes;
}

bool cram_has_credit(uint64_t bytes, int seconds)
{
	if (eventually(seconds, has_credit, &bytes))
		return true;
	note("credit is %llu, not %llu", (unsigned long long)cram_bytes("credit_bytes"),
	     (unsigned long long)bytes);
	return false;
}

#define CGROUPS "/sys/fs/cgroup"

const char *cgroup_text(const char *cgroup, const char *file)
{
	char path[128], *text;

	snprintf(path, sizeof(path), CGROUPS "/%s/%s", cgroup, file);
	text = read_file(path);
	text[strcspn(text, "\n")] = '\0';
	return text;
}

void make_cgroup(const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), CGROUPS "/%s", name);
	need(mkdir(path, 0755) == 0, "cgroup %s: %m", name);
}

void remove_cgroup(const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), CGROUPS "/%s", name);
	/* What is dead may take its time to leave. */
	for (int i = 0; i < 100 && rmdir(path); i++)
		usleep(20000);
	need(access(path, F_OK) != 0, "cgroup %s can be removed: %m", name);
}

/* Data */

uint64_t draw(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* Never 0, from which draw() would not move. */
static uint64_t start_of(uint64_t seed)
{
	return (seed + 1) * 0x9e3779b97f4a7c15ULL | 1;
}

#define WORDS (PAGE / sizeof(uint64_t))

void pack_page(void *page, uint64_t seed, unsigned int ratio)
{
	uint64_t state = start_of(seed), *words = page;
	const size_t random = ratio ? WORDS / ratio : 0;

	for (size_t i = 0; i < random; i++)
		words[i] = draw(&state);
	for (size_t i = random; i < WORDS; i++)
		words[i] = ratio ? start_of(seed) : 0;
}

bool page_packed(const void *page, uint64_t seed, unsigned int ratio)
{
	const uint64_t *words = page;
	uint64_t state = start_of(seed);
	const size_t random = ratio ? WORDS / ratio : 0;

	for (size_t i = 0; i < random; i++)
		if (words[i] != draw(&state))
			return false;
	for (size_t i = random; i < WORDS; i++)
		if (words[i] != (ratio ? start_of(seed) : 0))
			return false;
	return true;
}

static unsigned int ratio_of(size_t page, unsigned int ratio)
{
	static const unsigned int MIX[] = { 1, 4, 2, 0, 1, 8, 3 };

	return ratio == MIXED ? MIX[page % COUNT(MIX)] : ratio;
}

void pack(void *memory, size_t length, uint64_t seed, unsigned int ratio)
{
	for (size_t i = 0; i < length / PAGE; i++)
		pack_page((char *)memory + i * PAGE, seed + i, ratio_of(i, ratio));
}

bool packed(const void *memory, size_t length, uint64_t seed, unsigned int ratio)
{
	for (size_t i = 0; i < length / PAGE; i++)
		if (!page_packed((const char *)memory + i * PAGE, seed + i, ratio_of(i, ratio))) {
			note("page %zu is not what was written", i);
			return false;
		}
	return true;
}
