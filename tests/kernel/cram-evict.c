/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who has to go when a card has less than it had: the cgroup first whose pages take the
 * most there, to memory, to swap, and to neither only when data is being lost. Nobody's
 * data is.
 *
 *   cram-evict         where there is memory
 *   cram-evict short   where there is neither
 *   cram-evict disk    where there is swap, on a disk: needs a host with one. Swap on zram would
 *                      take memory that there is not: the kernel kills for it, and rightly
 */
#include "cram.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "card.h"

#define MIB	   (1UL << 20)
#define CGROUPS	   "/sys/fs/cgroup/"
#define RESERVE_KB 65536 /* what nobody but who frees memory gets */
#define LOOK	   "?"
#define LEAVE	   "!"

/* A process in a cgroup of its name, with memory on the card; looks at it when told to LOOK. */
struct holder {
	const char *name;
	size_t length;
	unsigned int ratio; /* of what it has there, which compresses */
	bool slow;	    /* goes bit by bit */
	pid_t pid;
	int orders, answers;
};

static void hold(const struct holder *h, int orders, int answers)
{
	const uint64_t seed = h->length;
	char order, *memory;

	write_file("/proc/self/oom_score_adj", "0");
	enter_cgroup(h->name);
	memory = map_anonymous(h->length);
	need(madvise(memory, h->length, MADV_NOHUGEPAGE) == 0, "small pages: %m");
	pack(memory, h->length, seed, h->ratio);
	for (int i = 0; i < 100 && pages_on(memory, h->length, cram_nid) < h->length / PAGE; i++) {
		for (size_t at = 0; at < h->length; at += 4 * MIB)
			move_to(memory + at, 4 * MIB, cram_nid);
		usleep(50000);
	}
	do {
		order = packed(memory, h->length, seed, h->ratio);
		if (write(answers, &order, 1) != 1)
			break;
	} while (read(orders, &order, 1) == 1 && order == *LOOK);
	for (size_t at = 0; h->slow && at < h->length; at += MIB / 2) {
		munmap(memory + at, MIB / 2);
		usleep(100000);
	}
	_exit(0);
}

static bool answer(const struct holder *h)
{
	char right = 0;

	return read(h->answers, &right, 1) == 1 && right;
}

static bool is_right(const struct holder *h)
{
	return write(h->orders, LOOK, 1) == 1 && answer(h);
}

static uint64_t used(const struct holder *h)
{
	char path[128];

	snprintf(path, sizeof(path), CGROUPS "%s/memory.cram.current", h->name);
	return strtoull(read_file(path), NULL, 10);
}

static void start(struct holder *h)
{
	char path[128];
	int to[2], from[2];

	snprintf(path, sizeof(path), CGROUPS "%s", h->name);
	need(mkdir(path, 0755) == 0 && write_cgroup(h->name, "memory.cram.max", "max") == 0,
	     "cgroup %s: %m", h->name);
	need(pipe(to) == 0 && pipe(from) == 0, "pipes: %m");
	fflush(stdout);
	h->pid = fork();
	need(h->pid >= 0, "fork: %m");
	if (h->pid == 0) {
		close(to[1]);
		close(from[0]);
		hold(h, to[0], from[1]);
	}
	close(to[0]);
	close(from[1]);
	h->orders = to[1];
	h->answers = from[0];
	need(answer(h) && used(h) == h->length, "%s has %zu MiB there (%llu KiB)", h->name,
	     h->length >> 20, (unsigned long long)used(h) >> 10);
}

/* Returns how it ended: minus a signal, or its status. */
static int end(struct holder *h)
{
	char path[128];
	int status;

	/* Closing the pipe would not do: holders that came later have it, too. */
	need(write(h->orders, LEAVE, 1) == 1 || errno == EPIPE, "%s is told to go: %m", h->name);
	close(h->orders);
	close(h->answers);
	need(waitpid(h->pid, &status, 0) == h->pid, "%s ends: %m", h->name);
	snprintf(path, sizeof(path), CGROUPS "%s", h->name);
	need(rmdir(path) == 0, "cgroup %s can be removed: %m", h->name);
	return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

/* The card has that size, and what is left fits: nobody has to go any more. */
static bool fits(const void *size)
{
	return cram_bytes("physical_bytes") <= *(const uint64_t *)size &&
	       cram_bytes("stored_bytes") + cram_bytes("reserve_bytes") <=
		       cram_bytes("physical_bytes") &&
	       !cram_state_is("overrun") && !cram_state_is("evicting");
}

static bool shrinks_to(uint64_t size)
{
	card_resize(size, true);
	return eventually(60, fits, &size);
}

static void as_before(void)
{
	card_resize(128 * MIB, true);
	need(cram_empties(20) && cram_becomes("normal", 20), "as before");
}

/* Leaves so much free memory that is not RESERVE_KB's, and nothing that could be reclaimed. */
static pid_t use_up_memory(size_t leave)
{
	int ready[2];
	pid_t pid;
	char byte;

	need(write_file("/proc/sys/vm/drop_caches", "3") == 0 && pipe(ready) == 0, "pipe: %m");
	fflush(stdout);
	pid = fork();
	need(pid >= 0, "fork: %m");
	if (pid == 0) {
		while (meminfo_kb("MemFree:") > (long)(RESERVE_KB + leave / 1024)) {
			char *memory = map_anonymous(MIB);

			need(mlock(memory, MIB) == 0, "locked: %m");
		}
		need(write(ready[1], "", 1) == 1, "told: %m");
		pause();
		_exit(0);
	}
	close(ready[1]);
	need(read(ready[0], &byte, 1) == 1, "memory is used up");
	close(ready[0]);
	return pid;
}

static void give_memory_back(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

/*
 * What the kernel says to those who watch it
 */

/* What of a trace point's lines is summed up (NULL: they are counted), and who counts the same. */
static const struct traced {
	const char *event, *field, *stat;
	uint64_t unit;
	bool less; /* not all that is counted is told */
} TRACED[] = {
	{ "cram_report: ", NULL, "reports", 1, false },
	{ "cram_give: ", " frames=", "frames_given", 1, false },
	/* What was allocated for pages that did not come is counted only. */
	{ "cram_take: ", " frames=", "frames_taken_back", 1, true },
	{ "cram_evict: ", " moved=", "pages_evicted", 1, false },
	{ "cram_evict: ", " swapped=", "pages_swapped", 1, false },
	{ "cram_trim: ", " bytes=", "frames_trimmed", PAGE, false },
};

static uint64_t sum(const char *trace, const struct traced *t)
{
	uint64_t all = 0;

	for (const char *at = trace; (at = strstr(at, t->event)); at++) {
		const char *field = t->field ? strstr(at, t->field) : NULL;
		const char *error = strstr(at, " error="), *end = strchr(at, '\n');

		/* A trim that failed trims nothing. */
		if (error && error < end && strtol(error + strlen(" error="), NULL, 10))
			continue;
		all += field ? strtoull(field + strlen(t->field), NULL, 10) / t->unit : 1;
	}
	return all;
}

static void counts(uint64_t *ret_counts)
{
	for (size_t i = 0; i < COUNT(TRACED); i++)
		ret_counts[i] = cram_stat(TRACED[i].stat);
}

/* Trace points and vmstat tell of a card that fills and shrinks, as its own counters do. */
static void told_to_who_watches(void)
{
	struct holder big = { .name = "big", .length = 32 * MIB, .ratio = 1 };
	uint64_t before[COUNT(TRACED)], first[COUNT(TRACED)], last[COUNT(TRACED)],
		after[COUNT(TRACED)];
	const long stored = vmstat("cram_store"), evicted = vmstat("cram_evict");
	char *trace;

	note("watched");
	counts(before);
	trace_begin_all("cram");
	counts(first);
	start(&big);
	need(shrinks_to(24 * MIB), "a card shrinks, and pages go");
	counts(last);
	/* What is counted is told a moment before or after. */
	usleep(200000);
	/* Whatever is read next takes its place. */
	trace = strdup(trace_end());
	need(trace != NULL, "strdup: %m");
	usleep(200000);
	counts(after);
	for (size_t i = 0; i < COUNT(TRACED); i++) {
		const struct traced *t = &TRACED[i];
		const uint64_t told = sum(trace, t), least = t->less ? 1 : last[i] - first[i];

		/* What happens while it is switched on and off may be in it or not. */
		ok(told >= least && told <= after[i] - before[i],
		   "%s%s tells what %s counts (%llu, %llu to %llu)", t->event,
		   t->field ? t->field + 1 : "", t->stat, (unsigned long long)told,
		   (unsigned long long)least, (unsigned long long)(after[i] - before[i]));
	}
	ok(strstr(trace, "cram_state: ") && strstr(trace, " state=overrun\n"),
	   "cram_state tells that the card stores more than it has");
	ok(vmstat("cram_evict") - evicted > 1000 &&
		   vmstat("cram_evict") - evicted == (long)(cram_stat("pages_evicted") - before[3]),
	   "vmstat has those that had to go (%ld)", vmstat("cram_evict") - evicted);
	ok(vmstat("cram_store") - stored == (long)(big.length / PAGE), "and those that came (%ld)",
	   vmstat("cram_store") - stored);
	end(&big);
	as_before();
}

static void who_has_most_goes_first(void)
{
	struct holder big = { .name = "big", .length = 96 * MIB, .ratio = 4 };
	struct holder small = { .name = "small", .length = 32 * MIB, .ratio = 4 };

	note("both alike");
	start(&big);
	start(&small);
	ok(shrinks_to(24 * MIB), "a card shrinks, and pages go until the rest fits");
	ok(used(&big) < big.length - 16 * MIB && used(&big) > small.length / 2,
	   "of who has the most there (%llu of %zu MiB left)", (unsigned long long)used(&big) >> 20,
	   big.length >> 20);
	ok(used(&small) == small.length, "and none of who has less (%llu KiB)",
	   (unsigned long long)used(&small) >> 10);
	ok(is_right(&big) && is_right(&small), "nothing is lost");
	ok(shrinks_to(10 * MIB), "it shrinks more");
	ok(used(&big) < used(&small) + 4 * MIB && used(&small) < used(&big) + 4 * MIB,
	   "now both have to go, and keep as much as the other (%llu and %llu MiB)",
	   (unsigned long long)used(&big) >> 20, (unsigned long long)used(&small) >> 20);
	ok(is_right(&big) && is_right(&small), "nothing is lost");
	ok(cram_stat("pages_swapped") == 0 && cram_stat("oom_kills") == 0,
	   "for there is memory enough");
	end(&big);
	end(&small);
	as_before();
}

/* What is in a page says how much of the card it takes, and so how much its going helps. */
static void who_takes_most_goes_first(void)
{
	struct holder large = { .name = "large", .length = 80 * MIB, .ratio = 8 };
	struct holder random = { .name = "random", .length = 32 * MIB, .ratio = 1 };
	const uint64_t size = 40 * MIB;

	start(&large);
	start(&random);
	card_resize(size, true);
	ok(eventually(60, fits, &size), "a card shrinks, and pages go until the rest fits");
	ok(used(&random) < random.length - 4 * MIB,
	   "of who takes the most of it (%llu of %zu MiB left)",
	   (unsigned long long)used(&random) >> 20, random.length >> 20);
	ok(used(&large) == large.length,
	   "and none of who has more there, and takes less (%llu KiB)",
	   (unsigned long long)used(&large) >> 10);
	ok(is_right(&large) && is_right(&random), "nothing is lost");
	end(&large);
	end(&random);
	as_before();
}

static bool has_shrunk(const void *size)
{
	return card_value("physical-size") == *(const uint64_t *)size;
}

/* An announced shrink is no danger: who has something there may make room, in its own way. */
static void announced_first(void)
{
	/* Also where a page takes a quarter more: together too much, and one of them is not. */
	struct holder stays = { .name = "stays", .length = 24 * MIB, .ratio = 1 };
	struct holder goes = { .name = "goes", .length = 24 * MIB, .ratio = 1, .slow = true };
	uint64_t evicted, size;

	note("a shrink is announced");
	start(&stays);
	start(&goes);
	evicted = cram_stat("pages_evicted");
	size = 40 * MIB;
	card_resize(size, false);
	ok(cram_becomes("evicting", 5) && cram_stat("pages_evicted") == evicted,
	   "it is said before anybody goes");
	ok(end(&goes) == 0, "somebody goes by itself, bit by bit");
	ok(eventually(20, has_shrunk, &size) && cram_stat("pages_evicted") == evicted,
	   "that is enough, and nobody has to (%llu pages)",
	   (unsigned long long)(cram_stat("pages_evicted") - evicted));
	ok(cram_becomes("normal", 10), "normal again");
	size = 16 * MIB;
	card_resize(size, false);
	ok(eventually(30, has_shrunk, &size), "where nobody goes, pages are made to");
	ok(cram_stat("pages_evicted") > evicted, "which is counted");
	ok(is_right(&stays), "nothing is lost");
	end(&stays);
	as_before();
}

static void killed_where_there_is_neither(void)
{
	struct holder big = { .name = "big", .length = 96 * MIB, .ratio = 4 };
	struct holder small = { .name = "small", .length = 32 * MIB, .ratio = 4 };
	pid_t hog;

	start(&big);
	start(&small);
	/* It takes memory, too. */
	trace_begin_all("cram");
	hog = use_up_memory(24 * MIB);
	ok(shrinks_to(12 * MIB), "no memory and no swap, and yet the card is overrun no more");
	ok(strstr(trace_end(), "cram_oom_kill: "), "cram_oom_kill tells why");
	ok(cram_stat("oom_kills") == 1, "since somebody is killed (%llu)",
	   (unsigned long long)cram_stat("oom_kills"));
	give_memory_back(hog);
	ok(is_right(&small), "who has less there lives, and has lost nothing");
	ok(end(&big) == -SIGKILL, "who has the most does not");
	end(&small);
	as_before();
}

static void swapped_where_there_is_swap(void)
{
	struct holder big = { .name = "big", .length = 96 * MIB, .ratio = 4 };
	struct holder small = { .name = "small", .length = 32 * MIB, .ratio = 4 };
	const uint64_t kills = cram_stat("oom_kills"), swapped = cram_stat("pages_swapped");
	const long told = vmstat("cram_swap");
	int status;
	pid_t hog;

	swap_on("256M");
	start(&big);
	start(&small);
	hog = use_up_memory(24 * MIB);
	ok(shrinks_to(12 * MIB), "no memory, but swap: the card is overrun no more");
	ok(cram_stat("pages_swapped") > 0 && cram_stat("oom_kills") == kills,
	   "for pages go there (%llu KiB), and nobody is killed",
	   (unsigned long long)cram_stat("pages_swapped") * PAGE >> 10);
	ok(vmstat("cram_swap") - told == (long)(cram_stat("pages_swapped") - swapped),
	   "vmstat has as many (%ld)", vmstat("cram_swap") - told);
	give_memory_back(hog);
	ok(is_right(&big), "who had the most has lost nothing");
	ok(is_right(&small), "nor has the other");
	status = end(&big);
	ok(status == 0 && end(&small) == 0, "and both live (%d)", status);
	as_before();
}

/*
 * Nobody comes by later for what a disk has taken meanwhile: nothing reclaims a card's memory
 * for want of it.
 */
static void swapped_out_is_off_the_card(char *memory, const char *what)
{
	const size_t length = 8 * MIB;

	need(madvise(memory, length, MADV_NOHUGEPAGE) == 0, "small pages: %m");
	pack(memory, length, 9, 2);
	need(cram_has_credit(length, 20) && move_to(memory, length, cram_nid) == 0 &&
		     pages_on(memory, length, cram_nid) == length / PAGE,
	     "memory on the card");
	madvise(memory, length, MADV_PAGEOUT);
	ok(cram_empties(10), "%s memory that is swapped out is on the card no more", what);
	ok(packed(memory, length, 9, 2) && pages_on(memory, length, cram_nid) == 0,
	   "and comes home from the disk as it was");
}

/* What finds no place in swap stays where it is, among what does. */
static void half_of_it_is_swapped_out(void)
{
	const size_t length = 8 * MIB;
	char *memory;

	enter_cgroup("half");
	need(write_cgroup("half", "memory.cram.max", "max") == 0 &&
		     write_cgroup("half", "memory.swap.max", "4M") == 0,
	     "room on the card, and swap for a half");
	memory = map_anonymous(length);
	need(madvise(memory, length, MADV_NOHUGEPAGE) == 0, "small pages: %m");
	pack(memory, length, 11, 2);
	need(cram_has_credit(length, 20) && move_to(memory, length, cram_nid) == 0,
	     "memory on the card");
	madvise(memory, length, MADV_PAGEOUT);
	ok(pages_on(memory, length, cram_nid) * PAGE <= length / 2 + MIB &&
		   pages_on(memory, length, cram_nid) * PAGE >= length / 2,
	   "what finds no place in swap stays (%zu KiB)",
	   pages_on(memory, length, cram_nid) * PAGE / 1024);
	ok(packed(memory, length, 11, 2), "and is as it was, as is the rest");
	munmap(memory, length);
	leave_cgroup();
	ok(cram_empties(10), "nothing is left there");
}

int main(int argc, char **argv)
{
	char reserve[16];

	snprintf(reserve, sizeof(reserve), "%d", RESERVE_KB);
	write_file("/proc/sys/vm/overcommit_memory", "1");
	write_file("/proc/sys/vm/swappiness", "0");
	write_file("/proc/self/oom_score_adj", "-1000");
	write_file(CGROUPS "cgroup.subtree_control", "+memory");
	need(write_file("/proc/sys/vm/min_free_kbytes", reserve) == 0, "memory in reserve");
	signal(SIGPIPE, SIG_IGN);
	cram_up();
	if (argc > 1 && !strcmp(argv[1], "short")) {
		killed_where_there_is_neither();
	} else if (argc > 1 && !strcmp(argv[1], "disk")) {
		int fd;

		swapped_where_there_is_swap();
		swapped_out_is_off_the_card(map_anonymous(8 * MIB), "a process's own");
		swapped_out_is_off_the_card(map_shared(8 * MIB, &fd), "shared");
		half_of_it_is_swapped_out();
	} else {
		who_has_most_goes_first();
		who_takes_most_goes_first();
		announced_first();
		told_to_who_watches();
	}
	ok(card_value("over-capacity-pages") == 0, "the card has lost nothing");
	return done();
}
