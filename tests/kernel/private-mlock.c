/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Locked memory is not on a private node when mlock has returned, nor later, whatever
 * tries to move it there meanwhile and however it came to be mapped.
 */
#include "private-node.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <numaif.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define PAGES  4096
#define LENGTH (PAGES * PAGE)

#ifndef MLOCK_ONFAULT
#define MLOCK_ONFAULT 1
#endif

static char *memory;
static atomic_bool stop;
static pthread_barrier_t barrier;

static bool at_home(const char *at)
{
	const int node = node_of(at);

	return node >= 0 && node != CARD;
}

/* A write that no compiler leaves out, though it changes nothing. */
static void put(char *at, char byte)
{
	*(volatile char *)at = byte;
}

/* Moves all of it there and back, from a moment that both threads agree on. */
static void *move_there_and_back(void *argument)
{
	(void)argument;
	for (;;) {
		pthread_barrier_wait(&barrier);
		if (stop)
			return NULL;
		move_to(memory, LENGTH, CARD);
		move_to(memory, LENGTH, HOME);
		move_to(memory, LENGTH, CARD);
		pthread_barrier_wait(&barrier);
	}
}

/* Rounds in which mlock meets the moves at another moment each. */
static void against_movers(const char *what, int seconds)
{
	const time_t end = time(NULL) + seconds;
	unsigned long rounds = 0, failed = 0, wrongly = 0, found = 0;
	pthread_t mover;

	stop = false;
	pthread_barrier_init(&barrier, NULL, 2);
	need(pthread_create(&mover, NULL, move_there_and_back, NULL) == 0, "a thread");
	for (; time(NULL) < end; rounds++) {
		int error;

		pthread_barrier_wait(&barrier);
		usleep((useconds_t)(rounds * 7919 % 40000));
		error = mlock(memory, LENGTH) ? errno : 0;
		pthread_barrier_wait(&barrier);
		if (error) {
			failed++;
			wrongly += error != EAGAIN;
		} else {
			found += pages_on(memory, LENGTH, CARD);
		}
		munlock(memory, LENGTH);
	}
	stop = true;
	pthread_barrier_wait(&barrier);
	pthread_join(mover, NULL);
	ok(!found,
	   "%s: with mlock and move_pages returned, no locked page is there (%lu in %lu rounds)",
	   what, found, rounds);
	ok(rounds >= 10 && failed * 10 <= rounds && !wrongly,
	   "%s: mlock succeeds nine times of ten, and else says EAGAIN (%lu of %lu times not, %lu otherwise)",
	   what, failed, rounds, wrongly);
	need(move_to(memory, LENGTH, HOME) == 0 && filled(memory, LENGTH, 5), "%s: memory at home",
	     what);
}

/* Mapped page by page when touched, from a file that has pages there already. */
static void locked_on_fault(void)
{
	const size_t length = 64 * PAGE;
	char *file, *again;
	volatile char sum = 0;
	int fd;

	file = map_shared(length, &fd);
	fill(file, length, 5);
	need(move_to(file, length, CARD) == 0, "a file there");
	again = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	need(again != MAP_FAILED && mlock2(again, length, MLOCK_ONFAULT) == 0, "mlock2: %m");
	sum += again[5 * PAGE];
	ok(at_home(again + 5 * PAGE), "locked on fault, a page is brought home when read");
	ok(pages_on(file, length, CARD) == length / PAGE - 1, "and only that (%zu of %lu there)",
	   pages_on(file, length, CARD), length / PAGE);
	put(again + 6 * PAGE, file[6 * PAGE]);
	ok(at_home(again + 6 * PAGE), "or written");
	ok(filled(again, length, 5) && pages_on(again, length, CARD) == 0,
	   "and in the end all, as they were");
	munmap(again, length);
	munmap(file, length);
	close(fd);
}

/* First touch goes by a policy that names the card alone, but not where memory is locked. */
static void first_touch(void)
{
	const size_t length = 8 * PAGE;
	char *small = map_anonymous(length), *huge = map_huge(HUGE);

	need(madvise(small, length, MADV_NOHUGEPAGE) == 0, "small pages: %m");
	need(bind_to(small, length, MPOL_BIND, 1 << CARD, 0) == 0 &&
		     bind_to(huge, HUGE, MPOL_BIND, 1 << CARD, 0) == 0,
	     "policies");
	small[0] = 1;
	need(node_of(small) == CARD, "first touch by such a policy");
	need(mlock2(small, length, MLOCK_ONFAULT) == 0 && mlock2(huge, HUGE, MLOCK_ONFAULT) == 0,
	     "mlock2: %m");
	ok(at_home(small), "locking on fault, too, brings home what is there");
	small[PAGE] = 1;
	huge[0] = 1;
	ok(at_home(small + PAGE) && at_home(huge),
	   "first touch of locked memory is not there, whatever the policy (nodes %d, %d)",
	   node_of(small + PAGE), node_of(huge));
	munmap(small, length);
	munmap(huge, HUGE);
}

/* A mapping of a file, locked on fault, whose faults somebody else resolves. */
static char *map_resolved(int fd, size_t length, uint64_t mode, int *ret_uffd)
{
	const uint64_t features = mode == UFFDIO_REGISTER_MODE_MINOR ? UFFD_FEATURE_MINOR_SHMEM : 0;
	char *mapped = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	need(mapped != MAP_FAILED, "mmap: %m");
	*ret_uffd = userfaultfd_for(mapped, length, mode, features);
	need(*ret_uffd >= 0, "userfaultfd: %m");
	need(mlock2(mapped, length, MLOCK_ONFAULT) == 0, "mlock2: %m");
	return mapped;
}

static void resolved_by_userfaultfd(void)
{
	const size_t length = 8 * PAGE;
	struct uffdio_continue resolve = { 0 };
	struct uffdio_copy copy = { 0 };
	int fd, uffd, rc, ends[2];
	char *file, *locked, *source, byte = 0;
	struct iovec vector;

	file = map_shared(length, &fd);
	fill(file, length, 5);
	need(move_to(file, length, CARD) == 0, "a file there");
	vector = (struct iovec){ file + PAGE, PAGE };
	need(pipe(ends) == 0 && vmsplice(ends[1], &vector, 1, 0) == (ssize_t)PAGE, "vmsplice: %m");
	locked = map_resolved(fd, length, UFFDIO_REGISTER_MODE_MINOR, &uffd);
	resolve.range = (struct uffdio_range){ (uintptr_t)locked, length };
	rc = ioctl(uffd, UFFDIO_CONTINUE, &resolve);
	ok(rc == 0 && resolve.mapped == (long long)length,
	   "UFFDIO_CONTINUE maps what is there (%lld bytes)", (long long)resolve.mapped);
	ok(pages_on(locked, length, CARD) == 0 && filled(locked, length, 5),
	   "at home, where memory is locked, as it was (%zu pages there)",
	   pages_on(locked, length, CARD));
	ok(read(ends[0], &byte, 1) == 1 && byte == locked[PAGE], "one that a pipe holds is copied");
	close(ends[0]);
	close(ends[1]);
	close(uffd);
	munmap(locked, length);
	munmap(file, length);
	close(fd);

	source = map_anonymous(length);
	fill(source, length, 6);
	file = map_shared(length, &fd);
	need(bind_to(file, length, MPOL_BIND, 1 << CARD, 0) == 0, "a policy");
	file[7 * PAGE] = 1;
	need(node_of(file + 7 * PAGE) == CARD, "first touch of the file by its policy");
	locked = map_resolved(fd, length, UFFDIO_REGISTER_MODE_MISSING, &uffd);
	copy.dst = (uintptr_t)locked;
	copy.src = (uintptr_t)source;
	copy.len = 7 * PAGE;
	rc = ioctl(uffd, UFFDIO_COPY, &copy);
	ok(rc == 0 && copy.copy == (long long)(7 * PAGE),
	   "UFFDIO_COPY fills a file that belongs there (%lld bytes)", (long long)copy.copy);
	ok(pages_on(locked, 7 * PAGE, CARD) == 0 && filled(locked, 7 * PAGE, 6),
	   "at home, where memory is locked (%zu pages there)", pages_on(locked, 7 * PAGE, CARD));
	close(uffd);
	munmap(locked, length);
	munmap(file, length);
	munmap(source, length);
	close(fd);
}

/* MADV_COLLAPSE maps a huge page of a file that is there already. */
static void collapsed(void)
{
	int fd, rc;
	char *file = map_huge_file(HUGE, &fd), *locked = map_huge(HUGE);
	volatile char sum = 0;

	need(move_to(file, HUGE, CARD) == 0 && pages_on(file, HUGE, CARD) == HUGE / PAGE,
	     "a huge page of a file there");
	need(mmap(locked, HUGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == locked,
	     "mmap: %m");
	need(mlock2(locked, HUGE, MLOCK_ONFAULT) == 0, "mlock2: %m");
	rc = madvise(locked, HUGE, MADV_COLLAPSE);
	ok(pages_on(locked, HUGE, CARD) == 0,
	   "MADV_COLLAPSE maps none of it where memory is locked (%d, %zu pages)", rc,
	   pages_on(locked, HUGE, CARD));
	sum += locked[5 * PAGE];
	ok(at_home(locked + 5 * PAGE) && filled(locked, HUGE, 5) &&
		   pages_on(locked, HUGE, CARD) == 0,
	   "and when it is read it is at home, as it was");
	munmap(locked, HUGE);
	munmap(file, HUGE);
	close(fd);
}

/*
 * Somebody is about to write to a page that he has pinned, as a device would: the byte comes
 * from memory that is not there yet.
 */
struct pinned {
	char *at, *from;
	ssize_t written;
};

static void *write_pinned(void *argument)
{
	struct pinned *p = argument;
	struct iovec from = { p->from, PAGE }, to = { p->at, PAGE };

	p->written = process_vm_writev(getpid(), &from, 1, &to, 1, 0);
	return NULL;
}

static void *read_locked(void *argument)
{
	(void)*(volatile char *)argument;
	return NULL;
}

/* It is not moved from under him, nor copied: what he writes would be lost. */
static void written_by_a_device(void)
{
	struct uffdio_copy copy = { .len = PAGE };
	struct uffd_msg message;
	char *bytes = map_anonymous(PAGE), *file, *locked;
	struct pinned pinned;
	pthread_t writer, reader;
	int fd, uffd;

	file = map_shared(4 * PAGE, &fd);
	fill(file, 4 * PAGE, 5);
	fill(bytes, PAGE, 6);
	need(move_to(file, 4 * PAGE, CARD) == 0, "a file there");
	locked = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	need(locked != MAP_FAILED && mlock2(locked, 4 * PAGE, MLOCK_ONFAULT) == 0, "mlock2: %m");
	pinned = (struct pinned){ .at = file, .from = map_anonymous(PAGE) };
	uffd = userfaultfd_for(pinned.from, PAGE, UFFDIO_REGISTER_MODE_MISSING, 0);
	need(uffd >= 0, "userfaultfd: %m");
	need(pthread_create(&writer, NULL, write_pinned, &pinned) == 0, "a thread");
	need(read(uffd, &message, sizeof(message)) == (ssize_t)sizeof(message),
	     "he has the page, and wants the byte: %m");
	need(pthread_create(&reader, NULL, read_locked, locked) == 0, "a thread");
	usleep(200000);
	copy.dst = (uintptr_t)pinned.from;
	copy.src = (uintptr_t)bytes;
	need(ioctl(uffd, UFFDIO_COPY, &copy) == 0, "UFFDIO_COPY: %m");
	pthread_join(writer, NULL);
	pthread_join(reader, NULL);
	ok(pinned.written == (ssize_t)PAGE && at_home(locked) && filled(locked, PAGE, 6) &&
		   filled(file, PAGE, 6),
	   "what is written by who had a page pinned is not lost when it is locked (%zd bytes)",
	   pinned.written);
	close(uffd);
	munmap(pinned.from, PAGE);
	munmap(bytes, PAGE);
	munmap(locked, 4 * PAGE);
	munmap(file, 4 * PAGE);
	close(fd);
}

/* Pages of the card that were unmapped to be swapped out, but are held: they stay in the swap
 * cache. */
static void back_from_the_swap_cache(void)
{
	const size_t length = 16 * PAGE;
	char *small = small_on(CARD, length), byte = 0;
	const char second = small[PAGE];
	struct iovec vector = { small, length };
	volatile char sum = 0;
	int ends[2];

	need(pipe(ends) == 0 && fcntl(ends[1], F_SETPIPE_SZ, 1 << 20) > 0 &&
		     vmsplice(ends[1], &vector, 1, 0) == (ssize_t)length,
	     "vmsplice: %m");
	need(madvise(small, length, MADV_PAGEOUT) == 0, "MADV_PAGEOUT: %m");
	need(node_of(small) < 0 && used_pages(CARD) == (long)(length / PAGE),
	     "pages are not mapped (%d), but there (%ld)", node_of(small), used_pages(CARD));
	need(mlock2(small, length, MLOCK_ONFAULT) == 0, "mlock2: %m");
	sum += small[0];
	put(small + PAGE, second);
	ok(at_home(small) && at_home(small + PAGE),
	   "locked, a page comes home from the swap cache when read or written (nodes %d, %d)",
	   node_of(small), node_of(small + PAGE));
	ok(filled(small, length, 5) && pages_on(small, length, CARD) == 0,
	   "and in the end all, as they were");
	ok(read(ends[0], &byte, 1) == 1 && byte == small[0], "whoever held one keeps it");
	close(ends[0]);
	close(ends[1]);
	ok(used_pages(CARD) == 0, "then the card has nothing of it (%ld pages)", used_pages(CARD));
	munmap(small, length);
}

int main(int argc, char **argv)
{
	const int seconds = argc > 1 ? atoi(argv[1]) : 15;

	card_private();
	need(npt_set_ops(CARD, NP_OPS_MIGRATION | NP_OPS_MEMPOLICY) == 0, "operations");

	memory = map_anonymous(LENGTH);
	need(madvise(memory, LENGTH, MADV_NOHUGEPAGE) == 0, "small pages: %m");
	fill(memory, LENGTH, 5);
	against_movers("anonymous memory", seconds);
	munmap(memory, LENGTH);

	memory = map_huge(LENGTH);
	fill(memory, LENGTH, 5);
	against_movers("huge pages", seconds);
	munmap(memory, LENGTH);

	memory = map_shared(LENGTH, NULL);
	fill(memory, LENGTH, 5);
	against_movers("shared memory", seconds);
	munmap(memory, LENGTH);

	locked_on_fault();
	first_touch();
	resolved_by_userfaultfd();
	collapsed();
	written_by_a_device();
	swap_on("64M");
	need(npt_set_ops(CARD, NP_OPS_MIGRATION | NP_OPS_MEMPOLICY | NP_OPS_RECLAIM) == 0,
	     "operations");
	back_from_the_swap_cache();
	ok(used_pages(CARD) == 0, "nothing stays behind (%ld pages)", used_pages(CARD));
	return done();
}
