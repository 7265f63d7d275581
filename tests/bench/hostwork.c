// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Stands in for a guest at work: a memfd as its RAM, of which a part is worked on all the time and
 * the rest hardly ever. What follows the numbers is for whoever reads it, say the agent.
 *
 *   hostwork MIB HOT_PERCENT SEED [ANYTHING…]
 *
 * Prints "ready" and works in bursts, calmly. SIGUSR1: works as fast as it can for SECONDS, then
 * prints "ops=N worst_ns=M" (operations in that time; the longest of one while it was calm) and is
 * calm again. SIGUSR2: compares all of its memory with what it wrote and ends with "verified" or
 * "damaged".
 */
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
#define BURST	   100	     /* operations, when calm ... */
#define BURST_NS   50000000L /* ... apart */
#define COLD_EVERY 20000     /* operations to one on the rest */

struct work {
	uint64_t *words;
	size_t pages, hot;
	uint64_t seed, rng, ops;
	uint64_t worst_ns;
};

static volatile sig_atomic_t fast, end;

static void on_signal(int signal)
{
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

static void be_calm(struct work *w)
{
	static const struct timespec pause = { .tv_nsec = BURST_NS };

	for (int i = 0; i < BURST; i++) {
		uint64_t start = now_ns(), took;

		operate(w);
		took = now_ns() - start;
		if (took > w->worst_ns)
			w->worst_ns = took;
	}
	nanosleep(&pause, NULL);
}

static void be_fast(struct work *w)
{
	uint64_t until = now_ns() + SECONDS * 1000000000UL, first = w->ops;

	while (now_ns() < until)
		for (int i = 0; i < 64; i++)
			operate(w);
	printf("ops=%llu worst_ns=%llu\n", (unsigned long long)(w->ops - first),
	       (unsigned long long)w->worst_ns);
	fflush(stdout);
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
