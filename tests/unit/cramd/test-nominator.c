// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The thread that keeps DAMON, on a recorded tree: what it makes of what DAMON says, and of its
 * being lost to another tool.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cramd/classify/nominator.h"
#include "cramd/sense/pages.h"
#include "recorded-damon.h"

#define START  0x7f0000000000UL
#define RANGES 4
#define VMS    2
#define STATE  RECORDED_DAMON "/0/state"
#define REGION RECORDED_DAMON "/0/contexts/0/schemes/0/tried_regions/0/"

struct fixture {
	char dir[64];
	struct host host;
	struct nominator nominator;
	struct vm *vms[VMS];
};

static void put(struct fixture *f, const char *path, const char *text)
{
	recorded_put(f->dir, path, text);
}

/* Until @host is told otherwise, the first of two is watched. */
static struct vm *make_vm(struct fixture *f, int i)
{
	struct vm *vm = calloc(1, sizeof(*vm));

	assert_non_null(vm);
	vm_init(vm);
	vm->pid = 4242 + i;
	vm->watched = i == 0;
	vm->blocks.n = 1;
	vm->blocks.v[0] =
		(struct ramblock){ .start = START, .end = START + RANGES * (uint64_t)RANGE_BYTES };
	assert_int_equal(ranges_init(&vm->ranges, RANGES), 0);
	assert_int_equal(host_add_vm(&f->host, vm), 0);
	return vm;
}

/* Snapshots are a hundredth of a second apart; all of the first VM is one region that is quiet. */
static int make(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	const struct cram_host_settings settings = {
		.detector = CRAM_DETECTOR_AUTO,
		.damon_sample_us = 1000,
		.damon_aggr_us = 10000,
		.damon_min_regions = 10,
		.damon_max_regions = 99,
	};
	char end[32];

	assert_non_null(f);
	recorded_make(f->dir, sizeof(f->dir));
	assert_int_equal(host_init(&f->host, f->dir, "/run/cramd"), 0);
	f->host.log.level = LOG_EMERG;
	host_set_settings(&f->host, &settings);
	put(f, "/proc/sys/kernel/random/boot_id", "boot-1\n");
	put(f, "/run/cramd/", NULL);
	recorded_put_damon(f->dir);
	recorded_put_damon_targets(f->dir, VMS);
	put(f, STATE, "");
	snprintf(end, sizeof(end), "%llu\n",
		 (unsigned long long)(START + RANGES * (uint64_t)RANGE_BYTES));
	put(f, REGION "end", end);
	snprintf(end, sizeof(end), "%llu\n", (unsigned long long)START);
	put(f, REGION "start", end);
	put(f, REGION "nr_accesses", "0\n");
	for (int i = 0; i < VMS; i++)
		f->vms[i] = make_vm(f, i);
	*state = f;
	return 0;
}

static int drop(void **state)
{
	struct fixture *f = *state;
	int r;

	host_stop(&f->host);
	nominator_join(&f->nominator);
	for (int i = 0; i < VMS; i++) {
		host_remove_vm(&f->host, f->vms[i]);
		vm_unref(f->vms[i]);
	}
	host_fini(&f->host);
	r = recorded_drop(f->dir);
	free(f);
	return r;
}

static bool active(struct fixture *f)
{
	return atomic_load(&f->host.damon_until_ms) != 0;
}

static bool noted(struct fixture *f, const char *text)
{
	bool found;

	pthread_mutex_lock(&f->host.lock);
	found = text[0] ? strstr(f->host.detector_note, text) != NULL
			: f->host.detector_note[0] == '\0';
	pthread_mutex_unlock(&f->host.lock);
	return found;
}

static bool nominated(struct fixture *f)
{
	bool quiet;

	pthread_mutex_lock(&f->vms[0]->lock);
	quiet = f->vms[0]->ranges.v[RANGES - 1].quiet_s != 0;
	pthread_mutex_unlock(&f->vms[0]->lock);
	return quiet;
}

/* Until it was once. */
#define wait_for(condition)                                 \
	do {                                                \
		bool met = false;                           \
		for (int ms = 0; ms < 8000 && !met; ms++) { \
			met = (condition);                  \
			if (!met)                           \
				usleep(1000);               \
		}                                           \
		assert_true(met);                           \
	} while (0)

static void start(struct fixture *f)
{
	assert_int_equal(nominator_start(&f->nominator, &f->host), 0);
	wait_for(active(f) && nominated(f));
}

/* What was hot then would never be looked at again. */
static void what_another_tool_took_is_not_in_use(void **state)
{
	struct fixture *f = *state;

	start(f);
	put(f, RECORDED_DAMON "/0/contexts/0/targets/0/pid_target", "4711\n");
	wait_for(noted(f, "in use by"));
	wait_for(!active(f));
}

/* A kdamond that is stuck; the file of a region is one that cannot be read. */
static void what_damon_saw_last_gets_too_old(void **state)
{
	struct fixture *f = *state;

	start(f);
	wait_for(host_damon_answers(&f->host));
	put(f, REGION "nr_accesses", "what\n");
	wait_for(!host_damon_answers(&f->host));
	assert_true(active(f));
	put(f, REGION "nr_accesses", "0\n");
	wait_for(host_damon_answers(&f->host));
}

static size_t lines_with(FILE *log, const char *text)
{
	char line[1024];
	size_t n = 0;

	rewind(log);
	while (fgets(line, sizeof(line), log))
		n += strstr(line, text) != NULL;
	return n;
}

static FILE *log_to(struct fixture *f)
{
	FILE *log = tmpfile();

	assert_non_null(log);
	/* What the thread writes goes to the end, wherever this has read to. */
	assert_int_equal(fcntl(fileno(log), F_SETFL, O_APPEND), 0);
	f->host.log.fd = fileno(log);
	f->host.log.level = LOG_INFO;
	return log;
}

static void stop_and_close(struct fixture *f, FILE *log)
{
	host_stop(&f->host);
	assert_true(nominator_join(&f->nominator));
	fclose(log);
}

static void that_damon_starts_over_is_in_the_log_once(void **state)
{
	struct fixture *f = *state;
	FILE *log = log_to(f);

	start(f);
	assert_int_equal(lines_with(log, "starts over"), 0);
	/* The first is left alone from now on, and the other takes its place. */
	f->vms[0]->watched = false;
	f->vms[1]->watched = true;
	wait_for(lines_with(log, "starts over with 1 VM,"));
	usleep(100000);
	assert_int_equal(lines_with(log, "starts over"), 1);
	stop_and_close(f, log);
}

static bool reads(struct fixture *f, const char *path, const char *text)
{
	char found[32] = "";

	return sysroot_read(&f->host.root, path, found, sizeof(found), NULL) == 0 &&
	       !strcmp(found, text);
}

/* What was a file of other numbers before the agent was told of these. */
static void damon_is_told_of_other_settings_while_it_watches(void **state)
{
	static const char *const attrs = RECORDED_DAMON "/0/contexts/0/monitoring_attrs";
	struct fixture *f = *state;
	struct cram_host_settings settings = f->host.settings;
	FILE *log = log_to(f);
	char path[192];

	start(f);
	settings.damon_sample_us = 2000;
	settings.damon_max_regions = 77;
	host_set_settings(&f->host, &settings);
	snprintf(path, sizeof(path), "%s/nr_regions/max", attrs);
	wait_for(reads(f, path, "77"));
	snprintf(path, sizeof(path), "%s/intervals/sample_us", attrs);
	wait_for(reads(f, path, "2000"));
	wait_for(lines_with(log, "samples each 2 ms and counts for 10 ms, in 10 to 77 regions"));
	usleep(100000);
	assert_int_equal(lines_with(log, "DAMON goes on"), 1);
	stop_and_close(f, log);
}

/* Who set an interval gets it. */
static void damon_samples_half_as_often_where_looks_confirm_it(void **state)
{
	static const char *const sample =
		RECORDED_DAMON "/0/contexts/0/monitoring_attrs/intervals/sample_us";
	struct fixture *f = *state;
	struct cram_host_settings settings = f->host.settings;

	start(f);
	settings.damon_aggr_us = 40000;
	settings.damon_sample_us = 0;
	host_set_settings(&f->host, &settings);
	/* The file keeps what is not written over. */
	put(f, sample, "");
	wait_for(reads(f, sample, "2000"));
	atomic_store(&f->host.idle_active, true);
	wait_for(reads(f, sample, "4000"));
	settings.damon_sample_us = 7000;
	host_set_settings(&f->host, &settings);
	wait_for(reads(f, sample, "7000"));
}

/* The kernel's answer, at the other end of *@fifo, comes after three seconds. */
static void *answer_late(void *fifo)
{
	const int *fd = fifo;

	usleep(3000000);
	if (write(*fd, "0\n", 2) != 2)
		abort();
	close(*fd);
	return NULL;
}

/* A snapshot is under way, of an aggregation that takes as long. */
static void damon_is_off_when_the_agent_has_gone(void **state)
{
	struct fixture *f = *state;
	struct cram_host_settings settings = f->host.settings;
	char path[192], text[8];
	pthread_t kernel;
	static int fd; /* the answer comes though the test may have failed */

	start(f);
	snprintf(path, sizeof(path), "%s" REGION "nr_accesses", f->dir);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkfifo(path, 0600), 0);
	/* It can be opened so when the other end is open. */
	wait_for((fd = open(path, O_WRONLY | O_NONBLOCK)) >= 0);
	settings.damon_aggr_us = 3000000;
	host_set_settings(&f->host, &settings);
	put(f, STATE, "on\n");
	host_stop(&f->host);
	assert_int_equal(pthread_create(&kernel, NULL, answer_late, &fd), 0);
	assert_true(nominator_join(&f->nominator));
	pthread_join(kernel, NULL);
	assert_true(reads(f, STATE, "off"));
	assert_int_equal(sysroot_read(&f->host.root, "/run/cramd/damon", text, sizeof(text), NULL),
			 -ENOENT);
}

static void what_was_noted_of_damon_goes_when_it_is_not_wanted(void **state)
{
	struct fixture *f = *state;
	struct cram_host_settings settings = f->host.settings;

	put(f, REGION "end", "0\n");
	assert_int_equal(nominator_start(&f->nominator, &f->host), 0);
	wait_for(noted(f, "does not work"));
	settings.detector = CRAM_DETECTOR_PAGE_IDLE;
	host_set_settings(&f->host, &settings);
	wait_for(noted(f, ""));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_another_tool_took_is_not_in_use, make, drop),
		cmocka_unit_test_setup_teardown(what_damon_saw_last_gets_too_old, make, drop),
		cmocka_unit_test_setup_teardown(damon_is_off_when_the_agent_has_gone, make, drop),
		cmocka_unit_test_setup_teardown(that_damon_starts_over_is_in_the_log_once, make,
						drop),
		cmocka_unit_test_setup_teardown(damon_is_told_of_other_settings_while_it_watches,
						make, drop),
		cmocka_unit_test_setup_teardown(damon_samples_half_as_often_where_looks_confirm_it,
						make, drop),
		cmocka_unit_test_setup_teardown(what_was_noted_of_damon_goes_when_it_is_not_wanted,
						make, drop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
