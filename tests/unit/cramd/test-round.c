// SPDX-License-Identifier: GPL-2.0-or-later
/* A whole round of the daemon on a recorded host: what it hands out, and that it allocates nothing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cramd/daemon.h"
#include "cramd/sense/pages.h"

#define VMS    50
#define RANGES 64
#define VM_RAM ((uint64_t)RANGES * RANGE_BYTES)

static unsigned long allocations;
static char dir[64];

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
void *__wrap_realloc(void *p, size_t size);
void *__real_reallocarray(void *p, size_t n, size_t size);
void *__wrap_reallocarray(void *p, size_t n, size_t size);

void *__wrap_malloc(size_t size)
{
	allocations++;
	return __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
	allocations++;
	return __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t size)
{
	allocations++;
	return __real_realloc(p, size);
}

void *__wrap_reallocarray(void *p, size_t n, size_t size)
{
	allocations++;
	return __real_reallocarray(p, n, size);
}

static void put(const char *path, const char *text)
{
	char full[512], *slash;
	int fd;

	snprintf(full, sizeof(full), "%s%s", dir, path);
	for (slash = strchr(full + strlen(dir) + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		mkdir(full, 0755);
		*slash = '/';
	}
	fd = open(full, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

static struct vm *make_vm(struct daemon *d, size_t i)
{
	struct vm *vm = calloc(1, sizeof(*vm));
	struct daemon_vm entry = { .vm = vm };

	assert_non_null(vm);
	vm->refs = 1;
	vm->pid = (pid_t)(1000 + i);
	vm->pidfd = -1;
	vm->tier_nid = -1;
	vm->ram = VM_RAM;
	snprintf(vm->name, sizeof(vm->name), "vm%zu", i);
	pthread_mutex_init(&vm->placing, NULL);
	pthread_mutex_init(&vm->placing_next, NULL);
	pthread_mutex_init(&vm->lock, NULL);
	assert_int_equal(ranges_init(&vm->ranges, RANGES), 0);
	vm->ranges.idle_flags = true;
	for (size_t k = 0; k < RANGES; k++) {
		vm->ranges.v[k].dram_pages = PAGES_PER_RANGE;
		vm->ranges.v[k].armed_s = 1;
		vm->ranges.v[k].checked_s = 100000;
		vm->ranges.v[k].flags = RANGE_ARMED;
	}
	vm->reason = VM_ELIGIBLE;
	vm->mems_allowed = 3;
	vm->home_nodes = 1;
	vm->node_bytes[0] = VM_RAM;
	vm->settings = (struct cram_vm_settings){
		.mode = CRAM_MODE_AUTO,
		.quota = CRAM_UNLIMITED,
		.hard_limit = CRAM_UNLIMITED,
		.weight = 100,
		.cold_age_s = 10,
		.tiers = 1U << CRAM_TIER_NODE,
	};
	/* Seen long ago: no warm-up. */
	vm->ctl.first_seen_ms = 1;
	assert_int_equal(array_push(&d->vms, entry), 0);
	return vm;
}

static int make(void **state)
{
	struct daemon *d = calloc(1, sizeof(*d));

	strcpy(dir, "/tmp/cramd-round.XXXXXX");
	assert_non_null(mkdtemp(dir));
	put("/sys/devices/system/node/online", "0-1\n");
	put("/sys/devices/system/node/has_memory", "0-1\n");
	put("/sys/devices/system/node/has_cpu", "0\n");
	put("/sys/devices/system/node/node0/meminfo",
	    "Node 0 MemTotal: 16777216 kB\nNode 0 MemFree: 4194304 kB\n");
	put("/sys/devices/system/node/node1/meminfo",
	    "Node 1 MemTotal: 16777216 kB\nNode 1 MemFree: 16700000 kB\n");
	put("/sys/devices/system/node/node0/distance", "10 20\n");
	put("/sys/devices/system/node/node1/distance", "20 10\n");
	assert_non_null(d);
	assert_int_equal(host_init(&d->host, dir, "/run/cramd"), 0);
	d->host.log.level = LOG_ERR;
	cram_conf_init(&d->conf);
	d->mover.host = &d->host;
	*state = d;
	return 0;
}

static int drop(void **state)
{
	struct daemon *d = *state;
	char command[128];

	for (size_t i = 0; i < d->mover.out.n; i++)
		vm_unref(d->mover.out.jobs[i].vm);
	for (size_t i = 0; i < d->mover.home.n; i++)
		vm_unref(d->mover.home.jobs[i].vm);
	for (size_t i = 0; i < d->vms.n; i++)
		vm_unref(d->vms.v[i].vm);
	array_free(&d->vms);
	array_free(&d->inputs);
	array_free(&d->actions);
	array_free(&d->order);
	cram_policy_workspace_free(d->workspace);
	cram_conf_free(&d->conf);
	host_fini(&d->host);
	free(d);
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command);
}

/* The buckets start empty: time has to pass before anything may move. */
static void pass_time(struct daemon *d)
{
	for (size_t i = 0; i < d->vms.n; i++)
		d->vms.v[i].vm->demote_bucket.filled_ms = 1;
	d->demote_bucket.filled_ms = 1;
}

static void cold_memory_is_handed_to_the_movers(void **state)
{
	struct daemon *d = *state;
	struct vm *vm = make_vm(d, 0);

	daemon_round(d);
	pass_time(d);
	daemon_round(d);
	assert_int_equal(d->mover.out.n, 1);
	assert_ptr_equal(d->mover.out.jobs[0].vm, vm);
	assert_int_equal(d->mover.out.jobs[0].nid, 1);
	assert_int_equal(d->mover.out.jobs[0].kind, VM_JOB_DEMOTE);
	assert_true(d->mover.out.jobs[0].bytes <= VM_RAM);
	/* One job of a kind at a time. */
	pass_time(d);
	daemon_round(d);
	assert_int_equal(d->mover.out.n, 1);
}

static void what_may_not_move_is_not_handed_out(void **state)
{
	struct daemon *d = *state;

	make_vm(d, 0)->reason = VM_LOCKED;
	make_vm(d, 1)->settings.mode = CRAM_MODE_MONITOR;
	make_vm(d, 2)->settings.mode = CRAM_MODE_OFF;
	make_vm(d, 3)->paused_by_operator = true;
	make_vm(d, 4)->paused_by_job = true;
	make_vm(d, 5)->incoming = true;
	make_vm(d, 6)->drain = true;
	make_vm(d, 7)->mems_allowed = 1;
	make_vm(d, 8)->settings.tiers = 1U << CRAM_TIER_CRAM;
	make_vm(d, 9)->settings.quota = 0;
	make_vm(d, 10)->settings.floor = VM_RAM;
	for (int i = 0; i < 3; i++) {
		pass_time(d);
		daemon_round(d);
	}
	assert_int_equal(d->mover.out.n, 0);
}

static void a_drained_vms_policy_is_put_back_when_it_is_home(void **state)
{
	struct daemon *d = *state;
	struct vm *vm = make_vm(d, 0);

	vm->bound = true;
	vm->drain = true;
	vm->node_bytes[1] = 4 << 20;
	daemon_round(d);
	assert_true(d->mover.home.n == 0 || d->mover.home.jobs[0].kind != VM_JOB_UNBIND);
	vm->node_bytes[1] = 0;
	atomic_store(&vm->busy, 0);
	daemon_round(d);
	assert_int_equal(d->mover.home.jobs[d->mover.home.n - 1].kind, VM_JOB_UNBIND);
}

static void a_drain_is_done_when_a_later_reading_has_confirmed_it(void **state)
{
	struct daemon *d = *state;
	struct vm *vm = make_vm(d, 0);

	vm->blocks.n = 1;
	vm->placed_ms = 1;
	vm->drain = true;
	atomic_store(&vm->epoch, 7);
	/* What is known says that nothing is out, but it is older than the order. */
	daemon_round(d);
	assert_int_equal(vm->action.state, CRAM_VM_DRAINING);
	assert_true(atomic_load(&vm->recount));
	vm->settled_epoch = 7;
	daemon_round(d);
	assert_int_equal(vm->action.state, CRAM_VM_DRAINED);
	assert_false(atomic_load(&vm->recount));
	/* A demotion from before the order is still at work ... */
	atomic_store(&vm->busy, 1U << VM_JOB_DEMOTE);
	daemon_round(d);
	assert_int_equal(vm->action.state, CRAM_VM_DRAINING);
	/* ... has ended, and no reading has begun since ... */
	atomic_store(&vm->busy, 0);
	vm->jobs_ended = 1;
	daemon_round(d);
	assert_int_equal(vm->action.state, CRAM_VM_DRAINING);
	vm->settled_jobs = 1;
	daemon_round(d);
	assert_int_equal(vm->action.state, CRAM_VM_DRAINED);
	/* ... or our policy is still in force. */
	vm->bound = true;
	daemon_round(d);
	assert_int_equal(vm->action.state, CRAM_VM_DRAINING);
}

static void only_one_job_brings_memory_home_at_a_time(void **state)
{
	struct daemon *d = *state;
	struct vm *vm = make_vm(d, 0);

	assert_int_equal(mover_submit(&d->mover, vm, VM_JOB_PROMOTE_HOT, RANGE_BYTES, 0, 0), 0);
	assert_int_equal(mover_submit(&d->mover, vm, VM_JOB_PROMOTE, RANGE_BYTES, 0, 0), -EBUSY);
	assert_int_equal(mover_submit(&d->mover, vm, VM_JOB_DEMOTE, RANGE_BYTES, 0, 1), 0);
	atomic_store(&vm->busy, 1U << VM_JOB_PROMOTE);
	assert_int_equal(mover_submit(&d->mover, vm, VM_JOB_PROMOTE_HOT, RANGE_BYTES, 0, 0),
			 -EBUSY);
}

static void a_node_that_is_full_takes_nothing(void **state)
{
	struct daemon *d = *state;

	make_vm(d, 0);
	put("/sys/devices/system/node/node1/meminfo",
	    "Node 1 MemTotal: 16777216 kB\nNode 1 MemFree: 1024 kB\n");
	daemon_round(d);
	pass_time(d);
	daemon_round(d);
	assert_int_equal(d->mover.out.n, 0);
}

static void a_steady_round_allocates_nothing(void **state)
{
	struct daemon *d = *state;
	unsigned long before;

	for (size_t i = 0; i < VMS; i++)
		make_vm(d, i);
	daemon_round(d);
	daemon_round(d);
	before = allocations;
	for (int i = 0; i < 200; i++)
		daemon_round(d);
	assert_int_equal(allocations - before, 0);
	assert_int_equal(d->rounds, 202);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(cold_memory_is_handed_to_the_movers, make, drop),
		cmocka_unit_test_setup_teardown(what_may_not_move_is_not_handed_out, make, drop),
		cmocka_unit_test_setup_teardown(a_drained_vms_policy_is_put_back_when_it_is_home,
						make, drop),
		cmocka_unit_test_setup_teardown(
			a_drain_is_done_when_a_later_reading_has_confirmed_it, make, drop),
		cmocka_unit_test_setup_teardown(only_one_job_brings_memory_home_at_a_time, make,
						drop),
		cmocka_unit_test_setup_teardown(a_node_that_is_full_takes_nothing, make, drop),
		cmocka_unit_test_setup_teardown(a_steady_round_allocates_nothing, make, drop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
