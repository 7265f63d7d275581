// SPDX-License-Identifier: GPL-2.0-or-later
/* A VM's cgroup; see cgroup.h. */
#include "cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CGROUPS "/sys/fs/cgroup"

/* Opens the group nearest to @path, going up, that has @file; not the root, which is the host. */
static int open_nearest(const struct sysroot *root, const char *path, const char *file)
{
	char dir[SYSROOT_PATH_MAX];
	size_t base = strlen(CGROUPS);

	if (path[0] != '/' || (size_t)snprintf(dir, sizeof(dir), CGROUPS "%s", path) >= sizeof(dir))
		return -1;
	for (char *end = dir + strlen(dir); end > dir + base + 1; end = strrchr(dir, '/')) {
		int fd;

		*end = '\0';
		if (sysroot_open_file(root, dir, O_PATH | O_DIRECTORY, &fd) < 0)
			continue;
		if (faccessat(fd, file, F_OK, 0) == 0)
			return fd;
		close(fd);
	}
	return -1;
}

/*
 * From Linux 6.11 on memory.zswap.writeback of a group holds for all below it. From 6.8 on, before
 * that, it is where a group begins, and only its own counts.
 */
static bool asks_parents(const struct sysroot *root)
{
	char release[128];
	const char *p = release;
	uint64_t major, minor;

	if (sysroot_read(root, "/proc/sys/kernel/osrelease", release, sizeof(release), NULL) < 0 ||
	    parse_u64(&p, 10, &major) < 0 || *p++ != '.' || parse_u64(&p, 10, &minor) < 0)
		return false;
	return major > 6 || (major == 6 && minor >= 11);
}

void cgroup_open(const struct sysroot *root, const char *path, struct cgroup *ret_cgroup)
{
	ret_cgroup->memory = open_nearest(root, path, "memory.current");
	ret_cgroup->cpuset = open_nearest(root, path, "cpuset.mems.effective");
	ret_cgroup->asks_parents = asks_parents(root);
}

void cgroup_close(struct cgroup *cgroup)
{
	if (cgroup->memory >= 0)
		close(cgroup->memory);
	if (cgroup->cpuset >= 0)
		close(cgroup->cpuset);
	cgroup->memory = -1;
	cgroup->cpuset = -1;
}

static int read_file(int dir, const char *name, char *buf, size_t size)
{
	const struct sysroot root = { .fd = dir };

	return dir < 0 ? -ENOENT : sysroot_read(&root, name, buf, size, NULL);
}

int cgroup_read_swapped(const struct cgroup *cgroup, uint64_t *ret_bytes)
{
	char text[64];
	int r;

	if (cgroup->memory < 0)
		return -ENOENT;
	r = read_file(cgroup->memory, "memory.swap.current", text, sizeof(text));
	if (r == -ENOENT)
		strcpy(text, "0");
	else if (r < 0)
		return r;
	return parse_counter(text, ret_bytes);
}

/* " N0=1 N2=34": the number of node @nid in a line's rest; 0: none. */
static uint64_t node_value(const char *p, int nid)
{
	uint64_t node, value;

	for (; *p == ' '; p += strcspn(p, " \n")) {
		if (*++p != 'N')
			continue;
		p++;
		if (parse_u64(&p, 10, &node) == 0 && *p == '=' && node == (uint64_t)nid) {
			p++;
			return parse_u64(&p, 10, &value) < 0 ? 0 : value;
		}
	}
	return 0;
}

/* The number of node @nid in the line of @text that begins with @key. */
static uint64_t line_value(const char *text, const char *key, int nid)
{
	size_t len = strlen(key);

	for (const char *p = text; p; p = strchr(p, '\n')) {
		p += *p == '\n';
		if (strncmp(p, key, len) == 0 && p[len] == ' ')
			return node_value(p + len, nid);
	}
	return 0;
}

static int read_counter(const struct cgroup *cgroup, const char *name, uint64_t *ret_bytes)
{
	char text[64];
	int r = read_file(cgroup->memory, name, text, sizeof(text));

	return r < 0 ? r : parse_counter(text, ret_bytes);
}

int cgroup_read_cram(const struct cgroup *cgroup, int nid, struct cgroup_cram *ret_cram)
{
	char text[4096];
	int r = read_file(cgroup->memory, "memory.cram.stat", text, sizeof(text));

	if (r < 0)
		return r;
	*ret_cram = (struct cgroup_cram){
		.sampled = line_value(text, "sampled", nid),
		.sampled_bytes = line_value(text, "sampled_bytes", nid),
		.device = line_value(text, "device_bytes", nid),
	};
	return 0;
}

int cgroup_read_cram_current(const struct cgroup *cgroup, uint64_t *ret_bytes)
{
	return read_counter(cgroup, "memory.cram.current", ret_bytes);
}

int cgroup_read_cram_max(const struct cgroup *cgroup, uint64_t *ret_bytes)
{
	return read_counter(cgroup, "memory.cram.max", ret_bytes);
}

int cgroup_write_cram_max(const struct cgroup *cgroup, uint64_t bytes)
{
	const struct sysroot dir = { .fd = cgroup->memory };
	char text[32];

	if (cgroup->memory < 0)
		return -ENOENT;
	if (bytes == UINT64_MAX)
		strcpy(text, "max");
	else
		snprintf(text, sizeof(text), "%llu", (unsigned long long)bytes);
	return sysroot_write(&dir, "memory.cram.max", text);
}

uint64_t cgroup_read_zswapped(const struct cgroup *cgroup)
{
	uint64_t value;
	char text[8192];
	const char *p;

	if (read_file(cgroup->memory, "memory.stat", text, sizeof(text)) < 0)
		return 0;
	p = strstr(text, "\nzswapped ");
	if (!p)
		return 0;
	p += strlen("\nzswapped ");
	return parse_u64(&p, 10, &value) < 0 ? 0 : value;
}

/*
 * Where the group forbids it, or one above it that its kernel asks, it may not. A kernel that
 * cannot be told not to (before 6.8), does.
 */
static bool may_write_back(const struct cgroup *cgroup)
{
	char path[16 * 3 + sizeof("memory.zswap.writeback")] = "", text[16];

	for (size_t up = 0; up < 16 && (!up || cgroup->asks_parents); up++) {
		snprintf(path + 3 * up, sizeof(path) - 3 * up, "memory.zswap.writeback");
		if (read_file(cgroup->memory, path, text, sizeof(text)) < 0)
			return true;
		if (text[0] == '0')
			return false;
		memcpy(path + 3 * up, "../", 3);
	}
	return true;
}

int cgroup_read_zswap(const struct cgroup *cgroup, struct cgroup_zswap *ret_zswap)
{
	struct cgroup_zswap zswap;
	int r;

	if (cgroup->memory < 0)
		return -ENOENT;
	r = read_counter(cgroup, "memory.zswap.current", &zswap.stored);
	if (r < 0)
		return r;
	if (read_counter(cgroup, "memory.zswap.max", &zswap.max) < 0)
		zswap.max = UINT64_MAX;
	if (read_counter(cgroup, "memory.swap.max", &zswap.swap_max) < 0)
		zswap.swap_max = UINT64_MAX;
	r = read_counter(cgroup, "memory.swap.current", &zswap.swapped);
	if (r < 0)
		return r;
	zswap.writeback = may_write_back(cgroup);
	*ret_zswap = zswap;
	return 0;
}

int cgroup_reclaim(const struct cgroup *cgroup, uint64_t bytes)
{
	const struct sysroot dir = { .fd = cgroup->memory };
	char text[32];

	if (cgroup->memory < 0)
		return -ENOENT;
	snprintf(text, sizeof(text), "%llu", (unsigned long long)bytes);
	return sysroot_write(&dir, "memory.reclaim", text);
}

int cgroup_read_on_node(const struct cgroup *cgroup, int nid, uint64_t *ret_bytes)
{
	char text[8192];
	int r = read_file(cgroup->memory, "memory.numa_stat", text, sizeof(text));

	if (r < 0)
		return r;
	/* A memfd's pages are file pages there. */
	*ret_bytes = line_value(text, "anon", nid) + line_value(text, "file", nid);
	return 0;
}

bool cgroup_may_swap(const struct cgroup *cgroup)
{
	uint64_t most;

	return read_counter(cgroup, "memory.swap.max", &most) < 0 || most > 0;
}

bool cgroup_is_shared(const struct cgroup *a, const struct cgroup *b)
{
	struct stat x, y;

	return a->memory >= 0 && b->memory >= 0 && fstat(a->memory, &x) == 0 &&
	       fstat(b->memory, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino &&
	       faccessat(a->memory, "memory.cram.max", F_OK, 0) == 0;
}

int cgroup_read_mems(const struct cgroup *cgroup, uint64_t *ret_nodes)
{
	char text[256];
	uint64_t nodes;
	int r = read_file(cgroup->cpuset, "cpuset.mems.effective", text, sizeof(text));

	if (r < 0)
		return r;
	r = parse_node_list(text, &nodes);
	if (r < 0)
		return r;
	if (!nodes)
		return -ENOENT;
	*ret_nodes = nodes;
	return 0;
}
