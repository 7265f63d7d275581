/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A recorded host for tests: a directory that stands for "/", and files in it. */
#pragma once

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static inline void recorded_make(char *dir, size_t size)
{
	snprintf(dir, size, "/tmp/cramd-test.XXXXXX");
	assert_non_null(mkdtemp(dir));
}

/*
 * Writes @text to @path below @dir; makes the directories on the way. @text NULL: only those, up to
 * the last slash of @path.
 */
static inline void recorded_put(const char *dir, const char *path, const char *text)
{
	char full[512], *slash;
	int fd;

	snprintf(full, sizeof(full), "%s%s", dir, path);
	for (slash = strchr(full + strlen(dir) + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		mkdir(full, 0755);
		*slash = '/';
	}
	if (!text)
		return;
	fd = open(full, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

/* Node 0 with processors and 16 GiB, half of them free; node 1 slow, with 16 GiB nearly unused. */
static inline void recorded_put_nodes(const char *dir)
{
	recorded_put(dir, "/sys/devices/system/node/online", "0-1\n");
	recorded_put(dir, "/sys/devices/system/node/has_memory", "0-1\n");
	recorded_put(dir, "/sys/devices/system/node/has_cpu", "0\n");
	recorded_put(dir, "/sys/devices/system/node/node0/meminfo",
		     "Node 0 MemTotal: 16777216 kB\nNode 0 MemFree: 8388608 kB\n");
	recorded_put(dir, "/sys/devices/system/node/node1/meminfo",
		     "Node 1 MemTotal: 16777216 kB\nNode 1 MemFree: 16700000 kB\n");
	recorded_put(dir, "/sys/devices/system/node/node0/distance", "10 20\n");
	recorded_put(dir, "/sys/devices/system/node/node1/distance", "20 10\n");
}

static inline int recorded_drop(const char *dir)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command);
}
