// SPDX-License-Identifier: GPL-2.0-or-later
/* NUMA nodes, pressure, cgroup counters; see nodes.h. */
#include "nodes.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pages.h"
#include "util/cleanup.h"

#define NODE_DIR "/sys/devices/system/node"

/* "Node 0 MemTotal:  131072 kB": the value of @key, in bytes. */
static int meminfo_value(const char *text, const char *key, uint64_t *ret_bytes)
{
	const char *p = strstr(text, key);
	uint64_t kib;

	if (!p)
		return -EBADMSG;
	p += strlen(key);
	p += strspn(p, " ");
	if (parse_u64(&p, 10, &kib) < 0 || strncmp(p, " kB\n", 4) != 0 || kib > UINT64_MAX >> 10)
		return -EBADMSG;
	*ret_bytes = kib << 10;
	return 0;
}

/* A node without page cache of its own kind has no such line. */
static uint64_t meminfo_if_there(const char *text, const char *key)
{
	uint64_t bytes;

	return meminfo_value(text, key, &bytes) < 0 ? 0 : bytes;
}

/* @fd: as sysroot_read_again() has it; NULL: nothing stays open. */
static int read_meminfo(const struct sysroot *root, struct node *node, int *fd)
{
	char path[96], buf[8192];
	uint64_t total, free;
	int r;

	snprintf(path, sizeof(path), NODE_DIR "/node%d/meminfo", node->nid);
	r = fd ? sysroot_read_again(root, path, fd, buf, sizeof(buf), NULL)
	       : sysroot_read(root, path, buf, sizeof(buf), NULL);
	if (r < 0)
		return r;
	if (meminfo_value(buf, " MemTotal:", &total) < 0 ||
	    meminfo_value(buf, " MemFree:", &free) < 0)
		return -EBADMSG;
	node->total = total;
	node->free = free;
	node->inactive_file = meminfo_if_there(buf, " Inactive(file):");
	node->dirty = meminfo_if_there(buf, " Dirty:") + meminfo_if_there(buf, " Writeback:");
	return 0;
}

static int read_mask(const struct sysroot *root, const char *name, uint64_t *ret_mask)
{
	char path[96], buf[512];
	int r;

	snprintf(path, sizeof(path), NODE_DIR "/%s", name);
	r = sysroot_read(root, path, buf, sizeof(buf), NULL);
	if (r < 0)
		return r;
	return parse_node_list(buf, ret_mask);
}

static int read_distance(const struct sysroot *root, struct node *node, uint64_t online)
{
	char path[96], buf[512];
	const char *p = buf;
	int r;

	snprintf(path, sizeof(path), NODE_DIR "/node%d/distance", node->nid);
	r = sysroot_read(root, path, buf, sizeof(buf), NULL);
	if (r < 0)
		return r;
	for (int nid = 0; nid < NODES_MAX; nid++) {
		uint64_t value;

		if (!(online & UINT64_C(1) << nid))
			continue;
		if (parse_u64(&p, 10, &value) < 0 || value > UINT8_MAX)
			return -EBADMSG;
		node->distance[nid] = (uint8_t)value;
		p += strspn(p, " ");
	}
	return *p == '\n' || !*p ? 0 : -EBADMSG;
}

/*
 * Private nodes, and those of them that user space cannot name. Our kernel lists them. Others list
 * what is common instead, and what user space may name where it may name any (has_user_memory).
 */
static int read_private(const struct sysroot *root, uint64_t *ret_private, uint64_t *ret_no_policy)
{
	uint64_t common, user;
	int r;

	*ret_no_policy = 0;
	r = read_mask(root, "has_private_memory", ret_private);
	if (r != -ENOENT)
		return r;
	*ret_private = 0;
	r = read_mask(root, "has_common_memory", &common);
	if (r < 0)
		return r == -ENOENT ? 0 : r; /* a kernel that knows no such nodes */
	r = read_mask(root, "has_user_memory", &user);
	if (r == -ENOENT)
		user = 0;
	else if (r < 0)
		return r;
	*ret_private = ~common;
	*ret_no_policy = ~common & ~user;
	return 0;
}

struct pools {
	const struct sysroot *root;
	char dir[96];
	uint64_t bytes;
};

/* Entry @name is of one size of page: "hugepages-2048kB". */
static int add_pool(int dirfd, const char *name, void *arg)
{
	struct pools *pools = arg;
	const char *p = name;
	uint64_t kib, pages;
	char path[192];

	(void)dirfd;
	if (strncmp(p, "hugepages-", 10) != 0)
		return 0;
	p += 10;
	snprintf(path, sizeof(path), "%s/%.40s/nr_hugepages", pools->dir, name);
	if (parse_u64(&p, 10, &kib) == 0 && sysroot_read_u64(pools->root, path, &pages) == 0)
		pools->bytes += (kib << 10) * pages;
	return 0;
}

uint64_t hugepages_of_node(const struct sysroot *root, int nid)
{
	struct pools pools = { .root = root };
	cleanup_close int fd = -1;

	snprintf(pools.dir, sizeof(pools.dir), NODE_DIR "/node%d/hugepages", nid);
	/* Without such a directory the kernel has no huge pages. */
	if (sysroot_open_file(root, pools.dir, O_RDONLY | O_DIRECTORY, &fd) < 0)
		return 0;
	for_each_entry(fd, add_pool, &pools);
	return pools.bytes;
}

void hugepages_read(const struct sysroot *root, uint64_t size, uint64_t *ret_free,
		    uint64_t *ret_more)
{
	static const char *const names[] = { "free_hugepages", "resv_hugepages",
					     "nr_overcommit_hugepages", "surplus_hugepages" };
	uint64_t n[ARRAY_SIZE(names)] = {};
	char path[128];

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		snprintf(path, sizeof(path), "/sys/kernel/mm/hugepages/hugepages-%" PRIu64 "kB/%s",
			 size >> 10, names[i]);
		if (sysroot_read_u64(root, path, &n[i]) < 0)
			n[i] = 0;
	}
	*ret_free = n[0] > n[1] ? (n[0] - n[1]) * size : 0;
	*ret_more = n[2] > n[3] ? (n[2] - n[3]) * size : 0;
}

int nodes_read(const struct sysroot *root, struct nodes *ret_nodes)
{
	uint64_t online, has_memory, has_cpu, is_private, no_policy;
	struct nodes nodes = {};
	int r;

	r = read_mask(root, "online", &online);
	if (r < 0)
		return r;
	r = read_mask(root, "has_memory", &has_memory);
	if (r < 0)
		return r;
	r = read_mask(root, "has_cpu", &has_cpu);
	if (r < 0)
		return r;
	r = read_private(root, &is_private, &no_policy);
	if (r < 0)
		return r;
	for (int nid = 0; nid < NODES_MAX; nid++) {
		struct node *node = &nodes.v[nodes.n];

		if (!(online & UINT64_C(1) << nid))
			continue;
		node->nid = nid;
		node->has_memory = has_memory & UINT64_C(1) << nid;
		node->has_cpu = has_cpu & UINT64_C(1) << nid;
		r = read_meminfo(root, node, NULL);
		if (r < 0)
			return r;
		/* One without memory of any kind is on neither list. */
		node->is_private = !node->has_memory && node->total && is_private >> nid & 1;
		node->no_policy = node->is_private && no_policy >> nid & 1;
		r = read_distance(root, node, online);
		if (r < 0)
			return r;
		nodes.n++;
	}
	*ret_nodes = nodes;
	return 0;
}

void nodes_refresh(const struct sysroot *root, struct nodes *nodes, int fds[NODES_MAX])
{
	for (size_t i = 0; i < nodes->n; i++)
		if (read_meminfo(root, &nodes->v[i], &fds[nodes->v[i].nid]) < 0)
			nodes->v[i].total = nodes->v[i].free = 0;
}

/* "Node 0, zone   Normal" begins a zone; "        low      1234" is in pages. */
int nodes_low_watermarks(const struct sysroot *root, uint64_t ret_low[NODES_MAX])
{
	uint64_t low[NODES_MAX] = {}, nid = NODES_MAX, pages;
	struct line_reader reader;
	cleanup_close int fd = -1;
	char *line;
	int r;

	r = sysroot_open_file(root, "/proc/zoneinfo", O_RDONLY, &fd);
	if (r < 0)
		return r;
	line_reader_init(&reader, fd);
	while ((r = line_reader_next(&reader, &line)) > 0) {
		const char *p = line + strspn(line, " ");

		if (strncmp(p, "Node ", 5) == 0) {
			p += 5;
			if (parse_u64(&p, 10, &nid) < 0 || *p != ',')
				return -EBADMSG;
		} else if (strncmp(p, "low ", 4) == 0 && nid < NODES_MAX) {
			p += 4;
			p += strspn(p, " ");
			if (parse_u64(&p, 10, &pages) < 0 || *p || pages > UINT64_MAX >> 20)
				return -EBADMSG;
			low[nid] += pages * PAGE_BYTES;
		}
	}
	if (r < 0)
		return r;
	memcpy(ret_low, low, sizeof(low));
	return 0;
}

const struct node *nodes_find(const struct nodes *nodes, int nid)
{
	for (size_t i = 0; i < nodes->n; i++)
		if (nodes->v[i].nid == nid)
			return &nodes->v[i];
	return NULL;
}

/* A line of /proc/swaps. */
struct swap_area {
	bool zram;
	uint64_t size, used; /* bytes */
	long priority;	     /* the highest is filled first */
};

static const char *swaps_column(const char *line, int n)
{
	for (; n > 0; n--) {
		line += strcspn(line, " \t");
		line += strspn(line, " \t");
	}
	return line;
}

static uint64_t swaps_bytes(const char *line, int n)
{
	const char *p = swaps_column(line, n);
	uint64_t kib;

	return parse_u64(&p, 10, &kib) < 0 || kib > UINT64_MAX >> 10 ? 0 : kib << 10;
}

/* The next area of swap; lines that are none are passed over. */
static bool next_swap_area(struct line_reader *reader, struct swap_area *ret_area)
{
	char *line;

	while (line_reader_next(reader, &line) > 0) {
		ret_area->size = swaps_bytes(line, 2);
		ret_area->used = swaps_bytes(line, 3);
		ret_area->priority = strtol(swaps_column(line, 4), NULL, 10);
		ret_area->zram = strncmp(line, "/dev/zram", 9) == 0;
		if (ret_area->size && ret_area->used <= ret_area->size)
			return true;
	}
	return false;
}

void zram_swap_read(const struct sysroot *root, uint64_t *ret_free, uint64_t *ret_used)
{
	struct line_reader reader;
	struct swap_area area;
	cleanup_close int fd = -1;

	*ret_free = *ret_used = 0;
	if (sysroot_open_file(root, "/proc/swaps", O_RDONLY, &fd) < 0)
		return;
	line_reader_init(&reader, fd);
	while (next_swap_area(&reader, &area)) {
		if (!area.zram)
			continue;
		*ret_used += area.used;
		*ret_free += area.size - area.used;
	}
}

uint64_t disk_swap_free(const struct sysroot *root)
{
	long zram = LONG_MIN;
	uint64_t bytes = 0;

	for (int pass = 0; pass < 2; pass++) {
		struct line_reader reader;
		struct swap_area area;
		cleanup_close int fd = -1;

		if (sysroot_open_file(root, "/proc/swaps", O_RDONLY, &fd) < 0)
			return 0;
		line_reader_init(&reader, fd);
		while (next_swap_area(&reader, &area)) {
			if (pass == 0 && area.zram && area.used < area.size)
				zram = area.priority > zram ? area.priority : zram;
			if (pass == 1 && !area.zram && area.priority > zram)
				bytes += area.size - area.used;
		}
	}
	return bytes;
}

/* "some avg10=1.23 avg60=0.00 avg300=0.00 total=456" behind the word @which. */
static int pressure_line(const char *text, const char *which, uint32_t *ret_avg10,
			 uint64_t *ret_total)
{
	const char *p = strstr(text, which), *total;
	uint64_t whole, cents;

	if (!p)
		return -EBADMSG;
	p += strlen(which);
	if (strncmp(p, " avg10=", 7) != 0)
		return -EBADMSG;
	p += 7;
	if (parse_u64(&p, 10, &whole) < 0 || *p++ != '.' || parse_u64(&p, 10, &cents) < 0 ||
	    whole > 100 || cents > 99)
		return -EBADMSG;
	total = strstr(p, " total=");
	if (!total)
		return -EBADMSG;
	total += 7;
	if (parse_u64(&total, 10, ret_total) < 0)
		return -EBADMSG;
	*ret_avg10 = (uint32_t)(whole * 100 + cents);
	return 0;
}

int pressure_read(const struct sysroot *root, const char *path, struct pressure *ret_pressure)
{
	struct pressure pressure;
	char buf[512];
	int r;

	r = sysroot_read(root, path, buf, sizeof(buf), NULL);
	if (r < 0)
		return r;
	if (pressure_line(buf, "some", &pressure.some_avg10, &pressure.some_total) < 0 ||
	    pressure_line(buf, "full", &pressure.full_avg10, &pressure.full_total) < 0)
		return -EBADMSG;
	*ret_pressure = pressure;
	return 0;
}
