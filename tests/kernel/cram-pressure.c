/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * CRAM on a host that nobody manages and that is short of DRAM, with swap and without:
 * reclaim demotes what is cold as long as the card has room. What does not fit on the card
 * is swapped out as if there were none; where there is no swap either, somebody is killed,
 * and only who took too much. Writing needs DRAM for what comes home: that has to be
 * found, or refused, and never waited for in vain. Room comes with reports, and nobody is
 * killed for one that is under way.
 */
#include "cram.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "card.h"

#define MIB (1UL << 20)

/* Fills memory, looks, writes all of it anew, and looks again. To be killed before others. */
static bool lives(size_t length)
{
	char *memory = map_anonymous(length);

	need(madvise(memory, length, MADV_NOHUGEPAGE) == 0, "small pages: %m");
	write_file("/proc/self/oom_score_adj", "1000");
	for (uint64_t version = 1; version <= 2; version++) {
		pack(memory, length, version << 32, 4);
		if (!packed(memory, length, version << 32, 4))
			return false;
	}
	return true;
}

#define UNENDING 99

/* How a process ends that needs so much: its exit status, minus a signal, or not at all. */
static int end_of(size_t length)
{
	const int seconds = debug_kernel() ? 1500 : 300;
	int status = -1;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0)
		_exit(lives(length) ? 0 : 1);
	need(pid > 0, "fork: %m");
	for (int i = 0; i < seconds * 10; i++) {
		if (waitpid(pid, &status, WNOHANG) == pid)
			return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
		need(cram_promise_holds(), "the promise holds under pressure");
		usleep(100000);
	}
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	return UNENDING;
}

/* Reclaim takes what is cold of other processes, too; that stays. */
static bool little_is_left(const void *unused)
{
	(void)unused;
	return cram_bytes("resident_bytes") < 32 * MIB && cram_bytes("quarantined_bytes") == 0;
}

static void afterwards(void)
{
	const bool little = eventually(30, little_is_left, NULL);

	ok(little, "it leaves nothing on the card (%llu KiB, and %llu to be trimmed)",
	   (unsigned long long)cram_bytes("resident_bytes") >> 10,
	   (unsigned long long)cram_bytes("quarantined_bytes") >> 10);
	ok(cram_becomes("normal", 10), "and all is normal");
	ok(card_value("peak-excess") == 0 && card_value("over-capacity-pages") == 0,
	   "the card was never asked for more than it has");
}

int main(void)
{
	size_t dram, some, much;
	uint64_t waits;
	int end;

	write_file("/proc/sys/vm/overcommit_memory", "1");
	write_file("/proc/self/oom_score_adj", "-1000");
	cram_up();
	dram = (size_t)meminfo_kb("MemAvailable:") << 10;
	/* What the card can hold of what compresses to a quarter, or less than twice that. */
	some = dram + cram_bytes("physical_bytes") * 2;
	much = dram + cram_bytes("physical_bytes") * 7;
	note("%zu MiB of DRAM are to be had, %llu MiB on the card", dram >> 20,
	     (unsigned long long)cram_bytes("physical_bytes") >> 20);

	demotion(false);
	end = end_of(some);
	ok(end == -SIGKILL, "%zu MiB: killed without demotion (%d)", some >> 20, end);
	demotion(true);
	end = end_of(some);
	ok(end == 0, "%zu MiB: there is room with it (%d)", some >> 20, end);
	ok(cram_stat("frames_written") * PAGE > some - dram, "on the card (%llu MiB came)",
	   (unsigned long long)cram_stat("frames_written") >> 8);
	afterwards();
	waits = cram_stat("waits");
	/*
	 * Long enough for the slowest machine to use up what one report gives out before the
	 * next is there, and well below the 3 s after which the card counts as silent.
	 */
	card_fault("reports-slow", true, 1000);
	end = end_of(some);
	ok(end == 0, "%zu MiB: there is room with reports that take 1 s (%d)", some >> 20, end);
	ok(cram_stat("waits") > waits, "which is waited for (%llu times before, %llu in all)",
	   (unsigned long long)waits, (unsigned long long)cram_stat("waits"));
	card_fault("reports-slow", false, 0);
	afterwards();
	end = end_of(much);
	ok(end == -SIGKILL, "%zu MiB: killed, with all of both full (%d)", much >> 20, end);
	afterwards();
	swap_on("512M");
	end = end_of(much);
	ok(end == 0, "%zu MiB: there is room with swap (%d)", much >> 20, end);
	ok(vmstat("pswpout") > 0, "which is used");
	afterwards();
	return done();
}
