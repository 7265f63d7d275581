/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * CRAM in a storm. Two threads fill memory with data that compresses well and then rewrite
 * all of it with random bytes as fast as they can, in turns. Beside them pages are moved
 * to the card and home by mbind and move_pages, reclaimed, forked, thrown away and mapped
 * anew, and the card shrinks and grows. Each page is looked at before it is written
 * again, and all at the end. The kernel's counters have to keep the promise at every
 * look; whether they are true the card says.
 *
 *	cram-storm SECONDS [SEED [FAULT]]
 *
 * What each thread does follows from the seed ("any": from the time); when, does not. With a fault
 * of those in docs/design/cxl-compressed-card.md the card is out of reach all the time, in place of
 * changing its size: nothing comes to it any more, everything else goes on.
 */
#include "cram.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <numaif.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "card.h"

#define WRITERS 2
#define CHUNK	(2UL << 20)
#define CHUNKS	64 /* of each area: 128 MiB */
#define AREA	(CHUNKS * CHUNK)
#define PAGES	(AREA / PAGE)
#define GROUP	"cram-storm"

/*
 * What is written: two areas, of which each writer has one half. A page's version says
 * what is in it, 0: it was never written, or thrown away.
 */
static struct area {
	const char *name;
	char *memory;
	int fd; /* of a shared file, or -1 */
	uint32_t version[PAGES];
} areas[] = {
	{ .name = "anonymous", .fd = -1 },
	{ .name = "shared", .fd = -1 },
};

static uint64_t seed;
static atomic_bool stop, dense; /* dense: random bytes, for which the card has no room */
static atomic_ulong writes, moves, forks, discards, reclaims, bad;
/* Writers hold it shared, page by page; who forks wants them to hold still. */
static pthread_rwlock_t still;

/* The seed and the ratio of a page's version: even ones compress. */
static uint64_t seed_of(size_t area, size_t page, uint32_t version)
{
	return seed ^ ((uint64_t)version << 32 | area << 28 | page);
}

static unsigned int ratio_of(uint32_t version)
{
	return version == 0 ? 0 : version % 2 ? 1 : 4;
}

static bool page_right(size_t area, size_t page)
{
	const uint32_t version = areas[area].version[page];
	const char *address = areas[area].memory + page * PAGE;

	if (page_packed(address, seed_of(area, page, version), ratio_of(version)))
		return true;
	note("%s page %zu is not version %u, on node %d", areas[area].name, page, version,
	     node_of(address));
	atomic_fetch_add(&bad, 1);
	return false;
}

static void write_page(size_t area, size_t page, bool incompressible)
{
	uint32_t next = areas[area].version[page] + 1;

	/* Odd ones are those that do not compress. */
	next += (next % 2 == 1) != incompressible;
	pack_page(areas[area].memory + page * PAGE, seed_of(area, page, next), ratio_of(next));
	areas[area].version[page] = next;
	atomic_fetch_add(&writes, 1);
}

/* A chunk is thrown away: a hole in the file, or unmapped and mapped anew. */
static void discard(size_t area, size_t chunk)
{
	char *memory = areas[area].memory + chunk * CHUNK;

	if (areas[area].fd >= 0)
		need(fallocate(areas[area].fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			       (off_t)(chunk * CHUNK), CHUNK) == 0,
		     "punch a hole: %m");
	else
		need(mmap(memory, CHUNK, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == memory &&
			     (chunk % 2 || madvise(memory, CHUNK, MADV_HUGEPAGE) == 0),
		     "map anew: %m");
	memset(&areas[area].version[chunk * CHUNK / PAGE], 0,
	       CHUNK / PAGE * sizeof(*areas[area].version));
	atomic_fetch_add(&discards, 1);
}

static void *writer(void *argument)
{
	const size_t self = (size_t)argument;
	uint64_t random = seed * 31 + self + 1;

	for (size_t n = 0; !stop; n++) {
		/* All of its half, in order; a chunk now and then is thrown away instead. */
		const size_t area = n / PAGES % COUNT(areas);
		const size_t page = n % PAGES;

		if (page / (PAGES / WRITERS) != self)
			continue;
		pthread_rwlock_rdlock(&still);
		if (page % (CHUNK / PAGE) == 0 && draw(&random) % 16 == 0)
			discard(area, page / (CHUNK / PAGE));
		page_right(area, page);
		write_page(area, page, dense);
		pthread_rwlock_unlock(&still);
	}
	return NULL;
}

static void *mover(void *argument)
{
	uint64_t random = seed * 37 + (size_t)argument;

	while (!stop) {
		const uint64_t what = draw(&random);
		const size_t length = (1 + draw(&random) % 8) * 64 * PAGE;
		char *memory = areas[draw(&random) % COUNT(areas)].memory +
			       draw(&random) % (PAGES - length / PAGE) * PAGE;
		unsigned long card = 1UL << cram_nid, home = 1UL << HOME;
		long rc;

		switch (what % 8) {
		case 0:
			rc = move_to(memory, length, HOME);
			break;
		case 1:
			rc = bind_to(memory, length, MPOL_BIND, card, MPOL_MF_MOVE);
			break;
		case 2:
			rc = bind_to(memory, length, MPOL_BIND, card | home, 0);
			break;
		case 3:
			rc = bind_to(memory, length, MPOL_BIND, home, MPOL_MF_MOVE);
			break;
		default:
			rc = move_to(memory, length, cram_nid);
			break;
		}
		/* A full node, and a page that is not there, are no mistakes. */
		if (rc < 0 && rc != -ENOMEM && rc != -ENOENT && rc != -EBUSY && rc != -EAGAIN) {
			note("move %d of %zu bytes: %s", (int)(what % 8), length,
			     strerror((int)-rc));
			atomic_fetch_add(&bad, 1);
		}
		atomic_fetch_add(&moves, 1);
	}
	return NULL;
}

static void *reclaimer(void *argument)
{
	(void)argument;
	while (!stop) {
		/* What cannot be reclaimed is an error, and none to this test. */
		write_cgroup(GROUP, "memory.reclaim", "4M");
		atomic_fetch_add(&reclaims, 1);
		usleep(20000);
	}
	return NULL;
}

/* The anonymous area as it was when it was forked, and then written to. */
static bool child_right(uint64_t random)
{
	bool right = true;

	for (size_t i = 0; right && i < 4096; i++) {
		const size_t page = draw(&random) % PAGES;

		right = page_right(0, page);
		if (right && i % 8 == 0) {
			write_page(0, page, true);
			right = page_right(0, page);
		}
	}
	return right;
}

static void *forker(void *argument)
{
	uint64_t random = seed * 41;
	int status = 0;
	pid_t pid;

	(void)argument;
	while (!stop) {
		pthread_rwlock_wrlock(&still);
		pid = fork();
		if (pid == 0)
			_exit(child_right(random) ? 0 : 1);
		pthread_rwlock_unlock(&still);
		need(pid > 0 && waitpid(pid, &status, 0) == pid, "fork: %m");
		if (status) {
			note("a child saw something else: %#x", status);
			atomic_fetch_add(&bad, 1);
		}
		atomic_fetch_add(&forks, 1);
		draw(&random);
		usleep(200000);
	}
	return NULL;
}

/*
 * The judge
 */

static void tell(uint64_t last)
{
	note("%lu writes, %lu moves, %lu forks, %lu discarded, %lu reclaims; on the card %llu MiB, credit %llu KiB, %s",
	     writes, moves, forks, discards, reclaims,
	     (unsigned long long)cram_bytes("resident_bytes") >> 20,
	     (unsigned long long)cram_bytes("credit_bytes") >> 10, cram_state());
	need(writes != last, "something is still written");
}

/* A step at a time until the time is over; returns whether all was in order at each. */
static bool watch(time_t until)
{
	static const unsigned int PERCENT[] = { 100, 75, 100, 50, 90, 100 };
	struct cram_looks looks = { 0 };
	const uint64_t size = card_value("physical-size");
	uint64_t random = seed * 43, last = 0;
	bool kept = true;

	for (unsigned int step = 1; time(NULL) < until && !bad && kept; step++) {
		usleep(50000);
		dense = step / 40 % 2;
		/* All of it each fourth second: then the whole promise is judged. */
		if (step % 20 == 0) {
			const unsigned int draws = PERCENT[draw(&random) % COUNT(PERCENT)];

			card_resize(size * (step % 80 ? draws : 100) / 100 >> 20 << 20, false);
		}
		kept = cram_in_order(&looks);
		if (step % 100 == 0) {
			tell(last);
			last = writes;
		}
	}
	tell(0);
	card_resize(size, false);
	ok(cram_judged(&looks), "the card was not about to shrink all the time");
	return kept;
}

/*
 * A page that is on the card, to be written to. Of the file: writers that are slow never leave
 * the anonymous area in the time that there is, and what was forked is copied, not promoted.
 */
static bool written_goes_home(void)
{
	bool home = false;

	pthread_rwlock_wrlock(&still);
	for (size_t page = 0; page < PAGES; page++) {
		const char *address = areas[1].memory + page * PAGE;

		if (node_of(address) != cram_nid)
			continue;
		write_page(1, page, true);
		home = node_of(address) == HOME && page_right(1, page);
		break;
	}
	pthread_rwlock_unlock(&still);
	return home;
}

/*
 * The same with a card that does not answer: once that is noticed, what was given is
 * taken back, and not a page comes.
 */
static bool watch_silence(const char *fault, time_t until)
{
	uint64_t last = 0, written = 0;
	bool kept = true, home = false;

	for (unsigned int step = 1; time(NULL) < until && !bad && kept; step++) {
		usleep(50000);
		dense = step / 40 % 2;
		kept = cram_promise_holds();
		if (!written && cram_state_is("stale") && cram_bytes("credit_bytes") == 0) {
			written = cram_stat("frames_written");
			note("stale after %u looks", step);
			home = written_goes_home();
		}
		if (written)
			kept = kept && cram_state_is("stale") && cram_bytes("credit_bytes") == 0 &&
			       cram_stat("frames_written") == written;
		if (step % 100 == 0) {
			tell(last);
			last = writes;
		}
	}
	tell(0);
	ok(written != 0, "%s: stale, and all credit taken back", fault);
	ok(home, "%s: what is written goes home all the same", fault);
	written = cram_stat("frames_written");
	card_fault(fault, false, 0);
	for (int i = 0; i < 300 && cram_stat("frames_written") == written; i++)
		usleep(100000);
	ok(cram_stat("frames_written") > written, "%s over: pages come again", fault);
	return kept;
}

static void set_up(void)
{
	areas[0].memory = map_huge(AREA);
	/* Huge pages and small ones. */
	for (size_t i = 1; i < CHUNKS; i += 2)
		need(madvise(areas[0].memory + i * CHUNK, CHUNK, MADV_NOHUGEPAGE) == 0,
		     "small pages: %m");
	areas[1].memory = map_shared(AREA, &areas[1].fd);
	for (size_t area = 0; area < COUNT(areas); area++)
		for (size_t page = 0; page < PAGES; page++)
			write_page(area, page, false);
}

/* As much as fits, before anything else begins. */
static void fill_card(void)
{
	size_t there = 0, last;

	do {
		last = there;
		for (size_t area = 0; area < COUNT(areas); area++)
			for (size_t i = 0; i < AREA; i += CHUNK)
				if (node_of(areas[area].memory + i + CHUNK - PAGE) != cram_nid)
					move_to(areas[area].memory + i, CHUNK, cram_nid);
		usleep(200000);
		there = cram_bytes("resident_bytes") / PAGE;
	} while (there > last);
	ok(there * PAGE > cram_bytes("physical_bytes") * 2 && there < 2 * PAGES,
	   "the card is full, with %zu of %zu MiB", there >> 8, 2 * PAGES >> 8);
	ok(cram_promise_holds(), "within what it has");
}

int main(int argc, char **argv)
{
	pthread_t threads[WRITERS + 4];
	pthread_rwlockattr_t attributes;
	size_t n = 0, wrong = 0;
	time_t until;
	bool kept;

	need(argc >= 2 && argc <= 4, "usage: cram-storm SECONDS [SEED [FAULT]]");
	seed = argc >= 3 && strcmp(argv[2], "any") ? strtoull(argv[2], NULL, 0)
						   : (uint64_t)time(NULL);
	note("seed %llu", (unsigned long long)seed);
	/* Who forks would wait for ever otherwise. */
	pthread_rwlockattr_init(&attributes);
	pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&still, &attributes);

	cram_up();
	demotion(true);
	enter_cgroup(GROUP);
	write_cgroup(GROUP, "memory.cram.max", "max");
	set_up();
	fill_card();
	if (argc == 4)
		card_fault(argv[3], true, 0);

	for (size_t i = 0; i < WRITERS; i++)
		pthread_create(&threads[n++], NULL, writer, (void *)i);
	for (size_t i = 0; i < 2; i++)
		pthread_create(&threads[n++], NULL, mover, (void *)i);
	pthread_create(&threads[n++], NULL, reclaimer, NULL);
	pthread_create(&threads[n++], NULL, forker, NULL);
	until = time(NULL) + atol(argv[1]);
	kept = argc == 4 ? watch_silence(argv[3], until) : watch(until);
	stop = true;
	while (n)
		pthread_join(threads[--n], NULL);

	ok(kept, "the promise held at every look");
	ok(bad == 0, "no page was ever another than written, no call failed that must not");
	for (size_t area = 0; area < COUNT(areas); area++)
		for (size_t page = 0; page < PAGES; page++)
			wrong += !page_right(area, page);
	ok(wrong == 0, "nor is any at the end (%zu)", wrong);
	ok(card_value("peak-excess") == 0, "the card was never asked for more than it has");
	ok(card_value("over-capacity-pages") == 0, "and lost nothing");
	for (size_t area = 0; area < COUNT(areas); area++)
		munmap(areas[area].memory, AREA);
	close(areas[1].fd);
	/* Reclaim takes this program's own pages, too. */
	need(migrate_pages(0, 64, &(unsigned long){ 1UL << cram_nid },
			   &(unsigned long){ 1UL << HOME }) >= 0,
	     "migrate_pages home: %m");
	ok(cram_empties(60), "nothing is left there");
	ok(cram_becomes("normal", 30), "and all is normal");
	return done();
}
