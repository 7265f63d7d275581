/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PROTECT_WRITE: no write reaches a frame of the node, whoever writes and by
 * whichever way, and every write gets where it was meant to go. Two judges: what
 * programs read back, and the test driver, which knows what each frame held when a
 * page was moved there. In a debug kernel the page tables are a third.
 */
#include "private-node.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kernel-page-flags.h>
#include <linux/userfaultfd.h>
#include <numaif.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "writers.h"

#ifndef MPOL_F_NUMA_BALANCING
#define MPOL_F_NUMA_BALANCING (1 << 13)
#endif
#ifndef MAP_DROPPABLE
#define MAP_DROPPABLE 0x08 /* Linux 6.11 */
#endif

#define LENGTH (16 * PAGE)
#define WHERE  (5 * PAGE + 1234)
#define FLAGS  (NP_OPS_MIGRATION | NP_OPS_MEMPOLICY | NP_OPS_PROTECT_WRITE)

/* Frames found changed so far; the one deliberate case is taken off. */
static uint64_t expected_changes;

static void intact(const char *after)
{
	struct npt_frames frames = npt_frames(CARD);

	if (!ok(frames.ret_changed == expected_changes, "%s: no frame was written", after))
		note("%lu were", (unsigned long)(frames.ret_changed - expected_changes));
	expected_changes = frames.ret_changed;
}

static void intact_after(const char *what, const char *memory, size_t length)
{
	(void)memory;
	(void)length;
	intact(what);
}

static const struct judge JUDGE = { .end = intact_after };

/* Shared memory, mapped twice and read through both, is written through a third. */
static void shared_mappings(void)
{
	char *one, *two, *three;
	int fd;

	one = map_shared(LENGTH, &fd);
	fill(one, LENGTH, 5);
	need(move_to(one, LENGTH, CARD) == 0, "shared memory on the card");
	two = mmap(NULL, LENGTH, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ok(filled(two, LENGTH, 5) && pages_on(two, LENGTH, CARD) == LENGTH / PAGE,
	   "reading through a second mapping leaves pages there");
	two[WHERE] = 'y';
	ok(filled_but(one, LENGTH, WHERE, 'y') && node_of(one + WHERE) != CARD,
	   "a write through the second mapping is seen in the first");
	intact("two mappings");
	three = mmap(NULL, LENGTH, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	need(move_to(one, LENGTH, CARD) == 0, "shared memory on the card");
	three[WHERE] = 'z';
	ok(one[WHERE] == 'z' && two[WHERE] == 'z',
	   "a write that is the first touch is seen in all");
	intact("first touch by writing");
	munmap(two, LENGTH);
	munmap(three, LENGTH);
	two = mmap(NULL, LENGTH, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	need(move_to(one, LENGTH, CARD) == 0, "shared memory on the card");
	two[WHERE] = 'p';
	ok(one[WHERE] == 'z' && two[WHERE] == 'p' && node_of(one + WHERE) == CARD,
	   "a private mapping gets its own copy, and the file stays");
	intact("a private mapping");
	munmap(two, LENGTH);
	munmap(one, LENGTH);
	close(fd);
}

/* The kernel writes to the file itself. */
static void file_writers(void)
{
	char *memory, *buffer = malloc(PAGE), *pipe_page = malloc(PAGE);
	int fd, ends[2];

	memory = map_shared(LENGTH, &fd);
	fill(memory, LENGTH, 5);

	need(move_to(memory, LENGTH, CARD) == 0, "shared memory on the card");
	ok(pread(fd, buffer, PAGE, 0) == (ssize_t)PAGE && node_of(memory) == CARD,
	   "read(2) of the file leaves it there");
	ok(pwrite(fd, "w", 1, WHERE) == 1 && filled_but(memory, LENGTH, WHERE, 'w') &&
		   pages_on(memory, LENGTH, CARD) == LENGTH / PAGE - 1,
	   "write(2) to the file brings the page home first");
	intact("write(2)");

	fill(memory, LENGTH, 5);
	need(move_to(memory, LENGTH, CARD) == 0, "shared memory on the card");
	ok(fallocate(fd, 0, 0, (off_t)LENGTH) == 0 && filled(memory, LENGTH, 5),
	   "fallocate of what is there changes nothing");
	ok(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, WHERE, 2 * (off_t)PAGE) == 0,
	   "a hole can be punched, with ends inside pages");
	ok(memory[WHERE] == 0 && memory[WHERE + 2 * PAGE - 1] == 0 && filled(memory, 5 * PAGE, 5),
	   "and it reads as zero");
	intact("punching a hole");

	fill(memory, LENGTH, 5);
	need(move_to(memory, LENGTH, CARD) == 0, "shared memory on the card");
	ok(ftruncate(fd, WHERE) == 0 && ftruncate(fd, (off_t)LENGTH) == 0 && memory[WHERE] == 0 &&
		   memory[WHERE - 1] != 0 && filled(memory, 5 * PAGE, 5),
	   "what a truncation cuts off is gone");
	intact("truncation");

	fill(memory, LENGTH, 5);
	need(move_to(memory, LENGTH, CARD) == 0 && pipe(ends) == 0, "shared memory on the card");
	need(pread(fd, buffer, PAGE, 5 * PAGE) == (ssize_t)PAGE, "pread");
	need(splice(fd, &(loff_t){ 5 * PAGE }, ends[1], NULL, PAGE, 0) == (ssize_t)PAGE,
	     "splice: %m");
	memory[WHERE] = 's';
	ok(filled_but(memory, LENGTH, WHERE, 's') && node_of(memory + WHERE) != CARD,
	   "a page that a pipe holds can be written");
	ok(pread(fd, pipe_page, 1, WHERE) == 1 && *pipe_page == 's',
	   "and the file has what was written");
	ok(read(ends[0], pipe_page, PAGE) == (ssize_t)PAGE && memcmp(buffer, pipe_page, PAGE) == 0,
	   "the pipe has what it was given");
	intact("splice");

	close(ends[0]);
	close(ends[1]);
	munmap(memory, LENGTH);
	close(fd);
	free(buffer);
	free(pipe_page);
}

/* A file of two huge pages, filled from seed 5 and on the card. */
static char *huge_file(int *ret_fd)
{
	char *memory = map_huge_file(2 * HUGE, ret_fd);

	need(meminfo_kb("ShmemHugePages:") == (long)(2 * HUGE / 1024), "it has huge pages");
	need(move_to(memory, 2 * HUGE, CARD) == 0 && node_of(memory) == CARD, "on the card");
	return memory;
}

/*
 * A pipe holds on to a page of a huge one, which then can neither be split nor moved.
 * Whoever writes must not have to wait for a reader of the pipe.
 */
static void huge_file_in_a_pipe(void)
{
	struct iovec vector;
	int fd, ends[2];
	char *memory;

	need(pipe(ends) == 0, "pipe: %m");
	memory = huge_file(&fd);
	vector = (struct iovec){ memory + PAGE, PAGE };
	need(vmsplice(ends[1], &vector, 1, 0) == (ssize_t)PAGE, "vmsplice: %m");
	memory[WHERE] = 'p';
	ok(filled_but(memory, 2 * HUGE, WHERE, 'p') && node_of(memory + WHERE) == HOME &&
		   node_of(memory + HUGE) == CARD,
	   "a huge page of a file that a pipe holds can be written");
	ok(meminfo_kb("ShmemHugePages:") == (long)(HUGE / 1024),
	   "and is small pages from then on (%ld kB are in huge ones)",
	   meminfo_kb("ShmemHugePages:"));
	intact("a huge page in a pipe");

	vector.iov_base = memory + HUGE + PAGE;
	need(vmsplice(ends[1], &vector, 1, 0) == (ssize_t)PAGE, "vmsplice: %m");
	ok(ftruncate(fd, HUGE + WHERE) == 0 && ftruncate(fd, 2 * HUGE) == 0 &&
		   memory[HUGE + WHERE - 1] != 0 && memory[HUGE + WHERE] == 0,
	   "and be truncated in the middle");
	intact("truncation of a huge page in a pipe");
	munmap(memory, 2 * HUGE);
	close(fd);

	memory = huge_file(&fd);
	vector.iov_base = memory + PAGE;
	need(vmsplice(ends[1], &vector, 1, 0) == (ssize_t)PAGE, "vmsplice: %m");
	ok(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, HUGE) == 0 &&
		   memory[WHERE] == 0 && memory[HUGE + WHERE] != 0,
	   "and be punched out whole");
	munmap(memory, 2 * HUGE);
	close(fd);
	close(ends[0]);
	close(ends[1]);
	ok(used_pages(CARD) == 0, "the pipes closed, nothing stays behind (%ld pages)",
	   used_pages(CARD));
	ok(meminfo_kb("ShmemHugePages:") == 0, "nor counted");
	intact("files of huge pages");
}

static bool is_written(void *byte)
{
	*(volatile char *)byte = 'f';
	return true;
}

/* Who writes to a file before he has read it has no entry that could be taken away. */
static void huge_file_written_at_once(void)
{
	int fd;
	char *memory = huge_file(&fd);

	/* By a process of its own, to which fork gave no entries for a file. */
	ok(in_time(20, is_written, memory + WHERE),
	   "a huge page of a file is written by who has not read it");
	ok(filled_but(memory, 2 * HUGE, WHERE, 'f') && node_of(memory + WHERE) != CARD,
	   "at home, that byte alone");
	munmap(memory, 2 * HUGE);
	close(fd);
	intact("a huge page written at once");
}

/* Does userfaultfd hear of the next write to the page at an address? */
static bool uffd_protects(const char *at)
{
	uint64_t entry;

	page_map(at, PAGE, &entry);
	return entry >> 57 & 1;
}

/* A page that is replaced in its file keeps the protection of those who map it. */
static void replaced_and_protected(void)
{
	int fd, uffd, ends[2];
	char *memory = map_shared(LENGTH, &fd);
	struct uffdio_writeprotect protect = { .range = { (uintptr_t)memory, LENGTH },
					       .mode = UFFDIO_WRITEPROTECT_MODE_WP };
	struct iovec vector = { memory + 5 * PAGE, PAGE };

	fill(memory, LENGTH, 5);
	uffd = userfaultfd_for(memory, LENGTH, UFFDIO_REGISTER_MODE_WP,
			       UFFD_FEATURE_WP_HUGETLBFS_SHMEM);
	need(uffd >= 0 && ioctl(uffd, UFFDIO_WRITEPROTECT, &protect) == 0,
	     "userfaultfd write protection of a file: %m");
	need(move_to(memory, LENGTH, CARD) == 0 && uffd_protects(memory + WHERE),
	     "protected pages on the card");
	need(pipe(ends) == 0 && vmsplice(ends[1], &vector, 1, 0) == (ssize_t)PAGE, "vmsplice: %m");
	ok(pwrite(fd, "u", 1, WHERE) == 1 && uffd_protects(memory + WHERE),
	   "write(2) to a page that a pipe holds keeps userfaultfd's write protection");
	ok(filled_but(memory, LENGTH, WHERE, 'u'), "and writes that byte alone");
	close(uffd);
	close(ends[0]);
	close(ends[1]);
	munmap(memory, LENGTH);
	close(fd);
	intact("a protected page in a pipe");
}

static void first_touch_is_home(void)
{
	char *memory = map_anonymous(LENGTH), *shared = map_shared(LENGTH, NULL);

	need(bind_to(memory, LENGTH, MPOL_BIND, 1UL << CARD, 0) == 0 &&
		     bind_to(shared, LENGTH, MPOL_BIND, 1UL << CARD, 0) == 0,
	     "mbind to the card");
	fill(memory, LENGTH, 5);
	fill(shared, LENGTH, 5);
	ok(used_pages(CARD) == 0, "first touch is served from ordinary memory");
	ok(bind_to(memory, LENGTH, MPOL_BIND, 1UL << CARD, MPOL_MF_MOVE) == 0 &&
		   pages_on(memory, LENGTH, CARD) == LENGTH / PAGE,
	   "MPOL_MF_MOVE moves it to the card");
	need(bind_to(memory, LENGTH, MPOL_BIND, 1UL << OTHER | 1UL << CARD, 0) == 0, "mbind");
	memory[WHERE] = 'h';
	ok(node_of(memory + WHERE) == OTHER, "a written page goes to the home its policy names");
	munmap(memory, LENGTH);
	munmap(shared, LENGTH);
	intact("mbind");
}

/* Else to reclaim of its own, as at the beginning. */
static void open_to_demotion(bool open)
{
	demotion(open);
	need(npt_set_ops(CARD, FLAGS | (open ? NP_OPS_DEMOTION : NP_OPS_RECLAIM)) == 0,
	     "operations");
}

/* Reclaim finds pages that nobody maps, filled or not. */
static void cold_and_never_filled(void)
{
	const size_t half = 4UL << 20;
	static const char zeros[PAGE];
	size_t wrong = 0;
	char *memory, *used;
	int fd;

	enter_cgroup("fallocated");
	memory = map_shared(2 * half, &fd);
	fill(memory, half, 5);
	/* Frames that are not zeros, for it to be seen when they are made so. */
	used = map_anonymous(4 * half);
	fill(used, 4 * half, 6);
	munmap(used, 4 * half);
	need(fallocate(fd, 0, (off_t)half, (off_t)half) == 0, "fallocate: %m");
	leave_cgroup();
	need(write_cgroup("fallocated", "memory.swap.max", "0") == 0, "nothing to swap");
	open_to_demotion(true);
	for (int i = 0; i < 16; i++)
		write_cgroup("fallocated", "memory.reclaim", "1M");
	need(pages_on(memory, half, CARD) > 0, "cold pages of a file are demoted");
	/* By a mapping: that fills them, where read(2) takes zeros from elsewhere. */
	for (size_t at = half; at < 2 * half; at += PAGE)
		wrong += memcmp(memory + at, zeros, PAGE) != 0;
	ok(filled(memory, half, 5) && !wrong, "those that were never filled are zeros (%zu not)",
	   wrong);
	open_to_demotion(false);
	munmap(memory, 2 * half);
	close(fd);
	intact("cold pages that were never filled");
}

/* fallocate without writing: the kernel has yet to fill such pages. */
static void only_filled_pages_come(void)
{
	int fd;
	char *memory = map_shared(LENGTH, &fd);

	need(fallocate(fd, 0, 0, (off_t)LENGTH) == 0, "fallocate");
	memory[0] = 1;
	move_to(memory, LENGTH, CARD);
	ok(node_of(memory) == CARD && memory[0] == 1 && memory[WHERE] == 0,
	   "allocated pages that were never filled read as zero");
	munmap(memory, LENGTH);
	close(fd);
	intact("fallocated pages");
	cold_and_never_filled();
}

static void swapped(void)
{
	char *memory = small_on(CARD, LENGTH);

	ok(madvise(memory, LENGTH, MADV_PAGEOUT) == 0 && pages_on(memory, LENGTH, CARD) == 0,
	   "with RECLAIM, pages can be swapped out");
	memory[WHERE] = 'o';
	ok(filled_but(memory, LENGTH, WHERE, 'o') && used_pages(CARD) == 0,
	   "and come back to ordinary memory, writable");
	munmap(memory, LENGTH);
	intact("swap");
}

/*
 * A page of the file that is on its way to a disk, or has come there long after it was given it,
 * and never left its frame; its offset.
 */
static size_t page_in_the_swap_cache(char *memory)
{
	uint64_t frames[LENGTH / PAGE];
	size_t i;

	fill(memory, LENGTH, 5);
	need(move_to(memory, LENGTH, CARD) == 0, "shared memory on the card");
	drain_lru_lists(CARD);
	frames_of(memory, LENGTH, frames);
	/* The first write goes at once, and the next has to wait for its turn. */
	need(madvise(memory, LENGTH / 2, MADV_PAGEOUT) == 0 &&
		     madvise(memory + LENGTH / 2, LENGTH / 2, MADV_PAGEOUT) == 0,
	     "MADV_PAGEOUT: %m");
	for (i = LENGTH / PAGE; i-- > 0;)
		if (node_of(memory + i * PAGE) < 0 && frame_is(frames[i], KPF_SWAPCACHE))
			break;
	need(i < LENGTH / PAGE, "pages stay in the swap cache");
	return i * PAGE;
}

/*
 * The kernel writes to a file of which pages are in the swap cache. There they are while they are
 * being written, and where that takes long, until their frames are needed.
 */
static void file_in_the_swap_cache(void)
{
	size_t at;
	int fd;
	char *memory = map_shared(LENGTH, &fd);

	/* What is off has no places left that a processor took for later. */
	need(system(SWAP_OFF " && mkswap /dev/vdb >/dev/null && swapon /dev/vdb") == 0,
	     "swap on a slow disk");
	at = page_in_the_swap_cache(memory) + WHERE % PAGE;
	ok(pwrite(fd, "k", 1, (off_t)at) == 1 && node_of(memory + at) != CARD &&
		   filled_but(memory, LENGTH, at, 'k') && node_of(memory + at) != CARD,
	   "write(2) to a page in the swap cache is at home");
	intact("write(2) to a page in the swap cache");
	at = page_in_the_swap_cache(memory) + WHERE % PAGE;
	ok(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)at, 1) == 0 &&
		   filled_but(memory, LENGTH, at, 0) && node_of(memory + at) != CARD,
	   "and so are the zeros of a hole");
	intact("a hole in a page in the swap cache");
	munmap(memory, LENGTH);
	close(fd);
	need(system(SWAP_OFF " && swapon /dev/vda") == 0, "swap on a fast one again");
}

/* Reads memory until the scanner of NUMA balancing has taken each entry away once. */
static bool is_read_with_hints(const char *memory, size_t length, size_t step)
{
	bool hinted[LENGTH / PAGE] = {};
	time_t end = time(NULL) + 60;
	size_t left = length / step;

	while (left && time(NULL) < end)
		for (size_t at = 0; at < length; at += step) {
			struct rusage before, after;

			/* It is there: nothing else faults. */
			getrusage(RUSAGE_THREAD, &before);
			(void)*(const volatile char *)(memory + at);
			getrusage(RUSAGE_THREAD, &after);
			if (after.ru_minflt != before.ru_minflt && !hinted[at / step]) {
				hinted[at / step] = true;
				left--;
			}
		}
	return left == 0;
}

/* NUMA balancing gives back what it took, which is less than the process's right to write. */
static void hinting_faults(void)
{
	need(npt_set_ops(CARD, FLAGS | NP_OPS_RECLAIM | NP_OPS_NUMA_BALANCING) == 0 &&
		     write_file("/proc/sys/kernel/numa_balancing", "1") == 0,
	     "NUMA balancing");
	for (int huge = 0; huge < 2; huge++) {
		const size_t length = huge ? HUGE : LENGTH;
		const char *what = huge ? "a huge page" : "small pages";
		char *memory = huge ? huge_on(CARD, length) : small_on(CARD, length);

		/* The reader is on neither node: that is no reason to move them. */
		need(bind_to(memory, length, MPOL_BIND | MPOL_F_NUMA_BALANCING, 1UL << OTHER, 0) ==
			     0,
		     "a policy that NUMA balancing serves: %m");
		ok(is_read_with_hints(memory, length, huge ? HUGE : PAGE) &&
			   pages_on(memory, length, CARD) == length / PAGE,
		   "%s: hinting faults leave them there", what);
		memory[WHERE] = 'b';
		ok(filled_but(memory, length, WHERE, 'b') && node_of(memory + WHERE) == OTHER,
		   "%s: what is written after a hinting fault is at home", what);
		munmap(memory, length);
		intact("NUMA balancing");
	}
	need(write_file("/proc/sys/kernel/numa_balancing", "0") == 0 &&
		     npt_set_ops(CARD, FLAGS | NP_OPS_RECLAIM) == 0,
	     "no NUMA balancing any more");
}

static void owner_handles_it(void)
{
	struct npt_ops ops = { .nid = CARD, .flags = FLAGS, .accept = -1, .promote = 1 };
	uint64_t before;
	char *memory;

	npt_ops(NPT_CLEAR_OPS, &ops);
	ok(npt_set_ops(CARD, NP_OPS_MIGRATION) == -EBUSY,
	   "the fence cannot be taken down while there is memory behind it");
	ops.flags = NP_OPS_MIGRATION;
	ok(npt_ops(NPT_SET_OPS, &ops) == -EINVAL, "promote without PROTECT_WRITE is refused");
	ops.flags = FLAGS;
	need(npt_ops(NPT_SET_OPS, &ops) == 0, "operations with promote");
	before = npt_stats(CARD).promote;
	memory = small_on(CARD, LENGTH);
	ok(filled(memory, LENGTH, 5) && npt_stats(CARD).promote == before, "reading is no fault");
	memory[WHERE] = 'f';
	ok(npt_stats(CARD).promote > before && filled_but(memory, LENGTH, WHERE, 'f'),
	   "writing calls the owner's promote");
	munmap(memory, LENGTH);

	memory = small_on(CARD, LENGTH);
	npt_ops(NPT_CLEAR_OPS, &ops);
	memory[WHERE] = 'c';
	ok(filled_but(memory, LENGTH, WHERE, 'c') && node_of(memory + WHERE) != CARD,
	   "without any operations the fence stands all the same");
	munmap(memory, LENGTH);
	intact("clearing operations");
	need(npt_set_ops(CARD, FLAGS | NP_OPS_RECLAIM) == 0, "operations");
}

/* A page of a file that has failed: it can be neither moved nor written. */
struct failed {
	int fd;
	off_t at;
};

static bool write_fails(void *argument)
{
	const struct failed *page = argument;

	return pwrite(page->fd, "f", 1, page->at) == -1 && errno == EIO;
}

static bool hole_is_punched(void *argument)
{
	const struct failed *page = argument;

	return fallocate(page->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, page->at,
			 2 * (off_t)PAGE) == 0;
}

static bool file_is_cut(void *argument)
{
	const struct failed *page = argument;

	return ftruncate(page->fd, page->at) == 0;
}

/* Whoever reports it is killed for it. */
static bool page_fails(char *page)
{
	uint64_t frame = frame_of(page);
	pid_t pid = fork();

	if (pid == 0) {
		madvise(page, PAGE, MADV_HWPOISON);
		_exit(0);
	}
	return waitpid(pid, NULL, 0) == pid && frame_is(frame, KPF_HWPOISON);
}

static void failed_page(void)
{
	int fd;
	char *memory = map_shared(LENGTH, &fd);
	struct failed page = { .fd = fd, .at = WHERE };

	fill(memory, LENGTH, 5);
	need(move_to(memory, LENGTH, CARD) == 0, "shared memory on the card");
	need(page_fails(memory + 5 * PAGE), "a failed page: %m");
	ok(in_time(20, write_fails, &page), "write(2) to a failed page is EIO");
	ok(in_time(20, hole_is_punched, &page), "a hole that begins in it can be punched");
	ok(memory[7 * PAGE + WHERE % PAGE - 1] == 0 && memory[7 * PAGE + WHERE % PAGE] != 0,
	   "and ends where it should");
	ok(in_time(20, file_is_cut, &page), "the file can be cut off within it");
	munmap(memory, LENGTH);
	close(fd);
	intact("a failed page");
}

/* Is all of the file as fill() made it, but the hole from @start to @end, and the failed page? */
static bool punched(int fd, size_t start, size_t end, size_t failed)
{
	static char page[PAGE], as_filled[2 * HUGE];

	fill(as_filled, sizeof(as_filled), 5);
	memset(as_filled + start, 0, end - start);
	for (size_t at = start / HUGE * HUGE; at < start / HUGE * HUGE + HUGE; at += PAGE) {
		const ssize_t n = pread(fd, page, PAGE, (off_t)at);

		if (at == failed ? n != -1 || errno != EIO
				 : n != (ssize_t)PAGE || memcmp(page, as_filled + at, PAGE) != 0) {
			note("page %zu of %zu: read(2) says %zd", at / PAGE, failed / PAGE, n);
			return false;
		}
	}
	return true;
}

/* One page of a huge one has failed, and a pipe holds another: it can be neither split nor moved.
 */
static void failed_huge_page(void)
{
	struct failed page;
	struct iovec vector;
	int ends[2];
	char *memory = huge_file(&page.fd);

	need(pipe(ends) == 0, "pipe: %m");
	for (size_t start = 0; start < 2 * HUGE; start += HUGE) {
		vector = (struct iovec){ memory + start + PAGE, PAGE };
		need(vmsplice(ends[1], &vector, 1, 0) == (ssize_t)PAGE, "vmsplice: %m");
		need(page_fails(memory + start + 5 * PAGE), "a failed page: %m");
	}
	need(meminfo_kb("ShmemHugePages:") == (long)(2 * HUGE / 1024), "it is huge all the same");
	page.at = 3 * PAGE + WHERE % PAGE;
	ok(in_time(20, hole_is_punched, &page) &&
		   punched(page.fd, (size_t)page.at, (size_t)page.at + 2 * PAGE, 5 * PAGE),
	   "a hole can be punched that ends in a failed page of a huge one, and what is in it is gone");
	page.at = HUGE + 5 * PAGE + WHERE % PAGE;
	ok(in_time(20, hole_is_punched, &page) &&
		   punched(page.fd, (size_t)page.at, (size_t)page.at + 2 * PAGE, HUGE + 5 * PAGE),
	   "and one that begins in it");
	ok(in_time(20, write_fails, &page) && pwrite(page.fd, "n", 1, page.at + (off_t)PAGE) == 1,
	   "write(2) to it is EIO, and to its neighbour is not");
	munmap(memory, 2 * HUGE);
	close(page.fd);
	close(ends[0]);
	close(ends[1]);
	intact("a failed page of a huge one");
}

/*
 * A huge page of a file is held by a pipe, and its home has no huge page free. Who
 * writes to it, or cuts it off, gets on with small ones.
 */
struct held {
	int fd;
	char *at;
};

static bool held_is_written(void *argument)
{
	const struct held *page = argument;

	return pwrite(page->fd, "h", 1, WHERE) == 1;
}

static bool held_is_cut(void *argument)
{
	const struct held *page = argument;

	return ftruncate(page->fd, HUGE + WHERE) == 0;
}

static void no_huge_page_at_home(void)
{
	const size_t small = 64 << 20;
	struct npt_alloc all = { .nid = OTHER, .how = NPT_THISNODE, .order = 9, .count = 1000 };
	char *memory, *spread = map_anonymous(small);
	struct iovec vector;
	struct held page;
	int ends[2];

	need(write_file("/proc/sys/vm/compact_unevictable_allowed", "0") == 0 && pipe(ends) == 0,
	     "memory can be held in place");
	memory = huge_file(&page.fd);
	need(bind_to(memory, 2 * HUGE, MPOL_BIND, 1UL << OTHER | 1UL << CARD, 0) == 0, "mbind");
	vector = (struct iovec){ memory + PAGE, PAGE };
	need(vmsplice(ends[1], &vector, 1, 0) == (ssize_t)PAGE, "vmsplice: %m");
	vector.iov_base = memory + HUGE + PAGE;
	need(vmsplice(ends[1], &vector, 1, 0) == (ssize_t)PAGE, "vmsplice: %m");

	/* Every other page free, and no two of them to be brought together. */
	need(madvise(spread, small, MADV_NOHUGEPAGE) == 0 &&
		     bind_to(spread, small, MPOL_BIND, 1UL << OTHER, 0) == 0 &&
		     mlock(spread, small) == 0,
	     "small pages: %m");
	need(npt_alloc(&all) == 0 && all.ret_count > 0, "all huge pages of a node in use");
	for (size_t at = 0; at < small; at += 2 * PAGE)
		munmap(spread + at, PAGE);

	ok(in_time(20, held_is_written, &page) && filled_but(memory, 2 * HUGE, WHERE, 'h'),
	   "without a huge page at home write(2) to one in a pipe takes small ones");
	ok(node_of(memory + WHERE) == OTHER, "from the home that its policy names (node %d)",
	   node_of(memory + WHERE));
	ok(in_time(20, held_is_cut, &page), "and truncation does");
	npt_free();
	munmap(spread, small);
	munmap(memory, 2 * HUGE);
	close(page.fd);
	close(ends[0]);
	close(ends[1]);
	ok(used_pages(CARD) == 0, "nothing stays behind (%ld pages)", used_pages(CARD));
	intact("no huge page at home");
}

/*
 * Pages that reclaim on another processor has just put there are on their way to an LRU
 * list until that processor has some more of them. Whoever writes to one does not have all
 * processors put theirs on the lists, which anybody could make them do all the time.
 */
#define COLD (16UL << 20)

static pthread_barrier_t reclaimed;

/* A thread that ends would put its processor's pages on the lists. */
static void *reclaim_and_stay(void *unused)
{
	cpu_set_t second;

	(void)unused;
	CPU_ZERO(&second);
	CPU_SET(1, &second);
	need(sched_setaffinity(0, sizeof(second), &second) == 0, "on the second processor: %m");
	for (int i = 0; i < 4; i++)
		write_cgroup("demoted", "memory.reclaim", "1M");
	pthread_barrier_wait(&reclaimed);
	pthread_barrier_wait(&reclaimed);
	return NULL;
}

/* Memory of which reclaim has moved some to the card; *ret_at: a page that is on no list yet. */
static char *demoted_on_the_second(bool shared, pthread_t *ret_other, size_t *ret_at)
{
	size_t at, there = 0;
	char *memory;

	enter_cgroup("demoted");
	need(write_cgroup("demoted", "memory.swap.max", "0") == 0, "nothing to swap");
	memory = shared ? map_shared(COLD, NULL) : map_anonymous(COLD);
	/* On the node that reclaim comes to last: it begins with each by putting pages on lists. */
	need(bind_to(memory, COLD, MPOL_BIND, 1UL << OTHER, 0) == 0, "mbind: %m");
	fill(memory, COLD, 5);
	leave_cgroup();
	need(pthread_create(ret_other, NULL, reclaim_and_stay, NULL) == 0, "a thread");
	pthread_barrier_wait(&reclaimed);
	for (at = 0; at < COLD; at += PAGE)
		if (node_of(memory + at) == CARD && ++there &&
		    !frame_is(frame_of(memory + at), KPF_LRU))
			break;
	need(at < COLD, "reclaim moves pages to the card, some on no list yet (%zu pages)", there);
	*ret_at = at;
	return memory;
}

static void page_of_another_processor(void)
{
	cpu_set_t first, all;

	if (sysconf(_SC_NPROCESSORS_ONLN) < 2) {
		note("one processor only");
		return;
	}
	CPU_ZERO(&first);
	CPU_SET(0, &first);
	need(sched_getaffinity(0, sizeof(all), &all) == 0 &&
		     sched_setaffinity(0, sizeof(first), &first) == 0,
	     "stay on the first processor: %m");
	pthread_barrier_init(&reclaimed, NULL, 2);
	open_to_demotion(true);
	for (int shared = 0; shared < 2; shared++) {
		char *memory, *trace;
		pthread_t other;
		size_t at;

		memory = demoted_on_the_second(shared, &other, &at);
		trace_begin("workqueue/workqueue_queue_work", NULL);
		memory[at + 100] = 'q';
		trace = trace_end();
		ok(node_of(memory + at) != CARD && filled_but(memory, COLD, at + 100, 'q'),
		   "%s page on its way to a list is written at home",
		   shared ? "a shared" : "an anonymous");
		ok(!strstr(trace, "lru_add_drain"), "which gives other processors nothing to do");
		/* The others are on their way still, and whoever hurries all of them is seen. */
		trace_begin("workqueue/workqueue_queue_work", NULL);
		drain_lru_lists(CARD);
		need(strstr(trace_end(), "lru_add_drain"), "such work is seen");
		pthread_barrier_wait(&reclaimed);
		pthread_join(other, NULL);
		munmap(memory, COLD);
	}
	open_to_demotion(false);
	pthread_barrier_destroy(&reclaimed);
	sched_setaffinity(0, sizeof(all), &all);
	ok(used_pages(CARD) == 0, "nothing stays behind (%ld pages)", used_pages(CARD));
	intact("a page of another processor");
}

/* Every memory block of the card to a state. */
static bool set_blocks(const char *state)
{
	uint64_t block = memory_block_bytes();
	char path[80];
	bool done = true;

	for (uint64_t at = card_start(); at < card_start() + card_size(); at += block) {
		snprintf(path, sizeof(path), "/sys/devices/system/memory/memory%lu/state",
			 (unsigned long)(at / block));
		done = write_file(path, state) == 0 && done;
	}
	return done;
}

/* The fence belongs to the memory, online or not. */
static void fence_of_offline_memory(void)
{
	struct npt_ops ops = { .nid = CARD };

	if (!blocks_by_sysfs())
		return;
	need(set_blocks("offline") && npt_ops(NPT_CLEAR_OPS, &ops) == 0,
	     "no operations, and no memory online");
	ok(npt_set_ops(CARD, NP_OPS_MIGRATION) == -EBUSY,
	   "the fence cannot be taken down while there is memory that is offline");
	ok(set_blocks("online_movable") && npt_set_ops(CARD, NP_OPS_MIGRATION) == -EBUSY,
	   "nor when it has come online again");
	need(npt_set_ops(CARD, FLAGS | NP_OPS_RECLAIM) == 0, "operations");
}

/* What happened can be counted. */
static void counted(void)
{
	long faults = vmstat("node_private_fence_fault"), moved = vmstat("node_private_promote"),
	     came = vmstat("node_private_enter");
	char *memory = small_on(CARD, LENGTH);

	memory[WHERE] = 'v';
	ok(vmstat("node_private_enter") - came >= (long)(LENGTH / PAGE),
	   "pages that come are counted");
	ok(vmstat("node_private_fence_fault") > faults && vmstat("node_private_promote") > moved,
	   "and so are the faults of writers, and what is promoted");
	munmap(memory, LENGTH);
}

/* A page that nobody but its writer has leaves in one fault, and stays what it was. */
static void served_at_once(void)
{
	const long pages = LENGTH / PAGE, moved = vmstat("node_private_promote");
	char *memory = small_on(CARD, LENGTH), *droppable;
	struct rusage before, after;

	drain_lru_lists(CARD);
	getrusage(RUSAGE_THREAD, &before);
	for (size_t at = 0; at < LENGTH; at += PAGE)
		memory[at] = 'w';
	getrusage(RUSAGE_THREAD, &after);
	ok(after.ru_minflt - before.ru_minflt == pages &&
		   vmstat("node_private_promote") - moved == pages,
	   "pages of one process come home in one fault each (%ld for %ld)",
	   after.ru_minflt - before.ru_minflt, pages);
	munmap(memory, LENGTH);

	droppable =
		mmap(NULL, LENGTH, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | MAP_DROPPABLE, -1, 0);
	need(droppable != MAP_FAILED, "memory that may be dropped: %m");
	need(madvise(droppable, LENGTH, MADV_NOHUGEPAGE) == 0, "small pages: %m");
	fill(droppable, LENGTH, 6);
	need(move_to(droppable, LENGTH, CARD) == 0 && node_of(droppable) == CARD, "on the card");
	drain_lru_lists(CARD);
	droppable[0] = 'w';
	ok(node_of(droppable) != CARD && !frame_is(frame_of(droppable), KPF_SWAPBACKED),
	   "memory that is to be dropped and never swapped is so at home");
	munmap(droppable, LENGTH);
}

/* Writers and movers at once */

#define THREADS 4
#define CELLS	64 /* pages of a region */

struct region {
	const char *name;
	char *memory;
	size_t length;
	atomic_ulong counts[CELLS * 8];
};

static struct region regions[] = { { .name = "small pages" },
				   { .name = "huge pages" },
				   { .name = "shared memory" } };
static atomic_bool stop;
static unsigned int seconds = 10;

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* Each thread has its own word of a page, so that a lost write cannot hide. */
static void *write_around(void *argument)
{
	const unsigned long self = (unsigned long)argument;
	uint64_t state = 88172645463325252ULL + self;

	while (!stop) {
		struct region *r = &regions[next_random(&state) % 3];
		size_t pages = r->length / PAGE, page = next_random(&state) % pages;
		unsigned long *word = (unsigned long *)(r->memory + page * PAGE) + self;

		++*word;
		r->counts[self * CELLS + page * CELLS / pages]++;
	}
	return NULL;
}

static void *move_around(void *argument)
{
	uint64_t state = 4101842887655102017ULL + (unsigned long)argument;

	while (!stop) {
		struct region *r = &regions[next_random(&state) % 3];

		move_to(r->memory, r->length, next_random(&state) % 4 ? CARD : HOME);
	}
	return NULL;
}

static void *fork_around(void *argument)
{
	(void)argument;
	while (!stop) {
		pid_t pid = fork();

		if (pid == 0) {
			for (size_t i = 0; i < 2; i++)
				for (size_t at = 0; at < regions[i].length; at += 7 * PAGE)
					regions[i].memory[at + PAGE - 1]++;
			_exit(0);
		}
		waitpid(pid, NULL, 0);
		usleep(20000);
	}
	return NULL;
}

static void writers_and_movers(void)
{
	pthread_t threads[THREADS + 3];
	struct npt_stats before = npt_stats(CARD);
	size_t n = 0;

	for (size_t i = 0; i < 3; i++)
		regions[i].length = i == 1 ? 2 * HUGE : CELLS * PAGE;
	regions[0].memory = map_anonymous(regions[0].length);
	regions[1].memory = map_huge(regions[1].length);
	regions[2].memory = map_shared(regions[2].length, NULL);
	for (size_t i = 0; i < 3; i++)
		memset(regions[i].memory, 0, regions[i].length);

	for (; n < THREADS; n++)
		pthread_create(&threads[n], NULL, write_around, (void *)n);
	pthread_create(&threads[n++], NULL, move_around, (void *)1);
	pthread_create(&threads[n++], NULL, move_around, (void *)2);
	pthread_create(&threads[n++], NULL, fork_around, NULL);
	sleep(seconds);
	stop = true;
	while (n)
		pthread_join(threads[--n], NULL);

	for (size_t i = 0; i < 3; i++) {
		struct region *r = &regions[i];
		unsigned long made = 0, found = 0;

		for (size_t j = 0; j < THREADS * CELLS; j++)
			made += r->counts[j];
		for (size_t at = 0; at < r->length; at += PAGE)
			for (size_t j = 0; j < THREADS; j++)
				found += ((unsigned long *)(r->memory + at))[j];
		ok(made == found, "%s: none of %lu writes is lost (%lu found)", r->name, made,
		   found);
		munmap(r->memory, r->length);
	}
	ok(npt_stats(CARD).folio_migrate - before.folio_migrate > 100,
	   "pages went to and fro (%lu moves)",
	   (unsigned long)(npt_stats(CARD).folio_migrate - before.folio_migrate));
	intact("writers and movers at once");
	ok(used_pages(CARD) == 0, "nothing stays behind (%ld pages)", used_pages(CARD));
}

/* On a node without the fence writes stay, and the judge sees them. */
static void without_the_fence(void)
{
	char *memory;

	card_private();
	need(npt_set_ops(CARD, NP_OPS_MIGRATION | NP_OPS_MEMPOLICY) == 0, "operations");
	memory = small_on(CARD, LENGTH);
	memory[WHERE] = 'n';
	ok(node_of(memory + WHERE) == CARD && filled_but(memory, LENGTH, WHERE, 'n'),
	   "without the opt-in pages are written where they are");
	ok(npt_frames(CARD).ret_changed == 1 && npt_frames(CARD).ret_watched == LENGTH / PAGE,
	   "and the driver sees it (%lu changed of %lu)",
	   (unsigned long)npt_frames(CARD).ret_changed,
	   (unsigned long)npt_frames(CARD).ret_watched);
	ok(npt_set_ops(CARD, FLAGS) == -EBUSY, "the fence cannot be put up around memory in use");
	munmap(memory, LENGTH);
	need(npt_range(NPT_REMOVE, CARD, 0) == 0, "the node can be taken away");
	need(npt_range(NPT_RESTORE, CARD, 0) == 0, "and given back");
	expected_changes = npt_frames(CARD).ret_changed;
}

static void table(void)
{
	write_all_ways(CARD, &JUDGE, NULL);
}

static const struct {
	const char *name;
	void (*check)(void);
} PARTS[] = {
	{ "the table", table },
	{ "shared mappings", shared_mappings },
	{ "file writers", file_writers },
	{ "a huge file in a pipe", huge_file_in_a_pipe },
	{ "a huge file written at once", huge_file_written_at_once },
	{ "replaced and protected", replaced_and_protected },
	{ "first touch", first_touch_is_home },
	{ "fallocated pages", only_filled_pages_come },
	{ "swap", swapped },
	{ "a file in the swap cache", file_in_the_swap_cache },
	{ "hinting faults", hinting_faults },
	{ "the owner", owner_handles_it },
	{ "no huge page at home", no_huge_page_at_home },
	{ "a page of another processor", page_of_another_processor },
	{ "offline memory", fence_of_offline_memory },
	{ "counters", counted },
	{ "served at once", served_at_once },
	{ "writers and movers", writers_and_movers },
	/* Late: its page stays where nobody gets it, and its block offline. */
	{ "a failed page", failed_page },
	/* The last: of a huge page that is freed whole the kernel gives the failed part out again.
	 */
	{ "a failed page of a huge one", failed_huge_page },
};

/* How many parts, or rows of the table, have that name? They are made. */
static size_t parts_named(const char *name)
{
	size_t made = write_all_ways(CARD, &JUDGE, name);

	for (size_t i = 0; i < COUNT(PARTS); i++)
		if (strcmp(PARTS[i].name, name) == 0) {
			PARTS[i].check();
			made++;
		}
	return made;
}

/* private-fence [SECONDS | PART]: how long writers are beside each other; what alone to do. */
int main(int argc, char **argv)
{
	const char *only = argc > 1 && !isdigit((unsigned char)*argv[1]) ? argv[1] : NULL;

	if (argc > 1 && !only)
		seconds = (unsigned int)atoi(argv[1]);
	swap_on("64M");
	writers_disk();
	without_the_fence();
	card_private_with(FLAGS | NP_OPS_RECLAIM);
	if (only)
		need(parts_named(only) == 1, "there is a part named %s", only);
	else
		for (size_t i = 0; i < COUNT(PARTS); i++)
			PARTS[i].check();
	ok(npt_range(NPT_REMOVE, CARD, 0) == 0, "the node can be taken away");
	return done();
}
