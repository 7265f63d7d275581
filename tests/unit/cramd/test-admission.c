// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Admission: what libvirt's hook is answered. A host with 15 GiB of DRAM above its reserve, 8 GiB
 * of it free, and a slow node of 16 GiB: 31 GiB are guaranteed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>

#include "cramd/admission.h"
#include "cramd/overcommit.h"
#include "cramd/round.h"
#include "recorded-card.h"
#include "util/cleanup.h"

#define A "11111111-1111-4111-8111-111111111111"
#define B "22222222-2222-4222-8222-222222222222"

#define TIERED "<cram:tiering xmlns:cram='urn:cramd:domain:1.0' mode='auto'>%s</cram:tiering>"
#define FLOOR  "<cram:floor unit='GiB'>2</cram:floor>"

struct fixture {
	char dir[64];
	struct daemon d;
	struct admission answer;
	struct cram_error err;
};

static int make(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct daemon *d = &f->d;

	assert_non_null(f);
	recorded_make(f->dir, sizeof(f->dir));
	recorded_put_nodes(f->dir);
	recorded_put(f->dir, "/proc/zoneinfo", "Node 0, zone   Normal\n        low      0\n");
	recorded_put(f->dir, "/proc/meminfo", "SwapFree: 0 kB\nHugepagesize:    2048 kB\n");
	recorded_put(f->dir, "/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "600\n");
	recorded_put(f->dir, "/sys/kernel/mm/hugepages/hugepages-2048kB/resv_hugepages", "100\n");
	assert_int_equal(host_init(&d->host, f->dir, f->dir), 0);
	d->host.log.level = LOG_EMERG;
	cram_conf_init(&d->conf);
	d->conf.host.admission = CRAM_ADMISSION_STRICT;
	/* So that the sums can be done in one's head; what is kept has tests of its own. */
	d->conf.host.vm_overhead_bytes = 0;
	d->conf.host.policy.headroom_permille = 0;
	d->conf.host.policy.headroom_min_bytes = 0;
	d->conf.vm = (struct cram_vm_layer){
		.set = 1U << CRAM_SET_TIERS,
		.tiers = 1U << CRAM_TIER_NODE,
	};
	d->mover.host = &d->host;
	assert_int_equal(relief_init(&d->relief, &d->host, &d->mover), 0);
	assert_int_equal(backpressure_init(&d->backpressure, &d->host, &d->mover, d->relief.wake),
			 0);
	round_run(d);
	*state = f;
	return 0;
}

static int drop(void **state)
{
	struct fixture *f = *state;
	int r;

	backpressure_fini(&f->d.backpressure);
	relief_fini(&f->d.relief);
	daemon_fini(&f->d);
	host_fini(&f->d.host);
	r = recorded_drop(f->dir);
	free(f);
	return r;
}

/* A domain of @gib with @tiering in its metadata (NULL: none) and @backing as its memory's. */
static void domain(char *xml, size_t size, const char *uuid, unsigned int gib, const char *tiering,
		   const char *backing)
{
	char metadata[512] = "";

	if (tiering)
		snprintf(metadata, sizeof(metadata), TIERED, tiering);
	snprintf(xml, size,
		 "<domain type='kvm'><name>db &lt;1&gt;</name><uuid>%s</uuid>"
		 "<metadata>%s</metadata><memory unit='GiB'>%u</memory>"
		 "<memoryBacking>%s</memoryBacking></domain>",
		 uuid, metadata, gib, backing);
}

static int hook_backed(struct fixture *f, const char *operation, const char *uuid, unsigned int gib,
		       const char *tiering, const char *backing)
{
	char xml[2048];

	domain(xml, sizeof(xml), uuid, gib, tiering, backing);
	f->err = (struct cram_error){};
	return admission_hook(&f->d, operation, xml, strlen(xml), &f->answer, &f->err);
}

static bool admits(struct fixture *f, const char *operation, const char *uuid, unsigned int gib,
		   const char *tiering)
{
	assert_int_equal(hook_backed(f, operation, uuid, gib, tiering, ""), 0);
	return f->answer.admitted;
}

static void says(const struct fixture *f, const char *text)
{
	if (!strstr(f->answer.text, text))
		fail_msg("\"%s\" is not in \"%s\"", text, f->answer.text);
}

/* A VM that the agent sees run. */
static struct vm *run(struct fixture *f, const char *uuid, uint64_t ram, enum cram_mode mode)
{
	struct vm *vm = calloc(1, sizeof(*vm));

	assert_non_null(vm);
	vm_init(vm);
	vm->ram = ram;
	snprintf(vm->uuid, sizeof(vm->uuid), "%s", uuid);
	vm->settings = (struct cram_vm_settings){
		.mode = mode,
		.floor = 2 * GiB,
		.tiers = 1U << CRAM_TIER_NODE,
		.quota = CRAM_UNLIMITED,
		.hard_limit = CRAM_UNLIMITED,
	};
	assert_int_equal(array_push(&f->d.host.vms, vm), 0);
	return vm;
}

/* libvirt has said that it runs; its process is still to be examined. */
static void list(struct fixture *f, const char *uuid, unsigned int gib, const char *tiering)
{
	struct daemon_candidate candidate = { .pid = 4711, .from_libvirt = true };
	char xml[2048];

	domain(xml, sizeof(xml), uuid, gib, tiering, "");
	snprintf(candidate.domain.uuid, sizeof(candidate.domain.uuid), "%s", uuid);
	candidate.domain.has_domain =
		cram_domain_parse(xml, strlen(xml), &candidate.domain.domain, &f->err) == 0;
	assert_true(candidate.domain.has_domain);
	assert_int_equal(array_push(&f->d.candidates, candidate), 0);
}

static void what_does_not_fit_is_refused_with_the_numbers(void **state)
{
	struct fixture *f = *state;

	assert_true(admits(f, "prepare", A, 31, FLOOR));
	assert_string_equal(f->answer.text, "");
	admits(f, "release", A, 31, FLOOR);
	assert_false(admits(f, "prepare", A, 32, FLOOR));
	says(f, "vm \"db <1>\": cannot start it");
	says(f,
	     "it has 32 GiB of RAM, and 31 GiB of 31 GiB guaranteed are left to sell: 0 bytes are "
	     "sold or reserved; stop or move a VM");
	/* What was refused holds nothing. */
	assert_int_equal(admission_reserved(&f->d), 0);
	/* It is, when the hook says so. */
	assert_int_equal(f->d.events.queue.n, 0);
	admission_refused(&f->d, &f->answer);
	assert_int_equal(f->d.admissions_refused, 1);
	assert_int_equal(f->d.admissions_warned, 0);
	assert_int_equal(f->d.events.queue.n, 1);
	assert_string_equal(f->d.events.queue.v[0].news.type, "admission-refused");
	assert_string_equal(f->d.events.queue.v[0].news.name, "db <1>");
	assert_string_equal(f->d.events.queue.v[0].news.uuid, A);
}

static void what_starts_all_the_same_was_not_refused(void **state)
{
	struct fixture *f = *state;

	assert_false(admits(f, "prepare", A, 32, FLOOR));
	admission_came_late(&f->d, &f->answer);
	assert_int_equal(f->d.admissions_refused, 0);
	assert_int_equal(f->d.admissions_warned, 1);
	assert_string_equal(f->d.events.queue.v[0].news.type, "admission-warning");
	assert_string_equal(f->d.events.queue.v[0].news.name, "db <1>");
	assert_int_equal(admission_reserved(&f->d), 32 * GiB);
}

static void what_is_admitted_is_reserved_until_it_runs(void **state)
{
	struct fixture *f = *state;
	struct cram_overcommit_input in;

	assert_true(admits(f, "prepare", A, 20, FLOOR));
	assert_int_equal(admission_reserved(&f->d), 20 * GiB);
	assert_false(admits(f, "prepare", B, 12, FLOOR));
	says(f, "11 GiB of 31 GiB guaranteed are left to sell: 20 GiB are sold or reserved");
	run(f, A, 20 * GiB, CRAM_MODE_AUTO);
	assert_int_equal(admission_reserved(&f->d), 0);
	overcommit_input(&f->d, NULL, &in);
	assert_int_equal(in.sold.ram, 20 * GiB);
	assert_false(admits(f, "prepare", B, 12, FLOOR));
	assert_true(admits(f, "prepare", B, 11, FLOOR));
}

static void of_two_that_do_not_both_fit_one_is_admitted(void **state)
{
	struct fixture *f = *state;
	char uuid[40];
	int admitted = 0;

	for (int i = 0; i < 40; i++) {
		snprintf(uuid, sizeof(uuid), "%08d-1111-4111-8111-111111111111", i);
		admitted += admits(f, "prepare", uuid, 4, "<cram:floor unit='GiB'>1</cram:floor>");
	}
	assert_int_equal(admitted, 7);
}

static void a_reservation_ends_at_release(void **state)
{
	struct fixture *f = *state;

	assert_true(admits(f, "prepare", A, 20, FLOOR));
	assert_true(admits(f, "release", A, 20, FLOOR));
	assert_int_equal(f->d.reservations.n, 0);
	assert_true(admits(f, "prepare", B, 20, FLOOR));
	/* Of a VM that was never reserved it is nothing. */
	assert_true(admits(f, "release", A, 20, FLOOR));
	assert_int_equal(admission_reserved(&f->d), 20 * GiB);
}

static void a_reservation_ends_after_a_minute(void **state)
{
	struct fixture *f = *state;
	uint64_t until;

	assert_true(admits(f, "prepare", A, 20, FLOOR));
	until = f->d.reservations.v[0].until_ms;
	assert_in_range(until, monotonic_ms() + 50000, monotonic_ms() + 60000);
	f->d.reservations.v[0].until_ms = monotonic_ms();
	assert_true(admits(f, "prepare", B, 20, FLOOR));
	assert_int_equal(f->d.reservations.n, 1);
}

/* A QEMU that fills a TiB before it runs takes minutes, and libvirt lists it all the while. */
static void a_reservation_lasts_as_long_as_the_vm_is_starting(void **state)
{
	struct fixture *f = *state;
	struct libvirt_domain starting = {};

	assert_true(admits(f, "prepare", A, 20, FLOOR));
	f->d.reservations.v[0].until_ms = monotonic_ms() + 1000;
	list(f, A, 20, FLOOR);
	starting = f->d.candidates.v[0].domain;
	f->d.candidates.n = 0;
	admission_starting(&f->d, &starting);
	assert_int_equal(f->d.reservations.n, 1);
	assert_in_range(f->d.reservations.v[0].until_ms, monotonic_ms() + 50000,
			monotonic_ms() + 60000);
	assert_true(admits(f, "release", A, 20, FLOOR));
	/* An agent that has been started meanwhile knows of no reservation. */
	admission_starting(&f->d, &starting);
	assert_int_equal(admission_reserved(&f->d), 20 * GiB);
	assert_false(admits(f, "prepare", B, 12, FLOOR));
	assert_true(admits(f, "prepare", B, 11, FLOOR));
}

static void a_vm_does_not_stand_in_its_own_way(void **state)
{
	struct fixture *f = *state;

	assert_true(admits(f, "prepare", A, 20, FLOOR));
	assert_true(admits(f, "prepare", A, 20, FLOOR));
	assert_int_equal(admission_reserved(&f->d), 20 * GiB);
	/* Its last process has not quite gone. */
	run(f, "AAAAAAAA-1111-4111-8111-111111111111", 20 * GiB, CRAM_MODE_AUTO);
	assert_true(admits(f, "release", A, 20, FLOOR));
	assert_true(admits(f, "prepare", "aaaaaaaa-1111-4111-8111-111111111111", 31, FLOOR));
}

/* 16 GiB of which all may be moved, to @tiers. */
static bool admits_tiers(struct fixture *f, const char *tiers)
{
	char xml[1024];

	snprintf(
		xml, sizeof(xml),
		"<domain><name>a</name><uuid>" A "</uuid><memory unit='GiB'>16</memory><metadata>"
		"<c:tiering xmlns:c='urn:cramd:domain:1.0' mode='auto' tiers='%s'/></metadata></domain>",
		tiers);
	f->err = (struct cram_error){};
	assert_int_equal(admission_hook(&f->d, "prepare", xml, strlen(xml), &f->answer, &f->err),
			 0);
	admission_hook(&f->d, "release", xml, strlen(xml), &(struct admission){}, &f->err);
	return f->answer.admitted;
}

static void a_vm_that_is_not_tiered_needs_dram(void **state)
{
	struct fixture *f = *state;

	assert_true(admits(f, "prepare", A, 15, NULL));
	admits(f, "release", A, 15, NULL);
	assert_false(admits(f, "prepare", A, 16, NULL));
	says(f, "16 GiB of it can be in DRAM or swap only, and 15 GiB of 15 GiB there are not yet "
		"bound to VMs");
	/* Nor is one in mode auto whose memory cannot be moved ... */
	hook_backed(f, "prepare", A, 16, FLOOR, "<locked/>");
	assert_false(f->answer.admitted);
	/* ... or may not: its quota is what it can have on the tier at most. */
	assert_false(admits(f, "prepare", A, 18, FLOOR "<cram:quota unit='GiB'>2</cram:quota>"));
	assert_true(admits(f, "prepare", A, 17, FLOOR "<cram:quota unit='GiB'>2</cram:quota>"));
	/* ... nor may on the tiers that are here. */
	assert_false(admits_tiers(f, "cram"));
	assert_true(admits_tiers(f, "cram,node"));
	/* Those that run count the same. */
	run(f, B, 10 * GiB, CRAM_MODE_MONITOR);
	assert_false(admits(f, "prepare", A, 6, NULL));
	says(f, "5 GiB of 15 GiB");
}

/* Floors up to all of DRAM cannot be held, for nothing comes home below headroom. */
static void headroom_is_not_sold(void **state)
{
	struct fixture *f = *state;
	struct cram_overcommit_input in;

	f->d.conf.host.policy.headroom_permille = 125;
	overcommit_input(&f->d, NULL, &in);
	assert_int_equal(in.has.kept, GiB + 2 * GiB);
	assert_true(admits(f, "prepare", A, 13, NULL));
	assert_true(admits(f, "release", A, 13, NULL));
	assert_false(admits(f, "prepare", A, 14, NULL));
	assert_false(admits(f, "prepare", A, 20, "<cram:floor unit='GiB'>14</cram:floor>"));
	says(f, "its floor is 14 GiB, and 13 GiB of the 13 GiB of DRAM for guests");
	f->d.conf.host.policy.headroom_min_bytes = 3 * GiB;
	overcommit_input(&f->d, NULL, &in);
	assert_int_equal(in.has.kept, GiB + 3 * GiB);
	/* That bursts of promotion keep free more for a while is not for ever. */
	f->d.decision.headroom[0] = 8 * GiB;
	overcommit_input(&f->d, NULL, &in);
	assert_int_equal(in.has.kept, GiB + 3 * GiB);
}

/* Each QEMU needs memory beside its guest's. */
static void what_qemus_need_beside_is_not_sold(void **state)
{
	struct fixture *f = *state;
	struct cram_overcommit_input in;
	struct cram_overcommit out;
	struct vm *vm;

	f->d.conf.host.vm_overhead_bytes = GiB;
	assert_false(admits(f, "prepare", A, 15, NULL));
	says(f,
	     "15 GiB of it and 1 GiB of its QEMU's own can be in DRAM or swap only, and 15 GiB of "
	     "15 GiB there are");
	assert_false(admits(f, "prepare", A, 31, FLOOR));
	says(f,
	     "it has 31 GiB of RAM and 1 GiB of its QEMU's own, and 31 GiB of 31 GiB guaranteed");
	assert_false(admits(f, "prepare", A, 20, "<cram:floor unit='GiB'>15</cram:floor>"));
	says(f, "its floor is 15 GiB and 1 GiB of its QEMU's own, and 15 GiB of the 15 GiB");
	assert_true(admits(f, "prepare", A, 14, NULL));
	assert_true(admits(f, "prepare", A, 11, NULL));
	/* Reserved or running, it counts once. */
	assert_true(admits(f, "prepare", B, 18, FLOOR));
	assert_true(admits(f, "release", B, 18, FLOOR));
	assert_false(admits(f, "prepare", B, 19, FLOOR));
	vm = run(f, A, 11 * GiB, CRAM_MODE_MONITOR);
	assert_true(admits(f, "prepare", B, 18, FLOOR));
	assert_true(admits(f, "release", B, 18, FLOOR));
	assert_false(admits(f, "prepare", B, 19, FLOOR));
	/* A guest on huge pages has a QEMU as well. */
	vm->ram = 14 * GiB;
	hook_backed(f, "prepare", B, 1, NULL, "<hugepages/>");
	assert_false(f->answer.admitted);
	overcommit_input(&f->d, NULL, &in);
	cram_overcommit(&in, &out);
	assert_int_equal(out.usable, 14 * GiB);
	assert_int_equal(out.guaranteed, 30 * GiB);
	assert_int_equal(out.lasting, 31 * GiB);
}

static void swap_counts(void **state)
{
	struct fixture *f = *state;

	recorded_put(f->dir, "/proc/meminfo", "SwapFree:  1048576 kB\n");
	assert_true(admits(f, "prepare", A, 16, NULL));
	assert_false(admits(f, "prepare", A, 17, NULL));
	/* Not for floors. */
	assert_false(admits(f, "prepare", A, 20, "<cram:floor unit='GiB'>16</cram:floor>"));
}

static void what_vms_have_in_swap_is_as_good_as_before_it_went(void **state)
{
	struct fixture *f = *state;
	struct vm *vm = run(f, B, 12 * GiB, CRAM_MODE_MONITOR);

	recorded_put(f->dir, "/proc/meminfo", "SwapFree:  1048576 kB\n");
	assert_true(admits(f, "prepare", A, 4, NULL));
	assert_true(admits(f, "release", A, 4, NULL));
	recorded_put(f->dir, "/proc/meminfo", "SwapFree:  0 kB\n");
	vm->swapped = GiB;
	assert_true(admits(f, "prepare", A, 4, NULL));
	assert_false(admits(f, "prepare", A, 5, NULL));
}

/* Swap in DRAM takes what compresses; what does not is where it was. */
static void swap_on_zram_is_not_sold(void **state)
{
	struct fixture *f = *state;
	struct cram_overcommit_input in;
	struct vm *vm;

	recorded_put(f->dir, "/proc/meminfo", "SwapTotal: 4194304 kB\nSwapFree:  3145728 kB\n");
	recorded_put(
		f->dir, "/proc/swaps",
		"Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
		"/dev/zram0                              partition\t2097152\t\t1048576\t\t100\n"
		"/dev/sda2                               partition\t1048576\t\t0\t\t-2\n"
		"/swap\\040zram                           file\t\t1048576\t\t0\t\t-3\n");
	overcommit_input(&f->d, NULL, &in);
	assert_int_equal(in.has.swap, 2 * GiB);
	assert_int_equal(in.has.swap_now, 2 * GiB);
	/* What VMs have in swap may be there as well. */
	vm = run(f, B, 12 * GiB, CRAM_MODE_MONITOR);
	vm->swapped = 3 * GiB / 2;
	overcommit_input(&f->d, NULL, &in);
	assert_int_equal(in.has.swap, 2 * GiB + GiB / 2);
	vm->swapped = GiB / 2;
	overcommit_input(&f->d, NULL, &in);
	assert_int_equal(in.has.swap, 2 * GiB);
	assert_false(admits(f, "prepare", A, 6, NULL));
	assert_true(admits(f, "prepare", A, 5, NULL));
}

static void floors_stay_within_dram(void **state)
{
	struct fixture *f = *state;

	run(f, B, 20 * GiB, CRAM_MODE_AUTO)->settings.floor = 10 * GiB;
	assert_true(admits(f, "prepare", A, 8, "<cram:floor unit='GiB'>5</cram:floor>"));
	assert_false(admits(f, "prepare", A, 8, "<cram:floor unit='GiB'>6</cram:floor>"));
	says(f, "its floor is 6 GiB, and 5 GiB of the 15 GiB of DRAM for guests are left");
}

/* 8 GiB are free, some of it is headroom: a guest of 10 GiB comes faster than anything makes room.
 */
static void what_comes_at_once_is_judged_by_what_can_be_had_now(void **state)
{
	struct fixture *f = *state;
	static const char *const kinds[] = { "migrate", "restore" };

	f->d.decision.headroom[0] = GiB / 4;
	for (size_t i = 0; i < 2; i++) {
		assert_true(admits(f, "prepare", A, 10, FLOOR));
		assert_true(admits(f, "release", A, 10, FLOOR));
		assert_true(admits(f, kinds[i], A, 10, FLOOR));
		assert_int_equal(admission_reserved(&f->d), 0);
		assert_false(admits(f, "prepare", A, 10, FLOOR));
		says(f, "its 10 GiB come at once, uncompressed, and ");
		/* That was that one: the next time it may boot. */
		assert_true(admits(f, "prepare", A, 10, FLOOR));
		assert_true(admits(f, "release", A, 10, FLOOR));
	}
	assert_true(admits(f, "migrate", A, 4, FLOOR));
	assert_true(admits(f, "prepare", A, 4, FLOOR));
	/* What is reserved is not there for the next. */
	assert_true(admits(f, "migrate", B, 4, FLOOR));
	assert_false(admits(f, "prepare", B, 4, FLOOR));
}

static void put_rss(struct fixture *f, int pid, uint64_t bytes)
{
	char path[64], text[256];

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	snprintf(text, sizeof(text),
		 "State:\tS (sleeping)\nVmSize:\t 1 kB\nVmLck:\t 0 kB\nVmPin:\t 0 kB\n"
		 "VmRSS:\t %llu kB\nMems_allowed_list:\t0-1\n",
		 (unsigned long long)bytes / KiB);
	recorded_put(f->dir, path, text);
}

/* Several are evacuated to here: what the first has not brought yet is not there for the next. */
static void what_is_still_to_come_is_not_there_for_others(void **state)
{
	struct fixture *f = *state;
	struct vm *vm = run(f, B, 6 * GiB, CRAM_MODE_AUTO);

	/* 8 GiB are free but for headroom, and it brings 6 of them. */
	f->d.decision.headroom[0] = GiB / 4;
	vm->pid = 4711;
	vm->reason = VM_INCOMING;
	put_rss(f, 4711, 0);
	assert_true(admits(f, "migrate", A, 2, FLOOR));
	assert_false(admits(f, "prepare", A, 2, FLOOR));
	says(f, "its 2 GiB come at once, uncompressed, and ");
	assert_true(admits(f, "migrate", A, 1, FLOOR));
	assert_true(admits(f, "prepare", A, 1, FLOOR));
	assert_true(admits(f, "release", A, 1, FLOOR));
	/* What has arrived is no longer free: there is no more to be kept for it. */
	put_rss(f, 4711, 5 * GiB);
	assert_true(admits(f, "migrate", A, 6, FLOOR));
	assert_true(admits(f, "prepare", A, 6, FLOOR));
	assert_true(admits(f, "release", A, 6, FLOOR));
	/* Until it has been looked at, libvirt, or its command line, tells. */
	put_rss(f, 4711, 0);
	vm->reason = VM_NOT_LOOKED;
	assert_true(admits(f, "migrate", A, 2, FLOOR));
	assert_true(admits(f, "prepare", A, 2, FLOOR));
	assert_true(admits(f, "release", A, 2, FLOOR));
	vm->cmdline.incoming = true;
	assert_true(admits(f, "migrate", A, 2, FLOOR));
	assert_false(admits(f, "prepare", A, 2, FLOOR));
	vm->cmdline.incoming = false;
	vm->incoming = true;
	assert_true(admits(f, "migrate", A, 2, FLOOR));
	assert_false(admits(f, "prepare", A, 2, FLOOR));
	/* It has arrived. */
	vm->incoming = false;
	vm->reason = VM_ELIGIBLE;
	assert_true(admits(f, "migrate", A, 2, FLOOR));
	assert_true(admits(f, "prepare", A, 2, FLOOR));
}

static void what_is_still_to_come_counts_before_it_is_examined(void **state)
{
	struct fixture *f = *state;

	f->d.decision.headroom[0] = GiB / 4;
	list(f, B, 6, FLOOR);
	f->d.candidates.v[0].domain.incoming = true;
	assert_true(admits(f, "migrate", A, 2, FLOOR));
	assert_false(admits(f, "prepare", A, 2, FLOOR));
	f->d.candidates.v[0].domain.incoming = false;
	assert_true(admits(f, "migrate", A, 2, FLOOR));
	assert_true(admits(f, "prepare", A, 2, FLOOR));
}

static void a_warning_lets_it_run(void **state)
{
	struct fixture *f = *state;

	f->d.conf.host.admission = CRAM_ADMISSION_WARN;
	assert_true(admits(f, "prepare", A, 40, FLOOR));
	says(f, "it has 40 GiB of RAM, and 31 GiB");
	assert_int_equal(f->d.admissions_refused, 0);
	assert_int_equal(f->d.admissions_warned, 1);
	assert_string_equal(f->d.events.queue.v[0].news.type, "admission-warning");
	assert_int_equal(admission_reserved(&f->d), 40 * GiB);
}

static void off_judges_nothing(void **state)
{
	struct fixture *f = *state;

	f->d.conf.host.admission = CRAM_ADMISSION_OFF;
	assert_true(admits(f, "prepare", A, 40, FLOOR));
	assert_string_equal(f->answer.text, "");
	assert_int_equal(f->d.reservations.n, 0);
}

static void before_a_first_round_nothing_is_refused(void **state)
{
	struct fixture *f = *state;

	f->d.rounds = 0;
	assert_true(admits(f, "prepare", A, 40, FLOOR));
	says(f, "vm \"db <1>\": starts unjudged: the agent has not looked at the host yet");
}

/* Nobody judged it, and it migrates in all the same: asked about again it is judged as that. */
static void what_starts_unjudged_comes_as_it_was_announced(void **state)
{
	struct fixture *f = *state;

	f->d.rounds = 0;
	assert_true(admits(f, "migrate", A, 10, FLOOR));
	assert_true(admits(f, "prepare", A, 10, FLOOR));
	says(f, "starts unjudged");
	assert_string_equal(f->d.events.queue.v[0].news.name, "db <1>");
	f->d.rounds = 1;
	f->d.decision.headroom[0] = GiB / 4;
	assert_false(admits(f, "prepare", A, 10, FLOOR));
	says(f, "its 10 GiB come at once, uncompressed, and ");
}

static uint64_t room_of(const struct fixture *f)
{
	struct cram_overcommit_input host;

	overcommit_input(&f->d, NULL, &host);
	return admission_room(&f->d, &host);
}

/* Until libvirt has told of all of its VMs, a host that is sold out looks empty. */
static void before_libvirt_has_told_of_all_vms_nothing_is_known(void **state)
{
	struct fixture *f = *state;

	f->d.unlisted = true;
	assert_int_equal(room_of(f), 0);
	admission_fits(&f->d, MiB, &f->answer);
	assert_false(f->answer.known || f->answer.admitted);
	says(f, "libvirt has not told yet which VMs run here");
	/* It may well fit: it starts, and that nobody knew is said. */
	assert_true(admits(f, "prepare", A, 20, FLOOR));
	says(f, "vm \"db <1>\": starts unjudged: libvirt has not told yet which VMs run here");
	assert_int_equal(f->d.events.queue.n, 1);
	assert_string_equal(f->d.events.queue.v[0].news.type, "admission-warning");
	assert_int_equal(f->d.admissions_warned, 0);
	/* From then on its share is not there for others. */
	assert_int_equal(admission_reserved(&f->d), 20 * GiB);
	f->d.unlisted = false;
	assert_false(admits(f, "prepare", B, 12, FLOOR));
	admission_fits(&f->d, MiB, &f->answer);
	assert_true(f->answer.known && f->answer.admitted);
	f->d.conf.host.admission = CRAM_ADMISSION_OFF;
	f->d.unlisted = true;
	assert_true(admits(f, "prepare", B, 12, FLOOR));
	assert_string_equal(f->answer.text, "");
}

/* libvirt starts them before it tells anybody anything, many of them for longer than a minute. */
static void vms_that_start_with_the_host_are_judged(void **state)
{
	struct fixture *f = *state;

	f->d.unlisted = f->d.none_before = true;
	assert_true(admits(f, "prepare", A, 20, FLOOR));
	assert_string_equal(f->answer.text, "");
	f->d.reservations.v[0].until_ms = monotonic_ms();
	assert_false(admits(f, "prepare", B, 12, FLOOR));
	assert_true(admits(f, "prepare", B, 11, FLOOR));
	/* What it does not tell of in the end does not run. */
	f->d.unlisted = false;
	assert_int_equal(admission_reserved(&f->d), 11 * GiB);
}

static void what_libvirt_lists_counts_before_it_is_examined(void **state)
{
	struct fixture *f = *state;
	struct cram_overcommit_input in;

	assert_true(admits(f, "prepare", A, 20, FLOOR));
	list(f, A, 20, FLOOR);
	assert_int_equal(admission_reserved(&f->d), 0);
	overcommit_input(&f->d, NULL, &in);
	assert_int_equal(in.sold.ram, 20 * GiB);
	assert_int_equal(in.sold.floors, 2 * GiB);
	assert_false(admits(f, "prepare", B, 12, FLOOR));
	assert_true(admits(f, "prepare", B, 11, FLOOR));
	assert_true(admits(f, "release", B, 11, FLOOR));
	/* It does not stand in its own way, nor counts twice when something stands in for it. */
	assert_true(admits(f, "prepare", A, 31, FLOOR));
	assert_true(admits(f, "release", A, 31, FLOOR));
	run(f, A, 20 * GiB, CRAM_MODE_AUTO)->pid = 4711;
	overcommit_input(&f->d, NULL, &in);
	assert_int_equal(in.sold.ram, 20 * GiB);
}

static void mistakes_are_said_and_stop_no_vm(void **state)
{
	struct fixture *f = *state;

	assert_true(admits(f, "prepare", A, 4, "<cram:quota unit='XiB'>3</cram:quota>"));
	says(f, "vm \"db <1>\": <quota>: bad unit \"XiB\"");
	assert_int_equal(f->d.events.queue.n, 1);
	assert_true(admits(f, "prepare", A, 4, "<cram:quota>3</cram:quota>"));
	says(f, "<quota> of 3 KiB is less than is ever moved; is its unit= missing?");
	assert_true(admits(f, "prepare", A, 4, "<cram:hard_limit>3</cram:hard_limit>"));
	says(f, "<hard_limit> of 3 KiB");
	assert_true(admits(f, "prepare", A, 4, "<cram:floor>3</cram:floor>"));
	says(f, "<floor> of 3 KiB");
	assert_true(admits(f, "prepare", A, 4, "<cram:floor unit='GiB'>5</cram:floor>"));
	says(f, "<floor> of 5 GiB is more than its RAM: all of it, 4 GiB, stays in DRAM");
	assert_true(admits(f, "prepare", A, 4,
			   "<cram:quota>0</cram:quota><cram:floor>5%</cram:floor>"));
	assert_string_equal(f->answer.text, "");
	/* With bad settings it is only monitored, so all of it has to be in DRAM, also where a VM
	 * without any is tiered. */
	f->d.conf.vm.set |= 1U << CRAM_SET_MODE;
	f->d.conf.vm.mode = CRAM_MODE_AUTO;
	assert_true(admits(f, "prepare", A, 16, ""));
	assert_false(admits(f, "prepare", A, 16, "<cram:weight>0</cram:weight>"));
	says(f, "16 GiB of it can be in DRAM or swap only, and 15 GiB");
	says(f, "it counts as one that is not tiered, for a setting in its XML is bad: <weight>");
	/* What fits like that is started, with the mistake said. */
	assert_true(admits(f, "prepare", A, 15, "<cram:weight>0</cram:weight>"));
	says(f, "vm \"db <1>\": <weight>");
	assert_null(strstr(f->answer.text, "cannot start"));
	/* One of the kind that changes nothing is said beside the refusal. */
	assert_false(admits(f, "prepare", A, 40, "<cram:quota>3</cram:quota>"));
	says(f, "; its XML has a mistake, too: <quota> of 3 KiB");
}

/* What the agent will refuse once it runs cannot be counted as movable before. */
static void ram_that_will_not_be_tiered_has_to_fit_in_dram(void **state)
{
	static const struct {
		const char *backing;
		bool movable;
	} cases[] = {
		{ "", true },
		{ "<source type='memfd'/>", true },
		{ "<source type='memfd'/><access mode='shared'/>", true },
		{ "<source type='memfd'/><access mode='private'/>", false },
		{ "<source type='file'/>", false },
		{ "<access mode='shared'/>", false },
		/* What follows <memoryBacking> goes in by the same door. */
		{ "<source type='memfd'/></memoryBacking><cpu><numa><cell id='0' memory='1' "
		  "memAccess='private'/></numa></cpu><memoryBacking>",
		  false },
		{ "</memoryBacking><cpu><numa><cell id='0' memory='1' memAccess='shared'/></numa>"
		  "</cpu><memoryBacking>",
		  false },
		{ "<source type='memfd'/><access mode='shared'/></memoryBacking><devices>"
		  "<filesystem type='mount'><driver type='virtiofs'/></filesystem></devices>"
		  "<memoryBacking>",
		  false },
		{ "<source type='memfd'/><access mode='shared'/></memoryBacking><devices>"
		  "<interface type='vhostuser'/></devices><memoryBacking>",
		  false },
	};
	struct fixture *f = *state;

	/* 15 GiB of DRAM above the reserve: with a floor of 2 of its 16 it fits if it is tiered. */
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(hook_backed(f, "prepare", A, 16, FLOOR, cases[i].backing), 0);
		if (f->answer.admitted != cases[i].movable)
			fail_msg("\"%s\": \"%s\"", cases[i].backing, f->answer.text);
		if (!cases[i].movable)
			says(f, "in DRAM or swap only");
	}
}

static void huge_pages_that_nobody_reserved_are_said(void **state)
{
	struct fixture *f = *state;

	/* 500 of 2 MiB are free. */
	assert_int_equal(hook_backed(f, "prepare", A, 1, NULL, "<hugepages/>"), 0);
	assert_true(f->answer.admitted);
	says(f,
	     "it wants 1 GiB of huge pages of 2 MiB, and 1000 MiB are free: QEMU will not start");
	recorded_put(f->dir, "/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "612\n");
	assert_int_equal(hook_backed(f, "prepare", A, 1, NULL, "<hugepages/>"), 0);
	assert_string_equal(f->answer.text, "");
	assert_int_equal(hook_backed(f, "prepare", A, 1, NULL,
				     "<hugepages><page size='1' unit='G'/></hugepages>"),
			 0);
	assert_true(f->answer.admitted);
	says(f, "of huge pages of 1 GiB, and 0 bytes are free");
}

#define NODE_POOL "/sys/devices/system/node/node%d/hugepages/hugepages-%dkB/nr_hugepages"

/* Pools on both nodes: 4 GiB on the first one, and one on the slow one that is nobody's loss. */
static void put_pools(struct fixture *f)
{
	char path[128];

	snprintf(path, sizeof(path), NODE_POOL, 0, 2048);
	recorded_put(f->dir, path, "1024\n");
	snprintf(path, sizeof(path), NODE_POOL, 0, 1048576);
	recorded_put(f->dir, path, "2\n");
	snprintf(path, sizeof(path), NODE_POOL, 1, 2048);
	recorded_put(f->dir, path, "512\n");
	recorded_put(f->dir, "/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "1024\n");
	recorded_put(f->dir, "/sys/kernel/mm/hugepages/hugepages-2048kB/resv_hugepages", "0\n");
	round_run(&f->d);
}

/* 4 of the 15 GiB are for nobody else, used or not. */
static void pools_of_huge_pages_are_not_dram_for_others(void **state)
{
	struct fixture *f = *state;
	struct cram_overcommit_input in;

	put_pools(f);
	overcommit_input(&f->d, NULL, &in);
	assert_int_equal(in.has.huge, 4 * GiB);
	assert_int_equal(in.has.fits[CRAM_TIER_NODE], 15 * GiB);
	assert_true(admits(f, "prepare", A, 11, NULL));
	assert_true(admits(f, "release", A, 11, NULL));
	assert_false(admits(f, "prepare", A, 12, NULL));
	says(f, "12 GiB of it can be in DRAM or swap only, and 11 GiB of 11 GiB");
}

static void a_vm_on_huge_pages_takes_of_their_pool_alone(void **state)
{
	struct fixture *f = *state;
	struct cram_overcommit_input in;
	struct vm *vm;

	put_pools(f);
	/* The rest of DRAM is sold out, and none of it to be had: its pages are reserved and free.
	 */
	assert_true(admits(f, "prepare", B, 11, NULL));
	hook_backed(f, "migrate", A, 2, NULL, "<hugepages/>");
	hook_backed(f, "prepare", A, 2, NULL, "<hugepages/>");
	assert_true(f->answer.admitted);
	assert_string_equal(f->answer.text, "");
	assert_int_equal(admission_reserved(&f->d), 11 * GiB);
	/* Locked or passed through, they are where they are. */
	hook_backed(f, "prepare", A, 2, NULL, "<hugepages/><locked/>");
	assert_true(f->answer.admitted);
	/* Of one that runs only what is not in huge pages counts. */
	vm = run(f, A, 3 * GiB, CRAM_MODE_AUTO);
	vm->reason = VM_HUGETLB;
	overcommit_input(&f->d, NULL, &in);
	assert_int_equal(in.sold.ram, 0);
	vm->cmdline.n_backends = 2;
	vm->cmdline.backends[0] = (struct qemu_backend){ .size = 2 * GiB, .hugetlb = true };
	vm->cmdline.backends[1] = (struct qemu_backend){ .size = GiB };
	overcommit_input(&f->d, NULL, &in);
	assert_int_equal(in.sold.ram, GiB);
	assert_int_equal(in.sold.bound, GiB);
	/* Of one that was refused an examination libvirt tells. */
	vm->cmdline.n_backends = 0;
	vm->reason = VM_LAYOUT_UNKNOWN;
	vm->has_domain = true;
	vm->domain.hugepages = true;
	overcommit_input(&f->d, NULL, &in);
	assert_int_equal(in.sold.ram, 0);
}

/* What a pool lacks comes out of DRAM where the kernel may make more pages, and only there. */
static void huge_pages_that_are_made_when_needed_are_dram(void **state)
{
	struct fixture *f = *state;

	put_pools(f);
	assert_true(admits(f, "prepare", B, 11, NULL));
	hook_backed(f, "prepare", A, 3, NULL, "<hugepages/>");
	assert_true(f->answer.admitted);
	says(f, "QEMU will not start");
	recorded_put(f->dir, "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_overcommit_hugepages",
		     "512\n");
	recorded_put(f->dir, "/sys/kernel/mm/hugepages/hugepages-2048kB/surplus_hugepages", "0\n");
	hook_backed(f, "prepare", A, 3, NULL, "<hugepages/>");
	assert_false(f->answer.admitted);
	hook_backed(f, "prepare", A, 2, NULL, "<hugepages/>");
	assert_true(f->answer.admitted);
}

static void what_is_no_domain_is_refused_as_such(void **state)
{
	struct fixture *f = *state;
	static const char *const bad[] = { "",
					   "<",
					   "<domain>",
					   "<network/>",
					   "<domain><name>a</name></domain>",
					   "<!DOCTYPE a [<!ENTITY b 'c'>]><domain/>" };

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(admission_hook(&f->d, "prepare", bad[i], strlen(bad[i]),
						&f->answer, &f->err),
				 -EINVAL);
	assert_int_equal(hook_backed(f, "started", A, 1, NULL, ""), -EINVAL);
	assert_int_equal(f->d.reservations.n, 0);
}

static void the_room_is_what_fits(void **state)
{
	struct fixture *f = *state;
	uint64_t room;

	/* Only monitored by default: DRAM it is. */
	assert_int_equal(room_of(f), 15 * GiB);
	f->d.conf.vm.mode = CRAM_MODE_AUTO;
	f->d.conf.vm.set |= 1U << CRAM_SET_MODE;
	/* A floor of one half: 30 GiB would be more than DRAM and half a tier allow. */
	assert_int_equal(room_of(f), 30 * GiB);
	assert_true(admits(f, "prepare", A, 10, FLOOR));
	room = room_of(f);
	assert_int_equal(room, 21 * GiB);
	admission_fits(&f->d, room, &f->answer);
	assert_true(f->answer.admitted);
	admission_fits(&f->d, room + MiB, &f->answer);
	assert_false(f->answer.admitted);
	says(f, "21 GiB of 31 GiB guaranteed are left to sell");
}

#define CRAM  (1U << CRAM_TIER_CRAM)
#define NODE  (1U << CRAM_TIER_NODE)
#define ZSWAP (1U << CRAM_TIER_ZSWAP)

/* A VM in mode auto, GiB. */
struct wish {
	enum cram_backing backing;
	uint32_t tiers;
	uint64_t ram, floor, quota; /* quota 0: none */
};

static struct cram_promise promise_of(const struct wish *w)
{
	return cram_promise(CRAM_MODE_AUTO, w->backing, w->tiers, w->ram * GiB,
			    w->quota ? w->quota * GiB : CRAM_UNLIMITED, CRAM_UNLIMITED,
			    w->floor * GiB, 0);
}

/*
 * A host of 64 GiB of DRAM, 32 of swap, a card that holds 64 of which 128 are expected, a slow node
 * of 256, and zswap that saves 16 if data compresses. Sizes are GiB.
 */
static void each_kind_of_memory_is_sold_once(void **state)
{
	static const struct {
		const char *what;
		struct wish sold[2], wish;
		uint32_t kinds; /* 0: cram */
		bool by_expected;
		enum cram_admission_rule rule;
		uint64_t left;
	} cases[] = {
		{ .what = "DRAM, swap and the card", .wish = { 0, CRAM, 160, 0, 0 } },
		{ .what = "and no more",
		  .wish = { 0, CRAM, 161, 0, 0 },
		  .rule = CRAM_NOT_SOLD,
		  .left = 160 },
		{ .what = "what is expected", .wish = { 0, CRAM, 224, 0, 0 }, .by_expected = true },
		{ .what = "of it no more",
		  .wish = { 0, CRAM, 225, 0, 0 },
		  .by_expected = true,
		  .rule = CRAM_NOT_SOLD,
		  .left = 224 },
		{ .what = "a node that no VM may use is not sold",
		  .wish = { 0, CRAM, 300, 0, 0 },
		  .rule = CRAM_NOT_SOLD,
		  .left = 160 },
		{ .what = "it is to one that may", .wish = { 0, NODE, 300, 0, 0 } },
		{ .what = "what it takes of DRAM the others have not",
		  .sold = { { 0, NODE, 300, 60, 0 } },
		  .wish = { 0, CRAM, 101, 0, 0 },
		  .rule = CRAM_NO_TIER,
		  .left = 100 },
		{ .what = "the node is not the others' when one may use it",
		  .sold = { { 0, NODE, 10, 0, 0 } },
		  .wish = { 0, CRAM, 161, 0, 0 },
		  .rule = CRAM_NO_TIER,
		  .left = 160 },
		{ .what = "nor when the host's settings name it",
		  .wish = { 0, CRAM, 161, 0, 0 },
		  .kinds = CRAM | NODE,
		  .rule = CRAM_NO_TIER,
		  .left = 160 },
		{ .what = "who may use both has both",
		  .sold = { { 0, CRAM, 100, 0, 0 } },
		  .wish = { 0, CRAM | NODE, 316, 0, 0 },
		  .kinds = CRAM | NODE },
		{ .what = "zswap saves nothing for sure",
		  .wish = { 0, ZSWAP, 97, 0, 0 },
		  .kinds = CRAM | ZSWAP,
		  .rule = CRAM_NO_TIER,
		  .left = 96 },
		{ .what = "it is expected to",
		  .wish = { 0, ZSWAP, 112, 0, 0 },
		  .kinds = CRAM | ZSWAP,
		  .by_expected = true },
		{ .what = "what is not moved is in DRAM or swap",
		  .wish = { CRAM_SWAPPABLE, CRAM, 96, 0, 0 } },
		{ .what = "and no more of it",
		  .wish = { CRAM_SWAPPABLE, CRAM, 97, 0, 0 },
		  .rule = CRAM_NO_DRAM,
		  .left = 96 },
		{ .what = "above its quota it is not moved",
		  .wish = { 0, CRAM, 101, 0, 4 },
		  .rule = CRAM_NO_DRAM,
		  .left = 96 },
		{ .what = "what is pinned is in DRAM", .wish = { CRAM_PINNED, CRAM, 64, 0, 0 } },
		{ .what = "and not in swap",
		  .wish = { CRAM_PINNED, CRAM, 65, 0, 0 },
		  .rule = CRAM_NO_FLOOR,
		  .left = 64 },
		{ .what = "where floors are as well",
		  .sold = { { 0, CRAM, 20, 10, 0 }, { CRAM_PINNED, CRAM, 20, 10, 0 } },
		  .wish = { CRAM_PINNED, CRAM, 35, 0, 0 },
		  .rule = CRAM_NO_FLOOR,
		  .left = 34 },
		{ .what = "and floors are not in swap",
		  .sold = { { 0, CRAM, 20, 10, 0 } },
		  .wish = { 0, CRAM, 60, 55, 0 },
		  .rule = CRAM_NO_FLOOR,
		  .left = 54 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct cram_admission_input in = { .by_expected = cases[i].by_expected };
		struct cram_promise wish = promise_of(&cases[i].wish);
		struct cram_admission a;

		in.host.has = (struct cram_memory){
			.dram = 64 * GiB,
			.swap = 32 * GiB,
			.fits = { [CRAM_TIER_CRAM] = 64 * GiB, [CRAM_TIER_NODE] = 256 * GiB },
			.expected = { [CRAM_TIER_CRAM] = 128 * GiB, [CRAM_TIER_ZSWAP] = 16 * GiB },
			.kinds = cases[i].kinds ? cases[i].kinds : CRAM,
		};
		for (size_t k = 0; k < 2; k++) {
			struct cram_promise p = promise_of(&cases[i].sold[k]);

			cram_sold_add(&in.host.sold, &p);
		}
		a = cram_admit(&in, &wish);
		if (a.rule != cases[i].rule || a.left != cases[i].left * GiB)
			fail_msg("%s: rule %d, %d GiB left", cases[i].what, (int)a.rule,
				 (int)(a.left / GiB));
	}
}

/* Whatever was sold against advice: what has no place, in whichever set of kinds that shows. */
static void what_is_at_risk_has_no_place_where_it_may_be(void **state)
{
	static const struct {
		struct wish sold;
		uint64_t at_risk;
	} cases[] = {
		{ { 0, CRAM, 160, 0, 0 }, 0 },
		{ { 0, CRAM, 170, 0, 0 }, 10 },
		{ { CRAM_SWAPPABLE, CRAM, 106, 0, 0 }, 10 },
		{ { CRAM_PINNED, CRAM, 74, 0, 0 }, 10 },
		{ { 0, CRAM, 100, 70, 0 }, 6 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct cram_promise p = promise_of(&cases[i].sold);
		struct cram_overcommit out;
		struct cram_overcommit_input in = {
			.has = { .dram = 70 * GiB,
				 .kept = 6 * GiB,
				 .swap = 32 * GiB,
				 .fits = { [CRAM_TIER_CRAM] = 64 * GiB,
					   [CRAM_TIER_NODE] = 256 * GiB },
				 .lasts = { [CRAM_TIER_CRAM] = 64 * GiB,
					    [CRAM_TIER_NODE] = 256 * GiB },
				 .kinds = CRAM },
		};

		cram_sold_add(&in.sold, &p);
		cram_overcommit(&in, &out);
		assert_int_equal(out.usable, 64 * GiB);
		assert_int_equal(out.tiers, 64 * GiB);
		assert_int_equal(out.guaranteed, 160 * GiB);
		assert_int_equal(out.lasting, 128 * GiB);
		assert_int_equal(out.at_risk, cases[i].at_risk * GiB);
	}
}

/* What runs is told apart like what is to start. */
static void what_is_pinned_of_vms_that_run_is_in_dram(void **state)
{
	struct fixture *f = *state;
	struct cram_overcommit_input in;
	struct vm *vm = run(f, B, 10 * GiB, CRAM_MODE_AUTO);
	static const struct {
		enum vm_ineligible reason;
		uint64_t dram, bound; /* GiB */
	} cases[] = {
		{ VM_ELIGIBLE, 2, 2 },	      { VM_LOCKED, 10, 10 },   { VM_PINNED, 10, 10 },
		{ VM_CONFIDENTIAL, 10, 10 },  { VM_REALTIME, 2, 10 },  { VM_VHOST_USER, 2, 10 },
		{ VM_NOT_LOOKED, 2, 2 },      { VM_NOT_MAPPED, 2, 2 }, { VM_INCOMING, 2, 2 },
		{ VM_LAYOUT_UNKNOWN, 2, 10 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		vm->reason = cases[i].reason;
		overcommit_input(&f->d, NULL, &in);
		assert_int_equal(in.sold.dram, cases[i].dram * GiB);
		assert_int_equal(in.sold.bound, cases[i].bound * GiB);
	}
	/* Until it has been looked at its XML tells. */
	vm->has_domain = true;
	vm->domain.iommu_pinned = true;
	vm->reason = VM_INCOMING;
	overcommit_input(&f->d, NULL, &in);
	assert_int_equal(in.sold.dram, 10 * GiB);
	vm->has_domain = false;
	vm->cmdline.vfio = true;
	overcommit_input(&f->d, NULL, &in);
	assert_int_equal(in.sold.dram, 10 * GiB);
}

static void pinned_memory_is_not_swap(void **state)
{
	struct fixture *f = *state;
	static const char *const backings[] = {
		"<locked/>",
		"</memoryBacking><devices><hostdev type='pci'/></devices><memoryBacking>",
		"</memoryBacking><launchSecurity type='sev'/><memoryBacking>",
	};

	recorded_put(f->dir, "/proc/meminfo", "SwapFree: 67108864 kB\n");
	hook_backed(f, "prepare", A, 16, FLOOR, "");
	assert_true(f->answer.admitted);
	for (size_t i = 0; i < ARRAY_SIZE(backings); i++) {
		hook_backed(f, "prepare", A, 15, FLOOR, backings[i]);
		assert_true(f->answer.admitted);
		hook_backed(f, "prepare", A, 16, FLOOR, backings[i]);
		assert_false(f->answer.admitted);
		says(f, "what it has pinned or locked is 16 GiB, and 15 GiB of the 15 GiB of DRAM "
			"for guests are left for what stays there");
	}
}

static void figures_are(struct fixture *f, uint64_t guaranteed, uint64_t lasting)
{
	struct cram_overcommit_input in;
	struct cram_overcommit out;

	overcommit_input(&f->d, NULL, &in);
	cram_overcommit(&in, &out);
	assert_int_equal(out.guaranteed, guaranteed);
	assert_int_equal(out.lasting, lasting);
}

/* Nothing goes out: what the tier has is for nobody. */
static void a_host_that_is_paused_or_drained_has_dram_alone(void **state)
{
	struct fixture *f = *state;

	assert_true(admits(f, "prepare", A, 16, FLOOR));
	assert_true(admits(f, "release", A, 16, FLOOR));
	f->d.overrides.drained = true;
	assert_false(admits(f, "prepare", A, 16, FLOOR));
	assert_true(admits(f, "prepare", A, 15, FLOOR));
	assert_true(admits(f, "release", A, 15, FLOOR));
	f->d.overrides.drained = false;
	f->d.overrides.paused = true;
	assert_false(admits(f, "prepare", A, 16, FLOOR));
	/* Schedulers that are told once are told of it all the same. */
	figures_are(f, 15 * GiB, 31 * GiB);
	/* Nor one VM's, for the others to count on. */
	f->d.overrides.paused = false;
	run(f, B, 8 * GiB, CRAM_MODE_AUTO)->drain = true;
	assert_true(admits(f, "prepare", A, 23, FLOOR));
	assert_false(admits(f, "prepare", A, 23, "<cram:floor unit='GiB'>8</cram:floor>"));
	says(f, "8 GiB of it can be in DRAM or swap only, and 7 GiB");
}

static struct cram_overcommit_input figures_of_card(struct fixture *f)
{
	struct cram_overcommit_input in;

	round_run(&f->d);
	overcommit_input(&f->d, NULL, &in);
	return in;
}

/* A card of 256 MiB, of which 4 MiB are kept. */
static void a_card_counts_with_what_fits_on_it(void **state)
{
	static const char *const closed[] = { "offline\n", "stale\n", "overrun\n", "evicting\n" };
	struct fixture *f = *state;
	struct cram_overcommit_input in;

	f->d.conf.host.expected_ratio_percent = 200;
	/* Never read: what it has is not known, which is not the same as none. */
	recorded_put_card(f->dir, 32 * MiB, 60 * MiB);
	recorded_put(f->dir, RECORDED_CARD "state", "unheard-of\n");
	in = figures_of_card(f);
	assert_int_equal(in.has.lasts[CRAM_TIER_CRAM], 0);
	assert_true(in.has.unknown);
	recorded_put_card(f->dir, 32 * MiB, 60 * MiB);
	in = figures_of_card(f);
	assert_false(in.has.unknown);
	assert_int_equal(in.has.fits[CRAM_TIER_CRAM], 252 * MiB);
	assert_int_equal(in.has.expected[CRAM_TIER_CRAM], 252 * MiB);
	/* There is enough on it to go by. What is not in the card's report yet may be the worst. */
	recorded_put_card(f->dir, 60 * MiB, 96 * MiB);
	recorded_put_card_number(f->dir, "unsettled_bytes", 3 * MiB);
	recorded_put_card_number(f->dir, "quarantined_bytes", MiB);
	in = figures_of_card(f);
	assert_int_equal(in.has.fits[CRAM_TIER_CRAM], 252 * MiB);
	assert_int_equal(in.has.expected[CRAM_TIER_CRAM], 252 * MiB * 96 / 64);
	/* Never more than the operator takes for likely, or than the node has pages. */
	recorded_put_card(f->dir, 8 * MiB, 96 * MiB);
	assert_int_equal(figures_of_card(f).has.expected[CRAM_TIER_CRAM], 504 * MiB);
	f->d.conf.host.expected_ratio_percent = 3200;
	assert_int_equal(figures_of_card(f).has.expected[CRAM_TIER_CRAM], GiB);
	/* Pages may take more than they have. */
	recorded_put_card(f->dir, 0, 0);
	recorded_put_card_number(f->dir, "worst_bytes", 8192);
	assert_int_equal(figures_of_card(f).has.fits[CRAM_TIER_CRAM], 126 * MiB);
	assert_int_equal(figures_of_card(f).has.lasts[CRAM_TIER_CRAM], 126 * MiB);
	/* One that takes nothing has nothing to sell now. What it has it still has. */
	for (size_t i = 0; i < ARRAY_SIZE(closed); i++) {
		recorded_put(f->dir, RECORDED_CARD "state", closed[i]);
		in = figures_of_card(f);
		assert_int_equal(in.has.fits[CRAM_TIER_CRAM], 0);
		assert_int_equal(in.has.expected[CRAM_TIER_CRAM], 0);
		assert_int_equal(in.has.lasts[CRAM_TIER_CRAM], 126 * MiB);
		/* One that is being taken away has it no more, soon. */
		assert_int_equal(in.has.unknown, i == 0);
	}
	recorded_put(f->dir, RECORDED_CARD "state", "throttled\n");
	assert_int_equal(figures_of_card(f).has.fits[CRAM_TIER_CRAM], 126 * MiB);
}

/* Whatever the figures: who asks for less is not refused more, and nothing wraps around. */
static void admission_is_monotonic(void **state)
{
	static const uint64_t values[] = { 0, 1, 4096, GiB, 16 * GiB, UINT64_MAX / 2, UINT64_MAX };
	enum {
		N = sizeof(values) / sizeof(values[0])
	};
	uint64_t seed = 1;

	(void)state;
	for (int i = 0; i < 200000; i++) {
		struct cram_admission_input in;
		struct cram_promise p, less;
		uint32_t tiers;
		uint64_t v[16];

		for (size_t k = 0; k < ARRAY_SIZE(v); k++) {
			seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407;
			v[k] = values[(seed >> 33) % N];
		}
		tiers = (uint32_t)(seed >> 40) & (CRAM_TIER_SETS - 1);
		in = (struct cram_admission_input){
			.host.has = { .dram = v[0],
				      .huge = v[1],
				      .kept = v[2],
				      .swap = v[3],
				      .fits = { v[4], v[5], v[6] },
				      .kinds = (uint32_t)(seed >> 50) & (CRAM_TIER_SETS - 1),
				      .spare = v[7],
				      .swap_now = v[8] },
		};
		p = cram_promise(CRAM_MODE_AUTO, (enum cram_backing)(seed >> 60) % 3, ~tiers, v[9],
				 v[10], v[11], v[12], 0);
		cram_sold_add(&in.host.sold, &p);
		p = cram_promise(CRAM_MODE_AUTO, CRAM_MOVABLE, tiers, v[13], v[3], v[2], v[1],
				 v[15]);
		p.arriving = seed >> 63 ? p.ram : 0;
		assert_true(p.floor <= p.bound && p.bound <= p.ram);
		if (cram_admit(&in, &p).rule != CRAM_ADMITTED)
			continue;
		assert_true(v[13] == 0 || in.host.sold.ram + v[13] > in.host.sold.ram);
		less = cram_promise(CRAM_MODE_AUTO, CRAM_MOVABLE, tiers, v[13] / 2, v[3], v[2],
				    v[1], v[15]);
		less.arriving = seed >> 63 ? less.ram : 0;
		assert_int_equal(cram_admit(&in, &less).rule, CRAM_ADMITTED);
	}
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, make, drop)
	const struct CMUnitTest tests[] = {
		TEST(what_does_not_fit_is_refused_with_the_numbers),
		TEST(what_starts_all_the_same_was_not_refused),
		TEST(what_is_admitted_is_reserved_until_it_runs),
		TEST(of_two_that_do_not_both_fit_one_is_admitted),
		TEST(a_reservation_ends_at_release),
		TEST(a_reservation_ends_after_a_minute),
		TEST(a_reservation_lasts_as_long_as_the_vm_is_starting),
		TEST(a_vm_does_not_stand_in_its_own_way),
		TEST(a_vm_that_is_not_tiered_needs_dram),
		TEST(headroom_is_not_sold),
		TEST(what_qemus_need_beside_is_not_sold),
		TEST(swap_counts),
		TEST(what_vms_have_in_swap_is_as_good_as_before_it_went),
		TEST(swap_on_zram_is_not_sold),
		TEST(floors_stay_within_dram),
		TEST(what_comes_at_once_is_judged_by_what_can_be_had_now),
		TEST(what_is_still_to_come_is_not_there_for_others),
		TEST(what_is_still_to_come_counts_before_it_is_examined),
		TEST(a_warning_lets_it_run),
		TEST(off_judges_nothing),
		TEST(before_a_first_round_nothing_is_refused),
		TEST(what_starts_unjudged_comes_as_it_was_announced),
		TEST(before_libvirt_has_told_of_all_vms_nothing_is_known),
		TEST(vms_that_start_with_the_host_are_judged),
		TEST(what_libvirt_lists_counts_before_it_is_examined),
		TEST(mistakes_are_said_and_stop_no_vm),
		TEST(ram_that_will_not_be_tiered_has_to_fit_in_dram),
		TEST(huge_pages_that_nobody_reserved_are_said),
		TEST(pools_of_huge_pages_are_not_dram_for_others),
		TEST(a_vm_on_huge_pages_takes_of_their_pool_alone),
		TEST(huge_pages_that_are_made_when_needed_are_dram),
		TEST(what_is_no_domain_is_refused_as_such),
		TEST(the_room_is_what_fits),
		cmocka_unit_test(each_kind_of_memory_is_sold_once),
		cmocka_unit_test(what_is_at_risk_has_no_place_where_it_may_be),
		TEST(what_is_pinned_of_vms_that_run_is_in_dram),
		TEST(pinned_memory_is_not_swap),
		TEST(a_host_that_is_paused_or_drained_has_dram_alone),
		TEST(a_card_counts_with_what_fits_on_it),
		cmocka_unit_test(admission_is_monotonic),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
