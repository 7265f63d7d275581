// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Everything cramd reads from procfs, sysfs and QEMU's command line, given as arbitrary bytes: no
 * crash, no read outside the input, and nothing handed out when it says the input is bad.
 * The first byte chooses the reader.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cramd/sense/cgroup.h"
#include "cramd/sense/nodes.h"
#include "cramd/sense/pages.h"
#include "cramd/sense/proc.h"
#include "cramd/sense/qemu.h"
#include "cramd/sense/ramblock.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A host whose interesting file is the input. */
static char dir[] = "/tmp/cramd-fuzz.XXXXXX";
static struct sysroot root = { .fd = -1 };

static void remove_host(void)
{
	char command[64];

	snprintf(command, sizeof(command), "rm -rf %s", dir);
	if (system(command) != 0)
		abort();
}

static void make_host(void)
{
	static const char *const dirs[] = {
		"proc",
		"proc/7",
		"sys",
		"sys/devices",
		"sys/devices/system",
		"sys/devices/system/node",
		"sys/devices/system/node/node0",
		"sys/fs",
		"sys/fs/cgroup",
		"sys/fs/cgroup/g",
	};

	if (!mkdtemp(dir))
		abort();
	atexit(remove_host);
	if (sysroot_open(dir, &root) < 0)
		abort();
	for (size_t i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++)
		if (mkdirat(root.fd, dirs[i], 0755) < 0)
			abort();
}

static void put(const char *path, const void *data, size_t size)
{
	int fd = openat(root.fd, path, O_WRONLY | O_CREAT | O_TRUNC, 0644);

	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		abort();
	close(fd);
}

static void whole_files(const uint8_t *data, size_t size)
{
	static const char *const node = "sys/devices/system/node/";
	static const char *const lists[] = { "online", "has_memory", "has_cpu" };
	struct qemu_cmdline cmdline = { .n_backends = 1, .backends[0].size = 4096 };
	struct cgroup group;
	struct proc_status status;
	struct ram_layout layout;
	struct pressure pressure;
	struct nodes nodes;
	char cgroup[64];
	uint64_t number;

	put("proc/7/maps", data, size);
	put("proc/7/status", data, size);
	put("proc/7/stat", data, size);
	put("proc/7/cgroup", data, size);
	put("proc/7/pressure", data, size);
	put("sys/fs/cgroup/g/memory.current", data, size);
	put("sys/fs/cgroup/g/memory.swap.current", data, size);
	put("sys/fs/cgroup/g/cpuset.mems.effective", data, size);
	for (size_t i = 0; i < 3; i++) {
		char path[64];

		snprintf(path, sizeof(path), "%s%s", node, lists[i]);
		if (size % 2)
			put(path, "0\n", 2);
		else
			put(path, data, size);
	}
	put("sys/devices/system/node/node0/meminfo", data, size);
	put("sys/devices/system/node/node0/distance", data, size);
	if (ram_layout_read(&root, 7, &cmdline, &layout) == 0 &&
	    (layout.blocks.n > RAMBLOCKS_MAX || (layout.reason && layout.blocks.n)))
		abort();
	proc_read_status(&root, 7, &status);
	proc_read_guest_time(&root, 7, &number);
	cgroup_open(&root, "/g", &group);
	cgroup_read_swapped(&group, &number);
	if (cgroup_read_mems(&group, &number) == 0 && !number)
		abort();
	cgroup_close(&group);
	if (proc_read_cgroup(&root, 7, cgroup, sizeof(cgroup)) == 0 && cgroup[0] != '/')
		abort();
	pressure_read(&root, "/proc/7/pressure", &pressure);
	if (nodes_read(&root, &nodes) == 0 && nodes.n > NODES_MAX)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text;

	if (root.fd < 0)
		make_host();
	if (size < 1)
		return 0;
	text = malloc(size);
	if (!text)
		return 0;
	memcpy(text, data + 1, size - 1);
	text[size - 1] = '\0';
	switch (data[0] % 4) {
	case 0: {
		struct proc_map map;

		if (proc_parse_map(text, &map) == 0 && map.end <= map.start)
			abort();
		break;
	}
	case 1: {
		struct proc_numa numa;

		proc_parse_numa(text, &numa);
		break;
	}
	case 2: {
		struct qemu_cmdline cmdline;

		if (qemu_cmdline_parse(text, size, &cmdline) == 0 &&
		    cmdline.n_backends > QEMU_BACKENDS_MAX)
			abort();
		break;
	}
	default:
		whole_files(data + 1, size - 1);
	}
	free(text);
	return 0;
}
