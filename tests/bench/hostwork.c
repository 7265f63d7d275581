// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Stands in for a guest at work: a memfd as its RAM, of which a part is worked on all the time and
 * the rest hardly ever. What follows the numbers is for whoever reads it, say the agent.
 *
 *   hostwork MIB HOT_PERCENT SEED [ANYTHING…]
 *
 * Prints "ready" and works in bursts, calmly. SIGHUP: from now on, or no longer, it looks for the
 * longest that an operation takes or a burst begins late. SIGUSR1: works as fast as it can for
 * SECONDS, prints "ops=N stall_ns=M" (operations in that time, and the longest of those) and is
 * calm again. SIGUSR2: compares all of its memory with what it wrote and ends with "verified" or
 * "damaged".
 */
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "../unit/random.h"

#define PAGE	   4096UL
#define WORDS	   (PAGE / sizeof(uint64_t))
#define NOISE	   (WORDS / 4) /* of a page: it compresses to about a quarter */
#define SECONDS	   4
#define BURST	   100	      /* operations, when calm ... */
#define BURST_NS   50000000UL /* ... apart */
#define COLD_EVERY 20000      /* operations to one on the rest */

struct work {
	uint64_t *words;
	size_t pages, hot;
	uint64_t seed, rng, ops;
	uint64_t stall_ns;
	uint64_t due; /* when the next burst begins; 0: at once */
};

static volatile sig_atomic_t fast, end, looks;

static void on_signal(int signal)
{
	looks ^= signal == SIGHUP;
	fast |= signal == SIGUSR1;
	end |= signal == SIGUSR2;
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static uint64_t mix(uint64_t x)
{
	return random_u64(&x);
}

static uint64_t word_at(const struct work *w, size_t page, size_t i)
{
	return i < NOISE ? mix(w->seed ^ (page * WORDS + i)) : w->seed;
}

/* Reads sixteen words of a page and writes one, as it was. */
static void operate(struct work *w)
{
	bool cold = ++w->ops % COLD_EVERY == 0;
	size_t first = cold ? w->hot : 0, n = cold ? w->pages - w->hot : w->hot, page;
	volatile uint64_t *words;

	w->rng = mix(w->rng);
	page = first + w->rng % n;
	words = w->words + page * WORDS;
	for (size_t i = 0; i < 16; i++)
		(void)words[i * 8];
	words[w->rng >> 32 & (NOISE - 1)] = word_at(w, page, w->rng >> 32 & (NOISE - 1));
}

static void stalled(struct work *w, uint64_t ns)
{
	if (looks && ns > w->stall_ns)
		w->stall_ns = ns;
}

static void be_calm(struct work *w)
{
	struct timespec due = { .tv_sec = (time_t)(w->due / 1000000000),
				.tv_nsec = (long)(w->due % 1000000000) };
	uint64_t start;

	if (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL) == EINTR)
		return;
	start = now_ns();
	if (w->due)
		stalled(w, start - w->due);
	w->due = start + BURST_NS;
	for (int i = 0; i < BURST; i++) {
		start = now_ns();
		operate(w);
		stalled(w, now_ns() - start);
	}
}

static void be_fast(struct work *w)
{
	uint64_t until = now_ns() + SECONDS * 1000000000UL, first = w->ops;

	while (now_ns() < until)
		for (int i = 0; i < 64; i++)
			operate(w);
	printf("ops=%llu stall_ns=%llu\n", (unsigned long long)(w->ops - first),
	       (unsigned long long)w->stall_ns);
	fflush(stdout);
	w->due = 0;
}

static bool is_whole(const struct work *w)
{
	for (size_t page = 0; page < w->pages; page++)
		for (size_t i = 0; i < WORDS; i++)
			if (w->words[page * WORDS + i] != word_at(w, page, i))
				return false;
	return true;
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_handler = on_signal };
	struct work w = {};
	size_t size;
	int fd;

	if (argc < 4) {
		fprintf(stderr, "usage: hostwork MIB HOT_PERCENT SEED [ANYTHING...]\n");
		return 2;
	}
	size = strtoul(argv[1], NULL, 10) << 20;
	w.pages = size / PAGE;
	w.hot = w.pages * strtoul(argv[2], NULL, 10) / 100;
	w.seed = w.rng = mix(strtoull(argv[3], NULL, 10));
	sigaction(SIGHUP, &action, NULL);
	sigaction(SIGUSR1, &action, NULL);
	sigaction(SIGUSR2, &action, NULL);
	fd = memfd_create("hostwork", MFD_CLOEXEC);
	if (fd < 0 || !w.hot || w.hot == w.pages || ftruncate(fd, (off_t)size) < 0) {
		perror("hostwork: memory");
		return 1;
	}
	w.words = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (w.words == MAP_FAILED) {
		perror("hostwork: mmap");
		return 1;
	}
	for (size_t page = 0; page < w.pages; page++)
		for (size_t i = 0; i < WORDS; i++)
			w.words[page * WORDS + i] = word_at(&w, page, i);
	puts("ready");
	fflush(stdout);
	while (!end) {
		be_calm(&w);
		if (fast) {
			fast = 0;
			be_fast(&w);
		}
	}
	puts(is_whole(&w) ? "verified" : "damaged");
	return 0;
}
