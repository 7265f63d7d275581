// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Reading and atomic replacing of small regular files.
 */
#include "util/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "util/cleanup.h"

/* Ending of a file that is to replace another: nobody else names one so. */
#define TEMPORARY_MARK ".new-"
#define TEMPORARY      TEMPORARY_MARK "XXXXXX"

int cram_file_read(const char *path, size_t max, char **ret_data, size_t *ret_size)
{
	cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	cleanup_free char *data = NULL;
	size_t n = 0, cap = 4096;

	if (fd < 0)
		return -errno;
	data = malloc(cap);
	if (!data)
		return -ENOMEM;
	for (;;) {
		ssize_t r = read(fd, data + n, cap - n - 1);

		if (r < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		if (r == 0)
			break;
		n += (size_t)r;
		if (n > max)
			return -EFBIG;
		if (n + 1 == cap) {
			char *p = realloc(data, cap * 2);

			if (!p)
				return -ENOMEM;
			data = p;
			cap *= 2;
		}
	}
	data[n] = '\0';
	*ret_data = TAKE_PTR(data);
	*ret_size = n;
	return 0;
}

static int write_all(int fd, const char *data, size_t size)
{
	while (size > 0) {
		ssize_t r = write(fd, data, size);

		if (r < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		data += r;
		size -= (size_t)r;
	}
	return 0;
}

/* The directory that @path is in. -1 with errno. */
static int open_directory(const char *path)
{
	char dir[PATH_MAX];
	char *slash;

	snprintf(dir, sizeof(dir), "%s", path);
	slash = strrchr(dir, '/');
	if (!slash)
		strcpy(dir, ".");
	else if (slash == dir)
		dir[1] = '\0';
	else
		*slash = '\0';
	return open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static int sync_directory(const char *path)
{
	cleanup_close int fd = open_directory(path);

	if (fd < 0 || fsync(fd) < 0)
		return -errno;
	return 0;
}

int cram_file_replace(const char *path, const void *data, size_t size, unsigned int mode)
{
	cleanup_close int fd = -1;
	char tmp[PATH_MAX];
	int r;

	if (snprintf(tmp, sizeof(tmp), "%s" TEMPORARY, path) >= (int)sizeof(tmp))
		return -ENAMETOOLONG;
	fd = mkostemp(tmp, O_CLOEXEC);
	if (fd < 0)
		return -errno;
	r = write_all(fd, data, size);
	if (r == 0 && fchmod(fd, mode) < 0)
		r = -errno;
	/* Without this a power cut can leave an empty file under the final name. */
	if (r == 0 && fsync(fd) < 0)
		r = -errno;
	if (r == 0 && rename(tmp, path) < 0)
		r = -errno;
	if (r < 0) {
		unlink(tmp);
		return r;
	}
	return sync_directory(path);
}

int cram_directory_make(const char *path)
{
	char part[PATH_MAX];

	if (snprintf(part, sizeof(part), "%s", path) >= (int)sizeof(part))
		return -ENAMETOOLONG;
	for (char *slash = part + 1; (slash = strchr(slash, '/')); slash++) {
		*slash = '\0';
		if (mkdir(part, 0755) < 0 && errno != EEXIST)
			return -errno;
		*slash = '/';
	}
	return mkdir(path, 0700) < 0 && errno != EEXIST ? -errno : 0;
}

void cram_file_sweep(const char *path)
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	size_t n = strlen(name);
	int fd = open_directory(path);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (!dir) {
		if (fd >= 0)
			close(fd);
		return;
	}
	while ((entry = readdir(dir))) {
		const char *end = entry->d_name + n;

		if (strncmp(entry->d_name, name, n) == 0 && strlen(end) == strlen(TEMPORARY) &&
		    strncmp(end, TEMPORARY_MARK, strlen(TEMPORARY_MARK)) == 0)
			unlinkat(fd, entry->d_name, 0);
	}
	closedir(dir);
}
