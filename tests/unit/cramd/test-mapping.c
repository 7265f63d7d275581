// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The policy of a memfd, set from outside through /proc/PID/fd and read back where every user of it
 * would see it: in another mapping of the same file. The real kernel answers; this process plays
 * the QEMU.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "cramd/act/mapping.h"
#include "recorded.h"

#define SIZE (4U << 20)

struct fixture {
	struct sysroot root;
	int fd;
	char *ram; /* as QEMU maps it */
	struct ramblock block;
};

static int make(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct stat st;

	assert_non_null(f);
	assert_int_equal(sysroot_open("/", &f->root), 0);
	f->fd = memfd_create("ram", MFD_CLOEXEC);
	assert_true(f->fd >= 0);
	assert_int_equal(ftruncate(f->fd, SIZE), 0);
	assert_int_equal(fstat(f->fd, &st), 0);
	f->ram = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, f->fd, 0);
	assert_true(f->ram != MAP_FAILED);
	f->ram[0] = 1;
	f->block = (struct ramblock){
		.start = (uintptr_t)f->ram,
		.end = (uintptr_t)f->ram + SIZE,
		.memfd = true,
		.dev_major = major(st.st_dev),
		.dev_minor = minor(st.st_dev),
		.inode = st.st_ino,
	};
	*state = f;
	return 0;
}

static int drop(void **state)
{
	struct fixture *f = *state;

	munmap(f->ram, SIZE);
	close(f->fd);
	sysroot_close(&f->root);
	free(f);
	return 0;
}

struct policy {
	uint64_t start;
	bool seen;
	enum proc_mpol mode;
	uint64_t nodes;
	unsigned int flags;
};

static int find(const struct proc_numa *numa, void *arg)
{
	struct policy *policy = arg;

	if (numa->start == policy->start) {
		policy->seen = true;
		policy->mode = numa->policy.mode;
		policy->nodes = numa->policy.nodes;
		policy->flags = numa->policy.flags;
	}
	return 0;
}

static void assert_policy(const struct fixture *f, enum proc_mpol mode, uint64_t nodes)
{
	struct policy policy = { .start = f->block.start };

	assert_int_equal(proc_for_each_numa(&f->root, getpid(), find, &policy), 0);
	assert_true(policy.seen);
	assert_int_equal(policy.mode, mode);
	assert_int_equal(policy.nodes, nodes);
}

static int set(const struct fixture *f, enum proc_mpol mode, uint64_t nodes)
{
	const struct proc_policy policy = { .mode = mode, .nodes = nodes };

	return mapping_set(&f->root, getpid(), &f->block, &policy);
}

static void every_policy_arrives(void **state)
{
	static const struct {
		enum proc_mpol mode;
		uint64_t nodes;
	} policies[] = {
		{ PROC_MPOL_BIND, 1 },	     { PROC_MPOL_DEFAULT, 0 }, { PROC_MPOL_INTERLEAVE, 1 },
		{ PROC_MPOL_PREFERRED, 1 },  { PROC_MPOL_LOCAL, 0 },   { PROC_MPOL_BIND, 1 },
		{ PROC_MPOL_INTERLEAVE, 1 }, { PROC_MPOL_DEFAULT, 0 }, { PROC_MPOL_DEFAULT, 0 },
	};
	const struct fixture *f = *state;

	assert_policy(f, PROC_MPOL_DEFAULT, 0);
	for (size_t i = 0; i < sizeof(policies) / sizeof(policies[0]); i++) {
		assert_int_equal(set(f, policies[i].mode, policies[i].nodes), 0);
		assert_policy(f, policies[i].mode, policies[i].nodes);
	}
}

static void a_policys_flags_arrive_with_it(void **state)
{
	const struct fixture *f = *state;
	const struct proc_policy want = { .mode = PROC_MPOL_BIND, .flags = 1 << 15, .nodes = 1 };
	struct policy found = { .start = f->block.start };

	assert_int_equal(mapping_set(&f->root, getpid(), &f->block, &want), 0);
	assert_int_equal(proc_for_each_numa(&f->root, getpid(), find, &found), 0);
	assert_int_equal(found.flags, want.flags); /* MPOL_F_STATIC_NODES */
	assert_int_equal(found.nodes, 1);
}

/* No file shows which node is tried first; but the kernel knows which nodes there are. */
static void the_node_to_be_tried_first_arrives_with_it(void **state)
{
	const struct fixture *f = *state;
	struct proc_policy want = { .mode = PROC_MPOL_BIND, .nodes = 1, .first = 1 };

	assert_int_equal(mapping_set(&f->root, getpid(), &f->block, &want), 0);
	assert_policy(f, PROC_MPOL_BIND, 1);
	want.first = UINT64_C(1) << 63;
	if (syscall(SYS_set_mempolicy_home_node, NULL, 0, 0, 0) < 0 && errno == ENOSYS)
		skip();
	assert_int_equal(mapping_set(&f->root, getpid(), &f->block, &want), -EINVAL);
}

static void a_refused_policy_changes_nothing(void **state)
{
	const struct fixture *f = *state;

	assert_int_equal(set(f, PROC_MPOL_BIND, 1), 0);
	assert_int_equal(set(f, PROC_MPOL_BIND, UINT64_C(1) << 63), -EINVAL);
	assert_policy(f, PROC_MPOL_BIND, 1);
}

/* How often this process has the file, open or mapped. */
static unsigned int kept(const struct fixture *f)
{
	unsigned int n = 0;
	struct stat st;
	char line[512];
	FILE *maps;

	for (int fd = 0; fd < 256; fd++)
		n += fstat(fd, &st) == 0 && st.st_ino == f->block.inode &&
		     major(st.st_dev) == f->block.dev_major &&
		     minor(st.st_dev) == f->block.dev_minor;
	maps = fopen("/proc/self/maps", "re");
	assert_non_null(maps);
	while (fgets(line, sizeof(line), maps)) {
		unsigned long inode;

		n += sscanf(line, "%*s %*s %*s %*s %lu", &inode) == 1 && inode == f->block.inode;
	}
	fclose(maps);
	return n;
}

/* Whoever has a file keeps its memory, also when the VM has died. */
static void a_vms_memory_is_not_kept(void **state)
{
	const struct fixture *f = *state;

	assert_int_equal(kept(f), 2);
	assert_int_equal(set(f, PROC_MPOL_BIND, 1), 0);
	assert_int_equal(set(f, PROC_MPOL_BIND, UINT64_C(1) << 63), -EINVAL);
	assert_int_equal(kept(f), 2);
}

static void another_file_is_not_mistaken_for_it(void **state)
{
	struct fixture *f = *state;

	f->block.inode += 1000000;
	assert_int_equal(set(f, PROC_MPOL_BIND, 1), -ESTALE);
	assert_policy(f, PROC_MPOL_DEFAULT, 0);
	f->block.memfd = false;
	assert_int_equal(set(f, PROC_MPOL_BIND, 1), -EOPNOTSUPP);
}

static void on_alarm(int number)
{
	(void)number;
}

/* A call that waits then fails with EINTR. alarm(0) ends this. */
static void interrupt_after(unsigned int seconds)
{
	const struct sigaction action = { .sa_handler = on_alarm };

	sigaction(SIGALRM, &action, NULL);
	alarm(seconds);
}

/*
 * A QEMU that means harm shows a memfd, and has put a FIFO in its place when that is opened: here
 * the FIFO has the name of a memfd. Who opens one for reading waits for a writer that never comes.
 */
static void a_fifo_in_place_of_a_memfd_keeps_nobody_waiting(void **state)
{
	static const char name[] = "/memfd:cramd-test-fifo";
	struct fixture *f = *state;
	int fifo;

	unlink(name);
	if (mkfifo(name, 0600) < 0)
		skip();
	fifo = open(name, O_PATH | O_CLOEXEC);
	assert_true(fifo >= 0);
	f->block.inode += 1000000;
	interrupt_after(5);
	assert_int_equal(set(f, PROC_MPOL_BIND, 1), -ESTALE);
	alarm(0);
	close(fifo);
	unlink(name);
}

/* As above, with a descriptor whose file even says that it is the memfd looked for. */
static void only_memfds_are_opened(void **state)
{
	struct fixture *f = *state;
	const struct proc_policy bind = { .mode = PROC_MPOL_BIND, .nodes = 1 };
	char dir[] = "/tmp/cramd-test.XXXXXX", path[64];
	struct sysroot root;
	struct stat st;

	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/proc", dir);
	assert_int_equal(mkdir(path, 0755), 0);
	snprintf(path, sizeof(path), "%s/proc/42", dir);
	assert_int_equal(mkdir(path, 0755), 0);
	snprintf(path, sizeof(path), "%s/proc/42/fd", dir);
	assert_int_equal(mkdir(path, 0755), 0);
	snprintf(path, sizeof(path), "%s/proc/42/fd/7", dir);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(stat(path, &st), 0);
	f->block.inode = st.st_ino;
	f->block.dev_major = major(st.st_dev);
	f->block.dev_minor = minor(st.st_dev);
	assert_int_equal(sysroot_open(dir, &root), 0);
	interrupt_after(5);
	assert_int_equal(mapping_set(&root, 42, &f->block, &bind), -ESTALE);
	alarm(0);
	sysroot_close(&root);
	assert_int_equal(recorded_drop(dir), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(every_policy_arrives, make, drop),
		cmocka_unit_test_setup_teardown(a_policys_flags_arrive_with_it, make, drop),
		cmocka_unit_test_setup_teardown(the_node_to_be_tried_first_arrives_with_it, make,
						drop),
		cmocka_unit_test_setup_teardown(a_refused_policy_changes_nothing, make, drop),
		cmocka_unit_test_setup_teardown(a_vms_memory_is_not_kept, make, drop),
		cmocka_unit_test_setup_teardown(another_file_is_not_mistaken_for_it, make, drop),
		cmocka_unit_test_setup_teardown(a_fifo_in_place_of_a_memfd_keeps_nobody_waiting,
						make, drop),
		cmocka_unit_test_setup_teardown(only_memfds_are_opened, make, drop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
