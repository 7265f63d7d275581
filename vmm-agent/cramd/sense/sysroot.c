// SPDX-License-Identifier: GPL-2.0-or-later
/* Small kernel files below a root prefix; see sysroot.h. */
#include "sysroot.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Every lookup is made relative to the root's descriptor, so the leading slash has to go. */
const char *sysroot_below(const char *path)
{
	while (*path == '/')
		path++;
	return *path ? path : ".";
}

int sysroot_open(const char *prefix, struct sysroot *ret_root)
{
	int fd = open(prefix, O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	ret_root->fd = fd;
	return 0;
}

void sysroot_close(struct sysroot *root)
{
	if (root->fd >= 0)
		close(root->fd);
	root->fd = -1;
}

int sysroot_open_file(const struct sysroot *root, const char *path, int flags, int *ret_fd)
{
	int fd = openat(root->fd, sysroot_below(path), flags | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	*ret_fd = fd;
	return 0;
}

static int read_all(int fd, char *buf, size_t size, size_t *ret_len)
{
	size_t len = 0;

	for (;;) {
		ssize_t n = read(fd, buf + len, size - len);

		if (n < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		if (n == 0)
			break;
		len += (size_t)n;
		if (len == size)
			return -EFBIG;
	}
	buf[len] = '\0';
	if (ret_len)
		*ret_len = len;
	return 0;
}

int sysroot_read(const struct sysroot *root, const char *path, char *buf, size_t size,
		 size_t *ret_len)
{
	int fd, r;

	r = sysroot_open_file(root, path, O_RDONLY, &fd);
	if (r < 0)
		return r;
	r = read_all(fd, buf, size, ret_len);
	close(fd);
	return r;
}

int sysroot_read_again(const struct sysroot *root, const char *path, int *fd, char *buf,
		       size_t size, size_t *ret_len)
{
	bool kept = *fd >= 0;
	int r = kept ? 0 : sysroot_open_file(root, path, O_RDONLY, fd);

	if (r == 0 && kept && lseek(*fd, 0, SEEK_SET) < 0)
		r = -errno;
	if (r == 0)
		r = read_all(*fd, buf, size, ret_len);
	if (r == 0 || *fd < 0)
		return r;
	close(*fd);
	*fd = -1;
	/* What it was the file of may be there again as another. */
	return kept ? sysroot_read_again(root, path, fd, buf, size, ret_len) : r;
}

int sysroot_read_u64(const struct sysroot *root, const char *path, uint64_t *ret_value)
{
	char buf[64];
	int r;

	r = sysroot_read(root, path, buf, sizeof(buf), NULL);
	return r < 0 ? r : parse_counter(buf, ret_value);
}

uint64_t sysroot_meminfo(const struct sysroot *root, const char *key)
{
	char buf[4096];
	const char *p;
	uint64_t kib;

	if (sysroot_read(root, "/proc/meminfo", buf, sizeof(buf), NULL) < 0)
		return 0;
	p = strstr(buf, key);
	if (!p)
		return 0;
	p += strlen(key);
	p += strspn(p, " ");
	return parse_u64(&p, 10, &kib) < 0 ? 0 : kib * 1024;
}

int sysroot_write(const struct sysroot *root, const char *path, const char *text)
{
	size_t len = strlen(text);
	ssize_t n;
	int fd, r;

	r = sysroot_open_file(root, path, O_WRONLY, &fd);
	if (r < 0)
		return r;
	do {
		n = write(fd, text, len);
	} while (n < 0 && errno == EINTR);
	r = n < 0 ? -errno : (size_t)n == len ? 0 : -EIO;
	close(fd);
	return r;
}

bool sysroot_exists(const struct sysroot *root, const char *path)
{
	return faccessat(root->fd, sysroot_below(path), F_OK, 0) == 0;
}

int sysroot_readlink(const struct sysroot *root, const char *path, char *buf, size_t size)
{
	ssize_t n = readlinkat(root->fd, sysroot_below(path), buf, size);

	if (n < 0)
		return -errno;
	if ((size_t)n >= size)
		return -ENAMETOOLONG;
	buf[n] = '\0';
	return 0;
}

int for_each_entry(int dirfd, int (*each)(int dirfd, const char *name, void *arg), void *arg)
{
	_Alignas(struct dirent64) char buf[8192];

	for (;;) {
		ssize_t n = getdents64(dirfd, buf, sizeof(buf));

		if (n <= 0)
			return n < 0 ? -errno : 0;
		for (ssize_t at = 0; at < n;) {
			const struct dirent64 *entry = (const struct dirent64 *)(buf + at);
			int r;

			at += entry->d_reclen;
			if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
				continue;
			r = each(dirfd, entry->d_name, arg);
			if (r)
				return r;
		}
	}
}

void line_reader_init(struct line_reader *reader, int fd)
{
	reader->fd = fd;
	reader->start = 0;
	reader->end = 0;
	reader->eof = false;
}

int line_reader_next(struct line_reader *reader, char **ret_line)
{
	for (;;) {
		char *line = reader->buf + reader->start;
		char *newline = memchr(line, '\n', reader->end - reader->start);
		ssize_t n;

		if (newline) {
			*newline = '\0';
			reader->start = (size_t)(newline - reader->buf) + 1;
			*ret_line = line;
			return 1;
		}
		if (reader->eof) {
			if (reader->start == reader->end)
				return 0;
			reader->buf[reader->end] = '\0';
			reader->start = reader->end;
			*ret_line = line;
			return 1;
		}
		memmove(reader->buf, line, reader->end - reader->start);
		reader->end -= reader->start;
		reader->start = 0;
		/* One byte stays free for the terminator of a last line without a newline. */
		if (reader->end == sizeof(reader->buf) - 1)
			return -E2BIG;
		n = read(reader->fd, reader->buf + reader->end,
			 sizeof(reader->buf) - 1 - reader->end);
		if (n < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		if (n == 0)
			reader->eof = true;
		reader->end += (size_t)n;
	}
}

int parse_u64(const char **p, unsigned int base, uint64_t *ret_value)
{
	const char *s = *p;
	uint64_t value = 0;

	for (;; s++) {
		unsigned int digit;

		if (*s >= '0' && *s <= '9')
			digit = (unsigned int)(*s - '0');
		else if (base == 16 && isxdigit((unsigned char)*s))
			digit = (unsigned int)(tolower((unsigned char)*s) - 'a') + 10;
		else
			break;
		if (__builtin_mul_overflow(value, base, &value) ||
		    __builtin_add_overflow(value, digit, &value))
			return -ERANGE;
	}
	if (s == *p)
		return -EBADMSG;
	*p = s;
	*ret_value = value;
	return 0;
}

int parse_counter(const char *text, uint64_t *ret_value)
{
	const char *p = text;
	uint64_t value;
	int r;

	if (!strcmp(text, "max\n") || !strcmp(text, "max")) {
		*ret_value = UINT64_MAX;
		return 0;
	}
	r = parse_u64(&p, 10, &value);
	if (r < 0)
		return r;
	if (*p == '\n')
		p++;
	if (*p)
		return -EBADMSG;
	*ret_value = value;
	return 0;
}

int parse_node_list(const char *text, uint64_t *ret_mask)
{
	const char *p = text;
	uint64_t mask = 0;
	int r;

	while (*p && *p != '\n') {
		uint64_t first, last;

		r = parse_u64(&p, 10, &first);
		if (r < 0)
			return r;
		last = first;
		if (*p == '-') {
			p++;
			r = parse_u64(&p, 10, &last);
			if (r < 0)
				return r;
		}
		if (last >= 64)
			return -ERANGE;
		if (first > last)
			return -EBADMSG;
		for (uint64_t nid = first; nid <= last; nid++)
			mask |= UINT64_C(1) << nid;
		if (*p == ',') {
			p++;
			if (!*p || *p == '\n')
				return -EBADMSG;
		} else if (*p && *p != '\n') {
			return -EBADMSG;
		}
	}
	*ret_mask = mask;
	return 0;
}
