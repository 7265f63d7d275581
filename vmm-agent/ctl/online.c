// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * CXL cards brought up as nodes and taken down, step by step as an operator would do it with the
 * tools cxl and daxctl; see card.h. The two steps that libcxl of Debian 12 does not know, a region
 * of volatile memory and a driver by its name, are written to sysfs.
 */
#include <cxl/libcxl.h>
#include <daxctl/libdaxctl.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>

#include "ctl/card.h"
#include "ctl/refusal.h"
#include "util/cleanup.h"
#include "util/file.h"
#include "util/size.h"

#define DEVICES "/sys/bus/cxl/devices"
#define DRIVERS "/sys/bus/cxl/drivers"
#define DAX_WAIT_S \
	5	  /* until the kernel has made a device of a region, and udev loaded its driver */
#define UNDO_S 10 /* for memory that nobody can have much in yet */

static void drop_cxl(struct cxl_ctx **ctx)
{
	if (*ctx)
		cxl_unref(*ctx);
}

static void drop_dax(struct daxctl_ctx **ctx)
{
	if (*ctx)
		daxctl_unref(*ctx);
}

#define cleanup_cxl __attribute__((cleanup(drop_cxl)))
#define cleanup_dax __attribute__((cleanup(drop_dax)))

/* A context sees the devices that were there when it first looked: one for each look. */
static int new_context(const struct card *card, struct cxl_ctx **ret, struct cram_error *err)
{
	int r = cxl_new(ret);

	if (r < 0)
		return refused(card, r, err, "look for CXL devices", NULL);
	cxl_set_log_priority(*ret, 0); /* what fails is said by us */
	return 0;
}

static int write_word(const char *path, const char *word)
{
	cleanup_close int fd = open(path, O_WRONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = write(fd, word, strlen(word));
	return n < 0 ? -errno : 0;
}

/* ------------------------------------------------------------------ regions */

static struct cxl_memdev *find_memdev(struct cxl_ctx *ctx, const char *name)
{
	struct cxl_memdev *memdev;

	cxl_memdev_foreach(ctx, memdev) if (strcmp(cxl_memdev_get_devname(memdev), name) ==
					    0) return memdev;
	return NULL;
}

/* The window of physical addresses that leads to this card alone. */
static struct cxl_decoder *find_window(struct cxl_ctx *ctx, struct cxl_memdev *memdev)
{
	struct cxl_decoder *decoder;
	struct cxl_bus *bus;

	cxl_bus_foreach(ctx, bus) cxl_decoder_foreach(
		cxl_bus_get_port(bus),
		decoder) if (cxl_decoder_get_nr_targets(decoder) == 1 &&
			     cxl_decoder_is_volatile_capable(decoder) &&
			     cxl_decoder_get_target_by_memdev(decoder, memdev)) return decoder;
	return NULL;
}

static struct cxl_region *find_region(struct cxl_ctx *ctx, const char *name)
{
	struct cxl_decoder *decoder;
	struct cxl_region *region;
	struct cxl_bus *bus;

	cxl_bus_foreach(ctx, bus) cxl_decoder_foreach(cxl_bus_get_port(bus), decoder)
		cxl_region_foreach(decoder, region) if (strcmp(cxl_region_get_devname(region),
							       name) == 0) return region;
	return NULL;
}

/* The card's first decoder, if nothing of the card is reserved by it. */
static struct cxl_decoder *unused_decoder(struct cxl_memdev *memdev)
{
	struct cxl_endpoint *endpoint = cxl_memdev_get_endpoint(memdev);
	struct cxl_decoder *decoder =
		endpoint ? cxl_decoder_get_first(cxl_endpoint_get_port(endpoint)) : NULL;

	return decoder && cxl_decoder_get_dpa_size(decoder) == 0 ? decoder : NULL;
}

/* As cxl_decoder_create_ram_region() of libcxl 77 and later: the name is offered, and taken. */
static int create_region(struct cxl_decoder *window, char *ret_name, size_t size)
{
	cleanup_free char *text = NULL;
	char path[128];
	size_t n;
	int r;

	snprintf(path, sizeof(path), DEVICES "/%s/create_ram_region",
		 cxl_decoder_get_devname(window));
	r = cram_file_read(path, 4096, &text, &n);
	if (r < 0)
		return r;
	text[strcspn(text, "\n")] = '\0';
	r = write_word(path, text);
	if (r == 0)
		snprintf(ret_name, size, "%s", text);
	return r;
}

/* Gives a region up, and the memory of cards that it was made of. Firmware's are kept. */
static int destroy_region(const struct card *card, const char *name, struct cram_error *err)
{
	cleanup_cxl struct cxl_ctx *ctx = NULL;
	struct cxl_decoder *targets[16];
	struct cxl_memdev_mapping *mapping;
	struct cxl_region *region;
	unsigned int n = 0;
	int r = new_context(card, &ctx, err);

	if (r < 0)
		return r;
	region = find_region(ctx, name);
	if (!region)
		return 0;
	cxl_mapping_foreach(region, mapping)
	{
		struct cxl_decoder *target = cxl_mapping_get_decoder(mapping);

		if (target && cxl_decoder_is_locked(target))
			return 0;
		if (target && n < ARRAY_SIZE(targets))
			targets[n++] = target;
	}
	if (cxl_region_is_enabled(region)) {
		r = cxl_region_disable(region);
		if (r < 0)
			return refused(card, r, err, "take its region from its driver",
				       "see the kernel's log");
	}
	if (cxl_region_decode_is_committed(region) == 1) {
		r = cxl_region_decode_reset(region);
		if (r < 0)
			return addresses_refused(
				card, r, err, "take back its addresses",
				"something on it may be held: end who holds it (RDMA, VFIO), "
				"and say offline again");
	}
	r = cxl_region_delete(region);
	if (r < 0)
		return refused(card, r, err, "give up its region", "see the kernel's log");
	for (unsigned int i = 0; i < n && r >= 0; i++)
		r = cxl_decoder_set_dpa_size(targets[i], 0);
	return r < 0 ? refused(card, r, err, "free its memory", "see the kernel's log") : 0;
}

/* All of the card's memory as a committed region, which no driver has yet. */
static int shape_region(const struct card *card, const char *name, struct cram_error *err)
{
	cleanup_cxl struct cxl_ctx *ctx = NULL;
	struct cxl_decoder *decoder;
	struct cxl_memdev *memdev;
	struct cxl_region *region;
	int r = new_context(card, &ctx, err);

	if (r < 0)
		return r;
	memdev = find_memdev(ctx, card->name);
	decoder = memdev ? unused_decoder(memdev) : NULL;
	region = find_region(ctx, name);
	if (!decoder || !region)
		return cram_error_set(err, -ENODEV, card->name, NULL, "see the kernel's log",
				      "it, or its new %s, went away", name);
	r = cxl_decoder_set_mode(decoder, CXL_DECODER_MODE_RAM);
	if (r == 0)
		r = cxl_decoder_set_dpa_size(decoder, card->ram);
	if (r < 0)
		return refused(card, r, err, "reserve its memory", "see the kernel's log");
	r = cxl_region_set_interleave_granularity(region, 256);
	if (r == 0)
		r = cxl_region_set_interleave_ways(region, 1);
	if (r == 0)
		r = cxl_region_set_size(region, card->ram);
	if (r < 0) {
		/* Left to destroy_region(), which finds only decoders that are in a region. */
		cxl_decoder_set_dpa_size(decoder, 0);
		return refused(card, r, err, "find physical addresses for its memory",
			       "the window that leads to it may be full: see cxl list -D");
	}
	r = cxl_region_set_target(region, 0, decoder);
	if (r < 0) {
		cxl_decoder_set_dpa_size(decoder, 0);
		return refused(card, r, err, "put it into its region", "see the kernel's log");
	}
	r = cxl_region_decode_commit(region);
	return r < 0 ? addresses_refused(card, r, err, "have it answer to addresses",
					 "see the kernel's log")
		     : 0;
}

static int make_region(const struct card *card, char *ret_name, size_t size, struct cram_error *err)
{
	cleanup_cxl struct cxl_ctx *ctx = NULL;
	struct cxl_memdev *memdev;
	struct cxl_decoder *window;
	int r = new_context(card, &ctx, err);

	if (r < 0)
		return r;
	memdev = find_memdev(ctx, card->name);
	if (!memdev)
		return cram_error_set(err, -ENODEV, card->name, NULL, NULL, "it went away");
	if (!unused_decoder(memdev))
		return cram_error_set(err, -EBUSY, card->name, NULL,
				      "see cxl list -D; write 0 to the decoder's dpa_size",
				      "a decoder of it is in use already, by no region");
	window = find_window(ctx, memdev);
	if (!window)
		return cram_error_set(err, -ENODEV, card->name, NULL,
				      "let the firmware give it one, not interleaved",
				      "no window of physical addresses leads to it alone");
	r = create_region(window, ret_name, size);
	if (r < 0)
		return cram_error_set(err, r, card->name, NULL,
				      r == -ENOENT ? "boot a kernel with CONFIG_CXL_REGION"
						   : "see the kernel's log",
				      "%s gives no region of volatile memory: %s",
				      cxl_decoder_get_devname(window), strerror(-r));
	return shape_region(card, ret_name, err);
}

/* ------------------------------------------------------------------ drivers */

static int bind_region(const struct card *card, const char *driver, struct cram_error *err)
{
	char path[160];
	int r;

	if (strcmp(card->driver, driver) == 0)
		return 0;
	if (card->driver[0]) {
		snprintf(path, sizeof(path), DEVICES "/%s/driver/unbind", card->region);
		r = write_word(path, card->region);
		if (r < 0)
			return refused(card, r, err, "take its region from its driver", NULL);
	}
	snprintf(path, sizeof(path), DRIVERS "/%s/bind", driver);
	r = write_word(path, card->region);
	return r < 0 ? driver_refused(card, driver, r, err) : 0;
}

static struct daxctl_dev *dax_of(struct daxctl_ctx *ctx, const struct card *card)
{
	struct daxctl_region *region;
	struct daxctl_dev *dev;

	daxctl_region_foreach(ctx, region)
		daxctl_dev_foreach(region, dev) if (daxctl_dev_get_resource(dev) - card->start <
						    card->size) return dev;
	return NULL;
}

static int new_dax(const struct card *card, struct daxctl_ctx **ret, struct cram_error *err)
{
	int r = daxctl_new(ret);

	if (r < 0)
		return refused(card, r, err, "look for DAX devices", NULL);
	daxctl_set_log_priority(*ret, 0);
	return 0;
}

/* Ordinary memory that can be taken away again. */
static int use_as_ordinary(const struct card *card, struct cram_error *err)
{
	const struct timespec pause = { .tv_nsec = 100000000 };
	cleanup_dax struct daxctl_ctx *ctx = NULL;
	struct daxctl_memory *memory;
	struct daxctl_dev *dev = NULL;
	int r = 0;

	for (int i = 0; i < DAX_WAIT_S * 10 && !dev; i++) {
		if (ctx) {
			nanosleep(&pause, NULL);
			daxctl_unref(ctx);
			ctx = NULL;
		}
		r = new_dax(card, &ctx, err);
		if (r < 0)
			return r;
		dev = dax_of(ctx, card);
	}
	if (!dev)
		return cram_error_set(err, -ENODEV, card->name, NULL,
				      "modprobe dax_cxl; modprobe kmem",
				      "the kernel made no DAX device of its %s", card->region);
	memory = daxctl_dev_get_memory(dev);
	if (!memory) {
		if (daxctl_dev_is_enabled(dev))
			r = daxctl_dev_disable(dev);
		if (r >= 0)
			r = daxctl_dev_enable_ram(dev);
		if (r < 0)
			return refused(card, r, err, "use it as memory", "modprobe kmem");
		memory = daxctl_dev_get_memory(dev);
	}
	r = memory ? daxctl_memory_online(memory) : -ENODEV;
	return r < 0 ? refused(card, r, err, "bring its memory online", "see the kernel's log") : 0;
}

/* ------------------------------------------------------------------ down */

struct taking {
	const struct card *card;
	CRAM_ARRAY(char *) taken; /* state files of blocks that were online */
	struct cram_error *err;
};

static int take_block(const char *directory, bool online, void *arg)
{
	struct taking *taking = arg;
	char *path;
	int r;

	if (!online)
		return 0;
	if (asprintf(&path, "%s/state", directory) < 0)
		return -ENOMEM;
	r = write_word(path, "offline");
	if (r == 0)
		r = array_push(&taking->taken, path);
	if (r == 0)
		return 0;
	free(path);
	if (r == -EINTR || r == -EAGAIN)
		return cram_error_set(
			taking->err, -ETIMEDOUT, taking->card->name, "take its memory away",
			"give it more time with --wait, or see who has so much there: "
			"numastat -p",
			"the time is over, and %s is still in use", directory);
	if (r == -EBUSY)
		return cram_error_set(
			taking->err, r, taking->card->name, "take its memory away",
			"end who holds it: see the kernel's log",
			"something in %s cannot be moved: it is pinned (VFIO, RDMA), or the "
			"kernel's own",
			directory);
	return cram_error_set(taking->err, r, taking->card->name, "take its memory away",
			      "see the kernel's log", "%s: %s", directory, strerror(-r));
}

static void time_is_over(int signal)
{
	(void)signal;
}

/* What waits for pages in the kernel ends with a signal; one that comes too early is repeated. */
static void set_alarm(unsigned int seconds)
{
	const struct itimerval timer = {
		.it_value.tv_sec = seconds,
		.it_interval.tv_sec = seconds ? 1 : 0,
	};
	const struct sigaction action = { .sa_handler = time_is_over };

	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &timer, NULL);
}

static int disable_dax(const struct card *card, struct cram_error *err)
{
	cleanup_dax struct daxctl_ctx *ctx = NULL;
	struct daxctl_dev *dev;
	int r = new_dax(card, &ctx, err);

	if (r < 0)
		return r;
	dev = dax_of(ctx, card);
	if (dev && daxctl_dev_is_enabled(dev))
		r = daxctl_dev_disable(dev);
	return r < 0 ? refused(card, r, err, "take its memory from its driver",
			       "see the kernel's log")
		     : 0;
}

/* @region: the card's, committed or not. */
static int take_down(const struct card *card, const char *region, unsigned int seconds,
		     struct cram_error *err)
{
	struct taking taking = { .card = card, .err = err };
	int r;

	set_alarm(seconds);
	r = card_blocks(card, take_block, &taking);
	set_alarm(0);
	if (r == 0)
		r = disable_dax(card, err);
	if (r == 0)
		r = destroy_region(card, region, err);
	for (size_t i = 0; i < taking.taken.n; i++) {
		if (r < 0)
			write_word(taking.taken.v[i], "online_movable");
		free(taking.taken.v[i]);
	}
	array_free(&taking.taken);
	return r;
}

static int may_go_down(const struct card *card, struct cram_error *err)
{
	uint64_t used, room;
	char a[32], b[32];

	if (!card->region[0])
		return cram_error_set(err, -ENODATA, card->name, NULL, "see cramctl node list",
				      "it is no node");
	if (!card->online || node_in_use(card->nid, &used) < 0 || dram_to_be_had(&room) < 0 ||
	    used <= room)
		return 0;
	return cram_error_set(err, -ENOMEM, card->name, NULL, "end or move VMs away, then again",
			      "%s are in use there, and other nodes have %s to take it",
			      cram_size_format(used, a, sizeof(a)),
			      cram_size_format(room, b, sizeof(b)));
}

int card_offline(const struct card *card, unsigned int seconds, struct cram_error *err)
{
	int r = may_go_down(card, err);

	return r < 0 ? r : take_down(card, card->region, seconds, err);
}

/* ------------------------------------------------------------------ up */

static const char *driver_for(const struct card *card)
{
	return card->kind == CARD_COMPRESSES ? "cxl_compression" : "cxl_region";
}

static int may_come_up(const struct card *card, struct cram_error *err)
{
	const char *driver = driver_for(card);
	char path[128];

	if (!card->enabled)
		return cram_error_set(err, -ENODEV, card->name, NULL,
				      "modprobe cxl_mem, and see the kernel's log",
				      "the kernel's driver of memory cards does not have it");
	if (card->kind == CARD_UNKNOWN)
		return cram_error_set(err, card->error, card->name, "ask it whether it compresses",
				      card->error == -EACCES ? "run this as root"
							     : "see the kernel's log",
				      "%s", strerror(-card->error));
	if (card->ram == 0)
		return cram_error_set(err, -ENODATA, card->name, NULL,
				      "see cxl set-partition --type=ram",
				      "it has no volatile memory");
	if (card->kind == CARD_COMPRESSES && card->ways > 1)
		return cram_error_set(
			err, -EINVAL, card->name, NULL,
			"cramctl node offline it, then each card by itself online",
			"its %s is interleaved over %u cards, of which none could answer "
			"for its pages",
			card->region, card->ways);
	if (card->driver[0] && strcmp(card->driver, driver) != 0 && card->online)
		return cram_error_set(
			err, -EBUSY, card->name, NULL, "cramctl node offline it first",
			"it is node %d already by driver %s%s", card->nid, card->driver,
			card->kind == CARD_COMPRESSES ? ", and nothing guards it" : "");
	snprintf(path, sizeof(path), DRIVERS "/%s", driver);
	if (access(path, F_OK) < 0)
		return cram_error_set(err, -ENODEV, card->name, NULL,
				      card->kind == CARD_COMPRESSES
					      ? "modprobe cxl_compression, or boot a kernel with "
						"CONFIG_CRAM and CONFIG_CXL_COMPRESSION"
					      : "boot a kernel with CONFIG_CXL_REGION",
				      "this kernel has no driver %s", driver);
	return 0;
}

/* What is known of the card now. */
static int look_again(const struct card *card, struct card *ret, struct cram_error *err)
{
	struct cards cards = { 0 };
	const struct card *found;
	int r = cards_read(&cards, err);

	if (r < 0)
		return r;
	r = cards_find(&cards, card->name, &found, err);
	if (r == 0)
		*ret = *found;
	array_free(&cards);
	return r;
}

int card_online(const struct card *card, struct cram_error *err)
{
	struct card now = *card;
	char made[32] = "";
	int r = may_come_up(card, err);

	if (r < 0)
		return r;
	if (!card->region[0]) {
		r = make_region(card, made, sizeof(made), err);
		if (r == 0)
			r = look_again(card, &now, err);
	}
	if (r == 0)
		r = bind_region(&now, driver_for(card), err);
	if (r == 0 && card->kind == CARD_PLAIN)
		r = use_as_ordinary(&now, err);
	if (r < 0 && made[0]) {
		look_again(card, &now, NULL);
		take_down(&now, made, UNDO_S, NULL);
	}
	return r;
}
