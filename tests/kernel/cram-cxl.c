/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The kernel's cxl_compression driver: which regions it takes, cards that do not answer
 * when they are brought up, interrupts, the driver and the card taken away while memory
 * is in use. What CRAM makes of a card's reports is cram-faults.c's. Needs a host with a
 * card that compresses, cxl-mem0, and one that does not.
 */
#include "cram.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "card.h"

#define DRIVER	 "/sys/bus/cxl/drivers/cxl_compression/"
#define RESIDENT (8UL << 20)

static char region[32];

/* The last line that a script on tests/host/cxl.sh prints; ends the program if it fails. */
static char *cxl(const char *script)
{
	static char line[256];
	char command[1024];
	FILE *output;

	snprintf(
		command, sizeof(command),
		"bash -c 'set -e; . tests/host/cxl.sh\n"
		"for m in $(cxl_cards); do if cxl_compresses $m; then card=$m; else plain=$m; fi; done\n"
		"%s'",
		script);
	output = popen(command, "r");
	need(output != NULL, "popen: %m");
	line[0] = '\0';
	while (fgets(line, sizeof(line), output))
		;
	line[strcspn(line, "\n")] = '\0';
	need(pclose(output) == 0, "%s: %s", script, line);
	return line;
}

static int bind_region(void)
{
	return write_file(DRIVER "bind", region);
}

static int unbind_region(void)
{
	return write_file(DRIVER "unbind", region);
}

/* No card that compresses has a node. */
static bool no_node(void)
{
	glob_t found;
	bool none = glob("/sys/devices/system/node/node*/cram", 0, NULL, &found) != 0;

	globfree(&found);
	return none;
}

/* The region's node, as an operator finds it. */
static bool has_node(void)
{
	char script[64];

	if (no_node())
		return false;
	snprintf(script, sizeof(script), "cxl_node %s", region);
	cram_nid = atoi(cxl(script));
	return cram_nid > 0 && node_in("has_private_memory", cram_nid);
}

static void destroy(void)
{
	char script[64];

	snprintf(script, sizeof(script), "cxl_destroy %s", region);
	cxl(script);
}

/* Waits for room, moves memory to the card and ends the program if not all of it came. */
static void make_resident(char *memory)
{
	need(cram_has_credit(RESIDENT, 20), "there is room on the card");
	pack(memory, RESIDENT, 5, 2);
	need(move_to(memory, RESIDENT, cram_nid) == 0 &&
		     pages_on(memory, RESIDENT, cram_nid) == RESIDENT / PAGE,
	     "memory is on the card");
}

/*
 * Regions that it must not take
 */

static void refuses_regions(void)
{
	strcpy(region, cxl("cxl_region $plain; echo $region"));
	ok(bind_region() == -ENODEV && no_node(), "a card that does not compress is refused");
	destroy();

	strcpy(region,
	       cxl("root=$(root_decoder_of $card); d=$(endpoint_decoder_of $card)\n"
		   "half=$(($(cat $cxl/$card/ram/size) / 2))\n"
		   "r=$(cat $cxl/$root/create_ram_region); put $r $cxl/$root/create_ram_region\n"
		   "put ram $cxl/$d/mode; put $half $cxl/$d/dpa_size\n"
		   "put 256 $cxl/$r/interleave_granularity; put 1 $cxl/$r/interleave_ways\n"
		   "put $half $cxl/$r/size; put $d $cxl/$r/target0; echo $r"));
	ok(bind_region() == -ENXIO, "so is a region that is not committed");
	cxl("for r in $(cxl_regions); do put 1 $cxl/$r/commit; done");
	ok(bind_region() == -EINVAL && no_node(), "and one that is half of a card");
	destroy();
}

/* Cards that do not answer, or not so that it makes sense, when they are brought up. */
static void refuses_cards(void)
{
	static const struct {
		const char *fault;
		int rc;
	} cases[] = {
		{ "reports-fail", -EIO },	{ "report-all-ones", -EBADMSG },
		{ "report-version", -EBADMSG }, { "mailbox-busy", -EBUSY },
		{ "mailbox-retry", -EBUSY },	{ "report-worst-zero", -EINVAL },
		{ "trim-refused", -EIO },	{ "trim-half", -EIO },
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		int rc;

		card_fault(cases[i].fault, true, 0);
		rc = bind_region();
		/* Which error a trim ends with, and a report that makes no sense, is CRAM's choice.
		 */
		ok(rc < 0 && (i >= 5 || rc == cases[i].rc) && no_node(),
		   "a card with %s is not brought up: %s", cases[i].fault, strerror(-rc));
		card_fault(cases[i].fault, false, 0);
	}

	card_fault("reports-stop", true, 0);
	ok(bind_region() == -ETIMEDOUT && no_node(), "nor is one that does not answer");
	ok(bind_region() == -EBUSY && no_node(), "nor while its mailbox waits for that");
	card_fault("reports-stop", false, 0);
	/* What was asked is answered now. */
	usleep(1000000);
}

/*
 * Interrupts
 */

static bool more_interrupts(const void *than)
{
	return cram_stat("interrupts") > *(const uint64_t *)than;
}

static void takes_interrupts(void)
{
	bool vectors = system("grep -q cxl_pci.compression /proc/interrupts") == 0;

	for (int i = 0; i < 2; i++) {
		const char *watermark = i ? "high" : "low";
		uint64_t before = cram_stat("interrupts");

		card_interrupt(watermark);
		if (vectors)
			ok(eventually(5, more_interrupts, &before),
			   "the interrupt of the %s watermark arrives", watermark);
		else
			ok(cram_stat("interrupts") == before, "no vectors, no interrupts");
	}
	ok(cram_becomes("normal", 10), "which changes nothing");
}

/*
 * The driver goes away
 */

static void unbound_while_mapped(char *memory)
{
	make_resident(memory);
	ok(unbind_region() == 0 && no_node() && !node_in("has_private_memory", cram_nid),
	   "the driver unbound, the node is gone");
	ok(packed(memory, RESIDENT, 5, 2), "what was there came home, with all that was in it");
	ok(bind_region() == 0 && has_node(), "bound again, it is there again");
}

/* Pages that the kernel holds cannot leave the card. */
static void unbound_while_held(char *memory)
{
	struct iovec vector = { memory, 4 * PAGE };
	char read_back[4 * PAGE], path[96];
	int ends[2], rc;

	make_resident(memory);
	need(pipe(ends) == 0 && vmsplice(ends[1], &vector, 1, 0) == (ssize_t)(4 * PAGE),
	     "a pipe that holds some: %m");
	need(node_of(memory) == cram_nid, "it is held on the card");

	snprintf(path, sizeof(path), "/sys/bus/cxl/devices/%s/commit", region);
	rc = write_file(path, "0");
	ok(rc == -EBUSY, "the commit of memory that is held cannot be taken back: %s",
	   strerror(-rc));
	ok(has_node() && cram_becomes("normal", 10), "the node goes on, without a driver");
	ok(packed(memory, RESIDENT, 5, 2), "with all that was in it");
	make_resident(memory + RESIDENT);
	ok(true, "and more comes to it");
	ok(bind_region() == 0 && has_node(), "bound again, the driver takes it over");
	ok(unbind_region() == 0 && has_node(), "unbound, it goes on again");
	ok(bind_region() == 0, "and again it is taken over");

	ok(read(ends[0], read_back, sizeof(read_back)) == (ssize_t)sizeof(read_back) &&
		   !memcmp(read_back, memory, sizeof(read_back)),
	   "what was held is what was written");
	close(ends[0]);
	close(ends[1]);
	ok(unbind_region() == 0 && no_node(), "no longer held, it goes with the driver");
	ok(packed(memory, RESIDENT, 5, 2) && packed(memory + RESIDENT, RESIDENT, 5, 2),
	   "and nothing is lost");
	need(bind_region() == 0 && has_node(), "bound again");
}

/* A port without interrupts hears no attention button: there the card is removed by hand. */
static void unplug(void)
{
	glob_t hotplug;

	if (glob("/sys/bus/pci_express/devices/*:pcie004", 0, NULL, &hotplug) == 0) {
		globfree(&hotplug);
		need(card_monitor("device_del", "\"id\": \"cxl-mem0\"") != NULL,
		     "the button is pressed");
		return;
	}
	cxl("echo 1 >$(readlink -f $cxl/$card)/../remove");
}

/* Five seconds after the attention button. */
static bool card_went(const void *unused)
{
	(void)unused;
	return no_node() && access(DRIVER, F_OK) == 0 &&
	       system("ls /sys/bus/auxiliary/devices | grep -q cxl_pci.compression") != 0;
}

static void unplugged_while_mapped(char *memory)
{
	make_resident(memory);
	unplug();
	ok(eventually(30, card_went, NULL), "unplugged, the card and its node go");
	ok(packed(memory, RESIDENT, 5, 2), "after what was there came home");
	ok(!node_in("has_private_memory", cram_nid), "no memory is left of it");
}

int main(void)
{
	char *memory = map_anonymous(2 * RESIDENT);

	need(madvise(memory, 2 * RESIDENT, MADV_NOHUGEPAGE) == 0, "small pages: %m");
	refuses_regions();
	strcpy(region, cxl("cxl_region $card; echo $region"));
	refuses_cards();
	ok(bind_region() == 0 && has_node(), "a card in good order comes up");
	takes_interrupts();
	unbound_while_mapped(memory);
	unbound_while_held(memory);
	unplugged_while_mapped(memory);
	return done();
}
