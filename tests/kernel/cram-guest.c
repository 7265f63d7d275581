/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The storm with KVM guests: their memory, a memfd's and anonymous, and a process's fill the
 * card with data that compresses, until there is no room left. Then all of it is
 * rewritten with random bytes, by the guests and by the process, as fast as they can, while
 * pages are moved to the card and home by move_pages and mbind, and reclaimed, the process
 * forks and maps parts of its memory anew, and the card shrinks and grows. The guests compare
 * every byte in the end, and so does the process.
 *
 *	cram-guest SECONDS [SEED]
 */
#include "cram.h"

#include <errno.h>
#include <fcntl.h>
#include <numaif.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "card.h"

#define MIB   (1UL << 20)
#define RAM   (96 * MIB) /* of a guest */
#define LOAD  (32 * MIB) /* of it, used */
#define OWN   (32 * MIB) /* of this process */
#define PAGES (OWN / PAGE)
#define BATCH (2 * MIB) /* moved at once */
#define GROUP "cram-guest"
#define GUEST "tests/host/guest"

/* Memory of a process that can be written to: a guest's, or this one's. */
static struct memory {
	const char *name;
	int pid;
	char *address; /* in that process */
	size_t length;
	char *mapped; /* in this one, too, if it is a file */
} memories[] = {
	{ .name = "memfd", .length = RAM },
	{ .name = "anon", .length = RAM },
	{ .name = "own", .length = OWN },
};

#define GUESTS 2

static uint64_t seed;
static atomic_bool stop;
static atomic_ulong writes, moves, reclaims, forks, unmaps, bad;
/* Of who writes to this process's memory, forks or unmaps */
static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;
static uint64_t written_before; /* frames, when everything began */
static long promoted_before;	/* pages */

static bool command(const char *format, ...) __attribute__((format(printf, 1, 2)));

static bool command(const char *format, ...)
{
	char line[512];
	va_list args;

	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	fflush(stdout);
	return system(line) == 0;
}

/*
 * Guests
 */

/* Where QEMU has the guest's memory: as much as that has nothing else. */
static void find_memory(struct memory *m)
{
	char path[64], line[512], name[256];
	unsigned long start, end, inode;
	char access[8];
	int fd = -1;
	FILE *maps;

	snprintf(path, sizeof(path), "/proc/%d/maps", m->pid);
	maps = fopen(path, "r");
	need(maps != NULL, "%s: %m", path);
	while (!m->address && fgets(line, sizeof(line), maps)) {
		name[0] = '\0';
		if (sscanf(line, "%lx-%lx %7s %*x %*s %lu %255s", &start, &end, access, &inode,
			   name) < 4)
			continue;
		if (end - start == m->length && access[1] == 'w')
			m->address = (char *)start;
	}
	fclose(maps);
	need(m->address != NULL, "the memory of guest %s", m->name);
	if (strncmp(name, "/memfd:", 7) != 0)
		return;
	snprintf(path, sizeof(path), "/proc/%d/map_files/%lx-%lx", m->pid, start, end);
	fd = open(path, O_RDWR | O_CLOEXEC);
	need(fd >= 0, "%s: %m", path);
	m->mapped = mmap(NULL, m->length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	need(m->mapped != MAP_FAILED, "mmap: %m");
	close(fd);
}

static void start_guests(void)
{
	FILE *output;
	char line[128];

	enter_cgroup(GROUP);
	need(command("for i in memfd anon; do " GUEST
		     " start $i --ram $i --mem 96M --timeout 300 & p=\"$p $!\"; done; "
		     "for i in $p; do wait $i || exit 1; done"),
	     "guests start");
	leave_cgroup();
	need(command("for i in memfd anon; do " GUEST " exec $i --timeout 300 -- sh -c "
		     "'(memload --mib %lu --hot-mib %lu --ratio 4 --then 1 --write 1000 "
		     "--seconds 86400 --seed %u; echo ended) >/tmp/out 2>&1 & until grep -q . /tmp/out; do sleep 1; done; "
		     "sed \"s/^/# /\" /tmp/out; grep -q ready /tmp/out' & p=\"$p $!\"; done; "
		     "for i in $p; do wait $i || exit 1; done",
		     LOAD / MIB, LOAD / MIB, (unsigned int)seed),
	     "guests fill their memory");
	for (size_t i = 0; i < GUESTS; i++) {
		snprintf(line, sizeof(line), GUEST " pid %s", memories[i].name);
		output = popen(line, "r");
		need(output && fscanf(output, "%d", &memories[i].pid) == 1 && pclose(output) == 0,
		     "guest %s is a process", memories[i].name);
		find_memory(&memories[i]);
	}
}

/* The workloads begin to rewrite, or end. False if one is not there any more. */
static bool tell_guests(const char *signal)
{
	bool told = true;

	for (size_t i = 0; i < GUESTS; i++)
		told = command(GUEST " exec %s --timeout 300 -- killall -%s memload",
			       memories[i].name, signal) &&
		       told;
	return told;
}

/*
 * Moving
 */

/* So many pages of a memory, wherever they are, to a node. Returns how many are there. */
static size_t move(const struct memory *m, size_t at, int nid)
{
	void *pages[BATCH / PAGE];
	int nodes[BATCH / PAGE], status[BATCH / PAGE];
	size_t there = 0;
	long rc;

	for (size_t i = 0; i < COUNT(pages); i++) {
		pages[i] = m->address + at + i * PAGE;
		nodes[i] = nid;
		status[i] = -1;
	}
	rc = move_pages(m->pid, COUNT(pages), pages, nodes, status, MPOL_MF_MOVE_ALL);
	/* A full node, and pages that are not there or held, are no mistakes. */
	if (rc < 0 && errno != ENOENT && errno != ENOMEM && errno != EBUSY && errno != EAGAIN) {
		note("move_pages of %s to %d: %m", m->name, nid);
		atomic_fetch_add(&bad, 1);
	}
	for (size_t i = 0; i < COUNT(pages); i++)
		there += status[i] == nid;
	atomic_fetch_add(&moves, 1);
	return there;
}

static size_t count_on(const struct memory *m, int nid)
{
	void *pages[BATCH / PAGE];
	int status[BATCH / PAGE];
	size_t there = 0;

	for (size_t at = 0; at < m->length; at += BATCH) {
		for (size_t i = 0; i < COUNT(pages); i++)
			pages[i] = m->address + at + i * PAGE;
		need(move_pages(m->pid, COUNT(pages), pages, NULL, status, 0) == 0,
		     "where pages of %s are: %m", m->name);
		for (size_t i = 0; i < COUNT(pages); i++)
			there += status[i] == nid;
	}
	return there;
}

static void *mover(void *argument)
{
	uint64_t random = seed * 37 + (size_t)argument + 1;

	while (!stop) {
		const struct memory *m = &memories[draw(&random) % COUNT(memories)];
		const size_t at = draw(&random) % (m->length / BATCH) * BATCH;
		const unsigned long home = 1UL << HOME, card = 1UL << cram_nid;
		const unsigned int what = draw(&random) % 8;
		long rc = 0;

		if (what == 0) {
			move(m, at, HOME);
		} else if (what < 3 && m->mapped) {
			/* By the file's policy, which is the guest's, too. */
			madvise(m->mapped + at, BATCH, MADV_POPULATE_READ);
			rc = bind_to(m->mapped + at, BATCH, MPOL_BIND,
				     what == 1 ? home | card : card, MPOL_MF_MOVE_ALL);
			atomic_fetch_add(&moves, 1);
		} else {
			move(m, at, cram_nid);
		}
		if (rc) {
			note("mbind of %s: %s", m->name, strerror((int)-rc));
			atomic_fetch_add(&bad, 1);
		}
	}
	return NULL;
}

static void *reclaimer(void *argument)
{
	(void)argument;
	while (!stop) {
		/* What cannot be reclaimed is an error, and none to this test. */
		write_cgroup(GROUP, "memory.reclaim", "2M");
		atomic_fetch_add(&reclaims, 1);
		usleep(100000);
	}
	return NULL;
}

/*
 * This process
 */

static uint32_t version[PAGES];

static void write_page(size_t page, unsigned int ratio)
{
	version[page]++;
	pack_page(memories[GUESTS].address + page * PAGE,
		  seed + ((uint64_t)version[page] << 32 | page), ratio);
}

static bool page_right(size_t page)
{
	if (page_packed(memories[GUESTS].address + page * PAGE,
			seed + ((uint64_t)version[page] << 32 | page), version[page] == 1 ? 4 : 1))
		return true;
	note("page %zu is not version %u", page, version[page]);
	atomic_fetch_add(&bad, 1);
	return false;
}

static void *writer(void *argument)
{
	(void)argument;
	for (size_t page = 0; !stop; page = (page + 1) % PAGES) {
		pthread_mutex_lock(&turn);
		page_right(page);
		write_page(page, 1);
		pthread_mutex_unlock(&turn);
		atomic_fetch_add(&writes, 1);
	}
	return NULL;
}

/* The memory as it was when it was forked, of which some is then written to. */
static bool child_right(uint64_t random)
{
	bool right = true;

	for (size_t i = 0; right && i < 512; i++) {
		const size_t page = draw(&random) % PAGES;

		right = page_right(page);
		if (right && i % 8 == 0) {
			write_page(page, 1);
			right = page_right(page);
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
		pthread_mutex_lock(&turn);
		pid = fork();
		if (pid == 0)
			_exit(child_right(random) ? 0 : 1);
		pthread_mutex_unlock(&turn);
		need(pid > 0 && waitpid(pid, &status, 0) == pid, "fork: %m");
		if (status) {
			note("a child saw something else: %#x", (unsigned int)status);
			atomic_fetch_add(&bad, 1);
		}
		atomic_fetch_add(&forks, 1);
		draw(&random);
		usleep(300000);
	}
	return NULL;
}

/* Part of the memory goes, wherever it is, and as much comes in its place. */
static void *unmapper(void *argument)
{
	uint64_t random = seed * 47;

	(void)argument;
	while (!stop) {
		const size_t first = draw(&random) % (OWN / BATCH) * (BATCH / PAGE);
		char *memory = memories[GUESTS].address + first * PAGE;

		pthread_mutex_lock(&turn);
		need(mmap(memory, BATCH, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == memory,
		     "mmap: %m");
		for (size_t page = first; page < first + BATCH / PAGE; page++)
			write_page(page, 1);
		pthread_mutex_unlock(&turn);
		atomic_fetch_add(&unmaps, 1);
		usleep(300000);
	}
	return NULL;
}

/*
 * The storm
 */

static void fill_card(void)
{
	size_t there = 0, last;

	do {
		last = there;
		/* In turns: there is not room for all. */
		for (size_t at = 0; at < RAM; at += BATCH)
			for (size_t i = 0; i < COUNT(memories); i++)
				if (at < memories[i].length)
					move(&memories[i], at, cram_nid);
		usleep(200000);
		there = cram_bytes("resident_bytes");
	} while (there > last);
	for (size_t i = 0; i < COUNT(memories); i++)
		ok(count_on(&memories[i], cram_nid) > 1000, "memory of %s is on the card (%zu MiB)",
		   memories[i].name, count_on(&memories[i], cram_nid) >> 8);
	ok(there > cram_bytes("physical_bytes") * 3 / 2, "it is full, with %zu MiB", there / MIB);
	ok(cram_promise_holds(), "within what it has");
}

/* Where everything is slow it may be that little has happened when the time is over. */
static bool enough_happened(void)
{
	return cram_stat("frames_written") - written_before > 4096 && forks > 2 && unmaps > 2 &&
	       vmstat("node_private_promote") - promoted_before > 4096;
}

static bool watch(time_t until)
{
	static const unsigned int PERCENT[] = { 100, 75, 50, 90 };
	struct cram_looks looks = { 0 };
	const uint64_t size = card_value("physical-size");
	uint64_t random = seed * 43 + 1;
	unsigned long last = 0;
	bool kept = true;

	for (unsigned int step = 1; (time(NULL) < until || !enough_happened()) && !bad && kept;
	     step++) {
		usleep(100000);
		/* All of it each fourth second: then the whole promise is judged. */
		if (step % 10 == 0) {
			const unsigned int draws = PERCENT[draw(&random) % COUNT(PERCENT)];

			card_resize(size * (step % 40 ? draws : 100) / 100 / MIB * MIB, false);
		}
		kept = cram_in_order(&looks);
		if (step % 50)
			continue;
		note("%lu writes, %lu moves, %lu reclaims, %lu forks, %lu unmapped; %llu MiB on the card, %s; %ld pages promoted so far",
		     writes, moves, reclaims, forks, unmaps,
		     (unsigned long long)cram_bytes("resident_bytes") / MIB, cram_state(),
		     vmstat("node_private_promote"));
		need(writes != last, "something is still written");
		last = writes;
	}
	card_resize(size, false);
	ok(cram_judged(&looks), "the card was not about to shrink all the time");
	return kept;
}

/* The guests compare what they have with what they wrote. */
static void guests_right(void)
{
	for (size_t i = 0; i < GUESTS; i++)
		ok(command(GUEST
			   " exec %s --timeout 300 -- sh -c "
			   "'until grep -q ended /tmp/out; do sleep 1; done; "
			   "sed \"s/^/# /\" /tmp/out; grep -q \"verified %lu pages\" /tmp/out'",
			   memories[i].name, LOAD / PAGE),
		   "guest %s has what it wrote", memories[i].name);
}

int main(int argc, char **argv)
{
	pthread_t threads[6];
	size_t n = 0, wrong = 0;
	bool kept;

	need(argc == 2 || argc == 3, "usage: cram-guest SECONDS [SEED]");
	seed = argc == 3 ? strtoull(argv[2], NULL, 0) : (uint64_t)time(NULL);
	note("seed %llu", (unsigned long long)seed);

	cram_up();
	demotion(true);
	enter_cgroup(GROUP);
	write_cgroup(GROUP, "memory.cram.max", "max");
	leave_cgroup();
	start_guests();
	memories[GUESTS].pid = getpid();
	memories[GUESTS].address = map_huge(OWN);
	for (size_t page = 0; page < PAGES; page++)
		write_page(page, 4);
	fill_card();

	written_before = cram_stat("frames_written");
	promoted_before = vmstat("node_private_promote");
	need(tell_guests("USR1"), "the guests begin");
	pthread_create(&threads[n++], NULL, writer, NULL);
	pthread_create(&threads[n++], NULL, mover, (void *)0);
	pthread_create(&threads[n++], NULL, mover, (void *)1);
	pthread_create(&threads[n++], NULL, reclaimer, NULL);
	pthread_create(&threads[n++], NULL, forker, NULL);
	pthread_create(&threads[n++], NULL, unmapper, NULL);
	kept = watch(time(NULL) + atol(argv[1]));
	stop = true;
	while (n)
		pthread_join(threads[--n], NULL);
	tell_guests("USR2");

	ok(kept, "the promise held at every look");
	ok(bad == 0, "no call failed that must not");
	ok(enough_happened(), "pages came (%llu), and came home again to be written (%ld)",
	   (unsigned long long)(cram_stat("frames_written") - written_before),
	   vmstat("node_private_promote") - promoted_before);
	guests_right();
	for (size_t page = 0; page < PAGES; page++)
		wrong += !page_right(page);
	ok(wrong == 0, "so has this process (%zu)", wrong);
	ok(card_value("peak-excess") == 0 && card_value("over-capacity-pages") == 0,
	   "the card was never asked for more than it has (%llu bytes more)",
	   (unsigned long long)card_value("peak-excess"));
	ok(command(GUEST " stop memfd && " GUEST " stop anon"), "guests end");
	munmap(memories[0].mapped, memories[0].length);
	munmap(memories[GUESTS].address, OWN);
	ok(cram_empties(60), "nothing is left there");
	ok(cram_becomes("normal", 30), "and all is normal");
	return done();
}
