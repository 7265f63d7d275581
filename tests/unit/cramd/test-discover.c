// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * How processes become VMs, and that one which is stuck keeps nobody waiting. Its mappings are a
 * FIFO here: whoever reads them waits until the test writes them, as for a lock.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cramd/examine.h"
#include "cramd/overcommit.h"
#include "cramd/round.h"
#include "cramd/server/report.h"
#include "cramd/tier/tier.h"
#include "recorded.h"
#include "util/cleanup.h"

#define UUID "0f3c2e54-0000-4000-8000-000000000001"

static const char maps[] =
	"7f0000000000-7f0004000000 rw-s 00000000 00:01 1027 /memfd:memory-backend-memfd (deleted)\n";

struct fixture {
	char dir[64];
	struct daemon d;
	pid_t pid; /* alive, so that there is a process to pin; what it does is recorded */
};

static void put(const struct fixture *f, const char *name, const char *text, size_t size)
{
	char path[64], full[192];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/", (int)f->pid);
	recorded_put(f->dir, path, NULL);
	snprintf(full, sizeof(full), "%s%s%s", f->dir, path, name);
	file = fopen(full, "w");
	assert_non_null(file);
	assert_int_equal(fwrite(text, 1, size, file), size);
	fclose(file);
}

/* A command line; its arguments are separated by zero bytes. */
static void put_cmdline(const struct fixture *f, const char *args)
{
	char text[512];
	size_t n = strlen(args) + 1;

	memcpy(text, args, n);
	for (size_t i = 0; i < n; i++)
		if (text[i] == ' ')
			text[i] = '\0';
	put(f, "cmdline", text, n);
}

static void path_of_maps(const struct fixture *f, char *path, size_t size)
{
	snprintf(path, size, "%s/proc/%d/maps", f->dir, (int)f->pid);
}

static int make(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	char stat[128], path[128];

	assert_non_null(f);
	recorded_make(f->dir, sizeof(f->dir));
	f->pid = fork();
	if (f->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	assert_true(f->pid > 0);
	snprintf(stat, sizeof(stat), "%d (qemu) S 1 7 7 0 -1 0 0 0 0 0 0 0 0 0 20 0 4 0 4711 0\n",
		 (int)f->pid);
	put(f, "stat", stat, strlen(stat));
	put(f, "cgroup", "0::/\n", 5);
	put_cmdline(
		f,
		"/usr/bin/qemu-system-x86_64 -name db -uuid " UUID
		" -object memory-backend-memfd,id=ram,size=64M -m 64M -machine memory-backend=ram");
	path_of_maps(f, path, sizeof(path));
	assert_int_equal(mkfifo(path, 0600), 0);

	assert_int_equal(host_init(&f->d.host, f->dir, "/run/cramd"), 0);
	f->d.host.log.level = LOG_EMERG;
	cram_conf_init(&f->d.conf);
	assert_int_equal(relief_init(&f->d.relief, &f->d.host, &f->d.mover), 0);
	assert_int_equal(loop_init(&f->d.loop), 0);
	assert_int_equal(discover_init(&f->d.discover, &f->d.host), 0);
	assert_int_equal(discover_start(&f->d.discover), 0);
	*state = f;
	return 0;
}

/* The process lets go of its lock. */
static void unlock(const struct fixture *f, const char *text)
{
	char path[128];
	int fd;

	path_of_maps(f, path, sizeof(path));
	fd = open(path, O_WRONLY);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

static int drop(void **state)
{
	struct fixture *f = *state;
	int r;

	discover_stop(&f->d.discover);
	while (f->d.host.vms.n)
		daemon_remove_vm(&f->d, f->d.host.vms.v[0]);
	relief_fini(&f->d.relief);
	discover_fini(&f->d.discover);
	daemon_fini(&f->d);
	loop_fini(&f->d.loop);
	host_fini(&f->d.host);
	kill(f->pid, SIGKILL);
	waitpid(f->pid, NULL, 0);
	r = recorded_drop(f->dir);
	free(f);
	return r;
}

/* What the loop does when the thread has examined something. */
static void take_discovered(struct fixture *f)
{
	struct pollfd p = { .fd = f->d.discover.wake, .events = POLLIN };
	uint64_t n;

	assert_int_equal(poll(&p, 1, 30000), 1);
	assert_int_equal(read(p.fd, &n, sizeof(n)), sizeof(n));
	daemon_discovered(&f->d);
}

static void a_stuck_qemu_keeps_nobody_waiting(void **state)
{
	struct fixture *f = *state;
	struct pollfd p = { .fd = f->d.discover.wake, .events = POLLIN };
	struct cram_error err = {};

	/* When its mappings cannot be read, these return all the same ... */
	assert_int_equal(daemon_want_vm(&f->d, f->pid, NULL, &err), 0);
	round_run(&f->d);
	assert_int_equal(daemon_want_vm(&f->d, f->pid, NULL, &err), 0);
	daemon_discovered(&f->d);
	/* ... it is no VM yet, and wanted once. */
	assert_int_equal(poll(&p, 1, 100), 0);
	assert_int_equal(f->d.host.vms.n, 0);
	assert_int_equal(f->d.candidates.n, 1);

	unlock(f, maps);
	take_discovered(f);
	assert_int_equal(f->d.host.vms.n, 1);
	assert_int_equal(f->d.candidates.n, 0);
	assert_string_equal(f->d.host.vms.v[0]->name, "db");
	assert_int_equal(f->d.host.vms.v[0]->ram, 64 << 20);
	assert_int_equal(f->d.host.vms.v[0]->blocks.n, 1);
	assert_int_equal(f->d.host.vms.v[0]->reason, VM_NOT_LOOKED);
	assert_false(f->d.host.vms.v[0]->from_libvirt);
	assert_int_equal(daemon_want_vm(&f->d, f->pid, NULL, &err), -EEXIST);
}

/* Zero would be as if it had been looked at just now, for ever. */
static void a_vm_that_nobody_looks_at_ages_from_when_it_was_found(void **state)
{
	struct fixture *f = *state;
	static struct cram_vm_report report;
	struct cram_error err = {};

	assert_int_equal(daemon_want_vm(&f->d, f->pid, NULL, &err), 0);
	unlock(f, maps);
	take_discovered(f);
	usleep(20000);
	report_vm(&f->d, f->d.host.vms.v[0], &report);
	assert_in_range(report.scan_age_ms, 20, 60000);
}

static void what_libvirt_said_last_is_in_force_when_the_vm_is_taken_in(void **state)
{
	struct fixture *f = *state;
	struct libvirt_domain *domain = calloc(1, sizeof(*domain));
	const struct vm *vm;

	assert_non_null(domain);
	strcpy(domain->uuid, UUID);
	strcpy(domain->name, "db");
	domain->running = true;
	domain->pid = f->pid;
	domain->has_domain = true;
	domain->domain.has_tiering = true;
	domain->domain.tiering.set = 1U << CRAM_SET_MODE;
	domain->domain.tiering.mode = CRAM_MODE_AUTO;
	daemon_domain(&f->d, domain);
	domain->domain.tiering.mode = CRAM_MODE_OFF;
	daemon_domain(&f->d, domain);
	free(domain);
	assert_int_equal(f->d.host.vms.n, 0);

	unlock(f, maps);
	take_discovered(f);
	assert_int_equal(f->d.host.vms.n, 1);
	vm = f->d.host.vms.v[0];
	assert_true(vm->from_libvirt);
	assert_int_equal(vm->settings.mode, CRAM_MODE_OFF);
}

/* As libvirt would hand it out, with @tiering in its metadata. */
static void say_with(struct fixture *f, const char *tiering, const char *devices)
{
	struct libvirt_domain *domain = calloc(1, sizeof(*domain));
	char xml[1024];
	struct cram_error err = {};
	int r;

	assert_non_null(domain);
	strcpy(domain->uuid, UUID);
	strcpy(domain->name, "db");
	domain->running = true;
	domain->pid = f->pid;
	snprintf(xml, sizeof(xml),
		 "<domain><name>db</name><memory unit='MiB'>64</memory><metadata>%s</metadata>"
		 "<devices>%s</devices></domain>",
		 tiering, devices);
	r = cram_domain_parse(xml, strlen(xml), &domain->domain, &err);
	assert_true(r == 0 || r == -EDOM);
	domain->has_domain = true;
	if (r < 0)
		snprintf(domain->note, sizeof(domain->note), "%.100s", err.why);
	else
		memcpy(domain->note, domain->domain.warning, sizeof(domain->note));
	daemon_domain(&f->d, domain);
	free(domain);
}

static void say(struct fixture *f, const char *tiering)
{
	say_with(f, tiering, "");
}

#define TIERING(rest) "<c:tiering xmlns:c='" CRAM_XML_NAMESPACE "' " rest "</c:tiering>"

static struct vm *taken_in(struct fixture *f)
{
	unlock(f, maps);
	take_discovered(f);
	assert_int_equal(f->d.host.vms.n, 1);
	return f->d.host.vms.v[0];
}

static void a_typo_in_the_live_xml_changes_nothing(void **state)
{
	struct fixture *f = *state;
	struct vm *vm;

	say(f, TIERING("mode='auto'><c:quota unit='MiB'>3</c:quota>"));
	vm = taken_in(f);
	assert_int_equal(vm->settings.mode, CRAM_MODE_AUTO);
	for (int i = 0; i < 3; i++)
		say(f, TIERING("mode='atuo'>"));
	assert_int_equal(vm->settings.mode, CRAM_MODE_AUTO);
	assert_int_equal(vm->settings.quota, 3 * MiB);
	assert_non_null(strstr(vm->note, "atuo"));
	assert_int_equal(f->d.bad_domain_settings, 1);
	/* Corrected, and then taken out. */
	say(f, TIERING("mode='monitor'>"));
	assert_int_equal(vm->settings.mode, CRAM_MODE_MONITOR);
	assert_int_equal(vm->settings.quota, CRAM_UNLIMITED);
	assert_string_equal(vm->note, "");
	say(f, "");
	assert_int_equal(vm->settings.origin[CRAM_SET_MODE], CRAM_ORIGIN_DEFAULT);
}

/* What is misspelt is not there, and what is not there has a default: no limit, for a quota. */
static void a_name_that_is_misspelt_in_the_live_xml_lifts_nothing(void **state)
{
	static const char *const misspelt[] = {
		TIERING("mode='auto'><c:qouta unit='MiB'>3</c:qouta>"),
		TIERING("moed='auto'><c:quota unit='MiB'>3</c:quota>"),
		TIERING("mode='auto'><quota unit='MiB'>3</quota>"),
		"<c:teiring xmlns:c='" CRAM_XML_NAMESPACE "' mode='auto'/>",
	};
	struct fixture *f = *state;
	struct vm *vm;

	say(f, TIERING("mode='auto'><c:quota unit='MiB'>3</c:quota>"));
	vm = taken_in(f);
	for (size_t i = 0; i < ARRAY_SIZE(misspelt); i++) {
		say(f, misspelt[i]);
		assert_int_equal(vm->settings.mode, CRAM_MODE_AUTO);
		assert_int_equal(vm->settings.quota, 3 * MiB);
		assert_non_null(strstr(vm->note, "unknown"));
		assert_true(vm->settings_refused);
		assert_int_equal(f->d.bad_domain_settings, i + 1);
	}
	/* What is there beside something unknown is meant. */
	say(f, TIERING("mode='auto' colour='red'><c:quota unit='MiB'>5</c:quota>"));
	assert_int_equal(vm->settings.quota, 5 * MiB);
	assert_false(vm->settings_refused);
	say(f, TIERING("mode='auto'>"));
	assert_int_equal(vm->settings.quota, CRAM_UNLIMITED);
}

/* Too large, or cut off: then nothing is known of it that was not known before. */
static void xml_that_cannot_be_read_changes_nothing(void **state)
{
	struct fixture *f = *state;
	struct libvirt_domain *domain = calloc(1, sizeof(*domain));
	struct vm *vm;

	say_with(f, TIERING("mode='auto'>"), "<interface type='vhostuser'/>");
	vm = taken_in(f);
	assert_non_null(domain);
	strcpy(domain->uuid, UUID);
	strcpy(domain->name, "db");
	domain->running = true;
	domain->pid = f->pid;
	strcpy(domain->note, "XML: cannot parse: too large");
	daemon_domain(&f->d, domain);
	free(domain);
	assert_int_equal(vm->settings.mode, CRAM_MODE_AUTO);
	assert_true(vm->vhost_user);
	assert_true(vm->has_domain && vm->domain.ram == 64 * MiB);
	assert_string_equal(vm->note, "XML: cannot parse: too large");
}

static void a_vm_that_starts_with_a_bad_setting_is_only_monitored(void **state)
{
	struct fixture *f = *state;
	struct vm *vm;

	/* Whatever the host's default is. */
	assert_int_equal(cram_layer_set(&f->d.conf.vm, CRAM_SET_MODE, "auto", 0, NULL), 0);
	say(f, TIERING("mode='sometimes'>"));
	vm = taken_in(f);
	assert_int_equal(vm->settings.mode, CRAM_MODE_MONITOR);
	assert_int_equal(f->d.bad_domain_settings, 1);
	say(f, TIERING("><c:weight>7</c:weight>"));
	assert_int_equal(vm->settings.mode, CRAM_MODE_AUTO);
}

static void what_cannot_be_a_vm_is_forgotten(void **state)
{
	struct fixture *f = *state;
	struct cram_error err = {};

	put_cmdline(f, "/bin/sleep 1");
	assert_int_equal(daemon_want_vm(&f->d, f->pid, NULL, &err), 0);
	take_discovered(f);
	assert_int_equal(f->d.host.vms.n, 0);
	assert_int_equal(f->d.candidates.n, 0);
}

/* What libvirt runs is listed and sold, whether we can look at it or not. */
static void a_vm_of_libvirts_that_cannot_be_examined_is_listed_and_sold(void **state)
{
	struct fixture *f = *state;
	struct proc_status status = { .state = 'S', .mems_allowed = 1, .size = 1 };
	const struct examination e = { .kernel = f->d.host.kernel, .root = &f->d.host.root };
	struct cram_overcommit_input sold;
	struct vm *vm;

	put_cmdline(f, "/opt/x/emulator -m 64M");
	say(f, "");
	take_discovered(f);
	assert_int_equal(f->d.host.vms.n, 1);
	vm = f->d.host.vms.v[0];
	assert_string_equal(vm->uuid, UUID);
	assert_string_equal(vm->name, "db");
	assert_true(vm->from_libvirt);
	assert_int_equal(vm->reason, VM_LAYOUT_UNKNOWN);
	assert_non_null(strstr(vm->why, "emulator"));
	overcommit_input(&f->d, NULL, &sold);
	assert_int_equal(sold.sold.ram, 64 << 20);
	assert_int_equal(sold.sold.bound, 64 << 20);

	/* It stays what it is, and is not asked about all the time. */
	vm_examine(vm, &e, &status);
	daemon_relayout(&f->d);
	say(f, TIERING("mode='auto'>"));
	round_run(&f->d);
	assert_int_equal(f->d.candidates.n, 0);
	assert_int_equal(vm->reason, VM_LAYOUT_UNKNOWN);
	assert_int_equal(f->d.host.vms.n, 1);
	assert_int_equal(vm->settings.mode, CRAM_MODE_AUTO);
	vm->cli_layer.set = 1U << CRAM_SET_WEIGHT;
	vm->cli_layer.weight = 7;

	/* Nor is the next attempt the end of it; the one after that succeeds. */
	f->d.refusals.v[0].again_ms = 0;
	say(f, TIERING("mode='auto'>"));
	take_discovered(f);
	assert_int_equal(f->d.host.vms.n, 1);
	put_cmdline(f, "/usr/bin/qemu-system-x86_64 -name db -uuid " UUID " -m 64M -object "
		       "memory-backend-memfd,id=ram,size=64M -machine memory-backend=ram");
	f->d.refusals.v[0].again_ms = 0;
	say(f, TIERING("mode='auto'>"));
	vm = taken_in(f);
	assert_int_equal(vm->reason, VM_NOT_LOOKED);
	assert_int_equal(vm->blocks.n, 1);
	assert_string_equal(vm->uuid, UUID);
	assert_int_equal(vm->settings.mode, CRAM_MODE_AUTO);
	assert_int_equal(vm->settings.weight, 7);
}

/* Longer than is ever read: by hand or by libvirt, it runs. */
static void a_vm_whose_command_line_is_cut_off_is_listed(void **state)
{
	static char args[300U << 10];
	struct fixture *f = *state;
	size_t n = 0;

	/* An argument each two bytes: wherever it is cut, one is complete or has just begun. */
	for (const char *p = "/usr/bin/qemu-system-x86_64 -uuid " UUID " -m 64M"; *p; p++)
		args[n++] = *p == ' ' ? '\0' : *p;
	for (n++; n < sizeof(args); n++)
		args[n] = n % 2 ? 'x' : '\0';
	put(f, "cmdline", args, sizeof(args));
	assert_int_equal(daemon_want_vm(&f->d, f->pid, NULL, NULL), 0);
	take_discovered(f);
	assert_int_equal(f->d.host.vms.n, 1);
	assert_string_equal(f->d.host.vms.v[0]->uuid, UUID);
	assert_int_equal(f->d.host.vms.v[0]->reason, VM_LAYOUT_UNKNOWN);
	assert_non_null(strstr(f->d.host.vms.v[0]->why, "cut off"));
	assert_int_equal(f->d.host.vms.v[0]->ram, 64 << 20);
}

static void link_fd(const struct fixture *f, int fd, const char *target)
{
	char path[128];

	snprintf(path, sizeof(path), "/proc/%d/fd/", (int)f->pid);
	recorded_put(f->dir, path, NULL);
	snprintf(path, sizeof(path), "%s/proc/%d/fd/%d", f->dir, (int)f->pid, fd);
	unlink(path);
	if (target)
		assert_int_equal(symlink(target, path), 0);
}

static struct vm *take_in(struct fixture *f, const char *mappings)
{
	assert_int_equal(daemon_want_vm(&f->d, f->pid, NULL, NULL), 0);
	unlock(f, mappings);
	take_discovered(f);
	assert_int_equal(f->d.host.vms.n, 1);
	put(f, "numa_maps", "", 0);
	link_fd(f, 3, "/dev/null");
	return f->d.host.vms.v[0];
}

static void examine(struct fixture *f, struct vm *vm, const struct proc_status *status,
		    uint64_t now_ms)
{
	const struct examination e = { .kernel = f->d.host.kernel,
				       .root = &f->d.host.root,
				       .now_ms = now_ms,
				       .placement = true };

	vm_examine(vm, &e, status);
}

/* Whatever we understand of it: it runs, and its memory has been sold. */
static void a_vm_whose_ram_is_not_there_yet_is_listed_and_looked_at_again(void **state)
{
	struct fixture *f = *state;
	struct proc_status status = { .state = 'S', .mems_allowed = 1, .size = 1 };
	struct vm *vm = take_in(f, "7f1000000000-7f1000021000 rw-p 00000000 00:00 0 \n");

	assert_int_equal(vm->reason, VM_NOT_MAPPED);
	assert_int_equal(vm->ram, 64 << 20);
	assert_int_equal(vm->blocks.n, 0);
	examine(f, vm, &status, 1);
	daemon_relayout(&f->d);
	unlock(f, maps);
	take_discovered(f);
	assert_int_equal(vm->blocks.n, 1);
	assert_int_equal(vm->ranges.n, 32);
	examine(f, vm, &status, 2);
	assert_int_equal(vm->reason, VM_ELIGIBLE);
}

static void memory_plugged_in_is_taken_in_and_unplugged_is_let_go(void **state)
{
	static const char more[] =
		"7e0000000000-7e0004000000 rw-s 00000000 00:01 1028 /memfd:memory-backend-memfd (deleted)\n"
		"7f0000000000-7f0004000000 rw-s 00000000 00:01 1027 /memfd:memory-backend-memfd (deleted)\n";
	struct fixture *f = *state;
	struct proc_status status = { .state = 'S', .mems_allowed = 1, .size = 1 };
	struct vm *vm = take_in(f, maps);

	assert_int_equal(vm->ram, 64 << 20);
	examine(f, vm, &status, 1);
	assert_true(atomic_load(&vm->relayout));
	daemon_relayout(&f->d);
	unlock(f, more);
	take_discovered(f);
	assert_int_equal(vm->ram, 128 << 20);
	assert_int_equal(vm->blocks.n, 2);
	assert_int_equal(vm->ranges.n, 64);
	/* What was there stays what it was. */
	assert_int_equal(vm->blocks.v[0].inode, 1027);
	assert_int_equal(vm->first[1], 32);

	/* The address space has not changed: nothing is read again. */
	examine(f, vm, &status, 2);
	assert_false(atomic_load(&vm->relayout));
	/* It has, and the blocks are those that they were: so is where their memory is. */
	status.size = 2;
	examine(f, vm, &status, 3);
	vm->relayout_ms = 0;
	daemon_relayout(&f->d);
	unlock(f, more);
	take_discovered(f);
	assert_int_equal(vm->placed_ms, 3);
	status.size = 3;
	examine(f, vm, &status, 4);
	vm->relayout_ms = 0;
	daemon_relayout(&f->d);
	unlock(f, maps);
	take_discovered(f);
	assert_int_equal(vm->ram, 64 << 20);
	assert_true(vm_has_block(vm, 0));
	assert_false(vm_has_block(vm, 1));
	assert_int_equal(vm->placed_ms, 0);
}

/* What is there of virtio-mem's 32 MiB, read at @now_ms, and what that makes of the VM. */
static uint64_t ram_with_virtio_mem(struct fixture *f, struct vm *vm, unsigned int pages,
				    uint64_t now_ms)
{
	static const char mappings[] =
		"7e0000000000-7e0002000000 rw-s 00000000 00:01 1028 /memfd:memory-backend-memfd (deleted)\n"
		"7f0000000000-7f0004000000 rw-s 00000000 00:01 1027 /memfd:memory-backend-memfd (deleted)\n";
	struct proc_status status = { .state = 'S', .mems_allowed = 1 };
	char numa[160];

	snprintf(numa, sizeof(numa),
		 "7e0000000000 default N0=%u kernelpagesize_kB=4\n"
		 "7f0000000000 default N0=16384 kernelpagesize_kB=4\n",
		 pages);
	put(f, "numa_maps", numa, strlen(numa));
	status.size = vm->seen.size;
	examine(f, vm, &status, now_ms);
	vm->relayout_ms = 0;
	if (atomic_load(&vm->relayout)) {
		daemon_relayout(&f->d);
		unlock(f, mappings);
		take_discovered(f);
	}
	return vm->ram;
}

/* 4 MiB were to be plugged at the start, and more is later, of which the command line says nothing.
 */
static void virtio_mem_counts_with_what_is_plugged_as_that_grows_and_shrinks(void **state)
{
	struct fixture *f = *state;
	struct vm *vm;

	put(f, "cgroup", "0::/vm\n", 7);
	recorded_put(f->dir, "/sys/fs/cgroup/vm/memory.current", "0\n");
	recorded_put(f->dir, "/sys/fs/cgroup/vm/memory.swap.current", "0\n");
	put_cmdline(f, "/usr/bin/qemu-system-x86_64 -m 64M -machine memory-backend=ram -object "
		       "memory-backend-memfd,id=ram,size=64M -object "
		       "memory-backend-memfd,id=v,size=32M -device "
		       "virtio-mem-pci,memdev=v,requested-size=4M");
	vm = take_in(
		f,
		"7e0000000000-7e0002000000 rw-s 00000000 00:01 1028 /memfd:memory-backend-memfd (deleted)\n"
		"7f0000000000-7f0004000000 rw-s 00000000 00:01 1027 /memfd:memory-backend-memfd (deleted)\n");
	assert_int_equal(vm->ram, 68 * MiB);
	/* Not all that is plugged has been touched. */
	assert_int_equal(ram_with_virtio_mem(f, vm, 8, 1), 68 * MiB);
	assert_int_equal(ram_with_virtio_mem(f, vm, 4096, 2), 80 * MiB);
	assert_int_equal(ram_with_virtio_mem(f, vm, 8192, 3), 96 * MiB);
	assert_int_equal(ram_with_virtio_mem(f, vm, 4096, 4), 80 * MiB);
	/* What is swapped is plugged still. */
	recorded_put(f->dir, "/sys/fs/cgroup/vm/memory.swap.current", "4194304\n");
	assert_int_equal(ram_with_virtio_mem(f, vm, 3072, 5), 80 * MiB);
	recorded_put(f->dir, "/sys/fs/cgroup/vm/memory.swap.current", "0\n");
	assert_int_equal(ram_with_virtio_mem(f, vm, 3072, 6), 76 * MiB);
	assert_int_equal(ram_with_virtio_mem(f, vm, 0, 7), 68 * MiB);
	assert_int_equal(vm->blocks.n, 2);
}

/* A DIMM that comes again is mapped where it was; what was known is not true of the new one. */
static void what_is_plugged_in_again_is_new(void **state)
{
	static const char *const mappings[] = {
		"7e0000000000-7e0004000000 rw-s 00000000 00:01 1028 /memfd:memory-backend-memfd (deleted)\n"
		"7f0000000000-7f0004000000 rw-s 00000000 00:01 1027 /memfd:memory-backend-memfd (deleted)\n",
		maps,
		"7e0000000000-7e0004000000 rw-s 00000000 00:01 1029 /memfd:memory-backend-memfd (deleted)\n"
		"7f0000000000-7f0004000000 rw-s 00000000 00:01 1027 /memfd:memory-backend-memfd (deleted)\n",
	};
	struct fixture *f = *state;
	struct vm *vm = take_in(f, maps);
	struct ranges_summary summary;
	size_t index;

	for (size_t i = 0; i < ARRAY_SIZE(mappings); i++) {
		atomic_store(&vm->relayout, true);
		vm->relayout_ms = 0;
		daemon_relayout(&f->d);
		unlock(f, mappings[i]);
		take_discovered(f);
		if (i == 0)
			for (size_t k = 32; k < 64; k++)
				vm->ranges.v[k].dram_pages = vm->ranges.v[k].checked_s = 512;
		if (i == 1)
			assert_int_equal(vm_range_index(vm, 0x7e0000000000, &index), -ENOENT);
	}
	assert_int_equal(vm->blocks.n, 3);
	assert_int_equal(vm_range_index(vm, 0x7e0000000000, &index), 0);
	assert_int_equal(index, 64);
	ranges_summarise(&vm->ranges, 1000, &summary);
	assert_int_equal(summary.dram, 0);
	assert_int_equal(summary.unlooked, vm->ram);
	for (size_t k = 0; k < vm->ranges.n; k++)
		assert_int_equal(range_wants_look(&vm->ranges, &vm->ranges.v[k], 1, 1000),
				 k < 32 || k >= 64);
}

static void stop_loop(void *userdata)
{
	struct loop *loop = userdata;

	loop->stop = true;
}

/* The layout of the VM there is, read again while @mappings are. */
static struct vm *layout_is(struct fixture *f, const char *mappings)
{
	struct vm *vm = f->d.host.vms.v[0];

	atomic_store(&vm->relayout, true);
	vm->relayout_ms = 0;
	daemon_relayout(&f->d);
	unlock(f, mappings);
	take_discovered(f);
	assert_int_equal(f->d.host.vms.n, 1);
	return f->d.host.vms.v[0];
}

/* More DIMMs in a VM's life than it may have at a time: what counts is what is there. */
static void memory_may_be_plugged_in_and_unplugged_as_often_as_one_likes(void **state)
{
	static const char numa[] = "7e0000000000 default N0=8 kernelpagesize_kB=4\n"
				   "7f0000000000 bind:0 N0=8 kernelpagesize_kB=4\n";
	struct fixture *f = *state;
	struct proc_status status = { .state = 'S', .mems_allowed = 1, .size = 1 };
	struct vm *vm = take_in(f, maps);
	char plugged[256];
	size_t index;

	vm->cli_layer = (struct cram_vm_layer){ .set = 1U << CRAM_SET_WEIGHT, .weight = 7 };
	vm->paused_by_operator = true;
	vm->counters.demoted = 4096;
	vm->ranges.v[3].accessed_s = 77;
	for (unsigned int i = 0; i < 3 * RAMBLOCKS_MAX; i++) {
		snprintf(plugged, sizeof(plugged),
			 "7e0000000000-7e0004000000 rw-s 00000000 00:01 %u "
			 "/memfd:memory-backend-memfd (deleted)\n%s",
			 2000 + i, maps);
		vm = layout_is(f, plugged);
		put(f, "numa_maps", numa, strlen(numa));
		examine(f, vm, &status, i + 1);
		assert_int_equal(vm->reason, VM_ELIGIBLE);
		assert_int_equal(vm->ram, 128 << 20);
		assert_int_equal(vm_range_index(vm, 0x7e0000000000, &index), 0);
		assert_int_equal(vm_range_index(vm, 0x7f0000000000, &index), 0);
		assert_int_equal(index, 0);
		vm = layout_is(f, maps);
		assert_int_equal(vm_range_index(vm, 0x7e0000000000, &index), -ENOENT);
	}
	assert_int_equal(vm->ram, 64 << 20);
	assert_true(vm->ranges.n <= RAMBLOCKS_MAX * 32);
	/* It is the same VM, and what is known of what is still there stays known. */
	assert_int_equal(vm->ranges.v[3].accessed_s, 77);
	assert_int_equal(vm->counters.demoted, 4096);
	assert_int_equal(vm->cli_layer.weight, 7);
	assert_int_equal(vm->settings.weight, 7);
	assert_true(vm->paused_by_operator);
	assert_string_equal(vm->uuid, UUID);
	assert_true(vm->old_known & 1);
	assert_int_equal(vm->old_policy[0].mode, PROC_MPOL_BIND);
	assert_int_equal(atomic_load(&vm->refs), 1);
	/* Its end is seen. */
	kill(f->pid, SIGKILL);
	loop_after(&f->d.loop, stop_loop, &f->d.loop);
	assert_int_equal(loop_run(&f->d.loop), 0);
	assert_int_equal(f->d.host.vms.n, 0);
}

static void each_block_keeps_its_own_policy_and_homes(void **state)
{
	static const char two[] =
		"7e0000000000-7e0002000000 rw-s 00000000 00:01 1028 /memfd:memory-backend-memfd (deleted)\n"
		"7f0000000000-7f0002000000 rw-s 00000000 00:01 1027 /memfd:memory-backend-memfd (deleted)\n";
	static const char numa[] = "7e0000000000 prefer:1 N1=8 kernelpagesize_kB=4\n"
				   "7f0000000000 bind=static:0 N0=8 kernelpagesize_kB=4\n";
	struct fixture *f = *state;
	struct proc_status status = { .state = 'S', .mems_allowed = 7 };
	struct vm *vm;

	put_cmdline(f, "/usr/bin/qemu-system-x86_64 -m 64M -object "
		       "memory-backend-memfd,id=a,size=32M,policy=bind,host-nodes=0 -object "
		       "memory-backend-memfd,id=b,size=32M,policy=preferred,host-nodes=1 -numa "
		       "node,memdev=a -numa node,memdev=b");
	vm = take_in(f, two);
	put(f, "numa_maps", numa, strlen(numa));
	examine(f, vm, &status, 1);
	assert_int_equal(vm->old_known, 3);
	assert_int_equal(vm->old_policy[0].mode, PROC_MPOL_BIND);
	assert_int_equal(vm->old_policy[0].flags, 1 << 15);
	assert_int_equal(vm->old_policy[0].nodes, 1);
	assert_int_equal(vm->old_policy[1].mode, PROC_MPOL_PREFERRED);
	assert_int_equal(vm->block_homes[0], 1);
	assert_int_equal(vm->block_homes[1], 2);
	assert_int_equal(vm->home_nodes, 3);
	/* When its homes are full, what is bound has no others, what prefers one has them all. */
	assert_int_equal(vm->block_reach[0], 1);
	assert_int_equal(vm->block_reach[1], 7);
	/* It was given no name and no UUID; what is made up is unique. */
	assert_int_equal(strncmp(vm->uuid, "pid-", 4), 0);
	assert_string_equal(vm->uuid, vm->name);
}

/*
 * The agent was started again while a VM is bound to its homes and the tier, node 2. Where DIMMs
 * that were plugged in belong, nothing but that policy tells.
 */
static void plugged_memory_keeps_its_homes_when_the_agent_starts_again(void **state)
{
	static const char three[] =
		"7d0000000000-7d0002000000 rw-s 00000000 00:01 1029 /memfd:memory-backend-memfd (deleted)\n"
		"7e0000000000-7e0002000000 rw-s 00000000 00:01 1028 /memfd:memory-backend-memfd (deleted)\n"
		"7f0000000000-7f0004000000 rw-s 00000000 00:01 1027 /memfd:memory-backend-memfd (deleted)\n";
	static const char numa[] = "7d0000000000 bind:0-2 N0=8 kernelpagesize_kB=4\n"
				   "7e0000000000 bind:1-2 N1=8 kernelpagesize_kB=4\n"
				   "7f0000000000 bind:0-2 N0=8 kernelpagesize_kB=4\n";
	struct fixture *f = *state;
	struct proc_status status = { .state = 'S', .mems_allowed = 7 };
	struct examination e = { .kernel = f->d.host.kernel,
				 .root = &f->d.host.root,
				 .tier_nodes = 4,
				 .now_ms = 1,
				 .placement = true };
	struct vm *vm = take_in(f, three);

	put(f, "numa_maps", numa, strlen(numa));
	vm_examine(vm, &e, &status);
	assert_int_equal(vm->bound, 7);
	for (size_t i = 0; i < vm->blocks.n; i++) {
		bool was_bound = vm->blocks.v[i].start == 0x7e0000000000;

		assert_int_equal(vm->old_policy[i].mode,
				 was_bound ? PROC_MPOL_BIND : PROC_MPOL_DEFAULT);
		assert_int_equal(vm->old_policy[i].nodes, was_bound ? 2 : 0);
		assert_int_equal(vm->block_homes[i], was_bound ? 2 : 3);
		assert_int_equal(vm->block_reach[i], was_bound ? 2 : 3);
	}
	assert_int_equal(vm->used_tiers, 4);
}

/* Bound to a card, node 2, and to what is a slow node of the host's, 1, but no tier to it. */
static void a_slow_node_beside_the_tier_is_not_taken_for_one(void **state)
{
	static const char numa[] = "7f0000000000 bind:0-2 N0=8 kernelpagesize_kB=4\n";
	struct fixture *f = *state;
	struct proc_status status = { .state = 'S', .mems_allowed = 7 };
	struct examination e = { .kernel = f->d.host.kernel,
				 .root = &f->d.host.root,
				 .tier_nodes = 6,
				 .now_ms = 1,
				 .placement = true };
	struct vm *vm = take_in(f, maps);

	put(f, "numa_maps", numa, strlen(numa));
	vm->no_tiers = 2;
	vm_examine(vm, &e, &status);
	assert_int_equal(vm->bound, 1);
	assert_int_equal(vm->used_tiers, 0);
	assert_int_equal(vm->block_reach[0], 3);
}

/* Its resident set says nothing: what it was given is sold all the same. */
static void a_confidential_guest_counts_and_is_left_alone(void **state)
{
	struct fixture *f = *state;
	struct proc_status status = { .state = 'S', .mems_allowed = 1 };
	struct vm *vm;

	put_cmdline(f, "/usr/bin/qemu-system-x86_64 -m 64M -machine memory-backend=a -object "
		       "memory-backend-memfd,id=a,size=64M -object sev-snp-guest,id=s");
	vm = take_in(f, maps);
	examine(f, vm, &status, 1);
	assert_int_equal(vm->reason, VM_CONFIDENTIAL);
	assert_int_equal(vm->ram, 64 << 20);
	assert_int_equal(vm->blocks.n, 0);
}

/* QEMU starts a thread, so its address space has another size: what was refused stays refused. */
static void a_refused_vm_stays_refused_when_its_ram_is_looked_for_again(void **state)
{
	static const struct {
		const char *options;
		enum vm_ineligible reason;
	} refused[] = {
		{ "-netdev vhost-user,id=n,chardev=c", VM_VHOST_USER },
		{ "-object sev-snp-guest,id=s", VM_CONFIDENTIAL },
		{ "-device vfio-pci,host=1:0.0", VM_PINNED },
		{ "-overcommit mem-lock=on", VM_LOCKED },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
		struct proc_status status = { .state = 'S', .mems_allowed = 1, .size = 1 };
		char args[256];
		struct vm *vm;

		snprintf(args, sizeof(args),
			 "/usr/bin/qemu-system-x86_64 -m 64M -machine memory-backend=a -object "
			 "memory-backend-memfd,id=a,size=64M %s",
			 refused[i].options);
		put_cmdline(f, args);
		vm = take_in(f, maps);
		for (uint64_t now_ms = 1; now_ms < 3; now_ms++) {
			status.size = now_ms;
			examine(f, vm, &status, now_ms);
			assert_int_equal(vm->reason, refused[i].reason);
			vm->relayout_ms = 0;
			daemon_relayout(&f->d);
			unlock(f, maps);
			take_discovered(f);
		}
		examine(f, vm, &status, 3);
		assert_int_equal(vm->reason, refused[i].reason);
		assert_int_equal(vm->ram, 64 << 20);
		assert_int_equal(vm->blocks.n, 0);
		assert_int_equal(vm->ranges.n, 0);
		daemon_remove_vm(&f->d, vm);
	}
}

static void memory_that_is_pinned_is_left_alone(void **state)
{
	struct fixture *f = *state;
	struct proc_status status = { .state = 'S', .mems_allowed = 1 };
	struct vm *vm = take_in(f, maps);

	status.pinned = vm->ram;
	examine(f, vm, &status, 1);
	assert_int_equal(vm->reason, VM_PINNED);
	status.locked = vm->ram;
	examine(f, vm, &status, 2);
	assert_int_equal(vm->reason, VM_LOCKED);
}

static void devices_and_userfaultfds_are_seen_when_they_come(void **state)
{
	struct fixture *f = *state;
	struct proc_status status = { .state = 'S', .mems_allowed = 1 };
	uint32_t epoch, reliefs;
	struct vm *vm;

	vm = take_in(f, maps);
	examine(f, vm, &status, 1);
	assert_int_equal(vm->reason, VM_ELIGIBLE);
	epoch = atomic_load(&vm->epoch);
	reliefs = atomic_load(&vm->reliefs);
	link_fd(f, 4, "anon_inode:[userfaultfd]");
	/* A recorded directory does not say how many entries it has: read again after a while. */
	examine(f, vm, &status, 100000);
	assert_int_equal(vm->reason, VM_USERFAULTFD);
	/* What was on its way stops, out and home. */
	assert_int_not_equal(atomic_load(&vm->epoch), epoch);
	assert_int_not_equal(atomic_load(&vm->reliefs), reliefs);
	link_fd(f, 4, NULL);
	link_fd(f, 5, "/dev/vfio/12");
	/* What a device pins shows at once. */
	status.locked = 4096;
	examine(f, vm, &status, 100001);
	assert_int_equal(vm->reason, VM_PINNED);
}

/* No descriptor tells of it; libvirt does, whose domain it is. */
static void a_vhost_user_device_is_seen_when_it_comes(void **state)
{
	struct fixture *f = *state;
	struct proc_status status = { .state = 'S', .mems_allowed = 1 };
	struct vm *vm = take_in(f, maps);

	say_with(f, "", "<interface type='bridge'/>");
	examine(f, vm, &status, 1);
	assert_int_equal(vm->reason, VM_ELIGIBLE);
	say_with(f, "", "<interface type='vhostuser'/>");
	examine(f, vm, &status, 2);
	assert_int_equal(vm->reason, VM_VHOST_USER);
	say(f, "");
	examine(f, vm, &status, 3);
	assert_int_equal(vm->reason, VM_ELIGIBLE);
}

static void a_guest_migrating_in_is_left_alone_until_it_runs(void **state)
{
	struct fixture *f = *state;
	struct proc_status status = { .state = 'S', .mems_allowed = 1 };
	struct vm *vm;
	char stat[256];

	put_cmdline(f, "/usr/bin/qemu-system-x86_64 -m 64M -incoming defer -machine "
		       "memory-backend=ram -object memory-backend-memfd,id=ram,size=64M");
	vm = take_in(f, maps);
	for (int ticks = 0; ticks < 2; ticks++) {
		snprintf(
			stat, sizeof(stat),
			"7 (qemu) S 1 7 7 0 -1 0 0 0 0 0 0 0 0 0 20 0 4 0 4711 0 0 0 0 0 0 0 0 0 0 "
			"0 0 0 0 0 0 0 0 0 0 %d 0\n",
			ticks * 5);
		put(f, "stat", stat, strlen(stat));
		examine(f, vm, &status, (uint64_t)ticks + 1);
		assert_int_equal(vm->reason, ticks ? VM_ELIGIBLE : VM_INCOMING);
	}
}

/* Another VM, of the test's own process, said to have the same UUID. */
static struct vm *take_in_another(struct fixture *f, const char *cgroup)
{
	struct fixture other = *f;
	size_t n = f->d.host.vms.n;

	other.pid = getpid();
	put(&other, "cgroup", cgroup, strlen(cgroup));
	put(&other, "stat", "1 (q) S 0 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 4 0 4711 0", 53);
	put_cmdline(&other, "/usr/bin/qemu-system-x86_64 -name db -uuid " UUID " -m 64M");
	put(&other, "maps", "7f1000000000-7f1004000000 rw-p 00000000 00:00 0 \n", 49);
	assert_int_equal(daemon_want_vm(&f->d, other.pid, NULL, NULL), 0);
	take_discovered(f);
	assert_int_equal(f->d.host.vms.n, n + 1);
	put(&other, "numa_maps", "", 0);
	link_fd(&other, 3, "/dev/null");
	return f->d.host.vms.v[n];
}

/* A copy started by hand, with the command line of the first: it is told apart all the same. */
static void two_vms_of_one_uuid_are_told_apart(void **state)
{
	struct fixture *f = *state;
	const struct vm *first = take_in(f, maps), *second = take_in_another(f, "0::/\n");
	char expected[32];

	snprintf(expected, sizeof(expected), "pid-%d", (int)second->pid);
	assert_string_equal(first->uuid, UUID);
	assert_string_equal(second->uuid, expected);
	assert_string_equal(second->name, "db");
}

/* Added by hand before libvirt told of its own, and listed by the UUID that this one has, too. */
static void a_copy_of_a_vm_of_libvirts_does_not_keep_it_out(void **state)
{
	struct fixture *f = *state;
	const struct vm *copy = take_in_another(f, "0::/\n"), *vm;

	say(f, TIERING("mode='auto'>"));
	unlock(f, maps);
	take_discovered(f);
	for (int answers = 0; answers < 3; answers++) {
		assert_int_equal(f->d.host.vms.n, 2);
		vm = f->d.host.vms.v[1];
		assert_int_equal(vm->pid, f->pid);
		assert_true(vm->from_libvirt);
		assert_int_equal(vm->settings.mode, CRAM_MODE_AUTO);
		say(f, TIERING("mode='auto'>"));
	}
	assert_string_equal(copy->uuid, UUID);
	assert_int_not_equal(copy->settings.mode, CRAM_MODE_AUTO);
}

static void nor_does_it_keep_out_one_that_cannot_be_examined(void **state)
{
	struct fixture *f = *state;

	take_in_another(f, "0::/\n");
	put_cmdline(f, "/opt/x/emulator -m 64M");
	say(f, "");
	take_discovered(f);
	assert_int_equal(f->d.host.vms.n, 2);
	say(f, "");
	assert_int_equal(f->d.host.vms.n, 2);
	assert_int_equal(f->d.host.vms.v[1]->ram, 64 * MiB);
}

static uint64_t limit_of(const struct vm *vm)
{
	uint64_t bytes;

	assert_int_equal(cgroup_read_cram_max(&vm->cgroup, &bytes), 0);
	return bytes;
}

/* One limit cannot hold two VMs to two quotas: the second waits until the first is gone. */
static void of_two_vms_in_one_cgroup_the_second_is_left_alone(void **state)
{
	struct proc_status status = { .state = 'S', .mems_allowed = 3 };
	struct fixture *f = *state;
	struct vm *first, *second;

	recorded_put(f->dir, "/sys/fs/cgroup/user/memory.current", "0\n");
	recorded_put(f->dir, "/sys/fs/cgroup/user/memory.cram.max", "0\n");
	put(f, "cgroup", "0::/user\n", 9);
	first = take_in(f, maps);
	second = take_in_another(f, "0::/user\n");
	examine(f, first, &status, 1000);
	examine(f, second, &status, 1000);
	assert_int_equal(first->reason, VM_ELIGIBLE);
	assert_int_equal(second->reason, VM_CGROUP);
	assert_int_equal(tier_cram.limit(first, 8 << 20), 0);
	assert_int_equal(tier_cram.limit(second, 0), -ENOENT);
	assert_int_equal(limit_of(second), 8 << 20);

	daemon_remove_vm(&f->d, first);
	examine(f, second, &status, 2000);
	assert_int_equal(second->reason, VM_ELIGIBLE);
	assert_int_equal(tier_cram.limit(second, 4 << 20), 0);
	assert_int_equal(limit_of(second), 4 << 20);
}

/* Nor do others wait for it: to be examined themselves. */
static void a_stuck_qemu_delays_no_other(void **state)
{
	struct fixture *f = *state;
	struct fixture other = *f;
	uint64_t n;
	struct pollfd p = { .fd = f->d.discover.wake, .events = POLLIN };

	assert_int_equal(daemon_want_vm(&f->d, f->pid, NULL, NULL), 0);
	other.pid = getpid();
	put(&other, "cgroup", "0::/\n", 5);
	put(&other, "stat", "1 (q) S 0 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 4 0 4711 0", 53);
	put_cmdline(&other, "/usr/bin/qemu-system-x86_64 -name other -m 64M");
	put(&other, "maps", "7f1000000000-7f1004000000 rw-p 00000000 00:00 0 \n", 49);
	assert_int_equal(daemon_want_vm(&f->d, other.pid, NULL, NULL), 0);
	assert_int_equal(poll(&p, 1, 10000), 1);
	assert_int_equal(read(p.fd, &n, sizeof(n)), sizeof(n));
	daemon_discovered(&f->d);
	assert_int_equal(f->d.host.vms.n, 1);
	assert_string_equal(f->d.host.vms.v[0]->name, "other");
	unlock(f, maps);
	take_discovered(f);
	assert_int_equal(f->d.host.vms.n, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_stuck_qemu_keeps_nobody_waiting, make, drop),
		cmocka_unit_test_setup_teardown(
			a_vm_that_nobody_looks_at_ages_from_when_it_was_found, make, drop),
		cmocka_unit_test_setup_teardown(
			what_libvirt_said_last_is_in_force_when_the_vm_is_taken_in, make, drop),
		cmocka_unit_test_setup_teardown(a_typo_in_the_live_xml_changes_nothing, make, drop),
		cmocka_unit_test_setup_teardown(
			a_name_that_is_misspelt_in_the_live_xml_lifts_nothing, make, drop),
		cmocka_unit_test_setup_teardown(
			a_vm_that_starts_with_a_bad_setting_is_only_monitored, make, drop),
		cmocka_unit_test_setup_teardown(xml_that_cannot_be_read_changes_nothing, make,
						drop),
		cmocka_unit_test_setup_teardown(what_cannot_be_a_vm_is_forgotten, make, drop),
		cmocka_unit_test_setup_teardown(
			a_vm_of_libvirts_that_cannot_be_examined_is_listed_and_sold, make, drop),
		cmocka_unit_test_setup_teardown(a_vm_whose_command_line_is_cut_off_is_listed, make,
						drop),
		cmocka_unit_test_setup_teardown(
			a_vm_whose_ram_is_not_there_yet_is_listed_and_looked_at_again, make, drop),
		cmocka_unit_test_setup_teardown(
			memory_plugged_in_is_taken_in_and_unplugged_is_let_go, make, drop),
		cmocka_unit_test_setup_teardown(
			virtio_mem_counts_with_what_is_plugged_as_that_grows_and_shrinks, make,
			drop),
		cmocka_unit_test_setup_teardown(what_is_plugged_in_again_is_new, make, drop),
		cmocka_unit_test_setup_teardown(
			memory_may_be_plugged_in_and_unplugged_as_often_as_one_likes, make, drop),
		cmocka_unit_test_setup_teardown(each_block_keeps_its_own_policy_and_homes, make,
						drop),
		cmocka_unit_test_setup_teardown(
			plugged_memory_keeps_its_homes_when_the_agent_starts_again, make, drop),
		cmocka_unit_test_setup_teardown(a_slow_node_beside_the_tier_is_not_taken_for_one,
						make, drop),
		cmocka_unit_test_setup_teardown(a_confidential_guest_counts_and_is_left_alone, make,
						drop),
		cmocka_unit_test_setup_teardown(
			a_refused_vm_stays_refused_when_its_ram_is_looked_for_again, make, drop),
		cmocka_unit_test_setup_teardown(memory_that_is_pinned_is_left_alone, make, drop),
		cmocka_unit_test_setup_teardown(devices_and_userfaultfds_are_seen_when_they_come,
						make, drop),
		cmocka_unit_test_setup_teardown(a_vhost_user_device_is_seen_when_it_comes, make,
						drop),
		cmocka_unit_test_setup_teardown(a_guest_migrating_in_is_left_alone_until_it_runs,
						make, drop),
		cmocka_unit_test_setup_teardown(two_vms_of_one_uuid_are_told_apart, make, drop),
		cmocka_unit_test_setup_teardown(a_copy_of_a_vm_of_libvirts_does_not_keep_it_out,
						make, drop),
		cmocka_unit_test_setup_teardown(nor_does_it_keep_out_one_that_cannot_be_examined,
						make, drop),
		cmocka_unit_test_setup_teardown(of_two_vms_in_one_cgroup_the_second_is_left_alone,
						make, drop),
		cmocka_unit_test_setup_teardown(a_stuck_qemu_delays_no_other, make, drop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
