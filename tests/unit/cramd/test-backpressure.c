// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A card pushes back while the loop is busy with something that does not end: nothing more goes
 * there, a round is asked for, and who is furthest over its share gives back without one.
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
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cramd/act/backpressure.h"
#include "cramd/sense/pages.h"
#include "cramd/sense/swapped.h"
#include "recorded-card.h"
#include "util/size.h"

#define DUE 3000 /* the next round, ms */

struct fixture {
	char dir[64];
	struct host host;
	struct mover mover;
	struct backpressure backpressure;
	struct vm *bad, *good;
	uint64_t swap_room, elsewhere;
	bool sheds; /* may the bad one */
	int wake;
};

static struct vm *make_vm(void)
{
	struct vm *vm = calloc(1, sizeof(*vm));

	assert_non_null(vm);
	vm_init(vm);
	return vm;
}

static int make(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	recorded_make(f->dir, sizeof(f->dir));
	recorded_put_card(f->dir, 80 * MiB, 128 * MiB);
	assert_int_equal(host_init(&f->host, f->dir, "/run/cramd"), 0);
	f->host.settings.policy.card_headroom_permille = 50;
	f->host.settings.pressure_ms = 100;
	pthread_mutex_init(&f->mover.lock, NULL);
	f->mover.host = &f->host;
	f->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	assert_int_equal(backpressure_init(&f->backpressure, &f->host, &f->mover, f->wake), 0);
	f->bad = make_vm();
	f->good = make_vm();
	*state = f;
	return 0;
}

static int drop(void **state)
{
	struct fixture *f = *state;
	int r;

	backpressure_fini(&f->backpressure);
	for (size_t i = 0; i < f->mover.urgent.n; i++)
		vm_unref(f->mover.urgent.jobs[i].vm);
	for (size_t i = 0; i < f->mover.shed.n; i++)
		vm_unref(f->mover.shed.jobs[i].vm);
	vm_unref(f->bad);
	vm_unref(f->good);
	close(f->wake);
	host_fini(&f->host);
	r = recorded_drop(f->dir);
	free(f);
	return r;
}

/* 64 MiB of each VM are there; they take 64 and 16 MiB of the card. @room: above headroom. */
static void publish(struct fixture *f, uint64_t room)
{
	struct backpressure_card card = { .nid = 1, .stored = 80 * MiB };
	struct backpressure_vm vms[] = {
		{ .vm = f->good, .nid = 1, .device = 16 * MiB, .bytes = 64 * MiB, .weight = 100 },
		{ .vm = f->bad,
		  .nid = 1,
		  .device = 64 * MiB,
		  .bytes = 64 * MiB,
		  .weight = 100,
		  .homes = 1 << 0 | 1 << 2,
		  .sheds = f->sheds },
	};
	struct backpressure_room rooms[] = { { .nid = 0, .bytes = room },
					     { .nid = 2, .bytes = f->elsewhere } };

	assert_int_equal(backpressure_publish(&f->backpressure,
					      &(struct backpressure_plan){
						      .cards = &card,
						      .n_cards = 1,
						      .vms = vms,
						      .n_vms = 2,
						      .rooms = rooms,
						      .n_rooms = 2,
						      .swap_room = f->swap_room,
						      .due_ms = DUE,
					      }),
			 0);
}

static bool round_wanted(const struct fixture *f)
{
	uint64_t requests;

	return read(f->wake, &requests, sizeof(requests)) == sizeof(requests);
}

/* So small that @budget is what VMs may fill. */
static void shrink(struct fixture *f, uint64_t budget)
{
	recorded_put_card_number(f->dir, "physical_bytes",
				 (budget + RECORDED_RESERVE) * 20 / 19 + 1);
}

static void a_card_that_pushes_back_takes_nothing_and_a_round_is_asked_for_once(void **state)
{
	static const char *const states[] = { "evicting\n", "stale\n", "overrun\n", "offline\n" };
	struct fixture *f = *state;

	publish(f, GiB);
	backpressure_look(&f->backpressure, 1000);
	assert_int_equal(atomic_load(&f->host.closed_nodes), 0);
	assert_false(round_wanted(f));
	for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
		recorded_put(f->dir, RECORDED_CARD "state", states[i]);
		backpressure_look(&f->backpressure, 1100);
		assert_int_equal(atomic_load(&f->host.closed_nodes), 2);
		assert_true(round_wanted(f));
		backpressure_look(&f->backpressure, 1100);
		assert_false(round_wanted(f));
		recorded_put(f->dir, RECORDED_CARD "state", "normal\n");
		backpressure_look(&f->backpressure, 1100);
		assert_int_equal(atomic_load(&f->host.closed_nodes), 0);
		assert_true(round_wanted(f));
	}
	/* A card that fills goes to and fro between these two; a round would do the same in both.
	 */
	for (int i = 0; i < 3; i++) {
		recorded_put(f->dir, RECORDED_CARD "state", i % 2 ? "normal\n" : "throttled\n");
		backpressure_look(&f->backpressure, 1200);
		assert_int_equal(atomic_load(&f->host.closed_nodes), 0);
		assert_false(round_wanted(f));
	}
	/* It fills up, and its state is still that of before. */
	publish(f, GiB);
	shrink(f, 79 * MiB);
	backpressure_look(&f->backpressure, 1300);
	assert_int_equal(atomic_load(&f->host.closed_nodes), 2);
	assert_true(round_wanted(f));
	assert_true(atomic_load(&f->host.pressed_us) > 0);
	assert_int_equal(f->mover.urgent.n, 0); /* the round may still come */
}

/* Nothing is heard of a flood until the card is full, and that may be before a second is over. */
static void a_card_that_is_nearly_full_is_looked_at_often(void **state)
{
	struct fixture *f = *state;

	publish(f, GiB);
	shrink(f, 80 * MiB * 8 / 7 + MiB);
	assert_int_equal(backpressure_look(&f->backpressure, 1000), 1000);
	shrink(f, 80 * MiB * 8 / 7 - MiB);
	assert_int_equal(backpressure_look(&f->backpressure, 1100), 100);
	assert_int_equal(atomic_load(&f->host.closed_nodes), 0);
	/* Nor is one that takes nothing. */
	shrink(f, 200 * MiB);
	recorded_put(f->dir, RECORDED_CARD "state", "evicting\n");
	assert_int_equal(backpressure_look(&f->backpressure, 1200), 100);
	recorded_put(f->dir, RECORDED_CARD "state", "normal\n");
	assert_int_equal(backpressure_look(&f->backpressure, 1300), 1000);
	/* No oftener than it is to be looked at anyway. */
	f->host.settings.pressure_ms = 5000;
	assert_int_equal(backpressure_look(&f->backpressure, 1400), 5000);
}

static void without_a_round_who_is_furthest_over_its_share_gives_back(void **state)
{
	struct fixture *f = *state;

	publish(f, GiB);
	shrink(f, 60 * MiB);
	/* Relief is to begin within 10 ms, and the thread has to be awake then. */
	assert_in_range(backpressure_look(&f->backpressure, 1000), 1, 8);
	backpressure_look(&f->backpressure, 1000 + BACKPRESSURE_ASKED_WAIT_MS - 1);
	assert_int_equal(f->mover.urgent.n, 0);
	backpressure_look(&f->backpressure, 1000 + BACKPRESSURE_ASKED_WAIT_MS);
	assert_int_equal(f->mover.urgent.n, 1);
	assert_ptr_equal(f->mover.urgent.jobs[0].vm, f->bad);
	assert_int_equal(f->mover.urgent.jobs[0].kind, VM_JOB_RELIEVE);
	assert_int_equal(f->mover.urgent.jobs[0].nid, 0);
	assert_in_range(f->mover.urgent.jobs[0].bytes, 20 * MiB - PAGE_BYTES, 20 * MiB);
	/* What has been ordered is not ordered again, whatever came of it. */
	atomic_store(&f->bad->busy, 0);
	backpressure_look(&f->backpressure, 5000);
	assert_int_equal(f->mover.urgent.n, 1);
	/* It has left, and the card is far below both shares: both give, who is further over first.
	 */
	recorded_put_card_number(f->dir, "stored_bytes", 60 * MiB);
	shrink(f, 20 * MiB);
	backpressure_look(&f->backpressure, 6000);
	assert_int_equal(f->mover.urgent.n, 3);
	assert_ptr_equal(f->mover.urgent.jobs[1].vm, f->bad);
	assert_in_range(f->mover.urgent.jobs[1].bytes, 34 * MiB - PAGE_BYTES, 34 * MiB);
	assert_ptr_equal(f->mover.urgent.jobs[2].vm, f->good);
	/* A page of this one is a quarter of one on the card. */
	assert_in_range(f->mover.urgent.jobs[2].bytes, 24 * MiB - PAGE_BYTES, 24 * MiB);
}

/* It has come in time and has ordered what is to be; the one after it was not asked for. */
static void a_round_that_has_come_is_not_hurried(void **state)
{
	struct fixture *f = *state;

	publish(f, GiB);
	shrink(f, 60 * MiB);
	backpressure_look(&f->backpressure, 1000);
	publish(f, GiB);
	assert_int_equal(backpressure_look(&f->backpressure, 1000 + BACKPRESSURE_ASKED_WAIT_MS),
			 100);
	backpressure_look(&f->backpressure, DUE + BACKPRESSURE_ROUND_WAIT_MS - 1);
	assert_int_equal(f->mover.urgent.n, 0);
	backpressure_look(&f->backpressure, DUE + BACKPRESSURE_ROUND_WAIT_MS);
	assert_int_equal(f->mover.urgent.n, 1);
}

/* It does not shrink, but fills: what it has more since the round is everybody's as much. */
static void what_has_come_since_the_round_is_given_back_too(void **state)
{
	struct fixture *f = *state;

	publish(f, GiB);
	shrink(f, 100 * MiB);
	recorded_put_card_number(f->dir, "stored_bytes", 110 * MiB);
	backpressure_look(&f->backpressure, 1000);
	backpressure_look(&f->backpressure, 5000);
	assert_int_equal(f->mover.urgent.n, 1);
	assert_ptr_equal(f->mover.urgent.jobs[0].vm, f->bad);
	assert_in_range(f->mover.urgent.jobs[0].bytes, 10 * MiB - PAGE_BYTES,
			10 * MiB + PAGE_BYTES);
	/* It goes on, faster than that comes home: the rest, once. */
	atomic_store(&f->bad->busy, 0);
	recorded_put_card_number(f->dir, "stored_bytes", 115 * MiB);
	backpressure_look(&f->backpressure, 6000);
	assert_int_equal(f->mover.urgent.n, 2);
	assert_in_range(f->mover.urgent.jobs[1].bytes, 5 * MiB - PAGE_BYTES, 5 * MiB + PAGE_BYTES);
	/* What has left since is what was ordered. */
	atomic_store(&f->bad->busy, 0);
	recorded_put_card_number(f->dir, "stored_bytes", 105 * MiB);
	backpressure_look(&f->backpressure, 7000);
	assert_int_equal(f->mover.urgent.n, 2);
}

static void nothing_comes_home_below_headroom(void **state)
{
	struct fixture *f = *state;

	publish(f, 3 * MiB);
	shrink(f, 20 * MiB);
	backpressure_look(&f->backpressure, 1000);
	backpressure_look(&f->backpressure, 5000);
	assert_int_equal(f->mover.urgent.n, 1);
	assert_int_equal(f->mover.urgent.jobs[0].bytes, 3 * MiB);
}

/* What DRAM has room for comes home, and swap takes the rest as far as it may and can. */
static void what_has_no_room_goes_to_swap(void **state)
{
	struct fixture *f = *state;
	const struct mover_job *home = f->mover.urgent.jobs, *shed = f->mover.shed.jobs;

	f->swap_room = 12 * MiB;
	publish(f, 3 * MiB);
	shrink(f, 60 * MiB);
	backpressure_look(&f->backpressure, 1000);
	backpressure_look(&f->backpressure, 5000);
	/* It is to leave its tiers, or uses swap as one. */
	assert_int_equal(f->mover.urgent.n, 1);
	assert_int_equal(f->mover.shed.n, 0);
	atomic_store(&f->bad->busy, 0);
	f->sheds = true;
	publish(f, 3 * MiB);
	backpressure_look(&f->backpressure, 6000);
	assert_int_equal(f->mover.urgent.n, 2);
	assert_int_equal(home[1].bytes, 3 * MiB);
	assert_int_equal(f->mover.shed.n, 1);
	assert_int_equal(shed[0].nid, NODE_SWAP);
	assert_int_equal(shed[0].bytes, 12 * MiB);
	/* It is full then. */
	atomic_store(&f->bad->busy, 0);
	backpressure_look(&f->backpressure, 7000);
	assert_int_equal(f->mover.shed.n, 1);
	/* What is on its way home leaves room there, and nothing of the same for swap. */
	f->swap_room = 64 * MiB;
	publish(f, GiB);
	atomic_store(&f->bad->busy, 1U << VM_JOB_RELIEVE);
	backpressure_look(&f->backpressure, 8000);
	assert_int_equal(f->mover.shed.n, 1);
	/* Nor does what a round would bring home to another of its nodes. */
	atomic_store(&f->bad->busy, 0);
	f->elsewhere = 64 * MiB;
	publish(f, 0);
	backpressure_look(&f->backpressure, 9000);
	assert_int_equal(f->mover.shed.n, 1);
}

/* That of its memory is on the way already. */
static void what_cannot_be_ordered_takes_nobodys_room(void **state)
{
	struct fixture *f = *state;

	publish(f, 21 * MiB);
	shrink(f, 60 * MiB);
	atomic_store(&f->bad->busy, 1U << VM_JOB_RELIEVE);
	backpressure_look(&f->backpressure, 1000);
	for (uint64_t ms = 5000; ms < 6000; ms += 100)
		backpressure_look(&f->backpressure, ms);
	assert_int_equal(f->mover.urgent.n, 0);
	atomic_store(&f->bad->busy, 0);
	backpressure_look(&f->backpressure, 6000);
	assert_int_equal(f->mover.urgent.n, 1);
	assert_in_range(f->mover.urgent.jobs[0].bytes, 20 * MiB - PAGE_BYTES, 20 * MiB);
}

static void on_a_stale_card_nobody_knows_what_is_too_much(void **state)
{
	struct fixture *f = *state;

	publish(f, GiB);
	shrink(f, 20 * MiB);
	recorded_put(f->dir, RECORDED_CARD "state", "stale\n");
	backpressure_look(&f->backpressure, 1000);
	backpressure_look(&f->backpressure, 5000);
	assert_int_equal(f->mover.urgent.n, 0);
	assert_int_equal(atomic_load(&f->host.closed_nodes), 2);
}

/* Reports come faster than they can be read: what was too much before is so still. */
static void a_look_that_fails_does_not_end_the_pressure(void **state)
{
	struct fixture *f = *state;
	uint64_t since;

	publish(f, GiB);
	shrink(f, 60 * MiB);
	backpressure_look(&f->backpressure, 1000);
	since = atomic_load(&f->host.pressed_us);
	assert_true(since > 0);
	recorded_put(f->dir, RECORDED_CARD "stored_bytes", "\n");
	backpressure_look(&f->backpressure, 1100);
	assert_int_equal(atomic_load(&f->host.closed_nodes), 2);
	assert_int_equal(atomic_load(&f->host.pressed_us), since);
	recorded_put_card_number(f->dir, "stored_bytes", 50 * MiB);
	backpressure_look(&f->backpressure, 1200);
	assert_int_equal(atomic_load(&f->host.pressed_us), 0);
}

static void a_card_that_has_gone_is_not_waited_for(void **state)
{
	struct fixture *f = *state;
	char command[128];

	publish(f, GiB);
	snprintf(command, sizeof(command), "rm -r %s" RECORDED_CARD, f->dir);
	assert_int_equal(system(command), 0);
	backpressure_look(&f->backpressure, 1000);
	assert_false(round_wanted(f));
	assert_int_equal(backpressure_publish(&f->backpressure,
					      &(struct backpressure_plan){ .due_ms = DUE }),
			 0);
	backpressure_look(&f->backpressure, 5000);
	assert_int_equal(f->mover.urgent.n, 0);
}

/*
 * In place of the card's state: a file that can be waited for, as those of sysfs can and those of a
 * directory cannot.
 */
static void put_state_to_wait_for(const struct fixture *f)
{
	char path[128];

	snprintf(path, sizeof(path), "%s" RECORDED_CARD "state", f->dir);
	unlink(path);
	assert_int_equal(symlink("/proc/self/mounts", path), 0);
}

static bool is_waited_for(struct fixture *f)
{
	char text[16];
	int fd = f->backpressure.cards[0].fd;

	return fd >= 0 && pread(fd, text, sizeof(text), 0) > 0;
}

static void a_state_that_could_not_be_waited_for_at_first_is_later(void **state)
{
	struct fixture *f = *state;
	char path[128];

	snprintf(path, sizeof(path), "%s" RECORDED_CARD "state", f->dir);
	assert_int_equal(unlink(path), 0);
	publish(f, GiB);
	backpressure_look(&f->backpressure, 1000);
	assert_false(is_waited_for(f));
	assert_int_equal(backpressure_watch_error(&f->backpressure, 1), -ENOENT);
	put_state_to_wait_for(f);
	publish(f, GiB);
	backpressure_look(&f->backpressure, 2000);
	assert_true(is_waited_for(f));
	assert_int_equal(backpressure_watch_error(&f->backpressure, 1), 0);
	assert_int_equal(backpressure_watch_error(&f->backpressure, 2), 0);
}

/* Offline and online again between two rounds: what is open is a file of the node that has gone. */
static void a_card_that_has_come_back_is_waited_for_again(void **state)
{
	struct fixture *f = *state;
	int gone;

	put_state_to_wait_for(f);
	publish(f, GiB);
	assert_true(is_waited_for(f));
	gone = open("/dev/null", O_WRONLY | O_CLOEXEC);
	assert_true(gone >= 0);
	assert_int_equal(dup2(gone, f->backpressure.cards[0].fd), f->backpressure.cards[0].fd);
	close(gone);
	assert_false(is_waited_for(f));
	publish(f, GiB);
	backpressure_look(&f->backpressure, 1000);
	assert_true(is_waited_for(f));
}

/* Asked for what it has, it does not answer: its file waits for somebody who writes. */
static void a_card_that_hangs_does_not_hold_up_the_end(void **state)
{
	struct fixture *f = *state;
	char path[128];
	int fd;

	publish(f, GiB);
	snprintf(path, sizeof(path), "%s" RECORDED_CARD "stats", f->dir);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(backpressure_start(&f->backpressure), 0);
	/* Opens as soon as somebody reads. */
	fd = open(path, O_WRONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	host_stop(&f->host);
	assert_false(backpressure_join(&f->backpressure));
	close(fd);
	assert_true(backpressure_join(&f->backpressure));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, make, drop)
	const struct CMUnitTest tests[] = {
		TEST(a_card_that_pushes_back_takes_nothing_and_a_round_is_asked_for_once),
		TEST(a_card_that_is_nearly_full_is_looked_at_often),
		TEST(without_a_round_who_is_furthest_over_its_share_gives_back),
		TEST(a_round_that_has_come_is_not_hurried),
		TEST(what_has_come_since_the_round_is_given_back_too),
		TEST(nothing_comes_home_below_headroom),
		TEST(what_has_no_room_goes_to_swap),
		TEST(what_cannot_be_ordered_takes_nobodys_room),
		TEST(on_a_stale_card_nobody_knows_what_is_too_much),
		TEST(a_look_that_fails_does_not_end_the_pressure),
		TEST(a_card_that_has_gone_is_not_waited_for),
		TEST(a_state_that_could_not_be_waited_for_at_first_is_later),
		TEST(a_card_that_has_come_back_is_waited_for_again),
		TEST(a_card_that_hangs_does_not_hold_up_the_end),
	};

	return cmocka_run_group_tests_name("backpressure", tests, NULL, NULL);
}
