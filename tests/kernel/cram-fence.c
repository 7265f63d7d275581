/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The table of the write fence on a CRAM node: a page is promoted before a byte lands in
 * it. The card refuses to trim meanwhile, so that no frame is ever used twice, and a frame
 * that a page has left holds what it held for ever, or somebody has written to it. What
 * is in it QEMU says, from outside.
 */
#include "cram.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "card.h"
#include "writers.h"

/* Of memory that is about to be written to. */
static uint64_t frames[HUGE / PAGE];
static char content[HUGE];

/* Frames that pages have left, and a word of what each held. */
static struct {
	uint64_t frame, word;
} left[4096];
static size_t nr_left;

static void there_is_room(size_t length)
{
	need(cram_has_credit(2 * length, 20), "there is credit");
}

static void remember(const char *memory, size_t length)
{
	frames_of(memory, length, frames);
	memcpy(content, memory, length);
}

/* Words of a frame as the card has it; returns how many differ from what they are to be. */
static unsigned int words_changed(uint64_t frame, const uint64_t *words, unsigned int count)
{
	char arguments[128];
	const char *answer;
	unsigned int changed = 0;

	snprintf(arguments, sizeof(arguments), "\"command-line\": \"xp /%ugx 0x%llx\"", count,
		 (unsigned long long)frame * PAGE);
	answer = card_monitor("human-monitor-command", arguments);
	need(answer != NULL, "the card's memory can be looked at");
	/* Lines of an address, a colon, and words. */
	for (unsigned int i = 0; i < count; i++) {
		answer = strstr(answer, " 0x");
		need(answer != NULL, "the monitor shows %u words", count);
		changed += strtoull(++answer, NULL, 16) != words[i];
	}
	return changed;
}

/* Pages that are still where they were have been looked at by who has them. */
static void frames_intact(const char *what, const char *memory, size_t length)
{
	uint64_t now[HUGE / PAGE];
	unsigned int looked = 0, changed = 0;

	frames_of(memory, length, now);
	for (size_t i = 0; i < length / PAGE; i++) {
		const uint64_t *words = (const uint64_t *)(content + i * PAGE);

		if (now[i] == frames[i])
			continue;
		changed += words_changed(frames[i], words, PAGE / sizeof(*words));
		looked++;
		if (nr_left < COUNT(left))
			left[nr_left++] = (typeof(*left)){ frames[i], words[0] };
	}
	ok(looked > 0 && changed == 0, "%s: no frame was written (%u looked at, %u words changed)",
	   what, looked, changed);
	ok(cram_promise_holds(), "%s: the promise holds", what);
}

static const struct judge JUDGE = {
	.before = there_is_room,
	.begin = remember,
	.end = frames_intact,
};

/* With trims again the judge sees that frames change. */
static void trimmed(void)
{
	unsigned int changed = 0;

	ok(cram_stat("trims_failed") > 0 && cram_stat("frames_trimmed") == 0,
	   "nothing was trimmed so far");
	card_fault("trim-refused", false, 0);
	ok(cram_empties(30), "and all is now");
	for (size_t i = 0; i < nr_left; i++)
		changed += words_changed(left[i].frame, &left[i].word, 1);
	ok(nr_left > 100 && changed == nr_left, "which the judge sees (%u of %zu frames)", changed,
	   nr_left);
}

int main(void)
{
	swap_on("64M");
	writers_disk();
	cram_up();
	card_fault("trim-refused", true, 0);
	write_all_ways(cram_nid, &JUDGE, NULL);
	trimmed();
	ok(cram_becomes("normal", 10), "and all is normal");
	ok(card_value("peak-excess") == 0 && card_value("over-capacity-pages") == 0,
	   "the card was never asked for more than it has");
	return done();
}
