/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See private-node.h. */
#include "private-node.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <numaif.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define NODE_DIR "/sys/devices/system/node"

static int checks, failures;

/* TAP */

static void report(bool condition, const char *name, va_list args)
{
	printf("%sok %d - ", condition ? "" : "not ", ++checks);
	vprintf(name, args);
	printf("\n");
	fflush(stdout);
	failures += !condition;
}

bool ok(bool condition, const char *name, ...)
{
	va_list args;

	va_start(args, name);
	report(condition, name, args);
	va_end(args);
	return condition;
}

void note(const char *text, ...)
{
	va_list args;

	va_start(args, text);
	printf("# ");
	vprintf(text, args);
	printf("\n");
	fflush(stdout);
	va_end(args);
}

int done(void)
{
	printf("1..%d\n", checks);
	return failures ? EXIT_FAILURE : EXIT_SUCCESS;
}

void need(bool condition, const char *name, ...)
{
	va_list args;

	if (condition)
		return;
	va_start(args, name);
	report(false, name, args);
	va_end(args);
	exit(done());
}

/* The test driver */

int npt_open(void)
{
	return open("/dev/node_private_test", O_RDWR | O_CLOEXEC);
}

static int npt_call(unsigned long request, void *argument)
{
	static int fd = -1;

	if (fd < 0)
		fd = npt_open();
	need(fd >= 0, "the kernel has its test driver for private nodes: %m");
	return ioctl(fd, request, argument) ? -errno : 0;
}

unsigned int npt_timeout_ms;

int npt_range(unsigned long request, int nid, unsigned int owner)
{
	struct npt_range range = {
		.nid = nid,
		.owner = owner,
		.start = card_start(),
		.size = card_size(),
		.online = 1,
		.timeout_ms = npt_timeout_ms,
	};

	return npt_range_at(request, &range);
}

int npt_range_at(unsigned long request, struct npt_range *range)
{
	return npt_call(request, range);
}

int npt_ops(unsigned long request, struct npt_ops *ops)
{
	return npt_call(request, ops);
}

int npt_set_ops(int nid, unsigned int flags)
{
	struct npt_ops ops = { .nid = nid, .flags = flags, .accept = -1 };
	int rc;

	rc = npt_ops(NPT_CLEAR_OPS, &ops);
	if (rc && rc != -EINVAL)
		return rc;
	return npt_ops(NPT_SET_OPS, &ops);
}

int npt_alloc(struct npt_alloc *alloc)
{
	return npt_call(NPT_ALLOC, alloc);
}

int npt_free(void)
{
	return npt_call(NPT_FREE, NULL);
}

unsigned int npt_give(int nid, unsigned int order, unsigned int count)
{
	struct npt_give give = { .nid = nid, .order = order, .count = count };

	need(npt_call(NPT_GIVE, &give) == 0, "the test driver gives what it keeps");
	return give.ret_count;
}

struct npt_stats npt_stats(int nid)
{
	struct npt_stats stats = { .nid = nid };

	need(npt_call(NPT_STATS, &stats) == 0, "the test driver counts callbacks");
	return stats;
}

struct npt_frames npt_frames(int nid)
{
	struct npt_frames frames = { .nid = nid };

	need(npt_call(NPT_FRAMES, &frames) == 0, "the test driver looks at frames");
	return frames;
}

int npt_file(size_t length, bool movable)
{
	struct npt_file file = { .size = length, .movable = movable };
	int rc = npt_call(NPT_FILE, &file);

	return rc ?: file.ret_fd;
}

/* Processes */

bool in_time(int seconds, bool (*function)(void *argument), void *argument)
{
	int status = -1;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0)
		_exit(function(argument) ? 0 : 1);
	need(pid > 0, "fork: %m");
	for (int i = 0; i < seconds * 20; i++) {
		if (waitpid(pid, &status, WNOHANG) == pid)
			return status == 0;
		usleep(50000);
	}
	kill(pid, SIGKILL);
	usleep(2000000);
	note("not done after %d s%s", seconds,
	     waitpid(pid, &status, WNOHANG) == pid ? "" : ", and not to be killed");
	return false;
}

/* Files */

int write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	ssize_t written;
	int rc = 0;

	if (fd < 0)
		return -errno;
	written = write(fd, text, strlen(text));
	if (written < 0)
		rc = -errno;
	close(fd);
	return rc;
}

char *read_file(const char *path)
{
	static char buffers[4][1 << 20];
	static unsigned int next;
	char *buffer = buffers[next++ % 4];
	size_t length = 0;
	ssize_t got;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	while (fd >= 0 && length < sizeof(buffers[0]) - 1) {
		got = read(fd, buffer + length, sizeof(buffers[0]) - 1 - length);
		if (got <= 0)
			break;
		length += got;
	}
	if (fd >= 0)
		close(fd);
	buffer[length] = '\0';
	return buffer;
}

bool node_in(const char *state_file, int nid)
{
	char path[256], *list, *end;
	long from, to;

	snprintf(path, sizeof(path), NODE_DIR "/%s", state_file);
	for (list = read_file(path); *list >= '0' && *list <= '9'; list = end + 1) {
		from = to = strtol(list, &end, 10);
		if (*end == '-')
			to = strtol(end + 1, &end, 10);
		if (nid >= from && nid <= to)
			return true;
		if (*end != ',')
			break;
	}
	return false;
}

long meminfo_kb(const char *key)
{
	char *text = read_file("/proc/meminfo");
	char *line = strstr(text, key);

	need(line != NULL, "/proc/meminfo has %s", key);
	return strtol(line + strlen(key) + 1, NULL, 10);
}

long vmstat(const char *name)
{
	char key[64], *at;

	snprintf(key, sizeof(key), "\n%s ", name);
	at = strstr(read_file("/proc/vmstat"), key);
	need(at != NULL, "/proc/vmstat has %s", name);
	return atol(at + strlen(key));
}

/* The memory module */

static uint64_t start, size;

uint64_t memory_block_bytes(void)
{
	return strtoull(read_file("/sys/devices/system/memory/block_size_bytes"), NULL, 16);
}

void node_range(int nid, uint64_t *ret_start, uint64_t *ret_size)
{
	uint64_t block = memory_block_bytes();
	uint64_t first = UINT64_MAX, blocks = 0;
	char path[64];
	struct dirent *entry;
	DIR *dir;

	snprintf(path, sizeof(path), NODE_DIR "/node%d", nid);
	dir = opendir(path);
	need(dir != NULL, "node %d is there", nid);
	while ((entry = readdir(dir))) {
		unsigned int number;

		if (sscanf(entry->d_name, "memory%u", &number) != 1)
			continue;
		if (number < first)
			first = number;
		blocks++;
	}
	closedir(dir);
	need(blocks != 0, "node %d has memory blocks", nid);
	*ret_start = first * block;
	*ret_size = blocks * block;
}

static void find_card(void)
{
	if (!size)
		node_range(CARD, &start, &size);
}

uint64_t card_start(void)
{
	find_card();
	return start;
}

uint64_t card_size(void)
{
	find_card();
	return size;
}

void card_private(void)
{
	int rc = npt_range(NPT_TAKE, CARD, 0);

	need(rc == 0, "the memory module can be taken away: %s", strerror(-rc));
	rc = npt_range(NPT_ADD, CARD, 0);
	need(rc == 0, "the memory module can be a private node: %s", strerror(-rc));
}

static void card_with(struct npt_ops ops)
{
	int rc = npt_range(NPT_TAKE, CARD, 0);

	need(rc == 0, "the memory module can be taken away: %s", strerror(-rc));
	rc = npt_range(NPT_REGISTER, CARD, 0);
	need(rc == 0, "the node can be registered: %s", strerror(-rc));
	rc = npt_ops(NPT_SET_OPS, &ops);
	need(rc == 0, "operations %#x: %s", ops.flags, strerror(-rc));
	rc = npt_range(NPT_ADD, CARD, 0);
	need(rc == 0, "the memory module can be a private node: %s", strerror(-rc));
}

void card_private_with(unsigned int flags)
{
	card_with((struct npt_ops){ .nid = CARD, .flags = flags, .accept = -1 });
}

void card_keeping(unsigned int flags)
{
	card_with((struct npt_ops){ .nid = CARD, .flags = flags, .accept = -1, .keep = 1 });
}

/* One number after a word, from where the text says so. */
static long number_after(const char *text, const char *end, const char *word)
{
	const char *at = strstr(text, word);

	return at && (!end || at < end) ? strtol(at + strlen(word), NULL, 10) : 0;
}

/* What /proc/zoneinfo says of a node's movable zone, or NULL. */
static const char *movable_zone(int nid, const char **ret_end)
{
	char header[64];
	const char *zone;

	snprintf(header, sizeof(header), "Node %d, zone  Movable", nid);
	zone = strstr(read_file("/proc/zoneinfo"), header);
	*ret_end = zone ? strstr(zone + 1, "\nNode ") : NULL;
	return zone;
}

long allocations(int nid)
{
	static const char *const COUNTERS[] = { "numa_hit ", "numa_miss " };
	char path[64], *text;
	long sum = 0;

	need(atoi(read_file("/proc/sys/vm/numa_stat")) == 1, "allocations are counted");
	snprintf(path, sizeof(path), NODE_DIR "/node%d/numastat", nid);
	text = read_file(path);
	for (size_t i = 0; i < sizeof(COUNTERS) / sizeof(*COUNTERS); i++) {
		const char *counter = strstr(text, COUNTERS[i]);

		need(counter != NULL, "%s has %s", path, COUNTERS[i]);
		sum += strtol(counter + strlen(COUNTERS[i]), NULL, 10);
	}
	return sum;
}

long managed_pages(int nid)
{
	const char *end, *zone = movable_zone(nid, &end);

	return zone ? number_after(zone, end, "managed") : 0;
}

long zone_number(int nid, const char *word)
{
	const char *end, *zone = movable_zone(nid, &end);
	char key[32];

	snprintf(key, sizeof(key), "\n        %s ", word);
	return zone ? number_after(zone, end, key) : 0;
}

/* As /proc/zoneinfo has it now, and how many pages processors keep for themselves. */
static long used_pages_once(int nid, long *ret_cached)
{
	long managed, free_pages, cached = 0;
	const char *zone, *end, *at;

	/* Folds the counters that each processor keeps for itself. */
	write_file("/proc/sys/vm/stat_refresh", "1");
	zone = movable_zone(nid, &end);
	if (!zone)
		return 0;
	managed = number_after(zone, end, "managed");
	free_pages = number_after(zone, end, "nr_free_pages");
	for (at = zone; (at = strstr(at, "count:")) && (!end || at < end); at++)
		cached += strtol(at + 6, NULL, 10);
	*ret_cached = cached;
	return managed - free_pages - cached;
}

void drain_lru_lists(int nid)
{
	char compact[64];

	/* Compaction begins with that; it does nothing else on a private node. */
	snprintf(compact, sizeof(compact), NODE_DIR "/node%d/compact", nid);
	write_file(compact, "1");
}

#define TRACING "/sys/kernel/tracing/"

static void trace_event(const char *event, const char *file, const char *text)
{
	char path[128];

	snprintf(path, sizeof(path), TRACING "events/%s/%s", event, file);
	need(write_file(path, text) == 0, "the event %s can be traced", event);
}

static void have_tracing(void)
{
	mount("tracefs", TRACING, "tracefs", 0, NULL);
}

bool has_trace_event(const char *event)
{
	char path[128];

	have_tracing();
	snprintf(path, sizeof(path), TRACING "events/%s", event);
	return access(path, F_OK) == 0;
}

static const char *traced;

static void trace(const char *event, const char *filter, const char *thread)
{
	/* What is there of another time goes as the files are truncated. */
	const int fd = open(TRACING "trace", O_WRONLY | O_TRUNC | O_CLOEXEC);
	const int threads = open(TRACING "set_event_pid", O_WRONLY | O_TRUNC | O_CLOEXEC);
	const ssize_t length = (ssize_t)strlen(thread);

	need(fd >= 0 && threads >= 0 && (!length || write(threads, thread, length) == length),
	     "the kernel can be traced: %m");
	close(fd);
	close(threads);
	traced = event;
	/* "0" takes a filter away. */
	trace_event(event, "filter", filter ? filter : "0");
	trace_event(event, "enable", "1");
}

void trace_begin(const char *event, const char *filter)
{
	char thread[16];

	have_tracing();
	snprintf(thread, sizeof(thread), "%d", (int)gettid());
	trace(event, filter, thread);
}

void trace_begin_all(const char *event)
{
	have_tracing();
	trace(event, NULL, "");
}

char *trace_end(void)
{
	trace_event(traced, "enable", "0");
	return read_file(TRACING "trace");
}

long used_pages(int nid)
{
	long used, again, cached, cached_again = 0;

	drain_lru_lists(nid);
	/*
	 * Folding counters makes a processor give pages back to the zone, and those
	 * are in neither count until the next time. Look until none were given.
	 */
	again = used_pages_once(nid, &cached_again);
	do {
		used = again;
		cached = cached_again;
		again = used_pages_once(nid, &cached_again);
	} while (again != used || cached_again != cached);
	return used;
}

long free_kb(void)
{
	static const char *const WORDS[] = { "nr_free_pages", "count:" };
	const char *text, *at;
	long pages = 0;

	write_file("/proc/sys/vm/drop_caches", "3");
	write_file("/proc/sys/vm/stat_refresh", "1");
	text = read_file("/proc/zoneinfo");
	for (size_t i = 0; i < 2; i++)
		for (at = text; (at = strstr(at, WORDS[i])); at++)
			pages += strtol(at + strlen(WORDS[i]), NULL, 10);
	return pages * (long)(PAGE / 1024);
}

/* Pages */

int node_of(const void *address)
{
	void *page = (void *)((uintptr_t)address & ~(PAGE - 1));
	int status = -ENOENT;

	if (move_pages(0, 1, &page, NULL, &status, 0))
		return -errno;
	return status;
}

size_t pages_on(const void *address, size_t length, int nid)
{
	size_t count = 0;

	for (size_t offset = 0; offset < length; offset += PAGE)
		count += node_of((const char *)address + offset) == nid;
	return count;
}

long move_to(void *address, size_t length, int nid)
{
	size_t n = length / PAGE;
	void **pages = calloc(n, sizeof(*pages));
	int *nodes = calloc(n, sizeof(*nodes));
	int *status = calloc(n, sizeof(*status));
	long rc;

	need(pages && nodes && status, "memory for a list of pages");
	for (size_t i = 0; i < n; i++) {
		pages[i] = (char *)address + i * PAGE;
		nodes[i] = nid;
	}
	rc = move_pages(0, n, pages, nodes, status, MPOL_MF_MOVE);
	if (rc < 0)
		rc = -errno;
	/* A single page: its own status says more. */
	if (rc == 0 && n == 1 && status[0] < 0)
		rc = status[0];
	free(pages);
	free(nodes);
	free(status);
	return rc;
}

long bind_to(void *address, size_t length, int mode, unsigned long mask, unsigned int flags)
{
	return mbind(address, length, mode, mask ? &mask : NULL, mask ? 65 : 0, flags) ? -errno : 0;
}

void page_map(const void *address, size_t length, uint64_t *ret_entries)
{
	const size_t bytes = length / PAGE * sizeof(*ret_entries);
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	off_t offset = (off_t)((uintptr_t)address / PAGE * sizeof(*ret_entries));

	need(fd >= 0 && pread(fd, ret_entries, bytes, offset) == (ssize_t)bytes, "page map: %m");
	close(fd);
}

void frames_of(const void *address, size_t length, uint64_t *ret_frames)
{
	const size_t n = length / PAGE;

	page_map(address, length, ret_frames);
	/* Bit 63: there is a page, and the low bits are its frame. */
	for (size_t i = 0; i < n; i++)
		ret_frames[i] = ret_frames[i] >> 63 ? ret_frames[i] & ((1ULL << 55) - 1) : 0;
}

uint64_t frame_of(const void *address)
{
	uint64_t frame;

	frames_of(address, PAGE, &frame);
	return frame;
}

int corrupt_frame(uint64_t frame)
{
	char text[32];

	snprintf(text, sizeof(text), "%#lx", frame);
	return write_file("/sys/kernel/debug/hwpoison/corrupt-pfn", text);
}

bool frame_is(uint64_t frame, unsigned int flag)
{
	int fd = open("/proc/kpageflags", O_RDONLY | O_CLOEXEC);
	uint64_t flags;

	need(fd >= 0 && pread(fd, &flags, sizeof(flags), (off_t)(frame * sizeof(flags))) ==
				(ssize_t)sizeof(flags),
	     "flags of frame %#lx: %m", frame);
	close(fd);
	return flags >> flag & 1;
}

void *map_anonymous(size_t length)
{
	void *memory =
		mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	need(memory != MAP_FAILED, "mmap of %zu bytes: %m", length);
	return memory;
}

void *map_huge(size_t length)
{
	char *memory = map_anonymous(length + HUGE);
	char *aligned = (char *)(((uintptr_t)memory + HUGE - 1) & ~(HUGE - 1));

	if (aligned > memory)
		munmap(memory, (size_t)(aligned - memory));
	munmap(aligned + length, (size_t)(memory + HUGE - aligned));
	need(madvise(aligned, length, MADV_HUGEPAGE) == 0, "huge pages: %m");
	return aligned;
}

void *map_shared(size_t length, int *ret_fd)
{
	int fd = memfd_create("test", MFD_CLOEXEC);
	void *memory;

	need(fd >= 0 && ftruncate(fd, (off_t)length) == 0, "memfd of %zu bytes: %m", length);
	memory = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	need(memory != MAP_FAILED, "mmap of %zu bytes: %m", length);
	if (ret_fd)
		*ret_fd = fd;
	else
		close(fd);
	return memory;
}

void *map_huge_file(size_t length, int *ret_fd)
{
	char *memory = map_huge(length);
	int fd = memfd_create("huge", MFD_CLOEXEC);

	need(write_file("/sys/kernel/mm/transparent_hugepage/shmem_enabled", "advise") == 0,
	     "huge pages for files");
	need(fd >= 0 && ftruncate(fd, (off_t)length) == 0 &&
		     mmap(memory, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) ==
			     memory &&
		     madvise(memory, length, MADV_HUGEPAGE) == 0,
	     "a file for huge pages: %m");
	fill(memory, length, 5);
	need(meminfo_kb("ShmemHugePages:") >= (long)(length / 1024), "it has huge pages");
	*ret_fd = fd;
	return memory;
}

/* splitmix64: every word of a page differs from its neighbours. */
static uint64_t word(uint64_t seed, uint64_t index)
{
	uint64_t z = seed + (index + 1) * 0x9e3779b97f4a7c15ULL;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

void fill(void *address, size_t length, uint64_t seed)
{
	uint64_t *words = address;

	for (size_t i = 0; i < length / sizeof(*words); i++)
		words[i] = word(seed, i);
}

bool filled(const void *address, size_t length, uint64_t seed)
{
	const uint64_t *words = address;

	for (size_t i = 0; i < length / sizeof(*words); i++)
		if (words[i] != word(seed, i))
			return false;
	return true;
}

char *small_on(int nid, size_t length)
{
	char *memory = map_anonymous(length);

	need(madvise(memory, length, MADV_NOHUGEPAGE) == 0, "small pages: %m");
	fill(memory, length, 5);
	need(move_to(memory, length, nid) == 0 && pages_on(memory, length, nid) == length / PAGE,
	     "memory on node %d", nid);
	return memory;
}

char *huge_on(int nid, size_t length)
{
	char *memory = map_huge(length);

	fill(memory, length, 5);
	need(move_to(memory, length, nid) == 0 && node_of(memory) == nid, "a huge page on node %d",
	     nid);
	return memory;
}

void khugepaged_sleeps(void)
{
	need(write_file(KHUGEPAGED "scan_sleep_millisecs", "3600000") == 0, "khugepaged sleeps");
}

void demotion(bool enabled)
{
	need(write_file("/sys/kernel/mm/numa/demotion_enabled", enabled ? "1" : "0") == 0,
	     "demotion can be enabled and disabled");
}

int userfaultfd_for(char *memory, size_t length, uint64_t mode, uint64_t features)
{
	struct uffdio_api api = { .api = UFFD_API, .features = features };
	struct uffdio_register range = { .range = { (uintptr_t)memory, length }, .mode = mode };
	int fd = (int)syscall(__NR_userfaultfd, O_CLOEXEC);

	if (fd < 0 || ioctl(fd, UFFDIO_API, &api) || ioctl(fd, UFFDIO_REGISTER, &range)) {
		close(fd);
		return -1;
	}
	return fd;
}

bool debug_kernel(void)
{
	return access("/sys/kernel/debug/fail_page_alloc", F_OK) == 0;
}

bool blocks_by_sysfs(void)
{
	return !debug_kernel();
}

bool thread_runs(const char *name)
{
	char path[300], line[64];
	struct dirent *entry;
	DIR *dir = opendir("/proc");
	bool found = false;

	snprintf(line, sizeof(line), "%s\n", name);
	while (dir && !found && (entry = readdir(dir))) {
		if (entry->d_name[0] < '0' || entry->d_name[0] > '9')
			continue;
		snprintf(path, sizeof(path), "/proc/%s/comm", entry->d_name);
		found = strcmp(read_file(path), line) == 0;
	}
	if (dir)
		closedir(dir);
	return found;
}

/* Control groups */

#define CGROUPS "/sys/fs/cgroup"

void enter_cgroup(const char *name)
{
	char path[128], pid[16];

	write_file(CGROUPS "/cgroup.subtree_control", "+memory +cpuset");
	snprintf(path, sizeof(path), CGROUPS "/%s", name);
	mkdir(path, 0755);
	snprintf(pid, sizeof(pid), "%d", getpid());
	need(write_cgroup(name, "cgroup.procs", pid) == 0, "join cgroup %s", name);
}

void leave_cgroup(void)
{
	char pid[16];

	snprintf(pid, sizeof(pid), "%d", getpid());
	need(write_file(CGROUPS "/cgroup.procs", pid) == 0, "leave the cgroup");
}

int write_cgroup(const char *name, const char *file, const char *text)
{
	char path[128];

	snprintf(path, sizeof(path), CGROUPS "/%s/%s", name, file);
	return write_file(path, text);
}

long cgroup_pages(const char *name, const char *key, int nid)
{
	char path[128], field[64], *line, *value;

	snprintf(path, sizeof(path), CGROUPS "/%s/memory.numa_stat", name);
	snprintf(field, sizeof(field), "%s N", key);
	line = read_file(path);
	while (line && strncmp(line, field, strlen(field)) != 0) {
		line = strchr(line, '\n');
		line = line ? line + 1 : NULL;
	}
	need(line != NULL, "memory.numa_stat has %s", key);
	line[strcspn(line, "\n")] = '\0';
	snprintf(field, sizeof(field), " N%d=", nid);
	value = strstr(line, field);
	need(value != NULL, "%s of node %d", key, nid);
	return atol(value + strlen(field)) / (long)PAGE;
}

void swap_on(const char *much)
{
	char command[192];

	snprintf(
		command, sizeof(command),
		"d=/dev/vda; [ -b $d ] || { d=/dev/zram0 && echo %s >/sys/block/zram0/disksize; } && mkswap $d >/dev/null && swapon $d",
		much);
	need(system(command) == 0, "swap to go to");
}
