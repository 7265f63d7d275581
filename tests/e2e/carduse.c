// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What the RAM of guests takes on the first card that compresses, by the card's own word: pagemap
 * says which frames it is, the region which addresses of the card these are, and the card what it
 * stores there (Get Range Usage). Shares nothing with the agent or the kernel that it judges.
 *
 *   carduse PID…            a line for each: "PID pages=N stored=BYTES"
 *   carduse --every MS PID…  the same for ever, so often, each line after the milliseconds of the
 *                            host's uptime; ends when a process does, or is killed
 */
#include <fcntl.h>
#include <inttypes.h>
#include <linux/cxl_mem.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#define PAGE		4096UL
#define GET_RANGE_USAGE 0xc004
#define CHUNK		4096

static int card = -1;
static uint64_t first_frame, end_frame; /* of the card */

static void fail(const char *what)
{
	fprintf(stderr, "carduse: %s: %m\n", what);
	exit(1);
}

static uint64_t region_number(const char *name)
{
	char path[64], text[64] = "";
	int fd;

	snprintf(path, sizeof(path), "/sys/bus/cxl/devices/region0/%s", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0)
		fail(path);
	close(fd);
	return strtoull(text, NULL, 0);
}

/* The kernel warns of the first raw command, as it should; a test's log must not have it. */
static void console_level(const char *level)
{
	int fd = open("/proc/sys/kernel/printk", O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, level, strlen(level)) < 0)
		fail("/proc/sys/kernel/printk");
	close(fd);
}

static uint64_t range_takes(uint64_t frame, uint64_t frames)
{
	const uint64_t range[2] = { (frame - first_frame) * PAGE, frames * PAGE };
	uint64_t usage[4] = { 0 };
	struct cxl_send_command command = {
		.id = CXL_MEM_COMMAND_ID_RAW,
		.raw.opcode = GET_RANGE_USAGE,
		.in = { .size = sizeof(range), .payload = (uintptr_t)range },
		.out = { .size = sizeof(usage), .payload = (uintptr_t)usage },
	};

	if (ioctl(card, CXL_MEM_SEND_COMMAND, &command) < 0)
		fail("Get Range Usage");
	if (command.retval != 0 || command.out.size != sizeof(usage)) {
		fprintf(stderr, "carduse: the card refuses Get Range Usage: %u\n", command.retval);
		exit(1);
	}
	return usage[0];
}

/* Marks in @there, a bit for each frame of the card, what is mapped from @start to @end. */
static void mark_mapping(uint64_t *there, int pagemap, uint64_t start, uint64_t end)
{
	static uint64_t entries[CHUNK];

	for (uint64_t at = start; at < end; at += CHUNK * PAGE) {
		size_t n = (end - at) / PAGE < CHUNK ? (end - at) / PAGE : CHUNK;

		if (pread(pagemap, entries, n * 8, (off_t)(at / PAGE * 8)) != (ssize_t)(n * 8))
			fail("pagemap");
		for (size_t i = 0; i < n; i++) {
			uint64_t frame = entries[i] & ((1ULL << 55) - 1);

			if (entries[i] >> 63 && frame >= first_frame && frame < end_frame)
				there[(frame - first_frame) / 64] |= UINT64_C(1)
								     << (frame - first_frame) % 64;
		}
	}
}

static bool is_marked(const uint64_t *there, uint64_t i)
{
	return there[i / 64] >> i % 64 & 1;
}

/* Whatever of @pid is on the card counts, not only what is known to be guest RAM. */
static void judge(pid_t pid)
{
	const uint64_t n = end_frame - first_frame;
	uint64_t *there = calloc((n + 63) / 64, sizeof(*there)), pages = 0, stored = 0;
	char path[64], line[4096];
	int pagemap;
	FILE *maps;

	if (!there)
		fail("memory");
	snprintf(path, sizeof(path), "/proc/%d/pagemap", (int)pid);
	pagemap = open(path, O_RDONLY | O_CLOEXEC);
	if (pagemap < 0)
		fail(path);
	snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	maps = fopen(path, "re");
	if (!maps)
		fail(path);
	while (fgets(line, sizeof(line), maps)) {
		uint64_t start, end;

		if (sscanf(line, "%" SCNx64 "-%" SCNx64, &start, &end) == 2 && start >> 63 == 0)
			mark_mapping(there, pagemap, start, end);
	}
	fclose(maps);
	close(pagemap);
	/* A command for each run of frames. */
	for (uint64_t first = 0, end; first < n; first = end + 1) {
		for (end = first; end < n && is_marked(there, end);)
			end++;
		if (end == first)
			continue;
		pages += end - first;
		stored += range_takes(first_frame + first, end - first);
	}
	printf("%d pages=%" PRIu64 " stored=%" PRIu64 "\n", (int)pid, pages, stored);
	free(there);
}

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_BOOTTIME, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

int main(int argc, char **argv)
{
	uint64_t every = 0, due;
	int first = 1;

	if (argc > 3 && !strcmp(argv[1], "--every")) {
		every = strtoull(argv[2], NULL, 10);
		first = 3;
	}
	if (argc < 2 || (argc > 1 && argv[1][0] == '-' && !every)) {
		fprintf(stderr, "usage: carduse [--every MS] PID...\n");
		return 2;
	}
	first_frame = region_number("resource") / PAGE;
	end_frame = first_frame + region_number("size") / PAGE;
	card = open("/dev/cxl/mem0", O_RDWR | O_CLOEXEC);
	if (card < 0)
		fail("/dev/cxl/mem0");
	console_level("1");
	range_takes(first_frame, 1);
	console_level("5");
	due = now_ms();
	do {
		uint64_t now = now_ms();

		for (int i = first; i < argc; i++) {
			if (every)
				printf("%" PRIu64 " ", now);
			judge((pid_t)strtol(argv[i], NULL, 10));
		}
		fflush(stdout);
		due += every;
		now = now_ms();
		if (due > now)
			usleep((useconds_t)(due - now) * 1000);
		else
			due = now;
	} while (every);
	return 0;
}
