// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What operators ask for: in force at once, and again after the agent was restarted; a change that
 * is refused leaves everything as it was, in memory and on disk.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cramd/round.h"
#include "cramd/server/report.h"
#include "recorded.h"

#define UUID "0F3C2E54-0000-4000-8000-00000000000A" /* as QEMU may have been told */

struct fixture {
	char dir[64];
	struct daemon d;
	struct vm *vm;
};

/* The VM as the agent finds it when it starts; @started tells its process from another one's. */
static void find_vm(struct fixture *f, const char *uuid, uint64_t started)
{
	struct vm *vm = calloc(1, sizeof(*vm));

	assert_non_null(vm);
	vm_init(vm);
	vm->ram = GiB;
	vm->start_time = started;
	strcpy(vm->name, "db");
	strcpy(vm->uuid, uuid);
	assert_int_equal(array_push(&f->d.host.vms, vm), 0);
	f->vm = vm;
	daemon_restore(&f->d, vm);
	daemon_resolve(&f->d, vm);
}

static void start(struct fixture *f)
{
	char conf[128], text[128];
	struct cram_error err = {};

	snprintf(text, sizeof(text), "[host]\nstate_dir = %s/state\n", f->dir);
	recorded_put(f->dir, "/cramd.conf", text);
	snprintf(conf, sizeof(conf), "%s/cramd.conf", f->dir);
	memset(&f->d, 0, sizeof(f->d));
	assert_int_equal(host_init(&f->d.host, f->dir, "/run/cramd"), 0);
	f->d.host.log.level = LOG_EMERG;
	f->d.conf_path = conf;
	assert_int_equal(daemon_load(&f->d, &err), 0);
	f->d.snapshot.n_dram = 1;
	f->d.snapshot.dram[0].total = 4 * GiB;
}

static void stop(struct fixture *f)
{
	daemon_fini(&f->d);
	host_fini(&f->d.host);
}

static void restart(struct fixture *f, const char *uuid, uint64_t started)
{
	stop(f);
	start(f);
	find_vm(f, uuid, started);
}

static int make(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	recorded_make(f->dir, sizeof(f->dir));
	recorded_put(f->dir, "/state/", NULL);
	start(f);
	find_vm(f, UUID, 7);
	*state = f;
	return 0;
}

static int drop(void **state)
{
	struct fixture *f = *state;
	int r;

	stop(f);
	r = recorded_drop(f->dir);
	free(f);
	return r;
}

static void pause_and_drain_outlive_the_agent_not_the_vm(void **state)
{
	struct fixture *f = *state;
	struct cram_error err = {};

	assert_int_equal(daemon_pause(&f->d, f->vm, &err), 0);
	restart(f, UUID, 7);
	assert_true(f->vm->paused_by_operator);
	assert_false(f->vm->drain);
	assert_int_equal(daemon_drain(&f->d, f->vm, &err), 0);
	restart(f, UUID, 7);
	assert_true(f->vm->paused_by_operator && f->vm->drain);
	/* Another process of the same VM: it was stopped and started without an agent. */
	restart(f, UUID, 8);
	assert_false(f->vm->paused_by_operator || f->vm->drain);

	assert_int_equal(daemon_drain(&f->d, f->vm, &err), 0);
	assert_int_equal(daemon_resume(&f->d, f->vm, &err), 0);
	restart(f, UUID, 8);
	assert_false(f->vm->paused_by_operator || f->vm->drain);

	/* It stops while the agent looks, and so does what was asked. */
	assert_int_equal(daemon_drain(&f->d, f->vm, &err), 0);
	daemon_forget(&f->d, f->vm);
	assert_null(cram_overrides_find(&f->d.overrides, UUID));
}

static void so_do_those_of_the_host_and_hold_for_vms_to_come(void **state)
{
	struct fixture *f = *state;
	struct cram_error err = {};

	assert_int_equal(daemon_pause(&f->d, NULL, &err), 0);
	assert_true(atomic_load(&f->d.host.paused));
	restart(f, UUID, 7);
	assert_true(atomic_load(&f->d.host.paused));
	assert_int_equal(daemon_drain(&f->d, NULL, &err), 0);
	assert_true(f->vm->drain);
	restart(f, "0f3c2e54-0000-4000-8000-00000000000b", 9);
	assert_true(f->vm->drain);
	/* What was asked for one VM stays when the host goes on. */
	assert_int_equal(daemon_drain(&f->d, f->vm, &err), 0);
	assert_int_equal(daemon_resume(&f->d, NULL, &err), 0);
	assert_true(f->vm->drain);
	assert_false(atomic_load(&f->d.host.paused));
	restart(f, UUID, 7);
	assert_false(f->vm->drain);
}

static void a_decision_made_before_is_not_carried_out(void **state)
{
	struct fixture *f = *state;
	uint32_t epoch = atomic_load(&f->vm->epoch);

	daemon_pause(&f->d, f->vm, NULL);
	assert_true(atomic_load(&f->vm->epoch) != epoch);
	epoch = atomic_load(&f->vm->epoch);
	daemon_drain(&f->d, NULL, NULL);
	assert_true(atomic_load(&f->vm->epoch) != epoch);
}

static void what_cannot_be_kept_is_in_force_and_said(void **state)
{
	struct fixture *f = *state;
	struct cram_error err = {};

	strcpy(f->d.overrides_path, "/proc/nonexistent/overrides.json");
	assert_int_equal(daemon_pause(&f->d, NULL, &err), -ENOENT);
	assert_true(atomic_load(&f->d.host.paused));
	assert_non_null(strstr(err.object, "pause is in force"));
	err = (struct cram_error){};
	assert_int_equal(daemon_drain(&f->d, f->vm, &err), -ENOENT);
	assert_true(f->vm->drain);
}

static struct cram_set_request request(enum cram_setting s, const char *value, bool persist)
{
	struct cram_set_request set = { .vm = "db", .persist = persist };

	assert_int_equal(cram_layer_set(&set.layer, s, value, 0, NULL), 0);
	return set;
}

static void settings_outlive_the_agent_when_asked_to(void **state)
{
	struct fixture *f = *state;
	struct cram_set_request keep = request(CRAM_SET_QUOTA, "3 MiB", true);
	struct cram_set_request now = request(CRAM_SET_WEIGHT, "7", false);
	struct cram_error err = {};

	assert_int_equal(daemon_set(&f->d, f->vm, &keep, &err), 0);
	assert_int_equal(daemon_set(&f->d, f->vm, &now, &err), 0);
	assert_int_equal(daemon_pause(&f->d, f->vm, &err), 0);
	assert_int_equal(f->vm->settings.weight, 7);
	restart(f, UUID, 7);
	assert_int_equal(f->vm->settings.quota, 3 * MiB);
	assert_int_equal(f->vm->settings.origin[CRAM_SET_QUOTA], CRAM_ORIGIN_PERSIST);
	assert_int_equal(f->vm->settings.weight, 100);
	/* One is dropped, the other stays. */
	assert_int_equal(daemon_resume(&f->d, f->vm, &err), 0);
	restart(f, UUID, 7);
	assert_int_equal(f->vm->settings.quota, 3 * MiB);
	assert_false(f->vm->paused_by_operator);
}

static void what_is_to_be_kept_makes_its_directory(void **state)
{
	struct fixture *f = *state;
	struct cram_set_request keep = request(CRAM_SET_QUOTA, "3 MiB", true);
	struct cram_error err = {};

	snprintf(f->d.overrides_path, sizeof(f->d.overrides_path), "%s/a/b/overrides.json", f->dir);
	assert_int_equal(daemon_set(&f->d, f->vm, &keep, &err), 0);
	assert_int_equal(access(f->d.overrides_path, R_OK), 0);
}

static void so_does_the_agent_when_it_starts(void **state)
{
	struct fixture *f = *state;
	struct cram_error err = {};
	char conf[128], text[128];
	struct stat st;

	stop(f);
	start(f);
	snprintf(text, sizeof(text), "[host]\nstate_dir = %s/c/d\n", f->dir);
	recorded_put(f->dir, "/deep.conf", text);
	snprintf(conf, sizeof(conf), "%s/deep.conf", f->dir);
	f->d.conf_path = conf;
	assert_int_equal(daemon_load(&f->d, &err), 0);
	snprintf(text, sizeof(text), "%s/c/d", f->dir);
	assert_int_equal(stat(text, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
}

/* From now on log lines go to the file that is returned. */
static int keep_log(struct fixture *f)
{
	int fd = memfd_create("log", 0);

	assert_true(fd >= 0);
	f->d.host.log = (struct cram_log){ .fd = fd, .level = LOG_INFO };
	return fd;
}

/* What has come to @fd since keep_log(), which is over. */
static const char *logged(struct fixture *f, int fd)
{
	static char text[512];
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);

	assert_true(n >= 0);
	text[n] = '\0';
	cram_log_init(&f->d.host.log);
	f->d.host.log.level = LOG_EMERG;
	close(fd);
	return text;
}

static void what_was_done_is_in_the_log_with_who_asked_for_it(void **state)
{
	struct fixture *f = *state;
	struct cram_set_request set = request(CRAM_SET_QUOTA, "3 MiB", false);
	struct cram_error err = {};
	int log = keep_log(f);

	strcpy(f->d.request.who, "uid 7 (pid 8)");
	assert_int_equal(daemon_set(&f->d, f->vm, &set, &err), 0);
	assert_string_equal(logged(f, log),
			    "vm \"db\": quota unlimited -> 3 MiB, by uid 7 (pid 8)\n");
}

/* Of whom the value in force stays what it was, the kept file changes all the same. */
static void what_is_kept_or_dropped_without_another_value_is_said(void **state)
{
	struct fixture *f = *state;
	struct cram_set_request now = request(CRAM_SET_QUOTA, "3 MiB", false);
	struct cram_set_request keep = request(CRAM_SET_QUOTA, "3 MiB", true);
	struct cram_set_request half = request(CRAM_SET_FLOOR, "512 MiB", true);
	struct cram_error err = {};
	int log;

	assert_int_equal(daemon_set(&f->d, f->vm, &now, &err), 0);
	strcpy(f->d.request.who, "uid 7 (pid 8)");
	log = keep_log(f);
	assert_int_equal(daemon_set(&f->d, f->vm, &keep, &err), 0);
	assert_string_equal(logged(f, log),
			    "vm \"db\": quota 3 MiB (cli -> cli-persist), by uid 7 (pid 8)\n");
	assert_string_equal(f->d.request.did, "vm \"db\": quota 3 MiB (cli -> cli-persist)");
	f->d.request.did[0] = '\0';
	assert_int_equal(daemon_set(&f->d, f->vm, &keep, &err), 0);
	assert_string_equal(f->d.request.did, "vm \"db\": nothing changed, it was so before");
	/* As is the half of 1 GiB that is the default. */
	assert_int_equal(daemon_set(&f->d, f->vm, &half, &err), 0);
	log = keep_log(f);
	f->d.request.did[0] = '\0';
	assert_int_equal(daemon_drop(&f->d, f->vm, &err), 0);
	assert_string_equal(logged(f, log),
			    "vm \"db\": quota 3 MiB -> unlimited, floor 512 MiB (cli-persist -> "
			    "default, 50%), by uid 7 (pid 8)\n");
}

static void what_is_left_at_the_end_is_said_with_where_and_what_to_do(void **state)
{
	struct fixture *f = *state;
	struct snapshot *s = &f->d.snapshot;
	int log = keep_log(f);

	s->n_tiers = 4;
	for (size_t t = 0; t < s->n_tiers; t++)
		s->tiers[t].kind = t < 2   ? CRAM_TIER_CRAM
				   : t < 3 ? CRAM_TIER_NODE
					   : CRAM_TIER_ZSWAP;
	daemon_say_left(&f->d);
	assert_string_equal(logged(f, log), "");
	s->tier_used[0] = 16 * MiB;
	s->tier_used[1] = 8 * MiB;
	s->tier_used[3] = 6 * MiB;
	f->vm->input.tier_bytes = 30 * MiB;
	log = keep_log(f);
	daemon_say_left(&f->d);
	assert_string_equal(
		logged(f, log),
		"30 MiB of 1 VM stay on tiers (cram 24 MiB, zswap 6 MiB), and no agent brings them "
		"home until one runs again; before stopping for good: cramctl drain --all\n");
	s->n_tiers = 0;
}

static void a_refused_setting_changes_nothing(void **state)
{
	struct fixture *f = *state;
	struct cram_set_request mode = request(CRAM_SET_MODE, "auto", true);
	struct cram_set_request floor = request(CRAM_SET_FLOOR, "1 GiB", true);
	struct cram_error err = {};

	assert_int_equal(daemon_set(&f->d, f->vm, &mode, &err), 0);
	f->d.snapshot.dram[0].total =
		GiB + 600 * MiB; /* a reserve of 1 GiB leaves less than that floor */
	assert_int_equal(daemon_set(&f->d, f->vm, &floor, &err), -ERANGE);
	assert_non_null(strstr(err.why, "exceed"));
	assert_int_equal(f->vm->settings.floor, 512 * MiB);
	restart(f, UUID, 7);
	assert_int_equal(f->vm->settings.mode, CRAM_MODE_AUTO);
	assert_int_equal(f->vm->settings.floor, 512 * MiB);
	/* Not on disk is not in force. */
	err = (struct cram_error){};
	strcpy(f->d.overrides_path, "/proc/nonexistent/overrides.json");
	floor = request(CRAM_SET_QUOTA, "1 MiB", true);
	assert_int_equal(daemon_set(&f->d, f->vm, &floor, &err), -ENOENT);
	assert_true(f->vm->settings.quota == CRAM_UNLIMITED);
}

/* Sold before the agent came, or DRAM has gone since: floors are lowered one by one. */
static void floors_that_exceed_dram_can_be_lowered(void **state)
{
	struct fixture *f = *state;
	struct cram_set_request mode = request(CRAM_SET_MODE, "auto", false);
	struct cram_set_request lower = request(CRAM_SET_FLOOR, "400 MiB", false);
	struct cram_set_request higher = request(CRAM_SET_FLOOR, "401 MiB", false);
	struct cram_set_request off = request(CRAM_SET_MODE, "off", false);
	struct cram_error err = {};

	assert_int_equal(daemon_set(&f->d, f->vm, &mode, &err), 0);
	f->d.snapshot.dram[0].total = GiB + 100 * MiB; /* less the reserve, 100 MiB */
	assert_int_equal(daemon_set(&f->d, f->vm, &lower, &err), 0);
	assert_int_equal(f->vm->settings.floor, 400 * MiB);
	assert_int_equal(daemon_set(&f->d, f->vm, &higher, &err), -ERANGE);
	assert_int_equal(f->vm->settings.floor, 400 * MiB);
	err = (struct cram_error){};
	assert_int_equal(daemon_set(&f->d, f->vm, &off, &err), 0);
	assert_int_equal(f->vm->settings.mode, CRAM_MODE_OFF);
}

static void what_is_kept_of_a_vm_that_is_gone_is_listed_and_dropped(void **state)
{
	struct fixture *f = *state;
	struct cram_set_request quota = request(CRAM_SET_QUOTA, "3 MiB", true);
	static struct cram_override_report kept[2];
	char path[sizeof(f->d.overrides_path)];
	struct cram_error err = {};

	assert_int_equal(daemon_set(&f->d, f->vm, &quota, &err), 0);
	report_overrides(&f->d, kept);
	assert_int_equal(strcasecmp(kept[0].uuid, UUID), 0);
	assert_string_equal(kept[0].name, f->vm->name);
	assert_true(kept[0].running);
	assert_string_equal(kept[0].kept, "quota 3 MiB");
	/* Another one is there after the restart. */
	restart(f, "11111111-2222-4333-8444-555555555555", 7);
	strcpy(f->vm->name, "another");
	report_overrides(&f->d, kept);
	assert_int_equal(strcasecmp(kept[0].uuid, UUID), 0);
	assert_string_equal(kept[0].name, "db");
	assert_false(kept[0].running);
	assert_int_equal(daemon_drop_gone(&f->d, "another", &err), -ENOENT);
	assert_int_equal(err.code, 0);
	/* Not off the disk is not dropped. */
	strcpy(path, f->d.overrides_path);
	strcpy(f->d.overrides_path, "/proc/nonexistent/overrides.json");
	assert_true(daemon_drop_gone(&f->d, "db", &err) < 0);
	assert_true(err.code < 0);
	assert_int_equal(f->d.overrides.v.n, 1);
	err = (struct cram_error){};
	strcpy(f->d.overrides_path, path);
	assert_int_equal(daemon_drop_gone(&f->d, "db", &err), 0);
	restart(f, UUID, 7);
	assert_int_equal(f->d.overrides.v.n, 0);
	assert_true(f->vm->settings.quota == CRAM_UNLIMITED);
}

static void all_overrides_of_a_vm_are_dropped_at_once(void **state)
{
	struct fixture *f = *state;
	struct cram_set_request quota = request(CRAM_SET_QUOTA, "3 MiB", true);
	struct cram_set_request weight = request(CRAM_SET_WEIGHT, "7", false);
	struct cram_error err = {};

	assert_int_equal(daemon_set(&f->d, f->vm, &quota, &err), 0);
	assert_int_equal(daemon_set(&f->d, f->vm, &weight, &err), 0);
	assert_int_equal(daemon_pause(&f->d, f->vm, &err), 0);
	assert_int_equal(daemon_drop(&f->d, f->vm, &err), 0);
	assert_true(f->vm->settings.quota == CRAM_UNLIMITED);
	assert_int_equal(f->vm->settings.weight, 100);
	/* That it is paused is no setting. */
	restart(f, UUID, 7);
	assert_true(f->vm->paused_by_operator);
	assert_true(f->vm->settings.quota == CRAM_UNLIMITED);
	/* Nor does it take a UUID where nothing is kept. */
	strcpy(f->vm->uuid, "pid-42");
	assert_int_equal(daemon_set(&f->d, f->vm, &weight, &err), 0);
	assert_int_equal(daemon_drop(&f->d, f->vm, &err), 0);
	assert_int_equal(f->vm->settings.weight, 100);
}

static void a_vm_without_a_uuid_cannot_be_remembered(void **state)
{
	struct fixture *f = *state;
	struct cram_set_request set = request(CRAM_SET_QUOTA, "3 MiB", true);
	struct cram_error err = {};

	strcpy(f->vm->uuid, "pid-42");
	assert_int_equal(daemon_set(&f->d, f->vm, &set, &err), -EINVAL);
	assert_non_null(strstr(err.why, "without a UUID"));
	assert_true(f->vm->settings.quota == CRAM_UNLIMITED);
	err = (struct cram_error){};
	assert_int_equal(daemon_drain(&f->d, f->vm, &err), 0);
	assert_true(f->vm->drain);
	assert_int_equal(f->d.overrides.v.n, 0);
}

static void a_damaged_state_file_is_put_aside(void **state)
{
	struct fixture *f = *state;
	char path[128], text[16] = "";
	FILE *file;

	recorded_put(f->dir, "/state/overrides.json", "{ broken");
	restart(f, UUID, 7);
	snprintf(path, sizeof(path), "%s/state/overrides.json.damaged", f->dir);
	file = fopen(path, "r");
	assert_non_null(file);
	assert_non_null(fgets(text, sizeof(text), file));
	fclose(file);
	assert_string_equal(text, "{ broken");
	/* Nobody knows what was stopped: nothing goes out until somebody says so. */
	assert_true(atomic_load(&f->d.host.paused));
	restart(f, UUID, 7);
	assert_true(atomic_load(&f->d.host.paused));
	assert_int_equal(daemon_resume(&f->d, NULL, NULL), 0);
	restart(f, UUID, 7);
	assert_false(atomic_load(&f->d.host.paused));
}

static void a_state_file_of_a_newer_version_is_in_force_as_far_as_it_is_understood(void **state)
{
	struct fixture *f = *state;
	char path[128];

	recorded_put(
		f->dir, "/state/overrides.json",
		"{\"version\": 3, \"drained\": true, \"vms\": "
		"{\"0f3c2e54-0000-4000-8000-00000000000a\": {\"quota\": \"3 MiB\", \"new\": \"1\"}}}");
	restart(f, UUID, 7);
	assert_true(f->vm->drain);
	assert_false(atomic_load(&f->d.host.paused));
	assert_int_equal(f->vm->settings.quota, 3 * MiB);
	snprintf(path, sizeof(path), "%s/state/overrides.json.damaged", f->dir);
	assert_int_equal(access(path, F_OK), 0);
	/* What was understood is on disk. */
	restart(f, UUID, 7);
	assert_true(f->vm->drain);
	assert_int_equal(f->vm->settings.quota, 3 * MiB);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, make, drop)
	const struct CMUnitTest tests[] = {
		TEST(pause_and_drain_outlive_the_agent_not_the_vm),
		TEST(so_do_those_of_the_host_and_hold_for_vms_to_come),
		TEST(a_decision_made_before_is_not_carried_out),
		TEST(what_cannot_be_kept_is_in_force_and_said),
		TEST(settings_outlive_the_agent_when_asked_to),
		TEST(what_is_to_be_kept_makes_its_directory),
		TEST(so_does_the_agent_when_it_starts),
		TEST(what_was_done_is_in_the_log_with_who_asked_for_it),
		TEST(what_is_kept_or_dropped_without_another_value_is_said),
		TEST(what_is_left_at_the_end_is_said_with_where_and_what_to_do),
		TEST(a_refused_setting_changes_nothing),
		TEST(floors_that_exceed_dram_can_be_lowered),
		TEST(what_is_kept_of_a_vm_that_is_gone_is_listed_and_dropped),
		TEST(all_overrides_of_a_vm_are_dropped_at_once),
		TEST(a_vm_without_a_uuid_cannot_be_remembered),
		TEST(a_damaged_state_file_is_put_aside),
		TEST(a_state_file_of_a_newer_version_is_in_force_as_far_as_it_is_understood),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
