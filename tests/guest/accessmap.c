// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A workload with a known access map: memory cut into units, of which a seed chooses the hot ones.
 * Touches every page of the hot units all the time and no other. Writes the map, in guest-physical
 * runs, for a judge outside; the agent under test never sees seed or map. Ends by comparing what it
 * wrote, in every page, with what is there.
 *
 *   accessmap --mib N [--unit-kib K] [--hot-percent P] [--seed N] [--seconds N] [--map FILE]
 *             [--ratio N]
 *
 * One byte in --ratio is random, the rest 0: so much a page compresses. Without it one word in 32
 * is.
 *
 * SIGUSR1: the working set moves: the next seed chooses, and the map is written again.
 * SIGUSR2: enough; compare and end.
 * Prints "ready" when the map is written, "moved" after each move, "verified N pages" at the end.
 */
#include <fcntl.h>
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
#include <unistd.h>

#define PAGE  4096UL
#define ALIGN (2UL << 20)

/* One word in this many carries content: guests run in an emulated machine, where filling is slow.
 */
#define WORD_STEP 32

/* How often all hot pages are touched, nanoseconds. */
#define ROUND_NS 200000000L

struct map {
	volatile uint64_t *words;
	size_t pages, unit_pages;
	size_t words_used, word_step; /* of a page */
	unsigned int hot_percent;
	uint64_t seed;
};

static volatile sig_atomic_t move_wanted, end_wanted;

static void on_usr1(int signal)
{
	(void)signal;
	move_wanted = 1;
}

static void on_usr2(int signal)
{
	(void)signal;
	end_wanted = 1;
}

/* splitmix64 (Steele, Lea, Flood, OOPSLA 2014). */
static uint64_t mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15u;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

static bool is_hot(const struct map *m, size_t page)
{
	return mix(m->seed * 0x100000001b3u + page / m->unit_pages) % 100 < m->hot_percent;
}

static uint64_t content(size_t page, size_t word)
{
	return mix(page * 512 + word);
}

/* Runs of guest-physical pages and whether they are hot: "ADDRESS PAGES HOT", address in hex. */
static int write_map(const struct map *m, const char *path)
{
	int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t run_start = 0, run_pages = 0;
	char temporary[256];
	int run_hot = 0;
	FILE *f;

	snprintf(temporary, sizeof(temporary), "%s.new", path);
	f = fopen(temporary, "w");
	if (pagemap < 0 || !f) {
		perror("accessmap: pagemap or map file");
		return -1;
	}
	for (size_t page = 0; page < m->pages; page++) {
		uint64_t entry, gpa;
		uintptr_t address = (uintptr_t)m->words + page * PAGE;
		int hot = is_hot(m, page);

		if (pread(pagemap, &entry, sizeof(entry), (off_t)(address / PAGE * 8)) != 8 ||
		    !(entry >> 63) || !(entry & ((1ULL << 55) - 1))) {
			fprintf(stderr, "accessmap: page %zu has no frame\n", page);
			return -1;
		}
		gpa = (entry & ((1ULL << 55) - 1)) * PAGE;
		if (run_pages && gpa == run_start + run_pages * PAGE && hot == run_hot) {
			run_pages++;
			continue;
		}
		if (run_pages)
			fprintf(f, "%" PRIx64 " %" PRIu64 " %d\n", run_start, run_pages, run_hot);
		run_start = gpa;
		run_pages = 1;
		run_hot = hot;
	}
	fprintf(f, "%" PRIx64 " %" PRIu64 " %d\n", run_start, run_pages, run_hot);
	close(pagemap);
	return fclose(f) == 0 && rename(temporary, path) == 0 ? 0 : -1;
}

static double seconds_since(const struct timespec *start)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)(now.tv_sec - start->tv_sec) + 1e-9 * (double)(now.tv_nsec - start->tv_nsec);
}

static unsigned long number(const char *text, unsigned long low, unsigned long high)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	if (*text < '0' || *text > '9' || *end || value < low || value > high) {
		fprintf(stderr, "accessmap: %s: not a number from %lu to %lu\n", text, low, high);
		exit(2);
	}
	return value;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "mib", required_argument, NULL, 'm' },
		{ "unit-kib", required_argument, NULL, 'u' },
		{ "hot-percent", required_argument, NULL, 'p' },
		{ "seed", required_argument, NULL, 's' },
		{ "seconds", required_argument, NULL, 't' },
		{ "map", required_argument, NULL, 'o' },
		{ "ratio", required_argument, NULL, 'r' },
		{ 0 },
	};
	struct map m = {
		.unit_pages = 512,
		.words_used = 512,
		.word_step = WORD_STEP,
		.hot_percent = 30,
		.seed = 1,
	};
	const char *path = "/tmp/map";
	unsigned long mib = 0, seconds = 60;
	struct timespec start;
	uint64_t sum = 0;
	char *memory;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 'm':
			mib = number(optarg, 2, 1 << 20);
			break;
		case 'u':
			m.unit_pages = number(optarg, 4, 1 << 20) / 4;
			break;
		case 'p':
			m.hot_percent = (unsigned int)number(optarg, 0, 100);
			break;
		case 's':
			m.seed = number(optarg, 0, UINT32_MAX);
			break;
		case 't':
			seconds = number(optarg, 0, 86400);
			break;
		case 'r':
			m.words_used = 512 / number(optarg, 1, 512);
			m.word_step = 1;
			break;
		case 'o':
			path = optarg;
			break;
		default:
			return 2;
		}
	}
	if (!mib || optind != argc) {
		fprintf(stderr,
			"usage: accessmap --mib N [--unit-kib K] [--hot-percent P] [--seed N] "
			"[--seconds N] [--map FILE] [--ratio N]\n");
		return 2;
	}
	m.pages = mib << 8;
	memory = mmap(NULL, (mib << 20) + ALIGN, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED) {
		perror("accessmap: mmap");
		return 1;
	}
	memory = (char *)(((uintptr_t)memory + ALIGN - 1) & ~(ALIGN - 1));
	/* So that a unit of 2 MiB here is one of guest-physical memory too. */
	madvise(memory, mib << 20, MADV_HUGEPAGE);
	m.words = (uint64_t *)memory;
	for (size_t page = 0; page < m.pages; page++)
		for (size_t word = 0; word < m.words_used; word += m.word_step)
			m.words[page * 512 + word] = content(page, word);
	signal(SIGUSR1, on_usr1);
	signal(SIGUSR2, on_usr2);
	if (write_map(&m, path) < 0)
		return 1;
	printf("ready\n");
	fflush(stdout);
	clock_gettime(CLOCK_MONOTONIC, &start);
	while (!end_wanted && seconds_since(&start) < (double)seconds) {
		for (size_t page = 0; page < m.pages; page++) {
			if (!is_hot(&m, page))
				continue;
			/* Every eighth touch is a write, of what is there already. */
			if (page % 8)
				sum += m.words[page * 512];
			else
				m.words[page * 512] = content(page, 0);
		}
		if (move_wanted) {
			move_wanted = 0;
			m.seed++;
			if (write_map(&m, path) < 0)
				return 1;
			printf("moved\n");
			fflush(stdout);
		}
		nanosleep(&(struct timespec){ .tv_nsec = ROUND_NS }, NULL);
	}
	for (size_t page = 0; page < m.pages; page++)
		for (size_t word = 0; word < m.words_used; word += m.word_step)
			if (m.words[page * 512 + word] != content(page, word)) {
				fprintf(stderr, "accessmap: page %zu word %zu is damaged\n", page,
					word);
				return 1;
			}
	printf("verified %zu pages (%u)\n", m.pages, (unsigned int)(sum & 1));
	return 0;
}
