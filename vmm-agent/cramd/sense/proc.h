/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What procfs says about one process: mappings, NUMA policy and placement, status, cgroup, command
 * line. Not about which of it is guest RAM (ramblock.h).
 */
#pragma once

#include "sysroot.h"

#include <sys/types.h>

#define PROC_NODES_MAX 64

/* One line of /proc/PID/maps. */
struct proc_map {
	uint64_t start, end; /* bytes, [start, end) */
	uint64_t offset;     /* into the file */
	uint64_t inode;	     /* 0: anonymous */
	unsigned int dev_major, dev_minor;
	bool readable, writable, shared;
	char name[128]; /* path or [name]; empty when anonymous; cut when longer */
};

/* Parses one line. -EBADMSG: not a maps line. */
int proc_parse_map(const char *line, struct proc_map *ret_map);

/* Calls @visit for every mapping until it returns non-zero, which is then returned. */
int proc_for_each_map(const struct sysroot *root, pid_t pid,
		      int (*visit)(const struct proc_map *map, void *arg), void *arg);

/* NUMA policy of a mapping as numa_maps prints it. */
enum proc_mpol {
	PROC_MPOL_DEFAULT,
	PROC_MPOL_BIND,
	PROC_MPOL_PREFERRED,
	PROC_MPOL_PREFERRED_MANY,
	PROC_MPOL_INTERLEAVE,
	PROC_MPOL_WEIGHTED_INTERLEAVE,
	PROC_MPOL_LOCAL,
};

struct proc_policy {
	enum proc_mpol mode;
	unsigned int flags; /* MPOL_F_STATIC_NODES and friends, as mbind(2) takes them */
	uint64_t nodes;	    /* mask */
	uint64_t first;	    /* of PROC_MPOL_BIND: the node tried first, as a mask; 0: the nearest.
			       Files do not show it */
};

/* One line of /proc/PID/numa_maps. */
struct proc_numa {
	uint64_t start;
	struct proc_policy policy;
	bool huge;	    /* hugetlb */
	uint64_t page_size; /* bytes, of the counts below */
	uint64_t pages[PROC_NODES_MAX];
};

int proc_parse_numa(const char *line, struct proc_numa *ret_numa);
int proc_for_each_numa(const struct sysroot *root, pid_t pid,
		       int (*visit)(const struct proc_numa *numa, void *arg), void *arg);

/* How much of a mapping is in swap, as smaps says; bytes. Of a memfd: of what of it is mapped. */
struct proc_swap {
	uint64_t start, bytes;
};

/* Walks the page tables of the whole process, as numa_maps does. */
int proc_for_each_swap(const struct sysroot *root, pid_t pid,
		       int (*visit)(const struct proc_swap *swap, void *arg), void *arg);

/* What /proc/PID/status says, of that what decides eligibility and placement. */
struct proc_status {
	char state;			    /* R, S, D, T, Z … */
	uint64_t mems_allowed;		    /* nodes the task's cpuset lets it use */
	uint64_t size, rss, locked, pinned; /* bytes; @size of the address space */
};

/* Cuts @text into lines. -EBADMSG: not that file. */
int proc_parse_status(char *text, struct proc_status *ret_status);
/* -ESRCH: the process is gone. */
int proc_read_status(const struct sysroot *root, pid_t pid, struct proc_status *ret_status);

/*
 * How many descriptors the process has open; 0: this kernel does not say (before 6.2). Opens and
 * lists nothing.
 */
int proc_count_fds(const struct sysroot *root, pid_t pid, uint64_t *ret_n);

/* Start time in clock ticks after boot: with the pid it names one process for good. */
int proc_read_start_time(const struct sysroot *root, pid_t pid, uint64_t *ret_ticks);

/* Time its guest has run, clock ticks; stays 0 without KVM. */
int proc_read_guest_time(const struct sysroot *root, pid_t pid, uint64_t *ret_ticks);

/* Path of the cgroup-v2 group, as "/machine/…". -ENOENT: the process is in no v2 group. */
int proc_read_cgroup(const struct sysroot *root, pid_t pid, char *buf, size_t size);

/*
 * The command line: arguments separated by zero bytes, *@ret_len counts them all. @buf always ends
 * with a zero byte. One that is longer than @size is cut, in the middle of an argument: that one's
 * zero byte is not counted.
 */
int proc_read_cmdline(const struct sysroot *root, pid_t pid, char *buf, size_t size,
		      size_t *ret_len);

/*
 * Which of @prefixes (at most 64) the link targets of the process's descriptors start with: bit i
 * of *ret_found for prefixes[i].
 */
int proc_find_fds(const struct sysroot *root, pid_t pid, const char *const *prefixes, size_t n,
		  uint64_t *ret_found);

/* Tells @visit of every memfd the process holds: descriptor, device, inode. */
int proc_for_each_memfd(const struct sysroot *root, pid_t pid,
			void (*visit)(int fd, unsigned int major, unsigned int minor,
				      uint64_t inode, void *arg),
			void *arg);

/*
 * Opens the memfd (@major:@minor, @inode) that @pid holds, for reading. What else it has open is
 * not touched: its disks may be on a file server that hangs. -ENOENT: it holds no such memfd.
 */
int proc_open_memfd(const struct sysroot *root, pid_t pid, unsigned int major, unsigned int minor,
		    uint64_t inode, int *ret_fd);
