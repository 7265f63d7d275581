// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A workload whose memory can be verified: fills pages with data that follows
 * from a seed, keeps some of them hot, and at the end compares every byte.
 *
 *   memload --mib N [--hot-mib N] [--ratio N] [--seed N] [--seconds N] [--write PERMILLE]
 *           [--then N]
 *
 * --ratio is how well the data compresses (1: not at all, 4: a quarter is random).
 * --then is how well it does when it is rewritten, which begins on SIGUSR1.
 * SIGUSR2 ends that before its time.
 * Prints "ready" when filled and "verified N pages" at the end; exits 1 on the
 * first damaged page. Not a benchmark.
 */
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define PAGE_SIZE  4096u
#define PAGE_WORDS (PAGE_SIZE / sizeof(uint64_t))

struct load {
	uint64_t *words;
	uint32_t *version; /* of each page: how often it was rewritten */
	size_t pages, hot;
	uint64_t seed;
	unsigned int ratio, then, write_permille; /* ratios as filled, as rewritten */
};

/* splitmix64 (Steele, Lea, Flood, OOPSLA 2014). */
static uint64_t mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15u;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

static uint64_t word_at(const struct load *load, size_t page, size_t i)
{
	uint64_t state = load->seed ^ mix(page * 0x10001 + load->version[page]);
	unsigned int ratio = load->version[page] ? load->then : load->ratio;

	/* The first 1/ratio of a page is noise, the rest one repeated value. */
	return mix(state + (i < PAGE_WORDS / ratio ? i : PAGE_WORDS));
}

static void fill(struct load *load, size_t page)
{
	for (size_t i = 0; i < PAGE_WORDS; i++)
		load->words[page * PAGE_WORDS + i] = word_at(load, page, i);
}

static int verify(const struct load *load, size_t page)
{
	for (size_t i = 0; i < PAGE_WORDS; i++) {
		uint64_t want = word_at(load, page, i), have = load->words[page * PAGE_WORDS + i];

		if (have != want) {
			fprintf(stderr,
				"memload: page %zu word %zu: %016" PRIx64 ", should be %016" PRIx64
				"\n",
				page, i, have, want);
			return -1;
		}
	}
	return 0;
}

static volatile sig_atomic_t enough;

static void on_usr2(int signal)
{
	(void)signal;
	enough = 1;
}

static void keep_hot(struct load *load, double seconds)
{
	struct timespec start, t;
	uint64_t random = load->seed;
	volatile uint64_t sink = 0;

	clock_gettime(CLOCK_MONOTONIC, &start);
	do {
		for (size_t n = 0; n < load->hot; n++) {
			size_t page;

			random = mix(random);
			page = random % load->hot;
			sink += load->words[page * PAGE_WORDS];
			if ((random >> 32) % 1000 < load->write_permille) {
				/* What was lost before would not be missed after. */
				if (verify(load, page) < 0)
					exit(1);
				load->version[page]++;
				fill(load, page);
			}
		}
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
		clock_gettime(CLOCK_MONOTONIC, &t);
	} while (!enough &&
		 (double)(t.tv_sec - start.tv_sec) + 1e-9 * (double)(t.tv_nsec - start.tv_nsec) <
			 seconds);
}

static unsigned long number(const char *text, const char *name, unsigned long low,
			    unsigned long high)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	if (*text < '0' || *text > '9' || *end || value < low || value > high) {
		fprintf(stderr, "memload: %s %s: not a number from %lu to %lu\n", name, text, low,
			high);
		exit(2);
	}
	return value;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "mib", required_argument, NULL, 'm' },
		{ "hot-mib", required_argument, NULL, 'h' },
		{ "ratio", required_argument, NULL, 'r' },
		{ "seed", required_argument, NULL, 's' },
		{ "seconds", required_argument, NULL, 't' },
		{ "write", required_argument, NULL, 'w' },
		{ "then", required_argument, NULL, 'n' },
		{ 0 },
	};
	struct load load = { .seed = 1, .ratio = 2 };
	unsigned long mib = 0, hot_mib = 0, seconds = 0;
	int option, signal;
	bool wait = false;
	sigset_t begin;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 'm':
			mib = number(optarg, "--mib", 1, 1 << 20);
			break;
		case 'h':
			hot_mib = number(optarg, "--hot-mib", 0, 1 << 20);
			break;
		case 'r':
			load.ratio = (unsigned int)number(optarg, "--ratio", 1, 512);
			break;
		case 's':
			load.seed = number(optarg, "--seed", 0, UINT32_MAX);
			break;
		case 't':
			seconds = number(optarg, "--seconds", 0, 86400);
			break;
		case 'w':
			load.write_permille = (unsigned int)number(optarg, "--write", 0, 1000);
			break;
		case 'n':
			load.then = (unsigned int)number(optarg, "--then", 1, 512);
			wait = true;
			break;
		default:
			return 2;
		}
	}
	if (mib == 0 || hot_mib > mib || optind != argc) {
		fprintf(stderr, "usage: memload --mib N [--hot-mib N] [--ratio N] [--seed N] "
				"[--seconds N] [--write PERMILLE] [--then N]\n");
		return 2;
	}
	if (!wait)
		load.then = load.ratio;
	sigemptyset(&begin);
	sigaddset(&begin, SIGUSR1);
	sigprocmask(SIG_BLOCK, &begin, NULL);
	sigaction(SIGUSR2, &(struct sigaction){ .sa_handler = on_usr2 }, NULL);
	load.pages = mib << 8;
	load.hot = hot_mib << 8;
	load.words = mmap(NULL, load.pages * PAGE_SIZE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	load.version = calloc(load.pages, sizeof(*load.version));
	if (load.words == MAP_FAILED || !load.version) {
		fprintf(stderr, "memload: %lu MiB: out of memory\n", mib);
		return 1;
	}
	for (size_t page = 0; page < load.pages; page++)
		fill(&load, page);
	printf("ready\n");
	fflush(stdout);
	if (wait)
		sigwait(&begin, &signal);
	if (load.hot)
		keep_hot(&load, (double)seconds);
	else
		nanosleep(&(struct timespec){ .tv_sec = (time_t)seconds }, NULL);
	for (size_t page = 0; page < load.pages; page++) {
		if (verify(&load, page) < 0)
			return 1;
	}
	printf("verified %zu pages\n", load.pages);
	return 0;
}
