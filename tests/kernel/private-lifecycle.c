/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The life of a private node in random order: registered twice, by two owners,
 * opened, closed, used, unplugged while used, poisoned; with pages that are kept,
 * write-protected, compacted and balanced. After every step the kernel's answer is
 * what a simple model says, every byte is what was written, and the pages in use are
 * those somebody asked for.
 *
 *   private-lifecycle [ROUNDS [SEED]]
 */
#include "private-node.h"

#include <errno.h>
#include <numaif.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LENGTH (4 * HUGE)
#define OPEN   (NP_OPS_MIGRATION | NP_OPS_MEMPOLICY)
#define FENCED (OPEN | NP_OPS_PROTECT_WRITE)

static struct {
	bool online;   /* the memory is a private node's, and online */
	int owner;     /* -1: nobody's */
	bool implicit; /* registered by adding, so removing unregisters */
	int flags;     /* operations' flags, -1: none set */
	int fence;     /* PROTECT_WRITE if that is in force, also without operations */
	bool keep;     /* what is free is kept, unless there are no operations */
	long held;     /* pages held in the kernel */
	long poisoned;
	char *memory;  /* mapped, or NULL */
	uint64_t seed; /* what is in it */
} model = { .owner = -1, .flags = -1 };

static uint64_t state;
static long steps;

static unsigned int random_below(unsigned int n)
{
	state = state * 6364136223846793005ULL + 1442695040888963407ULL;
	return (state >> 33) % n;
}

static void expect(const char *what, long got, long want)
{
	steps++;
	if (got != want)
		ok(false, "step %ld: %s gives %ld (%s), not %ld", steps, what, got,
		   strerror((int)-got), want);
}

/* The fence stands as long as there is memory behind it, and so do kept pages. */
static void forget_operations(void)
{
	model.flags = -1;
	if (!model.online) {
		model.fence = 0;
		model.keep = false;
	}
}

static void op_register(void)
{
	int owner = (int)random_below(2);
	long want = model.owner < 0 ? 0 : -EBUSY;

	expect("register", npt_range(NPT_REGISTER, CARD, owner), want);
	if (!want) {
		model.owner = owner;
		model.implicit = false;
	}
}

static void op_unregister(void)
{
	long want = model.owner < 0 ? -ENODEV : model.online ? -EBUSY : 0;

	expect("unregister", npt_range(NPT_UNREGISTER, CARD, 0), want);
	if (!want) {
		model.owner = -1;
		forget_operations();
	}
}

static void op_add(void)
{
	int owner = (int)random_below(2);
	long want;

	if (model.owner >= 0 && model.owner != owner)
		want = -EBUSY;
	else
		want = model.online ? -EEXIST : 0;
	expect("add", npt_range(NPT_ADD, CARD, owner), want);
	if (!want) {
		if (model.owner < 0)
			model.implicit = true;
		model.owner = owner;
		model.online = true;
		model.poisoned = 0;
	}
}

static void op_remove(void)
{
	long want = model.owner < 0 || !model.online ? -EINVAL : model.held ? -EBUSY : 0;

	/*
	 * A memory block with a failed page does not come online again after an attempt
	 * that failed for another block; the node has less memory from then on.
	 */
	if (want == -EBUSY && model.poisoned)
		return;
	/* No need to try for long what cannot succeed. */
	npt_timeout_ms = want ? 1000 : 0;
	expect("remove", npt_range(NPT_REMOVE, CARD, 0), want);
	if (!want) {
		model.online = false;
		model.poisoned = 0;
		if (model.implicit)
			model.owner = -1;
		if (model.implicit || model.flags < 0)
			forget_operations();
		expect("pages kept of memory that went", npt_stats(CARD).kept, 0);
	}
}

static void op_ordinary(void)
{
	/* Ordinary memory cannot be added to a node that is somebody's. */
	if (model.owner >= 0 && !model.online)
		expect("add_memory", npt_range(NPT_RESTORE, CARD, 0), -EBUSY);
}

static const struct {
	unsigned int flags;
	bool valid;
} SETS[] = {
	{ 0, true },
	{ NP_OPS_MIGRATION, true },
	{ OPEN, true },
	{ OPEN, true },
	{ OPEN | NP_OPS_RECLAIM | NP_OPS_DEMOTION, true },
	{ OPEN | NP_OPS_RECLAIM | NP_OPS_DEMOTION | NP_OPS_OOM, true },
	{ OPEN | NP_OPS_COMPACTION, true },
	{ OPEN | NP_OPS_NUMA_BALANCING, true },
	{ OPEN | NP_OPS_NUMA_BALANCING | NP_OPS_COMPACTION | NP_OPS_RECLAIM, true },
	{ NP_OPS_MEMPOLICY, false },
	{ NP_OPS_MIGRATION | NP_OPS_OOM, false },
	{ FENCED | NP_OPS_COMPACTION, false },
	{ 1U << 30, false },
	/* Before there is memory, or on memory that is write-protected already. */
	{ FENCED, true },
	{ FENCED | NP_OPS_RECLAIM | NP_OPS_DEMOTION, true },
};

#define NR_SETS	       (sizeof(SETS) / sizeof(*SETS))
#define NR_FENCED_SETS 2U

static void set_ops(unsigned int set)
{
	struct npt_ops ops = { .nid = CARD, .flags = SETS[set].flags, .accept = -1 };
	long want = 0;

	if (model.flags >= 0)
		return;
	ops.keep = random_below(3) ? model.keep : !model.keep;
	if (!SETS[set].valid)
		want = -EINVAL;
	else if (model.owner < 0)
		want = -ENODEV;
	else if (model.online &&
		 (((int)ops.flags ^ model.fence) & NP_OPS_PROTECT_WRITE || ops.keep != model.keep))
		want = -EBUSY;
	expect("set_ops", npt_ops(NPT_SET_OPS, &ops), want);
	if (!want) {
		model.flags = (int)ops.flags;
		model.fence = model.flags & (int)NP_OPS_PROTECT_WRITE;
		model.keep = ops.keep;
	}
}

static void op_set(void)
{
	set_ops(random_below(NR_SETS));
}

/* The steps to write protection, which would hardly ever come in this order. */
static void op_begin_fenced(void)
{
	if (model.online)
		return;
	op_register();
	set_ops(NR_SETS - 1 - random_below(NR_FENCED_SETS));
	op_add();
	/* For the other owner, if it was not this one. */
	op_add();
}

static void op_set_again(void)
{
	struct npt_ops ops = { .nid = CARD, .flags = 0, .accept = -1 };

	if (model.flags >= 0)
		expect("set_ops over others", npt_ops(NPT_SET_OPS, &ops), -EBUSY);
}

static void op_clear(void)
{
	struct npt_ops ops = { .nid = CARD };
	long want = model.owner < 0 ? -ENODEV : model.flags < 0 ? -EINVAL : 0;

	expect("clear_ops", npt_ops(NPT_CLEAR_OPS, &ops), want);
	forget_operations();
}

/* All that the owner keeps is there to be had. */
static void give_all(void)
{
	if (!model.online)
		return;
	npt_give(CARD, 9, (unsigned int)(card_size() / HUGE));
	npt_give(CARD, 0, (unsigned int)(card_size() / PAGE));
	expect("pages kept when all were given", npt_stats(CARD).kept, 0);
}

static void op_alloc(void)
{
	struct npt_alloc a = { .nid = CARD,
			       .how = random_below(2) ? NPT_PRIVATE : NPT_BULK_PRIVATE,
			       .count = 1 + random_below(100) };

	give_all();
	expect("allocation", npt_alloc(&a), 0);
	expect("pages allocated", a.ret_count, model.online ? a.count : 0);
	model.held += a.ret_count;
}

static void op_give(void)
{
	if (model.online)
		npt_give(CARD, random_below(10), 1 + random_below(1000));
}

static void op_free(void)
{
	npt_free();
	model.held = 0;
}

static void op_map(void)
{
	if (model.memory)
		return;
	model.memory = random_below(2) ? map_anonymous(LENGTH + HUGE) : map_shared(LENGTH, NULL);
	if (random_below(2))
		madvise(model.memory, LENGTH, MADV_HUGEPAGE);
	model.seed = random_below(1 << 20);
	fill(model.memory, LENGTH, model.seed);
}

static void op_move(void)
{
	long want =
		!model.online || !(model.flags & NP_OPS_MIGRATION) || model.flags < 0 ? -ENODEV : 0;

	op_map();
	give_all();
	expect("move_pages", move_to(model.memory, LENGTH, CARD), want);
}

static void op_write(void)
{
	if (!model.memory)
		return;
	model.seed = random_below(1 << 20);
	fill(model.memory, LENGTH, model.seed);
	if (model.fence)
		expect("pages written that stay on a write-protected node",
		       (long)pages_on(model.memory, LENGTH, CARD), 0);
}

static void op_unmap(void)
{
	if (model.memory)
		munmap(model.memory, LENGTH);
	model.memory = NULL;
}

/* The node goes away under a process that does not stop writing. */
static void op_remove_while_written(void)
{
	uint64_t *words;
	int status;
	pid_t pid;

	if (!model.online || model.held || !(model.flags & NP_OPS_MIGRATION) || model.flags < 0)
		return;
	words = map_shared(LENGTH, NULL);
	memset(words, 0, LENGTH);
	give_all();
	expect("move_pages", move_to(words, LENGTH, CARD), 0);
	pid = fork();
	if (pid == 0) {
		for (uint64_t round = 1;; round++)
			for (size_t i = 0; i < LENGTH / 8; i += 512) {
				if (words[i] != round - 1)
					_exit(EXIT_FAILURE);
				words[i] = round;
			}
	}
	need(pid > 0, "fork: %m");
	op_remove();
	usleep(20000);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	expect("what the writer saw", WIFSIGNALED(status), 1);
	expect("pages left on the node", (long)pages_on(words, LENGTH, CARD), 0);
	munmap(words, LENGTH);
}

struct flipper {
	pthread_t thread;
	atomic_bool gone;
	uint64_t first, end; /* memory blocks */
};

/* Takes each memory block offline and puts it online again, until there are none. */
static void *flip_blocks(void *argument)
{
	struct flipper *o = argument;
	char path[64];

	while (!atomic_load(&o->gone)) {
		for (uint64_t i = o->first; i < o->end; i++) {
			snprintf(path, sizeof(path), "/sys/devices/system/memory/memory%lu/state",
				 i);
			write_file(path, "offline");
			write_file(path, "online");
		}
	}
	return NULL;
}

/*
 * An operator and the driver at once. The operator would try for ever with pages that
 * are held.
 */
static void op_remove_while_flipped(void)
{
	const uint64_t block = memory_block_bytes();
	struct flipper o = { .first = card_start() / block,
			     .end = (card_start() + card_size()) / block };

	if (!model.online || model.held || !blocks_by_sysfs())
		return;
	need(pthread_create(&o.thread, NULL, flip_blocks, &o) == 0, "a thread");
	usleep(random_below(50000));
	op_remove();
	atomic_store(&o.gone, true);
	need(pthread_join(o.thread, NULL) == 0, "join");
}

/* One page of a child's fails; the child dies of it and nobody else notices. */
static void op_poison(void)
{
	uint64_t before = npt_stats(CARD).memory_failure;
	bool told = model.flags >= 0;
	int status;
	pid_t pid;

	if (!model.online || !(model.flags & NP_OPS_MIGRATION) || model.flags < 0 ||
	    model.poisoned > 20)
		return;
	give_all();
	pid = fork();
	if (pid == 0) {
		char *page = map_anonymous(PAGE);

		page[0] = 1;
		if (move_to(page, PAGE, CARD) || madvise(page, PAGE, MADV_HWPOISON))
			_exit(EXIT_FAILURE);
		page[0] = 2;
		_exit(EXIT_SUCCESS);
	}
	need(pid > 0 && waitpid(pid, &status, 0) == pid, "fork: %m");
	expect("signal to the owner of a failed page",
	       WIFSIGNALED(status) ? WTERMSIG(status) : status, SIGBUS);
	expect("memory_failure callbacks", (long)(npt_stats(CARD).memory_failure - before), told);
	model.poisoned++;
}

static void judge(void)
{
	long resident = 0, used, want;

	if (model.memory) {
		/* First, because NUMA balancing moves what is touched. */
		if (!filled(model.memory, LENGTH, model.seed))
			ok(false, "step %ld: memory is as it was written", steps);
		resident = (long)pages_on(model.memory, LENGTH, CARD);
	}
	used = model.online ? used_pages(CARD) : 0;
	want = model.online ? model.held + resident + model.poisoned : 0;
	if (used != want)
		ok(false, "step %ld: %ld pages are used, not %ld held + %ld mapped + %ld poisoned",
		   steps, used, model.held, resident, model.poisoned);
	if (node_in("has_private_memory", CARD) != model.online || node_in("has_memory", CARD))
		ok(false, "step %ld: the node's states are right", steps);
}

int main(int argc, char **argv)
{
	static void (*const OPERATIONS[])(void) = {
		op_register,
		op_unregister,
		op_add,
		op_add,
		op_remove,
		op_ordinary,
		op_set,
		op_set,
		op_begin_fenced,
		op_set_again,
		op_clear,
		op_give,
		op_alloc,
		op_free,
		op_map,
		op_move,
		op_move,
		op_write,
		op_unmap,
		op_remove_while_written,
		op_remove_while_flipped,
		op_poison,
	};
	long rounds = argc > 1 ? atol(argv[1]) : 100;
	/* KASAN keeps up to a 32nd of memory, for uses after free to be found. */
	const long slack = debug_kernel() ? 65536 : 8192;
	long before, after;

	state = argc > 2 ? strtoull(argv[2], NULL, 0) : (uint64_t)time(NULL);
	note("seed %llu, %ld rounds", (unsigned long long)state, rounds);
	need(npt_range(NPT_TAKE, CARD, 0) == 0, "the memory module can be taken away");
	before = free_kb();
	/* For those that are open to it. */
	write_file("/sys/kernel/debug/sched/numa_balancing/scan_delay_ms", "10");
	write_file("/sys/kernel/debug/sched/numa_balancing/scan_period_min_ms", "10");
	need(write_file("/proc/sys/kernel/numa_balancing", "1") == 0, "NUMA balancing");

	for (long i = 0; i < rounds; i++) {
		/* A round is a handful of steps, then a look. */
		for (unsigned int j = 1 + random_below(5); j; j--)
			OPERATIONS[random_below(sizeof(OPERATIONS) / sizeof(*OPERATIONS))]();
		judge();
	}

	op_free();
	op_unmap();
	op_remove();
	op_unregister();
	judge();
	ok(!model.online && model.owner < 0,
	   "%ld steps in random order, each answered as the model says", steps);
	after = free_kb();
	ok(after > before - slack, "no memory is lost (%ld kB before, %ld kB after)", before,
	   after);
	ok(npt_range(NPT_RESTORE, CARD, 0) == 0, "the memory can be ordinary again");
	ok(write_file("/proc/sys/vm/stat_refresh", "1") == 0, "the kernel's counters add up");
	return done();
}
