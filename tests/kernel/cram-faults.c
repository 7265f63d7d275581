/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * CRAM on a card with bad days. Whatever the card does, pages keep coming and going: all
 * of them are what was written, the card never has to hold more than it can, nothing
 * comes once the card cannot be believed any more, `state` says so, and all goes on by
 * itself when the day is over. What each fault is: docs/design/cxl-compressed-card.md.
 */
#include "cram.h"

#include <fcntl.h>
#include <linux/kernel-page-flags.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "card.h"

#define RESIDENT (16UL << 20) /* there all the time */
#define MOVING	 (4UL << 20)  /* comes and goes */
#define MIB	 (1UL << 20)

static char *resident, *moving;
static uint64_t version;

static bool resident_right(void)
{
	return packed(resident, RESIDENT, 1000, 2);
}

static void make_resident(void)
{
	pack(resident, RESIDENT, 1000, 2);
	need(cram_has_credit(RESIDENT + MOVING, 20), "there is credit to begin with");
	need(move_to(resident, RESIDENT, cram_nid) == 0 &&
		     pages_on(resident, RESIDENT, cram_nid) == RESIDENT / PAGE,
	     "16 MiB are on the card to begin with");
}

/* Home, for other data is written. */
static void go(void)
{
	version++;
	pack(moving, MOVING, version << 20, version % 2 ? 1 : 4);
}

/* To the card with other data than before, and what of it came there. */
static size_t come(void)
{
	long rc;

	go();
	rc = move_to(moving, MOVING, cram_nid);
	need(rc >= 0, "who is refused is told no error: %s", strerror((int)-rc));
	return pages_on(moving, MOVING, cram_nid);
}

static bool moving_right(void)
{
	return packed(moving, MOVING, version << 20, version % 2 ? 1 : 4);
}

/* So many times there and home again, each time with other data. How many pages came last. */
static size_t come_and_go(int rounds)
{
	size_t came = 0;

	for (int i = 0; i < rounds; i++) {
		came = come();
		need(moving_right(), "what came is what was written");
		need(resident_right(), "what was there is");
		need(cram_promise_holds(), "the promise holds");
		usleep(20000);
	}
	return came;
}

/* Whether pages come again, all of them, in a while. */
static bool goes_on(void)
{
	for (int i = 0; i < 20; i++) {
		if (come() == MOVING / PAGE)
			return true;
		usleep(500000);
	}
	return false;
}

static void over(const char *name)
{
	ok(cram_becomes("normal", 30), "%s over: normal again", name);
	ok(goes_on(), "%s over: pages come again", name);
	ok(moving_right() && resident_right(), "%s over: nothing is lost", name);
	ok(card_value("peak-excess") == 0 && card_value("over-capacity-pages") == 0,
	   "%s over: the card was never asked for more than it has", name);
}

/*
 * Reports
 */

/* Frames for which there is room as of the newest report, given out or not. */
static uint64_t room(void)
{
	const uint64_t taken = cram_bytes("reserve_bytes") + cram_bytes("stored_bytes") +
			       cram_bytes("unsettled_bytes");
	const uint64_t physical = cram_bytes("physical_bytes");

	return physical > taken ? (physical - taken) / PAGE : 0;
}

/*
 * The card is not to be believed. What its last report made room for may be used while
 * it may still be well, and no more than that; then nothing.
 */
static void untrusted(const char *name, unsigned int delay_ms)
{
	struct pollfd change = { .events = POLLPRI };
	uint64_t written, most;
	char path[96], text[32];
	bool told;

	note("%s", name);
	snprintf(path, sizeof(path), "/sys/devices/system/node/node%d/cram/state", cram_nid);
	change.fd = open(path, O_RDONLY | O_CLOEXEC);
	need(change.fd >= 0 && read(change.fd, text, sizeof(text)) > 0, "%s: %m", path);

	card_fault(name, true, delay_ms);
	/* A report that was under way may come still. */
	usleep(500000);
	written = cram_stat("frames_written");
	most = room();
	come_and_go(10);
	told = poll(&change, 1, debug_kernel() ? 60000 : 15000) == 1;
	ok(cram_becomes("stale", 15), "%s: stale", name);
	ok(told, "%s: who polls the state is told", name);
	close(change.fd);
	ok(cram_bytes("credit_bytes") == 0, "%s: what was not used is taken back", name);
	ok(come_and_go(3) == 0, "%s: nothing comes any more", name);
	written = cram_stat("frames_written") - written;
	ok(written <= most, "%s: no more came than there was room for (%llu of %llu frames)", name,
	   (unsigned long long)written, (unsigned long long)most);
	ok(cram_bytes("credit_bytes") == 0, "%s: nothing is given any more", name);
	ok(cram_state_is("stale"), "%s: still stale", name);
	card_fault(name, false, 0);
	over(name);
}

/* It is a nuisance, and things go on. */
static void bearable(const char *name, unsigned int delay_ms)
{
	size_t came;

	note("%s", name);
	card_fault(name, true, delay_ms);
	come_and_go(20);
	came = goes_on() ? come_and_go(5) : 0;
	ok(came == MOVING / PAGE, "%s: pages come all the time (%zu)", name, came);
	ok(cram_state_is("normal") || cram_state_is("throttled"), "%s: which is nothing bad: %s",
	   name, cram_state());
	card_fault(name, false, 0);
	over(name);
}

/* Its size is known, whatever it interrupts for. */
static bool size_known(const void *unused)
{
	(void)unused;
	return cram_bytes("physical_bytes") == card_value("usable-size");
}

static bool low_is_eighth(void)
{
	return card_value("low-watermark") == card_value("usable-size") / 8;
}

/*
 * Watermarks, with `fault`, or without one: the card has less of a sudden, and less is free than
 * its low one. Whether it interrupts then, and is told of new ones, has to be as given.
 */
static void crosses(const char *fault, bool interrupts, bool armed)
{
	const char *name = fault ? fault : "watermarks";
	uint64_t before;

	note("%s", name);
	make_resident();
	ok(cram_becomes("normal", 30) && low_is_eighth(),
	   "%s: an eighth of the card is its low one", name);
	if (fault)
		card_fault(fault, true, 0);
	before = cram_stat("interrupts");
	card_resize(20 * MIB, true);
	ok(eventually(5, size_known, NULL), "%s: it is known that the card has less", name);
	come_and_go(5);
	before = cram_stat("interrupts") - before;
	ok((before > 0) == interrupts, "%s: with interrupts or without (%llu)", name,
	   (unsigned long long)before);
	ok(low_is_eighth() == armed, "%s: with a new one or without (%llu KiB)", name,
	   (unsigned long long)card_value("low-watermark") >> 10);
	if (fault)
		card_fault(fault, false, 0);
	card_resize(128 * MIB, true);
	ok(eventually(5, size_known, NULL), "%s: it is known that it has all again", name);
	over(name);
	ok(low_is_eighth(), "%s over: the low one is an eighth again", name);
}

static bool leaves(const void *before)
{
	return cram_bytes("resident_bytes") < *(const uint64_t *)before;
}

/* Nobody disbelieves a card that says it is in trouble: that costs moves, and no data. */
static void overfull(void)
{
	uint64_t before;
	size_t came = 0;

	note("report-overfull");
	make_resident();
	before = cram_bytes("resident_bytes");
	card_fault("report-overfull", true, 0);
	ok(cram_becomes("overrun", 10), "a card that says it stores more than it has is believed");
	for (int i = 0; i < 3; i++)
		came += come();
	ok(came == 0 && cram_bytes("credit_bytes") == 0, "nothing comes any more, and nothing may");
	ok(eventually(20, leaves, &before), "and what is there goes home");
	ok(resident_right(), "with all that was in it");
	card_fault("report-overfull", false, 0);
	over("report-overfull");
	make_resident();
}

/*
 * Trim
 */

static bool all_trimmed(const void *unused)
{
	(void)unused;
	return cram_bytes("quarantined_bytes") == 0;
}

/* What is freed stays quarantined, and nobody gets it, as long as the card keeps it. */
static void untrimmed(const char *name, unsigned int delay_ms)
{
	uint64_t quarantined;

	note("%s", name);
	card_fault(name, true, delay_ms);
	come_and_go(3);
	go();
	quarantined = cram_bytes("quarantined_bytes");
	ok(quarantined >= MOVING, "%s: what is freed is quarantined (%llu KiB)", name,
	   (unsigned long long)quarantined >> 10);
	usleep(2000000);
	ok(cram_bytes("quarantined_bytes") >= quarantined / 2, "%s: and stays (%llu KiB)", name,
	   (unsigned long long)cram_bytes("quarantined_bytes") >> 10);
	come_and_go(10);
	ok(!cram_state_is("overrun"), "%s: nothing is overrun: %s", name, cram_state());
	card_fault(name, false, 0);
	over(name);
	go();
	ok(eventually(20, all_trimmed, NULL), "%s over: all is trimmed", name);
}

/* Pages on frames that `trim-bad-page` is about: of each 2 MiB of the card the one at 64 KiB. */
static uint64_t on_bad_frames(const char *memory, size_t length)
{
	uint64_t start, size, bad = 0;

	node_range(cram_nid, &start, &size);
	for (size_t at = 0; at < length; at += PAGE)
		if (node_of(memory + at) == cram_nid)
			bad += (frame_of(memory + at) * PAGE - start) % (2 * MIB) == MIB / 16;
	return bad;
}

static bool quarantined(const void *pages)
{
	return cram_bytes("quarantined_bytes") == *(const uint64_t *)pages * PAGE;
}

/* A few frames are never trimmed, and nor is a command that has one of them: only they stay. */
static void never_trims_a_few(void)
{
	uint64_t bad = 0;

	note("trim-bad-page");
	go();
	need(eventually(20, all_trimmed, NULL), "all is trimmed to begin with");
	card_fault("trim-bad-page", true, 0);
	for (int i = 0; i < 20; i++) {
		come_and_go(1);
		bad += on_bad_frames(moving, MOVING);
	}
	need(bad > 0, "some of what came is on bad frames");
	go();
	ok(eventually(debug_kernel() ? 90 : 20, quarantined, &bad),
	   "trim-bad-page: all is trimmed but what never is (%llu pages)", (unsigned long long)bad);
	ok(cram_state_is("normal") && goes_on(), "trim-bad-page: pages come into the others: %s",
	   cram_state());
	ok(moving_right() && resident_right(), "trim-bad-page: nothing is lost");
	card_fault("trim-bad-page", false, 0);
	over("trim-bad-page");
	go();
	ok(eventually(20, all_trimmed, NULL), "trim-bad-page over: all is trimmed");
}

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

struct silence {
	uint64_t generation, since, longest; /* milliseconds */
};

/* How long has the newest report been the newest? */
static void listen(struct silence *s)
{
	const uint64_t generation = cram_bytes("generation"), now = now_ms();

	if (generation != s->generation)
		s->since = now;
	s->generation = generation;
	s->longest = now - s->since > s->longest ? now - s->since : s->longest;
}

/*
 * Trims that take long, and enough of them to last for much longer than a card may be
 * silent: every second page goes, so that each command has few. Reports come all the same.
 */
static void trims_are_slow(void)
{
	struct silence silence = {};
	uint64_t begun = now_ms();
	bool stale = false;

	note("trim-late, by a little");
	make_resident();
	card_fault("trim-late", true, 700);
	for (size_t at = 0; at < RESIDENT; at += 2 * PAGE) {
		((volatile char *)resident)[at] = resident[at];
		listen(&silence);
	}
	while (!all_trimmed(NULL) && now_ms() - begun < 120000) {
		listen(&silence);
		stale |= cram_state_is("stale");
		usleep(10000);
	}
	begun = now_ms() - begun;
	ok(begun > 6000 && all_trimmed(NULL),
	   "trim-late: all is trimmed, which takes long (%llu ms)", (unsigned long long)begun);
	ok(silence.longest < 2500 && !stale,
	   "trim-late: and no report is late for it (none for %llu ms, once)",
	   (unsigned long long)silence.longest);
	card_fault("trim-late", false, 0);
	over("trim-late");
}

/*
 * Trims that the host gives up, and that are carried out all the same: a frame that
 * was given out before would lose what was written to it.
 */
static void trimmed_too_late(void)
{
	uint64_t before = cram_stat("trims_timed_out");

	note("trim-late");
	card_fault("trim-late", true, 5000);
	for (int i = 0; i < 10; i++) {
		come_and_go(4);
		usleep(1000000);
	}
	ok(cram_stat("trims_timed_out") > before, "trim-late: trims time out");
	ok(moving_right() && resident_right(), "trim-late: nothing is lost");
	card_fault("trim-late", false, 0);
	/* What was given up happens by now, if ever. */
	usleep(6000000);
	over("trim-late");
}

/*
 * What is assumed of the card
 */

/* As much as the card may be asked for, the reserve included. */
static bool fits(const void *unused)
{
	(void)unused;
	return cram_bytes("stored_bytes") + cram_bytes("reserve_bytes") <=
	       cram_bytes("physical_bytes");
}

/*
 * Stored bytes that belong to no page, in steps that are assumed of a card, and in
 * all more than it has room for: pages have to go.
 */
static void grows_by_itself(void)
{
	const size_t length = 80 * MIB;
	char *memory = map_anonymous(length);
	uint64_t there;

	note("the card stores more by itself");
	madvise(memory, length, MADV_NOHUGEPAGE);
	pack(memory, length, 77, 1);
	for (int i = 0; i < 50 && pages_on(memory, length, cram_nid) < length / PAGE; i++) {
		for (size_t at = 0; at < length; at += 8 * MIB)
			if (node_of(memory + at + 8 * MIB - PAGE) != cram_nid)
				move_to(memory + at, 8 * MIB, cram_nid);
		usleep(200000);
	}
	there = cram_bytes("resident_bytes");
	need(there > 64 * MIB, "much is on the card (%llu MiB)", (unsigned long long)there >> 20);
	for (uint64_t more = 0; more <= 60 * MIB; more += MIB / 2) {
		uint64_t generation = cram_bytes("generation");

		card_overhead(more);
		for (int i = 0; i < 500 && cram_bytes("generation") < generation + 2; i++)
			usleep(10000);
	}
	ok(eventually(20, fits, NULL),
	   "what has no room any more is taken home (%llu of %llu MiB left)",
	   (unsigned long long)cram_bytes("resident_bytes") >> 20, (unsigned long long)there >> 20);
	ok(cram_bytes("resident_bytes") < there - 16 * MIB && cram_stat("pages_evicted") > 0,
	   "which is counted");
	ok(packed(memory, length, 77, 1) && resident_right(), "nothing is lost by it");
	card_overhead(0);
	munmap(memory, length);
	over("growth");
}

/*
 * What the card stores has no room, and it trims nothing: more pages that go would make it store
 * no less. They wait until it does.
 */
static void grows_untrimmed(const char *fault)
{
	uint64_t evicted, overhead;

	note("the card grows by itself, and trims nothing: %s", fault);
	make_resident();
	card_fault(fault, true, 0);
	come_and_go(3);
	go();
	need(cram_bytes("quarantined_bytes") >= MOVING, "what is freed is quarantined");
	usleep(500000);
	overhead = cram_bytes("physical_bytes") - cram_bytes("reserve_bytes") -
		   cram_bytes("stored_bytes") + MIB;
	evicted = cram_stat("pages_evicted");
	card_overhead(overhead);
	ok(cram_becomes("evicting", 10), "what it stores has no room: evicting");
	usleep(3000000);
	evicted = cram_stat("pages_evicted") - evicted;
	ok(evicted < RESIDENT / PAGE / 4 && cram_stat("oom_kills") == 0,
	   "not all have to go for what is not trimmed (%llu pages)", (unsigned long long)evicted);
	card_fault(fault, false, 0);
	ok(eventually(30, fits, NULL), "once it is, there is room");
	ok(resident_right(), "nothing is lost by it");
	card_overhead(0);
	over("growth");
}

static bool is_told(const void *generation)
{
	return cram_bytes("generation") >= *(const uint64_t *)generation + 2;
}

/*
 * Pages have to go, for less than the reserve, so that nothing is lost; then no report can be had.
 * Returns how many had gone by then in *@ret_evicted, or false if none had to any more.
 */
static bool stops_reporting(uint64_t *ret_evicted)
{
	uint64_t generation;

	make_resident();
	generation = cram_bytes("generation");
	need(eventually(10, is_told, &generation), "it is told what the card stores now");
	card_overhead(cram_bytes("physical_bytes") - cram_bytes("reserve_bytes") -
		      cram_bytes("stored_bytes") + MIB);
	need(cram_becomes("evicting", 10), "pages have to go");
	card_fault("reports-fail", true, 0);
	*ret_evicted = cram_stat("pages_evicted");
	/* A report may be under way. */
	usleep(300000);
	if (cram_state_is("evicting"))
		return true;
	card_fault("reports-fail", false, 0);
	card_overhead(0);
	need(cram_becomes("normal", 30), "as before");
	return false;
}

/* How far those that went have helped only a report can say. */
static void no_report_while_pages_go(void)
{
	uint64_t evicted;

	note("the card grows by itself, and then gives no report");
	for (int i = 0; !stops_reporting(&evicted); i++)
		need(i < 20, "a card stops to report while pages have to go");
	trace_begin_all("cram");
	usleep(1500000);
	ok(strstr(trace_end(), "cram_report_failed: "),
	   "cram_report_failed tells of each that fails");
	evicted = cram_stat("pages_evicted") - evicted;
	note("%llu pages while it gave none", (unsigned long long)evicted);
	/* Those for the report that was under way, and for the one before. */
	ok(evicted <= 256, "no more go while it gives no report");
	card_fault("reports-fail", false, 0);
	ok(eventually(30, fits, NULL), "when it does, they go on, until the rest fits");
	ok(resident_right(), "nothing is lost by it");
	card_overhead(0);
	over("growth");
}

/* By force, to less than is stored: no host can help that, and yet nothing is lost. */
static void shrinks_by_force(void)
{
	note("the card shrinks by force");
	make_resident();
	card_resize(8 * MIB, true);
	ok(cram_becomes("overrun", 5), "the card has less than it stores: overrun");
	ok(eventually(20, fits, NULL), "pages go home until what is left fits (%llu KiB)",
	   (unsigned long long)cram_bytes("resident_bytes") >> 10);
	ok(cram_bytes("resident_bytes") > 0, "and no more than that");
	ok(cram_becomes("normal", 10), "normal again, on a small card");
	ok(resident_right(), "nothing is lost");
	card_resize(128 * MIB, true);
	over("shrink");
}

/* An announced shrink while all is in use, and back. */
static void shrinks_when_asked(void)
{
	note("the card announces that it shrinks");
	make_resident();
	card_resize(24 * MIB, false);
	for (int i = 0; i < 200 && card_value("physical-size") != 24 * MIB; i++) {
		come_and_go(1);
		usleep(50000);
	}
	ok(card_value("physical-size") == 24 * MIB, "the host agrees, in time");
	come_and_go(5);
	ok(cram_promise_holds(), "the promise holds");
	card_resize(128 * MIB, false);
	over("shrink");
}

/*
 * A card that has no Trim, from before it came: the processor zeroes instead, a little
 * between two reports. To less than is stored it shrinks only after many of them, and
 * zeros that are written meanwhile must have room for the worst as well.
 */
static void never_trims(void)
{
	note("the card has no Trim");
	come_and_go(10);
	ok(cram_stat("frames_zeroed") > 0 && cram_stat("frames_trimmed") == 0,
	   "what is freed is zeroed (%llu frames), nothing is trimmed",
	   (unsigned long long)cram_stat("frames_zeroed"));
	go();
	ok(eventually(20, all_trimmed, NULL), "all of it, in a while");
	make_resident();
	card_resize(8 * MIB, false);
	for (int i = 0; i < 400 && card_value("physical-size") != 8 * MIB; i++)
		usleep(50000);
	ok(card_value("physical-size") == 8 * MIB,
	   "the host agrees to a shrink below what is there (%llu KiB stored)",
	   (unsigned long long)cram_bytes("stored_bytes") >> 10);
	come_and_go(5);
	card_resize(128 * MIB, false);
	over("no Trim");
}

/* The first frame of the card that is so, or is not. */
static uint64_t find_frame(unsigned int flag, bool is)
{
	uint64_t start, size;

	node_range(cram_nid, &start, &size);
	for (uint64_t frame = start / PAGE; frame < (start + size) / PAGE; frame++)
		if (frame_is(frame, flag) == is && !frame_is(frame, KPF_HWPOISON) &&
		    (is || frame_is(frame, KPF_OFFLINE)))
			return frame;
	need(false, "the card has such a frame");
	return 0;
}

static void fail_frame(uint64_t frame)
{
	char text[32];

	snprintf(text, sizeof(text), "%#lx", frame * PAGE);
	/* Of what is in nobody's hands it says that it is busy, and marks it all the same. */
	write_file("/sys/devices/system/memory/hard_offline_page", text);
	need(frame_is(frame, KPF_HWPOISON), "a frame fails");
}

/* Whoever finds no room has the worker look, but not more often than the card has patience for. */
static void asked_with_patience(void)
{
	uint64_t before, asked;
	int tries = 0;

	note("a busy mailbox, and a full card");
	need(move_to(moving, MOVING, 0) == 0 && pages_on(moving, MOVING, cram_nid) == 0,
	     "there is something to come");
	card_fault("mailbox-busy", true, 0);
	need(cram_becomes("stale", 20), "nothing is given any more");
	before = cram_stat("reports_failed");
	/* A little each time, so that they are many. */
	for (const time_t until = time(NULL) + 3; time(NULL) < until; tries++)
		move_to(moving, MIB / 16, cram_nid);
	asked = cram_stat("reports_failed") - before;
	card_fault("mailbox-busy", false, 0);
	ok(tries > 30 && asked <= 10,
	   "a card that does not answer is asked twice a second, however often room is wanted (%llu times for %d)",
	   (unsigned long long)asked, tries);
	over("a busy mailbox");
}

static bool retired(const void *frames)
{
	come_and_go(1);
	return cram_stat("frames_retired") >= *(const uint64_t *)frames;
}

/* Frames that fail while nobody has them: one that is the allocator's, and one that is not. */
static void frames_fail(void)
{
	uint64_t frame, count;

	note("free frames fail");
	make_resident();
	need(cram_has_credit(4 * MIB, 20), "there is credit");
	/* Credit that nobody uses is taken back: one that went before it failed is not meant. */
	do {
		frame = find_frame(KPF_BUDDY, true);
		fail_frame(frame);
	} while (frame_is(frame, KPF_OFFLINE));
	fail_frame(find_frame(KPF_BUDDY, false));
	come_and_go(3);
	/* All room goes to the target: the frame's own is asked for back as well. */
	card_resize(8 * MIB, false);
	for (int i = 0; i < 400 && card_value("physical-size") != 8 * MIB; i++)
		usleep(50000);
	ok(card_value("physical-size") == 8 * MIB,
	   "the host agrees to a shrink below what is there, though their room cannot be taken back");
	count = 1;
	ok(eventually(20, retired, &count), "they are nobody's any more (%llu)",
	   (unsigned long long)cram_stat("frames_retired"));
	ok(cram_promise_holds(), "the promise holds");
	card_resize(128 * MIB, false);
	over("failed frames");
}

static sigjmp_buf beyond;
static siginfo_t last_sigbus;

static void on_sigbus(int signal, siginfo_t *info, void *context)
{
	(void)signal;
	(void)context;
	last_sigbus = *info;
	siglongjmp(beyond, 1);
}

/* The card knows that it lost a page which somebody has there, and says so to who reads it. */
static void loses_a_page(void)
{
	struct sigaction action = { .sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO };
	char *memory = map_anonymous(MIB), *lost = memory + MIB / 2;
	const uint64_t others_lost = card_value("over-capacity-pages");
	uint64_t start, size;
	char arguments[128];
	volatile bool told = false;

	note("a page is poison");
	need(sigaction(SIGBUS, &action, NULL) == 0, "sigaction: %m");
	madvise(memory, MIB, MADV_NOHUGEPAGE);
	pack(memory, MIB, 99, 2);
	need(cram_has_credit(MIB, 20) && move_to(memory, MIB, cram_nid) == 0 &&
		     pages_on(memory, MIB, cram_nid) == MIB / PAGE,
	     "1 MiB is on the card");
	node_range(cram_nid, &start, &size);
	snprintf(arguments, sizeof(arguments),
		 "\"path\": \"/machine/peripheral/cxl-mem0\", \"start\": %llu, \"length\": %lu",
		 (unsigned long long)(frame_of(lost) * PAGE - start), PAGE);
	need(card_monitor("cxl-inject-poison", arguments) != NULL, "it is poisoned");

	if (sigsetjmp(beyond, 1) == 0)
		(void)*(volatile char *)lost;
	else
		told = true;
	ok(told && last_sigbus.si_code == BUS_MCEERR_AR && last_sigbus.si_addr == lost,
	   "who reads it gets SIGBUS, with its address");
	ok(packed(memory, MIB / 2, 99, 2) &&
		   packed(lost + PAGE, MIB / 2 - PAGE, 99 + MIB / 2 / PAGE + 1, 2),
	   "its neighbours are what they were");
	munmap(memory, MIB);
	ok(cram_promise_holds(), "the promise holds");
	ok(card_value("over-capacity-pages") == others_lost, "and it was not for want of room");
	over("poison");
}

int main(int argc, char **argv)
{
	const bool no_trim = argc > 1 && strcmp(argv[1], "no-trim") == 0;

	if (no_trim)
		card_fault("trim-unsupported", true, 0);
	cram_up();
	resident = map_anonymous(RESIDENT);
	moving = map_anonymous(MOVING);
	need(madvise(resident, RESIDENT, MADV_NOHUGEPAGE) == 0 &&
		     madvise(moving, MOVING, MADV_NOHUGEPAGE) == 0,
	     "small pages: %m");
	make_resident();
	if (no_trim) {
		never_trims();
		return done();
	}

	untrusted("reports-stop", 0);
	untrusted("reports-fail", 0);
	untrusted("reports-slow", 5000);
	untrusted("generation-stale", 0);
	untrusted("report-worst-zero", 0);
	untrusted("report-all-ones", 0);
	untrusted("report-version", 0);
	untrusted("mailbox-busy", 0);
	untrusted("mailbox-retry", 0);
	asked_with_patience();
	overfull();
	bearable("reports-slow", 300);
	bearable("generation-reordered", 0);
	crosses(NULL, true, true);
	crosses("watermarks-refused", true, false);
	crosses("watermark-lost", false, true);
	bearable("watermark-spurious", 0);
	bearable("trim-space-late", 1000);
	bearable("trim-space-partial", 0);
	untrimmed("trim-refused", 0);
	untrimmed("trim-half", 0);
	untrimmed("trim-unsupported", 0);
	never_trims_a_few();
	trims_are_slow();
	trimmed_too_late();
	grows_by_itself();
	grows_untrimmed("trim-unsupported");
	grows_untrimmed("trim-refused");
	no_report_while_pages_go();
	shrinks_when_asked();
	shrinks_by_force();
	frames_fail();
	loses_a_page();
	return done();
}
