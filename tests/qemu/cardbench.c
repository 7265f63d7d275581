// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Works a compressed card from inside the emulated host: speed of its memory
 * beside DRAM's, code executed from it, reports while it is written to, bytes
 * stored beside what the compression libraries make of the same pages. Reads
 * the card's report the way any user space can (Get Log). It measures and
 * says; what is good enough the test that calls it decides.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/cxl_mem.h>
#include <lz4.h>
#include <numaif.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include <zstd.h>

#define PAGE	      4096u
#define MIB	      (1024u * 1024u)
#define ROUNDS	      60
#define BENCH_BYTES   (16u * MIB)
#define STRIDE_PASSES 8
#define REPORT_SIZE   256

static const uint8_t log_uuid[16] = {
	0xb3, 0x70, 0x2a, 0x51, 0x20, 0x82, 0x48, 0x05,
	0xaa, 0x6a, 0xd2, 0xde, 0xe4, 0x0e, 0x78, 0x95,
};

static void cleanup_close(const int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Anonymous memory, all of it on @node; for the life of the process. */
static int map_on_node(int node, size_t bytes, int prot, uint8_t **ret_mem)
{
	unsigned long mask = 1ul << node;
	uint8_t *mem;

	mem = mmap(NULL, bytes, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (mem == MAP_FAILED)
		return -errno;
	/* Small pages on both sides: the same page walks are compared. */
	if (madvise(mem, bytes, MADV_NOHUGEPAGE) < 0 && errno != EINVAL)
		return -errno;
	if (mbind(mem, bytes, MPOL_BIND, &mask, sizeof(mask) * 8, MPOL_MF_STRICT) < 0)
		return -errno;
	*ret_mem = mem;
	return 0;
}

static int node_of(void *mem, int *ret_node)
{
	if (move_pages(0, 1, &mem, NULL, ret_node, 0) < 0)
		return -errno;
	return *ret_node < 0 ? *ret_node : 0;
}

/* Returns 0 or -errno; a report the device refuses is -EIO. */
static int read_report(const char *memdev, uint8_t *ret_report)
{
	__attribute__((cleanup(cleanup_close))) int fd = -1;
	struct cxl_send_command cmd = { .id = CXL_MEM_COMMAND_ID_GET_LOG };
	uint8_t in[24] = { 0 }, out[REPORT_SIZE];
	uint32_t length = htole32(REPORT_SIZE);

	fd = open(memdev, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	memcpy(in, log_uuid, sizeof(log_uuid));
	memcpy(in + 20, &length, sizeof(length));
	cmd.in.size = sizeof(in);
	cmd.in.payload = (uintptr_t)in;
	cmd.out.size = sizeof(out);
	cmd.out.payload = (uintptr_t)out;
	if (ioctl(fd, CXL_MEM_SEND_COMMAND, &cmd) < 0)
		return -errno;
	if (cmd.retval || cmd.out.size != REPORT_SIZE)
		return -EIO;
	memcpy(ret_report, out, sizeof(out));
	return 0;
}

static uint64_t report_field(const uint8_t *report, unsigned int offset)
{
	uint64_t value;

	memcpy(&value, report + offset, sizeof(value));
	return le64toh(value);
}

static double fill(uint8_t *mem, int round)
{
	double start = now();

	memset(mem, round + 1, BENCH_BYTES);
	return now() - start;
}

static double copy(uint8_t *mem, int round)
{
	double start = now();

	(void)round;
	memcpy(mem, mem + BENCH_BYTES / 2, BENCH_BYTES / 2);
	return now() - start;
}

static double stride(uint8_t *mem, int round)
{
	double start = now();

	(void)round;
	for (int pass = 0; pass < STRIDE_PASSES; pass++)
		for (size_t i = 0; i < BENCH_BYTES; i += 64)
			(void)*(volatile uint64_t *)(mem + i);
	return now() - start;
}

static int compare_doubles(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *values)
{
	qsort(values, ROUNDS, sizeof(double), compare_doubles);
	return values[ROUNDS / 2];
}

/*
 * Rounds on DRAM and on the card in turn; what counts is the median of the
 * ratios of neighbours, which what disturbs both does not change. The speeds
 * are medians too: in a best round the card happened not to look at what was
 * written.
 */
static int bandwidth(int node)
{
	static const struct {
		const char *name;
		double (*run)(uint8_t *mem, int round);
		double bytes;
	} tests[] = {
		{ "fill", fill, BENCH_BYTES },
		{ "copy", copy, BENCH_BYTES / 2.0 },
		{ "stride", stride, STRIDE_PASSES * (double)BENCH_BYTES },
	};
	uint8_t *mem[2] = { NULL, NULL };
	int rc;

	for (int i = 0; i < 2; i++) {
		rc = map_on_node(i ? node : 0, BENCH_BYTES, PROT_READ | PROT_WRITE, &mem[i]);
		if (rc < 0) {
			fprintf(stderr, "cardbench: memory on node %d: %s\n", i ? node : 0,
				strerror(-rc));
			return rc;
		}
		memset(mem[i], 1, BENCH_BYTES);
	}
	for (size_t t = 0; t < sizeof(tests) / sizeof(tests[0]); t++) {
		double seconds[2][ROUNDS], ratio[ROUNDS];

		for (int round = 0; round < ROUNDS; round++) {
			for (int i = 0; i < 2; i++) {
				int which = (round + i) % 2;

				seconds[which][round] = tests[t].run(mem[which], round);
			}
			ratio[round] = seconds[0][round] / seconds[1][round];
		}
		printf("%s dram=%.0f card=%.0f MB/s percent=%.0f\n", tests[t].name,
		       tests[t].bytes / median(seconds[0]) / 1e6,
		       tests[t].bytes / median(seconds[1]) / 1e6, 100.0 * median(ratio));
	}
	return 0;
}

/* mov $0x2a, %eax; ret */
static const uint8_t code[] = { 0xb8, 0x2a, 0x00, 0x00, 0x00, 0xc3 };

static int execute(int node)
{
	uint8_t *mem = NULL;
	int (*function)(void);
	int rc, where = -1;
	double start;

	rc = map_on_node(node, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, &mem);
	if (rc < 0)
		return rc;
	memcpy(mem, code, sizeof(code));
	rc = node_of(mem, &where);
	if (rc < 0)
		return rc;
	memcpy(&function, &mem, sizeof(function));
	start = now();
	for (int i = 0; i < 1000000; i++)
		if (function() != 42)
			return -EILSEQ;
	printf("executed on node %d, %.3f us a call\n", where, (now() - start));
	/* Written again, it is the new code that runs. */
	mem[1] = 0x2b;
	return function() == 43 ? 0 : -EILSEQ;
}

static atomic_bool storm_over;

struct storm {
	uint8_t *mem;
	size_t bytes;
	uint64_t seed;
};

static void *storm(void *opaque)
{
	struct storm *s = opaque;
	uint64_t x = s->seed;

	while (!atomic_load(&storm_over))
		for (size_t i = 0; i < s->bytes; i += 64) {
			x ^= x << 13;
			x ^= x >> 7;
			x ^= x << 17;
			*(volatile uint64_t *)(s->mem + i) = x;
		}
	return NULL;
}

static int start_storm(pthread_t *ret_thread, struct storm *s, uint8_t *mem, size_t bytes,
		       uint64_t seed)
{
	*s = (struct storm){ .mem = mem, .bytes = bytes, .seed = seed };
	return -pthread_create(ret_thread, NULL, storm, s);
}

/* Says where it is and waits for a line on standard input, or its end. */
static void stop_at(const char *where)
{
	int c;

	printf("at %s\n", where);
	fflush(stdout);
	do
		c = getchar();
	while (c != '\n' && c != EOF);
}

/*
 * Two writers sweep over @mib MiB on the card; how long do reports take? Who
 * watches from outside is told when the storm has risen and when the last
 * report is in, while it still blows.
 */
static int storm_reports(int node, const char *memdev, unsigned int mib, int reports)
{
	pthread_t thread[2];
	struct storm s[2];
	uint8_t *mem = NULL;
	uint8_t report[REPORT_SIZE];
	double longest = 0, sum = 0;
	uint64_t worst_case = 0;
	int rc;

	rc = map_on_node(node, (size_t)mib * MIB, PROT_READ | PROT_WRITE, &mem);
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < 2; i++) {
		size_t half = (size_t)mib * MIB / 2;

		rc = start_storm(&thread[i], &s[i], mem + i * half, half, i + 1);
		if (rc < 0)
			return rc;
	}
	sleep(1);
	stop_at("storm");
	for (int i = 0; i < reports && rc == 0; i++) {
		double start = now(), seconds;

		rc = read_report(memdev, report);
		seconds = now() - start;
		sum += seconds;
		if (seconds > longest)
			longest = seconds;
		if (report_field(report, 0x38))
			worst_case++;
		usleep(50 * 1000);
	}
	stop_at("reported");
	atomic_store(&storm_over, true);
	for (int i = 0; i < 2; i++)
		pthread_join(thread[i], NULL);
	if (rc == 0)
		printf("reports=%d longest=%.0f mean=%.0f ms worst_case=%" PRIu64 "\n", reports,
		       longest * 1000, sum / reports * 1000, worst_case);
	return rc;
}

struct reporter {
	const char *memdev;
	int cpu;
	int reports;
	double longest;
	int rc;
};

static void *reporter(void *opaque)
{
	struct reporter *r = opaque;
	uint8_t report[REPORT_SIZE];
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(r->cpu, &cpus);
	r->rc = sched_setaffinity(0, sizeof(cpus), &cpus) < 0 ? -errno : 0;
	for (int i = 0; i < r->reports && r->rc == 0; i++) {
		double start = now();

		r->rc = read_report(r->memdev, report);
		if (now() - start > r->longest)
			r->longest = now() - start;
	}
	return NULL;
}

/* Two cards, both written to, asked at once, from two processors. */
static int both_report(const int node[2], const char *const memdev[2], int reports)
{
	pthread_t writer[2], asker[2];
	struct reporter r[2];
	struct storm s[2];
	int rc;

	for (int i = 0; i < 2; i++) {
		const size_t bytes = 32 * (size_t)MIB;
		uint8_t *mem = NULL;

		rc = map_on_node(node[i], bytes, PROT_READ | PROT_WRITE, &mem);
		if (rc == 0)
			rc = start_storm(&writer[i], &s[i], mem, bytes, (uint64_t)i + 1);
		if (rc < 0)
			return rc;
	}
	for (int i = 0; i < 2; i++) {
		r[i] = (struct reporter){ .memdev = memdev[i], .cpu = i, .reports = reports };
		rc = -pthread_create(&asker[i], NULL, reporter, &r[i]);
		if (rc < 0)
			return rc;
	}
	for (int i = 0; i < 2; i++)
		pthread_join(asker[i], NULL);
	atomic_store(&storm_over, true);
	for (int i = 0; i < 2; i++)
		pthread_join(writer[i], NULL);
	printf("both reports=%d longest=%.0f ms\n", 2 * reports,
	       1000 * (r[0].longest > r[1].longest ? r[0].longest : r[1].longest));
	return r[0].rc ? r[0].rc : r[1].rc;
}

static int show_report(const char *memdev)
{
	uint8_t report[REPORT_SIZE];
	int rc;

	rc = read_report(memdev, report);
	if (rc < 0)
		return rc;
	printf("generation=%" PRIu64 " logical=%" PRIu64 " usable=%" PRIu64 " stored=%" PRIu64
	       " peak=%" PRIu64 " excess=%" PRIu64 " lost=%" PRIu64 "\n",
	       report_field(report, 0x08), report_field(report, 0x10), report_field(report, 0x28),
	       report_field(report, 0x30), report_field(report, 0x58), report_field(report, 0x88),
	       report_field(report, 0x60));
	return 0;
}

/*
 * @mib MiB on the card, one page in @ratio parts random and the rest a
 * constant, written slowly enough for the card to keep up, then read back.
 */
static int fill_card(int node, const char *memdev, unsigned int mib, unsigned int ratio)
{
	uint8_t *mem = NULL;
	uint8_t report[REPORT_SIZE];
	uint64_t x = 88172645463325252u, wrong = 0;
	int rc;

	rc = map_on_node(node, (size_t)mib * MIB, PROT_READ | PROT_WRITE, &mem);
	if (rc < 0)
		return rc;
	for (size_t page = 0; page < (size_t)mib * MIB / PAGE; page++) {
		uint64_t *words = (uint64_t *)(void *)(mem + page * PAGE);

		for (unsigned int i = 0; i < PAGE / 8; i++) {
			x ^= x << 13;
			x ^= x >> 7;
			x ^= x << 17;
			words[i] = i < PAGE / 8 / ratio ? x : 0x0101010101010101u;
		}
		if (page % 4096 == 4095) {
			rc = read_report(memdev, report);
			if (rc < 0)
				return rc;
		}
	}
	rc = show_report(memdev);
	x = 88172645463325252u;
	for (size_t page = 0; page < (size_t)mib * MIB / PAGE; page++) {
		const uint64_t *words = (const uint64_t *)(const void *)(mem + page * PAGE);
		bool damaged = false;

		for (unsigned int i = 0; i < PAGE / 8; i++) {
			x ^= x << 13;
			x ^= x >> 7;
			x ^= x << 17;
			damaged |= words[i] != (i < PAGE / 8 / ratio ? x : 0x0101010101010101u);
		}
		wrong += damaged;
	}
	printf("damaged=%" PRIu64 "\n", wrong);
	return rc;
}

/* What the card is documented to need for a page: docs/design/cxl-compressed-card.md. */
static uint64_t stored_bytes(const char *algorithm, const uint8_t *page)
{
	static const uint8_t zero[PAGE];
	char out[2 * PAGE];
	uint64_t bytes;

	if (memcmp(page, zero, PAGE) == 0)
		return 0;
	if (strcmp(algorithm, "lz4") == 0)
		bytes = (uint64_t)LZ4_compress_default((const char *)page, out, PAGE, sizeof(out));
	else
		bytes = ZSTD_compress(out, sizeof(out), page, PAGE, 1);
	bytes = (bytes + 63) / 64 * 64;
	return bytes < PAGE ? bytes : PAGE;
}

/*
 * The pages of @path and 4096 more, from compressible to random, to memory of
 * @node, which nobody else uses; compares what the card says they take with
 * what the library says.
 */
static int exact(int node, const char *memdev, const char *algorithm, const char *path)
{
	__attribute__((cleanup(cleanup_close))) int fd = open(path, O_RDONLY | O_CLOEXEC);
	const uint64_t made = 4096, most = 8192;
	uint8_t report[REPORT_SIZE], *mem = NULL, *page;
	uint64_t want = 0, pages = 0, before, x = 88172645463325252u;
	ssize_t n = 1;
	int rc;

	if (fd < 0)
		return -errno;
	rc = map_on_node(node, (made + most) * PAGE, PROT_READ | PROT_WRITE, &mem);
	if (rc == 0)
		rc = read_report(memdev, report);
	if (rc < 0)
		return rc;
	before = report_field(report, 0x30);
	for (; n > 0 && pages < most; pages++) {
		page = mem + pages * PAGE;
		n = read(fd, page, PAGE);
		if (n < 0)
			return -errno;
		want += stored_bytes(algorithm, page);
	}
	for (uint64_t length = 1; length <= made; length++, pages++) {
		page = mem + pages * PAGE;
		for (uint64_t i = 0; i < length; i++) {
			x ^= x << 13;
			x ^= x >> 7;
			x ^= x << 17;
			page[i] = (uint8_t)(x >> 32);
		}
		want += stored_bytes(algorithm, page);
	}
	rc = read_report(memdev, report);
	if (rc < 0)
		return rc;
	printf("exact algorithm=%s pages=%" PRIu64 " stored=%" PRIu64 " library=%" PRIu64 "\n",
	       report[0xd8] == 2 ? "lz4" : "zstd", pages, report_field(report, 0x30) - before,
	       want);
	return 0;
}

/* @mib MiB of the card in use while something is done to it; what is left? */
static int hold(int node, unsigned int mib)
{
	static const uint8_t zero[PAGE];
	uint64_t pages = (uint64_t)mib * MIB / PAGE, intact = 0, empty = 0;
	uint8_t *mem = NULL, page[PAGE];
	int rc;

	rc = map_on_node(node, (size_t)mib * MIB, PROT_READ | PROT_WRITE, &mem);
	if (rc < 0)
		return rc;
	memset(page, 0xa5, PAGE);
	memset(mem, 0xa5, (size_t)mib * MIB);
	stop_at("held");
	for (uint64_t i = 0; i < pages; i++) {
		intact += memcmp(mem + i * PAGE, page, PAGE) == 0;
		empty += memcmp(mem + i * PAGE, zero, PAGE) == 0;
	}
	/* A store that goes nowhere must not stop anybody. */
	memset(mem, 0x5a, (size_t)mib * MIB);
	printf("held pages=%" PRIu64 " intact=%" PRIu64 " zero=%" PRIu64 "\n", pages, intact,
	       empty);
	return 0;
}

static sigjmp_buf beyond_loss;
static int loss_code;
static void *loss_at;

static void on_sigbus(int signal, siginfo_t *info, void *context)
{
	(void)signal;
	(void)context;
	loss_code = info->si_code;
	loss_at = info->si_addr;
	siglongjmp(beyond_loss, 1);
}

static int physical_address(const void *page, uint64_t *ret_address)
{
	__attribute__((cleanup(cleanup_close))) int fd =
		open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t entry;

	if (fd < 0)
		return -errno;
	if (pread(fd, &entry, sizeof(entry), (off_t)((uintptr_t)page / PAGE * 8)) != sizeof(entry))
		return -EIO;
	*ret_address = (entry & ((UINT64_C(1) << 55) - 1)) * PAGE;
	return 0;
}

/* Two pages of the card's; what is on the first is lost meanwhile. What does a reader get? */
/* What a process reads itself, and what it has the kernel read, both of which is lost. */
static int lose(int node)
{
	struct sigaction action = { .sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO };
	volatile int signals = 0;
	uint64_t read_address = 0, sent_address = 0;
	int rc, sent[2];
	uint8_t *mem = NULL;
	ssize_t n;

	rc = map_on_node(node, 3 * PAGE, PROT_READ | PROT_WRITE, &mem);
	if (rc < 0)
		return rc;
	memset(mem, 0xa5, 3 * PAGE);
	rc = physical_address(mem, &read_address);
	if (rc == 0)
		rc = physical_address(mem + 2 * PAGE, &sent_address);
	if (rc < 0)
		return rc;
	if (sigaction(SIGBUS, &action, NULL) < 0 || pipe(sent) < 0)
		return -errno;
	printf("page read=%" PRIu64 " sent=%" PRIu64 "\n", read_address, sent_address);
	stop_at("held");
	n = write(sent[1], mem + 2 * PAGE, PAGE);
	printf("sent bytes=%zd refused=%d signals=%d\n", n, n < 0 && errno == EFAULT, signals);
	if (sigsetjmp(beyond_loss, 1) == 0)
		(void)*(volatile uint8_t *)mem;
	else
		signals++;
	printf("lost signals=%d consumed=%d address=%d beside=%d\n", signals,
	       loss_code == BUS_MCEERR_AR, loss_at == mem, mem[PAGE] == 0xa5);
	return 0;
}

static int usage(void)
{
	fprintf(stderr, "usage: cardbench bandwidth NODE | execute NODE | report MEMDEV |\n"
			"       storm NODE MEMDEV MIB REPORTS | fill NODE MEMDEV MIB RATIO |\n"
			"       both NODE MEMDEV NODE MEMDEV REPORTS |\n"
			"       exact NODE MEMDEV zstd|lz4 FILE | hold NODE MIB |\n"
			"       lose NODE\n");
	return 2;
}

int main(int argc, char **argv)
{
	int rc;

	if (argc == 3 && strcmp(argv[1], "bandwidth") == 0)
		rc = bandwidth(atoi(argv[2]));
	else if (argc == 3 && strcmp(argv[1], "execute") == 0)
		rc = execute(atoi(argv[2]));
	else if (argc == 3 && strcmp(argv[1], "report") == 0)
		rc = show_report(argv[2]);
	else if (argc == 6 && strcmp(argv[1], "storm") == 0)
		rc = storm_reports(atoi(argv[2]), argv[3], (unsigned int)atoi(argv[4]),
				   atoi(argv[5]));
	else if (argc == 7 && strcmp(argv[1], "both") == 0)
		rc = both_report((int[]){ atoi(argv[2]), atoi(argv[4]) },
				 (const char *[]){ argv[3], argv[5] }, atoi(argv[6]));
	else if (argc == 4 && strcmp(argv[1], "hold") == 0)
		rc = hold(atoi(argv[2]), (unsigned int)atoi(argv[3]));
	else if (argc == 3 && strcmp(argv[1], "lose") == 0)
		rc = lose(atoi(argv[2]));
	else if (argc == 6 && strcmp(argv[1], "exact") == 0)
		rc = exact(atoi(argv[2]), argv[3], argv[4], argv[5]);
	else if (argc == 6 && strcmp(argv[1], "fill") == 0 && atoi(argv[5]) > 0)
		rc = fill_card(atoi(argv[2]), argv[3], (unsigned int)atoi(argv[4]),
			       (unsigned int)atoi(argv[5]));
	else
		return usage();
	if (rc < 0)
		fprintf(stderr, "cardbench: %s: %s\n", argv[1], strerror(-rc));
	return rc < 0 ? 1 : 0;
}
