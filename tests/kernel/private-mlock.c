/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Locked memory is not on a private node when mlock has returned, nor later, whatever
 * tries to move it there meanwhile and however it came to be mapped.
 */
#include "private-node.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
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
	unsigned long rounds = 0, failed = 0, found = 0;
	pthread_t mover;

	stop = false;
	pthread_barrier_init(&barrier, NULL, 2);
	need(pthread_create(&mover, NULL, move_there_and_back, NULL) == 0, "a thread");
	for (; time(NULL) < end; rounds++) {
		int rc;

		pthread_barrier_wait(&barrier);
		usleep((useconds_t)(rounds * 7919 % 40000));
		rc = mlock(memory, LENGTH);
		pthread_barrier_wait(&barrier);
		if (rc)
			failed++;
		else
			found += pages_on(memory, LENGTH, CARD);
		munlock(memory, LENGTH);
	}
	stop = true;
	pthread_barrier_wait(&barrier);
	pthread_join(mover, NULL);
	ok(!found,
	   "%s: with mlock and move_pages returned, no locked page is there (%lu in %lu rounds)",
	   what, found, rounds);
	ok(failed < rounds, "%s: mlock succeeds (%lu of %lu times not)", what, failed, rounds);
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
	ok(node_of(again + 5 * PAGE) != CARD, "locked on fault, a page is brought home when read");
	ok(pages_on(file, length, CARD) == length / PAGE - 1, "and only that (%zu of %lu there)",
	   pages_on(file, length, CARD), length / PAGE);
	again[6 * PAGE] = again[6 * PAGE];
	ok(node_of(again + 6 * PAGE) != CARD, "or written");
	ok(filled(again, length, 5) && pages_on(again, length, CARD) == 0,
	   "and in the end all, as they were");
	munmap(again, length);
	munmap(file, length);
	close(fd);
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
	ok(used_pages(CARD) == 0, "nothing stays behind (%ld pages)", used_pages(CARD));
	return done();
}
