// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The readers of procfs and sysfs, on lines as kernels print them and on damaged ones, and on a
 * recorded host below a root prefix.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cramd/sense/cgroup.h"
#include "cramd/sense/nodes.h"
#include "cramd/sense/pages.h"
#include "cramd/sense/proc.h"
#include "cramd/sense/qemu.h"
#include "cramd/sense/ramblock.h"
#include "util/cleanup.h"
#include "util/utf8.h"

static void numbers_are_read_strictly(void **state)
{
	static const struct {
		const char *text;
		unsigned int base;
		int result;
		uint64_t value;
	} cases[] = {
		{ "0", 10, 0, 0 },
		{ "18446744073709551615", 10, 0, UINT64_MAX },
		{ "18446744073709551616", 10, -ERANGE, 0 },
		{ "ffffffffffffffff", 16, 0, UINT64_MAX },
		{ "10000000000000000", 16, -ERANGE, 0 },
		{ "-1", 10, -EBADMSG, 0 },
		{ "+1", 10, -EBADMSG, 0 },
		{ " 1", 10, -EBADMSG, 0 },
		{ "", 10, -EBADMSG, 0 },
		{ "g", 16, -EBADMSG, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *p = cases[i].text;
		uint64_t value = 77;

		assert_int_equal(parse_u64(&p, cases[i].base, &value), cases[i].result);
		if (cases[i].result == 0)
			assert_int_equal(value, cases[i].value);
		else
			assert_int_equal(value, 77);
	}
}

static void node_lists_are_read(void **state)
{
	uint64_t mask = 99;

	(void)state;
	assert_int_equal(parse_node_list("0-1,4\n", &mask), 0);
	assert_int_equal(mask, 0x13);
	assert_int_equal(parse_node_list("\n", &mask), 0);
	assert_int_equal(mask, 0);
	assert_int_equal(parse_node_list("63", &mask), 0);
	assert_int_equal(mask, UINT64_C(1) << 63);
	mask = 99;
	assert_int_equal(parse_node_list("64", &mask), -ERANGE);
	assert_int_equal(parse_node_list("3-1", &mask), -EBADMSG);
	assert_int_equal(parse_node_list("1,", &mask), -EBADMSG);
	assert_int_equal(parse_node_list("1;2", &mask), -EBADMSG);
	assert_int_equal(parse_node_list("0-18446744073709551615", &mask), -ERANGE);
	assert_int_equal(mask, 99);
}

static void maps_lines_are_read(void **state)
{
	struct proc_map map;

	(void)state;
	assert_int_equal(
		proc_parse_map("7f2e4c000000-7f2e54000000 rw-s 00200000 00:01 1027          "
			       "             /memfd:memory-backend-memfd (deleted)",
			       &map),
		0);
	assert_int_equal(map.start, 0x7f2e4c000000);
	assert_int_equal(map.end, 0x7f2e54000000);
	assert_int_equal(map.offset, 0x200000);
	assert_int_equal(map.inode, 1027);
	assert_int_equal(map.dev_minor, 1);
	assert_true(map.readable && map.writable && map.shared);
	assert_string_equal(map.name, "/memfd:memory-backend-memfd (deleted)");

	assert_int_equal(proc_parse_map("7f0000000000-7f0000001000 r--p 00000000 00:00 0 ", &map),
			 0);
	assert_string_equal(map.name, "");
	assert_false(map.writable || map.shared);

	/* A name longer than what is kept is cut, not an error. */
	{
		char line[1024];

		snprintf(line, sizeof(line), "1000-2000 r--p 00000000 fe:01 7 /%0*d", 500, 7);
		assert_int_equal(proc_parse_map(line, &map), 0);
		assert_int_equal(strlen(map.name), sizeof(map.name) - 1);
	}
}

static void damaged_maps_lines_are_refused(void **state)
{
	static const char *const lines[] = {
		"",
		"7f2e4c000000",
		"7f2e4c000000-",
		"2000-1000 rw-p 00000000 00:00 0",
		"1000-1000 rw-p 00000000 00:00 0",
		"1000-2000 rw-p",
		"1000-2000 rw",
		"1000-2000 rw-p 00000000 00:00",
		"1000-2000 rw-p 00000000 00:00 x",
		"1000-2000 rw-p zz 00:00 0",
		"1000-2000 rw-p 00000000 ffffffffff:00 0",
		"ffffffffffffffffff-2000 rw-p 00000000 00:00 0",
	};
	struct proc_map map = { .start = 42 };

	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		assert_int_equal(proc_parse_map(lines[i], &map), -EBADMSG);
	assert_int_equal(map.start, 42);
}

static void numa_maps_lines_are_read(void **state)
{
	struct proc_numa numa;

	(void)state;
	assert_int_equal(
		proc_parse_numa("7fc273fff000 default file=/memfd:memory-backend-memfd\\040"
				"(deleted) dirty=12316 active=0 N0=12300 N1=16 "
				"kernelpagesize_kB=4",
				&numa),
		0);
	assert_int_equal(numa.start, 0x7fc273fff000);
	assert_int_equal(numa.policy.mode, PROC_MPOL_DEFAULT);
	assert_int_equal(numa.pages[0], 12300);
	assert_int_equal(numa.pages[1], 16);
	assert_int_equal(numa.page_size, 4096);

	assert_int_equal(
		proc_parse_numa("1000 bind:0-1 anon=3 dirty=3 N1=3 kernelpagesize_kB=4", &numa), 0);
	assert_int_equal(numa.policy.mode, PROC_MPOL_BIND);
	assert_int_equal(numa.policy.nodes, 3);

	assert_int_equal(proc_parse_numa("1000 bind:1-2,4 anon=3 N1=3 kernelpagesize_kB=4", &numa),
			 0);
	assert_int_equal(numa.policy.nodes, 1U << 1 | 1U << 2 | 1U << 4);
	assert_int_equal(
		proc_parse_numa("1000 bind=static:2 huge N2=4 kernelpagesize_kB=2048", &numa), 0);
	assert_int_equal(numa.policy.flags, 1 << 15); /* MPOL_F_STATIC_NODES */
	assert_int_equal(numa.policy.nodes, 4);
	assert_true(numa.huge);
	assert_int_equal(numa.page_size, 2U << 20);

	assert_int_equal(proc_parse_numa("1000 prefer (many):0,2 N0=1", &numa), 0);
	assert_int_equal(numa.policy.mode, PROC_MPOL_PREFERRED_MANY);
	assert_int_equal(numa.policy.nodes, 5);
	assert_int_equal(proc_parse_numa("1000 weighted interleave:0-3", &numa), 0);
	assert_int_equal(numa.policy.mode, PROC_MPOL_WEIGHTED_INTERLEAVE);
	assert_int_equal(proc_parse_numa("1000 local", &numa), 0);
	assert_int_equal(numa.policy.mode, PROC_MPOL_LOCAL);
}

static void damaged_numa_maps_lines_are_refused(void **state)
{
	static const struct {
		const char *line;
		int result;
	} cases[] = {
		{ "", -EBADMSG },
		{ "xyz default", -EBADMSG },
		{ "1000", -EBADMSG },
		{ "1000 no-such-policy N0=1", -EBADMSG },
		{ "1000 default N0=", -EBADMSG },
		{ "1000 default N0=1x", -EBADMSG },
		{ "1000 default N64=1", -ERANGE },
		{ "1000 bind:99 N0=1", -ERANGE },
		{ "1000 default N0=1 kernelpagesize_kB=99999999999999999", -EBADMSG },
	};
	struct proc_numa numa;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(proc_parse_numa(cases[i].line, &numa), cases[i].result);
}

static const char json_cmdline[] =
	"/usr/bin/qemu-system-x86_64\0-name\0guest=db,,1,debug-threads=on\0-m\0size=131072k\0"
	"-machine\0pc-q35-7.2,usb=off,memory-backend=pc.ram\0"
	"-object\0{\"qom-type\":\"memory-backend-memfd\",\"id\":\"pc.ram\",\"share\":true,"
	"\"size\":134217728,\"host-nodes\":[0],\"policy\":\"bind\"}\0"
	"-overcommit\0mem-lock=off\0-uuid\0C7A5FDBD-edaf-9455-926A-d65c16db1809\0"
	"-accel\0kvm\0-device\0{\"driver\":\"virtio-net-pci\"}";

static void libvirts_command_line_is_read(void **state)
{
	struct qemu_cmdline c;

	(void)state;
	assert_int_equal(qemu_cmdline_parse(json_cmdline, sizeof(json_cmdline), &c), 0);
	assert_string_equal(c.name, "db,1");
	assert_string_equal(c.uuid, "c7a5fdbd-edaf-9455-926a-d65c16db1809");
	assert_int_equal(c.ram_size, 128U << 20);
	assert_int_equal(c.n_backends, 1);
	assert_int_equal(c.backends[0].type, QEMU_BACKEND_MEMFD);
	assert_int_equal(c.backends[0].size, 128U << 20);
	assert_int_equal(c.backends[0].host_nodes, 1);
	assert_string_equal(c.backends[0].policy, "bind");
	assert_false(c.locked || c.vfio || c.vdpa || c.confidential || c.vhost_user);
}

/* A nodeset of libvirt's ("1-4,^3") reaches QEMU as one property for each run of nodes. */
static void a_nodeset_with_a_hole_is_read_whole(void **state)
{
	static const char plain[] =
		"q\0-object\0memory-backend-memfd,id=a,size=2M,host-nodes=1-2,host-nodes=4,policy=bind";
	static const char json[] =
		"q\0-object\0{\"qom-type\":\"memory-backend-memfd\",\"id\":\"a\",\"size\":2097152,"
		"\"host-nodes\":[1,2,4],\"policy\":\"bind\"}";
	struct qemu_cmdline c;

	(void)state;
	assert_int_equal(qemu_cmdline_parse(plain, sizeof(plain), &c), 0);
	assert_int_equal(c.backends[0].host_nodes, 0x16);
	assert_int_equal(qemu_cmdline_parse(json, sizeof(json), &c), 0);
	assert_int_equal(c.backends[0].host_nodes, 0x16);
}

static void what_forbids_tiering_is_found_on_the_command_line(void **state)
{
	static const char locked[] = "qemu-system-x86_64\0-overcommit\0mem-lock=on";
	static const char vfio[] = "qemu-system-x86_64\0-device\0vfio-pci,host=01:00.0";
	static const char vfio_json[] =
		"qemu-system-x86_64\0-device\0{\"driver\":\"vfio-pci\",\"host\":\"0000:01:00.0\"}";
	static const char sev[] = "qemu-system-x86_64\0-object\0sev-guest,id=sev0,cbitpos=51";
	static const char vhost[] = "qemu-system-x86_64\0-device\0vhost-user-fs-pci,tag=x";
	static const char huge[] = "qemu-system-x86_64\0-object\0memory-backend-memfd,id=a,size=2M,"
				   "hugetlb=on,share=on";
	static const char *const confidential[] = { "sev-guest", "sev-snp-guest", "tdx-guest" };
	struct qemu_cmdline c;
	char text[128];
	int n;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(confidential); i++) {
		n = snprintf(text, sizeof(text), "qemu-system-x86_64%c-object%c%s,id=s", 0, 0,
			     confidential[i]);
		assert_int_equal(qemu_cmdline_parse(text, (size_t)n + 1, &c), 0);
		assert_true(c.confidential);
	}
	assert_int_equal(qemu_cmdline_parse(locked, sizeof(locked), &c), 0);
	assert_true(c.locked);
	assert_int_equal(qemu_cmdline_parse(vfio, sizeof(vfio), &c), 0);
	assert_true(c.vfio);
	assert_int_equal(qemu_cmdline_parse(vfio_json, sizeof(vfio_json), &c), 0);
	assert_true(c.vfio);
	assert_int_equal(qemu_cmdline_parse(sev, sizeof(sev), &c), 0);
	assert_true(c.confidential);
	assert_int_equal(qemu_cmdline_parse(vhost, sizeof(vhost), &c), 0);
	assert_true(c.vhost_user);
	assert_int_equal(qemu_cmdline_parse(huge, sizeof(huge), &c), 0);
	assert_true(c.backends[0].hugetlb);
	assert_true(c.backends[0].share);
}

static void sizes_are_read_as_qemu_reads_them(void **state)
{
	static const struct {
		const char *text;
		uint64_t bytes; /* 0: no size */
	} cases[] = {
		{ "512", 512U << 20 },
		{ "0.5G", 512U << 20 },
		{ "1.5g", 1536U << 20 },
		{ "0x80M", 128U << 20 },
		{ "0X10", 16U << 20 },
		{ "131072k", 128U << 20 },
		{ "2T", UINT64_C(2) << 40 },
		{ "4096B", 4096 },
		{ "5Q", 0 },
		{ "G", 0 },
		{ "", 0 },
		{ "-1", 0 },
		{ "1GB", 0 },
		{ "99999999999T", 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint64_t bytes = 0;

		assert_int_equal(qemu_parse_size(cases[i].text, 1 << 20, &bytes),
				 cases[i].bytes ? 0 : -EBADMSG);
		assert_int_equal(bytes, cases[i].bytes);
	}
}

static void what_is_not_understood_is_named(void **state)
{
	static const struct {
		const char *args; /* separated by blanks */
		const char *unknown;
	} cases[] = {
		{ "qemu -m 5Q", "-m 5Q" },
		{ "qemu -object {\"qom-type\":\"memory-backend-ram\",\"id\":\"a\"}",
		  "-object {\"qom-type\":\"memory-backend-ram\",\"id\":\"a\"}" },
		{ "qemu -object {\"qom-type\":\"memory-backend-ram\",\"id\":\"a\",\"size\":-1}",
		  "-object {\"qom-type\":\"memory-backend-ram\",\"id\":\"a\",\"size\":-1}" },
		{ "qemu -object {\"qom-type\":", "-object {\"qom-type\":" },
		{ "qemu -uuid not-a-uuid", "-uuid not-a-uuid" },
		{ "qemu -object memory-backend-ram,id=a,size=4096,host-nodes=64",
		  "-object memory-backend-ram,id=a,size=4096,host-nodes=64" },
		{ "qemu -machine q35,memory-backend=ram0", "-object ram0" },
		{ "qemu -m 4G -readconfig /etc/qemu/vm.cfg", "-readconfig /etc/qemu/vm.cfg" },
		{ "qemu --readconfig vm.cfg -m 5Q", "-readconfig vm.cfg" },
		{ "qemu -object rng-random,id=r,filename=/dev/urandom", "" },
		{ "qemu -m slots=2,maxmem=8G", "" },
	};
	struct qemu_cmdline c;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char text[512];
		size_t n = strlen(cases[i].args) + 1;

		memcpy(text, cases[i].args, n);
		for (size_t k = 0; k < n; k++)
			if (text[k] == ' ')
				text[k] = '\0';
		assert_int_equal(qemu_cmdline_parse(text, n, &c), 0);
		assert_string_equal(c.unknown, cases[i].unknown);
	}
}

static void a_cut_command_line_is_said_so(void **state)
{
	static const char cut[] = { 'q', 'e', 'm', 'u', 0, '-', 'm', 0, '1', '2' };
	struct qemu_cmdline c;

	(void)state;
	assert_int_equal(qemu_cmdline_parse(cut, sizeof(cut), &c), 0);
	assert_string_not_equal(c.unknown, "");
}

static void a_name_that_is_no_utf8_is_escaped(void **state)
{
	static const char name[] = "qemu\0-name\0a\xff,debug-threads=on";
	struct qemu_cmdline c;

	(void)state;
	assert_int_equal(qemu_cmdline_parse(name, sizeof(name), &c), 0);
	assert_string_equal(c.name, "a\\xff");
}

/* The longest that libvirt takes, and one that is longer: cut between two characters. */
static void a_name_of_255_characters_is_kept_whole(void **state)
{
	char text[400] = "qemu", *name = text + 11;
	struct qemu_cmdline c;

	(void)state;
	memcpy(text + 5, "-name", 6);
	memset(name, 'x', 255);
	assert_int_equal(qemu_cmdline_parse(text, sizeof("qemu\0-name") + 256, &c), 0);
	assert_int_equal(strlen(c.name), 255);
	assert_string_equal(c.name, name);
	memcpy(name + 254, "\xc3\xa9", 3);
	assert_int_equal(qemu_cmdline_parse(text, sizeof("qemu\0-name") + 257, &c), 0);
	assert_int_equal(strlen(c.name), 254);
	assert_int_equal(strncmp(c.name, name, 254), 0);
}

/* ------------------------------------------------------------------ a recorded host */

struct fixture {
	char dir[64];
	struct sysroot root;
};

static void put(const struct fixture *f, const char *path, const void *data, size_t size)
{
	char full[512], *slash;
	int fd;

	snprintf(full, sizeof(full), "%s%s", f->dir, path);
	for (slash = strchr(full + strlen(f->dir) + 1, '/'); slash;
	     slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		mkdir(full, 0755);
		*slash = '/';
	}
	fd = open(full, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, size), size);
	close(fd);
}

static void put_text(const struct fixture *f, const char *path, const char *text)
{
	put(f, path, text, strlen(text));
}

static int make_host(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	strcpy(f->dir, "/tmp/cramd-host.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	put_text(f, "/sys/devices/system/node/online", "0-1\n");
	put_text(f, "/sys/devices/system/node/has_memory", "0-1\n");
	put_text(f, "/sys/devices/system/node/has_cpu", "0\n");
	put_text(f, "/sys/devices/system/node/node0/meminfo",
		 "Node 0 MemTotal:        1014660 kB\nNode 0 MemFree:          700000 kB\n");
	put_text(f, "/sys/devices/system/node/node1/meminfo",
		 "Node 1 MemTotal:         524288 kB\nNode 1 MemFree:          520000 kB\n");
	put_text(f, "/sys/devices/system/node/node0/distance", "10 20\n");
	put_text(f, "/sys/devices/system/node/node1/distance", "20 10\n");
	put_text(f, "/proc/7/maps",
		 "55d000000000-55d000100000 r-xp 00000000 fe:01 99 /usr/bin/qemu-system-x86_64\n"
		 "7f0000000000-7f0008000000 rw-s 00000000 00:01 1027 /memfd:memory-backend-memfd "
		 "(deleted)\n"
		 "7f1000000000-7f1000021000 rw-p 00000000 00:00 0 \n");
	put_text(f, "/proc/7/status",
		 "Name:\tqemu\nState:\tS (sleeping)\nVmLck:\t       0 kB\n"
		 "VmPin:\t       0 kB\nVmRSS:\t  123456 kB\n"
		 "Mems_allowed:\t3\nMems_allowed_list:\t0-1\n");
	put_text(
		f, "/proc/7/stat",
		"7 (qemu) x) S 1 7 7 0 -1 0 0 0 0 0 0 0 0 0 20 0 4 0 4711 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 815 0\n");
	put_text(f, "/proc/7/cgroup", "0::/machine/qemu-1-db.libvirt-qemu\n");
	put(f, "/proc/7/cmdline", json_cmdline, sizeof(json_cmdline));
	assert_int_equal(sysroot_open(f->dir, &f->root), 0);
	*state = f;
	return 0;
}

static int drop_host(void **state)
{
	struct fixture *f = *state;
	char command[128];

	sysroot_close(&f->root);
	snprintf(command, sizeof(command), "rm -rf %s", f->dir);
	assert_int_equal(system(command), 0);
	free(f);
	return 0;
}

static void a_recorded_hosts_nodes_are_read(void **state)
{
	const struct fixture *f = *state;
	struct nodes nodes;

	assert_int_equal(nodes_read(&f->root, &nodes), 0);
	assert_int_equal(nodes.n, 2);
	assert_true(nodes.v[0].has_cpu && !nodes.v[1].has_cpu && nodes.v[1].has_memory);
	assert_int_equal(nodes.v[1].total, 524288U * 1024);
	assert_int_equal(nodes.v[0].distance[1], 20);
	assert_non_null(nodes_find(&nodes, 1));
	assert_null(nodes_find(&nodes, 2));
}

static void damaged_node_files_are_refused(void **state)
{
	const struct fixture *f = *state;
	struct nodes nodes = { .n = 42 };

	put_text(f, "/sys/devices/system/node/node1/meminfo", "Node 1 MemTotal: many kB\n");
	assert_int_equal(nodes_read(&f->root, &nodes), -EBADMSG);
	put_text(f, "/sys/devices/system/node/node1/meminfo",
		 "Node 1 MemTotal: 4 kB\nNode 1 MemFree: 4 kB\n");
	put_text(f, "/sys/devices/system/node/node1/distance", "20 ten\n");
	assert_int_equal(nodes_read(&f->root, &nodes), -EBADMSG);
	put_text(f, "/sys/devices/system/node/online", "0-99\n");
	assert_int_equal(nodes_read(&f->root, &nodes), -ERANGE);
	assert_int_equal(nodes.n, 42);
}

static void a_recorded_process_is_read(void **state)
{
	const struct fixture *f = *state;
	struct proc_status status;
	char cgroup[64], tiny[8];
	uint64_t ticks;

	assert_int_equal(proc_read_status(&f->root, 7, &status), 0);
	assert_int_equal(status.state, 'S');
	assert_int_equal(status.mems_allowed, 3);
	assert_int_equal(status.rss, 123456U * 1024);
	/* The command's name holds a blank and a parenthesis. */
	assert_int_equal(proc_read_start_time(&f->root, 7, &ticks), 0);
	assert_int_equal(ticks, 4711);
	assert_int_equal(proc_read_guest_time(&f->root, 7, &ticks), 0);
	assert_int_equal(ticks, 815);
	assert_int_equal(proc_read_cgroup(&f->root, 7, cgroup, sizeof(cgroup)), 0);
	assert_string_equal(cgroup, "/machine/qemu-1-db.libvirt-qemu");
	assert_int_equal(proc_read_cgroup(&f->root, 7, tiny, sizeof(tiny)), -EBADMSG);
	assert_int_equal(proc_read_status(&f->root, 8, &status), -ESRCH);
	put_text(f, "/proc/7/status", "State:\tS\n");
	assert_int_equal(proc_read_status(&f->root, 7, &status), -EBADMSG);
	put_text(f, "/proc/7/stat", "7 (qemu) S 1 7\n");
	assert_int_equal(proc_read_guest_time(&f->root, 7, &ticks), -EBADMSG);
}

/* libvirt's "emulator" is a threaded group: its counters are two levels up, its cpuset its own. */
static void the_nearest_group_with_counters_counts(void **state)
{
	static const char group[] = "/machine.slice/vm.scope/libvirt/emulator";
	struct fixture *f = *state;
	struct cgroup cgroup;
	uint64_t value = 42;

	put_text(f, "/sys/fs/cgroup/machine.slice/memory.current", "1\n");
	put_text(f, "/sys/fs/cgroup/machine.slice/memory.swap.current", "1\n");
	put_text(f, "/sys/fs/cgroup/machine.slice/vm.scope/memory.current", "8192\n");
	put_text(f, "/sys/fs/cgroup/machine.slice/vm.scope/memory.swap.current", "4096\n");
	put_text(f, "/sys/fs/cgroup/machine.slice/vm.scope/libvirt/emulator/cpuset.mems.effective",
		 "0,2\n");
	cgroup_open(&f->root, group, &cgroup);
	assert_int_equal(cgroup_read_swapped(&cgroup, &value), 0);
	assert_int_equal(value, 4096);
	assert_int_equal(cgroup_read_mems(&cgroup, &value), 0);
	assert_int_equal(value, 5);
	/* The group is known by its directory, not by its name. */
	assert_int_equal(renameat(f->root.fd, "sys/fs/cgroup/machine.slice/vm.scope", f->root.fd,
				  "sys/fs/cgroup/machine.slice/old.scope"),
			 0);
	put_text(f, "/sys/fs/cgroup/machine.slice/vm.scope/memory.swap.current", "777\n");
	assert_int_equal(cgroup_read_swapped(&cgroup, &value), 0);
	assert_int_equal(value, 4096);
	cgroup_close(&cgroup);

	/* The root group is the host's; no group, no counters. */
	put_text(f, "/sys/fs/cgroup/memory.current", "1\n");
	cgroup_open(&f->root, "/", &cgroup);
	assert_int_equal(cgroup_read_swapped(&cgroup, &value), -ENOENT);
	assert_int_equal(cgroup_read_mems(&cgroup, &value), -ENOENT);
	cgroup_close(&cgroup);
	/* A kernel without swap has no such file. */
	put_text(f, "/sys/fs/cgroup/g/memory.current", "1\n");
	cgroup_open(&f->root, "/g", &cgroup);
	assert_int_equal(cgroup_read_swapped(&cgroup, &value), 0);
	assert_int_equal(value, 0);
	cgroup_close(&cgroup);
}

static int count_entry(int dirfd, const char *name, void *arg)
{
	unsigned int *n = arg;

	(void)dirfd;
	assert_string_not_equal(name, ".");
	assert_string_not_equal(name, "..");
	return ++*n == 1000 ? 7 : 0;
}

static void a_directory_larger_than_the_buffer_is_walked_whole(void **state)
{
	const struct fixture *f = *state;
	unsigned int n = 0;
	char path[64];
	int fd;

	for (int i = 0; i < 999; i++) {
		snprintf(path, sizeof(path), "/many/an-entry-with-a-name-of-some-length-%d", i);
		put_text(f, path, "");
	}
	assert_int_equal(sysroot_open_file(&f->root, "/many", O_RDONLY | O_DIRECTORY, &fd), 0);
	assert_int_equal(for_each_entry(fd, count_entry, &n), 0);
	assert_int_equal(n, 999);
	close(fd);
	/* A visitor's word ends it. */
	put_text(f, "/many/.hidden", "");
	assert_int_equal(sysroot_open_file(&f->root, "/many", O_RDONLY | O_DIRECTORY, &fd), 0);
	n = 0;
	assert_int_equal(for_each_entry(fd, count_entry, &n), 7);
	close(fd);
	assert_int_equal(sysroot_open_file(&f->root, "/proc/7/status", O_RDONLY, &fd), 0);
	assert_int_equal(for_each_entry(fd, count_entry, &n), -ENOTDIR);
	close(fd);
}

/* A command line, its arguments separated by blanks, and what is made of it and the maps. */
static int read_layout(const struct fixture *f, const char *args, struct ram_layout *layout)
{
	struct qemu_cmdline c;
	char text[1024];
	size_t n = strlen(args) + 1;

	memcpy(text, args, n);
	for (size_t i = 0; i < n; i++)
		if (text[i] == ' ')
			text[i] = '\0';
	assert_int_equal(qemu_cmdline_parse(text, n, &c), 0);
	return ram_layout_read(&f->root, 7, &c, layout);
}

static void assert_layout(const struct fixture *f, const char *args, enum vm_ineligible reason,
			  unsigned int mib, size_t blocks)
{
	struct ram_layout layout;

	assert_int_equal(read_layout(f, args, &layout), 0);
	assert_int_equal(layout.reason, reason);
	assert_int_equal(layout.ram >> 20, mib);
	assert_int_equal(layout.blocks.n, blocks);
}

static void a_memfd_guests_ram_is_found(void **state)
{
	const struct fixture *f = *state;
	struct ram_layout layout;
	struct qemu_cmdline c;

	put_text(f, "/proc/7/numa_maps", "");
	assert_int_equal(qemu_cmdline_parse(json_cmdline, sizeof(json_cmdline), &c), 0);
	assert_int_equal(ram_layout_read(&f->root, 7, &c, &layout), 0);
	assert_int_equal(layout.reason, VM_ELIGIBLE);
	assert_int_equal(layout.ram, 128 << 20);
	assert_int_equal(layout.blocks.n, 1);
	assert_true(layout.blocks.v[0].memfd);
	assert_int_equal(layout.blocks.v[0].start, 0x7f0000000000);
	assert_int_equal(layout.blocks.v[0].inode, 1027);
	assert_int_equal(layout.blocks.v[0].policy.mode, PROC_MPOL_BIND);
	assert_int_equal(layout.blocks.v[0].policy.nodes, 1);
}

#define MEMFD(id, size) "-object memory-backend-memfd,id=" id ",size=" size

static void ram_that_cannot_be_tiered_is_counted_and_said_why(void **state)
{
	const struct fixture *f = *state;
	struct ram_layout layout;

	assert_layout(f, "q -m 64M -machine memory-backend=a " MEMFD("a", "64M") ",share=off",
		      VM_PRIVATE_MEMFD, 64, 0);
	assert_layout(f,
		      "q -m 64M -machine memory-backend=a -object memory-backend-shm,id=a,size=64M",
		      VM_SHM, 64, 0);
	assert_layout(f, "q -m 64M -mem-path /var/ram", VM_FILE, 64, 0);
	assert_layout(f,
		      "q -m 64M -machine memory-backend=a -object "
		      "memory-backend-file,id=a,size=64M,mem-path=/dev/shm/x,share=on",
		      VM_FILE, 64, 0);
	assert_int_equal(read_layout(f, "q -m 64M -mem-path /var/ram", &layout), 0);
	assert_non_null(strstr(layout.why, "/var/ram"));
	/* What to change is said with it. */
	assert_non_null(strstr(layout.why, "memfd"));
	assert_layout(f,
		      "q -m 64M -machine memory-backend=a -object "
		      "memory-backend-file,id=a,size=64M,mem-path=/dev/hugepages/x",
		      VM_HUGETLB, 64, 0);
	assert_layout(f, "q -m 64M -machine memory-backend=a " MEMFD("a", "64M") ",hugetlb=on",
		      VM_HUGETLB, 64, 0);
	assert_layout(f,
		      "q -m 64M -machine memory-backend=a -object memory-backend-new,id=a,size=64M",
		      VM_LAYOUT_UNKNOWN, 64, 0);
	/* What is repeated of a long path is cut between two characters. */
	for (size_t n = 60; n < 90; n++) {
		char args[256] = "q -m 64M -mem-path /", escaped[sizeof(layout.why)];

		memset(args + strlen(args), 'x', n);
		strcat(args, "\xc3\xa9/ram");
		assert_int_equal(read_layout(f, args, &layout), 0);
		utf8_copy(escaped, sizeof(escaped), layout.why, strlen(layout.why));
		assert_string_equal(layout.why, escaped);
		assert_non_null(strstr(layout.why, "memfd"));
	}
	/* QEMU 7.2 makes this from /dev/zero. */
	put_text(f, "/proc/7/maps",
		 "7f0000000000-7f0004000000 rw-s 00000000 00:01 99 /dev/zero (deleted)\n");
	assert_layout(f,
		      "q -m 64M -machine memory-backend=a -object "
		      "memory-backend-ram,id=a,size=64M,share=on",
		      VM_SHM, 64, 0);
	assert_int_equal(read_layout(f, "q -m 5Q", &layout), 0);
	assert_int_equal(layout.reason, VM_LAYOUT_UNKNOWN);
	assert_non_null(strstr(layout.why, "-m 5Q"));
}

static void assert_booleans(const char *const words[4], bool value)
{
	struct qemu_cmdline c;
	char text[256];

	for (size_t i = 0; i < 4; i++) {
		int n = snprintf(text, sizeof(text),
				 "q%c-object%cmemory-backend-memfd,id=a,size=64M,hugetlb=%s,share="
				 "%s%c-overcommit%cmem-lock=%s",
				 0, 0, words[i], words[i], 0, 0, words[i]);

		assert_int_equal(qemu_cmdline_parse(text, (size_t)n + 1, &c), 0);
		assert_string_equal(c.unknown, "");
		assert_int_equal(c.backends[0].hugetlb, value);
		assert_int_equal(c.backends[0].share, value);
		assert_int_equal(c.locked, value);
	}
}

static void booleans_are_read_as_qemu_reads_them(void **state)
{
	const struct fixture *f = *state;
	static const char *const on[] = { "on", "yes", "true", "y" };
	static const char *const off[] = { "off", "no", "false", "n" };
	/* Whatever is no boolean is not taken for one. */
	static const char *const neither[] = {
		MEMFD("a", "64M") ",share=1",
		MEMFD("a", "64M") ",hugetlb=On",
		"-object {\"qom-type\":\"memory-backend-memfd\",\"id\":\"a\",\"size\":67108864,"
		"\"share\":\"off\"}",
		"-overcommit mem-lock=sometimes",
		"-overcommit nomem-lock",
	};

	put_text(f, "/proc/7/maps", "");
	assert_booleans(on, true);
	assert_booleans(off, false);
	assert_layout(f, "q -m 64M -overcommit mem-lock", VM_LOCKED, 64, 0);
	assert_layout(f, "q -m 64M -overcommit mem-lock=on-fault", VM_LOCKED, 64, 0);
	for (size_t i = 0; i < sizeof(neither) / sizeof(neither[0]); i++) {
		struct ram_layout layout;
		char args[256];

		snprintf(args, sizeof(args), "q -m 64M %s", neither[i]);
		assert_int_equal(read_layout(f, args, &layout), 0);
		assert_int_equal(layout.reason, VM_LAYOUT_UNKNOWN);
		assert_int_equal(layout.ram, 64 << 20);
	}
}

static void side_backends_are_left_alone(void **state)
{
	const struct fixture *f = *state;
	static const char ram[] = "-m 128M -machine memory-backend=r " MEMFD("r", "128M");
	char args[1024];
	static const char *const sides[] = {
		"-object memory-backend-file,id=s,size=32M,mem-path=/dev/shm/lg,share=on -device "
		"ivshmem-plain,memdev=s",
		"-object memory-backend-file,id=s,size=32M,mem-path=/dev/dax0.0,pmem=on -device "
		"nvdimm,memdev=s",
		"-object memory-backend-file,id=s,size=32M,mem-path=/x -device "
		"virtio-pmem-pci,memdev=s",
		MEMFD("s", "128M") " -device ivshmem-plain,memdev=s",
		"-object memory-backend-file,id=s,size=32M,mem-path=/x",
	};

	/* One of them is a memfd as large as the RAM, made after it and mapped below it. */
	put_text(f, "/proc/7/numa_maps", "");
	for (size_t i = 0; i < sizeof(sides) / sizeof(sides[0]); i++) {
		struct ram_layout layout;

		snprintf(args, sizeof(args), "q %s %s", ram, sides[i]);
		if (i != 3)
			put_text(f, "/proc/7/maps",
				 "7f0000000000-7f0008000000 rw-s 00000000 00:01 1027 "
				 "/memfd:memory-backend-memfd (deleted)\n");
		else
			put_text(f, "/proc/7/maps",
				 "7e0000000000-7e0008000000 rw-s 00000000 00:01 1028 "
				 "/memfd:memory-backend-memfd (deleted)\n"
				 "7f0000000000-7f0008000000 rw-s 00000000 00:01 1027 "
				 "/memfd:memory-backend-memfd (deleted)\n");
		assert_int_equal(read_layout(f, args, &layout), 0);
		assert_int_equal(layout.reason, VM_ELIGIBLE);
		assert_int_equal(layout.ram >> 20, 128);
		assert_int_equal(layout.blocks.n, 1);
		assert_int_equal(layout.blocks.v[0].inode, 1027);
	}
}

static void plugged_memory_counts(void **state)
{
	const struct fixture *f = *state;
	struct ram_layout layout;

	put_text(f, "/proc/7/numa_maps", "");
	/* RAM that QEMU makes up itself, beside a DIMM. */
	put_text(
		f, "/proc/7/maps",
		"7e0000000000-7e0000600000 rw-s 00000000 00:01 1027 /memfd:memory-backend-memfd (deleted)\n"
		"7f0000000000-7f0008000000 rw-p 00000000 00:00 0 \n");
	assert_layout(f,
		      "q -m 128,slots=2,maxmem=512M " MEMFD("d", "6M") " -device pc-dimm,memdev=d",
		      VM_ELIGIBLE, 134, 2);
	/* virtio-mem counts with what it was to plug, not with its maximum. */
	assert_int_equal(read_layout(f,
				     "q -m 128M " MEMFD(
					     "d", "6M") " -device "
							"virtio-mem-pci,memdev=d,requested-size=2M",
				     &layout),
			 0);
	assert_int_equal(layout.ram >> 20, 130);
	assert_int_equal(layout.blocks.n, 2);
	assert_true(layout.blocks.v[0].virtio_mem);
	/* Of which nothing is plugged yet. */
	assert_int_equal(read_layout(f,
				     "q -m 128M " MEMFD(
					     "d", "6M") " -device "
							"virtio-mem-pci,memdev=d,requested-size=0",
				     &layout),
			 0);
	assert_int_equal(layout.ram >> 20, 128);
	/* Plugged in while it runs: on no command line. */
	assert_layout(f, "q -m 128M", VM_ELIGIBLE, 134, 2);
	/* Unplugged while it runs. */
	put_text(f, "/proc/7/maps", "7f0000000000-7f0008000000 rw-p 00000000 00:00 0 \n");
	assert_layout(f, "q -m 128M " MEMFD("d", "6M") " -device pc-dimm,memdev=d", VM_ELIGIBLE,
		      128, 1);
}

/* QEMU maps equal cells downwards: the first is the upper one. Its inode or policy tells. */
static void equal_cells_are_not_told_apart_by_address(void **state)
{
	static const char memfds[] =
		"q -m 128M " MEMFD("c0", "64M") ",policy=bind,host-nodes=0 " MEMFD(
			"c1", "64M") ",policy=preferred,host-nodes=1 "
				     "-numa node,memdev=c0 -numa node,memdev=c1";
	static const char anonymous[] =
		"q -m 128M -object memory-backend-ram,id=c0,size=64M,policy=bind,host-nodes=0 "
		"-object memory-backend-ram,id=c1,size=64M,policy=preferred,host-nodes=1 "
		"-numa node,memdev=c0 -numa node,memdev=c1";
	const struct fixture *f = *state;
	struct ram_layout layout;

	put_text(f, "/proc/7/numa_maps", "7e0000000000 prefer:1\n7f0000000000 bind:0\n");
	put_text(
		f, "/proc/7/maps",
		"7e0000000000-7e0004000000 rw-s 00000000 00:01 1028 /memfd:memory-backend-memfd (deleted)\n"
		"7f0000000000-7f0004000000 rw-s 00000000 00:01 1027 /memfd:memory-backend-memfd (deleted)\n");
	assert_int_equal(read_layout(f, memfds, &layout), 0);
	assert_int_equal(layout.reason, VM_ELIGIBLE);
	assert_int_equal(layout.blocks.n, 2);
	assert_string_equal(layout.blocks.v[0].id, "c0");
	assert_int_equal(layout.blocks.v[0].start, 0x7f0000000000);
	assert_int_equal(layout.blocks.v[0].policy.mode, PROC_MPOL_BIND);
	assert_int_equal(layout.blocks.v[1].start, 0x7e0000000000);
	assert_int_equal(layout.blocks.v[1].policy.nodes, 2);

	put_text(f, "/proc/7/maps",
		 "7e0000000000-7e0004000000 rw-p 00000000 00:00 0 \n"
		 "7f0000000000-7f0004000000 rw-p 00000000 00:00 0 \n");
	assert_int_equal(read_layout(f, anonymous, &layout), 0);
	assert_int_equal(layout.reason, VM_ELIGIBLE);
	assert_int_equal(layout.blocks.v[0].start, 0x7f0000000000);
	assert_int_equal(layout.blocks.v[1].start, 0x7e0000000000);
	/* Where nothing tells, nothing is guessed. */
	put_text(f, "/proc/7/numa_maps", "7e0000000000 default\n7f0000000000 default\n");
	assert_layout(f, anonymous, VM_LAYOUT_UNKNOWN, 128, 0);
}

static void ram_that_is_not_mapped_yet_is_said_so(void **state)
{
	struct fixture *f = *state;

	put_text(f, "/proc/7/maps", "7f1000000000-7f1000021000 rw-p 00000000 00:00 0 \n");
	assert_layout(f, "q -m 64M", VM_NOT_MAPPED, 64, 0);
}

static void two_mappings_that_could_be_ram_are_not_guessed_at(void **state)
{
	struct fixture *f = *state;

	put_text(f, "/proc/7/numa_maps", "");
	put_text(f, "/proc/7/maps",
		 "10000000-14000000 rw-p 00000000 00:00 0 \n"
		 "20000000-24000000 rw-p 00000000 00:00 0 \n");
	assert_layout(f, "q -m 64M", VM_LAYOUT_UNKNOWN, 64, 0);
	put_text(f, "/proc/7/maps", "10000000-14000000 rw-p 00000000 00:00 0 \n");
	assert_layout(f, "q -m 64M", VM_ELIGIBLE, 64, 1);
}

static void what_stays_open_is_looked_for_anew_when_it_is_gone(void **state)
{
	const struct fixture *f = *state;
	int fd = -1, first;
	char buf[16];

	put_text(f, "/proc/seven", "1\n");
	assert_int_equal(sysroot_read_again(&f->root, "/proc/seven", &fd, buf, sizeof(buf), NULL),
			 0);
	assert_string_equal(buf, "1\n");
	first = fd;
	put_text(f, "/proc/seven", "2\n");
	assert_int_equal(sysroot_read_again(&f->root, "/proc/seven", &fd, buf, sizeof(buf), NULL),
			 0);
	assert_string_equal(buf, "2\n");
	assert_int_equal(fd, first);
	/* As of a node that went offline: what is open cannot be read any more. */
	close(fd);
	fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(sysroot_read_again(&f->root, "/proc/seven", &fd, buf, sizeof(buf), NULL),
			 0);
	assert_string_equal(buf, "2\n");
	assert_int_equal(sysroot_read_again(&f->root, "/proc/seven", &fd, buf, 2, NULL), -EFBIG);
	assert_int_equal(fd, -1);
	assert_int_equal(sysroot_read_again(&f->root, "/proc/none", &fd, buf, sizeof(buf), NULL),
			 -ENOENT);
	assert_int_equal(fd, -1);
}

static void a_line_longer_than_any_reader_takes_is_an_error(void **state)
{
	struct fixture *f = *state;
	struct ram_layout layout;
	char *line = malloc(10000);

	memset(line, 'x', 9998);
	line[9998] = '\n';
	line[9999] = '\0';
	put_text(f, "/proc/7/maps", line);
	free(line);
	assert_int_equal(read_layout(f, "q -m 64M", &layout), -E2BIG);
}

static void idle_flags_follow_the_folios_first_frame(void **state)
{
	struct fixture *f = *state;
	uint64_t entries[4], heads[4], flags[1024] = {}, bitmap[16] = {};
	struct page_idle idle;
	bool is_idle[4];

	/* Frames 512..514 are one folio, 600 stands alone; the third page is not present. */
	flags[512] = UINT64_C(1) << 15;
	flags[513] = UINT64_C(1) << 16;
	flags[514] = UINT64_C(1) << 16;
	put(f, "/proc/kpageflags", flags, sizeof(flags));
	put(f, "/sys/kernel/mm/page_idle/bitmap", bitmap, sizeof(bitmap));
	assert_int_equal(page_idle_open(&f->root, &idle), 0);
	entries[0] = PAGEMAP_PRESENT | 513;
	entries[1] = PAGEMAP_PRESENT | 514;
	entries[2] = 0;
	entries[3] = PAGEMAP_PRESENT | 600;
	assert_int_equal(page_idle_heads(&idle, entries, 4, heads), 0);
	assert_int_equal(heads[0], 512);
	assert_int_equal(heads[1], 512);
	assert_int_equal(heads[2], 0);
	assert_int_equal(heads[3], 600);
	heads[3] = 0;
	assert_int_equal(page_idle_mark(&idle, heads, 4), 0);
	heads[3] = 600;
	assert_int_equal(page_idle_check(&idle, heads, 4, is_idle), 0);
	assert_true(is_idle[0] && is_idle[1]);
	assert_false(is_idle[2] || is_idle[3]);
	/* Without the capability every frame reads as 0: an error, not "frame 0". */
	entries[0] = PAGEMAP_PRESENT;
	assert_int_equal(page_idle_heads(&idle, entries, 1, heads), -EPERM);
	page_idle_close(&idle);
}

static void pressure_is_read(void **state)
{
	struct fixture *f = *state;
	struct pressure p;

	put_text(f, "/proc/pressure/memory",
		 "some avg10=1.25 avg60=0.00 avg300=0.00 total=456\n"
		 "full avg10=0.50 avg60=0.00 avg300=0.00 total=123\n");
	assert_int_equal(pressure_read(&f->root, "/proc/pressure/memory", &p), 0);
	assert_int_equal(p.some_avg10, 125);
	assert_int_equal(p.full_total, 123);
	put_text(f, "/proc/pressure/memory", "some avg10=x\n");
	assert_int_equal(pressure_read(&f->root, "/proc/pressure/memory", &p), -EBADMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_are_read_strictly),
		cmocka_unit_test(node_lists_are_read),
		cmocka_unit_test(maps_lines_are_read),
		cmocka_unit_test(damaged_maps_lines_are_refused),
		cmocka_unit_test(numa_maps_lines_are_read),
		cmocka_unit_test(damaged_numa_maps_lines_are_refused),
		cmocka_unit_test(libvirts_command_line_is_read),
		cmocka_unit_test(a_nodeset_with_a_hole_is_read_whole),
		cmocka_unit_test(what_forbids_tiering_is_found_on_the_command_line),
		cmocka_unit_test(sizes_are_read_as_qemu_reads_them),
		cmocka_unit_test(what_is_not_understood_is_named),
		cmocka_unit_test(a_cut_command_line_is_said_so),
		cmocka_unit_test(a_name_that_is_no_utf8_is_escaped),
		cmocka_unit_test(a_name_of_255_characters_is_kept_whole),
		cmocka_unit_test_setup_teardown(a_recorded_hosts_nodes_are_read, make_host,
						drop_host),
		cmocka_unit_test_setup_teardown(damaged_node_files_are_refused, make_host,
						drop_host),
		cmocka_unit_test_setup_teardown(a_recorded_process_is_read, make_host, drop_host),
		cmocka_unit_test_setup_teardown(a_directory_larger_than_the_buffer_is_walked_whole,
						make_host, drop_host),
		cmocka_unit_test_setup_teardown(the_nearest_group_with_counters_counts, make_host,
						drop_host),
		cmocka_unit_test_setup_teardown(a_memfd_guests_ram_is_found, make_host, drop_host),
		cmocka_unit_test_setup_teardown(ram_that_cannot_be_tiered_is_counted_and_said_why,
						make_host, drop_host),
		cmocka_unit_test_setup_teardown(booleans_are_read_as_qemu_reads_them, make_host,
						drop_host),
		cmocka_unit_test_setup_teardown(side_backends_are_left_alone, make_host, drop_host),
		cmocka_unit_test_setup_teardown(plugged_memory_counts, make_host, drop_host),
		cmocka_unit_test_setup_teardown(equal_cells_are_not_told_apart_by_address,
						make_host, drop_host),
		cmocka_unit_test_setup_teardown(ram_that_is_not_mapped_yet_is_said_so, make_host,
						drop_host),
		cmocka_unit_test_setup_teardown(two_mappings_that_could_be_ram_are_not_guessed_at,
						make_host, drop_host),
		cmocka_unit_test_setup_teardown(what_stays_open_is_looked_for_anew_when_it_is_gone,
						make_host, drop_host),
		cmocka_unit_test_setup_teardown(a_line_longer_than_any_reader_takes_is_an_error,
						make_host, drop_host),
		cmocka_unit_test_setup_teardown(idle_flags_follow_the_folios_first_frame, make_host,
						drop_host),
		cmocka_unit_test_setup_teardown(pressure_is_read, make_host, drop_host),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
