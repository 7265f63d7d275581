// SPDX-License-Identifier: GPL-2.0-or-later
/* CXL regions and the cards behind them; see cxl.h. */
#include "cxl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "util/cleanup.h"

#define DEVICES "/sys/bus/cxl/devices"
#define MEMORY	"/sys/devices/system/memory"

int cxl_ask_kernel(const struct sysroot *root, const char *memdev, uint8_t *buf, size_t size)
{
	cleanup_close int fd = -1;
	char path[64];
	int r;

	snprintf(path, sizeof(path), "/dev/cxl/%s", memdev);
	r = sysroot_open_file(root, path, O_RDWR, &fd);
	if (r < 0)
		return r;
	return cxl_get_supported_logs(fd, buf, size);
}

static int read_word(const struct sysroot *root, const char *path, char *buf, size_t size)
{
	int r = sysroot_read(root, path, buf, size, NULL);

	if (r == 0)
		buf[strcspn(buf, "\n")] = '\0';
	return r;
}

/* "0x1a0000000": how sysfs writes addresses and sizes of CXL. */
static int read_hex(const struct sysroot *root, const char *path, uint64_t *ret)
{
	char text[32];
	const char *p = text;
	int r = read_word(root, path, text, sizeof(text));

	if (r < 0)
		return r;
	if (strncmp(p, "0x", 2) == 0)
		p += 2;
	return parse_u64(&p, 16, ret);
}

static int node_of_block(int dirfd, const char *name, void *arg)
{
	const char *p = name + 4;
	uint64_t nid;

	(void)dirfd;
	if (strncmp(name, "node", 4) != 0 || parse_u64(&p, 10, &nid) < 0 || *p)
		return 0;
	*(int *)arg = (int)nid;
	return 1;
}

/* The node that memory of [@start, @start + @size) belongs to; -1 in @ret: none of it is memory. */
static int node_of(const struct sysroot *root, uint64_t start, uint64_t size, int *ret)
{
	uint64_t block;
	int r = read_hex(root, MEMORY "/block_size_bytes", &block);

	*ret = -1;
	if (r == 0 && block == 0)
		r = -EBADMSG;
	for (uint64_t at = start; r == 0 && *ret < 0 && at < start + size; at += block) {
		cleanup_close int dir = -1;
		char path[96];

		snprintf(path, sizeof(path), MEMORY "/memory%llu",
			 (unsigned long long)(at / block));
		r = sysroot_open_file(root, path, O_RDONLY | O_DIRECTORY, &dir);
		if (r == 0)
			r = for_each_entry(dir, node_of_block, ret);
		else if (r == -ENOENT)
			r = 0;
	}
	return r < 0 ? r : 0;
}

/* The card behind one target of a region: "decoder5.0" is of endpoint5, whose port is its memN. */
static int memdev_of(const struct sysroot *root, const char *region, unsigned int target,
		     char ret[CXL_MEMDEV_NAME])
{
	char path[160], decoder[64], link[SYSROOT_PATH_MAX];
	const char *p = decoder + 7, *name;
	uint64_t port;
	int r;

	snprintf(path, sizeof(path), DEVICES "/%s/target%u", region, target);
	r = read_word(root, path, decoder, sizeof(decoder));
	if (r < 0)
		return r;
	if (strncmp(decoder, "decoder", 7) != 0 || parse_u64(&p, 10, &port) < 0)
		return -EBADMSG;
	snprintf(path, sizeof(path), DEVICES "/endpoint%llu/uport", (unsigned long long)port);
	r = sysroot_readlink(root, path, link, sizeof(link));
	if (r < 0)
		return r;
	name = strrchr(link, '/');
	name = name ? name + 1 : link;
	if (strncmp(name, "mem", 3) != 0 || strlen(name) >= CXL_MEMDEV_NAME)
		return -EBADMSG;
	strcpy(ret, name);
	return 0;
}

struct walk {
	const struct sysroot *root;
	cxl_ask *ask;
	struct cxl_node *nodes;
	size_t n;
};

static void judge(const struct walk *walk, const char *region, unsigned int target,
		  struct cxl_node *node)
{
	char memdev[CXL_MEMDEV_NAME] = "";
	uint8_t answer[CXL_LOGS_MAX];
	int r = memdev_of(walk->root, region, target, memdev);

	if (r == 0)
		r = walk->ask(walk->root, memdev, answer, sizeof(answer));
	if (r >= 0 && !cxl_logs_compress(answer, (size_t)r))
		return;
	/* A card that compresses decides, whatever could not be asked beside it. */
	if (r < 0 && node->verdict == CXL_COMPRESSES)
		return;
	node->verdict = r < 0 ? CXL_UNKNOWN : CXL_COMPRESSES;
	node->error = r < 0 ? r : 0;
	strcpy(node->memdev, memdev);
}

static int look_at_region(const struct walk *walk, const char *name)
{
	uint64_t start, size, ways;
	char path[160];
	int nid, r;

	snprintf(path, sizeof(path), DEVICES "/%s/resource", name);
	r = read_hex(walk->root, path, &start);
	if (r < 0)
		return r;
	snprintf(path, sizeof(path), DEVICES "/%s/size", name);
	r = read_hex(walk->root, path, &size);
	if (r < 0)
		return r;
	r = node_of(walk->root, start, size, &nid);
	if (r < 0 || nid < 0 || (size_t)nid >= walk->n)
		return r;
	snprintf(path, sizeof(path), DEVICES "/%s/interleave_ways", name);
	r = sysroot_read_u64(walk->root, path, &ways);
	for (unsigned int i = 0; r == 0 && i < ways && i < 16; i++)
		judge(walk, name, i, &walk->nodes[nid]);
	return r;
}

static int visit(int dirfd, const char *name, void *arg)
{
	int r;

	if (strncmp(name, "region", 6) != 0 || strlen(name) > 32)
		return 0;
	r = look_at_region(arg, name);
	/* One that has gone meanwhile is none. */
	if (r < 0 && faccessat(dirfd, name, F_OK, 0) < 0 && errno == ENOENT)
		return 0;
	return r;
}

static int is_region(int dirfd, const char *name, void *arg)
{
	(void)dirfd;
	(void)arg;
	return strncmp(name, "region", 6) == 0;
}

int cxl_any(const struct sysroot *root)
{
	cleanup_close int dir = -1;
	int r = sysroot_open_file(root, DEVICES, O_RDONLY | O_DIRECTORY, &dir);

	if (r == -ENOENT)
		return 0; /* no CXL in this kernel */
	return r < 0 ? r : for_each_entry(dir, is_region, NULL);
}

int cxl_nodes(const struct sysroot *root, cxl_ask *ask, struct cxl_node *ret_nodes, size_t n)
{
	struct walk walk = { .root = root, .ask = ask, .nodes = ret_nodes, .n = n };
	cleanup_close int dir = -1;
	int r;

	memset(ret_nodes, 0, n * sizeof(*ret_nodes));
	r = sysroot_open_file(root, DEVICES, O_RDONLY | O_DIRECTORY, &dir);
	if (r == -ENOENT)
		return 0; /* no CXL in this kernel */
	if (r < 0)
		return r;
	return for_each_entry(dir, visit, &walk);
}
