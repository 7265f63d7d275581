// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What people run where nothing does it for them: a scan of all memory of some processes by idle
 * page tracking. A round reads the pagemap of every shared mapping, asks which frames were not used
 * since the round before, and marks all of them anew. By hand, to the agent's own code it owes
 * nothing.
 *
 *   bench-idlescan ROUNDS PID…    prints "PAGES IDLE NANOSECONDS": pages of a round, how many of
 * them were idle in the last one, and processor time of a round (mean)
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PAGE	4096
#define BATCH	512
#define PRESENT (UINT64_C(1) << 63)
#define FRAME	((UINT64_C(1) << 55) - 1)

static int bitmap;
static uint64_t pages, idle;

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

/* A word of the bitmap is 64 frames; neighbours in memory are mostly neighbours there. */
static void look_at_word(uint64_t word, uint64_t frames)
{
	uint64_t bits;

	if (!frames)
		return;
	if (pread(bitmap, &bits, sizeof(bits), (off_t)(word * sizeof(bits))) != sizeof(bits))
		fail("idlescan: read bitmap");
	idle += (uint64_t)__builtin_popcountll(bits & frames);
	if (pwrite(bitmap, &frames, sizeof(frames), (off_t)(word * sizeof(frames))) !=
	    sizeof(frames))
		fail("idlescan: write bitmap");
}

static void look(int pagemap, uint64_t start, uint64_t end)
{
	uint64_t entries[BATCH], word = 0, frames = 0;

	for (uint64_t at = start; at < end; at += (uint64_t)BATCH * PAGE) {
		uint64_t n = (end - at) / PAGE < BATCH ? (end - at) / PAGE : BATCH;
		ssize_t size = (ssize_t)(n * sizeof(entries[0]));

		if (pread(pagemap, entries, (size_t)size, (off_t)(at / PAGE * 8)) != size)
			fail("idlescan: pagemap");
		for (uint64_t i = 0; i < n; i++) {
			uint64_t frame = entries[i] & FRAME;

			if (!(entries[i] & PRESENT) || !frame)
				continue;
			if (frame / 64 != word) {
				look_at_word(word, frames);
				word = frame / 64;
				frames = 0;
			}
			frames |= UINT64_C(1) << frame % 64;
			pages++;
		}
	}
	look_at_word(word, frames);
}

static void scan(const char *pid)
{
	char path[64], line[512];
	int pagemap;
	FILE *maps;

	snprintf(path, sizeof(path), "/proc/%s/maps", pid);
	maps = fopen(path, "re");
	snprintf(path, sizeof(path), "/proc/%s/pagemap", pid);
	pagemap = open(path, O_RDONLY | O_CLOEXEC);
	if (!maps || pagemap < 0)
		fail("idlescan: process");
	while (fgets(line, sizeof(line), maps)) {
		char *end;
		uint64_t start = strtoull(line, &end, 16);

		if (strstr(line, "memfd:"))
			look(pagemap, start, strtoull(end + 1, NULL, 16));
	}
	close(pagemap);
	fclose(maps);
}

static uint64_t processor_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

int main(int argc, char **argv)
{
	int rounds = argc > 2 ? atoi(argv[1]) : 0;
	uint64_t start;

	if (rounds <= 0) {
		fputs("usage: bench-idlescan ROUNDS PID…\n", stderr);
		return 2;
	}
	bitmap = open("/sys/kernel/mm/page_idle/bitmap", O_RDWR | O_CLOEXEC);
	if (bitmap < 0)
		fail("idlescan: page_idle");
	start = processor_ns();
	for (int round = 0; round < rounds; round++) {
		pages = idle = 0;
		for (int i = 2; i < argc; i++)
			scan(argv[i]);
	}
	printf("%" PRIu64 " %" PRIu64 " %" PRIu64 "\n", pages, idle,
	       (processor_ns() - start) / (uint64_t)rounds);
	return 0;
}
