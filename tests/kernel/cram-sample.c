/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * memory.cram.stat: what each cgroup's pages take on the card. The judge is the card itself,
 * which is asked what it stores at the addresses of the cgroup's frames.
 *
 *   cram-sample           on a small card, with mixtures measured more closely than by default
 *   cram-sample default   with as few pages measured as by default, and so much more memory; on a
 *                         card of 1 GiB that can store half of it
 */
#include "cram.h"

#include <fcntl.h>
#include <linux/cxl_mem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "card.h"

#define GET_RANGE_USAGE 0xc004
#define MIB		(1UL << 20)

/*
 * The card's word
 */

struct range_usage {
	uint64_t stored, pages, lost, unsettled;
};

/* What the card stores of a range of its addresses. */
static uint64_t range_takes(uint64_t start, uint64_t length)
{
	static int card = -1;
	const uint64_t range[2] = { start, length };
	struct range_usage usage = { 0 };
	struct cxl_send_command command = {
		.id = CXL_MEM_COMMAND_ID_RAW,
		.raw.opcode = GET_RANGE_USAGE,
		.in = { .size = sizeof(range), .payload = (uintptr_t)range },
		.out = { .size = sizeof(usage), .payload = (uintptr_t)&usage },
	};
	int rc;

	if (card < 0) {
		card = open("/dev/cxl/mem0", O_RDWR | O_CLOEXEC);
		need(card >= 0, "/dev/cxl/mem0: %m");
		/* The kernel warns of the first such command, as it should. This is it. */
		need(write_file("/proc/sys/kernel/printk", "1") == 0, "a quiet console");
		rc = ioctl(card, CXL_MEM_SEND_COMMAND, &command);
		need(write_file("/proc/sys/kernel/printk", "5") == 0, "the console again");
	} else {
		rc = ioctl(card, CXL_MEM_SEND_COMMAND, &command);
	}
	need(rc == 0 && command.retval == 0 && command.out.size == sizeof(usage),
	     "the card says what it stores at %#llx: %d, %u: %m", (unsigned long long)start, rc,
	     command.retval);
	return usage.stored;
}

static int by_number(const void *a, const void *b)
{
	const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* What it stores of memory that is all there. */
static uint64_t takes(const void *memory, size_t length)
{
	const size_t nr = length / PAGE;
	const uint64_t start =
		strtoull(read_file("/sys/bus/cxl/devices/region0/resource"), NULL, 0);
	uint64_t *frame = calloc(nr, sizeof(*frame)), sum = 0;

	need(frame && start, "the region is at an address");
	frames_of(memory, length, frame);
	qsort(frame, nr, sizeof(*frame), by_number);
	need(frame[0] >= start / PAGE, "the memory is all on the card");
	for (size_t first = 0, i = 1; i <= nr; i++) {
		if (i < nr && frame[i] == frame[i - 1] + 1)
			continue;
		sum += range_takes(frame[first] * PAGE - start, (i - first) * PAGE);
		first = i;
	}
	free(frame);
	return sum;
}

/*
 * The kernel's
 */

/* A number of a line of memory.cram.stat, which has one for each card. */
static uint64_t stat_of(const char *cgroup, const char *key)
{
	char path[128], word[64], node[16], *line, *value;

	snprintf(path, sizeof(path), "/sys/fs/cgroup/%s/memory.cram.stat", cgroup);
	snprintf(word, sizeof(word), "%s ", key);
	snprintf(node, sizeof(node), " N%d=", cram_nid);
	line = read_file(path);
	while (line && strncmp(line, word, strlen(word)) != 0) {
		line = strchr(line, '\n');
		line = line ? line + 1 : NULL;
	}
	value = line ? strstr(line, node) : NULL;
	need(value != NULL, "%s: memory.cram.stat has %s of node %d", cgroup, key, cram_nid);
	return strtoull(value + strlen(node), NULL, 10);
}

static uint64_t resident(const char *cgroup)
{
	return strtoull(cgroup_text(cgroup, "memory.cram.current"), NULL, 10);
}

static int set_interval(const char *text)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/devices/system/node/node%d/cram/sample_interval",
		 cram_nid);
	return write_file(path, text);
}

static void measure_one_in(const char *interval)
{
	int rc = set_interval(interval);

	need(rc == 0, "one page in %s is to be measured (%d)", interval, rc);
}

/* What was written is known, and what was freed forgotten, by the report in force. */
static bool is_known(const void *ret_generation)
{
	uint64_t *since = (uint64_t *)ret_generation;

	if (cram_bytes("unsettled_bytes") || cram_bytes("quarantined_bytes"))
		*since = 0;
	else if (!*since)
		*since = cram_bytes("generation");
	return *since && cram_bytes("generation") > *since + 1;
}

static void wait_for_report(void)
{
	uint64_t since = 0;

	need(eventually(30, is_known, &since), "a report knows all that has happened");
}

static bool nothing_measured(const void *unused)
{
	(void)unused;
	return cram_bytes("sampled_bytes") == 0;
}

/*
 * Memory of a cgroup, on the card
 */

/* Pages of four ratios, one after the other. */
typedef const unsigned int mixture[4];

enum kind {
	SMALL,
	WHOLE,
	FILE_BACKED
};

static void pack_mixture(char *memory, size_t length, mixture mix)
{
	for (size_t i = 0; i < length / PAGE; i++)
		pack_page(memory + i * PAGE, i, mix[i % 4]);
}

static char *map_kind(enum kind kind, size_t length)
{
	char *memory;
	int fd;

	switch (kind) {
	case WHOLE:
		return map_huge(length);
	case FILE_BACKED:
		memory = map_shared(length, &fd);
		close(fd);
		return memory;
	default:
		memory = map_anonymous(length);
		need(madvise(memory, length, MADV_NOHUGEPAGE) == 0, "small pages: %m");
		return memory;
	}
}

/* Room comes by reports. */
static void all_there(char *memory, size_t length)
{
	for (int i = 0; i < 200; i++) {
		if (pages_on(memory, length, cram_nid) == length / PAGE)
			return;
		need(move_to(memory, length, cram_nid) >= 0, "move_pages to the card");
		usleep(50000);
	}
	need(false, "all pages are there");
}

static char *memory_of(const char *cgroup, enum kind kind, size_t length, mixture mix)
{
	char *memory;

	need(write_cgroup(cgroup, "memory.cram.max", "max") == 0, "%s may have it", cgroup);
	enter_cgroup(cgroup);
	memory = map_kind(kind, length);
	pack_mixture(memory, length, mix);
	leave_cgroup();
	all_there(memory, length);
	return memory;
}

static void all_gone(void)
{
	need(cram_empties(30), "nothing is left there");
	ok(eventually(2, nothing_measured, NULL), "nothing that is measured is left (%llu bytes)",
	   (unsigned long long)cram_bytes("sampled_bytes"));
}

/*
 * What the kernel takes for a cgroup's is what the card stores, but for a tenth. It shares out what
 * the report in force says, which may leave out the newest writes.
 */
static void is_true(const char *cgroup, const char *memory, size_t length)
{
	const double told = (double)cram_bytes("stored_bytes") /
			    (double)range_takes(0, cram_bytes("logical_bytes"));
	const uint64_t is = (uint64_t)((double)takes(memory, length) * told),
		       said = stat_of(cgroup, "device_bytes");
	const double error = ((double)said - (double)is) / (double)is;

	ok(error < 0.1 && error > -0.1,
	   "%s: the card tells of %llu KiB, the kernel says %llu: %+.1f %%", cgroup,
	   (unsigned long long)is >> 10, (unsigned long long)said >> 10, 100 * error);
}

/*
 * Three cgroups with different data, of different kinds
 */

static const char *const NAMES[] = { "one", "two", "three" };

static void three(const char *what, const char *interval, unsigned int turn, size_t length,
		  mixture mixtures[3])
{
	uint64_t sum = 0, pages = 0;
	char *memory[3];

	note("%s, one page in %s", what, interval);
	measure_one_in(interval);
	for (unsigned int i = 0; i < 3; i++) {
		make_cgroup(NAMES[i]);
		memory[i] = memory_of(NAMES[i], (i + turn) % 3, length, mixtures[i]);
	}
	wait_for_report();
	for (unsigned int i = 0; i < 3; i++) {
		is_true(NAMES[i], memory[i], length);
		sum += stat_of(NAMES[i], "sampled_bytes");
		pages += stat_of(NAMES[i], "sampled");
	}
	ok(sum == cram_bytes("sampled_bytes"), "what each has measured is what the card has");
	ok(pages > 3 * length / PAGE / (unsigned int)atoi(interval) * 9 / 10 &&
		   pages < 3 * length / PAGE / (unsigned int)atoi(interval) * 11 / 10,
	   "as many as there should be (%llu)", (unsigned long long)pages);

	/* While frames cannot be trimmed the card goes on storing what was the first one's. */
	card_fault("trim-refused", true, 0);
	munmap(memory[0], length);
	ok(stat_of(NAMES[0], "sampled") == 0 && stat_of(NAMES[0], "device_bytes") == 0,
	   "%s, gone, has nothing", NAMES[0]);
	ok(sum == cram_bytes("sampled_bytes"), "what it had is not forgotten");
	usleep(600000);
	is_true(NAMES[1], memory[1], length);
	card_fault("trim-refused", false, 0);

	/* Of the second half of it comes home. */
	pack_mixture(memory[1], length / 2, mixtures[1]);
	wait_for_report();
	is_true(NAMES[1], memory[1] + length / 2, length / 2);
	munmap(memory[1], length);
	munmap(memory[2], length);
	all_gone();
	for (unsigned int i = 0; i < 3; i++)
		remove_cgroup(NAMES[i]);
}

/*
 * Every page measured: nothing is left to chance, and sums have to be exact.
 */

static void exact(const char *cgroup, const char *when)
{
	/* Waits for those that were freed a moment ago. */
	used_pages(cram_nid);
	ok(stat_of(cgroup, "sampled") * PAGE == resident(cgroup),
	   "%s: every page of it is counted (%llu, %llu)", when,
	   (unsigned long long)stat_of(cgroup, "sampled"),
	   (unsigned long long)resident(cgroup) / PAGE);
}

static void exactly(enum kind kind, const char *what)
{
	static mixture mix = { 1, 4, 0, 2 };
	const size_t length = 8 * MIB;
	char *memory;

	note("%s, all of it measured", what);
	make_cgroup("all");
	memory = memory_of("all", kind, length, mix);
	exact("all", "when it has come");
	ok(stat_of("all", "sampled") == length / PAGE, "it has come");
	wait_for_report();
	is_true("all", memory, length);

	((volatile char *)memory)[0] ^= 1;
	exact("all", "when one page was written");
	pack_mixture(memory, length / 2, mix);
	exact("all", "when half of it was written");
	ok(resident("all") == length / 2, "which is home");
	need(move_to(memory + length / 2, length / 4, HOME) == 0, "move_pages home");
	exact("all", "when more has moved");
	all_there(memory, length);
	exact("all", "when it is there again");
	munmap(memory, length / 2);
	exact("all", "when half of it is freed");
	munmap(memory + length / 2, length / 2);
	exact("all", "when all of it is freed");
	ok(stat_of("all", "sampled_bytes") == 0, "nothing is left of it");
	all_gone();
	remove_cgroup("all");
}

static void swapped_out(void)
{
	static mixture mix = { 1, 4, 0, 2 };
	const size_t length = 8 * MIB;
	char *memory;

	swap_on("64M");
	make_cgroup("swap");
	memory = memory_of("swap", SMALL, length, mix);
	for (int i = 0; i < 8 && resident("swap") > length / 2; i++)
		write_cgroup("swap", "memory.reclaim", "8M");
	ok(resident("swap") < length, "some of it is swapped out (%zu KiB are there)",
	   (size_t)resident("swap") >> 10);
	exact("swap", "and");
	munmap(memory, length);
	exact("swap", "freed");
	all_gone();
	remove_cgroup("swap");
	need(system(SWAP_OFF) == 0, "no swap any more");
}

static void zeros_take_nothing(void)
{
	static mixture mix = { 0, 0, 0, 0 };
	char *memory;

	make_cgroup("zero");
	memory = memory_of("zero", SMALL, 4 * MIB, mix);
	exact("zero", "zeros");
	ok(stat_of("zero", "sampled") == 4 * MIB / PAGE && stat_of("zero", "sampled_bytes") == 0 &&
		   stat_of("zero", "device_bytes") == 0,
	   "take nothing");
	munmap(memory, 4 * MIB);
	all_gone();
	remove_cgroup("zero");
}

static bool has_timed_out(const void *before)
{
	return cram_stat("trims_timed_out") > *(const uint64_t *)before;
}

/* A trim that the host has given up may come yet, or not: the card may store it still. */
static void trimmed_too_late(void)
{
	static mixture mix = { 1, 4, 0, 2 };
	const uint64_t before = cram_stat("trims_timed_out");
	uint64_t bytes;
	char *memory;

	make_cgroup("late");
	memory = memory_of("late", SMALL, 4 * MIB, mix);
	bytes = stat_of("late", "sampled_bytes");
	card_fault("trim-late", true, 5000);
	munmap(memory, 4 * MIB);
	need(eventually(20, has_timed_out, &before), "a trim times out");
	ok(cram_bytes("sampled_bytes") == bytes, "what was to be trimmed is not forgotten");
	card_fault("trim-late", false, 0);
	all_gone();
	remove_cgroup("late");
}

static void removed_with_pages_there(void)
{
	static mixture mix = { 1, 4, 0, 2 };
	const size_t length = 8 * MIB;
	uint64_t bytes;
	char *memory;

	make_cgroup("dead");
	need(write_cgroup("dead", "cgroup.subtree_control", "+memory") == 0, "cgroups in it");
	make_cgroup("dead/child");
	memory = memory_of("dead/child", WHOLE, length, mix);
	bytes = stat_of("dead/child", "sampled_bytes");
	ok(bytes && stat_of("dead", "sampled_bytes") == bytes, "its parent has what a cgroup has");
	remove_cgroup("dead/child");
	exact("dead", "when the child is removed");
	ok(stat_of("dead", "sampled_bytes") == bytes, "the parent still has it");
	pack_mixture(memory, length / 2, mix);
	exact("dead", "and less when it comes home");
	munmap(memory, length);
	ok(stat_of("dead", "sampled") == 0 && stat_of("dead", "sampled_bytes") == 0,
	   "and nothing when it is freed");
	all_gone();
	remove_cgroup("dead");
}

static void interval(void)
{
	static const char *const BAD[] = { "-1", "some", "4294967296", "1 2" };
	static mixture mix = { 1, 4, 0, 2 };
	char *memory;

	measure_one_in("128");
	for (size_t i = 0; i < COUNT(BAD); i++)
		ok(set_interval(BAD[i]) < 0, "'%s' is no interval", BAD[i]);
	ok(cram_bytes("sample_interval") == 128, "and changes nothing");

	measure_one_in("0");
	make_cgroup("never");
	memory = memory_of("never", SMALL, 4 * MIB, mix);
	ok(stat_of("never", "sampled") == 0 && cram_bytes("sampled_bytes") == 0,
	   "with 0 nothing is measured");
	ok(stat_of("never", "device_bytes") == 0, "nor guessed");
	munmap(memory, 4 * MIB);
	need(cram_empties(10), "nothing is left there");
	remove_cgroup("never");
}

/*
 * Where pages differ by 0.7 of their mean, the estimate for 192 MiB is off by 2.5 %, and a tenth is
 * four times that. Of the second cgroup half is looked at, too: its pages differ the least.
 */
static int as_it_comes_up(void)
{
	static mixture mixed[3] = { { 4, 0, 2, 4 }, { 1, 2, 4, 1 }, { 2, 1, 4, 8 } };

	ok(cram_bytes("sample_interval") == 64, "one page in 64 is measured");
	for (unsigned int turn = 0; turn < 3; turn++)
		three("three ratios each", "64", turn, 192 * MIB, mixed);
	ok(cram_promise_holds(), "the promise holds");
	return done();
}

int main(int argc, char **argv)
{
	static mixture pure[3] = { { 1, 1, 1, 1 }, { 2, 2, 2, 2 }, { 4, 4, 4, 4 } };
	static mixture mixed[3] = { { 1, 2, 4, 1 }, { 4, 0, 2, 4 }, { 2, 1, 4, 8 } };

	write_file("/sys/fs/cgroup/cgroup.subtree_control", "+memory");
	cram_up();
	khugepaged_sleeps();
	if (argc > 1 && !strcmp(argv[1], "default"))
		return as_it_comes_up();
	ok(cram_bytes("sample_interval") == 64, "one page in 64 is measured");
	ok(cram_bytes("sampled_bytes") == 0, "none has been");
	three("one ratio each", "64", 0, 32 * MIB, pure);
	three("three ratios each", "8", 1, 32 * MIB, mixed);
	three("three ratios each", "8", 2, 32 * MIB, mixed);
	measure_one_in("1");
	exactly(SMALL, "small pages");
	exactly(WHOLE, "huge pages");
	exactly(FILE_BACKED, "a file");
	swapped_out();
	zeros_take_nothing();
	removed_with_pages_there();
	trimmed_too_late();
	interval();
	ok(cram_promise_holds(), "the promise holds");
	return done();
}
