// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Preloaded into QEMU, measures what the main loop is held up by: per turn
 * of the loop, from poll to poll, the processor time the loop itself takes
 * and the processor time other threads take under a lock it waits for. That
 * is how late an event can be served on a machine with a processor to spare,
 * and does not depend on whether this machine has one. Knows nothing of the
 * devices.
 *
 * The figures are in a file that CRAM_LOOPWATCH names, three native u64:
 * turns, longest turn, most that locks added to a turn (ns). Whoever reads
 * them may set them to zero.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define SLOTS	  8192u
#define MAX_HOLDS 32

struct figures {
	_Atomic uint64_t turns;
	_Atomic uint64_t longest_turn;
	_Atomic uint64_t longest_wait;
};

/* How long, in ns of processor time, each mutex has been held so far. */
struct slot {
	_Atomic(const void *) mutex;
	_Atomic uint64_t held;
};

struct hold {
	const void *mutex;
	uint64_t since;
};

static struct figures nowhere, *figures = &nowhere;
static struct slot slots[SLOTS];
static int schedstat = -1;
static __thread struct hold holds[MAX_HOLDS];
static __thread int nr_holds;

/* The main thread's. */
static uint64_t turn_start, turn_wait;

static int (*real_lock)(pthread_mutex_t *mutex);
static int (*real_trylock)(pthread_mutex_t *mutex);
static int (*real_unlock)(pthread_mutex_t *mutex);
static int (*real_wait)(pthread_cond_t *cond, pthread_mutex_t *mutex);
static int (*real_timedwait)(pthread_cond_t *cond, pthread_mutex_t *mutex,
			     const struct timespec *until);
static int (*real_ppoll)(struct pollfd *fds, nfds_t n, const struct timespec *timeout,
			 const sigset_t *mask);

/* Data and function pointers are of one size here; C does not say so. */
static void find(void *ret_function, const char *name, const char *version)
{
	void *symbol = dlvsym(RTLD_NEXT, name, version);

	if (!symbol)
		symbol = dlsym(RTLD_NEXT, name);
	if (!symbol)
		abort();
	memcpy(ret_function, &symbol, sizeof(symbol));
}

/* The first lock may be taken before any constructor has run. */
static void find_all(void)
{
	if (real_ppoll)
		return;
	find(&real_lock, "pthread_mutex_lock", "GLIBC_2.2.5");
	find(&real_trylock, "pthread_mutex_trylock", "GLIBC_2.34");
	find(&real_unlock, "pthread_mutex_unlock", "GLIBC_2.2.5");
	find(&real_wait, "pthread_cond_wait", "GLIBC_2.3.2");
	find(&real_timedwait, "pthread_cond_timedwait", "GLIBC_2.3.2");
	find(&real_ppoll, "ppoll", "GLIBC_2.4");
}

__attribute__((constructor)) static void start(void)
{
	const char *path = getenv("CRAM_LOOPWATCH");
	void *map;
	int fd;

	find_all();
	schedstat = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
	if (!path || schedstat < 0)
		return;
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || ftruncate(fd, sizeof(*figures)) < 0)
		return;
	map = mmap(NULL, sizeof(*figures), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (map != MAP_FAILED)
		figures = map;
}

static bool is_main(void)
{
	static __thread int main_thread; /* 0 not known yet, 1 yes, 2 no */

	if (!main_thread)
		main_thread = gettid() == getpid() ? 1 : 2;
	return main_thread == 1;
}

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t own_time(void)
{
	return clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

/* How long, in ns, the main thread has waited for a processor so far. */
static uint64_t kept_waiting(void)
{
	char text[96] = "";
	unsigned long long ran = 0, waited = 0;

	if (pread(schedstat, text, sizeof(text) - 1, 0) > 0 &&
	    sscanf(text, "%llu %llu", &ran, &waited) == 2)
		return waited;
	return 0;
}

static struct slot *slot_of(const void *mutex)
{
	size_t i = ((uintptr_t)mutex >> 3) * 2654435761u % SLOTS;

	for (size_t n = 0; n < SLOTS; n++, i = (i + 1) % SLOTS) {
		const void *seen = atomic_load(&slots[i].mutex);

		if (seen == mutex)
			return &slots[i];
		if (!seen && (atomic_compare_exchange_strong(&slots[i].mutex, &seen, mutex) ||
			      seen == mutex))
			return &slots[i];
	}
	abort();
}

static void held(const void *mutex)
{
	if (nr_holds == MAX_HOLDS)
		abort();
	holds[nr_holds].mutex = mutex;
	holds[nr_holds].since = own_time();
	nr_holds++;
}

/* Before the mutex is free: whoever gets it next is to see the sum. */
static void released(const void *mutex)
{
	for (int i = nr_holds - 1; i >= 0; i--) {
		if (holds[i].mutex != mutex)
			continue;
		atomic_fetch_add(&slot_of(mutex)->held, own_time() - holds[i].since);
		nr_holds--;
		memmove(&holds[i], &holds[i + 1], (size_t)(nr_holds - i) * sizeof(holds[0]));
		return;
	}
}

static void raise_to(_Atomic uint64_t *figure, uint64_t value)
{
	uint64_t seen = atomic_load(figure);

	while (value > seen && !atomic_compare_exchange_weak(figure, &seen, value))
		;
}

int pthread_mutex_lock(pthread_mutex_t *mutex)
{
	uint64_t others, queue, waited, unready;
	int rc;

	find_all();
	if (!is_main()) {
		rc = real_lock(mutex);
	} else if (real_trylock(mutex) == 0) {
		rc = 0;
	} else {
		others = atomic_load(&slot_of(mutex)->held);
		queue = kept_waiting();
		rc = real_lock(mutex);
		/* The whole of a hold that was under way when the wait began counts. */
		waited = atomic_load(&slot_of(mutex)->held) - others;
		/* While it could have gone on, had it had a processor, nobody held it up. */
		unready = kept_waiting() - queue;
		if (waited > unready)
			turn_wait += waited - unready;
	}
	if (rc == 0)
		held(mutex);
	return rc;
}

int pthread_mutex_trylock(pthread_mutex_t *mutex)
{
	int rc;

	find_all();
	rc = real_trylock(mutex);
	if (rc == 0)
		held(mutex);
	return rc;
}

int pthread_mutex_unlock(pthread_mutex_t *mutex)
{
	find_all();
	released(mutex);
	return real_unlock(mutex);
}

/* The loop is not supposed to wait for a condition: all of that time counts. */
static void waited_for_condition(uint64_t since)
{
	if (is_main())
		turn_wait += clock_ns(CLOCK_MONOTONIC) - since;
}

int pthread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex)
{
	uint64_t since = clock_ns(CLOCK_MONOTONIC);
	int rc;

	find_all();
	released(mutex);
	rc = real_wait(cond, mutex);
	held(mutex);
	waited_for_condition(since);
	return rc;
}

int pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex,
			   const struct timespec *until)
{
	uint64_t since = clock_ns(CLOCK_MONOTONIC);
	int rc;

	find_all();
	released(mutex);
	rc = real_timedwait(cond, mutex, until);
	held(mutex);
	waited_for_condition(since);
	return rc;
}

int ppoll(struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask)
{
	int rc;

	find_all();
	if (!is_main())
		return real_ppoll(fds, n, timeout, mask);
	if (turn_start) {
		raise_to(&figures->longest_turn, own_time() - turn_start + turn_wait);
		raise_to(&figures->longest_wait, turn_wait);
		atomic_fetch_add(&figures->turns, 1);
	}
	rc = real_ppoll(fds, n, timeout, mask);
	turn_start = own_time();
	turn_wait = 0;
	return rc;
}
