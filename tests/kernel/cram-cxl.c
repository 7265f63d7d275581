/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The kernel's cxl_compression driver: which regions it takes, cards that do not answer
 * when they are brought up, interrupts, the driver and the card taken away while memory
 * is in use. What CRAM makes of a card's reports is cram-faults.c's. Needs a host with a
 * card that compresses, cxl-mem0, and one that does not.
 *
 *   cram-cxl          all of that
 *   cram-cxl torn     a card that is there no more, all of a sudden
 *   cram-cxl dead     one whose link is down when the region's driver lets go of it, before
 *                     anybody has noticed; needs a host whose ports hear nothing (pci=nomsi)
 *   cram-cxl reset    one that does not answer for a moment, as if it were being reset
 *   cram-cxl detached a region whose card left it while its memory was in use
 *   cram-cxl idle     one that is unplugged, and nobody has anything there
 *   cram-cxl held     one that is unplugged while a page in front of all others cannot leave
 *   cram-cxl busy     one whose memory is written to, and moved to, all the time that its blocks go
 *                     offline, its driver is unbound and it is removed
 *   cram-cxl regions  regions of two cards that compress, and of persistent memory; needs a
 *                     window that leads to both cards, and a card of persistent memory
 */
#include "cram.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "card.h"

#define DRIVER	 "/sys/bus/cxl/drivers/cxl_compression/"
#define RESIDENT (8UL << 20)
#define MUCH	 (160UL << 20) /* more than a block of memory */

static char region[32];

/* The last line that a script on tests/host/cxl.sh prints; ends the program if it fails. */
static char *cxl(const char *script)
{
	static char line[256];
	char command[2048];
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

static void delete_region(void)
{
	char script[128];

	snprintf(script, sizeof(script), "put %s $(dirname $(readlink -f $cxl/%s))/delete_region",
		 region, region);
	cxl(script);
}

/* The region of a card that was away holds its addresses until it is deleted. */
static void bring_up_anew(void)
{
	delete_region();
	strcpy(region, cxl("cxl_region $card; echo $region"));
	need(bind_region() == 0 && has_node(), "there again, it can be bound again");
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

/* As ordinary memory, or as private memory that nobody watches, the card could be overrun. */
static void belongs_to_no_other(void)
{
	static const char *const others[] = { "cxl_region", "cxl_mempolicy" };
	char path[96], driver[256] = "";

	for (size_t i = 0; i < COUNT(others); i++) {
		snprintf(path, sizeof(path), "/sys/bus/cxl/drivers/%s/bind", others[i]);
		ok(write_file(path, region) == -ENODEV,
		   "%s has nothing to do with a card that compresses", others[i]);
	}
	/* As where the firmware, or the kernel before, has committed the region. */
	need(write_file("/sys/bus/cxl/drivers_probe", region) == 0, "offered to all drivers");
	snprintf(path, sizeof(path), "/sys/bus/cxl/devices/%s/driver", region);
	ok(readlink(path, driver, sizeof(driver) - 1) > 0 &&
		   !strcmp(basename(driver), "cxl_compression") && has_node(),
	   "offered to all drivers, it is cxl_compression that takes it");
	need(unbind_region() == 0 && no_node(), "unbound");
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
		{ "mailbox-retry", -EBUSY },	{ "report-worst-zero", -EBADMSG },
		{ "trim-refused", -EIO },	{ "trim-half", -EIO },
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		int rc;

		card_fault(cases[i].fault, true, 0);
		rc = bind_region();
		ok(rc == cases[i].rc && no_node(), "a card with %s is not brought up: %s",
		   cases[i].fault, strerror(-rc));
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

static void on_alarm(int signal)
{
	(void)signal;
}

/* As who presses Ctrl-C when it takes long. Then the bus is scanned, and the card there again. */
static void removed_under_signals(char *memory)
{
	const struct itimerval every_ms = { { 0, 1000 }, { 0, 1000 } }, never = {};
	const struct sigaction action = { .sa_handler = on_alarm, .sa_flags = SA_RESTART };
	char path[PATH_MAX];
	int rc;

	make_resident(memory);
	strcpy(path, cxl("readlink -f $cxl/$card/../remove"));
	need(sigaction(SIGALRM, &action, NULL) == 0 && setitimer(ITIMER_REAL, &every_ms, NULL) == 0,
	     "a signal every millisecond: %m");
	rc = write_file(path, "1");
	need(setitimer(ITIMER_REAL, &never, NULL) == 0, "no more signals: %m");
	ok(rc == 0 && no_node() && !node_in("has_private_memory", cram_nid),
	   "removed by somebody who gets signals, the card and its node go");
	ok(packed(memory, RESIDENT, 5, 2), "after what was there came home");

	need(write_file("/sys/bus/pci/rescan", "1") == 0, "the bus is scanned");
	bring_up_anew();
}

/*
 * The driver of the memory device goes, and with it its decoders; the card itself stays. What
 * is there comes home first, as long as the card can be reached.
 */
static void memdev_unbound_while_mapped(char *memory)
{
	make_resident(memory);
	cxl("echo $card >/sys/bus/cxl/drivers/cxl_mem/unbind");
	ok(no_node() && !node_in("has_private_memory", cram_nid),
	   "the memory device's driver unbound, the node is gone");
	ok(packed(memory, RESIDENT, 5, 2), "after what was there came home");
	cxl("echo $card >/sys/bus/cxl/drivers/cxl_mem/bind");
	bring_up_anew();
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

static int idle(void)
{
	strcpy(region, cxl("cxl_region $card; echo $region"));
	need(bind_region() == 0 && has_node(), "the card comes up");
	need(cram_has_credit(RESIDENT, 20) && cram_bytes("resident_bytes") == 0,
	     "there is room, and nobody has any of it");
	unplug();
	ok(eventually(30, card_went, NULL), "unplugged while it is idle, the card and its node go");
	ok(!node_in("has_private_memory", cram_nid), "no memory is left of it");
	return done();
}

/*
 * The card is there no more
 */

/* The port above the card. */
static int open_port(void)
{
	char path[PATH_MAX];
	int config;

	strcpy(path, cxl("readlink -f $cxl/$card/../../config"));
	config = open(path, O_RDWR);
	need(config >= 0, "%s: %m", path);
	return config;
}

/* Of the port above the card: where its capability for PCI Express is in its config space. */
static unsigned int express_of(int config)
{
	uint8_t at, capability[2];

	need(pread(config, &at, 1, 0x34) == 1, "read the port: %m");
	while (at) {
		need(pread(config, capability, 2, at) == 2, "read the port: %m");
		if (capability[0] == 0x10)
			return at;
		at = capability[1];
	}
	need(false, "the card is in a port");
	return 0;
}

/* The slot's power goes, and the card with it: nobody has asked the kernel before. */
static void tear_out(void)
{
	const int config = open_port();
	uint16_t control;
	unsigned int at;

	at = express_of(config) + 0x18;
	need(pread(config, &control, 2, at) == 2, "read the slot: %m");
	/* Power indicator and power: off. */
	control |= 0x0700;
	need(pwrite(config, &control, 2, at) == 2, "switch the slot off: %m");
	close(config);
}

static sigjmp_buf lost;

static void on_bus_error(int signal, siginfo_t *info, void *context)
{
	(void)signal;
	(void)context;
	siglongjmp(lost, info->si_code == BUS_MCEERR_AR ? 1 : 2);
}

/* How many pages are lost, and say so. */
static size_t lost_pages(const volatile char *memory, size_t length)
{
	const struct sigaction action = { .sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO };
	volatile size_t count = 0;

	need(sigaction(SIGBUS, &action, NULL) == 0, "sigaction: %m");
	for (volatile size_t at = 0; at < length; at += PAGE) {
		switch (sigsetjmp(lost, 1)) {
		case 0:
			(void)memory[at];
			break;
		case 1:
			count++;
		}
	}
	return count;
}

/*
 * Writes to each page what is there already, a byte of it: the page has to come home for that.
 * Returns how many pages are then, without a SIGBUS, not what they were.
 */
static size_t spoiled_pages(char *memory, const char *copy, size_t length)
{
	const struct sigaction action = { .sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO };
	volatile size_t count = 0;

	need(sigaction(SIGBUS, &action, NULL) == 0, "sigaction: %m");
	for (volatile size_t at = 0; at < length; at += PAGE) {
		if (sigsetjmp(lost, 1) == 0) {
			*(volatile char *)(memory + at) = copy[at];
			if (memcmp(memory + at, copy + at, PAGE) != 0)
				count++;
		}
	}
	return count;
}

/* Wants memory swapped out; returns how many pages were written to swap. */
static size_t swapped_out(char *memory, size_t length)
{
	const uint64_t before = vmstat("pswpout");

	madvise(memory, length, MADV_PAGEOUT);
	return vmstat("pswpout") - before;
}

/* Memory whose pages another process maps as well, from share() to stop_sharing(). */
static pid_t sharer;

static void share(void)
{
	sharer = fork();
	need(sharer >= 0, "fork: %m");
	if (!sharer) {
		pause();
		_exit(0);
	}
}

static void stop_sharing(void)
{
	need(kill(sharer, SIGKILL) == 0 && waitpid(sharer, NULL, 0) == sharer, "waitpid: %m");
}

/*
 * A file's memory, packed as pack() does, on the card. What maps it privately is in
 * *@ret_private, and has no entry of a page table yet.
 */
static char *file_on_card(size_t length, uint64_t seed, unsigned int ratio, char **ret_private)
{
	const int fd = memfd_create("on the card", MFD_CLOEXEC);
	char *shared;

	need(fd >= 0 && ftruncate(fd, (off_t)length) == 0, "memfd: %m");
	shared = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	*ret_private = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	need(shared != MAP_FAILED && *ret_private != MAP_FAILED, "mmap: %m");
	close(fd);
	pack(shared, length, seed, ratio);
	need(cram_has_credit(length, 20) && move_to(shared, length, cram_nid) == 0 &&
		     pages_on(shared, length, cram_nid) == length / PAGE,
	     "a file's pages go to the card");
	return shared;
}

/* A process that writes to each page of @memory, which it shares, once there is a byte in @go. */
static pid_t begin_writer(const int *go, char *memory, const char *copy, size_t length)
{
	const pid_t writer = fork();

	need(writer >= 0, "fork: %m");
	if (!writer) {
		need(read(go[0], &(char){ 0 }, 1) == 1, "read: %m");
		_exit(spoiled_pages(memory, copy, length) != 0);
	}
	return writer;
}

static bool nothing_spoiled(pid_t writer)
{
	int status;

	return waitpid(writer, &status, 0) == writer && status == 0;
}

static int torn(char *memory)
{
	char *huge = map_huge(HUGE), *copy = map_anonymous(RESIDENT);
	const size_t quarter = RESIDENT / 4;
	char *swapped = map_anonymous(quarter), *forked = map_anonymous(quarter);
	pid_t of_forked, of_private;
	char *file, *private;
	int go[2];

	need(madvise(swapped, quarter, MADV_NOHUGEPAGE) == 0 &&
		     madvise(forked, quarter, MADV_NOHUGEPAGE) == 0 &&
		     madvise(memory, RESIDENT, MADV_DONTFORK) == 0 &&
		     madvise(swapped, quarter, MADV_DONTFORK) == 0 &&
		     madvise(huge, HUGE, MADV_DONTFORK) == 0,
	     "small pages, and which are shared: %m");
	strcpy(region, cxl("cxl_region $card; echo $region"));
	need(bind_region() == 0 && has_node(), "the card comes up");
	make_resident(memory);
	pack(huge, HUGE, 6, 2);
	need(cram_has_credit(HUGE, 20) && move_to(huge, HUGE, cram_nid) == 0 &&
		     pages_on(huge, HUGE, cram_nid) == HUGE / PAGE,
	     "and a huge page");
	pack(swapped, quarter, 8, 2);
	need(cram_has_credit(quarter, 20) && move_to(swapped, quarter, cram_nid) == 0,
	     "and some to be swapped out");
	pack(memory + RESIDENT, RESIDENT, 7, 2);
	pack(copy, RESIDENT, 5, 2);
	pack(forked, quarter, 5, 2);
	need(cram_has_credit(quarter, 20) && move_to(forked, quarter, cram_nid) == 0 &&
		     pages_on(forked, quarter, cram_nid) == quarter / PAGE,
	     "and some for two processes");
	file = file_on_card(quarter, 5, 2, &private);
	need(pipe(go) == 0, "pipe: %m");
	of_forked = begin_writer(go, forked, copy, quarter);
	of_private = begin_writer(go, private, copy, quarter);
	swap_on("64M");
	ok(swapped_out(swapped, quarter) == quarter / PAGE, "what is on it can be swapped out");

	tear_out();
	/* All at once: soon it is known, and no page of it can be used. */
	need(write(go[1], "go", 2) == 2, "write: %m");
	move_to(memory, quarter, 0);
	ok(pages_on(memory, quarter, 0) == 0, "torn out, nothing is moved home as if it were data");
	ok(swapped_out(memory + quarter, quarter) == 0, "nor swapped out");
	ok(spoiled_pages(memory + quarter, copy + quarter, RESIDENT - quarter) == 0,
	   "nor brought home by writing to it");
	ok(nothing_spoiled(of_forked), "nor copied for who writes to it of several");
	ok(nothing_spoiled(of_private), "nor for who maps a file privately");
	ok(cram_becomes("offline", 60), "the card is known to be gone");
	ok(lost_pages(memory, RESIDENT) == RESIDENT / PAGE,
	   "whoever comes to a page that was there gets a SIGBUS");
	ok(lost_pages(huge, HUGE) == HUGE / PAGE, "and to each part of a huge one");
	ok(lost_pages(forked, quarter) == quarter / PAGE &&
		   lost_pages(private, quarter) == quarter / PAGE &&
		   lost_pages(file, quarter) == quarter / PAGE,
	   "and to pages of several, and of files");
	ok(packed(memory + RESIDENT, RESIDENT, 7, 2) && packed(swapped, quarter, 8, 2),
	   "others are as they were");
	ok(meminfo_kb("HardwareCorrupted:") == (RESIDENT + HUGE + 2 * quarter) / 1024,
	   "what is lost is in /proc/meminfo");
	ok(move_to(memory + RESIDENT, PAGE, cram_nid) != 0 ||
		   pages_on(memory + RESIDENT, PAGE, cram_nid) == 0,
	   "nothing goes there any more");
	return done();
}

/* As where errors of the link have the kernel let go of the memory, and of the card later. */
static int dead(char *memory)
{
	strcpy(region, cxl("cxl_region $card; echo $region"));
	need(bind_region() == 0 && has_node(), "the card comes up");
	make_resident(memory);
	card_fault("link-down", true, 0);
	ok(unbind_region() == 0, "the driver is unbound while nobody reaches the card");
	ok(pages_on(memory, RESIDENT, 0) == 0, "nothing is moved home as if it were data");
	ok(lost_pages(memory, RESIDENT) == RESIDENT / PAGE,
	   "whoever comes to a page that was there gets a SIGBUS");
	ok(has_node() && cram_state_is("offline"), "the node stays, without a card");
	return done();
}

/*
 * A reset: nothing leads to the card for a while, neither to its config space nor to its mailbox.
 * Its memory answers all the same.
 */
struct a_reset {
	int config;
	uint8_t buses[2];
	pthread_t thread;
};

static void *end_of_reset(void *arg)
{
	const struct a_reset *r = arg;

	/* Much longer than between two reports, and less than a reset may take. */
	usleep(700000);
	return pwrite(r->config, r->buses, 2, 0x19) == 2 ? arg : NULL;
}

static void begin_reset(struct a_reset *r)
{
	const uint8_t nowhere[] = { 0xfe, 0xfe };

	card_fault("mailbox-busy", true, 0);
	need(pwrite(r->config, nowhere, 2, 0x19) == 2, "nothing leads to the card: %m");
	need(pthread_create(&r->thread, NULL, end_of_reset, r) == 0, "a thread");
}

static bool is_in_reset(const struct a_reset *r)
{
	uint8_t now[2];

	need(pread(r->config, now, 2, 0x19) == 2, "read the port: %m");
	return memcmp(now, r->buses, 2) != 0;
}

static bool more_reports(const void *than)
{
	return cram_stat("reports") > *(const uint64_t *)than;
}

static void wait_for_end(struct a_reset *r)
{
	void *ended;

	need(pthread_join(r->thread, &ended) == 0 && ended, "the card answers again");
	card_fault("mailbox-busy", false, 0);
	ok(cram_becomes("normal", 10), "the card that did not answer for a moment is not gone");
}

/*
 * Zeros are what would be read, too, of a card that is gone: whoever writes to one waits until it
 * is known. That is an answer: a reset that begins at once is one of its own, not the same that
 * lasts for too long.
 */
static void writer_of_zeros_waits(struct a_reset *r, char *zeros, const char *what)
{
	const char zero[PAGE] = {};

	begin_reset(r);
	ok(spoiled_pages(zeros, zero, PAGE) == 0 && node_of(zeros) != cram_nid && !is_in_reset(r),
	   "who writes to zeros %s waits, and has them", what);
	wait_for_end(r);
}

static int reset(char *memory)
{
	char *zeros = map_anonymous(RESIDENT), *copy = map_anonymous(RESIDENT), *private;
	struct a_reset r = { .config = open_port() };
	uint64_t reports;

	strcpy(region, cxl("cxl_region $card; echo $region"));
	need(bind_region() == 0 && has_node(), "the card comes up");
	make_resident(memory);
	need(madvise(zeros, RESIDENT, MADV_NOHUGEPAGE) == 0, "small pages: %m");
	memset(zeros, 0, RESIDENT);
	need(cram_has_credit(RESIDENT, 20) && move_to(zeros, RESIDENT, cram_nid) == 0 &&
		     pages_on(zeros, RESIDENT, cram_nid) == RESIDENT / PAGE,
	     "and pages of zeros");
	file_on_card(PAGE, 0, 0, &private);
	pack(copy, RESIDENT, 5, 2);
	need(pread(r.config, r.buses, 2, 0x19) == 2, "read the port: %m");

	begin_reset(&r);
	ok(spoiled_pages(memory, copy, RESIDENT / 2) == 0, "pages are written to meanwhile");
	wait_for_end(&r);
	reports = cram_stat("reports");
	need(eventually(10, more_reports, &reports), "the card reports again");
	ok(lost_pages(memory, RESIDENT) == 0 && packed(memory, RESIDENT, 5, 2),
	   "nothing that is there is lost");
	writer_of_zeros_waits(&r, zeros, "of its own");
	writer_of_zeros_waits(&r, private, "of a file mapped privately");
	share();
	writer_of_zeros_waits(&r, zeros + PAGE, "that another process has too");
	stop_sharing();
	make_resident(memory);
	ok(true, "more comes to it");
	return done();
}

/* What is in use stays decoded, though not by a region that knows its card. */
static int detached(char *memory)
{
	struct iovec vector = { memory, PAGE };
	char path[PATH_MAX], removal[PATH_MAX];
	int ends[2], rc;

	strcpy(region, cxl("cxl_region $card; echo $region"));
	need(bind_region() == 0 && has_node(), "the card comes up");
	make_resident(memory);
	need(pipe(ends) == 0 && vmsplice(ends[1], &vector, 1, 0) == (ssize_t)PAGE,
	     "a pipe that holds a page: %m");
	strcpy(removal, cxl("readlink -f $cxl/$card/../remove"));
	cxl("echo $card >/sys/bus/cxl/drivers/cxl_mem/unbind");
	ok(has_node() && packed(memory, RESIDENT, 5, 2),
	   "the memory device's driver unbound, a page that is held stays, and the node");
	ok(bind_region() < 0, "no driver takes a region without its card");
	close(ends[0]);
	close(ends[1]);
	ok(write_file(removal, "1") == 0 && no_node() && packed(memory, RESIDENT, 5, 2),
	   "let go, it comes home when the card is removed");
	snprintf(path, sizeof(path), "/sys/bus/cxl/devices/%s/commit", region);
	rc = write_file(path, "0");
	ok(rc == 0, "the commit of the region is taken back: %s", strerror(-rc));
	ok(write_file(path, "1") == -ENXIO, "and not given again without a card");
	snprintf(path, sizeof(path), "/sys/bus/cxl/devices/%s", region);
	delete_region();
	ok(access(path, F_OK) != 0, "the region can be deleted");
	return done();
}

/*
 * The card is unplugged, and one page cannot leave
 */

/* Of the card's pages of a file, the one in front. */
static char *first_of(char *file, size_t length)
{
	char *first = file;

	for (char *page = file; page < file + length; page += PAGE) {
		if (frame_of(page) < frame_of(first))
			first = page;
	}
	return first;
}

static bool fails_to_write(int fd, off_t at)
{
	errno = 0;
	return pwrite(fd, "f", 1, at) == -1 && errno == EIO;
}

/* A page that has failed stays in its file for as long as there is one. */
static int held(void)
{
	int fd;
	char *file = map_shared(RESIDENT, &fd), *memory = map_anonymous(MUCH), *failed;
	size_t saved = 0;
	off_t at;

	need(madvise(memory, MUCH, MADV_NOHUGEPAGE) == 0, "small pages: %m");
	strcpy(region, cxl("cxl_region $card; echo $region"));
	need(bind_region() == 0 && has_node(), "the card comes up");
	make_resident(file);
	for (size_t i = 0; i < MUCH; i += RESIDENT) {
		need(cram_has_credit(RESIDENT, 20), "there is room on the card");
		pack(memory + i, RESIDENT, 7, 16);
		need(move_to(memory + i, RESIDENT, cram_nid) == 0, "more on the card");
	}
	failed = first_of(file, RESIDENT);
	at = failed - file;
	need(frame_of(failed) * PAGE / memory_block_bytes() <
		     frame_of(memory + MUCH - PAGE) * PAGE / memory_block_bytes(),
	     "there is memory in later blocks");
	need(corrupt_frame(frame_of(failed)) == 0, "a page fails");

	ok(unbind_region() == 0 && has_node() && cram_becomes("normal", 10),
	   "the driver unbound, the node of a file's failed page stays");
	need(bind_region() == 0, "bound again");
	unplug();
	ok(cram_becomes("offline", 60), "unplugged, the card goes all the same");
	for (size_t i = 0; i < MUCH; i += RESIDENT)
		saved += packed(memory + i, RESIDENT, 7, 16);
	ok(saved == MUCH / RESIDENT, "after all came home that could");
	ok(packed(file, at, 5, 2) && fails_to_write(fd, at), "but what had failed before");
	munmap(file, RESIDENT);
	ok(fails_to_write(fd, at), "which stays so");
	close(fd);
	return done();
}

/*
 * Nobody waits for it
 */

#define WRITERS 2
#define OF_EACH (RESIDENT / PAGE)

/* Written to by one thread for each half, and moved to the card by another. */
static struct {
	char *memory;
	uint32_t version[WRITERS * OF_EACH];
	atomic_bool stop;
	atomic_ulong writes, moves, wrong;
	pthread_t threads[WRITERS + 1];
} busy;

static bool page_right(size_t page)
{
	return page_packed(busy.memory + page * PAGE, (uint64_t)busy.version[page] << 32 | page, 2);
}

static void *write_all_the_time(void *first)
{
	for (size_t i = 0; !busy.stop; i++) {
		const size_t page = (size_t)first + i % OF_EACH;

		atomic_fetch_add(&busy.wrong, !page_right(page));
		pack_page(busy.memory + page * PAGE, (uint64_t)++busy.version[page] << 32 | page,
			  2);
		atomic_fetch_add(&busy.writes, 1);
		/* Else nothing would be on the card for long. */
		if (i % 16 == 0)
			usleep(1000);
	}
	return NULL;
}

static void *move_all_the_time(void *unused)
{
	(void)unused;
	for (size_t at = 0; !busy.stop; at = (at + RESIDENT / 8) % (WRITERS * RESIDENT)) {
		/* Where there is no node that is an error, and none to this test. */
		move_to(busy.memory + at, RESIDENT / 8, cram_nid);
		atomic_fetch_add(&busy.moves, 1);
	}
	return NULL;
}

struct before {
	unsigned long writes, moves;
};

static bool goes_on(const void *since)
{
	const struct before *before = since;

	return busy.writes > before->writes + OF_EACH && busy.moves > before->moves + 8 &&
	       pages_on(busy.memory, WRITERS * RESIDENT, cram_nid) > OF_EACH / 4;
}

/* It is on the card again, and work goes on. */
static void busy_again(void)
{
	const struct before now = { busy.writes, busy.moves };

	need(eventually(30, goes_on, &now) &&
		     (cram_state_is("normal") || cram_state_is("throttled")),
	     "pages come, are written to and come again: %s, %lu writes, %lu moves", cram_state(),
	     busy.writes - now.writes, busy.moves - now.moves);
}

static bool any_in_block(const void *block)
{
	static uint64_t frames[WRITERS * OF_EACH];
	const uint64_t frames_each = memory_block_bytes() / PAGE;
	size_t there = 0;

	frames_of(busy.memory, WRITERS * RESIDENT, frames);
	for (size_t i = 0; i < COUNT(frames); i++)
		there += frames[i] / frames_each == *(const uint64_t *)block;
	return there > 0;
}

static int set_block(uint64_t block, const char *state)
{
	char path[96];

	snprintf(path, sizeof(path), "/sys/devices/system/memory/memory%llu/state",
		 (unsigned long long)block);
	return write_file(path, state);
}

/* No page is there any more then, nor comes. It may say EBUSY before. */
static void goes_offline(uint64_t block)
{
	int rc = -EBUSY;

	for (int tries = 0; tries < 10 && rc == -EBUSY; tries++)
		rc = set_block(block, "offline");
	need(rc == 0, "block %llu goes offline: %s", (unsigned long long)block, strerror(-rc));
	usleep(200000);
	need(!any_in_block(&block), "no page is in block %llu then", (unsigned long long)block);
}

/* Only one of the card's blocks is online, then only the next: each is as full as it gets. */
static void blocks_go_offline(void)
{
	uint64_t start, size, block, end;

	node_range(cram_nid, &start, &size);
	block = start / memory_block_bytes();
	end = block + size / memory_block_bytes();
	for (uint64_t other = block + 1; other < end; other++)
		goes_offline(other);
	busy_again();
	need(any_in_block(&block), "pages are in the block that is left");
	for (; block + 1 < end; block++) {
		uint64_t next = block + 1;

		need(set_block(next, "online_movable") == 0, "the next comes online again");
		goes_offline(block);
		busy_again();
		need(eventually(10, any_in_block, &next), "and pages come to it");
	}
	ok(true, "a block in use is drained and taken offline, and used when it is online again");
	for (block = start / memory_block_bytes(); block + 1 < end; block++)
		need(set_block(block, "online_movable") == 0, "it comes online again");
}

static int never_idle(void)
{
	const size_t length = WRITERS * RESIDENT;
	char path[PATH_MAX];
	size_t wrong = 0;

	busy.memory = map_anonymous(length);
	need(madvise(busy.memory, length, MADV_NOHUGEPAGE) == 0, "small pages: %m");
	for (size_t page = 0; page < WRITERS * OF_EACH; page++)
		pack_page(busy.memory + page * PAGE, page, 2);
	strcpy(region, cxl("cxl_region $card; echo $region"));
	need(bind_region() == 0 && has_node() && cram_has_credit(2 * length, 20),
	     "the card comes up");
	for (size_t i = 0; i < WRITERS; i++)
		need(pthread_create(&busy.threads[i], NULL, write_all_the_time,
				    (void *)(i * OF_EACH)) == 0,
		     "a writer");
	need(pthread_create(&busy.threads[WRITERS], NULL, move_all_the_time, NULL) == 0, "a mover");
	busy_again();

	if (blocks_by_sysfs())
		blocks_go_offline();
	for (int round = 0; round < 3; round++) {
		busy_again();
		need(unbind_region() == 0 && no_node() &&
			     pages_on(busy.memory, length, HOME) == length / PAGE,
		     "the driver is unbound, the node gone, and all at home");
		need(bind_region() == 0 && has_node(), "bound again, it is there again");
	}
	ok(true, "unbound while pages are written to and come, the card is drained");
	busy_again();
	strcpy(path, cxl("readlink -f $cxl/$card/../remove"));
	ok(write_file(path, "1") == 0 && no_node() && !node_in("has_private_memory", cram_nid),
	   "removed meanwhile, the card and its node go");
	busy.stop = true;
	for (size_t i = 0; i < COUNT(busy.threads); i++)
		pthread_join(busy.threads[i], NULL);
	for (size_t page = 0; page < WRITERS * OF_EACH; page++)
		wrong += !page_right(page);
	ok(!busy.wrong && !wrong, "and nothing was lost, at any time (%lu) or in the end (%zu)",
	   busy.wrong, wrong);
	note("%lu writes, %lu moves", busy.writes, busy.moves);
	return done();
}

/*
 * A region that is several cards', of whom none could say how full it is, and one whose
 * contents are to outlive the host.
 */
static int refuses_regions_of_other_kinds(void)
{
	strcpy(region,
	       cxl("cards=$(for m in $(cxl_cards); do ! cxl_compresses $m ||\n"
		   "  echo $(root_decoder_of $m) $m; done | sort | sed \"s/.* //\")\n"
		   "root=$(grep -l , $cxl/root0/decoder0.*/target_list); root=${root%/*}\n"
		   "r=$(cat $root/create_ram_region); put $r $root/create_ram_region\n"
		   "put 256 $cxl/$r/interleave_granularity; put 2 $cxl/$r/interleave_ways\n"
		   "for m in $cards; do d=$(endpoint_decoder_of $m)\n"
		   "  put ram $cxl/$d/mode; put $((256 << 20)) $cxl/$d/dpa_size; done\n"
		   "put $((512 << 20)) $cxl/$r/size\n"
		   "n=0; for m in $cards; do put $(endpoint_decoder_of $m) $cxl/$r/target$n; n=1; done\n"
		   "put 1 $cxl/$r/commit; echo $r"));
	ok(bind_region() == -EINVAL && no_node(), "a region interleaved over two cards is refused");
	cxl("for r in $(cxl_regions); do put 0 $cxl/$r/commit\n"
	    "put $r $(dirname $(readlink -f $cxl/$r))/delete_region; done\n"
	    "for m in $(cxl_cards); do put 0 $cxl/$(endpoint_decoder_of $m)/dpa_size; done");

	strcpy(region,
	       cxl("for m in $(cxl_cards); do test $(($(cat $cxl/$m/pmem/size))) = 0 || pmem=$m; done\n"
		   "root=$(root_decoder_of $pmem); d=$(endpoint_decoder_of $pmem)\n"
		   "r=$(cat $cxl/$root/create_pmem_region); put $r $cxl/$root/create_pmem_region\n"
		   "cat /proc/sys/kernel/random/uuid >$cxl/$r/uuid\n"
		   "put pmem $cxl/$d/mode; put $((256 << 20)) $cxl/$d/dpa_size\n"
		   "put 256 $cxl/$r/interleave_granularity; put 1 $cxl/$r/interleave_ways\n"
		   "put $((256 << 20)) $cxl/$r/size; put $d $cxl/$r/target0; put 1 $cxl/$r/commit; echo $r"));
	ok(bind_region() == -EINVAL && no_node(), "and so is one of persistent memory");
	return done();
}

int main(int argc, char **argv)
{
	char *memory = map_anonymous(2 * RESIDENT);

	need(madvise(memory, 2 * RESIDENT, MADV_NOHUGEPAGE) == 0, "small pages: %m");
	if (argc > 1 && !strcmp(argv[1], "torn"))
		return torn(memory);
	if (argc > 1 && !strcmp(argv[1], "dead"))
		return dead(memory);
	if (argc > 1 && !strcmp(argv[1], "reset"))
		return reset(memory);
	if (argc > 1 && !strcmp(argv[1], "detached"))
		return detached(memory);
	if (argc > 1 && !strcmp(argv[1], "idle"))
		return idle();
	if (argc > 1 && !strcmp(argv[1], "held"))
		return held();
	if (argc > 1 && !strcmp(argv[1], "busy"))
		return never_idle();
	if (argc > 1 && !strcmp(argv[1], "regions"))
		return refuses_regions_of_other_kinds();
	refuses_regions();
	strcpy(region, cxl("cxl_region $card; echo $region"));
	belongs_to_no_other();
	refuses_cards();
	ok(bind_region() == 0 && has_node(), "a card in good order comes up");
	takes_interrupts();
	unbound_while_mapped(memory);
	unbound_while_held(memory);
	removed_under_signals(memory);
	memdev_unbound_while_mapped(memory);
	unplugged_while_mapped(memory);
	return done();
}
