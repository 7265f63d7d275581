/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * No allocation that fails does harm. What can be done with a private node is done
 * again and again, with the kernel's first allocation on the way failing, then the
 * second, and so on until all goes through. Each time the call works, or says why it
 * does not and leaves pages, contents and state as they were; in the end no page is
 * lost. Only the debug kernel can make allocations fail.
 */
#include "private-node.h"

#include <errno.h>
#include <fcntl.h>
#include <numaif.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

#define LENGTH (16 * PAGE)
#define MOST   500 /* allocations of one call */
#define WHERE  100 /* the byte of a page that is written */

/* Making the n-th allocation of this thread fail */

static int nth = -1;

static void prepare_injection(void)
{
	static const char *const settings[][2] = {
		{ "failslab/ignore-gfp-wait", "N" },
		{ "failslab/verbose", "0" },
		{ "fail_page_alloc/ignore-gfp-wait", "N" },
		{ "fail_page_alloc/ignore-gfp-highmem", "N" },
		{ "fail_page_alloc/min-order", "0" },
		{ "fail_page_alloc/verbose", "0" },
	};

	for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
		char path[128];
		int rc;

		snprintf(path, sizeof(path), "/sys/kernel/debug/%s", settings[i][0]);
		rc = write_file(path, settings[i][1]);
		need(rc == 0, "%s can be set: %s", path, strerror(-rc));
	}
	nth = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
	need(nth >= 0, "fail-nth can be opened: %m");
}

static void fail_at(unsigned int n)
{
	char text[16];
	int length = snprintf(text, sizeof(text), "%u", n);

	need(pwrite(nth, text, (size_t)length, 0) == length, "fail-nth can be written: %m");
}

/* No more failures. Was there one? */
static bool has_failed(void)
{
	char text[16] = "";
	bool failed;

	need(pread(nth, text, sizeof(text) - 1, 0) > 0, "fail-nth can be read: %m");
	failed = atoi(text) == 0;
	fail_at(0);
	return failed;
}

/* One thing to do */

struct attempt {
	const char *name;
	void (*prepare)(void);
	long (*act)(void);	   /* 0, -errno, or how many pages stayed where they were */
	bool (*done)(bool failed); /* act worked: is all as it should be? */
	bool (*unchanged)(void);   /* act failed: is all as it was? */
	void (*undo)(bool worked);
	int also; /* an errno beside those of memory that cannot be had or moved */
};

static long used_before; /* pages of the card in use after prepare */

static bool is_clean(long rc, int also)
{
	return rc > 0 || rc == -ENOMEM || rc == -EAGAIN || rc == -EBUSY || (also && rc == -also);
}

static void walk(const struct attempt *a, const char *of_what)
{
	long all = used_pages(CARD), rc = 0;
	unsigned int n = 0, refused = 0;
	bool good = true, failed = true;

	while (failed && good && n < MOST) {
		a->prepare();
		used_before = used_pages(CARD);
		fail_at(++n);
		rc = a->act();
		failed = has_failed();
		if (rc) {
			refused++;
			good = is_clean(rc, a->also);
			if (!good)
				note("allocation %u: answers %ld (%s)", n, rc, strerror((int)-rc));
			if (good && !(good = a->unchanged()))
				note("allocation %u: answers %ld, but something has changed", n,
				     rc);
		} else if (!(good = a->done(failed))) {
			note("allocation %u: answers 0, but not all is as it should be", n);
		}
		a->undo(rc == 0);
		if (used_pages(CARD) != all) {
			note("allocation %u: %ld pages in use afterwards, not %ld", n,
			     used_pages(CARD), all);
			good = false;
		}
	}
	ok(good && !failed && rc == 0,
	   "%s%s%s: each of %u allocations may fail (%u times it was refused)", a->name,
	   *of_what ? ", " : "", of_what, n - 1, refused);
}

static bool always(void)
{
	return true;
}

static void nothing(void)
{
}

/* The node itself */

static struct npt_ops operations = { .nid = CARD,
				     .flags = NP_OPS_MIGRATION | NP_OPS_MEMPOLICY | NP_OPS_RECLAIM |
					      NP_OPS_DEMOTION,
				     .accept = -1 };
static struct npt_alloc allocation;

static long do_register(void)
{
	return npt_range(NPT_REGISTER, CARD, 0);
}

static long do_unregister(void)
{
	return npt_range(NPT_UNREGISTER, CARD, 0);
}

static void registered(void)
{
	need(do_register() == 0, "the node can be registered");
}

static bool is_nobodys(void)
{
	return do_unregister() == -ENODEV;
}

static bool is_nobodys_now(bool failed)
{
	(void)failed;
	return is_nobodys();
}

static bool is_somebodys(void)
{
	return npt_range(NPT_REGISTER, CARD, 1) == -EBUSY;
}

static bool is_somebodys_now(bool failed)
{
	(void)failed;
	return is_somebodys();
}

static void unregister_if(bool worked)
{
	if (worked)
		need(do_unregister() == 0, "the node can be unregistered");
}

static void unregister_if_not(bool worked)
{
	unregister_if(!worked);
}

static long do_set(void)
{
	return npt_ops(NPT_SET_OPS, &operations);
}

static long do_clear(void)
{
	return npt_ops(NPT_CLEAR_OPS, &operations);
}

static void with_operations(void)
{
	need(do_set() == 0, "the node can be opened");
}

static bool is_closed(void)
{
	return do_clear() == -EINVAL;
}

static bool is_closed_now(bool failed)
{
	(void)failed;
	return is_closed();
}

static bool is_open(void)
{
	return npt_ops(NPT_SET_OPS, &operations) == -EBUSY;
}

static bool is_open_now(bool failed)
{
	(void)failed;
	return is_open();
}

static void clear_if(bool worked)
{
	if (worked)
		need(do_clear() == 0, "the node can be closed");
}

static void clear_if_not(bool worked)
{
	clear_if(!worked);
}

static long do_alloc(void)
{
	long rc;

	allocation = (struct npt_alloc){ .nid = CARD, .how = NPT_PRIVATE, .count = 4 };
	rc = npt_alloc(&allocation);
	return rc ? rc : (long)(allocation.count - allocation.ret_count);
}

static bool is_allocated(bool failed)
{
	(void)failed;
	return allocation.ret_on_node == 4 && used_pages(CARD) == used_before + 4;
}

static void free_all(bool worked)
{
	(void)worked;
	npt_free();
}

static const struct attempt registering[] = {
	{ "register", nothing, do_register, is_somebodys_now, is_nobodys, unregister_if, 0 },
	{ "unregister", registered, do_unregister, is_nobodys_now, is_somebodys, unregister_if_not,
	  0 },
};
static const struct attempt opening[] = {
	{ "set_ops", nothing, do_set, is_open_now, is_closed, clear_if, 0 },
	{ "clear_ops", with_operations, do_clear, is_closed_now, is_open, clear_if_not, 0 },
	{ "alloc_pages_node", nothing, do_alloc, is_allocated, always, free_all, 0 },
};

/* Memory */

enum kind {
	SMALL,
	SHARED,
	HUGE_PAGE,
	KINDS
};

static const char *const kind_names[KINDS] = { "small pages", "shared memory", "a huge page" };

static enum kind kind;
static char *memory;
static size_t length;
static int fd = -1;    /* of shared memory */
static int ends[2];    /* a pipe */
static int target;     /* where to move to */
static size_t to_move; /* pages of it */

static void mapped(void)
{
	length = kind == HUGE_PAGE ? HUGE : LENGTH;
	switch (kind) {
	case SHARED:
		memory = map_shared(length, &fd);
		return;
	case HUGE_PAGE:
		memory = map_huge(length);
		return;
	default:
		memory = map_anonymous(length);
		need(madvise(memory, length, MADV_NOHUGEPAGE) == 0, "small pages: %m");
	}
}

static void unmapped(bool worked)
{
	(void)worked;
	munmap(memory, length);
	if (fd >= 0)
		close(fd);
	fd = -1;
}

static void at_home(void)
{
	mapped();
	fill(memory, length, 5);
	target = CARD;
}

static void on_card(void)
{
	at_home();
	need(move_to(memory, length, CARD) == 0 && pages_on(memory, length, CARD) == length / PAGE,
	     "%s on the card", kind_names[kind]);
	target = HOME;
}

static void bound(void)
{
	mapped();
	need(bind_to(memory, length, MPOL_BIND, 1UL << CARD, 0) == 0, "memory bound to the card");
}

/* Some may have moved and some not, but what the node holds is what is mapped. */
static bool is_intact(void)
{
	return used_pages(CARD) == (long)pages_on(memory, length, CARD) &&
	       filled(memory, length, 5);
}

/* A single small page moves or stays. */
static bool has_stayed(void)
{
	return is_intact() && (to_move > 1 || kind == HUGE_PAGE || used_pages(CARD) == used_before);
}

static bool has_moved(bool failed)
{
	(void)failed;
	return is_intact() && node_of(memory) == target;
}

static long do_move(void)
{
	static void *pages[LENGTH / PAGE];
	static int nodes[LENGTH / PAGE], status[LENGTH / PAGE];
	long rc;

	for (size_t i = 0; i < to_move; i++) {
		pages[i] = memory + i * PAGE;
		nodes[i] = target;
		status[i] = 0;
	}
	rc = syscall(SYS_move_pages, 0, to_move, pages, nodes, status, MPOL_MF_MOVE);
	if (rc)
		return rc < 0 ? -errno : rc;
	for (size_t i = 0; i < to_move; i++) {
		if (status[i] < 0)
			return status[i];
	}
	return 0;
}

static long do_migrate(void)
{
	unsigned long from = 1UL << CARD, to = 1UL << HOME;

	/* A positive number is of pages that stayed; which, is looked at afterwards. */
	return syscall(SYS_migrate_pages, 0, 65, &from, &to) < 0 ? -errno : 0;
}

static bool is_home(bool failed)
{
	return is_intact() && (failed || pages_on(memory, length, CARD) == 0);
}

static long do_mlock(void)
{
	return mlock(memory, length) ? -errno : 0;
}

/* Of a part, so that the mapping has to be split. */
static long do_bind(void)
{
	return bind_to(memory + 4 * PAGE, 4 * PAGE, MPOL_BIND, 1UL << CARD, 0);
}

static int policy_at(const char *address)
{
	unsigned long nodes = 0;
	int mode = -1;

	if (get_mempolicy(&mode, &nodes, 64, (void *)(uintptr_t)address, MPOL_F_ADDR))
		return -errno;
	return mode == MPOL_BIND && nodes != 1UL << CARD ? -EINVAL : mode;
}

static bool is_bound(bool failed)
{
	(void)failed;
	return policy_at(memory + 4 * PAGE) == MPOL_BIND && policy_at(memory) == MPOL_DEFAULT;
}

static bool is_unbound(void)
{
	return policy_at(memory + 4 * PAGE) == MPOL_DEFAULT && policy_at(memory) == MPOL_DEFAULT;
}

static long do_bind_and_move(void)
{
	return bind_to(memory, length, MPOL_BIND, 1UL << CARD, MPOL_MF_MOVE | MPOL_MF_STRICT);
}

static bool is_all_there(bool failed)
{
	(void)failed;
	return is_intact() && pages_on(memory, length, CARD) == length / PAGE;
}

static long do_populate(void)
{
	return madvise(memory, PAGE, MADV_POPULATE_WRITE) ? -errno : 0;
}

static long do_store(void)
{
	*(volatile char *)(memory + WHERE) = 'w';
	return 0;
}

/* Where the node has no page to give, first touch is served from ordinary memory. */
static bool is_touched(bool failed)
{
	int nid = node_of(memory);

	return (nid == CARD || (failed && nid == HOME)) && memory[0] == 0 &&
	       used_pages(CARD) == (long)pages_on(memory, length, CARD);
}

/* Of shared memory there may be a page that is not mapped yet. */
static bool is_untouched(void)
{
	return node_of(memory) == -ENOENT && (kind == SHARED || used_pages(CARD) == used_before);
}

static void walk_kinds(const struct attempt *attempts, size_t n, size_t pages)
{
	for (size_t i = 0; i < n; i++) {
		for (kind = 0; kind < KINDS; kind++) {
			/* The first address moves all of a huge page. */
			to_move = kind == HUGE_PAGE ? 1 : pages;
			walk(&attempts[i], kind_names[kind]);
		}
	}
}

static const struct attempt moving[] = {
	{ "move_pages to the card", at_home, do_move, has_moved, has_stayed, unmapped, 0 },
	{ "move_pages home", on_card, do_move, has_moved, has_stayed, unmapped, 0 },
};
static const struct attempt using[] = {
	{ "migrate_pages home", on_card, do_migrate, is_home, is_intact, unmapped, 0 },
	{ "mlock", on_card, do_mlock, is_home, is_intact, unmapped, 0 },
	{ "mbind", mapped, do_bind, is_bound, is_unbound, unmapped, 0 },
	{ "mbind with MPOL_MF_MOVE", at_home, do_bind_and_move, is_all_there, is_intact, unmapped,
	  EIO },
	{ "MADV_POPULATE_WRITE", bound, do_populate, is_touched, is_untouched, unmapped, EFAULT },
	{ "first touch", bound, do_store, is_touched, is_untouched, unmapped, 0 },
};

/* Behind the write fence */

static bool is_written(bool failed)
{
	static char *original;
	bool good;

	(void)failed;
	if (!original) {
		original = map_anonymous(PAGE);
		fill(original, PAGE, 5);
	}
	good = memory[WHERE] == 'w' && node_of(memory) != CARD;
	/* It is at home now, and can be made what it was. */
	memory[WHERE] = original[WHERE];
	return good && is_intact();
}

static void with_a_pipe(void)
{
	on_card();
	need(pipe(ends) == 0 && write(ends[1], "w", 1) == 1, "a pipe: %m");
}

static void without_the_pipe(bool worked)
{
	close(ends[0]);
	close(ends[1]);
	unmapped(worked);
}

/* The kernel writes, through the program's own page tables. */
static long do_read(void)
{
	return read(ends[0], memory + WHERE, 1) == 1 ? 0 : -errno;
}

/* The kernel writes to the file. */
static long do_pwrite(void)
{
	return pwrite(fd, "w", 1, WHERE) == 1 ? 0 : -errno;
}

static const struct attempt writing[] = {
	{ "a store to a fenced page", on_card, do_store, is_written, is_intact, unmapped, 0 },
	{ "read(2) into a fenced page", with_a_pipe, do_read, is_written, is_intact,
	  without_the_pipe, EFAULT },
};
static const struct attempt writing_file = {
	"write(2) to a file on the card", on_card, do_pwrite, is_written, is_intact, unmapped, 0
};

int main(void)
{
	uint64_t changed;

	if (!debug_kernel()) {
		printf("1..0 # SKIP only the debug kernel can make allocations fail: kernel/build debug\n");
		return EXIT_SUCCESS;
	}
	prepare_injection();

	need(npt_range(NPT_TAKE, CARD, 0) == 0, "the memory module can be taken away");
	for (size_t i = 0; i < COUNT(registering); i++)
		walk(&registering[i], "");
	need(npt_range(NPT_ADD, CARD, 0) == 0, "the memory module can be a private node");
	for (size_t i = 0; i < COUNT(opening); i++)
		walk(&opening[i], "");

	need(npt_set_ops(CARD, NP_OPS_MIGRATION | NP_OPS_MEMPOLICY) == 0,
	     "set_ops(MIGRATION | MEMPOLICY)");
	walk_kinds(moving, COUNT(moving), 1);
	walk_kinds(moving, COUNT(moving), LENGTH / PAGE);
	walk_kinds(using, COUNT(using), LENGTH / PAGE);
	ok(used_pages(CARD) == 0, "nothing is left on the node (%ld pages)", used_pages(CARD));
	ok(npt_range(NPT_REMOVE, CARD, 0) == 0 && !node_in("has_private_memory", CARD),
	   "and it can be taken away");

	need(npt_range(NPT_RESTORE, CARD, 0) == 0, "the memory can be ordinary again");
	card_private_with(NP_OPS_MIGRATION | NP_OPS_MEMPOLICY | NP_OPS_PROTECT_WRITE);
	changed = npt_frames(CARD).ret_changed;
	walk_kinds(writing, COUNT(writing), LENGTH / PAGE);
	kind = SHARED;
	walk(&writing_file, kind_names[kind]);
	ok(npt_frames(CARD).ret_changed == changed, "behind the fence no frame was written");
	ok(npt_range(NPT_REMOVE, CARD, 0) == 0 && !node_in("has_private_memory", CARD),
	   "and that node can be taken away");
	return done();
}
