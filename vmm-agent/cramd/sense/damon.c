// SPDX-License-Identifier: GPL-2.0-or-later
/* DAMON's sysfs tree; see damon.h. */
#include "damon.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "util/cleanup.h"
#include "util/sort.h"
#include "util/utf8.h"

#define ADMIN	"/sys/kernel/mm/damon/admin/kdamonds"
#define KDAMOND ADMIN "/0"
#define CONTEXT KDAMOND "/contexts/0"
#define BOOT_ID "/proc/sys/kernel/random/boot_id"

/* The tree's lock is only tried, never waited for, by most files: EBUSY means "again, soon". */
#define BUSY_TRIES   200
#define BUSY_WAIT_MS 10

void damon_init(struct damon *damon, const struct sysroot *root, const char *marker)
{
	*damon = (struct damon){ .root = root, .marker = marker };
}

static void wait_ms(long ms)
{
	struct timespec ts = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };

	nanosleep(&ts, NULL);
}

static int get(const struct damon *damon, const char *path, char *buf, size_t size)
{
	size_t len = 0;
	int r;

	for (int i = 0; i < BUSY_TRIES; i++) {
		r = sysroot_read(damon->root, path, buf, size, &len);
		if (r != -EBUSY)
			break;
		wait_ms(BUSY_WAIT_MS);
	}
	if (r < 0)
		return r;
	if (len && buf[len - 1] == '\n')
		buf[len - 1] = '\0';
	return 0;
}

/*
 * Is the tree what we made of it? Another tool begins with a tree of its own, and then has other
 * operations or another target.
 */
static bool is_ours(const struct damon *damon)
{
	char text[64];
	const char *p = text;
	uint64_t pid;

	if (get(damon, ADMIN "/nr_kdamonds", text, sizeof(text)) < 0 || strcmp(text, "1") != 0)
		return false;
	if (!damon->configured)
		return true;
	if (get(damon, CONTEXT "/operations", text, sizeof(text)) < 0 ||
	    strcmp(text, "fvaddr") != 0)
		return false;
	if (!damon->first_pid)
		return true;
	return get(damon, CONTEXT "/targets/0/pid_target", text, sizeof(text)) == 0 &&
	       parse_u64(&p, 10, &pid) == 0 && pid == (uint64_t)damon->first_pid;
}

static void remove_marker(const struct damon *damon)
{
	unlinkat(damon->root->fd, damon->marker + strspn(damon->marker, "/"), 0);
}

/* Another tool has made the tree its own. What runs there now is not what an agent has left. */
static void lose(struct damon *damon)
{
	damon->acquired = false;
	damon->running = false;
	remove_marker(damon);
}

/* Writes to the tree, which is looked at before every try: who else has it keeps it. */
static int put(struct damon *damon, const char *path, const char *text)
{
	int r;

	if (damon->acquired && !is_ours(damon))
		lose(damon);
	if (!damon->acquired)
		return -EBUSY;
	for (int i = 0; i < BUSY_TRIES; i++) {
		r = sysroot_write(damon->root, path, text);
		if (r != -EBUSY)
			break;
		wait_ms(BUSY_WAIT_MS);
	}
	return r;
}

static int putf(struct damon *damon, uint64_t value, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Writes the number @value to the file that @fmt names. */
static int putf(struct damon *damon, uint64_t value, const char *fmt, ...)
{
	char path[256], text[32];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(path, sizeof(path), fmt, ap);
	va_end(ap);
	snprintf(text, sizeof(text), "%" PRIu64, value);
	return put(damon, path, text);
}

static bool is_running(const struct damon *damon)
{
	char state[16];

	return get(damon, KDAMOND "/state", state, sizeof(state)) == 0 && !strcmp(state, "on");
}

static bool marker_is_ours(const struct damon *damon)
{
	char boot[64], marker[64];

	return get(damon, BOOT_ID, boot, sizeof(boot)) == 0 &&
	       get(damon, damon->marker, marker, sizeof(marker)) == 0 && !strcmp(boot, marker);
}

static int write_marker(const struct damon *damon)
{
	char boot[64];
	ssize_t n;
	int fd, r;

	r = get(damon, BOOT_ID, boot, sizeof(boot));
	if (r < 0)
		return r;
	fd = openat(damon->root->fd, damon->marker + strspn(damon->marker, "/"),
		    O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	n = write(fd, boot, strlen(boot));
	close(fd);
	return n == (ssize_t)strlen(boot) ? 0 : -EIO;
}

/* What runs there now was never an agent's: another tool has come since that died. */
static bool is_anothers(const struct damon *damon)
{
	char text[64];

	return is_running(damon) && get(damon, CONTEXT "/operations", text, sizeof(text)) == 0 &&
	       strcmp(text, "fvaddr") != 0;
}

int damon_acquire(struct damon *damon)
{
	char buf[512];
	int r;

	damon->configured = false;
	damon->first_pid = 0;
	damon->pids.n = 0;
	r = get(damon, ADMIN "/nr_kdamonds", buf, sizeof(buf));
	if (r < 0)
		return r;
	if (strcmp(buf, "0") != 0) {
		if (!marker_is_ours(damon))
			return -EBUSY;
		if (strcmp(buf, "1") != 0 || is_anothers(damon)) {
			remove_marker(damon);
			return -EBUSY;
		}
		/* A predecessor's: it must stop before its directories can be replaced. */
		if (is_running(damon)) {
			r = sysroot_write(damon->root, KDAMOND "/state", "off");
			if (r < 0)
				return r;
		}
	}
	r = write_marker(damon);
	if (r < 0)
		return r;
	r = sysroot_write(damon->root, ADMIN "/nr_kdamonds", "1");
	if (r < 0)
		return r;
	damon->acquired = true;
	r = put(damon, KDAMOND "/contexts/nr_contexts", "1");
	if (r < 0)
		return r;
	/* Fixed ranges: plain vaddr would replace them by what it finds in the mappings. */
	r = put(damon, CONTEXT "/operations", "fvaddr");
	if (r < 0) {
		damon_release(damon);
		return r == -EINVAL ? -ENOENT : r;
	}
	damon->configured = true;
	return 0;
}

const char *damon_owner(const struct damon *damon, char *buf, size_t size)
{
	char path[64], pid[32], comm[32];

	if (get(damon, CONTEXT "/targets/0/pid_target", pid, sizeof(pid)) < 0) {
		snprintf(buf, size, "someone else (no target yet)");
		return buf;
	}
	snprintf(path, sizeof(path), "/proc/%.16s/comm", pid);
	if (get(damon, path, comm, sizeof(comm)) < 0)
		comm[0] = '\0';
	snprintf(buf, size, "someone else, for process %.16s%s%s%s", pid, comm[0] ? " (" : "", comm,
		 comm[0] ? ")" : "");
	utf8_trim(buf);
	return buf;
}

static int write_attrs(struct damon *damon, const struct damon_attrs *attrs)
{
	int r;

	r = putf(damon, attrs->sample_us, CONTEXT "/monitoring_attrs/intervals/sample_us");
	if (r < 0)
		return r;
	r = putf(damon, attrs->aggr_us, CONTEXT "/monitoring_attrs/intervals/aggr_us");
	if (r < 0)
		return r;
	r = putf(damon, attrs->update_us, CONTEXT "/monitoring_attrs/intervals/update_us");
	if (r < 0)
		return r;
	r = putf(damon, attrs->min_regions, CONTEXT "/monitoring_attrs/nr_regions/min");
	if (r < 0)
		return r;
	return putf(damon, attrs->max_regions, CONTEXT "/monitoring_attrs/nr_regions/max");
}

static int write_target(struct damon *damon, size_t i, const struct damon_target *target)
{
	int r;

	r = putf(damon, (uint64_t)target->pid, CONTEXT "/targets/%zu/pid_target", i);
	if (r < 0)
		return r;
	r = putf(damon, target->n_ranges, CONTEXT "/targets/%zu/regions/nr_regions", i);
	if (r < 0)
		return r;
	for (size_t k = 0; k < target->n_ranges; k++) {
		r = putf(damon, target->ranges[k].start, CONTEXT "/targets/%zu/regions/%zu/start",
			 i, k);
		if (r < 0)
			return r;
		r = putf(damon, target->ranges[k].end, CONTEXT "/targets/%zu/regions/%zu/end", i,
			 k);
		if (r < 0)
			return r;
	}
	return 0;
}

/*
 * A scheme that only counts, one per target: what it tried is how sysfs shows regions, and its
 * filter is the only thing that tells whose they are.
 */
static int write_scheme(struct damon *damon, size_t i)
{
	static const char *const filter = CONTEXT "/schemes/%zu/filters/0";
	char base[128], path[160];
	int r;

	snprintf(path, sizeof(path), CONTEXT "/schemes/%zu/action", i);
	r = put(damon, path, "stat");
	if (r < 0)
		return r;
	r = putf(damon, UINT64_MAX, CONTEXT "/schemes/%zu/access_pattern/sz/max", i);
	if (r < 0)
		return r;
	r = putf(damon, UINT32_MAX, CONTEXT "/schemes/%zu/access_pattern/nr_accesses/max", i);
	if (r < 0)
		return r;
	r = putf(damon, UINT32_MAX, CONTEXT "/schemes/%zu/access_pattern/age/max", i);
	if (r < 0)
		return r;
	r = putf(damon, 1, CONTEXT "/schemes/%zu/filters/nr_filters", i);
	if (r < 0)
		return r;
	snprintf(base, sizeof(base), filter, i);
	snprintf(path, sizeof(path), "%s/type", base);
	r = put(damon, path, "target");
	if (r < 0)
		return r;
	/* "N" filters out what does not match. */
	snprintf(path, sizeof(path), "%s/matching", base);
	r = put(damon, path, "N");
	if (r < 0)
		return r;
	return putf(damon, i, "%s/damon_target_idx", base);
}

int damon_stop(struct damon *damon)
{
	int r = 0;

	if (is_running(damon))
		r = put(damon, KDAMOND "/state", "off");
	damon->running = false;
	if (r != -EBUSY)
		damon->pids.n = 0;
	/* It may have ended by itself between the look and the write. */
	return r == -EPERM || r == -EINVAL ? 0 : r;
}

/* Does every target that DAMON has stay in its place? */
static bool in_place(const struct damon *damon, const struct damon_target *targets,
		     size_t n_targets)
{
	for (size_t i = 0; i < damon->pids.n && i < n_targets; i++)
		if (damon->pids.v[i] != targets[i].pid)
			return false;
	return true;
}

int damon_watch(struct damon *damon, const struct damon_attrs *attrs,
		const struct damon_target *targets, size_t n_targets)
{
	int r;

	damon->n_targets = 0;
	damon->started_over = false;
	if (array_reserve(&damon->pids, n_targets) < 0)
		return -ENOMEM;
	if (n_targets == 0 || !in_place(damon, targets, n_targets)) {
		damon->started_over = n_targets > 0;
		r = damon_stop(damon);
		if (r < 0 || n_targets == 0)
			return r;
	}
	r = write_attrs(damon, attrs);
	if (r < 0)
		return r;
	r = putf(damon, n_targets, CONTEXT "/targets/nr_targets");
	if (r < 0)
		return r;
	/* The first is how we know the tree as ours: while it changes there is no telling. */
	damon->first_pid = 0;
	for (size_t i = 0; i < n_targets; i++) {
		r = write_target(damon, i, &targets[i]);
		if (r < 0)
			return r;
		if (i == 0)
			damon->first_pid = targets[0].pid;
	}
	r = putf(damon, n_targets, CONTEXT "/schemes/nr_schemes");
	if (r < 0)
		return r;
	for (size_t i = 0; i < n_targets; i++) {
		r = write_scheme(damon, i);
		if (r < 0)
			return r;
	}
	damon->n_targets = n_targets;
	r = put(damon, KDAMOND "/state", is_running(damon) ? "commit" : "on");
	/* A pid that cannot be found any more is an invalid argument to DAMON. */
	damon->running = is_running(damon);
	if (r == -EINVAL)
		return -ESRCH;
	if (r < 0)
		return r;
	if (!damon->running)
		return -ESRCH;
	for (size_t i = 0; i < n_targets; i++)
		damon->pids.v[i] = targets[i].pid;
	damon->pids.n = n_targets;
	return 0;
}

/* The number in @path below @dirfd. */
static int read_number(int dirfd, const char *path, uint64_t *ret_value)
{
	const struct sysroot dir = { .fd = dirfd };
	int r;

	for (int i = 0; i < BUSY_TRIES; i++) {
		r = sysroot_read_u64(&dir, path, ret_value);
		if (r != -EBUSY)
			break;
		wait_ms(BUSY_WAIT_MS);
	}
	return r;
}

static int read_region_number(int dirfd, const char *region, const char *file, uint64_t *ret_value)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", region, file);
	return read_number(dirfd, path, ret_value);
}

/* Of one target: regions that were accessed, or all of them. */
struct reading {
	struct damon *damon;
	bool all;
};

/* The region whose directory is @name in @dirfd. */
static int read_region(int dirfd, const char *name, void *arg)
{
	const struct reading *reading = arg;
	struct damon_region region;
	uint64_t accesses;
	int r;

	/* Regions are numbered; there is also a file with their sum. */
	if (name[0] < '0' || name[0] > '9')
		return 0;
	r = read_region_number(dirfd, name, "nr_accesses", &accesses);
	if (r < 0 || (!accesses && !reading->all))
		return r;
	r = read_region_number(dirfd, name, "start", &region.start);
	if (r == 0)
		r = read_region_number(dirfd, name, "end", &region.end);
	if (r < 0)
		return r;
	if (region.start >= region.end || accesses > UINT32_MAX)
		return -EBADMSG;
	region.accesses = (uint32_t)accesses;
	return array_push(&reading->damon->regions, region);
}

static bool lies_before(const void *a, const void *b, const void *context)
{
	const struct damon_region *x = a, *y = b;

	(void)context;
	return x->start < y->start;
}

/*
 * Reads regions of a target into damon->regions, ascending; the directory has them in no order.
 * Each is a directory of files, and most of what is idle was not accessed: that is what is left of
 * the target, if all of the target is there. A kernel that does not say how much is (before 6.6),
 * or says another number, is asked of all regions. *@ret_all: it was.
 */
static int read_regions(struct damon *damon, int schemes, size_t i,
			const struct damon_target *target, bool *ret_all)
{
	const struct sysroot root = { .fd = schemes };
	struct reading reading = { .damon = damon };
	uint64_t total = 0, bytes = 0;
	cleanup_close int fd = -1;
	char path[64];
	int r;

	snprintf(path, sizeof(path), "%zu/tried_regions", i);
	r = sysroot_open_file(&root, path, O_RDONLY | O_DIRECTORY, &fd);
	if (r < 0)
		return r;
	r = read_number(fd, "total_bytes", &total);
	if (r < 0 && r != -ENOENT)
		return r;
	for (size_t k = 0; k < target->n_ranges; k++)
		bytes += target->ranges[k].end - target->ranges[k].start;
	reading.all = total != bytes;
	damon->regions.n = 0;
	r = for_each_entry(fd, read_region, &reading);
	if (r < 0)
		return r;
	cram_sort(damon->regions.v, damon->regions.n, sizeof(damon->regions.v[0]), lies_before,
		  NULL);
	*ret_all = reading.all;
	return 0;
}

typedef int damon_visit(size_t target, const struct damon_region *region, void *arg);

static int visit_quiet(size_t i, uint64_t start, uint64_t end, damon_visit *visit, void *arg)
{
	return start < end ? visit(i, &(struct damon_region){ start, end, 0 }, arg) : 0;
}

/* Of a target of which only the regions with accesses were read: those, and what is left. */
static int visit_both(const struct damon *damon, size_t i, const struct damon_target *target,
		      damon_visit *visit, void *arg)
{
	uint64_t at = 0;
	size_t n = 0;
	int r = 0;

	for (size_t k = 0; k < target->n_ranges && r == 0; k++) {
		const struct damon_range *range = &target->ranges[k];

		/* A region may go on from one range to the next. */
		at = at > range->start ? at : range->start;
		for (; n < damon->regions.n && damon->regions.v[n].start < range->end && r == 0;
		     n++) {
			const struct damon_region *region = &damon->regions.v[n];

			r = visit_quiet(i, at, region->start, visit, arg);
			if (r == 0)
				r = visit(i, region, arg);
			at = region->end;
		}
		if (r == 0)
			r = visit_quiet(i, at, range->end, visit, arg);
	}
	return r;
}

static int visit_target(struct damon *damon, int schemes, size_t i,
			const struct damon_target *target, damon_visit *visit, void *arg)
{
	bool all;
	int r = read_regions(damon, schemes, i, target, &all);

	if (r < 0 || !all)
		return r < 0 ? r : visit_both(damon, i, target, visit, arg);
	for (size_t k = 0; k < damon->regions.n && r == 0; k++)
		r = visit(i, &damon->regions.v[k], arg);
	return r;
}

int damon_snapshot(struct damon *damon, const struct damon_target *targets,
		   int (*visit)(size_t target, const struct damon_region *region, void *arg),
		   void *arg)
{
	cleanup_close int schemes = -1;
	int r;

	if (!damon->running)
		return -ESRCH;
	r = put(damon, KDAMOND "/state", "update_schemes_tried_regions");
	if (r < 0) {
		if (!damon->acquired)
			return r;
		damon->running = is_running(damon);
		return damon->running ? r : -ESRCH;
	}
	r = sysroot_open_file(damon->root, CONTEXT "/schemes", O_RDONLY | O_DIRECTORY, &schemes);
	for (size_t i = 0; i < damon->n_targets && r == 0; i++)
		r = visit_target(damon, schemes, i, &targets[i], visit, arg);
	return r;
}

void damon_release(struct damon *damon)
{
	if (damon->acquired) {
		damon_stop(damon);
		/* Refused while it runs: then the next agent finds it as one that died left it. */
		if (put(damon, ADMIN "/nr_kdamonds", "0") == 0)
			remove_marker(damon);
		damon->acquired = false;
	}
	array_free(&damon->pids);
	array_free(&damon->regions);
}
