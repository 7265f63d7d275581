/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A CXL card as a private node, by the kernel's cxl_mempolicy driver: the example
 * of the request on it, the driver taken away while its memory is used, and the
 * regions that it must not take. Needs a host with one card (boot --cxl 512M).
 */
#include "private-node.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <numaif.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define CXL	  "/sys/bus/cxl/devices"
#define REGION	  "/sys/bus/cxl/drivers/cxl_region" /* memory for everybody */
#define MEMPOLICY "/sys/bus/cxl/drivers/cxl_mempolicy"

static int nid = -1;
static uint64_t card_bytes;

/* First line of what a command prints, empty if it fails. */
static char *line_of(const char *command)
{
	static char line[256];
	FILE *output = popen(command, "r");

	need(output != NULL, "popen: %m");
	if (!fgets(line, sizeof(line), output))
		line[0] = '\0';
	line[strcspn(line, "\n")] = '\0';
	if (pclose(output))
		line[0] = '\0';
	return line;
}

/* Writes to an attribute of a device of the CXL bus. */
static int put(const char *device, const char *attribute, const char *value)
{
	char path[256];

	snprintf(path, sizeof(path), CXL "/%s/%s", device, attribute);
	return write_file(path, value);
}

/* As put(), where nothing can be wrong. */
static void set(const char *device, const char *attribute, const char *value)
{
	int rc = put(device, attribute, value);

	need(rc == 0, "%s: %s can be %s: %s", device, attribute, value, strerror(-rc));
}

static int bind_region(const char *driver, const char *region)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/bind", driver);
	return write_file(path, region);
}

static int unbind_region(const char *driver, const char *region)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/unbind", driver);
	return write_file(path, region);
}

/*
 * Regions
 */

struct region {
	char name[32];
	char decoder[32];
};

/* A window of addresses and the card's n-th decoder; one card, so the first are right. */
static void find_decoders(char *root, char *decoder, int n, size_t size)
{
	char pattern[64];
	glob_t found;

	need(glob(CXL "/root0/decoder0.*", 0, NULL, &found) == 0, "there is a window for CXL");
	snprintf(root, size, "%s", strrchr(found.gl_pathv[0], '/') + 1);
	globfree(&found);
	snprintf(pattern, sizeof(pattern), CXL "/endpoint*/decoder*.%d", n);
	need(glob(pattern, 0, NULL, &found) == 0, "the card has a decoder %d", n);
	snprintf(decoder, size, "%s", strrchr(found.gl_pathv[0], '/') + 1);
	globfree(&found);
}

/* A region of some bytes on the card's n-th decoder, complete but for the commit. */
static struct region new_region(int n, uint64_t bytes, const char *ways)
{
	char root[32], path[256], size[32];
	struct region r;

	find_decoders(root, r.decoder, n, sizeof(root));
	snprintf(path, sizeof(path), CXL "/%s/create_ram_region", root);
	snprintf(r.name, sizeof(r.name), "%s", read_file(path));
	r.name[strcspn(r.name, "\n")] = '\0';
	snprintf(size, sizeof(size), "%#llx", (unsigned long long)bytes);
	set(root, "create_ram_region", r.name);
	set(r.decoder, "mode", "ram");
	set(r.decoder, "dpa_size", size);
	set(r.name, "interleave_granularity", "256");
	set(r.name, "interleave_ways", ways);
	set(r.name, "size", ways[0] == '1' ? size : "0x20000000");
	set(r.name, "target0", r.decoder);
	return r;
}

static void delete_region(struct region *r)
{
	char root[32], decoder[32];

	find_decoders(root, decoder, 0, sizeof(root));
	need(!put(root, "delete_region", r->name) && !put(r->decoder, "dpa_size", "0"),
	     "%s can be deleted", r->name);
}

/*
 * The example of the request
 */

static void example(const char *kind, uint32_t *buf, size_t length)
{
	ok(bind_to(buf, length, MPOL_BIND, 1UL << nid, 0) == 0,
	   "%s: mbind(buf, len, MPOL_BIND, private_node) succeeds", kind);
	buf[0] = 0xdeadbeef;
	ok(node_of(buf) == nid && buf[0] == 0xdeadbeef && buf[1] == 0,
	   "%s: buf[0] = 0xdeadbeef faults onto the private node (%d)", kind, node_of(buf));
	munmap(buf, length);
}

static void malloc_stays_out(void)
{
	size_t elsewhere = 0;
	char *memory[2048];

	for (size_t i = 0; i < 2048; i++) {
		memory[i] = malloc(4096);
		need(memory[i] != NULL, "malloc");
		memory[i][0] = 1;
		elsewhere += node_of(memory[i]) != nid;
	}
	ok(elsewhere == 2048, "malloc never lands on the private node");
	for (size_t i = 0; i < 2048; i++)
		free(memory[i]);
}

static void moves(const char *kind, char *buf, size_t length)
{
	fill(buf, length, 1);
	ok(move_to(buf, length, nid) == 0 && pages_on(buf, length, nid) == length / PAGE,
	   "%s: move_pages moves it to the private node", kind);
	ok(filled(buf, length, 1), "%s: with all that was in it", kind);
	fill(buf, length, 2);
	ok(move_to(buf, length, HOME) == 0 && pages_on(buf, length, HOME) == length / PAGE &&
		   filled(buf, length, 2),
	   "%s: and back", kind);
	munmap(buf, length);
}

static void the_example(void)
{
	struct npt_alloc page = { .nid = nid, .how = NPT_PRIVATE, .count = 1 };

	ok(npt_alloc(&page) == 0 && page.ret_on_node == 1 && used_pages(nid) == 1,
	   "alloc_pages_node(nid, __GFP_PRIVATE, 0) gives a page of the card");
	npt_free();
	example("anonymous", map_anonymous(64 * PAGE), 64 * PAGE);
	example("memfd", map_shared(64 * PAGE, NULL), 64 * PAGE);
	example("huge page", map_huge(HUGE), HUGE);
	malloc_stays_out();
	moves("anonymous", map_anonymous(64 * PAGE), 64 * PAGE);
	moves("memfd", map_shared(64 * PAGE, NULL), 64 * PAGE);
	moves("huge page", map_huge(2 * HUGE), 2 * HUGE);
	ok(used_pages(nid) == 0, "in the end nothing is left there (%ld)", used_pages(nid));
}

/*
 * The driver goes away
 */

/* Also what other processes have mapped, which takes root. */
static void move_all_to_card(void *memory, size_t length)
{
	size_t n = length / PAGE;
	void **pages = calloc(n, sizeof(*pages));
	int *nodes = calloc(n, sizeof(*nodes)), *status = calloc(n, sizeof(*status));

	need(pages && nodes && status, "memory for a list of pages");
	for (size_t i = 0; i < n; i++) {
		pages[i] = (char *)memory + i * PAGE;
		nodes[i] = nid;
	}
	need(move_pages(0, n, pages, nodes, status, MPOL_MF_MOVE_ALL) >= 0, "move_pages: %m");
	free(pages);
	free(nodes);
	free(status);
}

static void unbound_while_mapped(const char *region)
{
	const size_t length = 8 << 20;
	char *anonymous = map_anonymous(length + PAGE), *shared = map_shared(length, NULL),
	     *huge = map_huge(2 * HUGE);
	long total = meminfo_kb("MemTotal:");

	need(bind_to(anonymous, length + PAGE, MPOL_BIND, 1UL << nid, 0) == 0, "mbind");
	fill(anonymous, length, 1);
	fill(shared, length, 2);
	fill(huge, 2 * HUGE, 3);
	need(move_to(shared, length, nid) == 0 && move_to(huge, 2 * HUGE, nid) == 0 &&
		     pages_on(anonymous, length, nid) == length / PAGE,
	     "memory on the card");
	ok(unbind_region(MEMPOLICY, region) == 0 && !node_in("has_private_memory", nid) &&
		   !node_in("has_memory", nid),
	   "the driver unbound, its node has no memory");
	ok(pages_on(anonymous, length, nid) + pages_on(shared, length, nid) +
			   pages_on(huge, 2 * HUGE, nid) ==
		   0,
	   "what was mapped came home");
	ok(filled(anonymous, length, 1) && filled(shared, length, 2) && filled(huge, 2 * HUGE, 3),
	   "with all that was in it");
	ok(meminfo_kb("MemTotal:") == total, "and MemTotal is what it was");
	anonymous[length] = 1;
	ok(node_of(anonymous + length) >= 0 && node_of(anonymous + length) != nid,
	   "a policy for a node without memory gives ordinary memory");
	ok(bind_to(shared, length, MPOL_BIND, 1UL << nid, 0) == -EINVAL,
	   "and is not to be had any more");
	ok(move_to(shared, PAGE, nid) == -ENODEV, "nor does move_pages know the node");
	munmap(huge, 2 * HUGE);
	munmap(shared, length);
	munmap(anonymous, length + PAGE);
	ok(bind_region(MEMPOLICY, region) == 0 && node_in("has_private_memory", nid) &&
		   used_pages(nid) == 0,
	   "bound again, the node is there again, unused");
}

static void unbound_while_written(const char *region)
{
	const size_t length = 4 << 20;
	volatile uint64_t *words = map_shared(length, NULL);
	size_t moved = 0;
	bool bound = true;
	int status;
	pid_t pid;

	memset((void *)words, 0, length);
	pid = fork();
	if (pid == 0) {
		for (uint64_t round = 1;; round++)
			for (size_t i = 0; i < length / 8; i += 512) {
				if (words[i] != round - 1)
					_exit(EXIT_FAILURE);
				words[i] = round;
			}
	}
	need(pid > 0, "fork: %m");
	for (int i = 0; i < 5; i++) {
		move_all_to_card((void *)words, length);
		moved += pages_on((void *)words, length, nid);
		bound = bound && unbind_region(MEMPOLICY, region) == 0 &&
			!node_in("has_private_memory", nid) && bind_region(MEMPOLICY, region) == 0;
	}
	kill(pid, SIGKILL);
	need(waitpid(pid, &status, 0) == pid, "waitpid: %m");
	ok(bound && moved > 0, "unbound and bound five times under a writer (%zu pages moved)",
	   moved);
	ok(WIFSIGNALED(status), "the writer reads what it wrote all the time");
	ok(pages_on((void *)words, length, nid) == 0 && used_pages(nid) == 0,
	   "and nothing of it is left on the card");
	munmap((void *)words, length);
}

/*
 * Regions that it must not take
 */

static void refuses_unready_regions(void)
{
	struct region r = new_region(0, card_bytes / 2, "1");

	ok(bind_region(MEMPOLICY, r.name) == -ENXIO, "a region that is not committed is refused");
	need(put(r.name, "commit", "1") == 0, "commit");
	ok(bind_region(MEMPOLICY, r.name) == 0, "committed, it is taken");
	ok(put(r.name, "commit", "0") == 0 && !node_in("has_private_memory", nid),
	   "a commit taken back takes the driver away first");
	ok(bind_region(MEMPOLICY, r.name) == -ENXIO, "and it is refused again");
	delete_region(&r);

	r = new_region(0, card_bytes / 2, "2");
	ok(put(r.name, "commit", "1") != 0 && bind_region(MEMPOLICY, r.name) == -ENXIO,
	   "so is one of an interleave that has not all of its cards");
	delete_region(&r);
	ok(bind_region(MEMPOLICY, r.name) == -ENODEV, "one that does not exist is no device");
	ok(bind_region(MEMPOLICY, "mem0") == -ENODEV, "a card is not a region");
}

/* Two regions of one card have one node, which is private or not, and has one owner. */
static void refuses_taken_nodes(void)
{
	struct region first = new_region(0, card_bytes / 2, "1"), second;

	need(put(first.name, "commit", "1") == 0, "commit");
	second = new_region(1, card_bytes / 2, "1");
	need(put(second.name, "commit", "1") == 0, "commit");

	need(bind_region(MEMPOLICY, first.name) == 0, "a region is taken");
	ok(bind_region(MEMPOLICY, first.name) != 0, "but not twice");
	ok(bind_region(REGION, first.name) != 0, "nor by two drivers");
	ok(bind_region(MEMPOLICY, second.name) == -EBUSY, "a second owner of its node is refused");
	bind_region(REGION, second.name);
	ok(!node_in("has_memory", nid) && node_in("has_private_memory", nid),
	   "ordinary memory does not come to a private node");
	unbind_region(REGION, second.name);
	ok(unbind_region(MEMPOLICY, first.name) == 0, "the first lets go of it");

	need(bind_region(REGION, first.name) == 0, "the region as ordinary memory");
	ok(bind_region(MEMPOLICY, second.name) == -EBUSY && !node_in("has_private_memory", nid),
	   "a node that has ordinary memory is refused");
	need(unbind_region(REGION, first.name) == 0, "ordinary memory that was never online goes");
	ok(bind_region(MEMPOLICY, second.name) == 0 && node_in("has_private_memory", nid),
	   "without it, the node can be private");
	delete_region(&second);
	delete_region(&first);
	ok(!node_in("has_private_memory", nid), "a deleted region's driver lets go of it");
}

/* Pages that the kernel holds cannot move; the card has to go on decoding them. */
static void unbound_while_held(const struct region *r)
{
	struct npt_alloc pages = { .nid = nid, .how = NPT_PRIVATE, .count = 10 };
	char *memory = map_anonymous(4 * PAGE), *another = map_anonymous(PAGE);
	char read_back[4 * PAGE], root[32], decoder[32];
	struct iovec vector = { memory, 4 * PAGE };
	int ends[2];

	find_decoders(root, decoder, 0, sizeof(root));
	fill(memory, 4 * PAGE, 6);
	need(npt_alloc(&pages) == 0 && pages.ret_on_node == 10 &&
		     move_to(memory, 4 * PAGE, nid) == 0,
	     "pages on the card");
	need(pipe(ends) == 0 && vmsplice(ends[1], &vector, 1, 0) == (ssize_t)(4 * PAGE),
	     "a pipe that holds some: %m");

	ok(put(r->name, "commit", "0") == -EBUSY,
	   "the commit of memory that is held cannot be taken back");
	ok(pages_on(memory, 4 * PAGE, nid) == 4 && filled(memory, 4 * PAGE, 6),
	   "it stays as it was");
	unbind_region(MEMPOLICY, r->name);
	ok(node_in("has_private_memory", nid) && used_pages(nid) == 14, "and when the driver goes");
	ok(bind_region(MEMPOLICY, r->name) != 0, "the region is not taken a second time");
	ok(put(r->name, "commit", "0") == -EBUSY, "nor its commit taken back then");
	ok(put(root, "delete_region", r->name) == -EBUSY, "nor the region deleted");
	another[0] = 1;
	ok(move_to(another, PAGE, nid) == -ENODEV, "nothing new comes to it");
	ok(read(ends[0], read_back, sizeof(read_back)) == (ssize_t)sizeof(read_back) &&
		   filled(read_back, sizeof(read_back), 6) && filled(memory, 4 * PAGE, 6),
	   "and all that is in it can be read still");
	close(ends[0]);
	close(ends[1]);
	munmap(memory, 4 * PAGE);
	munmap(another, PAGE);
	npt_free();
	ok(used_pages(nid) == 0, "what was held can be freed (%ld pages left)", used_pages(nid));
}

int main(void)
{
	long total = meminfo_kb("MemTotal:");
	char *printed = line_of("tests/host/private-node | tail -n 1"), *end;
	char region[32];
	glob_t found;

	nid = (int)strtol(printed, &end, 10);
	need(*printed && !*end && nid > 0, "tests/host/private-node prints a node: %s", printed);
	need(glob(MEMPOLICY "/region*", 0, NULL, &found) == 0, "it is bound to a region");
	snprintf(region, sizeof(region), "%s", strrchr(found.gl_pathv[0], '/') + 1);
	globfree(&found);
	card_bytes = strtoull(read_file(CXL "/mem0/ram/size"), NULL, 16);
	ok(node_in("has_private_memory", nid) && !node_in("has_memory", nid) &&
		   !node_in("has_normal_memory", nid),
	   "the card is in has_private_memory and in no other memory state");
	ok(meminfo_kb("MemTotal:") == total, "its memory is not in MemTotal");
	ok(used_pages(nid) == 0, "nothing of it is used");
	ok(!*line_of("tests/host/private-node 2>/dev/null"),
	   "a card that is in use is not configured a second time");

	the_example();
	unbound_while_mapped(region);
	unbound_while_written(region);

	need(unbind_region(MEMPOLICY, region) == 0, "unbind");
	struct region whole = { 0 };
	char root[32];

	memcpy(whole.name, region, sizeof(whole.name));
	find_decoders(root, whole.decoder, 0, sizeof(root));
	delete_region(&whole);
	refuses_unready_regions();
	refuses_taken_nodes();

	/* The last: its memory stays until the host ends. */
	whole = new_region(0, card_bytes, "1");
	need(put(whole.name, "commit", "1") == 0 && bind_region(MEMPOLICY, whole.name) == 0,
	     "all of the card once more");
	unbound_while_held(&whole);
	return done();
}
