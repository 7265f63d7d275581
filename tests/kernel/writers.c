/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See writers.h. */
#include "writers.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/futex.h>
#include <linux/io_uring.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "private-node.h"

#ifndef UFFDIO_MOVE
#define UFFDIO_MOVE _IOWR(UFFDIO, 0x05, struct uffdio_move)
struct uffdio_move {
	__u64 dst, src, len, mode;
	__s64 move;
};
#define UFFD_FEATURE_MOVE (1 << 16)
#endif

#define LENGTH (16 * PAGE)
#define WHERE  (5 * PAGE + 1234)

/* What is written to: one at a time. */
static struct target {
	int nid;
	char *memory;
	size_t length;
	int fd;	      /* of the file that it is, or -1 */
	pid_t other;  /* who has it, too, or 0 */
	int to_other; /* told to look by closing this */
	int uffd;     /* that protects it, or -1 */
	pthread_t resolver;
	atomic_int resolved;
} target;

static char *page_at(const char *at)
{
	return (char *)((uintptr_t)at & ~(PAGE - 1));
}

static bool at_home(const char *at)
{
	return node_of(at) >= 0 && node_of(at) != target.nid;
}

bool filled_but(const char *memory, size_t length, size_t at, char byte)
{
	char was = memory[at];
	bool same;

	/* On a copy: putting the byte back would be a write. */
	char *copy = malloc(length);
	static char *original;

	if (!original) {
		original = map_anonymous(2 * HUGE);
		fill(original, 2 * HUGE, 5);
	}
	need(copy != NULL, "memory");
	memcpy(copy, memory, length);
	copy[at] = original[at];
	same = was == byte && filled(copy, length, 5);
	free(copy);
	return same;
}

/*
 * Ways
 */

static bool by_store(char *at, char byte)
{
	*(volatile char *)at = byte;
	return true;
}

static bool by_exchange(char *at, char byte)
{
	__atomic_exchange_n(at, byte, __ATOMIC_SEQ_CST);
	return true;
}

/* The kernel, on its own behalf: copy_to_user(). */
static bool by_read(char *at, char byte)
{
	int ends[2];
	bool done;

	if (pipe(ends))
		return false;
	done = write(ends[1], &byte, 1) == 1 && read(ends[0], at, 1) == 1;
	close(ends[0]);
	close(ends[1]);
	return done;
}

static bool by_process_vm_writev(char *at, char byte)
{
	struct iovec from = { &byte, 1 }, to = { at, 1 };

	return process_vm_writev(getpid(), &from, 1, &to, 1, 0) == 1;
}

static bool by_proc_mem(char *at, char byte)
{
	int fd = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
	bool done = fd >= 0 && pwrite(fd, &byte, 1, (off_t)(uintptr_t)at) == 1;

	close(fd);
	return done;
}

/* FOLL_FORCE: a debugger writes where the process itself may not. */
static bool forced(char *start, size_t length, char *at, char byte)
{
	bool done;

	if (mprotect(start, length, PROT_READ))
		return false;
	done = by_proc_mem(at, byte);
	return mprotect(start, length, PROT_READ | PROT_WRITE) == 0 && done;
}

static bool by_force(char *at, char byte)
{
	return forced(page_at(at), PAGE, at, byte);
}

static bool by_force_where_all_is_forbidden(char *at, char byte)
{
	return forced(target.memory, target.length, at, byte);
}

static bool by_ptrace(char *at, char byte)
{
	uintptr_t word = (uintptr_t)at & ~7UL;
	int status;
	long value;
	bool done;
	pid_t pid;

	/* Only a child can be traced, and it has a copy: judge by that. */
	pid = fork();
	if (pid == 0) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		raise(SIGSTOP);
		_exit(*at == byte ? 0 : 1);
	}
	waitpid(pid, &status, 0);
	value = ptrace(PTRACE_PEEKDATA, pid, word, NULL);
	((char *)&value)[(uintptr_t)at - word] = byte;
	done = ptrace(PTRACE_POKEDATA, pid, word, value) == 0;
	ptrace(PTRACE_CONT, pid, NULL, NULL);
	waitpid(pid, &status, 0);
	/* And in the parent, to be judged like the others. */
	return done && status == 0 && by_store(at, byte);
}

static bool by_fork(char *at, char byte)
{
	char before = *at;
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		*at = (char)(before + 1);
		_exit(*at == (char)(before + 1) ? 0 : 1);
	}
	waitpid(pid, &status, 0);
	if (status || *at != before)
		return false;
	/* Shared with a child that is still there. */
	pid = fork();
	if (pid == 0) {
		pause();
		_exit(0);
	}
	*at = byte;
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	return true;
}

static bool forbidden_and_allowed(char *start, size_t length, char *at, char byte)
{
	if (mprotect(start, length, PROT_READ) || mprotect(start, length, PROT_NONE) ||
	    mprotect(start, length, PROT_READ | PROT_WRITE))
		return false;
	*at = byte;
	return true;
}

static bool by_mprotect(char *at, char byte)
{
	return forbidden_and_allowed(page_at(at), PAGE, at, byte);
}

static bool by_mprotect_of_all(char *at, char byte)
{
	return forbidden_and_allowed(target.memory, target.length, at, byte);
}

/* There and back, as the judge knows one address only. */
static bool by_mremap(char *at, char byte)
{
	char *page = page_at(at);
	char *there = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (mremap(page, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, there) != there)
		return false;
	there[at - page] = byte;
	return mremap(there, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, page) == page;
}

static bool by_futex(char *at, char byte)
{
	uint32_t *word = (uint32_t *)((uintptr_t)at & ~3UL), other = 0, value = *word;

	((char *)&value)[at - (char *)word] = byte;
	/* It does not store, but sets and clears bits. */
	for (unsigned int shift = 0; shift < 32; shift++) {
		bool set = value >> shift & 1;
		unsigned int op =
			FUTEX_OP(set ? FUTEX_OP_OR : FUTEX_OP_ANDN, shift, FUTEX_OP_CMP_EQ, 0);

		/* FUTEX_OP_OPARG_SHIFT */
		op |= 8U << 28;
		if (syscall(__NR_futex, &other, FUTEX_WAKE_OP, 0, 0, word, op) < 0)
			return false;
	}
	return *at == byte;
}

/* A device, or what stands in for one, writes to pages it has pinned. */
static bool by_direct_io(char *at, char byte)
{
	char *page = page_at(at);
	char *buffer = aligned_alloc(PAGE, PAGE);
	int fd = open("/dev/loop0", O_RDWR | O_DIRECT | O_CLOEXEC);
	bool done;

	memcpy(buffer, page, PAGE);
	buffer[at - page] = byte;
	done = fd >= 0 && pwrite(fd, buffer, PAGE, 0) == PAGE && pread(fd, page, PAGE, 0) == PAGE;
	close(fd);
	free(buffer);
	return done;
}

/* Written while a pipe holds on to the page for as long as it likes. */
static bool while_in_a_pipe(char *at, char byte)
{
	char *page = page_at(at);
	struct iovec vector = { page, PAGE };
	char *before = malloc(PAGE), *after = malloc(PAGE);
	int ends[2];
	bool done;

	if (pipe(ends))
		return false;
	memcpy(before, page, PAGE);
	done = vmsplice(ends[1], &vector, 1, 0) == (ssize_t)PAGE;
	*at = byte;
	done = done && read(ends[0], after, PAGE) == (ssize_t)PAGE;
	/* Either is right, but nothing else. */
	after[at - page] = before[at - page];
	done = done && memcmp(before, after, PAGE) == 0;
	close(ends[0]);
	close(ends[1]);
	free(before);
	free(after);
	return done;
}

static bool moved_by_uffd(char *start, size_t length, char *there, char *at, char byte)
{
	int fd = userfaultfd_for(there, length, UFFDIO_REGISTER_MODE_MISSING, UFFD_FEATURE_MOVE);
	struct uffdio_move move = { .dst = (uintptr_t)there,
				    .src = (uintptr_t)start,
				    .len = length };
	bool done = fd >= 0 && ioctl(fd, UFFDIO_MOVE, &move) == 0;

	if (!done)
		note("UFFDIO_MOVE: %m");
	if (done)
		there[at - start] = byte;
	close(fd);
	/* Nothing is left at the old address: bring the memory back to be judged. */
	return done && mremap(there, length, length, MREMAP_MAYMOVE | MREMAP_FIXED, start) == start;
}

static bool by_uffd_move(char *at, char byte)
{
	return moved_by_uffd(page_at(at), PAGE, map_anonymous(PAGE), at, byte);
}

static bool by_uffd_move_of_all(char *at, char byte)
{
	return moved_by_uffd(target.memory, target.length, map_huge(target.length), at, byte);
}

static bool by_uffd_copy(char *at, char byte)
{
	char *page = page_at(at), *buffer = aligned_alloc(PAGE, PAGE);
	struct uffdio_copy copy = { .dst = (uintptr_t)page, .src = (uintptr_t)buffer, .len = PAGE };
	bool done;
	int fd;

	memcpy(buffer, page, PAGE);
	buffer[at - page] = byte;
	fd = userfaultfd_for(page, PAGE, UFFDIO_REGISTER_MODE_MISSING, 0);
	done = fd >= 0 && madvise(page, PAGE, MADV_DONTNEED) == 0 &&
	       ioctl(fd, UFFDIO_COPY, &copy) == 0;
	close(fd);
	free(buffer);
	return done;
}

/* Who takes a protection of his own away does not take the fence with it. */
static bool by_uffd_unprotect(char *at, char byte)
{
	struct uffdio_writeprotect protect = { .range = { (uintptr_t)page_at(at), PAGE },
					       .mode = UFFDIO_WRITEPROTECT_MODE_WP };
	int fd = userfaultfd_for(page_at(at), PAGE, UFFDIO_REGISTER_MODE_WP, 0);
	bool done = fd >= 0 && ioctl(fd, UFFDIO_WRITEPROTECT, &protect) == 0;

	protect.mode = 0;
	done = done && ioctl(fd, UFFDIO_WRITEPROTECT, &protect) == 0;
	if (done)
		*at = byte;
	close(fd);
	return done;
}

static bool by_compare_exchange(char *at, char byte)
{
	char before = *at;

	return __atomic_compare_exchange_n(at, &before, byte, false, __ATOMIC_SEQ_CST,
					   __ATOMIC_SEQ_CST);
}

static bool by_populate(char *at, char byte)
{
	if (madvise(page_at(at), PAGE, MADV_POPULATE_WRITE) || !at_home(at))
		return false;
	*at = byte;
	return true;
}

static bool by_mlock(char *at, char byte)
{
	bool done = mlock(page_at(at), PAGE) == 0 && at_home(at);

	*at = byte;
	return munlock(page_at(at), PAGE) == 0 && done;
}

static bool when_cold(char *at, char byte)
{
	if (madvise(page_at(at), PAGE, MADV_COLD))
		return false;
	*at = byte;
	return true;
}

/* A buffer that is pinned for as long as its owner likes, and written to at any time. */
static bool by_io_uring(char *at, char byte)
{
	struct io_uring_params params = {};
	struct iovec buffer = { page_at(at), PAGE };
	int ring = (int)syscall(__NR_io_uring_setup, 1, &params), ends[2];
	size_t length = params.sq_off.array + sizeof(unsigned int);
	struct io_uring_sqe *entry;
	char *queue;
	bool done;

	if (ring < 0 || pipe(ends))
		return false;
	queue = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring,
		     IORING_OFF_SQ_RING);
	entry = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring,
		     IORING_OFF_SQES);
	need(queue != MAP_FAILED && entry != MAP_FAILED, "a ring: %m");
	done = syscall(__NR_io_uring_register, ring, IORING_REGISTER_BUFFERS, &buffer, 1) == 0 &&
	       at_home(at);
	*entry = (struct io_uring_sqe){
		.opcode = IORING_OP_READ_FIXED, .fd = ends[0], .addr = (uintptr_t)at, .len = 1
	};
	*(unsigned int *)(queue + params.sq_off.array) = 0;
	__atomic_store_n((unsigned int *)(queue + params.sq_off.tail), 1, __ATOMIC_RELEASE);
	done = done && write(ends[1], &byte, 1) == 1 &&
	       syscall(__NR_io_uring_enter, ring, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) == 1;
	munmap(queue, length);
	munmap(entry, PAGE);
	close(ring);
	close(ends[0]);
	close(ends[1]);
	return done;
}

/* The file's own */

static off_t offset_of(const char *at)
{
	return at - target.memory;
}

static bool by_write(char *at, char byte)
{
	return pwrite(target.fd, &byte, 1, offset_of(at)) == 1;
}

static bool by_splice(char *at, char byte)
{
	loff_t to = offset_of(at);
	int ends[2];
	bool done;

	if (pipe(ends))
		return false;
	done = write(ends[1], &byte, 1) == 1 &&
	       splice(ends[0], NULL, target.fd, &to, 1, SPLICE_F_MOVE) == 1;
	close(ends[0]);
	close(ends[1]);
	return done;
}

/* The kernel writes zeros to what a hole has of a page. */
static bool by_hole(char *at, char byte)
{
	if (fallocate(target.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset_of(at), 1) ||
	    *at != 0 || !at_home(at))
		return false;
	*at = byte;
	return true;
}

/* Mapped anew by who reads it, all of it at once if it can be. */
static bool in_a_new_mapping(char *at, char byte)
{
	if (mmap(target.memory, target.length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
		 target.fd, 0) != target.memory)
		return false;
	(void)*(volatile char *)at;
	*at = byte;
	return true;
}

/* Mapped anew by the process's own handler of faults. */
static bool by_uffd_continue(char *at, char byte)
{
	char *page = page_at(at);
	struct uffdio_continue map = { .range = { (uintptr_t)page, PAGE } };
	int fd = userfaultfd_for(page, PAGE, UFFDIO_REGISTER_MODE_MINOR, UFFD_FEATURE_MINOR_SHMEM);
	bool done = fd >= 0 && madvise(page, PAGE, MADV_DONTNEED) == 0 &&
		    ioctl(fd, UFFDIO_CONTINUE, &map) == 0;

	/* Nobody would handle another. */
	close(fd);
	if (done)
		*at = byte;
	return done;
}

/* Which kinds of memory a way is for */
#define PRIVATE	  (1U << 0) /* the process's own copy */
#define ALONE	  (1U << 1) /* nobody else's, and no userfaultfd's */
#define FILE_	  (1U << 2) /* a file that is the target's */
#define UNTRAPPED (1U << 3) /* nobody's leave has to be waited for */
#define HUGE_	  (1U << 4) /* one huge page, which one entry can map */

static const struct {
	const char *name;
	bool (*write)(char *at, char byte);
	unsigned int needs;
} WAYS[] = {
	{ "a store", by_store, 0 },
	{ "an atomic exchange", by_exchange, 0 },
	{ "an atomic comparison", by_compare_exchange, 0 },
	{ "read(2)", by_read, 0 },
	{ "process_vm_writev", by_process_vm_writev, 0 },
	/* These, and futexes, do not wait for userfaultfd: they fail, as everywhere. */
	{ "/proc/self/mem", by_proc_mem, UNTRAPPED },
	{ "/proc/self/mem by force", by_force, PRIVATE | UNTRAPPED },
	{ "/proc/self/mem by force, all of it forbidden", by_force_where_all_is_forbidden,
	  PRIVATE | UNTRAPPED | HUGE_ },
	{ "ptrace", by_ptrace, PRIVATE },
	{ "writes after fork", by_fork, PRIVATE },
	{ "mprotect and a store", by_mprotect, 0 },
	{ "mprotect of all of it and a store", by_mprotect_of_all, HUGE_ },
	{ "mremap and a store", by_mremap, 0 },
	{ "a futex operation", by_futex, UNTRAPPED },
	{ "direct I/O", by_direct_io, 0 },
	{ "a pinned buffer", by_io_uring, 0 },
	{ "a store while in a pipe", while_in_a_pipe, 0 },
	{ "UFFDIO_MOVE and a store", by_uffd_move, ALONE },
	{ "UFFDIO_MOVE of all of it and a store", by_uffd_move_of_all, ALONE | HUGE_ },
	{ "UFFDIO_COPY", by_uffd_copy, ALONE },
	{ "UFFDIO_WRITEPROTECT and a store", by_uffd_unprotect, ALONE },
	{ "MADV_POPULATE_WRITE and a store", by_populate, 0 },
	{ "MADV_COLD and a store", when_cold, 0 },
	{ "mlock and a store", by_mlock, 0 },
	{ "write(2) to the file", by_write, FILE_ },
	{ "splice to the file", by_splice, FILE_ },
	{ "a hole in the file and a store", by_hole, FILE_ },
	{ "a new mapping and a store", in_a_new_mapping, FILE_ },
	{ "UFFDIO_CONTINUE and a store", by_uffd_continue, FILE_ },
};

/*
 * Kinds of memory: each fills the target, puts it on the node, and does what is to
 * be done after that.
 */

static void to_node(void)
{
	need(move_to(target.memory, target.length, target.nid) == 0,
	     "memory can be moved to the node");
}

static void small(void)
{
	target.memory = map_anonymous(LENGTH);
	need(madvise(target.memory, LENGTH, MADV_NOHUGEPAGE) == 0, "small pages: %m");
	fill(target.memory, LENGTH, 5);
	to_node();
}

static void huge(void)
{
	target.length = HUGE;
	target.memory = map_huge(HUGE);
	fill(target.memory, HUGE, 5);
	to_node();
}

/* Unmapped to be swapped out, but held by a pipe: they were never away when they come back. */
static void back_from_swap(void)
{
	struct iovec all;
	int ends[2];

	small();
	/* What is on its way to a list yet is not swapped out. */
	drain_lru_lists(target.nid);
	all = (struct iovec){ target.memory, LENGTH };
	need(pipe(ends) == 0 && vmsplice(ends[1], &all, 1, 0) == (ssize_t)LENGTH, "vmsplice: %m");
	need(madvise(target.memory, LENGTH, MADV_PAGEOUT) == 0 &&
		     pages_on(target.memory, LENGTH, target.nid) == 0,
	     "pages can be unmapped to be swapped out");
	need(filled(target.memory, LENGTH, 5), "and read again");
	close(ends[0]);
	close(ends[1]);
}

static void shared(void)
{
	target.memory = map_shared(LENGTH, &target.fd);
	fill(target.memory, LENGTH, 5);
	to_node();
}

static void shared_huge(void)
{
	target.length = HUGE;
	target.memory = map_huge_file(HUGE, &target.fd);
	to_node();
}

/* Pages of a file that the process may not write to, or its own copies of them. */
static void private_file(bool copied)
{
	char *memory = map_shared(LENGTH, &target.fd);

	fill(memory, LENGTH, 5);
	munmap(memory, LENGTH);
	target.memory = mmap(NULL, LENGTH, PROT_READ | PROT_WRITE, MAP_PRIVATE, target.fd, 0);
	need(target.memory != MAP_FAILED, "mmap: %m");
	for (size_t at = 0; at < LENGTH; at += PAGE) {
		volatile char *byte = target.memory + at;

		if (copied)
			*byte = *byte;
		else
			(void)*byte;
	}
	to_node();
}

static void private_of_file(void)
{
	private_file(false);
}

static void private_copies(void)
{
	private_file(true);
}

/* Another process that has the memory, too, and looks at it when it is told. */
static void share(bool sees_it)
{
	int ready[2], look[2];
	char byte;

	need(pipe(ready) == 0 && pipe(look) == 0, "pipe: %m");
	target.other = fork();
	if (target.other == 0) {
		bool right = filled(target.memory, target.length, 5);

		close(look[1]);
		need(write(ready[1], "r", 1) == 1 && read(look[0], &byte, 1) == 0, "pipe: %m");
		right = right && (sees_it ? filled_but(target.memory, target.length, WHERE, 'x')
					  : filled(target.memory, target.length, 5));
		_exit(right ? 0 : 1);
	}
	need(target.other > 0 && read(ready[0], &byte, 1) == 1, "fork: %m");
	close(ready[0]);
	close(ready[1]);
	close(look[0]);
	target.to_other = look[1];
}

static void forked(void)
{
	small();
	share(false);
}

static void forked_huge(void)
{
	huge();
	share(false);
}

static void several(void)
{
	shared();
	share(true);
}

static bool soft_dirty(const char *at)
{
	uint64_t entry;

	page_map(at, PAGE, &entry);
	return entry >> 55 & 1;
}

static void watched(void)
{
	small();
	need(write_file("/proc/self/clear_refs", "4") == 0 && !soft_dirty(target.memory + WHERE),
	     "soft-dirty bits can be cleared");
}

static void *resolve(void *unused)
{
	struct pollfd event = { .fd = target.uffd, .events = POLLIN };
	struct uffd_msg message;

	(void)unused;
	/* Until the target is taken down. */
	while (poll(&event, 1, -1) == 1 && !(event.revents & POLLNVAL)) {
		struct uffdio_writeprotect protect = { .range.len = PAGE };

		if (read(target.uffd, &message, sizeof(message)) != sizeof(message))
			break;
		if (message.event != UFFD_EVENT_PAGEFAULT)
			continue;
		protect.range.start = (uintptr_t)message.arg.pagefault.address & ~(PAGE - 1);
		need(ioctl(target.uffd, UFFDIO_WRITEPROTECT, &protect) == 0, "unprotect: %m");
		target.resolved++;
	}
	return NULL;
}

/* Protected by userfaultfd, with a thread that lets writes through. */
static void protected(void)
{
	struct uffdio_writeprotect protect = { .mode = UFFDIO_WRITEPROTECT_MODE_WP };

	small();
	target.uffd = userfaultfd_for(target.memory, LENGTH, UFFDIO_REGISTER_MODE_WP, 0);
	protect.range.start = (uintptr_t)target.memory;
	protect.range.len = LENGTH;
	need(target.uffd >= 0 && ioctl(target.uffd, UFFDIO_WRITEPROTECT, &protect) == 0 &&
		     pthread_create(&target.resolver, NULL, resolve, NULL) == 0,
	     "userfaultfd's write protection: %m");
}

static const struct {
	const char *name;
	void (*make)(void);
	unsigned int is;
} KINDS[] = {
	{ "small pages", small, PRIVATE | ALONE | UNTRAPPED },
	{ "a huge page", huge, PRIVATE | ALONE | UNTRAPPED | HUGE_ },
	{ "forked pages", forked, PRIVATE | UNTRAPPED },
	{ "a forked huge page", forked_huge, PRIVATE | UNTRAPPED | HUGE_ },
	{ "soft-dirty pages", watched, PRIVATE | ALONE | UNTRAPPED },
	{ "protected pages", protected, PRIVATE },
	{ "pages back from swap", back_from_swap, PRIVATE | ALONE | UNTRAPPED },
	{ "pages of a private file", private_of_file, PRIVATE | UNTRAPPED },
	{ "copies of a private file", private_copies, PRIVATE | UNTRAPPED },
	{ "shared memory", shared, FILE_ | UNTRAPPED },
	{ "a shared huge page", shared_huge, FILE_ | UNTRAPPED | HUGE_ },
	{ "memory of several", several, FILE_ | UNTRAPPED },
};

/* What each kind is about, after a write. */
static void judge_kind(const char *kind, const char *way, void (*make)(void))
{
	int status;
	char byte;

	if (target.other) {
		close(target.to_other);
		need(waitpid(target.other, &status, 0) == target.other, "wait: %m");
		ok(status == 0, "%s, %s: who has it, too, sees what he is to see", kind, way);
	}
	if (make == watched)
		ok(soft_dirty(target.memory + WHERE), "%s, %s: seen as written", kind, way);
	if (make == private_of_file || make == private_copies)
		ok(pread(target.fd, &byte, 1, (off_t)WHERE) == 1 && byte != 'x',
		   "%s, %s: the file is as before", kind, way);
}

static void take_down(void)
{
	if (target.uffd >= 0) {
		pthread_cancel(target.resolver);
		pthread_join(target.resolver, NULL);
		close(target.uffd);
	}
	munmap(target.memory, target.length);
	if (target.fd >= 0)
		close(target.fd);
}

static void write_one_way(int nid, const struct judge *judge, size_t k, size_t w)
{
	const char *kind = KINDS[k].name, *way = WAYS[w].name;
	size_t pages;
	bool done, whole;

	target = (struct target){ .nid = nid, .length = LENGTH, .fd = -1, .uffd = -1 };
	if (judge->before)
		judge->before(HUGE);
	KINDS[k].make();
	pages = target.length / PAGE;
	need(pages_on(target.memory, target.length, nid) == pages &&
		     filled(target.memory, target.length, 5),
	     "%s on the node", kind);
	if (judge->begin)
		judge->begin(target.memory, target.length);
	done = WAYS[w].write(target.memory + WHERE, 'x');
	ok(done, "%s, %s: works: %m", kind, way);
	ok(filled_but(target.memory, target.length, WHERE, 'x'), "%s, %s: writes that byte alone",
	   kind, way);
	ok(at_home(target.memory + WHERE), "%s, %s: the page is at home", kind, way);
	/* What somebody holds a part of cannot be split: all of it is copied. */
	whole = KINDS[k].make == shared_huge && WAYS[w].write == while_in_a_pipe;
	ok(pages_on(target.memory, target.length, nid) == (whole ? 0 : pages - 1),
	   "%s, %s: and no other (%zu of %zu still there)", kind, way,
	   pages_on(target.memory, target.length, nid), pages);
	judge_kind(kind, way, KINDS[k].make);
	judge->end(way, target.memory, target.length);
	take_down();
}

static bool is_row(const char *name, size_t k, size_t w)
{
	char row[128];

	snprintf(row, sizeof(row), "%s, %s", KINDS[k].name, WAYS[w].name);
	return strcmp(row, name) == 0;
}

size_t write_all_ways(int nid, const struct judge *judge, const char *only)
{
	size_t rows = 0;

	/* It may make small pages of a file huge again before they are counted. */
	khugepaged_sleeps();
	for (size_t k = 0; k < COUNT(KINDS); k++)
		for (size_t w = 0; w < COUNT(WAYS); w++)
			if ((WAYS[w].needs & ~KINDS[k].is) == 0 && (!only || is_row(only, k, w))) {
				write_one_way(nid, judge, k, w);
				rows++;
			}
	return rows;
}

void writers_disk(void)
{
	need(system("dd if=/dev/zero of=/run/disk bs=1M count=1 2>/dev/null && losetup /dev/loop0 /run/disk") ==
		     0,
	     "a disk");
}
