/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Room that the driver of a card holds back, cram_set_pressure(): as much less is given, nothing
 * that is there has to go, and nobody is told more than that there is no room.
 *
 *   cram-held-back DIR    set_pressure.ko is in DIR
 *
 * The card is so small that all room for an empty one is given at once.
 */
#include "cram.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LENGTH (4UL << 20)

static const char *directory;

/* 0 or -errno, of the module, which does what it does when it is loaded. */
static int load(const char *parameters)
{
	char path[4096];
	int fd, rc;

	snprintf(path, sizeof(path), "%s/set_pressure.ko", directory);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	need(fd >= 0, "%s: %m", path);
	rc = syscall(SYS_finit_module, fd, parameters, 0) ? -errno : 0;
	close(fd);
	if (!rc)
		need(syscall(SYS_delete_module, "set_pressure", O_NONBLOCK) == 0, "unload: %m");
	return rc;
}

static int hold_back(int nid, int pressure)
{
	char parameters[64];

	snprintf(parameters, sizeof(parameters), "nid=%d pressure=%d", nid, pressure);
	return load(parameters);
}

static int give_again(int nid)
{
	char parameters[64];

	snprintf(parameters, sizeof(parameters), "nid=%d", nid);
	return load(parameters);
}

/* What there is room for with nothing held back, by the other counters. */
static uint64_t all_room(void)
{
	const uint64_t worst = cram_bytes("worst_bytes");

	return (cram_bytes("physical_bytes") - cram_bytes("reserve_bytes") -
		cram_bytes("stored_bytes") - cram_bytes("unsettled_bytes")) /
	       worst * worst;
}

/* The credit is what is not held back of the room, to a frame. */
static bool is_given(const void *thousandths)
{
	const uint64_t worst = cram_bytes("worst_bytes");

	return cram_bytes("credit_bytes") ==
	       all_room() / worst * *(const unsigned int *)thousandths / 1000 * worst;
}

static void given(unsigned int thousandths, const char *what)
{
	ok(eventually(10, is_given, &thousandths), "%s (%llu of %llu KiB)", what,
	   (unsigned long long)cram_bytes("credit_bytes") >> 10,
	   (unsigned long long)all_room() >> 10);
	ok(cram_promise_holds() && cram_credit_is_free_memory(), "the promise holds");
}

int main(int argc, char **argv)
{
	char *memory = map_anonymous(2 * LENGTH);
	long rc;

	need(argc == 2, "usage: cram-held-back DIR");
	directory = argv[1];
	cram_up();
	need(madvise(memory, 2 * LENGTH, MADV_NOHUGEPAGE) == 0, "small pages: %m");
	pack(memory, 2 * LENGTH, 1, 2);
	given(1000, "nothing is held back, all is given");

	ok(hold_back(cram_nid, 1001) == -EINVAL, "more than all cannot be held back");
	ok(hold_back(HOME, 500) == -ENODEV && hold_back(1 << 20, 500) == -ENODEV &&
		   hold_back(-1, 500) == -ENODEV && give_again(HOME) == -ENODEV,
	   "nor anything on a node that is no card's");
	given(1000, "which changes nothing");
	ok(cram_bytes("pressure") == 0, "nor says so");

	need(hold_back(cram_nid, 500) == 0, "half of it is held back");
	given(500, "half of it is taken back");
	ok(cram_bytes("pressure") == 500, "as the file says");
	ok(move_to(memory, LENGTH, cram_nid) == 0 &&
		   pages_on(memory, LENGTH, cram_nid) == LENGTH / PAGE,
	   "pages come to the other half");

	need(hold_back(cram_nid, 1000) == 0, "all of it is held back");
	given(0, "all is taken back");
	rc = move_to(memory + LENGTH, LENGTH, cram_nid);
	ok(rc >= 0 && pages_on(memory + LENGTH, LENGTH, cram_nid) == 0,
	   "nothing comes, which is no error (%ld)", rc);
	usleep(1000000);
	ok(pages_on(memory, LENGTH, cram_nid) == LENGTH / PAGE && packed(memory, LENGTH, 1, 2) &&
		   cram_stat("pages_evicted") == 0,
	   "what is there stays");

	ok(give_again(cram_nid) == 0 && cram_bytes("pressure") == 0,
	   "nothing is held back any more");
	given(1000, "all is given again");
	ok(move_to(memory + LENGTH, LENGTH, cram_nid) == 0 &&
		   pages_on(memory + LENGTH, LENGTH, cram_nid) == LENGTH / PAGE,
	   "and pages come");
	ok(packed(memory, 2 * LENGTH, 1, 2), "with all that was in them");
	munmap(memory, 2 * LENGTH);
	ok(cram_empties(10) && cram_becomes("normal", 10), "nothing is left, and all is normal");
	return done();
}
