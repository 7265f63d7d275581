/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The driver that docs/design/private-nodes.md shows, as a module outside the tree: its node
 * comes and goes, programs use it meanwhile, and its errors are what is said there.
 *
 *   private-module DIR [busy]    my_driver.ko and my_device.ko are in DIR; also with kernel
 *                                pages on the node when the driver goes
 */
#include "private-node.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <numaif.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LENGTH (64 * PAGE)
#define BOUND  "/sys/bus/platform/drivers/my_driver/my_driver"

static const char *directory;

/* 0 or -errno. */
static int load(const char *name, const char *parameters)
{
	char path[4096];
	int fd, rc;

	snprintf(path, sizeof(path), "%s/%s.ko", directory, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	rc = syscall(SYS_finit_module, fd, parameters, 0) ? -errno : 0;
	close(fd);
	return rc;
}

static int unload(const char *name)
{
	return syscall(SYS_delete_module, name, O_NONBLOCK) ? -errno : 0;
}

static int load_device(uint64_t start, uint64_t size, bool take)
{
	char parameters[128];

	snprintf(parameters, sizeof(parameters), "start=%" PRIu64 " size=%" PRIu64 " take=%d",
		 start, size, take);
	return load("my_device", parameters);
}

static bool bound(void)
{
	return access(BOUND, F_OK) == 0;
}

static bool node_is_private(void)
{
	return node_in("has_private_memory", CARD) && !node_in("has_memory", CARD);
}

/* What the driver does not take leaves everything as it was. */
static void refuses(const char *what, uint64_t start, uint64_t size)
{
	need(load_device(start, size, false) == 0, "a device: %s", what);
	ok(!bound() && !node_in("has_private_memory", CARD), "%s: the driver refuses it", what);
	need(unload("my_device") == 0, "and goes");
}

static void programs_use_it(void)
{
	char *memory = map_anonymous(LENGTH), *more = map_shared(LENGTH, NULL);

	ok(bind_to(memory, LENGTH, MPOL_BIND, 1UL << CARD, 0) == 0, "mbind maps memory onto it");
	fill(memory, LENGTH, 1);
	ok(pages_on(memory, LENGTH, CARD) == LENGTH / PAGE, "and first touch is served there");
	fill(more, LENGTH, 2);
	ok(move_to(more, LENGTH, CARD) == 0 && pages_on(more, LENGTH, CARD) == LENGTH / PAGE,
	   "move_pages moves pages there");
	ok(unload("my_driver") == 0, "the module is unloaded while a program has pages there");
	ok(!node_in("has_private_memory", CARD) && !node_in("has_memory", CARD),
	   "and its node has no memory any more");
	ok(pages_on(memory, LENGTH, CARD) + pages_on(more, LENGTH, CARD) == 0 &&
		   filled(memory, LENGTH, 1) && filled(more, LENGTH, 2),
	   "the pages came home, and nothing is lost");
	munmap(memory, LENGTH);
	munmap(more, LENGTH);
}

/* EBUSY is an answer that the driver must live with. */
static void kernel_pages_stay(void)
{
	struct npt_alloc alloc = { .nid = CARD, .how = NPT_PRIVATE, .count = 1 };
	char *memory = map_anonymous(LENGTH);
	char *there = small_on(CARD, LENGTH);

	need(npt_alloc(&alloc) == 0 && alloc.ret_on_node == 1, "the kernel holds a page there");
	ok(unload("my_driver") == 0, "the module goes also while the kernel holds a page");
	ok(node_is_private(), "but the memory stays, and is nobody else's");
	ok(bind_to(memory, LENGTH, MPOL_BIND, 1UL << CARD, 0) == -EINVAL,
	   "it is closed to memory policies");
	memory[0] = 1;
	ok(move_to(memory, PAGE, CARD) == -ENODEV, "and to migration");
	ok(filled(there, LENGTH, 5), "what a program had is not lost");
	ok(load("my_driver", "") == 0 && !bound(), "loaded again, the driver finds it taken");
	ok(npt_free() == 0, "the page can be freed afterwards");
	munmap(there, LENGTH);
	munmap(memory, LENGTH);
}

int main(int argc, char *argv[])
{
	uint64_t start = card_start(), size = card_size();

	need(argc >= 2, "private-module DIR [busy]");
	directory = argv[1];
	ok(load("my_driver", "") == 0, "the driver of docs/design/private-nodes.md can be loaded");
	refuses("memory that is ordinary", start, size);
	refuses("half a memory block", start, memory_block_bytes() / 2);
	need(load_device(start, size, true) == 0, "a device with the memory module's memory");
	ok(bound() && node_is_private(), "it makes its device's memory a private node");
	programs_use_it();
	ok(load("my_driver", "") == 0 && bound() && node_is_private(),
	   "loaded again, it makes it one again");
	if (argc > 2 && strcmp(argv[2], "busy") == 0) {
		kernel_pages_stay();
		return done();
	}
	ok(unload("my_device") == 0 && !node_in("has_private_memory", CARD),
	   "unplugged, the node goes with its device");
	ok(unload("my_driver") == 0, "and the module can go");
	ok(load_device(start, size, false) == 0 && load("my_driver", "") == 0 && bound(),
	   "it does not matter which of the two comes first");
	return done();
}
