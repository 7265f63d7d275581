/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * memory.cram.max, .current and .events: how much of compressed memory a cgroup may have.
 * Where its pages are is asked of move_pages(2), whatever the files say.
 */
#include "cram.h"

#include <fcntl.h>
#include <linux/kernel-page-flags.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define LENGTH (8UL << 20)

static size_t used(const char *cgroup)
{
	return strtoull(cgroup_text(cgroup, "memory.cram.current"), NULL, 10);
}

static long refusals(const char *cgroup)
{
	const char *text = cgroup_text(cgroup, "memory.cram.events");

	need(strncmp(text, "max ", 4) == 0, "%s: memory.cram.events: '%s'", cgroup, text);
	return atol(text + 4);
}

static void limit(const char *cgroup, const char *max)
{
	int rc = write_cgroup(cgroup, "memory.cram.max", max);

	need(rc == 0, "%s: memory.cram.max can be %s (%d)", cgroup, max, rc);
}

/* Memory that is charged to a cgroup; the caller stays outside. */
static char *memory_of(const char *cgroup, bool huge)
{
	char *memory;

	enter_cgroup(cgroup);
	memory = huge ? map_huge(LENGTH) : map_anonymous(LENGTH);
	if (!huge)
		need(madvise(memory, LENGTH, MADV_NOHUGEPAGE) == 0, "small pages: %m");
	pack(memory, LENGTH, 3, 4);
	leave_cgroup();
	need(cram_has_credit(2 * LENGTH, 10), "there is credit");
	return memory;
}

static size_t there(const char *memory)
{
	return pages_on(memory, LENGTH, cram_nid) * PAGE;
}

static void given_up(char *memory)
{
	ok(packed(memory, LENGTH, 3, 4), "nothing is lost");
	munmap(memory, LENGTH);
}

/* It was all that was there. */
static void gone(char *memory)
{
	given_up(memory);
	need(cram_empties(10), "nothing is left there");
}

/* Whoever asks: it is the memory's cgroup that counts. */
static void ask(char *memory)
{
	long rc = move_to(memory, LENGTH, cram_nid);

	ok(rc >= 0, "who is refused is told no error (%ld)", rc);
}

/* Who waits for changes of memory.cram.events, by poll and by inotify. */
struct waiting {
	int events, inotify;
};

static struct waiting wait_for_events(const char *cgroup)
{
	struct waiting w;
	char path[128], byte;

	snprintf(path, sizeof(path), "/sys/fs/cgroup/%s/memory.cram.events", cgroup);
	w.events = open(path, O_RDONLY | O_CLOEXEC);
	w.inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	need(w.events >= 0 && w.inotify >= 0 && read(w.events, &byte, 1) == 1 &&
		     inotify_add_watch(w.inotify, path, IN_MODIFY) >= 0,
	     "%s is waited for: %m", path);
	return w;
}

static bool is_told(const struct waiting *w, int ms)
{
	struct pollfd polled = { .fd = w->events, .events = POLLPRI },
		      notified = { .fd = w->inotify, .events = POLLIN };
	const bool by_poll = poll(&polled, 1, ms) == 1 && polled.revents & POLLPRI;
	const bool by_inotify = poll(&notified, 1, ms) == 1;

	if (by_poll != by_inotify)
		note("by poll: %d, by inotify: %d", by_poll, by_inotify);
	return ms ? by_poll && by_inotify : by_poll || by_inotify;
}

static void nothing_unless_given(void)
{
	struct waiting waiting;
	char *memory;

	make_cgroup("none");
	ok(strcmp(cgroup_text("none", "memory.cram.max"), "0") == 0,
	   "a new cgroup may have nothing: %s", cgroup_text("none", "memory.cram.max"));
	ok(used("none") == 0 && refusals("none") == 0, "and has nothing");
	memory = memory_of("none", false);
	waiting = wait_for_events("none");
	ok(!is_told(&waiting, 0), "nobody is told of anything");
	ask(memory);
	ok(there(memory) == 0, "move_pages moves none of its pages");
	ok(refusals("none") > 0, "which is counted");
	ok(is_told(&waiting, 5000), "and told to who polls, and who has inotify, on the events");
	close(waiting.events);
	close(waiting.inotify);
	write_cgroup("none", "memory.reclaim", "8M");
	ok(there(memory) == 0, "nor does reclaim");
	gone(memory);
	ok(used("none") == 0, "it had nothing all the time");
	remove_cgroup("none");
}

/* Huge pages are split for a full card's sake, and not for whom the card has nothing. */
static void huge_pages_stay_whole(void)
{
	const long before = vmstat("thp_split_page");
	char *memory;

	make_cgroup("none");
	memory = memory_of("none", true);
	ask(memory);
	ok(there(memory) == 0 && vmstat("thp_split_page") == before &&
		   frame_is(frame_of(memory), KPF_THP),
	   "huge pages that may not come stay whole (%ld were split)",
	   vmstat("thp_split_page") - before);
	gone(memory);
	remove_cgroup("none");
}

static void as_much_as_given(const char *what, bool huge)
{
	char *memory;

	note("%s", what);
	make_cgroup("some");
	limit("some", "4M");
	ok(strcmp(cgroup_text("some", "memory.cram.max"), "4194304") == 0,
	   "the limit reads as set");
	memory = memory_of("some", huge);
	ask(memory);
	ok(there(memory) == 4UL << 20, "as much goes there as it was given (%zu KiB)",
	   there(memory) >> 10);
	ok(used("some") == there(memory), "and is counted (%zu KiB)", used("some") >> 10);
	ok(refusals("some") > 0, "as is what did not go");

	limit("some", "max");
	ask(memory);
	ok(there(memory) == LENGTH && used("some") == LENGTH, "all of it without a limit");
	limit("some", "2M");
	ok(there(memory) == LENGTH, "who lowers a limit takes nothing away");

	pack(memory, LENGTH, 3, 4);
	ok(there(memory) == 0 && used("some") == 0,
	   "what is written is home, and not counted (%zu KiB)", used("some") >> 10);
	ask(memory);
	ok(there(memory) == 2UL << 20 && used("some") == there(memory), "the new limit holds");
	need(move_to(memory, LENGTH, HOME) == 0, "move_pages home");
	ok(used("some") == 0, "what moves home is not counted");
	limit("some", "0");
	ask(memory);
	ok(there(memory) == 0, "and none means none");
	gone(memory);
	ok(used("some") == 0, "nothing stays counted");
	remove_cgroup("some");
}

/* Lowered while most of it is there: nothing new, until it has less than the limit. */
static void below_what_it_has(void)
{
	char *memory;

	make_cgroup("less");
	limit("less", "max");
	memory = memory_of("less", false);
	need(move_to(memory, LENGTH / 2, cram_nid) == 0, "half of it is there");
	limit("less", "1M");
	ask(memory);
	ok(there(memory) == LENGTH / 2, "nothing comes where there is more than may be");
	pack(memory, LENGTH / 2 - (1UL << 20) + PAGE, 3, 4);
	ok(used("less") == (1UL << 20) - PAGE, "all but a MiB, and a page of that, is home");
	ask(memory);
	ok(there(memory) == 1UL << 20, "one page may come, and does");
	gone(memory);
	remove_cgroup("less");
}

static void families(void)
{
	char *memory, *other;

	make_cgroup("top");
	need(write_cgroup("top", "cgroup.subtree_control", "+memory") == 0, "cgroups in it");
	make_cgroup("top/one");
	make_cgroup("top/two");
	memory = memory_of("top/one", false);
	other = memory_of("top/two", false);

	limit("top/one", "2M");
	ask(memory);
	ok(there(memory) == 2UL << 20, "one that was given room has it in one that was not");
	ok(used("top") == 2UL << 20, "which has it too");
	ask(other);
	ok(there(other) == 0, "its sister has none");
	ok(strcmp(cgroup_text("top/two", "memory.cram.max"), "0") == 0, "as its file says");

	limit("top", "5M");
	ok(strcmp(cgroup_text("top/two", "memory.cram.max"), "max") == 0,
	   "once their parent was given some, the sister's file says");
	ask(other);
	ok(there(other) == 3UL << 20 && used("top/two") == there(other),
	   "that it may have what is left (%zu KiB)", there(other) >> 10);
	ok(used("top") == 5UL << 20, "together they have what the parent was given");
	ok(refusals("top") >= refusals("top/two"), "the parent is told of refusals, too");
	limit("top/one", "max");
	ask(memory);
	ok(there(memory) == 2UL << 20, "the parent's limit holds for those without one");
	given_up(memory);
	gone(other);
	ok(used("top") == 0, "nothing stays counted");
	remove_cgroup("top/one");
	remove_cgroup("top/two");
	remove_cgroup("top");
}

static void shared_by_fork(void)
{
	char *memory;
	int status;
	pid_t pid;

	make_cgroup("fork");
	limit("fork", "max");
	memory = memory_of("fork", false);
	need(move_to(memory, LENGTH, cram_nid) == 0, "all is there");
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		/* Copies are charged to who writes, and at home. */
		pack(memory, LENGTH / 2, 9, 1);
		_exit(used("fork") == LENGTH ? 0 : 1);
	}
	need(waitpid(pid, &status, 0) == pid, "wait: %m");
	ok(status == 0, "what two processes share counts once, as long as one has it");
	ok(there(memory) == LENGTH && used("fork") == LENGTH, "the parent has it all");
	gone(memory);
	ok(used("fork") == 0, "nothing stays counted");
	remove_cgroup("fork");
}

/* Comes and goes until it is killed. */
static void coming_and_going(bool huge)
{
	char *memory = memory_of("many", huge);

	/* A page that cannot come home at once is copied, and charged to who writes. */
	enter_cgroup("many");
	for (unsigned int n = 0;; n++) {
		move_to(memory, LENGTH, cram_nid);
		if (!packed(memory, LENGTH, 3, 4))
			_exit(1);
		pack(memory, LENGTH, 3, 4);
		if (n % 4 == 0)
			write_cgroup("many", "memory.reclaim", "4M");
	}
}

/*
 * Several at the same time have no more than the limit between them; nor more than they
 * had, where it is lowered below that while they come.
 */
static void all_at_once(void)
{
	pid_t child[4];
	int status = 0;
	bool right = true;
	size_t most = 0, allowed = 6UL << 20;

	make_cgroup("many");
	limit("many", "6M");
	fflush(stdout);
	for (size_t i = 0; i < COUNT(child); i++) {
		child[i] = fork();
		if (child[i] == 0)
			coming_and_going(i % 2);
	}
	/* Pages on their way home are frames still, but nobody's. So look when nobody moves. */
	for (int look = 0; look < 50 && right; look++) {
		usleep(100000);
		for (size_t i = 0; i < COUNT(child); i++) {
			kill(child[i], SIGSTOP);
			right = waitpid(child[i], &status, WUNTRACED) == child[i] &&
				WIFSTOPPED(status) && right;
		}
		/* That waits for those that were freed a moment ago. */
		used_pages(cram_nid);
		if (used("many") > most)
			most = used("many");
		if (used("many") != cram_bytes("resident_bytes") || used("many") > allowed) {
			note("%zu bytes are counted, %llu are there, %zu may be", used("many"),
			     (unsigned long long)cram_bytes("resident_bytes"), allowed);
			right = false;
		}
		allowed = look % 3 == 1 ? 2UL << 20 : 6UL << 20;
		limit("many", look % 3 == 1 ? "2M" : "6M");
		if (allowed < used("many"))
			allowed = used("many");
		for (size_t i = 0; i < COUNT(child); i++)
			kill(child[i], SIGCONT);
	}
	ok(right, "what several have there together is counted, and no more than was given");
	ok(most > 3UL << 20, "and not much less (%zu KiB)", most >> 10);
	for (size_t i = 0; i < COUNT(child); i++) {
		kill(child[i], SIGKILL);
		waitpid(child[i], &status, 0);
	}
	need(cram_empties(10), "nothing is left there");
	ok(used("many") == 0, "nothing stays counted (%zu)", used("many"));
	remove_cgroup("many");
}

static bool all_came(const void *before)
{
	return cram_stat("frames_written") - *(const uint64_t *)before > LENGTH / PAGE;
}

/* Removed while its pages come and go: they do so all the same, as its parent's. */
static void removed_while_they_move(void)
{
	uint64_t before;
	int status;
	pid_t pid;

	make_cgroup("moving");
	need(write_cgroup("moving", "cgroup.subtree_control", "+memory") == 0, "cgroups in it");
	make_cgroup("moving/child");
	limit("moving", "6M");
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		char *memory = memory_of("moving/child", false);

		for (;;) {
			move_to(memory, LENGTH, cram_nid);
			if (!packed(memory, LENGTH, 3, 4) || used("moving") > 6UL << 20)
				_exit(1);
			pack(memory, LENGTH / 2, 3, 4);
			move_to(memory, LENGTH, HOME);
		}
	}
	before = cram_stat("frames_written");
	for (int i = 0; i < 500 && cram_stat("frames_written") == before; i++)
		usleep(20000);
	remove_cgroup("moving/child");
	before = cram_stat("frames_written");
	ok(eventually(10, all_came, &before),
	   "pages of a cgroup that was removed meanwhile come and go (%llu came)",
	   (unsigned long long)(cram_stat("frames_written") - before));
	ok(waitpid(pid, &status, WNOHANG) == 0, "with their data, and under its parent's limit");
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	need(cram_empties(10), "nothing is left there");
	ok(used("moving") == 0, "nothing stays counted (%zu)", used("moving"));
	remove_cgroup("moving");
}

/* With swap to go to, what may not go to the card is reclaimed as if there were none. */
static void reclaimed_all_the_same(void)
{
	char *memory;

	swap_on("64M");
	make_cgroup("swap");
	memory = memory_of("swap", false);
	ok(write_cgroup("swap", "memory.reclaim", "6M") == 0,
	   "what was given nothing can be reclaimed");
	ok(there(memory) == 0, "and is not on the card");
	ok(packed(memory, LENGTH, 3, 4), "nothing is lost");
	limit("swap", "max");
	need(move_to(memory, LENGTH, cram_nid) >= 0 && there(memory) > LENGTH / 2, "it is there");
	/* Pages of the card go to swap. */
	for (int i = 0; i < 8 && used("swap") > LENGTH / 2; i++)
		write_cgroup("swap", "memory.reclaim", "8M");
	ok(used("swap") == there(memory), "what was swapped out is not counted (%zu KiB)",
	   used("swap") >> 10);
	gone(memory);
	ok(used("swap") == 0, "nothing stays counted");
	remove_cgroup("swap");
	need(system(SWAP_OFF) == 0, "no swap any more");
}

static void removed_with_pages_there(void)
{
	char *memory;

	make_cgroup("dead");
	need(write_cgroup("dead", "cgroup.subtree_control", "+memory") == 0, "cgroups in it");
	make_cgroup("dead/child");
	limit("dead", "6M");
	memory = memory_of("dead/child", false);
	ask(memory);
	ok(there(memory) == 6UL << 20, "a cgroup has pages there");
	remove_cgroup("dead/child");
	ok(used("dead") == 6UL << 20, "it is removed, and its parent still has them");
	ask(memory);
	ok(there(memory) == 6UL << 20, "under its limit");
	pack(memory, LENGTH / 2, 3, 4);
	ok(used("dead") == there(memory), "they come home like others (%zu KiB)",
	   used("dead") >> 10);
	gone(memory);
	ok(used("dead") == 0, "and stay counted no longer than they are there");
	remove_cgroup("dead");
}

static void bad_values(void)
{
	make_cgroup("bad");
	limit("bad", "4M");
	ok(write_cgroup("bad", "memory.cram.max", "much") < 0, "what is no number is refused");
	ok(write_cgroup("bad", "memory.cram.max", "-1") < 0, "so is less than nothing");
	ok(strcmp(cgroup_text("bad", "memory.cram.max"), "4194304") == 0, "and changes nothing");
	remove_cgroup("bad");
}

int main(void)
{
	write_file("/sys/fs/cgroup/cgroup.subtree_control", "+memory");
	demotion(true);
	cram_up();
	khugepaged_sleeps();
	nothing_unless_given();
	huge_pages_stay_whole();
	as_much_as_given("small pages", false);
	as_much_as_given("huge pages", true);
	below_what_it_has();
	families();
	shared_by_fork();
	all_at_once();
	removed_with_pages_there();
	removed_while_they_move();
	reclaimed_all_the_same();
	bad_values();
	ok(cram_promise_holds(), "the promise holds");
	return done();
}
