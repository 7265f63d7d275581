/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A random walk on a CRAM node, one step at a time: pages come and go by every way, are
 * written, thrown away, forked and reclaimed; the card shrinks, grows, fills up by itself,
 * stops to report, refuses to trim. After each step the kernel's counters are held against
 * each other, against what each page frame of the node is, and against the card.
 *
 *	cram-walk SECONDS [SEED]
 */
#include "cram.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <linux/falloc.h>
#include <linux/kernel-page-flags.h>
#include <numaif.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "card.h"

#define MIB	  (1UL << 20)
#define LENGTH	  (16 * MIB)
#define PAGES	  (LENGTH / PAGE)
#define GROUP	  "cram-walk"
#define STEPS_MIN 21 /* also where each takes long */

static struct area {
	const char *name;
	char *memory;
	int fd;			 /* of a shared file, or -1 */
	uint32_t version[PAGES]; /* what is in a page; 0: nothing, it was never written */
} areas[] = {
	{ .name = "small", .fd = -1 },
	{ .name = "huge", .fd = -1 },
	{ .name = "shared", .fd = -1 },
};

static uint64_t seed, random_state;
static unsigned int step;
static char what[160]; /* the step is */

/* What the card does, as it was told. */
static uint64_t initial_size, overhead, worst, lag;
static bool no_reports, no_trims;
static uint64_t trimmed_before; /* when trims were refused */
static struct timespec silent_since;

static uint64_t below(uint64_t n)
{
	return draw(&random_state) % n;
}

static void must(bool condition, const char *text, ...) __attribute__((format(printf, 2, 3)));

static void must(bool condition, const char *text, ...)
{
	char message[400];
	va_list args;

	if (condition)
		return;
	va_start(args, text);
	vsnprintf(message, sizeof(message), text, args);
	va_end(args);
	note("state %s, resident %llu KiB, stored %llu KiB of %llu, reserve %llu, unsettled %llu, credit %llu, quarantined %llu",
	     cram_state(), (unsigned long long)cram_bytes("resident_bytes") >> 10,
	     (unsigned long long)cram_bytes("stored_bytes") >> 10,
	     (unsigned long long)cram_bytes("physical_bytes") >> 10,
	     (unsigned long long)cram_bytes("reserve_bytes") >> 10,
	     (unsigned long long)cram_bytes("unsettled_bytes") >> 10,
	     (unsigned long long)cram_bytes("credit_bytes") >> 10,
	     (unsigned long long)cram_bytes("quarantined_bytes") >> 10);
	need(false, "seed %llu, step %u, %s: %s", (unsigned long long)seed, step, what, message);
}

/*
 * Pages
 */

static uint64_t seed_of(size_t area, size_t page, uint32_t version)
{
	return seed ^ ((uint64_t)version << 32 | area << 28 | page);
}

static unsigned int ratio_of(uint32_t version)
{
	static const unsigned int RATIOS[] = { 1, 4, 2, 0, 8 };

	return version ? RATIOS[version % COUNT(RATIOS)] : 0;
}

static void page_right(size_t area, size_t page)
{
	const uint32_t version = areas[area].version[page];

	must(page_packed(areas[area].memory + page * PAGE, seed_of(area, page, version),
			 ratio_of(version)),
	     "%s page %zu is version %u", areas[area].name, page, version);
}

static void write_pages(size_t area, size_t first, size_t count)
{
	/* What is allocated for it is the cgroup's, to be reclaimed. */
	enter_cgroup(GROUP);
	for (size_t page = first; page < first + count; page++) {
		const uint32_t version = ++areas[area].version[page];

		pack_page(areas[area].memory + page * PAGE, seed_of(area, page, version),
			  ratio_of(version));
	}
	leave_cgroup();
}

/*
 * What is known of the card
 */

/* As root may do: where the node's memory begins. */
static uint64_t first_frame(void)
{
	uint64_t block, first = UINT64_MAX;
	char pattern[64];
	glob_t blocks;

	block = memory_block_bytes();
	snprintf(pattern, sizeof(pattern), "/sys/devices/system/node/node%d/memory[0-9]*",
		 cram_nid);
	need(glob(pattern, 0, NULL, &blocks) == 0, "the node has memory blocks");
	for (size_t i = 0; i < blocks.gl_pathc; i++) {
		uint64_t n = strtoull(strrchr(blocks.gl_pathv[i], 'y') + 1, NULL, 10);

		first = n < first ? n : first;
	}
	globfree(&blocks);
	return first * block / PAGE;
}

/* What the kernel counts of frames. */
struct counters {
	uint64_t credit, resident, quarantined;
	uint64_t given, taken, written, spoiled, trimmed, zeroed;
};

/* And what the frames are, by /proc/kpageflags. */
struct frames {
	uint64_t free, used, kept;
};

static struct counters counters(void)
{
	return (struct counters){
		.credit = cram_bytes("credit_bytes"),
		.resident = cram_bytes("resident_bytes"),
		.quarantined = cram_bytes("quarantined_bytes"),
		.given = cram_stat("frames_given"),
		.taken = cram_stat("frames_taken_back"),
		.written = cram_stat("frames_written"),
		.spoiled = cram_stat("frames_spoiled"),
		.trimmed = cram_stat("frames_trimmed"),
		.zeroed = cram_stat("frames_zeroed"),
	};
}

static struct frames look_at_frames(void)
{
	static uint64_t *flags, first;
	static int fd = -1;
	const size_t bytes = cram_bytes("logical_bytes") / PAGE * sizeof(*flags);
	struct frames f = {};

	if (fd < 0) {
		fd = open("/proc/kpageflags", O_RDONLY | O_CLOEXEC);
		flags = map_anonymous(bytes);
		first = first_frame();
	}
	need(pread(fd, flags, bytes, (off_t)(first * sizeof(*flags))) == (ssize_t)bytes,
	     "what frames are: %m");
	for (size_t i = 0; i < bytes / sizeof(*flags); i++) {
		if (flags[i] >> KPF_BUDDY & 1)
			f.free++;
		else if (flags[i] >> KPF_OFFLINE & 1)
			f.kept++;
		else
			f.used++;
	}
	return f;
}

/* Everything that is true whenever nothing is under way. */
static bool adds_up(const void *last)
{
	struct counters c, again;
	struct frames f;
	char compact[64];

	/* What was freed may be on its way to a list still. */
	snprintf(compact, sizeof(compact), "/sys/devices/system/node/node%d/compact", cram_nid);
	write_file(compact, "1");
	c = counters();
	f = look_at_frames();
	again = counters();
	if (memcmp(&c, &again, sizeof(c)) != 0)
		return false; /* The worker was busy meanwhile. */
	*(struct frames *)last = f;
	return c.credit == f.free * worst && c.resident == f.used * PAGE &&
	       c.quarantined <= f.kept * PAGE &&
	       c.given - c.taken - c.written - c.spoiled == f.free &&
	       (c.written + c.spoiled - c.trimmed - c.zeroed) * PAGE == c.resident + c.quarantined;
}

static uint64_t planned_size(void)
{
	const uint64_t size = card_value("physical-size"),
		       target = card_value("target-physical-size");

	return (target < size ? target : size) - card_value("metadata-size");
}

/* What the newest report says is what the card knows, when it has been asked lately. */
static bool report_is_true(const void *unused)
{
	const uint64_t usable = card_value("usable-size"), there = card_value("stored");
	const uint64_t stored = cram_bytes("stored_bytes"), reserve = cram_bytes("reserve_bytes");

	(void)unused;
	return cram_bytes("physical_bytes") == planned_size() &&
	       reserve == lag + card_value("reservation-step") + 2 * (usable >> 7) &&
	       stored <= there && stored + lag >= there && cram_bytes("unsettled_bytes") == 0 &&
	       (no_trims || cram_bytes("quarantined_bytes") == 0) && card_value("stored") == there;
}

static double silent_for(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)(now.tv_sec - silent_since.tv_sec) +
	       (double)(now.tv_nsec - silent_since.tv_nsec) / 1e9;
}

static bool settled(const void *unused)
{
	(void)unused;
	return cram_bytes("unsettled_bytes") == 0;
}

static void compare(void)
{
	const bool shrinking = card_value("target-physical-size") != card_value("physical-size");
	struct frames f = {};

	must(eventually(10, adds_up, &f),
	     "the counters are those of the frames: %llu free, %llu used, %llu kept, of which %llu credited, %llu dying",
	     (unsigned long long)f.free, (unsigned long long)f.used, (unsigned long long)f.kept,
	     (unsigned long long)(cram_stat("frames_given") - cram_stat("frames_taken_back") -
				  cram_stat("frames_written") - cram_stat("frames_spoiled")),
	     (unsigned long long)(cram_stat("frames_written") + cram_stat("frames_spoiled") -
				  cram_stat("frames_trimmed") - cram_stat("frames_zeroed") -
				  f.used));
	/* What has no room after a shrink goes, if it can be trimmed. */
	if (!shrinking)
		must(cram_promise_holds() ||
			     (cram_state_is("evicting") && cram_bytes("credit_bytes") == 0 &&
			      (no_trims || no_reports || cram_promise_holds())),
		     "the promise holds");
	if (no_trims)
		must(cram_stat("frames_trimmed") == trimmed_before, "nothing is trimmed");
	if (!no_reports)
		must(eventually(10, report_is_true, NULL),
		     "the report is true: stored %llu, planned %llu",
		     (unsigned long long)card_value("stored"), (unsigned long long)planned_size());
	else if (silent_for() > (debug_kernel() ? 10 : 4))
		must(cram_state_is("stale") && cram_bytes("credit_bytes") == 0,
		     "a card that is silent gets nothing");
	must(card_value("peak-excess") == 0 && card_value("over-capacity-pages") == 0,
	     "the card was never asked for more than it has");
}

/*
 * Steps
 */

/* Some pages of an area */
struct range {
	size_t area, first, count;
	char *memory;
	size_t length;
};

static struct range some(void)
{
	struct range r = { .area = below(COUNT(areas)) };

	r.count = 1 + below(below(2) ? 16 : PAGES / 2);
	r.first = below(PAGES - r.count + 1);
	r.memory = areas[r.area].memory + r.first * PAGE;
	r.length = r.count * PAGE;
	snprintf(what + strlen(what), sizeof(what) - strlen(what), " %zu %s pages from %zu",
		 r.count, areas[r.area].name, r.first);
	return r;
}

static bool is_calm(void)
{
	return !no_reports && cram_state_is("normal") &&
	       card_value("target-physical-size") == card_value("physical-size");
}

static void come(void)
{
	const struct range r = some();
	const bool calm = is_calm();
	const uint64_t credit = cram_bytes("credit_bytes") / worst;
	const size_t before = pages_on(r.memory, r.length, cram_nid);
	/* What was only read is nowhere. */
	const size_t there = before + pages_on(r.memory, r.length, HOME);
	size_t now;
	long rc = move_to(r.memory, r.length, cram_nid);

	must(rc >= 0 || rc == -ENOENT, "who asks is told no error but that (%s)",
	     strerror((int)-rc));
	now = pages_on(r.memory, r.length, cram_nid);
	/* Huge pages that there is no block for, or that are in use as a whole, are another matter.
	 */
	if (calm && r.area == 0)
		must(now >= there || now - before >= credit,
		     "as much comes as there was credit for: %zu of %zu, %zu before, %llu credited",
		     now, there, before, (unsigned long long)credit);
}

static void come_by_policy(void)
{
	const struct range r = some();
	const unsigned long card = 1UL << cram_nid, home = 1UL << HOME;
	long rc;

	if (below(2))
		rc = bind_to(r.memory, r.length, MPOL_BIND, card, MPOL_MF_MOVE);
	else
		rc = bind_to(r.memory, r.length, MPOL_BIND, card | home,
			     below(2) ? MPOL_MF_MOVE : 0);
	must(rc == 0, "mbind is no error (%s)", strerror((int)-rc));
}

static void go(void)
{
	const struct range r = some();
	long rc = below(2) ? move_to(r.memory, r.length, HOME)
			   : bind_to(r.memory, r.length, MPOL_BIND, 1UL << HOME, MPOL_MF_MOVE);

	must(rc == 0 || rc == -ENOENT, "going home is no error (%s)", strerror((int)-rc));
	must(pages_on(r.memory, r.length, cram_nid) == 0, "all are home");
}

static void rewrite(void)
{
	const struct range r = some();

	write_pages(r.area, r.first, r.count);
	must(pages_on(r.memory, r.length, cram_nid) == 0, "what is written is home");
}

static void throw_away(void)
{
	const struct range r = some();

	if (areas[r.area].fd >= 0)
		must(fallocate(areas[r.area].fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			       (off_t)(r.first * PAGE), (off_t)r.length) == 0,
		     "a hole can be punched: %m");
	else
		must(madvise(r.memory, r.length, MADV_DONTNEED) == 0, "MADV_DONTNEED: %m");
	memset(&areas[r.area].version[r.first], 0, r.count * sizeof(*areas[r.area].version));
	/* Or there would be nothing to move, in the end. */
	if (below(4))
		write_pages(r.area, r.first, r.count);
}

/* A child writes to some of what it shares, and so does its parent. */
static void fork_and_write(void)
{
	const struct range r = some();
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		if (areas[r.area].fd < 0)
			for (size_t page = r.first; page < r.first + r.count; page += 3) {
				page_right(r.area, page);
				pack_page(areas[r.area].memory + page * PAGE, 1, 1);
			}
		_exit(0);
	}
	if (areas[r.area].fd < 0)
		write_pages(r.area, r.first, (r.count + 1) / 2);
	must(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0, "a child sees what it had");
}

static void reclaim(void)
{
	char amount[32];

	snprintf(amount, sizeof(amount), "%zuM", (size_t)(1 + below(8)));
	/* What cannot be reclaimed is an error, and none to this test. */
	write_cgroup(GROUP, "memory.reclaim", amount);
}

static void resize(void)
{
	uint64_t size = initial_size - below(initial_size * 3 / 4 / MIB) * MIB;

	if (below(2))
		size = initial_size;
	snprintf(what + strlen(what), sizeof(what) - strlen(what), " to %llu MiB",
		 (unsigned long long)size / MIB);
	card_resize(size, false);
}

static bool has_shrunk(const void *unused)
{
	(void)unused;
	return card_value("target-physical-size") == card_value("physical-size");
}

static void await_resize(void)
{
	if (!no_reports && !no_trims)
		must(eventually(20, has_shrunk, NULL), "the host agrees to a shrink, in time");
}

static bool reports_came(const void *generation)
{
	return cram_bytes("generation") >= *(const uint64_t *)generation + 2;
}

/* As much as is assumed of a card, between two reports. */
static void grow_by_itself(void)
{
	const uint64_t generation = cram_bytes("generation");
	const uint64_t most = card_value("usable-size") >> 7;

	if (no_reports || overhead > 8 * MIB)
		return;
	overhead += below(most);
	card_overhead(overhead);
	must(eventually(20, reports_came, &generation), "there are reports");
}

static void grow_less(void)
{
	overhead = 0;
	card_overhead(0);
}

static void reports(void)
{
	static const char *const FAULTS[] = { "reports-stop", "reports-fail", "generation-stale",
					      "mailbox-busy" };
	static const char *fault;

	if (!no_reports) {
		/* What is paid for twice, as it was copied while a report was made, is settled
		 * first. */
		must(eventually(10, settled, NULL), "what came is settled");
		fault = FAULTS[below(COUNT(FAULTS))];
		clock_gettime(CLOCK_MONOTONIC, &silent_since);
	}
	snprintf(what + strlen(what), sizeof(what) - strlen(what), ": %s %s", fault,
		 no_reports ? "over" : "begins");
	card_fault(fault, !no_reports, 0);
	no_reports = !no_reports;
	/* One may be under way. */
	usleep(100000);
}

static void trims(void)
{
	card_fault("trim-refused", !no_trims, 0);
	no_trims = !no_trims;
	/* One may be under way. */
	usleep(200000);
	trimmed_before = cram_stat("frames_trimmed");
}

static void wait_a_while(void)
{
	usleep((unsigned int)below(600000));
}

static const struct {
	const char *name;
	unsigned int weight;
	void (*take)(void);
} STEPS[] = {
	{ "move_pages to the card:", 20, come },
	{ "mbind to the card:", 8, come_by_policy },
	{ "home:", 8, go },
	{ "writes:", 12, rewrite },
	{ "thrown away:", 5, throw_away },
	{ "fork:", 5, fork_and_write },
	{ "memory.reclaim", 5, reclaim },
	{ "resize", 5, resize },
	{ "await the new size", 5, await_resize },
	{ "overhead", 4, grow_by_itself },
	{ "no overhead", 1, grow_less },
	{ "reports", 3, reports },
	{ "trims", 3, trims },
	{ "wait", 3, wait_a_while },
};

static void take_step(void)
{
	unsigned int weights = 0, drawn;
	size_t i;

	for (i = 0; i < COUNT(STEPS); i++)
		weights += STEPS[i].weight;
	drawn = (unsigned int)below(weights);
	for (i = 0; drawn >= STEPS[i].weight; i++)
		drawn -= STEPS[i].weight;
	step++;
	snprintf(what, sizeof(what), "%s", STEPS[i].name);
	STEPS[i].take();
	for (int n = 0; n < 64; n++)
		page_right(below(COUNT(areas)), below(PAGES));
	compare();
}

static void set_up(void)
{
	areas[0].memory = map_anonymous(LENGTH);
	need(madvise(areas[0].memory, LENGTH, MADV_NOHUGEPAGE) == 0, "small pages: %m");
	areas[1].memory = map_huge(LENGTH);
	areas[2].memory = map_shared(LENGTH, &areas[2].fd);
	for (size_t area = 0; area < COUNT(areas); area++)
		write_pages(area, 0, PAGES);
	initial_size = card_value("physical-size");
	worst = card_value("worst-page-size");
	lag = card_value("reporting-lag");
}

static void all_well_again(void)
{
	snprintf(what, sizeof(what), "in the end");
	if (no_reports)
		reports();
	if (no_trims)
		trims();
	grow_less();
	card_resize(initial_size, false);
	for (size_t area = 0; area < COUNT(areas); area++)
		for (size_t page = 0; page < PAGES; page++)
			page_right(area, page);
	ok(true, "every page is what was written");
	compare();
	for (size_t area = 0; area < COUNT(areas); area++)
		munmap(areas[area].memory, LENGTH);
	close(areas[2].fd);
	/* Reclaim may have taken pages of this program's own, too. */
	migrate_pages(0, 64, &(unsigned long){ 1UL << cram_nid }, &(unsigned long){ 1UL << HOME });
	ok(cram_empties(60), "nothing is left there");
	compare();
	ok(cram_bytes("stored_bytes") == 0, "and nothing stored");
	ok(cram_becomes("normal", 30), "all is normal");
}

int main(int argc, char **argv)
{
	time_t until;

	need(argc == 2 || argc == 3, "usage: cram-walk SECONDS [SEED]");
	seed = argc == 3 ? strtoull(argv[2], NULL, 0) : (uint64_t)time(NULL);
	note("seed %llu", (unsigned long long)seed);
	random_state = seed * 2 + 1;
	cram_up();
	demotion(true);
	enter_cgroup(GROUP);
	write_cgroup(GROUP, "memory.cram.max", "max");
	leave_cgroup();
	set_up();
	for (until = time(NULL) + atol(argv[1]); time(NULL) < until || step < STEPS_MIN;)
		take_step();
	ok(true, "%u steps, and all adds up after each", step);
	all_well_again();
	return done();
}
