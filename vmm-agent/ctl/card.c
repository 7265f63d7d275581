// SPDX-License-Identifier: GPL-2.0-or-later
/* What CXL cards there are and which nodes they are; see card.h. Changes nothing. */
#include "ctl/card.h"

#include <cxl/libcxl.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "util/cleanup.h"
#include "util/cxllogs.h"
#include "util/file.h"
#include "util/sort.h"

#define MEMORY	  "/sys/devices/system/memory"
#define NODE	  "/sys/devices/system/node"
#define SMALL_MAX 65536 /* bytes of a file of sysfs */

static void drop_context(struct cxl_ctx **ctx)
{
	if (*ctx)
		cxl_unref(*ctx);
}

/* The first word of a file of sysfs, or an empty text. */
static void first_word(const char *path, char *buf, size_t size)
{
	cleanup_free char *text = NULL;
	size_t n;

	buf[0] = '\0';
	if (cram_file_read(path, SMALL_MAX, &text, &n) == 0)
		snprintf(buf, size, "%.*s", (int)strcspn(text, " \t\n"), text);
}

/* The last part of the name that a symbolic link leads to, or an empty text. */
static void link_target(const char *path, char *buf, size_t size)
{
	char target[256];
	ssize_t n = readlink(path, target, sizeof(target) - 1);
	const char *slash;

	buf[0] = '\0';
	if (n <= 0)
		return;
	target[n] = '\0';
	slash = strrchr(target, '/');
	snprintf(buf, size, "%.*s", (int)size - 1, slash ? slash + 1 : target);
}

/* ------------------------------------------------------------------ memory blocks, nodes */

static uint64_t block_bytes(void)
{
	char text[32];

	first_word(MEMORY "/block_size_bytes", text, sizeof(text));
	return strtoull(text, NULL, 16);
}

int card_blocks(const struct card *card, visit_block *visit, void *arg)
{
	uint64_t block = block_bytes();

	for (uint64_t at = card->start; block && at < card->start + card->size; at += block) {
		char directory[96], file[128], state[32];
		int r;

		snprintf(directory, sizeof(directory), MEMORY "/memory%" PRIu64, at / block);
		snprintf(file, sizeof(file), "%s/state", directory);
		first_word(file, state, sizeof(state));
		if (!state[0])
			continue; /* the kernel has no such block */
		r = visit(directory, strcmp(state, "offline") != 0, arg);
		if (r)
			return r;
	}
	return 0;
}

/* The node that a block belongs to is the name of a link beside it. */
static int node_of_block(const char *directory)
{
	cleanup_dir DIR *dir = opendir(directory);
	struct dirent *entry;
	int nid, n;

	while (dir && (entry = readdir(dir)))
		if (sscanf(entry->d_name, "node%d%n", &nid, &n) == 1 && !entry->d_name[n])
			return nid;
	return -1;
}

static int count_block(const char *directory, bool online, void *arg)
{
	struct card *card = arg;

	card->blocks++;
	card->online += online;
	if (card->nid < 0)
		card->nid = node_of_block(directory);
	return 0;
}

int node_cram(int nid, const char *name, char *buf, size_t size)
{
	cleanup_free char *text = NULL;
	char path[128];
	size_t n;
	int r;

	snprintf(path, sizeof(path), NODE "/node%d/cram/%s", nid, name);
	r = cram_file_read(path, SMALL_MAX, &text, &n);
	if (r < 0)
		return r;
	while (n && text[n - 1] == '\n')
		text[--n] = '\0';
	snprintf(buf, size, "%s", text);
	return 0;
}

/* "Node 0 MemFree:   1234 kB" of a node's meminfo. */
static int meminfo(int nid, const char *key, uint64_t *ret_bytes)
{
	cleanup_free char *text = NULL;
	char path[96];
	const char *p;
	size_t n;
	int r;

	snprintf(path, sizeof(path), NODE "/node%d/meminfo", nid);
	r = cram_file_read(path, SMALL_MAX, &text, &n);
	if (r < 0)
		return r;
	p = strstr(text, key);
	if (!p)
		return -EBADMSG;
	*ret_bytes = strtoull(p + strlen(key), NULL, 10) << 10;
	return 0;
}

int node_in_use(int nid, uint64_t *ret_bytes)
{
	char resident[32];
	uint64_t total, free;
	int r;

	if (node_cram(nid, "resident_bytes", resident, sizeof(resident)) == 0) {
		*ret_bytes = strtoull(resident, NULL, 10);
		return 0;
	}
	r = meminfo(nid, " MemTotal:", &total);
	if (r == 0)
		r = meminfo(nid, " MemFree:", &free);
	if (r == 0)
		*ret_bytes = total > free ? total - free : 0;
	return r;
}

int dram_to_be_had(uint64_t *ret_bytes)
{
	cleanup_dir DIR *dir = opendir(NODE);
	struct dirent *entry;
	uint64_t sum = 0;

	if (!dir)
		return -errno;
	while ((entry = readdir(dir))) {
		uint64_t free, cache;
		char path[128], cpus[32];
		int nid, n;

		if (sscanf(entry->d_name, "node%d%n", &nid, &n) != 1 || entry->d_name[n])
			continue;
		snprintf(path, sizeof(path), NODE "/node%d/cpulist", nid);
		first_word(path, cpus, sizeof(cpus));
		if (cpus[0] && meminfo(nid, " MemFree:", &free) == 0 &&
		    meminfo(nid, " Inactive(file):", &cache) == 0)
			sum += free + cache;
	}
	*ret_bytes = sum;
	return 0;
}

/* ------------------------------------------------------------------ cards */

static void ask(struct card *card)
{
	cleanup_close int fd = -1;
	uint8_t answer[CXL_LOGS_MAX];
	char path[64];
	int r;

	snprintf(path, sizeof(path), "/dev/cxl/%s", card->name);
	fd = open(path, O_RDWR | O_CLOEXEC);
	r = fd < 0 ? -errno : cxl_get_supported_logs(fd, answer, sizeof(answer));
	if (r < 0) {
		card->kind = CARD_UNKNOWN;
		card->error = r;
	} else {
		card->kind = cxl_logs_compress(answer, (size_t)r) ? CARD_COMPRESSES : CARD_PLAIN;
	}
}

static void fill_region(struct card *card, struct cxl_region *region)
{
	const char *name = cxl_region_get_devname(region);
	char path[128];

	snprintf(card->region, sizeof(card->region), "%s", name);
	snprintf(path, sizeof(path), "/sys/bus/cxl/devices/%s/driver", name);
	link_target(path, card->driver, sizeof(card->driver));
	card->ways = cxl_region_get_interleave_ways(region);
	if (cxl_region_decode_is_committed(region) != 1)
		return;
	card->start = cxl_region_get_resource(region);
	card->size = cxl_region_get_size(region);
	card_blocks(card, count_block, card);
}

/* The first region that has memory of the card. */
static void find_region(struct cxl_ctx *ctx, struct cxl_memdev *memdev, struct card *card)
{
	struct cxl_memdev_mapping *mapping;
	struct cxl_decoder *root, *target;
	struct cxl_region *region;
	struct cxl_bus *bus;

	cxl_bus_foreach(ctx, bus)
	{
		cxl_decoder_foreach(cxl_bus_get_port(bus), root)
		{
			cxl_region_foreach(root, region)
			{
				cxl_mapping_foreach(region, mapping)
				{
					target = cxl_mapping_get_decoder(mapping);
					if (!target || cxl_decoder_get_memdev(target) != memdev)
						continue;
					fill_region(card, region);
					return;
				}
			}
		}
	}
}

static bool by_name(const void *a, const void *b, const void *context)
{
	(void)context;
	return strverscmp(((const struct card *)a)->name, ((const struct card *)b)->name) < 0;
}

int cards_read(struct cards *ret, struct cram_error *err)
{
	__attribute__((cleanup(drop_context))) struct cxl_ctx *ctx = NULL;
	struct cxl_memdev *memdev;
	struct cards cards = { 0 };
	int r = cxl_new(&ctx);

	if (r < 0)
		return cram_error_set(err, r, NULL, "look for CXL cards", NULL, "%s", strerror(-r));
	cxl_set_log_priority(ctx, 0); /* what fails is said by us */
	cxl_memdev_foreach(ctx, memdev)
	{
		struct card card = {
			.serial = cxl_memdev_get_serial(memdev),
			.ram = cxl_memdev_get_ram_size(memdev),
			.near = cxl_memdev_get_numa_node(memdev),
			.enabled = cxl_memdev_is_enabled(memdev),
			.nid = -1,
		};
		const char *firmware = cxl_memdev_get_firmware_verison(memdev);

		snprintf(card.name, sizeof(card.name), "%s", cxl_memdev_get_devname(memdev));
		snprintf(card.pci, sizeof(card.pci), "%s", cxl_memdev_get_host(memdev));
		snprintf(card.firmware, sizeof(card.firmware), "%s", firmware ? firmware : "");
		ask(&card);
		find_region(ctx, memdev, &card);
		if (array_push(&cards, card) < 0) {
			array_free(&cards);
			return cram_error_set(err, -ENOMEM, NULL, "look for CXL cards", NULL,
					      "out of memory");
		}
	}
	if (cards.n)
		cram_sort(cards.v, cards.n, sizeof(*cards.v), by_name, NULL);
	*ret = cards;
	return 0;
}

/* "0x1": a serial number; "1", "node1": a node. What a word is, is told by its form alone. */
static bool fits(const struct card *card, const char *word)
{
	char *end;
	unsigned long long number;

	if (strcmp(card->name, word) == 0)
		return true;
	if (strncmp(word, "0x", 2) == 0 || strncmp(word, "0X", 2) == 0) {
		number = strtoull(word, &end, 16);
		return end != word + 2 && !*end && number == card->serial;
	}
	if (strncmp(word, "node", 4) == 0)
		word += 4;
	if (*word < '0' || *word > '9')
		return false;
	number = strtoull(word, &end, 10);
	return !*end && card->nid >= 0 && number == (unsigned long long)card->nid;
}

int cards_find(const struct cards *cards, const char *word, const struct card **ret,
	       struct cram_error *err)
{
	const struct card *found = NULL;

	for (size_t i = 0; i < cards->n; i++) {
		const struct card *card = &cards->v[i];

		if (!fits(card, word))
			continue;
		/* Cards that share a region are one node, and one region to be taken away. */
		if (found && (strcmp(found->region, card->region) != 0 || !card->region[0]))
			return cram_error_set(err, -ENOTUNIQ, word, NULL, "name the card",
					      "both %s and %s are meant", found->name, card->name);
		if (!found)
			found = card;
	}
	if (!found && cards->n == 0)
		return cram_error_set(err, -ENOENT, word, NULL,
				      "see whether the kernel has found it: dmesg, lspci",
				      "this host has no CXL memory card");
	if (!found)
		return cram_error_set(err, -ENOENT, word, NULL, "see cramctl node list",
				      "no CXL memory card has that name, serial number or node");
	*ret = found;
	return 0;
}
