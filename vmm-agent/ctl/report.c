// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The support bundle: one tar file with what the agent says and what the kernel says of memory.
 * Never a guest's memory, a command line, an environment or a domain's XML: those hold secrets.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "ctl/ctl.h"
#include "util/cleanup.h"
#include "util/file.h"

#define FILE_MAX    (4U << 20) /* bytes of one file in it */
#define BLOCK	    512	       /* of tar */
#define NAME_IN_TAR 100	       /* bytes, without the directory above */

struct bundle {
	FILE *f;
	char top[64]; /* the directory in it */
	time_t now;
	FILE *missing; /* what could not be had, and why */
	bool partial;
};

/* ------------------------------------------------------------------ tar, as POSIX has it */

/* The header of a file; a name of more than NAME_IN_TAR bytes has no place in it. */
static void add_header(struct bundle *b, const char *name, size_t size)
{
	char block[BLOCK] = { 0 };
	unsigned int sum = 0;

	memcpy(block, name, strnlen(name, NAME_IN_TAR));
	snprintf(block + 100, 8, "%07o", 0640);
	snprintf(block + 108, 8, "%07o", 0);
	snprintf(block + 116, 8, "%07o", 0);
	snprintf(block + 124, 12, "%011zo", size);
	snprintf(block + 136, 12, "%011llo", (unsigned long long)b->now);
	memset(block + 148, ' ', 8);
	block[156] = '0';
	memcpy(block + 257, "ustar\0\60\60", 8);
	snprintf(block + 345, 155, "%s", b->top);
	for (size_t i = 0; i < BLOCK; i++)
		sum += (unsigned char)block[i];
	snprintf(block + 148, 8, "%06o", sum);
	fwrite(block, 1, BLOCK, b->f);
}

static void add(struct bundle *b, const char *name, const char *data, size_t size)
{
	static const char zeros[BLOCK];

	add_header(b, name, size);
	fwrite(data, 1, size, b->f);
	fwrite(zeros, 1, (BLOCK - size % BLOCK) % BLOCK, b->f);
}

/* ------------------------------------------------------------------ what is in it */

static void lacks(struct bundle *b, const char *what, const char *why)
{
	fprintf(b->missing, "%s: %s\n", what, why);
	b->partial = true;
}

static void add_call(struct bundle *b, const struct options *o, const char *method, const char *vm,
		     const char *name)
{
	cleanup_json struct json_object *reply = NULL;
	struct cram_error err = { 0 };
	char text[CRAM_ERROR_TEXT];
	const char *json;

	if (try_call(o, CRAM_IFACE_STATUS, method, vm ? vm_parameters(vm) : NULL, &reply, &err) !=
	    EXIT_OK) {
		lacks(b, name, cram_error_format(&err, text, sizeof(text)));
		return;
	}
	json = json_object_to_json_string_ext(reply, JSON_C_TO_STRING_PRETTY |
							     JSON_C_TO_STRING_NOSLASHESCAPE);
	add(b, name, json, strlen(json));
}

/* Settings and the last decision of each VM; files are named by UUID, for it is safe in a path. */
static void add_vms(struct bundle *b, const struct options *o)
{
	cleanup_json struct json_object *reply = NULL;
	struct cram_error err = { 0 };
	struct json_object *list, *v;

	if (try_call(o, CRAM_IFACE_STATUS, "ListVms", NULL, &reply, &err) != EXIT_OK ||
	    !json_object_object_get_ex(reply, "vms", &list) ||
	    !json_object_is_type(list, json_type_array))
		return; /* vms.json lacks already */
	for (size_t i = 0; i < json_object_array_length(list); i++) {
		const char *uuid;
		char name[96];

		if (!json_object_object_get_ex(json_object_array_get_idx(list, i), "uuid", &v))
			continue;
		uuid = json_object_get_string(v);
		if (!uuid[0] || strlen(uuid) > 40 ||
		    strspn(uuid, "0123456789abcdefABCDEF-pid") != strlen(uuid))
			continue;
		snprintf(name, sizeof(name), "vm/%s-settings.json", uuid);
		add_call(b, o, "ShowVm", uuid, name);
		snprintf(name, sizeof(name), "vm/%s-decision.json", uuid);
		add_call(b, o, "ExplainVm", uuid, name);
	}
}

/* Of the kernel; patterns of glob(7). What a kernel does not have is not missed. */
static const char *const files[] = {
	"/etc/os-release",
	"/etc/cramd/cramd.conf",
	"/etc/cramd/cramd.conf.d/*.conf",
	"/proc/version",
	"/proc/meminfo",
	"/proc/vmstat",
	"/proc/zoneinfo",
	"/proc/buddyinfo",
	"/proc/swaps",
	"/proc/loadavg",
	"/proc/iomem",
	"/proc/pressure/*",
	"/sys/devices/system/memory/auto_online_blocks",
	"/sys/devices/system/memory/block_size_bytes",
	"/sys/devices/system/node/has_*",
	"/sys/devices/system/node/online",
	"/sys/devices/system/node/node*/cpulist",
	"/sys/devices/system/node/node*/distance",
	"/sys/devices/system/node/node*/meminfo",
	"/sys/devices/system/node/node*/vmstat",
	"/sys/devices/system/node/node*/cram/*",
	"/sys/devices/virtual/memory_tiering/*/nodelist",
	"/sys/bus/cxl/devices/region*/size",
	"/sys/bus/cxl/devices/region*/resource",
	"/sys/bus/cxl/devices/region*/target*",
	"/sys/bus/cxl/devices/mem*/serial",
	"/sys/bus/cxl/devices/mem*/firmware_version",
	"/sys/kernel/mm/transparent_hugepage/*enabled",
	"/sys/kernel/mm/numa/demotion_enabled",
	"/sys/kernel/mm/lru_gen/enabled",
	"/sys/kernel/mm/damon/admin/kdamonds/nr_kdamonds",
	"/sys/kernel/mm/damon/admin/kdamonds/*/state",
	"/sys/module/zswap/parameters/*",
	"/sys/fs/cgroup/machine.slice/*/memory.current",
	"/sys/fs/cgroup/machine.slice/*/memory.stat",
	"/sys/fs/cgroup/machine.slice/*/memory.cram.*",
	"/proc/sys/vm/min_free_kbytes",
	"/proc/sys/vm/swappiness",
	"/proc/sys/kernel/numa_balancing",
	"/proc/sys/kernel/tainted",
};

static void add_file(struct bundle *b, const char *path)
{
	cleanup_free char *data = NULL;
	char name[PATH_MAX];
	size_t size;
	int r = cram_file_read(path, FILE_MAX, &data, &size);

	if (snprintf(name, sizeof(name), "host%s", path) > NAME_IN_TAR)
		lacks(b, path, "its name is too long");
	else if (r < 0)
		lacks(b, path, strerror(-r));
	else
		add(b, name, data, size);
}

static void add_files(struct bundle *b)
{
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		glob_t found = { 0 };

		if (glob(files[i], 0, NULL, &found) == 0)
			for (size_t k = 0; k < found.gl_pathc; k++)
				add_file(b, found.gl_pathv[k]);
		globfree(&found);
	}
}

/* What a program of the system prints, by the fixed words of @command. */
static void add_output(struct bundle *b, const char *command, const char *name)
{
	FILE *f = popen(command, "re");
	cleanup_free char *data = malloc(FILE_MAX);
	size_t n = 0;

	if (!f || !data) {
		lacks(b, name, strerror(errno));
		if (f)
			pclose(f);
		return;
	}
	n = fread(data, 1, FILE_MAX, f);
	if (pclose(f) != 0 && n == 0)
		lacks(b, name, "nothing to be had");
	else
		add(b, name, data, n);
}

static int fill(struct bundle *b, const struct options *o)
{
	static const char zeros[2 * BLOCK];
	cleanup_free char *text = NULL;
	size_t size = 0;

	b->missing = open_memstream(&text, &size);
	if (!b->missing)
		return -ENOMEM;
	add_call(b, o, "GetStatus", NULL, "status.json");
	add_call(b, o, "ListVms", NULL, "vms.json");
	add_call(b, o, "Check", NULL, "check.json");
	add_call(b, o, "Record", NULL, "record.json");
	add_vms(b, o);
	add_files(b);
	add_output(b, "journalctl --no-pager --quiet -n 5000 -u cramd 2>/dev/null", "cramd.log");
	add_output(b,
		   "dmesg 2>/dev/null | grep -iE 'cxl|cram|numa|memory|oom|out of|hung|stall' | "
		   "tail -n 5000",
		   "kernel.log");
	fclose(b->missing);
	add(b, "missing.txt", text, size);
	fwrite(zeros, 1, sizeof(zeros), b->f);
	return ferror(b->f) || fflush(b->f) != 0 ? -(errno ? errno : EIO) : 0;
}

static void name_it(struct bundle *b)
{
	struct utsname host;
	char stamp[32] = "";
	struct tm tm;

	b->now = time(NULL);
	if (gmtime_r(&b->now, &tm))
		strftime(stamp, sizeof(stamp), "%Y%m%dT%H%M%SZ", &tm);
	if (uname(&host) < 0)
		host.nodename[0] = '\0';
	snprintf(b->top, sizeof(b->top), "cram-%.16s-%s", host.nodename, stamp);
}

int run_report(const struct options *o, int argc, char **argv)
{
	struct bundle b = { 0 };
	cleanup_file FILE *f = NULL;
	char name[PATH_MAX];
	int fd, r;

	name_it(&b);
	snprintf(name, sizeof(name), "%s.tar", b.top);
	if (argc > 0)
		snprintf(name, sizeof(name), "%s", argv[0]);
	fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0) {
		fprintf(stderr, "cramctl: %s: cannot create: %s%s\n", name, strerror(errno),
			errno == EEXIST ? "; name another one, or remove it" : "");
		return EXIT_FAILED;
	}
	f = fdopen(fd, "w");
	if (!f) {
		close(fd);
		unlink(name);
		return EXIT_FAILED;
	}
	b.f = f;
	r = fill(&b, o);
	if (r < 0) {
		fprintf(stderr, "cramctl: %s: cannot write: %s\n", name, strerror(-r));
		unlink(name);
		return EXIT_FAILED;
	}
	if (o->json) {
		cleanup_json struct json_object *out = json_object_new_object();

		json_object_object_add(out, "file", json_object_new_string(name));
		json_object_object_add(out, "complete", json_object_new_boolean(!b.partial));
		print_json(out, false);
	} else {
		printf("%s%s\n", name,
		       b.partial ? ": not all could be had, see missing.txt in it" : "");
	}
	return b.partial ? EXIT_PARTIAL : EXIT_OK;
}
