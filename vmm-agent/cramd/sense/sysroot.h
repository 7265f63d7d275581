/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reading and writing small kernel files (procfs, sysfs, cgroupfs) below a root prefix, so that a
 * recorded host replays from a directory. Not for guest memory and not for large binary files.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Longest path built below the root, and longest line any reader accepts. */
#define SYSROOT_PATH_MAX 512
#define SYSROOT_LINE_MAX 4096

struct sysroot {
	int fd; /* directory that stands for "/"; -1 when not open */
};

/* Opens @prefix ("/" in production). The caller closes with sysroot_close(). */
int sysroot_open(const char *prefix, struct sysroot *ret_root);
void sysroot_close(struct sysroot *root);

/* @path as an *at() system call takes it together with the root's descriptor. */
const char *sysroot_below(const char *path);

/* Opens @path (absolute as the kernel names it) below the root. @ret_fd is the caller's to close.
 */
int sysroot_open_file(const struct sysroot *root, const char *path, int flags, int *ret_fd);

/*
 * Reads the whole of @path into @buf and terminates it with a zero byte.
 * -EFBIG: the file does not fit into @size - 1 bytes; nothing half-read is handed out.
 */
int sysroot_read(const struct sysroot *root, const char *path, char *buf, size_t size,
		 size_t *ret_len);
/*
 * The same for what is read many times a second: the file stays open as *@fd, which is -1 at first
 * and the caller's to close. When it is gone it is looked for anew.
 */
int sysroot_read_again(const struct sysroot *root, const char *path, int *fd, char *buf,
		       size_t size, size_t *ret_len);

/* One unsigned number in a file of its own; "max" reads as UINT64_MAX. -EBADMSG: not a number. */
int sysroot_read_u64(const struct sysroot *root, const char *path, uint64_t *ret_value);

/* The line @key ("SwapFree:") of /proc/meminfo, in bytes; 0 when it is not there. */
uint64_t sysroot_meminfo(const struct sysroot *root, const char *key);

/* Writes @text in one write(2), as sysfs stores want it. */
int sysroot_write(const struct sysroot *root, const char *path, const char *text);

bool sysroot_exists(const struct sysroot *root, const char *path);

/* Reads a link target, zero-terminated. -ENAMETOOLONG when it does not fit. */
int sysroot_readlink(const struct sysroot *root, const char *path, char *buf, size_t size);

/*
 * Runs @each over the entries of an open directory, "." and ".." left out, until it returns
 * non-zero, which is then returned. Allocates nothing, unlike readdir(3): descriptors of every VM
 * are listed in every round.
 */
int for_each_entry(int dirfd, int (*each)(int dirfd, const char *name, void *arg), void *arg);

/*
 * Line by line over a descriptor without allocating: procfs files of a big guest run to megabytes.
 * The descriptor stays the caller's.
 */
struct line_reader {
	int fd;
	size_t start, end;
	bool eof;
	char buf[SYSROOT_LINE_MAX];
};

void line_reader_init(struct line_reader *reader, int fd);

/*
 * 1: *@ret_line is the next line without its newline, valid until the next call; 0: end of file;
 * -E2BIG: a line longer than SYSROOT_LINE_MAX - 1; any other negative: read(2) failed.
 */
int line_reader_next(struct line_reader *reader, char **ret_line);

/*
 * Strict decimal or hexadecimal (@base 10 or 16, no sign, no blanks, at least one digit) starting
 * at
 * *@p; advances *@p behind it. -EBADMSG: no digit there; -ERANGE: more than 64 bits.
 */
int parse_u64(const char **p, unsigned int base, uint64_t *ret_value);

/* The text of a file that holds one number, as sysroot_read_u64() takes it. */
int parse_counter(const char *text, uint64_t *ret_value);

/*
 * A kernel list such as "0-1,4" into a 64-bit mask. An empty list is an empty mask. -EBADMSG: not a
 * list; -ERANGE: a number of 64 or more (hosts with more NUMA nodes are not supported, and told
 * so).
 */
int parse_node_list(const char *text, uint64_t *ret_mask);
