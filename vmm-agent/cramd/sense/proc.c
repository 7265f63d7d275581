// SPDX-License-Identifier: GPL-2.0-or-later
/* procfs readers; see proc.h. */
#include "proc.h"

#include <errno.h>
#include <fcntl.h>
#include <numaif.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef MPOL_F_STATIC_NODES
#define MPOL_F_STATIC_NODES (1 << 15)
#endif
#ifndef MPOL_F_RELATIVE_NODES
#define MPOL_F_RELATIVE_NODES (1 << 14)
#endif

static int expect(const char **p, char c)
{
	if (**p != c)
		return -EBADMSG;
	(*p)++;
	return 0;
}

int proc_parse_map(const char *line, struct proc_map *ret_map)
{
	struct proc_map map = {};
	const char *p = line;
	uint64_t major, minor;
	size_t len;

	if (parse_u64(&p, 16, &map.start) < 0 || expect(&p, '-') < 0 ||
	    parse_u64(&p, 16, &map.end) < 0 || expect(&p, ' ') < 0 || map.end <= map.start)
		return -EBADMSG;
	if (strnlen(p, 5) < 5 || p[4] != ' ')
		return -EBADMSG;
	map.readable = p[0] == 'r';
	map.writable = p[1] == 'w';
	map.shared = p[3] == 's';
	p += 5;
	if (parse_u64(&p, 16, &map.offset) < 0 || expect(&p, ' ') < 0 ||
	    parse_u64(&p, 16, &major) < 0 || expect(&p, ':') < 0 || parse_u64(&p, 16, &minor) < 0 ||
	    expect(&p, ' ') < 0 || parse_u64(&p, 10, &map.inode) < 0)
		return -EBADMSG;
	if (major > UINT32_MAX || minor > UINT32_MAX)
		return -EBADMSG;
	map.dev_major = (unsigned int)major;
	map.dev_minor = (unsigned int)minor;
	while (*p == ' ')
		p++;
	len = strnlen(p, sizeof(map.name) - 1);
	memcpy(map.name, p, len);
	map.name[len] = '\0';
	*ret_map = map;
	return 0;
}

/* Runs @each over the lines of /proc/@pid/@name. */
static int for_each_line(const struct sysroot *root, pid_t pid, const char *name,
			 int (*each)(char *line, void *arg), void *arg)
{
	struct line_reader reader;
	char path[64];
	char *line;
	int fd, r;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	r = sysroot_open_file(root, path, O_RDONLY, &fd);
	if (r < 0)
		return r;
	line_reader_init(&reader, fd);
	while ((r = line_reader_next(&reader, &line)) > 0) {
		r = each(line, arg);
		if (r)
			break;
	}
	close(fd);
	return r;
}

struct map_visit {
	int (*visit)(const struct proc_map *map, void *arg);
	void *arg;
};

static int map_line(char *line, void *arg)
{
	const struct map_visit *v = arg;
	struct proc_map map;
	int r;

	r = proc_parse_map(line, &map);
	if (r < 0)
		return r;
	return v->visit(&map, v->arg);
}

int proc_for_each_map(const struct sysroot *root, pid_t pid,
		      int (*visit)(const struct proc_map *map, void *arg), void *arg)
{
	struct map_visit v = { .visit = visit, .arg = arg };

	return for_each_line(root, pid, "maps", map_line, &v);
}

static int parse_policy(char *text, struct proc_numa *numa)
{
	static const struct {
		const char *name;
		enum proc_mpol mode;
	} modes[] = {
		{ "default", PROC_MPOL_DEFAULT },
		{ "bind", PROC_MPOL_BIND },
		{ "prefer", PROC_MPOL_PREFERRED },
		{ "prefer (many)", PROC_MPOL_PREFERRED_MANY },
		{ "interleave", PROC_MPOL_INTERLEAVE },
		{ "weighted interleave", PROC_MPOL_WEIGHTED_INTERLEAVE },
		{ "local", PROC_MPOL_LOCAL },
	};
	char *nodes = strchr(text, ':');
	char *flags = strchr(text, '=');
	size_t i;
	int r;

	if (nodes)
		*nodes++ = '\0';
	if (flags) {
		*flags++ = '\0';
		if (!strncmp(flags, "static", 6))
			numa->policy.flags |= MPOL_F_STATIC_NODES;
		else if (!strncmp(flags, "relative", 8))
			numa->policy.flags |= MPOL_F_RELATIVE_NODES;
	}
	for (i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
		if (!strcmp(text, modes[i].name))
			break;
	if (i == sizeof(modes) / sizeof(modes[0]))
		return -EBADMSG;
	numa->policy.mode = modes[i].mode;
	if (!nodes)
		return 0;
	r = parse_node_list(nodes, &numa->policy.nodes);
	return r < 0 ? r : 0;
}

int proc_parse_numa(const char *line, struct proc_numa *ret_numa)
{
	struct proc_numa numa = { .page_size = 4096 };
	char policy[512];
	const char *p = line, *end;
	int r;

	if (parse_u64(&p, 16, &numa.start) < 0 || expect(&p, ' ') < 0)
		return -EBADMSG;
	/*
	 * Two policy names contain a blank ("prefer (many)", "weighted interleave"), so the policy
	 * ends at the first blank behind them.
	 */
	end = p;
	if (!strncmp(p, "prefer (many)", 13))
		end += 13;
	else if (!strncmp(p, "weighted interleave", 19))
		end += 19;
	end += strcspn(end, " ");
	if ((size_t)(end - p) >= sizeof(policy))
		return -EBADMSG;
	memcpy(policy, p, (size_t)(end - p));
	policy[end - p] = '\0';
	r = parse_policy(policy, &numa);
	if (r < 0)
		return r;

	for (p = end; *p;) {
		p += strspn(p, " ");
		end = p + strcspn(p, " ");
		if ((size_t)(end - p) == 4 && !strncmp(p, "huge", 4)) {
			numa.huge = true;
		} else if (*p == 'N' && p[1] >= '0' && p[1] <= '9') {
			uint64_t nid, pages;

			p++;
			if (parse_u64(&p, 10, &nid) < 0 || expect(&p, '=') < 0 ||
			    parse_u64(&p, 10, &pages) < 0 || p != end)
				return -EBADMSG;
			if (nid >= PROC_NODES_MAX)
				return -ERANGE;
			numa.pages[nid] = pages;
		} else if (!strncmp(p, "kernelpagesize_kB=", 18)) {
			uint64_t kib;

			p += 18;
			if (parse_u64(&p, 10, &kib) < 0 || p != end || kib > (UINT64_C(1) << 40))
				return -EBADMSG;
			numa.page_size = kib << 10;
		}
		p = end;
	}
	*ret_numa = numa;
	return 0;
}

struct numa_visit {
	int (*visit)(const struct proc_numa *numa, void *arg);
	void *arg;
};

static int numa_line(char *line, void *arg)
{
	const struct numa_visit *v = arg;
	struct proc_numa numa;
	int r;

	r = proc_parse_numa(line, &numa);
	if (r < 0)
		return r;
	return v->visit(&numa, v->arg);
}

int proc_for_each_numa(const struct sysroot *root, pid_t pid,
		       int (*visit)(const struct proc_numa *numa, void *arg), void *arg)
{
	struct numa_visit v = { .visit = visit, .arg = arg };

	return for_each_line(root, pid, "numa_maps", numa_line, &v);
}

static int parse_kib(const char *p, uint64_t *ret_bytes)
{
	uint64_t kib;
	int r;

	p += strspn(p, " \t");
	r = parse_u64(&p, 10, &kib);
	if (r < 0)
		return r;
	if (strcmp(p, " kB") != 0 || kib > UINT64_MAX >> 10)
		return -EBADMSG;
	*ret_bytes = kib << 10;
	return 0;
}

struct swap_visit {
	uint64_t start;
	int (*visit)(const struct proc_swap *swap, void *arg);
	void *arg;
};

/* A line as in maps begins a mapping; "Swap:   12 kB" is one of those below it. */
static int swap_line(char *line, void *arg)
{
	struct swap_visit *v = arg;
	struct proc_swap swap;
	struct proc_map map;
	int r;

	if (line[0] < 'A' || line[0] > 'Z') {
		r = proc_parse_map(line, &map);
		if (r == 0)
			v->start = map.start;
		return r;
	}
	if (strncmp(line, "Swap:", 5) != 0)
		return 0;
	swap.start = v->start;
	r = parse_kib(line + 5, &swap.bytes);
	return r < 0 ? r : v->visit(&swap, v->arg);
}

int proc_for_each_swap(const struct sysroot *root, pid_t pid,
		       int (*visit)(const struct proc_swap *swap, void *arg), void *arg)
{
	struct swap_visit v = { .visit = visit, .arg = arg };

	return for_each_line(root, pid, "smaps", swap_line, &v);
}

struct status_fill {
	struct proc_status status;
	bool has_state, has_mems;
};

static int status_line(char *line, struct status_fill *f)
{
	char *value = strchr(line, ':');
	int r = 0;

	if (!value)
		return -EBADMSG;
	*value++ = '\0';
	if (!strcmp(line, "State")) {
		f->status.state = value[strspn(value, " \t")];
		f->has_state = f->status.state != '\0';
	} else if (!strcmp(line, "Mems_allowed_list")) {
		r = parse_node_list(value + strspn(value, " \t"), &f->status.mems_allowed);
		f->has_mems = true;
	} else if (!strcmp(line, "VmSize")) {
		r = parse_kib(value, &f->status.size);
	} else if (!strcmp(line, "VmRSS")) {
		r = parse_kib(value, &f->status.rss);
	} else if (!strcmp(line, "VmLck")) {
		r = parse_kib(value, &f->status.locked);
	} else if (!strcmp(line, "VmPin")) {
		r = parse_kib(value, &f->status.pinned);
	}
	return r;
}

int proc_parse_status(char *text, struct proc_status *ret_status)
{
	struct status_fill f = {};
	char *line, *rest = text;

	while ((line = strsep(&rest, "\n")) && (*line || rest)) {
		int r = status_line(line, &f);

		if (r < 0)
			return r;
	}
	if (!f.has_state || !f.has_mems)
		return -EBADMSG;
	*ret_status = f.status;
	return 0;
}

int proc_read_status(const struct sysroot *root, pid_t pid, struct proc_status *ret_status)
{
	char path[64], text[16384]; /* masks of thousands of processors are printed in it */
	int r;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	r = sysroot_read(root, path, text, sizeof(text), NULL);
	if (r < 0)
		return r == -ENOENT ? -ESRCH : r;
	return proc_parse_status(text, ret_status);
}

int proc_count_fds(const struct sysroot *root, pid_t pid, uint64_t *ret_n)
{
	struct stat st;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	if (fstatat(root->fd, sysroot_below(path), &st, 0) < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	*ret_n = (uint64_t)st.st_size;
	return 0;
}

/* A number of /proc/PID/stat, whose fields are counted from 1 as proc(5) does. */
static int read_stat(const struct sysroot *root, pid_t pid, int wanted, uint64_t *ret_value)
{
	char path[64], buf[1024];
	const char *p;
	int r;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	r = sysroot_read(root, path, buf, sizeof(buf), NULL);
	if (r < 0)
		return r;
	/* The command name may itself hold blanks and parentheses; the last ')' ends it. */
	p = strrchr(buf, ')');
	if (!p)
		return -EBADMSG;
	/* The parenthesis closed field 2. */
	for (int field = 2; field < wanted; field++) {
		p = strchr(p, ' ');
		if (!p)
			return -EBADMSG;
		p++;
	}
	return parse_u64(&p, 10, ret_value);
}

int proc_read_start_time(const struct sysroot *root, pid_t pid, uint64_t *ret_ticks)
{
	return read_stat(root, pid, 22, ret_ticks);
}

int proc_read_guest_time(const struct sysroot *root, pid_t pid, uint64_t *ret_ticks)
{
	return read_stat(root, pid, 43, ret_ticks);
}

struct cgroup_fill {
	char *buf;
	size_t size;
};

static int cgroup_line(char *line, void *arg)
{
	struct cgroup_fill *f = arg;
	size_t len;

	if (strncmp(line, "0::", 3) != 0)
		return 0;
	len = strlen(line + 3);
	if (len >= f->size || line[3] != '/')
		return -EBADMSG;
	memcpy(f->buf, line + 3, len + 1);
	return 1;
}

int proc_read_cgroup(const struct sysroot *root, pid_t pid, char *buf, size_t size)
{
	struct cgroup_fill f = { .buf = buf, .size = size };
	int r;

	r = for_each_line(root, pid, "cgroup", cgroup_line, &f);
	if (r < 0)
		return r;
	return r == 1 ? 0 : -ENOENT;
}

int proc_read_cmdline(const struct sysroot *root, pid_t pid, char *buf, size_t size,
		      size_t *ret_len)
{
	char path[64];
	size_t len = size;
	int r;

	snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)pid);
	r = sysroot_read(root, path, buf, size, ret_len);
	if (r != -EFBIG)
		return r;
	/* There is more: where it happens to end with an argument, that is one too few. */
	buf[len - 1] = '\0';
	while (len > 0 && !buf[len - 1])
		len--;
	*ret_len = len;
	return 0;
}

/* Runs @each over the descriptors of @pid; it gets the directory and the entry's name. */
static int for_each_fd(const struct sysroot *root, pid_t pid,
		       int (*each)(int dirfd, const char *name, void *arg), void *arg)
{
	char path[64];
	int fd, r;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	r = sysroot_open_file(root, path, O_RDONLY | O_DIRECTORY, &fd);
	if (r < 0)
		return r;
	r = for_each_entry(fd, each, arg);
	close(fd);
	return r;
}

struct fd_prefixes {
	const char *const *prefixes;
	size_t n;
	uint64_t found;
};

static int match_prefixes(int dirfd, const char *name, void *arg)
{
	struct fd_prefixes *f = arg;
	char target[256];
	ssize_t n = readlinkat(dirfd, name, target, sizeof(target) - 1);

	/* The process may close a descriptor while we look. */
	if (n < 0)
		return errno == ENOENT ? 0 : -errno;
	target[n] = '\0';
	for (size_t i = 0; i < f->n; i++)
		if (!strncmp(target, f->prefixes[i], strlen(f->prefixes[i])))
			f->found |= UINT64_C(1) << i;
	return 0;
}

int proc_find_fds(const struct sysroot *root, pid_t pid, const char *const *prefixes, size_t n,
		  uint64_t *ret_found)
{
	struct fd_prefixes f = { .prefixes = prefixes, .n = n };
	int r = for_each_fd(root, pid, match_prefixes, &f);

	if (r < 0)
		return r;
	*ret_found = f.found;
	return 0;
}

/*
 * Whoever owns a descriptor can put another file in its place at any time, a FIFO say, or one whose
 * server hangs. O_PATH opens none of them, and what is known of it already is enough to tell.
 * @name in @dirfd is a memfd: *ret_fd (O_PATH) and what it is. -ENOENT: it is none.
 */
static int look_at_memfd(int dirfd, const char *name, int *ret_fd, struct statx *ret_st)
{
	char target[32];
	ssize_t n = readlinkat(dirfd, name, target, sizeof(target));
	int fd;

	if (n < 7 || memcmp(target, "/memfd:", 7) != 0)
		return -ENOENT;
	fd = openat(dirfd, name, O_PATH | O_CLOEXEC);
	if (fd < 0)
		return -ENOENT;
	if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_INO, ret_st) < 0) {
		close(fd);
		return -ENOENT;
	}
	*ret_fd = fd;
	return 0;
}

struct memfd_search {
	unsigned int major, minor;
	uint64_t inode;
	int fd; /* O_PATH */
};

static int is_memfd(int dirfd, const char *name, void *arg)
{
	struct memfd_search *s = arg;
	struct statx st;
	int fd;

	if (look_at_memfd(dirfd, name, &fd, &st) < 0)
		return 0;
	if (st.stx_ino != s->inode || st.stx_dev_major != s->major ||
	    st.stx_dev_minor != s->minor) {
		close(fd);
		return 0;
	}
	s->fd = fd;
	return 1;
}

int proc_open_memfd(const struct sysroot *root, pid_t pid, unsigned int major, unsigned int minor,
		    uint64_t inode, int *ret_fd)
{
	struct memfd_search s = { .major = major, .minor = minor, .inode = inode, .fd = -1 };
	char path[32];
	int fd, r = for_each_fd(root, pid, is_memfd, &s);

	if (r < 0)
		return r;
	if (r == 0)
		return -ENOENT;
	/* The file itself, by our own descriptor: no longer whatever the other process makes of it.
	 */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", s.fd);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	r = fd < 0 ? -errno : 0;
	close(s.fd);
	if (r == 0)
		*ret_fd = fd;
	return r;
}

struct memfd_visit {
	void (*visit)(int fd, unsigned int major, unsigned int minor, uint64_t inode, void *arg);
	void *arg;
};

static int visit_memfd(int dirfd, const char *name, void *arg)
{
	const struct memfd_visit *v = arg;
	const char *p = name;
	struct statx st;
	uint64_t num;
	int fd;

	if (parse_u64(&p, 10, &num) < 0 || *p || num > INT32_MAX ||
	    look_at_memfd(dirfd, name, &fd, &st) < 0)
		return 0;
	close(fd);
	v->visit((int)num, st.stx_dev_major, st.stx_dev_minor, st.stx_ino, v->arg);
	return 0;
}

int proc_for_each_memfd(const struct sysroot *root, pid_t pid,
			void (*visit)(int fd, unsigned int major, unsigned int minor,
				      uint64_t inode, void *arg),
			void *arg)
{
	struct memfd_visit v = { .visit = visit, .arg = arg };

	return for_each_fd(root, pid, visit_memfd, &v);
}
